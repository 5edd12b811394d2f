//go:build services

package elastic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/search"
	"yingda/search/searchtest"
)

func events(t testing.TB, items int) []intake.Event {
	t.Helper()
	s, err := searchtest.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return searchtest.Set{Items: s.Items[:items]}.Events()
}

// consume brings events into an index as a reader of the stream does: from its position on, some at a time, and from its position again when it
// was exchanged.
func consume(ctx context.Context, x *Index, events []intake.Event, batch int, each func(at int)) error {
	for ctx.Err() == nil {
		at, err := x.Position(ctx)
		if err != nil { // as a consumer does: it is tried again for ever
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
			continue
		}
		from := 0
		if len(at) == 1 {
			from = int(at[0].Offset) + 1
		}
		for from < len(events) && err == nil {
			end := min(from+batch, len(events))
			if err = x.Apply(ctx, events[from:end], search.Position{Offset: int64(end - 1)}); err == nil {
				from = end
				if each != nil {
					each(from)
				}
			}
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, ErrMoved) {
			return err
		}
	}
	return ctx.Err()
}

// agree compares the index with the fold of the events.
func agree(t testing.TB, x *Index, events []intake.Event) {
	t.Helper()
	want := map[intake.Subject]search.Document{}
	for _, e := range events {
		d := want[e.Subject]
		search.Apply(&d, e)
		want[e.Subject] = d
	}
	if err := x.flush(context.Background(), x.alias); err != nil { // another may have written
		t.Fatal(err)
	}
	if n, err := x.Count(context.Background(), search.Query{}); err != nil || n != len(want) {
		t.Errorf("%d documents (%v), want %d", n, err, len(want))
	}
	var ids []intake.Subject
	for id := range want {
		ids = append(ids, id)
	}
	got, err := x.fetch(context.Background(), x.alias, ids)
	if err != nil {
		t.Fatal(err)
	}
	for id, doc := range want {
		if !reflect.DeepEqual(got[id], doc) {
			t.Fatalf("%s: %+v, want %+v", id, got[id], doc)
		}
	}
	at, err := x.Position(context.Background())
	if err != nil || len(at) != 1 || at[0].Offset != int64(len(events)-1) {
		t.Errorf("position %v (%v), want %d", at, err, len(events)-1)
	}
}

// Whatever happens to the server in the middle: Apply waits, says so, and nothing is missing or double afterwards.
func TestFaults(t *testing.T) {
	all := events(t, 250)
	for _, fault := range []struct {
		name       string
		make, mend func(t *testing.T, c Config)
		waits      bool // Apply must be seen waiting
	}{
		{"stopped and started again",
			func(t *testing.T, _ Config) { service(t, "down") },
			func(t *testing.T, _ Config) { service(t, "up") }, true},
		{"killed",
			func(t *testing.T, _ Config) { service(t, "kill") },
			func(t *testing.T, _ Config) { service(t, "up") }, true},
		{"read only",
			func(t *testing.T, c Config) { block(t, c, "read_only_allow_delete", true) },
			func(t *testing.T, c Config) { block(t, c, "read_only_allow_delete", nil) }, true},
		{"no writing",
			func(t *testing.T, c Config) { block(t, c, "write", true) },
			func(t *testing.T, c Config) { block(t, c, "write", nil) }, true},
		{"index removed", func(t *testing.T, c Config) {
			ask(t, c, http.MethodDelete, "/"+c.Index+firstGeneration, nil, nil)
		}, func(*testing.T, Config) {}, false},
	} {
		t.Run(fault.name, func(t *testing.T) {
			c := named(t)
			x := open(t, c, Options{Pause: 10 * time.Millisecond})
			half := make(chan struct{})
			goOn := make(chan struct{})
			done := make(chan error, 1)
			var once sync.Once
			go func() {
				done <- consume(t.Context(), x, all, 40, func(at int) {
					if at > len(all)/2 {
						once.Do(func() { close(half); <-goOn })
					}
				})
			}()
			<-half
			fault.make(t, c)
			close(goOn)
			if fault.waits {
				eventually(t, "Trouble", func() bool {
					select {
					case err := <-done:
						t.Fatalf("it did not wait: %v", err)
					default:
					}
					since, err := x.Trouble()
					return !since.IsZero() && err != nil
				})
				ctx, cancel := context.WithTimeout(t.Context(), 15*time.Second)
				if _, err := x.Search(ctx, search.Query{Text: "路灯"}); err != nil && ctx.Err() != nil {
					t.Errorf("a search meanwhile hangs: %v", err)
				}
				cancel()
				select {
				case err := <-done:
					t.Fatalf("it did not wait: %v", err)
				default:
				}
			}
			fault.mend(t, c)
			if err := <-done; err != nil {
				t.Fatal(err)
			}
			if since, err := x.Trouble(); !since.IsZero() {
				t.Errorf("still in trouble: %v", err)
			}
			agree(t, x, all)
		})
	}
}

func block(t *testing.T, c Config, what string, v any) {
	t.Helper()
	ask(t, c, http.MethodPut, "/"+c.Index+"/_settings", obj{"index.blocks." + what: v}, nil)
}

func allocation(t *testing.T, c Config, v any) {
	t.Helper()
	ask(t, c, http.MethodPut, "/_cluster/settings", obj{"persistent": obj{"cluster.routing.allocation.enable": v}}, nil)
}

// Red: no node has the primary shard. (An index is made so, since closing and opening one moves its shard about by itself.)
func TestARedIndexIsWaitedFor(t *testing.T) {
	all := events(t, 100)
	c := named(t)
	x := open(t, c, Options{Pause: 10 * time.Millisecond})
	t.Cleanup(func() { allocation(t, c, nil) })
	allocation(t, c, "none")
	made := x.template(extras{})["template"].(obj)
	made["aliases"] = obj{c.Index: obj{}}
	ask(t, c, http.MethodPut, "/"+c.Index+firstGeneration+"?wait_for_active_shards=0", made, nil)
	var health struct{ Status string }
	ask(t, c, http.MethodGet, "/_cluster/health/"+c.Index, nil, &health)
	if health.Status != "red" {
		t.Fatalf("the index is %s, want red", health.Status)
	}
	done := make(chan error, 1)
	go func() { done <- x.Apply(t.Context(), all[:40], search.Position{Offset: 39}) }()
	eventually(t, "Trouble", func() bool { since, err := x.Trouble(); return !since.IsZero() && err != nil })
	if _, err := x.Search(t.Context(), search.Query{Text: "路灯"}); err == nil {
		t.Error("a search of an index without shards says that there is nothing")
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	allocation(t, c, nil)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if err := consume(t.Context(), x, all, 40, nil); err != nil {
		t.Fatal(err)
	}
	agree(t, x, all)
}

// rejecting stands before the server and answers 429 for a share of the items of each _bulk, now and then for all of it and 503 for others.
func rejecting(t *testing.T, to string) (url string, rejected *atomic.Int64) {
	t.Helper()
	var n atomic.Int64
	rejected = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		seen := n.Add(1)
		w.Header().Set("X-Elastic-Product", "Elasticsearch")
		bulk := strings.HasSuffix(r.URL.Path, "/_bulk")
		if bulk && seen%5 == 0 || seen%7 == 0 {
			rejected.Add(1)
			w.WriteHeader([]int{429, 503}[seen%2])
			_, _ = io.WriteString(w, `{"error":{"type":"es_rejected_execution_exception","reason":"queue is full"}}`)
			return
		}
		var keep [][]byte
		var refused []bool
		if bulk {
			lines := bytes.Split(bytes.TrimSpace(body), []byte("\n"))
			for i := 0; i+1 < len(lines); i += 2 {
				no := (int(seen)+i/2)%3 == 0
				refused = append(refused, no)
				if !no {
					keep = append(keep, lines[i], lines[i+1])
				}
			}
			body = append(bytes.Join(keep, []byte("\n")), '\n')
		}
		var items []json.RawMessage
		if !bulk || len(keep) > 0 {
			out, _ := http.NewRequestWithContext(r.Context(), r.Method, to+r.URL.RequestURI(), bytes.NewReader(body))
			out.Header = r.Header.Clone()
			out.Header.Del("Accept-Encoding") // what comes back is looked into
			res, err := http.DefaultClient.Do(out)
			if err != nil {
				w.WriteHeader(502)
				return
			}
			defer func() { _ = res.Body.Close() }()
			answer, _ := io.ReadAll(res.Body)
			if !bulk || res.StatusCode != 200 {
				w.WriteHeader(res.StatusCode)
				_, _ = w.Write(answer)
				return
			}
			var a struct{ Items []json.RawMessage }
			if err := json.Unmarshal(answer, &a); err != nil {
				t.Error(err)
			}
			items = a.Items
		}
		var merged []json.RawMessage
		for _, no := range refused {
			if no {
				rejected.Add(1)
				merged = append(merged, json.RawMessage(`{"index":{"status":429,"error":{"type":"es_rejected_execution_exception","reason":"rejected execution of primary operation"}}}`))
			} else {
				merged, items = append(merged, items[0]), items[1:]
			}
		}
		_ = json.NewEncoder(w).Encode(obj{"errors": true, "items": merged})
	}))
	t.Cleanup(s.Close)
	return s.URL, rejected
}

func TestRejectedItemsAreSentAgainAndNoOthers(t *testing.T) {
	all := events(t, 200)
	c := named(t)
	direct := open(t, c, Options{})
	var rejected *atomic.Int64
	c.Addresses[0], rejected = rejecting(t, c.Addresses[0])
	x := open(t, c, Options{Pause: time.Millisecond})
	if err := consume(t.Context(), x, all, 60, nil); err != nil {
		t.Fatal(err)
	}
	if rejected.Load() < 50 {
		t.Errorf("only %d were rejected", rejected.Load())
	}
	agree(t, direct, all)
	var docs struct {
		Hits struct {
			Hits []struct {
				ID      string `json:"_id"`
				Version uint64 `json:"_version"`
			}
		}
	}
	ask(t, c, http.MethodPost, "/"+c.Index+"/_search", obj{"version": true, "size": 1000, "query": oneOf(fieldKind, []string{"contact", "case"})}, &docs)
	for _, h := range docs.Hits.Hits { // the version is the sequence: no write that Elasticsearch counted by itself
		if d, _, err := direct.Get(t.Context(), intake.Subject(h.ID)); err != nil || d.Version() != h.Version {
			t.Errorf("%s has version %d and sequence %d (%v)", h.ID, h.Version, d.Sequence, err)
		}
	}
}

func TestWhatCanNeverBeTakenGoesToTheDeadLetters(t *testing.T) {
	all := events(t, 60)
	long := all[0]
	long.Data = &intake.OfferedV1{Channel: intake.App, Line: "1"}
	long.Subject = intake.Subject("contact/" + strings.Repeat("x", 600)) // Elasticsearch takes 512 bytes, and refuses the whole request for it
	strange := all[1]
	strange.Subject, strange.Sequence, strange.Data = "contact/strange", 7, &intake.OfferedV1{Channel: intake.App, Line: "1"}
	strange.Time = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC) // JSON has no year of five digits
	var records []stream.Record
	for i, e := range append([]intake.Event{long, strange}, all...) {
		records = append(records, stream.Record{Position: stream.Position{Offset: int64(i)}, Event: e, Raw: []byte(fmt.Sprint("raw ", i))})
	}
	var letters []Letter
	x := open(t, named(t), Options{DeadLetter: func(_ context.Context, l Letter) error { letters = append(letters, l); return nil }})
	if err := x.ApplyRecords(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	if n, err := x.Count(t.Context(), search.Query{}); err != nil || n != 60 {
		t.Errorf("%d documents (%v), want 60", n, err)
	}
	if at, err := x.Position(t.Context()); err != nil || len(at) != 1 || at[0].Offset != int64(len(records)-1) {
		t.Errorf("position %v (%v)", at, err)
	}
	raw := map[string]Letter{}
	for _, l := range letters {
		raw[string(l.Record.Raw)] = l
	}
	if len(letters) != 2 || raw["raw 0"].Status != 400 || raw["raw 1"].Reason == "" {
		t.Errorf("%d dead letters: %d %s; %d %s", len(letters), raw["raw 0"].Status, raw["raw 0"].Reason, raw["raw 1"].Status, raw["raw 1"].Reason)
	}
	full := errors.New("the topic is full")
	x = open(t, named(t), Options{DeadLetter: func(context.Context, Letter) error { return full }})
	if err := x.ApplyRecords(t.Context(), records); !errors.Is(err, full) {
		t.Errorf("a letter that cannot be put aside: %v", err)
	}
	if at, err := x.Position(t.Context()); err != nil || len(at) != 0 {
		t.Errorf("position %v (%v), want none", at, err)
	}
}

// While some documents are written the next are made. When those were not taken as thought (the index has newer ones, or can never take them), the next are not what was made of them.
func TestWhatIsMadeAheadIsMadeAgain(t *testing.T) {
	all := events(t, 250)
	c := named(t)
	other := open(t, c, Options{})
	if err := other.Apply(t.Context(), all[:len(all)/2], search.Position{Offset: int64(len(all)/2 - 1)}); err != nil {
		t.Fatal(err)
	}
	x := open(t, c, Options{})
	x.some = 3
	if err := x.Apply(t.Context(), all, search.Position{Offset: int64(len(all) - 1)}); err != nil {
		t.Fatal(err)
	}
	agree(t, x, all)
	// The first event makes a document that cannot be written; the second is of the same and can.
	first, second := all[0], all[0]
	first.Subject, first.Sequence, first.Data = "contact/strange", intake.NewSequence(1, 1), &intake.OfferedV1{Channel: intake.Chat, Line: "1"}
	first.Time = time.Date(12026, 1, 1, 0, 0, 0, 0, time.UTC)
	second.Subject, second.Sequence, second.Data = first.Subject, intake.NewSequence(1, 2), &intake.MessageV1{From: "resident", Number: 1}
	second.Personal = intake.PersonalJSON{Text: "路灯不亮"}.Conceal()
	var letters []Letter
	x = open(t, c, Options{DeadLetter: func(_ context.Context, l Letter) error { letters = append(letters, l); return nil }})
	x.some = 1
	at := int64(len(all))
	if err := x.ApplyRecords(t.Context(), []stream.Record{{Position: stream.Position{Offset: at}, Event: first}, {Position: stream.Position{Offset: at + 1}, Event: second}}); err != nil {
		t.Fatal(err)
	}
	d, found, err := x.Get(t.Context(), first.Subject)
	if err != nil || !found || len(d.Words) != 1 || len(letters) != 1 || letters[0].Record.Event.Sequence != first.Sequence {
		t.Errorf("found %v (%v) with %d words; %d dead letters", found, err, len(d.Words), len(letters))
	}
	// Between these two another has written, so that the document is read: not before the first of them is written.
	var gaps []intake.Event
	for i := range 100 {
		first.Subject, second.Subject = intake.Subject(fmt.Sprint("contact/gap", i)), intake.Subject(fmt.Sprint("contact/gap", i))
		first.Time, second.Sequence = second.Time, intake.NewSequence(1, 3)
		gaps = append(gaps, first, second)
	}
	if err := x.Apply(t.Context(), gaps, search.Position{Offset: at + 2 + int64(len(gaps))}); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		if d, _, err := x.Get(t.Context(), gaps[2*i].Subject); err != nil || d.Channel != intake.Chat || len(d.Words) != 2 {
			t.Fatalf("%s came by %q with %d words (%v)", d.ID, d.Channel, len(d.Words), err)
		}
	}
}

// A node that had a partition, lost it and has it again must not fold upon what it remembers.
func TestAnotherNodeWritesInBetween(t *testing.T) {
	c := named(t)
	one, other := open(t, c, Options{}), open(t, c, Options{})
	tell := func(n uint32, text string) intake.Event {
		e := intake.Event{Source: "t", Subject: "contact/1", Sequence: intake.NewSequence(1, n), Time: time.Unix(1e9, 0), PartitionKey: "k", Data: &intake.MessageV1{From: "resident", Number: int(n)}, Personal: intake.PersonalJSON{Text: text}.Conceal()}
		if n == 1 {
			e.Data = &intake.OfferedV1{Channel: intake.Chat, Line: "1"}
		}
		return e
	}
	for i, step := range []struct {
		x *Index
		e intake.Event
	}{{one, tell(1, "一")}, {one, tell(2, "二")}, {other, tell(3, "三")}, {one, tell(4, "四")}, {other, tell(4, "四")}, {other, tell(5, "五")}, {one, tell(3, "三")}, {one, tell(6, "六")}} {
		if err := step.x.Apply(t.Context(), []intake.Event{step.e}, search.Position{Offset: int64(i)}); err != nil {
			t.Fatal(err)
		}
	}
	d, _, err := one.Get(t.Context(), "contact/1")
	said := ""
	for _, w := range d.Words {
		said += w.Reveal()
	}
	if err != nil || said != "一二三四五六" {
		t.Errorf("the document says %q (%v)", said, err)
	}
}
