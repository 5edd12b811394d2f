package demo

import (
	"fmt"
	"math/rand/v2"
	"sort"
	"time"

	"github.com/google/uuid"

	"yingda/intake"
	"yingda/internal/pii"
)

// history invents days of calls of a small street's hotline up to now: a busy morning, a lunch with few at the desk, quiet
// evenings, and what follows from that: people wait, leave, and phone again. It is a simulation of a queue with impatient
// callers, so its figures hang together; the same seed gives the same calls.
type history struct {
	rng    *rand.Rand
	zone   *time.Location
	now    time.Time
	line   intake.LineID
	board  intake.SwitchboardID
	source string
	token  func(pii.Phone) intake.Token
	people []Caller
	staff  []intake.UserID

	events []intake.Event
	free   []time.Time // when each operator is free again

	answered []answeredCall // of the last days, for cases
}

type answeredCall struct {
	id       intake.ContactID
	caller   intake.Token
	operator intake.UserID
}

// Caller is somebody who phones.
type Caller struct {
	Number pii.Phone
	Name   pii.Name
	Older  bool
	Temper Temper
}

// Temper is how a caller behaves.
type Temper struct {
	Name     string
	Patience time.Duration // mean time before they hang up while waiting
	Again    float64       // chance that they phone again after that
}

// Tempers of callers, the robots' too.
var (
	Patient   = Temper{"patient", 150 * time.Second, 0.7}
	Hurried   = Temper{"hurried", 35 * time.Second, 0.9}
	Shy       = Temper{"shy", 18 * time.Second, 0.5} // leaves as soon as a machine speaks
	KeyPusher = Temper{"key_pusher", 90 * time.Second, 0.4}
)

const historyDays = 30

// operators at the desk, by hour of a working day.
func deskAt(t time.Time) int {
	h := t.Hour()
	weekend := t.Weekday() == time.Saturday || t.Weekday() == time.Sunday
	switch {
	case h < 7 || h >= 21:
		return 1
	case weekend:
		return 2
	case h == 12: // lunch: the valley
		return 1
	case h < 8 || h >= 18:
		return 2
	default:
		return 4
	}
}

// rate of calls an hour.
func rateAt(t time.Time) float64 {
	by := []float64{.3, .2, .2, .2, .4, 1, 2, 5, 15, 34, 30, 22, 19, 13, 18, 21, 17, 11, 7, 5, 4, 2, 1, .5}
	r := by[t.Hour()]
	if t.Weekday() == time.Saturday || t.Weekday() == time.Sunday {
		r *= .45
	}
	if t.Weekday() == time.Monday {
		r *= 1.2
	}
	return r
}

// attempt is a call to come.
type attempt struct {
	at     time.Time
	caller int
	sure   bool // a later try of somebody lost: they wait until someone answers
}

// run makes the events of so many days, oldest contact first.
func (h *history) run(days int) []intake.Event {
	h.free = make([]time.Time, len(h.staff))
	begin := time.Date(h.now.Year(), h.now.Month(), h.now.Day()-days, 0, 0, 0, 0, h.zone)
	var queue []attempt
	for t := begin; t.Before(h.now); t = t.Add(time.Minute) {
		if h.rng.Float64() < rateAt(t.In(h.zone))/60 {
			queue = append(queue, attempt{at: t.Add(time.Duration(h.rng.IntN(60_000)) * time.Millisecond), caller: h.rng.IntN(len(h.people))})
		}
	}
	for len(queue) > 0 {
		a := queue[0]
		queue = queue[1:]
		if a.at.After(h.now.Add(-2 * time.Minute)) {
			continue
		}
		if again, ok := h.call(a); ok {
			i := sort.Search(len(queue), func(i int) bool { return queue[i].at.After(again.at) })
			queue = append(queue[:i], append([]attempt{again}, queue[i:]...)...)
		}
	}
	return h.events
}

// call plays one call and says whether its caller phones again.
func (h *history) call(a attempt) (again attempt, ok bool) {
	c := h.people[a.caller]
	id := intake.ContactID(uuid.Must(uuid.NewV7()).String())
	w := &track{h: h, contact: id, key: string(h.token(c.Number)), personal: intake.Personal{Number: c.Number, Name: c.Name}}
	w.put(a.at, &intake.OfferedV1{Channel: intake.Phone, Line: h.line, Switchboard: h.board, Caller: h.token(c.Number), Origin: "history",
		Dedupe: "history/" + string(id), SIPCallID: "history-" + string(id[24:]), Imported: "demo"})
	w.personal = intake.Personal{}
	operator, answer := h.seat(a.at)
	patience := time.Duration(h.rng.ExpFloat64() * float64(c.Temper.Patience))
	if a.sure {
		patience = time.Hour
	}
	wait := answer.Sub(a.at)
	w.put(a.at.Add(40*time.Millisecond), &intake.WaitingV1{Ahead: int(wait / (90 * time.Second))})
	if wait > patience {
		return h.lost(w, a, wait, patience)
	}
	if h.rng.Float64() < .03 { // an operator who does not pick up
		w.put(answer.Add(-18*time.Second), &intake.RangV1{Operator: operator, Offer: newOffer()})
	}
	offer := newOffer()
	w.put(answer.Add(-3*time.Second), &intake.RangV1{Operator: operator, Offer: offer})
	w.put(answer, &intake.AnsweredV1{Operator: operator, Offer: offer, Codec: "PCMA"})
	talk := time.Duration(40+h.rng.ExpFloat64()*140) * time.Second
	h.busy(operator, answer.Add(talk+20*time.Second))
	if h.now.Sub(a.at) < 12*24*time.Hour {
		h.answered = append(h.answered, answeredCall{id, h.token(c.Number), operator})
	}
	w.put(answer.Add(talk), &intake.EndedV1{Outcome: intake.Answered, By: intake.ByResident, Q850: 16, WaitedMS: ms(answer.Sub(a.at)), RangMS: 3000, TalkedMS: ms(talk)})
	return again, false
}

// lost plays a caller who leaves.
func (h *history) lost(w *track, a attempt, wait, patience time.Duration) (again attempt, ok bool) {
	e := &intake.EndedV1{Outcome: intake.AbandonedQueue, By: intake.ByResident, Q850: 16, WaitedMS: ms(patience)}
	switch {
	case patience < 4*time.Second:
		e.Outcome = intake.AbandonedGreeting
		if patience < 5*time.Second {
			e.Flags = []intake.Flag{intake.ShortAbandon}
		}
	case wait-patience < 8*time.Second:
		e.Outcome = intake.AbandonedRinging
		offer := newOffer()
		op := h.staff[h.rng.IntN(len(h.staff))]
		w.put(a.at.Add(patience-time.Second), &intake.RangV1{Operator: op, Offer: offer})
		w.put(a.at.Add(patience), &intake.UnrangV1{Operator: op, Offer: offer, Why: "resident_left"})
	case patience > 70*time.Second && h.rng.Float64() < .3:
		e.Outcome, e.By, e.Reason = intake.CallbackPromised, intake.ByUs, "key"
		w.put(a.at.Add(patience-2*time.Second), &intake.ChoseV1{Choice: "callback", Key: "1"})
	}
	w.put(a.at.Add(patience), e)
	// Most phone again soon; the others some hours or a day later, and then they stay on the line: in this history everybody
	// but those of the last hours has been reached in the end.
	c := h.people[a.caller]
	if h.rng.Float64() < c.Temper.Again {
		return attempt{at: a.at.Add(patience + time.Duration(30+h.rng.ExpFloat64()*240)*time.Second), caller: a.caller}, true
	}
	return attempt{at: a.at.Add(time.Duration(3+h.rng.IntN(18)) * time.Hour), caller: a.caller, sure: true}, true
}

// seat finds who is free first among those at the desk, and when they answer.
func (h *history) seat(at time.Time) (intake.UserID, time.Time) {
	n := min(deskAt(at.In(h.zone)), len(h.staff))
	best := 0
	for i := range n {
		if h.free[i].Before(h.free[best]) {
			best = i
		}
	}
	answer := at
	if h.free[best].After(answer) {
		answer = h.free[best]
	}
	return h.staff[best], answer.Add(time.Duration(3000+h.rng.IntN(5000)) * time.Millisecond)
}

func (h *history) busy(op intake.UserID, until time.Time) {
	for i, s := range h.staff {
		if s == op {
			h.free[i] = until
		}
	}
}

// track writes one contact's events.
type track struct {
	h        *history
	contact  intake.ContactID
	key      string
	seq      intake.Sequence
	personal intake.Personal
}

// historyEpoch is below every epoch of the running program.
const historyEpoch = 0

func (w *track) put(at time.Time, d intake.Data) {
	w.seq = intake.NewSequence(historyEpoch, w.seq.Count()+1)
	w.h.events = append(w.h.events, intake.Event{Source: w.h.source, Subject: w.contact.Subject(), Sequence: w.seq, Time: intake.Millis(at), PartitionKey: w.key, Data: d, Personal: w.personal})
}

func ms(d time.Duration) int64 { return d.Milliseconds() }

func newOffer() intake.OfferID { return intake.OfferID(uuid.Must(uuid.NewV7()).String()) }

// callers invents people. Numbers are from the ranges that nobody has: 0512-5550-xxxx and 13800xxxxxx.
func callers(rng *rand.Rand, n int) []Caller {
	family := []rune("王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗")
	given := []string{"桂英", "秀英", "玉兰", "国强", "建国", "淑珍", "秀兰", "志强", "凤英", "德明", "美华", "金凤", "永福", "丽华", "根生", "巧云"}
	tempers := []Temper{Patient, Patient, Hurried, Shy, KeyPusher}
	list := make([]Caller, n)
	for i := range list {
		number := fmt.Sprintf("05125550%04d", 1000+i)
		if i%2 == 1 {
			number = fmt.Sprintf("13800%06d", 100000+i*37)
		}
		list[i] = Caller{Number: pii.NewPhone(number), Name: pii.NewName(string(family[rng.IntN(len(family))]) + given[rng.IntN(len(given))]),
			Older: rng.Float64() < .6, Temper: tempers[rng.IntN(len(tempers))]}
	}
	return list
}
