package search

import (
	"slices"
	"strings"
	"time"
	"unicode/utf8"

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
// that of the subject. An event of another subject, one that is not newer than the document, and one of a type that
// changes nothing here (a type we do not know among them) leave it as it is; so a replay, whole or in part, is harmless.
func Apply(doc *Document, e intake.Event) (changed bool) {
	if !Indexed(e.Subject) || e.Data == nil || e.Sequence <= doc.Sequence || doc.ID != "" && doc.ID != e.Subject {
		return false
	}
	next := *doc
	if next.ID == "" {
		next.ID, next.Kind, next.State = e.Subject, Kind(e.Subject.Kind()), Open
	}
	if _, ok := e.Data.(*intake.ErasedV1); ok {
		forget(&next) // whatever its subject is: a case or callback can be erased too
	} else if !fold(&next, e) {
		return false
	}
	next.Sequence, next.Updated = e.Sequence, intake.Millis(e.Time)
	*doc = next
	return true
}

// fold does what each type does to the document of its own kind. It must not write into slices that doc shares with the
// document before: add copies.
func fold(doc *Document, e intake.Event) bool {
	switch doc.Kind {
	case Contact:
		return foldContact(doc, e)
	case Case:
		return foldCase(doc, e)
	default:
		return foldCallback(doc, e)
	}
}

func foldContact(doc *Document, e intake.Event) bool {
	switch d := e.Data.(type) {
	case *intake.OfferedV1:
		doc.Channel, doc.Line, doc.Switchboard = d.Channel, d.Line, d.Switchboard
		doc.Caller, doc.Resident, doc.SIPCallID = d.Caller, d.Known, d.SIPCallID
		doc.Arrived = intake.Millis(e.Time)
		personal(doc, e.Personal)
	case *intake.IdentifiedV1:
		doc.Caller, doc.Resident = d.Caller, d.Known
		personal(doc, e.Personal)
	case *intake.AnsweredV1:
		doc.Operator = d.Operator
		if doc.Answered.IsZero() {
			doc.Answered = intake.Millis(e.Time)
		}
	case *intake.MessageV1:
		if e.Personal.IsZero() {
			return false
		}
		personal(doc, e.Personal)
	case *intake.RecordedV1:
		if d.Failed || slices.Contains(doc.Recordings, d.ID) {
			return false
		}
		doc.Recordings = add(doc.Recordings, d.ID)
	case *intake.EndedV1: // a later one replaces a provisional one
		doc.State, doc.Outcome, doc.Reason = Ended, d.Outcome, d.Reason
		doc.Flags = slices.Clone(d.Flags)
		doc.Ended = intake.Millis(e.Time)
	default:
		return false
	}
	return true
}

func foldCase(doc *Document, e intake.Event) bool {
	switch d := e.Data.(type) {
	case *intake.CaseOpenedV1:
		doc.State, doc.Arrived = Open, intake.Millis(e.Time)
		doc.Source, doc.Category, doc.Callback, doc.Operator = d.Source, d.Category, d.Callback, d.By
		doc.Grid, doc.Department, doc.Deadline = d.Grid, d.Department, d.Deadline
		for _, c := range d.Contacts {
			concern(doc, c)
		}
	case *intake.CaseAttachedV1:
		concern(doc, d.Contact)
	case *intake.CaseRoutedV1:
		if d.Grid != "" {
			doc.Grid = d.Grid
		}
		if d.Department != "" {
			doc.Department = d.Department
		}
	case *intake.CaseAcceptedV1:
		doc.State = Accepted
	case *intake.CaseDispatchedV1:
		doc.State = Dispatched
	case *intake.CaseStartedV1:
		doc.State = InProgress
	case *intake.CaseReturnedV1:
		doc.State = Returned
	case *intake.CaseExtendedV1:
		doc.Deadline = d.Until
	case *intake.CaseAnsweredV1:
		doc.State = Answered
	case *intake.CaseClosedV1:
		doc.State, doc.Outcome, doc.Reason = Closed, "", d.Result
		doc.Ended = intake.Millis(e.Time)
	case *intake.CaseReopenedV1:
		doc.State, doc.Reason = Reopened, d.Why
		doc.Ended = time.Time{}
		concern(doc, d.Contact)
	case *intake.CaseNotedV1:
	default:
		return false
	}
	personal(doc, e.Personal)
	return true
}

func foldCallback(doc *Document, e intake.Event) bool {
	switch d := e.Data.(type) {
	case *intake.CallbackBornV1:
		doc.Caller, doc.Line, doc.Outcome = d.Caller, d.Line, d.Cause
		doc.Arrived, doc.Deadline = intake.Millis(d.FirstAttempt), d.Due
		for _, c := range d.Contacts {
			concern(doc, c)
		}
	case *intake.CallbackJoinedV1:
		concern(doc, d.Contact)
	case *intake.CallbackTakenV1:
		doc.State, doc.Operator = Taken, d.Operator
	case *intake.CallbackReleasedV1:
		doc.State, doc.Operator = Open, ""
	case *intake.CallbackTriedV1:
		doc.Tries++
		if d.Recording != "" {
			doc.Recordings = add(doc.Recordings, d.Recording)
		}
	case *intake.CallbackClearedV1:
		doc.State, doc.Reason = Cleared, d.By
		doc.Ended = intake.Millis(e.Time)
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

func concern(doc *Document, c intake.ContactID) {
	if c != "" && !slices.Contains(doc.Contacts, c) {
		doc.Contacts = add(doc.Contacts, c)
	}
}

// personal takes in what an event says about a person: the newest number, name, address and place, and all of the words up to
// MaxWords characters.
func personal(doc *Document, p intake.Personal) {
	if doc.Erased {
		return
	}
	if !p.Number.IsZero() {
		doc.Number = p.Number
	}
	if !p.Name.IsZero() {
		doc.Name = p.Name
	}
	if !p.Address.IsZero() {
		doc.Address = p.Address
	}
	if p.Place != nil {
		at := *p.Place
		doc.Place = &at
	}
	if p.Text.IsZero() {
		return
	}
	room := MaxWords
	for _, w := range doc.Words {
		room -= utf8.RuneCountInString(w.Reveal())
	}
	if text := cut(strings.ToValidUTF8(p.Text.Reveal(), ""), room); text != "" {
		doc.Words = add(doc.Words, pii.NewText(text))
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
