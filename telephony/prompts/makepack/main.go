// Command makepack makes the Mandarin pack inside the program out of the recording script: synthetic speech, tones and a quiet piece of music.
//
//	go run ./telephony/prompts/makepack telephony/prompts/packs/mandarin
//
// It needs espeak-ng and sox. The voice reads pinyin that we write, since it misreads characters, numbers, and the tones of 一 and 不: each word of the script stands
// in words.go, and a sentence with an unknown word is refused. Then −6 dB against clipping, the band of the telephone, 8 kHz, the ends trimmed, and the level of
// package prompts.
//
// What it does not do: it is no substitute for a person. An office records its own pack.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"yingda/telephony/ivr"
	"yingda/telephony/prompts"
	"yingda/telephony/sound"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: makepack FOLDER")
		os.Exit(2)
	}
	if err := run(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "makepack:", err)
		os.Exit(1)
	}
}

func run(dir string) error {
	m := prompts.Manifest{Name: "普通话（合成）", Language: "zh-CN", Dialect: "mandarin", Speaker: "espeak-ng, cmn-latn-pinyin",
		Made: "go run ./telephony/prompts/makepack"}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	old, err := filepath.Glob(filepath.Join(dir, "*.wav"))
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(name); err != nil {
			return err
		}
	}
	total := 0
	for _, s := range ivr.Sentences() {
		row := prompts.Prompt{ID: s.ID, Text: s.Text, File: s.ID + ".wav"}
		var samples []int16
		switch {
		case s.Text != "":
			if row.Pinyin, err = spell(s.Text); err != nil {
				return fmt.Errorf("%s: %w", s.ID, err)
			}
			for pace := slowest; ; pace += 10 { // only where the script gives little time is it spoken faster
				if samples, err = speak(row.Pinyin, pace); err != nil {
					return fmt.Errorf("%s: %w", s.ID, err)
				}
				if s.Max == 0 || duration(samples) <= s.Max || pace >= fastest {
					break
				}
			}
		case s.Tone != nil:
			row.Kind, samples = prompts.Tone, tone(s.Tone)
		default:
			row.Kind, samples = prompts.Music, music()
		}
		file := sound.WriteWAV(sound.EncodeA(samples))
		if samples, err = sound.ReadWAV(file); err != nil {
			return err
		}
		kind := row.Kind
		if kind == "" {
			kind = prompts.Speech
		}
		if why := prompts.Judge(kind, samples); why != "" {
			return fmt.Errorf("%s: %s", s.ID, why)
		}
		if length := duration(samples); s.Max > 0 && length > s.Max {
			return fmt.Errorf("%s: %v long, at most %v", s.ID, length, s.Max)
		}
		sum := sha256.Sum256(file)
		row.SHA256 = hex.EncodeToString(sum[:])
		row.Loudness = math.Round(10*prompts.Level(kind, samples)) / 10
		if err := os.WriteFile(filepath.Join(dir, row.File), file, 0o644); err != nil {
			return err
		}
		total += len(file)
		m.Prompts = append(m.Prompts, row)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(m); err != nil {
		return err
	}
	fmt.Printf("%d prompts, %d KiB\n", len(m.Prompts), total/1024)
	return os.WriteFile(filepath.Join(dir, "manifest.json"), b.Bytes(), 0o644)
}

// Words a minute, by the voice's own count.
const (
	slowest = 140
	fastest = 190
)

func duration(samples []int16) time.Duration {
	return time.Duration(len(samples)) * time.Second / sound.Rate
}

// speak renders pinyin at the level of a prompt.
func speak(pinyin string, pace int) ([]int16, error) {
	tmp, err := os.MkdirTemp("", "makepack")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	raw, cooked := filepath.Join(tmp, "raw.wav"), filepath.Join(tmp, "cooked.wav")
	// −a 60: the voice's own default already clips.
	if out, err := exec.Command("espeak-ng", "-v", "cmn-latn-pinyin", "-s", fmt.Sprint(pace), "-a", "60", "-w", raw, pinyin).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("espeak-ng: %w: %s", err, out)
	}
	if out, err := exec.Command("sox", "-D", raw, "-b", "16", "-e", "signed-integer", "-c", "1", cooked, "gain", "-6", "rate", "-v", "8000",
		"sinc", "200-3400", "compand", "0.005,0.15", "6:-40,-32,-20,-16,0,-6", "-3").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("sox: %w: %s", err, out)
	}
	b, err := os.ReadFile(cooked)
	if err != nil {
		return nil, err
	}
	samples, err := sound.ReadWAV(b)
	if err != nil {
		return nil, err
	}
	samples = trim(samples)
	for range 4 { // the level is of what sounds, which depends a little on the level
		level, _ := sound.Active(samples)
		samples = sound.Scale(samples, prompts.SpeechLevel-level)
		limit(samples)
	}
	return samples, nil
}

// trim leaves 40 ms before the first and after the last sound.
func trim(samples []int16) []int16 {
	const block = sound.Rate / 100
	first, last := -1, 0
	for at := 0; at+block <= len(samples); at += block {
		if sound.RMS(samples[at:at+block]) > -45 {
			if first < 0 {
				first = at
			}
			last = at + block
		}
	}
	if first < 0 {
		return nil
	}
	return samples[max(0, first-4*block):min(len(samples), last+4*block)]
}

// limit bends what is above −5 dBFS, so that no peak passes −3.5.
func limit(samples []int16) {
	knee, top := 32768*math.Pow(10, -5.0/20), 32768*math.Pow(10, -3.5/20)
	for i, v := range samples {
		if a := math.Abs(float64(v)); a > knee {
			bent := knee + (top-knee)*math.Tanh((a-knee)/(top-knee))
			samples[i] = int16(math.Copysign(bent, float64(v)))
		}
	}
}

// tone makes a sound at −24 dBov, with soft edges.
func tone(t *ivr.Tone) []int16 {
	var out []int16
	n := int(t.On.Seconds() * sound.Rate)
	amplitude := 32768 * math.Pow(10, -24.0/20) * math.Sqrt2 / math.Sqrt(float64(len(t.Hertz)))
	for range t.Times {
		for i := range n {
			v := 0.0
			for _, hertz := range t.Hertz {
				v += math.Sin(2 * math.Pi * float64(hertz) * float64(i) / sound.Rate)
			}
			edge := min(1, float64(min(i, n-1-i))/(0.008*sound.Rate))
			out = append(out, int16(amplitude*edge*v))
		}
		out = append(out, make([]int16, int(t.Off.Seconds()*sound.Rate))...)
	}
	return out
}

// music is a slow walk over five notes, each plucked softly and left to ring into the next; what rings over the end rings into the beginning, so that it
// loops without a seam.
func music() []int16 {
	const beat = 0.75   // seconds
	notes := []float64{ // in A minor pentatonic; 0 is a rest
		440, 0, 523.25, 587.33, 659.25, 0, 587.33, 523.25,
		440, 0, 392, 440, 523.25, 0, 0, 0,
		587.33, 0, 659.25, 783.99, 659.25, 0, 587.33, 523.25,
		440, 523.25, 392, 0, 440, 0, 0, 0,
	}
	n := int(float64(len(notes)) * beat * sound.Rate)
	mix := make([]float64, n)
	pluck := func(start int, hertz, loud float64) {
		for i := range int(3.5 * sound.Rate) {
			t := float64(i) / sound.Rate
			attack := min(1, t/0.03)
			v := math.Exp(-1.3*t)*math.Sin(2*math.Pi*hertz*t) + 0.3*math.Exp(-2.6*t)*math.Sin(4*math.Pi*hertz*t) + 0.08*math.Exp(-5*t)*math.Sin(6*math.Pi*hertz*t)
			mix[(start+i)%n] += loud * attack * v * min(1, (3.5-t)/0.5)
		}
	}
	for i, hertz := range notes {
		start := int(float64(i) * beat * sound.Rate)
		if hertz > 0 {
			pluck(start, hertz, 1)
		}
		if i%8 == 0 { // a low note under each phrase, high enough for a telephone
			pluck(start, []float64{330, 392, 293.66, 330}[i/8], 0.6)
		}
	}
	samples := make([]int16, n)
	for i, v := range mix {
		samples[i] = int16(4000 * v)
	}
	for range 3 {
		samples = sound.Scale(samples, -32-prompts.Level(prompts.Music, samples))
	}
	return samples
}
