package app

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif" // the formats that are read
	"image/jpeg"
	_ "image/png"
	"io"
	"net/http"
	"os"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp"
)

// What a photo may be.
const (
	mostPhotoBytes = 12 << 20
	mostMemory     = 192 << 20 // that decoding may take
	longSide       = 2560      // of what is kept, in pixels
	quality        = 85
)

// held are the photos of one submission as they came: files without a name, so that nothing of them is left when we are killed.
type held []heldPhoto

type heldPhoto struct {
	file *os.File
	size int64
	sum  []byte
}

func (h held) drop() {
	for _, p := range h {
		_ = p.file.Close()
	}
}

// hold reads the photos. wrong says which are too large; err is for a connection that broke or a disk that is full.
func hold(photos []Photo) (h held, wrong []Field, err error) {
	for i, p := range photos {
		if p.held == nil {
			one, err := holdOne(p.Body)
			if err != nil {
				h.drop()
				return nil, nil, err
			}
			p.held = &one
		}
		h = append(h, *p.held)
		switch {
		case p.held.size > mostPhotoBytes:
			wrong = append(wrong, Field{fmt.Sprintf("photos/%d", i), "size", fmt.Sprintf("This photo is larger than %d MB; send a smaller one.", mostPhotoBytes>>20)})
		case p.held.size == 0:
			wrong = append(wrong, Field{fmt.Sprintf("photos/%d", i), "broken", "This photo is empty."})
		}
	}
	return h, wrong, nil
}

// holdOne reads one photo, at most one byte more than it may have.
func holdOne(body io.Reader) (heldPhoto, error) {
	f, err := os.CreateTemp("", "yingda-photo-*")
	if err != nil {
		return heldPhoto{}, fmt.Errorf("%w: a photo has no room: %w", ErrLater, err)
	}
	_ = os.Remove(f.Name())
	sum, out := sha256.New(), &writer{w: f}
	n, err := io.Copy(io.MultiWriter(out, sum), io.LimitReader(body, mostPhotoBytes+1))
	if err != nil {
		_ = f.Close()
		if out.err != nil {
			return heldPhoto{}, fmt.Errorf("%w: a photo has no room: %w", ErrLater, err)
		}
		return heldPhoto{}, fmt.Errorf("app: a photo did not come whole: %w", err)
	}
	return heldPhoto{f, n, sum.Sum(nil)}, nil
}

// writer remembers that it was the disk that failed, not the one who sends.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.err = err
	return n, err
}

// errPhoto is why a photo cannot be taken: type, pixels, broken.
type errPhoto struct{ code, detail string }

func (e *errPhoto) Error() string { return e.detail }

// redraw decodes a picture and draws it anew as JPEG, the right way up, at most longSide long. Whatever else was in the file (where and when it was
// taken, with what, what hides behind its end) is not in the new one.
func redraw(raw []byte) ([]byte, error) {
	kind := http.DetectContentType(raw)
	switch kind {
	case "image/jpeg", "image/png", "image/gif", "image/webp":
	default:
		return nil, &errPhoto{"type", "This is no picture that we can read; send JPEG, PNG, WebP or GIF."}
	}
	c, _, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil || c.Width <= 0 || c.Height <= 0 {
		return nil, &errPhoto{"broken", "This picture is broken; take or choose it again."}
	}
	turn, progressive := 1, false
	if kind == "image/jpeg" {
		turn, progressive = lookInto(raw)
	}
	if int64(c.Width) > 1<<16 || int64(c.Height) > 1<<16 || int64(c.Width)*int64(c.Height)*perPixel(c.ColorModel, progressive) > mostMemory {
		return nil, &errPhoto{"pixels", fmt.Sprintf("This picture has %d × %d pixels, more than we can open; send a smaller one.", c.Width, c.Height)}
	}
	picture, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return nil, &errPhoto{"broken", "This picture is broken or cut off; take or choose it again."}
	}
	var out bytes.Buffer
	if err := jpeg.Encode(&out, upright(shrink(picture), turn), &jpeg.Options{Quality: quality}); err != nil {
		return nil, fmt.Errorf("app: draw a photo anew: %w", err)
	}
	return out.Bytes(), nil
}

// perPixel bounds the bytes that decoding takes for each pixel. A progressive JPEG keeps all its coefficients (four bytes each) besides.
func perPixel(m color.Model, progressive bool) int64 {
	n := int64(4)
	switch m {
	case color.GrayModel, color.AlphaModel:
		n = 1
	case color.YCbCrModel:
		n = 3
	case color.RGBA64Model, color.NRGBA64Model:
		n = 8
	case color.Gray16Model, color.Alpha16Model:
		n = 2
	}
	if progressive {
		n *= 5
	}
	return n
}

// shrink draws the picture on white so that its long side is at most longSide.
func shrink(p image.Image) *image.RGBA {
	b := p.Bounds()
	w, h := b.Dx(), b.Dy()
	if long := max(w, h); long > longSide {
		w, h = max(1, w*longSide/long), max(1, h*longSide/long)
	}
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(out, out.Bounds(), image.White, image.Point{}, draw.Src)
	draw.ApproxBiLinear.Scale(out, out.Bounds(), p, b, draw.Over, nil)
	return out
}

// upright turns a picture as its EXIF orientation (1 to 8) says, since the note that says so is not kept.
func upright(p *image.RGBA, turn int) *image.RGBA {
	if turn < 2 || turn > 8 {
		return p
	}
	w, h := p.Rect.Dx(), p.Rect.Dy()
	out := image.NewRGBA(image.Rect(0, 0, w, h))
	if turn >= 5 {
		out = image.NewRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			var to image.Point
			switch turn {
			case 2:
				to = image.Pt(w-1-x, y)
			case 3:
				to = image.Pt(w-1-x, h-1-y)
			case 4:
				to = image.Pt(x, h-1-y)
			case 5:
				to = image.Pt(y, x)
			case 6:
				to = image.Pt(h-1-y, x)
			case 7:
				to = image.Pt(h-1-y, w-1-x)
			case 8:
				to = image.Pt(y, w-1-x)
			}
			copy(out.Pix[out.PixOffset(to.X, to.Y):][:4], p.Pix[p.PixOffset(x, y):][:4])
		}
	}
	return out
}

// lookInto walks the markers of a JPEG (ITU-T T.81 annex B) up to the first scan and says how it is to be turned (EXIF, 1 when it does not say) and
// whether it is progressive.
func lookInto(raw []byte) (turn int, progressive bool) {
	turn = 1
	for at := 2; at+4 <= len(raw) && raw[at] == 0xff; {
		marker := raw[at+1]
		if marker == 0xff { // filling
			at++
			continue
		}
		size := int(binary.BigEndian.Uint16(raw[at+2:]))
		if size < 2 || at+2+size > len(raw) || marker == 0xda {
			break
		}
		body := raw[at+4 : at+2+size]
		switch {
		case marker == 0xc2:
			progressive = true
		case marker == 0xe1 && bytes.HasPrefix(body, []byte("Exif\x00\x00")):
			turn = orientation(body[6:])
		}
		at += 2 + size
	}
	return turn, progressive
}

// orientation reads tag 0x0112 of the first directory of a TIFF (TIFF 6.0 § 2); 1 when it is not there.
func orientation(tiff []byte) int {
	if len(tiff) < 8 {
		return 1
	}
	var order binary.ByteOrder = binary.LittleEndian
	if tiff[0] == 'M' {
		order = binary.BigEndian
	}
	at := int64(order.Uint32(tiff[4:]))
	if at+2 > int64(len(tiff)) {
		return 1
	}
	for i := range int64(order.Uint16(tiff[at:])) {
		entry := at + 2 + i*12
		if entry+12 > int64(len(tiff)) {
			break
		}
		if order.Uint16(tiff[entry:]) == 0x0112 {
			if v := int(order.Uint16(tiff[entry+8:])); v >= 1 && v <= 8 {
				return v
			}
			break
		}
	}
	return 1
}

// redrawHeld is redraw, one at a time.
func (s *Server) redrawHeld(ctx context.Context, p heldPhoto) (raw []byte, err error) {
	select {
	case s.photos <- struct{}{}:
		defer func() { <-s.photos }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	in := make([]byte, p.size)
	if _, err := p.file.ReadAt(in, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("%w: read a photo: %w", ErrLater, err)
	}
	defer func() {
		if bug := recover(); bug != nil { // a decoder's own mistake must not take the door with it
			s.slog.Error("submissions: a photo broke its decoder", "panic", bug)
			err = &errPhoto{"broken", "This picture is broken; take or choose it again."}
		}
	}()
	return redraw(in)
}
