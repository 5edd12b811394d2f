package store

import (
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Passing says whether an error is of the place and not of what was to be written there: a disk that is full or does not write, a lock, a server that is away, short of something or
// being ended, transactions in each other's way. What failed like this is tried again, for as long as it takes.
//
// Of SQLite these are the result codes FULL, IOERR, BUSY, LOCKED, CANTOPEN, READONLY, NOMEM, CORRUPT and NOTADB; of PostgreSQL the classes 08, 25, 40, 53, 55, 57 and 58 of its error
// codes, and whatever never got an answer.
func Passing(err error) bool {
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_NOMEM,
			sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB:
			return true
		}
		return false
	}
	var p *pgconn.PgError
	if errors.As(err, &p) {
		for _, class := range []string{"08", "25", "40", "53", "55", "57", "58"} {
			if strings.HasPrefix(p.Code, class) {
				return true
			}
		}
		return false
	}
	var c *pgconn.ConnectError
	return errors.As(err, &c)
}
