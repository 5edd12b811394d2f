// Package streamtest is what every log must do: the promises of package stream as tests, to be run against each maker of one.
//
// A package that keeps a log calls Run from a test of its own, with a function that makes a fresh Storage. It is written for
// a log of any number of partitions: order is looked for within one key, positions within one partition.
//
// A log that has no memory of ids (Storage.Repeats) is read as a consumer reads it: what is not newer than its subject is passed over.
//
// What it does not do: it knows nothing of what a log does when its disk or its broker fails. That is for each maker's own tests.
package streamtest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/pii"
)

// Storage is where a log is kept.
type Storage struct {
	// Open opens the log over what is kept, empty at first. A test has it open once at a time, and closes it before it opens it again.
	Open func(t testing.TB) stream.Log
	// Plant puts bytes that are no event behind the last record. The log is not open then.
	Plant func(t testing.TB, raw []byte)
	// Repeats says that the log has no memory of ids: what is appended twice may be read twice, with nothing newer of its subject before the first.
	Repeats bool
}

// patience is how long a test waits for what must come; nothing waits so long but a log that is broken.
const patience = 30 * time.Second

var start = time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)

// Event makes the n-th event (from 1) of a contact, n seconds after start.
func Event(contact string, n int) intake.Event {
	return intake.Event{Source: "yingda/test", Subject: intake.ContactID(contact).Subject(), Sequence: intake.NewSequence(1, uint32(n)),
		Time: start.Add(time.Duration(n) * time.Second), PartitionKey: contact,
		Data: &intake.MessageV1{Number: n, From: "resident"}, Personal: intake.Personal{Text: pii.NewText(fmt.Sprintf("第 %d 句", n))}}
}

func events(contact string, n int) []intake.Event {
	list := make([]intake.Event, n)
	for i := range list {
		list[i] = Event(contact, i+1)
	}
	return list
}

// Run runs all of it, each test with a fresh storage.
func Run(t *testing.T, fresh func(t *testing.T) Storage) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, s Storage)
	}{
		{"what is appended is read, in the order of each key", order},
		{"an id is written once", once},
		{"an event that is not valid keeps out the whole append", refused},
		{"groups know nothing of one another", groups},
		{"what is not committed comes again", redelivery},
		{"a reader begins where it is told", from},
		{"lag counts records and says how old the oldest is", lag},
		{"many append at once", many},
		{"an append wakes those who wait", woken},
		{"waiting ends with its context", patient},
		{"a closed log says so", closed},
		{"a record that cannot be read is handed on", unreadable},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) { c.test(t, fresh(t)) })
	}
}

func order(t *testing.T, s Storage) {
	log := open(t, s)
	var want []intake.Event
	for n := 1; n <= 40; n++ {
		var batch []intake.Event
		for k := range 7 {
			batch = append(batch, Event(fmt.Sprintf("contact-%d", k), n))
		}
		must(t, log.Append(ctx(t), batch...))
		want = append(want, batch...)
	}
	big := Event("contact-0", 41)
	big.Personal.Text = pii.NewText(strings.Repeat("长", 40_000))
	must(t, log.Append(ctx(t), big))
	must(t, log.Append(ctx(t)))
	want = append(want, big)
	check := func(log stream.Log) {
		t.Helper()
		records := read(t, reader(t, log, "g"), len(want), 16)
		inOrder(t, records)
		byID := map[string]intake.Event{}
		partition := map[string]int32{}
		for _, r := range records {
			byID[r.Event.ID()] = r.Event
			if p, ok := partition[r.Event.PartitionKey]; ok && p != r.Partition {
				t.Errorf("key %s is in partitions %d and %d", r.Event.PartitionKey, p, r.Partition)
			}
			partition[r.Event.PartitionKey] = r.Partition
			if len(r.Raw) == 0 || bytes.Contains(r.Raw, []byte("句")) {
				t.Errorf("%s is kept as %q", r.Event.ID(), r.Raw)
			}
		}
		for _, e := range want {
			if !reflect.DeepEqual(byID[e.ID()], e) {
				t.Fatalf("%s came back as %+v, was %+v", e.ID(), byID[e.ID()], e)
			}
		}
	}
	check(log)
	must(t, log.Close())
	check(open(t, s)) // nothing was committed, and everything has lasted
}

func once(t *testing.T, s Storage) {
	log := open(t, s)
	e := events("a", 5)
	must(t, log.Append(ctx(t), e[0], e[1], e[0]))
	must(t, log.Append(ctx(t), e[1], e[2]))
	must(t, log.Append(ctx(t), e[2]))
	must(t, log.Close())
	log = open(t, s)
	must(t, log.Append(ctx(t), e[0], e[3], e[1], e[4]))
	records := read(t, reader(t, log, "g"), 5, 100)
	sameIDs(t, records, e)
	// A marker behind them shows that nothing else came.
	must(t, log.Append(ctx(t), e[4], Event("a", 6)))
	r := reader(t, log, "g2")
	sameIDs(t, read(t, r, 6, 100), append(e, Event("a", 6)))
}

func refused(t *testing.T, s Storage) {
	log := open(t, s)
	bad := Event("a", 2)
	bad.Sequence = 0
	if err := log.Append(ctx(t), Event("a", 1), bad); !errors.Is(err, intake.ErrInvalid) {
		t.Errorf("an event without a sequence: %v", err)
	}
	must(t, log.Append(ctx(t), Event("a", 3)))
	sameIDs(t, read(t, reader(t, log, "g"), 1, 100), []intake.Event{Event("a", 3)})
}

func groups(t *testing.T, s Storage) {
	log := open(t, s)
	e := events("a", 10)
	must(t, log.Append(ctx(t), e[:6]...))
	one, other := reader(t, log, "one"), reader(t, log, "other")
	got := read(t, one, 6, 100)
	must(t, one.Commit(ctx(t), last(got)...))
	sameIDs(t, read(t, other, 6, 100), e[:6])
	must(t, other.Close())
	must(t, one.Close())
	must(t, log.Close())

	log = open(t, s)
	must(t, log.Append(ctx(t), e[6:]...))
	sameIDs(t, read(t, reader(t, log, "one"), 4, 100), e[6:])
	sameIDs(t, read(t, reader(t, log, "other"), 10, 100), e)
}

func redelivery(t *testing.T, s Storage) {
	log := open(t, s)
	e := events("a", 20)
	must(t, log.Append(ctx(t), e...))
	r := reader(t, log, "g")
	first, err := r.Fetch(ctx(t), 8)
	must(t, err)
	if len(first) > 8 || len(first) == 0 {
		t.Fatalf("Fetch of 8 gave %d", len(first))
	}
	for len(first) < 8 {
		more, err := r.Fetch(ctx(t), 8-len(first))
		must(t, err)
		first = append(first, more...)
	}
	sameIDs(t, first, e[:8])
	must(t, r.Commit(ctx(t), first[4].Position)) // five of the eight
	sameIDs(t, read(t, r, 12, 100), e[8:])       // a commit does not move the reader
	must(t, r.Close())

	r = reader(t, log, "g")
	sameIDs(t, read(t, r, 15, 4), e[5:])
	must(t, r.Close())
	must(t, log.Close())

	log = open(t, s)
	r = reader(t, log, "g")
	got := read(t, r, 15, 100)
	sameIDs(t, got, e[5:])
	must(t, r.Commit(ctx(t), last(got)...))
	must(t, log.Close())

	log = open(t, s)
	must(t, log.Append(ctx(t), Event("a", 21)))
	sameIDs(t, read(t, reader(t, log, "g"), 1, 100), []intake.Event{Event("a", 21)})
}

func from(t *testing.T, s Storage) {
	log := open(t, s)
	var all []intake.Event
	for k := range 5 {
		all = append(all, events(fmt.Sprintf("contact-%d", k), 6)...)
	}
	must(t, log.Append(ctx(t), all...))
	r := reader(t, log, "g")
	records := read(t, r, len(all), 7)
	must(t, r.Commit(ctx(t), last(records)...))
	must(t, r.Close())

	half := records[:len(records)/2]
	at := last(half)
	var want []intake.Event
	for _, rec := range records {
		i := slices.IndexFunc(at, func(p stream.Position) bool { return p.Partition == rec.Partition })
		if i < 0 || rec.Offset > at[i].Offset { // a partition that isn't named is read from its beginning
			want = append(want, rec.Event)
		}
	}
	r = reader(t, log, "g", at...)
	sameIDs(t, read(t, r, len(want), 100), want)
	must(t, r.Close())

	r = reader(t, log, "g", stream.Position{Partition: records[0].Partition, Offset: -1})
	sameIDs(t, read(t, r, len(all), 100), all)
	must(t, r.Close())

	if l, err := log.Lag(ctx(t), "g"); err != nil || l.Records != 0 {
		t.Errorf("to read from elsewhere moved the group: lag %+v, %v", l, err)
	}
	must(t, log.Append(ctx(t), Event("contact-0", 7)))
	sameIDs(t, read(t, reader(t, log, "g"), 1, 100), []intake.Event{Event("contact-0", 7)})
}

func lag(t *testing.T, s Storage) {
	log := open(t, s)
	test := func(group string, records int64, oldest time.Time) {
		t.Helper()
		l, err := log.Lag(ctx(t), group)
		if err != nil || l.Records != records || !l.Oldest.Equal(oldest) {
			t.Errorf("lag of %s is %+v, %v; want %d, %s", group, l, err, records, oldest)
		}
	}
	test("g", 0, time.Time{})
	e := events("a", 10)
	must(t, log.Append(ctx(t), e...))
	if !s.Repeats {
		must(t, log.Append(ctx(t), e...)) // a repeat is no record
	}
	test("g", 10, e[0].Time)
	r := reader(t, log, "g")
	records := read(t, r, 10, 100)
	test("g", 10, e[0].Time)
	must(t, r.Commit(ctx(t), records[3].Position))
	test("g", 6, e[4].Time)
	test("other", 10, e[0].Time)
	must(t, r.Commit(ctx(t), records[9].Position))
	test("g", 0, time.Time{})
	must(t, log.Append(ctx(t), Event("a", 11)))
	test("g", 1, Event("a", 11).Time)
	must(t, log.Close())
	log = open(t, s)
	test("g", 1, Event("a", 11).Time)
}

func many(t *testing.T, s Storage) {
	log := open(t, s)
	const writers, each = 16, 40
	var all []intake.Event
	var wg sync.WaitGroup
	for w := range writers {
		mine := events(fmt.Sprintf("contact-%d", w/2), each) // two say the same
		if w%2 == 0 {
			all = append(all, mine...)
		}
		wg.Go(func() {
			for i := 0; i < each; i += 2 {
				if err := log.Append(ctx(t), mine[i], mine[i+1]); err != nil {
					t.Errorf("append: %v", err)
				}
			}
		})
	}
	got := read(t, reader(t, log, "while they write"), len(all), 50)
	wg.Wait()
	for _, records := range [][]stream.Record{got, read(t, reader(t, log, "after"), len(all), 50)} {
		inOrder(t, records)
		sameIDs(t, records, all)
	}
	if l, err := log.Lag(ctx(t), "nobody"); err != nil || l.Records != int64(len(all)) && !(s.Repeats && l.Records == int64(2*len(all))) {
		t.Errorf("%+v, %v records in the log, want %d", l, err, len(all))
	}
}

func woken(t *testing.T, s Storage) {
	log := open(t, s)
	must(t, log.Append(ctx(t), Event("a", 1)))
	var ready, done sync.WaitGroup
	for i := range 3 {
		r := reader(t, log, fmt.Sprintf("group-%d", i))
		read(t, r, 1, 1)
		ready.Add(1)
		done.Go(func() {
			ready.Done()
			list, err := r.Fetch(ctx(t), 10)
			if err != nil || len(list) != 1 || list[0].Event.ID() != Event("a", 2).ID() {
				t.Errorf("Fetch gave %v, %v", list, err)
			}
		})
	}
	ready.Wait()
	must(t, log.Append(ctx(t), Event("a", 2)))
	done.Wait()
}

func patient(t *testing.T, s Storage) {
	log := open(t, s)
	r := reader(t, log, "g")
	c, cancel := context.WithCancel(ctx(t))
	ended := make(chan error)
	go func() {
		_, err := r.Fetch(c, 1)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Fetch of a cancelled context: %v", err)
	}
	if err := log.Append(c, Event("a", 1)); !errors.Is(err, context.Canceled) {
		t.Errorf("Append with a cancelled context: %v", err)
	}
	must(t, log.Append(ctx(t), Event("a", 2)))
	if got := read(t, r, 1, 10); got[0].Event.Subject != Event("a", 2).Subject { // the reader can still be used
		t.Errorf("read %v", got)
	}
}

func closed(t *testing.T, s Storage) {
	log := open(t, s)
	must(t, log.Append(ctx(t), Event("a", 1)))
	over := reader(t, log, "g")
	must(t, over.Close())
	if _, err := over.Fetch(ctx(t), 1); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Fetch of a closed reader: %v", err)
	}
	if err := over.Commit(ctx(t), stream.Position{Offset: 1}); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Commit of a closed reader: %v", err)
	}
	waiting := reader(t, log, "g")
	read(t, waiting, 1, 1)
	ended := make(chan error)
	go func() {
		_, err := waiting.Fetch(ctx(t), 1)
		ended <- err
	}()
	must(t, log.Close())
	if err := <-ended; !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Fetch when the log closes: %v", err)
	}
	if err := log.Append(ctx(t), Event("a", 2)); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Append to a closed log: %v", err)
	}
	if _, err := log.Open("g"); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Open of a closed log: %v", err)
	}
	if err := waiting.Commit(ctx(t), stream.Position{Offset: 1}); !errors.Is(err, stream.ErrClosed) {
		t.Errorf("Commit when the log is closed: %v", err)
	}
	must(t, log.Close())
	must(t, waiting.Close())
}

func unreadable(t *testing.T, s Storage) {
	log := open(t, s)
	must(t, log.Append(ctx(t), Event("a", 1)))
	must(t, log.Close())
	rubbish := []byte(`{"specversion":"9.9"`)
	s.Plant(t, rubbish)
	log = open(t, s)
	must(t, log.Append(ctx(t), Event("a", 2)))
	r := reader(t, log, "g")
	records := read(t, r, 3, 10)
	var good []stream.Record
	bad := 0
	for _, rec := range records {
		if rec.Err == nil {
			good = append(good, rec)
			continue
		}
		bad++
		if !bytes.Equal(rec.Raw, rubbish) || !reflect.DeepEqual(rec.Event, intake.Event{}) {
			t.Errorf("rubbish came as %+v", rec)
		}
	}
	if bad != 1 {
		t.Errorf("%d records could not be read, want 1", bad)
	}
	sameIDs(t, good, events("a", 2))
	must(t, r.Commit(ctx(t), last(records)...))
	if l, err := log.Lag(ctx(t), "g"); err != nil || l.Records != 0 {
		t.Errorf("a record that cannot be read holds up the group: %+v, %v", l, err)
	}
}

func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return c
}

func open(t testing.TB, s Storage) stream.Log {
	t.Helper()
	log := s.Open(t)
	t.Cleanup(func() { _ = log.Close() })
	if s.Repeats {
		return distinct{log}
	}
	return log
}

// distinct is a log whose readers pass over what is not newer than its subject, as every consumer does.
type distinct struct{ stream.Log }

func (d distinct) Open(group string, from ...stream.Position) (stream.Reader, error) {
	r, err := d.Log.Open(group, from...)
	if err != nil {
		return nil, err
	}
	return &distinctReader{r, map[intake.Subject]intake.Sequence{}}, nil
}

type distinctReader struct {
	stream.Reader
	newest map[intake.Subject]intake.Sequence
}

func (d *distinctReader) Fetch(ctx context.Context, limit int) ([]stream.Record, error) {
	for {
		list, err := d.Reader.Fetch(ctx, limit)
		list = slices.DeleteFunc(list, func(r stream.Record) bool {
			if r.Err != nil || r.Event.Sequence > d.newest[r.Event.Subject] {
				d.newest[r.Event.Subject] = max(d.newest[r.Event.Subject], r.Event.Sequence)
				return false
			}
			return true
		})
		if len(list) > 0 || err != nil {
			return list, err
		}
	}
}

func reader(t testing.TB, log stream.Log, group string, from ...stream.Position) stream.Reader {
	t.Helper()
	r, err := log.Open(group, from...)
	must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	return r
}

// read fetches until it has n records, and fails the test if they are more.
func read(t testing.TB, r stream.Reader, n, limit int) []stream.Record {
	t.Helper()
	var list []stream.Record
	for len(list) < n {
		more, err := r.Fetch(ctx(t), limit)
		if err != nil {
			t.Fatalf("after %d of %d records: %v", len(list), n, err)
		}
		if len(more) == 0 || len(more) > limit {
			t.Fatalf("Fetch of %d gave %d records", limit, len(more))
		}
		list = append(list, more...)
	}
	if len(list) != n {
		t.Fatalf("%d records, want %d", len(list), n)
	}
	return list
}

// last is the highest position of each partition.
func last(records []stream.Record) []stream.Position {
	var list []stream.Position
	for _, r := range records {
		i := slices.IndexFunc(list, func(p stream.Position) bool { return p.Partition == r.Partition })
		if i < 0 {
			list = append(list, r.Position)
		} else {
			list[i].Offset = max(list[i].Offset, r.Offset)
		}
	}
	return list
}

// inOrder wants ascending offsets in each partition and ascending sequences of each subject.
func inOrder(t testing.TB, records []stream.Record) {
	t.Helper()
	offset := map[int32]int64{}
	sequence := map[intake.Subject]intake.Sequence{}
	for _, r := range records {
		if o, ok := offset[r.Partition]; ok && r.Offset <= o || r.Offset < 0 {
			t.Fatalf("offset %d of partition %d comes after %d", r.Offset, r.Partition, o)
		}
		offset[r.Partition] = r.Offset
		if r.Event.Sequence <= sequence[r.Event.Subject] {
			t.Fatalf("%s comes after %s", r.Event.ID(), sequence[r.Event.Subject])
		}
		sequence[r.Event.Subject] = r.Event.Sequence
	}
}

// sameIDs wants just these events, in the order of each key.
func sameIDs(t testing.TB, records []stream.Record, want []intake.Event) {
	t.Helper()
	var have, wanted []string
	sorted := slices.Clone(records)
	slices.SortStableFunc(sorted, func(a, b stream.Record) int { return cmp.Compare(a.Event.PartitionKey, b.Event.PartitionKey) })
	for _, r := range sorted {
		if r.Err != nil {
			t.Fatalf("record %v: %v", r.Position, r.Err)
		}
		have = append(have, r.Event.ID())
	}
	events := slices.Clone(want)
	slices.SortStableFunc(events, func(a, b intake.Event) int { return cmp.Compare(a.PartitionKey, b.PartitionKey) })
	for _, e := range events {
		wanted = append(wanted, e.ID())
	}
	if !slices.Equal(have, wanted) {
		t.Fatalf("read %v, want %v", have, wanted)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
