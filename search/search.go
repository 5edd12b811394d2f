// Package search is what can be found: one document for each contact, each case and each callback, and the questions that people
// ask of them in their own words.
//
// A consumer of the stream hands events to an Index, which folds each into the document of its subject with Apply and
// keeps the position beside it, so that a crash or a replay changes nothing. An operator's words become a Plan by an
// Analyzer; an index carries the plan out and the Analyzer explains each hit: where it matched and why ("同音" when only
// the sound did). Both indexes use the same Analyzer, so they find the same things.
//
// Each document is the fold of one subject and of nothing else. What concerns several subjects is joined when it is asked:
// a contact "has a callback" when an open callback document names it, so the order in which the two arrive does not matter.
//
// What it does not do: it keeps no index (package bleve does), reads no clock, and decides about nobody's right to see a
// number. Documents hold personal words as pii types, which print masked; only Stored gives them in clear, for the index.
package search

import (
	"context"
	"errors"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// Kind of a document: the kind of its subject.
type Kind string

const (
	Contact  Kind = "contact"
	Case     Kind = "case"
	Callback Kind = "callback"
)

// State is where a case or a callback stands, or whether a contact is still open.
type State string

const (
	Open       State = "open"        // contact: not ended. case: opened, nobody accepted it yet. callback: owed
	Ended      State = "ended"       // contact
	Accepted   State = "accepted"    // case
	Dispatched State = "dispatched"  // case
	InProgress State = "in_progress" // case
	Returned   State = "returned"    // case
	Answered   State = "answered"    // case: the one in charge has said what was done
	Closed     State = "closed"      // case
	Reopened   State = "reopened"    // case
	Taken      State = "taken"       // callback: an operator has it in hand
	Cleared    State = "cleared"     // callback
)

// Document is the fold of one subject. Fields that do not concern its kind are zero.
type Document struct {
	ID       intake.Subject // "contact/…", "case/…", "callback/…"
	Kind     Kind
	Sequence intake.Sequence // the highest of the events in it
	Trail    Trail           // which writer wrote what; see Apply
	State    State
	Erased   bool // its person is forgotten, and stays so whatever comes later

	Channel     intake.Channel
	Line        intake.LineID
	Switchboard intake.SwitchboardID
	Caller      intake.Token // same caller, same token
	Resident    string       // id of the resident's card
	SIPCallID   string
	Operator    intake.UserID // who answered a contact, who has a callback in hand, who opened a case
	Outcome     intake.Outcome
	Reason      string
	Flags       []intake.Flag
	Provisional bool // a contact that a later start or a standby ended for a writer that died; its proper end, found later, stands against it
	Recordings  []intake.RecordingID

	Arrived  time.Time // contact offered, case opened, callback's first attempt
	Answered time.Time
	Ended    time.Time // contact ended, case closed, callback cleared
	Updated  time.Time // of the event with Sequence

	Grid       intake.GridID
	Department string
	Category   string
	Source     string // of a case: one of intake.From…
	Deadline   time.Time
	Contacts   []intake.ContactID // that a case or callback is about, in the order in which they were named
	Callback   intake.CallbackID  // that a case came from
	Tries      int                // of a callback

	Number  pii.Phone
	Name    pii.Name
	Address pii.Address
	Place   *intake.Place
	Words   []pii.Text // in the order in which they were said or written
}

// Contact is the id of a contact's document, else "".
func (d *Document) Contact() intake.ContactID {
	if d.Kind == Contact {
		return intake.ContactID(d.ID.ID())
	}
	return ""
}

// IsOpen says that its matter has not ended: a contact that goes on, a case that is not closed, a callback that is owed.
func (d *Document) IsOpen() bool {
	return d.State != Ended && d.State != Closed && d.State != Cleared
}

// Limits of a query. What is longer is cut, never refused: a person who pastes a letter into the box gets an answer.
const (
	MaxText   = 512    // characters of Query.Text that are read
	MaxLimit  = 200    // hits a page
	MaxOffset = 10_000 // deepest page by offset; beyond it use After
	MaxValues = 200    // values of one filter
	MaxWords  = 32_768 // characters of one document's words that are kept
)

// Query asks for documents. All filters must hold; of the values of one filter any may. The zero Query is everything, newest
// first.
type Query struct {
	Text string // what a person typed or pasted; read as words, never as a language of its own

	Kinds       []Kind
	Channels    []intake.Channel
	Lines       []intake.LineID
	Outcomes    []intake.Outcome
	Grids       []intake.GridID
	Departments []string
	Categories  []string
	States      []State
	Operators   []intake.UserID
	Caller      intake.Token     // everything of one caller
	Contact     intake.ContactID // everything about one contact: itself, its cases, its callbacks
	From, To    time.Time        // arrived in [From, To); zero: no bound
	Open        *bool
	HasCallback *bool // named by a callback that is still owed (a callback: is one itself)

	Newest bool   // newest first even when there is Text; without Text it always is
	Limit  int    // hits on a page; 0: 20, at most MaxLimit
	Offset int    // hits to pass over, at most MaxOffset; ignored with After
	After  string // Result.Next of the page before
}

// Why a hit matched, as the screen says it.
type Why string

const (
	WhyWords   Why = "原话" // the words themselves
	WhySound   Why = "同音" // only the sound: never hide that it was a guess
	WhySynonym Why = "近义" // another word for the same
	WhyChar    Why = "单字" // a query of one character
	WhyNumber  Why = "号码" // a telephone number or a part of it
	WhyName    Why = "姓名" // a name
	WhyAddress Why = "地址" // the address
	WhyID      Why = "编号" // the id of the thing, or a SIP Call-ID
	WhyFilter  Why = "筛选" // no words were asked for
)

// Range is a part [From, To) of a Highlight's text, in bytes.
type Range struct {
	From, To int
	Why      Why
}

// Highlight is a piece of a document with the parts that matched. Numbers, names and addresses are masked in it, runs of
// digits in words too; ranges are those of the masked text.
type Highlight struct {
	Field  string // words, name, number, address, category
	Text   pii.Text
	Ranges []Range
}

// Hit is a document that was found.
type Hit struct {
	ID         intake.Subject
	Kind       Kind
	Score      float64 // comparable within one result; 0 without Text
	Why        []Why   // the strongest first
	Highlights []Highlight
	Document   Document
}

// Result of a query.
type Result struct {
	Hits  []Hit
	Total int    // how many match
	Next  string // for Query.After; empty when there are no more
	Took  time.Duration
}

// Position in a partition of the stream; the same shape as stream.Position, so one converts to the other.
type Position struct {
	Partition int32
	Offset    int64
}

// Errors that a caller can act on.
var (
	ErrClosed = errors.New("search: index is closed")
	ErrCursor = errors.New("search: Query.After is no page of this index")
	ErrBroken = errors.New("search: index is damaged and must be built again")
)

// Index keeps documents.
type Index interface {
	// Apply folds the events, in their order, into their documents and keeps the positions in the same step: both are there or
	// neither. Events of subjects that have no document, and those that a document has already, are passed over. A
	// position never goes back. It is called by one goroutine; when it returns nil, what it wrote is found by Search.
	Apply(ctx context.Context, events []intake.Event, at ...Position) error
	// Search answers a query. It is called by many.
	Search(ctx context.Context, q Query) (Result, error)
	// Get gives the document of a subject; false when there is none.
	Get(ctx context.Context, id intake.Subject) (Document, bool, error)
	// Position gives, by partition, what is kept with the newest documents. After a crash it may be an earlier one, and the documents are
	// those of then: a consumer reads the stream from here and not from what it committed there.
	Position(ctx context.Context) ([]Position, error)
	// Count says how many documents match, without fetching any.
	Count(ctx context.Context, q Query) (int, error)
	Close() error
}
