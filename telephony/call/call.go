// Package call is one call, from the INVITE to its outcome.
//
// A call begins with Invited: contact.offered is written and nothing is told to the resident before the log has answered. Then the
// call is taken (200, or 183 with audio until a person is there), the spoken path begins and the contact joins the queue at once, so
// that operators ring while the greeting plays. Each offer of the queue is a leg dialled to an operator's phone; when that is taken, the two are
// bridged and recorded. Whatever happens in whatever order, it ends with exactly one contact.ended.
//
// A Back is the other way round: somebody at a desk calls a resident we owe a call. The operator's phone rings first.
//
// What it does not do: it chooses no operator (the queue does; Join, Leave, Took … are for it), knows no line but the Settings it was given,
// and never hangs up because nobody speaks.
package call

import (
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/telephony"
	"yingda/telephony/ivr"
)

// Settings of a line that a call obeys. The zero value is useful.
type Settings struct {
	Early        bool          // 183 with audio until a person is there; false: 200 at once
	Dialect      string        // of the prompts; "": the pack's first
	Shown        pii.Phone     // what a resident sees when called back by this line
	Number       string        // as published; spoken to a resident who is called back
	SayWho       bool          // say who calls back before the operator is heard
	Ring         time.Duration // how long an operator's phone rings; 0: the queue's
	Limit        int           // most waiting on the line; 0: the queue's
	MaxWait      time.Duration // we give up after that long; 0: 10 min, negative: never
	ShortAbandon time.Duration // who leaves earlier is flagged; 0: 5 s
	NoRecording  bool          // conversations are not recorded
	NoMessages   bool          // no voicemail when closed
	MaxMessage   time.Duration // longest message; 0: 2 min
	CallBackRing time.Duration // how long a resident's phone rings when called back; 0: 45 s
	NoCallback   bool          // the promise to call back is not offered
	Spoken       ivr.Settings  // of the spoken path
	HoldMusic    bool          // play music to the resident while the operator holds; else what the operator's phone sends is heard
	AgainWithin  time.Duration // a caller we failed that recently goes ahead; 0: 10 min
}

// Points of priority (queue.Join.Priority), added up.
const (
	PointsOlder     = 2 // known as an older resident
	PointsAgain     = 2 // calls again shortly after a failed attempt
	PointsOwed      = 1 // we owe them a call
	PointsEmergency = 5 // the trunk asks for it (RFC 4412)
)

// Stage of a call. One at a time; there is no way back but from Talking to Waiting, when the operator's phone is lost.
type Stage string

const (
	Writing Stage = "writing" // contact.offered is on its way to the disk, the resident has heard nothing; left by Written or after 2 s
	Menu    Stage = "menu"    // the line's menu is being played; left by a choice, or none: then into the queue
	Waiting Stage = "waiting" // in the queue; the spoken path speaks, an operator's phone may ring
	Talking Stage = "talking" // bridged to an operator
	Message Stage = "message" // the line is closed; a message may be left
	Closing Stage = "closing" // we give up and say so, then hang up
	Over    Stage = "over"    // contact.ended is written; only a recording's end may still come
)

// BackStage is the stage of a call back.
type BackStage string

const (
	Asking   BackStage = "asking"   // the queue is asked for the operator
	Operator BackStage = "operator" // the operator's phone rings
	Resident BackStage = "resident" // the resident's phone rings
	Saying   BackStage = "saying"   // the resident has picked up and hears who calls
	BackTalk BackStage = "talking"  // bridged
	BackOver BackStage = "over"
)

// Inputs from the queue. They concern the one call they are handed to.
type (
	// Placed answers Join and Ask.
	Placed struct {
		telephony.AsInput
		Ahead    int
		Estimate time.Duration
	}
	// Full: the queue did not take it in.
	Full struct{ telephony.AsInput }
	// Offered: ring this operator.
	Offered struct {
		telephony.AsInput
		Offer    intake.OfferID
		Operator intake.UserID
		Ring     time.Duration
	}
	// Withdrawn: stop ringing.
	Withdrawn struct {
		telephony.AsInput
		Offer intake.OfferID
		Why   string
	}
	// Engaged and EngageRefused answer Engage.
	Engaged       struct{ telephony.AsInput }
	EngageRefused struct {
		telephony.AsInput
		Why string
	}
)

// Effects for the queue; their meaning is that of package queue.
type (
	Join struct {
		telephony.AsEffect
		Line     intake.LineID
		Priority int
		Why      string
		Head     bool
		Arrived  time.Time
		Ring     time.Duration // 0: the queue's
		Limit    int           // 0: the queue's
	}
	Leave struct {
		telephony.AsEffect
		Why string
	}
	Ask   struct{ telephony.AsEffect }
	Rings struct {
		telephony.AsEffect
		Offer intake.OfferID
	}
	Took struct {
		telephony.AsEffect
		Offer    intake.OfferID
		Operator intake.UserID
		Line     intake.LineID
	}
	Missed struct {
		telephony.AsEffect
		Offer  intake.OfferID
		Why    string
		Leaves bool // and the contact waits no more
	}
	Finished struct {
		telephony.AsEffect
		Offer intake.OfferID
	}
	Engage struct {
		telephony.AsEffect
		Operator intake.UserID
	}
	Disengage struct {
		telephony.AsEffect
		Operator intake.UserID
		Talked   bool
	}
)
