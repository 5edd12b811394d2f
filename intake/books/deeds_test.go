package books

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
)

// told lists the types of what was put into the outbox for a callback, with their sequences checked.
func (o *office) told(id intake.CallbackID) string {
	o.t.Helper()
	var list []string
	var seq intake.Sequence
	for _, e := range o.kept.events {
		if e.Subject != id.Subject() {
			continue
		}
		if e.Sequence != seq.Next(1) || e.PartitionKey != "a" || e.Check() != nil {
			o.t.Errorf("%s comes after %s, key %q: %v", e.ID(), seq, e.PartitionKey, e.Check())
		}
		seq = e.Sequence
		list = append(list, strings.TrimSuffix(strings.TrimPrefix(string(e.Type()), "callback."), ".v1"))
	}
	return strings.Join(list, " ")
}

func (o *office) callback(id intake.CallbackID) Callback {
	o.t.Helper()
	c, err := o.Callback(o.t.Context(), id)
	if err != nil {
		o.t.Fatal(err)
	}
	return c
}

const b1 = intake.CallbackID("b00001")

func TestLifeOfACallback(t *testing.T) {
	t.Parallel()
	o := open(t)
	ctx := t.Context()
	want := func(err, target error) {
		t.Helper()
		if !errors.Is(err, target) || (target == nil) != (err == nil) {
			t.Errorf("got %v, want %v", err, target)
		}
	}
	o.lost("c1", "a", end.Add(-20*time.Minute))
	o.lost("c2", "a", end.Add(-10*time.Minute))

	want(o.TakeCallback(ctx, "nobody", "o1"), ErrNotFound)
	want(o.TakeCallback(ctx, b1, "o1"), nil)
	want(o.TakeCallback(ctx, b1, "o1"), nil)
	var held *InHandError
	if err := o.TakeCallback(ctx, b1, "o2"); !errors.As(err, &held) || held.By != "o1" || !errors.Is(err, ErrInHand) {
		t.Errorf("another takes it: %v", err)
	}
	want(o.ReleaseCallback(ctx, b1, "o2"), ErrNotYours)
	want(o.ReleaseCallback(ctx, b1, "o1"), nil)
	want(o.ReleaseCallback(ctx, b1, "o1"), nil)
	want(o.AssignCallback(ctx, b1, "o3", "s1"), nil)
	want(o.AssignCallback(ctx, b1, "o2", "s1"), nil)
	if c := o.callback(b1); c.InHand != "o2" || c.GivenBy != "s1" || len(c.Attempts) != 2 || c.Number.Reveal() != "13800005678" || c.Waited(end) != 20*time.Minute {
		t.Errorf("%+v", c)
	}
	want(o.Tried(ctx, b1, intake.CallbackTriedV1{Attempt: "t1", Operator: "o2", Result: "perhaps"}), ErrInvalid)
	for i := range 4 {
		try := intake.CallbackTriedV1{Attempt: intake.AttemptID(fmt.Sprint("t", i)), Operator: "o2", Result: intake.TryNoAnswer, Seconds: 40}
		want(o.Tried(ctx, b1, try), nil)
		want(o.Tried(ctx, b1, try), nil)
	}
	if c := o.callback(b1); c.InHand != "" || !c.Visit || len(c.Tries) != 4 || c.ClearedBy != "" {
		t.Errorf("after four tries: %+v", c)
	}
	want(o.CloseCallback(ctx, b1, "s1", "  "), ErrNoReason)
	want(o.CloseCallback(ctx, b1, "s1", "女儿说已经办好了"), nil)
	want(o.CloseCallback(ctx, b1, "s1", "again"), ErrCleared)
	want(o.TakeCallback(ctx, b1, "o1"), ErrCleared)
	want(o.AssignCallback(ctx, b1, "o1", "s1"), ErrCleared)
	if c := o.callback(b1); c.ClearedBy != intake.ClearedSupervisor || c.ClearedUser != "s1" || c.ClearedReason != "女儿说已经办好了" || !c.Cleared.Equal(end) {
		t.Errorf("closed: %+v", c)
	}
	if got := o.told(b1); got != "born joined taken released taken released taken tried released tried tried visit tried cleared" {
		t.Errorf("told: %s", got)
	}
	// A try that was under way is kept.
	want(o.Tried(ctx, b1, intake.CallbackTriedV1{Attempt: "t9", Operator: "o2", Result: intake.TryReached, Seconds: 5}), nil)
	if c := o.callback(b1); len(c.Tries) != 5 || c.ClearedBy != intake.ClearedSupervisor {
		t.Errorf("a late try: %+v", c)
	}
}

func TestReachedByUsClearsEveryLine(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.lost("c1", "a", end.Add(-20*time.Minute))
	o.say("contact/c2", "a", end.Add(-15*time.Minute), &intake.OfferedV1{Channel: intake.Phone, Line: "wuye", Caller: "a"}, wang)
	o.say("contact/c2", "a", end.Add(-14*time.Minute), &intake.EndedV1{Outcome: intake.AbandonedRinging})
	if err := o.Tried(t.Context(), b1, intake.CallbackTriedV1{Attempt: "t1", Operator: "o1", Result: intake.TryReached, Seconds: 60}); err != nil {
		t.Fatal(err)
	}
	today, err := o.ClearedToday(t.Context())
	if err != nil || len(today) != 2 {
		t.Fatal(today, err)
	}
	for _, c := range today {
		if c.ClearedBy != intake.ClearedWeReached || c.ClearedAttempt != "t1" || c.ClearedUser != "o1" || !c.Cleared.Equal(end.Add(-time.Minute)) {
			t.Errorf("%+v", c)
		}
	}
	f, err := o.Caller(t.Context(), "a", end)
	if err != nil || f.Attempts != 0 || !f.Failed.IsZero() || f.Callback != "" || !f.LastReached.Equal(end.Add(-time.Minute)) || f.Contacts != 2 {
		t.Errorf("caller %+v %v", f, err)
	}
}

func TestAVisitClears(t *testing.T) {
	t.Parallel()
	o := open(t, func(c *Config) { c.MaxTries = 1 })
	o.lost("c1", "a", end.Add(-20*time.Minute))
	if err := o.Tried(t.Context(), b1, intake.CallbackTriedV1{Attempt: "t1", Operator: "o1", Result: intake.TryNoAnswer}); err != nil {
		t.Fatal(err)
	}
	if got := o.told(b1); got != "born tried visit" {
		t.Fatal(got)
	}
	if e := o.kept.events[len(o.kept.events)-1]; e.Personal.Number.Reveal() != "13800005678" || e.Personal.Name.Reveal() != "王阿姨" {
		t.Errorf("the visit does not say to whom: %v", e.Personal)
	}
	o.say("case/k1", "k1", end, &intake.CaseOpenedV1{Source: intake.FromVisit, Callback: b1, Contacts: []intake.ContactID{"c1"}})
	o.say("case/k1", "k1", end.Add(time.Hour), &intake.CaseClosedV1{Result: "not_found", By: "w1"})
	if c := o.callback(b1); c.ClearedBy != "" {
		t.Errorf("nobody was met, and yet %+v", c)
	}
	o.say("case/k1", "k1", end.Add(2*time.Hour), &intake.CaseClosedV1{Result: "met", By: "w1"})
	if c := o.callback(b1); c.ClearedBy != intake.ClearedVisit || c.ClearedCase != "k1" || c.ClearedUser != "w1" || !c.Cleared.Equal(end.Add(2*time.Hour)) {
		t.Errorf("%+v", c)
	}
	c, err := o.Contact(t.Context(), "c1")
	if err != nil || c.Case != "k1" || c.Callback != b1 {
		t.Errorf("contact %+v %v", c, err)
	}
}

func TestCorrectedEndTakesTheDebtAway(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.offered("c1", "a", end.Add(-20*time.Minute))
	o.say("contact/c1", "a", end.Add(-15*time.Minute), &intake.EndedV1{Outcome: intake.Interrupted, Reason: intake.ReasonRestarted, Provisional: true})
	if c := o.callback(b1); c.Cause != intake.Interrupted || c.ClearedBy != "" {
		t.Fatalf("%+v", c)
	}
	o.say("contact/c1", "a", end.Add(-15*time.Minute), &intake.EndedV1{Outcome: intake.Answered, WaitedMS: 4000})
	if c := o.callback(b1); c.ClearedBy != intake.ClearedResidentReached || c.ClearedContact != "c1" {
		t.Errorf("%+v", c)
	}
	if list, err := o.Unreturned(t.Context(), UnreturnedFilter{}); err != nil || len(list) != 0 {
		t.Errorf("%v %v", list, err)
	}
}

func TestManyTakeOneGets(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.lost("c1", "a", end.Add(-20*time.Minute))
	errs := make([]error, 16)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			errs[i] = o.TakeCallback(t.Context(), b1, intake.UserID(fmt.Sprint("o", i)))
		})
	}
	// At the same time the caller gets through on their own.
	answer := []intake.Data{&intake.OfferedV1{Channel: intake.Phone, Line: "main", Caller: "a"}, &intake.AnsweredV1{Operator: "o1"}}
	wg.Wait()
	got := 0
	for _, err := range errs {
		if err == nil {
			got++
		} else if !errors.Is(err, ErrInHand) {
			t.Error(err)
		}
	}
	if got != 1 || o.told(b1) != "born taken" {
		t.Errorf("%d got it: %s", got, o.told(b1))
	}
	for i, d := range answer {
		o.say("contact/c2", "a", end.Add(time.Duration(i)*time.Second), d)
	}
	if c := o.callback(b1); c.ClearedBy != intake.ClearedResidentReached || c.InHand != "" {
		t.Errorf("%+v", c)
	}
}

func TestHeldTooLong(t *testing.T) {
	t.Parallel()
	o := open(t, func(c *Config) { c.Hold = 10 * time.Minute })
	o.lost("c1", "a", end.Add(-20*time.Minute))
	if next, err := o.Wake(t.Context(), end); err != nil || !next.IsZero() {
		t.Fatal(next, err)
	}
	if err := o.TakeCallback(t.Context(), b1, "o1"); err != nil {
		t.Fatal(err)
	}
	if next, err := o.Wake(t.Context(), end.Add(9*time.Minute)); err != nil || !next.Equal(end.Add(10*time.Minute)) || o.callback(b1).InHand != "o1" {
		t.Errorf("too early: %v %v", next, err)
	}
	if next, err := o.Wake(t.Context(), end.Add(10*time.Minute)); err != nil || !next.IsZero() || o.callback(b1).InHand != "" {
		t.Errorf("given back: %v %v", next, err)
	}
	if got := o.told(b1); got != "born taken released" {
		t.Error(got)
	}
}

func TestSequenceGoesOnAfterARestart(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.lost("c1", "a", end.Add(-20*time.Minute))
	cfg := o.cfg
	cfg.Epoch = 2
	next, err := New(t.Context(), o.db, cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := next.TakeCallback(t.Context(), b1, "o1"); err != nil {
		t.Fatal(err)
	}
	if e := o.kept.events[1]; e.Sequence != intake.NewSequence(2, 1) {
		t.Errorf("sequence %s", e.Sequence)
	}
}

func TestCannotBeRead(t *testing.T) {
	t.Parallel()
	o := open(t)
	before := o.tables()
	o.take(stream.Record{Raw: []byte("{"), Err: errors.New("not JSON")})
	same(t, "what cannot be read", before, o.tables())
}
