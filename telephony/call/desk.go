package call

import (
	"slices"
	"time"
	"yingda/intake"
	"yingda/telephony"
	"yingda/telephony/ivr"
)

// desk is the operator's phone that is dialled or bridged.
type desk struct {
	leg      telephony.LegID
	offer    intake.OfferID
	operator intake.UserID
	dialled  time.Time
	rang     time.Time // zero: not yet
	up       bool
}

// offered dials the operator's phone.
func (c *Call) offered(in Offered) {
	if c.stage != Waiting || c.desk.leg != "" {
		c.do(Leave{Why: "elsewhere"}) // it crossed our leaving: nobody's fault
		return
	}
	leg := c.cfg.NewLeg()
	c.legs[leg] = true
	c.desk = desk{leg: leg, offer: in.Offer, operator: in.Operator, dialled: c.now}
	c.do(telephony.Dial{Leg: leg, Contact: c.in.Contact, Operator: in.Operator, From: c.in.Number, FromName: c.in.Name, Line: c.in.Line, Timeout: in.Ring,
		Header: map[string]string{"X-Yingda-Contact": string(c.in.Contact)}})
}

func (c *Call) ringing(leg telephony.LegID) {
	if leg == "" || leg != c.desk.leg || !c.desk.rang.IsZero() || c.desk.up {
		return
	}
	c.desk.rang = c.now
	c.write(&intake.RangV1{Operator: c.desk.operator, Offer: c.desk.offer})
	c.do(Rings{Offer: c.desk.offer})
}

// withdrawn: the queue wants the phone to stop.
func (c *Call) withdrawn(in Withdrawn) {
	if in.Offer != c.desk.offer || c.desk.up || c.desk.leg == "" {
		return
	}
	why := in.Why
	switch why {
	case "expired":
		why = "no_answer"
	case "break", "signed_out":
		why = "declined"
	}
	c.unring(why)
	if c.overdue && c.stage == Waiting {
		c.giveUp("")
	}
}

// unring stops the phone that rings.
func (c *Call) unring(why string) {
	d := c.desk
	c.desk = desk{}
	if !d.rang.IsZero() {
		c.rangFor += c.now.Sub(d.rang)
	}
	c.write(&intake.UnrangV1{Operator: d.operator, Offer: d.offer, Why: why})
	c.do(telephony.Hangup{Leg: d.leg})
}

// taken: a person is there.
func (c *Call) taken(in telephony.Answered) {
	if in.Leg != c.desk.leg || c.desk.up || c.stage != Waiting || !c.resident {
		if c.legs[in.Leg] && in.Leg != c.desk.leg {
			c.do(telephony.Hangup{Leg: in.Leg}) // too late: the resident is gone, or the offer was
		}
		return
	}
	d := &c.desk
	if d.rang.IsZero() { // it was taken before it told us that it rings
		c.ringing(d.leg)
	}
	d.up = true
	c.rangFor += c.now.Sub(d.rang)
	c.inQueue, c.first, c.deadline = false, nil, time.Time{}
	c.fromPath(c.path.Step(c.now, ivr.Quit{}))
	c.accept()
	c.do(Took{Offer: d.offer, Operator: d.operator, Line: c.joined}, telephony.Bridge{A: c.in.Leg, B: d.leg})
	if c.answered.IsZero() {
		c.answered, c.by = c.now, d.operator
	}
	c.talkSince, c.unheard, c.lost = c.now, time.Time{}, false
	c.write(&intake.AnsweredV1{Operator: d.operator, Offer: d.offer, Codec: in.Codec, Wideband: in.Wideband})
	c.enter(Talking)
	if !c.cfg.NoRecording {
		c.record(d.leg)
	}
}

// failed: the operator's phone was not taken. The contact keeps its place, unless its time is up.
func (c *Call) failed(in telephony.Failed) {
	delete(c.legs, in.Leg)
	if in.Leg != c.desk.leg || c.desk.up {
		return
	}
	d := c.desk
	c.desk = desk{}
	if !d.rang.IsZero() {
		c.rangFor += c.now.Sub(d.rang)
	}
	c.write(&intake.UnrangV1{Operator: d.operator, Offer: d.offer, Why: in.Why})
	if c.overdue && c.stage == Waiting {
		c.inQueue = false
		c.do(Missed{Offer: d.offer, Why: in.Why, Leaves: true})
		c.giveUp("")
		return
	}
	c.do(Missed{Offer: d.offer, Why: in.Why})
}

func (c *Call) legEnded(in telephony.Ended) {
	if in.Leg == c.in.Leg {
		if c.resident {
			c.resident = false
			c.residentGone(in)
		}
		return
	}
	delete(c.legs, in.Leg)
	if in.Leg != c.desk.leg {
		return
	}
	if !c.desk.up { // ended before it was taken, and not told as Failed
		c.failed(telephony.Failed{Leg: in.Leg, Q850: in.Q850, Why: "error"})
		return
	}
	d := c.desk
	c.endTalk()
	if in.By == intake.ByNetwork {
		c.operatorLost(d)
		return
	}
	c.finish(intake.ByUs, in.Q850)
}

// endTalk parts the two, whoever ended it.
func (c *Call) endTalk() {
	d := c.desk
	parted := c.held && c.cfg.HoldMusic
	c.desk, c.held, c.holds = desk{}, false, false
	c.talked += c.now.Sub(c.talkSince)
	c.stopRecord()
	if c.legs[d.leg] {
		if c.resident && !parted {
			c.do(telephony.Unbridge{A: c.in.Leg, B: d.leg})
		}
		c.do(telephony.Hangup{Leg: d.leg, Q850: 16})
	}
	c.do(Finished{Offer: d.offer})
}

// operatorLost: the phone on the desk died in mid-talk. The resident is not dropped but goes before all others.
func (c *Call) operatorLost(d desk) {
	c.lost = true
	c.write(&intake.MovedV1{By: d.operator, To: "queue"})
	c.join("", true)
	c.speak(ivr.Again{Prompt: ivr.SorryLost})
}

// hold: one side put the other on hold, or came back. Told twice it is once.
func (c *Call) hold(leg telephony.LegID, on bool) {
	if c.stage != Talking {
		return
	}
	who, held := "resident", &c.holds
	switch leg {
	case c.in.Leg:
	case c.desk.leg:
		who, held = string(c.desk.operator), &c.held
	default:
		return
	}
	if *held == on {
		return
	}
	*held = on
	music := c.cfg.HoldMusic && leg == c.desk.leg
	if on {
		c.write(&intake.HeldV1{By: who})
		if music {
			c.do(telephony.Unbridge{A: c.in.Leg, B: leg}, telephony.Play{Leg: c.in.Leg, Play: holdMusic, Prompts: []string{ivr.Music}, Dialect: c.cfg.Dialect, Loop: true})
		}
		return
	}
	c.write(&intake.ResumedV1{By: who})
	if music {
		c.do(telephony.Bridge{A: c.in.Leg, B: leg})
	}
}

// quiet: no speech since they were connected, by one side. Nobody is hung up on for it; the operator sees it. Silence later in a talk is
// listening, and no event.
func (c *Call) quiet(in telephony.Quiet) {
	if c.stage != Talking || c.held || c.now.Sub(c.talkSince) > time.Duration(in.Seconds+2)*time.Second {
		return
	}
	side := "resident"
	switch in.Leg {
	case c.in.Leg:
		if !slices.Contains(c.flags, intake.SilentCaller) {
			c.flags = append(c.flags, intake.SilentCaller)
		}
		c.unheard = c.now
	case c.desk.leg:
		side = "operator"
	default:
		return
	}
	c.write(&intake.SilentV1{Side: side, Seconds: in.Seconds})
}
