package test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/text/encoding/simplifiedchinese"
)

// A backup is taken while calls come in, and everything in it fits together; one that is taken afterwards is what was there.
func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	data := fresh(t)
	s := newServed(t, data)
	s.start()
	trace := filepath.Join(t.TempDir(), "messages.log")
	phones := s.load(15, 700*time.Millisecond, trace)
	waitFor(t, "some calls", 20*time.Second, func() bool { return len(s.contacts()) >= 10 })
	dir := t.TempDir()
	during, after := filepath.Join(dir, "during.tar.gz"), filepath.Join(dir, "after.tar.gz")
	tell(t, data, "backup", during).is(t, 0, "files", during)
	waitFor(t, "some more calls", 20*time.Second, func() bool { return len(s.contacts()) >= 30 })
	_ = phones.cmd.Process.Signal(syscall.SIGUSR1) // no new calls, the others end
	phones.wait(t, 20*time.Second)
	s.allEnded()
	s.audited()
	tell(t, data, "backup", after).is(t, 0, "files")
	all := tell(t, data, "export", "contacts").is(t, 0)

	tell(t, data, "backup", after).is(t, 1, "is there already", "no backup is overwritten")
	tell(t, data, "backup", filepath.Join(dir, "nowhere", "x.tar.gz")).is(t, 1, "no such file or directory")

	second := fresh(t)
	tell(t, second, "restore", after).is(t, 0, "files restored", "contacts")
	tell(t, second, "audit").is(t, 0, "clean", "balanced")
	if again := tell(t, second, "export", "contacts"); again.out != all.out || again.out == "" {
		t.Errorf("restored contacts differ from those that were backed up:\n%s\nwant\n%s", again.out, all.out)
	}
	tell(t, second, "restore", after).is(t, 1, second+" is not empty", "--data")
	tell(t, second, "audit").is(t, 0, "clean")

	first := fresh(t)
	tell(t, first, "restore", during).is(t, 0, "files restored")
	tell(t, first, "audit").is(t, 0, "clean")
	restored := newServed(t, first)
	restored.start()
	restored.allEnded() // calls of that moment are interrupted: their end was not known yet
	restored.audited()  // log, tables and the index that is built from them
	known := map[string]bool{}
	for _, e := range s.contacts() {
		known[string(e.ID)] = true
	}
	list := restored.contacts()
	if len(list) < 10 || len(list) >= len(known) {
		t.Errorf("%d contacts in a backup taken while there were between 10 and %d", len(list), len(known))
	}
	for _, e := range list {
		if !known[string(e.ID)] {
			t.Errorf("a contact came out of a backup that nobody made: %+v", e)
		}
	}
}

func TestBadBackupsAreRefused(t *testing.T) {
	t.Parallel()
	data := fresh(t)
	tellWith(t, data, old(1, "2026-10-01T01:00:00Z", "051255501111"), "import", "events", "-").is(t, 0)
	file := filepath.Join(t.TempDir(), "whole.tar.gz")
	tell(t, data, "backup", file).is(t, 0)
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(name string, body []byte, why string) {
		t.Helper()
		into := fresh(t)
		tell(t, into, "restore", write(t, name, string(body))).is(t, 1, why)
		if left, err := os.ReadDir(into); err == nil && len(left) > 0 {
			t.Errorf("%s: it left %v in the folder, where the next try finds it not empty", name, left)
		}
	}
	for _, keep := range []int{len(whole) / 3, len(whole) - 200, len(whole) - 4} {
		refused("cut.tar.gz", whole[:keep], "the backup is cut short or damaged")
	}
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 0x10
	refused("flipped.tar.gz", flipped, "the backup is cut short or damaged")
	refused("empty.tar.gz", nil, "this is no backup")
	refused("letter.txt", []byte("Dear Sir or Madam"), "this is no backup")
	packed := func(names ...string) []byte {
		var b bytes.Buffer
		zip := gzip.NewWriter(&b)
		w := tar.NewWriter(zip)
		for _, n := range names {
			if err := w.WriteHeader(&tar.Header{Name: n, Mode: 0o600, Size: 4, Typeflag: tar.TypeReg}); err != nil {
				t.Fatal(err)
			}
			if _, err := w.Write([]byte("what")); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if err := zip.Close(); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	refused("half.tar.gz", packed("log.db"), "yingda.db is not in it")
	refused("climbs.tar.gz", packed("../../etc/passwd"), "which no backup of ours does")
	refused("noise.tar.gz", packed("log.db", "yingda.db"), "cannot be opened")
	tell(t, fresh(t), "restore", filepath.Join(data, "gone.tar.gz")).is(t, 1, "gone.tar.gz", "no such file")
	tell(t, fresh(t), "restore").is(t, 2, "1 arg")
}

func TestGridsImport(t *testing.T) {
	t.Parallel()
	const good = "编码,名称,上级,网格员,电话,户数\n320599,青溪区,,,,\n320599001,梅溪街道,,,,\n320599001001,梅苑社区,,,,\n32059900100101,梅苑 01,,陆建平,0512-5550-2001,412\n32059900100102,梅苑 02,,周敏,0512-5550-2002,398\n"
	const bad = good + "3205990010010,梅苑 03,,周敏,,\n32059900100103,,,周敏,,\n32059900100101,又一个,,周敏,,\n32059900100104,梅苑 04,,周敏,,四百\n"
	gbk, err := simplifiedchinese.GBK.NewEncoder().String(good)
	if err != nil {
		t.Fatal(err)
	}
	data := fresh(t)
	inForce := func(want string) {
		t.Helper()
		o := tell(t, data, "doctor", "--http", "127.0.0.1:0", "--sip", "127.0.0.1:0")
		if !strings.Contains(o.out, want) {
			t.Errorf("the doctor does not say %q:\n%s", want, o.out)
		}
	}
	tell(t, data, "grids", "import", "--dry-run", write(t, "g.csv", good)).is(t, 0, "5 rows read, 0 refused; 2 grids", "!in force")
	inForce("no grids are known")
	tell(t, data, "grids", "import", write(t, "g.csv", gbk)).is(t, 0, "5 rows read, 0 refused; 2 grids", "in force")
	inForce("2 grids in the registry")
	o := tell(t, data, "grids", "import", "--dry-run", write(t, "g.csv", bad)).is(t, 1, "9 rows read, 4 refused", "some rows were refused", "!in force")
	for row, why := range map[string]string{"7": "有 13 位", "8": "没有名称", "9": "重复", "10": "不是数字"} {
		if !strings.Contains(grep(o.out, "第 "+row+" 行"), why) {
			t.Errorf("row %s is refused without %q:\n%s", row, why, o.out)
		}
	}
	inForce("2 grids in the registry")

	// A border that crosses itself is refused, the grid stays known by its name; the other gets its border.
	shapes := `{"type":"FeatureCollection","features":[
		{"type":"Feature","properties":{"code":"32059900100101"},"geometry":{"type":"Polygon","coordinates":[[[120.5,31.3],[120.6,31.4],[120.6,31.3],[120.5,31.4],[120.5,31.3]]]}},
		{"type":"Feature","properties":{"code":"32059900100102"},"geometry":{"type":"Polygon","coordinates":[[[120.5,31.3],[120.6,31.3],[120.6,31.4],[120.5,31.4],[120.5,31.3]]]}}]}`
	tell(t, data, "grids", "import", write(t, "g.csv", good), write(t, "g.geojson", shapes)).is(t, 1, "1 refused; 2 grids", "自己与自己相交", "in force", "some rows were refused")
	tell(t, data, "grids", "import", write(t, "g.geojson", "{")).is(t, 1, "nothing is left to take")
	tell(t, data, "grids", "import", write(t, "g.csv", "编码\xff\xff\xff\n")).is(t, 1, "既不是 UTF-8 也不是 GBK")
	tell(t, data, "grids", "import", filepath.Join(data, "gone.csv")).is(t, 1, "gone.csv", "no such file")
	tell(t, data, "grids", "import").is(t, 2, "1 arg")
	inForce("2 grids in the registry")
}
