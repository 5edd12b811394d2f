package phonetest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

const allow = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE"

func (p *Phone) readPackets() {
	buf := make([]byte, 65536)
	for {
		n, from, err := p.pc.ReadFrom(buf)
		if err != nil {
			if p.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue // an ICMP error of something that we sent
		}
		if m, err := ParseMessage(buf[:n]); err == nil {
			m.from = from
			p.got(m)
		}
	}
}

func (p *Phone) readStream() {
	r := bufio.NewReader(p.tcp)
	for {
		m, err := ReadMessage(r)
		if err != nil {
			return
		}
		p.got(m)
	}
}

// ReadMessage reads one message from a stream.
func ReadMessage(r *bufio.Reader) (*Message, error) {
	var head bytes.Buffer
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if head.Len() == 0 && strings.TrimSpace(line) == "" {
			continue
		}
		head.WriteString(line)
		if strings.TrimSpace(line) == "" {
			break
		}
		if head.Len() > 1<<20 {
			return nil, errors.New("phonetest: headers without end")
		}
	}
	m, err := ParseMessage(head.Bytes())
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(m.Get("Content-Length"))
	if n < 0 || n > 1<<20 {
		return nil, fmt.Errorf("phonetest: a body of %d bytes", n)
	}
	m.Body = make([]byte, n)
	if _, err := io.ReadFull(r, m.Body); err != nil {
		return nil, err
	}
	return m, nil
}

// Send writes a message to the server as it is.
func (p *Phone) Send(m *Message) { p.sendTo(m, nil) }

// sendTo writes a message to an address; nil is the server. Over TCP there is only the one connection.
func (p *Phone) sendTo(m *Message, to net.Addr) {
	if p.cfg.Trace != nil {
		p.cfg.Trace(false, m)
	}
	if p.cfg.Lose != nil && p.cfg.Lose(m) {
		return
	}
	p.write(m.Bytes(), to)
}

func (p *Phone) write(data []byte, to net.Addr) {
	p.writeM.Lock()
	defer p.writeM.Unlock()
	if p.tcp != nil {
		_ = p.tcp.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = p.tcp.Write(data)
		return
	}
	if to == nil {
		to = p.server
	}
	_, _ = p.pc.WriteTo(data, to)
}

func (p *Phone) got(m *Message) {
	if p.cfg.Trace != nil {
		p.cfg.Trace(true, m)
	}
	if m.Status() != 0 {
		p.response(m)
	} else {
		p.request(m)
	}
}

func (p *Phone) response(m *Message) {
	p.mu.Lock()
	c := p.waiting[m.Branch()+m.Method()]
	call := p.calls[m.Get("Call-ID")]
	ack, acked := p.acks.get(m.Branch() + m.Tag("To"))
	p.mu.Unlock()
	switch {
	case c != nil:
		select {
		case c <- m:
		default: // nobody repeats himself 32 times faster than we read
		}
	case m.Method() != "INVITE" || m.Status() < 200:
	case acked:
		p.sendTo(ack.m, ack.to)
	case m.Status() < 300 && (call == nil || call.isOther(m)):
		p.stray(m)
	}
}

// stray: a 2xx to an INVITE that we have given up or that another has taken already. It is acknowledged and ended
// (RFC 3261 §13.2.2.4), or its sender would stay in a call with nobody.
func (p *Phone) stray(m *Message) {
	about := func(method string, seq int) *Message {
		r := &Message{Start: method + " " + Bare(m.Get("Contact")) + " SIP/2.0"}
		r.Add("Via", p.Via()).Add("Max-Forwards", "70")
		routes := m.All("Record-Route")
		for i := len(routes) - 1; i >= 0; i-- {
			r.Add("Route", routes[i])
		}
		return r.Add("From", m.Get("From")).Add("To", m.Get("To")).Add("Call-ID", m.Get("Call-ID")).Add("CSeq", fmt.Sprintf("%d %s", seq, method))
	}
	p.ack(m, about("ACK", m.Seq()))
	p.finish(about("BYE", m.Seq()+1), m.from)
}

// ack acknowledges a final response, and will again when the response comes again.
func (p *Phone) ack(r, ack *Message) {
	p.mu.Lock()
	p.acks.put(r.Branch()+r.Tag("To"), reply{ack, r.from})
	p.mu.Unlock()
	p.sendTo(ack, r.from)
}

// finish sends a BYE or CANCEL at once and repeats it in the background until it is answered.
func (p *Phone) finish(m *Message, to net.Addr) {
	t, err := p.begin(m, to)
	if err != nil {
		return
	}
	if !p.errand(func() { _, _ = t.final(p.ctx, nil) }) {
		t.forget()
	}
}

func (p *Phone) request(m *Message) {
	key := m.Branch() + m.Method()
	p.mu.Lock()
	old, seen := p.replies.get(key)
	call := p.calls[m.Get("Call-ID")]
	if !seen && m.Method() != "ACK" {
		p.replies.put(key, reply{})
	}
	p.mu.Unlock()
	if seen {
		switch {
		case old.m != nil:
			p.sendTo(old.m, old.to)
		case m.Method() == "INVITE":
			p.sendTo(m.Response(100, "Trying", ""), m.from)
		}
		return
	}
	switch m.Method() {
	case "ACK":
		p.mu.Lock()
		refused := p.refused[m.Branch()]
		p.mu.Unlock()
		switch {
		case refused != nil:
			refused.fire()
		case call != nil:
			call.request(m)
		}
		return
	case "CANCEL":
		if call != nil && call.Inv.Branch() == m.Branch() {
			call.request(m)
			return
		}
	default:
		switch {
		case m.Tag("To") == "" && m.Method() == "INVITE":
			if call != nil { // the same call over another way (RFC 3261 §8.2.2.2)
				p.refuse(m, 482, "Loop Detected")
				return
			}
			p.invited(m)
			return
		case m.Tag("To") == "" && m.Method() == "OPTIONS":
			p.Reply(m, 200, "OK", func(r *Message) { r.Add("Allow", allow).Add("Accept", "application/sdp") })
			return
		case m.Tag("To") == "" && !strings.Contains(allow, m.Method()):
			p.Reply(m, 501, "Not Implemented", func(r *Message) { r.Add("Allow", allow) })
			return
		case call != nil && m.Tag("To") == call.localTag():
			call.request(m)
			return
		}
	}
	p.Reply(m, 481, "Call/Transaction Does Not Exist", nil)
}

// Reply answers a request to where it came from and keeps the answer for when it comes again. extra may change the response
// before it goes.
func (p *Phone) Reply(req *Message, status int, reason string, extra func(*Message)) {
	r := req.Response(status, reason, tagFor(req))
	if extra != nil {
		extra(r)
	}
	p.mu.Lock()
	p.replies.put(req.Branch()+req.Method(), reply{r, req.from})
	p.mu.Unlock()
	p.sendTo(r, req.from)
}

// refuse gives an INVITE a final response that is not 2xx, and repeats it over UDP until the ACK (RFC 3261 §17.2.1, timers G and H).
func (p *Phone) refuse(inv *Message, status int, reason string) {
	acked := newOnce()
	p.mu.Lock()
	p.refused[inv.Branch()] = acked
	p.mu.Unlock()
	p.Reply(inv, status, reason, nil)
	forget := func() {
		p.mu.Lock()
		delete(p.refused, inv.Branch())
		p.mu.Unlock()
	}
	ok := p.errand(func() {
		defer forget()
		p.repeat(acked.c, nil, p.tcp == nil, func() { p.Reply(inv, status, reason, nil) })
	})
	if !ok {
		forget()
	}
}

// repeat sends again after T1, 2 T1, 4 T1 and then every 8 T1 at most, if it is to, until done or over is closed. True: nothing
// happened for 64 T1.
func (p *Phone) repeat(done, over <-chan struct{}, repeat bool, send func()) bool {
	every := p.cfg.T1
	end := time.NewTimer(64 * p.cfg.T1)
	defer end.Stop()
	again := time.NewTimer(every)
	defer again.Stop()
	if !repeat {
		again.Stop()
	}
	for {
		select {
		case <-done:
			return false
		case <-over:
			return false
		case <-p.ctx.Done():
			return false
		case <-end.C:
			return true
		case <-again.C:
			send()
			every = min(2*every, 8*p.cfg.T1)
			again.Reset(every)
		}
	}
}

// transaction is a request of ours that waits for its final response (RFC 3261 §17.1).
type transaction struct {
	p   *Phone
	m   *Message
	to  net.Addr
	key string
	c   chan *Message
}

// begin sends a request; final must follow, or forget.
func (p *Phone) begin(m *Message, to net.Addr) (*transaction, error) {
	t := &transaction{p: p, m: m, to: to, key: m.Branch() + m.Method(), c: make(chan *Message, 32)}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	p.waiting[t.key] = t.c
	p.mu.Unlock()
	p.sendTo(m, to)
	return t, nil
}

func (t *transaction) forget() {
	t.p.mu.Lock()
	delete(t.p.waiting, t.key)
	t.p.mu.Unlock()
}

// final repeats the request over UDP (timers A and E), gives each response to each (nil: none) and returns the final one.
// An INVITE is not repeated after its first response, and then waits for as long as it takes; all else ends after
// 64 × T1 (timers B and F) with ErrTimeout.
func (t *transaction) final(ctx context.Context, each func(*Message)) (*Message, error) {
	defer t.forget()
	t1 := t.p.cfg.T1
	every := t1
	again := time.NewTimer(every)
	defer again.Stop()
	if t.p.tcp != nil {
		again.Stop()
	}
	end := time.NewTimer(64 * t1)
	defer end.Stop()
	invite := t.m.Method() == "INVITE"
	for {
		select {
		case r := <-t.c:
			if each != nil {
				each(r)
			}
			if r.Status() >= 200 {
				return r, nil
			}
			if invite {
				again.Stop()
				end.Stop()
			} else {
				every = 8 * t1
			}
		case <-again.C:
			t.p.sendTo(t.m, t.to)
			every *= 2
			if !invite {
				every = min(every, 8*t1)
			}
			again.Reset(every)
		case <-end.C:
			return nil, ErrTimeout
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-t.p.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// Do sends a request to the server, repeats it over UDP, and gives each response to each (nil: none) until the final one,
// which it returns.
func (p *Phone) Do(ctx context.Context, m *Message, each func(*Message)) (*Message, error) {
	return p.do(ctx, m, nil, each)
}

func (p *Phone) do(ctx context.Context, m *Message, to net.Addr, each func(*Message)) (*Message, error) {
	t, err := p.begin(m, to)
	if err != nil {
		return nil, err
	}
	return t.final(ctx, each)
}
