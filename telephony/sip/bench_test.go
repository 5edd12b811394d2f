package sip

import (
	"fmt"
	"net/netip"
	"testing"

	"yingda/telephony/phonetest"
)

// One message through the guard: taken apart, judged, written plainly, read by sipgo once.
func BenchmarkGuard(b *testing.B) {
	g := &guard{cfg: Config{Trunks: []Trunk{{Name: "x", Addresses: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}}}}.withDefaults(),
		phone: func(netip.Addr) bool { return false }, sources: map[netip.Addr]*bucket{}}
	g.cfg.Limits.PerTrunk = 1e12
	m := &phonetest.Message{Start: "INVITE sip:12345@198.51.100.1 SIP/2.0"}
	m.Add("Via", "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKabc;rport").Add("Max-Forwards", "70").Add("From", "<sip:051255500002@192.0.2.7>;tag=peer").
		Add("To", "<sip:12345@198.51.100.1>").Add("Call-ID", "abc").Add("CSeq", "1 INVITE").Add("Contact", "<sip:1@192.0.2.1>").Add("Content-Type", "application/sdp")
	m.Body = []byte(someSDP)
	data := m.Bytes()
	b.ReportAllocs()
	for b.Loop() {
		if v := g.look(data, netip.MustParseAddrPort("192.0.2.1:5060"), false); v.pass == nil {
			b.Fatal("refused")
		}
	}
}

// Calls from INVITE to the 200 of the BYE, one after the other, over UDP on loopback, both ends in this process.
func BenchmarkCall(b *testing.B) {
	e := newEdge(b, nil)
	e.react(answerAll)
	p, err := phonetest.New(phonetest.Config{Server: e.addr, User: "1", NoAudio: true})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	go func() {
		for range e.inputs {
		}
	}()
	for b.Loop() {
		c, err := p.Call("12345")
		if err != nil {
			b.Fatal(err)
		}
		select {
		case <-c.Answered():
		case <-c.Ended():
			b.Fatal(fmt.Sprint("ended with ", c.Status()))
		}
		c.Hangup()
	}
}
