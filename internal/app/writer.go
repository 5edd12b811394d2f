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
	log     stream.Log
	written func(contact intake.ContactID, unwritten bool) // answers a gate; must not block
	slog    *slog.Logger
	now     func() time.Time

	mu      sync.Mutex
	waiting []pending
	bell    chan struct{}
	stopped bool
	done    chan struct{}
}

type pending struct {
	events []intake.Event
	gate   intake.ContactID
}

func newWriter(log stream.Log, now func() time.Time, l *slog.Logger, written func(intake.ContactID, bool)) *writer {
	w := &writer{log: log, written: written, slog: l, now: now, bell: make(chan struct{}, 1), done: make(chan struct{})}
	go w.run()
	return w
}

// write puts events at the end of the line. It never waits.
func (w *writer) write(events []intake.Event, gate intake.ContactID) {
	w.mu.Lock()
	w.waiting = append(w.waiting, pending{events, gate})
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
	answered := false
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := w.log.Append(context.Background(), events...)
		unwritten := err != nil
		if !answered {
			answered = true
			for _, p := range batch {
				if p.gate != "" {
					w.written(p.gate, unwritten)
				}
			}
		}
		switch {
		case err == nil || errors.Is(err, stream.ErrUnwritten):
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
					batch[i].gate = ""
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
