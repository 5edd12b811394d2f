package web

import (
	"context"
	"net/http"
	"time"

	"github.com/a-h/templ"

	"yingda/intake"
	"yingda/internal/users"
)

func (s *Server) boardRoutes() {
	s.page(page{
		path: "/wall", deed: users.SeeBoard, nav: "wall", every: time.Second, tv: true,
		title: func(v *visit) string { return v.T("wall.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			w, err := s.o.Board.Now(ctx)
			switch {
			case err != nil:
				return "", nil, err
			case v.now.Sub(w.AsOf) > s.c.Stale:
				return "", wallStopped(v, w.AsOf, v.now.Sub(w.AsOf), w.Alarms), nil
			case w.Offered == 0 && w.Waiting == 0 && w.Open == 0:
				return "", wallEmpty(v, w), nil
			}
			return "", wall(v, w), nil
		},
		bones: func(v *visit) templ.Component { return wallLoading(v) },
		fault: func(v *visit, _ error) templ.Component { return wallStopped(v, time.Time{}, 0, nil) },
	})
}

func (s *Server) unreturnedRoutes() {
	s.page(page{
		path: "/unreturned", deed: users.SeeUnreturned, nav: "unreturned", every: 15 * time.Second,
		title: func(v *visit) string { return v.T("owed.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			f := unreturnedFilter(v.r)
			if v.r.URL.Query().Get("saved") != "" {
				s.mu.Lock()
				list, at := s.saved, s.savedAt
				s.mu.Unlock()
				if !at.IsZero() {
					return "", owedPage(v, list, UnreturnedFilter{}, Heat{}, at), nil
				}
			}
			list, err := s.o.Unreturned.People(ctx, f)
			if err != nil {
				return "", nil, err
			}
			if f == (UnreturnedFilter{}) {
				s.mu.Lock()
				s.saved, s.savedAt = list, v.now
				s.mu.Unlock()
			}
			heat, err := s.heatMap(ctx, v.now)
			if err != nil {
				s.c.Log.Warn("the heat map could not be read", "err", err) // the list is worth more than the picture
			}
			return "", owedPage(v, list, f, heat, time.Time{}), nil
		},
		bones: func(v *visit) templ.Component { return owedLoading(v) },
		fault: func(v *visit, _ error) templ.Component {
			s.mu.Lock()
			defer s.mu.Unlock()
			return owedUnread(v, s.savedAt, s.saved.Total)
		},
	})
	s.page(page{
		path: "/unreturned/heat", deed: users.SeeUnreturned, nav: "unreturned",
		title: func(v *visit) string { return v.T("heat.table.head") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			heat, err := s.heatMap(ctx, v.now)
			return "", heatTable(v, heat), err
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
	deed := func(act string, d users.Deed, said string, do func(*visit, intake.CallbackID) error) {
		s.add(route{pattern: "POST /unreturned/{id}/" + act, deed: d, do: func(v *visit) error {
			if err := do(v, intake.CallbackID(v.r.PathValue("id"))); err != nil {
				return err
			}
			return v.back(local(v.r.PostForm.Get("back"), "/unreturned"), said)
		}})
	}
	c := func() Callbacks { return s.o.Callbacks }
	deed("call", users.CallBack, "calling", func(v *visit, id intake.CallbackID) error { return c().Call(v.ctx(), v.viewer(), id) })
	deed("take", users.CallBack, "taken", func(v *visit, id intake.CallbackID) error { return c().Take(v.ctx(), v.viewer(), id) })
	deed("release", users.CallBack, "released", func(v *visit, id intake.CallbackID) error { return c().Release(v.ctx(), v.viewer(), id) })
	deed("assign", users.AssignCallback, "assigned", func(v *visit, id intake.CallbackID) error {
		to := intake.UserID(v.r.PostForm.Get("to"))
		if to == "" {
			return Refusal{v.T("owed.assign.whom")}
		}
		return c().Assign(v.ctx(), v.viewer(), id, to)
	})
	deed("close", users.CloseCallback, "closed", func(v *visit, id intake.CallbackID) error {
		reason, words := v.r.PostForm.Get("reason"), v.field("words", 400)
		if !contains(CloseReasons(), reason) || (reason == "other" && words == "") {
			return Refusal{v.T("owed.close.why")}
		}
		return c().Close(v.ctx(), v.viewer(), id, reason, words)
	})
	deed("visit", users.AskVisit, "visit", func(v *visit, id intake.CallbackID) error {
		return c().Visit(v.ctx(), v.viewer(), id, v.field("words", 400))
	})
}

// heatMap is read at most once a minute: it is large and changes slowly.
func (s *Server) heatMap(ctx context.Context, now time.Time) (Heat, error) {
	s.mu.Lock()
	have, at := s.heat, s.heatAt
	s.mu.Unlock()
	if !at.IsZero() && now.Sub(at) < time.Minute && !now.Before(at) {
		return have, nil
	}
	h, err := s.o.Unreturned.Heat(ctx, 14)
	if err != nil {
		return Heat{}, err
	}
	s.mu.Lock()
	s.heat, s.heatAt = h, now
	s.mu.Unlock()
	return h, nil
}

// spans in which the list can be narrowed by age: less than Under, at least Over.
var spans = map[string]UnreturnedFilter{
	"1h":    {Under: time.Hour},
	"4h":    {Under: 4 * time.Hour, Over: time.Hour},
	"24h":   {Under: 24 * time.Hour, Over: 4 * time.Hour},
	"older": {Over: 24 * time.Hour},
}

func unreturnedFilter(r *http.Request) UnreturnedFilter {
	q := r.URL.Query()
	f := spans[q.Get("age")]
	f.Line, f.Grid, f.Who = intake.LineID(q.Get("line")), intake.GridID(q.Get("grid")), q.Get("who")
	if o := intake.Outcome(q.Get("cause")); o.Valid() {
		f.Cause = o
	}
	return f
}

// causes are the outcomes by which the list can be narrowed.
func causes() []intake.Outcome {
	var list []intake.Outcome
	for _, o := range intake.Outcomes() {
		if o.Failed() {
			list = append(list, o)
		}
	}
	return list
}

// field is a text of a form, cut to so many characters.
func (v *visit) field(name string, most int) string {
	return trim(cut(prose(v.r.PostForm.Get(name)), most))
}
