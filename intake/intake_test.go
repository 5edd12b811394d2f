package intake

import (
	"errors"
	"math"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"yingda/internal/pii"
)

// TestCatalogue: every struct of the catalogue has a name of its own, of the right form, and New makes it empty.
func TestCatalogue(t *testing.T) {
	form := regexp.MustCompile(`^(contact|callback|case|operator|line|grid|person|recording|list|account|node)\.[a-z]+\.v[1-9][0-9]*$`)
	names := map[Type]bool{}
	structs := map[reflect.Type]bool{}
	for _, name := range Types() {
		if names[name] {
			t.Errorf("%s stands twice in the catalogue", name)
		}
		names[name] = true
		if !form.MatchString(string(name)) {
			t.Errorf("%q is no name of a type", name)
		}
		data, ok := New(name)
		if !ok || data.EventType() != name {
			t.Fatalf("New(%s) gives %T, %v", name, data, ok)
		}
		kind := reflect.TypeOf(data).Elem()
		if structs[kind] {
			t.Errorf("%s carries two types", kind)
		}
		structs[kind] = true
		// OfferedV1 is contact.offered.v1: the name of the struct ends as the type does.
		words := strings.Split(string(name), ".")
		if end := words[1] + words[2]; !strings.HasSuffix(strings.ToLower(kind.Name()), end) {
			t.Errorf("%s carries %s", kind, name)
		}
		if !reflect.ValueOf(data).Elem().IsZero() {
			t.Errorf("New(%s) is not empty", name)
		}
		if again, _ := New(name); reflect.ValueOf(again).Pointer() == reflect.ValueOf(data).Pointer() && kind.Size() > 0 {
			t.Errorf("New(%s) gives the same twice", name)
		}
		fields := map[string]bool{}
		for f := range kind.Fields() {
			tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if tag == "" || tag == "personal" || fields[tag] {
				t.Errorf("%s.%s is written as %q", kind, f.Name, tag)
			}
			fields[tag] = true
		}
	}
	if data, ok := New("contact.offered.v999"); ok || data != nil {
		t.Errorf("a type that there is not: %v", data)
	}
}

func TestCheck(t *testing.T) {
	good := func() Event {
		return Event{Source: "yingda/a", Subject: "contact/a", Sequence: NewSequence(1, 1), Time: time.Unix(1, 0), PartitionKey: "a",
			Data: &OfferedV1{Channel: Phone, Line: "12345"}}
	}
	if err := good().Check(); err != nil {
		t.Fatal(err)
	}
	test := func(want string, change func(*Event)) {
		t.Helper()
		e := good()
		change(&e)
		if err := e.Check(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("Check says %v, want %q", err, want)
		}
	}
	test("not kind/id", func(e *Event) { e.Subject = "" })
	test("not kind/id", func(e *Event) { e.Subject = "contact" })
	test("not kind/id", func(e *Event) { e.Subject = "contact/" })
	test("not kind/id", func(e *Event) { e.Subject = "/a" })
	test("no sequence", func(e *Event) { e.Sequence = 0 })
	test("no sequence", func(e *Event) { e.Sequence = NewSequence(7, 0) })
	test("epoch", func(e *Event) { e.Sequence = NewSequence(1<<31, 1) })
	test("no data", func(e *Event) { e.Data = nil })
	test("no partition key", func(e *Event) { e.PartitionKey = "" })
	test("no time", func(e *Event) { e.Time = time.Time{} })
	test("no source", func(e *Event) { e.Source = "" })
	test("is no channel", func(e *Event) { e.Data = &OfferedV1{Channel: "drum", Line: "12345"} })
	test("no line", func(e *Event) { e.Data = &OfferedV1{Channel: Phone} })
	test("is no outcome", func(e *Event) { e.Data = &EndedV1{} })
	test("is no outcome", func(e *Event) { e.Data = &EndedV1{Outcome: "vanished"} })
	test("negative", func(e *Event) { e.Data = &EndedV1{Outcome: Answered, WaitedMS: -1} })
	test("negative", func(e *Event) { e.Data = &EndedV1{Outcome: Answered, RangMS: -1} })
	test("negative", func(e *Event) { e.Data = &EndedV1{Outcome: Answered, TalkedMS: -1} })
	for _, o := range Outcomes() {
		e := good()
		e.Data = &EndedV1{Outcome: o}
		if err := e.Check(); err != nil {
			t.Errorf("%s: %v", o, err)
		}
	}
}

func TestEvent(t *testing.T) {
	e := Event{Subject: ContactID("c").Subject(), Sequence: NewSequence(2, 0x1f), Data: &SaidV1{}}
	if e.ID() != "contact/c/000000020000001f" || e.Contact() != "c" || e.Type() != "contact.said.v1" || e.Forgotten() {
		t.Errorf("%s, %s, %s", e.ID(), e.Contact(), e.Type())
	}
	e.Subject, e.Sealed = CaseID("c/d").Subject(), []byte("{}")
	if e.Contact() != "" || e.Subject.Kind() != "case" || e.Subject.ID() != "c/d" || !e.Forgotten() {
		t.Errorf("%+v", e)
	}
	if s := CallbackID("x").Subject(); s != "callback/x" {
		t.Error(s)
	}
	if s := UserID("x").Subject(); s != "operator/x" {
		t.Error(s)
	}
	p := Personal{pii.NewPhone("13800005678"), pii.NewName("王"), pii.NewAddress("枫桥"), pii.NewText(" 喂 "), &Place{1, 2}}
	if back := p.Reveal().Conceal(); back != p || back.IsZero() {
		t.Errorf("%+v", back)
	}
	for _, one := range []Personal{{Number: p.Number}, {Name: p.Name}, {Address: p.Address}, {Text: p.Text}, {Place: p.Place}} {
		if one.IsZero() {
			t.Errorf("%+v is nobody", one)
		}
	}
	if !(Personal{}).IsZero() {
		t.Error("nobody is somebody")
	}
	at := time.Date(2026, 11, 24, 16, 0, 0, 123_999_999, time.FixedZone("", 8*3600))
	if ms := Millis(at); ms.Location() != time.UTC || ms.Nanosecond() != 123e6 || ms.Hour() != 8 {
		t.Error(ms)
	}
}

func TestSequence(t *testing.T) {
	for _, s := range []Sequence{NewSequence(0, 1), NewSequence(1, 1), NewSequence(1, math.MaxUint32), NewSequence(math.MaxInt32, 7)} {
		text := s.String()
		back, err := ParseSequence(text)
		if err != nil || back != s || len(text) != 16 || NewSequence(back.Epoch(), back.Count()) != s {
			t.Errorf("%d is written %s and read %d, %v", s, text, back, err)
		}
	}
	for _, bad := range []string{"", "1", "000000010000001", "00000001000000001", "000000010000000g", "+000000100000001", "0000000100000000",
		"8000000000000001", "ffffffffffffffff", " 00000010000001 ", "0x00000100000001"} {
		if s, err := ParseSequence(bad); err == nil {
			t.Errorf("%q is read as %d", bad, s)
		}
	}
	s := NewSequence(4, 9)
	if s.Next(4) != NewSequence(4, 10) || s.Next(5) != NewSequence(5, 1) || Sequence(0).Next(1) != NewSequence(1, 1) {
		t.Errorf("after %s come %s and %s", s, s.Next(4), s.Next(5))
	}
	if !(NewSequence(1, math.MaxUint32) < NewSequence(2, 1)) {
		t.Error("a newer writer's event is not newer")
	}
	if a, b := NewSequence(1, 255).String(), NewSequence(1, 256).String(); a >= b {
		t.Error("the text is not in the order of the number")
	}
}

func FuzzParseSequence(f *testing.F) {
	f.Add("0000000100000001")
	f.Add("ABCDEF0100000001")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSequence(text)
		if err == nil && (s.String() != strings.ToLower(text) || s.Count() == 0 || s > math.MaxInt64) {
			t.Errorf("%q is read as %s", text, s)
		}
	})
}

// TestOutcomes: the closed list, and that each outcome is one of reached, failed, or neither.
func TestOutcomes(t *testing.T) {
	kinds := map[string]string{}
	for _, o := range Outcomes() {
		if kinds[string(o)] != "" {
			t.Errorf("%s stands twice", o)
		}
		if !o.Valid() || o == "" {
			t.Errorf("%q is in the list and not valid", o)
		}
		if o.Reached() && o.Failed() {
			t.Errorf("%s is reached and failed", o)
		}
		kind := "neither"
		if o.Reached() {
			kind = "reached"
		} else if o.Failed() {
			kind = "failed"
		}
		kinds[string(o)] = kind
	}
	want := map[string]string{"answered": "reached", "replied": "reached", "accepted": "reached", "callback_promised": "failed", "voicemail": "failed",
		"abandoned_greeting": "failed", "abandoned_queue": "failed", "abandoned_ringing": "failed", "timeout_no_operator": "failed", "queue_full": "failed",
		"after_hours": "failed", "unattended": "failed", "left_silently": "failed", "silent": "failed", "refused": "failed", "rejected_invalid": "neither",
		"fault": "failed", "interrupted": "failed"}
	if !reflect.DeepEqual(kinds, want) {
		t.Errorf("the outcomes are %v, want %v", kinds, want)
	}
	if Outcome("").Failed() || Outcome("").Valid() || Outcome("Answered").Valid() {
		t.Error("what is no outcome passes for one")
	}
	owed := func(e EndedV1, want bool) {
		t.Helper()
		if e.Owed() != want {
			t.Errorf("%s %s: owed is %v", e.Outcome, e.Reason, !want)
		}
	}
	owed(EndedV1{Outcome: Refused, Reason: ReasonOverload}, true)
	owed(EndedV1{Outcome: Refused, Reason: ReasonBlocked}, false)
	owed(EndedV1{Outcome: AbandonedQueue, Reason: ReasonBlocked}, true)
	owed(EndedV1{Outcome: Answered}, false)
	owed(EndedV1{Outcome: Voicemail}, true)

	if n := len(Channels()); n != 8 {
		t.Errorf("%d channels", n)
	}
	seen := map[Channel]bool{}
	for _, c := range Channels() {
		if seen[c] || !c.Valid() {
			t.Errorf("channel %s", c)
		}
		seen[c] = true
	}
	if Channel("").Valid() || Channel("Phone").Valid() {
		t.Error("what is no channel passes for one")
	}
}
