package phonetest

import "time"

// recent remembers values for at least `every` and at most twice that long: two maps that take turns, so that nothing is
// ever searched for what is old. Its owner holds a lock.
type recent[V any] struct {
	every    time.Duration
	turned   time.Time
	now, old map[string]V
}

func newRecent[V any](every time.Duration) *recent[V] {
	return &recent[V]{every: every, turned: time.Now(), now: map[string]V{}}
}

func (r *recent[V]) turn() {
	switch d := time.Since(r.turned); {
	case d > 2*r.every:
		r.old, r.now = nil, map[string]V{}
	case d > r.every:
		r.old, r.now = r.now, map[string]V{}
	default:
		return
	}
	r.turned = time.Now()
}

func (r *recent[V]) put(key string, v V) {
	r.turn()
	r.now[key] = v
}

func (r *recent[V]) get(key string) (V, bool) {
	r.turn()
	if v, ok := r.now[key]; ok {
		return v, true
	}
	v, ok := r.old[key]
	return v, ok
}

func (r *recent[V]) size() int { return len(r.now) + len(r.old) }
