// Package picture makes of a picture that came from outside one that may be kept and shown: decoded within bounds, drawn anew the right way up, and written
// by us, so that nothing of the file that came (where and when it was taken, with what, what hides behind its end) is in the one that is kept.
//
// Use: Redraw the bytes. It looks at size and type first and decodes only what fits the bounds; the caller bounds the number of bytes and how many are
// decoded at once. An error is ErrType, ErrPixels or ErrBroken.
//
// What it does not do: it plays no animation (the first picture is kept), reads no SVG, HEIC or TIFF, and judges no content.
package picture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif" // the formats that are read
	"image/jpeg"
	"image/png"
	"net/http"

	"golang.org/x/image/draw"
	_ "golang.org/x/image/webp"
)

// Errors of Redraw.
var (
	ErrType   = errors.New("picture: of no type that is read: JPEG, PNG, GIF, WebP")
	ErrPixels = errors.New("picture: more pixels than are opened")
	ErrBroken = errors.New("picture: broken or cut off")
)

// Types that are read.
func Types() []string { return []string{"image/jpeg", "image/png", "image/gif", "image/webp"} }

// Limits of a picture. Zero takes the default.
type Limits struct {
	Pixels   int   // width × height; 40 million
	Memory   int64 // bytes that decoding may take; 192 MiB
	LongSide int   // of what is kept, in pixels; 2,560
	JPEG     bool  // whatever it was, it becomes a JPEG
}

// Picture is one that was drawn anew.
type Picture struct {
	Type          string // image/jpeg, or image/png for drawings, screenshots and what one can see through
	Bytes         []byte
	Width, Height int
}

const (
	quality = 85      // of a JPEG
	largest = 3 << 19 // bytes of a PNG; a larger one that one cannot see through becomes a JPEG
)

// Redraw reads and writes a picture.
func Redraw(raw []byte, l Limits) (p Picture, err error) {
	if l.Pixels == 0 {
		l.Pixels = 40_000_000
	}
	if l.Memory == 0 {
		l.Memory = 192 << 20
	}
	if l.LongSide == 0 {
		l.LongSide = 2560
	}
	defer func() {
		if bug := recover(); bug != nil { // a decoder's own mistake ends this picture, nothing else
			err = fmt.Errorf("%w: its decoder: %v", ErrBroken, bug)
		}
	}()
	kind := http.DetectContentType(raw)
	switch kind {
	case "image/jpeg", "image/png", "image/gif", "image/webp":
	default:
		return p, fmt.Errorf("%w, not %s", ErrType, kind)
	}
	c, format, err := image.DecodeConfig(bytes.NewReader(raw))
	if err != nil || c.Width <= 0 || c.Height <= 0 {
		return p, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	turn, progressive := 1, false
	if format == "jpeg" {
		turn, progressive = look(raw)
	}
	if n := int64(c.Width) * int64(c.Height); c.Width > 1<<16 || c.Height > 1<<16 || n > int64(l.Pixels) || n*perPixel(c.ColorModel, progressive) > l.Memory {
		return p, fmt.Errorf("%w: %d × %d", ErrPixels, c.Width, c.Height)
	}
	img, _, err := image.Decode(bytes.NewReader(raw))
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrBroken, err)
	}
	opaque := true
	if o, ok := img.(interface{ Opaque() bool }); ok {
		opaque = o.Opaque()
	}
	drawn := upright(shrink(img, l.LongSide), turn)
	p.Width, p.Height = drawn.Rect.Dx(), drawn.Rect.Dy()
	var out bytes.Buffer
	if format != "jpeg" && !l.JPEG {
		if err := png.Encode(&out, drawn); err != nil {
			return p, fmt.Errorf("picture: %w", err)
		}
		if !opaque || out.Len() <= largest {
			p.Type, p.Bytes = "image/png", out.Bytes()
			return p, nil
		}
		out.Reset()
	}
	if err := jpeg.Encode(&out, drawn, &jpeg.Options{Quality: quality}); err != nil {
		return p, fmt.Errorf("picture: %w", err)
	}
	p.Type, p.Bytes = "image/jpeg", out.Bytes()
	return p, nil
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

// shrink draws the picture so that its long side is at most that many pixels.
func shrink(p image.Image, long int) *image.NRGBA {
	b := p.Bounds()
	w, h := b.Dx(), b.Dy()
	if side := max(w, h); side > long {
		w, h = max(1, w*long/side), max(1, h*long/side)
	}
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	if w == b.Dx() && h == b.Dy() {
		draw.Draw(out, out.Rect, p, b.Min, draw.Src)
	} else {
		draw.ApproxBiLinear.Scale(out, out.Rect, p, b, draw.Src, nil)
	}
	return out
}

// upright turns a picture as its EXIF orientation (1 to 8) says, since the note that says so is not kept.
func upright(p *image.NRGBA, turn int) *image.NRGBA {
	if turn < 2 || turn > 8 {
		return p
	}
	w, h := p.Rect.Dx(), p.Rect.Dy()
	out := image.NewNRGBA(image.Rect(0, 0, w, h))
	if turn >= 5 {
		out = image.NewNRGBA(image.Rect(0, 0, h, w))
	}
	for y := range h {
		for x := range w {
			tx, ty := x, y
			switch turn {
			case 2:
				tx = w - 1 - x
			case 3:
				tx, ty = w-1-x, h-1-y
			case 4:
				ty = h - 1 - y
			case 5:
				tx, ty = y, x
			case 6:
				tx, ty = h-1-y, x
			case 7:
				tx, ty = h-1-y, w-1-x
			case 8:
				tx, ty = y, w-1-x
			}
			copy(out.Pix[out.PixOffset(tx, ty):][:4], p.Pix[p.PixOffset(x, y):][:4])
		}
	}
	return out
}

// look walks the markers of a JPEG (ITU-T T.81 annex B) up to the first scan and says how it is to be turned (EXIF 2.32 tag 0x0112; 1 when it does not
// say) and whether it is progressive.
func look(raw []byte) (turn int, progressive bool) {
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

// orientation reads tag 0x0112 of the first directory of a TIFF (TIFF 6.0, section 2); 1 when it is not there.
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
