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
	"yingda/routing/grid"
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
	empty, err := grid.Build(grid.Parts{Layout: grid.GBT30428})
	if err != nil {
		return nil, err
	}
	b.registry.Store(empty)
	return b, b.loadRegistry(ctx)
}

// Registry and Rules in force. SetRules puts others in force for what is decided from now on.
func (b *Book) Registry() *grid.Registry { return b.registry.Load() }
func (b *Book) Rules() *rules.Set        { return b.rules.Load() }
func (b *Book) SetRules(set *rules.Set)  { b.rules.Store(set) }
func (b *Book) now() time.Time           { return intake.Millis(b.config.Now()) }
func (o OpenCase) asked() routing.Asked {
	return routing.Asked{Place: o.Place, Address: o.Address, Home: o.Home}
}

// Propose says where a case would go, for the form while it is filled in.
func (b *Book) Propose(ctx context.Context, o OpenCase) (Proposal, error) {
	found, decision := b.decide(o)
	p := Proposal{Found: found, Decision: decision}
	var err error
	p.Similar, err = b.Similar(ctx, o)
	return p, err
}

func (b *Book) decide(o OpenCase) (routing.Found, routing.Decision) {
	r := b.Registry()
	found := r.Find(o.asked())
	if o.Grid != "" {
		found.Grid, found.How, found.Confidence = o.Grid, routing.ByPerson, 100
		found.Why, found.Plain = "由人指定", "由人指定"
	}
	f := routing.Facts{Source: o.Source, Channel: o.Channel, Line: o.Line, Category: o.Category, Words: o.Words, Found: found, Callback: o.Callback != "", Older: o.Older, SelfClosed: o.Next == routing.NextClose}
	if found.Grid != "" {
		if a, ok := r.Above(string(found.Grid), routing.Street); ok {
			f.Street = a.Code
		}
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
	now := b.now()
	found, decision := b.decide(o)
	id := intake.CaseID(b.config.NewID())
	life := caselife.New(id)
	in := routing.Open{Source: o.Source, Contacts: o.Contacts, Callback: o.Callback, Found: found, Decision: decision, Category: o.Category, Grid: o.Grid, Dept: o.Department, By: o.By,
		Personal: intake.Personal{Number: o.Number, Name: o.Name, Address: o.Address, Text: o.Words, Place: o.Place}, Next: o.Next, Result: o.Result, Known: o.Known, Answer: o.Answer}
	effects := life.Step(now, in)
	if err := refused(effects); err != nil {
		return routing.Case{}, err
	}
	c := routing.Case{ID: id}
	var err error
	if c.Number, err = b.number(ctx, tx, now); err != nil {
		return c, err
	}
	c.Partition = o.Partition
	if c.Partition == "" {
		c.Partition = string(o.Caller)
	}
	if c.Partition == "" && len(o.Contacts) > 0 {
		c.Partition = string(o.Contacts[0])
	}
	if c.Partition == "" {
		c.Partition = string(id)
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
	var c routing.Case
	err := b.config.Store.Tx(ctx, func(tx *store.Tx) (err error) {
		if c, err = one(tx.QueryRowContext(ctx, "SELECT data FROM cases WHERE id = ?", string(id))); err != nil {
			return err
		}
		now := b.now()
		effects := caselife.Load(c).Step(now, in)
		if err := refused(effects); err != nil {
			return err
		}
		return b.write(ctx, tx, &c, now, effects)
	})
	return c, err
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
	_, err = tx.ExecContext(ctx, `INSERT INTO cases (id, number, sequence, state, source, grid, department, category, callback, caller, opened, deadline, closed, data)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, state = excluded.state, grid = excluded.grid, department = excluded.department, category = excluded.category,
		callback = excluded.callback, deadline = excluded.deadline, closed = excluded.closed, data = excluded.data`,
		string(c.ID), c.Number, int64(c.Sequence), string(c.State), c.Source, string(c.Grid), c.Department, c.Category, string(c.Callback),
		store.Millis(c.Opened), store.Millis(c.Deadline), store.Millis(c.Closed), string(raw))
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
	rows, err := b.config.Store.Query(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("casebook: %w", err)
	}
	defer rows.Close()
	var list []routing.Case
	for rows.Next() {
		c, err := one(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, rows.Err()
}

// Steps are what happened to a case, oldest first.
func (b *Book) Steps(ctx context.Context, id intake.CaseID) ([]Step, error) {
	rows, err := b.config.Store.Query(ctx, "SELECT sequence, at, type, data, text FROM case_steps WHERE id = ? ORDER BY at, sequence", string(id))
	if err != nil {
		return nil, fmt.Errorf("casebook: %w", err)
	}
	defer rows.Close()
	var list []Step
	for rows.Next() {
		var seq, at int64
		var kind, data, text string
		if err := rows.Scan(&seq, &at, &kind, &data, &text); err != nil {
			return nil, err
		}
		d, ok := intake.New(intake.Type(kind))
		if !ok {
			continue
		}
		if err := json.Unmarshal([]byte(data), d); err != nil {
			return nil, fmt.Errorf("casebook: step %d of %s: %w", seq, id, err)
		}
		list = append(list, Step{Case: id, Sequence: intake.Sequence(seq), At: store.Time(at), Data: d, Text: pii.NewText(text)})
	}
	return list, rows.Err()
}
