package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"

	"yingda/intake"
	"yingda/intake/stream"
)

// Lag is stream.Log's. The time of the oldest event is its ce_time, when it happened.
func (l *Log) Lag(ctx context.Context, group string) (stream.Lag, error) {
	if err := l.whenReady(ctx); err != nil {
		return stream.Lag{}, err
	}
	at, err := l.committed(ctx, group)
	if err != nil {
		return stream.Lag{}, l.failure("lag of "+group, err)
	}
	bounds, err := l.bounds(ctx)
	if err != nil {
		return stream.Lag{}, l.failure("lag of "+group, err)
	}
	var lag stream.Lag
	for p, b := range bounds {
		next := max(at[p], b.first)
		if next >= b.end {
			continue
		}
		lag.Records += b.end - next
		t, err := l.happened(ctx, p, next)
		if err != nil {
			return stream.Lag{}, l.failure("lag of "+group, err)
		}
		if !t.IsZero() && (lag.Oldest.IsZero() || t.Before(lag.Oldest)) {
			lag.Oldest = t
		}
	}
	return lag, nil
}

// Ends are the positions of the newest records, one each partition; Offset −1 when there is none.
func (l *Log) Ends(ctx context.Context) ([]stream.Position, error) {
	if err := l.whenReady(ctx); err != nil {
		return nil, err
	}
	bounds, err := l.bounds(ctx)
	if err != nil {
		return nil, l.failure("ends", err)
	}
	list := make([]stream.Position, len(bounds))
	for p, b := range bounds {
		list[p] = stream.Position{Partition: int32(p), Offset: b.end - 1}
	}
	return list, nil
}

// Since are the positions before the first record that the brokers took at t or later, one each partition: a reader opened there reads all since then. For
// the zero time they are those before the beginning.
func (l *Log) Since(ctx context.Context, t time.Time) ([]stream.Position, error) {
	if err := l.whenReady(ctx); err != nil {
		return nil, err
	}
	list := make([]stream.Position, l.config.Partitions)
	for p := range list {
		list[p] = stream.Position{Partition: int32(p), Offset: -1}
	}
	if t.IsZero() {
		return list, nil
	}
	bounds, err := l.bounds(ctx)
	if err != nil {
		return nil, l.failure("positions by time", err)
	}
	requests := make([]kafka.OffsetRequest, len(list))
	for p := range requests {
		requests[p] = kafka.TimeOffsetOf(p, t)
	}
	r, err := l.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{l.config.Topic: requests}})
	if err != nil {
		return nil, l.failure("positions by time", err)
	}
	for p := range list {
		list[p].Offset = bounds[p].end - 1 // nothing came since
	}
	for _, o := range r.Topics[l.config.Topic] {
		if o.Error != nil {
			return nil, l.failure("positions by time", o.Error)
		}
		for offset := range o.Offsets {
			if offset >= 0 {
				list[o.Partition].Offset = min(list[o.Partition].Offset, offset-1)
			}
		}
	}
	return list, nil
}

// Whole is stream.Bounded's: false once the topic's retention has dropped something.
func (l *Log) Whole(ctx context.Context) (bool, error) {
	if err := l.whenReady(ctx); err != nil {
		return false, err
	}
	bounds, err := l.bounds(ctx)
	if err != nil {
		return false, l.failure("first records", err)
	}
	for _, b := range bounds {
		if b.first > 0 {
			return false, nil
		}
	}
	return true, nil
}

// Reset says that a group has done everything up to and including the given positions and nothing after, so that it reads from there when its members come
// back; a partition that is not named stays as it is. It fails while the group has members.
func (l *Log) Reset(ctx context.Context, group string, to ...stream.Position) error {
	if err := l.whenReady(ctx); err != nil {
		return err
	}
	if err := l.commit(ctx, group, to); err != nil {
		if errors.Is(err, kafka.UnknownMemberId) || errors.Is(err, kafka.RebalanceInProgress) || errors.Is(err, kafka.IllegalGeneration) {
			return fmt.Errorf("kafka: %s is being read by somebody now; stop that first: %w", group, err)
		}
		return l.failure("reset "+group, err)
	}
	return nil
}

// commit for a group in which nobody is a member. Brokers that have just started do not know at once which of them looks after a group.
func (l *Log) commit(ctx context.Context, group string, done []stream.Position) error {
	for pause := shortest; ; pause *= 2 {
		err := l.commitOnce(ctx, group, done)
		early := errors.Is(err, kafka.NotCoordinatorForGroup) || errors.Is(err, kafka.GroupCoordinatorNotAvailable) || errors.Is(err, kafka.GroupLoadInProgress)
		if !early || pause > longest || !sleep(ctx, jitter(pause)) {
			return err
		}
	}
}

func (l *Log) commitOnce(ctx context.Context, group string, done []stream.Position) error {
	commits := make([]kafka.OffsetCommit, len(done))
	for i, p := range done {
		commits[i] = kafka.OffsetCommit{Partition: int(p.Partition), Offset: max(p.Offset, -1) + 1}
	}
	r, err := l.client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: l.config.GroupPrefix + group, GenerationID: -1,
		Topics: map[string][]kafka.OffsetCommit{l.config.Topic: commits}})
	if err != nil {
		return err
	}
	for _, p := range r.Topics[l.config.Topic] {
		if p.Error != nil {
			return p.Error
		}
	}
	return nil
}

// committed gives, by partition, the offset at which a group goes on; −1 where it has committed nothing.
func (l *Log) committed(ctx context.Context, group string) ([]int64, error) {
	partitions := make([]int, l.config.Partitions)
	at := make([]int64, l.config.Partitions)
	for p := range partitions {
		partitions[p], at[p] = p, -1
	}
	r, err := l.client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: l.config.GroupPrefix + group, Topics: map[string][]int{l.config.Topic: partitions}})
	if err != nil {
		return nil, err
	}
	if r.Error != nil {
		return nil, r.Error
	}
	for _, p := range r.Topics[l.config.Topic] {
		if p.Error != nil {
			return nil, p.Error
		}
		at[p.Partition] = p.CommittedOffset
	}
	return at, nil
}

// bound of a partition: the offset of its first record, and the one after its last.
type bound struct{ first, end int64 }

func (l *Log) bounds(ctx context.Context) ([]bound, error) {
	return l.boundsOf(ctx, l.config.Topic, l.config.Partitions)
}

func (l *Log) boundsOf(ctx context.Context, topic string, partitions int) ([]bound, error) {
	var requests []kafka.OffsetRequest
	for p := range partitions {
		requests = append(requests, kafka.FirstOffsetOf(p), kafka.LastOffsetOf(p))
	}
	r, err := l.client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{topic: requests}})
	if err != nil {
		return nil, err
	}
	list := make([]bound, partitions)
	known := 0
	for _, o := range r.Topics[topic] {
		if o.Error != nil {
			return nil, o.Error
		}
		if o.Partition < 0 || o.Partition >= partitions {
			continue
		}
		list[o.Partition] = bound{o.FirstOffset, o.LastOffset}
		known++
	}
	if known != partitions {
		return nil, fmt.Errorf("the brokers know %d of %d partitions", known, partitions)
	}
	return list, nil
}

// happened is when the event at an offset happened; zero when its header cannot be read.
func (l *Log) happened(ctx context.Context, partition int, offset int64) (time.Time, error) {
	var t time.Time
	err := l.scan(ctx, l.config.Topic, partition, offset, 1, func(r *kafka.Record) bool {
		for _, h := range r.Headers {
			if h.Key == attribute+"time" {
				t, _ = time.Parse(time.RFC3339Nano, string(h.Value))
				t = intake.Millis(t)
			}
		}
		return false
	})
	return t, err
}

// scan hands over the records that one answer of a broker holds, from offset on, until each returns false. The answer holds the batch of records in which that offset is, and more
// as long as it stays below most, in bytes. A record is good until each returns.
func (l *Log) scan(ctx context.Context, topic string, partition int, offset, most int64, each func(*kafka.Record) bool) error {
	r, err := l.client.Fetch(ctx, &kafka.FetchRequest{Topic: topic, Partition: partition, Offset: offset, MinBytes: 1, MaxBytes: most, MaxWait: time.Second})
	if err != nil {
		return err
	}
	if r.Error != nil {
		return r.Error
	}
	for more := true; ; { // to the end in any case: what is not closed keeps its 64 KiB from being used again
		record, err := r.Records.ReadRecord()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if more && record.Offset >= offset { // a batch may begin before it
			more = each(record)
		}
		for _, part := range []kafka.Bytes{record.Key, record.Value} {
			if part != nil {
				_ = part.Close() // it is memory
			}
		}
	}
}
