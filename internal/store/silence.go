package store

import (
	"context"
	"net"
	"sync"
	"time"
)

// silence is how long a server may say nothing to what it was asked before the connection counts as dead: one behind a door in between that takes what we send and has
// forgotten the way. Beyond it what waits fails, and is tried again over another connection; without it, it would wait for ever.
const silence = 2 * time.Minute

// patient is a connection whose reading ends after silence, unless whoever uses it has set a deadline of their own.
type patient struct {
	net.Conn

	mu    sync.Mutex
	until time.Time // set by whoever uses it
}

func patiently(dial func(ctx context.Context, network, address string) (net.Conn, error)) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return &patient{Conn: c}, nil
	}
}

func (p *patient) Read(b []byte) (int, error) {
	p.mu.Lock()
	var err error
	if p.until.IsZero() {
		err = p.Conn.SetReadDeadline(time.Now().Add(silence))
	}
	p.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return p.Conn.Read(b)
}

// SetDeadline ends reading and writing.
func (p *patient) SetDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = t
	return p.Conn.SetDeadline(t)
}

// SetReadDeadline ends reading.
func (p *patient) SetReadDeadline(t time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.until = t
	return p.Conn.SetReadDeadline(t)
}
