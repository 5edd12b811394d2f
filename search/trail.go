package search

import (
	"slices"
	"unicode/utf8"

	"yingda/intake"
	"yingda/internal/pii"
)

// Trail is what a document keeps about its writers, so that the events of a node that died, which arrive after those of the node that
// took its place, are folded in as if they had come in their order. An index keeps it with the document; nobody else needs it.
//
// Within an epoch events come in order, so it is enough to know which epoch wrote what stands in the document now.
type Trail struct {
	Wrote   Wrote   // what the epoch of Document.Sequence wrote last
	Earlier []Epoch // the epochs before it that wrote in the document, the oldest first
	Late    int     // how many events came after those of a later epoch
}

// Epoch is the part of a document that an earlier epoch wrote.
type Epoch struct {
	Newest     intake.Sequence `json:"n"` // of its last event that is in the document
	Wrote      Wrote           `json:"w"`
	Words      int             `json:"t,omitempty"` // how many of Document.Words are its own; they stand in the order of the epochs
	Recordings int             `json:"r,omitempty"` // of Document.Recordings, likewise
	Contacts   int             `json:"c,omitempty"` // of Document.Contacts, likewise
}

// Wrote says, a bit for each field that one event sets and another may set again, who set what stands there.
type Wrote uint32

const (
	kept        Wrote = 1 << iota // always there, so that none at all means a document from before there were trails
	wroteOrigin                   // what its first event says and no other
	wroteState
	wroteEnd
	wroteAnswered
	wroteOperator
	wroteCaller
	wroteGrid
	wroteDepartment
	wroteDeadline
	wroteNumber
	wroteName
	wroteAddress
	wrotePlace

	wroteAll      = wrotePlace<<1 - 1
	wrotePersonal = wroteCaller | wroteNumber | wroteName | wroteAddress | wrotePlace
)

// Version of the document in an index: it grows with each event that is folded in, a late one too.
func (d *Document) Version() uint64 { return uint64(d.Sequence) + uint64(d.Trail.Late) }

// seen says whether the event with that sequence is in the document, or one after it by the same writer.
func (d *Document) seen(s intake.Sequence) bool {
	if s.Epoch() >= d.Sequence.Epoch() {
		return s <= d.Sequence
	}
	i, found := d.Trail.find(s)
	return found && s <= d.Trail.Earlier[i].Newest
}

func (t *Trail) find(s intake.Sequence) (int, bool) {
	return slices.BinarySearchFunc(t.Earlier, s.Epoch(), func(e Epoch, n uint32) int { return int(int64(e.Newest.Epoch()) - int64(n)) })
}

// pen writes into a document what one event says, in the place of that event's epoch.
type pen struct {
	*Document
	at int // which of Earlier; len(Earlier): the epoch of Sequence
}

// pen makes place for the event. The document must be a copy: what it shares with another is not written into.
func (d *Document) pen(s intake.Sequence) pen {
	t := &d.Trail
	switch {
	case d.Sequence == 0:
		t.Wrote = kept
	case s.Epoch() > d.Sequence.Epoch():
		before := Epoch{Newest: d.Sequence, Wrote: t.Wrote, Words: len(d.Words), Recordings: len(d.Recordings), Contacts: len(d.Contacts)}
		for _, e := range t.Earlier {
			before.Words, before.Recordings, before.Contacts = before.Words-e.Words, before.Recordings-e.Recordings, before.Contacts-e.Contacts
		}
		t.Earlier, t.Wrote = add(t.Earlier, before), kept
	case s.Epoch() < d.Sequence.Epoch():
		i, found := t.find(s)
		t.Earlier, t.Late = slices.Clone(t.Earlier), t.Late+1
		if !found {
			t.Earlier = slices.Insert(t.Earlier, i, Epoch{Wrote: kept})
		}
		t.Earlier[i].Newest = s
		return pen{d, i}
	case len(t.Earlier) > 0:
		t.Earlier = slices.Clone(t.Earlier)
	}
	return pen{d, len(t.Earlier)}
}

func (p pen) wrote(i int) *Wrote {
	if i == len(p.Trail.Earlier) {
		return &p.Trail.Wrote
	}
	return &p.Trail.Earlier[i].Wrote
}

// last says whether the event may set a field of which the last word stands, and notes that it does.
func (p pen) last(f Wrote) bool {
	for i := p.at + 1; i <= len(p.Trail.Earlier); i++ {
		if *p.wrote(i)&f != 0 {
			return false
		}
	}
	p.take(f)
	return true
}

// first is the same for a field of which the first word stands.
func (p pen) first(f Wrote) bool {
	for i := 0; i <= p.at; i++ {
		if *p.wrote(i)&f != 0 {
			return false
		}
	}
	p.take(f)
	return true
}

// take notes that the event's epoch set the field.
func (p pen) take(f Wrote) {
	p.drop(f)
	*p.wrote(p.at) |= f
}

func (p pen) drop(f Wrote) {
	for i := range p.Trail.Earlier {
		p.Trail.Earlier[i].Wrote &^= f
	}
	p.Trail.Wrote &^= f
}

// Which of an epoch's counts belongs to a list.
func words(e *Epoch) *int      { return &e.Words }
func recordings(e *Epoch) *int { return &e.Recordings }
func contacts(e *Epoch) *int   { return &e.Contacts }

// place is where the next of the event's epoch goes in a list.
func (p pen) place(length int, count func(*Epoch) *int) int {
	if p.at == len(p.Trail.Earlier) {
		return length
	}
	n := 0
	for i := range p.Trail.Earlier[:p.at+1] {
		n += *count(&p.Trail.Earlier[i])
	}
	return n
}

// counted adds n to what the epoch that has the place in a list has there.
func (p pen) counted(place, n int, count func(*Epoch) *int) {
	end := 0
	for i := range p.Trail.Earlier {
		c := count(&p.Trail.Earlier[i])
		if end += *c; place < end {
			*c += n
			return
		}
	}
}

// put adds v to a list, in the event's place, unless it is there; one that a later epoch named is named by this one now.
func put[T comparable](p pen, list []T, v T, count func(*Epoch) *int) []T {
	at := p.place(len(list), count)
	if i := slices.Index(list, v); i >= 0 {
		if i < at {
			return list
		}
		p.counted(i, -1, count)
		list = slices.Concat(list[:i], list[i+1:])
	}
	if p.at < len(p.Trail.Earlier) {
		*count(&p.Trail.Earlier[p.at])++
	}
	return slices.Insert(slices.Clip(list), at, v)
}

// say adds words, in the event's place, and cuts what is then beyond MaxWords characters.
func (p pen) say(text string) {
	at, room := p.place(len(p.Words), words), MaxWords
	for _, w := range p.Words[:at] {
		room -= utf8.RuneCountInString(w.Reveal())
	}
	if text = cut(text, room); text == "" {
		return
	}
	after := p.Words[at:]
	p.Words = add(p.Words[:at:at], pii.NewText(text))
	if p.at < len(p.Trail.Earlier) {
		p.Trail.Earlier[p.at].Words++
	}
	room -= utf8.RuneCountInString(text)
	for i, w := range after {
		text := cut(w.Reveal(), room)
		if text == "" { // and so are those behind it
			for place := at + len(after); place > at+i; place-- {
				p.counted(place, -1, words)
			}
			return
		}
		p.Words = append(p.Words, pii.NewText(text))
		room -= utf8.RuneCountInString(text)
	}
}

// forget takes out whatever names or describes a person, whoever wrote it.
func (p pen) forget() {
	forget(p.Document)
	p.drop(wrotePersonal)
	for i := range p.Trail.Earlier {
		p.Trail.Earlier[i].Words, p.Trail.Earlier[i].Recordings = 0, 0
	}
}
