package app

import (
	"time"

	"yingda/intake/queue"
	"yingda/telephony"
	"yingda/telephony/switchboard"
)

// hall is the machine of one switchboard's loop: the queue and the calls (and, when they come, the chats), each a pure machine
// of its own. It hands what one says to the one concerned, at once and before the next input, so that an operator who talks
// is not offered something else by an arm that doesn't know.
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
	var out []hallEffect
	switch in := in.(type) {
	case telephony.Input:
		out = h.fromBoard(now, out, h.board.Step(now, in))
	case queue.Input:
		out = h.fromQueue(now, out, h.queue.Step(now, in))
	}
	return out
}

// Wake does what has become due in either.
func (h *hall) Wake(now time.Time) []hallEffect {
	var out []hallEffect
	if d := h.queue.Deadline(); !d.IsZero() && !d.After(now) {
		out = h.fromQueue(now, out, h.queue.Wake(now))
	}
	if d := h.board.Deadline(); !d.IsZero() && !d.After(now) {
		out = h.fromBoard(now, out, h.board.Wake(now))
	}
	return out
}

// Deadline is the earlier of the two.
func (h *hall) Deadline() time.Time {
	a, b := h.queue.Deadline(), h.board.Deadline()
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (h *hall) fromBoard(now time.Time, out []hallEffect, effects []telephony.Effect) []hallEffect {
	for _, e := range effects {
		if to, ok := e.(switchboard.ToQueue); ok {
			out = h.fromQueue(now, out, h.queue.Step(now, to.Input))
			continue
		}
		out = append(out, e)
	}
	return out
}

func (h *hall) fromQueue(now time.Time, out []hallEffect, effects []queue.Effect) []hallEffect {
	for _, e := range effects {
		switch e.(type) {
		case queue.StateChanged, queue.Notice:
			out = append(out, e)
		default:
			out = h.fromBoard(now, out, h.board.Step(now, switchboard.FromQueue{Effect: e}))
		}
	}
	return out
}
