package prompts_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"yingda/telephony/ivr"
	"yingda/telephony/prompts"
	"yingda/telephony/sound"
)

// The pack inside the program holds every sentence of the script, in its words, in the time that the script gives.
func TestMandarinIsWhole(t *testing.T) {
	p := prompts.Mandarin()
	var want []string
	for _, s := range ivr.Sentences() {
		want = append(want, s.ID)
		row, ok := p.Prompt(s.ID, "")
		if !ok {
			t.Errorf("%s is missing; make the pack again (telephony/prompts/makepack)", s.ID)
			continue
		}
		if row.Text != s.Text {
			t.Errorf("%s says %q, the script %q; make the pack again", s.ID, row.Text, s.Text)
		}
		if s.Text != "" && row.Pinyin == "" || row.SHA256 == "" || row.Speaker == "" || row.Loudness == 0 {
			t.Errorf("%s: its row is not whole: %+v", s.ID, row)
		}
		clip, _ := p.Clip(s.ID, "")
		length := time.Duration(len(clip.PCMA)) * time.Second / sound.Rate
		if s.Max > 0 && length > s.Max {
			t.Errorf("%s lasts %v, at most %v", s.ID, length, s.Max)
		}
		if len(clip.PCMU) != len(clip.PCMA) {
			t.Errorf("%s: %d bytes of A-law, %d of µ-law", s.ID, len(clip.PCMA), len(clip.PCMU))
		}
		if row.Kind == prompts.Speech {
			if level, _ := sound.Active(sound.DecodeA(clip.PCMA)); math.Abs(level+22) > 0.5 {
				t.Errorf("%s is at %.1f dBov", s.ID, level)
			}
		}
	}
	folder := os.DirFS("packs/mandarin")
	if problems := prompts.Check(folder, want); len(problems) > 0 {
		t.Error(problems)
	}
	if problems := prompts.Check(folder, append(want, "option_moon")); len(problems) != 1 || problems[0].ID != "option_moon" {
		t.Errorf("a prompt that is missing: %v", problems)
	}
	size := 0
	files, _ := filepath.Glob("packs/mandarin/*.wav")
	for _, f := range files {
		info, _ := os.Stat(f)
		size += int(info.Size())
	}
	if size > 3<<20 || len(files) != len(want) {
		t.Errorf("%d files, %d bytes", len(files), size)
	}
}

// The music ends as it begins, so that a loop has no seam, and is as soft as it should be.
func TestMusicLoops(t *testing.T) {
	clip, _ := prompts.Mandarin().Clip(ivr.Music, "")
	s := sound.DecodeA(clip.PCMA)
	step := func(i int) float64 { return math.Abs(float64(s[(i+1)%len(s)]) - float64(s[i])) }
	usual := 0.0
	for i := range len(s) - 1 {
		usual = max(usual, step(i))
	}
	if seam := step(len(s) - 1); seam > usual {
		t.Errorf("a step of %.0f where it loops, of at most %.0f inside", seam, usual)
	}
	if level := sound.RMS(s); math.Abs(level+32) > 1 {
		t.Errorf("it is at %.1f dBov", level)
	}
}

// speechLike is a tone that comes and goes like syllables, at a level while it sounds.
func speechLike(level float64) []int16 {
	amplitude := 32768 * math.Pow(10, level/20) * math.Sqrt2
	var out []int16
	for range 8 {
		out = append(out, sound.Tone(800, amplitude, 2000)...)
	}
	return out
}

type pack struct {
	fstest.MapFS
	rows []string
}

func newPack() *pack { return &pack{MapFS: fstest.MapFS{}} }

func (p *pack) add(id string, file []byte, more string) *pack {
	sum := sha256.Sum256(file)
	p.MapFS[id+".wav"] = &fstest.MapFile{Data: file}
	p.rows = append(p.rows, fmt.Sprintf(`{"id":%q,"file":"%s.wav","text":"你好","sha256":%q%s}`, id, id, hex.EncodeToString(sum[:]), more))
	p.MapFS["manifest.json"] = &fstest.MapFile{Data: []byte(`{"name":"n","language":"zh-CN","dialect":"wu","speaker":"s","prompts":[` + strings.Join(p.rows, ",") + `]}`)}
	return p
}

func wav(s []int16) []byte { return sound.WriteWAV(sound.EncodeA(s)) }

func pcm(s []int16) []byte {
	b := sound.HeaderWAV(sound.PCM16, 1, int64(2*len(s)))
	for _, v := range s {
		b = append(b, byte(v), byte(v>>8))
	}
	return b
}

func TestRefusals(t *testing.T) {
	good := speechLike(-22)
	loudPeak := append(speechLike(-22), 30000)
	clipped := append(speechLike(-22), 32767, 32767, 32767, 32767)
	p := newPack().
		add("good", wav(good), "").
		add("good_pcm", pcm(good), "").
		add("soft", wav(speechLike(-26)), "").
		add("loud", wav(speechLike(-18)), "").
		add("silent", wav(make([]int16, 8000)), "").
		add("peak", pcm(loudPeak), "").
		add("clipped", pcm(clipped), "").
		add("short", wav(good[:100]), "").
		add("nowav", []byte("hello"), "").
		add("stereo", func() []byte { b := wav(good); b[22] = 2; return b }(), "").
		add("kind", wav(good), `,"kind":"noise"`).
		add("twice", wav(good), "").
		add("twice", wav(good), "").
		add("music", wav(sound.Tone(440, 1000, 8000)), `,"kind":"music"`).
		add("music_loud", wav(sound.Tone(440, 8000, 8000)), `,"kind":"music"`).
		add("gone", wav(good), "").
		add("changed", wav(good), "")
	delete(p.MapFS, "gone.wav")
	p.MapFS["changed.wav"] = &fstest.MapFile{Data: wav(speechLike(-21.5))}
	got, err := prompts.Load(p)
	var problems prompts.Problems
	if !errors.As(err, &problems) {
		t.Fatal(err)
	}
	want := map[string]string{
		"soft": "too soft: -26", "loud": "too loud: -1", "silent": "silent", "peak": "its peak is at -0.8", "clipped": "clipped", "short": "lasts 12 ms", "nowav": "no RIFF",
		"stereo": "2 channels", "kind": `"noise"`, "twice": "a second prompt", "music_loud": "too loud", "gone": "missing", "changed": "SHA-256",
	}
	for _, p := range problems {
		if w, ok := want[p.ID]; !ok || !strings.Contains(p.Why, w) || p.File != p.ID+".wav" {
			t.Errorf("problem %v, want one with %q", p, w)
		}
		delete(want, p.ID)
	}
	if len(want) > 0 {
		t.Errorf("not refused: %v", want)
	}
	if ids := strings.Join(got.IDs(), " "); ids != "good good_pcm music twice" {
		t.Errorf("kept: %s", ids)
	}
	if !strings.Contains(err.Error(), "soft.wav (soft): it is too soft") || strings.Count(err.Error(), "\n") != len(problems)-1 {
		t.Errorf("as text: %v", err)
	}
}

func TestManifests(t *testing.T) {
	for name, c := range map[string]struct {
		files fstest.MapFS
		why   string
	}{
		"none":          {fstest.MapFS{}, "there is none"},
		"broken":        {fstest.MapFS{"manifest.json": {Data: []byte("{")}}, "cannot be read"},
		"unknown field": {fstest.MapFS{"manifest.json": {Data: []byte(`{"nam":"x"}`)}}, "nam"},
		"empty":         {fstest.MapFS{"manifest.yaml": {Data: []byte("dialect: wu\n")}}, "no prompt"},
		"outside":       {fstest.MapFS{"manifest.yaml": {Data: []byte("dialect: wu\nprompts:\n- {id: a, file: ../a.wav}\n")}}, "not inside"},
		"no file":       {fstest.MapFS{"manifest.yaml": {Data: []byte("dialect: wu\nprompts:\n- {id: a}\n")}}, "not said"},
		"pseudo prompt": {fstest.MapFS{"manifest.yaml": {Data: []byte("dialect: wu\nprompts:\n- {id: 'silence:5', file: a.wav}\n")}}, "colon"},
	} {
		if _, err := prompts.Load(c.files); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// The office's pack goes first, its other dialects next, the pack inside last; what is changed is heard without a restart, what became bad falls back.
func TestLibrary(t *testing.T) {
	dir := t.TempDir()
	office := newPack().add("greeting", wav(speechLike(-22)), "").add("only_wu", wav(speechLike(-22)), "").add("bad", wav(speechLike(-40)), "").
		add("dialects", wav(speechLike(-22)), `,"dialect":"min"`)
	write := func(p *pack) {
		for name, f := range p.MapFS {
			if err := os.WriteFile(filepath.Join(dir, name), f.Data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	inside := newPack().add("greeting", wav(speechLike(-21)), "").add("bad", wav(speechLike(-21)), "").add("music_less", wav(speechLike(-21)), "")
	fallback, err := prompts.Load(inside)
	if err != nil {
		t.Fatal(err)
	}
	l, problems := prompts.Open(os.DirFS(dir), fallback)
	if len(problems) != 0 {
		t.Fatalf("an office without a pack: %v", problems)
	}
	level := func(id, dialect string) float64 {
		c, ok := l.Clip(id, dialect)
		if !ok {
			return 0
		}
		v, _ := sound.Active(sound.DecodeA(c.PCMA))
		return math.Round(v)
	}
	if v := level("greeting", ""); v != -21 {
		t.Errorf("without a pack: %v", v)
	}
	write(office)
	changed, problems := l.Reload()
	if !changed || len(problems) != 1 || problems[0].ID != "bad" {
		t.Fatalf("reload: %v %v", changed, problems)
	}
	for _, c := range []struct {
		id, dialect string
		want        float64
	}{{"greeting", "", -22}, {"greeting", "wu", -22}, {"greeting", "klingon", -22}, {"only_wu", "", -22}, {"bad", "", -21}, {"dialects", "", -22}, {"dialects", "min", -22},
		{"music_less", "wu", -21}, {"nothing", "", 0}} {
		if v := level(c.id, c.dialect); v != c.want {
			t.Errorf("%s in %q at %v, want %v", c.id, c.dialect, v, c.want)
		}
	}
	if changed, _ := l.Reload(); changed {
		t.Error("changed without a change")
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), []byte("half a man"), 0o600); err != nil {
		t.Fatal(err)
	}
	if changed, problems := l.Reload(); !changed || len(problems) != 1 || level("greeting", "") != -22 {
		t.Errorf("a broken manifest: %v %v, greeting at %v", changed, problems, level("greeting", ""))
	}
	if err := os.Remove(filepath.Join(dir, "manifest.json")); err != nil {
		t.Fatal(err)
	}
	if changed, _ := l.Reload(); !changed || level("greeting", "") != -21 {
		t.Error("the pack is gone, and still heard")
	}
}

func TestG722Follows(t *testing.T) {
	p, err := prompts.Load(newPack().add("a", wav(speechLike(-22)), ""))
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := p.Clip("a", ""); c.G722 != nil {
		t.Error("there before it was made")
	}
	p.EncodeG722()
	c, _ := p.Clip("a", "")
	d := sound.NewDecoderG722()
	out := make([]int16, len(c.G722))
	for i, b := range c.G722 {
		out[i] = d.Decode(b)
	}
	if level, _ := sound.Active(out); len(out) != len(c.PCMA) || math.Abs(level+22) > 0.5 {
		t.Errorf("%d samples at %.1f dBov", len(out), level)
	}
}

func FuzzLoad(f *testing.F) {
	good := newPack().add("a", wav(speechLike(-22)), "")
	f.Add(good.MapFS["manifest.json"].Data, good.MapFS["a.wav"].Data)
	f.Add([]byte(`{"prompts":[{"id":"a","file":"a.wav"}]}`), []byte("RIFF"))
	f.Fuzz(func(t *testing.T, manifest, file []byte) {
		p, err := prompts.Load(fstest.MapFS{"manifest.json": {Data: manifest}, "a.wav": {Data: file}})
		if p == nil && err == nil {
			t.Fatal("neither a pack nor a problem")
		}
		var problems prompts.Problems
		if err != nil && !errors.As(err, &problems) {
			t.Fatalf("an error that is no list of problems: %v", err)
		}
	})
}

var _ fs.FS = (*pack)(nil)
