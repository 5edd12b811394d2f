package loop

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// kitchen is a machine that rings a given time after each order.
type kitchen struct {
	due []time.Time
}

func (k *kitchen) Step(now time.Time, in string) []string {
	if in == "burn" {
		panic("smoke")
	}
	k.due = append(k.due, now.Add(3*time.Second))
	return []string{"ordered " + in}
}

func (k *kitchen) Wake(now time.Time) []string {
	var out []string
	for len(k.due) > 0 && !k.due[0].After(now) {
		out = append(out, "ding")
		k.due = k.due[1:]
	}
	return out
}

func (k *kitchen) Deadline() time.Time {
	if len(k.due) == 0 {
		return time.Time{}
	}
	return k.due[0]
}

func TestStepsInOrderAndWakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		var said []string
		l := New[string, string](&kitchen{}, func(now time.Time, effects []string) {
			for _, e := range effects {
				said = append(said, fmt.Sprintf("%s at %s", e, now.Sub(start.UTC())))
			}
		}, Config[string]{})
		done := make(chan struct{})
		go func() { l.Run(ctx); close(done) }()
		l.Send("tea")
		time.Sleep(time.Second)
		l.Send("rice")
		time.Sleep(10 * time.Second)
		cancel()
		<-done
		want := []string{"ordered tea at 0s", "ordered rice at 1s", "ding at 3s", "ding at 4s"}
		if !slices.Equal(said, want) {
			t.Errorf("said %q, want %q", said, want)
		}
		if err := l.Look(t.Context(), func(time.Time) {}); !errors.Is(err, ErrClosed) {
			t.Errorf("Look after the end: %v", err)
		}
	})
}

func TestPanicEndsOneInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		var said []string
		var burnt string
		l := New[string, string](&kitchen{}, func(_ time.Time, effects []string) { said = append(said, effects...) },
			Config[string]{Panics: func(in string, _ any) { burnt = in }})
		go l.Run(ctx)
		l.Send("burn")
		l.Send("tea")
		synctest.Wait()
		if burnt != "burn" || !slices.Equal(said, []string{"ordered tea"}) {
			t.Errorf("burnt %q, said %q", burnt, said)
		}
		cancel()
		synctest.Wait()
	})
}

func TestManySendersLoseNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	n := 0
	l := New[int, int](counter{}, func(_ time.Time, effects []int) { n += len(effects) }, Config[int]{})
	done := make(chan struct{})
	go func() { l.Run(ctx); close(done) }()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				l.Send(i)
			}
		})
	}
	wg.Wait()
	var seen int
	if err := l.Look(t.Context(), func(time.Time) { seen = n }); err != nil || seen != 8000 {
		t.Errorf("stepped %d inputs, %v; want 8000", seen, err)
	}
	cancel()
	<-done
}

type counter struct{}

func (counter) Step(_ time.Time, in int) []int { return []int{in} }
func (counter) Wake(time.Time) []int           { return nil }
func (counter) Deadline() time.Time            { return time.Time{} }
