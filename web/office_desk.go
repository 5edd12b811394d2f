package web

import (
	"context"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// Chats are the conversations of one operator, beside the call. The page shows them from here and does everything by these deeds, so that
// it works without a WebSocket too.
// Errors: ErrNotFound, ErrGone, ErrBusy, Refusal.
type Chats interface {
	// Mine gives the viewer's conversations: offered to them first, then those in which the resident waits longest.
	Mine(ctx context.Context, v Viewer) ([]ChatRow, error)
	// One gives a conversation that the viewer has or is offered, with its messages from the first.
	One(ctx context.Context, v Viewer, id intake.ContactID) (ChatPage, error)
	// Accept takes one that is offered; Decline lets it go to somebody else.
	Accept(ctx context.Context, v Viewer, id intake.ContactID) error
	Decline(ctx context.Context, v Viewer, id intake.ContactID) error
	// Say writes to the resident. It has happened when it returns nil: the message is durable. ref is made by the page; the same ref again
	// is the same message.
	Say(ctx context.Context, v Viewer, id intake.ContactID, ref string, text pii.Text, files []string) error
	// Seen: the viewer has everything up to seq before their eyes.
	Seen(ctx context.Context, v Viewer, id intake.ContactID, seq uint64) error
	// HandOver gives it to a colleague, or with to "" back to those who wait, at their head.
	HandOver(ctx context.Context, v Viewer, id intake.ContactID, to intake.UserID, why string) error
	End(ctx context.Context, v Viewer, id intake.ContactID) error
}

// ChatRow is a conversation in the list.
type ChatRow struct {
	Contact intake.ContactID
	Person  Person
	Line    string
	State   string    // offered, open, left (the resident is gone without a word and may come back)
	Waits   time.Time // since when the resident waits for a word of ours; zero: we wait for one of theirs
	Unread  int
	Last    pii.Text // the last thing said
	Typing  bool     // the resident writes
	Until   time.Time
}

// ChatPage is one conversation. Draft is the form of its case, as of a call.
type ChatPage struct {
	ChatRow
	Home     Plate
	Messages []ChatMessage
	SeenUpTo uint64  // the resident has seen ours up to there
	To       []Staff // colleagues it can be handed to
	Number   bool    // the resident left a number: they can be called back
}

// ChatMessage is one message. Seq counts within the conversation from 1.
type ChatMessage struct {
	Seq  uint64
	At   time.Time
	Side string // resident, us, system
	By   Staff
	Text pii.Text // of system: a key of the message files under "desk.chat.sys."
	File *ChatFile
}

// ChatFile is a file beside a message. URL is on this server and checks who asks.
type ChatFile struct {
	Name  string // as its writer called it; ""
	URL   string
	Image bool
	Bytes int64
	Wide  int // pixels of a picture
	High  int
}

// WhoMayBe is somebody whom a number may belong to.
type WhoMayBe struct {
	ID       string // of the card
	Person   Person
	Relation string // 女儿, as the card says it; ""
	Home     Plate
	Address  pii.Address
}

// AskedCall is a call that a grid worker, who has no phone on the hotline, asks us to make and to tell them of.
type AskedCall struct {
	At       time.Time
	By       Staff
	Case     intake.CaseID
	Title    string
	Callback intake.CallbackID // "": look at the case
	Person   Person
}

// SameMatter is an open or lately closed case that may be about the same thing.
type SameMatter struct {
	CaseRow
	Why string // 同一网格, 相距 80 米
}
