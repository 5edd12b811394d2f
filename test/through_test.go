//go:build services

package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// trunk gives a node a carrier at an address, in a file of its own.
func (s *served) trunk(address string, forward bool) {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "yingda.yaml")
	text := fmt.Sprintf("trunks:\n  - {name: carrier, allow: [%s], forward: %v}\n", address, forward)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	s.env = append(s.env, "YINGDA_CONFIG="+path)
}

// TestThroughTheOther: a carrier and an operator's phone that know only the machine that stands by. The calls it passes on are answered by that phone, over the machine that has the
// switchboard, and in the books once; a carrier that follows a redirection is sent there.
func TestThroughTheOther(t *testing.T) {
	o := newOffice(t)
	a, b := o.node("n1", "127.0.0.2", "127.0.0.3"), o.node("n2", "127.0.0.3", "127.0.0.2")
	a.trunk("127.0.0.1", true)
	b.trunk("127.0.0.1", true)
	a.start()
	a.says("yingda takes calls", 20*time.Second)
	b.start()
	b.says("yingda stands by", 20*time.Second)
	_, taken := o.phone("linyue", b, time.Minute)
	scenario := func(name string, count int) {
		t.Helper()
		abs, err := filepath.Abs("sipp/" + name + ".xml")
		if err != nil {
			t.Fatal(err)
		}
		inf := filepath.Join(t.TempDir(), "fields.csv")
		if err := os.WriteFile(inf, []byte("SEQUENTIAL\n051255501234\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, "sipp", "-sf", abs, "-inf", inf, "-i", "127.0.0.1", "-p", freePort(t), "-s", "12345", "-m", fmt.Sprint(count), "-l", "1", "-d", "1500", "-nostdin", "-aa",
			"-timeout", "60s", "-timeout_error", b.sip).wait(t, 70*time.Second)
	}
	const calls = 5
	scenario("forwarded", calls)
	waitFor(t, "the phone to have taken a call", 10*time.Second, func() bool { return taken.Load() > 0 })
	a.ended(30 * time.Second)
	answered := 0
	for _, e := range a.contacts() {
		if *e.Outcome == "answered" {
			answered++
		}
	}
	if n := len(a.contacts()); n != calls || answered != int(taken.Load()) || answered < calls-1 {
		t.Errorf("%d contacts, %d answered, the phone took %d; want %d calls", n, answered, taken.Load(), calls)
	}
	b.stop()
	b.trunk("127.0.0.1", false)
	b.start()
	b.says("yingda stands by", 20*time.Second)
	scenario("redirected", 3)
	if n := len(a.contacts()); n != calls {
		t.Errorf("%d contacts after redirections that nobody followed", n)
	}
	a.audited()
	if err := os.Chmod(a.data, 0o700); err != nil {
		t.Fatal(err)
	}
	out, err := a.command("doctor")
	for _, want := range []string{"ok    PostgreSQL answers", "ok    Kafka answers", "ok    Elasticsearch answers", "ok    2 machines are there; the switchboard is on n1"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("doctor: %v, want %q in\n%s", err, want, out)
		}
	}
	out, err = b.command("nodes")
	for _, want := range []string{"switchboard main is on n1", "n1           owner", "n2           standby"} {
		if err != nil || !strings.Contains(out, want) {
			t.Errorf("nodes: %v, want %q in\n%s", err, want, out)
		}
	}
}
