package casebook

import (
	"context"
	"fmt"
	"strings"
	"time"

	"yingda/internal/store"
	"yingda/routing"
)

// List gives the cases that the filter takes.
func (b *Book) List(ctx context.Context, f Filter) ([]routing.Case, error) {
	var where []string
	var args []any
	in := func(column string, values []string) {
		if len(values) > 0 {
			where = append(where, column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")")
			for _, v := range values {
				args = append(args, v)
			}
		}
	}
	grids := texts(f.Grids)
	if f.Worker != "" {
		for _, g := range b.Registry().Grids() {
			if g.User == f.Worker {
				grids = append(grids, g.Code)
			}
		}
		if len(grids) == 0 {
			return nil, nil
		}
	}
	in("grid", grids)
	in("state", texts(f.States))
	if f.Department != "" {
		in("department", []string{f.Department})
	}
	if f.Category != "" {
		in("category", []string{f.Category})
	}
	if f.Source != "" {
		in("source", []string{f.Source})
	}
	if f.Callback != "" {
		in("callback", []string{string(f.Callback)})
	}
	if f.Open {
		where, args = append(where, "state <> ?"), append(args, string(routing.Closed))
	}
	if !f.DueBefore.IsZero() {
		where = append(where, "deadline > 0 AND deadline < ? AND state NOT IN (?, ?)")
		args = append(args, store.Millis(f.DueBefore), string(routing.Closed), string(routing.Answered))
	}
	if !f.OpenedFrom.IsZero() {
		where, args = append(where, "opened >= ?"), append(args, store.Millis(f.OpenedFrom))
	}
	if !f.OpenedTo.IsZero() {
		where, args = append(where, "opened < ?"), append(args, store.Millis(f.OpenedTo))
	}
	query := "SELECT data FROM cases"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	if f.Newest {
		query += " ORDER BY opened DESC, id"
	} else {
		query += " ORDER BY CASE WHEN deadline = 0 THEN 1 ELSE 0 END, deadline, id"
	}
	limit := f.Limit
	if limit <= 0 {
		limit = 100
	}
	return b.many(ctx, query+" LIMIT ? OFFSET ?", append(args, min(limit, 1000), max(f.Offset, 0))...)
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// Counts says how each grid stands: open, overdue at now, closed in from ≤ t < to. Grids without a case are not in it; "" is that of cases without a grid.
func (b *Book) Counts(ctx context.Context, now, from, to time.Time) ([]GridCount, error) {
	rows, err := b.config.Store.Query(ctx, `SELECT grid, SUM(CASE WHEN state <> ? THEN 1 ELSE 0 END),
		SUM(CASE WHEN state NOT IN (?, ?) AND deadline > 0 AND deadline < ? THEN 1 ELSE 0 END), SUM(CASE WHEN closed >= ? AND closed < ? AND closed > 0 THEN 1 ELSE 0 END)
		FROM cases GROUP BY grid ORDER BY grid`, string(routing.Closed), string(routing.Closed), string(routing.Answered), store.Millis(now), store.Millis(from), store.Millis(to))
	if err != nil {
		return nil, fmt.Errorf("casebook: %w", err)
	}
	defer rows.Close()
	var list []GridCount
	for rows.Next() {
		var g GridCount
		if err := rows.Scan(&g.Grid, &g.Open, &g.Overdue, &g.Closed); err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, rows.Err()
}
