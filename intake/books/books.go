// Package books keeps the answer-rate books and the callbacks in tables, and answers every question about them: how many
// were offered and answered by which definition, which contacts are behind a figure, who was not reached yet, who has
// whose callback in hand, and what happened from somebody's first attempt until now.
//
// A consumer of the stream hands it batches with Apply, inside its own transaction, so that its position and the effect
// are one. Whatever comes again is passed over. Each contact is folded into one row (package answerrate says how), each caller's
// attempts are settled against what is owed (package recovery), and a callback that is born, joined, cleared or grown into a visit is
// written together with its event. What a person does to a callback (take, give back, assign, close, note a try) is one
// transaction with its event too. Those events come back through the stream and change nothing.
//
// Times are cut into days in the office's time zone. Numbers and names needed to phone somebody back are kept in clear
// in columns of contacts, callers and callbacks, never in a key, and leave with contact.erased.
//
// What it does not do: it reads no stream by itself, phones nobody, and does not know where a caller lives (the resident's card
// does; rows carry its id).
package books

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/intake/recovery"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// Errors on which a caller can act. InHandError tells who has it.
var (
	ErrNotFound = errors.New("books: there is no such thing")
	ErrInHand   = errors.New("books: somebody else has the callback in hand")
	ErrNotYours = errors.New("books: this person does not have the callback in hand")
	ErrCleared  = errors.New("books: the callback has been cleared already")
	ErrNoReason = errors.New("books: closing a callback needs a reason")
	ErrInvalid  = errors.New("books: not understood")
)

// InHandError is ErrInHand with the name of the one who has it.
type InHandError struct{ By intake.UserID }

func (e *InHandError) Error() string        { return ErrInHand.Error() + ": " + string(e.By) }
func (e *InHandError) Is(target error) bool { return target == ErrInHand }

// Config of the books.
type Config struct {
	Office      *time.Location           // in which days are cut; nil: UTC
	Source      string                   // of the events written here: "yingda/<node>"
	Epoch       uint32                   // of the sequences written here
	NewCallback func() intake.CallbackID // UUIDv7
	Due         time.Duration            // a callback is due so long after the first attempt; 0: 4 h
	MaxTries    int                      // failed tries after which a grid worker is asked to go; 0: 3
	Hold        time.Duration            // a callback in hand so long without a try is given back; 0: 30 min
	Soon        time.Duration            // what counts as due soon; 0: 30 min
	Dialable    func(pii.Phone) bool     // whether a number can be phoned back; nil: whoever has a token can
	Definitions []answerrate.Definition  // nil: answerrate.Standard with its defaults
	Now         func() time.Time         // nil: time.Now
}

// Books in tables.
type Books struct {
	db       *store.DB
	cfg      Config
	recovery recovery.Config
	contact  []*answerrate.Definition // per contact; the index is the place's, 4 bits each
	caller   []*answerrate.Definition // per caller, likewise
	all      []*answerrate.Definition // in the order given
}

// New gives the books kept in db. When the definitions are not those by which its rows were placed, they are placed
// again, which takes about a second for 15,000 contacts.
func New(ctx context.Context, db *store.DB, cfg Config) (*Books, error) {
	if cfg.Office == nil {
		cfg.Office = time.UTC
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Definitions == nil {
		cfg.Definitions = answerrate.Standard(answerrate.Params{})
	}
	cfg.Hold = cmp.Or(cfg.Hold, 30*time.Minute)
	cfg.Soon = cmp.Or(cfg.Soon, 30*time.Minute)
	if cfg.Source == "" || cfg.Epoch == 0 || cfg.NewCallback == nil {
		return nil, fmt.Errorf("%w: books need a source, an epoch and a maker of ids", ErrInvalid)
	}
	b := &Books{db: db, cfg: cfg, recovery: recovery.Config{Due: cfg.Due, MaxTries: cfg.MaxTries, Dialable: cfg.Dialable}}
	seen := map[string]bool{}
	for i := range cfg.Definitions {
		d := &cfg.Definitions[i]
		if err := d.Check(); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		if seen[d.ID] {
			return nil, fmt.Errorf("%w: two definitions are called %s", ErrInvalid, d.ID)
		}
		seen[d.ID] = true
		b.all = append(b.all, d)
		if d.Unit == answerrate.PerCaller {
			b.caller = append(b.caller, d)
		} else {
			b.contact = append(b.contact, d)
		}
	}
	if len(b.contact) > most || len(b.caller) > most {
		return nil, fmt.Errorf("%w: %d definitions of each kind are the most", ErrInvalid, most)
	}
	fingerprint, err := json.Marshal([]any{cfg.Definitions, outcomes})
	if err != nil {
		return nil, err
	}
	if err := b.place(ctx, string(fingerprint)); err != nil {
		return nil, fmt.Errorf("place what is in the books by the definitions: %w", err)
	}
	return b, nil
}

// Definitions in force, the headline first.
func (b *Books) Definitions() []*answerrate.Definition { return b.all }

// Definition of that id; nil when there is none.
func (b *Books) Definition(id string) *answerrate.Definition {
	for _, d := range b.all {
		if d.ID == id {
			return d
		}
	}
	return nil
}

func (b *Books) now() time.Time { return intake.Millis(b.cfg.Now()) }

// Today is the office's day in which t lies: from ≤ t < to.
func (b *Books) Today(t time.Time) (from, to time.Time) {
	return answerrate.Window(t, answerrate.Day, b.cfg.Office)
}

// Office is the time zone in which days are cut.
func (b *Books) Office() *time.Location { return b.cfg.Office }

// Contact is a row of the books.
type Contact struct {
	answerrate.Contact // Rings only from Books.Contact, not in lists
	Number             pii.Phone
	Name               pii.Name
	Reached            time.Time         // when somebody and the resident reached one another in it; zero: they did not
	Owes               bool              // its end leaves us owing a call to a caller whom we can call
	Case               intake.CaseID     // the first opened from it; "" none
	Callback           intake.CallbackID // the newest it belongs to; "" none
}

// Cursor marks a place in a list of contacts.
type Cursor struct {
	Arrived time.Time
	ID      intake.ContactID
}

// Cursor of a row: what After takes to go on behind it.
func (c *Contact) Cursor() Cursor { return Cursor{c.Arrived, c.ID} }

// Filter chooses contacts. The zero value takes all, newest first.
type Filter struct {
	From, To   time.Time // arrived in From ≤ t < To; zero: without end
	Line       intake.LineID
	Channel    intake.Channel
	Outcomes   []intake.Outcome
	Open       bool // only those that have not ended
	Lost       bool // only those that ended without anybody being reached
	Caller     intake.Token
	Operator   intake.UserID // who answered
	Missed     intake.UserID // at whose place it rang and was not taken before the resident left
	Daily      [2]int        // arrived at the office in these minutes of the day, from ≤ m < to; zero: all day. Needs From and To, at most 400 days apart
	Known      string        // the resident's card
	SIPCallID  string
	Flag       intake.Flag
	Definition string // with Part: who is behind a figure, as in answerrate.Definition.Part; for one per caller the first attempts
	Part       string
	Oldest     bool   // oldest first
	Limit      int    // 0: all
	After      Cursor // go on behind this row
}

// Rates is every figure of a span of time.
type Rates struct {
	From     time.Time                `json:"from"`
	To       time.Time                `json:"to"`
	Line     intake.LineID            `json:"line,omitempty"`
	Channel  intake.Channel           `json:"channel,omitempty"`
	Counts   answerrate.Counts        `json:"-"`
	Offered  int64                    `json:"offered"`
	Open     int64                    `json:"open"`
	Outcomes map[intake.Outcome]int64 `json:"outcomes"`
	Balanced bool                     `json:"balanced"`
	Rates    []answerrate.Rate        `json:"rates"`
}

// Rate of that id; the zero Rate when there is none.
func (r *Rates) Rate(id string) answerrate.Rate {
	for _, x := range r.Rates {
		if x.ID == id {
			return x
		}
	}
	return answerrate.Rate{}
}

// Bar is a quarter of an hour: Offered = Answered + Lost + Open.
type Bar struct {
	Start                         time.Time
	Offered, Answered, Lost, Open int64
}

// HeatDay is a day of lost contacts by quarter of an hour. Offered and Lost are the day's.
type HeatDay struct {
	Start   time.Time // midnight at the office
	Bars    []Bar     // those quarters in which something arrived, in order
	Offered int64
	Lost    int64
}

// Point of a series: what was counted over the span that ends at At.
type Point struct {
	At       time.Time
	Num, Den int64
}

// Waiting is who waits now and who had to wait longest.
type Waiting struct {
	Now          int64 // open and not answered
	Since        time.Time
	Contact      intake.ContactID // who has waited longest of those, since then; "" nobody
	LongestToday time.Duration    // of all that arrived today, those who wait now included
	LongestOf    intake.ContactID
}

// Try is one time that we tried to reach somebody.
type Try struct {
	Attempt   intake.AttemptID
	Operator  intake.UserID
	Result    string // one of intake.Try…
	Seconds   int64
	Recording intake.RecordingID
	At        time.Time // when it was over
}

// Attempt is one time that somebody tried to reach us.
type Attempt struct {
	Contact intake.ContactID
	Channel intake.Channel
	At      time.Time
	Outcome intake.Outcome
	Reason  string
	Flags   []intake.Flag
	Waited  time.Duration
}

// Callback is the duty to reach somebody. Waited is first attempt until now.
type Callback struct {
	ID           intake.CallbackID
	Sequence     intake.Sequence
	Caller       intake.Token
	Line         intake.LineID
	Cause        intake.Outcome
	FirstAttempt time.Time
	Due          time.Time
	Born         time.Time
	Number       pii.Phone
	Name         pii.Name
	Known        string // the resident's card
	InHand       intake.UserID
	Taken        time.Time
	GivenBy      intake.UserID    // the supervisor who gave it to InHand; "" they took it
	Visit        bool             // a grid worker was asked to go
	Attempts     []Attempt        // oldest first
	Tries        []Try            // oldest first
	Calling      intake.ContactID // the caller is on the line to us at this moment; "" is not

	Cleared        time.Time // when the caller was reached; zero: owed
	ClearedBy      string    // one of intake.Cleared…; "" owed
	ClearedContact intake.ContactID
	ClearedAttempt intake.AttemptID
	ClearedCase    intake.CaseID
	ClearedUser    intake.UserID // who reached them, or the supervisor
	ClearedReason  string
}

// State of a callback on a screen: exactly one.
type State string

const (
	InHand  State = "in_hand" // somebody has it
	Overdue State = "overdue" // nobody has it and it is past due
	DueSoon State = "soon"    // due within Config.Soon
	Later   State = "later"
)

// UnreturnedFilter chooses among those who were not reached yet. The zero value takes all.
type UnreturnedFilter struct {
	Line     intake.LineID
	Cause    intake.Outcome // of any of their attempts
	State    State
	Operator intake.UserID // in whose hand
	From, To time.Time     // first attempt in From ≤ t < To
	Newest   bool          // newest first; else who has waited longest
	Limit    int
}

// Summary counts callbacks that are owed. InHand + Overdue + DueSoon + Later = Owed = Σ Ages.
type Summary struct {
	Owed, InHand, Overdue, DueSoon, Later int64
	People                                int64 // callers; one who failed on two lines is one
	Ages                                  []Age
}

// Age counts the callbacks whose first attempt is at most Up ago (0: longer than all before).
type Age struct {
	Up      time.Duration
	N       int64
	Overdue int64 // of those
}

// CallerFacts is what the edge asks when somebody calls.
type CallerFacts struct {
	Contacts    int64             // all they ever made
	Attempts    int               // in the episode that is still owed: failed ones since they were last reached
	Failed      time.Time         // the latest of those; zero: nothing is owed
	FirstFailed time.Time         // the first of those
	Callback    intake.CallbackID // the oldest that is owed; "" none
	InHand      intake.UserID     // who has it
	LastReached time.Time         // when somebody last reached them, in any channel; zero: never
	LastContact intake.ContactID
	LastArrived time.Time
	Known       string
	Open        []intake.ContactID // contacts of theirs that have not ended
}

// OpenContact is a contact that has not ended: what a writer that starts again must know to end it.
type OpenContact struct {
	ID          intake.ContactID
	Key         string // partition key
	Newest      intake.Sequence
	Dedupe      string
	Channel     intake.Channel
	Line        intake.LineID
	Switchboard intake.SwitchboardID
	Caller      intake.Token
	Arrived     time.Time
	Answered    time.Time
	Operator    intake.UserID
}

// Dedupe is a key under which a contact came in: the same key again is the same contact.
type Dedupe struct {
	Key     string
	Contact intake.ContactID
	Newest  intake.Sequence
	Outcome intake.Outcome // "" open
	Arrived time.Time
}

// Moment is something that happened, as the stream has it.
type Moment struct {
	Subject  intake.Subject
	Sequence intake.Sequence
	At       time.Time
	Type     intake.Type
	Raw      []byte // for wire to decode; what is personal in it is sealed
}

// Recording of a contact.
type Recording struct {
	ID       intake.RecordingID
	Contact  intake.ContactID
	At       time.Time
	Length   time.Duration
	Channels int
	SHA256   string
	CutShort bool
}

// Look says who looked at what is masked, or listened.
type Look struct {
	What   intake.Subject // "recording/…" when listened to
	Viewer intake.UserID
	At     time.Time
	Field  string
	Reason string
	From   time.Duration // of the recording
	To     time.Duration
}

// OperatorFigures of one operator. Rings belong to the time at which they rang, the rest to the window in which the contact arrived.
type OperatorFigures struct {
	Operator   intake.UserID
	Answered   int64
	QuickDrops int64
	Talked     time.Duration
	Rings      int64
	// Unrang splits the rings that were not answered by why: no_answer, busy, declined, unreachable, error are ours;
	// resident_left is not.
	Unrang map[string]int64
}

// Presence is an operator's state.
type Presence struct {
	Operator intake.UserID
	State    string
	Reason   string
	Since    time.Time
}

// Staff says how many were at their desks at some time of a span, and how many of those took a break in it.
type Staff struct{ Present, OnBreak int64 }
