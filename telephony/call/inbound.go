package call

import (
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
	writtenLimit = 2 * time.Second         // for the log to answer; after that the call goes on unwritten
	retryAfter   = 10 * time.Second        // for one that we refuse for want of room
	maxWait      = 10 * time.Minute        //
	maxMessage   = 2 * time.Minute         //
	quickDrop    = 10 * time.Second        // answered and ended by our side sooner: a quick drop
	silentAfter  = 10 * time.Second        // bridged so long with no audio from either side: silent
	lostAfter    = 120                     // seconds without a packet from the resident: they are gone
	lastRing     = time.Minute             // when time is up while a phone rings, that one may still be taken; it has its own ring time within this
	stillSilent  = 10 * time.Second        // a Quiet tells of the next so many seconds: another comes every 8
	shortest     = 1500 * time.Millisecond // of a message
	startLimit   = time.Second             // for the ACK to our 200: we speak then, even if it was lost
	wordsLimit   = time.Minute             // for last words
	lingerLegs   = 30 * time.Second        // after the end, for the ends of the legs we dialled
	lingerRecs   = 2 * time.Minute         // after the end, for recordings
)

// holdMusic is the id of hold music; the spoken path counts its own from 1.
const holdMusic telephony.PlayID = -1

// reasonLost: the operator's phone was lost in mid-talk, and no other was found.
const reasonLost = "operator_lost"

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

	resident  bool            // their leg lives and we have not hung up
	accepted  bool            // 200 was ordered
	audible   bool            // they can hear us: 183 was sent, or our 200 is acknowledged
	first     telephony.Input // what the spoken path is told as soon as they can
	firstAt   time.Time       // at the latest
	was       Stage           // before this step
	mark      intake.Sequence // before this step: a step that panics has written nothing
	overdue   bool            // time is up; only the phone that rings may still be taken
	lost      bool            // an operator's phone was lost in mid-talk
	forgotten bool            // over for so long that what has not come by now is not waited for
	desk      desk
	pending   intake.Outcome // with Closing: how it will end
	reason    string
	priority  int
	why       string
	inQueue   bool
	placed    bool
	joined    intake.LineID // whose operators it waits for
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
	held      bool      // the operator holds
	holds     bool      // the resident does
	unheard   time.Time // newest Quiet from a resident who has said nothing since they were connected
	flags     []intake.Flag
	legs      map[telephony.LegID]bool // that we dialled and whose end has not been told
}

// New makes a call that its first input, Invited, begins.
func New(c Config) *Call {
	return &Call{cfg: c, waits: map[intake.RecordingID]bool{}, heard: map[bool]bool{}, legs: map[telephony.LegID]bool{}}
}

// Step takes what happened to one of its legs, its log or its place in the queue.
func (c *Call) Step(now time.Time, in telephony.Input) []telephony.Effect {
	c.begin(now)
	switch in := in.(type) {
	case telephony.Invited:
		c.invited(in)
	case telephony.Accepted:
		c.hears()
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
		if in.Leg == c.in.Leg && c.resident {
			c.fromPath(c.path.Step(now, in))
		}
	case telephony.Played:
		if in.Leg == c.in.Leg && c.resident {
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
	c.begin(now)
	if c.resident {
		if c.first != nil && !now.Before(c.firstAt) {
			c.hears()
		}
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
	case Over:
		c.forgotten = true
	}
	return c.out
}

// Deadline is when it wants to be woken; zero for never.
func (c *Call) Deadline() time.Time {
	d := c.deadline
	soonest := func(t time.Time) {
		if !t.IsZero() && (d.IsZero() || t.Before(d)) {
			d = t
		}
	}
	if c.resident && c.path != nil {
		soonest(c.path.Deadline())
		if c.first != nil {
			soonest(c.firstAt)
		}
	}
	return d
}

// Done says that nothing of the call is left: no leg, no recording that somebody still owes us.
func (c *Call) Done() bool {
	return c.stage == Over && (c.forgotten || len(c.legs) == 0 && len(c.waits) == 0)
}

// Stage it is in.
func (c *Call) Stage() Stage { return c.stage }

func (c *Call) begin(now time.Time) { c.now, c.out, c.mark, c.was = now, nil, c.seq, c.stage }

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
		c.refuse(c.cfg.Refuse, c.cfg.Reason, events)
		return
	}
	if len(events) == 0 {
		c.written(false)
		return
	}
	c.deadline = c.now.Add(writtenLimit)
	c.do(telephony.Write{Events: events, Gate: in.Contact})
}

// refuse says no. It does not wait for the disk: under a flood that would keep what we cannot carry, and a refusal promises nothing.
func (c *Call) refuse(status int, reason string, events []intake.Event) {
	r := telephony.Refuse{Leg: c.in.Leg, Status: status}
	if status == 503 {
		r.RetryAfter = retryAfter
	}
	c.reason, c.deadline = reason, time.Time{}
	c.do(telephony.Write{Events: append(events, c.last(intake.Refused, intake.ByUs, 0))}, r)
	c.resident = false
	c.enter(Over)
}

// speak tells the spoken path something as soon as the resident can hear it: a greeting that is played before our 200 has arrived loses
// its first word.
func (c *Call) speak(in telephony.Input) {
	if c.audible {
		c.fromPath(c.path.Step(c.now, in))
		return
	}
	if c.first == nil {
		c.firstAt = c.now.Add(startLimit)
	}
	c.first = in
}

// hears: from now on the resident can hear us.
func (c *Call) hears() {
	if c.audible || !c.resident {
		return
	}
	c.audible = true
	if in := c.first; in != nil {
		c.first = nil
		c.fromPath(c.path.Step(c.now, in))
	}
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
		c.audible = true
	} else {
		c.accept()
	}
	c.enter(Menu)
	c.speak(ivr.Begin{})
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
	c.speak(ivr.TakeMessage{Prompt: ivr.AfterHours})
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
				c.pending, c.deadline = intake.CallbackPromised, c.now.Add(wordsLimit)
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
	if head {
		c.why = reasonLost
	}
	c.inQueue, c.placed, c.overdue = true, false, false
	limit := c.cfg.MaxWait
	if limit == 0 {
		limit = maxWait
	}
	if limit > 0 {
		c.deadline = c.now.Add(limit)
	}
	switch {
	case line != "":
	case c.joined != "":
		line = c.joined
	default:
		line = c.in.Line
	}
	c.joined = line
	c.do(Join{Line: line, Priority: c.priority, Why: c.why, Head: head, Arrived: c.arrived, Ring: c.cfg.Ring, Limit: c.cfg.Limit})
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
	if c.stage != Waiting {
		return
	}
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
	c.pending, c.deadline = o, c.now.Add(wordsLimit)
	if reason != "" {
		c.reason = reason
	}
	c.stopRecord()
	c.enter(Closing)
	c.accept()
	c.speak(ivr.Close{Prompt: prompt})
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

// timeUp: nobody could take it within the line's limit. A phone that rings may still be taken; no other is asked.
func (c *Call) timeUp() {
	if c.desk.leg != "" && !c.overdue {
		c.overdue, c.deadline = true, c.now.Add(lastRing)
		return
	}
	c.giveUp("")
}

func (c *Call) giveUp(reason string) {
	prompt := ivr.SorryClosing
	if !c.dialable() {
		prompt = ivr.SorryAgain
	}
	c.closing(intake.TimeoutNoOperator, reason, prompt)
}

// drain: the program is ending. Who waits is promised a call, who talks goes on, who has heard nothing yet is told to try again.
func (c *Call) drain() {
	switch c.stage {
	case Writing:
		c.refuse(503, intake.ReasonShutdown, nil)
	case Waiting, Menu:
		c.giveUp(intake.ReasonShutdown)
	}
}

// mediaLost: no packet at all. A resident whose phone died without a word must not hold a place for ever.
func (c *Call) mediaLost(in telephony.MediaLost) {
	if in.Leg != c.in.Leg || in.Seconds < lostAfter || !c.resident {
		return
	}
	c.reason = "media_lost"
	switch c.stage {
	case Waiting, Menu:
		c.pending = c.abandoned()
		c.leave("resident_left")
	case Message:
		if c.pending = intake.AfterHours; !c.message.IsZero() {
			c.pending = intake.Voicemail
		}
	}
	c.finish(intake.ByNetwork, 41)
}

func (c *Call) recorded(in telephony.Recorded) {
	if !c.waits[in.Recording] {
		return
	}
	delete(c.waits, in.Recording)
	if in.Recording == c.recording {
		c.recording = ""
	}
	c.write(&intake.RecordedV1{ID: in.Recording, Millis: in.Millis, Channels: in.Channels, SHA256: in.SHA256, CutShort: in.CutShort, Failed: in.Err != ""})
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

// View of the call at now.
func (c *Call) View(now time.Time) View {
	return View{Stage: c.stage, Arrived: c.arrived, Since: c.since, Priority: c.priority, Why: c.why, Operator: c.desk.operator, Ringing: c.desk.leg != "" && !c.desk.up && !c.desk.rang.IsZero(),
		Held: c.held, Silent: c.stage == Talking && !c.unheard.IsZero() && now.Sub(c.unheard) < stillSilent, Invited: c.in}
}
