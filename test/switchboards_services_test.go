//go:build services

package test

import (
	"strings"
	"testing"
	"time"
)

// TestTwoSwitchboards: an office with two switchboards on three machines, all sharing tables, Kafka and index. Each switchboard has its calls and its lease. The machine of the first is
// killed: the one that stands by for it takes over, the other switchboard hears nothing of it, and one set of books has the calls of both.
func TestTwoSwitchboards(t *testing.T) {
	o := newOffice(t)
	a, b, c := o.node("n1", "127.0.5.2", "127.0.5.3", "127.0.5.4"), o.node("n2", "127.0.5.3", "127.0.5.2", "127.0.5.4"), o.node("n3", "127.0.5.4", "127.0.5.2", "127.0.5.3")
	c.env = append(c.env, "YINGDA_OFFICE_SWITCHBOARD=east")
	a.start()
	a.says("yingda takes calls", 30*time.Second)
	b.start()
	b.says("yingda stands by", 30*time.Second)
	c.start()
	c.says("yingda takes calls", 30*time.Second)
	if out, err := a.command("lines", "set", "east", "name=东区热线", "switchboard=east", "numbers=12345"); err != nil { // at either machine: they share the ledger
		t.Fatalf("%v\n%s", err, out)
	}
	first, second := a.callers(5, time.Second), c.callers(5, time.Second)
	waitFor(t, "people to phone both", 30*time.Second, func() bool { return len(heard(first)) > 25 && len(heard(second)) > 25 })
	waitFor(t, "the calls of both to be known to either", 30*time.Second, func() bool {
		of := [2]int{}
		main, east := heard(first), heard(second)
		for _, e := range c.contacts() {
			if main[*e.SIPCallID] {
				of[0]++
			}
			if east[*e.SIPCallID] {
				of[1]++
			}
		}
		return of[0] > 5 && of[1] > 5
	})

	killed := time.Now()
	a.kill()
	_ = first.cmd.Process.Kill()
	b.says("yingda takes calls", 15*time.Second)
	took := time.Since(killed)
	more := b.callers(5, time.Second)
	waitFor(t, "people to phone the machine that took over", 30*time.Second, func() bool { return len(heard(more)) > 25 })
	for s, says := range map[*served]string{b: "switchboard main is on n2", c: "switchboard east is on n3"} {
		if out, err := s.command("nodes"); err != nil || !strings.Contains(out, says) {
			t.Errorf("yingda nodes does not say that %s: %v\n%s", says, err, out)
		}
	}
	over := time.Now()
	a.start() // what it had not sent arrives
	pause(5 * time.Second)
	more.stop()
	second.stop()
	n, deaf, slowest := second.between(killed, over)
	t.Logf("the first switchboard was taken over %s after the kill; %d calls to the other meanwhile heard of us, the slowest after %s, %d did not", took.Round(100*time.Millisecond), n, slowest.Round(time.Millisecond), deaf)
	if deaf > 0 || n < 50 {
		t.Error("the other switchboard was disturbed")
	}
	o.agree(b, heard(first, second, more), nil)
	jobs := 0
	for _, s := range []*served{a, b, c} {
		jobs += strings.Count(s.logs.String(), "the jobs run here")
	}
	if jobs == 0 {
		t.Error("no machine has said that it has the jobs")
	}
}
