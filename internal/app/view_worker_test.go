package app

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/users"
	"yingda/routing"
	"yingda/routing/casebook"
	"yingda/routing/grid/griddemo"
	"yingda/web"
)

// A grid worker sees their own cases and nobody's number, does each thing once however often their phone sends it, and what they ask of the
// hotline stands on the desks until it is done.
func TestWorker(t *testing.T) {
	st, err := OpenStore(t.Context(), quiet(t), StoreOptions{Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Serve: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.Close() })
	a := &App{Store: st, changes: newChanges()}
	a.desks = newDesks(a)
	v := &view{App: a, names: staffNames{users: a.users, now: a.now}}
	if err := a.cases.SaveRegistry(t.Context(), griddemo.Registry("2026-11", time.Time{}), 0, "admin"); err != nil {
		t.Fatal(err)
	}
	const mine, other = intake.GridID("32059900100103"), intake.GridID("32059900100101")
	open := func(source string, g intake.GridID) routing.Case {
		t.Helper()
		c, err := a.cases.Open(t.Context(), casebook.OpenCase{Source: source, Contacts: []intake.ContactID{intake.ContactID(newID())}, Words: pii.NewText("打 13800000678 找我"), Grid: g,
			Name: pii.NewName("赵福生"), Number: pii.NewPhone("13800000678"), Department: routing.NoDepartment, Next: routing.NextDispatch})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	visit, light, strange := open(intake.FromVisit, mine), open(intake.FromOperator, mine), open(intake.FromOperator, other)
	w, who := workerView{v}, web.Viewer{ID: "lu", Role: users.GridWorker, Grids: []intake.GridID{mine}}

	day, err := w.Today(t.Context(), who)
	if err != nil || len(day.Visits) != 1 || len(day.Mine) != 1 || len(day.Others) != 0 || day.Visits[0].ID != visit.ID || day.Phone {
		t.Fatalf("%+v %v", day, err)
	}
	for _, c := range append(day.Visits, day.Mine...) {
		if !c.Person.Number.IsZero() || strings.Contains(c.Words.Reveal()+c.Title, "138") {
			t.Errorf("a number: %v %s", c.Person.Number.Reveal(), c.Words.Reveal())
		}
	}
	if _, err := w.One(t.Context(), who, strange.ID); !errors.Is(err, web.ErrNotFound) {
		t.Errorf("another grid's case: %v", err)
	}
	if _, err := w.Do(t.Context(), who, web.WorkerAct{ID: "1", Kind: "met", Case: strange.ID}); !errors.Is(err, web.ErrNotFound) {
		t.Errorf("another grid's case: %v", err)
	}
	if err := w.Call(t.Context(), who, visit.ID); err == nil {
		t.Error("called without a phone and without a callback")
	}

	steps := func(id intake.CaseID) string {
		t.Helper()
		list, err := a.cases.Steps(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		var s []string
		for _, x := range list {
			s = append(s, strings.TrimSuffix(strings.TrimPrefix(string(x.Data.EventType()), "case."), ".v1"))
		}
		return strings.Join(s, " ")
	}
	do := func(id, kind string, c intake.CaseID, text string, again bool) {
		t.Helper()
		d, err := w.Do(t.Context(), who, web.WorkerAct{ID: id, Kind: kind, Case: c, Text: pii.NewText(text)})
		if err != nil || d.Again != again {
			t.Fatalf("%s %s: %+v %v", id, kind, d, err)
		}
	}
	do("a1", "not_found", visit.ID, "", false)
	do("a1", "not_found", visit.ID, "", true)
	do("a2", "ask_call", visit.ID, "", false)
	do("a2", "ask_call", visit.ID, "", true)
	asked, err := v.asked(t.Context(), a.now())
	if err != nil || len(asked) != 1 || asked[0].Case != visit.ID || asked[0].By.ID != "lu" {
		t.Fatalf("asked: %+v %v", asked, err)
	}
	if _, err := a.cases.Do(t.Context(), visit.ID, routing.Note{Text: pii.NewText("打了，13800000678 没人接"), By: "xu"}); err != nil {
		t.Fatal(err)
	}
	until(t, "the note is later than the ask", func() bool {
		one, err := w.One(t.Context(), who, visit.ID)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range one.Notes {
			if strings.Contains(n.Text.Reveal(), "138") {
				t.Fatalf("a number in a note: %s", n.Text.Reveal())
			}
		}
		if one.AskedWas == "noted" {
			return true
		}
		_, err = a.cases.Do(t.Context(), visit.ID, routing.Note{Text: pii.NewText("又打了"), By: "xu"})
		return err != nil
	})
	if asked, _ := v.asked(t.Context(), a.now()); len(asked) != 0 {
		t.Errorf("still asked: %+v", asked)
	}
	do("a3", "met", visit.ID, "他在家", false)
	do("a3", "met", visit.ID, "他在家", true)
	if c, _ := a.cases.Case(t.Context(), visit.ID); c.State != routing.Closed || c.Result != routing.Met || c.Answer.Reveal() != "见到本人。他在家" {
		t.Errorf("%+v", c)
	}
	if s := steps(visit.ID); strings.Count(s, "closed") != 1 || strings.Count(s, "answered") != 1 {
		t.Error(s)
	}
	var refused web.Refusal
	if _, err := w.Do(t.Context(), who, web.WorkerAct{ID: "a4", Kind: "return", Case: visit.ID, Text: pii.NewText("不归我")}); !errors.As(err, &refused) {
		t.Errorf("returned a closed case: %v", err)
	}

	do("a5", "trouble", light.ID, "摔倒了", false)
	if s := steps(light.ID); s != "opened dispatched noted returned" {
		t.Error(s)
	}
	d, err := w.Do(t.Context(), who, web.WorkerAct{ID: "a6", Kind: "report", Text: pii.NewText("井盖松动")})
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.Do(t.Context(), who, web.WorkerAct{ID: "a6", Kind: "report", Text: pii.NewText("井盖松动")})
	if c, _ := a.cases.Case(t.Context(), d.Case); err != nil || again.Case != d.Case || !again.Again || c.Grid != mine || c.Source != intake.FromPatrol {
		t.Errorf("%+v %+v %v", again, c, err)
	}
}
