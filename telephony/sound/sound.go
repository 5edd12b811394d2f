// Package sound is the arithmetic of telephone sound: G.711, the lower band of G.722, levels, tones and WAV files.
//
// How it is used: the tables turn codes into samples and into each other (ALaw, ULaw, AToU, UToA, Louder); an Encoder and a Decoder
// carry 8 kHz sound over G.722; Goertzel finds a tone; Active measures how loud speech is while somebody speaks; ReadWAV and WriteWAV
// move samples in and out of files. Samples are 16 bit, 8,000 a second, one channel.
//
// What it does not do: no resampling, no wideband, no packets. Pure: no clock, no files, no goroutine.
package sound

// Rate is the number of samples a second, everywhere in this package.
const Rate = 8000

// Codes of silence.
const (
	SilenceA = 0xD5 // A-law, +8
	SilenceU = 0xFF // µ-law, 0
	Silence7 = 0xFF // G.722, again and again: ±2 after a moment
)

// Tables of ITU-T G.711.
var (
	ALaw [256]int16 // A-law code → sample, 13 significant bits, ±32,256
	ULaw [256]int16 // µ-law code → sample, 14 significant bits, ±32,124
	AToU [256]byte  // A-law code → nearest µ-law code
	UToA [256]byte  // µ-law code → nearest A-law code

	fromLinearA [4096]byte // sample >> 4, offset by 2,048
	fromLinearU [16384]byte
	louderA     [2*MaxGain + 1][256]byte
	louderU     [2*MaxGain + 1][256]byte
)

// MaxGain is the largest step of Louder in dB, up or down.
const MaxGain = 12

func init() {
	for i := range 256 {
		ALaw[i], ULaw[i] = expandA(byte(i)), expandU(byte(i))
	}
	for i := range fromLinearA {
		fromLinearA[i] = compressA((i - 2048) << 4)
	}
	for i := range fromLinearU {
		fromLinearU[i] = compressU((i - 8192) << 2)
	}
	for i := range 256 {
		AToU[i], UToA[i] = ToULaw(ALaw[i]), ToALaw(ULaw[i])
	}
	for db := -MaxGain; db <= MaxGain; db++ {
		f := dB(db)
		for i := range 256 {
			louderA[db+MaxGain][i] = ToALaw(clip(f * float64(ALaw[i])))
			louderU[db+MaxGain][i] = ToULaw(clip(f * float64(ULaw[i])))
		}
	}
}

// expandA decodes one A-law code (G.711 table 1a: even bits inverted, 3 bits of segment, 4 of position; the value is the middle of its step).
func expandA(code byte) int16 {
	code ^= 0x55
	v := int(code&0x0F)<<4 + 8
	if seg := int(code>>4) & 7; seg > 0 {
		v = (v + 0x100) << (seg - 1)
	}
	if code&0x80 == 0 {
		v = -v
	}
	return int16(v)
}

func compressA(v int) byte {
	sign := byte(0x80)
	if v < 0 {
		sign, v = 0, -v-1
	}
	v = min(v, 32767)
	seg := 0
	for s := v >> 8; s > 0; s >>= 1 {
		seg++
	}
	pos := v >> 4
	if seg > 1 {
		pos = v >> (seg + 3)
	}
	return (sign | byte(seg<<4) | byte(pos&0x0F)) ^ 0x55
}

// expandU decodes one µ-law code (G.711 table 2a: all bits inverted, bias 33 on the 14 bit scale, 132 on ours).
func expandU(code byte) int16 {
	code = ^code
	v := (int(code&0x0F)<<3+132)<<(code>>4&7) - 132
	if code&0x80 != 0 {
		v = -v
	}
	return int16(v)
}

func compressU(v int) byte {
	sign := byte(0)
	if v < 0 {
		sign, v = 0x80, -v
	}
	v = min(v, 32635) + 132
	seg := 0
	for s := v >> 8; s > 0; s >>= 1 {
		seg++
	}
	return ^(sign | byte(seg<<4) | byte(v>>(seg+3)&0x0F))
}

// ToALaw gives the A-law code nearest to a sample.
func ToALaw(v int16) byte { return fromLinearA[int(v)>>4+2048] }

// ToULaw gives the µ-law code nearest to a sample.
func ToULaw(v int16) byte { return fromLinearU[int(v)>>2+8192] }

// LouderA gives the table that makes an A-law code db decibels louder (softer when negative), clipped to ±MaxGain.
func LouderA(db int) *[256]byte { return &louderA[max(-MaxGain, min(MaxGain, db))+MaxGain] }

// LouderU is LouderA for µ-law.
func LouderU(db int) *[256]byte { return &louderU[max(-MaxGain, min(MaxGain, db))+MaxGain] }

// DecodeA decodes a string of A-law codes.
func DecodeA(codes []byte) []int16 {
	out := make([]int16, len(codes))
	for i, c := range codes {
		out[i] = ALaw[c]
	}
	return out
}

// EncodeA encodes samples as A-law.
func EncodeA(samples []int16) []byte {
	out := make([]byte, len(samples))
	for i, v := range samples {
		out[i] = ToALaw(v)
	}
	return out
}

// EncodeU encodes samples as µ-law.
func EncodeU(samples []int16) []byte {
	out := make([]byte, len(samples))
	for i, v := range samples {
		out[i] = ToULaw(v)
	}
	return out
}
