package webchat

import (
	"cmp"
	"net/netip"
	"sync"
	"time"
)

func (l Limits) filled() Limits {
	l.Connections = cmp.Or(l.Connections, 10_000)
	l.PerAddress = cmp.Or(l.PerAddress, 60)
	l.Starts = cmp.Or(l.Starts, 120)
	l.Frames = cmp.Or(l.Frames, 20)
	l.Messages = cmp.Or(l.Messages, 60)
	l.FrameBytes = cmp.Or(l.FrameBytes, 32<<10)
	l.Text = cmp.Or(l.Text, 4000)
	l.Files = cmp.Or(l.Files, 6)
	l.FileBytes = cmp.Or(l.FileBytes, 10<<20)
	l.ChatBytes = cmp.Or(l.ChatBytes, 60<<20)
	l.Uploads = cmp.Or(l.Uploads, 4)
	l.Pixels = cmp.Or(l.Pixels, 40_000_000)
	l.Outbox = cmp.Or(l.Outbox, 512)
	l.Ping = cmp.Or(l.Ping, 25*time.Second)
	l.Hello = cmp.Or(l.Hello, 10*time.Second)
	return l
}

// bucket lets so many through at once, and refills at a steady rate.
type bucket struct {
	left float64
	at   time.Time
}

// take says whether one more may pass: burst at once, rate a second after that.
func (b *bucket) take(now time.Time, burst, rate float64) bool {
	if b.at.IsZero() {
		b.left = burst
	} else {
		b.left = min(burst, b.left+now.Sub(b.at).Seconds()*rate)
	}
	b.at = now
	if b.left < 1 {
		return false
	}
	b.left--
	return true
}

// addresses counts what comes from where. An IPv6 address counts as its /64.
type addresses struct {
	mu     sync.Mutex
	open   map[netip.Prefix]int
	all    int
	starts map[netip.Prefix]*bucket
}

func network(a netip.Addr) netip.Prefix {
	a = a.Unmap().WithZone("")
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits)
	return p
}

// enter counts a connection; false when there are too many, and then it is not counted.
func (a *addresses) enter(from netip.Addr, l Limits) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := network(from)
	if a.all >= l.Connections || a.open[n] >= l.PerAddress {
		return false
	}
	a.all++
	a.open[n]++
	return true
}

func (a *addresses) leave(from netip.Addr) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := network(from)
	a.all--
	if a.open[n]--; a.open[n] <= 0 {
		delete(a.open, n)
	}
}

// start says whether one more conversation may begin from there.
func (a *addresses) start(from netip.Addr, now time.Time, l Limits) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := network(from)
	b := a.starts[n]
	if b == nil {
		b = &bucket{}
		a.starts[n] = b
	}
	return b.take(now, float64(l.Starts), float64(l.Starts)/3600)
}

// tidy forgets those who have begun nothing for an hour.
func (a *addresses) tidy(now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, b := range a.starts {
		if now.Sub(b.at) > time.Hour {
			delete(a.starts, n)
		}
	}
}

func openMaps() (map[netip.Prefix]int, map[netip.Prefix]*bucket) {
	return map[netip.Prefix]int{}, map[netip.Prefix]*bucket{}
}
