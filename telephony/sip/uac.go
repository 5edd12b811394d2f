package sip

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	sip "github.com/emiago/sipgo/sip"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/telephony"
)

// calls is what only a leg that was dialled has: one INVITE to each place where the person may be. The first that is taken wins.
type calls struct {
	order    telephony.Dial
	tries    []*try
	answered bool
	rang     bool
	result   telephony.Failed
	begun    time.Time
	done     func() // gives the trunk's place back
}

// try is one INVITE and what came of it.
type try struct {
	n           int
	d           dialog
	req         *sip.Request
	more        []string // of the INVITE, for sending it once more with credentials
	cancel      context.CancelFunc
	provisional bool // a 1xx has come: CANCEL may be sent (RFC 3261 §9.1)
	unwanted    bool // to be cancelled, or ended if it is taken after all
	cancelSent  bool
	final       bool
	tried       bool // a challenge was answered
	status      int
	cause       int
	acks        map[string]*sip.Request // of 2xx, by To tag
}

// dial makes a leg and calls. The leg is known to Do at once.
func (s *Server) dial(e telephony.Dial) {
	l := s.newLeg(e.Leg, false, e.Contact)
	l.calls = &calls{order: e, begun: time.Now(), done: func() {}}
	if s.closed.Load() {
		s.cfg.Report(telephony.Failed{Leg: e.Leg, Status: 503, Why: "error"})
		return
	}
	l.start(func() { l.calls.dial(l) })
}

func (c *calls) dial(l *leg) {
	s, e := l.s, c.order
	fail := func(status int, why string) {
		c.result = telephony.Failed{Status: status, Why: why}
		l.phase = finishing
		l.end(intake.ByNetwork, 0, why)
	}
	var places []place
	if e.Operator != "" {
		for _, b := range s.registrar.reachable(e.Operator) {
			places = append(places, s.registrar.place(b))
		}
		if len(places) == 0 {
			fail(480, "unreachable")
			return
		}
	} else {
		t := s.trunkFor(e)
		if t == nil {
			l.log.Error("no trunk to call out by", "line", e.Line)
			fail(0, "error")
			return
		}
		if why := t.admit(time.Now()); why != "" {
			s.cfg.Metrics.Trunk(t.Name, why)
			fail(503, "error")
			return
		}
		c.done = t.release
		places = append(places, t.place(e.Number))
		if len(t.Codecs) > 0 {
			l.codecs = t.Codecs
		}
	}
	if err := l.room(places[0].dest); err != nil {
		l.log.Warn("no room for the audio of a call", "error", err)
		fail(503, "error")
		return
	}
	l.codecs = speakable(l.codecs, s.codecOf(e.Contact))
	offer := l.local.offer(l.codecs, nil, direction{true, true})
	for _, p := range places {
		c.invite(l, p, offer)
	}
	ring := e.Timeout
	if ring <= 0 {
		ring = s.cfg.Timers.Ring
	}
	l.set(ringTimer, ring)
	c.decide(l)
}

// place is where a phone may be reached.
type place struct {
	uri, to, dest, transport string
	routes                   []string // of the request, when it goes by another node
	phone                    bool
	domain                   string
	user, password           string
	trunk                    bool
}

// speakable puts the codec of the resident's leg first, and drops what could not be carried over to it: we relay, we do not transcode.
func speakable(codecs []string, other string) []string {
	if other == "" {
		return codecs
	}
	out := []string{}
	for _, c := range codecs {
		if c == other {
			out = append([]string{c}, out...)
		} else if (c == "G722") == (other == "G722") || c != "G722" {
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return codecs
	}
	return out
}

func (c *calls) invite(l *leg, p place, offer []byte) {
	s, e := l.s, c.order
	domain := p.domain
	if domain == "" {
		domain = s.cfg.Domain
	}
	from := "<sip:anonymous@anonymous.invalid>"
	if !e.From.IsZero() {
		from = "<sip:" + userEscape(e.From.Reveal()) + "@" + domain + ">"
	}
	name := e.FromName.Reveal()
	if name == "" && e.From.IsZero() {
		name = "Anonymous"
	}
	t := &try{n: len(c.tries), acks: map[string]*sip.Request{}}
	t.d = dialog{call: ownCall + newID(), ours: sip.GenerateTagN(12), local: quoteName(name) + from, remote: "<" + printable(p.to) + ">", target: p.uri,
		seq: 1, transport: p.transport, routes: p.routes, phone: p.phone, user: p.user, password: p.password}
	c.tries = append(c.tries, t)
	if a, err := s.resolve(context.Background(), p.dest); err == nil {
		t.d.source = a
		l.speaksWith(a.Addr())
	}
	t.more = []string{"Allow: " + allowed, "Supported: timer"}
	if p.trunk && !e.From.IsZero() {
		t.more = append(t.more, "P-Asserted-Identity: "+from)
	}
	names := make([]string, 0, len(e.Header))
	for k := range e.Header {
		names = append(names, k)
	}
	sort.Strings(names)
	for _, k := range names {
		if isToken(k) && strings.HasPrefix(strings.ToLower(k), "x-") {
			t.more = append(t.more, k+": "+printable(e.Header[k]))
		}
	}
	t.more = append(t.more, body(offer)...)
	l.own(dialogKey(t.d.call, ""))
	t.send(l, p.dest)
}

// send sends the INVITE, the first time or with credentials.
func (t *try) send(l *leg, dest string, extra ...string) {
	req, err := t.d.request(l.s, "INVITE", t.d.seq, append(extra, t.more...)...)
	if err != nil {
		l.log.Error("INVITE not written", "error", err)
		t.final, t.status = true, 0
		return
	}
	if dest != "" {
		req.SetDestination(dest)
	}
	t.req = req
	ctx, cancel := context.WithCancel(l.s.context())
	t.cancel = cancel
	l.s.send(ctx, req, l, t.n)
}

// response deals with a response to an INVITE of ours.
func (c *calls) response(l *leg, t *try, res *sip.Response) {
	if cs := res.CSeq(); cs == nil || cs.SeqNo != t.req.CSeq().SeqNo {
		return
	}
	switch {
	case res.IsProvisional():
		t.provisional = true
		if t.unwanted {
			c.cancelTry(l, t)
			return
		}
		if res.StatusCode > 100 && !c.rang && !l.reported {
			c.rang = true
			l.phase = max(l.phase, early)
			l.s.cfg.Metrics.Ringing(time.Since(c.begun))
			l.s.cfg.Report(telephony.Ringing{Leg: l.id})
		}
	case res.IsSuccess():
		c.taken(l, t, res)
	case (res.StatusCode == 401 || res.StatusCode == 407) && !t.tried && !t.unwanted && t.d.password != "":
		t.tried = true
		name, value := credentialsFor(res, t.d.user, t.d.password, "INVITE", t.req.Recipient.String())
		if value == "" {
			c.failed(l, t, res)
			return
		}
		dest := t.req.Destination()
		t.d.seq++
		t.provisional = false
		t.send(l, dest, name+": "+value)
	default:
		c.failed(l, t, res) // 3xx too: where a call goes is not for the far side to say
	}
}

func (c *calls) failed(l *leg, t *try, res *sip.Response) {
	if t.final {
		return
	}
	t.final, t.status, t.cause = true, res.StatusCode, q850(res)
	if res.StatusCode >= 600 { // for every place where this person may be (RFC 3261 §21.6)
		for _, o := range c.tries {
			c.drop(l, o)
		}
	}
	c.decide(l)
}

func (c *calls) nothing(l *leg, t *try, _ error) {
	if t.final {
		return
	}
	t.final, t.status = true, 408
	c.decide(l)
}

// taken: a 2xx. Of the first, when it is still wanted, the leg is made; any other gets ACK and BYE (RFC 3261 §13.2.2.4).
func (c *calls) taken(l *leg, t *try, res *sip.Response) {
	t.final = true
	tag := toTag(res)
	if ack := t.acks[tag]; ack != nil {
		_ = l.s.write(ack) // the 2xx came again: our ACK was lost
		return
	}
	d := t.d
	d.theirs = tag
	d.remote = bracketed(withoutTag(res.To().Value()))
	d.target = targetOf(res, d.source.String())
	d.updates = allows(res, "UPDATE")
	rr := headers(res, "Record-Route")
	if len(rr) > 0 || !d.phone { // a phone that does not keep to it is reached as the INVITE reached it
		d.routes = nil
	}
	for i := len(rr) - 1; i >= 0; i-- {
		parts := split(rr[i], ',')
		for k := len(parts) - 1; k >= 0; k-- {
			d.routes = append(d.routes, parts[k])
		}
	}
	if a := addrPortOf(res.Source()); a.IsValid() && !d.phone {
		d.source = a
	}
	more := []string{}
	if t.tried { // an ACK carries the credentials of its INVITE (RFC 3261 §22.1)
		for _, name := range []string{"Authorization", "Proxy-Authorization"} {
			if v := header(t.req, name); v != "" {
				more = append(more, name+": "+v)
			}
		}
	}
	ack, err := d.request(l.s, "ACK", t.req.CSeq().SeqNo, more...)
	if err != nil {
		l.log.Error("ACK not written", "error", err)
		c.failed(l, t, res)
		return
	}
	t.acks[tag] = ack
	l.set(lingerTimer, 64*l.s.cfg.Timers.T1)
	if err := l.s.write(ack); err != nil {
		l.log.Info("ACK not sent", "error", err)
	}
	if c.answered || t.unwanted || l.reported {
		l.byeFor(&d, 0)
		c.decide(l)
		return
	}
	a, err := l.readAnswer(res)
	if err != nil {
		l.byeFor(&d, 88)
		t.status, t.cause = 488, 88
		c.decide(l)
		return
	}
	c.answered = true
	l.d = d
	l.phase = up
	l.unset(ringTimer)
	for _, o := range c.tries {
		if o != t {
			c.drop(l, o)
		}
	}
	l.settle(a, false)
	l.sessionAnswered(res)
	l.startSession()
	l.s.cfg.Report(telephony.Answered{Leg: l.id, Codec: a.codec, Wideband: a.codec == "G722"})
}

// knows says that a tag is that of one of our INVITEs.
func (c *calls) knows(tag string) bool {
	for _, t := range c.tries {
		if t.d.ours == tag {
			return true
		}
	}
	return false
}

// drop gives a try up: CANCEL once a 1xx has come; if it is taken all the same, ACK and BYE.
func (c *calls) drop(l *leg, t *try) {
	if t.final || t.unwanted {
		return
	}
	t.unwanted = true
	if t.provisional {
		c.cancelTry(l, t)
	}
}

// cancelTry sends CANCEL, built from the INVITE: same URI, Via, Route, From, To, Call-ID and number (RFC 3261 §9.1).
func (c *calls) cancelTry(l *leg, t *try) {
	if t.cancelSent || t.final {
		return
	}
	t.cancelSent = true
	s := l.s
	var b strings.Builder
	fmt.Fprintf(&b, "CANCEL %s SIP/2.0\r\nVia: %s\r\nMax-Forwards: 70\r\n", t.req.Recipient.String(), t.req.Via().Value())
	for _, r := range headers(t.req, "Route") {
		fmt.Fprintf(&b, "Route: %s\r\n", r)
	}
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %d CANCEL\r\n", t.req.From().Value(), t.req.To().Value(), t.d.call, t.req.CSeq().SeqNo)
	var more []string
	if c.answered {
		more = append(more, `Reason: SIP;cause=200;text="Call completed elsewhere"`)
	}
	req, err := s.finish(&b, t.req.Transport(), t.req.Destination(), more...)
	if err != nil {
		l.log.Error("CANCEL not written", "error", err)
		return
	}
	l.byes++
	s.send(s.context(), req, byeReplies{l: l}, 0)
}

// decide ends the leg when no try is left that could be taken.
func (c *calls) decide(l *leg) {
	open := 0
	for _, t := range c.tries {
		if !t.final {
			open++
		}
	}
	if open == 0 && l.reported && !c.taken2xx() {
		l.unset(lingerTimer) // nothing can cross any more
	}
	if open > 0 || c.answered || l.reported {
		return
	}
	l.phase = finishing
	l.unset(ringTimer)
	best := telephony.Failed{Status: 408, Why: "unreachable"}
	rank := -1
	for _, t := range c.tries {
		why := whyFailed(t.status, t.cause, c.rang)
		if r := strings.Index("error unreachable no_answer declined busy", why); r > rank {
			best, rank = telephony.Failed{Status: t.status, Q850: t.cause, Why: why}, r
		}
	}
	c.result = best
	l.end(intake.ByNetwork, best.Q850, best.Why)
}

func (c *calls) taken2xx() bool {
	for _, t := range c.tries {
		if len(t.acks) > 0 {
			return true
		}
	}
	return false
}

// whyFailed puts a status, and the cause of the telephone network where it is known, into our words.
func whyFailed(status, cause int, rang bool) string {
	switch cause {
	case 17:
		return "busy"
	case 18, 19:
		return "no_answer"
	case 21:
		return "declined"
	}
	switch {
	case status == 486 || status == 600:
		return "busy"
	case status == 603 || status == 403 || status == 401 || status == 407 || status == 433:
		return "declined"
	case status == 487 || (status == 480 || status == 408) && rang:
		return "no_answer"
	case status == 480 || status == 408 || status == 404 || status == 410 || status == 430 || status == 502 || status == 503 || status == 504 || status == 604:
		return "unreachable"
	}
	return "error"
}

// report tells the machine once that the leg was not answered.
func (c *calls) report(l *leg, why string) {
	f := c.result
	f.Leg = l.id
	if f.Why == "" {
		f.Why = why
	}
	if why == "fault" {
		f.Why = "error"
	}
	l.s.cfg.Report(f)
}

// tooLong: it has rung for as long as it may.
func (c *calls) tooLong(l *leg) {
	why := "unreachable"
	if c.rang {
		why = "no_answer"
	}
	c.giveUp(l, 408, why)
}

// giveUp drops all tries. What crosses is dealt with until the linger timer ends.
func (c *calls) giveUp(l *leg, status int, why string) {
	l.unset(ringTimer)
	open := false
	for _, t := range c.tries {
		c.drop(l, t)
		open = open || !t.final
	}
	l.phase = finishing
	if open {
		l.set(lingerTimer, 64*l.s.cfg.Timers.T1)
	}
	if c.result.Why == "" {
		c.result = telephony.Failed{Status: status, Why: why}
	}
	l.end(intake.ByUs, 0, why)
}

// userEscape writes a number or user name as the user part of a URI (RFC 3261 §25.1).
func userEscape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-_.!~*'()&=+$,", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteString("%" + strings.ToUpper(strconv.FormatUint(uint64(c)|0x100, 16)[1:]))
	}
	return b.String()
}

// trunkFor chooses the trunk for a number.
func (s *Server) trunkFor(e telephony.Dial) *trunk {
	if e.Number.IsZero() {
		return nil
	}
	if s.cfg.Route != nil {
		name, ok := s.cfg.Route(e.Line, e.Number)
		if t := s.trunks[name]; ok && t != nil && t.Outbound.Target != "" {
			return t
		}
		return nil
	}
	for i := range s.cfg.Trunks {
		if s.cfg.Trunks[i].Outbound.Target != "" {
			return s.trunks[s.cfg.Trunks[i].Name]
		}
	}
	return nil
}

func (t *trunk) place(number pii.Phone) place {
	o := t.Outbound
	transport := strings.ToUpper(o.Transport)
	if transport == "" {
		transport = "UDP"
	}
	uri := "sip:" + userEscape(o.Prefix+number.Reveal()) + "@" + o.Target
	domain := o.Domain
	if domain == "" {
		domain, _, _ = hostPort(uri)
		if strings.Contains(domain, ":") {
			domain = "[" + domain + "]"
		}
	}
	return place{uri: uri, to: "sip:" + userEscape(o.Prefix+number.Reveal()) + "@" + domain, dest: o.Target, transport: transport, domain: domain,
		user: o.User, password: o.Password, trunk: true}
}
