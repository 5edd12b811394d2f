package switchboard

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/pii"
	"yingda/internal/transcript"
	"yingda/telephony"

	"pgregory.net/rapid"
)

// wire is one leg as the network sees it.
type wire struct {
	id       telephony.LegID
	contact  intake.ContactID // "" for the legs of a call back
	out      bool             // we dialled it
	taken    bool             // accepted, answered
	over     bool             // its end was told
	ordered  bool             // we refused it or hung it up
	play     telephony.PlayID // newest order to play, 0: none
	loop     bool
	bridged  *wire
	progress bool
}

// told is what the log knows of a contact.
type told struct {
	again   bool
	gated   time.Time // when contact.offered was handed to the log
	written bool
	last    intake.Sequence
	offered int
	ended   int
}

// network is a switchboard's world, in the plainest way, with all that may go wrong in it.
type network struct {
	t        *rapid.T
	h        *hall
	now      time.Time
	legs     map[telephony.LegID]*wire
	order    []*wire
	contacts map[intake.ContactID]*told
	gates    []intake.ContactID
	recs     []intake.RecordingID
	stopped  map[intake.RecordingID]bool
	told     map[intake.RecordingID]bool // its end was told by itself
	tries    map[intake.AttemptID]int
	n        int
}

func (w *network) step(in any) { w.see(w.h.step(w.now, in)) }

func (w *network) advance(d time.Duration) {
	then := w.now.Add(d)
	for turns := 0; ; turns++ {
		at := w.h.deadline()
		if at.IsZero() || at.After(then) {
			break
		}
		if turns > 5000 {
			w.t.Fatalf("woken 5000 times within %s", d)
		}
		if at.After(w.now) {
			w.now = at
		}
		w.see(w.h.wake(w.now))
	}
	w.now = then
}

// use finds the leg that an order is for and complains if it cannot be carried out.
func (w *network) use(id telephony.LegID, order any) *wire {
	l := w.legs[id]
	switch {
	case l == nil:
		w.t.Fatalf("%T for a leg that nobody knows: %+v", order, order)
	case l.over:
		w.t.Fatalf("%T for %s, which is over", order, id)
	case l.ordered:
		if _, again := order.(telephony.Hangup); !again || !l.out {
			w.t.Fatalf("%T for %s, which we have given up", order, id)
		}
	}
	return l
}

func (w *network) see(effects []any) {
	for _, e := range effects {
		switch e := e.(type) {
		case telephony.Write:
			for _, ev := range e.Events {
				w.event(ev)
			}
			if e.Gate != "" {
				w.gates = append(w.gates, e.Gate)
				w.contacts[e.Gate].gated = w.now
			}
		case telephony.Ring:
			w.success(w.use(e.Leg, e))
		case telephony.Progress:
			l := w.use(e.Leg, e)
			l.progress = true
			w.success(l)
		case telephony.Accept:
			l := w.use(e.Leg, e)
			if l.taken {
				w.t.Fatalf("%s is accepted twice", e.Leg)
			}
			l.taken = true
			w.success(l)
		case telephony.Refuse:
			l := w.use(e.Leg, e)
			if l.taken || e.Status < 400 || e.Status == 503 && e.RetryAfter == 0 {
				w.t.Fatalf("%+v of %+v", e, *l)
			}
			l.ordered = true
		case telephony.Hangup:
			w.use(e.Leg, e).ordered = true
		case telephony.Dial:
			if w.legs[e.Leg] != nil || e.Timeout <= 0 || (e.Operator == "") == e.Number.IsZero() {
				w.t.Fatalf("cannot be dialled: %+v", e)
			}
			l := &wire{id: e.Leg, out: true, contact: e.Contact}
			w.legs[e.Leg] = l
			w.order = append(w.order, l)
		case telephony.Play:
			l := w.use(e.Leg, e)
			if !l.taken && !l.progress || l.bridged != nil {
				w.t.Fatalf("%+v to one who cannot hear it: %+v", e, *l)
			}
			l.play, l.loop = e.Play, e.Loop
		case telephony.Stop:
			w.use(e.Leg, e).play = 0
		case telephony.Bridge:
			a, b := w.use(e.A, e), w.use(e.B, e)
			if a.bridged != nil || b.bridged != nil || !a.taken || !b.taken {
				w.t.Fatalf("%+v of %+v and %+v", e, *a, *b)
			}
			a.bridged, b.bridged, a.play, b.play = b, a, 0, 0
		case telephony.Unbridge:
			a, b := w.use(e.A, e), w.use(e.B, e)
			a.bridged, b.bridged = nil, nil
		case telephony.Record:
			w.use(e.Resident, e)
			if e.Other != "" {
				w.use(e.Other, e)
			}
			if slices.Contains(w.recs, e.Recording) {
				w.t.Fatalf("%s is begun twice", e.Recording)
			}
			w.recs = append(w.recs, e.Recording)
		case telephony.StopRecord:
			if w.stopped[e.Recording] || !slices.Contains(w.recs, e.Recording) {
				w.t.Fatalf("%s is stopped and does not run", e.Recording)
			}
			w.stopped[e.Recording] = true
		case telephony.Tried:
			w.tries[e.Attempt]++
		}
	}
}

// success: what sounds like success comes after contact.offered is durable, or the log has had two seconds.
func (w *network) success(l *wire) {
	if c := w.contacts[l.contact]; !c.written && !c.again && w.now.Sub(c.gated) < 2*time.Second {
		w.t.Fatalf("%s is told of success before it is written down", l.contact)
	}
}

func (w *network) event(e intake.Event) {
	if err := e.Check(); err != nil {
		w.t.Fatal(err)
	}
	c := w.contacts[e.Contact()]
	if want := c.last.Next(7); e.Sequence != want {
		w.t.Fatalf("%s has sequence %s after %s", e.ID(), e.Sequence, c.last)
	}
	c.last = e.Sequence
	_, recorded := e.Data.(*intake.RecordedV1)
	if c.ended > 0 && !recorded {
		w.t.Fatalf("%s: %T after the end", e.ID(), e.Data)
	}
	switch e.Data.(type) {
	case *intake.OfferedV1:
		c.offered++
	case *intake.EndedV1:
		c.ended++
	}
	if !c.again && c.offered != 1 {
		w.t.Fatalf("%s: %T, offered %d times", e.ID(), e.Data, c.offered)
	}
}

func (w *network) end(l *wire, by intake.By, why string) {
	l.over = true
	if l.bridged != nil {
		l.bridged.bridged = nil
		l.bridged = nil
	}
	if l.out && !l.taken {
		w.step(telephony.Failed{Leg: l.id, Why: why})
		return
	}
	w.step(telephony.Ended{Leg: l.id, By: by, Why: why})
}

func (w *network) invite() {
	t := w.t
	w.n++
	l := &wire{id: telephony.LegID(fmt.Sprint("r", w.n)), contact: intake.ContactID(fmt.Sprint("c", w.n))}
	in := telephony.Invited{Leg: l.id, Contact: l.contact, Line: rapid.SampledFrom([]intake.LineID{"12345", "12345", "early", "closed", "menu", ""}).Draw(t, "line"), Trunk: "t", Audio: true}
	switch rapid.IntRange(0, 12).Draw(t, "caller") {
	case 0:
		in.Withheld = true
	case 1:
		in.Caller.Blocked = true
	case 2:
		in.Overload = true
	case 3:
		in.Audio = false
	case 4:
		in.Again, in.After = true, intake.NewSequence(uint32(rapid.IntRange(6, 7).Draw(t, "epoch")), 5)
	}
	if !in.Withheld {
		in.Number, in.Caller.Token = pii.NewPhone("051255500001"), "t1"
	}
	w.legs[l.id] = l
	w.order = append(w.order, l)
	w.contacts[l.contact] = &told{again: in.Again, last: in.After, gated: w.now}
	w.step(in)
}

// one of the legs for which ok holds.
func (w *network) pick(ok func(*wire) bool) *wire {
	var fit []*wire
	for _, l := range w.order {
		if !l.over && ok(l) {
			fit = append(fit, l)
		}
	}
	if len(fit) == 0 {
		return nil
	}
	return rapid.SampledFrom(fit).Draw(w.t, "leg")
}

func TestEveryContactEndsOnceAndNoLegIsLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHall(queue.Settings{Misses: 5, WrapUp: time.Duration(rapid.IntRange(0, 5).Draw(t, "wrap")) * time.Second, MaxWaiting: rapid.SampledFrom([]int{0, 2}).Draw(t, "limit")}, rapid.SampledFrom([]int{0, 5}).Draw(t, "max"))
		w := &network{t: t, h: h, now: transcript.Start, legs: map[telephony.LegID]*wire{}, contacts: map[intake.ContactID]*told{}, stopped: map[intake.RecordingID]bool{}, told: map[intake.RecordingID]bool{}, tries: map[intake.AttemptID]int{}}
		w.step(SetLines{Default: "12345", Lines: []Line{line(Ledger{ID: "12345", MaxWait: 90 * time.Second, SayWho: true, HoldMusic: true}), line(Ledger{ID: "early", Early: true}),
			line(Ledger{ID: "closed", Closed: true, MaxMessage: 20 * time.Second}), line(Ledger{ID: "menu", Menu: true, NoRecord: true})}})
		who := func() intake.UserID {
			return rapid.SampledFrom([]intake.UserID{"anna", "bert"}).Draw(t, "who")
		}
		w.step(queue.SignedIn{Operator: "anna", Reachable: true})
		whys := []string{"no_answer", "busy", "declined", "unreachable", "error"}
		for range rapid.IntRange(5, 90).Draw(t, "steps") {
			w.advance(time.Duration(rapid.SampledFrom([]int{0, 0, 10, 500, 2500, 9000, 25000}).Draw(t, "pause")) * time.Millisecond)
			switch rapid.IntRange(0, 21).Draw(t, "what") {
			case 0, 1:
				w.invite()
			case 2, 3, 4:
				if len(w.gates) > 0 {
					id := w.gates[0]
					w.gates = w.gates[1:]
					w.contacts[id].written = true
					w.step(telephony.Written{Contact: id, Unwritten: rapid.IntRange(0, 5).Draw(t, "disk") == 0})
				}
			case 5:
				if l := w.pick(func(l *wire) bool { return !l.out && l.taken }); l != nil {
					w.step(telephony.Accepted{Leg: l.id})
				}
			case 6:
				if l := w.pick(func(l *wire) bool { return l.out && !l.taken }); l != nil {
					w.step(telephony.Ringing{Leg: l.id})
				}
			case 7, 8, 9: // also one that crosses our hanging up
				if l := w.pick(func(l *wire) bool { return l.out && !l.taken }); l != nil {
					l.taken = true
					w.step(telephony.Answered{Leg: l.id, Codec: "PCMA"})
				}
			case 10:
				if l := w.pick(func(l *wire) bool { return l.out && !l.taken }); l != nil {
					w.end(l, "", rapid.SampledFrom(whys).Draw(t, "why"))
				}
			case 11, 12:
				if l := w.pick(func(l *wire) bool { return true }); l != nil {
					w.end(l, rapid.SampledFrom([]intake.By{intake.ByResident, intake.ByResident, intake.ByNetwork, intake.ByUs}).Draw(t, "by"), "bye")
				}
			case 13:
				if l := w.pick(func(l *wire) bool { return l.ordered }); l != nil {
					w.end(l, intake.ByUs, "hangup")
				}
			case 14:
				if l := w.pick(func(l *wire) bool { return !l.out }); l != nil {
					w.step(telephony.Digit{Leg: l.id, Key: rapid.SampledFrom([]string{"1", "5", "8", "*"}).Draw(t, "key")})
				}
			case 15, 16:
				if l := w.pick(func(l *wire) bool { return l.play > 0 && !l.loop }); l != nil {
					n := l.play
					l.play = 0
					w.step(telephony.Played{Leg: l.id, Play: n})
				}
			case 17:
				if l := w.pick(func(l *wire) bool { return l.taken }); l != nil {
					w.step(rapid.SampledFrom([]telephony.Input{telephony.Heard{Leg: l.id}, telephony.Quiet{Leg: l.id, Seconds: 8}, telephony.Held{Leg: l.id}, telephony.Resumed{Leg: l.id},
						telephony.MediaLost{Leg: l.id, Seconds: 120}, telephony.MediaLost{Leg: l.id, Seconds: 5}}).Draw(t, "media"))
				}
			case 18:
				if len(w.recs) > 0 {
					r := rapid.SampledFrom(w.recs).Draw(t, "rec")
					w.told[r] = true
					w.step(telephony.Recorded{Recording: r, Channels: 2, Millis: 1000})
				}
			case 19:
				w.step(rapid.SampledFrom([]queue.Input{queue.SignedIn{Operator: "anna", Reachable: true}, queue.SignedIn{Operator: "bert", Reachable: true}, queue.SignedOut{Operator: who()},
					queue.Break{Operator: who(), Reason: "tea"}, queue.Back{Operator: who()}, queue.Unreachable{Operator: who()}, queue.Reachable{Operator: who()}, queue.WrapUpDone{Operator: who()}}).Draw(t, "desk"))
			case 20:
				w.n++
				id := intake.AttemptID(fmt.Sprint("try", w.n))
				w.tries[id] = 0
				w.step(telephony.CallBack{Attempt: id, Callback: "back", Operator: who(), Number: pii.NewPhone("051255500001"), Line: "12345"})
			case 21:
				if rapid.IntRange(0, 10).Draw(t, "drain") == 0 {
					w.step(telephony.Drain{})
				}
			}
		}
		// Everybody goes home: the residents hang up, then no phone may ring or talk for them; then those in a call back.
		for _, l := range slices.Clone(w.order) {
			if !l.out && !l.over && !l.ordered {
				w.end(l, intake.ByResident, "bye")
			}
		}
		for _, l := range w.order {
			if !l.over && !l.ordered && l.contact != "" {
				t.Fatalf("nobody has hung up %+v", *l)
			}
		}
		// The edge tells of half of the ends that we ordered, time passes.
		for _, l := range slices.Clone(w.order) {
			switch {
			case l.over:
			case !l.ordered:
				w.end(l, intake.ByResident, "bye")
			case rapid.Bool().Draw(t, "told"):
				w.end(l, intake.ByUs, "hangup")
			}
		}
		w.advance(20 * time.Minute)
		for _, l := range w.order {
			if !l.over && !l.ordered {
				w.end(l, intake.ByResident, "bye") // dialled since
			}
		}
		w.advance(20 * time.Minute)
		for id, c := range w.contacts {
			if c.ended != 1 {
				t.Fatalf("%s ended %d times", id, c.ended)
			}
		}
		for id, n := range w.tries {
			if n != 1 {
				t.Fatalf("attempt %s ended %d times", id, n)
			}
		}
		for _, l := range w.order {
			if !l.over && !l.ordered {
				t.Fatalf("nobody has hung up %+v", *l)
			}
		}
		for _, r := range w.recs {
			if !w.stopped[r] && !w.told[r] {
				t.Fatalf("%s still runs", r)
			}
		}
		b := h.board
		if b.Live() != 0 || b.open != 0 || len(b.legs) != 0 || len(b.recs) != 0 || b.timers.Len() != 0 {
			t.Fatalf("left over: %d live, %d open, %d legs, %d recordings, %d timers", b.Live(), b.open, len(b.legs), len(b.recs), b.timers.Len())
		}
		snap := h.queue.Snapshot()
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
