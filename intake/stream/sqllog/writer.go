package sqllog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"yingda/intake/stream"
)

// What one transaction holds at most. A request is never cut in two, so that an Append is all or none.
const (
	batchRows  = 4000
	batchBytes = 8 << 20
)

const longestPause = 2 * time.Second

// writer writes what is in the queue until the log is closed.
func (l *Log) writer() {
	defer close(l.done)
	w := &pen{log: l}
	defer w.close()
	pause := l.config.test.pause
	for {
		batch, closed := l.next()
		if len(batch) == 0 {
			if closed {
				return
			}
			select {
			case <-l.bell:
			case <-l.quit:
			}
			continue
		}
		err := w.write(batch)
		if err == nil {
			l.written(batch)
			pause = l.config.test.pause
			continue
		}
		w.close() // what failed on a connection is tried again on another
		if l.full(err) && l.ballast.give() {
			l.lower()
			if err = w.write(batch); err == nil {
				l.written(batch)
				continue
			}
			w.close()
		}
		l.failed(err)
		if closed {
			l.lost = l.abandon(err)
			return
		}
		select {
		case <-time.After(pause):
		case <-l.quit:
		}
		pause = min(2*pause, longestPause)
	}
}

// next gives the requests to be written together, oldest first. They stay in the queue.
func (l *Log) next() (batch []*request, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	rows, bytes := 0, int64(0)
	for _, r := range l.queue {
		rows, bytes = rows+len(r.rows), bytes+r.bytes
		if len(batch) > 0 && (rows > batchRows || bytes > batchBytes) {
			break
		}
		batch = append(batch, r)
	}
	return batch, l.closed
}

func (l *Log) written(batch []*request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range batch {
		l.waiting -= len(r.rows)
		l.bytes -= r.bytes
		if !r.gone {
			r.done <- nil
		}
	}
	clear(l.queue[:len(batch)])
	l.queue = l.queue[len(batch):]
	if len(l.queue) == 0 {
		l.queue = nil
		if l.state.Degraded {
			l.state.Degraded = false
			l.report()
		}
		l.state.Waited, l.state.Err = 0, nil
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// failed tells everybody who waits that the events are not on disk yet. A Commit isn't kept.
func (l *Log) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	keep := l.queue[:0]
	for _, r := range l.queue {
		if !r.gone {
			r.gone = true
			l.state.Waited += len(r.rows)
			r.done <- fmt.Errorf("%w: %w", stream.ErrUnwritten, err)
		}
		if r.group == "" {
			keep = append(keep, r)
		}
	}
	clear(l.queue[len(keep):])
	l.queue = keep
	if len(keep) == 0 { // nothing but a Commit failed: no event waits
		return
	}
	l.degrade(l.word(err), err)
}

// abandon gives up what the disk would not take before the end.
func (l *Log) abandon(err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	lost := l.waiting
	l.queue, l.waiting, l.bytes = nil, 0, 0
	if lost == 0 {
		return nil
	}
	return fmt.Errorf("the log was closed with %d events that the disk would not take: %w", lost, err)
}

func (l *Log) lower() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.state.Low {
		l.state.Low = true
		l.report()
	}
}

// word names an error for people.
func (l *Log) word(err error) string {
	var e *sqlite.Error
	switch {
	case l.full(err):
		return DiskFull
	case errors.As(err, &e) && (e.Code()&0xff == sqlite3.SQLITE_BUSY || e.Code()&0xff == sqlite3.SQLITE_LOCKED):
		return DiskLocked
	}
	return DiskError
}

// full says whether the error comes of a disk without room. SQLite says SQLITE_FULL when a write falls short; when the files beside the log
// can't be made or grow it says that it can't open them, or an I/O error, which may have other causes too.
func (l *Log) full(err error) bool {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return false
	}
	switch e.Code() & 0xff {
	case sqlite3.SQLITE_FULL:
		return true
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN:
		free, known := freeBytes(filepath.Dir(l.path))
		return known && free < 1<<20
	}
	return false
}

// pen is the writing connection with its statements; made when it is needed, thrown away when something failed.
type pen struct {
	log    *Log
	db     *sql.DB
	conn   *sql.Conn
	insert map[int]*sql.Stmt // by number of rows
	have   map[int]*sql.Stmt
	args   []any
}

// chunks are how many rows one statement writes.
var chunks = []int{64, 8, 1}

func (p *pen) open() (err error) {
	if p.conn != nil {
		return nil
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	ctx := context.Background()
	pragmas := []string{"journal_mode(WAL)", "synchronous(FULL)", "journal_size_limit(67108864)", "temp_store(MEMORY)"}
	if p.db, err = sql.Open("sqlite", dsn(p.log.path, pragmas...)); err != nil {
		return err
	}
	p.db.SetMaxOpenConns(1)
	if p.conn, err = p.db.Conn(ctx); err != nil {
		return err
	}
	if f := p.log.config.test.pragma; f != nil {
		if _, err := p.conn.ExecContext(ctx, f()); err != nil {
			return err
		}
	}
	p.insert, p.have = map[int]*sql.Stmt{}, map[int]*sql.Stmt{}
	for _, n := range chunks {
		if p.insert[n], err = p.conn.PrepareContext(ctx, "INSERT INTO log (id, at, event) VALUES "+strings.TrimSuffix(strings.Repeat("(?,?,?),", n), ",")); err != nil {
			return err
		}
		if p.have[n], err = p.conn.PrepareContext(ctx, "SELECT id FROM log WHERE id IN ("+strings.TrimSuffix(strings.Repeat("?,", n), ",")+")"); err != nil {
			return err
		}
	}
	return nil
}

func (p *pen) close() {
	for _, list := range []map[int]*sql.Stmt{p.insert, p.have} {
		for _, s := range list {
			if s != nil {
				_ = s.Close()
			}
		}
	}
	if p.conn != nil {
		_ = p.conn.Close()
	}
	if p.db != nil {
		_ = p.db.Close()
	}
	p.db, p.conn, p.insert, p.have = nil, nil, nil, nil
}

// write brings a batch to disk in one transaction. After an error, which may have come after the disk had taken it all, the
// same batch can be written again.
func (p *pen) write(batch []*request) error {
	if err := p.open(); err != nil {
		return err
	}
	ctx := context.Background()
	if _, err := p.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := p.fill(ctx, batch); err != nil {
		_, _ = p.conn.ExecContext(ctx, "ROLLBACK") // SQLite may have done so itself; the connection is thrown away in any case
		return err
	}
	if f := p.log.config.test.beforeCommit; f != nil {
		f()
	}
	if _, err := p.conn.ExecContext(ctx, "COMMIT"); err != nil {
		_, _ = p.conn.ExecContext(ctx, "ROLLBACK")
		return err
	}
	return nil
}

func (p *pen) fill(ctx context.Context, batch []*request) error {
	total := 0
	for _, r := range batch {
		total += len(r.rows)
	}
	rows := make([]row, 0, total)
	seen := make(map[string]struct{}, total)
	for _, r := range batch {
		for _, w := range r.rows {
			if _, twice := seen[w.id]; !twice {
				seen[w.id] = struct{}{}
				rows = append(rows, w)
			}
		}
	}
	// An event that is there already is left out beforehand rather than by ON CONFLICT, which would use up its row number.
	err := each(rows, func(part []row) error { return p.strike(ctx, part, seen) })
	if err != nil {
		return err
	}
	fresh := rows[:0]
	for _, w := range rows {
		if _, ok := seen[w.id]; ok {
			fresh = append(fresh, w)
		}
	}
	err = each(fresh, func(part []row) error {
		p.args = p.args[:0]
		for _, w := range part {
			p.args = append(p.args, w.id, w.at, w.raw)
		}
		_, err := p.insert[len(part)].ExecContext(ctx, p.args...)
		clear(p.args)
		return err
	})
	if err != nil {
		return err
	}
	done := map[string]int64{}
	for _, r := range batch {
		if r.group != "" {
			done[r.group] = r.pos
		}
	}
	for group, pos := range done {
		if _, err := p.conn.ExecContext(ctx, "INSERT INTO groups (name, pos) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET pos = excluded.pos", group, pos); err != nil {
			return err
		}
	}
	return nil
}

// strike takes out of fresh the ids of part that are in the log.
func (p *pen) strike(ctx context.Context, part []row, fresh map[string]struct{}) error {
	p.args = p.args[:0]
	for _, w := range part {
		p.args = append(p.args, w.id)
	}
	found, err := p.have[len(part)].QueryContext(ctx, p.args...)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var id string
		if err := found.Scan(&id); err != nil {
			return err
		}
		delete(fresh, id)
	}
	return found.Err()
}

// each hands out rows in parts for which there is a statement.
func each(rows []row, f func(part []row) error) error {
	for _, n := range chunks {
		for len(rows) >= n {
			if err := f(rows[:n]); err != nil {
				return err
			}
			rows = rows[n:]
		}
	}
	return nil
}
