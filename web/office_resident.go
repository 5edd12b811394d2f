package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
)

// Residents is what people outside may do without an account. Everything that changes something is durable before it returns without an
// error: the page says "written down" on the strength of it. Who asks is an address (Config.From), for the books of refused contacts only.
type Residents interface {
	// Front says what the hotline is to people at that moment. It is asked for by every page and must be quick; when it fails the page
	// stays up with the name of the hotline only.
	Front(ctx context.Context) (Front, error)
	// CallMe makes, or finds, the callback for a number. ErrNumber when it cannot be called (too short, a foreign one, an emergency number).
	CallMe(ctx context.Context, a CallMe) (Promise, error)
	// CallOff takes back what CallMe promised, by Promise.Secret. ErrNotFound when the secret is not one, ErrGone when the call was made already.
	CallOff(ctx context.Context, secret string) error
	// Write takes a submission: one contact per Letter.Key, however often it is sent. ErrNumber, PhotoError.
	Write(ctx context.Context, l Letter) (Receipt, error)
	// Status of what was written, for the receipt's eight digits and the last four of the number that was left with it, or Receipt.Code. ErrNotFound for
	// both a wrong receipt and wrong digits, after the same time: nobody learns which receipts exist.
	Status(ctx context.Context, receipt, last4 string) (Progress, error)
}

// Errors which Residents and ResidentChats return and a page has a sentence for, besides ErrNotFound and ErrGone.
var (
	ErrNumber = errors.New("web: that number cannot be called")
	ErrFull   = errors.New("web: more people than we can serve now") // we said no, and wrote it down
)

// PhotoError says which photo cannot be taken (from 0) and why: "type" (none of the kinds we read), "size" (bytes or pixels), "broken".
type PhotoError struct {
	Index int
	Why   string
}

func (p PhotoError) Error() string { return fmt.Sprintf("web: photo %d: %s", p.Index, p.Why) }

// Front is the hotline as people outside see it.
type Front struct {
	Line   intake.LineID // which a contact from these pages belongs to
	Number string        // as published: 0512-5550-0100. Shown on every page
	Hours  Said          // in a sentence: 白天晚上都有人接; 工作日 8:30 到 17:30 有人接
	Open   bool          // somebody takes calls now
	Opens  time.Time     // when not open: when next; zero: not known
	Busy   bool          // everybody is in a call: it takes longer than usual
	CallBy time.Time     // by when somebody who leaves a number now is called
	ReadBy time.Time     // by when somebody who writes now is answered
	Tries  int           // how often a callback is tried before somebody visits; 0: the page says nothing of it
	Visits bool          // a grid worker comes when the calls fail
	Owner  Said          // who runs it: 梅溪街道办事处
	Urgent Said          // what to do when somebody is in danger: 有危险先打 110、119 或 120. Empty: nothing is said
	Others []Published   // further numbers of the same office
	Photos int           // how many may be sent along, at most 6; 0: none
	Chat   bool          // the chat page takes people (also when closed: then it takes messages)
	Use    []Said        // paragraphs: what is kept of people, for how long, who sees it
}

// Published is another number in the ledger of lines.
type Published struct {
	Name   Said
	Number string
	Hours  Said
}

// CallMe is somebody who wants to be called.
type CallMe struct {
	Line    intake.LineID
	Number  pii.Phone
	Address string // of the machine that asked
}

// Promise is a callback that somebody was promised.
type Promise struct {
	Until  time.Time // they are called before that
	Again  bool      // it had been promised before, with this time
	Secret string    // takes it back; "": it cannot be, since it is owed for more than this
}

// Letter is what somebody wrote.
type Letter struct {
	Key     string // the same letter sent again has the same, one with other words another; up to 60 characters
	Line    intake.LineID
	Text    pii.Text    // 1 to 4000 characters
	Place   pii.Address // in words, up to 300 characters; may be empty
	Number  pii.Phone   // zero: none left, nobody can answer
	Photos  []Upload
	Address string
}

// Upload is a file as it came, not looked at. Body is read during the call only.
type Upload struct {
	Name string // what their machine calls it; not to be trusted
	Size int64
	Body io.ReadSeeker
}

// Receipt is what somebody who wrote gets.
type Receipt struct {
	Number string    // eight digits
	Code   string    // the four digits that open it, when they had to be drawn since no number was left; else ""
	By     time.Time // by when somebody answers; zero: nothing is promised
}

// Progress is how far a matter has come, in words for the resident. No number, name or words of the resident are in it.
type Progress struct {
	Title  string // 楼道灯
	Now    string // 约了师傅，明天上午来; "": the page takes the words of State
	State  string // of the case: opened, dispatched, accepted, … ; "received" without a case; "closed"
	Steps  []ProgressStep
	Plate  Plate     // whose grid it is
	By     time.Time // by when it is to be answered; zero: no promise
	Closed bool
	Answer string // what was done, when it was
}

// ProgressStep is a thing done, being done, or to come.
type ProgressStep struct {
	What string // received, routed, dispatched, accepted, in_progress, returned, extended, answered, closed, reopened; or a sentence
	More string // a sentence of who did it, safe to show
	At   time.Time
	Is   string // "did", "now", "todo"
}

// ResidentChats is a conversation without a script: a form that posts and a page that reloads. The live chat goes over its WebSocket and meets the
// same conversations.
type ResidentChats interface {
	// Start opens a conversation with its first words and gives the secret by which its resident comes back, the same as the WebSocket
	// protocol's token for resuming. One conversation per TalkStart.Key. ErrFull.
	Start(ctx context.Context, h TalkStart) (secret string, err error)
	// Post adds a message of the resident; once for each key. ErrNotFound, ErrGone.
	Post(ctx context.Context, secret, key string, text pii.Text) error
	// History is the conversation with its messages after that sequence number (0: all). ErrNotFound.
	History(ctx context.Context, secret string, after uint64) (Talk, error)
	// LeaveNumber makes it a callback when nobody answers. ErrNumber, ErrNotFound, ErrGone.
	LeaveNumber(ctx context.Context, secret string, number pii.Phone) (Promise, error)
	// End is the resident leaving. Ending what has ended is no error.
	End(ctx context.Context, secret string) error
}

// TalkStart is somebody who begins a chat.
type TalkStart struct {
	Key     string
	Line    intake.LineID
	Text    pii.Text
	Number  pii.Phone // zero: none
	Address string
}

// Talk is a chat as its resident sees it.
type Talk struct {
	State    string    // "waiting", "open", "ended"
	Operator string    // who is there, as residents may know them; "" while waiting
	Promise  time.Time // they are called by then, since they left a number; zero: none
	Closed   bool      // outside hours: nobody will answer here today
	Messages []TalkLine
}

// TalkLine is one message.
type TalkLine struct {
	Seq  uint64
	From string // "resident", "office", "system"
	Name string // of the operator
	Text string
	File *TalkFile
	At   time.Time
}

// TalkFile is a file in a message.
type TalkFile struct {
	Name  string // as its writer called it; ""
	Path  string // on this server, that this resident may fetch
	Image bool
	Bytes int64
}
