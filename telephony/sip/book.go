package sip

import (
	"sync"
	"time"
)

// bookkeeper writes registrations down (Config.Registrations) behind the registrar's back, so that a phone never waits for tables that do not answer. Of each
// binding only the newest state waits, so what waits is bounded by what is registered; it is tried until it works.
type bookkeeper struct {
	s *Server

	mu      sync.Mutex
	waiting map[string]change
	order   []string      // keys of waiting, the longest waiting first
	wake    chan struct{} // holds one token while something waits
	empty   chan struct{} // closed when nothing waits or is being written; nil: nobody asks
	ended   chan struct{}
}

// change is what is to be written of a binding.
type change struct {
	b    Binding
	gone bool
}

// Waits between two attempts while the tables do not take it.
const (
	firstRetry = 200 * time.Millisecond
	lastRetry  = 5 * time.Second
)

func newBookkeeper(s *Server) *bookkeeper {
	return &bookkeeper{s: s, waiting: map[string]change{}, wake: make(chan struct{}, 1), ended: make(chan struct{})}
}

// note takes a change in. It does not wait.
func (k *bookkeeper) note(b Binding, gone bool) {
	key := bindingKey(b.User, b.Contact)
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.waiting[key]; !ok {
		// Deletions are the only ones that could be more than the bindings: the oldest of them run out in the tables by themselves.
		if len(k.order) >= 2*k.s.cfg.Limits.Bindings {
			delete(k.waiting, k.order[0])
			k.order = k.order[1:]
		}
		k.order = append(k.order, key)
	}
	k.waiting[key] = change{b, gone}
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// drop forgets what waits: another node writes now.
func (k *bookkeeper) drop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	clear(k.waiting)
	k.order = nil
}

// pending gives the state of a binding that is not in the tables yet.
func (k *bookkeeper) pending(key string) (change, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c, ok := k.waiting[key]
	return c, ok
}

// run is sip.bookkeeper.
func (k *bookkeeper) run() {
	defer close(k.ended)
	retry := firstRetry
	for {
		key, c, ok := k.next()
		if !ok {
			select {
			case <-k.wake:
				continue
			case <-k.s.quit:
				return
			}
		}
		err := k.write(c)
		k.done(key, c, err == nil)
		if err == nil {
			retry = firstRetry
			continue
		}
		if retry == firstRetry {
			k.s.log.Error("registrations not written, tried again until it works", "error", err)
		}
		t := time.NewTimer(retry)
		select {
		case <-t.C:
		case <-k.s.quit:
			t.Stop()
			return
		}
		retry = min(2*retry, lastRetry)
	}
}

func (k *bookkeeper) write(c change) (err error) {
	k.s.guarded(func() {
		if c.gone {
			err = k.s.cfg.Registrations.Delete(c.b)
		} else {
			err = k.s.cfg.Registrations.Save(c.b)
		}
	})
	return err
}

func (k *bookkeeper) next() (string, change, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.order) == 0 {
		if k.empty != nil {
			close(k.empty)
			k.empty = nil
		}
		return "", change{}, false
	}
	return k.order[0], k.waiting[k.order[0]], true
}

// done takes what is written out, unless it has changed meanwhile; what failed goes to the end, so that one binding that the tables will not have
// does not keep back the others.
func (k *bookkeeper) done(key string, c change, written bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, o := range k.order {
		if o != key {
			continue
		}
		k.order = append(k.order[:i:i], k.order[i+1:]...)
		if written && k.waiting[key] == c {
			delete(k.waiting, key)
		} else {
			k.order = append(k.order, key)
		}
		return
	}
}

// flush waits until all is written, for at most d.
func (k *bookkeeper) flush(d time.Duration) {
	k.mu.Lock()
	if len(k.order) == 0 {
		k.mu.Unlock()
		return
	}
	if k.empty == nil {
		k.empty = make(chan struct{})
	}
	c := k.empty
	k.mu.Unlock()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-c:
	case <-t.C:
	}
}
