// Package stream is the one ordered, durable log of events: what every log must do, whatever keeps it.
//
// A writer calls Append and knows, when it returns nil, that the events will be there after a power cut. A consumer
// opens a Reader under the name of its group, fetches records, brings about their effect and then commits their
// positions. A record that was fetched and not committed comes again after the reader is opened anew, and it may come
// again at any other time: every consumer is fenced by position and idempotent by subject and sequence. A consumer
// that keeps its position beside its effect (in the same transaction or batch) opens its reader there.
//
// Order is promised among records of one partition, and all events of one PartitionKey are in one partition. sqllog has
// a single partition, kafka has many.
//
// What it does not do: it knows no consumer, and it never drops a record because nobody has read it.
package stream

import (
	"context"
	"errors"
	"time"

	"yingda/intake"
)

// Position of a record: in its partition, counted from 0 upwards with gaps allowed.
type Position struct {
	Partition int32
	Offset    int64
}

// Record is an event where it stands in the log.
type Record struct {
	Position
	Event intake.Event
	Raw   []byte // the event's bytes as they are kept: CloudEvents JSON
	Err   error  // set when Raw cannot be read: Event is then zero, and the consumer puts Raw aside
	Again bool   // a replay: the consumer had it before, and what left the house then (a message, a webhook) must not leave it again. Readers never set it
}

// Newest gives the highest position of each partition in a batch.
func Newest(records []Record) []Position {
	high := map[int32]int64{}
	for _, r := range records {
		if o, ok := high[r.Partition]; !ok || r.Offset > o {
			high[r.Partition] = r.Offset
		}
	}
	list := make([]Position, 0, len(high))
	for p, o := range high {
		list = append(list, Position{Partition: p, Offset: o})
	}
	return list
}

// Lag says how far a group is behind.
type Lag struct {
	Records int64
	Oldest  time.Time // time of the oldest event not yet committed; zero when there is none
}

// ErrUnwritten is what Append returns when the log does not write now (disk full, I/O error, slower than its limit).
// The events are kept in memory, in order, and will be appended when it does; they are lost only if the process ends
// before that. The caller goes on serving the resident and flags the contact.
var ErrUnwritten = errors.New("stream: not on disk yet, kept in memory")

// ErrFull is what Append returns when the log does not write and the memory kept for that is full: the events are lost unless
// the caller keeps them.
var ErrFull = errors.New("stream: not on disk, and the memory for waiting events is full")

// ErrClosed is returned after Close.
var ErrClosed = errors.New("stream: closed")

// Log is a log of events.
type Log interface {
	// Append writes the events in the given order, all or none, and returns when they are durable. An event whose id
	// is in the log already is passed over, so trying again is safe. Many may call at once; they share one fsync.
	Append(ctx context.Context, events ...intake.Event) error
	// Open gives a reader for the group. Without from it begins after the group's committed positions, and at the
	// beginning of the log if there are none; with from, after the given positions (one each partition; a partition
	// that is not named is read from its beginning).
	Open(group string, from ...Position) (Reader, error)
	// Lag of a group, by its committed positions.
	Lag(ctx context.Context, group string) (Lag, error)
	Close() error
}

// Shared is a Log that several processes read together.
type Shared interface {
	Log
	// Share gives a reader that shares the partitions with the group's other readers, wherever they run: each partition has one of them, and goes to another when
	// that one leaves. at says where the effects of the consumer are and is asked whenever partitions are given out; one that it does not name is read from its
	// beginning. With a nil at it is the group's committed positions. What this reader fetched before a partition went to another may by then be done there: the
	// consumer compares positions in the transaction that holds the effect.
	Share(group string, at func(context.Context) ([]Position, error)) (Reader, error)
}

// Bounded is a Log that knows its positions.
type Bounded interface {
	// Ends are the positions of the newest records, one each partition; Offset −1 when there is none.
	Ends(ctx context.Context) ([]Position, error)
	// Since are the positions before the first record that the log took at t or later, one each partition: a reader opened there reads all since then. For the
	// zero time they are those before the beginning.
	Since(ctx context.Context, t time.Time) ([]Position, error)
	// Whole says whether the log still holds the first record it ever took, so that what is read from its beginning is everything.
	Whole(ctx context.Context) (bool, error)
}

// Reader reads for one group. It is used by one goroutine.
type Reader interface {
	// Fetch waits until there is at least one record and gives up to limit of them, in order.
	Fetch(ctx context.Context, limit int) ([]Record, error)
	// Commit says that everything up to and including the given positions is done.
	Commit(ctx context.Context, done ...Position) error
	Close() error
}
