package app

import (
	"time"

	"yingda/channels/chat"
	"yingda/intake/queue"
	"yingda/telephony"
	"yingda/telephony/switchboard"
)

// hall is the machine of one switchboard's loop: the queue, the calls and the conversations, each a pure machine of its own. What one
// says to another is handed on in the order in which it was said, all of it before the next input comes in: so an operator who talks is not
// offered something else by an arm that doesn't know, and nobody hears of an offer after its end.
type hall struct {
	queue *queue.Queue
	board *switchboard.Switchboard
	talks *chat.Board
	empty func() *chat.Board // makes another one
}

// hallInput is what goes in: a telephony.Input, a chat.Input or a queue.Input.
type hallInput any

// hallEffect is what comes out: a telephony.Effect or a chat.Effect for log, callbacks and edges, or a queue.Effect that the desk wants to
// know of (StateChanged, Notice).
type hallEffect any

// Step takes one input and says everything that follows, in order.
func (h *hall) Step(now time.Time, in hallInput) []hallEffect {
	w := work{hall: h, now: now}
	switch in := in.(type) {
	case telephony.Input:
		w.fromBoard(h.board.Step(now, in))
	case chat.Input:
		w.fromTalks(h.talks.Step(now, in))
	case queue.Input:
		w.fromQueue(h.queue.Step(now, in))
	case drain: // both arms take nobody any more
		w.fromBoard(h.board.Step(now, telephony.Drain{}))
		w.fromTalks(h.talks.Step(now, chat.Drain{}))
	case leave:
		for _, c := range h.talks.Snapshot().Chats {
			w.fromQueue(h.queue.Step(now, queue.Leave{Contact: c.Contact, Why: "elsewhere"}))
		}
		h.talks = h.empty()
	}
	return w.finish()
}

// leave is the input by which the conversations leave this hall, to go on on another machine: nothing is said or written of them here any more.
type leave struct{}

// drain is the input by which the program begins to end.
type drain struct{}

// Wake does what has become due in any of them.
func (h *hall) Wake(now time.Time) []hallEffect {
	w := work{hall: h, now: now}
	if due(h.queue.Deadline(), now) {
		w.fromQueue(h.queue.Wake(now))
	}
	if due(h.board.Deadline(), now) {
		w.fromBoard(h.board.Wake(now))
	}
	if due(h.talks.Deadline(), now) {
		w.fromTalks(h.talks.Wake(now))
	}
	return w.finish()
}

func due(deadline, now time.Time) bool { return !deadline.IsZero() && !deadline.After(now) }

// Deadline is the earliest of them.
func (h *hall) Deadline() time.Time {
	return earlier(earlier(h.queue.Deadline(), h.board.Deadline()), h.talks.Deadline())
}

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
	said []any // queue.Input for the queue, queue.Effect for the others; the oldest first
	out  []hallEffect
}

func (w *work) fromBoard(effects []telephony.Effect) {
	for _, e := range effects {
		if to, ok := e.(switchboard.ToQueue); ok {
			w.said = append(w.said, to.Input)
			continue
		}
		w.out = append(w.out, e)
	}
}

func (w *work) fromTalks(effects []chat.Effect) {
	for _, e := range effects {
		if to, ok := e.(chat.ToQueue); ok {
			w.said = append(w.said, to.Input)
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

// finish hands everything on. Each arm is told all that the queue says and looks only at its own contacts.
func (w *work) finish() []hallEffect {
	for len(w.said) > 0 {
		next := w.said[0]
		w.said = w.said[1:]
		switch next := next.(type) {
		case queue.Input:
			w.fromQueue(w.hall.queue.Step(w.now, next))
		case queue.Effect:
			w.fromBoard(w.hall.board.Step(w.now, switchboard.FromQueue{Effect: next}))
			w.fromTalks(w.hall.talks.Step(w.now, chat.FromQueue{Effect: next}))
		}
	}
	return w.out
}
