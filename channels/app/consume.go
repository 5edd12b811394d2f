package app

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/store"
)

// kase is a row of app_cases.
type kase struct {
	id         intake.CaseID
	sequence   intake.Sequence
	state      State
	grid       intake.GridID
	department string
	deadline   time.Time
	result     string
	answer     string
	changed    time.Time
}

const caseColumns = "SELECT id, sequence, state, grid, department, deadline, result, answer, changed FROM app_cases "

func caseOf(_ context.Context, scan func(...any) error) (kase, error) {
	var k kase
	var deadline, changed int64
	err := scan(&k.id, &k.sequence, &k.state, &k.grid, &k.department, &deadline, &k.result, &k.answer, &changed)
	k.deadline, k.changed = store.Time(deadline), store.Time(changed)
	return k, err
}

// Apply is the consumer, inside the caller's transaction: it notes that submissions are in the stream, follows their cases, and lays down
// the webhooks that tell their apps. An event that comes again does nothing; one that comes Again, in a replay, tells no app.
func (s *Server) Apply(ctx context.Context, tx *store.Tx, records []stream.Record) error {
	for _, r := range records {
		if r.Err != nil || r.Event.Data == nil {
			continue
		}
		if err := s.apply(ctx, tx, r.Event, r.Again); err != nil {
			return fmt.Errorf("app: apply %s: %w", r.Event.ID(), err)
		}
	}
	return nil
}

// Empty takes away what the tables have from the stream, for a replay from its beginning, inside the transaction that moves the position back: how cases stand, and
// the steps that a status shows. Submissions themselves stay, with their keys, receipts and photos, and so do the webhooks, sent or not: until the
// replay has come to them, the cases of submissions are not known.
func Empty(ctx context.Context, tx *store.Tx) error {
	for _, q := range []string{"DELETE FROM app_steps", "DELETE FROM app_cases",
		"UPDATE app_submissions SET case_id = '', state = '" + string(Received) + "', changed = at WHERE case_id <> ''"} {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("app: empty: %w", err)
		}
	}
	return nil
}

// Wake sends what webhooks are due; to be called after each batch of Apply is committed. Without it they go two seconds later. It never waits.
func (s *Server) Wake() { s.courier.ring() }

func (s *Server) apply(ctx context.Context, tx *store.Tx, e intake.Event, again bool) error {
	switch e.Subject.Kind() {
	case "contact":
		switch d := e.Data.(type) {
		case *intake.OfferedV1:
			if d.Channel != intake.App {
				return nil
			}
			_, err := tx.ExecContext(ctx, "UPDATE app_submissions SET seen = 1 WHERE contact = ?", e.Subject.ID())
			return err
		case *intake.ErasedV1:
			return s.erase(ctx, tx, e.Contact())
		}
	case "case":
		return s.caseEvent(ctx, tx, e, again)
	}
	return nil
}

// erase forgets what a person said; that they handed something in, and how it went, stays.
func (s *Server) erase(ctx context.Context, tx *store.Tx, id intake.ContactID) error {
	c, err := scanClaim(tx.QueryRowContext(ctx, claimColumns+"WHERE s.contact = ?", string(id)).Scan)
	if errors.Is(err, ErrNotFound) || err == nil && c.erased {
		return nil
	}
	if err != nil {
		return err
	}
	s.drop(c.said.Attachments)
	_, err = tx.ExecContext(ctx, "UPDATE app_submissions SET data = '', code = '', key = NULL, body = '', receipt = NULL WHERE contact = ?", string(id))
	return err
}

// caseEvent folds one event of a case whose contacts are, or become, submissions of ours.
func (s *Server) caseEvent(ctx context.Context, tx *store.Tx, e intake.Event, again bool) error {
	id := intake.CaseID(e.Subject.ID())
	k, err := caseOf(ctx, tx.QueryRowContext(ctx, caseColumns+"WHERE id = ?", string(id)).Scan)
	known := err == nil
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	if known && e.Sequence <= k.sequence {
		return nil
	}
	k.id = id
	var join []intake.ContactID
	switch d := e.Data.(type) {
	case *intake.CaseOpenedV1:
		join = d.Contacts
	case *intake.CaseAttachedV1:
		join = []intake.ContactID{d.Contact}
	}
	for _, c := range join {
		done, err := tx.ExecContext(ctx, "UPDATE app_submissions SET case_id = ? WHERE contact = ? AND case_id = ''", string(id), string(c))
		if err != nil {
			return err
		}
		n, err := done.RowsAffected()
		if err != nil {
			return err
		}
		known = known || n > 0
	}
	if _, opened := e.Data.(*intake.CaseOpenedV1); !known && !opened {
		return nil
	}
	what := k.fold(e)
	k.sequence, k.changed = e.Sequence, e.Time
	if _, err := tx.ExecContext(ctx, `INSERT INTO app_cases (id, sequence, state, grid, department, deadline, result, answer, changed) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, state = excluded.state, grid = excluded.grid, department = excluded.department, deadline = excluded.deadline,
		result = excluded.result, answer = excluded.answer, changed = excluded.changed`, string(k.id), int64(k.sequence), string(k.state), string(k.grid), k.department,
		store.Millis(k.deadline), k.result, k.answer, store.Millis(k.changed)); err != nil {
		return err
	}
	if what == "" {
		return nil
	}
	list, err := s.concerned(ctx, tx, k.id)
	if err != nil {
		return err
	}
	for _, c := range list {
		if len(join) > 0 && !contains(join, c.contact) { // somebody else joined; nothing changed for this one
			continue
		}
		if _, err := tx.ExecContext(ctx, "UPDATE app_submissions SET state = ?, changed = ? WHERE contact = ?", string(k.state), store.Millis(e.Time), string(c.contact)); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO app_steps (contact, subject, sequence, at, what) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
			string(c.contact), string(e.Subject), int64(e.Sequence), store.Millis(e.Time), what); err != nil {
			return err
		}
		if again { // the app was told when this was new
			continue
		}
		if err := s.tell(ctx, tx, c, k, e, what); err != nil {
			return err
		}
	}
	return nil
}

// fold takes one event in and says what step it is for whoever asks; "" for none.
func (k *kase) fold(e intake.Event) (what string) {
	to := func(st State) string { k.state = st; return string(st) }
	switch d := e.Data.(type) {
	case *intake.CaseOpenedV1:
		k.grid, k.department, k.deadline = d.Grid, d.Department, d.Deadline
		return to(Routed)
	case *intake.CaseAttachedV1:
		return string(Routed)
	case *intake.CaseRoutedV1:
		if d.Grid != "" {
			k.grid = d.Grid
		}
		if d.Department != "" {
			k.department = d.Department
		}
	case *intake.CaseDispatchedV1:
		return to(Dispatched)
	case *intake.CaseAcceptedV1:
		return to(Taken)
	case *intake.CaseStartedV1:
		return to(InProgress)
	case *intake.CaseReturnedV1:
		return to(Returned)
	case *intake.CaseExtendedV1:
		k.deadline = d.Until
		return "extended"
	case *intake.CaseAnsweredV1:
		k.answer = e.Personal.Text.Reveal()
		return to(Answered)
	case *intake.CaseClosedV1:
		k.result = d.Result
		return to(Closed)
	case *intake.CaseReopenedV1:
		k.result, k.answer = "", ""
		to(Routed)
		return "reopened"
	case *intake.ErasedV1:
		k.answer = ""
	}
	return ""
}

func contains(list []intake.ContactID, id intake.ContactID) bool {
	for _, c := range list {
		if c == id {
			return true
		}
	}
	return false
}

// concerned are the submissions of a case.
func (s *Server) concerned(ctx context.Context, tx *store.Tx, id intake.CaseID) ([]claim, error) {
	rows, err := tx.QueryContext(ctx, claimColumns+"WHERE s.case_id = ?", string(id))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []claim
	for rows.Next() {
		c, err := scanClaim(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, errors.Join(rows.Err(), rows.Close())
}

// news is the body of a webhook (Standard Webhooks: type, timestamp, data). No name, number or word of anybody is in it.
type news struct {
	Type      string   `json:"type"`
	Timestamp string   `json:"timestamp"`
	Data      newsData `json:"data"`
}

type newsData struct {
	ID         intake.ContactID `json:"id"`
	Receipt    string           `json:"receipt"`
	State      State            `json:"state"`
	What       string           `json:"what"`
	Case       intake.CaseID    `json:"case"`
	Sequence   string           `json:"sequence"` // grows with each change of the case: what is older may be passed over
	Department string           `json:"department,omitempty"`
	Deadline   *time.Time       `json:"deadline,omitempty"`
	Result     string           `json:"result,omitempty"`
}

// tell lays down a webhook, if the app that handed it in has one. Its id comes from the event, so the same event again is the same webhook.
func (s *Server) tell(ctx context.Context, tx *store.Tx, c claim, k kase, e intake.Event, what string) error {
	if c.token == "" {
		return nil
	}
	var hook string
	err := tx.QueryRowContext(ctx, "SELECT hook FROM app_keys WHERE token = ?", c.token).Scan(&hook)
	if errors.Is(err, sql.ErrNoRows) || err == nil && hook == "" {
		return nil
	}
	if err != nil {
		return err
	}
	n := news{"submission.changed", e.Time.UTC().Format(stamp), newsData{ID: c.contact, Receipt: grouped(c.receipt), State: k.state, What: what, Case: k.id,
		Sequence: e.Sequence.String(), Department: k.department, Result: k.result}}
	if !k.deadline.IsZero() {
		n.Data.Deadline = &k.deadline
	}
	body, err := json.Marshal(n)
	if err != nil {
		return err
	}
	now := store.Millis(s.now())
	_, err = tx.ExecContext(ctx, `INSERT INTO app_hooks (id, token, contact, at, due, tries, state, done, body)
		VALUES (?, ?, ?, ?, ?, 0, 0, 0, ?) ON CONFLICT (id) DO NOTHING`,
		"msg_"+digest("hook", string(c.contact), e.ID()), c.token, string(c.contact), now, now, string(body))
	return err
}

// stamp is how times are written.
const stamp = "2006-01-02T15:04:05.000Z07:00"
