package phonetest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"time"

	"yingda/telephony/sound"
)

// Audio is a call's sound: it sends 20 ms packets of what it was told to say, and listens.
type Audio struct {
	p    *Phone
	rtp  *net.UDPConn
	rtcp *net.UDPConn // held so that nobody else is sent our reports; never read

	mu      sync.Mutex
	to      *net.UDPAddr
	payload byte
	event   int          // their payload type of telephone-event, −1: none
	held    bool         // they want to hear nothing
	say     func() int16 // the next sample to send, nil: nothing is sent
	pause   bool         // nothing was sent at the last tick
	keys    []key
	seq     uint16
	stamp   uint32
	ssrc    uint32
	sent    int
	tally   tally
	digits  string
	lastKey uint32
	ring    []int16 // the last sound that came, up to Config.Keep
	next    int     // where the next sample goes once the ring is full
	started bool
	closed  bool
	done    chan struct{}
}

// key is a key being pressed: 5 packets, 3 that say the end, 3 of pause.
type key struct {
	code byte
	tick int
	at   uint32
}

const keyTicks, keyEnd, keyPause = 8, 5, 3

func newAudio(p *Phone) (*Audio, error) {
	host, _, err := net.SplitHostPort(p.host)
	if err != nil {
		return nil, err
	}
	ip := net.ParseIP(host)
	if ip == nil || ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	for range 50 {
		rtp, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip})
		if err != nil {
			return nil, fmt.Errorf("phonetest: %w", err)
		}
		port := rtp.LocalAddr().(*net.UDPAddr).Port
		if port%2 == 0 {
			if rtcp, err := net.ListenUDP("udp", &net.UDPAddr{IP: ip, Port: port + 1}); err == nil {
				a := &Audio{p: p, rtp: rtp, rtcp: rtcp, event: -1, ssrc: binary.BigEndian.Uint32([]byte(Token())), pause: true, done: make(chan struct{})}
				if !p.spawn(a.listen) {
					a.close()
					return nil, ErrClosed
				}
				return a, nil
			}
		}
		_ = rtp.Close()
	}
	return nil, errors.New("phonetest: no even port with a free one above it")
}

// Port is where we listen for RTP.
func (a *Audio) Port() int { return a.rtp.LocalAddr().(*net.UDPAddr).Port }

func (a *Audio) host() string { return a.rtp.LocalAddr().(*net.UDPAddr).IP.String() }

// connect sends to where a description says, from now on.
func (a *Audio) connect(d media, codec int, held bool) {
	a.mu.Lock()
	a.held = held
	if d.port == 0 || codec < 0 {
		a.mu.Unlock()
		return
	}
	a.to, a.payload, a.event = &net.UDPAddr{IP: net.ParseIP(d.host), Port: d.port}, byte(codec), d.event
	start := !a.started && !a.closed
	a.started = a.started || start
	a.mu.Unlock()
	if start {
		a.p.spawn(a.speak)
	}
}

func (a *Audio) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return
	}
	a.closed = true
	close(a.done)
	_ = a.rtp.Close()
	_ = a.rtcp.Close()
}

// Tone says a sine of hz at −20 dBov from now on (peak −20 dB below full scale); 0 is silence that is sent.
func (a *Audio) Tone(hz float64) {
	n := 0
	a.Say(func() int16 {
		n++
		return int16(3277 * math.Sin(2*math.Pi*hz*float64(n)/8000))
	})
}

// Samples says recorded sound (8,000 a second) once, then silence.
func (a *Audio) Samples(s []int16) {
	n := 0
	a.Say(func() int16 {
		if n >= len(s) {
			return 0
		}
		n++
		return s[n-1]
	})
}

// Say takes the next sample from f, 8,000 times a second, from the answer on; nil sends nothing more. f is called with a lock
// held and must not call the Audio.
func (a *Audio) Say(f func() int16) {
	a.mu.Lock()
	a.say = f
	a.mu.Unlock()
}

// Keys presses keys by RFC 4733, 100 ms each with 60 ms between them: 0–9, *, #, A–D. Other characters are left out. Nothing is
// sent to a side that knows no telephone-event.
func (a *Audio) Keys(keys string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range keys {
		if code := strings.IndexRune("0123456789*#ABCD", k); code >= 0 {
			a.keys = append(a.keys, key{code: byte(code)})
		}
	}
}

// Sent and Received count RTP packets, Lost those that are missing in what was received, Sources the SSRCs that were heard;
// Digits are the keys that came by RFC 4733.
func (a *Audio) Sent() int      { a.mu.Lock(); defer a.mu.Unlock(); return a.sent }
func (a *Audio) Received() int  { a.mu.Lock(); defer a.mu.Unlock(); return a.tally.all() }
func (a *Audio) Lost() int      { a.mu.Lock(); defer a.mu.Unlock(); return a.tally.missing() }
func (a *Audio) Sources() int   { a.mu.Lock(); defer a.mu.Unlock(); return a.tally.sources }
func (a *Audio) Digits() string { a.mu.Lock(); defer a.mu.Unlock(); return a.digits }

// Last gives the last sound that came, at most d of it and at most Config.Keep. It does not shrink when nothing comes.
func (a *Audio) Last(d time.Duration) []int16 {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := min(samples(d), len(a.ring))
	out := make([]int16, 0, n)
	if len(a.ring) < samples(a.p.cfg.Keep) {
		return append(out, a.ring[len(a.ring)-n:]...)
	}
	from := a.next - n
	if from < 0 {
		out = append(out, a.ring[len(a.ring)+from:]...)
		from = 0
	}
	return append(out, a.ring[from:a.next]...)
}

func samples(d time.Duration) int { return int(d * 8000 / time.Second) }

// keep puts a sample into the ring. mu is held.
func (a *Audio) keep(v int16) {
	if limit := samples(a.p.cfg.Keep); len(a.ring) < limit {
		a.ring = append(a.ring, v)
	} else if limit > 0 {
		a.next %= limit
		a.ring[a.next] = v
		a.next++
	}
}

// Hears gives the share of a tone in the last second of sound that came, 0 … 1.
func (a *Audio) Hears(hz float64) float64 {
	s := a.Last(time.Second)
	if len(s) < 800 {
		return 0
	}
	var re, im, all float64
	for i, v := range s {
		x := float64(v)
		re += x * math.Cos(2*math.Pi*hz*float64(i)/8000)
		im += x * math.Sin(2*math.Pi*hz*float64(i)/8000)
		all += x * x
	}
	if all == 0 {
		return 0
	}
	return 2 * (re*re + im*im) / float64(len(s)) / all
}

// LevelOf is the level of one tone in the last second of sound that came, in dB below a full-scale sine; −120: nothing.
func (a *Audio) LevelOf(hz float64) float64 { return sound.Goertzel(a.Last(time.Second), hz) }

// Energy is the level of the last second of sound that came, in dBov; −120: nothing.
func (a *Audio) Energy() float64 { return sound.RMS(a.Last(time.Second)) }

// Level is the RMS of the last second of sound that came, in sample values.
func (a *Audio) Level() float64 {
	var all float64
	s := a.Last(time.Second)
	for _, v := range s {
		all += float64(v) * float64(v)
	}
	if len(s) == 0 {
		return 0
	}
	return math.Sqrt(all / float64(len(s)))
}

func (a *Audio) listen() {
	buf := make([]byte, 2048)
	for {
		n, err := a.rtp.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // an ICMP error of something that we sent
			continue
		}
		if p, ok := parseRTP(buf[:n]); ok {
			a.hear(p)
		}
	}
}

func (a *Audio) hear(p packet) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tally.count(p)
	switch {
	case p.payload >= 96 && len(p.body) >= 4 && p.body[0] < 16:
		if a.lastKey != p.stamp || a.digits == "" {
			a.lastKey = p.stamp
			a.digits += string("0123456789*#ABCD"[p.body[0]])
		}
	case p.payload == 8:
		for _, c := range p.body {
			a.keep(fromA(c))
		}
	case p.payload == 0:
		for _, c := range p.body {
			a.keep(fromU(c))
		}
	}
}

// speak sends what is due every 20 ms. A late tick is caught up with, up to 100 ms; after that what was due is left out.
func (a *Audio) speak() {
	const step = 20 * time.Millisecond
	t := time.NewTicker(step)
	defer t.Stop()
	due := time.Now()
	for {
		select {
		case <-t.C:
		case <-a.done:
			return
		}
		now := time.Now()
		if now.Sub(due) > 5*step {
			due = now.Add(-step)
		}
		for ; now.Sub(due) >= step; due = due.Add(step) {
			a.mu.Lock()
			to, pkt := a.to, a.packet()
			a.mu.Unlock()
			if pkt == nil || a.p.cfg.LoseRTP != nil && a.p.cfg.LoseRTP(binary.BigEndian.Uint16(pkt[2:])) {
				continue
			}
			_, _ = a.rtp.WriteToUDP(pkt, to)
		}
	}
}

// packet makes the next 20 ms, nil for nothing. mu is held.
func (a *Audio) packet() []byte {
	a.stamp += 160
	if len(a.keys) > 0 {
		if a.event < 0 {
			a.keys = nil
		} else if b := a.press(); b != nil {
			return b
		}
	}
	if a.say == nil || a.held {
		a.pause = true
		return nil
	}
	b := a.head(a.pause, a.payload, a.stamp)
	a.pause = false
	for range 160 {
		v := a.say()
		if a.payload == 0 {
			b = append(b, toU(v))
		} else {
			b = append(b, toA(v))
		}
	}
	return b
}

// press gives the next packet of the key that is pressed, nil in the pause after it (RFC 4733 §2.5.1). mu is held.
func (a *Audio) press() []byte {
	k := &a.keys[0]
	k.tick++
	if k.tick > keyTicks {
		if k.tick == keyTicks+keyPause {
			a.keys = a.keys[1:]
		}
		return nil
	}
	if k.tick == 1 {
		k.at = a.stamp
	}
	b := a.head(k.tick == 1, byte(a.event), k.at)
	length, volume := 160*min(k.tick, keyEnd), byte(10)
	if k.tick > keyEnd { // the end is said three times
		volume |= 0x80
	}
	return append(b, k.code, volume, byte(length>>8), byte(length))
}

func (a *Audio) head(marker bool, payload byte, stamp uint32) []byte {
	b := make([]byte, 12, 172)
	b[0], b[1] = 0x80, payload
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], a.seq)
	binary.BigEndian.PutUint32(b[4:], stamp)
	binary.BigEndian.PutUint32(b[8:], a.ssrc)
	a.seq++
	a.sent++
	return b
}
