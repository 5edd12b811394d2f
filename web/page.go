package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/a-h/templ"

	"yingda/internal/users"
)

// page is a shell around one part, which may be sent again whenever something changed.
type page struct {
	path  string // "/unreturned": GET gives the page, GET /live/unreturned its stream
	deed  users.Deed
	nav   string                                                         // key of the main page that it belongs to
	title func(*visit) string                                            // of the window
	part  func(context.Context, *visit) (string, templ.Component, error) // what it shows now, and its title if that depends on it
	bones func(*visit) templ.Component                                   // its skeleton while it is being read
	fault func(*visit, error) templ.Component                            // what it says when it cannot be read; nil: the usual sentence
	every time.Duration                                                  // sent again at least so often, for what grows older; 0: sent once
	tv    bool
	frame func(v *visit, title string, part templ.Component) templ.Component // around it; nil: the usual one
}

func (s *Server) page(p page) {
	s.add(route{pattern: "GET " + p.path, deed: p.deed, do: func(v *visit) error { return s.show(v, p) }})
	s.add(route{pattern: "GET /live" + p.path, deed: p.deed, quiet: true, do: func(v *visit) error { return s.stream(v, p) }})
}

// show renders a page. What takes longer than Slow follows by the stream.
func (s *Server) show(v *visit, p page) error {
	v.nav = p.nav
	address := "/live" + v.r.URL.EscapedPath()
	if q := withoutSaid(v.r.URL.Query()); q != "" {
		address += "?" + q
	}
	if p.every > 0 {
		v.live = address
	}
	type got struct {
		title string
		part  templ.Component
		err   error
	}
	ready := make(chan got, 1)
	go func() {
		var g got
		defer func() {
			if r := recover(); r != nil {
				g.err = fmt.Errorf("panic: %v", r)
			}
			ready <- g
		}()
		g.title, g.part, g.err = p.part(v.ctx(), v)
	}()
	slow := time.NewTimer(s.c.Slow)
	defer slow.Stop()
	g, status := got{}, http.StatusOK
	select {
	case g = <-ready:
		if g.err != nil {
			if final(g.err) {
				return g.err
			}
			s.c.Log.Error("a page could not be read", "route", "GET "+p.path, "err", g.err)
			status, g.part = http.StatusServiceUnavailable, p.failed(v, g.err)
			v.live = address // it comes by itself when it can be read again
		}
	case <-slow.C:
		v.live, g.part = address, p.bones(v)
	case <-v.ctx().Done():
		return nil
	}
	if g.title == "" {
		g.title = p.title(v)
	}
	shell := shell(v, g.title, g.part)
	if p.tv {
		shell = wallShell(v, g.title, g.part)
	} else if p.frame != nil {
		shell = p.frame(v, g.title, g.part)
	}
	return v.render(status, shell)
}

// final errors are no trouble with reading: they have a page of their own.
func final(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.As(err, new(Refusal)) || errors.Is(err, users.ErrUnknown)
}

func (p page) failed(v *visit, err error) templ.Component {
	if p.fault != nil {
		return p.fault(v, err)
	}
	return unread(v, p.nav)
}

// render writes a whole page, which is made before the first byte goes out: it is whole or an error.
func (v *visit) render(status int, c templ.Component) error {
	var b bytes.Buffer
	if err := c.Render(v.ctx(), &b); err != nil {
		return err
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(b.Bytes())
	return nil
}

// stream sends the part of a page again whenever it has changed, a beat each second so that the page knows it is heard, and looks every
// few seconds whether the session still stands.
func (s *Server) stream(v *visit, p page) error {
	v.nav = p.nav
	out := http.NewResponseController(v.w)
	h := v.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("X-Accel-Buffering", "no")
	v.w.WriteHeader(http.StatusOK)
	send := func(event, data string) error {
		_ = out.SetWriteDeadline(time.Now().Add(10 * time.Second)) // not every writer has one
		if _, err := fmt.Fprintf(v.w, "event: %s\ndata: %s\n\n", event, strings.NewReplacer("\r", "", "\n", "\ndata: ").Replace(data)); err != nil {
			return err
		}
		return out.Flush()
	}
	changed, stop := s.o.Live.Changed()
	defer stop()
	beat := time.NewTicker(time.Second)
	defer beat.Stop()
	var last [32]byte
	failing, beats, due := false, 0, true
	var next time.Time // a part is not made more often than every 150 ms, and takes at most a quarter of the time
	for {
		if due && !time.Now().Before(next) {
			due = false
			began := time.Now()
			v.now = s.c.Now()
			html, err := s.partOnce(v, p)
			next = began.Add(max(150*time.Millisecond, 4*time.Since(began)))
			if err == nil || !failing {
				if sum := sha256.Sum256(html); sum != last {
					last = sum
					if send("part", string(html)) != nil {
						return nil
					}
				}
			}
			failing = err != nil
			if p.every == 0 && !failing {
				return send("end", "")
			}
		}
		select {
		case <-changed:
			due = true
			if wait := time.Until(next); wait > 0 { // gather what comes close together
				select {
				case <-time.After(wait):
				case <-v.ctx().Done():
					return nil
				case <-s.stop:
					return nil
				}
			}
		case <-beat.C:
			beats++
			if failing || (p.every > 0 && beats%max(1, int(p.every/time.Second)) == 0) {
				due = true
			}
			if beats%4 == 0 {
				if now, err := s.c.Users.Session(v.ctx(), v.secret, true); errors.Is(err, users.ErrNoSession) || (err == nil && !now.May(p.deed)) {
					_ = send("bye", "")
					return nil
				}
			}
			if send("beat", "") != nil {
				return nil
			}
		case <-v.ctx().Done():
			return nil
		case <-s.stop:
			return nil
		}
	}
}

// partOnce gives the part's HTML, or the HTML that says why it cannot be read, and the error.
func (s *Server) partOnce(v *visit, p page) ([]byte, error) {
	_, c, err := p.part(v.ctx(), v)
	if err != nil {
		if v.ctx().Err() == nil {
			s.c.Log.Warn("a live part could not be read", "route", p.path, "err", err)
		}
		c = p.failed(v, err)
	}
	var b bytes.Buffer
	if e := c.Render(v.ctx(), &b); e != nil {
		return nil, errors.Join(err, e)
	}
	return b.Bytes(), err
}

// say is a page with one sentence: what happened, what is not lost, and what to do.
func (s *Server) say(v *visit, status int, key, sentence string) {
	if v.s.ID == "" || v.s.Wall {
		s.bareWords(v, status, key)
		return
	}
	if err := v.render(status, shell(v, v.T(key+".head"), sentencePage(v, key, sentence))); err != nil {
		s.bareWords(v, status, key)
	}
}

// bare is a page for somebody of whom nothing is known, or when making a page has failed.
func (s *Server) bare(w http.ResponseWriter, r *http.Request, status int, key string) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		problem(w, status, http.StatusText(status), s.visit(w, r).T(key+".text"))
		return
	}
	s.bareWords(s.visit(w, r), status, key)
}

func (s *Server) bareWords(v *visit, status int, key string) {
	if err := v.render(status, bareShell(v, v.T(key+".head"), sentencePage(v, key, ""))); err != nil {
		http.Error(v.w, http.StatusText(status), status)
	}
}

// nowhere is every address that we do not have.
func (s *Server) nowhere(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		problem(w, http.StatusNotFound, "not found", "There is no such resource. See GET /api/v1/contacts and GET /api/v1/books.")
		return
	}
	s.bare(w, r, http.StatusNotFound, "error.not_found")
}

// sameToken compares the session's CSRF token with the one that came in the form or, from our script, in a header.
func sameToken(want string, r *http.Request) bool {
	got := r.Header.Get("X-CSRF")
	if got == "" {
		got = r.PostFormValue("csrf")
	}
	return want != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
}

func withoutSaid(q url.Values) string { q.Del("said"); return q.Encode() }

func queryEscape(s string) string { return url.QueryEscape(s) }

func pathEscape(s string) string { return url.PathEscape(s) }
