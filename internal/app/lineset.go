package app

import (
	"cmp"
	"context"
	"time"

	"yingda/intake"
	"yingda/internal/lines"
	"yingda/internal/pii"
	"yingda/telephony/call"
	"yingda/telephony/ivr"
	"yingda/telephony/switchboard"
)

// watch looks once a second for what another process changed (the command line, another page): lines, rules, grids and residents' cards come
// into force for the next call or case, no live one is touched.
func (a *App) watch(ctx context.Context) {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	hour := time.NewTicker(time.Hour)
	defer hour.Stop()
	var known int64 = -1
	var failing bool // said once, not every second
	for {
		select {
		case <-ctx.Done():
			return
		case <-hour.C:
			if err := a.keys.ahead(); err != nil {
				a.log.Error("next month's secret could not be made", "err", err)
			}
		case <-every.C:
			a.reloadRules()
			err := a.refresh(ctx)
			if err != nil && !failing && ctx.Err() == nil {
				a.log.Error("what other programs wrote", "err", err)
			}
			failing = err != nil
			v, err := a.ledger.Version(ctx)
			if err != nil {
				if ctx.Err() == nil {
					a.log.Error("ledger of lines", "err", err)
				}
				continue
			}
			if v != known {
				if err := a.loadLines(ctx); err != nil {
					a.log.Error("ledger of lines", "err", err)
					continue
				}
				known = v
			}
		}
	}
}

// loadLines puts the ledger in force.
func (a *App) loadLines(ctx context.Context) error {
	list, err := a.ledger.All(ctx)
	if err != nil {
		return err
	}
	a.lines.Store(&list)
	set := switchboard.SetLines{}
	for _, l := range list {
		if l.Retired || l.Switchboard != a.Config.switchboard() {
			continue
		}
		set.Lines = append(set.Lines, a.boardLine(l))
		for _, n := range l.Numbers {
			if n == "*" {
				set.Default = l.ID
			}
		}
	}
	a.loop.Send(set)
	a.loop.Send(a.talkLines(list))
	a.changes.tell()
	return nil
}

// boardLine makes what the switchboard obeys of a row of the ledger.
func (a *App) boardLine(l lines.Line) switchboard.Line {
	c := a.Config
	out := switchboard.Line{Line: l.Line, Hours: a.hours(l)}
	shown := l.Shown
	if shown == "" {
		shown = l.Number
	}
	maxWait := cmp.Or(seconds(l.MaxWaitS), c.Queue.MaxWait)
	if maxWait == 0 {
		maxWait = -1 // for ever
	}
	out.Settings = call.Settings{Early: l.Early, Dialect: l.Dialect, Shown: pii.NewPhone(shown), Number: l.Number, SayWho: true,
		Ring: seconds(l.RingS), Limit: l.MaxQueue, MaxWait: maxWait, ShortAbandon: cmp.Or(seconds(l.ShortAbandon), c.Books.ShortAbandon),
		HoldMusic: true, NoRecording: l.NoRecording || !c.Media.Record, NoMessages: l.NoMessages,
		Spoken: ivr.Settings{Notice: l.Notice, FirstSaid: seconds(l.FirstSaidS), FirstOffer: seconds(l.FirstOfferS)}}
	return out
}

// hours in the office's time zone.
func (a *App) hours(l lines.Line) switchboard.Hours {
	h, err := lines.ParseHours(l.Hours)
	if err != nil { // Save refuses such a line; one that got in all the same is open rather than closed
		a.log.Error("hours of a line cannot be read; it counts as always open", "line", l.ID, "err", err)
		return switchboard.Hours{Zone: a.Config.location()}
	}
	spans := func(in []lines.Span) []switchboard.Span {
		out := make([]switchboard.Span, len(in))
		for i, s := range in {
			out[i] = switchboard.Span{From: s.From, To: s.To}
		}
		return out
	}
	out := switchboard.Hours{Zone: a.Config.location()}
	if h.Week != nil {
		out.Week = map[time.Weekday][]switchboard.Span{}
		for d, s := range h.Week {
			out.Week[d] = spans(s)
		}
	}
	for d, s := range h.Days {
		if out.Days == nil {
			out.Days = map[string][]switchboard.Span{}
		}
		out.Days[d] = spans(s)
	}
	return out
}

// lineOf finds the line of a called number on this machine's switchboard.
func (a *App) lineOf(called, _ string) (intake.LineID, bool) {
	list := a.lines.Load()
	if list == nil {
		return "", false
	}
	l, ok := lines.Find(*list, a.Config.switchboard(), called)
	return l.ID, ok
}

// lineName is what people call a line.
func (a *App) lineName(id intake.LineID) string {
	if list := a.lines.Load(); list != nil {
		for _, l := range *list {
			if l.ID == id {
				return l.Name
			}
		}
	}
	return string(id)
}
