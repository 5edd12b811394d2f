package switchboard

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/pii"
	"yingda/internal/transcript"
	"yingda/telephony"
	"yingda/telephony/call"
	"yingda/telephony/ivr"
)

// hall joins a switchboard and its queue as their owner does: what one says goes to the other at once.
type hall struct {
	board *Switchboard
	queue *queue.Queue
}

func newHall(set queue.Settings, max int) *hall {
	offers, legs, recs := 0, 0, 0
	count := func(n *int, name string) string { *n++; return fmt.Sprintf("%s%d", name, *n) }
	return &hall{
		board: New(Config{ID: "main", Source: "yingda/test", Epoch: 7, MaxCalls: max,
			NewLeg:       func() telephony.LegID { return telephony.LegID(count(&legs, "leg")) },
			NewRecording: func() intake.RecordingID { return intake.RecordingID(count(&recs, "rec")) }}),
		queue: queue.New(queue.Config{Settings: set, NewOffer: func() intake.OfferID { return intake.OfferID(count(&offers, "o")) }}),
	}
}

func (h *hall) step(now time.Time, in any) []any {
	switch in := in.(type) {
	case telephony.Input:
		return h.fromBoard(now, nil, h.board.Step(now, in))
	case queue.Input:
		return h.fromQueue(now, nil, h.queue.Step(now, in))
	}
	panic(fmt.Sprintf("%T is for nobody", in))
}

func (h *hall) wake(now time.Time) []any {
	out := h.fromQueue(now, nil, h.queue.Wake(now))
	return h.fromBoard(now, out, h.board.Wake(now))
}

func (h *hall) deadline() time.Time {
	a, b := h.queue.Deadline(), h.board.Deadline()
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func (h *hall) fromBoard(now time.Time, out []any, effects []telephony.Effect) []any {
	asked := false
	for _, e := range effects {
		if _, write := e.(telephony.Write); write && asked {
			panic("the queue is asked before an event of the same step is written: its answer would overtake it")
		}
		if to, ok := e.(ToQueue); ok {
			asked = true
			out = h.fromQueue(now, out, h.queue.Step(now, to.Input))
			continue
		}
		out = append(out, e)
	}
	return out
}

func (h *hall) fromQueue(now time.Time, out []any, effects []queue.Effect) []any {
	for _, e := range effects {
		switch e.(type) {
		case queue.StateChanged, queue.Notice:
			out = append(out, e)
		default:
			out = h.fromBoard(now, out, h.board.Step(now, FromQueue{Effect: e}))
		}
	}
	return out
}

// said is one line of a transcript.
type said string

func (s said) String() string { return string(s) }

// tell writes each event of a Write on its own line, under its contact and sequence.
func tell(effects []any) (all []any) {
	for _, e := range effects {
		w, ok := e.(telephony.Write)
		if !ok {
			all = append(all, e)
			continue
		}
		for _, e := range w.Events {
			all = append(all, said(fmt.Sprintf("write %s %d.%d %s", e.Subject.ID(), e.Sequence.Epoch(), e.Sequence.Count(), transcript.Text(e.Data))))
		}
		if w.Gate != "" {
			all = append(all, said("gate "+string(w.Gate)))
		}
	}
	return all
}

// Inputs that only transcripts know.
type (
	// Ledger puts one line in force, or changes it.
	Ledger struct {
		ID                                  intake.LineID
		Early, Closed, NoMessages, NoRecord bool
		MaxWait, MaxMessage                 time.Duration
		Limit                               int
		SayWho, Menu, HoldMusic             bool
	}
	// Crashed: the last run left this contact open.
	Crashed struct {
		Contact  intake.ContactID
		Last     intake.Sequence
		Arrived  time.Time
		Answered time.Time
		Seen     time.Time
	}
	// Look at the board.
	Look struct{}
	// Bang: the machine of this call panics.
	Bang struct{ Contact intake.ContactID }
)

func line(l Ledger) Line {
	set := call.Settings{Early: l.Early, NoMessages: l.NoMessages, NoRecording: l.NoRecord, MaxWait: l.MaxWait, MaxMessage: l.MaxMessage, Limit: l.Limit, SayWho: l.SayWho, HoldMusic: l.HoldMusic,
		Number: string(l.ID), Shown: pii.NewPhone(string(l.ID))}
	if l.Menu {
		set.Spoken.Menu = []ivr.Option{{Choice: "water", Prompt: "menu_water", Line: "96100"}}
	}
	out := Line{Line: intake.Line{ID: l.ID, Number: string(l.ID)}, Settings: set}
	if l.Closed {
		out.Hours.Week = map[time.Weekday][]Span{}
	}
	return out
}

func TestTranscripts(t *testing.T) {
	parsers := map[reflect.Type]transcript.Parse{
		reflect.TypeFor[pii.Phone]():       func(s string) any { return pii.NewPhone(s) },
		reflect.TypeFor[intake.Sequence](): func(s string) any { q, _ := intake.ParseSequence(s); return q },
	}
	transcript.Run(t, "testdata/*.txt", parsers, func(string) transcript.Machine {
		h := newHall(queue.Settings{}, 4)
		ledger := map[intake.LineID]Line{}
		step := func(now time.Time, in any) []any {
			switch in := in.(type) {
			case Ledger:
				ledger[in.ID] = line(in)
				set := SetLines{Default: "12345"}
				for _, l := range ledger {
					set.Lines = append(set.Lines, l)
				}
				return tell(h.step(now, set))
			case Crashed:
				return tell([]any{telephony.Write{Events: h.board.Interrupted(now, []Open{{Contact: in.Contact, PartitionKey: "t1", Last: in.Last, Arrived: in.Arrived, Answered: in.Answered, Seen: in.Seen}})}})
			case Bang:
				l := h.board.calls[in.Contact]
				return tell(h.fromBoard(now, nil, h.board.tidy(now, l, h.board.guard(now, l, func() []telephony.Effect { panic("bang") }))))
			case Look:
				s := h.board.Snapshot(now)
				var all []any
				for _, c := range s.Calls {
					all = append(all, c)
				}
				for _, b := range s.Backs {
					all = append(all, b)
				}
				for _, l := range s.Lines {
					all = append(all, l)
				}
				return all
			}
			return tell(h.step(now, in))
		}
		return transcript.Machine{
			Step:     step,
			Wake:     func(now time.Time) []any { return tell(h.wake(now)) },
			Deadline: h.deadline,
			Inputs: []any{Ledger{ID: "12345"}, Crashed{}, Look{}, Bang{}, telephony.Drain{},
				telephony.Invited{Line: "12345", Trunk: "trunk", Audio: true, Number: pii.NewPhone("051255500001"), Caller: telephony.Facts{Token: "t1"}},
				telephony.Written{}, telephony.Accepted{Leg: "r1"}, telephony.Ringing{}, telephony.Answered{Codec: "PCMA"}, telephony.Failed{Why: "no_answer", Status: 408},
				telephony.Ended{Leg: "r1", By: intake.ByResident, Q850: 16, Why: "bye"}, telephony.Held{}, telephony.Resumed{}, telephony.Digit{Leg: "r1"}, telephony.Played{Leg: "r1"},
				telephony.Heard{}, telephony.Quiet{}, telephony.MediaLost{}, telephony.Recorded{Channels: 2, Millis: 60000},
				telephony.CallBack{Attempt: "try1", Callback: "back1", Operator: "anna", Number: pii.NewPhone("051255500001"), Line: "12345"},
				queue.SignedIn{Reachable: true}, queue.SignedOut{}, queue.Break{}, queue.Unreachable{}, queue.Settings{}},
		}
	})
}

func TestLegOfKnowsEveryInput(t *testing.T) {
	for _, in := range []telephony.Input{telephony.Accepted{Leg: "x"}, telephony.Ringing{Leg: "x"}, telephony.Answered{Leg: "x"}, telephony.Failed{Leg: "x"}, telephony.Ended{Leg: "x"}, telephony.Held{Leg: "x"},
		telephony.Resumed{Leg: "x"}, telephony.Digit{Leg: "x"}, telephony.Played{Leg: "x"}, telephony.Heard{Leg: "x"}, telephony.Quiet{Leg: "x"}, telephony.MediaLost{Leg: "x"}} {
		if legOf(in) != "x" {
			t.Errorf("%T has a leg and is handed to nobody", in)
		}
	}
}

// One whole answered call after the other, the queue's work included, among 2,000 operators and 400 calls that wait on a line nobody serves.
func BenchmarkCall(b *testing.B) {
	h := newHall(queue.Settings{}, 0)
	now := transcript.Start
	h.step(now, SetLines{Lines: []Line{line(Ledger{ID: "12345"}), line(Ledger{ID: "96100"})}, Default: "12345"})
	for n := range 2000 {
		h.step(now, queue.SignedIn{Operator: intake.UserID(fmt.Sprint("u", n)), Lines: []intake.LineID{"12345"}, Reachable: true})
	}
	begin := func(n int, line intake.LineID) (telephony.LegID, intake.ContactID) {
		leg, id := telephony.LegID(fmt.Sprint("r", n)), intake.ContactID(fmt.Sprint("c", n))
		h.step(now, telephony.Invited{Leg: leg, Contact: id, Line: line, Trunk: "trunk", Audio: true, Number: pii.NewPhone("051255500001"), Caller: telephony.Facts{Token: "t1"}})
		return leg, id
	}
	for n := range 400 {
		leg, id := begin(-n-1, "96100")
		h.step(now, telephony.Written{Contact: id})
		h.step(now, telephony.Accepted{Leg: leg})
	}
	ended := 0
	b.ReportAllocs()
	for n := range b.N {
		now = now.Add(100 * time.Microsecond)
		leg, id := begin(n, "12345")
		var desk telephony.LegID
		var rec intake.RecordingID
		for _, e := range h.step(now, telephony.Written{Contact: id}) {
			if d, ok := e.(telephony.Dial); ok {
				desk = d.Leg
			}
		}
		h.step(now, telephony.Accepted{Leg: leg})
		h.step(now, telephony.Ringing{Leg: desk})
		for _, e := range h.step(now, telephony.Answered{Leg: desk, Codec: "PCMA"}) {
			if r, ok := e.(telephony.Record); ok {
				rec = r.Recording
			}
		}
		h.step(now, telephony.Played{Leg: leg, Play: 1, Cut: true})
		h.step(now, telephony.Heard{Leg: leg})
		h.step(now, telephony.Heard{Leg: desk})
		for _, e := range h.step(now, telephony.Ended{Leg: leg, By: intake.ByResident}) {
			if w, ok := e.(telephony.Write); ok && strings.HasPrefix(string(w.Events[0].Type()), "contact.ended") {
				ended++
			}
		}
		h.step(now, telephony.Ended{Leg: desk, By: intake.ByUs})
		h.step(now, telephony.Recorded{Recording: rec, Millis: 1000, Channels: 2})
		if d := h.deadline(); !d.IsZero() && !d.After(now) {
			h.wake(now)
		}
	}
	if ended != b.N || h.board.Live() != 400 {
		b.Fatalf("%d of %d calls ended, %d live", ended, b.N, h.board.Live())
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
