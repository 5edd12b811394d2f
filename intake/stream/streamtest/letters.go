package streamtest

import (
	"errors"
	"testing"

	"yingda/intake"
	"yingda/intake/stream"
)

// Letters are dead letters to be tried.
type Letters struct {
	Letters stream.DeadLetters // empty
	Good    []byte             // an event's bytes, as Letters' codec makes them
	// Again waits for what Retry has let be tried: the bytes of n records, in order, and no more.
	Again func(t testing.TB, n int) [][]byte
}

// RunLetters runs what all dead letters must do. Bytes that are no event must be refused by Retry with intake.ErrInvalid.
func RunLetters(t *testing.T, fresh func(t *testing.T) Letters) {
	s := fresh(t)
	dead := s.Letters
	list := func(n int) []stream.Letter {
		t.Helper()
		list, err := dead.List(ctx(t))
		if err != nil || len(list) != n {
			t.Fatalf("%d letters, want %d: %+v, %v", len(list), n, list, err)
		}
		waiting, since, err := dead.Waiting(ctx(t))
		if err != nil || waiting != n || since.IsZero() != (n == 0) || n > 0 && since.After(list[0].Time) {
			t.Errorf("%d waiting since %s, %v; want %d", waiting, since, err, n)
		}
		return list
	}
	list(0)
	for _, l := range []stream.Letter{{Source: "stream"}, {Consumer: "books"}} {
		if err := dead.Put(ctx(t), l); err == nil {
			t.Errorf("%+v was taken", l)
		}
	}
	mapping := stream.Letter{Consumer: "search", Source: "stream", Position: stream.Position{Partition: 3, Offset: 9}, Raw: s.Good, Reason: "mapping", Attempts: 1}
	must(t, dead.Put(ctx(t), mapping))
	must(t, dead.Put(ctx(t), stream.Letter{Consumer: "books", Source: "stream", Position: stream.Position{Offset: 1}, Raw: []byte("rubbish\x00\xff"), Reason: "not an event \xff", Attempts: 1}))
	mapping.Reason, mapping.Attempts = "mapping again", 2
	must(t, dead.Put(ctx(t), mapping))
	must(t, dead.Put(ctx(t), stream.Letter{Consumer: "chat", Source: "stream", Position: stream.Position{Offset: 1}, Reason: "nothing in it", Attempts: 1}))
	byID := map[string]stream.Letter{}
	for _, l := range list(3) {
		byID[l.ID] = l
		if l.Raw != nil || l.Time.IsZero() {
			t.Errorf("in a list: %+v", l)
		}
	}
	const good, rubbish, empty = "search/stream/3/9", "books/stream/0/1", "chat/stream/0/1"
	if l := byID[good]; l.Consumer != "search" || l.Source != "stream" || l.Partition != 3 || l.Offset != 9 || l.Attempts != 2 || l.Reason != "mapping again" || l.Size != len(s.Good) {
		t.Errorf("%+v", l)
	}
	if l := byID[rubbish]; l.Reason != "not an event �" || l.Size != 9 {
		t.Errorf("%+v", l)
	}
	if l, err := dead.Get(ctx(t), empty); err != nil || len(l.Raw) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
	must(t, dead.Drop(ctx(t), empty))
	must(t, dead.Drop(ctx(t), empty)) // whoever comes second has it as they want it
	list(2)

	must(t, dead.Retry(ctx(t), good))
	if again := s.Again(t, 1); len(again) != 1 || string(again[0]) != string(s.Good) {
		t.Errorf("tried again: %q", again)
	}
	list(1)
	for tries := 2; tries < 4; tries++ {
		if err := dead.Retry(ctx(t), rubbish); !errors.Is(err, intake.ErrInvalid) {
			t.Errorf("retry of rubbish: %v", err)
		}
		l, err := dead.Get(ctx(t), rubbish)
		if err != nil || string(l.Raw) != "rubbish\x00\xff" || l.Attempts != tries || l.Reason == "" || l.Reason == "not an event �" {
			t.Errorf("%+v, %v", l, err)
		}
	}
	s.Again(t, 1)
	must(t, dead.Drop(ctx(t), rubbish))
	list(0)
	for _, err := range []error{dead.Retry(ctx(t), good), func() error { _, err := dead.Get(ctx(t), "search/x/0/0"); return err }()} {
		if !errors.Is(err, stream.ErrNoLetter) {
			t.Errorf("one that is not there: %v", err)
		}
	}
}
