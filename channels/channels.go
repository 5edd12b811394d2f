// Package channels holds the words of everything that residents write: a message of a conversation, a submission handed in at once,
// and the files beside either.
//
// A conversation is kept by package chat (pure) and carried by an edge (package webchat); a submission comes by package app. Both become
// events of package intake; these types are what edges and pages hand to one another.
//
// What it does not do: it opens no connection, keeps nothing and decides nothing.
package channels

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"yingda/intake"
	"yingda/internal/pii"
)

// Resident is who writes a message when it is no operator: what intake.MessageV1.From says.
const Resident = "resident"

// Message is one message of a conversation.
type Message struct {
	Number int    // in the conversation, from 1, with a gap only where another node took it over: what stands before the gap may come late
	Key    string // the id that its writer gave it; the same again in this conversation is the same message
	From   string // Resident, or the id of the operator who wrote it
	At     time.Time
	Text   pii.Text
	Files  []File
}

// ByResident says whether the resident wrote it.
func (m Message) ByResident() bool { return m.From == Resident }

// File is a file beside a message or a submission. Its bytes lie sealed in a store.
type File struct {
	ID     string // UUIDv7
	Type   string // media type as sniffed from its bytes, never as claimed: image/jpeg, image/png, application/pdf …
	Size   int64  // bytes, as kept
	SHA256 string // of what is kept, hex
	Width  int    // pixels of a picture, else 0
	Height int
	Name   pii.Text // as its writer called it, with the ending of its type; empty when it had none. It is kept beside the bytes and is in no event
}

// Picture says whether a browser may show it in the page.
func (f File) Picture() bool { return strings.HasPrefix(f.Type, "image/") }

// Attachment is how an event names a file.
func (f File) Attachment() intake.Attachment {
	return intake.Attachment{ID: f.ID, Type: f.Type, Size: f.Size, SHA256: f.SHA256}
}

// Submission is a matter that is handed in at once, not in a conversation.
type Submission struct {
	Key     string // idempotency key: the same again is the same submission
	Line    intake.LineID
	Text    pii.Text
	Address pii.Address
	Place   *intake.Place
	Number  pii.Phone
	Name    pii.Name
	Files   []File
}

// Caller is what the office knows about the person behind a number; the zero value: no number, nothing known.
type Caller struct {
	Token   intake.Token // HMAC of the number; empty when there is none
	Known   string       // id of the resident's card
	Older   bool         // known as an older resident
	Blocked bool         // on the line's list of blocked callers
	Failed  time.Time    // when we last failed them, zero when we owe them nothing
}

// Errors of a text.
var (
	ErrEmpty = errors.New("channels: nothing is written")
	ErrLong  = errors.New("channels: the text is too long")
)

// Clean makes of what came in from outside what may be kept: valid UTF-8, without control characters but line breaks and tabs, lines
// ended by \n, at most limit characters (0: no limit), no white space around it. ErrEmpty when nothing is left, ErrLong when it is more.
func Clean(text string, limit int) (string, error) {
	if limit > 0 && len(text) > limit*utf8.UTFMax*2 { // not worth reading
		return "", fmt.Errorf("%w: more than %d characters", ErrLong, limit)
	}
	text = strings.ToValidUTF8(text, "\uFFFD")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return r
		case r == '\r' || r == '\u2028' || r == '\u2029':
			return '\n'
		case unicode.IsControl(r), r == '\uFEFF', r >= '\u202A' && r <= '\u202E', r >= '\u2066' && r <= '\u2069':
			return -1 // nothing that turns the direction of what stands beside it
		}
		return r
	}, text)
	text = strings.TrimSpace(text)
	if text == "" {
		return "", ErrEmpty
	}
	if limit > 0 && utf8.RuneCountInString(text) > limit {
		return "", fmt.Errorf("%w: more than %d characters", ErrLong, limit)
	}
	return text, nil
}

// KeyFits says whether a key that came from outside may be kept: 1 to 64 letters, digits, - and _.
func KeyFits(key string) bool {
	if key == "" || len(key) > 64 {
		return false
	}
	for _, c := range []byte(key) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
