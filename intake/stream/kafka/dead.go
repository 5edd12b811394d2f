package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"yingda/intake/stream"
)

// DeadLetters is a stream.DeadLetters in a topic of its own with one partition: a letter's value is the original bytes, its key the id, the rest stands in headers dlq_….
// A letter that was dropped is a record without a value (the topic is compacted), so any reader of Kafka sees the same letters as we do.
type DeadLetters struct {
	log    *Log
	writer *kafka.Writer

	counting sync.Mutex
	counted  int64                // offset up to which waiting knows the topic
	waiting  map[string]time.Time // letters by id, and when each was put aside
}

// DeadLetters of the log. Close it before the log.
func (l *Log) DeadLetters() *DeadLetters {
	s := l.config.Settings
	s.Topic = s.DeadLetters
	w := writer(s, l.transport, topicMessage)
	w.BatchSize, w.MaxAttempts = 1, 3
	return &DeadLetters{log: l, writer: w, waiting: map[string]time.Time{}}
}

// Put is stream.DeadLetters'.
func (d *DeadLetters) Put(ctx context.Context, l stream.Letter) error {
	if l.Consumer == "" || l.Source == "" {
		return errors.New("kafka: a dead letter needs a consumer and a source")
	}
	l.ID = fmt.Sprintf("%s/%s/%d/%d", l.Consumer, l.Source, l.Partition, l.Offset)
	return d.put(ctx, l)
}

func (d *DeadLetters) put(ctx context.Context, l stream.Letter) error {
	raw := l.Raw
	if raw == nil {
		raw = []byte{} // no value at all means dropped
	}
	return d.write(ctx, kafka.Message{Key: []byte(l.ID), Value: raw, Headers: []kafka.Header{
		{Key: "dlq_consumer", Value: []byte(l.Consumer)}, {Key: "dlq_source", Value: []byte(l.Source)},
		{Key: "dlq_partition", Value: strconv.AppendInt(nil, int64(l.Partition), 10)}, {Key: "dlq_offset", Value: strconv.AppendInt(nil, l.Offset, 10)},
		{Key: "dlq_reason", Value: []byte(strings.ToValidUTF8(l.Reason, "�"))}, {Key: "dlq_attempts", Value: strconv.AppendInt(nil, int64(l.Attempts), 10)}}})
}

func (d *DeadLetters) write(ctx context.Context, m kafka.Message) error {
	if err := d.log.whenReady(ctx); err != nil {
		return err
	}
	if err := d.writer.WriteMessages(ctx, m); err != nil {
		return d.log.failure("dead letter", err)
	}
	return nil
}

// List is stream.DeadLetters'. It reads the whole topic, which holds little when people look after it.
func (d *DeadLetters) List(ctx context.Context) ([]stream.Letter, error) {
	letters := map[string]stream.Letter{}
	order := map[string]int64{}
	_, err := d.read(ctx, 0, func(l stream.Letter, at int64, dropped bool) {
		delete(letters, l.ID)
		if !dropped {
			l.Raw = nil
			letters[l.ID], order[l.ID] = l, at
		}
	})
	if err != nil {
		return nil, err
	}
	list := make([]stream.Letter, 0, len(letters))
	for _, l := range letters {
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b stream.Letter) int { return int(order[a.ID] - order[b.ID]) })
	return list, nil
}

// Waiting is stream.DeadLetters'. It reads what came to the topic since it was asked before.
func (d *DeadLetters) Waiting(ctx context.Context) (n int, since time.Time, err error) {
	d.counting.Lock()
	defer d.counting.Unlock()
	next, err := d.read(ctx, d.counted, func(l stream.Letter, _ int64, dropped bool) {
		if dropped {
			delete(d.waiting, l.ID)
		} else {
			d.waiting[l.ID] = l.Time
		}
	})
	if err != nil {
		return 0, since, err
	}
	d.counted = next
	for _, t := range d.waiting {
		if since.IsZero() || t.Before(since) {
			since = t
		}
	}
	return len(d.waiting), since, nil
}

// Get is stream.DeadLetters'.
func (d *DeadLetters) Get(ctx context.Context, id string) (stream.Letter, error) {
	var letter stream.Letter
	found := false
	_, err := d.read(ctx, 0, func(l stream.Letter, _ int64, dropped bool) {
		if l.ID == id {
			letter, found = l, !dropped
		}
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: %s", stream.ErrNoLetter, id)
	}
	if err != nil {
		return stream.Letter{}, err
	}
	return letter, nil
}

// Retry is stream.DeadLetters'.
func (d *DeadLetters) Retry(ctx context.Context, id string) error {
	l, err := d.Get(ctx, id)
	if err != nil {
		return err
	}
	err = d.log.Forward(ctx, l.Raw)
	var unfit Unfit
	if errors.As(err, &unfit) {
		l.Attempts++
		l.Reason = unfit.Why.Error()
		return errors.Join(unfit.Why, d.put(ctx, l))
	}
	if err != nil {
		return err
	}
	return d.Drop(ctx, id)
}

// Drop is stream.DeadLetters'.
func (d *DeadLetters) Drop(ctx context.Context, id string) error {
	return d.write(ctx, kafka.Message{Key: []byte(id)})
}

// Close ends the writer.
func (d *DeadLetters) Close() error { return d.writer.Close() }

// read hands over every record of the topic as it stands now, from an offset on, and gives the offset of what comes next.
func (d *DeadLetters) read(ctx context.Context, from int64, each func(l stream.Letter, at int64, dropped bool)) (next int64, err error) {
	if err := d.log.whenReady(ctx); err != nil {
		return from, err
	}
	topic := d.log.config.DeadLetters
	bounds, err := d.log.boundsOf(ctx, topic, 1)
	if err != nil {
		return from, d.log.failure("dead letters", err)
	}
	next = max(from, bounds[0].first)
	for empty := 0; next < bounds[0].end; {
		was := next
		var broken error
		err := d.log.scan(ctx, topic, 0, next, 1<<20, func(r *kafka.Record) bool {
			next = r.Offset + 1
			l, dropped, bad := letter(r)
			if bad != nil {
				broken = bad
				return false
			}
			each(l, r.Offset, dropped)
			return true
		})
		if err := errors.Join(err, broken); err != nil {
			return next, d.log.failure("dead letters", err)
		}
		if next == was { // the rest was compacted away, or the broker was slow
			if empty++; empty == 3 {
				return next, nil
			}
			continue
		}
		empty = 0
	}
	return next, nil
}

func letter(r *kafka.Record) (l stream.Letter, dropped bool, err error) {
	key, err := kafka.ReadAll(r.Key)
	if err != nil {
		return l, false, err
	}
	l = stream.Letter{ID: string(key), Time: r.Time.UTC()}
	if r.Value == nil {
		return l, true, nil
	}
	if l.Raw, err = kafka.ReadAll(r.Value); err != nil {
		return l, false, err
	}
	l.Size = len(l.Raw)
	for _, h := range r.Headers {
		v := string(h.Value)
		n, _ := strconv.ParseInt(v, 10, 64) // 0 is what stands for a number that cannot be read
		switch h.Key {
		case "dlq_consumer":
			l.Consumer = v
		case "dlq_source":
			l.Source = v
		case "dlq_partition":
			l.Partition = int32(n)
		case "dlq_offset":
			l.Offset = n
		case "dlq_reason":
			l.Reason = v
		case "dlq_attempts":
			l.Attempts = int(n)
		}
	}
	return l, false, nil
}

var _ stream.DeadLetters = (*DeadLetters)(nil)
