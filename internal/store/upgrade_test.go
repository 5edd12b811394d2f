package store

import (
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"yingda/internal/store/storetest"
)

// raw opens an address without bringing anything up to date.
func raw(t *testing.T, address string) *DB {
	t.Helper()
	d, err := connect(address)
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// list gives what a query finds, a row a string.
func list(t *testing.T, d *DB, query string) (found []string) {
	t.Helper()
	rows, err := d.Query(t.Context(), query)
	must(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	must(t, err)
	for rows.Next() {
		values, into := make([]any, len(columns)), make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		must(t, rows.Scan(into...))
		for i, v := range values {
			if b, ok := v.([]byte); ok {
				values[i] = fmt.Sprintf("%x", b)
			}
		}
		found = append(found, strings.TrimSpace(fmt.Sprintln(values...)))
	}
	must(t, rows.Err())
	return found
}

// released gives the migrations that the tables of the release before had.
func released(t *testing.T, d *DB) fstest.MapFS {
	t.Helper()
	before := fstest.MapFS{}
	have := list(t, d, "SELECT version_id FROM goose_db_version WHERE version_id > 0 AND is_applied = 1")
	must(t, fs.WalkDir(migrations, "migrations", func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		number, _, _ := strings.Cut(e.Name(), "_")
		n, err := strconv.Atoi(number)
		if err != nil || !slices.Contains(have, strconv.Itoa(n)) {
			return err
		}
		text, err := migrations.ReadFile(path)
		before[e.Name()] = &fstest.MapFile{Data: text}
		return err
	}))
	if len(before) != len(have) {
		t.Fatalf("the release before had %d migrations, of which %d are still here: what is out there must stay", len(have), len(before))
	}
	return before
}

// shape is the schema as its database tells it.
func shape(t *testing.T, d *DB) []string {
	t.Helper()
	if d.dialect == (inFile{}) {
		return list(t, d, "SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' AND name NOT LIKE 'goose_%' ORDER BY name")
	}
	columns := list(t, d, "SELECT table_name, column_name, data_type, collation_name, is_nullable, column_default, is_identity FROM information_schema.columns WHERE table_schema = current_schema() AND table_name NOT LIKE 'goose_%' ORDER BY 1, 2")
	indexes := list(t, d, "SELECT tablename, replace(indexdef, current_schema(), '') FROM pg_indexes WHERE schemaname = current_schema() AND tablename NOT LIKE 'goose_%' ORDER BY 1, 2")
	return append(columns, indexes...)
}

// same says where two lists part.
func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		switch {
		case i >= len(got):
			t.Errorf("%s: %q is missing", what, want[i])
		case i >= len(want):
			t.Errorf("%s: %q should not be there", what, got[i])
		case got[i] != want[i]:
			t.Errorf("%s:\n got %q\nwant %q", what, got[i], want[i])
		default:
			continue
		}
		return
	}
}

// TestUpgrade: the tables that the release before left, with everything in them, are those of today after they were opened, and nothing in them is gone or
// another: on SQLite the file itself, on PostgreSQL tables that were made by the same migrations, with the same rows.
func TestUpgrade(t *testing.T) {
	ctx := t.Context()
	file := filepath.Join(storetest.Previous(t), "yingda.db")
	left := raw(t, filepath.Join(storetest.Previous(t), "yingda.db")) // to look into; it stays as it was
	before := released(t, left)

	anew := raw(t, filepath.Join(t.TempDir(), "anew.db"))
	must(t, anew.migrate(ctx, before))
	same(t, "a migration that went out was changed afterwards, and nobody who has it gets the change", shape(t, anew), shape(t, left))

	address := storetest.Address(t, file)
	if IsPostgres(address) {
		there := raw(t, address)
		must(t, there.migrate(ctx, before))
		must(t, left.Copy(ctx, there, nil))
	}
	now, fresh := openAt(t, address), openAt(t, storetest.Address(t, ""))
	same(t, "schema", shape(t, now), shape(t, fresh))

	names, err := left.names(ctx)
	must(t, err)
	rows := 0
	for _, name := range names {
		columns := strings.Join(columnsOf(t, left, name), ", ")
		q := "SELECT " + columns + " FROM " + name
		want, got := list(t, left, q), list(t, now, q)
		slices.Sort(want)
		slices.Sort(got)
		same(t, name, got, want)
		rows += len(got)
	}
	if rows < 1500 || len(names) < 40 {
		t.Errorf("%d rows in %d tables were there before: that is not the office that was left", rows, len(names))
	}
	// Numbers that a table gives go on after those that were given.
	given := list(t, left, "SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")
	must(t, now.Tx(ctx, func(tx *Tx) error { return tx.Emit(ctx, event(1)) }))
	if _, rows := outbox(t, now, 10); len(rows) != 1 || len(given) != 1 || IsPostgres(address) && rows[0] < 1 || !IsPostgres(address) && fmt.Sprint(rows[0]-1) != given[0] {
		t.Errorf("the outbox has %v after %v", rows, given)
	}
}

func columnsOf(t *testing.T, d *DB, table string) []string {
	t.Helper()
	rows, err := d.Query(t.Context(), "SELECT * FROM "+table+" LIMIT 0")
	must(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	must(t, err)
	return columns
}
