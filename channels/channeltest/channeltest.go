// Package channeltest is what every channel must do: the promises made to residents as tests, to be run against each way by which they write to us.
//
// A package that carries a channel calls Run from a test of its own, with a function that makes a fresh Channel: the edge with a log behind it. The suite sends what a
// resident would, hears what they would, and looks into the log and at what the program said of itself.
//
// What it does not do: it knows no protocol, and nothing of operators, cases or pages. What a channel has beside these promises (typing, photos, webhooks) is for its own
// tests.
package channeltest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"yingda/intake"
	"yingda/intake/recovery"
)

// Words are what a resident writes. Number and Name may be empty.
type Words struct{ Text, Number, Name string }

// Answer is what the resident is told. Took says that it sounded like success; Contact is the contact's id then; Say is a sentence for a person otherwise.
type Answer struct {
	Took    bool
	Contact intake.ContactID
	Say     string
}

// Bad is something that nobody can use; Send hands it in.
type Bad struct {
	Name string
	Send func(t testing.TB) Answer
}

// Channel is one way to write to us.
type Channel struct {
	// Send hands in a resident's words under a key and waits for the answer. The same key is the same matter, over whatever connection it comes. It may be called at once
	// from many goroutines.
	Send func(t testing.TB, key string, w Words) Answer
	// Cut hands them in and breaks the connection without having heard an answer.
	Cut func(t testing.TB, key string, w Words)
	// End is what a resident does who has had enough; nil when a contact ends by being handed in.
	End func(t testing.TB, key string)
	// Night puts the office out of its hours.
	Night func()
	// Bad lists what must be refused.
	Bad []Bad
	// Events are those of the log, in its order.
	Events func(t testing.TB) []intake.Event
	// Said is what the program has written about itself.
	Said func() string
}

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

var wang = Words{Text: "三号楼的楼道灯坏了，老人夜里怕摔", Number: "13800004321", Name: "王冬梅"}

// Run runs all of it, each test with a fresh channel.
func Run(t *testing.T, fresh func(t *testing.T) Channel) {
	for name, test := range map[string]func(*testing.T, Channel){
		"written before it is acknowledged": before, "three times is one": thrice, "a dropped connection": dropped, "ends once": ends, "a number left is a call owed": owed,
		"out of hours": night, "what nobody can use": bad,
	} {
		t.Run(name, func(t *testing.T) {
			c := fresh(t)
			test(t, c)
			quiet(t, c)
		})
	}
}

// key is long enough for every channel, and says which matter it is of.
func key(n int) string { return fmt.Sprintf("channeltest-key-%04d", n) }

func take(t testing.TB, c Channel, key string, w Words) intake.ContactID {
	t.Helper()
	a := c.Send(t, key, w)
	if !a.Took || a.Contact == "" {
		t.Fatalf("%s was not taken: %+v", key, a)
	}
	return a.Contact
}

// story is what the log says of one contact.
type story struct {
	offered, ended int
	texts          []string
	outcome        intake.Outcome
	channel        intake.Channel
}

func read(t testing.TB, c Channel) map[intake.ContactID]*story {
	t.Helper()
	m := map[intake.ContactID]*story{}
	for _, e := range c.Events(t) {
		id := e.Contact()
		if id == "" {
			continue
		}
		s := m[id]
		if s == nil {
			s = &story{}
			m[id] = s
		}
		switch d := e.Data.(type) {
		case *intake.OfferedV1:
			s.offered++
			s.channel = d.Channel
			if s.ended > 0 {
				t.Errorf("%s is offered after its end", id)
			}
		case *intake.EndedV1:
			if !d.Provisional {
				s.ended++
			}
			s.outcome = d.Outcome
		}
		if text := e.Personal.Text.Reveal(); text != "" && !slices.Contains(s.texts, text) {
			s.texts = append(s.texts, text)
		} else if _, said := e.Data.(*intake.MessageV1); said && text != "" {
			t.Errorf("%s says %q twice", id, text)
		}
	}
	for id, s := range m {
		if s.offered != 1 || s.ended > 1 {
			t.Errorf("%s is offered %d times and ended %d times", id, s.offered, s.ended)
		}
	}
	return m
}

// before: when the resident is told that it was taken, the log has it, words and all.
func before(t *testing.T, c Channel) {
	for n := range 5 {
		w := wang
		w.Text += fmt.Sprint("，第", n, "次说")
		id := take(t, c, key(n), w)
		if s := read(t, c)[id]; s == nil || !slices.Contains(s.texts, w.Text) {
			t.Fatalf("acknowledged, and the log has %+v of it", s)
		}
	}
}

// thrice: at once and one after the other, the same thing under one key is one contact that says it once.
func thrice(t *testing.T, c Channel) {
	ids := make([]intake.ContactID, 6)
	var group sync.WaitGroup
	for i := range 3 {
		group.Go(func() { ids[i] = c.Send(t, key(1), wang).Contact })
	}
	group.Wait()
	for i := range 3 {
		ids[3+i] = take(t, c, key(1), wang)
	}
	other := take(t, c, key(2), wang)
	m := read(t, c)
	for _, id := range ids[3:] {
		if id != ids[3] || id == other {
			t.Errorf("sent again it is %v; what has another key is %s", ids, other)
		}
	}
	for _, id := range ids[:3] { // one of those at once may have been told to come again; none was told of another contact
		if id != "" && id != ids[3] {
			t.Errorf("sent at once it is %v", ids)
		}
	}
	if len(m) != 2 {
		t.Errorf("%d contacts are in the log, want 2", len(m))
	}
}

// dropped: whoever lost the connection sends it again, and it is there once.
func dropped(t *testing.T, c Channel) {
	const many = 10
	for n := range many {
		w := wang
		w.Text += fmt.Sprint("，第", n, "家")
		c.Cut(t, key(n), w)
		if n%2 == 0 {
			c.Cut(t, key(n), w)
		}
		take(t, c, key(n), w)
	}
	m := read(t, c)
	if len(m) != many {
		t.Errorf("%d contacts came of %d", len(m), many)
	}
	all := map[string]int{}
	for _, s := range m {
		for _, text := range s.texts {
			all[text]++
		}
	}
	for n := range many {
		if text := wang.Text + fmt.Sprint("，第", n, "家"); all[text] != 1 {
			t.Errorf("%q is there %d times", text, all[text])
		}
	}
}

// over ends the contact for the resident and gives what the log says when it has ended.
func over(t testing.TB, c Channel, key string, id intake.ContactID) *story {
	t.Helper()
	if c.End != nil {
		c.End(t, key)
	}
	for deadline := time.Now().Add(patience); ; <-time.After(10 * time.Millisecond) { // another goroutine writes the log: there is nothing else to wait on
		if s := read(t, c)[id]; s != nil && s.ended > 0 {
			return s
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s has no end", id)
		}
	}
}

// ends: exactly once, with an outcome of the closed list; what comes after changes nothing.
func ends(t *testing.T, c Channel) {
	id := take(t, c, key(1), wang)
	s := over(t, c, key(1), id)
	if !s.outcome.Valid() || s.outcome == intake.Fault || s.outcome == intake.Interrupted {
		t.Errorf("it ended as %q", s.outcome)
	}
	if c.End != nil {
		c.End(t, key(1))
	}
	_ = c.Send(t, key(1), wang) // the same again, too late
	second := take(t, c, key(2), wang)
	over(t, c, key(2), second)
	if again := read(t, c)[id]; again.ended != 1 || again.outcome != s.outcome {
		t.Errorf("it ended %d times, at last as %q", again.ended, again.outcome)
	}
}

// owed: whoever left a number and spoke to nobody is owed a call; whoever was served, or left none, is not.
func owed(t *testing.T, c Channel) {
	id := take(t, c, key(1), wang)
	s := over(t, c, key(1), id)
	nameless := take(t, c, key(2), Words{Text: wang.Text})
	over(t, c, key(2), nameless)
	books := recovery.NewLedger(recovery.Config{}, func() intake.CallbackID { return "callback" })
	for _, e := range c.Events(t) {
		books.Step(e)
	}
	var due []intake.ContactID
	for _, d := range books.Owed() {
		for _, a := range books.Person(d.Caller).Owed(d.Line) {
			due = append(due, a.Contact)
		}
	}
	want := []intake.ContactID{id}
	if !s.outcome.Failed() {
		want = nil
	}
	if !slices.Equal(due, want) {
		t.Errorf("it ended as %s, and a call is owed for %v, want %v", s.outcome, due, want)
	}
}

// night: who comes out of hours is in the books like anybody else.
func night(t *testing.T, c Channel) {
	c.Night()
	id := take(t, c, key(1), wang)
	if s := over(t, c, key(1), id); !s.outcome.Valid() || s.offered != 1 {
		t.Errorf("%+v", s)
	}
}

// bad: each has an answer that a person can use, none leaves a contact that is open, and the channel works on.
func bad(t *testing.T, c Channel) {
	if len(c.Bad) < 5 {
		t.Fatalf("only %d things that must be refused", len(c.Bad))
	}
	for n, b := range c.Bad {
		a := b.Send(t)
		if a.Took {
			t.Errorf("%s was taken", b.Name)
		}
		if len([]rune(a.Say)) < 6 || !strings.ContainsFunc(a.Say, func(r rune) bool { return unicode.Is(unicode.Han, r) }) && !strings.Contains(a.Say, " ") {
			t.Errorf("%s: a person is told %q", b.Name, a.Say)
		}
		for _, inside := range []string{"sql", "goroutine", ".go:", "panic", "nil pointer", "channels/"} {
			if strings.Contains(strings.ToLower(a.Say), inside) {
				t.Errorf("%s: a person is told our insides: %s", b.Name, a.Say)
			}
		}
		take(t, c, key(n), wang)
	}
	for id, s := range read(t, c) {
		if !slices.Contains(s.texts, wang.Text) && s.ended == 0 {
			t.Errorf("%s is open, and came of something that was refused", id)
		}
	}
}

// quiet: nothing that a resident wrote stands in what the program says of itself.
func quiet(t *testing.T, c Channel) {
	said := c.Said()
	for _, secret := range []string{wang.Text[:len("三号楼的楼道灯")], wang.Number, wang.Number[3:], wang.Name} {
		if at := strings.Index(said, secret); at >= 0 {
			t.Errorf("the program's log says %q: …%s…", secret, said[max(0, at-80):min(len(said), at+80)])
		}
	}
}
