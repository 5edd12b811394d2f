package sqllog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
)

// Open is stream.Log's. A group should have one reader at a time: there is one partition, and a second reader would read it
// as well. It fails with ErrBeyond for a position that the log has not reached.
func (l *Log) Open(group string, from ...stream.Position) (stream.Reader, error) {
	if group == "" {
		return nil, errors.New("sqllog: a group needs a name")
	}
	if l.isClosed() {
		return nil, stream.ErrClosed
	}
	return l.open(&reader{log: l, group: group, closed: make(chan struct{})}, from)
}

// OpenRaw is Open without from, for a reader that hands the bytes on as they are: a record has its Raw and neither Event nor Err, so nothing is decoded, and
// no secret is needed.
func (l *Log) OpenRaw(group string) (stream.Reader, error) {
	if group == "" {
		return nil, errors.New("sqllog: a group needs a name")
	}
	if l.isClosed() {
		return nil, stream.ErrClosed
	}
	return l.open(&reader{log: l, group: group, raw: true, closed: make(chan struct{})}, nil)
}

func (l *Log) open(r *reader, from []stream.Position) (stream.Reader, error) {
	ctx, group := context.Background(), r.group
	if len(from) == 0 {
		pos, err := l.committed(ctx, group)
		if err != nil {
			return nil, err
		}
		r.pos = pos
		return r, nil
	}
	for _, p := range from {
		if err := here(p); err != nil {
			return nil, err
		}
		r.pos = max(p.Offset, 0)
	}
	if r.pos > 0 {
		head, err := l.Head(ctx)
		if err != nil {
			return nil, err
		}
		if r.pos > head.Offset {
			return nil, fmt.Errorf("%w: %s is at %d, the log ends at %d", ErrBeyond, group, r.pos, head.Offset)
		}
	}
	return r, nil
}

// here refuses a position of another log.
func here(p stream.Position) error {
	if p.Partition != 0 {
		return fmt.Errorf("sqllog: there is no partition %d", p.Partition)
	}
	return nil
}

// Head is the position of the newest record; Offset −1 when there is none.
func (l *Log) Head(ctx context.Context) (stream.Position, error) {
	var head sql.NullInt64
	if err := l.read.QueryRowContext(ctx, "SELECT max(row) FROM log").Scan(&head); err != nil {
		return stream.Position{}, l.failure("head of the log", err)
	}
	if !head.Valid {
		return stream.Position{Offset: -1}, nil
	}
	return stream.Position{Offset: head.Int64}, nil
}

// Lag is stream.Log's.
func (l *Log) Lag(ctx context.Context, group string) (stream.Lag, error) {
	pos, err := l.committed(ctx, group)
	if err != nil {
		return stream.Lag{}, err
	}
	head, err := l.Head(ctx)
	if err != nil || head.Offset <= pos {
		return stream.Lag{}, err
	}
	var next, at int64 // the next is not always pos+1: Trim may have deleted what nobody of this group has read
	if err := l.read.QueryRowContext(ctx, "SELECT row, at FROM log WHERE row > ? ORDER BY row LIMIT 1", pos).Scan(&next, &at); err != nil {
		return stream.Lag{}, l.failure("lag", err)
	}
	return stream.Lag{Records: head.Offset - next + 1, Oldest: time.UnixMilli(at).UTC()}, nil
}

// Subject gives all events of one subject, in the order of their sequences.
func (l *Log) Subject(ctx context.Context, subject intake.Subject) ([]stream.Record, error) {
	// '0' comes after '/'. The length leaves out subjects that have this one, and a slash, as their beginning.
	rows, err := l.read.QueryContext(ctx, "SELECT row, event FROM log WHERE id >= ? AND id < ? AND length(id) = ? ORDER BY id",
		string(subject)+"/", string(subject)+"0", len([]rune(string(subject)))+1+16)
	if err != nil {
		return nil, l.failure("events of one subject", err)
	}
	return l.records(rows, false)
}

// Has says which of these ids (subject/sequence) are in the log.
func (l *Log) Has(ctx context.Context, ids ...string) (map[string]bool, error) {
	have := map[string]bool{}
	for part := range slices.Chunk(ids, 500) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		rows, err := l.read.QueryContext(ctx, "SELECT id FROM log WHERE id IN (?"+strings.Repeat(",?", len(part)-1)+")", args...)
		if err != nil {
			return nil, l.failure("look for events", err)
		}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return nil, errors.Join(l.failure("look for events", err), rows.Close())
			}
			have[id] = true
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, l.failure("look for events", err)
		}
	}
	return have, nil
}

func (l *Log) committed(ctx context.Context, group string) (int64, error) {
	var pos int64
	err := l.read.QueryRowContext(ctx, "SELECT pos FROM groups WHERE name = ?", group).Scan(&pos)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, l.failure("position of a group", err)
	}
	return pos, nil
}

// records reads rows of (row, event) and closes them. An event that can't be had now ends the list there, or is the error when
// there was none before it.
func (l *Log) records(rows *sql.Rows, raw bool) ([]stream.Record, error) {
	defer rows.Close()
	var list []stream.Record
	for rows.Next() {
		var r stream.Record
		if err := rows.Scan(&r.Offset, &r.Raw); err != nil {
			return nil, l.failure("read the log", err)
		}
		if raw {
			list = append(list, r)
			continue
		}
		if r.Event, r.Err = l.config.Codec.Decode(r.Raw); r.Err != nil {
			if errors.Is(r.Err, intake.ErrLater) {
				if len(list) == 0 {
					return nil, fmt.Errorf("record %d of the log: %w", r.Offset, r.Err)
				}
				return list, nil
			}
			r.Event = intake.Event{}
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return nil, l.failure("read the log", err)
	}
	return list, nil
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// failure is stream.ErrClosed when that is why, else err with what we tried.
func (l *Log) failure(what string, err error) error {
	if l.isClosed() {
		return stream.ErrClosed
	}
	return fmt.Errorf("%s: %w", what, err)
}

type reader struct {
	log    *Log
	group  string
	raw    bool
	pos    int64 // of the last record fetched
	closed chan struct{}
}

// Fetch is stream.Reader's. A limit below 1 is 1.
func (r *reader) Fetch(ctx context.Context, limit int) ([]stream.Record, error) {
	for {
		if err := r.over(); err != nil {
			return nil, err
		}
		r.log.mu.Lock()
		changed := r.log.changed // taken before looking, so that nothing slips between
		r.log.mu.Unlock()
		rows, err := r.log.read.QueryContext(ctx, "SELECT row, event FROM log WHERE row > ? ORDER BY row LIMIT ?", r.pos, max(limit, 1))
		if err != nil {
			return nil, errors.Join(ctx.Err(), r.log.failure("read the log", err))
		}
		list, err := r.log.records(rows, r.raw)
		if err != nil {
			return nil, errors.Join(ctx.Err(), err)
		}
		if len(list) > 0 {
			r.pos = list[len(list)-1].Offset
			return list, nil
		}
		again := time.NewTimer(r.log.config.test.look) // another program may have appended
		select {
		case <-changed:
		case <-again.C:
		case <-r.log.quit:
		case <-r.closed:
		case <-ctx.Done():
			again.Stop()
			return nil, ctx.Err()
		}
		again.Stop()
	}
}

func (r *reader) over() error {
	select {
	case <-r.closed:
		return stream.ErrClosed
	case <-r.log.quit:
		return stream.ErrClosed
	default:
		return nil
	}
}

// Commit is stream.Reader's. It shares the writer's fsync. While the disk does not write it fails with stream.ErrUnwritten and
// nothing is kept: the records will come again.
func (r *reader) Commit(ctx context.Context, done ...stream.Position) error {
	if err := r.over(); err != nil {
		return err
	}
	if len(done) == 0 {
		return nil
	}
	pos := int64(0)
	for _, p := range done {
		if err := here(p); err != nil {
			return err
		}
		pos = max(pos, p.Offset)
	}
	q := &request{group: r.group, pos: pos, done: make(chan error, 1)}
	if wait, err := r.log.enter(q); !wait {
		return err
	}
	select {
	case err := <-q.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close is stream.Reader's.
func (r *reader) Close() error {
	select {
	case <-r.closed:
	default:
		close(r.closed)
	}
	return nil
}
