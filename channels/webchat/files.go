package webchat

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
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"

	"yingda/channels"
	"yingda/channels/picture"
	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// A file beside a message lies sealed in a file of its own (*.ychat), under a key of the month in which it came:
//
//	"YCHAT", version 1, 2 × 0; made (ms since 1970, 8 bytes, big endian); nonce (12 bytes); the bytes as AES-256-GCM seals them
//
// The first 16 bytes, the id and the contact are authenticated with it. It lies in one of 256 folders by the end of its id.

const (
	fileHead   = 16
	fileSuffix = ".ychat"
)

var fileMagic = []byte("YCHAT\x01\x00\x00")

// loose is how long a file may wait for the message that names it.
const loose = 24 * time.Hour

// Types of files that are taken: pictures, which are drawn anew, and PDF, which is kept as it is and only ever downloaded.
func types() []string { return append(picture.Types(), "application/pdf") }

// upload judges, keeps and notes one file of a conversation.
func (s *Server) upload(ctx context.Context, id intake.ContactID, from, name string, r io.Reader) (channels.File, error) {
	select {
	case s.uploads <- struct{}{}:
		defer func() { <-s.uploads }()
	case <-ctx.Done():
		return channels.File{}, fmt.Errorf("%w: %w", ErrLater, ctx.Err())
	}
	raw, err := io.ReadAll(io.LimitReader(r, s.limits.FileBytes+1))
	if err != nil {
		return channels.File{}, fmt.Errorf("%w: it did not come whole: %w", ErrFile, err)
	}
	if int64(len(raw)) > s.limits.FileBytes {
		return channels.File{}, fmt.Errorf("%w: more than %d bytes", ErrFile, s.limits.FileBytes)
	}
	f := channels.File{ID: s.c.NewID()}
	kind := http.DetectContentType(raw)
	if kind == "application/pdf" {
		f.Type = kind
	} else {
		p, err := picture.Redraw(raw, picture.Limits{Pixels: s.limits.Pixels})
		if err != nil {
			return channels.File{}, fmt.Errorf("%w: %w", ErrFile, err)
		}
		f.Type, f.Width, f.Height, raw = p.Type, p.Width, p.Height, p.Bytes
	}
	f.Name = pii.NewText(fileName(name, f.Type))
	sum := sha256.Sum256(raw)
	f.Size, f.SHA256 = int64(len(raw)), hex.EncodeToString(sum[:])
	made := s.now()
	if err := s.keep(f.ID, id, made, raw); err != nil {
		return channels.File{}, fmt.Errorf("%w: %w", ErrLater, err)
	}
	err = s.c.DB.Tx(ctx, func(tx *store.Tx) error {
		var n, bytes int64
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*), COALESCE(SUM(size), 0) FROM chat_files WHERE contact = ?", string(id)).Scan(&n, &bytes); err != nil {
			return err
		}
		if bytes+f.Size > s.limits.ChatBytes || n >= 200 {
			return ErrTooMany
		}
		_, err := tx.ExecContext(ctx, "INSERT INTO chat_files (id, contact, made, sender, type, size, sha256, width, height, name, named, gone) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0)",
			f.ID, string(id), store.Millis(made), from, f.Type, f.Size, f.SHA256, f.Width, f.Height, f.Name.Reveal())
		return err
	})
	if err != nil {
		s.drop(f.ID)
		if errors.Is(err, ErrTooMany) {
			return channels.File{}, err
		}
		return channels.File{}, fmt.Errorf("%w: %w", ErrLater, err)
	}
	return f, nil
}

const fileColumns = "SELECT id, type, size, sha256, width, height, name FROM chat_files WHERE "

func scanFile(row interface{ Scan(...any) error }) (channels.File, error) {
	var f channels.File
	var name string
	err := row.Scan(&f.ID, &f.Type, &f.Size, &f.SHA256, &f.Width, &f.Height, &name)
	f.Name = pii.NewText(name)
	return f, err
}

var endings = map[string]string{"image/jpeg": ".jpg", "image/png": ".png", "image/gif": ".gif", "image/webp": ".webp", "application/pdf": ".pdf"}

// fileName makes of the name that a browser gives one that may be shown and saved: without folders, of one line and at most 80 characters, with the ending of
// what the file is, whatever it was called.
func fileName(name, kind string) string {
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	if dot := strings.LastIndexByte(name, '.'); dot > 0 && len(name)-dot <= 6 {
		name = name[:dot]
	}
	name = strings.Trim(cutText(strings.Map(func(r rune) rune {
		if strings.ContainsRune(`"<>:|?*`, r) {
			return '_' // no machine saves these
		}
		return r
	}, name), 80), " .")
	if name == "" {
		return ""
	}
	return name + endings[kind]
}

// shownFile is a file as browsers see it.
func shownFile(f channels.File) File {
	return File{f.ID, f.Type, f.Size, f.Width, f.Height, f.Name.Reveal()}
}

// named gives the files that a message names; each must be one of this conversation, put there by its writer.
func (s *Server) named(ctx context.Context, id intake.ContactID, from string, ids []string) ([]channels.File, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	if len(ids) > s.limits.Files {
		return nil, fmt.Errorf("%w: more than %d beside one message", ErrFile, s.limits.Files)
	}
	var list []channels.File
	for _, fid := range ids {
		f, err := scanFile(s.c.DB.QueryRow(ctx, fileColumns+"id = ? AND contact = ? AND sender = ? AND gone = 0", fid, string(id), from))
		if err != nil {
			return nil, fmt.Errorf("%w: no file of this conversation", ErrFile)
		}
		list = append(list, f)
	}
	return list, nil
}

// read gives a file of a conversation in clear.
func (s *Server) read(ctx context.Context, id intake.ContactID, fid string) (channels.File, []byte, error) {
	f, err := scanFile(s.c.DB.QueryRow(ctx, fileColumns+"id = ? AND contact = ? AND gone = 0", fid, string(id)))
	if err != nil {
		return f, nil, fmt.Errorf("%w: there is none", ErrFile)
	}
	path, err := s.place(fid)
	if err != nil {
		return f, nil, err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return f, nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	if len(raw) < fileHead+12 || !bytes.HasPrefix(raw, fileMagic) {
		return f, nil, fmt.Errorf("%w: damaged", ErrFile)
	}
	box, err := s.box(fid, time.UnixMilli(int64(binary.BigEndian.Uint64(raw[8:]))).UTC())
	if err != nil {
		return f, nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	clear, err := box.Open(nil, raw[fileHead:fileHead+12], raw[fileHead+12:], bound(raw[:fileHead], fid, id))
	if err != nil {
		return f, nil, fmt.Errorf("%w: it does not open with its key", ErrFile)
	}
	return f, clear, nil
}

func bound(head []byte, fid string, id intake.ContactID) []byte {
	return append(append(bytes.Clone(head), fid...), id...)
}

// keep seals and writes one file; it is on disk when it returns.
func (s *Server) keep(fid string, id intake.ContactID, made time.Time, raw []byte) error {
	path, err := s.place(fid)
	if err != nil {
		return err
	}
	box, err := s.box(fid, made)
	if err != nil {
		return err
	}
	out := binary.BigEndian.AppendUint64(bytes.Clone(fileMagic), uint64(made.UnixMilli()))
	ad := bound(out, fid, id)
	nonce := make([]byte, box.NonceSize())
	if _, err := rand.Read(nonce); err != nil {
		return err
	}
	out = box.Seal(append(out, nonce...), nonce, raw, ad)
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
	return errors.Join(syncDir(dir), syncDir(s.c.Dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *Server) box(fid string, made time.Time) (cipher.AEAD, error) {
	key, err := s.c.Key(fid, made)
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
func (s *Server) place(fid string) (string, error) {
	u, err := uuid.Parse(fid)
	if err != nil || u.String() != fid {
		return "", fmt.Errorf("%w: that is no id", ErrFile)
	}
	return filepath.Join(s.c.Dir, fid[len(fid)-2:], fid+fileSuffix), nil
}

func (s *Server) drop(fid string) {
	if path, err := s.place(fid); err == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.log.Error("chat: a file cannot be taken away", "id", fid, "err", err)
		}
	}
}

// Sweep takes away the files that were erased and those that no message has named within a day, and what a crash cut short. The keeper calls it every hour.
func (s *Server) Sweep(ctx context.Context) error {
	before := s.now().Add(-loose)
	rows, err := s.c.DB.Query(ctx, "SELECT id FROM chat_files WHERE gone = 1 OR named = 0 AND made < ?", store.Millis(before))
	if err != nil {
		return err
	}
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return errors.Join(err, rows.Close())
		}
		ids = append(ids, id)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, id := range ids {
		s.drop(id)
		if err := s.c.DB.Tx(ctx, func(tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, "DELETE FROM chat_files WHERE id = ?", id)
			return err
		}); err != nil {
			return err
		}
	}
	return filepath.WalkDir(s.c.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.ModTime().After(before) {
			return nil
		}
		id, whole := cutSuffix(d.Name())
		if id == "" {
			return nil // no file of ours
		}
		if whole {
			var n int
			if err := s.c.DB.QueryRow(ctx, "SELECT COUNT(*) FROM chat_files WHERE id = ?", id).Scan(&n); err != nil || n > 0 {
				return err
			}
		}
		return os.Remove(path)
	})
}

// cutSuffix gives the id in a file's name, "" when it is none of ours; whole: it was written to its end.
func cutSuffix(name string) (id string, whole bool) {
	for _, suffix := range []string{fileSuffix, fileSuffix + ".part"} {
		if n := len(name) - len(suffix); n > 0 && name[n:] == suffix {
			if _, err := uuid.Parse(name[:n]); err == nil {
				return name[:n], suffix == fileSuffix
			}
		}
	}
	return "", false
}
