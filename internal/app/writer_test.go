package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
)

// slowLog is a log that answers as it is told.
type slowLog struct {
	mu      sync.Mutex
	answers []error
	got     []string
	took    time.Duration
}

func (l *slowLog) Append(_ context.Context, events ...intake.Event) error {
	time.Sleep(l.took)
	l.mu.Lock()
	defer l.mu.Unlock()
	var err error
	if len(l.answers) > 0 {
		err, l.answers = l.answers[0], l.answers[1:]
	}
	if err == nil || errors.Is(err, stream.ErrUnwritten) {
		for _, e := range events {
			l.got = append(l.got, e.Subject.ID())
		}
	}
	return err
}

func (l *slowLog) Open(string, ...stream.Position) (stream.Reader, error) { return nil, nil }
func (l *slowLog) Lag(context.Context, string) (stream.Lag, error)        { return stream.Lag{}, nil }
func (l *slowLog) Close() error                                           { return nil }

func event(id string) intake.Event {
	return intake.Event{Subject: intake.ContactID(id).Subject(), Sequence: intake.NewSequence(1, 1)}
}

func TestWriterAnswersGatesAndKeepsOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &slowLog{took: time.Millisecond, answers: []error{nil, stream.ErrUnwritten, stream.ErrFull, stream.ErrFull, nil}}
		type answer struct {
			contact   intake.ContactID
			unwritten bool
		}
		var mu sync.Mutex
		var answers []answer
		w := newWriter(l, time.Now, slog.New(slog.DiscardHandler))
		for _, id := range []string{"a", "b", "c", "d"} {
			w.write([]intake.Event{event(id)}, func(unwritten bool) {
				mu.Lock()
				defer mu.Unlock()
				answers = append(answers, answer{intake.ContactID(id), unwritten})
			})
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
		}
		w.safe() // the log has written what it kept
		w.stop(t.Context())
		// a is on disk; b waits in the log's memory; c finds that memory full: its resident is served at once, and its event is tried until it is taken.
		// Both hear of it when it is on disk.
		want := []answer{{"a", false}, {"b", true}, {"c", true}, {"b", false}, {"c", false}, {"d", false}}
		if !slices.Equal(answers, want) {
			t.Errorf("gates %v, want %v", answers, want)
		}
		if !slices.Equal(l.got, []string{"a", "b", "c", "d"}) {
			t.Errorf("written %v", l.got)
		}
	})
}

func TestWriterDropsOnlyWhatCanNeverBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bad := errors.Join(intake.ErrInvalid)
		l := &slowLog{took: 5 * time.Millisecond, answers: []error{nil, bad, nil, bad, nil}}
		w := newWriter(l, time.Now, slog.New(slog.DiscardHandler))
		w.write([]intake.Event{event("first")}, nil)
		synctest.Wait()
		for _, id := range []string{"good", "bad", "good too"} { // one batch: it is refused as a whole, then one by one
			w.write([]intake.Event{event(id)}, nil)
		}
		w.stop(t.Context())
		if !slices.Equal(l.got, []string{"first", "good", "good too"}) {
			t.Errorf("written %v", l.got)
		}
	})
}
