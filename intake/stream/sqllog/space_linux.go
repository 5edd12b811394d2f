package sqllog

import (
	"errors"
	"os"
	"syscall"
)

// freeBytes is what a user who isn't root can still write to the disk of dir.
func freeBytes(dir string) (free int64, known bool) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * s.Bsize, true
}

// reserve takes n bytes of the disk for f, without writing them where the file system can do that: 64 MiB of dirty pages would hold up
// the log's fsync.
func reserve(f *os.File, n int64) error {
	err := syscall.Fallocate(int(f.Fd()), 0, 0, n)
	if errors.Is(err, syscall.EOPNOTSUPP) || errors.Is(err, syscall.ENOSYS) {
		return scribble(f, n)
	}
	return err
}
