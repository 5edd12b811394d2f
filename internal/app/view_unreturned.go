package app

import (
	"context"
	"errors"
	"time"

	"yingda/intake"
	"yingda/intake/books"
	"yingda/internal/pii"
	"yingda/internal/users"
	"yingda/routing"
	"yingda/routing/casebook"
	"yingda/telephony"
	"yingda/telephony/switchboard"
	"yingda/web"
)

type unreturnedView struct{ *view }

const clearedShown = 3

// People who tried to reach us and whom nobody has reached since.
func (v unreturnedView) People(ctx context.Context, f web.UnreturnedFilter) (web.Owed, error) {
	now := v.now()
	out := web.Owed{AsOf: v.asOf(ctx, now), Lines: v.lineChoices(), Grids: v.gridChoices(), Operators: v.operators(ctx)}
	sum, err := v.books.CallbackSummary(ctx)
	if err != nil {
		return out, err
	}
	out.Total, out.Overdue, out.Calling = int(sum.Owed), int(sum.Overdue), int(sum.InHand)
	out.Waiting = int(sum.DueSoon + sum.Later)
	filter := v.unreturnedQuery(f, now)
	filter.Limit = 500
	list, err := v.books.Unreturned(ctx, filter)
	if err != nil {
		return out, err
	}
	calling := v.callsBack(ctx)
	for _, c := range list {
		p := v.owed(ctx, c, calling)
		if f.Grid != "" && p.Grid.ID != f.Grid || f.Who == "nobody" && p.Holder.ID != "" {
			continue
		}
		out.People = append(out.People, p)
	}
	cleared, err := v.books.ClearedToday(ctx)
	if err != nil {
		return out, err
	}
	out.ClearedTotal = len(cleared)
	for i, c := range cleared {
		if i == clearedShown {
			break
		}
		out.Cleared = append(out.Cleared, v.cleared(ctx, c))
	}
	return out, v.lostToday(ctx, &out, now)
}

// unreturnedQuery is what a filter of the pages asks of the books.
func (v *view) unreturnedQuery(f web.UnreturnedFilter, now time.Time) books.UnreturnedFilter {
	q := books.UnreturnedFilter{Line: f.Line, Cause: f.Cause}
	if f.Who != "" && f.Who != "nobody" {
		q.Operator = intake.UserID(f.Who)
	}
	if f.Under > 0 {
		q.From = now.Add(-f.Under)
	}
	if f.Over > 0 {
		q.To = now.Add(-f.Over)
	}
	return q
}

func (v unreturnedView) lostToday(ctx context.Context, out *web.Owed, now time.Time) error {
	from, to := v.books.Today(now)
	people := map[intake.Token]bool{}
	for c, err := range v.books.Contacts(ctx, books.Filter{From: from, To: to, Lost: true}) {
		if err != nil {
			return err
		}
		out.LostToday++
		if c.Caller != "" {
			people[c.Caller] = true
		}
	}
	out.LostPeople = len(people)
	return nil
}

// owed is one person's row.
func (v *view) owed(ctx context.Context, c books.Callback, calling map[intake.CallbackID]time.Time) web.OwedPerson {
	p := web.OwedPerson{Callback: c.ID, First: c.FirstAttempt, Due: c.Due, Cause: c.Cause, Line: v.lineName(c.Line), Holder: v.staff(ctx, c.InHand), Visit: c.Visit}
	person, cards := v.person(ctx, c.Caller, c.Number, c.Name)
	p.Person = person
	p.Grid, _, _ = v.home(cards)
	for _, a := range c.Attempts {
		p.Theirs = append(p.Theirs, a.At)
		p.Contact = a.Contact
		p.Cause = a.Outcome
	}
	p.Ours = v.tries(ctx, c.Tries)
	p.Calling = calling[c.ID]
	if cases, err := v.cases.ForCallback(ctx, c.ID); err == nil && len(cases) > 0 {
		p.Case = cases[0].ID
	}
	return p
}

func (v *view) tries(ctx context.Context, list []books.Try) []web.Try {
	var out []web.Try
	for _, t := range list {
		out = append(out, web.Try{At: t.At, By: v.staff(ctx, t.Operator), Result: t.Result, Took: time.Duration(t.Seconds) * time.Second})
	}
	return out
}

func (v *view) cleared(ctx context.Context, c books.Callback) web.Cleared {
	out := web.Cleared{At: c.Cleared, By: c.ClearedBy, Who: v.staff(ctx, c.ClearedUser), Tries: len(c.Tries), Reason: c.ClearedReason, Contact: c.ClearedContact}
	out.Person, _ = v.person(ctx, c.Caller, c.Number, c.Name)
	if out.Contact == "" && len(c.Attempts) > 0 {
		out.Contact = c.Attempts[len(c.Attempts)-1].Contact
	}
	return out
}

// callsBack says which callbacks are being phoned now, and since when.
func (v *view) callsBack(ctx context.Context) map[intake.CallbackID]time.Time {
	m := map[intake.CallbackID]time.Time{}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	snap, _ := look(ctx, v.App, func(now time.Time) switchboard.Snapshot { return v.board.Snapshot(now) })
	for _, b := range snap.Backs {
		m[b.Callback] = b.Since
	}
	return m
}

// Heat counts lost contacts by quarter of an hour.
func (v unreturnedView) Heat(ctx context.Context, days int) (web.Heat, error) {
	list, err := v.books.Heat(ctx, days)
	if err != nil {
		return web.Heat{}, err
	}
	var h web.Heat
	now := v.now()
	for _, d := range list {
		day := web.HeatDay{Day: d.Start, Lost: int(d.Lost), Offered: int(d.Offered)}
		next := d.Start.In(v.books.Office()).AddDate(0, 0, 1)
		for at := d.Start; at.Before(next) && at.Before(now); at = at.Add(15 * time.Minute) {
			day.Quarters = append(day.Quarters, web.HeatQuarter{})
		}
		for _, b := range d.Bars {
			if i := int(b.Start.Sub(d.Start) / (15 * time.Minute)); i >= 0 && i < len(day.Quarters) {
				day.Quarters[i] = web.HeatQuarter{Lost: int(b.Lost), Offered: int(b.Offered)}
			}
		}
		h.Days = append(h.Days, day)
	}
	return h, nil
}

type callbackDeeds struct{ *view }

// deedError turns what the books refuse into what a page has a sentence for.
func deedError(err error) error {
	switch {
	case errors.Is(err, books.ErrNotFound):
		return web.ErrNotFound
	case errors.Is(err, books.ErrCleared):
		return web.ErrGone
	case errors.Is(err, books.ErrInHand), errors.Is(err, books.ErrNotYours):
		return web.ErrBusy
	case errors.Is(err, books.ErrNoReason):
		return web.FieldError{Field: "reason", Sentence: "请写明原因"}
	}
	return err
}

func notFound(err error) error {
	if errors.Is(err, books.ErrNotFound) {
		return web.ErrNotFound
	}
	return err
}

// Call takes the callback in hand and rings the viewer's phone, then the resident's.
func (v callbackDeeds) Call(ctx context.Context, who web.Viewer, id intake.CallbackID) error {
	c, err := v.books.Callback(ctx, id)
	if err != nil {
		return notFound(err)
	}
	if !c.Cleared.IsZero() {
		return web.ErrGone
	}
	if !v.desks.reachable(who.ID) {
		return web.ErrNoPhone
	}
	seats, _, err := v.seats(ctx)
	if err != nil {
		return err
	}
	for _, s := range seats {
		if s.Operator == who.ID && len(s.With) > 0 {
			return web.ErrOnCall
		}
	}
	if err := v.books.TakeCallback(ctx, id, who.ID); err != nil {
		return deedError(err)
	}
	v.loop.Send(telephony.CallBack{Attempt: intake.AttemptID(newID()), Callback: id, Operator: who.ID, Number: c.Number, Line: c.Line, Apart: !users.May(who.Role, users.OwnDesk)})
	return nil
}

func (v callbackDeeds) Take(ctx context.Context, who web.Viewer, id intake.CallbackID) error {
	return deedError(v.books.TakeCallback(ctx, id, who.ID))
}

func (v callbackDeeds) Release(ctx context.Context, who web.Viewer, id intake.CallbackID) error {
	return deedError(v.books.ReleaseCallback(ctx, id, who.ID))
}

func (v callbackDeeds) Assign(ctx context.Context, who web.Viewer, id intake.CallbackID, to intake.UserID) error {
	return deedError(v.books.AssignCallback(ctx, id, to, who.ID))
}

func (v callbackDeeds) Close(ctx context.Context, who web.Viewer, id intake.CallbackID, reason, words string) error {
	if words != "" {
		reason += ": " + words
	}
	return deedError(v.books.CloseCallback(ctx, id, who.ID, reason))
}

// Visit opens the case that asks a grid worker to go, before the failed tries would.
func (v callbackDeeds) Visit(ctx context.Context, who web.Viewer, id intake.CallbackID, words string) error {
	c, err := v.books.Callback(ctx, id)
	if err != nil {
		return notFound(err)
	}
	if !c.Cleared.IsZero() {
		return web.ErrGone
	}
	return v.askVisit(ctx, who, c, pii.NewText(words))
}

// askVisit opens the case of a visit by hand. The same callback again gives the same case.
func (v *view) askVisit(ctx context.Context, who web.Viewer, c books.Callback, words pii.Text) error {
	_, cards := v.person(ctx, c.Caller, c.Number, c.Name)
	_, address, home := v.home(cards)
	o := casebook.OpenCase{Key: "visit/" + string(c.ID), Source: intake.FromVisit, Callback: c.ID, Caller: c.Caller, Partition: string(c.Caller), Channel: intake.Phone, Line: c.Line,
		Words: words, Address: address, Home: home, Name: c.Name, Number: c.Number, By: who.ID, Next: routing.NextDispatch}
	for _, a := range c.Attempts {
		o.Contacts = append(o.Contacts, a.Contact)
	}
	for _, k := range cards {
		o.Older = o.Older || k.Older
	}
	_, err := v.cases.Open(ctx, o)
	return refusal(err)
}
