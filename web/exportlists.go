package web

import (
	"context"
	"time"
)

// The lists, each with its columns. What a column means is in the message files under "export.def.".

func (s *Server) exportContacts(ctx context.Context, v *visit) (export, error) {
	f := v.contactFilter()
	f.After, f.Limit = "", 1
	head, err := s.o.Contacts.List(ctx, f) // says which figure this stands behind, and whether the filter is one
	if err != nil {
		return export{}, err
	}
	f.Limit = 0
	x := export{list: "contacts", notes: v.asOfNote(head.AsOf)}
	if g := head.Figure; g != nil {
		x.notes = append(x.notes, v.figureNotes(*g)...)
	}
	x.sheets = []sheet{{v.T("export.list.contacts"), []string{"contact", "arrived", "ended", "line", "channel", "person", "number", "outcome", "waited", "talked", "operator", "flags", "owed", "case", "imported"},
		mapped(s.o.Lists.Contacts(ctx, f), func(c ContactRow) []any {
			ended := c.Outcome != ""
			return []any{string(c.ID), c.Arrived, c.Ended, plain(c.Line), v.T("channel." + string(c.Channel)), v.called(c.Person), v.number(c.Person), v.outcomeText(c), c.Waited,
				when[any](ended || c.Talked > 0, c.Talked), plain(c.Operator.Name), v.flagText(c), v.yes(c.Callback), plain(c.CaseNo), plain(c.Imported)}
		})}}
	return x, nil
}

func (s *Server) exportUnreturned(ctx context.Context, v *visit) (export, error) {
	x := export{list: "unreturned", notes: v.asOfNote(v.now)}
	x.sheets = []sheet{{v.T("export.list.unreturned"), []string{"callback", "first", "due", "late", "person", "number", "theirs", "ours", "cause", "line", "grid", "worker", "holder", "visit"},
		mapped(s.o.Lists.Unreturned(ctx, unreturnedFilter(v.r)), func(p OwedPerson) []any {
			return []any{string(p.Callback), p.First, p.Due, v.yes(v.now.After(p.Due)), v.called(p.Person), v.number(p.Person), int64(len(p.Theirs)), int64(len(p.Ours)), v.T("outcome." + string(p.Cause)),
				plain(p.Line), plateText(p.Grid), plain(p.Grid.Worker), plain(p.Holder.Name), v.yes(p.Visit)}
		})}}
	return x, nil
}

func (s *Server) exportCleared(ctx context.Context, v *visit) (export, error) {
	q := v.r.URL.Query()
	from, to := v.window(q)
	if from.IsZero() && to.IsZero() {
		today := v.presets()[0]
		from, to = today.from, today.to
	}
	if to.IsZero() {
		to = v.now
	}
	x := export{list: "cleared", notes: append(v.asOfNote(v.now), [2]string{v.T("export.note.span"), v.moments(from, to)})}
	x.sheets = []sheet{{v.T("export.list.cleared"), []string{"cleared", "person", "number", "how", "who", "tries", "reason", "contact"},
		mapped(s.o.Lists.Cleared(ctx, from, to), func(c Cleared) []any {
			return []any{c.At, v.called(c.Person), v.number(c.Person), v.or("cleared.by.", c.By), plain(c.Who.Name), int64(c.Tries), v.why(c.Reason), string(c.Contact)}
		})}}
	return x, nil
}

func (s *Server) exportCases(ctx context.Context, v *visit) (export, error) {
	x := export{list: "cases", notes: v.asOfNote(v.now)}
	x.sheets = []sheet{{v.T("export.list.cases"), []string{"case", "state", "matter", "category", "grid", "worker", "department", "opened", "deadline", "overdue", "closed", "source", "people"},
		mapped(s.o.Lists.Cases(ctx, v.viewer(), v.caseFilter()), func(c CaseRow) []any {
			return []any{plain(c.Number), v.or("state.", c.State), plain(c.Title), plain(c.Category), plateText(c.Grid), plain(c.Grid.Worker), plain(c.Department), c.Opened, c.Deadline, v.yes(c.Late), c.Closed,
				v.or("source.", c.Source), int64(c.People)}
		})}}
	return x, nil
}

func (s *Server) exportHits(ctx context.Context, v *visit) (export, error) {
	q := v.searchQuery(v.r.PostForm)
	q.Page = 0
	x := export{list: "search", notes: append(v.asOfNote(v.now), [2]string{v.T("export.note.most"), v.T("export.most", MostHits)})}
	x.sheets = []sheet{{v.T("export.list.search"), []string{"kind", "id", "title", "person", "number", "arrived", "channel", "line", "became", "grid", "matched", "text"},
		mapped(s.o.Lists.Hits(ctx, v.viewer(), q), func(h Hit) []any {
			text, why := "", ""
			for i, p := range h.Pieces {
				if i > 0 {
					text += " … "
				}
				for _, r := range p {
					text += r.Text
				}
			}
			for i, w := range h.Why {
				if i > 0 {
					why += v.T("comma")
				}
				why += v.or("why.", w)
			}
			became := v.or("state.", h.State)
			if h.Outcome != "" {
				became = v.T("outcome." + string(h.Outcome))
			}
			channel := ""
			if h.Channel != "" {
				channel = v.T("channel." + string(h.Channel))
			}
			return []any{v.or("kind.", h.Kind), h.ID, plain(h.Title), v.called(h.Person), v.number(h.Person), h.At, channel, plain(h.Line), became, plateText(h.Grid), why, plain(text)}
		})}}
	return x, nil
}

func (s *Server) exportHistory(ctx context.Context, v *visit) (export, error) {
	f := v.historyFilter()
	p, err := s.o.History.Of(ctx, f)
	if err != nil {
		return export{}, err
	}
	x := export{list: "history", notes: append(v.asOfNote(p.AsOf), [2]string{v.T("export.note.span"), v.moments(p.From, p.To)}, [2]string{v.T("export.note.before"), v.moments(p.BeforeFrom, p.BeforeTo)})}
	quarters := func(yield func([]any, error) bool) {
		for _, r := range p.Rows {
			for q, n := range r.Quarters {
				if n.Offered > 0 && !yield([]any{v.at(r.From).Format(time.DateOnly), v.at(r.To.Add(-time.Millisecond)).Format(time.DateOnly), quarterName(q), int64(n.Offered), int64(n.Lost)}, nil) {
					return
				}
			}
		}
	}
	figures := mapped(each(p.Figures), func(g PastFigure) []any {
		return []any{v.pick(g.Now.Name), v.pick(g.Now.Rule), g.Now.Num, g.Now.Den, g.Now.percent(), g.Now.Excluded, g.Before.Num, g.Before.Den, g.Before.percent()}
	})
	outcomes := mapped(each(p.Outcomes), func(o PastOutcome) []any { return []any{v.T("outcome." + string(o.Outcome)), o.Now, o.Before} })
	split := mapped(each(p.Split), func(o PastSplit) []any {
		return []any{plain(o.Line.Name), v.T("channel." + string(o.Channel)), o.Now.Offered, o.Now.Answered, o.Now.Lost, o.Now.Open, o.Was.Offered, o.Was.Lost}
	})
	x.sheets = []sheet{
		{v.T("export.sheet.quarters"), []string{"row_from", "row_to", "quarter", "offered", "lost"}, quarters},
		{v.T("export.sheet.figures"), []string{"figure", "rule", "num", "den", "rate", "out", "num_before", "den_before", "rate_before"}, figures},
		{v.T("export.sheet.outcomes"), []string{"outcome", "n", "n_before"}, outcomes},
		{v.T("export.sheet.split"), []string{"line", "channel", "offered", "answered", "lost", "open", "offered_before", "lost_before"}, split},
	}
	return x, nil
}

func (s *Server) exportTeam(ctx context.Context, v *visit) (export, error) {
	f := v.teamFilter()
	p, err := s.o.Team.Over(ctx, f.From, f.To)
	if err != nil {
		return export{}, err
	}
	x := export{list: "team", notes: append(v.asOfNote(p.AsOf), [2]string{v.T("export.note.span"), v.moments(p.From, p.To)}, [2]string{v.T("export.note.rule"), v.T("team.rule")})}
	columns := []string{"operator", "op_answered", "op_calls", "op_chats", "op_drops", "op_rings", "op_missed"}
	for _, why := range missedWhys() {
		columns = append(columns, "op_missed_"+why)
	}
	x.sheets = []sheet{{v.T("export.list.team"), append(columns, "op_talk", "op_wrap", "op_break", "op_desk"),
		mapped(each(p.Rows), func(r TeamRow) []any {
			row := []any{plain(r.Name), r.Answered, r.Calls, r.Chats, r.QuickDrops, r.Rings, r.Missed}
			for _, why := range missedWhys() {
				row = append(row, r.MissedWhy[why])
			}
			return append(row, r.Talked, r.Wrapped, r.OnBreak, r.AtDesk)
		})}}
	return x, nil
}

func (s *Server) exportTrail(ctx context.Context, v *visit) (export, error) {
	f := v.trailFilter()
	f.After, f.Limit = "", 0
	x := export{list: "audit", notes: v.asOfNote(v.now)}
	x.sheets = []sheet{{v.T("export.list.audit"), []string{"at", "who_did", "did", "contact", "of", "manner", "why"},
		mapped(s.o.Lists.Trail(ctx, f), func(r TrailRow) []any {
			who := plain(r.Who.Name)
			if r.Who.ID == "" {
				who = v.T("trail.program")
			}
			return []any{r.At, who, v.did(r), string(r.Contact), plain(r.Of), v.manner(r), v.why(r.Reason)}
		})}}
	return x, nil
}

func (v *visit) asOfNote(t time.Time) [][2]string {
	return [][2]string{{v.T("export.note.asof"), v.at(t).Format("2006-01-02 15:04:05")}}
}

// figureNotes tell the definition of a figure that a list stands behind.
func (v *visit) figureNotes(g Figure) [][2]string {
	return [][2]string{{v.T("export.note.figure"), v.pick(g.Name)}, {v.T("export.note.rule"), v.pick(g.Rule)},
		{v.T("export.note.value"), v.T("export.value", g.percent(), g.Num, g.Den, g.Excluded)}}
}

func (v *visit) outcomeText(c ContactRow) string {
	if c.Outcome == "" {
		return v.T("outcome.open")
	}
	return v.T("outcome." + string(c.Outcome))
}

func (v *visit) flagText(c ContactRow) string {
	text := ""
	for i, f := range c.Flags {
		if i > 0 {
			text += v.T("comma")
		}
		text += v.or("flag.", string(f))
	}
	return text
}

func (v *visit) yes(is bool) string {
	if is {
		return v.T("yes")
	}
	return ""
}

func plateText(p Plate) string {
	if p.ID == "" {
		return ""
	}
	return trim(plain(p.Place) + " " + plain(p.Number))
}

// when is x, or nothing.
func when[T any](is bool, x T) (none T) {
	if is {
		return x
	}
	return none
}
