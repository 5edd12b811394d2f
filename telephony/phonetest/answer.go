package phonetest

// invited: a call comes in.
func (p *Phone) invited(m *Message) {
	p.mu.Lock()
	queue := p.incoming
	p.mu.Unlock()
	if p.cfg.OnCall == nil && queue == nil {
		p.refuse(m, 480, "Temporarily Unavailable")
		return
	}
	c, err := p.newCall(m.Get("Call-ID"), true, func(c *Call) {
		c.Inv, c.inv, c.local, c.remote, c.target = m, m, m.Get("To")+";tag="+tagFor(m), m.Get("From"), Bare(m.Get("Contact"))
		c.routes, c.peer, c.theirSeq = m.All("Record-Route"), m.from, m.Seq()
	})
	switch {
	case err != nil:
		p.refuse(m, 500, "Server Internal Error")
	case p.cfg.OnCall != nil:
		p.spawn(func() { p.cfg.OnCall(c) })
	default:
		c.Ring()
		select {
		case queue <- c:
		default:
			c.Busy()
		}
	}
}

// Ring answers a call that came in with 180.
func (c *Call) Ring() {
	c.mu.Lock()
	defer c.mu.Unlock() // so that no 180 overtakes the final response
	if !c.In || c.final {
		return
	}
	c.p.Reply(c.Inv, 180, "Ringing", func(r *Message) { r.Add("Contact", c.p.contact()) })
	c.ringing.fire()
}

// settle says whether the caller of settle is the one to give the INVITE that came in its final response.
func (c *Call) settle(status int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.In || c.final {
		return false
	}
	c.final, c.status = true, status
	return true
}

// Answer takes a call that came in, and repeats the 200 until the ACK, for 64 × T1; without one the call is ended. A call whose
// offer has nothing that we speak is refused with 488. Nothing happens when the call is answered or over.
func (c *Call) Answer() {
	var offer *media
	if len(c.Inv.Body) > 0 {
		d := parseSDP(c.Inv.Body)
		if offer = &d; c.p.codec(d) < 0 {
			c.Reject(488, "Not Acceptable Here")
			return
		}
	}
	if !c.settle(200) {
		return
	}
	c.mu.Lock()
	sdp := c.offerLocked(offer)
	c.mu.Unlock()
	if offer != nil {
		c.connect(*offer)
	}
	c.ok(c.Inv, sdp, c.acked)
	c.ringing.fire()
	c.answered.fire()
}

// ok sends a 200 to an INVITE and repeats it until the ACK (RFC 3261 §13.3.1.4).
func (c *Call) ok(req *Message, sdp []byte, acked *once) {
	c.mu.Lock()
	c.again[req.Seq()] = acked
	c.mu.Unlock()
	send := func() {
		c.p.Reply(req, 200, "OK", func(r *Message) {
			r.Add("Contact", c.p.contact()).Add("Allow", allow).Add("Content-Type", "application/sdp")
			r.Body = sdp
		})
	}
	send()
	c.p.spawn(func() {
		if c.p.repeat(acked.c, c.ended.c, true, send) {
			c.bye("unacknowledged")
		}
	})
}

// Reject refuses a call that came in.
func (c *Call) Reject(status int, reason string) {
	if !c.settle(status) {
		return
	}
	c.p.refuse(c.Inv, status, reason)
	c.end(status, "rejected")
}

// Busy and Decline are the two usual ways.
func (c *Call) Busy()    { c.Reject(486, "Busy Here") }
func (c *Call) Decline() { c.Reject(603, "Decline") }

// request deals with a request within the call.
func (c *Call) request(m *Message) {
	c.mu.Lock()
	late := false
	if m.Method() != "ACK" && m.Method() != "CANCEL" {
		if late = m.Seq() <= c.theirSeq; !late {
			c.theirSeq = m.Seq()
		}
	}
	if m.from != nil {
		c.peer = m.from
	}
	c.mu.Unlock()
	if late { // RFC 3261 §12.2.2
		c.p.Reply(m, 500, "CSeq Out Of Order", nil)
		return
	}
	switch m.Method() {
	case "ACK":
		c.mu.Lock()
		acked := c.again[m.Seq()]
		delete(c.again, m.Seq())
		c.mu.Unlock()
		if acked == nil {
			return
		}
		if len(m.Body) > 0 {
			c.connect(parseSDP(m.Body))
		}
		acked.fire()
	case "BYE":
		c.p.Reply(m, 200, "OK", nil)
		if c.settle(487) {
			c.p.refuse(c.Inv, 487, "Request Terminated")
		}
		c.end(0, "bye")
	case "CANCEL":
		c.p.Reply(m, 200, "OK", nil)
		if c.settle(487) {
			c.p.refuse(c.Inv, 487, "Request Terminated")
			c.end(487, "cancelled")
		}
	case "INVITE":
		if sdp, ok := c.offered(m); ok {
			c.ok(m, sdp, newOnce())
		} else {
			c.p.refuse(m, 488, "Not Acceptable Here")
		}
	case "UPDATE":
		if len(m.Body) == 0 {
			c.p.Reply(m, 200, "OK", func(r *Message) { r.Add("Contact", c.p.contact()) })
		} else if sdp, ok := c.offered(m); ok {
			c.p.Reply(m, 200, "OK", func(r *Message) {
				r.Add("Contact", c.p.contact()).Add("Content-Type", "application/sdp")
				r.Body = sdp
			})
		} else {
			c.p.Reply(m, 488, "Not Acceptable Here", nil)
		}
	case "OPTIONS", "INFO":
		c.p.Reply(m, 200, "OK", nil)
	default:
		c.p.Reply(m, 501, "Not Implemented", func(r *Message) { r.Add("Allow", allow) })
	}
}

// offered takes the description of a re-INVITE or UPDATE, if any, and gives ours. False: it has nothing that we speak, and the
// call stays as it was.
func (c *Call) offered(m *Message) ([]byte, bool) {
	var offer *media
	if len(m.Body) > 0 {
		d := parseSDP(m.Body)
		if c.p.codec(d) < 0 {
			return nil, false
		}
		offer = &d
		c.connect(d)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if t := Bare(m.Get("Contact")); t != "" {
		c.target = t
	}
	return c.offerLocked(offer), true
}
