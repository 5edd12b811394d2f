// Package app takes what residents hand in without talking to anybody: submissions from apps over HTTP (our own API and Open311
// GeoReport v2) and from the resident's page (in Go), each accepted once.
//
// Use, step by step:
//
//	server, err := app.New(ctx, app.Config{DB: db, Log: log, …})   // makes ready and starts its goroutines
//	mux.Handle("/api/v1/submissions", server)                      // and the other patterns of app.Patterns
//	receipt, err := server.Submit(ctx, app.Submission{Key: …})     // durable when it returns; the same Key again is the same contact
//	status, err := server.Status(ctx, receipt.Number, "1234")      // how far it has come
//	server.Apply(ctx, tx, records)                                 // the consumer: fenced by position, under the name app.Group
//	secret, err := server.SaveKey(ctx, app.Key{Token: id, …})      // limits and webhook of an API token of role app
//
// How a submission is written down. First its claim: one row that ties idempotency key, receipt number and contact id together; claims that
// gather while one is written share a transaction. Then its events (contact.offered, contact.message for photos, contact.ended): one Append to the
// log. Only then the answer. Whoever asks again with the same key finds the claim, and its events are appended once more, which the log passes
// over when it has them: so a crash between the two costs nothing and doubles nothing. The log is the truth; the rows are what answers a question
// about it quickly.
//
// Every request that is a resident's matter and cannot be accepted is written down as well, once, as rejected_invalid. What is no matter of anybody
// (no valid key, bytes that are no request, a request beyond the app's limit, which comes again) only gets its answer.
//
// Goroutines, all owned by the Server and ended by Close: "clerk" writes claims; "courier" sends webhooks, with one more for each that is under way;
// "sweeper" forgets keys that have expired and files that nothing names.
//
// What it does not do: it opens no case (the case book does, from the events), it knows no grid, it fetches nothing that a request names by URL, and
// it never gives back a name or a number.
package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/pii"
	"yingda/internal/store"
	"yingda/internal/users"
)

// Group is the name under which Apply reads the stream; its positions are kept in the store.
const Group = "app"

// Config of a Server. DB, Log, Users, Dir, Source, Epoch and Seal are needed.
type Config struct {
	DB          *store.DB
	Log         stream.Log
	Users       *users.Book          // whose tokens of role app open the door
	Dir         string               // folder for attachments, made when it is not there
	Source      string               // of the events: "yingda/<node>"
	Epoch       uint32               // of this start
	Switchboard intake.SwitchboardID // "": main
	Line        intake.LineID        // to which a submission belongs when neither it nor its key names one; "": main
	Lines       func(intake.LineID) bool
	Caller      func(pii.Phone) intake.Token                          // makes a caller's token; nil: submissions have no caller
	Seal        func(id string, at time.Time) (key []byte, err error) // 32 bytes for an attachment, from the secret of the month of at
	Services    func() []Service                                      // the kinds of matter people may name; nil: none
	CaseNumber  func(ctx context.Context, id intake.CaseID) (string, error)

	Office       string                     // name, on the page of documentation
	Title        string                     // of the published number, "12345", for service notices; "" : none
	Jurisdiction string                     // Open311 jurisdiction_id; "": any is taken
	ClosedReads  bool                       // Open311: nobody without a key may read how requests stand. Zero: everybody may, without words, address and exact place
	Private      []netip.Prefix             // addresses beside the public ones to which webhooks may go; loopback too only when it is named here
	KeysLast     time.Duration              // how long an idempotency key is remembered; 0: 72 h
	Alarm        func(Alarm)                // hears of webhooks that are given up; nil: only the log does
	From         func(*http.Request) string // the address that a request comes from; nil: of its connection
	Changed      func()                     // told when a submission was taken; must not block
	Now          func() time.Time
	NewID        func() string // UUIDv7
	Logger       *slog.Logger

	test hooks
}

// Service is a kind of matter as an app shows it: a category of the routing rules.
type Service struct {
	Code        string // routing.Category.Code
	Name        string
	Group       string
	Description string
	Keywords    []string
	Secret      bool // requests of this kind are shown to nobody but the app that sent them
	Attributes  []Attribute
}

// Attribute is a further question of a service (Open311 service definition).
type Attribute struct {
	Code        string
	Description string
	Datatype    string // string, number, datetime, text, singlevaluelist, multivaluelist
	Hint        string // Open311: datatype_description
	Required    bool
	Values      []Value // of the lists
}

// Value is one answer of a list.
type Value struct{ Key, Name string }

// Submission is what somebody hands in.
type Submission struct {
	Key      string        // idempotency key, 1 to 255 characters; the same again, with the same content, is the same contact
	Token    string        // id of the API token; "" for our own page
	Origin   string        // what it came by: "page", or the name of the app
	Line     intake.LineID // "": that of the key, else Config.Line
	Category string        // code of a Service; ""
	Text     pii.Text      // 1 to 4000 characters
	Address  pii.Address   // up to 300 characters
	Place    *intake.Place // WGS-84
	Number   pii.Phone
	Name     pii.Name // up to 60 characters
	Photos   []Photo  // up to 6
	Details  []Detail // what else was said: answers to the attributes of a service, a link to a picture
}

// Photo is a picture as it came. Body is read before Submit returns, from where it stands.
type Photo struct {
	Name string // what the sender calls it; only said back in errors
	Body io.Reader

	held *heldPhoto // it was read already
}

// Detail is one more thing that was said, kept with the words.
type Detail struct {
	Name  string
	Value pii.Text
}

// Receipt is what whoever handed something in gets.
type Receipt struct {
	Number   string // eight digits as "1234 5678"; the last is a check digit
	Code     string // the four digits that open the status with it: the last four of the number given, else drawn for this receipt
	Drawn    bool   // Code was drawn, and has to be told
	Contact  intake.ContactID
	At       time.Time
	Replayed bool // it had been taken before
}

// State is how far a submission is.
type State string

// States of a submission. All but Received and Rejected are those of its case.
const (
	Received   State = "received"
	Routed     State = "routed" // there is a case
	Dispatched State = "dispatched"
	Taken      State = "accepted"
	InProgress State = "in_progress"
	Returned   State = "returned"
	Answered   State = "answered"
	Closed     State = "closed"
	Rejected   State = "rejected"
)

// Step is one thing that happened to a submission.
type Step struct {
	What string // received, routed, dispatched, accepted, in_progress, returned, extended, answered, closed, reopened
	At   time.Time
}

// Status is how a submission stands, for whoever has its receipt.
type Status struct {
	Number     string
	Contact    intake.ContactID
	State      State
	At         time.Time // when it was handed in
	Changed    time.Time
	Case       intake.CaseID // "" without one
	CaseNumber string
	Category   string
	Grid       intake.GridID
	Department string // code
	Deadline   time.Time
	Result     string   // of a closed case
	Answer     pii.Text // what was done, once the case is closed
	Steps      []Step
	Photos     int
}

// Key is what an API token of role app may do and where its webhook goes.
type Key struct {
	Token     string // its id
	PerMinute int    // submissions; 0: 600
	PerDay    int    // 0: 100,000
	Line      intake.LineID
	Webhook   string // URL; "": none

	Disabled time.Time // when its webhook was given up; zero: it was not
	Failing  time.Time // since when it fails; zero: it does not
	Why      string    // the last failure
}

// Alarm is a webhook that was given up, or works again.
type Alarm struct {
	Token string
	On    bool
	Why   string
}

// Errors of Submit and Status. Invalid and PhotoError are errors too.
var (
	// ErrConflict: the key was used for something else.
	ErrConflict = errors.New("app: the idempotency key was used for another submission")
	// ErrLater: nothing is wrong with it, but it could not be made durable now. Try again with the same key.
	ErrLater = errors.New("app: cannot be written down now, try again with the same key")
	// ErrNotFound: no such receipt, or not with these digits.
	ErrNotFound = errors.New("app: no such receipt with these digits")
	// ErrTooOften: too many wrong tries; wait.
	ErrTooOften = errors.New("app: too many tries")
	// ErrClosed: after Close.
	ErrClosed = errors.New("app: closed")
)

// Invalid says what is wrong with a submission, field by field. Contact is what it was written down as.
type Invalid struct {
	Fields  []Field
	Contact intake.ContactID
}

// Field is one thing that is wrong and what to do about it.
type Field struct {
	Name   string // text, address, position, phone, name, category, photos/0 …
	Code   string // required, too_long, not_a_number, unknown, type, size, pixels, broken, too_many …
	Detail string // a sentence
}

func (i *Invalid) Error() string {
	s := "app: the submission cannot be accepted"
	for _, f := range i.Fields {
		s += "; " + f.Name + ": " + f.Detail
	}
	return s
}
