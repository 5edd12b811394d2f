package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"yingda/bench/rig"
	"yingda/intake"
	"yingda/intake/stream"
	"yingda/intake/stream/kafka"
	"yingda/intake/wire"
	"yingda/search"
	"yingda/search/elastic"
	"yingda/search/searchtest"
)

// months is a secret for each month, as the store would keep it.
type months struct{}

// Month is wire.Keys'.
func (months) Month(month string) ([]byte, error) {
	sum := sha256.Sum256([]byte("bench " + month))
	return sum[:], nil
}

// indexBatch is how many events the consumer of the program reads at once from a stream that is ahead of it.
const indexBatch = elastic.Batch

// plainBatch is how many documents plain _bulk sends at once, which is where it is fastest.
const plainBatch = 1000

// indexRun is one measurement of the way from Kafka to Elasticsearch.
type indexRun struct {
	server string // of Elasticsearch
	codec  *wire.Codec
	log    *kafka.Log
	events int
	bodies []plainBody // the same document writes, in the stream's order
	docs   int         // documents at the end
	writes int         // how often one is written on the way there
}

// plainBody is what one batch of events makes of documents.
type plainBody struct{ changed []search.Document }

// kafkaToIndex measures, by turns in one run: a topic with sealed events read, opened, folded, cut and written as the program's search consumer does it, until all can
// be found; and beside it two ceilings with the same document writes, each with one and with two senders, of which the faster counts: "of documents" cuts and encodes
// documents that are in memory while it sends them as plain _bulk, "of bytes" sends request bodies that were made before, which costs the sender nothing at all.
func kafkaToIndex(ctx context.Context, broker, server string, items, rounds int, out io.Writer) (err error) {
	r, err := fillTopic(ctx, broker, server, items)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.log.Close()) }()
	_, _ = fmt.Fprintf(out, "Kafka → Elasticsearch: %d events of %d contacts and cases, %d document writes, batches of up to %d\n", r.events, r.docs, r.writes, indexBatch)
	r.bodies = nil
	var stream, memory, ready, toMemory, toReady []float64
	for round := range rounds + 1 { // the first warms the server up
		ours, err := r.consume(ctx, fmt.Sprintf("bench-stream-%d-%d", os.Getpid(), round))
		if err != nil {
			return err
		}
		if err := r.foldAll(ctx); err != nil {
			return err
		}
		var ceiling [2]time.Duration
		for _, senders := range []int{1, 2} {
			for i, made := range []bool{false, true} {
				took, err := r.plain(ctx, fmt.Sprintf("bench-plain-%d-%d-%d-%d", os.Getpid(), round, senders, i), senders, made)
				if err != nil {
					return err
				}
				if ceiling[i] == 0 || took < ceiling[i] {
					ceiling[i] = took
				}
			}
		}
		r.bodies = nil // or the collector would look through them while ours is measured
		if round == 0 {
			continue
		}
		rate := func(d time.Duration) float64 { return float64(r.events) / d.Seconds() }
		a, b, c := rate(ours), rate(ceiling[0]), rate(ceiling[1])
		_, _ = fmt.Fprintf(out, "  round %d: Kafka → Elasticsearch %.0f events/s; plain _bulk of documents %.0f (ratio %.2f), of bytes %.0f (ratio %.2f)\n", round, a, b, a/b, c, a/c)
		stream, memory, ready, toMemory, toReady = append(stream, a), append(memory, b), append(ready, c), append(toMemory, a/b), append(toReady, a/c)
	}
	_, _ = fmt.Fprintf(out, "Kafka → Elasticsearch: medians of %d rounds: %.0f events/s; plain _bulk of documents in memory %.0f (ratio %.2f), of bytes in memory %.0f (ratio %.2f)\n",
		rounds, rig.At(stream, 0.5), rig.At(memory, 0.5), rig.At(toMemory, 0.5), rig.At(ready, 0.5), rig.At(toReady, 0.5))
	return nil
}

// fillTopic makes a topic with the sealed events of so many contacts and cases, and keeps what they make of documents. Its log is open.
func fillTopic(ctx context.Context, broker, server string, items int) (*indexRun, error) {
	r := &indexRun{server: server, codec: wire.New(months{}), docs: items}
	events, err := indexEvents(items)
	if err != nil {
		return nil, err
	}
	s := kafka.Default()
	s.Brokers = []string{broker}
	id := uuid.NewString()
	s.Topic, s.DeadLetters, s.GroupPrefix = "bench."+id, "bench.dlq."+id, id+"."
	if r.log, err = kafka.Open(ctx, kafka.Config{Settings: s, Codec: r.codec, Logger: quiet}); err != nil {
		return nil, err
	}
	r.events = len(events)
	for at := 0; at < len(events) && err == nil; at += 2000 {
		err = r.log.Append(ctx, events[at:min(at+2000, len(events))]...)
	}
	if err == nil {
		err = r.foldAll(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, r.log.Close())
	}
	return r, nil
}

// indexEvents tells the judged set again and again, each time of other contacts and cases.
func indexEvents(items int) ([]intake.Event, error) {
	set, err := searchtest.Embedded()
	if err != nil {
		return nil, err
	}
	var events []intake.Event
	for i := range items {
		it := set.Items[i%len(set.Items)]
		it.ID = fmt.Sprintf("%08d-%s", i, it.ID[9:])
		it.At = it.At.Add(time.Duration(i) * time.Second)
		for _, e := range it.Events() {
			e.PartitionKey = it.ID
			events = append(events, e)
		}
	}
	return events, nil
}

// foldAll reads the topic once and keeps what each batch makes of the documents.
func (r *indexRun) foldAll(ctx context.Context) error {
	reader, err := r.log.Open("fold", stream.Position{Offset: -1})
	if err != nil {
		return err
	}
	defer reader.Close()
	docs := map[intake.Subject]search.Document{}
	r.bodies, r.writes = nil, 0
	var batch []stream.Record
	fold := func(records []stream.Record) {
		var b plainBody
		place := map[intake.Subject]int{}
		for _, rec := range records {
			d := docs[rec.Event.Subject]
			if !search.Apply(&d, rec.Event) {
				continue
			}
			docs[d.ID] = d
			if i, ok := place[d.ID]; ok {
				b.changed[i] = d
			} else {
				place[d.ID] = len(b.changed)
				b.changed = append(b.changed, d)
			}
		}
		for part := range slices.Chunk(b.changed, plainBatch) {
			r.bodies = append(r.bodies, plainBody{part})
		}
		r.writes += len(b.changed)
	}
	for n := 0; n < r.events; {
		records, err := reader.Fetch(ctx, min(indexBatch-len(batch), r.events-n))
		if err != nil {
			return err
		}
		n, batch = n+len(records), append(batch, records...)
		if len(batch) == indexBatch || n == r.events {
			fold(batch)
			batch = batch[:0]
		}
	}
	for tries := 0; ; tries++ { // brokers that have just begun look for who keeps positions
		if err = reader.Commit(ctx, stream.Position{Offset: 0}); err == nil || tries == 50 {
			break
		}
		time.Sleep(200 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	if len(docs) != r.docs {
		return fmt.Errorf("the topic makes %d documents, want %d", len(docs), r.docs)
	}
	return nil
}

func openIndex(server, index string) (*elastic.Index, error) {
	return elastic.Open(elastic.Config{Addresses: []string{server}, Index: index}, elastic.Options{Logger: slog.Default()})
}

// consume reads the topic into a new index.
func (r *indexRun) consume(ctx context.Context, index string) (took time.Duration, err error) {
	err = r.fresh(ctx, index, func(x *elastic.Index) error {
		begun := time.Now()
		done, err := r.follow(ctx, x, index)
		if err != nil {
			return err
		}
		found, err := x.Count(ctx, search.Query{})
		took = time.Since(begun)
		return errors.Join(r.complete(found, err), done())
	})
	return took, err
}

// complete says what is wrong when not everything is found.
func (r *indexRun) complete(found int, err error) error {
	if err == nil && found != r.docs {
		err = fmt.Errorf("%d documents are found, want %d", found, r.docs)
	}
	return err
}

// fresh has an index made, used and removed.
func (r *indexRun) fresh(ctx context.Context, index string, use func(*elastic.Index) error) error {
	x, err := openIndex(r.server, index)
	if err != nil {
		return err
	}
	if _, err = x.Position(ctx); err == nil { // makes it
		runtime.GC()
		err = use(x)
	}
	return errors.Join(err, x.Remove(ctx), x.Close())
}

// follow reads all of the topic, and gives what closes the reader.
func (r *indexRun) follow(ctx context.Context, x *elastic.Index, group string) (done func() error, err error) {
	reader, err := r.log.Open(group, stream.Position{Offset: -1})
	if err != nil {
		return nil, err
	}
	if err = x.Follow(ctx, &upTo{reader, r.events}, indexBatch, nil); !errors.Is(err, errAll) {
		return nil, errors.Join(err, reader.Close())
	}
	return reader.Close, nil
}

// upTo reads so many records and no more, so that nobody waits for what may come after them.
type upTo struct {
	stream.Reader
	left int
}

var errAll = errors.New("everything was read")

// Fetch is stream.Reader's.
func (u *upTo) Fetch(ctx context.Context, limit int) ([]stream.Record, error) {
	if u.left == 0 {
		return nil, errAll
	}
	list, err := u.Reader.Fetch(ctx, min(limit, u.left))
	u.left -= len(list)
	return list, err
}

// plain sends the same document writes from memory and waits until they can be found; made says that the bodies are made before.
func (r *indexRun) plain(ctx context.Context, index string, senders int, made bool) (took time.Duration, err error) {
	err = r.fresh(ctx, index, func(x *elastic.Index) error {
		took, err = r.send(ctx, x, index, senders, made)
		return err
	})
	return took, err
}

// send is plain on an index that is there.
func (r *indexRun) send(ctx context.Context, x *elastic.Index, index string, senders int, made bool) (time.Duration, error) {
	work := make(chan func() ([]byte, error), len(r.bodies))
	for _, b := range r.bodies {
		body := func() ([]byte, error) { return x.Bulk(b.changed) }
		if made {
			ready, err := body()
			if err != nil {
				return 0, err
			}
			body = func() ([]byte, error) { return ready, nil }
		}
		work <- body
	}
	close(work)
	runtime.GC()
	begun := time.Now()
	var all sync.WaitGroup
	failed := make([]error, senders)
	for i := range senders {
		all.Go(func() {
			for body := range work {
				b, err := body()
				if err == nil {
					err = bulk(ctx, r.server+"/"+index+"/_bulk?filter_path=errors,items.*.status,items.*.error.type", b)
				}
				if err != nil {
					failed[i] = err
					return
				}
			}
		})
	}
	all.Wait()
	_, refresh := post(ctx, r.server+"/"+index+"/_refresh", "application/json", nil)
	if err := errors.Join(append(failed, refresh)...); err != nil {
		return 0, err
	}
	return time.Since(begun), nil
}

// bulk sends a body and looks at what became of each document. One that is there in a newer version already (with two senders) was sent all the same.
func bulk(ctx context.Context, url string, body []byte) error {
	answer, err := post(ctx, url, "application/x-ndjson", body)
	if err != nil {
		return err
	}
	var a struct {
		Items []map[string]struct{ Status int }
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return err
	}
	for _, it := range a.Items {
		for _, v := range it {
			if v.Status/100 != 2 && v.Status != http.StatusConflict {
				return fmt.Errorf("a document is answered with %d", v.Status)
			}
		}
	}
	return nil
}

func post(ctx context.Context, url, kind string, body []byte) ([]byte, error) {
	return send(ctx, http.MethodPost, url, kind, body)
}

func send(ctx context.Context, method, url, kind string, body []byte) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(res.Body)
	err = errors.Join(err, res.Body.Close())
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, b)
	}
	return b, err
}
