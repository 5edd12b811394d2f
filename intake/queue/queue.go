// Package queue is the one place that knows who waits, in any channel, and which operator is free for how much.
//
// A contact joins with the line it came by and its priority. As soon as an operator who serves that line is free, the queue
// offers the contact to them: Offered, a lease until a given time. The owner of the contact (switchboard, chat) rings the operator's
// phone or desk and says how it went: Rings, then Took or Missed; Finished when the conversation is over. A missed offer costs the
// contact nothing, it keeps its place; the operator rests for a moment and goes behind the others. An offer nobody speaks of again
// ends with its lease, so no operator stays reserved for ever and no contact waits on a dead one.
//
//	q := queue.New(queue.Config{NewOffer: …})
//	effects := q.Step(now, queue.Join{Contact: id, Channel: intake.Phone, Line: "12345", Arrived: now})
//	effects = q.Wake(now)   // at q.Deadline()
//
// Order: within a line, by arrival, where each point of priority counts as Settings.HeadStart of waiting, all points together
// never as more than Settings.Bound. So whoever has waited longer than Bound is passed by nobody who comes later: priority is felt and nobody
// starves. (Callers whose operator was lost in mid-call go before all others: Join.Head.)
//
// What it does not do: it rings nothing, writes no event and speaks to nobody; how long somebody may wait is the owner's decision
// (Leave). It keeps nothing on disk: after a start the owners tell it again who is signed in.
package queue

import (
	"time"

	"yingda/intake"
)

// Config is what a queue is made with.
type Config struct {
	NewOffer func() intake.OfferID // makes the id of an offer; must not be nil
	Settings Settings
}

// Settings may be changed at any time (they are an Input). A zero field takes the default.
type Settings struct {
	Ring            time.Duration         // how long an operator's phone rings; 0: 20 s. Join.Ring goes before it
	Grace           time.Duration         // what a lease lasts beyond Ring, for setting up; 0: 5 s
	WrapUp          time.Duration         // time for writing down after a call; 0: none
	ChatWrapUp      time.Duration         // the same after a chat; 0: none
	Misses          int                   // so many missed offers in a row send an operator on a break; 0: 3, negative: never
	Rest            time.Duration         // an operator who missed an offer is left alone for that long; 0: 5 s
	Away            time.Duration         // an operator whose phone could not be reached is unreachable for that long, or until Reachable; 0: 30 s
	Strategy        Strategy              // whose turn it is; "": LongestIdle
	HeadStart       time.Duration         // what one point of priority is worth in waiting; 0: 1 min
	Bound           time.Duration         // the most that all points together are worth; 0: 5 min
	MaxWaiting      int                   // so many may wait on one line; 0: no limit. Join.Limit goes before it
	MaxOnLine       map[intake.LineID]int // the same for single lines
	ChatsBesideCall int                   // so many chats an operator may have beside a call; 0: none
}

// Strategy says whose turn it is among the free operators.
type Strategy string

const (
	LongestIdle Strategy = "longest_idle" // who has been idle longest (the default)
	FewestCalls Strategy = "fewest_calls" // who was asked least since signing in, then who has been idle longest
)

// State of an operator, exactly one at a time. It says what shows on the board; what they may be offered follows from it and Capacity.
type State string

const (
	StateOffline     State = "offline"     // not signed in
	StateIdle        State = "idle"        // free
	StateReserved    State = "reserved"    // something is offered to them and does not ring yet; left by Rings, Took, Missed, Leave or the end of the lease
	StateRinging     State = "ringing"     // their phone or desk rings
	StateTalking     State = "talking"     // with a call, a chat or a call back
	StateWrapUp      State = "wrap_up"     // writing down; left by WrapUpDone or after Settings.WrapUp
	StateBreak       State = "break"       // asked not to be rung, or missed too often; left by Back
	StateUnreachable State = "unreachable" // their phone or desk is not there: a fact of the network, not a wish; left by Reachable
)

// Reasons of a break that the queue itself begins, and of states.
const (
	ReasonMisses      = "missed_in_a_row"
	ReasonCallback    = "callback"
	ReasonUnreachable = "phone_did_not_answer_us"
)

// Capacity says how much an operator takes at once. The zero value: one call, no chats.
type Capacity struct {
	NoCalls bool // takes no calls
	Chats   int  // so many chats at once
}

// Input is what the owners of contacts, the operators' desks and the network tell the queue.
type Input interface{ input() }

type (
	// Join: a contact wants a person. Answered by Placed, or by Full. A contact that is here already stays as it is.
	Join struct {
		Contact  intake.ContactID
		Channel  intake.Channel // chat and wechat are conversations beside one another; all others take an operator's whole attention
		Line     intake.LineID
		Priority int    // points, 0 and up
		Why      string // why it has them: older_caller, calls_again, callback_due …
		Arrived  time.Time
		Ring     time.Duration // 0: Settings.Ring
		Limit    int           // most waiting on its line; 0: the settings'
		Head     bool          // goes before everybody (its operator was lost) and is never refused
	}
	// Leave: the contact waits no more. An open offer is withdrawn. Of a contact that was taken it is nothing.
	Leave struct {
		Contact intake.ContactID
		Why     string // resident_left, timeout, callback …; becomes the Why of Withdrawn
	}
	// Ask: where does it stand? Answered by Placed when it waits, else by nothing.
	Ask struct{ Contact intake.ContactID }

	// Rings: the operator's phone or desk rings.
	Rings struct{ Offer intake.OfferID }
	// Took: the operator has it. Contact, Operator and Channel are needed when the offer has just run out: they talk, so it is true.
	Took struct {
		Offer    intake.OfferID
		Contact  intake.ContactID
		Operator intake.UserID
		Channel  intake.Channel
		Line     intake.LineID
	}
	// Missed: the offer came to nothing by the operator's side.
	Missed struct {
		Offer  intake.OfferID
		Why    string // no_answer, busy, declined, unreachable, error
		Leaves bool   // and the contact waits no more: its time was up while this phone rang
	}
	// Finished: what was taken is over.
	Finished struct{ Offer intake.OfferID }

	// SignedIn: at the desk. Again with other Lines or Capacity: they change, what runs goes on.
	SignedIn struct {
		Operator  intake.UserID
		Lines     []intake.LineID // whom they serve; nil: all lines
		Capacity  Capacity
		Reachable bool // their phone (for one who takes no calls: their desk) is known to be there
	}
	// SignedOut: gone. Open offers are withdrawn, what runs goes on.
	SignedOut struct{ Operator intake.UserID }
	// Break: wants a rest from now on. Open offers are withdrawn, what runs goes on.
	Break struct {
		Operator intake.UserID
		Reason   string
	}
	// Back: from a break.
	Back struct{ Operator intake.UserID }
	// WrapUpDone: has written down.
	WrapUpDone struct{ Operator intake.UserID }
	// Reachable and Unreachable: the operator's phone registered, or cannot be reached any more. Also before SignedIn.
	Reachable   struct{ Operator intake.UserID }
	Unreachable struct {
		Operator intake.UserID
		Why      string
	}

	// Engage: the operator wants to call somebody (Ref: the attempt). Answered by Engaged or EngageRefused. Possible when idle, in wrap-up and on a break.
	Engage struct {
		Operator intake.UserID
		Ref      string
	}
	// Disengage ends it. Talked: there was a conversation, so there is something to write down.
	Disengage struct {
		Operator intake.UserID
		Ref      string
		Talked   bool
	}
)

func (Join) input()        {}
func (Leave) input()       {}
func (Ask) input()         {}
func (Rings) input()       {}
func (Took) input()        {}
func (Missed) input()      {}
func (Finished) input()    {}
func (SignedIn) input()    {}
func (SignedOut) input()   {}
func (Break) input()       {}
func (Back) input()        {}
func (WrapUpDone) input()  {}
func (Reachable) input()   {}
func (Unreachable) input() {}
func (Engage) input()      {}
func (Disengage) input()   {}
func (Settings) input()    {} // other settings come into force; what is offered stays offered

// Effect is what the queue says. Those that name a contact are for its owner; an owner ignores contacts that are not its own.
type Effect interface{ effect() }

type (
	// Placed: how many stand before it among those whom the same operators serve, and how long it will take about (0: unknown).
	Placed struct {
		Contact  intake.ContactID
		Ahead    int
		Estimate time.Duration
	}
	// Full: too many wait; it was not taken in.
	Full struct{ Contact intake.ContactID }
	// Offered: ring this operator for Ring at most. The offer is void at Until whatever happens.
	Offered struct {
		Offer    intake.OfferID
		Contact  intake.ContactID
		Operator intake.UserID
		Ring     time.Duration
		Until    time.Time
	}
	// Withdrawn: stop ringing. Why: what Leave said, signed_out, break, unreachable, expired (the lease ran out), elsewhere (another took it).
	Withdrawn struct {
		Offer    intake.OfferID
		Contact  intake.ContactID
		Operator intake.UserID
		Why      string
	}
	// StateChanged: for operator.state and the board.
	StateChanged struct {
		Operator intake.UserID
		State    State
		Before   State
		Reason   string
	}
	// Notice: the operator and the supervisor should be told. What: missed_in_a_row.
	Notice struct {
		Operator intake.UserID
		What     string
		Count    int
	}
	// Engaged: the operator is kept free for the call they make.
	Engaged struct {
		Operator intake.UserID
		Ref      string
	}
	// EngageRefused: they cannot now. Why: offline, unreachable, or the state they are in (reserved, ringing, talking).
	EngageRefused struct {
		Operator intake.UserID
		Ref      string
		Why      string
	}
)

func (Placed) effect()        {}
func (Full) effect()          {}
func (Offered) effect()       {}
func (Withdrawn) effect()     {}
func (StateChanged) effect()  {}
func (Notice) effect()        {}
func (Engaged) effect()       {}
func (EngageRefused) effect() {}

// Why a Withdrawn offer was withdrawn, besides what Leave says.
const (
	WhySignedOut   = "signed_out"
	WhyBreak       = "break"
	WhyUnreachable = "unreachable"
	WhyExpired     = "expired"
	WhyElsewhere   = "elsewhere"
)

// Snapshot is how things stand: for the wallboard.
type Snapshot struct {
	Waiting   []Waiter // in the order in which they are served, line by line
	Operators []Seat   // by id
}

// Waiter is a contact that waits.
type Waiter struct {
	Contact  intake.ContactID
	Channel  intake.Channel
	Line     intake.LineID
	Arrived  time.Time
	Priority int
	Why      string
	Offered  intake.UserID // who is being rung for it, "" when nobody
}

// Seat is an operator.
type Seat struct {
	Operator intake.UserID
	State    State
	Since    time.Time
	Reason   string
	Calls    int                // taken since signing in
	Misses   int                // in a row
	With     []intake.ContactID // whom they talk with
}
