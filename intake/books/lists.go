package books

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/internal/store"
)

// listed is the selection of Contact: the row, what follows from it, its case and its callback.
var listed = func() string {
	return "SELECT " + columns + `, c.owed, c.reached,
	COALESCE((SELECT k.case_id FROM contact_cases k WHERE k.contact = c.id ORDER BY k.at, k.case_id LIMIT 1), ''),
	COALESCE((SELECT cc.callback FROM callback_contacts cc JOIN callbacks cb ON cb.id = cc.callback WHERE cc.contact = c.id ORDER BY cb.born DESC, cb.id DESC LIMIT 1), '')
	FROM contacts c`
}()

func scanContact(s scanner) (Contact, error) {
	var r row
	var c Contact
	var reached int64
	if err := r.scan(s, &c.Owes, &reached, &c.Case, &c.Callback); err != nil {
		return Contact{}, err
	}
	c.Contact, c.Number, c.Name, c.Reached = r.Contact, r.number, r.name, store.Time(reached)
	return c, nil
}

// Contact of that id, with its rings; ErrNotFound.
func (b *Books) Contact(ctx context.Context, id intake.ContactID) (Contact, error) {
	var out *Contact
	if err := b.each(ctx, func(s scanner) error {
		c, err := scanContact(s)
		out = &c
		return err
	}, listed+" WHERE c.id = ?", string(id)); err != nil {
		return Contact{}, err
	}
	if out == nil {
		return Contact{}, fmt.Errorf("%w: contact %s", ErrNotFound, id)
	}
	err := b.each(ctx, func(s scanner) error {
		var g answerrate.Ring
		var rang, unrang, answered int64
		if err := s.Scan(&g.Offer, &g.Operator, &rang, &unrang, &g.Why, &answered); err != nil {
			return err
		}
		g.Rang, g.Unrang, g.Answered = store.Time(rang), store.Time(unrang), store.Time(answered)
		out.Rings = append(out.Rings, g)
		return nil
	}, "SELECT offer, operator, rang, unrang, why, answered FROM contact_offers WHERE contact = ? ORDER BY rang, offer", string(id))
	return *out, err
}

// Contacts that the filter takes, one after the other as they are read; it ends with the first error. A reading is one
// snapshot, and must be read to its end or broken off soon, since it holds a connection.
func (b *Books) Contacts(ctx context.Context, f Filter) iter.Seq2[Contact, error] {
	return func(yield func(Contact, error) bool) {
		query, args, err := b.contacts(f)
		if err != nil {
			yield(Contact{}, err)
			return
		}
		rows, err := b.db.Query(ctx, query, args...)
		if err != nil {
			yield(Contact{}, err)
			return
		}
		defer rows.Close()
		for rows.Next() {
			c, err := scanContact(rows)
			if !yield(c, err) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(Contact{}, err)
		}
	}
}

func (b *Books) contacts(f Filter) (string, []any, error) {
	var c cond
	c.span("c.arrived", f.From, f.To)
	c.place("c.", f.Line, f.Channel)
	if len(f.Outcomes) > 0 {
		text, args := in("c.outcome", f.Outcomes)
		c.and(text, args...)
	}
	if f.Open {
		c.and("c.outcome = ''")
	}
	if f.Lost {
		text, args := in("c.outcome", slices.DeleteFunc(intake.Outcomes(), intake.Outcome.Reached))
		c.and(text, args...)
	}
	if f.Caller != "" {
		c.and("c.caller = ?", string(f.Caller))
	}
	if f.Operator != "" {
		c.and("c.operator = ?", string(f.Operator))
	}
	if f.Missed != "" {
		c.and("EXISTS (SELECT 1 FROM contact_offers o WHERE o.contact = c.id AND o.operator = ? AND o.unrang > 0 AND o.answered = 0 AND o.why <> 'resident_left')", string(f.Missed))
	}
	if err := b.daily(&c, &f); err != nil {
		return "", nil, err
	}
	if f.Known != "" {
		c.and("c.known = ?", f.Known)
	}
	if f.SIPCallID != "" {
		c.and("c.sip_call_id = ? AND c.sip_call_id <> ''", f.SIPCallID)
	}
	if f.Flag != "" {
		c.and("(',' || c.flags || ',') LIKE ?", "%,"+string(f.Flag)+",%")
	}
	if f.Definition != "" {
		if err := b.member(&c, f.Definition, f.Part); err != nil {
			return "", nil, err
		}
	}
	order := " ORDER BY c.arrived DESC, c.id DESC"
	beyond := "<"
	if f.Oldest {
		order, beyond = " ORDER BY c.arrived, c.id", ">"
	}
	if f.After.ID != "" {
		at := store.Millis(f.After.Arrived)
		c.and("(c.arrived "+beyond+"= ? AND (c.arrived "+beyond+" ? OR c.id "+beyond+" ?))", at, at, string(f.After.ID))
	}
	query := listed + c.where() + order
	if f.Limit > 0 {
		query += " LIMIT ?"
		c.args = append(c.args, f.Limit)
	}
	return query, c.args, nil
}

// OpenContacts lists those that have not ended, oldest first. None during a replay: what has not ended in what is read again may long be over.
func (b *Books) OpenContacts(ctx context.Context) ([]OpenContact, error) {
	var list []OpenContact
	err := b.each(ctx, func(s scanner) error {
		var o OpenContact
		var arrived, answered int64
		if err := s.Scan(&o.ID, &o.Key, &o.Newest, &o.Dedupe, &o.Channel, &o.Line, &o.Switchboard, &o.Caller, &arrived, &answered, &o.Operator); err != nil {
			return err
		}
		o.Arrived, o.Answered = store.Time(arrived), store.Time(answered)
		list = append(list, o)
		return nil
	}, "SELECT id, pkey, newest, dedupe, channel, line, switchboard, caller, arrived, answered, operator FROM contacts WHERE outcome = '' AND NOT EXISTS (SELECT 1 FROM replays WHERE grp = '"+Group+"') ORDER BY arrived, id")
	return list, err
}

// RecentDedupe lists the keys of contacts that arrived since then, and of all that are open.
func (b *Books) RecentDedupe(ctx context.Context, since time.Time) ([]Dedupe, error) {
	var list []Dedupe
	err := b.each(ctx, func(s scanner) error {
		var d Dedupe
		var arrived int64
		if err := s.Scan(&d.Key, &d.Contact, &d.Newest, &d.Outcome, &arrived); err != nil {
			return err
		}
		d.Arrived = store.Time(arrived)
		list = append(list, d)
		return nil
	}, `SELECT dedupe, id, newest, outcome, arrived FROM contacts WHERE arrived >= ? AND dedupe <> ''
		UNION SELECT dedupe, id, newest, outcome, arrived FROM contacts WHERE outcome = '' AND dedupe <> '' ORDER BY 5, 2`, store.Millis(since))
	return list, err
}

// Timeline is what happened to the subjects (contacts, callbacks, cases), oldest first.
func (b *Books) Timeline(ctx context.Context, subjects ...intake.Subject) ([]Moment, error) {
	if len(subjects) == 0 {
		return nil, nil
	}
	where, args := in("subject", subjects)
	var list []Moment
	err := b.each(ctx, func(s scanner) error {
		var m Moment
		var at int64
		if err := s.Scan(&m.Subject, &m.Sequence, &at, &m.Type, &m.Raw); err != nil {
			return err
		}
		m.At = store.Time(at)
		list = append(list, m)
		return nil
	}, "SELECT subject, seq, at, type, raw FROM timeline WHERE "+where+" ORDER BY at, subject, seq", args...)
	return list, err
}

// Story names what belongs together with a contact from the caller's first attempt until now: the contacts of its episode, their
// callbacks and cases. For Timeline.
func (b *Books) Story(ctx context.Context, id intake.ContactID) ([]intake.Subject, error) {
	c, err := b.Contact(ctx, id)
	if err != nil {
		return nil, err
	}
	contacts := []intake.ContactID{id}
	if c.Caller != "" {
		var first, last int64
		if err := b.each(ctx, func(s scanner) error { return s.Scan(&first, &last) },
			"SELECT first_at, last_at FROM episodes WHERE caller = ? AND line = ? AND first_at <= ? AND last_at >= ? ORDER BY first_at DESC LIMIT 1",
			string(c.Caller), string(c.Line), store.Millis(c.Arrived), store.Millis(c.Arrived)); err != nil {
			return nil, err
		}
		if first > 0 {
			if err := b.each(ctx, func(s scanner) error {
				var other intake.ContactID
				if err := s.Scan(&other); err != nil {
					return err
				}
				contacts = append(contacts, other)
				return nil
			}, "SELECT id FROM contacts WHERE caller = ? AND line = ? AND arrived >= ? AND arrived <= ? AND id <> ? ORDER BY arrived, id LIMIT 200",
				string(c.Caller), string(c.Line), first, last, string(id)); err != nil {
				return nil, err
			}
		}
	}
	var list []intake.Subject
	for _, k := range contacts {
		list = append(list, k.Subject())
	}
	where, args := in("contact", contacts)
	err = b.each(ctx, func(s scanner) error {
		var subject string
		if err := s.Scan(&subject); err != nil {
			return err
		}
		list = append(list, intake.Subject(subject))
		return nil
	}, "SELECT 'callback/' || callback AS subject FROM callback_contacts WHERE "+where+" UNION SELECT 'case/' || case_id FROM contact_cases WHERE "+where+" ORDER BY 1", append(slices.Clone(args), args...)...)
	return list, err
}

// Recordings of a contact, oldest first.
func (b *Books) Recordings(ctx context.Context, id intake.ContactID) ([]Recording, error) {
	var list []Recording
	err := b.each(ctx, func(s scanner) error {
		var r Recording
		var at, ms int64
		if err := s.Scan(&r.ID, &r.Contact, &at, &ms, &r.Channels, &r.SHA256, &r.CutShort); err != nil {
			return err
		}
		r.At, r.Length = store.Time(at), time.Duration(ms)*time.Millisecond
		list = append(list, r)
		return nil
	}, "SELECT id, contact, at, ms, channels, sha256, cut_short FROM recordings WHERE contact = ? ORDER BY at, id", string(id))
	return list, err
}

// Looked says who looked at the contact, the caller's number in it, or listened to its recordings; oldest first.
func (b *Books) Looked(ctx context.Context, id intake.ContactID) ([]Look, error) {
	var list []Look
	err := b.each(ctx, func(s scanner) error {
		var l Look
		var at, from, to int64
		if err := s.Scan(&l.What, &l.Viewer, &at, &l.Field, &l.Reason, &from, &to); err != nil {
			return err
		}
		l.At, l.From, l.To = store.Time(at), time.Duration(from)*time.Millisecond, time.Duration(to)*time.Millisecond
		list = append(list, l)
		return nil
	}, `SELECT what, viewer, at, field, reason, from_ms, to_ms FROM looks WHERE what = ? OR what IN
		(SELECT 'recording/' || id FROM recordings WHERE contact = ?) ORDER BY at, id`, string(id.Subject()), string(id))
	return list, err
}
