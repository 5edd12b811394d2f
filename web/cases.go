package web

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/a-h/templ"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/users"
)

// Acts on a case, each with the deed that it is.
var acts = []struct {
	act  string
	deed users.Deed
}{
	{"accept", users.HandleCase}, {"start", users.HandleCase}, {"answer", users.HandleCase}, {"return", users.HandleCase}, {"note", users.HandleCase},
	{"dispatch", users.DispatchCase}, {"route", users.DispatchCase}, {"extend", users.DispatchCase}, {"close", users.DispatchCase}, {"reopen", users.DispatchCase},
}

// Results of a case and how they are known, for closing; under "result." and "known.".
var (
	results = []string{"solved", "explained", "not_ours", "met", "family_ok", "not_found", "trouble"}
	knowns  = []string{"resident_said", "seen", "department_said"}
)

func (s *Server) caseRoutes() {
	s.page(page{
		path: "/cases", deed: users.SeeCases, nav: "cases", every: 30 * time.Second,
		title: func(v *visit) string { return v.T("cases.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			f := v.caseFilter()
			list, err := s.o.Cases.List(ctx, v.viewer(), f)
			if v.s.Role == users.GridWorker {
				return "", gridWorkerCases(v, list, f), err
			}
			return "", caseList(v, list, f), err
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
	s.page(page{
		path: "/cases/{id}", deed: users.SeeCases, nav: "cases", every: 30 * time.Second,
		title: func(v *visit) string { return v.T("case.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			c, err := s.o.Cases.One(ctx, v.viewer(), intake.CaseID(v.r.PathValue("id")))
			if err != nil {
				return "", nil, err
			}
			return v.T("case.title") + " " + c.Number, casePage(v, v.veil(c)), nil
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
	for _, a := range acts {
		s.add(route{pattern: "POST /cases/{id}/" + a.act, deed: a.deed, do: func(v *visit) error { return s.act(v, a.act) }})
	}
}

func (v *visit) caseFilter() CaseFilter {
	q := v.r.URL.Query()
	return CaseFilter{Grid: intake.GridID(q.Get("grid")), State: q.Get("state"), After: q.Get("after"), Mine: q.Get("mine") != "", Source: q.Get("source"), Limit: 100}
}

// veil takes out of a case what this person may not know: who complained, where that is secret.
func (v *visit) veil(c CasePage) CasePage {
	if c.Secret && !v.May(users.SeeSecret) {
		c.Person, c.Contacts = Person{}, nil
	}
	if !v.May(users.SeeContacts) {
		c.Contacts = nil
	}
	c.Acts = slices.DeleteFunc(slices.Clone(c.Acts), func(act string) bool {
		return !slices.ContainsFunc(acts, func(a struct {
			act  string
			deed users.Deed
		}) bool {
			return a.act == act && v.May(a.deed)
		})
	})
	return c
}

func (s *Server) act(v *visit, act string) error {
	f := v.r.PostForm
	id := intake.CaseID(v.r.PathValue("id"))
	a := CaseAct{Act: act, Text: pii.NewText(v.field("text", 4000)), Why: v.field("why", 400), Grid: intake.GridID(f.Get("grid")), Dept: f.Get("dept"),
		Result: f.Get("result"), Known: f.Get("known")}
	if until := f.Get("until"); until != "" {
		t, err := time.ParseInLocation("2006-01-02T15:04", until, v.srv.c.Zone)
		if err != nil {
			return Refusal{v.T("act.extend.until")}
		}
		a.Until = t
	}
	missing := ""
	switch act {
	case "answer", "note":
		if a.Text.IsZero() {
			missing = "act.text.missing"
		}
	case "return", "reopen":
		if a.Why == "" {
			missing = "act.why.missing"
		}
	case "extend":
		if a.Why == "" || !a.Until.After(v.now) {
			missing = "act.extend.until"
		}
	case "close":
		if !slices.Contains(results, a.Result) || !slices.Contains(knowns, a.Known) {
			missing = "act.close.missing"
		}
	case "route":
		if (a.Grid == "") == (a.Dept == "") || a.Why == "" {
			missing = "act.route.missing"
		}
	}
	if missing != "" {
		return Refusal{v.T(missing)}
	}
	if err := s.o.CaseDeeds.Do(v.ctx(), v.viewer(), id, a); err != nil {
		var field FieldError
		if asField(err, &field) {
			return Refusal{field.Sentence}
		}
		return err
	}
	return v.back("/cases/"+url.PathEscape(string(id)), "act")
}

func (s *Server) searchRoutes() {
	s.page(page{
		path: "/search", deed: users.Search, nav: "search",
		title: func(v *visit) string { return v.T("search.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			return s.find(ctx, v, v.r.URL.Query())
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
	// What people look for are names, numbers and addresses: the form posts it, so that it is in no address, history or access log.
	s.add(route{pattern: "POST /search", deed: users.Search, do: func(v *visit) error {
		v.nav = "search"
		_, part, err := s.find(v.ctx(), v, v.r.PostForm)
		if err != nil {
			s.c.Log.Error("search failed", "err", err)
			return v.render(http.StatusServiceUnavailable, shell(v, v.T("search.title"), unread(v, "search")))
		}
		return v.render(http.StatusOK, shell(v, v.T("search.title"), part))
	}})
}

// searchQuery reads what was asked for.
func (v *visit) searchQuery(f url.Values) Query {
	q := Query{Text: cut(trim(plain(f.Get("q"))), 512), Kind: f.Get("kind"), Line: intake.LineID(f.Get("line")), Grid: intake.GridID(f.Get("grid")), Owed: f.Get("owed") != "", Newest: f.Get("newest") != ""}
	if c := intake.Channel(f.Get("channel")); c.Valid() {
		q.Channel = c
	}
	if o := intake.Outcome(f.Get("outcome")); o.Valid() {
		q.Outcome = o
	}
	if !contains([]string{"contact", "case", "callback"}, q.Kind) {
		q.Kind = ""
	}
	q.From, q.To = v.window(f)
	for _, r := range cut(f.Get("page"), 4) {
		if r < '0' || r > '9' {
			q.Page = 0
			break
		}
		q.Page = q.Page*10 + int(r-'0')
	}
	return q
}

func (s *Server) find(ctx context.Context, v *visit, f url.Values) (string, templ.Component, error) {
	q := v.searchQuery(f)
	if q == (Query{}) {
		return "", searchPage(v, q, Found{}, false, f.Get("from"), f.Get("to")), nil
	}
	found, err := s.o.Search.Find(ctx, v.viewer(), q)
	return "", searchPage(v, q, found, true, f.Get("from"), f.Get("to")), err
}

func cut(s string, most int) string {
	r := []rune(s)
	if len(r) > most {
		return string(r[:most])
	}
	return s
}
