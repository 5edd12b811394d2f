package webchat

import (
	"time"
)

// In is a frame from a browser. One struct for all: what a type does not use stays empty.
type In struct {
	T       string         `json:"t"`
	Ref     string         `json:"ref,omitempty"` // comes back with the answer; at most 64 characters
	Token   string         `json:"token,omitempty"`
	After   int            `json:"after,omitempty"`
	Have    map[string]int `json:"have,omitempty"` // desk: last number by contact
	Key     string         `json:"key,omitempty"`
	Line    string         `json:"line,omitempty"`
	Text    string         `json:"text,omitempty"`
	Files   []string       `json:"files,omitempty"` // ids given by the upload
	N       int            `json:"n,omitempty"`
	Number  string         `json:"number,omitempty"`
	Name    string         `json:"name,omitempty"`
	Call    bool           `json:"call,omitempty"`
	Contact string         `json:"contact,omitempty"` // desk
	Offer   string         `json:"offer,omitempty"`   // desk
	To      string         `json:"to,omitempty"`      // desk: operator to hand it to; "" the queue
}

// Types of frames. Up: from a browser; down: to it.
const (
	UpHello   = "hello"
	UpStart   = "start"
	UpSay     = "say"
	UpTyping  = "typing"
	UpSeen    = "seen"
	UpNumber  = "number"
	UpBye     = "bye"
	UpAccept  = "accept"
	UpDecline = "decline"
	UpHand    = "hand"
	UpEnd     = "end"
	UpRead    = "read"
	UpPing    = "ping" // answered by pong: a browser cannot see the protocol's own

	DownWelcome = "welcome"
	DownStarted = "started"
	DownState   = "state" // resident: how the conversation stands
	DownChat    = "chat"  // desk: the same, of one of its conversations
	DownGone    = "gone"  // desk: it is not theirs any more; why: moved, queue, ended elsewhere
	DownOffer   = "offer"
	DownUnoffer = "unoffer"
	DownMessage = "message"
	DownTick    = "tick" // durable
	DownSafe    = "safe" // all up to n are durable
	DownTyping  = "typing"
	DownSeen    = "seen" // the other side has seen all up to n
	DownPong    = "pong"
	DownDone    = "done"
	DownError   = "error"
)

// Out is a frame to a browser.
type Out struct {
	T       string   `json:"t"`
	V       int      `json:"v,omitempty"`
	Ref     string   `json:"ref,omitempty"`
	Contact string   `json:"contact,omitempty"` // to desks
	Token   string   `json:"token,omitempty"`
	Key     string   `json:"key,omitempty"`
	N       int      `json:"n,omitempty"`
	State   *State   `json:"state,omitempty"`
	Limits  *Allowed `json:"limits,omitempty"`
	*Message
	Offer string     `json:"offer,omitempty"`
	Until *time.Time `json:"until,omitempty"`
	By    string     `json:"by,omitempty"` // operator who hands it on
	Why   string     `json:"why,omitempty"`
	Code  string     `json:"code,omitempty"`
	Say   string     `json:"say,omitempty"`
	Last  int        `json:"last,omitempty"` // done of a read: number of the newest message
	Seen  int        `json:"seen,omitempty"` // welcome, chat: what the other side has seen
	Read  int        `json:"read,omitempty"` // of Mine and Offers: what our side has seen

	Unread int `json:"-"` // of Mine and Offers: how many messages there are after Read
}

// State is how a conversation stands, as its two sides see it.
type State struct {
	Stage    string     `json:"stage"` // writing, quiet, waiting, open, closed, over
	Line     string     `json:"line"`
	LineName string     `json:"line_name,omitempty"`
	Phone    string     `json:"phone,omitempty"`    // of the line: to be called instead
	Ahead    int        `json:"ahead"`              // how many wait before it; −1 unknown
	WaitS    int        `json:"wait_s,omitempty"`   // estimate in seconds; 0 unknown
	Operator string     `json:"operator,omitempty"` // to residents a public name, to desks the id
	Arrived  time.Time  `json:"arrived"`
	Waits    *time.Time `json:"waits_since,omitempty"` // the resident waits for a reply since
	Answered *time.Time `json:"answered,omitempty"`
	EndsAt   *time.Time `json:"ends_at,omitempty"` // the resident is silent: it will end then
	OpenAt   *time.Time `json:"open_at,omitempty"` // closed: people are there again
	Number   string     `json:"number,omitempty"`  // left by the resident, masked
	Name     string     `json:"name,omitempty"`    // desk only
	Known    string     `json:"known,omitempty"`   // desk only: id of the resident's card
	Present  bool       `json:"present,omitempty"` // desk only: the resident is there
	Messages int        `json:"messages"`          // number of the newest
	Outcome  string     `json:"outcome,omitempty"` // over: one of intake.Outcomes
	Reason   string     `json:"reason,omitempty"`
}

// Message as browsers see it.
type Message struct {
	Number int       `json:"n"`
	From   string    `json:"from,omitempty"` // to residents: you, us; to desks: resident, or the operator's id
	Name   string    `json:"name,omitempty"` // public name of the operator
	At     time.Time `json:"at"`
	Text   string    `json:"text"`
	Files  []File    `json:"files,omitempty"`
	Key    string    `json:"key,omitempty"` // to whom wrote it: the key under which they did
	Unsafe bool      `json:"unsafe,omitempty"`
}

// File beside a message. Its bytes are at …/files/<id> for residents (token in the Authorization header or the cookie) and …/files/<contact>/<id> for desks.
type File struct {
	ID     string `json:"id"`
	Type   string `json:"type"`
	Size   int64  `json:"size"`
	Width  int    `json:"w,omitempty"`
	Height int    `json:"h,omitempty"`
	Name   string `json:"name,omitempty"`
}

// Allowed tells a browser what it may send.
type Allowed struct {
	Text      int      `json:"text"`
	Files     int      `json:"files"`
	FileBytes int64    `json:"file_bytes"`
	Types     []string `json:"types"`
}
