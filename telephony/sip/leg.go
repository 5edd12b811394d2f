package sip

import (
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	sip "github.com/emiago/sipgo/sip"

	"yingda/intake"
	"yingda/telephony"
)

// phase of a leg. It only goes down this list.
type phase int

const (
	begun     phase = iota // came in and nothing was said yet, or dialled and nothing was heard yet
	early                  // 180 or 183 was sent or heard
	taken                  // came in: our 200 is on its way, no ACK yet (RFC 3261 §13.3.1.4); dialled legs pass this by
	up                     // the dialog stands on both sides
	finishing              // over for everybody else; our BYE or CANCEL, or a crossing 2xx, is still under way
)

// leg owns one call leg: its dialog, its timers, its part in the media plane. All its fields without a word beside them belong to
// the goroutine sip.leg; others put something into box.
type leg struct {
	s       *Server
	id      telephony.LegID
	in      bool // it came in: the resident's
	contact intake.ContactID
	log     *slog.Logger
	box     *mailbox[any]
	stopped chan struct{} // closed when the goroutine ends
	over    atomic.Bool   // its end has been reported: read by others
	codec   atomic.Value  // string, read by others

	soundMu sync.Mutex
	media   MediaLeg // under soundMu

	phase    phase
	reported bool // Ended or Failed was reported
	d        dialog
	local    local
	agreed   *agreed
	codecs   []string
	holding  bool // Held was reported
	keys     map[string]bool
	peer     netip.Addr
	timers   [timerCount]time.Time
	session  sessionTimer
	ours     *ourRequest // a re-INVITE or UPDATE of ours that waits for its answer
	byes     int         // BYEs of ours under way

	came  *came  // a leg that came in
	calls *calls // a leg that was dialled
	again *transaction

	serial  int  // numbers our requests within the dialog, from 1000: those below are the tries of calls
	closing bool // the server is closing: nothing is waited for but the answers to BYE and CANCEL
}

type timerName int

const (
	resendTimer  timerName = iota // send the 2xx again
	ackTimer                      // no ACK has come
	refreshTimer                  // say again that an early dialog lives (RFC 3261 §13.3.1.1), or refresh the session
	expireTimer                   // the session has expired
	ringTimer                     // it rings for too long
	lingerTimer                   // a crossing 2xx may still come until then
	retryTimer                    // try our re-INVITE again after a 491
	timerCount
)

// incoming is a request for this leg. tx is nil for an ACK.
type incoming struct {
	req  *sip.Request
	tx   sip.ServerTransaction
	done chan struct{}
	once sync.Once
}

func (in *incoming) release() {
	if in.done != nil {
		in.once.Do(func() { close(in.done) })
	}
}

// What else comes into a leg's mailbox, besides telephony.Effect and *incoming.
type (
	cancelled struct{ req *sip.Request } // sipgo has answered a CANCEL of our INVITE with 200 and 487
	gone      struct{ in *incoming }     // the transaction of a request has ended before we answered
	answered  struct {                   // a response to request number n of ours
		n   int
		res *sip.Response
	}
	unanswered struct { // there will be none
		n   int
		err error
	}
	closing struct{} // the server is closing
)

func (l *leg) response(n int, res *sip.Response) { l.box.put(answered{n, res}, 0) }
func (l *leg) failed(n int, err error)           { l.box.put(unanswered{n, err}, 0) }

func (s *Server) newLeg(id telephony.LegID, in bool, contact intake.ContactID) *leg {
	l := &leg{s: s, id: id, in: in, contact: contact, box: newMailbox[any](), stopped: make(chan struct{}), keys: map[string]bool{},
		log: s.log.With("leg", string(id))}
	l.local.id = uint64(time.Now().UnixMilli())
	l.codecs = s.cfg.Codecs
	l.serial = 1000
	return l
}

// start makes the leg known to Do and runs it.
func (l *leg) start(first func()) {
	l.s.mu.Lock()
	l.s.legs[l.id] = l
	l.s.mu.Unlock()
	l.s.cfg.Metrics.Legs(1)
	l.s.legsDone.Add(1)
	go l.run(first)
}

// run is sip.leg.
func (l *leg) run(first func()) {
	defer l.s.legsDone.Done()
	defer l.stop()
	if first != nil {
		l.guarded(first)
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for !l.finished() {
		timer.Reset(l.untilNext())
		select {
		case <-l.box.wake:
			for _, m := range l.box.take() {
				l.guarded(func() { l.take(m) })
			}
		case <-timer.C:
		case <-l.s.quit:
			return
		}
		l.guarded(l.wake)
	}
}

// guarded runs a step; a panic in it ends this call as a fault, and no other.
func (l *leg) guarded(f func()) {
	defer func() {
		if r := recover(); r != nil {
			l.s.fault("leg", r)
			defer func() {
				if r := recover(); r != nil {
					l.s.fault("leg, in ending it", r)
					l.phase, l.byes = finishing, 0
					l.timers = [timerCount]time.Time{}
					l.end(intake.ByUs, 0, "fault")
				}
			}()
			l.hangup(41, "fault") // temporary failure
		}
	}()
	f()
}

func (l *leg) finished() bool {
	return l.phase == finishing && l.byes == 0 && (l.timers[lingerTimer].IsZero() || l.closing) && l.again == nil && (l.came == nil || l.came.tx == nil)
}

// stop gives back what the leg had.
func (l *leg) stop() {
	l.end(intake.ByUs, 0, "hangup")
	close(l.stopped)
	for _, m := range l.box.close() {
		if in, ok := m.(*incoming); ok && in.tx != nil {
			_ = in.tx.Respond(l.s.response(in.req, 481, ""))
			in.release()
		}
	}
	for k := range l.keys {
		l.s.leave(k, l)
	}
	if l.calls != nil {
		for _, t := range l.calls.tries {
			if t.cancel != nil {
				t.cancel()
			}
		}
	}
	l.s.peer(l.peer, -1)
	l.s.cfg.Metrics.Legs(-1)
}

// discard gives back what a leg has got that was never started.
func (l *leg) discard() {
	l.over.Store(true)
	for k := range l.keys {
		l.s.leave(k, l)
	}
	if m := l.sound(); m != nil {
		l.s.order(m.Close)
	}
	if l.came != nil {
		l.came.closed()
	}
	l.s.peer(l.peer, -1)
}

func (l *leg) speaksWith(a netip.Addr) {
	if a = a.Unmap(); a == l.peer {
		return
	}
	l.s.peer(l.peer, -1)
	l.peer = a
	l.s.peer(a, 1)
}

func (l *leg) own(key string) bool {
	if !l.s.enter(key, l) {
		return false
	}
	l.keys[key] = true
	return true
}

// sound is the leg's part in the media plane, nil when it has none (any more). Safe for any goroutine.
func (l *leg) sound() MediaLeg {
	l.soundMu.Lock()
	defer l.soundMu.Unlock()
	return l.media
}

// room asks the media plane for a leg.
func (l *leg) room(dest string) error {
	m, err := l.s.cfg.Media.NewLeg(l.id)
	if err != nil {
		return err
	}
	l.local.rtp, l.local.rtcp = m.Local()
	if l.local.rtp.Addr().IsUnspecified() || l.s.cfg.Advertise.IsValid() {
		a := l.s.advertised(dest)
		l.local.rtp = netip.AddrPortFrom(a, l.local.rtp.Port())
		l.local.rtcp = netip.AddrPortFrom(a, l.local.rtcp.Port())
	}
	l.soundMu.Lock()
	l.media = m
	l.soundMu.Unlock()
	return nil
}

// settle takes what was agreed and tells the media plane.
func (l *leg) settle(a agreed, relatch bool) {
	l.agreed = &a
	l.codec.Store(a.codec)
	remote := a.toMedia(relatch, a.event)
	l.s.order(func() {
		if m := l.sound(); m != nil {
			m.SetRemote(remote)
		}
	})
	if held := a.held(); held != l.holding && (l.phase == up || l.phase == taken) && !l.reported {
		l.holding = held
		if held {
			l.s.cfg.Report(telephony.Held{Leg: l.id})
		} else {
			l.s.cfg.Report(telephony.Resumed{Leg: l.id})
		}
	}
}

// end reports that the leg is over, once, and gives its sound back. Signalling may still have something to finish.
func (l *leg) end(by intake.By, cause int, why string) {
	if l.reported {
		return
	}
	l.reported = true
	l.over.Store(true)
	s := l.s
	s.mu.Lock()
	if s.legs[l.id] == l {
		delete(s.legs, l.id)
	}
	s.mu.Unlock()
	s.order(func() {
		l.soundMu.Lock()
		m := l.media
		l.media = nil
		l.soundMu.Unlock()
		if m != nil {
			m.Close()
		}
	})
	if l.came != nil {
		l.came.closed()
		if l.came.status == 200 {
			s.remember(l.came.dedupe, 200)
		}
	}
	if l.calls != nil {
		l.calls.done()
		if !l.calls.answered {
			l.calls.report(l, why)
			return
		}
	}
	s.cfg.Report(telephony.Ended{Leg: l.id, By: by, Q850: cause, Why: why})
}

func (l *leg) set(t timerName, after time.Duration) {
	l.timers[t] = time.Now().Add(after)
}

func (l *leg) unset(names ...timerName) {
	for _, t := range names {
		l.timers[t] = time.Time{}
	}
}

func (l *leg) untilNext() time.Duration {
	next := time.Hour
	now := time.Now()
	for _, t := range l.timers {
		if !t.IsZero() {
			next = min(next, max(0, t.Sub(now)))
		}
	}
	return next
}

func (l *leg) wake() {
	now := time.Now()
	for t := range timerCount {
		at := l.timers[t]
		if at.IsZero() || now.Before(at) {
			continue
		}
		l.timers[t] = time.Time{}
		switch t {
		case resendTimer:
			l.resend()
		case ackTimer:
			l.noAck()
		case refreshTimer:
			l.refresh()
		case expireTimer:
			l.expired()
		case ringTimer:
			l.calls.tooLong(l)
		case retryTimer:
			l.refresh()
		case lingerTimer:
			// whatever has not come by now does not come
		}
	}
}

// take deals with one thing from the mailbox.
func (l *leg) take(m any) {
	switch m := m.(type) {
	case telephony.Ring:
		l.ring()
	case telephony.Progress:
		l.progress()
	case telephony.Accept:
		l.accept()
	case telephony.Refuse:
		l.refuse(m)
	case telephony.Hangup:
		l.hangup(m.Q850, "hangup")
	case closing:
		l.closing = true
		l.hangup(0, "hangup")
	case *incoming:
		l.request(m)
	case cancelled:
		l.wasCancelled(m.req)
	case gone:
		l.lost(m.in)
	case answered:
		l.gotResponse(m.n, m.res)
	case unanswered:
		l.gotNothing(m.n, m.err)
	case byeEnded:
		l.byeAnswered(m)
	}
}

// hangup ends the leg whatever its state.
func (l *leg) hangup(cause int, why string) {
	switch {
	case l.phase == finishing:
	case l.calls != nil && !l.calls.answered:
		l.calls.giveUp(l, 487, why)
	case l.in && l.phase < taken:
		status := 480
		if why == "fault" {
			status = 500
		} else if l.s.draining.Load() {
			status = 503
		}
		l.final(status, "", cause, nil)
		l.end(intake.ByUs, cause, why)
	case l.in && l.phase == taken:
		// BYE must wait for the ACK, or for its absence (RFC 3261 §15).
		l.came.byeCause, l.came.byeDue = cause, true
		l.end(intake.ByUs, cause, why)
	default:
		l.bye(cause)
		l.end(intake.ByUs, cause, why)
	}
}

// bye sends BYE. Any answer, and none, ends the dialog.
func (l *leg) bye(cause int) {
	l.phase = finishing
	l.unset(resendTimer, ackTimer, refreshTimer, expireTimer, ringTimer, retryTimer)
	l.byeFor(&l.d, cause)
}

// byeFor ends a dialog, ours or one that a fork made and nobody wants.
func (l *leg) byeFor(d *dialog, cause int) {
	d.seq++
	req, err := d.request(l.s, "BYE", d.seq, reasonHeader(cause)...)
	if err != nil {
		l.log.Error("BYE not written", "error", err)
		return
	}
	l.byes++
	l.s.send(l.s.context(), req, byeReplies{l, d, cause, false}, 0)
}

// byeReplies waits for any end of a BYE (RFC 3261 §15.1.1), answers one challenge, and tells the leg.
type byeReplies struct {
	l     *leg
	d     *dialog
	cause int
	tried bool
}

// byeEnded: a BYE of ours is over, whatever was answered; again is the challenge to it, if there was one.
type byeEnded struct {
	d     *dialog
	cause int
	again *sip.Response
}

func (b byeReplies) response(_ int, res *sip.Response) {
	if res.IsProvisional() {
		return
	}
	e := byeEnded{d: b.d, cause: b.cause}
	if !b.tried && (res.StatusCode == 401 || res.StatusCode == 407) && b.d.password != "" {
		e.again = res
	}
	b.l.box.put(e, 0)
}

func (b byeReplies) failed(int, error) { b.l.box.put(byeEnded{d: b.d, cause: b.cause}, 0) }

func (l *leg) byeAnswered(e byeEnded) {
	l.byes--
	if e.again == nil {
		return
	}
	uri := e.d.target
	name, value := credentialsFor(e.again, e.d.user, e.d.password, "BYE", uri)
	if value == "" {
		return
	}
	e.d.seq++
	req, err := e.d.request(l.s, "BYE", e.d.seq, append(reasonHeader(e.cause), name+": "+value)...)
	if err != nil {
		return
	}
	l.byes++
	l.s.send(l.s.context(), req, byeReplies{l, e.d, e.cause, true}, 0)
}

// credentialsFor answers the challenge in a 401 or 407.
func credentialsFor(res *sip.Response, user, password, method, uri string) (name, value string) {
	if res.StatusCode == 407 {
		return "Proxy-Authorization", authorize(headers(res, "Proxy-Authenticate"), user, password, method, uri)
	}
	return "Authorization", authorize(headers(res, "WWW-Authenticate"), user, password, method, uri)
}
