package app

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"
)

// Calls that came while nobody read the sockets, as they do when another machine's role is taken over, are answered like any other.
func TestCallsThatWaited(t *testing.T) {
	c := Default()
	c.Data = t.TempDir()
	c.HTTP.Listen, c.SIP.UDP, c.SIP.TCP = "127.0.0.1:0", "127.0.0.1:0", ""
	c.Media.PortMin, c.Media.PortMax = 50000, 59999
	c.Stream.Ballast = -1
	phones, err := openSockets(c.SIP)
	if err != nil {
		t.Fatal(err)
	}
	defer phones.Close()
	caller, err := net.Dial("udp", phones.udp.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	here := caller.LocalAddr().String()
	const calls = 40
	for i := range calls {
		sdp := "v=0\r\no=c 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8\r\n"
		_, err := fmt.Fprintf(caller, "INVITE sip:12345@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP %s;branch=z9hG4bKw%d\r\nMax-Forwards: 70\r\nFrom: <sip:051255501%03d@127.0.0.1>;tag=t%d\r\nTo: <sip:12345@127.0.0.1>\r\n"+
			"Call-ID: waited-%d@test\r\nCSeq: 1 INVITE\r\nContact: <sip:c@%s>\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", here, i, i, i, i, here, len(sdp), sdp)
		if err != nil {
			t.Fatal(err)
		}
	}
	a, err := Start(t.Context(), c, Options{Logger: slog.New(slog.DiscardHandler), Phones: phones})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Error(err)
		}
	}()
	heard := map[string]bool{}
	buf := make([]byte, 65536)
	for len(heard) < calls {
		if err := caller.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := caller.Read(buf)
		if err != nil {
			t.Fatalf("%d of %d calls were heard: %v", len(heard), calls, err)
		}
		text := string(buf[:n])
		if !strings.HasPrefix(text, "SIP/2.0 18") && !strings.HasPrefix(text, "SIP/2.0 200") {
			continue
		}
		for line := range strings.Lines(text) {
			if id, ok := strings.CutPrefix(line, "Call-ID: "); ok {
				heard[strings.TrimSpace(id)] = true
			}
		}
	}
}
