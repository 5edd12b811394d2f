// Package answerrate keeps the books: how many residents tried to reach us, how each attempt ended, and what part of them
// was answered, by every definition of "answered" that is in use, side by side.
//
// Each event of a contact is folded into the Contact it belongs to with Contact.Apply; what is applied twice or late
// changes nothing. A Definition is a row of data (who is counted, who is left out and shown apart, who counts as
// served); Definition.Place says of one contact, or of one caller (Case), where it stands, and adding up the places gives a
// Rate: two whole numbers and the definition they belong to. Book does all of it in memory, from events alone; package books does
// the same in tables.
//
// A contact belongs to the window in which it arrived, once; see Window. At every moment, in every window, line and
// channel: offered = Σ outcomes + open. Book.Differ says where that is not so, and which contacts are the reason.
//
// What it does not do: it rounds nothing (PerMille is for printing), keeps no table, knows no screen, and does not
// decide who is owed a call (package recovery does, and also cuts a caller's attempts into episodes).
package answerrate

import (
	"slices"
	"time"

	"yingda/intake"
)

// Contact is what the books know of one contact: the fold of its events. Apply may be given them in any order and any
// number of times with the same result, so that the events of a node that died, found late, find their place.
type Contact struct {
	ID          intake.ContactID
	Key         string // partition key of its events
	Channel     intake.Channel
	Line        intake.LineID
	Switchboard intake.SwitchboardID
	Caller      intake.Token
	Withheld    bool
	Known       string // the resident's card, if there is one
	Origin      string
	Dedupe      string
	SIPCallID   string
	Imported    string

	Arrived  time.Time     // time of contact.offered; of the earliest event until that is seen
	Queued   time.Time     // first contact.waiting; zero: never waited in the queue
	Answered time.Time     // first contact.answered; zero: none was seen, but see AnsweredAt
	Operator intake.UserID // who answered first
	Ended    time.Time     // zero: open
	Outcome  intake.Outcome
	Reason   string
	By       intake.By
	Q850     int
	WaitedMS int64
	RangMS   int64
	TalkedMS int64
	Flags    []intake.Flag
	// Provisional: ended by a later start or a standby; a proper end replaces it whatever its sequence.
	Provisional bool
	// Twice: two proper ends were seen. The one with the higher sequence stands; the audit names the contact.
	Twice  bool
	Erased bool // a person's words are to be forgotten

	Newest      intake.Sequence // highest seen
	OfferedSeq  intake.Sequence // 0: contact.offered was not seen
	QueuedSeq   intake.Sequence
	AnsweredSeq intake.Sequence
	EndedSeq    intake.Sequence // of the end that stands
	// IdentifiedSeq is of the number left later that stands against the offer's caller; 0: none was.
	IdentifiedSeq intake.Sequence

	Rings []Ring
}

// Ring is one operator's phone or desk that rang for a contact. What was said more than once of one offer (a conversation that another node took over)
// has the latest time, whatever the order in which it came.
type Ring struct {
	Offer    intake.OfferID // the operator's id where the event names no offer
	Operator intake.UserID
	Rang     time.Time
	Unrang   time.Time // zero: still ringing, or answered
	Why      string    // why it stopped unanswered: no_answer, busy, declined, unreachable, resident_left, error
	Answered time.Time
}

// Apply folds one event of this contact. Events of other subjects, and types that say nothing about how a contact
// fared, only move Newest.
func (c *Contact) Apply(e intake.Event) {
	if id := e.Contact(); id == "" || c.ID != "" && id != c.ID {
		return
	}
	c.ID = e.Contact()
	c.Newest = max(c.Newest, e.Sequence)
	if c.Key == "" {
		c.Key = e.PartitionKey
	}
	at := intake.Millis(e.Time)
	if c.OfferedSeq == 0 && (c.Arrived.IsZero() || at.Before(c.Arrived)) {
		c.Arrived = at
	}
	first := func(have intake.Sequence) bool { return have == 0 || e.Sequence < have }
	switch d := e.Data.(type) {
	case *intake.OfferedV1:
		if first(c.OfferedSeq) {
			c.OfferedSeq, c.Arrived, c.Key = e.Sequence, at, e.PartitionKey
			c.Channel, c.Line, c.Switchboard, c.Withheld = d.Channel, d.Line, d.Switchboard, d.Withheld
			c.Origin, c.Dedupe, c.SIPCallID, c.Imported = d.Origin, d.Dedupe, d.SIPCallID, d.Imported
			if c.IdentifiedSeq == 0 {
				c.Caller, c.Known = d.Caller, d.Known
			}
		}
	case *intake.IdentifiedV1:
		if e.Sequence > c.IdentifiedSeq {
			c.IdentifiedSeq, c.Caller, c.Known = e.Sequence, d.Caller, d.Known
		}
	case *intake.WaitingV1:
		if first(c.QueuedSeq) {
			c.QueuedSeq, c.Queued = e.Sequence, at
		}
	case *intake.RangV1:
		r := c.ring(d.Offer, d.Operator)
		r.Rang = newest(r.Rang, at)
	case *intake.UnrangV1:
		r := c.ring(d.Offer, d.Operator)
		if at.After(r.Unrang) || at.Equal(r.Unrang) && d.Why > r.Why {
			r.Unrang, r.Why = at, d.Why
		}
	case *intake.AnsweredV1:
		if first(c.AnsweredSeq) {
			c.AnsweredSeq, c.Answered, c.Operator = e.Sequence, at, d.Operator
		}
		r := c.ring(d.Offer, d.Operator)
		r.Answered = newest(r.Answered, at)
	case *intake.EndedV1:
		c.end(e.Sequence, at, d)
	case *intake.ErasedV1:
		c.Erased = true
	}
}

func (c *Contact) end(seq intake.Sequence, at time.Time, d *intake.EndedV1) {
	if seq == c.EndedSeq {
		return
	}
	proper := c.EndedSeq != 0 && !c.Provisional
	if proper && !d.Provisional {
		c.Twice = true
	}
	switch {
	case c.EndedSeq == 0:
	case proper && d.Provisional:
		return
	case !proper && !d.Provisional:
	case seq < c.EndedSeq:
		return
	}
	c.EndedSeq, c.Ended, c.Provisional = seq, at, d.Provisional
	c.Outcome, c.Reason, c.By, c.Q850 = d.Outcome, d.Reason, d.By, d.Q850
	c.WaitedMS, c.RangMS, c.TalkedMS, c.Flags = d.WaitedMS, d.RangMS, d.TalkedMS, slices.Clone(d.Flags)
}

func (c *Contact) ring(offer intake.OfferID, operator intake.UserID) *Ring {
	if offer == "" {
		offer = intake.OfferID(operator)
	}
	i := slices.IndexFunc(c.Rings, func(r Ring) bool { return r.Offer == offer })
	if i < 0 {
		c.Rings = append(c.Rings, Ring{Offer: offer, Operator: operator})
		i = len(c.Rings) - 1
	}
	return &c.Rings[i]
}

func newest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Open says that the contact has not ended.
func (c *Contact) Open() bool { return c.Outcome == "" }

// HasFlag says whether the end carries f.
func (c *Contact) HasFlag(f intake.Flag) bool { return slices.Contains(c.Flags, f) }

// AnsweredAt is when a person answered: contact.answered, or for history that has only the end of a contact that was
// answered, its arrival and what it waited. Zero when nobody did.
func (c *Contact) AnsweredAt() time.Time {
	if c.Answered.IsZero() && (c.Outcome == intake.Answered || c.Outcome == intake.Replied) {
		return c.Arrived.Add(time.Duration(c.WaitedMS) * time.Millisecond)
	}
	return c.Answered
}

// ReachedAt is when somebody of ours and the resident reached one another in this contact. Zero when they did not, and when the end
// takes the answer back: no audio, our fault, a crash in the middle. A submission counts when a person took it in hand.
func (c *Contact) ReachedAt() time.Time {
	if c.Outcome == "" || c.Outcome.Reached() {
		return c.AnsweredAt()
	}
	return time.Time{}
}

// AnswerMS is the time from arrival to the answer in milliseconds, −1 when nobody answered.
func (c *Contact) AnswerMS() int64 { return span(c.Arrived, c.AnsweredAt()) }

// QueueMS is the time from joining the queue to the answer, −1 when nobody answered; one who never had to wait in the
// queue is counted from arrival.
func (c *Contact) QueueMS() int64 {
	if c.Queued.IsZero() {
		return c.AnswerMS()
	}
	return span(c.Queued, c.AnsweredAt())
}

func span(from, to time.Time) int64 {
	if from.IsZero() || to.IsZero() {
		return -1
	}
	return max(to.Sub(from).Milliseconds(), 0)
}

// Owed says whether the end of this contact leaves us owing the caller a call, if we know whom to call.
func (c *Contact) Owed() bool {
	return c.Outcome != "" && (&intake.EndedV1{Outcome: c.Outcome, Reason: c.Reason}).Owed()
}

// Case is one caller who needed us, as the definitions per caller count it: what package recovery calls an episode.
type Case struct {
	Contact intake.ContactID // the first attempt
	Caller  intake.Token
	Line    intake.LineID
	Channel intake.Channel // of the first attempt
	First   time.Time      // when it arrived
	Reached time.Time      // when either side reached the other for the first time since; zero: not yet
	Outcome intake.Outcome // of the first attempt; "" while it is open
	Reason  string
}

// ReachMS is the time from the first attempt until the caller was reached, −1 when not.
func (k *Case) ReachMS() int64 { return span(k.First, k.Reached) }

// Span is the length of a window.
type Span int

// Windows are cut in the office's time zone.
const (
	Quarter Span = iota // 15 minutes
	Hour
	Day // from midnight to midnight: 23 or 25 hours when the clock is changed
)

// Window gives the window of that span in which t lies, from ≤ t < to, by the office's clock.
func Window(t time.Time, s Span, office *time.Location) (from, to time.Time) {
	local := t.In(office)
	if s == Day {
		y, m, d := local.Date()
		return time.Date(y, m, d, 0, 0, 0, 0, office).UTC(), time.Date(y, m, d+1, 0, 0, 0, 0, office).UTC()
	}
	length := 15 * time.Minute
	if s == Hour {
		length = time.Hour
	}
	_, east := local.Zone()
	shift := time.Duration(east) * time.Second
	from = t.UTC().Add(shift).Truncate(length).Add(-shift)
	return from, from.Add(length)
}
