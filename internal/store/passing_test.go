package store

import (
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestPassing(t *testing.T) {
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "small.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	do := func(q string, args ...any) error {
		_, err := db.ExecContext(t.Context(), q, args...)
		return err
	}
	if err := errors.Join(do("CREATE TABLE t (a INTEGER PRIMARY KEY, b BLOB)"), do("INSERT INTO t VALUES (1, NULL)"), do("PRAGMA max_page_count = 4")); err != nil {
		t.Fatal(err)
	}
	full, twice := do("INSERT INTO t VALUES (2, zeroblob(100000))"), do("INSERT INTO t VALUES (1, NULL)")
	for _, c := range []struct {
		err  error
		want bool
	}{
		{full, true}, {twice, false}, {nil, false}, {errors.New("not this one"), false},
		{fmt.Errorf("commit: %w", full), true},
		{&pgconn.PgError{Code: "53100"}, true}, {&pgconn.PgError{Code: "57P01"}, true}, {&pgconn.PgError{Code: "40001"}, true}, {&pgconn.PgError{Code: "25006"}, true},
		{&pgconn.PgError{Code: "23505"}, false}, {&pgconn.PgError{Code: "22021"}, false}, {&pgconn.PgError{Code: "P0001"}, false},
	} {
		if got := Passing(c.err); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
	if full == nil || twice == nil {
		t.Error("SQLite took what it should not have")
	}
}
