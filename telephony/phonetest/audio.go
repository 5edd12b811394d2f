package phonetest

import (
	"encoding/binary"
	"fmt"
	"math"
	"net"
	"sync"
	"time"
)

// Audio is a call's sound: it sends 20 ms packets of what it was told to say, and listens.
type Audio struct {
	p    *Phone
	rtp  *net.UDPConn
	rtcp *net.UDPConn

	mu       sync.Mutex
	to       *net.UDPAddr
	payload  byte
	say      func() int16 // the next sample to send, nil: silence is not sent at all
	keys     []key
	seq      uint16
	stamp    uint32
	ssrc     uint32
	sent     int
	received int
	digits   string
	lastKey  uint32
	heard    []int16 // the last second that came
	started  bool
	closed   bool
	done     chan struct{}
}

type key struct {
	code byte
	left int // packets to send yet
	at   uint32
}

func newAudio(p *Phone) (*Audio, error) {
	host, _, err := net.SplitHostPort(p.host)
	if err != nil {
		return nil, err
	}
	for range 20 {
		rtp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host)})
		if err != nil {
			return nil, fmt.Errorf("phonetest: %w", err)
		}
		port := rtp.LocalAddr().(*net.UDPAddr).Port
		if port%2 == 0 {
			if rtcp, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host), Port: port + 1}); err == nil {
				a := &Audio{p: p, rtp: rtp, rtcp: rtcp, ssrc: binary.BigEndian.Uint32([]byte(Token())), done: make(chan struct{})}
				p.wg.Go(a.listen)
				return a, nil
			}
		}
		_ = rtp.Close()
	}
	return nil, fmt.Errorf("phonetest: no even port with a free one above it")
}

// Port is where we listen for RTP.
func (a *Audio) Port() int { return a.rtp.LocalAddr().(*net.UDPAddr).Port }

// connect sends to where a description says, from now on.
func (a *Audio) connect(sdp []byte) {
	host, port, payload := SDPAddress(sdp)
	if port == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.to = &net.UDPAddr{IP: net.ParseIP(host), Port: port}
	a.payload = byte(payload)
	if !a.started && !a.closed {
		a.started = true
		a.p.wg.Go(a.speak)
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

// Tone says a sine of hz at −20 dBov from now on; 0 is silence that is sent.
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

// Say takes the next sample from f, 8,000 times a second; nil sends nothing more.
func (a *Audio) Say(f func() int16) {
	a.mu.Lock()
	a.say = f
	a.mu.Unlock()
}

// Keys presses keys by RFC 4733, 100 ms each.
func (a *Audio) Keys(keys string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range keys {
		code := byte(k - '0')
		switch k {
		case '*':
			code = 10
		case '#':
			code = 11
		}
		a.keys = append(a.keys, key{code: code, left: 8})
	}
}

// Sent and Received count RTP packets; Digits are the keys that came by RFC 4733.
func (a *Audio) Sent() int      { a.mu.Lock(); defer a.mu.Unlock(); return a.sent }
func (a *Audio) Received() int  { a.mu.Lock(); defer a.mu.Unlock(); return a.received }
func (a *Audio) Digits() string { a.mu.Lock(); defer a.mu.Unlock(); return a.digits }

// Hears gives the share of a tone in the last second of sound that came, 0 … 1.
func (a *Audio) Hears(hz float64) float64 {
	a.mu.Lock()
	s := append([]int16(nil), a.heard...)
	a.mu.Unlock()
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

// Level is the RMS of the last second of sound that came.
func (a *Audio) Level() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	var all float64
	for _, v := range a.heard {
		all += float64(v) * float64(v)
	}
	if len(a.heard) == 0 {
		return 0
	}
	return math.Sqrt(all / float64(len(a.heard)))
}

func (a *Audio) listen() {
	buf := make([]byte, 2048)
	for {
		n, _, err := a.rtp.ReadFromUDP(buf)
		if err != nil {
			select {
			case <-a.done:
				return
			default:
			}
			if isClosed(err) {
				return
			}
			continue
		}
		if n < 12 || buf[0]>>6 != 2 {
			continue
		}
		pt, stamp := buf[1]&0x7f, binary.BigEndian.Uint32(buf[4:])
		body := buf[12+4*int(buf[0]&15) : n]
		a.mu.Lock()
		a.received++
		switch {
		case pt >= 96 && len(body) >= 4:
			if a.lastKey != stamp || a.digits == "" {
				a.lastKey = stamp
				if body[0] < 16 {
					a.digits += string("0123456789*#ABCD"[body[0]])
				}
			}
		case pt == 0 || pt == 8:
			for _, c := range body {
				if pt == 8 {
					a.heard = append(a.heard, fromA(c))
				} else {
					a.heard = append(a.heard, fromU(c))
				}
			}
			if len(a.heard) > 8000 {
				a.heard = append([]int16(nil), a.heard[len(a.heard)-8000:]...)
			}
		}
		a.mu.Unlock()
	}
}

func isClosed(err error) bool {
	op, ok := err.(*net.OpError)
	return ok && op.Err.Error() == net.ErrClosed.Error()
}

func (a *Audio) speak() {
	t := time.NewTicker(20 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-a.done:
			return
		}
		a.mu.Lock()
		to, pkt := a.to, a.packet()
		a.mu.Unlock()
		if pkt != nil && to != nil {
			_, _ = a.rtp.WriteToUDP(pkt, to)
		}
	}
}

// packet makes the next 20 ms. mu is held.
func (a *Audio) packet() []byte {
	head := func(marker bool, pt byte, stamp uint32) []byte {
		b := make([]byte, 12, 172)
		b[0], b[1] = 0x80, pt
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
	a.stamp += 160
	if len(a.keys) > 0 {
		k := &a.keys[0]
		first := k.left == 8
		if first {
			k.at = a.stamp
		}
		k.left--
		length := uint16(8-k.left) * 160
		b := head(first, 101, k.at)
		end := byte(10)
		if k.left < 3 { // the end is said three times
			end |= 0x80
			length = 800
		}
		b = append(b, k.code, end, byte(length>>8), byte(length))
		if k.left == 0 {
			a.keys = a.keys[1:]
		}
		return b
	}
	if a.say == nil {
		return nil
	}
	pt := a.payload
	b := head(false, pt, a.stamp)
	for range 160 {
		v := a.say()
		if pt == 0 {
			b = append(b, toU(v))
		} else {
			b = append(b, toA(v))
		}
	}
	return b
}

// G.711 by the formulas of ITU-T G.191, one sample at a time: slow, and not the server's tables.
func toA(v int16) byte {
	x := int(v)
	if x < 0 {
		x = ^x
	}
	x >>= 4
	if x > 15 {
		exp := 1
		for x > 31 {
			x >>= 1
			exp++
		}
		x += exp<<4 - 16
	}
	if v >= 0 {
		x |= 0x80
	}
	return byte(x) ^ 0x55
}

func fromA(c byte) int16 {
	c ^= 0x55
	exp, man := int(c&0x70)>>4, int(c&0x0f)
	v := man<<4 + 8
	if exp > 0 {
		v = (v + 0x100) << (exp - 1)
	}
	if c&0x80 == 0 {
		v = -v
	}
	return int16(v)
}

func toU(v int16) byte {
	x, sign := int(v), byte(0x80)
	if x < 0 {
		x, sign = -x, 0
	}
	x = min(x, 32635) + 132
	exp := 7
	for m := 0x4000; exp > 0 && x&m == 0; m >>= 1 {
		exp--
	}
	return ^(sign ^ 0x80 | byte(exp<<4) | byte(x>>(exp+3))&0x0f)
}

func fromU(c byte) int16 {
	c = ^c
	v := (int(c&0x0f)<<3+132)<<(int(c&0x70)>>4) - 132
	if c&0x80 != 0 {
		v = -v
	}
	return int16(v)
}
