package store_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"yingda/internal/store"
	"yingda/internal/store/storetest"
)

func openLeases(t *testing.T) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), storetest.Address(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func TestLease(t *testing.T) {
	db, ctx := openLeases(t), t.Context()
	a := store.Lease{Name: "switchboard/main", Holder: "n1", Folder: "fa", SIP: "127.0.0.1:5060", Pages: "http://127.0.0.1:8080"}
	b := store.Lease{Name: "switchboard/main", Holder: "n2", Folder: "fb"}
	take := func(want store.Lease, length time.Duration) (store.Lease, bool) {
		t.Helper()
		have, mine, err := db.TakeLease(ctx, want, length)
		if err != nil {
			t.Fatal(err)
		}
		return have, mine
	}
	first, mine := take(a, time.Minute)
	if !mine || first.Epoch == 0 || first.Left != time.Minute {
		t.Fatalf("nobody had it: %+v, mine %v", first, mine)
	}
	if have, mine := take(b, time.Minute); mine || have.Holder != "n1" || have.SIP != a.SIP || have.Pages != a.Pages || have.Epoch != first.Epoch || have.Left <= 0 || have.Left > time.Minute {
		t.Errorf("n1 has it: %+v, mine %v", have, mine)
	}
	if have, mine := take(store.Lease{Name: "jobs", Holder: "n2", Folder: "fb"}, time.Minute); !mine || have.Epoch <= first.Epoch {
		t.Errorf("another one is free: %+v, mine %v", have, mine)
	}
	again, mine := take(a, time.Minute)
	if !mine || again.Epoch <= first.Epoch {
		t.Errorf("n1 began anew: %+v, mine %v", again, mine)
	}
	if have, mine, err := db.RenewLease(ctx, first, time.Minute); err != nil || mine || have.Epoch != again.Epoch {
		t.Errorf("the number of its former run counts no more: %+v, mine %v, %v", have, mine, err)
	}
	if _, mine, err := db.RenewLease(ctx, again, -time.Second); err != nil || !mine { // it has run out
		t.Fatalf("mine %v, %v", mine, err)
	}
	if have, mine, err := db.RenewLease(ctx, again, time.Minute); err != nil || !mine || have.Left <= 50*time.Second {
		t.Errorf("nobody took it while it had run out: %+v, mine %v, %v", have, mine, err)
	}
	if _, _, err := db.RenewLease(ctx, again, -time.Second); err != nil {
		t.Fatal(err)
	}
	taken, mine := take(b, time.Minute)
	if !mine || taken.Epoch <= again.Epoch {
		t.Errorf("it had run out: %+v, mine %v", taken, mine)
	}
	if have, mine, err := db.RenewLease(ctx, again, time.Minute); err != nil || mine || have.Holder != "n2" {
		t.Errorf("n2 has taken it: %+v, mine %v, %v", have, mine, err)
	}
	if err := db.ReleaseLease(ctx, again); err != nil { // not its own any more
		t.Fatal(err)
	}
	if have, mine := take(a, time.Minute); mine || have.Holder != "n2" {
		t.Errorf("n1 released what was n2's: %+v, mine %v", have, mine)
	}
	if err := db.ReleaseLease(ctx, taken); err != nil {
		t.Fatal(err)
	}
	if have, mine := take(a, time.Minute); !mine || have.Epoch <= taken.Epoch {
		t.Errorf("n2 gave it up: %+v, mine %v", have, mine)
	}
}

// Of many that want it at once one has it, and no two numbers are the same.
func TestLeaseOfMany(t *testing.T) {
	db := openLeases(t)
	var mu sync.Mutex
	var wg sync.WaitGroup
	epochs, winners := map[uint32]bool{}, 0
	for i := range 8 {
		wg.Go(func() {
			_, mine, err := db.TakeLease(t.Context(), store.Lease{Name: "jobs", Holder: "n", Folder: string(rune('a' + i))}, time.Minute)
			e, err2 := db.NextEpoch(t.Context())
			mu.Lock()
			defer mu.Unlock()
			if err := errors.Join(err, err2); err != nil {
				t.Error(err)
			}
			if mine {
				winners++
			}
			if epochs[e] {
				t.Errorf("epoch %d twice", e)
			}
			epochs[e] = true
		})
	}
	wg.Wait()
	if winners != 1 {
		t.Errorf("%d have it", winners)
	}
}

func TestNodes(t *testing.T) {
	db, ctx := openLeases(t), t.Context()
	oldest := time.UnixMilli(1_700_000_000_123).UTC()
	n := store.Node{Name: "n1", Folder: "fa", Role: "owner", SIP: "127.0.0.1:5060", Pages: "http://127.0.0.1:8080", Version: "v", Owed: 7, Oldest: oldest}
	if err := db.Beat(ctx, n); err != nil {
		t.Fatal(err)
	}
	n.Role, n.Owed = "leaving", 3
	if err := db.Beat(ctx, n); err != nil {
		t.Fatal(err)
	}
	if err := db.Beat(ctx, store.Node{Name: "n1", Folder: "fb"}); !errors.Is(err, store.ErrSameName) {
		t.Errorf("another folder took the name: %v", err)
	}
	list, err := db.Nodes(ctx)
	if err != nil || len(list) != 1 || list[0].Owed != 3 || list[0].Role != "leaving" || !list[0].Oldest.Equal(oldest) || list[0].Ago < 0 || list[0].Ago > time.Minute {
		t.Errorf("%+v, %v", list, err)
	}
}
