package sip

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// wire is a network in memory, so that tests need no ports and run in virtual time.
type wire struct {
	mu    sync.Mutex
	ports map[netip.AddrPort]*wirePort
	lose  func(from, to netip.AddrPort, data []byte) bool
}

type wirePacket struct {
	from netip.AddrPort
	data []byte
}

type wirePort struct {
	w    *wire
	addr netip.AddrPort
	in   chan wirePacket
	done chan struct{}
	once sync.Once
}

func newWire() *wire { return &wire{ports: map[netip.AddrPort]*wirePort{}} }

func (w *wire) open(addr string) *wirePort {
	a := netip.MustParseAddrPort(addr)
	p := &wirePort{w: w, addr: a, in: make(chan wirePacket, 1000), done: make(chan struct{})}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ports[a] != nil {
		panic("wire: address in use: " + addr)
	}
	w.ports[a] = p
	return p
}

func (p *wirePort) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case pkt := <-p.in:
		return copy(b, pkt.data), net.UDPAddrFromAddrPort(pkt.from), nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

func (p *wirePort) WriteTo(b []byte, addr net.Addr) (int, error) {
	select {
	case <-p.done:
		return 0, net.ErrClosed
	default:
	}
	to := addrPort(addr)
	p.w.mu.Lock()
	dst, lose := p.w.ports[to], p.w.lose
	p.w.mu.Unlock()
	if dst == nil || lose != nil && lose(p.addr, to, b) {
		return len(b), nil
	}
	select {
	case dst.in <- wirePacket{p.addr, append([]byte(nil), b...)}:
	default:
	}
	return len(b), nil
}

func (p *wirePort) Close() error {
	p.once.Do(func() {
		close(p.done)
		p.w.mu.Lock()
		delete(p.w.ports, p.addr)
		p.w.mu.Unlock()
	})
	return nil
}

func (p *wirePort) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(p.addr) }
func (p *wirePort) SetDeadline(time.Time) error      { return nil }
func (p *wirePort) SetReadDeadline(time.Time) error  { return nil }
func (p *wirePort) SetWriteDeadline(time.Time) error { return nil }

var _ net.PacketConn = (*wirePort)(nil)
