package test

import (
	"context"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
	"time"

	"yingda/intake"
	"yingda/web"
)

// freePort gives a UDP port that nobody has just now.
func freePort(t *testing.T) string {
	t.Helper()
	return freePortAt(t, "127.0.0.1")
}

// freePortAt is one at another address of this machine.
func freePortAt(t *testing.T, ip string) string {
	t.Helper()
	for range 200 { // below the ports that connections going out take: it must still be free when a program starts again
		port := 12000 + rand.IntN(7900)
		address := ip + ":" + strconv.Itoa(port)
		u, err := net.ListenPacket("udp4", address)
		if err != nil {
			continue
		}
		l, err := net.Listen("tcp4", address)
		_ = u.Close()
		if err != nil {
			continue
		}
		_ = l.Close()
		return strconv.Itoa(port)
	}
	t.Fatal("no free port")
	return ""
}

// want is the outcome of the only contact, and that the books are clean.
func (h *hotline) want(outcomes ...intake.Outcome) web.Entry {
	h.t.Helper()
	list := h.ended(1)
	if len(list) != 1 {
		h.t.Fatalf("%d contacts, want 1: %+v", len(list), list)
	}
	got := *list[0].Outcome
	for _, o := range outcomes {
		if got == o {
			h.clean()
			return list[0]
		}
	}
	h.t.Errorf("outcome %s, want %v", got, outcomes)
	return list[0]
}

func TestAnswered(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	desk := h.desk("zhang", "desk-answers", 300*time.Millisecond)
	h.sipp("call", 3*time.Second).wait(t, 30*time.Second)
	desk.wait(t, 20*time.Second)
	e := h.want(intake.Answered)
	if e.AnsweredAt == nil || e.Operator == nil || e.SIPCallID == nil || e.Callback != nil {
		t.Errorf("an answered contact lacks something: %+v", e)
	}
}

func TestAbandoned(t *testing.T) {
	t.Parallel()
	t.Run("in the greeting", func(t *testing.T) {
		t.Parallel()
		h := start(t, config(t))
		h.sipp("call", 700*time.Millisecond).wait(t, 20*time.Second)
		if e := h.want(intake.AbandonedGreeting); e.Callback == nil {
			t.Error("no callback was born")
		}
	})
	t.Run("in the queue", func(t *testing.T) {
		t.Parallel()
		h := start(t, config(t))
		h.sipp("call", 7*time.Second).wait(t, 30*time.Second)
		if e := h.want(intake.AbandonedQueue); e.Callback == nil {
			t.Error("no callback was born")
		}
	})
	t.Run("while an operator's phone rings", func(t *testing.T) {
		t.Parallel()
		h := start(t, config(t))
		desk := h.desk("zhang", "desk-rings", 0)
		h.sipp("call", 2*time.Second).wait(t, 20*time.Second)
		desk.wait(t, 20*time.Second)
		if e := h.want(intake.AbandonedRinging); e.Callback == nil {
			t.Error("no callback was born")
		}
	})
}

func TestCancelRace(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	h.sipp("cancel", 0).wait(t, 20*time.Second)
	h.want(intake.AbandonedGreeting)
}

func TestBusyOperatorThenTheNext(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	busy := h.desk("busy", "desk-busy", 0)
	desk := h.desk("free", "desk-answers", 200*time.Millisecond)
	h.sipp("call", 9*time.Second).wait(t, 40*time.Second)
	desk.wait(t, 20*time.Second)
	_ = busy
	h.want(intake.Answered)
}

func TestFourteenRingings(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	desk := h.desk("slow", "desk-14x180", 0)
	h.sipp("call", 6*time.Second).wait(t, 30*time.Second)
	desk.wait(t, 20*time.Second)
	h.want(intake.Answered)
}

func TestNoOperator(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.Queue.MaxWait = 6 * time.Second
	h := start(t, c)
	h.sipp("stay", 0).wait(t, 50*time.Second)
	if e := h.want(intake.TimeoutNoOperator); e.Callback == nil {
		t.Error("no callback was born")
	}
}

func TestAfterHours(t *testing.T) {
	t.Parallel()
	c := config(t)
	closed := time.Now().UTC().Add(8*time.Hour).AddDate(0, 0, 3).Weekday().String()[:2]
	c.Lines[0].Hours = closed + " 03:00-03:01"
	h := start(t, c)
	h.sipp("call", 12*time.Second).wait(t, 40*time.Second)
	if e := h.want(intake.AfterHours, intake.Voicemail); e.Callback == nil {
		t.Error("no callback was born")
	}
}

func TestDigitPromisesACall(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	// The line changes while the program runs; it looks once a second.
	if _, err := h.SetLine(t.Context(), "main", map[string]string{"first_offer_s": "5"}); err != nil {
		t.Fatal(err)
	}
	pause(1500 * time.Millisecond)
	h.sipp("digit", 9*time.Second).wait(t, 60*time.Second)
	if e := h.want(intake.CallbackPromised); e.Callback == nil {
		t.Error("no callback was born")
	}
}

func TestReInvites(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"hold", "empty-reinvite", "bad-reinvite"} {
		t.Run(s, func(t *testing.T) {
			t.Parallel()
			h := start(t, config(t))
			desk := h.desk("zhang", "desk-answers", 100*time.Millisecond)
			h.sipp(s, 2*time.Second).wait(t, 30*time.Second)
			desk.wait(t, 20*time.Second)
			h.want(intake.Answered)
		})
	}
}

func TestLostMessages(t *testing.T) {
	t.Parallel()
	t.Run("ACK comes late", func(t *testing.T) {
		t.Parallel()
		h := start(t, config(t))
		h.sipp("late-ack", time.Second).wait(t, 30*time.Second)
		h.want(intake.AbandonedGreeting, intake.AbandonedQueue)
	})
	t.Run("ACK never comes", func(t *testing.T) {
		t.Parallel()
		h := start(t, config(t))
		h.sipp("no-ack", 0).wait(t, 60*time.Second)
		h.ended(1)
		h.clean()
	})
	t.Run("BYE before the ACK", func(t *testing.T) {
		t.Parallel()
		h := start(t, config(t))
		h.sipp("early-bye", 0).wait(t, 20*time.Second)
		h.want(intake.AbandonedGreeting)
	})
	t.Run("our BYE is lost", func(t *testing.T) {
		t.Parallel()
		h := start(t, config(t))
		desk := h.desk("zhang", "desk-hangs-up", 6*time.Second)
		h.sipp("deaf-to-bye", 0).wait(t, 50*time.Second)
		desk.wait(t, 20*time.Second)
		h.want(intake.Answered)
	})
}

func TestDraining(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	h.Drain()
	h.sipp("refused", 0).wait(t, 20*time.Second)
	e := h.want(intake.Refused)
	if e.Reason == nil || *e.Reason != intake.ReasonShutdown {
		t.Errorf("reason %v", e.Reason)
	}
	if not := h.Ready(context.Background()); not["calls"] == "" {
		t.Errorf("ready while draining: %v", not)
	}
}
