package web

import (
	"context"
	"iter"
	"time"

	"yingda/intake"
	"yingda/internal/users"
)

// History is what was, over days, weeks and months.
type History interface {
	Of(ctx context.Context, f HistoryFilter) (Past, error)
}

// HistoryFilter says which time. From and To are midnights of the office: [From, To), at most 400 days.
type HistoryFilter struct {
	From, To time.Time
	By       string // what a row of the picture is: day, week, month
	Line     intake.LineID
	Channel  intake.Channel
}

// Past is a span of time beside the one before it.
type Past struct {
	AsOf                 time.Time
	From, To             time.Time // what is counted; To is not later than now
	BeforeFrom, BeforeTo time.Time // the span before: as many days, and as far into the last of them
	Rows                 []PastRow // oldest first
	Sum, Before          Sums
	Figures              []PastFigure
	Outcomes             []PastOutcome // without anybody having been reached, the most first
	Split                []PastSplit   // by line and channel, the most first
	Lines                []Choice
}

// Sums of a span: Offered = Answered + Lost + Open.
type Sums struct{ Offered, Answered, Lost, Open int64 }

// PastRow is a day, a week or a month by the quarters of an hour of the day. Quarters to come are not in it when it is the last.
type PastRow struct {
	From, To      time.Time // midnights
	Quarters      []HeatQuarter
	Lost, Offered int
}

// PastFigure is a rate of this span and the one before.
type PastFigure struct{ Now, Before Figure }

// PastOutcome is how many ended so.
type PastOutcome struct {
	Outcome     intake.Outcome
	Now, Before int64
}

// PastSplit is a line and a channel.
type PastSplit struct {
	Line     Choice
	Channel  intake.Channel
	Now, Was Sums
}

// Team is the operators: facts with which to help them, not a ranking.
type Team interface {
	// Now is who waits and who is at a desk.
	Now(ctx context.Context) (TeamNow, error)
	// Over is what operators did with the contacts that arrived in [from, to), at most 100 days.
	Over(ctx context.Context, from, to time.Time) (TeamPast, error)
}

// TeamNow is this second.
type TeamNow struct {
	AsOf    time.Time
	Waiting []Waits // who wait, line by line, in the order in which they are served
	Seats   []Seat  // by name
	Known   bool    // false: the switchboard did not answer in time, and nobody knows
}

// Waits is one who waits for an operator.
type Waits struct {
	Contact intake.ContactID
	Channel intake.Channel
	LineID  intake.LineID
	Line    string
	Person  Person
	Arrived time.Time
	Why     string // they go ahead: older_caller, calls_again, callback_due …; "" in the order of arrival
	Rings   Staff  // whose phone or desk rings for them
}

// Seat is an operator and what they do.
type Seat struct {
	Staff
	State  string // offline, idle, reserved, ringing, talking, wrap_up, break, unreachable
	Since  time.Time
	Reason string             // of a break
	Phone  bool               // their phone is registered
	With   []intake.ContactID // whom they talk with
}

// TeamPast is a span of time.
type TeamPast struct {
	AsOf     time.Time
	From, To time.Time
	Rows     []TeamRow // by name
}

// TeamRow is one operator's. Calls, Chats and Other make Answered.
type TeamRow struct {
	Staff
	Answered, Calls, Chats, Other int64
	QuickDrops                    int64 // answered and cut off by us within ten seconds
	Rings, Missed                 int64 // how often it rang at their place; and was not taken before the resident left
	MissedWhy                     map[string]int64
	Talked, Wrapped, OnBreak      time.Duration
	AtDesk                        time.Duration // signed in, breaks included
}

// Trail is the audit log: who looked at what, took what away, changed what.
type Trail interface {
	List(ctx context.Context, f TrailFilter) (TrailPage, error)
	// Exported, Signed and Account write down what somebody is about to do, or has just done. When that fails it must not happen.
	Exported(ctx context.Context, v Viewer, e intake.ListExportedV1) error
	Signed(ctx context.Context, e intake.AccountSignedV1) error
	Account(ctx context.Context, e intake.AccountChangedV1) error
	// AccountWith writes it down in the transaction that changes the account.
	AccountWith(e intake.AccountChangedV1) users.Also
}

// TrailKinds are what the audit log can be narrowed to, under "trail.kind.".
func TrailKinds() []string {
	return []string{"revealed", "played", "exported", "signed", "account", "line", "callback", "erased", "grid"}
}

// TrailFilter narrows; zero values mean all. Newest first.
type TrailFilter struct {
	From, To time.Time
	Who      intake.UserID
	Kind     string // one of TrailKinds
	After    string // cursor of the page before
	Limit    int
}

// TrailPage is a page of the audit log.
type TrailPage struct {
	AsOf  time.Time
	Rows  []TrailRow
	Next  string // cursor, "" at the end
	Staff []Staff
}

// TrailRow is one entry.
type TrailRow struct {
	At      time.Time
	Who     Staff            // zero: the program itself, or the command line
	Kind    string           // one of TrailKinds
	What    string           // what exactly, under "trail.what." and Kind
	Contact intake.ContactID // the contact that it concerns; "" none
	Of      string           // what else it concerns: a line, a colleague, a list; names and codes, never a number
	More    []Detail         // in what way, in a settled order
	Reason  string           // in the viewer's own words
}

// Detail is a part of an entry: its name under "trail.more.", and a value without anybody's number.
type Detail struct{ Name, Value string }

// Lists gives whole lists for exports, row after row as they are read, in pages so that nothing is held for long. Each ends with its first
// error.
type Lists interface {
	Contacts(ctx context.Context, f ContactFilter) iter.Seq2[ContactRow, error]
	Unreturned(ctx context.Context, f UnreturnedFilter) iter.Seq2[OwedPerson, error]
	// Cleared are the callbacks that ended in [from, to), oldest first.
	Cleared(ctx context.Context, from, to time.Time) iter.Seq2[Cleared, error]
	Cases(ctx context.Context, v Viewer, f CaseFilter) iter.Seq2[CaseRow, error]
	Trail(ctx context.Context, f TrailFilter) iter.Seq2[TrailRow, error]
	// Hits gives at most MostHits.
	Hits(ctx context.Context, v Viewer, q Query) iter.Seq2[Hit, error]
}

// MostHits of one search that an export holds.
const MostHits = 5000
