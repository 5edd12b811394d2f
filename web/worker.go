package web

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/users"
	"yingda/web/assets"
)

// The pages of a grid worker, for a phone in one hand: /grid is the day, /grid/{id} one matter. They work through a dead spot: the
// service worker (/grid/offline.js, of these pages only) keeps the frame and the pages that were seen until the worker signs out, and
// worker.js keeps what was done until the server has said that it was taken.
func (s *Server) workerRoutes() {
	if s.o.Worker == nil {
		return
	}
	s.page(page{
		path: "/grid", deed: users.OwnGrid, nav: "grid", every: 30 * time.Second,
		title: func(v *visit) string { return v.T("gw.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			d, err := s.o.Worker.Today(ctx, v.viewer())
			return "", workerDay(v, d), err
		},
		bones: func(v *visit) templ.Component { return workerBones(v) },
		fault: func(v *visit, _ error) templ.Component { return workerFault(v) },
		frame: workerShell,
	})
	s.page(page{
		path: "/grid/{id}", deed: users.OwnGrid, nav: "grid", every: 30 * time.Second,
		title: func(v *visit) string { return v.T("gw.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			id := intake.CaseID(v.r.PathValue("id"))
			c, err := s.o.Worker.One(ctx, v.viewer(), id)
			return "", workerCase(v, c), err
		},
		bones: func(v *visit) templ.Component { return workerBones(v) },
		fault: func(v *visit, _ error) templ.Component { return workerFault(v) },
		frame: workerShell,
	})
	s.add(route{pattern: "GET /grid/new", deed: users.OwnGrid, do: func(v *visit) error {
		v.nav = "grid"
		return v.render(http.StatusOK, workerShell(v, v.T("gw.report"), workerReport(v)))
	}})
	s.add(route{pattern: "POST /grid/acts", deed: users.OwnGrid, do: s.workerAct})
	s.add(route{pattern: "POST /grid/{id}/call", deed: users.OwnGrid, do: func(v *visit) error {
		id := intake.CaseID(v.r.PathValue("id"))
		if err := s.o.Worker.Call(v.ctx(), v.viewer(), id); err != nil {
			return err
		}
		return v.back(gridAddress(id), "calling")
	}})
	s.add(route{pattern: "GET /grid/offline.js", anyone: true, do: func(v *visit) error {
		h := v.w.Header()
		h.Set("Content-Type", "text/javascript; charset=utf-8")
		h.Set("Service-Worker-Allowed", "/grid")
		h.Set("Cache-Control", "no-cache")
		_, _ = v.w.Write(offlineScript())
		return nil
	}})
}

// offlineScript is the service worker with the files that it keeps named in it: a new version of any of them is a new worker.
func offlineScript() []byte {
	files, err := json.Marshal([]string{assets.URL("app.css"), assets.URL("worker.css"), assets.URL("sprite.svg"), assets.URL("live.js"), assets.URL("idiomorph.js"), assets.URL("worker.js")})
	if err != nil {
		panic(err)
	}
	return append([]byte("self.shell="+string(files)+";\n"), assets.Body("offline.js")...)
}

// workerAct takes in what a worker did. The script asks for an answer in JSON and sends the same id until it has one; a page without a
// script posts the same form and goes on.
func (s *Server) workerAct(v *visit) error {
	f := v.r.PostForm
	a := WorkerAct{ID: f.Get("id"), Kind: f.Get("kind"), Case: intake.CaseID(f.Get("case")), Text: pii.NewText(v.field("text", 4000)), Address: pii.NewAddress(v.field("address", 200)), At: v.now}
	if t, err := time.Parse(time.RFC3339, f.Get("at")); err == nil && t.Before(v.now) {
		a.At = t
	}
	if as := f.Get("for"); as != "" && as != string(v.s.ID) { // kept by somebody else who used this phone
		return v.tell(http.StatusConflict, map[string]string{"sentence": v.T("gw.notyours")}) // it stays in the phone
	}
	sentence := ""
	switch {
	case !formKey.MatchString(a.ID):
		sentence = v.T("desk.chat.ref")
	case !slices.Contains(WorkerActs(), a.Kind):
		sentence = v.T("gw.which")
	case a.Kind != "report" && a.Case == "":
		return v.wrongAct(ErrNotFound)
	case a.Text.IsZero() && slices.Contains([]string{"answer", "return", "note", "report"}, a.Kind):
		sentence = v.T("gw.missing." + a.Kind)
	}
	if sentence != "" {
		return v.wrongAct(Refusal{sentence})
	}
	done, err := s.o.Worker.Do(v.ctx(), v.viewer(), a)
	if err != nil {
		return v.wrongAct(err)
	}
	to := "/grid"
	if slices.Contains([]string{"accept", "note", "not_found", "ask_call"}, a.Kind) {
		to = gridAddress(a.Case)
	}
	if v.r.Header.Get("X-Part") == "" {
		return v.back(to, "act")
	}
	return v.tell(http.StatusOK, map[string]any{"case": done.Case, "again": done.Again, "to": to})
}

// wrongAct answers an act that will never be taken in as it is: the phone must stop sending it and show why. Trouble of ours is not
// that: the phone keeps the act.
func (v *visit) wrongAct(err error) error {
	var r Refusal
	var f FieldError
	sentence := ""
	switch {
	case errors.As(err, &r):
		sentence = r.Sentence
	case errors.As(err, &f):
		sentence = f.Sentence
	case errors.Is(err, ErrNotFound):
		sentence = v.T("gw.gone")
	default:
		return err
	}
	if v.r.Header.Get("X-Part") == "" {
		return Refusal{sentence}
	}
	return v.tell(http.StatusUnprocessableEntity, map[string]string{"sentence": plain(sentence)})
}

func gridAddress(id intake.CaseID) string { return "/grid/" + pathEscape(string(id)) }

// workerSays puts the first line of a matter: who, then where.
func (v *visit) workerSays(c WorkerCase) string {
	var parts []string
	if c.Person.Called != "" {
		parts = append(parts, plain(c.Person.Called))
	}
	if !c.Address.IsZero() {
		parts = append(parts, plain(c.Address.Reveal()))
	}
	return strings.Join(parts, v.T("comma"))
}
