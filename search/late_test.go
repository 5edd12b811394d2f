package search

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"yingda/intake"
	"yingda/internal/pii"
)

// in puts an event into the epoch of another writer, as its n-th.
func in(epoch, n uint32, e intake.Event) intake.Event {
	e.Sequence = intake.NewSequence(epoch, n)
	return e
}

func TestADeadWritersEventsComeLate(t *testing.T) {
	const c = "contact/c1"
	tell := func(epoch, n uint32, d intake.Data, text string) intake.Event {
		return in(epoch, n, event(c, 10*epoch+n, d, intake.PersonalJSON{Text: text}))
	}
	offered := in(5, 1, event(c, 1, &intake.OfferedV1{Channel: intake.Chat, Line: "1", Caller: "old"}, intake.PersonalJSON{Number: "13800112233", Name: "张三"}))
	left := in(6, 2, event(c, 70, &intake.IdentifiedV1{Caller: "new"}, intake.PersonalJSON{Number: "13800445566"}))
	d := foldAll(
		offered,
		tell(5, 2, &intake.MessageV1{Number: 1}, "一"),
		tell(6, 1, &intake.MessageV1{Number: 1001}, "四"),
		left,
		tell(6, 3, &intake.AnsweredV1{Operator: "op-2"}, ""),
		tell(6, 4, &intake.EndedV1{Outcome: intake.Interrupted, Provisional: true}, ""),
		tell(5, 3, &intake.MessageV1{Number: 2}, "二"), // the disk is found
		tell(5, 4, &intake.IdentifiedV1{Caller: "between"}, ""),
		tell(5, 5, &intake.AnsweredV1{Operator: "op-1"}, ""),
		tell(5, 6, &intake.MessageV1{Number: 3}, "三"),
		tell(5, 7, &intake.EndedV1{Outcome: intake.Replied, Reason: "said_goodbye"}, ""),
		tell(5, 7, &intake.EndedV1{Outcome: intake.Replied, Reason: "said_goodbye"}, ""),
	)
	if words := fmt.Sprint(revealed(d.Words)); words != "[一 二 三 四]" {
		t.Errorf("words %s", words)
	}
	if d.Caller != "new" || d.Number.Reveal() != "13800445566" || d.Name.Reveal() != "张三" {
		t.Errorf("the number left later is undone: %+v", d)
	}
	if d.Outcome != intake.Replied || d.Provisional || !d.Ended.Equal(t0.Add(57*time.Minute)) {
		t.Errorf("the proper end does not stand: %+v", d)
	}
	if d.Operator != "op-2" || !d.Answered.Equal(t0.Add(55*time.Minute)) {
		t.Errorf("answered by %s at %s: want the first time and the last operator", d.Operator, d.Answered)
	}
	if d.Sequence != intake.NewSequence(6, 4) || d.Trail.Late != 5 || d.Version() != uint64(d.Sequence)+5 {
		t.Errorf("sequence %s, %d late", d.Sequence, d.Trail.Late)
	}
	if Apply(&d, tell(6, 5, &intake.EndedV1{Outcome: intake.Interrupted, Provisional: true}, "")); d.Outcome != intake.Replied {
		t.Error("a provisional end stands against the proper one")
	}
}

func revealed(words []pii.Text) (list []string) {
	for _, w := range words {
		list = append(list, w.Reveal())
	}
	return list
}

// The documents of an index that is older than trails: what is known stands, what was provisional gives way.
func TestDocumentsFromBeforeTrails(t *testing.T) {
	d, err := Load([]byte(`{"id":"contact/c","seq":25769803777,"state":"ended","outcome":"interrupted","operator":"op-2","words":["后"]}`))
	if err != nil {
		t.Fatal(err)
	}
	Apply(&d, in(5, 4, event("contact/c", 1, &intake.AnsweredV1{Operator: "op-1"}, intake.PersonalJSON{})))
	Apply(&d, in(5, 5, event("contact/c", 2, &intake.MessageV1{}, intake.PersonalJSON{Text: "前"})))
	Apply(&d, in(5, 6, event("contact/c", 3, &intake.EndedV1{Outcome: intake.Replied}, intake.PersonalJSON{})))
	if d.Operator != "op-2" || d.Outcome != intake.Replied || fmt.Sprint(revealed(d.Words)) != "[前 后]" {
		t.Errorf("%+v", d)
	}
}

// interleaved draws an order in which the events of several epochs arrive: any that keeps the order within each, with parts that come again.
func interleaved(t *rapid.T, epochs [][]intake.Event) []intake.Event {
	var list []intake.Event
	at := make([]int, len(epochs))
	for {
		var open []int
		for i := range epochs {
			if at[i] < len(epochs[i]) {
				open = append(open, i)
			}
		}
		if len(open) == 0 {
			return list
		}
		i := rapid.SampledFrom(open).Draw(t, "epoch")
		n := rapid.IntRange(1, len(epochs[i])-at[i]).Draw(t, "run")
		from := at[i] - rapid.IntRange(0, at[i]).Draw(t, "again")
		list = append(list, epochs[i][from:at[i]+n]...)
		at[i] += n
	}
}

func TestAnyOrderThatKeepsEachWritersOwn(t *testing.T) {
	long := strings.Repeat("话", MaxWords/3)
	rapid.Check(t, func(t *rapid.T) {
		all := history(t)
		var epochs [][]intake.Event
		for epoch := uint32(3); len(all) > 0; epoch++ {
			n := rapid.IntRange(1, len(all)).Draw(t, "of an epoch")
			for i := range all[:n] {
				all[i] = in(epoch, uint32(i+1), all[i])
				if rapid.IntRange(0, 9).Draw(t, "long") == 0 {
					all[i].Personal.Text = pii.NewText(fmt.Sprint(len(all), i) + long)
				}
			}
			epochs, all = append(epochs, all[:n]), all[n:]
		}
		want := foldAll(slices.Concat(epochs...)...)
		var got Document
		for _, e := range interleaved(t, epochs) {
			before := got
			words, earlier := fmt.Sprint(before.Words, before.Contacts, before.Recordings), fmt.Sprint(before.Trail)
			changed := Apply(&got, e)
			if changed != (got.Version() > before.Version()) || !changed && !reflect.DeepEqual(got, before) {
				t.Fatalf("%s: changed %v, version %x after %x", e.ID(), changed, got.Version(), before.Version())
			}
			if words != fmt.Sprint(before.Words, before.Contacts, before.Recordings) || earlier != fmt.Sprint(before.Trail) {
				t.Fatalf("%s wrote into the document before", e.ID())
			}
			b, err := got.Stored()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := Load(b); err != nil || got.ID != "" && !reflect.DeepEqual(back, got) {
				t.Fatalf("stored and loaded it is %+v (%v), was %+v", back, err, got)
			}
		}
		if got.Trail.Late = 0; !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	})
}
