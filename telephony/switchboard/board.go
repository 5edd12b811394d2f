package switchboard

import (
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/timers"
	"yingda/telephony"
	"yingda/telephony/call"
)

// Switchboard is the machine. It is owned by one goroutine.
type Switchboard struct {
	cfg      Config
	lines    map[intake.LineID]Line
	order    []intake.LineID
	fallback intake.LineID
	draining bool

	calls    map[intake.ContactID]*live
	backs    map[intake.AttemptID]*live
	legs     map[telephony.LegID]*live
	recs     map[intake.RecordingID]*live
	arrivals []intake.ContactID // of live calls, in order; tidied now and then
	open     int                // calls that are not over and calls back
	timers   timers.Timers[*live]
}

// live is a call or a call back, with what leads to it.
type live struct {
	timers.Timer
	call *call.Call
	back *call.Back
	id   intake.ContactID // of a call
	try  intake.AttemptID // of a call back
	line intake.LineID
	legs []telephony.LegID
	recs []intake.RecordingID
	over bool // counted as over
}

func (l *live) step(now time.Time, in telephony.Input) []telephony.Effect {
	if l.call != nil {
		return l.call.Step(now, in)
	}
	return l.back.Step(now, in)
}

func (l *live) wake(now time.Time) []telephony.Effect {
	if l.call != nil {
		return l.call.Wake(now)
	}
	return l.back.Wake(now)
}

func (l *live) deadline() time.Time {
	if l.call != nil {
		return l.call.Deadline()
	}
	return l.back.Deadline()
}

func (l *live) done() bool {
	if l.call != nil {
		return l.call.Done()
	}
	return l.back.Done()
}

// New makes one without lines.
func New(c Config) *Switchboard {
	return &Switchboard{cfg: c, lines: map[intake.LineID]Line{}, calls: map[intake.ContactID]*live{}, backs: map[intake.AttemptID]*live{},
		legs: map[telephony.LegID]*live{}, recs: map[intake.RecordingID]*live{}}
}

// Step takes what happened and says what is to be done, in order.
func (s *Switchboard) Step(now time.Time, in telephony.Input) []telephony.Effect {
	switch in := in.(type) {
	case SetLines:
		s.setLines(in)
		return nil
	case FromQueue:
		return s.fromQueue(now, in.Effect)
	case telephony.Invited:
		return s.invited(now, in)
	case telephony.CallBack:
		return s.callBack(now, in)
	case telephony.Drain:
		return s.drain(now)
	case telephony.Written:
		return s.to(now, s.calls[in.Contact], in)
	case telephony.Recorded:
		return s.to(now, s.recs[in.Recording], in)
	}
	return s.to(now, s.legs[legOf(in)], in)
}

func legOf(in telephony.Input) telephony.LegID {
	switch in := in.(type) {
	case telephony.Accepted:
		return in.Leg
	case telephony.Ringing:
		return in.Leg
	case telephony.Answered:
		return in.Leg
	case telephony.Failed:
		return in.Leg
	case telephony.Ended:
		return in.Leg
	case telephony.Held:
		return in.Leg
	case telephony.Resumed:
		return in.Leg
	case telephony.Digit:
		return in.Leg
	case telephony.Played:
		return in.Leg
	case telephony.Heard:
		return in.Leg
	case telephony.Quiet:
		return in.Leg
	case telephony.MediaLost:
		return in.Leg
	}
	return ""
}

func (s *Switchboard) setLines(in SetLines) {
	s.lines, s.order, s.fallback = map[intake.LineID]Line{}, nil, in.Default
	for _, l := range in.Lines {
		s.lines[l.ID] = l
		s.order = append(s.order, l.ID)
	}
	slices.Sort(s.order)
}

// invited begins a call, or refuses it; either way it is written down.
func (s *Switchboard) invited(now time.Time, in telephony.Invited) []telephony.Effect {
	if in.Line == "" {
		in.Line = s.fallback
	}
	line, known := s.lines[in.Line]
	if !known {
		in.Line = ""
	}
	c := call.Config{Settings: line.Settings, Switchboard: s.cfg.ID, Source: s.cfg.Source, Epoch: s.cfg.Epoch, Open: line.Hours.Open(now), NewLeg: s.cfg.NewLeg, NewRecording: s.cfg.NewRecording}
	switch {
	case s.draining:
		c.Refuse, c.Reason = 503, intake.ReasonShutdown
	case in.Overload || s.cfg.MaxCalls > 0 && s.open >= s.cfg.MaxCalls:
		c.Refuse, c.Reason = 503, intake.ReasonOverload
	case in.Caller.Blocked:
		c.Refuse, c.Reason = 603, intake.ReasonBlocked
	case !known:
		c.Refuse, c.Reason = 404, "unknown_line"
	case !in.Audio:
		c.Refuse, c.Reason = 488, intake.ReasonBadSDP
	}
	if s.legs[in.Leg] != nil {
		return nil // told twice
	}
	if s.calls[in.Contact] != nil { // the same request by two ways at once: RFC 3261 8.2.2.2, merged request
		return []telephony.Effect{telephony.Refuse{Leg: in.Leg, Status: 482}}
	}
	s.open++
	l := &live{call: call.New(c), id: in.Contact, line: in.Line}
	s.calls[in.Contact] = l
	s.arrivals = append(s.arrivals, in.Contact)
	s.own(l, in.Leg)
	return s.to(now, l, in)
}

func (s *Switchboard) own(l *live, leg telephony.LegID) {
	s.legs[leg] = l
	l.legs = append(l.legs, leg)
}

func (s *Switchboard) callBack(now time.Time, in telephony.CallBack) []telephony.Effect {
	if s.backs[in.Attempt] != nil {
		return nil
	}
	no := []telephony.Effect{telephony.Tried{Attempt: in.Attempt, Callback: in.Callback, Operator: in.Operator, Case: in.Case}}
	if s.draining {
		return no
	}
	if in.Apart { // of an operator the queue knows whether they are free
		for _, l := range s.backs {
			o := l.back.Order()
			switch {
			case o.Operator != in.Operator || l.back.Over():
			case o.Callback == in.Callback && o.Case == in.Case: // pressed twice: the first answers for both
				return nil
			default:
				return no
			}
		}
	}
	if in.Line == "" {
		in.Line = s.fallback
	}
	line := s.lines[in.Line]
	c := call.Config{Settings: line.Settings, Switchboard: s.cfg.ID, Source: s.cfg.Source, Epoch: s.cfg.Epoch, NewLeg: s.cfg.NewLeg, NewRecording: s.cfg.NewRecording}
	s.open++
	l := &live{back: call.NewBack(c), try: in.Attempt, line: in.Line}
	s.backs[in.Attempt] = l
	return s.to(now, l, in)
}

// queueLast puts what is for the queue behind everything else. The queue's answer comes back to a call before the rest of the list is carried
// out: an event of that answer would otherwise be in the log before the earlier events of this step, and readers would pass those over.
func queueLast(effects []telephony.Effect) []telephony.Effect {
	slices.SortStableFunc(effects, func(a, b telephony.Effect) int {
		_, x := a.(ToQueue)
		_, y := b.(ToQueue)
		switch {
		case x == y:
			return 0
		case x:
			return 1
		}
		return -1
	})
	return effects
}

func (s *Switchboard) drain(now time.Time) []telephony.Effect {
	s.draining = true
	var out []telephony.Effect
	for _, id := range slices.Clone(s.arrivals) {
		out = append(out, s.to(now, s.calls[id], telephony.Drain{})...)
	}
	return queueLast(out)
}

// fromQueue hands what the queue says to the one concerned.
func (s *Switchboard) fromQueue(now time.Time, e queue.Effect) []telephony.Effect {
	switch e := e.(type) {
	case queue.Placed:
		return s.to(now, s.calls[e.Contact], call.Placed{Ahead: e.Ahead, Estimate: e.Estimate})
	case queue.Full:
		return s.to(now, s.calls[e.Contact], call.Full{})
	case queue.Offered:
		return s.to(now, s.calls[e.Contact], call.Offered{Offer: e.Offer, Operator: e.Operator, Ring: e.Ring})
	case queue.Withdrawn:
		return s.to(now, s.calls[e.Contact], call.Withdrawn{Offer: e.Offer, Why: e.Why})
	case queue.Engaged:
		return s.to(now, s.backs[intake.AttemptID(e.Ref)], call.Engaged{})
	case queue.EngageRefused:
		return s.to(now, s.backs[intake.AttemptID(e.Ref)], call.EngageRefused{Why: e.Why})
	}
	return nil
}

// to hands an input to its call and carries its wishes for the queue outwards. A call whose machine panics ends as fault; the others go on.
func (s *Switchboard) to(now time.Time, l *live, in telephony.Input) []telephony.Effect {
	if l == nil {
		return nil
	}
	return s.tidy(now, l, s.guard(now, l, func() []telephony.Effect { return l.step(now, in) }))
}

// guard runs f; a panic in it ends that call as fault.
func (s *Switchboard) guard(now time.Time, l *live, f func() []telephony.Effect) (out []telephony.Effect) {
	defer func() {
		if p := recover(); p != nil {
			if l.call != nil {
				out = l.call.Break(now)
			} else {
				out = l.back.Break(now)
			}
		}
	}()
	return f()
}

func (s *Switchboard) tidy(now time.Time, l *live, effects []telephony.Effect) []telephony.Effect {
	out := make([]telephony.Effect, 0, len(effects))
	var ask []telephony.Effect
	for _, e := range effects {
		switch e := e.(type) {
		case telephony.Dial:
			s.own(l, e.Leg)
			out = append(out, e)
		case telephony.Record:
			s.recs[e.Recording] = l
			l.recs = append(l.recs, e.Recording)
			out = append(out, e)
		default:
			if q := s.forQueue(l, e); q != nil {
				ask = append(ask, ToQueue{Input: q})
			} else {
				out = append(out, e)
			}
		}
	}
	if over := l.call != nil && l.call.Stage() == call.Over || l.back != nil && l.back.Over(); over && !l.over {
		l.over = true
		s.open--
	}
	if l.done() {
		s.forget(l)
	} else {
		s.timers.Set(l, l.deadline())
	}
	return append(out, ask...) // the queue last, see queueLast
}

// forQueue translates what a call asks of the queue; nil for what is not for the queue.
func (s *Switchboard) forQueue(l *live, e telephony.Effect) queue.Input {
	switch e := e.(type) {
	case call.Join:
		return queue.Join{Contact: l.id, Channel: intake.Phone, Line: e.Line, Priority: e.Priority, Why: e.Why, Arrived: e.Arrived, Ring: e.Ring, Limit: e.Limit, Head: e.Head}
	case call.Leave:
		return queue.Leave{Contact: l.id, Why: e.Why}
	case call.Ask:
		return queue.Ask{Contact: l.id}
	case call.Rings:
		return queue.Rings{Offer: e.Offer}
	case call.Took:
		return queue.Took{Offer: e.Offer, Contact: l.id, Operator: e.Operator, Channel: intake.Phone, Line: e.Line}
	case call.Missed:
		return queue.Missed{Offer: e.Offer, Why: e.Why, Leaves: e.Leaves}
	case call.Finished:
		return queue.Finished{Offer: e.Offer}
	case call.Engage:
		return queue.Engage{Operator: e.Operator, Ref: string(l.try)}
	case call.Disengage:
		return queue.Disengage{Operator: e.Operator, Ref: string(l.try), Talked: e.Talked}
	}
	return nil
}

func (s *Switchboard) forget(l *live) {
	s.timers.Set(l, time.Time{})
	for _, leg := range l.legs {
		delete(s.legs, leg)
	}
	for _, r := range l.recs {
		delete(s.recs, r)
	}
	if l.back != nil {
		delete(s.backs, l.try)
		return
	}
	delete(s.calls, l.id)
	if len(s.arrivals) > 64 && len(s.arrivals) > 2*len(s.calls) {
		s.arrivals = slices.DeleteFunc(s.arrivals, func(id intake.ContactID) bool { return s.calls[id] == nil })
	}
}

// Wake does what has become due.
func (s *Switchboard) Wake(now time.Time) []telephony.Effect {
	var out []telephony.Effect
	s.timers.Wake(now, func(l *live) {
		out = append(out, s.tidy(now, l, s.guard(now, l, func() []telephony.Effect { return l.wake(now) }))...)
	})
	return queueLast(out)
}

// Deadline is when it wants to be woken, zero for never.
func (s *Switchboard) Deadline() time.Time { return s.timers.Deadline() }

// Live is the number of calls and calls back under way, those that only wait for the end of a recording included: when draining, the program
// may end when it is 0.
func (s *Switchboard) Live() int { return len(s.calls) + len(s.backs) }

// Snapshot is how things stand at now.
func (s *Switchboard) Snapshot(now time.Time) Snapshot {
	snap := Snapshot{Draining: s.draining}
	lines := map[intake.LineID]*LineView{}
	for _, id := range s.order {
		lines[id] = &LineView{Line: id, Open: s.lines[id].Hours.Open(now)}
	}
	for _, id := range s.arrivals {
		l := s.calls[id]
		if l == nil {
			continue
		}
		v := l.call.View(now)
		if v.Stage == call.Over {
			continue
		}
		snap.Calls = append(snap.Calls, CallView{Contact: id, Line: l.line, Number: v.Invited.Number, Known: v.Invited.Caller.Known, Stage: v.Stage, Arrived: v.Arrived, Since: v.Since,
			Priority: v.Priority, Why: v.Why, Operator: v.Operator, Ringing: v.Ringing, Held: v.Held, Silent: v.Silent})
		if w := lines[l.line]; w != nil {
			w.count(v)
		}
	}
	for id, l := range s.backs {
		stage, since := l.back.Stage()
		o := l.back.Order()
		snap.Backs = append(snap.Backs, BackView{Attempt: id, Callback: o.Callback, Operator: o.Operator, Stage: stage, Since: since})
	}
	slices.SortFunc(snap.Backs, func(a, b BackView) int { return strings.Compare(string(a.Attempt), string(b.Attempt)) })
	for _, id := range s.order {
		snap.Lines = append(snap.Lines, *lines[id])
	}
	return snap
}

func (w *LineView) count(v call.View) {
	switch v.Stage {
	case call.Talking:
		w.Talking++
	case call.Message:
		w.Message++
	case call.Waiting, call.Menu, call.Writing:
		w.Waiting++
		if v.Ringing {
			w.Ringing++
		}
		if w.Oldest.IsZero() || v.Arrived.Before(w.Oldest) {
			w.Oldest = v.Arrived
		}
	}
}

// Interrupted gives the provisional contact.ended of each contact that the last run left open, to be appended before any call is taken.
func (s *Switchboard) Interrupted(now time.Time, open []Open) []intake.Event {
	var list []intake.Event
	for _, o := range open {
		until := o.Seen
		if until.IsZero() {
			until = now
		}
		e := &intake.EndedV1{Outcome: intake.Interrupted, Reason: intake.ReasonRestarted, By: intake.ByUs, Q850: 41, Provisional: true}
		if o.Answered.IsZero() {
			e.WaitedMS = max(until.Sub(o.Arrived).Milliseconds(), 0)
		} else {
			e.WaitedMS = max(o.Answered.Sub(o.Arrived).Milliseconds(), 0)
			e.TalkedMS = max(until.Sub(o.Answered).Milliseconds(), 0)
		}
		list = append(list, intake.Event{Source: s.cfg.Source, Subject: o.Contact.Subject(), Sequence: o.Last.Next(s.cfg.Epoch), Time: intake.Millis(now), PartitionKey: o.PartitionKey, Data: e})
	}
	return list
}
