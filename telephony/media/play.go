package media

import (
	"strconv"
	"strings"

	"yingda/telephony"
	"yingda/telephony/sound"
)

// playing is a list of prompts on its way to a leg. Clips are shared and never written.
type playing struct {
	id      telephony.PlayID
	parts   []part
	loop    bool
	gain    int
	i, off  int
	begun   bool // its first packet has been sent
	ended   bool // all of it has been sent
	encoder *sound.EncoderG722
}

// part is a clip, or silence; length in samples.
type part struct {
	clip   Clip
	length int
}

// longestSilence bounds "silence:N".
const longestSilence = 60_000

// newPlaying looks the prompts up. What the pack does not have is left out, and its ids returned.
func newPlaying(id telephony.PlayID, prompts []string, dialect string, loop bool, gain int, clips func(id, dialect string) (Clip, bool)) (*playing, []string) {
	p := &playing{id: id, loop: loop, gain: max(-sound.MaxGain, min(sound.MaxGain, gain))}
	var missing []string
	total := 0
	for _, name := range prompts {
		if s, ok := strings.CutPrefix(name, "silence:"); ok {
			n, err := strconv.Atoi(s)
			if err != nil || n < 0 {
				missing = append(missing, name)
				continue
			}
			p.parts = append(p.parts, part{length: min(n, longestSilence) * sound.Rate / 1000})
		} else {
			var clip Clip
			ok := false
			if clips != nil {
				clip, ok = clips(name, dialect)
			}
			if !ok || len(clip.PCMA) == 0 {
				missing = append(missing, name)
				continue
			}
			p.parts = append(p.parts, part{clip: clip, length: len(clip.PCMA)})
		}
		total += p.parts[len(p.parts)-1].length
	}
	if total == 0 {
		// A loop over nothing lasts until it is cut, all the same; anything else over nothing ends at once.
		p.parts = nil
		if loop {
			p.parts = []part{{length: sound.Rate}}
		}
		p.ended = !loop
	}
	return p, missing
}

// fill writes the next samples in codec, silence after the end.
func (p *playing) fill(b []byte, codec lang) {
	for len(b) > 0 {
		if p.ended || p.i == len(p.parts) {
			fillSilence(b, codec)
			p.ended = true
			return
		}
		part := &p.parts[p.i]
		n := min(len(b), part.length-p.off)
		p.render(b[:n], part, codec)
		b = b[n:]
		if p.off += n; p.off == part.length {
			p.i, p.off = p.i+1, 0
			if p.i == len(p.parts) {
				if p.loop {
					p.i = 0
				} else {
					p.ended = true
				}
			}
		}
	}
}

func (p *playing) render(b []byte, from *part, codec lang) {
	if from.clip.PCMA == nil {
		if codec == g722 && p.encoder != nil {
			for i := range b {
				b[i] = p.encoder.Encode(0)
			}
			return
		}
		fillSilence(b, codec)
		return
	}
	a := from.clip.PCMA[p.off : p.off+len(b)]
	switch {
	case codec == g722 && p.gain == 0 && p.encoder == nil && len(from.clip.G722) >= from.length:
		copy(b, from.clip.G722[p.off:])
	case codec == g722:
		if p.encoder == nil {
			p.encoder = sound.NewEncoderG722()
		}
		louder := sound.LouderA(p.gain)
		for i, c := range a {
			b[i] = p.encoder.Encode(sound.ALaw[louder[c]])
		}
	case codec == ulaw && len(from.clip.PCMU) >= from.length:
		translate(b, from.clip.PCMU[p.off:p.off+len(b)], sound.LouderU(p.gain), p.gain)
	case codec == ulaw:
		louder := sound.LouderA(p.gain)
		for i, c := range a {
			b[i] = sound.AToU[louder[c]]
		}
	default:
		translate(b, a, sound.LouderA(p.gain), p.gain)
	}
}

// translate writes what table makes of src; with no gain the codes stay as they are.
func translate(dst, src []byte, table *[256]byte, gain int) {
	if gain == 0 {
		copy(dst, src)
		return
	}
	for i, c := range src {
		dst[i] = table[c]
	}
}

func fillSilence(b []byte, codec lang) {
	s := codec.silence()
	for i := range b {
		b[i] = s
	}
}
