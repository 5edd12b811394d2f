package web

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/a-h/templ"

	"yingda/internal/pii"
)

// guest is a visit of somebody without an account. Their pages need no script, keep no session, and know nobody: what has been typed
// travels from page to page in the form itself.
type guest struct {
	*visit
	f        Front
	standard bool   // 标准版; else 长辈版
	form     string // id of the form on this page that must keep what is typed in it when language or size change, and
	action   string // where it goes for that
	back     string // the page that "back" leads to, "": none, or the form's own button
	step     int    // this page is so many of steps; 0: of none
	steps    int
	print    bool // the page is worth printing
}

func (s *Server) residentRoutes() {
	if s.o.Residents == nil {
		s.add(route{pattern: "GET /{$}", signedIn: true, do: func(v *visit) error { v.to(v.home()); return nil }})
		return
	}
	get := func(path string, do func(*guest) error) {
		s.add(route{pattern: "GET " + path, anyone: true, do: func(v *visit) error { return do(s.guest(v)) }})
	}
	post := func(path string, do func(*guest) error) {
		s.add(route{pattern: "POST " + path, anyone: true, do: func(v *visit) error { return do(s.guest(v)) }})
	}
	s.add(route{pattern: "GET /{$}", anyone: true, do: func(v *visit) error {
		if v.s.ID != "" {
			v.to(v.home())
			return nil
		}
		return s.guest(v).home()
	}})
	get("/r/{$}", (*guest).home)
	get("/r/use", func(g *guest) error { return g.page(http.StatusOK, "/r/", g.T("res.use.head"), resUse(g)) })
	get("/r/call", func(g *guest) error { return g.callForm(http.StatusOK, "", "") })
	post("/r/call", (*guest).callMe)
	post("/r/call/off", (*guest).callOff)
	get("/r/write", func(g *guest) error { return g.letterPage(http.StatusOK, letter{Key: newKey()}, "text", "") })
	post("/r/write", (*guest).letterStep)
	s.add(route{pattern: "POST /r/write/send", anyone: true, body: maxUpload, do: func(v *visit) error { return s.guest(v).letterSend() }})
	get("/r/status", func(g *guest) error { return g.statusForm(http.StatusOK, "", "") })
	post("/r/status", (*guest).status)
	if s.o.ResidentChats != nil {
		get("/r/chat", (*guest).talk)
		post("/r/chat", (*guest).talkPost)
		s.add(route{pattern: "GET /widget.js", anyone: true, do: s.widgetScript})
		s.add(route{pattern: "GET /widget.json", anyone: true, do: s.widgetFront})
	}
}

// guest asks what the hotline is now. When that cannot be said, what was last said stands: the number is on every page.
func (s *Server) guest(v *visit) *guest {
	g := &guest{visit: v}
	ctx, cancel := context.WithTimeout(v.ctx(), 2*time.Second)
	defer cancel()
	f, err := s.o.Residents.Front(ctx)
	s.mu.Lock()
	if err == nil {
		s.front = f
	} else {
		f = s.front
	}
	s.mu.Unlock()
	if err != nil && v.ctx().Err() == nil {
		s.c.Log.Error("what the hotline is could not be read", "err", err)
	}
	g.f = f
	if c, err := v.r.Cookie("size"); err == nil && c.Value == "standard" {
		g.standard = true
	}
	return g
}

// page renders. back is where "back" leads, "" for none.
func (g *guest) page(status int, back, title string, part templ.Component) error {
	g.back = back
	return g.render(status, guestShell(g, title, part))
}

// keeps lets the browser keep the page for going back to it: what is typed in it is not lost then, and nobody is asked whether to send a form again.
func (g *guest) keeps() { g.w.Header().Set("Cache-Control", "private, no-cache") }

func (g *guest) home() error {
	return g.page(http.StatusOK, "", g.T("res.home.head"), resHome(g))
}

// look does what the buttons for language and size in the foot of a form ask, and says whether one was pressed.
func (g *guest) look() bool {
	what, ok := strings.CutPrefix(g.r.PostForm.Get("go"), "look:")
	if !ok {
		return false
	}
	g.srv.setLook(g.visit, map[string]string{"zh-Hans": "lang", "en": "lang", "elder": "size", "standard": "size"}[what], what)
	g.standard = what == "standard" || (g.standard && what != "elder")
	return true
}

// trapped says that a field was filled in that nobody sees. A program did that, or a browser that fills in what it finds: so the form comes
// back, and sending it again is all a person has to do.
func (g *guest) trapped() bool { return g.r.PostForm.Get("homepage") != "" }

// wait takes one of a rate; when there is none left it gives the sentence to say.
func (g *guest) wait(r Allowance, what, who string) string {
	if d := g.srv.limits.take(g.now, r, what, who); d > 0 {
		return g.T("res.fault.often", g.span(max(d.Round(time.Minute), time.Minute)))
	}
	return ""
}

// spend takes one of each rate, or gives the sentence to say. back gives them back, for when it came to nothing by our fault.
func (g *guest) spend(list ...cost) (fault string, back func()) {
	back = func() {
		for _, c := range list {
			g.srv.limits.give(c.r, c.what, c.who)
		}
	}
	for i, c := range list {
		if fault := g.wait(c.r, c.what, c.who); fault != "" {
			list = list[:i]
			back()
			return fault, func() {}
		}
	}
	return "", back
}

type cost struct {
	r         Allowance
	what, who string
}

func (g *guest) address() string { return machine(g.srv.c.From(g.r)) }

// trouble is the sentence for an error that is no fault of what was typed, and the status to send it with.
func (g *guest) trouble(what string, err error) (int, string) {
	if errors.Is(err, ErrFull) {
		return http.StatusServiceUnavailable, g.T("res.fault.full")
	}
	g.srv.c.Log.Error("a resident could not be served", "what", what, "err", err)
	return http.StatusServiceUnavailable, g.T("res.fault.us")
}

func newKey() string {
	raw := make([]byte, 18)
	_, _ = rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// digits are those of s, be they written full width as a Chinese keyboard writes them.
func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, narrow(s))
}

// narrow writes full-width letters and digits as usual ones.
func narrow(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '！' && r <= '～':
			return r - '！' + '!'
		case r == '\u3000':
			return ' '
		case r == '—' || r == '–' || r == '－' || r == '‐':
			return '-'
		}
		return r
	}, s)
}

// phone reads a number that somebody typed; zero when it is none.
func phone(s string) pii.Phone {
	p := pii.NewPhone(narrow(s))
	d := p.National().Reveal()
	if n := len(digits(d)); n < 7 || n > 15 || strings.ContainsAny(d, "*#") {
		return pii.Phone{}
	}
	if len(d) != 11 && d[0] == '1' && d[1] >= '3' { // a mobile number with a digit too few or too many; no local number begins so
		return pii.Phone{}
	}
	return p
}

// tel is the address by which a telephone calls a published number.
func tel(number string) templ.SafeURL {
	n := digits(number)
	if strings.HasPrefix(strings.TrimSpace(number), "+") {
		n = "+" + n
	}
	return templ.SafeURL("tel:" + n)
}

// Being called.

func (g *guest) callForm(status int, typed, fault string) error {
	g.form, g.action = "step", "/r/call"
	g.keeps()
	return g.page(status, "/r/", g.T("res.call.head"), resCall(g, typed, fault))
}

func (g *guest) callMe() error {
	typed := cut(g.r.PostForm.Get("phone"), 40)
	if g.look() {
		return g.callForm(http.StatusOK, typed, "")
	}
	number := phone(typed)
	switch {
	case strings.TrimSpace(typed) == "":
		return g.callForm(http.StatusUnprocessableEntity, typed, g.T("res.fault.no_number"))
	case number.IsZero():
		return g.callForm(http.StatusUnprocessableEntity, typed, g.T("res.fault.number"))
	case g.trapped():
		return g.callForm(http.StatusUnprocessableEntity, typed, g.T("res.fault.trap"))
	}
	fault, back := g.spend(cost{g.srv.c.Limits.CallsPerAddress, "call from", g.address()}, cost{g.srv.c.Limits.CallsPerNumber, "call to", number.National().Reveal()})
	if fault != "" {
		return g.callForm(http.StatusTooManyRequests, typed, fault)
	}
	p, err := g.srv.o.Residents.CallMe(g.ctx(), CallMe{Line: g.f.Line, Number: number, Address: g.srv.c.From(g.r)})
	switch {
	case errors.Is(err, ErrNumber):
		return g.callForm(http.StatusUnprocessableEntity, typed, g.T("res.fault.number"))
	case err != nil:
		back()
		status, say := g.trouble("call me", err)
		return g.callForm(status, typed, say)
	}
	return g.page(http.StatusOK, "", g.T("res.promised.head"), resPromised(g, number, p))
}

func (g *guest) callOff() error {
	err := g.srv.o.Residents.CallOff(g.ctx(), g.r.PostForm.Get("secret"))
	switch {
	case errors.Is(err, ErrNotFound), errors.Is(err, ErrGone):
		return g.page(http.StatusOK, "/r/", g.T("res.off.gone"), resSaid(g, "g-done", "done", "res.off.gone", "res.off.gone.text"))
	case err != nil:
		status, _ := g.trouble("call off", err)
		return g.page(status, "/r/", g.T("res.off.not"), resSaid(g, "g-fault", "late", "res.off.not", "res.off.not.text"))
	}
	return g.page(http.StatusOK, "/r/", g.T("res.off.head"), resSaid(g, "g-done", "done", "res.off.head", "res.off.text"))
}

// How far it has come.

func (g *guest) statusForm(status int, receipt, fault string) error {
	g.form, g.action = "step", "/r/status"
	g.keeps()
	return g.page(status, "/r/", g.T("res.status.head"), resStatusForm(g, receipt, fault))
}

func (g *guest) lastForm(status int, receipt, typed, fault string) error {
	g.form, g.action = "step", "/r/status"
	g.keeps()
	return g.page(status, "/r/status", g.T("res.last.head"), resLastForm(g, receipt, typed, fault))
}

// status asks two questions, each on its page: the receipt, then the last four digits.
func (g *guest) status() error {
	typed, last := cut(g.r.PostForm.Get("receipt"), 40), cut(g.r.PostForm.Get("last"), 40)
	second := g.r.PostForm.Has("last")
	if g.look() {
		if second {
			return g.lastForm(http.StatusOK, typed, last, "")
		}
		return g.statusForm(http.StatusOK, typed, "")
	}
	if g.r.PostForm.Get("go") == "back" {
		return g.statusForm(http.StatusOK, typed, "")
	}
	receipt := digits(typed)
	switch {
	case receipt == "":
		return g.statusForm(http.StatusUnprocessableEntity, typed, g.T("res.fault.no_receipt"))
	case len(receipt) != 8:
		return g.statusForm(http.StatusUnprocessableEntity, typed, g.T("res.fault.receipt", len(receipt)))
	case !second:
		return g.lastForm(http.StatusOK, typed, "", "")
	case len(digits(last)) != 4:
		return g.lastForm(http.StatusUnprocessableEntity, typed, last, g.T("res.fault.last"))
	}
	fault, back := g.spend(cost{g.srv.c.Limits.LooksPerAddress, "look from", g.address()}, cost{g.srv.c.Limits.LooksPerReceipt, "look at", receipt})
	if fault != "" {
		return g.lastForm(http.StatusTooManyRequests, typed, last, fault)
	}
	p, err := g.srv.o.Residents.Status(g.ctx(), receipt, digits(last))
	switch {
	case errors.Is(err, ErrNotFound):
		return g.lastForm(http.StatusNotFound, typed, last, g.T("res.fault.unknown"))
	case err != nil:
		back()
		status, say := g.trouble("status", err)
		return g.lastForm(status, typed, last, say)
	}
	back() // whoever knows the digits may look as often as they like
	g.print = true
	return g.page(http.StatusOK, "/r/", g.T("res.progress.title"), resProgress(g, pretty(receipt), p))
}

// pretty parts the eight digits of a receipt: 4827 1093.
func pretty(receipt string) string {
	if d := digits(receipt); len(d) == 8 {
		return d[:4] + " " + d[4:]
	}
	return receipt
}

// join puts sentences after one another, as the language does.
func (g *guest) join(sentences ...string) string {
	sep := " "
	if g.zh() {
		sep = ""
	}
	return strings.Join(slices.DeleteFunc(sentences, func(s string) bool { return s == "" }), sep)
}

// opens says when somebody is there again; "" when that is not known.
func (g *guest) opens() string {
	if g.f.Opens.IsZero() {
		return ""
	}
	return g.T("res.home.opens", g.when(g.f.Opens))
}

// stateHead is the sentence of a matter's state.
func (g *guest) stateHead(p Progress) string {
	if p.Now != "" {
		return plain(p.Now)
	}
	return g.T("res.state." + map[bool]string{true: p.State, false: "received"}[g.t.Has("res.state."+p.State)])
}

func stepMark(is string) (glyph, class string) {
	switch is {
	case "did":
		return "g-done", "done"
	case "now":
		return "g-doing", "doing"
	}
	return "g-wait", "quiet"
}
