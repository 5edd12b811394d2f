package media

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"testing/iotest"
	"time"

	"yingda/intake"
	"yingda/telephony"
	"yingda/telephony/sound"
)

func testKey(id intake.RecordingID, _ time.Time) ([]byte, error) {
	k := sha256.Sum256([]byte("secret of a test " + id))
	return k[:], nil
}

func keyOf(id intake.RecordingID) []byte { k, _ := testKey(id, time.Time{}); return k }

// channels reads a recording as its listener would: by the WAV file.
func channels(t *testing.T, rec *Recording) [][]int16 {
	t.Helper()
	b, err := io.ReadAll(rec)
	if err != nil {
		t.Fatal(err)
	}
	n := rec.Info().Channels
	if string(b[:4]) != "RIFF" || int(binary.LittleEndian.Uint16(b[22:])) != n || int(binary.LittleEndian.Uint32(b[4:]))+8 != len(b) {
		t.Fatalf("WAV header % x of %d bytes", b[:44], len(b))
	}
	out := make([][]int16, n)
	for i := 44; i < len(b); i += 2 {
		ch := (i - 44) / 2 % n
		out[ch] = append(out[ch], int16(binary.LittleEndian.Uint16(b[i:])))
	}
	return out
}

// both lets two phones talk at once.
func both(b *lab, x, y *phone, hx, hy float64, packets int) {
	wx, wy := wave(x.codec, hx, packets), wave(y.codec, hy, packets)
	for i := range packets {
		x.say(wx[i])
		y.say(wy[i])
		b.run(20 * time.Millisecond)
	}
}

func TestRecordingHasEachSideInItsChannel(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		for _, codec := range []Codec{PCMA, PCMU, G722} {
			dir := t.TempDir()
			c := Config{RecordingDir: dir}
			var key []byte
			if sealed {
				c.Key, key = testKey, keyOf("rec-1")
			}
			b := newLab(t, c)
			r, o := b.phone("r", codec), b.phone("o", PCMA)
			b.plane.Bridge("r", "o")
			b.plane.Record("rec-1", "contact-1", "r", "o")
			both(b, r, o, 500, 900, 130)
			b.plane.StopRecord("rec-1")
			b.run(time.Millisecond)
			done := told[telephony.Recorded](b)
			if len(done) != 1 || done[0].Err != "" || done[0].CutShort || done[0].Channels != 2 || done[0].Millis < 2595 || done[0].Millis > 2605 {
				t.Fatalf("recorded %+v", done)
			}
			path, err := FindRecording(dir, "rec-1")
			if err != nil {
				t.Fatal(err)
			}
			file, _ := os.ReadFile(path)
			if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != done[0].SHA256 {
				t.Error("the checksum is not the file's")
			}
			rec, err := OpenRecording(path, key)
			if err != nil {
				t.Fatal(err)
			}
			defer rec.Close()
			if i := rec.Info(); i.ID != "rec-1" || i.Contact != "contact-1" || !i.Complete || i.CutShort || i.Sealed != sealed || i.Samples*1000/8000 != done[0].Millis {
				t.Errorf("info %+v", i)
			}
			ch := channels(t, rec)
			want := 20 * math.Log10(8000.0/32767)
			for i, c := range []struct{ mine, other float64 }{{500, 900}, {900, 500}} {
				s := ch[i][1600:20000]
				if l := sound.Goertzel(s, c.mine); math.Abs(l-want) > 0.5 {
					t.Errorf("%s: channel %d: its tone at %.1f dB", codec, i, l)
				}
				if l := sound.Goertzel(s, c.other); l > -60 {
					t.Errorf("%s: channel %d: the other's tone at %.1f dB", codec, i, l)
				}
			}
			if sealed && bytes.Contains(file, bytes.Repeat([]byte{sound.SilenceA}, 8)) {
				t.Error("silence can be read in a sealed file")
			}
		}
	}
}

// Gaps are silence of their length, late packets find their place, jitter changes nothing.
func TestRecordingIsAlignedByTime(t *testing.T) {
	dir := t.TempDir()
	b := newLab(t, Config{RecordingDir: dir})
	r := b.phone("r", PCMA)
	b.phone("o", PCMA)
	b.plane.Bridge("r", "o")
	b.plane.Record("rec", "c", "r", "o")
	b.run(time.Millisecond)
	talk(b, r, wave(PCMA, 500, 25))
	b.run(1500 * time.Millisecond)
	r.ts += 12000
	w := wave(PCMA, 500, 50)
	rng := rand.New(rand.NewPCG(1, 2))
	type late struct {
		at int64
		b  []byte
	}
	var queue []late
	for i, p := range w {
		if i != 10 && i != 11 { // lost
			queue = append(queue, late{int64(i*20) + rng.Int64N(60), rtp(8, r.seq, r.ts, r.ssrc, p)})
		}
		r.seq++
		r.ts += 160
	}
	for now := range int64(1100) {
		for _, q := range queue {
			if q.at == now {
				r.raw(q.b)
			}
		}
		b.run(time.Millisecond)
	}
	b.plane.StopRecord("rec")
	b.run(time.Millisecond)
	rec, err := OpenRecording(RecordingPath(dir, "rec"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	ch := channels(t, rec)
	level := func(from, to int) float64 { return sound.RMS(ch[0][from:to]) }
	if l := level(5000, 15000); l > -60 {
		t.Errorf("the gap is at %.1f dBov", l)
	}
	// The second part has begun by 16,000 and 60 ms of jitter; inside it the samples follow each other as they were spoken.
	start := 15000
	for sound.ALaw[sound.ToALaw(ch[0][start])] == 8 {
		start++
	}
	if start < 15900 || start > 16000+480 {
		t.Fatalf("the second part begins at %d", start)
	}
	for i := range 8000 - 160 {
		want := sound.ALaw[w[i/160][i%160]]
		if i/160 == 10 || i/160 == 11 {
			want = 8
		}
		if got := ch[0][start+i-1]; i > 0 && got != want && ch[0][start+i] != want {
			t.Fatalf("sample %d of the second part is %d, want %d", i, got, want)
		}
	}
	if l := sound.RMS(ch[1]); l > -60 {
		t.Errorf("the silent side is at %.1f dBov", l)
	}
}

func TestVoicemailHasOneChannel(t *testing.T) {
	dir := t.TempDir()
	b := newLab(t, Config{RecordingDir: dir})
	r := b.phone("r", PCMA)
	b.plane.Record("vm", "c", "r", "")
	talk(b, r, wave(PCMA, 500, 60))
	r.leg.Close() // the resident hangs up: that ends it
	b.run(time.Millisecond)
	done := told[telephony.Recorded](b)
	if len(done) != 1 || done[0].Channels != 1 || done[0].CutShort || done[0].Millis < 1195 {
		t.Fatalf("recorded %+v", done)
	}
	rec, err := OpenRecording(RecordingPath(dir, "vm"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	if ch := channels(t, rec); len(ch) != 1 || sound.Goertzel(ch[0][1000:9000], 500) < -13 {
		t.Error("not there")
	}
}

func TestRecordingThatCannotBe(t *testing.T) {
	b := newLab(t, Config{})
	b.phone("r", PCMA)
	b.plane.Record("x", "c", "r", "")
	if done := told[telephony.Recorded](b); len(done) != 1 || done[0].Err == "" {
		t.Fatalf("no folder: %+v", done)
	}
	dir := t.TempDir()
	b = newLab(t, Config{RecordingDir: dir, Key: func(intake.RecordingID, time.Time) ([]byte, error) { return nil, errors.New("no key today") }})
	b.phone("r", PCMA)
	for id, want := range map[intake.RecordingID]bool{"../x": true, "": true, "ok": true} {
		b.plane.Record(id, "c", "r", "")
		b.run(10 * time.Millisecond)
		b.plane.StopRecord(id)
		b.run(10 * time.Millisecond)
		if done := told[telephony.Recorded](b); len(done) != 1 || (done[0].Err != "") != want {
			t.Errorf("%q: %+v", id, done)
		}
	}
	b.plane.Record("late", "c", "nobody", "")
	if done := told[telephony.Recorded](b); len(done) != 1 || done[0].Err == "" {
		t.Errorf("of nobody: %+v", done)
	}
	if list, _ := os.ReadDir(filepath.Join(dir, openDir)); len(list) != 0 {
		t.Errorf("left: %v", list)
	}
}

// A ring that is full costs packets, which are counted, and nothing else.
func TestRecordingDropsAndCounts(t *testing.T) {
	dir := t.TempDir()
	b := newLab(t, Config{RecordingDir: dir, RingBytes: 1})
	r, o := b.phone("r", PCMA), b.phone("o", PCMA)
	b.plane.Bridge("r", "o")
	b.plane.Record("rec", "c", "r", "o")
	b.run(time.Millisecond)
	th := b.plane.all[0]
	for i := range 100 { // the recorder is busy elsewhere
		r.say(wave(PCMA, 500, 1)[0])
		b.now += 20 * ms
		th.step(b.now, nil)
		_ = i
	}
	if n := len(o.listen()); n < 100 {
		t.Errorf("the call suffered: %d packets", n)
	}
	b.plane.StopRecord("rec")
	th.step(b.now, nil) // there is no room for its end now
	b.run(2 * time.Second)
	done := told[telephony.Recorded](b)
	if len(done) != 1 || done[0].Err != "" || done[0].Millis != 2001 && done[0].Millis != 2000 {
		t.Fatalf("recorded %+v", done)
	}
	rec, err := OpenRecording(RecordingPath(dir, "rec"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	if i := rec.Info(); i.Missing != 36 || b.plane.Stats().RecordDropped != 36 {
		t.Errorf("missing %d, counted %d", i.Missing, b.plane.Stats().RecordDropped)
	}
}

// make writes a complete recording of so many samples.
func makeRecording(t testing.TB, dir string, id intake.RecordingID, samples int, key []byte) string {
	t.Helper()
	if err := makeRecordingDir(dir); err != nil {
		t.Fatal(err)
	}
	var f *recFile
	var err error
	info := Info{ID: id, Contact: "c", Started: time.UnixMilli(1_700_000_000_123), Channels: 2}
	if key == nil {
		f, err = createRecording(dir, info, nil)
	} else {
		aead, _ := newCipher(key)
		f, err = createRecording(dir, info, aead)
	}
	if err != nil {
		t.Fatal(err)
	}
	var scratch []byte
	for ch := range 2 {
		for pos, p := range wave(PCMA, 500+float64(ch)*400, samples/frameSamples+1) {
			if (pos+1)*frameSamples <= 2*secondSamples {
				f.place(ch, int64(pos*frameSamples), alaw, p, &scratch)
			}
		}
	}
	f.end(int64(samples), 0, false, &scratch)
	if r := f.complete(); r.Err != "" {
		t.Fatal(r.Err)
	}
	return RecordingPath(dir, id)
}

func TestRecordingSeeks(t *testing.T) {
	for _, n := range []int{0, 1, 7999, 8000, 8001, 15990, 16000, 40123} {
		key := keyOf("r")
		path := makeRecording(t, t.TempDir(), "r", n, key)
		rec, err := OpenRecording(path, key)
		if err != nil {
			t.Fatalf("%d samples: %v", n, err)
		}
		if i := rec.Info(); i.Samples != int64(n) || !i.Complete {
			t.Fatalf("%d samples: info %+v", n, i)
		}
		want, err := io.ReadAll(rec)
		if err != nil || len(want) != 44+4*n {
			t.Fatalf("%d samples: %d bytes, %v", n, len(want), err)
		}
		if err := iotest.TestReader(rec, want); err != nil && n <= 8001 {
			// TestReader reads on from where it is
			rec.Seek(0, io.SeekStart)
			if err := iotest.TestReader(rec, want); err != nil {
				t.Errorf("%d samples: %v", n, err)
			}
		}
		for range 20 {
			at := rand.IntN(len(want) + 1)
			rec.Seek(int64(at), io.SeekStart)
			got, _ := io.ReadAll(rec)
			if !bytes.Equal(got, want[at:]) {
				t.Fatalf("%d samples: from %d it differs", n, at)
			}
		}
		if n > 0 {
			peaks, err := rec.Peaks(10)
			if err != nil || len(peaks) != 2 || len(peaks[0]) != 10 || n > 8000 && (peaks[0][0] < 7000 || peaks[0][0] > 8500) {
				t.Errorf("%d samples: peaks %v, %v", n, peaks, err)
			}
		}
		rec.Close()
		if _, err := OpenRecording(path, keyOf("other")); n > 0 && !errors.Is(err, ErrRecording) {
			t.Errorf("%d samples: with another key: %v", n, err)
		}
	}
}

// However a file is cut off, what was whole before the cut can be heard, and Recover makes it a recording with an end.
func TestRecoverTornFiles(t *testing.T) {
	key := keyOf("r")
	whole, err := os.ReadFile(makeRecording(t, t.TempDir(), "r", 3*8000+4000, key))
	if err != nil {
		t.Fatal(err)
	}
	_, _, header, err := parseHeader(whole)
	if err != nil {
		t.Fatal(err)
	}
	size := chunkHead + 16000 + 16
	damaged := bytes.Clone(whole[:header+3*size+chunkHead+8000+16])
	damaged[len(damaged)-100] ^= 1
	for _, c := range []struct {
		name    string
		file    []byte
		samples int64
	}{
		{"nothing but the header", whole[:header], 0},
		{"a torn first second", whole[:header+100], 0},
		{"one second", whole[:header+size], 8000},
		{"two and a torn one", whole[:header+3*size-1], 16000},
		{"the short last one, without its end", whole[:header+3*size+chunkHead+8000+16], 28000},
		{"a torn end", whole[:len(whole)-1], 28000},
		{"the short last one damaged", damaged, 24000},
		{"a second of zeros after a power cut", append(bytes.Clone(whole[:header+2*size]), make([]byte, size+500)...), 16000},
		{"zeros inside the last second", append(bytes.Clone(whole[:header+3*size-4096]), make([]byte, 4096)...), 16000},
		{"all there", whole, 28000},
	} {
		dir := t.TempDir()
		if err := makeRecordingDir(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(openPath(dir, "r"), c.file, 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Recover(dir, testKey)
		if err != nil || len(got) != 1 || got[0].Err != "" {
			t.Errorf("%s: %+v, %v", c.name, got, err)
			continue
		}
		if r := got[0]; r.Millis != c.samples/8 || r.Channels != 2 || r.CutShort != (c.name != "all there") || r.Contact != "c" || r.Started.UnixMilli() != 1_700_000_000_123 {
			t.Errorf("%s: %+v", c.name, r)
		}
		rec, err := OpenRecording(RecordingPath(dir, "r"), key)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if i := rec.Info(); !i.Complete || i.Samples != c.samples || i.CutShort != got[0].CutShort {
			t.Errorf("%s: info %+v", c.name, i)
		}
		channels(t, rec)
		rec.Close()
		file, _ := os.ReadFile(RecordingPath(dir, "r"))
		if sum := sha256.Sum256(file); hex.EncodeToString(sum[:]) != got[0].SHA256 {
			t.Errorf("%s: the checksum is not the file's", c.name)
		}
		if again, err := Recover(dir, testKey); err != nil || len(again) != 0 {
			t.Errorf("%s: recovered again: %v, %v", c.name, again, err)
		}
	}
}

func TestRecoverSaysWhyNot(t *testing.T) {
	dir := t.TempDir()
	if got, err := Recover(dir, nil); err != nil || got != nil {
		t.Fatalf("an empty folder: %v, %v", got, err)
	}
	os.MkdirAll(filepath.Join(dir, openDir), 0o700)
	os.WriteFile(openPath(dir, "r"), []byte("YREC?"), 0o600)
	if got, err := Recover(dir, nil); err != nil || len(got) != 1 || got[0].Err == "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// The program is killed in the middle of a recorded call; what was spoken until a second and a half before can be heard.
func TestKillInMidRecording(t *testing.T) {
	if dir := os.Getenv("YINGDA_MEDIA_CHILD"); dir != "" {
		recordUntilKilled(t, dir)
		return
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=TestKillInMidRecording$", "-test.v")
	cmd.Env = append(os.Environ(), "YINGDA_MEDIA_CHILD="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	spoken := 0
	for lines.Scan() {
		if n, _ := fmt.Sscanf(lines.Text(), "spoken %d", &spoken); n == 1 && spoken >= 3300 {
			break
		}
	}
	cmd.Process.Kill()
	io.Copy(io.Discard, out)
	if err := cmd.Wait(); err == nil {
		t.Fatal("it ended by itself")
	}
	// Playable as it lies there, before anybody has recovered it.
	rec, err := OpenRecording(openPath(dir, "killed"), keyOf("killed"))
	if err != nil {
		t.Fatal(err)
	}
	ch := channels(t, rec)
	rec.Close()
	got, err := Recover(dir, testKey)
	if err != nil || len(got) != 1 || got[0].Err != "" || !got[0].CutShort {
		t.Fatalf("recovered %+v, %v", got, err)
	}
	if got[0].Millis < int64(spoken)-1500 || got[0].Millis != int64(len(ch[0])/8) {
		t.Errorf("%d ms of %d are left", got[0].Millis, spoken)
	}
	if a, b := sound.Goertzel(ch[0][1600:], 500), sound.Goertzel(ch[1][1600:], 900); a < -13 || b < -13 {
		t.Errorf("its tones are at %.1f and %.1f dB", a, b)
	}
}

// recordUntilKilled is the program that is killed: real threads, real files, two phones that talk at the wheel's pace.
func recordUntilKilled(t *testing.T, dir string) {
	p, err := Open(Config{RecordingDir: dir, Key: testKey, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	b := &lab{t: t, plane: p}
	r, o := b.realPhone("r"), b.realPhone("o")
	p.Bridge("r", "o")
	p.Record("killed", "c", "r", "o")
	wr, wo := wave(PCMA, 500, 1000), wave(PCMA, 900, 1000)
	clock := monotonic()
	next := clock()
	for i := range 1000 {
		r.say(wr[i])
		o.say(wo[i])
		fmt.Printf("spoken %d\n", i*20)
		next += 20 * ms
		sleepUntil(next)
	}
}

// Whatever stands in a file, it is read or refused.
func FuzzOpenRecording(f *testing.F) {
	dir := f.TempDir()
	for i, n := range []int{0, 5, 8003} {
		b, err := os.ReadFile(makeRecording(f, dir, intake.RecordingID(fmt.Sprint("s", i)), n, nil))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		f.Add(b[:len(b)*2/3])
	}
	path := filepath.Join(dir, "fuzz.yrec")
	f.Fuzz(func(t *testing.T, b []byte) {
		path := fmt.Sprint(path, os.Getpid())
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		rec, err := OpenRecording(path, nil)
		if err != nil {
			return
		}
		defer rec.Close()
		n, _ := io.Copy(io.Discard, rec)
		if n > int64(4*len(b)+100) {
			t.Fatalf("%d bytes of sound out of %d", n, len(b))
		}
	})
}
