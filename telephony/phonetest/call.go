package phonetest

import (
	"context"
	"fmt"
	"net"
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
	Inv *Message // the INVITE as it came, or as it went first (without credentials)

	ringing, answered, ended, acked *once
	audio                           *Audio // nil with NoAudio
	ctx                             context.Context
	giveUp                          context.CancelFunc // ends the wait for the answer to our INVITE

	mu        sync.Mutex
	inv       *Message // the INVITE that is under way: Inv, or the one with credentials
	peer      net.Addr // where the other side last spoke from; nil: the server
	local     string   // our From or To value, with tag
	remote    string   // theirs
	target    string
	routes    []string
	seq       int // of our last request
	theirSeq  int // of their last request
	status    int // final status of the INVITE, 0 while there is none
	answer    *Message
	why       string
	version   int    // of our SDP
	dir       string // what we want: sendrecv, or sendonly when we hold
	held      bool   // they want nothing from us
	final     bool   // the INVITE that came in has its final response
	leaving   bool   // we have sent BYE
	cancelled bool   // we want to cancel
	provision bool   // a provisional response has come, so that CANCEL may go (RFC 3261 §9.1)
	cancelOut bool   // it has gone
	again     map[int]*once
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

// newCall makes a call and, when it is filled in, lets the phone know of it.
func (p *Phone) newCall(id string, in bool, fill func(*Call)) (*Call, error) {
	c := &Call{p: p, In: in, ID: id, ringing: newOnce(), answered: newOnce(), ended: newOnce(), acked: newOnce(), dir: "sendrecv", again: map[int]*once{}}
	c.ctx, c.giveUp = context.WithCancel(p.ctx)
	if !p.cfg.NoAudio {
		a, err := newAudio(p)
		if err != nil {
			c.giveUp()
			return nil, err
		}
		c.audio = a
	}
	fill(c)
	p.mu.Lock()
	ok := !p.closing
	if ok {
		p.calls[id] = c
	}
	p.mu.Unlock()
	if !ok {
		c.end(0, "closed")
		return nil, ErrClosed
	}
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
	c, err := p.newCall(Token()+"@phone", false, func(c *Call) {
		m := p.Request("INVITE", "sip:"+number+"@"+p.cfg.Server, c.ID, 1)
		m.Add("Allow", allow).Add("Content-Type", "application/sdp")
		m.Body = c.offerLocked(nil)
		for _, o := range options {
			o(m)
		}
		c.Inv, c.inv, c.local, c.remote, c.target, c.seq = m, m, m.Get("From"), m.Get("To"), m.URI(), 1
	})
	if err != nil {
		return nil, err
	}
	t, err := p.begin(c.Inv, nil)
	if err != nil {
		c.end(0, "closed")
		return nil, err
	}
	if !p.errand(func() { c.run(t) }) {
		t.forget()
		c.end(0, "closed")
		return nil, ErrClosed
	}
	return c, nil
}

// run is the INVITE of a call that goes out, to its end.
func (c *Call) run(t *transaction) {
	m := t.m
	r, err := t.final(c.ctx, func(r *Message) {
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
	c.mu.Lock()
	cancelled := c.cancelled
	c.mu.Unlock()
	switch {
	case err != nil && cancelled: // RFC 3261 §9.1: the other side has forgotten us
		c.end(487, "cancelled")
	case err != nil:
		c.end(408, "timeout")
	case r.Status() < 300:
		c.taken(m, r)
	case (r.Status() == 401 || r.Status() == 407) && !cancelled && c.p.cfg.Password != "" && m.Get("Authorization") == "" && m.Get("Proxy-Authorization") == "":
		c.p.ack(r, ackOf(m, r))
		c.proven(m, r)
	default:
		c.p.ack(r, ackOf(m, r))
		why := "refused"
		if cancelled {
			why = "cancelled"
		}
		c.mu.Lock()
		c.answer = r
		c.mu.Unlock()
		c.end(r.Status(), why)
	}
}

// proven sends the INVITE again with the password.
func (c *Call) proven(m, r *Message) {
	name, head := "Authorization", "WWW-Authenticate"
	if r.Status() == 407 {
		name, head = "Proxy-Authorization", "Proxy-Authenticate"
	}
	proof := Digest(r.All(head), c.p.cfg.User, c.p.cfg.Password, "INVITE", m.URI())
	if proof == "" {
		c.end(r.Status(), "refused")
		return
	}
	next := &Message{Start: m.Start, Headers: append([]Header{}, m.Headers...), Body: m.Body}
	c.mu.Lock()
	c.seq++
	next.Set("Via", c.p.Via()).Set("CSeq", fmt.Sprintf("%d INVITE", c.seq)).Add(name, proof)
	c.inv, c.provision, c.cancelOut = next, false, false
	c.mu.Unlock()
	t, err := c.p.begin(next, nil)
	if err != nil {
		c.end(0, "closed")
		return
	}
	c.run(t)
}

// ackOf is the ACK of a final response that is not 2xx: of the INVITE's own transaction.
func ackOf(m, r *Message) *Message {
	a := &Message{Start: "ACK " + m.URI() + " SIP/2.0"}
	a.Add("Via", m.Get("Via")).Add("Max-Forwards", "70")
	for _, v := range m.All("Route") {
		a.Add("Route", v)
	}
	return a.Add("From", m.Get("From")).Add("To", r.Get("To")).Add("Call-ID", m.Get("Call-ID")).Add("CSeq", fmt.Sprintf("%d ACK", m.Seq()))
}

// taken: a 2xx to our INVITE.
func (c *Call) taken(m, r *Message) {
	d := parseSDP(r.Body)
	c.mu.Lock()
	c.status, c.answer, c.peer = r.Status(), r, r.from
	c.remote = r.Get("To")
	c.target = Bare(r.Get("Contact"))
	c.routes = nil
	rr := r.All("Record-Route")
	for i := len(rr) - 1; i >= 0; i-- {
		c.routes = append(c.routes, rr[i])
	}
	ack := c.requestLocked("ACK", m.Seq())
	if len(m.Body) == 0 {
		ack.Add("Content-Type", "application/sdp")
		ack.Body = c.offerLocked(&d)
	}
	wanted := !c.cancelled
	c.mu.Unlock()
	c.connect(d)
	c.p.ack(r, ack)
	if !wanted { // our CANCEL came too late
		c.Hangup()
		return
	}
	c.ringing.fire()
	c.answered.fire()
}

// isOther says of a 2xx that it comes from another than the one who took our call.
func (c *Call) isOther(m *Message) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.status >= 200 && c.status < 300 && Param(c.remote, "tag") != m.Tag("To")
}

func (c *Call) localTag() string { c.mu.Lock(); defer c.mu.Unlock(); return Param(c.local, "tag") }

// requestLocked begins a request within the dialog. mu is held.
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

// Do sends a request within the dialog and gives the final response.
func (c *Call) Do(ctx context.Context, m *Message) (*Message, error) {
	c.mu.Lock()
	to := c.peer
	c.mu.Unlock()
	return c.p.do(ctx, m, to, nil)
}

// Ringing is closed when the far side rings, Answered when the call is taken, Ended when it is over.
func (c *Call) Ringing() <-chan struct{}  { return c.ringing.c }
func (c *Call) Answered() <-chan struct{} { return c.answered.c }
func (c *Call) Ended() <-chan struct{}    { return c.ended.c }

// Acked is closed when our 200 to a call that came in was acknowledged.
func (c *Call) Acked() <-chan struct{} { return c.acked.c }

// Status is the final status of the INVITE, 0 while there is none; Why says how the call ended: refused, rejected, timeout, bye,
// hangup, cancelled, vanished, closed, unacknowledged; "" while it has not.
func (c *Call) Status() int { c.mu.Lock(); defer c.mu.Unlock(); return c.status }
func (c *Call) Why() string { c.mu.Lock(); defer c.mu.Unlock(); return c.why }

// By says who ended the call: "us", "them", or "" when it has not ended or nobody did (no answer came).
func (c *Call) By() string {
	switch why := c.Why(); {
	case why == "cancelled" && c.In, why == "bye", why == "refused":
		return "them"
	case why == "" || why == "timeout" || why == "unacknowledged":
		return ""
	}
	return "us"
}

// Header gives a header of what the other side said: of its INVITE when it called, else of its final response.
func (c *Call) Header(name string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.In:
		return c.Inv.Get(name)
	case c.answer != nil:
		return c.answer.Get(name)
	}
	return ""
}

// RetryAfter is how long we were asked to wait before we call again; zero: not at all.
func (c *Call) RetryAfter() time.Duration {
	v, _, _ := strings.Cut(c.Header("Retry-After"), ";")
	v, _, _ = strings.Cut(v, "(")
	n, err := strconv.Atoi(strings.TrimSpace(v))
	if err != nil || n < 0 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// Held says that the other side has put us on hold: nothing of what we say is sent meanwhile.
func (c *Call) Held() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.held }

// Audio is the call's sound, nil with NoAudio.
func (c *Call) Audio() *Audio { return c.audio }

// connect speaks to where a description says, unless it wants to hear nothing.
func (c *Call) connect(d media) {
	if len(d.formats) == 0 {
		return
	}
	held := d.dir == "sendonly" || d.dir == "inactive" || d.host == "0.0.0.0"
	c.mu.Lock()
	c.held = held
	c.mu.Unlock()
	if c.audio != nil {
		c.audio.connect(d, c.p.codec(d), held)
	}
}

func (c *Call) end(status int, why string) {
	c.mu.Lock()
	if c.why != "" { // it has ended already, and stays as it ended
		c.mu.Unlock()
		return
	}
	if c.status == 0 || status >= 300 {
		c.status = status
	}
	c.why, c.final = why, true
	c.mu.Unlock()
	if c.audio != nil {
		c.audio.close()
	}
	c.p.mu.Lock()
	if c.p.calls[c.ID] == c {
		delete(c.p.calls, c.ID)
	}
	c.p.mu.Unlock()
	c.giveUp()
	c.ended.fire()
}

// Hangup ends the call whatever its state: CANCEL, BYE, or 603 to a call that came in. BYE is on its way when it returns; a
// cancelled call ends when the other side agrees.
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
		c.bye("hangup")
	}
}

func (c *Call) bye(why string) {
	c.mu.Lock()
	if c.leaving {
		c.mu.Unlock()
		return
	}
	c.leaving = true
	c.seq++
	m, to := c.requestLocked("BYE", c.seq), c.peer
	c.mu.Unlock()
	c.p.finish(m, to)
	c.end(0, why)
}

// Vanish ends the call on this side without telling the other: a phone whose plug is pulled.
func (c *Call) Vanish() { c.end(0, "vanished") }

// leave is Hangup for a phone that closes.
func (c *Call) leave() {
	if c.In && !c.answered.done() {
		c.Reject(480, "Temporarily Unavailable")
		return
	}
	c.Hangup()
}

// cancel sends CANCEL for the INVITE under way, once, and gives it 64 × T1 to bring a final response.
func (c *Call) cancel() {
	c.mu.Lock()
	out, inv := c.cancelOut, c.inv
	c.cancelOut = true
	c.mu.Unlock()
	if out {
		return
	}
	m := &Message{Start: "CANCEL " + inv.URI() + " SIP/2.0"}
	m.Add("Via", inv.Get("Via")).Add("Max-Forwards", "70").Add("From", inv.Get("From")).Add("To", inv.Get("To")).Add("Call-ID", c.ID).
		Add("CSeq", fmt.Sprintf("%d CANCEL", inv.Seq()))
	c.p.finish(m, nil)
	c.p.spawn(func() {
		t := time.NewTimer(64 * c.p.cfg.T1)
		defer t.Stop()
		select {
		case <-t.C:
			c.giveUp()
		case <-c.ctx.Done():
		}
	})
}

// Reinvite sends an INVITE within the call with the given direction ("" for no SDP at all) and gives the final response, acknowledged.
func (c *Call) Reinvite(ctx context.Context, direction string, change func(*Message)) (*Message, error) {
	c.mu.Lock()
	before := c.dir
	c.seq++
	m := c.requestLocked("INVITE", c.seq)
	if direction != "" {
		c.dir = direction
		m.Add("Content-Type", "application/sdp")
		m.Body = c.offerLocked(nil)
	}
	c.mu.Unlock()
	if change != nil {
		change(m)
	}
	r, err := c.Do(ctx, m)
	if err != nil {
		return nil, err
	}
	if r.Status() >= 300 {
		c.mu.Lock()
		c.dir = before
		c.mu.Unlock()
		c.p.ack(r, ackOf(m, r))
		return r, nil
	}
	d := parseSDP(r.Body)
	c.mu.Lock()
	if t := Bare(r.Get("Contact")); t != "" {
		c.target = t
	}
	ack := c.requestLocked("ACK", m.Seq())
	if len(m.Body) == 0 {
		ack.Add("Content-Type", "application/sdp")
		ack.Body = c.offerLocked(&d)
	}
	c.mu.Unlock()
	c.connect(d)
	c.p.ack(r, ack)
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
	r, err := c.Do(ctx, m)
	if err == nil && r.Status() != 200 {
		err = fmt.Errorf("phonetest: INFO answered with %s", r.Start)
	}
	return err
}
