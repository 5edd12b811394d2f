package sip

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	sip "github.com/emiago/sipgo/sip"

	"yingda/intake"
)

// request deals with a request for this leg.
func (l *leg) request(in *incoming) {
	req := in.req
	if in.tx == nil {
		l.acked(req)
		return
	}
	answer := func(status int, more ...string) {
		l.s.answer(req, in.tx, status, "", more...)
		in.release()
	}
	if req.Method == sip.CANCEL { // one that came before its INVITE; sipgo answers the others
		l.lateCancel(in)
		return
	}
	if toTag(req) != l.d.ours || l.d.theirs != "" && fromTag(req) != l.d.theirs {
		if req.Method == sip.BYE && l.calls != nil && l.calls.knows(toTag(req)) {
			answer(200) // of a fork that we are ending ourselves
			return
		}
		answer(481)
		return
	}
	// sipgo hands on requests in no order, so a smaller CSeq is only refused where order matters (RFC 3261 §12.2.2).
	if req.CSeq().SeqNo <= l.d.seen && req.Method == sip.INVITE {
		answer(500, "Retry-After: 2")
		return
	}
	l.d.seen = max(l.d.seen, req.CSeq().SeqNo)
	switch req.Method {
	case sip.BYE:
		answer(200)
		l.gotBye(req)
	case sip.INVITE:
		l.reinvite(in)
	case sip.UPDATE:
		l.update(in)
	case sip.INFO:
		l.info(in)
	case sip.OPTIONS:
		answer(200, "Allow: "+allowed, "Accept: "+accepted)
	default:
		answer(405, "Allow: "+allowed)
	}
}

func (l *leg) lateCancel(in *incoming) {
	l.s.answer(in.req, in.tx, 200, "")
	in.release()
	if l.came == nil || l.came.tx == nil || l.phase >= taken || in.req.CSeq().SeqNo != l.came.tx.seq {
		return
	}
	l.final(487, "", 0, nil)
	l.end(intake.ByResident, q850(in.req), "cancel")
}

func (l *leg) gotBye(req *sip.Request) {
	if l.came != nil && l.came.tx != nil && l.phase < taken { // allowed in an early dialog, though CANCEL is usual (RFC 3261 §15)
		l.final(487, "", 0, nil)
		l.end(intake.ByResident, q850(req), "bye")
		return
	}
	l.phase = finishing
	if l.again != nil && l.again.final == nil {
		_ = l.again.in.tx.Respond(l.s.response(l.again.in.req, 487, ""))
	}
	l.release()
	l.unset(refreshTimer, expireTimer, retryTimer)
	l.end(intake.ByResident, q850(req), "bye")
}

// reinvite answers an INVITE within the dialog from the state as it is now: a hold, its end, another codec or address, or none at all, then we make the offer.
func (l *leg) reinvite(in *incoming) {
	req := in.req
	fail := func(status int, more ...string) {
		l.s.answer(req, in.tx, status, "", more...)
		in.release()
	}
	switch {
	case l.phase == finishing:
		fail(481)
		return
	case l.pending() != nil || l.phase != up, l.ours != nil && l.ours.req.Method == sip.INVITE:
		fail(491) // RFC 3261 §14.2
		return
	}
	if missing := unsupportedBy(req); missing != "" {
		fail(420, "Unsupported: "+missing)
		return
	}
	if interval, ok := sessionInterval(req); ok && interval < l.s.cfg.Timers.Session {
		fail(422, fmt.Sprintf("Min-SE: %d", int(l.s.cfg.Timers.Session.Seconds())))
		return
	}
	tr := &transaction{in: in, seq: req.CSeq().SeqNo}
	sdp, status := l.offered(req)
	if status != 0 {
		fail(status)
		return
	}
	if sdp == nil {
		sdp = l.local.offer(l.codecs, l.agreed, direction{true, true})
		tr.offered = true
	}
	l.follow(req)
	more := append([]string{"Contact: " + l.contact0(), "Allow: " + allowed, "Supported: timer"}, l.sessionAnswer(req)...)
	l.startSession()
	l.again = tr
	l.send2xx(tr, l.s.response(req, 200, "", append(more, body(sdp)...)...))
}

// offered reads the offer of a request within the dialog and takes it over. It gives our answer; nil when there was no offer; or the status to
// refuse with, then the call lives on as it was.
func (l *leg) offered(req *sip.Request) (answer []byte, status int) {
	if len(req.Body()) == 0 {
		return nil, 0
	}
	sdp := bodySDP(header(req, "Content-Type"), req.Body())
	if sdp == nil {
		return nil, 415
	}
	offer, err := parseSDP(sdp)
	if err != nil {
		return nil, 488
	}
	codecs := l.codecs
	if l.agreed != nil { // what is spoken now is kept where it is offered: the other leg speaks it too
		codecs = append([]string{l.agreed.codec}, codecs...)
	}
	a, err := offer.choose(codecs)
	if err != nil {
		return nil, 488
	}
	answer = l.local.answer(offer, a, answering(a.remote))
	l.settle(a, true)
	return answer, 0
}

// update answers an UPDATE (RFC 3311).
func (l *leg) update(in *incoming) {
	req := in.req
	fail := func(status int, more ...string) {
		l.s.answer(req, in.tx, status, "", more...)
		in.release()
	}
	early := l.phase == early && l.in && l.came.tx != nil && l.came.tx.provisional != nil
	switch {
	case l.phase == finishing || l.phase == begun:
		fail(481)
		return
	case len(req.Body()) > 0 && (l.ours != nil || l.again != nil || l.phase != up && !early):
		fail(491)
		return
	}
	if interval, ok := sessionInterval(req); ok && interval < l.s.cfg.Timers.Session {
		fail(422, fmt.Sprintf("Min-SE: %d", int(l.s.cfg.Timers.Session.Seconds())))
		return
	}
	sdp, status := l.offered(req)
	if status != 0 {
		fail(status)
		return
	}
	if early && sdp != nil {
		l.came.choice = *l.agreed // so that the 200 says the same
		if offer, err := parseSDP(bodySDP(header(req, "Content-Type"), req.Body())); err == nil {
			l.came.offer = offer
		}
	}
	l.follow(req)
	more := []string{"Contact: " + l.contact0(), "Allow: " + allowed, "Supported: timer"}
	if l.phase == up {
		more = append(more, l.sessionAnswer(req)...)
		l.startSession()
	}
	if sdp != nil {
		more = append(more, body(sdp)...)
	}
	l.s.answer(req, in.tx, 200, "", more...)
	in.release()
}

// follow takes over the far side's new Contact and the address from where it speaks (RFC 3261 §12.2.2).
func (l *leg) follow(m *sip.Request) {
	if header(m, "Contact") != "" {
		l.d.target = targetOf(m, m.Source())
	}
	if a := addrPortOf(m.Source()); a.IsValid() {
		l.d.source = a
		l.speaksWith(a.Addr())
	}
}

// info takes keys that come by INFO: `Signal=5` (dtmf-relay) or the key alone (application/dtmf).
func (l *leg) info(in *incoming) {
	req := in.req
	kind, _, _ := strings.Cut(strings.ToLower(header(req, "Content-Type")), ";")
	key := ""
	switch strings.TrimSpace(kind) {
	case "application/dtmf-relay":
		for row := range strings.Lines(string(req.Body())) {
			k, v, _ := strings.Cut(row, "=")
			if strings.EqualFold(strings.TrimSpace(k), "signal") {
				key = dtmfKey(v)
			}
		}
	case "application/dtmf":
		key = dtmfKey(string(req.Body()))
	default:
		status, more := 200, []string(nil)
		if len(req.Body()) > 0 {
			status, more = 415, []string{"Accept: application/dtmf-relay, application/dtmf"}
		}
		l.s.answer(req, in.tx, status, "", more...)
		in.release()
		return
	}
	l.s.answer(req, in.tx, 200, "")
	in.release()
	if key == "" || l.reported {
		return
	}
	l.s.order(func() {
		if m := l.sound(); m != nil {
			m.Digit(key)
		}
	})
}

// dtmfKey reads a key as phones write it: 5, *, #, a, or 10 and 11 for the star and the hash.
func dtmfKey(s string) string {
	s = strings.ToUpper(strings.TrimSpace(s))
	switch {
	case s == "10":
		return "*"
	case s == "11":
		return "#"
	case len(s) == 1 && strings.Contains("0123456789*#ABCD", s):
		return s
	case len(s) == 2 && s >= "12" && s <= "15":
		return string(rune('A' + s[1] - '2'))
	}
	return ""
}

func unsupportedBy(req *sip.Request) string {
	var missing []string
	for _, v := range append(headers(req, "Require"), headers(req, "Proxy-Require")...) {
		for tag := range strings.SplitSeq(v, ",") {
			if tag = strings.TrimSpace(tag); tag != "" && !strings.EqualFold(tag, "timer") {
				missing = append(missing, tag)
			}
		}
	}
	return strings.Join(missing, ", ")
}

// ourRequest is an UPDATE or re-INVITE of ours that waits for its answer.
type ourRequest struct {
	n     int
	req   *sip.Request
	tried bool // a challenge was answered
	ack   *sip.Request
}

// refresh keeps what lives alive: an early dialog by saying the last 1xx again, a session by UPDATE or re-INVITE (RFC 4028 §7.4).
func (l *leg) refresh() {
	if l.phase <= early && l.came != nil {
		if tr := l.came.tx; tr != nil && tr.provisional != nil && !l.came.cancelled.Load() {
			l.provisional(tr.provisional)
		} else {
			l.set(refreshTimer, time.Minute)
		}
		return
	}
	if l.phase != up || !l.session.ours || l.session.interval == 0 {
		return
	}
	if l.ours != nil && l.ours.ack == nil || l.again != nil {
		l.set(retryTimer, 2*time.Second)
		return
	}
	l.sendRefresh("", "")
}

func (l *leg) sendRefresh(name, value string) {
	role := "uac" // who sends a request is its uac
	more := []string{"Allow: " + allowed, "Supported: timer", fmt.Sprintf("Session-Expires: %d;refresher=%s", int(l.session.interval.Seconds()), role)}
	if value != "" {
		more = append(more, name+": "+value)
	}
	method := "UPDATE"
	if !l.d.updates {
		method = "INVITE"
		dir := direction{true, true}
		more = append(more, body(l.local.offer(l.codecs, l.agreed, dir))...)
	}
	l.d.seq++
	req, err := l.d.request(l.s, method, l.d.seq, more...)
	if err != nil {
		l.log.Error("session refresh not written", "error", err)
		return
	}
	l.serial++
	l.ours = &ourRequest{n: l.serial, req: req, tried: value != ""}
	l.s.send(l.s.context(), req, l, l.serial)
}

// oursAnswered deals with the answer to our UPDATE or re-INVITE.
func (l *leg) oursAnswered(res *sip.Response) {
	o := l.ours
	if res.IsProvisional() {
		return
	}
	if o.ack != nil { // the 2xx came again: our ACK was lost
		if res.IsSuccess() {
			_ = l.s.write(o.ack)
		}
		return
	}
	invite := o.req.Method == sip.INVITE
	switch {
	case res.IsSuccess():
		if header(res, "Contact") != "" {
			l.d.target = targetOf(res, l.d.source.String())
		}
		if invite {
			ack, err := l.d.request(l.s, "ACK", o.req.CSeq().SeqNo)
			if err == nil {
				o.ack = ack
				_ = l.s.write(ack)
			}
			if a, err := l.readAnswer(res); err == nil {
				l.settle(a, false)
			}
		} else {
			l.ours = nil
		}
		l.sessionAnswered(res)
		l.startSession()
	case res.StatusCode == 491:
		l.ours = nil
		// Who made the Call-ID waits longer (RFC 3261 §14.1), so that the two do not meet again.
		wait := time.Duration(rand.Int64N(int64(2 * time.Second)))
		if !l.in {
			wait = 2100*time.Millisecond + time.Duration(rand.Int64N(int64(1900*time.Millisecond)))
		}
		l.set(retryTimer, wait)
	case res.StatusCode == 408 || res.StatusCode == 481:
		l.ours = nil
		l.bye(0)
		l.end(intake.ByNetwork, 0, "transport")
	case (res.StatusCode == 401 || res.StatusCode == 407) && !o.tried && l.d.password != "":
		l.ours = nil
		if name, value := credentialsFor(res, l.d.user, l.d.password, string(o.req.Method), o.req.Recipient.String()); value != "" {
			l.sendRefresh(name, value)
		}
	case res.StatusCode == 405 || res.StatusCode == 501:
		l.ours = nil
		if l.d.updates {
			l.d.updates = false
			l.sendRefresh("", "")
		}
	default:
		l.ours = nil // the session stands until it expires
	}
}

func (l *leg) gotResponse(n int, res *sip.Response) {
	switch {
	case l.calls != nil && n < len(l.calls.tries):
		l.calls.response(l, l.calls.tries[n], res)
	case l.ours != nil && l.ours.n == n && l.phase != finishing:
		l.oursAnswered(res)
	}
}

func (l *leg) gotNothing(n int, err error) {
	switch {
	case l.calls != nil && n < len(l.calls.tries):
		l.calls.nothing(l, l.calls.tries[n], err)
	case l.ours != nil && l.ours.n == n && l.phase == up:
		l.ours = nil
		l.bye(0)
		l.end(intake.ByNetwork, 0, "transport")
	}
}

// sessionTimer is RFC 4028: the call must be confirmed within interval, by us or by them.
type sessionTimer struct {
	interval time.Duration // 0: none was asked for
	ours     bool          // we refresh
}

// sessionInterval reads Session-Expires.
func sessionInterval(m sip.Message) (time.Duration, bool) {
	v := header(m, "Session-Expires")
	if v == "" {
		v = header(m, "x")
	}
	n, _, _ := strings.Cut(v, ";")
	var secs int
	if _, err := fmt.Sscanf(strings.TrimSpace(n), "%d", &secs); err != nil || secs <= 0 || secs > 1<<30 {
		return 0, false
	}
	return time.Duration(secs) * time.Second, true
}

// sessionAnswer takes over what a request asks and gives the header lines of the 2xx.
func (l *leg) sessionAnswer(req *sip.Request) []string {
	interval, ok := sessionInterval(req)
	if !ok {
		l.session = sessionTimer{}
		return nil
	}
	supports := false
	for _, v := range headers(req, "Supported") {
		for t := range strings.SplitSeq(v, ",") {
			supports = supports || strings.EqualFold(strings.TrimSpace(t), "timer")
		}
	}
	refresher, _ := param(header(req, "Session-Expires"), "refresher")
	if refresher != "uas" && supports {
		refresher = "uac"
	} else {
		refresher = "uas"
	}
	l.session = sessionTimer{interval: interval, ours: refresher == "uas"}
	lines := []string{fmt.Sprintf("Session-Expires: %d;refresher=%s", int(interval.Seconds()), refresher)}
	if refresher == "uac" {
		lines = append(lines, "Require: timer")
	}
	return lines
}

// sessionAnswered takes over what a 2xx to a request of ours says.
func (l *leg) sessionAnswered(res *sip.Response) {
	interval, ok := sessionInterval(res)
	if !ok {
		l.session = sessionTimer{}
		return
	}
	refresher, _ := param(header(res, "Session-Expires"), "refresher")
	l.session = sessionTimer{interval: interval, ours: refresher != "uas"}
}

// startSession sets the clock anew: we refresh at half time; if they should have and did not, we end the call a little before the end (RFC 4028 §10).
func (l *leg) startSession() {
	l.unset(expireTimer, retryTimer)
	if l.phase > early {
		l.unset(refreshTimer)
	}
	iv := l.session.interval
	if iv == 0 {
		return
	}
	if l.session.ours {
		l.set(refreshTimer, iv/2)
	}
	l.set(expireTimer, iv-min(32*time.Second, iv/3))
}

func (l *leg) expired() {
	if l.phase == finishing {
		return
	}
	if l.phase == taken { // the ACK is still out: noAck or acked comes first
		l.set(expireTimer, time.Second)
		return
	}
	l.bye(102)
	l.end(intake.ByNetwork, 102, "session_expired")
}
