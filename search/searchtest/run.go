package searchtest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"yingda/intake"
	"yingda/search"
)

// Opener opens the index of a name, empty at first; the same name within one test is the same index, as after a restart.
type Opener func(t *testing.T, name string) search.Index

// Run checks an index against everything that search.Index promises.
func Run(t *testing.T, open Opener) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Opener)
	}{
		{"documents are the fold of their events, however they come", foldsAnyhow},
		{"a dead node's events come late", foldsLate},
		{"position survives a restart and never goes back", keepsPosition},
		{"filters", filters},
		{"a callback is joined when asked", joinsCallbacks},
		{"numbers, names, ids", findsByNumberNameID},
		{"what is erased is not found", forgets},
		{"pages hold everything once", pages},
		{"highlights are masked and their ranges right", highlights},
		{"hostile queries", hostile},
		{"closed", closed},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open) })
	}
}

func opened(t *testing.T, open Opener, name string) search.Index {
	t.Helper()
	x := open(t, name)
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func apply(t *testing.T, x search.Index, events []intake.Event, at ...search.Position) {
	t.Helper()
	if err := x.Apply(t.Context(), events, at...); err != nil {
		t.Fatal(err)
	}
}

func find(t *testing.T, x search.Index, q search.Query) []string {
	t.Helper()
	r, err := x.Search(t.Context(), q)
	if err != nil {
		t.Fatalf("query %+v: %v", q, err)
	}
	n, err := x.Count(t.Context(), q)
	if err != nil || n != r.Total {
		t.Errorf("query %+v: Count says %d (%v), Search %d", q, n, err, r.Total)
	}
	ids := []string{}
	for _, h := range r.Hits {
		ids = append(ids, h.ID.ID())
	}
	return ids
}

func same(t *testing.T, what string, got, want []string) {
	t.Helper()
	got, want = slices.Sorted(slices.Values(got)), slices.Sorted(slices.Values(want))
	if !slices.Equal(got, want) {
		t.Errorf("%s: found %v, want %v", what, got, want)
	}
}

// teller makes events of one subject in order.
type teller struct {
	subject intake.Subject
	count   uint32
	at      time.Time
}

var noon = time.Date(2026, 11, 3, 4, 0, 0, 0, time.UTC)

func (s *teller) tell(d intake.Data, p intake.PersonalJSON) intake.Event {
	s.count++
	if s.at.IsZero() {
		s.at = noon
	}
	s.at = s.at.Add(time.Minute)
	return intake.Event{Source: "yingda/test", Subject: s.subject, Sequence: intake.NewSequence(1, s.count), Time: s.at, PartitionKey: "k", Data: d, Personal: p.Conceal()}
}

// sample is a day's events, small enough to be told in every way.
func sample() []intake.Event {
	s, err := Embedded()
	if err != nil {
		panic(err) // the set is embedded and checked by its own test
	}
	events := Set{Items: s.Items[:40]}.Events()
	cb := teller{subject: "callback/b1"}
	return append(events,
		cb.tell(&intake.CallbackBornV1{Caller: "tok", Line: "12345", Cause: intake.AbandonedQueue, FirstAttempt: noon, Due: noon.Add(time.Hour), Contacts: []intake.ContactID{"c1"}}, intake.PersonalJSON{Number: "13800112233"}),
		cb.tell(&intake.CallbackJoinedV1{Contact: "c2", Cause: intake.QueueFull}, intake.PersonalJSON{}),
		cb.tell(&intake.CallbackTakenV1{Operator: "op-1"}, intake.PersonalJSON{}),
		cb.tell(&intake.CallbackTriedV1{Attempt: "a1", Operator: "op-1", Result: intake.TryNoAnswer}, intake.PersonalJSON{}),
		cb.tell(&intake.CallbackReleasedV1{Operator: "op-1"}, intake.PersonalJSON{}),
	)
}

func foldsAnyhow(t *testing.T, open Opener) {
	events := sample()
	want := map[intake.Subject]search.Document{}
	for _, e := range events {
		d := want[e.Subject]
		search.Apply(&d, e)
		want[e.Subject] = d
	}
	r := rand.New(rand.NewPCG(7, 7))
	for round := range 6 {
		x := opened(t, open, fmt.Sprintf("fold%d", round))
		for at := 0; at < len(events); {
			n := 1 + r.IntN(60)
			from := max(0, at-r.IntN(40)) // some come again
			end := min(at+n, len(events))
			apply(t, x, append([]intake.Event{{Subject: "operator/op-1", Sequence: 9, Data: &intake.OperatorStateV1{}}}, events[from:end]...), search.Position{Offset: int64(end)})
			at = end
		}
		if r.IntN(2) == 0 {
			apply(t, x, events) // all of it once more
		}
		for id, doc := range want {
			got, ok, err := x.Get(t.Context(), id)
			if err != nil || !ok || !reflect.DeepEqual(got, doc) {
				t.Fatalf("round %d: %s is %+v (%v, %v), want %+v", round, id, got, ok, err, doc)
			}
		}
		if n, err := x.Count(t.Context(), search.Query{}); err != nil || n != len(want) {
			t.Errorf("round %d: %d documents (%v), want %d", round, n, err, len(want))
		}
	}
	x := opened(t, open, "none")
	if _, ok, err := x.Get(t.Context(), "contact/nobody"); ok || err != nil {
		t.Errorf("a document that never was: %v, %v", ok, err)
	}
}

// foldsLate: one node died and its disk is found after another had taken over. Its events come after the other's, in the same batch, in
// one of their own, after a restart, and again.
func foldsLate(t *testing.T, open Opener) {
	told := func(epoch uint32, s *teller, d intake.Data, p intake.PersonalJSON) intake.Event {
		e := s.tell(d, p)
		e.Sequence += intake.NewSequence(epoch-1, 0)
		return e
	}
	story := func(id string) (before, other, late []intake.Event) {
		a, b := teller{subject: intake.Subject("contact/" + id)}, teller{subject: intake.Subject("contact/" + id), at: noon.Add(time.Hour)}
		before = []intake.Event{told(5, &a, &intake.OfferedV1{Channel: intake.Chat, Line: "12345", Caller: "tok"}, intake.PersonalJSON{Number: "13800112233", Name: "张桂芳"}),
			told(5, &a, &intake.MessageV1{Number: 1, From: "resident"}, intake.PersonalJSON{Text: "路灯不亮"})}
		late = []intake.Event{told(5, &a, &intake.MessageV1{Number: 2, From: "resident"}, intake.PersonalJSON{Text: "电梯坏了"}),
			told(5, &a, &intake.AnsweredV1{Operator: "op-1"}, intake.PersonalJSON{}),
			told(5, &a, &intake.EndedV1{Outcome: intake.Replied}, intake.PersonalJSON{})}
		other = []intake.Event{told(6, &b, &intake.EndedV1{Outcome: intake.Interrupted, Provisional: true}, intake.PersonalJSON{}),
			told(6, &b, &intake.IdentifiedV1{Caller: "tok2"}, intake.PersonalJSON{Number: "13800445566"})}
		return before, other, late
	}
	x := open(t, "late")
	var ids []string
	for _, id := range []string{"x1", "x2", "x3", "x4"} {
		ids = append(ids, id)
		before, other, late := story(id)
		switch id {
		case "x1": // all at once
			apply(t, x, slices.Concat(before, other, late))
		case "x2": // one by one, each again
			for _, e := range slices.Concat(before, other, late) {
				apply(t, x, []intake.Event{e})
				apply(t, x, []intake.Event{e})
			}
		case "x3": // the next process reads them
			apply(t, x, slices.Concat(before, other))
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			x = open(t, "late")
			apply(t, x, late)
			apply(t, x, slices.Concat(before, other, late))
		case "x4": // some come before, some after
			apply(t, x, slices.Concat(before, other[:1], late[:2]))
			apply(t, x, slices.Concat(other[1:], late[2:]))
		}
	}
	defer x.Close()
	for _, id := range ids {
		var want search.Document
		before, other, late := story(id)
		for _, e := range slices.Concat(before, late, other) {
			search.Apply(&want, e)
		}
		got, ok, err := x.Get(t.Context(), want.ID)
		if err != nil || !ok {
			t.Fatalf("%s: %v, %v", id, ok, err)
		}
		if got.Trail.Late == 0 {
			t.Errorf("%s: nothing came late", id)
		}
		if got.Trail.Late = 0; !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %+v\nwant  %+v", id, got, want)
		}
	}
	same(t, "words that came late", find(t, x, search.Query{Text: "电梯坏了"}), ids)
	same(t, "the proper end", find(t, x, search.Query{Outcomes: []intake.Outcome{intake.Replied}}), ids)
	same(t, "the provisional end", find(t, x, search.Query{Outcomes: []intake.Outcome{intake.Interrupted}}), nil)
	same(t, "the number left later", find(t, x, search.Query{Caller: "tok2"}), ids)
}

func keepsPosition(t *testing.T, open Opener) {
	x := open(t, "pos")
	if at, err := x.Position(t.Context()); err != nil || len(at) != 0 {
		t.Fatalf("new index stands at %v (%v)", at, err)
	}
	apply(t, x, sample(), search.Position{Offset: 70}, search.Position{Partition: 2, Offset: 5})
	apply(t, x, nil, search.Position{Offset: 60}, search.Position{Partition: 1, Offset: 1})
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = opened(t, open, "pos")
	want := []search.Position{{Offset: 70}, {Partition: 1, Offset: 1}, {Partition: 2, Offset: 5}}
	if at, err := x.Position(t.Context()); err != nil || !slices.Equal(at, want) {
		t.Errorf("after a restart it stands at %v (%v), want %v", at, err, want)
	}
	if n, err := x.Count(t.Context(), search.Query{}); err != nil || n != 41 {
		t.Errorf("after a restart there are %d documents (%v), want 41", n, err)
	}
}

func filters(t *testing.T, open Opener) {
	x := opened(t, open, "filters")
	phone, chat, job := teller{subject: "contact/p"}, teller{subject: "contact/c", at: noon.Add(24 * time.Hour)}, teller{subject: "case/j", at: noon.Add(48 * time.Hour)}
	apply(t, x, []intake.Event{
		phone.tell(&intake.OfferedV1{Channel: intake.Phone, Line: "12345", Caller: "tok1"}, intake.PersonalJSON{}),
		phone.tell(&intake.AnsweredV1{Operator: "op-1"}, intake.PersonalJSON{}),
		phone.tell(&intake.EndedV1{Outcome: intake.Answered}, intake.PersonalJSON{}),
		chat.tell(&intake.OfferedV1{Channel: intake.Chat, Line: "12320", Caller: "tok2"}, intake.PersonalJSON{}),
		chat.tell(&intake.MessageV1{From: "resident"}, intake.PersonalJSON{Text: "路灯不亮"}),
		job.tell(&intake.CaseOpenedV1{Contacts: []intake.ContactID{"p"}, Category: "市政设施", Grid: "YX0101", Department: "城管", By: "op-2"}, intake.PersonalJSON{Text: "路灯不亮"}),
		job.tell(&intake.CaseAcceptedV1{}, intake.PersonalJSON{}),
	})
	yes, no := true, false
	for what, c := range map[string]struct {
		q    search.Query
		want []string
	}{
		"everything":       {search.Query{}, []string{"p", "c", "j"}},
		"kind":             {search.Query{Kinds: []search.Kind{search.Case}}, []string{"j"}},
		"two kinds":        {search.Query{Kinds: []search.Kind{search.Case, search.Contact}}, []string{"p", "c", "j"}},
		"channel":          {search.Query{Channels: []intake.Channel{intake.Chat}}, []string{"c"}},
		"line":             {search.Query{Lines: []intake.LineID{"12345"}}, []string{"p"}},
		"outcome":          {search.Query{Outcomes: []intake.Outcome{intake.Answered, intake.Voicemail}}, []string{"p"}},
		"grid":             {search.Query{Grids: []intake.GridID{"YX0101"}}, []string{"j"}},
		"department":       {search.Query{Departments: []string{"城管"}}, []string{"j"}},
		"category":         {search.Query{Categories: []string{"市政设施"}}, []string{"j"}},
		"state":            {search.Query{States: []search.State{search.Accepted}}, []string{"j"}},
		"operator":         {search.Query{Operators: []intake.UserID{"op-1"}}, []string{"p"}},
		"caller":           {search.Query{Caller: "tok2"}, []string{"c"}},
		"about a contact":  {search.Query{Contact: "p"}, []string{"p", "j"}},
		"open":             {search.Query{Open: &yes}, []string{"c", "j"}},
		"not open":         {search.Query{Open: &no}, []string{"p"}},
		"from":             {search.Query{From: noon.Add(24 * time.Hour)}, []string{"c", "j"}},
		"from and to":      {search.Query{From: noon.Add(time.Hour), To: noon.Add(25 * time.Hour)}, []string{"c"}},
		"to is not in it":  {search.Query{To: noon.Add(time.Minute)}, nil},
		"words and filter": {search.Query{Text: "路灯", Kinds: []search.Kind{search.Contact}}, []string{"c"}},
		"no such":          {search.Query{Grids: []intake.GridID{"YX"}}, nil},
		"all must hold":    {search.Query{Channels: []intake.Channel{intake.Chat}, Lines: []intake.LineID{"12345"}}, nil},
	} {
		same(t, what, find(t, x, c.q), c.want)
	}
	if got := find(t, x, search.Query{}); !slices.Equal(got, []string{"j", "c", "p"}) {
		t.Errorf("without words the newest is first: %v", got)
	}
	if got := find(t, x, search.Query{Text: "路灯不亮", Newest: true}); !slices.Equal(got, []string{"j", "c"}) {
		t.Errorf("newest first with words: %v", got)
	}
}

func joinsCallbacks(t *testing.T, open Opener) {
	yes, no := true, false
	has, not := search.Query{HasCallback: &yes}, search.Query{HasCallback: &no}
	for _, order := range []string{"contact first", "callback first"} {
		x := opened(t, open, strings.ReplaceAll(order, " ", ""))
		var contacts []intake.Event
		for _, id := range []string{"c1", "c2", "c3"} {
			s := teller{subject: intake.ContactID(id).Subject()}
			contacts = append(contacts, s.tell(&intake.OfferedV1{Channel: intake.Phone, Line: "12345"}, intake.PersonalJSON{}))
		}
		b := teller{subject: "callback/b"}
		born := b.tell(&intake.CallbackBornV1{Contacts: []intake.ContactID{"c1"}, FirstAttempt: noon}, intake.PersonalJSON{})
		joined := b.tell(&intake.CallbackJoinedV1{Contact: "c2"}, intake.PersonalJSON{})
		if order == "contact first" {
			apply(t, x, contacts)
			same(t, "before it is born", find(t, x, has), nil)
			apply(t, x, []intake.Event{born})
			same(t, "born", find(t, x, has), []string{"c1", "b"})
			apply(t, x, []intake.Event{joined})
		} else {
			apply(t, x, []intake.Event{born, joined})
			apply(t, x, contacts)
		}
		same(t, order, find(t, x, has), []string{"c1", "c2", "b"})
		same(t, order+", without", find(t, x, not), []string{"c3"})
		apply(t, x, []intake.Event{b.tell(&intake.CallbackClearedV1{By: intake.ClearedWeReached}, intake.PersonalJSON{})})
		same(t, order+", cleared", find(t, x, has), nil)
		same(t, order+", cleared, without", find(t, x, not), []string{"c1", "c2", "c3", "b"})
	}
}

func findsByNumberNameID(t *testing.T, open Opener) {
	x := opened(t, open, "who")
	zhang, li := teller{subject: "contact/0192aaaa-0000-7000-8000-000000000001"}, teller{subject: "contact/0192aaaa-0000-7000-8000-000000000002"}
	apply(t, x, []intake.Event{
		zhang.tell(&intake.OfferedV1{Channel: intake.Phone, Line: "12345", SIPCallID: "Abc123@trunk.example"}, intake.PersonalJSON{Number: "+8613800112233", Name: "张桂芳"}),
		li.tell(&intake.OfferedV1{Channel: intake.App, Line: "12345"}, intake.PersonalJSON{Number: "051255501234", Name: "李长根", Text: "打我儿子电话13800445566，WiFi坏了，住翠竹三号楼"}),
	})
	z, l := zhang.subject.ID(), li.subject.ID()
	for q, want := range map[string]string{
		"13800112233": z, "+8613800112233": z, "8613800112233": z, "138-0011-2233": z, "2233": z, "00112233": z, "幺三八零零幺幺二二三三": z, "１３８００１１２２３３": z,
		"0512-5550-1234": l, "051255501234": l, "55501234": l, "5550-1234": l, "1234": l, "5550": l, "(0512) 5550 1234": l, "13800445566": l, "5566": l,
		"张桂芳": z, "張桂芳": z, "桂芳": z, "张贵方": z, "zgf": z, "zhangguifang": z, "张阿姨": z, "李长根师傅": l,
		"abc123@trunk.example": z, z: z, "contact/" + z: z, "wifi": l, "ＷＩＦＩ": l, "翠竹3号": l, "坏": l,
	} {
		if got := find(t, x, search.Query{Text: q}); len(got) == 0 || got[0] != want {
			t.Errorf("%q finds %v, want %s first", q, got, want)
		}
	}
	for _, q := range []string{"13800112234", "051255501235", "9999", "王小明"} {
		same(t, q, find(t, x, search.Query{Text: q}), nil)
	}
}

func forgets(t *testing.T, open Opener) {
	x := opened(t, open, "erase")
	c := teller{subject: "contact/gone"}
	apply(t, x, []intake.Event{
		c.tell(&intake.OfferedV1{Channel: intake.App, Line: "12345", Caller: "tok", SIPCallID: "call-id-1@host"}, intake.PersonalJSON{Number: "13800112233", Name: "张桂芳", Address: "翠竹新村12栋", Text: "路灯不亮"}),
	})
	asked := []string{"路灯不亮", "13800112233", "2233", "张桂芳", "翠竹新村", "灯", "路登", "call-id-1@host"}
	for _, q := range asked {
		same(t, q+" before", find(t, x, search.Query{Text: q}), []string{"gone"})
	}
	apply(t, x, []intake.Event{
		c.tell(&intake.ErasedV1{By: "admin", Ground: "asked"}, intake.PersonalJSON{}),
		c.tell(&intake.MessageV1{From: "resident"}, intake.PersonalJSON{Text: "路灯不亮"}),
		c.tell(&intake.EndedV1{Outcome: intake.Accepted}, intake.PersonalJSON{}),
	})
	for _, q := range asked {
		same(t, q+" after", find(t, x, search.Query{Text: q}), nil)
	}
	same(t, "caller", find(t, x, search.Query{Caller: "tok"}), nil)
	d, ok, err := x.Get(t.Context(), "contact/gone")
	if err != nil || !ok || !d.Erased || d.Outcome != intake.Accepted || !d.Number.IsZero() || !d.Name.IsZero() || !d.Address.IsZero() || len(d.Words) != 0 {
		t.Errorf("erased document: %+v (%v, %v)", d, ok, err)
	}
}

func pages(t *testing.T, open Opener) {
	x := opened(t, open, "pages")
	apply(t, x, sample())
	for _, q := range []search.Query{{Limit: 7}, {Limit: 7, Text: "路灯 停水 漏水 电梯 垃圾 不 没"}, {Limit: 1, Kinds: []search.Kind{search.Case}}} {
		whole := q
		whole.Limit = search.MaxLimit
		want := find(t, x, whole)
		if len(want) < 8 {
			t.Fatalf("query %q finds only %d", q.Text, len(want))
		}
		var got, byOffset []string
		for page := 0; ; page++ {
			r, err := x.Search(t.Context(), q)
			if err != nil || r.Total != len(want) {
				t.Fatalf("page %d: total %d (%v), want %d", page, r.Total, err, len(want))
			}
			for _, h := range r.Hits {
				got = append(got, h.ID.ID())
			}
			if q.After = r.Next; q.After == "" {
				break
			}
		}
		q.After = ""
		for q.Offset = 0; q.Offset < len(want); q.Offset += q.Limit {
			byOffset = append(byOffset, find(t, x, q)...)
		}
		if !slices.Equal(got, want) || !slices.Equal(byOffset, want) {
			t.Errorf("%q: pages give %v\nby offset %v\nin one %v", q.Text, got, byOffset, want)
		}
	}
	for _, cursor := range []string{"x", "W10", "////", strings.Repeat("A", 10_000)} {
		if _, err := x.Search(t.Context(), search.Query{After: cursor}); !errors.Is(err, search.ErrCursor) {
			t.Errorf("cursor %.20q: %v, want ErrCursor", cursor, err)
		}
	}
}

func highlights(t *testing.T, open Opener) {
	x := opened(t, open, "lights")
	c := teller{subject: "contact/h"}
	long := strings.Repeat("前面说了很多别的事情，", 30)
	apply(t, x, []intake.Event{c.tell(&intake.OfferedV1{Channel: intake.App, Line: "12345"}, intake.PersonalJSON{
		Number: "13800112233", Name: "张桂芳", Address: "翠竹新村12栋", Text: long + "门口路灯不亮，打我电话 138-0044-5566 或者幺三八零零四四五五六七"})})
	for q, want := range map[string]struct {
		why   search.Why
		field string
		text  string // what a range covers
	}{
		"路灯不亮": {search.WhyWords, "words", "路灯不亮"}, "路登": {search.WhySound, "words", "路灯"}, "街灯": {search.WhySynonym, "words", "路灯"}, "灯": {search.WhyChar, "words", "灯"},
		"13800112233": {search.WhyNumber, "number", "138****2233"}, "张桂芳": {search.WhyName, "name", "张*芳"}, "翠竹新村": {search.WhyAddress, "address", "翠竹新村"},
		"13800445566": {search.WhyNumber, "words", "***-****-5566"},
	} {
		r, err := x.Search(t.Context(), search.Query{Text: q})
		if err != nil || len(r.Hits) != 1 {
			t.Errorf("%s: %d hits (%v)", q, len(r.Hits), err)
			continue
		}
		h := r.Hits[0]
		if !slices.Contains(h.Why, want.why) {
			t.Errorf("%s: why is %v, want %s in it", q, h.Why, want.why)
		}
		covered := false
		for _, l := range h.Highlights {
			text := l.Text.Reveal()
			for _, secret := range []string{"1380011", "138-0044", "0044", "12栋", "桂", "幺三八零零四四"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s: highlight %q shows %q", q, text, secret)
				}
			}
			for _, g := range l.Ranges {
				if g.From < 0 || g.To > len(text) || g.From >= g.To {
					t.Fatalf("%s: range %v of %q", q, g, text)
				}
				covered = covered || l.Field == want.field && strings.Contains(text[g.From:g.To], want.text)
			}
		}
		if !covered {
			t.Errorf("%s: no range of %s covers %q: %+v", q, want.field, want.text, h.Highlights)
		}
	}
}

// Hostile are texts that somebody types to see what breaks. Whoever takes queries from outside may use them too.
func Hostile() map[string]string {
	return map[string]string{
		"ten thousand clauses": strings.Repeat("路灯 OR 水管 AND ", 10_000),
		"ten thousand words":   manyWords(10_000),
		"match all":            "*:*",
		"field syntax":         `+_all:路灯 -state:open ^99 ~5 "未闭合`,
		"json":                 `{"query":{"match_all":{}}}`,
		"deep brackets":        strings.Repeat("(", 100_000) + "灯" + strings.Repeat(")", 100_000),
		"wildcards":            strings.Repeat("*?", 5000),
		"regexp":               "/(a+)+$/",
		"NUL":                  "路\x00灯\x00",
		"broken UTF-8":         "\xff\xfe路灯\xc3\x28",
		"a megabyte":           strings.Repeat("路灯不亮电梯坏了", 1<<20/24),
		"a megabyte of digits": strings.Repeat("1380011", 1<<20/7),
		"a megabyte of marks":  strings.Repeat("\u0301", 1<<19),
		"one long word":        strings.Repeat("a", 1<<20),
		"right to left":        "\u202e灯路\u202c",
		"surrogates as text":   "\U0001F6B0\U0001F6B0\U00020BB7",
		"only spaces":          " \t\n\u3000",
		"path":                 "../../../etc/passwd",
		"markup":               `<script>alert("路灯")</script>`,
		"quotes":               `'; DROP TABLE contacts; --`,
	}
}

func manyWords(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteRune(rune(0x4E00 + i*2))
		b.WriteRune(rune(0x4E01 + i))
		b.WriteByte(' ')
	}
	return b.String()
}

func hostile(t *testing.T, open Opener) {
	x := opened(t, open, "hostile")
	apply(t, x, sample())
	c := teller{subject: "contact/evil"}
	for name, text := range Hostile() { // as words of a document too
		apply(t, x, []intake.Event{c.tell(&intake.MessageV1{From: "resident"}, intake.PersonalJSON{Text: text, Name: text[:min(len(text), 4000)], Address: text[:min(len(text), 4000)]})})
		if _, ok, err := x.Get(t.Context(), "contact/evil"); !ok || err != nil {
			t.Errorf("%s as words: %v, %v", name, ok, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(Hostile())) {
		begun := time.Now()
		r, err := x.Search(t.Context(), search.Query{Text: Hostile()[name]})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if took := time.Since(begun); took > 5*time.Second { // a bound that only an explosion breaks, race detector and all
			t.Errorf("%s took %v", name, took)
		}
		if name == "match all" || name == "wildcards" {
			if r.Total != 0 {
				t.Errorf("%s finds %d documents: it was read as a language", name, r.Total)
			}
		}
	}
	many := make([]intake.GridID, 50_000)
	for i := range many {
		many[i] = intake.GridID(fmt.Sprint("g", i))
	}
	for _, q := range []search.Query{{Limit: 1 << 30}, {Limit: -5, Offset: -5}, {Offset: 1 << 40}, {Grids: many}, {Caller: intake.Token(strings.Repeat("x", 1<<20))}} {
		if r, err := x.Search(t.Context(), q); err != nil || len(r.Hits) > search.MaxLimit {
			t.Errorf("limit %d, offset %d: %d hits, %v", q.Limit, q.Offset, len(r.Hits), err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Search(gone, search.Query{Text: "路灯"}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if got := find(t, x, search.Query{Text: "路灯"}); len(got) == 0 {
		t.Error("after all that, nothing is found any more")
	}
}

func closed(t *testing.T, open Opener) {
	x := open(t, "closed")
	for range 2 {
		if err := x.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := x.Search(t.Context(), search.Query{}); !errors.Is(err, search.ErrClosed) {
		t.Errorf("Search after Close: %v", err)
	}
	if err := x.Apply(t.Context(), sample()); !errors.Is(err, search.ErrClosed) {
		t.Errorf("Apply after Close: %v", err)
	}
}
