package app

import (
	"context"
	"iter"
	"time"

	"yingda/intake"
	"yingda/intake/books"
	"yingda/internal/pii"
	"yingda/internal/users"
	"yingda/routing"
	"yingda/routing/casebook"
	"yingda/search"
	"yingda/web"
)

// listsView reads whole lists for exports, a page at a time: between two pages no connection is held.
type listsView struct{ *view }

const exportPage = 500

// paged goes on asking for pages of that size until one is not full.
func paged[T, R any](size int, page func() ([]T, error), row func(T) R, yield func(R, error) bool) {
	for {
		list, err := page()
		if err != nil {
			var none R
			yield(none, err)
			return
		}
		for _, x := range list {
			if !yield(row(x), nil) {
				return
			}
		}
		if len(list) < size {
			return
		}
	}
}

func (v listsView) Contacts(ctx context.Context, f web.ContactFilter) iter.Seq2[web.ContactRow, error] {
	return func(yield func(web.ContactRow, error) bool) {
		q, err := v.contactQuery(ctx, f)
		if err != nil {
			yield(web.ContactRow{}, err)
			return
		}
		q.Limit = exportPage
		if now := v.now(); q.To.IsZero() || q.To.After(now) {
			q.To = now // what arrives while it is read is not in it
		}
		who := newcomers{view: v.view}
		paged(exportPage, func() ([]books.Contact, error) {
			list, err := v.gather(ctx, q)
			if len(list) > 0 {
				q.After = list[len(list)-1].Cursor()
			}
			return list, err
		}, func(c books.Contact) web.ContactRow { return who.row(ctx, &c) }, yield)
	}
}

// newcomers remembers people for the length of an export: those who come often are asked for once.
type newcomers struct {
	*view
	people map[intake.Token]web.Person
}

const mostRemembered = 20_000

func (n *newcomers) row(ctx context.Context, c *books.Contact) web.ContactRow {
	if c.Caller == "" {
		return n.view.row(ctx, c)
	}
	p, ok := n.people[c.Caller]
	if !ok {
		p, _ = n.person(ctx, c.Caller, pii.Phone{}, pii.Name{})
		if n.people == nil || len(n.people) >= mostRemembered {
			n.people = map[intake.Token]web.Person{}
		}
		n.people[c.Caller] = p
	}
	p.Number = c.Number
	if p.Name.IsZero() {
		p.Name = c.Name
	}
	return n.rowOf(ctx, c, p)
}

func (v listsView) Unreturned(ctx context.Context, f web.UnreturnedFilter) iter.Seq2[web.OwedPerson, error] {
	return func(yield func(web.OwedPerson, error) bool) {
		list, err := v.books.Unreturned(ctx, v.unreturnedQuery(f, v.now()))
		if err != nil {
			yield(web.OwedPerson{}, err)
			return
		}
		for _, c := range list {
			p := v.owed(ctx, c, nil)
			if f.Grid != "" && p.Grid.ID != f.Grid || f.Who == "nobody" && p.Holder.ID != "" {
				continue
			}
			if !yield(p, nil) {
				return
			}
		}
	}
}

func (v listsView) Cleared(ctx context.Context, from, to time.Time) iter.Seq2[web.Cleared, error] {
	return func(yield func(web.Cleared, error) bool) {
		var after books.Callback
		paged(exportPage, func() ([]books.Callback, error) {
			list, err := v.books.ClearedBetween(ctx, from, to, after, exportPage)
			if len(list) > 0 {
				after = list[len(list)-1]
			}
			return list, err
		}, func(c books.Callback) web.Cleared { return v.cleared(ctx, c) }, yield)
	}
}

func (v listsView) Cases(ctx context.Context, who web.Viewer, f web.CaseFilter) iter.Seq2[web.CaseRow, error] {
	return func(yield func(web.CaseRow, error) bool) {
		now := v.now()
		q := casebook.Filter{Source: f.Source, Open: f.State == "" || f.State == "overdue", Limit: exportPage, OpenedTo: now}
		if f.Grid != "" {
			q.Grids = []intake.GridID{f.Grid}
		}
		if who.Role == users.GridWorker {
			yield(web.CaseRow{}, web.ErrNotFound) // they take no lists away
			return
		}
		switch f.State {
		case "", "all":
		case "overdue":
			q.DueBefore = now
		default:
			q.States = []routing.State{routing.State(f.State)}
		}
		paged(exportPage, func() ([]routing.Case, error) {
			list, err := v.cases.List(ctx, q)
			q.Offset += len(list)
			return list, err
		}, func(c routing.Case) web.CaseRow { return v.caseRow(c, now) }, yield)
	}
}

func (v listsView) Trail(ctx context.Context, f web.TrailFilter) iter.Seq2[web.TrailRow, error] {
	return func(yield func(web.TrailRow, error) bool) {
		q := books.ActFilter{From: f.From, To: f.To, Who: f.Who, Kind: f.Kind, Limit: exportPage}
		if now := v.now(); q.To.IsZero() || q.To.After(now) {
			q.To = now
		}
		paged(exportPage, func() ([]books.Act, error) {
			list, err := v.books.Acts(ctx, q)
			if len(list) > 0 {
				q.After = books.ActCursor{At: list[len(list)-1].At, ID: list[len(list)-1].ID}
			}
			return list, err
		}, func(a books.Act) web.TrailRow { return v.trailRow(ctx, a) }, yield)
	}
}

func (v listsView) Hits(ctx context.Context, who web.Viewer, q web.Query) iter.Seq2[web.Hit, error] {
	return func(yield func(web.Hit, error) bool) {
		s, ok := v.searchQuery(who, q)
		if !ok {
			return
		}
		s.Limit, s.Offset = search.MaxLimit, 0
		find := searchView(v)
		paged(search.MaxLimit, func() ([]search.Hit, error) {
			if s.Offset >= web.MostHits {
				return nil, nil
			}
			r, err := v.index.Search(ctx, s)
			s.Offset += len(r.Hits)
			return r.Hits, err
		}, func(h search.Hit) web.Hit { return find.hit(ctx, h) }, yield)
	}
}
