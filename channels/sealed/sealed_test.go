package sealed

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

const (
	one = "019ab2f0-0000-7000-8000-0000000000a1"
	two = "019ab2f0-0000-7000-8000-0000000000a2"
)

var made = time.Date(2026, 11, 24, 6, 32, 0, 123e6, time.UTC)

// folder gives a Dir whose keys are of the id and the month.
func folder(t testing.TB) Dir {
	return Dir{Path: t.TempDir(), Magic: "YTEST\x01\x00\x00", Suffix: ".ytest", Key: func(id string, made time.Time) ([]byte, error) {
		key := make([]byte, 32)
		copy(key, made.Format("200601")+id[len(id)-2:])
		return key, nil
	}}
}

// What is written comes back to who knows what it is bound to, and to nobody else; on disk it is not in clear.
func TestRoundTrip(t *testing.T) {
	d := folder(t)
	clear := []byte("a picture of a street lamp")
	if err := d.Write(one, "chat", made, clear); err != nil {
		t.Fatal(err)
	}
	if got, err := d.Read(one, "chat"); err != nil || !bytes.Equal(got, clear) {
		t.Fatalf("%q, %v", got, err)
	}
	if _, err := d.Read(one, "chit"); !errors.Is(err, ErrFile) {
		t.Errorf("bound to another: %v", err)
	}
	path, err := d.Place(one)
	if err != nil || path != filepath.Join(d.Path, "a1", one+".ytest") {
		t.Fatalf("%s, %v", path, err)
	}
	raw, err := os.ReadFile(path)
	if err != nil || bytes.Contains(raw, clear) || len(raw) != 16+12+len(clear)+16 {
		t.Errorf("%d bytes lie there: %v", len(raw), err)
	}
	if at, ours, err := d.Made(path); err != nil || !ours || !at.Equal(made) {
		t.Errorf("made %v, %v, %v", at, ours, err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info.Mode(), err)
	}
	// Under another id, changed, cut short, of another kind: it does not open.
	there, _ := d.Place(two)
	_ = os.MkdirAll(filepath.Dir(there), 0o700)
	for name, b := range map[string][]byte{"moved": raw, "cut": raw[:20], "empty": {}, "no kind": append([]byte("nonsense"), raw[8:]...)} {
		if err := os.WriteFile(there, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := d.Read(two, "chat"); !errors.Is(err, ErrFile) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range raw {
		bad := bytes.Clone(raw)
		bad[i] ^= 1
		_ = os.WriteFile(path, bad, 0o600)
		if _, err := d.Read(one, "chat"); !errors.Is(err, ErrFile) {
			t.Errorf("byte %d changed: %v", i, err)
		}
	}
	for range 2 {
		if err := d.Remove(one); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Read(one, "chat"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("taken away: %v", err)
	}
}

// A file name is made of an id, so nothing but a UUID as it is usually written is one.
func TestNoID(t *testing.T) {
	d := folder(t)
	for _, id := range []string{"", "x", "../../etc/passwd", "019AB2F0-0000-7000-8000-0000000000A1", "{" + one + "}", "urn:uuid:" + one, one + "/", one + "\x00"} {
		if _, err := d.Place(id); !errors.Is(err, ErrFile) {
			t.Errorf("%q lies somewhere: %v", id, err)
		}
		if err := d.Write(id, "", made, nil); !errors.Is(err, ErrFile) {
			t.Errorf("%q is written: %v", id, err)
		}
	}
}

// What the keys say comes out: a month whose secret is gone is not a damaged file.
func TestKeyGone(t *testing.T) {
	d := folder(t)
	if err := d.Write(one, "", made, []byte("x")); err != nil {
		t.Fatal(err)
	}
	gone := errors.New("forgotten")
	d.Key = func(string, time.Time) ([]byte, error) { return nil, gone }
	if _, err := d.Read(one, ""); !errors.Is(err, gone) || errors.Is(err, ErrFile) {
		t.Errorf("read: %v", err)
	}
	if err := d.Write(two, "", made, []byte("x")); !errors.Is(err, gone) {
		t.Errorf("write: %v", err)
	}
}

func TestSweep(t *testing.T) {
	d := folder(t)
	old := made.Add(-48 * time.Hour)
	for _, name := range []string{one + ".ytest", two + ".ytest", one + ".ytest.part", "notes.txt", "notes.ytest", one + ".other"} {
		path := filepath.Join(d.Path, "a1", name)
		_ = os.MkdirAll(filepath.Dir(path), 0o700)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	var asked []string
	keepTwo := func(id, _ string) (bool, error) { asked = append(asked, id); return id == two, nil }
	left := func() (names []string) {
		list, _ := os.ReadDir(filepath.Join(d.Path, "a1"))
		for _, e := range list {
			names = append(names, e.Name())
		}
		return names
	}
	if err := d.Sweep(old.Add(-time.Hour), keepTwo); err != nil || len(left()) != 6 || asked != nil {
		t.Fatalf("nothing is old enough: %v, left %v, asked %v", err, left(), asked)
	}
	trouble := errors.New("trouble")
	if err := d.Sweep(made, func(string, string) (bool, error) { return false, trouble }); !errors.Is(err, trouble) || len(left()) != 6 {
		t.Fatalf("nobody knows what is needed: %v, left %v", err, left())
	}
	if err := d.Sweep(made, keepTwo); err != nil {
		t.Fatal(err)
	}
	if want := []string{one + ".other", two + ".ytest", "notes.txt", "notes.ytest"}; !slices.Equal(left(), want) {
		t.Errorf("left %v, want %v", left(), want)
	}
	if want := []string{one, two}; !slices.Equal(asked, want) {
		t.Errorf("asked for %v, want %v", asked, want)
	}
}

// Whatever lies in a file, it is read or refused.
func FuzzRead(f *testing.F) {
	d := folder(f)
	path, _ := d.Place(one)
	if err := d.Write(one, "chat", made, []byte("seed")); err != nil {
		f.Fatal(err)
	}
	seed, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Add([]byte{})
	f.Add(seed[:20])
	f.Fuzz(func(t *testing.T, raw []byte) {
		d := folder(t)
		path, _ := d.Place(one)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, raw, 0o600)); err != nil {
			t.Fatal(err)
		}
		got, err := d.Read(one, "chat")
		if err == nil && string(got) != "seed" {
			t.Fatalf("%q opens", raw)
		}
		if err != nil && !errors.Is(err, ErrFile) {
			t.Fatal(err)
		}
	})
}
