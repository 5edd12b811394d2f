package casebook

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/paulmach/orb"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/routing"
	"yingda/routing/caselife"
	"yingda/routing/grid"
)

// Apply opens the cases that events ask for, inside the caller's transaction: one for each callback that wants a visit, and one
// for a submission where a rule says so. An event that comes again opens nothing.
func (b *Book) Apply(ctx context.Context, tx *store.Tx, records []stream.Record) error {
	for _, r := range records {
		if r.Err != nil {
			continue
		}
		e := r.Event
		var err error
		switch d := e.Data.(type) {
		case *intake.CallbackVisitV1:
			id := intake.CallbackID(e.Subject.ID())
			_, err = b.open(ctx, tx, OpenCase{Key: "visit/" + string(id), Source: intake.FromVisit, Contacts: d.Contacts, Callback: id, Caller: d.Caller, Partition: e.PartitionKey,
				Channel: intake.Phone, Line: d.Line, Words: e.Personal.Text, Place: e.Personal.Place, Address: e.Personal.Address, Home: b.home(d.Caller),
				Name: e.Personal.Name, Number: e.Personal.Number, Next: routing.NextDispatch})
		case *intake.OfferedV1:
			err = b.submission(ctx, tx, e, d)
		case *intake.ErasedV1:
			err = b.forget(ctx, tx, intake.ContactID(e.Subject.ID()))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", e.ID(), err)
		}
	}
	return nil
}

// submission opens a case for what was handed in by an app, if a rule opens one by itself.
func (b *Book) submission(ctx context.Context, tx *store.Tx, e intake.Event, d *intake.OfferedV1) error {
	if d.Channel != intake.App || d.Imported != "" {
		return nil
	}
	o := OpenCase{Key: "contact/" + e.Subject.ID(), Source: intake.FromSubmission, Contacts: []intake.ContactID{e.Contact()}, Caller: d.Caller, Partition: e.PartitionKey, Channel: d.Channel,
		Line: d.Line, Words: e.Personal.Text, Place: e.Personal.Place, Address: e.Personal.Address, Home: b.home(d.Caller), Name: e.Personal.Name, Number: e.Personal.Number, Next: routing.NextDispatch}
	if _, decision := b.decide(o); !decision.Opens {
		return nil
	}
	_, err := b.open(ctx, tx, o)
	return err
}

func (b *Book) home(caller intake.Token) intake.GridID {
	if b.config.Home == nil || caller == "" {
		return ""
	}
	return b.config.Home(caller)
}

// forget takes a person out of the cases of a contact that was erased, and says so for each, so that the index forgets too.
func (b *Book) forget(ctx context.Context, tx *store.Tx, contact intake.ContactID) error {
	rows, err := tx.QueryContext(ctx, "SELECT c.data FROM cases c JOIN case_contacts k ON k.id = c.id WHERE k.contact = ?", string(contact))
	if err != nil {
		return err
	}
	var list []routing.Case
	for rows.Next() {
		c, err := one(rows)
		if err != nil {
			_ = rows.Close()
			return err
		}
		list = append(list, c)
	}
	if err := rows.Close(); err != nil {
		return err
	}
	now := b.now()
	for _, c := range list {
		if c.Words.IsZero() && c.Phone.IsZero() && c.Name.IsZero() && c.Address.IsZero() {
			continue // forgotten already
		}
		caselife.Forget(&c)
		c.Sequence = c.Sequence.Next(max(b.config.Epoch, c.Sequence.Epoch()))
		if _, err := tx.ExecContext(ctx, "UPDATE case_steps SET text = '' WHERE id = ?", string(c.ID)); err != nil {
			return err
		}
		if err := b.save(ctx, tx, &c); err != nil {
			return err
		}
		event := intake.Event{Source: b.config.Source, Subject: c.ID.Subject(), Sequence: c.Sequence, Time: now, PartitionKey: c.Partition, Data: &intake.ErasedV1{Ground: "contact"}}
		if err := tx.Emit(ctx, event); err != nil {
			return err
		}
	}
	return nil
}

// kept is a registry as JSON; workers' names and numbers in clear, for the table only.
type kept struct {
	Version string                      `json:"version"`
	From    time.Time                   `json:"from"`
	Until   time.Time                   `json:"until,omitzero"`
	Layout  grid.Layout                 `json:"layout"`
	Areas   []keptArea                  `json:"areas"`
	Shapes  map[string]orb.MultiPolygon `json:"shapes"`
	Entries []grid.Entry                `json:"entries"`
}

type keptArea struct {
	routing.Area
	Worker, Phone string
}

// SaveRegistry puts a version of the areas in force and keeps it, with its event in the same transaction.
func (b *Book) SaveRegistry(ctx context.Context, r *grid.Registry, refusedRows int, by intake.UserID) error {
	p := r.Parts()
	k := kept{Version: p.Version, From: p.From, Until: p.Until, Layout: p.Layout, Shapes: p.Shapes, Entries: p.Entries}
	for _, a := range p.Areas {
		k.Areas = append(k.Areas, keptArea{a, a.Worker.Reveal(), a.Phone.Reveal()})
	}
	raw, err := json.Marshal(k)
	if err != nil {
		return err
	}
	now := b.now()
	err = b.config.Store.Tx(ctx, func(tx *store.Tx) error {
		if _, err := tx.ExecContext(ctx, "INSERT INTO registries (version, at, data) VALUES (?, ?, ?)", p.Version, store.Millis(now), string(raw)); err != nil {
			return err
		}
		subject := intake.Subject("grid/" + b.config.NewID()) // each import is a subject of its own
		return tx.Emit(ctx, intake.Event{Source: b.config.Source, Subject: subject, Sequence: intake.NewSequence(b.config.Epoch, 1), Time: now, PartitionKey: string(subject),
			Data: &intake.GridImportedV1{Version: p.Version, Rows: len(p.Areas), Refused: refusedRows}})
	})
	if err != nil {
		return fmt.Errorf("casebook: %w", err)
	}
	b.registry.Store(r)
	return nil
}

func (b *Book) loadRegistry(ctx context.Context) error {
	rows, err := b.config.Store.Query(ctx, "SELECT data FROM registries ORDER BY row DESC LIMIT 1")
	if err != nil {
		return fmt.Errorf("casebook: %w", err)
	}
	defer rows.Close()
	if !rows.Next() {
		return rows.Err()
	}
	var raw []byte
	if err := rows.Scan(&raw); err != nil {
		return err
	}
	var k kept
	if err := json.Unmarshal(raw, &k); err != nil {
		return fmt.Errorf("casebook: the registry cannot be read: %w", err)
	}
	p := grid.Parts{Version: k.Version, From: k.From, Until: k.Until, Layout: k.Layout, Shapes: k.Shapes, Entries: k.Entries}
	for _, a := range k.Areas {
		area := a.Area
		area.Worker, area.Phone = pii.NewName(a.Worker), pii.NewPhone(a.Phone)
		p.Areas = append(p.Areas, area)
	}
	r, err := grid.Build(p)
	if err != nil {
		return fmt.Errorf("casebook: the registry cannot be used: %w", err)
	}
	b.registry.Store(r)
	return nil
}

// Audit holds each case's row against the fold of its steps, and its contacts against the list by which contacts find their case.
func (b *Book) Audit(ctx context.Context) (AuditReport, error) {
	r := AuditReport{Findings: []Finding{}}
	list, err := b.many(ctx, "SELECT data FROM cases ORDER BY id")
	if err != nil {
		return r, err
	}
	contacts := map[intake.ContactID]bool{}
	for _, c := range list {
		r.Cases++
		if c.State.Open() {
			r.Open++
		}
		steps, err := b.Steps(ctx, c.ID)
		if err != nil {
			return r, err
		}
		folded := routing.Case{ID: c.ID}
		for _, s := range steps {
			caselife.Fold(&folded, s.At, s.Data, intake.Personal{Text: s.Text})
		}
		if len(steps) == 0 || folded.State != c.State || folded.Grid != c.Grid || !folded.Deadline.Equal(c.Deadline) {
			r.Findings = append(r.Findings, Finding{Case: c.ID, What: fmt.Sprintf("the row says %s, its %d steps say %s", c.State, len(steps), folded.State)})
		}
		for _, contact := range c.Contacts {
			contacts[contact] = true
			var n int
			if err := b.config.Store.QueryRow(ctx, "SELECT COUNT(*) FROM case_contacts WHERE contact = ? AND id = ?", string(contact), string(c.ID)).Scan(&n); err != nil {
				return r, err
			}
			if n == 0 {
				r.Findings = append(r.Findings, Finding{Case: c.ID, Contact: contact, What: "the contact does not find its case"})
			}
		}
	}
	r.Contacts = len(contacts)
	return r, nil
}
