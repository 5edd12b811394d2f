package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"yingda/intake"
	"yingda/internal/users"
)

// The API by which others audit us. It is documented in docs/protocol.md and kept stable: fields are added, never changed or taken away.

const (
	defaultLimit = 100
	mostLimit    = 1000
)

func (s *Server) apiRoutes() {
	s.add(route{pattern: "GET /api/v1/contacts", deed: users.ReadAPI, api: true, do: func(v *visit) error {
		f, ok := v.ledgerFilter("from", "to", "line", "channel", "outcome", "after", "limit")
		if !ok {
			return nil
		}
		list, next, err := s.o.Ledger.List(v.ctx(), f)
		if err != nil {
			return err
		}
		if list == nil {
			list = []Entry{}
		}
		var after *string
		if next != "" {
			after = &next
		}
		return v.json(struct {
			Contacts []Entry `json:"contacts"`
			Next     *string `json:"next"`
		}{list, after})
	}})
	s.add(route{pattern: "GET /api/v1/contacts/{id}", deed: users.ReadAPI, api: true, do: func(v *visit) error {
		e, err := s.o.Ledger.One(v.ctx(), intake.ContactID(v.r.PathValue("id")))
		if err != nil {
			return err
		}
		return v.json(e)
	}})
	s.add(route{pattern: "GET /api/v1/books", deed: users.ReadAPI, api: true, do: func(v *visit) error {
		f, ok := v.ledgerFilter("from", "to", "line", "channel")
		if !ok {
			return nil
		}
		b, err := s.o.Ledger.Books(v.ctx(), f)
		if err != nil {
			return err
		}
		if b.Outcomes == nil {
			b.Outcomes = map[intake.Outcome]int64{}
		}
		if b.Rates == nil {
			b.Rates = []Rate{}
		}
		return v.json(b)
	}})
}

// ledgerFilter reads the query. A parameter that we do not know or cannot read is refused with a sentence, never passed over: an audit of
// the wrong window would be worse than none.
func (v *visit) ledgerFilter(known ...string) (f LedgerFilter, ok bool) {
	q, err := url.ParseQuery(v.r.URL.RawQuery)
	wrong := func(format string, args ...any) (LedgerFilter, bool) {
		problem(v.w, http.StatusBadRequest, "bad parameter", fmt.Sprintf(format, args...))
		return LedgerFilter{}, false
	}
	if err != nil {
		return wrong("The query cannot be read: %s.", strings.TrimPrefix(err.Error(), "invalid "))
	}
	for name, values := range q {
		if !slices.Contains(known, name) {
			return wrong("There is no parameter %q here; known are %s.", cut(name, 40), strings.Join(known, ", "))
		}
		if len(values) > 1 {
			return wrong("Parameter %s is given more than once.", name)
		}
	}
	for name, into := range map[string]*time.Time{"from": &f.From, "to": &f.To} {
		if text := q.Get(name); text != "" {
			t, err := time.Parse(time.RFC3339, strings.ReplaceAll(text, " ", "+")) // a + that was not escaped
			if err != nil {
				return wrong("%s is no time as RFC 3339 has it; write for instance %s=2026-11-24T00:00:00%%2B08:00.", name, name)
			}
			*into = t.UTC()
		}
	}
	if !f.From.IsZero() && !f.To.IsZero() && !f.From.Before(f.To) {
		return wrong("from has to be before to; the window is from ≤ arrived_at < to.")
	}
	f.Line, f.Channel, f.Outcome, f.After = intake.LineID(q.Get("line")), intake.Channel(q.Get("channel")), intake.Outcome(q.Get("outcome")), q.Get("after")
	if f.Channel != "" && !f.Channel.Valid() {
		return wrong("There is no such channel; channels are %s.", list(intake.Channels()))
	}
	if f.Outcome != "" && !f.Outcome.Valid() {
		return wrong("There is no such outcome; outcomes are %s.", list(intake.Outcomes()))
	}
	f.Limit = defaultLimit
	if text := q.Get("limit"); text != "" {
		if f.Limit, err = strconv.Atoi(text); err != nil || f.Limit < 1 || f.Limit > mostLimit {
			return wrong("limit is a whole number from 1 to %d.", mostLimit)
		}
	}
	return f, true
}

func list[T ~string](of []T) string {
	s := make([]string, len(of))
	for i, o := range of {
		s[i] = string(o)
	}
	return strings.Join(s, ", ")
}

func (v *visit) json(x any) error {
	raw, err := json.Marshal(x)
	if err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_, _ = v.w.Write(append(raw, '\n'))
	return nil
}

// problem is an error as RFC 9457 has it. detail says what to do.
func problem(w http.ResponseWriter, status int, title, detail string) {
	raw, err := json.Marshal(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{"about:blank", title, status, detail})
	if err != nil {
		http.Error(w, title, status)
		return
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_, _ = w.Write(append(raw, '\n'))
}
