package media

import (
	"encoding/binary"
	"time"
)

// RTCP as RFC 3550 §6 has it, by hand and without allocation: we send a compound of SR or RR and SDES every five seconds or so, and read from
// what comes how much of ours was lost and how far away the other is.

const (
	rtcpSR, rtcpRR, rtcpSDES = 200, 201, 202
	ntpEpoch                 = 2208988800 // seconds from 1900 to 1970
	cname                    = "yingda"   // says nothing of the machine or the person (RFC 7022)
)

// control is a leg's RTCP state.
type control struct {
	lastSR   uint32 // middle of the NTP time in the far side's last SR, 0: none
	lastSRAt int64
	packets  uint32 // we have sent
	octets   uint32
	due      int64
	said     sockaddr // where it is to be sent
	latched  bool     // said was learned from a packet
	fraction uint8
	lost     int32
	jitter   uint32
	rtt      time.Duration
}

// ntp is the wall clock as RTCP writes it: 32 bits of seconds since 1900 and 32 of fraction.
func ntp(wall time.Time) uint64 {
	n := wall.UnixNano()
	s, f := n/second, n%second
	return uint64(s+ntpEpoch)<<32 | uint64(f)<<32/uint64(second)
}

// rtcpReport writes our report into b and gives its length.
func (l *Leg) rtcpReport(b []byte, now int64, wall time.Time) int {
	c, o, in := &l.control, &l.out, &l.in
	be := binary.BigEndian
	n, kind := 8, byte(rtcpRR)
	if c.packets > 0 {
		kind, n = rtcpSR, 28
		be.PutUint64(b[8:], ntp(wall))
		be.PutUint32(b[16:], o.ts+uint32(max(0, now-o.at)*8/ms))
		be.PutUint32(b[20:], c.packets)
		be.PutUint32(b[24:], c.octets)
	}
	blocks := byte(0)
	if in.have {
		blocks = 1
		expected := in.expected() - in.priorExpected
		received := in.received - in.priorReceived
		in.priorExpected, in.priorReceived = in.expected(), in.received
		fraction := uint32(0)
		if expected > received && expected > 0 {
			fraction = (expected - received) << 8 / expected
		}
		lost := max(-0x800000, min(0x7FFFFF, int64(in.expected())-int64(in.received)))
		be.PutUint32(b[n:], in.ssrc)
		be.PutUint32(b[n+4:], min(fraction, 255)<<24|uint32(lost)&0xFFFFFF)
		be.PutUint32(b[n+8:], in.highest())
		be.PutUint32(b[n+12:], uint32(in.jitter>>4))
		since := uint32(0)
		if c.lastSR != 0 {
			since = uint32((now - c.lastSRAt) * 65536 / second)
		}
		be.PutUint32(b[n+16:], c.lastSR)
		be.PutUint32(b[n+20:], since)
		n += 24
	}
	b[0], b[1] = 0x80|blocks, kind
	be.PutUint16(b[2:], uint16(n/4-1))
	be.PutUint32(b[4:], o.ssrc)

	sdes := b[n:]
	sdes[0], sdes[1] = 0x81, rtcpSDES
	be.PutUint32(sdes[4:], o.ssrc)
	sdes[8], sdes[9] = 1, byte(len(cname))
	m := 10 + copy(sdes[10:], cname)
	for end := (m + 4) &^ 3; m < end; m++ {
		sdes[m] = 0
	}
	be.PutUint16(sdes[2:], uint16(m/4-1))
	return n + m
}

// rtcpTake reads a compound of the far side; false when it is none.
func (l *Leg) rtcpTake(b []byte, now int64, wall time.Time) bool {
	be := binary.BigEndian
	if len(b) < 8 || b[0]>>6 != 2 || b[1] < rtcpSR || b[1] > 207 {
		return false
	}
	for len(b) >= 8 && b[0]>>6 == 2 {
		n := 4 * (int(be.Uint16(b[2:])) + 1)
		if n > len(b) || n < 8 {
			return false
		}
		blocks := b[8:n]
		switch b[1] {
		case rtcpSR:
			if len(blocks) < 20 {
				return false
			}
			l.control.lastSR, l.control.lastSRAt = uint32(be.Uint64(blocks)>>16), now
			blocks = blocks[20:]
		case rtcpRR:
		default:
			blocks = nil
		}
		for i := 0; i < int(b[0]&0x1F) && len(blocks) >= 24; i, blocks = i+1, blocks[24:] {
			if be.Uint32(blocks) == l.out.ssrc {
				l.control.reported(blocks, wall)
			}
		}
		b = b[n:]
	}
	return true
}

func (c *control) reported(block []byte, wall time.Time) {
	be := binary.BigEndian
	c.fraction = block[4]
	c.lost = int32(be.Uint32(block[4:])<<8) >> 8
	c.jitter = be.Uint32(block[12:])
	lsr, dlsr := be.Uint32(block[16:]), be.Uint32(block[20:])
	if lsr == 0 {
		return
	}
	// The difference of the middle 32 bits, in 1/65,536 s; what claims to be negative or above ten seconds is nonsense.
	if d := uint32(ntp(wall)>>16) - lsr - dlsr; d < 10<<16 {
		c.rtt = time.Duration(d) * time.Second / 65536
	}
}
