package app

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"yingda/intake"
	"yingda/internal/pii"
)

func TestMayDial(t *testing.T) {
	for _, a := range []string{"127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "fe80::1", "fc00::1", "fd12::1", "::ffff:127.0.0.1",
		"::ffff:10.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::", "224.0.0.1", "ff02::1", "255.255.255.255", "240.0.0.1", "0.1.2.3", "192.0.2.1", "198.18.0.1", "203.0.113.5", "2001:db8::1", "::7f00:1", "fec0::1", "192.0.0.8"} {
		if mayDial(netip.MustParseAddr(a), nil) {
			t.Errorf("%s may be dialed", a)
		}
	}
	for _, a := range []string{"114.114.114.114", "8.8.8.8", "2400:3200::1"} {
		if !mayDial(netip.MustParseAddr(a), nil) {
			t.Errorf("%s may not be dialed", a)
		}
	}
	if named := []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}; !mayDial(netip.MustParseAddr("10.2.3.4"), named) || !mayDial(netip.MustParseAddr("::ffff:10.2.3.4"), named) || mayDial(netip.MustParseAddr("10.3.0.1"), named) {
		t.Error("what the office named is not what counts")
	}
}

func TestHookURL(t *testing.T) {
	for _, u := range []string{"https://app.example/hook", "https://app.example:8443/a?b=c", "http://127.0.0.1:9/x", "http://localhost/x", "http://[::1]:80/"} {
		if _, err := hookURL(u); err != nil {
			t.Errorf("%s: %v", u, err)
		}
	}
	for _, u := range []string{"", "app.example", "http://app.example/", "http://10.0.0.1/", "ftp://127.0.0.1/", "file:///etc/passwd", "https://", "https://u:p@app.example/", "https:app.example", "gopher://127.0.0.1", "https://a/#x",
		"http://127.0.0.1.evil.example/", "http://localhost.evil.example/", "https://" + strings.Repeat("a", 500)} {
		if _, err := hookURL(u); err == nil {
			t.Errorf("%s passes", u)
		}
	}
}

// receiver is an app that hears webhooks and checks their signature with the standard's own library.
type receiver struct {
	testing.TB
	*httptest.Server
	mu     sync.Mutex
	secret string
	status []int // answers to come; then 200
	got    []news
	ids    []string
	heard  chan struct{}
}

func newReceiver(t testing.TB, start func(http.Handler) *httptest.Server) *receiver {
	r := &receiver{TB: t, heard: make(chan struct{}, 100)}
	r.Server = start(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		raw, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		signer, err := webhooks.NewWebhook(r.secret)
		if err == nil {
			err = signer.VerifyIgnoringTimestamp(raw, req.Header)
		}
		var n news
		if err == nil {
			err = json.Unmarshal(raw, &n)
		}
		if err != nil {
			t.Errorf("webhook: %v", err)
		}
		r.got, r.ids = append(r.got, n), append(r.ids, req.Header.Get(webhooks.HeaderWebhookID))
		status := 200
		if len(r.status) > 0 {
			status, r.status = r.status[0], r.status[1:]
		}
		w.WriteHeader(status)
		r.heard <- struct{}{}
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) wait(n int) {
	r.Helper()
	for range n {
		select {
		case <-r.heard:
		case <-time.After(20 * time.Second):
			r.Fatal("no webhook came")
		}
	}
}

func (o *office) hook(url string) string {
	o.Helper()
	secret, err := SaveKey(o.Context(), o.db, Key{Token: o.token, Webhook: url}, o.clock.now())
	if err != nil {
		o.Fatal(err)
	}
	return secret
}

// kaseOf makes the events of a case for a contact.
type caseScript struct {
	o  *office
	id intake.CaseID
	n  uint32
}

func (c *caseScript) say(d intake.Data, p ...intake.Personal) intake.Event {
	c.n++
	e := intake.Event{Source: "t", Subject: c.id.Subject(), Sequence: intake.NewSequence(1, c.n), Time: c.o.clock.now(), PartitionKey: "x", Data: d}
	if len(p) > 0 {
		e.Personal = p[0]
	}
	return e
}

func TestWebhooks(t *testing.T) {
	quick := func(c *Config) { c.test.backoff = []time.Duration{0} }
	o := open(t, quick)
	r := newReceiver(t, httptest.NewServer)
	r.secret = o.hook(r.URL + "/hook")
	if !strings.HasPrefix(r.secret, "whsec_") {
		t.Fatalf("%q", r.secret)
	}
	if again := o.hook(r.URL + "/hook"); again != "" {
		t.Error("the secret is given twice")
	}
	got := o.post("k", `{"text":"灯不亮","phone":"13800005678"}`).receipt(t)
	c := &caseScript{o: o, id: "case-1"}
	r.status = []int{500, 302, 204}
	opened := record(c.say(&intake.CaseOpenedV1{Contacts: []intake.ContactID{got.ID}, Grid: "g1", Department: "lights", Deadline: o.clock.now().Add(time.Hour)}))
	o.apply(append(o.events(), opened)...)
	r.wait(3) // 500, 302 (not followed), 204
	o.apply(opened)
	dispatched, closed := record(c.say(&intake.CaseDispatchedV1{To: "grid/g1"})), record(c.say(&intake.CaseClosedV1{Result: "solved"}))
	o.apply(dispatched, closed)
	different := func() []string { // a delivery whose answer came late is made again, under its id
		r.mu.Lock()
		defer r.mu.Unlock()
		return slices.Compact(slices.Clone(r.ids))
	}
	o.until(func() bool { return len(different()) >= 3 })
	if ids := different(); len(ids) != 3 || ids[0] == ids[2] {
		t.Errorf("ids %v", ids)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ids) < 5 || r.ids[0] != r.ids[1] || r.ids[1] != r.ids[2] {
		t.Errorf("ids %v", r.ids)
	}
	states := []State{}
	for _, n := range r.got {
		states = append(states, n.Data.State)
		if n.Type != "submission.changed" || n.Data.ID != got.ID || n.Data.Receipt != got.Receipt || n.Data.Case != "case-1" {
			t.Errorf("%+v", n)
		}
		if raw, _ := json.Marshal(n); strings.Contains(string(raw), "13800005678") || strings.Contains(string(raw), "灯") {
			t.Errorf("%s", raw)
		}
	}
	if fmt.Sprint(slices.Compact(states)) != "[routed dispatched closed]" {
		t.Errorf("%v", states)
	}
	st, err := o.server.Status(t.Context(), got.Receipt, "5678")
	if err != nil || st.State != Closed || st.Result != "solved" || st.Grid != "g1" || len(st.Steps) != 4 {
		t.Errorf("%+v %v", st, err)
	}
}

// What was not delivered before the end is delivered after the next start, under the same id.
func TestWebhooksSurviveARestart(t *testing.T) {
	later := func(c *Config) { c.test.backoff = []time.Duration{time.Hour} }
	o := open(t, later)
	r := newReceiver(t, httptest.NewServer)
	r.secret = o.hook(r.URL)
	got := o.post("k", `{"text":"灯不亮"}`).receipt(t)
	r.status = []int{503}
	c := &caseScript{o: o, id: "case-1"}
	o.apply(append(o.events(), record(c.say(&intake.CaseOpenedV1{Contacts: []intake.ContactID{got.ID}})))...)
	r.wait(1)
	o.until(func() bool { return o.one("SELECT tries FROM app_hooks") == 1 })
	o.clock.add(2 * time.Hour)
	o.restart(later)
	r.wait(1)
	o.until(func() bool { return o.one("SELECT state FROM app_hooks") == 1 })
	if r.ids[0] != r.ids[1] {
		t.Errorf("%v", r.ids)
	}
}

func (o *office) one(query string) (n int) {
	o.Helper()
	if err := o.db.QueryRow(o.Context(), query).Scan(&n); err != nil {
		o.Fatal(err)
	}
	return n
}

// until waits for a condition itself.
func (o *office) until(f func() bool) {
	o.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			o.Fatal("it does not come to pass")
		}
	}
}

func TestWebhookIsGivenUp(t *testing.T) {
	o := open(t, func(c *Config) { c.test.backoff, c.test.patience = []time.Duration{0}, 5*24*time.Hour })
	r := newReceiver(t, httptest.NewServer)
	r.secret = o.hook(r.URL)
	got := o.post("k", `{"text":"灯不亮"}`).receipt(t)
	r.status = []int{500}
	for range 200 {
		r.status = append(r.status, 500)
	}
	c := &caseScript{o: o, id: "case-1"}
	o.apply(append(o.events(), record(c.say(&intake.CaseOpenedV1{Contacts: []intake.ContactID{got.ID}})))...)
	r.wait(2)
	o.clock.add(5*24*time.Hour + time.Minute)
	o.server.courier.ring()
	select {
	case a := <-o.alarms:
		if !a.On || a.Token != o.token || a.Why == "" {
			t.Errorf("%+v", a)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("no alarm")
	}
	keys, err := Keys(t.Context(), o.db)
	if k := keys[o.token]; err != nil || k.Disabled.IsZero() || k.Failing.IsZero() || k.Why == "" {
		t.Errorf("%+v %v", k, err)
	}
	// Saved again it goes on, and what waited comes.
	r.mu.Lock()
	r.status = nil
	r.mu.Unlock()
	o.hook(r.URL)
	o.server.courier.ring()
	o.until(func() bool { return o.one("SELECT state FROM app_hooks") == 1 })
}

func TestWebhookGone(t *testing.T) {
	o := open(t)
	r := newReceiver(t, httptest.NewServer)
	r.secret, r.status = o.hook(r.URL), []int{410}
	got := o.post("k", `{"text":"灯不亮"}`).receipt(t)
	o.apply(append(o.events(), record((&caseScript{o: o, id: "case-1"}).say(&intake.CaseOpenedV1{Contacts: []intake.ContactID{got.ID}})))...)
	if a := <-o.alarms; !a.On {
		t.Errorf("%+v", a)
	}
}

// A webhook goes to no address that the office has not named, whatever its name says.
func TestWebhookForbidden(t *testing.T) {
	o := open(t, func(c *Config) { c.Private = nil })
	canary := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("somebody came") }))
	defer canary.Close()
	o.hook(strings.Replace(canary.URL, "127.0.0.1", "localhost", 1))
	got := o.post("k", `{"text":"灯不亮"}`).receipt(t)
	o.apply(append(o.events(), record((&caseScript{o: o, id: "case-1"}).say(&intake.CaseOpenedV1{Contacts: []intake.ContactID{got.ID}})))...)
	o.until(func() bool { return o.one("SELECT tries FROM app_hooks") == 1 })
	keys, _ := Keys(t.Context(), o.db)
	if why := keys[o.token].Why; !strings.Contains(why, "may not go") {
		t.Errorf("%q", why)
	}
	for _, url := range []string{"https://127.0.0.1:1/", "https://[::ffff:7f00:1]:1/", "https://2130706433/", "https://0x7f.1/", "https://localhost./", "https://10.0.0.1:1/", "https://169.254.169.254/latest"} {
		_, err := o.server.courier.send(letter{id: "m", token: o.token, url: url, body: "{}", version: 1})
		if err == nil || !errors.Is(err, errForbidden) && !strings.Contains(err.Error(), "no such host") && !strings.Contains(err.Error(), "lookup") {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// Over TLS, and both secrets sign for a day after a new one.
func TestWebhookOverTLS(t *testing.T) {
	var trust *tls.Config
	r := newReceiver(t, func(h http.Handler) *httptest.Server {
		s := httptest.NewTLSServer(h)
		pool := x509.NewCertPool()
		pool.AddCert(s.Certificate())
		trust = &tls.Config{RootCAs: pool}
		return s
	})
	o := open(t, func(c *Config) { c.test.tls = trust })
	r.secret = o.hook(r.URL + "/old")
	if fresh := o.hook(r.URL + "/new"); fresh == "" || fresh == r.secret {
		t.Fatalf("%q", fresh)
	}
	got := o.post("k", `{"text":"灯不亮"}`).receipt(t)
	o.apply(append(o.events(), record((&caseScript{o: o, id: "case-1"}).say(&intake.CaseOpenedV1{Contacts: []intake.ContactID{got.ID}})))...)
	r.wait(1) // checked with the old secret
}

// What a case does is seen in the status of every submission of it; an answer only once it is closed.
func TestFollowsCases(t *testing.T) {
	o := open(t)
	a, b := o.post("a", `{"text":"灯不亮","phone":"13800005678"}`).receipt(t), o.post("b", `{"text":"灯也不亮","phone":"13800005679"}`).receipt(t)
	c := &caseScript{o: o, id: "case-1"}
	list := append(o.events(), record(c.say(&intake.CaseOpenedV1{Contacts: []intake.ContactID{a.ID}, Department: "lights"})), record(c.say(&intake.CaseAcceptedV1{})),
		record(c.say(&intake.CaseAttachedV1{Contact: b.ID})), record(c.say(&intake.CaseAnsweredV1{}, intake.Personal{Text: pii.NewText("换了灯泡")})))
	o.apply(list...)
	o.apply(list...)
	status := func(receipt, last4 string) Status {
		t.Helper()
		st, err := o.server.Status(t.Context(), receipt, last4)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	steps := func(st Status) (s string) {
		for _, step := range st.Steps {
			s += step.What + " "
		}
		return s
	}
	sa, sb := status(a.Receipt, "5678"), status(b.Receipt, "5679")
	if steps(sa) != "received routed accepted answered " || steps(sb) != "received routed answered " || sa.State != Answered || sb.Case != "case-1" || !sa.Answer.IsZero() {
		t.Errorf("%s, %s: %+v", steps(sa), steps(sb), sa)
	}
	o.apply(record(c.say(&intake.CaseClosedV1{Result: "solved"})))
	if st := status(b.Receipt, "5679"); st.Answer.Reveal() != "换了灯泡" || st.State != Closed {
		t.Errorf("%+v", st)
	}
	o.apply(record(c.say(&intake.CaseReopenedV1{})))
	if st := status(a.Receipt, "5678"); st.State != Routed || !st.Answer.IsZero() || !strings.HasSuffix(steps(st), "closed reopened ") {
		t.Errorf("%+v", st)
	}
	// A case of a call is none of ours.
	other := &caseScript{o: o, id: "case-2"}
	o.apply(record(other.say(&intake.CaseOpenedV1{Contacts: []intake.ContactID{"call"}})), record(other.say(&intake.CaseClosedV1{Result: "x"})))
}
