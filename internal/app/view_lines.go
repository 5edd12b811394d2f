package app

import (
	"context"
	"errors"
	"time"

	"yingda/intake"
	"yingda/internal/lines"
	"yingda/web"
)

type linesView struct{ *view }

func (v linesView) List(ctx context.Context) ([]web.LineRow, error) {
	all, err := v.ledger.All(ctx)
	if err != nil {
		return nil, err
	}
	var list []web.LineRow
	for _, l := range all {
		row, err := v.row(ctx, l)
		if err != nil {
			return nil, err
		}
		list = append(list, row)
	}
	return list, nil
}

func (v linesView) One(ctx context.Context, id intake.LineID) (web.LineRow, error) {
	l, err := v.ledger.Get(ctx, id)
	if errors.Is(err, lines.ErrUnknown) {
		return web.LineRow{}, web.ErrNotFound
	}
	if err != nil {
		return web.LineRow{}, err
	}
	return v.row(ctx, l)
}

func (v linesView) row(ctx context.Context, l lines.Line) (web.LineRow, error) {
	now := v.now()
	hours := v.hours(l)
	row := web.LineRow{Line: l.Line, Numbers: l.Numbers, Hours: l.Hours, MaxWait: seconds(l.MaxWaitS), MaxQueue: l.MaxQueue, Ring: seconds(l.RingS), ShortAbandon: seconds(l.ShortAbandon),
		Shown: l.Shown, Notice: l.Notice, NoRecording: l.NoRecording, NoMessages: l.NoMessages, Retired: l.Retired, OpenNow: hours.Open(now), OpensAt: hours.Next(now)}
	rates, err := v.books.Rates(ctx, dayStart(now, v.Config.location()), now.Add(time.Minute), l.ID, "")
	if err != nil {
		return row, err
	}
	row.Today = int(rates.Offered)
	for o, n := range rates.Outcomes {
		if !o.Reached() {
			row.TodayLost += int(n)
		}
	}
	return row, nil
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func (v linesView) Save(ctx context.Context, who web.Viewer, row web.LineRow, isNew bool) error {
	l, err := v.ledger.Get(ctx, row.ID)
	switch {
	case err == nil && isNew:
		return web.FieldError{Field: "id", Sentence: "这个编号已经有了，换一个"}
	case errors.Is(err, lines.ErrUnknown) && !isNew:
		return web.ErrNotFound
	case errors.Is(err, lines.ErrUnknown):
		l = lines.Line{}
	case err != nil:
		return err
	}
	if _, err := lines.ParseHours(row.Hours); err != nil {
		return web.FieldError{Field: "hours", Sentence: "读不懂这个时间。例如：Mo-Fr 08:30-12:00,13:30-17:30; Sa 09:00-12:00"}
	}
	l.Line = row.Line
	if l.Switchboard == "" {
		l.Switchboard = v.Config.switchboard()
	}
	l.Numbers, l.Hours, l.Shown = row.Numbers, row.Hours, row.Shown
	l.MaxWaitS, l.MaxQueue, l.RingS, l.ShortAbandon = int(row.MaxWait/time.Second), row.MaxQueue, int(row.Ring/time.Second), int(row.ShortAbandon/time.Second)
	l.Notice, l.NoRecording, l.NoMessages, l.Retired = row.Notice, row.NoRecording, row.NoMessages, row.Retired
	if err := v.ledger.Save(ctx, v.now(), who.ID, l); err != nil {
		return web.Refusal{Sentence: err.Error()}
	}
	return nil
}

// dayStart is the last midnight in the office's zone.
func dayStart(t time.Time, zone *time.Location) time.Time {
	t = t.In(zone)
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, zone)
}
