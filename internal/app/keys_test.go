package app

import (
	"errors"
	"io"
	"log/slog"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// A month whose secret is destroyed is forgotten by the programs that run, not only by those that start afterwards.
func TestDestroyedMonthIsForgottenWhileItRuns(t *testing.T) {
	c := quiet(t)
	a := serve(t, c, io.Discard)
	beside, err := OpenStore(t.Context(), c, StoreOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	sealed := func(month time.Time) []byte {
		t.Helper()
		id := intake.ContactID(newID())
		raw, err := a.codec.Encode(intake.Event{Source: "test", Subject: id.Subject(), Sequence: intake.NewSequence(1, 1), Time: month, PartitionKey: string(id),
			Data:     &intake.OfferedV1{Channel: intake.Phone, Line: "main", Switchboard: "main", Origin: "test"},
			Personal: intake.Personal{Number: pii.NewPhone("051255501234")}})
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	forgotten := func(s *Store, raw []byte) bool {
		t.Helper()
		e, err := s.codec.Decode(raw)
		if err != nil {
			t.Fatal(err)
		}
		if e.Forgotten() != e.Personal.IsZero() {
			t.Fatalf("an event that is forgotten (%v) and names somebody (%v)", e.Forgotten(), !e.Personal.IsZero())
		}
		return e.Forgotten()
	}
	may, june := time.Date(2026, 5, 9, 1, 2, 3, 0, time.UTC), time.Date(2026, 6, 9, 1, 2, 3, 0, time.UTC)
	inMay, inJune := sealed(may), sealed(june)
	for _, s := range []*Store{a.Store, beside} { // both remember the secrets from here on
		if forgotten(s, inMay) || forgotten(s, inJune) {
			t.Fatal("what has just been sealed cannot be read")
		}
	}
	recording, err := a.keys.recording("r", may)
	if err != nil || len(recording) != 32 {
		t.Fatalf("key of a recording: %d bytes, %v", len(recording), err)
	}

	// By this process: at once.
	if err := a.DB.Destroy(t.Context(), monthSecret+"2026-05"); err != nil {
		t.Fatal(err)
	}
	if !forgotten(a.Store, inMay) {
		t.Error("an event of a destroyed month can still be read by the program that destroyed its secret")
	}
	if _, err := a.keys.recording("r", may); !errors.Is(err, store.ErrDestroyed) {
		t.Errorf("a recording of a destroyed month still has a key: %v", err)
	}
	if forgotten(a.Store, inJune) {
		t.Error("another month is forgotten too")
	}

	// By another process: within a second or two.
	if err := beside.DB.Destroy(t.Context(), monthSecret+"2026-06"); err != nil {
		t.Fatal(err)
	}
	until(t, "the running program forgets the month that another has destroyed", func() bool { return forgotten(a.Store, inJune) })
	if err := beside.keys.refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !forgotten(beside, inMay) || !forgotten(beside, inJune) {
		t.Error("a month is not forgotten by a program that looked again")
	}
	if a.keys.ahead() != nil || forgotten(a.Store, sealed(a.now())) {
		t.Error("this month cannot be sealed any more")
	}
}
