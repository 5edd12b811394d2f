package wire

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"reflect"
	"time"

	"yingda/intake"
	"yingda/internal/jsonform"
)

// The personal part is sealed with AES-256-GCM (NIST SP 800-38D). The key is HKDF-SHA256 (RFC 5869) of the month's secret with
// the subject as info, so that a month can be forgotten by destroying one secret and one subject's key can be handed out
// without another's. The nonce is random; a key seals the events of one subject in one month, far from where random nonces get
// near each other. The event's id is authenticated beside, so a box can't be moved to another event.

const (
	sealVersion = "v1"
	monthLayout = "2006-01"
)

var strict = base64.StdEncoding.Strict()

var personalShape = shapeOf(reflect.TypeFor[intake.PersonalJSON]())

// derivation makes the keys of one month. The first half of HKDF and the states of its HMAC are the same for all of them and take most of the time, so they are kept
// while they are used, as is the last key itself, since a contact's events come close together; the collector forgets them soon after.
type derivation struct {
	secret  []byte
	mac     hash.Hash
	subject intake.Subject
	box     cipher.AEAD // of subject
}

func (c *Codec) boxOf(secret []byte, subject intake.Subject) (cipher.AEAD, error) {
	d, _ := c.derivations.Get().(*derivation)
	if d == nil || subtle.ConstantTimeCompare(d.secret, secret) == 0 {
		prk, err := hkdf.Extract(sha256.New, secret, nil)
		if err != nil {
			return nil, err
		}
		d = &derivation{secret: bytes.Clone(secret), mac: hmac.New(sha256.New, prk)}
	}
	defer c.derivations.Put(d)
	if d.box != nil && d.subject == subject {
		return d.box, nil
	}
	// Expand to as much as the hash gives at once is one HMAC of the info and a 1 (RFC 5869, §2.3).
	d.mac.Reset()
	io.WriteString(d.mac, string(subject))
	d.mac.Write([]byte{1})
	var room [sha256.Size]byte
	block, err := aes.NewCipher(d.mac.Sum(room[:0]))
	if err != nil {
		return nil, err
	}
	box, err := cipher.NewGCM(block)
	if err == nil {
		d.subject, d.box = subject, box
	}
	return box, err
}

// seal gives the personal part of e as it stands in data, nil when there is none.
func (c *Codec) seal(e intake.Event, id string) ([]byte, error) {
	empty := e.Personal.IsZero() && len(e.Extra.Personal) == 0
	switch {
	case e.Forgotten() && !empty:
		return nil, form("%s has a personal part both sealed and in clear", id)
	case e.Forgotten():
		if !jsonform.Valid(e.Sealed) {
			return nil, form("%s has a sealed part that is no JSON", id)
		}
		return e.Sealed, nil
	case empty:
		return nil, nil
	}
	clear, err := clearPersonal(e)
	if err != nil {
		return nil, err
	}
	month := e.Time.UTC().Format(monthLayout)
	secret, err := c.keys.Month(month)
	if err != nil {
		return nil, fmt.Errorf("wire: no secret of %s to seal %s with: %w", month, id, err)
	}
	aead, err := c.boxOf(secret, e.Subject)
	if err != nil {
		return nil, fmt.Errorf("wire: seal %s: %w", id, err)
	}
	sealed := make([]byte, aead.NonceSize(), aead.NonceSize()+len(clear)+aead.Overhead())
	if _, err := io.ReadFull(c.random, sealed); err != nil {
		return nil, fmt.Errorf("wire: seal %s: %w", id, err)
	}
	sealed = aead.Seal(sealed, sealed, clear, []byte(id))
	out := make([]byte, 0, 64+base64.StdEncoding.EncodedLen(len(sealed)))
	out = append(out, `{"sealed":"v1","month":"`...)
	out = append(out, month...)
	out = append(out, `","box":"`...)
	out = base64.StdEncoding.AppendEncode(out, sealed)
	return append(out, `"}`...), nil
}

func clearPersonal(e intake.Event) ([]byte, error) {
	clear, err := json.Marshal(e.Personal.Reveal())
	if err != nil {
		return nil, form("the personal part of %s cannot be written", e.ID())
	}
	return personalShape.join(clear, e.Extra.Personal)
}

// open reads the sealed personal part raw into e. What it can't open stays in e.Sealed.
func (c *Codec) open(e *intake.Event, raw []byte) error {
	var room [8]member
	list, err := membersInto(room[:0], raw)
	if err != nil {
		return form("data.personal: %w", err)
	}
	var version, month, box string
	texts, sealed := 0, false
	for _, m := range list {
		text, err := unquote(m.value)
		if err != nil {
			continue
		}
		texts++
		switch m.name {
		case "sealed":
			version, sealed = text, true
		case "month":
			month = text
		case "box":
			box = text
		}
	}
	if !sealed {
		return form("data.personal is in clear")
	}
	shut := func() error { // it stays as it is
		e.Sealed = compact(raw)
		return nil
	}
	if version != sealVersion || len(list) != 3 || texts != 3 {
		return shut() // by a newer writer: not for us to read
	}
	if _, err := time.Parse(monthLayout, month); err != nil {
		return shut() // Keys may make what it is asked for, so it is asked for months only
	}
	sealedBytes, err := strict.DecodeString(box)
	if err != nil {
		return shut()
	}
	secret, err := c.keys.Month(month)
	if errors.Is(err, intake.ErrLater) {
		return fmt.Errorf("wire: secret of %s: %w", month, err)
	}
	if err != nil {
		return shut()
	}
	aead, err := c.boxOf(secret, e.Subject)
	if err != nil || len(sealedBytes) < aead.NonceSize() {
		return shut()
	}
	nonce, shutBytes := sealedBytes[:aead.NonceSize()], sealedBytes[aead.NonceSize():]
	clear, err := aead.Open(shutBytes[:0], nonce, shutBytes, []byte(e.ID()))
	if err != nil {
		return shut() // another secret than ours, or a box of another event: whoever it is about, we can't tell
	}
	return readPersonal(e, clear)
}

// readPersonal reads a personal part in clear. Its errors do not repeat it.
func readPersonal(e *intake.Event, clear []byte) error {
	if !jsonform.Valid(clear) || clear[jsonform.Space(clear, 0)] != '{' {
		return form("data.personal is no object")
	}
	var room [8]member
	list, err := membersInto(room[:0], clear)
	if err != nil {
		return form("data.personal has a member twice")
	}
	var p intake.PersonalJSON
	var extra map[string]json.RawMessage
	if !personalFilling.fill(list, &p) {
		p, extra = intake.PersonalJSON{}, map[string]json.RawMessage{}
		known, err := personalShape.split(clear, "", extra)
		if err != nil {
			return form("data.personal has a member twice")
		}
		if json.Unmarshal(known, &p) != nil {
			return form("data.personal has a member of the wrong kind")
		}
	}
	e.Personal = p.Conceal()
	if len(extra) > 0 {
		e.Extra.Personal = extra
	}
	if p.Number != "" && e.Personal.Number.IsZero() {
		return errNumber
	}
	return nil
}

var errNumber = form("data.personal.number is not a telephone number")
