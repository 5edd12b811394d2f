package store_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"yingda/internal/store"
	"yingda/internal/store/storetest"
)

// From a file to where the tests' tables are (PostgreSQL, when there is one) and back: every row of every table, bytes and references too, and numbers go on.
func TestCopy(t *testing.T) {
	ctx := t.Context()
	open := func(address string) *store.DB {
		db, err := store.Open(ctx, address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		return db
	}
	a, b, c := open(filepath.Join(t.TempDir(), "a.db")), open(storetest.Address(t, "")), open(filepath.Join(t.TempDir(), "c.db"))
	const rows = 450 // more than go with one statement
	err := a.Tx(ctx, func(tx *store.Tx) error {
		for i := range rows {
			if _, err := tx.ExecContext(ctx, "INSERT INTO outbox (id, at, event) VALUES (?, ?, ?)", fmt.Sprintf("contact/%d/1", i), i, []byte{0, 1, 0xff, byte(i)}); err != nil {
				return err
			}
		}
		for _, q := range []string{
			"DELETE FROM outbox WHERE row = 450", // numbers that were given never come again
			"INSERT INTO positions (grp, partition, pos) VALUES ('books', 3, 1234567890123)",
			"INSERT INTO vault (name, secret, made) VALUES ('caller', x'00ff10', 7)"} {
			if _, err := tx.ExecContext(ctx, q); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	all := func(db *store.DB) (list []string) {
		t.Helper()
		for _, q := range []string{"SELECT row, id, event FROM outbox ORDER BY row", "SELECT pos, grp, partition FROM positions", "SELECT made, name, secret FROM vault"} {
			rows, err := db.Query(ctx, q)
			if err != nil {
				t.Fatal(err)
			}
			for rows.Next() {
				var n int64
				var s string
				var v any
				if err := rows.Scan(&n, &s, &v); err != nil {
					t.Fatal(err)
				}
				list = append(list, fmt.Sprintf("%d %s %v", n, s, v))
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				t.Fatal(err)
			}
		}
		return list
	}
	counted := map[string]int64{}
	if err := a.Copy(ctx, b, func(c store.Copied) { counted[c.Table] = c.Rows }); err != nil {
		t.Fatal(err)
	}
	if counted["outbox"] != rows-1 || counted["positions"] != 1 || counted["vault"] != 1 {
		t.Errorf("copied %v", counted)
	}
	if err := b.Copy(ctx, c, nil); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprint(all(a))
	if got := fmt.Sprint(all(b)); got != want {
		t.Errorf("there: %.200s\nwant: %.200s", got, want)
	}
	if got := fmt.Sprint(all(c)); got != want {
		t.Errorf("and back: %.200s\nwant: %.200s", got, want)
	}
	for _, db := range []*store.DB{b, c} {
		var row int64
		err := db.Tx(ctx, func(tx *store.Tx) error {
			return tx.QueryRowContext(ctx, "INSERT INTO outbox (id, at, event) VALUES ('contact/new/1', 1, ?) RETURNING row", []byte{0}).Scan(&row)
		})
		if err != nil || row < rows {
			t.Errorf("the next row has the number %d, %v", row, err)
		}
	}
	if err := a.Copy(ctx, c, nil); !errors.Is(err, store.ErrNotEmpty) {
		t.Errorf("over what is there: %v", err)
	}
}
