package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/search/elastic"
)

// Letter and DeadLetters are the stream's, for the command line.
type (
	Letter      = stream.Letter
	DeadLetters = stream.DeadLetters
)

// deadLetters of the stream: Kafka's when there is Kafka, else those in the tables.
func (a *App) deadLetters() stream.DeadLetters {
	if a.dead != nil {
		return a.dead
	}
	return a.DB.DeadLetters(a.deliver, a.now)
}

// DeadLetters are what was put aside, for the command line; the stream is opened for it. Beside a running program one in the tables is tried again by
// that program, which alone has the consumers; without one it waits until there is one.
func (s *Store) DeadLetters(ctx context.Context) (stream.DeadLetters, error) {
	if err := s.OpenStream(ctx, nil); err != nil {
		return nil, err
	}
	if s.dead != nil {
		return s.dead, nil
	}
	return asked{s.DB.DeadLetters(nil, s.now), s.Config}, nil
}

// asked are the letters in the tables with Retry done by the program that serves.
type asked struct {
	stream.DeadLetters
	config Config
}

// ErrNotServed says that what was asked for is done by a running program, and none runs.
var ErrNotServed = errors.New("no yingda serves from this folder, and only one that runs has the consumers: start it, then try again")

func (a asked) Retry(ctx context.Context, id string) error {
	if _, err := a.Get(ctx, id); err != nil {
		return err
	}
	return askServed(ctx, a.config, http.MethodPost, "/dlq/retry", map[string]string{"id": id}, nil)
}

// deliver gives a letter's bytes once more to the consumer that it names, out of its order and without moving it.
func (a *App) deliver(ctx context.Context, l stream.Letter) error {
	r := stream.Record{Position: l.Position, Raw: l.Raw}
	var err error
	if r.Event, err = a.codec.Decode(l.Raw); err != nil {
		if !errors.Is(err, intake.ErrLater) && !errors.Is(err, intake.ErrInvalid) {
			err = fmt.Errorf("%w: %w", intake.ErrInvalid, err)
		}
		return err
	}
	for _, c := range a.readers {
		if c.name == l.Consumer {
			err := c.once(ctx, r)
			if err == nil && c.after != nil {
				c.after()
			}
			return err
		}
	}
	return fmt.Errorf("there is no consumer %q", l.Consumer)
}

// aside takes what Elasticsearch will never take.
func (a *App) aside(ctx context.Context, l elastic.Letter) error {
	if len(l.Record.Raw) == 0 {
		a.log.Error("a document cannot be written and is left out of the search index", "event", l.Record.Event.ID(), "status", l.Status, "reason", l.Reason)
		return nil
	}
	return a.deadLetters().Put(ctx, stream.Letter{Consumer: searchGroup, Source: streamSource, Position: l.Record.Position, Raw: l.Record.Raw,
		Reason: fmt.Sprintf("Elasticsearch: %d %s", l.Status, l.Reason), Attempts: l.Attempts})
}

// lettersState is how many letters wait, and since when.
type lettersState struct {
	n     int
	since time.Time
}

// lettersEvery is how often we look how many wait.
const lettersEvery = 3 * time.Second

// countLetters keeps the alarms of letters and replays, and the figure, true until ctx ends.
func (a *App) countLetters(ctx context.Context) {
	failed := false
	for {
		look, cancel := context.WithTimeout(ctx, 10*time.Second)
		n, since, err := a.deadLetters().Waiting(look)
		cancel()
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failed:
			a.log.Warn("how many dead letters wait cannot be known now", "err", err)
		case err == nil:
			if before := a.letters.Swap(&lettersState{n, since}); before == nil && n > 0 || before != nil && before.n != n {
				a.log.Warn("events that could not be used wait for a decision: yingda dlq list", "letters", n)
				a.changes.tell()
			}
		}
		failed = err != nil
		a.lookForReplays(ctx)
		if !sleepFor(ctx, lettersEvery) {
			return
		}
	}
}

// lookForReplays notes whether a consumer reads again what it had.
func (a *App) lookForReplays(ctx context.Context) {
	going, err := a.DB.Replaying(ctx)
	if err != nil {
		return // the tables have an alarm of their own
	}
	before := a.rereading.Load()
	switch {
	case len(going) > 0 && before == 0:
		a.rereading.Store(a.now().UnixMilli())
	case len(going) == 0 && before != 0:
		a.rereading.Store(0)
	default:
		return
	}
	a.changes.tell()
}

// Sealed says whether bytes are an event as it is kept: a CloudEvent in JSON whose personal part, if it has one, is sealed.
func Sealed(raw []byte) bool {
	var envelope struct {
		Version string                     `json:"specversion"`
		ID      string                     `json:"id"`
		Data    map[string]json.RawMessage `json:"data"`
	}
	if json.Unmarshal(raw, &envelope) != nil || envelope.Version == "" || envelope.ID == "" || envelope.Data == nil {
		return false
	}
	part, ok := envelope.Data["personal"]
	if !ok {
		return true
	}
	var personal map[string]json.RawMessage
	if json.Unmarshal(part, &personal) != nil {
		return false
	}
	for name := range personal { // the members of a sealed part: wire's
		if name != "sealed" && name != "month" && name != "box" {
			return false
		}
	}
	return true
}
