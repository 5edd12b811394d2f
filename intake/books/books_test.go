package books

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/intake/recovery"
	"yingda/intake/stream"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/internal/store/storetest"
)

// end is when the invented history is over: 14:32 at the office.
var end = time.Date(2026, 11, 24, 6, 32, 7, 0, time.UTC)

var shanghai = time.FixedZone("CST", 8*3600)

// keep remembers what was put into the outbox.
type keep struct {
	mu     sync.Mutex
	events []intake.Event
}

func (k *keep) Encode(e intake.Event) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.events = append(k.events, e)
	return rawOf(e), nil
}

// office is a set of books on a real file, with a clock of its own.
type office struct {
	*Books
	t    testing.TB
	db   *store.DB
	kept *keep
	at   time.Time
	seq  map[intake.Subject]intake.Sequence
}

func open(t testing.TB, change ...func(*Config)) *office {
	t.Helper()
	db, err := store.Open(t.Context(), storetest.Address(t, filepath.Join(t.TempDir(), "store.db")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	o := &office{t: t, db: db, kept: &keep{}, at: end, seq: map[intake.Subject]intake.Sequence{}}
	db.UseEncoder(o.kept)
	n := 0
	cfg := Config{Office: shanghai, Source: "yingda/test", Epoch: 1, Now: func() time.Time { return o.at },
		NewCallback: func() intake.CallbackID { n++; return intake.CallbackID(fmt.Sprintf("b%05d", n)) }}
	for _, f := range change {
		f(&cfg)
	}
	if o.Books, err = New(t.Context(), db, cfg); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *office) take(records ...stream.Record) {
	o.t.Helper()
	if err := o.db.Tx(o.t.Context(), func(tx *store.Tx) error { return o.Apply(o.t.Context(), tx, records) }); err != nil {
		o.t.Fatal(err)
	}
}

// say writes one event of a subject and applies it.
func (o *office) say(s intake.Subject, key string, at time.Time, d intake.Data, who ...intake.Personal) {
	o.t.Helper()
	o.seq[s] = o.seq[s].Next(1)
	e := intake.Event{Source: "yingda/test", Subject: s, Sequence: o.seq[s], Time: at, PartitionKey: key, Data: d}
	if len(who) > 0 {
		e.Personal = who[0]
	}
	o.take(stream.Record{Event: e, Raw: rawOf(e)})
}

var wang = intake.Personal{Number: pii.NewPhone("13800005678"), Name: pii.NewName("王阿姨")}

func (o *office) offered(id intake.ContactID, caller intake.Token, at time.Time) {
	o.t.Helper()
	o.say(id.Subject(), string(caller), at, &intake.OfferedV1{Channel: intake.Phone, Line: "main", Switchboard: "main", Caller: caller, Dedupe: "d" + string(id)}, wang)
}

func (o *office) lost(id intake.ContactID, caller intake.Token, at time.Time) {
	o.t.Helper()
	o.offered(id, caller, at)
	o.say(id.Subject(), string(caller), at.Add(30*time.Second), &intake.EndedV1{Outcome: intake.AbandonedQueue, WaitedMS: 30_000})
}

func (o *office) answered(id intake.ContactID, caller intake.Token, at time.Time) {
	o.t.Helper()
	o.offered(id, caller, at)
	o.say(id.Subject(), string(caller), at.Add(5*time.Second), &intake.AnsweredV1{Operator: "o1"})
	o.say(id.Subject(), string(caller), at.Add(time.Minute), &intake.EndedV1{Outcome: intake.Answered, WaitedMS: 5000})
}

// tables is everything that the books keep, as text.
func (o *office) tables() map[string]string {
	o.t.Helper()
	out := map[string]string{}
	for table, order := range map[string]string{"contacts": "id", "contact_offers": "contact, offer", "contact_cases": "contact, case_id", "callers": "token", "episodes": "contact",
		"callbacks": "id", "callback_contacts": "callback, contact", "callback_tries": "attempt", "reaches": "key", "visits": "case_id", "foreign_callbacks": "id",
		"timeline": "subject, seq", "recordings": "id", "looks": "id", "trail": "id", "operator_states": "operator, seq", "books_facts": "name", "outbox": "row"} {
		rows, err := o.db.Query(o.t.Context(), "SELECT * FROM "+table+" ORDER BY "+order)
		if err != nil {
			o.t.Fatal(err)
		}
		cols, _ := rows.Columns()
		var b strings.Builder
		for rows.Next() {
			vals := make([]any, len(cols))
			into := make([]any, len(cols))
			for i := range vals {
				into[i] = &vals[i]
			}
			if err := rows.Scan(into...); err != nil {
				o.t.Fatal(err)
			}
			for i, v := range vals {
				if c := cols[i]; table == "outbox" && c == "row" {
					continue
				}
				fmt.Fprintf(&b, "%v|", v)
			}
			b.WriteByte('\n')
		}
		if err := rows.Err(); err != nil {
			o.t.Fatal(err)
		}
		_ = rows.Close()
		out[table] = b.String()
	}
	return out
}

func same(t *testing.T, what string, a, b map[string]string) {
	t.Helper()
	for table := range a {
		if a[table] != b[table] {
			x, y := strings.Split(a[table], "\n"), strings.Split(b[table], "\n")
			for i := range x {
				if i >= len(y) || x[i] != y[i] {
					t.Errorf("%s: %s has %d and %d rows; the first that differs:\n%s\n%s", what, table, len(x), len(y), x[i], slices.Concat(y, []string{"(none)"})[min(i, len(y))])
					break
				}
			}
		}
	}
}

// inBatches applies records in batches of random size.
func (o *office) inBatches(seed uint64, records []stream.Record) {
	o.t.Helper()
	rng := rand.New(rand.NewPCG(seed, 2))
	for len(records) > 0 {
		n := min(1+rng.IntN(200), len(records))
		o.take(records[:n]...)
		records = records[n:]
	}
}

func TestReplayInAnySplitGivesTheSameTables(t *testing.T) {
	t.Parallel()
	records := history(1, end, 3, 60)
	once := open(t)
	once.inBatches(1, records)
	want := once.tables()
	if strings.Count(want["callbacks"], "\n") < 10 || strings.Count(want["contacts"], "\n") != 180 {
		t.Fatalf("a poor history: %d contacts, %d callbacks", strings.Count(want["contacts"], "\n"), strings.Count(want["callbacks"], "\n"))
	}

	split := open(t)
	split.inBatches(2, records)
	same(t, "other batches", want, split.tables())

	twice := open(t)
	for i := 0; i < len(records); i += 150 { // every batch twice, as after a rebalance
		part := records[i:min(i+150, len(records))]
		twice.take(part...)
		twice.take(part...)
	}
	twice.inBatches(3, records)
	same(t, "all of it again", want, twice.tables())

	// What was emitted comes back through the stream: only the timeline grows.
	events := slices.Clone(once.kept.events)
	back := open(t)
	back.inBatches(1, records)
	for _, e := range events {
		back.take(stream.Record{Event: e, Raw: rawOf(e)})
	}
	got := back.tables()
	if n := strings.Count(got["timeline"], "\n") - strings.Count(want["timeline"], "\n"); n != len(events) {
		t.Errorf("%d of %d callback events are in the timeline", n, len(events))
	}
	got["timeline"], got["books_facts"] = want["timeline"], want["books_facts"]
	same(t, "own events came back", want, got)
}

func TestABatchThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	o := open(t)
	records := history(2, end, 1, 60)
	half := len(records) / 2
	o.take(records[:half]...)
	before := o.tables()
	broken := errors.New("power cut")
	err := o.db.Tx(t.Context(), func(tx *store.Tx) error {
		if err := o.Apply(t.Context(), tx, records[half:]); err != nil {
			return err
		}
		return broken
	})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	same(t, "after the crash", before, o.tables())
	o.take(records[half-10:]...) // the consumer begins a little before where it was
	whole := open(t)
	whole.take(records...)
	a, b := whole.tables(), o.tables()
	// The ids that the failed batch used up are gone; everything but them is the same.
	for _, table := range []string{"contacts", "episodes", "callers", "timeline", "contact_offers", "reaches"} {
		same(t, "gone on", map[string]string{table: a[table]}, b)
	}
	if strings.Count(a["callbacks"], "\n") != strings.Count(b["callbacks"], "\n") {
		t.Error("other callbacks than without the crash")
	}
}

func TestTablesAgreeWithTheEventsFoldedAnew(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		o := open(t)
		records := history(10+seed, end, 3, 40)
		// Subjects keep their order, and otherwise everything is shuffled: one partition each.
		rng := rand.New(rand.NewPCG(seed, 3))
		parts := map[string][]stream.Record{}
		var order []string
		for _, r := range records {
			parts[r.Event.PartitionKey] = append(parts[r.Event.PartitionKey], r)
			order = append(order, r.Event.PartitionKey)
		}
		rng.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		var mixed []stream.Record
		for _, key := range order {
			mixed = append(mixed, parts[key][0])
			parts[key] = parts[key][1:]
		}
		o.inBatches(seed, mixed)

		book, ledger := answerrate.NewBook(), recovery.NewLedger(recovery.Config{}, func() intake.CallbackID { return "x" })
		for _, r := range records {
			book.Apply(r.Event)
			ledger.Step(r.Event)
		}
		list, err := o.Compare(t.Context(), book, ledger)
		if err != nil || len(list) > 0 {
			t.Fatalf("seed %d: %v %v", seed, err, list)
		}
		straight := open(t)
		straight.take(records...)
		same(t, "episodes in any order", map[string]string{"episodes": straight.tables()["episodes"]}, o.tables())

		o.checkRates(book, time.Time{}, end, "", "")
		o.checkRates(book, end.Add(-48*time.Hour), end, "main", "")
		o.checkRates(book, end.Add(-48*time.Hour), end.Add(-24*time.Hour), "", intake.Phone)
		balance, err := o.Balance(t.Context())
		if err != nil || len(balance) == 0 {
			t.Fatal(balance, err)
		}
		for _, b := range balance {
			if !b.Balanced || b.Counts.Offered != book.Count(answerrate.Filter{Where: b.Where}).Offered {
				t.Errorf("balance %+v", b)
			}
		}
	}
}

// checkRates compares the tables' figures with the book's, and each figure with the contacts behind it.
func (o *office) checkRates(book *answerrate.Book, from, to time.Time, line intake.LineID, channel intake.Channel) {
	o.t.Helper()
	f := answerrate.Filter{From: from, To: to, Where: answerrate.Where{Line: line, Channel: channel}}
	got, err := o.Rates(o.t.Context(), from, to, line, channel)
	if err != nil {
		o.t.Fatal(err)
	}
	want := book.Count(f)
	if got.Offered != want.Offered || got.Open != want.Open || !got.Balanced || fmt.Sprint(got.Outcomes) != fmt.Sprint(want.Outcomes) {
		o.t.Errorf("%s %s: %+v, want %+v", line, channel, got.Counts, want)
	}
	count := func(d *answerrate.Definition, part string) int64 {
		query, args, err := o.contacts(Filter{From: from, To: to, Line: line, Channel: channel, Definition: d.ID, Part: part})
		if err != nil {
			o.t.Fatal(err)
		}
		var n int64
		if err := o.db.QueryRow(o.t.Context(), "SELECT COUNT(*) FROM ("+query+") found", args...).Scan(&n); err != nil {
			o.t.Fatal(err)
		}
		return n
	}
	for _, d := range o.Definitions() {
		r := got.Rate(d.ID)
		if d.Unit == answerrate.PerContact {
			if w := book.Rate(d, f); r.Num != w.Num || r.Den != w.Den || fmt.Sprint(r.Apart) != fmt.Sprint(w.Apart) {
				o.t.Errorf("%s: %+v, want %+v", d.ID, r, w)
			}
		}
		if n, m, k := count(d, "numerator"), count(d, "denominator"), count(d, "missed"); n != r.Num || m != r.Den || k != r.Den-r.Num {
			o.t.Errorf("%s %d/%d, and behind it are %d/%d, missed %d", d.ID, r.Num, r.Den, n, m, k)
		}
		for _, x := range r.Apart {
			if n := count(d, "apart/"+x.ID); n != x.N {
				o.t.Errorf("%s apart %s: %d, and behind it are %d", d.ID, x.ID, x.N, n)
			}
		}
		for _, x := range r.Missed {
			if n := count(d, "missed/"+x.ID); n != x.N {
				o.t.Errorf("%s missed %s: %d, and behind it are %d", d.ID, x.ID, x.N, n)
			}
		}
	}
}

func TestHeadlineOverADay(t *testing.T) {
	t.Parallel()
	o := open(t)
	from, to := o.Today(end)
	at := func(minutes int) time.Time { return end.Add(-time.Duration(minutes) * time.Minute) }
	o.answered("c1", "a", at(100))   // at once
	o.lost("c2", "b", at(90))        // reached by themselves 4 min later
	o.answered("c3", "b", at(86))    //
	o.lost("c4", "c", at(80))        // reached after an hour
	o.answered("c5", "c", at(20))    //
	o.lost("c6", "d", at(60))        // never
	o.lost("c7", "d", at(50))        // the same person counts once
	o.lost("c8", "e", at(2))         // too early to say
	o.answered("c9", "f", at(24*60)) // yesterday
	o.offered("c10", "", at(40))     // withheld: nobody
	r, err := o.Rates(t.Context(), from, to, "", "")
	if err != nil {
		t.Fatal(err)
	}
	h := r.Rates[0]
	if h.ID != "caller_reached" || h.Num != 2 || h.Den != 4 || h.Missed[0].N != 1 || h.Missed[1].N != 1 || h.Apart[1].N != 1 {
		t.Fatalf("headline %+v", h)
	}
	if r.Offered != 9 || r.Open != 1 || r.Counts.Answered() != 3 || r.Counts.Lost() != 5 {
		t.Errorf("counts %+v", r.Counts)
	}
	missed, err := o.Members(t.Context(), "caller_reached", from, to, "missed/not_yet")
	if err != nil || len(missed) != 1 || missed[0].ID != "c6" {
		t.Errorf("behind not yet: %v %v", missed, err)
	}
	o.at = end.Add(4 * time.Minute)
	if r, err = o.Rates(t.Context(), from, to, "", ""); err != nil || r.Rates[0].Den != 5 || r.Rates[0].Apart[1].N != 0 {
		t.Errorf("five minutes later: %+v %v", r.Rates[0], err)
	}
}

func TestDefinitionsMayChange(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.take(history(5, end, 3, 80)...)
	before, err := o.Rates(t.Context(), time.Time{}, time.Time{}, "", "")
	if err != nil {
		t.Fatal(err)
	}
	level := func(r Rates) int64 { return r.Rate("level_offered_arrival").Num }
	cfg := o.cfg
	cfg.Definitions = answerrate.Standard(answerrate.Params{Level: 5 * time.Second, Within: time.Second})
	other, err := New(t.Context(), o.db, cfg)
	if err != nil {
		t.Fatal(err)
	}
	after, err := other.Rates(t.Context(), time.Time{}, time.Time{}, "", "")
	if err != nil || level(after) >= level(before) || after.Rates[0].Num >= before.Rates[0].Num {
		t.Errorf("before %d %d, after %d %d, %v", level(before), before.Rates[0].Num, level(after), after.Rates[0].Num, err)
	}
	cfg.Definitions = nil
	back, err := New(t.Context(), o.db, cfg)
	if err != nil {
		t.Fatal(err)
	}
	again, err := back.Rates(t.Context(), time.Time{}, time.Time{}, "", "")
	if err != nil || level(again) != level(before) || again.Rates[0].Num != before.Rates[0].Num {
		t.Error("the old definitions give other figures than before")
	}
}

func TestErasedIsForgotten(t *testing.T) {
	t.Parallel()
	o := open(t)
	o.lost("c1", "a", end.Add(-time.Hour))
	o.lost("c2", "a", end.Add(-30*time.Minute))
	o.say("contact/c2", "a", end, &intake.ErasedV1{By: "s1", Ground: "asked for"})
	list, err := o.Unreturned(t.Context(), UnreturnedFilter{})
	if err != nil || len(list) != 1 || list[0].Number.Reveal() != "13800005678" {
		t.Fatalf("another contact of theirs still has the number: %v %v", list, err)
	}
	o.say("contact/c1", "a", end, &intake.ErasedV1{By: "s1", Ground: "asked for"})
	for _, e := range slices.Clone(o.kept.events) { // the callback's own events come back after that
		o.take(stream.Record{Event: e, Raw: rawOf(e)})
	}
	for table, text := range o.tables() {
		if table != "outbox" && (strings.Contains(text, "13800005678") || strings.Contains(text, "王阿姨")) {
			t.Errorf("%s still knows", table)
		}
	}
	moments, err := o.Timeline(t.Context(), "contact/c1", "contact/c2", "callback/b00001")
	if err != nil || len(moments) < 8 {
		t.Fatal(moments, err)
	}
	for _, m := range moments {
		if strings.Contains(string(m.Raw), "personal") {
			t.Errorf("%s %s still carries it", m.Subject, m.Type)
		}
	}
}

// Contacts of one caller, days apart, heard of in any order, make the episodes that recovery cuts when it sees them all at once.
func TestEpisodesHeardOfInAnyOrder(t *testing.T) {
	t.Parallel()
	o := open(t)
	rng := rand.New(rand.NewPCG(4, 4))
	for n := range 25 {
		caller := intake.Token(fmt.Sprint("t", n))
		attempts, met := []recovery.Attempt{}, []time.Time{}
		for i := range 8 {
			id := intake.ContactID(fmt.Sprintf("c%d-%d", n, i))
			at := end.Add(-time.Duration(rng.IntN(8*24*60)) * time.Minute)
			if rng.IntN(3) == 0 {
				o.answered(id, caller, at)
				met = append(met, at.Add(5*time.Second))
			} else {
				o.lost(id, caller, at)
			}
			attempts = append(attempts, recovery.Attempt{Contact: id, Arrived: at})
		}
		var want, got []string
		for _, e := range recovery.Episodes(attempts, met, shanghai) {
			want = append(want, fmt.Sprint(e.First().Contact, len(e.Attempts), store.Millis(e.Attempts[len(e.Attempts)-1].Arrived), store.Millis(e.Reached)))
		}
		if err := o.each(t.Context(), func(s scanner) error {
			var id string
			var attempts int
			var last, reached int64
			err := s.Scan(&id, &attempts, &last, &reached)
			got = append(got, fmt.Sprint(intake.ContactID(id), attempts, last, reached))
			return err
		}, "SELECT contact, attempts, last_at, reached FROM episodes WHERE caller = ? ORDER BY first_at", string(caller)); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s:\n%q\nwant\n%q", caller, got, want)
		}
	}
}
