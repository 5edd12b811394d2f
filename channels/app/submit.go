package app

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/pii"
)

// What a submission may hold.
const (
	mostText    = 4000 // characters; that of Open311's description
	mostAddress = 300
	mostName    = 60
	mostPhotos  = 6
	mostDetails = 30
	mostKey     = 255
)

// said is what was said, as the row keeps it: in clear.
type said struct {
	intake.PersonalJSON
	Details     []saidDetail        `json:"details,omitempty"`
	Attachments []intake.Attachment `json:"attachments,omitempty"`
}

type saidDetail struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Submit takes a submission. It is durable when the error is nil, and the same Key again gives the same Receipt. Errors: *Invalid (written
// down as rejected_invalid), ErrConflict, ErrLater, ErrClosed, the context's.
func (s *Server) Submit(ctx context.Context, sub Submission) (Receipt, error) {
	return s.submit(ctx, sub, nil)
}

// submit is Submit, for a submission in which something was found wrong already.
func (s *Server) submit(ctx context.Context, sub Submission, already []Field) (Receipt, error) {
	sub, fields := s.tidy(sub)
	if len(fields) > 0 && fields[0].Name == "key" {
		return Receipt{}, &Invalid{Fields: fields} // there is no way to write it down once
	}
	held, wrong, err := hold(sub.Photos)
	if err != nil {
		return Receipt{}, err
	}
	defer held.drop()
	fields = append(append(already, fields...), wrong...)
	body := contentOf(sub, held)
	key := digest("key", sub.Token, sub.Key)
	leave, err := s.enter(ctx, key)
	if err != nil {
		return Receipt{}, err
	}
	defer leave()

	if len(fields) == 0 && len(held) > 0 {
		// Known already? Then the pictures, which are dear, need not be looked at again. (Without pictures the clerk finds out.)
		if have, err := s.claimOf(ctx, key); err == nil {
			return s.again(ctx, have, body)
		} else if !errors.Is(err, ErrNotFound) {
			return Receipt{}, s.later("look for the key", err)
		}
	}
	c := s.claim(sub, key, body)
	if len(fields) == 0 {
		list, wrong, err := s.attach(ctx, c.at, held)
		if err != nil {
			return Receipt{}, err
		}
		fields, c.said.Attachments = wrong, list
	}
	if len(fields) > 0 {
		return Receipt{}, s.reject(ctx, c, fields)
	}
	have, err := s.settle(ctx, c)
	if err != nil {
		return Receipt{}, err // its claim may be there and name the photos; if not, the sweeper finds them
	}
	if have.contact != c.contact { // another process had the same key at the same moment
		s.drop(c.said.Attachments)
		return s.again(ctx, have, body)
	}
	s.config.Changed()
	return have.given(false), nil
}

// enter waits until nobody else is at work under that key.
func (s *Server) enter(ctx context.Context, key string) (leave func(), err error) {
	for {
		s.mu.Lock()
		if s.closed {
			s.mu.Unlock()
			return nil, ErrClosed
		}
		other := s.flying[key]
		if other == nil {
			mine := &flight{make(chan struct{})}
			s.flying[key] = mine
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.flying, key)
				s.mu.Unlock()
				close(mine.landed)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-other.landed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// again answers for a key that is known.
func (s *Server) again(ctx context.Context, have claim, body string) (Receipt, error) {
	if have.body != body {
		return Receipt{}, ErrConflict
	}
	if !have.seen { // whether its events reached the log is not known: a crash may have come between
		if err := s.append(ctx, have); err != nil {
			return Receipt{}, err
		}
	}
	return have.given(true), nil
}

// reject writes down what cannot be accepted, once for each content, and says what is wrong. The key stays free for the mended submission.
func (s *Server) reject(ctx context.Context, c claim, fields []Field) error {
	var codes []string
	for _, f := range fields {
		codes = append(codes, f.Name+"_"+f.Code)
	}
	c.key = digest("rejected", c.key, c.body)
	c.receipt, c.code, c.outcome, c.reason, c.state = "", "", intake.RejectedInvalid, cut(strings.Join(codes, " "), 200), Rejected
	c.said.Attachments = nil
	have, err := s.settle(ctx, c)
	if err != nil {
		return err
	}
	return &Invalid{Fields: fields, Contact: have.contact}
}

// settle makes a claim durable, then its events. The claim it gives is the one that holds, which may be older.
func (s *Server) settle(ctx context.Context, c claim) (claim, error) {
	have, err := s.clerk.write(ctx, c)
	if err != nil {
		return claim{}, s.later("claim", err)
	}
	if f := s.config.test.afterClaim; f != nil {
		if err := f(); err != nil {
			return claim{}, err
		}
	}
	if have.contact != c.contact && have.seen {
		return have, nil
	}
	return have, s.append(ctx, have)
}

// append writes the events of a claim. They are the same each time, so what the log has it passes over.
func (s *Server) append(ctx context.Context, c claim) error {
	err := s.config.Log.Append(ctx, s.events(c)...)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, intake.ErrInvalid):
		return fmt.Errorf("app: %w", err)
	case errors.Is(err, stream.ErrClosed):
		return ErrClosed
	}
	return s.later("log", err)
}

func (s *Server) later(what string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrClosed) {
		return err
	}
	s.slog.Error("a submission cannot be written down now", "what", what, "err", err)
	return fmt.Errorf("%w: %s: %w", ErrLater, what, err)
}

// events of a claim: offered, its photos, ended.
func (s *Server) events(c claim) []intake.Event {
	personal := c.said.Conceal()
	token := s.config.Caller(personal.Number)
	partition := string(token)
	if partition == "" {
		partition = string(c.contact)
	}
	personal.Text = pii.NewText(c.said.words())
	var list []intake.Event
	say := func(data intake.Data, p intake.Personal) {
		list = append(list, intake.Event{Source: s.config.Source, Subject: c.contact.Subject(), Sequence: intake.NewSequence(c.epoch, uint32(len(list)+1)),
			Time: c.at, PartitionKey: partition, Data: data, Personal: p})
	}
	say(&intake.OfferedV1{Channel: intake.App, Line: c.line, Switchboard: s.config.Switchboard, Caller: token, Origin: c.origin, Dedupe: "app/" + c.key, Category: c.category}, personal)
	if len(c.said.Attachments) > 0 {
		say(&intake.MessageV1{Number: 1, From: "resident", Attachments: c.said.Attachments}, intake.Personal{})
	}
	by := intake.ByResident
	if c.outcome != intake.Accepted {
		by = intake.ByUs
	}
	say(&intake.EndedV1{Outcome: c.outcome, Reason: c.reason, By: by}, intake.Personal{})
	return list
}

// words are the text with what else was said below it, so that whoever works on it reads all.
func (s said) words() string {
	var b strings.Builder
	b.WriteString(s.Text)
	for _, d := range s.Details {
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(d.Name)
		b.WriteString("：")
		b.WriteString(d.Value)
	}
	return b.String()
}

// claim makes the claim of a submission that is tidy. What was refused is kept as far as it fits.
func (s *Server) claim(sub Submission, key, body string) claim {
	at := s.now()
	c := claim{contact: intake.ContactID(s.config.NewID()), key: key, body: body, receipt: drawReceipt(), token: sub.Token, origin: sub.Origin, line: sub.Line,
		category: sub.Category, outcome: intake.Accepted, epoch: s.config.Epoch, at: at, changed: at, state: Received}
	c.said.PersonalJSON = intake.Personal{Number: sub.Number, Name: sub.Name, Address: sub.Address, Text: sub.Text, Place: sub.Place}.Reveal()
	for _, d := range sub.Details {
		c.said.Details = append(c.said.Details, saidDetail{d.Name, d.Value.Reveal()})
	}
	if n := c.said.Number; len(n) >= 4 {
		c.code = n[len(n)-4:]
	} else {
		c.code, c.drawn = drawCode(), true
	}
	return c
}

// tidy cleans what people and apps send, and says what is wrong. What is too long comes back cut, so that it can be written down.
func (s *Server) tidy(sub Submission) (Submission, []Field) {
	var wrong []Field
	say := func(name, code, detail string) { wrong = append(wrong, Field{name, code, detail}) }
	if n := len(sub.Key); n == 0 || n > mostKey || strings.ContainsFunc(sub.Key, func(r rune) bool { return r < 0x20 || r == 0x7f }) {
		return sub, []Field{{"key", "required", "Give each submission an idempotency key of 1 to 255 characters, a random UUID for instance, and send it again with the same one."}}
	}
	limit := func(name, text string, most int) string {
		if n := utf8.RuneCountInString(text); n > most {
			say(name, "too_long", fmt.Sprintf("%s has %d characters; shorten it to at most %d.", name, n, most))
			return string([]rune(text)[:most])
		}
		return text
	}
	text := limit("text", clean(sub.Text.Reveal(), true), mostText)
	if text == "" && len(sub.Photos) == 0 {
		say("text", "required", "Say in text what the matter is, or send a photo.")
	}
	sub.Text = pii.NewText(text)
	sub.Address = pii.NewAddress(limit("address", clean(sub.Address.Reveal(), false), mostAddress))
	sub.Name = pii.NewName(limit("name", clean(sub.Name.Reveal(), false), mostName))
	sub.Number = sub.Number.National()
	if p := sub.Place; p != nil {
		switch {
		case math.IsNaN(p.Lat) || math.IsInf(p.Lat, 0) || p.Lat < -90 || p.Lat > 90:
			say("position/lat", "out_of_range", "lat is in degrees, from -90 to 90.")
			sub.Place = nil
		case math.IsNaN(p.Lon) || math.IsInf(p.Lon, 0) || p.Lon < -180 || p.Lon > 180:
			say("position/lon", "out_of_range", "lon is in degrees, from -180 to 180.")
			sub.Place = nil
		}
	}
	if n := sub.Number; !n.IsZero() && !callable(n) {
		say("phone", "not_a_number", "A phone number has 5 to 15 digits; leave it out when there is none.")
		sub.Number = pii.Phone{}
	}
	if sub.Category != "" {
		if _, ok := s.service(sub.Category); !ok {
			say("category", "unknown", "There is no such category; /api/v1/services lists them. Leave it out when none fits.")
			sub.Category = ""
		}
	}
	if sub.Line == "" {
		sub.Line = s.config.Line
	} else if !s.config.Lines(sub.Line) {
		say("line", "unknown", "There is no such line.")
		sub.Line = s.config.Line
	}
	if n := len(sub.Photos); n > mostPhotos {
		say("photos", "too_many", fmt.Sprintf("%d photos came; send at most %d.", n, mostPhotos))
		sub.Photos = sub.Photos[:mostPhotos]
	}
	if len(sub.Details) > mostDetails {
		say("details", "too_many", fmt.Sprintf("Send at most %d further answers.", mostDetails))
		sub.Details = sub.Details[:mostDetails]
	}
	details := make([]Detail, 0, len(sub.Details))
	for _, d := range sub.Details {
		d.Name, d.Value = cut(clean(d.Name, false), mostName), pii.NewText(limit(d.Name, clean(d.Value.Reveal(), true), 1000))
		if d.Name != "" && !d.Value.IsZero() {
			details = append(details, d)
		}
	}
	sub.Details = details
	if sub.Origin = cut(clean(sub.Origin, false), 120); sub.Origin == "" {
		sub.Origin = "page"
	}
	return sub, wrong
}

// callable says whether that can be a telephone number.
func callable(n pii.Phone) bool {
	d := strings.TrimPrefix(n.Reveal(), "+")
	return len(d) >= 5 && len(d) <= 15 && !strings.ContainsAny(d, "*#")
}

// clean takes out what has no business in what people write: control characters, marks that turn the direction of writing (they
// make a list show something else than is there), bytes that are no text. With lines, line breaks and tabs stay.
func clean(s string, lines bool) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			if lines {
				return r
			}
			return ' '
		case r == '\u2028' || r == '\u2029':
			return ' '
		case unicode.IsControl(r), r >= '\u202a' && r <= '\u202e', r >= '\u2066' && r <= '\u2069', r == '\u200e', r == '\u200f', r == '\ufeff':
			return -1
		}
		return r
	}, strings.ReplaceAll(s, "\r\n", "\n"))
	return strings.TrimSpace(s)
}

// cut shortens to at most n bytes, between characters.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// contentOf is a digest of what a submission says: the same however it was written (order of members, boundary of the parts).
func contentOf(sub Submission, held held) string {
	h := sha256.New()
	part(h, sub.Text.Reveal(), sub.Address.Reveal(), sub.Number.Reveal(), sub.Name.Reveal(), sub.Category, string(sub.Line))
	if p := sub.Place; p != nil {
		part(h, strconv.FormatFloat(p.Lat, 'g', -1, 64), strconv.FormatFloat(p.Lon, 'g', -1, 64))
	}
	for _, d := range sub.Details {
		part(h, "detail", d.Name, d.Value.Reveal())
	}
	for _, p := range held {
		part(h, "photo", string(p.sum))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// digest of several words, none of which can run into the next.
func digest(words ...string) string {
	h := sha256.New()
	part(h, words...)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func part(h hash.Hash, words ...string) {
	for _, w := range words {
		_, _ = fmt.Fprintf(h, "%d:", len(w))
		_, _ = io.WriteString(h, w)
	}
}

func (s *Server) service(code string) (Service, bool) {
	for _, v := range s.config.Services() {
		if v.Code == code {
			return v, true
		}
	}
	return Service{}, false
}

func (s said) marshal() (string, error) {
	raw, err := json.Marshal(s)
	return string(raw), err
}

func sinceMidnight(now time.Time, zone *time.Location) time.Time {
	y, m, d := now.In(zone).Date()
	return time.Date(y, m, d, 0, 0, 0, 0, zone)
}
