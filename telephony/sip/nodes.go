package sip

import (
	"context"
	"net/netip"
	"strings"
	"time"
)

// node is another node by which phones of ours are reached, and whether it lives.
type node struct {
	heard time.Time // it last answered, or passed a registration on
	asked time.Time
}

const (
	askNode  = 2 * time.Second // how often a node is asked by OPTIONS
	lostNode = 5 * time.Second // after which silence it is taken for dead
)

// probe asks the nodes by which phones are reached whether they live. A node that has just died is not waited for: until it has answered, and when it
// has not for a while, its phones are called directly, which reaches all but those behind a NAT that lets in nobody else.
func (r *registrar) probe(now time.Time) {
	var ask []netip.AddrPort
	r.mu.Lock()
	named := map[netip.AddrPort]bool{}
	for _, b := range r.bindings {
		if b.Node.IsValid() && !named[b.Node] && r.s.cfg.peer(b.Node.Addr()) && !r.s.proxy.isUs(b.Node) {
			named[b.Node] = true
			n := r.nodes[b.Node]
			if n == nil {
				n = &node{}
				r.nodes[b.Node] = n
			}
			if now.Sub(n.asked) >= askNode {
				n.asked = now
				ask = append(ask, b.Node)
			}
		}
	}
	for a, n := range r.nodes {
		if !named[a] && now.Sub(n.heard) > lostNode { // one that was just heard may be about to be named
			delete(r.nodes, a)
		}
	}
	r.mu.Unlock()
	for _, a := range ask {
		ctx, cancel := context.WithTimeout(r.s.context(), askNode)
		r.s.check(ctx, place{uri: "sip:yingda@" + a.String(), dest: a.String(), transport: "UDP"}, func(status int) {
			cancel()
			if status != 0 && status != 408 {
				r.heard(a, time.Now())
			}
		})
	}
}

// heard: a node lives.
func (r *registrar) heard(a netip.AddrPort, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[a]
	if n == nil {
		n = &node{}
		r.nodes[a] = n
	}
	n.heard = now
}

func (r *registrar) lives(a netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.nodes[a]
	return n != nil && time.Since(n.heard) < lostNode
}

// place is where a registered phone is called: by the node that it speaks with while that lives, else directly where it registered from.
func (r *registrar) place(b Binding) place {
	s := r.s
	p := place{uri: b.Contact, to: "sip:" + userEscape(b.User) + "@" + s.cfg.Domain, dest: b.Source.String(), transport: strings.ToUpper(b.Transport), phone: true}
	if b.Node.IsValid() && s.cfg.peer(b.Node.Addr()) && !s.proxy.isUs(b.Node) && r.lives(b.Node) {
		out := token{out: hop{b.Source, b.Transport == "tcp"}}
		p.dest, p.transport = b.Node.String(), "UDP"
		p.routes = []string{"<sip:" + out.String() + "@" + b.Node.String() + ";lr>"}
	}
	return p
}

// self is this node as the others know it: what a binding's Node says of the phones that speak with us. Zero without UDP, since nodes speak UDP.
func (s *Server) self(dest netip.AddrPort) netip.AddrPort {
	if s.udp == nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(s.advertised(dest.String()), s.udpAddr.Port())
}
