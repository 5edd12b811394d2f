package store

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"io/fs"
	"net"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
	"golang.org/x/sys/unix"
)

// postgres says to PostgreSQL what is written for SQLite.
type postgres struct{}

// IsPostgres says whether an address names a PostgreSQL database.
func IsPostgres(address string) bool {
	return strings.HasPrefix(address, "postgres://") || strings.HasPrefix(address, "postgresql://")
}

func openPostgres(address string) (write, read *sql.DB, err error) {
	c, err := pgx.ParseConfig(address)
	if err != nil {
		return nil, nil, err
	}
	// Statements are prepared once for each connection: half the time of sending them anew. (A pooler in between must keep sessions.)
	c.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = 5 * time.Second
	}
	if c.RuntimeParams["application_name"] == "" {
		c.RuntimeParams["application_name"] = "yingda"
	}
	// A machine that is cut off in the middle of a transaction must not hold up the others: the server ends it. And a connection that went silent is noticed.
	if c.RuntimeParams["idle_in_transaction_session_timeout"] == "" {
		c.RuntimeParams["idle_in_transaction_session_timeout"] = "5000"
	}
	if c.RuntimeParams["tcp_user_timeout"] == "" {
		c.RuntimeParams["tcp_user_timeout"] = "10000"
	}
	c.DialFunc = patiently((&net.Dialer{Timeout: c.ConnectTimeout, KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 5 * time.Second, Interval: 2 * time.Second, Count: 3}, Control: unanswered}).DialContext)
	write, read = stdlib.OpenDB(*c), stdlib.OpenDB(*c)
	write.SetMaxOpenConns(4)
	read.SetMaxOpenConns(12)
	for _, db := range []*sql.DB{write, read} {
		db.SetMaxIdleConns(4)
		db.SetConnMaxIdleTime(time.Minute)
	}
	return write, read, nil
}

// unanswered ends a connection on which what was sent is not acknowledged for 10 s; the system alone takes a quarter of an hour to notice.
func unanswered(_, _ string, c syscall.RawConn) error {
	var err error
	outer := c.Control(func(fd uintptr) { err = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 10_000) })
	return errors.Join(outer, err)
}

// writers is the number of the advisory lock that transactions which write take for their time.
const writers = 0x79696e67 // "ying"

// begin lets those who write come one after the other, as they do on one machine: what a transaction reads stays true until it commits. Between schemas
// of one database (tests) the lock is another one.
func (postgres) begin(ctx context.Context, tx *sql.Tx) error {
	_, err := tx.ExecContext(ctx, "SELECT pg_advisory_xact_lock($1, hashtext(current_schema()))", int32(writers))
	return err
}

func (postgres) clock() string { return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)" }

func (postgres) tables() string {
	return "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema() AND table_type = 'BASE TABLE' AND table_name NOT LIKE 'goose_%'"
}

func (postgres) counted(ctx context.Context, tx *Tx) error {
	rows, err := tx.QueryContext(ctx, "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() AND is_identity = 'YES' AND table_name NOT LIKE 'goose_%'")
	if err != nil {
		return err
	}
	defer rows.Close()
	var set []string
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return err
		}
		set = append(set, "SELECT setval(pg_get_serial_sequence('"+table+"', '"+column+"'), (SELECT COALESCE(MAX("+column+"), 0) + 1 FROM "+table+"), false)")
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, q := range set {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

func (postgres) prepares() bool { return false }

// forget has nothing to do: the journal is the server's.
func (postgres) forget(context.Context, *sql.DB) error { return nil }

var said sync.Map // query with ? → query with $n; queries are written in the code, so there are only so many

// say numbers the arguments and gives them plain types: a bool is 0 or 1, an id is a string.
func (postgres) say(query string, args []any) (string, []any) {
	text, ok := said.Load(query)
	if !ok {
		text = numbered(query)
		said.Store(query, text)
	}
	plain := make([]any, len(args))
	for i, a := range args {
		plain[i] = plainArg(a)
	}
	return text.(string), plain
}

func plainArg(a any) any {
	if v, ok := a.(driver.Valuer); ok {
		if got, err := v.Value(); err == nil {
			return got
		}
		return a
	}
	v := reflect.ValueOf(a)
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			return int64(1)
		}
		return int64(0)
	case reflect.String:
		return strings.ReplaceAll(v.String(), "\x00", "") // which PostgreSQL cannot keep
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return v.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return int64(v.Uint())
	case reflect.Float32, reflect.Float64:
		return v.Float()
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return plainArg(v.Elem().Interface())
	}
	return a
}

// numbered puts $1, $2 … for each ? outside of quotes.
func numbered(query string) string {
	var b strings.Builder
	n, quote := 0, byte(0)
	for i := 0; i < len(query); i++ {
		c := query[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '?':
			n++
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(n))
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

func (postgres) migrations(db *sql.DB, dir fs.FS) (*goose.Provider, error) {
	locker, err := lock.NewPostgresSessionLocker() // nodes that start at once bring it up to date one after the other
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, spoken{dir}, goose.WithAllowOutofOrder(true), goose.WithSessionLocker(locker))
}

// spoken gives the migrations as PostgreSQL wants them.
type spoken struct{ fs.FS }

var types = []struct {
	from *regexp.Regexp
	to   string
}{
	{regexp.MustCompile(`\bINTEGER PRIMARY KEY AUTOINCREMENT`), "BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY"},
	{regexp.MustCompile(`\bINTEGER\b`), "BIGINT"},
	{regexp.MustCompile(`\bBLOB\b`), "BYTEA"},
	{regexp.MustCompile(`\bREAL\b`), "DOUBLE PRECISION"},
	{regexp.MustCompile(`\bTEXT\b`), `TEXT COLLATE "C"`}, // compared byte by byte, as SQLite does
}

func inPostgres(migration string) string {
	for _, t := range types {
		migration = t.from.ReplaceAllString(migration, t.to)
	}
	return migration
}

// Open gives a migration in translation.
func (s spoken) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, ".sql") {
		return f, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	raw, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	text := []byte(inPostgres(string(raw)))
	return &translated{bytes.NewReader(text), sized{info, int64(len(text))}}, nil
}

type translated struct {
	*bytes.Reader
	info fs.FileInfo
}

func (t *translated) Stat() (fs.FileInfo, error) { return t.info, nil }
func (t *translated) Close() error               { return nil }

type sized struct {
	fs.FileInfo
	size int64
}

func (s sized) Size() int64 { return s.size }
