package app

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	door "yingda/channels/app"
	"yingda/intake"
	"yingda/intake/books"
	"yingda/intake/queue"
	"yingda/internal/lines"
	"yingda/internal/pii"
	"yingda/routing/casebook"
	"yingda/web"
)

// byResident is who ended a callback when the resident did it on their own page.
const byResident intake.UserID = "resident"

const (
	photosOfPage = 3
	sameRequest  = time.Minute // a second "call me" of one number within it is the same one: a double click, a page loaded again
)

type residentsView struct{ *view }

// publicLine is the line that what comes by pages and apps belongs to.
func (a *App) publicLine() (lines.Line, bool) {
	all := a.lines.Load()
	if all == nil {
		return lines.Line{}, false
	}
	var found lines.Line
	for _, l := range *all {
		switch {
		case l.Retired:
		case a.Config.Public.Line != "":
			if string(l.ID) == a.Config.Public.Line {
				return l, true
			}
		case found.ID == "":
			found = l
		default:
			for _, n := range l.Numbers {
				if n == "*" {
					found = l
				}
			}
		}
	}
	return found, found.ID != ""
}

// Front says what the hotline is to people at this moment.
func (v residentsView) Front(ctx context.Context) (web.Front, error) {
	now := v.now()
	l, ok := v.publicLine()
	if !ok {
		return web.Front{}, errors.New("residents' pages: there is no line they belong to")
	}
	hours := v.hours(l)
	f := web.Front{Line: l.ID, Number: l.Number, Hours: sayHours(l), Open: hours.Open(now), CallBy: now.Add(v.Config.Books.Due), Tries: v.Config.Books.Tries, Visits: len(v.cases.Registry().Grids()) > 0,
		Owner: web.Said{ZH: l.Owner, EN: l.Owner}, Photos: photosOfPage, Chat: v.Config.Queue.Chats > 0}
	if !f.Open {
		f.Opens = hours.Next(now)
		if f.Opens.After(now) {
			f.CallBy = f.Opens.Add(v.Config.Books.Due)
		}
	}
	if u := v.Config.Public.Urgent; u != "" {
		f.Urgent = web.Said{ZH: u, EN: urgentInEnglish(u)}
	}
	if _, d := v.cases.Decide(casebook.OpenCase{Source: intake.FromSubmission, Channel: intake.App, Line: l.ID}); d.Opens {
		f.ReadBy = d.Deadline
	}
	for _, o := range *v.lines.Load() {
		if o.ID != l.ID && !o.Retired && o.Number != "" {
			f.Others = append(f.Others, web.Published{Name: web.Said{ZH: o.Name, EN: o.Name}, Number: o.Number, Hours: sayHours(o)})
		}
	}
	soon, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	if snap, err := look(soon, v.App, func(time.Time) queue.Snapshot { return v.queue.Snapshot() }); err == nil {
		f.Busy = len(snap.Waiting) > 0
	}
	return f, nil
}

func sayHours(l lines.Line) web.Said {
	h, err := lines.ParseHours(l.Hours)
	if err != nil {
		return web.Said{}
	}
	zh, en := h.Say()
	return web.Said{ZH: zh, EN: en}
}

// urgentInEnglish knows the sentence that comes with the program; an office's own is shown as it is.
func urgentInEnglish(zh string) string {
	if zh == Default().Public.Urgent {
		return "In danger, first dial 110 (police), 119 (fire) or 120 (ambulance)."
	}
	return zh
}

// callable says whether a number that somebody typed can be called: digits enough for one, and none of the short numbers.
func callable(p pii.Phone) bool {
	digits := 0
	for _, r := range p.Reveal() {
		if r >= '0' && r <= '9' {
			digits++
		}
	}
	return digits >= 7 && digits <= 15
}

// CallMe is one contact, ended at once since its resident chose to be called; the books make the callback of it.
func (v residentsView) CallMe(ctx context.Context, a web.CallMe) (web.Promise, error) {
	if !callable(a.Number) {
		return web.Promise{}, web.ErrNumber
	}
	now, line := v.now(), a.Line
	if l, ok := v.publicLine(); ok && line == "" {
		line = l.ID
	}
	token := v.token(a.Number)
	facts, err := v.books.Caller(ctx, token, now)
	if err != nil {
		return web.Promise{}, err
	}
	p := web.Promise{Until: now.Add(v.Config.Books.Due)}
	if facts.Callback != "" {
		owed, err := v.books.Callback(ctx, facts.Callback)
		if err != nil {
			return web.Promise{}, err
		}
		p.Again = true
		if owed.Due.After(now) {
			p.Until = owed.Due
		}
		if now.Sub(facts.LastArrived) < sameRequest {
			return p, nil
		}
	}
	id := intake.ContactID(newID())
	refused := v.residents.Blocked(ctx, token, line, now)
	if err := v.Log.Append(ctx, v.askedToBeCalled(id, a, token, line, now, refused)...); err != nil {
		return web.Promise{}, fmt.Errorf("call me: %w", err)
	}
	v.changes.tell()
	if refused {
		return web.Promise{}, web.ErrFull
	}
	if !p.Again {
		p.Secret = v.callOffSecret(id)
	}
	return p, nil
}

func (v residentsView) askedToBeCalled(id intake.ContactID, a web.CallMe, token intake.Token, line intake.LineID, now time.Time, refused bool) []intake.Event {
	seq := intake.NewSequence(v.Epoch, 0)
	event := func(d intake.Data) intake.Event {
		seq = seq.Next(v.Epoch)
		return intake.Event{Source: v.Source, Subject: id.Subject(), Sequence: seq, Time: intake.Millis(now), PartitionKey: string(token), Data: d}
	}
	offered := event(&intake.OfferedV1{Channel: intake.WebCall, Line: line, Switchboard: v.Config.switchboard(), Caller: token, Origin: "page"})
	offered.Personal = intake.Personal{Number: a.Number}
	if refused {
		return []intake.Event{offered, event(&intake.EndedV1{Outcome: intake.Refused, Reason: "blocked", By: intake.ByUs})}
	}
	return []intake.Event{offered, event(&intake.ChoseV1{Choice: "callback"}), event(&intake.EndedV1{Outcome: intake.CallbackPromised, Reason: "page", By: intake.ByResident})}
}

// callOffSecret is what takes a promise back: the contact, and a proof that we gave it.
func (v residentsView) callOffSecret(id intake.ContactID) string {
	return string(id) + "." + v.proof("call off "+string(id))
}

func (v residentsView) proof(of string) string {
	mac := hmac.New(sha256.New, v.secret)
	mac.Write([]byte(of))
	return hex.EncodeToString(mac.Sum(nil)[:16])
}

// CallOff ends the callback that CallMe made.
func (v residentsView) CallOff(ctx context.Context, secret string) error {
	id, proof, _ := strings.Cut(secret, ".")
	if !hmac.Equal([]byte(proof), []byte(v.proof("call off "+id))) {
		return web.ErrNotFound
	}
	c, err := v.waitForCallback(ctx, intake.ContactID(id))
	if err != nil {
		return err
	}
	err = v.books.CloseCallback(ctx, c, byResident, "asked_not_to")
	v.changes.tell()
	return deedError(err)
}

// waitForCallback is the callback of a contact; the books may be a moment behind the log.
func (v residentsView) waitForCallback(ctx context.Context, id intake.ContactID) (intake.CallbackID, error) {
	for tries := 0; ; tries++ {
		c, err := v.books.Contact(ctx, id)
		if err == nil && c.Callback != "" {
			return c.Callback, nil
		}
		if err != nil && !errors.Is(err, books.ErrNotFound) {
			return "", err
		}
		if tries == 20 {
			return "", web.ErrNotFound
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Write hands a letter in at the same door as the apps'.
func (v residentsView) Write(ctx context.Context, l web.Letter) (web.Receipt, error) {
	s := door.Submission{Key: "page/" + l.Key, Origin: "page", Line: l.Line, Text: l.Text, Address: l.Place, Number: l.Number}
	for _, p := range l.Photos {
		s.Photos = append(s.Photos, door.Photo{Name: p.Name, Body: p.Body})
	}
	r, err := v.door.Submit(ctx, s)
	if err != nil {
		return web.Receipt{}, letterError(err)
	}
	out := web.Receipt{Number: r.Number}
	if r.Drawn {
		out.Code = r.Code
	}
	if _, d := v.cases.Decide(casebook.OpenCase{Source: intake.FromSubmission, Channel: intake.App, Line: l.Line, Words: l.Text, Address: l.Place}); d.Opens {
		out.By = d.Deadline
	}
	return out, nil
}

// letterError puts what the door has against a letter into the page's words.
func letterError(err error) error {
	var wrong *door.Invalid
	if !errors.As(err, &wrong) || len(wrong.Fields) == 0 {
		return err
	}
	f := wrong.Fields[0]
	if index, ok := strings.CutPrefix(f.Name, "photos/"); ok {
		n, _ := strconv.Atoi(index)
		why := map[string]string{"type": "type", "size": "size", "pixels": "size"}[f.Code]
		if why == "" {
			why = "broken"
		}
		return web.PhotoError{Index: n, Why: why}
	}
	if f.Name == "phone" {
		return web.ErrNumber
	}
	return web.FieldError{Field: f.Name, Sentence: f.Detail}
}

// Status of a letter, or of what an app handed in.
func (v residentsView) Status(ctx context.Context, receipt, last4 string) (web.Progress, error) {
	s, err := v.door.Status(ctx, receipt, last4)
	switch {
	case errors.Is(err, door.ErrNotFound):
		return web.Progress{}, web.ErrNotFound
	case errors.Is(err, door.ErrTooOften):
		return web.Progress{}, web.ErrFull
	case err != nil:
		return web.Progress{}, err
	}
	p := web.Progress{State: string(s.State), Plate: v.plate(s.Grid), By: s.Deadline, Closed: s.State == door.Closed}
	switch s.State {
	case door.Received, door.Rejected:
		p.State = "received"
	case door.Routed:
		p.State = "opened"
	}
	if c, ok := v.cases.Rules().Category(s.Category); ok {
		p.Title = c.Name
	}
	if p.Closed {
		p.Answer = s.Answer.Reveal()
	}
	for _, step := range s.Steps {
		p.Steps = append(p.Steps, web.ProgressStep{What: step.What, At: step.At, Is: "did"})
	}
	if n := len(p.Steps); n > 0 && !p.Closed {
		p.Steps[n-1].Is = "now"
		p.Steps = append(p.Steps, web.ProgressStep{What: "closed", Is: "todo"})
	}
	return p, nil
}
