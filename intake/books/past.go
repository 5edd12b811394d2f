package books

import (
	"context"
	"fmt"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/internal/store"
)

// Quarters counts the contacts that arrived in from ≤ t < to, on a line, by a channel (empty: all), by quarter of an hour; those in which
// nothing arrived are not there.
func (b *Books) Quarters(ctx context.Context, from, to time.Time, line intake.LineID, channel intake.Channel) ([]Bar, error) {
	return b.bars(ctx, from, to, line, channel)
}

// Part of what was offered: one line and one channel.
type Part struct {
	Line                          intake.LineID
	Channel                       intake.Channel
	Offered, Answered, Lost, Open int64
}

// Split counts the contacts that arrived in from ≤ t < to by line and channel, in their order.
func (b *Books) Split(ctx context.Context, from, to time.Time) ([]Part, error) {
	var c cond
	c.span("arrived", from, to)
	var list []Part
	err := b.each(ctx, func(s scanner) error {
		var p Part
		var packed, n int64
		if err := s.Scan(&p.Line, &p.Channel, &packed, &n); err != nil {
			return err
		}
		if k := len(list) - 1; k < 0 || list[k].Line != p.Line || list[k].Channel != p.Channel {
			list = append(list, p)
		}
		at := &list[len(list)-1]
		at.Offered += n
		switch outcome := outcomeOf(packed); {
		case outcome == "":
			at.Open += n
		case outcome.Reached():
			at.Answered += n
		default:
			at.Lost += n
		}
		return nil
	}, fmt.Sprintf("SELECT line, channel, ((places >> %d) & 31) << %d AS became, COUNT(*) FROM contacts%s GROUP BY line, channel, became ORDER BY line, channel", outcomeBit, outcomeBit, c.where()), c.args...)
	return list, err
}

// daily adds the condition that a contact arrived in those minutes of the office's day: a span for every day, so that it is true too on the day
// on which the clock is changed.
func (b *Books) daily(c *cond, f *Filter) error {
	if f.Daily == [2]int{} {
		return nil
	}
	lo, hi := f.Daily[0], f.Daily[1]
	if f.From.IsZero() || f.To.IsZero() || f.To.Sub(f.From) > 400*24*time.Hour || lo < 0 || hi <= lo || hi > 24*60 {
		return fmt.Errorf("%w: minutes %d to %d of the days from %s to %s", ErrInvalid, lo, hi, f.From, f.To)
	}
	var text string
	var args []any
	for day, next := answerrate.Window(f.From, answerrate.Day, b.cfg.Office); day.Before(f.To); day, next = answerrate.Window(next, answerrate.Day, b.cfg.Office) {
		y, m, d := day.In(b.cfg.Office).Date()
		at := func(minute int) int64 { return store.Millis(time.Date(y, m, d, 0, minute, 0, 0, b.cfg.Office)) }
		if text != "" {
			text += " OR "
		}
		text += "(c.arrived >= ? AND c.arrived < ?)"
		args = append(args, at(lo), at(hi))
	}
	c.and("("+text+")", args...)
	return nil
}

// OperatorChannels counts what each operator answered of the contacts that arrived in from ≤ t < to, by channel.
func (b *Books) OperatorChannels(ctx context.Context, from, to time.Time) (map[intake.UserID]map[intake.Channel]int64, error) {
	out := map[intake.UserID]map[intake.Channel]int64{}
	var c cond
	c.and("reached > 0 AND operator <> ''")
	c.span("arrived", from, to)
	err := b.each(ctx, func(s scanner) error {
		var id intake.UserID
		var channel intake.Channel
		var n int64
		if err := s.Scan(&id, &channel, &n); err != nil {
			return err
		}
		if out[id] == nil {
			out[id] = map[intake.Channel]int64{}
		}
		out[id][channel] = n
		return nil
	}, "SELECT operator, channel, COUNT(*) FROM contacts"+c.where()+" GROUP BY operator, channel", c.args...)
	return out, err
}

// StateTimes is how long each operator was in each state within from ≤ t < to; the state that they are in counts until to, or until now when
// that is earlier.
func (b *Books) StateTimes(ctx context.Context, from, to time.Time) (map[intake.UserID]map[string]time.Duration, error) {
	if now := b.now(); to.After(now) {
		to = now
	}
	out := map[intake.UserID]map[string]time.Duration{}
	if !from.Before(to) {
		return out, nil
	}
	type since struct {
		state string
		at    int64
	}
	last := map[intake.UserID]since{}
	count := func(id intake.UserID, s since, until int64) {
		if s.state == "" || s.state == "offline" || until <= s.at {
			return
		}
		if out[id] == nil {
			out[id] = map[string]time.Duration{}
		}
		out[id][s.state] += time.Duration(until-s.at) * time.Millisecond
	}
	lo, hi := store.Millis(from), store.Millis(to)
	err := b.each(ctx, func(s scanner) error {
		var id intake.UserID
		var state string
		var at int64
		if err := s.Scan(&id, &state, &at); err != nil {
			return err
		}
		at = max(at, lo)
		count(id, last[id], at)
		last[id] = since{state, at}
		return nil
	}, `SELECT operator, state, at FROM (
		SELECT s.operator, s.state, s.at, s.seq FROM (SELECT operator, MAX(at) AS at FROM operator_states WHERE at < ? GROUP BY operator) AS w
			JOIN operator_states s ON s.operator = w.operator AND s.at = w.at
		UNION ALL SELECT operator, state, at, seq FROM operator_states WHERE at >= ? AND at < ?) AS all_states ORDER BY at, seq`, lo, lo, hi)
	for id, s := range last {
		count(id, s, hi)
	}
	return out, err
}

// ClearedBetween gives a page of the callbacks that ended in from ≤ t < to, oldest first: at most limit behind the one named after.
func (b *Books) ClearedBetween(ctx context.Context, from, to time.Time, after Callback, limit int) ([]Callback, error) {
	var c cond
	c.and("b.cleared_by <> ''")
	c.span("b.cleared", from, to)
	if after.ID != "" {
		at := store.Millis(after.Cleared)
		c.and("(b.cleared > ? OR (b.cleared = ? AND b.id > ?))", at, at, string(after.ID))
	}
	return b.callbacks(ctx, c.where()+" ORDER BY b.cleared, b.id LIMIT ?", append(c.args, limit)...)
}
