package sqllog

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"yingda/intake/stream"
)

// Ends is stream.Bounded's.
func (l *Log) Ends(ctx context.Context) ([]stream.Position, error) {
	head, err := l.Head(ctx)
	if err != nil {
		return nil, err
	}
	return []stream.Position{head}, nil
}

// Since is stream.Bounded's. The log notes when an event happened, not when it came: what came late is in it by the earlier of the two.
func (l *Log) Since(ctx context.Context, t time.Time) ([]stream.Position, error) {
	if t.IsZero() {
		return []stream.Position{{Offset: -1}}, nil
	}
	var first sql.NullInt64
	if err := l.read.QueryRowContext(ctx, "SELECT min(row) FROM log WHERE at >= ?", t.UnixMilli()).Scan(&first); err != nil {
		return nil, l.failure("position by time", err)
	}
	if !first.Valid {
		return l.Ends(ctx)
	}
	return []stream.Position{{Offset: first.Int64 - 1}}, nil
}

// Whole is stream.Bounded's: rows count from 1, and Trim takes the oldest first.
func (l *Log) Whole(ctx context.Context) (bool, error) {
	var first sql.NullInt64
	if err := l.read.QueryRowContext(ctx, "SELECT min(row) FROM log").Scan(&first); err != nil {
		return false, l.failure("first row", err)
	}
	return first.Int64 <= 1, nil
}

// Usage is what the log takes of its disk, in bytes.
type Usage struct {
	Used int64 // pages that hold something
	File int64 // what the file takes, pages that Trim has freed included; they are used again before it grows
	Free int64 // free on the disk; −1 when that cannot be known
}

// Usage of the log now.
func (l *Log) Usage(ctx context.Context) (Usage, error) {
	var pages, free, size int64
	err := errors.Join(
		l.read.QueryRowContext(ctx, "PRAGMA page_count").Scan(&pages),
		l.read.QueryRowContext(ctx, "PRAGMA freelist_count").Scan(&free),
		l.read.QueryRowContext(ctx, "PRAGMA page_size").Scan(&size))
	if err != nil {
		return Usage{}, l.failure("usage of the log", err)
	}
	file, err := l.Size()
	if err != nil {
		return Usage{}, err
	}
	u := Usage{Used: (pages - free) * size, File: file, Free: -1}
	if n, known := freeBytes(filepath.Dir(l.path)); known {
		u.Free = int64(n)
	}
	return u, nil
}

// trimRows is how many one transaction of Trim deletes: small, so that it holds up no append for long.
const trimRows = 500

// Trim deletes what every one of the groups has committed and what happened before the given time, oldest first, and returns how many. It is for an
// outbox, whose records are kept elsewhere when its groups have them. The newest record stays in any case, so that row numbers go on. It stops at the first
// record that is too young, so that what remains is the end of the log without gaps.
func (l *Log) Trim(ctx context.Context, before time.Time, groups ...string) (int64, error) {
	if len(groups) == 0 {
		return 0, errors.New("sqllog: Trim needs the groups that must have read what it deletes")
	}
	head, err := l.Head(ctx)
	if err != nil {
		return 0, err
	}
	last := head.Offset - 1
	for _, g := range groups {
		pos, err := l.committed(ctx, g)
		if err != nil {
			return 0, err
		}
		last = min(last, pos)
	}
	db, err := sql.Open("sqlite", dsn(l.path, "journal_mode(WAL)", "synchronous(FULL)", "secure_delete(ON)"))
	if err != nil {
		return 0, fmt.Errorf("trim the log: %w", err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	deleted := int64(0)
	for {
		var first, young sql.NullInt64
		err := db.QueryRowContext(ctx, "SELECT min(row) FROM log").Scan(&first)
		if err == nil {
			err = db.QueryRowContext(ctx, "SELECT min(row) FROM (SELECT row, at FROM log ORDER BY row LIMIT ?) WHERE at >= ?", trimRows, before.UnixMilli()).Scan(&young)
		}
		if err != nil {
			return deleted, l.failure("trim the log", err)
		}
		end := min(first.Int64+trimRows-1, last)
		if young.Valid {
			end = min(end, young.Int64-1)
		}
		if !first.Valid || end < first.Int64 {
			return deleted, nil
		}
		r, err := db.ExecContext(ctx, "DELETE FROM log WHERE row <= ?", end)
		if err != nil {
			return deleted, l.failure("trim the log", err)
		}
		n, err := r.RowsAffected()
		if err != nil {
			return deleted, l.failure("trim the log", err)
		}
		deleted += n
	}
}
