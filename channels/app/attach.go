package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"yingda/channels/sealed"
	"yingda/intake"
)

// attachments is where they lie, each a sealed file of its own: "YATT", version 1.
func attachments(c Config) sealed.Dir {
	return sealed.Dir{Path: c.Dir, Magic: "YATT\x01\x00\x00\x00", Suffix: ".yatt", Key: c.Seal}
}

// ErrAttachment is wrapped when a file is no attachment, or its key does not fit.
var ErrAttachment = errors.New("app: not an attachment that we can read")

// attach draws the photos anew and keeps them, durably. wrong says which cannot be taken; then none is kept.
func (s *Server) attach(ctx context.Context, at time.Time, photos held) (list []intake.Attachment, wrong []Field, err error) {
	for i, p := range photos {
		raw, err := s.redrawHeld(ctx, p)
		var bad *errPhoto
		if errors.As(err, &bad) {
			wrong = append(wrong, Field{fmt.Sprintf("photos/%d", i), bad.code, bad.detail})
			continue
		}
		if err == nil && len(wrong) == 0 {
			a := intake.Attachment{ID: s.config.NewID(), Type: "image/jpeg", Size: int64(len(raw)), SHA256: sum(raw)}
			if err = s.files.Write(a.ID, "", at, raw); err == nil {
				list = append(list, a)
			}
		}
		if err != nil {
			s.drop(list)
			return nil, nil, s.later("photo", err)
		}
	}
	if len(wrong) > 0 {
		s.drop(list)
		list = nil
	}
	return list, wrong, nil
}

func sum(raw []byte) string {
	h := sha256.Sum256(raw)
	return hex.EncodeToString(h[:])
}

// Attachment gives the picture of that id, as JPEG. fs.ErrNotExist when there is none (any more), ErrAttachment when it cannot be opened.
func (s *Server) Attachment(id string) ([]byte, error) {
	clear, err := s.files.Read(id, "")
	if errors.Is(err, sealed.ErrFile) {
		return nil, fmt.Errorf("%w: %q: %w", ErrAttachment, cut(id, 60), err)
	}
	return clear, err
}

// drop takes files away.
func (s *Server) drop(list []intake.Attachment) {
	for _, a := range list {
		if err := s.files.Remove(a.ID); err != nil {
			s.slog.Error("submissions: a photo cannot be taken away", "id", a.ID, "err", err)
		}
	}
}

// orphans takes away files older than before which no submission names: of one that a crash cut short.
func (s *Server) orphans(ctx context.Context, before time.Time) error {
	return s.files.Sweep(before, func(id, path string) (bool, error) { return s.named(ctx, path, id) })
}

// named says whether a submission names the file. Its head says when that came, to the millisecond. What is no file of ours is left alone.
func (s *Server) named(ctx context.Context, path, id string) (bool, error) {
	came, ours, err := s.files.Made(path)
	if err != nil || !ours {
		return !ours, err
	}
	var n int
	err = s.config.DB.QueryRow(ctx, "SELECT COUNT(*) FROM app_submissions WHERE at = ? AND photos > 0 AND data LIKE ?", came.UnixMilli(), "%\""+id+"\"%").Scan(&n)
	return n > 0, err
}
