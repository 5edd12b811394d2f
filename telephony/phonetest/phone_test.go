package phonetest

import (
	"context"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"yingda/telephony/sound"
)

// nobody takes what is sent there.
const nobody = "127.0.0.1:9"

func open(t *testing.T, c Config) *Phone {
	t.Helper()
	if c.Server == "" {
		c.Server = nobody
	}
	if c.T1 == 0 {
		c.T1 = 50 * time.Millisecond
	}
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func wait(t *testing.T, c <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not happen", what)
	}
}

// until looks again every 5 ms until it is so.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick, end := time.NewTicker(5*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not so: %s", what)
		}
	}
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// ring lets one phone call another, which rings.
func ring(t *testing.T, caller, callee Config) (out, in *Call) {
	t.Helper()
	b := open(t, callee)
	incoming := b.Incoming()
	caller.Server = b.Addr()
	a := open(t, caller)
	out, err := a.Call("12345")
	if err != nil {
		t.Fatal(err)
	}
	select {
	case in = <-incoming:
	case <-time.After(20 * time.Second):
		t.Fatal("no call came in")
	}
	wait(t, out.Ringing(), "ringing")
	return out, in
}

// talk is ring, and the call is taken.
func talk(t *testing.T, caller, callee Config) (out, in *Call) {
	t.Helper()
	out, in = ring(t, caller, callee)
	in.Answer()
	wait(t, out.Answered(), "the answer")
	wait(t, in.Acked(), "the ACK")
	return out, in
}

func ended(t *testing.T, c *Call, status int, why, by string) {
	t.Helper()
	wait(t, c.Ended(), "the end")
	if c.Status() != status || c.Why() != why || c.By() != by {
		t.Fatalf("ended with %d %q by %q, want %d %q by %q", c.Status(), c.Why(), c.By(), status, why, by)
	}
}

func TestTalk(t *testing.T) {
	for _, codec := range []string{"", "PCMU"} {
		out, in := talk(t, Config{User: "13800138000", Name: "Test"}, Config{Codec: codec})
		if out.ID != in.ID || Bare(in.Header("From")) != "sip:13800138000@127.0.0.1" || out.Header("Contact") == "" {
			t.Fatal(out.ID, in.ID, in.Header("From"), out.Header("Contact"))
		}
		out.Audio().Tone(440)
		in.Audio().Tone(900)
		until(t, "each hears the other, and not himself", func() bool {
			return in.Audio().Hears(440) > 0.9 && out.Audio().Hears(900) > 0.9 && in.Audio().Hears(900) < 0.01 && out.Audio().Hears(440) < 0.01
		})
		until(t, "a second", func() bool { return in.Audio().Received() > 60 })
		if l := in.Audio().LevelOf(440); l < -21 || l > -19 {
			t.Errorf("440 Hz at %.1f dB, want -20", l)
		}
		if e := in.Audio().Energy(); e < -24 || e > -22 {
			t.Errorf("%.1f dBov, want -23", e)
		}
		if l := in.Audio().Level(); l < 2200 || l > 2450 {
			t.Errorf("RMS %.0f, want 2317", l)
		}
		if in.Audio().Lost() != 0 || in.Audio().Sources() != 1 {
			t.Error(in.Audio().Lost(), in.Audio().Sources())
		}
		out.Hangup()
		ended(t, out, 200, "hangup", "us")
		ended(t, in, 200, "bye", "them")
	}
}

func TestCalleeHangsUp(t *testing.T) {
	out, in := talk(t, Config{}, Config{})
	in.Hangup()
	in.Hangup()
	ended(t, in, 200, "hangup", "us")
	ended(t, out, 200, "bye", "them")
}

func TestSamples(t *testing.T) {
	out, in := talk(t, Config{}, Config{Keep: time.Second})
	said := sound.Tone(600, 8000, 1600)
	out.Audio().Samples(said)
	until(t, "it is heard", func() bool { return in.Audio().Received() > 12 })
	heard := in.Audio().Last(time.Minute)
	for i, v := range said {
		if want := sound.DecodeA([]byte{sound.ToALaw(v)})[0]; heard[i] != want {
			t.Fatalf("sample %d is %d, want %d", i, heard[i], want)
		}
	}
	until(t, "the ring is full and goes round", func() bool { return in.Audio().Received() > 70 })
	if n := len(in.Audio().Last(time.Minute)); n != 8000 {
		t.Fatalf("%d samples kept, want 8000", n)
	}
}

func TestRing(t *testing.T) {
	a := &Audio{p: &Phone{cfg: Config{Keep: time.Millisecond}}} // 8 samples
	for i := range 29 {
		a.keep(int16(i))
		var want []int16
		for j := max(0, i-4); j <= i; j++ {
			want = append(want, int16(j))
		}
		if got := a.Last(625 * time.Microsecond); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("after %d: %v, want %v", i, got, want)
		}
	}
}

func TestKeys(t *testing.T) {
	var infos atomic.Int32
	out, in := talk(t, Config{}, Config{Trace: func(in bool, m *Message) {
		if in && m.Method() == "INFO" && strings.HasPrefix(string(m.Body), "Signal=7\r\n") {
			infos.Add(1)
		}
	}})
	out.Audio().Tone(0)
	out.Audio().Keys("1223x*#D")
	until(t, "the keys come", func() bool { return in.Audio().Digits() == "1223*#D" })
	if err := out.Info(soon(t), "7"); err != nil || infos.Load() != 1 {
		t.Fatal(err, infos.Load())
	}
}

func TestHold(t *testing.T) {
	out, in := talk(t, Config{}, Config{})
	in.Audio().Tone(900)
	until(t, "he is heard", func() bool { return out.Audio().Received() > 5 })
	if err := out.Hold(soon(t)); err != nil {
		t.Fatal(err)
	}
	if !in.Held() || out.Held() {
		t.Fatal(in.Held(), out.Held())
	}
	n, r := in.Audio().Sent(), in.Audio().Received()
	out.Audio().Tone(440) // he who holds may still speak
	until(t, "ten packets of music", func() bool { return in.Audio().Received() > r+10 })
	if err := in.Hold(soon(t)); err != nil { // both hold: inactive
		t.Fatal(err)
	}
	if !out.Held() || !in.Held() || in.Audio().Sent() != n {
		t.Fatal(out.Held(), in.Held(), in.Audio().Sent(), n)
	}
	if err := in.Resume(soon(t)); err != nil {
		t.Fatal(err)
	}
	if err := out.Resume(soon(t)); err != nil {
		t.Fatal(err)
	}
	if in.Held() || out.Held() {
		t.Fatal(in.Held(), out.Held())
	}
	for offer, answer := range map[string]string{"sendonly": "recvonly", "recvonly": "sendonly", "inactive": "inactive", "sendrecv": "sendrecv"} {
		if r, err := out.Reinvite(soon(t), offer, nil); err != nil || SDPDirection(r.Body) != answer {
			t.Fatal(offer, "answered with", r, err)
		}
	}
	if err := out.Resume(soon(t)); err != nil {
		t.Fatal(err)
	}
	until(t, "he is heard again", func() bool { return in.Audio().Sent() > n+5 })
	if s := out.Audio().Sources(); s != 1 {
		t.Fatalf("%d SSRCs", s)
	}
	if r, err := out.Reinvite(soon(t), "", nil); err != nil || r.Status() != 200 || len(r.Body) == 0 {
		t.Fatal(r, err)
	}
	bad := func(m *Message) { m.Body = []byte(strings.ReplaceAll(string(m.Body), "RTP/AVP 8 0 101", "RTP/AVP 18")) }
	if r, err := out.Reinvite(soon(t), "sendrecv", bad); err != nil || r.Status() != 488 {
		t.Fatal(r, err)
	}
	out.Hangup()
	ended(t, in, 200, "bye", "them")
}

func TestRefused(t *testing.T) {
	out, in := ring(t, Config{}, Config{})
	in.Busy()
	in.Decline()
	in.Answer()
	ended(t, in, 486, "rejected", "us")
	ended(t, out, 486, "refused", "them")

	b := open(t, Config{Codec: "PCMU"})
	a := open(t, Config{Server: b.Addr(), Codec: "PCMA"})
	out, err := a.Call("1")
	if err != nil {
		t.Fatal(err)
	}
	ended(t, out, 480, "refused", "them") // nobody receives from Incoming
	incoming := b.Incoming()
	if out, err = a.Call("1"); err != nil {
		t.Fatal(err)
	}
	(<-incoming).Answer()
	ended(t, out, 488, "refused", "them")
}

func TestRetryAfter(t *testing.T) {
	p := open(t, Config{OnCall: func(c *Call) {
		c.settle(503)
		c.p.Reply(c.Inv, 503, "Service Unavailable", func(m *Message) { m.Add("Retry-After", "30 (busy);duration=9") })
		c.end(503, "rejected")
	}})
	c, err := open(t, Config{Server: p.Addr()}).Call("1")
	if err != nil {
		t.Fatal(err)
	}
	ended(t, c, 503, "refused", "them")
	if c.RetryAfter() != 30*time.Second {
		t.Fatal(c.RetryAfter())
	}
}

func TestCancel(t *testing.T) {
	out, in := ring(t, Config{}, Config{})
	out.Hangup()
	out.Hangup()
	ended(t, out, 487, "cancelled", "us")
	ended(t, in, 487, "cancelled", "them")
	in.Answer()
	if in.Status() != 487 {
		t.Fatal(in.Status())
	}
}

// CANCEL is lost until the call is taken: the 200 is acknowledged and ended.
func TestCancelTooLate(t *testing.T) {
	out, in := ring(t, Config{Lose: func(m *Message) bool { return m.Method() == "CANCEL" }}, Config{})
	out.Hangup()
	in.Answer()
	wait(t, in.Acked(), "the ACK")
	ended(t, in, 200, "bye", "them")
	ended(t, out, 200, "hangup", "us")
	select {
	case <-out.Answered():
		t.Fatal("a call that we cancelled was answered")
	default:
	}
}

// A call that is given up before anything has come is cancelled when something does.
func TestCancelEarly(t *testing.T) {
	var mu sync.Mutex
	deaf, heard := true, newOnce()
	b := open(t, Config{Lose: func(m *Message) bool { mu.Lock(); defer mu.Unlock(); heard.fire(); return deaf }})
	incoming := b.Incoming()
	out, err := open(t, Config{Server: b.Addr()}).Call("1")
	if err != nil {
		t.Fatal(err)
	}
	in := <-incoming
	wait(t, heard.c, "the lost 180")
	out.Hangup()
	mu.Lock()
	deaf = false
	mu.Unlock()
	ended(t, out, 487, "cancelled", "us") // the INVITE is repeated, and the 180 comes again
	ended(t, in, 487, "cancelled", "them")
}

// Every message is lost the first time it goes.
func TestLossyNetwork(t *testing.T) {
	first := func() func(*Message) bool {
		var mu sync.Mutex
		seen := map[string]bool{}
		return func(m *Message) bool {
			mu.Lock()
			defer mu.Unlock()
			k := m.Start + m.Get("CSeq")
			was := seen[k]
			seen[k] = true
			return !was
		}
	}
	out, in := talk(t, Config{Lose: first()}, Config{Lose: first()})
	if err := out.Hold(soon(t)); err != nil {
		t.Fatal(err)
	}
	in.Hangup()
	ended(t, out, 200, "bye", "them")
	out, in = ring(t, Config{Lose: first()}, Config{Lose: first()})
	in.Busy()
	ended(t, out, 486, "refused", "them")
}

// void is a network where nothing arrives.
type void struct {
	net.PacketConn
	done chan struct{}
}

func (v void) ReadFrom([]byte) (int, net.Addr, error)    { <-v.done; return 0, nil, net.ErrClosed }
func (v void) WriteTo(b []byte, _ net.Addr) (int, error) { return len(b), nil }
func (v void) LocalAddr() net.Addr                       { return &net.UDPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 5060} }
func (v void) Close() error                              { close(v.done); return nil }

// Requests are repeated with the same branch: an INVITE after T1, 2 T1, 4 T1 … (timer A), others every 8 T1 at most (timer E), all
// until 64 T1 (timers B and F).
func TestNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin, branches := time.Now(), map[string]bool{}
		var at []float64
		p := open(t, Config{T1: 500 * time.Millisecond, Conn: void{done: make(chan struct{})}, NoAudio: true, Lose: func(m *Message) bool {
			at = append(at, time.Since(begin).Seconds())
			branches[m.Branch()] = true
			return true
		}})
		c, err := p.Call("1")
		if err != nil {
			t.Fatal(err)
		}
		<-c.Ended()
		if c.Status() != 408 || c.Why() != "timeout" || c.By() != "" || time.Since(begin) != 32*time.Second {
			t.Fatal(c.Status(), c.Why(), c.By(), time.Since(begin))
		}
		if s := fmt.Sprint(at, len(branches)); s != "[0 0.5 1.5 3.5 7.5 15.5 31.5] 1" {
			t.Fatal(s)
		}
		at, begin = nil, time.Now()
		if err := p.Register(t.Context()); err != ErrTimeout {
			t.Fatal(err)
		}
		if s := fmt.Sprint(at); s != "[0 0.5 1.5 3.5 7.5 11.5 15.5 19.5 23.5 27.5 31.5]" {
			t.Fatal(s)
		}
	})
}

// Our 200 is repeated until the ACK; without one the call is over.
func TestNoACK(t *testing.T) {
	out, in := ring(t, Config{Lose: func(m *Message) bool { return m.Method() == "ACK" }}, Config{T1: 5 * time.Millisecond})
	in.Answer()
	wait(t, out.Answered(), "the answer")
	ended(t, in, 200, "unacknowledged", "")
	ended(t, out, 200, "bye", "them")
}

// The other side has taken our call, and a second one too (a fork): that one is ended.
func TestFork(t *testing.T) {
	var b *Phone
	byes, acks := make(chan string, 8), make(chan string, 8)
	b = open(t, Config{OnCall: func(c *Call) { c.Answer() }, Trace: func(in bool, m *Message) {
		if in && m.Method() == "BYE" {
			byes <- m.Tag("To")
		}
		if in && m.Method() == "ACK" {
			acks <- m.Tag("To")
		}
	}})
	a := open(t, Config{Server: b.Addr()})
	out, err := a.Call("1")
	if err != nil {
		t.Fatal(err)
	}
	wait(t, out.Answered(), "the answer")
	next := func(c chan string, what string) string {
		t.Helper()
		select {
		case s := <-c:
			return s
		case <-time.After(20 * time.Second):
			t.Fatalf("%s did not come", what)
			return ""
		}
	}
	next(acks, "the ACK")
	second := out.Inv.Response(200, "OK", "second").Add("Contact", "<sip:second@"+b.Addr()+">")
	second.from = b.pc.LocalAddr()
	a.got(second)
	if got := next(acks, "the ACK of the second"); got != "second" {
		t.Fatal(got)
	}
	if got := next(byes, "BYE"); got != "second" {
		t.Fatal(got)
	}
	a.got(second) // repeated: acknowledged again, not ended again
	if got := next(acks, "the ACK of the second"); got != "second" {
		t.Fatal(got)
	}
	select {
	case <-out.Ended():
		t.Fatal("the first is over too")
	default:
	}
}

func TestLostPackets(t *testing.T) {
	out, in := talk(t, Config{LoseRTP: func(seq uint16) bool { return seq%4 == 2 }}, Config{})
	out.Audio().Tone(440)
	until(t, "the lost are counted", func() bool {
		l, r := in.Audio().Lost(), in.Audio().Received()
		return l >= 5 && r >= 3*l && r <= 3*l+3
	})
}

func TestStrangers(t *testing.T) {
	b := open(t, Config{OnCall: func(c *Call) { c.Answer() }})
	a := open(t, Config{Server: b.Addr()})
	for method, want := range map[string]int{"OPTIONS": 200, "BYE": 481, "INFO": 481, "CANCEL": 481, "SUBSCRIBE": 501} {
		r, err := a.Do(soon(t), a.Request(method, "sip:1@"+b.Addr(), Token(), 1), nil)
		if err != nil || r.Status() != want {
			t.Errorf("%s: %v %v, want %d", method, r, err, want)
		}
	}
	out, err := a.Call("1")
	if err != nil {
		t.Fatal(err)
	}
	wait(t, out.Answered(), "the answer")
	for method, want := range map[string]int{"OPTIONS": 200, "UPDATE": 200, "REFER": 501} {
		if r, err := out.Do(soon(t), out.Request(method)); err != nil || r.Status() != want {
			t.Errorf("%s: %v %v, want %d", method, r, err, want)
		}
	}
	old := out.Request("INFO").Set("CSeq", "1 INFO")
	if r, err := out.Do(soon(t), old); err != nil || r.Status() != 500 {
		t.Error(r, err)
	}
	other := out.Request("BYE").Set("To", "<sip:1@x>;tag=other")
	if r, err := out.Do(soon(t), other); err != nil || r.Status() != 481 {
		t.Error(r, err)
	}
	twice := *out.Inv
	twice.Headers = append([]Header{}, out.Inv.Headers...)
	twice.Set("Via", a.Via())
	if r, err := a.Do(soon(t), &twice, nil); err != nil || r.Status() != 482 {
		t.Error(r, err)
	}
}

// Closing ends the calls on both sides, whatever their state.
func TestClose(t *testing.T) {
	for _, who := range []string{"caller", "callee"} {
		for _, state := range []string{"ringing", "up"} {
			out, in := ring(t, Config{}, Config{})
			if state == "up" {
				in.Answer()
				wait(t, in.Acked(), "the ACK")
				wait(t, out.Answered(), "the answer")
			}
			if who == "caller" {
				out.p.Close()
			} else {
				in.p.Close()
			}
			wait(t, out.Ended(), who+" closes while "+state+": out")
			wait(t, in.Ended(), who+" closes while "+state+": in")
			if _, err := out.p.Call("1"); who == "caller" && err != ErrClosed {
				t.Fatal(err)
			}
		}
	}
	// BYE is on its way when Hangup returns, and Close does not overtake it.
	for range 20 {
		out, in := talk(t, Config{NoAudio: true}, Config{NoAudio: true})
		out.Hangup()
		out.p.Close()
		ended(t, in, 200, "bye", "them")
	}
}

// Nothing is left of fifty calls, nor of the phones.
func TestNothingIsLeft(t *testing.T) {
	before := runtime.NumGoroutine()
	b := open(t, Config{OnCall: func(c *Call) {
		c.Ring()
		c.Answer()
		c.Audio().Tone(500)
	}})
	a := open(t, Config{Server: b.Addr()})
	idle := runtime.NumGoroutine()
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			c, err := a.Call("1")
			if err != nil {
				t.Error(err)
				return
			}
			if i%5 == 0 {
				c.Hangup()
			} else {
				wait(t, c.Answered(), "the answer")
				c.Audio().Tone(440)
				until(t, "sound", func() bool { return c.Audio().Received() > 2 })
				c.Hangup()
			}
			wait(t, c.Ended(), "the end")
		})
	}
	wg.Wait()
	until(t, "no call is left", func() bool { return a.Calls()+b.Calls() == 0 })
	until(t, "no goroutine of a call is left", func() bool { return runtime.NumGoroutine() <= idle })
	for _, p := range []*Phone{a, b} {
		p.mu.Lock()
		if n := len(p.waiting) + len(p.refused); n != 0 || p.errands != 0 {
			t.Errorf("%d requests and refusals, %d errands", n, p.errands)
		}
		p.mu.Unlock()
		p.Close()
	}
	until(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

func TestRecent(t *testing.T) {
	r := newRecent[int](time.Minute)
	r.put("a", 1)
	r.turned = r.turned.Add(-61 * time.Second)
	if v, ok := r.get("a"); v != 1 || !ok {
		t.Fatal("forgotten after a minute")
	}
	r.put("b", 2)
	r.turned = r.turned.Add(-61 * time.Second)
	if _, ok := r.get("a"); ok || r.size() != 1 {
		t.Fatal("remembered after two")
	}
	r.turned = r.turned.Add(-time.Hour)
	if _, ok := r.get("b"); ok || r.size() != 0 {
		t.Fatal("remembered after an hour")
	}
}

func TestTCP(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p, err := New(Config{Server: l.Addr().String(), Transport: "tcp", T1: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(p.contact(), ";transport=tcp") {
		t.Error(p.contact())
	}
	if err := p.Register(soon(t)); err != ErrTimeout {
		t.Error(err)
	}
	p.Close()
}
