package webchat

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"yingda/channels"
	"yingda/channels/picture"
	"yingda/channels/sealed"
	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// files is where the files beside messages lie, each sealed by itself and bound to its conversation: "YCHAT", version 1.
func files(c Config) sealed.Dir {
	return sealed.Dir{Path: c.Dir, Magic: "YCHAT\x01\x00\x00", Suffix: ".ychat", Key: c.Key}
}

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
	if err := s.files.Write(f.ID, string(id), made, raw); err != nil {
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
	clear, err := s.files.Read(fid, string(id))
	if err != nil {
		return f, nil, fmt.Errorf("%w: %w", ErrFile, err)
	}
	return f, clear, nil
}

func (s *Server) drop(fid string) {
	if err := s.files.Remove(fid); err != nil {
		s.log.Error("chat: a file cannot be taken away", "id", fid, "err", err)
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
	return s.files.Sweep(before, func(id, _ string) (bool, error) {
		var n int
		err := s.c.DB.QueryRow(ctx, "SELECT COUNT(*) FROM chat_files WHERE id = ?", id).Scan(&n)
		return n > 0, err
	})
}
