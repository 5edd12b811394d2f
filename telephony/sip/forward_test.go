package sip

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"yingda/telephony"
	"yingda/telephony/phonetest"
)

const (
	addrA = "198.51.100.1:5060"
	addrB = "198.51.100.2:5060"
)

// pair is two nodes on a wire in memory. Who has the switchboard is what owner says; a node may be told something else.
type pair struct {
	w    *wire
	a, b *edge
	regs *tables

	mu    sync.Mutex
	owner map[string]string // by node: what it believes; "": nobody
	count map[string]int    // Onward by node, method and how
}

// tables are registrations that two nodes share.
type tables struct {
	mu    sync.Mutex
	rows  map[string]Binding
	fail  error
	hang  chan struct{} // not nil: every call waits for it
	calls []string
}

func (r *tables) enter(what string) error {
	r.mu.Lock()
	hang, fail := r.hang, r.fail
	r.calls = append(r.calls, what)
	r.mu.Unlock()
	if hang != nil {
		<-hang
	}
	return fail
}

func (r *tables) Load() ([]Binding, error) {
	if err := r.enter("load"); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Binding
	for _, b := range r.rows {
		out = append(out, b)
	}
	return out, nil
}

func (r *tables) Save(b Binding) error {
	if err := r.enter("save " + b.User); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.rows == nil {
		r.rows = map[string]Binding{}
	}
	r.rows[bindingKey(b.User, b.Contact)] = b
	return nil
}

func (r *tables) Delete(b Binding) error {
	if err := r.enter("delete " + b.User); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.rows, bindingKey(b.User, b.Contact))
	return nil
}

func (r *tables) set(f func(*tables)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r)
}

func (r *tables) list() []Binding {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Binding
	for _, b := range r.rows {
		out = append(out, b)
	}
	return out
}

func (p *pair) elsewhere(node string) func() (Elsewhere, bool) {
	return func() (Elsewhere, bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		owner := p.owner[node]
		if owner == "" {
			return Elsewhere{}, true
		}
		if owner == node {
			return Elsewhere{}, false
		}
		return Elsewhere{Address: netip.MustParseAddrPort(owner), Transport: "udp"}, true
	}
}

// has gives the switchboard to a node, in the eyes of the nodes named, or of both.
func (p *pair) has(owner string, nodes ...string) {
	if len(nodes) == 0 {
		nodes = []string{addrA, addrB}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range nodes {
		p.owner[n] = owner
	}
}

func (p *pair) onward(node string) func(string, string) {
	return func(method, how string) {
		p.mu.Lock()
		p.count[node+" "+method+" "+how]++
		p.mu.Unlock()
	}
}

func (p *pair) done(node, what string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count[node+" "+what]
}

// twoNodes runs a test with node A, which has the switchboard, and node B. The trunk "strict" (192.0.2.0/25) does not follow a 302, "carrier" (192.0.2.128/25) does.
func twoNodes(t *testing.T, change func(*Config), f func(t *testing.T, p *pair)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &pair{w: newWire(), regs: &tables{}, owner: map[string]string{}, count: map[string]int{}}
		p.has(addrA)
		node := func(addr, other string) *edge {
			return newEdge(t, func(c *Config) {
				c.PacketConn = p.w.open(addr)
				c.Trunks = []Trunk{{Name: "strict", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/25")}, Trusted: true, Forward: true},
					{Name: "carrier", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.128/25")}, Trusted: true}}
				c.Elsewhere = p.elsewhere(addr)
				c.Peers = []netip.Prefix{netip.PrefixFrom(netip.MustParseAddrPort(other).Addr(), 32)}
				c.Registrations = p.regs
				c.Metrics.Onward = p.onward(addr)
				if change != nil {
					change(c)
				}
			})
		}
		p.a, p.b = node(addrA, addrB), node(addrB, addrA)
		f(t, p)
	})
}

func (p *pair) peer(t *testing.T, addr string) *peer {
	out := &peer{t: t, port: p.w.open(addr)}
	t.Cleanup(func() { _ = out.port.Close() })
	return out
}

func (p *peer) sendTo(addr string, m *phonetest.Message) {
	_, _ = p.port.WriteTo(m.Bytes(), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)))
}

// follow makes a request within the dialog as a proper user agent does: to the Contact, along the Record-Route. It gives the first hop too.
func (p *peer) follow(method string, res *phonetest.Message, seq int) (m *phonetest.Message, to string) {
	m = p.inDialog(method, res, seq)
	to = addrOf(phonetest.Bare(res.Get("Contact")))
	routes := res.All("Record-Route")
	for i := len(routes) - 1; i >= 0; i-- {
		m.Add("Route", routes[i])
	}
	if len(routes) > 0 {
		to = addrOf(phonetest.Bare(routes[len(routes)-1]))
	}
	return m, to
}

func addrOf(uri string) string {
	host, port, _ := hostPort(uri)
	return joinHostPort(host, port)
}

// A trunk that follows a redirection is told where the switchboard is; nothing is kept, nothing is reported.
func TestRedirect(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		c := p.peer(t, "192.0.2.200:5060")
		inv := c.invite("r1")
		inv.Start = "INVITE sip:12345;x=y@198.51.100.2 SIP/2.0"
		c.sendTo(addrB, inv)
		first := c.want(302, "INVITE")
		if got := first.Get("Contact"); got != "<sip:12345;x=y@198.51.100.1:5060;transport=udp>" {
			t.Fatal(got)
		}
		c.sendTo(addrB, inv) // it was lost
		if again := c.want(302, "INVITE"); again.Get("To") != first.Get("To") {
			t.Fatalf("another To: %s, then %s", first.Get("To"), again.Get("To"))
		}
		c.sendTo(addrB, cancelOf(inv))
		c.want(200, "CANCEL")
		ack := c.request("ACK", "r1", 1).Set("To", first.Get("To")).Set("Via", inv.Get("Via"))
		c.sendTo(addrB, ack)
		c.quiet(time.Minute)
		// A tel URI has its number as user part.
		inv = c.invite("r2")
		inv.Start = "INVITE tel:+8651255500009 SIP/2.0"
		c.sendTo(addrB, inv)
		if got := c.want(302, "INVITE").Get("Contact"); got != "<sip:+8651255500009@198.51.100.1:5060;transport=udp>" {
			t.Fatal(got)
		}
		p.a.silent()
		p.b.silent()
		if p.done(addrB, "INVITE redirected") != 3 || p.a.plane.legs()+p.b.plane.legs() != 0 {
			t.Fatal(p.count)
		}
		// Where it is sent to it is taken.
		p.a.react(answerAll)
		c.sendTo(addrA, c.invite("r3"))
		c.want(200, "INVITE")
	})
}

// While nobody is known to have the switchboard, callers and phones are asked to come again soon, and a proxy in front sees it.
func TestNobodyHasIt(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		p.has("", addrB)
		for _, from := range []string{"192.0.2.7:5060", "192.0.2.200:5060"} {
			c := p.peer(t, from)
			inv := c.invite("n" + from)
			c.sendTo(addrB, inv)
			res := c.want(503, "INVITE")
			if res.Get("Retry-After") != "2" {
				t.Fatal(res)
			}
			c.sendTo(addrB, c.request("ACK", "n"+from, 1).Set("To", res.Get("To")).Set("Via", inv.Get("Via")))
			c.sendTo(addrB, c.request("OPTIONS", "o"+from, 1))
			c.want(503, "OPTIONS")
			p.has(addrA, addrB)
			c.sendTo(addrB, c.request("OPTIONS", "p"+from, 1))
			c.want(200, "OPTIONS")
			p.has("", addrB)
			c.quiet(time.Minute)
		}
		phone := p.peer(t, "203.0.113.1:5060")
		reg := phone.request("REGISTER", "x", 1)
		phone.sendTo(addrB, reg)
		if phone.want(503, "REGISTER").Get("Retry-After") != "2" {
			t.Fatal("no Retry-After")
		}
		p.b.silent()
	})
}

// A trunk that follows no redirection: the whole call goes by the node that it speaks with, under the trunk's own name, to the end.
func TestForward(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		p.a.react(func(in telephony.Input) []telephony.Effect {
			if inv, ok := in.(telephony.Invited); ok {
				return []telephony.Effect{telephony.Ring{Leg: inv.Leg}}
			}
			return nil
		})
		c := p.peer(t, "192.0.2.7:5060")
		inv := c.invite("f1")
		c.sendTo(addrB, inv)
		if vias := c.want(180, "INVITE").All("Via"); len(vias) != 1 || !strings.Contains(vias[0], "received=192.0.2.7") {
			t.Fatal(vias)
		}
		got := want[telephony.Invited](p.a)
		if got.Trunk != "strict" || got.Number.Reveal() != "051255500002" || got.Line != "12345" {
			t.Fatalf("%+v", got)
		}
		p.a.Do(telephony.Accept{Leg: got.Leg})
		ok := c.want(200, "INVITE")
		c.want(200, "INVITE") // no ACK came: once more, by the same way
		ack, to := c.follow("ACK", ok, 1)
		if to != addrB {
			t.Fatalf("the ACK goes to %s: %v", to, ok.All("Record-Route"))
		}
		c.sendTo(to, ack)
		want[telephony.Accepted](p.a)
		// A re-INVITE, and one of ours.
		re, to := c.follow("INVITE", ok, 2)
		re.Add("Content-Type", "application/sdp")
		re.Body = []byte(strings.Replace(someSDP, "a=rtpmap", "a=sendonly\r\na=rtpmap", 1))
		c.sendTo(to, re)
		held := c.want(200, "INVITE")
		ack, to = c.follow("ACK", held, 2)
		c.sendTo(to, ack)
		want[telephony.Held](p.a)
		p.a.Do(telephony.Hangup{Leg: got.Leg})
		bye := c.want(0, "BYE")
		if vias := bye.All("Via"); len(vias) != 2 || !strings.HasPrefix(vias[0], "SIP/2.0/UDP 198.51.100.2:5060;") || bye.Get("Route") != "" || bye.Get("Max-Forwards") != "69" || bye.Get(sentOn) != "" {
			t.Fatal(bye)
		}
		c.sendTo(addrB, bye.Response(200, "OK", ""))
		want[telephony.Ended](p.a)
		c.quiet(time.Minute)
		p.b.silent()
	})
}

// The caller hangs up: CANCEL before, BYE after the answer, also from a trunk that speaks with one address only and keeps to no Record-Route.
func TestForwardedEnds(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		c := p.peer(t, "192.0.2.7:5060")
		ring := func(in telephony.Input) []telephony.Effect {
			if inv, ok := in.(telephony.Invited); ok {
				return []telephony.Effect{telephony.Ring{Leg: inv.Leg}}
			}
			return nil
		}
		p.a.react(ring)
		inv := c.invite("e1")
		c.sendTo(addrB, inv)
		c.want(180, "INVITE")
		want[telephony.Invited](p.a)
		c.sendTo(addrB, cancelOf(inv))
		c.want(200, "CANCEL")
		res := c.want(487, "INVITE")
		c.sendTo(addrB, c.request("ACK", "e1", 1).Set("To", res.Get("To")).Set("Via", inv.Get("Via")))
		if e := want[telephony.Ended](p.a); e.Why != "cancel" {
			t.Fatal(e)
		}
		c.quiet(time.Minute) // the ACK has reached the owner: it says 487 no more

		// Refused: the ACK of the refusal is the owner's.
		p.a.react(refuseAll)
		inv = c.invite("e2")
		c.sendTo(addrB, inv)
		res = c.want(480, "INVITE")
		c.sendTo(addrB, c.request("ACK", "e2", 1).Set("To", res.Get("To")).Set("Via", inv.Get("Via")))
		want[telephony.Invited](p.a)
		want[telephony.Ended](p.a)
		c.quiet(time.Minute)

		// Taken, and BYE to the only address it knows.
		p.a.react(answerAll)
		c.sendTo(addrB, c.invite("e3"))
		ok := c.want(200, "INVITE")
		c.sendTo(addrB, c.inDialog("ACK", ok, 1))
		want[telephony.Invited](p.a)
		want[telephony.Accepted](p.a)
		c.sendTo(addrB, c.inDialog("BYE", ok, 2))
		c.want(200, "BYE")
		if e := want[telephony.Ended](p.a); e.Why != "bye" {
			t.Fatal(e)
		}
		p.b.silent()
	})
}

// On a wire that loses every fourth packet, everything that is said gets through: both sides repeat, and the node between repeats what they say.
func TestForwardLossy(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		var mu sync.Mutex
		dice := rand.New(rand.NewPCG(1, 2))
		p.w.lose = func(netip.AddrPort, netip.AddrPort, []byte) bool {
			mu.Lock()
			defer mu.Unlock()
			return dice.IntN(4) == 0
		}
		p.a.react(answerAll)
		for i := range 20 {
			phone, err := phonetest.New(phonetest.Config{Server: addrB, User: "051255500003", Conn: p.w.open(fmt.Sprintf("192.0.2.%d:5060", 10+i)), NoAudio: true})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(phone.Close)
			c := call(t, phone, "12345")
			wait(t, c.Answered(), "the answer")
			want[telephony.Invited](p.a)
			want[telephony.Accepted](p.a)
			c.Hangup()
			wait(t, c.Ended(), "the end")
			if e := want[telephony.Ended](p.a); e.Why != "bye" {
				t.Fatal(e)
			}
			phone.Close()
		}
		p.b.silent()
	})
}

// Max-Forwards ends (483), a request that comes back to us ends (482), and a node that is sent what it would send back says so at once: no ping-pong.
func TestForwardLoops(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		c := p.peer(t, "192.0.2.7:5060")
		c.sendTo(addrB, c.invite("l0").Set("Max-Forwards", "0"))
		c.want(483, "INVITE")
		c.sendTo(addrB, c.invite("l1").Set("Max-Forwards", "1"))
		if in := want[telephony.Invited](p.a); in.Trunk != "strict" {
			t.Fatal(in)
		}
		p.a.Do(telephony.Refuse{Leg: func() telephony.LegID { return legOf(p.a, "l1") }(), Status: 480})
		c.want(480, "INVITE")
		want[telephony.Ended](p.a)

		// A trunk that sends our own request back to us.
		c.sendTo(addrB, c.invite("l2").Add("Via", "SIP/2.0/UDP 198.51.100.2:5060;branch=z9hG4bKyf.00c0000207.aa"))
		c.want(482, "INVITE")

		// Each believes the other has it: for a moment nobody does.
		p.has(addrB, addrA)
		for i, m := range []string{"INVITE", "REGISTER"} {
			id := fmt.Sprintf("l3-%d", i)
			req := c.request(m, id, 1)
			if m == "INVITE" {
				req = c.invite(id)
			}
			before := p.done(addrA, m+" forwarded") + p.done(addrB, m+" forwarded")
			c.sendTo(addrB, req)
			if res := c.want(503, m); res.Get("Retry-After") != "2" {
				t.Fatal(res)
			}
			if n := p.done(addrA, m+" forwarded") + p.done(addrB, m+" forwarded") - before; n != 1 {
				t.Fatalf("%d times passed on", n)
			}
		}
		p.a.silent()
		p.b.silent()
	})
}

func legOf(e *edge, call string) telephony.LegID {
	e.Server.mu.Lock()
	defer e.Server.mu.Unlock()
	for key, l := range e.dialogs {
		if strings.HasPrefix(key, call+"\x00") {
			return l.id
		}
	}
	return ""
}

// What a call requires that we do not do is said by the owner, which writes the call down: the caller hears 420 as from one system.
func TestForwardRequire(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		p.a.react(refuseAll)
		c := p.peer(t, "192.0.2.7:5060")
		for i, h := range []string{"Require", "Proxy-Require"} {
			c.sendTo(addrB, c.invite(fmt.Sprint("q", i)).Add(h, "x-nothing"))
			res := c.want(420, "INVITE")
			if res.Get("Unsupported") != "x-nothing" {
				t.Fatal(res)
			}
			if in := want[telephony.Invited](p.a); in.Audio {
				t.Fatal(in)
			}
			want[telephony.Ended](p.a)
			c.sendTo(addrB, c.request("REGISTER", fmt.Sprint("qr", i), 1).Add(h, "x-nothing"))
			if res := c.want(420, "REGISTER"); res.Get("Unsupported") != "x-nothing" {
				t.Fatal(res)
			}
		}
	})
}

// The switchboard moves away: the calls that are here go on here, new ones go there. It comes back: we take them again.
func TestOwnershipMoves(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		p.a.react(answerAll)
		c, d := p.peer(t, "192.0.2.7:5060"), p.peer(t, "192.0.2.8:5060")
		c.sendTo(addrA, c.invite("m1"))
		ok := c.want(200, "INVITE")
		c.sendTo(addrA, c.inDialog("ACK", ok, 1))
		one := want[telephony.Invited](p.a)
		want[telephony.Accepted](p.a)
		p.a.react(nil)
		ringing := d.invite("m2")
		d.sendTo(addrA, ringing)
		two := want[telephony.Invited](p.a)

		p.has(addrB)
		p.b.react(answerAll)
		// The old calls: a re-INVITE, an INVITE that comes again, a CANCEL, an answer, a BYE.
		re := c.inDialog("INVITE", ok, 2).Add("Content-Type", "application/sdp")
		re.Body = []byte(someSDP)
		c.sendTo(addrA, re)
		c.sendTo(addrA, c.inDialog("ACK", c.want(200, "INVITE"), 2))
		d.sendTo(addrA, ringing)
		synctest.Wait()
		d.sendTo(addrA, cancelOf(ringing))
		d.want(200, "CANCEL")
		res := d.want(487, "INVITE")
		d.sendTo(addrA, d.request("ACK", "m2", 1).Set("To", res.Get("To")).Set("Via", ringing.Get("Via")))
		if e := want[telephony.Ended](p.a); e.Leg != two.Leg || e.Why != "cancel" {
			t.Fatal(e)
		}
		d.quiet(40 * time.Second)
		// A new call by the same trunk goes to B.
		c.sendTo(addrA, c.invite("m3"))
		ok3 := c.want(200, "INVITE")
		ack, to := c.follow("ACK", ok3, 1)
		c.sendTo(to, ack)
		want[telephony.Invited](p.b)
		want[telephony.Accepted](p.b)
		c.sendTo(addrA, c.inDialog("BYE", ok, 3))
		if bye := c.want(200, "BYE"); bye.Get("Call-ID") != "m1" {
			t.Fatal(bye)
		}
		if e := want[telephony.Ended](p.a); e.Leg != one.Leg {
			t.Fatal(e)
		}
		// Its BYE once more, when the leg is gone: still ours.
		c.sendTo(addrA, c.inDialog("BYE", ok, 4))
		c.want(481, "BYE")

		// Back again: B's call goes on at B though A has the switchboard, along the way it was made.
		p.has(addrA)
		p.a.react(answerAll)
		bye, to := c.follow("BYE", ok3, 2)
		if to != addrA {
			t.Fatal(to)
		}
		c.sendTo(to, bye)
		c.want(200, "BYE")
		want[telephony.Ended](p.b)
		c.sendTo(addrA, c.invite("m4"))
		c.want(200, "INVITE")
		want[telephony.Invited](p.a)
		p.b.silent()
	})
}

// The owner dies with an INVITE under way that it has not answered: the caller's exchange repeats it, and by then it is ours.
func TestTakeoverInMidFlight(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		p.w.lose = func(_, to netip.AddrPort, _ []byte) bool { return to.String() == addrA }
		p.b.react(answerAll)
		c := p.peer(t, "192.0.2.7:5060")
		inv := c.invite("t1")
		c.sendTo(addrB, inv)
		c.quiet(time.Second)
		p.has(addrB)
		c.sendTo(addrB, inv)
		c.want(200, "INVITE")
		want[telephony.Invited](p.b)
	})
}

// A phone registers with the node that it knows; its calls come by that node while it lives, and directly when it does not.
func TestRegisterByAnotherNode(t *testing.T) {
	twoNodes(t, func(c *Config) {
		c.Phones = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
	}, func(t *testing.T, p *pair) {
		calls := make(chan *phonetest.Call, 10)
		var seen []string
		phone, err := phonetest.New(phonetest.Config{Server: addrB, User: "1001", Password: "secret-1001", Domain: "yingda", Conn: p.w.open("203.0.113.5:5060"), NoAudio: true,
			OnCall: func(c *phonetest.Call) { calls <- c },
			Trace: func(in bool, m *phonetest.Message) {
				if in {
					seen = append(seen, m.Start)
				}
			}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(phone.Close)
		if err := phone.Register(context.Background()); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(seen[0], "401") { // the owner's challenge came through
			t.Fatal(seen)
		}
		synctest.Wait()
		rows := p.regs.list()
		if len(rows) != 1 || rows[0].Source.String() != "203.0.113.5:5060" || rows[0].Node.String() != addrB || rows[0].Transport != "udp" || len(p.b.Bindings()) != 0 {
			t.Fatalf("%+v", rows)
		}
		// The phone's NAT lets in nobody but B.
		p.w.lose = func(from, to netip.AddrPort, _ []byte) bool {
			return to.Addr().String() == "203.0.113.5" && from.String() != addrB
		}
		ring := func(e *edge, leg telephony.LegID) *phonetest.Call {
			e.Do(telephony.Dial{Leg: leg, Operator: "op-1001"})
			select {
			case c := <-calls:
				c.Ring()
				want[telephony.Ringing](e)
				c.Answer()
				want[telephony.Answered](e)
				wait(t, c.Acked(), "the ACK")
				return c
			case <-time.After(10 * time.Second):
				t.Fatal("the phone does not ring")
			}
			return nil
		}
		c := ring(p.a, "out1")
		c.Hangup()
		wait(t, c.Ended(), "the end")
		want[telephony.Ended](p.a)
		// Our BYE, our CANCEL, and a refusal by the phone.
		c = ring(p.a, "out2")
		p.a.Do(telephony.Hangup{Leg: "out2"})
		wait(t, c.Ended(), "the end")
		want[telephony.Ended](p.a)
		p.a.Do(telephony.Dial{Leg: "out3", Operator: "op-1001"})
		c = <-calls
		c.Ring()
		want[telephony.Ringing](p.a)
		p.a.Do(telephony.Hangup{Leg: "out3"})
		wait(t, c.Ended(), "the end")
		want[telephony.Failed](p.a)
		p.a.Do(telephony.Dial{Leg: "out4", Operator: "op-1001"})
		c = <-calls
		c.Busy()
		if f := want[telephony.Failed](p.a); f.Why != "busy" {
			t.Fatal(f)
		}

		// A is gone; B takes over, reads what was registered, and the phone rings.
		_ = p.a.Close()
		p.has(addrB)
		if got := <-p.b.ops; got != "op-1001 true registered" {
			t.Fatal(got)
		}
		c = ring(p.b, "out5")
		c.Hangup()
		wait(t, c.Ended(), "the end")
		want[telephony.Ended](p.b)
	})
}

// A phone registered with A; A dies, or lives on without the switchboard: B reaches the phone directly, or by A.
func TestPhoneOfTheOldOwner(t *testing.T) {
	for _, alive := range []bool{true, false} {
		t.Run(fmt.Sprint("alive ", alive), func(t *testing.T) {
			twoNodes(t, nil, func(t *testing.T, p *pair) {
				calls := make(chan *phonetest.Call, 10)
				phone, err := phonetest.New(phonetest.Config{Server: addrA, User: "1001", Password: "secret-1001", Domain: "yingda", Conn: p.w.open("203.0.113.5:5060"), NoAudio: true,
					OnCall: func(c *phonetest.Call) { calls <- c }})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(phone.Close)
				if err := phone.Register(context.Background()); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if alive { // and the phone's NAT lets in A alone
					p.w.lose = func(from, to netip.AddrPort, _ []byte) bool {
						return to.Addr().String() == "203.0.113.5" && from.String() != addrA
					}
				} else {
					p.w.lose = func(_, to netip.AddrPort, _ []byte) bool { return to.String() == addrA }
				}
				p.has(addrB)
				<-p.b.ops
				synctest.Wait()
				p.b.Do(telephony.Dial{Leg: "x", Operator: "op-1001"})
				select {
				case c := <-calls:
					c.Answer()
					want[telephony.Answered](p.b)
					c.Hangup()
					want[telephony.Ended](p.b)
				case <-time.After(2 * time.Second):
					t.Fatal("the phone does not ring")
				}
			})
		})
	}
}

// What a peer alone may say is taken out of everybody else's mouth; and what a peer passes on is measured and judged by where it came from.
func TestSourceIsBelievedOfPeersOnly(t *testing.T) {
	twoNodes(t, func(c *Config) {
		c.Phones = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}
		c.Limits.PerSource = 10
	}, func(t *testing.T, p *pair) {
		p.a.react(refuseAll)
		c := p.peer(t, "192.0.2.200:5060")
		c.sendTo(addrA, c.invite("s1").Add(sentOn, "192.0.2.7:5060;transport=udp"))
		c.want(480, "INVITE")
		if in := want[telephony.Invited](p.a); in.Trunk != "carrier" {
			t.Fatal(in.Trunk)
		}
		want[telephony.Ended](p.a)
		// By way of B as well.
		d := p.peer(t, "192.0.2.7:5060")
		d.sendTo(addrB, d.invite("s2").Add(sentOn, "192.0.2.200:5060;transport=udp"))
		d.want(480, "INVITE")
		if in := want[telephony.Invited](p.a); in.Trunk != "strict" {
			t.Fatal(in.Trunk)
		}
		want[telephony.Ended](p.a)
		// A stranger's INVITE gets no word, passed on or not, nor does a REGISTER from where no phone may be.
		for i, addr := range []string{"203.0.113.9:5060", "100.64.0.1:5060"} {
			s := p.peer(t, addr)
			s.sendTo(addrB, s.invite(fmt.Sprint("s3", i)))
			if i == 1 {
				s.sendTo(addrB, s.request("REGISTER", "s3", 1))
			}
			s.quiet(time.Second)
		}
		p.a.silent()
		// B passes nonsense on: 400.
		_ = p.b.Close()
		b := p.peer(t, addrB)
		b.sendTo(addrA, b.invite("s4").Add(sentOn, "somewhere"))
		b.want(400, "INVITE")
		b.sendTo(addrA, b.invite("s5").Add(sentOn, "192.0.2.7:5060;transport=udp").Add(sentOn, "192.0.2.8:5060;transport=udp"))
		b.want(400, "INVITE")
		// A flood by B of one phone costs that phone its answers, nobody else's.
		answered := 0
		for i := range 100 {
			b.sendTo(addrA, b.request("REGISTER", fmt.Sprint("s6", i), 1).Add(sentOn, "203.0.113.7:5060;transport=udp"))
			for b.next(time.Microsecond) != nil {
				answered++
			}
		}
		if answered < 18 || answered > 25 {
			t.Fatalf("%d of 100 answered", answered)
		}
		b.sendTo(addrA, b.request("REGISTER", "s7", 1).Add(sentOn, "203.0.113.8:5060;transport=udp"))
		b.want(401, "REGISTER")
		b.sendTo(addrA, b.invite("s8").Add(sentOn, "192.0.2.7:5060;transport=udp"))
		b.want(480, "INVITE")
	})
}

// Nobody can make us pass something on to where he likes: a Route of ours sends a stranger nowhere, a response that is no answer goes nowhere.
func TestNoOpenRelay(t *testing.T) {
	twoNodes(t, nil, func(t *testing.T, p *pair) {
		victim := p.peer(t, "203.0.113.77:5060")
		c := p.peer(t, "192.0.2.7:5060")
		p.a.react(refuseAll)
		out := token{out: hop{addr: netip.MustParseAddrPort("203.0.113.77:5060")}}
		route := "<sip:" + out.String() + "@" + addrB + ";lr>"
		both := token{out: out.out, node: netip.MustParseAddrPort("203.0.113.77:5060")}
		for i, r := range []string{route, "<sip:" + both.String() + "@" + addrB + ";lr>"} {
			c.sendTo(addrB, c.invite(fmt.Sprint("o", i)).Add("Route", r))
			c.want(480, "INVITE") // by the owner, where it went as any other
			c.sendTo(addrB, c.request("BYE", fmt.Sprint("p", i), 1).Set("To", "<sip:x@y>;tag=1").Add("Route", r))
			c.want(481, "BYE")
		}
		res := c.invite("o9").Response(200, "OK", "")
		res.Set("Via", "SIP/2.0/UDP "+addrB+";branch="+branchStart+out.out.hex()+".00112233445566778899aabb").Add("Via", "SIP/2.0/UDP 203.0.113.77:5060;branch=z9hG4bKx")
		c.sendTo(addrB, res)
		victim.quiet(time.Minute)
		// A peer may.
		_ = p.a.Close()
		a := p.peer(t, addrA)
		a.sendTo(addrB, a.invite("o10").Add("Route", route))
		if got := victim.want(0, "INVITE"); got.Get("Route") != "" {
			t.Fatal(got)
		}
	})
}

// What we pass on can be read again, and goes nowhere without a word of where it came from.
func FuzzForward(f *testing.F) {
	for _, c := range torture {
		f.Add(tortureFile(f, c.name), true, false)
	}
	w := newWire()
	c := &peer{port: w.open("192.0.2.7:5060")}
	route := "<sip:" + token{out: hop{addr: netip.MustParseAddrPort("192.0.2.7:5060")}, node: netip.MustParseAddrPort(addrA)}.String() + "@" + addrB + ";lr>"
	for _, m := range []*phonetest.Message{c.invite("a"), c.invite("b").Add("Route", route), c.request("REGISTER", "c", 1).Add(sentOn, "203.0.113.1:5060;transport=tcp"),
		c.request("ACK", "d", 1).Set("To", "<sip:x@y>;tag=1").Add("Route", route+", "+route), c.request("CANCEL", "e", 1),
		c.invite("f").Set("Via", "SIP/2.0/UDP x;branch="+branchStart+"00c0000207138d.00").Response(200, "OK", "")} {
		f.Add(m.Bytes(), false, true)
		f.Add(m.Bytes(), true, false)
	}
	f.Fuzz(func(t *testing.T, data []byte, away, peer bool) {
		sent := newWire()
		in := sent.open("192.0.2.7:5060")
		s := &Server{cfg: Config{Elsewhere: func() (Elsewhere, bool) {
			return Elsewhere{Address: netip.MustParseAddrPort(addrA)}, away
		}, Peers: []netip.Prefix{netip.MustParsePrefix("198.51.100.1/32")}, Trunks: []Trunk{{Name: "x", Forward: true, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}}}.withDefaults(),
			dialogs: map[string]*leg{}, udpAddr: netip.MustParseAddrPort(addrB)}
		s.guard = &guard{cfg: s.cfg, challenge: func(netip.Addr, bool) []string { return []string{"Digest"} }, phone: func(netip.Addr) bool { return false }, sources: map[netip.Addr]*bucket{}}
		s.proxy = newProxy(s)
		s.proxy.addresses()
		s.guard.proxy = s.proxy
		s.udp = &packets{PacketConn: sent.open(addrB), guard: s.guard}
		s.tcp = newStreams(nowhere{make(chan struct{})}, s.guard, s.cfg, func(netip.AddrPort) {})
		owner := sent.open(addrA)
		from := netip.MustParseAddrPort("192.0.2.7:5060")
		if peer {
			from = netip.MustParseAddrPort(addrA)
		}
		s.guard.look(data, from, false)
		// What goes out can be read again, says where it came from, and has one Via more or less.
		for _, port := range []*wirePort{owner, in} {
			select {
			case pkt := <-port.in:
				m := readShape(pkt.data, false)
				if m == nil || m.fault != "" {
					t.Fatalf("passed on: %q (%v) from %q", pkt.data, m, data)
				}
				vias := m.vias()
				if m.status == 0 && (len(vias) < 2 || !strings.Contains(vias[0], branchStart)) {
					t.Fatalf("Via: %q", vias)
				}
				source, told := m.get(sentOnKey)
				if _, ok := readSentOn(source); port == owner && m.status == 0 && (!told || !ok) || port == in && told {
					t.Fatalf("source: %q in %q", source, pkt.data)
				}
			default:
			}
		}
	})
}

func FuzzToken(f *testing.F) {
	f.Add(token{out: hop{netip.MustParseAddrPort("192.0.2.7:5060"), true}, node: netip.MustParseAddrPort("[2001:db8::1]:5060")}.String())
	f.Add("yf-00c0000207138d")
	f.Add("yf--")
	f.Fuzz(func(t *testing.T, s string) {
		if k := readToken(s); k != nil {
			if again := readToken(k.String()); again == nil || *again != *k {
				t.Fatalf("%q: %v, %v", s, k, again)
			}
		}
		if h, ok := readSentOn(s); ok {
			if again, ok := readSentOn(h.sentOn()); !ok || again != h {
				t.Fatalf("%q: %v, %v", s, h, again)
			}
		}
	})
}
