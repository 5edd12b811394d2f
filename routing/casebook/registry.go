package casebook

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/paulmach/orb"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/routing"
	"yingda/routing/grid"
)

// versions are the registries that are in force or will be, the newest first. The last is in force when none before it is.
type versions struct{ list []*grid.Registry }

// Registry in force now; one without areas when none was ever saved.
func (b *Book) Registry() *grid.Registry {
	v := b.registry.Load()
	now := b.config.Now()
	for _, r := range v.list {
		if r.Valid(now) {
			return r
		}
	}
	return v.list[len(v.list)-1]
}

// SaveRegistry keeps a version of the areas, with its event in the same transaction. It is in force from its first day of validity on. A grid
// whose worker stays the same keeps the worker's account when the new version names none.
func (b *Book) SaveRegistry(ctx context.Context, r *grid.Registry, refusedRows int, by intake.UserID) error {
	p := r.Parts()
	before := b.Registry()
	layout, err := json.Marshal(p.Layout)
	if err != nil {
		return err
	}
	now := b.now()
	err = b.config.Store.Tx(ctx, func(tx *store.Tx) error {
		var row int64
		err := tx.QueryRowContext(ctx, "INSERT INTO registries (version, valid_from, valid_until, layout, at, by_who) VALUES (?, ?, ?, ?, ?, ?) RETURNING row",
			p.Version, store.Millis(p.From), store.Millis(p.Until), string(layout), store.Millis(now), string(by)).Scan(&row)
		if err != nil {
			return err
		}
		for _, a := range p.Areas {
			if old, ok := before.Area(a.Code); ok && a.User == "" && old.Worker == a.Worker {
				a.User = old.User
			}
			shape := ""
			if mp, ok := p.Shapes[a.Code]; ok {
				shape = grid.FormatShape(mp)
			}
			_, err := tx.ExecContext(ctx, `INSERT INTO areas (registry, code, level, name, aliases, parent, worker, phone, account, households, shape) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				row, a.Code, string(a.Level), a.Name, words(a.Aliases), a.Parent, a.Worker.Reveal(), a.Phone.Reveal(), string(a.User), a.Households, shape)
			if err != nil {
				return err
			}
		}
		for i, e := range p.Entries {
			_, err := tx.ExecContext(ctx, `INSERT INTO gazetteer (registry, row, kind, name, aliases, grid, from_no, to_no, parity) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
				row, i, string(e.Kind), e.Name, words(e.Aliases), string(e.Grid), e.From, e.To, e.Parity)
			if err != nil {
				return err
			}
		}
		subject := intake.Subject("grid/" + b.config.NewID()) // each import is a subject of its own
		return tx.Emit(ctx, intake.Event{Source: b.config.Source, Subject: subject, Sequence: intake.NewSequence(b.config.Epoch, 1), Time: now, PartitionKey: string(subject),
			Data: &intake.GridImportedV1{Version: p.Version, Rows: len(p.Areas), Refused: refusedRows}})
	})
	if err != nil {
		return fmt.Errorf("casebook: %w", err)
	}
	return b.loadRegistry(ctx)
}

func words(list []string) string {
	if len(list) == 0 {
		return "[]"
	}
	raw, err := json.Marshal(list)
	if err != nil {
		panic(err) // strings always marshal
	}
	return string(raw)
}

// Refresh reads the registries anew when another process has saved one, and says whether it has.
func (b *Book) Refresh(ctx context.Context) (bool, error) {
	var newest int64
	if err := b.config.Store.QueryRow(ctx, "SELECT COALESCE(MAX(row), 0) FROM registries").Scan(&newest); err != nil {
		return false, fmt.Errorf("casebook: %w", err)
	}
	if newest == b.newest.Load() {
		return false, nil
	}
	return true, b.loadRegistry(ctx)
}

// loadRegistry reads the versions from the newest back to the one that is in force now.
func (b *Book) loadRegistry(ctx context.Context) error {
	empty, err := grid.Build(grid.Parts{Layout: grid.GBT30428})
	if err != nil {
		return err
	}
	rows, err := b.config.Store.Query(ctx, "SELECT row, version, valid_from, valid_until, layout FROM registries ORDER BY row DESC")
	if err != nil {
		return fmt.Errorf("casebook: %w", err)
	}
	defer rows.Close()
	now := b.config.Now()
	type version struct {
		row   int64
		parts grid.Parts
	}
	var wanted []version
	for rows.Next() {
		var v version
		var from, until int64
		var layout []byte
		if err := rows.Scan(&v.row, &v.parts.Version, &from, &until, &layout); err != nil {
			return fmt.Errorf("casebook: %w", err)
		}
		v.parts.From, v.parts.Until = store.Time(from), store.Time(until)
		if v.parts.Layout, err = grid.ParseLayout(layout); err != nil {
			return fmt.Errorf("casebook: registry %s: %w", v.parts.Version, err)
		}
		wanted = append(wanted, v)
		if !now.Before(v.parts.From) && (v.parts.Until.IsZero() || now.Before(v.parts.Until)) {
			break
		}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("casebook: %w", err)
	}
	if err := rows.Close(); err != nil {
		return fmt.Errorf("casebook: %w", err)
	}
	all := &versions{}
	var newest int64
	for _, v := range wanted {
		newest = max(newest, v.row)
		r, err := b.readRegistry(ctx, v.row, v.parts)
		if err != nil {
			return fmt.Errorf("casebook: registry %s: %w", v.parts.Version, err)
		}
		all.list = append(all.list, r)
	}
	if len(all.list) == 0 {
		all.list = append(all.list, empty)
	}
	b.registry.Store(all)
	b.newest.Store(newest)
	return nil
}

func (b *Book) readRegistry(ctx context.Context, row int64, p grid.Parts) (*grid.Registry, error) {
	p.Shapes = map[string]orb.MultiPolygon{}
	err := b.each(ctx, func(s scanner) error {
		var a routing.Area
		var level, aliases, worker, phone, shape string
		if err := s.Scan(&a.Code, &level, &a.Name, &aliases, &a.Parent, &worker, &phone, &a.User, &a.Households, &shape); err != nil {
			return err
		}
		a.Level, a.Worker, a.Phone = routing.Level(level), pii.NewName(worker), pii.NewPhone(phone)
		if err := json.Unmarshal([]byte(aliases), &a.Aliases); err != nil {
			return fmt.Errorf("aliases of %s: %w", a.Code, err)
		}
		if shape != "" {
			mp, err := grid.ReadShape([]byte(shape))
			if err != nil {
				return fmt.Errorf("shape of %s: %w", a.Code, err)
			}
			p.Shapes[a.Code] = mp
		}
		p.Areas = append(p.Areas, a)
		return nil
	}, "SELECT code, level, name, aliases, parent, worker, phone, account, households, shape FROM areas WHERE registry = ? ORDER BY code", row)
	if err != nil {
		return nil, err
	}
	err = b.each(ctx, func(s scanner) error {
		var e grid.Entry
		var aliases string
		if err := s.Scan(&e.Kind, &e.Name, &aliases, &e.Grid, &e.From, &e.To, &e.Parity); err != nil {
			return err
		}
		if err := json.Unmarshal([]byte(aliases), &e.Aliases); err != nil {
			return fmt.Errorf("aliases of %s: %w", e.Name, err)
		}
		p.Entries = append(p.Entries, e)
		return nil
	}, "SELECT kind, name, aliases, grid, from_no, to_no, parity FROM gazetteer WHERE registry = ? ORDER BY row", row)
	if err != nil {
		return nil, err
	}
	return grid.Build(p)
}

// each hands on every row of a query.
func (b *Book) each(ctx context.Context, f func(scanner) error, query string, args ...any) error {
	rows, err := b.config.Store.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := f(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Imports lists what was imported when, newest first.
func (b *Book) Imports(ctx context.Context) ([]Imported, error) {
	var list []Imported
	err := b.each(ctx, func(s scanner) error {
		var i Imported
		var from, until, at int64
		if err := s.Scan(&i.Version, &from, &until, &at, &i.By, &i.Areas, &i.Shapes); err != nil {
			return err
		}
		i.From, i.Until, i.At = store.Time(from), store.Time(until), store.Time(at)
		list = append(list, i)
		return nil
	}, `SELECT r.version, r.valid_from, r.valid_until, r.at, r.by_who, (SELECT COUNT(*) FROM areas a WHERE a.registry = r.row), (SELECT COUNT(*) FROM areas a WHERE a.registry = r.row AND a.shape <> '')
		FROM registries r ORDER BY r.row DESC`)
	return list, err
}

// Imported is one version of the registry.
type Imported struct {
	Version       string
	From, Until   time.Time
	At            time.Time
	By            intake.UserID
	Areas, Shapes int
}
