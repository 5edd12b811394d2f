package store

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"

	"github.com/pressly/goose/v3"
)

// dialect is what differs between the two databases.
type dialect interface {
	// say gives a query and its arguments as the database wants them.
	say(query string, args []any) (string, []any)
	prepares() bool // statements that are made many times are prepared
	// begin is said first in each transaction that may write.
	begin(ctx context.Context, tx *sql.Tx) error
	clock() string  // an expression: now, by the database, in Unix milliseconds
	tables() string // a query: the names of our tables
	// counted sees to it that numbers which the database gives go on after those that were written.
	counted(ctx context.Context, tx *Tx) error
	migrations(db *sql.DB, dir fs.FS) (*goose.Provider, error)
	// forget sees to it that what was overwritten is not left in a journal of ours.
	forget(ctx context.Context, db *sql.DB) error
}

// inFile is SQLite: how the SQL is written.
type inFile struct{}

func (inFile) say(query string, args []any) (string, []any) { return query, args }

func (inFile) prepares() bool { return true }

func (inFile) begin(context.Context, *sql.Tx) error { return nil } // BEGIN IMMEDIATE, by the connection's setting

func (inFile) clock() string { return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)" }

func (inFile) tables() string {
	return "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND name NOT LIKE 'goose_%'"
}

func (inFile) counted(context.Context, *Tx) error { return nil } // AUTOINCREMENT does by itself

func (inFile) migrations(db *sql.DB, dir fs.FS) (*goose.Provider, error) {
	return goose.NewProvider(goose.DialectSQLite3, db, dir, goose.WithAllowOutofOrder(true))
}

func (inFile) forget(ctx context.Context, db *sql.DB) error {
	var busy, pages, done int
	if err := db.QueryRowContext(ctx, "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &done); err != nil {
		return err
	}
	if busy != 0 {
		return errors.New("somebody reads from it")
	}
	return nil
}
