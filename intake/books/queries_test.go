package books

import (
	"errors"
	"slices"
	"testing"
	"time"

	"yingda/intake"
)

func TestBarsAndHeatAddUp(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.take(history(6, end, 4, 40)...)
	from, to := o.Today(end)
	r, err := o.Rates(t.Context(), from, to, "", "")
	if err != nil {
		t.Fatal(err)
	}
	day, err := o.Day(t.Context(), end)
	if err != nil || len(day) != 96 || !day[0].Start.Equal(from) {
		t.Fatal(len(day), err)
	}
	var sum Bar
	for _, b := range day {
		if b.Offered != b.Answered+b.Lost+b.Open {
			t.Errorf("bar %+v", b)
		}
		sum.Offered += b.Offered
		sum.Answered += b.Answered
		sum.Lost += b.Lost
	}
	if sum.Offered != r.Offered || sum.Answered != r.Counts.Answered() || sum.Lost != r.Counts.Lost() {
		t.Errorf("bars %+v, day %+v", sum, r.Counts)
	}
	heat, err := o.Heat(t.Context(), 14)
	if err != nil || len(heat) != 14 || heat[13].Offered != r.Offered || heat[13].Lost != r.Counts.Lost() {
		t.Fatalf("heat %+v %v", heat, err)
	}
	var offered int64
	for _, h := range heat {
		offered += h.Offered
		for _, b := range h.Bars {
			if f, u := o.Today(b.Start); !f.Equal(h.Start) || !b.Start.Before(u) {
				t.Errorf("bar of %s in the day of %s", b.Start, h.Start)
			}
		}
	}
	if offered != 4*40 {
		t.Errorf("%d in the heat map", offered)
	}
	if _, err := o.Heat(t.Context(), 0); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestSeriesIsTheRollingRate(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.take(history(7, end, 3, 40)...)
	list, err := o.Series(t.Context(), "within_15s", end.Add(-24*time.Hour), end, 24*time.Hour)
	if err != nil || len(list) != 97 { // 96 quarters and now
		t.Fatal(len(list), err)
	}
	for i, p := range list {
		if i%8 != 0 { // every second hour, and now
			continue
		}
		r, err := o.Rates(t.Context(), p.At.Add(-24*time.Hour), p.At, "", "")
		if err != nil {
			t.Fatal(err)
		}
		if x := r.Rate("within_15s"); x.Num != p.Num || x.Den != p.Den || x.Den == 0 {
			t.Errorf("%s: %d/%d, want %d/%d", p.At, p.Num, p.Den, x.Num, x.Den)
		}
	}
	if !list[96].At.Equal(end) {
		t.Errorf("the last point is at %s", list[96].At)
	}
	on := end.Truncate(15 * time.Minute) // a quarter to the millisecond
	if list, err = o.Series(t.Context(), "within_15s", on.Add(-time.Hour), on, time.Hour); err != nil || len(list) != 4 || !list[3].At.Equal(on) {
		t.Errorf("%v %v", list, err)
	}
	if _, err := o.Series(t.Context(), "caller_reached", end, end, time.Hour); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestContactsFilterAndGoOn(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.take(history(8, end, 2, 150)...)
	all := func(f Filter) []Contact {
		t.Helper()
		var list []Contact
		for c, err := range o.Contacts(t.Context(), f) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, c)
		}
		return list
	}
	whole := all(Filter{})
	if len(whole) != 300 || !slices.IsSortedFunc(whole, func(a, b Contact) int { return b.Arrived.Compare(a.Arrived) }) {
		t.Fatal(len(whole))
	}
	for _, oldest := range []bool{false, true} {
		var pages []Contact
		f := Filter{Limit: 7, Oldest: oldest}
		for {
			page := all(f)
			if len(page) == 0 {
				break
			}
			pages = append(pages, page...)
			f.After = page[len(page)-1].Cursor()
		}
		if oldest {
			slices.Reverse(pages)
		}
		if !slices.EqualFunc(pages, whole, func(a, b Contact) bool { return a.ID == b.ID }) {
			t.Errorf("pages hold %d of %d, or in another order", len(pages), len(whole))
		}
	}
	test := func(name string, f Filter, is func(c *Contact) bool) {
		t.Helper()
		want := 0
		for i := range whole {
			if is(&whole[i]) {
				want++
			}
		}
		got := all(f)
		for i := range got {
			if !is(&got[i]) {
				t.Errorf("%s takes %s", name, got[i].ID)
			}
		}
		if len(got) != want || want == 0 {
			t.Errorf("%s: %d, want %d", name, len(got), want)
		}
	}
	someone := whole[slices.IndexFunc(whole, func(c Contact) bool { return c.Caller != "" })].Caller
	test("line", Filter{Line: "wuye"}, func(c *Contact) bool { return c.Line == "wuye" })
	test("channel", Filter{Channel: intake.Chat}, func(c *Contact) bool { return c.Channel == intake.Chat })
	test("outcomes", Filter{Outcomes: []intake.Outcome{intake.AbandonedQueue, intake.CallbackPromised}}, func(c *Contact) bool {
		return c.Outcome == intake.AbandonedQueue || c.Outcome == intake.CallbackPromised
	})
	test("open", Filter{Open: true}, func(c *Contact) bool { return c.Contact.Open() })
	test("lost", Filter{Lost: true}, func(c *Contact) bool { return !c.Contact.Open() && !c.Outcome.Reached() })
	test("caller", Filter{Caller: someone}, func(c *Contact) bool { return c.Caller == someone })
	test("operator", Filter{Operator: "o3"}, func(c *Contact) bool { return c.Operator == "o3" })
	test("flag", Filter{Flag: intake.QuickDrop}, func(c *Contact) bool { return c.HasFlag(intake.QuickDrop) })
	test("call id", Filter{SIPCallID: whole[4].SIPCallID}, func(c *Contact) bool { return c.ID == whole[4].ID })
	test("span", Filter{From: whole[90].Arrived, To: whole[10].Arrived}, func(c *Contact) bool {
		return !c.Arrived.Before(whole[90].Arrived) && c.Arrived.Before(whole[10].Arrived)
	})
	for _, f := range []Filter{{Definition: "nobody knows"}, {Definition: "strict", Part: "half"}} {
		for _, err := range o.Contacts(t.Context(), f) {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%+v: %v", f, err)
			}
		}
	}
	if _, err := o.Contact(t.Context(), "nobody"); !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
}

func TestUnreturnedRows(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.lost("c1", "a", end.Add(-5*time.Hour))
	o.lost("c2", "a", end.Add(-4*time.Hour))
	o.lost("c3", "b", end.Add(-3*time.Hour-50*time.Minute))
	o.lost("c4", "c", end.Add(-10*time.Minute))
	o.offered("c5", "c", end.Add(-time.Minute)) // on the line at this moment
	o.lost("c6", "d", end.Add(-2*time.Minute))
	if err := o.TakeCallback(t.Context(), "b00004", "o1"); err != nil {
		t.Fatal(err)
	}
	s, err := o.CallbackSummary(t.Context())
	if err != nil || s.Owed != 4 || s.People != 4 || s.Overdue != 1 || s.DueSoon != 1 || s.InHand != 1 || s.Later != 1 ||
		s.Ages[0].N != 2 || s.Ages[2].N != 1 || s.Ages[3].N != 1 || s.Ages[3].Overdue != 1 {
		t.Errorf("summary %+v %v", s, err)
	}
	test := func(f UnreturnedFilter, want ...intake.Token) {
		t.Helper()
		list, err := o.Unreturned(t.Context(), f)
		var got []intake.Token
		for _, c := range list {
			got = append(got, c.Caller)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%+v: %v %v, want %v", f, got, err, want)
		}
	}
	test(UnreturnedFilter{}, "a", "b", "c", "d")
	test(UnreturnedFilter{Newest: true, Limit: 2}, "d", "c")
	test(UnreturnedFilter{State: Overdue}, "a")
	test(UnreturnedFilter{State: DueSoon}, "b")
	test(UnreturnedFilter{State: Later}, "c")
	test(UnreturnedFilter{State: InHand}, "d")
	test(UnreturnedFilter{Operator: "o1"}, "d")
	test(UnreturnedFilter{Line: "wuye"})
	test(UnreturnedFilter{Cause: intake.AbandonedQueue, From: end.Add(-4 * time.Hour)}, "b", "c", "d")
	test(UnreturnedFilter{Cause: intake.Fault})
	list, err := o.Unreturned(t.Context(), UnreturnedFilter{})
	if err != nil || len(list[0].Attempts) != 2 || list[0].Attempts[1].Outcome != intake.AbandonedQueue || list[0].Attempts[0].Waited != 30*time.Second ||
		list[2].Calling != "c5" || list[0].Calling != "" || list[0].Name.Reveal() != "王阿姨" {
		t.Errorf("rows %+v %v", list, err)
	}
	f, err := o.Caller(t.Context(), "a", end)
	if err != nil || f.Attempts != 2 || !f.Failed.Equal(end.Add(-4*time.Hour)) || !f.FirstFailed.Equal(end.Add(-5*time.Hour)) || f.Callback != "b00001" || !f.LastReached.IsZero() {
		t.Errorf("caller %+v %v", f, err)
	}
	if f, err = o.Caller(t.Context(), "c", end); err != nil || !slices.Equal(f.Open, []intake.ContactID{"c5"}) || f.LastContact != "c5" {
		t.Errorf("caller %+v %v", f, err)
	}
	if f, err = o.Caller(t.Context(), "", end); err != nil || f.Contacts != 0 {
		t.Errorf("nobody %+v %v", f, err)
	}
}

func TestWhatARestartMustKnow(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.answered("c1", "a", end.Add(-time.Hour))
	o.offered("c2", "a", end.Add(-time.Minute))
	o.say("contact/c2", "a", end, &intake.WaitingV1{})
	list, err := o.OpenContacts(t.Context())
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	if c := list[0]; c.ID != "c2" || c.Key != "a" || c.Newest != intake.NewSequence(1, 2) || c.Dedupe != "dc2" || c.Caller != "a" || c.Line != "main" || c.Channel != intake.Phone {
		t.Errorf("%+v", c)
	}
	keys, err := o.RecentDedupe(t.Context(), end.Add(-2*time.Hour))
	if err != nil || len(keys) != 2 || keys[0] != (Dedupe{"dc1", "c1", intake.NewSequence(1, 3), intake.Answered, end.Add(-time.Hour)}) {
		t.Errorf("%+v %v", keys, err)
	}
	if keys, err = o.RecentDedupe(t.Context(), end); err != nil || len(keys) != 1 || keys[0].Contact != "c2" {
		t.Errorf("open ones are always there: %+v %v", keys, err)
	}
	if at, err := o.DataAsOf(t.Context()); err != nil || !at.Equal(end) {
		t.Errorf("as of %s %v", at, err)
	}
}

func TestOneContactsPage(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.lost("c1", "a", end.Add(-3*time.Hour))
	o.lost("c2", "a", end.Add(-2*time.Hour))
	o.offered("c3", "a", end.Add(-time.Hour))
	at := end.Add(-time.Hour)
	o.say("contact/c3", "a", at, &intake.RangV1{Operator: "o1", Offer: "f1"})
	o.say("contact/c3", "a", at.Add(20*time.Second), &intake.UnrangV1{Operator: "o1", Offer: "f1", Why: "no_answer"})
	o.say("contact/c3", "a", at.Add(20*time.Second), &intake.RangV1{Operator: "o2", Offer: "f2"})
	o.say("contact/c3", "a", at.Add(30*time.Second), &intake.AnsweredV1{Operator: "o2", Offer: "f2"})
	o.say("contact/c3", "a", at.Add(90*time.Second), &intake.RecordedV1{ID: "r1", Millis: 60_000, Channels: 2})
	o.say("contact/c3", "a", at.Add(90*time.Second), &intake.EndedV1{Outcome: intake.Answered, WaitedMS: 30_000, TalkedMS: 60_000, Flags: []intake.Flag{intake.QuickDrop}})
	o.say("case/k1", "k1", at.Add(2*time.Minute), &intake.CaseOpenedV1{Source: intake.FromOperator, Contacts: []intake.ContactID{"c3"}})
	o.say("case/k1", "k1", at.Add(3*time.Minute), &intake.CaseAttachedV1{Contact: "c2"})
	o.say("person/s1", "s1", at.Add(4*time.Minute), &intake.PersonRevealedV1{Viewer: "s1", What: "contact/c3", Field: "number", Reason: "回拨"})
	o.say("person/s1", "s1", at.Add(5*time.Minute), &intake.RecordingPlayedV1{Viewer: "s1", Recording: "r1", ToMS: 70_000})

	c, err := o.Contact(t.Context(), "c3")
	if err != nil || len(c.Rings) != 2 || c.Rings[0].Why != "no_answer" || c.Rings[1].Answered.IsZero() || c.Case != "k1" || c.Reached.IsZero() || c.Owes {
		t.Errorf("%+v %v", c, err)
	}
	story, err := o.Story(t.Context(), "c3")
	if err != nil || !slices.Equal(story, []intake.Subject{"contact/c3", "contact/c1", "contact/c2", "callback/b00001", "case/k1"}) {
		t.Errorf("story %v %v", story, err)
	}
	moments, err := o.Timeline(t.Context(), story...)
	if err != nil || len(moments) != 2+2+7+2 || moments[0].Type != "contact.offered.v1" || moments[0].Subject != "contact/c1" || len(moments[0].Raw) == 0 {
		t.Errorf("timeline %d %v", len(moments), err)
	}
	looks, err := o.Looked(t.Context(), "c3")
	if err != nil || len(looks) != 2 || looks[1].To != 70*time.Second || looks[0].Reason != "回拨" {
		t.Errorf("looks %+v %v", looks, err)
	}
	recordings, err := o.Recordings(t.Context(), "c3")
	if err != nil || len(recordings) != 1 || recordings[0].Length != time.Minute {
		t.Errorf("recordings %+v %v", recordings, err)
	}
	figures, err := o.OperatorFigures(t.Context(), end.Add(-24*time.Hour), end)
	if err != nil || len(figures) != 2 {
		t.Fatal(figures, err)
	}
	if f := figures[0]; f.Operator != "o2" || f.Answered != 1 || f.QuickDrops != 1 || f.Talked != time.Minute || f.Rings != 1 || len(f.Unrang) != 0 {
		t.Errorf("%+v", f)
	}
	if f := figures[1]; f.Operator != "o1" || f.Answered != 0 || f.Rings != 1 || f.Unrang["no_answer"] != 1 {
		t.Errorf("%+v", f)
	}
}

func TestWaitingAndStaff(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.lost("c0", "z", end.Add(-time.Hour)) // 30 s
	o.offered("c1", "a", end.Add(-42*time.Second))
	o.offered("c2", "b", end.Add(-10*time.Second))
	o.offered("c3", "c", end.Add(-5*time.Second))
	o.say("contact/c3", "c", end, &intake.AnsweredV1{Operator: "o1"})
	w, err := o.Waiting(t.Context())
	if err != nil || w.Now != 2 || w.Contact != "c1" || !w.Since.Equal(end.Add(-42*time.Second)) || w.LongestToday != 42*time.Second || w.LongestOf != "c1" {
		t.Errorf("%+v %v", w, err)
	}
	o.say("contact/c1", "a", end, &intake.EndedV1{Outcome: intake.AbandonedQueue, WaitedMS: 20_000})
	if w, err = o.Waiting(t.Context()); err != nil || w.Now != 1 || w.LongestToday != 30*time.Second || w.LongestOf != "c0" {
		t.Errorf("%+v %v", w, err)
	}
	state := func(id intake.UserID, ago time.Duration, s string) {
		o.say(id.Subject(), string(id), end.Add(-ago), &intake.OperatorStateV1{State: s})
	}
	state("o1", 9*time.Hour, "idle")
	state("o2", 9*time.Hour, "idle")
	state("o2", 40*time.Minute, "break")
	state("o2", 35*time.Minute, "idle")
	state("o3", 9*time.Hour, "idle")
	state("o3", 8*time.Hour, "offline")
	state("o4", 10*time.Minute, "idle")
	test := func(from, to time.Duration, want Staff) {
		t.Helper()
		got, err := o.Staff(t.Context(), end.Add(-from), end.Add(-to))
		if err != nil || got != want {
			t.Errorf("%s … %s ago: %+v %v, want %+v", from, to, got, err, want)
		}
	}
	test(45*time.Minute, 30*time.Minute, Staff{2, 1})
	test(30*time.Minute, 15*time.Minute, Staff{2, 0})
	test(15*time.Minute, 0, Staff{3, 0})
	test(8*time.Hour+time.Minute, 8*time.Hour-time.Minute, Staff{3, 0})
	test(20*time.Hour, 19*time.Hour, Staff{0, 0})
	if p, err := o.Presence(t.Context()); err != nil || len(p) != 3 || p[1].Operator != "o2" || p[1].State != "idle" {
		t.Errorf("presence %+v %v", p, err)
	}
}

func TestBalanceNamesWhatIsMissing(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.answered("c1", "a", end)
	o.say("contact/lost", "b", end, &intake.EndedV1{Outcome: intake.Fault})
	o.answered("c2", "b", end)
	o.say("contact/c2", "b", end, &intake.EndedV1{Outcome: intake.Fault})
	list, err := o.Balance(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatal(list, err)
	}
	if b := list[0]; b.Balanced || b.Line != "" || b.Counts.Difference() != -1 || !slices.Equal(b.Contacts, []intake.ContactID{"lost"}) {
		t.Errorf("%+v", b)
	}
	if b := list[1]; b.Balanced || b.Line != "main" || !b.Counts.Balanced() || !slices.Equal(b.Contacts, []intake.ContactID{"c2"}) {
		t.Errorf("%+v", b)
	}
	o.offered("c3", "c", end)
	o.say("contact/c3", "c", end, &intake.EndedV1{Outcome: "vanished"})
	if list, err = o.Balance(t.Context()); err != nil || !slices.Equal(list[1].Contacts, []intake.ContactID{"c2", "c3"}) {
		t.Errorf("%+v %v", list, err)
	}
	if r, err := o.Rates(t.Context(), time.Time{}, time.Time{}, "", ""); err != nil || r.Balanced {
		t.Errorf("%+v %v", r, err)
	}
}

// monthOf is a month of 15,000 contacts.
func monthOf(b *testing.B) *office {
	o := open(b)
	records := history(1, end, 30, 500)
	began := time.Now()
	for i := 0; i < len(records); i += 500 {
		o.take(records[i:min(i+500, len(records))]...)
	}
	b.Logf("%d events of 15,000 contacts applied in %s", len(records), time.Since(began).Round(time.Millisecond))
	return o
}

func BenchmarkQueries(b *testing.B) {
	o := monthOf(b)
	ctx := b.Context()
	from, to := o.Today(end)
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("Caller", func() error { _, err := o.Caller(ctx, "t00042", end); return err })
	run("Rates/day", func() error { _, err := o.Rates(ctx, from, to, "", ""); return err })
	run("Rates/month", func() error { _, err := o.Rates(ctx, end.AddDate(0, 0, -30), end, "", ""); return err })
	run("Rates/month,line", func() error { _, err := o.Rates(ctx, end.AddDate(0, 0, -30), end, "main", intake.Phone); return err })
	run("Day", func() error { _, err := o.Day(ctx, end); return err })
	run("Heat/14", func() error { _, err := o.Heat(ctx, 14); return err })
	run("Heat/30", func() error { _, err := o.Heat(ctx, 30); return err })
	run("Series/24h", func() error {
		_, err := o.Series(ctx, "within_15s", end.Add(-24*time.Hour), end, 24*time.Hour)
		return err
	})
	run("Unreturned/100", func() error { _, err := o.Unreturned(ctx, UnreturnedFilter{Limit: 100}); return err })
	run("Summary", func() error { _, err := o.CallbackSummary(ctx); return err })
	run("ClearedToday", func() error { _, err := o.ClearedToday(ctx); return err })
	run("OpenContacts", func() error { _, err := o.OpenContacts(ctx); return err })
	run("RecentDedupe/1h", func() error { _, err := o.RecentDedupe(ctx, end.Add(-time.Hour)); return err })
	run("OperatorFigures/day", func() error { _, err := o.OperatorFigures(ctx, from, to); return err })
	run("OperatorFigures/month", func() error { _, err := o.OperatorFigures(ctx, end.AddDate(0, 0, -30), end); return err })
	run("Staff", func() error { _, err := o.Staff(ctx, end.Add(-15*time.Minute), end); return err })
	run("Presence", func() error { _, err := o.Presence(ctx); return err })
	run("Waiting", func() error { _, err := o.Waiting(ctx); return err })
	run("Balance", func() error { _, err := o.Balance(ctx); return err })
	run("Contact", func() error { _, err := o.Contact(ctx, "c000777"); return err })
	run("Story+Timeline", func() error {
		s, err := o.Story(ctx, "c000777")
		if err == nil {
			_, err = o.Timeline(ctx, s...)
		}
		return err
	})
	page := func(f Filter) error {
		for _, err := range o.Contacts(ctx, f) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	run("Contacts/50", func() error { return page(Filter{Limit: 50}) })
	run("Contacts/50,lost", func() error { return page(Filter{Limit: 50, Lost: true}) })
	run("Contacts/caller", func() error { return page(Filter{Caller: "t00042"}) })
	run("Members/day,headline", func() error {
		return page(Filter{From: from, To: to, Definition: "caller_reached", Part: "missed"})
	})
	run("Members/month,15s", func() error { return page(Filter{Definition: "within_15s", Part: "missed", Limit: 50}) })
}

func BenchmarkApply(b *testing.B) {
	records := history(3, end, 2, 400)
	for b.Loop() {
		b.StopTimer()
		o := open(b)
		b.StartTimer()
		o.take(records...)
	}
	b.ReportMetric(float64(len(records)*b.N)/b.Elapsed().Seconds(), "events/s")
}
