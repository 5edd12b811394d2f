package books

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
	_ "time/tzdata"

	"yingda/intake"
	"yingda/intake/stream"
)

func TestSplitAndQuartersAddUp(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.take(history(9, end, 5, 60)...)
	from, to := end.AddDate(0, 0, -3), end
	r, err := o.Rates(t.Context(), from, to, "", "")
	if err != nil || r.Offered == 0 {
		t.Fatal(r.Offered, err)
	}
	parts, err := o.Split(t.Context(), from, to)
	if err != nil {
		t.Fatal(err)
	}
	var sum Part
	for _, p := range parts {
		one, err := o.Rates(t.Context(), from, to, p.Line, p.Channel)
		if err != nil {
			t.Fatal(err)
		}
		if p.Offered != one.Offered || p.Answered != one.Counts.Answered() || p.Lost != one.Counts.Lost() || p.Open != one.Open {
			t.Errorf("%+v, want %+v", p, one.Counts)
		}
		sum.Offered += p.Offered
		sum.Lost += p.Lost
		bars, err := o.Quarters(t.Context(), from, to, p.Line, p.Channel)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range bars {
			p.Offered -= b.Offered
			p.Lost -= b.Lost
		}
		if p.Offered != 0 || p.Lost != 0 {
			t.Errorf("the quarters of %s %s miss %d, %d", p.Line, p.Channel, p.Offered, p.Lost)
		}
	}
	if sum.Offered != r.Offered || sum.Lost != r.Counts.Lost() {
		t.Errorf("%+v, want %+v", sum, r.Counts)
	}
}

func TestContactsOfAnHourOfTheDay(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	o := open(t, func(c *Config) { c.Office = berlin })
	o.at = time.Date(2026, 10, 27, 12, 0, 0, 0, time.UTC)
	at := func(day, hour, minute int) time.Time { return time.Date(2026, 10, day, hour, minute, 0, 0, berlin) }
	for i, x := range []time.Time{at(24, 9, 15), at(24, 9, 14), at(24, 9, 29), at(25, 9, 20), at(25, 9, 30), at(26, 9, 16), at(26, 21, 16)} { // on the 25th the clock is put back
		o.lost(intake.ContactID(fmt.Sprintf("c%d", i)), intake.Token(fmt.Sprintf("t%d", i)), x)
	}
	ids := func(f Filter) []string {
		t.Helper()
		var list []string
		for c, err := range o.Contacts(t.Context(), f) {
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, string(c.ID))
		}
		slices.Sort(list)
		return list
	}
	f := Filter{From: at(24, 0, 0), To: at(27, 0, 0), Daily: [2]int{555, 570}}
	if got := ids(f); !slices.Equal(got, []string{"c0", "c2", "c3", "c5"}) {
		t.Errorf("from 9:15 to 9:30: %v", got)
	}
	f.From = at(25, 0, 0)
	if got := ids(f); !slices.Equal(got, []string{"c3", "c5"}) {
		t.Errorf("of two days: %v", got)
	}
	for _, bad := range []Filter{{Daily: [2]int{0, 15}}, {From: end, To: end.AddDate(0, 0, 401), Daily: [2]int{0, 15}}, {From: end, To: end, Daily: [2]int{15, 15}}, {From: end, To: end, Daily: [2]int{0, 1441}}} {
		for _, err := range o.Contacts(t.Context(), bad) {
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%+v: %v", bad, err)
			}
		}
	}
}

func TestStateTimesAndMisses(t *testing.T) {
	t.Parallel()
	o := open(t)
	op := intake.UserID("o1")
	state := func(ago time.Duration, s string) {
		o.say(op.Subject(), "o1", end.Add(-ago), &intake.OperatorStateV1{State: s})
	}
	state(10*time.Hour, "idle")
	state(5*time.Hour, "talking")
	state(4*time.Hour, "wrap_up")
	state(210*time.Minute, "break")
	state(3*time.Hour, "idle")
	state(2*time.Hour, "offline")
	state(30*time.Minute, "idle")
	test := func(from, to time.Duration, want map[string]time.Duration) {
		t.Helper()
		got, err := o.StateTimes(t.Context(), end.Add(-from), end.Add(-to))
		if err != nil || len(got[op]) != len(want) {
			t.Errorf("%v %v", got, err)
		}
		for s, d := range want {
			if got[op][s] != d {
				t.Errorf("%s for %v, want %v", s, got[op][s], d)
			}
		}
	}
	test(6*time.Hour, 0, map[string]time.Duration{"idle": 150 * time.Minute, "talking": time.Hour, "wrap_up": 30 * time.Minute, "break": 30 * time.Minute})
	test(270*time.Minute, 225*time.Minute, map[string]time.Duration{"talking": 30 * time.Minute, "wrap_up": 15 * time.Minute}) // cut at both ends
	test(2*time.Hour, time.Hour, nil)
	test(30*time.Minute, -time.Hour, map[string]time.Duration{"idle": 30 * time.Minute}) // what is to come is not counted
	test(-time.Hour, -2*time.Hour, nil)

	o.offered("c1", "t1", end.Add(-time.Hour))
	o.say(intake.ContactID("c1").Subject(), "t1", end.Add(-time.Hour), &intake.RangV1{Operator: op, Offer: "f1"})
	o.say(intake.ContactID("c1").Subject(), "t1", end.Add(-59*time.Minute), &intake.UnrangV1{Operator: op, Offer: "f1", Why: "no_answer"})
	o.offered("c2", "t2", end.Add(-50*time.Minute))
	o.say(intake.ContactID("c2").Subject(), "t2", end.Add(-50*time.Minute), &intake.RangV1{Operator: op, Offer: "f2"})
	o.say(intake.ContactID("c2").Subject(), "t2", end.Add(-49*time.Minute), &intake.UnrangV1{Operator: op, Offer: "f2", Why: "resident_left"})
	o.answered("c3", "t3", end.Add(-40*time.Minute))
	var missed []intake.ContactID
	for c, err := range o.Contacts(t.Context(), Filter{Missed: op}) {
		if err != nil {
			t.Fatal(err)
		}
		missed = append(missed, c.ID)
	}
	if !slices.Equal(missed, []intake.ContactID{"c1"}) {
		t.Errorf("missed %v", missed)
	}
	by, err := o.OperatorChannels(t.Context(), end.Add(-time.Hour), end)
	if err != nil || by[op][intake.Phone] != 1 || len(by) != 1 {
		t.Errorf("%v %v", by, err)
	}
}

func TestClearedBetweenGoesOn(t *testing.T) {
	t.Parallel()
	o := open(t)
	for i := range 7 {
		id, caller := intake.ContactID(fmt.Sprintf("a%d", i)), intake.Token(fmt.Sprintf("t%d", i))
		o.lost(id, caller, end.Add(-3*time.Hour))
		o.answered("b"+id, caller, end.Add(-2*time.Hour).Add(time.Duration(i/3)*time.Minute)) // three at a time
	}
	var got []intake.CallbackID
	var after Callback
	for {
		page, err := o.ClearedBetween(t.Context(), end.Add(-4*time.Hour), end, after, 2)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range page {
			if c.Cleared.Before(after.Cleared) {
				t.Error("not the oldest first")
			}
			got, after = append(got, c.ID), c
		}
		if len(page) < 2 {
			break
		}
	}
	slices.Sort(got)
	if n := len(slices.Compact(got)); n != 7 {
		t.Errorf("%d of 7: %v", n, got)
	}
	if list, err := o.ClearedBetween(t.Context(), end.Add(-time.Hour), end, Callback{}, 10); err != nil || len(list) != 0 {
		t.Errorf("of another hour: %v %v", list, err)
	}
}

func TestTrailTellsWhatWasDone(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.lost("c1", "t1", end.Add(-3*time.Hour))
	at := func(m int) time.Time { return end.Add(-time.Hour).Add(time.Duration(m) * time.Minute) }
	o.say("person/p1", "c1", at(1), &intake.PersonRevealedV1{Viewer: "u1", What: "contact/c1", Field: "number", Reason: "check"})
	o.say("person/p2", "c1", at(2), &intake.RecordingPlayedV1{Viewer: "u2", Recording: "r1", FromMS: 5, ToMS: 9})
	o.say("list/l1", "u1", at(3), &intake.ListExportedV1{Viewer: "u1", List: "contacts", Format: "csv", Filter: "state=lost"})
	o.say("account/a1", "u1", at(4), &intake.AccountSignedV1{User: "u1", How: intake.SignedIn, Wall: true})
	o.say("account/a2", "u3", at(5), &intake.AccountChangedV1{User: "u3", By: "u2", What: intake.AccountChanged, Role: "auditor", Before: "operator"})
	o.say("line/main", "main", at(6), &intake.LineChangedV1{Line: intake.Line{ID: "main", Name: "便民热线"}, By: "u2"})
	o.say("grid/registry", "grid", at(7), &intake.GridImportedV1{Version: "v2", Rows: 3})
	if err := o.CloseCallback(t.Context(), "b00001", "u1", "test_call"); err != nil {
		t.Fatal(err)
	}
	for _, e := range o.kept.events { // it comes back through the stream
		o.take(stream.Record{Event: e, Raw: rawOf(e)})
	}
	o.say("contact/c1", "t1", at(9), &intake.ErasedV1{By: "u2", Ground: "asked"})
	ask := func(f ActFilter) []Act {
		t.Helper()
		list, err := o.Acts(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	kinds := func(list []Act) (out []string) {
		for _, a := range list {
			out = append(out, a.Kind)
		}
		return out
	}
	all := ask(ActFilter{Oldest: true})
	if got := kinds(all); !slices.Equal(got, []string{"revealed", "played", "exported", "signed", "account", "line", "grid", "erased", "callback"}) {
		t.Fatalf("%v", got)
	}
	if a := all[0]; a.Who != "u1" || a.Contact != "c1" || a.What != "number" || a.Reason != "check" || !a.At.Equal(at(1)) {
		t.Errorf("%+v", a)
	}
	if a := all[1]; a.Contact != "c1" || a.More["from_ms"] != "5" || a.More["to_ms"] != "9" {
		t.Errorf("%+v", a)
	}
	if a := all[4]; a.Who != "u2" || a.Of != "account/u3" || a.More["role"] != "auditor" || a.More["before"] != "operator" {
		t.Errorf("%+v", a)
	}
	if a := all[8]; a.Who != "u1" || a.Reason != "test_call" {
		t.Errorf("%+v", a)
	}
	if got := kinds(ask(ActFilter{Who: "u2"})); !slices.Equal(got, []string{"erased", "line", "account", "played"}) {
		t.Errorf("of u2: %v", got)
	}
	if got := kinds(ask(ActFilter{Kind: ActLine})); len(got) != 1 {
		t.Errorf("lines: %v", got)
	}
	if got := kinds(ask(ActFilter{From: at(3), To: at(5)})); !slices.Equal(got, []string{"signed", "exported"}) {
		t.Errorf("of two minutes: %v", got)
	}
	for _, oldest := range []bool{false, true} {
		f := ActFilter{Oldest: oldest, Limit: 2}
		var got []string
		for {
			page := ask(f)
			if len(page) == 0 {
				break
			}
			got = append(got, kinds(page)...)
			f.After = ActCursor{page[len(page)-1].At, page[len(page)-1].ID}
		}
		if len(got) != len(all) {
			t.Errorf("in pages: %v", got)
		}
	}
	before := len(all)
	for range 2 { // what comes again is passed over
		o.take(stream.Record{Event: intake.Event{Subject: "person/p1", Sequence: o.seq["person/p1"], Time: at(1), PartitionKey: "c1", Data: &intake.PersonRevealedV1{Viewer: "u9"}}, Raw: rawOf(intake.Event{Subject: "person/p1", Sequence: o.seq["person/p1"], Time: at(1), PartitionKey: "c1", Data: &intake.PersonRevealedV1{Viewer: "u9"}})})
	}
	if all := ask(ActFilter{Oldest: true}); len(all) != before || all[0].Who != "u1" {
		t.Errorf("%+v", all[0])
	}
}
