package books

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/intake/recovery"
	"yingda/intake/stream"
)

// lives are contacts that one node began and another took over, in part or whole: by contact, the events of each node in their order.
func lives(rng *rand.Rand) (byNode map[uint32][]stream.Record, all []stream.Record) {
	byNode = map[uint32][]stream.Record{}
	for i := range 20 {
		id := intake.ContactID(fmt.Sprintf("c%02d", i))
		at := end.Add(-time.Duration(rng.IntN(48)) * time.Hour)
		seq := map[uint32]uint32{}
		tell := func(epoch uint32, d intake.Data, who ...intake.Personal) {
			at = at.Add(time.Duration(1+rng.IntN(60)) * time.Second)
			seq[epoch]++
			e := intake.Event{Source: "yingda/test", Subject: id.Subject(), Sequence: intake.NewSequence(epoch, seq[epoch]), Time: at, PartitionKey: "k", Data: d}
			if len(who) > 0 {
				e.Personal = who[0]
			}
			r := stream.Record{Event: e, Raw: rawOf(e)}
			byNode[epoch], all = append(byNode[epoch], r), append(all, r)
		}
		caller := intake.Token(fmt.Sprint("t", rng.IntN(8)))
		tell(5, &intake.OfferedV1{Channel: intake.Chat, Line: "main", Switchboard: "main", Caller: caller}, wang)
		some := func(epoch uint32) {
			for range rng.IntN(5) {
				offer := intake.OfferID(fmt.Sprint(id, "-", rng.IntN(2)))
				switch rng.IntN(7) {
				case 0:
					tell(epoch, &intake.WaitingV1{})
				case 1:
					tell(epoch, &intake.RangV1{Operator: "op", Offer: offer})
				case 2:
					tell(epoch, &intake.UnrangV1{Operator: "op", Offer: offer, Why: []string{"no_answer", "declined"}[rng.IntN(2)]})
				case 3:
					tell(epoch, &intake.AnsweredV1{Operator: "op", Offer: offer})
				case 4:
					tell(epoch, &intake.MessageV1{Number: 1, From: "resident"}, wang)
				case 5:
					tell(epoch, &intake.IdentifiedV1{Caller: intake.Token(fmt.Sprint("t", rng.IntN(8)))}, wang)
				case 6:
					tell(epoch, &intake.RecordedV1{ID: intake.RecordingID("r" + id), Millis: rng.Int64N(9000), CutShort: rng.IntN(2) == 0})
				}
			}
		}
		some(5)
		properly := rng.IntN(3)
		if properly == 0 {
			tell(5, &intake.EndedV1{Outcome: intake.Replied, Reason: "by 5", WaitedMS: 4000})
		}
		some(6)
		if properly != 1 {
			tell(6, &intake.EndedV1{Outcome: intake.Interrupted, By: intake.ByUs, Provisional: true, WaitedMS: 9000})
		} else if rng.IntN(2) == 0 {
			tell(6, &intake.EndedV1{Outcome: intake.Unattended, Reason: "by 6", WaitedMS: 7000})
		}
	}
	return byNode, all
}

// What a dead node had written comes after what its successor wrote, here and there, and some of it twice: the books are those of the right order, and agree with
// the events folded anew.
func TestADeadNodesEventsComeLate(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2) {
		rng := rand.New(rand.NewPCG(seed, 9))
		byNode, all := lives(rng)
		straight := open(t)
		straight.take(all...)
		// The other node has heard of the contact before it writes of it; else the nodes' events are mixed.
		o := open(t)
		var mixed []stream.Record
		five, six := byNode[5], byNode[6]
		heard := map[intake.Subject]bool{}
		for len(five)+len(six) > 0 {
			if len(six) > 0 && heard[six[0].Event.Subject] && (len(five) == 0 || rng.IntN(2) == 0) {
				mixed, six = append(mixed, six[0]), six[1:]
				continue
			}
			heard[five[0].Event.Subject] = true
			mixed, five = append(mixed, five[0]), five[1:]
			if n := len(mixed); rng.IntN(4) == 0 {
				mixed = append(mixed, mixed[n-1-rng.IntN(min(n, 4)):n]...)
			}
		}
		late := false
		for i := range mixed {
			late = late || i > 0 && slices.ContainsFunc(mixed[:i], func(r stream.Record) bool {
				return r.Event.Subject == mixed[i].Event.Subject && r.Event.Sequence.Epoch() > mixed[i].Event.Sequence.Epoch()
			})
		}
		if !late {
			t.Fatal("nothing comes late")
		}
		o.inBatches(seed, mixed)
		want, got := straight.tables(), o.tables()
		for _, table := range []string{"contacts", "contact_offers", "recordings", "timeline", "episodes"} {
			same(t, fmt.Sprint("seed ", seed), map[string]string{table: want[table]}, got)
		}
		book, ledger := answerrate.NewBook(), recovery.NewLedger(recovery.Config{}, func() intake.CallbackID { return "x" })
		for _, r := range all {
			book.Apply(r.Event)
			ledger.Step(r.Event)
		}
		list, err := o.Compare(t.Context(), book, ledger)
		if err != nil || len(list) > 0 {
			t.Fatalf("seed %d: %v %v", seed, err, list)
		}
		// The fold in memory, in the order of arrival, is the same too: an audit reads the stream as it is.
		arrived, owes := answerrate.NewBook(), recovery.NewLedger(recovery.Config{}, func() intake.CallbackID { return "x" })
		for _, r := range mixed {
			arrived.Apply(r.Event)
			owes.Step(r.Event)
		}
		if list, err := o.Compare(t.Context(), arrived, owes); err != nil || len(list) > 0 {
			t.Fatalf("seed %d: %v %v", seed, err, list)
		}
	}
}
