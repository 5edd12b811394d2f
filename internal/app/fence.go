package app

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"yingda/intake/stream"
	"yingda/internal/store"
)

// fence makes effect and position of a consumer one transaction, and passes over what is not newer than the position that stands there: of two nodes that
// have the same record (partitions change hands while the one that had them still works) one has the effect and the other nothing. It takes the rows of the
// positions first, so the second waits until the first is done.
//
// Positions may be moved back beside it, by a replay: it notices, and the consumer opens its reader anew there. Records that were had before are then marked
// Again, and when the last of them is in, over is called in its transaction.
type fence struct {
	db    *store.DB
	group string
	apply func(ctx context.Context, tx *store.Tx, records []stream.Record) error
	over  func(ctx context.Context, tx *store.Tx) error // nil: nothing is to be done after a replay

	mu   sync.Mutex
	mine map[int32]int64 // where this process has brought the consumer, or found it when it opened its reader
}

// errMoved says that somebody moved the positions back.
var errMoved = errors.New("the positions were moved back: a replay")

// from is where the effects are.
func (f *fence) from(ctx context.Context) ([]stream.Position, error) {
	at, err := f.db.Positions(ctx, f.group)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mine = map[int32]int64{}
	for _, p := range at {
		f.mine[p.Partition] = p.Offset
	}
	return at, nil
}

// moved says whether the positions are behind where this process knows them.
func (f *fence) moved(ctx context.Context) bool {
	f.mu.Lock()
	mine := maps.Clone(f.mine) // before the tables are asked: they are never behind what we have brought, unless somebody moved them
	f.mu.Unlock()
	at, err := f.db.Positions(ctx, f.group)
	if err != nil {
		return false
	}
	for _, p := range at {
		if have, ok := mine[p.Partition]; ok && p.Offset < have {
			return true
		}
	}
	return false
}

// bring brings about what records say.
func (f *fence) bring(ctx context.Context, records []stream.Record) error {
	var reached []stream.Position
	err := f.db.Tx(ctx, func(tx *store.Tx) error {
		at, err := takePositions(ctx, tx, f.group, stream.Newest(records))
		if err != nil {
			return err
		}
		if f.behind(at) {
			return errMoved
		}
		upTo, err := tx.Replay(ctx, f.group)
		if err != nil {
			return err
		}
		fresh := make([]stream.Record, 0, len(records))
		for _, r := range records {
			if r.Offset > at[r.Partition] {
				end, replay := upTo[r.Partition]
				r.Again = replay && r.Offset <= end
				fresh = append(fresh, r)
				at[r.Partition] = r.Offset // the same record twice in one batch
			}
		}
		reached = listed(at)
		if len(fresh) == 0 {
			return nil
		}
		if err := f.apply(ctx, tx, fresh); err != nil {
			return err
		}
		for _, p := range stream.Newest(fresh) {
			if err := tx.SetPosition(ctx, f.group, p); err != nil {
				return err
			}
		}
		return f.replayed(ctx, tx, upTo, at)
	})
	if err == nil {
		f.note(reached)
	}
	return err
}

// replayed takes away the marks that have been reached, and ends the replay with the last of them.
func (f *fence) replayed(ctx context.Context, tx *store.Tx, upTo, at map[int32]int64) error {
	if len(upTo) == 0 {
		return nil
	}
	var done []int32
	for p, end := range upTo {
		if have, ok := at[p]; ok && have >= end {
			done = append(done, p)
		}
	}
	if err := tx.EndReplay(ctx, f.group, done...); err != nil {
		return err
	}
	if len(done) < len(upTo) || f.over == nil {
		return nil
	}
	return f.over(ctx, tx)
}

// once brings about one record outside of its order, wherever the consumer is: a dead letter that is tried again.
func (f *fence) once(ctx context.Context, r stream.Record) error {
	return f.db.Tx(ctx, func(tx *store.Tx) error { return f.apply(ctx, tx, []stream.Record{r}) })
}

func (f *fence) behind(at map[int32]int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for p, o := range at {
		if have, ok := f.mine[p]; ok && o < have {
			return true
		}
	}
	return false
}

func (f *fence) note(list []stream.Position) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mine == nil {
		f.mine = map[int32]int64{}
	}
	for _, p := range list {
		if have, ok := f.mine[p.Partition]; !ok || p.Offset > have {
			f.mine[p.Partition] = p.Offset
		}
	}
}

func listed(at map[int32]int64) []stream.Position {
	list := make([]stream.Position, 0, len(at))
	for p, o := range at {
		list = append(list, stream.Position{Partition: p, Offset: o})
	}
	return list
}

// takePositions reads where a consumer is in the partitions, and keeps others from moving it until the transaction ends; −1 where it has not begun.
func takePositions(ctx context.Context, tx *store.Tx, group string, partitions []stream.Position) (map[int32]int64, error) {
	// In one order, so that two who take several never wait for one another.
	slices.SortFunc(partitions, func(a, b stream.Position) int { return int(a.Partition) - int(b.Partition) })
	at := make(map[int32]int64, len(partitions))
	for _, p := range partitions {
		_, err := tx.ExecContext(ctx, "INSERT INTO positions (grp, partition, pos) VALUES (?, ?, -1) ON CONFLICT (grp, partition) DO NOTHING", group, p.Partition)
		if err == nil {
			_, err = tx.ExecContext(ctx, "UPDATE positions SET pos = pos WHERE grp = ? AND partition = ?", group, p.Partition)
		}
		var pos int64
		if err == nil {
			err = tx.QueryRowContext(ctx, "SELECT pos FROM positions WHERE grp = ? AND partition = ?", group, p.Partition).Scan(&pos)
		}
		if err != nil {
			return nil, fmt.Errorf("position of %s: %w", group, err)
		}
		at[p.Partition] = pos
	}
	return at, nil
}

// putAside puts what cannot be used among the dead letters: a record is never passed over silently.
func putAside(ctx context.Context, dead stream.DeadLetters, group string, attempts int, records []stream.Record) error {
	for _, r := range records {
		if r.Err == nil {
			continue
		}
		err := dead.Put(ctx, stream.Letter{Consumer: group, Source: streamSource, Position: r.Position, Raw: r.Raw, Reason: r.Err.Error(), Attempts: attempts})
		if err != nil {
			return fmt.Errorf("put record %d of partition %d aside: %w", r.Offset, r.Partition, err)
		}
	}
	return nil
}

// streamSource is what the letters of consumers say of where their record stands; the relay's say the name of a node.
const streamSource = "stream"

// replay makes a consumer with tables read again: its positions are moved back to those given, never forward, and up to where it was is noted. empty takes its
// effects away, in the same transaction; nil leaves them, and what is there is passed over. gone are partitions that the stream has no more. It
// says how many records are to be read again.
func replay(ctx context.Context, db *store.DB, group string, to, ends []stream.Position, gone func(int32) bool, empty func(ctx context.Context, tx *store.Tx) error) (n int64, err error) {
	err = db.Tx(ctx, func(tx *store.Tx) error {
		n = 0
		at, err := takePositions(ctx, tx, group, slices.Clone(to))
		if err != nil {
			return err
		}
		if empty != nil {
			if err := empty(ctx, tx); err != nil {
				return err
			}
		}
		end := map[int32]int64{}
		for _, p := range ends {
			end[p.Partition] = p.Offset
		}
		for _, p := range to {
			was := min(at[p.Partition], end[p.Partition]) // a stream that was made anew is shorter
			if p.Offset >= was && was == at[p.Partition] {
				continue
			}
			p.Offset = min(p.Offset, was)
			if err := tx.SetPosition(ctx, group, p); err != nil {
				return err
			}
			if p.Offset < was {
				n += was - max(p.Offset, -1)
				if err := tx.BeginReplay(ctx, group, stream.Position{Partition: p.Partition, Offset: was}); err != nil {
					return err
				}
			}
		}
		return forgetPartitions(ctx, tx, group, gone)
	})
	return n, err
}

// forgetPartitions takes away the positions in partitions that are no more.
func forgetPartitions(ctx context.Context, tx *store.Tx, group string, gone func(int32) bool) error {
	rows, err := tx.QueryContext(ctx, "SELECT partition FROM positions WHERE grp = ?", group)
	if err != nil {
		return err
	}
	defer rows.Close()
	var list []int32
	for rows.Next() {
		var p int32
		if err := rows.Scan(&p); err != nil {
			return err
		}
		if gone(p) {
			list = append(list, p)
		}
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, p := range list {
		if _, err := tx.ExecContext(ctx, "DELETE FROM positions WHERE grp = ? AND partition = ?", group, p); err != nil {
			return err
		}
	}
	return tx.EndReplay(ctx, group, list...)
}
