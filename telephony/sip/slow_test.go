package sip

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// The worst that somebody can send cost the one reader no more than a few milliseconds: nothing in the guard grows with the
// square of what came.
func TestGuardIsLinear(t *testing.T) {
	g := &guard{cfg: Config{Trunks: []Trunk{{Name: "x", Addresses: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}}.withDefaults(),
		phone: func(netip.Addr) bool { return false }, sources: map[netip.Addr]*bucket{}}
	g.cfg.Limits.PerTrunk = 1e12
	head := "INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n"
	for _, size := range []int{maxHeaders, maxMessage} {
		fill := func(s string) string { return strings.Repeat(s, (size-500)/len(s)) }
		for name, message := range map[string]string{
			"continuation lines":  head + "Subject: a\r\n" + fill(" a\r\n") + "\r\n",
			"folded Via":          strings.Replace(head, "\r\nFrom", "\r\n"+fill(" ;a=b\r\n")+"From", 1) + "\r\n",
			"Via values":          strings.Replace(head, "\r\nFrom", fill(",SIP/2.0/UDP a;b=c")+"\r\nFrom", 1) + "\r\n",
			"Contacts":            head + "Contact: <sip:a@b>" + fill(",<sip:a@b>") + "\r\n\r\n",
			"Contact parameters":  head + "Contact: <sip:a@b>" + fill(";a=b") + "\r\n\r\n",
			"From parameters":     strings.Replace(head, ";tag=1", fill(";a")+";tag=1", 1) + "\r\n",
			"routes":              head + "Record-Route: <sip:a@b>" + fill(",<sip:a@b>") + "\r\n\r\n",
			"quotes":              strings.Replace(head, "From: ", "From: "+fill(`"`), 1) + "\r\n",
			"backslashes":         strings.Replace(head, "From: ", `From: "`+fill(`\"`)+`" `, 1) + "\r\n",
			"brackets":            strings.Replace(head, "From: ", "From: "+fill("<"), 1) + "\r\n",
			"commas":              head + "Contact: " + fill(",") + "\r\n\r\n",
			"colons in the URI":   "INVITE sip:" + fill("a:") + "@b SIP/2.0" + head[len("INVITE sip:a@b SIP/2.0"):] + "\r\n",
			"headers":             head + fill("a:b\r\n") + "\r\n",
			"Requires":            head + "Require: " + fill("a,") + "\r\n\r\n",
			"empty lines":         fill("\r\n") + head + "\r\n",
			"spaces":              head + "Subject:" + fill(" ") + "\r\n\r\n",
			"sections of the SDP": head + "Content-Type: application/sdp\r\n\r\n" + fill("m=audio 1 RTP/AVP 8\r\n"),
		} {
			best := time.Hour
			for range 3 { // the fastest of three, since other tests run beside it
				begin := time.Now()
				g.look([]byte(message), netip.MustParseAddrPort("192.0.2.1:5060"), false)
				best = min(best, time.Since(begin))
			}
			t.Logf("%-22s %v", name, best)
			if best > 400*time.Millisecond { // what grows with the square of the length takes seconds under the race detector
				t.Errorf("%s: %v for %d bytes", name, best, len(message))
			}
		}
	}
}
