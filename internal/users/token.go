package users

import (
	"context"
	"crypto/md5" // RFC 7616 keeps MD5 for phones that know nothing newer
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"yingda/intake"
	"yingda/internal/store"
)

// Token is for a program that reads the API.
type Token struct {
	ID      string
	Name    string // what it is for
	Role    Role
	Made    time.Time
	Expires time.Time // zero: never
	Revoked bool
	Used    time.Time // to the minute; zero: never
}

// May says whether a program with that token may do that. A program has no desk, no account and phones nobody.
func (t Token) May(d Deed) bool {
	return !t.Revoked && d != OwnDesk && d != OwnGrid && d != OwnPhone && d != OwnAccount && May(t.Role, d)
}

const tokenPrefix = "ydt_" // so that people and leak scanners know what it is

// MakeToken makes one and gives its secret, which is not kept. expires zero: it does not end by itself.
func (b *Book) MakeToken(ctx context.Context, name string, role Role, expires time.Time, by intake.UserID) (secret string, t Token, err error) {
	name = strings.TrimSpace(name)
	if !slices.Contains(TokenRoles(), role) || name == "" || len(name) > 120 {
		return "", t, fmt.Errorf("%w: a token needs a name and a role", ErrInvalid)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", t, err
	}
	secret = tokenPrefix + random256()
	t = Token{ID: id.String(), Name: name, Role: role, Made: intake.Millis(b.c.Now()), Expires: expires}
	return secret, t, b.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO tokens (id, key, name, role, made, made_by, expires) VALUES (?, ?, ?, ?, ?, ?, ?)",
			t.ID, digest(secret), t.Name, t.Role, store.Millis(t.Made), by, store.Millis(expires))
		return err
	})
}

// Token gives what that secret opens, or ErrNoToken.
func (b *Book) Token(ctx context.Context, secret string) (Token, error) {
	if !strings.HasPrefix(secret, tokenPrefix) {
		return Token{}, ErrNoToken
	}
	t, err := scanToken(b.db.QueryRow(ctx, tokenColumns+"WHERE key = ?", digest(secret)).Scan)
	now := b.c.Now()
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return Token{}, ErrNoToken
	case err != nil:
		return Token{}, err
	case t.Revoked || (!t.Expires.IsZero() && !now.Before(t.Expires)):
		return Token{}, ErrNoToken
	}
	if now.Sub(t.Used) > time.Minute && b.first(t.ID, now) {
		err = b.db.Tx(ctx, func(tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE tokens SET used = ? WHERE id = ?", store.Millis(now), t.ID)
			return err
		})
	}
	return t, err
}

// first says whether nobody else notes at this moment that the token was used: of a thousand requests at once, one does.
func (b *Book) first(token string, now time.Time) bool {
	minute := now.Unix() / 60
	before, there := b.noted.Swap(token, minute)
	return !there || before != minute
}

// Tokens lists all, newest first.
func (b *Book) Tokens(ctx context.Context) ([]Token, error) {
	rows, err := b.db.Query(ctx, tokenColumns+"ORDER BY made DESC, id DESC")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Token
	for rows.Next() {
		t, err := scanToken(rows.Scan)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, rows.Err()
}

// RevokeToken ends one.
func (b *Book) RevokeToken(ctx context.Context, id string) error {
	return b.db.Tx(ctx, func(tx *store.Tx) error {
		err := touched(tx.ExecContext(ctx, "UPDATE tokens SET revoked = 1 WHERE id = ?", id))
		if errors.Is(err, ErrUnknown) {
			return ErrNoToken
		}
		return err
	})
}

const tokenColumns = "SELECT id, name, role, made, expires, revoked, used FROM tokens "

func scanToken(scan func(...any) error) (Token, error) {
	var t Token
	var made, expires, used int64
	err := scan(&t.ID, &t.Name, &t.Role, &made, &expires, &t.Revoked, &used)
	t.Made, t.Expires, t.Used = store.Time(made), store.Time(expires), store.Time(used)
	return t, err
}

// Device is the phone on an operator's desk or in a grid worker's hand: what the registrar checks its digest with. HA1 = H(user ":" realm ":" secret), in
// lower-case hex (RFC 7616 § 3.4.2).
type Device struct {
	User      intake.UserID
	SIPUser   string
	Realm     string
	HA1MD5    string
	HA1SHA256 string
	Desk      bool // its owner answers those who call; without it the phone is there to call out by
}

// NewDevice gives an account's phone a new secret of 20 letters, which is not kept; the one before stops working. The SIP user name
// is the login.
func (b *Book) NewDevice(ctx context.Context, id intake.UserID) (d Device, secret string, err error) {
	u, err := b.ByID(ctx, id)
	if err != nil {
		return d, "", err
	}
	if !May(u.Role, OwnPhone) {
		return d, "", fmt.Errorf("%w: operators, supervisors and grid workers have a phone, nobody else", ErrInvalid)
	}
	secret = readable(20)
	a1 := []byte(u.Login + ":" + b.c.Realm + ":" + secret)
	m, s := md5.Sum(a1), sha256.Sum256(a1)
	d = Device{User: id, SIPUser: u.Login, Realm: b.c.Realm, HA1MD5: hex.EncodeToString(m[:]), HA1SHA256: hex.EncodeToString(s[:]), Desk: May(u.Role, OwnDesk)}
	return d, secret, b.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO devices (sip_user, user_id, realm, ha1_md5, ha1_sha256, made) VALUES (?, ?, ?, ?, ?, ?)
			ON CONFLICT (sip_user) DO UPDATE SET realm = excluded.realm, ha1_md5 = excluded.ha1_md5, ha1_sha256 = excluded.ha1_sha256, made = excluded.made`,
			d.SIPUser, id, d.Realm, d.HA1MD5, d.HA1SHA256, store.Millis(b.c.Now()))
		return err
	})
}

// Device gives the digests for a SIP user name; ErrUnknown when there is none or its account is closed or may have no phone any more.
func (b *Book) Device(ctx context.Context, sipUser string) (Device, error) {
	var d Device
	var role Role
	err := b.db.QueryRow(ctx, `SELECT d.user_id, d.sip_user, d.realm, d.ha1_md5, d.ha1_sha256, u.role FROM devices d JOIN users u ON u.id = d.user_id
		WHERE d.sip_user = ? AND u.disabled = 0`, sipUser).Scan(&d.User, &d.SIPUser, &d.Realm, &d.HA1MD5, &d.HA1SHA256, &role)
	if err != nil {
		return Device{}, orUnknown(err)
	}
	if !May(role, OwnPhone) {
		return Device{}, ErrUnknown
	}
	d.Desk = May(role, OwnDesk)
	return d, nil
}
