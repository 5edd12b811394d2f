package sip

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	sip "github.com/emiago/sipgo/sip"

	"yingda/intake"
	"yingda/telephony"
)

// transaction is an INVITE of the far side, the first or a later one, from its coming to its ACK.
type transaction struct {
	in          *incoming
	seq         uint32
	provisional *sip.Response // the last 1xx
	final       *sip.Response // the 2xx that is sent again until the ACK
	offered     bool          // our 2xx carries the offer, so the ACK brings the answer
	every       time.Duration // until the next repetition
}

// came is what only a leg that came in has.
type came struct {
	tx        *transaction // the first INVITE, nil when it is dealt with
	dedupe    string
	offer     *session // nil: none, we make it
	choice    agreed
	status    int // of the final response
	verdict   int // what it must be refused with, whatever the machine says; 0: nothing
	extra     []string
	byeDue    bool // hang up as soon as the ACK has come
	byeCause  int
	cancelled atomic.Bool // a CANCEL has been answered by sipgo: nothing may be sent on the INVITE any more
	closed    func()
}

// onInvite takes a new call, or hands a re-INVITE to its leg.
func (s *Server) onInvite(req *sip.Request, tx sip.ServerTransaction) {
	call, theirs, cseq := req.CallID().Value(), fromTag(req), strconv.FormatUint(uint64(req.CSeq().SeqNo), 10)
	key := dialogKey(call, theirs)
	ours := s.guard.tag(call, theirs, cseq)
	if tag := toTag(req); tag != ours {
		s.inDialog(req, tx)
		return
	}
	dedupe := call + ";" + theirs + ";" + cseq
	if status, ok := s.ended(dedupe); ok {
		if status < 300 {
			status = 481
		}
		s.answer(req, tx, status, "")
		return
	}
	first, _ := s.sourceOf(header(req, sentOn), req.Source(), req.Transport())
	source := first.addr
	t := s.cfg.trunk(source.Addr())
	if t == nil {
		s.answer(req, tx, 403, "") // a phone of ours: what it may call is ordered at the desk
		return
	}
	s.mu.Lock()
	full := len(s.legs) >= s.cfg.Limits.Legs
	s.mu.Unlock()
	if full {
		s.answer(req, tx, 503, "", "Retry-After: 10")
		return
	}
	if interval, ok := sessionInterval(req); ok && interval < s.cfg.Timers.Session {
		s.answer(req, tx, 422, "", fmt.Sprintf("Min-SE: %d", int(s.cfg.Timers.Session.Seconds())))
		return
	}

	contact, after, again := s.cfg.Seen(dedupe)
	if !again {
		contact = s.cfg.NewContact()
	}
	l := s.newLeg(s.cfg.NewLeg(), true, contact)
	in := &incoming{req: req, tx: tx, done: make(chan struct{})}
	l.came = &came{tx: &transaction{in: in, seq: req.CSeq().SeqNo}, dedupe: dedupe, closed: func() {}}
	if len(t.Codecs) > 0 {
		l.codecs = t.Codecs
	}
	if !l.own(key) {
		s.answer(req, tx, 482, "") // the same request by two ways (RFC 3261 §8.2.2.2)
		return
	}
	started := false
	defer func() {
		if !started { // a panic on the way: nothing of it may stay
			l.discard()
		}
	}()
	l.speaksWith(source.Addr())
	l.d = dialog{call: call, ours: ours, theirs: theirs, local: bracketed(withoutTag(req.To().Value())), remote: bracketed(withoutTag(req.From().Value())),
		target: targetOf(req, source.String()), seq: 0, seen: req.CSeq().SeqNo, source: addrPortOf(req.Source()), transport: sip.NetworkToUpper(req.Transport()),
		updates: allows(req, "UPDATE"), user: t.Outbound.User, password: t.Outbound.Password}
	for _, r := range headers(req, "Record-Route") {
		l.d.routes = append(l.d.routes, split(r, ',')...)
	}
	if !tx.OnCancel(func(c *sip.Request) {
		l.came.cancelled.Store(true)
		l.box.put(cancelled{c}, 0)
	}) {
		l.came.cancelled.Store(true)
		l.box.put(cancelled{req}, 0)
	}

	number, name, withheld := caller(req, t.Trusted)
	called := userOf(req.Recipient.String())
	if called == "" {
		called = userOf(inBrackets(req.To().Value()))
	}
	var line intake.LineID
	var facts telephony.Facts
	s.guarded(func() { line, _ = s.cfg.Lines(called, t.Name) })
	s.guarded(func() { facts = s.cfg.Facts(number, line) }) // what is not known of a caller must not cost the call
	audio := l.readOffer(req)
	overload := s.cfg.Media.Overloaded()
	if why := s.trunks[t.Name].admit(time.Now()); why != "" {
		s.cfg.Metrics.Trunk(t.Name, why)
		overload = true
	} else {
		l.came.closed = func() { s.trunks[t.Name].release() }
	}
	if !overload {
		if err := l.room(source.String()); err != nil {
			l.log.Warn("no room for the audio of a call", "error", err)
			overload = true
		}
	}
	if audio && l.came.offer != nil && !overload {
		l.settle(l.came.choice, false)
	}
	s.cfg.Metrics.Offered(t.Name)
	priority := header(req, "Resource-Priority")
	invited := telephony.Invited{Leg: l.id, Contact: contact, Again: again, After: after, Line: line, Trunk: t.Name, CallID: call, Dedupe: dedupe,
		Number: number, Name: name, Withheld: withheld, Caller: facts, Overload: overload, Audio: audio,
		Emergency: t.Trusted && priority != ""}
	started = true
	l.start(func() {
		s.cfg.Report(invited)
		l.set(refreshTimer, time.Minute)
	})
	s.waitFor(in, l)
}

func addrPortOf(s string) netip.AddrPort {
	ap, _ := netip.ParseAddrPort(s)
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// readOffer judges what the INVITE brings: false when there is nothing in it that we can speak. What must be said in refusing it is kept.
func (l *leg) readOffer(req *sip.Request) bool {
	c := l.came
	var missing []string
	for _, v := range append(headers(req, "Require"), headers(req, "Proxy-Require")...) {
		for tag := range strings.SplitSeq(v, ",") {
			if tag = strings.TrimSpace(tag); tag != "" && !strings.EqualFold(tag, "timer") {
				missing = append(missing, tag)
			}
		}
	}
	if len(missing) > 0 {
		c.verdict, c.extra = 420, []string{"Unsupported: " + strings.Join(missing, ", ")}
		return false
	}
	if a := strings.ToLower(strings.Join(headers(req, "Accept"), ",")); a != "" && !strings.Contains(a, "application/sdp") && !strings.Contains(a, "*/*") && !strings.Contains(a, "application/*") {
		c.verdict = 406
		return false
	}
	if len(req.Body()) == 0 {
		return true
	}
	kind := header(req, "Content-Type")
	sdp := bodySDP(kind, req.Body())
	if enc := header(req, "Content-Encoding"); sdp == nil || enc != "" && !strings.EqualFold(enc, "identity") {
		if strings.HasPrefix(strings.ToLower(kind), "multipart/") {
			return true // parts that we do not need, and no offer
		}
		c.verdict, c.extra = 415, []string{"Accept: " + accepted}
		return false
	}
	offer, err := parseSDP(sdp)
	if err == nil {
		c.choice, err = offer.choose(l.codecs)
	}
	if err != nil {
		c.verdict = 488
		if !errors.Is(err, errNoCodec) && !errors.Is(err, errNoAudio) {
			c.verdict = 400
		}
		return false
	}
	c.offer = offer
	return true
}

// ring sends 180.
func (l *leg) ring() {
	if l.came == nil || l.came.tx == nil || l.phase > early || l.came.cancelled.Load() {
		return
	}
	l.phase = early
	l.provisional(l.s.response(l.came.tx.in.req, 180, "", "Contact: "+l.contact0(), "Allow: "+allowed))
}

// progress sends 183 with our answer, so that audio flows before the call is taken.
func (l *leg) progress() {
	if l.came == nil || l.came.tx == nil || l.phase > early || l.came.cancelled.Load() || l.came.verdict != 0 {
		return
	}
	more := []string{"Contact: " + l.contact0(), "Allow: " + allowed}
	if l.came.offer != nil && l.sound() != nil {
		more = append(more, body(l.local.answer(l.came.offer, l.came.choice, answering(l.came.choice.remote)))...)
	}
	l.phase = early
	l.provisional(l.s.response(l.came.tx.in.req, 183, "", more...))
}

func (l *leg) provisional(res *sip.Response) {
	l.came.tx.provisional = res
	l.set(refreshTimer, time.Minute)
	if err := l.came.tx.in.tx.Respond(res); err != nil {
		l.respondFailed(err)
	}
}

func (l *leg) contact0() string {
	dest, transport := l.d.nextHop(l.s)
	return l.s.contact(transport, dest)
}

// accept sends 200 and repeats it until the ACK.
func (l *leg) accept() {
	c := l.came
	if c == nil || c.tx == nil || l.phase > early || c.cancelled.Load() {
		return
	}
	if c.verdict != 0 || l.sound() == nil {
		l.refuse(telephony.Refuse{Leg: l.id, Status: 503})
		return
	}
	var sdp []byte
	if c.offer != nil {
		sdp = l.local.answer(c.offer, c.choice, answering(c.choice.remote))
	} else {
		sdp = l.local.offer(l.codecs, nil, direction{true, true})
		c.tx.offered = true
	}
	req := c.tx.in.req
	more := append([]string{"Contact: " + l.contact0(), "Allow: " + allowed, "Supported: timer"}, l.sessionAnswer(req)...)
	c.status = 200
	l.phase = taken
	l.unset(refreshTimer)
	l.startSession()
	l.send2xx(c.tx, l.s.response(req, 200, "", append(more, body(sdp)...)...))
}

// send2xx sends a 2xx to an INVITE and sets the clock for its repetitions (RFC 3261 §13.3.1.4).
func (l *leg) send2xx(tr *transaction, res *sip.Response) {
	tr.final, tr.every = res, l.s.cfg.Timers.T1
	l.s.cfg.Metrics.Answered("INVITE", res.StatusCode)
	l.set(resendTimer, tr.every)
	l.set(ackTimer, 64*l.s.cfg.Timers.T1)
	if err := tr.in.tx.Respond(res); err != nil {
		l.respondFailed(err)
	}
}

func (l *leg) pending() *transaction {
	if l.again != nil {
		return l.again
	}
	if l.came != nil {
		return l.came.tx
	}
	return nil
}

func (l *leg) resend() {
	tr := l.pending()
	if tr == nil || tr.final == nil {
		return
	}
	_ = tr.in.tx.Respond(tr.final) // an error was dealt with the first time, or is the end that ackTimer will find
	tr.every = min(2*tr.every, l.s.cfg.Timers.T2)
	l.set(resendTimer, tr.every)
}

// noAck: 64·T1 have gone by without an ACK. The dialog stands, so it is ended by BYE (RFC 3261 §13.3.1.4).
func (l *leg) noAck() {
	l.release()
	cause := 102 // recovery on timer expiry
	if l.came != nil && l.came.byeDue {
		cause = l.came.byeCause
	}
	l.bye(cause)
	l.end(intake.ByNetwork, 102, "no_ack")
}

// release lets go of the INVITE that waits for its ACK.
func (l *leg) release() {
	l.unset(resendTimer, ackTimer)
	if tr := l.pending(); tr != nil {
		tr.in.release()
	}
	if l.again != nil {
		l.again = nil
	} else if l.came != nil {
		l.came.tx = nil
	}
}

// respondFailed: sipgo could not send a response. Either a CANCEL was quicker, of which we are told in its turn, or the transport is gone.
func (l *leg) respondFailed(err error) {
	if l.came != nil && l.came.tx != nil && (l.came.cancelled.Load() || errors.Is(err, sip.ErrTransactionCanceled)) {
		// sipgo keeps what we have just tried to send as the response to repeat: put its 487 back.
		tx := l.came.tx
		_ = tx.in.tx.Respond(l.s.response(tx.in.req, 487, ""))
		l.came.cancelled.Store(true)
		return
	}
	if !errors.Is(err, sip.ErrTransactionTransport) {
		return
	}
	l.log.Info("a response could not be sent")
	if l.phase < taken {
		l.phase = finishing
		l.came.tx.in.release()
		l.came.tx = nil
		l.end(intake.ByNetwork, 0, "transport")
	}
}

// refuse sends a final response that is not 2xx.
func (l *leg) refuse(m telephony.Refuse) {
	if l.came == nil || l.came.tx == nil || l.phase > early {
		l.hangup(m.Q850, "hangup")
		return
	}
	status, reason := m.Status, m.Reason
	if status < 300 || status > 699 {
		status, reason = 480, ""
	}
	var extra []string
	if m.RetryAfter > 0 {
		extra = append(extra, fmt.Sprintf("Retry-After: %d", max(1, int(m.RetryAfter.Round(time.Second).Seconds()))))
	}
	if v := l.came.verdict; v != 0 {
		status, reason, extra = v, "", l.came.extra
	}
	l.final(status, reason, m.Q850, extra)
	l.end(intake.ByUs, m.Q850, "hangup")
}

func (l *leg) final(status int, reason string, cause int, extra []string) {
	tx := l.came.tx
	l.phase = finishing
	l.unset(refreshTimer, resendTimer, ackTimer)
	if tx == nil {
		return
	}
	l.came.status = status
	l.came.tx = nil
	defer tx.in.release()
	l.s.remember(l.came.dedupe, status)
	if l.came.cancelled.Load() {
		return
	}
	l.s.cfg.Metrics.Answered("INVITE", status)
	if err := tx.in.tx.Respond(l.s.response(tx.in.req, status, reason, append(reasonHeader(cause), extra...)...)); errors.Is(err, sip.ErrTransactionCanceled) {
		_ = tx.in.tx.Respond(l.s.response(tx.in.req, 487, ""))
	}
}

// wasCancelled: the resident has gone before we took the call. req is the CANCEL.
func (l *leg) wasCancelled(req *sip.Request) {
	if l.came == nil || l.phase >= taken && l.came.status != 200 || l.phase == finishing {
		return
	}
	if l.phase == taken && !l.came.cancelled.Load() {
		return // our 200 was first
	}
	l.phase = finishing
	l.unset(refreshTimer, resendTimer, ackTimer, expireTimer)
	if l.came.tx != nil {
		l.came.tx.in.release()
		l.came.tx = nil
	}
	l.s.remember(l.came.dedupe, 487)
	l.end(intake.ByResident, q850(req), "cancel")
}

// lost: sipgo's transaction of a request has ended though we have not done with it.
func (l *leg) lost(in *incoming) {
	switch {
	case l.came != nil && l.came.tx != nil && l.came.tx.in == in && l.came.tx.final == nil && !l.came.cancelled.Load():
		l.phase = finishing
		l.unset(refreshTimer)
		l.came.tx = nil
		l.end(intake.ByNetwork, 0, "transport")
	case l.again != nil && l.again.in == in && l.again.final == nil:
		l.again = nil
	}
}

// acked: the ACK of a 2xx has come.
func (l *leg) acked(req *sip.Request) {
	tr := l.pending()
	if tr == nil || tr.final == nil || req.CSeq().SeqNo != tr.seq {
		return // of a response that is not 2xx, or again
	}
	first := l.again == nil
	if tr.offered {
		a, err := l.readAnswer(req)
		if err != nil {
			l.release()
			if l.phase == finishing {
				return
			}
			l.bye(88) // incompatible destination
			l.end(intake.ByUs, 88, "error")
			return
		}
		l.settle(a, !first)
	}
	l.release()
	if !first {
		return
	}
	if l.came.byeDue {
		l.bye(l.came.byeCause)
		return
	}
	if l.phase != taken {
		return
	}
	l.phase = up
	l.s.cfg.Report(telephony.Accepted{Leg: l.id})
	if l.agreed != nil && l.agreed.held() && !l.holding {
		l.holding = true
		l.s.cfg.Report(telephony.Held{Leg: l.id})
	}
}

func (l *leg) readAnswer(m sip.Message) (agreed, error) {
	sdp := bodySDP(header(m, "Content-Type"), m.Body())
	if len(sdp) == 0 {
		return agreed{}, errSDP
	}
	answer, err := parseSDP(sdp)
	if err != nil {
		return agreed{}, err
	}
	return answer.choose(l.codecs)
}

// targetOf gives the Contact of a message, or what stands in for it.
func targetOf(m sip.Message, otherwise string) string {
	if v := header(m, "Contact"); v != "" && v != "*" {
		if uri := inBrackets(split(v, ',')[0]); uri != "" {
			return uri
		}
	}
	return "sip:" + otherwise
}

func allows(m sip.Message, method string) bool {
	for _, v := range headers(m, "Allow") {
		for a := range strings.SplitSeq(v, ",") {
			if strings.TrimSpace(a) == method {
				return true
			}
		}
	}
	return false
}
