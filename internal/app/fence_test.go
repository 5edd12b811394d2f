package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"yingda/intake/stream"
	"yingda/intake/stream/sqllog"
	"yingda/internal/store"
)

// letters are dead letters in memory.
type letters struct {
	stream.DeadLetters
	put  []stream.Letter
	fail error
}

func (l *letters) Put(_ context.Context, letter stream.Letter) error {
	if l.fail == nil {
		l.put = append(l.put, letter)
	}
	return l.fail
}

func batch(list ...string) (records []stream.Record) {
	for _, s := range list {
		var r stream.Record
		if _, err := fmt.Sscanf(s, "%d/%d", &r.Partition, &r.Offset); err != nil {
			panic(err)
		}
		records = append(records, r)
	}
	return records
}

// Whatever the order in which two nodes bring what they have, each record has one effect.
func TestFenced(t *testing.T) {
	ctx := t.Context()
	db, err := store.Open(ctx, filepath.Join(t.TempDir(), "t.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var applied []string
	var fail error
	over := 0
	f := &fence{db: db, group: "books", over: func(context.Context, *store.Tx) error { over++; return nil }, apply: func(_ context.Context, _ *store.Tx, records []stream.Record) error {
		if fail != nil {
			return fail
		}
		for _, r := range records {
			again := ""
			if r.Again {
				again = " again"
			}
			applied = append(applied, fmt.Sprintf("%d/%d%s", r.Partition, r.Offset, again))
		}
		return nil
	}}
	apply := f.bring
	test := func(want []string, records ...string) {
		t.Helper()
		applied = nil
		if err := apply(ctx, batch(records...)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(applied, want) {
			t.Errorf("%v had the effect %v, want %v", records, applied, want)
		}
	}
	test([]string{"3/0", "3/1", "7/0"}, "3/0", "3/1", "7/0")
	test([]string{"3/2"}, "3/1", "3/2")        // the new owner began where the old one had committed
	test(nil, "3/0", "3/1", "3/2")             // the old one comes too late
	test([]string{"7/1"}, "3/2", "7/0", "7/1") // and so for each partition
	test([]string{"3/5"}, "3/5", "3/5")        // offsets may have gaps; the same twice is once
	test([]string{"0/9"}, "0/9", "3/4", "0/9") // never back
	fail = errors.New("no")
	if err := apply(ctx, batch("3/6")); !errors.Is(err, fail) {
		t.Errorf("%v", err)
	}
	fail = nil
	test([]string{"3/6"}, "3/6") // what failed is not behind us
	at, err := db.Positions(ctx, "books")
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(at, func(a, b stream.Position) int { return int(a.Partition - b.Partition) })
	if want := []stream.Position{{Offset: 9}, {Partition: 3, Offset: 6}, {Partition: 7, Offset: 1}}; !slices.Equal(at, want) {
		t.Errorf("positions %v, want %v", at, want)
	}
	ends := []stream.Position{{Offset: 9}, {Partition: 3, Offset: 6}, {Partition: 7, Offset: 1}}
	emptied := false
	empty := func(context.Context, *store.Tx) error { emptied = true; return nil }
	n, err := replay(ctx, db, "books", []stream.Position{{Offset: -1}, {Partition: 3, Offset: 4}, {Partition: 7, Offset: 5}}, ends, func(int32) bool { return false }, empty)
	if err != nil || !emptied || n != 12 {
		t.Fatalf("%d to be read again, %v, emptied %v", n, err, emptied)
	}
	// Whoever had read on before notices, whether something comes or not, and opens its reader anew.
	if !f.moved(ctx) {
		t.Error("that the positions were moved back is not noticed")
	}
	if err := apply(ctx, batch("3/7")); !errors.Is(err, errMoved) {
		t.Errorf("what came next was taken: %v", err)
	}
	if _, err := f.from(ctx); err != nil || f.moved(ctx) {
		t.Errorf("opened anew: %v", err)
	}
	test([]string{"0/0 again", "3/5 again", "3/6 again", "7/2"}, "0/0", "3/4", "3/5", "3/6", "7/1", "7/2")
	test([]string{"0/9 again", "0/10", "3/7"}, "0/9", "0/10", "3/7")
	if over != 1 {
		t.Errorf("the replay was over %d times", over)
	}
	// A stream that was made anew is shorter, and has fewer partitions.
	if n, err = replay(ctx, db, "books", []stream.Position{{Offset: -1}, {Partition: 3, Offset: -1}}, []stream.Position{{Offset: 2}, {Partition: 3, Offset: -1}}, func(p int32) bool { return p == 7 }, nil); err != nil || n != 3 {
		t.Fatalf("%d to be read again, %v", n, err)
	}
	if at, err = f.from(ctx); err != nil || fmt.Sprint(at) != "[{0 -1} {3 -1}]" {
		t.Errorf("positions %v, %v", at, err)
	}
	test([]string{"0/2 again", "3/0"}, "0/2", "3/0")
	if over != 2 {
		t.Errorf("the replay was over %d times", over)
	}
}

func TestPutAside(t *testing.T) {
	dead := &letters{}
	bad := stream.Record{Position: stream.Position{Partition: 2, Offset: 5}, Raw: []byte("rubbish"), Err: errors.New("no event")}
	if err := putAside(t.Context(), dead, "search", 1, []stream.Record{{}, bad, {}}); err != nil {
		t.Fatal(err)
	}
	want := stream.Letter{Consumer: "search", Source: streamSource, Position: bad.Position, Raw: bad.Raw, Reason: "no event", Attempts: 1}
	if len(dead.put) != 1 || fmt.Sprint(dead.put[0]) != fmt.Sprint(want) {
		t.Errorf("%+v", dead.put)
	}
	dead.fail = errors.New("full")
	if err := putAside(t.Context(), dead, "search", 1, []stream.Record{bad}); !errors.Is(err, dead.fail) {
		t.Errorf("what could not be put aside was passed over: %v", err)
	}
}

// A record that can never be used does not hold up those behind it, and none but it goes aside.
func TestOneBadRecord(t *testing.T) {
	dead := &letters{}
	broken := errors.New("no such column")
	alive := true
	var applied []string
	c := &consumer{name: "books", slog: slog.New(slog.DiscardHandler), dead: func() stream.DeadLetters { return dead }, alive: func(context.Context) bool { return alive },
		apply: func(_ context.Context, records []stream.Record) error {
			for _, r := range records {
				if r.Offset == 2 && r.Err == nil {
					return broken
				}
			}
			for _, r := range records {
				applied = append(applied, fmt.Sprintf("%d/%d", r.Partition, r.Offset))
			}
			return nil
		}}
	records := batch("1/0", "1/1", "1/2", "1/3")
	for tries := range fewTries {
		if err := c.bring(t.Context(), records, tries); !errors.Is(err, broken) {
			t.Fatalf("try %d: %v", tries, err)
		}
	}
	alive = false // then it is not the record's fault
	if err := c.bring(t.Context(), records, fewTries); !errors.Is(err, broken) || len(dead.put) != 0 {
		t.Fatalf("%v, %d letters", err, len(dead.put))
	}
	alive = true
	for _, place := range []error{stream.ErrUnwritten, &pgconn.PgError{Code: "53100"}} { // nor when the disk was full for this one and has room again
		was := broken
		broken = place
		if err := c.bring(t.Context(), records, fewTries); !errors.Is(err, place) || len(dead.put) != 0 {
			t.Fatalf("%v, %d letters", err, len(dead.put))
		}
		broken = was
	}
	applied = nil
	if err := c.bring(t.Context(), records, fewTries); err != nil {
		t.Fatal(err)
	}
	if want := []string{"1/0", "1/1", "1/2", "1/3"}; !slices.Equal(applied, want) || len(dead.put) != 1 || dead.put[0].Offset != 2 || dead.put[0].Reason != broken.Error() {
		t.Errorf("applied %v, letters %+v", applied, dead.put)
	}
}

func TestOutboxLevel(t *testing.T) {
	c := outboxConfig{budget: 100}
	test := func(used, free int64, want outboxLevel) {
		t.Helper()
		if got := c.level(sqllog.Usage{Used: used, Free: free}); got != want {
			t.Errorf("%d used, %d free: %s, want %s", used, free, got, want)
		}
	}
	test(0, 1000, outboxRoomy)
	test(49, 1000, outboxRoomy)
	test(50, 1000, outboxHalf)
	test(99, 1000, outboxHalf)
	test(100, 1000, outboxFull)
	test(10, 40, outboxHalf) // the disk cannot give what the budget promises
	test(10, 60, outboxRoomy)
	test(10, -1, outboxRoomy) // where nobody knows
}
