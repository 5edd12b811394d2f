package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"yingda/intake/stream"
)

// DeadLetters is a stream.DeadLetters in a table, for an office without Kafka. The stream of such an office never drops a record nor takes one twice, so
// a letter that is tried again is not appended: its bytes are given to the consumer that it names, and to no other.
type DeadLetters struct {
	db      *DB
	deliver func(ctx context.Context, l stream.Letter) error
	now     func() time.Time
}

// DeadLetters of the office. deliver gives a letter's bytes to the consumer that it names once more; an error says why that could not use them.
func (d *DB) DeadLetters(deliver func(ctx context.Context, l stream.Letter) error, now func() time.Time) *DeadLetters {
	return &DeadLetters{d, deliver, now}
}

var _ stream.DeadLetters = (*DeadLetters)(nil)

// Put is stream.DeadLetters'.
func (d *DeadLetters) Put(ctx context.Context, l stream.Letter) error {
	if l.Consumer == "" || l.Source == "" {
		return errors.New("store: a dead letter needs a consumer and a source")
	}
	if l.Raw == nil {
		l.Raw = []byte{}
	}
	l.ID = fmt.Sprintf("%s/%s/%d/%d", l.Consumer, l.Source, l.Partition, l.Offset)
	return d.db.Tx(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO dead_letters (id, consumer, source, partition, pos, raw, reason, attempts, at, rev) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
			ON CONFLICT (id) DO UPDATE SET raw = excluded.raw, reason = excluded.reason, attempts = excluded.attempts, at = excluded.at, rev = dead_letters.rev + 1`,
			l.ID, l.Consumer, l.Source, l.Partition, l.Offset, l.Raw, strings.ToValidUTF8(l.Reason, "�"), l.Attempts, Millis(d.now()))
		return err
	})
}

const letterColumns = "SELECT id, consumer, source, partition, pos, reason, attempts, at, length(raw), rev"

func letter(scan func(...any) error, more ...any) (l stream.Letter, rev int64, err error) {
	var at int64
	err = scan(append([]any{&l.ID, &l.Consumer, &l.Source, &l.Partition, &l.Offset, &l.Reason, &l.Attempts, &at, &l.Size, &rev}, more...)...)
	l.Time = Time(at)
	return l, rev, err
}

// List is stream.DeadLetters'.
func (d *DeadLetters) List(ctx context.Context) ([]stream.Letter, error) {
	rows, err := d.db.Query(ctx, letterColumns+" FROM dead_letters ORDER BY at, id")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	list := []stream.Letter{}
	for rows.Next() {
		l, _, err := letter(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, l)
	}
	return list, rows.Err()
}

// Waiting is stream.DeadLetters'.
func (d *DeadLetters) Waiting(ctx context.Context) (n int, since time.Time, err error) {
	var at sql.NullInt64
	err = d.db.QueryRow(ctx, "SELECT COUNT(*), MIN(at) FROM dead_letters").Scan(&n, &at)
	return n, Time(at.Int64), err
}

// Get is stream.DeadLetters'.
func (d *DeadLetters) Get(ctx context.Context, id string) (stream.Letter, error) {
	l, _, err := d.get(ctx, id)
	return l, err
}

func (d *DeadLetters) get(ctx context.Context, id string) (stream.Letter, int64, error) {
	var raw []byte
	l, rev, err := letter(d.db.QueryRow(ctx, letterColumns+", raw FROM dead_letters WHERE id = ?", id).Scan, &raw)
	if errors.Is(err, sql.ErrNoRows) {
		return stream.Letter{}, 0, fmt.Errorf("%w: %s", stream.ErrNoLetter, id)
	}
	l.Raw = raw
	return l, rev, err
}

// Retry is stream.DeadLetters'. The letter stays, too, when it was put aside again while its consumer had it.
func (d *DeadLetters) Retry(ctx context.Context, id string) error {
	l, rev, err := d.get(ctx, id)
	if err != nil {
		return err
	}
	if err := d.deliver(ctx, l); err != nil {
		if ctx.Err() != nil {
			return err
		}
		l.Attempts++
		l.Reason = err.Error()
		return errors.Join(err, d.Put(ctx, l))
	}
	again := ""
	err = d.db.Tx(ctx, func(tx *Tx) error {
		if _, err := tx.ExecContext(ctx, "DELETE FROM dead_letters WHERE id = ? AND rev = ?", id, rev); err != nil {
			return err
		}
		err := tx.QueryRowContext(ctx, "SELECT reason FROM dead_letters WHERE id = ?", id).Scan(&again)
		if errors.Is(err, sql.ErrNoRows) {
			return nil
		}
		return err
	})
	if err == nil && again != "" {
		err = fmt.Errorf("it was put aside again: %s", again)
	}
	return err
}

// Drop is stream.DeadLetters'.
func (d *DeadLetters) Drop(ctx context.Context, id string) error {
	return d.db.Tx(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM dead_letters WHERE id = ?", id)
		return err
	})
}
