package app

import (
	"context"
	"encoding/json"
	"io"
	"strings"
	"time"

	"yingda/intake"
	"yingda/intake/books"
	"yingda/web"
)

type ledgerView struct{ *view }

// entry is a contact as the API and the export give it.
func entry(c *books.Contact) web.Entry {
	e := web.Entry{ID: c.ID, Channel: c.Channel, Line: c.Line, ArrivedAt: web.Stamp(c.Arrived)}
	e.EndedAt = stamp(c.Ended)
	e.AnsweredAt = stamp(c.AnsweredAt())
	e.Outcome, e.Reason, e.SIPCallID, e.Operator = some(c.Outcome), some(c.Reason), some(c.SIPCallID), some(c.Operator)
	e.Case, e.Callback = some(c.Case), some(c.Callback)
	return e
}

func stamp(t time.Time) *web.Stamp {
	if t.IsZero() {
		return nil
	}
	s := web.Stamp(t)
	return &s
}

// some is nil for nothing.
func some[T ~string](v T) *T {
	if v == "" {
		return nil
	}
	return &v
}

func (v ledgerView) List(ctx context.Context, f web.LedgerFilter) ([]web.Entry, string, error) {
	limit := f.Limit
	if limit <= 0 || limit > 1000 {
		limit = 100
	}
	q := books.Filter{From: f.From, To: f.To, Line: f.Line, Channel: f.Channel, Oldest: true, Limit: limit + 1}
	if f.Outcome != "" {
		q.Outcomes = []intake.Outcome{f.Outcome}
	}
	if f.After != "" {
		at, id, ok := strings.Cut(f.After, "_")
		t, err := time.Parse(time.RFC3339Nano, at)
		if !ok || err != nil {
			return nil, "", web.ErrCursor
		}
		q.After = books.Cursor{Arrived: t, ID: intake.ContactID(id)}
	}
	var list []web.Entry
	next := ""
	var last books.Contact
	for c, err := range v.books.Contacts(ctx, q) {
		if err != nil {
			return nil, "", err
		}
		if len(list) == limit {
			cur := last.Cursor()
			next = cur.Arrived.UTC().Format(time.RFC3339Nano) + "_" + string(cur.ID)
			break
		}
		list = append(list, entry(&c))
		last = c
	}
	return list, next, nil
}

func (v ledgerView) One(ctx context.Context, id intake.ContactID) (web.Entry, error) {
	c, err := v.books.Contact(ctx, id)
	if err != nil {
		return web.Entry{}, notFound(err)
	}
	return entry(&c), nil
}

func (v ledgerView) Books(ctx context.Context, f web.LedgerFilter) (web.Books, error) {
	r, err := v.books.Rates(ctx, f.From, f.To, f.Line, f.Channel)
	if err != nil {
		return web.Books{}, err
	}
	b := web.Books{From: web.Stamp(f.From), To: web.Stamp(f.To), Line: some(f.Line), Channel: some(f.Channel), AsOf: web.Stamp(v.asOf(ctx, v.now())),
		Offered: r.Offered, Open: r.Open, Outcomes: r.Outcomes, Balanced: r.Balanced}
	for _, x := range r.Rates {
		b.Rates = append(b.Rates, web.Rate{ID: x.ID, Label: x.Name.ZH, Numerator: x.Num, Denominator: x.Den})
	}
	return b, nil
}

// ExportContacts writes contacts that arrived in [from, to) as JSON lines, oldest first; zero times: without end.
func (s *Store) ExportContacts(ctx context.Context, from, to time.Time, w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for c, err := range s.books.Contacts(ctx, books.Filter{From: from, To: to, Oldest: true}) {
		if err != nil {
			return err
		}
		if err := enc.Encode(entry(&c)); err != nil {
			return err
		}
	}
	return nil
}
