package chat

import (
	"cmp"
	"fmt"
	"time"

	"yingda/channels"
	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/pii"
	"yingda/internal/timers"
)

// Reasons beside the outcome, besides intake's.
const (
	ReasonTimeout      = "timeout"       // unattended: nobody replied within Settings.MaxWait
	ReasonResidentLeft = "resident_left" // unattended: the resident ended it before anybody replied
	ReasonClosedByUs   = "closed"        // unattended: an operator ended it without a reply
	ReasonLost         = "operator_lost" // unattended: somebody had replied, then nobody any more
	ReasonSilent       = "resident_silent"
	ReasonUnspoken     = "unspoken" // left_silently: the resident never wrote
	ReasonMessageLeft  = "message_left"
	ReasonUnknownLine  = "unknown_line"
)

// Points of priority (queue.Join.Priority), added up; those of a call.
const (
	pointsOlder = 2
	pointsAgain = 2
)

// toQueue is what contact.moved names when it goes back to the queue.
const toQueue = "queue"

const (
	writtenLimit = 2 * time.Second // for the log to answer; after that the conversation goes on unwritten
	askEvery     = 30 * time.Second
	linger       = time.Hour // after the end, for a number that is left late and messages that come again
	quickDrop    = 10 * time.Second
	shortAbandon = 5 * time.Second
)

func (s Settings) filled() Settings {
	def := func(d *time.Duration, v time.Duration) { *d = cmp.Or(*d, v) }
	def(&s.MaxWait, 10*time.Minute)
	def(&s.LeaveAfter, 3*time.Minute)
	def(&s.ReplyWithin, 3*time.Minute)
	def(&s.WarnSilent, 5*time.Minute)
	def(&s.EndSilent, 10*time.Minute)
	def(&s.Closed, 10*time.Minute)
	def(&s.Unspoken, 10*time.Minute)
	def(&s.HandRing, 30*time.Second)
	def(&s.AgainWithin, 10*time.Minute)
	s.MaxMessages = cmp.Or(s.MaxMessages, 1000)
	return s
}

// talk is one conversation.
type talk struct {
	timers.Timer
	cfg  *Config
	set  Settings
	id   intake.ContactID
	line intake.LineID
	key  string // partition key

	seq    intake.Sequence
	mark   intake.Sequence // before this step: a step that panics has written nothing
	now    time.Time
	events []intake.Event
	out    []Effect
	ask    []queue.Input
	told   View

	stage   Stage
	was     Stage
	arrived time.Time
	since   time.Time
	caller  channels.Caller
	number  pii.Phone
	name    pii.Name
	flags   []intake.Flag
	pending []pending // written and not known to be durable, oldest first
	durable intake.Sequence

	messages int            // number of the newest
	count    int            // how many there are
	before   int            // ours are numbered from after it
	another  bool           // another node had it, and what that wrote last may come late
	touched  bool           // somebody has done something in it since
	left     bool           // a number, since
	keys     map[string]int // number by key
	first    time.Time      // of the first message
	waits    time.Time      // the resident waits for a reply since; zero: does not
	patience time.Time      // from when the wait for a reply is counted: waits, or later when another operator took it
	spoke    time.Time      // our newest message
	active   time.Time      // the resident's newest word, out of hours
	warned   bool
	present  bool
	seen     time.Time // when they were there last

	inQueue  bool
	placed   bool
	priority int
	why      string
	ahead    int
	estimate time.Duration
	asked    asked
	nextAsk  time.Time

	operator intake.UserID
	offer    intake.OfferID
	replied  bool // since this operator took it
	answered time.Time
	rangFor  time.Duration
	lost     bool // an operator had replied, and it is in the queue again

	outcome   intake.Outcome
	reason    string
	counted   bool
	forgotten bool
}

// asked is an operator who is asked to take it; zero: nobody.
type asked struct {
	offer    intake.OfferID
	operator intake.UserID
	by       intake.UserID // who hands it on; "": it comes from the queue
	until    time.Time
	shown    time.Time // on their desk since; zero: not yet
}

// pending is what was written and is not known to be durable.
type pending struct {
	through   intake.Sequence
	refs      []Ref
	message   *channels.Message // nil: no message
	delivered bool              // although it was not durable
}

func newTalk(cfg *Config, id intake.ContactID, line intake.LineID, s Settings) *talk {
	return &talk{cfg: cfg, set: s.filled(), id: id, line: line, key: string(id), keys: map[string]int{}, ahead: -1}
}

func (t *talk) begin(now time.Time) {
	t.now, t.events, t.out, t.ask, t.mark, t.was = now, nil, nil, nil, t.seq, t.stage
}

func (t *talk) do(e ...Effect)        { t.out = append(t.out, e...) }
func (t *talk) tell(q ...queue.Input) { t.ask = append(t.ask, q...) }
func (t *talk) done(ref Ref, n int, err string) {
	if ref != "" {
		t.do(Done{Ref: ref, Contact: t.id, Number: n, Err: err})
	}
}

func (t *talk) enter(s Stage) { t.stage, t.since = s, t.now }

// write makes the next event of this contact.
func (t *talk) write(d intake.Data, p intake.Personal) {
	t.seq = t.seq.Next(t.cfg.Epoch)
	t.events = append(t.events, intake.Event{Source: t.cfg.Source, Subject: t.id.Subject(), Sequence: t.seq, Time: intake.Millis(t.now), PartitionKey: t.key, Data: d, Personal: p})
}

// await answers ref when what has been written so far is durable.
func (t *talk) await(ref Ref, m *channels.Message) {
	p := pending{through: t.seq, message: m}
	if ref != "" {
		p.refs = []Ref{ref}
	}
	if t.seq == t.durable { // nothing new was written
		t.done(ref, 0, "")
		return
	}
	t.pending = append(t.pending, p)
}

// start begins it; refuse says why it must not, "" when it may.
func (t *talk) start(in Start, refuse string) {
	t.arrived, t.seen = t.now, t.now
	t.caller, t.number, t.name = in.Caller, in.Number, in.Name
	if in.Caller.Token != "" {
		t.key = string(in.Caller.Token)
	}
	t.enter(Writing)
	t.write(&intake.OfferedV1{Channel: intake.Chat, Line: t.line, Switchboard: t.cfg.ID, Caller: in.Caller.Token, Known: in.Caller.Known, Origin: in.Origin, Dedupe: in.Dedupe},
		intake.Personal{Number: in.Number, Name: in.Name})
	if refuse != "" {
		t.over(intake.Refused, refuse, intake.ByUs)
		t.done(in.Ref, 0, ErrRefused)
		return
	}
	t.reason = ""
	if in.Closed {
		t.active = t.now
		t.outcome = intake.AfterHours // what it will be
	}
	t.await(in.Ref, nil)
}

// again: the same start came once more.
func (t *talk) again(ref Ref) {
	switch {
	case t.outcome == intake.Refused:
		t.done(ref, 0, ErrRefused)
	case len(t.pending) > 0 && t.stage == Writing:
		t.pending[0].refs = append(t.pending[0].refs, ref)
	default:
		t.done(ref, 0, "")
	}
}

// restore takes up what the last run left.
func (t *talk) restore(in Restore) {
	t.key, t.seq, t.durable = in.Key, in.Last, in.Last
	t.mark = in.Last
	t.caller, t.arrived, t.seen, t.active = in.Caller, in.Arrived, t.now, t.now
	t.number, t.name = in.Number, in.Name
	t.answered, t.first = in.Answered, in.First
	for k, n := range in.Messages {
		t.keys[k] = n
		t.messages = max(t.messages, n)
	}
	t.count = len(in.Messages)
	if in.Another {
		t.another, t.before = true, gapAfter(t.messages, t.set.MaxMessages)
	}
	if in.Ours {
		t.spoke = t.now
	} else if !in.Spoke.IsZero() {
		t.waits, t.patience = t.now, t.now
	}
	switch {
	case in.Outcome != "":
		t.outcome, t.reason = in.Outcome, in.Reason
		t.enter(Over)
	case in.Closed:
		t.outcome = intake.AfterHours
		t.enter(Closed)
	case in.Operator != "":
		t.operator, t.offer, t.replied = in.Operator, in.Offer, in.Replied
		if t.offer == "" {
			t.offer = t.cfg.NewOffer()
		}
		t.enter(Open)
		t.tell(queue.Took{Offer: t.offer, Contact: t.id, Operator: t.operator, Channel: intake.Chat, Line: t.line})
	case in.First.IsZero():
		t.enter(Quiet)
	default:
		t.lost = !in.Answered.IsZero()
		t.join(t.lost)
	}
}

func (t *talk) step(in Input) {
	switch in.(type) {
	case Say, LeaveNumber, Bye, Accept, Hand, End:
		t.touched = true
	}
	switch in := in.(type) {
	case Late:
		t.late(in)
	case Written:
		t.written(in)
	case Say:
		t.say(in)
	case LeaveNumber:
		t.leaveNumber(in)
	case Here:
		if !in.Passing {
			t.present = true
		}
		t.seen = t.now
	case Gone:
		t.present, t.seen = false, t.now
	case Bye:
		t.bye(in)
	case Shown:
		t.shown(in)
	case Accept:
		t.accept(in)
	case Decline:
		t.decline(in)
	case Hand:
		t.hand(in)
	case End:
		t.end(in)
	default:
		panic(fmt.Sprintf("chat: %T is for nobody", in))
	}
}

// written: the log has answered.
func (t *talk) written(in Written) {
	if !in.Unwritten {
		t.durable = max(t.durable, min(in.Through, t.seq))
	}
	safe := 0
	for len(t.pending) > 0 && t.pending[0].through <= t.durable {
		p := t.pending[0]
		t.pending = t.pending[1:]
		n := 0
		if p.message != nil {
			if n = p.message.Number; p.delivered {
				safe = n
			} else {
				t.do(Deliver{Contact: t.id, Message: *p.message})
			}
		}
		for _, r := range p.refs {
			t.done(r, n, "")
		}
	}
	if safe > 0 {
		t.do(Safe{Contact: t.id, Through: safe})
	}
	for i := range t.pending {
		p := &t.pending[i]
		if !in.Unwritten || p.through > in.Through {
			break
		}
		t.goOn(p)
	}
	if t.stage == Writing {
		if in.Unwritten {
			t.flags = append(t.flags, intake.Unwritten)
		}
		t.opened()
	}
}

// goOn: the disk does not take it; the other side may see it all the same, and who asked is told.
func (t *talk) goOn(p *pending) {
	n := 0
	if p.message != nil {
		n = p.message.Number
		if !p.delivered {
			p.delivered = true
			t.do(Deliver{Contact: t.id, Message: *p.message, Unsafe: true})
		}
	}
	for _, r := range p.refs {
		if p.message != nil {
			t.done(r, n, ErrUnsafe)
		} else {
			t.done(r, n, "")
		}
	}
	p.refs = nil
}

// opened: contact.offered is written, or will be; now it begins.
func (t *talk) opened() {
	switch {
	case t.outcome == intake.AfterHours:
		t.write(&intake.SaidV1{Prompt: promptClosed}, intake.Personal{})
		t.await("", nil)
		t.enter(Closed)
	case t.first.IsZero():
		t.enter(Quiet)
	default:
		t.join(false)
	}
}

// join puts it into the queue. Head: its operator was lost, or handed it back.
func (t *talk) join(head bool) {
	t.enter(Waiting)
	t.inQueue, t.placed, t.ahead, t.estimate = true, false, -1, 0
	t.priority, t.why = 0, ""
	if t.caller.Older {
		t.priority, t.why = pointsOlder, "older_caller"
	}
	if f := t.caller.Failed; !f.IsZero() && t.arrived.Sub(f) < t.set.AgainWithin {
		t.priority, t.why = t.priority+pointsAgain, "calls_again"
	}
	if head {
		t.why = ReasonLost
	}
	t.nextAsk = t.now.Add(askEvery)
	t.tell(queue.Join{Contact: t.id, Channel: intake.Chat, Line: t.line, Priority: t.priority, Why: t.why, Arrived: t.arrived, Ring: t.set.Ring, Limit: t.set.Limit, Head: head})
}

// say: somebody writes.
func (t *talk) say(in Say) {
	if in.Key != "" {
		if n, ok := t.keys[in.Key]; ok {
			t.saidAlready(in.Ref, n)
			return
		}
	}
	ours := in.From != channels.Resident
	switch {
	case t.stage == Over:
		t.done(in.Ref, 0, ErrOver)
		return
	case ours && (t.stage != Open || t.operator != intake.UserID(in.From)):
		t.done(in.Ref, 0, ErrNotYours)
		return
	case t.count >= t.set.MaxMessages:
		t.done(in.Ref, 0, ErrTooMany)
		return
	}
	if ours && !t.replied {
		t.replied, t.lost = true, false
		if t.answered.IsZero() {
			t.answered = t.now
		}
		t.write(&intake.AnsweredV1{Operator: t.operator, Offer: t.offer}, intake.Personal{})
	}
	t.messages, t.count = max(t.messages, t.before)+1, t.count+1
	m := channels.Message{Number: t.messages, Key: in.Key, From: in.From, At: intake.Millis(t.now), Text: in.Text, Files: in.Files}
	if in.Key != "" {
		t.keys[in.Key] = m.Number
	}
	d := &intake.MessageV1{Number: m.Number, From: in.From, Dedupe: in.Key}
	for _, f := range in.Files {
		d.Attachments = append(d.Attachments, f.Attachment())
	}
	t.write(d, intake.Personal{Text: in.Text})
	t.await(in.Ref, &m)
	if t.first.IsZero() {
		t.first = t.now
	}
	if ours {
		t.waits, t.spoke, t.warned = time.Time{}, t.now, false
		return
	}
	t.seen, t.active, t.warned = t.now, t.now, false
	if t.waits.IsZero() {
		t.waits, t.patience = t.now, t.now
	}
	if t.stage == Quiet {
		t.join(false)
	}
}

// saidAlready: that message is here; its writer is told as soon as it is durable.
func (t *talk) saidAlready(ref Ref, n int) {
	for i := range t.pending {
		if p := &t.pending[i]; p.message != nil && p.message.Number == n {
			if p.delivered {
				t.done(ref, n, ErrUnsafe)
			} else if ref != "" {
				p.refs = append(p.refs, ref)
			}
			return
		}
	}
	t.done(ref, n, "")
}

func (t *talk) leaveNumber(in LeaveNumber) {
	if in.Caller.Token != t.caller.Token || in.Number != t.number || !in.Name.IsZero() && in.Name != t.name {
		t.left = true
		t.caller.Token, t.caller.Known = in.Caller.Token, in.Caller.Known
		t.number = in.Number
		if !in.Name.IsZero() {
			t.name = in.Name
		}
		t.write(&intake.IdentifiedV1{Caller: in.Caller.Token, Known: in.Caller.Known}, intake.Personal{Number: t.number, Name: t.name})
	}
	if in.Call && t.stage != Over {
		t.write(&intake.ChoseV1{Choice: "callback"}, intake.Personal{})
		if t.answered.IsZero() || t.lost {
			t.over(intake.CallbackPromised, "", intake.ByResident)
		}
	}
	t.seen, t.active = t.now, t.now
	t.await(in.Ref, nil)
}

func (t *talk) bye(in Bye) {
	switch {
	case t.stage == Over:
	case t.outcome == intake.AfterHours:
		t.over(intake.AfterHours, t.messageLeft(), intake.ByResident)
	default:
		t.over(intake.Unattended, ReasonResidentLeft, intake.ByResident)
	}
	t.await(in.Ref, nil)
}

// messageLeft says whether there is a message to be read when people are back.
func (t *talk) messageLeft() string {
	if t.count > 0 {
		return ReasonMessageLeft
	}
	return ""
}

// view is how it stands.
func (t *talk) view() View {
	v := View{Contact: t.id, Line: t.line, Stage: t.stage, Arrived: t.arrived, Since: t.since, First: t.first, Waits: t.waits, Number: t.number, Name: t.name, Token: t.caller.Token,
		Known: t.caller.Known, Operator: t.operator, Asked: t.asked.operator, Answered: t.answered, Ahead: t.ahead, Estimate: t.estimate, Present: t.present, Warned: t.warned,
		Messages: t.messages}
	if t.stage != Waiting {
		v.Ahead, v.Estimate = -1, 0
	}
	if t.warned {
		v.EndsAt = t.spoke.Add(t.set.EndSilent)
	}
	if t.stage == Over {
		v.Outcome, v.Reason, v.Waits = t.outcome, t.reason, time.Time{}
	}
	return v
}
