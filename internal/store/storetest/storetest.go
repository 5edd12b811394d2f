// Package storetest says where the tables of a test are: an SQLite file of its own, or, when YINGDA_TEST_POSTGRES names a database, a schema of its own there.
//
// So every package that keeps tables is tested on both with the same tests: `make test` runs them on SQLite, `make test-services` on PostgreSQL too.
//
// What it does not do: it starts no server.
package storetest

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
)

// Address is where the tables of a test are. path is used when it is an SQLite file, "" takes one in a folder that goes away with the test; the
// same path gives the same tables again.
func Address(t testing.TB, path string) string {
	t.Helper()
	if path == "" {
		path = filepath.Join(t.TempDir(), "store.db")
	}
	server := os.Getenv("YINGDA_TEST_POSTGRES")
	if server == "" {
		return path
	}
	sum := sha256.Sum256([]byte(path))
	schema := "t" + hex.EncodeToString(sum[:8])
	db, err := sql.Open("pgx", server)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.ExecContext(t.Context(), "CREATE SCHEMA IF NOT EXISTS "+schema); err != nil {
		t.Fatalf("PostgreSQL for tests: %v", err)
	}
	t.Cleanup(func() {
		if _, err := db.ExecContext(context.Background(), "DROP SCHEMA IF EXISTS "+schema+" CASCADE"); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}
