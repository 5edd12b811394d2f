package search

import (
	"slices"
	"strings"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// Indexed says whether events of the subject belong to a document.
func Indexed(s intake.Subject) bool {
	switch Kind(s.Kind()) {
	case Contact, Case, Callback:
		return s.ID() != ""
	}
	return false
}

// Apply folds an event into the document of its subject and says whether the document changed. A zero document becomes
// that of the subject. An event of another subject, one that is in the document already, and one of a type that
// changes nothing here (a type we do not know among them) leave it as it is; so a replay, whole or in part, is harmless.
//
// The events of one epoch must come in their order. Those of an earlier epoch may come after those of a later one, as they do when a node
// died and its disk is found: the document is then what it would be, had all come in their order, but for Trail.Late.
func Apply(doc *Document, e intake.Event) (changed bool) {
	if !Indexed(e.Subject) || e.Data == nil || e.Sequence == 0 || doc.ID != "" && (doc.ID != e.Subject || doc.seen(e.Sequence)) {
		return false
	}
	next := *doc
	if next.ID == "" {
		next.ID, next.Kind, next.State = e.Subject, Kind(e.Subject.Kind()), Open
	}
	p := next.pen(e.Sequence)
	if _, ok := e.Data.(*intake.ErasedV1); ok {
		p.forget() // whatever its subject is: a case or callback can be erased too
	} else if !fold(p, e) {
		return false
	}
	if e.Sequence > next.Sequence {
		next.Sequence, next.Updated = e.Sequence, intake.Millis(e.Time)
	}
	*doc = next
	return true
}

// fold does what each type does to the document of its own kind, and says whether the type does anything: that depends on the event alone,
// so that the document's sequence is the same in whatever order they come. It must not write into slices that doc shares with
// the document before: add copies.
func fold(doc pen, e intake.Event) bool {
	switch doc.Kind {
	case Contact:
		return foldContact(doc, e)
	case Case:
		return foldCase(doc, e)
	default:
		return foldCallback(doc, e)
	}
}

func foldContact(doc pen, e intake.Event) bool {
	switch d := e.Data.(type) {
	case *intake.OfferedV1:
		if doc.last(wroteOrigin) {
			doc.Channel, doc.Line, doc.Switchboard = d.Channel, d.Line, d.Switchboard
			doc.Arrived = intake.Millis(e.Time)
			if !doc.Erased {
				doc.SIPCallID = d.SIPCallID
			}
		}
		caller(doc, d.Caller, d.Known)
		personal(doc, e.Personal)
	case *intake.IdentifiedV1:
		caller(doc, d.Caller, d.Known)
		personal(doc, e.Personal)
	case *intake.AnsweredV1:
		if doc.last(wroteOperator) {
			doc.Operator = d.Operator
		}
		if doc.first(wroteAnswered) {
			doc.Answered = intake.Millis(e.Time)
		}
	case *intake.MessageV1:
		if e.Personal.IsZero() {
			return false
		}
		personal(doc, e.Personal)
	case *intake.RecordedV1:
		if d.Failed {
			return false
		}
		recorded(doc, d.ID)
	case *intake.EndedV1:
		end(doc, e, d)
	default:
		return false
	}
	return true
}

// end takes an end: a proper one stands against a provisional one, whichever is later; of two of a kind the later stands.
func end(doc pen, e intake.Event, d *intake.EndedV1) {
	switch ended := doc.State == Ended; {
	case ended && d.Provisional && !doc.Provisional:
		return
	case ended && doc.Provisional && !d.Provisional:
		doc.take(wroteEnd)
	case !doc.last(wroteEnd):
		return
	}
	doc.State, doc.Outcome, doc.Reason = Ended, d.Outcome, d.Reason
	doc.Flags, doc.Provisional = slices.Clone(d.Flags), d.Provisional
	doc.Ended = intake.Millis(e.Time)
}

func foldCase(doc pen, e intake.Event) bool {
	state := func(s State) {
		if doc.last(wroteState) {
			doc.State = s
		}
	}
	switch d := e.Data.(type) {
	case *intake.CaseOpenedV1:
		state(Open)
		if doc.last(wroteOrigin) {
			doc.Arrived = intake.Millis(e.Time)
			doc.Source, doc.Category, doc.Callback, doc.Operator = d.Source, d.Category, d.Callback, d.By
		}
		if doc.last(wroteGrid) {
			doc.Grid = d.Grid
		}
		if doc.last(wroteDepartment) {
			doc.Department = d.Department
		}
		if doc.last(wroteDeadline) {
			doc.Deadline = d.Deadline
		}
		for _, c := range d.Contacts {
			concern(doc, c)
		}
	case *intake.CaseAttachedV1:
		concern(doc, d.Contact)
	case *intake.CaseRoutedV1:
		if d.Grid != "" && doc.last(wroteGrid) {
			doc.Grid = d.Grid
		}
		if d.Department != "" && doc.last(wroteDepartment) {
			doc.Department = d.Department
		}
	case *intake.CaseAcceptedV1:
		state(Accepted)
	case *intake.CaseDispatchedV1:
		state(Dispatched)
	case *intake.CaseStartedV1:
		state(InProgress)
	case *intake.CaseReturnedV1:
		state(Returned)
	case *intake.CaseExtendedV1:
		if doc.last(wroteDeadline) {
			doc.Deadline = d.Until
		}
	case *intake.CaseAnsweredV1:
		state(Answered)
	case *intake.CaseClosedV1:
		state(Closed)
		if doc.last(wroteEnd) {
			doc.Reason, doc.Ended = d.Result, intake.Millis(e.Time)
		}
	case *intake.CaseReopenedV1:
		state(Reopened)
		if doc.last(wroteEnd) {
			doc.Reason, doc.Ended = d.Why, time.Time{}
		}
		concern(doc, d.Contact)
	case *intake.CaseNotedV1:
	default:
		return false
	}
	personal(doc, e.Personal)
	return true
}

func foldCallback(doc pen, e intake.Event) bool {
	held := func(s State, by intake.UserID) {
		if doc.last(wroteState) {
			doc.State = s
		}
		if doc.last(wroteOperator) {
			doc.Operator = by
		}
	}
	switch d := e.Data.(type) {
	case *intake.CallbackBornV1:
		if doc.last(wroteOrigin) {
			doc.Line, doc.Outcome = d.Line, d.Cause
			doc.Arrived, doc.Deadline = intake.Millis(d.FirstAttempt), d.Due
		}
		caller(doc, d.Caller, "")
		for _, c := range d.Contacts {
			concern(doc, c)
		}
	case *intake.CallbackJoinedV1:
		concern(doc, d.Contact)
	case *intake.CallbackTakenV1:
		held(Taken, d.Operator)
	case *intake.CallbackReleasedV1:
		held(Open, "")
	case *intake.CallbackTriedV1:
		doc.Tries++
		if d.Recording != "" {
			recorded(doc, d.Recording)
		}
	case *intake.CallbackClearedV1:
		if doc.last(wroteState) {
			doc.State = Cleared
		}
		if doc.last(wroteEnd) {
			doc.Reason, doc.Ended = d.By, intake.Millis(e.Time)
		}
	case *intake.CallbackVisitV1:
		for _, c := range d.Contacts {
			concern(doc, c)
		}
	default:
		return false
	}
	personal(doc, e.Personal)
	return true
}

// add appends to a copy, since the document before shares the array.
func add[T any](list []T, v T) []T { return append(slices.Clip(list), v) }

func concern(doc pen, c intake.ContactID) {
	if c != "" {
		doc.Contacts = put(doc, doc.Contacts, c, contacts)
	}
}

func recorded(doc pen, id intake.RecordingID) {
	if !doc.Erased {
		doc.Recordings = put(doc, doc.Recordings, id, recordings)
	}
}

func caller(doc pen, t intake.Token, card string) {
	if !doc.Erased && doc.last(wroteCaller) {
		doc.Caller, doc.Resident = t, card
	}
}

// personal takes in what an event says about a person: the newest number, name, address and place, and all of the words up to
// MaxWords characters.
func personal(doc pen, p intake.Personal) {
	if doc.Erased {
		return
	}
	if !p.Number.IsZero() && doc.last(wroteNumber) {
		doc.Number = p.Number
	}
	if !p.Name.IsZero() && doc.last(wroteName) {
		doc.Name = p.Name
	}
	if !p.Address.IsZero() && doc.last(wroteAddress) {
		doc.Address = p.Address
	}
	if p.Place != nil && doc.last(wrotePlace) {
		at := *p.Place
		doc.Place = &at
	}
	if !p.Text.IsZero() {
		doc.say(strings.ToValidUTF8(p.Text.Reveal(), ""))
	}
}

// cut gives at most n characters of s.
func cut(s string, n int) string {
	if n <= 0 {
		return ""
	}
	for i := range s {
		if n--; n < 0 {
			return s[:i]
		}
	}
	return s
}

// forget leaves what the books need and nothing that names or describes a person, the caller's token included: with the
// number known, it would tell who phoned.
func forget(doc *Document) {
	doc.Erased = true
	doc.Number, doc.Name, doc.Address, doc.Place, doc.Words = pii.Phone{}, pii.Name{}, pii.Address{}, nil, nil
	doc.Caller, doc.Resident, doc.SIPCallID, doc.Recordings = "", "", "", nil
}
