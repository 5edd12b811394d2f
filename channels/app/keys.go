package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"yingda/internal/store"
	"yingda/internal/users"
)

// Limits of a key that were not set.
const (
	defaultPerMinute = 600
	defaultPerDay    = 100_000
)

// Check says what is wrong with limits and webhook, before there is a token.
func (k Key) Check() error {
	if k.PerMinute < 0 || k.PerDay < 0 {
		return errors.New("app: limits are not negative")
	}
	if k.Webhook == "" {
		return nil
	}
	_, err := hookURL(k.Webhook)
	return err
}

// SaveKey sets limits and webhook of a token. When the webhook's URL is new its secret is given, and not again. Errors name what is wrong with
// the URL; whether its address may be reached is seen when it is used.
func SaveKey(ctx context.Context, db *store.DB, k Key, now time.Time) (secret string, err error) {
	if k.Token == "" {
		return "", errors.New("app: whose limits? a token is needed")
	}
	if err := k.Check(); err != nil {
		return "", err
	}
	have, version, err := keyOf(ctx, db, k.Token)
	if err != nil {
		return "", err
	}
	fresh := k.Webhook != "" && k.Webhook != have.Webhook
	if fresh {
		version++
	}
	err = db.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO app_keys (token, per_minute, per_day, line, hook, version, renewed, failing, disabled, why) VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, '')
			ON CONFLICT (token) DO UPDATE SET per_minute = excluded.per_minute, per_day = excluded.per_day, line = excluded.line, hook = excluded.hook,
			version = excluded.version, renewed = CASE WHEN excluded.version <> app_keys.version THEN excluded.renewed ELSE app_keys.renewed END, failing = 0, disabled = 0, why = ''`,
			k.Token, k.PerMinute, k.PerDay, string(k.Line), k.Webhook, version, store.Millis(now))
		if err == nil { // what waited for a webhook that was given up goes at once
			_, err = tx.ExecContext(ctx, "UPDATE app_hooks SET due = ? WHERE token = ? AND state = 0", store.Millis(now), k.Token)
		}
		return err
	})
	if err != nil || !fresh {
		return "", err
	}
	raw, err := db.Secret(ctx, hookSecret(k.Token, version), now)
	if err != nil {
		return "", err
	}
	return hookSecretText(raw), nil
}

// Keys lists what was set, by token.
func Keys(ctx context.Context, db *store.DB) (map[string]Key, error) {
	rows, err := db.Query(ctx, keyColumns)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	m := map[string]Key{}
	for rows.Next() {
		k, _, err := scanKey(rows.Scan)
		if err != nil {
			return nil, err
		}
		m[k.Token] = k
	}
	return m, rows.Err()
}

const keyColumns = "SELECT token, per_minute, per_day, line, hook, version, failing, disabled, why FROM app_keys "

func scanKey(scan func(...any) error) (k Key, version int, err error) {
	var failing, disabled int64
	err = scan(&k.Token, &k.PerMinute, &k.PerDay, &k.Line, &k.Webhook, &version, &failing, &disabled, &k.Why)
	k.Failing, k.Disabled = store.Time(failing), store.Time(disabled)
	return k, version, err
}

// keyOf gives what was set for a token; nothing when nothing was.
func keyOf(ctx context.Context, db *store.DB, token string) (Key, int, error) {
	k, version, err := scanKey(db.QueryRow(ctx, keyColumns+"WHERE token = ?", token).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return Key{Token: token}, 0, nil
	}
	return k, version, err
}

// visitor is an app whose key was good.
type visitor struct {
	token users.Token
	key   Key
}

// Why a key does not open the door.
var (
	errNoKey    = errors.New("app: no key")
	errBadKey   = errors.New("app: the key is not known, was revoked or has ended")
	errWrongKey = errors.New("app: the key is for something else")
)

// bearer takes the secret out of the Authorization header (RFC 6750 § 2.1).
func bearer(r *http.Request) string {
	scheme, secret, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(secret)
}

// admit finds out whose key that is. Errors: errNoKey, errBadKey, errWrongKey, or that it could not be looked up.
func (s *Server) admit(ctx context.Context, secret string) (visitor, error) {
	if secret == "" {
		return visitor{}, errNoKey
	}
	t, err := s.config.Users.Token(ctx, secret)
	switch {
	case errors.Is(err, users.ErrNoToken):
		return visitor{}, errBadKey
	case err != nil:
		return visitor{}, err
	case !t.May(users.Submit):
		return visitor{}, errWrongKey
	}
	k, err := s.limits.key(ctx, s.config.DB, t.ID, s.now())
	return visitor{t, k}, err
}

// limits counts what each token hands in: a bucket that fills by the minute, and the day's sum, which the table knows after a restart.
type limits struct {
	load func(ctx context.Context, token string, since time.Time) (int, error)
	zone *time.Location

	mu   sync.Mutex
	m    map[string]*count
	keys map[string]known
}

// known is what a key may do, as it was a moment ago. That the token itself is good is asked each time.
type known struct {
	key Key
	at  time.Time
}

const knownFor = 3 * time.Second

func (l *limits) key(ctx context.Context, db *store.DB, token string, now time.Time) (Key, error) {
	l.mu.Lock()
	have, ok := l.keys[token]
	l.mu.Unlock()
	if age := now.Sub(have.at); ok && age >= 0 && age < knownFor {
		return have.key, nil
	}
	k, _, err := keyOf(ctx, db, token)
	if err != nil {
		return Key{}, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.keys == nil {
		l.keys = map[string]known{}
	}
	l.keys[token] = known{k, now}
	return k, nil
}

type count struct {
	bucket float64
	at     time.Time
	day    time.Time
	today  int
}

// take takes one; wait is how long until there is another when there is none now, and why names the limit.
func (l *limits) take(ctx context.Context, k Key, now time.Time) (wait time.Duration, why string, err error) {
	perMinute, perDay := float64(k.PerMinute), k.PerDay
	if perMinute == 0 {
		perMinute = defaultPerMinute
	}
	if perDay == 0 {
		perDay = defaultPerDay
	}
	day := sinceMidnight(now, l.zone)
	l.mu.Lock()
	c := l.m[k.Token]
	l.mu.Unlock()
	if c == nil || !c.day.Equal(day) {
		n, err := l.load(ctx, k.Token, day)
		if err != nil {
			return 0, "", err
		}
		l.mu.Lock()
		if l.m == nil {
			l.m = map[string]*count{}
		}
		if have := l.m[k.Token]; have == nil {
			l.m[k.Token] = &count{bucket: perMinute, at: now, day: day, today: n}
		} else if !have.day.Equal(day) {
			have.day, have.today = day, n
		}
		l.mu.Unlock()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	c = l.m[k.Token]
	c.bucket = min(perMinute, c.bucket+perMinute*max(0, now.Sub(c.at).Minutes()))
	c.at = now
	switch {
	case c.today >= perDay:
		return day.AddDate(0, 0, 1).Sub(now), fmt.Sprintf("%d a day", perDay), nil
	case c.bucket < 1:
		return time.Duration((1 - c.bucket) / perMinute * float64(time.Minute)), fmt.Sprintf("%.0f a minute", perMinute), nil
	}
	c.bucket--
	c.today++
	return 0, "", nil
}

// tries bounds how often anybody may guess: wrong digits for one receipt, and wrong answers from one address.
type tries struct {
	mu sync.Mutex
	m  map[string]*try
}

type try struct {
	n     int
	since time.Time
}

const (
	mostTries  = 10 // wrong ones an hour for one receipt
	mostFrom   = 60 // wrong ones an hour from one address
	triesLast  = time.Hour
	mostTraced = 20_000
)

// full says whether no more tries are allowed under that name.
func (t *tries) full(name string, most int, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	have := t.m[name]
	return have != nil && now.Sub(have.since) < triesLast && have.n >= most
}

// wrong counts one.
func (t *tries) wrong(name string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.m == nil {
		t.m = map[string]*try{}
	}
	if len(t.m) >= mostTraced {
		for k, v := range t.m {
			if now.Sub(v.since) >= triesLast {
				delete(t.m, k)
			}
		}
		for k := range t.m { // somebody tries everything there is: forget a few, whichever
			if len(t.m) < mostTraced*9/10 {
				break
			}
			delete(t.m, k)
		}
	}
	have := t.m[name]
	if have == nil || now.Sub(have.since) >= triesLast {
		have = &try{since: now}
		t.m[name] = have
	}
	have.n++
}
