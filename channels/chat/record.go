package chat

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"yingda/channels"
	"yingda/intake"
	"yingda/internal/pii"
)

// Record is what the log says of one conversation: the fold of its events. The edge keeps it in a table and gives open ones back with Restore.
// Apply takes each event once. Those of one epoch come in their order; those of an earlier epoch may come after those of a later one, as they do
// when a node died and its disk is found, and the record is then what it would be, had all come in their order.
type Record struct {
	Contact  intake.ContactID
	Key      string // partition key
	Line     intake.LineID
	Origin   string
	Dedupe   string
	Token    intake.Token
	Known    string
	Number   pii.Phone
	Name     pii.Name
	Arrived  time.Time
	Closed   bool // it began out of hours
	First    time.Time
	Spoke    time.Time // of the newest message
	Ours     bool      // that was written by one of us
	Messages int
	Answered time.Time
	Operator intake.UserID
	Offer    intake.OfferID
	Replied  bool // Operator has written since they took it
	Ended    time.Time
	Outcome  intake.Outcome
	Reason   string
	Newest   intake.Sequence
	Erased   bool
	// Provisional: a later start or a standby ended it for a writer that died; a proper end stands against it whenever it comes.
	Provisional bool
	Trail       Trail
}

// Trail is which writer's epoch wrote what stands in a record.
type Trail struct {
	Earlier                               []intake.Sequence // the newest event of each epoch before that of Newest, the oldest epoch first
	Caller, First, Spoke, Answered, Ended uint32            // epochs
	Held                                  []Held            // the oldest epoch first
}

// Held is what one epoch says about who has the conversation.
type Held struct {
	Epoch    uint32
	Known    bool // it says who; else only who has it no more
	Operator intake.UserID
	Offer    intake.OfferID
	Replied  bool
	Lost     []intake.UserID
}

// promptClosed is what contact.said names when the resident was told that nobody is there.
const promptClosed = "chat_closed"

// Apply folds an event of this contact; false when it is in the record already.
func (r *Record) Apply(e intake.Event) bool {
	if e.Contact() == "" || r.Contact != "" && r.Contact != e.Contact() || !r.take(e.Sequence) {
		return false
	}
	at, epoch := intake.Millis(e.Time), e.Sequence.Epoch()
	// last and first say whether the event may set what the last, or the first, of all events says.
	last := func(by *uint32) bool {
		if epoch < *by {
			return false
		}
		*by = epoch
		return true
	}
	first := func(by *uint32) bool {
		if *by != 0 && *by <= epoch {
			return false
		}
		*by = epoch
		return true
	}
	r.Contact = e.Contact()
	switch d := e.Data.(type) {
	case *intake.OfferedV1:
		r.Key, r.Line, r.Origin, r.Dedupe, r.Arrived = e.PartitionKey, d.Line, d.Origin, d.Dedupe, at
		if last(&r.Trail.Caller) {
			r.caller(d.Caller, d.Known, e.Personal)
		}
	case *intake.IdentifiedV1:
		if last(&r.Trail.Caller) {
			r.caller(d.Caller, d.Known, e.Personal)
		}
	case *intake.SaidV1:
		r.Closed = r.Closed || d.Prompt == promptClosed
	case *intake.WaitingV1:
		r.hold(Held{Epoch: epoch, Known: true})
	case *intake.AnsweredV1:
		if first(&r.Trail.Answered) {
			r.Answered = at
		}
		r.hold(Held{Epoch: epoch, Known: true, Operator: d.Operator, Offer: d.Offer, Replied: true})
	case *intake.MovedV1:
		h := Held{Epoch: epoch, Known: true, Operator: intake.UserID(d.To)}
		if d.To == toQueue {
			h.Operator = ""
		}
		r.hold(h)
	case *intake.UnrangV1:
		r.hold(Held{Epoch: epoch, Lost: []intake.UserID{d.Operator}})
	case *intake.MessageV1:
		r.Messages = max(r.Messages, d.Number)
		if last(&r.Trail.Spoke) {
			r.Spoke, r.Ours = at, d.From != channels.Resident
		}
		if first(&r.Trail.First) {
			r.First = at
		}
	case *intake.EndedV1:
		proper := r.Outcome != "" && !r.Provisional
		switch {
		case proper && d.Provisional:
		case proper == !d.Provisional && !last(&r.Trail.Ended):
		default:
			r.Trail.Ended = epoch
			r.Ended, r.Outcome, r.Reason, r.Provisional = at, d.Outcome, d.Reason, d.Provisional
		}
		r.hold(Held{Epoch: epoch, Known: true})
	case *intake.ErasedV1:
		r.Erased, r.Number, r.Name = true, pii.Phone{}, pii.Name{}
	}
	return true
}

// take notes that the event with that sequence is in the record; false when it was.
func (r *Record) take(s intake.Sequence) bool {
	t := &r.Trail
	if s.Epoch() >= r.Newest.Epoch() {
		if s <= r.Newest {
			return false
		}
		if r.Newest != 0 && s.Epoch() > r.Newest.Epoch() {
			t.Earlier = append(slices.Clip(t.Earlier), r.Newest)
		}
		r.Newest = s
		return true
	}
	t.Earlier = slices.Clone(t.Earlier)
	i, found := slices.BinarySearchFunc(t.Earlier, s.Epoch(), func(e intake.Sequence, n uint32) int { return cmp.Compare(e.Epoch(), n) })
	switch {
	case !found:
		t.Earlier = slices.Insert(t.Earlier, i, s)
	case s <= t.Earlier[i]:
		return false
	default:
		t.Earlier[i] = s
	}
	return true
}

func (r *Record) caller(token intake.Token, card string, p intake.Personal) {
	r.Token, r.Known = token, card
	if !r.Erased {
		r.Number, r.Name = p.Number, p.Name
	}
}

// hold brings in what an epoch says about who has it, and says anew who that is. An operator who has accepted and never wrote loses it by
// contact.unrang; of one who was only asked that says nothing.
func (r *Record) hold(h Held) {
	list := slices.Clone(r.Trail.Held)
	i, found := slices.BinarySearchFunc(list, h.Epoch, func(x Held, n uint32) int { return cmp.Compare(x.Epoch, n) })
	switch {
	case !found:
		list = slices.Insert(list, i, h)
	case h.Known:
		list[i] = h
	case list[i].Known:
		if x := &list[i]; !x.Replied && slices.Contains(h.Lost, x.Operator) {
			x.Operator, x.Offer = "", ""
		}
	default:
		list[i].Lost = slices.Concat(list[i].Lost, h.Lost)
	}
	for i, x := range slices.Backward(list) { // what was before one who says who has it counts no more
		if x.Known {
			list = list[i:]
			break
		}
	}
	r.Trail.Held = list
	r.Operator, r.Offer, r.Replied = "", "", false
	for _, x := range list {
		if x.Known {
			r.Operator, r.Offer, r.Replied = x.Operator, x.Offer, x.Replied
		} else if !r.Replied && slices.Contains(x.Lost, r.Operator) {
			r.Operator, r.Offer = "", ""
		}
	}
	if r.Outcome != "" {
		r.Operator, r.Offer = "", ""
	}
}

// Restore is what the board is told of it; keys are the numbers of its messages by key (KeyOf).
func (r *Record) Restore(keys map[string]int) Restore {
	return Restore{Contact: r.Contact, Key: r.Key, Last: r.Newest, Line: r.Line, Number: r.Number, Name: r.Name, Caller: channels.Caller{Token: r.Token, Known: r.Known}, Closed: r.Closed,
		Arrived: r.Arrived, Answered: r.Answered, Operator: r.Operator, Offer: r.Offer, Replied: r.Replied, Spoke: r.Spoke, Ours: r.Ours, First: r.First, Messages: keys, Outcome: r.Outcome, Reason: r.Reason}
}

// KeyOf is under what Restore.Messages has a message.
func KeyOf(number int, key string) string {
	if key == "" {
		return fmt.Sprintf("#%d", number)
	}
	return key
}
