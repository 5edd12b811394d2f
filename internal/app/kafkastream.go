package app

import (
	"context"
	"slices"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/intake/stream/kafka"
)

// kafkaStream is Kafka as the consumers read it. Its partitions are counted from 1 here: positions that stand beside effects with partition 0 are those of
// the log of a machine, so an office that goes from the one to the other, or back, never takes a position of the one for the other's.
type kafkaStream struct{ log *kafka.Log }

const kafkaFirst = 1 // number of Kafka's partition 0 here

// inStream leaves out the positions of another stream, which an office had before.
func inStream(s Stream, list []stream.Position) []stream.Position {
	_, isKafka := s.(kafkaStream)
	return slices.DeleteFunc(slices.Clone(list), func(p stream.Position) bool { return (p.Partition >= kafkaFirst) != isKafka })
}

func (k kafkaStream) Append(ctx context.Context, events ...intake.Event) error {
	return k.log.Append(ctx, events...)
}

// Open reads all partitions from the given positions; one that is not named, or when none is, from its beginning.
func (k kafkaStream) Open(group string, from ...stream.Position) (stream.Reader, error) {
	at := []stream.Position{{Partition: 0, Offset: -1}}
	for _, p := range inStream(k, from) {
		at = append(at, stream.Position{Partition: p.Partition - kafkaFirst, Offset: p.Offset})
	}
	r, err := k.log.Open(group, at...)
	if err != nil {
		return nil, err
	}
	return kafkaReader{r}, nil
}

func (k kafkaStream) Lag(ctx context.Context, group string) (stream.Lag, error) {
	return k.log.Lag(ctx, group)
}

func (k kafkaStream) Ends(ctx context.Context) ([]stream.Position, error) {
	return counted(k.log.Ends(ctx))
}

func (k kafkaStream) Since(ctx context.Context, t time.Time) ([]stream.Position, error) {
	return counted(k.log.Since(ctx, t))
}

func (k kafkaStream) Whole(ctx context.Context) (bool, error) { return k.log.Whole(ctx) }

func (k kafkaStream) Close() error { return k.log.Close() }

func counted(list []stream.Position, err error) ([]stream.Position, error) {
	for i := range list {
		list[i].Partition += kafkaFirst
	}
	return list, err
}

type kafkaReader struct{ stream.Reader }

func (r kafkaReader) Fetch(ctx context.Context, limit int) ([]stream.Record, error) {
	records, err := r.Reader.Fetch(ctx, limit)
	for i := range records {
		records[i].Partition += kafkaFirst
	}
	return records, err
}

func (r kafkaReader) Commit(ctx context.Context, done ...stream.Position) error {
	list := make([]stream.Position, len(done))
	for i, p := range done {
		list[i] = stream.Position{Partition: p.Partition - kafkaFirst, Offset: p.Offset}
	}
	return r.Reader.Commit(ctx, list...)
}
