package users

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	"yingda/intake"
	"yingda/internal/store"
)

// Session is who a browser acts for.
type Session struct {
	User
	CSRF string // each form that changes something carries it
	Wall bool   // a screen on the wall: may look at the board, for as long as the account is open, and nothing else
}

// May says whether the session may do that now.
func (s Session) May(d Deed) bool {
	if s.Wall {
		return d == SeeBoard && s.User.May(SeeBoard)
	}
	return s.User.May(d)
}

// SignIn checks a password and begins a session: secret goes into the browser's cookie and is kept here as its digest.
// old is the secret of the session that the browser had, which ends (so none can be planted). from is the address that
// it came from, for throttling. wall makes a session that only sees the board. Errors: ErrWrong, ErrDisabled, Throttled.
func (b *Book) SignIn(ctx context.Context, login, password, from, old string, wall bool) (secret string, s Session, err error) {
	login = strings.ToLower(strings.TrimSpace(login))
	keys := throttleKeys(login, from)
	if err := b.waiting(ctx, keys); err != nil {
		return "", s, err
	}
	if len(password) > 1024 {
		password = password[:1024]
	}
	hash, known := b.nobody, true
	var id intake.UserID
	err = b.db.QueryRow(ctx, "SELECT id, hash FROM users WHERE login = ?", login).Scan(&id, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		known = false
	} else if err != nil {
		return "", s, err
	}
	ok, err := b.check(ctx, hash, password)
	if err != nil {
		return "", s, err
	}
	if !ok || !known {
		return "", s, errors.Join(ErrWrong, b.failed(ctx, keys))
	}
	u, err := b.ByID(ctx, id)
	if err != nil {
		return "", s, err
	}
	if u.Disabled {
		return "", s, ErrDisabled
	}
	secret = random256()
	now := store.Millis(b.c.Now())
	s = Session{User: u, CSRF: random256(), Wall: wall && !u.MustChange && May(u.Role, SeeBoard)}
	return secret, s, b.db.Tx(ctx, func(tx *store.Tx) error {
		for _, q := range []struct {
			sql  string
			args []any
		}{
			{"DELETE FROM sessions WHERE key = ?", []any{digest(old)}},
			{"DELETE FROM sessions WHERE wall = 0 AND (made < ? OR used < ?)", []any{now - b.c.Absolute.Milliseconds(), now - b.c.Idle.Milliseconds()}},
			{"DELETE FROM sign_in_failures WHERE key = ? OR last < ?", []any{keys[0].key, now - (24 * time.Hour).Milliseconds()}},
			{"UPDATE users SET seen = ? WHERE id = ?", []any{now, id}},
			{"INSERT INTO sessions (key, user_id, csrf, wall, made, used) VALUES (?, ?, ?, ?, ?, ?)", []any{digest(secret), id, s.CSRF, s.Wall, now, now}},
		} {
			if _, err := tx.ExecContext(ctx, q.sql, q.args...); err != nil {
				return err
			}
		}
		return nil
	})
}

// Session gives who holds that secret, and counts as use unless quiet (a page that keeps itself fresh is nobody at work).
func (b *Book) Session(ctx context.Context, secret string, quiet bool) (Session, error) {
	var s Session
	var grids string
	var made, seen, begun, used int64
	key := digest(secret)
	err := b.db.QueryRow(ctx, `SELECT u.id, u.login, u.name, u.role, u.grids, u.must_change, u.disabled, u.made, u.seen, s.csrf, s.wall, s.made, s.used
		FROM sessions s JOIN users u ON u.id = s.user_id WHERE s.key = ?`, key).Scan(&s.ID, &s.Login, &s.Name, &s.Role, &grids, &s.MustChange, &s.Disabled,
		&made, &seen, &s.CSRF, &s.Wall, &begun, &used)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && s.Disabled) {
		return Session{}, ErrNoSession
	}
	if err != nil {
		return Session{}, err
	}
	s.Grids, s.Made, s.Seen = splitGrids(grids), store.Time(made), store.Time(seen)
	now := b.c.Now()
	if !s.Wall && (now.Sub(store.Time(begun)) > b.c.Absolute || now.Sub(store.Time(used)) > b.c.Idle) {
		return Session{}, ErrNoSession
	}
	if !quiet && now.Sub(store.Time(used)) > min(time.Minute, b.c.Idle/4) { // once a minute is exact enough, and spares the disk
		err = b.db.Tx(ctx, func(tx *store.Tx) error {
			_, err := tx.ExecContext(ctx, "UPDATE sessions SET used = ? WHERE key = ?", store.Millis(now), key)
			return err
		})
	}
	return s, err
}

// SignOut ends a session.
func (b *Book) SignOut(ctx context.Context, secret string) error {
	return b.db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM sessions WHERE key = ?", digest(secret))
		return err
	})
}

func random256() string {
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// digest is how a secret of 256 random bits is kept: no salt and no slow hash are needed for that much chance.
func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// throttle is one count of failed sign-ins: free of them cost nothing, each further one doubles the wait up to most.
type throttle struct {
	key  string
	free int
	most time.Duration
}

// throttleKeys: the login from this address is throttled first and hardest; the login from anywhere, and the address for any login,
// only after so many failures that no colleague with a bad memory is kept out by somebody else's attempts.
func throttleKeys(login, from string) []throttle {
	return []throttle{
		{digest("both\x00" + login + "\x00" + from), 5, 15 * time.Minute},
		{digest("login\x00" + login), 50, time.Minute},
		{digest("from\x00" + from), 50, 15 * time.Minute},
	}
}

func (b *Book) waiting(ctx context.Context, keys []throttle) error {
	now := b.c.Now()
	for _, k := range keys {
		var until int64
		err := b.db.QueryRow(ctx, "SELECT until FROM sign_in_failures WHERE key = ?", k.key).Scan(&until)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err != nil {
			return err
		}
		if wait := store.Time(until).Sub(now); wait > 0 {
			return Throttled{wait.Round(time.Second) + time.Second}
		}
	}
	return nil
}

func (b *Book) failed(ctx context.Context, keys []throttle) error {
	now := b.c.Now()
	return b.db.Tx(ctx, func(tx *store.Tx) error {
		for _, k := range keys {
			var n int
			var last int64
			err := tx.QueryRowContext(ctx, "SELECT failed, last FROM sign_in_failures WHERE key = ?", k.key).Scan(&n, &last)
			if err != nil && !errors.Is(err, sql.ErrNoRows) {
				return err
			}
			if now.Sub(store.Time(last)) > time.Hour {
				n = 0
			}
			n++
			until := now
			if over := n - k.free; over >= 0 {
				until = now.Add(min(time.Second<<min(over, 20), k.most))
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO sign_in_failures (key, failed, last, until) VALUES (?, ?, ?, ?)
				ON CONFLICT (key) DO UPDATE SET failed = excluded.failed, last = excluded.last, until = excluded.until`,
				k.key, n, store.Millis(now), store.Millis(until)); err != nil {
				return err
			}
		}
		return nil
	})
}
