package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/store/storetest"
)

// names is an Encoder that writes the id, and nothing for one that it does not like.
type names struct{}

func (names) Encode(e intake.Event) ([]byte, error) {
	if e.Source == "broken" {
		return nil, errBroken
	}
	return []byte(e.ID()), nil
}

var errBroken = errors.New("cannot be encoded")

func open(t *testing.T) (*DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "数据 ?%.db")
	return reopen(t, path), path
}

func reopen(t *testing.T, path string) *DB {
	t.Helper()
	return openAt(t, storetest.Address(t, path))
}

// openFile opens an SQLite file whatever the other tests run on, for what is about files.
func openFile(t *testing.T) (*DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "数据 ?%.db")
	return openAt(t, path), path
}

func openAt(t *testing.T, address string) *DB {
	t.Helper()
	d, err := Open(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	d.UseEncoder(names{})
	return d
}

func event(n int) intake.Event {
	return intake.Event{Source: "yingda/test", Subject: "case/a", Sequence: intake.NewSequence(1, uint32(n)), PartitionKey: "a",
		Time: time.Date(2026, 11, 24, 8, 0, n, 0, time.UTC), Data: &intake.CaseNotedV1{By: "u"}}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func outbox(t *testing.T, d *DB, limit int) (ids []string, rows []int64) {
	t.Helper()
	list, err := d.Outbox(t.Context(), limit)
	must(t, err)
	for _, o := range list {
		if string(o.Event) != o.ID {
			t.Errorf("%s is kept as %q", o.ID, o.Event)
		}
		ids, rows = append(ids, o.ID), append(rows, o.Row)
	}
	return ids, rows
}

func fact(t *testing.T, d *DB, name string) (value string) {
	t.Helper()
	err := d.QueryRow(t.Context(), "SELECT value FROM facts WHERE name = ?", name).Scan(&value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.Fatal(err)
	}
	return value
}

// TestRowAndEvent: a change and its event are there together or not at all, whatever ends the transaction.
func TestRowAndEvent(t *testing.T) {
	d, path := open(t)
	emitted := d.Emitted()
	change := func(n int, end func(*Tx) error) (err error) {
		defer func() {
			if recover() != nil {
				err = errors.New("panic")
			}
		}()
		return d.Tx(t.Context(), func(tx *Tx) error {
			if _, err := tx.ExecContext(t.Context(), "INSERT INTO facts (name, value) VALUES (?, 'x')", fmt.Sprint(n)); err != nil {
				return err
			}
			if err := tx.Emit(t.Context(), event(n)); err != nil {
				return err
			}
			return end(tx)
		})
	}
	good := func(*Tx) error { return nil }
	must(t, change(1, good))
	select {
	case <-emitted:
	default:
		t.Error("nobody was told of the outbox")
	}
	bad := event(2)
	bad.Source = "broken"
	mine := errors.New("mine")
	for name, end := range map[string]func(*Tx) error{
		"an error":                     func(*Tx) error { return mine },
		"a panic":                      func(*Tx) error { panic("at the disco") },
		"an event without data":        func(tx *Tx) error { return tx.Emit(t.Context(), intake.Event{}) },
		"an event of no bytes":         func(tx *Tx) error { return tx.Emit(t.Context(), bad) },
		"the same event a second time": func(tx *Tx) error { return tx.Emit(t.Context(), event(2)) },
	} {
		if err := change(2, end); err == nil {
			t.Errorf("%s went through", name)
		}
		if fact(t, d, "2") != "" {
			t.Errorf("after %s the row is there", name)
		}
	}
	select {
	case <-emitted:
		t.Error("somebody was told of what did not happen")
	default:
	}
	if err := change(3, func(*Tx) error { return mine }); !errors.Is(err, mine) {
		t.Errorf("the error of the function came as %v", err)
	}
	must(t, change(4, good))
	must(t, d.Close())
	d = reopen(t, path)
	if ids, _ := outbox(t, d, 10); !slices.Equal(ids, []string{event(1).ID(), event(4).ID()}) || fact(t, d, "1") != "x" || fact(t, d, "4") != "x" {
		t.Errorf("the outbox has %v", ids)
	}
	if err := (&Tx{db: &DB{}}).Emit(t.Context(), event(9)); err == nil {
		t.Error("an event was emitted without an encoder")
	}
}

func TestOutbox(t *testing.T) {
	d, _ := open(t)
	var want []string
	for n := 1; n <= 30; n += 3 {
		must(t, d.Tx(t.Context(), func(tx *Tx) error { return tx.Emit(t.Context(), event(n+2), event(n+1), event(n)) }))
		want = append(want, event(n+2).ID(), event(n+1).ID(), event(n).ID())
	}
	var have []string
	for {
		ids, rows := outbox(t, d, 7)
		if len(ids) == 0 {
			break
		}
		if again, _ := outbox(t, d, 7); !slices.Equal(ids, again) {
			t.Fatalf("what was not sent does not come again: %v, %v", ids, again)
		}
		have = append(have, ids...)
		must(t, d.Sent(t.Context(), rows[len(rows)-1]))
	}
	if !slices.Equal(have, want) {
		t.Errorf("sent in the order %v, emitted as %v", have, want)
	}
	// A row number is never used again, so that a late Sent does not take out what came after.
	_, before := outbox(t, d, 1)
	must(t, d.Tx(t.Context(), func(tx *Tx) error { return tx.Emit(t.Context(), event(31)) }))
	must(t, d.Sent(t.Context(), 30))
	if ids, rows := outbox(t, d, 1); len(before) != 0 || len(ids) != 1 || rows[0] != 31 {
		t.Errorf("after a late Sent the outbox has %v in rows %v", ids, rows)
	}
}

func TestPositions(t *testing.T) {
	d, path := open(t)
	set := func(group string, at ...stream.Position) error {
		return d.Tx(t.Context(), func(tx *Tx) error {
			for _, p := range at {
				if err := tx.SetPosition(t.Context(), group, p); err != nil {
					return err
				}
			}
			return nil
		})
	}
	must(t, set("books", stream.Position{Offset: 5}, stream.Position{Partition: 3, Offset: 1 << 40}))
	must(t, set("books", stream.Position{Offset: 9}))
	must(t, set("cases", stream.Position{Offset: 2}))
	undone := errors.New("undone")
	err := d.Tx(t.Context(), func(tx *Tx) error {
		if err := tx.SetPosition(t.Context(), "books", stream.Position{Offset: 100}); err != nil {
			return err
		}
		return undone
	})
	if !errors.Is(err, undone) {
		t.Error(err)
	}
	must(t, d.Close())
	d = reopen(t, path)
	test := func(group string, want ...stream.Position) {
		t.Helper()
		have, err := d.Positions(t.Context(), group)
		must(t, err)
		slices.SortFunc(have, func(a, b stream.Position) int { return int(a.Partition - b.Partition) })
		if !slices.Equal(have, want) {
			t.Errorf("%s is at %v, want %v", group, have, want)
		}
	}
	test("books", stream.Position{Offset: 9}, stream.Position{Partition: 3, Offset: 1 << 40})
	test("cases", stream.Position{Offset: 2})
	test("nobody")
}

func TestVault(t *testing.T) {
	d, path := openFile(t)
	now := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	secret := func(name string) []byte {
		t.Helper()
		s, err := d.Secret(t.Context(), name, now)
		must(t, err)
		if len(s) != 32 {
			t.Fatalf("%s has %d bytes", name, len(s))
		}
		return s
	}
	november := secret("month/2026-11")
	for m := range 9 { // neighbours, before and after
		secret(fmt.Sprintf("month/2027-%02d", m+1))
	}
	if !bytes.Equal(november, secret("month/2026-11")) {
		t.Error("a secret changes")
	}
	if bytes.Equal(november, secret("caller")) {
		t.Error("two names have one secret")
	}
	january := secret("month/2027-01")
	must(t, d.Close())
	d = openAt(t, path)
	if !bytes.Equal(november, secret("month/2026-11")) {
		t.Error("a secret does not outlive its process")
	}
	if !inFiles(t, path, november) {
		t.Fatal("the search for the bytes of a secret finds none that is there")
	}

	must(t, d.Destroy(t.Context(), "month/2026-11"))
	must(t, d.Destroy(t.Context(), "month/2026-11"))
	must(t, d.Destroy(t.Context(), "month/1999-01"))
	if inFiles(t, path, november) {
		t.Error("the bytes of a destroyed secret are still in the files")
	}
	for range 2 {
		if s, err := d.Secret(t.Context(), "month/2026-11", now); !errors.Is(err, ErrDestroyed) {
			t.Errorf("a destroyed secret came as %d bytes, %v", len(s), err)
		}
		must(t, d.Close())
		d = openAt(t, path)
	}
	if !bytes.Equal(january, secret("month/2027-01")) {
		t.Error("another month was destroyed as well")
	}
}

func inFiles(t *testing.T, path string, secret []byte) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(path), "*"))
	must(t, err)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		must(t, err)
		for i := 0; i+8 <= len(secret); i++ { // a part that was left over is too much
			if bytes.Contains(raw, secret[i:i+8]) {
				return true
			}
		}
	}
	return false
}

// TestDestroyWhileRead: while somebody reads from the journal, Destroy says that it has not done all.
func TestDestroyWhileRead(t *testing.T) {
	d, _ := openFile(t)
	now := time.Now()
	_, err := d.Secret(t.Context(), "a", now)
	must(t, err)
	rows, err := d.Query(t.Context(), "SELECT name FROM vault")
	must(t, err)
	if !rows.Next() {
		t.Fatal("nothing to read")
	}
	d.write.SetMaxOpenConns(1)
	_, err = d.write.ExecContext(t.Context(), "PRAGMA busy_timeout = 1")
	must(t, err)
	if err := d.Destroy(t.Context(), "a"); err == nil {
		t.Error("the journal was emptied under a reader")
	}
	must(t, rows.Close())
	if _, err := d.Secret(t.Context(), "a", now); !errors.Is(err, ErrDestroyed) {
		t.Errorf("the secret is not destroyed: %v", err)
	}
	must(t, d.Destroy(t.Context(), "a"))
}

// TestOneSecret: whoever asks at the same moment gets the same.
func TestOneSecret(t *testing.T) {
	d, path := open(t)
	other := reopen(t, path) // another program
	var mu sync.Mutex
	got := map[string]bool{}
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			s, err := []*DB{d, other}[i%2].Secret(t.Context(), "caller", time.Now())
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			got[string(s)] = true
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(got) != 1 {
		t.Errorf("%d secrets of one name", len(got))
	}
}

func TestNextEpoch(t *testing.T) {
	d, path := open(t)
	for want := uint32(1); want <= 3; want++ {
		have, err := d.NextEpoch(t.Context())
		if err != nil || have != want {
			t.Errorf("start %d has epoch %d, %v", want, have, err)
		}
		must(t, d.Close())
		d = reopen(t, path)
	}
	for _, value := range []string{"2147483647", "x"} { // the last that a sequence can hold, and nonsense
		must(t, d.Tx(t.Context(), func(tx *Tx) error {
			_, err := tx.ExecContext(t.Context(), "UPDATE facts SET value = ? WHERE name = 'epoch'", value)
			return err
		}))
		if have, err := d.NextEpoch(t.Context()); err == nil {
			t.Errorf("after epoch %s comes %d", value, have)
		}
		if fact(t, d, "epoch") != value {
			t.Errorf("a refused epoch was kept: %s", fact(t, d, "epoch"))
		}
	}
}

// TestReadersAndWriter: reading never fails and never sees half a transaction, while transactions come and go.
func TestReadersAndWriter(t *testing.T) {
	d, _ := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var readers, writers sync.WaitGroup
	for range 6 {
		readers.Go(func() {
			for ctx.Err() == nil {
				var facts, events int
				err := d.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM facts), (SELECT count(*) FROM outbox)").Scan(&facts, &events)
				if err != nil || facts != events {
					t.Errorf("a reader sees %d rows and %d events, %v", facts, events, err)
					return
				}
			}
		})
	}
	const each = 50
	for w := range 4 {
		writers.Go(func() {
			for n := range each {
				err := d.Tx(t.Context(), func(tx *Tx) error {
					if _, err := tx.ExecContext(t.Context(), "INSERT INTO facts (name, value) VALUES (?, '')", fmt.Sprintf("%d-%d", w, n)); err != nil {
						return err
					}
					return tx.Emit(t.Context(), event(1+w*each+n))
				})
				if err != nil {
					t.Errorf("transaction: %v", err)
				}
			}
		})
	}
	writers.Wait()
	cancel()
	readers.Wait()
	if ids, _ := outbox(t, d, 1000); len(ids) != 4*each {
		t.Errorf("%d events, want %d", len(ids), 4*each)
	}
}

// The copy is as of the moment in which at was called, though others write on.
func TestBackup(t *testing.T) {
	d, path := openFile(t)
	var group sync.WaitGroup
	stop := make(chan struct{})
	written := make(chan struct{}, 1)
	group.Go(func() {
		for n := 1; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if err := d.Tx(context.Background(), func(tx *Tx) error { return tx.Emit(context.Background(), event(n)) }); err != nil {
				t.Errorf("writing during a backup: %v", err)
				return
			}
			select {
			case written <- struct{}{}:
			default:
			}
		}
	})
	for i := range 5 {
		<-written
		path := fmt.Sprint(path, ".copy", i)
		var then, copied int
		must(t, d.Backup(t.Context(), path, func(ctx context.Context) error {
			return d.QueryRow(ctx, "SELECT COUNT(*) FROM outbox").Scan(&then)
		}))
		must(t, openAt(t, path).QueryRow(t.Context(), "SELECT COUNT(*) FROM outbox").Scan(&copied))
		if then == 0 || copied != then {
			t.Errorf("there were %d rows in that moment, the copy has %d", then, copied)
		}
	}
	close(stop)
	group.Wait()
	if err := d.Backup(t.Context(), path+".copy1", func(context.Context) error { return nil }); !errors.Is(err, os.ErrExist) {
		t.Errorf("a copy overwrote another: %v", err)
	}
	if err := d.Backup(t.Context(), path+".other", func(context.Context) error { return errBroken }); !errors.Is(err, errBroken) {
		t.Errorf("what at says is lost: %v", err)
	}
	if have, err := d.InOutbox(t.Context(), event(1).ID(), event(1_000_000).ID()); err != nil || len(have) != 1 || !have[event(1).ID()] {
		t.Errorf("in the outbox: %v, %v", have, err)
	}
}

func TestTimes(t *testing.T) {
	for _, want := range []time.Time{{}, time.Date(2026, 11, 24, 8, 0, 0, 123e6, time.UTC), time.Date(1955, 1, 1, 0, 0, 0, 0, time.UTC)} {
		if have := Time(Millis(want)); !reflect.DeepEqual(have, want) {
			t.Errorf("%s comes back as %s", want, have)
		}
	}
}
