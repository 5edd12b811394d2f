package app

import (
	"cmp"
	"context"
	"slices"
	"time"

	"yingda/intake"
	"yingda/intake/books"
	"yingda/web"
)

type historyView struct{ *view }

// Of counts a span of days beside the one before it.
func (v historyView) Of(ctx context.Context, f web.HistoryFilter) (web.Past, error) {
	now := v.now()
	p := web.Past{AsOf: v.asOf(ctx, now), From: f.From, To: f.To, Lines: v.lineChoices()}
	if p.To.After(now) {
		p.To = now
	}
	p.BeforeFrom = v.daysBefore(f.From, f.From, f.To)
	p.BeforeTo = v.daysBefore(p.To, f.From, f.To)
	here, err := v.books.Rates(ctx, p.From, p.To, f.Line, f.Channel)
	if err != nil {
		return p, err
	}
	before, err := v.books.Rates(ctx, p.BeforeFrom, p.BeforeTo, f.Line, f.Channel)
	if err != nil {
		return p, err
	}
	p.Sum, p.Before = sums(here), sums(before)
	for _, r := range here.Rates {
		p.Figures = append(p.Figures, web.PastFigure{Now: v.figure(r), Before: v.figure(before.Rate(r.ID))})
	}
	for _, o := range intake.Outcomes() {
		if !o.Reached() && here.Outcomes[o]+before.Outcomes[o] > 0 {
			p.Outcomes = append(p.Outcomes, web.PastOutcome{Outcome: o, Now: here.Outcomes[o], Before: before.Outcomes[o]})
		}
	}
	slices.SortStableFunc(p.Outcomes, func(a, b web.PastOutcome) int { return cmp.Compare(b.Now, a.Now) })
	bars, err := v.books.Quarters(ctx, p.From, p.To, f.Line, f.Channel)
	if err != nil {
		return p, err
	}
	p.Rows = v.pastRows(f, bars, now)
	return p, v.split(ctx, &p, f)
}

// daysBefore moves a time back by as many of the office's days as from and to are apart: the same time of day, whatever the clock did meanwhile.
func (v *view) daysBefore(t, from, to time.Time) time.Time {
	zone := v.books.Office()
	y1, m1, d1 := from.In(zone).Date()
	y2, m2, d2 := to.In(zone).Date()
	days := time.Date(y2, m2, d2, 0, 0, 0, 0, time.UTC).Sub(time.Date(y1, m1, d1, 0, 0, 0, 0, time.UTC)) / (24 * time.Hour)
	return t.In(zone).AddDate(0, 0, -int(max(days, 1))).UTC()
}

func sums(r books.Rates) web.Sums {
	return web.Sums{Offered: r.Offered, Answered: r.Counts.Answered(), Lost: r.Counts.Lost(), Open: r.Open}
}

// pastRows puts quarters of an hour into rows of a day, a week (from Monday) or a month; the first and the last may be cut by the span.
func (v *view) pastRows(f web.HistoryFilter, bars []books.Bar, now time.Time) []web.PastRow {
	zone := v.books.Office()
	next := func(t time.Time) time.Time {
		y, m, d := t.In(zone).Date()
		switch f.By {
		case "month":
			return time.Date(y, m+1, 1, 0, 0, 0, 0, zone)
		case "week":
			return time.Date(y, m, d+7-(int(t.In(zone).Weekday())+6)%7, 0, 0, 0, 0, zone)
		}
		return time.Date(y, m, d+1, 0, 0, 0, 0, zone)
	}
	var rows []web.PastRow
	for from := f.From; from.Before(f.To) && !from.After(now); {
		to := next(from)
		if to.After(f.To) {
			to = f.To
		}
		row := web.PastRow{From: from, To: to, Quarters: make([]web.HeatQuarter, 96)}
		if f.By == "day" && now.Before(to) {
			row.Quarters = row.Quarters[:quarterOf(now, zone)+1]
		}
		rows = append(rows, row)
		from = to
	}
	k := 0
	for _, b := range bars {
		for k < len(rows) && !b.Start.Before(rows[k].To) {
			k++
		}
		if k == len(rows) {
			break
		}
		row, q := &rows[k], quarterOf(b.Start, zone)
		row.Offered += int(b.Offered)
		row.Lost += int(b.Lost)
		if q < len(row.Quarters) {
			row.Quarters[q].Offered += int(b.Offered)
			row.Quarters[q].Lost += int(b.Lost)
		}
	}
	return rows
}

// quarterOf is which quarter of an hour of the day the office's clock shows.
func quarterOf(t time.Time, zone *time.Location) int {
	t = t.In(zone)
	return t.Hour()*4 + t.Minute()/15
}

// split counts by line and channel, as far as the filter leaves a choice.
func (v *view) split(ctx context.Context, p *web.Past, f web.HistoryFilter) error {
	here, err := v.books.Split(ctx, p.From, p.To)
	if err != nil {
		return err
	}
	before, err := v.books.Split(ctx, p.BeforeFrom, p.BeforeTo)
	if err != nil {
		return err
	}
	at := func(x books.Part) *web.PastSplit {
		for i := range p.Split {
			if s := &p.Split[i]; s.Line.Code == string(x.Line) && s.Channel == x.Channel {
				return s
			}
		}
		p.Split = append(p.Split, web.PastSplit{Line: web.Choice{Code: string(x.Line), Name: v.lineName(x.Line)}, Channel: x.Channel})
		return &p.Split[len(p.Split)-1]
	}
	within := func(x books.Part) bool {
		return (f.Line == "" || f.Line == x.Line) && (f.Channel == "" || f.Channel == x.Channel)
	}
	sum := func(x books.Part) web.Sums {
		return web.Sums{Offered: x.Offered, Answered: x.Answered, Lost: x.Lost, Open: x.Open}
	}
	for _, x := range here {
		if within(x) {
			at(x).Now = sum(x)
		}
	}
	for _, x := range before {
		if within(x) {
			at(x).Was = sum(x)
		}
	}
	slices.SortStableFunc(p.Split, func(a, b web.PastSplit) int { return cmp.Compare(b.Now.Offered, a.Now.Offered) })
	return nil
}
