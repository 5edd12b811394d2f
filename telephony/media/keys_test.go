package media

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"yingda/telephony"
)

// event is one event packet: at milliseconds, seq, timestamp, key, end, duration.
type event struct {
	at       int64
	seq      uint16
	ts       uint32
	key      byte
	end      bool
	duration uint16
}

func (e event) payload() []byte {
	b := []byte{byte(strings.IndexByte(keyNames, e.key)), 10, byte(e.duration >> 8), byte(e.duration)}
	if e.end {
		b[1] |= 0x80
	}
	return b
}

// press is a press as phones send it: every 20 ms while it lasts, the end three times.
func press(at int64, seq uint16, ts uint32, key byte, length int64) (out []event) {
	for t := int64(0); t < length; t += 20 {
		out = append(out, event{at + t, seq, ts, key, false, uint16(t * 8)})
		seq++
	}
	for range 3 {
		out = append(out, event{at + length, seq, ts, key, true, uint16(length * 8)})
		seq++
	}
	return out
}

func TestKeys(t *testing.T) {
	join := func(lists ...[]event) (out []event) {
		for _, l := range lists {
			out = append(out, l...)
		}
		return out
	}
	one := press(0, 10, 1000, '5', 200)
	for _, c := range []struct {
		name   string
		events []event
		want   string
	}{
		{"a press", one, "5"},
		{"start lost", one[4:], "5"},
		{"all but one end lost", one[len(one)-1:], "5"},
		{"end lost, then another key", join(one[:6], press(600, 30, 6000, '7', 100)), "57"},
		{"end lost, then the same key", join(one[:6], press(600, 30, 6000, '5', 100)), "55"},
		{"end lost, then the same key under the same timestamp", join(one[:6], press(600, 30, 1000, '5', 100)), "55"},
		{"the same timestamp for another press", join(one, press(600, 30, 1000, '5', 200)), "55"},
		{"the same timestamp for another key", join(one, press(600, 30, 1000, '6', 200)), "56"},
		{"one timestamp for ever, keys at once", join(press(0, 1, 0, '1', 60), press(70, 10, 0, '2', 60), press(140, 20, 0, '3', 60)), "123"},
		{"a long press", press(0, 1, 1000, '#', 9000), "#"},
		{"a press so long that it is cut in segments", join(press(0, 1, 1000, '*', 8180)[:409], press(8180, 500, 1000+65535, '*', 500)), "*"},
		{"a double press of a trembling finger", join(press(0, 1, 1000, '1', 80), press(200, 20, 2600, '1', 80)), "1"},
		{"the same key twice, on purpose", join(press(0, 1, 1000, '1', 80), press(300, 20, 3400, '1', 80)), "11"},
		{"another SSRC", join(press(0, 1, 1000, '1', 80), press(300, 9000, 77, '1', 80)), "11"},
		{"a pause in the middle of a press", join(one[:3], []event{{500, 20, 1000, '5', false, 4000}, {520, 21, 1000, '5', true, 4160}}), "5"},
		{"the end after a gap", join(one[:6], []event{{400, 20, 1000, '5', true, 3200}}), "5"},
		{"late packets of the press before", join(one[:8], press(300, 30, 3000, '6', 100), []event{{700, 18, 1000, '5', true, 1600}}), "56"},
		{"not a key", []event{{at: 0, seq: 1, ts: 1, key: 'x'}}, ""},
	} {
		var k keypad
		got := ""
		for _, e := range c.events {
			b := e.payload()
			if e.key == 'x' {
				b[0] = 16 // flash
			}
			p := packet{b: b, end: len(b), seq: e.seq, ts: e.ts, ssrc: 1}
			key, ok := k.take(&p, second+e.at*ms)
			if !ok {
				t.Errorf("%s: %+v is bad", c.name, e)
			}
			got += key
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
}

// Keys of a bridged leg are reported once and passed on under the other's number; where the other has none they leave no hole.
func TestKeysPassThrough(t *testing.T) {
	for _, other := range []int{96, 0} {
		b := newLab(t, Config{})
		x, y := b.phone("a", PCMA), b.phone("b", PCMU, func(r *Remote) { r.EventType = other })
		b.plane.Bridge("a", "b")
		b.run(time.Millisecond)
		y.forget()
		talk(b, x, wave(PCMA, 440, 10))
		for _, e := range press(0, 0, 0, '8', 100) {
			x.raw(rtp(101, x.seq, x.ts, x.ssrc, event{0, 0, 0, '8', e.end, e.duration}.payload()))
			x.seq++
			b.run(20 * time.Millisecond)
		}
		x.ts += 160 * 8
		talk(b, x, wave(PCMA, 440, 10))
		if d := told[telephony.Digit](b); len(d) != 1 || d[0] != (telephony.Digit{Leg: "a", Key: "8"}) {
			t.Fatalf("digits %v", d)
		}
		heard := y.listen()
		events, ts := 0, map[uint32]bool{}
		for i, p := range heard {
			if i > 0 && p.seq != heard[i-1].seq+1 {
				t.Fatalf("a hole before packet %d: %d after %d", i, p.seq, heard[i-1].seq)
			}
			if p.pt == 96 {
				events++
				ts[p.ts] = true
				if p.payload()[0] != 8 || len(p.payload()) != 4 {
					t.Errorf("event % x", p.payload())
				}
			}
		}
		if want := map[int]int{96: 8, 0: 0}[other]; events != want || want > 0 && len(ts) != 1 {
			t.Errorf("%d event packets with %d timestamps, want %d with one", events, len(ts), want)
		}
		if last, first := heard[len(heard)-1], heard[0]; last.ts-first.ts != (9+8+10)*160 {
			t.Errorf("the sound after the key is %d later than the first", last.ts-first.ts)
		}
	}
}

func TestKeysByINFO(t *testing.T) {
	b, x, _ := bridged(t, PCMA, PCMA)
	x.leg.Digit("3")
	b.run(50 * time.Millisecond)
	for _, e := range press(0, 0, 0, '3', 60) {
		x.raw(rtp(101, x.seq, x.ts, x.ssrc, event{0, 0, 0, '3', e.end, e.duration}.payload()))
		x.seq++
		b.run(20 * time.Millisecond)
	}
	x.leg.Digit("3")
	b.run(200 * time.Millisecond)
	x.leg.Digit("3")
	for _, bad := range []string{"", "12", "x", "é"} {
		x.leg.Digit(bad)
	}
	x.leg.Digit("A")
	b.run(time.Millisecond)
	if d := fmt.Sprint(told[telephony.Digit](b)); d != "[{a 3} {a 3} {a A}]" {
		t.Errorf("digits %v", d)
	}
}
