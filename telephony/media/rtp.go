package media

import (
	"encoding/binary"
	"time"

	"yingda/telephony/sound"
)

const (
	frameSamples = 160  // 20 ms
	headerLen    = 12   // RTP without CSRC and extension
	maxPayload   = 1200 // 150 ms; nobody speaks in longer packets
	ms           = int64(time.Millisecond)
	second       = int64(time.Second)
)

// lang is a codec as the threads know it.
type lang uint8

const (
	alaw lang = iota
	ulaw
	g722
)

func langOf(c Codec) lang {
	switch c {
	case PCMU:
		return ulaw
	case G722:
		return g722
	}
	return alaw
}

// payloadType is the static number of RFC 3551 table 4.
func (l lang) payloadType() uint8 { return [...]uint8{8, 0, 9}[l] }

func (l lang) silence() byte { return [...]byte{sound.SilenceA, sound.SilenceU, sound.Silence7}[l] }

// packet is one RTP packet (RFC 3550 §5.1): b[at:end] is its payload. at is never less than headerLen, so that a new header fits before it.
type packet struct {
	b       []byte
	at, end int
	marker  bool
	pt      uint8
	seq     uint16
	ts      uint32
	ssrc    uint32
}

func (p *packet) payload() []byte { return p.b[p.at:p.end] }

// parseRTP reads a packet's header. Contributing sources, an extension and padding are stepped over.
func parseRTP(b []byte) (p packet, ok bool) {
	if len(b) < headerLen || b[0]>>6 != 2 {
		return p, false
	}
	p = packet{b: b, at: headerLen + 4*int(b[0]&0x0F), end: len(b), marker: b[1]&0x80 != 0, pt: b[1] & 0x7F,
		seq: binary.BigEndian.Uint16(b[2:]), ts: binary.BigEndian.Uint32(b[4:]), ssrc: binary.BigEndian.Uint32(b[8:])}
	if b[0]&0x10 != 0 {
		if len(b) < p.at+4 {
			return p, false
		}
		p.at += 4 + 4*int(binary.BigEndian.Uint16(b[p.at+2:]))
	}
	if b[0]&0x20 != 0 {
		pad := int(b[len(b)-1])
		if pad == 0 {
			return p, false
		}
		p.end -= pad
	}
	return p, p.at <= p.end
}

func putHeader(b []byte, marker bool, pt uint8, seq uint16, ts, ssrc uint32) {
	b[0], b[1] = 0x80, pt
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	binary.BigEndian.PutUint32(b[8:], ssrc)
}

// outbound is the one steady stream that we are to a far side, whatever its sound comes from.
//
// Sound of our own (prompt, music, silence) goes on from the last packet by its length. Sound of the other leg keeps the other's numbering but
// for a constant difference, so that a packet lost or late on the way in is a packet lost or late on the way out. When the source changes the
// differences are set anew: the next sequence number, and a timestamp as much later as the clock says.
type outbound struct {
	ssrc    uint32
	seq     uint16 // newest sent
	ts      uint32 // its timestamp
	at      int64  // when it was sent; 0: nothing yet
	samples uint32 // its length
	source  source // where it came from
	from    uint32 // SSRC of the other leg, while source is relayed

	dseq        uint16 // ours − theirs
	dts         uint32
	first, last uint16 // their first and newest sequence number since the differences were set
	lastTS      uint32
	young       int // packets for which a number before first is one that belongs before the change, and is dropped
}

type source uint8

const (
	nobody  source = iota // a gap: hold, nothing to say
	ours                  // prompt, music
	silent                // silence that we make
	relayed               // the other leg
)

// next is the timestamp of sound that begins now.
func (o *outbound) next(now int64) uint32 {
	if o.at == 0 {
		return o.ts
	}
	elapsed := uint32(max(0, now-o.at) * 8 / ms)
	return o.ts + max(o.samples, elapsed)
}

// own numbers a packet of our own sound.
func (o *outbound) own(from source, samples int, now int64) (marker bool, seq uint16, ts uint32) {
	switch {
	case o.source == from, o.source == ours && from == silent, o.source == silent && from == ours:
		ts = o.ts + o.samples // same wheel, no gap
		marker = o.source != from
	default:
		ts, marker = o.next(now), true
	}
	o.source, o.seq, o.ts, o.at, o.samples = from, o.seq+1, ts, now, uint32(samples)
	return marker, o.seq, ts
}

// How far a sequence number or timestamp may jump and still be the same stream: RFC 3550 A.1 has 3,000 and 100; a minute of pause is plausible.
const (
	maxDropout  = 1000
	maxMisorder = 100
	maxPause    = 60 * 8000
)

// relay numbers a packet of the other leg; ok is false for one that belongs before the change of source.
// event packets (RFC 4733) repeat the timestamp of the event's beginning.
func (o *outbound) relay(p *packet, event bool, samples int, now int64) (marker bool, seq uint16, ts uint32, ok bool) {
	d, jump := int(int16(p.seq-o.last)), int32(p.ts-o.lastTS)
	fresh := o.source != relayed || o.from != p.ssrc || d > maxDropout || d < -maxMisorder || jump > maxPause || jump < -maxPause
	if fresh {
		o.dseq, o.dts = o.seq+1-p.seq, o.next(now)-p.ts
		o.source, o.from, o.first, o.young = relayed, p.ssrc, p.seq, 100
		marker, d = true, 1
	} else {
		if o.young > 0 {
			o.young--
			if int16(p.seq-o.first) < 0 {
				return false, 0, 0, false
			}
		}
		marker = p.marker
	}
	seq, ts = p.seq+o.dseq, p.ts+o.dts
	if d > 0 {
		o.last, o.seq, o.at = p.seq, seq, now
		if fresh || !event || int32(ts-o.ts) > 0 {
			o.lastTS, o.ts = p.ts, ts
			o.samples = uint32(samples)
		}
	}
	return marker, seq, ts, true
}

// skip leaves out a packet of the other leg without a hole in our numbering.
func (o *outbound) skip(p *packet) {
	if o.source == relayed && o.from == p.ssrc && p.seq == o.last+1 {
		o.last = p.seq
		o.dseq--
	}
}

// inbound is what is known of the far side's current stream (RFC 3550 §6.4.1, A.3, A.8). One SSRC is current, one may be a candidate; so a flood of
// SSRCs costs nothing.
type inbound struct {
	have     bool
	ssrc     uint32
	seq      uint16 // newest
	cycles   uint32
	base     uint32 // first extended number
	received uint32
	at       int64 // when the newest came
	ts       uint32
	transit  int64
	jitter   int64 // × 16, in timestamp units

	rival struct {
		ssrc uint32
		seq  uint16
		n    int
	}

	priorExpected, priorReceived uint32
	lost                         int64 // of the streams before this one
}

// take counts a packet of an accepted source, and says whether it is of the current stream. A new SSRC takes over after three packets in
// order, or at once when the current one has been still for 100 ms.
func (in *inbound) take(p *packet, now int64) bool {
	if !in.have || p.ssrc != in.ssrc {
		if in.have && now-in.at < 100*ms {
			r := &in.rival
			if r.n > 0 && r.ssrc == p.ssrc && p.seq == r.seq+1 {
				r.n++
			} else {
				r.ssrc, r.n = p.ssrc, 1
			}
			r.seq = p.seq
			if r.n < 3 {
				return false
			}
		}
		in.begin(p, now)
		return true
	}
	in.rival.n = 0
	d := int(int16(p.seq - in.seq))
	if d > maxDropout || d < -maxMisorder {
		in.begin(p, now)
		return true
	}
	in.received++
	if d <= 0 {
		return true
	}
	if p.seq < in.seq {
		in.cycles += 1 << 16
	}
	transit := now*8/ms - int64(p.ts)
	if p.ts != in.ts { // event packets repeat their timestamp and say nothing about jitter
		diff := int64(int32(transit - in.transit))
		if diff < 0 {
			diff = -diff
		}
		if diff < 8000 {
			in.jitter += diff - (in.jitter+8)>>4
		}
		in.transit, in.ts = transit, p.ts
	}
	in.seq, in.at = p.seq, now
	return true
}

func (in *inbound) begin(p *packet, now int64) {
	lost := in.totalLost()
	*in = inbound{have: true, ssrc: p.ssrc, seq: p.seq, base: uint32(p.seq), received: 1, at: now, ts: p.ts, transit: now*8/ms - int64(p.ts), lost: lost}
}

func (in *inbound) highest() uint32 { return in.cycles | uint32(in.seq) }

func (in *inbound) expected() uint32 { return in.highest() - in.base + 1 }

func (in *inbound) totalLost() int64 {
	if !in.have {
		return in.lost
	}
	return in.lost + int64(in.expected()) - int64(in.received)
}

// latch learns where a far side sends from, and keeps to it.
type latch struct {
	on   bool
	src  sockaddr // where it sends from, once on
	said sockaddr // where its SDP said that it listens
	cand [2]candidate
}

// candidate is a source that may become the one: at said, or elsewhere.
type candidate struct {
	src  sockaddr
	ssrc uint32
	seq  uint16
	n    int
	at   int64
}

// accept says whether a packet may be heard. From where the SDP said it may be at once, and three in order make it the source; from elsewhere four in
// order do, unless the said one has been heard in the last second.
func (l *latch) accept(src *sockaddr, p *packet, now int64) bool {
	if l.on {
		return *src == l.src
	}
	c, need := &l.cand[1], 4
	said := *src == l.said
	if said {
		c, need = &l.cand[0], 3
	} else if l.cand[0].n > 0 && now-l.cand[0].at < second {
		return false
	}
	if d := p.seq - c.seq; c.n > 0 && c.src == *src && c.ssrc == p.ssrc && d > 0 && d < 4 {
		c.n++
	} else {
		c.src, c.ssrc, c.n = *src, p.ssrc, 1
	}
	c.seq, c.at = p.seq, now
	if c.n >= need {
		l.on, l.src = true, *src
		return true
	}
	return said
}

// again forgets the source: a re-INVITE may have moved it.
func (l *latch) again(said sockaddr) { *l = latch{said: said} }
