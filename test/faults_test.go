//go:build services

package test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/segmentio/kafka-go"

	"yingda/channels/webchat"
	"yingda/internal/app"
	"yingda/internal/users"
	"yingda/telephony/phonetest"
)

// What the fault tests share. Each has an office of its own on the real servers, people who phone and write, operators who answer, and at the end
// counts: what people were told is written down = contacts in Kafka = documents in Elasticsearch = contacts in the books.

// supervisor signs one in who was not there before.
func (o *office) supervisor(base string) *http.Client {
	o.t.Helper()
	password, _, _ := o.person("super", users.Supervisor)
	return signedIn(o.t, base, "super", password)
}

// person makes an account in the office's tables, with a password that need not be changed, and credentials for a phone.
func (o *office) person(login string, role users.Role) (password, sipUser, secret string) {
	o.t.Helper()
	const chosen = "a-long-test-password"
	c := app.Default()
	c.Data, c.Tables.Address, c.Stream.Ballast = o.t.TempDir(), o.postgres, -1
	s, err := app.OpenStore(o.t.Context(), c, app.StoreOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		o.t.Fatal(err)
	}
	defer s.Close()
	ctx := o.t.Context()
	oneTime, err := s.CreateUser(ctx, login, login, string(role), nil)
	if err != nil {
		o.t.Fatal(err)
	}
	u, err := s.Users().ByLogin(ctx, login)
	if err == nil {
		err = s.Users().ChangePassword(ctx, u.ID, oneTime, chosen, "test", "")
	}
	var both string
	if err == nil && role == users.Operator {
		both, err = s.NewPhone(ctx, login)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	sipUser, secret, _ = strings.Cut(both, " ")
	return chosen, sipUser, secret
}

// phone is an operator's, who takes every call; it registers with a machine and again each expires/2.
func (o *office) phone(login string, at *served, expires time.Duration) (phone *phonetest.Phone, taken *atomic.Int64) {
	o.t.Helper()
	_, user, secret := o.person(login, users.Operator)
	taken = &atomic.Int64{}
	p, err := phonetest.New(phonetest.Config{Server: at.sip, User: user, Password: secret, NoAudio: true, Expires: expires, OnCall: func(c *phonetest.Call) {
		c.Ring()
		c.Answer()
		<-c.Answered()
		taken.Add(1)
		<-c.Ended()
	}})
	if err != nil {
		o.t.Fatal(err)
	}
	o.t.Cleanup(p.Close)
	ctx, cancel := context.WithTimeout(o.t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Register(ctx); err != nil {
		o.t.Fatal(err)
	}
	return p, taken
}

// callers are who phones in, so many a second, until told to stop.
type callers struct {
	*peer
	t     *testing.T
	trace string
}

func (s *served) callers(rate int, hold time.Duration) *callers {
	s.t.Helper()
	trace := s.t.TempDir() + "/messages.log"
	return &callers{s.load(rate, hold, trace), s.t, trace}
}

// stop lets nobody phone any more, and waits until those who do have hung up.
func (c *callers) stop() {
	c.t.Helper()
	_ = c.cmd.Process.Signal(syscall.SIGUSR1)
	select {
	case err := <-c.done:
		c.done <- err
	case <-time.After(40 * time.Second):
		_ = c.cmd.Process.Kill()
		<-c.done
	}
}

// try is a call as its caller saw it.
type try struct {
	tried, heard time.Time
	last         string // line of the last response to its INVITE
}

// tries reads when each call was tried and first heard of us (18x or 2xx); zero when it did not.
func (c *callers) tries() map[string]try {
	c.t.Helper()
	all := map[string]try{}
	f, err := os.Open(c.trace)
	if os.IsNotExist(err) { // nobody has phoned yet
		return all
	}
	if err != nil {
		c.t.Fatal(err)
	}
	defer f.Close()
	var at time.Time
	var first, id, cseq string
	flush := func() {
		if id == "" {
			return
		}
		one := all[id]
		if strings.HasPrefix(first, "INVITE ") && one.tried.IsZero() {
			one.tried = at
		}
		if m := statusLine.FindStringSubmatch(first); m != nil && (m[1] >= "180" && m[1] < "300") && strings.HasSuffix(cseq, "INVITE") && one.heard.IsZero() {
			one.heard = at
		}
		if statusLine.MatchString(first) && strings.HasSuffix(cseq, "INVITE") {
			one.last = first
		}
		all[id] = one
	}
	r := bufio.NewScanner(f)
	r.Buffer(make([]byte, 1<<20), 1<<20)
	for r.Scan() {
		line := strings.TrimSpace(r.Text())
		switch {
		case strings.HasPrefix(line, "----"):
			flush()
			first, id, cseq = "", "", ""
			at, _ = time.ParseInLocation("2006-01-02 15:04:05.000000", strings.TrimSpace(strings.TrimLeft(line, "-")), time.Local)
		case first == "" && (statusLine.MatchString(line) || strings.HasPrefix(line, "INVITE ") || strings.HasPrefix(line, "ACK ") || strings.HasPrefix(line, "BYE ")):
			first = line
		case callIDLine.MatchString(line):
			id = callIDLine.FindStringSubmatch(line)[1]
		case strings.HasPrefix(line, "CSeq:"):
			cseq = line
		}
	}
	flush()
	return all
}

// between says of the calls that were tried in a span how many were heard of us, how many were not, and after how long the slowest was.
func (c *callers) between(from, to time.Time) (heard, deaf int, slowest time.Duration) {
	c.t.Helper()
	for _, one := range c.tries() {
		switch {
		case one.tried.Before(from) || one.tried.After(to):
		case one.heard.IsZero():
			deaf++
			c.t.Logf("a call of %s heard nothing but %q", one.tried.UTC().Format("15:04:05.000"), one.last)
		default:
			heard++
			slowest = max(slowest, one.heard.Sub(one.tried))
		}
	}
	return heard, deaf, slowest
}

// crowd is residents who each write a line a second, and operators at their desks who answer each line.
type crowd struct {
	t         *testing.T
	residents []*talker
	desks     []*answerer
	base      func() string
	group     sync.WaitGroup
	quit      context.CancelFunc
}

// chatters begins conversations of n residents with so many operators. base says where the pages are now.
func (o *office) chatters(base func() string, n, operators int) *crowd {
	o.t.Helper()
	ctx, cancel := context.WithCancel(o.t.Context())
	c := &crowd{t: o.t, base: base, quit: cancel}
	for i := range operators {
		login := fmt.Sprint("chat", i)
		password, _, _ := o.person(login, users.Operator)
		d := &answerer{client: signedIn(o.t, base(), login, password), base: base, ticks: map[string]int{}}
		c.desks = append(c.desks, d)
		c.group.Go(func() { d.run(ctx) })
	}
	lines := make([]string, 3000)
	for i := range lines {
		lines[i] = fmt.Sprintf("第 %d 句话", i+1)
	}
	for i := range n {
		k := newTalker(o.t, base, "/chat/ws", nil)
		c.residents = append(c.residents, k)
		c.group.Go(func() {
			_ = k.resident(ctx, lines, func(line int) bool {
				wait := 1040 * time.Millisecond
				if line == 0 {
					wait = time.Duration(i) * 1040 * time.Millisecond / time.Duration(n) // not all at the same moment
				}
				select {
				case <-ctx.Done():
				case <-time.After(wait):
				}
				return false
			})
		})
	}
	o.t.Cleanup(c.group.Wait)
	o.t.Cleanup(cancel)
	return c
}

// ticked are the messages of both sides that were said to be written down.
func (c *crowd) ticked() (residents, desks int) {
	for _, k := range c.residents {
		k.mu.Lock()
		residents += len(k.ticks)
		k.mu.Unlock()
	}
	for _, d := range c.desks {
		d.mu.Lock()
		desks += len(d.ticks)
		d.mu.Unlock()
	}
	return residents, desks
}

func (c *crowd) all() int { a, b := c.ticked(); return a + b }

// stop lets nobody write any more; each resident comes back once, takes the whole conversation, in which every message is that was ticked, and says goodbye.
// It gives the messages of each contact by their numbers.
func (c *crowd) stop() map[string]map[int]string {
	c.t.Helper()
	c.quit()
	c.group.Wait()
	want := map[string]map[int]string{} // contact → number → how its text begins
	ticked := func(id string, n int, text string) {
		if want[id] == nil {
			want[id] = map[int]string{}
		}
		want[id][n] = text
	}
	for _, k := range c.residents {
		for key, n := range k.ticks {
			var line int
			_, _ = fmt.Sscanf(key, "line-%d", &line)
			ticked(k.contact(), n, fmt.Sprintf("第 %d 句话", line+1))
		}
		if k.twice > 0 {
			c.t.Errorf("contact %s: %d messages came twice with other words", k.contact(), k.twice)
		}
	}
	for _, d := range c.desks {
		for key, n := range d.ticks {
			ticked(strings.TrimPrefix(key, "a-")[:36], n, "答 ")
		}
	}
	said := map[string]map[int]string{}
	for _, k := range c.residents {
		id := k.contact()
		waitFor(c.t, "everything that was ticked in contact "+id, time.Minute, func() bool {
			list, err := k.whole(c.t.Context(), false)
			for n, text := range want[id] {
				if err != nil || !strings.HasPrefix(list[n], text) {
					return false
				}
			}
			said[id] = list
			return err == nil
		})
		if _, err := k.whole(c.t.Context(), true); err != nil {
			c.t.Errorf("goodbye: %v", err)
		}
	}
	return said
}

func (k *talker) contact() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	id, _, _ := strings.Cut(k.token, ".")
	return id
}

// whole is the conversation from its beginning, by number. With bye the resident leaves.
func (k *talker) whole(ctx context.Context, bye bool) (map[int]string, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, err := k.dial(ctx)
	if err != nil {
		return nil, err
	}
	defer c.CloseNow()
	err = wsjson.Write(ctx, c, webchat.In{T: webchat.UpHello, Token: k.token})
	if err == nil {
		err = wsjson.Write(ctx, c, webchat.In{T: webchat.UpPing})
	}
	if err == nil && bye {
		err = wsjson.Write(ctx, c, webchat.In{T: webchat.UpBye, Ref: "bye"})
	}
	list := map[int]string{}
	for err == nil {
		var f webchat.Out
		if err = wsjson.Read(ctx, c, &f); err != nil {
			break
		}
		switch {
		case f.T == webchat.DownMessage && f.Message != nil:
			list[f.N] = f.Text
		case f.T == webchat.DownPong && !bye, f.Ref == "bye":
			return list, nil
		}
	}
	return nil, err
}

// answerer is an operator at a desk who takes what is offered and answers each line, over connections that come and go.
type answerer struct {
	client *http.Client
	base   func() string

	mu    sync.Mutex
	ticks map[string]int // key → number
}

func (d *answerer) run(ctx context.Context) {
	for ctx.Err() == nil {
		_ = d.once(ctx)
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (d *answerer) once(ctx context.Context) error {
	c, res, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(d.base(), "http")+"/desk/chat/ws", &websocket.DialOptions{HTTPClient: d.client, Subprotocols: []string{"yingda.chat.v1"}})
	if res != nil && res.Body != nil {
		_ = res.Body.Close()
	}
	if err != nil {
		return err
	}
	defer c.CloseNow()
	c.SetReadLimit(1 << 20)
	if err := wsjson.Write(ctx, c, webchat.In{T: webchat.UpHello}); err != nil {
		return err
	}
	here := map[string]bool{} // said over this connection
	for {
		var f webchat.Out
		if err := wsjson.Read(ctx, c, &f); err != nil {
			return err
		}
		switch {
		case f.T == webchat.DownTick:
			d.mu.Lock()
			d.ticks[f.Key] = f.N
			d.mu.Unlock()
		case f.T == webchat.DownOffer:
			err = wsjson.Write(ctx, c, webchat.In{T: webchat.UpAccept, Ref: "accept", Contact: f.Contact, Offer: f.Offer})
		case f.T == webchat.DownMessage && f.Message != nil && f.From == "resident":
			key := fmt.Sprint("a-", f.Contact, "-", f.N)
			d.mu.Lock()
			_, done := d.ticks[key]
			d.mu.Unlock()
			if done || here[key] {
				continue
			}
			here[key] = true
			err = wsjson.Write(ctx, c, webchat.In{T: webchat.UpSay, Contact: f.Contact, Key: key, Text: "答 " + f.Text})
		}
		if err != nil {
			return err
		}
	}
}

// inKafka is what a reader finds in the topic who knows nothing of us.
type inKafka struct {
	records  int
	ids      map[string]int            // event → how often
	contacts map[string]bool           // that were offered
	ended    map[string]int            // contact → proper ends, by id
	messages map[string]map[int]string // contact → number → id of the event
}

// topic reads the office's topic.
func (o *office) topic() inKafka {
	o.t.Helper()
	ctx, cancel := context.WithTimeout(o.t.Context(), 30*time.Second)
	defer cancel()
	got := inKafka{ids: map[string]int{}, contacts: map[string]bool{}, ended: map[string]int{}, messages: map[string]map[int]string{}}
	broker, name := variable(o.t, "YINGDA_TEST_KAFKA"), o.name+".intake"
	for p := range 12 {
		conn, err := kafka.DialLeader(ctx, "tcp", broker, name, p)
		if err != nil {
			o.t.Fatal(err)
		}
		end, err := conn.ReadLastOffset()
		_ = conn.Close()
		if err != nil {
			o.t.Fatal(err)
		}
		if end == 0 {
			continue
		}
		r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{broker}, Topic: name, Partition: p, MinBytes: 1, MaxBytes: 4 << 20, MaxWait: 100 * time.Millisecond})
		for {
			m, err := r.ReadMessage(ctx)
			if err != nil {
				o.t.Fatal(err)
			}
			got.note(o.t, m)
			if m.Offset >= end-1 {
				break
			}
		}
		_ = r.Close()
	}
	return got
}

func (k *inKafka) note(t *testing.T, m kafka.Message) {
	t.Helper()
	h := map[string]string{}
	for _, x := range m.Headers {
		h[x.Key] = string(x.Value)
	}
	id := h["ce_id"]
	k.records++
	k.ids[id]++
	contact, ok := strings.CutPrefix(h["ce_subject"], "contact/")
	if !ok || k.ids[id] > 1 {
		return
	}
	var data struct {
		Number      int
		Provisional bool
	}
	if err := json.Unmarshal(m.Value, &data); err != nil {
		t.Errorf("event %s: %v", id, err)
	}
	switch h["ce_type"] {
	case "contact.offered.v1":
		k.contacts[contact] = true
	case "contact.ended.v1":
		if !data.Provisional {
			k.ended[contact]++
		}
	case "contact.message.v1":
		if k.messages[contact] == nil {
			k.messages[contact] = map[int]string{}
		}
		if had := k.messages[contact][data.Number]; had != "" {
			t.Errorf("contact %s has message %d twice: %s and %s", contact, data.Number, had, id)
		}
		k.messages[contact][data.Number] = id
	}
}

// documents are the contacts in Elasticsearch with their outcome.
func (o *office) documents() map[string]string {
	o.t.Helper()
	at := variable(o.t, "YINGDA_TEST_ELASTICSEARCH") + "/" + o.name
	ask := func(method, path, body string, into any) error {
		req, err := http.NewRequestWithContext(o.t.Context(), method, at+path, strings.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s %s: %d %s", method, path, res.StatusCode, raw)
		}
		if err == nil && into != nil {
			err = json.Unmarshal(raw, into)
		}
		return err
	}
	var got struct {
		Hits struct {
			Hits []struct {
				Source struct{ Subject, Outcome string } `json:"_source"`
			}
		}
	}
	err := ask(http.MethodPost, "/_refresh", "", nil)
	if err == nil {
		err = ask(http.MethodPost, "/_search", `{"size":10000,"_source":["subject","outcome"],"query":{"term":{"kind":"contact"}}}`, &got)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	list := map[string]string{}
	for _, h := range got.Hits.Hits {
		list[strings.TrimPrefix(h.Source.Subject, "contact/")] = h.Source.Outcome
	}
	return list
}

// heard are the calls that got an answer from us, of all callers.
func heard(all ...*callers) map[string]bool {
	ids := map[string]bool{}
	for _, c := range all {
		for id, one := range c.tries() {
			if !one.heard.IsZero() {
				ids[id] = true
			}
		}
	}
	return ids
}

// agree waits until everything has ended and every arm has read everything, and holds what people were told against Kafka, Elasticsearch and the books.
// It prints the counts.
func (o *office) agree(s *served, calls map[string]bool, said map[string]map[int]string) {
	o.t.Helper()
	var open []string
	for until := time.Now().Add(90 * time.Second); ; pause(500 * time.Millisecond) {
		open = nil
		for _, e := range s.contacts() {
			if e.Outcome == nil {
				open = append(open, fmt.Sprintf("%s %s of %s", e.Channel, e.ID, time.Time(e.ArrivedAt).Format("15:04:05.000")))
			}
		}
		if len(open) == 0 {
			break
		}
		if time.Now().After(until) {
			o.t.Fatalf("%d contacts have not ended: %v", len(open), open)
		}
	}
	s.audited()
	list := s.contacts()
	outcomes, byCall, books := map[string]int{}, map[string]int{}, map[string]string{}
	owed := 0
	for _, e := range list {
		books[string(e.ID)] = string(*e.Outcome)
		how := string(*e.Outcome)
		if how == "refused" && e.Reason != nil {
			how += "/" + *e.Reason
		}
		outcomes[how]++
		if e.SIPCallID != nil {
			byCall[*e.SIPCallID]++
		}
		if e.Callback != nil {
			owed++
		}
	}
	for id := range calls {
		if byCall[id] != 1 {
			o.t.Errorf("call %s got an answer and is in the books %d times", id, byCall[id])
		}
	}
	topic, documents := o.topic(), map[string]string{}
	for until := time.Now().Add(90 * time.Second); time.Now().Before(until) && !maps.Equal(documents, books); pause(500 * time.Millisecond) { // search may be behind: late, not lost
		documents = o.documents()
	}
	same(o.t, "the books", slices.Collect(maps.Keys(books)), "Kafka", slices.Collect(maps.Keys(topic.contacts)))
	same(o.t, "the books", slices.Collect(maps.Keys(books)), "Elasticsearch", slices.Collect(maps.Keys(documents)))
	for id, outcome := range documents {
		if books[id] != outcome {
			o.t.Errorf("contact %s ended as %q by the books and as %q by Elasticsearch", id, books[id], outcome)
		}
	}
	for id, n := range topic.ended {
		if n > 1 {
			o.t.Errorf("contact %s has %d ends in Kafka that are not provisional", id, n)
		}
	}
	messages := 0
	for id, list := range said {
		messages += len(list)
		if len(topic.messages[id]) != len(list) {
			o.t.Errorf("contact %s: the resident has %d messages, Kafka %d", id, len(list), len(topic.messages[id]))
		}
		for n := range list {
			if topic.messages[id][n] == "" {
				o.t.Errorf("contact %s: message %d is not in Kafka", id, n)
			}
		}
	}
	again := 0
	for _, n := range topic.ids {
		again += n - 1
	}
	o.t.Logf("counts: calls that heard of us %d · chats %d with %d messages · contacts in the books %d = in Kafka %d = documents %d · events in Kafka %d, written twice %d · owed a call %d · %v",
		len(calls), len(said), messages, len(books), len(topic.contacts), len(documents), len(topic.ids), again, owed, outcomes)
}

// same compares two lists of ids.
func same(t *testing.T, a string, in []string, b string, has []string) {
	t.Helper()
	slices.Sort(in)
	slices.Sort(has)
	if slices.Equal(in, has) {
		return
	}
	var onlyIn, onlyHas []string
	for _, id := range in {
		if _, ok := slices.BinarySearch(has, id); !ok {
			onlyIn = append(onlyIn, id)
		}
	}
	for _, id := range has {
		if _, ok := slices.BinarySearch(in, id); !ok {
			onlyHas = append(onlyHas, id)
		}
	}
	t.Errorf("%s: %d contacts, %s: %d; only in the first %.5v, only in the second %.5v", a, len(in), b, len(has), onlyIn, onlyHas)
}

// metric is the value of a figure without labels at /metrics; -1 when there is none.
func (s *served) metric(name string) float64 {
	v := -1.0
	r, err := http.Get("http://" + s.http + "/metrics")
	if err != nil {
		return v
	}
	defer r.Body.Close()
	raw, _ := io.ReadAll(r.Body)
	for line := range bytes.Lines(raw) {
		if rest, ok := bytes.CutPrefix(line, []byte(name+" ")); ok {
			_, _ = fmt.Sscan(string(rest), &v)
		}
	}
	return v
}
