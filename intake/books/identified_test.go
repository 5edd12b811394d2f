package books

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/intake/recovery"
	"yingda/intake/stream"
	"yingda/internal/pii"
)

// A chat that nobody answered becomes a callback as soon as a number is left, be it after its end; and none is owed when somebody replied.
func TestANumberLeftLater(t *testing.T) {
	t.Parallel()
	o := open(t)
	chat := func(id intake.ContactID, at time.Time) {
		o.say(id.Subject(), string(id), at, &intake.OfferedV1{Channel: intake.Chat, Line: "main", Switchboard: "main", Origin: "page"})
	}
	left := func(id intake.ContactID, caller intake.Token, number string, at time.Time) {
		o.say(id.Subject(), string(id), at, &intake.IdentifiedV1{Caller: caller}, intake.Personal{Number: pii.NewPhone(number), Name: pii.NewName("李")})
	}
	owed := func() []Callback {
		list, err := o.Unreturned(t.Context(), UnreturnedFilter{})
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	at := end.Add(-time.Hour)
	chat("c1", at)
	o.say("contact/c1", "c1", at.Add(10*time.Minute), &intake.EndedV1{Outcome: intake.Unattended, By: intake.ByUs})
	if n := len(owed()); n != 0 {
		t.Fatalf("%d are owed a call and nobody knows whom", n)
	}
	left("c1", "tokA", "13800000001", at.Add(11*time.Minute))
	list := owed()
	if len(list) != 1 || list[0].Caller != "tokA" || list[0].Number.Reveal() != "13800000001" || list[0].Cause != intake.Unattended || list[0].Name.Reveal() != "李" {
		t.Fatalf("owed: %+v", list)
	}
	// They correct the number: the wrong one is not called.
	left("c1", "tokB", "13800000002", at.Add(12*time.Minute))
	if list = owed(); len(list) != 1 || list[0].Caller != "tokB" || list[0].Number.Reveal() != "13800000002" {
		t.Fatalf("owed after the correction: %+v", list)
	}
	// A chat in which somebody replied, before and after its end, owes nothing; and it clears what the caller was owed.
	chat("c2", at.Add(20*time.Minute))
	left("c2", "tokB", "13800000002", at.Add(21*time.Minute))
	o.say("contact/c2", "c2", at.Add(22*time.Minute), &intake.AnsweredV1{Operator: "o1", Offer: "f"})
	if list = owed(); len(list) != 0 {
		t.Fatalf("owed after they were replied to: %+v", list)
	}
	f, err := o.Caller(t.Context(), "tokA", o.at)
	if err != nil || f.Contacts != 0 {
		t.Errorf("somebody who never was has %d contacts, %v", f.Contacts, err)
	}
	if f, err = o.Caller(t.Context(), "tokB", o.at); err != nil || f.Contacts != 2 || f.Attempts != 0 {
		t.Errorf("%+v %v", f, err)
	}
}

// Numbers that are left at any time, rightly and wrongly: the tables agree with the events folded anew, in whatever order the subjects came.
func TestNumbersLeftInAnyOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(12) {
		rng := rand.New(rand.NewPCG(seed, 9))
		var all [][]stream.Record
		for n := range 25 {
			id := intake.ContactID(fmt.Sprintf("c%02d", n))
			at := end.Add(-time.Duration(rng.IntN(3*24*60)) * time.Minute)
			var list []stream.Record
			say := func(d intake.Data, who intake.Personal) {
				e := intake.Event{Source: "x", Subject: id.Subject(), Sequence: intake.NewSequence(1, uint32(len(list)+1)), Time: at, PartitionKey: string(id), Data: d, Personal: who}
				list = append(list, stream.Record{Event: e, Raw: rawOf(e)})
				at = at.Add(time.Duration(1+rng.IntN(300)) * time.Second)
			}
			token := func() (intake.Token, intake.Personal) {
				k := rng.IntN(4)
				return intake.Token(fmt.Sprint("tok", k)), intake.Personal{Number: pii.NewPhone(fmt.Sprint("1380000000", k))}
			}
			offered := &intake.OfferedV1{Channel: intake.Chat, Line: "main", Switchboard: "main"}
			var who intake.Personal
			if rng.IntN(2) == 0 {
				offered.Caller, who = token()
			}
			say(offered, who)
			left := func() {
				if rng.IntN(2) == 0 {
					caller, who := token()
					say(&intake.IdentifiedV1{Caller: caller}, who)
				}
			}
			left()
			outcome := []intake.Outcome{intake.Unattended, intake.LeftSilently, intake.CallbackPromised, intake.AfterHours}[rng.IntN(4)]
			if rng.IntN(3) == 0 {
				say(&intake.AnsweredV1{Operator: "o1"}, intake.Personal{})
				outcome = intake.Replied
			}
			left()
			say(&intake.EndedV1{Outcome: outcome, By: intake.ByUs}, intake.Personal{})
			left()
			all = append(all, list)
		}
		o := open(t)
		book, ledger := answerrate.NewBook(), recovery.NewLedger(recovery.Config{}, func() intake.CallbackID { return "x" })
		for _, list := range all {
			for _, r := range list {
				book.Apply(r.Event)
				ledger.Step(r.Event)
			}
		}
		var mixed []stream.Record
		for len(all) > 0 {
			i := rng.IntN(len(all))
			mixed = append(mixed, all[i][0])
			if all[i] = all[i][1:]; len(all[i]) == 0 {
				all = append(all[:i], all[i+1:]...)
			}
		}
		o.inBatches(seed, mixed)
		o.take(mixed...) // and all of it again
		list, err := o.Compare(t.Context(), book, ledger)
		if err != nil || len(list) > 0 {
			t.Fatalf("seed %d: %v %v", seed, err, list)
		}
		var callers, contacts int
		if err := o.db.QueryRow(t.Context(), "SELECT COALESCE(SUM(contacts), 0) FROM callers").Scan(&callers); err != nil {
			t.Fatal(err)
		}
		if err := o.db.QueryRow(t.Context(), "SELECT COUNT(*) FROM contacts WHERE caller <> ''").Scan(&contacts); err != nil || callers != contacts {
			t.Fatalf("seed %d: callers have %d contacts, there are %d, %v", seed, callers, contacts, err)
		}
	}
}
