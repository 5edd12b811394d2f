package app

import (
	"context"
	"time"

	"yingda/intake"
	"yingda/internal/users"
	"yingda/search"
	"yingda/web"
)

type searchView struct{ *view }

const hitsPerPage = 20

func (v searchView) Find(ctx context.Context, who web.Viewer, q web.Query) (web.Found, error) {
	s, ok := v.searchQuery(who, q)
	if !ok {
		return web.Found{}, nil
	}
	r, err := v.index.Search(ctx, s)
	if err != nil {
		return web.Found{}, err
	}
	out := web.Found{Total: r.Total, Took: r.Took, More: r.Total > (q.Page+1)*hitsPerPage, Lines: v.lineChoices(), Grids: v.gridChoices(), Lag: v.searchLag(ctx)}
	for _, h := range r.Hits {
		out.Hits = append(out.Hits, v.hit(ctx, h))
	}
	return out, nil
}

// searchQuery is what the pages' question asks of the index; false when this person may find nothing.
func (v *view) searchQuery(who web.Viewer, q web.Query) (search.Query, bool) {
	s := search.Query{Text: q.Text, From: q.From, To: q.To, Newest: q.Newest, Limit: hitsPerPage, Offset: q.Page * hitsPerPage}
	if q.Kind != "" {
		s.Kinds = []search.Kind{search.Kind(q.Kind)}
	} else if who.Role == users.GridWorker {
		s.Kinds = []search.Kind{search.Case}
	} else {
		s.Kinds = []search.Kind{search.Contact, search.Case} // a callback is found with its contact
	}
	one(&s.Channels, q.Channel)
	one(&s.Lines, q.Line)
	one(&s.Outcomes, q.Outcome)
	one(&s.Grids, q.Grid)
	one(&s.Departments, q.Department)
	if who.Role == users.GridWorker {
		if len(who.Grids) == 0 {
			return s, false
		}
		s.Grids = who.Grids
	}
	if q.Owed {
		yes := true
		s.HasCallback = &yes
	}
	return s, true
}

func one[T ~string](list *[]T, v T) {
	if v != "" {
		*list = []T{v}
	}
}

func (v searchView) hit(ctx context.Context, h search.Hit) web.Hit {
	d := h.Document
	hit := web.Hit{Kind: string(h.Kind), ID: h.ID.ID(), Channel: d.Channel, Line: v.lineName(d.Line), Outcome: d.Outcome, State: string(d.State), At: d.Arrived, Grid: v.plate(d.Grid)}
	hit.Person, _ = v.person(ctx, d.Caller, d.Number, d.Name)
	switch h.Kind {
	case search.Case:
		if c, err := v.cases.Case(ctx, intake.CaseID(hit.ID)); err == nil {
			hit.Title = c.Number
			hit.State = string(c.State)
			hit.Line = ""
		}
	case search.Contact:
		hit.Title = hit.Person.Called
	}
	for _, w := range h.Why {
		hit.Why = append(hit.Why, string(w))
	}
	for _, l := range h.Highlights {
		hit.Pieces = append(hit.Pieces, pieces(l))
	}
	return hit
}

// pieces cuts a highlight at its ranges.
func pieces(h search.Highlight) []web.Piece {
	text := h.Text.Reveal() // masked by the index already
	var out []web.Piece
	at := 0
	for _, r := range h.Ranges {
		if r.From < at || r.To > len(text) || r.From > r.To {
			continue
		}
		if r.From > at {
			out = append(out, web.Piece{Text: text[at:r.From]})
		}
		out = append(out, web.Piece{Text: text[r.From:r.To], Why: string(r.Why)})
		at = r.To
	}
	if at < len(text) {
		out = append(out, web.Piece{Text: text[at:]})
	}
	return out
}

// searchLag is how far the index is behind the log.
func (a *App) searchLag(ctx context.Context) time.Duration {
	for _, r := range a.readers {
		if r.name == searchGroup {
			if lag, err := a.lag(ctx, r); err == nil {
				return time.Duration(lagSeconds(a.now(), lag) * float64(time.Second))
			}
		}
	}
	return 0
}
