// Package switchboard holds all live calls of one switchboard: it knows which call a leg belongs to, which line was dialled and what
// that line promises, and it refuses what cannot be carried.
//
// It shares one queue with the chats. What it wants of the queue comes out as ToQueue, what the queue says goes in as FromQueue, and
// its owner (one loop) hands one to the other at once, before the next input:
//
//	for _, e := range board.Step(now, in) {
//		switch e := e.(type) {
//		case switchboard.ToQueue: // queue.Step(now, e.Input), each effect back in as FromQueue
//		default:                  // telephony's effects: to the log (Write), the callbacks (Tried) and the edge, in order
//		}
//	}
//
// Lines are data: SetLines puts others in force at any time; a call goes on with those under which it came.
//
// A call that breaks (a panic in its machine) ends as fault, its caller is owed a call, and the others don't notice.
//
// What it does not do: it knows nobody's number plan (the edge looks up the line), reads no calendar of its own (hours, holidays and
// make-up days 调休 are data of the line), and keeps nothing: after a crash Interrupted says which events end what was open.
package switchboard

import (
	"time"

	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/pii"
	"yingda/telephony"
	"yingda/telephony/call"
)

// Config is what a switchboard is made with.
type Config struct {
	ID           intake.SwitchboardID
	Source       string // of its events, "yingda/<node>"
	Epoch        uint32 // of its events' sequences: 1 … 2³¹−1, grows with each start and each new owner
	NewLeg       func() telephony.LegID
	NewRecording func() intake.RecordingID
	MaxCalls     int // calls under way at once, callbacks included; more are refused (overload). 0: no limit
}

// Line is a published number, what it promises and how it behaves. Settings is shared by reference: make another one to change it.
type Line struct {
	intake.Line
	Hours Hours
	call.Settings
}

// Inputs beside telephony's.
type (
	// SetLines puts these lines in force, all of them, for calls that come from now on. Default takes the calls to numbers that fit no line;
	// "" or one that is not in the list: they are refused (404) and written down under the line "unknown".
	SetLines struct {
		telephony.AsInput
		Lines   []Line
		Default intake.LineID
	}
	// FromQueue is what the queue said. Of contacts and attempts that are not ours it is nothing.
	FromQueue struct {
		telephony.AsInput
		Effect queue.Effect
	}
)

// ToQueue is what we tell the queue.
type ToQueue struct {
	telephony.AsEffect
	Input queue.Input
}

// Snapshot is how things stand: for the wallboard.
type Snapshot struct {
	Calls    []CallView // in the order in which they arrived
	Backs    []BackView // calls back under way, by attempt
	Lines    []LineView // by id
	Draining bool
}

// CallView is a live call.
type CallView struct {
	Contact  intake.ContactID
	Line     intake.LineID
	Number   pii.Phone
	Known    string // id of the resident's card
	Stage    call.Stage
	Arrived  time.Time
	Since    time.Time // in this stage
	Priority int
	Why      string
	Operator intake.UserID // who talks or is being rung
	Ringing  bool          // that operator's phone rings
	Held     bool
	Silent   bool // the resident says nothing
}

// BackView is a call back under way.
type BackView struct {
	Attempt  intake.AttemptID
	Callback intake.CallbackID
	Operator intake.UserID
	Stage    call.BackStage
	Since    time.Time
}

// LineView counts a line's live calls by stage.
type LineView struct {
	Line                               intake.LineID
	Open                               bool // within its hours
	Waiting, Ringing, Talking, Message int
	Oldest                             time.Time // arrival of the one that waits longest, zero when none does
}

// Open is a contact of this switchboard that the log holds without an end, as found at the start.
type Open struct {
	Contact      intake.ContactID
	PartitionKey string
	Last         intake.Sequence // of its newest event
	Arrived      time.Time       // time of contact.offered
	Answered     time.Time       // time of contact.answered, zero when it was not
	Seen         time.Time       // time of its newest event
}
