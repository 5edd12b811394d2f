package elastic

import (
	"context"
	"errors"
	"net/http/httptest"
	"slices"
	"testing"

	"yingda/intake/stream"
	"yingda/search/searchtest"
)

// lines is a reader of records that are there; behind the last it waits. Its fields are not guarded: the race detector sees a second goroutine.
type lines struct {
	records   []stream.Record
	at        int
	committed []int64
	end       error // instead of waiting
}

func (r *lines) Fetch(ctx context.Context, limit int) ([]stream.Record, error) {
	if r.at == len(r.records) {
		if r.end != nil {
			return nil, r.end
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	from := r.at
	r.at = min(r.at+limit, len(r.records))
	return r.records[from:r.at], nil
}

func (r *lines) Commit(_ context.Context, done ...stream.Position) error {
	r.committed = append(r.committed, done[0].Offset)
	return nil
}

func (r *lines) Close() error { return nil }

func TestFollowCommitsWhatIsInEvenWhenNothingComesAfterIt(t *testing.T) {
	f := newFake()
	s := httptest.NewServer(f)
	defer s.Close()
	set, err := searchtest.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	r := &lines{}
	for i, e := range (searchtest.Set{Items: set.Items[:50]}).Events() {
		r.records = append(r.records, stream.Record{Position: stream.Position{Offset: int64(i)}, Event: e})
	}
	last := int64(len(r.records) - 1)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	x := opened(t, Config{Addresses: []string{s.URL}})
	seen := 0
	err = x.Follow(ctx, r, 40, func(records []stream.Record) {
		if seen += len(records); seen == len(r.records) {
			stop()
		}
	})
	if !errors.Is(err, context.Canceled) || seen != len(r.records) {
		t.Errorf("%d of %d records are in: %v", seen, len(r.records), err)
	}
	if !slices.IsSorted(r.committed) || len(r.committed) == 0 || r.committed[len(r.committed)-1] != last {
		t.Errorf("committed %v, want up to %d", r.committed, last)
	}
	// What fails is told, and what was read before it is in.
	broken := errors.New("the log is gone")
	r = &lines{records: r.records, end: broken}
	if err := x.Follow(t.Context(), r, 1000, nil); !errors.Is(err, broken) || len(r.committed) != 1 || r.committed[0] != last {
		t.Errorf("%v, committed %v", err, r.committed)
	}
	full := errors.New("the topic is full")
	x.letter = func(context.Context, Letter) error { return full }
	strange := r.records[0]
	strange.Event.Time = strange.Event.Time.AddDate(10_000, 0, 0)
	strange.Event.Sequence += 1 << 40
	r = &lines{records: []stream.Record{strange}}
	if err := x.Follow(t.Context(), r, 10, nil); !errors.Is(err, full) || len(r.committed) != 0 {
		t.Errorf("%v, committed %v", err, r.committed)
	}
}
