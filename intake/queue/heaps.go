package queue

import (
	"container/heap"
	"time"
)

// turn is an operator's place among the free ones of a group. It is stale when the operator's stamp has moved on: it is then passed over.
type turn struct {
	op    *operator
	stamp uint64
	asked int       // 0 where the strategy does not count
	since time.Time // idle since
}

func (t turn) before(u turn) bool {
	if t.asked != u.asked {
		return t.asked < u.asked
	}
	if !t.since.Equal(u.since) {
		return t.since.Before(u.since)
	}
	return t.op.seq < u.op.seq
}

type turns []turn

func (h turns) Len() int           { return len(h) }
func (h turns) Less(i, j int) bool { return h[i].before(h[j]) }
func (h turns) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *turns) Push(x any)        { *h = append(*h, x.(turn)) }
func (h *turns) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = turn{}
	*h = (*h)[:last]
	return t
}

// group is the operators who serve the same lines, with calls or without.
type group struct {
	key     string
	lines   map[string]bool // nil: all
	noCalls bool
	members int
	present [kinds]int // neither on a break nor unreachable, by what they take
	free    [kinds]struct {
		turns turns
		live  int // of the turns, how many are not stale
	}
}

func (g *group) serves(id string) bool { return g.lines == nil || g.lines[id] }

// push puts an operator's new turn in and throws the stale ones out when they are most.
func (g *group) push(k kind, t turn) {
	f := &g.free[k]
	f.live++
	heap.Push(&f.turns, t)
	if len(f.turns) > 64 && len(f.turns) > 3*f.live {
		fresh := f.turns[:0]
		for _, t := range f.turns {
			if t.stamp == t.op.stamp[k] && t.op.group == g {
				fresh = append(fresh, t)
			}
		}
		clear(f.turns[len(fresh):])
		f.turns = fresh
		heap.Init(&f.turns)
	}
}

// peek is whose turn it is, false when nobody is free.
func (g *group) peek(k kind) (turn, bool) {
	f := &g.free[k]
	for len(f.turns) > 0 {
		if t := f.turns[0]; t.stamp == t.op.stamp[k] && t.op.group == g {
			return t, true
		}
		heap.Pop(&f.turns)
	}
	return turn{}, false
}

// due is something that is to happen at a time: the end of a lease, of a wrap-up, of a rest. It is void when what it is about has
// another time by then.
type due struct {
	at    time.Time
	op    *operator
	offer *offer
}

func (d due) void() bool {
	if d.offer != nil {
		return d.offer.taken || d.offer.gone || !d.offer.until.Equal(d.at)
	}
	return !d.op.wrap.Equal(d.at) && !d.op.rest.Equal(d.at) && !d.op.away.Equal(d.at)
}

type dues []due

func (h dues) Len() int           { return len(h) }
func (h dues) Less(i, j int) bool { return h[i].at.Before(h[j].at) }
func (h dues) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dues) Push(x any)        { *h = append(*h, x.(due)) }
func (h *dues) Pop() any {
	last := len(*h) - 1
	d := (*h)[last]
	(*h)[last] = due{}
	*h = (*h)[:last]
	return d
}
