package recovery

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"yingda/intake"
	"yingda/internal/pii"
)

var start = time.Date(2026, 11, 24, 1, 0, 0, 0, time.UTC)

func ids() func() intake.CallbackID {
	n := 0
	return func() intake.CallbackID { n++; return intake.CallbackID(fmt.Sprintf("b%d", n)) }
}

func minute(n int) time.Time { return start.Add(time.Duration(n) * time.Minute) }

// writer writes the events of many subjects, each with its own sequence.
type writer struct {
	seq  map[intake.Subject]intake.Sequence
	list []intake.Event
}

func (w *writer) say(s intake.Subject, key string, at time.Time, d intake.Data) intake.Event {
	if w.seq == nil {
		w.seq = map[intake.Subject]intake.Sequence{}
	}
	w.seq[s] = w.seq[s].Next(1)
	e := intake.Event{Source: "yingda/test", Subject: s, Sequence: w.seq[s], Time: at, PartitionKey: key, Data: d}
	w.list = append(w.list, e)
	return e
}

func (w *writer) offered(id intake.ContactID, caller intake.Token, line intake.LineID, at time.Time) {
	key := string(caller)
	if key == "" {
		key = string(id)
	}
	w.say(id.Subject(), key, at, &intake.OfferedV1{Channel: intake.Phone, Line: line, Caller: caller})
}

func (w *writer) lost(id intake.ContactID, caller intake.Token, line intake.LineID, at time.Time) {
	w.offered(id, caller, line, at)
	w.say(id.Subject(), string(caller), at.Add(30*time.Second), &intake.EndedV1{Outcome: intake.AbandonedQueue, WaitedMS: 30_000})
}

func (w *writer) answered(id intake.ContactID, caller intake.Token, line intake.LineID, at time.Time) {
	w.offered(id, caller, line, at)
	w.say(id.Subject(), string(caller), at.Add(10*time.Second), &intake.AnsweredV1{Operator: "o1"})
	w.say(id.Subject(), string(caller), at.Add(90*time.Second), &intake.EndedV1{Outcome: intake.Answered, WaitedMS: 10_000})
}

// story is an invented day of three callers on two lines, with all ways in which somebody can be reached.
func story(t *rapid.T) []intake.Event {
	var w writer
	n := 0
	for range rapid.IntRange(1, 14).Draw(t, "happenings") {
		n++
		caller := rapid.SampledFrom([]intake.Token{"a", "b", ""}).Draw(t, "caller")
		line := rapid.SampledFrom([]intake.LineID{"l1", "l2"}).Draw(t, "line")
		at := minute(rapid.IntRange(0, 300).Draw(t, "minute"))
		id := intake.ContactID(fmt.Sprintf("c%d", n))
		callback := intake.CallbackID(fmt.Sprintf("foreign-%s-%s", caller, line))
		switch rapid.IntRange(0, 8).Draw(t, "what") {
		case 0, 1, 2:
			w.lost(id, caller, line, at)
		case 8: // a chat whose resident leaves a number: before the end, after it, or twice
			left := rapid.SampledFrom([]intake.Token{"a", "b"})
			w.offered(id, caller, line, at)
			if rapid.Bool().Draw(t, "before") {
				w.say(id.Subject(), string(id), at.Add(time.Second), &intake.IdentifiedV1{Caller: left.Draw(t, "left")})
			}
			w.say(id.Subject(), string(id), at.Add(time.Minute), &intake.EndedV1{Outcome: rapid.SampledFrom([]intake.Outcome{intake.Unattended, intake.LeftSilently, intake.Replied}).Draw(t, "chat"), WaitedMS: 60_000})
			if rapid.Bool().Draw(t, "after") {
				w.say(id.Subject(), string(id), at.Add(2*time.Minute), &intake.IdentifiedV1{Caller: left.Draw(t, "left late")})
			}
		case 3:
			w.answered(id, caller, line, at)
		case 4: // a crash, corrected later
			w.offered(id, caller, line, at)
			w.say(id.Subject(), string(caller), at.Add(time.Minute), &intake.EndedV1{Outcome: intake.Interrupted, Provisional: true})
			w.say(id.Subject(), string(caller), at.Add(time.Minute), &intake.EndedV1{Outcome: rapid.SampledFrom([]intake.Outcome{intake.Answered, intake.AbandonedRinging, intake.Refused}).Draw(t, "corrected"), Reason: intake.ReasonBlocked, WaitedMS: 5000})
		case 5:
			w.offered(id, caller, line, at) // still open
		case 6:
			if caller != "" {
				w.say(callback.Subject(), string(caller), minute(0), &intake.CallbackBornV1{Caller: caller, Line: line})
				w.say(callback.Subject(), string(caller), at, &intake.CallbackTriedV1{Attempt: intake.AttemptID(id), Result: rapid.SampledFrom([]string{intake.TryReached, intake.TryNoAnswer}).Draw(t, "result"), Seconds: 20})
			}
		case 7:
			if caller != "" {
				w.say(callback.Subject(), string(caller), minute(0), &intake.CallbackBornV1{Caller: caller, Line: line})
				if rapid.Bool().Draw(t, "visit") {
					kase := intake.CaseID("k" + string(id))
					w.say(kase.Subject(), string(kase), at, &intake.CaseOpenedV1{Source: intake.FromVisit, Callback: callback})
					w.say(kase.Subject(), string(kase), at.Add(time.Minute), &intake.CaseClosedV1{Result: rapid.SampledFrom([]string{"met", NotFound}).Draw(t, "found")})
				} else {
					w.say(callback.Subject(), string(caller), at, &intake.CallbackClearedV1{By: intake.ClearedSupervisor, User: "s1", Reason: "spoke with the daughter"})
				}
			}
		}
	}
	return w.list
}

func TestWhoIsOwedDoesNotDependOnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := story(t)
		straight := NewLedger(Config{}, ids())
		for _, e := range events {
			straight.Step(e)
		}
		want := straight.Owed()
		// Every caller who is owed has an open callback that says so, and nobody else has.
		check := func(l *Ledger) {
			n := 0
			for _, token := range l.Callers() {
				p := l.Person(token)
				n += len(p.Open)
				for _, c := range p.Open {
					owed := p.Owed(c.Line)
					if len(owed) == 0 || !c.FirstAttempt.Equal(owed[0].Arrived) || !c.Due.Equal(c.FirstAttempt.Add(4*time.Hour)) {
						t.Fatalf("callback %+v, owed %+v", c, owed)
					}
					for _, a := range owed {
						if !slices.Contains(c.Contacts, a.Contact) {
							t.Fatalf("callback %+v lacks %s", c, a.Contact)
						}
					}
				}
				if again := p.Settle(l.cfg, l.newID); again != nil {
					t.Fatalf("settling again without news: %+v", again)
				}
			}
			if n != len(l.Owed()) {
				t.Fatalf("%d open callbacks for %d debts", n, len(l.Owed()))
			}
		}
		check(straight)
		shuffled := NewLedger(Config{}, ids())
		for _, e := range rapid.Permutation(slices.Concat(events, events)).Draw(t, "order") {
			shuffled.Step(e)
		}
		check(shuffled)
		if got := shuffled.Owed(); !reflect.DeepEqual(got, want) {
			t.Fatalf("in order:\n%+v\nshuffled:\n%+v", want, got)
		}
	})
}

// said writes effects as one would tell them.
func said(effects []Effect) string {
	var s string
	for _, e := range effects {
		switch e := e.(type) {
		case Born:
			s += fmt.Sprintf("born %s %s %v due %s; ", e.Callback.ID, e.Callback.Cause, e.Callback.Contacts, e.Callback.Due.Format("15:04"))
		case Joined:
			s += fmt.Sprintf("joined %s %s; ", e.ID, e.Contact)
		case Cleared:
			s += fmt.Sprintf("cleared %s by %s at %s; ", e.ID, e.By.By, e.By.At.Format("15:04:05"))
		case Visit:
			s += fmt.Sprintf("visit %s after %d; ", e.ID, e.Tries)
		}
	}
	return s
}

func TestStories(t *testing.T) {
	test := func(name, want string, tell func(w *writer)) {
		t.Helper()
		var w writer
		tell(&w)
		l := NewLedger(Config{Dialable: func(p pii.Phone) bool { return p.Reveal() != "0" }}, ids())
		var got string
		for _, e := range w.list {
			got += said(l.Step(e))
		}
		if got != want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, want)
		}
	}
	const b, a = intake.CallbackID("b1"), intake.Token("a")
	born := "born b1 abandoned_queue [c1] due 05:00; "
	test("two attempts, then answered", born+"joined b1 c2; cleared b1 by resident_reached_us at 01:20:10; ", func(w *writer) {
		w.lost("c1", a, "l1", minute(0))
		w.lost("c2", a, "l1", minute(10))
		w.answered("c3", a, "l1", minute(20))
	})
	test("reached on another line", born+"cleared b1 by resident_reached_us at 01:20:10; ", func(w *writer) {
		w.lost("c1", a, "l1", minute(0))
		w.answered("c3", a, "l2", minute(20))
	})
	test("reached by chat while the phone still waits", "", func(w *writer) {
		w.answered("c2", a, "l2", minute(0).Add(5*time.Second))
		w.lost("c1", a, "l1", minute(0))
	})
	test("answered before it is heard of", "", func(w *writer) {
		w.answered("c3", a, "l1", minute(20))
		w.lost("c1", a, "l1", minute(0))
	})
	test("answered, later lost", born, func(w *writer) {
		w.answered("c0", a, "l1", minute(-20))
		w.lost("c1", a, "l1", minute(0))
	})
	test("open is not failed", "", func(w *writer) { w.offered("c1", a, "l1", minute(0)) })
	test("withheld", "", func(w *writer) { w.lost("c1", "", "l1", minute(0)) })
	test("a chat that leaves a number after its end", "born b1 unattended [c1] due 05:00; ", func(w *writer) {
		w.offered("c1", "", "l1", minute(0))
		w.say("contact/c1", "c1", minute(10), &intake.EndedV1{Outcome: intake.Unattended})
		w.say("contact/c1", "c1", minute(12), &intake.IdentifiedV1{Caller: a})
	})
	test("a number left wrongly, then corrected", "born b1 unattended [c1] due 05:00; cleared b1 by supervisor at 01:00:00; born b2 unattended [c1] due 05:00; ", func(w *writer) {
		w.offered("c1", "", "l1", minute(0))
		w.say("contact/c1", "c1", minute(1), &intake.IdentifiedV1{Caller: "b"})
		w.say("contact/c1", "c1", minute(10), &intake.EndedV1{Outcome: intake.Unattended})
		w.say("contact/c1", "c1", minute(12), &intake.IdentifiedV1{Caller: a})
	})
	test("a number left by one who was replied to", "", func(w *writer) {
		w.offered("c1", "", "l1", minute(0))
		w.say("contact/c1", "c1", minute(1), &intake.AnsweredV1{Operator: "o1"})
		w.say("contact/c1", "c1", minute(2), &intake.IdentifiedV1{Caller: a})
		w.say("contact/c1", "c1", minute(10), &intake.EndedV1{Outcome: intake.Replied})
	})
	test("cannot be dialled", "", func(w *writer) {
		w.offered("c1", a, "l1", minute(0))
		w.list[0].Personal.Number = pii.NewPhone("0")
		w.say("contact/c1", "a", minute(1), &intake.EndedV1{Outcome: intake.AbandonedQueue})
	})
	test("blocked", "", func(w *writer) {
		w.offered("c1", a, "l1", minute(0))
		w.say("contact/c1", "a", minute(1), &intake.EndedV1{Outcome: intake.Refused, Reason: intake.ReasonBlocked})
	})
	test("a crash that was an answered call", "born b1 interrupted [c1] due 05:00; cleared b1 by resident_reached_us at 01:00:05; ", func(w *writer) {
		w.offered("c1", a, "l1", minute(0))
		w.say("contact/c1", "a", minute(1), &intake.EndedV1{Outcome: intake.Interrupted, Provisional: true})
		w.say("contact/c1", "a", minute(1), &intake.EndedV1{Outcome: intake.Answered, WaitedMS: 5000})
	})
	test("a crash that was a refusal", "born b1 interrupted [c1] due 05:00; cleared b1 by supervisor at 01:00:00; ", func(w *writer) {
		w.offered("c1", a, "l1", minute(0))
		w.say("contact/c1", "a", minute(1), &intake.EndedV1{Outcome: intake.Interrupted, Provisional: true})
		w.say("contact/c1", "a", minute(1), &intake.EndedV1{Outcome: intake.Refused, Reason: intake.ReasonBlocked})
	})
	test("silent after the answer", "born b1 silent [c1] due 05:00; ", func(w *writer) {
		w.offered("c1", a, "l1", minute(0))
		w.say("contact/c1", "a", minute(1), &intake.AnsweredV1{Operator: "o1"})
		w.say("contact/c1", "a", minute(2), &intake.EndedV1{Outcome: intake.Silent})
	})
	test("an answer ends it while they still talk", born+"cleared b1 by resident_reached_us at 01:06:00; born b2 abandoned_queue [c1 c2] due 05:00; ", func(w *writer) {
		w.lost("c1", a, "l1", minute(0))
		w.offered("c2", a, "l1", minute(5))
		w.say("contact/c2", "a", minute(6), &intake.AnsweredV1{Operator: "o1"})
		w.say("contact/c2", "a", minute(7), &intake.EndedV1{Outcome: intake.Silent}) // and nothing was heard
	})
	tried := func(w *writer, n int, result string) {
		w.say(b.Subject(), "a", minute(10+n), &intake.CallbackTriedV1{Attempt: intake.AttemptID(fmt.Sprint("t", n)), Operator: "o1", Result: result, Seconds: 20})
	}
	bornEvent := func(w *writer) {
		w.say(b.Subject(), "a", minute(1), &intake.CallbackBornV1{Caller: a, Line: "l1", FirstAttempt: minute(0)})
	}
	test("three tries, a visit once, met", born+"visit b1 after 3; cleared b1 by visit at 02:00:00; ", func(w *writer) {
		w.lost("c1", a, "l1", minute(0))
		bornEvent(w)
		for n, r := range []string{intake.TryNoAnswer, intake.TryBusy, intake.TryRefused, intake.TryFailed} {
			tried(w, n, r)
		}
		w.say("case/k1", "k1", minute(50), &intake.CaseOpenedV1{Source: intake.FromVisit, Callback: b})
		w.say("case/k1", "k1", minute(60), &intake.CaseClosedV1{Result: "met"})
	})
	test("a visit that met nobody", born, func(w *writer) {
		w.lost("c1", a, "l1", minute(0))
		bornEvent(w)
		w.say("case/k1", "k1", minute(50), &intake.CaseOpenedV1{Source: intake.FromVisit, Callback: b})
		w.say("case/k1", "k1", minute(60), &intake.CaseClosedV1{Result: NotFound})
	})
	test("the visit is heard of before the callback", born+"cleared b1 by visit at 02:00:00; ", func(w *writer) {
		w.say("case/k1", "k1", minute(50), &intake.CaseOpenedV1{Source: intake.FromVisit, Callback: b})
		w.say("case/k1", "k1", minute(60), &intake.CaseClosedV1{Result: "met"})
		w.lost("c1", a, "l1", minute(0))
		bornEvent(w)
	})
	test("we reached them", born+"cleared b1 by we_reached at 01:09:40; ", func(w *writer) {
		w.lost("c1", a, "l1", minute(0))
		bornEvent(w)
		tried(w, 0, intake.TryReached)
	})
	test("a supervisor closes one line only, and not a call that is still waiting",
		born+"born b2 abandoned_queue [c2] due 05:00; cleared b1 by supervisor at 01:03:00; born b3 abandoned_ringing [c3] due 05:02; ", func(w *writer) {
			w.lost("c1", a, "l1", minute(0))
			w.lost("c2", a, "l2", minute(0))
			bornEvent(w)
			w.offered("c3", a, "l1", minute(2))
			w.say(b.Subject(), "a", minute(3), &intake.CallbackClearedV1{By: intake.ClearedSupervisor, User: "s1", Reason: "wrong number"})
			w.say("contact/c3", "a", minute(4), &intake.EndedV1{Outcome: intake.AbandonedRinging})
		})
	test("an older attempt heard of late", "born b1 abandoned_queue [c2] due 05:10; joined b1 c1; ", func(w *writer) {
		w.lost("c2", a, "l1", minute(10))
		w.lost("c1", a, "l1", minute(0))
	})
	test("a meeting between two attempts heard of late",
		"born b1 abandoned_queue [c1] due 05:00; joined b1 c2; cleared b1 by resident_reached_us at 01:05:10; born b2 abandoned_queue [c2] due 05:10; ", func(w *writer) {
			w.lost("c1", a, "l1", minute(0))
			w.lost("c2", a, "l1", minute(10))
			w.answered("c3", a, "l2", minute(5))
		})
}

func TestEpisodes(t *testing.T) {
	office := time.FixedZone("CST", 8*3600)
	test := func(name, want string, attempts []int, met ...int) {
		t.Helper()
		var list []Attempt
		var times []time.Time
		for _, m := range attempts {
			list = append(list, Attempt{Contact: intake.ContactID(fmt.Sprint(m)), Arrived: minute(m)})
		}
		for _, m := range met {
			times = append(times, minute(m))
		}
		slices.Reverse(list)
		var got string
		for _, e := range Episodes(list, times, office) {
			got += "["
			for _, a := range e.Attempts {
				got += string(a.Contact) + " "
			}
			if !e.Reached.IsZero() {
				got += fmt.Sprintf("reached %d", int(e.Reached.Sub(start).Minutes()))
			}
			got += "]"
		}
		if got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	const day = 24 * 60 // start is 9:00 at the office
	test("one", "[0 reached 3]", []int{0}, 3)
	test("never", "[0 ]", []int{0}, -3)
	test("gap just under a day, unreached", fmt.Sprintf("[0 %d ]", day-1), []int{0, day - 1})
	test("gap of a day", fmt.Sprintf("[0 ][%d ]", day), []int{0, day})
	test("reached, and again the same day", "[0 60 reached 3]", []int{0, 60}, 3)
	test("reached, and again the next morning", fmt.Sprintf("[0 reached 3][%d ]", day-30), []int{0, day - 30}, 3)
	test("unreached, and again the next morning", fmt.Sprintf("[0 %d reached %d]", day-30, day-20), []int{0, day - 30}, day-20)
	test("reached at the very moment", "[0 reached 0]", []int{0}, 0)
}
