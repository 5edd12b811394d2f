package books

import (
	"context"
	"slices"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/intake/recovery"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// live are the channels in which an attempt is a wish to speak with a person.
const live = "('phone', 'webcall', 'chat', 'wechat')"

// settle makes a caller's callbacks agree with what they are owed, and writes what follows with its events. During a replay it waits for its end: CaughtUp.
func (w *work) settle(ctx context.Context, caller intake.Token) error {
	if later, err := w.rereading(ctx); err != nil || later {
		return err
	}
	p, err := w.person(ctx, caller)
	if err != nil || p == nil {
		return err
	}
	for _, e := range p.Settle(w.recovery, w.cfg.NewCallback) {
		if err := w.carryOut(ctx, caller, e); err != nil {
			return err
		}
	}
	return nil
}

// person gathers what bears on what a caller is owed; nil when nothing does.
func (w *work) person(ctx context.Context, caller intake.Token) (*recovery.Person, error) {
	p := &recovery.Person{Caller: caller}
	if err := w.each(ctx, func(s scanner) error {
		var c recovery.Callback
		var first, due int64
		if err := s.Scan(&c.ID, &c.Line, &c.Cause, &first, &due, &c.Visit); err != nil {
			return err
		}
		c.FirstAttempt, c.Due = store.Time(first), store.Time(due)
		p.Open = append(p.Open, c)
		return nil
	}, "SELECT id, line, cause, first_attempt, due, visit FROM callbacks WHERE caller = ? AND cleared_by = ''", string(caller)); err != nil {
		return nil, err
	}
	var met int64
	if err := w.each(ctx, func(s scanner) error { return s.Scan(&met) },
		`SELECT COALESCE(MAX(at), 0) FROM (SELECT MAX(reached) AS at FROM contacts WHERE caller = ?
			UNION ALL SELECT MAX(at) FROM reaches WHERE caller = ? AND how <> 'supervisor') AS met`, string(caller), string(caller)); err != nil {
		return nil, err
	}
	attempts, err := w.rows(ctx, "WHERE caller = ? AND owed = 1 AND arrived > ? ORDER BY arrived, id", string(caller), met)
	if err != nil {
		return nil, err
	}
	have := map[intake.ContactID]bool{}
	for _, a := range attempts {
		have[a.ID] = true
	}
	for i := range p.Open {
		c := &p.Open[i]
		of, err := w.rows(ctx, "WHERE id IN (SELECT contact FROM callback_contacts WHERE callback = ?) ORDER BY arrived, id", string(c.ID))
		if err != nil {
			return nil, err
		}
		for _, a := range of {
			c.Contacts = append(c.Contacts, a.ID)
			if !have[a.ID] && a.Caller == caller { // else it turned out to be somebody else's
				have[a.ID] = true
				attempts = append(attempts, a)
			}
		}
	}
	if len(attempts) == 0 && len(p.Open) == 0 {
		return nil, nil
	}
	var since time.Time
	for _, c := range p.Open {
		if since.IsZero() || c.FirstAttempt.Before(since) {
			since = c.FirstAttempt
		}
	}
	if len(attempts) > 0 && (since.IsZero() || attempts[0].Arrived.Before(since)) {
		since = attempts[0].Arrived
	}
	for _, a := range attempts {
		p.Attempts = append(p.Attempts, a.attempt())
		if a.Arrived.Before(since) {
			since = a.Arrived
		}
	}
	if p.Reaches, err = w.reaches(ctx, caller, since); err != nil {
		return nil, err
	}
	return p, w.each(ctx, func(s scanner) error {
		var t recovery.Try
		var at int64
		if err := s.Scan(&t.Attempt, &t.Line, &at); err != nil {
			return err
		}
		t.At = store.Time(at)
		p.Failed = append(p.Failed, t)
		return nil
	}, "SELECT attempt, line, at FROM callback_tries WHERE caller = ? AND at >= ? AND result <> 'reached'", string(caller), store.Millis(since))
}

// reaches of a caller from since on.
func (w *work) reaches(ctx context.Context, caller intake.Token, since time.Time) ([]recovery.Reach, error) {
	var list []recovery.Reach
	err := w.each(ctx, func(s scanner) error {
		var r recovery.Reach
		var at int64
		if err := s.Scan(&at, &r.By, &r.Line, &r.Contact, &r.Attempt, &r.Case, &r.User, &r.Reason); err != nil {
			return err
		}
		r.At = store.Time(at)
		list = append(list, r)
		return nil
	}, `SELECT at, how, line, '', attempt, case_id, person, reason FROM reaches WHERE caller = ? AND at >= ?
		UNION ALL SELECT reached, 'resident_reached_us', '', id, '', '', operator, '' FROM contacts WHERE caller = ? AND reached >= ? AND reached > 0
		ORDER BY 1, 4, 5`, string(caller), store.Millis(since), string(caller), store.Millis(since))
	return list, err
}

func (w *work) carryOut(ctx context.Context, caller intake.Token, effect recovery.Effect) error {
	now := w.now()
	switch e := effect.(type) {
	case recovery.Born:
		c := e.Callback
		if err := w.exec(ctx, `INSERT INTO callbacks (id, seq, caller, line, cause, first_attempt, due, born, number, name, known, in_hand, taken, given_by, visit,
			cleared, cleared_by, cleared_contact, cleared_attempt, cleared_case, cleared_user, cleared_reason)
			VALUES (?, 0, ?, ?, ?, ?, ?, ?, '', '', '', '', 0, '', 0, 0, '', '', '', '', '', '')`,
			string(c.ID), string(caller), string(c.Line), string(c.Cause), store.Millis(c.FirstAttempt), store.Millis(c.Due), store.Millis(now)); err != nil {
			return err
		}
		for _, contact := range c.Contacts {
			if err := w.join(ctx, c.ID, contact); err != nil {
				return err
			}
		}
		return w.emit(ctx, c.ID, now, &intake.CallbackBornV1{Caller: caller, Line: c.Line, Cause: c.Cause, FirstAttempt: c.FirstAttempt, Due: c.Due, Contacts: c.Contacts}, true)
	case recovery.Joined:
		if err := w.join(ctx, e.ID, e.Contact); err != nil {
			return err
		}
		if err := w.exec(ctx, `UPDATE callbacks SET cause = CASE WHEN first_attempt > ? THEN ? ELSE cause END, first_attempt = ?, due = ? WHERE id = ?`,
			store.Millis(e.FirstAttempt), string(e.Cause), store.Millis(e.FirstAttempt), store.Millis(e.Due), string(e.ID)); err != nil {
			return err
		}
		return w.emit(ctx, e.ID, now, &intake.CallbackJoinedV1{Contact: e.Contact, Cause: e.Cause}, false)
	case recovery.Cleared:
		r := e.By
		user := r.User
		if err := w.exec(ctx, `UPDATE callbacks SET in_hand = '', taken = 0, given_by = '', cleared = ?, cleared_by = ?, cleared_contact = ?, cleared_attempt = ?, cleared_case = ?,
			cleared_user = ?, cleared_reason = ? WHERE id = ?`,
			store.Millis(r.At), r.By, string(r.Contact), string(r.Attempt), string(r.Case), string(user), r.Reason, string(e.ID)); err != nil {
			return err
		}
		return w.emit(ctx, e.ID, now, &intake.CallbackClearedV1{By: r.By, Contact: r.Contact, Attempt: r.Attempt, Case: r.Case, User: user, Reason: r.Reason}, false)
	case recovery.Visit:
		if err := w.exec(ctx, "UPDATE callbacks SET visit = 1 WHERE id = ?", string(e.ID)); err != nil {
			return err
		}
		return w.emit(ctx, e.ID, now, &intake.CallbackVisitV1{Tries: e.Tries, Line: e.Line, Caller: caller, Contacts: e.Contacts}, true)
	}
	panic("books: an effect that recovery does not have")
}

func (w *work) join(ctx context.Context, id intake.CallbackID, contact intake.ContactID) error {
	if err := w.exec(ctx, "INSERT INTO callback_contacts (callback, contact) VALUES (?, ?) ON CONFLICT (callback, contact) DO NOTHING", string(id), string(contact)); err != nil {
		return err
	}
	number, name, known, err := w.personOf(ctx, "id IN (SELECT contact FROM callback_contacts WHERE callback = ?)", string(id))
	if err != nil {
		return err
	}
	return w.exec(ctx, "UPDATE callbacks SET number = ?, name = ?, known = ? WHERE id = ?", number, name, known, string(id))
}

// emit writes an event of a callback into the outbox, next in its sequence.
func (w *work) emit(ctx context.Context, id intake.CallbackID, now time.Time, data intake.Data, personal bool) error {
	var seq intake.Sequence
	var caller, num, name string
	if err := w.each(ctx, func(s scanner) error { return s.Scan(&seq, &caller, &num, &name) },
		"SELECT seq, caller, number, name FROM callbacks WHERE id = ?", string(id)); err != nil {
		return err
	}
	seq = seq.Next(w.cfg.Epoch)
	if err := w.exec(ctx, "UPDATE callbacks SET seq = ? WHERE id = ?", int64(seq), string(id)); err != nil {
		return err
	}
	e := intake.Event{Source: w.cfg.Source, Subject: id.Subject(), Sequence: seq, Time: now, PartitionKey: caller, Data: data}
	if personal {
		e.Personal = intake.Personal{Number: pii.NewPhone(num), Name: pii.NewName(name)}
	}
	return w.tx.Emit(ctx, e)
}

// episodes cuts a caller's attempts anew as far as something that happened at t can have changed them.
func (w *work) episodes(ctx context.Context, caller intake.Token, t time.Time) error {
	old, err := w.cases(ctx, "WHERE caller = ? AND (reached = 0 OR reached >= ? OR last_at >= ?)",
		string(caller), store.Millis(t), store.Millis(t.Add(-recovery.EpisodeGap)))
	if err != nil {
		return err
	}
	since := t
	for _, k := range old {
		if k.First.Before(since) {
			since = k.First
		}
	}
	// Some that began after since may be untouched by t; they are cut again with the rest.
	if old, err = w.cases(ctx, "WHERE caller = ? AND first_at >= ?", string(caller), store.Millis(since)); err != nil {
		return err
	}
	attempts, err := w.rows(ctx, "WHERE caller = ? AND arrived >= ? AND offered_seq > 0 AND channel IN "+live, string(caller), store.Millis(since))
	if err != nil {
		return err
	}
	reaches, err := w.reaches(ctx, caller, since)
	if err != nil {
		return err
	}
	var met []time.Time
	for _, r := range reaches {
		if r.Met() {
			met = append(met, r.At)
		}
	}
	byLine := map[intake.LineID][]recovery.Attempt{}
	for _, a := range attempts {
		byLine[a.Line] = append(byLine[a.Line], a.attempt())
	}
	fresh := map[intake.ContactID]episode{}
	for _, list := range byLine {
		for _, e := range recovery.Episodes(list, met, w.cfg.Office) {
			f := e.First()
			fresh[f.Contact] = episode{last: e.Attempts[len(e.Attempts)-1].Arrived, attempts: len(e.Attempts),
				Case: answerrate.Case{Contact: f.Contact, Caller: caller, Line: f.Line, Channel: f.Channel, First: f.Arrived, Reached: e.Reached, Outcome: f.Outcome, Reason: f.Reason}}
		}
	}
	for _, k := range old {
		if _, ok := fresh[k.Contact]; !ok {
			if err := w.exec(ctx, "DELETE FROM episodes WHERE contact = ?", string(k.Contact)); err != nil {
				return err
			}
		}
	}
	for id, k := range fresh {
		if i := slices.IndexFunc(old, func(o episode) bool { return o.Contact == id }); i >= 0 && old[i] == k {
			continue
		}
		if err := w.exec(ctx, `INSERT INTO episodes (contact, caller, line, channel, first_at, last_at, attempts, reached, outcome, reason, places) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (contact) DO UPDATE SET caller = excluded.caller, line = excluded.line, channel = excluded.channel, first_at = excluded.first_at, last_at = excluded.last_at, attempts = excluded.attempts,
			reached = excluded.reached, outcome = excluded.outcome, reason = excluded.reason, places = excluded.places`,
			string(id), string(caller), string(k.Line), string(k.Channel), store.Millis(k.First), store.Millis(k.last), k.attempts, store.Millis(k.Reached),
			string(k.Outcome), k.Reason, w.casePlaces(&k.Case)); err != nil {
			return err
		}
	}
	return nil
}
