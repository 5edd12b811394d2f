package casebook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/internal/store/storetest"
	"yingda/routing"
	"yingda/routing/grid"
	"yingda/routing/grid/griddemo"
)

var shanghai = time.FixedZone("CST", 8*3600)

// office is a case book over a fresh database, with a clock that a test turns.
type office struct {
	*Book
	t    *testing.T
	db   *store.DB
	path string
	now  time.Time
	ids  int
	log  strings.Builder
}

// plain keeps events in the outbox as JSON that a test can read; how they are sealed is wire's business.
type plain struct{}

type outEvent struct {
	ID, Type, Key string
	Data          json.RawMessage
	Personal      intake.PersonalJSON
}

func (plain) Encode(e intake.Event) ([]byte, error) {
	data, err := json.Marshal(e.Data)
	if err != nil {
		return nil, err
	}
	return json.Marshal(outEvent{e.ID(), string(e.Type()), e.PartitionKey, data, e.Personal.Reveal()})
}

func newOffice(t *testing.T, registry bool) *office {
	t.Helper()
	o := &office{t: t, path: filepath.Join(t.TempDir(), "t.db"), now: time.Date(2026, 11, 24, 5, 26, 0, 0, time.UTC)}
	db, err := store.Open(t.Context(), storetest.Address(t, o.path))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	db.UseEncoder(plain{})
	o.db = db
	o.Book = o.book()
	if registry {
		if err := o.SaveRegistry(t.Context(), griddemo.Registry("2026-11", time.Time{}), 0, "admin"); err != nil {
			t.Fatal(err)
		}
		o.events()
	}
	return o
}

// book takes up the tables as another start does.
func (o *office) book() *Book {
	o.t.Helper()
	b, err := New(o.t.Context(), Config{Store: o.db, Epoch: 7, Location: shanghai, Now: func() time.Time { return o.now }, NewID: func() string { o.ids++; return fmt.Sprintf("id-%04d", o.ids) },
		Home:   func(t intake.Token) intake.GridID { return map[intake.Token]intake.GridID{"wang": "32059900100103"}[t] },
		Older:  func(t intake.Token) bool { return t == "wang" },
		Logger: slog.New(slog.NewTextHandler(&o.log, nil))})
	if err != nil {
		o.t.Fatal(err)
	}
	return b
}

// events empties the outbox.
func (o *office) events() []outEvent {
	o.t.Helper()
	out, err := o.db.Outbox(o.t.Context(), 1000)
	if err != nil {
		o.t.Fatal(err)
	}
	var list []outEvent
	for _, raw := range out {
		var e outEvent
		if err := json.Unmarshal(raw.Event, &e); err != nil {
			o.t.Fatal(err)
		}
		list = append(list, e)
	}
	if len(out) > 0 {
		if err := o.db.Sent(o.t.Context(), out[len(out)-1].Row); err != nil {
			o.t.Fatal(err)
		}
	}
	return list
}

func (o *office) types() string {
	var list []string
	for _, e := range o.events() {
		list = append(list, strings.TrimSuffix(e.Type, ".v1"))
	}
	return strings.Join(list, " ")
}

func (o *office) open(c OpenCase) routing.Case {
	o.t.Helper()
	got, err := o.Open(o.t.Context(), c)
	if err != nil {
		o.t.Fatal(err)
	}
	return got
}

func (o *office) do(id intake.CaseID, in routing.Input) routing.Case {
	o.t.Helper()
	o.now = o.now.Add(time.Minute)
	c, err := o.Do(o.t.Context(), id, in)
	if err != nil {
		o.t.Fatalf("%T: %v", in, err)
	}
	return c
}

// apply runs events through the consumer, as the stream gives them.
func (o *office) apply(events ...intake.Event) {
	o.t.Helper()
	err := o.db.Tx(o.t.Context(), func(tx *store.Tx) error {
		var records []stream.Record
		for _, e := range events {
			records = append(records, stream.Record{Event: e})
		}
		return o.Apply(o.t.Context(), tx, records)
	})
	if err != nil {
		o.t.Fatal(err)
	}
}

func (o *office) clean() {
	o.t.Helper()
	r, err := o.Audit(o.t.Context())
	if err != nil || len(r.Findings) > 0 {
		o.t.Fatalf("audit: %v %+v", err, r.Findings)
	}
}

func light(contact string) OpenCase {
	return OpenCase{Source: intake.FromOperator, Contacts: []intake.ContactID{intake.ContactID(contact)}, Caller: "wang", Partition: "wang", Channel: intake.Phone, Line: "main", Category: "light",
		Words: pii.NewText("三号楼二单元楼道灯不亮一个多礼拜了"), Address: pii.NewAddress("梅苑小区 3 号楼 2 单元"), Name: pii.NewName("王桂英"), Number: pii.NewPhone("13800000678"), By: "xuhang", Next: routing.NextDispatch}
}

func TestLifeOfACase(t *testing.T) {
	o := newOffice(t, true)
	c := o.open(light("c1"))
	if c.Number != "W-2026-00001" || c.Grid != "32059900100101" || c.State != routing.Dispatched || c.Holder != "grid/32059900100101" || c.Rule != "general" || c.Confidence < 90 || c.Why != "按地址" {
		t.Fatalf("%+v", c)
	}
	if !c.Deadline.Equal(o.now.Add(24 * time.Hour)) {
		t.Fatalf("deadline %v", c.Deadline)
	}
	events := o.events()
	if len(events) != 2 || events[0].Type != "case.opened.v1" || events[0].ID != "case/"+string(c.ID)+"/0000000700000001" || events[0].Key != "wang" || events[1].Key != "wang" {
		t.Fatalf("%+v", events)
	}
	if strings.Contains(string(events[0].Data), "王") || strings.Contains(string(events[0].Data), "138") || strings.Contains(string(events[0].Data), "小区") || events[0].Personal.Name != "王桂英" {
		t.Fatalf("personal words in data: %s", events[0].Data)
	}
	o.do(c.ID, routing.Accept{By: "lu"})
	o.do(c.ID, routing.Start{By: "lu"})
	o.do(c.ID, routing.Note{By: "lu", Text: pii.NewText("灯头坏了，去买")})
	o.do(c.ID, routing.Answer{By: "lu", Text: pii.NewText("换好了")})
	c = o.do(c.ID, routing.Close{Result: routing.Solved, Known: routing.ResidentSaid, By: "xuhang"})
	if got := o.types(); got != "case.accepted case.started case.noted case.answered case.closed" {
		t.Fatal(got)
	}
	_, err := o.Do(t.Context(), c.ID, routing.Accept{By: "lu"})
	var refused *Refused
	if !errors.As(err, &refused) || !errors.Is(err, ErrRefused) || refused.Sentence != "这件工单已经结了；要接着办，先重新打开" {
		t.Fatal(err)
	}
	if got := o.types(); got != "" {
		t.Fatalf("a refusal wrote %s", got)
	}
	// What the tables hold is the same, also for the next start.
	again, err := o.book().Case(t.Context(), c.ID)
	if err != nil || again.State != routing.Closed || again.Words.Reveal() != light("").Words.Reveal() || again.Answer.Reveal() != "换好了" || again.Name.Reveal() != "王桂英" || again.Phone.Reveal() != "13800000678" {
		t.Fatalf("%+v %v", again, err)
	}
	steps, err := o.Steps(t.Context(), c.ID)
	if err != nil || len(steps) != 7 || steps[4].Text.Reveal() != "灯头坏了，去买" || steps[0].Sequence != intake.NewSequence(7, 1) {
		t.Fatalf("%+v %v", steps, err)
	}
	if _, err := o.Case(t.Context(), "nobody"); !errors.Is(err, ErrNoCase) {
		t.Fatal(err)
	}
	if _, err := o.Do(t.Context(), "nobody", routing.Accept{}); !errors.Is(err, ErrNoCase) {
		t.Fatal(err)
	}
	o.clean()
}

// A transaction that fails leaves neither row nor event nor number behind.
func TestRowAndEventAreOne(t *testing.T) {
	o := newOffice(t, true)
	broken := errors.New("no encoder today")
	o.db.UseEncoder(encoderFunc(func(e intake.Event) ([]byte, error) {
		if e.Type() == "case.dispatched.v1" {
			return nil, broken
		}
		return plain{}.Encode(e)
	}))
	if _, err := o.Open(t.Context(), light("c1")); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if list, err := o.List(t.Context(), Filter{}); err != nil || len(list) != 0 || o.types() != "" {
		t.Fatalf("left behind: %v %v", list, err)
	}
	o.db.UseEncoder(plain{})
	if c := o.open(light("c1")); c.Number != "W-2026-00001" {
		t.Fatalf("a number was lost: %s", c.Number)
	}
}

type encoderFunc func(intake.Event) ([]byte, error)

func (f encoderFunc) Encode(e intake.Event) ([]byte, error) { return f(e) }

func TestNumbersBeginAnewEachYear(t *testing.T) {
	o := newOffice(t, true)
	o.now = time.Date(2026, 12, 31, 15, 59, 0, 0, time.UTC) // 23:59 in the office
	first := o.open(light("c1"))
	o.now = o.now.Add(2 * time.Minute) // 2027 there, not yet in UTC
	second := o.open(light("c2"))
	if first.Number != "W-2026-00001" || second.Number != "W-2027-00001" {
		t.Fatal(first.Number, second.Number)
	}
}

func TestSameKeySameCase(t *testing.T) {
	o := newOffice(t, true)
	in := light("c1")
	in.Key = "form-1"
	a := o.open(in)
	o.events()
	in.Words = pii.NewText("again")
	b := o.open(in)
	if a.ID != b.ID || b.Words.Reveal() == "again" || o.types() != "" {
		t.Fatalf("%s %s", a.ID, b.ID)
	}
}

func TestOverruled(t *testing.T) {
	o := newOffice(t, true)
	in := light("c1")
	in.Grid = "32059900100105"
	c := o.open(in)
	if !c.Overruled || c.Grid != "32059900100105" || c.Holder != "grid/32059900100105" || c.Confidence != 100 {
		t.Fatalf("%+v", c)
	}
	events := o.events()
	if len(events) != 3 || events[1].Type != "case.routed.v1" || !strings.Contains(string(events[1].Data), `"from_grid":"32059900100101"`) || !strings.Contains(string(events[1].Data), `"overruled":true`) {
		t.Fatalf("%+v", events)
	}
	// Chosen where nothing was found: no overruling, and the rule for the unsure does not hold.
	in = light("c2")
	in.Address, in.Grid = pii.Address{}, "32059900100105"
	if c := o.open(in); c.Overruled || c.Rule != "general" || c.Why != "由人选定" {
		t.Fatalf("%+v", c)
	}
	in = light("c3")
	in.Department = "housing"
	if c := o.open(in); !c.Overruled || c.Holder != "department/housing" || c.Grid != "32059900100101" {
		t.Fatalf("%+v", c)
	}
	in = light("c4")
	in.Category, in.Department = "water", routing.NoDepartment
	if c := o.open(in); !c.Overruled || c.Holder != "grid/32059900100101" {
		t.Fatalf("%+v", c)
	}
	for _, bad := range []OpenCase{{Grid: "99"}, {Department: "navy"}} {
		in := light("c5")
		in.Grid, in.Department = bad.Grid, bad.Department
		if _, err := o.Open(t.Context(), in); !errors.Is(err, ErrRefused) {
			t.Fatalf("%+v: %v", bad, err)
		}
	}
	if _, err := o.Do(t.Context(), c.ID, routing.Route{Grid: "99", Why: "x"}); !errors.Is(err, ErrRefused) {
		t.Fatal(err)
	}
	c = o.do(c.ID, routing.Route{Department: "urban", Why: "归城管", By: "xuhang"})
	c = o.do(c.ID, routing.Dispatch{By: "xuhang"})
	if c.Holder != "department/urban" {
		t.Fatalf("%+v", c)
	}
	o.clean()
}

func visit(id string, caller intake.Token) intake.Event {
	return intake.Event{Source: "x", Subject: intake.Subject("callback/" + id), Sequence: intake.NewSequence(1, 4), PartitionKey: string(caller),
		Data: &intake.CallbackVisitV1{Tries: 3, Line: "main", Caller: caller, Contacts: []intake.ContactID{"c1", "c2"}}, Personal: intake.PersonalJSON{Number: "13800000678", Name: "王桂英"}.Conceal()}
}

func TestACallbackBecomesAVisitOnce(t *testing.T) {
	o := newOffice(t, true)
	o.apply(visit("cb1", "wang"), visit("cb1", "wang"))
	o.apply(visit("cb1", "wang"))
	list, err := o.ForCallback(t.Context(), "cb1")
	if err != nil || len(list) != 1 {
		t.Fatalf("%v %v", list, err)
	}
	c := list[0]
	if c.Source != intake.FromVisit || c.Grid != "32059900100103" || c.State != routing.Dispatched || c.Rule != "visit/older" || c.Partition != "wang" || len(c.Contacts) != 2 || c.Phone.Reveal() != "13800000678" {
		t.Fatalf("%+v", c)
	}
	if got := o.types(); got != "case.opened case.dispatched" {
		t.Fatal(got)
	}
	o.do(c.ID, routing.Close{Result: routing.Met, Known: routing.Seen, By: "lu"})
	if e := o.events(); len(e) != 1 || e[0].Type != "case.closed.v1" || !strings.Contains(string(e[0].Data), `"result":"met"`) {
		t.Fatalf("%+v", e)
	}
	// Nobody knows where the caller lives: the case waits for a dispatcher, the stream goes on.
	o.apply(visit("cb2", "stranger"))
	list, err = o.ForCallback(t.Context(), "cb2")
	if err != nil || len(list) != 1 || list[0].State != routing.Opened || list[0].Grid != "" {
		t.Fatalf("%+v %v", list, err)
	}
	o.clean()
}

func offered(contact string, channel intake.Channel, p intake.PersonalJSON) intake.Event {
	return intake.Event{Source: "x", Subject: intake.Subject("contact/" + contact), Sequence: intake.NewSequence(1, 1), PartitionKey: "k-" + contact, Time: time.UnixMilli(1),
		Data: &intake.OfferedV1{Channel: channel, Line: "app", Caller: "wang"}, Personal: p.Conceal()}
}

func ended(contact string, outcome intake.Outcome) intake.Event {
	return intake.Event{Source: "x", Subject: intake.Subject("contact/" + contact), Sequence: intake.NewSequence(1, 2), PartitionKey: "k-" + contact, Data: &intake.EndedV1{Outcome: outcome}}
}

func TestSubmissions(t *testing.T) {
	o := newOffice(t, true)
	words := intake.PersonalJSON{Text: "小区门口井盖松了", Address: "石桥小学", Name: "周敏"}
	o.apply(offered("s1", intake.App, words), ended("s1", intake.Accepted), ended("s1", intake.Accepted), offered("s2", intake.App, words), ended("s2", intake.RejectedInvalid),
		offered("p1", intake.Phone, words), ended("p1", intake.Answered), offered("s3", intake.App, words), offered("s4", intake.Patrol, intake.PersonalJSON{Text: "路灯杆歪了", Address: "石桥小学"}), ended("s4", intake.Accepted))
	o.apply(offered("s1", intake.App, words), ended("s1", intake.Accepted))
	test := func(contact string, want int) {
		t.Helper()
		if list, err := o.ForContact(t.Context(), intake.ContactID(contact)); err != nil || len(list) != want {
			t.Errorf("%s: %d cases, want %d (%v)", contact, len(list), want, err)
		}
	}
	test("s1", 1)
	test("s2", 0)
	test("p1", 0)
	test("s3", 0) // not accepted yet
	test("s4", 1)
	var waiting int
	if err := o.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM submissions").Scan(&waiting); err != nil || waiting != 1 {
		t.Fatalf("%d submissions are kept, want the one that is not accepted yet", waiting)
	}
	o.apply(ended("s3", intake.Accepted))
	test("s3", 1)
	// A picture and nothing else is work too; a patrol without a word is none, and does not stop the stream.
	o.apply(offered("s5", intake.App, intake.PersonalJSON{}), ended("s5", intake.Accepted), offered("s6", intake.Patrol, intake.PersonalJSON{}), ended("s6", intake.Accepted))
	test("s5", 1)
	test("s6", 0)
	if !strings.Contains(o.log.String(), "no case could be opened") {
		t.Error("nobody was told")
	}
	list, err := o.List(t.Context(), Filter{Source: intake.FromPatrol})
	if err != nil || len(list) != 1 || list[0].Rule != "patrol" || list[0].Partition != "k-s4" {
		t.Fatalf("%+v %v", list, err)
	}
	o.clean()
}

func TestErasure(t *testing.T) {
	o := newOffice(t, true)
	c := o.open(light("c1"))
	o.do(c.ID, routing.Answer{By: "lu", Text: pii.NewText("王阿姨家的灯换好了")})
	o.apply(offered("c1", intake.App, intake.PersonalJSON{Text: "王桂英"})) // as if it were still waiting
	o.events()
	erase := intake.Event{Source: "x", Subject: "contact/c1", Sequence: intake.NewSequence(1, 9), PartitionKey: "wang", Data: &intake.ErasedV1{By: "admin", Ground: "asked"}}
	o.apply(erase, erase)
	if got := o.types(); got != "contact.erased" {
		t.Fatalf("said %q", got)
	}
	c, err := o.Case(t.Context(), c.ID)
	if err != nil || !forgotten(c) || c.State != routing.Answered {
		t.Fatalf("%+v %v", c, err)
	}
	for _, query := range []string{"SELECT data, coalesce(lat, 0) FROM cases", "SELECT data || text, 0 FROM case_steps", "SELECT data, 0 FROM submissions"} {
		all := ""
		rows, err := o.db.Query(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var data string
			var lat float64
			if err := rows.Scan(&data, &lat); err != nil {
				t.Fatal(err)
			}
			all += data
			if lat != 0 {
				t.Errorf("a place is still in: %v", lat)
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		for _, word := range []string{"王", "灯", "13800000678", "梅苑小区"} {
			if strings.Contains(all, word) {
				t.Errorf("%s is still in: %s", word, all)
			}
		}
	}
	// Its life goes on, and its events have no gap.
	o.do(c.ID, routing.Close{Result: routing.Solved, Known: routing.Seen, By: "lu"})
	o.clean()
}

func TestListsAndCounts(t *testing.T) {
	o := newOffice(t, true)
	var cases []routing.Case
	for i, g := range griddemo.Grids()[:4] {
		in := light(fmt.Sprintf("c%d", i))
		in.Address = pii.NewAddress(fmt.Sprintf("%s %d 幢", g.Estate, g.From))
		if i == 3 {
			in.Next = routing.NextClose
		}
		cases = append(cases, o.open(in))
		o.now = o.now.Add(time.Hour)
	}
	o.do(cases[1].ID, routing.Answer{By: "lu", Text: pii.NewText("好了")})
	numbers := func(f Filter) string {
		t.Helper()
		list, err := o.List(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, c := range list {
			out = append(out, strings.TrimPrefix(c.Number, "W-2026-0000"))
		}
		return strings.Join(out, " ")
	}
	test := func(f Filter, want string) {
		t.Helper()
		if got := numbers(f); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
	test(Filter{}, "1 2 3 4") // by deadline, the one without last
	test(Filter{Newest: true}, "4 3 2 1")
	test(Filter{Open: true}, "1 2 3")
	test(Filter{Open: true, Limit: 1, Offset: 1}, "2")
	test(Filter{Grids: []intake.GridID{cases[0].Grid, cases[2].Grid}}, "1 3")
	test(Filter{States: []routing.State{routing.Answered, routing.Closed}}, "2 4")
	test(Filter{Category: "water"}, "")
	test(Filter{OpenedFrom: cases[1].Opened, OpenedTo: cases[3].Opened}, "2 3")
	test(Filter{DueBefore: cases[2].Deadline}, "1") // the answered one waits for us
	test(Filter{Worker: "u-lu"}, "")
	late := cases[2].Deadline.Add(time.Minute)
	counts, err := o.Counts(t.Context(), late, cases[0].Opened, late)
	if err != nil || len(counts) != 4 {
		t.Fatalf("%+v %v", counts, err)
	}
	for i, want := range []GridCount{{cases[0].Grid, 1, 1, 0}, {cases[1].Grid, 1, 0, 0}, {cases[2].Grid, 1, 1, 0}, {cases[3].Grid, 0, 0, 1}} {
		if counts[i] != want {
			t.Errorf("%+v, want %+v", counts[i], want)
		}
	}
	if list, err := o.ForCaller(t.Context(), "wang", 2); err != nil || len(list) != 2 || list[0].Number != "W-2026-00004" {
		t.Errorf("%v %v", list, err)
	}
}

func TestSimilar(t *testing.T) {
	o := newOffice(t, true)
	say := func(contact, words, address, category string, place *intake.Place) routing.Case {
		in := light(contact)
		in.Words, in.Address, in.Category, in.Place = pii.NewText(words), pii.NewAddress(address), category, place
		return o.open(in)
	}
	same := say("c1", "3号楼2单元楼道灯不亮，晚上看不见", "梅苑小区 3 幢", "light", nil)
	say("c2", "电梯厅的灯一直闪", "梅苑小区 3 幢", "light", nil)
	say("c3", "楼道灯不亮一个多礼拜", "柳荫二村 17 幢", "light", nil)    // elsewhere
	say("c4", "楼道灯不亮一个多礼拜，怕摔", "梅苑小区 3 幢", "estate", nil) // another category
	at := griddemo.Grids()[30].Shape.Bound().Center()
	near := intake.Place{Lon: at[0], Lat: at[1]}
	placed := say("c5", "路灯坏了好几天", "", "light", &near)
	got, err := o.Similar(t.Context(), light("c9"))
	if err != nil || len(got) != 2 && len(got) != 1 || got[0].Case.ID != same.ID || got[0].Why != "同一网格" || got[0].Score < 0.15 || got[0].Score > 1 {
		t.Fatalf("%+v %v", got, err)
	}
	if len(got) == 2 && got[1].Score >= got[0].Score/2 {
		t.Fatalf("the other light is as like as the same one: %v and %v", got[0].Score, got[1].Score)
	}
	// 200 m away, perhaps in the next grid; and 400 m away.
	for meters, want := range map[float64]int{200: 1, 400: 0} {
		in := light("c9")
		in.Words, in.Address = pii.NewText("这里路灯坏了"), pii.Address{}
		in.Place = &intake.Place{Lon: near.Lon, Lat: near.Lat + meters/111_195}
		in.Grid = "32059900100101"
		list, err := o.Similar(t.Context(), in)
		n := 0
		for _, a := range list {
			if a.Case.ID == placed.ID {
				n++
				if a.Why != "相距 200 米" {
					t.Errorf("why %q", a.Why)
				}
			}
		}
		if err != nil || n != want {
			t.Errorf("%.0f m: %d, want %d (%v)", meters, n, want, err)
		}
	}
	// A closed one is still shown, below; after a month it is not.
	o.do(same.ID, routing.Close{Result: routing.Solved, Known: routing.Seen})
	closed, err := o.Similar(t.Context(), light("c9"))
	if err != nil || len(closed) == 0 || closed[0].Case.ID != same.ID || closed[0].Score >= got[0].Score {
		t.Fatalf("%+v %v", closed, err)
	}
	o.now = o.now.Add(31 * 24 * time.Hour)
	if old, err := o.Similar(t.Context(), light("c9")); err != nil || len(old) > 0 && old[0].Case.ID == same.ID {
		t.Fatalf("%+v %v", old, err)
	}
	p, err := o.Propose(t.Context(), light("c9"))
	if err != nil || p.Found.Grid != "32059900100101" || p.Decision.Rule != "general" || o.types() == "" {
		t.Fatalf("%+v %v", p, err)
	}
	if o.types() != "" {
		t.Fatal("a proposal wrote something")
	}
}

func TestRegistryIsKept(t *testing.T) {
	o := newOffice(t, false)
	if len(o.Registry().Grids()) != 0 {
		t.Fatal("a registry out of nowhere")
	}
	v1 := griddemo.Registry("v1", o.now.Add(-time.Hour))
	parts := v1.Parts()
	for i := range parts.Areas {
		if parts.Areas[i].Code == "32059900100103" {
			parts.Areas[i].User = "u-lu"
		}
	}
	v1, err := grid.Build(parts)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.SaveRegistry(t.Context(), v1, 3, "admin"); err != nil {
		t.Fatal(err)
	}
	if e := o.events(); len(e) != 1 || e[0].Type != "grid.imported.v1" || string(e[0].Data) != `{"version":"v1","rows":148,"refused":3}` {
		t.Fatalf("%+v", e)
	}
	for _, b := range []*Book{o.Book, o.book()} {
		r := b.Registry()
		g, ok := r.Grid("32059900100103")
		if !ok || g.Worker.Reveal() != "陆建平" || g.User != "u-lu" || g.Phone.IsZero() || g.Households == 0 || r.Version() != "v1" {
			t.Fatalf("%+v", g)
		}
		for _, want := range v1.Grids() {
			mp, _ := v1.Shape(want.ID())
			if got, _ := r.Shape(want.ID()); !got.Equal(mp) {
				t.Fatalf("the border of %s came back changed", want.Code)
			}
		}
		if f := r.Address("柳荫二村 17 幢"); f.Grid != "32059900100208" {
			t.Fatalf("the gazetteer came back changed: %+v", f)
		}
	}
	// A version for the future comes into force by itself; workers who stay keep their accounts.
	v2 := griddemo.Registry("v2", o.now.Add(24*time.Hour))
	if err := o.SaveRegistry(t.Context(), v2, 0, "admin"); err != nil {
		t.Fatal(err)
	}
	for _, b := range []*Book{o.Book, o.book()} {
		if b.Registry().Version() != "v1" {
			t.Fatal("tomorrow's registry is in force today")
		}
	}
	o.now = o.now.Add(25 * time.Hour)
	for _, b := range []*Book{o.Book, o.book()} {
		if b.Registry().Version() != "v2" {
			t.Fatal("today's registry is not in force")
		}
		if g, _ := b.Registry().Grid("32059900100103"); g.User != "u-lu" {
			t.Fatal("a worker lost the account")
		}
	}
	list, err := o.Imports(t.Context())
	if err != nil || len(list) != 2 || list[0].Version != "v2" || list[1].Areas != 148 || list[1].Shapes != 135 || list[1].By != "admin" {
		t.Fatalf("%+v %v", list, err)
	}
}

// Audit finds each kind of difference; a check that cannot fail would be worth nothing.
func TestAuditFinds(t *testing.T) {
	for name, spoil := range map[string]string{
		"its columns differ":           "UPDATE cases SET state = 'closed' WHERE id = ?",
		"the row says":                 "DELETE FROM case_steps WHERE type = 'case.dispatched.v1' AND id = ?",
		"are missing":                  "UPDATE case_steps SET sequence = sequence + 5 WHERE type = 'case.accepted.v1' AND id = ?",
		"does not find its case":       "DELETE FROM case_contacts WHERE id = ?",
		"a case that does not know it": "UPDATE case_contacts SET contact = 'other' WHERE id = ?",
		"steps of a case that is not":  "DELETE FROM cases WHERE id = ?",
	} {
		t.Run(name, func(t *testing.T) {
			o := newOffice(t, true)
			c := o.open(light("c1"))
			o.do(c.ID, routing.Accept{By: "lu"})
			o.clean()
			err := o.db.Tx(context.Background(), func(tx *store.Tx) error {
				_, err := tx.ExecContext(context.Background(), spoil, string(c.ID))
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			r, err := o.Audit(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range r.Findings {
				if strings.Contains(f.What, name) && f.Case == c.ID {
					return
				}
			}
			t.Fatalf("%+v", r.Findings)
		})
	}
}

func TestScores(t *testing.T) {
	texts := []string{"楼道灯不亮", "楼道灯不亮了很久", "车棚充电桩没电", "", "abc 123"}
	got := scores("楼道灯不亮", texts)
	if got[0] != 1 || got[1] <= 0.3 || got[1] >= 1 || got[2] != 0 || got[3] != 0 || got[4] != 0 {
		t.Fatal(got)
	}
	if s := scores("ABC-123", texts); s[4] != 1 {
		t.Fatal(s)
	}
	// A pair that all have says less than one that few have.
	common := scores("路灯坏了", []string{"路灯歪", "坏了呀", "路灯倒", "路灯闪"})
	if common[1] <= common[0] {
		t.Fatalf("the rare pair counts no more: %v", common)
	}
}

func BenchmarkOpen(b *testing.B) {
	path := filepath.Join(b.TempDir(), "t.db")
	db, err := store.Open(b.Context(), storetest.Address(b, path))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.UseEncoder(plain{})
	book, err := New(b.Context(), Config{Store: db})
	if err != nil {
		b.Fatal(err)
	}
	if err := book.SaveRegistry(b.Context(), griddemo.Registry("v", time.Time{}), 0, ""); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := book.Open(b.Context(), light("c1")); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	path := filepath.Join(b.TempDir(), "t.db")
	db, err := store.Open(b.Context(), storetest.Address(b, path))
	if err != nil {
		b.Fatal(err)
	}
	defer db.Close()
	db.UseEncoder(plain{})
	book, err := New(b.Context(), Config{Store: db})
	if err != nil {
		b.Fatal(err)
	}
	if err := book.SaveRegistry(b.Context(), griddemo.Registry("v", time.Time{}), 0, ""); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := book.loadRegistry(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
