package chat

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"yingda/channels"
	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/pii"
	"yingda/internal/transcript"
)

// hall joins a board and its queue as their owner does: what one says goes to the other at once.
type hall struct {
	board *Board
	queue *queue.Queue
}

func newHall(epoch uint32, set queue.Settings, max int) *hall {
	offers := 0
	offer := func() intake.OfferID { offers++; return intake.OfferID(fmt.Sprintf("o%d.%d", epoch, offers)) }
	return &hall{board: New(Config{ID: "main", Source: "yingda/test", Epoch: epoch, NewOffer: offer, MaxChats: max}),
		queue: queue.New(queue.Config{Settings: set, NewOffer: offer})}
}

func (h *hall) step(now time.Time, in any) []any {
	switch in := in.(type) {
	case Input:
		return h.fromBoard(now, nil, h.board.Step(now, in))
	case queue.Input:
		return h.fromQueue(now, nil, h.queue.Step(now, in))
	}
	panic(fmt.Sprintf("%T is for nobody", in))
}

func (h *hall) wake(now time.Time) []any {
	out := h.fromQueue(now, nil, h.queue.Wake(now))
	return h.fromBoard(now, out, h.board.Wake(now))
}

func (h *hall) deadline() time.Time {
	a, b := h.queue.Deadline(), h.board.Deadline()
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (h *hall) fromBoard(now time.Time, out []any, effects []Effect) []any {
	asked := false
	for _, e := range effects {
		if _, write := e.(Write); write && asked {
			panic("the queue is asked before an event of the same step is written: its answer would overtake it")
		}
		if to, ok := e.(ToQueue); ok {
			asked = true
			out = h.fromQueue(now, out, h.queue.Step(now, to.Input))
			continue
		}
		out = append(out, e)
	}
	return out
}

func (h *hall) fromQueue(now time.Time, out []any, effects []queue.Effect) []any {
	for _, e := range effects {
		switch e.(type) {
		case queue.StateChanged, queue.Notice:
			out = append(out, e)
		default:
			out = h.fromBoard(now, out, h.board.Step(now, FromQueue{Effect: e}))
		}
	}
	return out
}

// contact is what the world knows of one conversation.
type contact struct {
	id        intake.ContactID
	record    Record
	keys      map[string]int // durable, by number
	ended     int
	delivered int
	log       []intake.Event
	sent      map[string]bool // keys that the resident has written and had no tick for
	ticked    map[string]int
}

// world is a hotline without a network: it keeps the log, may be slow to write it, and may crash.
type world struct {
	*rapid.T
	h        *hall
	now      time.Time
	epoch    uint32
	contacts map[intake.ContactID]*contact
	order    []intake.ContactID
	disk     []Write // not yet durable
	unsafe   []Write // the log has said so, and will write them
	refs     map[Ref]func(Done)
	n        int
	rings    map[intake.OfferID]Ring
}

func (w *world) start() {
	w.epoch++
	w.h = newHall(w.epoch, queue.Settings{ChatsBesideCall: 1}, 6)
	w.refs, w.rings = map[Ref]func(Done){}, map[intake.OfferID]Ring{}
	w.step(SetLines{Default: "12345", Lines: []Line{{Line: intake.Line{ID: "12345"}}, {Line: intake.Line{ID: "small"}, Settings: Settings{Limit: 1, MaxMessages: 5}}}})
}

// crash loses what was not durable; what the log kept in memory too.
func (w *world) crash() {
	w.disk, w.unsafe = nil, nil
	w.start()
	for _, id := range w.order {
		c := w.contacts[id]
		c.delivered = len(c.keys)
		if c.record.Newest != 0 && c.record.Outcome == "" {
			w.step(c.record.Restore(c.keys))
		}
	}
	for _, op := range []intake.UserID{"anna", "bert"} {
		w.step(queue.SignedIn{Operator: op, Reachable: true, Capacity: queue.Capacity{Chats: 2}})
	}
}

func (w *world) step(in any) { w.take(w.h.step(w.now, in)) }

func (w *world) advance(d time.Duration) {
	until := w.now.Add(d)
	for {
		at := w.h.deadline()
		if at.IsZero() || at.After(until) {
			break
		}
		w.now = later(w.now, at)
		w.take(w.h.wake(w.now))
	}
	w.now = until
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

func (w *world) take(effects []any) {
	for _, e := range effects {
		switch e := e.(type) {
		case Write:
			w.disk = append(w.disk, e)
		case Done:
			f := w.refs[e.Ref]
			if f == nil {
				w.Fatalf("%s is answered, and was answered before or never asked: %+v", e.Ref, e)
			}
			delete(w.refs, e.Ref)
			f(e)
		case Deliver:
			c := w.contacts[e.Contact]
			if e.Message.Number != c.delivered+1 {
				w.Fatalf("%s: message %d is delivered after %d", e.Contact, e.Message.Number, c.delivered)
			}
			c.delivered++
			if !e.Unsafe {
				if c.keys[KeyOf(e.Message.Number, e.Message.Key)] != e.Message.Number {
					w.Fatalf("%s: message %d is delivered as safe and is not on disk", e.Contact, e.Message.Number)
				}
			}
		case Safe:
			if w.contacts[e.Contact].record.Messages < e.Through {
				w.Fatalf("%s: %d is called safe and is not on disk", e.Contact, e.Through)
			}
		case Ring:
			w.rings[e.Offer] = e
		case Unring:
			if _, ok := w.rings[e.Offer]; !ok {
				w.Fatalf("%+v of what does not ring", e)
			}
			delete(w.rings, e.Offer)
		}
	}
	w.agree()
}

// agree: queue and board know the same of who has what.
func (w *world) agree() {
	with := map[intake.ContactID]intake.UserID{}
	snap := w.h.queue.Snapshot()
	for _, s := range snap.Operators {
		for _, id := range s.With {
			if with[id] != "" {
				w.Fatalf("%s is with two", id)
			}
			with[id] = s.Operator
		}
	}
	waiting := map[intake.ContactID]bool{}
	for _, x := range snap.Waiting {
		waiting[x.Contact] = true
	}
	for id, t := range w.h.board.chats {
		if with[id] != t.operator && t.stage == Open || t.stage != Open && with[id] != "" {
			w.Fatalf("%s is with %q for the board (%s) and with %q for the queue", id, t.operator, t.stage, with[id])
		}
		if waiting[id] != (t.stage == Waiting) {
			w.Fatalf("%s is %s for the board, waiting in the queue: %t", id, t.stage, waiting[id])
		}
	}
}

// written makes the oldest n writes durable; lost: the log keeps them in memory for now.
func (w *world) written(n int, lost bool) {
	for range min(n, len(w.disk)) {
		x := w.disk[0]
		w.disk = w.disk[1:]
		if lost || len(w.unsafe) > 0 {
			w.unsafe = append(w.unsafe, x)
			w.step(Written{Contact: x.Gate, Through: x.Through, Unwritten: true})
			continue
		}
		w.append(x)
	}
}

func (w *world) recover() {
	for len(w.unsafe) > 0 {
		x := w.unsafe[0]
		w.unsafe = w.unsafe[1:]
		w.append(x)
	}
}

func (w *world) append(x Write) {
	c := w.contacts[x.Gate]
	for _, e := range x.Events {
		if err := e.Check(); err != nil {
			w.Fatal(err)
		}
		if len(c.log) == 0 {
			if _, ok := e.Data.(*intake.OfferedV1); !ok {
				w.Fatalf("%s begins with %s", c.id, e.Type())
			}
		} else if last := c.log[len(c.log)-1]; e.Sequence != last.Sequence.Next(w.epoch) {
			w.Fatalf("%s: %s after %s", c.id, e.ID(), last.ID())
		}
		c.log = append(c.log, e)
		switch d := e.Data.(type) {
		case *intake.MessageV1:
			if d.Number != len(c.keys)+1 {
				w.Fatalf("%s: message %d after %d", c.id, d.Number, len(c.keys))
			}
			if _, twice := c.keys[d.Dedupe]; twice {
				w.Fatalf("%s: %s is there twice", c.id, d.Dedupe)
			}
			c.keys[d.Dedupe] = d.Number
		case *intake.EndedV1:
			c.ended++
		case *intake.IdentifiedV1, *intake.UnrangV1:
		default:
			if c.ended > 0 {
				w.Fatalf("%s: %s after its end", c.id, e.Type())
			}
		}
		if !c.record.Apply(e) {
			w.Fatalf("%s does not count", e.ID())
		}
	}
	w.step(Written{Contact: x.Gate, Through: x.Through})
}

func (w *world) ref(f func(Done)) Ref {
	w.n++
	r := Ref(fmt.Sprint("r", w.n))
	w.refs[r] = f
	return r
}

func (w *world) say(c *contact, from, key string) {
	if from == channels.Resident {
		if _, ok := c.ticked[key]; !ok {
			c.sent[key] = true
		}
	}
	ref := w.ref(func(d Done) {
		switch d.Err {
		case "":
			if n := c.keys[key]; n != d.Number {
				w.Fatalf("%s: tick for %s as %d, on disk it is %d", c.id, key, d.Number, n)
			}
			if n, ok := c.ticked[key]; ok && n != d.Number {
				w.Fatalf("%s: %s was %d and is %d", c.id, key, n, d.Number)
			}
			c.ticked[key] = d.Number
			delete(c.sent, key)
		case ErrOver, ErrTooMany, ErrNotYours, ErrUnknown:
			delete(c.sent, key) // they were told
		}
	})
	w.step(Say{Ref: ref, Contact: c.id, From: from, Key: key, Text: pii.NewText("x")})
}

// Whatever happens in whatever order, crashes included: every contact ends once, no message that was ticked is lost or is there twice, and queue and board agree.
func TestEveryConversationEndsOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{T: t, now: transcript.Start, contacts: map[intake.ContactID]*contact{}}
		w.start()
		w.step(queue.SignedIn{Operator: "anna", Reachable: true, Capacity: queue.Capacity{Chats: 2}})
		pick := func() *contact {
			if len(w.order) == 0 {
				return nil
			}
			return w.contacts[rapid.SampledFrom(w.order).Draw(t, "contact")]
		}
		who := func() intake.UserID { return rapid.SampledFrom([]intake.UserID{"anna", "bert"}).Draw(t, "who") }
		ring := func() (r Ring, ok bool) {
			var ids []intake.OfferID
			for id := range w.rings {
				ids = append(ids, id)
			}
			if len(ids) == 0 {
				return r, false
			}
			slices.Sort(ids)
			return w.rings[rapid.SampledFrom(ids).Draw(t, "ring")], true
		}
		nothing := func(Done) {}
		for range rapid.IntRange(5, 120).Draw(t, "steps") {
			w.advance(time.Duration(rapid.SampledFrom([]int{0, 0, 0, 10, 500, 3000, 25000, 100000}).Draw(t, "pause")) * time.Millisecond)
			c := pick()
			switch what := rapid.IntRange(0, 23).Draw(t, "what"); {
			case what <= 1 || c == nil:
				w.n++
				c := &contact{id: intake.ContactID(fmt.Sprint("c", w.n)), keys: map[string]int{}, sent: map[string]bool{}, ticked: map[string]int{}}
				w.contacts[c.id] = c
				w.order = append(w.order, c.id)
				w.step(Start{Ref: w.ref(nothing), Contact: c.id, Line: rapid.SampledFrom([]intake.LineID{"", "small", "none"}).Draw(t, "line"), Closed: rapid.IntRange(0, 4).Draw(t, "closed") == 0,
					Caller: channels.Caller{Blocked: rapid.IntRange(0, 9).Draw(t, "blocked") == 0}})
				w.step(Here{Contact: c.id})
			case what <= 5:
				w.written(rapid.IntRange(1, 4).Draw(t, "writes"), rapid.IntRange(0, 9).Draw(t, "disk") == 0)
			case what == 6:
				w.recover()
			case what <= 9:
				w.n++
				w.say(c, channels.Resident, fmt.Sprint("m", w.n))
			case what == 10: // again, as one does that has heard nothing
				for key := range c.sent {
					w.say(c, channels.Resident, key)
					break
				}
			case what <= 12:
				w.n++
				w.say(c, string(who()), fmt.Sprint("a", w.n))
			case what == 13:
				if r, ok := ring(); ok {
					w.step(Shown{Contact: r.Contact, Offer: r.Offer})
				}
			case what <= 16:
				if r, ok := ring(); ok {
					w.step(Accept{Ref: w.ref(nothing), Contact: r.Contact, Operator: r.Operator, Offer: r.Offer})
				}
			case what == 17:
				if r, ok := ring(); ok {
					w.step(Decline{Ref: w.ref(nothing), Contact: r.Contact, Operator: r.Operator, Offer: r.Offer})
				}
			case what == 18:
				w.step(Hand{Ref: w.ref(nothing), Contact: c.id, Operator: who(), To: rapid.SampledFrom([]intake.UserID{"", "anna", "bert"}).Draw(t, "to")})
			case what == 19:
				if rapid.Bool().Draw(t, "by resident") {
					w.step(Bye{Ref: w.ref(nothing), Contact: c.id})
				} else {
					w.step(End{Ref: w.ref(nothing), Contact: c.id, Operator: who()})
				}
			case what == 20:
				w.step(LeaveNumber{Ref: w.ref(nothing), Contact: c.id, Number: pii.NewPhone("051255500001"), Caller: channels.Caller{Token: rapid.SampledFrom([]intake.Token{"t1", "t2"}).Draw(t, "token")},
					Call: rapid.Bool().Draw(t, "call")})
			case what == 21:
				w.step(rapid.SampledFrom([]Input{Here{Contact: c.id}, Gone{Contact: c.id}, Here{Contact: c.id, Passing: true}}).Draw(t, "presence"))
			case what == 22:
				w.step(rapid.SampledFrom([]queue.Input{queue.SignedIn{Operator: "anna", Reachable: true, Capacity: queue.Capacity{Chats: 2}}, queue.SignedIn{Operator: "bert", Reachable: true, Capacity: queue.Capacity{Chats: 3}},
					queue.SignedOut{Operator: who()}, queue.Break{Operator: who(), Reason: "tea"}, queue.Back{Operator: who()}, queue.WrapUpDone{Operator: who()}}).Draw(t, "desk"))
			case what == 23:
				if rapid.IntRange(0, 2).Draw(t, "crash") == 0 {
					w.crash()
				}
			}
		}
		// The residents' browsers send again what had no tick; then everybody goes, and time passes.
		w.recover()
		w.written(len(w.disk), false)
		for _, id := range w.order {
			c := w.contacts[id]
			var again []string
			for key := range c.sent {
				again = append(again, key)
			}
			slices.Sort(again)
			for _, key := range again {
				w.say(c, channels.Resident, key)
			}
		}
		for range 40 {
			w.written(len(w.disk), false)
			for _, id := range w.order {
				w.step(Gone{Contact: id})
			}
			w.advance(5 * time.Minute)
		}
		w.written(len(w.disk), false)
		for _, id := range w.order {
			c := w.contacts[id]
			if len(c.log) == 0 {
				continue // crashed before its first event was on disk: nobody was told anything
			}
			if c.ended != 1 {
				t.Fatalf("%s ended %d times", id, c.ended)
			}
			for key := range c.sent {
				t.Fatalf("%s: %s was sent again and again and nobody said what became of it", id, key)
			}
			for key, n := range c.ticked {
				if c.keys[key] != n {
					t.Fatalf("%s: %s had a tick as %d and is %d", id, key, n, c.keys[key])
				}
			}
			if c.delivered != len(c.keys) {
				t.Fatalf("%s: %d of %d messages were delivered", id, c.delivered, len(c.keys))
			}
		}
		if len(w.refs) > 0 {
			t.Fatalf("%d requests were never answered", len(w.refs))
		}
		w.advance(3 * time.Hour)
		b := w.h.board
		if b.Live() != 0 || len(b.chats) != 0 || b.timers.Len() != 0 || len(w.rings) != 0 {
			t.Fatalf("left over: %d open, %d kept, %d timers, %d rings", b.Live(), len(b.chats), b.timers.Len(), len(w.rings))
		}
		snap := w.h.queue.Snapshot()
		if len(snap.Waiting) > 0 {
			t.Fatalf("somebody waits who is gone: %+v", snap.Waiting)
		}
		for _, s := range snap.Operators {
			switch s.State {
			case queue.StateTalking, queue.StateReserved, queue.StateRinging:
				t.Fatalf("%s is %s with nobody", s.Operator, s.State)
			}
		}
	})
}
