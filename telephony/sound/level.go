package sound

import "math"

func dB(db int) float64 { return math.Pow(10, float64(db)/20) }

func clip(v float64) int16 { return int16(max(-32768, min(32767, math.Round(v)))) }

// Scale makes samples db decibels louder, clipped at full scale.
func Scale(samples []int16, db float64) []int16 {
	f, out := math.Pow(10, db/20), make([]int16, len(samples))
	for i, v := range samples {
		out[i] = clip(f * float64(v))
	}
	return out
}

// Tone makes samples of a sine of that frequency and peak amplitude.
func Tone(hertz, amplitude float64, samples int) []int16 {
	out := make([]int16, samples)
	for i := range out {
		out[i] = clip(amplitude * math.Sin(2*math.Pi*hertz*float64(i)/Rate))
	}
	return out
}

// Goertzel gives the level of one frequency in the samples, in dB below a full-scale sine (0 for that sine). −120 stands for nothing.
func Goertzel(samples []int16, hertz float64) float64 {
	if len(samples) == 0 {
		return -120
	}
	c := 2 * math.Cos(2*math.Pi*hertz/Rate)
	var s1, s2 float64
	for _, v := range samples {
		s1, s2 = float64(v)+c*s1-s2, s1
	}
	power := s1*s1 + s2*s2 - c*s1*s2
	return decibel(2*math.Sqrt(max(power, 0))/float64(len(samples)), 32767)
}

// RMS gives the level of the samples in dBov: 0 for a square wave at full scale, −3 for a full-scale sine. −120 stands for nothing.
func RMS(samples []int16) float64 {
	if len(samples) == 0 {
		return -120
	}
	var sum float64
	for _, v := range samples {
		sum += float64(v) * float64(v)
	}
	return decibel(math.Sqrt(sum/float64(len(samples))), 32768)
}

// Peak gives the largest sample in dBFS. −120 stands for nothing.
func Peak(samples []int16) float64 {
	most := 0
	for _, v := range samples {
		most = max(most, int(v), -int(v))
	}
	return decibel(float64(most), 32768)
}

func decibel(v, full float64) float64 {
	if v <= 0 {
		return -120
	}
	return max(-120, 20*math.Log10(v/full))
}

// Active measures speech the way RFC 7874 §4 asks: after a second-order Butterworth high-pass at 300 Hz, the level (dBov) of those 10 ms blocks
// in which somebody speaks, and their share of the whole (0 … 1). A block counts as speech when it is within 16 dB of the mean of the speech, which is
// found by going from everything to less until nothing changes (the margin of ITU-T P.56), with 200 ms of hangover, so that the gaps inside words count.
func Active(samples []int16) (level, share float64) {
	const block = Rate / 100
	blocks := highPass(samples, block)
	if len(blocks) == 0 {
		return -120, 0
	}
	threshold := 0.0
	for range 20 {
		sum, n, hang := 0.0, 0, 0
		for _, e := range blocks {
			switch {
			case e > threshold:
				hang = 20
			case hang > 0:
				hang--
			}
			if e > threshold || hang > 0 {
				sum, n = sum+e, n+1
			}
		}
		if n == 0 || sum == 0 {
			return -120, 0
		}
		mean := sum / float64(n)
		level, share = decibel(math.Sqrt(mean), 32768), float64(n)/float64(len(blocks))
		next := mean * math.Pow(10, -1.6)
		if math.Abs(next-threshold) <= 1e-6*next {
			break
		}
		threshold = next
	}
	return level, share
}

// highPass filters with a second-order Butterworth high-pass at 300 Hz and gives the mean square of each whole block.
func highPass(samples []int16, block int) []float64 {
	k := math.Tan(math.Pi * 300 / Rate)
	n := 1 / (1 + math.Sqrt2*k + k*k)
	a1, a2 := 2*(k*k-1)*n, (1-math.Sqrt2*k+k*k)*n
	var x1, x2, y1, y2, sum float64
	out := make([]float64, 0, len(samples)/block+1)
	for i, v := range samples {
		x := float64(v)
		y := n*(x-2*x1+x2) - a1*y1 - a2*y2
		x1, x2, y1, y2 = x, x1, y, y1
		sum += y * y
		if (i+1)%block == 0 {
			out, sum = append(out, sum/float64(block)), 0
		}
	}
	return out
}
