package storetest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	_ "embed"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

// previous is a data folder that the program of 2daf0e5 left: the last one that knew neither leases, machines, dead letters in tables nor names of files. It is
// `yingda demo` with 15 hours of invented history instead of 30 days, robots that phoned, wrote and submitted for a minute, and then kill -9; without recordings and ballast.
// People and numbers are the demo's, passwords too ("yingda-demo-1").
//
//go:embed testdata/previous.tar.gz
var previous []byte

// Previous gives a data folder of the schema before, for what must hold when the program of today opens it. The tables are in yingda.db, the log in log.db.
func Previous(t testing.TB) (folder string) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(previous))
	if err != nil {
		t.Fatal(err)
	}
	folder = t.TempDir()
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return folder
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(folder, h.Name)
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o700)
		} else {
			var raw []byte
			if raw, err = io.ReadAll(r); err == nil {
				err = os.WriteFile(path, raw, 0o600)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
