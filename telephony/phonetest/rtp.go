package phonetest

import "encoding/binary"

// packet is an RTP packet as it came (RFC 3550 §5.1).
type packet struct {
	payload byte
	seq     uint16
	stamp   uint32
	ssrc    uint32
	body    []byte
}

func parseRTP(b []byte) (packet, bool) {
	if len(b) < 12 || b[0]>>6 != 2 {
		return packet{}, false
	}
	p := packet{payload: b[1] & 0x7f, seq: binary.BigEndian.Uint16(b[2:]), stamp: binary.BigEndian.Uint32(b[4:]), ssrc: binary.BigEndian.Uint32(b[8:])}
	at := 12 + 4*int(b[0]&15)
	if b[0]&0x10 != 0 { // header extension
		if len(b) < at+4 {
			return packet{}, false
		}
		at += 4 + 4*int(binary.BigEndian.Uint16(b[at+2:]))
	}
	end := len(b)
	if b[0]&0x20 != 0 { // padding
		end -= int(b[len(b)-1])
	}
	if at > end {
		return packet{}, false
	}
	p.body = b[at:end]
	return p, true
}

// tally counts what came and what did not (RFC 3550 A.3, without the probation).
type tally struct {
	ssrc           uint32
	base, top      int64 // extended sequence numbers of this source
	here           int   // received of this source
	received, lost int   // of all before
	sources        int
}

func (t *tally) count(p packet) {
	d := int64(int16(p.seq - uint16(t.top)))
	if t.sources == 0 || p.ssrc != t.ssrc || d > 3000 || d < -3000 {
		t.received, t.lost = t.all(), t.missing()
		if t.sources == 0 || p.ssrc != t.ssrc {
			t.sources++
		}
		t.ssrc, t.base, t.top, t.here = p.ssrc, int64(p.seq), int64(p.seq), 1
		return
	}
	t.here++
	t.base, t.top = min(t.base, t.top+d), max(t.top, t.top+d)
}

func (t *tally) all() int { return t.received + t.here }

func (t *tally) missing() int {
	if t.here == 0 {
		return t.lost
	}
	return t.lost + max(0, int(t.top-t.base)+1-t.here)
}
