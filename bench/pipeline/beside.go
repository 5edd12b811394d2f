package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"

	"yingda/bench/rig"
	"yingda/intake"
)

// idRoom is how many bytes of a message of ready documents are the document's id and spaces; the rest is the document. So nobody need read JSON to know either. The
// peers' configurations have the number too.
const idRoom = 48

// besides measures, by turns in one run, our way from Kafka to Elasticsearch and two ways of each stream processor of others.
//
// "events" is the job as one that knows nothing of us does it: a topic with the same events, in the clear, each read as JSON, its fields put into a document of its own,
// which is what can be done without folding. "documents" is much less than the job: a topic with the documents that ours makes, ready, to be written as they are into an
// index of the same kind as ours.
func besides(ctx context.Context, broker, server string, items, rounds int, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "yingda-beside")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	peers, err := findPeers(ctx, dir)
	if err != nil {
		return err
	}
	r, err := fillTopic(ctx, broker, server, items)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.log.Close()) }()
	jobs, err := r.fillPeers(ctx, broker, items)
	if err != nil {
		return err
	}
	r.bodies = nil
	_, _ = fmt.Fprintf(out, "Kafka → Elasticsearch beside others: %d events of %d contacts and cases, of which ours makes %d document writes\n", r.events, r.docs, r.writes)
	var ours []float64
	theirs, ratio := map[string][]float64{}, map[string][]float64{}
	for round := range rounds + 1 { // the first warms the server up
		took, err := r.ours(ctx, fmt.Sprintf("bench-ours-%d-%d", os.Getpid(), round))
		if err != nil {
			return err
		}
		a := float64(r.events) / took.Seconds()
		if round > 0 {
			ours = append(ours, a)
			_, _ = fmt.Fprintf(out, "  round %d: ours %.0f events/s\n", round, a)
		}
		for _, p := range peers {
			for _, j := range jobs {
				took, err := r.beside(ctx, p, j, fmt.Sprintf("bench-%s-%s-%d-%d", p.name, j.name, os.Getpid(), round))
				if err != nil {
					return err
				}
				if round == 0 {
					continue
				}
				what, b := p.name+", "+j.name, float64(r.events)/took.Seconds()
				_, _ = fmt.Fprintf(out, "  round %d: %s: %.0f events/s (ours is %.2f of it)\n", round, what, b, a/b)
				theirs[what], ratio[what] = append(theirs[what], b), append(ratio[what], a/b)
			}
		}
	}
	_, _ = fmt.Fprintf(out, "Kafka → Elasticsearch: medians of %d rounds: ours %.0f events/s\n", rounds, rig.At(ours, 0.5))
	for _, what := range slices.Sorted(maps.Keys(theirs)) {
		_, _ = fmt.Fprintf(out, "  %s: %.0f events/s, ours is %.2f of it\n", what, rig.At(theirs[what], 0.5), rig.At(ratio[what], 0.5))
	}
	return nil
}

// fillPeers makes the topics of both jobs.
func (r *indexRun) fillPeers(ctx context.Context, broker string, items int) ([]peerJob, error) {
	events, err := indexEvents(items)
	if err != nil {
		return nil, err
	}
	inClear, err := r.fill(ctx, broker, func(send func([]kafka.Message) error) error { return clearEvents(events, send) })
	if err != nil {
		return nil, err
	}
	ready, err := r.fill(ctx, broker, r.readyDocuments)
	return []peerJob{
		{name: "events", broker: broker, topic: inClear, messages: r.events, found: r.events, mapping: eventsMapping},
		{name: "documents", broker: broker, topic: ready, messages: r.writes, found: r.docs},
	}, err
}

// fill makes a topic with as many partitions as ours and what messages sends.
func (r *indexRun) fill(ctx context.Context, broker string, messages func(send func([]kafka.Message) error) error) (string, error) {
	topic := "bench.peer." + uuid.NewString()
	client := &kafka.Client{Addr: kafka.TCP(broker)}
	made, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: topicPartitions, ReplicationFactor: 1}}})
	if err == nil {
		err = made.Errors[topic]
	}
	if err != nil {
		return "", err
	}
	w := &kafka.Writer{Addr: kafka.TCP(broker), Topic: topic, Balancer: kafka.Murmur2Balancer{}, BatchSize: 1000, BatchBytes: 4 << 20, BatchTimeout: 5 * time.Millisecond, RequiredAcks: kafka.RequireAll}
	err = messages(func(list []kafka.Message) error { return w.WriteMessages(ctx, list...) })
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
