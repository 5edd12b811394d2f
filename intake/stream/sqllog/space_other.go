//go:build !linux

package sqllog

import "os"

func freeBytes(string) (free int64, known bool) { return 0, false }

func reserve(f *os.File, n int64) error { return scribble(f, n) }
