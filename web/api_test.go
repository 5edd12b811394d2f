package web

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"yingda/internal/users"
)

func TestAPI(t *testing.T) {
	h := newHouse(t)
	token, _, err := h.book.MakeToken(t.Context(), "审计", users.Auditor, time.Time{}, "")
	if err != nil {
		t.Fatal(err)
	}
	b := h.stranger()
	get := func(path, auth string) answer { t.Helper(); return b.get(path, "Authorization", auth) }
	a := get("/api/v1/contacts?from=2026-11-24T00:00:00%2B08:00&to=2026-11-25T00:00:00Z&line=12345&channel=phone&outcome=answered&limit=2", "Bearer "+token)
	want := `{"contacts":[{"id":"01928f3a-7c11-7000-8000-000000000002","channel":"phone","line":"12345","arrived_at":"2026-11-24T05:20:44.000Z","ended_at":"2026-11-24T05:25:34.000Z","outcome":"answered","reason":null,"sip_call_id":"7f0c2a@gw1","answered_at":"2026-11-24T05:20:58.000Z","operator":"u-xu","case":null,"callback":null},` +
		`{"id":"open","channel":"chat","line":"pm","arrived_at":"2026-11-24T06:32:07.000Z","ended_at":null,"outcome":null,"reason":null,"sip_call_id":null,"answered_at":null,"operator":null,"case":null,"callback":null}],"next":"cursor"}` + "\n"
	if a.status != 200 || a.body != want {
		t.Errorf("%d %s", a.status, a.body)
	}
	if f := h.asked[len(h.asked)-1].(LedgerFilter); f.Limit != 2 || f.Line != "12345" || !f.From.Equal(time.Date(2026, 11, 23, 16, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", f)
	}
	if a := get("/api/v1/books?from=2026-11-24T00:00:00Z", "Bearer "+token); a.status != 200 || a.body != `{"from":"2026-11-23T16:00:00.000Z","to":"2026-11-24T06:32:07.000Z","line":"","channel":null,"as_of":"2026-11-24T06:32:07.000Z","offered":287,"open":8,"outcomes":{"abandoned_queue":21,"answered":258},"balanced":true,"rates":[{"id":"caller_reached","label":"首次来电 5 分钟内接通","numerator":216,"denominator":231}]}`+"\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
	wrong := func(path, auth string, status int, says string) {
		t.Helper()
		a := get(path, auth)
		var p struct {
			Status int
			Detail string
		}
		if err := json.Unmarshal([]byte(a.body), &p); err != nil || a.status != status || p.Status != status || !strings.Contains(p.Detail, says) || a.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	wrong("/api/v1/contacts", "Bearer ydt_wrong", 401, "yingda token create")
	wrong("/api/v1/contacts", token, 401, "Bearer")
	wrong("/api/v1/contacts", "", 401, "Authorization")
	operator, _, _ := h.book.MakeToken(t.Context(), "x", users.Operator, time.Time{}, "")
	wrong("/api/v1/contacts", "Bearer "+operator, 403, "auditor")
	ok := "Bearer " + token
	wrong("/api/v1/contacts?from=yesterday", ok, 400, "RFC 3339")
	wrong("/api/v1/contacts?from=2026-11-25T00:00:00Z&to=2026-11-24T00:00:00Z", ok, 400, "before")
	wrong("/api/v1/contacts?channel=fax", ok, 400, "phone, webcall")
	wrong("/api/v1/contacts?outcome=lost", ok, 400, "abandoned_queue")
	wrong("/api/v1/contacts?limit=0", ok, 400, "1 to 1000")
	wrong("/api/v1/contacts?limit=5&limit=6", ok, 400, "more than once")
	wrong("/api/v1/contacts?form=2026-11-25T00:00:00Z", ok, 400, "known are from")
	wrong("/api/v1/contacts?after=bad", ok, 400, "cursor")
	wrong("/api/v1/books?outcome=answered", ok, 400, "known are")
	wrong("/api/v1/contacts/none", ok, 404, "ids")
	wrong("/api/v1/calls", ok, 404, "/api/v1/contacts")
	h.set(func() { h.fail = errors.New("SELECT broke") })
	wrong("/api/v1/books", ok, 503, "Try again")
	h.set(func() { h.fail, h.empty = nil, true })
	if a := get("/api/v1/contacts", ok); a.body != `{"contacts":[],"next":null}`+"\n" {
		t.Error(a.body)
	}
	if a := h.as(users.Supervisor).get("/api/v1/contacts"); a.status != 200 {
		t.Errorf("a supervisor's browser: %d", a.status)
	}
}

func FuzzLedgerFilter(f *testing.F) {
	for _, s := range []string{"", "from=2026-11-24T00:00:00Z", "limit=9999999999999999999", "from=2026-11-24T00:00:00+08:00&to=x", "channel=%00", "after=%F0%9F&line=/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, q string) {
		w := &recorder{header: http.Header{}}
		v := &visit{w: w, r: &http.Request{URL: &url.URL{RawQuery: q}}}
		got, ok := v.ledgerFilter("from", "to", "line", "channel", "outcome", "after", "limit")
		if ok != (w.status == 0) {
			t.Fatalf("ok is %v and the status %d", ok, w.status)
		}
		if ok && (got.Limit < 1 || got.Limit > mostLimit || (got.Channel != "" && !got.Channel.Valid()) || (got.Outcome != "" && !got.Outcome.Valid())) {
			t.Fatalf("%+v", got)
		}
		if !ok && !json.Valid(w.body) {
			t.Fatalf("%s", w.body)
		}
	})
}
