package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/google/uuid"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/users"
	"yingda/routing"
)

// deskView is all that an operator's desk shows: who is on the phone, their conversations, and the one that is open.
type deskView struct {
	MyDesk
	Chats []ChatRow
	Chat  *ChatPage
	Form  CaseForm
}

func (s *Server) deskRoutes() {
	s.page(page{
		path: "/me", deed: users.OwnDesk, nav: "me", every: time.Second,
		title: func(v *visit) string { return v.T("me.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			d, err := s.desk(ctx, v)
			return "", deskPage(v, d), err
		},
		bones: func(v *visit) templ.Component { return deskAround(v, deskView{}, bones(v)) },
		fault: func(v *visit, _ error) templ.Component { return deskAround(v, deskView{}, deskFault(v)) },
		frame: deskShell,
	})
	s.add(route{pattern: "POST /me/break", deed: users.OwnDesk, do: func(v *visit) error {
		reason := v.r.PostForm.Get("reason")
		if !contains(BreakReasons(), reason) {
			return Refusal{v.T("me.break.why")}
		}
		if err := s.o.Desk.Break(v.ctx(), v.viewer(), reason); err != nil {
			return err
		}
		return v.then("/me", "")
	}})
	s.add(route{pattern: "POST /me/ready", deed: users.OwnDesk, do: func(v *visit) error {
		if err := s.o.Desk.Ready(v.ctx(), v.viewer()); err != nil {
			return err
		}
		return v.then("/me", "")
	}})
	s.add(route{pattern: "POST /me/propose", deed: users.OpenCase, do: s.deskPropose})
	s.add(route{pattern: "POST /me/case", deed: users.OpenCase, do: s.deskCase})
	s.add(route{pattern: "POST /me/attach", deed: users.OpenCase, do: s.deskAttach})
	for _, act := range []string{"accept", "decline", "say", "seen", "hand", "end"} {
		s.add(route{pattern: "POST /me/chats/{id}/" + act, deed: users.OwnDesk, do: func(v *visit) error { return s.chatAct(v, act) }})
	}
}

func (s *Server) desk(ctx context.Context, v *visit) (deskView, error) {
	my, err := s.o.Desk.Mine(ctx, v.viewer())
	d := deskView{MyDesk: my}
	if err != nil {
		return d, err
	}
	if d.Form, err = s.o.Cases.Form(ctx); err != nil || s.o.Chats == nil {
		return d, err
	}
	if d.Chats, err = s.o.Chats.Mine(ctx, v.viewer()); err != nil {
		return d, err
	}
	if id := intake.ContactID(v.r.URL.Query().Get("chat")); id != "" {
		c, err := s.o.Chats.One(ctx, v.viewer(), id)
		switch {
		case err == nil:
			d.Chat = &c
		case !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrGone):
			return d, err
		}
	}
	return d, nil
}

// then answers a form of the desk: the script is told where to go, a browser without one is sent there.
func (v *visit) then(path, said string) error {
	if said != "" {
		mark := "?"
		if strings.Contains(path, "?") {
			mark = "&"
		}
		path += mark + "said=" + said
	}
	if v.r.Header.Get("X-Part") == "" {
		v.to(path)
		return nil
	}
	return v.tell(http.StatusOK, map[string]string{"to": path})
}

func (v *visit) tell(status int, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(raw)
	return nil
}

// wrongForm says what is wrong with a form that the desk's script has sent, or a page without a script.
func (v *visit) wrongForm(f FieldError) error {
	if v.r.Header.Get("X-Part") == "" {
		return Refusal{f.Sentence}
	}
	return v.tell(http.StatusUnprocessableEntity, map[string]string{"field": f.Field, "sentence": plain(f.Sentence)})
}

// refusedForm is wrongForm for what the office refuses; any other error stays one.
func (v *visit) refusedForm(err error) error {
	var f FieldError
	var r Refusal
	switch {
	case errors.As(err, &f):
		return v.wrongForm(f)
	case errors.As(err, &r):
		return v.wrongForm(FieldError{"", r.Sentence})
	}
	return err
}

var formKey = regexp.MustCompile(`^[0-9a-f-]{36}$`)

// deskNew reads the form of the desk. A grid that the operator chose although the rule's department stood before their eyes has it; when
// the rule came to another mind since, the rule decides.
func (s *Server) deskNew(v *visit) (intake.ContactID, NewCase, error) {
	id, n := intake.ContactID(v.r.PostForm.Get("contact")), v.newCase()
	n.Who, n.Name = v.field("who", 64), pii.NewName(v.field("name", 40))
	if key := v.r.PostForm.Get("key"); formKey.MatchString(key) {
		n.Key = key
	}
	switch n.Next {
	case "grid":
		n.Dept = ""
		return id, n, s.gridHasIt(v, id, &n)
	case "dept":
		n.Next, n.Grid = "dispatch", ""
	case "close", "wait":
		n.Dept = ""
	}
	return id, n, nil
}

// gridHasIt turns "grid" into dispatching, against the rule's department when that department stood on the page.
func (s *Server) gridHasIt(v *visit, id intake.ContactID, n *NewCase) error {
	n.Next = "dispatch"
	p, err := s.o.Cases.Propose(v.ctx(), v.viewer(), id, *n)
	if err == nil && p.DeptCode != "" && p.DeptCode == v.r.PostForm.Get("ruled") {
		n.Dept = routing.NoDepartment
	}
	return err
}

func (s *Server) deskPropose(v *visit) error {
	id, n := intake.ContactID(v.r.PostForm.Get("contact")), v.newCase()
	p, err := s.o.Cases.Propose(v.ctx(), v.viewer(), id, n)
	if err != nil {
		return err
	}
	form, err := s.o.Cases.Form(v.ctx())
	if err != nil {
		return err
	}
	return v.render(http.StatusOK, deskProposed(v, id, &p, form))
}

func (s *Server) deskCase(v *visit) error {
	id, n, err := s.deskNew(v)
	if err != nil {
		return err
	}
	switch {
	case n.Words.IsZero():
		return v.wrongForm(FieldError{"words", v.T("case.form.no_words")})
	case n.Next == "close" && n.Answer.IsZero():
		return v.wrongForm(FieldError{"answer", v.T("case.form.no_answer")})
	case v.r.PostForm.Get("next") == "dept" && n.Dept == "" && v.r.PostForm.Get("ruled") == "":
		return v.wrongForm(FieldError{"dept", v.T("desk.next.nodept")})
	case !slices.Contains([]string{"dispatch", "close", "wait"}, n.Next):
		return v.wrongForm(FieldError{"next", v.T("case.form.no_next")})
	}
	if _, err := s.o.CaseDeeds.Open(v.ctx(), v.viewer(), id, n); err != nil {
		return v.refusedForm(err)
	}
	return s.written(v, id, "case")
}

func (s *Server) deskAttach(v *visit) error {
	id, to := intake.ContactID(v.r.PostForm.Get("contact")), intake.CaseID(v.r.PostForm.Get("case"))
	if to == "" {
		return ErrNotFound
	}
	if err := s.o.CaseDeeds.Attach(v.ctx(), v.viewer(), id, to, pii.NewText(v.field("words", 4000))); err != nil {
		return v.refusedForm(err)
	}
	if back := local(v.r.PostForm.Get("back"), ""); back != "" { // from the contact's own page
		return v.back(caseAddress(to)+"?from="+url.QueryEscape(string(id)), "attached")
	}
	return s.written(v, id, "attached")
}

// written goes on after the form was taken in: what was typed is forgotten, and whoever was only writing up takes the next contact.
func (s *Server) written(v *visit, id intake.ContactID, said string) error {
	if v.r.PostForm.Get("then") == "ready" {
		if err := s.o.Desk.Ready(v.ctx(), v.viewer()); err != nil && !errors.Is(err, ErrNoPhone) {
			return err
		}
	}
	q := url.Values{"wrote": {string(id)}}
	if chat := v.r.PostForm.Get("chat"); chat != "" {
		q.Set("chat", chat)
	}
	return v.then("/me?"+q.Encode(), said)
}

func (s *Server) chatAct(v *visit, act string) error {
	if s.o.Chats == nil {
		return ErrNotFound
	}
	id, f, who := intake.ContactID(v.r.PathValue("id")), v.r.PostForm, v.viewer()
	open := "/me?chat=" + url.QueryEscape(string(id))
	switch act {
	case "accept":
		if err := s.o.Chats.Accept(v.ctx(), who, id); err != nil {
			return err
		}
		return v.then(open, "")
	case "decline":
		if err := s.o.Chats.Decline(v.ctx(), who, id); err != nil {
			return err
		}
	case "seen":
		var seq uint64
		for _, r := range cut(f.Get("seq"), 12) {
			if r < '0' || r > '9' {
				return Refusal{v.T("error.fault.text")}
			}
			seq = seq*10 + uint64(r-'0')
		}
		if err := s.o.Chats.Seen(v.ctx(), who, id, seq); err != nil {
			return err
		}
		v.w.WriteHeader(http.StatusNoContent)
		return nil
	case "say":
		text := pii.NewText(v.field("text", 4000))
		ref := f.Get("ref")
		files := f["file"]
		if len(files) > maxFiles {
			return v.wrongForm(FieldError{"text", v.T("desk.chat.file.many", maxFiles)})
		}
		if text.IsZero() && len(files) == 0 {
			return v.wrongForm(FieldError{"text", v.T("desk.chat.empty")})
		}
		if !formKey.MatchString(ref) {
			return v.wrongForm(FieldError{"text", v.T("desk.chat.ref")})
		}
		if err := s.o.Chats.Say(v.ctx(), who, id, ref, text, files); err != nil {
			return v.refusedForm(err)
		}
		if v.r.Header.Get("X-Part") == "" {
			v.to(open)
			return nil
		}
		c, err := s.o.Chats.One(v.ctx(), who, id)
		if err != nil {
			return err
		}
		return v.render(http.StatusOK, chatLog(v, c))
	case "hand":
		if err := s.o.Chats.HandOver(v.ctx(), who, id, intake.UserID(f.Get("to")), v.field("why", 200)); err != nil {
			return err
		}
		return v.then("/me", "handed")
	case "end":
		if err := s.o.Chats.End(v.ctx(), who, id); err != nil {
			return err
		}
	}
	return v.then("/me", "")
}

// about is the contact that the form is about: the one on the phone, else the conversation that is open.
func (d deskView) about() (id intake.ContactID, called string, ok bool) {
	switch {
	case d.Now != nil && (d.State == "talking" || d.State == "wrap_up"):
		return d.Now.Contact, "", true
	case d.Now == nil && d.Chat != nil && d.Chat.State != "offered":
		return d.Chat.Contact, "", true
	}
	return "", "", false
}

func deskClass(d MyDesk) string {
	switch {
	case d.Now != nil && d.Now.Silent:
		return "late"
	case d.State == "talking":
		return "talk"
	case d.State == "ringing" || d.State == "reserved":
		return "ring"
	}
	return ""
}

func answeredAt(d MyDesk) time.Time {
	if d.State == "talking" {
		return d.Since
	}
	return time.Time{}
}

// excerpt is the beginning of what was said, for a line in a list.
func excerpt(t pii.Text, most int) string {
	s := strings.Join(strings.Fields(plain(t.Reveal())), " ")
	if short := cut(s, most); short != s {
		return short + "…"
	}
	return s
}

// maxFiles is how many may stand beside one message.
const maxFiles = 6

// Sizes of a picture in a conversation: as large as a bubble is, in its own shape, so that the page does not jump when it comes.
func (f ChatFile) width() string  { w, _ := f.drawn(); return strconv.Itoa(w) }
func (f ChatFile) height() string { _, h := f.drawn(); return strconv.Itoa(h) }

func (f ChatFile) drawn() (w, h int) {
	if f.Wide <= 0 || f.High <= 0 {
		return 240, 180
	}
	w, h = min(f.Wide, 240), 0
	h = max(w*f.High/f.Wide, 1)
	if h > 240 {
		w, h = max(240*f.Wide/f.High, 1), 240
	}
	return w, h
}

// fileName is what a file is called; what came without a name is called what it is.
func (v *visit) fileName(name string, image bool) string {
	switch {
	case name != "":
		return plain(name)
	case image:
		return v.T("chat.picture")
	}
	return v.T("chat.document")
}

// inWords is 12 KB, 1.4 MB.
func inWords(bytes int64) string {
	if bytes < 1_000_000 {
		return strconv.FormatInt(max((bytes+500)/1000, 1), 10) + " KB"
	}
	return strconv.FormatFloat(float64(bytes)/1e6, 'f', 1, 64) + " MB"
}

// newRef names a message that a page without a script will send.
func newRef() string { return uuid.NewString() }
