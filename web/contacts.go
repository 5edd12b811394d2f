package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/users"
)

func (s *Server) contactRoutes() {
	s.page(page{
		path: "/contacts", deed: users.SeeContacts, nav: "contacts",
		title: func(v *visit) string { return v.T("list.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			f := v.contactFilter()
			list, err := s.o.Contacts.List(ctx, f)
			return "", contactList(v, list, f), err
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
	s.page(page{
		path: "/contacts/{id}", deed: users.SeeContacts, nav: "contacts",
		title: func(v *visit) string { return v.T("contact.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			c, form, err := s.contact(ctx, v)
			return v.contactTitle(c), contactPage(v, c, form, caseDraft{}), err
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
	s.add(route{pattern: "POST /contacts/{id}/reveal", deed: users.Reveal, do: s.reveal})
	s.add(route{pattern: "GET /contacts/{id}/recording", deed: users.Listen, do: s.recording})
	s.add(route{pattern: "POST /contacts/{id}/propose", deed: users.OpenCase, do: s.propose})
	s.add(route{pattern: "POST /contacts/{id}/case", deed: users.OpenCase, do: s.openCase})
}

// caseDraft is the small form as it was sent, when it comes back.
type caseDraft struct {
	New      NewCase
	Proposal *Proposal
	Fault    FieldError
	Number   pii.Phone // revealed
}

func (s *Server) contact(ctx context.Context, v *visit) (ContactPage, CaseForm, error) {
	c, err := s.o.Contacts.One(ctx, v.viewer(), intake.ContactID(v.r.PathValue("id")))
	if err != nil {
		return c, CaseForm{}, err
	}
	if !v.May(users.SeeAudit) {
		c.Looks = nil
	}
	var form CaseForm
	if v.May(users.OpenCase) {
		form, err = s.o.Cases.Form(ctx)
	}
	return c, form, err
}

func (v *visit) contactTitle(c ContactPage) string {
	if c.ID == "" {
		return ""
	}
	who := v.called(c.Person)
	if p := c.Person; p.Called == "" && p.Name.IsZero() { // a stranger is their number
		who = v.number(p)
	}
	return v.T("contact.by."+string(c.Channel), who)
}

// again renders the contact's page in answer to a form: never to be kept, and never by an address that could be passed on.
func (s *Server) again(v *visit, status int, d caseDraft) error {
	c, form, err := s.contact(v.ctx(), v)
	if err != nil {
		return err
	}
	v.nav = "contacts"
	return v.render(status, shell(v, v.contactTitle(c), contactPage(v, c, form, d)))
}

func (s *Server) reveal(v *visit) error {
	reason := v.r.PostForm.Get("reason")
	if !slices.Contains(RevealReasons(), reason) {
		return Refusal{v.T("reveal.why")}
	}
	why := reason
	if words := v.field("words", 200); words != "" {
		why += ": " + words
	} else if reason == "other" {
		return Refusal{v.T("reveal.why")}
	}
	n, err := s.o.Reveals.Number(v.ctx(), v.viewer(), intake.ContactID(v.r.PathValue("id")), why)
	if err != nil {
		return err
	}
	return s.again(v, http.StatusOK, caseDraft{Number: n})
}

// newCase reads the small form.
func (v *visit) newCase() NewCase {
	f := v.r.PostForm
	n := NewCase{
		Words: pii.NewText(v.field("words", 4000)), Address: pii.NewAddress(v.field("address", 200)), Category: f.Get("category"),
		Grid: intake.GridID(f.Get("grid")), Dept: f.Get("dept"), Next: f.Get("next"), Answer: pii.NewText(v.field("answer", 4000)),
	}
	lat, err1 := strconv.ParseFloat(f.Get("lat"), 64)
	lon, err2 := strconv.ParseFloat(f.Get("lon"), 64)
	if err1 == nil && err2 == nil && lat >= -90 && lat <= 90 && lon >= -180 && lon <= 180 {
		n.Place = &intake.Place{Lat: lat, Lon: lon}
	}
	return n
}

func (s *Server) propose(v *visit) error {
	n := v.newCase()
	p, err := s.o.Cases.Propose(v.ctx(), v.viewer(), intake.ContactID(v.r.PathValue("id")), n)
	if err != nil {
		return err
	}
	if v.r.Header.Get("X-Part") != "" {
		return v.render(http.StatusOK, proposal(v, &p))
	}
	return s.again(v, http.StatusOK, caseDraft{New: n, Proposal: &p})
}

func (s *Server) openCase(v *visit) error {
	n := v.newCase()
	if n.Next == "grid" && n.Dept == "" {
		if err := s.gridHasIt(v, intake.ContactID(v.r.PathValue("id")), &n); err != nil {
			return err
		}
	}
	fault := FieldError{}
	switch {
	case n.Words.IsZero():
		fault = FieldError{"words", v.T("case.form.no_words")}
	case n.Next == "close" && n.Answer.IsZero():
		fault = FieldError{"answer", v.T("case.form.no_answer")}
	case !slices.Contains([]string{"dispatch", "close", "wait"}, n.Next):
		fault = FieldError{"next", v.T("case.form.no_next")}
	}
	if fault.Field == "" {
		id, err := s.o.CaseDeeds.Open(v.ctx(), v.viewer(), intake.ContactID(v.r.PathValue("id")), n)
		if err == nil {
			return v.back("/cases/"+url.PathEscape(string(id))+"?from="+url.QueryEscape(v.r.PathValue("id")), "case")
		}
		if !errors.As(err, &fault) {
			return err
		}
	}
	var p *Proposal
	if got, err := s.o.Cases.Propose(v.ctx(), v.viewer(), intake.ContactID(v.r.PathValue("id")), n); err == nil {
		p = &got
	}
	return s.again(v, http.StatusUnprocessableEntity, caseDraft{New: n, Proposal: p, Fault: fault})
}

// recording sends the audio. Which part was sent for is written down before the first byte goes out.
func (s *Server) recording(v *visit) error {
	id := intake.ContactID(v.r.PathValue("id"))
	f, err := s.o.Recordings.Open(v.ctx(), v.viewer(), id)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	size, err := f.Seek(0, 2)
	if err != nil {
		return err
	}
	if _, err := f.Seek(0, 0); err != nil {
		return err
	}
	from, to := byteRange(v.r.Header.Get("Range"), size)
	at := func(b int64) time.Duration {
		if size <= 0 {
			return 0
		}
		return time.Duration(float64(f.Length) * float64(b) / float64(size)).Round(time.Millisecond)
	}
	if err := s.o.Recordings.Played(v.ctx(), v.viewer(), id, f.ID, at(from), at(to)); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "audio/wav")
	v.w.Header().Set("Content-Disposition", `inline; filename="recording.wav"`)
	http.ServeContent(v.w, v.r, "", f.Made, f)
	return nil
}

// byteRange is the part that a Range header asks for, for the record: the first of several; the whole when it cannot be read, since
// then all is sent.
func byteRange(h string, size int64) (from, to int64) {
	spec, ok := strings.CutPrefix(h, "bytes=")
	if !ok {
		return 0, size
	}
	lo, hi, _ := strings.Cut(spec, "-")
	if strings.Contains(spec, ",") {
		return 0, size
	}
	first, errF := strconv.ParseUint(strings.TrimSpace(lo), 10, 63) // neither has a sign
	last, errT := strconv.ParseUint(strings.TrimSpace(hi), 10, 63)
	from, to = int64(first), int64(last)
	switch {
	case errF != nil && errT != nil:
		return 0, size
	case errF != nil: // the last so many
		return max(0, size-to), size
	case errT != nil:
		return min(from, size), size
	}
	return min(from, size), max(min(from, size), min(to, size-1)+1)
}

func (v *visit) contactFilter() ContactFilter {
	q := v.r.URL.Query()
	f := ContactFilter{Line: intake.LineID(q.Get("line")), State: q.Get("state"), Figure: q.Get("figure"), Part: q.Get("part"),
		Person: intake.ContactID(q.Get("person")), Operator: intake.UserID(q.Get("operator")), Missed: intake.UserID(q.Get("missed")), Clock: readClock(q.Get("clock")), After: q.Get("after"), Limit: 50}
	if c := intake.Channel(q.Get("channel")); c.Valid() {
		f.Channel = c
	}
	if o := intake.Outcome(q.Get("outcome")); o.Valid() {
		f.Outcome = o
	}
	if flag := intake.Flag(q.Get("flag")); slices.Contains(contactFlags, flag) {
		f.Flag = flag
	}
	if !slices.Contains([]string{"open", "waiting", "answered", "lost"}, f.State) {
		f.State = ""
	}
	if !slices.Contains([]string{"num", "den", "miss", "out"}, f.Part) {
		f.Part = ""
	}
	f.From, f.To = v.window(q)
	if f.From.IsZero() || f.To.IsZero() || f.To.Sub(f.From) > mostDays*24*time.Hour {
		f.Clock = [2]int{} // a part of the day is asked of so many days at most
	}
	return f
}

// window reads from and to: days as a person picks them (to is within), or times as our own links have them.
func (v *visit) window(q url.Values) (from, to time.Time) {
	one := func(s string, days int) time.Time {
		if t, err := time.Parse(time.RFC3339, s); err == nil {
			return t
		}
		if t, err := time.ParseInLocation(time.DateOnly, s, v.srv.c.Zone); err == nil {
			return t.AddDate(0, 0, days)
		}
		return time.Time{}
	}
	return one(q.Get("from"), 0), one(q.Get("to"), 1)
}

// behind is the address of the list behind a figure.
func behind(f Figure, part string, from, to time.Time) string {
	q := url.Values{"figure": {f.ID}, "part": {part}}
	if !from.IsZero() {
		q.Set("from", from.UTC().Format(time.RFC3339))
	}
	if !to.IsZero() {
		q.Set("to", to.UTC().Format(time.RFC3339))
	}
	return "/contacts?" + q.Encode()
}

// listed is the address of a list by state or outcome.
func listed(key, value string, from, to time.Time) string {
	q := url.Values{}
	if key != "" {
		q.Set(key, value)
	}
	if !from.IsZero() {
		q.Set("from", from.UTC().Format(time.RFC3339))
	}
	if !to.IsZero() {
		q.Set("to", to.UTC().Format(time.RFC3339))
	}
	return "/contacts?" + q.Encode()
}

// with is the present address with one value changed; "" takes it away.
func (v *visit) with(key, value string) string {
	q := v.r.URL.Query()
	q.Del("said")
	q.Set(key, value)
	if value == "" {
		q.Del(key)
	}
	return strings.TrimPrefix(v.r.URL.EscapedPath(), "/live") + "?" + q.Encode()
}

func trim(s string) string { return strings.TrimSpace(s) }

func contains(list []string, s string) bool { return slices.Contains(list, s) }

// contactFlags are those by which a list can be narrowed.
var contactFlags = []intake.Flag{intake.ShortAbandon, intake.QuickDrop, intake.OneWayAudio, intake.Unwritten, intake.SilentCaller}
