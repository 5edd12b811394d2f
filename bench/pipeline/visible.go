package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the tables' server
	"github.com/segmentio/kafka-go"

	"yingda/bench/rig"
	"yingda/internal/app"
	"yingda/telephony/phonetest"
)

// What the load of visible is: of five callers four are answered by an operator's phone after half a second and hang up two seconds later, the fifth gives up before.
const (
	pickUp   = 500 * time.Millisecond
	talk     = 2 * time.Second
	giveUp   = 250 * time.Millisecond
	probe    = 50 * time.Millisecond // how often Elasticsearch is asked, which is how exact the figures are
	patience = 60 * time.Second      // after the last call; what cannot be found then is missing
)

// watch is what is known of the calls that have ended.
type watch struct {
	mu      sync.Mutex
	waiting map[string]waiting // by Call-ID as the index has it
	calls   map[string]hangup  // those that were found and count
	late    time.Duration      // how long after its time a call began, at most
	ends    map[string]int     // of all that were found, by outcome
	failed  []error            // of those that count
	early   int                // others that failed
}

// waiting is a call that has ended and was not found yet.
type waiting struct {
	at     time.Time // when the caller hung up
	counts bool
}

func (w *watch) ended(call string, at time.Time, counts bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting[key(call)] = waiting{at, counts}
}

// key is a Call-ID as the index has it.
func key(call string) string { return strings.ToLower(call) }

func (w *watch) began(late time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.late = max(w.late, late)
}

func (w *watch) fail(err error, counts bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !counts {
		w.early++
		return
	}
	w.failed = append(w.failed, err)
}

func (w *watch) open() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]string, 0, len(w.waiting))
	for id := range w.waiting {
		list = append(list, id)
	}
	return list
}

// visible measures, with the whole program as a process of its own on the real servers and so many calls a second coming in, how long after a caller has hung up a plain
// search of Elasticsearch finds the contact, ended and with its outcome. Nobody asks Elasticsearch to refresh.
func visible(ctx context.Context, v servers, rate float64, warm, last time.Duration, seats int, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "yingda-visible")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	bin, err := rig.Build(ctx, dir)
	if err != nil {
		return err
	}
	name := "v" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	tables, drop, err := database(ctx, v.postgres, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, drop()) }()
	defer func() { err = errors.Join(err, remove(ctx, v, name)) }()
	s := &rig.Server{Bin: bin, Data: filepath.Join(dir, "data"), HTTP: rig.FreeTCP(), SIP: rig.FreeUDP(), Config: filepath.Join(dir, "yingda.yaml"), Env: []string{
		"YINGDA_TABLES_ADDRESS=" + tables, "YINGDA_STREAM_KAFKA_BROKERS=" + v.kafka, "YINGDA_STREAM_KAFKA_TOPIC=" + name + ".intake",
		"YINGDA_STREAM_KAFKA_DEAD_LETTERS=" + name + ".dlq", "YINGDA_STREAM_KAFKA_GROUP_PREFIX=" + name + ".",
		"YINGDA_SEARCH_ELASTIC_ADDRESSES=" + v.elastic, "YINGDA_SEARCH_ELASTIC_INDEX=" + name}}
	if err := os.WriteFile(s.Config, []byte("trunks:\n  - name: carrier\n    allow: [\"127.0.0.2/32\"]\n"), 0o600); err != nil {
		return err
	}
	c, err := app.Load(s.Config, s.Env, map[string]any{"data": s.Data, "http.listen": s.HTTP, "sip.udp": s.SIP, "sip.tcp": ""})
	if err != nil {
		return err
	}
	desks, _, err := rig.Prepare(ctx, c, 1, seats)
	if err != nil {
		return err
	}
	if _, err := s.Start(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Stop()) }()
	for i, d := range desks {
		// An address of its own for each, since one address may not send as much as all of them.
		p, err := phonetest.New(phonetest.Config{Server: s.SIP, Local: fmt.Sprintf("127.0.1.%d:0", i%250+1), User: d.User, Password: d.Secret, NoAudio: true, OnCall: func(c *phonetest.Call) {
			c.Ring()
			select {
			case <-time.After(pickUp):
				c.Answer()
				<-c.Ended()
			case <-c.Ended():
			}
		}})
		if err != nil {
			return err
		}
		defer p.Close()
		if err := p.Register(ctx); err != nil {
			return err
		}
	}
	w, err := measureVisible(ctx, s, v.elastic+"/"+name, rate, warm, last, out)
	return errors.Join(err, stages(ctx, v.kafka, name+".intake", w.calls, out))
}

func measureVisible(ctx context.Context, s *rig.Server, index string, rate float64, warm, last time.Duration, out io.Writer) (*watch, error) {
	w := &watch{waiting: map[string]waiting{}, calls: map[string]hangup{}, ends: map[string]int{}}
	calls := int(rate * (warm + last).Seconds())
	looking, over := context.WithCancel(ctx)
	defer over()
	var all, looker sync.WaitGroup
	looker.Go(func() { w.look(looking, index) })
	begun := time.Now()
	var before map[string]float64
	for i := range calls {
		due := begun.Add(time.Duration(float64(i) / rate * float64(time.Second)))
		time.Sleep(time.Until(due))
		counts := due.Sub(begun) >= warm
		if counts && before == nil {
			before = cpu(s.Pid())
		}
		all.Go(func() {
			if counts {
				w.began(time.Since(due))
			}
			if err := w.call(s.SIP, i, counts); err != nil {
				w.fail(err, counts)
			}
		})
	}
	all.Wait()
	wall := time.Since(begun) - warm
	after := cpu(s.Pid())
	for limit := time.Now().Add(patience); len(w.open()) > 0 && time.Now().Before(limit); {
		time.Sleep(probe)
	}
	over()
	looker.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	found := 0
	for _, n := range w.ends {
		found += n
	}
	var took []float64
	for _, c := range w.calls {
		took = append(took, rig.Milliseconds(c.visible.Sub(c.at)))
	}
	_, _ = fmt.Fprintf(out, "BYE → visible in Elasticsearch: %d calls at %.0f a second, %d found, %d not within %s, %d failed (%d in the first %s); of %d after that: p50 %.0f ms, p95 %.0f ms, p99 %.0f ms, longest %.0f ms (asked every %s)\n",
		calls, rate, found, len(w.waiting), patience, len(w.failed)+w.early, w.early, warm, len(took), rig.At(took, 0.5), rig.At(took, 0.95), rig.At(took, 0.99), rig.At(took, 1), probe)
	_, _ = fmt.Fprintf(out, "  outcomes %v; no call began more than %.0f ms late\n", w.ends, rig.Milliseconds(w.late))
	for _, who := range []string{"yingda", "Kafka", "Elasticsearch", "PostgreSQL", "phones", others} {
		_, _ = fmt.Fprintf(out, "  %-14s %.0f %% of a core\n", who, 100*(after[who]-before[who])/wall.Seconds())
	}
	if len(w.failed) > 0 {
		return w, fmt.Errorf("%d calls failed, the first: %w", len(w.failed), w.failed[0])
	}
	if len(w.waiting) > 0 {
		return w, fmt.Errorf("%d calls cannot be found", len(w.waiting))
	}
	return w, nil
}

// call phones and hangs up.
func (w *watch) call(server string, n int, counts bool) error {
	p, err := phonetest.New(phonetest.Config{Server: server, Local: "127.0.0.2:0", User: fmt.Sprintf("1380000%04d", n%10000), NoAudio: true})
	if err != nil {
		return err
	}
	defer p.Close()
	c, err := p.Call("12345")
	if err != nil {
		return err
	}
	wait := pickUp + talk
	if n%5 == 4 {
		wait = giveUp
	}
	select {
	case <-time.After(wait):
	case <-c.Ended():
		return fmt.Errorf("a call ended with %d, %s", c.Status(), c.Why())
	}
	at := time.Now()
	c.Hangup()
	w.ended(c.ID, at, counts)
	<-c.Ended()
	return nil
}

// look asks for all that are waited for until ctx ends.
func (w *watch) look(ctx context.Context, index string) {
	for ctx.Err() == nil {
		list := w.open()
		for len(list) > 0 {
			part := list[:min(len(list), 1000)]
			list = list[len(part):]
			found, err := ended(ctx, index, part)
			now := time.Now()
			if err != nil && ctx.Err() == nil {
				w.fail(err, true)
			}
			w.mu.Lock()
			for id, outcome := range found {
				call, ok := w.waiting[id]
				if !ok {
					continue
				}
				if call.counts {
					w.calls[id] = hangup{call.at, now}
				}
				w.ends[outcome]++
				delete(w.waiting, id)
			}
			w.mu.Unlock()
		}
		select {
		case <-ctx.Done():
		case <-time.After(probe):
		}
	}
}

// ended gives those Call-IDs whose contacts a search finds ended, with their outcomes.
func ended(ctx context.Context, index string, calls []string) (map[string]string, error) {
	q, err := json.Marshal(map[string]any{"size": len(calls), "_source": []string{"id", "outcome"}, "query": map[string]any{"bool": map[string]any{"filter": []any{
		map[string]any{"terms": map[string]any{"id": calls}}, map[string]any{"term": map[string]any{"open": "n"}},
		map[string]any{"exists": map[string]any{"field": "outcome"}}}}}})
	if err != nil {
		return nil, err
	}
	answer, err := post(ctx, index+"/_search", "application/json", q)
	if err != nil {
		return nil, err
	}
	var a struct {
		Hits struct {
			Hits []struct {
				Source struct {
					ID      string // tokens with spaces between them
					Outcome string
				} `json:"_source"`
			}
		}
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, h := range a.Hits.Hits {
		for _, id := range strings.Fields(h.Source.ID) { // one of them is the Call-ID
			found[id] = h.Source.Outcome
		}
	}
	return found, nil
}

// remove takes index and topics away: servers that stay for the next measurement must not carry this one's.
func remove(ctx context.Context, v servers, name string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 20*time.Second)
	defer cancel()
	x, err := openIndex(v.elastic, name)
	if err == nil {
		err = errors.Join(x.Remove(ctx), x.Close())
	}
	k := &kafka.Client{Addr: kafka.TCP(v.kafka)}
	_, gone := k.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{name + ".intake", name + ".dlq"}})
	return errors.Join(err, gone)
}

// database makes one of this name, and gives its address and how it is dropped.
func database(ctx context.Context, server, name string) (string, func() error, error) {
	u, err := url.Parse(server)
	if err != nil {
		return "", nil, err
	}
	admin, err := sql.Open("pgx", u.String())
	if err != nil {
		return "", nil, err
	}
	if _, err := admin.ExecContext(ctx, "CREATE DATABASE "+name); err != nil {
		return "", nil, errors.Join(err, admin.Close())
	}
	u.Path = "/" + name
	return u.String(), func() error {
		_, err := admin.ExecContext(context.WithoutCancel(ctx), "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)")
		return errors.Join(err, admin.Close())
	}, nil
}
