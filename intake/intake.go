// Package intake is the language that all of yingda speaks: what a contact is, through which channel it came, how it
// ended, and the events that tell of it.
//
// Arms of the system (telephony, channels, search, routing) import this package and never one another; they meet in
// events. An Event is made with New, put into a stream by its one writer, and folded by readers with Apply-like
// functions of their own, each safe to run twice: take only what is newer than what you have of that subject (see
// Sequence).
//
// What it does not do: it holds no state, reads no clock and knows no format. Package wire turns events into bytes,
// package stream keeps them.
package intake

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// ContactID names one attempt of one resident to reach us. A UUIDv7 in its usual text form, given at first sight by the
// edge and kept everywhere: log, index, case, screen.
type ContactID string

// Other names of things. All but LineID, SwitchboardID and Token are UUIDv7; LineID and SwitchboardID are chosen by the office.
type (
	CallbackID    string
	CaseID        string
	UserID        string
	OfferID       string
	AttemptID     string // one try to reach somebody we owe a call
	RecordingID   string
	LineID        string // key of a row in the ledger of lines, e.g. "12345"
	SwitchboardID string // a set of lines and the operators who serve them, e.g. "main"
	GridID        string // code of a grid, as the office's list has it
	Token         string // HMAC of a caller's number: who phoned, without the number. Empty: withheld or unknown
)

// Channel is the way by which a contact came.
type Channel string

const (
	Phone   Channel = "phone"
	WebCall Channel = "webcall"
	Chat    Channel = "chat"
	App     Channel = "app"
	WeChat  Channel = "wechat"
	SMS     Channel = "sms"
	Mail    Channel = "mail"
	Patrol  Channel = "patrol"
)

// Channels lists them all in the order in which screens show them.
func Channels() []Channel {
	return []Channel{Phone, WebCall, Chat, App, WeChat, SMS, Mail, Patrol}
}

// Valid says whether c is one of Channels.
func (c Channel) Valid() bool { return slices.Contains(Channels(), c) }

// Outcome is how a contact ended: exactly one from this closed list. The reason beside it is open.
type Outcome string

const (
	// Answered: human audio was bridged to a named operator. A machine, music or a SIP 200 is not it.
	Answered Outcome = "answered"
	// AbandonedGreeting: the resident left while the greeting played and no operator rang.
	AbandonedGreeting Outcome = "abandoned_greeting"
	// AbandonedQueue: the resident left while waiting and no operator rang.
	AbandonedQueue Outcome = "abandoned_queue"
	// AbandonedRinging: the resident left while an operator's phone rang.
	AbandonedRinging Outcome = "abandoned_ringing"
	// TimeoutNoOperator: we gave up, since nobody could take it within the line's limit.
	TimeoutNoOperator Outcome = "timeout_no_operator"
	// QueueFull: we gave up at once, since too many waited.
	QueueFull Outcome = "queue_full"
	// AfterHours: the line was closed and the resident left no message.
	AfterHours Outcome = "after_hours"
	// CallbackPromised: the resident chose to be called back.
	CallbackPromised Outcome = "callback_promised"
	// Voicemail: the resident left a message.
	Voicemail Outcome = "voicemail"
	// Refused: we said no: blocked caller, overload, request that cannot be read.
	Refused Outcome = "refused"
	// Fault: we failed.
	Fault Outcome = "fault"
	// Interrupted: we crashed with the contact open; written at the next start, provisional until the caller is heard of again.
	Interrupted Outcome = "interrupted"
	// Silent: bridged, but no audio came from either side.
	Silent Outcome = "silent"
	// Replied: a chat in which a person answered.
	Replied Outcome = "replied"
	// Unattended: a chat which nobody answered.
	Unattended Outcome = "unattended"
	// LeftSilently: a chat whose resident went away without a word.
	LeftSilently Outcome = "left_silently"
	// Accepted: a submission that was taken in.
	Accepted Outcome = "accepted"
	// RejectedInvalid: a submission that could not be taken in.
	RejectedInvalid Outcome = "rejected_invalid"
)

// Outcomes lists the closed list in the order in which books and screens show it.
func Outcomes() []Outcome {
	return []Outcome{Answered, Replied, Accepted, CallbackPromised, Voicemail, AbandonedGreeting, AbandonedQueue, AbandonedRinging,
		TimeoutNoOperator, QueueFull, AfterHours, Unattended, LeftSilently, Silent, Refused, RejectedInvalid, Fault, Interrupted}
}

// Valid says whether o is in the closed list.
func (o Outcome) Valid() bool { return slices.Contains(Outcomes(), o) }

// Reached says whether a resident whose contact ended so has spoken with one of us (or has handed in what they wanted
// to), so that nobody owes them a call on its account.
func (o Outcome) Reached() bool {
	return o == Answered || o == Replied || o == Accepted
}

// Failed says whether a contact that ended so leaves us owing a call: every one in which the resident wanted a person and got
// none, the promise to call back and the message left included. A blocked caller who was refused is owed nothing; that
// is in the event's reason (ReasonBlocked), see EndedV1.Owed.
func (o Outcome) Failed() bool { return o != "" && !o.Reached() && o != RejectedInvalid }

// Reasons which readers act upon. The field is open: an edge may write others, in English, with underscores.
const (
	ReasonBlocked   = "blocked"       // refused: the caller is on the line's list of blocked callers
	ReasonOverload  = "overload"      // refused: more calls than we can carry
	ReasonBadSDP    = "bad_request"   // refused: nothing in the request that we can speak
	ReasonShutdown  = "shutting_down" // refused: the program is ending
	ReasonRestarted = "restarted"     // interrupted: written by the next start
)

// By says who ended a contact.
type By string

const (
	ByResident By = "resident"
	ByUs       By = "us"
	ByNetwork  By = "network"
)

// Flag marks a contact that counts as it is and is shown apart besides.
type Flag string

const (
	ShortAbandon Flag = "short_abandon" // left within the line's short-abandon limit (default 5 s)
	QuickDrop    Flag = "quick_drop"    // answered, and ended by our side within 10 s
	OneWayAudio  Flag = "one_way_audio" // audio came from one side only
	Unwritten    Flag = "unwritten"     // went on although the disk would not take its first event in time
	SilentCaller Flag = "silent_caller" // the resident said nothing for a while after being connected
)

// Line is a published number or address and what it promises: a row of the ledger (台账).
type Line struct {
	ID          LineID        `json:"id"`
	Name        string        `json:"name"`
	Number      string        `json:"number"` // as published, e.g. "12345"
	Switchboard SwitchboardID `json:"switchboard"`
	Owner       string        `json:"owner"` // the unit in charge
}

// Subject is the one thing that an event changes: "contact/…", "case/…", "callback/…", "operator/…", "line/…", "grid/…", "person/…", "node/…".
type Subject string

// Kind is what stands before the slash.
func (s Subject) Kind() string { k, _, _ := strings.Cut(string(s), "/"); return k }

// ID is what stands after the slash.
func (s Subject) ID() string { _, id, _ := strings.Cut(string(s), "/"); return id }

// Subject of a contact, a case, a callback.
func (id ContactID) Subject() Subject  { return Subject("contact/" + string(id)) }
func (id CaseID) Subject() Subject     { return Subject("case/" + string(id)) }
func (id CallbackID) Subject() Subject { return Subject("callback/" + string(id)) }
func (id UserID) Subject() Subject     { return Subject("operator/" + string(id)) }

// Sequence counts the events of one subject, by its one writer: the high half is the writer's epoch, the low half
// counts 1, 2, 3 … within it. A gap is seen, a repeat is harmless, and the number is the version of the subject's document in the
// index. The epoch stays below 2³¹, so that the number fits a signed 64-bit column.
type Sequence uint64

// NewSequence puts together epoch (1 … 2³¹−1) and count (from 1).
func NewSequence(epoch, count uint32) Sequence { return Sequence(epoch)<<32 | Sequence(count) }

// Epoch and Count take it apart.
func (s Sequence) Epoch() uint32 { return uint32(s >> 32) }
func (s Sequence) Count() uint32 { return uint32(s) }

// Next is the sequence of the event after s by a writer of the given epoch: the count goes on within an epoch and begins again with a new one.
func (s Sequence) Next(epoch uint32) Sequence {
	if s.Epoch() == epoch {
		return s + 1
	}
	return NewSequence(epoch, 1)
}

// String writes it as 16 hex digits.
func (s Sequence) String() string {
	var b [16]byte
	for i := range b {
		b[i] = "0123456789abcdef"[s>>(60-4*i)&15]
	}
	return string(b[:])
}

// ParseSequence reads 16 hex digits.
func ParseSequence(s string) (Sequence, error) {
	if len(s) != 16 {
		return 0, fmt.Errorf("a sequence has 16 hex digits, %q has %d characters", s, len(s))
	}
	v, err := strconv.ParseUint(s, 16, 64)
	if err != nil || v > 1<<63-1 || uint32(v) == 0 {
		return 0, fmt.Errorf("sequence %q is not an epoch below 2³¹ followed by a count from 1, in hex", s)
	}
	return Sequence(v), nil
}

// ErrInvalid is what Check wraps.
var ErrInvalid = errors.New("event is not valid")

// ErrLater is wrapped by an error that says nothing about the thing asked for, only that it cannot be had at this moment: try again.
var ErrLater = errors.New("not to be had now, try again")

// Millis cuts t to what the stream keeps: UTC, milliseconds.
func Millis(t time.Time) time.Time { return t.UTC().Truncate(time.Millisecond) }
