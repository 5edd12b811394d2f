package books

import (
	"fmt"
	"math/rand/v2"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/pii"
)

// month makes an invented history: the same one every time for the same seed, in the order of time.
type month struct {
	rng     *rand.Rand
	seq     map[intake.Subject]intake.Sequence
	list    []intake.Event
	callers int
	n       int
}

// history of so many days before end, with perDay contacts each day: by perDay×6 callers, or in a small history by so few that everyone calls again and again.
func history(seed uint64, end time.Time, days, perDay int) []stream.Record {
	m := &month{rng: rand.New(rand.NewPCG(seed, 1)), seq: map[intake.Subject]intake.Sequence{}, callers: perDay * 6}
	if perDay <= 150 {
		m.callers = max(perDay/3, 3)
	}
	for d := range days {
		day := end.Add(-time.Duration(days-d) * 24 * time.Hour)
		for o := range 9 {
			m.say(intake.UserID(fmt.Sprintf("o%d", o)).Subject(), fmt.Sprintf("o%d", o), day.Add(time.Duration(o)*time.Minute), &intake.OperatorStateV1{State: "idle", Before: "offline"})
			m.say(intake.UserID(fmt.Sprintf("o%d", o)).Subject(), fmt.Sprintf("o%d", o), day.Add(10*time.Hour), &intake.OperatorStateV1{State: "break", Before: "idle", Reason: "lunch"})
			m.say(intake.UserID(fmt.Sprintf("o%d", o)).Subject(), fmt.Sprintf("o%d", o), day.Add(23*time.Hour), &intake.OperatorStateV1{State: "offline", Before: "break"})
		}
		for range perDay {
			m.contact(day.Add(time.Duration(m.rng.Int64N(int64(24 * time.Hour)))))
		}
	}
	records := make([]stream.Record, len(m.list))
	for i, e := range m.list {
		records[i] = stream.Record{Position: stream.Position{Offset: int64(i)}, Event: e, Raw: rawOf(e)}
	}
	return records
}

func rawOf(e intake.Event) []byte {
	return fmt.Appendf(nil, `{"specversion":"1.0","id":%q,"type":%q,"data":{"some":1,"personal":{"sealed":"…"}}}`, e.ID(), e.Type())
}

func (m *month) say(s intake.Subject, key string, at time.Time, d intake.Data) *intake.Event {
	m.seq[s] = m.seq[s].Next(max(m.seq[s].Epoch(), 1))
	m.list = append(m.list, intake.Event{Source: "yingda/test", Subject: s, Sequence: m.seq[s], Time: intake.Millis(at), PartitionKey: key, Data: d})
	return &m.list[len(m.list)-1]
}

func (m *month) contact(at time.Time) {
	m.n++
	id := intake.ContactID(fmt.Sprintf("c%06d", m.n))
	caller, key := intake.Token(""), string(id)
	who := m.rng.IntN(m.callers)
	if m.rng.IntN(20) > 0 {
		caller = intake.Token(fmt.Sprintf("t%05d", who))
		key = string(caller)
	}
	line := intake.LineID([]string{"main", "wuye"}[m.rng.IntN(4)/3])
	channel := intake.Phone
	if m.rng.IntN(12) == 0 {
		channel = []intake.Channel{intake.WebCall, intake.Chat, intake.App}[m.rng.IntN(3)]
	}
	s := id.Subject()
	e := m.say(s, key, at, &intake.OfferedV1{Channel: channel, Line: line, Switchboard: "main", Caller: caller, Withheld: caller == "", Origin: "trunk",
		Dedupe: "call-" + string(id), SIPCallID: "call-" + string(id)})
	if caller != "" {
		e.Personal = intake.Personal{Number: pii.NewPhone(fmt.Sprintf("138000%05d", who)), Name: pii.NewName(fmt.Sprintf("王%d", who%7))}
	}
	offered := at
	after := func(limit time.Duration) time.Time {
		at = at.Add(time.Duration(m.rng.Int64N(int64(limit))))
		return at
	}
	end := func(o intake.Outcome, reason string, talked time.Duration, flags ...intake.Flag) {
		m.say(s, key, after(2*time.Second), &intake.EndedV1{Outcome: o, Reason: reason, By: intake.ByResident, WaitedMS: at.Sub(offered).Milliseconds(), TalkedMS: talked.Milliseconds(), Flags: flags})
	}
	if channel == intake.App {
		end(intake.Accepted, "", 0)
		return
	}
	if m.rng.IntN(30) == 0 {
		end([]intake.Outcome{intake.AfterHours, intake.QueueFull, intake.Refused, intake.Fault}[m.rng.IntN(4)], []string{"", intake.ReasonBlocked}[m.rng.IntN(2)], 0)
		return
	}
	m.say(s, key, after(4*time.Second), &intake.WaitingV1{Ahead: m.rng.IntN(4)})
	if m.rng.IntN(12) == 0 {
		flags := []intake.Flag(nil)
		if m.rng.IntN(3) == 0 {
			flags = []intake.Flag{intake.ShortAbandon}
		}
		after(90 * time.Second)
		end([]intake.Outcome{intake.AbandonedQueue, intake.CallbackPromised, intake.TimeoutNoOperator}[m.rng.IntN(3)], "", 0, flags...)
		return
	}
	operator := intake.UserID(fmt.Sprintf("o%d", m.rng.IntN(9)))
	for i := 0; m.rng.IntN(8) == 0; i++ {
		offer := intake.OfferID(fmt.Sprintf("%s-%d", id, i))
		m.say(s, key, after(time.Second), &intake.RangV1{Operator: operator, Offer: offer})
		m.say(s, key, after(20*time.Second), &intake.UnrangV1{Operator: operator, Offer: offer, Why: []string{"no_answer", "declined", "busy"}[m.rng.IntN(3)]})
	}
	offer := intake.OfferID(string(id) + "-last")
	m.say(s, key, after(time.Second), &intake.RangV1{Operator: operator, Offer: offer})
	if m.rng.IntN(25) == 0 {
		m.say(s, key, after(15*time.Second), &intake.UnrangV1{Operator: operator, Offer: offer, Why: "resident_left"})
		end(intake.AbandonedRinging, "", 0)
		return
	}
	m.say(s, key, after(12*time.Second), &intake.AnsweredV1{Operator: operator, Offer: offer})
	switch m.rng.IntN(60) {
	case 0:
		return // still talking, for ever
	case 1: // a crash, corrected half of the time
		m.seq[s] = intake.NewSequence(2, 1) - 1
		m.say(s, key, after(time.Minute), &intake.EndedV1{Outcome: intake.Interrupted, Reason: intake.ReasonRestarted, Provisional: true})
		if m.rng.IntN(2) == 0 {
			end(intake.Answered, "", time.Minute)
		}
	case 2:
		after(9 * time.Second)
		end(intake.Answered, "", 3*time.Second, intake.QuickDrop)
	case 3:
		end(intake.Silent, "", time.Minute)
	default:
		talked := time.Duration(m.rng.Int64N(int64(5 * time.Minute)))
		at = at.Add(talked)
		m.say(s, key, at, &intake.RecordedV1{ID: intake.RecordingID("r" + string(id)), Millis: talked.Milliseconds(), Channels: 2})
		if channel == intake.Chat {
			end(intake.Replied, "", talked)
		} else {
			end(intake.Answered, "", talked)
		}
		if m.rng.IntN(5) == 0 {
			kase := intake.CaseID("k" + string(id))
			m.say(kase.Subject(), string(kase), at, &intake.CaseOpenedV1{Source: intake.FromOperator, Contacts: []intake.ContactID{id}})
		}
	}
	// Now and then another system's operator phones one of them back.
	if caller != "" && m.rng.IntN(15) == 0 {
		foreign := intake.CallbackID("foreign-" + string(id))
		m.say(foreign.Subject(), key, at, &intake.CallbackBornV1{Caller: caller, Line: line, FirstAttempt: offered, Due: at})
		m.say(foreign.Subject(), key, after(10*time.Minute), &intake.CallbackTriedV1{Attempt: intake.AttemptID("a" + string(id)), Operator: operator, Result: []string{intake.TryReached, intake.TryNoAnswer}[m.rng.IntN(2)], Seconds: 30})
	}
}
