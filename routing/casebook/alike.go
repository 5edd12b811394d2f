package casebook

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"yingda/intake"
	"yingda/internal/store"
	"yingda/routing"
	"yingda/routing/grid"
)

// How alike two matters are: same category, same grid or within 300 m, open or opened within a month; ranked by the words they
// share, each worth the more the rarer it is. A closed one counts less, and is still shown: the resident may have phoned about it before.
const (
	alikeWithin = 30 * 24 * time.Hour
	alikeMeters = 300
	alikeMost   = 5
	alikeRead   = 500 // cases that are compared
	alikeClosed = 0.8
	alikeLeast  = 0.02
)

// Similar proposes cases that may be about the same matter, the most alike first. It merges nothing: a person attaches.
func (b *Book) Similar(ctx context.Context, o OpenCase) ([]Alike, error) {
	found, decision := b.Decide(o)
	if o.Grid != "" {
		found.Grid = o.Grid
	}
	if found.Grid == "" && o.Place == nil {
		return nil, nil
	}
	query, args := "SELECT data FROM cases WHERE (opened >= ? OR state <> ?)", []any{store.Millis(b.now().Add(-alikeWithin)), string(routing.Closed)}
	if category := cmp.Or(o.Category, decision.Category); category != "" {
		query, args = query+" AND category = ?", append(args, category)
	}
	if o.Place != nil {
		north := float64(alikeMeters) / 111_000
		east := north / max(0.01, math.Cos(o.Place.Lat*math.Pi/180))
		query += " AND (grid = ? OR lat BETWEEN ? AND ? AND lon BETWEEN ? AND ?)"
		args = append(args, string(found.Grid), o.Place.Lat-north, o.Place.Lat+north, o.Place.Lon-east, o.Place.Lon+east)
	} else {
		query, args = query+" AND grid = ?", append(args, string(found.Grid))
	}
	list, err := b.many(ctx, query+" ORDER BY opened DESC LIMIT ?", append(args, alikeRead)...)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(list))
	for i, c := range list {
		texts[i] = c.Words.Reveal()
	}
	var out []Alike
	for i, score := range scores(o.Words.Reveal(), texts) {
		c := list[i]
		why, near := nearBy(found, o.Place, c)
		if c.State == routing.Closed {
			score *= alikeClosed
		}
		if near && score >= alikeLeast {
			out = append(out, Alike{Case: c, Score: score, Why: why})
		}
	}
	slices.SortFunc(out, func(x, y Alike) int {
		return cmp.Or(cmp.Compare(y.Score, x.Score), y.Case.Opened.Compare(x.Case.Opened), cmp.Compare(x.Case.ID, y.Case.ID))
	})
	return out[:min(len(out), alikeMost)], nil
}

// nearBy says whether a case is in the same grid or within 300 m, and how.
func nearBy(found routing.Found, place *intake.Place, c routing.Case) (string, bool) {
	if place != nil && c.Place != nil {
		if d := grid.Distance(*place, *c.Place); d <= alikeMeters {
			return fmt.Sprintf("相距 %.0f 米", d), true
		}
	}
	return "同一网格", found.Grid != "" && found.Grid == c.Grid
}

// scores gives for each text how alike it is to words, 0 … 1: the weight of the pairs of characters in both over that of
// those in either. A pair weighs log(1 + N/n), n of N texts having it.
func scores(words string, texts []string) []float64 {
	mine := bigrams(words)
	sets := make([]map[string]bool, len(texts))
	seen := map[string]int{}
	for i, t := range texts {
		sets[i] = bigrams(t)
		for g := range sets[i] {
			seen[g]++
		}
	}
	for g := range mine {
		seen[g]++
	}
	weight := func(g string) float64 { return math.Log1p(float64(len(texts)+1) / float64(seen[g])) }
	out := make([]float64, len(texts))
	for i, set := range sets {
		var both, either float64
		for g := range set {
			w := weight(g)
			either += w
			if mine[g] {
				both += w
			}
		}
		for g := range mine {
			if !set[g] {
				either += weight(g)
			}
		}
		if either > 0 {
			out[i] = both / either
		}
	}
	return out
}

// bigrams are the pairs of neighbouring characters within words: Han characters two by two, runs of letters and digits as a whole.
func bigrams(s string) map[string]bool {
	m := map[string]bool{}
	var run []rune
	flush := func() {
		if len(run) > 0 {
			m[string(run)] = true
			run = run[:0]
		}
	}
	var last rune
	for _, r := range strings.ToLower(s) {
		switch {
		case unicode.Is(unicode.Han, r):
			flush()
			if last != 0 {
				m[string([]rune{last, r})] = true
			}
			last = r
			continue
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			run = append(run, r)
		default:
			flush()
		}
		last = 0
	}
	flush()
	return m
}
