// Package sealed keeps files of people's, a picture or a document each, in a folder, sealed with AES-256-GCM (NIST SP 800-38D) under a key of the
// month in which each was made. Destroying the month's secret forgets them all.
//
// A channel says in a Dir where its files lie, how they begin and end, and where their keys come from. It writes each once under an id, reads it
// as often as it likes, and sweeps now and then what nothing names and what a crash cut short.
//
// A file is
//
//	magic (8 bytes); made (ms since 1970, 8 bytes, big endian); nonce (12 bytes); the bytes as AES-256-GCM seals them
//
// The first 16 bytes, the id and what the writer binds it to are authenticated with it. It lies in one of 256 folders by the end of its id.
//
// It does not know what is in a file, who may read it, or which files are still needed; it does not seal recordings, which grow while they are
// written (telephony/media), or events (intake/wire).
package sealed

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/uuid"
)

// ErrFile is wrapped when an id is none, a file is not one of ours, or its key does not fit. Trying again does not help.
var ErrFile = errors.New("sealed: not a file that we can read")

const (
	magicLen = 8
	headLen  = magicLen + 8
	part     = ".part" // of a file that is being written
)

// Dir is a folder of sealed files. All fields are needed. It may be used by many at once; an id is written by one.
type Dir struct {
	Path   string                                          // the folder, which is there
	Magic  string                                          // 8 bytes with which each file begins
	Suffix string                                          // of their names, with its dot
	Key    func(id string, made time.Time) ([]byte, error) // 32 bytes that seal the file, from the secret of the month of made
}

// Place is where the file of that id lies. An id is a UUID as it is usually written and nothing else, since it becomes the name of a file.
func (d Dir) Place(id string) (string, error) {
	u, err := uuid.Parse(id)
	if err != nil || u.String() != id {
		return "", fmt.Errorf("%w: that is no id", ErrFile)
	}
	return filepath.Join(d.Path, id[len(id)-2:], id+d.Suffix), nil
}

// Write seals and writes one file; it is on disk when it returns. Only a reader who knows bound can read it again.
func (d Dir) Write(id, bound string, made time.Time, clear []byte) error {
	path, err := d.Place(id)
	if err != nil {
		return err
	}
	box, err := d.box(id, made)
	if err != nil {
		return err
	}
	out := binary.BigEndian.AppendUint64([]byte(d.Magic), uint64(made.UnixMilli()))
	with := beside(out, id, bound)
	nonce := make([]byte, box.NonceSize())
	rand.Read(nonce)
	out = box.Seal(append(out, nonce...), nonce, clear, with)
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path+part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
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
	return errors.Join(syncDir(dir), syncDir(d.Path))
}

// Read gives the bytes of a file in clear. fs.ErrNotExist when there is none (any more), ErrFile when it cannot be opened, or what Key says.
func (d Dir) Read(id, bound string) ([]byte, error) {
	path, err := d.Place(id)
	if err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	made, ours := d.head(raw)
	if !ours {
		return nil, fmt.Errorf("%w: damaged", ErrFile)
	}
	box, err := d.box(id, made)
	if err != nil {
		return nil, err
	}
	rest := raw[headLen:]
	if len(rest) < box.NonceSize() {
		return nil, fmt.Errorf("%w: damaged", ErrFile)
	}
	clear, err := box.Open(nil, rest[:box.NonceSize()], rest[box.NonceSize():], beside(raw[:headLen], id, bound))
	if err != nil {
		return nil, fmt.Errorf("%w: it does not open with its key", ErrFile)
	}
	return clear, nil
}

// Remove takes a file away; it is no error when there is none.
func (d Dir) Remove(id string) error {
	path, err := d.Place(id)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Sweep takes away the files last written before a moment which needed does not say are needed, and what a crash cut short. What has no name
// of ours is left alone.
func (d Dir) Sweep(before time.Time, needed func(id, path string) (bool, error)) error {
	return filepath.WalkDir(d.Path, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil || info.ModTime().After(before) {
			return nil
		}
		name, cut := strings.CutSuffix(e.Name(), part)
		id, ours := strings.CutSuffix(name, d.Suffix)
		if _, err := uuid.Parse(id); err != nil || !ours {
			return nil
		}
		if !cut {
			if keep, err := needed(id, path); err != nil || keep {
				return err
			}
		}
		return os.Remove(path)
	})
}

// Made says when the file there was made, to the millisecond; false when it does not begin like one of ours.
func (d Dir) Made(path string) (made time.Time, ours bool, err error) {
	f, err := os.Open(path)
	if err != nil {
		return time.Time{}, false, err
	}
	defer f.Close()
	var head [headLen]byte
	if _, err := f.ReadAt(head[:], 0); err != nil {
		return time.Time{}, false, nil
	}
	made, ours = d.head(head[:])
	return made, ours, nil
}

func (d Dir) head(raw []byte) (made time.Time, ours bool) {
	if len(raw) < headLen || string(raw[:magicLen]) != d.Magic {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(binary.BigEndian.Uint64(raw[magicLen:]))).UTC(), true
}

func (d Dir) box(id string, made time.Time) (cipher.AEAD, error) {
	key, err := d.Key(id, made)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// beside is what is authenticated with the bytes. An id has always the same length: nothing can move from it to bound.
func beside(head []byte, id, bound string) []byte {
	return append(append(bytes.Clone(head), id...), bound...)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
