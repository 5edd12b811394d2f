package media

import (
	"encoding/binary"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"yingda/telephony"
	"yingda/telephony/sound"
)

var loopback = netip.MustParseAddr("127.0.0.1")

// lab is a plane without threads of its own: the test owns the clock and says when it turns.
type lab struct {
	t       testing.TB
	plane   *Plane
	now     int64
	mu      sync.Mutex
	reports []telephony.Input
}

func newLab(t testing.TB, c Config) *lab {
	t.Helper()
	b := &lab{t: t, now: 1_000_000 * second}
	c.clock = func() int64 { return b.now }
	c.Report = func(in telephony.Input) { b.mu.Lock(); b.reports = append(b.reports, in); b.mu.Unlock() }
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	if c.Threads == 0 {
		c.Threads = 1
	}
	var err error
	if b.plane, err = Open(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.plane.Close() })
	return b
}

// run lets time pass, a millisecond at a time.
func (b *lab) run(d time.Duration) {
	for range d / time.Millisecond {
		b.now += ms
		b.plane.step()
	}
}

// told takes the reports of one kind.
func told[T telephony.Input](b *lab) (out []T) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.reports = slices.DeleteFunc(b.reports, func(in telephony.Input) bool {
		v, ok := in.(T)
		if ok {
			out = append(out, v)
		}
		return ok
	})
	return out
}

// phone is a far side with a leg of ours.
type phone struct {
	b         *lab
	leg       *Leg
	fd, fdc   int
	addr      netip.AddrPort
	codec     Codec
	pt        uint8
	ssrc      uint32
	seq       uint16
	ts        uint32
	heard     []packet
	heardWhen []int64
}

func (b *lab) phone(id string, codec Codec, change ...func(*Remote)) *phone {
	b.t.Helper()
	leg, err := b.plane.NewLeg(telephony.LegID(id))
	if err != nil {
		b.t.Fatal(err)
	}
	fd, fdc, port, err := bindPair(loopback, 0)
	for i := 0; err != nil && i < 100; i++ {
		fd, fdc, port, err = bindPair(loopback, 0)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { closeFD(fd); closeFD(fdc) })
	p := &phone{b: b, leg: leg, fd: fd, fdc: fdc, addr: netip.AddrPortFrom(loopback, port), codec: codec, pt: langOf(codec).payloadType(),
		ssrc: 0x1000 + uint32(port), seq: 65500, ts: 0xFFFFF000}
	r := Remote{RTP: p.addr, Codec: codec, PayloadType: int(p.pt), EventType: 101, Send: true, Receive: true}
	for _, f := range change {
		f(&r)
	}
	leg.SetRemote(r)
	b.plane.step()
	return p
}

// raw sends any bytes to the leg's RTP port.
func (p *phone) raw(b []byte) { p.from(p.fd, b) }

func (p *phone) from(fd int, b []byte) {
	to := toSockaddr(p.leg.rtp, false)
	if !sendTo(fd, b, &to) {
		p.b.t.Error("the phone cannot send")
	}
}

func rtp(pt uint8, seq uint16, ts, ssrc uint32, payload []byte) []byte {
	b := make([]byte, headerLen+len(payload))
	putHeader(b, false, pt, seq, ts, ssrc)
	copy(b[headerLen:], payload)
	return b
}

// say sends 20 ms and moves on.
func (p *phone) say(payload []byte) {
	p.raw(rtp(p.pt, p.seq, p.ts, p.ssrc, payload))
	p.seq++
	p.ts += uint32(len(payload))
}

// listen takes what has come.
func (p *phone) listen() []packet {
	var from sockaddr
	for {
		b := make([]byte, 2048)
		n := recvFrom(p.fd, b, &from)
		if n < 0 {
			break
		}
		q, ok := parseRTP(b[:n])
		if !ok {
			p.b.t.Errorf("the phone got % x", b[:n])
			continue
		}
		p.heard = append(p.heard, q)
		p.heardWhen = append(p.heardWhen, p.b.now)
	}
	return p.heard
}

func (p *phone) forget() { p.listen(); p.heard, p.heardWhen = nil, nil }

// wave cuts a codec's tone into packets of 20 ms.
func wave(codec Codec, hertz float64, packets int) [][]byte {
	samples := sound.Tone(hertz, 8000, packets*frameSamples)
	var all []byte
	switch codec {
	case PCMU:
		all = sound.EncodeU(samples)
	case G722:
		all = sound.EncodeG722(samples)
	default:
		all = sound.EncodeA(samples)
	}
	return slices.Collect(slices.Chunk(all, frameSamples))
}

// samples decodes what a phone heard.
func samples(t testing.TB, codec Codec, heard []packet) []int16 {
	var out []int16
	d := sound.NewDecoderG722()
	for _, p := range heard {
		if p.pt != langOf(codec).payloadType() {
			t.Fatalf("payload type %d to a phone that speaks %s", p.pt, codec)
		}
		for _, c := range p.payload() {
			switch codec {
			case PCMU:
				out = append(out, sound.ULaw[c])
			case G722:
				out = append(out, d.Decode(c))
			default:
				out = append(out, sound.ALaw[c])
			}
		}
	}
	return out
}

// steady checks that all that a phone heard is one stream: one SSRC, no hole in the numbers, time going forward.
func steady(t testing.TB, heard []packet) {
	t.Helper()
	for i := 1; i < len(heard); i++ {
		a, b := heard[i-1], heard[i]
		if a.ssrc != b.ssrc || b.seq != a.seq+1 || int32(b.ts-a.ts) < int32(a.end-a.at) {
			t.Fatalf("packet %d: ssrc %x seq %d ts %d, before it %x %d %d", i, b.ssrc, b.seq, b.ts, a.ssrc, a.seq, a.ts)
		}
	}
}

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// realPhone is a phone whose leg lives on a plane with its own threads.
func (b *lab) realPhone(id string) *phone {
	b.t.Helper()
	leg, err := b.plane.NewLeg(telephony.LegID(id))
	if err != nil {
		b.t.Fatal(err)
	}
	fd, fdc, port, err := bindPair(loopback, 0)
	for i := 0; err != nil && i < 100; i++ {
		fd, fdc, port, err = bindPair(loopback, 0)
	}
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { closeFD(fd); closeFD(fdc) })
	p := &phone{b: b, leg: leg, fd: fd, fdc: fdc, addr: netip.AddrPortFrom(loopback, port), codec: PCMA, pt: 8, ssrc: uint32(port)}
	leg.SetRemote(Remote{RTP: p.addr, Codec: PCMA, PayloadType: 8, EventType: 101, Send: true, Receive: true})
	return p
}
