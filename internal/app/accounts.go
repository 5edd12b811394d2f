package app

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	door "yingda/channels/app"
	"yingda/intake"
	"yingda/internal/lines"
	"yingda/internal/users"
)

// FirstAccount makes the administrator at the very first start and prints the one-time password.
func (s *Store) FirstAccount(ctx context.Context, w io.Writer) error {
	password, err := s.users.First(ctx)
	if err != nil || password == "" {
		return err
	}
	_, err = fmt.Fprintf(w, "First start. Sign in as admin with the one-time password %s; it is shown only here.\n", password)
	return err
}

// ErrArgument says that what was asked for cannot be meant, whatever is kept: a role or a key that there is not.
var ErrArgument = errors.New("not so")

// MakeToken makes an API token; the secret is given once.
func (s *Store) MakeToken(ctx context.Context, name, role string, good time.Duration) (string, error) {
	r := users.Role(role)
	if !slices.Contains(users.TokenRoles(), r) {
		return "", fmt.Errorf("%w: %q is no role: one of %s, %s", ErrArgument, role, roleList(), users.App)
	}
	secret, t, err := s.users.MakeToken(ctx, name, r, s.now().Add(good), "")
	if err != nil {
		return "", err
	}
	return secret, s.wrote(ctx, "account", t.ID, &intake.AccountChangedV1{Token: t.ID, What: intake.TokenMade, Role: role})
}

// AppKey is what a token of role app may do and where its webhook goes.
type AppKey = door.Key

// MakeAppToken makes a token for an app that hands in submissions, with its limits and its webhook. Both secrets are given once; that of the webhook
// is "" without one.
func (s *Store) MakeAppToken(ctx context.Context, name string, good time.Duration, k AppKey) (secret, hook string, err error) {
	if err := k.Check(); err != nil {
		return "", "", fmt.Errorf("%w: %w", ErrArgument, err)
	}
	if k.Line != "" {
		if _, err := s.ledger.Get(ctx, k.Line); err != nil {
			return "", "", fmt.Errorf("%w: there is no line %q; yingda lines names them", ErrArgument, k.Line)
		}
	}
	secret, t, err := s.users.MakeToken(ctx, name, users.App, s.now().Add(good), "")
	if err != nil {
		return "", "", err
	}
	k.Token = t.ID
	hook, err = door.SaveKey(ctx, s.DB, k, s.now())
	return secret, hook, err
}

func roleList() string {
	var list []string
	for _, r := range users.Roles() {
		list = append(list, string(r))
	}
	return strings.Join(list, ", ")
}

// CreateUser makes an account and gives its one-time password.
func (s *Store) CreateUser(ctx context.Context, login, name, role string, grids []string) (string, error) {
	if !users.Role(role).Valid() {
		return "", fmt.Errorf("%w: %q is no role: one of %s", ErrArgument, role, roleList())
	}
	f := users.Fresh{Login: login, Name: name, Role: users.Role(role)}
	if f.Name == "" {
		f.Name = login
	}
	for _, g := range grids {
		f.Grids = append(f.Grids, intake.GridID(g))
	}
	u, password, err := s.users.Create(ctx, f)
	if err != nil {
		return "", err
	}
	return password, s.noted(ctx, u.ID, intake.AccountMade, role)
}

// ListUsers prints the accounts.
func (s *Store) ListUsers(ctx context.Context, w io.Writer) error {
	list, err := s.users.List(ctx)
	if err != nil {
		return err
	}
	for _, u := range list {
		state := "open"
		if u.Disabled {
			state = "disabled"
		}
		if _, err := fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", u.Login, u.Role, state, u.Name); err != nil {
			return err
		}
	}
	return nil
}

// ResetUser gives an account a new one-time password.
func (s *Store) ResetUser(ctx context.Context, login string) (string, error) {
	return by(ctx, s, login, func(ctx context.Context, id intake.UserID) (string, error) {
		password, err := s.users.Reset(ctx, id)
		if err != nil {
			return "", err
		}
		return password, s.noted(ctx, id, intake.AccountReset, "")
	})
}

// DisableUser closes an account, EnableUser opens it again.
func (s *Store) DisableUser(ctx context.Context, login string) error {
	_, err := by(ctx, s, login, func(ctx context.Context, id intake.UserID) (struct{}, error) {
		if err := s.users.Disable(ctx, id); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.noted(ctx, id, intake.AccountDisabled, "")
	})
	return err
}

func (s *Store) EnableUser(ctx context.Context, login string) error {
	_, err := by(ctx, s, login, func(ctx context.Context, id intake.UserID) (struct{}, error) {
		if err := s.users.Enable(ctx, id); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, s.noted(ctx, id, intake.AccountEnabled, "")
	})
	return err
}

// NewPhone makes SIP credentials for an operator's phone: "USER SECRET", given once.
func (s *Store) NewPhone(ctx context.Context, login string) (string, error) {
	return by(ctx, s, login, func(ctx context.Context, id intake.UserID) (string, error) {
		d, secret, err := s.users.NewDevice(ctx, id)
		if err != nil {
			return "", err
		}
		return d.SIPUser + " " + secret, s.noted(ctx, id, intake.AccountPhone, "")
	})
}

// noted writes down what the command line did to an account.
func (s *Store) noted(ctx context.Context, id intake.UserID, what, role string) error {
	return s.wrote(ctx, "account", string(id), &intake.AccountChangedV1{User: id, What: what, Role: role})
}

func by[T any](ctx context.Context, s *Store, login string, f func(context.Context, intake.UserID) (T, error)) (T, error) {
	u, err := s.users.ByLogin(ctx, login)
	if err != nil {
		var none T
		return none, fmt.Errorf("%s: %w", login, err)
	}
	return f(ctx, u.ID)
}

// Lines gives the ledger.
func (s *Store) Lines(ctx context.Context) ([]lines.Line, error) { return s.ledger.All(ctx) }

// SetLine makes or changes a line: keys are those of its JSON form.
func (s *Store) SetLine(ctx context.Context, id string, set map[string]string) (lines.Line, error) {
	line, err := s.ledger.Get(ctx, intake.LineID(id))
	if err != nil {
		line = lines.Line{Line: intake.Line{ID: intake.LineID(id), Name: id, Number: id, Switchboard: s.Config.switchboard()}, Numbers: []string{id}, Hours: "24h"}
	}
	raw, err := json.Marshal(line)
	if err != nil {
		return line, err
	}
	m := map[string]any{}
	if err := json.Unmarshal(raw, &m); err != nil {
		return line, err
	}
	// What was left out of the JSON because it is zero may be set all the same: the type knows its keys.
	var known map[string]any
	full, _ := json.Marshal(lines.Line{Dialect: "x", Early: true, NoRecording: true, NoMessages: true, MaxWaitS: 1, MaxQueue: 1, RingS: 1, ShortAbandon: 1, FirstSaidS: 1, FirstOfferS: 1, Shown: "x", Retired: true})
	if err := json.Unmarshal(full, &known); err != nil {
		return line, err
	}
	for k, v := range set {
		kind, ok := known[k]
		if !ok || k == "id" {
			keys := make([]string, 0, len(known))
			for n := range known {
				keys = append(keys, n)
			}
			sort.Strings(keys)
			return line, fmt.Errorf("%w: %q is nothing that a line has: %s", ErrArgument, k, strings.Join(keys, ", "))
		}
		switch kind.(type) {
		case bool:
			b, err := strconv.ParseBool(v)
			if err != nil {
				return line, fmt.Errorf("%w: %s=%s: true or false", ErrArgument, k, v)
			}
			m[k] = b
		case float64:
			n, err := strconv.Atoi(v)
			if err != nil {
				return line, fmt.Errorf("%w: %s=%s: a whole number", ErrArgument, k, v)
			}
			m[k] = n
		case string:
			m[k] = v
		default:
			m[k] = strings.Split(v, ",")
		}
	}
	if raw, err = json.Marshal(m); err != nil {
		return line, err
	}
	var changed lines.Line
	if err := json.Unmarshal(raw, &changed); err != nil {
		return line, err
	}
	return changed, s.ledger.Save(ctx, s.now(), "", changed)
}
