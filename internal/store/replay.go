package store

import (
	"context"

	"yingda/intake/stream"
)

// BeginReplay notes, in the transaction that moves a consumer's positions back, up to where it had read before: so far it reads anew. What an
// earlier replay has not reached yet stays noted.
func (t *Tx) BeginReplay(ctx context.Context, group string, upTo ...stream.Position) error {
	for _, p := range upTo {
		if _, err := t.ExecContext(ctx, `INSERT INTO replays (grp, partition, upto) VALUES (?, ?, ?) ON CONFLICT (grp, partition) DO UPDATE
			SET upto = CASE WHEN excluded.upto > replays.upto THEN excluded.upto ELSE replays.upto END`, group, p.Partition, p.Offset); err != nil {
			return err
		}
	}
	return nil
}

// Replay says up to where a consumer reads anew, by partition; empty when it does not.
func (t *Tx) Replay(ctx context.Context, group string) (map[int32]int64, error) {
	rows, err := t.QueryContext(ctx, "SELECT partition, upto FROM replays WHERE grp = ?", group)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var m map[int32]int64
	for rows.Next() {
		var p int32
		var o int64
		if err := rows.Scan(&p, &o); err != nil {
			return nil, err
		}
		if m == nil {
			m = map[int32]int64{}
		}
		m[p] = o
	}
	return m, rows.Err()
}

// EndReplay takes away what has been reached.
func (t *Tx) EndReplay(ctx context.Context, group string, partitions ...int32) error {
	for _, p := range partitions {
		if _, err := t.ExecContext(ctx, "DELETE FROM replays WHERE grp = ? AND partition = ?", group, p); err != nil {
			return err
		}
	}
	return nil
}

// Replaying says which consumers read anew what they had before.
func (d *DB) Replaying(ctx context.Context) (map[string]bool, error) {
	rows, err := d.Query(ctx, "SELECT DISTINCT grp FROM replays")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	m := map[string]bool{}
	for rows.Next() {
		var group string
		if err := rows.Scan(&group); err != nil {
			return nil, err
		}
		m[group] = true
	}
	return m, rows.Err()
}
