package sqllog

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/intake/stream/streamtest"
	"yingda/intake/wire"
)

type keys struct{ later bool }

func (k *keys) Month(month string) ([]byte, error) {
	if k.later {
		return nil, intake.ErrLater
	}
	return bytes.Repeat([]byte(month), 5)[:32], nil
}

// small is a log with all that a test does not want to wait for made short.
func small(c Config) Config {
	c.Codec = wire.New(&keys{})
	c.Logger = slog.New(slog.NewTextHandler(io.Discard, nil))
	c.Limit = or(c.Limit, 20*time.Second)
	c.Ballast = or(c.Ballast, -1)
	c.test.pause = or(c.test.pause, time.Millisecond)
	c.test.look = or(c.test.look, time.Hour) // so that a reader that isn't woken is found
	c.test.remake = or(c.test.remake, time.Millisecond)
	return c
}

func openLog(t testing.TB, path string, c Config) *Log {
	t.Helper()
	l, err := Open(context.Background(), path, small(c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLog(t *testing.T) {
	streamtest.Run(t, func(t *testing.T) streamtest.Storage {
		path := filepath.Join(t.TempDir(), "log.db")
		return streamtest.Storage{
			Open: func(t testing.TB) stream.Log { return openLog(t, path, Config{}) },
			Plant: func(t testing.TB, raw []byte) {
				t.Helper()
				db, err := sql.Open("sqlite", path)
				must(t, err)
				defer db.Close()
				_, err = db.Exec("INSERT INTO log (id, at, event) VALUES ('rubbish', 0, ?)", raw)
				must(t, err)
			},
		}
	})
}

func ids(t testing.TB, l *Log) []string {
	t.Helper()
	head, err := l.Head(t.Context())
	must(t, err)
	r, err := l.Open("ids", stream.Position{Offset: -1})
	must(t, err)
	defer r.Close()
	var list []string
	for int64(len(list)) < head.Offset {
		records, err := r.Fetch(t.Context(), 1000)
		must(t, err)
		for _, rec := range records {
			must(t, rec.Err)
			if rec.Offset != int64(len(list)+1) {
				t.Fatalf("record %d is at offset %d: there are gaps, and Lag would be wrong", len(list)+1, rec.Offset)
			}
			list = append(list, rec.Event.ID())
		}
	}
	return list
}

func TestSubject(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{})
	for n := 12; n > 0; n-- { // from behind, so that the order is that of the sequence
		must(t, l.Append(t.Context(), streamtest.Event("b", n), streamtest.Event("b/c", n), streamtest.Event("a", n), streamtest.Event("b0", n), streamtest.Event("bé", n)))
	}
	for _, subject := range []string{"b", "bé", "b/c"} {
		list, err := l.Subject(t.Context(), intake.ContactID(subject).Subject())
		must(t, err)
		if len(list) != 12 {
			t.Errorf("%s has %d events", subject, len(list))
		}
		for i, r := range list {
			if r.Event.ID() != streamtest.Event(subject, i+1).ID() {
				t.Errorf("event %d of %s is %s", i+1, subject, r.Event.ID())
			}
		}
	}
	if list, err := l.Subject(t.Context(), "contact/nobody"); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
}

func TestHeadSizeBackup(t *testing.T) {
	path := filepath.Join(t.TempDir(), "日志 100% ?.db")
	l := openLog(t, path, Config{})
	if head, err := l.Head(t.Context()); err != nil || head.Offset != -1 {
		t.Errorf("an empty log has its head at %v, %v", head, err)
	}
	for n := range 100 {
		must(t, l.Append(t.Context(), streamtest.Event("a", n+1)))
	}
	if head, err := l.Head(t.Context()); err != nil || head.Offset != 100 {
		t.Errorf("a log of 100 has its head at %v, %v", head, err)
	}
	if size, err := l.Size(); err != nil || size < 100*500 {
		t.Errorf("size %d, %v", size, err)
	}
	copied := path + ".copy"
	must(t, l.Append(t.Context(), streamtest.Event("a", 101)))
	must(t, l.Backup(t.Context(), copied, stream.Position{Offset: 100}))
	if err := l.Backup(t.Context(), copied, stream.Position{Offset: 100}); err == nil {
		t.Error("a copy overwrote another")
	}
	other := openLog(t, copied, Config{})
	if list := ids(t, other); len(list) != 100 {
		t.Errorf("the copy has %d events", len(list))
	}
	must(t, other.Append(t.Context(), streamtest.Event("a", 102)))
	if head, err := other.Head(t.Context()); err != nil || head.Offset != 101 {
		t.Errorf("the copy's next row is %v, %v: a gap", head, err)
	}
	if have, err := l.Has(t.Context(), streamtest.Event("a", 101).ID(), streamtest.Event("a", 102).ID()); err != nil || len(have) != 1 || !have[streamtest.Event("a", 101).ID()] {
		t.Errorf("the log has %v, %v", have, err)
	}
	b, err := openLog(t, copied, Config{}).Open("books", stream.Position{Offset: 102})
	if !errors.Is(err, ErrBeyond) {
		t.Errorf("a reader whose effects are younger than the log: %v, %v", b, err)
	}
}

func TestTwoPrograms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	c := Config{test: hooks{look: 10 * time.Millisecond}}
	a, b := openLog(t, path, c), openLog(t, path, c)
	r, err := a.Open("g")
	must(t, err)
	for n := range 20 {
		must(t, []*Log{a, b}[n%2].Append(t.Context(), streamtest.Event("a", n+1), streamtest.Event("a", n/2+1)))
	}
	must(t, b.Append(t.Context(), streamtest.Event("a", 21)))
	for n := 0; n < 21; { // what b wrote last comes though nobody tells a
		records, err := r.Fetch(t.Context(), 100)
		must(t, err)
		n += len(records)
	}
	if list := ids(t, a); len(list) != 21 {
		t.Errorf("two programs wrote %v", list)
	}
}

func TestNewerFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	must(t, openLog(t, path, Config{}).Close())
	db, err := sql.Open("sqlite", path)
	must(t, err)
	_, err = db.Exec("PRAGMA user_version = 2")
	must(t, err)
	must(t, db.Close())
	if _, err := Open(t.Context(), path, small(Config{})); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("a log of a newer version was opened: %v", err)
	}
}

func TestWhatCannotBeHadNow(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{})
	must(t, l.Append(t.Context(), streamtest.Event("a", 1), streamtest.Event("a", 2)))
	r, err := l.Open("g")
	must(t, err)
	k := &keys{later: true}
	codec := l.config.Codec
	l.config.Codec = wire.New(k)
	if list, err := r.Fetch(t.Context(), 10); !errors.Is(err, intake.ErrLater) {
		t.Errorf("without secrets for the moment Fetch gave %v, %v", list, err)
	}
	k.later = false
	if list, err := r.Fetch(t.Context(), 10); err != nil || len(list) != 2 || list[0].Event.Personal.Text.IsZero() {
		t.Errorf("then it gave %v, %v", list, err)
	}
	l.config.Codec = codec
}

func TestWrongPositions(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{})
	must(t, l.Append(t.Context(), streamtest.Event("a", 1)))
	if _, err := l.Open("g", stream.Position{Partition: 1}); err == nil {
		t.Error("a partition that there is not was opened")
	}
	if _, err := l.Open(""); err == nil {
		t.Error("a group without a name was opened")
	}
	r, err := l.Open("g")
	must(t, err)
	if err := r.Commit(t.Context(), stream.Position{Partition: 1, Offset: 1}); err == nil {
		t.Error("a partition that there is not was committed")
	}
	must(t, r.Commit(t.Context()))
	big := streamtest.Event("a", 2)
	big.Extra.Data = map[string]json.RawMessage{"x": json.RawMessage(`"` + strings.Repeat("x", maxEvent) + `"`)}
	if err := l.Append(t.Context(), big); !errors.Is(err, intake.ErrInvalid) {
		t.Errorf("an event of %d bytes: %v", maxEvent, err)
	}
	if list := ids(t, l); !slices.Equal(list, []string{streamtest.Event("a", 1).ID()}) {
		t.Errorf("the log has %v", list)
	}
}

// TestSettings reads back what durability hangs on: a kill alone would not show that it is missing.
func TestSettings(t *testing.T) {
	l := openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{})
	must(t, l.Append(t.Context(), streamtest.Event("a", 1)))
	p := &pen{log: l}
	must(t, p.open())
	defer p.close()
	for pragma, want := range map[string]string{"synchronous": "2", "journal_mode": "wal"} {
		var have string
		must(t, p.conn.QueryRowContext(t.Context(), "PRAGMA "+pragma).Scan(&have))
		if have != want {
			t.Errorf("%s is %s, want %s", pragma, have, want)
		}
	}
}

// TestShared: what gathers while one commit runs goes with the next, all of it.
func TestShared(t *testing.T) {
	const appenders = 200
	hold := make(chan struct{})
	var commits atomic.Int64
	l := openLog(t, filepath.Join(t.TempDir(), "log.db"), Config{test: hooks{beforeCommit: func() {
		commits.Add(1)
		<-hold
	}}})
	var wg sync.WaitGroup
	for n := range appenders {
		wg.Go(func() {
			if err := l.Append(t.Context(), streamtest.Event(fmt.Sprint(n), 1)); err != nil {
				t.Error(err)
			}
		})
	}
	waitFor(t, "all to be in the queue", func() bool { return l.State().Waiting == appenders })
	close(hold)
	wg.Wait()
	if n := commits.Load(); n > 2 {
		t.Errorf("%d appends took %d commits, want 2", appenders, n)
	}
}
