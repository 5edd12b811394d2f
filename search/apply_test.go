package search

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"yingda/intake"
	"yingda/internal/pii"
)

var t0 = time.Date(2026, 11, 3, 1, 0, 0, 0, time.UTC)

// event number n of a subject, n minutes after t0.
func event(subject intake.Subject, n uint32, d intake.Data, p intake.PersonalJSON) intake.Event {
	return intake.Event{Source: "yingda/test", Subject: subject, Sequence: intake.NewSequence(1, n), Time: t0.Add(time.Duration(n) * time.Minute), PartitionKey: "k", Data: d, Personal: p.Conceal()}
}

func foldAll(events ...intake.Event) Document {
	var d Document
	for _, e := range events {
		Apply(&d, e)
	}
	return d
}

func TestContactIsFolded(t *testing.T) {
	const c = "contact/c1"
	d := foldAll(
		event(c, 1, &intake.OfferedV1{Channel: intake.Phone, Line: "12345", Switchboard: "main", Caller: "tok", Known: "r1", SIPCallID: "call@host"}, intake.PersonalJSON{Number: "13800112233", Name: "张桂芳"}),
		event(c, 2, &intake.RangV1{Operator: "op-1"}, intake.PersonalJSON{}),
		event(c, 3, &intake.AnsweredV1{Operator: "op-2"}, intake.PersonalJSON{}),
		event(c, 4, &intake.AnsweredV1{Operator: "op-3"}, intake.PersonalJSON{}),
		event(c, 5, &intake.EndedV1{Outcome: intake.Interrupted, Provisional: true}, intake.PersonalJSON{}),
		event(c, 6, &intake.EndedV1{Outcome: intake.Answered, Flags: []intake.Flag{intake.QuickDrop}}, intake.PersonalJSON{}),
		event(c, 7, &intake.RecordedV1{ID: "rec"}, intake.PersonalJSON{}),
	)
	want := Document{ID: c, Kind: Contact, Sequence: intake.NewSequence(1, 7), State: Ended, Channel: intake.Phone, Line: "12345", Switchboard: "main", Caller: "tok",
		Resident: "r1", SIPCallID: "call@host", Operator: "op-3", Outcome: intake.Answered, Flags: []intake.Flag{intake.QuickDrop}, Recordings: []intake.RecordingID{"rec"},
		Arrived: t0.Add(time.Minute), Answered: t0.Add(3 * time.Minute), Ended: t0.Add(6 * time.Minute), Updated: t0.Add(7 * time.Minute),
		Number: pii.NewPhone("13800112233"), Name: pii.NewName("张桂芳")}
	if d.Trail = (Trail{}); !reflect.DeepEqual(d, want) {
		t.Errorf("got  %+v\nwant %+v", d, want)
	}
	if d.IsOpen() {
		t.Error("open although ended")
	}
}

func TestCaseIsFolded(t *testing.T) {
	const c = "case/k1"
	opened := event(c, 1, &intake.CaseOpenedV1{Source: intake.FromOperator, Contacts: []intake.ContactID{"c1", "c1"}, Category: "市政", Grid: "g1", Department: "d1", By: "op"}, intake.PersonalJSON{Text: "路灯不亮"})
	for _, step := range []struct {
		data  intake.Data
		state State
		check func(Document) bool
	}{
		{&intake.CaseAttachedV1{Contact: "c2"}, Open, func(d Document) bool {
			return reflect.DeepEqual(d.Contacts, []intake.ContactID{"c1", "c2"})
		}},
		{&intake.CaseRoutedV1{Grid: "g2"}, Open, func(d Document) bool { return d.Grid == "g2" && d.Department == "d1" }},
		{&intake.CaseAcceptedV1{}, Accepted, Document.isOpen},
		{&intake.CaseDispatchedV1{}, Dispatched, Document.isOpen},
		{&intake.CaseStartedV1{}, InProgress, Document.isOpen},
		{&intake.CaseReturnedV1{}, Returned, Document.isOpen},
		{&intake.CaseExtendedV1{Until: t0}, Open, func(d Document) bool { return d.Deadline.Equal(t0) }},
		{&intake.CaseAnsweredV1{}, Answered, Document.isOpen},
		{&intake.CaseClosedV1{Result: "solved"}, Closed, func(d Document) bool { return !d.IsOpen() && d.Reason == "solved" && !d.Ended.IsZero() }},
	} {
		d := foldAll(opened, event(c, 2, step.data, intake.PersonalJSON{}))
		if d.State != step.state || !step.check(d) {
			t.Errorf("after %s: %+v", step.data.EventType(), d)
		}
	}
	d := foldAll(opened, event(c, 2, &intake.CaseClosedV1{}, intake.PersonalJSON{}), event(c, 3, &intake.CaseReopenedV1{Contact: "c9", Why: "还是不亮"}, intake.PersonalJSON{}),
		event(c, 4, &intake.CaseNotedV1{}, intake.PersonalJSON{Text: "约明天"}))
	if d.State != Reopened || !d.Ended.IsZero() || len(d.Words) != 2 || len(d.Contacts) != 2 {
		t.Errorf("reopened: %+v", d)
	}
}

func (d Document) isOpen() bool { return d.IsOpen() }

func TestWhatIsNotOursChangesNothing(t *testing.T) {
	d := foldAll(event("contact/c", 5, &intake.OfferedV1{Channel: intake.Phone}, intake.PersonalJSON{}))
	before := d
	for name, e := range map[string]intake.Event{
		"older of its writer": event("contact/c", 4, &intake.EndedV1{Outcome: intake.Answered}, intake.PersonalJSON{}),
		"the same":            event("contact/c", 5, &intake.EndedV1{Outcome: intake.Answered}, intake.PersonalJSON{}),
		"another subject":     event("contact/x", 6, &intake.EndedV1{Outcome: intake.Answered}, intake.PersonalJSON{}),
		"another kind":        event("case/c", 6, &intake.CaseAcceptedV1{}, intake.PersonalJSON{}),
		"an operator":         event("operator/c", 6, &intake.OperatorStateV1{}, intake.PersonalJSON{}),
		"unknown type":        event("contact/c", 6, &intake.Unknown{Name: "contact.sang.v1"}, intake.PersonalJSON{Text: "x"}),
		"type of a case":      event("contact/c", 6, &intake.CaseAcceptedV1{}, intake.PersonalJSON{}),
		"no data":             event("contact/c", 6, nil, intake.PersonalJSON{}),
	} {
		if Apply(&d, e) || !reflect.DeepEqual(d, before) {
			t.Errorf("%s: changed to %+v", name, d)
		}
	}
	if !Apply(&d, event("contact/c", 6, &intake.EndedV1{Outcome: intake.Answered}, intake.PersonalJSON{})) {
		t.Error("an event after one of an unknown type is not taken")
	}
}

func TestErasedForgetsForEver(t *testing.T) {
	d := foldAll(
		event("contact/c", 1, &intake.OfferedV1{Channel: intake.App, Line: "1", Caller: "tok", Known: "r", SIPCallID: "x"}, intake.PersonalJSON{Number: "13800112233", Name: "张三", Address: "翠竹新村1栋", Text: "话", Place: &intake.Place{Lat: 31, Lon: 120}}),
		event("contact/c", 2, &intake.RecordedV1{ID: "rec"}, intake.PersonalJSON{}),
		event("contact/c", 3, &intake.ErasedV1{By: "admin"}, intake.PersonalJSON{}),
		event("contact/c", 4, &intake.MessageV1{}, intake.PersonalJSON{Text: "又来了", Number: "13800112233"}),
		event("contact/c", 5, &intake.EndedV1{Outcome: intake.Accepted}, intake.PersonalJSON{}),
	)
	want := Document{ID: "contact/c", Kind: Contact, Sequence: intake.NewSequence(1, 5), State: Ended, Erased: true, Channel: intake.App, Line: "1", Outcome: intake.Accepted,
		Arrived: t0.Add(time.Minute), Ended: t0.Add(5 * time.Minute), Updated: t0.Add(5 * time.Minute)}
	if d.Trail = (Trail{}); !reflect.DeepEqual(d, want) {
		t.Errorf("got  %+v\nwant %+v", d, want)
	}
}

func TestWordsAreBounded(t *testing.T) {
	var d Document
	for n := uint32(1); n <= 200; n++ {
		Apply(&d, event("contact/c", n, &intake.MessageV1{}, intake.PersonalJSON{Text: strings.Repeat("话", 1000) + "\xff"}))
	}
	total := 0
	for _, w := range d.Words {
		total += len([]rune(w.Reveal()))
	}
	if total != MaxWords {
		t.Errorf("%d characters are kept, want %d", total, MaxWords)
	}
}

// history draws the life of one subject of any kind, with every type that touches it.
func history(t *rapid.T) []intake.Event {
	kind := rapid.SampledFrom([]string{"contact", "case", "callback"}).Draw(t, "kind")
	subject := intake.Subject(kind + "/x")
	n := rapid.IntRange(1, 25).Draw(t, "events")
	list := make([]intake.Event, 0, n)
	types := intake.Types()
	for i := range n {
		data, _ := intake.New(rapid.SampledFrom(types).Draw(t, "type"))
		switch d := data.(type) {
		case *intake.CaseOpenedV1:
			d.Contacts = []intake.ContactID{"a", "b"}
		case *intake.CaseAttachedV1:
			d.Contact = intake.ContactID(fmt.Sprint("c", i))
		case *intake.CallbackJoinedV1:
			d.Contact = intake.ContactID(fmt.Sprint("c", i%3))
		case *intake.RecordedV1:
			d.ID = intake.RecordingID(fmt.Sprint("r", i%4))
		case *intake.AnsweredV1:
			d.Operator = intake.UserID(fmt.Sprint("op", i))
		case *intake.IdentifiedV1:
			d.Caller, d.Known = intake.Token(fmt.Sprint("tok", i)), fmt.Sprint("card", i%2)
		case *intake.CaseRoutedV1:
			d.Grid, d.Department = intake.GridID([]string{"", "g1", "g2"}[i%3]), []string{"", "d1"}[i%2]
		case *intake.CaseExtendedV1:
			d.Until = t0.Add(time.Duration(i) * time.Hour)
		case *intake.CallbackTakenV1:
			d.Operator = intake.UserID(fmt.Sprint("op", i))
		case *intake.CallbackTriedV1:
			d.Recording = intake.RecordingID(fmt.Sprint("r", i%4))
		case *intake.EndedV1:
			d.Provisional, d.Reason = i%2 == 0, fmt.Sprint("reason", i)
			d.Outcome, d.Flags = rapid.SampledFrom(intake.Outcomes()).Draw(t, "outcome"), []intake.Flag{intake.Unwritten}
		}
		list = append(list, event(subject, uint32(i+1), data, intake.PersonalJSON{Text: rapid.SampledFrom([]string{"", "路灯不亮", "水停了"}).Draw(t, "text"), Number: rapid.SampledFrom([]string{"", "13800112233"}).Draw(t, "number")}))
	}
	return list
}

func TestReplayInWholeOrInPartChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		events := history(t)
		want := foldAll(events...)
		var got Document
		for at := 0; at < len(events); {
			from := rapid.IntRange(0, at).Draw(t, "again from")
			to := rapid.IntRange(at+1, len(events)).Draw(t, "to")
			for _, e := range events[from:to] {
				before := got
				kept := fmt.Sprintf("%#v", before.Contacts)
				changed := Apply(&got, e)
				if !changed && !reflect.DeepEqual(got, before) {
					t.Fatalf("%s says that it changed nothing and did", e.Type())
				}
				if fmt.Sprintf("%#v", before.Contacts) != kept {
					t.Fatalf("%s wrote into the document before", e.Type())
				}
			}
			at = to
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
		b, err := got.Stored()
		if err != nil {
			t.Fatal(err)
		}
		if back, err := Load(b); err != nil || got.ID != "" && !reflect.DeepEqual(back, got) {
			t.Fatalf("stored and loaded it is %+v (%v), was %+v", back, err, got)
		}
	})
}

// Who keeps a document and goes on from it twice has two documents.
func TestForkedDocumentsShareNothing(t *testing.T) {
	opened := event("case/k", 1, &intake.CaseOpenedV1{Contacts: []intake.ContactID{"a", "b", "c"}}, intake.PersonalJSON{Text: "一"})
	d := foldAll(opened, event("case/k", 2, &intake.CaseAttachedV1{Contact: "d"}, intake.PersonalJSON{Text: "二"}), event("case/k", 3, &intake.CaseNotedV1{}, intake.PersonalJSON{Text: "三"}))
	x, y := d, d
	Apply(&x, event("case/k", 4, &intake.CaseAttachedV1{Contact: "x"}, intake.PersonalJSON{Text: "x"}))
	Apply(&y, event("case/k", 4, &intake.CaseAttachedV1{Contact: "y"}, intake.PersonalJSON{Text: "y"}))
	if n := len(x.Contacts) - 1; x.Contacts[n] != "x" || x.Words[len(x.Words)-1].Reveal() != "x" {
		t.Errorf("one fork wrote into the other: %v", x.Contacts)
	}
}

func TestStoredSaysWhatItCannotWrite(t *testing.T) {
	d := Document{ID: "contact/c", Place: &intake.Place{Lat: math.NaN()}}
	if _, err := d.Stored(); err == nil {
		t.Error("a latitude that is no number is stored")
	}
	if _, err := Load([]byte("{")); err == nil {
		t.Error("half a document is loaded")
	}
}

func TestDocumentPrintsMasked(t *testing.T) {
	d := foldAll(event("contact/c", 1, &intake.OfferedV1{}, intake.PersonalJSON{Number: "13800112233", Name: "张桂芳", Address: "翠竹新村12栋", Text: "我家路灯不亮"}))
	h := Hit{Document: d, Highlights: []Highlight{{Text: pii.NewText("我家路灯不亮")}}}
	for _, printed := range []string{fmt.Sprint(h), fmt.Sprintf("%+v", h), fmt.Sprintf("%#v", h)} {
		for _, secret := range []string{"0011", "桂", "12栋", "路灯"} {
			if strings.Contains(printed, secret) {
				t.Errorf("%q is printed: %s", secret, printed)
			}
		}
	}
}
