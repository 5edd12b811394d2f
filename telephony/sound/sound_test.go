package sound_test

import (
	"errors"
	"math"
	"testing"

	"yingda/telephony/sound"
)

// Values of G.711 tables 1a and 2a: the ends, the middle and the first step of a segment, on the 16 bit scale.
func TestG711Tables(t *testing.T) {
	for _, c := range []struct {
		code byte
		a, u int16
	}{
		{0xD5, 8, 716}, {0x55, -8, -716}, {0xAA, 32256, 5372}, {0x2A, -32256, -5372}, {0x80, 5504, 32124}, {0x00, -5504, -32124}, {0xFF, 848, 0},
	} {
		if got := sound.ALaw[c.code]; got != c.a {
			t.Errorf("A-law %02x is %d, want %d", c.code, got, c.a)
		}
		if got := sound.ULaw[c.code]; got != c.u {
			t.Errorf("µ-law %02x is %d, want %d", c.code, got, c.u)
		}
	}
}

func TestG711RoundTrip(t *testing.T) {
	for i := range 256 {
		code := byte(i)
		if got := sound.ToALaw(sound.ALaw[code]); got != code {
			t.Errorf("A-law %02x comes back as %02x", code, got)
		}
		want := code
		if code == 0x7F {
			want = 0xFF // the two zeros of µ-law
		}
		if got := sound.ToULaw(sound.ULaw[code]); got != want {
			t.Errorf("µ-law %02x comes back as %02x", code, got)
		}
	}
	for v := math.MinInt16; v <= math.MaxInt16; v += 7 {
		s := int16(v)
		for name, back := range map[string]int16{"A": sound.ALaw[sound.ToALaw(s)], "µ": sound.ULaw[sound.ToULaw(s)],
			"A→µ": sound.ULaw[sound.AToU[sound.ToALaw(s)]], "µ→A": sound.ALaw[sound.UToA[sound.ToULaw(s)]]} {
			if diff := math.Abs(float64(back) - float64(s)); diff > 24+0.07*math.Abs(float64(s)) {
				t.Fatalf("%s: %d comes back as %d", name, s, back)
			}
		}
	}
}

func TestLouder(t *testing.T) {
	tone := sound.EncodeA(sound.Tone(1004, 8000, 800))
	for _, db := range []int{-12, -8, -4, 0, 4, 8} {
		louder := make([]byte, len(tone))
		for i, c := range tone {
			louder[i] = sound.LouderA(db)[c]
		}
		got := sound.Goertzel(sound.DecodeA(louder), 1004) - sound.Goertzel(sound.DecodeA(tone), 1004)
		if math.Abs(got-float64(db)) > 0.3 {
			t.Errorf("%+d dB made %+.2f dB", db, got)
		}
	}
}

// A tone through G.722 and back keeps its level, and what is not the tone stays 25 dB below.
func TestG722(t *testing.T) {
	for _, hertz := range []float64{300, 1004, 2000, 3000} {
		for _, amplitude := range []float64{300, 3000, 16000} {
			in := sound.Tone(hertz, amplitude, 4000)
			d := sound.NewDecoderG722()
			out := make([]int16, 0, len(in))
			for _, c := range sound.EncodeG722(in) {
				out = append(out, d.Decode(c))
			}
			in, out = in[800:], out[800:]
			if diff := sound.Goertzel(out, hertz) - sound.Goertzel(in, hertz); math.Abs(diff) > 0.5 {
				t.Errorf("%g Hz at %g: level changes by %.2f dB", hertz, amplitude, diff)
			}
			noise := make([]int16, len(out))
			for i := range out {
				noise[i] = out[i] - in[i]
			}
			if gap := sound.RMS(in) - sound.RMS(noise); gap < 25 {
				t.Errorf("%g Hz at %g: only %.1f dB over its noise", hertz, amplitude, gap)
			}
		}
	}
}

// A decoder of the whole band (both bands and the synthesis filter, written from the standard for this test) hears what our encoder codes.
func TestG722WholeBand(t *testing.T) {
	in := sound.Tone(1004, 6000, 4000)
	out := decodeWhole(sound.EncodeG722(in))
	// 16,000 a second: the tone stands at half its frequency on our scale
	if got, want := sound.Goertzel(out[2000:], 502), sound.Goertzel(in[1000:], 1004); math.Abs(got-want) > 0.5 {
		t.Errorf("level %.2f dB, want %.2f", got, want)
	}
	if got := sound.Goertzel(out[2000:], (8000-1004)/2); got > -60 {
		t.Errorf("mirror of the tone in the upper band at %.1f dB", got)
	}
}

// decodeWhole takes the lower band from our decoder and the upper as silent, as our encoder makes it.
func decodeWhole(codes []byte) []int16 {
	taps := [12]int{3, -11, 12, 32, -210, 951, 3876, -805, 362, -156, 53, -11}
	d := sound.NewDecoderG722()
	var x [24]int
	var out []int16
	for _, c := range codes {
		low := int(d.Decode(c)) / 2
		copy(x[:], x[2:])
		x[22], x[23] = low, low
		var even, odd int
		for i := range 12 {
			even += x[2*i] * taps[i]
			odd += x[2*i+1] * taps[11-i]
		}
		out = append(out, int16(odd>>11), int16(even>>11))
	}
	return out
}

func TestLevels(t *testing.T) {
	if got := sound.RMS(sound.Tone(1000, 32767, 8000)); math.Abs(got+3.01) > 0.02 {
		t.Errorf("full-scale sine at %.2f dBov", got)
	}
	// Speech of 2,600 RMS in half of the time: −22 dBov while it lasts.
	speech := append(sound.Tone(1000, 2600*math.Sqrt2, 16000), make([]int16, 16000)...)
	level, share := sound.Active(speech)
	if math.Abs(level+22) > 0.5 || share < 0.5 || share > 0.58 {
		t.Errorf("active level %.2f dBov in %.2f of the time", level, share)
	}
	if level, share := sound.Active(make([]int16, 8000)); level != -120 || share != 0 {
		t.Errorf("nothing measured as %.1f, %.2f", level, share)
	}
}

func TestWAV(t *testing.T) {
	codes := sound.EncodeA(sound.Tone(440, 5000, 801))
	file := sound.WriteWAV(codes)
	got, err := sound.ReadWAV(file)
	if err != nil || len(got) != len(codes) || sound.ToALaw(got[17]) != codes[17] {
		t.Fatalf("comes back as %d samples, %v", len(got), err)
	}
	for cut := range len(file) - 1 {
		if _, err := sound.ReadWAV(file[:cut]); !errors.Is(err, sound.ErrWAV) {
			t.Fatalf("cut to %d bytes it is read, %v", cut, err)
		}
	}
}

func FuzzReadWAV(f *testing.F) {
	f.Add(sound.WriteWAV([]byte{1, 2, 3}))
	f.Add(append(sound.HeaderWAV(sound.PCM16, 1, 4), 1, 2, 3, 4))
	f.Add([]byte("RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := sound.ReadWAV(b); err == nil && len(s) > len(b) {
			t.Fatalf("%d samples out of %d bytes", len(s), len(b))
		}
	})
}
