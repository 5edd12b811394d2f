package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strconv"
	"testing"
	"time"

	"yingda/telephony"
	"yingda/telephony/sound"
)

// talk lets one phone say packets, 20 ms apart.
func talk(b *lab, p *phone, packets [][]byte) {
	for _, payload := range packets {
		p.say(payload)
		b.run(20 * time.Millisecond)
	}
}

func bridged(t testing.TB, a, o Codec) (*lab, *phone, *phone) {
	b := newLab(t, Config{})
	x, y := b.phone("a", a), b.phone("b", o)
	b.plane.Bridge("a", "b")
	b.run(time.Millisecond)
	return b, x, y
}

func TestRelayIsBitExact(t *testing.T) {
	for _, codec := range []Codec{PCMA, PCMU, G722} {
		b, x, y := bridged(t, codec, codec)
		var want [][]byte
		for i := range 60 {
			payload := make([]byte, frameSamples)
			for j := range payload {
				payload[j] = byte(i*7 + j)
			}
			want = append(want, payload)
		}
		talk(b, x, want)
		heard := y.listen()
		if len(heard) != len(want) {
			t.Fatalf("%s: %d packets, want %d", codec, len(heard), len(want))
		}
		for i := range want {
			if !bytes.Equal(heard[i].payload(), want[i]) {
				t.Fatalf("%s: packet %d differs", codec, i)
			}
			if i > 0 && (heard[i].seq != heard[0].seq+uint16(i) || heard[i].ts != heard[0].ts+uint32(i)*frameSamples || heard[i].marker) {
				t.Fatalf("%s: packet %d: seq %d ts %d after %d %d", codec, i, heard[i].seq, heard[i].ts, heard[0].seq, heard[0].ts)
			}
		}
		if !heard[0].marker {
			t.Errorf("%s: no marker on the first packet", codec)
		}
	}
}

// A packet is sent on in the waking that took it, not on the wheel.
func TestRelayIsNotReclocked(t *testing.T) {
	b, x, y := bridged(t, PCMA, PCMA)
	talk(b, x, wave(PCMA, 440, 5))
	y.forget()
	for _, gap := range []int{1, 33, 4, 19, 60} {
		x.say(make([]byte, frameSamples))
		b.run(time.Millisecond)
		if n := len(y.listen()); n != 1 {
			t.Fatalf("%d packets a millisecond later", n)
		}
		y.forget()
		b.run(time.Duration(gap) * time.Millisecond)
	}
}

func TestToneAcrossCodecs(t *testing.T) {
	for _, from := range []Codec{PCMA, PCMU, G722} {
		for _, to := range []Codec{PCMA, PCMU, G722} {
			b, x, y := bridged(t, from, to)
			talk(b, x, wave(from, 1004, 50))
			got := samples(t, to, y.listen())[800:]
			if level := sound.Goertzel(got, 1004); math.Abs(level-20*math.Log10(8000.0/32767)) > 0.5 {
				t.Errorf("%s → %s: the tone is at %.1f dB", from, to, level)
			}
			if level := sound.Goertzel(samples(t, from, x.listen()), 1004); level > -60 {
				t.Errorf("%s: hears itself at %.1f dB", from, level)
			}
			x.heard = nil
			talk(b, y, wave(to, 620, 50))
			if level := sound.Goertzel(samples(t, from, x.listen())[800:], 620); math.Abs(level-20*math.Log10(8000.0/32767)) > 0.5 {
				t.Errorf("%s ← %s: the tone is at %.1f dB", from, to, level)
			}
		}
	}
}

func TestMismatchByTable(t *testing.T) {
	b, x, y := bridged(t, PCMA, PCMU)
	payload := make([]byte, 256)
	for i := range payload {
		payload[i] = byte(i)
	}
	talk(b, x, [][]byte{payload})
	heard := y.listen()
	if len(heard) != 1 || heard[0].pt != 0 {
		t.Fatalf("heard %v", heard)
	}
	for i, c := range heard[0].payload() {
		if c != sound.AToU[i] {
			t.Fatalf("code %02x became %02x, want %02x", i, c, sound.AToU[i])
		}
	}
}

// What was lost, late or doubled on the way in is so on the way out, and nothing else happens to it.
func TestLossAndReorderPassThrough(t *testing.T) {
	b, x, y := bridged(t, PCMA, PCMA)
	send := func(i int) {
		x.raw(rtp(8, uint16(65530+i), uint32(i)*160, 7, bytes.Repeat([]byte{byte(i)}, 160)))
		b.run(5 * time.Millisecond)
	}
	order := []int{0, 1, 2, 5, 4, 6, 6, 9, 7, 10}
	for _, i := range order {
		send(i)
	}
	heard := y.listen()
	if len(heard) != len(order) {
		t.Fatalf("%d packets, want %d", len(heard), len(order))
	}
	for n, i := range order {
		if h := heard[n]; h.payload()[0] != byte(i) || h.seq-heard[0].seq != uint16(i) || h.ts-heard[0].ts != uint32(i)*160 {
			t.Errorf("packet %d came as %d with seq +%d", i, h.payload()[0], h.seq-heard[0].seq)
		}
	}
	if s := x.leg.Stats(); s.Lost != 11-10 { // 3 and 8 lost, one doubled (RFC 3550 A.3 counts it as received)
		t.Errorf("lost %d", s.Lost)
	}
}

// prompt → bridge → hold with music → bridge with another → prompt: one stream to the resident throughout.
func TestOneStreamThroughout(t *testing.T) {
	tone := sound.EncodeA(sound.Tone(440, 5000, 8000))
	b := newLab(t, Config{Clips: func(id, _ string) (Clip, bool) { return Clip{PCMA: tone}, id != "nothing" }})
	r, o, p := b.phone("r", PCMA), b.phone("o", PCMA), b.phone("p", PCMU)
	r.leg.Play(1, []string{"greeting"}, "", false, 0)
	b.run(400 * time.Millisecond)
	b.plane.Bridge("r", "o")
	talk(b, o, wave(PCMA, 700, 30))
	b.plane.Unbridge("r", "o")
	r.leg.Play(2, []string{"music"}, "", true, -4)
	talk(b, o, wave(PCMA, 700, 30)) // the operator still talks, nobody hears it
	b.plane.Bridge("r", "p")
	talk(b, p, wave(PCMU, 900, 30))
	b.run(600 * time.Millisecond) // nothing comes: we fill in
	talk(b, p, wave(PCMU, 900, 30))
	r.leg.Play(3, []string{"goodbye"}, "", false, 0)
	b.run(300 * time.Millisecond)
	b.plane.Unbridge("r", "p")
	b.run(200 * time.Millisecond)
	heard := r.listen()
	steady(t, heard)
	total := int32(heard[len(heard)-1].ts - heard[0].ts)
	if seconds := float64(total) / 8000; math.Abs(seconds-3.9) > 0.1 {
		t.Errorf("%.2f s by the timestamps, want 3.9", seconds)
	}
	var cut []telephony.PlayID
	for _, p := range told[telephony.Played](b) {
		if !p.Cut {
			t.Errorf("play %d ended by itself", p.Play)
		}
		cut = append(cut, p.Play)
	}
	if len(cut) != 2 {
		t.Errorf("cut plays: %v", cut)
	}
	if level := sound.Goertzel(samples(t, PCMA, heard[20:48]), 700); level < -14 {
		t.Errorf("bridge at %.1f dB", level)
	}
}

func TestSilenceKeepsTheWayOpen(t *testing.T) {
	b := newLab(t, Config{})
	x := b.phone("a", G722)
	b.run(time.Second)
	heard := x.listen()
	if len(heard) < 49 || len(heard) > 51 {
		t.Fatalf("%d packets in a second", len(heard))
	}
	steady(t, heard)
	if level := sound.RMS(samples(t, G722, heard)); level > -60 {
		t.Errorf("silence at %.1f dBov", level)
	}
	x.leg.SetRemote(Remote{RTP: x.addr, Codec: G722, PayloadType: 9, Receive: true}) // on hold
	b.run(time.Millisecond)
	x.forget()
	b.run(time.Second)
	if n := len(x.listen()); n != 0 {
		t.Errorf("%d packets while on hold", n)
	}
}

func TestHeadersAreSteppedOver(t *testing.T) {
	b, x, y := bridged(t, PCMA, PCMA)
	payload := []byte{1, 2, 3, 4, 5, 6, 7, 8}
	p := rtp(8, 1, 0, 9, nil)
	p[0] |= 0x20 | 0x10 | 2                           // padding, extension, two contributing sources
	p = append(p, 0, 0, 0, 1, 0, 0, 0, 2)             // sources
	p = append(p, 0xBE, 0xDE, 0, 1, 0x10, 0xAA, 0, 0) // extension
	p = append(append(p, payload...), 0, 0, 0, 4)     // padding
	x.raw(p)
	b.run(time.Millisecond)
	heard := y.listen()
	if len(heard) != 1 || !bytes.Equal(heard[0].payload(), payload) || heard[0].at != headerLen {
		t.Fatalf("heard %v", heard)
	}
}

func TestBadPacketsAreCounted(t *testing.T) {
	b, x, y := bridged(t, PCMA, PCMA)
	bad := [][]byte{nil, {0x80}, make([]byte, 12), rtp(77, 1, 1, 1, make([]byte, 160)), rtp(8, 1, 1, 1, make([]byte, 1300)),
		{0xBF, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1}, {0xA0, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0}, {0x90, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0xFF, 0xFF}}
	for _, p := range bad[1:] {
		x.raw(p)
	}
	b.run(20 * time.Millisecond)
	if s := x.leg.Stats(); s.Bad != uint64(len(bad)-1) || s.Received != 0 {
		t.Errorf("bad %d, received %d", s.Bad, s.Received)
	}
	talk(b, x, wave(PCMA, 440, 4))
	if n := y.leg.Stats().Relayed; n != 4 {
		t.Errorf("%d packets after it, want 4", n)
	}
}

func TestRateIsCapped(t *testing.T) {
	b, x, y := bridged(t, PCMA, PCMA)
	b.run(time.Second)
	for range 1000 {
		x.say(make([]byte, 160))
		if x.seq%8 == 0 {
			b.plane.step()
		}
	}
	b.run(100 * time.Millisecond)
	s, other := x.leg.Stats(), y.leg.Stats()
	if s.Received > 2*maxBurst || s.TooMany < 300 || other.Relayed != s.Received {
		t.Errorf("received %d, too many %d, relayed %d", s.Received, s.TooMany, other.Relayed)
	}
}

func TestLatch(t *testing.T) {
	tone := wave(PCMA, 440, 10)
	stranger, _, err := openUDP(loopback, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer closeFD(stranger)
	evil := bytes.Repeat([]byte{0x2A}, 160)

	t.Run("a stranger is not heard, nor spoken to", func(t *testing.T) {
		b, x, y := bridged(t, PCMA, PCMA)
		talk(b, x, tone)
		y.forget()
		for i := range 50 {
			x.from(stranger, rtp(8, uint16(i), uint32(i)*160, x.ssrc, evil))
			b.run(time.Millisecond)
		}
		if n := len(y.listen()); n != 0 {
			t.Errorf("%d packets of a stranger passed", n)
		}
		b.run(300 * time.Millisecond)
		var from sockaddr
		if n := recvFrom(stranger, make([]byte, 2048), &from); n >= 0 {
			t.Error("the stranger was sent something")
		}
		if s := x.leg.Stats(); s.Foreign != 50 || !s.Latched {
			t.Errorf("foreign %d, latched %v", s.Foreign, s.Latched)
		}
	})
	t.Run("a source elsewhere needs four in order of one SSRC", func(t *testing.T) {
		b, x, y := bridged(t, PCMA, PCMA)
		send := func(seq uint16, ssrc uint32) {
			x.from(stranger, rtp(8, seq, uint32(seq)*160, ssrc, evil))
			b.run(time.Millisecond)
		}
		for i := range 20 {
			send(uint16(i), uint32(i)) // an SSRC each
		}
		for i := range 20 {
			send(uint16(i*1000), 5) // no order
		}
		if s := x.leg.Stats(); s.Latched || s.Received != 0 {
			t.Fatalf("latched on noise: %+v", s)
		}
		for i := range 4 {
			send(uint16(100+i), 6)
		}
		if s := x.leg.Stats(); !s.Latched || s.Received != 1 || y.leg.Stats().Relayed != 1 {
			t.Fatalf("not latched after four: %+v", s)
		}
		b.run(500 * time.Millisecond) // and silence goes there
		var from sockaddr
		if recvFrom(stranger, make([]byte, 2048), &from) < 0 {
			t.Error("the source gets nothing")
		}
		// Now the phone at the address of the SDP is the stranger, until a re-INVITE.
		talk(b, x, tone)
		if s := x.leg.Stats(); s.Received != 1 {
			t.Errorf("received %d", s.Received)
		}
		x.leg.SetRemote(Remote{RTP: x.addr, Codec: PCMA, PayloadType: 8, Send: true, Receive: true, Relatch: true})
		b.run(200 * time.Millisecond)
		talk(b, x, tone)
		if s := x.leg.Stats(); s.Received != 11 || s.Source != x.addr {
			t.Errorf("after the re-INVITE: received %d from %v", s.Received, s.Source)
		}
	})
	t.Run("a re-INVITE without change keeps the source", func(t *testing.T) {
		b, x, _ := bridged(t, PCMA, PCMA)
		talk(b, x, tone)
		x.leg.SetRemote(Remote{RTP: x.addr, Codec: PCMA, PayloadType: 8, Send: true, Receive: true})
		b.run(time.Millisecond)
		if s := x.leg.Stats(); !s.Latched {
			t.Error("forgotten")
		}
	})
	t.Run("the SSRC changes after three, at most one is remembered", func(t *testing.T) {
		b, x, y := bridged(t, PCMA, PCMA)
		talk(b, x, tone)
		for i := range 100 {
			x.raw(rtp(8, 1, 0, uint32(i), evil))
			b.run(time.Millisecond)
			x.say(tone[0])
			b.run(time.Millisecond)
		}
		if s := x.leg.Stats(); s.Foreign != 100 || s.Received != 110 {
			t.Fatalf("foreign %d, received %d", s.Foreign, s.Received)
		}
		for i := range 5 {
			x.raw(rtp(8, uint16(i), uint32(i)*160, 99, evil))
			b.run(time.Millisecond)
		}
		if s := x.leg.Stats(); s.Received != 113 {
			t.Errorf("received %d", s.Received)
		}
		steady(t, y.listen()[:110])
	})
}

func TestPortsRest(t *testing.T) {
	// Find a free pair first, so that no port number is assumed.
	fd, fdc, port, err := bindPair(loopback, 0)
	for i := 0; err != nil && i < 100; i++ {
		fd, fdc, port, err = bindPair(loopback, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	closeFD(fd)
	closeFD(fdc)
	b := newLab(t, Config{PortMin: port, PortMax: port + 1})
	l, err := b.plane.NewLeg("a")
	if err != nil {
		t.Fatal(err)
	}
	if rtp, rtcp := l.Local(); rtp.Port() != port || rtcp.Port() != port+1 || port%2 != 0 {
		t.Fatalf("ports %v, %v", rtp, rtcp)
	}
	if _, err := b.plane.NewLeg("b"); !errors.Is(err, ErrPorts) {
		t.Fatalf("a second leg: %v", err)
	}
	if _, err := b.plane.NewLeg("a"); !errors.Is(err, ErrExists) {
		t.Fatalf("the same leg: %v", err)
	}
	l.Close()
	b.run(9900 * time.Millisecond)
	if _, err := b.plane.NewLeg("b"); !errors.Is(err, ErrPorts) {
		t.Fatalf("before ten seconds: %v", err)
	}
	b.run(200 * time.Millisecond)
	if _, err := b.plane.NewLeg("b"); err != nil {
		t.Fatalf("after ten seconds: %v", err)
	}
}

func TestFull(t *testing.T) {
	b := newLab(t, Config{MaxLegs: 3})
	b.phone("a", PCMA)
	if b.plane.Overloaded() {
		t.Error("overloaded with room for a call")
	}
	b.phone("b", PCMA)
	if !b.plane.Overloaded() {
		t.Error("room for one leg is no room for a call")
	}
	b.phone("c", PCMA)
	if _, err := b.plane.NewLeg("d"); !errors.Is(err, ErrFull) {
		t.Errorf("a leg too many: %v", err)
	}
}

// A thread without legs sleeps until it gets one. What it found too much before must not keep everybody out meanwhile: with nobody let in it would never wake.
func TestLatenessIsForgottenAsleep(t *testing.T) {
	b := newLab(t, Config{})
	var all []*phone
	for i := range 61 {
		all = append(all, b.phone("p"+strconv.Itoa(i), PCMA))
	}
	b.run(1500 * time.Millisecond)
	for range 75 {
		b.now += 40 * ms
		b.plane.step()
	}
	for _, p := range all {
		p.leg.Close()
	}
	b.plane.step()
	if s := b.plane.Stats(); !b.plane.Overloaded() || s.LateP99 == 0 || s.Legs != 0 {
		t.Fatalf("not overloaded, or legs are left: %+v", s)
	}
	b.now += 4 * second
	if s := b.plane.Stats(); b.plane.Overloaded() || s.LateP99 != 0 || s.LateMax != 0 {
		t.Errorf("still overloaded four seconds later: %+v", s)
	}
}

// A thread that wakes 40 ms late makes up for every tick. While it has much to say it says that it is overloaded, and recovers; while few
// speak nobody is turned away for it.
func TestLateness(t *testing.T) {
	b := newLab(t, Config{})
	x := b.phone("a", PCMA)
	stumble := func() {
		for range 75 {
			b.now += 40 * ms
			b.plane.step()
		}
	}
	b.run(1500 * time.Millisecond)
	stumble()
	if b.plane.Overloaded() {
		t.Error("overloaded with one leg")
	}
	b.run(2 * time.Second)
	for i := range 60 {
		b.phone("more"+strconv.Itoa(i), PCMA)
	}
	b.run(1500 * time.Millisecond)
	x.forget()
	stumble()
	heard := x.listen()
	if len(heard) != 150 {
		t.Errorf("%d packets in three seconds", len(heard))
	}
	steady(t, heard)
	if !b.plane.Overloaded() {
		t.Errorf("not overloaded: %+v", b.plane.Stats())
	}
	b.run(6 * time.Second)
	if b.plane.Overloaded() {
		t.Error("still overloaded")
	}
	x.forget()
	b.now += 3600 * second // the machine slept
	b.plane.step()
	if n := len(x.listen()); n > 60 {
		t.Errorf("%d packets in one burst", n)
	}
	if b.plane.Stats(); b.plane.all[0].count.skipped == 0 {
		t.Error("nothing skipped")
	}
}

func TestMediaLost(t *testing.T) {
	b, x, _ := bridged(t, PCMA, PCMA)
	b.run(29 * time.Second)
	if l := told[telephony.MediaLost](b); len(l) != 0 {
		t.Fatalf("lost after 29 s: %v", l)
	}
	b.run(2 * time.Second)
	if l := told[telephony.MediaLost](b); len(l) != 2 || l[0].Seconds != 30 {
		t.Fatalf("after 31 s: %v", l)
	}
	talk(b, x, wave(PCMA, 440, 10))
	b.run(14 * time.Second)
	if l := told[telephony.MediaLost](b); len(l) != 0 {
		t.Fatalf("lost: %v", l)
	}
	b.run(17 * time.Second) // b's third, a's first and second
	var a []int
	for _, l := range told[telephony.MediaLost](b) {
		if l.Leg == "a" {
			a = append(a, l.Seconds)
		}
	}
	if len(a) != 2 || a[0] != 15 || a[1] != 30 {
		t.Errorf("a lost at %v s", a)
	}
	x.leg.SetRemote(Remote{RTP: x.addr, Codec: PCMA, PayloadType: 8, Send: true})
	b.run(time.Minute)
	for _, l := range told[telephony.MediaLost](b) {
		if l.Leg == "a" {
			t.Errorf("lost while on hold: %v", l)
		}
	}
}

func TestHeardAndQuiet(t *testing.T) {
	for _, codec := range []Codec{PCMA, PCMU, G722} {
		b, x, _ := bridged(t, codec, codec)
		silence := make([]byte, 160)
		fillSilence(silence, langOf(codec))
		quiet := func(packets int) {
			for range packets {
				talk(b, x, [][]byte{silence})
			}
		}
		quiet(100)
		if h := told[telephony.Heard](b); len(h) != 0 {
			t.Fatalf("%s: silence heard", codec)
		}
		quiet(350) // 9 s
		q := told[telephony.Quiet](b)
		if len(q) != 2 || q[0].Seconds != 8 { // both legs
			t.Fatalf("%s: quiet %v", codec, q)
		}
		talk(b, x, wave(codec, 300, 25))
		if h := told[telephony.Heard](b); len(h) != 1 || h[0].Leg != "a" {
			t.Fatalf("%s: heard %v", codec, h)
		}
		b.reports = nil
		quiet(350)
		for _, q := range told[telephony.Quiet](b) {
			if q.Leg == "a" {
				t.Errorf("%s: quiet again after 7 s: %v", codec, q)
			}
		}
		quiet(100)
		n := 0
		for _, q := range told[telephony.Quiet](b) {
			if q.Leg == "a" && q.Seconds == 8 {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%s: quiet %d times", codec, n)
		}
	}
}

func TestRTCP(t *testing.T) {
	b, x, y := bridged(t, PCMA, PCMA)
	var sr []byte
	for i := 0; i < 400 && sr == nil; i++ {
		if i%10 == 9 {
			x.seq++ // lost
		}
		talk(b, x, wave(PCMA, 440, 1))
		talk(b, y, wave(PCMA, 440, 1))
		var from sockaddr
		buf := make([]byte, 2048)
		if n := recvFrom(x.fdc, buf, &from); n > 0 && i > 100 {
			sr = buf[:n]
			if from.addrPort() != x.leg.rtcp {
				t.Errorf("it came from %v", from.addrPort())
			}
		}
	}
	if sr == nil {
		t.Fatal("no report in eight seconds")
	}
	if sr[0] != 0x81 || sr[1] != 200 || be32(sr[4:]) != x.leg.Stats().SSRC || be32(sr[28:]) != x.ssrc {
		t.Fatalf("report % x", sr)
	}
	if fraction := sr[32]; fraction < 18 || fraction > 30 { // 1 of 11: 23
		t.Errorf("fraction lost %d / 256", fraction)
	}
	if sdes := sr[52:]; sdes[1] != 202 || int(binary.BigEndian.Uint16(sdes[2:]))*4+4 != len(sdes) || string(sdes[10:16]) != cname {
		t.Errorf("description % x", sdes)
	}
	// The far side answers 50 ms later, of which it held the report for 20.
	b.run(50 * time.Millisecond)
	rr := make([]byte, 32)
	rr[0], rr[1], rr[3] = 0x81, 201, 7
	binary.BigEndian.PutUint32(rr[4:], x.ssrc)
	copy(rr[8:], sr[4:8])
	binary.BigEndian.PutUint32(rr[12:], 64<<24|17)
	copy(rr[24:], sr[10:14])
	binary.BigEndian.PutUint32(rr[28:], 20*65536/1000)
	to := toSockaddr(x.leg.rtcp, false)
	sendTo(x.fdc, rr, &to)
	b.run(time.Millisecond)
	s := x.leg.Stats()
	if s.RemoteFraction != 0.25 || s.RemoteLost != 17 || s.RTT < 29*time.Millisecond || s.RTT > 72*time.Millisecond {
		t.Errorf("remote fraction %v, lost %d, rtt %v", s.RemoteFraction, s.RemoteLost, s.RTT)
	}
}

func TestPTime(t *testing.T) {
	for _, want := range []time.Duration{10, 20, 30, 40, 60} {
		b := newLab(t, Config{})
		x := b.phone("a", PCMA, func(r *Remote) { r.PTime = want * time.Millisecond })
		b.run(1200 * time.Millisecond)
		heard := x.listen()
		steady(t, heard)
		sum := 0
		for _, p := range heard {
			if p.end-p.at != int(want)*8 {
				t.Fatalf("%d ms: a packet of %d samples", want, p.end-p.at)
			}
			sum += p.end - p.at
		}
		if sum < 9600-500 || sum > 9600+500 {
			t.Errorf("%d ms: %d samples in 1.2 s", want, sum)
		}
	}
}
