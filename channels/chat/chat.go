// Package chat is all conversations of one switchboard: from the moment a resident opens one to its one outcome.
//
// A conversation begins with Start: contact.offered is written and the resident is told nothing before it is durable. With their first
// message it joins the queue; whom the queue offers it to sees it on their desk (Ring) and may accept or decline. The first reply of a
// person is contact.answered. It may be handed to another operator, who must accept it first, or back to the queue, where it goes before all
// others; it goes there by itself when its operator does not reply in time. Whatever happens, it ends with exactly one contact.ended.
//
// It shares the queue with the calls, exactly as package switchboard does: what it wants comes out as ToQueue, what the queue says goes in
// as FromQueue, and its owner (one loop) hands one to the other at once, before the next input:
//
//	for _, e := range board.Step(now, in) {
//		switch e := e.(type) {
//		case chat.ToQueue: // queue.Step(now, e.Input), each effect back in as FromQueue
//		case chat.Write:   // to the log; the log's answer comes back as Written
//		default:           // to the edge (webchat.Server.Do), in order
//		}
//	}
//
// # Outcomes
//
// replied: a person wrote something. unattended: nobody did (reasons: timeout, resident_left, closed, operator_lost). left_silently: nobody did and
// the resident was gone for Settings.LeaveAfter without saying so. after_hours: the line was closed when it began; what the resident wrote is kept
// (reason message_left). callback_promised: the resident asked to be called instead. queue_full, refused (blocked, overload, shutting_down,
// unknown_line), fault as for calls. All but replied are owed a call as soon as the resident has left a number, before the end or after it
// (contact.identified).
//
// # After a crash
//
// A conversation survives: the edge knows from the log's projection which ones are open and gives them back with Restore before anybody
// connects. So nothing is interrupted; who does not come back ends as anybody who leaves silently.
//
// # After another node
//
// A standby that takes the lines over goes on likewise with what the stream told of each conversation (Restore.Another). What the dead node had written and
// not sent comes late (Late): messages keep their numbers, since those written after the takeover are numbered from after a gap (Gap), and stand in their
// place. A proper end ends the restored conversation without another one. An end that we write while nobody has done anything since the
// takeover is provisional: had it been ended before, that end stands. What stays: who ended on the dead node, comes back and goes on before that is
// known, may end twice; the books name such a contact.
//
// What it does not do: it knows no connection and no file, keeps no text beyond the moment in which it is written down, and does not choose
// operators.
package chat

import (
	"time"

	"yingda/channels"
	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/pii"
)

// Config is what a board is made with.
type Config struct {
	ID       intake.SwitchboardID
	Source   string                // of its events, "yingda/<node>"
	Epoch    uint32                // of its events' sequences: 1 … 2³¹−1, grows with each start
	NewOffer func() intake.OfferID // makes the id of an offer to the operator whom a conversation is handed to; must not be nil
	MaxChats int                   // conversations under way at once; more are refused (overload). 0: 5,000
}

// Settings of a line that its conversations obey. A zero duration takes the default; a negative one means never.
type Settings struct {
	MaxWait     time.Duration // we give up when nobody has replied for that long since the first message; 0: 10 min
	LeaveAfter  time.Duration // a resident who was not there for that long, and whom nobody has replied to, has left silently; 0: 3 min
	ReplyWithin time.Duration // an operator who lets a resident wait so long for a reply loses the conversation to the queue; 0: 3 min
	WarnSilent  time.Duration // a resident who does not answer us is told that it will end; 0: 5 min
	EndSilent   time.Duration // and it ends; counted from the same moment; 0: 10 min
	Closed      time.Duration // out of hours, so long may the resident go on writing and leave a number without a pause; 0: 10 min
	Unspoken    time.Duration // one who opens a conversation and writes nothing for that long has left silently; 0: 10 min
	Ring        time.Duration // how long an operator is asked; 0: the queue's
	HandRing    time.Duration // how long an operator is asked whom it is handed to; 0: 30 s
	Limit       int           // most waiting on the line; 0: the queue's
	MaxMessages int           // in one conversation; 0: 1,000
	AgainWithin time.Duration // a caller we failed that recently goes ahead; 0: 10 min
}

// Line is a line as conversations see it.
type Line struct {
	intake.Line
	Settings
}

// Stage of a conversation. One at a time.
type Stage string

const (
	Writing Stage = "writing" // contact.offered is on its way to the disk; left by Written, or after 2 s
	Quiet   Stage = "quiet"   // open, and the resident has not written yet: nobody is asked; left by the first message
	Waiting Stage = "waiting" // in the queue, an operator may be asked
	Open    Stage = "open"    // an operator has it
	Closed  Stage = "closed"  // out of hours: messages and a number may be left
	Over    Stage = "over"    // contact.ended is written; a number may still be left
)

// Input is what the edge, the log, the queue or the wiring tells the board.
type Input interface{ input() }

// Ref names one request of the edge; Done answers it, at once or when what was asked for is durable. "" wants no answer.
type Ref string

type (
	// SetLines puts these lines in force, all of them, for conversations that begin from now on. Default takes those that name no line.
	SetLines struct {
		Lines   []Line
		Default intake.LineID
	}
	// FromQueue is what the queue said. Of contacts that are not ours it is nothing.
	FromQueue struct{ Effect queue.Effect }
	// Written: what was written with that gate is on disk as far as the sequence Through. Unwritten: the disk does not take it now; the log keeps it
	// in memory and the conversation goes on, but nobody is told that it is safe until Written comes without Unwritten.
	Written struct {
		Contact   intake.ContactID
		Through   intake.Sequence
		Unwritten bool
	}

	// Start: a resident opens a conversation. Done when contact.offered is durable. A contact that is known already stays as it is.
	Start struct {
		Ref     Ref
		Contact intake.ContactID
		Line    intake.LineID
		Origin  string // the site or page it came by
		Dedupe  string // for contact.offered
		Closed  bool   // the line is out of its hours
		Number  pii.Phone
		Name    pii.Name
		Caller  channels.Caller // what is known of the number, zero without one
	}
	// Restore gives back a conversation that the last run left open, before anybody connects; or, with Outcome, one that is over and forgotten and in which a
	// number is to be left.
	Restore struct {
		Contact  intake.ContactID
		Key      string // partition key
		Last     intake.Sequence
		Line     intake.LineID
		Number   pii.Phone
		Name     pii.Name
		Caller   channels.Caller
		Closed   bool
		Arrived  time.Time
		Answered time.Time     // first reply of a person, zero without one
		Operator intake.UserID // who had it; "" nobody: it goes into the queue
		Offer    intake.OfferID
		Replied  bool           // Operator has written since
		Spoke    time.Time      // of the newest message, zero without one
		Ours     bool           // that was written by one of us
		First    time.Time      // of the first message
		Messages map[string]int // number by key; one without a key under "#<number>"
		Outcome  intake.Outcome
		Reason   string
		Another  bool // another node had it, and what that wrote last may come late: our messages are numbered from after a gap
	}
	// Late: the stream tells what another writer had written of it before we took it over. Record is what is known of it now; Message what was
	// written there, nil for any other event.
	Late struct {
		Record  Record
		Message *channels.Message
	}
	// Say: somebody writes. From is channels.Resident or an operator's id. The text is clean. Done when it is durable; the same Key again is Done with the
	// number it has.
	Say struct {
		Ref     Ref
		Contact intake.ContactID
		From    string
		Key     string
		Text    pii.Text
		Files   []channels.File
	}
	// Leave a number to be called back on. Call: and call me rather than let me wait; the conversation ends. Done when it is durable. Also after the end.
	LeaveNumber struct {
		Ref     Ref
		Contact intake.ContactID
		Number  pii.Phone
		Name    pii.Name
		Caller  channels.Caller // with a token
		Call    bool
	}
	// Here: the resident is connected, or (Passing) was there just now. Gone: the last of their connections is closed.
	Here struct {
		Contact intake.ContactID
		Passing bool
	}
	Gone struct{ Contact intake.ContactID }
	// Bye: the resident ends it.
	Bye struct {
		Ref     Ref
		Contact intake.ContactID
	}

	// Shown: the operator's desk shows the offer. Accept and Decline answer it.
	Shown struct {
		Contact intake.ContactID
		Offer   intake.OfferID
	}
	Accept struct {
		Ref      Ref
		Contact  intake.ContactID
		Operator intake.UserID
		Offer    intake.OfferID
	}
	Decline struct {
		Ref      Ref
		Contact  intake.ContactID
		Operator intake.UserID
		Offer    intake.OfferID
	}
	// Hand: the operator hands it on, to another operator (who is asked, and until they accept nothing changes) or, with To "", to the queue.
	Hand struct {
		Ref      Ref
		Contact  intake.ContactID
		Operator intake.UserID
		To       intake.UserID
	}
	// End: the operator ends it.
	End struct {
		Ref      Ref
		Contact  intake.ContactID
		Operator intake.UserID
	}
	// Drain: the program is ending. No new conversations; those under way stay as they are for the next start.
	Drain struct{}
)

func (SetLines) input()    {}
func (FromQueue) input()   {}
func (Written) input()     {}
func (Start) input()       {}
func (Restore) input()     {}
func (Late) input()        {}
func (Say) input()         {}
func (LeaveNumber) input() {}
func (Here) input()        {}
func (Gone) input()        {}
func (Bye) input()         {}
func (Shown) input()       {}
func (Accept) input()      {}
func (Decline) input()     {}
func (Hand) input()        {}
func (End) input()         {}
func (Drain) input()       {}

// Effect is what the board wants done.
type Effect interface{ effect() }

type (
	// ToQueue is what we tell the queue.
	ToQueue struct{ Input queue.Input }
	// Write puts events of one contact into the log, in order. The log answers with Written for Gate, unless it is "". Through is the last event's sequence.
	Write struct {
		Events  []intake.Event
		Gate    intake.ContactID
		Through intake.Sequence
	}
	// Done answers a request. Err: "" done; else one of Err… below. Number is that of a message.
	Done struct {
		Ref     Ref
		Contact intake.ContactID
		Number  int
		Err     string
	}
	// Deliver: both sides may see this message now. Unsafe: the disk does not take it at the moment; a Safe follows when it has. Late: it stands before
	// others that were delivered, by its number.
	Deliver struct {
		Contact intake.ContactID
		Message channels.Message
		Unsafe  bool
		Late    bool
	}
	// Safe: the messages up to that number are durable.
	Safe struct {
		Contact intake.ContactID
		Through int
	}
	// Ring: ask this operator, until Until. Unring: ask no more. Why: taken, declined, no_answer, or as queue.Withdrawn.
	Ring struct {
		Contact  intake.ContactID
		Offer    intake.OfferID
		Operator intake.UserID
		Until    time.Time
		By       intake.UserID // who hands it on; "" it comes from the queue
	}
	Unring struct {
		Contact  intake.ContactID
		Offer    intake.OfferID
		Operator intake.UserID
		Why      string
	}
	// Changed: how it stands now, whenever something of it is other than before.
	Changed struct{ View }
	// Forget: nothing more will be said of it; the edge may drop what it holds.
	Forget struct{ Contact intake.ContactID }
)

func (ToQueue) effect() {}
func (Write) effect()   {}
func (Done) effect()    {}
func (Deliver) effect() {}
func (Safe) effect()    {}
func (Ring) effect()    {}
func (Unring) effect()  {}
func (Changed) effect() {}
func (Forget) effect()  {}

// Errors in Done.
const (
	ErrUnknown  = "unknown"   // no such conversation
	ErrOver     = "over"      // it has ended
	ErrNotYours = "not_yours" // another operator has it, or the offer is not theirs any more
	ErrTooMany  = "too_many"  // more messages than a conversation holds
	ErrRefused  = "refused"   // no conversation can begin; View.Outcome and Reason say why
	ErrUnsafe   = "unsafe"    // the disk does not take it at the moment; it may be sent again under the same key
)

// View is a conversation as it stands: for the edge and the wallboard.
type View struct {
	Contact  intake.ContactID
	Line     intake.LineID
	Stage    Stage
	Arrived  time.Time
	Since    time.Time // in this stage
	First    time.Time // of the first message, zero without one
	Waits    time.Time // since when the resident waits for a reply, zero when they do not
	Number   pii.Phone // left by the resident
	Name     pii.Name
	Token    intake.Token
	Known    string        // id of the resident's card
	Operator intake.UserID // who has it
	Asked    intake.UserID // who is asked
	Answered time.Time     // first reply of a person
	Ahead    int           // how many wait before it; −1 unknown
	Estimate time.Duration // 0: unknown
	Present  bool          // the resident is there
	Warned   bool          // the resident was told that it will end
	EndsAt   time.Time     // with Warned: then
	Messages int           // number of the newest
	Outcome  intake.Outcome
	Reason   string
}

// Snapshot is how things stand: for the wallboard.
type Snapshot struct {
	Chats    []View // not over, in the order in which they arrived
	Draining bool
}
