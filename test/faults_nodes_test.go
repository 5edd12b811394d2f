//go:build services

package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"yingda/internal/users"
	"yingda/telephony/phonetest"
)

// two machines of an office: the first has the switchboard, the second stands by. A call that reaches the one that stands by is passed on by it.
func (o *office) two(ipA, ipB string, prepare func(a, b *served)) (a, b *served) {
	o.t.Helper()
	a, b = o.node("n1", ipA, ipB), o.node("n2", ipB, ipA)
	conf := filepath.Join(o.t.TempDir(), "yingda.yaml")
	if err := os.WriteFile(conf, []byte("trunks:\n  - name: sipp\n    allow: [127.0.0.1]\n    forward: true\n"), 0o600); err != nil {
		o.t.Fatal(err)
	}
	for _, s := range o.nodes {
		s.env = append(s.env, "YINGDA_CONFIG="+conf, "YINGDA_QUEUE_CHATS=15")
	}
	if prepare != nil {
		prepare(a, b)
	}
	a.start()
	a.says("yingda takes calls", 30*time.Second)
	b.start()
	b.says("yingda stands by", 30*time.Second)
	return a, b
}

// again is like says, for what has been said before.
func (s *served) again(what string, before int, within time.Duration) {
	s.t.Helper()
	waitFor(s.t, fmt.Sprintf("%q once more", what), within, func() bool { return strings.Count(s.logs.String(), what) > before })
}

func (s *served) times(what string) int { return strings.Count(s.logs.String(), what) }

// TestFaultOwnerKilled: Kafka's broker goes, a second later the machine that has the switchboard is killed with what it had not sent yet, and in the middle of the takeover
// the broker comes back. The other machine answers, an operator's phone that had registered with the dead one rings, conversations go on at the other address; and when the dead
// one is back, what it had not sent arrives and corrects the provisional ends.
func TestFaultOwnerKilled(t *testing.T) {
	o := newOffice(t)
	a, b := o.two("127.0.0.2", "127.0.0.3", nil)
	base := func() string { return "http://" + b.http } // the one that stands by
	_, taken := o.phone("phone", a, 5*time.Minute)
	phones, crowd := a.callers(10, time.Second), o.chatters(base, 10, 1)
	waitFor(t, "people to phone and write", 40*time.Second, func() bool { return crowd.all() > 100 && len(heard(phones)) > 60 })
	services(t, "kill", "kafka")
	pause(1500 * time.Millisecond)
	a.kill()
	killed := time.Now()
	_ = phones.cmd.Process.Kill()
	had, answered := crowd.all(), taken.Load()
	var group sync.WaitGroup
	group.Go(func() {
		pause(8 * time.Second) // so that it comes while the other one starts
		services(t, "up", "kafka")
	})
	more := b.callers(10, time.Second)
	first := time.Time{}
	waitFor(t, "a call to be answered by the other machine", 25*time.Second, func() bool {
		for _, one := range more.tries() {
			if !one.heard.IsZero() && (first.IsZero() || one.heard.Before(first)) {
				first = one.heard
			}
		}
		return !first.IsZero()
	})
	t.Logf("a call was answered %s after the machine was killed", first.Sub(killed).Round(10*time.Millisecond))
	if first.Sub(killed) > 15*time.Second {
		t.Errorf("nobody answered for %s", first.Sub(killed))
	}
	waitFor(t, "the operator's phone to ring from the new machine", 30*time.Second, func() bool { return taken.Load() > answered })
	waitFor(t, "conversations to go on", 40*time.Second, func() bool { return crowd.all() > had+100 })
	group.Wait()
	if page(signedIn(t, base(), "chat0", "a-long-test-password"), base()+"/me") == "" {
		t.Error("the desk is not to be had at the new machine")
	}
	pause(12 * time.Second) // what the dead one left open is ended provisionally
	early := map[string]string{}
	for _, e := range b.contacts() {
		if e.Outcome != nil {
			early[string(e.ID)] = string(*e.Outcome)
		}
	}
	a.start()
	pause(5 * time.Second)
	if text := page(signedIn(t, "http://"+a.http, "chat0", "a-long-test-password"), "http://"+a.http+"/me"); text == "" {
		t.Error("the desk is not to be had at the address of the machine that is back")
	}
	more.stop()
	said := crowd.stop()
	o.agree(b, heard(phones, more), said)
	late, corrected := 0, 0
	for _, e := range b.contacts() {
		switch was := early[string(e.ID)]; {
		case was == "" && time.Time(e.ArrivedAt).Before(killed):
			late++
		case was == "interrupted" && *e.Outcome != "interrupted":
			corrected++
		}
	}
	t.Logf("%d contacts came to be known when the dead machine was back, %d provisional ends were corrected", late, corrected)
	if late == 0 || corrected == 0 {
		t.Error("nothing was late or nothing was corrected: the test proves nothing")
	}
}

// TestFaultCutOff: the machine that has the switchboard cannot reach PostgreSQL any more. It goes on answering, phones go on registering with it, the other one takes over; when
// the link is back the first gives up, its live calls end properly, new ones are sent on.
func TestFaultCutOff(t *testing.T) {
	t.Run("reset", func(t *testing.T) { cutOff(t, refusing, "127.0.1.2", "127.0.1.3") })
	t.Run("silent", func(t *testing.T) { cutOff(t, silent, "127.0.2.2", "127.0.2.3") })
}

func cutOff(t *testing.T, how linkState, ipA, ipB string) {
	o := newOffice(t)
	var wire *link
	a, b := o.two(ipA, ipB, func(a, _ *served) { wire = o.linked(a) })
	phone, taken := o.phone("phone", a, time.Minute)
	phones := a.callers(10, 4*time.Second)
	waitFor(t, "people to phone", 40*time.Second, func() bool { return len(heard(phones)) > 60 })
	answered := taken.Load()
	takes := b.times("yingda takes calls")
	wire.set(how)
	cut := time.Now()
	b.again("yingda takes calls", takes, 20*time.Second)
	t.Logf("the other machine took over %s after the cut (at %s)\n%s", time.Since(cut).Round(100*time.Millisecond), cut.UTC().Format("15:04:05.000"), tail(b.logs.String(), 6))
	more := b.callers(5, time.Second)
	for range 3 {
		pause(4 * time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := phone.Register(ctx); err != nil {
			t.Errorf("a phone could not register again with the machine that is cut off: %v", err)
		}
		cancel()
	}
	mended := time.Now()
	n, deaf, slowest := phones.between(cut, mended.Add(-2*time.Second))
	t.Logf("in %s without tables: %d calls heard of the machine that is cut off, the slowest after %s, %d did not; an operator took %d", mended.Sub(cut).Round(time.Second), n,
		slowest.Round(time.Millisecond), deaf, taken.Load()-answered)
	if deaf > 0 || n < 150 || slowest > 3*time.Second || taken.Load() == answered {
		t.Error("the machine that is cut off did not go on answering")
	}
	_ = phones.cmd.Process.Signal(syscall.SIGUSR1) // nobody phones it any more, and those who do talk on
	wire.set(joined)
	a.says("another machine has the switchboard", 20*time.Second)
	t.Logf("the old owner gave up %s after the link was back", time.Since(mended).Round(100*time.Millisecond))
	caller, err := phonetest.New(phonetest.Config{Server: a.sip, User: "051255509999", NoAudio: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(caller.Close)
	call, err := caller.Call("12345")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-call.Answered():
	case <-call.Ended():
		t.Errorf("a new call to the old owner ended with %d", call.Status())
	case <-time.After(10 * time.Second):
		t.Error("a new call to the old owner is not answered")
	}
	call.Hangup()
	phones.stop()
	a.says("yingda stands by", 30*time.Second)
	more.stop()
	o.agree(b, heard(phones, more), nil)
	for _, e := range b.contacts() {
		if *e.Outcome == "interrupted" {
			t.Errorf("contact %s ended properly at the old owner and is in the books as interrupted", e.ID)
		}
	}
}

// TestFaultKilledTwentyTimes: kill -9 of the program on the real servers under 10 calls a second, twenty times.
func TestFaultKilledTwentyTimes(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	s := o.node("n1", "127.0.3.2")
	s.start()
	phones := s.callers(10, 1500*time.Millisecond)
	began := time.Now()
	for range 20 {
		pause(1300 * time.Millisecond)
		s.kill()
		s.start()
	}
	t.Logf("killed and started twenty times in %s", time.Since(began).Round(time.Second))
	pause(2 * time.Second)
	phones.stop()
	calls := heard(phones)
	if len(calls) < 100 {
		t.Fatalf("only %d calls got an answer; the test proves nothing", len(calls))
	}
	o.agree(s, calls, nil)
	interrupted := 0
	for _, e := range s.contacts() {
		if *e.Outcome == "interrupted" {
			interrupted++
			if e.Callback == nil {
				t.Errorf("contact %s was interrupted and nobody owes a call", e.ID)
			}
		}
	}
	if interrupted == 0 {
		t.Error("nobody was interrupted: the test proves nothing")
	}
}

// TestFaultPlannedEnd: the machine that has the switchboard is asked to end. The other takes over within 2 s, and of the calls to its address all the while none is refused.
func TestFaultPlannedEnd(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	a, b := o.two("127.0.4.2", "127.0.4.3", nil)
	_, _, _ = o.person("super", users.Supervisor)
	_, taken := o.phone("phone", a, 5*time.Minute)
	phones := b.callers(10, 2*time.Second) // passed on by the one that stands by
	waitFor(t, "people to phone", 40*time.Second, func() bool { return len(heard(phones)) > 40 })
	takes := b.times("yingda takes calls")
	var ended atomic.Int64
	asked := time.Now()
	if err := a.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- a.cmd.Wait(); ended.Store(time.Now().UnixNano()) }()
	b.again("yingda takes calls", takes, 10*time.Second)
	took := time.Since(asked)
	answered := taken.Load()
	select {
	case err := <-gone:
		if err != nil {
			t.Errorf("the machine that was asked to end: %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("the machine that was asked to end does not")
	}
	waitFor(t, "the operator's phone to ring from the other machine", 20*time.Second, func() bool { return taken.Load() > answered })
	pause(3 * time.Second)
	phones.stop()
	n, deaf, slowest := phones.between(asked.Add(-5*time.Second), time.Now())
	t.Logf("the other machine had the switchboard %s after SIGTERM, the first ended after %s; around it %d calls heard of us, the slowest after %s, %d did not", took.Round(10*time.Millisecond),
		time.Unix(0, ended.Load()).Sub(asked).Round(10*time.Millisecond), n, slowest.Round(time.Millisecond), deaf)
	if took > 2*time.Second {
		t.Errorf("the takeover lasted %s", took)
	}
	if deaf > 0 {
		t.Errorf("%d calls were not answered", deaf)
	}
	o.agree(b, heard(phones), nil)
	for _, e := range b.contacts() {
		if *e.Outcome == "refused" || *e.Outcome == "interrupted" {
			t.Errorf("contact %s ended as %s", e.ID, *e.Outcome)
		}
	}
}
