package rules

import (
	"cmp"
	"slices"
	"time"
)

// Calendar says which days are working days and when one ends. Holidays and make-up days (调休) are data.
type Calendar struct {
	Location *time.Location
	DayEnd   int      // minute of the day at which a working day ends
	Weekend  []int    // days of the week off, 0: Sunday
	Off      []Period // holidays
	On       []Period // make-up days: working days although the weekend says no
}

// Period is a row of days, both ends included.
type Period struct {
	From, To date
	Name     string
}

// date is a day of the calendar: year*10000 + month*100 + day, so that the order of numbers is the order of days.
type date int

func dateOf(t time.Time) date {
	y, m, d := t.Date()
	return date(y*10000 + int(m)*100 + d)
}

func (p Period) has(d date) bool { return p.From <= d && d <= p.To }

// Workday says whether the day of t, in the calendar's zone, is a working day.
func (c *Calendar) Workday(t time.Time) bool {
	t = t.In(c.Location)
	d := dateOf(t)
	in := func(list []Period) bool {
		// The last period that begins on d or before; they do not overlap.
		i, found := slices.BinarySearchFunc(list, d, func(p Period, d date) int { return cmp.Compare(p.From, d) })
		if !found {
			i--
		}
		return i >= 0 && list[i].has(d)
	}
	return in(c.On) || !in(c.Off) && !slices.Contains(c.Weekend, int(t.Weekday()))
}

// Covers says whether holidays of the year of t are known: a deadline in a year without any counts weekends only.
func (c *Calendar) Covers(t time.Time) bool {
	year := date(t.In(c.Location).Year())
	return slices.ContainsFunc(c.Off, func(p Period) bool { return p.From/10000 == year || p.To/10000 == year })
}

// Add is the moment that lies w after t. Working days are counted from the day after t; the deadline is the end of the
// last of them. Zero for a Within of nothing.
func (c *Calendar) Add(t time.Time, w Within) time.Time {
	if w.Days == 0 {
		if w.Duration == 0 {
			return time.Time{}
		}
		return t.Add(w.Duration).UTC()
	}
	local := t.In(c.Location)
	y, m, d := local.Date()
	for left := w.Days; left > 0; {
		d++
		if c.Workday(time.Date(y, m, d, 12, 0, 0, 0, c.Location)) {
			left--
		}
	}
	return time.Date(y, m, d, c.DayEnd/60, c.DayEnd%60, 0, 0, c.Location).UTC()
}
