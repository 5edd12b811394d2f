package media

import (
	"time"

	"yingda/telephony"
	"yingda/telephony/sound"
)

// loudness of a code: its sample's magnitude. G.722 is judged by the step of its lower band's code, whose size is what adapts: see of.
var loudness [2][256]uint16

func init() {
	for i := range 256 {
		loudness[alaw][i] = magnitude(sound.ALaw[i])
		loudness[ulaw][i] = magnitude(sound.ULaw[i])
	}
}

func magnitude(v int16) uint16 {
	if v < 0 {
		v = -(v + 1)
	}
	return uint16(v)
}

// Levels are mean magnitudes on the 16 bit scale.
const (
	digital  = 16 // up to here a packet holds nothing: A-law's silence is 8
	quietest = 80 // below this, −52 dBov or so, nobody is understood
	over     = 4  // speech is that many times the noise: 12 dB
)

// ear tells speech from noise, cheaply: the mean magnitude of every fourth sample against a floor that falls at once and rises slowly.
type ear struct {
	since   int64  // bridged since; 0: not bridged
	speech  int64  // when somebody last spoke, or since
	heard   bool   // any sound since it was bridged
	told    int    // how many Quiet of this silence
	floor   uint32 // noise, × 16
	run     int    // packets over the floor, of late
	decoder *sound.DecoderG722
}

func (e *ear) begin(now int64) {
	*e = ear{since: now, speech: now, floor: 16 * quietest / over, decoder: e.decoder}
}

func (e *ear) level(codec lang, payload []byte) uint32 {
	if len(payload) == 0 {
		return 0
	}
	var sum, n uint32
	if codec == g722 {
		if e.decoder == nil {
			e.decoder = sound.NewDecoderG722()
		}
		for _, c := range payload { // it adapts, so that none may be left out
			sum += uint32(magnitude(e.decoder.Decode(c)))
		}
		return sum / uint32(len(payload))
	}
	table := &loudness[codec]
	for i := 0; i < len(payload); i += 4 {
		sum += uint32(table[payload[i]])
		n++
	}
	return sum / n
}

// hear takes one packet; first is true once after begin, with the first sound.
func (e *ear) hear(codec lang, payload []byte, now int64) (first bool) {
	level := e.level(codec, payload)
	loud := level > quietest && 16*level > over*e.floor
	if 16*level < e.floor {
		e.floor = max(16*level, 16)
	} else {
		e.floor += e.floor/256 + 1 // some 1.5 dB a second
	}
	if loud {
		e.run = min(e.run+1, 8)
	} else if e.run > 0 {
		e.run--
	}
	if e.run >= 3 {
		e.speech, e.told = now, 0
	}
	if level > digital && !e.heard {
		e.heard = true
		return true
	}
	return false
}

// quiet says for how many seconds nobody has spoken, each time another of after has passed; 0 otherwise.
func (e *ear) quiet(now int64, after time.Duration) int {
	if e.since == 0 || now-e.speech < int64(after)*int64(e.told+1) {
		return 0
	}
	e.told = int((now - e.speech) / int64(after))
	return int((now - e.speech) / second)
}

// listen is what the thread does with each packet of a bridged leg.
func (t *thread) listen(l *Leg, codec lang, payload []byte, now int64) {
	if l.ear.hear(codec, payload, now) {
		t.plane.report(telephony.Heard{Leg: l.id})
	}
}
