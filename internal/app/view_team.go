package app

import (
	"cmp"
	"context"
	"slices"
	"time"

	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/users"
	"yingda/web"
)

type teamView struct{ *view }

// Now is who waits and who is at a desk, as the switchboard's queue has it; those with an account who are not there are offline.
func (v teamView) Now(ctx context.Context) (web.TeamNow, error) {
	now := v.now()
	out := web.TeamNow{AsOf: now}
	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	seats, waiting, err := v.seats(short)
	if err != nil {
		return out, ctx.Err() // a switchboard that is busy is not an error of the page: it says that nobody knows
	}
	out.Known = true
	for _, w := range waiting {
		out.Waiting = append(out.Waiting, v.waits(ctx, w))
	}
	at := map[intake.UserID]queue.Seat{}
	for _, s := range seats {
		at[s.Operator] = s
	}
	for _, u := range v.deskUsers(ctx) {
		seat := web.Seat{Staff: web.Staff{ID: u.ID, Name: u.Name}, State: string(queue.StateOffline), Phone: v.desks.reachable(u.ID)}
		if s, ok := at[u.ID]; ok {
			seat.State, seat.Since, seat.Reason, seat.With = string(s.State), s.Since, s.Reason, s.With
			delete(at, u.ID)
		} else if u.Disabled {
			continue
		}
		out.Seats = append(out.Seats, seat)
	}
	for id, s := range at { // whose account is gone or changed its role while they were at work
		out.Seats = append(out.Seats, web.Seat{Staff: v.staff(ctx, id), State: string(s.State), Since: s.Since, Reason: s.Reason, With: s.With, Phone: v.desks.reachable(id)})
	}
	slices.SortFunc(out.Seats, func(a, b web.Seat) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}

// deskUsers are the accounts with a desk of their own.
func (v *view) deskUsers(ctx context.Context) []users.User {
	v.names.load(ctx)
	v.names.mu.Lock()
	defer v.names.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(v.names.list), func(u users.User) bool {
		return u.Role != users.Operator && u.SIPUser == "" || !users.May(u.Role, users.OwnDesk)
	})
}

// waits is one who waits. The queue knows when they came and why they go ahead; the books know who they are, a moment later.
func (v *view) waits(ctx context.Context, w queue.Waiter) web.Waits {
	out := web.Waits{Contact: w.Contact, Channel: w.Channel, LineID: w.Line, Line: v.lineName(w.Line), Arrived: w.Arrived, Why: w.Why, Rings: v.staff(ctx, w.Offered)}
	if c, err := v.books.Contact(ctx, w.Contact); err == nil {
		out.Person, _ = v.person(ctx, c.Caller, c.Number, c.Name)
	}
	return out
}

// Over is what operators did.
func (v teamView) Over(ctx context.Context, from, to time.Time) (web.TeamPast, error) {
	now := v.now()
	out := web.TeamPast{AsOf: v.asOf(ctx, now), From: from, To: to}
	if out.To.After(now) {
		out.To = now
	}
	figures, err := v.books.OperatorFigures(ctx, from, out.To)
	if err != nil {
		return out, err
	}
	channels, err := v.books.OperatorChannels(ctx, from, out.To)
	if err != nil {
		return out, err
	}
	times, err := v.books.StateTimes(ctx, from, out.To)
	if err != nil {
		return out, err
	}
	at := map[intake.UserID]*web.TeamRow{}
	row := func(id intake.UserID) *web.TeamRow {
		if at[id] == nil {
			at[id] = &web.TeamRow{Staff: v.staff(ctx, id), MissedWhy: map[string]int64{}}
		}
		return at[id]
	}
	for _, f := range figures {
		r := row(f.Operator)
		r.Answered, r.QuickDrops, r.Talked, r.Rings = f.Answered, f.QuickDrops, f.Talked, f.Rings
		for why, n := range f.Unrang {
			if why != "resident_left" {
				r.Missed += n
				r.MissedWhy[why] += n
			}
		}
	}
	for id, by := range channels {
		r := row(id)
		for c, n := range by {
			switch c {
			case intake.Phone, intake.WebCall:
				r.Calls += n
			case intake.Chat:
				r.Chats += n
			default:
				r.Other += n
			}
		}
	}
	for id, states := range times {
		r := row(id)
		for state, d := range states {
			r.AtDesk += d
			switch queue.State(state) {
			case queue.StateWrapUp:
				r.Wrapped += d
			case queue.StateBreak:
				r.OnBreak += d
			}
		}
	}
	for _, r := range at {
		out.Rows = append(out.Rows, *r)
	}
	slices.SortFunc(out.Rows, func(a, b web.TeamRow) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return out, nil
}
