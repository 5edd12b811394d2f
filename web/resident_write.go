package web

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"yingda/internal/pii"
)

const (
	maxUpload   = 80 << 20 // of a letter with its photos
	maxPhoto    = 12 << 20 // of one photo
	maxPhotos   = 6
	maxText     = 4000 // characters, of a letter
	maxPlace    = 300
	uploadLasts = 10 * time.Minute // somebody at the edge of a network sends six photos
	uploads     = 12               // at once: what their photos may fill of a disk
)

// letter is what was typed so far. It is nowhere but in the form.
type letter struct {
	Key, Text, Place, Phone string
	NoPhone                 bool
}

// step names in their order; without photos the last is not there.
func (g *guest) letterSteps() []string {
	if g.f.Photos > 0 {
		return []string{"text", "place", "phone", "send"}
	}
	return []string{"text", "place", "phone"}
}

func (g *guest) letterPage(status int, l letter, step, fault string) error {
	g.form, g.action = "step", "/r/write"
	g.keeps()
	steps := g.letterSteps()
	g.steps = len(steps)
	for i, s := range steps {
		if s == step {
			g.step = i + 1
		}
	}
	back := "form"
	if step == "text" {
		back = "/r/"
	}
	head := g.T("res.write." + step)
	return g.page(status, back, head, resLetter(g, l, step, fault))
}

func (g *guest) letterOf(field func(string) string) letter {
	l := letter{Key: field("key"), Text: strings.ReplaceAll(field("text"), "\r", ""), Place: field("place"), Phone: field("phone"), NoPhone: field("nophone") != ""}
	if len(l.Key) != 24 || strings.Trim(l.Key, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
		l.Key = newKey()
	}
	return l
}

// wrong is the first step whose answer will not do, and why; "" when all will.
func (g *guest) wrong(l letter, upTo string) (step, why string) {
	for _, s := range g.letterSteps() {
		switch s {
		case "text":
			switch n := utf8.RuneCountInString(l.Text); {
			case strings.TrimSpace(l.Text) == "":
				return s, g.T("res.fault.no_text")
			case n > maxText:
				return s, g.T("res.fault.long", maxText, n-maxText)
			}
		case "place":
			if n := utf8.RuneCountInString(l.Place); n > maxPlace {
				return s, g.T("res.fault.long", maxPlace, n-maxPlace)
			}
		case "phone":
			switch {
			case l.NoPhone:
			case strings.TrimSpace(l.Phone) == "":
				return s, g.T("res.fault.no_number.letter")
			case phone(l.Phone).IsZero():
				return s, g.T("res.fault.number")
			}
		}
		if s == upTo {
			break
		}
	}
	return "", ""
}

// letterStep takes an answer and asks the next question, or goes back to an earlier one.
func (g *guest) letterStep() error {
	l := g.letterOf(g.r.PostForm.Get)
	step, steps := g.r.PostForm.Get("step"), g.letterSteps()
	at := 0
	for i, s := range steps {
		if s == step {
			at = i
		}
	}
	step = steps[at]
	if g.look() {
		return g.letterPage(http.StatusOK, l, step, "")
	}
	switch what := g.r.PostForm.Get("go"); {
	case what == "back":
		return g.letterPage(http.StatusOK, l, steps[max(0, at-1)], "")
	case strings.HasPrefix(what, "change:"):
		for _, s := range steps {
			if what == "change:"+s {
				return g.letterPage(http.StatusOK, l, s, "")
			}
		}
		return g.letterPage(http.StatusOK, l, step, "")
	case step == "phone":
		l.NoPhone = what == "nophone"
	}
	if bad, why := g.wrong(l, step); bad != "" {
		return g.letterPage(http.StatusUnprocessableEntity, l, bad, why)
	}
	if at+1 < len(steps) {
		return g.letterPage(http.StatusOK, l, steps[at+1], "")
	}
	if g.trapped() {
		return g.letterPage(http.StatusUnprocessableEntity, l, step, g.T("res.fault.trap"))
	}
	return g.handIn(l, nil, "")
}

// letterSend takes the last page with its photos as they come: fields first, then each photo into a file of its own that is gone when the answer is out.
func (g *guest) letterSend() error {
	select {
	case g.srv.uploads <- struct{}{}:
		defer func() { <-g.srv.uploads }()
	case <-g.ctx().Done():
		return nil
	}
	_ = http.NewResponseController(g.w).SetReadDeadline(time.Now().Add(uploadLasts)) // not every writer has one
	form, err := g.r.MultipartReader()
	if err != nil { // without photos a form may come plain
		return g.letterStep()
	}
	fields := map[string]string{}
	var photos []Upload
	defer func() {
		for _, p := range photos {
			if f, ok := p.Body.(*os.File); ok {
				_ = f.Close()
			}
		}
	}()
	why, total := "", 0
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			why = "broken"
			if errors.As(err, new(*http.MaxBytesError)) {
				why = "size"
			}
			break
		}
		if part.FileName() == "" {
			raw, err := io.ReadAll(io.LimitReader(part, maxBody))
			if total += len(raw); err == nil && total < 2*maxBody && part.FormName() != "photo" {
				fields[part.FormName()] = string(raw)
			}
			continue
		}
		p, bad, err := spool(part)
		switch {
		case err != nil && bad == "":
			status, say := g.trouble("keep a photo", err)
			return g.letterPage(status, g.letterOf(func(k string) string { return fields[k] }), "send", say)
		case bad != "":
			why = bad
		case p.Size == 0 && p.Name == "": // nothing was chosen
		case len(photos) == min(maxPhotos, g.f.Photos):
			why = "many"
			_ = p.Body.(*os.File).Close()
		default:
			photos = append(photos, p)
		}
	}
	g.r.PostForm = map[string][]string{}
	for k, v := range fields {
		g.r.PostForm.Set(k, v)
	}
	l := g.letterOf(g.r.PostForm.Get)
	if g.trapped() {
		return g.letterPage(http.StatusUnprocessableEntity, l, "send", g.T("res.fault.trap"))
	}
	return g.handIn(l, photos, why)
}

// spool puts a photo into a file that has no name any more. bad is why it cannot be taken.
func spool(part *multipart.Part) (u Upload, bad string, err error) {
	f, err := os.CreateTemp("", "yingda-photo-*")
	if err != nil {
		_, _ = io.Copy(io.Discard, part)
		return u, "", err
	}
	_ = os.Remove(f.Name())
	wire := &wire{r: part}
	n, err := io.Copy(f, io.LimitReader(wire, maxPhoto+1))
	if err == nil && n > maxPhoto {
		bad = "size"
		_, err = io.Copy(io.Discard, wire)
	}
	if wire.err != nil {
		bad = "broken"
		if errors.As(wire.err, new(*http.MaxBytesError)) {
			bad = "size"
		}
	}
	if err == nil && bad == "" {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil || bad != "" {
		_ = f.Close()
		return u, bad, err
	}
	return Upload{Name: part.FileName(), Size: n, Body: f}, "", nil
}

// wire tells a connection that failed from a disk that did.
type wire struct {
	r   io.Reader
	err error
}

func (w *wire) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}

// photoFault is the sentence about a photo that cannot be taken.
func (g *guest) photoFault(p PhotoError, names []Upload) string {
	key := "res.fault.photo." + p.Why
	if !g.t.Has(key) {
		key = "res.fault.photo.broken"
	}
	if p.Index >= 0 && p.Index < len(names) && len(names) > 1 {
		return g.T("res.fault.photo.which", p.Index+1) + g.T(key)
	}
	return g.T(key)
}

// handIn gives the letter to the office. Whatever goes wrong, the page comes back with all that was typed.
func (g *guest) handIn(l letter, photos []Upload, photoWhy string) error {
	last := g.letterSteps()[len(g.letterSteps())-1]
	if bad, why := g.wrong(l, ""); bad != "" {
		return g.letterPage(http.StatusUnprocessableEntity, l, bad, why)
	}
	if photoWhy != "" {
		return g.letterPage(http.StatusUnprocessableEntity, l, last, g.photoFault(PhotoError{-1, photoWhy}, nil))
	}
	number := pii.Phone{}
	costs := []cost{{g.srv.c.Limits.LettersPerAddress, "letter from", g.address()}}
	if !l.NoPhone {
		number = phone(l.Phone)
		costs = append(costs, cost{g.srv.c.Limits.LettersPerNumber, "letter of", number.National().Reveal()})
	}
	fault, back := g.spend(costs...)
	if fault != "" {
		return g.letterPage(http.StatusTooManyRequests, l, last, fault)
	}
	// The same letter sent twice is one; one that was changed after it had been taken is another.
	mac := hmac.New(sha256.New, []byte(l.Key))
	_, _ = fmt.Fprintf(mac, "%q %q %q", l.Text, l.Place, number.Reveal())
	for _, p := range photos {
		_, _ = fmt.Fprintf(mac, " %q %d", p.Name, p.Size)
	}
	receipt, err := g.srv.o.Residents.Write(g.ctx(), Letter{Key: l.Key + "." + hex.EncodeToString(mac.Sum(nil)[:8]), Line: g.f.Line, Text: pii.NewText(strings.TrimSpace(prose(l.Text))),
		Place: pii.NewAddress(prose(l.Place)), Number: number, Photos: photos, Address: g.srv.c.From(g.r)})
	var photo PhotoError
	switch {
	case errors.Is(err, ErrNumber):
		return g.letterPage(http.StatusUnprocessableEntity, l, "phone", g.T("res.fault.number"))
	case errors.As(err, &photo):
		return g.letterPage(http.StatusUnprocessableEntity, l, last, g.photoFault(photo, photos))
	case err != nil:
		back()
		status, say := g.trouble("write", err)
		return g.letterPage(status, l, last, say)
	}
	g.print = true
	g.w.Header().Set("Clear-Site-Data", `"cache"`) // the pages that going back would show hold what was typed, and the machine may be a library's
	return g.page(http.StatusOK, "", g.T("res.receipt.head"), resReceipt(g, receipt, number))
}
