package books

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/store"
)

// archive is an office whose stream is kept, with what the office itself tells.
type archive struct {
	*office
	log  []stream.Record
	told int // events of the office that are in the log
}

// live takes what others say into the log and the books, and then what the books say of it.
func (a *archive) live(records ...stream.Record) {
	a.t.Helper()
	for _, r := range records {
		r.Position = stream.Position{Offset: int64(len(a.log))}
		a.log = append(a.log, r)
		a.take(r)
	}
	a.echo()
}

// echo lets what the office told come back through the stream.
func (a *archive) echo() {
	a.t.Helper()
	for ; a.told < len(a.kept.events); a.told++ {
		e := a.kept.events[a.told]
		r := stream.Record{Position: stream.Position{Offset: int64(len(a.log))}, Event: e, Raw: rawOf(e)}
		a.log = append(a.log, r)
		a.take(r)
	}
}

// replay reads the log again from a record on, in batches, as the consumer does; during is called in between.
func (a *archive) replay(empty bool, from int, seed uint64, during func(done int)) {
	a.t.Helper()
	ctx := a.t.Context()
	rng := rand.New(rand.NewPCG(seed, 4))
	end := len(a.log)
	tx := func(f func(tx *store.Tx) error) {
		a.t.Helper()
		if err := a.db.Tx(ctx, f); err != nil {
			a.t.Fatal(err)
		}
	}
	tx(func(tx *store.Tx) error {
		if empty {
			if err := Empty(ctx, tx); err != nil {
				return err
			}
		}
		return tx.BeginReplay(ctx, Group, stream.Position{Offset: int64(end - 1)})
	})
	for at := from; at < end; {
		n := min(1+rng.IntN(700), end-at)
		batch := make([]stream.Record, n)
		for i := range batch {
			batch[i] = a.log[at+i]
			batch[i].Again = true
		}
		at += n
		tx(func(tx *store.Tx) error {
			if err := a.Apply(ctx, tx, batch); err != nil || at < end {
				return err
			}
			if err := tx.EndReplay(ctx, Group, 0); err != nil {
				return err
			}
			return a.CaughtUp(ctx, tx)
		})
		if during != nil && at < end {
			during(at)
		}
	}
}

// month of an office: contacts, what its people do about those who were lost, people who are erased, and acts for the audit log.
func newArchive(t *testing.T, seed uint64, days, perDay int) *archive {
	a := &archive{office: open(t)}
	rng := rand.New(rand.NewPCG(seed, 3))
	records := history(seed, end, days, perDay)
	erased := 0
	for i := 0; i < len(records); {
		n := min(1+rng.IntN(60), len(records)-i)
		a.at = records[i+n-1].Event.Time
		a.live(records[i : i+n]...)
		i += n
		a.deed(rng)
		if id := records[i-1].Event.Contact(); id != "" && rng.IntN(12) == 0 {
			erased++
			seq := a.newest(id).Next(1)
			e := intake.Event{Source: "yingda/test", Subject: id.Subject(), Sequence: max(seq, intake.NewSequence(9, 1)), Time: a.at, PartitionKey: records[i-1].Event.PartitionKey, Data: &intake.ErasedV1{By: "u1", Ground: "asked"}}
			a.live(stream.Record{Event: e, Raw: rawOf(e)})
		}
		if rng.IntN(6) == 0 {
			s := intake.Subject(fmt.Sprintf("look/l%d", i))
			e := intake.Event{Source: "yingda/test", Subject: s, Sequence: intake.NewSequence(1, 1), Time: a.at, PartitionKey: string(s),
				Data: &intake.PersonRevealedV1{Viewer: "u1", What: intake.ContactID("c000001").Subject(), Field: "number", Reason: "asked"}}
			a.live(stream.Record{Event: e, Raw: rawOf(e)})
		}
	}
	if erased == 0 {
		t.Fatal("nobody was erased: this history shows too little")
	}
	return a
}

func (a *archive) newest(id intake.ContactID) (seq intake.Sequence) {
	a.t.Helper()
	if err := a.db.QueryRow(a.t.Context(), "SELECT newest FROM contacts WHERE id = ?", string(id)).Scan(&seq); err != nil {
		a.t.Fatal(err)
	}
	return seq
}

// deed is something that people of the office do about a callback that is open.
func (a *archive) deed(rng *rand.Rand) {
	a.t.Helper()
	ctx := a.t.Context()
	open, err := a.Unreturned(ctx, UnreturnedFilter{})
	if err != nil {
		a.t.Fatal(err)
	}
	if len(open) == 0 {
		return
	}
	c := open[rng.IntN(len(open))]
	switch rng.IntN(5) {
	case 0:
		err = a.AssignCallback(ctx, c.ID, "o1", "u1")
	case 1:
		err = a.Tried(ctx, c.ID, intake.CallbackTriedV1{Attempt: intake.AttemptID(fmt.Sprintf("own-%d", len(a.log))), Operator: "o1", Result: intake.TryReached, Seconds: 40})
	case 2, 3:
		err = a.Tried(ctx, c.ID, intake.CallbackTriedV1{Attempt: intake.AttemptID(fmt.Sprintf("own-%d", len(a.log))), Operator: "o2", Result: intake.TryNoAnswer, Seconds: 20})
	case 4:
		err = a.CloseCallback(ctx, c.ID, "u1", "号码是空号")
	}
	if err != nil {
		a.t.Fatal(err)
	}
	a.echo()
}

// Read again from the beginning, emptied before or not, the books are what they were, and nobody is told anything a second time.
func TestReplayIsSilent(t *testing.T) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			a := newArchive(t, 40+seed, 4, 36)
			before, told := a.tables(), len(a.kept.events)
			if told < 30 {
				t.Fatalf("only %d events of callbacks: this history shows too little", told)
			}
			for _, empty := range []bool{false, true} {
				a.replay(empty, 0, seed, nil)
				same(t, fmt.Sprintf("emptied: %v", empty), before, a.tables())
				if n := len(a.kept.events) - told; n != 0 {
					t.Errorf("emptied: %v: %d events were told again: %+v", empty, n, a.kept.events[told])
				}
			}
		})
	}
}

// What is lost of the books comes back when the stream is read again.
func TestReplayBringsBackWhatIsMissing(t *testing.T) {
	t.Parallel()
	a := newArchive(t, 50, 4, 36)
	before, told := a.tables(), len(a.kept.events)
	rng := rand.New(rand.NewPCG(5, 5))
	lose := func(table, key string, other string) {
		t.Helper()
		err := a.db.Tx(t.Context(), func(tx *store.Tx) error {
			rows, err := tx.QueryContext(t.Context(), "SELECT "+key+", "+other+" FROM "+table+" ORDER BY 1, 2")
			if err != nil {
				return err
			}
			var keys [][2]string
			for rows.Next() {
				var k [2]string
				if err := rows.Scan(&k[0], &k[1]); err != nil {
					return err
				}
				keys = append(keys, k)
			}
			if err := rows.Close(); err != nil || len(keys) == 0 {
				return fmt.Errorf("%s holds %d rows, %v", table, len(keys), err)
			}
			for range 1 + len(keys)/10 {
				k := keys[rng.IntN(len(keys))]
				if _, err := tx.ExecContext(t.Context(), "DELETE FROM "+table+" WHERE "+key+" = ? AND "+other+" = ?", k[0], k[1]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	lose("contacts", "id", "pkey")
	lose("timeline", "subject", "seq")
	lose("contact_offers", "contact", "offer")
	lose("contact_cases", "contact", "case_id")
	lose("callers", "token", "known")
	lose("episodes", "contact", "caller")
	lose("recordings", "id", "contact")
	lose("trail", "id", "kind")
	lose("looks", "id", "what")
	lose("operator_states", "operator", "seq")
	if lost := a.tables(); lost["contacts"] == before["contacts"] {
		t.Fatal("nothing is missing")
	}
	a.replay(false, 0, 9, nil)
	after := a.tables()
	same(t, "after the replay", before, after)
	if n := len(a.kept.events) - told; n != 0 {
		t.Errorf("%d events were told again: %+v", n, a.kept.events[told])
	}
}

// A replay that begins after a contact's offer makes no half contact of it.
func TestReplayFromTheMiddle(t *testing.T) {
	t.Parallel()
	a := &archive{office: open(t)}
	records := history(60, end, 4, 30)
	slices.SortStableFunc(records, func(x, y stream.Record) int { return x.Event.Time.Compare(y.Event.Time) })
	a.live(records...)
	before := a.tables()
	from := len(a.log)/2 - len(a.log)/20
	a.replay(false, from, 1, nil)
	same(t, "nothing was missing", before, a.tables())
	id := ""
	for _, r := range a.log[from:] {
		if _, ended := r.Event.Data.(*intake.EndedV1); ended {
			if id = string(r.Event.Contact()); a.offeredBefore(intake.ContactID(id), from) {
				break
			}
			id = ""
		}
	}
	if id == "" {
		t.Fatal("no contact lies across the middle")
	}
	count := func() (n int) {
		t.Helper()
		if err := a.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM contacts WHERE id = ?", id).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if err := a.db.Tx(t.Context(), func(tx *store.Tx) error {
		_, err := tx.ExecContext(t.Context(), "DELETE FROM contacts WHERE id = ?", id)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	a.replay(false, from, 1, nil)
	if n := count(); n != 0 {
		t.Error("half a contact was made")
	}
	a.replay(false, 0, 1, nil)
	if n := count(); n != 1 {
		t.Error("the contact has not come back")
	}
}

func (a *archive) offeredBefore(id intake.ContactID, n int) bool {
	for _, r := range a.log[:n] {
		if r.Event.Contact() == id {
			return true
		}
	}
	return false
}

// While the books are read again people go on: what they close stays closed, what comes meanwhile waits its turn, and nothing that is half read is taken
// for open.
func TestDeedsDuringAReplay(t *testing.T) {
	t.Parallel()
	a := newArchive(t, 70, 8, 40)
	open, err := a.Unreturned(t.Context(), UnreturnedFilter{})
	if err != nil || len(open) < 3 {
		t.Fatal(len(open), err)
	}
	told := len(a.kept.events)
	free := slices.IndexFunc(open[1:], func(c Callback) bool { return c.InHand == "" })
	if free < 0 {
		t.Fatal("everybody is in somebody's hand")
	}
	closed, taken := open[0].ID, open[1+free].ID
	done := false
	a.at = end.Add(time.Minute)
	a.replay(true, 0, 2, func(at int) {
		if left, err := a.OpenContacts(context.WithoutCancel(t.Context())); err != nil || len(left) != 0 {
			t.Errorf("%d contacts seem open after %d of %d records, %v", len(left), at, len(a.log), err)
		}
		if done || at < len(a.log)/4 {
			return
		}
		done = true
		if err := a.CloseCallback(t.Context(), closed, "u1", "已当面说明"); err != nil {
			t.Error(err)
		}
		if err := a.TakeCallback(t.Context(), taken, "o3"); err != nil {
			t.Error(err)
		}
	})
	if !done {
		t.Fatal("the replay was over too soon")
	}
	if c, err := a.Callback(t.Context(), closed); err != nil || c.ClearedBy != intake.ClearedSupervisor || c.ClearedReason != "已当面说明" {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := a.Callback(t.Context(), taken); err != nil || c.InHand != "o3" {
		t.Errorf("%+v, %v", c, err)
	}
	var types []intake.Type
	for _, e := range a.kept.events[told:] {
		types = append(types, e.Type())
	}
	if len(types) != 2 {
		t.Errorf("told: %v, want that one is taken and one cleared", types)
	}
	for i := range 5 { // and life goes on
		id, caller := intake.ContactID(fmt.Sprintf("new-%d", i)), fmt.Sprintf("t%05d", i)
		for n, d := range []intake.Data{&intake.OfferedV1{Channel: intake.Phone, Line: "main", Switchboard: "main", Caller: intake.Token(caller)}, &intake.EndedV1{Outcome: intake.AbandonedQueue}} {
			e := intake.Event{Source: "yingda/test", Subject: id.Subject(), Sequence: intake.NewSequence(1, uint32(n+1)), Time: a.at, PartitionKey: caller, Data: d, Personal: wang}
			a.live(stream.Record{Event: e, Raw: rawOf(e)})
		}
	}
	before := a.tables()
	a.replay(true, 0, 3, nil)
	same(t, "the next replay", before, a.tables())
}
