// Package casebook keeps the cases: their rows, what happened to each, and the registry of grids they are routed by.
//
// A case is opened from a contact by an operator (Open), by a callback that asks for a visit, or by a submission (Apply, the
// consumer of the stream). It is routed by the registry and the rules, and lives by package caselife: every deed goes
// through Do. A change of a row and its event are one transaction.
//
//	book, err := casebook.New(ctx, casebook.Config{Store: db, Rules: set, …})
//	c, err := book.Open(ctx, casebook.OpenCase{Source: intake.FromOperator, Contacts: …, Words: …, Address: …})
//	c, err = book.Do(ctx, c.ID, routing.Accept{By: user})
//
// Registry and rules are kept in memory and swapped whole; a Book may be used by many goroutines at once and starts none
// of its own. The registry's versions are in tables; in force is the newest that is valid now.
//
// What it does not do: it decides nothing by itself, it merges no cases (Similar proposes, a person attaches), and it knows
// no web page.
package casebook

import (
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/routing"
	"yingda/routing/rules"
)

// Group is the name under which the case book reads the stream; its positions are kept in the store.
const Group = "casebook"

// Config of a Book. Store is needed; the rest has a default.
type Config struct {
	Store    *store.DB
	Source   string         // source of its events; "" : "yingda/casebook"
	Epoch    uint32         // of this start (store.NextEpoch); 0: 1
	Rules    *rules.Set     // nil: rules.Default
	Location *time.Location // of the office, for the year in a case's number; nil: UTC
	Now      func() time.Time
	NewID    func() string                    // nil: UUIDv7
	Home     func(intake.Token) intake.GridID // grid of a caller's card; nil: not known
	Older    func(intake.Token) bool          // whether a caller is known as older; nil: nobody is
	Logger   *slog.Logger
}

// Book is the office's cases.
type Book struct {
	config   Config
	registry atomic.Pointer[versions]
	newest   atomic.Int64 // row of the newest registry that was read
	rules    atomic.Pointer[rules.Set]
}

var (
	// ErrNoCase: there is no case of that id.
	ErrNoCase = errors.New("casebook: no such case")
	// ErrRefused is what Refused wraps: the case's state, or what was filled in, does not allow it. Trying again does not help.
	ErrRefused = errors.New("casebook: refused")
)

// Refused carries the sentence for the person who tried. errors.Is(err, ErrRefused) holds.
type Refused struct{ Sentence string }

func (r *Refused) Error() string { return r.Sentence }
func (r *Refused) Unwrap() error { return ErrRefused }

// OpenCase is what an operator, a submission or a patrol says of a matter.
type OpenCase struct {
	Key        string // the same key again gives the same case; "" : none
	Source     string // intake.From…
	Contacts   []intake.ContactID
	Callback   intake.CallbackID
	Caller     intake.Token   // the caller's token, "" when unknown
	Partition  string         // partition key of the contact; "" : Caller, else the first contact, else the case's id
	Channel    intake.Channel // for the rules
	Line       intake.LineID  // for the rules
	Category   string
	Words      pii.Text
	Place      *intake.Place // WGS-84
	Address    pii.Address
	Home       intake.GridID // grid of the caller's card
	Older      bool
	Name       pii.Name
	Number     pii.Phone
	Grid       intake.GridID // chosen by a person; "" : found by the registry
	Department string        // chosen by a person; "" : by the rules; routing.NoDepartment: the grid has it
	By         intake.UserID
	Next       routing.Next
	Result     string // with NextClose; "" : explained
	Known      string // with NextClose; "" : resident_said
	Answer     pii.Text
}

// Proposal is what Open would do, for the form while it is filled in. Nothing is written.
type Proposal struct {
	Found    routing.Found
	Decision routing.Decision
	Similar  []Alike
}

// Alike is a case that may be about the same matter.
type Alike struct {
	Case  routing.Case
	Score float64 // 0 … 1, IDF-weighted Jaccard of the words' bigrams
	Why   string  // 同一网格, 相距 80 米
}

// Step is one event of a case, as its page shows it.
type Step struct {
	Case     intake.CaseID
	Sequence intake.Sequence
	At       time.Time
	Data     intake.Data
	Text     pii.Text // of an answer or note
}

// Filter chooses cases. Empty fields choose all; several fields must all hold.
type Filter struct {
	Grids      []intake.GridID
	Worker     intake.UserID // cases sent to grids whose worker has this account
	Department string
	States     []routing.State
	Category   string
	Source     string // intake.From…
	Callback   intake.CallbackID
	Open       bool      // not closed
	DueBefore  time.Time // with a deadline before this, and open
	OpenedFrom time.Time
	OpenedTo   time.Time
	Newest     bool // newest first; otherwise by deadline, those without one last
	Limit      int  // 0: 100; at most 1000
	Offset     int
}

// GridCount is how a grid stands.
type GridCount struct {
	Grid    intake.GridID
	Open    int
	Overdue int
	Closed  int // in the time asked for
}

// Finding is one difference that an audit found.
type Finding struct {
	Case    intake.CaseID    `json:"case,omitempty"`
	Contact intake.ContactID `json:"contact,omitempty"`
	What    string           `json:"what"`
}

// AuditReport compares cases with their contacts, their events and their numbers.
type AuditReport struct {
	Cases    int       `json:"cases"`
	Open     int       `json:"open"`
	Contacts int       `json:"contacts_with_a_case"`
	Findings []Finding `json:"findings"`
	Named    []Named   `json:"-"` // each contact that a case names: whether there is such a contact, others know
}

// Named is a contact by the case that names it.
type Named struct {
	Case    intake.CaseID
	Contact intake.ContactID
}
