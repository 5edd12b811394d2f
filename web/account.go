package web

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"time"

	"yingda/intake"
	"yingda/internal/users"
	"yingda/web/words"
)

func (s *Server) accountRoutes() {
	s.add(route{pattern: "GET /sign-in", anyone: true, do: func(v *visit) error { return v.signInPage(http.StatusOK, "", "", "") }})
	s.add(route{pattern: "POST /sign-in", anyone: true, do: s.signIn})
	s.add(route{pattern: "POST /sign-out", signedIn: true, do: s.signOut})
	s.add(route{pattern: "GET /password", deed: users.OwnAccount, do: func(v *visit) error { return v.render(http.StatusOK, passwordPage(v, "")) }})
	s.add(route{pattern: "POST /password", deed: users.OwnAccount, do: s.changePassword})
	s.add(route{pattern: "POST /look", anyone: true, do: s.look})
	s.add(route{pattern: "POST /here", signedIn: true, do: func(v *visit) error { v.w.WriteHeader(http.StatusNoContent); return nil }})
}

// home is the page on which a role begins.
func (v *visit) home() string {
	switch {
	case v.s.Wall:
		return "/wall"
	case v.s.MustChange:
		return "/password"
	case v.s.Role == users.Operator:
		return "/me"
	case v.s.Role == users.GridWorker && v.srv.o.Worker != nil:
		return "/grid"
	case v.s.Role == users.GridWorker:
		return "/cases"
	case v.s.Role == users.Auditor:
		return "/contacts"
	}
	return "/unreturned"
}

// preCookie holds the token of the sign-in form: nobody is signed in yet, and still nobody else's page may sign them in.
const preCookie = "yingda-form"

func (v *visit) signInPage(status int, login, fault, next string) error {
	if v.s.ID != "" && fault == "" {
		v.to(v.home())
		return nil
	}
	token := ""
	if c, err := v.r.Cookie(preCookie); err == nil && len(c.Value) == 32 {
		token = c.Value
	} else {
		raw := make([]byte, 24)
		_, _ = rand.Read(raw)
		token = base64.RawURLEncoding.EncodeToString(raw)
		v.srv.setCookie(v.w, preCookie, token, time.Hour)
	}
	if next == "" {
		next = v.r.URL.Query().Get("next")
	}
	return v.render(status, signInForm(v, token, login, fault, local(next, "")))
}

func (s *Server) signIn(v *visit) error {
	f := v.r.PostForm
	login, next := f.Get("login"), f.Get("next")
	if c, err := v.r.Cookie(preCookie); err != nil || len(c.Value) < 32 || subtle.ConstantTimeCompare([]byte(c.Value), []byte(f.Get("csrf"))) != 1 {
		return v.signInPage(http.StatusForbidden, login, v.T("signin.again"), next)
	}
	secret, session, err := s.c.Users.SignIn(v.ctx(), login, f.Get("password"), s.c.From(v.r), v.secret, f.Get("wall") != "")
	var wait users.Throttled
	switch {
	case errors.As(err, &wait):
		return v.signInPage(http.StatusTooManyRequests, login, v.T("signin.wait", v.talk(wait.Wait)), next)
	case errors.Is(err, users.ErrWrong):
		if u, e := s.c.Users.ByLogin(v.ctx(), login); e == nil { // what is no login may be a password, and is nobody's act
			err = s.o.Trail.Signed(v.ctx(), intake.AccountSignedV1{User: u.ID, How: intake.SignInFailed})
			if err != nil {
				s.c.Log.Error("a failed sign-in could not be written down", "user", u.ID, "err", err)
			}
		}
		return v.signInPage(http.StatusUnauthorized, login, v.T("signin.wrong"), next)
	case errors.Is(err, users.ErrDisabled):
		return v.signInPage(http.StatusForbidden, login, v.T("signin.disabled"), next)
	case err != nil:
		return err
	}
	if err := s.o.Trail.Signed(v.ctx(), intake.AccountSignedV1{User: session.ID, How: intake.SignedIn, Wall: session.Wall}); err != nil {
		return errors.Join(fmt.Errorf("a sign-in could not be written down, so it is none: %w", err), s.c.Users.SignOut(v.ctx(), secret))
	}
	age := time.Duration(0) // until the browser is closed; the server ends it earlier
	if session.Wall {
		age = 365 * 24 * time.Hour
	}
	s.setCookie(v.w, preCookie, "", 0)
	s.setCookie(v.w, s.cookieName(), secret, age)
	v.s, v.secret = session, secret
	if session.May(users.OwnDesk) {
		if err := s.o.Desk.Signed(v.ctx(), v.viewer(), true); err != nil {
			s.c.Log.Error("a desk was not told of a sign-in", "user", session.ID, "err", err)
		}
	}
	if session.Wall || session.MustChange {
		next = ""
	}
	v.to(local(next, v.home()))
	return nil
}

func (s *Server) signOut(v *visit) error {
	if v.s.May(users.OwnDesk) {
		if err := s.o.Desk.Signed(v.ctx(), v.viewer(), false); err != nil {
			s.c.Log.Error("a desk was not told of a sign-out", "user", v.s.ID, "err", err)
		}
	}
	if err := s.c.Users.SignOut(v.ctx(), v.secret); err != nil {
		return err
	}
	if err := s.o.Trail.Signed(v.ctx(), intake.AccountSignedV1{User: v.s.ID, How: intake.SignedOut, Wall: v.s.Wall}); err != nil {
		s.c.Log.Error("a sign-out could not be written down", "user", v.s.ID, "err", err) // they are out all the same
	}
	s.setCookie(v.w, s.cookieName(), "", 0)
	clear := `"cache", "storage"`
	if v.s.Role == users.GridWorker && v.r.PostForm.Get("kept") != "" {
		clear = `"cache"` // the phone keeps what it could not send yet; its script has dropped the pages
	}
	v.w.Header().Set("Clear-Site-Data", clear)
	v.to("/sign-in")
	return nil
}

func (s *Server) changePassword(v *visit) error {
	f := v.r.PostForm
	if f.Get("new") != f.Get("again") {
		return v.render(http.StatusUnprocessableEntity, passwordPage(v, v.T("password.differ")))
	}
	must := v.s.MustChange
	err := s.c.Users.ChangePassword(v.ctx(), v.s.ID, f.Get("old"), f.Get("new"), s.c.From(v.r), v.secret)
	var wait users.Throttled
	switch {
	case errors.As(err, &wait):
		return v.render(http.StatusTooManyRequests, passwordPage(v, v.T("signin.wait", v.talk(wait.Wait))))
	case errors.Is(err, users.ErrWrong):
		return v.render(http.StatusUnprocessableEntity, passwordPage(v, v.T("password.wrong")))
	case errors.Is(err, users.ErrWeak):
		return v.render(http.StatusUnprocessableEntity, passwordPage(v, v.T("password.weak")))
	case err != nil:
		return err
	}
	if err := s.noted(v, intake.AccountChangedV1{User: v.s.ID, What: intake.AccountPassword}); err != nil {
		return err
	}
	v.s.MustChange = false
	if must && v.s.May(users.OwnDesk) { // with the one-time password there was no desk yet
		if err := s.o.Desk.Signed(v.ctx(), v.viewer(), true); err != nil {
			s.c.Log.Error("a desk was not told of a sign-in", "user", v.s.ID, "err", err)
		}
	}
	return v.back(v.home(), "password")
}

// noted writes into the audit log what was done to an account, before the answer says so.
func (s *Server) noted(v *visit, e intake.AccountChangedV1) error {
	e.By = v.s.ID
	if err := s.o.Trail.Account(v.ctx(), e); err != nil {
		return fmt.Errorf("account %s was %s, and that could not be written down: %w", e.User, e.What, err)
	}
	return nil
}

// look sets language, theme and, for residents, the size of letters of this browser.
func (s *Server) look(v *visit) error {
	f := v.r.PostForm
	for _, what := range []string{"lang", "theme", "size"} {
		s.setLook(v, what, f.Get(what))
	}
	v.to(local(f.Get("back"), "/"))
	return nil
}

// setLook keeps one choice, and speaks by it from now on.
func (s *Server) setLook(v *visit, what, choice string) {
	const year = 365 * 24 * time.Hour
	switch what + "=" + choice {
	case "lang=en", "lang=zh-Hans":
		v.t = words.Of(choice)
		s.setCookie(v.w, what, choice, year)
	case "theme=dark", "theme=light", "size=standard":
		s.setCookie(v.w, what, choice, year)
	case "theme=auto", "size=elder":
		s.setCookie(v.w, what, "", 0)
	}
}
