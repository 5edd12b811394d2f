package sip

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"yingda/intake"
	"yingda/telephony"
	"yingda/telephony/phonetest"
)

// These tests run in virtual time on a wire in memory: RFC 3261's timers to the millisecond, and the races that a real network
// brings about once in a thousand calls.

const edgeAddr = "198.51.100.1:5060"

type lab struct {
	*edge
	w *wire
}

func virtual(t *testing.T, change func(*Config), f func(t *testing.T, l *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWire()
		e := newEdge(t, func(c *Config) {
			c.PacketConn = w.open(edgeAddr)
			c.Trunks = []Trunk{{Name: "carrier", Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Trusted: true,
				Outbound: Outbound{Target: "192.0.2.9:5060", User: "us", Password: "trunk-secret", NoCheck: true}}}
			if change != nil {
				change(c)
			}
		})
		f(t, &lab{e, w})
	})
}

// peer speaks SIP by hand.
type peer struct {
	t    *testing.T
	port *wirePort
	held []*phonetest.Message // came while something else was waited for
}

func (l *lab) peer(t *testing.T, addr string) *peer {
	p := &peer{t: t, port: l.w.open(addr)}
	t.Cleanup(func() { _ = p.port.Close() })
	return p
}

func (p *peer) addr() string { return p.port.addr.String() }

func (p *peer) send(m *phonetest.Message) {
	_, _ = p.port.WriteTo(m.Bytes(), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(edgeAddr)))
}

// next waits for a message for up to d of virtual time; nil when none comes.
func (p *peer) next(d time.Duration) *phonetest.Message {
	if len(p.held) > 0 {
		m := p.held[0]
		p.held = p.held[1:]
		return m
	}
	select {
	case pkt := <-p.port.in:
		m, err := phonetest.ParseMessage(pkt.data)
		if err != nil {
			p.t.Fatalf("%v in %q", err, pkt.data)
		}
		return m
	case <-time.After(d):
		return nil
	}
}

// want waits for a response of this status to this method, or, with status 0, for a request; other messages that come before are passed over.
func (p *peer) want(status int, method string) *phonetest.Message {
	p.t.Helper()
	var seen []string
	for range 100 {
		m := p.next(45 * time.Second)
		if m == nil {
			break
		}
		if m.Status() == status && m.Method() == method {
			return m
		}
		seen = append(seen, m.Start)
	}
	p.t.Fatalf("no %d %s came; what came: %v", status, method, seen)
	return nil
}

// quiet checks that nothing comes for d.
func (p *peer) quiet(d time.Duration) {
	p.t.Helper()
	if m := p.next(d); m != nil {
		p.t.Fatalf("came: %s", m.Start)
	}
}

const someSDP = "v=0\r\no=x 1 1 IN IP4 192.0.2.7\r\ns=-\r\nc=IN IP4 192.0.2.7\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8 0 101\r\na=rtpmap:101 telephone-event/8000\r\n"

func (p *peer) request(method, call string, seq int) *phonetest.Message {
	m := &phonetest.Message{Start: method + " sip:12345@198.51.100.1 SIP/2.0"}
	m.Add("Via", "SIP/2.0/UDP "+p.addr()+";branch=z9hG4bK"+phonetest.Token()+";rport").Add("Max-Forwards", "70")
	m.Add("From", "<sip:051255500002@192.0.2.7>;tag=peer").Add("To", "<sip:12345@198.51.100.1>").Add("Call-ID", call)
	m.Add("CSeq", fmt.Sprintf("%d %s", seq, method)).Add("Contact", "<sip:051255500002@"+p.addr()+">")
	return m
}

func (p *peer) invite(call string) *phonetest.Message {
	m := p.request("INVITE", call, 1).Add("Content-Type", "application/sdp")
	m.Body = []byte(someSDP)
	return m
}

// inDialog makes a request within the dialog that the response to our INVITE has made.
func (p *peer) inDialog(method string, res *phonetest.Message, seq int) *phonetest.Message {
	m := p.request(method, res.Get("Call-ID"), seq).Set("To", res.Get("To"))
	m.Start = method + " " + phonetest.Bare(res.Get("Contact")) + " SIP/2.0"
	return m
}

func cancelOf(inv *phonetest.Message) *phonetest.Message {
	m := &phonetest.Message{Start: strings.Replace(inv.Start, "INVITE", "CANCEL", 1)}
	for _, h := range []string{"Via", "Max-Forwards", "From", "To", "Call-ID"} {
		m.Add(h, inv.Get(h))
	}
	return m.Add("CSeq", fmt.Sprintf("%d CANCEL", inv.Seq()))
}

// answer takes every call at once.
func answerAll(in telephony.Input) []telephony.Effect {
	if inv, ok := in.(telephony.Invited); ok {
		return []telephony.Effect{telephony.Accept{Leg: inv.Leg}}
	}
	return nil
}

// up brings a call up from the outside.
func (l *lab) up(p *peer, call string) (telephony.Invited, *phonetest.Message) {
	l.t.Helper()
	p.send(p.invite(call))
	inv := want[telephony.Invited](l.edge)
	l.Do(telephony.Accept{Leg: inv.Leg})
	ok := p.want(200, "INVITE")
	p.send(p.inDialog("ACK", ok, 1))
	want[telephony.Accepted](l.edge)
	return inv, ok
}

// No ACK comes: the 200 is repeated after T1, doubling up to T2, for 64·T1; then BYE (RFC 3261 §13.3.1.4).
func TestRepeat2xxUntilACK(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		p.send(p.invite("noack"))
		inv := want[telephony.Invited](l.edge)
		begin := time.Now()
		l.Do(telephony.Accept{Leg: inv.Leg})
		var at []string
		for {
			m := p.next(40 * time.Second)
			if m == nil {
				t.Fatal("no BYE came")
			}
			at = append(at, fmt.Sprintf("%s %.1f", m.Method(), time.Since(begin).Seconds()))
			if m.Method() == "BYE" {
				p.send(m.Response(200, "OK", ""))
				break
			}
		}
		wanted := "[INVITE 0.0 INVITE 0.5 INVITE 1.5 INVITE 3.5 INVITE 7.5 INVITE 11.5 INVITE 15.5 INVITE 19.5 INVITE 23.5 INVITE 27.5 INVITE 31.5 BYE 32.0]"
		if got := fmt.Sprint(at); got != wanted {
			t.Fatalf("came %s\nwant %s", got, wanted)
		}
		if end := want[telephony.Ended](l.edge); end.Why != "no_ack" || end.By != intake.ByNetwork {
			t.Fatalf("%+v", end)
		}
	})
}

// The ACK ends the repetition.
func TestACKEndsRepetition(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		l.up(p, "ack")
		p.quiet(2 * time.Minute)
		l.silent()
	})
}

// A CANCEL overtakes its INVITE (sipgo hands them on in no order, and so may UDP).
func TestCancelBeforeInvite(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		inv := p.invite("early")
		p.send(cancelOf(inv))
		time.Sleep(300 * time.Millisecond)
		p.send(inv)
		p.want(200, "CANCEL")
		p.want(487, "INVITE")
		got := want[telephony.Invited](l.edge)
		if end := want[telephony.Ended](l.edge); end.Why != "cancel" || end.By != intake.ByResident || end.Leg != got.Leg {
			t.Fatalf("%+v", end)
		}
	})
}

// INVITE and CANCEL in one breath, many times: each gets 200 and 487, one contact and one end. Bare sipgo answers three of four with 405.
func TestCancelRightBehindInvite(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		l.react(func(in telephony.Input) []telephony.Effect {
			if inv, ok := in.(telephony.Invited); ok { // the machine answers in the meantime
				return []telephony.Effect{telephony.Ring{Leg: inv.Leg}}
			}
			return nil
		})
		for i := range 300 {
			inv := p.invite(fmt.Sprintf("both%d", i))
			p.send(inv)
			p.send(cancelOf(inv))
			ok, ended := false, false
			for !ok || !ended {
				m := p.next(time.Second)
				if m == nil {
					t.Fatalf("call %d: 200 %v, 487 %v", i, ok, ended)
				}
				switch {
				case m.Status() == 200 && m.Method() == "CANCEL":
					ok = true
				case m.Status() == 487:
					ended = true
					ack := p.inDialog("ACK", m, 1).Set("Via", inv.Get("Via"))
					ack.Start = "ACK sip:12345@198.51.100.1 SIP/2.0"
					p.send(ack)
				case m.Status() >= 200:
					t.Fatalf("call %d: %s to %s", i, m.Start, m.Method())
				}
			}
			want[telephony.Invited](l.edge)
			if end := want[telephony.Ended](l.edge); end.Why != "cancel" {
				t.Fatalf("%+v", end)
			}
		}
		l.silent()
	})
}

// The answer and the CANCEL cross, many times: either the call is up and the CANCEL too late, or it is cancelled; never both, never neither.
func TestCancelCrossesAnswer(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		l.react(answerAll)
		up, cancelled := 0, 0
		for i := range 200 {
			inv := p.invite(fmt.Sprintf("cross%d", i))
			p.send(inv)
			p.send(cancelOf(inv))
			var final *phonetest.Message
			for final == nil {
				m := p.next(time.Second)
				if m == nil {
					t.Fatal("no final response")
				}
				if m.Method() == "INVITE" && m.Status() >= 200 {
					final = m
				}
			}
			want[telephony.Invited](l.edge)
			if final.Status() == 200 {
				up++
				p.send(p.inDialog("ACK", final, 1))
				want[telephony.Accepted](l.edge)
				p.send(p.inDialog("BYE", final, 2))
				p.want(200, "BYE")
			} else {
				cancelled++
				p.send(p.inDialog("ACK", final, 1).Set("Via", inv.Get("Via")))
			}
			want[telephony.Ended](l.edge)
			for p.next(10*time.Millisecond) != nil { // the 200 to CANCEL, or the 487 once more
			}
		}
		l.silent()
		t.Logf("%d up, %d cancelled", up, cancelled)
	})
}

// The same INVITE once more is the same contact: while it is open, after it has ended, and (by Seen) after a restart.
func TestInviteAgain(t *testing.T) {
	seen := false
	virtual(t, func(c *Config) {
		c.Seen = func(dedupe string) (intake.ContactID, intake.Sequence, bool) {
			return "earlier", intake.NewSequence(3, 7), seen && dedupe == "restarted;peer;1"
		}
	}, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		inv := p.invite("again")
		p.send(inv)
		got := want[telephony.Invited](l.edge)
		p.send(inv)
		l.Do(telephony.Ring{Leg: got.Leg})
		p.want(180, "INVITE")
		p.send(inv)
		p.want(180, "INVITE")
		other := p.invite("again") // by another way: another branch
		p.send(other)
		p.want(482, "INVITE")
		l.Do(telephony.Refuse{Leg: got.Leg, Status: 486})
		final := p.want(486, "INVITE")
		p.send(p.inDialog("ACK", final, 1).Set("Via", inv.Get("Via")))
		want[telephony.Ended](l.edge)
		time.Sleep(40 * time.Second) // sipgo has forgotten it
		for p.next(time.Millisecond) != nil {
		}
		p.send(inv)
		if m := p.next(time.Second); m == nil || m.Status() != 486 {
			t.Fatalf("%+v", m)
		}
		l.silent()

		seen = true
		p.send(p.invite("restarted"))
		if got := want[telephony.Invited](l.edge); !got.Again || got.Contact != "earlier" || got.After != intake.NewSequence(3, 7) {
			t.Fatalf("%+v", got)
		}
	})
}

// What belongs to no call: BYE and INFO get 481 after half a second, an ACK gets nothing.
func TestUnknownDialog(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		for _, method := range []string{"BYE", "INFO", "UPDATE"} {
			m := p.request(method, "nobody", 2)
			m.Set("To", m.Get("To")+";tag=x")
			begin := time.Now()
			p.send(m)
			p.want(481, method)
			if d := time.Since(begin); d < 500*time.Millisecond || d > 510*time.Millisecond {
				t.Fatalf("%s after %v", method, d)
			}
		}
		m := p.request("ACK", "nobody", 2)
		m.Set("To", m.Get("To")+";tag=x")
		p.send(m)
		p.quiet(time.Minute)
	})
}

// BYE before the ACK, and BYE of a caller who should have cancelled.
func TestEarlyBye(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		p.send(p.invite("one"))
		inv := want[telephony.Invited](l.edge)
		l.Do(telephony.Accept{Leg: inv.Leg})
		ok := p.want(200, "INVITE")
		p.send(p.inDialog("BYE", ok, 2))
		p.want(200, "BYE")
		if end := want[telephony.Ended](l.edge); end.Why != "bye" {
			t.Fatalf("%+v", end)
		}
		p.quiet(time.Minute)

		p.send(p.invite("two"))
		inv = want[telephony.Invited](l.edge)
		l.Do(telephony.Ring{Leg: inv.Leg})
		ringing := p.want(180, "INVITE")
		p.send(p.inDialog("BYE", ringing, 2).Add("Reason", `Q.850;cause=16;text="x"`))
		p.want(200, "BYE")
		p.want(487, "INVITE")
		if end := want[telephony.Ended](l.edge); end.Why != "bye" || end.Q850 != 16 {
			t.Fatalf("%+v", end)
		}
	})
}

// We hang up before the ACK has come: BYE waits for it (RFC 3261 §15), the report does not.
func TestHangupBeforeACK(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		p.send(p.invite("h"))
		inv := want[telephony.Invited](l.edge)
		l.Do(telephony.Accept{Leg: inv.Leg})
		ok := p.want(200, "INVITE")
		l.Do(telephony.Hangup{Leg: inv.Leg, Q850: 16})
		if end := want[telephony.Ended](l.edge); end.By != intake.ByUs {
			t.Fatalf("%+v", end)
		}
		p.quiet(400 * time.Millisecond)
		p.send(p.inDialog("ACK", ok, 1))
		bye := p.want(0, "BYE")
		if bye.Get("Reason") != "Q.850;cause=16" {
			t.Fatalf("%+v", bye)
		}
		p.send(bye.Response(200, "OK", ""))
		l.silent()
	})
}

// Whatever a BYE of ours is answered with, the leg is over and gives everything back: 100, 481, 408, nothing.
func TestAnyEndOfBye(t *testing.T) {
	for _, status := range []int{200, 481, 408, 500, 0} {
		virtual(t, nil, func(t *testing.T, l *lab) {
			p := l.peer(t, "192.0.2.7:5060")
			inv, _ := l.up(p, "bye")
			l.Do(telephony.Hangup{Leg: inv.Leg})
			want[telephony.Ended](l.edge)
			bye := p.want(0, "BYE")
			p.send(bye.Response(100, "Trying", ""))
			if status != 0 {
				p.send(bye.Response(status, "x", ""))
			}
			time.Sleep(40 * time.Second)
			l.Server.mu.Lock()
			legs, dialogs, peers := len(l.legs), len(l.dialogs), len(l.peers)
			l.Server.mu.Unlock()
			if legs+dialogs+peers != 0 {
				t.Fatalf("after a BYE answered with %d: %d legs, %d dialogs, %d peers", status, legs, dialogs, peers)
			}
			l.silent()
		})
	}
}

// An INVITE without an offer: ours is in the 200, the answer in the ACK.
func TestLateOffer(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		m := p.request("INVITE", "late", 1)
		p.send(m)
		inv := want[telephony.Invited](l.edge)
		if !inv.Audio {
			t.Fatal("no offer is no reason to refuse")
		}
		l.Do(telephony.Accept{Leg: inv.Leg})
		ok := p.want(200, "INVITE")
		if !strings.Contains(string(ok.Body), "RTP/AVP 8 0 101") {
			t.Fatalf("offer: %s", ok.Body)
		}
		ack := p.inDialog("ACK", ok, 1).Add("Content-Type", "application/sdp")
		ack.Body = []byte(strings.Replace(someSDP, "RTP/AVP 8 0", "RTP/AVP 0", 1))
		p.send(ack)
		want[telephony.Accepted](l.edge)
		synctest.Wait()
		if r, _ := l.plane.remote(inv.Leg); r.Codec != "PCMU" || r.RTP.Port() != 4000 {
			t.Fatalf("%+v", r)
		}
		// And one whose answer cannot be spoken: BYE.
		p.send(p.request("INVITE", "late2", 1))
		inv = want[telephony.Invited](l.edge)
		l.Do(telephony.Accept{Leg: inv.Leg})
		p.send(p.inDialog("ACK", p.want(200, "INVITE"), 1))
		p.want(0, "BYE")
		if end := want[telephony.Ended](l.edge); end.Why != "error" {
			t.Fatalf("%+v", end)
		}
	})
}

// Hold, resume, another codec, another address, no offer, nonsense, video: each re-INVITE is answered from the state as it is.
func TestReinvite(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		inv, ok := l.up(p, "re")
		version := func(m *phonetest.Message) string {
			for line := range strings.Lines(string(m.Body)) {
				if strings.HasPrefix(line, "o=") {
					return strings.Fields(line)[2]
				}
			}
			return ""
		}
		seq := 1
		again := func(sdp string) *phonetest.Message {
			t.Helper()
			seq++
			m := p.inDialog("INVITE", ok, seq)
			if sdp != "" {
				m.Add("Content-Type", "application/sdp")
				m.Body = []byte(sdp)
			}
			p.send(m)
			for {
				r := p.next(time.Second)
				if r == nil {
					t.Fatal("no answer")
				}
				if r.Status() < 200 || r.Seq() != seq {
					continue
				}
				ack := p.inDialog("ACK", ok, seq)
				if r.Status() >= 300 {
					ack.Set("Via", m.Get("Via"))
				} else if sdp == "" {
					ack.Add("Content-Type", "application/sdp")
					ack.Body = []byte(someSDP)
				}
				p.send(ack)
				synctest.Wait()
				return r
			}
		}
		direction := func(m *phonetest.Message) string { return phonetest.SDPDirection(m.Body) }

		first := version(ok)
		r := again(someSDP + "a=sendonly\r\n")
		if r.Status() != 200 || direction(r) != "recvonly" || version(r) == first {
			t.Fatalf("hold: %s %s", r.Start, r.Body)
		}
		want[telephony.Held](l.edge)
		if m, _ := l.plane.remote(inv.Leg); m.Send || !m.Receive || !m.Relatch {
			t.Fatalf("hold: %+v", m)
		}
		if r = again(someSDP + "a=inactive\r\n"); direction(r) != "inactive" {
			t.Fatalf("inactive: %s", r.Body)
		}
		l.silent()
		if r = again(strings.Replace(someSDP, "c=IN IP4 192.0.2.7", "c=IN IP4 0.0.0.0", 1)); direction(r) != "recvonly" {
			t.Fatalf("old hold: %s", r.Body)
		}
		l.silent()
		if r = again(someSDP); direction(r) != "sendrecv" {
			t.Fatalf("resume: %s", r.Body)
		}
		want[telephony.Resumed](l.edge)

		if r = again(strings.Replace(someSDP, "RTP/AVP 8 0", "RTP/AVP 0", 1)); !strings.Contains(string(r.Body), "RTP/AVP 0 101") {
			t.Fatalf("codec: %s", r.Body)
		}
		if m, _ := l.plane.remote(inv.Leg); m.Codec != "PCMU" {
			t.Fatalf("codec: %+v", m)
		}
		if r = again(strings.ReplaceAll(someSDP, "192.0.2.7", "192.0.2.88")); r.Status() != 200 {
			t.Fatal(r.Start)
		}
		if m, _ := l.plane.remote(inv.Leg); m.RTP.Addr().String() != "192.0.2.88" || !m.Relatch || m.Codec != "PCMU" {
			t.Fatalf("address, and the codec is kept where it is offered: %+v", m)
		}
		if r = again(""); r.Status() != 200 || !strings.Contains(string(r.Body), "RTP/AVP 0 8 101") {
			t.Fatalf("empty: %s %s", r.Start, r.Body)
		}
		if r = again("v=0\r\nthis is no SDP\r\n"); r.Status() != 488 {
			t.Fatal(r.Start)
		}
		if r = again(strings.Replace(someSDP, "RTP/AVP 8 0 101", "RTP/AVP 97", 1)); r.Status() != 488 {
			t.Fatal(r.Start)
		}
		if r = again(someSDP + "m=video 4002 RTP/AVP 31\r\nm=text 4004 RTP/AVP 98\r\n"); r.Status() != 200 || !strings.Contains(string(r.Body), "m=video 0 RTP/AVP 31") ||
			!strings.Contains(string(r.Body), "m=text 0 RTP/AVP 98") {
			t.Fatalf("video: %s", r.Body)
		}
		old := p.inDialog("INVITE", ok, 2) // a number that was used already
		p.send(old)
		if r := p.next(time.Second); r.Status() != 500 {
			t.Fatal(r.Start)
		}
		ack := p.inDialog("ACK", ok, 2).Set("Via", old.Get("Via"))
		p.send(ack)
		l.silent()
		// The call has lived through all that.
		p.send(p.inDialog("BYE", ok, 50))
		p.want(200, "BYE")
		want[telephony.Ended](l.edge)
	})
}

// A re-INVITE while the last one is not acknowledged: 491; without an ACK at all: BYE. INFO goes on in between.
func TestReinviteGlare(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		_, ok := l.up(p, "glare")
		re := func(seq int) *phonetest.Message {
			m := p.inDialog("INVITE", ok, seq).Add("Content-Type", "application/sdp")
			m.Body = []byte(someSDP)
			return m
		}
		p.send(re(2))
		p.want(200, "INVITE")
		p.send(re(3))
		p.want(491, "INVITE")
		info := p.inDialog("INFO", ok, 4).Add("Content-Type", "application/dtmf")
		info.Body = []byte("#")
		p.send(info)
		p.want(200, "INFO")
		bye := p.want(0, "BYE")
		p.send(bye.Response(200, "OK", ""))
		if end := want[telephony.Ended](l.edge); end.Why != "no_ack" {
			t.Fatalf("%+v", end)
		}
		if got := fmt.Sprint(l.plane.words()); got != "[digit #]" {
			t.Fatal(got)
		}
	})
}

// After a re-INVITE with a new Contact our BYE goes there (bare sipgo sends it to the old one).
func TestFollowContact(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p, moved := l.peer(t, "192.0.2.7:5060"), l.peer(t, "192.0.2.8:5062")
		inv, ok := l.up(p, "moves")
		m := p.inDialog("INVITE", ok, 2).Set("Contact", "<sip:me@192.0.2.8:5062>")
		m.Add("Content-Type", "application/sdp")
		m.Body = []byte(someSDP)
		p.send(m)
		p.want(200, "INVITE")
		p.send(p.inDialog("ACK", ok, 2))
		synctest.Wait()
		l.Do(telephony.Hangup{Leg: inv.Leg})
		bye := moved.want(0, "BYE")
		if bye.URI() != "sip:me@192.0.2.8:5062" {
			t.Fatal(bye.Start)
		}
		moved.send(bye.Response(200, "OK", ""))
	})
}

// Requests of ours follow the route set, in the order of Record-Route at a UAS.
func TestRouteSet(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p, proxy := l.peer(t, "192.0.2.7:5060"), l.peer(t, "192.0.2.50:5070")
		m := p.invite("route").Add("Record-Route", "<sip:192.0.2.50:5070;lr>, <sip:192.0.2.51;lr>")
		p.send(m)
		inv := want[telephony.Invited](l.edge)
		l.Do(telephony.Accept{Leg: inv.Leg})
		ok := p.want(200, "INVITE")
		if len(ok.All("Record-Route")) == 0 {
			t.Fatal("no Record-Route in the 200")
		}
		p.send(p.inDialog("ACK", ok, 1))
		want[telephony.Accepted](l.edge)
		l.Do(telephony.Hangup{Leg: inv.Leg})
		bye := proxy.want(0, "BYE")
		if bye.URI() != "sip:051255500002@192.0.2.7:5060" || fmt.Sprint(bye.All("Route")) != "[<sip:192.0.2.50:5070;lr> <sip:192.0.2.51;lr>]" {
			t.Fatalf("%+v", bye)
		}
		proxy.send(bye.Response(200, "OK", ""))
	})
}

// Session timers (RFC 4028): too short, theirs to refresh and they do not, ours to refresh.
func TestSessionTimer(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		p.send(p.invite("short").Add("Session-Expires", "60"))
		if m := p.want(422, "INVITE"); m.Get("Min-SE") != "90" {
			t.Fatalf("%+v", m)
		}
		l.silent()

		p.send(p.invite("theirs").Add("Session-Expires", "180;refresher=uac").Add("Supported", "timer"))
		inv := want[telephony.Invited](l.edge)
		begin := time.Now()
		l.Do(telephony.Accept{Leg: inv.Leg})
		ok := p.want(200, "INVITE")
		if ok.Get("Session-Expires") != "180;refresher=uac" || ok.Get("Require") != "timer" {
			t.Fatalf("%+v", ok)
		}
		p.send(p.inDialog("ACK", ok, 1))
		want[telephony.Accepted](l.edge)
		time.Sleep(100 * time.Second)
		update := p.inDialog("UPDATE", ok, 2).Add("Session-Expires", "180;refresher=uac").Add("Supported", "timer")
		p.send(update)
		if m := p.want(200, "UPDATE"); m.Get("Session-Expires") != "180;refresher=uac" {
			t.Fatalf("%+v", m)
		}
		var bye *phonetest.Message
		for bye == nil {
			bye = p.next(time.Second)
		}
		if d := time.Since(begin).Round(time.Second); bye.Method() != "BYE" || d != (100+180-32)*time.Second {
			t.Fatalf("%s after %v", bye.Start, d)
		}
		p.send(bye.Response(200, "OK", ""))
		if end := want[telephony.Ended](l.edge); end.Why != "session_expired" {
			t.Fatalf("%+v", end)
		}

		for _, updates := range []bool{true, false} {
			m := p.invite(fmt.Sprintf("ours%v", updates)).Add("Session-Expires", "180;refresher=uas").Add("Supported", "timer")
			method := "INVITE"
			if updates {
				m.Add("Allow", "INVITE, ACK, BYE, UPDATE")
				method = "UPDATE"
			}
			p.send(m)
			inv := want[telephony.Invited](l.edge)
			l.Do(telephony.Accept{Leg: inv.Leg})
			ok := p.want(200, "INVITE")
			p.send(p.inDialog("ACK", ok, 1))
			want[telephony.Accepted](l.edge)
			for range 3 {
				begin := time.Now()
				var re *phonetest.Message
				for re == nil {
					re = p.next(time.Second)
				}
				if d := time.Since(begin).Round(time.Second); re.Method() != method || re.Status() != 0 || d != 90*time.Second {
					t.Fatalf("%s after %v", re.Start, d)
				}
				r := re.Response(200, "OK", "").Add("Session-Expires", "180;refresher=uac").Add("Contact", "<sip:x@192.0.2.7:5060>")
				if method == "INVITE" {
					if !strings.Contains(string(re.Body), "RTP/AVP 8 0 101") {
						t.Fatalf("%s", re.Body)
					}
					r.Add("Content-Type", "application/sdp")
					r.Body = []byte(someSDP)
				}
				p.send(r)
				if method == "INVITE" {
					p.want(0, "ACK")
				}
			}
			l.Do(telephony.Hangup{Leg: inv.Leg})
			want[telephony.Ended](l.edge)
			p.send(p.want(0, "BYE").Response(200, "OK", ""))
		}
	})
}

// A call that is kept in an early dialog hears its provisional response again each minute (RFC 3261 §13.3.1.1).
func TestEarlyDialogIsKeptAlive(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		p.send(p.invite("early"))
		inv := want[telephony.Invited](l.edge)
		l.Do(telephony.Progress{Leg: inv.Leg})
		m := p.want(183, "INVITE")
		if !strings.Contains(string(m.Body), "RTP/AVP 8 101") {
			t.Fatalf("%s", m.Body)
		}
		begin := time.Now()
		for range 3 {
			var again *phonetest.Message
			for again == nil {
				again = p.next(time.Second)
			}
			if again.Status() != 183 {
				t.Fatal(again.Start)
			}
		}
		if d := time.Since(begin).Round(time.Second); d != 3*time.Minute {
			t.Fatal(d)
		}
		l.Do(telephony.Accept{Leg: inv.Leg})
		ok := p.want(200, "INVITE")
		if string(ok.Body) != string(m.Body) {
			t.Fatalf("the answer of the 200 is another than that of the 183:\n%s\n%s", m.Body, ok.Body)
		}
		p.send(p.inDialog("ACK", ok, 1))
		want[telephony.Accepted](l.edge)
	})
}
