package chat

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"yingda/channels"
	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/pii"
	"yingda/internal/transcript"
)

func told(epoch, n uint32, at time.Duration, d intake.Data, p intake.PersonalJSON) intake.Event {
	return intake.Event{Source: "yingda/test", Subject: "contact/c", Sequence: intake.NewSequence(epoch, n), Time: transcript.Start.Add(at), PartitionKey: "k", Data: d, Personal: p.Conceal()}
}

// Whatever the order in which the events of several nodes arrive, and however often, the record is the same, as long as each node's own come in theirs.
func TestRecordInAnyOrderOfTheWriters(t *testing.T) {
	operators := []intake.UserID{"anna", "bert", "carl"}
	rapid.Check(t, func(t *rapid.T) {
		var epochs [][]intake.Event
		at := time.Duration(0)
		for epoch := range uint32(rapid.IntRange(1, 4).Draw(t, "epochs")) {
			var list []intake.Event
			tell := func(d intake.Data, p intake.PersonalJSON) {
				at += time.Second
				list = append(list, told(epoch+1, uint32(len(list)+1), at, d, p))
			}
			if epoch == 0 {
				tell(&intake.OfferedV1{Channel: intake.Chat, Line: "1", Caller: "first"}, intake.PersonalJSON{Number: "13800112233"})
			}
			for i := range rapid.IntRange(1, 8).Draw(t, "events") {
				op := rapid.SampledFrom(operators).Draw(t, "operator")
				switch rapid.SampledFrom([]string{"say", "answer", "move", "queue", "unrang", "wait", "leave", "end", "guess", "closed", "erase"}).Draw(t, "what") {
				case "say":
					tell(&intake.MessageV1{Number: int(epoch)*Gap + i + 1, From: rapid.SampledFrom([]string{channels.Resident, string(op)}).Draw(t, "from")}, intake.PersonalJSON{})
				case "answer":
					tell(&intake.AnsweredV1{Operator: op, Offer: intake.OfferID(fmt.Sprint(epoch, i))}, intake.PersonalJSON{})
				case "move":
					tell(&intake.MovedV1{To: string(op)}, intake.PersonalJSON{})
				case "queue":
					tell(&intake.MovedV1{To: toQueue}, intake.PersonalJSON{})
				case "unrang":
					tell(&intake.UnrangV1{Operator: op}, intake.PersonalJSON{})
				case "wait":
					tell(&intake.WaitingV1{}, intake.PersonalJSON{})
				case "leave":
					tell(&intake.IdentifiedV1{Caller: intake.Token(fmt.Sprint(epoch, i))}, intake.PersonalJSON{Number: fmt.Sprint("1380011223", epoch)})
				case "end":
					tell(&intake.EndedV1{Outcome: intake.Replied, Reason: fmt.Sprint(epoch, i)}, intake.PersonalJSON{})
				case "guess":
					tell(&intake.EndedV1{Outcome: intake.Interrupted, Reason: fmt.Sprint(epoch, i), Provisional: true}, intake.PersonalJSON{})
				case "closed":
					tell(&intake.SaidV1{Prompt: promptClosed}, intake.PersonalJSON{})
				case "erase":
					tell(&intake.ErasedV1{}, intake.PersonalJSON{})
				}
			}
			epochs = append(epochs, list)
		}
		var want, got Record
		for _, e := range slices.Concat(epochs...) {
			if !want.Apply(e) {
				t.Fatalf("%s is not taken", e.ID())
			}
		}
		at2 := make([]int, len(epochs))
		for n := 0; n < len(slices.Concat(epochs...)); n++ {
			var open []int
			for i := range epochs {
				if at2[i] < len(epochs[i]) {
					open = append(open, i)
				}
			}
			i := rapid.SampledFrom(open).Draw(t, "next")
			if !got.Apply(epochs[i][at2[i]]) {
				t.Fatalf("%s is not taken", epochs[i][at2[i]].ID())
			}
			at2[i]++
			again := epochs[i][rapid.IntRange(0, at2[i]-1).Draw(t, "again")]
			if before := got; got.Apply(again) || !reflect.DeepEqual(before, got) {
				t.Fatalf("%s is taken twice", again.ID())
			}
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}

// standby is a hall to which a dead node's conversation was given, with what it had sent.
func standby(t *testing.T, sent ...intake.Event) (h *hall, rec *Record, step func(in any) []any) {
	t.Helper()
	rec = &Record{}
	keys := map[string]int{}
	for _, e := range sent {
		rec.Apply(e)
		if m, ok := e.Data.(*intake.MessageV1); ok {
			keys[KeyOf(m.Number, m.Dedupe)] = m.Number
		}
	}
	h = newHall(6, queue.Settings{}, 10)
	now := transcript.Start.Add(time.Minute)
	step = func(in any) []any {
		now = now.Add(time.Second)
		return h.step(now, in)
	}
	step(SetLines{Default: "1", Lines: []Line{{Line: intake.Line{ID: "1"}}}})
	step(queue.SignedIn{Operator: "anna", Reachable: true, Capacity: queue.Capacity{Chats: 2}})
	in := rec.Restore(keys)
	in.Another = true
	step(in)
	return h, rec, step
}

func of[T any](list []any) (found []T) {
	for _, x := range list {
		if x, ok := x.(T); ok {
			found = append(found, x)
		}
	}
	return found
}

func written(list []any) (types []intake.Data) {
	for _, w := range of[Write](list) {
		for _, e := range w.Events {
			types = append(types, e.Data)
		}
	}
	return types
}

func lateMessage(rec *Record, e intake.Event) Late {
	rec.Apply(e)
	d := e.Data.(*intake.MessageV1)
	return Late{Record: *rec, Message: &channels.Message{Number: d.Number, Key: d.Dedupe, From: d.From, At: e.Time, Text: e.Personal.Text}}
}

var begun = []intake.Event{
	told(5, 1, 0, &intake.OfferedV1{Channel: intake.Chat, Line: "1"}, intake.PersonalJSON{}),
	told(5, 2, time.Second, &intake.MessageV1{Number: 1, From: channels.Resident, Dedupe: "m1"}, intake.PersonalJSON{Text: "一"}),
}

func TestMessagesOfADeadNodeComeLateInTheirPlace(t *testing.T) {
	_, rec, step := standby(t, begun...)
	out := step(Say{Ref: "r", Contact: "c", From: channels.Resident, Key: "m3", Text: pii.NewText("三")})
	w := written(out)
	if m, ok := w[len(w)-1].(*intake.MessageV1); !ok || m.Number != Gap+1 {
		t.Fatalf("the next message is %+v", w)
	}
	out = step(lateMessage(rec, told(5, 3, 2*time.Second, &intake.MessageV1{Number: 2, From: channels.Resident, Dedupe: "m2"}, intake.PersonalJSON{Text: "二"})))
	if d := of[Deliver](out); len(d) != 1 || d[0].Message.Number != 2 || !d[0].Late {
		t.Fatalf("delivered %+v", d)
	}
	if w := written(out); len(w) != 0 {
		t.Errorf("a message that is in the stream is written again: %+v", w)
	}
	// The resident sends again what they had no tick for: it has its number. What they sent again before it came late keeps its new one.
	if d := of[Done](step(Say{Ref: "again", Contact: "c", From: channels.Resident, Key: "m2", Text: pii.NewText("二")})); len(d) != 1 || d[0].Number != 2 {
		t.Errorf("sent again: %+v", d)
	}
	if d := of[Deliver](step(lateMessage(rec, told(5, 4, 3*time.Second, &intake.MessageV1{Number: 3, From: channels.Resident, Dedupe: "m3"}, intake.PersonalJSON{Text: "三"})))); len(d) != 0 {
		t.Errorf("it is there twice: %+v", d)
	}
}

func TestAFirstMessageThatComesLateIsForSomebody(t *testing.T) {
	h, rec, step := standby(t, begun[0])
	step(lateMessage(rec, begun[1]))
	if v, _ := h.board.View("c"); v.Stage != Waiting || v.Waits.IsZero() {
		t.Errorf("nobody is asked: %+v", v)
	}
}

func TestAProperEndThatComesLateEndsItOnce(t *testing.T) {
	end := told(5, 3, 4*time.Second, &intake.EndedV1{Outcome: intake.Unattended, Reason: ReasonResidentLeft, By: intake.ByResident}, intake.PersonalJSON{})
	h, rec, step := standby(t, begun...)
	rec.Apply(end)
	out := step(Late{Record: *rec})
	for _, d := range written(out) {
		if _, ok := d.(*intake.EndedV1); ok {
			t.Errorf("it ends twice")
		}
	}
	if v, _ := h.board.View("c"); v.Stage != Over || v.Outcome != intake.Unattended || v.Reason != ReasonResidentLeft {
		t.Errorf("%+v", v)
	}
	if s := h.queue.Snapshot(); len(s.Waiting) != 0 {
		t.Errorf("it still waits: %+v", s.Waiting)
	}
	if out := h.wake(transcript.Start.Add(30 * time.Minute)); len(written(out)) != 0 {
		t.Errorf("later it writes %+v", written(out))
	}
	// A provisional one ends nothing: the conversation goes on here.
	h, rec, step = standby(t, begun...)
	end.Data = &intake.EndedV1{Outcome: intake.Interrupted, Provisional: true}
	rec.Apply(end)
	step(Late{Record: *rec})
	if v, _ := h.board.View("c"); v.Stage != Waiting {
		t.Errorf("%+v", v)
	}
}

// Nobody has come since the takeover: perhaps it had ended before, so our end is provisional. Once somebody has done something it is not.
func TestOurEndIsProvisionalWhileNobodyHasCome(t *testing.T) {
	for _, spoken := range []bool{false, true} {
		h, _, step := standby(t, begun...)
		if spoken {
			step(Say{Contact: "c", From: channels.Resident, Key: "m9", Text: pii.NewText("在吗")})
		}
		var ends []*intake.EndedV1
		for now := transcript.Start; len(ends) == 0 && now.Before(transcript.Start.Add(time.Hour)); now = now.Add(10 * time.Second) {
			for _, d := range written(h.wake(now)) {
				if e, ok := d.(*intake.EndedV1); ok {
					ends = append(ends, e)
				}
			}
		}
		if len(ends) != 1 || ends[0].Provisional == spoken {
			t.Errorf("spoken %v: %+v", spoken, ends)
		}
	}
}

func TestWhatComesLateOfWhoItIs(t *testing.T) {
	h, rec, step := standby(t, begun...)
	left := told(5, 3, 2*time.Second, &intake.IdentifiedV1{Caller: "tok"}, intake.PersonalJSON{Number: "13800112233"})
	rec.Apply(left)
	step(Late{Record: *rec})
	if v, _ := h.board.View("c"); v.Token != "tok" || v.Number.Reveal() != "13800112233" {
		t.Errorf("%+v", v)
	}
	step(LeaveNumber{Ref: "r", Contact: "c", Number: pii.NewPhone("13800445566"), Caller: channels.Caller{Token: "new"}})
	step(Late{Record: *rec})
	if v, _ := h.board.View("c"); v.Token != "new" {
		t.Errorf("what was left since is undone: %+v", v)
	}
	answered := told(5, 4, 3*time.Second, &intake.AnsweredV1{Operator: "bert", Offer: "o"}, intake.PersonalJSON{})
	rec.Apply(answered)
	step(Late{Record: *rec})
	if v, _ := h.board.View("c"); !v.Answered.Equal(answered.Time) || v.Operator != "" || v.Stage != Waiting {
		t.Errorf("%+v", v)
	}
}
