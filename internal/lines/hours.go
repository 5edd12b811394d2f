package lines

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Hours say when people are there: a week, and days that are otherwise (public holidays, make-up days 调休). Nil Week: always.
type Hours struct {
	Week map[time.Weekday][]Span
	Days map[string][]Span // "2026-10-01"; no spans: closed
}

// Span is a part of a day in minutes since its midnight, From included, To not. To may pass midnight, up to 2880.
type Span struct{ From, To int }

var weekdays = []string{"Su", "Mo", "Tu", "We", "Th", "Fr", "Sa"}

// ParseHours reads "24h", or rules parted by semicolons, such as "Mo-Fr 08:30-12:00,13:30-17:30; Sa 09:00-12:00;
// 2026-10-01 closed; 2026-10-10 09:00-17:00". A weekday that is not named is closed; a date goes before its weekday. 22:00-06:00
// lasts into the next day.
func ParseHours(s string) (Hours, error) {
	var h Hours
	s = strings.TrimSpace(s)
	if s == "" || s == "24h" || s == "24/7" {
		return h, nil
	}
	for rule := range strings.SplitSeq(s, ";") {
		rule = strings.TrimSpace(rule)
		if rule == "" {
			continue
		}
		if rule == "24h" {
			h.Week = map[time.Weekday][]Span{}
			for d := time.Sunday; d <= time.Saturday; d++ {
				h.Week[d] = []Span{{0, 1440}}
			}
			continue
		}
		days, times, ok := strings.Cut(rule, " ")
		if !ok {
			return Hours{}, hoursError(rule)
		}
		spans, err := parseSpans(strings.TrimSpace(times))
		if err != nil {
			return Hours{}, err
		}
		if err := h.set(days, spans); err != nil {
			return Hours{}, err
		}
	}
	if h.Week == nil && len(h.Days) > 0 { // only exceptions are named: otherwise always open
		h.Week = map[time.Weekday][]Span{}
		for d := time.Sunday; d <= time.Saturday; d++ {
			h.Week[d] = []Span{{0, 1440}}
		}
	}
	return h, nil
}

func hoursError(rule string) error {
	return fmt.Errorf("%q is no opening time: write 24h, or for instance Mo-Fr 08:30-12:00,13:30-17:30; Sa 09:00-12:00; 2026-10-01 closed", rule)
}

func (h *Hours) set(days string, spans []Span) error {
	if _, err := time.Parse(time.DateOnly, days); err == nil {
		if h.Days == nil {
			h.Days = map[string][]Span{}
		}
		h.Days[days] = spans
		return nil
	}
	if h.Week == nil {
		h.Week = map[time.Weekday][]Span{}
	}
	for part := range strings.SplitSeq(days, ",") {
		from, to, isRange := strings.Cut(part, "-")
		a, b := weekday(from), weekday(to)
		if !isRange {
			b = a
		}
		if a < 0 || b < 0 {
			return fmt.Errorf("%q is no weekday: write Mo, Tu, We, Th, Fr, Sa, Su, a range such as Mo-Fr, or a date such as 2026-10-01", part)
		}
		for d := a; ; d = (d + 1) % 7 {
			h.Week[time.Weekday(d)] = spans
			if d == b {
				break
			}
		}
	}
	return nil
}

func weekday(s string) int {
	for i, w := range weekdays {
		if strings.EqualFold(w, strings.TrimSpace(s)) {
			return i
		}
	}
	return -1
}

func parseSpans(s string) ([]Span, error) {
	if s == "closed" || s == "off" {
		return []Span{}, nil
	}
	if s == "24h" {
		return []Span{{0, 1440}}, nil
	}
	var list []Span
	for part := range strings.SplitSeq(s, ",") {
		from, to, ok := strings.Cut(strings.TrimSpace(part), "-")
		a, okA := clock(from)
		b, okB := clock(to)
		if !ok || !okA || !okB || a == b || a >= 1440 {
			return nil, hoursError(s)
		}
		if b < a {
			b += 1440
		}
		list = append(list, Span{a, b})
	}
	return list, nil
}

func clock(s string) (int, bool) {
	hh, mm, ok := strings.Cut(strings.TrimSpace(s), ":")
	h, err1 := strconv.Atoi(hh)
	m, err2 := strconv.Atoi(mm)
	if !ok || err1 != nil || err2 != nil || len(mm) != 2 || h < 0 || m < 0 || m > 59 || h*60+m > 1440 {
		return 0, false
	}
	return h*60 + m, true
}
