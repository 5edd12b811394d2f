package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"

	"yingda/intake"
)

// idRoom is how many bytes of a message of the peer's topic are the document's id and spaces; the rest is the document. So rsyslog need not read JSON to know either.
const idRoom = 48

// besides measures, by turns in one run, our way from Kafka to Elasticsearch and two of rsyslog (its modules imkafka, mmjsonparse and omelasticsearch):
//
// "events" is the job as a stream processor that knows nothing of us does it: a topic with the same events, in the clear, each read as JSON, its fields put into a document of its own,
// which is what can be done without folding. "documents" is much less than the job: a topic with the documents that ours makes, ready, to be written as they are into an
// index of the same kind as ours.
func besides(ctx context.Context, broker, server string, items, rounds int, out io.Writer) (err error) {
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		return errors.New("rsyslogd is missing; install it with: sudo apt-get install rsyslog rsyslog-kafka rsyslog-elasticsearch")
	}
	r, err := fillTopic(ctx, broker, server, items, out)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.log.Close()) }()
	documents, err := r.fill(ctx, broker, r.readyDocuments)
	if err != nil {
		return err
	}
	clear, err := indexEvents(items)
	if err != nil {
		return err
	}
	events, err := r.fill(ctx, broker, func(send func([]kafka.Message) error) error { return clearEvents(clear, send) })
	if err != nil {
		return err
	}
	r.bodies, clear = nil, nil
	_, _ = fmt.Fprintf(out, "Kafka → Elasticsearch beside rsyslog: %d events of %d contacts and cases, of which ours makes %d document writes\n", r.events, r.docs, r.writes)
	var ours, toEvents, toDocuments []float64
	for round := range rounds + 1 { // the first warms the server up
		name := func(what string) string { return fmt.Sprintf("bench-%s-%d-%d", what, os.Getpid(), round) }
		took, err := r.consume(ctx, name("ours"))
		if err != nil {
			return err
		}
		simple, err := r.rsyslog(ctx, peer{broker: broker, topic: events, index: name("events"), messages: r.events, config: eventsConfig, mapping: eventsMapping})
		if err != nil {
			return err
		}
		ready, err := r.rsyslog(ctx, peer{broker: broker, topic: documents, index: name("documents"), messages: r.writes, config: documentsConfig})
		if err != nil {
			return err
		}
		if round == 0 {
			continue
		}
		rate := func(d time.Duration) float64 { return float64(r.events) / d.Seconds() }
		a, b, c := rate(took), rate(simple), rate(ready)
		_, _ = fmt.Fprintf(out, "  round %d: ours %.0f events/s; rsyslog: events %.0f (ratio %.2f), documents as if of %.0f (ratio %.2f)\n", round, a, b, a/b, c, a/c)
		ours, toEvents, toDocuments = append(ours, a), append(toEvents, a/b), append(toDocuments, a/c)
	}
	_, _ = fmt.Fprintf(out, "Kafka → Elasticsearch beside rsyslog: medians of %d rounds: ours %.0f events/s, %.2f of its events, %.2f of its documents\n", rounds, middle(ours), middle(toEvents), middle(toDocuments))
	return nil
}

// fill makes a topic with as many partitions as ours and what make sends.
func (r *indexRun) fill(ctx context.Context, broker string, make func(send func([]kafka.Message) error) error) (string, error) {
	topic := "bench.peer." + uuid.NewString()
	client := &kafka.Client{Addr: kafka.TCP(broker)}
	made, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: 12, ReplicationFactor: 1}}})
	if err == nil {
		err = made.Errors[topic]
	}
	if err != nil {
		return "", err
	}
	w := &kafka.Writer{Addr: kafka.TCP(broker), Topic: topic, Balancer: kafka.Murmur2Balancer{}, BatchSize: 1000, BatchBytes: 4 << 20, BatchTimeout: 5 * time.Millisecond, RequiredAcks: kafka.RequireAll}
	err = make(func(list []kafka.Message) error { return w.WriteMessages(ctx, list...) })
	return topic, errors.Join(err, w.Close())
}

// readyDocuments are those that ours writes.
func (r *indexRun) readyDocuments(send func([]kafka.Message) error) error {
	x, err := openIndex(r.server, "bench-documents")
	if err != nil {
		return err
	}
	for _, b := range r.bodies {
		body, err := x.Bulk(b.changed)
		if err != nil {
			return errors.Join(err, x.Close())
		}
		var list []kafka.Message
		lines := bytes.Split(bytes.TrimSuffix(body, []byte("\n")), []byte("\n")) // an action, a document, an action …
		for i, d := range b.changed {
			list = append(list, kafka.Message{Key: []byte(d.ID), Value: append(fmt.Appendf(nil, "%-*s", idRoom, d.ID), lines[2*i+1]...)})
		}
		if err := send(list); err != nil {
			return errors.Join(err, x.Close())
		}
	}
	return x.Close()
}

// clearEvents are the same events as anybody would write them.
func clearEvents(events []intake.Event, send func([]kafka.Message) error) error {
	for part := range slices.Chunk(events, 1000) {
		var list []kafka.Message
		for _, e := range part {
			raw, err := json.Marshal(map[string]any{"id": e.ID(), "type": e.Type(), "subject": e.Subject, "time": e.Time, "data": e.Data, "personal": e.Personal.Reveal()})
			if err != nil {
				return err
			}
			list = append(list, kafka.Message{Key: []byte(e.PartitionKey), Value: raw})
		}
		if err := send(list); err != nil {
			return err
		}
	}
	return nil
}

// peer is one run of rsyslog.
type peer struct {
	broker, topic, index string
	messages             int
	config               string // the template "document", the template "id", and what makes them
	mapping              string // of the index; empty: ours
}

const rsyslogConfig = `
module(load="imkafka")
module(load="omelasticsearch")
module(load="mmjsonparse")
global(workDirectory="%[1]s" maxMessageSize="256k")
input(type="imkafka" topic="%[2]s" broker="%[3]s" consumergroup="%[4]s" ruleset="write" confParam=["auto.offset.reset=earliest"])
%[7]s
  action(type="omelasticsearch" server="%[5]s" serverport="%[6]s" esVersion.major="8" searchIndex="%[4]s" template="document" dynBulkId="on" bulkId="id" bulkmode="on" maxbytes="5m"
    errorFile="%[1]s/errors" action.resumeRetryCount="-1")
}
`

const writeRules = `ruleset(name="write" queue.type="LinkedList" queue.size="20000" queue.dequeueBatchSize="1000" queue.workerThreads="2" queue.workerThreadMinimumMessages="1000") {
`

const documentsConfig = `template(name="document" type="list") { property(name="rawmsg" position.from="49") }
template(name="id" type="list") { property(name="rawmsg" field.number="1" field.delimiter="32") }
` + writeRules

const eventsConfig = `template(name="document" type="list" option.jsonf="on") {
  property(outname="subject" name="$!subject" format="jsonf")
  property(outname="type" name="$!type" format="jsonf")
  property(outname="time" name="$!time" format="jsonf")
  property(outname="channel" name="$!data!channel" format="jsonf")
  property(outname="line" name="$!data!line" format="jsonf")
  property(outname="operator" name="$!data!operator" format="jsonf")
  property(outname="outcome" name="$!data!outcome" format="jsonf")
  property(outname="number" name="$!personal!number" format="jsonf")
  property(outname="name" name="$!personal!name" format="jsonf")
  property(outname="address" name="$!personal!address" format="jsonf")
  property(outname="text" name="$!personal!text" format="jsonf")
}
template(name="id" type="list") { property(name="$!id") }
` + writeRules + `  action(type="mmjsonparse" cookie="" useRawMsg="on")
`

const eventsMapping = `{"settings":{"index":{"number_of_shards":1,"number_of_replicas":0,"refresh_interval":"1s"}},"mappings":{"dynamic":"strict","properties":{
  "subject":{"type":"keyword"},"type":{"type":"keyword"},"time":{"type":"date"},"channel":{"type":"keyword"},"line":{"type":"keyword"},"operator":{"type":"keyword"},"outcome":{"type":"keyword"},
  "number":{"type":"keyword"},"name":{"type":"text","analyzer":"cjk"},"address":{"type":"text","analyzer":"cjk"},"text":{"type":"text","analyzer":"cjk"}}}}`

// rsyslog gives how long it takes from the first document that it has written until all can be found; how long it takes to begin does not count.
func (r *indexRun) rsyslog(ctx context.Context, p peer) (took time.Duration, err error) {
	at := r.server + "/" + p.index
	if p.mapping == "" {
		x, err := openIndex(r.server, p.index)
		if err != nil {
			return 0, err
		}
		_, err = x.Position(ctx) // makes the index
		if err := errors.Join(err, x.Close()); err != nil {
			return 0, err
		}
		at += ".g0"
	} else if _, err := send(ctx, http.MethodPut, at, "application/json", []byte(p.mapping)); err != nil {
		return 0, err
	}
	defer func() {
		_, gone := send(ctx, http.MethodDelete, at, "", nil)
		err = errors.Join(err, gone)
	}()
	dir, err := os.MkdirTemp("", "yingda-rsyslog")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	u, err := url.Parse(r.server)
	if err != nil {
		return 0, err
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		return 0, err
	}
	file := filepath.Join(dir, "rsyslog.conf")
	if err := os.WriteFile(file, fmt.Appendf(nil, rsyslogConfig, dir, p.topic, p.broker, p.index, host, port, p.config), 0o600); err != nil {
		return 0, err
	}
	running, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	cmd := exec.CommandContext(running, "rsyslogd", "-n", "-f", file, "-i", filepath.Join(dir, "pid"))
	cmd.Stderr = os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { stop(); _ = cmd.Wait() }()
	var begun time.Time
	already := 0
	for {
		n, err := written(ctx, at)
		if err != nil {
			return 0, err
		}
		if n > 0 && begun.IsZero() {
			begun, already = time.Now(), n
		}
		if n >= p.messages {
			break
		}
		if running.Err() != nil {
			errs, _ := os.ReadFile(filepath.Join(dir, "errors"))
			return 0, fmt.Errorf("rsyslog has written %d of %d documents in two minutes: %.500s", n, p.messages, errs)
		}
		time.Sleep(10 * time.Millisecond)
	}
	if _, err := post(ctx, at+"/_refresh", "application/json", nil); err != nil {
		return 0, err
	}
	took = time.Since(begun)
	return took * time.Duration(p.messages) / time.Duration(p.messages-already), r.all(ctx, p, at)
}

// all says what is wrong when not everything can be found.
func (r *indexRun) all(ctx context.Context, p peer, at string) error {
	want := p.messages
	if p.mapping == "" {
		want = r.docs
	}
	answer, err := send(ctx, http.MethodGet, at+"/_count", "", nil)
	var found struct{ Count int }
	if err == nil {
		err = json.Unmarshal(answer, &found)
	}
	if err == nil && found.Count != want {
		err = fmt.Errorf("%d documents of rsyslog are found, want %d", found.Count, want)
	}
	return err
}

// written is how many documents an index has taken, found already or not.
func written(ctx context.Context, index string) (int, error) {
	answer, err := send(ctx, http.MethodGet, index+"/_stats/indexing?filter_path=_all.primaries.indexing.index_total", "", nil)
	if err != nil {
		return 0, err
	}
	var s struct {
		All struct {
			Primaries struct {
				Indexing struct {
					Total int `json:"index_total"`
				}
			}
		} `json:"_all"`
	}
	err = json.Unmarshal(answer, &s)
	return s.All.Primaries.Indexing.Total, err
}
