package sqllog

import (
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// ballast is a file that takes room so that it can be given up.
type ballast struct {
	path string
	size int64 // below 1: none is wanted
}

func (b ballast) there() bool {
	info, err := os.Stat(b.path)
	return err == nil && info.Size() >= b.size
}

// give gives the room back and says whether there was any.
func (b ballast) give() bool {
	info, err := os.Stat(b.path)
	return err == nil && info.Size() > 0 && os.Remove(b.path) == nil
}

// errNoRoom: with the ballast made the disk would be full at once.
var errNoRoom = errors.New("no room for the ballast")

// make makes the file if twice its size is free. Where the free room cannot be asked for, it is made if it can be.
func (b ballast) make() error {
	if free, known := freeBytes(filepath.Dir(b.path)); known && free < 2*b.size {
		return errNoRoom
	}
	f, err := os.OpenFile(b.path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err := errors.Join(reserve(f, b.size), f.Close()); err != nil {
		return errors.Join(err, os.Remove(b.path))
	}
	return nil
}

// keep is the keeper: it sees to it that there is a ballast, except while the log does not write.
func (l *Log) keep() {
	defer close(l.keeper)
	if l.ballast.size > 0 {
		for {
			l.refill()
			select {
			case <-l.done:
				return
			case <-time.After(l.config.test.remake):
			}
		}
	}
	<-l.done
}

// refill makes the ballast when it isn't there, and notes whether it is. The writer may give it up at any moment, so Low is set by what
// is found here each time, not by what was done.
func (l *Log) refill() {
	if l.State().Degraded {
		return
	}
	var err error
	if !l.ballast.there() {
		err = l.ballast.make()
	}
	if err != nil && !errors.Is(err, errNoRoom) {
		l.slog.Warn("the ballast of the log cannot be made", "err", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if low := err != nil; l.state.Low != low {
		l.state.Low = low
		l.report()
	}
}

// scribble writes n bytes that no file system can squeeze to nothing.
func scribble(f *os.File, n int64) error {
	block := make([]byte, 1<<20)
	if _, err := rand.Read(block); err != nil {
		return err
	}
	for n > 0 {
		wrote, err := f.Write(block[:min(n, int64(len(block)))])
		if err != nil {
			return err
		}
		n -= int64(wrote)
	}
	return nil
}
