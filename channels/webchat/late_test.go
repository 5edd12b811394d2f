package webchat

import (
	"context"
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"yingda/channels"
	"yingda/channels/chat"
	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/store"
)

// last are the newest event of a conversation and its epoch.
func (o *office) last(t *testing.T, contact string) (e intake.Event) {
	t.Helper()
	for _, x := range o.events(t) {
		if x.Contact() == intake.ContactID(contact) {
			e = x
		}
	}
	return e
}

// late puts into the stream what another node had written after an event and not sent.
func (o *office) late(t *testing.T, after intake.Event, data ...intake.Data) {
	t.Helper()
	for i, d := range data {
		e := after
		e.Sequence, e.Time, e.Data, e.Personal = after.Sequence+intake.Sequence(i)+1, after.Time.Add(time.Duration(i+1)*time.Millisecond), d, intake.Personal{}
		if m, ok := d.(*intake.MessageV1); ok {
			e.Personal = intake.PersonalJSON{Text: "晚到" + m.Dedupe}.Conceal()
		}
		if err := o.log.Append(context.Background(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func numbers(list []Message) (all []int) {
	for _, m := range list {
		all = append(all, m.Number)
	}
	return all
}

// A standby goes on with a conversation of a node that died with two ticked messages on its disk; then the disk is found. Both sides see them in their place, now and
// when they come back; what was sent twice is there once.
func TestADeadNodesMessagesComeLate(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, chat.Settings{}, Limits{})
	o.signIn("anna", 1)
	desk := o.desk(t, "anna", nil)
	b, token := o.resident(t)
	contact := o.taken(t, desk, b)
	_ = desk.send(In{T: UpSay, Contact: contact, Key: "a1", Text: "您好"})
	b.until(t, "reply", func(o Out) bool { return o.T == DownMessage && o.N == 2 })
	before := o.last(t, contact)
	o.close()

	const own = 2 // epoch of the standby
	o = openAfter(t, dir, chat.Settings{}, Limits{}, own)
	o.signIn("anna", 1)
	desk = o.desk(t, "anna", map[string]int{contact: 2})
	b = dial(t, o.http.URL, "/chat/ws", nil)
	_ = b.send(In{T: UpHello, Token: token, After: 2})
	b.next(t, DownWelcome)
	_ = b.send(In{T: UpSay, Key: "again", Text: "没打勾的"}) // is on the dead node's disk too
	if n := b.next(t, DownTick).N; n != chat.Gap+1 {
		t.Fatalf("the first message after the takeover is number %d", n)
	}
	desk.until(t, "it", func(o Out) bool { return o.T == DownMessage && o.N == chat.Gap+1 })
	away := dial(t, o.http.URL, "/chat/ws", nil)
	_ = away.send(In{T: UpHello, Token: token, After: chat.Gap + 1})
	away.next(t, DownWelcome)
	away.drop()

	o.late(t, before, &intake.MessageV1{Number: 3, From: channels.Resident, Dedupe: "ticked"}, &intake.MessageV1{Number: 4, From: channels.Resident, Dedupe: "again"},
		&intake.MessageV1{Number: 5, From: "anna", Dedupe: "reply"})
	for who, c := range map[string]*browser{"resident": b, "desk": desk} {
		for _, n := range []int{3, 5} {
			if m := c.until(t, fmt.Sprint(who, " is shown ", n), func(o Out) bool { return o.T == DownMessage && o.N <= 5 }); m.N != n || m.Text == "" {
				t.Errorf("%s is shown %d, want %d: %+v", who, m.N, n, m.Message)
			}
		}
	}
	p, err := o.server.History(context.Background(), token, 0)
	if got := numbers(p.Messages); err != nil || !slices.Equal(got, []int{1, 2, 3, 5, chat.Gap + 1}) {
		t.Errorf("history %v (%v)", got, err)
	}
	// Who had 1001 and was away when they came is given what stands before the gap.
	back := dial(t, o.http.URL, "/chat/ws", nil)
	_ = back.send(In{T: UpHello, Token: token, After: chat.Gap + 1})
	back.next(t, DownWelcome)
	for _, n := range []int{1, 2, 3, 5} {
		if m := back.next(t, DownMessage); m.N != n {
			t.Errorf("came back, and is given %d, want %d", m.N, n)
		}
	}
	_ = back.send(In{T: UpSay, Key: "ticked", Text: "还是那句"}) // known: no second time
	if n := back.next(t, DownTick).N; n != 3 {
		t.Errorf("the late message sent again is number %d", n)
	}
	o.close()

	// The next start of this node knows everything: no gap. The tables have what memory had.
	o = openAfter(t, dir, chat.Settings{}, Limits{}, own)
	defer o.close()
	if _, err := o.server.Post(context.Background(), token, "z", "最后", nil); err != nil {
		t.Fatal(err)
	}
	p, err = o.server.History(context.Background(), token, 0)
	if got := numbers(p.Messages); err != nil || !slices.Equal(got, []int{1, 2, 3, 5, chat.Gap + 1, chat.Gap + 2}) {
		t.Errorf("history %v (%v)", got, err)
	}
}

// The dead node had ended it, which only its disk knew: the standby's copy ends with that, and nothing is written twice.
func TestADeadNodesEndComesLate(t *testing.T) {
	dir := t.TempDir()
	o := open(t, dir, chat.Settings{}, Limits{})
	b, token := o.resident(t)
	_ = b.send(In{T: UpSay, Key: "m1", Text: "你好"})
	b.next(t, DownTick)
	id, _ := o.server.contact(token)
	wait(t, "it waits", func() bool { return o.last(t, string(id)).Type() == "contact.waiting.v1" })
	before := o.last(t, string(id))
	o.close()
	o = openAfter(t, dir, chat.Settings{}, Limits{}, 2)
	defer o.close()
	b = dial(t, o.http.URL, "/chat/ws", nil)
	_ = b.send(In{T: UpHello, Token: token, After: 1})
	b.next(t, DownWelcome)
	o.late(t, before, &intake.EndedV1{Outcome: intake.Unattended, Reason: chat.ReasonResidentLeft, By: intake.ByResident})
	s := b.until(t, "the end", func(o Out) bool { return o.T == DownState && o.State.Stage == "over" })
	if s.State.Outcome != string(intake.Unattended) {
		t.Errorf("%+v", s.State)
	}
	proper := 0
	for _, e := range o.events(t) {
		if d, ok := e.Data.(*intake.EndedV1); ok && !d.Provisional {
			proper++
		}
	}
	if proper != 1 {
		t.Errorf("%d proper ends are in the stream", proper)
	}
}

// In whatever order the events of several nodes arrive, each node's own in theirs, and however often: the tables are the same.
func TestTablesInAnyOrderOfTheWriters(t *testing.T) {
	ctx := t.Context()
	db, err := store.Open(ctx, filepath.Join(t.TempDir(), "tables.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s := &Server{c: Config{DB: db, Now: time.Now}, rooms: map[intake.ContactID]*room{}}
	apply := func(t *rapid.T, list []intake.Event) {
		if err := db.Tx(ctx, func(tx *store.Tx) error {
			var records []stream.Record
			for _, e := range list {
				records = append(records, stream.Record{Event: e})
			}
			return s.Apply(ctx, tx, records)
		}); err != nil {
			t.Fatal(err)
		}
	}
	type tables struct {
		Record   chat.Record
		Messages []channels.Message
	}
	read := func(t *rapid.T, id intake.ContactID) (x tables) {
		var err error
		var found bool
		if x.Record, found, err = s.record(ctx, id); err != nil || !found {
			t.Fatalf("%v, %v", found, err)
		}
		x.Record.Contact, x.Record.Dedupe = "", ""
		if x.Messages, err = s.history(ctx, id); err != nil {
			t.Fatal(err)
		}
		return x
	}
	n := 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		var epochs [][]intake.Event
		at := time.Date(2026, 11, 3, 1, 0, 0, 0, time.UTC)
		for epoch := range uint32(rapid.IntRange(1, 3).Draw(t, "epochs")) {
			var list []intake.Event
			tell := func(d intake.Data, text string) {
				at = at.Add(time.Second)
				list = append(list, intake.Event{Source: "yingda/test", Sequence: intake.NewSequence(epoch+1, uint32(len(list)+1)), Time: at, PartitionKey: "k", Data: d, Personal: intake.PersonalJSON{Text: text}.Conceal()})
			}
			if epoch == 0 {
				tell(&intake.OfferedV1{Channel: intake.Chat, Line: "1"}, "")
			}
			for i := range rapid.IntRange(1, 6).Draw(t, "events") {
				switch rapid.IntRange(0, 5).Draw(t, "what") {
				case 0, 1, 2:
					key := fmt.Sprint("k", epoch, i)
					if epoch > 0 && rapid.Bool().Draw(t, "again") { // sent again to the next node, since the one before did not say that it had it
						key = fmt.Sprint("k", epoch-1, i)
					}
					tell(&intake.MessageV1{Number: int(epoch)*chat.Gap + i + 1, From: channels.Resident, Dedupe: key}, "话")
				case 3:
					tell(&intake.AnsweredV1{Operator: "anna", Offer: "o"}, "")
				case 4:
					tell(&intake.EndedV1{Outcome: intake.Interrupted, Provisional: i%2 == 0}, "")
				case 5:
					tell(&intake.ErasedV1{}, "")
				}
			}
			epochs = append(epochs, list)
		}
		as := func(id string) [][]intake.Event {
			out := make([][]intake.Event, len(epochs))
			for i, list := range epochs {
				for _, e := range list {
					e.Subject = intake.Subject("contact/" + id)
					if d, ok := e.Data.(*intake.OfferedV1); ok {
						x := *d
						x.Dedupe = id
						e.Data = &x
					}
					out[i] = append(out[i], e)
				}
			}
			return out
		}
		right, other := fmt.Sprint("r", n), fmt.Sprint("o", n)
		apply(t, slices.Concat(as(right)...))
		mixed, at2 := as(other), make([]int, len(epochs))
		apply(t, mixed[0][:1]) // who takes over has heard of it
		at2[0] = 1
		for {
			var open []int
			for i := range mixed {
				if at2[i] < len(mixed[i]) {
					open = append(open, i)
				}
			}
			if len(open) == 0 {
				break
			}
			i := rapid.SampledFrom(open).Draw(t, "next")
			from := rapid.IntRange(0, at2[i]).Draw(t, "again from")
			at2[i]++
			apply(t, mixed[i][from:at2[i]])
		}
		got, want := read(t, intake.ContactID(other)), read(t, intake.ContactID(right))
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}
