// Package users knows the people who work here: who they are, what each may do, and that it is really them.
//
// An account has one role; May(role, deed) is the one table of who may do what. Use, step by step:
//
//	book := users.New(db, users.Config{…})
//	first, err := book.First(ctx)            // no account yet: makes "admin" with a one-time password, to be printed once
//	session, err := book.SignIn(ctx, …)      // argon2id, throttled; the secret goes into the browser's cookie
//	who, err := book.Session(ctx, secret)    // at each request: still valid? who? what is their CSRF token?
//	token, err := book.Token(ctx, secret)    // the same for a program that sends a bearer token
//	device, err := book.Device(ctx, sipUser) // digests with which the registrar checks an operator's phone
//
// Nothing is cached: an account disabled, a password changed or a token made by another process counts at the next
// request. Secrets are kept as digests only: passwords as argon2id, sessions and tokens as SHA-256 of 256 random bits,
// a phone's secret as HA1 (RFC 7616).
//
// What it does not do: it knows no HTTP and no cookie (package web does), it logs nobody's name, and it does not decide
// which of the cases a grid worker sees; it only keeps the list of their grids.
package users

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/google/uuid"

	"yingda/intake"
	"yingda/internal/store"
)

// Errors that a caller can act on. Each is a sentence for the log; package web has one for the person.
var (
	ErrWrong     = errors.New("users: login or password is wrong")
	ErrDisabled  = errors.New("users: account is disabled") // only told to somebody who had the right password
	ErrNoSession = errors.New("users: no such session, or it has ended")
	ErrNoToken   = errors.New("users: no such token, or it has ended")
	ErrUnknown   = errors.New("users: no such account")
	ErrTaken     = errors.New("users: login is taken")
	ErrWeak      = errors.New("users: password must have 10 to 128 characters and differ from the login and the old one")
	ErrInvalid   = errors.New("users: login, name or role is not valid")
	ErrLastAdmin = errors.New("users: the last administrator cannot be disabled or changed")
)

// Throttled is returned by SignIn when too many have failed. Nothing was checked.
type Throttled struct{ Wait time.Duration }

func (t Throttled) Error() string {
	return fmt.Sprintf("users: too many failed sign-ins, wait %s", t.Wait)
}

// Config of a Book. The zero value is usable.
type Config struct {
	Idle     time.Duration    // a session ends after that long without a request; 0: 30 min
	Absolute time.Duration    // and after that long anyway; 0: 12 h
	Realm    string           // of operators' phones (RFC 7616); "": "yingda"
	Now      func() time.Time // nil: time.Now
	Params   Params           // of argon2id; zero: DefaultParams
}

// Book keeps accounts, sessions, tokens and devices. Safe for concurrent use.
type Book struct {
	db     *store.DB
	c      Config
	hashes chan struct{} // bounds how many passwords are hashed at once: each takes memory
	noted  sync.Map      // token → the minute for which its use was noted
	nobody string        // a hash to check against when there is no such account, so that the time tells nothing
}

// New makes a Book on tables that db has brought up to date.
func New(db *store.DB, c Config) *Book {
	if c.Idle <= 0 {
		c.Idle = 30 * time.Minute
	}
	if c.Absolute <= 0 {
		c.Absolute = 12 * time.Hour
	}
	if c.Realm == "" {
		c.Realm = "yingda"
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Params == (Params{}) {
		c.Params = DefaultParams
	}
	return &Book{db: db, c: c, hashes: make(chan struct{}, 2), nobody: c.Params.decoy()}
}

// User is an account. Name is that of a colleague, shown to colleagues in clear.
type User struct {
	ID         intake.UserID
	Login      string
	Name       string
	Role       Role
	Grids      []intake.GridID // a grid worker's own
	MustChange bool            // the password is a one-time one
	Disabled   bool
	Made       time.Time
	Seen       time.Time // last sign-in, zero when never
	SIPUser    string    // of the phone on their desk, "" when there is none
}

// May says whether the account may do that now: what a one-time password opens is only its own change.
func (u User) May(d Deed) bool {
	if u.Disabled || (u.MustChange && d != OwnAccount) {
		return false
	}
	return May(u.Role, d)
}

// Fresh is what is asked for when an account is made or changed.
type Fresh struct {
	Login string // 2 to 32 letters, digits, dot, dash, underscore; kept in lower case. Cannot be changed later
	Name  string // 1 to 40 characters
	Role  Role
	Grids []intake.GridID
	By    intake.UserID // who asks; "" for the command line
}

func (f *Fresh) check() error {
	f.Login = strings.ToLower(strings.TrimSpace(f.Login))
	f.Name = strings.TrimSpace(f.Name)
	if n := len(f.Login); n < 2 || n > 32 {
		return fmt.Errorf("%w: a login has 2 to 32 characters", ErrInvalid)
	}
	for _, r := range f.Login {
		if (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("._-", r) {
			return fmt.Errorf("%w: a login is made of letters a–z, digits, dot, dash and underscore", ErrInvalid)
		}
	}
	if n := utf8.RuneCountInString(f.Name); n < 1 || n > 40 || strings.ContainsFunc(f.Name, unicode.IsControl) {
		return fmt.Errorf("%w: a name has 1 to 40 characters", ErrInvalid)
	}
	if !f.Role.Valid() {
		return fmt.Errorf("%w: %q is no role", ErrInvalid, f.Role)
	}
	return nil
}

// First makes the account "admin" with a one-time password when there is no account at all; else it gives "".
func (b *Book) First(ctx context.Context) (password string, err error) {
	var n int
	if err := b.db.QueryRow(ctx, "SELECT count(*) FROM users").Scan(&n); err != nil || n > 0 {
		return "", err
	}
	_, password, err = b.Create(ctx, Fresh{Login: "admin", Name: "管理员", Role: Administrator})
	if errors.Is(err, ErrTaken) { // another process was first
		return "", nil
	}
	return password, err
}

// Create makes an account with a one-time password, which is not kept and must be changed at the first sign-in.
func (b *Book) Create(ctx context.Context, f Fresh) (User, string, error) {
	if err := f.check(); err != nil {
		return User{}, "", err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return User{}, "", err
	}
	password := oneTime()
	hash, err := b.hash(ctx, password)
	if err != nil {
		return User{}, "", err
	}
	u := User{ID: intake.UserID(id.String()), Login: f.Login, Name: f.Name, Role: f.Role, Grids: f.Grids, MustChange: true, Made: intake.Millis(b.c.Now())}
	err = b.db.Tx(ctx, func(tx *store.Tx) error {
		r, err := tx.ExecContext(ctx, `INSERT INTO users (id, login, name, role, grids, hash, must_change, made, made_by) VALUES (?, ?, ?, ?, ?, ?, 1, ?, ?)
			ON CONFLICT (login) DO NOTHING`, u.ID, u.Login, u.Name, u.Role, joinGrids(u.Grids), hash, store.Millis(u.Made), f.By)
		if err != nil {
			return err
		}
		if n, err := r.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, ErrTaken)
		}
		return nil
	})
	if err != nil {
		return User{}, "", fmt.Errorf("make account: %w", err)
	}
	return u, password, nil
}

// Also is done in the transaction of a change: what writes it down. When it fails nothing is changed.
type Also func(ctx context.Context, tx *store.Tx) error

// Update changes name, role and grids of an account; its login stays. A new role ends the account's sessions.
func (b *Book) Update(ctx context.Context, id intake.UserID, f Fresh, also ...Also) error {
	u, err := b.ByID(ctx, id)
	if err != nil {
		return err
	}
	f.Login = u.Login
	if err := f.check(); err != nil {
		return err
	}
	return b.db.Tx(ctx, func(tx *store.Tx) error {
		if u.Role == Administrator && f.Role != Administrator {
			if err := otherAdmin(ctx, tx, id); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, "UPDATE users SET name = ?, role = ?, grids = ? WHERE id = ?", f.Name, f.Role, joinGrids(f.Grids), id); err != nil {
			return err
		}
		for _, do := range also {
			if err := do(ctx, tx); err != nil {
				return err
			}
		}
		if f.Role == u.Role {
			return nil
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE user_id = ?", id)
		return err
	})
}

// Disable closes an account and ends its sessions; Enable opens it again. What it did stays under its name.
func (b *Book) Disable(ctx context.Context, id intake.UserID) error {
	return b.db.Tx(ctx, func(tx *store.Tx) error {
		if err := otherAdmin(ctx, tx, id); err != nil {
			return err
		}
		if err := touched(tx.ExecContext(ctx, "UPDATE users SET disabled = 1 WHERE id = ?", id)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE user_id = ?", id)
		return err
	})
}

// Enable is the way back from Disable.
func (b *Book) Enable(ctx context.Context, id intake.UserID) error {
	return b.db.Tx(ctx, func(tx *store.Tx) error {
		return touched(tx.ExecContext(ctx, "UPDATE users SET disabled = 0 WHERE id = ?", id))
	})
}

// otherAdmin refuses what would leave the office without an administrator who can sign in.
func otherAdmin(ctx context.Context, tx *store.Tx, id intake.UserID) error {
	var role Role
	if err := tx.QueryRowContext(ctx, "SELECT role FROM users WHERE id = ?", id).Scan(&role); err != nil {
		return orUnknown(err)
	}
	if role != Administrator {
		return nil
	}
	var others int
	if err := tx.QueryRowContext(ctx, "SELECT count(*) FROM users WHERE role = ? AND disabled = 0 AND id <> ?", Administrator, id).Scan(&others); err != nil {
		return err
	}
	if others == 0 {
		return ErrLastAdmin
	}
	return nil
}

// Reset gives an account a new one-time password and ends its sessions.
func (b *Book) Reset(ctx context.Context, id intake.UserID) (password string, err error) {
	password = oneTime()
	hash, err := b.hash(ctx, password)
	if err != nil {
		return "", err
	}
	return password, b.db.Tx(ctx, func(tx *store.Tx) error {
		if err := touched(tx.ExecContext(ctx, "UPDATE users SET hash = ?, must_change = 1 WHERE id = ?", hash, id)); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE user_id = ?", id)
		return err
	})
}

const columns = `SELECT u.id, u.login, u.name, u.role, u.grids, u.must_change, u.disabled, u.made, u.seen, COALESCE(d.sip_user, '')
	FROM users u LEFT JOIN devices d ON d.user_id = u.id `

func scanUser(scan func(...any) error) (User, error) {
	var u User
	var grids string
	var made, seen int64
	err := scan(&u.ID, &u.Login, &u.Name, &u.Role, &grids, &u.MustChange, &u.Disabled, &made, &seen, &u.SIPUser)
	u.Grids, u.Made, u.Seen = splitGrids(grids), store.Time(made), store.Time(seen)
	return u, orUnknown(err)
}

// ByID gives one account.
func (b *Book) ByID(ctx context.Context, id intake.UserID) (User, error) {
	return scanUser(b.db.QueryRow(ctx, columns+"WHERE u.id = ?", id).Scan)
}

// ByLogin gives one account.
func (b *Book) ByLogin(ctx context.Context, login string) (User, error) {
	return scanUser(b.db.QueryRow(ctx, columns+"WHERE u.login = ?", strings.ToLower(strings.TrimSpace(login))).Scan)
}

// List gives all accounts by login.
func (b *Book) List(ctx context.Context) ([]User, error) {
	rows, err := b.db.Query(ctx, columns+"ORDER BY u.login")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []User
	for rows.Next() {
		u, err := scanUser(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, u)
	}
	return list, rows.Err()
}

func orUnknown(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrUnknown
	}
	return err
}

func touched(r sql.Result, err error) error {
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err == nil && n == 0 {
		return ErrUnknown
	}
	return err
}

func joinGrids(g []intake.GridID) string {
	s := make([]string, len(g))
	for i, id := range g {
		s[i] = string(id)
	}
	return strings.Join(s, "\n")
}

func splitGrids(s string) []intake.GridID {
	var g []intake.GridID
	for _, id := range strings.Fields(s) {
		g = append(g, intake.GridID(id))
	}
	return g
}
