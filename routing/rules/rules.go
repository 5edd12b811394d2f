// Package rules says who has to see to a matter and until when: a tree of rules that the office keeps as data.
//
// A rule has conditions (when), what follows from them (then) and finer rules below it. Decide walks from the top: the first
// rule that holds is entered, its finer rules are tried in the same way, and what a finer rule does not say it has from
// the ones above. The decision names the way it took, "utilities/night", so that everybody can see why.
//
// Use: Parse a file (YAML or JSON; every mistake is named with its line and path), or Default; Decide for each matter.
// A Set never changes and may be used by many goroutines.
//
// What it does not do: it finds no grid (the facts bring what was found), and it writes nothing.
package rules

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/routing"
)

// Set is an office's rules, categories, departments and calendar.
type Set struct {
	Version     string
	Categories  []routing.Category
	Departments []routing.Department
	Calendar    *Calendar
	rules       []rule
}

// rule is one node of the tree.
type rule struct {
	id, title string
	when      condition
	then      action
	below     []rule
}

// condition holds when every field that is set holds; of several values of a field one is enough.
type condition struct {
	source, category, channel, line, grid, community, street []string
	words, without                                           []string
	hours                                                    []span // of the day, office time
	workday, callback, older, answered                       *bool
	unsure                                                   int // confidence of the grid below this; 0: not asked
}

// span of minutes of the day, from and up to before; to may lie past midnight.
type span struct{ from, to int }

// action is what a rule says; what is nil or empty it leaves to the rules above.
type action struct {
	to         string // "grid" or "department"
	department *string
	grid       *string
	category   string
	deadline   *Within
	opens      *bool
}

// Within is a deadline as a rule has it: calendar time, or working days. Zero: none.
type Within struct {
	Duration time.Duration
	Days     int    // working days
	text     string // as written
}

// String is the deadline as it was written: "2h", "3wd", "none".
func (w Within) String() string { return w.text }

// Decide says what the first rule along the tree says. No rule at all holds only in a Set without a last rule without conditions, which
// Parse refuses.
func (s *Set) Decide(now time.Time, f routing.Facts) routing.Decision {
	local := now.In(s.Calendar.Location)
	words := squeeze(f.Words.Reveal())
	var path []string
	var d routing.Decision
	var merged action
	level := s.rules
	for {
		i := slices.IndexFunc(level, func(r rule) bool { return r.when.holds(s, local, words, f) })
		if i < 0 {
			break
		}
		r := level[i]
		path = append(path, r.id)
		merged = merged.with(r.then)
		if r.title != "" {
			d.Why = r.title
		}
		level = r.below
	}
	d.Rule = strings.Join(path, "/")
	d.Category = merged.category
	if merged.grid != nil {
		d.Grid = intake.GridID(*merged.grid)
	}
	if merged.to == "department" && merged.department != nil {
		d.Department = *merged.department
	}
	if merged.deadline != nil {
		d.Within = merged.deadline.text
		d.Deadline = s.Calendar.Add(now, *merged.deadline)
	}
	d.Opens = merged.opens != nil && *merged.opens
	return d
}

// with lays a finer action over a.
func (a action) with(b action) action {
	if b.to != "" {
		a.to = b.to
	}
	if b.department != nil {
		a.department, a.to = b.department, "department"
	}
	if b.grid != nil {
		a.grid, a.to = b.grid, "grid"
	}
	if b.category != "" {
		a.category = b.category
	}
	if b.deadline != nil {
		a.deadline = b.deadline
	}
	if b.opens != nil {
		a.opens = b.opens
	}
	return a
}

func (c condition) holds(s *Set, local time.Time, words string, f routing.Facts) bool {
	one := func(want []string, have string) bool { return len(want) == 0 || slices.Contains(want, have) }
	flag := func(want *bool, have bool) bool { return want == nil || *want == have }
	contains := func(list []string) bool {
		return slices.ContainsFunc(list, func(w string) bool { return strings.Contains(words, w) })
	}
	switch {
	case !one(c.source, f.Source), !one(c.channel, string(f.Channel)), !one(c.line, string(f.Line)), !one(c.grid, string(f.Found.Grid)),
		!one(c.community, f.Found.Community), !one(c.street, f.Street):
		return false
	case len(c.category) > 0 && !slices.Contains(c.category, f.Category) && !slices.Contains(c.category, s.group(f.Category)):
		return false
	case len(c.words) > 0 && !contains(c.words), contains(c.without):
		return false
	case !flag(c.callback, f.Callback), !flag(c.older, f.Older), !flag(c.answered, f.SelfClosed), !flag(c.workday, s.Calendar.Workday(local)):
		return false
	case c.unsure > 0 && f.Found.Confidence >= c.unsure:
		return false
	}
	if len(c.hours) == 0 {
		return true
	}
	minute := local.Hour()*60 + local.Minute()
	return slices.ContainsFunc(c.hours, func(h span) bool {
		return h.from <= minute && minute < h.to || h.to > 24*60 && minute < h.to-24*60
	})
}

func (s *Set) group(category string) string {
	for _, c := range s.Categories {
		if c.Code == category {
			return c.Group
		}
	}
	return ""
}

// Category and Department look one up by its code.
func (s *Set) Category(code string) (routing.Category, bool) {
	i := slices.IndexFunc(s.Categories, func(c routing.Category) bool { return c.Code == code })
	if i < 0 {
		return routing.Category{}, false
	}
	return s.Categories[i], true
}

func (s *Set) Department(code string) (routing.Department, bool) {
	i := slices.IndexFunc(s.Departments, func(d routing.Department) bool { return d.Code == code })
	if i < 0 {
		return routing.Department{}, false
	}
	return s.Departments[i], true
}

// Suggest lists categories whose words occur in a text, the one with the longest words first, at most limit.
func (s *Set) Suggest(text string, limit int) []routing.Category {
	text = squeeze(text)
	type match struct {
		c     routing.Category
		score int
	}
	var list []match
	for _, c := range s.Categories {
		score := 0
		for _, w := range c.Words {
			if strings.Contains(text, squeeze(w)) {
				score += len(w) * len(w)
			}
		}
		if score > 0 {
			list = append(list, match{c, score})
		}
	}
	slices.SortStableFunc(list, func(a, b match) int { return b.score - a.score })
	var out []routing.Category
	for _, m := range list[:min(limit, len(list))] {
		out = append(out, m.c)
	}
	return out
}

// squeeze drops spaces and makes letters small, so that “漏 水” is 漏水.
func squeeze(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), "")) }

//go:embed default.yaml
var standard []byte

// Default is the set that is in force as long as the office has none of its own. loc is the office's time zone; nil: UTC.
func Default(loc *time.Location) *Set {
	s, err := Parse("default.yaml", standard, loc)
	if err != nil {
		panic(fmt.Sprintf("rules: embedded set: %v", err)) // a test reads it
	}
	return s
}

// DefaultYAML is its text, to begin one's own with.
func DefaultYAML() []byte { return slices.Clone(standard) }
