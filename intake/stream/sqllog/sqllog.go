// Package sqllog keeps the log of events in one SQLite file of its own: the outbox of every node, and on one machine the stream itself.
//
// Open it, Append to it, read it as package stream says. It has one partition, 0, and the offset of a record is its row:
// 1, 2, 3 … without gaps, so that what is behind can be counted by subtraction. Append encodes in the caller's goroutine and
// puts the bytes into a queue; the writer takes all that has gathered and writes it in one transaction, so that many
// appenders share one fsync (WAL, synchronous=FULL). Readers have connections of their own and never hold up the writer.
//
// When the disk does not write (full, broken, or slower than Config.Limit) Append returns stream.ErrUnwritten at once; the events
// stay in the queue, in order, and the writer tries for ever, on a fresh connection. Config.Degraded hears of it, and again when
// the queue is empty. A file named ballast beside the log is given up when the disk is full, which buys time: State.Low.
//
// Goroutines: "writer" owns the writing connection; "keeper" makes the ballast, anew when there is room; "herald" calls
// Config.Degraded, one state after the other, so that it may call Append. All are owned by the Log and end with Close.
//
// What it does not do: it deletes nothing unless it is told to (Trim, for an outbox whose records are elsewhere), and it sends nothing anywhere. Two programs may open one file, and a reader finds
// what the other wrote within a second; but only one should be the hotline.
package sqllog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"yingda/intake"
	"yingda/intake/stream"
)

// Codec turns events into bytes and back (wire.Codec). An error of Decode that wraps intake.ErrLater makes Fetch fail, to be
// tried again; any other becomes the Err of the record.
type Codec interface {
	Encode(intake.Event) ([]byte, error)
	Decode([]byte) (intake.Event, error)
}

// Config of a log. Only Codec must be set.
type Config struct {
	Codec       Codec
	Limit       time.Duration    // how long Append waits for the disk; 0: 500 ms
	Memory      int              // events that may wait for the disk; 0: 100,000
	MemoryBytes int64            // and their bytes; 0: 256 MiB
	Ballast     int64            // bytes of the ballast file; 0: 64 MiB; negative: none
	Now         func() time.Time // for State.Since; nil: time.Now
	Logger      *slog.Logger     // nil: slog.Default
	Degraded    func(State)      // hears each change of State; nil: nobody does

	test hooks
}

// hooks let the tests of this package make trouble.
type hooks struct {
	pragma       func() string // said on each new writing connection
	beforeCommit func()
	pause        time.Duration // the first pause before another try; 0: 50 ms
	remake       time.Duration // between looks whether the ballast can be made; 0: 30 s
	look         time.Duration // between a reader's looks for what another program has appended; 0: 1 s
}

// What a State says is wrong.
const (
	DiskFull   = "disk_full"
	DiskError  = "disk_error"
	DiskSlow   = "disk_slow"
	DiskLocked = "locked" // another program holds the file
)

// State says how the log does.
type State struct {
	Degraded bool      // events wait in memory
	Low      bool      // the ballast is given up, or there was no room for it: the disk is about to be full
	What     string    // what is wrong, one of the words above; after recovery, what was
	Err      error     // what the disk said last; nil for DiskSlow
	Since    time.Time // when Degraded began; after recovery, when it had begun
	Waiting  int       // events in memory now
	Waited   int       // events whose Append returned stream.ErrUnwritten since then
}

// ErrBeyond is returned by Open for a position that the log has not reached: the reader's effects are younger than the log, as
// after an older copy of the log was put back.
var ErrBeyond = errors.New("sqllog: position is beyond the end of the log")

// maxEvent is the size above which an event is refused: recordings and attachments have stores of their own.
const maxEvent = 4 << 20

// Log is a stream.Log in SQLite.
type Log struct {
	path    string
	config  Config
	slog    *slog.Logger
	read    *sql.DB
	ballast ballast

	bell   chan struct{} // rings the writer
	quit   chan struct{} // closed by Close
	done   chan struct{} // the writer has ended
	lost   error         // what the writer could not write in the end; read after done
	keeper chan struct{} // the keeper has ended
	news   chan struct{} // rings the herald
	told   chan struct{} // the herald has ended

	mu      sync.Mutex
	queue   []*request // oldest first; what the writer is writing stays in it until it is written
	waiting int        // events in queue
	bytes   int64
	closed  bool
	state   State
	reports []State       // for the herald
	changed chan struct{} // closed and made anew when there are new records
}

type row struct {
	id  string
	at  int64
	raw []byte
}

// request is what one Append, or one Commit, wants written.
type request struct {
	rows  []row
	bytes int64
	group string // of a Commit
	pos   int64
	done  chan error // takes one answer
	gone  bool       // it has been answered with ErrUnwritten; under Log.mu
}

const schema = `
CREATE TABLE IF NOT EXISTS log (
    row   INTEGER PRIMARY KEY AUTOINCREMENT,
    id    TEXT    NOT NULL UNIQUE,
    at    INTEGER NOT NULL,
    event BLOB    NOT NULL
);
CREATE TABLE IF NOT EXISTS groups (
    name TEXT    NOT NULL PRIMARY KEY,
    pos  INTEGER NOT NULL
);
PRAGMA user_version = 1;`

// Open opens the log at path, made when there is none.
func Open(ctx context.Context, path string, config Config) (*Log, error) {
	if config.Codec == nil {
		return nil, errors.New("sqllog: no codec")
	}
	config.Limit = or(config.Limit, 500*time.Millisecond)
	config.Memory = or(config.Memory, 100_000)
	config.MemoryBytes = or(config.MemoryBytes, 256<<20)
	config.Ballast = or(config.Ballast, 64<<20)
	config.test.pause = or(config.test.pause, 50*time.Millisecond)
	config.test.remake = or(config.test.remake, 30*time.Second)
	config.test.look = or(config.test.look, time.Second)
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	l := &Log{path: path, config: config, slog: config.Logger, ballast: ballast{filepath.Join(filepath.Dir(path), "ballast"), config.Ballast},
		bell: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), keeper: make(chan struct{}),
		news: make(chan struct{}, 1), told: make(chan struct{}), changed: make(chan struct{})}
	err := prepare(ctx, path)
	if l.full(err) && l.ballast.give() {
		l.lower()
		err = prepare(ctx, path)
	}
	if err != nil {
		return nil, fmt.Errorf("log %s: %w", path, err)
	}
	if l.read, err = sql.Open("sqlite", dsn(path)); err != nil {
		return nil, fmt.Errorf("log %s: %w", path, err)
	}
	l.read.SetMaxOpenConns(6)
	l.read.SetMaxIdleConns(6)
	go l.writer()
	go l.keep()
	go l.herald()
	return l, nil
}

// dsn of a connection. foreign_keys and the rest stay off; a reader needs no journal_mode, since the file says it.
func dsn(path string, pragmas ...string) string {
	q := url.Values{"_pragma": append([]string{"busy_timeout(2000)", "cache_size(-4000)"}, pragmas...)}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

func prepare(ctx context.Context, path string) error {
	db, err := sql.Open("sqlite", dsn(path, "journal_mode(WAL)", "synchronous(FULL)"))
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch version {
	case 0:
		_, err := db.ExecContext(ctx, schema)
		return err
	case 1:
		return nil
	}
	return fmt.Errorf("it has version %d, made by a newer yingda; this one knows 1", version)
}

func or[T int | int64 | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// Append is stream.Log's. Events that it refuses (intake.ErrInvalid, or one that cannot be encoded) put nothing into the log. When ctx ends
// before the disk has answered, the events go on waiting for it and the error wraps stream.ErrUnwritten besides.
func (l *Log) Append(ctx context.Context, events ...intake.Event) error {
	if len(events) == 0 {
		return nil
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &request{rows: make([]row, len(events)), done: make(chan error, 1)}
	for i, e := range events {
		if err := e.Check(); err != nil {
			return err
		}
		raw, err := l.config.Codec.Encode(e)
		if err != nil {
			return fmt.Errorf("encode %s: %w", e.ID(), err)
		}
		if len(raw) > maxEvent {
			return fmt.Errorf("%w: %s has %d bytes, at most %d can be written", intake.ErrInvalid, e.ID(), len(raw), maxEvent)
		}
		r.rows[i] = row{e.ID(), e.Time.UnixMilli(), raw}
		r.bytes += int64(len(raw)) + 128 // and what the row itself costs
	}
	if now, err := l.enter(r); !now {
		return err
	}
	limit := time.NewTimer(l.config.Limit)
	defer limit.Stop()
	select {
	case err := <-r.done:
		return err
	case <-limit.C:
		return l.leave(r, DiskSlow, nil)
	case <-ctx.Done():
		return l.leave(r, "", ctx.Err())
	}
}

// enter puts r into the queue. wait is true when the caller is to wait for the answer; else err is the answer.
func (l *Log) enter(r *request) (wait bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false, stream.ErrClosed
	}
	if l.waiting > 0 && (l.waiting+len(r.rows) > l.config.Memory || l.bytes+r.bytes > l.config.MemoryBytes) {
		return false, stream.ErrFull
	}
	commit := r.group != ""
	if l.state.Degraded && commit {
		return false, stream.ErrUnwritten // it isn't kept: the records will come again
	}
	l.queue = append(l.queue, r)
	l.waiting += len(r.rows)
	l.bytes += r.bytes
	ring(l.bell)
	if l.state.Degraded { // a resident shall not wait for what is known not to work
		r.gone = true
		l.state.Waited += len(r.rows)
		return false, stream.ErrUnwritten
	}
	return true, nil
}

// leave is for a caller who waits no longer: because the disk is slow, or for why.
func (l *Log) leave(r *request, what string, why error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case err := <-r.done: // the answer has come in this moment
		return err
	default:
	}
	r.gone = true
	l.state.Waited += len(r.rows)
	if what != "" {
		l.degrade(what, nil)
		return stream.ErrUnwritten
	}
	return fmt.Errorf("%w: %w", stream.ErrUnwritten, why)
}

// degrade notes what is wrong; under mu.
func (l *Log) degrade(what string, err error) {
	if l.state.Degraded && (l.state.What == what || what == DiskSlow) {
		return
	}
	if !l.state.Degraded {
		l.state.Since = l.config.Now()
	}
	l.state.Degraded, l.state.What, l.state.Err = true, what, err
	l.report()
}

// report hands the state to the herald; under mu.
func (l *Log) report() {
	s := l.state
	s.Waiting = l.waiting
	l.reports = append(l.reports, s)
	ring(l.news)
}

func (l *Log) herald() {
	defer close(l.told)
	for {
		l.mu.Lock()
		list := l.reports
		l.reports = nil
		l.mu.Unlock()
		for _, s := range list {
			switch {
			case s.Degraded:
				l.slog.Error("the log does not write; events wait in memory", "what", s.What, "err", s.Err, "waiting", s.Waiting)
			case s.Waited > 0:
				l.slog.Warn("the log writes again", "what", s.What, "since", s.Since, "waited", s.Waited, "low", s.Low)
			case s.Low:
				l.slog.Warn("the disk of the log is almost full; the ballast is given up, or there is no room for it")
			}
			if l.config.Degraded != nil {
				l.config.Degraded(s)
			}
		}
		if len(list) > 0 {
			continue
		}
		select {
		case <-l.news:
		case <-l.keeper: // the last to report has ended
			if l.quiet() {
				return
			}
		}
	}
}

func (l *Log) quiet() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.reports) == 0
}

// State says how the log does now.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.state
	s.Waiting = l.waiting
	return s
}

// Close writes what waits, if the disk takes it, and ends the log. Its error says how many events were lost, if any were.
func (l *Log) Close() error {
	l.mu.Lock()
	first := !l.closed
	if first {
		l.closed = true
		close(l.quit)
	}
	l.mu.Unlock()
	<-l.done
	<-l.keeper
	<-l.told
	if !first {
		return nil
	}
	return errors.Join(l.lost, l.read.Close())
}

// Size of the log on disk in bytes, the ballast not counted.
func (l *Log) Size() (int64, error) {
	var sum int64
	for _, part := range []string{"", "-wal"} {
		info, err := os.Stat(l.path + part)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return 0, err
		}
		if err == nil {
			sum += info.Size()
		}
	}
	return sum, nil
}

// Backup writes a copy of the log up to and including upTo to the file at path, which must not exist. A copy that ends where another
// store was copied holds nothing that the other does not know of.
func (l *Log) Backup(ctx context.Context, path string, upTo stream.Position) error {
	if _, err := l.read.ExecContext(ctx, "VACUUM INTO ?", path); err != nil {
		return fmt.Errorf("back up the log: %w", err)
	}
	if err := cut(ctx, path, max(upTo.Offset, 0)); err != nil {
		return fmt.Errorf("back up the log: %w", err)
	}
	return nil
}

// cut takes away what comes after row end, and leaves the file as if that had never been there.
func cut(ctx context.Context, path string, end int64) error {
	db, err := sql.Open("sqlite", dsn(path))
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	for _, change := range []string{"DELETE FROM log WHERE row > ?", "UPDATE groups SET pos = ?1 WHERE pos > ?1", "UPDATE sqlite_sequence SET seq = ?1 WHERE name = 'log' AND seq > ?1"} {
		if _, err := db.ExecContext(ctx, change, end); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	return db.Close()
}

func ring(bell chan struct{}) {
	select {
	case bell <- struct{}{}:
	default:
	}
}
