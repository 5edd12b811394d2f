package intake

import (
	"fmt"
	"time"
)

// The catalogue. What describes a person is not here but in Event.Personal; the comment says what to expect there.
// Durations are whole milliseconds. People who work here appear as user ids, never by name.

// OfferedV1 is written before anything that sounds like success. Personal: number, name; text and place of a submission.
type OfferedV1 struct {
	Channel     Channel       `json:"channel"`
	Line        LineID        `json:"line"`
	Switchboard SwitchboardID `json:"switchboard"`
	Caller      Token         `json:"caller,omitempty"`   // empty: withheld or unknown
	Withheld    bool          `json:"withheld,omitempty"` // the caller hid the number
	Known       string        `json:"known,omitempty"`    // id of the resident's card, if there is one
	Origin      string        `json:"origin"`             // trunk, page or app it came by
	Dedupe      string        `json:"dedupe,omitempty"`   // Call-ID + From tag + CSeq, idempotency key, chat session: the same again is the same contact
	SIPCallID   string        `json:"sip_call_id,omitempty"`
	Imported    string        `json:"imported,omitempty"` // name of the system whose history this is; empty for our own
	Category    string        `json:"category,omitempty"` // of a submission: the kind of matter that its writer chose
}

// WaitingV1: joins the queue, or its place changes for a reason.
type WaitingV1 struct {
	Priority int    `json:"priority"`      // higher goes first
	Why      string `json:"why,omitempty"` // older_caller, calls_again, callback_due, …
	Ahead    int    `json:"ahead"`         // how many were before it
}

// SaidV1: a prompt was played whole, or cut.
type SaidV1 struct {
	Prompt  string `json:"prompt"`
	Dialect string `json:"dialect,omitempty"`
	Cut     bool   `json:"cut,omitempty"`
}

// ChoseV1: the resident chose.
type ChoseV1 struct {
	Choice string `json:"choice"` // callback, voicemail, or a menu's option
	Key    string `json:"key,omitempty"`
}

// RangV1: an operator's phone or desk rings.
type RangV1 struct {
	Operator UserID  `json:"operator"`
	Offer    OfferID `json:"offer"`
}

// UnrangV1: it stopped without an answer.
type UnrangV1 struct {
	Operator UserID  `json:"operator"`
	Offer    OfferID `json:"offer"`
	Why      string  `json:"why"` // no_answer, busy, declined, unreachable, resident_left, error
}

// AnsweredV1: human audio bridged, first reply of a person, submission taken in hand.
type AnsweredV1 struct {
	Operator UserID  `json:"operator"`
	Offer    OfferID `json:"offer,omitempty"`
	Codec    string  `json:"codec,omitempty"`
	Wideband bool    `json:"wideband,omitempty"`
}

// HeldV1 and ResumedV1: one side put the other on hold, and came back.
type (
	HeldV1 struct {
		By string `json:"by"`
	} // resident or an operator's id
	ResumedV1 struct {
		By string `json:"by"`
	}
)

// MovedV1: handed on to another operator or queue.
type MovedV1 struct {
	By UserID `json:"by"`
	To string `json:"to"`
}

// SilentV1: no audio from one side for the set time.
type SilentV1 struct {
	Side    string `json:"side"` // resident, operator
	Seconds int    `json:"seconds"`
}

// MessageV1: one chat message, durable before its tick. Personal: text.
type MessageV1 struct {
	Number      int          `json:"number"`           // in the chat, from 1
	From        string       `json:"from"`             // resident or an operator's id
	Dedupe      string       `json:"dedupe,omitempty"` // the id that its writer gave it: the same again in this chat is the same message
	Attachments []Attachment `json:"attachments,omitempty"`
}

// IdentifiedV1: the resident of a contact that came without a caller, or with another, has left a number to be called back on. It may come
// before the end or after it; the latest stands, and stands against the offer's. Personal: number, name.
type IdentifiedV1 struct {
	Caller Token  `json:"caller"`
	Known  string `json:"known,omitempty"` // id of the resident's card, if there is one
}

// Attachment is a file beside a message or submission. The bytes are in the attachment store, sealed.
type Attachment struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// RecordedV1: a recording is complete as far as it will be, or was ordered and could not be made: then Failed, and there is nothing to hear.
type RecordedV1 struct {
	ID       RecordingID `json:"id"`
	Millis   int64       `json:"ms"`
	Channels int         `json:"channels"`
	SHA256   string      `json:"sha256,omitempty"`
	CutShort bool        `json:"cut_short,omitempty"`
	Failed   bool        `json:"failed,omitempty"`
}

// EndedV1 is written exactly once for each contact; only a provisional one is followed by another, which replaces it.
type EndedV1 struct {
	Outcome     Outcome `json:"outcome"`
	Reason      string  `json:"reason,omitempty"`
	By          By      `json:"by"`
	Q850        int     `json:"q850,omitempty"` // cause, ITU-T Q.850; 0: none was given
	WaitedMS    int64   `json:"waited_ms"`      // from arrival to the answer, or to the end without one
	RangMS      int64   `json:"rang_ms,omitempty"`
	TalkedMS    int64   `json:"talked_ms,omitempty"`
	Flags       []Flag  `json:"flags,omitempty"`
	Provisional bool    `json:"provisional,omitempty"` // ended by the next start or a standby for a writer that died
}

// Owed says whether this end leaves us owing the caller a call.
func (e *EndedV1) Owed() bool {
	return e.Outcome.Failed() && !(e.Outcome == Refused && e.Reason == ReasonBlocked)
}

func (e *EndedV1) check() error {
	if !e.Outcome.Valid() {
		return fmt.Errorf("%q is no outcome", e.Outcome)
	}
	if e.WaitedMS < 0 || e.RangMS < 0 || e.TalkedMS < 0 {
		return fmt.Errorf("durations cannot be negative")
	}
	return nil
}

func (e *OfferedV1) check() error {
	if !e.Channel.Valid() {
		return fmt.Errorf("%q is no channel", e.Channel)
	}
	if e.Line == "" {
		return fmt.Errorf("no line")
	}
	return nil
}

// ErasedV1: a person's words are to be forgotten; every projection does.
type ErasedV1 struct {
	By     UserID `json:"by"`
	Ground string `json:"ground"`
}

// CallbackBornV1: somebody we failed is owed a call. Personal: number.
type CallbackBornV1 struct {
	Caller       Token       `json:"caller"`
	Line         LineID      `json:"line"`
	Cause        Outcome     `json:"cause"` // outcome of the first attempt
	FirstAttempt time.Time   `json:"first_attempt"`
	Due          time.Time   `json:"due"`
	Contacts     []ContactID `json:"contacts"`
}

// CallbackJoinedV1: one more attempt of the same caller.
type CallbackJoinedV1 struct {
	Contact ContactID `json:"contact"`
	Cause   Outcome   `json:"cause"`
}

// CallbackTakenV1 and CallbackReleasedV1: an operator has it in hand, or gives it back.
type (
	CallbackTakenV1 struct {
		Operator UserID `json:"operator"`
	}
	CallbackReleasedV1 struct {
		Operator UserID `json:"operator"`
	}
)

// Results of a try to reach somebody.
const (
	TryReached  = "reached"
	TryNoAnswer = "no_answer"
	TryBusy     = "busy"
	TryRefused  = "refused"
	TryFailed   = "failed"
)

// CallbackTriedV1: we phoned. Going out to someone is not a contact: an attempt belongs to its callback.
type CallbackTriedV1 struct {
	Attempt   AttemptID   `json:"attempt"`
	Operator  UserID      `json:"operator"`
	Result    string      `json:"result"` // one of Try…
	Seconds   int64       `json:"seconds"`
	Recording RecordingID `json:"recording,omitempty"`
}

// What clears a callback.
const (
	ClearedResidentReached = "resident_reached_us"
	ClearedWeReached       = "we_reached"
	ClearedVisit           = "visit"
	ClearedSupervisor      = "supervisor"
)

// CallbackClearedV1: the duty has ended.
type CallbackClearedV1 struct {
	By      string    `json:"by"` // one of Cleared…
	Contact ContactID `json:"contact,omitempty"`
	Attempt AttemptID `json:"attempt,omitempty"`
	Case    CaseID    `json:"case,omitempty"`
	User    UserID    `json:"user,omitempty"`
	Reason  string    `json:"reason,omitempty"`
}

// CallbackVisitV1: after enough failed tries a grid worker is asked to go. Personal: number, name, address.
type CallbackVisitV1 struct {
	Tries    int         `json:"tries"`
	Line     LineID      `json:"line"`
	Caller   Token       `json:"caller"`
	Contacts []ContactID `json:"contacts"`
}

// Sources of a case.
const (
	FromOperator   = "operator"
	FromSubmission = "submission"
	FromChat       = "chat"
	FromVisit      = "visit"
	FromPatrol     = "patrol"
)

// CaseOpenedV1. Personal: words, place, address, name, number.
type CaseOpenedV1 struct {
	Source     string      `json:"source"` // one of From…
	Contacts   []ContactID `json:"contacts,omitempty"`
	Callback   CallbackID  `json:"callback,omitempty"`
	Category   string      `json:"category,omitempty"`
	Grid       GridID      `json:"grid,omitempty"`
	Department string      `json:"department,omitempty"`
	Deadline   time.Time   `json:"deadline,omitzero"`
	Rule       string      `json:"rule,omitempty"` // id of the rule that decided
	Why        string      `json:"why,omitempty"`  // how the place was found, in words
	Confidence int         `json:"confidence"`     // of the grid, per cent
	By         UserID      `json:"by,omitempty"`
}

// The life of a case after it is open. Who did it is in By.
type (
	// CaseAttachedV1: one more contact about the same matter.
	CaseAttachedV1 struct {
		Contact ContactID `json:"contact"`
		By      UserID    `json:"by,omitempty"`
	}
	// CaseRoutedV1: it goes to another grid or department.
	CaseRoutedV1 struct {
		Grid       GridID `json:"grid,omitempty"`
		Department string `json:"department,omitempty"`
		FromGrid   GridID `json:"from_grid,omitempty"`
		FromDept   string `json:"from_department,omitempty"`
		Why        string `json:"why"`
		Overruled  bool   `json:"overruled,omitempty"` // a person decided against the rule
		Confidence int    `json:"confidence"`
		By         UserID `json:"by,omitempty"`
	}
	CaseAcceptedV1 struct {
		By UserID `json:"by,omitempty"`
	}
	CaseDispatchedV1 struct {
		To string `json:"to"`
		By UserID `json:"by,omitempty"`
	}
	// CaseStartedV1: somebody works on it.
	CaseStartedV1 struct {
		By UserID `json:"by,omitempty"`
	}
	CaseReturnedV1 struct {
		Why string `json:"why"`
		By  UserID `json:"by,omitempty"`
	}
	CaseExtendedV1 struct {
		Until time.Time `json:"until"`
		Why   string    `json:"why"`
		By    UserID    `json:"by,omitempty"`
	}
	// CaseAnsweredV1: the one in charge says what was done. Personal: text.
	CaseAnsweredV1 struct {
		By UserID `json:"by,omitempty"`
	}
	CaseClosedV1 struct {
		Result string `json:"result"`    // solved, explained, not_ours, met, not_found …
		Known  string `json:"how_known"` // how we know: resident_said, seen, department_said
		By     UserID `json:"by,omitempty"`
	}
	CaseReopenedV1 struct {
		Contact ContactID `json:"contact,omitempty"`
		Why     string    `json:"why"`
		By      UserID    `json:"by,omitempty"`
	}
	// CaseNotedV1. Personal: text.
	CaseNotedV1 struct {
		By UserID `json:"by,omitempty"`
	}
)

// OperatorStateV1: an operator's state changed.
type OperatorStateV1 struct {
	State  string `json:"state"` // offline, idle, reserved, ringing, talking, wrap_up, break, unreachable
	Before string `json:"before"`
	Reason string `json:"reason,omitempty"`
}

// OperatorSignedV1: in or out of the desk.
type OperatorSignedV1 struct {
	In bool `json:"in"`
}

// LineChangedV1: a row of the ledger is new or has changed.
type LineChangedV1 struct {
	Line Line   `json:"line"`
	By   UserID `json:"by,omitempty"`
}

// LineTestedV1: what a test call found.
type LineTestedV1 struct {
	Result string `json:"result"`
	Millis int64  `json:"ms"`
}

// GridImportedV1: a new version of the grid registry is in force.
type GridImportedV1 struct {
	Version string `json:"version"`
	Rows    int    `json:"rows"`
	Refused int    `json:"refused"`
}

// PersonRevealedV1: somebody looked at what is masked.
type PersonRevealedV1 struct {
	Viewer UserID  `json:"viewer"`
	What   Subject `json:"what"`
	Field  string  `json:"field"`
	Reason string  `json:"reason"`
}

// RecordingPlayedV1: somebody listened.
type RecordingPlayedV1 struct {
	Viewer    UserID      `json:"viewer"`
	Recording RecordingID `json:"recording"`
	FromMS    int64       `json:"from_ms"`
	ToMS      int64       `json:"to_ms"`
}

// ListExportedV1: somebody took a list away as a file. Written before its first byte goes out.
type ListExportedV1 struct {
	Viewer UserID `json:"viewer"`
	List   string `json:"list"`             // contacts, unreturned, cases, cleared, history, team, audit, search
	Format string `json:"format"`           // csv, xlsx
	Filter string `json:"filter,omitempty"` // how it was narrowed, as the address of the page has it; what was searched for is a star in it
}

// How somebody signed in, or did not.
const (
	SignedIn     = "in"
	SignedOut    = "out"
	SignInFailed = "failed" // a wrong password for an account that there is
)

// AccountSignedV1: somebody signed in or out, or somebody tried to with a wrong password.
type AccountSignedV1 struct {
	User UserID `json:"user"`
	How  string `json:"how"` // one of SignedIn, SignedOut, SignInFailed
	Wall bool   `json:"wall,omitempty"`
}

// What happened to an account or a token.
const (
	AccountMade     = "made"
	AccountChanged  = "changed" // name, role or grids
	AccountDisabled = "disabled"
	AccountEnabled  = "enabled"
	AccountReset    = "reset"    // a new one-time password
	AccountPassword = "password" // its owner chose a new one
	AccountPhone    = "phone"    // new credentials for the phone
	TokenMade       = "token_made"
	TokenRevoked    = "token_revoked"
)

// AccountChangedV1: an account or a token is new or has changed.
type AccountChangedV1 struct {
	User   UserID `json:"user,omitempty"` // whose account; empty for tokens
	Token  string `json:"token,omitempty"`
	By     UserID `json:"by,omitempty"` // empty: the command line
	What   string `json:"what"`         // one of Account…, Token…
	Role   string `json:"role,omitempty"`
	Before string `json:"before,omitempty"` // the role before, when that changed
}

// NodeStartedV1: the program started.
type NodeStartedV1 struct {
	Version string `json:"version"`
	Epoch   uint32 `json:"epoch"`
	Open    int    `json:"open_contacts"`
}

// NodeDegradedV1 and NodeRecoveredV1: something does not write, and does again.
type (
	NodeDegradedV1 struct {
		What    string    `json:"what"`
		Since   time.Time `json:"since"`
		Waiting int       `json:"waiting"`
	}
	NodeRecoveredV1 struct {
		What   string    `json:"what"`
		Since  time.Time `json:"since"`
		Waited int       `json:"waited"`
	}
)
