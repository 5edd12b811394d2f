package web

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"strconv"
	"time"

	"github.com/a-h/templ"

	"yingda/intake"
	"yingda/internal/users"
)

const (
	mostDays  = 400 // that history looks back over at once
	mostByDay = 62  // rows of days in one picture; more are drawn by week
)

func (s *Server) historyRoutes() {
	s.page(page{
		path: "/history", deed: users.SeeHistory, nav: "history",
		title: func(v *visit) string { return v.T("history.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			f := v.historyFilter()
			p, err := s.o.History.Of(ctx, f)
			return "", historyPage(v, p, f), err
		},
		bones: func(v *visit) templ.Component { return historyLoading(v) },
	})
	s.page(page{
		path: "/history/table", deed: users.SeeHistory, nav: "history",
		title: func(v *visit) string { return v.T("history.table.head") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			f := v.historyFilter()
			p, err := s.o.History.Of(ctx, f)
			return "", historyTable(v, p, f), err
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
}

// historyFilter reads the address. Without days it is the last fourteen; what is too long is cut at its beginning; what has too many rows to be seen at
// once is drawn by larger ones.
func (v *visit) historyFilter() HistoryFilter {
	q := v.r.URL.Query()
	f := HistoryFilter{By: q.Get("by"), Line: intake.LineID(q.Get("line"))}
	if c := intake.Channel(q.Get("channel")); c.Valid() {
		f.Channel = c
	}
	f.From, f.To = v.span14(q)
	days := v.daysOf(f)
	switch {
	case f.By == "month" && days > 31:
	case f.By == "week" && days > 7:
	case f.By == "day" && days <= mostByDay:
	case days <= mostByDay/2:
		f.By = "day"
	case days <= 200 || f.By == "day":
		f.By = "week"
	default:
		f.By = "month"
	}
	return f
}

// span14 is what was asked for as whole days of the office; the last fourteen when nothing was.
func (v *visit) span14(q url.Values) (from, to time.Time) {
	day := func(t time.Time, plus int) time.Time {
		t = v.at(t)
		return time.Date(t.Year(), t.Month(), t.Day()+plus, 0, 0, 0, 0, t.Location())
	}
	from, to = v.window(q)
	if to.IsZero() || to.After(day(v.now, 1)) {
		to = day(v.now, 1)
	}
	if to = day(to.Add(-time.Millisecond), 1); from.IsZero() {
		from = day(to, -14)
	}
	from = day(from, 0)
	if !from.Before(to) {
		from = day(to, -1)
	}
	if oldest := day(to, -mostDays); from.Before(oldest) {
		from = oldest
	}
	return from, to
}

func (v *visit) daysOf(f HistoryFilter) int {
	return int(math.Round(f.To.Sub(f.From).Hours() / 24))
}

// preset is a span that one click gives.
type preset struct {
	key      string
	from, to time.Time
}

// presets all end with today but the last month.
func (v *visit) presets() []preset {
	t := v.at(v.now)
	day := func(months, d int) time.Time {
		return time.Date(t.Year(), t.Month()+time.Month(months), d, 0, 0, 0, 0, t.Location())
	}
	tomorrow := day(0, t.Day()+1)
	return []preset{{"today", day(0, t.Day()), tomorrow}, {"7", day(0, t.Day()-6), tomorrow}, {"14", day(0, t.Day()-13), tomorrow}, {"month", day(0, 1), tomorrow},
		{"last", day(-1, 1), day(0, 1)}, {"90", day(0, t.Day()-89), tomorrow}, {"365", day(0, t.Day()-364), tomorrow}}
}

// spanAddress is the present page over another span.
func (v *visit) spanAddress(p preset) string {
	q := v.r.URL.Query()
	for _, k := range []string{"said", "by", "after"} {
		q.Del(k)
	}
	q.Set("from", p.from.Format(time.DateOnly))
	q.Set("to", p.to.AddDate(0, 0, -1).Format(time.DateOnly))
	return trimLive(v.r.URL.EscapedPath()) + "?" + q.Encode()
}

func trimLive(path string) string {
	if rest, ok := cutPrefix(path, "/live"); ok {
		return rest
	}
	return path
}

func cutPrefix(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && s[:len(prefix)] == prefix {
		return s[len(prefix):], true
	}
	return s, false
}

// of is the address of the contacts behind a number of history.
func (f HistoryFilter) of(from, to time.Time, more ...string) string {
	q := url.Values{"from": {from.UTC().Format(time.RFC3339)}, "to": {to.UTC().Format(time.RFC3339)}}
	if f.Line != "" {
		q.Set("line", string(f.Line))
	}
	if f.Channel != "" {
		q.Set("channel", string(f.Channel))
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return "/contacts?" + q.Encode()
}

// clockOf is the part of the day from quarter to quarter, for "clock" of an address.
func clockOf(from, to int) string {
	at := func(q int) string { return fmt.Sprintf("%02d:%02d", q/4, q%4*15) }
	return at(from) + "-" + at(to)
}

// readClock is the way back: minutes of the day; zero when it is none.
func readClock(s string) (m [2]int) {
	var h1, m1, h2, m2 int
	if n, err := fmt.Sscanf(s, "%d:%d-%d:%d", &h1, &m1, &h2, &m2); n != 4 || err != nil {
		return m
	}
	from, to := h1*60+m1, h2*60+m2
	if h1 < 0 || m1 < 0 || m2 < 0 || m1 > 59 || m2 > 59 || from >= to || to > 24*60 {
		return m
	}
	return [2]int{from, to}
}

// rowName says which day, week or month a row is; span the days that it counts.
func (v *visit) rowName(r PastRow, by string) string {
	t := v.at(r.From)
	switch by {
	case "month":
		return v.T("history.month", t.Year(), int(t.Month()))
	case "week":
		return t.Format("1/2") + "–" + v.at(r.To.Add(-time.Millisecond)).Format("1/2")
	}
	return t.Format("1/2") + " " + v.weekday(t)
}

// steps are from how many on a square is drawn larger, by what a row is.
func steps(by string) [4]int {
	switch by {
	case "month":
		return [4]int{1, 6, 11, 21}
	case "week":
		return [4]int{1, 3, 6, 11}
	}
	return [4]int{1, 2, 3, 5}
}

// stepName is 1, 3–5, 11+.
func stepName(s [4]int, i int) string {
	switch {
	case i == 3:
		return strconv.Itoa(s[3]) + "+"
	case s[i+1]-1 == s[i]:
		return strconv.Itoa(s[i])
	}
	return fmt.Sprintf("%d–%d", s[i], s[i+1]-1)
}

const mostLinks = 1500 // squares of one picture that open their list; beyond that the table does

// past draws lost contacts by quarter of an hour, a row for each day, week or month. It says what it is beside itself and in its table; its
// links are a short way for the mouse.
func (v *visit) past(p Past, f HistoryFilter) templ.Component {
	const left, cell, row, w = 110.0, 12.0, 21.0, 1388.0
	d := &drawing{}
	for hour := 0; hour <= 24; hour += 2 {
		anchor := "middle"
		switch hour {
		case 0:
			anchor = "start"
		case 24:
			anchor = "end"
		}
		d.text(left+float64(hour)*4*cell, 14, anchor, fmt.Sprintf("%d:00", hour))
	}
	d.text(w, 14, "end", v.T("history.sum"))
	squares := 0
	for _, r := range p.Rows {
		for _, q := range r.Quarters {
			if q.Lost > 0 {
				squares++
			}
		}
	}
	step := steps(f.By)
	sizes := [4]float64{5, 7.5, 9.5, 11.5}
	for i, r := range p.Rows {
		y := 39 + row*float64(i)
		class := ""
		if wd := v.at(r.From).Weekday(); f.By == "day" && (wd == time.Saturday || wd == time.Sunday) {
			class = ` class="we"`
		}
		d.f(`<text x="0" y="%.0f"%s>%s</text><path class="row" d="M%.0f %.1fH%.0f"/>`, y, class, templ.EscapeString(v.rowName(r, f.By)), left, y+5.5, left+96*cell)
		for q, n := range r.Quarters {
			if n.Lost <= 0 {
				continue
			}
			s := 0
			for s < 3 && n.Lost >= step[s+1] {
				s++
			}
			size := sizes[s]
			square := fmt.Sprintf(`<rect class="h%d" x="%.1f" y="%.1f" width="%g" height="%g"/>`, s+1, left+cell*float64(q)+(cell-size)/2, y-4.5-size/2, size, size)
			if squares > mostLinks {
				d.WriteString(square)
				continue
			}
			d.f(`<a href="%s" tabindex="-1"><title>%s</title>%s</a>`, templ.EscapeString(f.of(r.From, r.To, "state", "lost", "clock", clockOf(q, q+1))),
				templ.EscapeString(v.rowName(r, f.By)+" "+quarterName(q)+v.T("comma")+v.T("history.cell", n.Lost, n.Offered)), square)
		}
		if n := len(r.Quarters); n < 96 {
			d.f(`<rect class="future" x="%.0f" y="%.0f" width="%.0f" height="16"/>`, left+cell*float64(n), y-13, cell*float64(96-n))
		}
		d.text(w, y, "end", fmt.Sprintf("%d / %d", r.Lost, r.Offered))
	}
	return d.hidden("heat", w, 40+row*float64(len(p.Rows)))
}

// hidden is a drawing that is a picture for the eye only: the sentence and the table beside it are for everybody.
func (d *drawing) hidden(class string, w, h float64) templ.Component {
	return templ.Raw(fmt.Sprintf(`<svg class="%s" viewBox="0 0 %g %g" width="%g" height="%g" aria-hidden="true" focusable="false">%s</svg>`, class, w, h, w, h, d.String()))
}

// worstQuarter is the quarter of the day in which most were lost, over all rows.
func worstQuarter(p Past) (quarter, lost, offered int) {
	var sum [96]HeatQuarter
	for _, r := range p.Rows {
		for q, n := range r.Quarters {
			if q < len(sum) {
				sum[q].Lost += n.Lost
				sum[q].Offered += n.Offered
			}
		}
	}
	for q, n := range sum {
		if n.Lost > lost {
			quarter, lost, offered = q, n.Lost, n.Offered
		}
	}
	return quarter, lost, offered
}

// change says how a number stands to that of before: 多 3, 少 12, 一样. It praises and blames nobody.
func (v *visit) change(now, before int64) string {
	switch {
	case now > before:
		return v.T("history.more", now-before)
	case now < before:
		return v.T("history.fewer", before-now)
	}
	return v.T("history.same")
}

// points says how a rate stands to that of before, in points of a per cent.
func (v *visit) points(f PastFigure) string {
	if f.Now.Den <= 0 || f.Before.Den <= 0 {
		return "–"
	}
	d := f.Now.Num*1000/f.Now.Den - f.Before.Num*1000/f.Before.Den
	text := func(d int64) string { return fmt.Sprintf("%d.%d", d/10, d%10) }
	switch {
	case d > 0:
		return v.T("history.up", text(d))
	case d < 0:
		return v.T("history.down", text(-d))
	}
	return v.T("history.same")
}

// days says a span of whole days: 11 月 18 日 – 11 月 24 日; one day is itself.
func (v *visit) days(from, to time.Time) string {
	last := to.Add(-time.Millisecond)
	if v.day(from) == v.day(last) {
		return v.day(from)
	}
	return v.day(from) + " – " + v.day(last)
}

// moments is days, with the time of day when the span stops within one.
func (v *visit) moments(from, to time.Time) string {
	s := v.days(from, to)
	if t := v.at(to); t.Hour() != 0 || t.Minute() != 0 {
		s += v.T("history.until", v.hm(to))
	}
	return s
}
