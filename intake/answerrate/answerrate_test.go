package answerrate

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"yingda/intake"
)

var start = time.Date(2026, 11, 24, 1, 0, 0, 0, time.UTC)

// tale draws the events of one contact, as a switchboard may write them, and whether they are whole (offered is among them).
func tale(t *rapid.T, id intake.ContactID) []intake.Event {
	seq, at := intake.NewSequence(1, 1), start.Add(time.Duration(rapid.IntRange(0, 3*24*3600).Draw(t, "arrives")*1000+rapid.IntRange(0, 999).Draw(t, "ms"))*time.Millisecond)
	var list []intake.Event
	say := func(d intake.Data) {
		list = append(list, intake.Event{Source: "yingda/test", Subject: id.Subject(), Sequence: seq, Time: at, PartitionKey: string(id), Data: d})
		seq = seq.Next(seq.Epoch())
		at = at.Add(time.Duration(rapid.IntRange(0, 40_000).Draw(t, "passes")) * time.Millisecond)
	}
	caller := intake.Token(rapid.SampledFrom([]string{"", "a", "b", "c"}).Draw(t, "caller"))
	say(&intake.OfferedV1{Channel: rapid.SampledFrom(intake.Channels()).Draw(t, "channel"), Line: rapid.SampledFrom([]intake.LineID{"l1", "l2"}).Draw(t, "line"), Caller: caller, Withheld: caller == ""})
	if rapid.Bool().Draw(t, "waits") {
		say(&intake.WaitingV1{})
		say(&intake.WaitingV1{Priority: 1, Why: "calls_again"})
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "rings") {
		say(&intake.RangV1{Operator: "o1", Offer: intake.OfferID(fmt.Sprint(i))})
		say(&intake.UnrangV1{Operator: "o1", Offer: intake.OfferID(fmt.Sprint(i)), Why: "no_answer"})
	}
	if rapid.Bool().Draw(t, "answered") {
		say(&intake.AnsweredV1{Operator: "o2", Offer: "9"})
		say(&intake.AnsweredV1{Operator: "o3", Offer: "10"}) // handed on
	}
	identified := func(when string) {
		if rapid.IntRange(0, 4).Draw(t, when) == 0 {
			say(&intake.IdentifiedV1{Caller: intake.Token(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "identified")), Known: rapid.SampledFrom([]string{"", "card"}).Draw(t, "card")})
		}
	}
	identified("before the end")
	identified("again")
	outcome := rapid.SampledFrom(intake.Outcomes())
	if rapid.IntRange(0, 5).Draw(t, "crash") == 0 {
		seq = seq.Next(seq.Epoch() + 1)
		say(&intake.EndedV1{Outcome: intake.Interrupted, Reason: intake.ReasonRestarted, Provisional: true})
	}
	if rapid.IntRange(0, 9).Draw(t, "ends") > 0 {
		d := &intake.EndedV1{Outcome: outcome.Draw(t, "outcome"), By: intake.ByResident, WaitedMS: at.Sub(list[0].Time).Milliseconds()}
		if rapid.Bool().Draw(t, "short") {
			d.Flags = []intake.Flag{intake.ShortAbandon}
		}
		say(d)
	}
	identified("after the end")
	return list
}

func tales(t *rapid.T) []intake.Event {
	var all []intake.Event
	for i := range rapid.IntRange(1, 12).Draw(t, "contacts") {
		all = append(all, tale(t, intake.ContactID(fmt.Sprintf("c%02d", i)))...)
	}
	return all
}

func state(b *Book) map[intake.ContactID]Contact {
	m := map[intake.ContactID]Contact{}
	for _, c := range b.Contacts() {
		k := *c
		k.Rings = slices.SortedFunc(slices.Values(k.Rings), func(x, y Ring) int { return cmpString(x.Offer, y.Offer) })
		m[k.ID] = k
	}
	return m
}

func cmpString(a, b intake.OfferID) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func TestAnyOrderAnyNumberOfTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := tales(t)
		once := NewBook()
		for _, e := range events {
			once.Apply(e)
		}
		again := NewBook()
		for _, e := range rapid.Permutation(slices.Concat(events, events[:len(events)/2], events)).Draw(t, "order") {
			again.Apply(e)
		}
		if a, b := state(once), state(again); !reflect.DeepEqual(a, b) {
			t.Fatalf("in order:\n%+v\nshuffled and repeated:\n%+v", a, b)
		}
	})
}

func TestBooksBalanceAlways(t *testing.T) {
	office, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		b := NewBook()
		offered := map[intake.ContactID]bool{}
		for i, e := range tales(t) {
			b.Apply(e)
			offered[e.Contact()] = true
			if i%7 != 0 {
				continue
			}
			total := b.Count(Filter{})
			if total.Offered != int64(len(offered)) || !total.Balanced() {
				t.Fatalf("after %d events: %+v, offered should be %d", i, total, len(offered))
			}
		}
		if d := b.Differ(); d != nil {
			t.Fatalf("differs: %+v", d)
		}
		total := b.Count(Filter{})
		for _, span := range []Span{Quarter, Hour, Day} {
			var sum Counts
			for from, n := range b.Windows(Filter{}, span, office) {
				if !n.Balanced() {
					t.Fatalf("window %s: %+v", from, n)
				}
				lo, hi := Window(from, span, office)
				if got := b.Count(Filter{From: lo, To: hi}); !reflect.DeepEqual(got, n) || !lo.Equal(from) {
					t.Fatalf("window %s counted alone: %+v, among the others %+v", from, got, n)
				}
				sum.Offered += n.Offered
				sum.Open += n.Open
			}
			if sum.Offered != total.Offered || sum.Open != total.Open {
				t.Fatalf("windows of span %d hold %+v of %+v", span, sum, total)
			}
		}
		var parts Counts
		for _, line := range []intake.LineID{"l1", "l2"} {
			for _, ch := range intake.Channels() {
				n := b.Count(Filter{Where: Where{line, ch}})
				if !n.Balanced() {
					t.Fatalf("%s %s: %+v", line, ch, n)
				}
				parts.Offered += n.Offered
			}
		}
		if parts.Offered != total.Offered {
			t.Fatalf("lines and channels hold %d of %d", parts.Offered, total.Offered)
		}
		for _, d := range Standard(Params{}) {
			r := b.Rate(&d, Filter{})
			var apart, outside, missed int64
			for _, a := range r.Apart {
				apart += a.N
			}
			for _, m := range r.Missed {
				missed += m.N
			}
			for _, c := range b.Contacts() {
				if d.Place(c) == Outside {
					outside++
				}
			}
			if r.Den+apart+outside != total.Offered || r.Num > r.Den || r.Num < 0 || len(r.Missed) > 0 && missed != r.Den-r.Num {
				t.Fatalf("%s: %+v, outside %d, offered %d", d.ID, r, outside, total.Offered)
			}
		}
	})
}

func TestDifferNamesTheContacts(t *testing.T) {
	b := NewBook()
	say := func(id intake.ContactID, n uint32, d intake.Data) {
		b.Apply(intake.Event{Subject: id.Subject(), Sequence: intake.NewSequence(1, n), Time: start.Add(time.Duration(n) * time.Second), PartitionKey: string(id), Data: d})
	}
	say("good", 1, &intake.OfferedV1{Channel: intake.Phone, Line: "l1"})
	say("good", 2, &intake.EndedV1{Outcome: intake.Answered})
	if d := b.Differ(); d != nil {
		t.Fatalf("a good book differs: %+v", d)
	}
	say("twice", 1, &intake.OfferedV1{Channel: intake.Phone, Line: "l1"})
	say("twice", 2, &intake.EndedV1{Outcome: intake.Answered})
	say("twice", 3, &intake.EndedV1{Outcome: intake.Fault})
	say("lost", 2, &intake.EndedV1{Outcome: intake.Answered})
	d := b.Differ()
	if len(d) != 2 || d[0].Line != "" || d[0].Counts.Difference() != -1 || !slices.Equal(d[0].Contacts, []intake.ContactID{"lost"}) ||
		d[1].Line != "l1" || !d[1].Counts.Balanced() || !slices.Equal(d[1].Contacts, []intake.ContactID{"twice"}) {
		t.Fatalf("differs: %+v", d)
	}
}

func TestProperEndReplacesProvisional(t *testing.T) {
	test := func(name string, want intake.Outcome, twice bool, ends ...intake.Event) {
		t.Helper()
		for _, order := range [][]int{{0, 1}, {1, 0}, {0, 1, 0}, {1, 0, 1}} {
			var c Contact
			for _, i := range order {
				c.Apply(ends[i])
			}
			if c.Outcome != want || c.Twice != twice {
				t.Errorf("%s, order %v: %s, twice %v", name, order, c.Outcome, c.Twice)
			}
		}
	}
	end := func(epoch, n uint32, o intake.Outcome, provisional bool) intake.Event {
		return intake.Event{Subject: "contact/x", Sequence: intake.NewSequence(epoch, n), Time: start, PartitionKey: "x", Data: &intake.EndedV1{Outcome: o, Provisional: provisional}}
	}
	test("a later start corrects", intake.Answered, false, end(2, 1, intake.Interrupted, true), end(3, 1, intake.Answered, false))
	test("found on the dead node's disk", intake.Answered, false, end(2, 1, intake.Interrupted, true), end(1, 7, intake.Answered, false))
	test("two provisional", intake.Fault, false, end(2, 1, intake.Interrupted, true), end(3, 1, intake.Fault, true))
	test("two proper", intake.Fault, true, end(1, 5, intake.Answered, false), end(1, 6, intake.Fault, false))
}

func TestWindow(t *testing.T) {
	test := func(zone, at string, s Span, from, to string) {
		t.Helper()
		office, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		when, _ := time.Parse(time.RFC3339, at)
		f, u := Window(when, s, office)
		if f.Format(time.RFC3339) != from || u.Format(time.RFC3339) != to {
			t.Errorf("%s %s: %s … %s, want %s … %s", zone, at, f.Format(time.RFC3339), u.Format(time.RFC3339), from, to)
		}
	}
	test("Asia/Shanghai", "2026-11-24T01:07:59Z", Quarter, "2026-11-24T01:00:00Z", "2026-11-24T01:15:00Z")
	test("Asia/Shanghai", "2026-11-24T01:15:00Z", Quarter, "2026-11-24T01:15:00Z", "2026-11-24T01:30:00Z")
	test("Asia/Shanghai", "2026-11-24T15:59:59.999Z", Day, "2026-11-23T16:00:00Z", "2026-11-24T16:00:00Z")
	test("Asia/Shanghai", "2026-11-24T16:00:00Z", Day, "2026-11-24T16:00:00Z", "2026-11-25T16:00:00Z")
	test("Asia/Kathmandu", "2026-11-24T01:20:00Z", Hour, "2026-11-24T01:15:00Z", "2026-11-24T02:15:00Z") // + 5:45
	test("Europe/Berlin", "2026-03-29T10:00:00Z", Day, "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z")   // 23 hours
	test("Europe/Berlin", "2026-10-25T10:00:00Z", Day, "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z")   // 25 hours
	test("Europe/Berlin", "2026-10-25T01:30:00Z", Hour, "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z")  // the second 2 o'clock
}

// contact makes one that arrived at start, from short words.
func contact(mod ...func(*Contact)) *Contact {
	c := &Contact{ID: "x", Channel: intake.Phone, Line: "l1", Caller: "a", Arrived: start, OfferedSeq: 1}
	for _, m := range mod {
		m(c)
	}
	return c
}

func answered(after time.Duration, o intake.Outcome) func(*Contact) {
	return func(c *Contact) { c.Answered, c.Operator, c.Outcome = start.Add(after), "o1", o }
}
func ended(o intake.Outcome, flags ...intake.Flag) func(*Contact) {
	return func(c *Contact) { c.Outcome, c.Flags = o, flags }
}
func queued(after time.Duration) func(*Contact) {
	return func(c *Contact) { c.Queued = start.Add(after) }
}

func TestDefinitions(t *testing.T) {
	defs := map[string]Definition{}
	for _, d := range Standard(Params{}) {
		if err := d.Check(); err != nil {
			t.Errorf("standard definition: %v", err)
		}
		defs[d.ID] = d
	}
	if !Standard(Params{})[0].Headline {
		t.Error("the headline is not the first")
	}
	test := func(what string, c *Contact, want string) {
		t.Helper()
		var got string
		for _, id := range []string{"strict", "within_15s", "level_offered_arrival", "level_noshort_arrival", "level_offered_queue", "level_noshort_queue", "asr", "ner", "short_abandon", "quick_drop", "withheld_reached"} {
			d, ok := defs[id]
			if !ok {
				t.Fatalf("no definition %s", id)
			}
			switch p := d.Place(c); {
			case p == Outside:
				got += "."
			case p == Met:
				got += "+"
			case p.IsMissed():
				got += "-"
			default:
				got += "x"
			}
		}
		if got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	// strict, 15 s, four levels, ASR, NER, short, quick, withheld
	test("answered at once", contact(answered(0, intake.Answered)), "++++++++--.")
	test("answered at 15 s sharp", contact(answered(15*time.Second, intake.Answered)), "++++++++--.")
	test("answered 1 ms later", contact(answered(15001*time.Millisecond, intake.Answered)), "+-++++++--.")
	test("answered at 25 s, 10 s of greeting", contact(queued(10*time.Second), answered(25*time.Second, intake.Answered)), "+---++++--.")
	test("talking now", contact(answered(3*time.Second, "")), "++++++++--.")
	test("waiting now", contact(), "xxxxxxxxx..")
	test("left in the queue", contact(ended(intake.AbandonedQueue)), "-------+-..")
	test("left after 2 s", contact(ended(intake.AbandonedGreeting, intake.ShortAbandon)), "---x-x-++..")
	test("no operator", contact(ended(intake.TimeoutNoOperator)), "-------+-..")
	test("overload", contact(ended(intake.Refused), func(c *Contact) { c.Reason = intake.ReasonOverload }), "---------..")
	test("blocked", contact(ended(intake.Refused), func(c *Contact) { c.Reason = intake.ReasonBlocked }), "-------+-..")
	test("fault", contact(ended(intake.Fault)), "---------..")
	test("crash while talking", contact(answered(time.Second, intake.Interrupted)), "------+---.")
	test("silent", contact(answered(time.Second, intake.Silent)), "------++--.")
	test("quick drop", contact(answered(time.Second, intake.Answered), func(c *Contact) { c.Flags = []intake.Flag{intake.QuickDrop} }), "++++++++-+.")
	test("withheld, answered in 5 min", contact(answered(5*time.Minute, intake.Answered), func(c *Contact) { c.Caller = "" }), "+-----++--+")
	test("withheld, left", contact(ended(intake.AbandonedQueue), func(c *Contact) { c.Caller = "" }), "-------+-.-")
	test("withheld, waiting", contact(func(c *Contact) { c.Caller = "" }), "xxxxxxxxx.x")
	test("chat replied to", contact(answered(time.Minute, intake.Replied), func(c *Contact) { c.Channel = intake.Chat }), "+..........")
	test("submission", contact(ended(intake.Accepted), func(c *Contact) { c.Channel = intake.App }), "...........")
	test("history with an end only", contact(ended(intake.Answered), func(c *Contact) { c.WaitedMS = 14_000 }), "++++++++--.")
}

func TestHeadline(t *testing.T) {
	d := Standard(Params{})[0]
	now := start.Add(time.Hour)
	r := NewRate(&d)
	test := func(what string, first, reached time.Time, mod func(*Case), want Place) {
		t.Helper()
		k := &Case{Contact: "x", Caller: "a", Line: "l1", Channel: intake.Phone, First: first, Reached: reached}
		if mod != nil {
			mod(k)
		}
		got := d.Ripened(d.PlaceCase(k), k.First, now)
		if got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
		r.Add(got, 1)
	}
	test("reached at 5 min sharp", start, start.Add(5*time.Minute), nil, Met)
	test("reached 1 ms later", start, start.Add(5*time.Minute+time.Millisecond), nil, Missed)
	test("never", start, time.Time{}, nil, Missed+1)
	test("5 min not over, reached", now.Add(-4*time.Minute), now.Add(-3*time.Minute), nil, Unripe)
	test("5 min not over", now.Add(-4*time.Minute), time.Time{}, nil, Unripe)
	test("5 min just over", now.Add(-5*time.Minute), time.Time{}, nil, Missed+1)
	test("a submission", start, start, func(k *Case) { k.Channel = intake.App }, Outside)
	test("blocked", start, time.Time{}, func(k *Case) { k.Outcome, k.Reason = intake.Refused, intake.ReasonBlocked }, Apart)
	if r.Num != 1 || r.Den != 4 || r.Missed[0].N != 1 || r.Missed[1].N != 2 || r.Apart[0].N != 1 || r.Apart[1].ID != Pending || r.Apart[1].N != 2 {
		t.Errorf("adds up to %+v", r)
	}
}

func TestParts(t *testing.T) {
	d := Standard(Params{})[0]
	test := func(part string, want ...Place) {
		t.Helper()
		got, err := d.Part(part)
		if (err != nil) != (want == nil) || !slices.Equal(got, want) {
			t.Errorf("%s: %v, %v; want %v", part, got, err, want)
		}
	}
	test("numerator", 1)
	test("denominator", 1, 2, 3, 4, 5, 6, 7)
	test("missed/later", 2)
	test("missed/not_yet", 3)
	test("apart/blocked", 8)
	test("apart/pending", 15)
	test("apart", 8, 9, 10, 11, 12, 13, 14, 15)
	test("nonsense")
	test("")
}

func TestPrintedRateNeverFlatters(t *testing.T) {
	test := func(num, den int64, want int, met bool) {
		t.Helper()
		d := Definition{Target: 950}
		r := Rate{Definition: &d, Num: num, Den: den}
		got, ok := r.PerMille()
		on, _ := r.OnTarget()
		if got != want || ok != (den > 0) || on != met {
			t.Errorf("%d/%d: %d %v %v", num, den, got, ok, on)
		}
	}
	test(216, 231, 935, false)
	test(497, 517, 961, true)
	test(9999, 10000, 999, true)
	test(95, 100, 950, true)
	test(9499, 10000, 949, false)
	test(0, 0, 0, false)
	test(3_000_000_000_000, 3_000_000_000_001, 999, true)
}

func TestCheckRefuses(t *testing.T) {
	test := func(what string, change func(*Definition)) {
		t.Helper()
		d := Standard(Params{})[2]
		change(&d)
		if d.Check() == nil {
			t.Errorf("%s is taken", what)
		}
	}
	test("no words", func(d *Definition) { d.Words.ZH = "" })
	test("no such field", func(d *Definition) { d.Numerator = When{{{Field: "mood", From: 1, To: 1}}} })
	test("a caller's field of a contact", func(d *Definition) { d.Numerator = When{{atMost(ReachMS, 5)}} })
	test("words for a number", func(d *Definition) { d.Numerator = When{{{Field: AnswerMS, Words: []string{"1"}}}} })
	test("a range the wrong way", func(d *Definition) { d.Numerator = When{{{Field: AnswerMS, From: 2, To: 1}}} })
	test("a part called pending", func(d *Definition) { d.Exclusions = []Exclusion{{ID: Pending, Name: d.Name}} })
	test("too many exclusions", func(d *Definition) {
		d.Exclusions = slices.Collect(maps.Values(map[int]Exclusion{1: waitingOut, 2: waitingOut, 3: waitingOut, 4: waitingOut, 5: waitingOut, 6: waitingOut, 7: waitingOut, 8: waitingOut}))
	})
	test("a unit of its own", func(d *Definition) { d.Unit = "day" })
	test("a contact that ripens", func(d *Definition) { d.Ripe = time.Second })
}
