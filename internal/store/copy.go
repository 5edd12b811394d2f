package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNotEmpty says that there is something already where tables were to be copied to.
var ErrNotEmpty = errors.New("store: there is something in the tables already")

// Copied says what Copy has done.
type Copied struct {
	Table string
	Rows  int64
}

// Copy puts every row of these tables into another database, of the other kind or the same, whose tables are empty. It is one transaction there; nobody may write here
// meanwhile. Both have the schema of this program, since both were opened by it.
func (d *DB) Copy(ctx context.Context, to *DB, each func(Copied)) error {
	names, err := d.names(ctx)
	if err != nil {
		return err
	}
	theirs, err := to.names(ctx)
	if err != nil {
		return err
	}
	if !slices.Equal(names, theirs) {
		return fmt.Errorf("store: the tables differ: %v here, %v there", names, theirs)
	}
	return to.Tx(ctx, func(tx *Tx) error {
		for _, name := range names {
			var one int
			err := tx.QueryRowContext(ctx, "SELECT 1 FROM "+name+" LIMIT 1").Scan(&one)
			if err == nil {
				return fmt.Errorf("%w: %s has rows; name an empty database", ErrNotEmpty, name)
			}
			if !errors.Is(err, sql.ErrNoRows) {
				return err
			}
		}
		for _, name := range names {
			n, err := d.copyTable(ctx, tx, name)
			if err != nil {
				return fmt.Errorf("table %s: %w", name, err)
			}
			if each != nil && n > 0 {
				each(Copied{name, n})
			}
		}
		return to.dialect.counted(ctx, tx)
	})
}

// copyRows is how many rows go with one statement: few enough for the arguments that one may have (SQLite: 32,766).
const copyRows = 200

func (d *DB) copyTable(ctx context.Context, tx *Tx, name string) (int64, error) {
	rows, err := d.Query(ctx, "SELECT * FROM "+name)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return 0, err
	}
	one := "(" + strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ") + ")"
	head := "INSERT INTO " + name + " (" + strings.Join(columns, ", ") + ") VALUES "
	most := max(1, min(copyRows, 30_000/len(columns)))
	var args []any
	var n int64
	flush := func() error {
		if len(args) == 0 {
			return nil
		}
		count := len(args) / len(columns)
		_, err := tx.ExecContext(ctx, head+strings.TrimSuffix(strings.Repeat(one+", ", count), ", "), args...)
		n += int64(count)
		args = args[:0]
		return err
	}
	for rows.Next() {
		values := make([]any, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return n, err
		}
		args = append(args, values...)
		if len(args) == most*len(columns) {
			if err := flush(); err != nil {
				return n, err
			}
		}
	}
	return n, errors.Join(rows.Err(), flush())
}

// names of our tables, in an order.
func (d *DB) names(ctx context.Context) ([]string, error) {
	rows, err := d.Query(ctx, d.dialect.tables())
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
	slices.Sort(list)
	if i := slices.Index(list, "users"); i > 0 { // others refer to them
		list = slices.Insert(slices.Delete(list, i, i+1), 0, "users")
	}
	return list, rows.Err()
}
