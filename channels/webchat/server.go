package webchat

import (
	"context"
	"io"
	"net/http"
	"time"

	"yingda/channels/chat"
	"yingda/intake/stream"
	"yingda/internal/store"
)

// Server is the edge of all conversations of one board.
type Server struct{}

// New makes one. Nothing goes to the board before Restore or the first request.
func New(ctx context.Context, c Config) (*Server, error) { panic("not yet") }

// Group is the name under which Apply reads the stream.
const Group = "chat"

// Apply brings about the effect of records in the tables: the consumer of group "chat" runs it in the transaction that also keeps its position.
func (s *Server) Apply(ctx context.Context, tx *store.Tx, records []stream.Record) error {
	panic("not yet")
}

// Restore gives what the last run left open to the board (Config.Send), after Apply has caught up and before anybody connects. The contacts that it names
// are not interrupted: whoever ends what else was open leaves them out.
func (s *Server) Restore(ctx context.Context) ([]string, error) { panic("not yet") }

// Do carries out what the board wants (all but ToQueue and Write), on the loop's goroutine. It never waits.
func (s *Server) Do(now time.Time, effects ...chat.Effect) { panic("not yet") }

// Residents is the door for residents' browsers, to be mounted under /chat/: GET ws, POST files, GET files/<id>.
func (s *Server) Residents() http.Handler { panic("not yet") }

// Desk is the door for operators' desks, to be mounted under /desk/chat/: GET ws, POST files/<contact>, GET files/<contact>/<id>.
func (s *Server) Desk() http.Handler { panic("not yet") }

// Start begins a conversation. It returns when it is written down (or when the disk did not take it in time: then it goes on unwritten).
// Errors: ErrRefused (with the conversation's state in it, see Refusal), ErrTooMany, ErrKey, ErrNumber.
func (s *Server) Start(ctx context.Context, r StartRequest) (Session, error) { panic("not yet") }

// Post writes a message for the resident. It returns its number when it is durable. The same key again is the same message. Files are ids that Upload gave.
// Errors: ErrToken, ErrOver, ErrText, ErrKey, ErrFile, ErrTooMany, ErrLater.
func (s *Server) Post(ctx context.Context, token, key, text string, files []string) (int, error) {
	panic("not yet")
}

// History is the conversation as it stands, with the messages after that number. It tells the board that the resident was there just now.
// Errors: ErrToken.
func (s *Server) History(ctx context.Context, token string, after int) (Page, error) {
	panic("not yet")
}

// LeaveNumber leaves a number to be called back on; call: and call me rather than let me wait, which ends the conversation.
// Also after its end. Errors: ErrToken, ErrNumber, ErrLater.
func (s *Server) LeaveNumber(ctx context.Context, token, number, name string, call bool) error {
	panic("not yet")
}

// End ends it for the resident. Ending what has ended is no error. Errors: ErrToken.
func (s *Server) End(ctx context.Context, token string) error { panic("not yet") }

// Upload takes a file that a message will name. Type and size are judged by its bytes; pictures are made anew, without what a camera writes into them.
// Errors: ErrToken, ErrOver, ErrFile, ErrTooMany.
func (s *Server) Upload(ctx context.Context, token string, r io.Reader) (File, error) {
	panic("not yet")
}

// OpenFile gives a file of the resident's own conversation. Errors: ErrToken, ErrFile.
func (s *Server) OpenFile(ctx context.Context, token, id string) (File, []byte, error) {
	panic("not yet")
}

// Allow says whether a page of that origin may use the chat; the widget's page asks before it shows anything.
func (s *Server) Allow(origin, host string) bool { panic("not yet") }

// Read is a conversation as staff sees it, live or long over, with the messages after that number. Errors: ErrForbidden, ErrToken when there is none.
func (s *Server) Read(ctx context.Context, who Staff, contact string, after int) (Page, error) {
	panic("not yet")
}

// Accept, Decline, SayAs, HandOver and EndAs are what an operator does at a desk that has no WebSocket. Errors: ErrForbidden, ErrNotYours, ErrOver,
// ErrToken when there is none; of SayAs those of Post.
func (s *Server) Accept(ctx context.Context, who Staff, contact, offer string) error {
	panic("not yet")
}

// Decline: see Accept.
func (s *Server) Decline(ctx context.Context, who Staff, contact, offer string) error {
	panic("not yet")
}

// SayAs: see Accept.
func (s *Server) SayAs(ctx context.Context, who Staff, contact, key, text string, files []string) (int, error) {
	panic("not yet")
}

// HandOver hands it to another operator, or with to "" back to the queue: see Accept.
func (s *Server) HandOver(ctx context.Context, who Staff, contact, to string) error { panic("not yet") }

// EndAs: see Accept.
func (s *Server) EndAs(ctx context.Context, who Staff, contact string) error { panic("not yet") }

// Offers lists what the operator is asked to take now, and Mine what they have: for a desk that has no WebSocket, and for the desk's first page.
func (s *Server) Offers(who Staff) []Out { panic("not yet") }

// Mine: see Offers.
func (s *Server) Mine(who Staff) []Out { panic("not yet") }

// Close ends every connection with 1012: they come back to the next start.
func (s *Server) Close(ctx context.Context) error { panic("not yet") }
