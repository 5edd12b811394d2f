package app

import (
	"context"
	"fmt"
	"slices"

	"yingda/intake/stream"
	"yingda/internal/store"
)

// fenced makes an apply whose effect and position are one transaction, and which passes over what is not newer than the position that stands there: of two nodes that
// have the same record (partitions change hands while the one that had them still works) one has the effect and the other nothing. It takes the rows of the
// positions first, so the second waits until the first is done.
func fenced(db *store.DB, group string, apply func(ctx context.Context, tx *store.Tx, records []stream.Record) error) func(context.Context, []stream.Record) error {
	return func(ctx context.Context, records []stream.Record) error {
		return db.Tx(ctx, func(tx *store.Tx) error {
			at, err := takePositions(ctx, tx, group, last(records))
			if err != nil {
				return err
			}
			fresh := make([]stream.Record, 0, len(records))
			for _, r := range records {
				if r.Offset > at[r.Partition] {
					fresh = append(fresh, r)
					at[r.Partition] = r.Offset // the same record twice in one batch
				}
			}
			if len(fresh) == 0 {
				return nil
			}
			if err := apply(ctx, tx, fresh); err != nil {
				return err
			}
			for _, p := range last(fresh) {
				if err := tx.SetPosition(ctx, group, p); err != nil {
					return err
				}
			}
			return nil
		})
	}
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
func putAside(ctx context.Context, dead stream.DeadLetters, group string, records []stream.Record) error {
	for _, r := range records {
		if r.Err == nil {
			continue
		}
		err := dead.Put(ctx, stream.Letter{Consumer: group, Source: streamSource, Position: r.Position, Raw: r.Raw, Reason: r.Err.Error(), Attempts: 1})
		if err != nil {
			return fmt.Errorf("put record %d of partition %d aside: %w", r.Offset, r.Partition, err)
		}
	}
	return nil
}

// streamSource is what the letters of consumers say of where their record stands; the relay's say the name of a node.
const streamSource = "stream"

// replay makes a consumer with tables read again what the stream took since a time, from the beginning for the zero time: empty takes its effects away, in the
// transaction that moves the positions back. Who applies only what is newer needs that for anything to happen; a nil empty is for one that doesn't. The consumer
// must not run meanwhile, or open its reader anew afterwards.
func replay(ctx context.Context, db *store.DB, to []stream.Position, group string, empty func(ctx context.Context, tx *store.Tx) error) error {
	return db.Tx(ctx, func(tx *store.Tx) error {
		if _, err := takePositions(ctx, tx, group, slices.Clone(to)); err != nil {
			return err
		}
		if empty != nil {
			if err := empty(ctx, tx); err != nil {
				return err
			}
		}
		for _, p := range to {
			if err := tx.SetPosition(ctx, group, p); err != nil {
				return err
			}
		}
		return nil
	})
}
