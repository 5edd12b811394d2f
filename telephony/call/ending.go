package call

import (
	"maps"
	"slices"
	"time"
	"yingda/intake"
	"yingda/telephony"
)

// residentGone: they hung up, or their leg broke.
func (c *Call) residentGone(in telephony.Ended) {
	by := in.By
	switch by {
	case "":
		by = intake.ByResident
	case intake.ByNetwork:
		if c.reason == "" {
			c.reason = in.Why
		}
	}
	switch c.stage {
	case Talking:
		c.endTalk()
	case Message:
		if c.pending = intake.AfterHours; !c.message.IsZero() && c.now.Sub(c.message) >= shortest {
			c.pending = intake.Voicemail
		}
		c.stopRecord()
	case Waiting, Writing, Menu:
		c.pending = c.abandoned()
		if by == intake.ByUs { // the edge gave the leg up without being told to
			c.pending, c.reason = intake.Fault, in.Why
		}
		c.leave("resident_left")
	}
	c.over(by, in.Q850)
}

// abandoned says where they were when they left.
func (c *Call) abandoned() intake.Outcome {
	switch {
	case c.desk.leg != "" && !c.desk.rang.IsZero():
		return intake.AbandonedRinging
	case c.stage == Waiting && !c.path.Greeting():
		return intake.AbandonedQueue
	default:
		return intake.AbandonedGreeting
	}
}

// finish hangs up and ends the call from our side.
func (c *Call) finish(by intake.By, q850 int) {
	if c.stage == Over {
		return
	}
	if q850 == 0 {
		q850 = 16
	}
	if c.stage == Talking && c.desk.up {
		c.endTalk()
	}
	c.stopRecord()
	if c.resident {
		c.resident = false
		c.do(telephony.Hangup{Leg: c.in.Leg, Q850: q850})
	}
	c.over(by, q850)
}

// over writes the one contact.ended.
func (c *Call) over(by intake.By, q850 int) {
	if c.lost && c.reason == "" {
		c.reason = reasonLost
	}
	c.do(telephony.Write{Events: []intake.Event{c.last(c.outcome(), by, q850)}})
	c.first, c.deadline = nil, time.Time{}
	switch {
	case len(c.waits) > 0:
		c.deadline = c.now.Add(lingerRecs)
	case len(c.legs) > 0:
		c.deadline = c.now.Add(lingerLegs)
	}
	c.enter(Over)
}

// outcome: who was answered stays answered, whatever comes later, but for a promise we made since.
func (c *Call) outcome() intake.Outcome {
	switch {
	case c.lost && (c.pending == intake.CallbackPromised || c.pending == intake.TimeoutNoOperator):
		return c.pending // they were answered once, and lost; then we said that we will call, and that must be owed
	case !c.answered.IsZero():
		if c.talked >= silentAfter && !c.heard[true] && !c.heard[false] {
			return intake.Silent
		}
		return intake.Answered
	case c.pending != "":
		return c.pending
	default:
		return intake.Fault
	}
}

func (c *Call) last(o intake.Outcome, by intake.By, q850 int) intake.Event {
	until := c.now
	if !c.answered.IsZero() {
		until = c.answered
	}
	e := &intake.EndedV1{Outcome: o, Reason: c.reason, By: by, Q850: q850, WaitedMS: until.Sub(c.arrived).Milliseconds(), RangMS: c.rangFor.Milliseconds(), TalkedMS: c.talked.Milliseconds(),
		Flags: slices.Clone(c.flags)}
	short := c.cfg.ShortAbandon
	if short <= 0 {
		short = 5 * time.Second
	}
	switch o {
	case intake.AbandonedGreeting, intake.AbandonedQueue, intake.AbandonedRinging:
		if c.now.Sub(c.arrived) < short {
			e.Flags = append(e.Flags, intake.ShortAbandon)
		}
	case intake.Answered:
		if by == intake.ByUs && c.talked < quickDrop {
			e.Flags = append(e.Flags, intake.QuickDrop)
		}
		if c.talked >= silentAfter && c.heard[true] != c.heard[false] {
			e.Flags = append(e.Flags, intake.OneWayAudio)
		}
	case intake.Voicemail:
		e.TalkedMS = c.now.Sub(c.message).Milliseconds()
	}
	return c.event(e, intake.Personal{})
}

// Break ends the call as fault: its machine panicked, nothing of it can be trusted but its ids.
func (c *Call) Break(now time.Time) []telephony.Effect {
	if c.was == Over {
		return nil
	}
	c.now, c.out, c.seq = now, nil, c.mark
	if c.inQueue {
		c.do(Leave{Why: "error"})
	}
	if c.desk.up {
		c.do(Finished{Offer: c.desk.offer})
	}
	c.stopRecord()
	for _, leg := range slices.Sorted(maps.Keys(c.legs)) {
		c.do(telephony.Hangup{Leg: leg, Q850: 41})
	}
	if c.resident {
		c.resident = false
		c.do(telephony.Hangup{Leg: c.in.Leg, Q850: 41})
	}
	c.desk, c.answered, c.lost, c.pending, c.reason = desk{}, time.Time{}, false, intake.Fault, "panic"
	c.over(intake.ByUs, 41)
	return c.out
}
