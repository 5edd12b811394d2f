package sound

// G.722 at 64 kbit/s splits 16 kHz sound into two bands of 8,000 samples a second, codes each by ADPCM, and puts 6 bits of the lower and 2 of
// the upper into a byte. Telephone sound is the lower band, so that 8 kHz samples can be coded straight into it, with silence above, and
// read straight out of it, without a filter and without resampling. Names in brackets are the blocks of ITU-T G.722 §6.

// band is the state of one sub-band's predictor and quantiser.
type band struct {
	s, sp, sz int    // predicted signal: whole, by poles, by zeros
	a         [3]int // pole coefficients, [1] and [2]
	b         [7]int // zero coefficients, [1] … [6]
	d         [7]int // past quantised differences
	p         [3]int // past partial reconstructions
	r         [3]int // past reconstructions
	nb, det   int    // log of the step, step
}

// EncoderG722 codes 8 kHz samples as G.722. Make it with NewEncoderG722.
type EncoderG722 struct{ low, high band }

// DecoderG722 gives the lower band of G.722 as 8 kHz samples. Make it with NewDecoderG722.
type DecoderG722 struct{ low band }

// NewEncoderG722 makes an encoder at rest.
func NewEncoderG722() *EncoderG722 { return &EncoderG722{low: band{det: 32}, high: band{det: 8}} }

// NewDecoderG722 makes a decoder at rest.
func NewDecoderG722() *DecoderG722 { return &DecoderG722{low: band{det: 32}} }

// Encode codes one sample into one byte.
func (e *EncoderG722) Encode(v int16) byte {
	low := e.low.quantiseLow(int(v) >> 1)
	e.low.stepLow(low >> 2)
	high := e.high.quantiseHigh(0)
	e.high.stepHigh(high)
	return byte(high<<6 | low)
}

// Decode gives the lower band's sample of one byte.
func (d *DecoderG722) Decode(code byte) int16 {
	low := int(code & 0x3F)
	v := max(-16384, min(16383, clip16(d.low.s+d.low.det*invert6[low]>>15)))
	d.low.stepLow(low >> 2)
	return int16(v * 2)
}

// EncodeG722 codes samples from rest.
func EncodeG722(samples []int16) []byte {
	e, out := NewEncoderG722(), make([]byte, len(samples))
	for i, v := range samples {
		out[i] = e.Encode(v)
	}
	return out
}

// quantiseLow [SUBTRA, QUANTL] gives the 6 bit code of the lower band.
func (b *band) quantiseLow(x int) int {
	e := clip16(x - b.s)
	m := e
	if e < 0 {
		m = -(e + 1)
	}
	i := 1
	for i < 30 && m >= decide6[i]*b.det>>12 {
		i++
	}
	if e < 0 {
		return code6n[i]
	}
	return code6p[i]
}

// stepLow [INVQAL, LOGSCL, SCALEL] moves the lower band on by the upper four bits of its code.
func (b *band) stepLow(code4 int) {
	d := b.det * invert4[code4] >> 15
	b.nb = max(0, min(18432, b.nb*127>>7+logLow[level4[code4]]))
	b.det = scale(b.nb, 8)
	b.predict(d)
}

// quantiseHigh [SUBTRA, QUANTH] gives the 2 bit code of the upper band.
func (b *band) quantiseHigh(x int) int {
	e := clip16(x - b.s)
	m := e
	if e < 0 {
		m = -(e + 1)
	}
	big := m >= 564*b.det>>12
	switch {
	case e < 0 && big:
		return 0
	case e < 0:
		return 1
	case big:
		return 2
	}
	return 3
}

// stepHigh [INVQAH, LOGSCH, SCALEH] moves the upper band on.
func (b *band) stepHigh(code2 int) {
	d := b.det * invert2[code2] >> 15
	b.nb = max(0, min(22528, b.nb*127>>7+logHigh[code2&1]))
	b.det = scale(b.nb, 10)
	b.predict(d)
}

func scale(nb, base int) int {
	shift := base - nb>>11
	v := antilog[nb>>6&31]
	if shift < 0 {
		return v << -shift << 2
	}
	return v >> shift << 2
}

// predict [block 4: RECONS, PARREC, UPPOL2, UPPOL1, UPZERO, DELAYA, FILTEP, FILTEZ, PREDIC] adapts to the quantised difference d.
func (b *band) predict(d int) {
	b.d[0] = d
	b.r[0] = clip16(b.s + d)
	b.p[0] = clip16(b.sz + d)
	same := func(x, y int) bool { return x>>15 == y>>15 }

	w := clip16(b.a[1] << 2)
	if same(b.p[0], b.p[1]) {
		w = min(-w, 32767)
	}
	w >>= 7
	if same(b.p[0], b.p[2]) {
		w += 128
	} else {
		w -= 128
	}
	a2 := max(-12288, min(12288, w+b.a[2]*32512>>15))

	w = -192
	if same(b.p[0], b.p[1]) {
		w = 192
	}
	most := clip16(15360 - a2)
	a1 := max(-most, min(most, clip16(w+b.a[1]*32640>>15)))

	w = 128
	if d == 0 {
		w = 0
	}
	var z [7]int
	for i := 1; i < 7; i++ {
		v := -w
		if same(d, b.d[i]) {
			v = w
		}
		z[i] = clip16(v + b.b[i]*32640>>15)
	}
	b.b = z
	copy(b.d[1:], b.d[:6])
	copy(b.r[1:], b.r[:2])
	copy(b.p[1:], b.p[:2])
	b.a[1], b.a[2] = a1, a2

	b.sp = clip16(a1*clip16(b.r[1]*2)>>15 + a2*clip16(b.r[2]*2)>>15)
	b.sz = 0
	for i := 6; i > 0; i-- {
		b.sz += b.b[i] * clip16(b.d[i]*2) >> 15
	}
	b.sz = clip16(b.sz)
	b.s = clip16(b.sp + b.sz)
}

func clip16(v int) int { return max(-32768, min(32767, v)) }

// Tables of ITU-T G.722 §6.
var (
	decide6 = [30]int{0, 35, 72, 110, 150, 190, 233, 276, 323, 370, 422, 473, 530, 587, 650, 714, 786, 858, 940, 1023, 1121, 1219, 1339,
		1458, 1612, 1765, 1980, 2195, 2557, 2919}
	code6n  = [31]int{0, 63, 62, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4}
	code6p  = [31]int{0, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, 49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32}
	invert6 = [64]int{-136, -136, -136, -136, -24808, -21904, -19008, -16704, -14984, -13512, -12280, -11192, -10232, -9360, -8576, -7856,
		-7192, -6576, -6000, -5456, -4944, -4464, -4008, -3576, -3168, -2776, -2400, -2032, -1688, -1360, -1040, -728,
		24808, 21904, 19008, 16704, 14984, 13512, 12280, 11192, 10232, 9360, 8576, 7856, 7192, 6576, 6000, 5456,
		4944, 4464, 4008, 3576, 3168, 2776, 2400, 2032, 1688, 1360, 1040, 728, 432, 136, -432, -136}
	invert4 = [16]int{0, -20456, -12896, -8968, -6288, -4240, -2584, -1200, 20456, 12896, 8968, 6288, 4240, 2584, 1200, 0}
	invert2 = [4]int{-7408, -1616, 7408, 1616}
	level4  = [16]int{0, 7, 6, 5, 4, 3, 2, 1, 7, 6, 5, 4, 3, 2, 1, 0}
	logLow  = [8]int{-60, -30, 58, 172, 334, 538, 1198, 3042}
	logHigh = [2]int{798, -214} // by the lower bit of the code: 0 is the outer step
	antilog = [32]int{2048, 2093, 2139, 2186, 2233, 2282, 2332, 2383, 2435, 2489, 2543, 2599, 2656, 2714, 2774, 2834,
		2896, 2960, 3025, 3091, 3158, 3228, 3298, 3371, 3444, 3520, 3597, 3676, 3756, 3838, 3922, 4008}
)
