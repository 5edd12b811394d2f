package app

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"crypto/hkdf"
	"crypto/sha256"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/intake/stream/sqllog"
	"yingda/intake/wire"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/internal/store/storetest"
	"yingda/internal/users"
)

type month struct{}

func (month) Month(string) ([]byte, error) { return bytes.Repeat([]byte{7}, 32), nil }

// clock goes on only when told.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }
func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// office is a door with everything behind it, in a folder of its own; open may be called again, as after a restart.
type office struct {
	testing.TB
	dir    string
	tables string // address of the database
	clock  *clock
	log    *sqllog.Log
	db     *store.DB
	users  *users.Book
	server *Server
	http   *httptest.Server
	logs   *lockedBuffer
	key    string // secret of a token of role app
	token  string // its id
	alarms chan Alarm
	epoch  uint32
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *lockedBuffer) String() string { b.mu.Lock(); defer b.mu.Unlock(); return b.b.String() }

var services = []Service{
	{Code: "lighting", Name: "路灯和楼道灯", Group: "市政", Description: "灯不亮、白天亮", Keywords: []string{"路灯", "楼道灯"},
		Attributes: []Attribute{{Code: "POLE", Description: "灯杆号", Datatype: "string"}, {Code: "KIND", Description: "灯的样子", Datatype: "singlevaluelist", Values: []Value{{"1", "高杆"}, {"2", "庭院"}}}}},
	{Code: "complaint", Name: "投诉", Group: "作风", Description: "对工作人员", Secret: true},
}

func open(t testing.TB, change ...func(*Config)) *office {
	t.Helper()
	o := &office{TB: t, dir: t.TempDir(), clock: &clock{at: time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)}, logs: &lockedBuffer{}, alarms: make(chan Alarm, 10)}
	o.tables = storetest.Address(t, filepath.Join(o.dir, "y.db"))
	o.start(change...)
	t.Cleanup(o.stop)
	secret, tok, err := o.users.MakeToken(t.Context(), "枫桥 app", users.App, time.Time{}, "")
	if err != nil {
		t.Fatal(err)
	}
	o.key, o.token = secret, tok.ID
	return o
}

func (o *office) start(change ...func(*Config)) {
	o.Helper()
	ctx := context.Background()
	codec := wire.New(month{})
	var err error
	if o.db, err = store.Open(ctx, o.tables); err != nil {
		o.Fatal(err)
	}
	o.db.UseEncoder(codec)
	if o.epoch, err = o.db.NextEpoch(ctx); err != nil {
		o.Fatal(err)
	}
	logger := slog.New(slog.NewJSONHandler(o.logs, nil))
	// A slow machine under the race detector is no disk that does not write; what happens then has tests of its own.
	if o.log, err = sqllog.Open(ctx, filepath.Join(o.dir, "log.db"), sqllog.Config{Codec: codec, Ballast: -1, Limit: 30 * time.Second, Logger: logger}); err != nil {
		o.Fatal(err)
	}
	o.users = users.New(o.db, users.Config{Now: o.clock.now})
	c := Config{DB: o.db, Log: o.log, Users: o.users, Dir: filepath.Join(o.dir, "attachments"), Source: "yingda/t", Epoch: o.epoch, Line: "main", Office: "梅溪街道便民热线", Title: "12345",
		Caller: func(n pii.Phone) intake.Token { return wire.Token([]byte("secret"), n) },
		Seal: func(id string, at time.Time) ([]byte, error) {
			s, err := month{}.Month(at.Format("2006-01"))
			if err != nil {
				return nil, err
			}
			return hkdf.Key(sha256.New, s, nil, "attachment/"+id, 32)
		},
		Services: func() []Service { return services }, Private: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")},
		Alarm: func(a Alarm) { o.alarms <- a }, Now: o.clock.now, Logger: logger}
	for _, f := range change {
		f(&c)
	}
	if o.server, err = New(ctx, c); err != nil {
		o.Fatal(err)
	}
	mux := http.NewServeMux()
	for _, p := range Patterns() {
		mux.Handle(p, o.server)
	}
	o.http = httptest.NewServer(mux)
}

func (o *office) stop() {
	o.http.Close()
	if err := o.server.Close(); err != nil {
		o.Error(err)
	}
	if err := o.log.Close(); err != nil {
		o.Error(err)
	}
	if err := o.db.Close(); err != nil {
		o.Error(err)
	}
}

func (o *office) restart(change ...func(*Config)) {
	o.Helper()
	o.stop()
	o.start(change...)
}

// reply is what came back.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (r reply) problem(t testing.TB) Problem {
	t.Helper()
	var p Problem
	if kind := r.header.Get("Content-Type"); kind != "application/problem+json" {
		t.Fatalf("%d is %s: %s", r.status, kind, r.body)
	}
	if err := json.Unmarshal(r.body, &p); err != nil || p.Status != r.status || p.Detail == "" || p.Title == "" || p.Type == "" {
		t.Fatalf("problem %s: %v", r.body, err)
	}
	return p
}

func (r reply) receipt(t testing.TB) ReceiptBody {
	t.Helper()
	var b ReceiptBody
	if err := json.Unmarshal(r.body, &b); err != nil || r.status != 201 || b.ID == "" {
		t.Fatalf("%d %s %v", r.status, r.body, err)
	}
	return b
}

func (o *office) do(method, path, kind string, body []byte, header ...string) reply {
	o.Helper()
	r, err := http.NewRequest(method, o.http.URL+path, bytes.NewReader(body))
	if err != nil {
		o.Fatal(err)
	}
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		o.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		o.Fatal(err)
	}
	return reply{res.StatusCode, res.Header, raw}
}

// post hands in JSON under a key.
func (o *office) post(key, body string) reply {
	o.Helper()
	return o.do("POST", "/api/v1/submissions", "application/json", []byte(body), "Authorization", "Bearer "+o.key, "Idempotency-Key", key)
}

// events reads the whole log.
func (o *office) events() []stream.Record {
	o.Helper()
	head, err := o.log.Head(context.Background())
	if err != nil {
		o.Fatal(err)
	}
	if head.Offset < 0 {
		return nil
	}
	r, err := o.log.Open("test", stream.Position{Offset: -1})
	if err != nil {
		o.Fatal(err)
	}
	defer r.Close()
	var list []stream.Record
	for len(list) == 0 || list[len(list)-1].Offset < head.Offset {
		more, err := r.Fetch(context.Background(), 5000)
		if err != nil {
			o.Fatal(err)
		}
		list = append(list, more...)
	}
	return list
}

// contacts of the log, each with its outcome; it fails when one is offered or ended twice, or not ended.
func (o *office) contacts() map[intake.ContactID]intake.Outcome {
	o.Helper()
	m := map[intake.ContactID]intake.Outcome{}
	offered := map[intake.ContactID]int{}
	for _, r := range o.events() {
		switch d := r.Event.Data.(type) {
		case *intake.OfferedV1:
			offered[r.Event.Contact()]++
		case *intake.EndedV1:
			if _, twice := m[r.Event.Contact()]; twice {
				o.Errorf("%s ended twice", r.Event.Contact())
			}
			m[r.Event.Contact()] = d.Outcome
		}
	}
	for id, n := range offered {
		if n != 1 || m[id] == "" {
			o.Errorf("%s was offered %d times and ended %q", id, n, m[id])
		}
	}
	if len(offered) != len(m) {
		o.Errorf("%d offered, %d ended", len(offered), len(m))
	}
	return m
}

// apply has the consumer read everything there is.
func (o *office) apply(records ...stream.Record) {
	o.Helper()
	if len(records) == 0 {
		records = o.events()
	}
	if err := o.db.Tx(context.Background(), func(tx *store.Tx) error { return o.server.Apply(context.Background(), tx, records) }); err != nil {
		o.Fatal(err)
	}
	o.server.Wake()
}

func TestSubmission(t *testing.T) {
	o := open(t)
	const body = `{"text":"三幢二单元楼道灯不亮","address":"柳荫一村 3 幢","position":{"lat":31.2993,"lon":120.6195},"phone":"138 0000 5678","name":"王师傅","category":"lighting","colour":"red"}`
	r := o.post("k-1", body)
	got := r.receipt(t)
	if r.header.Get("Idempotency-Replayed") != "" || got.Code != "" || len(got.Ignored) != 1 || got.Ignored[0] != "colour" {
		t.Errorf("%s %v", r.body, r.header)
	}
	if _, ok := parseReceipt(got.Receipt); !ok || len(got.Receipt) != 9 {
		t.Errorf("receipt %q", got.Receipt)
	}
	if r.header.Get("Location") != got.Status {
		t.Errorf("location %q, status %q", r.header.Get("Location"), got.Status)
	}
	events := o.events()
	if len(events) != 2 {
		t.Fatalf("%d events", len(events))
	}
	e := events[0].Event
	d := e.Data.(*intake.OfferedV1)
	p := e.Personal.Reveal()
	if e.Contact() != got.ID || d.Channel != intake.App || d.Line != "main" || d.Category != "lighting" || d.Origin != "枫桥 app" || d.Caller == "" || e.PartitionKey != string(d.Caller) ||
		!strings.HasPrefix(d.Dedupe, "app/") || p.Number != "13800005678" || p.Text != "三幢二单元楼道灯不亮" || p.Address != "柳荫一村 3 幢" || p.Name != "王师傅" || p.Place == nil || p.Place.Lat != 31.2993 {
		t.Errorf("%+v %+v", e, p)
	}
	if end := events[1].Event.Data.(*intake.EndedV1); end.Outcome != intake.Accepted {
		t.Errorf("%+v", end)
	}
	// The same again, written another way, is the same.
	again := o.post(`"k-1"`, `{"phone":"+86 13800005678","position":{"lon":120.6195,"lat":31.2993},"category":"lighting","name":"王师傅","text":"三幢二单元楼道灯不亮","address":"柳荫一村 3 幢"}`)
	if b := again.receipt(t); b.ID != got.ID || b.Receipt != got.Receipt || again.header.Get("Idempotency-Replayed") != "true" {
		t.Errorf("again: %s", again.body)
	}
	// Something else under that key is refused, and nothing is written.
	if p := o.post("k-1", `{"text":"另一件事"}`); p.status != 422 || p.problem(t).ID != "" {
		t.Errorf("%d %s", p.status, p.body)
	}
	// The key outlives a restart.
	o.restart()
	if b := o.post("k-1", body).receipt(t); b.ID != got.ID {
		t.Errorf("after a restart: %+v", b)
	}
	if m := o.contacts(); len(m) != 1 || m[got.ID] != intake.Accepted {
		t.Errorf("%v", m)
	}
	// And expires.
	o.clock.add(73 * time.Hour)
	if b := o.post("k-1", body).receipt(t); b.ID == got.ID {
		t.Error("the key is remembered beyond its time")
	}
	if n := strings.Count(o.logs.String(), "13800005678") + strings.Count(o.logs.String(), "楼道灯"); n > 0 {
		t.Errorf("words or number stand in the log: %s", o.logs)
	}
}

// Three at once with one key are one contact; so are a thousand with a thousand keys a thousand, each sent twice.
func TestManyAtOnce(t *testing.T) {
	o := open(t)
	if _, err := SaveKey(t.Context(), o.db, Key{Token: o.token, PerMinute: 100_000}, o.clock.now()); err != nil {
		t.Fatal(err)
	}
	o.http.Client().Transport = http.DefaultTransport
	const n = 1000
	var mu sync.Mutex
	ids := map[string]map[intake.ContactID]int{}
	receipts := map[string]bool{}
	var wg sync.WaitGroup
	gate := make(chan struct{})
	slots := make(chan struct{}, 400) // sockets
	for i := range n {
		for range 3 {
			wg.Go(func() {
				<-gate
				slots <- struct{}{}
				defer func() { <-slots }()
				key := fmt.Sprint("key-", i)
				b := o.post(key, fmt.Sprintf(`{"text":"第 %d 件事","phone":"1380000%04d"}`, i, i)).receipt(t)
				mu.Lock()
				defer mu.Unlock()
				if ids[key] == nil {
					ids[key] = map[intake.ContactID]int{}
				}
				ids[key][b.ID]++
				receipts[b.Receipt] = true
			})
		}
	}
	close(gate)
	wg.Wait()
	for key, m := range ids {
		if len(m) != 1 {
			t.Errorf("%s became %v", key, m)
		}
	}
	if len(ids) != n || len(receipts) != n {
		t.Errorf("%d keys, %d receipts", len(ids), len(receipts))
	}
	m := o.contacts()
	if len(m) != n {
		t.Errorf("%d contacts", len(m))
	}
	for id, outcome := range m {
		if outcome != intake.Accepted {
			t.Errorf("%s %s", id, outcome)
		}
	}
}

func TestTokens(t *testing.T) {
	o := open(t)
	const body = `{"text":"灯不亮"}`
	send := func(authorization string) reply {
		t.Helper()
		return o.do("POST", "/api/v1/submissions", "application/json", []byte(body), "Authorization", authorization, "Idempotency-Key", "k")
	}
	reader, _, err := o.users.MakeToken(t.Context(), "auditor", users.Auditor, time.Time{}, "")
	if err != nil {
		t.Fatal(err)
	}
	ended, _, err := o.users.MakeToken(t.Context(), "ended", users.App, o.clock.now().Add(-time.Hour), "")
	if err != nil {
		t.Fatal(err)
	}
	for authorization, want := range map[string]int{"": 401, "Bearer ": 401, "Bearer ydt_wrong": 401, "Basic " + o.key: 401, "Bearer " + reader: 403, "Bearer " + ended: 401, "Bearer " + strings.Repeat("x", 5000): 401} {
		r := send(authorization)
		if r.status != want {
			t.Errorf("%.40q: %d", authorization, r.status)
		}
		r.problem(t)
		if want == 401 && r.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%.40q: no WWW-Authenticate", authorization)
		}
	}
	if r := send("bearer " + o.key); r.status != 201 {
		t.Errorf("%d", r.status)
	}
	if err := o.users.RevokeToken(t.Context(), o.token); err != nil {
		t.Fatal(err)
	}
	if r := send("Bearer " + o.key); r.status != 401 {
		t.Errorf("revoked: %d", r.status)
	}
	if m := o.contacts(); len(m) != 1 {
		t.Errorf("%v", m)
	}
}

func TestLimits(t *testing.T) {
	o := open(t)
	if _, err := SaveKey(t.Context(), o.db, Key{Token: o.token, PerMinute: 3, PerDay: 5}, o.clock.now()); err != nil {
		t.Fatal(err)
	}
	n := 0
	send := func() reply { t.Helper(); n++; return o.post(fmt.Sprint("k", n), `{"text":"灯不亮"}`) }
	for range 3 {
		send().receipt(t)
	}
	r := send()
	if r.status != 429 || r.header.Get("Retry-After") != "21" {
		t.Fatalf("%d %v", r.status, r.header)
	}
	r.problem(t)
	o.clock.add(21 * time.Second)
	send().receipt(t)
	o.restart() // the day's sum is in the table
	send().receipt(t)
	if r := send(); r.status != 429 || !strings.Contains(r.problem(t).Detail, "5 a day") {
		t.Fatalf("%d %s", r.status, r.body)
	}
	o.clock.add(17 * time.Hour)
	send().receipt(t)
}

func TestWhatCannotBeAccepted(t *testing.T) {
	o := open(t)
	test := func(body string, status int, pointers ...string) Problem {
		t.Helper()
		r := o.post("bad", body)
		if r.status != status {
			t.Fatalf("%.80s: %d %s", body, r.status, r.body)
		}
		p := r.problem(t)
		var have []string
		for _, e := range p.Errors {
			have = append(have, e.Pointer)
			if e.Detail == "" || e.Code == "" {
				t.Errorf("%+v", e)
			}
		}
		if fmt.Sprint(have) != fmt.Sprint(pointers) {
			t.Errorf("%.80s: %v, want %v", body, have, pointers)
		}
		return p
	}
	for _, body := range []string{"", " ", "{", `{"text":`, "[]", `"text"`, "42", "null", `{"text":"a"} {}`, `{"text":"a"}x`, "\x00", "{\"text\":\"a\x01\"}", `{'text':1}`, strings.Repeat("[", 100_000),
		strings.Repeat(`{"a":`, 5000), `{"text":"灯","a":` + strings.Repeat("[", 17) + strings.Repeat("]", 17) + "}"} {
		test(body, 400)
	}
	test(`{"text":"`+strings.Repeat("a", 300<<10)+`"}`, 413)
	if n := len(o.contacts()); n != 0 {
		t.Errorf("%d contacts of what says nothing", n)
	}
	p := test(`{}`, 422, "/text")
	if again := test(`{"text":"  \n "}`, 422, "/text"); again.ID != p.ID {
		t.Error("the same twice is two contacts")
	}
	test(`{"text":7}`, 422, "/text", "/text")
	test(`{"text":"a","text":"b"}`, 422, "/text")
	test(`{"text":"a","phone":"call me"}`, 422, "/phone")
	test(`{"text":"a","phone":"12"}`, 422, "/phone")
	test(`{"text":"a","position":{"lat":91,"lon":1}}`, 422, "/position/lat")
	test(`{"text":"a","position":{"lat":1}}`, 422, "/position/lon")
	test(`{"text":"a","position":[1,2]}`, 422, "/position")
	test(`{"text":"a","position":{"lat":"x","lon":1e999}}`, 422, "/position/lat", "/position/lon")
	test(`{"text":"a","position":{"lat":31,"lon":120},"datum":"BD-09"}`, 422, "/datum")
	test(`{"text":"a","category":"magic"}`, 422, "/category")
	test(`{"text":"a","line":"nowhere"}`, 422, "/line")
	test(`{"text":"`+strings.Repeat("啊", 4001)+`"}`, 422, "/text")
	for id, outcome := range o.contacts() {
		if outcome != intake.RejectedInvalid {
			t.Errorf("%s %s", id, outcome)
		}
	}
	if m := o.contacts(); len(m) != 3 || m[p.ID] == "" { // what is left of it is nothing, "a", and a long cry: each once
		t.Errorf("%d contacts", len(m))
	}
	// The key is free for what was mended.
	o.post("bad", `{"text":"灯不亮"}`).receipt(t)

	key := func(name ...string) reply {
		t.Helper()
		return o.do("POST", "/api/v1/submissions", "application/json", []byte(`{"text":"a"}`), append([]string{"Authorization", "Bearer " + o.key}, name...)...)
	}
	for _, r := range []reply{key(), key("Idempotency-Key", strings.Repeat("k", 256)), key("Idempotency-Key", `""`)} {
		if r.status != 400 || !strings.Contains(r.problem(t).Detail, "Idempotency-Key") {
			t.Errorf("%d %s", r.status, r.body)
		}
	}
	for kind, want := range map[string]int{"": 415, "text/plain": 415, "application/xml": 415, "multipart/form-data": 400, "nonsense;;": 415, "application/json": 415} {
		header := []string{"Authorization", "Bearer " + o.key, "Idempotency-Key", "z"}
		if kind == "application/json" {
			header = append(header, "Content-Encoding", "gzip")
		}
		if r := o.do("POST", "/api/v1/submissions", kind, []byte(`{"text":"a"}`), header...); r.status != want {
			t.Errorf("%q: %d %s", kind, r.status, r.body)
		}
	}
	if r := o.do("PUT", "/api/v1/submissions", "application/json", nil); r.status != 405 || r.header.Get("Allow") != "POST" {
		t.Errorf("PUT: %d", r.status)
	}
}

func TestClean(t *testing.T) {
	test := func(in, want string) {
		t.Helper()
		if got := clean(in, true); got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
	test(" 灯\r\n不亮\t ", "灯\n不亮")
	test("a\x00b\x1b[31mc", "ab[31mc")
	test("转账\u202etxt.exe", "转账txt.exe")
	test("\xff\xfe", "\uFFFD")
	test("a\u2028b", "a b")
	if got := clean("a\nb", false); got != "a b" {
		t.Errorf("%q", got)
	}
}

// A crash between claim and log costs nothing and doubles nothing.
func TestCrashBetweenClaimAndLog(t *testing.T) {
	o := open(t)
	crash := func(c *Config) { c.test.afterClaim = func() error { return fmt.Errorf("%w: crash", ErrLater) } }
	o.restart(crash)
	r := o.post("k", `{"text":"灯不亮","phone":"13800005678"}`)
	if r.status != 503 || r.header.Get("Retry-After") == "" {
		t.Fatalf("%d %s", r.status, r.body)
	}
	r.problem(t)
	if n := len(o.contacts()); n != 0 {
		t.Fatalf("%d contacts", n)
	}
	o.restart()
	got := o.post("k", `{"text":"灯不亮","phone":"13800005678"}`).receipt(t)
	if m := o.contacts(); len(m) != 1 || m[got.ID] != intake.Accepted {
		t.Fatalf("%v", m)
	}
	// With photos too, whose claim is found before they are looked at again.
	o.restart(crash)
	photo := jpegOf(t, 32, 32, 1)
	if r := o.postMulti("p", map[string]string{"text": "井盖没了"}, photo); r.status != 503 {
		t.Fatalf("%d", r.status)
	}
	o.restart()
	got = o.postMulti("p", map[string]string{"text": "井盖没了"}, photo).receipt(t)
	if m := o.contacts(); len(m) != 2 || m[got.ID] != intake.Accepted {
		t.Fatalf("%v", m)
	}
	// And when nobody asks again, the next start finishes it.
	o.restart(crash)
	if r := o.post("k2", `{"text":"井盖"}`); r.status != 503 {
		t.Fatalf("%d", r.status)
	}
	o.clock.add(2 * time.Minute)
	o.restart()
	if err := o.server.sweepOnce(t.Context()); err != nil {
		t.Fatal(err)
	}
	if m := o.contacts(); len(m) != 3 {
		t.Fatalf("%v", m)
	}
}

func TestStatus(t *testing.T) {
	o := open(t)
	got := o.post("k", `{"text":"灯不亮","phone":"13800005678"}`).receipt(t)
	get := func(receipt, last4 string) reply {
		t.Helper()
		return o.do("GET", "/api/v1/submissions/"+receipt+"?last4="+last4, "", nil)
	}
	var b StatusBody
	r := o.do("GET", got.Status+"?last4=5678", "", nil)
	if err := json.Unmarshal(r.body, &b); err != nil || r.status != 200 || b.ID != got.ID || b.State != Received || b.Receipt != got.Receipt || len(b.Steps) != 1 {
		t.Fatalf("%d %s", r.status, r.body)
	}
	if strings.Contains(string(r.body), "13800005678") || strings.Contains(string(r.body), "灯不亮") {
		t.Errorf("%s", r.body)
	}
	number := strings.ReplaceAll(got.Receipt, " ", "")
	other := drawReceipt()
	wrong, none := get(number, "0000"), get(other, "5678")
	if wrong.status != 404 || none.status != 404 || !bytes.Equal(wrong.body, none.body) {
		t.Errorf("%d %s, %d %s", wrong.status, wrong.body, none.status, none.body)
	}
	for range 9 {
		get(number, "0000")
		get(other, "0000")
	}
	if a, b := get(number, "5678"), get(other, "5678"); a.status != 429 || b.status != 429 {
		t.Errorf("%d, %d", a.status, b.status)
	}
	o.clock.add(time.Hour)
	if r := get(number, "5678"); r.status != 200 {
		t.Errorf("%d", r.status)
	}
	// Without a number a code is drawn.
	drawn := o.post("k3", `{"text":"井盖松了"}`).receipt(t)
	if r := get(strings.ReplaceAll(drawn.Receipt, " ", ""), drawn.Code); len(drawn.Code) != 4 || r.status != 200 {
		t.Errorf("%+v: %d", drawn, r.status)
	}
	// In Go.
	st, err := o.server.Status(t.Context(), "１２３４", "1")
	if err != ErrNotFound {
		t.Errorf("%+v %v", st, err)
	}
	if id, err := o.server.Lookup(t.Context(), got.Receipt); err != nil || id != got.ID {
		t.Errorf("%s %v", id, err)
	}
}

// multi makes a multipart form.
func multi(fields map[string]string, photos ...[]byte) (kind string, body []byte) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k, v := range fields {
		_ = w.WriteField(k, v)
	}
	for i, p := range photos {
		f, _ := w.CreateFormFile("photo", fmt.Sprintf("../../%d.jpg", i))
		_, _ = f.Write(p)
	}
	_ = w.Close()
	return w.FormDataContentType(), b.Bytes()
}

func (o *office) postMulti(key string, fields map[string]string, photos ...[]byte) reply {
	o.Helper()
	kind, body := multi(fields, photos...)
	return o.do("POST", "/api/v1/submissions", kind, body, "Authorization", "Bearer "+o.key, "Idempotency-Key", key)
}

var offsets int64 = 1 << 40

// record is an event as the stream gives it.
func record(e intake.Event) stream.Record {
	offsets++
	return stream.Record{Position: stream.Position{Offset: offsets}, Event: e}
}
