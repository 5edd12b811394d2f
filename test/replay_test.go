package test

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/app"
	"yingda/internal/demo"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/internal/store/storetest"
)

// kept are the tables that a replay concerns, and those beside them that it must leave alone.
var kept = []string{"contacts", "contact_offers", "contact_cases", "callers", "episodes", "callbacks", "callback_contacts", "callback_tries", "reaches", "visits", "foreign_callbacks",
	"timeline", "recordings", "looks", "trail", "operator_states", "cases", "case_contacts", "case_steps", "case_keys", "submissions", "chats", "chat_messages", "chat_files",
	"app_submissions", "app_cases", "app_steps", "app_hooks", "outbox", "replays", "dead_letters"}

// rows of the tables as text, in an order that does not depend on how they came.
func rowsOf(t *testing.T, db *store.DB) map[string][]string {
	t.Helper()
	out := map[string][]string{}
	for _, table := range kept {
		rows, err := db.Query(t.Context(), "SELECT * FROM "+table)
		if err != nil {
			t.Fatal(err)
		}
		cols, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			vals, into := make([]any, len(cols)), make([]any, len(cols))
			for i := range vals {
				into[i] = &vals[i]
			}
			if err := rows.Scan(into...); err != nil {
				t.Fatal(err)
			}
			out[table] = append(out[table], fmt.Sprint(vals...))
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		slices.Sort(out[table])
	}
	return out
}

func unchanged(t *testing.T, what string, before, after map[string][]string) {
	t.Helper()
	for _, table := range kept {
		if slices.Equal(before[table], after[table]) {
			continue
		}
		t.Errorf("%s: %s had %d rows and has %d", what, table, len(before[table]), len(after[table]))
		shown := 0
		for _, r := range before[table] {
			if _, ok := slices.BinarySearch(after[table], r); !ok && shown < 2 {
				shown++
				t.Logf("gone: %.600s", r)
			}
		}
		for _, r := range after[table] {
			if _, ok := slices.BinarySearch(before[table], r); !ok && shown < 4 {
				shown++
				t.Logf("new:  %.600s", r)
			}
		}
	}
}

// receiver is an app's webhook: how often each came.
type receiver struct {
	mu  sync.Mutex
	ids map[string]int
	*httptest.Server
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{ids: map[string]int{}}
	r.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ids[req.Header.Get("webhook-id")]++
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) came() (webhooks, times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.ids {
		times += n
	}
	return len(r.ids), times
}

// talk puts a conversation into the log, as the chat's machine writes it.
func (h *hotline) talk(messages int) intake.ContactID {
	h.t.Helper()
	id := intake.ContactID(fmt.Sprintf("01935000-0000-7000-8000-%012d", messages))
	seq := intake.NewSequence(h.Epoch, 0)
	var events []intake.Event
	say := func(d intake.Data, who intake.Personal) {
		seq = seq.Next(h.Epoch)
		events = append(events, intake.Event{Source: h.Source, Subject: id.Subject(), Sequence: seq, Time: intake.Millis(time.Now()), PartitionKey: string(id), Data: d, Personal: who})
	}
	say(&intake.OfferedV1{Channel: intake.Chat, Line: "main", Switchboard: "main", Dedupe: "talk-" + string(id)}, intake.Personal{})
	for n := range messages {
		say(&intake.MessageV1{Number: n + 1, From: "resident", Dedupe: fmt.Sprint(n)}, intake.Personal{Text: pii.NewText(fmt.Sprintf("第 %d 句", n+1))})
	}
	say(&intake.EndedV1{Outcome: intake.LeftSilently}, intake.Personal{})
	if err := h.Log.Append(h.t.Context(), events...); err != nil {
		h.t.Fatal(err)
	}
	return id
}

// TestReplay: over three days of an office, read again by everybody, emptied before or not, everything is as it was: books, callbacks, audit log, cases, conversations,
// submissions; what is lost comes back; and nothing leaves the house a second time.
func TestReplay(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Public.Private = []string{"127.0.0.0/8"} // the webhook's receiver
	if at := storetest.Address(t, ""); store.IsPostgres(at) {
		c.Tables.Address = at
	}
	quiet := slog.New(slog.DiscardHandler)
	if err := demo.Prepare(t.Context(), c, 3, quiet, io.Discard); err != nil {
		t.Fatal(err)
	}
	hook := newReceiver(t)
	replay := func(t *testing.T, o app.ReplayOptions) (string, error) {
		t.Helper()
		var said strings.Builder
		s, err := app.OpenStore(t.Context(), c, app.StoreOptions{Logger: quiet}) // as the command line does
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		err = errors.Join(s.Replay(t.Context(), o, &said), s.Close())
		t.Logf("%+v: %s %v, %s", o, strings.TrimSpace(said.String()), err, time.Since(began).Round(time.Millisecond))
		return said.String(), err
	}
	lost := map[string]string{"books": "DELETE FROM contacts WHERE arrived % 7 = 0", "chat": "DELETE FROM chat_messages WHERE number = 3", "app": "DELETE FROM app_cases"}
	var before map[string][]string
	var webhooks, times int
	var talk intake.ContactID
	t.Run("beside", func(t *testing.T) {
		h := start(t, c)
		token, _, err := h.MakeAppToken(t.Context(), "test", time.Hour, app.AppKey{PerMinute: 1000, Webhook: hook.URL})
		if err != nil {
			t.Fatal(err)
		}
		const submissions = 12
		for i := range submissions {
			status, _, err := submit(t.Context(), h.URL(), token, fmt.Sprint("k", i), map[string]any{"text": fmt.Sprintf("第 %d 件：路灯不亮", i), "phone": fmt.Sprintf("138000%05d", i)})
			if err != nil || status != http.StatusCreated {
				t.Fatal(status, err)
			}
		}
		talk = h.talk(5)
		rows := func(db *store.DB, query string) (n int) {
			t.Helper()
			if err := db.QueryRow(t.Context(), query).Scan(&n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		settled := func() {
			t.Helper()
			waitFor(t, "everything to be read and told", 90*time.Second, func() bool {
				webhooks, _ := hook.came()
				return rows(h.DB, "SELECT COUNT(*) FROM app_cases") >= submissions && rows(h.DB, "SELECT COUNT(*) FROM chats WHERE over = 1") >= 1 && rows(h.DB, "SELECT COUNT(*) FROM app_hooks WHERE state = 0") == 0 &&
					webhooks >= submissions && rows(h.DB, "SELECT COUNT(*) FROM outbox") == 0 && h.read()
			})
			h.clean()
		}
		settled()
		// Webhooks that were delivered long ago are no longer known.
		if err := h.DB.Tx(t.Context(), func(tx *store.Tx) error {
			_, err := tx.ExecContext(t.Context(), "DELETE FROM app_hooks")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		before = rowsOf(t, h.DB)
		if n := len(before["contacts"]); n < 400 || len(before["callbacks"]) < 25 || len(before["app_steps"]) < submissions || len(before["chat_messages"]) != 5 {
			t.Fatalf("poor days: %d contacts, %d callbacks, %d steps", n, len(before["callbacks"]), len(before["app_steps"]))
		}
		audit := h.audit()
		webhooks, times = hook.came()
		check := func(what string) {
			t.Helper()
			waitFor(t, "everything to be read", 60*time.Second, h.read)
			unchanged(t, what, before, rowsOf(t, h.DB))
			if now := h.audit(); now != audit {
				t.Errorf("%s: the audit says\n%s\nand said\n%s", what, now, audit)
			}
			if w, n := hook.came(); w != webhooks || n != times {
				t.Errorf("%s: %d webhooks came %d times, before %d and %d", what, w, n, webhooks, times)
			}
		}
		for _, consumer := range []string{"books", "search", "cases", "chat", "app"} {
			for _, empty := range []bool{false, true} {
				if !empty && lost[consumer] != "" {
					continue // see below
				}
				said, err := replay(t, app.ReplayOptions{Consumer: consumer, Empty: empty})
				if empty && (consumer == "cases" || consumer == "chat") {
					if !errors.Is(err, app.ErrReplay) {
						t.Errorf("%s was emptied beside a running program: %v", consumer, err)
					}
				} else if err != nil || consumer != "search" && !strings.Contains(said, "done in") {
					t.Errorf("%s: %q, %v", consumer, said, err)
				}
				check(fmt.Sprintf("%s, emptied: %v", consumer, empty))
			}
		}
		if _, err := replay(t, app.ReplayOptions{Consumer: "books", Empty: true, From: time.Now()}); !errors.Is(err, app.ErrReplay) {
			t.Errorf("emptied, and read from the middle: %v", err)
		}
		if _, err := replay(t, app.ReplayOptions{Consumer: "fax"}); !errors.Is(err, app.ErrArgument) {
			t.Errorf("a consumer that is none: %v", err)
		}

		// What somebody deleted comes back.
		for consumer, q := range lost {
			if err := h.DB.Tx(t.Context(), func(tx *store.Tx) error {
				r, err := tx.ExecContext(t.Context(), q)
				if err != nil {
					return err
				}
				if n, _ := r.RowsAffected(); n == 0 {
					return fmt.Errorf("nothing was lost: %s", q)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if _, err := replay(t, app.ReplayOptions{Consumer: consumer}); err != nil {
				t.Fatal(err)
			}
			check("after " + q)
		}
	})

	// Without a program the positions are moved, and the next start reads on.
	for _, consumer := range []string{"books", "chat"} {
		said, err := replay(t, app.ReplayOptions{Consumer: consumer, Empty: true})
		if err != nil || !strings.Contains(said, "are read again when a yingda next reads") {
			t.Errorf("%s: %q, %v", consumer, said, err)
		}
	}
	h2 := start(t, c)
	waitFor(t, "the consumers to be done", 60*time.Second, h2.read)
	after := rowsOf(t, h2.DB)
	for table := range after { // the start itself was told
		if table == "timeline" || table == "trail" {
			continue
		}
		if !slices.Equal(before[table], after[table]) {
			t.Errorf("after a start: %s had %d rows and has %d", table, len(before[table]), len(after[table]))
		}
	}
	if n := h2.ChatMessages(t.Context(), talk); n != 5 {
		t.Errorf("%d messages of the conversation are there", n)
	}
	if w, n := hook.came(); w != webhooks || n != times {
		t.Errorf("%d webhooks came %d times, before %d and %d", w, n, webhooks, times)
	}
	h2.clean()
}

// read says whether no consumer reads anything again, and all have read everything.
func (h *hotline) read() bool {
	h.t.Helper()
	going, err := h.DB.Replaying(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	behind, err := h.Behind(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	return len(going) == 0 && behind == 0
}

// audit is what an audit says, without the time.
func (h *hotline) audit() string {
	h.t.Helper()
	r, err := h.Audit(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	r.AsOf = time.Time{}
	raw, err := json.Marshal(r)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(raw)
}

// TestReplayUnderLoad: the books of a month are emptied and read again while people phone. No call notices; the books only fall behind, and then agree with the stream.
func TestReplayUnderLoad(t *testing.T) {
	t.Parallel()
	data := fresh(t)
	var past strings.Builder
	for i := range 4000 { // of four hundred people, each lost ten times over a month
		past.WriteString(old(i, time.Date(2026, 10, 1, 0, i*10, 0, 0, time.UTC).Format(time.RFC3339), fmt.Sprintf("0512555%05d", i%400)))
	}
	tellWith(t, data, past.String(), "import", "events", "-").is(t, 0)
	s := newServed(t, data)
	s.start()
	s.audited()
	owed := func() (n int) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "yingda.db")+"?_pragma=busy_timeout(10000)&mode=ro")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if err := db.QueryRow("SELECT COUNT(*) FROM timeline WHERE type = 'callback.born.v1'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	contacts, born := len(s.contacts()), owed()
	trace := filepath.Join(t.TempDir(), "messages.log")
	phones := s.load(10, time.Second, trace)
	waitFor(t, "people phone", 20*time.Second, func() bool { return len(s.contacts()) > contacts+5 })
	for range 2 {
		tell(t, data, "replay", "--consumer", "books", "--from", "beginning", "--empty").is(t, 0, "calls go on", "done in")
	}
	_ = phones.cmd.Process.Signal(syscall.SIGUSR1)
	<-phones.done
	s.allEnded()
	must, _ := promised(t, trace)
	count := map[string]int{}
	for _, e := range s.contacts() {
		if e.SIPCallID != nil {
			count[*e.SIPCallID]++
		}
		if e.Outcome != nil && string(*e.Outcome) == string(intake.Interrupted) {
			t.Errorf("contact %s was taken for one that a crash had cut off", e.ID)
		}
	}
	for id := range must {
		if count[id] != 1 {
			t.Errorf("call %s got an answer and is in the books %d times", id, count[id])
		}
	}
	s.audited()
	// Those who phoned just now are owed a call, once each; of the month nobody is owed a second one.
	if n := owed() - born; n > len(must)+5 {
		t.Errorf("%d callbacks were born of %d calls", n, len(must))
	}
}

// TestDeadLettersBesideAServer: bytes that are no event, and an event that the tables refuse, are put aside, those behind them go on, and a person decides.
func TestDeadLettersBesideAServer(t *testing.T) {
	t.Parallel()
	data := fresh(t)
	tellWith(t, data, old(1, "2026-10-01T01:00:00Z", "051255501111")+old(2, "2026-10-01T02:00:00Z", "051255501112")+old(3, "2026-10-01T03:00:00Z", "051255501113"), "import", "events", "-").is(t, 0)
	db := func(file, query string, args ...any) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(data, file)+"?_pragma=busy_timeout(10000)")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(query, args...); err != nil {
			t.Fatal(err)
		}
	}
	const bad = "01935000-0000-7000-8000-000000000002"
	db("log.db", "INSERT INTO log (id, at, event) VALUES ('rubbish', 0, ?)", []byte("051255501119 \x00 rubbish"))
	db("yingda.db", "CREATE TRIGGER refuse BEFORE INSERT ON contacts WHEN NEW.id = '"+bad+"' BEGIN SELECT RAISE(ABORT, 'not this one'); END")
	tell(t, data, "dlq", "list").is(t, 0, "nothing was put aside")
	s := newServed(t, data)
	s.start()
	s.call("12345", 100*time.Millisecond) // behind them
	list := func() (list []struct {
		ID, Consumer, Reason string
		Attempts, Size       int
	}) {
		t.Helper()
		o := tell(t, data, "dlq", "list", "--json").is(t, 0)
		if err := json.Unmarshal([]byte(o.out), &list); err != nil {
			t.Fatalf("%v: %s", err, o.out)
		}
		return list
	}
	var refused []string // the offer and the end of one contact
	waitFor(t, "all to be put aside", 60*time.Second, func() bool {
		all := map[string]bool{}
		refused = nil
		for _, l := range list() {
			all[l.Consumer] = true
			if strings.Contains(l.Reason, "not this one") {
				refused = append(refused, l.ID)
			}
		}
		return len(refused) == 2 && len(all) == 5
	})
	slices.Sort(refused)
	waitFor(t, "the call behind them is in the books", 20*time.Second, func() bool { return len(s.contacts()) == 3 })
	metric := func(want string) {
		t.Helper()
		waitFor(t, want, 20*time.Second, func() bool {
			_, _, body := s.api("/metrics", "")
			return strings.Contains(body, "\nyingda_dead_letters "+want+"\n")
		})
	}
	letters := list()
	metric(fmt.Sprint(len(letters)))
	rubbish := ""
	for _, l := range letters {
		own := slices.Contains(refused, l.ID)
		if l.Consumer == "books" && !own {
			rubbish = l.ID
		}
		if own && l.Attempts < 2 {
			t.Errorf("it was given up at once: %+v", l)
		}
	}
	tell(t, data, "dlq", "list").is(t, 0, refused[0], refused[1], rubbish, "not this one", "!051255501119")
	tell(t, data, "dlq", "show", refused[0]).is(t, 0, refused[0], `"sealed"`, bad, "!051255501112")
	tell(t, data, "dlq", "show", refused[0], "--json").is(t, 0, `"sealed": true`, `"bytes":`)
	tell(t, data, "dlq", "show", rubbish).is(t, 0, rubbish, "--bytes", "!051255501119")
	tell(t, data, "dlq", "show", rubbish, "--bytes").is(t, 0, `051255501119 \x00 rubbish`)
	tell(t, data, "dlq", "show", "books/stream/0/99").is(t, 1, "no such dead letter")
	tell(t, data, "dlq", "drop", "books/stream/0/99").is(t, 1, "no such dead letter")
	tell(t, data, "dlq", "drop").is(t, 2)

	tell(t, data, "dlq", "retry", refused[0]).is(t, 1, "not this one") // nothing has changed yet
	db("yingda.db", "DROP TRIGGER refuse")
	tell(t, data, "dlq", "retry", refused[0], refused[1]).is(t, 0, "tried again")
	tell(t, data, "dlq", "show", refused[0]).is(t, 1, "no such dead letter")
	waitFor(t, "the contact is in the books", 20*time.Second, func() bool { return len(s.contacts()) == 4 })
	tell(t, data, "dlq", "retry", rubbish).is(t, 1, rubbish)
	for _, l := range list() {
		if l.ID == rubbish && l.Attempts != 2 {
			t.Errorf("tried again: %+v", l)
		}
		tell(t, data, "dlq", "drop", l.ID).is(t, 0, "dropped")
	}
	metric("0")
	s.kill()
	tell(t, data, "dlq", "list").is(t, 0, "nothing was put aside")
	tell(t, data, "replay").is(t, 2, "--consumer")
	tell(t, data, "replay", "--consumer", "books", "--from", "gestern").is(t, 2, "gestern")
	tell(t, data, "replay", "--consumer", "cases", "--from", "beginning", "--empty").is(t, 1, "cases live in the tables")
}
