//go:build services

package elastic

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yingda/intake"
	"yingda/search"
)

// reread gives a Reindexing whose stream is these events; what lies behind the last is waited for.
func reread(all []intake.Event, batch int) func(context.Context, []search.Position) (Next, func() error, error) {
	return func(_ context.Context, after []search.Position) (Next, func() error, error) {
		at := 0
		if len(after) == 1 {
			at = int(after[0].Offset) + 1
		}
		next := func(ctx context.Context) ([]intake.Event, []search.Position, error) {
			if at == len(all) {
				<-ctx.Done()
				return nil, nil, ctx.Err()
			}
			from := at
			at = min(at+batch, len(all))
			return all[from:at], []search.Position{{Offset: int64(at - 1)}}, nil
		}
		return next, func() error { return nil }, nil
	}
}

func generations(t *testing.T, c Config) []string {
	t.Helper()
	var all map[string]any
	ask(t, c, http.MethodGet, "/"+c.Index+".g*/_alias", nil, &all)
	var list []string
	for n := range all {
		list = append(list, n)
	}
	return list
}

func TestReindexWhileEventsComeAndPeopleSearch(t *testing.T) {
	all := events(t, 400)
	for name, c := range map[string]struct{ stream, another bool }{
		"from the documents":                     {false, false},
		"from the stream":                        {true, false},
		"from the documents, by another process": {false, true},
		"from the stream, by another process":    {true, true},
	} {
		t.Run(name, func(t *testing.T) {
			config := named(t)
			x := open(t, config, Options{})
			if err := consume(t.Context(), x, all[:len(all)/2], 100, nil); err != nil {
				t.Fatal(err)
			}
			builder := x
			if c.another {
				builder = open(t, config, Options{})
			}
			ctx, stop := context.WithCancel(t.Context())
			var people sync.WaitGroup
			people.Go(func() {
				for ctx.Err() == nil {
					if r, err := x.Search(context.Background(), search.Query{Text: "路灯不亮"}); err != nil || r.Total == 0 {
						t.Errorf("during the reindex: %d hits, %v", r.Total, err)
						return
					}
				}
			})
			written := make(chan error, 1)
			var reached atomic.Int64
			go func() { written <- consume(t.Context(), x, all, 7, func(at int) { reached.Store(int64(at)) }) }()
			done, err := builder.Reindex(t.Context(), Reindexing{Stream: c.stream, Open: reread(all, 150)})
			during := reached.Load()
			if err != nil {
				t.Fatal(err)
			}
			if err := <-written; err != nil {
				t.Fatal(err)
			}
			stop()
			people.Wait()
			agree(t, x, all)
			if list := generations(t, config); len(list) != 1 || list[0] != done.New || done.Old != config.Index+firstGeneration || done.Documents < 200 {
				t.Errorf("there are %v, reindexed %+v", list, done)
			}
			if during <= int64(len(all)/2) {
				t.Errorf("nothing was written while it was built again (%d)", during)
			}
			t.Logf("%+v; the reader was at %d of %d", done, during, len(all))
		})
	}
}

// The dangerous moment: the other process exchanges the index between an Apply and the next, with nothing of the last batch.
func TestExchangeBehindTheBackOfAReader(t *testing.T) {
	all := events(t, 50)
	c := named(t)
	x, other := open(t, c, Options{}), open(t, c, Options{})
	half := len(all) / 2
	if err := consume(t.Context(), x, all[:half], 1000, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Reindex(t.Context(), Reindexing{Open: reread(all[:half], 10), Keep: true}); err != nil {
		t.Fatal(err)
	}
	// x still believes in the old one, which is there: what it writes is not seen, so it must hear of it.
	if err := x.Apply(t.Context(), all[half:], search.Position{Offset: int64(len(all) - 1)}); !errors.Is(err, ErrMoved) {
		t.Fatalf("%v, want ErrMoved", err)
	}
	if at, err := x.Position(t.Context()); err != nil || len(at) != 1 || at[0].Offset != int64(half-1) {
		t.Fatalf("position %v (%v), want %d", at, err, half-1)
	}
	if err := consume(t.Context(), x, all, 1000, nil); err != nil {
		t.Fatal(err)
	}
	agree(t, x, all)
}

func TestReindexThatFailsChangesNothingAndOneThatDiedIsSwept(t *testing.T) {
	all := events(t, 50)
	c := named(t)
	x := open(t, c, Options{})
	if err := consume(t.Context(), x, all, 1000, nil); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("log is gone")
	_, err := x.Reindex(t.Context(), Reindexing{Stream: true, Open: func(context.Context, []search.Position) (Next, func() error, error) {
		return func(context.Context) ([]intake.Event, []search.Position, error) { return nil, nil, broken }, func() error { return nil }, nil
	}})
	if !errors.Is(err, broken) {
		t.Errorf("%v, want %v", err, broken)
	}
	agree(t, x, all)
	if list := generations(t, c); len(list) != 1 {
		t.Errorf("left over: %v", list)
	}
	// One that died long ago, and one that is at work.
	dead := &build{x: x, old: c.Index + firstGeneration}
	if err := dead.begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Reindex(t.Context(), Reindexing{Open: reread(all, 100)}); !errors.Is(err, ErrBusy) {
		t.Errorf("beside one that is at work: %v, want ErrBusy", err)
	}
	if list := generations(t, c); len(list) != 2 {
		t.Errorf("after giving way: %v", list)
	}
	ask(t, c, http.MethodPut, "/"+dead.fresh.name+"/_doc/"+kindLease, obj{"kind": kindLease, "doc": obj{"at": time.Now().Add(-2 * leaseFor).UnixMilli()}}, nil)
	done, err := x.Reindex(t.Context(), Reindexing{Open: reread(all, 100)})
	if err != nil {
		t.Fatal(err)
	}
	if list := generations(t, c); len(list) != 1 || list[0] != done.New {
		t.Errorf("after sweeping: %v, want %s", list, done.New)
	}
	agree(t, x, all)
}

func TestAnotherRegionMakesItStaleUntilReindexed(t *testing.T) {
	c := named(t)
	e := intake.Event{Source: "t", Subject: "contact/1", Sequence: intake.NewSequence(1, 1), Time: time.Unix(1e9, 0), PartitionKey: "k",
		Data: &intake.OfferedV1{Channel: intake.App, Line: "1"}, Personal: intake.PersonalJSON{Text: "黄家弄的事"}.Conceal()}
	x := open(t, c, Options{})
	if err := x.Apply(t.Context(), []intake.Event{e}, search.Position{Offset: 0}); err != nil {
		t.Fatal(err)
	}
	if stale, err := x.Stale(t.Context()); err != nil || stale {
		t.Errorf("stale from the beginning (%v)", err)
	}
	wu, err := search.NewAnalyzer(search.AnalyzerConfig{Region: "wu"})
	if err != nil {
		t.Fatal(err)
	}
	x = open(t, c, Options{Analyzer: wu})
	if stale, err := x.Stale(t.Context()); err != nil || !stale {
		t.Errorf("not stale although sounds are folded otherwise (%v)", err)
	}
	if _, err := x.Reindex(t.Context(), Reindexing{Open: reread([]intake.Event{e}, 1)}); err != nil {
		t.Fatal(err)
	}
	if stale, err := x.Stale(t.Context()); err != nil || stale {
		t.Errorf("still stale after the reindex (%v)", err)
	}
	if n, err := x.Count(t.Context(), search.Query{Text: "王家"}); err != nil || n != 1 {
		t.Errorf("黄 is not found as 王 by Wu ears: %d, %v", n, err)
	}
}

func TestRetainDeletesWhatHasEndedLongAgo(t *testing.T) {
	c := named(t)
	x := open(t, c, Options{})
	day := func(n int) time.Time { return time.Date(2026, 11, 1+n, 0, 0, 0, 0, time.UTC) }
	var list []intake.Event
	tell := func(id string, n uint32, at time.Time, d intake.Data) {
		list = append(list, intake.Event{Source: "t", Subject: intake.Subject(id), Sequence: intake.NewSequence(1, n), Time: at, PartitionKey: "k", Data: d})
	}
	for _, s := range []struct {
		id    string
		ended int
	}{{"contact/old", 1}, {"contact/young", 9}} {
		tell(s.id, 1, day(0), &intake.OfferedV1{Channel: intake.App, Line: "1"})
		tell(s.id, 2, day(s.ended), &intake.EndedV1{Outcome: intake.Accepted})
	}
	tell("case/open", 1, day(0), &intake.CaseOpenedV1{Contacts: []intake.ContactID{"old"}})
	tell("case/closed", 1, day(0), &intake.CaseOpenedV1{})
	tell("case/closed", 2, day(2), &intake.CaseClosedV1{})
	tell("callback/owed", 1, day(0), &intake.CallbackBornV1{})
	if err := x.Apply(t.Context(), list, search.Position{Offset: 7}); err != nil {
		t.Fatal(err)
	}
	gone, err := x.Retain(t.Context(), day(5))
	if err != nil || gone != 2 {
		t.Errorf("%d deleted (%v), want 2", gone, err)
	}
	r, err := x.Search(t.Context(), search.Query{})
	var left []string
	for _, h := range r.Hits {
		left = append(left, string(h.ID))
	}
	if err != nil || strings.Join(left, " ") != "case/open contact/young callback/owed" {
		t.Errorf("left: %v (%v)", left, err)
	}
	if at, err := x.Position(t.Context()); err != nil || len(at) != 1 || at[0].Offset != 7 {
		t.Errorf("position %v (%v)", at, err)
	}
	if gone, err := x.Retain(t.Context(), day(5)); err != nil || gone != 0 {
		t.Errorf("again: %d deleted (%v)", gone, err)
	}
}
