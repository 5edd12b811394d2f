package phonetest

import (
	"bufio"
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"yingda/telephony/sound"
)

// Our formulas and the server's tables were written apart from each other.
func TestG711(t *testing.T) {
	for i := range 256 {
		c := byte(i)
		if a, b := fromA(c), sound.ALaw[c]; a != b {
			t.Errorf("A-law %02x is %d here, %d there", c, a, b)
		}
		if a, b := fromU(c), sound.ULaw[c]; a != b {
			t.Errorf("µ-law %02x is %d here, %d there", c, a, b)
		}
	}
	for v := -32768; v < 32768; v++ {
		if d := int(fromA(toA(int16(v)))) - v; d > 512 || d < -512 || d > 16+abs(v)/16 || d < -16-abs(v)/16 {
			t.Fatalf("A-law of %d is off by %d", v, d)
		}
		if d := int(fromU(toU(int16(v)))) - v; d > 644 || d < -644 || d > 16+abs(v)/16 || d < -16-abs(v)/16 {
			t.Fatalf("µ-law of %d is off by %d", v, d)
		}
	}
}

func abs(v int) int { return max(v, -v) }

func TestSDP(t *testing.T) {
	test := func(sdp string, want media) {
		t.Helper()
		if got := parseSDP([]byte(strings.ReplaceAll(sdp, "|", "\r\n"))); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s\n got %v\nwant %v", sdp, got, want)
		}
	}
	test("v=0|c=IN IP4 192.0.2.1|m=audio 4000 RTP/AVP 9 8 96|a=rtpmap:96 telephone-event/8000|a=sendonly|", media{"192.0.2.1", 4000, []int{9, 8, 96}, 96, "sendonly"})
	test("v=0|c=IN IP4 192.0.2.1|m=audio 4000 RTP/AVP 0|c=IN IP4 192.0.2.2|m=video 5000 RTP/AVP 99|c=IN IP4 192.0.2.3|a=inactive|", media{"192.0.2.2", 4000, []int{0}, -1, "sendrecv"})
	test("v=0|m=audio 4000 RTP/AVP 0|", media{"", 0, []int{0}, -1, "sendrecv"})
	test("v=0|c=IN IP4 192.0.2.1|m=audio 70000 RTP/AVP 0|", media{"192.0.2.1", 0, []int{0}, -1, "sendrecv"})
	for _, l := range strings.Split("sendrecv sendrecv sendrecv|sendonly sendrecv recvonly|recvonly sendrecv sendonly|inactive sendrecv inactive|sendrecv sendonly sendonly|sendonly sendonly inactive|recvonly sendonly sendonly", "|") {
		if w := strings.Fields(l); mirror(w[0], w[1]) != w[2] {
			t.Errorf("%s answered by one who wants %s: %s, want %s", w[0], w[1], mirror(w[0], w[1]), w[2])
		}
	}
}

func TestTally(t *testing.T) {
	var c tally
	test := func(ssrc uint32, seqs []uint16, received, lost, sources int) {
		t.Helper()
		for _, s := range seqs {
			c.count(packet{ssrc: ssrc, seq: s})
		}
		if c.all() != received || c.missing() != lost || c.sources != sources {
			t.Errorf("received %d lost %d sources %d, want %d %d %d", c.all(), c.missing(), c.sources, received, lost, sources)
		}
	}
	test(0, nil, 0, 0, 0)
	test(7, []uint16{65533, 65534, 1}, 3, 2, 1)
	test(7, []uint16{0}, 4, 1, 1)     // late
	test(7, []uint16{65532}, 5, 1, 1) // before the first
	test(8, []uint16{500, 502}, 7, 2, 2)
	test(8, []uint16{40000}, 8, 2, 2) // begins anew
}

var seeds = []string{
	"INVITE sip:1@127.0.0.1 SIP/2.0\r\nv: SIP/2.0/UDP 127.0.0.1:5060;branch=z9hG4bK1;rport\r\nf: \"A\" <sip:a@b>;tag=1\r\nt: <sip:1@b>\r\ni: x\r\nCSeq: 1 INVITE\r\nSubject: one\r\n two\r\nContent-Length: 4\r\n\r\nv=0\n\n\n",
	"SIP/2.0 200 OK\r\nVia: x\r\nContent-Length: -1\r\n\r\nabc",
	"SIP/2.0 \r\n\r\n", "\r\n\r\n", "A\r\n:\r\n\r\n", "SIP/2.0 200", "",
}

func TestParse(t *testing.T) {
	m, err := ParseMessage([]byte(seeds[0]))
	if err != nil || m.Branch() != "z9hG4bK1" || m.Tag("From") != "1" || m.Get("Call-ID") != "x" || m.Seq() != 1 || m.Method() != "INVITE" || m.Get("Subject") != "one two" || string(m.Body) != "v=0\n" {
		t.Fatalf("%+v %v", m, err)
	}
	if m, err = ParseMessage(m.Bytes()); err != nil || m.Get("Subject") != "one two" || m.Get("Content-Length") != "4" {
		t.Fatalf("%+v %v", m, err)
	}
}

func FuzzMessage(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := ParseMessage(b); err == nil {
			_ = fmt.Sprint(m.Status(), m.Method(), m.URI(), m.Seq(), m.Branch(), m.Tag("To"), Bare(m.Get("Contact")))
			_ = m.Response(200, "OK", "t").Bytes()
			if _, err := ParseMessage(m.Bytes()); err != nil {
				t.Fatalf("what we write we cannot read: %q", m.Bytes())
			}
			parseSDP(m.Body)
			Digest(m.All("WWW-Authenticate"), "u", "p", "REGISTER", "sip:x")
		}
		_, _ = ReadMessage(bufio.NewReader(bytes.NewReader(b)))
		d := parseSDP(b)
		if d.port < 0 || d.port > 65535 {
			t.Fatal(d.port)
		}
		Digest([]string{"Digest " + string(b)}, "u", "p", "REGISTER", "sip:x")
	})
}

func FuzzRTP(f *testing.F) {
	f.Add([]byte("\x80\x08\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\xd5\xd5"))
	f.Add([]byte("\xbf\x65\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x01\x8a\x03\x20"))
	f.Add([]byte("\x90\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x03\x00\x00\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		a := &Audio{p: &Phone{cfg: Config{Keep: time.Millisecond}}}
		if p, ok := parseRTP(b); ok {
			if len(p.body) > len(b)-12 {
				t.Fatal(len(p.body))
			}
			a.hear(p)
		}
	})
}
