package app

import (
	"context"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/intake/books"
	"yingda/intake/queue"
	"yingda/web"
)

type boardView struct{ *view }

// Ids of definitions that screens name.
const (
	headline = "caller_reached"
	within15 = "within_15s"
)

// Now is what the wall shows.
func (v boardView) Now(ctx context.Context) (web.Wall, error) {
	now := v.now()
	from, to := v.books.Today(now)
	w := web.Wall{Office: v.Config.Office.Name, AsOf: v.asOf(ctx, now), Goal: 950, Day: from, DayEnd: to}
	today, err := v.books.Rates(ctx, from, to, "", "")
	if err != nil {
		return w, err
	}
	w.Reached = v.figure(today.Rate(headline))
	w.Offered, w.Open, w.Balanced = int(today.Offered), int(today.Open), today.Balanced
	w.Answered, w.Lost = int(today.Counts.Answered()), int(today.Counts.Lost())
	w.Why = lostBy(today)
	channels, err := v.books.Channels(ctx, from, now.Add(time.Minute))
	if err != nil {
		return w, err
	}
	for _, c := range channels {
		w.Channels = append(w.Channels, web.ChannelSum{Channel: c.Channel, Offered: int(c.Offered), Answered: int(c.Answered()), Lost: int(c.Lost()), Open: int(c.Open)})
	}
	yesterday, err := v.books.Rates(ctx, from.AddDate(0, 0, -1), now.AddDate(0, 0, -1), "", "")
	if err != nil {
		return w, err
	}
	w.Yesterday = v.figure(yesterday.Rate(headline))
	day24, err := v.books.Rates(ctx, now.Add(-24*time.Hour), now, "", "")
	if err != nil {
		return w, err
	}
	w.Within15 = v.figure(day24.Rate(within15))
	for _, m := range today.Rate(headline).Missed {
		switch m.ID {
		case "later":
			w.LaterReached = int(m.N)
		case "not_yet":
			w.NotYet = int(m.N)
		}
	}
	if err := v.boardSeries(ctx, &w, now, from); err != nil {
		return w, err
	}
	v.boardLive(ctx, &w, now)
	if err := v.boardOwed(ctx, &w); err != nil {
		return w, err
	}
	w.Alarms = v.alarms()
	return w, nil
}

func (v boardView) boardSeries(ctx context.Context, w *web.Wall, now, day time.Time) error {
	points, err := v.books.Series(ctx, within15, now.Add(-24*time.Hour), now, 24*time.Hour)
	if err != nil {
		return err
	}
	for _, p := range points {
		w.Roll = append(w.Roll, web.RollPoint{At: p.At, Num: p.Num, Den: p.Den})
	}
	bars, err := v.books.Day(ctx, now)
	if err != nil {
		return err
	}
	for _, b := range bars {
		w.Quarters = append(w.Quarters, web.Quarter{At: b.Start, Answered: int(b.Answered), Lost: int(b.Lost), Open: int(b.Open)})
	}
	if w.Offered == 0 {
		for c, err := range v.books.Contacts(ctx, books.Filter{To: day, Limit: 1}) {
			if err != nil {
				return err
			}
			w.Last, w.LastOK = c.Arrived, c.Outcome.Reached()
		}
	}
	return nil
}

// boardLive is what the switchboard knows better than the books: who waits this second, what operators do.
func (v boardView) boardLive(ctx context.Context, w *web.Wall, now time.Time) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	seats, waiting, err := v.seats(ctx)
	if err != nil {
		return
	}
	w.Seats = countSeats(seats)
	w.Waiting = len(waiting)
	for _, x := range waiting {
		w.LongestWait = max(w.LongestWait, now.Sub(x.Arrived))
	}
	for _, c := range intake.Channels() {
		n := 0
		for _, x := range waiting {
			if x.Channel == c {
				n++
			}
		}
		if n > 0 {
			w.Queues = append(w.Queues, web.ChannelSum{Channel: c, Open: n})
		}
	}
	w.LongestToday = w.LongestWait
	if b, err := v.books.Waiting(ctx); err == nil {
		w.LongestToday = max(w.LongestToday, b.LongestToday)
	}
}

func countSeats(seats []queue.Seat) []web.Seats {
	n := map[queue.State]int{}
	for _, s := range seats {
		n[s.State]++
	}
	n[queue.StateRinging] += n[queue.StateReserved]
	var list []web.Seats
	for _, s := range []queue.State{queue.StateTalking, queue.StateRinging, queue.StateWrapUp, queue.StateBreak, queue.StateIdle, queue.StateUnreachable} {
		if s != queue.StateUnreachable || n[s] > 0 {
			list = append(list, web.Seats{State: string(s), N: n[s]})
		}
	}
	return list
}

func (v boardView) boardOwed(ctx context.Context, w *web.Wall) error {
	sum, err := v.books.CallbackSummary(ctx)
	if err != nil {
		return err
	}
	w.Overdue, w.DueSoon, w.Calling = int(sum.Overdue), int(sum.DueSoon), int(sum.InHand)
	for _, a := range sum.Ages {
		w.Ages = append(w.Ages, web.Age{Under: a.Up, N: int(a.N), Late: int(a.Overdue)})
	}
	return nil
}

// figure is a rate as pages show it.
func (v *view) figure(r answerrate.Rate) web.Figure {
	f := web.Figure{ID: r.ID, Num: r.Num, Den: r.Den, Name: web.Said{ZH: r.Name.ZH, EN: r.Name.EN}}
	if d := r.Definition; d != nil {
		f.Rule = web.Said{ZH: d.Words.ZH, EN: d.Words.EN}
	}
	for _, x := range r.Apart {
		f.Excluded += x.N
	}
	return f
}

func lostBy(r books.Rates) []web.Count {
	var list []web.Count
	for _, o := range intake.Outcomes() {
		if n := r.Outcomes[o]; n > 0 && !o.Reached() {
			list = append(list, web.Count{Outcome: o, N: int(n)})
		}
	}
	for i := range list { // the most first; few enough for this
		for j := i + 1; j < len(list); j++ {
			if list[j].N > list[i].N {
				list[i], list[j] = list[j], list[i]
			}
		}
	}
	return list
}

// asOf is up to when the books have read the stream, and this machine's events are in it: now, when all are.
func (v *view) asOf(ctx context.Context, now time.Time) time.Time {
	at := v.readUpTo(ctx, now)
	if v.outbox != nil {
		if lag, err := v.outbox.relay.Lag(ctx); err == nil && lag.Records > 0 && lag.Oldest.Before(at) {
			return lag.Oldest
		}
	}
	return at
}

// readUpTo is up to when the books have read the stream.
func (v *view) readUpTo(ctx context.Context, now time.Time) time.Time {
	for _, r := range v.readers {
		if r.name != booksGroup {
			continue
		}
		if v.kafka != nil { // brokers that are away answer late or not at all: no screen waits for them
			return time.UnixMilli(r.upTo.Load())
		}
		lag, err := v.lag(ctx, r)
		if err == nil && lag.Records == 0 {
			return now
		}
		if err == nil && !lag.Oldest.IsZero() {
			return lag.Oldest
		}
	}
	return now
}

// alarms stand on every screen until they are over.
func (v *view) alarms() []web.Alarm {
	var list []web.Alarm
	if s := v.degraded.Load(); s != nil {
		if s.Degraded {
			list = append(list, web.Alarm{What: "degraded", Since: s.Since})
		} else if s.Low {
			list = append(list, web.Alarm{What: "disk_full", Since: s.Since})
		}
	}
	if since := v.alone.Load(); since > 0 {
		list = append(list, web.Alarm{What: "tables", Since: time.UnixMilli(since)})
	}
	for _, r := range v.readers {
		if since := r.failing.Load(); since > 0 {
			list = append(list, web.Alarm{What: "lag", Since: time.UnixMilli(since)})
		}
	}
	if s := v.letters.Load(); s != nil && s.n > 0 {
		list = append(list, web.Alarm{What: "letters", Since: s.since})
	}
	if since := v.rereading.Load(); since > 0 {
		list = append(list, web.Alarm{What: "replay", Since: time.UnixMilli(since)})
	}
	if since := v.rulesFile.bad.Load(); since > 0 {
		list = append(list, web.Alarm{What: "rules", Since: time.UnixMilli(since)})
	}
	if since := v.searchLost.Load(); since > 0 {
		list = append(list, web.Alarm{What: "search_lost", Since: time.UnixMilli(since)})
	} else if since := v.indexLate(); !since.IsZero() {
		list = append(list, web.Alarm{What: "search", Since: since})
	}
	if v.outbox != nil {
		if since := v.outbox.relay.State().Failing; !since.IsZero() {
			list = append(list, web.Alarm{What: "kafka", Since: since})
		}
		if s := v.outbox.State(); s.Level != outboxRoomy {
			list = append(list, web.Alarm{What: "outbox", Since: v.now()})
		}
	}
	v.hooksDown.Range(func(_, at any) bool {
		list = append(list, web.Alarm{What: "webhook", Since: at.(time.Time)})
		return true
	})
	v.trunksDown.Range(func(_, at any) bool {
		list = append(list, web.Alarm{What: "trunk", Since: at.(time.Time)})
		return true
	})
	return list
}
