package webchat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"yingda/channels/chat"
	"yingda/intake"
)

func TestConversation(t *testing.T) {
	o := open(t, t.TempDir(), chat.Settings{}, Limits{})
	defer o.close()
	o.signIn("anna", 2)
	desk := o.desk(t, "anna", nil)
	b, token := o.resident(t)
	contact := o.taken(t, desk, b)
	_ = desk.send(In{T: UpSay, Contact: contact, Key: "a1", Text: "在哪里？"})
	desk.until(t, "tick", func(o Out) bool { return o.T == DownTick && o.Key == "a1" && o.N == 2 && o.Contact == contact })
	m := b.until(t, "reply", func(o Out) bool { return o.T == DownMessage && o.N == 2 })
	if m.From != "us" || m.Text != "在哪里？" || m.Name != "坐席 a" {
		t.Errorf("the resident sees %+v", m.Message)
	}
	// Typing and seen go across and are not kept.
	_ = b.send(In{T: UpTyping})
	desk.until(t, "typing", func(o Out) bool { return o.T == DownTyping && o.Contact == contact })
	_ = desk.send(In{T: UpTyping, Contact: contact})
	b.next(t, DownTyping)
	_ = b.send(In{T: UpSeen, N: 2})
	desk.until(t, "seen", func(o Out) bool { return o.T == DownSeen && o.N == 2 })
	// The same message again is the same message.
	_ = b.send(In{T: UpSay, Key: "first", Text: "路灯坏了"})
	if n := b.next(t, DownTick).N; n != 1 {
		t.Errorf("the first message is number %d now", n)
	}
	// Another operator can neither read nor write here.
	bert := o.desk(t, "bert", nil)
	_ = bert.send(In{T: UpSay, Contact: contact, Key: "b1", Text: "x"})
	if e := bert.next(t, DownError); e.Code != "not_yours" || e.Say == "" {
		t.Errorf("bert is told %+v", e)
	}
	_ = bert.send(In{T: UpRead, Contact: contact, Ref: "r"})
	if e := bert.next(t, DownError); e.Code != "forbidden" {
		t.Errorf("bert is told %+v", e)
	}
	// Handed over: bert is shown all of it before he accepts.
	_ = desk.send(In{T: UpHand, Contact: contact, To: "bert", Ref: "h"})
	first := bert.until(t, "history", func(o Out) bool { return o.T == DownMessage && o.N == 1 })
	offer := bert.next(t, DownOffer)
	if first.Text != "路灯坏了" || offer.By != "anna" {
		t.Errorf("bert is shown %+v %+v", first, offer)
	}
	_ = bert.send(In{T: UpAccept, Contact: contact, Offer: offer.Offer, Ref: "a"})
	bert.next(t, DownDone)
	desk.until(t, "gone", func(o Out) bool { return o.T == DownGone && o.Contact == contact })
	_ = bert.send(In{T: UpSay, Contact: contact, Key: "b2", Text: "我来跟进"})
	b.until(t, "bert's reply", func(o Out) bool { return o.T == DownMessage && o.Text == "我来跟进" })
	_ = bert.send(In{T: UpEnd, Contact: contact, Ref: "e"})
	bert.next(t, DownDone)
	end := b.until(t, "end", func(o Out) bool { return o.T == DownState && o.State.Stage == "over" })
	if end.State.Outcome != "replied" {
		t.Errorf("it ended as %s", end.State.Outcome)
	}
	_ = b.send(In{T: UpSay, Key: "late", Text: "还有"})
	if e := b.until(t, "error", func(o Out) bool { return o.T == DownError }); e.Code != "over" || e.Key != "late" {
		t.Errorf("after the end: %+v", e)
	}
	// A number that is left after the end.
	_ = b.send(In{T: UpNumber, Ref: "n", Number: "0512-5550-0001"})
	b.until(t, "done", func(o Out) bool { return o.T == DownDone && o.Ref == "n" })
	events := o.events(t)
	want := "offered message waiting rang answered message rang moved answered message ended identified"
	if got := strings.Join(typesOf(events, contact), " "); got != want {
		t.Errorf("the log has\n%s, want\n%s", got, want)
	}
	for _, e := range events {
		if d, ok := e.Data.(*intake.OfferedV1); ok && strings.Contains(token, d.Dedupe) {
			t.Error("the log says how to open the conversation")
		}
	}
	if s := o.said.String(); strings.Contains(s, "路灯") || strings.Contains(s, "55500001") {
		t.Errorf("the log of the program says what was written: %s", s)
	}
}

// A page without a script does the same by functions.
func TestWithoutScript(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, chat.Settings{}, Limits{})
	ctx := context.Background()
	k := key()
	session, err := o.server.Start(ctx, StartRequest{Key: k, Origin: "page"})
	if err != nil {
		t.Fatal(err)
	}
	if again, err := o.server.Start(ctx, StartRequest{Key: k}); err != nil || again != session {
		t.Errorf("the same form sent twice is %v, %v; want %v", again, err, session)
	}
	for range 3 {
		if n, err := o.server.Post(ctx, session.Token, "m1", "停水了\r\n\x00两天", nil); n != 1 || err != nil {
			t.Fatal(n, err)
		}
	}
	p, err := o.server.History(ctx, session.Token, 0)
	if err != nil || len(p.Messages) != 1 || p.Messages[0].Text != "停水了\n两天" || p.State.Stage != "waiting" || p.State.Phone != "12345" {
		t.Errorf("%+v %v", p, err)
	}
	// Clear answers to everything that is wrong.
	for name, got := range map[string]error{
		"token": func() error { _, err := o.server.History(ctx, session.Token+"x", 0); return err }(),
		"empty": func() error { _, err := o.server.Post(ctx, session.Token, "m2", " \n ", nil); return err }(),
		"long": func() error {
			_, err := o.server.Post(ctx, session.Token, "m2", strings.Repeat("长", 4001), nil)
			return err
		}(),
		"key":    func() error { _, err := o.server.Post(ctx, session.Token, "no/key", "x", nil); return err }(),
		"short":  func() error { _, err := o.server.Start(ctx, StartRequest{Key: "short"}); return err }(),
		"file":   func() error { _, err := o.server.Post(ctx, session.Token, "m2", "x", []string{"none"}); return err }(),
		"number": o.server.LeaveNumber(ctx, session.Token, "999", "", false),
		"words":  o.server.LeaveNumber(ctx, session.Token, "打给我", "", false),
	} {
		want := map[string]error{"token": ErrToken, "empty": ErrText, "long": ErrText, "key": ErrKey, "short": ErrKey, "file": ErrFile, "number": ErrNumber, "words": ErrNumber}[name]
		if !errors.Is(got, want) || Sentence(got) == "" || Sentence(got) == sentences["later"] {
			t.Errorf("%s: %v (%s), want %v", name, got, Sentence(got), want)
		}
	}
	if _, err := o.server.Start(ctx, StartRequest{Key: key(), Line: "none"}); !errors.Is(err, ErrRefused) {
		t.Error("an unknown line:", err)
	}
	if _, err := o.server.Start(ctx, StartRequest{Key: key(), Number: "8880000000"}); !errors.Is(err, ErrRefused) {
		t.Error("a blocked caller:", err)
	}
	if err := o.server.LeaveNumber(ctx, session.Token, "13800000001", "王小明", true); err != nil {
		t.Fatal(err)
	}
	p, err = o.server.History(ctx, session.Token, 1)
	if err != nil || p.State.Outcome != "callback_promised" || len(p.Messages) != 0 || strings.Contains(p.State.Number, "000001") {
		t.Errorf("%+v %v", p, err)
	}
	o.close()
	// After a restart the same token and the same key open it, and a number may still be corrected.
	o = open(t, dir, chat.Settings{}, Limits{})
	defer o.close()
	if again, err := o.server.Start(ctx, StartRequest{Key: k}); err != nil || again != session {
		t.Errorf("the same form sent again after a restart is %v, %v; want %v", again, err, session)
	}
	p, err = o.server.History(ctx, session.Token, 0)
	if err != nil || p.State.Outcome != "callback_promised" || len(p.Messages) != 1 {
		t.Errorf("%+v %v", p, err)
	}
	if err := o.server.LeaveNumber(ctx, session.Token, "13800000002", "", false); err != nil {
		t.Fatal(err)
	}
	if err := o.server.End(ctx, session.Token); err != nil {
		t.Fatal(err)
	}
	events := o.events(t)
	ended := 0
	for i, e := range events {
		if string(e.Contact()) != string(session.Contact) {
			continue
		}
		if _, ok := e.Data.(*intake.EndedV1); ok {
			ended++
		}
		for _, x := range events[:i] {
			if x.Subject == e.Subject && x.Sequence >= e.Sequence {
				t.Errorf("%s after %s", e.ID(), x.ID())
			}
		}
	}
	if ended != 1 {
		t.Errorf("ended %d times", ended)
	}
	last := events[len(events)-1]
	if d, ok := last.Data.(*intake.IdentifiedV1); !ok || d.Caller == "" || last.Personal.Number.Reveal() != "13800000002" {
		t.Errorf("the last event is %s %+v", last.Type(), last.Data)
	}
}

// A client that drops its connection ten times, with a message on its way each time, loses and doubles nothing; neither does the operator's desk, which drops as often.
func TestDropped(t *testing.T) {
	o := open(t, t.TempDir(), chat.Settings{}, Limits{Messages: 6000, Frames: 1000})
	defer o.close()
	o.signIn("anna", 2)
	desk := o.desk(t, "anna", nil)
	b, token := o.resident(t)
	contact := o.taken(t, desk, b)
	mine, theirs := newSide(false), newSide(true)
	mine.contact, theirs.contact = contact, contact
	for i := range 10 {
		for k := range 3 {
			mine.say(b, fmt.Sprintf("r%d-%d", i, k))
			theirs.say(desk, fmt.Sprintf("a%d-%d", i, k))
		}
		if i%2 == 0 { // sometimes it hears an answer before it drops
			mine.hear(t, b, 1)
		}
		b.drop()
		mine.drain(b)
		desk.drop()
		theirs.drain(desk)
		b = dial(t, o.http.URL, "/chat/ws", nil)
		_ = b.send(In{T: UpHello, Token: token, After: mine.safe})
		desk = o.desk(t, "anna", map[string]int{contact: theirs.safe})
		mine.again(b)
		theirs.again(desk)
	}
	for len(mine.outbox) > 0 || len(mine.have) < 61 {
		mine.hear(t, b, 1)
	}
	for len(theirs.outbox) > 0 || len(theirs.have) < 61 {
		theirs.hear(t, desk, 1)
	}
	check(t, o, contact, mine, theirs)
}

// check compares what the log has with what both sides have.
func check(t *testing.T, o *office, contact string, sides ...*side) {
	t.Helper()
	byNumber := map[int]string{}
	keys := map[string]bool{}
	for _, e := range o.events(t) {
		d, ok := e.Data.(*intake.MessageV1)
		if !ok || string(e.Contact()) != contact {
			continue
		}
		if keys[d.Dedupe] || byNumber[d.Number] != "" {
			t.Errorf("message %d, %s, is there twice", d.Number, d.Dedupe)
		}
		keys[d.Dedupe] = true
		byNumber[d.Number] = e.Personal.Text.Reveal()
	}
	for n := range len(byNumber) {
		if byNumber[n+1] == "" {
			t.Errorf("message %d is missing", n+1)
		}
	}
	for _, s := range sides {
		for _, k := range s.said {
			if !keys[k] {
				t.Errorf("%s was written and is lost", k)
			}
		}
		for n, text := range s.have {
			if byNumber[n] != text {
				t.Errorf("a side has %q as number %d, the log %q", text, n, byNumber[n])
			}
		}
		if len(s.have) != len(byNumber) {
			t.Errorf("a side has %d messages, the log %d", len(s.have), len(byNumber))
		}
		if s.twice > 0 {
			t.Errorf("%d messages were sent twice over one connection", s.twice)
		}
	}
}

// side is a browser's memory: what it keeps over a lost connection.
type side struct {
	contact string
	desk    bool
	outbox  []string       // keys without a tick, in order
	said    []string       // all keys
	have    map[int]string // by number
	keys    map[int]string // of one's own
	safe    int            // all up to this are there and durable
	here    map[int]bool   // by this connection
	twice   int
	refused []string
}

func newSide(desk bool) *side {
	return &side{desk: desk, have: map[int]string{}, keys: map[int]string{}, here: map[int]bool{}}
}

func (s *side) say(b *browser, key string) {
	s.outbox, s.said = append(s.outbox, key), append(s.said, key)
	_ = b.send(s.frame(key))
}

func (s *side) frame(key string) In {
	in := In{T: UpSay, Key: key, Text: "text " + key}
	if s.desk {
		in.Contact = s.contact
	}
	return in
}

// again sends what had no tick.
func (s *side) again(b *browser) {
	for _, k := range s.outbox {
		_ = b.send(s.frame(k))
	}
}

func (s *side) take(o Out) {
	if s.contact != "" && o.Contact != "" && o.Contact != s.contact {
		return
	}
	switch o.T {
	case DownMessage:
		if s.here[o.N] {
			s.twice++
		}
		s.here[o.N] = true
		s.have[o.N] = o.Text
		if o.Key != "" {
			s.keys[o.N] = o.Key
		}
		for !o.Unsafe && s.have[s.safe+1] != "" {
			s.safe++
		}
	case DownSafe: // the disk was slow, and has them all now
		for n := 1; n <= o.N; n++ {
			s.outbox = slices.DeleteFunc(s.outbox, func(k string) bool { return k == s.keys[n] })
		}
		for s.safe < o.N && s.have[s.safe+1] != "" {
			s.safe++
		}
	case DownTick:
		s.outbox = slices.DeleteFunc(s.outbox, func(k string) bool { return k == o.Key })
	case DownError:
		if o.Code != "later" { // that is: not yet; safe follows
			s.refused = append(s.refused, o.Key+" "+o.Code)
		}
	}
}

func (s *side) hear(t *testing.T, b *browser, n int) {
	t.Helper()
	for range n {
		s.take(b.until(t, "anything", func(Out) bool { return true }))
	}
}

// drain takes what had come before the connection broke.
func (s *side) drain(b *browser) {
	for o := range b.in {
		s.take(o)
	}
	s.here = map[int]bool{}
}
