// Package telephony holds the words of the phone: legs, what the network reports about them, and what we order.
//
// A leg is one SIP dialog and its audio: the resident's leg comes in, an operator's leg goes out, a call back has two that go
// out. The edge (package sip with package media below it) turns messages and packets into an Input and carries out an
// Effect; the machines (ivr, call, switchboard) take the one and give the other, with no clock and no network of their own.
//
//	Step(now, Input) → []Effect
//	Wake(now)        → []Effect
//	Deadline()       → time
//
// Order: inputs of one leg reach the machine in the order in which they happened; effects are carried out in the order in
// which they were given. What may be ordered of a leg that is already over is silently nothing: an end may cross an order.
//
// What it does not do: it knows no SIP message, no packet and no queue.
package telephony

import (
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// LegID names a leg within one process. The edge makes the id of a leg that comes in, the machine that of one it dials.
type LegID string

// PlayID names one order to play, so that its end can be told from the end of an earlier one. Chosen by the machine, counted per leg.
type PlayID int

// Invited: an INVITE of a new dialog has come in, has passed the guard and is not answered yet (100 Trying at most).
// Nothing that sounds like success is sent until the machine says so, and it waits for Written first.
type Invited struct {
	Leg       LegID
	Contact   intake.ContactID // given at first sight; that of the earlier contact when Again
	Again     bool             // the same INVITE (Dedupe) was seen before our last start: contact.offered is already in the log
	After     intake.Sequence  // with Again: the newest sequence of that contact in the log
	Line      intake.LineID    // the line whose number was dialled; "" when none fits
	Trunk     string           // name of the trunk it came by
	CallID    string           // SIP Call-ID
	Dedupe    string           // Call-ID + From tag + CSeq
	Number    pii.Phone        // the caller's number, zero when withheld or unknown
	Name      pii.Name         // display name as the trunk gave it
	Withheld  bool             // the caller hid the number (RFC 3323, anonymous)
	Caller    Facts            // what we know of the caller
	Overload  bool             // the edge cannot carry another call with audio in time: refuse with 503 and write it down
	Audio     bool             // there is an audio offer that we can speak, or none (then we make the offer). False: 488
	Emergency bool             // reserved: priority asked for by the trunk (RFC 4412)
}

// Facts are what the office knows about a caller, looked up by the edge before the machine is asked.
type Facts struct {
	Token       intake.Token // HMAC of the number; empty when there is none
	Known       string       // id of the resident's card
	Older       bool         // known as an older resident
	Blocked     bool         // on the line's list of blocked callers
	Failed      time.Time    // when we last failed this caller, zero when we do not owe them anything
	Callback    intake.CallbackID
	LastReached time.Time
}

// Inputs. An Input is what the network, the log, the clock's owner or a person at the desk tells the machine.
type Input interface{ input() }

type (
	// Written: contact.offered of this contact is durable, so the resident may be told. Unwritten: it is not, the disk does not take it
	// (full, error, slower than 500 ms); the call goes on and is flagged.
	Written struct {
		Contact   intake.ContactID
		Unwritten bool
	}
	// Accepted: the far side of a leg that came in has acknowledged our 200 (ACK).
	Accepted struct{ Leg LegID }
	// Ringing: the phone that we dialled rings (180 or 183).
	Ringing struct{ Leg LegID }
	// Answered: the phone that we dialled was taken (2xx, acknowledged by us) and its audio is set up.
	Answered struct {
		Leg      LegID
		Codec    string // "PCMA", "PCMU", "G722"
		Wideband bool
	}
	// Failed: a leg that we dialled ended without being answered.
	Failed struct {
		Leg    LegID
		Status int    // SIP status, 0 when there was no response
		Q850   int    // cause (RFC 3326, 6432), 0 when none was given
		Why    string // no_answer, busy, declined, unreachable, error, hangup (we had ordered it to end)
	}
	// Ended: a leg that was up, or came in and was not answered, is over: BYE or CANCEL from the far side, no ACK, lost
	// transport. Comes once for each leg, also after our own Hangup (then By is us).
	Ended struct {
		Leg  LegID
		By   intake.By // resident: the far side hung up; network: it failed; us: we ordered it
		Q850 int
		Why  string // bye, cancel, no_ack, media_timeout, transport, hangup (as ordered), session_expired, fault and error (ours)
	}
	// Held and Resumed: the far side put us on hold (sendonly, inactive, c=0.0.0.0), and took us back.
	Held    struct{ Leg LegID }
	Resumed struct{ Leg LegID }
	// Digit: a key was pressed (RFC 4733 or INFO), once per press, however long.
	Digit struct {
		Leg LegID
		Key string // 0–9 * # A–D
	}
	// Played: what was ordered by Play has ended. Cut: not to its end. A loop ends only by being cut.
	Played struct {
		Leg  LegID
		Play PlayID
		Cut  bool
	}
	// Heard: the first audio has come from a leg since it was bridged.
	Heard struct{ Leg LegID }
	// Quiet: no speech (audio above the noise) has come from a leg for that long while it was bridged. Again at each further Seconds.
	Quiet struct {
		Leg     LegID
		Seconds int
	}
	// MediaLost: no packet at all has come from a leg for that long, and it is not on hold.
	MediaLost struct {
		Leg     LegID
		Seconds int
	}
	// Recorded: a recording is complete as far as it will be.
	Recorded struct {
		Recording intake.RecordingID
		Millis    int64
		Channels  int
		SHA256    string
		CutShort  bool
		Err       string // not empty: it could not be made, and why
	}
	// CallBack: somebody at a desk asks to call a person back. The operator's phone rings first.
	CallBack struct {
		Attempt  intake.AttemptID
		Callback intake.CallbackID
		Operator intake.UserID
		Number   pii.Phone
		Line     intake.LineID // shown to the resident as the caller
		Apart    bool          // by somebody who is no operator, a grid worker: the queue is not asked, and their phone does not show the resident's number
		Case     intake.CaseID // of Apart, when it is about a case and nobody is owed a call: then Callback is empty
	}
	// Drain: the program is ending. No new calls (503), those waiting are promised a call, live ones go on.
	Drain struct{}
)

func (Invited) input()   {}
func (Written) input()   {}
func (Accepted) input()  {}
func (Ringing) input()   {}
func (Answered) input()  {}
func (Failed) input()    {}
func (Ended) input()     {}
func (Held) input()      {}
func (Resumed) input()   {}
func (Digit) input()     {}
func (Played) input()    {}
func (Heard) input()     {}
func (Quiet) input()     {}
func (MediaLost) input() {}
func (Recorded) input()  {}
func (CallBack) input()  {}
func (Drain) input()     {}

// Effects. An Effect is what a machine wants done.
type Effect interface{ effect() }

type (
	// Write puts events into the log, in order. With Gate set the log answers with Written for that contact.
	Write struct {
		Events []intake.Event
		Gate   intake.ContactID
	}
	// Ring sends 180 Ringing to a leg that came in; no audio.
	Ring struct{ Leg LegID }
	// Progress sends 183 with our SDP: audio before the answer.
	Progress struct{ Leg LegID }
	// Accept takes a leg that came in: 200 with our SDP, repeated until acknowledged.
	Accept struct{ Leg LegID }
	// Refuse ends a leg that came in and was not accepted with a final response of 300–699.
	Refuse struct {
		Leg        LegID
		Status     int
		Reason     string        // reason phrase; "" takes the standard one
		RetryAfter time.Duration // 0: no Retry-After
		Q850       int
	}
	// Hangup ends a leg whatever its state: BYE when it is up, CANCEL while it rings (and ACK and BYE for the 2xx that crosses it), a final
	// response when it came in and was not taken.
	Hangup struct {
		Leg  LegID
		Q850 int
	}
	// Dial calls an operator's registered phone, or a number by a trunk. Ends in Answered or Failed.
	Dial struct {
		Leg      LegID
		Contact  intake.ContactID  // for which, "" for a call back
		Operator intake.UserID     // whose registered phone; "" when Number is dialled
		Number   pii.Phone         // to be dialled by a trunk
		From     pii.Phone         // shown as the caller: the resident's number to an operator, the line's to a resident
		FromName pii.Name          //
		Line     intake.LineID     // by which line
		Timeout  time.Duration     // how long it may ring
		Header   map[string]string // further headers, e.g. "X-Yingda-Contact": id
	}
	// Play plays prompts one after the other to one leg, from the start, in place of what plays now. Loop: again and again until cut.
	// The end is reported by Played.
	Play struct {
		Leg     LegID
		Play    PlayID
		Prompts []string // ids in the prompt pack; "music" is the hold music, "silence:600" 600 ms of nothing
		Dialect string   // "" is the pack's first
		Loop    bool
		Gain    int // dB, −12 … +12
	}
	// Stop cuts what plays to a leg.
	Stop struct{ Leg LegID }
	// Bridge lets two legs hear each other. What plays to either is cut. Unbridge parts them.
	Bridge   struct{ A, B LegID }
	Unbridge struct{ A, B LegID }
	// Record begins to write down two legs, the resident in the first channel, the other in the second. With one leg only (voicemail) Other is "".
	Record struct {
		Recording intake.RecordingID
		Contact   intake.ContactID
		Resident  LegID
		Other     LegID
	}
	// StopRecord ends it; Recorded answers.
	StopRecord struct{ Recording intake.RecordingID }
	// Tried says how an attempt to call somebody back ended; the owner of the callbacks writes it down.
	Tried struct {
		Attempt   intake.AttemptID
		Callback  intake.CallbackID
		Operator  intake.UserID
		Result    string // one of intake.Try…; "" when it came to no try: the desk phone was not taken, or hung up first
		Seconds   int64  // talked
		Case      intake.CaseID
		Recording intake.RecordingID
	}
)

func (Write) effect()      {}
func (Ring) effect()       {}
func (Progress) effect()   {}
func (Accept) effect()     {}
func (Refuse) effect()     {}
func (Hangup) effect()     {}
func (Dial) effect()       {}
func (Play) effect()       {}
func (Stop) effect()       {}
func (Bridge) effect()     {}
func (Unbridge) effect()   {}
func (Record) effect()     {}
func (StopRecord) effect() {}
func (Tried) effect()      {}
