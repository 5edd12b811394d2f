package books

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/internal/store"
)

// cond gathers the conditions of a query.
type cond struct {
	text []string
	args []any
}

func (c *cond) and(text string, args ...any) {
	c.text = append(c.text, text)
	c.args = append(c.args, args...)
}

func (c *cond) where() string {
	if len(c.text) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(c.text, " AND ")
}

func (c *cond) span(column string, from, to time.Time) {
	if !from.IsZero() {
		c.and(column+" >= ?", store.Millis(from))
	}
	if !to.IsZero() {
		c.and(column+" < ?", store.Millis(to))
	}
}

func (c *cond) place(prefix string, line intake.LineID, channel intake.Channel) {
	if line != "" {
		c.and(prefix+"line = ?", string(line))
	}
	if channel != "" {
		c.and(prefix+"channel = ?", string(channel))
	}
}

func in[T ~string](column string, list []T) (string, []any) {
	args := make([]any, len(list))
	for i, v := range list {
		args[i] = string(v)
	}
	return column + " IN (?" + strings.Repeat(", ?", len(list)-1) + ")", args
}

func (b *Books) each(ctx context.Context, f func(scanner) error, text string, args ...any) error {
	rows, err := b.db.Query(ctx, text, args...)
	if err != nil {
		return err
	}
	return drain(rows, f)
}

// Rates gives every figure of the contacts that arrived in from ≤ t < to (zero: without end), on a line, by a channel (empty: all).
func (b *Books) Rates(ctx context.Context, from, to time.Time, line intake.LineID, channel intake.Channel) (Rates, error) {
	out := Rates{From: from, To: to, Line: line, Channel: channel}
	rates := map[string]*answerrate.Rate{}
	for _, d := range b.all {
		r := answerrate.NewRate(d)
		rates[d.ID] = &r
	}
	out.Counts.Outcomes = map[intake.Outcome]int64{}
	var c cond
	c.span("arrived", from, to)
	c.place("", line, channel)
	err := b.each(ctx, func(s scanner) error {
		var packed, n int64
		if err := s.Scan(&packed, &n); err != nil {
			return err
		}
		if offeredOf(packed) {
			out.Counts.Offered += n
		}
		if outcome := outcomeOf(packed); outcome == "" {
			out.Counts.Open += n
		} else {
			out.Counts.Outcomes[outcome] += n
		}
		for i, d := range b.contact {
			rates[d.ID].Add(unpack(packed, i), n)
		}
		return nil
	}, "SELECT places, COUNT(*) FROM contacts"+c.where()+" GROUP BY places", c.args...)
	if err != nil {
		return Rates{}, fmt.Errorf("count contacts: %w", err)
	}
	for i, d := range b.caller {
		if err := b.callerRate(ctx, rates[d.ID], i, d, from, to, line, channel); err != nil {
			return Rates{}, fmt.Errorf("count callers: %w", err)
		}
	}
	for _, d := range b.all {
		out.Rates = append(out.Rates, *rates[d.ID])
	}
	out.Offered, out.Open, out.Outcomes, out.Balanced = out.Counts.Offered, out.Counts.Open, out.Counts.Outcomes, out.Counts.Balanced()
	return out, nil
}

// ChannelCount is what came by one channel in a window.
type ChannelCount struct {
	Channel intake.Channel
	answerrate.Counts
}

// Channels counts the contacts that arrived in from ≤ t < to by their channel, those that nobody came by left out, in the order of intake.Channels.
func (b *Books) Channels(ctx context.Context, from, to time.Time) ([]ChannelCount, error) {
	all := map[intake.Channel]*ChannelCount{}
	var c cond
	c.span("arrived", from, to)
	err := b.each(ctx, func(s scanner) error {
		var channel intake.Channel
		var packed, n int64
		if err := s.Scan(&channel, &packed, &n); err != nil {
			return err
		}
		one := all[channel]
		if one == nil {
			one = &ChannelCount{Channel: channel, Counts: answerrate.Counts{Outcomes: map[intake.Outcome]int64{}}}
			all[channel] = one
		}
		if offeredOf(packed) {
			one.Offered += n
		}
		if outcome := outcomeOf(packed); outcome == "" {
			one.Open += n
		} else {
			one.Outcomes[outcome] += n
		}
		return nil
	}, "SELECT channel, places, COUNT(*) FROM contacts"+c.where()+" GROUP BY channel, places", c.args...)
	if err != nil {
		return nil, fmt.Errorf("count contacts by channel: %w", err)
	}
	var list []ChannelCount
	for _, channel := range intake.Channels() {
		if one := all[channel]; one != nil {
			list = append(list, *one)
		}
	}
	return list, nil
}

func (b *Books) callerRate(ctx context.Context, r *answerrate.Rate, i int, d *answerrate.Definition, from, to time.Time, line intake.LineID, channel intake.Channel) error {
	now := b.now()
	for _, young := range []bool{false, true} { // each apart: a grouping by one number is quick
		began := now.Add(-d.Ripe)
		var c cond
		c.span("first_at", from, to)
		c.place("", line, channel)
		if young {
			c.and("first_at > ?", store.Millis(began))
			began = now
		} else {
			c.and("first_at <= ?", store.Millis(began))
		}
		if err := b.each(ctx, func(s scanner) error {
			var packed, n int64
			if err := s.Scan(&packed, &n); err != nil {
				return err
			}
			r.Add(d.Ripened(unpack(packed, i), began, now), n)
			return nil
		}, "SELECT places, COUNT(*) FROM episodes"+c.where()+" GROUP BY places", c.args...); err != nil {
			return err
		}
	}
	return nil
}

// Members are the contacts behind a figure, newest first: part as in answerrate.Definition.Part ("numerator", "denominator", "missed",
// "missed/later", "apart/waiting" …). For a definition per caller they are the first attempts.
func (b *Books) Members(ctx context.Context, definition string, from, to time.Time, part string) ([]Contact, error) {
	var list []Contact
	for c, err := range b.Contacts(ctx, Filter{From: from, To: to, Definition: definition, Part: part}) {
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// member adds the condition that a contact stands in that part of a definition.
func (b *Books) member(c *cond, definition, part string) error {
	d := b.Definition(definition)
	if d == nil {
		return fmt.Errorf("%w: there is no definition %q", ErrInvalid, definition)
	}
	places, err := d.Part(part)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if d.Unit == answerrate.PerContact {
		i := slices.Index(b.contact, d)
		c.and(fmt.Sprintf("((c.places >> %d) & 15) IN (%s)", 4*i, numbers(places)))
		return nil
	}
	// A case that would be counted, were it not too young, stands at Unripe: see answerrate.Definition.Ripened.
	i := slices.Index(b.caller, d)
	old := store.Millis(b.now().Add(-d.Ripe))
	place := fmt.Sprintf("((e.places >> %d) & 15)", 4*i)
	const counted = "BETWEEN 1 AND 7" // Met and every Missed
	var parts []string
	var args []any
	if d.Ripe > 0 && slices.Contains(places, answerrate.Unripe) {
		parts = append(parts, place+" "+counted+" AND e.first_at > ?")
		args = append(args, old)
	}
	var ripe, apart []answerrate.Place
	for _, p := range places {
		if p.IsApart() {
			apart = append(apart, p)
		} else {
			ripe = append(ripe, p)
		}
	}
	if len(ripe) > 0 {
		parts = append(parts, place+" IN ("+numbers(ripe)+") AND e.first_at <= ?")
		if d.Ripe > 0 {
			args = append(args, old)
		} else {
			args = append(args, int64(1)<<62)
		}
	}
	if len(apart) > 0 {
		parts = append(parts, place+" IN ("+numbers(apart)+")")
	}
	c.and("EXISTS (SELECT 1 FROM episodes e WHERE e.contact = c.id AND (("+strings.Join(parts, ") OR (")+")))", args...)
	return nil
}

func numbers(places []answerrate.Place) string {
	var list []string
	for _, p := range places {
		list = append(list, fmt.Sprint(uint8(p)))
	}
	return strings.Join(list, ", ")
}

const quarter = int64(15 * time.Minute / time.Millisecond)

// bars counts by quarter of an hour, in order; those in which nothing arrived are not there. Every time zone in use is a whole number of
// quarters from UTC, so the office's quarters are UTC's.
func (b *Books) bars(ctx context.Context, from, to time.Time, line intake.LineID, channel intake.Channel) ([]Bar, error) {
	var c cond
	c.span("arrived", from, to)
	c.place("", line, channel)
	var list []Bar
	err := b.each(ctx, func(s scanner) error {
		var key, n int64
		if err := s.Scan(&key, &n); err != nil {
			return err
		}
		start, outcome := store.Time(key/32*quarter), outcomeOf(key%32<<outcomeBit)
		if len(list) == 0 || !list[len(list)-1].Start.Equal(start) {
			list = append(list, Bar{Start: start})
		}
		bar := &list[len(list)-1]
		bar.Offered += n
		switch {
		case outcome == "":
			bar.Open += n
		case outcome.Reached():
			bar.Answered += n
		default:
			bar.Lost += n
		}
		return nil
	}, fmt.Sprintf("SELECT (arrived / %d) * 32 + ((places >> %d) & 31) AS k, COUNT(*) FROM contacts%s GROUP BY k ORDER BY k", quarter, outcomeBit, c.where()), c.args...)
	return list, err
}

// Day counts the office's day in which date lies, one Bar for every quarter of an hour (96, or 92 and 100 when the clock is changed).
func (b *Books) Day(ctx context.Context, date time.Time) ([]Bar, error) {
	from, to := b.Today(date)
	found, err := b.bars(ctx, from, to, "", "")
	if err != nil {
		return nil, err
	}
	var list []Bar
	for t := from; t.Before(to); t = t.Add(15 * time.Minute) {
		if len(found) > 0 && found[0].Start.Equal(t) {
			list, found = append(list, found[0]), found[1:]
			continue
		}
		list = append(list, Bar{Start: t})
	}
	return list, nil
}

// Heat gives the last days of the office, today the last, by quarter of an hour.
func (b *Books) Heat(ctx context.Context, days int) ([]HeatDay, error) {
	if days < 1 || days > 400 {
		return nil, fmt.Errorf("%w: %d days", ErrInvalid, days)
	}
	y, m, d := b.now().In(b.cfg.Office).Date()
	var list []HeatDay
	for i := days - 1; i >= 0; i-- {
		list = append(list, HeatDay{Start: time.Date(y, m, d-i, 0, 0, 0, 0, b.cfg.Office).UTC()})
	}
	_, end := b.Today(b.now())
	bars, err := b.bars(ctx, list[0].Start, end, "", "")
	if err != nil {
		return nil, err
	}
	for _, bar := range bars {
		i, found := slices.BinarySearchFunc(list, bar.Start, func(h HeatDay, t time.Time) int { return h.Start.Compare(t) })
		if !found {
			i--
		}
		h := &list[i]
		h.Bars = append(h.Bars, bar)
		h.Offered += bar.Offered
		h.Lost += bar.Lost
	}
	return list, nil
}

// Series gives a definition per contact as it stood at each quarter of an hour in from < t ≤ to, counted over the span before it (a rolling 24 hours for
// GB/T 33358). The last point is at to itself, counted exactly.
func (b *Books) Series(ctx context.Context, definition string, from, to time.Time, span time.Duration) ([]Point, error) {
	d := b.Definition(definition)
	if d == nil || d.Unit != answerrate.PerContact {
		return nil, fmt.Errorf("%w: there is no definition %q per contact", ErrInvalid, definition)
	}
	if span < 15*time.Minute || span%(15*time.Minute) != 0 || to.Sub(from) > 400*24*time.Hour {
		return nil, fmt.Errorf("%w: a series over spans of %s", ErrInvalid, span)
	}
	i := slices.Index(b.contact, d)
	first := store.Millis(from) / quarter // the quarter in which from lies
	n := int(span / (15 * time.Minute))
	size := int(store.Millis(to)/quarter-first) + n
	if size <= n-1 {
		return nil, nil
	}
	num, den := make([]int64, size+1), make([]int64, size+1)
	base := first + 1 - int64(n)
	count := func(f func(q int64, p answerrate.Place, n int64), from, to int64) error {
		return b.each(ctx, func(s scanner) error {
			var q, packed, n int64
			if err := s.Scan(&q, &packed, &n); err != nil {
				return err
			}
			f(q, unpack(packed, i), n)
			return nil
		}, fmt.Sprintf("SELECT arrived / %d AS q, places, COUNT(*) FROM contacts WHERE arrived >= ? AND arrived < ? GROUP BY q, places", quarter), from, to)
	}
	if err := count(func(q int64, p answerrate.Place, n int64) {
		k := q - base
		if k < 0 || k >= int64(len(num)) {
			return
		}
		if p == answerrate.Met {
			num[k] += n
		}
		if p == answerrate.Met || p.IsMissed() {
			den[k] += n
		}
	}, base*quarter, store.Millis(to)); err != nil {
		return nil, err
	}
	var list []Point
	var pn, pd int64
	for k := range num {
		pn += num[k]
		pd += den[k]
		if k >= n {
			pn -= num[k-n]
			pd -= den[k-n]
		}
		at := store.Time((base + int64(k) + 1) * quarter)
		if k >= n-1 && at.After(from) && !at.After(to) {
			list = append(list, Point{at, pn, pd})
		}
	}
	if len(list) == 0 || list[len(list)-1].At.Before(to) {
		last := Point{At: to}
		if err := count(func(_ int64, p answerrate.Place, n int64) {
			if p == answerrate.Met {
				last.Num += n
			}
			if p == answerrate.Met || p.IsMissed() {
				last.Den += n
			}
		}, store.Millis(to.Add(-span)), store.Millis(to)); err != nil {
			return nil, err
		}
		list = append(list, last)
	}
	return list, nil
}

// Waiting says who waits now and what today's longest wait was, of those who wanted to speak with somebody.
func (b *Books) Waiting(ctx context.Context) (Waiting, error) {
	var out Waiting
	now := b.now()
	err := b.each(ctx, func(s scanner) error {
		var id intake.ContactID
		var at int64
		if err := s.Scan(&id, &at); err != nil {
			return err
		}
		if out.Now == 0 {
			out.Contact, out.Since = id, store.Time(at)
		}
		out.Now++
		return nil
	}, "SELECT id, arrived FROM contacts WHERE outcome = '' AND answered = 0 AND channel IN "+live+" ORDER BY arrived, id")
	if err != nil {
		return Waiting{}, err
	}
	from, to := b.Today(now)
	// waited_ms is known at the end; of those answered and still talking the answer tells.
	if err := b.each(ctx, func(s scanner) error {
		var ms int64
		if err := s.Scan(&out.LongestOf, &ms); err != nil {
			return err
		}
		out.LongestToday = time.Duration(ms) * time.Millisecond
		return nil
	}, `SELECT id, CASE WHEN outcome = '' THEN answered - arrived ELSE waited_ms END AS waited FROM contacts
		WHERE arrived >= ? AND arrived < ? AND (outcome <> '' OR answered > 0) AND channel IN `+live+` ORDER BY waited DESC, id LIMIT 1`, store.Millis(from), store.Millis(to)); err != nil {
		return Waiting{}, err
	}
	if out.Now > 0 && now.Sub(out.Since) > out.LongestToday && !out.Since.Before(from) {
		out.LongestToday, out.LongestOf = now.Sub(out.Since), out.Contact
	}
	return out, nil
}

// DataAsOf is the time of the newest event in the books; zero when there is none. When the reader of the stream has no lag, the books are true as of now.
func (b *Books) DataAsOf(ctx context.Context) (time.Time, error) {
	var ms int64
	err := b.each(ctx, func(s scanner) error {
		var text string
		if err := s.Scan(&text); err != nil {
			return err
		}
		_, err := fmt.Sscanf(text, "%d", &ms)
		return err
	}, "SELECT value FROM books_facts WHERE name = 'as_of'")
	return store.Time(ms), err
}
