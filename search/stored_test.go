package search

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"testing"
	"testing/quick"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// reference is a stored by the standard encoder.
func reference(d *Document) ([]byte, error) {
	s := stored{d.ID, d.Sequence, d.State, d.Erased, d.Channel, d.Line, d.Switchboard, d.Caller, d.Resident, d.SIPCallID,
		d.Operator, d.Outcome, d.Reason, d.Flags, d.Recordings, d.Arrived, d.Answered, d.Ended, d.Updated, d.Grid, d.Department,
		d.Category, d.Source, d.Deadline, d.Contacts, d.Callback, d.Tries, d.Number.Reveal(), d.Name.Reveal(), d.Address.Reveal(), d.Place, nil,
		d.Provisional, d.Trail.Wrote, d.Trail.Earlier, d.Trail.Late}
	for _, w := range d.Words {
		s.Words = append(s.Words, w.Reveal())
	}
	return json.Marshal(s)
}

func TestADocumentIsStoredAsTheStandardEncoderWritesIt(t *testing.T) {
	same := func(d *Document) bool {
		have, err := d.Stored()
		want, wrong := reference(d)
		if (err != nil) != (wrong != nil) || err == nil && !bytes.Equal(have, want) {
			t.Errorf("%s (%v)\nwant %s (%v)", have, err, want, wrong)
			return false
		}
		return true
	}
	if s := reflect.TypeFor[stored]().NumField(); s != 36 {
		t.Errorf("stored has %d fields: a new one must be written by AppendStored too", s)
	}
	type plain struct { // what quick can make
		ID, State, Line, Caller, Resident, SIP, Reason, Name, Address, Category string
		Sequence                                                                uint64
		Flags, Contacts, Words                                                  []string
		Tries, Late                                                             int
		Erased, Provisional                                                     bool
		Wrote                                                                   uint32
		At                                                                      int64
		Lat                                                                     float64
		Earlier                                                                 []Epoch
	}
	err := quick.Check(func(p plain) bool {
		d := Document{ID: intake.Subject(p.ID), Sequence: intake.Sequence(p.Sequence), State: State(p.State), Line: intake.LineID(p.Line), Caller: intake.Token(p.Caller), Resident: p.Resident,
			SIPCallID: p.SIP, Reason: p.Reason, Name: pii.NewName(p.Name), Address: pii.NewAddress(p.Address), Category: p.Category, Tries: p.Tries, Erased: p.Erased, Provisional: p.Provisional,
			Number: pii.NewPhone("051255501234"), Channel: intake.Phone, Outcome: intake.Answered, Operator: "op", Department: "d<1>", Source: "s&", Grid: "g", Callback: "cb", Switchboard: "main"}
		d.Trail.Wrote, d.Trail.Late, d.Trail.Earlier = Wrote(p.Wrote), p.Late, p.Earlier
		for _, f := range p.Flags {
			d.Flags = append(d.Flags, intake.Flag(f))
		}
		for _, c := range p.Contacts {
			d.Contacts, d.Recordings = append(d.Contacts, intake.ContactID(c)), append(d.Recordings, intake.RecordingID(c))
		}
		for _, w := range p.Words {
			d.Words = append(d.Words, pii.NewText(w))
		}
		d.Arrived = time.UnixMilli(p.At % 253402300800000).UTC()
		d.Answered, d.Updated = d.Arrived.In(time.FixedZone("", 8*3600)), d.Arrived.Add(time.Duration(p.At))
		if p.Erased {
			d.Place = &intake.Place{Lat: p.Lat}
		}
		return same(&d)
	}, &quick.Config{MaxCount: 500})
	if err != nil {
		t.Error(err)
	}
	for _, text := range []string{"", "a", "\x00\t\n\"\\\x7f", "<b>&", "\u2028行\u2029", "\xff坏\xc0", "\uFFFD", "𠀀", "水<管", "\xe4\xb8"} {
		same(&Document{ID: "contact/1", Words: []pii.Text{pii.NewText(text), pii.NewText(text + "x" + text)}, Reason: text, Category: "汉" + text})
	}
	same(&Document{})
	same(&Document{ID: "contact/1", Ended: time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC)})
	same(&Document{ID: "contact/1", Deadline: time.Date(2026, 1, 1, 0, 0, 0, 0, time.FixedZone("", 25*3600))})
	same(&Document{ID: "contact/1", Place: &intake.Place{Lat: math.NaN()}})
}
