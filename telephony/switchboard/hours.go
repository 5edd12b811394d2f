package switchboard

import (
	"fmt"
	"time"
)

// Hours say when people are there. They are data: a week, and days that are otherwise (public holidays closed, make-up days 调休 open on a
// weekend). The zero value is always open.
type Hours struct {
	Zone *time.Location          // the office's; nil: UTC
	Week map[time.Weekday][]Span // a weekday without spans is closed; nil: every day, all day
	Days map[string][]Span       // "2026-10-01": the spans of that day in place of its weekday's; none: closed
}

// Span is a part of a day, in minutes since its midnight: From ≤ minute < To. To may be up to 2880: then it lasts into the next day,
// whatever that day is (a night shift that begins before a holiday is worked to its end).
type Span struct{ From, To int }

const day = 24 * 60

// Check says what is wrong with the hours; nil when nothing is.
func (h Hours) Check() error {
	check := func(name string, spans []Span) error {
		for _, s := range spans {
			if s.From < 0 || s.From >= day || s.To <= s.From || s.To > 2*day {
				return fmt.Errorf("%s: %s is not a part of a day", name, s)
			}
		}
		return nil
	}
	for d, spans := range h.Week {
		if d < time.Sunday || d > time.Saturday {
			return fmt.Errorf("%d is no weekday", d)
		}
		if err := check(d.String(), spans); err != nil {
			return err
		}
	}
	for d, spans := range h.Days {
		if _, err := time.Parse(time.DateOnly, d); err != nil {
			return fmt.Errorf("%q is no date like 2026-10-01", d)
		}
		if err := check(d, spans); err != nil {
			return err
		}
	}
	return nil
}

// String writes it as 08:30–17:00.
func (s Span) String() string {
	return fmt.Sprintf("%02d:%02d–%02d:%02d", s.From/60, s.From%60, s.To/60, s.To%60)
}

// Open says whether people are there at t.
func (h Hours) Open(t time.Time) bool {
	if h.always() {
		return true
	}
	t = t.In(h.zone())
	minute := t.Hour()*60 + t.Minute()
	for _, s := range h.spans(t) {
		if s.From <= minute && minute < s.To {
			return true
		}
	}
	for _, s := range h.spans(t.AddDate(0, 0, -1)) { // yesterday's night shift
		if s.To > day && minute < s.To-day {
			return true
		}
	}
	return false
}

// Next is when people are there again after t, looked for a month ahead; zero when they are not, or when they are there now.
func (h Hours) Next(t time.Time) time.Time {
	if h.Open(t) {
		return time.Time{}
	}
	local := t.In(h.zone())
	for n := range 32 {
		date := time.Date(local.Year(), local.Month(), local.Day()+n, 0, 0, 0, 0, h.zone())
		var first time.Time
		for _, s := range h.spans(date) {
			at := time.Date(date.Year(), date.Month(), date.Day(), 0, s.From, 0, 0, h.zone())
			if at.After(t) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
		if !first.IsZero() {
			return first
		}
	}
	return time.Time{}
}

func (h Hours) always() bool { return h.Week == nil && len(h.Days) == 0 }

func (h Hours) zone() *time.Location {
	if h.Zone == nil {
		return time.UTC
	}
	return h.Zone
}

// spans of the day on which t falls, t being in the office's zone.
func (h Hours) spans(t time.Time) []Span {
	if len(h.Days) > 0 {
		if spans, ok := h.Days[t.Format(time.DateOnly)]; ok {
			return spans
		}
	}
	if h.Week == nil {
		return []Span{{0, day}}
	}
	return h.Week[t.Weekday()]
}
