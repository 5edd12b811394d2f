package phonetest

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Call is one call of a phone, in or out.
type Call struct {
	p   *Phone
	In  bool
	ID  string   // Call-ID
	Inv *Message // the INVITE, ours or theirs

	ringing, answered, ended *once
	audio                    *Audio // nil with NoAudio

	mu        sync.Mutex
	local     string // our From or To value, with tag
	remote    string // theirs
	target    string
	routes    []string
	seq       int
	status    int // final status of the INVITE, 0 while there is none
	why       string
	sdp       int // version
	dir       string
	acked     *once
	ack       *Message
	cancelled bool
	provision bool
	last      *Message // the last request within the dialog that came
}

// once is a channel that is closed once.
type once struct {
	c  chan struct{}
	do sync.Once
}

func newOnce() *once  { return &once{c: make(chan struct{})} }
func (o *once) fire() { o.do.Do(func() { close(o.c) }) }
func (o *once) done() bool {
	select {
	case <-o.c:
		return true
	default:
		return false
	}
}

func (p *Phone) newCall(id string, in bool) (*Call, error) {
	c := &Call{p: p, In: in, ID: id, ringing: newOnce(), answered: newOnce(), ended: newOnce(), acked: newOnce(), dir: "sendrecv"}
	if !p.cfg.NoAudio {
		a, err := newAudio(p)
		if err != nil {
			return nil, err
		}
		c.audio = a
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		if c.audio != nil {
			c.audio.close()
		}
		return nil, ErrClosed
	}
	p.calls[id] = c
	return c, nil
}

// Option changes an INVITE before it goes.
type Option func(*Message)

// NoOffer sends the INVITE without SDP: the offer comes in the 200, our answer goes in the ACK.
func NoOffer() Option { return func(m *Message) { m.Body = nil; m.Set("Content-Type", "text/plain") } }

// With adds a header line.
func With(name, value string) Option { return func(m *Message) { m.Add(name, value) } }

// Call calls a number at the server. It returns when the INVITE is on its way.
func (p *Phone) Call(number string, options ...Option) (*Call, error) {
	c, err := p.newCall(Token()+"@phone", false)
	if err != nil {
		return nil, err
	}
	m := p.Request("INVITE", "sip:"+number+"@"+p.cfg.Server, c.ID, 1)
	m.Add("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO").Add("Content-Type", "application/sdp")
	m.Body = c.describe()
	for _, o := range options {
		o(m)
	}
	c.Inv, c.local, c.remote, c.target, c.seq = m, m.Get("From"), m.Get("To"), m.URI(), 1
	p.wg.Go(func() { c.run(m) })
	return c, nil
}

// run is the INVITE of a call that goes out, to its end.
func (c *Call) run(m *Message) {
	r, err := c.p.Do(c.p.ctx, m, func(r *Message) {
		if r.Status() > 100 && r.Status() < 200 {
			c.ringing.fire()
		}
		if r.Status() < 200 {
			c.mu.Lock()
			c.provision = true
			late := c.cancelled
			c.mu.Unlock()
			if late {
				c.cancel()
			}
		}
	})
	switch {
	case err != nil:
		c.end(408, "timeout")
	case r.Status() < 300:
		c.taken(r)
	case (r.Status() == 401 || r.Status() == 407) && c.p.cfg.Password != "" && m.Get("Authorization") == "" && m.Get("Proxy-Authorization") == "":
		c.p.Send(ackOf(m, r))
		name, head := "Authorization", "WWW-Authenticate"
		if r.Status() == 407 {
			name, head = "Proxy-Authorization", "Proxy-Authenticate"
		}
		next := &Message{Start: m.Start, Headers: append([]Header{}, m.Headers...), Body: m.Body}
		c.seq++
		next.Set("Via", c.p.Via()).Set("CSeq", fmt.Sprintf("%d INVITE", c.seq))
		next.Add(name, Digest(r.All(head), c.p.cfg.User, c.p.cfg.Password, "INVITE", m.URI()))
		c.Inv = next
		c.run(next)
	default:
		c.p.Send(ackOf(m, r))
		c.end(r.Status(), "refused")
	}
}

// ackOf is the ACK of a final response that is not 2xx: of the INVITE's own transaction.
func ackOf(m, r *Message) *Message {
	a := &Message{Start: "ACK " + m.URI() + " SIP/2.0"}
	return a.Add("Via", m.Get("Via")).Add("Max-Forwards", "70").Add("From", m.Get("From")).Add("To", r.Get("To")).Add("Call-ID", m.Get("Call-ID")).
		Add("CSeq", fmt.Sprintf("%d ACK", m.Seq()))
}

func (c *Call) taken(r *Message) {
	c.mu.Lock()
	c.status = r.Status()
	c.remote = r.Get("To")
	c.target = Bare(r.Get("Contact"))
	c.routes = nil
	rr := r.All("Record-Route")
	for i := len(rr) - 1; i >= 0; i-- {
		c.routes = append(c.routes, rr[i])
	}
	ack := c.requestLocked("ACK", c.seq)
	if len(c.Inv.Body) == 0 {
		ack.Add("Content-Type", "application/sdp")
		ack.Body = c.describeLocked()
	}
	c.ack = ack
	wanted := !c.cancelled
	c.mu.Unlock()
	if c.audio != nil {
		c.audio.connect(r.Body)
	}
	c.p.Send(ack)
	if !wanted { // our CANCEL came too late
		c.Hangup()
		return
	}
	c.ringing.fire()
	c.answered.fire()
}

// again: the 2xx has come once more.
func (c *Call) again(*Message) {
	c.mu.Lock()
	ack := c.ack
	c.mu.Unlock()
	if ack != nil {
		c.p.Send(ack)
	}
}

// request begins a request within the dialog. mu is held.
func (c *Call) requestLocked(method string, seq int) *Message {
	m := &Message{Start: method + " " + c.target + " SIP/2.0"}
	m.Add("Via", c.p.Via()).Add("Max-Forwards", "70")
	for _, r := range c.routes {
		m.Add("Route", r)
	}
	m.Add("From", c.local).Add("To", c.remote).Add("Call-ID", c.ID).Add("CSeq", fmt.Sprintf("%d %s", seq, method)).Add("Contact", c.p.contact())
	return m
}

// Request begins a request within the dialog with the next CSeq.
func (c *Call) Request(method string) *Message {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.seq++
	return c.requestLocked(method, c.seq)
}

// Ringing is closed when the far side rings, Answered when the call is taken, Ended when it is over.
func (c *Call) Ringing() <-chan struct{}  { return c.ringing.c }
func (c *Call) Answered() <-chan struct{} { return c.answered.c }
func (c *Call) Ended() <-chan struct{}    { return c.ended.c }

// Acked is closed when our 200 to a call that came in was acknowledged.
func (c *Call) Acked() <-chan struct{} { return c.acked.c }

// Status is the final status of the INVITE, 0 while there is none; Why says how it ended: refused, timeout, bye, hangup, cancelled.
func (c *Call) Status() int { c.mu.Lock(); defer c.mu.Unlock(); return c.status }
func (c *Call) Why() string { c.mu.Lock(); defer c.mu.Unlock(); return c.why }

// Audio is the call's sound, nil with NoAudio.
func (c *Call) Audio() *Audio { return c.audio }

func (c *Call) end(status int, why string) {
	c.mu.Lock()
	if c.status == 0 || status >= 300 {
		c.status = status
	}
	if c.why == "" {
		c.why = why
	}
	c.mu.Unlock()
	if c.audio != nil {
		c.audio.close()
	}
	c.p.mu.Lock()
	delete(c.p.calls, c.ID)
	c.p.mu.Unlock()
	c.ended.fire()
}

// Hangup ends the call whatever its state: CANCEL, BYE, or 603 to a call that came in.
func (c *Call) Hangup() {
	switch {
	case c.ended.done():
	case c.In && !c.answered.done():
		c.Reject(603, "Decline")
	case !c.In && c.Status() == 0:
		c.mu.Lock()
		c.cancelled = true
		now := c.provision
		c.mu.Unlock()
		if now {
			c.cancel()
		}
	default:
		m := c.Request("BYE")
		c.p.wg.Go(func() {
			ctx, stop := context.WithTimeout(c.p.ctx, 32*time.Second)
			defer stop()
			_, _ = c.p.Do(ctx, m, nil)
		})
		c.end(0, "hangup")
	}
}

// Vanish ends the call on this side without telling the other: a phone whose plug is pulled.
func (c *Call) Vanish() { c.end(0, "vanished") }

// leave is Hangup for a phone that closes: one BYE, CANCEL or 603, no waiting.
func (c *Call) leave() {
	switch {
	case c.ended.done():
	case c.In && !c.answered.done():
		c.p.Reply(c.Inv, 480, "Temporarily Unavailable", nil)
	case !c.In && c.Status() == 0:
		c.p.Send(c.cancelMessage())
	default:
		c.p.Send(c.Request("BYE"))
	}
	c.end(0, "closed")
}

func (c *Call) cancelMessage() *Message {
	m := &Message{Start: "CANCEL " + c.Inv.URI() + " SIP/2.0"}
	return m.Add("Via", c.Inv.Get("Via")).Add("Max-Forwards", "70").Add("From", c.Inv.Get("From")).Add("To", c.Inv.Get("To")).Add("Call-ID", c.ID).
		Add("CSeq", fmt.Sprintf("%d CANCEL", c.Inv.Seq()))
}

func (c *Call) cancel() {
	c.p.wg.Go(func() {
		ctx, stop := context.WithTimeout(c.p.ctx, 32*time.Second)
		defer stop()
		_, _ = c.p.Do(ctx, c.cancelMessage(), nil)
	})
}

// describe writes our SDP.
func (c *Call) describe() []byte { c.mu.Lock(); defer c.mu.Unlock(); return c.describeLocked() }

func (c *Call) describeLocked() []byte {
	port, host := 9, "127.0.0.1"
	if c.audio != nil {
		port = c.audio.Port()
	}
	pt := 8
	if c.p.cfg.Codec == "PCMU" {
		pt = 0
	}
	c.sdp++
	return fmt.Appendf(nil, "v=0\r\no=phone 1 %d IN IP4 %s\r\ns=-\r\nc=IN IP4 %s\r\nt=0 0\r\nm=audio %d RTP/AVP %d 101\r\na=rtpmap:%d %s/8000\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=%s\r\n",
		c.sdp, host, host, port, pt, pt, c.p.cfg.Codec, c.dir)
}

// invited: a call comes in.
func (p *Phone) invited(m *Message) {
	if p.cfg.OnCall == nil {
		p.Reply(m, 480, "Temporarily Unavailable", nil)
		return
	}
	c, err := p.newCall(m.Get("Call-ID"), true)
	if err != nil {
		p.Reply(m, 500, "Server Internal Error", nil)
		return
	}
	c.Inv, c.local, c.remote, c.target = m, m.Get("To")+";tag="+tagFor(m), m.Get("From"), Bare(m.Get("Contact"))
	c.routes = m.All("Record-Route")
	p.wg.Go(func() { p.cfg.OnCall(c) })
}

// Ring answers a call that came in with 180.
func (c *Call) Ring() {
	c.p.Reply(c.Inv, 180, "Ringing", func(r *Message) { r.Add("Contact", c.p.contact()) })
	c.ringing.fire()
}

// Answer takes a call that came in, and repeats the 200 until the ACK, for 32 s.
func (c *Call) Answer() {
	if !c.In || c.answered.done() || c.ended.done() {
		return
	}
	sdp := c.describe()
	if c.audio != nil {
		c.audio.connect(c.Inv.Body)
	}
	c.mu.Lock()
	c.status = 200
	c.mu.Unlock()
	c.ok(c.Inv, sdp)
	c.ringing.fire()
	c.answered.fire()
}

// ok sends a 200 to an INVITE and repeats it until the ACK.
func (c *Call) ok(req *Message, sdp []byte) {
	send := func() {
		c.p.Reply(req, 200, "OK", func(r *Message) {
			r.Add("Contact", c.p.contact()).Add("Allow", "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO").Add("Content-Type", "application/sdp")
			r.Body = sdp
		})
	}
	c.mu.Lock()
	acked := newOnce()
	if req == c.Inv {
		acked = c.acked
	} else {
		c.acked = acked
	}
	c.mu.Unlock()
	send()
	c.p.wg.Go(func() {
		every := c.p.cfg.T1
		for total := time.Duration(0); total < 64*c.p.cfg.T1; total += every {
			t := time.NewTimer(every)
			select {
			case <-acked.c:
				t.Stop()
				return
			case <-c.ended.c:
				t.Stop()
				return
			case <-c.p.ctx.Done():
				t.Stop()
				return
			case <-t.C:
			}
			send()
			every = min(2*every, 8*c.p.cfg.T1)
		}
	})
}

// Reject refuses a call that came in.
func (c *Call) Reject(status int, reason string) {
	c.p.Reply(c.Inv, status, reason, nil)
	c.end(status, "rejected")
}

// Busy and Decline are the two usual ways.
func (c *Call) Busy()    { c.Reject(486, "Busy Here") }
func (c *Call) Decline() { c.Reject(603, "Decline") }

// request deals with a request within the call.
func (c *Call) request(m *Message) {
	c.mu.Lock()
	c.last = m
	acked := c.acked
	c.mu.Unlock()
	switch m.Method() {
	case "ACK":
		if len(m.Body) > 0 && c.audio != nil {
			c.audio.connect(m.Body)
		}
		acked.fire()
	case "BYE":
		c.p.Reply(m, 200, "OK", nil)
		c.end(0, "bye")
	case "CANCEL":
		c.p.Reply(m, 200, "OK", nil)
		if c.In && !c.answered.done() {
			c.p.Reply(c.Inv, 487, "Request Terminated", nil)
			c.end(487, "cancelled")
		}
	case "INVITE":
		if c.audio != nil {
			c.audio.connect(m.Body)
		}
		c.ok(m, c.describe())
	case "UPDATE", "OPTIONS", "INFO":
		c.p.Reply(m, 200, "OK", nil)
	default:
		c.p.Reply(m, 405, "Method Not Allowed", nil)
	}
}

// Reinvite sends an INVITE within the call with the given direction ("" for no SDP at all) and gives the final response, acknowledged.
func (c *Call) Reinvite(ctx context.Context, direction string, change func(*Message)) (*Message, error) {
	m := c.Request("INVITE")
	c.mu.Lock()
	if direction != "" {
		c.dir = direction
		m.Add("Content-Type", "application/sdp")
		m.Body = c.describeLocked()
	}
	c.mu.Unlock()
	if change != nil {
		change(m)
	}
	r, err := c.p.Do(ctx, m, nil)
	if err != nil {
		return nil, err
	}
	if r.Status() >= 300 {
		c.p.Send(ackOf(m, r))
		return r, nil
	}
	c.mu.Lock()
	ack := c.requestLocked("ACK", m.Seq())
	if len(m.Body) == 0 {
		ack.Add("Content-Type", "application/sdp")
		ack.Body = c.describeLocked()
	}
	c.ack = ack
	c.mu.Unlock()
	c.p.Send(ack)
	return r, nil
}

// Hold puts the far side on hold, Resume takes it back.
func (c *Call) Hold(ctx context.Context) error   { return c.direct(ctx, "sendonly") }
func (c *Call) Resume(ctx context.Context) error { return c.direct(ctx, "sendrecv") }

func (c *Call) direct(ctx context.Context, dir string) error {
	r, err := c.Reinvite(ctx, dir, nil)
	if err == nil && r.Status() != 200 {
		err = fmt.Errorf("phonetest: re-INVITE answered with %s", r.Start)
	}
	return err
}

// Info presses a key by INFO (application/dtmf-relay).
func (c *Call) Info(ctx context.Context, key string) error {
	m := c.Request("INFO").Add("Content-Type", "application/dtmf-relay")
	m.Body = []byte("Signal=" + key + "\r\nDuration=160\r\n")
	r, err := c.p.Do(ctx, m, nil)
	if err == nil && r.Status() != 200 {
		err = fmt.Errorf("phonetest: INFO answered with %s", r.Start)
	}
	return err
}

// SDPAddress gives where a description wants its audio.
func SDPAddress(sdp []byte) (host string, port, payload int) {
	for l := range strings.Lines(string(sdp)) {
		l = strings.TrimSpace(l)
		if h, ok := strings.CutPrefix(l, "c=IN IP4 "); ok {
			host = h
		}
		if m, ok := strings.CutPrefix(l, "m=audio "); ok {
			f := strings.Fields(m)
			if len(f) >= 3 {
				port, _ = strconv.Atoi(f[0])
				payload, _ = strconv.Atoi(f[2])
			}
		}
	}
	return host, port, payload
}

// SDPDirection gives a description's direction.
func SDPDirection(sdp []byte) string {
	for l := range strings.Lines(string(sdp)) {
		switch v := strings.TrimSpace(l); v {
		case "a=sendonly", "a=recvonly", "a=inactive", "a=sendrecv":
			return v[2:]
		}
	}
	return "sendrecv"
}
