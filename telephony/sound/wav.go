package sound

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Formats of a WAV file that are read and written here (RFC 2361).
const (
	PCM16 = 1
	WAVA  = 6
	WAVU  = 7
)

// ErrWAV is wrapped by every error of ReadWAV.
var ErrWAV = errors.New("not a WAV file that we can read")

// ReadWAV reads a WAV file: one channel, 8,000 a second, 16 bit PCM, A-law or µ-law.
func ReadWAV(b []byte) ([]int16, error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return nil, fmt.Errorf("%w: no RIFF and WAVE at its beginning", ErrWAV)
	}
	format := 0
	for b = b[12:]; len(b) >= 8; {
		name, n := string(b[:4]), int64(binary.LittleEndian.Uint32(b[4:]))
		b = b[8:]
		if n > int64(len(b)) {
			return nil, fmt.Errorf("%w: the part %q is cut off: %d bytes said, %d there", ErrWAV, name, n, len(b))
		}
		part := b[:n]
		switch name {
		case "fmt ":
			if n < 16 {
				return nil, fmt.Errorf("%w: its format has %d bytes", ErrWAV, n)
			}
			format = int(binary.LittleEndian.Uint16(part))
			channels, rate, bits := binary.LittleEndian.Uint16(part[2:]), binary.LittleEndian.Uint32(part[4:]), binary.LittleEndian.Uint16(part[14:])
			if channels != 1 || rate != Rate {
				return nil, fmt.Errorf("%w: %d channels at %d a second, want 1 at %d", ErrWAV, channels, rate, Rate)
			}
			if !(format == PCM16 && bits == 16 || (format == WAVA || format == WAVU) && bits == 8) {
				return nil, fmt.Errorf("%w: format %d with %d bits, want 16 bit PCM, A-law or µ-law", ErrWAV, format, bits)
			}
		case "data":
			switch format {
			case PCM16:
				out := make([]int16, n/2)
				for i := range out {
					out[i] = int16(binary.LittleEndian.Uint16(part[2*i:]))
				}
				return out, nil
			case WAVA:
				return DecodeA(part), nil
			case WAVU:
				out := make([]int16, n)
				for i, c := range part {
					out[i] = ULaw[c]
				}
				return out, nil
			}
			return nil, fmt.Errorf("%w: sound before its format", ErrWAV)
		}
		b = b[min(n+n&1, int64(len(b))):]
	}
	return nil, fmt.Errorf("%w: no sound in it", ErrWAV)
}

// HeaderWAV makes the header of a WAV file with that many bytes of sound: PCM16 has 44 bytes, the others 58 (with the fact chunk of RFC 2361).
// The whole file is padded to an even length by whoever writes it.
func HeaderWAV(format, channels int, data int64) []byte {
	width := 1
	if format == PCM16 {
		width = 2
	}
	b := make([]byte, 0, 58)
	le16 := func(v int) { b = binary.LittleEndian.AppendUint16(b, uint16(v)) }
	le32 := func(v int64) { b = binary.LittleEndian.AppendUint32(b, uint32(v)) }
	head, size := int64(36), int64(16)
	if format != PCM16 {
		head, size = 50, 18
	}
	b = append(b, "RIFF"...)
	le32(head + data + data&1)
	b = append(b, "WAVEfmt "...)
	le32(size)
	le16(format)
	le16(channels)
	le32(Rate)
	le32(int64(Rate * channels * width))
	le16(channels * width)
	le16(8 * width)
	if format != PCM16 {
		le16(0)
		b = append(b, "fact"...)
		le32(4)
		le32(data / int64(channels))
	}
	b = append(b, "data"...)
	le32(data)
	return b
}

// WriteWAV makes a WAV file of one channel in A-law.
func WriteWAV(codes []byte) []byte {
	out := append(HeaderWAV(WAVA, 1, int64(len(codes))), codes...)
	if len(codes)%2 == 1 {
		out = append(out, 0)
	}
	return out
}
