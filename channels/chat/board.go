package chat

import (
	"slices"
	"time"

	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/timers"
)

// Board is the machine. It is owned by one goroutine.
type Board struct {
	cfg      Config
	lines    map[intake.LineID]Line
	fallback intake.LineID
	draining bool

	chats    map[intake.ContactID]*talk
	arrivals []intake.ContactID // in order; tidied now and then
	open     int                // that are not over
	timers   timers.Timers[*talk]
}

// New makes one without lines.
func New(c Config) *Board {
	if c.MaxChats == 0 {
		c.MaxChats = 5000
	}
	return &Board{cfg: c, lines: map[intake.LineID]Line{}, chats: map[intake.ContactID]*talk{}}
}

// Step takes what happened and says what is to be done, in order.
func (b *Board) Step(now time.Time, in Input) []Effect {
	switch in := in.(type) {
	case SetLines:
		b.lines, b.fallback = map[intake.LineID]Line{}, in.Default
		for _, l := range in.Lines {
			b.lines[l.ID] = l
		}
		return nil
	case Drain:
		b.draining = true
		return nil
	case FromQueue:
		return b.fromQueue(now, in.Effect)
	case Start:
		return b.start(now, in)
	case Restore:
		return b.restore(now, in)
	}
	id, ref := addressed(in)
	t := b.chats[id]
	if t == nil {
		if ref == "" {
			return nil
		}
		return []Effect{Done{Ref: ref, Contact: id, Err: ErrUnknown}}
	}
	return b.do(now, t, func() { t.step(in) })
}

// addressed says which conversation an input is for, and the request that wants an answer.
func addressed(in Input) (intake.ContactID, Ref) {
	switch in := in.(type) {
	case Written:
		return in.Contact, ""
	case Late:
		return in.Record.Contact, ""
	case Say:
		return in.Contact, in.Ref
	case LeaveNumber:
		return in.Contact, in.Ref
	case Here:
		return in.Contact, ""
	case Gone:
		return in.Contact, ""
	case Bye:
		return in.Contact, in.Ref
	case Shown:
		return in.Contact, ""
	case Accept:
		return in.Contact, in.Ref
	case Decline:
		return in.Contact, in.Ref
	case Hand:
		return in.Contact, in.Ref
	case End:
		return in.Contact, in.Ref
	}
	return "", ""
}

func (b *Board) start(now time.Time, in Start) []Effect {
	if t := b.chats[in.Contact]; t != nil {
		return b.do(now, t, func() { t.again(in.Ref) })
	}
	if in.Line == "" {
		in.Line = b.fallback
	}
	line, known := b.lines[in.Line]
	refuse := ""
	switch {
	case b.draining:
		refuse = intake.ReasonShutdown
	case b.open >= b.cfg.MaxChats:
		refuse = intake.ReasonOverload
	case in.Caller.Blocked:
		refuse = intake.ReasonBlocked
	case !known:
		refuse = ReasonUnknownLine
	}
	if in.Line == "" {
		in.Line = "unknown"
	}
	t := newTalk(&b.cfg, in.Contact, in.Line, line.Settings)
	b.own(t)
	return b.do(now, t, func() { t.start(in, refuse) })
}

func (b *Board) restore(now time.Time, in Restore) []Effect {
	if b.chats[in.Contact] != nil {
		return nil
	}
	t := newTalk(&b.cfg, in.Contact, in.Line, b.lines[in.Line].Settings)
	b.own(t)
	return b.do(now, t, func() { t.restore(in) })
}

func (b *Board) own(t *talk) {
	b.chats[t.id] = t
	b.arrivals = append(b.arrivals, t.id)
	b.open++
}

// fromQueue hands what the queue says to the one concerned.
func (b *Board) fromQueue(now time.Time, e queue.Effect) []Effect {
	var id intake.ContactID
	switch e := e.(type) {
	case queue.Placed:
		id = e.Contact
	case queue.Full:
		id = e.Contact
	case queue.Offered:
		id = e.Contact
	case queue.Withdrawn:
		id = e.Contact
	}
	t := b.chats[id]
	if t == nil {
		return nil
	}
	return b.do(now, t, func() { t.fromQueue(e) })
}

// do runs one step of a conversation and brings what it says into order: events first, then how it stands now, then the rest, and what is for the queue
// last, because the queue's answer comes back before the next effect is carried out and must find this step's events written. A conversation
// whose machine panics ends as fault; the others go on.
func (b *Board) do(now time.Time, t *talk, f func()) []Effect {
	t.begin(now)
	func() {
		defer func() {
			if p := recover(); p != nil {
				t.broken()
			}
		}()
		f()
	}()
	if t.stage == Over && !t.counted {
		t.counted = true
		b.open--
	}
	out := make([]Effect, 0, len(t.out)+2)
	if len(t.events) > 0 {
		out = append(out, Write{Events: t.events, Gate: t.id, Through: t.seq})
	}
	if v := t.view(); v != t.told {
		t.told = v
		out = append(out, Changed{v})
	}
	out = append(out, t.out...)
	for _, q := range t.ask {
		out = append(out, ToQueue{q})
	}
	if t.forgotten {
		b.timers.Set(t, time.Time{})
		delete(b.chats, t.id)
		if len(b.arrivals) > 64 && len(b.arrivals) > 2*len(b.chats) {
			b.arrivals = slices.DeleteFunc(b.arrivals, func(id intake.ContactID) bool { return b.chats[id] == nil })
		}
		return append(out, Forget{t.id})
	}
	b.timers.Set(t, t.deadline())
	return out
}

// Wake does what has become due.
func (b *Board) Wake(now time.Time) []Effect {
	var out, ask []Effect
	b.timers.Wake(now, func(t *talk) {
		for _, e := range b.do(now, t, t.wake) {
			if _, q := e.(ToQueue); q {
				ask = append(ask, e)
			} else {
				out = append(out, e)
			}
		}
	})
	return append(out, ask...)
}

// Deadline is when it wants to be woken, zero for never.
func (b *Board) Deadline() time.Time { return b.timers.Deadline() }

// Live is the number of conversations that are not over. They need not be waited for when the program ends: see Restore.
func (b *Board) Live() int { return b.open }

// View is how one conversation stands; false when there is none.
func (b *Board) View(id intake.ContactID) (View, bool) {
	t := b.chats[id]
	if t == nil {
		return View{}, false
	}
	return t.view(), true
}

// Snapshot is how things stand.
func (b *Board) Snapshot() Snapshot {
	s := Snapshot{Draining: b.draining}
	for _, id := range b.arrivals {
		if t := b.chats[id]; t != nil && t.stage != Over {
			s.Chats = append(s.Chats, t.view())
		}
	}
	return s
}
