package webchat

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"yingda/channels"
	"yingda/channels/chat"
	"yingda/intake"
	"yingda/internal/pii"
	"yingda/internal/store"
)

// Config of a Server. What has no default must be set.
type Config struct {
	DB     *store.DB
	Dir    string                                          // folder of the files beside messages, made when there is none
	Key    func(id string, made time.Time) ([]byte, error) // 32 bytes that seal a file, from the secret of the month in which it was made
	Secret []byte                                          // 32 bytes that stay the same over restarts: tokens are made with it
	Send   func(chat.Input)                                // to the board's loop; must not wait
	Now    func() time.Time                                // nil: time.Now, UTC
	NewID  func() string                                   // nil: UUIDv7

	Line    func(intake.LineID) (Line, bool)                                           // a line as it is now; "" is the default line
	Caller  func(ctx context.Context, n pii.Phone, line intake.LineID) channels.Caller // what the office knows of a number; Token "" when it cannot be called
	Origins func() []string                                                            // other sites that may use the chat: "https://www.example.gov.cn", or "https://*.example.gov.cn". Our own host always may; nil: no other
	Address func(*http.Request) netip.Addr                                             // of the client; nil: RemoteAddr
	Staff   func(*http.Request) (Staff, error)                                         // who is signed in; ErrNobody, or another error when that cannot be known now; nil: nobody
	Named   func(intake.UserID) string                                                 // what residents see of an operator; nil: "坐席"
	AtDesk  func(op intake.UserID, there bool)                                         // told when an operator's first desk connects and when the last has been gone for 20 s; must not wait; may be nil
	Logger  *slog.Logger                                                               // nil: slog.Default

	// OthersBefore: epochs before this one were another node's, whose last words may come late. Conversations that come from them go on with a gap in
	// the numbers. 0: all were ours, and we know everything. To be on the safe side it may be the epoch of this run whenever there are several nodes.
	OthersBefore uint32

	Limits  Limits
	Metrics Metrics
}

// Line is what the edge must know of a line.
type Line struct {
	ID     intake.LineID
	Name   string
	Number string    // to be phoned instead
	Closed bool      // out of its hours now
	Next   time.Time // when people are there again, zero: unknown or open
}

// Staff is who is signed in at a desk.
type Staff struct {
	User   intake.UserID
	Desk   bool // may be offered conversations
	SeeAny bool // may read conversations that are not theirs
}

// Limits. Zero takes the default.
type Limits struct {
	Connections int           // of residents at once; 10,000
	PerAddress  int           // of residents at once from one address (IPv6: /64); 60: an office or a campus shares one
	Starts      int           // conversations begun from one address in an hour; 120
	Frames      int           // a second and connection, bursts of five times that; 20
	Messages    int           // a minute and conversation by the resident; 60
	FrameBytes  int64         // 32 KiB
	Text        int           // characters of a message; 4,000
	Files       int           // beside one message; 6
	FileBytes   int64         // 10 MiB as uploaded
	ChatBytes   int64         // of all files of one conversation; 60 MiB
	Uploads     int           // at once, in all; 4: a picture of Pixels takes some 160 MB while it is decoded
	Pixels      int           // of a picture; 40 million
	Outbox      int           // frames waiting for one connection; 512
	Ping        time.Duration // 25 s
	Hello       time.Duration // for the first frame; 10 s
}

// Metrics are told what happened; each may be nil and must not wait.
type Metrics struct {
	Connections func(n int)              // of residents and desks, now
	Delivered   func(took time.Duration) // from a message's arrival to its place in the other side's outbox
	Refused     func(why string)         // origin, address, token, frame, flood, slow, file
}

// Errors of the functions that pages call. Sentence gives what a person is told.
var (
	ErrToken     = errors.New("webchat: no such conversation, or the token is not its own")
	ErrOver      = errors.New("webchat: the conversation has ended")
	ErrRefused   = errors.New("webchat: no conversation can begin now")
	ErrTooMany   = errors.New("webchat: more than a conversation, or an address, may have")
	ErrText      = errors.New("webchat: nothing is written, or too much")
	ErrKey       = errors.New("webchat: a key has 1 to 64 letters, digits, - and _; that of a conversation at least 16")
	ErrNumber    = errors.New("webchat: no number that can be called")
	ErrFile      = errors.New("webchat: the file is of no kind that is taken, too large, or damaged")
	ErrNotYours  = errors.New("webchat: another operator has it")
	ErrLater     = errors.New("webchat: it could not be written down yet; send it again")
	ErrForbidden = errors.New("webchat: not allowed")
	ErrNobody    = errors.New("webchat: nobody is signed in")
)

// StartRequest begins a conversation.
type StartRequest struct {
	Key     string // chosen once by the browser or page: the same again is the same conversation. At least 16 characters that nobody guesses
	Line    intake.LineID
	Origin  string // page or site by which it came
	Number  string // may be empty
	Name    string
	Address netip.Addr
}

// Session is a resident's hold on their conversation.
type Session struct {
	Token   string // the credential: for the cookie, the header or the hello frame; never for a link
	Contact intake.ContactID
}

// Page is a conversation as it stands.
type Page struct {
	State    State
	Messages []Message // after the number that was asked for
}
