package media

import (
	"encoding/binary"
	"strings"
)

// keyNames are the events of RFC 4733 table 3 that are keys.
const keyNames = "0123456789*#ABCD"

// again is how soon a key counts as pressed again: the fingers of older callers stutter, and the same press comes by RTP and by INFO.
const again = 150 * ms

// keypad turns event packets into presses, each once.
//
// What is out there: the start lost, the end lost, no marker, the end sent three times, one timestamp for press after press, a long press cut
// into segments with a timestamp each (RFC 4733 §2.5.1.3), packets out of order. So a press is told by a key that has not been heard for 150 ms,
// or by another key; timestamps and sequence numbers only say what is late.
type keypad struct {
	on       bool
	ssrc     uint32
	ts       uint32 // of the current press
	seq      uint16 // newest event packet
	event    uint8
	ended    bool
	duration uint16
	heard    [16]int64 // when each key was last heard, 0: never
}

// take looks at one event packet and says which key has been pressed; "" for none.
func (k *keypad) take(p *packet, now int64) (key string, ok bool) {
	b := p.payload()
	if len(b) < 4 {
		return "", false
	}
	event, end, duration := b[0], b[1]&0x80 != 0, binary.BigEndian.Uint16(b[2:])
	if int(event) >= len(keyNames) {
		return "", true // flash, tones, signals: passed on, not a key
	}
	same := k.on && k.ssrc == p.ssrc && k.ts == p.ts && k.event == event
	if k.on && k.ssrc == p.ssrc && int16(p.seq-k.seq) < 0 && int32(p.ts-k.ts) <= 0 {
		return "", true // late: of this press or an earlier one
	}
	last := k.heard[event]
	k.heard[event] = now
	paused := last == 0 || now-last >= again
	pressed := paused
	if same && paused {
		// The timestamp of before. A new press begins anew or follows an end; else we have only not heard for a while.
		pressed = k.ended && !end || duration < k.duration
	}
	k.on, k.ssrc, k.ts, k.seq, k.event, k.ended, k.duration = true, p.ssrc, p.ts, p.seq, event, end, duration
	if !pressed {
		return "", true
	}
	return keyNames[event : event+1], true
}

// press takes a key that came by INFO and says whether it is a new press.
func (k *keypad) press(key string, now int64) bool {
	i := strings.Index(keyNames, key)
	if len(key) != 1 || i < 0 {
		return false
	}
	last := k.heard[i]
	k.heard[i] = now
	return last == 0 || now-last >= again
}
