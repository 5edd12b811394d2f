package sip

import "sync"

// mailbox is a queue that never makes its sender wait. What the network puts in is bounded by limit; orders always find room.
type mailbox[T any] struct {
	mu     sync.Mutex
	items  []T
	closed bool
	wake   chan struct{} // holds one token while items wait
}

func newMailbox[T any]() *mailbox[T] { return &mailbox[T]{wake: make(chan struct{}, 1)} }

// put gives false when the box is closed, or holds limit items already (0: no limit).
func (b *mailbox[T]) put(v T, limit int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed || limit > 0 && len(b.items) >= limit {
		return false
	}
	b.items = append(b.items, v)
	select {
	case b.wake <- struct{}{}:
	default:
	}
	return true
}

// take empties the box.
func (b *mailbox[T]) take() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	items := b.items
	b.items = nil
	return items
}

// close refuses further items and gives those that nobody has taken.
func (b *mailbox[T]) close() []T {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	items := b.items
	b.items = nil
	return items
}
