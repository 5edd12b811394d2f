package app

import (
	"time"

	"yingda/intake/queue"
	"yingda/telephony"
	"yingda/telephony/switchboard"
)

// hall is the machine of one switchboard's loop: the queue and the calls (and, when they come, the chats), each a pure machine
// of its own. What one says to another is handed on in the order in which it was said, all of it before the next input comes in: so
// an operator who talks is not offered something else by an arm that doesn't know, and nobody hears of an offer after its end.
type hall struct {
	queue *queue.Queue
	board *switchboard.Switchboard
}

// hallInput is what goes in: a telephony.Input or a queue.Input.
type hallInput any

// hallEffect is what comes out: a telephony.Effect for log, callbacks and edge, or a queue.Effect that the desk wants to
// know of (StateChanged, Notice).
type hallEffect any

// Step takes one input and says everything that follows, in order.
func (h *hall) Step(now time.Time, in hallInput) []hallEffect {
	w := work{hall: h, now: now}
	switch in := in.(type) {
	case telephony.Input:
		w.fromBoard(h.board.Step(now, in))
	case queue.Input:
		w.fromQueue(h.queue.Step(now, in))
	}
	return w.finish()
}

// Wake does what has become due in any of them.
func (h *hall) Wake(now time.Time) []hallEffect {
	w := work{hall: h, now: now}
	if due(h.queue.Deadline(), now) {
		w.fromQueue(h.queue.Wake(now))
	}
	if due(h.board.Deadline(), now) {
		w.fromBoard(h.board.Wake(now))
	}
	return w.finish()
}

func due(deadline, now time.Time) bool { return !deadline.IsZero() && !deadline.After(now) }

// Deadline is the earliest of them.
func (h *hall) Deadline() time.Time { return earlier(h.queue.Deadline(), h.board.Deadline()) }

// earlier of two moments; zero is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// work is what follows from one input: what was said and is not handed on yet, and what is for outside.
type work struct {
	hall *hall
	now  time.Time
	said []any // switchboard.ToQueue for the queue, queue.Effect for the others; the oldest first
	out  []hallEffect
}

func (w *work) fromBoard(effects []telephony.Effect) {
	for _, e := range effects {
		if to, ok := e.(switchboard.ToQueue); ok {
			w.said = append(w.said, to)
			continue
		}
		w.out = append(w.out, e)
	}
}

func (w *work) fromQueue(effects []queue.Effect) {
	for _, e := range effects {
		switch e.(type) {
		case queue.StateChanged, queue.Notice:
			w.out = append(w.out, e)
		default:
			w.said = append(w.said, e)
		}
	}
}

func (w *work) finish() []hallEffect {
	for len(w.said) > 0 {
		next := w.said[0]
		w.said = w.said[1:]
		switch next := next.(type) {
		case switchboard.ToQueue:
			w.fromQueue(w.hall.queue.Step(w.now, next.Input))
		case queue.Effect:
			w.fromBoard(w.hall.board.Step(w.now, switchboard.FromQueue{Effect: next}))
		}
	}
	return w.out
}
