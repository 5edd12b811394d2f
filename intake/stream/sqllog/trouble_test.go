package sqllog

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yingda/intake/stream"
	"yingda/intake/stream/streamtest"
)

// states collects what Config.Degraded hears.
type states chan State

func (s states) hear(v State) { s <- v }

// until waits for a state that is as wanted.
func (s states) until(t *testing.T, what string, want func(State) bool) State {
	t.Helper()
	patience := time.After(30 * time.Second)
	for {
		select {
		case v := <-s:
			if want(v) {
				return v
			}
		case <-patience:
			t.Fatalf("nobody was told: %s", what)
		}
	}
}

func degraded(s State) bool  { return s.Degraded }
func recovered(s State) bool { return !s.Degraded && s.Waited > 0 }

// pages is a disk of so many pages, which can be given more.
type pages struct{ n atomic.Int64 }

func (p *pages) pragma() string { return fmt.Sprintf("PRAGMA max_page_count = %d", p.n.Load()) }

// TestFull fills the log's file to what SQLite may use, wherever the test runs.
func TestFull(t *testing.T) {
	heard, disk := make(states, 100), &pages{}
	disk.n.Store(30)
	path := filepath.Join(t.TempDir(), "log.db")
	l := openLog(t, path, Config{Degraded: heard.hear, Memory: 60, Limit: time.Minute, test: hooks{pragma: disk.pragma}})
	n := 0
	next := func() error { n++; return l.Append(t.Context(), streamtest.Event("a", n)) }
	for next() == nil {
		if n > 1000 {
			t.Fatal("the disk does not get full")
		}
	}
	written := n - 1
	s := heard.until(t, "that the disk is full", degraded)
	if s.What != DiskFull || s.Err == nil || s.Since.IsZero() {
		t.Errorf("told %+v", s)
	}
	for range 30 {
		if err := next(); !errors.Is(err, stream.ErrUnwritten) {
			t.Fatalf("Append to a full disk: %v", err)
		}
	}
	r, err := l.Open("g")
	must(t, err)
	if list, err := r.Fetch(t.Context(), 10_000); err != nil || len(list) != written {
		t.Errorf("reading from a full disk gave %d of %d, %v", len(list), written, err)
	}
	if err := r.Commit(t.Context(), stream.Position{Offset: 5}); !errors.Is(err, stream.ErrUnwritten) {
		t.Errorf("Commit to a full disk: %v", err)
	}
	if s := l.State(); !s.Degraded || s.Waiting != 31 || s.Waited != 31 {
		t.Errorf("the state is %+v", s)
	}
	var lost []int
	for range 40 { // 31 wait, 60 may
		if err := next(); errors.Is(err, stream.ErrFull) {
			lost = append(lost, n)
		} else if !errors.Is(err, stream.ErrUnwritten) {
			t.Fatalf("Append to a full memory: %v", err)
		}
	}
	if len(lost) != 11 {
		t.Errorf("%d events were refused, want 11: %v", len(lost), lost)
	}
	disk.n.Store(1 << 20)
	s = heard.until(t, "that the disk writes again", recovered)
	if s.Waited != 60 || s.Waiting != 0 || s.What != DiskFull {
		t.Errorf("told %+v", s)
	}
	must(t, next())
	var want []string
	for i := 1; i <= n; i++ {
		if !slices.Contains(lost, i) {
			want = append(want, streamtest.Event("a", i).ID())
		}
	}
	if have := ids(t, l); !slices.Equal(have, want) {
		t.Errorf("the log has\n%v, want\n%v", have, want)
	}
	if s := l.State(); s.Degraded || s.Waited != 0 || s.Err != nil {
		t.Errorf("afterwards the state is %+v", s)
	}
	must(t, r.Commit(t.Context(), stream.Position{Offset: 5}))
}

// TestClosedWhileFull: what the disk would not take is told of, not silently gone.
func TestClosedWhileFull(t *testing.T) {
	disk := &pages{}
	disk.n.Store(20)
	path := filepath.Join(t.TempDir(), "log.db")
	l := openLog(t, path, Config{test: hooks{pragma: disk.pragma}})
	n := 1
	for l.Append(t.Context(), streamtest.Event("a", n)) == nil {
		n++
	}
	if err := l.Close(); err == nil {
		t.Error("Close did not say that an event was lost")
	}
	if have := ids(t, openLog(t, path, Config{})); len(have) != n-1 {
		t.Errorf("the log has %d events, %d were written", len(have), n-1)
	}
}

// TestSlow holds the disk up in the middle of a commit.
func TestSlow(t *testing.T) {
	heard := make(states, 100)
	hold := make(chan struct{})
	var held atomic.Bool
	l := openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{Degraded: heard.hear, Limit: 5 * time.Millisecond, test: hooks{beforeCommit: func() {
		if held.CompareAndSwap(false, true) {
			<-hold
		}
	}}})
	if err := l.Append(t.Context(), streamtest.Event("a", 1)); !errors.Is(err, stream.ErrUnwritten) {
		t.Errorf("Append to a slow disk: %v", err)
	}
	if s := heard.until(t, "that the disk is slow", degraded); s.What != DiskSlow || s.Waiting != 1 {
		t.Errorf("told %+v", s)
	}
	for n := 2; n < 10; n++ {
		if err := l.Append(t.Context(), streamtest.Event("a", n)); !errors.Is(err, stream.ErrUnwritten) {
			t.Errorf("Append when the disk is known to be slow: %v", err)
		}
	}
	close(hold)
	if s := heard.until(t, "that the disk is not slow any more", recovered); s.Waited != 9 {
		t.Errorf("told %+v", s)
	}
	if have := ids(t, l); len(have) != 9 || have[8] != streamtest.Event("a", 9).ID() {
		t.Errorf("the log has %v", have)
	}
}

// TestImpatientCaller: the context ends while the disk is at it. The event is written all the same, and the caller is told so.
func TestImpatientCaller(t *testing.T) {
	hold, inside := make(chan struct{}), make(chan struct{}, 10)
	l := openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{test: hooks{beforeCommit: func() { inside <- struct{}{}; <-hold }}})
	c, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Append(c, streamtest.Event("a", 1)) }()
	<-inside
	cancel()
	if err := <-done; !errors.Is(err, stream.ErrUnwritten) || !errors.Is(err, context.Canceled) {
		t.Errorf("Append whose context ended: %v", err)
	}
	if l.State().Degraded {
		t.Error("an impatient caller is no fault of the disk")
	}
	close(hold)
	must(t, l.Append(t.Context(), streamtest.Event("a", 2)))
	if have := ids(t, l); len(have) != 2 {
		t.Errorf("the log has %v", have)
	}
}

// TestFromWithin: who hears that the log is degraded may write that into the log.
func TestFromWithin(t *testing.T) {
	disk := &pages{}
	disk.n.Store(20)
	var l *Log
	var said sync.WaitGroup
	said.Add(2)
	ready := make(chan struct{})
	n := atomic.Int64{}
	l = openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{Degraded: func(s State) {
		<-ready
		if err := l.Append(context.Background(), streamtest.Event("node", int(n.Add(1)))); err != nil && !errors.Is(err, stream.ErrUnwritten) {
			t.Errorf("Append of who hears: %v", err)
		}
		said.Done()
	}, test: hooks{pragma: disk.pragma}})
	close(ready)
	for i := 1; l.Append(t.Context(), streamtest.Event("a", i)) == nil; i++ {
		if i > 1000 {
			t.Fatal("the disk does not get full")
		}
	}
	disk.n.Store(1 << 20)
	said.Wait()
	list, err := l.Subject(t.Context(), streamtest.Event("node", 1).Subject)
	if err != nil || len(list) != 2 {
		t.Errorf("the log tells %d times how it was, %v", len(list), err)
	}
}

// TestFullDisk fills a real file system of 8 MiB. Where none can be mounted (not root, or no such right) TestFull and TestBallast
// have shown what can be shown without.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := mountSmall(t, dir, "8m"); err != nil {
		t.Logf("no file system of our own: %v", err)
		return
	}
	heard := make(states, 1000)
	l := openLog(t, filepath.Join(dir, "log.db"), Config{Degraded: heard.hear, Ballast: 1 << 20, Limit: time.Minute, Memory: 1 << 20})
	waitFor(t, "the ballast", l.ballast.there)
	// Something else fills the disk to the last byte.
	filler, err := os.Create(filepath.Join(dir, "filler"))
	must(t, err)
	defer filler.Close()
	for block := make([]byte, 4096); ; {
		if _, err := filler.Write(block); err != nil {
			break
		}
	}
	var want []string
	n := 0
	next := func() error {
		n++
		want = append(want, streamtest.Event("a", n).ID())
		return l.Append(t.Context(), streamtest.Event("a", n))
	}
	for range 20 { // some 16 KiB each, in the ballast's room
		must(t, next())
	}
	if l.ballast.there() {
		t.Fatal("the disk was not full")
	}
	heard.until(t, "that the ballast is given up", func(s State) bool { return s.Low && !s.Degraded })
	for n < 20_000 {
		if err := next(); err != nil {
			if !errors.Is(err, stream.ErrUnwritten) {
				t.Fatalf("Append to a full disk: %v", err)
			}
			break
		}
	}
	heard.until(t, "that the disk is full", func(s State) bool { return s.Degraded && s.What == DiskFull && s.Low })
	for range 500 {
		if err := next(); !errors.Is(err, stream.ErrUnwritten) {
			t.Fatalf("Append to a full disk: %v", err)
		}
	}
	if list, err := l.Subject(t.Context(), streamtest.Event("a", 1).Subject); err != nil || len(list) != n-501 {
		t.Errorf("a full disk cannot be read: %d of %d, %v", len(list), n-501, err)
	}
	must(t, os.Remove(filler.Name()))
	must(t, filler.Close())
	heard.until(t, "that the disk writes again", recovered)
	must(t, next())
	heard.until(t, "that there is a ballast again", func(s State) bool { return !s.Low })
	if !l.ballast.there() {
		t.Error("the ballast was not made again")
	}
	if have := ids(t, l); !slices.Equal(have, want) {
		t.Errorf("the log has %d events, want %d", len(have), len(want))
	}

	// A program that starts on a full disk starts.
	must(t, l.Close())
	filler, err = os.Create(filepath.Join(dir, "filler"))
	must(t, err)
	defer filler.Close()
	for block := make([]byte, 4096); ; {
		if _, err := filler.Write(block); err != nil {
			break
		}
	}
	l = openLog(t, filepath.Join(dir, "log.db"), Config{Ballast: 1 << 20})
	must(t, next())
	if !l.State().Low {
		t.Error("a disk that was full at the start is not low")
	}
	must(t, filler.Close())
}

// TestBallast: it is given up when SQLite finds no room, and made again when there is.
func TestBallast(t *testing.T) {
	heard, disk := make(states, 100), &pages{}
	disk.n.Store(20)
	l := openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{Degraded: heard.hear, Ballast: 1 << 20, test: hooks{pragma: disk.pragma}})
	waitFor(t, "the ballast", l.ballast.there)
	for n := 1; l.Append(t.Context(), streamtest.Event("a", n)) == nil; n++ {
		if n > 1000 {
			t.Fatal("the disk does not get full")
		}
	}
	heard.until(t, "that the ballast is given up", func(s State) bool { return s.Low })
	disk.n.Store(1 << 20)
	heard.until(t, "that the disk writes again", recovered)
	waitFor(t, "the ballast", l.ballast.there)
	waitFor(t, "an end of the alarm", func() bool { return !l.State().Low })
}

// TestNoRoomForBallast: on a disk that is too small for it there is none, and that is told.
func TestNoRoomForBallast(t *testing.T) {
	heard := make(states, 100)
	l := openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{Degraded: heard.hear, Ballast: 1 << 60})
	heard.until(t, "that there is no room", func(s State) bool { return s.Low && !s.Degraded })
	must(t, l.Append(t.Context(), streamtest.Event("a", 1)))
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
