package books

import (
	"context"
	"fmt"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// Caller says what we know of somebody who calls just now.
func (b *Books) Caller(ctx context.Context, token intake.Token, now time.Time) (CallerFacts, error) {
	var f CallerFacts
	if token == "" {
		return f, nil
	}
	var met int64
	if err := b.each(ctx, func(s scanner) error { return s.Scan(&f.Contacts, &f.Known) }, "SELECT contacts, known FROM callers WHERE token = ?", string(token)); err != nil {
		return f, err
	}
	if f.Contacts == 0 {
		return f, nil
	}
	if err := b.each(ctx, func(s scanner) error { return s.Scan(&met) },
		`SELECT COALESCE(MAX(at), 0) FROM (SELECT MAX(reached) AS at FROM contacts WHERE caller = ?
			UNION ALL SELECT MAX(at) FROM reaches WHERE caller = ? AND how <> 'supervisor') AS met`, string(token), string(token)); err != nil {
		return f, err
	}
	f.LastReached = store.Time(met)
	if err := b.each(ctx, func(s scanner) error {
		var arrived int64
		if err := s.Scan(&f.LastContact, &arrived); err != nil {
			return err
		}
		f.LastArrived = store.Time(arrived)
		return nil
	}, "SELECT id, arrived FROM contacts WHERE caller = ? AND arrived <= ? ORDER BY arrived DESC, id DESC LIMIT 1", string(token), store.Millis(now)); err != nil {
		return f, err
	}
	// What a supervisor has closed is no longer in an open callback, nor counted here.
	if err := b.each(ctx, func(s scanner) error {
		var first, last int64
		if err := s.Scan(&f.Attempts, &first, &last); err != nil {
			return err
		}
		f.FirstFailed, f.Failed = store.Time(first), store.Time(last)
		return nil
	}, `SELECT COUNT(*), COALESCE(MIN(c.arrived), 0), COALESCE(MAX(c.arrived), 0) FROM callbacks b
		JOIN callback_contacts bc ON bc.callback = b.id JOIN contacts c ON c.id = bc.contact
		WHERE b.caller = ? AND b.cleared_by = ''`, string(token)); err != nil {
		return f, err
	}
	if err := b.each(ctx, func(s scanner) error { return s.Scan(&f.Callback, &f.InHand) },
		"SELECT id, in_hand FROM callbacks WHERE caller = ? AND cleared_by = '' ORDER BY first_attempt, id LIMIT 1", string(token)); err != nil {
		return f, err
	}
	err := b.each(ctx, func(s scanner) error {
		var id intake.ContactID
		if err := s.Scan(&id); err != nil {
			return err
		}
		f.Open = append(f.Open, id)
		return nil
	}, "SELECT id FROM contacts WHERE caller = ? AND outcome = '' ORDER BY arrived, id", string(token))
	return f, err
}

const callbackColumns = `SELECT b.id, b.seq, b.caller, b.line, b.cause, b.first_attempt, b.due, b.born, b.number, b.name, b.known, b.in_hand, b.taken, b.given_by, b.visit,
	b.cleared, b.cleared_by, b.cleared_contact, b.cleared_attempt, b.cleared_case, b.cleared_user, b.cleared_reason FROM callbacks b`

func scanCallback(s scanner) (Callback, error) {
	var c Callback
	var first, due, born, taken, cleared int64
	var number, name string
	err := s.Scan(&c.ID, &c.Sequence, &c.Caller, &c.Line, &c.Cause, &first, &due, &born, &number, &name, &c.Known, &c.InHand, &taken, &c.GivenBy, &c.Visit,
		&cleared, &c.ClearedBy, &c.ClearedContact, &c.ClearedAttempt, &c.ClearedCase, &c.ClearedUser, &c.ClearedReason)
	c.FirstAttempt, c.Due, c.Born, c.Taken, c.Cleared = store.Time(first), store.Time(due), store.Time(born), store.Time(taken), store.Time(cleared)
	c.Number, c.Name = pii.NewPhone(number), pii.NewName(name)
	return c, err
}

// Waited is how long the caller has been waiting for us: until they were reached, or until now.
func (c *Callback) Waited(now time.Time) time.Duration {
	if c.ClearedBy != "" {
		now = c.Cleared
	}
	return max(now.Sub(c.FirstAttempt), 0)
}

// State of a callback that is owed.
func (b *Books) State(c *Callback, now time.Time) State {
	switch {
	case c.InHand != "":
		return InHand
	case now.After(c.Due):
		return Overdue
	case c.Due.Sub(now) <= b.cfg.Soon:
		return DueSoon
	}
	return Later
}

// callbacks reads those chosen by where, with all that belongs to them.
func (b *Books) callbacks(ctx context.Context, where string, args ...any) ([]Callback, error) {
	var list []Callback
	at := map[intake.CallbackID]int{}
	if err := b.each(ctx, func(s scanner) error {
		c, err := scanCallback(s)
		at[c.ID] = len(list)
		list = append(list, c)
		return err
	}, callbackColumns+where, args...); err != nil {
		return nil, err
	}
	const batch = 400 // ids in one query
	for from := 0; from < len(list); from += batch {
		part := list[from:min(from+batch, len(list))]
		ids := make([]intake.CallbackID, len(part))
		callers := make([]intake.Token, len(part))
		for i, c := range part {
			ids[i], callers[i] = c.ID, c.Caller
		}
		if err := b.belongings(ctx, list, at, ids, callers); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func (b *Books) belongings(ctx context.Context, list []Callback, at map[intake.CallbackID]int, ids []intake.CallbackID, callers []intake.Token) error {
	where, args := in("bc.callback", ids)
	if err := b.each(ctx, func(s scanner) error {
		var id intake.CallbackID
		var a Attempt
		var arrived, waited int64
		var flags string
		if err := s.Scan(&id, &a.Contact, &a.Channel, &arrived, &a.Outcome, &a.Reason, &flags, &waited); err != nil {
			return err
		}
		a.At, a.Flags, a.Waited = store.Time(arrived), splitFlags(flags), time.Duration(waited)*time.Millisecond
		c := &list[at[id]]
		c.Attempts = append(c.Attempts, a)
		return nil
	}, `SELECT bc.callback, c.id, c.channel, c.arrived, c.outcome, c.reason, c.flags, c.waited_ms FROM callback_contacts bc
		JOIN contacts c ON c.id = bc.contact WHERE `+where+" ORDER BY c.arrived, c.id", args...); err != nil {
		return err
	}
	where, args = in("callback", ids)
	if err := b.each(ctx, func(s scanner) error {
		var id intake.CallbackID
		var t Try
		var when int64
		if err := s.Scan(&id, &t.Attempt, &t.Operator, &t.Result, &t.Seconds, &t.Recording, &when); err != nil {
			return err
		}
		t.At = store.Time(when)
		c := &list[at[id]]
		c.Tries = append(c.Tries, t)
		return nil
	}, "SELECT callback, attempt, operator, result, seconds, recording, at FROM callback_tries WHERE "+where+" ORDER BY at, attempt", args...); err != nil {
		return err
	}
	calling := map[intake.Token]intake.ContactID{}
	where, args = in("caller", callers)
	if err := b.each(ctx, func(s scanner) error {
		var token intake.Token
		var id intake.ContactID
		err := s.Scan(&token, &id)
		calling[token] = id
		return err
	}, "SELECT caller, id FROM contacts WHERE outcome = '' AND "+where+" ORDER BY arrived, id", args...); err != nil {
		return err
	}
	for _, id := range ids {
		if c := &list[at[id]]; c.ClearedBy == "" {
			c.Calling = calling[c.Caller]
		}
	}
	return nil
}

// Unreturned lists those who were not reached yet, one row for each caller and line, who has waited longest first.
func (b *Books) Unreturned(ctx context.Context, f UnreturnedFilter) ([]Callback, error) {
	var c cond
	c.and("b.cleared_by = ''")
	c.span("b.first_attempt", f.From, f.To)
	if f.Line != "" {
		c.and("b.line = ?", string(f.Line))
	}
	if f.Operator != "" {
		c.and("b.in_hand = ?", string(f.Operator))
	}
	if f.Cause != "" {
		c.and("EXISTS (SELECT 1 FROM callback_contacts bc JOIN contacts k ON k.id = bc.contact WHERE bc.callback = b.id AND k.outcome = ?)", string(f.Cause))
	}
	now := b.now()
	soon := store.Millis(now.Add(b.cfg.Soon))
	switch f.State {
	case "":
	case InHand:
		c.and("b.in_hand <> ''")
	case Overdue:
		c.and("b.in_hand = '' AND b.due < ?", store.Millis(now))
	case DueSoon:
		c.and("b.in_hand = '' AND b.due >= ? AND b.due <= ?", store.Millis(now), soon)
	case Later:
		c.and("b.in_hand = '' AND b.due > ?", soon)
	default:
		return nil, fmt.Errorf("%w: state %q", ErrInvalid, f.State)
	}
	order := " ORDER BY b.first_attempt, b.id"
	if f.Newest {
		order = " ORDER BY b.first_attempt DESC, b.id DESC"
	}
	query := c.where() + order
	if f.Limit > 0 {
		query += " LIMIT ?"
		c.args = append(c.args, f.Limit)
	}
	return b.callbacks(ctx, query, c.args...)
}

// Callback of that id, owed or cleared; ErrNotFound.
func (b *Books) Callback(ctx context.Context, id intake.CallbackID) (Callback, error) {
	list, err := b.callbacks(ctx, " WHERE b.id = ?", string(id))
	if err != nil {
		return Callback{}, err
	}
	if len(list) == 0 {
		return Callback{}, fmt.Errorf("%w: callback %s", ErrNotFound, id)
	}
	return list[0], nil
}

// CallbacksOf a caller, newest first.
func (b *Books) CallbacksOf(ctx context.Context, caller intake.Token) ([]Callback, error) {
	return b.callbacks(ctx, " WHERE b.caller = ? ORDER BY b.first_attempt DESC, b.id DESC", string(caller))
}

// ClearedToday lists the callbacks whose callers were reached on the office's day of now, the latest first.
func (b *Books) ClearedToday(ctx context.Context) ([]Callback, error) {
	from, to := b.Today(b.now())
	return b.callbacks(ctx, " WHERE b.cleared_by <> '' AND b.cleared >= ? AND b.cleared < ? ORDER BY b.cleared DESC, b.id DESC", store.Millis(from), store.Millis(to))
}

// CallbackSummary counts what is owed.
func (b *Books) CallbackSummary(ctx context.Context) (Summary, error) {
	out := Summary{Ages: []Age{{Up: 15 * time.Minute}, {Up: time.Hour}, {Up: 4 * time.Hour}, {Up: 24 * time.Hour}, {}}}
	now := b.now()
	people := map[intake.Token]bool{}
	err := b.each(ctx, func(s scanner) error {
		var c Callback
		var first, due int64
		if err := s.Scan(&c.Caller, &first, &due, &c.InHand); err != nil {
			return err
		}
		c.FirstAttempt, c.Due = store.Time(first), store.Time(due)
		people[c.Caller] = true
		out.Owed++
		state := b.State(&c, now)
		switch state {
		case InHand:
			out.InHand++
		case Overdue:
			out.Overdue++
		case DueSoon:
			out.DueSoon++
		case Later:
			out.Later++
		}
		for i := range out.Ages {
			if a := &out.Ages[i]; a.Up == 0 || c.Waited(now) <= a.Up {
				a.N++
				if state == Overdue {
					a.Overdue++
				}
				break
			}
		}
		return nil
	}, "SELECT caller, first_attempt, due, in_hand FROM callbacks WHERE cleared_by = ''")
	out.People = int64(len(people))
	return out, err
}

// OperatorFigures of the span from ≤ t < to, by operator id.
func (b *Books) OperatorFigures(ctx context.Context, from, to time.Time) ([]OperatorFigures, error) {
	var list []OperatorFigures
	at := map[intake.UserID]int{}
	of := func(id intake.UserID) *OperatorFigures {
		i, ok := at[id]
		if !ok {
			i = len(list)
			at[id] = i
			list = append(list, OperatorFigures{Operator: id, Unrang: map[string]int64{}})
		}
		return &list[i]
	}
	var c cond
	c.and("reached > 0 AND operator <> ''")
	c.span("arrived", from, to)
	if err := b.each(ctx, func(s scanner) error {
		var id intake.UserID
		var n, talked, dropped int64
		if err := s.Scan(&id, &n, &talked, &dropped); err != nil {
			return err
		}
		f := of(id)
		f.Answered, f.QuickDrops, f.Talked = n, dropped, time.Duration(talked)*time.Millisecond
		return nil
	}, `SELECT operator, COUNT(*), SUM(talked_ms), SUM(CASE WHEN flags <> '' AND (',' || flags || ',') LIKE '%,quick_drop,%' THEN 1 ELSE 0 END)
		FROM contacts`+c.where()+" GROUP BY operator ORDER BY operator", c.args...); err != nil {
		return nil, err
	}
	c = cond{}
	c.and("operator <> ''")
	c.span("rang", from, to)
	err := b.each(ctx, func(s scanner) error {
		var id intake.UserID
		var why string
		var n, unanswered int64
		if err := s.Scan(&id, &why, &n, &unanswered); err != nil {
			return err
		}
		f := of(id)
		f.Rings += n
		if unanswered > 0 {
			f.Unrang[why] += unanswered
		}
		return nil
	}, "SELECT operator, why, COUNT(*), SUM(CASE WHEN unrang > 0 AND answered = 0 THEN 1 ELSE 0 END) FROM contact_offers"+c.where()+" GROUP BY operator, why ORDER BY operator, why", c.args...)
	return list, err
}

// Presence is every operator's latest state; those who are offline are not there.
func (b *Books) Presence(ctx context.Context) ([]Presence, error) {
	var list []Presence
	err := b.each(ctx, func(s scanner) error {
		var p Presence
		var at int64
		if err := s.Scan(&p.Operator, &p.State, &p.Reason, &at); err != nil {
			return err
		}
		p.Since = store.Time(at)
		list = append(list, p)
		return nil
	}, `SELECT s.operator, s.state, s.reason, s.at FROM operator_states s
		WHERE s.seq = (SELECT MAX(o.seq) FROM operator_states o WHERE o.operator = s.operator) AND s.state <> 'offline' ORDER BY s.operator`)
	return list, err
}

// Staff counts who was at a desk at some time in from ≤ t < to, and who took a break in it.
func (b *Books) Staff(ctx context.Context, from, to time.Time) (Staff, error) {
	states := map[string][2]bool{}
	err := b.each(ctx, func(s scanner) error {
		var id, state string
		if err := s.Scan(&id, &state); err != nil {
			return err
		}
		is := states[id]
		is[0] = is[0] || state != "offline"
		is[1] = is[1] || state == "break"
		states[id] = is
		return nil
	}, `SELECT operator, state FROM operator_states WHERE at >= ? AND at < ?
		UNION ALL SELECT s.operator, s.state FROM operator_states s WHERE s.seq =
			(SELECT o.seq FROM operator_states o WHERE o.operator = s.operator AND o.at < ? ORDER BY o.at DESC, o.seq DESC LIMIT 1)`,
		store.Millis(from), store.Millis(to), store.Millis(from))
	var out Staff
	for _, is := range states {
		if is[0] {
			out.Present++
		}
		if is[1] {
			out.OnBreak++
		}
	}
	return out, err
}
