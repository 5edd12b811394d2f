package answerrate

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"yingda/intake"
)

// Counts of one window, line and channel.
type Counts struct {
	Offered  int64                    `json:"offered"`
	Open     int64                    `json:"open"`
	Outcomes map[intake.Outcome]int64 `json:"outcomes"`
}

// Answered counts those who were reached, Lost the others who ended.
func (c Counts) Answered() int64 { return c.sum(intake.Outcome.Reached) }
func (c Counts) Lost() int64 {
	return c.sum(func(o intake.Outcome) bool { return !o.Reached() })
}

func (c Counts) sum(of func(intake.Outcome) bool) int64 {
	var n int64
	for o, k := range c.Outcomes {
		if of(o) {
			n += k
		}
	}
	return n
}

// Difference is offered − (Σ outcomes + open): 0 when the books balance.
func (c Counts) Difference() int64 {
	return c.Offered - c.Open - c.sum(func(intake.Outcome) bool { return true })
}

// Balanced says that they do.
func (c Counts) Balanced() bool { return c.Difference() == 0 }

// Add counts one contact. One whose contact.offered was never seen is counted by its end or as open, yet not as offered: so the books show that it is missing.
func (c *Counts) Add(k *Contact) {
	if k.OfferedSeq != 0 {
		c.Offered++
	}
	if k.Open() {
		c.Open++
		return
	}
	if c.Outcomes == nil {
		c.Outcomes = map[intake.Outcome]int64{}
	}
	c.Outcomes[k.Outcome]++
}

// Where is a place in the books.
type Where struct {
	Line    intake.LineID  `json:"line"`
	Channel intake.Channel `json:"channel"`
}

// Difference is a place where the books do not balance, or a contact in them that is not as it should be.
type Difference struct {
	Where
	Counts   Counts             `json:"counts"`
	Contacts []intake.ContactID `json:"contacts"` // never offered, or ended twice
}

// Book keeps contacts in memory, by their events alone. It is what an audit compares tables with.
type Book struct {
	contacts map[intake.ContactID]*Contact
}

// NewBook is empty.
func NewBook() *Book { return &Book{contacts: map[intake.ContactID]*Contact{}} }

// Apply folds an event; those that are about no contact are passed over.
func (b *Book) Apply(e intake.Event) {
	id := e.Contact()
	if id == "" {
		return
	}
	c := b.contacts[id]
	if c == nil {
		c = &Contact{}
		b.contacts[id] = c
	}
	c.Apply(e)
}

// Contact of that id; nil when there is none.
func (b *Book) Contact(id intake.ContactID) *Contact { return b.contacts[id] }

// Contacts in the order of arrival.
func (b *Book) Contacts() []*Contact {
	return slices.SortedFunc(maps.Values(b.contacts), func(x, y *Contact) int {
		return cmp.Or(x.Arrived.Compare(y.Arrived), cmp.Compare(x.ID, y.ID))
	})
}

// Filter chooses contacts: those that arrived in From ≤ t < To (zero: without end), on a line, by a channel (empty: all).
type Filter struct {
	From, To time.Time
	Where
}

func (f Filter) takes(c *Contact) bool {
	return (f.From.IsZero() || !c.Arrived.Before(f.From)) && (f.To.IsZero() || c.Arrived.Before(f.To)) &&
		(f.Line == "" || f.Line == c.Line) && (f.Channel == "" || f.Channel == c.Channel)
}

// Count what the filter takes.
func (b *Book) Count(f Filter) Counts {
	n := Counts{Outcomes: map[intake.Outcome]int64{}}
	for _, c := range b.contacts {
		if f.takes(c) {
			n.Add(c)
		}
	}
	return n
}

// Windows counts what the filter takes, one Counts for each window in which something arrived, by the window's start.
func (b *Book) Windows(f Filter, s Span, office *time.Location) map[time.Time]Counts {
	list := map[time.Time]Counts{}
	for _, c := range b.contacts {
		if f.takes(c) {
			from, _ := Window(c.Arrived, s, office)
			n, ok := list[from]
			if !ok {
				n.Outcomes = map[intake.Outcome]int64{}
			}
			n.Add(c)
			list[from] = n
		}
	}
	return list
}

// Rate of what the filter takes, by a definition per contact.
func (b *Book) Rate(d *Definition, f Filter) Rate {
	r := NewRate(d)
	for _, c := range b.contacts {
		if f.takes(c) {
			r.Add(d.Place(c), 1)
		}
	}
	return r
}

// Differ says where the books do not balance, and which contacts are the reason.
func (b *Book) Differ() []Difference {
	all := map[Where]*Difference{}
	for _, c := range b.Contacts() {
		w := Where{c.Line, c.Channel}
		d := all[w]
		if d == nil {
			d = &Difference{Where: w}
			all[w] = d
		}
		d.Counts.Add(c)
		if c.OfferedSeq == 0 || c.Twice || !c.Open() && !c.Outcome.Valid() {
			d.Contacts = append(d.Contacts, c.ID)
		}
	}
	var list []Difference
	for _, d := range all {
		if !d.Counts.Balanced() || len(d.Contacts) > 0 {
			list = append(list, *d)
		}
	}
	slices.SortFunc(list, func(x, y Difference) int {
		return cmp.Or(cmp.Compare(x.Line, y.Line), cmp.Compare(x.Channel, y.Channel))
	})
	return list
}
