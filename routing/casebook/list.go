package casebook

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/internal/store"
	"yingda/routing"
	"yingda/routing/grid"
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

// How alike two matters are: same category, close by, open within a month; ranked by the words they share.
const (
	alikeWithin = 30 * 24 * time.Hour
	alikeMeters = 300
	alikeMost   = 5
)

// Similar proposes cases that may be about the same matter. It merges nothing: a person attaches.
func (b *Book) Similar(ctx context.Context, o OpenCase) ([]Alike, error) {
	found, decision := b.decide(o)
	category := cmp.Or(o.Category, decision.Category)
	list, err := b.List(ctx, Filter{Open: true, OpenedFrom: b.now().Add(-alikeWithin), Category: category, Newest: true, Limit: 400})
	if err != nil {
		return nil, err
	}
	words := bigrams(o.Words.Reveal())
	df := map[string]int{}
	sets := make([]map[string]bool, len(list))
	for i, c := range list {
		sets[i] = bigrams(c.Words.Reveal())
		for g := range sets[i] {
			df[g]++
		}
	}
	weight := func(g string) float64 { return math.Log(1 + float64(len(list)+1)/float64(1+df[g])) }
	var out []Alike
	for i, c := range list {
		why, near := nearBy(found, o.Place, c)
		if !near {
			continue
		}
		var both, all float64
		for g := range sets[i] {
			if words[g] {
				both += weight(g)
			}
			all += weight(g)
		}
		for g := range words {
			if !sets[i][g] {
				all += weight(g)
			}
		}
		if all > 0 && both > 0 {
			out = append(out, Alike{Case: c, Score: both / all, Why: why})
		}
	}
	slices.SortFunc(out, func(x, y Alike) int { return cmp.Or(cmp.Compare(y.Score, x.Score), cmp.Compare(x.Case.ID, y.Case.ID)) })
	return out[:min(len(out), alikeMost)], nil
}

// nearBy says whether a case is in the same grid or within 300 m, and how.
func nearBy(found routing.Found, place *intake.Place, c routing.Case) (string, bool) {
	if found.Grid != "" && found.Grid == c.Grid {
		return "同一网格", true
	}
	if place != nil && c.Place != nil {
		if d := grid.Distance(*place, *c.Place); d <= alikeMeters {
			return fmt.Sprintf("相距 %.0f 米", d), true
		}
	}
	return "", false
}

func bigrams(s string) map[string]bool {
	m := map[string]bool{}
	var last rune
	for _, r := range s {
		if last > 0x2e80 && r > 0x2e80 {
			m[string([]rune{last, r})] = true
		}
		last = r
	}
	return m
}
