package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/telephony"
	"yingda/telephony/phonetest"
)

// plane is a media plane of the test: it writes down what it is told.
type plane struct {
	mu       sync.Mutex
	port     uint16
	said     []string
	remotes  map[telephony.LegID][]MediaRemote
	full     bool
	overload bool
	open     int
	panics   string // the order that panics
}

type planeLeg struct {
	p    *plane
	id   telephony.LegID
	port uint16
}

func (p *plane) say(format string, args ...any) {
	p.mu.Lock()
	p.said = append(p.said, fmt.Sprintf(format, args...))
	bad := p.panics
	p.mu.Unlock()
	if bad != "" && bad == format {
		panic("planted")
	}
}

func (p *plane) words() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.said...)
}

func (p *plane) NewLeg(id telephony.LegID) (MediaLeg, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.full {
		return nil, errors.New("full")
	}
	p.open++
	p.port += 2
	return &planeLeg{p, id, 20000 + p.port}, nil
}
func (p *plane) Bridge(a, b MediaLeg) error { p.say("bridge"); return nil }
func (p *plane) Unbridge(a, b MediaLeg)     { p.say("unbridge") }
func (p *plane) Record(rec intake.RecordingID, _ intake.ContactID, _, other MediaLeg) error {
	p.say("record %v", other != nil)
	return nil
}
func (p *plane) StopRecord(intake.RecordingID) { p.say("stoprecord") }
func (p *plane) Overloaded() bool              { p.mu.Lock(); defer p.mu.Unlock(); return p.overload }
func (p *plane) legs() int                     { p.mu.Lock(); defer p.mu.Unlock(); return p.open }
func (p *plane) remote(id telephony.LegID) (last MediaRemote, count int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	list := p.remotes[id]
	if len(list) == 0 {
		return MediaRemote{}, 0
	}
	return list[len(list)-1], len(list)
}

func (l *planeLeg) Local() (rtp, rtcp netip.AddrPort) {
	a := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	return netip.AddrPortFrom(a, l.port), netip.AddrPortFrom(a, l.port+1)
}
func (l *planeLeg) SetRemote(r MediaRemote) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	if l.p.remotes == nil {
		l.p.remotes = map[telephony.LegID][]MediaRemote{}
	}
	l.p.remotes[l.id] = append(l.p.remotes[l.id], r)
}
func (l *planeLeg) Play(_ telephony.PlayID, prompts []string, _ string, _ bool, _ int) {
	l.p.say("play %v", prompts)
}
func (l *planeLeg) Stop()            { l.p.say("stop") }
func (l *planeLeg) Digit(key string) { l.p.say("digit %s", key) }
func (l *planeLeg) Close()           { l.p.mu.Lock(); l.p.open--; l.p.mu.Unlock() }

// edge is a server under test with what it reported.
type edge struct {
	t testing.TB
	*Server
	plane  *plane
	inputs chan telephony.Input
	ops    chan string
	addr   string
	mu     sync.Mutex
	auto   func(telephony.Input) []telephony.Effect
	faults int
}

var loopback = netip.MustParsePrefix("127.0.0.0/8")

func accounts(user string) (Account, error) {
	switch user {
	case "1001", "1002":
		return Account{User: user, Operator: intake.UserID("op-" + user), Password: "secret-" + user}, nil
	case "1003":
		return Account{User: user, Operator: "op-1003", HA1: hashHex("MD5", "1003:yingda:secret-1003"), HA1SHA: hashHex("SHA-256", "1003:yingda:secret-1003")}, nil
	}
	return Account{}, ErrNoAccount
}

// newEdge starts a server on loopback, or on cfg.PacketConn.
func newEdge(t testing.TB, change func(*Config)) *edge {
	t.Helper()
	e := &edge{t: t, plane: &plane{}, inputs: make(chan telephony.Input, 1000), ops: make(chan string, 1000)}
	cfg := Config{
		Trunks:  []Trunk{{Name: "loop", Addresses: []netip.Prefix{loopback}, Trusted: true}},
		Account: accounts,
		Lines:   func(called, _ string) (intake.LineID, bool) { return intake.LineID(called), true },
		Report: func(in telephony.Input) {
			e.inputs <- in
			e.mu.Lock()
			auto := e.auto
			e.mu.Unlock()
			if auto != nil {
				if effects := auto(in); len(effects) > 0 {
					e.Do(effects...)
				}
			}
		},
		Operators: func(op intake.UserID, up bool, why string) { e.ops <- fmt.Sprintf("%s %v %s", op, up, why) },
		Media:     e.plane,
		Logger:    slog.New(slog.DiscardHandler),
		Metrics:   Metrics{Fault: func() { e.mu.Lock(); e.faults++; e.mu.Unlock() }},
		Timers:    Timers{Check: -1},
	}
	if change != nil {
		change(&cfg)
	}
	if cfg.PacketConn == nil && cfg.UDP == "" && cfg.TCP == "" {
		cfg.UDP, cfg.TCP = "127.0.0.1:0", "127.0.0.1:0"
	}
	s, err := Listen(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	e.Server = s
	udp, _ := s.Addr()
	e.addr = udp.String()
	t.Cleanup(func() {
		_ = s.Close()
		if n := e.plane.legs(); n != 0 {
			t.Errorf("%d media legs were not closed", n)
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.faults > 0 && !e.wantFaults() {
			t.Errorf("%d panics", e.faults)
		}
	})
	return e
}

func (e *edge) wantFaults() bool { return e.plane.panics != "" }

func (e *edge) react(f func(telephony.Input) []telephony.Effect) {
	e.mu.Lock()
	e.auto = f
	e.mu.Unlock()
}

// want waits for the next input and checks its kind.
func want[T telephony.Input](e *edge) T {
	e.t.Helper()
	var zero T
	select {
	case in := <-e.inputs:
		got, ok := in.(T)
		if !ok {
			e.t.Fatalf("reported %T %+v, want %T", in, in, zero)
		}
		return got
	case <-time.After(40 * time.Second):
		e.t.Fatalf("nothing reported, want %T", zero)
	}
	return zero
}

// silent checks that nothing was reported.
func (e *edge) silent() {
	e.t.Helper()
	select {
	case in := <-e.inputs:
		e.t.Fatalf("reported %T %+v, want nothing", in, in)
	default:
	}
}

func phone(t *testing.T, e *edge, change func(*phonetest.Config)) *phonetest.Phone {
	t.Helper()
	cfg := phonetest.Config{Server: e.addr, User: "051255500001", Name: "Test", NoAudio: true}
	if change != nil {
		change(&cfg)
	}
	if cfg.Transport == "tcp" {
		_, tcp := e.Addr()
		cfg.Server = tcp.String()
	}
	p, err := phonetest.New(cfg)
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
	case <-time.After(40 * time.Second):
		t.Fatalf("%s did not happen", what)
	}
}

func call(t *testing.T, p *phonetest.Phone, number string, o ...phonetest.Option) *phonetest.Call {
	t.Helper()
	c, err := p.Call(number, o...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ctx ends long after everything should have.
func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 40*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func testTransports(t *testing.T, f func(t *testing.T, transport string)) {
	for _, tr := range []string{"udp", "tcp"} {
		t.Run(tr, func(t *testing.T) { f(t, tr) })
	}
}

func via(transport string) func(*phonetest.Config) {
	return func(c *phonetest.Config) { c.Transport = transport }
}

// A resident calls, is taken, hears a prompt, presses a key by INFO, and hangs up.
func TestResidentCalls(t *testing.T) {
	testTransports(t, func(t *testing.T, transport string) {
		e := newEdge(t, nil)
		p := phone(t, e, via(transport))
		c := call(t, p, "12345")
		inv := want[telephony.Invited](e)
		if inv.Line != "12345" || inv.Trunk != "loop" || inv.CallID != c.ID || !inv.Audio || inv.Overload || inv.Again || inv.Withheld ||
			inv.Number != pii.NewPhone("051255500001") || inv.Name != pii.NewName("Test") || inv.Contact == "" {
			t.Fatalf("invited: %#v", inv)
		}
		e.Do(telephony.Ring{Leg: inv.Leg})
		wait(t, c.Ringing(), "ringing")
		e.Do(telephony.Accept{Leg: inv.Leg}, telephony.Play{Leg: inv.Leg, Play: 1, Prompts: []string{"greeting"}})
		wait(t, c.Answered(), "the answer")
		want[telephony.Accepted](e)
		if err := c.Info(soon(t), "5"); err != nil {
			t.Fatal(err)
		}
		c.Hangup()
		end := want[telephony.Ended](e)
		if end.By != intake.ByResident || end.Why != "bye" {
			t.Fatalf("ended: %+v", end)
		}
		_ = e.Close()
		words := fmt.Sprint(e.plane.words())
		if words != "[play [greeting] digit 5]" {
			t.Fatalf("the media plane was told %s", words)
		}
		if r, n := e.plane.remote(inv.Leg); n != 1 || r.Codec != "PCMA" || r.Event != 101 || !r.Send || !r.Receive || r.Relatch {
			t.Fatalf("remote: %+v %d", r, n)
		}
		e.silent()
	})
}

func TestRefuse(t *testing.T) {
	testTransports(t, func(t *testing.T, transport string) {
		e := newEdge(t, nil)
		p := phone(t, e, via(transport))
		c := call(t, p, "12345")
		inv := want[telephony.Invited](e)
		e.Do(telephony.Refuse{Leg: inv.Leg, Status: 503, RetryAfter: 30 * time.Second, Q850: 42})
		wait(t, c.Ended(), "the end")
		if c.Status() != 503 {
			t.Fatalf("status %d", c.Status())
		}
		if end := want[telephony.Ended](e); end.By != intake.ByUs || end.Why != "hangup" {
			t.Fatalf("%+v", end)
		}
	})
}

func TestWeHangUp(t *testing.T) {
	testTransports(t, func(t *testing.T, transport string) {
		e := newEdge(t, nil)
		p := phone(t, e, via(transport))
		c := call(t, p, "12345")
		inv := want[telephony.Invited](e)
		e.Do(telephony.Accept{Leg: inv.Leg})
		want[telephony.Accepted](e)
		e.Do(telephony.Hangup{Leg: inv.Leg, Q850: 16})
		wait(t, c.Ended(), "BYE")
		if end := want[telephony.Ended](e); end.By != intake.ByUs || c.Why() != "bye" {
			t.Fatalf("%+v %s", end, c.Why())
		}
		e.Do(telephony.Hangup{Leg: inv.Leg}, telephony.Accept{Leg: inv.Leg}, telephony.Play{Leg: inv.Leg})
	})
}

func TestResidentGivesUp(t *testing.T) {
	testTransports(t, func(t *testing.T, transport string) {
		e := newEdge(t, nil)
		p := phone(t, e, via(transport))
		c := call(t, p, "12345")
		inv := want[telephony.Invited](e)
		e.Do(telephony.Ring{Leg: inv.Leg})
		wait(t, c.Ringing(), "ringing")
		c.Hangup()
		wait(t, c.Ended(), "487")
		if c.Status() != 487 {
			t.Fatalf("status %d", c.Status())
		}
		if end := want[telephony.Ended](e); end.By != intake.ByResident || end.Why != "cancel" {
			t.Fatalf("%+v", end)
		}
		e.Do(telephony.Accept{Leg: inv.Leg})
		e.silent()
	})
}

// An operator's phone registers, is rung, takes the call and hangs up.
func TestOperator(t *testing.T) {
	testTransports(t, func(t *testing.T, transport string) {
		for _, user := range []string{"1001", "1003"} {
			e := newEdge(t, nil)
			calls := make(chan *phonetest.Call, 1)
			p := phone(t, e, func(c *phonetest.Config) {
				c.Transport, c.User, c.Password = transport, user, "secret-"+user
				c.OnCall = func(c *phonetest.Call) { calls <- c }
			})
			if err := p.Register(soon(t)); err != nil {
				t.Fatal(err)
			}
			if got := <-e.ops; got != "op-"+user+" true registered" {
				t.Fatal(got)
			}
			e.Do(telephony.Dial{Leg: "out", Operator: intake.UserID("op-" + user), From: pii.NewPhone("13800138000"), FromName: pii.NewName("张三"),
				Timeout: 30 * time.Second, Header: map[string]string{"X-Yingda-Contact": "abc"}})
			c := <-calls
			if c.Inv.Get("X-Yingda-Contact") != "abc" || phonetest.Bare(c.Inv.Get("From")) != "sip:13800138000@yingda" {
				t.Fatalf("%+v", c.Inv)
			}
			c.Ring()
			want[telephony.Ringing](e)
			c.Answer()
			if a := want[telephony.Answered](e); a.Codec != "PCMA" || a.Wideband {
				t.Fatalf("%+v", a)
			}
			wait(t, c.Acked(), "the ACK")
			c.Hangup()
			if end := want[telephony.Ended](e); end.By != intake.ByResident || end.Leg != "out" {
				t.Fatalf("%+v", end)
			}
			if err := p.Unregister(soon(t)); err != nil {
				t.Fatal(err)
			}
			if got := <-e.ops; got != "op-"+user+" false unregistered" {
				t.Fatal(got)
			}
			e.Do(telephony.Dial{Leg: "out2", Operator: intake.UserID("op-" + user)})
			if f := want[telephony.Failed](e); f.Why != "unreachable" {
				t.Fatalf("%+v", f)
			}
		}
	})
}
