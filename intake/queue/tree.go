package queue

// line holds those who wait on one line, in one kind of channel, in the order in which they are served: a treap whose nodes know how many
// hang below them, so that a place, the first whom nobody rings for, joining and leaving all cost log n.
type line struct {
	root *waiter
	id   lineKey
}

// before is the order of service.
func (w *waiter) before(v *waiter) bool {
	if w.key != v.key {
		return w.key < v.key
	}
	return w.seq < v.seq
}

func size(w *waiter) int {
	if w == nil {
		return 0
	}
	return w.below
}

func open(w *waiter) int {
	if w == nil {
		return 0
	}
	return w.openBelow
}

func (w *waiter) count() {
	w.below = 1 + size(w.left) + size(w.right)
	w.openBelow = open(w.left) + open(w.right)
	if w.offer == nil {
		w.openBelow++
	}
}

// split parts a tree into those before v and the rest.
func split(t, v *waiter) (a, b *waiter) {
	if t == nil {
		return nil, nil
	}
	if t.before(v) {
		t.right, b = split(t.right, v)
		t.count()
		return t, b
	}
	a, t.left = split(t.left, v)
	t.count()
	return a, t
}

func merge(a, b *waiter) *waiter {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	case a.weight > b.weight:
		a.right = merge(a.right, b)
		a.count()
		return a
	default:
		b.left = merge(a, b.left)
		b.count()
		return b
	}
}

func (l *line) insert(w *waiter) {
	w.left, w.right = nil, nil
	w.count()
	a, b := split(l.root, w)
	l.root = merge(merge(a, w), b)
}

func (l *line) remove(w *waiter) { l.root = without(l.root, w) }

func without(t, w *waiter) *waiter {
	switch {
	case t == nil:
		panic("queue: " + string(w.Contact) + " is not in its line")
	case t == w:
		return merge(t.left, t.right)
	case w.before(t):
		t.left = without(t.left, w)
	default:
		t.right = without(t.right, w)
	}
	t.count()
	return t
}

// touched counts again on the way to w, after its offer was made or has gone.
func (l *line) touched(w *waiter) { recount(l.root, w) }

func recount(t, w *waiter) {
	switch {
	case t == w:
	case w.before(t):
		recount(t.left, w)
	default:
		recount(t.right, w)
	}
	t.count()
}

// first is the one to be served next, of those whom nobody is rung for; nil when there is none.
func (l *line) first() *waiter {
	t := l.root
	if open(t) == 0 {
		return nil
	}
	for {
		switch {
		case open(t.left) > 0:
			t = t.left
		case t.offer == nil:
			return t
		default:
			t = t.right
		}
	}
}

// ahead is how many of this line stand before w, who may be of another.
func (l *line) ahead(w *waiter) int {
	n := 0
	for t := l.root; t != nil; {
		if t.before(w) {
			n += size(t.left) + 1
			t = t.right
		} else {
			t = t.left
		}
	}
	return n
}

// each visits them in order.
func (l *line) each(visit func(*waiter)) { each(l.root, visit) }

func each(t *waiter, visit func(*waiter)) {
	if t != nil {
		each(t.left, visit)
		visit(t)
		each(t.right, visit)
	}
}

// weight spreads the numbers 1, 2, 3 … evenly (splitmix64): a treap needs weights that have nothing to do with the order.
func weight(n uint64) uint64 {
	n *= 0x9e3779b97f4a7c15
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
