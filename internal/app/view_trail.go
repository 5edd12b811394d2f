package app

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/intake/books"
	"yingda/internal/store"
	"yingda/internal/users"
	"yingda/web"
)

type trailView struct{ *view }

// List gives a page of the audit log, newest first.
func (v trailView) List(ctx context.Context, f web.TrailFilter) (web.TrailPage, error) {
	now := v.now()
	out := web.TrailPage{AsOf: v.asOf(ctx, now), Staff: v.everybody(ctx)}
	limit := f.Limit
	if limit <= 0 || limit > 500 {
		limit = 50
	}
	q := books.ActFilter{From: f.From, To: f.To, Who: f.Who, Kind: f.Kind, Limit: limit + 1}
	if f.After != "" {
		at, id, ok := strings.Cut(f.After, "_")
		t, err := time.Parse(time.RFC3339Nano, at)
		if !ok || err != nil {
			return out, web.ErrNotFound
		}
		q.After = books.ActCursor{At: t, ID: id}
	}
	list, err := v.books.Acts(ctx, q)
	if err != nil {
		return out, err
	}
	if len(list) > limit {
		list = list[:limit]
		last := list[limit-1]
		out.Next = last.At.UTC().Format(time.RFC3339Nano) + "_" + last.ID
	}
	for _, a := range list {
		out.Rows = append(out.Rows, v.trailRow(ctx, a))
	}
	return out, nil
}

// everybody who has or had an account.
func (v *view) everybody(ctx context.Context) []web.Staff {
	v.names.load(ctx)
	v.names.mu.Lock()
	defer v.names.mu.Unlock()
	var list []web.Staff
	for _, u := range v.names.list {
		list = append(list, web.Staff{ID: u.ID, Name: u.Name})
	}
	slices.SortFunc(list, func(a, b web.Staff) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return list
}

// details in the order in which a row tells them.
var details = []string{"format", "filter", "from_ms", "to_ms", "wall", "role", "before", "name", "version", "rows", "refused"}

// trailRow is an entry for the screen. What people wrote may hold a number; runs of digits are starred.
func (v *view) trailRow(ctx context.Context, a books.Act) web.TrailRow {
	r := web.TrailRow{At: a.At, Who: v.staff(ctx, a.Who), Kind: a.Kind, What: a.What, Contact: a.Contact, Reason: starDigits(a.Reason)}
	switch kind, id := a.Of.Kind(), a.Of.ID(); kind {
	case "account":
		if intake.UserID(id) != a.Who {
			r.Of = v.staff(ctx, intake.UserID(id)).Name
		}
	case "token", "grid":
		r.Of = id
	case "line":
		r.Of = cmp.Or(a.More["name"], id)
	}
	for _, name := range details {
		value, ok := a.More[name]
		if !ok || name == "name" && r.Of == value || name == "filter" && value == "" {
			continue
		}
		r.More = append(r.More, web.Detail{Name: name, Value: value})
	}
	return r
}

func (v trailView) Exported(ctx context.Context, who web.Viewer, e intake.ListExportedV1) error {
	return v.wrote(ctx, "list", string(who.ID), &e)
}

func (v trailView) Signed(ctx context.Context, e intake.AccountSignedV1) error {
	return v.wrote(ctx, "account", string(e.User), &e)
}

func (v trailView) Account(ctx context.Context, e intake.AccountChangedV1) error {
	return v.wrote(ctx, "account", cmp.Or(string(e.User), e.Token), &e)
}

func (v trailView) AccountWith(e intake.AccountChangedV1) users.Also {
	return func(ctx context.Context, tx *store.Tx) error { return v.emit(ctx, tx, "account", string(e.User), &e) }
}

// wrote writes down an act that concerns no contact. Like a look, each is a subject of its own: nobody counts them under a lock.
func (s *Store) wrote(ctx context.Context, kind, key string, d intake.Data) error {
	return s.DB.Tx(ctx, func(tx *store.Tx) error { return s.emit(ctx, tx, kind, key, d) })
}

func (s *Store) emit(ctx context.Context, tx *store.Tx, kind, key string, d intake.Data) error {
	return tx.Emit(ctx, intake.Event{Source: s.Source, Subject: intake.Subject(kind + "/" + newID()), Sequence: intake.NewSequence(s.Epoch, 1), Time: intake.Millis(s.now()),
		PartitionKey: key, Data: d})
}
