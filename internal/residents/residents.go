// Package residents keeps what the office knows of the people who call: residents' cards, which numbers they use, for whom
// they act, and the callers that a line does not take.
//
// A resident is not a number. A number may belong to several people (a landline of a household, a daughter who calls for
// her mother), and a person has several; so ByToken gives a list, and the operator says who it is.
//
// Numbers are looked up by the caller's token, so that whoever holds a token only can ask too. Everything needed while a
// phone rings is kept in memory (a few µs, one lock that waits for nobody); Save and Block write the table first.
//
// What it does not do: it makes no tokens (that is handed in), merges nobody by itself, and writes no events.
package residents

import (
	"errors"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// ErrNoCard: there is no card of that id.
var ErrNoCard = errors.New("residents: no such card")

// Card is one resident.
type Card struct {
	ID      string // UUIDv7; "" when saved for the first time
	Name    pii.Name
	Also    []pii.Name // how else they are called: 王阿姨
	Numbers []Number
	Address pii.Address
	Grid    intake.GridID
	Older   bool
	Born    int      // year, 0: not known
	Notes   []string // for the operator before the call is taken: 听力弱, 说慢一点, 独居
	ActsFor []string // ids of cards for which this person speaks
	Changed time.Time
	By      intake.UserID
}

// Number is one that a resident uses.
type Number struct {
	Token  intake.Token // made from Number when it is empty
	Number pii.Phone
	Note   string // 座机, 女儿的手机
}

// Blocked is a caller that a line does not take.
type Blocked struct {
	Token  intake.Token
	Line   intake.LineID // "" : every line
	Reason string
	Until  time.Time // zero: until taken off the list
	By     intake.UserID
	At     time.Time
}

// Config of a Book. Store and Token are needed.
type Config struct {
	Store *store.DB
	Token func(pii.Phone) intake.Token // the same as the phone edge uses
	Now   func() time.Time             // nil: time.Now
	NewID func() string                // nil: UUIDv7
}

// Find chooses cards; several fields must all hold.
type Find struct {
	Name  string // part of a name
	Grid  intake.GridID
	Older bool // only older residents
	Limit int  // 0: 100
}
