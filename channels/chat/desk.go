package chat

import (
	"time"

	"yingda/intake"
	"yingda/intake/queue"
)

// fromQueue: the queue says something of it.
func (t *talk) fromQueue(e queue.Effect) {
	switch e := e.(type) {
	case queue.Placed:
		if !t.inQueue {
			return
		}
		t.ahead, t.estimate = e.Ahead, e.Estimate
		if !t.placed {
			t.placed = true
			t.write(&intake.WaitingV1{Priority: t.priority, Why: t.why, Ahead: e.Ahead}, intake.Personal{})
		}
	case queue.Full:
		if t.inQueue {
			t.inQueue = false
			t.over(intake.QueueFull, "", intake.ByUs)
		}
	case queue.Offered:
		if t.stage != Waiting || !t.inQueue || t.asked.offer != "" {
			t.tell(queue.Missed{Offer: e.Offer, Why: "error"})
			return
		}
		t.asked = asked{offer: e.Offer, operator: e.Operator, until: t.now.Add(e.Ring)}
		t.do(Ring{Contact: t.id, Offer: e.Offer, Operator: e.Operator, Until: t.asked.until})
	case queue.Withdrawn:
		if t.asked.offer == e.Offer && t.asked.by == "" {
			t.unask(e.Why)
		}
	}
}

// unask: that operator is asked no more.
func (t *talk) unask(why string) {
	a := t.asked
	t.asked = asked{}
	if !a.shown.IsZero() {
		t.rangFor += t.now.Sub(a.shown)
		t.write(&intake.UnrangV1{Operator: a.operator, Offer: a.offer, Why: unrang(why)}, intake.Personal{})
	}
	t.do(Unring{Contact: t.id, Offer: a.offer, Operator: a.operator, Why: why})
}

// unrang says why in the words of intake.UnrangV1.
func unrang(why string) string {
	switch why {
	case "no_answer", "busy", "declined", "unreachable", "resident_left":
		return why
	case queue.WhyExpired:
		return "no_answer"
	case queue.WhySignedOut, queue.WhyBreak:
		return "declined"
	}
	return "error"
}

// shown: the desk of the operator who is asked shows it.
func (t *talk) shown(in Shown) {
	if in.Offer == "" || t.asked.offer != in.Offer || !t.asked.shown.IsZero() {
		return
	}
	t.asked.shown = t.now
	t.write(&intake.RangV1{Operator: t.asked.operator, Offer: in.Offer}, intake.Personal{})
	if t.asked.by == "" {
		t.tell(queue.Rings{Offer: in.Offer})
	}
}

func (t *talk) accept(in Accept) {
	switch {
	case t.stage == Over:
		t.done(in.Ref, 0, ErrOver)
		return
	case t.operator == in.Operator && t.offer == in.Offer && in.Offer != "":
		t.done(in.Ref, 0, "") // told twice
		return
	case in.Offer == "" || t.asked.offer != in.Offer || t.asked.operator != in.Operator:
		t.done(in.Ref, 0, ErrNotYours)
		return
	}
	t.shown(Shown{Contact: t.id, Offer: in.Offer}) // they have seen it, whatever the desk said
	a := t.asked
	t.asked = asked{}
	t.rangFor += t.now.Sub(a.shown)
	t.do(Unring{Contact: t.id, Offer: a.offer, Operator: a.operator, Why: "taken"})
	if a.by != "" {
		t.write(&intake.MovedV1{By: a.by, To: string(a.operator)}, intake.Personal{})
		t.tell(queue.Finished{Offer: t.offer})
	}
	t.inQueue = false
	t.operator, t.offer, t.replied = a.operator, a.offer, false
	if !t.waits.IsZero() {
		t.patience = t.now
	}
	t.spoke = t.now // from now on it is the resident's turn, if they do not wait for us
	t.enter(Open)
	t.tell(queue.Took{Offer: a.offer, Contact: t.id, Operator: a.operator, Channel: intake.Chat, Line: t.line})
	t.await(in.Ref, nil)
}

func (t *talk) decline(in Decline) {
	if in.Offer == "" || t.asked.offer != in.Offer || t.asked.operator != in.Operator {
		t.done(in.Ref, 0, ErrNotYours)
		return
	}
	t.miss("declined")
	t.await(in.Ref, nil)
}

// miss: nothing came of asking, by the operator's side.
func (t *talk) miss(why string) {
	a := t.asked
	t.unask(why)
	if a.by == "" {
		t.tell(queue.Missed{Offer: a.offer, Why: why})
	}
}

func (t *talk) hand(in Hand) {
	switch {
	case t.stage == Over:
		t.done(in.Ref, 0, ErrOver)
		return
	case t.stage != Open || t.operator != in.Operator || in.To == in.Operator:
		t.done(in.Ref, 0, ErrNotYours)
		return
	}
	if t.asked.offer != "" {
		t.unask("elsewhere")
	}
	if in.To == "" {
		t.write(&intake.MovedV1{By: in.Operator, To: toQueue}, intake.Personal{})
		t.giveBack()
		t.await(in.Ref, nil)
		return
	}
	t.asked = asked{offer: t.cfg.NewOffer(), operator: in.To, by: in.Operator, until: t.now.Add(t.set.HandRing)}
	t.do(Ring{Contact: t.id, Offer: t.asked.offer, Operator: in.To, Until: t.asked.until, By: in.Operator})
	t.await(in.Ref, nil)
}

// giveBack: the operator has it no more; it goes before all others.
func (t *talk) giveBack() {
	t.tell(queue.Finished{Offer: t.offer})
	t.lost = !t.answered.IsZero()
	t.operator, t.offer, t.replied, t.warned = "", "", false, false
	if t.waits.IsZero() {
		t.waits = t.now
	}
	t.patience = t.now
	t.join(true)
}

func (t *talk) end(in End) {
	switch {
	case t.stage == Over:
		t.done(in.Ref, 0, "")
		return
	case t.stage != Open || t.operator != in.Operator:
		t.done(in.Ref, 0, ErrNotYours)
		return
	}
	t.over(intake.Unattended, ReasonClosedByUs, intake.ByUs)
	t.await(in.Ref, nil)
}

// over writes the one contact.ended. Who was replied to stays replied to, whatever comes later, but for a promise and a wait that we gave up after their
// operator was lost.
func (t *talk) over(o intake.Outcome, reason string, by intake.By) {
	gaveUp := o == intake.CallbackPromised || o == intake.Unattended && reason == ReasonTimeout || o == intake.Fault
	if !t.answered.IsZero() && !(t.lost && gaveUp) && o != intake.Fault {
		o = intake.Replied
		if reason != ReasonSilent {
			reason = ""
		}
	} else if t.lost && gaveUp {
		reason = ReasonLost
	}
	t.release(by)
	t.outcome, t.reason = o, reason
	e := &intake.EndedV1{Outcome: o, Reason: reason, By: by, RangMS: t.rangFor.Milliseconds(), Flags: t.flags, Provisional: t.another && !t.touched}
	if t.answered.IsZero() {
		e.WaitedMS = max(t.now.Sub(t.arrived).Milliseconds(), 0)
	} else {
		e.WaitedMS, e.TalkedMS = max(t.answered.Sub(t.arrived).Milliseconds(), 0), max(t.now.Sub(t.answered).Milliseconds(), 0)
	}
	switch {
	case o == intake.Replied && reason == "" && by == intake.ByUs && t.now.Sub(t.answered) < quickDrop:
		e.Flags = append(e.Flags[:len(e.Flags):len(e.Flags)], intake.QuickDrop)
	case o == intake.Unattended && by == intake.ByResident && t.now.Sub(t.arrived) < shortAbandon:
		e.Flags = append(e.Flags[:len(e.Flags):len(e.Flags)], intake.ShortAbandon)
	}
	t.write(e, intake.Personal{})
	t.warned = false
	t.enter(Over)
}

// release lets go of whoever has it or is asked, and of its place in the queue.
func (t *talk) release(by intake.By) {
	if t.asked.offer != "" {
		why := "error"
		if by == intake.ByResident {
			why = "resident_left"
		}
		t.unask(why)
	}
	switch {
	case t.inQueue:
		t.inQueue = false
		t.tell(queue.Leave{Contact: t.id, Why: "resident_left"})
	case t.operator != "":
		t.tell(queue.Finished{Offer: t.offer})
	}
}

// broken ends it as fault: its machine panicked, and nothing that it said in this step counts.
func (t *talk) broken() {
	t.events, t.out, t.ask, t.seq = nil, nil, nil, t.mark
	if t.was == Over {
		return
	}
	t.stage = t.was
	if a := t.asked; a.offer != "" && a.by != "" {
		t.do(Unring{Contact: t.id, Offer: a.offer, Operator: a.operator, Why: "error"})
	}
	t.asked = asked{}
	t.tell(queue.Leave{Contact: t.id, Why: "error"})
	if t.offer != "" {
		t.tell(queue.Finished{Offer: t.offer})
	}
	t.inQueue, t.offer = false, ""
	t.operator = ""
	t.answered, t.lost = time.Time{}, false
	t.over(intake.Fault, "panic", intake.ByUs)
}

// A due is a moment and what is to be done then.
type due struct {
	at time.Time
	do func()
}

// dues lists what it waits for in this stage.
func (t *talk) dues() []due {
	var list []due
	after := func(from time.Time, d time.Duration, f func()) {
		if d > 0 && !from.IsZero() {
			list = append(list, due{from.Add(d), f})
		}
	}
	absent := func(f func()) {
		if !t.present {
			after(t.seen, t.set.LeaveAfter, f)
		}
	}
	if t.asked.offer != "" {
		list = append(list, due{t.asked.until, func() { t.miss("no_answer") }})
	}
	switch t.stage {
	case Writing:
		after(t.arrived, writtenLimit, func() {
			t.flags = append(t.flags, intake.Unwritten)
			for i := range t.pending {
				t.goOn(&t.pending[i])
			}
			t.opened()
		})
	case Quiet:
		after(t.arrived, t.set.Unspoken, func() { t.over(intake.LeftSilently, ReasonUnspoken, intake.ByResident) })
		absent(func() { t.over(intake.LeftSilently, ReasonUnspoken, intake.ByResident) })
	case Waiting:
		after(t.patience, t.set.MaxWait, func() { t.over(intake.Unattended, ReasonTimeout, intake.ByUs) })
		if t.answered.IsZero() {
			absent(func() { t.over(intake.LeftSilently, "", intake.ByResident) })
		}
		list = append(list, due{t.nextAsk, func() { t.nextAsk = t.now.Add(askEvery); t.tell(queue.Ask{Contact: t.id}) }})
	case Open:
		if !t.waits.IsZero() {
			after(t.patience, t.set.ReplyWithin, t.noReply)
			break
		}
		if !t.warned && t.set.WarnSilent < t.set.EndSilent {
			after(t.spoke, t.set.WarnSilent, func() { t.warned = true })
		}
		after(t.spoke, t.set.EndSilent, func() { t.over(intake.Unattended, ReasonSilent, intake.ByUs) })
	case Closed:
		end := func() { t.over(intake.AfterHours, t.messageLeft(), intake.ByUs) }
		after(t.active, t.set.Closed, end)
		absent(end)
	case Over:
		list = append(list, due{t.since.Add(linger), func() {
			if len(t.pending) > 0 { // the disk has not taken all of it
				t.since = t.now
				return
			}
			t.forgotten = true
		}})
	}
	return list
}

// noReply: the operator who has it lets the resident wait.
func (t *talk) noReply() {
	if t.asked.offer != "" {
		t.unask("elsewhere")
	}
	if t.replied {
		t.write(&intake.MovedV1{By: t.operator, To: toQueue}, intake.Personal{})
	} else {
		t.write(&intake.UnrangV1{Operator: t.operator, Offer: t.offer, Why: "no_answer"}, intake.Personal{})
	}
	t.giveBack()
}

func (t *talk) deadline() time.Time {
	var first time.Time
	for _, d := range t.dues() {
		if first.IsZero() || d.at.Before(first) {
			first = d.at
		}
	}
	return first
}

// wake does the first thing that is due; the board asks again for the next.
func (t *talk) wake() {
	var next *due
	for _, d := range t.dues() {
		if !d.at.After(t.now) && (next == nil || d.at.Before(next.at)) {
			next = &d
		}
	}
	if next != nil {
		next.do()
	}
}
