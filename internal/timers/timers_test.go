package timers

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

type machine struct {
	Timer
	name int
}

var start = time.Date(2026, 11, 24, 6, 0, 0, 0, time.UTC)

// Whatever is set, moved and taken back, the next is the earliest, and each is woken at its time and once.
func TestOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 200 {
		var h Timers[*machine]
		list := make([]*machine, 1+r.IntN(40))
		want := map[int]time.Time{}
		for i := range list {
			list[i] = &machine{name: i}
		}
		for range 200 {
			m := list[r.IntN(len(list))]
			at := start.Add(time.Duration(r.IntN(50)) * time.Second)
			if r.IntN(3) == 0 {
				at = time.Time{}
				delete(want, m.name)
			} else {
				want[m.name] = at
			}
			h.Set(m, at)
			var first time.Time
			for _, at := range want {
				if first.IsZero() || at.Before(first) {
					first = at
				}
			}
			if !h.Deadline().Equal(first) || h.Len() != len(want) {
				t.Fatalf("round %d: %d wait until %v, want %d until %v", round, h.Len(), h.Deadline(), len(want), first)
			}
		}
		now := start.Add(25 * time.Second)
		var woken []time.Time
		h.Wake(now, func(m *machine) {
			woken = append(woken, want[m.name])
			delete(want, m.name)
			h.Set(m, time.Time{})
		})
		if !slices.IsSortedFunc(woken, time.Time.Compare) || slices.ContainsFunc(woken, now.Before) {
			t.Fatalf("round %d: woken at %v: %v", round, now, woken)
		}
		for _, at := range want {
			if !at.After(now) {
				t.Fatalf("round %d: one for %v sleeps on at %v", round, at, now)
			}
		}
	}
}

// One that asks for the same past moment again does not keep the others from ever being woken.
func TestAgain(t *testing.T) {
	var h Timers[*machine]
	stuck, other := &machine{name: 1}, &machine{name: 2}
	h.Set(stuck, start)
	h.Set(other, start.Add(time.Second))
	now := start.Add(time.Minute)
	var woken []int
	wake := func(m *machine) {
		if woken = append(woken, m.name); len(woken) > 10 {
			t.Fatal("for ever")
		}
		if m == other {
			h.Set(m, time.Time{})
		}
	}
	h.Wake(now, wake)
	if !slices.Equal(woken, []int{1, 2}) || !h.Deadline().Equal(now.Add(time.Millisecond)) {
		t.Fatalf("woken %v, next %v", woken, h.Deadline())
	}
	h.Set(stuck, start) // another past moment is its right
	h.Wake(now, func(m *machine) {
		if woken = append(woken, m.name); len(woken) == 3 {
			h.Set(m, start.Add(time.Second))
		} else {
			h.Set(m, time.Time{})
		}
	})
	if !slices.Equal(woken, []int{1, 2, 1, 1}) || h.Len() != 0 || !h.Deadline().IsZero() {
		t.Fatalf("woken %v, %d wait", woken, h.Len())
	}
}
