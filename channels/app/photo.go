package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"

	"yingda/channels/picture"
)

// What a photo may be.
const (
	mostPhotoBytes = 12 << 20
	mostMemory     = 192 << 20 // that decoding may take
	longSide       = 2560      // of what is kept, in pixels
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

// redraw makes a picture anew as JPEG, the right way up, at most longSide long, with nothing else of the file in it.
func redraw(raw []byte) ([]byte, error) {
	p, err := picture.Redraw(raw, picture.Limits{Memory: mostMemory, LongSide: longSide, JPEG: true})
	switch {
	case errors.Is(err, picture.ErrType):
		return nil, &errPhoto{"type", "This is no picture that we can read; send JPEG, PNG, WebP or GIF."}
	case errors.Is(err, picture.ErrPixels):
		return nil, &errPhoto{"pixels", "This picture has more pixels than we can open; send a smaller one."}
	case errors.Is(err, picture.ErrBroken):
		return nil, &errPhoto{"broken", "This picture is broken or cut off; take or choose it again."}
	case err != nil:
		return nil, fmt.Errorf("app: draw a photo anew: %w", err)
	}
	return p.Bytes, nil
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
	return redraw(in)
}
