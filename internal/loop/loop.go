// Package loop runs one pure machine on one goroutine: the only place where a core meets the clock.
//
// Use: New a Loop around a machine and a function that carries out its effects, start it with Run in a goroutine of its own,
// Send it what happens. Inputs are stepped in the order in which they were sent; between them the machine is woken when
// its deadline comes. Look runs a function on the loop's goroutine, to read the machine without a lock.
//
// The goroutine: "loop", owned by whoever calls Run, ends when the context does. The inbox is a list in memory without a
// bound of its own, so that a media thread or a SIP handler that reports something never waits; what may come in is
// bounded where it enters (calls under way, rate of INVITEs), and Waiting is a metric.
//
// What it does not do: the function that carries out effects runs on the loop's goroutine and so must never wait for the
// loop. It may Send to it: that only appends. A panic in the machine ends the input that caused it, not the loop.
package loop

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// Machine is a pure state machine.
type Machine[In, Effect any] interface {
	Step(now time.Time, in In) []Effect
	Wake(now time.Time) []Effect
	Deadline() time.Time // zero for never
}

// Loop owns one machine.
type Loop[In, Effect any] struct {
	machine Machine[In, Effect]
	do      func(now time.Time, effects []Effect)
	now     func() time.Time
	panics  func(in In, value any)
	log     *slog.Logger

	mu     sync.Mutex
	inbox  []item[In]
	closed bool
	bell   chan struct{}
}

// item is an input, or a function to be run on the loop.
type item[In any] struct {
	in   In
	look func(now time.Time)
}

// Config of a loop. Every field may be left zero.
type Config[In any] struct {
	Now    func() time.Time       // nil: Clock()
	Logger *slog.Logger           // nil: slog.Default()
	Panics func(in In, value any) // told when the machine panicked over an input, on the loop's goroutine; nil: only logged
}

// New makes a loop; it does nothing until Run.
func New[In, Effect any](machine Machine[In, Effect], do func(now time.Time, effects []Effect), c Config[In]) *Loop[In, Effect] {
	if c.Now == nil {
		c.Now = Clock()
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &Loop[In, Effect]{machine: machine, do: do, now: c.Now, panics: c.Panics, log: c.Logger, bell: make(chan struct{}, 1)}
}

// Send puts an input at the end of the inbox. It never waits. After Run has returned it does nothing.
func (l *Loop[In, Effect]) Send(in In) { l.put(item[In]{in: in}) }

// Look runs f on the loop's goroutine after everything sent before, and returns when it has run. It must not be called
// on that goroutine. It gives the context's error if that ends first (f may still run), and ErrClosed after Run.
func (l *Loop[In, Effect]) Look(ctx context.Context, f func(now time.Time)) error {
	done := make(chan struct{})
	if !l.put(item[In]{look: func(now time.Time) { defer close(done); f(now) }}) {
		return ErrClosed
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// ErrClosed is what Look gives when the loop has ended.
var ErrClosed = fmt.Errorf("loop: ended")

// Waiting says how many inputs are in the inbox.
func (l *Loop[In, Effect]) Waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.inbox)
}

func (l *Loop[In, Effect]) put(i item[In]) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.inbox = append(l.inbox, i)
	l.mu.Unlock()
	select {
	case l.bell <- struct{}{}:
	default:
	}
	return true
}

// Run steps the machine until the context ends. What is in the inbox then is stepped before it returns.
func (l *Loop[In, Effect]) Run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var batch []item[In]
	for {
		l.mu.Lock()
		batch, l.inbox = l.inbox, batch[:0]
		l.mu.Unlock()
		for i := range batch {
			l.step(batch[i])
			batch[i] = item[In]{}
		}
		if len(batch) > 0 {
			l.wakeIfDue()
			continue
		}
		if ctx.Err() != nil {
			l.end()
			return
		}
		l.wakeIfDue()
		timer.Reset(l.until())
		select {
		case <-l.bell:
		case <-timer.C:
		case <-ctx.Done():
		}
	}
}

// end closes the inbox and steps what slipped in before it was closed.
func (l *Loop[In, Effect]) end() {
	l.mu.Lock()
	l.closed = true
	rest := l.inbox
	l.inbox = nil
	l.mu.Unlock()
	for _, i := range rest {
		l.step(i)
	}
}

func (l *Loop[In, Effect]) step(i item[In]) {
	now := l.now()
	if i.look != nil {
		l.guard(i.in, func() { i.look(now) })
		return
	}
	l.guard(i.in, func() {
		if effects := l.machine.Step(now, i.in); len(effects) > 0 {
			l.do(now, effects)
		}
	})
}

func (l *Loop[In, Effect]) wakeIfDue() {
	d := l.machine.Deadline()
	if d.IsZero() {
		return
	}
	now := l.now()
	if d.After(now) {
		return
	}
	var none In
	l.guard(none, func() {
		if effects := l.machine.Wake(now); len(effects) > 0 {
			l.do(now, effects)
		}
	})
}

func (l *Loop[In, Effect]) until() time.Duration {
	d := l.machine.Deadline()
	if d.IsZero() {
		return time.Hour
	}
	// A machine that asks for the past again and again must not spin the core.
	return max(d.Sub(l.now()), 200*time.Microsecond)
}

func (l *Loop[In, Effect]) guard(in In, f func()) {
	defer func() {
		if p := recover(); p != nil {
			l.log.Error("panic on a loop", "in", fmt.Sprintf("%T", in), "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			if l.panics != nil {
				l.panics(in, p)
			}
		}
	}()
	f()
}

// Clock gives a clock that never steps back within the process: the wall time at this call plus what the monotonic clock has counted since.
func Clock() func() time.Time {
	start := time.Now()
	wall := start.Round(0)
	return func() time.Time { return wall.Add(time.Since(start)).UTC() }
}
