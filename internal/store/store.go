// Package store keeps the tables: cases, callbacks, lines, users, secrets, and the outbox that makes a change in them
// and its event one transaction.
//
// Use: Open the database (it brings its schema up to date), give it an Encoder, then write inside Tx and read with
// Query and QueryRow. A writer that changes a row calls Emit in the same transaction; a relay (Outbox, Sent) later
// carries what is in the outbox into the stream, at least once.
//
// One machine keeps them in an SQLite file, many in PostgreSQL: the address says which. The SQL is written once, with ? for arguments, plain
// names, times in Unix milliseconds (INTEGER) and booleans as 0 and 1; see dialect for what is said otherwise to PostgreSQL. Each package
// that keeps tables has a range of migration numbers: 00xx store, 01xx books, 02xx routing, 03xx web and users, 04xx telephony, 05xx chat,
// 06xx submissions.
//
// What it does not do: it holds no business rule, and it is not the log (package sqllog has a file of its own).
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"

	"yingda/intake"
	"yingda/intake/stream"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Encoder turns an event into bytes (wire.Codec).
type Encoder interface {
	Encode(intake.Event) ([]byte, error)
}

// DB is the office's tables. Transactions that write come one after the other, on one machine by a single connection, on many by a lock in the
// database: so none ever fails because of another, and what one reads stays true until it commits. Reading goes through several connections.
type DB struct {
	write   *sql.DB
	read    *sql.DB
	dialect dialect
	encoder Encoder
	turn    chan struct{} // holds one while a transaction of ours writes or waits for the others'

	mu        sync.Mutex
	listen    []chan struct{} // told after a transaction that put something in the outbox
	forgetful []func(name string)
}

// Open opens the tables and brings their schema up to date. The address is the path of an SQLite file, made when there is none, or that of a
// PostgreSQL database that exists: postgres://user:password@host:5432/yingda (libpq's parameters work, such as sslmode and search_path).
func Open(ctx context.Context, address string) (*DB, error) {
	d, err := connect(address)
	shown := address
	if IsPostgres(address) {
		shown = "PostgreSQL" // the address may hold a password
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", shown, err)
	}
	dir, err := fs.Sub(migrations, "migrations")
	if err == nil {
		err = d.migrate(ctx, dir)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("bring %s up to date: %w", shown, err), d.Close())
	}
	return d, nil
}

// connect takes the tables as they are.
func connect(address string) (d *DB, err error) {
	d = &DB{turn: make(chan struct{}, 1)}
	if IsPostgres(address) {
		d.dialect = postgres{}
		d.write, d.read, err = openPostgres(address)
	} else {
		d.dialect = inFile{}
		d.write, d.read, err = openSQLite(address)
	}
	return d, err
}

func openSQLite(path string) (write, read *sql.DB, err error) {
	if write, err = sql.Open("sqlite", dsn(path, "immediate")); err != nil {
		return nil, nil, err
	}
	write.SetMaxOpenConns(1)
	if read, err = sql.Open("sqlite", dsn(path, "deferred")); err != nil {
		return nil, nil, errors.Join(err, write.Close())
	}
	read.SetMaxOpenConns(4)
	return write, read, nil
}

func dsn(path, lock string) string {
	q := url.Values{"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "cache_size(-8000)", "secure_delete(ON)"}, "_txlock": {lock}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + q.Encode()
}

func (d *DB) migrate(ctx context.Context, dir fs.FS) error {
	p, err := d.dialect.migrations(d.write, dir)
	if err != nil {
		return err
	}
	_, err = p.Up(ctx)
	return err
}

// Close ends it.
func (d *DB) Close() error { return errors.Join(d.write.Close(), d.read.Close()) }

// UseEncoder sets what Emit encodes with; before that Emit fails.
func (d *DB) UseEncoder(e Encoder) { d.encoder = e }

// Tx runs f in a transaction: all of it happens when f returns nil, and nothing otherwise.
func (d *DB) Tx(ctx context.Context, f func(tx *Tx) error) error {
	// Our own stand in line here, not at the server: it ends the transaction of a machine that is cut off after some seconds, and nobody else's may then have to
	// wait for the next of the same machine.
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-ctx.Done():
		return fmt.Errorf("begin: %w", ctx.Err())
	}
	return d.tx(ctx, d.dialect.begin, f)
}

// free is Tx that waits for nobody else's: for rows that are changed in no other way.
func (d *DB) free(ctx context.Context, f func(tx *Tx) error) error {
	return d.tx(ctx, func(context.Context, *sql.Tx) error { return nil }, f)
}

func (d *DB) tx(ctx context.Context, begin func(context.Context, *sql.Tx) error, f func(tx *Tx) error) error {
	raw, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin: %w", err)
	}
	tx := &Tx{raw: raw, db: d}
	if err := begin(ctx, raw); err != nil {
		return errors.Join(fmt.Errorf("begin: %w", err), raw.Rollback())
	}
	defer func() {
		if p := recover(); p != nil {
			_ = raw.Rollback()
			panic(p)
		}
	}()
	if err := f(tx); err != nil {
		return errors.Join(err, raw.Rollback())
	}
	if err := raw.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if tx.emitted {
		d.tell()
	}
	return nil
}

// Query reads outside of a transaction.
func (d *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	query, args = d.dialect.say(query, args)
	return d.read.QueryContext(ctx, query, args...)
}

// QueryRow reads one row outside of a transaction.
func (d *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	query, args = d.dialect.say(query, args)
	return d.read.QueryRowContext(ctx, query, args...)
}

// Backup writes a copy of the whole database to the file at path, which must not exist. The copy is as of one moment, and at is called
// in that moment, while nothing can change the tables: what it learns of other stores fits what the copy holds. It should be quick; the
// copying comes after it, and holds up nobody. ErrElsewhere when a server keeps the tables.
func (d *DB) Backup(ctx context.Context, path string, at func(context.Context) error) error {
	if _, ok := d.dialect.(inFile); !ok {
		return ErrElsewhere
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("back up the tables: %s is there already (%w)", path, fs.ErrExist)
	}
	conn, err := d.read.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	err = d.Tx(ctx, func(*Tx) error { // the only writer is we
		if _, err := conn.ExecContext(ctx, "BEGIN"); err != nil {
			return err
		}
		var pages int // the first look is what fixes the moment
		if err := conn.QueryRowContext(ctx, "SELECT COUNT(*) FROM sqlite_master").Scan(&pages); err != nil {
			return err
		}
		return at(ctx)
	})
	if err == nil {
		err = conn.Raw(func(driver any) error { return copyPages(driver, path) })
	}
	_, end := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	if err != nil {
		return fmt.Errorf("back up the tables: %w", err) // BEGIN may not have come to pass, then ROLLBACK has nothing to end
	}
	return end
}

// copyPages copies what a connection sees, within the transaction that it has begun.
func copyPages(driver any, path string) error {
	source, ok := driver.(interface {
		NewBackup(string) (*sqlite.Backup, error)
	})
	if !ok {
		return errors.New("the driver has no backup")
	}
	b, err := source.NewBackup("file:" + (&url.URL{Path: path}).EscapedPath())
	if err != nil {
		return err
	}
	_, err = b.Step(-1)
	return errors.Join(err, b.Finish())
}

// ErrElsewhere says that a server keeps the tables: what concerns its files is done there.
var ErrElsewhere = errors.New("store: PostgreSQL keeps the tables; copy them with pg_dump")

// Tx is a transaction.
type Tx struct {
	raw     *sql.Tx
	db      *DB
	emitted bool
}

// ExecContext changes something.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	query, args = t.db.dialect.say(query, args)
	return t.raw.ExecContext(ctx, query, args...)
}

// QueryContext reads within the transaction.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	query, args = t.db.dialect.say(query, args)
	return t.raw.QueryContext(ctx, query, args...)
}

// QueryRowContext reads one row within the transaction.
func (t *Tx) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	query, args = t.db.dialect.say(query, args)
	return t.raw.QueryRowContext(ctx, query, args...)
}

// Stmt is a query that a transaction makes many times. It ends with the transaction.
type Stmt struct {
	tx    *Tx
	query string
	made  *sql.Stmt // nil where nothing is prepared
}

// Prepare makes one ready.
func (t *Tx) Prepare(ctx context.Context, query string) (*Stmt, error) {
	s := &Stmt{tx: t, query: query}
	if !t.db.dialect.prepares() {
		return s, nil
	}
	var err error
	s.made, err = t.raw.PrepareContext(ctx, query)
	return s, err
}

// Close ends it.
func (s *Stmt) Close() error {
	if s.made == nil {
		return nil
	}
	return s.made.Close()
}

// ExecContext changes something.
func (s *Stmt) ExecContext(ctx context.Context, args ...any) (sql.Result, error) {
	if s.made == nil {
		return s.tx.ExecContext(ctx, s.query, args...)
	}
	return s.made.ExecContext(ctx, args...)
}

// QueryContext reads.
func (s *Stmt) QueryContext(ctx context.Context, args ...any) (*sql.Rows, error) {
	if s.made == nil {
		return s.tx.QueryContext(ctx, s.query, args...)
	}
	return s.made.QueryContext(ctx, args...)
}

// QueryRowContext reads one row.
func (s *Stmt) QueryRowContext(ctx context.Context, args ...any) *sql.Row {
	if s.made == nil {
		return s.tx.QueryRowContext(ctx, s.query, args...)
	}
	return s.made.QueryRowContext(ctx, args...)
}

// Emit puts events into the outbox: they will be in the stream if, and only if, the transaction commits.
func (t *Tx) Emit(ctx context.Context, events ...intake.Event) error {
	if t.db.encoder == nil {
		return errors.New("store: no encoder for the outbox")
	}
	for _, e := range events {
		if err := e.Check(); err != nil {
			return err
		}
		raw, err := t.db.encoder.Encode(e)
		if err != nil {
			return fmt.Errorf("encode %s: %w", e.ID(), err)
		}
		if _, err := t.ExecContext(ctx, "INSERT INTO outbox (id, at, event) VALUES (?, ?, ?)", e.ID(), Millis(e.Time), raw); err != nil {
			return fmt.Errorf("outbox %s: %w", e.ID(), err)
		}
		t.emitted = true
	}
	return nil
}

// Positions up to which a consumer's effects are in this database; see Tx.SetPosition.
func (d *DB) Positions(ctx context.Context, group string) ([]stream.Position, error) {
	rows, err := d.Query(ctx, "SELECT partition, pos FROM positions WHERE grp = ?", group)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []stream.Position
	for rows.Next() {
		var p stream.Position
		if err := rows.Scan(&p.Partition, &p.Offset); err != nil {
			return nil, err
		}
		list = append(list, p)
	}
	return list, rows.Err()
}

// SetPosition notes, in the transaction that holds the effect, how far a consumer has come.
func (t *Tx) SetPosition(ctx context.Context, group string, p stream.Position) error {
	_, err := t.ExecContext(ctx, `INSERT INTO positions (grp, partition, pos) VALUES (?, ?, ?)
		ON CONFLICT (grp, partition) DO UPDATE SET pos = excluded.pos`, group, p.Partition, p.Offset)
	return err
}

// Outgoing is an event in the outbox.
type Outgoing struct {
	Row   int64
	ID    string
	Event []byte
}

// Outbox gives up to limit events that are not yet known to be in the stream, oldest first.
func (d *DB) Outbox(ctx context.Context, limit int) ([]Outgoing, error) {
	rows, err := d.Query(ctx, "SELECT row, id, event FROM outbox ORDER BY row LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Outgoing
	for rows.Next() {
		var o Outgoing
		if err := rows.Scan(&o.Row, &o.ID, &o.Event); err != nil {
			return nil, err
		}
		list = append(list, o)
	}
	return list, rows.Err()
}

// InOutbox says which of these events (by id) wait in the outbox.
func (d *DB) InOutbox(ctx context.Context, ids ...string) (map[string]bool, error) {
	have := map[string]bool{}
	for part := range slices.Chunk(ids, 500) {
		args := make([]any, len(part))
		for i, id := range part {
			args[i] = id
		}
		rows, err := d.Query(ctx, "SELECT id FROM outbox WHERE id IN (?"+strings.Repeat(",?", len(part)-1)+")", args...)
		if err != nil {
			return nil, err
		}
		for rows.Next() {
			var id string
			if err := rows.Scan(&id); err != nil {
				return nil, errors.Join(err, rows.Close())
			}
			have[id] = true
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			return nil, err
		}
	}
	return have, nil
}

// Sent takes the rows up to and including upTo out of the outbox.
func (d *DB) Sent(ctx context.Context, upTo int64) error {
	return d.Tx(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM outbox WHERE row <= ?", upTo)
		return err
	})
}

// Emitted gives a channel that is told when something new may be in the outbox.
func (d *DB) Emitted() <-chan struct{} {
	c := make(chan struct{}, 1)
	d.mu.Lock()
	d.listen = append(d.listen, c)
	d.mu.Unlock()
	return c
}

func (d *DB) tell() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.listen {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Millis is how a time is kept: Unix milliseconds, and 0 for the zero time.
func Millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// Time is the way back.
func Time(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
