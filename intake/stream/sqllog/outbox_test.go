package sqllog

import (
	"path/filepath"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/intake/stream/streamtest"
	"yingda/intake/wire"
)

// A reader that hands bytes on needs no secret, and gets what cannot be decoded as well.
func TestOpenRaw(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	l := openLog(t, path, Config{})
	must(t, l.Append(t.Context(), streamtest.Event("a", 1), streamtest.Event("a", 2)))
	want, err := l.Subject(t.Context(), "contact/a")
	must(t, err)
	must(t, l.Close())
	l = openLog(t, path, Config{})
	l.config.Codec = wire.New(&keys{later: true})
	r, err := l.OpenRaw("relay")
	must(t, err)
	defer r.Close()
	got, err := r.Fetch(t.Context(), 10)
	must(t, err)
	if len(got) != 2 || string(got[1].Raw) != string(want[1].Raw) || got[1].Offset != 2 || got[1].Err != nil || got[1].Event.Subject != "" {
		t.Fatalf("%+v", got)
	}
	must(t, r.Commit(t.Context(), got[0].Position))
	again, err := l.OpenRaw("relay")
	must(t, err)
	defer again.Close()
	if got, err = again.Fetch(t.Context(), 10); err != nil || len(got) != 1 || got[0].Offset != 2 {
		t.Errorf("after a commit of 1: %+v, %v", got, err)
	}
}

func TestSince(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{})
	test := func(at time.Time, want int64) {
		t.Helper()
		got, err := l.Since(t.Context(), at)
		if err != nil || len(got) != 1 || got[0] != (stream.Position{Offset: want}) {
			t.Errorf("since %s: %v, %v; want %d", at, got, err, want)
		}
	}
	test(time.Time{}, -1)
	test(streamtest.Event("a", 1).Time, -1)
	for n := range 10 {
		must(t, l.Append(t.Context(), streamtest.Event("a", n+1)))
	}
	test(time.Time{}, -1)
	test(streamtest.Event("a", 1).Time, 0)
	test(streamtest.Event("a", 4).Time, 3)
	test(streamtest.Event("a", 4).Time.Add(time.Millisecond), 4)
	test(streamtest.Event("a", 11).Time, 10)
}

func TestTrim(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{})
	var all []intake.Event
	for n := range 3000 {
		all = append(all, streamtest.Event("a", n+1))
	}
	must(t, l.Append(t.Context(), all...))
	commit := func(group string, at int64) {
		t.Helper()
		r, err := l.Open(group)
		must(t, err)
		must(t, r.Commit(t.Context(), stream.Position{Offset: at}))
		must(t, r.Close())
	}
	test := func(before time.Time, deleted, first int64) {
		t.Helper()
		n, err := l.Trim(t.Context(), before, "relay", "other")
		if err != nil || n != deleted {
			t.Errorf("trim deleted %d, %v; want %d", n, err, deleted)
		}
		lag, err := l.Lag(t.Context(), "nobody")
		if err != nil || lag.Records != 3000-first+1 || !lag.Oldest.Equal(streamtest.Event("a", int(first)).Time) {
			t.Errorf("what is left: %+v, %v; want it to begin at %d", lag, err, first)
		}
	}
	late := all[2999].Time.Add(time.Hour)
	before, err := l.Usage(t.Context())
	must(t, err)
	if before.Used < 3000*500 || before.File < before.Used || before.Free <= 0 {
		t.Errorf("usage %+v", before)
	}
	test(late, 0, 1) // nobody has committed
	commit("relay", 2000)
	test(late, 0, 1) // one of them has not
	commit("other", 1700)
	test(all[999].Time, 999, 1000) // up to the time
	test(late, 701, 1701)          // up to what both have
	after, err := l.Usage(t.Context())
	must(t, err)
	if after.Used > before.Used*2/3 {
		t.Errorf("usage was %+v, is %+v", before, after)
	}
	commit("relay", 3000)
	commit("other", 3000)
	test(late, 1299, 3000) // the newest stays
	must(t, l.Append(t.Context(), streamtest.Event("b", 1)))
	if head, err := l.Head(t.Context()); err != nil || head.Offset != 3001 {
		t.Errorf("the next row is %v, %v", head, err)
	}
	if _, err := l.Trim(t.Context(), late); err == nil {
		t.Error("a trim that asks no group was done")
	}
}
