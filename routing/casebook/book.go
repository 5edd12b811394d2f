package casebook

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/routing"
	"yingda/routing/caselife"
	"yingda/routing/rules"
)

// New takes up what the tables hold.
func New(ctx context.Context, c Config) (*Book, error) {
	if c.Source == "" {
		c.Source = "yingda/casebook"
	}
	if c.Epoch == 0 {
		c.Epoch = 1
	}
	if c.Location == nil {
		c.Location = time.UTC
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = func() string { return uuid.Must(uuid.NewV7()).String() }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Rules == nil {
		c.Rules = rules.Default(c.Location)
	}
	b := &Book{config: c}
	b.rules.Store(c.Rules)
	return b, b.loadRegistry(ctx)
}

// Rules in force. SetRules puts others in force for what is decided from now on.
func (b *Book) Rules() *rules.Set       { return b.rules.Load() }
func (b *Book) SetRules(set *rules.Set) { b.rules.Store(set) }

func (b *Book) now() time.Time { return intake.Millis(b.config.Now()) }

// Propose says where a case would go, for the form while it is filled in.
func (b *Book) Propose(ctx context.Context, o OpenCase) (Proposal, error) {
	found, decision := b.Decide(o)
	p := Proposal{Found: found, Decision: decision}
	var err error
	p.Similar, err = b.Similar(ctx, o)
	return p, err
}

// Decide asks the registry where it is and the rules who has it, and reads no table. A grid that a person chose is what the rules go by; what
// was found stays in Found, so that overruling it is seen.
func (b *Book) Decide(o OpenCase) (routing.Found, routing.Decision) {
	r := b.Registry()
	found := r.Find(routing.Asked{Place: o.Place, Address: o.Address, Home: o.Home})
	at := found
	if o.Grid != "" {
		at = routing.Found{Grid: o.Grid, How: routing.ByPerson, Confidence: 100}
		if a, ok := r.Above(string(o.Grid), routing.Community); ok {
			at.Community = a.Code
		}
	}
	f := routing.Facts{Source: o.Source, Channel: o.Channel, Line: o.Line, Category: o.Category, Words: o.Words, Found: at, Callback: o.Callback != "", Older: o.Older, SelfClosed: o.Next == routing.NextClose}
	code := string(at.Grid)
	if code == "" {
		code = at.Community
	}
	if a, ok := r.Above(code, routing.Street); ok {
		f.Street = a.Code
	}
	return found, b.Rules().Decide(b.now(), f)
}

// Open routes a matter, makes a case of it, and gives the case. The same Key again gives the same case.
func (b *Book) Open(ctx context.Context, o OpenCase) (routing.Case, error) {
	var c routing.Case
	err := b.config.Store.Tx(ctx, func(tx *store.Tx) (err error) {
		c, err = b.open(ctx, tx, o)
		return err
	})
	return c, err
}

func (b *Book) open(ctx context.Context, tx *store.Tx, o OpenCase) (routing.Case, error) {
	if o.Key != "" {
		var id string
		err := tx.QueryRowContext(ctx, "SELECT id FROM case_keys WHERE key = ?", o.Key).Scan(&id)
		if err == nil {
			return one(tx.QueryRowContext(ctx, "SELECT data FROM cases WHERE id = ?", id))
		}
		if !errors.Is(err, sql.ErrNoRows) {
			return routing.Case{}, err
		}
	}
	if o.Grid != "" {
		if _, ok := b.Registry().Grid(o.Grid); !ok {
			return routing.Case{}, &Refused{Sentence: "没有这个网格"}
		}
	}
	if o.Department != "" && o.Department != routing.NoDepartment {
		if _, ok := b.Rules().Department(o.Department); !ok {
			return routing.Case{}, &Refused{Sentence: "没有这个部门"}
		}
	}
	now := b.now()
	found, decision := b.Decide(o)
	if nobody := found.Grid == "" && o.Grid == "" && decision.Grid == "" && decision.Department == "" && (o.Department == "" || o.Department == routing.NoDepartment); nobody &&
		o.Next == routing.NextDispatch && (o.Source == intake.FromVisit || o.Source == intake.FromSubmission) {
		o.Next = routing.NextWait // nobody filled in a form that could be refused: a dispatcher finds out where it is
	}
	id := intake.CaseID(b.config.NewID())
	life := caselife.New(id)
	in := routing.Open{Source: o.Source, Contacts: o.Contacts, Callback: o.Callback, Found: found, Decision: decision, Category: o.Category, Grid: o.Grid, Dept: o.Department, By: o.By,
		Personal: intake.Personal{Number: o.Number, Name: o.Name, Address: o.Address, Text: o.Words, Place: o.Place}, Next: o.Next, Result: o.Result, Known: o.Known, Answer: o.Answer}
	effects := life.Step(now, in)
	if err := refused(effects); err != nil {
		return routing.Case{}, err
	}
	c := routing.Case{ID: id}
	c.Partition = partition(o, id)
	var err error
	if c.Number, err = b.number(ctx, tx, now); err != nil {
		return c, err
	}
	if err := b.write(ctx, tx, &c, now, effects); err != nil {
		return c, err
	}
	if _, err := tx.ExecContext(ctx, "UPDATE cases SET caller = ? WHERE id = ?", string(o.Caller), string(id)); err != nil {
		return c, err
	}
	if o.Key != "" {
		if _, err := tx.ExecContext(ctx, "INSERT INTO case_keys (key, id) VALUES (?, ?)", o.Key, string(id)); err != nil {
			return c, err
		}
	}
	return c, nil
}

// partition is the key of a case's events: that of its contact, so that their order holds together.
func partition(o OpenCase, id intake.CaseID) string {
	switch {
	case o.Partition != "":
		return o.Partition
	case o.Caller != "":
		return string(o.Caller)
	case len(o.Contacts) > 0:
		return string(o.Contacts[0])
	}
	return string(id)
}

// number gives the next of the year: W-2026-04817.
func (b *Book) number(ctx context.Context, tx *store.Tx, now time.Time) (string, error) {
	year := now.In(b.config.Location).Year()
	_, err := tx.ExecContext(ctx, "INSERT INTO case_numbers (year, last) VALUES (?, 1) ON CONFLICT (year) DO UPDATE SET last = case_numbers.last + 1", year)
	if err != nil {
		return "", err
	}
	var n int
	err = tx.QueryRowContext(ctx, "SELECT last FROM case_numbers WHERE year = ?", year).Scan(&n)
	return fmt.Sprintf("W-%d-%05d", year, n), err
}

func refused(effects []routing.Effect) error {
	for _, e := range effects {
		if r, ok := e.(routing.Refuse); ok {
			return &Refused{Sentence: r.Sentence}
		}
	}
	return nil
}

// Do does something to a case and gives it as it stands then. *Refused when its state does not allow it; ErrNoCase.
func (b *Book) Do(ctx context.Context, id intake.CaseID, in routing.Input) (routing.Case, error) {
	return b.DoOnce(ctx, "", id, in)
}

// DoOnce does several things to a case, all of them or none. The same key again does nothing and gives the case as it stands:
// what a phone has kept in a dead spot comes until it hears an answer. An empty key is no key.
func (b *Book) DoOnce(ctx context.Context, key string, id intake.CaseID, list ...routing.Input) (routing.Case, error) {
	var c routing.Case
	err := b.config.Store.Tx(ctx, func(tx *store.Tx) (err error) {
		if c, err = one(tx.QueryRowContext(ctx, "SELECT data FROM cases WHERE id = ?", string(id))); err != nil {
			return err
		}
		if key != "" {
			taken, err := tx.ExecContext(ctx, "INSERT INTO case_keys (key, id) VALUES (?, ?) ON CONFLICT (key) DO NOTHING", key, string(id))
			if err != nil {
				return err
			}
			if n, err := taken.RowsAffected(); err != nil || n == 0 {
				return err
			}
		}
		now := b.now()
		for _, in := range list {
			if r, ok := in.(routing.Route); ok {
				if err := b.known(r); err != nil {
					return err
				}
			}
			effects := caselife.Load(c).Step(now, in)
			if err := refused(effects); err != nil {
				return err
			}
			if err := b.write(ctx, tx, &c, now, effects); err != nil {
				return err
			}
		}
		return nil
	})
	return c, err
}

// Has says whether something with that key was opened or done, and on which case.
func (b *Book) Has(ctx context.Context, key string) (intake.CaseID, bool, error) {
	var id string
	err := b.config.Store.QueryRow(ctx, "SELECT id FROM case_keys WHERE key = ?", key).Scan(&id)
	if errors.Is(err, sql.ErrNoRows) {
		return "", false, nil
	}
	return intake.CaseID(id), err == nil, err
}

// known refuses to route a case to what is not there.
func (b *Book) known(r routing.Route) error {
	if r.Grid != "" {
		if _, ok := b.Registry().Grid(r.Grid); !ok {
			return &Refused{Sentence: "没有这个网格"}
		}
	}
	if r.Department != "" {
		if _, ok := b.Rules().Department(r.Department); !ok {
			return &Refused{Sentence: "没有这个部门"}
		}
	}
	return nil
}

// write brings the events of effects into the case, its row, its steps and the outbox.
func (b *Book) write(ctx context.Context, tx *store.Tx, c *routing.Case, now time.Time, effects []routing.Effect) error {
	for _, e := range effects {
		w, ok := e.(routing.Write)
		if !ok {
			continue
		}
		c.Sequence = c.Sequence.Next(max(b.config.Epoch, c.Sequence.Epoch()))
		caselife.Fold(c, now, w.Data, w.Personal)
		data, err := json.Marshal(w.Data)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO case_steps (id, sequence, at, type, data, text) VALUES (?, ?, ?, ?, ?, ?)",
			string(c.ID), int64(c.Sequence), store.Millis(now), string(w.Data.EventType()), string(data), w.Personal.Text.Reveal())
		if err != nil {
			return err
		}
		event := intake.Event{Source: b.config.Source, Subject: c.ID.Subject(), Sequence: c.Sequence, Time: now, PartitionKey: c.Partition, Data: w.Data, Personal: w.Personal}
		if err := tx.Emit(ctx, event); err != nil {
			return err
		}
	}
	return b.save(ctx, tx, c)
}

func (b *Book) save(ctx context.Context, tx *store.Tx, c *routing.Case) error {
	raw, err := json.Marshal(clear(*c))
	if err != nil {
		return err
	}
	var lat, lon any // NULL without a place
	if c.Place != nil {
		lat, lon = c.Place.Lat, c.Place.Lon
	}
	_, err = tx.ExecContext(ctx, `INSERT INTO cases (id, number, sequence, state, source, grid, department, category, callback, caller, opened, deadline, closed, lat, lon, data)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, state = excluded.state, grid = excluded.grid, department = excluded.department, category = excluded.category,
		callback = excluded.callback, deadline = excluded.deadline, closed = excluded.closed, lat = excluded.lat, lon = excluded.lon, data = excluded.data`,
		string(c.ID), c.Number, int64(c.Sequence), string(c.State), c.Source, string(c.Grid), c.Department, c.Category, string(c.Callback),
		store.Millis(c.Opened), store.Millis(c.Deadline), store.Millis(c.Closed), lat, lon, string(raw))
	if err != nil {
		return err
	}
	for _, contact := range c.Contacts {
		if _, err := tx.ExecContext(ctx, "INSERT INTO case_contacts (contact, id) VALUES (?, ?) ON CONFLICT DO NOTHING", string(contact), string(c.ID)); err != nil {
			return err
		}
	}
	return nil
}

// row is a case as JSON in clear, for the table only: the masked types would write stars.
type row struct {
	routing.Case
	Words, Answer, Address, Name, Phone string
}

func clear(c routing.Case) row {
	return row{c, c.Words.Reveal(), c.Answer.Reveal(), c.Address.Reveal(), c.Name.Reveal(), c.Phone.Reveal()}
}

func (r row) conceal() routing.Case {
	c := r.Case
	c.Words, c.Answer, c.Address, c.Name, c.Phone = pii.NewText(r.Words), pii.NewText(r.Answer), pii.NewAddress(r.Address), pii.NewName(r.Name), pii.NewPhone(r.Phone)
	return c
}

type scanner interface{ Scan(...any) error }

func one(s scanner) (routing.Case, error) {
	var raw string
	if err := s.Scan(&raw); err != nil {
		if errors.Is(err, sql.ErrNoRows) {
			err = ErrNoCase
		}
		return routing.Case{}, err
	}
	return parse(raw)
}

func parse(raw string) (routing.Case, error) {
	var r row
	if err := json.Unmarshal([]byte(raw), &r); err != nil {
		return routing.Case{}, fmt.Errorf("casebook: %w", err)
	}
	return r.conceal(), nil
}

// Case gives one; ErrNoCase.
func (b *Book) Case(ctx context.Context, id intake.CaseID) (routing.Case, error) {
	return one(b.config.Store.QueryRow(ctx, "SELECT data FROM cases WHERE id = ?", string(id)))
}

// ForContact gives the cases that a contact is about, newest first.
func (b *Book) ForContact(ctx context.Context, id intake.ContactID) ([]routing.Case, error) {
	return b.many(ctx, "SELECT c.data FROM cases c JOIN case_contacts k ON k.id = c.id WHERE k.contact = ? ORDER BY c.opened DESC", string(id))
}

// ForCallback gives the cases that a callback grew into, newest first.
func (b *Book) ForCallback(ctx context.Context, id intake.CallbackID) ([]routing.Case, error) {
	return b.many(ctx, "SELECT data FROM cases WHERE callback = ? AND callback <> '' ORDER BY opened DESC", string(id))
}

// ForCaller gives a caller's newest cases.
func (b *Book) ForCaller(ctx context.Context, caller intake.Token, limit int) ([]routing.Case, error) {
	return b.many(ctx, "SELECT data FROM cases WHERE caller = ? AND caller <> '' ORDER BY opened DESC LIMIT ?", string(caller), limit)
}

func (b *Book) many(ctx context.Context, query string, args ...any) ([]routing.Case, error) {
	var list []routing.Case
	err := b.each(ctx, func(s scanner) error {
		c, err := one(s)
		list = append(list, c)
		return err
	}, query, args...)
	if err != nil {
		return nil, fmt.Errorf("casebook: %w", err)
	}
	return list, nil
}

// Steps are what happened to a case, oldest first.
func (b *Book) Steps(ctx context.Context, id intake.CaseID) ([]Step, error) {
	var list []Step
	err := b.each(ctx, func(s scanner) error {
		step, err := readStep(s)
		if err == nil && step.Data != nil {
			list = append(list, step)
		}
		return err
	}, "SELECT id, sequence, at, type, data, text FROM case_steps WHERE id = ? ORDER BY sequence", string(id))
	if err != nil {
		return nil, fmt.Errorf("casebook: %w", err)
	}
	return list, nil
}

// readStep reads one row; Data is nil when a newer version wrote a type that this one does not know.
func readStep(s scanner) (Step, error) {
	var step Step
	var seq, at int64
	var kind, data, text string
	if err := s.Scan(&step.Case, &seq, &at, &kind, &data, &text); err != nil {
		return step, err
	}
	step.Sequence, step.At, step.Text = intake.Sequence(seq), store.Time(at), pii.NewText(text)
	d, ok := intake.New(intake.Type(kind))
	if !ok {
		return step, nil
	}
	if err := json.Unmarshal([]byte(data), d); err != nil {
		return step, fmt.Errorf("casebook: step %s of %s: %w", step.Sequence, step.Case, err)
	}
	step.Data = d
	return step, nil
}
