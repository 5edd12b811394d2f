package app

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"yingda/intake"
)

// exif is an APP1 segment with an orientation and a position (GPS IFD) that must not survive.
func exif(turn uint16) []byte {
	var t bytes.Buffer
	t.WriteString("MM\x00\x2a\x00\x00\x00\x08")
	put := func(tag, kind uint16, count, value uint32) {
		_ = binary.Write(&t, binary.BigEndian, struct {
			Tag, Kind    uint16
			Count, Value uint32
		}{tag, kind, count, value})
	}
	_ = binary.Write(&t, binary.BigEndian, uint16(2))
	put(0x0112, 3, 1, uint32(turn)<<16)
	put(0x8825, 4, 1, 38)
	t.Write([]byte{0, 0, 0, 0})
	_ = binary.Write(&t, binary.BigEndian, uint16(1))
	put(1, 2, 2, 'N'<<24)
	t.Write([]byte{0, 0, 0, 0})
	t.WriteString("31.2993N120.6195E SECRETPLACE")
	body := append([]byte("Exif\x00\x00"), t.Bytes()...)
	out := []byte{0xff, 0xe1}
	out = binary.BigEndian.AppendUint16(out, uint16(len(body)+2))
	return append(out, body...)
}

// jpegOf draws a picture whose left half is red and whose right half is blue, and says in its EXIF how it is to be turned.
func jpegOf(t testing.TB, w, h int, turn uint16) []byte {
	t.Helper()
	p := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.RGBA{255, 0, 0, 255}
			if x >= w/2 {
				c = color.RGBA{0, 0, 255, 255}
			}
			p.Set(x, y, c)
		}
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, p, nil); err != nil {
		t.Fatal(err)
	}
	raw := b.Bytes()
	return append(append(append([]byte{}, raw[:2]...), exif(turn)...), raw[2:]...)
}

func pngOf(t testing.TB, w, h int) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, image.NewGray(image.Rect(0, 0, w, h))); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bomb is a PNG that says it has 50,000 × 50,000 pixels.
func bomb(t testing.TB) []byte {
	raw := pngOf(t, 1, 1)
	binary.BigEndian.PutUint32(raw[16:], 50_000)
	binary.BigEndian.PutUint32(raw[20:], 50_000)
	binary.BigEndian.PutUint32(raw[29:], crc32.ChecksumIEEE(raw[12:29]))
	return raw
}

func TestRedraw(t *testing.T) {
	// Six: the camera was turned a quarter to the right; what was left is above.
	out, err := redraw(jpegOf(t, 64, 32, 6))
	if err != nil {
		t.Fatal(err)
	}
	p, err := jpeg.Decode(bytes.NewReader(out))
	if err != nil || p.Bounds().Dx() != 32 || p.Bounds().Dy() != 64 {
		t.Fatalf("%v %v", p.Bounds(), err)
	}
	if r, _, b, _ := p.At(16, 4).RGBA(); r < b {
		t.Error("the red half is not above")
	}
	if r, _, b, _ := p.At(16, 60).RGBA(); b < r {
		t.Error("the blue half is not below")
	}
	for _, mark := range []string{"Exif", "SECRETPLACE", "31.2993"} {
		if bytes.Contains(out, []byte(mark)) {
			t.Errorf("%s survived", mark)
		}
	}
	large, err := redraw(jpegOf(t, 4000, 1000, 1))
	if err != nil {
		t.Fatal(err)
	}
	if c, err := jpeg.DecodeConfig(bytes.NewReader(large)); err != nil || c.Width != longSide || c.Height != 640 {
		t.Errorf("%+v %v", c, err)
	}
	var g bytes.Buffer
	if err := gif.Encode(&g, image.NewPaletted(image.Rect(0, 0, 9, 9), color.Palette{color.Black, color.White}), nil); err != nil {
		t.Fatal(err)
	}
	for _, raw := range [][]byte{pngOf(t, 10, 10), g.Bytes()} {
		if out, err := redraw(raw); err != nil || !bytes.HasPrefix(out, []byte{0xff, 0xd8}) {
			t.Errorf("%v", err)
		}
	}
	fails := func(code string, raw []byte) {
		t.Helper()
		var e *errPhoto
		if _, err := redraw(raw); !errors.As(err, &e) || e.code != code {
			t.Errorf("%.20q: %v, want %s", raw, err, code)
		}
	}
	whole := jpegOf(t, 64, 64, 1)
	fails("broken", whole[:len(whole)/2])
	fails("broken", whole[:30])
	fails("pixels", bomb(t))
	fails("type", []byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`))
	fails("type", []byte("PK\x03\x04 a zip"))
	fails("type", nil)
	fails("type", []byte("<html>"))
}

func TestPhotos(t *testing.T) {
	o := open(t)
	fields := map[string]string{"text": "灯不亮", "phone": "13800005678", "lat": "31.2993", "lon": "120.6195"}
	one, two := jpegOf(t, 200, 100, 1), pngOf(t, 50, 50)
	got := o.postMulti("p", fields, one, two).receipt(t)
	// Sent again: another boundary, the same content.
	if r := o.postMulti("p", fields, one, two); r.receipt(t).ID != got.ID || r.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("%s", r.body)
	}
	if r := o.postMulti("p", fields, two, one); r.status != 422 {
		t.Errorf("%d", r.status)
	}
	events := o.events()
	if len(events) != 3 {
		t.Fatalf("%d events", len(events))
	}
	m := events[1].Event.Data.(*intake.MessageV1)
	if len(m.Attachments) != 2 || m.From != "resident" || m.Number != 1 {
		t.Fatalf("%+v", m)
	}
	for _, a := range m.Attachments {
		raw, err := o.server.Attachment(a.ID)
		if err != nil || int64(len(raw)) != a.Size || sum(raw) != a.SHA256 || a.Type != "image/jpeg" {
			t.Errorf("%+v %v", a, err)
		}
	}
	files := func() (list []string) {
		_ = filepath.WalkDir(filepath.Join(o.dir, "attachments"), func(p string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				list = append(list, p)
			}
			return err
		})
		return list
	}
	if n := len(files()); n != 2 {
		t.Fatalf("%d files", n)
	}
	for _, f := range files() {
		raw, err := os.ReadFile(f)
		if err != nil || bytes.Contains(raw, []byte{0xff, 0xd8, 0xff}) || bytes.Contains(raw, []byte("JFIF")) {
			t.Errorf("%s is not sealed: %v", f, err)
		}
		raw[len(raw)-1] ^= 1
		if err := os.WriteFile(f, raw, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := o.server.Attachment(m.Attachments[0].ID); !errors.Is(err, ErrAttachment) {
		t.Errorf("a file that was changed opens: %v", err)
	}
	for _, id := range []string{"", "../y.db", "x", strings.ToUpper(m.Attachments[0].ID)} {
		if _, err := o.server.Attachment(id); !errors.Is(err, ErrAttachment) {
			t.Errorf("%q: %v", id, err)
		}
	}
	// What a crash left behind goes after a day; what is named stays.
	if err := o.server.files.Write(o.server.config.NewID(), "", o.clock.now().Add(time.Second), []byte("orphan")); err != nil {
		t.Fatal(err)
	}
	if err := o.server.orphans(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if n := len(files()); n != 2 {
		t.Errorf("%d files", n)
	}
	// Erased: the words and the files go.
	o.apply()
	erased := intake.Event{Source: "t", Subject: got.ID.Subject(), Sequence: intake.NewSequence(9, 1), Time: o.clock.now(), PartitionKey: "x", Data: &intake.ErasedV1{}}
	o.apply(record(erased))
	if n := len(files()); n != 0 {
		t.Errorf("%d files after an erasure", n)
	}
	var data string
	if err := o.db.QueryRow(t.Context(), "SELECT data FROM app_submissions WHERE contact = ?", string(got.ID)).Scan(&data); err != nil || data != "" {
		t.Errorf("%q %v", data, err)
	}
}

func TestBadPhotos(t *testing.T) {
	o := open(t)
	fields := map[string]string{"text": "灯不亮"}
	test := func(key string, status int, pointer, code string, photos ...[]byte) {
		t.Helper()
		r := o.postMulti(key, fields, photos...)
		p := r.problem(t)
		if r.status != status || len(p.Errors) != 1 || p.Errors[0].Pointer != pointer || p.Errors[0].Code != code || p.ID == "" {
			t.Errorf("%s: %d %s", key, r.status, r.body)
		}
	}
	good := jpegOf(t, 64, 64, 1)
	test("svg", 422, "/photos/1", "type", good, []byte("<svg onload=alert(1)>"))
	test("cut", 422, "/photos/0", "broken", good[:len(good)/2])
	test("empty", 422, "/photos/0", "broken", nil)
	test("seven", 422, "/photos", "too_many", good, good, good, good, good, good, good)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	test("bomb", 422, "/photos/0", "pixels", bomb(t))
	test("huge", 422, "/photos/0", "size", bytes.Repeat([]byte{0xff}, mostPhotoBytes+10))
	runtime.ReadMemStats(&after)
	if grown := int64(after.TotalAlloc - before.TotalAlloc); grown > 400<<20 {
		t.Errorf("%d MB for a bomb", grown>>20)
	}
	for id, outcome := range o.contacts() {
		if outcome != intake.RejectedInvalid {
			t.Errorf("%s %s", id, outcome)
		}
	}
	kind, body := multi(fields, good)
	if r := o.do("POST", "/api/v1/submissions", kind, body[:len(body)-40], "Authorization", "Bearer "+o.key, "Idempotency-Key", "torn"); r.status != 400 {
		t.Errorf("torn: %d %s", r.status, r.body)
	}
	many := map[string]string{}
	for i := range 100 {
		many[fmt.Sprint("f", i)] = "x"
	}
	if r := o.postMulti("many", many); r.status != 400 {
		t.Errorf("many: %d %s", r.status, r.body)
	}
	if r := o.postMulti("long", map[string]string{"text": strings.Repeat("a", mostField+1)}); r.status != 413 {
		t.Errorf("long: %d %s", r.status, r.body)
	}
}
