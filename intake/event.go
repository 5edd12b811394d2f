package intake

import (
	"encoding/json"
	"fmt"
	"time"

	"yingda/internal/pii"
)

// Type names what happened and the major version of its shape: "contact.offered.v1". Within a version fields are only added.
type Type string

// Data is what an event carries besides its envelope: one of the structs of events.go, by pointer, or *Unknown.
type Data interface{ EventType() Type }

// Event is something that happened. It is immutable once it is in a stream.
type Event struct {
	Source       string    // who wrote it: "yingda/<node>"
	Subject      Subject   // what it changes
	Sequence     Sequence  // its place among the subject's events
	Time         time.Time // UTC, milliseconds
	PartitionKey string    // fixed with the contact's first event: the caller's token, else the contact id. Order holds within one key only
	Data         Data
	Personal     Personal // who it is about and what they said; sealed on the wire
	Extra        Extra    // fields that this version does not know; kept through a round trip

	// Sealed is the personal part as it was read, when nobody here can open it: its month's secret is destroyed or was never
	// ours. Personal is then zero, and Sealed goes through us unchanged. Nil for every event that was opened or names no person.
	Sealed json.RawMessage
}

// Forgotten says that the event names or describes a person, and that it can no longer be read whom.
func (e Event) Forgotten() bool { return len(e.Sealed) > 0 }

// ID is subject/sequence: the same event always has the same id, so a repeat is known by it.
func (e Event) ID() string { return string(e.Subject) + "/" + e.Sequence.String() }

// Type of the event's data.
func (e Event) Type() Type { return e.Data.EventType() }

// Contact is the contact that the event is about when its subject is one, else "".
func (e Event) Contact() ContactID {
	if e.Subject.Kind() == "contact" {
		return ContactID(e.Subject.ID())
	}
	return ""
}

// Extra holds what a newer writer added and we do not know, by name. A field that was added inside of a part we know (a line's, an
// attachment's) is named by its JSON Pointer (RFC 6901) from there: "/attachments/0/colour".
type Extra struct {
	Envelope map[string]json.RawMessage
	Data     map[string]json.RawMessage
	Personal map[string]json.RawMessage
}

// Unknown is the data of an event whose type we do not know. It goes through us unchanged.
type Unknown struct{ Name Type }

// EventType is the type as it was read.
func (u *Unknown) EventType() Type { return u.Name }

// Personal is everything in an event that names or describes a person. Each type uses what it needs.
type Personal struct {
	Number  pii.Phone
	Name    pii.Name
	Address pii.Address
	Text    pii.Text // what was said or written: a message, the words of a case, an answer
	Place   *Place
}

// Place is a point on the earth in WGS-84 degrees.
type Place struct {
	Lat float64 `json:"lat"`
	Lon float64 `json:"lon"`
}

// IsZero says that nothing personal is in it.
func (p Personal) IsZero() bool {
	return p.Number.IsZero() && p.Name.IsZero() && p.Address.IsZero() && p.Text.IsZero() && p.Place == nil
}

// PersonalJSON is Personal in clear, for the one package that seals it (wire) and for imports. It is no pii type, so it
// must not be kept or logged.
type PersonalJSON struct {
	Number  string `json:"number,omitempty"`
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
	Text    string `json:"text,omitempty"`
	Place   *Place `json:"place,omitempty"`
}

// Reveal gives Personal in clear.
func (p Personal) Reveal() PersonalJSON {
	return PersonalJSON{p.Number.Reveal(), p.Name.Reveal(), p.Address.Reveal(), p.Text.Reveal(), p.Place}
}

// Conceal is the way back.
func (p PersonalJSON) Conceal() Personal {
	return Personal{pii.NewPhone(p.Number), pii.NewName(p.Name), pii.NewAddress(p.Address), pii.NewText(p.Text), p.Place}
}

// Check says what is wrong with an event before it goes into a stream; nil when nothing is.
func (e Event) Check() error {
	switch {
	case e.Subject.Kind() == "" || e.Subject.ID() == "":
		return fmt.Errorf("%w: subject %q is not kind/id", ErrInvalid, e.Subject)
	case e.Sequence.Count() == 0:
		return fmt.Errorf("%w: %s has no sequence", ErrInvalid, e.Subject)
	case e.Sequence.Epoch() >= 1<<31:
		return fmt.Errorf("%w: the epoch of %s is not below 2³¹", ErrInvalid, e.ID())
	case e.Data == nil:
		return fmt.Errorf("%w: %s has no data", ErrInvalid, e.Subject)
	case e.PartitionKey == "":
		return fmt.Errorf("%w: %s has no partition key", ErrInvalid, e.ID())
	case e.Time.IsZero():
		return fmt.Errorf("%w: %s has no time", ErrInvalid, e.ID())
	case e.Source == "":
		return fmt.Errorf("%w: %s has no source", ErrInvalid, e.ID())
	}
	if c, ok := e.Data.(interface{ check() error }); ok {
		if err := c.check(); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrInvalid, e.ID(), err)
		}
	}
	return nil
}

// New makes data empty for a type we know; nil, false for one we do not.
func New(t Type) (Data, bool) {
	make, ok := types[t]
	if !ok {
		return nil, false
	}
	return make(), true
}

// Types lists every event type that this version writes and reads, in the order of the catalogue.
func Types() []Type {
	list := make([]Type, 0, len(catalogue))
	for _, make := range catalogue {
		list = append(list, make().EventType())
	}
	return list
}

var types = func() map[Type]func() Data {
	m := map[Type]func() Data{}
	for _, make := range catalogue {
		m[make().EventType()] = make
	}
	return m
}()
