package web

import (
	"context"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// Worker is a grid worker's day: people to visit and cases of their own grids. Nothing here holds anybody's number; a call goes
// through the hotline. Errors: ErrNotFound, Refusal, and of Call those of Callbacks.Call.
type Worker interface {
	Today(ctx context.Context, v Viewer) (WorkerDay, error)
	One(ctx context.Context, v Viewer, id intake.CaseID) (WorkerCase, error)
	// Do brings about what the worker did, perhaps hours ago in a dead spot. The same act.ID again does nothing more and gives the same
	// answer: a phone sends what it has kept until it hears that it was taken.
	Do(ctx context.Context, v Viewer, act WorkerAct) (WorkerDone, error)
	// Call rings the viewer's own phone on the hotline and, when it is taken, the resident's.
	Call(ctx context.Context, v Viewer, id intake.CaseID) error
}

// WorkerDay is the list.
type WorkerDay struct {
	AsOf       time.Time
	Grids      []Plate
	Households int  // in these grids, 0: not known
	Phone      bool // the viewer's phone is on the hotline: Call works
	Visits     []WorkerCase
	Mine       []WorkerCase // wait for my answer
	Others     []WorkerCase // answered, returned, or with a department
}

// WorkerCase is a case as its grid worker sees it.
type WorkerCase struct {
	CaseRow
	Person   Person // never with a number
	Words    pii.Text
	Answer   pii.Text
	Address  pii.Address
	Visit    bool // go there: nobody reached them by phone
	Alone    bool // lives alone
	First    time.Time
	Theirs   []time.Time
	Ours     []Try
	Notes    []WorkerNote
	Shown    string // our number, as the resident sees it when called
	Phone    bool   // Call works
	Asked    time.Time
	AskedWas string // what came of the call that was asked for: a result of a Try, "" not yet
	Acts     []string
}

// WorkerNote is something that was noted on a case.
type WorkerNote struct {
	At   time.Time
	By   string
	Text pii.Text
}

// WorkerActs are what a WorkerAct can be:
//
//	met, family_ok            visit: the person was met, the family says all is well; the case closes and the callback ends
//	trouble                   visit: something happened, help is needed; it goes back to whoever dispatches, with the words
//	not_found                 visit: nobody there; it stays open
//	accept, answer, return, note   of any case of theirs
//	ask_call                  the hotline is asked to call, and to tell
//	report                    the worker saw something: a new case
func WorkerActs() []string {
	return []string{"met", "family_ok", "trouble", "not_found", "accept", "answer", "return", "note", "ask_call", "report"}
}

// WorkerAct is one thing done. ID is a UUID made in the phone.
type WorkerAct struct {
	ID      string
	Kind    string // one of WorkerActs
	Case    intake.CaseID
	Text    pii.Text
	Address pii.Address // report
	At      time.Time   // when it was done by the phone's clock, never after now
}

// WorkerDone is what came of an act.
type WorkerDone struct {
	Case  intake.CaseID
	Again bool // it had been taken in before
}
