package app

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/intake/books"
	"yingda/internal/users"
	"yingda/telephony/media"
	"yingda/web"
)

type contactsView struct{ *view }

// parts of a figure as pages name them, and as the books do.
var parts = map[string]string{"num": "numerator", "den": "denominator", "miss": "missed", "out": "apart"}

func (v contactsView) List(ctx context.Context, f web.ContactFilter) (web.ContactList, error) {
	now := v.now()
	out := web.ContactList{AsOf: v.asOf(ctx, now), Total: -1, Lines: v.lineChoices()}
	limit := f.Limit
	if limit <= 0 || limit > 500 {
		limit = 50
	}
	q, err := v.contactQuery(ctx, f)
	if err != nil {
		return out, err
	}
	q.Limit = limit + 1
	if f.Figure != "" {
		d := v.books.Definition(f.Figure)
		if d == nil {
			return out, web.ErrNotFound
		}
		f := v.figure(answerrate.NewRate(d))
		r, err := v.books.Rates(ctx, q.From, q.To, q.Line, q.Channel)
		if err != nil {
			return out, err
		}
		if x := r.Rate(d.ID); x.Definition != nil {
			f = v.figure(x)
		}
		out.Figure = &f
	}
	if f.After != "" {
		at, id, ok := strings.Cut(f.After, "_")
		t, err := time.Parse(time.RFC3339Nano, at)
		if !ok || err != nil {
			return out, web.FieldError{Field: "after", Sentence: "这一页的位置读不懂，请从第一页看起"}
		}
		q.After = books.Cursor{Arrived: t, ID: intake.ContactID(id)}
	}
	list, err := v.gather(ctx, q)
	if errors.Is(err, books.ErrInvalid) {
		return out, web.ErrNotFound
	}
	if err != nil {
		return out, err
	}
	if len(list) > limit {
		list = list[:limit]
		cur := list[limit-1].Cursor()
		out.Next = cur.Arrived.UTC().Format(time.RFC3339Nano) + "_" + string(cur.ID)
	}
	for i := range list {
		out.Rows = append(out.Rows, v.row(ctx, &list[i]))
	}
	return out, nil
}

// gather reads the contacts before anything is asked about them: a reading holds one of the few connections, and readers that each wait for another
// would wait for ever.
func (v *view) gather(ctx context.Context, q books.Filter) ([]books.Contact, error) {
	var list []books.Contact
	for c, err := range v.books.Contacts(ctx, q) {
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// contactQuery is what a filter of the pages asks of the books.
func (v *view) contactQuery(ctx context.Context, f web.ContactFilter) (books.Filter, error) {
	q := books.Filter{From: f.From, To: f.To, Line: f.Line, Channel: f.Channel, Operator: f.Operator, Missed: f.Missed, Flag: f.Flag, Daily: f.Clock}
	if f.Outcome != "" {
		q.Outcomes = []intake.Outcome{f.Outcome}
	}
	switch f.State {
	case "open", "waiting":
		q.Open = true
	case "answered":
		q.Outcomes = reachedOutcomes()
	case "lost":
		q.Lost = true
	}
	if f.Person != "" {
		c, err := v.books.Contact(ctx, f.Person)
		if err != nil {
			return q, notFound(err)
		}
		q.Caller = c.Caller
		if c.Caller == "" {
			q.SIPCallID = c.SIPCallID // a caller who hid their number has this one contact
		}
	}
	if f.Figure != "" {
		if v.books.Definition(f.Figure) == nil {
			return q, web.ErrNotFound
		}
		q.Definition, q.Part = f.Figure, parts[f.Part]
		if q.Part == "" {
			q.Part = cmp.Or(f.Part, "denominator")
		}
	}
	return q, nil
}

func reachedOutcomes() []intake.Outcome {
	var list []intake.Outcome
	for _, o := range intake.Outcomes() {
		if o.Reached() {
			list = append(list, o)
		}
	}
	return list
}

// row is a contact in a list.
func (v *view) row(ctx context.Context, c *books.Contact) web.ContactRow {
	p, _ := v.person(ctx, c.Caller, c.Number, c.Name)
	return v.rowOf(ctx, c, p)
}

// rowOf is row for somebody who is known already.
func (v *view) rowOf(ctx context.Context, c *books.Contact, p web.Person) web.ContactRow {
	r := web.ContactRow{ID: c.ID, Channel: c.Channel, Line: v.lineName(c.Line), Arrived: c.Arrived, Ended: c.Ended, Outcome: c.Outcome, Waited: millis(c.WaitedMS), Talked: millis(c.TalkedMS),
		Operator: v.staff(ctx, c.Operator), Flags: c.Flags, Case: c.Case, Imported: c.Imported}
	if c.Open() {
		r.Waited = v.now().Sub(c.Arrived)
		if !c.Answered.IsZero() {
			r.Waited = c.Answered.Sub(c.Arrived)
		}
	}
	r.Person = p
	if c.Owes && c.Callback != "" {
		if b, err := v.books.Callback(ctx, c.Callback); err == nil {
			r.Callback = b.Cleared.IsZero()
		}
	}
	if c.Case != "" {
		if k, err := v.cases.Case(ctx, c.Case); err == nil {
			r.CaseNo = k.Number
		}
	}
	return r
}

func (v *view) contactRow(ctx context.Context, id intake.ContactID) (web.ContactRow, error) {
	c, err := v.books.Contact(ctx, id)
	if err != nil {
		return web.ContactRow{}, err
	}
	return v.row(ctx, &c), nil
}

const (
	peaks       = 230
	othersShown = 5
)

// One gives everything under one id.
func (v contactsView) One(ctx context.Context, who web.Viewer, id intake.ContactID) (web.ContactPage, error) {
	now := v.now()
	c, err := v.books.Contact(ctx, id)
	if err != nil {
		return web.ContactPage{}, notFound(err)
	}
	page := web.ContactPage{ContactRow: v.row(ctx, &c), AsOf: v.asOf(ctx, now), Reason: c.Reason, SIPCallID: c.SIPCallID}
	if l := v.lines.Load(); l != nil {
		for _, x := range *l {
			if x.ID == c.Line {
				page.LineNumber = x.Number
			}
		}
	}
	_, cards := v.person(ctx, c.Caller, c.Number, c.Name)
	page.Home, page.Address, _ = v.home(cards)
	page.Recording = v.recording(ctx, id)
	if err := v.pageStory(ctx, &page, &c); err != nil {
		return page, err
	}
	if c.Callback != "" {
		b, err := v.books.Callback(ctx, c.Callback)
		if err != nil {
			return page, err
		}
		row := v.owed(ctx, b, v.callsBack(ctx))
		page.Back = &row
		if !b.Cleared.IsZero() {
			done := v.cleared(ctx, b)
			page.BackDone = &done
		}
	}
	if c.Caller != "" {
		others, err := v.gather(ctx, books.Filter{Caller: c.Caller})
		if err != nil {
			return page, err
		}
		for i := range others {
			if others[i].ID == id {
				continue
			}
			page.OthersAll++
			if len(page.Others) < othersShown {
				page.Others = append(page.Others, v.row(ctx, &others[i]))
			}
		}
	}
	if users.May(who.Role, users.OpenCase) && len(page.Cases) == 0 {
		if page.Suggested, err = v.suggested(ctx, who, &c, &page); err != nil {
			return page, err
		}
	}
	if users.May(who.Role, users.SeeAudit) {
		looks, err := v.books.Looked(ctx, id)
		if err != nil {
			return page, err
		}
		for _, l := range looks {
			page.Looks = append(page.Looks, web.Look{At: l.At, Who: v.staff(ctx, l.Viewer), What: l.Field, Reason: l.Reason})
		}
	}
	return page, nil
}

const suggestedShown = 3

// suggested are the open cases that a contact without one may belong to: those of the same caller, then those that are like what was written.
func (v contactsView) suggested(ctx context.Context, who web.Viewer, c *books.Contact, page *web.ContactPage) ([]web.CaseRow, error) {
	var list []web.CaseRow
	add := func(row web.CaseRow) {
		if len(list) < suggestedShown && !slices.ContainsFunc(list, func(r web.CaseRow) bool { return r.ID == row.ID }) {
			list = append(list, row)
		}
	}
	if c.Caller != "" {
		own, err := v.cases.ForCaller(ctx, c.Caller, suggestedShown)
		if err != nil {
			return nil, err
		}
		for _, k := range own {
			if k.State.Open() {
				add(v.caseRow(k, v.now()))
			}
		}
	}
	if page.Words.IsZero() {
		return list, nil
	}
	p, err := casesView(v).Propose(ctx, who, c.ID, web.NewCase{Words: page.Words, Address: page.Address})
	if err != nil {
		return list, err
	}
	for _, s := range p.Similar {
		add(s.CaseRow)
	}
	return list, nil
}

// pageStory tells what happened since the first attempt and lists the cases.
func (v contactsView) pageStory(ctx context.Context, page *web.ContactPage, c *books.Contact) error {
	subjects, err := v.books.Story(ctx, c.ID)
	if err != nil {
		return err
	}
	moments, err := v.books.Timeline(ctx, subjects...)
	if err != nil {
		return err
	}
	raw := map[string][][]byte{}
	for _, m := range moments {
		switch {
		case m.Subject == c.ID.Subject():
			raw["own"] = append(raw["own"], m.Raw)
		case m.Subject.Kind() == "callback":
			raw[string(m.Subject)] = append(raw[string(m.Subject)], m.Raw)
		}
	}
	s := &story{view: v.view, ctx: ctx}
	first := true
	for _, sub := range subjects {
		if sub.Kind() != "contact" || sub == c.ID.Subject() {
			continue
		}
		o, err := v.books.Contact(ctx, intake.ContactID(sub.ID()))
		if err != nil {
			continue
		}
		s.other(o.ID, o.Arrived, o.Outcome, millis(o.WaitedMS), o.Arrived.After(c.Arrived))
		if o.Arrived.Before(c.Arrived) {
			first = false
		}
	}
	s.own(v.decode(raw["own"]), !first)
	for sub, list := range raw {
		if strings.HasPrefix(sub, "callback/") {
			s.callback(v.decode(list))
		}
	}
	cases, err := v.cases.ForContact(ctx, c.ID)
	if err != nil {
		return err
	}
	for _, k := range cases {
		page.Cases = append(page.Cases, v.caseRow(k, v.now()))
		s.cases(k.Number, k.By, k.Opened)
	}
	page.Timeline = s.told()
	return nil
}

func (v contactsView) recording(ctx context.Context, id intake.ContactID) web.Recording {
	list, err := v.books.Recordings(ctx, id)
	if err != nil || len(list) == 0 {
		return web.Recording{}
	}
	r := list[len(list)-1]
	out := web.Recording{ID: r.ID, Length: r.Length, Channels: r.Channels, CutShort: r.CutShort}
	file, _, err := v.recordingOf(ctx, id)
	if err != nil {
		v.log.Warn("recording", "id", r.ID, "err", err)
		out.Missing = "unreadable"
		return out
	}
	defer file.Close()
	out.Peaks, err = peaksOf(file)
	if err != nil {
		out.Missing = "unreadable"
	}
	return out
}

func peaksOf(file *media.Recording) ([][]float32, error) {
	raw, err := file.Peaks(peaks)
	if err != nil {
		return nil, err
	}
	out := make([][]float32, len(raw))
	for i, ch := range raw {
		out[i] = make([]float32, len(ch))
		for j, p := range ch {
			out[i][j] = float32(p) / 32768
		}
	}
	return out, nil
}
