// Package wire turns an event into bytes and back: CloudEvents 1.0 as JSON, with all that names or describes a person sealed.
//
// Whoever keeps or carries events makes one Codec, with New and the secrets of the months, and calls Encode and Decode. It may
// be used by many at once. An event looks like this (one line in truth):
//
//	{"specversion":"1.0","id":"contact/019…/0000000100000001","source":"yingda/a","type":"contact.offered.v1",
//	 "subject":"contact/019…","time":"2026-11-24T08:00:00.000Z","datacontenttype":"application/json",
//	 "dataschema":"urn:yingda:schema:contact.offered.v1","partitionkey":"…","sequence":"0000000100000001",
//	 "data":{"channel":"phone", …, "personal":{"sealed":"v1","month":"2026-11","box":"…"}}}
//
// What a newer version added (members of the envelope, of data, of the personal part, whole types) is kept in Extra and
// written again as it was. An older version of a type is lifted by its Upcaster when it is read. Schema gives the JSON
// Schema of each type, for other systems and for what we let in ourselves: DecodeClear reads an event whose personal
// part is in clear, as an import brings it, and checks it against that schema.
//
// What it does not do: it keeps no secret and no event, and it doesn't decide who may read. It signs nothing but the
// personal part: who can write into the log can write any event.
package wire

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"yingda/intake"
	"yingda/internal/pii"
)

// Keys gives the secret (32 bytes or more) of a month, "2006-01" in UTC.
//
// An error says that there is none, because it was destroyed or never was ours: such an event can't be sealed, and is read
// without its personal part (intake.Event.Sealed). An error that wraps intake.ErrLater says that it could not be looked up at
// this moment: Decode then hands the error on, so that a reader tries again rather than go on without the words.
type Keys interface {
	Month(month string) ([]byte, error)
}

// ErrForm is wrapped by every error about bytes that are not an event of ours. Such an error never repeats a person's data.
var ErrForm = errors.New("wire: not an event")

// Upcaster lifts the data of one version of a type to the next: it changes the members of data in place (personal is not among
// them) and says what type they now are.
type Upcaster func(data map[string]json.RawMessage) (intake.Type, error)

// upcasters are those of our own catalogue, for ever: one for each version that is no longer written.
var upcasters = map[intake.Type]Upcaster{}

// Codec turns events into bytes and back. It is safe for use by many at once.
type Codec struct {
	keys      Keys
	random    io.Reader
	upcasters map[intake.Type]Upcaster

	derivations sync.Pool // of *derivation, whatever month

	mu       sync.Mutex
	compiled map[intake.Type]*jsonschema.Schema // those that DecodeClear has needed; to compile all would take 30 ms of every start
}

// Option changes a codec that is being made.
type Option func(*Codec)

// WithUpcaster reads events of the type from by way of up, besides those of the catalogue.
func WithUpcaster(from intake.Type, up Upcaster) Option {
	return func(c *Codec) { c.upcasters[from] = up }
}

// New makes a codec that seals and opens with the given secrets.
func New(keys Keys, options ...Option) *Codec {
	c := &Codec{keys: keys, random: rand.Reader, upcasters: maps.Clone(upcasters),
		compiled: map[intake.Type]*jsonschema.Schema{}}
	for _, o := range options {
		o(c)
	}
	return c
}

// Token is how events speak of a caller without the number: HMAC-SHA256 of the number as it is written within the country, cut
// to 128 bits, base64url, 22 characters. Empty when there is no number. The secret is one for all nodes and never
// changes, since a caller with two tokens would be two callers.
func Token(secret []byte, number pii.Phone) intake.Token {
	national := number.National()
	if national.IsZero() {
		return ""
	}
	mac := hmac.New(sha256.New, secret)
	io.WriteString(mac, national.Reveal())
	return intake.Token(base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16]))
}

func form(text string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrForm, fmt.Errorf(text, args...))
}
