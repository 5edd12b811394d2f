package app

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"yingda/intake/stream"
)

// Backup writes log, tables and recordings as of now into one gzipped tar at path, which must not exist, while the program may
// run. The index is not in it: it is built again from the log. Whoever has the file has the vault's secrets: keep it as the data folder is kept.
func (s *Store) Backup(ctx context.Context, path string, say io.Writer) (err error) {
	out, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: name another file, so that no backup is overwritten", path)
	}
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, out.Close()); err != nil {
			_ = os.Remove(path)
		}
	}()
	dir, err := os.MkdirTemp(s.Config.Data, "backup-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	// Both as of one moment. While the tables stand still, everything that they have read, and every event of theirs that is no longer in the
	// outbox, is in the log up to its head; what comes after that the tables do not know.
	var end stream.Position
	err = s.DB.Backup(ctx, filepath.Join(dir, "yingda.db"), func(context.Context) (err error) {
		end, err = s.Log.Head(ctx)
		return err
	})
	if err != nil {
		return err
	}
	if err := s.Log.Backup(ctx, filepath.Join(dir, "log.db"), end); err != nil {
		return err
	}
	zip := gzip.NewWriter(out)
	w := tar.NewWriter(zip)
	n := 0
	for _, f := range []string{"log.db", "yingda.db"} {
		if err := addFile(w, filepath.Join(dir, f), f); err != nil {
			return err
		}
		n++
	}
	recordings := filepath.Join(s.Config.Data, "recordings")
	err = filepath.WalkDir(recordings, func(p string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(s.Config.Data, p)
		if err != nil {
			return err
		}
		n++
		return addFile(w, p, filepath.ToSlash(rel))
	})
	if err := errors.Join(err, w.Close(), zip.Close(), out.Sync()); err != nil {
		return err
	}
	_, err = fmt.Fprintf(say, "%s: %d files\n", path, n)
	return err
}

func addFile(w *tar.Writer, path, name string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	// A recording may grow while it is copied: exactly what it has now.
	if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: st.Size(), ModTime: st.ModTime(), Typeflag: tar.TypeReg}); err != nil {
		return err
	}
	_, err = io.CopyN(w, f, st.Size())
	return err
}

// Restore puts a backup into c.Data, which must be empty or not there, and checks what came out: the files open, the books agree. When it
// cannot, the folder is empty again.
func Restore(ctx context.Context, c Config, log *slog.Logger, in io.Reader, say io.Writer) error {
	entries, err := os.ReadDir(c.Data)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty: name an empty folder with --data, so that nothing is overwritten", c.Data)
	}
	n, err := unpack(c.Data, in)
	if err != nil {
		return errors.Join(err, empty(c.Data))
	}
	s, err := OpenStore(ctx, c, StoreOptions{Logger: log})
	if err != nil {
		return errors.Join(fmt.Errorf("what the backup holds cannot be opened: %w", err), empty(c.Data))
	}
	report, err := s.Audit(ctx)
	if err = errors.Join(err, s.Close()); err != nil {
		return err
	}
	if _, err = fmt.Fprintf(say, "%d files restored, %d contacts\n", n, report.Offered); err != nil {
		return err
	}
	if !report.Clean { // so it was when it was backed up; what is there is better than nothing
		return fmt.Errorf("the books differ in %d places: run `yingda audit`", len(report.Findings))
	}
	return nil
}

// unpack puts the files of a backup into a folder and says how many there were. Log and tables must be among them.
func unpack(dir string, in io.Reader) (n int, err error) {
	zip, err := gzip.NewReader(in)
	if err != nil {
		return 0, fmt.Errorf("this is no backup: %w", err)
	}
	missing := map[string]bool{"log.db": true, "yingda.db": true}
	r := tar.NewReader(zip)
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return n, fmt.Errorf("the backup is cut short or damaged: %w", err)
		}
		if err := putFile(dir, h, r); err != nil {
			return n, err
		}
		delete(missing, h.Name)
		n++
	}
	if _, err := io.Copy(io.Discard, zip); err != nil { // the checksum stands behind the last file
		return n, fmt.Errorf("the backup is cut short or damaged: %w", err)
	}
	for name := range missing {
		return n, fmt.Errorf("the backup is cut short or damaged: %s is not in it", name)
	}
	return n, nil
}

// empty takes away everything in a folder that was empty before we came.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}

func putFile(dir string, h *tar.Header, r io.Reader) error {
	name := filepath.FromSlash(h.Name)
	if h.Typeflag != tar.TypeReg || !filepath.IsLocal(name) || name != "log.db" && name != "yingda.db" && !strings.HasPrefix(name, "recordings"+string(filepath.Separator)) {
		return fmt.Errorf("the backup holds %q, which no backup of ours does", h.Name)
	}
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		return errors.Join(fmt.Errorf("the backup is cut short or damaged: %w", err), f.Close())
	}
	return errors.Join(f.Sync(), f.Close())
}
