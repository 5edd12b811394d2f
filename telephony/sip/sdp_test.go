package sip

import (
	"bytes"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func readFile(name string) []byte {
	data, err := os.ReadFile(filepath.Join("testdata", "torture", name+".dat"))
	if err != nil {
		panic(err)
	}
	return data
}

func TestSDP(t *testing.T) {
	base := "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
	for _, c := range []struct {
		name, sdp string
		codecs    []string
		codec     string
		payload   int
		event     int
		err       error
	}{
		{"our order wins", base + "m=audio 4000 RTP/AVP 0 8\r\n", []string{"PCMA", "PCMU"}, "PCMA", 8, -1, nil},
		{"their number", base + "m=audio 4000 RTP/AVP 97 96\r\na=rtpmap:97 pcma/8000\r\na=rtpmap:96 telephone-event/8000\r\n", []string{"PCMA"}, "PCMA", 97, 96, nil},
		{"G722 where it is wanted", base + "m=audio 4000 RTP/AVP 8 9\r\n", []string{"G722", "PCMA"}, "G722", 9, -1, nil},
		{"one channel said", base + "m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000/1\r\n", []string{"PCMA"}, "PCMA", 8, -1, nil},
		{"a static number that means something else", base + "m=audio 4000 RTP/AVP 8\r\na=rtpmap:8 L16/8000\r\n", []string{"PCMA"}, "", 0, 0, errNoCodec},
		{"second section", base + "m=video 0 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 8\r\n", []string{"PCMA"}, "PCMA", 8, -1, nil},
		{"encrypted only", base + "m=audio 4000 RTP/SAVP 8\r\n", []string{"PCMA"}, "", 0, 0, errNoAudio},
		{"refused", base + "m=audio 0 RTP/AVP 8\r\n", []string{"PCMA"}, "", 0, 0, errNoAudio},
		{"none", base, []string{"PCMA"}, "", 0, 0, errNoAudio},
		{"lines with LF only", strings.ReplaceAll(base+"m=audio 4000 RTP/AVP 8\r\n", "\r", ""), []string{"PCMA"}, "PCMA", 8, -1, nil},
		{"a name for an address", strings.Replace(base, "c=IN IP4 192.0.2.1", "c=IN IP4 evil.example", 1) + "m=audio 4000 RTP/AVP 8\r\n", []string{"PCMA"}, "", 0, 0, errSDP},
		{"multicast", strings.Replace(base, "c=IN IP4 192.0.2.1", "c=IN IP4 224.2.0.1/127", 1) + "m=audio 4000 RTP/AVP 8\r\n", []string{"PCMA"}, "", 0, 0, errSDP},
		{"port too large", base + "m=audio 70000 RTP/AVP 8\r\n", []string{"PCMA"}, "", 0, 0, errSDP},
		{"no version", strings.TrimPrefix(base, "v=0\r\n") + "m=audio 4000 RTP/AVP 8\r\n", []string{"PCMA"}, "", 0, 0, errSDP},
		{"nine sections", base + strings.Repeat("m=audio 4000 RTP/AVP 8\r\n", 9), []string{"PCMA"}, "", 0, 0, errTooLarge},
		{"too long", base + strings.Repeat("a=x\r\n", 4000), []string{"PCMA"}, "", 0, 0, errTooLarge},
	} {
		var a agreed
		s, err := parseSDP([]byte(c.sdp))
		if err == nil {
			a, err = s.choose(c.codecs)
		}
		if err != c.err || a.codec != c.codec || a.payload != c.payload || err == nil && a.event != c.event {
			t.Errorf("%s: %+v %v", c.name, a, err)
		}
	}
}

// toMedia and the answer's direction, for each offer.
func TestDirections(t *testing.T) {
	for _, c := range []struct {
		dir, addr, answer string
		send, receive     bool
	}{
		{"sendrecv", "192.0.2.1", "sendrecv", true, true},
		{"sendonly", "192.0.2.1", "recvonly", false, true},
		{"recvonly", "192.0.2.1", "sendonly", true, false},
		{"inactive", "192.0.2.1", "inactive", false, false},
		{"sendrecv", "0.0.0.0", "recvonly", false, true},
	} {
		s, err := parseSDP([]byte("v=0\r\nc=IN IP4 " + c.addr + "\r\nm=audio 4000 RTP/AVP 8\r\na=ptime:30\r\na=rtcp:4055\r\na=" + c.dir + "\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.choose([]string{"PCMA"})
		if err != nil {
			t.Fatal(err)
		}
		m := a.toMedia(true, 101)
		if got := answering(a.remote).String(); got != c.answer || m.Send != c.send || m.Receive != c.receive || m.PTime != 30*time.Millisecond || m.RTCP.Port() != 4055 {
			t.Errorf("%+v: %s %+v", c, got, m)
		}
	}
}

// The version grows when the words change, and only then.
func TestVersion(t *testing.T) {
	l := local{id: 7, rtp: netip.MustParseAddrPort("127.0.0.1:4000"), rtcp: netip.MustParseAddrPort("127.0.0.1:4001")}
	a := l.offer([]string{"PCMA", "PCMU"}, nil, direction{true, true})
	b := l.offer([]string{"PCMA", "PCMU"}, nil, direction{true, true})
	c := l.offer([]string{"PCMA", "PCMU"}, nil, direction{false, true})
	if !bytes.Equal(a, b) || !bytes.Contains(a, []byte("o=yingda 7 1 ")) || !bytes.Contains(c, []byte("o=yingda 7 2 ")) {
		t.Fatalf("%s\n%s\n%s", a, b, c)
	}
}

func TestMultipart(t *testing.T) {
	body := "--b1\r\nContent-Type: application/isup\r\n\r\nxx\r\n--b1\r\nContent-Type: application/sdp\r\n\r\n" + someSDP + "\r\n--b1--\r\n"
	if got := bodySDP(`multipart/mixed; boundary="b1"`, []byte(body)); string(got) != someSDP {
		t.Fatalf("%q", got)
	}
	if got := bodySDP("text/plain", []byte(body)); got != nil {
		t.Fatalf("%q", got)
	}
}

// A description that is read gives an answer and an offer that can be read again, and agree with it.
func FuzzSDP(f *testing.F) {
	f.Add([]byte(someSDP))
	f.Add([]byte(someSDP + "m=video 4002 RTP/AVP 31\r\na=inactive\r\na=rtcp:9 IN IP4 192.0.2.9\r\n"))
	f.Add([]byte("v=0\r\nc=IN IP6 2001:db8::1\r\nm=audio 4000 RTP/AVP 9 8\r\na=ptime:60\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseSDP(data)
		if err != nil {
			return
		}
		a, err := s.choose([]string{"G722", "PCMA", "PCMU"})
		if err != nil {
			return
		}
		l := local{id: 1, rtp: netip.MustParseAddrPort("127.0.0.1:4000"), rtcp: netip.MustParseAddrPort("127.0.0.1:4001")}
		for _, out := range [][]byte{l.answer(s, a, answering(a.remote)), l.offer([]string{"PCMA", "PCMU"}, &a, direction{true, true})} {
			back, err := parseSDP(out)
			if err != nil || len(back.sections) != len(s.sections) {
				t.Fatalf("%v: %q from %q", err, out, data)
			}
			b, err := back.choose([]string{a.codec})
			if err != nil || b.index != a.index || b.payload != a.payload {
				t.Fatalf("%+v %v: %q from %q", b, err, out, data)
			}
		}
		_ = a.toMedia(false, a.event)
	})
}
