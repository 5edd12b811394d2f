package web

import (
	"context"
	"slices"
	"time"

	"github.com/a-h/templ"

	"yingda/intake"
	"yingda/internal/users"
)

const mostTeamDays = 100 // that figures of operators are counted over at once

func (s *Server) teamRoutes() {
	s.page(page{
		path: "/team", deed: users.SeeTeam, nav: "team", every: time.Second,
		title: func(v *visit) string { return v.T("team.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			n, err := s.o.Team.Now(ctx)
			return "", teamPage(v, n), err
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
	s.page(page{
		path: "/team/figures", deed: users.SeeTeam, nav: "team",
		title: func(v *visit) string { return v.T("team.figures") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			f := v.teamFilter()
			p, err := s.o.Team.Over(ctx, f.From, f.To)
			return "", teamFigures(v, p, f), err
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
}

// teamFilter is a span of days, today when nothing was asked for.
func (v *visit) teamFilter() HistoryFilter {
	q := v.r.URL.Query()
	if q.Get("from") == "" && q.Get("to") == "" {
		p := v.presets()[0]
		return HistoryFilter{From: p.from, To: p.to}
	}
	f := HistoryFilter{}
	f.From, f.To = v.span14(q)
	if oldest := f.To.AddDate(0, 0, -mostTeamDays); f.From.Before(oldest) {
		f.From = oldest
	}
	return f
}

// row is a line and channel with those who wait there.
type waitingRow struct {
	Line    string
	Channel intake.Channel
	List    []Waits
}

// waitingRows puts those who wait by line and channel; in each they stand in the order in which they are served.
func waitingRows(list []Waits) []waitingRow {
	var out []waitingRow
	for _, w := range list {
		i := slices.IndexFunc(out, func(r waitingRow) bool { return r.List[0].LineID == w.LineID && r.Channel == w.Channel })
		if i < 0 {
			i = len(out)
			out = append(out, waitingRow{Line: w.Line, Channel: w.Channel})
		}
		out[i].List = append(out[i].List, w)
	}
	return out
}

func longest(list []Waits, now time.Time) time.Duration {
	var d time.Duration
	for _, w := range list {
		d = max(d, now.Sub(w.Arrived))
	}
	return d
}

// waitedMark: who has waited long is no later than others, so it is the ring of those who wait, and whose place rings is being seen to.
func waitedMark(w Waits) (glyph, class, key string) {
	if w.Rings.ID != "" {
		return "g-doing", "doing", "team.rings"
	}
	return "g-wait", "wait", "team.waits"
}

func atWork(list []Seat) (n int) {
	for _, s := range list {
		if s.State != "offline" && s.State != "" {
			n++
		}
	}
	return n
}

// missedWhys are why a ring was not taken, in the order in which they are told.
func missedWhys() []string { return []string{"no_answer", "declined", "busy", "unreachable", "error"} }
