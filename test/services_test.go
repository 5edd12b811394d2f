//go:build services

package test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestOnServers: one machine on the three real servers. Every call that got an answer is in the books once, in Kafka and in Elasticsearch.
func TestOnServers(t *testing.T) {
	o := newOffice(t)
	s := o.node("n1", "127.0.0.1")
	s.start()
	trace := filepath.Join(t.TempDir(), "messages.log")
	phones := s.load(10, time.Second, trace)
	pause(6 * time.Second)
	_ = phones.cmd.Process.Signal(syscall.SIGUSR1)
	<-phones.done
	s.ended(30 * time.Second)
	must, _ := promised(t, trace)
	if n := len(s.contacts()); n < 40 || n < len(must) {
		t.Errorf("%d contacts of %d calls that got an answer", n, len(must))
	}
	s.audited()
}

// TestTakeover: the machine that has the switchboard is killed under load. The other answers the next call within 15 s; the calls that were open are
// interrupted once, and their callers are owed a call.
func TestTakeover(t *testing.T) {
	o := newOffice(t)
	a, b := o.node("n1", "127.0.0.2", "127.0.0.3"), o.node("n2", "127.0.0.3", "127.0.0.2")
	a.start()
	a.says("yingda takes calls", 20*time.Second)
	b.start()
	b.says("yingda stands by", 20*time.Second)
	trace := filepath.Join(t.TempDir(), "messages.log")
	phones := a.load(10, 4*time.Second, trace)
	pause(6 * time.Second)
	a.kill()
	killed := time.Now()
	_ = phones.cmd.Process.Kill()
	b.says("yingda takes calls", 15*time.Second)
	more := filepath.Join(t.TempDir(), "more.log")
	phones = b.load(10, time.Second, more)
	waitFor(t, "an answer", 5*time.Second, func() bool {
		if _, err := os.Stat(more); err != nil { // nothing was sent or heard yet
			return false
		}
		must, _ := promised(t, more)
		return len(must) > 0
	})
	t.Logf("a call was answered %s after the machine was killed", time.Since(killed).Round(10*time.Millisecond))
	if took := time.Since(killed); took > 15*time.Second {
		t.Errorf("nobody answered for %s", took)
	}
	pause(3 * time.Second)
	a.start()
	_ = phones.cmd.Process.Signal(syscall.SIGUSR1)
	<-phones.done
	b.ended(60 * time.Second)
	must, _ := promised(t, trace)
	count, interrupted := map[string]int{}, 0
	for _, e := range b.contacts() {
		count[*e.SIPCallID]++
		if *e.Outcome == "interrupted" {
			interrupted++
			if e.Callback == nil {
				t.Errorf("contact %s was interrupted and nobody owes a call", e.ID)
			}
		}
	}
	for id := range must {
		if count[id] != 1 {
			t.Errorf("call %s got an answer and is in the books %d times", id, count[id])
		}
	}
	if interrupted == 0 {
		t.Error("nobody was interrupted: the test proves nothing")
	}
	t.Logf("%d calls, %d interrupted", len(count), interrupted)
	b.audited()
}

// TestToManyAndBack: an office that had one machine goes to the real servers with all it has, and back, by the commands of docs/many-machines.md.
func TestToManyAndBack(t *testing.T) {
	o := newOffice(t)
	s := newServed(t, t.TempDir())
	few := func(want int) {
		t.Helper()
		s.start()
		phones := s.load(10, time.Second, filepath.Join(t.TempDir(), "messages.log"))
		pause(3 * time.Second)
		_ = phones.cmd.Process.Signal(syscall.SIGUSR1)
		<-phones.done
		s.ended(30 * time.Second)
		s.audited()
		if n := len(s.contacts()); n < want {
			t.Fatalf("%d contacts, want at least %d", n, want)
		}
	}
	must := func(args ...string) {
		t.Helper()
		if out, err := s.command(args...); err != nil {
			t.Fatalf("yingda %v: %v\n%s", args, err, out)
		}
	}
	few(20)
	before := s.contacts()
	if _, err := s.command("tables", "copy", "--to", o.postgres); err == nil {
		t.Fatal("the tables were copied while the program served")
	}
	s.stop()
	must("tables", "copy", "--to", o.postgres)
	s.env = o.env()
	few(len(before) + 20)
	many := s.contacts()
	s.stop()
	if err := os.Rename(filepath.Join(s.data, "yingda.db"), filepath.Join(s.data, "yingda.db.before")); err != nil {
		t.Fatal(err)
	}
	must("tables", "copy", "--to", filepath.Join(s.data, "yingda.db"))
	must("stream", "fetch")
	s.env = nil
	few(len(many) + 20)
	have := map[string]bool{}
	for _, e := range s.contacts() {
		have[string(e.ID)] = true
	}
	for _, e := range many {
		if !have[string(e.ID)] {
			t.Errorf("contact %s is not there any more", e.ID)
		}
	}
}
