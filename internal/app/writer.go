package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
)

// writer carries the machine's events into the log, in the order in which it gave them. What gathers while one append runs goes
// with the next, so a busy hour costs few fsyncs.
//
// The goroutine: "writer", owned by the App, ends after stop when nothing is left to write. Its inbox is bounded by the
// calls under way: each has a handful of events at a time.
type writer struct {
	log  stream.Log
	slog *slog.Logger
	now  func() time.Time

	mu      sync.Mutex
	waiting []pending
	owed    []pending // in the log's memory and not on disk
	bell    chan struct{}
	stopped bool
	done    chan struct{}
}

// pending are events of one step, and who wants to know when they are on disk. With unwritten the log keeps them in memory meanwhile; who was
// told so is told once more when they are on disk.
type pending struct {
	events []intake.Event
	done   func(unwritten bool) // nil: nobody; must not block
}

func newWriter(log stream.Log, now func() time.Time, l *slog.Logger) *writer {
	w := &writer{log: log, slog: l, now: now, bell: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// write puts events at the end of the line. It never waits. done is told when they are on disk, or that they are not yet.
func (w *writer) write(events []intake.Event, done func(unwritten bool)) {
	w.mu.Lock()
	w.waiting = append(w.waiting, pending{events, done})
	w.mu.Unlock()
	select {
	case w.bell <- struct{}{}:
	default:
	}
}

// stop writes what is there and returns when it is written or ctx ends.
func (w *writer) stop(ctx context.Context) {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	select {
	case w.bell <- struct{}{}:
	default:
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		w.slog.Error("the last events are not on disk", "why", ctx.Err())
	}
}

func tell(batch []pending, unwritten bool) {
	for _, p := range batch {
		if p.done != nil {
			p.done(unwritten)
		}
	}
}

// safe is called when the log has written what it kept in memory: who was told "not yet" hears that it is done.
func (w *writer) safe() {
	w.mu.Lock()
	owed := w.owed
	w.owed = nil
	w.mu.Unlock()
	tell(owed, false)
}

func (w *writer) run() {
	defer close(w.done)
	for {
		w.mu.Lock()
		batch, stopped := w.waiting, w.stopped
		w.waiting = nil
		w.mu.Unlock()
		if len(batch) == 0 {
			if stopped {
				return
			}
			<-w.bell
			continue
		}
		w.append(batch)
	}
}

// append writes one batch. While the log does not write (ErrUnwritten) it keeps the events itself and the residents are served
// all the same. When even its memory is full the batch waits here and is tried again: nothing is dropped by us.
func (w *writer) append(batch []pending) {
	var events []intake.Event
	for _, p := range batch {
		events = append(events, p.events...)
	}
	answered, late := false, false
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := w.log.Append(context.Background(), events...)
		if !answered {
			answered, late = true, err != nil
			tell(batch, late)
		}
		switch {
		case err == nil:
			if late {
				tell(batch, false)
			}
			return
		case errors.Is(err, stream.ErrUnwritten):
			w.mu.Lock()
			w.owed = append(w.owed, batch...)
			w.mu.Unlock()
			return
		case errors.Is(err, stream.ErrFull):
			w.slog.Error("the log does not write and its memory is full", "waiting", len(events))
		case errors.Is(err, stream.ErrClosed):
			w.slog.Error("events after the log was closed", "lost", len(events))
			return
		default:
			// One event that the log will never take must not take the others with it.
			if len(batch) > 1 {
				for i := range batch {
					w.append(batch[i : i+1])
				}
				return
			}
			if errors.Is(err, intake.ErrInvalid) {
				w.slog.Error("an event of ours is not valid and cannot be written", "err", err)
				return
			}
			w.slog.Error("append", "err", err)
		}
		time.Sleep(pause)
	}
}
