package test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"yingda/internal/app"
	"yingda/internal/users"
	"yingda/telephony/phonetest"
)

// hostile is where everything malformed comes from: another address than the normal calls', so that a limit for one is not one for all.
const hostile = "127.0.0.2"

// attempt is one row: something malformed, and what the answer has to be.
type attempt struct {
	name string
	send func(t *testing.T) string
	want string // a regular expression over what send gives
}

// TestMalformed: whatever comes in malformed, over SIP, SDP, RTP, RTCP, HTTP, JSON, forms, GeoJSON, CSV, YAML or CloudEvents, gets a clear answer;
// meanwhile a conversation goes on in which both sides hear each other, and two callers a second are answered; nothing of it is lost.
func TestMalformed(t *testing.T) {
	t.Parallel()
	const resident, operator = 700, 1100
	rules := write(t, "rules.yaml", "")
	goodRules := tell(t, fresh(t), "rules", "print").out
	if err := os.WriteFile(rules, []byte(goodRules), 0o600); err != nil {
		t.Fatal(err)
	}
	c := config(t)
	c.Routing.Rules = rules
	h := start(t, c)
	h.person("admin2", users.Administrator)
	user, secret := h.operator("zhang")
	taken := make(chan *phonetest.Call, 1)
	desk := phone(t, phonetest.Config{Server: h.udp.String(), User: user, Password: secret, OnCall: func(c *phonetest.Call) {
		c.Ring()
		c.Answer()
		select {
		case taken <- c:
		default: // one of the others, after the conversation
		}
	}})
	if err := desk.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the operator is free", 10*time.Second, func() bool { return h.OperatorState(t.Context(), "zhang") == "idle" })
	caller, err := phone(t, phonetest.Config{Server: h.udp.String(), User: "051255509999"}).Call("12345")
	if err != nil {
		t.Fatal(err)
	}
	caller.Audio().Tone(resident)
	atDesk := <-taken
	atDesk.Audio().Tone(operator)
	talking := func() bool {
		return caller.Audio().Hears(operator) > 0.8 && atDesk.Audio().Hears(resident) > 0.8
	}
	waitFor(t, "both sides to hear each other", 20*time.Second, talking)

	trace := filepath.Join(t.TempDir(), "messages.log")
	others := (&served{t: t, sip: h.udp.String()}).load(2, 700*time.Millisecond, trace)

	mean := &attacker{h: h, t: t}
	var table []attempt
	for _, group := range [][]attempt{mean.torture(), mean.wire(), mean.offers(), mean.packets(), mean.http(), mean.forms(), mean.submissions(), mean.files(rules, goodRules)} {
		table = append(table, group...)
	}
	for _, a := range table {
		got := a.send(t)
		if !regexp.MustCompile(`(?s)^(?:` + a.want + `)$`).MatchString(got) {
			t.Errorf("%s: the answer is %.600q, want %s", a.name, got, a.want)
		}
		for _, ours := range []string{"goroutine ", "panic", "runtime error", ".go:"} {
			if strings.Contains(got, ours) {
				t.Errorf("%s: our insides (%q) are no answer: %.600q", a.name, ours, got)
			}
		}
		if status := mean.health(); status != 200 {
			t.Fatalf("%s: after it OPTIONS gets %d", a.name, status)
		}
		if !talking() {
			waitFor(t, "both sides to hear each other after "+a.name, 3*time.Second, talking) // the second that is listened to may hold a hiccup of this machine
		}
	}
	t.Logf("%d malformed things", len(table))

	caller.Hangup()
	_ = others.cmd.Process.Signal(syscall.SIGUSR1) // no new calls, the others end
	others.wait(t, 40*time.Second)                 // every one of them was answered: sipp ends well
	if caller.Why() != "hangup" || atDesk.By() == "us" {
		t.Errorf("the conversation ended by %q, %q", caller.Why(), atDesk.By())
	}
	list := h.contacts()
	waitFor(t, "every contact to end", 90*time.Second, func() bool { // a call whose 200 is not acknowledged takes 32 s
		list = h.contacts()
		for _, e := range list {
			if e.Outcome == nil {
				return false
			}
		}
		return true
	})
	h.clean()
	must, sent := promised(t, trace)
	count := map[string]int{}
	for _, e := range list {
		if e.SIPCallID != nil {
			count[*e.SIPCallID]++
		}
	}
	for id := range sent {
		if !must[id] || count[id] != 1 {
			t.Errorf("call %s of somebody else: answered %v, in the books %d times", id, must[id], count[id])
		}
	}
	for id := range mean.promised {
		if count[id] != 1 {
			t.Errorf("a malformed call that was let in, %s, is in the books %d times", id, count[id])
		}
	}
	if len(sent) < 10 || len(mean.promised) < 3 {
		t.Errorf("%d normal calls, %d malformed ones that were let in: the test proves nothing", len(sent), len(mean.promised))
	}
	if bad := grep(h.logs.String(), "panicked"); bad != "" {
		t.Errorf("something panicked:\n%s", bad)
	}
	if figures := mean.ask(still, http.MethodGet, "/metrics", nil); !strings.Contains(figures, "\nyingda_sip_faults_total 0\n") {
		t.Errorf("handlers of SIP panicked:\n%s", grep(figures, "yingda_sip_faults_total"))
	}
}

// attacker sends what nobody should.
type attacker struct {
	h        *hotline
	t        *testing.T
	n        int
	promised map[string]bool // Call-IDs of INVITEs that got a 2xx
}

func (a *attacker) udp() net.PacketConn {
	c, err := net.ListenPacket("udp4", hostile+":0")
	if err != nil {
		a.t.Fatal(err)
	}
	return c
}

func (a *attacker) sent(c net.PacketConn, raw []byte) {
	if _, err := c.WriteTo(raw, net.UDPAddrFromAddrPort(a.h.udp)); err != nil {
		a.t.Fatal(err)
	}
}

// final waits for a final response that is meant for a Call-ID ("" for any); nil when there is none in time.
func (a *attacker) final(c net.PacketConn, id string, within time.Duration) *phonetest.Message {
	buf := make([]byte, 64<<10)
	_ = c.SetReadDeadline(time.Now().Add(within))
	for {
		n, _, err := c.ReadFrom(buf)
		if err != nil {
			return nil
		}
		m, err := phonetest.ParseMessage(bytes.Clone(buf[:n]))
		if err == nil && m.Status() >= 200 && (id == "" || m.Get("Call-ID") == id) {
			if m.Status() < 300 && strings.HasSuffix(m.Get("CSeq"), "INVITE") {
				a.let(m.Get("Call-ID"))
			}
			return m
		}
	}
}

func (a *attacker) let(id string) {
	if a.promised == nil {
		a.promised = map[string]bool{}
	}
	a.promised[id] = true
}

func (a *attacker) request(c net.PacketConn, method, id string, more ...string) string {
	cseq := 1
	if method == "BYE" {
		cseq = 2
	}
	return fmt.Sprintf("%s sip:12345@%s SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bK%s%s;rport\r\nMax-Forwards: 70\r\nFrom: <sip:051255508888@%s>;tag=t\r\nTo: <sip:12345@%s>%s\r\nCall-ID: %s\r\nCSeq: %d %s\r\nContact: <sip:x@%s>\r\n",
		method, a.h.udp, c.LocalAddr(), method, id, hostile, a.h.udp, strings.Join(more, ""), id, cseq, method, c.LocalAddr())
}

// health is the status of an OPTIONS.
func (a *attacker) health() int {
	c := a.udp()
	defer c.Close()
	a.n++
	id := fmt.Sprintf("health-%d", a.n)
	a.sent(c, []byte(a.request(c, "OPTIONS", id)+"Content-Length: 0\r\n\r\n"))
	if m := a.final(c, id, 3*time.Second); m != nil {
		return m.Status()
	}
	return 0
}

// offer sends an INVITE with a body and gives the final response; a call that is taken is acknowledged, used, and ended.
func (a *attacker) offer(kind, body string, use func(c net.PacketConn, taken *phonetest.Message)) string {
	c := a.udp()
	defer c.Close()
	a.n++
	id := fmt.Sprintf("offer-%d", a.n)
	a.sent(c, []byte(a.request(c, "INVITE", id)+"Content-Type: "+kind+"\r\nContent-Length: "+fmt.Sprint(len(body))+"\r\n\r\n"+body))
	m := a.final(c, id, 8*time.Second)
	if m == nil {
		return "nothing"
	}
	tag := ";tag=" + phonetest.Param(m.Get("To"), "tag")
	a.sent(c, []byte(a.request(c, "ACK", id, tag)+"Content-Length: 0\r\n\r\n"))
	if m.Status() >= 300 {
		return fmt.Sprint(m.Status())
	}
	if use != nil {
		use(c, m)
	}
	a.sent(c, []byte(a.request(c, "BYE", id, tag)+"Content-Length: 0\r\n\r\n"))
	for {
		bye := a.final(c, id, 5*time.Second)
		if bye == nil {
			return fmt.Sprint(m.Status(), ", BYE nothing")
		}
		if strings.HasSuffix(bye.Get("CSeq"), "BYE") {
			return fmt.Sprint(m.Status(), ", BYE ", bye.Status())
		}
	}
}

// torture is RFC 4475 over TCP, where an answer finds its way back whatever Via says, and each of its messages over UDP, where it often does not.
func (a *attacker) torture() (table []attempt) {
	answers := map[string]string{
		"wsinv": "481", "intmeth": "501", "esc01": "200", "escnull": "401", "esc02": "501", "lwsdisp": "200", "longreq": "200", "dblreq": "401", "semiuri": "200", "transports": "200", "mpart01": "405",
		"unreason": "nothing", "noreason": "nothing", "badinv01": "400", "clerr": "nothing", "ncl": "400", "scalar02": "400", "scalarlg": "nothing", "quotbal": "400", "ltgtruri": "400", "lwsruri": "400",
		"lwsstart": "400", "trws": "400", "escruri": "400", "baddate": "200", "regbadct": "400", "badaspec": "400", "baddn": "400|200", "badvers": "505", "mismatch01": "400", "mismatch02": "501",
		"bigcode": "nothing", "badbranch": "200", "insuf": "400", "unkscm": "416", "novelsc": "416", "unksm2": "401", "bext01": "420", "invut": "415", "regaut01": "401", "multi01": "400", "mcl01": "400",
		"bcast": "nothing", "zeromf": "200", "cparam01": "401", "cparam02": "401", "regescrt": "401", "sdp01": "406", "inv2543": "200", "test": "nothing",
	}
	folder := "../telephony/sip/testdata/torture"
	files, err := filepath.Glob(folder + "/*.dat")
	if err != nil || len(files) != len(answers) {
		a.t.Fatalf("%d messages of RFC 4475 in %s, answers for %d (%v)", len(files), folder, len(answers), err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".dat")
		raw, err := os.ReadFile(f)
		if err != nil {
			a.t.Fatal(err)
		}
		table = append(table,
			attempt{"RFC 4475 " + name + " over TCP", func(*testing.T) string { return a.overTCP(raw, name == "clerr", answers[name] == "nothing") }, answers[name]},
			attempt{"RFC 4475 " + name + " over UDP", func(*testing.T) string {
				c := a.udp()
				defer c.Close()
				a.sent(c, raw)
				return "sent"
			}, "sent"})
	}
	return table
}

// overTCP gives the first final status.
func (a *attacker) overTCP(raw []byte, closes, silence bool) string {
	conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(hostile)}}).Dial("tcp", a.h.tcp.String())
	if err != nil {
		return err.Error()
	}
	defer conn.Close()
	if low := strings.ToLower(string(raw)); !strings.Contains(low, "\r\nl:") && !strings.Contains(low, "content-length") {
		raw = []byte(strings.Replace(string(raw), "\r\nCSeq:", fmt.Sprintf("\r\nContent-Length: %d\r\nCSeq:", len(raw)-strings.Index(string(raw), "\r\n\r\n")-4), 1))
	}
	if _, err := conn.Write(raw); err != nil {
		return err.Error()
	}
	within := 5 * time.Second
	if silence {
		within = 200 * time.Millisecond
	}
	if closes {
		_ = conn.(*net.TCPConn).CloseWrite() // else it waits for a body that does not come
	}
	_ = conn.SetReadDeadline(time.Now().Add(within))
	r := bufio.NewReader(conn)
	for {
		m, err := phonetest.ReadMessage(r)
		if err != nil {
			return "nothing"
		}
		if m.Status() >= 200 {
			if m.Status() < 300 && strings.HasSuffix(m.Get("CSeq"), "INVITE") {
				a.let(m.Get("Call-ID"))
			}
			return fmt.Sprint(m.Status())
		}
	}
}

// wire is what is no SIP at all, or too much of it.
func (a *attacker) wire() []attempt {
	noise := make([]byte, 1400)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	udp := func(raw func(c net.PacketConn) string) func(*testing.T) string {
		return func(*testing.T) string {
			c := a.udp()
			defer c.Close()
			a.sent(c, []byte(raw(c)))
			m := a.final(c, "", 300*time.Millisecond)
			if m == nil {
				return "nothing"
			}
			return fmt.Sprint(m.Status())
		}
	}
	return []attempt{
		{"noise over UDP", udp(func(net.PacketConn) string { return string(noise) }), "nothing"},
		{"noise over TCP", func(*testing.T) string { return a.overTCP(noise, false, true) }, "nothing"},
		{"an empty datagram", udp(func(net.PacketConn) string { return "" }), "nothing"},
		{"HTTP where SIP is spoken", udp(func(net.PacketConn) string { return "GET / HTTP/1.1\r\nHost: x\r\n\r\n" }), "nothing"},
		{"an INVITE of 4,000 headers", udp(func(c net.PacketConn) string {
			return a.request(c, "INVITE", "fat") + strings.Repeat("X-Fat: yes\r\n", 4000) + "Content-Length: 0\r\n\r\n"
		}), "4..|513"},
		{"a header of 30,000 bytes", udp(func(c net.PacketConn) string {
			return a.request(c, "OPTIONS", "long") + "X-Long: " + strings.Repeat("x", 30000) + "\r\nContent-Length: 0\r\n\r\n"
		}), "4..|513"},
		{"a NUL in a header", udp(func(c net.PacketConn) string {
			return a.request(c, "INVITE", "nul") + "Subject: a\x00b\r\nContent-Length: 0\r\n\r\n"
		}), "400"},
		{"more body announced than sent", udp(func(c net.PacketConn) string {
			return a.request(c, "INVITE", "short") + "Content-Type: application/sdp\r\nContent-Length: 9999\r\n\r\nv=0\r\n"
		}), "400"},
		{"a body of minus one bytes", udp(func(c net.PacketConn) string { return a.request(c, "INVITE", "minus") + "Content-Length: -1\r\n\r\n" }), "400"},
		{"BYE of no call", udp(func(c net.PacketConn) string {
			return a.request(c, "BYE", "nobody", ";tag=x") + "Content-Length: 0\r\n\r\n"
		}), "481|nothing"}, // held for half a second, the INVITE may be late
		{"half an INVITE over TCP", func(*testing.T) string {
			c := a.udp()
			defer c.Close()
			whole := strings.Replace(a.request(c, "INVITE", "half"), "SIP/2.0/UDP", "SIP/2.0/TCP", 1)
			return a.overTCP([]byte(whole[:len(whole)/2]), true, true)
		}, "nothing|400"},
	}
}

// sdp is an offer with something in it exchanged.
func sdp(pairs ...string) string {
	return strings.NewReplacer(pairs...).Replace("v=0\r\no=x 1 1 IN IP4 127.0.0.2\r\ns=-\r\nc=IN IP4 127.0.0.2\r\nt=0 0\r\nm=audio 40404 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendrecv\r\n")
}

// offers are calls with SDP that cannot be used, or that has something in it that can be passed over.
func (a *attacker) offers() []attempt {
	row := func(name, body, want string) attempt {
		return attempt{"SDP: " + name, func(*testing.T) string { return a.offer("application/sdp", body, nil) }, want}
	}
	const taken, refused = "200, BYE 200", "400|488"
	return []attempt{
		row("as it should be", sdp(), taken),
		row("noise", "\x00\x01\x02\xff\xfe", refused),
		row("a poem", "An old silent pond\r\nA frog jumps into the pond\r\nSplash! Silence again\r\n", refused),
		row("cut off in a line", sdp()[:60], refused),
		row("no address", sdp("c=IN IP4 127.0.0.2\r\n", ""), refused),
		row("an address that is none", sdp("c=IN IP4 127.0.0.2", "c=IN IP4 999.1.1.1"), refused),
		row("a multicast address", sdp("c=IN IP4 127.0.0.2", "c=IN IP4 224.2.1.1/127/3"), refused),
		row("no audio", sdp("m=audio", "m=video"), refused),
		row("audio that is off", sdp("m=audio 40404", "m=audio 0"), refused),
		row("a port that cannot be", sdp("m=audio 40404", "m=audio 99999"), refused),
		row("a port below nought", sdp("m=audio 40404", "m=audio -4"), refused),
		row("no codec that we speak", sdp("RTP/AVP 8 101", "RTP/AVP 18", "rtpmap:8 PCMA/8000", "rtpmap:18 G729/8000"), refused),
		row("payload type 4,000", sdp("RTP/AVP 8 101", "RTP/AVP 4000"), refused),
		row("10,000 media", sdp()+strings.Repeat("m=video 9 RTP/AVP 31\r\n", 2500), refused+"|413|513"),
		row("ptime of nought", sdp("ptime:20", "ptime:0"), taken),
		row("ptime of a year", sdp("ptime:20", "ptime:31536000000"), taken),
		row("one payload type for two codecs", sdp("a=sendrecv", "a=rtpmap:8 PCMU/8000\r\na=sendrecv"), taken+"|"+refused),
		row("lines that nobody knows", sdp("a=sendrecv", "a="+strings.Repeat("x", 2000)+"\r\na=sendrecv"), taken),
		{"a body that is no SDP", func(*testing.T) string { return a.offer("application/json", "{}", nil) }, "415"},
	}
}

// packets are RTP and RTCP, to a call of ours that goes on hearing the hotline, and to nobody's ports.
func (a *attacker) packets() []attempt {
	rtp := func(pt byte, seq uint16, payload []byte) []byte {
		b := []byte{0x80, pt, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4}
		binary.BigEndian.PutUint16(b[2:], seq)
		binary.BigEndian.PutUint32(b[4:], uint32(seq)*160)
		return append(b, payload...)
	}
	voice := bytes.Repeat([]byte{0xd5}, 160)
	bad := map[string][]byte{
		"empty": {}, "one byte": {0x80}, "version 0": append([]byte{0}, rtp(8, 50, voice)[1:]...), "version 3": append([]byte{0xc0}, rtp(8, 51, voice)[1:]...),
		"15 sources and none there": append([]byte{0x8f}, rtp(8, 52, nil)[1:]...), "padding longer than all": append(append([]byte{0xa0}, rtp(8, 53, voice[:159])[1:]...), 255),
		"padding of nought": append(append([]byte{0xa0}, rtp(8, 54, voice[:159])[1:]...), 0), "an extension of 65,535 words": append([]byte{0x90}, append(rtp(8, 55, nil)[1:], 0xbe, 0xde, 0xff, 0xff)...),
		"a payload type nobody offered": rtp(77, 56, voice), "no voice in it": rtp(8, 57, nil), "65,000 bytes": rtp(8, 58, bytes.Repeat([]byte{1}, 65000)),
		"half an event": rtp(101, 59, []byte{1, 0x80}), "key 200": rtp(101, 60, []byte{200, 0x8a, 3, 0x20}), "STUN": append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...), "DTLS": {22, 254, 253, 0, 0},
	}
	rtcp := map[string][]byte{
		"empty": {}, "cut off": {0x80, 200, 0}, "longer than it is": {0x80, 200, 0xff, 0xff, 1, 2, 3, 4}, "31 reports and none there": {0x9f, 201, 0, 1, 1, 2, 3, 4}, "a name of 255 that is not there": {0x81, 202, 0, 2, 1, 2, 3, 4, 1, 255, 0, 0},
		"BYE with a reason that runs out": {0x81, 203, 0, 2, 1, 2, 3, 4, 250, 'x', 0, 0}, "of 1,500 bytes of noise": bytes.Repeat([]byte{0x81, 0xc9, 7}, 500),
	}
	run := func(from string, send func(to *net.UDPAddr, c net.PacketConn)) func(*testing.T) string {
		return func(*testing.T) string {
			mine, err := net.ListenPacket("udp4", hostile+":0")
			if err != nil {
				return err.Error()
			}
			defer mine.Close()
			heard := "nothing was heard afterwards"
			got := a.offer("application/sdp", sdp("40404", fmt.Sprint(mine.LocalAddr().(*net.UDPAddr).Port)), func(_ net.PacketConn, m *phonetest.Message) {
				host, port, _ := phonetest.SDPAddress(m.Body)
				to := &net.UDPAddr{IP: net.ParseIP(host), Port: port}
				for i := range 5 { // so that the hotline knows where we are
					_, _ = mine.WriteTo(rtp(8, uint16(i), voice), to)
				}
				source := mine
				if from == "a stranger" {
					if source, err = net.ListenPacket("udp4", hostile+":0"); err != nil {
						heard = err.Error()
						return
					}
					defer source.Close()
				}
				send(to, source)
				buf := make([]byte, 2000)
				until := time.Now().Add(3 * time.Second)
				for n := 0; n < 60; { // more than what may have been on its way before
					_ = mine.SetReadDeadline(until)
					if _, _, err := mine.ReadFrom(buf); err != nil {
						return
					}
					n++
				}
				heard = "the greeting goes on"
			})
			return got + ", " + heard
		}
	}
	const want = "200, BYE 200, the greeting goes on"
	all := func(list map[string][]byte, add int) func(*net.UDPAddr, net.PacketConn) {
		return func(to *net.UDPAddr, c net.PacketConn) {
			to = &net.UDPAddr{IP: to.IP, Port: to.Port + add}
			for _, b := range list {
				_, _ = c.WriteTo(b, to)
			}
		}
	}
	flood := func(to *net.UDPAddr, c net.PacketConn) {
		b := make([]byte, 300)
		for i := range 3000 {
			for j := range b {
				b[j] = byte(rand.Uint32())
			}
			if i%2 == 0 {
				b[0], b[1] = 0x80, 8
			}
			_, _ = c.WriteTo(b[:rand.IntN(len(b))], to)
		}
	}
	var table []attempt
	for _, who := range []string{"the caller", "a stranger"} {
		table = append(table,
			attempt{fmt.Sprintf("%d malformed RTP packets of %s", len(bad), who), run(who, all(bad, 0)), want},
			attempt{fmt.Sprintf("%d malformed RTCP packets of %s", len(rtcp), who), run(who, all(rtcp, 1)), want},
			attempt{"3,000 random packets of " + who, run(who, flood), want})
	}
	return table
}

// ask makes an HTTP request and gives status, type and body in one string.
func (a *attacker) ask(client *http.Client, method, path string, body io.Reader, headers ...string) string {
	req, err := http.NewRequest(method, a.h.URL()+path, body)
	if err != nil {
		return err.Error()
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	r, err := client.Do(req)
	if err != nil {
		return err.Error()
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s %s", r.StatusCode, r.Header.Get("Content-Type"), raw)
}

var still = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

// http is the API by which others audit us, and the server below it.
func (a *attacker) http() []attempt {
	token, err := a.h.MakeToken(a.t.Context(), "test", "auditor", time.Hour)
	if err != nil {
		a.t.Fatal(err)
	}
	get := func(path, want string, headers ...string) attempt {
		return attempt{"GET " + path[:min(len(path), 60)], func(*testing.T) string {
			return a.ask(still, http.MethodGet, path, nil, append([]string{"Authorization", "Bearer " + token}, headers...)...)
		}, want}
	}
	raw := func(name, text, want string) attempt {
		return attempt{name, func(*testing.T) string {
			conn, err := net.Dial("tcp", strings.TrimPrefix(a.h.URL(), "http://"))
			if err != nil {
				return err.Error()
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, text)
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			line, _ := bufio.NewReader(conn).ReadString('\n')
			return line
		}, want}
	}
	const problem = `400 application/problem\+json .*"detail":"[^"]{20,}.*`
	return []attempt{
		get("/api/v1/books", `200 application/json.*"balanced":true.*`),
		get("/api/v1/books?from=yesterday", problem),
		get("/api/v1/books?from=2026-11-24T00:00:00Z&to=2026-11-23T00:00:00Z", problem),
		get("/api/v1/books?line=a&line=b", problem),
		get("/api/v1/books?lime=a", problem),
		get("/api/v1/books?channel=pigeon", problem),
		get("/api/v1/contacts?limit=-1", problem),
		get("/api/v1/contacts?limit=99999999999999999999", problem),
		get("/api/v1/contacts?outcome=%00", problem),
		get("/api/v1/contacts?after=%ff%fe", `400 application/problem\+json.*`),
		get("/api/v1/contacts?%zz", problem),
		get("/api/v1/contacts/../../etc/passwd", `30\d .*|404 .*`),
		get("/api/v1/contacts/'%20OR%201=1", `404 application/problem\+json.*`),
		get("/api/v1/books", `401 application/problem\+json.*Bearer.*`, "Authorization", "Bearer nonsense"),
		get("/api/v1/books", `401 application/problem\+json.*`, "Authorization", "Basic YWRtaW46YWRtaW4="),
		get("/"+strings.Repeat("x", 5000), `414 .*地址太长了.*`),
		get("/nowhere", `404 .*`),
		get("/assets/../../secret", `30\d .*|404 .*`),
		raw("a verb that is none", "BREW / HTTP/1.1\r\nHost: x\r\n\r\n", `HTTP/1.1 (404|405).*`),
		raw("a version that is none", "GET / HTTP/9.9\r\nHost: x\r\n\r\n", `HTTP/1.1 505.*`),
		raw("no request at all", "\x16\x03\x01\x02\x00\r\n\r\n", `HTTP/1.1 400.*`),
		raw("headers of 200 kB", "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 200_000)+"\r\n\r\n", `HTTP/1.1 431.*`),
		raw("two lengths", "POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", `HTTP/1.1 400.*`),
		raw("length and chunks", "POST /sign-in HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: cow\r\n\r\nabc", `HTTP/1.1 (400|501).*`),
	}
}

// forms are what browsers send.
func (a *attacker) forms() []attempt {
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar, CheckRedirect: still.CheckRedirect}
	csrf := func(path string) string {
		found := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(a.ask(client, http.MethodGet, path, nil))
		if found == nil {
			a.t.Fatalf("no form at %s", path)
		}
		return found[1]
	}
	const form = "application/x-www-form-urlencoded"
	post := func(c *http.Client, path, body string, headers ...string) string {
		return a.ask(c, http.MethodPost, path, strings.NewReader(body), append([]string{"Content-Type", form}, headers...)...)
	}
	if got := post(client, "/sign-in", url.Values{"csrf": {csrf("/sign-in")}, "login": {"admin2"}, "password": {"a-long-test-password"}}.Encode()); !strings.HasPrefix(got, "303 ") {
		a.t.Fatalf("signing in: %.300s", got)
	}
	line := func(change ...string) func(*testing.T) string {
		return func(*testing.T) string {
			v := url.Values{"csrf": {csrf("/new/line")}, "id": {"mean"}, "name": {"x"}, "number": {"1"}, "numbers": {"1"}, "hours": {"24h"}, "switchboard": {"main"}}
			for i := 0; i+1 < len(change); i += 2 {
				v.Set(change[i], change[i+1])
			}
			return post(client, "/new/line", v.Encode())
		}
	}
	return []attempt{
		{"sign-in without its token", func(*testing.T) string { return post(still, "/sign-in", "login=admin2&password=x") }, `403 text/html.*`},
		{"sign-in from another site", func(*testing.T) string {
			return post(still, "/sign-in", "login=admin2&password=x", "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site")
		}, `403 text/html.*别的网站.*`},
		{"a form that cannot be decoded", func(*testing.T) string { return post(client, "/new/line", "csrf=%zz&id=%") }, `4\d\d text/html.*`},
		{"a form without its token", func(*testing.T) string { return post(client, "/new/line", "id=mean") }, `403 text/html.*请再试一次.*`},
		{"a form of 200 kB", func(*testing.T) string { return post(client, "/new/line", "name="+strings.Repeat("x", 200_000)) }, `413 text/html.*写得太长了.*`},
		{"a form in JSON", func(*testing.T) string {
			return a.ask(client, http.MethodPost, "/new/line", strings.NewReader(`{"id":"mean"}`), "Content-Type", "application/json")
		}, `4\d\d text/html.*`},
		{"a line with hours that are none", line("hours", "Monday to someday"), `422 text/html.*`},
		{"a line with a name of markup", func(t *testing.T) string {
			got := line("name", `<script>alert(1)</script>`, "hours", "x")(t)
			return fmt.Sprintf("%.13s, as markup: %v, as words: %v", got, strings.Contains(got, "<script>alert"), strings.Contains(got, "&lt;script&gt;alert"))
		}, `422 text/html, as markup: false, as words: true`},
		{"a line that waits for ever and a day", line("max_wait", "99999999"), `422 text/html.*`},
		{"a line whose key has a slash", line("id", "../../etc"), `422 text/html.*`},
		{"a case of a contact that is not there", func(*testing.T) string {
			return post(client, "/contacts/nobody/case", url.Values{"csrf": {csrf("/new/line")}, "words": {"x"}}.Encode())
		}, `40[34] text/html.*`},
		{"a user with a role that is none", func(*testing.T) string {
			return post(client, "/users", url.Values{"csrf": {csrf("/new/line")}, "login": {"mean"}, "name": {"x"}, "role": {"king"}}.Encode())
		}, `422 text/html.*`},
	}
}

// submissions are what apps hand in as JSON.
func (a *attacker) submissions() []attempt {
	token, _, err := a.h.MakeAppToken(a.t.Context(), "mean", time.Hour, app.AppKey{PerMinute: 10_000})
	if err != nil {
		a.t.Fatal(err)
	}
	send := func(name, body, want string) attempt {
		return attempt{"a submission: " + name, func(*testing.T) string {
			a.n++
			return a.ask(still, http.MethodPost, "/api/v1/submissions", strings.NewReader(body), "Content-Type", "application/json", "Authorization", "Bearer "+token, "Idempotency-Key", fmt.Sprint("mean-", a.n))
		}, want}
	}
	const problem = `4\d\d application/problem\+json .*"detail":"[^"]{15,}.*`
	return []attempt{
		send("as it should be", `{"text":"路灯不亮","phone":"13800000001"}`, `201 application/json.*"receipt".*`),
		send("cut off", `{"text":"路灯`, problem),
		send("nothing", ``, problem),
		send("a list", `[1,2,3]`, problem),
		send("a number for words", `{"text":7}`, problem),
		send("no words at all", `{"text":""}`, problem),
		send("a place beyond the pole", `{"text":"x","position":{"lat":91,"lon":0}}`, problem),
		send("a category that is none", `{"text":"x","category":"\u0000"}`, problem),
		send("10,000 deep", strings.Repeat(`{"a":`, 10_000)+"1"+strings.Repeat("}", 10_000), problem),
		send("a megabyte", `{"text":"`+strings.Repeat("x", 1<<20)+`"}`, problem),
		send("not UTF-8", "{\"text\":\"\xff\xfe\"}", problem),
	}
}

// files are what an office reads in: the registry of grids, the history of another system, the rules, the configuration.
func (a *attacker) files(rules, good string) []attempt {
	grids := func(name, body string) func(*testing.T) string {
		return func(t *testing.T) string {
			var said strings.Builder
			err := a.h.ImportGrids(t.Context(), []string{write(t, name, body)}, false, &said)
			if err == nil || !errors.Is(err, app.ErrRefusedRows) {
				return fmt.Sprint("no refusal: ", err)
			}
			return said.String()
		}
	}
	const head = "编码,名称,上级,网格员,电话,户数\n320599,青溪区,,,,\n"
	events := func(body string) func(*testing.T) string {
		return func(t *testing.T) string {
			var said strings.Builder
			r, err := a.h.ImportEvents(t.Context(), strings.NewReader(body), func(line int, what string) { fmt.Fprintf(&said, "line %d: %s\n", line, what) })
			return fmt.Sprintf("%s%d taken, %d refused, %v", said.String(), r.Taken, r.Refused, err)
		}
	}
	load := func(body string) func(*testing.T) string {
		return func(t *testing.T) string {
			_, err := app.Load(write(t, "yingda.yaml", body), nil, nil)
			return fmt.Sprint(err)
		}
	}
	complaints := func() int { return strings.Count(a.h.logs.String(), "the file of rules cannot be used") }
	return []attempt{
		{"CSV: a row without a name, one of letters", grids("g.csv", head+"320599001,,,,,\nabc,x,,,,\n"), `(?s).*第 3 行.*没有名称.*第 4 行.*数字以外.*`},
		{"CSV: quotes that do not close", grids("g.csv", head+"\"320599001,梅溪\n"), `.*引号不成对.*`},
		{"CSV: noise", grids("g.csv", "\xff\xfe\xff\x00\x80\x81"), `.+`},
		{"CSV: empty", grids("g.csv", ""), `.*文件是空的.*`},
		{"GeoJSON: cut off", grids("g.geojson", `{"type":"FeatureCollection","features":[{"type"`), `.+`},
		{"GeoJSON: a border that is none", grids("g.geojson", `{"type":"FeatureCollection","features":[{"type":"Feature","properties":{"code":"32059900100101"},"geometry":{"type":"Polygon","coordinates":[[[1e400,0],[1,1]]]}}]}`), `.+`},
		{"GeoJSON: nested 10,000 deep", grids("g.geojson", strings.Repeat(`{"a":`, 10_000)+"1"+strings.Repeat("}", 10_000)), `.+`},
		{"CloudEvents: nine kinds of wrong", events("{\n[]\nnull\n7\n\"x\"\n{}\n" + strings.Replace(strings.SplitN(old(7, "2026-10-01T01:00:00Z", "051255501111"), "\n", 2)[0], "1.0", "7.0", 1) + "\n\xff\n" + strings.Repeat("[", 100_000)), `line 1: .*line 2: .*line 9: .*0 taken, 9 refused, <nil>`},
		{"YAML: the rules, wrong, while it runs", func(t *testing.T) string {
			before := complaints()
			if err := os.WriteFile(rules, []byte(good+"\nnonsense: [\n"), 0o600); err != nil {
				return err.Error()
			}
			waitFor(t, "a complaint about the rules", 10*time.Second, func() bool { return complaints() > before })
			if err := os.WriteFile(rules, []byte(good), 0o600); err != nil {
				return err.Error()
			}
			return grep(a.h.logs.String(), "the file of rules cannot be used")
		}, `.*rules\.yaml.*`},
		{"YAML: the configuration, a key that is none", load("http:\n  lisen: x\n"), `.*yingda\.yaml:2: http\.lisen is no setting; did you mean http\.listen\?.*`},
		{"YAML: the configuration, no YAML", load("http: [\n"), `.*not YAML.*`},
		{"YAML: the configuration, a bomb of aliases", load("a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c,*c,*c,*c]\n"), `.*write the value out.*`},
		{"a second program on the same folder", func(t *testing.T) string {
			o := tell(t, a.h.Config.Data, "serve", "--http", "127.0.0.1:0", "--sip", "127.0.0.1:0")
			return fmt.Sprintf("%d %s", o.code, strings.Join(slices.Collect(strings.Lines(o.errs)), " "))
		}, `1 .*another yingda serves from this folder.*--data.*`},
	}
}
