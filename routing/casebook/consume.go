package casebook

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/store"
	"yingda/routing"
	"yingda/routing/caselife"
)

// Apply opens the cases that events ask for, inside the caller's transaction: one for each callback that wants a visit, and one
// for a submission that was accepted, where a rule says so. An event that comes again opens nothing.
func (b *Book) Apply(ctx context.Context, tx *store.Tx, records []stream.Record) error {
	for _, r := range records {
		if r.Err != nil {
			continue
		}
		if err := b.apply(ctx, tx, r.Event); err != nil {
			return fmt.Errorf("%s: %w", r.Event.ID(), err)
		}
	}
	return nil
}

func (b *Book) apply(ctx context.Context, tx *store.Tx, e intake.Event) error {
	switch d := e.Data.(type) {
	case *intake.CallbackVisitV1:
		id := intake.CallbackID(e.Subject.ID())
		return b.automatic(ctx, tx, OpenCase{Key: "visit/" + string(id), Source: intake.FromVisit, Contacts: d.Contacts, Callback: id, Caller: d.Caller, Partition: e.PartitionKey,
			Channel: intake.Phone, Line: d.Line, Words: e.Personal.Text, Place: e.Personal.Place, Address: e.Personal.Address, Home: b.home(d.Caller), Older: b.older(d.Caller),
			Name: e.Personal.Name, Number: e.Personal.Number, Next: routing.NextDispatch})
	case *intake.OfferedV1:
		return b.offered(ctx, tx, e, d)
	case *intake.EndedV1:
		return b.ended(ctx, tx, e, d)
	case *intake.ErasedV1:
		if e.Contact() != "" { // our own, of cases, come back as well
			return b.forget(ctx, tx, e.Contact())
		}
	}
	return nil
}

// automatic opens a case that nobody filled in. A refusal has nobody to read it and would stop the stream; it is logged.
func (b *Book) automatic(ctx context.Context, tx *store.Tx, o OpenCase) error {
	_, err := b.open(ctx, tx, o)
	var r *Refused
	if errors.As(err, &r) {
		b.config.Logger.Warn("no case could be opened", "key", o.Key, "why", r.Sentence)
		return nil
	}
	return err
}

// submitted says whether a channel hands in whole matters, rather than a person to talk with.
func submitted(c intake.Channel) (source string, ok bool) {
	switch c {
	case intake.App, intake.Mail, intake.SMS:
		return intake.FromSubmission, true
	case intake.Patrol:
		return intake.FromPatrol, true
	}
	return "", false
}

// submission is what is kept of one until it is accepted.
type submission struct {
	Channel   intake.Channel
	Line      intake.LineID
	Caller    intake.Token
	Partition string
	Category  string
	Personal  intake.PersonalJSON
}

func (b *Book) offered(ctx context.Context, tx *store.Tx, e intake.Event, d *intake.OfferedV1) error {
	if _, ok := submitted(d.Channel); !ok || d.Imported != "" {
		return nil
	}
	raw, err := json.Marshal(submission{d.Channel, d.Line, d.Caller, e.PartitionKey, d.Category, e.Personal.Reveal()})
	if err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "INSERT INTO submissions (contact, at, data) VALUES (?, ?, ?) ON CONFLICT (contact) DO NOTHING", e.Subject.ID(), store.Millis(e.Time), string(raw))
	return err
}

// ended opens the case of an accepted submission, if a rule opens one by itself, and forgets the submission in any case.
func (b *Book) ended(ctx context.Context, tx *store.Tx, e intake.Event, d *intake.EndedV1) error {
	var raw []byte
	err := tx.QueryRowContext(ctx, "SELECT data FROM submissions WHERE contact = ?", e.Subject.ID()).Scan(&raw)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if d.Provisional && d.Outcome != intake.Accepted {
		return nil // the true end is still to come
	}
	if _, err := tx.ExecContext(ctx, "DELETE FROM submissions WHERE contact = ?", e.Subject.ID()); err != nil {
		return err
	}
	if d.Outcome != intake.Accepted {
		return nil
	}
	var s submission
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	p := s.Personal.Conceal()
	source, _ := submitted(s.Channel)
	o := OpenCase{Key: "contact/" + e.Subject.ID(), Source: source, Contacts: []intake.ContactID{e.Contact()}, Caller: s.Caller, Partition: s.Partition, Channel: s.Channel, Line: s.Line, Category: s.Category,
		Words: p.Text, Place: p.Place, Address: p.Address, Home: b.home(s.Caller), Older: b.older(s.Caller), Name: p.Name, Number: p.Number, Next: routing.NextDispatch}
	if _, decision := b.Decide(o); !decision.Opens {
		return nil
	}
	return b.automatic(ctx, tx, o)
}

func (b *Book) home(caller intake.Token) intake.GridID {
	if b.config.Home == nil || caller == "" {
		return ""
	}
	return b.config.Home(caller)
}

func (b *Book) older(caller intake.Token) bool {
	return b.config.Older != nil && caller != "" && b.config.Older(caller)
}

// forget takes a person out of the cases of a contact that was erased, and says so for each, so that the index forgets too.
func (b *Book) forget(ctx context.Context, tx *store.Tx, contact intake.ContactID) error {
	if _, err := tx.ExecContext(ctx, "DELETE FROM submissions WHERE contact = ?", string(contact)); err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, "SELECT c.data FROM cases c JOIN case_contacts k ON k.id = c.id WHERE k.contact = ?", string(contact))
	if err != nil {
		return err
	}
	defer rows.Close()
	var list []routing.Case
	for rows.Next() {
		c, err := one(rows)
		if err != nil {
			return err
		}
		list = append(list, c)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	now := b.now()
	for _, c := range list {
		if forgotten(c) {
			continue
		}
		if _, err := tx.ExecContext(ctx, "UPDATE case_steps SET text = '' WHERE id = ?", string(c.ID)); err != nil {
			return err
		}
		caselife.Forget(&c)
		erased := []routing.Effect{routing.Write{Data: &intake.ErasedV1{Ground: "contact"}}}
		if err := b.write(ctx, tx, &c, now, erased); err != nil {
			return err
		}
	}
	return nil
}

func forgotten(c routing.Case) bool {
	return c.Words.IsZero() && c.Answer.IsZero() && c.Phone.IsZero() && c.Name.IsZero() && c.Address.IsZero() && c.Place == nil
}
