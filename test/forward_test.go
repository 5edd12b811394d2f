package test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"yingda/intake"
	"yingda/telephony"
	"yingda/telephony/sip"
)

// noSound is a media plane without packets: what is tried here is the way of the signalling.
type noSound struct{ port atomic.Uint32 }

type noLeg struct{ rtp netip.AddrPort }

func (s *noSound) NewLeg(telephony.LegID) (sip.MediaLeg, error) {
	return noLeg{netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(20000+s.port.Add(2)%40000))}, nil
}
func (*noSound) Bridge(_, _ sip.MediaLeg) error { return nil }
func (*noSound) Unbridge(_, _ sip.MediaLeg)     {}
func (*noSound) Record(intake.RecordingID, intake.ContactID, sip.MediaLeg, sip.MediaLeg) error {
	return nil
}
func (*noSound) StopRecord(intake.RecordingID) {}
func (*noSound) Overloaded() bool              { return false }

func (l noLeg) Local() (rtp, rtcp netip.AddrPort) {
	return l.rtp, netip.AddrPortFrom(l.rtp.Addr(), l.rtp.Port()+1)
}
func (noLeg) SetRemote(sip.MediaRemote)                          {}
func (noLeg) Play(telephony.PlayID, []string, string, bool, int) {}
func (noLeg) Stop()                                              {}
func (noLeg) Digit(string)                                       {}
func (noLeg) Close()                                             {}

// twoNodes is two SIP edges in this process: the first has the switchboard, takes every call and counts; the second sends on. Others are at 127.0.0.1.
type twoNodes struct {
	t           *testing.T
	owner, node *sip.Server
	taken       atomic.Int64 // calls that the owner took
	ended       atomic.Int64
	strayed     atomic.Int64 // whatever the other node reported
}

func newTwoNodes(t *testing.T, forward bool) *twoNodes {
	n := &twoNodes{t: t}
	listen := func(self, other string, elsewhere func() (sip.Elsewhere, bool), report func(telephony.Input)) *sip.Server {
		s, err := sip.Listen(context.Background(), sip.Config{UDP: self + ":0", TCP: self + ":0", Media: &noSound{}, Report: report, Logger: slog.New(slog.DiscardHandler),
			Trunks: []sip.Trunk{{Name: "sipp", Addresses: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, Forward: forward}},
			Peers:  []netip.Prefix{netip.MustParsePrefix(other + "/32")}, Elsewhere: elsewhere,
			Lines: func(called, _ string) (intake.LineID, bool) { return intake.LineID(called), true }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
	there := make(chan struct{}) // the owner is known here before it does anything
	n.owner = listen("127.0.2.1", "127.0.2.2", func() (sip.Elsewhere, bool) { return sip.Elsewhere{}, false }, func(in telephony.Input) {
		<-there
		switch in := in.(type) {
		case telephony.Invited:
			n.owner.Do(telephony.Ring{Leg: in.Leg}, telephony.Accept{Leg: in.Leg})
		case telephony.Accepted:
			n.taken.Add(1)
		case telephony.Ended:
			n.ended.Add(1)
		}
	})
	close(there)
	at, _ := n.owner.Addr()
	n.node = listen("127.0.2.2", "127.0.2.1", func() (sip.Elsewhere, bool) { return sip.Elsewhere{Address: at, Transport: "udp"}, true },
		func(telephony.Input) { n.strayed.Add(1) })
	return n
}

// calls runs a scenario against the node that has not the switchboard.
func (n *twoNodes) calls(scenario string, count, rate int, args ...string) {
	n.t.Helper()
	abs, err := filepath.Abs(filepath.Join("sipp", scenario+".xml"))
	if err != nil {
		n.t.Fatal(err)
	}
	inf := filepath.Join(n.t.TempDir(), "fields.csv")
	if err := os.WriteFile(inf, []byte("SEQUENTIAL\n051255501234\n"), 0o600); err != nil {
		n.t.Fatal(err)
	}
	udp, _ := n.node.Addr()
	all := append([]string{"-sf", abs, "-inf", inf, "-i", "127.0.0.1", "-p", freePort(n.t), "-s", "12345", "-m", fmt.Sprint(count), "-r", fmt.Sprint(rate), "-d", "300", "-nostdin", "-aa",
		"-timeout", "60s", "-timeout_error", "-trace_err", "-error_file", "/dev/stderr"}, args...)
	if len(args) == 0 {
		all = append(all, udp.String())
	}
	run(n.t, "sipp", all...).wait(n.t, 70*time.Second)
}

func (n *twoNodes) want(taken int64) {
	n.t.Helper()
	waitFor(n.t, fmt.Sprintf("%d calls ended", taken), 40*time.Second, func() bool { return n.ended.Load() == taken })
	if n.taken.Load() != taken || n.strayed.Load() != 0 {
		n.t.Fatalf("%d calls taken, want %d; the other node reported %d", n.taken.Load(), taken, n.strayed.Load())
	}
}

// A carrier's exchange, played by sipp, calls a node that has not the switchboard: forwarded by UDP and by TCP, with and without its Record-Route.
func TestForwardedCalls(t *testing.T) {
	n := newTwoNodes(t, true)
	n.calls("forwarded", 200, 100)
	n.want(200)
	n.calls("call", 200, 100) // this one knows no Route
	n.want(400)
	_, tcp := n.node.Addr()
	n.calls("forwarded", 50, 50, "-t", "t1", tcp.String())
	n.want(450)
}

// The same exchange, when it follows a redirection: told once, nothing of the call stays.
func TestRedirectedCalls(t *testing.T) {
	n := newTwoNodes(t, false)
	n.calls("redirected", 100, 100)
	n.want(0)
}
