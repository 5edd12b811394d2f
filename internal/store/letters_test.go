package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/intake/stream/streamtest"
	"yingda/internal/store/storetest"
)

func TestDeadLetters(t *testing.T) {
	streamtest.RunLetters(t, func(t *testing.T) streamtest.Letters {
		d := openAt(t, storetest.Address(t, filepath.Join(t.TempDir(), "t.db")))
		var again [][]byte
		deliver := func(_ context.Context, l stream.Letter) error {
			if string(l.Raw) != "an event" {
				return fmt.Errorf("%w: try %d", intake.ErrInvalid, l.Attempts+1)
			}
			again = append(again, l.Raw)
			return nil
		}
		return streamtest.Letters{Letters: d.DeadLetters(deliver, time.Now), Good: []byte("an event"), Again: func(testing.TB, int) [][]byte { return again }}
	})
}

// A letter that its consumer puts aside again while it is tried is not lost.
func TestDeadLetterThatComesBack(t *testing.T) {
	d := openAt(t, storetest.Address(t, filepath.Join(t.TempDir(), "t.db")))
	var dead *DeadLetters
	letter := stream.Letter{Consumer: "search", Source: "stream", Raw: []byte("x"), Reason: "mapping", Attempts: 1}
	dead = d.DeadLetters(func(ctx context.Context, l stream.Letter) error {
		l.Reason, l.Attempts = "mapping still", l.Attempts+1
		return dead.Put(ctx, l)
	}, time.Now)
	if err := dead.Put(t.Context(), letter); err != nil {
		t.Fatal(err)
	}
	const id = "search/stream/0/0"
	if err := dead.Retry(t.Context(), id); err == nil {
		t.Error("it is said to be done")
	}
	if l, err := dead.Get(t.Context(), id); err != nil || l.Attempts != 2 || l.Reason != "mapping still" {
		t.Errorf("%+v, %v", l, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	dead.deliver = func(context.Context, stream.Letter) error { cancel(); return gone.Err() }
	if err := dead.Retry(gone, id); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if l, err := dead.Get(t.Context(), id); err != nil || l.Attempts != 2 {
		t.Errorf("one that was cut short counts: %+v, %v", l, err)
	}
}

func TestReplayMarks(t *testing.T) {
	d := openAt(t, storetest.Address(t, filepath.Join(t.TempDir(), "t.db")))
	ctx := t.Context()
	tx := func(f func(tx *Tx) error) {
		t.Helper()
		if err := d.Tx(ctx, f); err != nil {
			t.Fatal(err)
		}
	}
	want := func(group string, want map[int32]int64) {
		t.Helper()
		tx(func(tx *Tx) error {
			got, err := tx.Replay(ctx, group)
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("%s reads anew up to %v, want %v", group, got, want)
			}
			return err
		})
		if m, err := d.Replaying(ctx); err != nil || m[group] != (len(want) > 0) {
			t.Errorf("replaying %v, %v", m, err)
		}
	}
	want("books", nil)
	tx(func(tx *Tx) error {
		return tx.BeginReplay(ctx, "books", stream.Position{Partition: 1, Offset: 5}, stream.Position{Partition: 2, Offset: 7})
	})
	tx(func(tx *Tx) error {
		return tx.BeginReplay(ctx, "books", stream.Position{Partition: 1, Offset: 3}, stream.Position{Partition: 2, Offset: 8})
	})
	want("books", map[int32]int64{1: 5, 2: 8})
	want("chat", nil)
	tx(func(tx *Tx) error { return tx.EndReplay(ctx, "books", 1) })
	want("books", map[int32]int64{2: 8})
	tx(func(tx *Tx) error { return tx.EndReplay(ctx, "books", 2) })
	want("books", nil)
}
