package sip

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/telephony"
	"yingda/telephony/phonetest"
)

func (p *peer) answer(inv *phonetest.Message, tag string) *phonetest.Message {
	r := inv.Response(200, "OK", tag).Add("Contact", "<sip:x@"+p.addr()+">").Add("Content-Type", "application/sdp")
	r.Body = []byte(someSDP)
	return r
}

// dialOut calls a number by the trunk at 192.0.2.9.
func (l *lab) dialOut(leg telephony.LegID) {
	l.Do(telephony.Dial{Leg: leg, Number: pii.NewPhone("13800138000"), From: pii.NewPhone("12345"), FromName: pii.NewName("热线\r\nX-Evil: 1"), Line: "12345",
		Timeout: 40 * time.Second, Header: map[string]string{"X-Ok": "a\r\nb", "Evil: x\r\nX-Y": "z", "Contact": "sip:evil@evil"}})
}

// empty checks that nothing of any leg is left.
func (l *lab) empty(t *testing.T) {
	t.Helper()
	l.Server.mu.Lock()
	defer l.Server.mu.Unlock()
	if n := len(l.legs) + len(l.dialogs) + len(l.peers) + len(l.waiting); n != 0 {
		t.Fatalf("left behind: %d legs, %d dialogs, %d peers, %d waiting", len(l.legs), len(l.dialogs), len(l.peers), len(l.waiting))
	}
	for _, tr := range l.trunks {
		if tr.live != 0 {
			t.Fatalf("trunk %s counts %d calls", tr.Name, tr.live)
		}
	}
}

// A storm of provisional responses hurts nobody, and nothing that we write carries a line of somebody else's making.
func TestCallOutByTrunk(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.9:5060")
		l.dialOut("a")
		inv := p.want(0, "INVITE")
		if inv.URI() != "sip:13800138000@192.0.2.9:5060" || inv.Get("From")[:strings.Index(inv.Get("From"), ";")] != `"热线X-Evil: 1" <sip:12345@192.0.2.9>` ||
			inv.Get("X-Ok") != "ab" || inv.Get("X-Evil") != "" || inv.Get("X-Y") != "" || len(inv.All("Contact")) != 1 || !strings.Contains(string(inv.Body), "RTP/AVP 8 0 101") {
			t.Fatalf("%s", inv.Bytes())
		}
		for range 14 {
			p.send(inv.Response(180, "Ringing", "t"))
			time.Sleep(time.Second)
		}
		want[telephony.Ringing](l.edge)
		p.send(p.answer(inv, "t").Add("Record-Route", "<sip:192.0.2.9:5060;lr;n=1>").Add("Record-Route", "<sip:192.0.2.9:5060;lr;n=2>"))
		ack := p.want(0, "ACK")
		if fmt.Sprint(ack.All("Route")) != "[<sip:192.0.2.9:5060;lr;n=2> <sip:192.0.2.9:5060;lr;n=1>]" || ack.Branch() == inv.Branch() || ack.Seq() != inv.Seq() {
			t.Fatalf("%+v", ack)
		}
		if a := want[telephony.Answered](l.edge); a.Codec != "PCMA" {
			t.Fatalf("%+v", a)
		}
		p.send(p.answer(inv, "t")) // our ACK was lost
		p.want(0, "ACK")
		p.quiet(time.Second)
		bye := &phonetest.Message{Start: "BYE sip:yingda@198.51.100.1 SIP/2.0"}
		bye.Add("Via", "SIP/2.0/UDP 192.0.2.9:5060;branch=z9hG4bKq").Add("From", inv.Get("To")+";tag=t").Add("To", inv.Get("From")).Add("Call-ID", inv.Get("Call-ID")).
			Add("CSeq", "1 BYE").Add("Reason", "Q.850;cause=16")
		p.send(bye)
		p.want(200, "BYE")
		if end := want[telephony.Ended](l.edge); end.Q850 != 16 || end.By != intake.ByResident {
			t.Fatalf("%+v", end)
		}
		time.Sleep(time.Minute)
		l.empty(t)
		l.silent()
	})
}

// We hang up before anything has come back: no CANCEL before a 1xx; and a phone that is taken all the same gets ACK and BYE.
func TestHangupWhileCalling(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.9:5060")
		l.dialOut("a")
		inv := p.want(0, "INVITE")
		l.Do(telephony.Hangup{Leg: "a"})
		if f := want[telephony.Failed](l.edge); f.Why != "hangup" || f.Status != 487 {
			t.Fatalf("%+v", f)
		}
		p.quiet(400 * time.Millisecond)
		p.send(inv.Response(180, "Ringing", "t"))
		cancel := p.want(0, "CANCEL")
		if cancel.Get("Via") != inv.Get("Via") || cancel.URI() != inv.URI() || cancel.Seq() != inv.Seq() || cancel.Get("To") != inv.Get("To") || cancel.Get("Contact") != "" || cancel.Get("Route") != "" {
			t.Fatalf("CANCEL is not built from the INVITE: %+v", cancel)
		}
		p.send(cancel.Response(200, "OK", "t"))
		p.send(p.answer(inv, "t")) // it was taken in the same moment
		p.want(0, "ACK")
		p.send(p.want(0, "BYE").Response(200, "OK", ""))
		time.Sleep(time.Minute)
		l.empty(t)
		l.silent()
	})
}

// It rings for too long: no_answer, CANCEL, 487. Never rung at all: unreachable.
func TestRingTimeout(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.9:5060")
		begin := time.Now()
		l.dialOut("a")
		inv := p.want(0, "INVITE")
		p.send(inv.Response(180, "Ringing", "t"))
		want[telephony.Ringing](l.edge)
		time.Sleep(39 * time.Second)
		f := want[telephony.Failed](l.edge)
		if d := time.Since(begin); f.Why != "no_answer" || d != 40*time.Second {
			t.Fatalf("%+v after %v", f, d)
		}
		cancel := p.want(0, "CANCEL")
		p.send(cancel.Response(200, "OK", "t"))
		p.send(inv.Response(487, "Request Terminated", "t"))
		p.want(0, "ACK")
		time.Sleep(time.Second)
		l.empty(t)

		l.Do(telephony.Dial{Leg: "b", Number: pii.NewPhone("1"), Timeout: 10 * time.Second})
		if f := want[telephony.Failed](l.edge); f.Why != "unreachable" {
			t.Fatalf("%+v", f)
		}
		time.Sleep(time.Minute)
		l.empty(t)
	})
}

// A second fork is taken too: it gets its own ACK and BYE; the first call lives on (bare sipgo acknowledges the first a second time).
func TestForked2xx(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.9:5060")
		l.dialOut("a")
		inv := p.want(0, "INVITE")
		p.send(p.answer(inv, "one"))
		p.want(0, "ACK")
		want[telephony.Answered](l.edge)
		p.send(p.answer(inv, "two"))
		if ack := p.want(0, "ACK"); ack.Tag("To") != "two" {
			t.Fatalf("%+v", ack)
		}
		bye := p.want(0, "BYE")
		if bye.Tag("To") != "two" {
			t.Fatalf("%+v", bye)
		}
		p.send(bye.Response(200, "OK", ""))
		l.silent()
		l.Do(telephony.Hangup{Leg: "a"})
		want[telephony.Ended](l.edge)
		bye = p.want(0, "BYE")
		if bye.Tag("To") != "one" {
			t.Fatalf("%+v", bye)
		}
		p.send(bye.Response(481, "x", ""))
		time.Sleep(time.Minute)
		l.empty(t)
	})
}

// How it failed is said in our words; a redirection is not followed; a 200 that cannot be spoken is ended.
func TestFailures(t *testing.T) {
	for _, c := range []struct {
		status int
		reason string
		rang   bool
		why    string
	}{{486, "", false, "busy"}, {600, "", true, "busy"}, {603, "", true, "declined"}, {480, "", true, "no_answer"}, {480, "", false, "unreachable"}, {404, "", false, "unreachable"},
		{500, "", false, "error"}, {302, "", false, "error"}, {503, "Q.850;cause=17", false, "busy"}, {480, `Q.850 ;cause=19;text="No answer"`, false, "no_answer"}, {488, "", false, "error"}} {
		virtual(t, nil, func(t *testing.T, l *lab) {
			p := l.peer(t, "192.0.2.9:5060")
			elsewhere := l.peer(t, "192.0.2.66:5060")
			l.dialOut("a")
			inv := p.want(0, "INVITE")
			if c.rang {
				p.send(inv.Response(180, "Ringing", "t"))
				want[telephony.Ringing](l.edge)
			}
			r := inv.Response(c.status, "x", "t")
			if c.reason != "" {
				r.Add("Reason", c.reason)
			}
			if c.status == 302 {
				r.Add("Contact", "<sip:900123456@192.0.2.66>")
			}
			p.send(r)
			p.want(0, "ACK")
			if f := want[telephony.Failed](l.edge); f.Why != c.why || f.Status != c.status {
				t.Fatalf("%d %s: %+v, want %s", c.status, c.reason, f, c.why)
			}
			elsewhere.quiet(40 * time.Second)
			l.empty(t)
		})
	}
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.9:5060")
		l.dialOut("a")
		inv := p.want(0, "INVITE")
		r := p.answer(inv, "t")
		r.Body = []byte(strings.Replace(someSDP, "RTP/AVP 8 0 101", "RTP/AVP 97", 1))
		p.send(r)
		p.want(0, "ACK")
		p.send(p.want(0, "BYE").Response(200, "OK", ""))
		if f := want[telephony.Failed](l.edge); f.Why != "error" {
			t.Fatalf("%+v", f)
		}
		time.Sleep(time.Minute)
		l.empty(t)
	})
}

// A trunk asks for a password: once it gets it, with SHA-256 where it may choose; a second refusal is the end. BYE is challenged too.
func TestTrunkDigest(t *testing.T) {
	for _, proxy := range []bool{true, false} {
		virtual(t, nil, func(t *testing.T, l *lab) {
			status, ask, give := 401, "WWW-Authenticate", "Authorization"
			if proxy {
				status, ask, give = 407, "Proxy-Authenticate", "Proxy-Authorization"
			}
			p := l.peer(t, "192.0.2.9:5060")
			challenged := func(m *phonetest.Message) *phonetest.Message {
				return m.Response(status, "x", "c").Add(ask, `Digest realm="carrier", nonce="n1", algorithm=MD5, qop="auth,auth-int"`).
					Add(ask, `Digest realm="carrier", nonce="n1", algorithm=SHA-256, qop="auth", opaque="o"`)
			}
			good := func(m *phonetest.Message) bool {
				c := parseDigest(m.Get(give))
				return c != nil && c["algorithm"] == "SHA-256" && c["opaque"] == "o" && c.right(hashHex("SHA-256", "us:carrier:trunk-secret"), m.Method())
			}
			l.dialOut("a")
			inv := p.want(0, "INVITE")
			p.send(challenged(inv))
			p.want(0, "ACK")
			second := p.want(0, "INVITE")
			if second.Seq() != inv.Seq()+1 || second.Get("Call-ID") != inv.Get("Call-ID") || second.Branch() == inv.Branch() || !good(second) {
				t.Fatalf("%+v", second)
			}
			p.send(p.answer(second, "t"))
			p.want(0, "ACK")
			want[telephony.Answered](l.edge)
			l.Do(telephony.Hangup{Leg: "a"})
			want[telephony.Ended](l.edge)
			bye := p.want(0, "BYE")
			p.send(challenged(bye))
			again := p.want(0, "BYE")
			if again.Seq() != bye.Seq()+1 || !good(again) {
				t.Fatalf("%+v", again)
			}
			p.send(challenged(again)) // whatever: the leg is over
			time.Sleep(time.Minute)
			l.empty(t)

			l.dialOut("b")
			p.send(challenged(p.want(0, "INVITE")))
			p.want(0, "ACK")
			p.send(challenged(p.want(0, "INVITE")))
			if f := want[telephony.Failed](l.edge); f.Why != "declined" || f.Status != status {
				t.Fatalf("%+v", f)
			}
		})
	}
}

func (l *lab) phone(t *testing.T, addr, user string, onCall func(*phonetest.Call)) *phonetest.Phone {
	t.Helper()
	p, err := phonetest.New(phonetest.Config{Server: edgeAddr, User: user, Password: "secret-" + user, Domain: "yingda", Conn: l.w.open(addr), NoAudio: true, OnCall: onCall})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// An operator with two phones: both ring, the first that is taken wins, the other stops ringing. A busy one does not end it, both busy do.
func TestRingAll(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		calls := make(chan *phonetest.Call, 10)
		for _, addr := range []string{"203.0.113.1:5060", "203.0.113.2:5060"} {
			if err := l.phone(t, addr, "1001", func(c *phonetest.Call) { calls <- c }).Register(context.Background()); err != nil {
				t.Fatal(err)
			}
		}
		if got := len(l.Bindings()); got != 2 {
			t.Fatal(got)
		}
		l.Do(telephony.Dial{Leg: "a", Operator: "op-1001"})
		one, two := <-calls, <-calls
		one.Ring()
		two.Ring()
		want[telephony.Ringing](l.edge)
		two.Answer()
		want[telephony.Answered](l.edge)
		wait(t, two.Acked(), "the ACK")
		wait(t, one.Ended(), "the end of ringing")
		if one.Status() != 487 || two.Status() != 200 {
			t.Fatal(one.Status(), two.Status())
		}
		l.Do(telephony.Hangup{Leg: "a"})
		want[telephony.Ended](l.edge)
		wait(t, two.Ended(), "BYE")

		l.Do(telephony.Dial{Leg: "b", Operator: "op-1001"})
		one, two = <-calls, <-calls
		one.Busy()
		time.Sleep(time.Second)
		l.silent()
		two.Decline() // 6xx: for everywhere
		if f := want[telephony.Failed](l.edge); f.Why != "busy" && f.Why != "declined" {
			t.Fatalf("%+v", f)
		}

		l.Do(telephony.Dial{Leg: "c", Operator: "op-1001"})
		one, two = <-calls, <-calls
		two.Ring()
		want[telephony.Ringing](l.edge)
		one.Decline()
		if f := want[telephony.Failed](l.edge); f.Why != "declined" && f.Why != "no_answer" {
			t.Fatalf("%+v", f)
		}
		wait(t, two.Ended(), "the end of ringing")
		time.Sleep(time.Minute)
		l.Server.mu.Lock()
		n := len(l.legs) + len(l.dialogs)
		l.Server.mu.Unlock()
		if n != 0 {
			t.Fatalf("%d left", n)
		}
		l.silent()
	})
}

// A registration runs out; a phone that does not answer OPTIONS is not reachable, and is again when it does.
func TestReachability(t *testing.T) {
	virtual(t, func(c *Config) { c.Timers.Check = 30 * time.Second }, func(t *testing.T, l *lab) {
		told := func(s string) {
			t.Helper()
			select {
			case got := <-l.ops:
				if !strings.HasPrefix(got, s) {
					t.Fatalf("told %q, want %q", got, s)
				}
			case <-time.After(3 * time.Hour):
				t.Fatalf("nothing told, want %q", s)
			}
		}
		var deaf atomic.Bool
		p := l.phone(t, "203.0.113.1:5060", "1001", func(c *phonetest.Call) { c.Decline() })
		if err := p.Register(context.Background()); err != nil {
			t.Fatal(err)
		}
		told("op-1001 true registered")
		time.Sleep(20 * time.Minute) // it keeps itself registered
		select {
		case s := <-l.ops:
			t.Fatal(s)
		default:
		}
		l.w.mu.Lock()
		l.w.lose = func(_, to netip.AddrPort, _ []byte) bool { return deaf.Load() && to.Addr().String() == "203.0.113.1" }
		l.w.mu.Unlock()
		deaf.Store(true)
		told("op-1001 false no answer")
		l.Do(telephony.Dial{Leg: "a", Operator: "op-1001"})
		if f := want[telephony.Failed](l.edge); f.Why != "unreachable" {
			t.Fatalf("%+v", f)
		}
		deaf.Store(false)
		told("op-1001 true") // it answers OPTIONS, or has registered anew
		p.Close()
		told("op-1001 false no answer")
		time.Sleep(2 * time.Hour)
		if n := len(l.Bindings()); n != 0 {
			t.Fatalf("%d bindings after they ran out", n)
		}
	})
}

// Trunks are asked with OPTIONS; two in a row without an answer are down.
func TestTrunkHealth(t *testing.T) {
	var states chan string
	virtual(t, func(c *Config) {
		states = make(chan string, 10)
		c.Timers.Check = 30 * time.Second
		c.Trunks[0].Outbound.NoCheck = false
		c.TrunkState = func(trunk string, up bool, why string) { states <- fmt.Sprint(trunk, " ", up, " ", why) }
	}, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.9:5060")
		p.send(p.want(0, "OPTIONS").Response(405, "x", "t"))
		if s := <-states; s != "carrier true answers" {
			t.Fatal(s)
		}
		begin := time.Now()
		if s := <-states; s != "carrier false no answer" {
			t.Fatal(s)
		}
		if d := time.Since(begin); d < 80*time.Second || d > 100*time.Second { // asked at 30 s and 60 s, each given up after 32 s
			t.Fatalf("down after %v", d)
		}
		for {
			m := p.next(time.Hour)
			p.send(m.Response(200, "OK", "t"))
			select {
			case s := <-states:
				if s != "carrier true answers" {
					t.Fatal(s)
				}
				return
			case <-time.After(time.Second):
			}
		}
	})
}

// The registrar: who is it? Never a word more to one than to another.
func TestRegistrarDigest(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "203.0.113.5:5060")
		seq := 0
		register := func(user, password string, challenge *phonetest.Message, change func(*phonetest.Message)) *phonetest.Message {
			t.Helper()
			seq++
			m := p.request("REGISTER", "reg", seq)
			m.Start = "REGISTER sip:yingda SIP/2.0"
			m.Set("To", "<sip:"+user+"@yingda>").Set("From", "<sip:"+user+"@yingda>;tag=x").Add("Expires", "600")
			if challenge != nil {
				m.Add("Authorization", phonetest.Digest(challenge.All("WWW-Authenticate")[1:], user, password, "REGISTER", "sip:yingda"))
			}
			if change != nil {
				change(m)
			}
			p.send(m)
			r := p.next(time.Second)
			if r == nil {
				t.Fatal("no answer")
			}
			return r
		}
		shape := func(m *phonetest.Message) string {
			c := parseDigest(m.Get("WWW-Authenticate"))
			return fmt.Sprint(m.Start, " ", len(m.Headers), " ", c["stale"], " ", c["realm"], " ", len(c["nonce"]))
		}
		first := register("1001", "", nil, nil)
		if first.Status() != 401 {
			t.Fatal(first.Start)
		}
		wrong := register("1001", "nonsense", first, nil)
		unknown := register("4711", "nonsense", register("4711", "", nil, nil), nil)
		if shape(wrong) != shape(unknown) || wrong.Status() != 401 {
			t.Fatalf("%s\n%s", shape(wrong), shape(unknown))
		}
		if r := register("1001", "secret-1001", wrong, nil); r.Status() != 200 || !strings.Contains(r.Get("Contact"), "expires=600") {
			t.Fatalf("%+v", r)
		}
		// the same credentials again: seen
		fresh := register("1001", "", nil, nil)
		auth := phonetest.Digest(fresh.All("WWW-Authenticate"), "1001", "secret-1001", "REGISTER", "sip:yingda")
		use := func(m *phonetest.Message) { m.Set("Authorization", auth) }
		if r := register("1001", "", nil, use); r.Status() != 200 {
			t.Fatal(r.Start)
		}
		if r := register("1001", "", nil, use); r.Status() != 401 || !strings.Contains(r.Get("WWW-Authenticate"), "stale=true") {
			t.Fatalf("replayed: %+v", r)
		}
		// a nonce that is too old
		old := register("1001", "", nil, nil)
		time.Sleep(6 * time.Minute)
		if r := register("1001", "secret-1001", old, nil); r.Status() != 401 || !strings.Contains(r.Get("WWW-Authenticate"), "stale=true") {
			t.Fatalf("old: %+v", r)
		}
		// somebody else's nonce
		other := l.peer(t, "203.0.113.6:5060")
		m := other.request("REGISTER", "x", 1)
		m.Start = "REGISTER sip:yingda SIP/2.0"
		other.send(m)
		theirs := other.next(time.Second)
		if r := register("1001", "secret-1001", theirs, nil); r.Status() != 401 {
			t.Fatal(r.Start)
		}
		// another's name
		if r := register("1001", "secret-1001", register("1001", "", nil, nil), func(m *phonetest.Message) { m.Set("To", "<sip:1002@yingda>") }); r.Status() != 403 {
			t.Fatal(r.Start)
		}
		// bounds of the life time
		if r := register("1001", "secret-1001", register("1001", "", nil, nil), func(m *phonetest.Message) { m.Set("Expires", "5") }); r.Status() != 423 || r.Get("Min-Expires") != "60" {
			t.Fatalf("%+v", r)
		}
		if r := register("1001", "secret-1001", register("1001", "", nil, nil), func(m *phonetest.Message) { m.Set("Expires", "999999") }); !strings.Contains(r.Get("Contact"), "expires=3600") {
			t.Fatalf("%+v", r)
		}
		// no more than five contacts: the oldest goes
		for i := range 7 {
			if r := register("1001", "secret-1001", register("1001", "", nil, nil), func(m *phonetest.Message) {
				m.Set("Contact", fmt.Sprintf("<sip:1001@203.0.113.5:%d>", 7000+i))
			}); r.Status() != 200 {
				t.Fatal(r.Start)
			}
		}
		if n := len(l.Bindings()); n != 5 {
			t.Fatal(n)
		}
		if r := register("1001", "secret-1001", register("1001", "", nil, nil), func(m *phonetest.Message) { m.Set("Contact", "*").Set("Expires", "0") }); r.Status() != 200 || len(l.Bindings()) != 0 {
			t.Fatalf("%+v", r)
		}
		// five wrong passwords: the right one does not help for ten seconds, then it does
		for range 5 {
			register("1001", "wrong", register("1001", "", nil, nil), nil)
		}
		if r := register("1001", "secret-1001", register("1001", "", nil, nil), nil); r.Status() != 401 {
			t.Fatal(r.Start)
		}
		time.Sleep(11 * time.Second)
		if r := register("1001", "secret-1001", register("1001", "", nil, nil), nil); r.Status() != 200 {
			t.Fatal(r.Start)
		}
		// an older REGISTER does not undo a newer
		seq -= 2
		if r := register("1001", "secret-1001", register("1001", "", nil, func(*phonetest.Message) { seq -= 3 }), nil); r.Status() != 500 {
			t.Fatal(r.Start)
		}
	})
}

// Passwords at random: after some tries nothing is checked any more.
func TestRegistrarBruteForce(t *testing.T) {
	checked := 0
	virtual(t, func(c *Config) {
		c.Account = func(user string) (Account, error) { checked++; return accounts(user) }
	}, func(t *testing.T, l *lab) {
		p := l.peer(t, "203.0.113.5:5060")
		m := p.request("REGISTER", "reg", 1)
		m.Start = "REGISTER sip:yingda SIP/2.0"
		p.send(m)
		c := p.next(time.Second)
		for i := range 2000 {
			r := p.request("REGISTER", "reg", i+2).Add("Authorization", phonetest.Digest(c.All("WWW-Authenticate"), "1001", fmt.Sprint(i), "REGISTER", "sip:yingda"))
			r.Start = "REGISTER sip:yingda SIP/2.0"
			p.send(r)
			for p.next(time.Millisecond) != nil {
			}
			synctest.Wait()
		}
		if checked > 20 {
			t.Fatalf("%d passwords of 2000 were checked", checked)
		}
	})
}
