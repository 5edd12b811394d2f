package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/intake/stream/sqllog"
	"yingda/intake/wire"
	"yingda/search"
	"yingda/search/elastic"
	"yingda/search/searchtest"
)

// elasticBatch is how many events are read at once.
const elasticBatch = 2000

// months is a secret for each month, as the store would keep it.
type months struct{}

// Month is wire.Keys'.
func (months) Month(month string) ([]byte, error) {
	sum := sha256.Sum256([]byte("bench " + month))
	return sum[:], nil
}

// elasticStage measures, on the server at address: a stream with sealed events (on disk) read, opened, folded, cut and written as the search consumer does
// it, until all can be found; and beside it two ceilings with the same document writes: "from memory" cuts and encodes documents that are in memory while it sends them as plain _bulk,
// "bytes from memory" sends request bodies that were made before, which costs the sender nothing at all.
func elasticStage(ctx context.Context, address string, items, rounds int, w io.Writer) (err error) {
	set, err := searchtest.Embedded()
	if err != nil {
		return err
	}
	var events []intake.Event
	for i := range items {
		it := set.Items[i%len(set.Items)]
		it.ID = fmt.Sprintf("%08d-%s", i, it.ID[9:])
		it.At = it.At.Add(time.Duration(i) * time.Second)
		events = append(events, it.Events()...)
	}
	dir, err := os.MkdirTemp("", "yingda-pipeline-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	log, err := sqllog.Open(ctx, filepath.Join(dir, "log.db"), sqllog.Config{Codec: wire.New(months{}), Ballast: -1, Limit: time.Minute})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	for at := 0; at < len(events); at += 2000 {
		if err := log.Append(ctx, events[at:min(at+2000, len(events))]...); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(w, "Elasticsearch: %d events of %d contacts and cases, batches of %d\n", len(events), items, elasticBatch)
	for round := range rounds + 1 { // the first warms the server up
		ours, err := elasticConsume(ctx, address, fmt.Sprintf("bench-stream-%d-%d", os.Getpid(), round), log, len(events), items)
		if err != nil {
			return err
		}
		var ceiling [2]time.Duration // the faster of one and two senders
		for _, senders := range []int{1, 2} {
			for i, made := range []bool{false, true} {
				took, err := elasticPlain(ctx, address, fmt.Sprintf("bench-plain-%d-%d-%d-%d", os.Getpid(), round, senders, i), events, senders, made)
				if err != nil {
					return err
				}
				if ceiling[i] == 0 || took < ceiling[i] {
					ceiling[i] = took
				}
			}
		}
		rate := func(d time.Duration) float64 { return float64(len(events)) / d.Seconds() }
		if round == 0 {
			continue
		}
		_, _ = fmt.Fprintf(w, "  round %d: stream %.0f events/s, plain _bulk from memory %.0f (ratio %.2f), of bytes from memory %.0f (ratio %.2f)\n",
			round, rate(ours), rate(ceiling[0]), rate(ours)/rate(ceiling[0]), rate(ceiling[1]), rate(ours)/rate(ceiling[1]))
	}
	return nil
}

func elasticOpen(address, index string) (*elastic.Index, error) {
	return elastic.Open(elastic.Config{Addresses: []string{address}, Index: index}, elastic.Options{Logger: slog.Default()})
}

// elasticConsume reads the stream into a new index.
func elasticConsume(ctx context.Context, address, index string, log stream.Log, events, documents int) (took time.Duration, err error) {
	x, err := elasticOpen(address, index)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, x.Remove(ctx), x.Close()) }()
	if _, err := x.Position(ctx); err != nil { // makes the index
		return 0, err
	}
	begun := time.Now()
	reader, err := log.Open(index, stream.Position{Offset: -1})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	n := 0
	all, enough := context.WithCancel(ctx)
	defer enough()
	err = x.Follow(all, reader, elasticBatch, func(records []stream.Record) {
		if n += len(records); n >= events {
			enough()
		}
	})
	if n < events {
		return 0, err
	}
	found, err := x.Count(ctx, search.Query{})
	took = time.Since(begun)
	if err == nil && found != documents {
		err = fmt.Errorf("%d documents are found, want %d", found, documents)
	}
	return took, err
}

// elasticPlain sends the same document writes from memory and waits until they can be found; made says that the bodies are made before.
func elasticPlain(ctx context.Context, address, index string, events []intake.Event, senders int, made bool) (took time.Duration, err error) {
	x, err := elasticOpen(address, index)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, x.Remove(ctx), x.Close()) }()
	if _, err := x.Position(ctx); err != nil {
		return 0, err
	}
	var bodies []func() ([]byte, error)
	docs := map[intake.Subject]search.Document{}
	for at := 0; at < len(events); at += elasticBatch {
		var changed []search.Document
		place := map[intake.Subject]int{}
		for _, e := range events[at:min(at+elasticBatch, len(events))] {
			d := docs[e.Subject]
			if !search.Apply(&d, e) {
				continue
			}
			docs[e.Subject] = d
			if i, ok := place[e.Subject]; ok {
				changed[i] = d
			} else {
				place[e.Subject] = len(changed)
				changed = append(changed, d)
			}
		}
		body := func() ([]byte, error) { return x.Bulk(changed) }
		if made {
			b, err := body()
			if err != nil {
				return 0, err
			}
			body = func() ([]byte, error) { return b, nil }
		}
		bodies = append(bodies, body)
	}
	begun := time.Now()
	work := make(chan func() ([]byte, error), len(bodies))
	for _, b := range bodies {
		work <- b
	}
	close(work)
	var all sync.WaitGroup
	failed := make([]error, senders)
	for i := range senders {
		all.Go(func() {
			for body := range work {
				b, err := body()
				if err != nil {
					failed[i] = err
					return
				}
				if err := elasticPost(ctx, address+"/"+index+"/_bulk?filter_path=errors", b); err != nil {
					failed[i] = err
					return
				}
			}
		})
	}
	all.Wait()
	if err := errors.Join(append(failed, elasticPost(ctx, address+"/"+index+"/_refresh", nil))...); err != nil {
		return 0, err
	}
	return time.Since(begun), nil
}

func elasticPost(ctx context.Context, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	b, err := io.ReadAll(res.Body)
	err = errors.Join(err, res.Body.Close())
	// With two senders an older version of a document may come after a newer one and is refused: it was sent all the same.
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, b)
	}
	return err
}
