package media

import (
	"bytes"
	"fmt"
	"math"
	"testing"
	"time"

	"yingda/telephony"
	"yingda/telephony/sound"
)

// pack is a prompt pack for tests: "tone:HZ" is half a second of a tone, in every codec.
func pack(id, dialect string) (Clip, bool) {
	var hertz float64
	if _, err := fmt.Sscanf(id, "tone:%g", &hertz); err != nil {
		return Clip{}, false
	}
	s := sound.Tone(hertz, 4000, 4000)
	return Clip{PCMA: sound.EncodeA(s), PCMU: sound.EncodeU(s), G722: sound.EncodeG722(s)}, true
}

func TestPlay(t *testing.T) {
	for _, codec := range []Codec{PCMA, PCMU, G722} {
		b := newLab(t, Config{Clips: pack})
		x := b.phone("a", codec)
		b.run(40 * time.Millisecond)
		x.forget()
		x.leg.Play(7, []string{"tone:500", "silence:300", "missing", "tone:900"}, "", false, 0)
		b.run(1290 * time.Millisecond)
		if p := told[telephony.Played](b); len(p) != 0 {
			t.Fatalf("%s: played before its end: %v", codec, p)
		}
		b.run(60 * time.Millisecond)
		if p := told[telephony.Played](b); len(p) != 1 || p[0] != (telephony.Played{Leg: "a", Play: 7}) {
			t.Fatalf("%s: played %v", codec, p)
		}
		heard := x.listen()
		steady(t, heard)
		if !heard[0].marker || heard[1].marker || heard[64].marker {
			t.Errorf("%s: markers", codec)
		}
		s := samples(t, codec, heard)
		want := 20 * math.Log10(4000.0/32767)
		tolerance := 0.7
		if codec == G722 {
			tolerance = 1.5 // clips are coded from rest one by one; where they join, the far decoder needs a moment, longest with a pure tone
		}
		for _, c := range []struct {
			from, to int
			hertz    float64
			level    float64
		}{{200, 3800, 500, want}, {200, 3800, 900, -50}, {4200, 6300, 500, -60}, {6600, 10300, 900, want}} {
			if got := sound.Goertzel(s[c.from:c.to], c.hertz); math.Abs(got-c.level) > tolerance && !(c.level < -40 && got < c.level) {
				t.Errorf("%s: %g Hz from sample %d at %.1f dB, want %.1f", codec, c.hertz, c.from, got, c.level)
			}
		}
	}
}

// Every 20 ms, not one too few, not one too many, on the wheel's time.
func TestPlayIsPaced(t *testing.T) {
	b := newLab(t, Config{Clips: pack})
	x := b.phone("a", PCMA)
	x.leg.Play(1, []string{"tone:500"}, "", true, 0)
	b.run(30 * time.Millisecond)
	x.forget()
	for range 500 {
		b.run(time.Millisecond)
		x.listen()
	}
	if len(x.heard) != 25 {
		t.Fatalf("%d packets in half a second", len(x.heard))
	}
	for i := 1; i < len(x.heard); i++ {
		if gap := x.heardWhen[i] - x.heardWhen[i-1]; gap != 20*ms {
			t.Errorf("packet %d after %d ms", i, gap/ms)
		}
	}
}

func TestPlayIsCutAtOnce(t *testing.T) {
	b := newLab(t, Config{Clips: pack})
	x := b.phone("a", PCMA)
	x.leg.Play(1, []string{"tone:500"}, "", true, 0)
	b.run(2 * time.Second)
	x.leg.Play(2, []string{"tone:900"}, "", false, 0)
	b.run(100 * time.Millisecond)
	x.leg.Stop()
	b.run(time.Millisecond)
	x.forget()
	b.run(200 * time.Millisecond)
	if level := sound.RMS(samples(t, PCMA, x.listen())); level > -60 {
		t.Errorf("still %.1f dBov after the cut", level)
	}
	x.leg.Stop()
	b.run(time.Millisecond)
	if p := fmt.Sprint(told[telephony.Played](b)); p != "[{a 1 true} {a 2 true}]" {
		t.Errorf("played %v", p)
	}
}

func TestPlayNothing(t *testing.T) {
	b := newLab(t, Config{})
	b.phone("a", PCMA).leg.Play(3, []string{"none"}, "", false, 0)
	b.run(40 * time.Millisecond)
	if p := fmt.Sprint(told[telephony.Played](b)); p != "[{a 3 false}]" {
		t.Errorf("played %v", p)
	}
	x := b.phone("b", PCMA)
	x.leg.Play(4, []string{"none"}, "", true, 0)
	b.run(3 * time.Second)
	if p := told[telephony.Played](b); len(p) != 0 {
		t.Errorf("a loop over nothing ended: %v", p)
	}
}

func TestPlayGain(t *testing.T) {
	for _, codec := range []Codec{PCMA, PCMU, G722} {
		for _, gain := range []int{-8, 4, 8} {
			b := newLab(t, Config{Clips: pack})
			x := b.phone("a", codec)
			x.leg.Play(1, []string{"tone:700"}, "", true, gain)
			b.run(500 * time.Millisecond)
			got := sound.Goertzel(samples(t, codec, x.listen())[800:], 700)
			if want := 20*math.Log10(4000.0/32767) + float64(gain); math.Abs(got-want) > 0.6 {
				t.Errorf("%s at %+d dB: %.1f dB, want %.1f", codec, gain, got, want)
			}
		}
	}
}

// A prompt to a bridged leg is heard instead of the other, who is heard again afterwards.
func TestPlayOverBridge(t *testing.T) {
	b := newLab(t, Config{Clips: pack})
	x, y := b.phone("a", PCMA), b.phone("b", PCMA)
	b.plane.Bridge("a", "b")
	talk(b, y, wave(PCMA, 1100, 20))
	x.forget()
	x.leg.Play(1, []string{"tone:500"}, "", false, 0)
	talk(b, y, wave(PCMA, 1100, 50))
	heard := x.listen()
	steady(t, heard)
	s := samples(t, PCMA, heard)
	if during, after := sound.Goertzel(s[400:3800], 1100), sound.Goertzel(s[5000:], 1100); during > -40 || after < -14 {
		t.Errorf("the other at %.1f dB during the prompt, %.1f after", during, after)
	}
}

func TestFillJoinsClips(t *testing.T) {
	clips := map[string][]byte{"a": {1, 2, 3}, "b": {4, 5}}
	p, missing := newPlaying(1, []string{"a", "b", "x", "silence:bad"}, "", true, 0, func(id, _ string) (Clip, bool) { c, ok := clips[id]; return Clip{PCMA: c}, ok })
	if len(missing) != 2 {
		t.Errorf("missing %v", missing)
	}
	b := make([]byte, 12)
	p.fill(b, alaw)
	if !bytes.Equal(b, []byte{1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2}) {
		t.Errorf("% x", b)
	}
}
