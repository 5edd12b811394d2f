package casebook

import (
	"context"
	"fmt"
	"slices"
	"time"

	"yingda/intake"
	"yingda/internal/store"
	"yingda/routing"
	"yingda/routing/caselife"
)

// Audit holds each case's row against the fold of its steps, its columns against its row, and its contacts against the list by which
// contacts find their case.
func (b *Book) Audit(ctx context.Context) (AuditReport, error) {
	r := AuditReport{Findings: []Finding{}}
	find := func(id intake.CaseID, contact intake.ContactID, what string, args ...any) {
		r.Findings = append(r.Findings, Finding{Case: id, Contact: contact, What: fmt.Sprintf(what, args...)})
	}
	steps := map[intake.CaseID][]Step{}
	err := b.each(ctx, func(s scanner) error {
		step, err := readStep(s)
		if err == nil && step.Data != nil {
			steps[step.Case] = append(steps[step.Case], step)
		}
		return err
	}, "SELECT id, sequence, at, type, data, text FROM case_steps ORDER BY id, sequence")
	if err != nil {
		return r, err
	}
	links := map[intake.CaseID][]intake.ContactID{}
	contacts := map[intake.ContactID]bool{}
	err = b.each(ctx, func(s scanner) error {
		var id intake.CaseID
		var contact intake.ContactID
		if err := s.Scan(&contact, &id); err != nil {
			return err
		}
		links[id] = append(links[id], contact)
		contacts[contact] = true
		return nil
	}, "SELECT contact, id FROM case_contacts")
	if err != nil {
		return r, err
	}
	r.Contacts = len(contacts)
	err = b.each(ctx, func(s scanner) error {
		var raw, state, inGrid string
		var deadline, closed int64
		if err := s.Scan(&raw, &state, &inGrid, &deadline, &closed); err != nil {
			return err
		}
		c, err := parse(raw)
		if err != nil {
			return err
		}
		r.Cases++
		if c.State.Open() {
			r.Open++
		}
		if string(c.State) != state || string(c.Grid) != inGrid || store.Millis(c.Deadline) != deadline || store.Millis(c.Closed) != closed {
			find(c.ID, "", "its columns differ from its row")
		}
		folded := routing.Case{ID: c.ID}
		var last intake.Sequence
		for _, s := range steps[c.ID] {
			if last != 0 && s.Sequence.Epoch() == last.Epoch() && s.Sequence != last+1 {
				find(c.ID, "", "steps between %s and %s are missing", last, s.Sequence)
			}
			last = s.Sequence
			caselife.Fold(&folded, s.At, s.Data, intake.Personal{Text: s.Text})
		}
		for _, d := range []struct {
			what      string
			row, fold any
		}{
			{"state", c.State, folded.State}, {"grid", c.Grid, folded.Grid}, {"department", c.Department, folded.Department}, {"holder", c.Holder, folded.Holder},
			{"deadline", c.Deadline.UTC().Format(time.RFC3339Nano), folded.Deadline.UTC().Format(time.RFC3339Nano)}, {"result", c.Result, folded.Result}, {"callback", c.Callback, folded.Callback},
		} {
			if d.row != d.fold {
				find(c.ID, "", "%s: the row says %v, its %d steps say %v", d.what, d.row, len(steps[c.ID]), d.fold)
			}
		}
		for _, contact := range folded.Contacts {
			r.Named = append(r.Named, Named{c.ID, contact})
			if !slices.Contains(links[c.ID], contact) {
				find(c.ID, contact, "the contact does not find its case")
			}
		}
		for _, contact := range links[c.ID] {
			if !slices.Contains(folded.Contacts, contact) {
				find(c.ID, contact, "the contact finds a case that does not know it")
			}
		}
		delete(steps, c.ID)
		delete(links, c.ID)
		return nil
	}, "SELECT data, state, grid, deadline, closed FROM cases ORDER BY id")
	if err != nil {
		return r, err
	}
	for id := range steps {
		find(id, "", "there are steps of a case that is not there")
	}
	for id, list := range links {
		find(id, list[0], "a contact finds a case that is not there")
	}
	slices.SortFunc(r.Findings, func(a, b Finding) int {
		return slices.Compare([]string{string(a.Case), string(a.Contact), a.What}, []string{string(b.Case), string(b.Contact), b.What})
	})
	return r, nil
}
