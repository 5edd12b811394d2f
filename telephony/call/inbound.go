package call

import (
	"slices"
	"time"

	"yingda/intake"
	"yingda/telephony"
	"yingda/telephony/ivr"
)

// Config of one call. Settings are those of its line when it came.
type Config struct {
	Settings
	Switchboard  intake.SwitchboardID
	Source       string
	Epoch        uint32
	Open         bool // the line is within its hours
	Refuse       int  // SIP status to refuse with at once; 0: take it
	Reason       string
	NewLeg       func() telephony.LegID
	NewRecording func() intake.RecordingID
}

const (
	writtenLimit = 2 * time.Second        // for the log to answer; after that the call goes on unwritten
	retryAfter   = 10 * time.Second       // for one that we refuse for want of room
	maxWait      = 10 * time.Minute       //
	maxMessage   = 2 * time.Minute        //
	quickDrop    = 10 * time.Second       // answered and ended by our side sooner: a quick drop
	silentAfter  = 10 * time.Second       // bridged so long with no audio from either side: silent
	lostAfter    = 120                    // seconds without a packet from the resident: they are gone
	lastRing     = 3 * time.Second        // when time is up while a phone rings, it may ring that much longer
	shortest     = 500 * time.Millisecond // of a message
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

// Call is the machine. It is owned by the switchboard.
type Call struct {
	cfg     Config
	in      telephony.Invited
	seq     intake.Sequence
	key     string
	now     time.Time
	out     []telephony.Effect
	stage   Stage
	arrived time.Time
	since   time.Time
	path    *ivr.Path

	resident  bool // their leg lives
	accepted  bool // 200 was ordered
	desk      desk
	pending   intake.Outcome // with Closing: how it will end
	reason    string
	priority  int
	why       string
	inQueue   bool
	placed    bool
	joined    time.Time
	deadline  time.Time
	answered  time.Time
	by        intake.UserID // who answered first
	talked    time.Duration
	talkSince time.Time
	rangFor   time.Duration
	recording intake.RecordingID // under way
	waits     map[intake.RecordingID]bool
	message   time.Time // the beep
	heard     map[bool]bool
	held      bool
	silent    bool
	flags     []intake.Flag
	legs      map[telephony.LegID]bool // that we dialled and whose end has not been told
}

// New makes a call that its first input, Invited, begins.
func New(c Config) *Call {
	return &Call{cfg: c, waits: map[intake.RecordingID]bool{}, heard: map[bool]bool{}, legs: map[telephony.LegID]bool{}}
}

// Step takes what happened to one of its legs, its log or its place in the queue.
func (c *Call) Step(now time.Time, in telephony.Input) []telephony.Effect {
	c.now, c.out = now, nil
	switch in := in.(type) {
	case telephony.Invited:
		c.invited(in)
	case telephony.Written:
		c.written(in.Unwritten)
	case telephony.Ringing:
		c.ringing(in.Leg)
	case telephony.Answered:
		c.taken(in)
	case telephony.Failed:
		c.failed(in)
	case telephony.Ended:
		c.legEnded(in)
	case telephony.Held:
		c.hold(in.Leg, true)
	case telephony.Resumed:
		c.hold(in.Leg, false)
	case telephony.Digit:
		if in.Leg == c.in.Leg {
			c.fromPath(c.path.Step(now, in))
		}
	case telephony.Played:
		if in.Leg == c.in.Leg {
			c.fromPath(c.path.Step(now, in))
		}
	case telephony.Heard:
		c.heard[in.Leg == c.in.Leg] = true
	case telephony.Quiet:
		c.quiet(in)
	case telephony.MediaLost:
		c.mediaLost(in)
	case telephony.Recorded:
		c.recorded(in)
	case telephony.Drain:
		c.drain()
	case Placed:
		c.place(in)
	case Full:
		c.full()
	case Offered:
		c.offered(in)
	case Withdrawn:
		c.withdrawn(in)
	}
	return c.out
}

// Wake does what has become due.
func (c *Call) Wake(now time.Time) []telephony.Effect {
	c.now, c.out = now, nil
	if c.path != nil {
		if d := c.path.Deadline(); !d.IsZero() && !d.After(now) {
			c.fromPath(c.path.Wake(now))
		}
	}
	if c.deadline.IsZero() || c.deadline.After(now) {
		return c.out
	}
	c.deadline = time.Time{}
	switch c.stage {
	case Writing:
		c.written(true)
	case Waiting:
		c.timeUp()
	case Message:
		c.closing(intake.Voicemail, "", ivr.VoicemailThanks)
	case Closing:
		c.finish(intake.ByUs, 16)
	}
	return c.out
}

// Deadline is when it wants to be woken; zero for never.
func (c *Call) Deadline() time.Time {
	d := c.deadline
	if c.path != nil && c.stage != Over {
		if p := c.path.Deadline(); !p.IsZero() && (d.IsZero() || p.Before(d)) {
			d = p
		}
	}
	return d
}

// Done says that nothing of the call is left: no leg, no recording.
func (c *Call) Done() bool {
	return c.stage == Over && !c.resident && len(c.legs) == 0 && len(c.waits) == 0
}

func (c *Call) do(e ...telephony.Effect) { c.out = append(c.out, e...) }

func (c *Call) enter(s Stage) { c.stage, c.since = s, c.now }

func (c *Call) event(d intake.Data, p intake.Personal) intake.Event {
	c.seq = c.seq.Next(c.cfg.Epoch)
	return intake.Event{Source: c.cfg.Source, Subject: c.in.Contact.Subject(), Sequence: c.seq, Time: intake.Millis(c.now), PartitionKey: c.key, Data: d, Personal: p}
}

func (c *Call) write(d intake.Data) {
	c.do(telephony.Write{Events: []intake.Event{c.event(d, intake.Personal{})}})
}

// invited writes contact.offered down; nothing is told to the resident before the log has answered, but a refusal.
func (c *Call) invited(in telephony.Invited) {
	c.in, c.arrived, c.resident, c.key = in, c.now, true, string(in.Caller.Token)
	if c.key == "" {
		c.key = string(in.Contact)
	}
	c.path = ivr.New(ivr.Config{Settings: c.cfg.Spoken, Leg: in.Leg, Dialect: c.cfg.Dialect, Callback: c.dialable() && !c.cfg.NoCallback})
	c.enter(Writing)
	var events []intake.Event
	if in.Again {
		c.seq = in.After
	} else {
		line := in.Line
		if line == "" {
			line = "unknown"
		}
		events = append(events, c.event(&intake.OfferedV1{Channel: intake.Phone, Line: line, Switchboard: c.cfg.Switchboard, Caller: in.Caller.Token, Withheld: in.Withheld, Known: in.Caller.Known,
			Origin: in.Trunk, Dedupe: in.Dedupe, SIPCallID: in.CallID}, intake.Personal{Number: in.Number, Name: in.Name}))
	}
	if c.cfg.Refuse != 0 {
		r := telephony.Refuse{Leg: in.Leg, Status: c.cfg.Refuse}
		if c.cfg.Refuse == 503 {
			r.RetryAfter = retryAfter
		}
		c.pending, c.reason = intake.Refused, c.cfg.Reason
		events = append(events, c.last(intake.Refused, intake.ByUs, 0))
		c.do(telephony.Write{Events: events}, r)
		c.enter(Over)
		return
	}
	if len(events) == 0 {
		c.written(false)
		return
	}
	c.deadline = c.now.Add(writtenLimit)
	c.do(telephony.Write{Events: events, Gate: in.Contact})
}

// dialable says that we know whom to call back.
func (c *Call) dialable() bool { return c.in.Caller.Token != "" && !c.in.Number.IsZero() }

// written: the resident may be told.
func (c *Call) written(unwritten bool) {
	if c.stage != Writing {
		return
	}
	if unwritten {
		c.flags = append(c.flags, intake.Unwritten)
	}
	c.deadline = time.Time{}
	if !c.cfg.Open {
		c.accept()
		c.closed()
		return
	}
	if c.cfg.Early {
		c.do(telephony.Progress{Leg: c.in.Leg})
	} else {
		c.accept()
	}
	c.enter(Menu)
	c.fromPath(c.path.Step(c.now, ivr.Begin{}))
	if len(c.cfg.Spoken.Menu) == 0 { // operators ring while the greeting plays
		c.join("", false)
	}
}

func (c *Call) accept() {
	if !c.accepted {
		c.accepted = true
		c.do(telephony.Accept{Leg: c.in.Leg})
	}
}

// closed: the line is not within its hours. A message may be left; whoever can be called back is.
func (c *Call) closed() {
	c.pending = intake.AfterHours
	if c.cfg.NoMessages {
		prompt := ivr.AfterHoursOnly
		if !c.dialable() {
			prompt = ivr.AfterHoursAgain
		}
		c.closing(intake.AfterHours, "", prompt)
		return
	}
	c.enter(Message)
	c.fromPath(c.path.Step(c.now, ivr.TakeMessage{Prompt: ivr.AfterHours}))
}

// fromPath carries out what the spoken path says.
func (c *Call) fromPath(effects []telephony.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case ivr.Said:
			c.write(&intake.SaidV1{Prompt: e.Prompt, Dialect: c.cfg.Dialect, Cut: e.Cut})
		case ivr.Greeted:
		case ivr.Wants:
			if c.stage == Menu {
				c.join(e.Line, false)
			}
		case ivr.Chose:
			c.write(&intake.ChoseV1{Choice: e.Choice, Key: e.Key})
			if e.Choice == ivr.ChoiceCallback && c.stage == Waiting {
				c.leave("callback")
				c.pending, c.reason = intake.CallbackPromised, ""
				c.enter(Closing)
			}
		case ivr.Ask:
			c.do(Ask{})
		case ivr.Done:
			c.finish(intake.ByUs, 16)
		case ivr.Beeped:
			c.beeped()
		default:
			c.do(e)
		}
	}
}

func (c *Call) beeped() {
	c.message = c.now
	limit := c.cfg.MaxMessage
	if limit <= 0 {
		limit = maxMessage
	}
	c.deadline = c.now.Add(limit)
	c.record("")
}

func (c *Call) record(other telephony.LegID) {
	c.recording = c.cfg.NewRecording()
	c.waits[c.recording] = true
	c.do(telephony.Record{Recording: c.recording, Contact: c.in.Contact, Resident: c.in.Leg, Other: other})
}

func (c *Call) stopRecord() {
	if c.recording != "" {
		c.do(telephony.StopRecord{Recording: c.recording})
		c.recording = ""
	}
}

// join puts the contact into the queue, before everybody when its operator was lost.
func (c *Call) join(line intake.LineID, head bool) {
	if c.stage == Closing || c.stage == Over {
		return
	}
	c.enter(Waiting)
	c.priority, c.why = points(c.in.Caller, c.in.Emergency, c.now, c.cfg.AgainWithin)
	c.inQueue, c.joined = true, c.now
	limit := c.cfg.MaxWait
	if limit == 0 {
		limit = maxWait
	}
	if limit > 0 {
		c.deadline = c.now.Add(limit)
	}
	if line == "" {
		line = c.in.Line
	}
	c.do(Join{Line: line, Priority: c.priority, Why: c.why, Head: head})
}

// points of priority and the reason that weighs most (DESIGN §6.5).
func points(f telephony.Facts, emergency bool, now time.Time, within time.Duration) (n int, why string) {
	if within <= 0 {
		within = 10 * time.Minute
	}
	add := func(p int, w string) {
		n += p
		if why == "" {
			why = w
		}
	}
	if emergency {
		add(PointsEmergency, "emergency")
	}
	if !f.Failed.IsZero() && now.Sub(f.Failed) <= within {
		add(PointsAgain, "calls_again")
	}
	if f.Older {
		add(PointsOlder, "older_caller")
	}
	if f.Callback != "" {
		add(PointsOwed, "callback_due")
	}
	return n, why
}

func (c *Call) place(in Placed) {
	if c.stage != Waiting {
		return
	}
	if !c.placed {
		c.placed = true
		c.write(&intake.WaitingV1{Priority: c.priority, Why: c.why, Ahead: in.Ahead})
	}
	c.fromPath(c.path.Step(c.now, ivr.Placed{Ahead: in.Ahead, Estimate: in.Estimate}))
}

func (c *Call) full() {
	c.inQueue = false
	prompt := ivr.QueueFull
	if !c.dialable() {
		prompt = ivr.QueueFullAgain
	}
	c.closing(intake.QueueFull, "", prompt)
}

// closing says last words and then ends with that outcome.
func (c *Call) closing(o intake.Outcome, reason, prompt string) {
	c.leave("timeout")
	c.pending, c.reason, c.deadline = o, reason, c.now.Add(time.Minute)
	c.stopRecord()
	c.enter(Closing)
	c.accept()
	c.fromPath(c.path.Step(c.now, ivr.Close{Prompt: prompt}))
}

// leave takes the contact out of the queue; a phone that rings for it stops.
func (c *Call) leave(why string) {
	if c.inQueue {
		c.inQueue = false
		c.do(Leave{Why: why})
	}
	if c.desk.leg != "" && !c.desk.up {
		c.unring(why)
	}
}

// timeUp: nobody could take it within the line's limit.
func (c *Call) timeUp() {
	if c.desk.leg != "" {
		c.deadline = c.now.Add(lastRing) // a phone rings: it may yet be taken
		return
	}
	prompt := ivr.SorryClosing
	if !c.dialable() {
		prompt = ivr.SorryAgain
	}
	c.closing(intake.TimeoutNoOperator, "", prompt)
}

func (c *Call) drain() {
	if c.stage == Waiting || c.stage == Menu {
		prompt := ivr.SorryClosing
		if !c.dialable() {
			prompt = ivr.SorryAgain
		}
		c.closing(intake.TimeoutNoOperator, intake.ReasonShutdown, prompt)
	}
}

// offered dials the operator's phone.
func (c *Call) offered(in Offered) {
	if c.stage != Waiting || c.desk.leg != "" {
		c.do(Missed{Offer: in.Offer, Why: "error"})
		return
	}
	leg := c.cfg.NewLeg()
	c.legs[leg] = true
	c.desk = desk{leg: leg, offer: in.Offer, operator: in.Operator, dialled: c.now}
	c.do(telephony.Dial{Leg: leg, Contact: c.in.Contact, Operator: in.Operator, From: c.in.Number, FromName: c.in.Name, Line: c.in.Line, Timeout: in.Ring,
		Header: map[string]string{"X-Yingda-Contact": string(c.in.Contact)}})
}

func (c *Call) ringing(leg telephony.LegID) {
	if leg != c.desk.leg || !c.desk.rang.IsZero() || c.desk.up {
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
	if why == "expired" {
		why = "no_answer"
	}
	c.unring(why)
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
	if in.Leg != c.desk.leg || c.stage != Waiting || !c.resident {
		if c.legs[in.Leg] {
			c.do(telephony.Hangup{Leg: in.Leg}) // too late: the resident is gone, or the offer was
		}
		return
	}
	d := &c.desk
	d.up = true
	if !d.rang.IsZero() {
		c.rangFor += c.now.Sub(d.rang)
	}
	c.inQueue = false
	c.deadline = time.Time{}
	c.fromPath(c.path.Step(c.now, ivr.Quit{}))
	c.accept()
	c.do(Took{Offer: d.offer, Operator: d.operator, Line: c.in.Line}, telephony.Bridge{A: c.in.Leg, B: d.leg})
	if c.answered.IsZero() {
		c.answered, c.by = c.now, d.operator
	}
	c.talkSince = c.now
	c.write(&intake.AnsweredV1{Operator: d.operator, Offer: d.offer, Codec: in.Codec, Wideband: in.Wideband})
	c.enter(Talking)
	if !c.cfg.NoRecording {
		c.record(d.leg)
	}
}

// failed: the operator's phone was not taken.
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
	c.do(Missed{Offer: d.offer, Why: in.Why})
}

func (c *Call) legEnded(in telephony.Ended) {
	if in.Leg == c.in.Leg {
		c.resident = false
		if c.stage != Over {
			c.residentGone(in)
		}
		return
	}
	delete(c.legs, in.Leg)
	if in.Leg != c.desk.leg || !c.desk.up || c.stage != Talking {
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
	c.desk = desk{}
	c.talked += c.now.Sub(c.talkSince)
	c.stopRecord()
	c.do(telephony.Unbridge{A: c.in.Leg, B: d.leg}, Finished{Offer: d.offer})
	if c.legs[d.leg] {
		c.do(telephony.Hangup{Leg: d.leg, Q850: 16})
	}
}

// operatorLost: the phone on the desk died in mid-talk. The resident is not dropped but goes before all others.
func (c *Call) operatorLost(d desk) {
	c.write(&intake.MovedV1{By: d.operator, To: "queue"})
	c.join("", true)
	c.fromPath(c.path.Step(c.now, ivr.Again{Prompt: ivr.SorryLost}))
}

// residentGone: they hung up, or their leg broke.
func (c *Call) residentGone(in telephony.Ended) {
	by := in.By
	if by == "" {
		by = intake.ByResident
	}
	switch c.stage {
	case Talking:
		c.endTalk()
	case Message:
		if !c.message.IsZero() && c.now.Sub(c.message) >= shortest {
			c.pending = intake.Voicemail
		}
		c.stopRecord()
	case Waiting, Writing, Menu:
		c.pending = c.abandoned()
		c.leave("resident_left")
	case Closing:
		c.stopRecord()
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
	c.do(telephony.Hangup{Leg: c.in.Leg, Q850: q850})
	c.over(by, q850)
}

// over writes the one contact.ended.
func (c *Call) over(by intake.By, q850 int) {
	c.do(telephony.Write{Events: []intake.Event{c.last(c.outcome(), by, q850)}})
	c.deadline = time.Time{}
	c.enter(Over)
}

func (c *Call) outcome() intake.Outcome {
	switch {
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

func (c *Call) hold(leg telephony.LegID, on bool) {
	if c.stage != Talking {
		return
	}
	who := "resident"
	if leg == c.desk.leg {
		who = string(c.desk.operator)
	} else if leg != c.in.Leg {
		return
	}
	if leg == c.desk.leg {
		c.held = on
	}
	if on {
		c.write(&intake.HeldV1{By: who})
		if c.cfg.HoldMusic && leg == c.desk.leg {
			c.do(telephony.Unbridge{A: c.in.Leg, B: leg}, telephony.Play{Leg: c.in.Leg, Play: -1, Prompts: []string{ivr.Music}, Dialect: c.cfg.Dialect, Loop: true})
		}
		return
	}
	c.write(&intake.ResumedV1{By: who})
	if c.cfg.HoldMusic && leg == c.desk.leg {
		c.do(telephony.Bridge{A: c.in.Leg, B: leg})
	}
}

// quiet: no speech for a while. Nobody is hung up on for it; the operator sees it.
func (c *Call) quiet(in telephony.Quiet) {
	if c.stage != Talking {
		return
	}
	side := "operator"
	if in.Leg == c.in.Leg {
		side = "resident"
		if !c.silent && !c.heard[true] {
			c.silent = true
			c.flags = append(c.flags, intake.SilentCaller)
		}
	}
	c.write(&intake.SilentV1{Side: side, Seconds: in.Seconds})
}

// mediaLost: no packet at all. A resident whose phone died without a word must not hold a place for ever.
func (c *Call) mediaLost(in telephony.MediaLost) {
	if in.Leg == c.in.Leg && in.Seconds >= lostAfter && c.stage != Over {
		c.reason = "media_lost"
		if c.stage != Talking && c.stage != Closing && c.stage != Message {
			c.pending = c.abandoned()
			c.leave("resident_left")
		}
		c.finish(intake.ByNetwork, 41)
	}
}

func (c *Call) recorded(in telephony.Recorded) {
	if !c.waits[in.Recording] {
		return
	}
	delete(c.waits, in.Recording)
	if in.Recording == c.recording {
		c.recording = ""
	}
	if in.Err == "" {
		c.write(&intake.RecordedV1{ID: in.Recording, Millis: in.Millis, Channels: in.Channels, SHA256: in.SHA256, CutShort: in.CutShort})
	}
}

// Break ends the call as fault: its machine panicked, nothing of it can be trusted but its ids.
func (c *Call) Break(now time.Time) []telephony.Effect {
	c.now, c.out = now, nil
	if c.stage == Over {
		return nil
	}
	if c.inQueue {
		c.do(Leave{Why: "error"})
	}
	if c.desk.up {
		c.do(Finished{Offer: c.desk.offer})
	}
	for leg := range c.legs {
		c.do(telephony.Hangup{Leg: leg, Q850: 41})
	}
	c.do(telephony.Hangup{Leg: c.in.Leg, Q850: 41})
	c.answered, c.pending, c.reason = time.Time{}, intake.Fault, "panic"
	c.over(intake.ByUs, 41)
	return c.out
}

// View is how the call stands, for the board.
type View struct {
	Stage    Stage
	Arrived  time.Time
	Since    time.Time
	Priority int
	Why      string
	Operator intake.UserID
	Ringing  bool
	Held     bool
	Silent   bool
	Invited  telephony.Invited
}

// View of the call.
func (c *Call) View() View {
	return View{Stage: c.stage, Arrived: c.arrived, Since: c.since, Priority: c.priority, Why: c.why, Operator: c.desk.operator, Ringing: c.desk.leg != "" && !c.desk.up && !c.desk.rang.IsZero(),
		Held: c.held, Silent: c.silent && !c.heard[true], Invited: c.in}
}
