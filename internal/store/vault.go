package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// ErrDestroyed is what Secret returns for a secret that was there and has been destroyed on purpose.
var ErrDestroyed = errors.New("store: the secret has been destroyed")

// Secret gives the secret of that name, 32 bytes, and makes it at random when there is none yet.
func (d *DB) Secret(ctx context.Context, name string, now time.Time) ([]byte, error) {
	secret, err := d.secret(ctx, name)
	if err == nil || !errors.Is(err, sql.ErrNoRows) {
		return secret, err
	}
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return nil, err
	}
	err = d.Tx(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO vault (name, secret, made) VALUES (?, ?, ?) ON CONFLICT (name) DO NOTHING", name, fresh, Millis(now))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("vault %s: %w", name, err)
	}
	return d.secret(ctx, name) // another node may have been first
}

func (d *DB) secret(ctx context.Context, name string) ([]byte, error) {
	var secret []byte
	if err := d.QueryRow(ctx, "SELECT secret FROM vault WHERE name = ?", name).Scan(&secret); err != nil {
		return nil, err
	}
	if len(secret) == 0 {
		return nil, ErrDestroyed
	}
	return secret, nil
}

// Destroyed gives the names of the secrets that have been destroyed: whoever remembers one has to forget it.
func (d *DB) Destroyed(ctx context.Context) ([]string, error) {
	rows, err := d.Query(ctx, "SELECT name FROM vault WHERE length(secret) = 0 ORDER BY name")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		list = append(list, name)
	}
	return list, rows.Err()
}

// OnDestroy has f called whenever this process destroys a secret, before Destroy returns. What another process destroys is found by Destroyed.
func (d *DB) OnDestroy(f func(name string)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetful = append(d.forgetful, f)
}

// Destroy forgets a secret for ever: what was sealed with it cannot be read again, in log, stream or backup of the log. The bytes
// are overwritten where they lay (secure_delete) and the journal that still has them is emptied; while somebody reads from it that
// fails, the secret is gone all the same, and Destroy is to be called again for the journal's sake. Older backups of this database keep
// the secret: they must be destroyed too.
func (d *DB) Destroy(ctx context.Context, name string) error {
	err := d.Tx(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE vault SET secret = ? WHERE name = ?", []byte{}, name)
		return err
	})
	if err != nil {
		return fmt.Errorf("vault %s: %w", name, err)
	}
	d.mu.Lock()
	forgetful := slices.Clone(d.forgetful)
	d.mu.Unlock()
	for _, f := range forgetful {
		f(name)
	}
	if err := d.dialect.forget(ctx, d.write); err != nil {
		return fmt.Errorf("vault %s is destroyed, but not yet in the journal: %w", name, err)
	}
	return nil
}

// NextEpoch counts the starts, from 1: the high half of the sequences that are written from now on.
func (d *DB) NextEpoch(ctx context.Context) (epoch uint32, err error) {
	err = d.Tx(ctx, func(tx *Tx) error {
		epoch, err = bumpEpoch(ctx, tx)
		return err
	})
	return epoch, err
}

// bumpEpoch is one statement, so that two machines which do it at once have two numbers.
func bumpEpoch(ctx context.Context, tx *Tx) (uint32, error) {
	var have string
	err := tx.QueryRowContext(ctx, "SELECT value FROM facts WHERE name = 'epoch'").Scan(&have)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, err
	}
	if _, wrong := strconv.ParseUint(have, 10, 31); have != "" && wrong != nil {
		return 0, fmt.Errorf("epoch %q: %w", have, wrong)
	}
	err = tx.QueryRowContext(ctx, `INSERT INTO facts (name, value) VALUES ('epoch', '1') ON CONFLICT (name) DO UPDATE SET value = CAST(CAST(facts.value AS INTEGER) + 1 AS TEXT)
		RETURNING value`).Scan(&have)
	if err != nil {
		return 0, err
	}
	epoch, err := strconv.ParseUint(have, 10, 31)
	if err != nil {
		return 0, fmt.Errorf("there is no epoch left that a sequence can hold: %w", err)
	}
	return uint32(epoch), nil
}

// Epoch is that of the last start, 0 before the first.
func (d *DB) Epoch(ctx context.Context) (uint32, error) {
	var have string
	err := d.QueryRow(ctx, "SELECT value FROM facts WHERE name = 'epoch'").Scan(&have)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	epoch, err := strconv.ParseUint(have, 10, 31)
	return uint32(epoch), err
}
