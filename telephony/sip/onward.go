package sip

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// This file writes what the proxy passes on, and brings the answers back.

// branchStart begins the branch of our Via: z9hG4bKyf.<where the answer goes>.<mac>. It is a function of the request's own branch, so that a
// repetition, a CANCEL and an ACK get the same one (RFC 3261 §16.11), and nobody but us can make it: a response that has it is an answer to what we
// have passed on, whoever sends it, and goes nowhere else.
const branchStart = "z9hG4bKyf."

func (p *proxy) branch(m *shape, via, ret string) string {
	h := hmac.New(sha256.New, p.secret[:])
	call, _ := m.get("call-id")
	from, _ := m.get("from")
	tag, _ := param(from, "tag")
	cseq, _ := m.get("cseq")
	number, _, _ := strings.Cut(cseq, " ")
	theirs, _ := param(via, "branch")
	_, sentBy, _ := strings.Cut(via, " ")
	sentBy, _, _ = strings.Cut(sentBy, ";")
	for _, v := range []string{call, tag, number, theirs, strings.ToLower(sentBy), ret} {
		fmt.Fprintf(h, "%d\x00%s", len(v), v)
	}
	return branchStart + ret + "." + hexOf(h.Sum(nil)[:12])
}

// step is how a request is passed on.
type step struct {
	inward bool // to the node that has the call: it is told from where we have it
	routes int  // so many Route values on top are ours and end here
	record bool // what follows within the dialog is to come by us
}

// forward passes a request on (RFC 3261 §16.6).
func (p *proxy) forward(m *shape, from origin, to hop, st step) verdict {
	hops := uint64(70)
	if v, ok := m.get("max-forwards"); ok {
		n, _ := strconv.ParseUint(v, 10, 64)
		if n == 0 {
			p.s.cfg.Metrics.Onward(m.method, "hops")
			return p.refuse(m, from, 483)
		}
		hops = n - 1
	}
	if p.s.udp == nil {
		return p.refuse(m, from, 503, "Retry-After: 2")
	}
	vias := m.vias()
	top := vias[0]
	ret := hop{from.addr, from.stream}
	if _, rport := param(top, "rport"); !rport && !from.stream {
		ret.addr = netip.AddrPortFrom(from.addr.Addr(), uint16(viaPort(top)))
	}
	branch := p.branch(m, top, ret.hex())
	vias[0] = marked(top, from.addr)

	transport := strings.ToUpper(to.network())
	sentBy := p.s.sentBy(transport, to.addr.String())
	var b bytes.Buffer
	b.Grow(1024 + len(m.body))
	fmt.Fprintf(&b, "%s %s SIP/2.0\r\nVia: SIP/2.0/%s %s;branch=%s;rport\r\n", m.method, m.uri, transport, sentBy, branch)
	for _, v := range vias {
		line(&b, "Via", v)
	}
	line(&b, "Max-Forwards", strconv.FormatUint(hops, 10))
	if st.inward {
		line(&b, sentOn, from.first.sentOn())
	}
	if st.record {
		for _, r := range p.recorded(from, to, st) {
			line(&b, "Record-Route", r)
		}
	}
	ours := st.routes
	for _, f := range m.fields {
		switch f.key {
		case "via", "max-forwards", "content-length", sentOnKey:
			continue
		case "route":
			for _, r := range split(f.value, ',') {
				if ours > 0 {
					ours--
					continue
				}
				line(&b, f.name, r)
			}
			continue
		}
		line(&b, f.name, f.value)
	}
	line(&b, "Content-Length", strconv.Itoa(len(m.body)))
	b.WriteString("\r\n")
	b.Write(m.body)
	p.s.cfg.Metrics.Onward(m.method, "forwarded")
	if !p.send(b.Bytes(), to) {
		p.s.cfg.Metrics.Onward(m.method, "lost")
		return p.refuse(m, from, 430) // RFC 5626 §11.5: the connection by which the phone was reached is gone
	}
	if from.stream && !to.tcp && m.method != "ACK" {
		p.repeat(branch, b.Bytes(), to, m.method)
	}
	return verdict{}
}

// recorded gives our Record-Route: one value, or two when the two sides know us by different addresses (RFC 5658), the one for the next hop on top.
func (p *proxy) recorded(from origin, to hop, st step) []string {
	t := token{out: to, node: from.addr}
	if st.inward {
		t = token{out: hop{from.addr, from.stream}, node: to.addr}
	}
	value := func(h hop) string {
		s := "<sip:" + t.String() + "@" + p.s.sentBy(strings.ToUpper(h.network()), h.addr.String())
		if h.tcp {
			s += ";transport=tcp"
		}
		return s + ";lr>"
	}
	next, before := value(to), value(hop{from.addr, from.stream})
	if next == before {
		return []string{next}
	}
	return []string{next, before}
}

// marked puts received and rport into the Via of the one who sent us a request (RFC 3261 §18.2.1, RFC 3581 §4).
func marked(via string, source netip.AddrPort) string {
	if p, ok := param(via, "rport"); ok && p == "" {
		parts := split(via, ';')
		out := parts[0]
		for _, one := range parts[1:] {
			k, _, _ := strings.Cut(one, "=")
			switch {
			case strings.EqualFold(k, "rport"):
				one = "rport=" + strconv.Itoa(int(source.Port()))
			case strings.EqualFold(k, "received"):
				continue
			}
			out += ";" + one
		}
		return out + ";received=" + source.Addr().Unmap().String()
	}
	return received(via, source.Addr())
}

// send writes to a peer, trunk or phone; false when there is no way.
func (p *proxy) send(data []byte, to hop) bool {
	if to.tcp {
		return p.s.tcp.send(to.addr, data)
	}
	if p.s.udp == nil {
		return false
	}
	_, err := p.s.udp.WriteTo(data, net.UDPAddrFromAddrPort(to.addr))
	return err == nil
}

// repeat is sip.again: what came by TCP is not sent again by its sender, and between nodes it goes by UDP, so we repeat it until something comes back.
func (p *proxy) repeat(branch string, data []byte, to hop, method string) {
	t := p.s.cfg.Timers
	p.mu.Lock()
	if old := p.answer[branch]; old != nil || len(p.answer) >= p.s.cfg.Limits.Held || p.s.closed.Load() {
		p.mu.Unlock()
		return
	}
	heard := make(chan struct{})
	p.answer[branch] = heard
	p.mu.Unlock()
	p.s.wg.Go(func() {
		every, end := t.T1, time.NewTimer(64*t.T1)
		defer end.Stop()
		again := time.NewTimer(every)
		defer again.Stop()
		defer p.answered(branch)
		for {
			select {
			case <-again.C:
				p.send(data, to)
				if every *= 2; method != "INVITE" {
					every = min(every, t.T2)
				}
				again.Reset(every)
			case <-heard:
				return
			case <-end.C:
				return
			case <-p.s.quit:
				return
			}
		}
	})
}

func (p *proxy) answered(branch string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c := p.answer[branch]; c != nil {
		delete(p.answer, branch)
		close(c)
	}
}

// back brings a response to the one who sent the request (RFC 3261 §16.7, §16.11). false: it is no answer to what we have passed on.
func (p *proxy) back(m *shape, from origin) bool {
	vias := m.vias()
	branch, _ := param(vias[0], "branch")
	rest, ok := strings.CutPrefix(branch, branchStart)
	if !ok {
		return false
	}
	text, _, _ := strings.Cut(rest, ".")
	ret, ok := readHop(text)
	if !ok || len(vias) < 2 || !hmac.Equal([]byte(p.branch(m, vias[1], text)), []byte(branch)) {
		p.s.cfg.Metrics.Dropped("noise")
		return true
	}
	p.answered(branch)
	cseq, _ := m.get("cseq")
	number, method, _ := strings.Cut(cseq, " ")
	switch method {
	case "INVITE":
		call, _ := m.get("call-id")
		p.mu.Lock()
		if e := p.passed[call+"\x00"+m.fromTag()+"\x00"+number]; e != nil {
			e.heard = true
		}
		p.mu.Unlock()
	case "REGISTER":
		if m.status == 200 && from.peer && !p.s.cfg.peer(ret.addr.Addr()) {
			p.mu.Lock()
			room(p.phones, p.s.cfg.Limits.Bindings, func(until time.Time) time.Time { return until })
			p.phones[ret.addr.Addr()] = time.Now().Add(p.s.cfg.Timers.MaxExpire)
			p.mu.Unlock()
		}
	}
	var b bytes.Buffer
	b.Grow(1024 + len(m.body))
	fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", m.status, printable(m.reason))
	for _, v := range vias[1:] {
		line(&b, "Via", v)
	}
	for _, f := range m.fields {
		if f.key != "via" && f.key != "content-length" {
			line(&b, f.name, f.value)
		}
	}
	line(&b, "Content-Length", strconv.Itoa(len(m.body)))
	b.WriteString("\r\n")
	b.Write(m.body)
	how := "returned"
	if !p.send(b.Bytes(), ret) {
		how = "lost"
	}
	p.s.cfg.Metrics.Onward(method, how)
	return true
}
