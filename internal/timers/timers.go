// Package timers remembers when each of many machines wants to be woken: the calls of a switchboard, the conversations of a board.
//
// Embed a Timer in what is to be woken, keep those in a Timers, Set each one's moment after every step, ask Deadline when the next is due, and
// let Wake go through those that are. One goroutine owns it; it looks at no clock and starts nothing.
package timers

import (
	"container/heap"
	"time"
)

// Timer is the place that one has among the others. Embed it; the zero value wants nothing. It is in one Timers at the most.
type Timer struct {
	at   time.Time
	slot int // its index and one, 0: in none
}

func (t *Timer) timer() *Timer { return t }

// Timed is what embeds a Timer.
type Timed interface{ timer() *Timer }

// Timers is those that want to be woken. The zero value is ready.
type Timers[T Timed] struct{ list order[T] }

// Set says when x wants to be woken, zero for never.
func (h *Timers[T]) Set(x T, at time.Time) {
	t := x.timer()
	t.at = at
	switch {
	case at.IsZero() && t.slot > 0:
		heap.Remove(&h.list, t.slot-1)
	case at.IsZero():
	case t.slot > 0:
		heap.Fix(&h.list, t.slot-1)
	default:
		heap.Push(&h.list, x)
	}
}

// Len is how many want to be woken.
func (h *Timers[T]) Len() int { return len(h.list) }

// Deadline is when the next wants to be woken, zero for never.
func (h *Timers[T]) Deadline() time.Time {
	if len(h.list) == 0 {
		return time.Time{}
	}
	return h.list[0].timer().at
}

// Wake calls wake for each that is due at now, the earliest first; wake is to Set its next moment. One that asks for the same past moment again
// is put off by a millisecond: that would be for ever.
func (h *Timers[T]) Wake(now time.Time, wake func(T)) {
	for len(h.list) > 0 && !h.list[0].timer().at.After(now) {
		x := h.list[0]
		t := x.timer()
		at := t.at
		wake(x)
		if t.slot > 0 && t.at.Equal(at) {
			h.Set(x, now.Add(time.Millisecond))
		}
	}
}

// order is the heap, the next first.
type order[T Timed] []T

func (o order[T]) Len() int           { return len(o) }
func (o order[T]) Less(i, j int) bool { return o[i].timer().at.Before(o[j].timer().at) }
func (o order[T]) Swap(i, j int) {
	o[i], o[j] = o[j], o[i]
	o[i].timer().slot, o[j].timer().slot = i+1, j+1
}

func (o *order[T]) Push(x any) {
	*o = append(*o, x.(T))
	x.(T).timer().slot = len(*o)
}

func (o *order[T]) Pop() any {
	last := len(*o) - 1
	x := (*o)[last]
	clear((*o)[last:]) // or it would be held until another takes its place
	*o = (*o)[:last]
	x.timer().slot = 0
	return x
}
