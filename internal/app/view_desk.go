package app

import (
	"context"
	"slices"
	"time"

	"yingda/intake"
	"yingda/intake/books"
	"yingda/intake/queue"
	"yingda/telephony/call"
	"yingda/telephony/switchboard"
	"yingda/web"
)

type deskView struct{ *view }

// Mine is what concerns one operator now.
func (v deskView) Mine(ctx context.Context, who web.Viewer) (web.MyDesk, error) {
	now := v.now()
	d := web.MyDesk{AsOf: v.asOf(ctx, now), State: string(queue.StateOffline), Phone: v.desks.reachable(who.ID)}
	if u, err := v.users.ByID(ctx, who.ID); err == nil {
		d.SIPUser = u.SIPUser
	}
	soon, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	snap, err := look(soon, v.App, func(time.Time) queue.Snapshot { return v.queue.Snapshot() })
	if err != nil {
		return d, err
	}
	board, err := look(soon, v.App, func(now time.Time) switchboard.Snapshot { return v.board.Snapshot(now) })
	if err != nil {
		return d, err
	}
	d.Seats, d.Waiting = countSeats(snap.Operators), len(snap.Waiting)
	for _, w := range snap.Waiting {
		d.Longest = max(d.Longest, now.Sub(w.Arrived))
	}
	for _, s := range snap.Operators {
		if s.Operator == who.ID {
			d.State, d.Since, d.Reason = string(s.State), s.Since, s.Reason
		}
	}
	from, to := v.books.Today(now)
	if figures, err := v.books.OperatorFigures(ctx, from, to); err == nil {
		for _, f := range figures {
			if f.Operator == who.ID {
				d.Answered = int(f.Answered)
			}
		}
	}
	for _, c := range board.Calls {
		if c.Operator == who.ID && (c.Ringing || c.Stage == call.Talking) {
			d.Now = v.deskContact(ctx, c.Contact, now)
			d.Now.Silent = c.Silent
		}
	}
	calling := map[intake.CallbackID]time.Time{}
	for _, b := range board.Backs {
		calling[b.Callback] = b.Since
		if b.Operator == who.ID {
			if c, err := v.books.Callback(ctx, b.Callback); err == nil && len(c.Attempts) > 0 {
				d.Now = v.deskContact(ctx, c.Attempts[len(c.Attempts)-1].Contact, now)
				d.Now.Callback = true
			}
		}
	}
	if d.Now == nil && d.State == string(queue.StateWrapUp) {
		d.Now = v.justEnded(ctx, who.ID, d.Since, now)
		if b := v.desks.lastBack(who.ID); b.callback != "" && !b.at.Before(d.Since.Add(-5*time.Second)) {
			if c, err := v.books.Callback(ctx, b.callback); err == nil && len(c.Attempts) > 0 {
				d.Now = v.deskContact(ctx, c.Attempts[len(c.Attempts)-1].Contact, now)
				d.Now.Callback = true
			}
		}
	}
	if d.Asked, err = v.asked(ctx, now); err != nil {
		return d, err
	}
	owed, err := v.books.Unreturned(ctx, books.UnreturnedFilter{Limit: 100})
	if err != nil {
		return d, err
	}
	for _, c := range owed {
		if c.InHand == "" || c.InHand == who.ID {
			d.Due = append(d.Due, v.owed(ctx, c, calling))
		}
		if len(d.Due) == 12 {
			break
		}
	}
	return d, nil
}

// justEnded is whom the operator writes up: the contact that they answered last, when its end is what made them write.
func (v *view) justEnded(ctx context.Context, op intake.UserID, since, now time.Time) *web.DeskContact {
	for c, err := range v.books.Contacts(ctx, books.Filter{Operator: op, From: now.Add(-24 * time.Hour), Limit: 1}) {
		if err == nil && (c.Ended.IsZero() || !c.Ended.Before(since.Add(-5*time.Second))) {
			return v.deskContact(ctx, c.ID, now)
		}
	}
	return nil
}

const earlierShown = 3

// deskContact is who an operator's phone rings for.
func (v *view) deskContact(ctx context.Context, id intake.ContactID, now time.Time) *web.DeskContact {
	out := &web.DeskContact{Contact: id}
	c, err := v.books.Contact(ctx, id)
	if err != nil { // the books are a moment behind: the page comes again
		return out
	}
	person, cards := v.person(ctx, c.Caller, c.Number, c.Name)
	out.Person, out.Line, out.Arrived, out.First = person, v.lineName(c.Line), c.Arrived, c.Arrived
	out.Home, out.Address, _ = v.home(cards)
	out.Done = c.Case != ""
	for _, k := range cards {
		may := web.WhoMayBe{ID: k.ID, Person: web.Person{Name: k.Name, Number: c.Number, Notes: k.Notes}, Home: v.plate(k.Grid), Address: k.Address}
		if len(k.Also) > 0 {
			may.Person.Called = k.Also[0].Reveal()
		}
		out.Who = append(out.Who, may)
		out.Alone = out.Alone || slices.Contains(k.Notes, "独居")
	}
	out.Waited = now.Sub(c.Arrived)
	if !c.Answered.IsZero() {
		out.Waited = c.Answered.Sub(c.Arrived)
	}
	if c.Caller == "" {
		return out
	}
	for o, err := range v.books.Contacts(ctx, books.Filter{Caller: c.Caller, From: now.Add(-24 * time.Hour), Oldest: true}) {
		if err != nil {
			break
		}
		out.Theirs = append(out.Theirs, o.Arrived)
		if o.Arrived.Before(out.First) {
			out.First = o.Arrived
		}
	}
	for o, err := range v.books.Contacts(ctx, books.Filter{Caller: c.Caller, To: c.Arrived, Limit: earlierShown}) {
		if err != nil {
			break
		}
		out.Earlier = append(out.Earlier, web.ContactRow{ID: o.ID, Channel: o.Channel, Arrived: o.Arrived, Ended: o.Ended, Outcome: o.Outcome})
	}
	if c.Callback != "" {
		if b, err := v.books.Callback(ctx, c.Callback); err == nil {
			out.Ours = v.tries(ctx, b.Tries)
		}
	}
	if cases, err := v.cases.ForCaller(ctx, c.Caller, 3); err == nil {
		for _, k := range cases {
			out.Cases = append(out.Cases, v.caseRow(k, now))
		}
	}
	return out
}

func (v deskView) Break(ctx context.Context, who web.Viewer, reason string) error {
	return v.desks.say(ctx, who.ID, deskBreak, reason)
}

func (v deskView) Ready(ctx context.Context, who web.Viewer) error {
	if !v.desks.reachable(who.ID) && !v.desks.open(who.ID) {
		return web.ErrNoPhone
	}
	return v.desks.say(ctx, who.ID, deskIn, "")
}

// Signed writes down that somebody sat down at their desk, or left it.
func (v deskView) Signed(ctx context.Context, who web.Viewer, in bool) error {
	subject := who.ID.Subject()
	v.writer.write([]intake.Event{{Source: v.Source, Subject: subject, Sequence: v.seq.next(subject, v.Epoch), Time: intake.Millis(v.now()), PartitionKey: string(subject),
		Data: &intake.OperatorSignedV1{In: in}}}, nil)
	if !in {
		return nil // the phone on the desk goes on ringing for them until they say that they are out or on a break
	}
	if state, _ := v.desks.said(ctx, who.ID); state == deskOut {
		return v.desks.say(ctx, who.ID, deskIn, "")
	}
	return nil
}
