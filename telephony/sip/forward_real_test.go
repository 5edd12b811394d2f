package sip

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"yingda/telephony"
	"yingda/telephony/phonetest"
)

// realPair is two nodes on loopback: A at 127.0.1.1 has the switchboard, B at 127.0.1.2 not; everybody else is at 127.0.0.1.
func realPair(t *testing.T, change func(*Config)) (a, b *edge, owner *atomic.Pointer[edge]) {
	t.Helper()
	owner = &atomic.Pointer[edge]{}
	node := func(self, other string) *edge {
		var e *edge
		var me atomic.Pointer[edge]
		e = newEdge(t, func(c *Config) {
			c.UDP, c.TCP = self+":0", self+":0"
			c.Trunks = []Trunk{{Name: "strict", Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")}, Trusted: true, Forward: true}}
			c.Peers = []netip.Prefix{netip.MustParsePrefix(other + "/32")}
			c.Elsewhere = func() (Elsewhere, bool) {
				o := owner.Load()
				if o == nil || o == me.Load() {
					return Elsewhere{}, o == nil
				}
				udp, _ := o.Addr()
				return Elsewhere{Address: udp}, true
			}
			if change != nil {
				change(c)
			}
		})
		me.Store(e)
		return e
	}
	a, b = node("127.0.1.1", "127.0.1.2"), node("127.0.1.2", "127.0.1.1")
	owner.Store(a)
	return a, b, owner
}

// said waits for what comes over a channel, and for just that unless want is the zero value.
func said[T comparable](t *testing.T, c <-chan T, want T) T {
	t.Helper()
	var zero T
	select {
	case got := <-c:
		if want != zero && got != want {
			t.Fatalf("%v, want %v", got, want)
		}
		return got
	case <-time.After(40 * time.Second):
		t.Fatalf("%v did not come", want)
	}
	return zero
}

// Over real sockets, UDP and TCP: a call in by the node that has not the switchboard, held, taken back and ended by either side; and a phone that
// registers there and is rung.
func TestForwardOnLoopback(t *testing.T) {
	testTransports(t, func(t *testing.T, transport string) {
		regs := &tables{}
		a, b, owner := realPair(t, func(c *Config) { c.Registrations = regs })
		a.react(answerAll)
		trunk := phone(t, b, func(c *phonetest.Config) { c.Transport = transport })
		for _, ours := range []bool{false, true} {
			c := call(t, trunk, "12345")
			wait(t, c.Answered(), "the answer")
			in := want[telephony.Invited](a)
			want[telephony.Accepted](a)
			if err := c.Hold(soon(t)); err != nil {
				t.Fatal(err)
			}
			want[telephony.Held](a)
			for { // the ACK of the first may be slower than the second re-INVITE: 491, as RFC 3261 §14.2 says
				err := c.Resume(soon(t))
				if err == nil {
					break
				}
				if !strings.Contains(err.Error(), "491") {
					t.Fatal(err)
				}
			}
			want[telephony.Resumed](a)
			if ours {
				a.Do(telephony.Hangup{Leg: in.Leg})
			} else {
				c.Hangup()
			}
			wait(t, c.Ended(), "the end")
			want[telephony.Ended](a)
		}
		a.react(nil)
		c := call(t, trunk, "12345")
		in := want[telephony.Invited](a)
		a.Do(telephony.Ring{Leg: in.Leg})
		wait(t, c.Ringing(), "the ringing")
		c.Hangup()
		wait(t, c.Ended(), "the end")
		if e := want[telephony.Ended](a); e.Why != "cancel" {
			t.Fatal(e)
		}

		calls := make(chan *phonetest.Call, 1)
		desk := phone(t, b, func(c *phonetest.Config) {
			c.Transport, c.User, c.Password, c.Domain, c.OnCall = transport, "1001", "secret-1001", "yingda", func(c *phonetest.Call) { calls <- c }
		})
		if err := desk.Register(soon(t)); err != nil {
			t.Fatal(err)
		}
		said(t, a.ops, "op-1001 true registered")
		ring := func(e *edge, leg telephony.LegID) {
			t.Helper()
			e.Do(telephony.Dial{Leg: leg, Operator: "op-1001"})
			c := said(t, calls, nil)
			c.Ring()
			want[telephony.Ringing](e)
			c.Answer()
			want[telephony.Answered](e)
			wait(t, c.Acked(), "the ACK")
			c.Hangup()
			want[telephony.Ended](e)
		}
		ring(a, "one")
		// The same two servers, their roles changed: no socket moves.
		owner.Store(b)
		said(t, b.ops, "op-1001 true registered")
		ring(b, "two")
		b.react(answerAll)
		c = call(t, trunk, "12345")
		wait(t, c.Answered(), "the answer")
		want[telephony.Invited](b)
		want[telephony.Accepted](b)
		c.Hangup()
		want[telephony.Ended](b)
		a.silent()
	})
}

// A phone's connection is gone: the owner hears it at once.
func TestFlowGone(t *testing.T) {
	a, b, _ := realPair(t, nil)
	desk := phone(t, b, func(c *phonetest.Config) {
		c.Transport, c.User, c.Password, c.Domain = "tcp", "1001", "secret-1001", "yingda"
	})
	if err := desk.Register(soon(t)); err != nil {
		t.Fatal(err)
	}
	said(t, a.ops, "op-1001 true registered")
	b.tcp.closeAll()
	a.Do(telephony.Dial{Leg: "x", Operator: "op-1001"})
	if f := want[telephony.Failed](a); f.Status != 430 || f.Why != "unreachable" {
		t.Fatal(f)
	}
}

// What a caller sent by TCP is repeated between the nodes until the owner says something.
func TestTCPToLossyOwner(t *testing.T) {
	pc, err := net.ListenPacket("udp4", "127.0.1.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	at := addrPort(pc.LocalAddr())
	b := newEdge(t, func(c *Config) {
		c.UDP, c.TCP = "127.0.1.2:0", "127.0.1.2:0"
		c.Trunks = []Trunk{{Name: "strict", Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/24")}, Forward: true}}
		c.Peers = []netip.Prefix{netip.MustParsePrefix("127.0.1.1/32")}
		c.Elsewhere = func() (Elsewhere, bool) { return Elsewhere{Address: at}, true }
		c.Timers.T1 = 10 * time.Millisecond
	})
	c := call(t, phone(t, b, func(c *phonetest.Config) { c.Transport = "tcp" }), "12345")
	buf := make([]byte, 4096)
	var first []byte
	for range 3 {
		_ = pc.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, from, err := pc.ReadFrom(buf)
		if err != nil {
			t.Fatal(err)
		}
		if first == nil {
			first = bytes.Clone(buf[:n])
		}
		if !bytes.Equal(first, buf[:n]) {
			t.Fatalf("%q is not %q", buf[:n], first)
		}
		if addrPort(from).Addr().String() != "127.0.1.2" {
			t.Fatal(from)
		}
	}
	inv, err := phonetest.ParseMessage(first)
	if err != nil {
		t.Fatal(err)
	}
	udp, _ := b.Addr()
	_, _ = pc.WriteTo(inv.Response(180, "Ringing", "z").Bytes(), net.UDPAddrFromAddrPort(udp))
	wait(t, c.Ringing(), "the ringing")
	b.proxy.mu.Lock()
	left := len(b.proxy.answer)
	b.proxy.mu.Unlock()
	if left != 0 {
		t.Fatalf("%d are still repeated", left)
	}
}

// Every message of RFC 4475 sent to a node without the switchboard gets what the one that has it says, and both are well afterwards.
func TestTortureForwarded(t *testing.T) {
	for i, c := range torture {
		twoNodes(t, func(c *Config) {
			c.Trunks = []Trunk{{Name: "strict", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Forward: true}}
		}, func(t *testing.T, p *pair) {
			p.a.react(refuseAll)
			ports := map[string]*peer{}
			for _, port := range []string{"5060", "5050", "5070", "9090"} {
				ports[port] = p.peer(t, "192.0.2.7:"+port)
			}
			b := net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addrB))
			_, _ = ports["5060"].port.WriteTo(tortureFile(t, c.name), b)
			var got []int
			for _, from := range ports {
				for m := from.next(5 * time.Second); m != nil; m = from.next(5 * time.Second) {
					if m.Status() >= 200 && !slices.Contains(got, m.Status()) { // a refusal of an INVITE comes until its ACK
						got = append(got, m.Status())
					}
				}
			}
			if !good(c.answers, got) {
				t.Errorf("%s: answered %v, want %v (%s)", c.name, got, c.answers, c.want)
			}
			for j, node := range []string{addrA, addrB} {
				_, _ = ports["5060"].port.WriteTo(healthCheck("192.0.2.7:5060", 2*i+j), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(node)))
				if m := ports["5060"].next(5 * time.Second); m == nil || m.Status() != 200 || !strings.HasPrefix(m.Get("Call-ID"), healthCall) {
					t.Errorf("%s: %s is not well: %v", c.name, node, m)
				}
			}
			p.b.silent()
		})
	}
}

// The way of a message that is passed on costs little beside what the owner does with it.
func BenchmarkForward(b *testing.B) {
	w := newWire()
	s := &Server{cfg: Config{Elsewhere: func() (Elsewhere, bool) { return Elsewhere{Address: netip.MustParseAddrPort(addrA)}, true },
		Trunks: []Trunk{{Name: "x", Forward: true, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}}.withDefaults(), dialogs: map[string]*leg{}, udpAddr: netip.MustParseAddrPort(addrB)}
	s.cfg.Limits.PerTrunk = 1e9
	s.guard = &guard{cfg: s.cfg, phone: func(netip.Addr) bool { return false }, sources: map[netip.Addr]*bucket{}}
	s.proxy = newProxy(s)
	s.proxy.addresses()
	s.guard.proxy = s.proxy
	s.udp = &packets{PacketConn: w.open(addrB), guard: s.guard}
	c := &peer{port: w.open("192.0.2.7:5060")}
	from := netip.MustParseAddrPort("192.0.2.7:5060")
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		s.guard.look(c.invite(fmt.Sprint(n)).Bytes(), from, false)
	}
}

// A second server on copies of the first one's sockets: a call that arrives between the two is not lost, it waits in the kernel.
func TestHandedSockets(t *testing.T) {
	pc, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	uf, err := pc.File()
	if err != nil {
		t.Fatal(err)
	}
	defer uf.Close()
	lf, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer lf.Close()
	first := newEdge(t, func(c *Config) {
		c.PacketConn, c.Listener = pc, l
		c.Elsewhere = func() (Elsewhere, bool) { return Elsewhere{}, true }
	})
	trunk := phone(t, first, nil)
	c := call(t, trunk, "12345")
	wait(t, c.Ended(), "the refusal")
	if c.Status() != 503 {
		t.Fatal(c.Status())
	}
	_ = first.Close()
	waiting := call(t, trunk, "12345")
	waitingTCP, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer waitingTCP.Close()
	_, _ = waitingTCP.Write(healthCheck("127.0.0.1:5060", 1))
	second := newEdge(t, func(c *Config) {
		if c.PacketConn, err = net.FilePacketConn(uf); err != nil {
			t.Fatal(err)
		}
		if c.Listener, err = net.FileListener(lf); err != nil {
			t.Fatal(err)
		}
	})
	in := want[telephony.Invited](second)
	second.Do(telephony.Accept{Leg: in.Leg})
	wait(t, waiting.Answered(), "the answer")
	want[telephony.Accepted](second)
	waiting.Hangup()
	want[telephony.Ended](second)
	_ = waitingTCP.SetReadDeadline(time.Now().Add(20 * time.Second))
	if m, err := next(bufio.NewReader(waitingTCP)); err != nil || m.Status() != 200 {
		t.Fatal(m, err)
	}
}
