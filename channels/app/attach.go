package app

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"yingda/intake"
)

// An attachment is a file of its own (*.yatt), sealed like a recording with a key of the month in which it came:
//
//	"YATT", version 1, 3 × 0; came (ms since 1970, 8 bytes, big endian); nonce (12 bytes); the picture as AES-256-GCM seals it
//
// The first 16 bytes and the id are authenticated with it. It lies in one of 256 folders by the end of its id.

const (
	attachHead   = 16
	attachSuffix = ".yatt"
)

var attachMagic = []byte("YATT\x01\x00\x00\x00")

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
			if err = s.keep(a.ID, at, raw); err == nil {
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

// keep seals and writes one file; it is on disk when it returns.
func (s *Server) keep(id string, at time.Time, raw []byte) error {
	path, err := s.place(id)
	if err != nil {
		return err
	}
	head := binary.BigEndian.AppendUint64(bytes.Clone(attachMagic), uint64(at.UnixMilli()))
	box, err := s.box(id, at)
	if err != nil {
		return err
	}
	nonce := make([]byte, box.NonceSize())
	rand.Read(nonce)
	out := append(bytes.Clone(head), nonce...)
	out = box.Seal(out, nonce, raw, append(head, id...))
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(out)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return errors.Join(syncDir(dir), syncDir(s.config.Dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *Server) box(id string, at time.Time) (cipher.AEAD, error) {
	key, err := s.config.Seal(id, at)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// place is where the file of that id lies. An id is a UUID and nothing else, since it becomes the name of a file.
func (s *Server) place(id string) (string, error) {
	u, err := uuid.Parse(id)
	if err != nil || u.String() != id {
		return "", fmt.Errorf("%w: %q is no id", ErrAttachment, cut(id, 60))
	}
	return filepath.Join(s.config.Dir, id[len(id)-2:], id+attachSuffix), nil
}

// Attachment gives the picture of that id, as JPEG. fs.ErrNotExist when there is none (any more), ErrAttachment when it cannot be opened.
func (s *Server) Attachment(id string) ([]byte, error) {
	path, err := s.place(id)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	if len(raw) < attachHead || !bytes.HasPrefix(raw, attachMagic) {
		return nil, fmt.Errorf("%w: %s", ErrAttachment, id)
	}
	box, err := s.box(id, time.UnixMilli(int64(binary.BigEndian.Uint64(raw[8:]))).UTC())
	if err != nil {
		return nil, err
	}
	rest := raw[attachHead:]
	if len(rest) < box.NonceSize() {
		return nil, fmt.Errorf("%w: %s", ErrAttachment, id)
	}
	clear, err := box.Open(nil, rest[:box.NonceSize()], rest[box.NonceSize():], append(bytes.Clone(raw[:attachHead]), id...))
	if err != nil {
		return nil, fmt.Errorf("%w: %s", ErrAttachment, id)
	}
	return clear, nil
}

// drop takes files away.
func (s *Server) drop(list []intake.Attachment) {
	for _, a := range list {
		if path, err := s.place(a.ID); err == nil {
			if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
				s.slog.Error("submissions: a photo cannot be taken away", "id", a.ID, "err", err)
			}
		}
	}
}

// orphans takes away files older than before which no submission names: of one that a crash cut short.
func (s *Server) orphans(ctx context.Context, before time.Time) error {
	return filepath.WalkDir(s.config.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.ModTime().After(before) {
			return nil
		}
		id, whole := strings.CutSuffix(d.Name(), attachSuffix)
		if !whole && !strings.HasSuffix(d.Name(), attachSuffix+".part") {
			return nil
		}
		if whole {
			named, err := s.named(ctx, path, id)
			if err != nil || named {
				return err
			}
		}
		return os.Remove(path)
	})
}

// named says whether a submission names the file. Its head says when that came, to the millisecond. What is no file of ours is left alone.
func (s *Server) named(ctx context.Context, path, id string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer f.Close()
	var head [attachHead]byte
	if _, err := f.ReadAt(head[:], 0); err != nil || !bytes.HasPrefix(head[:], attachMagic) {
		return true, nil
	}
	var n int
	err = s.config.DB.QueryRow(ctx, "SELECT COUNT(*) FROM app_submissions WHERE at = ? AND photos > 0 AND data LIKE ?", int64(binary.BigEndian.Uint64(head[8:])), "%\""+id+"\"%").Scan(&n)
	return n > 0, err
}
