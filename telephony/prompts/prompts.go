// Package prompts holds what callers are told: packs of recordings, checked when they are loaded.
//
// A pack is a folder with manifest.json (or manifest.yaml) and one WAV file per prompt: 8,000 samples a second, one channel, A-law, µ-law or 16 bit.
// The manifest says of each its id, its words, its pinyin, who speaks in which dialect, and the file's SHA-256. An office records its own
// in an hour (package ivr has the list of sentences); the pack inside the program, synthetic and in Mandarin, fills the gaps.
//
// How it is used: Open a Library with the office's folder and the fallback Mandarin(); its Clip is asked by the media plane with an id and a
// dialect. Reload looks at the folder again. Check reads a folder and says, in a sentence each, everything that is wrong with it.
//
//	library, problems := prompts.Open(os.DirFS("data/prompts"), prompts.Mandarin())
//	clip, ok := library.Clip("greeting", "")
//
// A recording that is clipped, silent, too loud or too soft is refused and its prompt falls back: to another dialect's of the same pack, then to the
// pack inside. Loud and soft are one number: speech at −22 dBov while somebody speaks (RFC 7874 §4), ± 2 dB, no peak above −3 dBFS.
//
// What it does not do: it does not record, resample or repair; it does not know what a prompt is for. No goroutine but the one that Open starts to
// encode G.722, which ends by itself.
package prompts

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.yaml.in/yaml/v3"

	"yingda/telephony/sound"
)

// Kinds of prompts; each has its own idea of how loud it may be.
const (
	Speech = "speech" // active level −22 dBov ± 2
	Tone   = "tone"   // −36 … −18 dBov while it sounds
	Music  = "music"  // −40 … −26 dBov: under the words, not over them
)

// Prompt is one row of the manifest.
type Prompt struct {
	ID       string  `json:"id" yaml:"id"`
	Kind     string  `json:"kind,omitempty" yaml:"kind,omitempty"`         // Speech when empty
	Text     string  `json:"text,omitempty" yaml:"text,omitempty"`         // the words
	Pinyin   string  `json:"pinyin,omitempty" yaml:"pinyin,omitempty"`     // as spoken, tones as digits
	Dialect  string  `json:"dialect,omitempty" yaml:"dialect,omitempty"`   // empty: the pack's
	Speaker  string  `json:"speaker,omitempty" yaml:"speaker,omitempty"`   // empty: the pack's
	Loudness float64 `json:"loudness,omitempty" yaml:"loudness,omitempty"` // dBov while it sounds, as measured when it was made; 0: not said
	SHA256   string  `json:"sha256,omitempty" yaml:"sha256,omitempty"`     // of the file, hex; empty: not compared
	File     string  `json:"file" yaml:"file"`
}

// Manifest is manifest.json.
type Manifest struct {
	Name     string   `json:"name" yaml:"name"`
	Language string   `json:"language" yaml:"language"` // BCP 47, e.g. "zh-CN"
	Dialect  string   `json:"dialect" yaml:"dialect"`   // e.g. "mandarin": what is meant when nobody asks for another
	Speaker  string   `json:"speaker" yaml:"speaker"`
	Made     string   `json:"made,omitempty" yaml:"made,omitempty"` // how
	Prompts  []Prompt `json:"prompts" yaml:"prompts"`
}

// Clip is one prompt in each codec, 8,000 bytes a second. G722 is nil until it has been encoded, shortly after the pack was loaded.
type Clip struct{ PCMA, PCMU, G722 []byte }

// Pack is a loaded pack: those of its prompts that are fit to be heard. It never changes.
type Pack struct {
	Manifest Manifest
	clips    map[key]*clip
	dialects []string
}

type key struct{ id, dialect string }

type clip struct {
	prompt Prompt
	codes  Clip
	g722   atomic.Pointer[[]byte]
}

// Problem is what is wrong with a pack, as a sentence for a person.
type Problem struct {
	File string `json:"file"` // the manifest's or the recording's name
	ID   string `json:"id,omitempty"`
	Why  string `json:"why"`
}

func (p Problem) String() string {
	if p.ID == "" {
		return p.File + ": " + p.Why
	}
	return fmt.Sprintf("%s (%s): %s", p.File, p.ID, p.Why)
}

// Problems is everything that is wrong with a pack.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

// The law of how loud a prompt is.
const (
	SpeechLevel = -22.0 // dBov
	Tolerance   = 2.0   // dB
	MaxPeak     = -3.0  // dBFS
)

const (
	maxFile    = 4 << 20 // eight minutes
	maxPrompts = 2000
)

// Load reads a pack. The error is Problems, all of them; the pack then holds what is good of it, nil when there is nothing at all to be had.
func Load(fsys fs.FS) (*Pack, error) {
	m, name, problem := readManifest(fsys)
	if problem != nil {
		return nil, Problems{*problem}
	}
	p := &Pack{Manifest: m, clips: map[key]*clip{}}
	var all Problems
	if m.Dialect == "" {
		all = append(all, Problem{File: name, Why: "it does not say its dialect"})
	}
	if len(m.Prompts) > maxPrompts {
		return nil, append(all, Problem{File: name, Why: fmt.Sprintf("it lists %d prompts; more than %d are not read", len(m.Prompts), maxPrompts)})
	}
	for i := range m.Prompts {
		row := &m.Prompts[i]
		if row.Dialect == "" {
			row.Dialect = m.Dialect
		}
		if row.Speaker == "" {
			row.Speaker = m.Speaker
		}
		if row.Kind == "" {
			row.Kind = Speech
		}
		c, why := read(fsys, *row)
		k := key{row.ID, row.Dialect}
		if why == "" && p.clips[k] != nil {
			why = fmt.Sprintf("a second prompt of that id in dialect %q", row.Dialect)
		}
		if why != "" {
			file := row.File
			if file == "" {
				file = name
			}
			all = append(all, Problem{File: file, ID: row.ID, Why: why})
			continue
		}
		p.clips[k] = c
		if !slices.Contains(p.dialects, row.Dialect) {
			p.dialects = append(p.dialects, row.Dialect)
		}
	}
	if len(m.Prompts) == 0 {
		all = append(all, Problem{File: name, Why: "it lists no prompt"})
	}
	if len(all) > 0 {
		return p, all
	}
	return p, nil
}

func readManifest(fsys fs.FS) (m Manifest, name string, problem *Problem) {
	for _, name = range []string{"manifest.json", "manifest.yaml", "manifest.yml"} {
		b, err := readFile(fsys, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			if name == "manifest.json" {
				d := json.NewDecoder(bytes.NewReader(b))
				d.DisallowUnknownFields()
				err = d.Decode(&m)
			} else {
				d := yaml.NewDecoder(bytes.NewReader(b))
				d.KnownFields(true)
				err = d.Decode(&m)
			}
		}
		if err != nil {
			return m, name, &Problem{File: name, Why: "it cannot be read: " + err.Error()}
		}
		return m, name, nil
	}
	return m, "manifest.json", &Problem{File: "manifest.json", Why: "there is none, and no manifest.yaml"}
}

func readFile(fsys fs.FS, name string) ([]byte, error) {
	info, err := fs.Stat(fsys, name)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("it has %d bytes; more than %d are not read", info.Size(), maxFile)
	}
	return fs.ReadFile(fsys, name)
}

// read reads and judges one recording.
func read(fsys fs.FS, row Prompt) (c *clip, why string) {
	switch {
	case row.ID == "":
		return nil, "it has no id"
	case strings.Contains(row.ID, ":"):
		return nil, "a colon in an id is kept for silence:MILLISECONDS"
	case row.File == "":
		return nil, "its file is not said"
	case !fs.ValidPath(row.File):
		return nil, "its file is not inside the pack's folder"
	}
	b, err := readFile(fsys, path.Clean(row.File))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, "the file is missing"
	}
	if err != nil {
		return nil, "it cannot be read: " + err.Error()
	}
	if sum := sha256.Sum256(b); row.SHA256 != "" && !strings.EqualFold(row.SHA256, hex.EncodeToString(sum[:])) {
		return nil, fmt.Sprintf("its SHA-256 is %s…, the manifest says %s…: it is not the file that was checked", hex.EncodeToString(sum[:4]), short(row.SHA256))
	}
	samples, err := sound.ReadWAV(b)
	if err != nil {
		return nil, err.Error()
	}
	if why := Judge(row.Kind, samples); why != "" {
		return nil, why
	}
	return &clip{prompt: row, codes: Clip{PCMA: sound.EncodeA(samples), PCMU: sound.EncodeU(samples)}}, ""
}

func short(s string) string { return s[:min(8, len(s))] }

// Level is how loud samples are while they sound (dBov), as a prompt of that kind is judged.
func Level(kind string, samples []int16) float64 {
	if kind == Speech {
		level, _ := sound.Active(samples)
		return level
	}
	// A tone or music has no band to be measured in; only its pauses are left out.
	loud := make([]int16, 0, len(samples))
	for block := range slices.Chunk(samples, sound.Rate/50) {
		if sound.RMS(block) > -50 {
			loud = append(loud, block...)
		}
	}
	return sound.RMS(loud)
}

// Judge says why samples are not fit to be heard as a prompt of that kind, in a sentence; "" when they are.
func Judge(kind string, samples []int16) string {
	level := Level(kind, samples)
	lo, hi := SpeechLevel-Tolerance, SpeechLevel+Tolerance
	switch kind {
	case Speech:
	case Tone:
		lo, hi = -36, -18
	case Music:
		lo, hi = -40, -26
	default:
		return fmt.Sprintf("its kind is %q; there are speech, tone and music", kind)
	}
	peak := sound.Peak(samples)
	switch {
	case len(samples) < sound.Rate/20:
		return fmt.Sprintf("it lasts %d ms; less than 50 is no prompt", len(samples)*1000/sound.Rate)
	case level < -50:
		return "it is silent"
	case clipped(samples):
		return "it is clipped: it was recorded too loud, which cannot be repaired"
	case peak > MaxPeak:
		return fmt.Sprintf("its peak is at %.1f dBFS, above %.0f", peak, MaxPeak)
	case level < lo:
		return fmt.Sprintf("it is too soft: %.1f dBov while it sounds, want %.0f to %.0f; make it %.0f dB louder", level, lo, hi, (lo+hi)/2-level)
	case level > hi:
		return fmt.Sprintf("it is too loud: %.1f dBov while it sounds, want %.0f to %.0f; make it %.0f dB softer", level, lo, hi, level-(lo+hi)/2)
	}
	return ""
}

// clipped finds flat tops: three samples or more in a row at full scale (16 bit, or A-law's and µ-law's largest).
func clipped(samples []int16) bool {
	run := 0
	for _, v := range samples {
		if v >= 32124 || v <= -32124 {
			if run++; run >= 3 {
				return true
			}
		} else {
			run = 0
		}
	}
	return false
}

// Check reads a pack and says everything that is wrong with it; want are the ids that it should hold (ivr.Sentences has them), nil for any.
func Check(fsys fs.FS, want []string) Problems {
	p, err := Load(fsys)
	var all Problems
	errors.As(err, &all)
	if p == nil {
		return all
	}
	listed := map[string]bool{}
	for _, row := range p.Manifest.Prompts {
		listed[row.ID] = true
	}
	for _, id := range want {
		if !listed[id] {
			all = append(all, Problem{File: "manifest", ID: id, Why: "this prompt is missing from the pack"})
		}
	}
	return all
}

// IDs lists the prompts of the pack that are fit to be heard, sorted.
func (p *Pack) IDs() []string {
	ids := make([]string, 0, len(p.clips))
	for k := range p.clips {
		ids = append(ids, k.id)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Prompt gives the manifest's row of a prompt that is fit to be heard; dialect "" is the pack's own.
func (p *Pack) Prompt(id, dialect string) (Prompt, bool) {
	if c := p.find(id, dialect); c != nil {
		return c.prompt, true
	}
	return Prompt{}, false
}

// Clip gives a prompt's sound; dialect "" is the pack's own, and stands in where another dialect lacks the prompt.
func (p *Pack) Clip(id, dialect string) (Clip, bool) {
	c := p.find(id, dialect)
	if c == nil {
		return Clip{}, false
	}
	out := c.codes
	if b := c.g722.Load(); b != nil {
		out.G722 = *b
	}
	return out, true
}

func (p *Pack) find(id, dialect string) *clip {
	if p == nil {
		return nil
	}
	for _, d := range []string{dialect, p.Manifest.Dialect} {
		if c := p.clips[key{id, d}]; c != nil {
			return c
		}
	}
	for _, d := range p.dialects {
		if c := p.clips[key{id, d}]; c != nil {
			return c
		}
	}
	return nil
}

// EncodeG722 encodes all prompts that are not yet. It takes some milliseconds for each second of sound; Clip may be called meanwhile.
func (p *Pack) EncodeG722() {
	for _, c := range p.clips {
		if c.g722.Load() == nil {
			b := sound.EncodeG722(sound.DecodeA(c.codes.PCMA))
			c.g722.Store(&b)
		}
	}
}

//go:embed packs/mandarin
var packs embed.FS

// Mandarin is the pack inside the program: synthetic, for gaps and demonstrations. It panics if the program was built with a broken one.
var Mandarin = sync.OnceValue(func() *Pack {
	sub, err := fs.Sub(packs, "packs/mandarin")
	if err != nil {
		panic(err)
	}
	p, err := Load(sub)
	if err != nil {
		panic("prompts: the pack inside the program: " + err.Error())
	}
	return p
})

// Library is the office's pack over the one inside, reloaded while calls go on.
type Library struct {
	fsys     fs.FS
	fallback *Pack

	mu    sync.Mutex // of a reload
	stamp string     // what the folder looked like
	pack  atomic.Pointer[Pack]
}

// Open loads the office's pack from fsys (nil: there is none) over fallback. Its problems are for a person to see; the prompts that are good are used.
func Open(fsys fs.FS, fallback *Pack) (*Library, Problems) {
	l := &Library{fsys: fsys, fallback: fallback}
	go func() {
		if fallback != nil {
			fallback.EncodeG722()
		}
	}()
	_, problems := l.Reload()
	return l, problems
}

// Reload reads the office's pack again if a file of it has changed, and says whether it did and what is wrong with it. A prompt that is not good
// any more falls back; what already plays goes on with the sound it began with. A pack whose manifest cannot be read leaves the former one in use.
func (l *Library) Reload() (changed bool, problems Problems) {
	if l.fsys == nil {
		return false, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	stamp := look(l.fsys)
	if stamp == l.stamp {
		return false, nil
	}
	l.stamp = stamp
	if stamp == "" {
		l.pack.Store(nil)
		return true, nil
	}
	p, err := Load(l.fsys)
	errors.As(err, &problems)
	if p != nil {
		l.pack.Store(p)
		go p.EncodeG722()
	}
	return true, problems
}

// look sums up names, sizes and times of the folder's files; "" when there is no manifest.
func look(fsys fs.FS) string {
	var b strings.Builder
	found := false
	_ = fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil {
			fmt.Fprintf(&b, "%s %d %s\n", name, info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano))
			found = found || strings.HasPrefix(name, "manifest.")
		}
		return nil
	})
	if !found {
		return ""
	}
	return b.String()
}

// Clip gives a prompt's sound: from the office's pack in that dialect, in another of its dialects, else from the pack inside.
func (l *Library) Clip(id, dialect string) (Clip, bool) {
	if c, ok := l.pack.Load().Clip(id, dialect); ok {
		return c, true
	}
	return l.fallback.Clip(id, dialect)
}

// Prompt gives the manifest's row of what Clip would play.
func (l *Library) Prompt(id, dialect string) (Prompt, bool) {
	if p, ok := l.pack.Load().Prompt(id, dialect); ok {
		return p, true
	}
	return l.fallback.Prompt(id, dialect)
}
