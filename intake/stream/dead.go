package stream

import (
	"context"
	"errors"
	"time"
)

// Letter is a record that a consumer could not use, put aside so that those behind it go on.
type Letter struct {
	ID       string    // consumer/source/partition/offset: the same record put aside again by the same consumer is the same letter
	Consumer string    // who could not use it: a group, or "relay"
	Source   string    // where it stands: a topic, or a node whose outbox it is in
	Position           // there
	Raw      []byte    // the original bytes; nil in a list
	Size     int       // of Raw
	Reason   string    // why; never a person's data
	Attempts int       // how often it was tried
	Time     time.Time // when it was put aside last
}

// ErrNoLetter is returned for an id under which nothing is.
var ErrNoLetter = errors.New("stream: no such dead letter")

// DeadLetters keeps what was put aside until a person has decided.
type DeadLetters interface {
	// Put adds a letter, or renews it. Its ID is made of its other fields.
	Put(ctx context.Context, l Letter) error
	// List gives all letters, oldest first, without their bytes.
	List(ctx context.Context) ([]Letter, error)
	// Get gives one with its bytes.
	Get(ctx context.Context, id string) (Letter, error)
	// Waiting counts them, and says when the oldest was put aside. It is cheap enough to be asked every few seconds.
	Waiting(ctx context.Context) (n int, since time.Time, err error)
	// Retry lets the original bytes be tried once more and drops the letter. With Kafka they are put into the log again, and every consumer reads the event
	// once more: who has it passes it over, by subject and sequence. In tables they are given to the consumer that the letter names. When they are
	// refused the letter stays, with one more attempt and the new reason.
	Retry(ctx context.Context, id string) error
	// Drop forgets a letter.
	Drop(ctx context.Context, id string) error
}
