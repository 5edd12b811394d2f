package app

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/users"
	"yingda/routing"
	"yingda/routing/casebook"
	"yingda/web"
)

type casesView struct{ *view }

// mayCase says whether the viewer may know of the case: a grid worker of those of their grids.
func mayCase(who web.Viewer, c routing.Case) bool {
	if who.Role != users.GridWorker {
		return true
	}
	for _, g := range who.Grids {
		if c.Grid == g {
			return true
		}
	}
	return false
}

func (v *view) caseRow(c routing.Case, now time.Time) web.CaseRow {
	cat, _ := v.cases.Rules().Category(c.Category)
	row := web.CaseRow{ID: c.ID, Number: c.Number, State: string(c.State), Title: caseTitle(c), Category: cat.Name, Grid: v.plate(c.Grid),
		Department: v.department(c.Department), Opened: c.Opened, Deadline: c.Deadline, Late: c.Overdue(now), Closed: c.Closed, Source: c.Source, Secret: cat.Secret, People: len(c.Contacts)}
	return row
}

// caseTitle is the beginning of the words, with every run of digits that could be a number starred.
func caseTitle(c routing.Case) string {
	if c.Source == intake.FromVisit {
		return "上门看望：多次回拨没有联系上"
	}
	text := starDigits(strings.Join(strings.Fields(c.Words.Reveal()), " "))
	if utf8.RuneCountInString(text) > 28 {
		text = string([]rune(text)[:28]) + "…"
	}
	return text
}

// starDigits masks runs of five and more digits: nobody's number stands in a list.
func starDigits(s string) string {
	var b strings.Builder
	run := 0
	flush := func(end int) {
		if run >= 5 {
			b.WriteString("****")
		} else {
			b.WriteString(s[end-run : end])
		}
		run = 0
	}
	for i, r := range s {
		if r >= '0' && r <= '9' {
			run++
			continue
		}
		flush(i)
		b.WriteRune(r)
	}
	flush(len(s))
	return b.String()
}

func (v *view) department(code string) string {
	if code == "" {
		return ""
	}
	if d, ok := v.cases.Rules().Department(code); ok {
		return d.Name
	}
	return code
}

func (v casesView) List(ctx context.Context, who web.Viewer, f web.CaseFilter) (web.CaseList, error) {
	now := v.now()
	limit := f.Limit
	if limit <= 0 || limit > 500 {
		limit = 100
	}
	offset, _ := strconv.Atoi(f.After)
	q := casebook.Filter{Source: f.Source, Open: f.State == "" || f.State == "overdue", Limit: limit + 1, Offset: max(offset, 0)}
	if f.Grid != "" {
		q.Grids = []intake.GridID{f.Grid}
	}
	if who.Role == users.GridWorker {
		if len(who.Grids) == 0 {
			return web.CaseList{AsOf: now}, nil
		}
		if f.Grid == "" {
			q.Grids = who.Grids
		} else if !mayCase(who, routing.Case{Grid: f.Grid}) {
			return web.CaseList{}, web.ErrNotFound
		}
	}
	switch f.State {
	case "", "all":
	case "overdue":
		q.DueBefore = now
	default:
		q.States = []routing.State{routing.State(f.State)}
	}
	list, err := v.cases.List(ctx, q)
	if err != nil {
		return web.CaseList{}, err
	}
	out := web.CaseList{AsOf: now}
	if len(list) > limit {
		list, out.Next = list[:limit], strconv.Itoa(offset+limit)
	}
	for _, c := range list {
		out.Rows = append(out.Rows, v.caseRow(c, now))
	}
	counts, err := v.cases.Counts(ctx, now, time.Time{}, now)
	if err != nil {
		return out, err
	}
	for _, c := range counts {
		if who.Role == users.GridWorker && !mayCase(who, routing.Case{Grid: c.Grid}) {
			continue
		}
		out.Open += c.Open
		out.Overdue += c.Overdue
		if c.Open > 0 {
			out.Grids = append(out.Grids, web.GridLoad{Plate: v.plate(c.Grid), Open: c.Open, Overdue: c.Overdue})
		}
	}
	return out, nil
}

func (v casesView) One(ctx context.Context, who web.Viewer, id intake.CaseID) (web.CasePage, error) {
	now := v.now()
	c, err := v.cases.Case(ctx, id)
	if errors.Is(err, casebook.ErrNoCase) || err == nil && !mayCase(who, c) {
		return web.CasePage{}, web.ErrNotFound
	}
	if err != nil {
		return web.CasePage{}, err
	}
	page := web.CasePage{CaseRow: v.caseRow(c, now), AsOf: now, Words: c.Words, Answer: c.Answer, Why: c.Why, Confidence: c.Confidence, Overruled: c.Overruled,
		Rule: c.Rule, Result: c.Result, Known: c.Known, Acts: v.acts(who, c), Grids: v.gridChoices(), Depts: v.deptChoices()}
	if !page.Secret || users.May(who.Role, users.SeeSecret) {
		page.Address = c.Address
		page.Person, _ = v.person(ctx, v.token(c.Phone), c.Phone, c.Name)
	}
	if users.May(who.Role, users.SeeContacts) {
		for _, contact := range c.Contacts {
			if row, err := v.contactRow(ctx, contact); err == nil {
				page.Contacts = append(page.Contacts, row)
			}
		}
	}
	steps, err := v.cases.Steps(ctx, id)
	if err != nil {
		return page, err
	}
	for _, s := range steps {
		page.Life = append(page.Life, v.caseMoment(ctx, s))
	}
	return page, nil
}

// acts are what this viewer may do with the case as it stands: what its life allows and their role does.
func (v *view) acts(who web.Viewer, c routing.Case) []string {
	var list []string
	add := func(d users.Deed, acts ...string) {
		if users.May(who.Role, d) {
			list = append(list, acts...)
		}
	}
	switch c.State {
	case routing.Opened, routing.Returned:
		add(users.DispatchCase, "dispatch", "route", "close")
	case routing.Dispatched:
		add(users.HandleCase, "accept", "return")
		add(users.DispatchCase, "route", "extend")
	case routing.Accepted:
		add(users.HandleCase, "start", "answer", "return")
		add(users.DispatchCase, "route", "extend")
	case routing.InProgress:
		add(users.HandleCase, "answer", "return")
		add(users.DispatchCase, "extend")
	case routing.Answered:
		add(users.DispatchCase, "close", "reopen")
	case routing.Closed:
		add(users.DispatchCase, "reopen")
	}
	add(users.HandleCase, "note")
	return list
}

func (v *view) deptChoices() []web.Choice {
	var list []web.Choice
	for _, d := range v.cases.Rules().Departments {
		list = append(list, web.Choice{Code: d.Code, Name: d.Name})
	}
	return list
}

func (v casesView) Form(context.Context) (web.CaseForm, error) {
	f := web.CaseForm{Grids: v.gridChoices(), Depts: v.deptChoices()}
	for _, c := range v.cases.Rules().Categories {
		f.Categories = append(f.Categories, web.Choice{Code: c.Code, Name: c.Name, Group: c.Group})
	}
	return f, nil
}

func (v casesView) Propose(ctx context.Context, _ web.Viewer, id intake.ContactID, n web.NewCase) (web.Proposal, error) {
	o, err := v.openCase(ctx, id, n)
	if err != nil {
		return web.Proposal{}, err
	}
	p, err := v.cases.Propose(ctx, o)
	if err != nil {
		return web.Proposal{}, err
	}
	out := web.Proposal{Grid: v.plate(p.Found.Grid), Why: p.Found.Why, Confidence: p.Found.Confidence, Department: v.department(p.Decision.Department),
		DeptCode: p.Decision.Department, Deadline: p.Decision.Deadline, Rule: p.Decision.Why}
	for _, a := range p.Similar {
		if !slices.Contains(a.Case.Contacts, id) {
			out.Similar = append(out.Similar, web.SameMatter{CaseRow: v.caseRow(a.Case, v.now()), Why: a.Why})
		}
	}
	for _, c := range p.Found.Candidates {
		if c.Grid != p.Found.Grid {
			out.Others = append(out.Others, v.plate(c.Grid))
		}
	}
	return out, nil
}

// openCase makes what the case book wants of the small form and the contact it stands on.
func (v *view) openCase(ctx context.Context, id intake.ContactID, n web.NewCase) (casebook.OpenCase, error) {
	c, err := v.books.Contact(ctx, id)
	if err != nil {
		return casebook.OpenCase{}, notFound(err)
	}
	_, cards := v.person(ctx, c.Caller, c.Number, c.Name)
	_, _, home := v.home(cards)
	o := casebook.OpenCase{Source: intake.FromOperator, Contacts: []intake.ContactID{id}, Callback: c.Callback, Caller: c.Caller, Partition: c.Key, Channel: c.Channel, Line: c.Line,
		Category: n.Category, Words: n.Words, Place: n.Place, Address: n.Address, Home: home, Name: c.Name, Number: c.Number, Grid: n.Grid, Department: n.Dept,
		Next: routing.NextDispatch, Answer: n.Answer}
	for _, k := range cards {
		o.Older = o.Older || k.Older
	}
	switch n.Next {
	case "close":
		o.Next = routing.NextClose
	case "wait":
		o.Next = routing.NextWait
	}
	return o, nil
}

type caseDeeds struct{ *view }

func (v caseDeeds) Open(ctx context.Context, who web.Viewer, id intake.ContactID, n web.NewCase) (intake.CaseID, error) {
	if strings.TrimSpace(n.Words.Reveal()) == "" {
		return "", web.FieldError{Field: "words", Sentence: "请写下是什么事"}
	}
	o, err := v.openCase(ctx, id, n)
	if err != nil {
		return "", err
	}
	o.By = who.ID
	if n.Key != "" {
		o.Key = "form/" + string(who.ID) + "/" + n.Key
	}
	if n.Who != "" && n.Who != "other" {
		if card, err := v.residents.Card(ctx, n.Who); err == nil {
			o.Name, o.Home = card.Name, card.Grid
		}
	} else if !n.Name.IsZero() {
		o.Name = n.Name
	}
	c, err := v.cases.Open(ctx, o)
	return c.ID, refusal(err)
}

func (v caseDeeds) Do(ctx context.Context, who web.Viewer, id intake.CaseID, act web.CaseAct) error {
	c, err := v.cases.Case(ctx, id)
	if errors.Is(err, casebook.ErrNoCase) || err == nil && !mayCase(who, c) {
		return web.ErrNotFound
	}
	if err != nil {
		return err
	}
	in, err := caseInput(who, act)
	if err != nil {
		return err
	}
	_, err = v.cases.Do(ctx, id, in)
	return refusal(err)
}

// Attach says that a contact is about a matter that has a case already. The same again changes nothing.
func (v caseDeeds) Attach(ctx context.Context, who web.Viewer, id intake.ContactID, to intake.CaseID, words pii.Text) error {
	if _, err := v.books.Contact(ctx, id); err != nil {
		return notFound(err)
	}
	c, err := v.cases.Case(ctx, to)
	if errors.Is(err, casebook.ErrNoCase) || err == nil && !mayCase(who, c) {
		return web.ErrNotFound
	}
	if err != nil {
		return err
	}
	if slices.Contains(c.Contacts, id) {
		return nil
	}
	in := []routing.Input{routing.Attach{Contact: id, By: who.ID}}
	if strings.TrimSpace(words.Reveal()) != "" {
		in = append(in, routing.Note{Text: words, By: who.ID})
	}
	_, err = v.cases.DoOnce(ctx, "attach/"+string(id)+"/"+string(to), to, in...)
	return refusal(err)
}

func caseInput(who web.Viewer, a web.CaseAct) (routing.Input, error) {
	by := who.ID
	switch a.Act {
	case "accept":
		return routing.Accept{By: by}, nil
	case "start":
		return routing.Start{By: by}, nil
	case "return":
		return routing.Return{Why: a.Why, By: by}, nil
	case "answer":
		return routing.Answer{Text: a.Text, By: by}, nil
	case "note":
		return routing.Note{Text: a.Text, By: by}, nil
	case "dispatch":
		return routing.Dispatch{By: by}, nil
	case "route":
		return routing.Route{Grid: a.Grid, Department: a.Dept, Why: a.Why, By: by}, nil
	case "extend":
		return routing.Extend{Until: a.Until, Why: a.Why, By: by}, nil
	case "close":
		return routing.Close{Result: a.Result, Known: a.Known, By: by}, nil
	case "reopen":
		return routing.Reopen{Why: a.Why, By: by}, nil
	}
	return nil, web.FieldError{Field: "act", Sentence: "没有这个操作"}
}

// refusal turns what the case book refuses into a sentence for the page.
func refusal(err error) error {
	var r *casebook.Refused
	switch {
	case errors.As(err, &r):
		return web.Refusal{Sentence: r.Sentence}
	case errors.Is(err, casebook.ErrNoCase):
		return web.ErrNotFound
	}
	return err
}
