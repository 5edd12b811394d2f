package queue

import (
	"fmt"
	"testing"
	"time"

	"yingda/intake"
	"yingda/internal/transcript"
)

func counted() func() intake.OfferID {
	n := 0
	return func() intake.OfferID { n++; return intake.OfferID(fmt.Sprintf("o%d", n)) }
}

func TestTranscripts(t *testing.T) {
	transcript.Run(t, "testdata/*.txt", nil, func(string) transcript.Machine {
		q := New(Config{NewOffer: counted()})
		list := func(effects []Effect) (all []any) {
			for _, e := range effects {
				all = append(all, e)
			}
			return all
		}
		return transcript.Machine{
			Step: func(now time.Time, in any) []any {
				if j, ok := in.(Join); ok && j.Arrived.IsZero() {
					j.Arrived = now
					in = j
				}
				return list(q.Step(now, in.(Input)))
			},
			Wake:     func(now time.Time) []any { return list(q.Wake(now)) },
			Deadline: q.Deadline,
			Inputs: []any{Join{Channel: intake.Phone, Line: "12345"}, Leave{Why: "resident_left"}, Ask{}, Rings{}, Took{}, Missed{Why: "no_answer"}, Finished{},
				SignedIn{Reachable: true}, SignedOut{}, Break{}, Back{}, WrapUpDone{}, Reachable{}, Unreachable{}, Engage{}, Disengage{}, Settings{}},
		}
	})
}
