package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"image"
	"image/color"
	"image/gif"
	"image/jpeg"
	"image/png"
	"testing"
	"time"
)

// twoColours is red on the left and blue on the right.
func twoColours(w, h int) *image.NRGBA {
	p := image.NewNRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			c := color.NRGBA{R: 255, A: 255}
			if x >= w/2 {
				c = color.NRGBA{B: 255, A: 255}
			}
			p.SetNRGBA(x, y, c)
		}
	}
	return p
}

// withExif is a JPEG that says how it is to be turned, and where it was taken.
func withExif(tb testing.TB, w, h int, turn uint16, order binary.AppendByteOrder) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := jpeg.Encode(&b, twoColours(w, h), &jpeg.Options{Quality: 95}); err != nil {
		tb.Fatal(err)
	}
	tiff := []byte("II*\x00")
	if order == binary.AppendByteOrder(binary.BigEndian) {
		tiff = []byte("MM\x00*")
	}
	two := func(v uint16) { tiff = order.AppendUint16(tiff, v) }
	tiff = order.AppendUint32(tiff, 8)
	two(1)
	two(0x0112)
	two(3)
	tiff = order.AppendUint32(tiff, 1)
	two(turn)
	two(0)
	tiff = order.AppendUint32(tiff, 0)
	app1 := append([]byte("Exif\x00\x00"), tiff...)
	app1 = append(app1, "GPS 31.2989 120.5853 SECRETPLACE"...)
	seg := append([]byte{0xff, 0xe1}, binary.BigEndian.AppendUint16(nil, uint16(len(app1)+2))...)
	raw := append([]byte{0xff, 0xd8}, append(append(seg, app1...), b.Bytes()[2:]...)...)
	return append(raw, "BEHIND THE END"...)
}

func TestTurnedAndBare(t *testing.T) {
	// Where red (left in the file) must be seen when it is upright: TIFF 6.0 tag Orientation.
	for turn, red := range map[uint16]string{1: "left", 2: "right", 3: "right", 4: "left", 5: "top", 6: "top", 7: "bottom", 8: "bottom"} {
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			raw := withExif(t, 60, 40, turn, order)
			p, err := Redraw(raw, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Contains(p.Bytes, []byte("SECRETPLACE")) || bytes.Contains(p.Bytes, []byte("Exif")) || bytes.Contains(p.Bytes, []byte("BEHIND")) {
				t.Errorf("turn %d: it still says where it was taken", turn)
			}
			img, _, err := image.Decode(bytes.NewReader(p.Bytes))
			if err != nil || p.Type != "image/jpeg" {
				t.Fatal(p.Type, err)
			}
			b := img.Bounds()
			if b.Dx() != p.Width || b.Dy() != p.Height || (turn >= 5) != (b.Dx() == 40) {
				t.Errorf("turn %d: %v, said %d × %d", turn, b, p.Width, p.Height)
			}
			at := map[string]image.Point{"left": {5, b.Dy() / 2}, "right": {b.Dx() - 5, b.Dy() / 2}, "top": {b.Dx() / 2, 5}, "bottom": {b.Dx() / 2, b.Dy() - 5}}[red]
			if r, _, bl, _ := img.At(at.X, at.Y).RGBA(); r < bl {
				t.Errorf("turn %d: red is not at the %s", turn, red)
			}
		}
	}
}

func TestKinds(t *testing.T) {
	var p, g bytes.Buffer
	clear := twoColours(20, 10)
	clear.Pix[3] = 0
	if err := png.Encode(&p, clear); err != nil {
		t.Fatal(err)
	}
	if err := gif.Encode(&g, twoColours(20, 10), nil); err != nil {
		t.Fatal(err)
	}
	for name, raw := range map[string][]byte{"png": p.Bytes(), "gif": g.Bytes()} {
		got, err := Redraw(raw, Limits{})
		if err != nil || got.Type != "image/png" || got.Width != 20 {
			t.Errorf("%s: %+v %v", name, got.Type, err)
		}
	}
	got, err := Redraw(p.Bytes(), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	img, _ := png.Decode(bytes.NewReader(got.Bytes))
	if _, _, _, a := img.At(0, 0).RGBA(); a != 0 {
		t.Error("one cannot see through it any more")
	}
	small, err := Redraw(withExif(t, 900, 300, 1, binary.BigEndian), Limits{LongSide: 300})
	if err != nil || small.Width != 300 || small.Height != 100 {
		t.Errorf("%d × %d %v", small.Width, small.Height, err)
	}
}

// bomb is a small PNG that says it has w × h pixels.
func bomb(w, h uint32) []byte {
	head := binary.BigEndian.AppendUint32([]byte("IHDR"), w)
	head = append(binary.BigEndian.AppendUint32(head, h), 8, 6, 0, 0, 0)
	raw := append([]byte("\x89PNG\r\n\x1a\n\x00\x00\x00\x0d"), head...)
	return binary.BigEndian.AppendUint32(raw, crc32.ChecksumIEEE(head))
}

func TestRefused(t *testing.T) {
	good := withExif(t, 60, 40, 1, binary.LittleEndian)
	for name, c := range map[string]struct {
		raw  []byte
		want error
	}{
		"bomb":      {bomb(50000, 50000), ErrPixels},
		"long bomb": {bomb(1<<30, 1), ErrPixels},
		"cut off":   {good[:len(good)/2], ErrBroken},
		"head only": {good[:20], ErrBroken},
		"nothing":   {nil, ErrType},
		"svg":       {[]byte(`<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`), ErrType},
		"html":      {[]byte("<html><script>alert(1)</script>"), ErrType},
		"text":      {[]byte("GIF, I am"), ErrType},
		"png only":  {[]byte("\x89PNG\r\n\x1a\nxxxx"), ErrBroken},
		"gif only":  {[]byte("GIF89a"), ErrBroken},
		"webp only": {[]byte("RIFF\x00\x00\x00\x00WEBPVP8 "), ErrBroken},
	} {
		began := time.Now()
		if _, err := Redraw(c.raw, Limits{}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if took := time.Since(began); took > 5*time.Second {
			t.Errorf("%s took %s", name, took)
		}
	}
}

func FuzzRedraw(f *testing.F) {
	f.Add(withExif(f, 16, 8, 6, binary.LittleEndian))
	f.Add(bomb(4, 4))
	f.Add([]byte("GIF89a\x01\x00\x01\x00"))
	f.Add([]byte("RIFF\x1a\x00\x00\x00WEBPVP8L\x0d\x00\x00\x00\x2f\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := Redraw(raw, Limits{Pixels: 1 << 20, LongSide: 64})
		if err != nil {
			return
		}
		if p.Width < 1 || p.Height < 1 || max(p.Width, p.Height) > 64 {
			t.Fatalf("%d × %d", p.Width, p.Height)
		}
		if _, _, err := image.Decode(bytes.NewReader(p.Bytes)); err != nil {
			t.Fatal("what we wrote cannot be read", err)
		}
	})
}
