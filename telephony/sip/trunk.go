package sip

import (
	"context"
	"net/netip"
	"sync"
	"time"

	sip "github.com/emiago/sipgo/sip"
)

// trunk is a Trunk with what it is doing now.
type trunk struct {
	Trunk

	at netip.Addr // where its Outbound target was found; under Server.mu

	mu     sync.Mutex
	rate   bucket
	live   int
	failed int // OPTIONS in a row without an answer
	down   bool
	heard  bool // up or down was told at least once
}

// admit takes a place for a call; why says which limit is reached, then none was taken.
func (t *trunk) admit(now time.Time) (why string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.Concurrent > 0 && t.live >= t.Concurrent {
		return "concurrent"
	}
	if t.PerSecond > 0 && !t.rate.take(now, t.PerSecond, max(1, t.PerSecond)) {
		return "rate"
	}
	t.live++
	return ""
}

func (t *trunk) release() {
	t.mu.Lock()
	t.live--
	t.mu.Unlock()
}

// answered takes in how an OPTIONS to the trunk ended, and says whether its state has changed.
func (t *trunk) answered(status int) (changed, up bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if status != 0 && status != 503 && status != 408 {
		changed = t.down || !t.heard
		t.failed, t.down, t.heard = 0, false, true
		return changed, true
	}
	t.failed++
	if t.failed < 2 || t.down {
		return false, !t.down
	}
	t.down, t.heard = true, true
	return true, false
}

// check asks a place with OPTIONS whether it is there, and hands the status to done: 0 when nothing came.
func (s *Server) check(ctx context.Context, p place, done func(status int)) {
	d := dialog{call: ownCall + newID(), ours: sip.GenerateTagN(12), local: "<sip:yingda@" + s.cfg.Domain + ">", remote: "<" + printable(p.uri) + ">", target: p.uri,
		transport: p.transport, routes: p.routes, seq: 1}
	req, err := d.request(s, "OPTIONS", 1, "Accept: application/sdp")
	if err != nil {
		done(0)
		return
	}
	req.SetDestination(p.dest)
	s.send(ctx, req, checkReplies(done), 0)
}

type checkReplies func(status int)

func (c checkReplies) response(_ int, res *sip.Response) {
	if !res.IsProvisional() {
		c(res.StatusCode)
	}
}

func (c checkReplies) failed(int, error) { c(0) }

func (s *Server) checkTrunk(t *trunk) {
	p := t.place(zeroPhone)
	uri := "sip:" + t.Outbound.Target
	if a, err := s.resolve(s.context(), t.Outbound.Target); err == nil {
		s.mu.Lock()
		t.at = a.Addr()
		s.mu.Unlock()
	}
	if t.Outbound.NoCheck || s.cfg.Timers.Check < 0 {
		return
	}
	p.uri = uri
	s.check(s.context(), p, func(status int) {
		if changed, up := t.answered(status); changed && !s.closed.Load() {
			why := "answers"
			if !up {
				why = "no answer"
				if status != 0 {
					why = reasonPhrase(status)
				}
			}
			s.cfg.TrunkState(t.Name, up, why)
		}
	})
}
