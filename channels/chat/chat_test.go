package chat

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"yingda/channels"
	"yingda/intake"
	"yingda/intake/queue"
	"yingda/internal/pii"
	"yingda/internal/transcript"
)

// said is one line of a transcript.
type said string

func (s said) String() string { return string(s) }

// tell writes each event of a Write on its own line, under its contact and sequence.
func tell(effects []any) (all []any) {
	for _, e := range effects {
		switch e := e.(type) {
		case Write:
			for _, e := range e.Events {
				text := ""
				if !e.Personal.IsZero() {
					text = " +personal"
				}
				all = append(all, said(fmt.Sprintf("write %s %d.%d %s%s", e.Subject.ID(), e.Sequence.Epoch(), e.Sequence.Count(), transcript.Text(e.Data), text)))
			}
			all = append(all, said(fmt.Sprintf("gate %s %d", e.Gate, e.Through.Count())))
		case Changed:
			v := e.View
			v.Arrived, v.Since = time.Time{}, time.Time{}
			all = append(all, Changed{v})
		default:
			all = append(all, e)
		}
	}
	return all
}

// Bang: the machine of this conversation panics.
type Bang struct{ Contact intake.ContactID }

func TestTranscripts(t *testing.T) {
	parsers := map[reflect.Type]transcript.Parse{
		reflect.TypeFor[pii.Text]():  func(s string) any { return pii.NewText(s) },
		reflect.TypeFor[pii.Phone](): func(s string) any { return pii.NewPhone(s) },
		reflect.TypeFor[intake.Sequence](): func(s string) any { // 5: of this run; 7.5; or as it is written
			epoch, count, ok := strings.Cut(s, ".")
			if !ok {
				epoch, count = "7", s
			}
			if len(s) == 16 {
				q, _ := intake.ParseSequence(s)
				return q
			}
			e, _ := strconv.Atoi(epoch)
			c, _ := strconv.Atoi(count)
			return intake.NewSequence(uint32(e), uint32(c))
		},
	}
	transcript.Run(t, "testdata/*.txt", parsers, func(string) transcript.Machine {
		h := newHall(7, queue.Settings{}, 0)
		offers := 0
		h.board.cfg.NewOffer = func() intake.OfferID { offers++; return intake.OfferID(fmt.Sprint("o", offers)) }
		h.queue = queue.New(queue.Config{NewOffer: h.board.cfg.NewOffer})
		h.step(transcript.Start, SetLines{Default: "12345", Lines: []Line{{Line: intake.Line{ID: "12345"}}}})
		known := channels.Caller{Token: "t1"}
		return transcript.Machine{
			Step: func(now time.Time, in any) []any {
				if bang, ok := in.(Bang); ok {
					return tell(h.fromBoard(now, nil, h.board.do(now, h.board.chats[bang.Contact], func() { panic("bang") })))
				}
				return tell(h.step(now, in))
			},
			Wake:     func(now time.Time) []any { return tell(h.wake(now)) },
			Deadline: h.deadline,
			Inputs: []any{Start{}, Restore{Arrived: transcript.Start}, Written{}, Say{From: channels.Resident}, Here{}, Gone{}, Bye{}, Shown{}, Accept{}, Decline{}, Hand{}, End{}, Drain{}, Bang{},
				LeaveNumber{Number: pii.NewPhone("051255500001"), Caller: known},
				queue.SignedIn{Reachable: true, Capacity: queue.Capacity{Chats: 2}}, queue.SignedOut{}, queue.Break{}, queue.Back{}},
		}
	})
}

// An answered conversation from beginning to end, among a thousand others.
func BenchmarkConversation(b *testing.B) {
	h := newHall(1, queue.Settings{}, 100_000)
	now := transcript.Start
	h.step(now, SetLines{Default: "12345", Lines: []Line{{Line: intake.Line{ID: "12345"}}, {Line: intake.Line{ID: "nobody"}}}})
	for n := range 200 {
		h.step(now, queue.SignedIn{Operator: intake.UserID(fmt.Sprint("u", n)), Lines: []intake.LineID{"12345"}, Reachable: true, Capacity: queue.Capacity{Chats: 5}})
	}
	begin := func(id intake.ContactID, line intake.LineID) (ring Ring) {
		h.step(now, Start{Contact: id, Line: line})
		h.step(now, Written{Contact: id, Through: intake.NewSequence(1, 1)})
		h.step(now, Here{Contact: id})
		for _, e := range h.step(now, Say{Contact: id, From: channels.Resident, Key: "m1", Text: pii.NewText("x")}) {
			if r, ok := e.(Ring); ok {
				ring = r
			}
		}
		return ring
	}
	for n := range 1000 {
		begin(intake.ContactID(fmt.Sprint("w", n)), "nobody")
	}
	b.ReportAllocs()
	for n := range b.N {
		now = now.Add(50 * time.Microsecond)
		id := intake.ContactID(fmt.Sprint("c", n))
		r := begin(id, "12345")
		h.step(now, Accept{Contact: id, Operator: r.Operator, Offer: r.Offer})
		for k := range 10 {
			h.step(now, Say{Contact: id, From: string(r.Operator), Key: fmt.Sprint("a", k), Text: pii.NewText("x")})
			h.step(now, Say{Contact: id, From: channels.Resident, Key: fmt.Sprint("r", k), Text: pii.NewText("x")})
		}
		h.step(now, End{Contact: id, Operator: r.Operator})
		h.step(now, Written{Contact: id, Through: intake.NewSequence(1, 1000)})
		if v, _ := h.board.View(id); v.Outcome != intake.Replied {
			b.Fatalf("%+v", v)
		}
		if d := h.deadline(); !d.IsZero() && !d.After(now) {
			h.wake(now)
		}
	}
	b.ReportMetric(float64(22*b.N)/b.Elapsed().Seconds(), "messages/s")
}
