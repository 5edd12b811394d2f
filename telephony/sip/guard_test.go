package sip

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	sipgo "github.com/emiago/sipgo/sip"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/telephony"
	"yingda/telephony/phonetest"
)

// Who is no trunk and no phone gets no word: not even that there is somebody. It may register.
func TestStrangers(t *testing.T) {
	virtual(t, func(c *Config) { c.Phones = []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")} }, func(t *testing.T, l *lab) {
		far := l.peer(t, "100.64.0.1:5060")
		far.send(far.invite("x"))
		far.send(far.request("OPTIONS", "x", 1))
		far.send(far.request("REGISTER", "x", 1))
		far.quiet(time.Minute)
		near := l.peer(t, "203.0.113.1:5060")
		near.send(near.invite("x"))
		near.send(near.request("OPTIONS", "x", 1))
		near.quiet(time.Minute)
		near.send(near.request("REGISTER", "x", 2))
		near.want(401, "REGISTER")
		// A registered phone is heard, but what it calls is ordered at the desk.
		phone := l.phone(t, "203.0.113.2:5060", "1001", nil)
		if err := phone.Register(context.Background()); err != nil {
			t.Fatal(err)
		}
		c, err := phone.Call("900123456")
		if err != nil {
			t.Fatal(err)
		}
		wait(t, c.Ended(), "the refusal")
		if c.Status() != 403 {
			t.Fatal(c.Status())
		}
		l.silent()
	})
}

// A source that sends too much is not answered beyond its measure; others are.
func TestFlood(t *testing.T) {
	dropped := map[string]int{}
	virtual(t, func(c *Config) {
		c.Limits.PerTrunk = 100
		c.Metrics.Dropped = func(why string) { dropped[why]++ }
	}, func(t *testing.T, l *lab) {
		p, other := l.peer(t, "192.0.2.7:5060"), l.peer(t, "192.0.2.8:5060")
		answered := 0
		for i := range 900 {
			p.send(p.request("OPTIONS", fmt.Sprint(i), 1))
			for p.next(time.Microsecond) != nil {
				answered++
			}
		}
		other.send(other.request("OPTIONS", "o", 1))
		other.want(200, "OPTIONS")
		for p.next(time.Second) != nil {
			answered++
		}
		if answered < 200 || answered > 210 || dropped["rate"] != 900-answered {
			t.Fatalf("%d of 900 answered, dropped %v", answered, dropped)
		}
	})
}

// Thirty thousand sources that send garbage leave nothing behind (bare sipgo keeps each for ever).
func TestGarbageIsForgotten(t *testing.T) {
	g := &guard{cfg: Config{Phones: nil}.withDefaults(), phone: func(netip.Addr) bool { return false }, sources: map[netip.Addr]*bucket{},
		challenge: func(netip.Addr, bool) []string { return []string{"Digest"} }}
	g.cfg.Limits.Sources = 1000
	measure := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := measure()
	for i := range 30000 {
		a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{11, byte(i >> 16), byte(i >> 8), byte(i)}), 5060)
		if v := g.look([]byte("\x16\x03\x01garbage"), a, false); v.pass != nil || v.reply != nil {
			t.Fatal("garbage passed")
		}
	}
	if grown := int64(measure()) - int64(before); grown > 1<<20 || len(g.sources) > 1000 {
		t.Fatalf("%d bytes, %d sources", grown, len(g.sources))
	}
}

// Half a message on TCP has its time, however it drips; and only so many connections may be open.
func TestSlowStreams(t *testing.T) {
	e := newEdge(t, func(c *Config) {
		c.UDP, c.TCP = "127.0.0.1:0", "127.0.0.1:0"
		c.Timers.Message = 300 * time.Millisecond
		c.Limits.Connections = 20
	})
	_, tcp := e.Addr()
	var wg sync.WaitGroup
	begin := time.Now()
	for range 20 {
		c, err := net.Dial("tcp", tcp.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		wg.Go(func() {
			for _, b := range []byte("INVITE sip:x@y SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bK") { // one byte at a time, never done
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				one := make([]byte, 1)
				_ = c.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
				if _, err := c.Read(one); err != nil {
					if n, ok := err.(net.Error); !ok || !n.Timeout() {
						return // closed by the server
					}
				}
			}
			t.Error("a dripping connection was never closed")
		})
	}
	wg.Wait()
	if d := time.Since(begin); d > 5*time.Second {
		t.Fatalf("took %v", d)
	}
	ok := false
	for range 100 { // the last of them may still be on its way out
		c, err := net.Dial("tcp", tcp.String())
		if err != nil {
			t.Fatal(err)
		}
		_, _ = c.Write(healthCheck("127.0.0.1:5060", 1))
		m, err := phonetest.ReadMessage(bufio.NewReader(c))
		_ = c.Close()
		if ok = err == nil && m.Status() == 200; ok {
			break
		}
	}
	if !ok {
		t.Fatal("not well afterwards")
	}
}

// Several messages in one segment, cut anywhere, with keep-alives between: each is answered, in order.
func TestStreamFraming(t *testing.T) {
	e := newEdge(t, nil)
	_, tcp := e.Addr()
	for _, step := range []int{1, 7, 100, 1 << 20} {
		var all []byte
		for i := range 20 {
			all = append(all, healthCheck("127.0.0.1:5060", 100*step+i)...) // a branch is used once, whatever the connection
			all = append(all, "\r\n\r\n"...)
		}
		c, err := net.Dial("tcp", tcp.String())
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for i := 0; i < len(all); i += step {
				if _, err := c.Write(all[i:min(i+step, len(all))]); err != nil {
					return
				}
			}
		}()
		r := bufio.NewReader(c)
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		seen := map[string]bool{}
		for len(seen) < 20 {
			m, err := phonetest.ReadMessage(r)
			if err != nil {
				t.Fatalf("step %d: %v after %d", step, err, len(seen))
			}
			if m.Status() == 200 {
				seen[m.Get("Call-ID")] = true
			}
		}
		_ = c.Close()
	}
}

// A caller of the old standard (no tags, no branch) can phone, be answered, and hang up; and our own tag for it never leaves us.
func TestOldStandard(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		old := func(m *phonetest.Message) *phonetest.Message {
			return m.Set("Via", "SIP/2.0/UDP "+p.addr()).Set("From", "<sip:051255500002@192.0.2.7>")
		}
		m := old(p.invite("old"))
		p.send(m)
		p.send(m)
		inv := want[telephony.Invited](l.edge)
		l.Do(telephony.Accept{Leg: inv.Leg})
		ok := p.want(200, "INVITE")
		if ok.Get("From") != "<sip:051255500002@192.0.2.7>" {
			t.Fatal(ok.Get("From"))
		}
		p.send(old(p.inDialog("ACK", ok, 1)))
		want[telephony.Accepted](l.edge)
		l.Do(telephony.Hangup{Leg: inv.Leg})
		bye := p.want(0, "BYE")
		if bye.Get("To") != "<sip:051255500002@192.0.2.7>" {
			t.Fatal(bye.Get("To"))
		}
		p.send(bye.Response(200, "OK", ""))
		want[telephony.Ended](l.edge)

		p.send(old(p.invite("old2")))
		inv = want[telephony.Invited](l.edge)
		l.Do(telephony.Accept{Leg: inv.Leg})
		ok = p.want(200, "INVITE")
		p.send(old(p.inDialog("ACK", ok, 1)))
		want[telephony.Accepted](l.edge)
		p.send(old(p.inDialog("BYE", ok, 2)))
		p.want(200, "BYE")
		want[telephony.Ended](l.edge)
	})
}

// What we cannot do is said, and an INVITE that is refused for it is written down all the same.
func TestRefusedInvitesAreReported(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		l.react(func(in telephony.Input) []telephony.Effect {
			if inv, ok := in.(telephony.Invited); ok {
				return []telephony.Effect{telephony.Refuse{Leg: inv.Leg, Status: 488}}
			}
			return nil
		})
		for i, c := range []struct {
			change func(*phonetest.Message)
			status int
			header string
		}{
			{func(m *phonetest.Message) { m.Add("Require", "100rel") }, 420, "Unsupported: 100rel"},
			{func(m *phonetest.Message) { m.Set("Content-Type", "application/x-unknown") }, 415, "Accept: " + accepted},
			{func(m *phonetest.Message) { m.Add("Content-Encoding", "gzip") }, 415, "Accept: " + accepted},
			{func(m *phonetest.Message) { m.Add("Accept", "text/plain") }, 406, ""},
			{func(m *phonetest.Message) { m.Body = []byte(strings.Replace(someSDP, "8 0 101", "97", 1)) }, 488, ""},
			{func(m *phonetest.Message) { m.Body = []byte(strings.Replace(someSDP, "m=audio", "m=video", 1)) }, 488, ""},
			{func(m *phonetest.Message) { m.Body = []byte("v=0\r\nm=audio x\r\n") }, 400, ""},
			{func(m *phonetest.Message) { m.Body = bytes.Repeat([]byte("a=x\r\n"), 5000) }, 400, ""},
		} {
			m := p.invite(fmt.Sprintf("refused%d", i))
			c.change(m)
			p.send(m)
			r := p.want(c.status, "INVITE")
			if name, value, _ := strings.Cut(c.header, ": "); c.header != "" && r.Get(name) != value {
				t.Errorf("%d: %+v", i, r)
			}
			p.send(p.inDialog("ACK", r, 1).Set("Via", m.Get("Via")))
			if inv := want[telephony.Invited](l.edge); inv.Audio {
				t.Errorf("%d: audio", i)
			}
			want[telephony.Ended](l.edge)
		}
		// In a dialog and of other methods they are simply refused.
		m := p.request("OPTIONS", "o", 1).Add("Require", "foo")
		p.send(m)
		p.want(420, "OPTIONS")
		for _, method := range []string{"REFER", "SUBSCRIBE", "MESSAGE", "PUBLISH", "PRACK", "NOTIFY"} {
			p.send(p.request(method, "o"+method, 1))
			if r := p.want(405, method); r.Get("Allow") != allowed {
				t.Fatalf("%+v", r)
			}
		}
		l.silent()
	})
}

// Too many: by the trunk's limits, by the media plane's word, by its ports. Each is told as overload, so that it is written down.
func TestOverload(t *testing.T) {
	virtual(t, func(c *Config) { c.Trunks[0].PerSecond, c.Trunks[0].Concurrent = 2, 3 }, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		l.react(func(in telephony.Input) []telephony.Effect {
			if inv, ok := in.(telephony.Invited); ok && inv.Overload {
				return []telephony.Effect{telephony.Refuse{Leg: inv.Leg, Status: 503, RetryAfter: 5 * time.Second}}
			}
			return nil
		})
		n := 0
		try := func() telephony.Invited {
			t.Helper()
			n++
			p.send(p.invite(fmt.Sprintf("o%d", n)))
			inv := want[telephony.Invited](l.edge)
			if inv.Overload {
				if r := p.want(503, "INVITE"); r.Get("Retry-After") != "5" {
					t.Fatalf("%+v", r)
				}
				want[telephony.Ended](l.edge)
			}
			return inv
		}
		a, b := try(), try()
		if a.Overload || b.Overload || !try().Overload {
			t.Fatal("two a second are allowed")
		}
		time.Sleep(time.Second)
		if try().Overload || !try().Overload {
			t.Fatal("three at once are allowed")
		}
		l.Do(telephony.Hangup{Leg: a.Leg}, telephony.Hangup{Leg: b.Leg})
		want[telephony.Ended](l.edge)
		want[telephony.Ended](l.edge)
		time.Sleep(2 * time.Second)
		l.plane.mu.Lock()
		l.plane.overload = true
		l.plane.mu.Unlock()
		if !try().Overload {
			t.Fatal("the media plane was not asked")
		}
		l.plane.mu.Lock()
		l.plane.overload, l.plane.full = false, true
		l.plane.mu.Unlock()
		time.Sleep(2 * time.Second)
		if !try().Overload {
			t.Fatal("there was no room")
		}
	})
}

// OPTIONS says that we are here; while draining that we are not.
func TestDrain(t *testing.T) {
	virtual(t, nil, func(t *testing.T, l *lab) {
		p := l.peer(t, "192.0.2.7:5060")
		p.send(p.request("OPTIONS", "a", 1))
		p.want(200, "OPTIONS")
		inv, ok := l.up(p, "live")
		l.Drain()
		p.send(p.request("OPTIONS", "b", 1))
		if r := p.want(503, "OPTIONS"); r.Get("Retry-After") == "" {
			t.Fatalf("%+v", r)
		}
		p.send(p.invite("new"))
		refused := want[telephony.Invited](l.edge)
		l.Do(telephony.Refuse{Leg: refused.Leg, Status: 503})
		p.want(503, "INVITE")
		want[telephony.Ended](l.edge)
		go func() { _ = l.Close() }() // ends the live call
		bye := p.want(0, "BYE")
		p.send(bye.Response(200, "OK", ""))
		if end := want[telephony.Ended](l.edge); end.Leg != inv.Leg || end.By != intake.ByUs {
			t.Fatalf("%+v", end)
		}
		_ = ok
	})
}

// A panic ends its own call as a fault, tells the caller, and nobody else notices.
func TestPanicEndsOneCall(t *testing.T) {
	virtual(t, func(c *Config) {
		c.Facts = func(n pii.Phone, _ intake.LineID) telephony.Facts {
			if n.Reveal() == "666" {
				panic("planted")
			}
			return telephony.Facts{}
		}
		report := c.Report
		c.Report = func(in telephony.Input) {
			if a, ok := in.(telephony.Accepted); ok && a.Leg == "bad" {
				panic("planted")
			}
			report(in)
		}
		n := 0
		c.NewLeg = func() telephony.LegID {
			n++
			return map[int]telephony.LegID{1: "good", 2: "bad", 3: "worse"}[n]
		}
	}, func(t *testing.T, l *lab) {
		l.plane.panics = "play %v"
		p := l.peer(t, "192.0.2.7:5060")
		good, ok := l.up(p, "good")
		p.send(p.invite("bad"))
		bad := want[telephony.Invited](l.edge)
		l.Do(telephony.Accept{Leg: bad.Leg})
		p.send(p.inDialog("ACK", p.want(200, "INVITE"), 1))
		p.send(p.want(0, "BYE").Response(200, "OK", ""))
		if end := want[telephony.Ended](l.edge); end.Leg != "bad" || end.Why != "fault" {
			t.Fatalf("%+v", end)
		}
		m := p.invite("worse")
		m.Set("From", "<sip:666@192.0.2.7>;tag=peer")
		p.send(m)
		if inv := want[telephony.Invited](l.edge); inv.Leg != "worse" || inv.Caller != (telephony.Facts{}) {
			t.Fatalf("a lookup that fails must not cost the call: %+v", inv)
		}
		l.Do(telephony.Hangup{Leg: "worse"})
		p.want(480, "INVITE")
		want[telephony.Ended](l.edge)
		l.Do(telephony.Play{Leg: good.Leg, Prompts: []string{"x"}}, telephony.StopRecord{})
		p.send(p.inDialog("BYE", ok, 2))
		p.want(200, "BYE")
		if end := want[telephony.Ended](l.edge); end.Leg != good.Leg || end.Why != "bye" {
			t.Fatalf("%+v", end)
		}
		synctest.Wait() // the leg's goroutine takes its names out of the maps after it has reported
		l.Server.mu.Lock()
		defer l.Server.mu.Unlock()
		if len(l.legs)+len(l.dialogs) != 0 {
			t.Fatalf("left: %d legs, %d dialogs", len(l.legs), len(l.dialogs))
		}
	})
}

// Who calls: the trunk's word before the caller's, and nothing where the number is hidden.
func TestCaller(t *testing.T) {
	for _, c := range []struct {
		headers map[string]string
		trusted bool
		number  string
		name    string
		hidden  bool
	}{
		{map[string]string{"From": `"Li" <sip:+8651255500001;phone-context=x@gw;user=phone>;tag=1`}, true, "+8651255500001", "Li", false},
		{map[string]string{"From": `<sip:051255500001@gw>;tag=1`, "P-Asserted-Identity": `"王" <tel:+8613800138000>`}, true, "+8613800138000", "王", false},
		{map[string]string{"From": `<sip:051255500001@gw>;tag=1`, "P-Asserted-Identity": `<tel:+8613800138000>`}, false, "051255500001", "", false},
		{map[string]string{"From": `"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1`, "P-Asserted-Identity": `<sip:13800138000@gw>`}, true, "", "", true},
		{map[string]string{"From": `<sip:13800138000@gw>;tag=1`, "Privacy": "id;critical"}, true, "", "", true},
		{map[string]string{"From": `<sip:li.ming@gw>;tag=1`}, true, "", "", false},
		{map[string]string{"From": `"a\"b" <sip:%31380013%38000@gw>;tag=1`}, true, "13800138000", `a"b`, false},
	} {
		m := &phonetest.Message{Start: "INVITE sip:12345@x SIP/2.0"}
		m.Add("Via", "SIP/2.0/UDP a;branch=z9hG4bK1").Add("To", "<sip:12345@x>").Add("Call-ID", "x").Add("CSeq", "1 INVITE")
		for k, v := range c.headers {
			m.Add(k, v)
		}
		msg, err := sipgo.ParseMessage(m.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		number, name, hidden := caller(msg.(*sipgo.Request), c.trusted)
		if number.Reveal() != c.number || name.Reveal() != c.name || hidden != c.hidden {
			t.Errorf("%v: %q %q %v", c.headers, number.Reveal(), name.Reveal(), hidden)
		}
	}
}

// Nothing of a packet reaches the log, whatever sipgo says about it.
func TestLogsHoldNoPackets(t *testing.T) {
	var buf bytes.Buffer
	var mu sync.Mutex
	w := writerFunc(func(b []byte) (int, error) { mu.Lock(); defer mu.Unlock(); return buf.Write(b) })
	logger := slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug}))
	quietLog := slog.New(quiet{logger.Handler()})
	quietLog.Error("failed to parse", "data", "INVITE sip:13800138000@x SIP/2.0", "error", fmt.Errorf("at 13800138000"))
	quietLog.With("req", "13800138000").WithGroup("g").Warn("x", "y", "13800138000")
	if s := buf.String(); strings.Contains(s, "13800138000") || !strings.Contains(s, "failed to parse") {
		t.Fatal(s)
	}
	e := newEdge(t, func(c *Config) { c.Logger = logger })
	p := phone(t, e, func(c *phonetest.Config) { c.User = "13800138000" })
	c := call(t, p, "12345")
	inv := want[telephony.Invited](e)
	e.Do(telephony.Accept{Leg: inv.Leg})
	want[telephony.Accepted](e)
	c.Hangup()
	want[telephony.Ended](e)
	_ = e.Close()
	mu.Lock()
	defer mu.Unlock()
	if s := buf.String(); strings.Contains(s, "138001") {
		t.Fatal(s)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

// What passes the guard can be read by sipgo, has all that a handler relies on, and no line that was not there.
func FuzzGuard(f *testing.F) {
	for _, c := range torture {
		f.Add(readFile(c.name), false)
		f.Add(readFile(c.name), true)
	}
	g := &guard{cfg: Config{Trunks: []Trunk{{Name: "x", Addresses: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}}.withDefaults(),
		phone: func(netip.Addr) bool { return false }, sources: map[netip.Addr]*bucket{}, challenge: func(netip.Addr, bool) []string { return []string{"Digest x"} }}
	g.cfg.Limits.PerTrunk = 1e12
	from := netip.MustParseAddrPort("192.0.2.1:5060")
	f.Fuzz(func(t *testing.T, data []byte, stream bool) {
		v := g.look(data, from, stream)
		if v.pass != nil {
			m, err := sipgo.ParseMessage(v.pass)
			if err != nil {
				t.Fatalf("passed, and cannot be read: %v", err)
			}
			if m.Via() == nil || m.From() == nil || m.To() == nil || m.CallID() == nil || m.CSeq() == nil {
				t.Fatalf("passed with a header missing: %q", v.pass)
			}
			head, _, _ := bytes.Cut(v.pass, []byte("\r\n\r\n"))
			for _, l := range bytes.Split(head, []byte("\r\n")) {
				if bytes.ContainsAny(l, "\r\n\x00") {
					t.Fatalf("line %q", l)
				}
			}
			// It is read the same way again: passed, or (now that its To has a tag) refused as part of an unknown dialog would be.
			if again := g.look(v.pass, from, stream); again.pass == nil && again.reply == nil {
				t.Fatalf("what passed is no message the second time: %q", v.pass)
			}
		}
		if v.reply != nil {
			if _, err := phonetest.ParseMessage(v.reply); err != nil || bytes.ContainsAny(v.reply, "\x00") {
				t.Fatalf("reply %q: %v", v.reply, err)
			}
		}
		if stream {
			if end, total := frame(data); end >= 0 && total < end {
				t.Fatalf("frame %d %d", end, total)
			}
		}
	})
}
