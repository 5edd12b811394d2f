package web

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/a-h/templ"

	"yingda/intake"
	"yingda/internal/users"
)

func asField(err error, f *FieldError) bool { return errors.As(err, f) }

func (s *Server) lineRoutes() {
	s.page(page{
		path: "/lines", deed: users.SeeLines, nav: "lines",
		title: func(v *visit) string { return v.T("lines.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			list, err := s.o.Lines.List(ctx)
			return "", lineList(v, list), err
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
	s.page(page{
		path: "/lines/{id}", deed: users.ManageLines, nav: "lines",
		title: func(v *visit) string { return v.T("lines.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			l, err := s.o.Lines.One(ctx, intake.LineID(v.r.PathValue("id")))
			return "", lineForm(v, l, false, FieldError{}), err
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
	s.add(route{pattern: "GET /new/line", deed: users.ManageLines, do: func(v *visit) error {
		v.nav = "lines"
		return v.render(http.StatusOK, shell(v, v.T("lines.new"), lineForm(v, LineRow{Hours: "24h", Line: intake.Line{Switchboard: "main"}}, true, FieldError{})))
	}})
	s.add(route{pattern: "POST /new/line", deed: users.ManageLines, do: func(v *visit) error { return s.saveLine(v, true) }})
	s.add(route{pattern: "POST /lines/{id}", deed: users.ManageLines, do: func(v *visit) error { return s.saveLine(v, false) }})
}

func (s *Server) saveLine(v *visit, isNew bool) error {
	f := v.r.PostForm
	l := LineRow{Line: intake.Line{ID: intake.LineID(v.field("id", 40)), Name: v.field("name", 60), Number: v.field("number", 40),
		Switchboard: intake.SwitchboardID(v.field("switchboard", 40)), Owner: v.field("owner", 60)},
		Numbers: strings.FieldsFunc(v.field("numbers", 400), func(r rune) bool { return strings.ContainsRune(" ,，、;；\n\r\t", r) }),
		Hours:   v.field("hours", 1000), Shown: v.field("shown", 40), Notice: f.Get("notice") != "", NoRecording: f.Get("recording") == "",
		NoMessages: f.Get("messages") == "", Retired: f.Get("retired") != ""}
	if !isNew {
		l.ID = intake.LineID(v.r.PathValue("id"))
	}
	var fault FieldError
	number := func(name string, low, high int) int {
		text := v.field(name, 8)
		if text == "" {
			return 0
		}
		n, err := strconv.Atoi(text)
		if err != nil || (n != 0 && (n < low || n > high)) {
			fault = FieldError{name, v.T("lines.number", low, high)}
		}
		return n
	}
	l.MaxWait = time.Duration(number("max_wait", 10, 7200)) * time.Second
	l.MaxQueue = number("max_queue", 1, 10000)
	l.Ring = time.Duration(number("ring", 5, 120)) * time.Second
	l.ShortAbandon = time.Duration(number("short_abandon", 1, 60)) * time.Second
	switch {
	case l.ID == "" || strings.ContainsAny(string(l.ID), " /\t"):
		fault = FieldError{"id", v.T("lines.id.wrong")}
	case l.Name == "":
		fault = FieldError{"name", v.T("lines.name.wrong")}
	case len(l.Numbers) == 0:
		fault = FieldError{"numbers", v.T("lines.numbers.wrong")}
	}
	if fault.Field == "" {
		err := s.o.Lines.Save(v.ctx(), v.viewer(), l, isNew)
		if err == nil {
			return v.back("/lines", "line")
		}
		if !errors.As(err, &fault) {
			return err
		}
	}
	v.nav = "lines"
	return v.render(http.StatusUnprocessableEntity, shell(v, v.T("lines.title"), lineForm(v, l, isNew, fault)))
}

// once is a secret that is shown this one time.
type once struct {
	What, Who, Secret string
}

func (s *Server) userRoutes() {
	s.page(page{
		path: "/users", deed: users.ManageUsers, nav: "users",
		title: func(v *visit) string { return v.T("users.title") },
		part: func(ctx context.Context, v *visit) (string, templ.Component, error) {
			list, tokens, err := s.accounts(ctx)
			return "", userList(v, list, tokens, once{}, FieldError{}, users.Fresh{}), err
		},
		bones: func(v *visit) templ.Component { return bones(v) },
	})
	s.add(route{pattern: "POST /users", deed: users.ManageUsers, do: func(v *visit) error {
		f := v.fresh()
		f.Login = v.field("login", 32)
		u, password, err := s.c.Users.Create(v.ctx(), f)
		switch {
		case errors.Is(err, users.ErrTaken):
			return s.accountsAgain(v, once{}, FieldError{"login", v.T("users.taken")}, f)
		case errors.Is(err, users.ErrInvalid):
			return s.accountsAgain(v, once{}, FieldError{"login", v.T("users.invalid")}, f)
		case err != nil:
			return err
		}
		s.c.Log.Info("account made", "by", v.s.ID, "user", u.ID, "role", u.Role)
		if err := s.noted(v, intake.AccountChangedV1{User: u.ID, What: intake.AccountMade, Role: string(u.Role)}); err != nil {
			return err
		}
		return s.accountsAgain(v, once{"users.once.password", u.Login, password}, FieldError{}, users.Fresh{})
	}})
	act := func(name string, do func(*visit, users.User) error) {
		s.add(route{pattern: "POST /users/{id}/" + name, deed: users.ManageUsers, do: func(v *visit) error {
			u, err := s.c.Users.ByID(v.ctx(), intake.UserID(v.r.PathValue("id")))
			if err != nil {
				return err
			}
			err = do(v, u)
			if errors.Is(err, users.ErrLastAdmin) {
				return Refusal{v.T("users.last_admin")}
			}
			if errors.Is(err, users.ErrInvalid) {
				return Refusal{v.T("users.invalid")}
			}
			if err == nil {
				s.c.Log.Info("account changed", "by", v.s.ID, "user", u.ID, "how", name)
			}
			return err
		}})
	}
	act("reset", func(v *visit, u users.User) error {
		password, err := s.c.Users.Reset(v.ctx(), u.ID)
		if err == nil {
			err = s.noted(v, intake.AccountChangedV1{User: u.ID, What: intake.AccountReset})
		}
		if err != nil {
			return err
		}
		return s.accountsAgain(v, once{"users.once.password", u.Login, password}, FieldError{}, users.Fresh{})
	})
	act("phone", func(v *visit, u users.User) error {
		d, secret, err := s.c.Users.NewDevice(v.ctx(), u.ID)
		if err == nil {
			err = s.noted(v, intake.AccountChangedV1{User: u.ID, What: intake.AccountPhone})
		}
		if err != nil {
			return err
		}
		return s.accountsAgain(v, once{"users.once.phone", d.SIPUser, secret}, FieldError{}, users.Fresh{})
	})
	act("disable", func(v *visit, u users.User) error {
		if err := s.c.Users.Disable(v.ctx(), u.ID); err != nil {
			return err
		}
		if err := s.noted(v, intake.AccountChangedV1{User: u.ID, What: intake.AccountDisabled}); err != nil {
			return err
		}
		return v.back("/users", "user")
	})
	act("enable", func(v *visit, u users.User) error {
		if err := s.c.Users.Enable(v.ctx(), u.ID); err != nil {
			return err
		}
		if err := s.noted(v, intake.AccountChangedV1{User: u.ID, What: intake.AccountEnabled}); err != nil {
			return err
		}
		return v.back("/users", "user")
	})
	act("change", func(v *visit, u users.User) error {
		f := v.fresh()
		e := intake.AccountChangedV1{By: v.s.ID, User: u.ID, What: intake.AccountChanged, Role: string(f.Role)}
		if f.Role != u.Role {
			e.Before = string(u.Role)
		}
		if err := s.c.Users.Update(v.ctx(), u.ID, f, s.o.Trail.AccountWith(e)); err != nil {
			return err
		}
		return v.back("/users", "user")
	})
	s.add(route{pattern: "POST /tokens", deed: users.ManageUsers, do: func(v *visit) error {
		role, expires := users.Role(v.r.PostForm.Get("role")), time.Time{}
		if days, err := strconv.Atoi(v.r.PostForm.Get("days")); err == nil && days > 0 && days <= 3650 {
			expires = v.now.AddDate(0, 0, days)
		}
		if !users.May(role, users.ReadAPI) {
			return Refusal{v.T("users.token.role")}
		}
		secret, t, err := s.c.Users.MakeToken(v.ctx(), v.field("name", 40), role, expires, v.s.ID)
		if errors.Is(err, users.ErrInvalid) {
			return Refusal{v.T("users.token.name")}
		}
		if err != nil {
			return err
		}
		s.c.Log.Info("token made", "by", v.s.ID, "token", t.ID, "role", t.Role)
		if err := s.noted(v, intake.AccountChangedV1{Token: t.ID, What: intake.TokenMade, Role: string(t.Role)}); err != nil {
			return err
		}
		return s.accountsAgain(v, once{"users.once.token", t.Name, secret}, FieldError{}, users.Fresh{})
	}})
	s.add(route{pattern: "POST /tokens/{id}/revoke", deed: users.ManageUsers, do: func(v *visit) error {
		if err := s.c.Users.RevokeToken(v.ctx(), v.r.PathValue("id")); err != nil && !errors.Is(err, users.ErrNoToken) {
			return err
		}
		s.c.Log.Info("token revoked", "by", v.s.ID, "token", v.r.PathValue("id"))
		if err := s.noted(v, intake.AccountChangedV1{Token: v.r.PathValue("id"), What: intake.TokenRevoked}); err != nil {
			return err
		}
		return v.back("/users", "user")
	}})
}

// fresh reads name, role and grids of an account's form.
func (v *visit) fresh() users.Fresh {
	f := users.Fresh{Name: v.field("name", 40), Role: users.Role(v.r.PostForm.Get("role")), By: v.s.ID}
	for _, g := range strings.FieldsFunc(v.field("grids", 400), func(r rune) bool { return strings.ContainsRune(" ,，、;；\n\r\t", r) }) {
		f.Grids = append(f.Grids, intake.GridID(g))
	}
	return f
}

func (s *Server) accounts(ctx context.Context) ([]users.User, []users.Token, error) {
	list, err := s.c.Users.List(ctx)
	if err != nil {
		return nil, nil, err
	}
	tokens, err := s.c.Users.Tokens(ctx)
	return list, slices.DeleteFunc(tokens, func(t users.Token) bool { return t.Revoked }), err
}

func (s *Server) accountsAgain(v *visit, o once, fault FieldError, f users.Fresh) error {
	list, tokens, err := s.accounts(v.ctx())
	if err != nil {
		return err
	}
	status := http.StatusOK
	if fault.Field != "" {
		status = http.StatusUnprocessableEntity
	}
	v.nav = "users"
	return v.render(status, shell(v, v.T("users.title"), userList(v, list, tokens, o, fault, f)))
}

// caseAddress is where a case is.
func caseAddress(id intake.CaseID) string { return "/cases/" + url.PathEscape(string(id)) }

func contactAddress(id intake.ContactID) string { return "/contacts/" + url.PathEscape(string(id)) }

func callbackAddress(id intake.CallbackID, act string) string {
	return "/unreturned/" + url.PathEscape(string(id)) + "/" + act
}
