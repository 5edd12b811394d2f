package queue

import (
	"fmt"
	"testing"
	"time"

	"yingda/intake"

	"pgregory.net/rapid"
)

// shadow keeps beside a queue, in the plainest way, what must be true of it.
type shadow struct {
	t       *rapid.T
	q       *Queue
	now     time.Time
	set     Settings
	waiting map[intake.ContactID]Join
	offers  map[intake.OfferID]Offered // open
	taken   map[intake.OfferID]Offered
	desks   map[intake.UserID]*desk
	states  map[intake.UserID]State
	joined  int
	served  int
}

type desk struct {
	lines             []intake.LineID
	cap               Capacity
	in, rest, reached bool
	offer             intake.OfferID
	calls, chats      int
}

func (d *desk) serves(l intake.LineID) bool {
	if d.lines == nil {
		return true
	}
	for _, id := range d.lines {
		if id == l {
			return true
		}
	}
	return false
}

func (s *shadow) step(in Input) { s.see(s.q.Step(s.now, in)) }

func (s *shadow) see(effects []Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case Offered:
			j, ok := s.waiting[e.Contact]
			if !ok {
				s.t.Fatalf("%s was offered and does not wait", e.Contact)
			}
			for _, o := range s.offers {
				if o.Contact == e.Contact {
					s.t.Fatalf("%s is offered to %s and %s at once", e.Contact, o.Operator, e.Operator)
				}
			}
			d := s.desks[e.Operator]
			k := kindOf(j.Channel)
			switch {
			case !d.in, d.rest, !d.reached:
				s.t.Fatalf("%s was offered to %s, who is not there: %+v", e.Contact, e.Operator, *d)
			case d.offer != "":
				s.t.Fatalf("%s is offered %s beside %s", e.Operator, e.Offer, d.offer)
			case !d.serves(j.Line):
				s.t.Fatalf("%s does not serve %s", e.Operator, j.Line)
			case k == voice && (d.cap.NoCalls || d.calls > 0 || d.chats > s.set.ChatsBesideCall):
				s.t.Fatalf("a call beyond the capacity of %s: %+v", e.Operator, *d)
			case k == text && (d.chats >= d.cap.Chats || d.calls > 0 && d.chats >= s.set.ChatsBesideCall):
				s.t.Fatalf("a chat beyond the capacity of %s: %+v", e.Operator, *d)
			case !e.Until.After(s.now):
				s.t.Fatalf("a lease that is over when it begins: %+v", e)
			}
			// Nobody starves: no one is passed by somebody who came more than the bound after them.
			for id, other := range s.waiting {
				if id == e.Contact || s.offered(id) || j.Head || kindOf(other.Channel) != k || !d.serves(other.Line) {
					continue
				}
				if j.Arrived.Sub(other.Arrived) > s.set.filled().Bound {
					s.t.Fatalf("%s (arrived %s) passes %s (arrived %s) by more than the bound", e.Contact, j.Arrived, id, other.Arrived)
				}
			}
			d.offer = e.Offer
			s.offers[e.Offer] = e
		case Withdrawn:
			o, ok := s.offers[e.Offer]
			if !ok {
				s.t.Fatalf("%s was withdrawn and is not open", e.Offer)
			}
			s.desks[o.Operator].offer = ""
			delete(s.offers, e.Offer)
		case StateChanged:
			if before, ok := s.states[e.Operator]; ok && before != e.Before {
				s.t.Fatalf("%s goes from %s to %s and was %s", e.Operator, e.Before, e.State, before)
			}
			s.states[e.Operator] = e.State
			s.desks[e.Operator].rest = e.State == StateBreak && s.desks[e.Operator].in
		case Full:
			delete(s.waiting, e.Contact)
		}
	}
}

func (s *shadow) offered(id intake.ContactID) bool {
	for _, o := range s.offers {
		if o.Contact == id {
			return true
		}
	}
	return false
}

// check: whoever waits and could be served is being offered; nobody idle stands beside a waiting contact.
func (s *shadow) check() {
	for id, w := range s.q.waiters {
		if _, ok := s.waiting[id]; !ok {
			s.t.Fatalf("%s waits in the queue and should not", id)
		}
		if w.offer != nil {
			continue
		}
		if w.kind == text {
			continue // may be held back for a call
		}
		for _, op := range s.q.operators {
			if op.group != nil && op.group.serves(string(w.Line)) && op.free[w.kind] {
				s.t.Fatalf("%s waits while %s is free for it", id, op.id)
			}
		}
	}
	if len(s.q.waiters) != len(s.waiting) {
		s.t.Fatalf("%d wait, %d should", len(s.q.waiters), len(s.waiting))
	}
	for _, l := range s.q.lines {
		n, o := 0, 0
		var last *waiter
		l.each(func(w *waiter) {
			n++
			if w.offer == nil {
				o++
			}
			if last != nil && !last.before(w) {
				s.t.Fatal("a line is out of order")
			}
			last = w
		})
		if n != size(l.root) || o != open(l.root) {
			s.t.Fatalf("a line counts %d/%d and holds %d/%d", size(l.root), open(l.root), n, o)
		}
	}
}

func (s *shadow) take(o Offered) {
	d := s.desks[o.Operator]
	d.offer = ""
	if kindOf(s.waiting[o.Contact].Channel) == voice {
		d.calls++
	} else {
		d.chats++
	}
	s.taken[o.Offer] = o
	delete(s.offers, o.Offer)
	delete(s.waiting, o.Contact)
	s.served++
	s.step(Took{Offer: o.Offer})
}

func (s *shadow) finish(id intake.OfferID, channel intake.Channel) {
	o := s.taken[id]
	delete(s.taken, id)
	if kindOf(channel) == voice {
		s.desks[o.Operator].calls--
	} else {
		s.desks[o.Operator].chats--
	}
	s.step(Finished{Offer: id})
}

func TestNobodyStarvesAndNobodyIsAskedTooMuch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		set := Settings{HeadStart: time.Minute, Bound: 3 * time.Minute, Misses: rapid.IntRange(2, 4).Draw(t, "misses"), ChatsBesideCall: rapid.IntRange(0, 1).Draw(t, "beside"),
			WrapUp: rapid.SampledFrom([]time.Duration{0, 10 * time.Second}).Draw(t, "wrap"), MaxWaiting: rapid.SampledFrom([]int{0, 0, 5}).Draw(t, "limit"),
			Strategy: rapid.SampledFrom([]Strategy{LongestIdle, FewestCalls}).Draw(t, "strategy")}
		s := &shadow{t: t, q: New(Config{NewOffer: counted(), Settings: set}), now: time.Unix(1_770_000_000, 0), set: set,
			waiting: map[intake.ContactID]Join{}, offers: map[intake.OfferID]Offered{}, taken: map[intake.OfferID]Offered{}, desks: map[intake.UserID]*desk{}, states: map[intake.UserID]State{}}
		channels := map[intake.OfferID]intake.Channel{}
		lines := []intake.LineID{"a", "b", "c"}
		for n := range rapid.IntRange(1, 4).Draw(t, "operators") {
			d := &desk{cap: Capacity{NoCalls: n == 3, Chats: rapid.IntRange(0, 2).Draw(t, "chats")}, reached: true}
			if n > 0 {
				d.lines = rapid.SliceOfNDistinct(rapid.SampledFrom(lines), 1, 3, rapid.ID).Draw(t, "lines")
			}
			s.desks[intake.UserID(fmt.Sprint("u", n))] = d
		}
		who := func() (intake.UserID, *desk) {
			id := intake.UserID(fmt.Sprint("u", rapid.IntRange(0, len(s.desks)-1).Draw(t, "who")))
			return id, s.desks[id]
		}
		anOffer := func(of map[intake.OfferID]Offered) (Offered, bool) {
			var best Offered
			for _, o := range of {
				if best.Offer == "" || o.Offer < best.Offer {
					best = o
				}
			}
			return best, best.Offer != ""
		}
		signIn := func(id intake.UserID, d *desk) {
			d.in = true
			s.step(SignedIn{Operator: id, Lines: d.lines, Capacity: d.cap, Reachable: d.reached})
		}
		for range rapid.IntRange(10, 120).Draw(t, "steps") {
			then := s.now.Add(time.Duration(rapid.SampledFrom([]int{0, 0, 1, 3, 20, 60}).Draw(t, "pause")) * time.Second)
			for at := s.q.Deadline(); !at.IsZero() && !at.After(then); at = s.q.Deadline() {
				s.now = at
				s.see(s.q.Wake(at))
			}
			s.now = then
			switch rapid.IntRange(0, 13).Draw(t, "what") {
			case 0, 1, 2:
				s.joined++
				j := Join{Contact: intake.ContactID(fmt.Sprint("c", s.joined)), Channel: rapid.SampledFrom([]intake.Channel{intake.Phone, intake.Phone, intake.Chat}).Draw(t, "channel"),
					Line: rapid.SampledFrom(lines).Draw(t, "line"), Priority: rapid.IntRange(0, 9).Draw(t, "priority"), Arrived: s.now, Head: rapid.IntRange(0, 20).Draw(t, "head") == 0}
				s.waiting[j.Contact] = j
				s.step(j)
			case 3, 4, 5:
				if o, ok := anOffer(s.offers); ok {
					channels[o.Offer] = s.waiting[o.Contact].Channel
					s.take(o)
				}
			case 6:
				if o, ok := anOffer(s.offers); ok {
					s.step(Rings{Offer: o.Offer})
				}
			case 7:
				if o, ok := anOffer(s.offers); ok {
					s.desks[o.Operator].offer = ""
					delete(s.offers, o.Offer)
					s.step(Missed{Offer: o.Offer, Why: rapid.SampledFrom([]string{"no_answer", "busy", "unreachable"}).Draw(t, "why")})
				}
			case 8, 9:
				if o, ok := anOffer(s.taken); ok {
					s.finish(o.Offer, channels[o.Offer])
				}
			case 10:
				var id intake.ContactID
				for c := range s.waiting {
					if id == "" || c < id {
						id = c
					}
				}
				if id != "" {
					delete(s.waiting, id)
					s.step(Leave{Contact: id})
				}
			case 11:
				if id, d := who(); d.in {
					d.in, d.rest = false, false
					s.step(SignedOut{Operator: id})
				} else {
					signIn(id, d)
				}
			case 12:
				id, d := who()
				if d.in && s.states[id] != StateBreak {
					s.step(Break{Operator: id, Reason: "tea"})
					d.rest = true
				} else if d.in {
					d.rest = false
					s.step(Back{Operator: id})
				}
			case 13:
				id, d := who()
				d.reached = !d.reached
				if d.reached {
					s.step(Reachable{Operator: id})
				} else {
					s.step(Unreachable{Operator: id})
				}
			}
			s.check()
		}
		// Everybody comes to work and answers: all are served.
		back := func() {
			for n := range len(s.desks) {
				id := intake.UserID(fmt.Sprint("u", n))
				if d := s.desks[id]; !d.in || d.rest || !d.reached || d.lines != nil || d.cap.Chats == 0 {
					d.lines, d.reached, d.rest, d.cap.Chats = nil, true, false, max(d.cap.Chats, 1)
					signIn(id, d)
					s.step(Back{Operator: id})
				}
			}
		}
		for turns := 0; len(s.waiting) > 0; turns++ {
			if turns > 2000 {
				t.Fatalf("%d are never served: %+v", len(s.waiting), s.q.Snapshot())
			}
			s.now = s.now.Add(time.Second)
			s.see(s.q.Wake(s.now))
			back()
			for o, ok := anOffer(s.taken); ok; o, ok = anOffer(s.taken) {
				s.finish(o.Offer, channels[o.Offer])
			}
			if o, ok := anOffer(s.offers); ok {
				channels[o.Offer] = s.waiting[o.Contact].Channel
				s.take(o)
			}
			s.check()
		}
	})
}

// One call after the other beside 5,000 who wait and 2,000 operators in 40 groups on 20 lines: join, offer, ring, take, finish.
func BenchmarkCall(b *testing.B) {
	q := New(Config{NewOffer: counted()})
	now := time.Unix(1_770_000_000, 0)
	line := func(n int) intake.LineID { return intake.LineID(fmt.Sprint("line", n%20)) }
	for n := range 2000 {
		q.Step(now, SignedIn{Operator: intake.UserID(fmt.Sprint("u", n)), Lines: []intake.LineID{line(n), line(n / 20)}, Reachable: true})
	}
	var offers []intake.OfferID
	see := func(effects []Effect) {
		for _, e := range effects {
			if o, ok := e.(Offered); ok {
				offers = append(offers, o.Offer)
			}
		}
	}
	for n := range 7000 {
		see(q.Step(now, Join{Contact: intake.ContactID(fmt.Sprint("w", n)), Channel: intake.Phone, Line: line(n), Arrived: now}))
	}
	ids := make([]intake.ContactID, b.N)
	for n := range ids {
		ids[n] = intake.ContactID(fmt.Sprint("c", n))
	}
	b.ReportAllocs()
	b.ResetTimer()
	for n := range b.N {
		now = now.Add(time.Millisecond)
		see(q.Step(now, Join{Contact: ids[n], Channel: intake.Phone, Line: line(n), Arrived: now, Priority: n % 3}))
		o := offers[0]
		offers = offers[1:]
		q.Step(now, Rings{Offer: o})
		q.Step(now, Took{Offer: o})
		see(q.Step(now, Finished{Offer: o}))
		q.Deadline()
	}
}
