package chat

import (
	"fmt"
	"time"

	"yingda/channels"
	"yingda/intake"
	"yingda/internal/pii"
)

// Record is what the log says of one conversation: the fold of its events. The edge keeps it in a table and gives open ones back with Restore.
// Apply takes each event once, in the order of their sequences; what is not newer than the newest changes nothing.
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
}

// promptClosed is what contact.said names when the resident was told that nobody is there.
const promptClosed = "chat_closed"

// Apply folds an event of this contact; false when it is not newer.
func (r *Record) Apply(e intake.Event) bool {
	if e.Contact() == "" || r.Contact != "" && r.Contact != e.Contact() || e.Sequence <= r.Newest {
		return false
	}
	at := intake.Millis(e.Time)
	r.Contact, r.Newest = e.Contact(), e.Sequence
	switch d := e.Data.(type) {
	case *intake.OfferedV1:
		r.Key, r.Line, r.Origin, r.Dedupe, r.Token, r.Known, r.Arrived = e.PartitionKey, d.Line, d.Origin, d.Dedupe, d.Caller, d.Known, at
		r.Number, r.Name = e.Personal.Number, e.Personal.Name
	case *intake.IdentifiedV1:
		r.Token, r.Known, r.Number, r.Name = d.Caller, d.Known, e.Personal.Number, e.Personal.Name
	case *intake.SaidV1:
		r.Closed = r.Closed || d.Prompt == promptClosed
	case *intake.AnsweredV1:
		if r.Answered.IsZero() {
			r.Answered = at
		}
		r.Operator, r.Offer, r.Replied = d.Operator, d.Offer, true
	case *intake.MovedV1:
		r.Operator, r.Offer, r.Replied = intake.UserID(d.To), "", false
		if d.To == toQueue {
			r.Operator = ""
		}
	case *intake.UnrangV1:
		if d.Operator == r.Operator && !r.Replied { // accepted, and never wrote
			r.Operator, r.Offer = "", ""
		}
	case *intake.MessageV1:
		r.Messages, r.Spoke, r.Ours = max(r.Messages, d.Number), at, d.From != channels.Resident
		if r.First.IsZero() {
			r.First = at
		}
	case *intake.EndedV1:
		r.Ended, r.Outcome, r.Reason, r.Operator, r.Offer = at, d.Outcome, d.Reason, "", ""
	case *intake.ErasedV1:
		r.Erased, r.Number, r.Name = true, pii.Phone{}, pii.Name{}
	}
	return true
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
