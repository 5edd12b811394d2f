package app

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/intake/books"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/internal/users"
	"yingda/routing"
	"yingda/routing/casebook"
	"yingda/telephony"
	"yingda/telephony/switchboard"
	"yingda/web"
)

// workerView answers the pages of grid workers. Nobody's number leaves it.
type workerView struct{ *view }

// ask is a call that a grid worker asked us to make.
type ask struct {
	act      string
	caseID   intake.CaseID
	callback intake.CallbackID
	by       intake.UserID
	at       time.Time
}

const askAge = 48 * time.Hour // older ones are no work of today's any more

func (v *view) asks(ctx context.Context, where string, args ...any) ([]ask, error) {
	rows, err := v.DB.Query(ctx, "SELECT act, case_id, callback, by_who, at FROM worker_asks WHERE "+where+" ORDER BY at", args...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }()
	var list []ask
	for rows.Next() {
		var a ask
		var at int64
		if err := rows.Scan(&a.act, &a.caseID, &a.callback, &a.by, &at); err != nil {
			return nil, err
		}
		a.at = store.Time(at)
		list = append(list, a)
	}
	return list, rows.Err()
}

// cameOf says what came of an ask: the result of our first try after it, or that somebody else noted something on the case; "" nothing yet.
func (v *view) cameOf(ctx context.Context, a ask) (string, error) {
	if a.callback != "" {
		b, err := v.books.Callback(ctx, a.callback)
		if errors.Is(err, books.ErrNotFound) {
			return "", nil
		}
		if err != nil {
			return "", err
		}
		for _, t := range b.Tries {
			if t.At.After(a.at) {
				return t.Result, nil
			}
		}
		if b.Cleared.After(a.at) {
			return intake.TryReached, nil
		}
		return "", nil
	}
	steps, err := v.cases.Steps(ctx, a.caseID)
	if err != nil {
		return "", err
	}
	for _, s := range steps {
		if d, ok := s.Data.(*intake.CaseNotedV1); ok && s.At.After(a.at) && d.By != a.by {
			return "noted", nil
		}
	}
	return "", nil
}

// asked are the calls which grid workers wait for.
func (v *view) asked(ctx context.Context, now time.Time) ([]web.AskedCall, error) {
	list, err := v.asks(ctx, "at >= ?", store.Millis(now.Add(-askAge)))
	if err != nil {
		return nil, err
	}
	var out []web.AskedCall
	for _, a := range list {
		came, err := v.cameOf(ctx, a)
		if err != nil {
			return out, err
		}
		c, err := v.cases.Case(ctx, a.caseID)
		if err != nil || came != "" || !c.State.Open() {
			continue
		}
		call := web.AskedCall{At: a.at, By: v.staff(ctx, a.by), Case: a.caseID, Title: caseTitle(c), Callback: a.callback}
		call.Person, _ = v.person(ctx, v.token(c.Phone), c.Phone, c.Name)
		out = append(out, call)
	}
	return out, nil
}

func (v workerView) Today(ctx context.Context, who web.Viewer) (web.WorkerDay, error) {
	d := web.WorkerDay{AsOf: v.now(), Phone: v.desks.reachable(who.ID)}
	for _, g := range who.Grids {
		d.Grids = append(d.Grids, v.plate(g))
		if area, ok := v.cases.Registry().Grid(g); ok {
			d.Households += area.Households
		}
	}
	if len(who.Grids) == 0 {
		return d, nil
	}
	list, err := v.cases.List(ctx, casebook.Filter{Grids: who.Grids, Open: true, Limit: 500})
	if err != nil {
		return d, err
	}
	for _, c := range list {
		w, err := v.worker(ctx, who, c)
		if err != nil {
			return d, err
		}
		mine := c.Department == "" || c.Holder == routing.ToGrid(c.Grid)
		switch {
		case !mine || c.State == routing.Answered || c.State == routing.Returned || c.State == routing.Opened:
			d.Others = append(d.Others, w)
		case w.Visit:
			d.Visits = append(d.Visits, w)
		default:
			d.Mine = append(d.Mine, w)
		}
	}
	return d, nil
}

func (v workerView) One(ctx context.Context, who web.Viewer, id intake.CaseID) (web.WorkerCase, error) {
	c, err := v.theirs(ctx, who, id)
	if err != nil {
		return web.WorkerCase{}, err
	}
	w, err := v.worker(ctx, who, c)
	if err != nil {
		return w, err
	}
	steps, err := v.cases.Steps(ctx, id)
	if err != nil {
		return w, err
	}
	for _, s := range steps {
		if d, ok := s.Data.(*intake.CaseNotedV1); ok && !s.Text.IsZero() {
			w.Notes = append(w.Notes, web.WorkerNote{At: s.At, By: v.staff(ctx, d.By).Name, Text: starred(s.Text)})
		}
	}
	asks, err := v.asks(ctx, "case_id = ?", string(id))
	if err != nil || len(asks) == 0 {
		return w, err
	}
	last := asks[len(asks)-1]
	w.Asked = last.at
	w.AskedWas, err = v.cameOf(ctx, last)
	return w, err
}

// theirs is a case of the viewer's grids; any other is none that they know of.
func (v *view) theirs(ctx context.Context, who web.Viewer, id intake.CaseID) (routing.Case, error) {
	c, err := v.cases.Case(ctx, id)
	if errors.Is(err, casebook.ErrNoCase) || err == nil && !mayCase(who, c) {
		return c, web.ErrNotFound
	}
	return c, err
}

// starred takes every number out of words: residents leave theirs in what they say.
func starred(t pii.Text) pii.Text { return pii.NewText(starDigits(t.Reveal())) }

// worker is a case as its grid worker may see it.
func (v *view) worker(ctx context.Context, who web.Viewer, c routing.Case) (web.WorkerCase, error) {
	w := web.WorkerCase{CaseRow: v.caseRow(c, v.now()), Words: starred(c.Words), Answer: starred(c.Answer), Address: c.Address, Visit: c.Source == intake.FromVisit, First: c.Opened,
		Phone: v.desks.reachable(who.ID)}
	if !w.Secret || users.May(who.Role, users.SeeSecret) {
		person, cards := v.person(ctx, v.token(c.Phone), c.Phone, c.Name)
		person.Number = pii.Phone{}
		w.Person = person
		w.Alone = slices.Contains(person.Notes, "独居")
		if c.Address.IsZero() {
			_, w.Address, _ = v.home(cards)
		}
	}
	if c.Callback != "" {
		b, err := v.books.Callback(ctx, c.Callback)
		if err != nil && !errors.Is(err, books.ErrNotFound) {
			return w, err
		}
		if err == nil {
			w.First, w.Ours = b.FirstAttempt, v.tries(ctx, b.Tries)
			for _, a := range b.Attempts {
				w.Theirs = append(w.Theirs, a.At)
			}
			w.Shown = v.shownOn(b.Line)
		}
	}
	if w.Shown == "" {
		w.Shown = v.shownOn(v.pagesLine())
	}
	w.Phone = w.Phone && !c.Phone.IsZero()
	switch c.State {
	case routing.Dispatched, routing.Accepted, routing.InProgress:
		if w.Visit {
			w.Acts = []string{"met", "family_ok", "not_found", "trouble"}
		} else {
			if c.State == routing.Dispatched {
				w.Acts = append(w.Acts, "accept")
			}
			w.Acts = append(w.Acts, "answer")
		}
		w.Acts = append(w.Acts, "note", "return")
		if !c.Phone.IsZero() {
			w.Acts = append(w.Acts, "ask_call")
		}
	case routing.Answered, routing.Returned, routing.Opened:
		w.Acts = []string{"note"}
	}
	return w, nil
}

// shownOn is the number that residents see when called back from a line.
func (v *view) shownOn(id intake.LineID) string {
	all := v.lines.Load()
	if all == nil {
		return ""
	}
	for _, l := range *all {
		if l.ID == id {
			if l.Shown != "" {
				return l.Shown
			}
			return l.Number
		}
	}
	return ""
}

// outcomes of a visit: what is written when the worker wrote nothing, and how the case ends.
var visitWords = map[string]string{"met": "见到本人", "family_ok": "家人说没事", "not_found": "没人在家", "trouble": "出事了，要帮忙"}

func (v workerView) Do(ctx context.Context, who web.Viewer, a web.WorkerAct) (web.WorkerDone, error) {
	key := "act/" + string(who.ID) + "/" + a.ID
	if id, taken, err := v.cases.Has(ctx, key); err != nil || taken {
		return web.WorkerDone{Case: id, Again: taken}, err
	}
	if a.Kind == "report" {
		return v.report(ctx, who, key, a)
	}
	if _, err := v.theirs(ctx, who, a.Case); err != nil {
		return web.WorkerDone{}, err
	}
	text := a.Text
	if words := visitWords[a.Kind]; words != "" {
		said := strings.TrimSpace(text.Reveal())
		if said != "" {
			words += "。" + said
		}
		text = pii.NewText(words)
	}
	by := who.ID
	var in []routing.Input
	switch a.Kind {
	case "met":
		in = []routing.Input{routing.Answer{Text: text, By: by}, routing.Close{Result: routing.Met, Known: routing.Seen, By: by}}
	case "family_ok":
		in = []routing.Input{routing.Answer{Text: text, By: by}, routing.Close{Result: routing.FamilyOK, Known: routing.ResidentSaid, By: by}}
	case "not_found":
		in = []routing.Input{routing.Note{Text: text, By: by}}
	case "trouble": // back to whoever dispatches, at once and with the words: it is not done by having been seen
		in = []routing.Input{routing.Note{Text: text, By: by}, routing.Return{Why: visitWords["trouble"], By: by}}
	case "accept":
		in = []routing.Input{routing.Accept{By: by}}
	case "answer":
		in = []routing.Input{routing.Answer{Text: text, By: by}}
	case "return":
		in = []routing.Input{routing.Return{Why: strings.TrimSpace(text.Reveal()), By: by}}
	case "note":
		in = []routing.Input{routing.Note{Text: text, By: by}}
	case "ask_call":
		return v.askCall(ctx, who, key, a)
	default:
		return web.WorkerDone{}, web.FieldError{Field: "kind", Sentence: "没有这个操作"}
	}
	_, err := v.cases.DoOnce(ctx, key, a.Case, in...)
	if err == nil {
		v.changes.tell()
	}
	return web.WorkerDone{Case: a.Case}, refusal(err)
}

func (v workerView) askCall(ctx context.Context, who web.Viewer, key string, a web.WorkerAct) (web.WorkerDone, error) {
	c, err := v.theirs(ctx, who, a.Case)
	if err != nil {
		return web.WorkerDone{}, err
	}
	now := v.now()
	if err := v.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO worker_asks (act, case_id, callback, by_who, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT (act) DO NOTHING",
			key, string(a.Case), string(c.Callback), string(who.ID), store.Millis(now))
		return err
	}); err != nil {
		return web.WorkerDone{}, err
	}
	_, err = v.cases.DoOnce(ctx, key, a.Case, routing.Note{Text: pii.NewText("请热线打一次，告诉我结果"), By: who.ID})
	if err == nil {
		v.changes.tell()
	}
	return web.WorkerDone{Case: a.Case}, refusal(err)
}

// report opens the case of something that the worker saw: where they say it is, else in their own grid.
func (v workerView) report(ctx context.Context, who web.Viewer, key string, a web.WorkerAct) (web.WorkerDone, error) {
	o := casebook.OpenCase{Key: key, Source: intake.FromPatrol, Channel: intake.Patrol, Words: a.Text, Address: a.Address, By: who.ID, Next: routing.NextDispatch}
	p, err := v.cases.Propose(ctx, o)
	if err != nil {
		return web.WorkerDone{}, err
	}
	if p.Found.Grid == "" && len(who.Grids) > 0 {
		o.Grid = who.Grids[0]
	}
	c, err := v.cases.Open(ctx, o)
	if err == nil {
		v.changes.tell()
	}
	return web.WorkerDone{Case: c.ID}, refusal(err)
}

// Call phones through the hotline. A grid worker whose phone is not registered with us has web.ErrNoPhone.
func (v workerView) Call(ctx context.Context, who web.Viewer, id intake.CaseID) error {
	c, err := v.theirs(ctx, who, id)
	if err != nil {
		return err
	}
	if !v.desks.reachable(who.ID) {
		return web.ErrNoPhone
	}
	backs, err := look(ctx, v.App, func(now time.Time) []switchboard.BackView { return v.board.Snapshot(now).Backs })
	if err != nil {
		return err
	}
	for _, b := range backs {
		if b.Operator == who.ID {
			return web.ErrOnCall
		}
	}
	if c.Callback != "" {
		return callbackDeeds(v).Call(ctx, who, c.Callback)
	}
	if c.Phone.IsZero() || !c.State.Open() {
		return web.ErrNotFound
	}
	v.loop.Send(telephony.CallBack{Attempt: intake.AttemptID(newID()), Case: c.ID, Operator: who.ID, Number: c.Phone, Line: v.pagesLine(), Apart: true})
	return nil
}

// pagesLine is the line whose number a resident sees when they are called about a case.
func (v *view) pagesLine() intake.LineID {
	l, _ := v.publicLine()
	return l.ID
}

// triedWords are what a case says of a call that its grid worker made through the hotline.
var triedWords = map[string]string{intake.TryReached: "通过热线打给居民，说上话了", intake.TryNoAnswer: "通过热线打给居民，没人接", intake.TryBusy: "通过热线打给居民，占线",
	intake.TryRefused: "通过热线打给居民，对方按掉了", intake.TryFailed: "通过热线打给居民，没打通"}

// triedCase writes on a case what came of a call about it. Nothing is written when the worker did not take their own phone.
func (a *App) triedCase(ctx context.Context, t telephony.Tried) error {
	words := triedWords[t.Result]
	if words == "" {
		return nil
	}
	_, err := a.cases.DoOnce(ctx, "try/"+string(t.Attempt), t.Case, routing.Note{Text: pii.NewText(words), By: t.Operator})
	var refused *casebook.Refused
	if errors.As(err, &refused) || errors.Is(err, casebook.ErrNoCase) { // nothing more is written on it
		a.log.Info("a call about a case is not noted on it", "case", t.Case, "err", err)
		return nil
	}
	return err
}
