package books

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"yingda/intake"
	"yingda/intake/recovery"
	"yingda/intake/stream"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// Apply brings about what a batch of records says, inside the caller's transaction: rows, and callbacks with their
// events. A record that was applied before is passed over, so is one that could not be read (the consumer puts it aside). One that comes Again, in a
// replay, is folded anew: it changes nothing but what is missing.
// On an error nothing may be committed.
func (b *Books) Apply(ctx context.Context, tx *store.Tx, records []stream.Record) error {
	w := newWork(b, tx)
	defer w.close()
	var newest time.Time
	for _, r := range records {
		if r.Err != nil || r.Event.Data == nil {
			continue
		}
		if err := w.apply(ctx, r.Event, r.Raw, r.Again); err != nil {
			return fmt.Errorf("books: apply %s: %w", r.Event.ID(), err)
		}
		if r.Event.Time.After(newest) {
			newest = r.Event.Time
		}
	}
	if newest.IsZero() {
		return nil
	}
	return w.exec(ctx, `INSERT INTO books_facts (name, value) VALUES ('as_of', ?) ON CONFLICT (name) DO UPDATE
		SET value = CASE WHEN excluded.value > books_facts.value THEN excluded.value ELSE books_facts.value END`,
		asOf(newest))
}

// asOf writes a time so that later ones sort later as text.
func asOf(t time.Time) string { return fmt.Sprintf("%016d", t.UnixMilli()) }

func (w *work) apply(ctx context.Context, e intake.Event, raw []byte, again bool) error {
	fresh := true
	switch e.Subject.Kind() {
	case "contact", "callback", "case":
		var err error
		if fresh, err = w.note(ctx, e, raw); err != nil || !fresh && !again {
			return err
		}
	}
	if err := w.act(ctx, e); err != nil {
		return err
	}
	switch e.Subject.Kind() {
	case "contact":
		return w.contactEvent(ctx, e, fresh)
	case "callback":
		return w.callbackEvent(ctx, e)
	case "case":
		return w.caseEvent(ctx, e)
	}
	switch d := e.Data.(type) {
	case *intake.OperatorStateV1:
		return w.exec(ctx, "INSERT INTO operator_states (operator, seq, at, state, reason) VALUES (?, ?, ?, ?, ?) ON CONFLICT (operator, seq) DO NOTHING",
			e.Subject.ID(), int64(e.Sequence), store.Millis(e.Time), d.State, d.Reason)
	case *intake.PersonRevealedV1:
		return w.look(ctx, e, d.What, d.Viewer, d.Field, d.Reason, 0, 0)
	case *intake.RecordingPlayedV1:
		return w.look(ctx, e, intake.Subject("recording/"+string(d.Recording)), d.Viewer, "recording", "", d.FromMS, d.ToMS)
	}
	return nil
}

func (w *work) look(ctx context.Context, e intake.Event, what intake.Subject, viewer intake.UserID, field, reason string, from, to int64) error {
	return w.exec(ctx, `INSERT INTO looks (id, what, viewer, at, field, reason, from_ms, to_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING`,
		e.ID(), string(what), string(viewer), store.Millis(e.Time), field, reason, from, to)
}

// note puts the event into the timeline; false when it is there already.
func (w *work) note(ctx context.Context, e intake.Event, raw []byte) (bool, error) {
	if raw == nil {
		raw = []byte{}
	}
	n, err := w.count(ctx, "INSERT INTO timeline (subject, seq, at, type, raw) VALUES (?, ?, ?, ?, ?) ON CONFLICT (subject, seq) DO NOTHING",
		string(e.Subject), int64(e.Sequence), store.Millis(e.Time), string(e.Type()), raw)
	return n > 0, err
}

func (w *work) contactEvent(ctx context.Context, e intake.Event, fresh bool) error {
	list, err := w.rows(ctx, "WHERE id = ?", string(e.Contact()))
	if err != nil {
		return err
	}
	_, offer := e.Data.(*intake.OfferedV1)
	if len(list) == 0 && !fresh && !offer {
		return nil // its row is lost, and the replay begins after its offer: half a contact would be worse than none
	}
	var before, r row
	if len(list) > 0 {
		before, r = list[0], list[0]
	}
	r.Apply(e)
	switch d := e.Data.(type) {
	case *intake.OfferedV1:
		if r.IdentifiedSeq == 0 {
			r.usable = w.recovery.Usable(d.Caller, e.Personal.Number)
			r.number, r.name = e.Personal.Number, e.Personal.Name
		}
	case *intake.IdentifiedV1:
		if r.IdentifiedSeq == e.Sequence {
			r.usable = w.recovery.Usable(d.Caller, e.Personal.Number)
			r.number, r.name = e.Personal.Number, e.Personal.Name
		}
	case *intake.RecordedV1:
		if err := w.exec(ctx, `INSERT INTO recordings (id, contact, at, ms, channels, sha256, cut_short) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
			SET at = excluded.at, ms = excluded.ms, channels = excluded.channels, sha256 = excluded.sha256, cut_short = excluded.cut_short
			WHERE excluded.at > recordings.at OR excluded.at = recordings.at AND excluded.ms > recordings.ms`,
			string(d.ID), string(r.ID), store.Millis(e.Time), d.Millis, d.Channels, d.SHA256, d.CutShort); err != nil {
			return err
		}
	}
	if r.Erased {
		r.number, r.name = pii.Phone{}, pii.Name{}
	}
	for _, g := range r.Rings {
		if err := w.exec(ctx, `INSERT INTO contact_offers (contact, offer, operator, rang, unrang, why, answered) VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (contact, offer) DO UPDATE SET
			rang = CASE WHEN excluded.rang > contact_offers.rang THEN excluded.rang ELSE contact_offers.rang END,
			why = CASE WHEN excluded.unrang > contact_offers.unrang OR excluded.unrang = contact_offers.unrang AND excluded.why > contact_offers.why THEN excluded.why ELSE contact_offers.why END,
			unrang = CASE WHEN excluded.unrang > contact_offers.unrang THEN excluded.unrang ELSE contact_offers.unrang END,
			answered = CASE WHEN excluded.answered > contact_offers.answered THEN excluded.answered ELSE contact_offers.answered END`,
			string(r.ID), string(g.Offer), string(g.Operator), store.Millis(g.Rang), store.Millis(g.Unrang), g.Why, store.Millis(g.Answered)); err != nil {
			return err
		}
	}
	if err := w.exec(ctx, upsert, r.args(w.places(&r.Contact))...); err != nil {
		return err
	}
	if r.Erased {
		if err := w.erase(ctx, &r); err != nil {
			return err
		}
	}
	moved := before.OfferedSeq != 0 && before.Caller != r.Caller
	if moved && before.Caller != "" {
		if err := w.callerLost(ctx, &before); err != nil {
			return err
		}
	}
	if r.Caller == "" || r.OfferedSeq == 0 {
		return nil
	}
	if before.OfferedSeq == 0 || moved {
		if err := w.callerSeen(ctx, &r); err != nil {
			return err
		}
	}
	lost := offer && !fresh // a replay: its episode may be missing
	if before.OfferedSeq != 0 && !moved && !lost && before.Outcome == r.Outcome && before.Reason == r.Reason && before.ReachedAt().Equal(r.ReachedAt()) && before.owes() == r.owes() {
		return nil
	}
	since := r.Arrived
	for _, t := range []time.Time{before.ReachedAt(), r.ReachedAt()} {
		if !t.IsZero() && t.Before(since) {
			since = t
		}
	}
	if err := w.episodes(ctx, r.Caller, since); err != nil {
		return err
	}
	return w.settle(ctx, r.Caller)
}

func (w *work) callerSeen(ctx context.Context, r *row) error {
	return w.exec(ctx, `INSERT INTO callers (token, number, name, known, first_at, last_at, contacts) VALUES (?, ?, ?, ?, ?, ?, 1)
		ON CONFLICT (token) DO UPDATE SET
		number = CASE WHEN excluded.number <> '' AND (callers.number = '' OR excluded.last_at >= callers.last_at) THEN excluded.number ELSE callers.number END,
		name = CASE WHEN excluded.name <> '' AND (callers.name = '' OR excluded.last_at >= callers.last_at) THEN excluded.name ELSE callers.name END,
		known = CASE WHEN excluded.known <> '' AND (callers.known = '' OR excluded.last_at >= callers.last_at) THEN excluded.known ELSE callers.known END,
		first_at = CASE WHEN excluded.first_at < callers.first_at THEN excluded.first_at ELSE callers.first_at END,
		last_at = CASE WHEN excluded.last_at > callers.last_at THEN excluded.last_at ELSE callers.last_at END,
		contacts = callers.contacts + 1`,
		string(r.Caller), r.number.Reveal(), r.name.Reveal(), r.Known, store.Millis(r.Arrived), store.Millis(r.Arrived))
}

// callerLost: a contact turns out to be somebody else's. What its former caller was owed on its account is taken back.
func (w *work) callerLost(ctx context.Context, before *row) error {
	number, name, known, err := w.personOf(ctx, "caller = ?", string(before.Caller))
	if err != nil {
		return err
	}
	if err := w.exec(ctx, "DELETE FROM callers WHERE token = ? AND NOT EXISTS (SELECT 1 FROM contacts WHERE caller = ? AND offered_seq > 0)", string(before.Caller), string(before.Caller)); err != nil {
		return err
	}
	if err := w.exec(ctx, `UPDATE callers SET number = ?, name = ?, known = ?, contacts = contacts - 1,
		first_at = (SELECT MIN(arrived) FROM contacts WHERE caller = ? AND offered_seq > 0), last_at = (SELECT MAX(arrived) FROM contacts WHERE caller = ? AND offered_seq > 0) WHERE token = ?`,
		number, name, known, string(before.Caller), string(before.Caller), string(before.Caller)); err != nil {
		return err
	}
	since := before.Arrived
	if at := before.ReachedAt(); !at.IsZero() && at.Before(since) {
		since = at
	}
	if err := w.episodes(ctx, before.Caller, since); err != nil {
		return err
	}
	return w.settle(ctx, before.Caller)
}

// erase forgets what a contact said of a person: in its timeline, and in the rows of its caller and callbacks as far as they have
// it from this contact alone.
func (w *work) erase(ctx context.Context, r *row) error {
	var callbacks []string
	if err := w.each(ctx, func(s scanner) error {
		var id string
		if err := s.Scan(&id); err != nil {
			return err
		}
		callbacks = append(callbacks, id)
		return nil
	}, "SELECT callback FROM callback_contacts WHERE contact = ?", string(r.ID)); err != nil {
		return err
	}
	later, err := w.rereading(ctx) // then the other contacts of the callback may not be in the books yet
	if err != nil {
		return err
	}
	for _, id := range callbacks {
		if later {
			break
		}
		if err := w.eraseCallback(ctx, id); err != nil {
			return err
		}
	}
	if r.Caller != "" {
		number, name, known, err := w.personOf(ctx, "caller = ?", string(r.Caller))
		if err != nil {
			return err
		}
		if err := w.exec(ctx, "UPDATE callers SET number = ?, name = ?, known = ? WHERE token = ?", number, name, known, string(r.Caller)); err != nil {
			return err
		}
	}
	return w.eraseTimeline(ctx, string(r.ID.Subject()))
}

// eraseCallback leaves in a callback what contacts of it say that were not erased.
func (w *work) eraseCallback(ctx context.Context, id string) error {
	number, name, known, err := w.personOf(ctx, "id IN (SELECT contact FROM callback_contacts WHERE callback = ?)", id)
	if err != nil {
		return err
	}
	if err := w.exec(ctx, "UPDATE callbacks SET number = ?, name = ?, known = ? WHERE id = ?", number, name, known, id); err != nil || number != "" {
		return err
	}
	return w.eraseTimeline(ctx, string(intake.CallbackID(id).Subject()))
}

// personOf gives the latest number, name and card that the chosen contacts have.
func (w *work) personOf(ctx context.Context, where string, arg any) (number, name, known string, err error) {
	err = w.each(ctx, func(s scanner) error {
		var num, nam, kno string
		if err := s.Scan(&num, &nam, &kno); err != nil {
			return err
		}
		if number == "" {
			number = num
		}
		if name == "" {
			name = nam
		}
		if known == "" {
			known = kno
		}
		return nil
	}, "SELECT number, name, known FROM contacts WHERE erased = 0 AND "+where+" ORDER BY arrived DESC, id", arg)
	return number, name, known, err
}

func (w *work) eraseTimeline(ctx context.Context, subject string) error {
	changed := map[int64][]byte{}
	if err := w.each(ctx, func(s scanner) error {
		var seq int64
		var raw []byte
		if err := s.Scan(&seq, &raw); err != nil {
			return err
		}
		if bare, had := withoutPersonal(raw); had {
			changed[seq] = bare
		}
		return nil
	}, "SELECT seq, raw FROM timeline WHERE subject = ?", subject); err != nil {
		return err
	}
	for seq, raw := range changed {
		if err := w.exec(ctx, "UPDATE timeline SET raw = ? WHERE subject = ? AND seq = ?", raw, subject, seq); err != nil {
			return err
		}
	}
	return nil
}

// withoutPersonal takes data.personal out of an event's bytes; what is no such JSON goes altogether.
func withoutPersonal(raw []byte) (bare []byte, had bool) {
	if len(raw) == 0 {
		return raw, false
	}
	var envelope, data map[string]json.RawMessage
	if json.Unmarshal(raw, &envelope) != nil || envelope == nil {
		return []byte{}, true
	}
	if envelope["data"] == nil {
		return raw, false
	}
	if json.Unmarshal(envelope["data"], &data) != nil {
		return []byte{}, true
	}
	if _, ok := data["personal"]; !ok {
		return raw, false
	}
	delete(data, "personal")
	inner, err := json.Marshal(data)
	if err != nil {
		return []byte{}, true
	}
	envelope["data"] = inner
	bare, err = json.Marshal(envelope)
	if err != nil {
		return []byte{}, true
	}
	return bare, true
}

// callbackEvent looks at events of callbacks that are not ours: of another system, or of books that are gone. Ours have had their effect
// when they were written.
func (w *work) callbackEvent(ctx context.Context, e intake.Event) error {
	id, caller := e.Subject.ID(), intake.Token(e.PartitionKey)
	ours, forgotten := false, false
	if err := w.each(ctx, func(s scanner) error {
		ours = true
		return s.Scan(&forgotten)
	}, `SELECT number = '' AND EXISTS (SELECT 1 FROM callback_contacts k JOIN contacts c ON c.id = k.contact WHERE k.callback = callbacks.id AND c.erased = 1)
		FROM callbacks WHERE id = ?`, id); err != nil {
		return err
	}
	if forgotten { // the event was on its way here when the person was erased
		return w.eraseTimeline(ctx, string(e.Subject))
	}
	if ours {
		return nil
	}
	line := ""
	if err := w.each(ctx, func(s scanner) error { return s.Scan(&line) }, "SELECT line FROM foreign_callbacks WHERE id = ?", id); err != nil {
		return err
	}
	switch d := e.Data.(type) {
	case *intake.CallbackBornV1:
		return w.exec(ctx, "INSERT INTO foreign_callbacks (id, caller, line) VALUES (?, ?, ?) ON CONFLICT (id) DO NOTHING", id, string(caller), string(d.Line))
	case *intake.CallbackTriedV1:
		return w.tried(ctx, "", caller, intake.LineID(line), e.Time, d)
	case *intake.CallbackClearedV1:
		if d.By == intake.ClearedSupervisor && d.Reason != recovery.ReasonCorrected {
			return w.reach(ctx, caller, "callback/"+id, recovery.Reach{At: e.Time, By: d.By, Line: intake.LineID(line), User: d.User, Reason: d.Reason})
		}
	}
	return nil
}

// caseEvent notes which cases belong to which contact, and the visits that met somebody.
func (w *work) caseEvent(ctx context.Context, e intake.Event) error {
	id := e.Subject.ID()
	link := func(contacts ...intake.ContactID) error {
		for _, c := range contacts {
			if err := w.exec(ctx, "INSERT INTO contact_cases (contact, case_id, at) VALUES (?, ?, ?) ON CONFLICT (contact, case_id) DO NOTHING", string(c), id, store.Millis(e.Time)); err != nil {
				return err
			}
		}
		return nil
	}
	switch d := e.Data.(type) {
	case *intake.CaseOpenedV1:
		if err := link(d.Contacts...); err != nil || d.Source != intake.FromVisit {
			return err
		}
		if err := w.exec(ctx, `INSERT INTO visits (case_id, callback, closed, result, person) VALUES (?, ?, 0, '', '')
			ON CONFLICT (case_id) DO UPDATE SET callback = excluded.callback`, id, string(d.Callback)); err != nil {
			return err
		}
		return w.visited(ctx, id)
	case *intake.CaseAttachedV1:
		return link(d.Contact)
	case *intake.CaseClosedV1:
		if err := w.exec(ctx, `INSERT INTO visits (case_id, callback, closed, result, person) VALUES (?, '', ?, ?, ?)
			ON CONFLICT (case_id) DO UPDATE SET closed = excluded.closed, result = excluded.result, person = excluded.person`,
			id, store.Millis(e.Time), d.Result, string(d.By)); err != nil {
			return err
		}
		return w.visited(ctx, id)
	}
	return nil
}

func (w *work) visited(ctx context.Context, id string) error {
	var callback, result, person, caller string
	var closed int64
	if err := w.each(ctx, func(s scanner) error { return s.Scan(&callback, &closed, &result, &person) },
		"SELECT callback, closed, result, person FROM visits WHERE case_id = ?", id); err != nil {
		return err
	}
	if callback == "" || closed == 0 || result == recovery.NotFound {
		return nil
	}
	if err := w.each(ctx, func(s scanner) error { return s.Scan(&caller) },
		"SELECT caller FROM callbacks WHERE id = ? UNION SELECT caller FROM foreign_callbacks WHERE id = ?", callback, callback); err != nil || caller == "" {
		return err
	}
	return w.reach(ctx, intake.Token(caller), "case/"+id, recovery.Reach{At: store.Time(closed), By: intake.ClearedVisit, Case: intake.CaseID(id), User: intake.UserID(person)})
}

// tried notes a try; id is empty when the callback is not ours.
func (w *work) tried(ctx context.Context, id intake.CallbackID, caller intake.Token, line intake.LineID, at time.Time, d *intake.CallbackTriedV1) error {
	if caller == "" {
		return nil
	}
	if err := w.exec(ctx, `INSERT INTO callback_tries (attempt, callback, caller, line, operator, result, seconds, recording, at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (attempt) DO NOTHING`,
		string(d.Attempt), string(id), string(caller), string(line), string(d.Operator), d.Result, d.Seconds, string(d.Recording), store.Millis(at)); err != nil {
		return err
	}
	if d.Result == intake.TryReached {
		return w.reach(ctx, caller, "attempt/"+string(d.Attempt), recovery.TriedReach(at, d))
	}
	return w.settle(ctx, caller)
}

// reach notes that a caller was reached, or that a supervisor closed the matter, and settles.
func (w *work) reach(ctx context.Context, caller intake.Token, key string, r recovery.Reach) error {
	if caller == "" {
		return nil
	}
	if err := w.exec(ctx, `INSERT INTO reaches (key, caller, at, how, line, attempt, case_id, person, reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (key) DO UPDATE SET at = excluded.at, person = excluded.person, reason = excluded.reason`,
		key, string(caller), store.Millis(r.At), r.By, string(r.Line), string(r.Attempt), string(r.Case), string(r.User), r.Reason); err != nil {
		return err
	}
	if r.Met() {
		if err := w.episodes(ctx, caller, r.At); err != nil {
			return err
		}
	}
	return w.settle(ctx, caller)
}
