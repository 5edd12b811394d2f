package app

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	webhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"yingda/internal/store"
)

// The pauses before the tries of a webhook, as Standard Webhooks proposes them, with a day between those that follow. After hookPatience of
// nothing but failures it is given up: what waits stays in the table, an alarm stands, and saving the key again goes on with it.
var hookBackoff = []time.Duration{5 * time.Second, 5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour, 14 * time.Hour, 20 * time.Hour, 24 * time.Hour}

const (
	hookPatience = 5 * 24 * time.Hour
	hookTimeout  = 15 * time.Second
	hookAtOnce   = 8               // webhooks under way at a time, of one app never more than one
	hookOverlap  = 24 * time.Hour  // after a new secret, the old one signs too
	hookBreath   = 5 * time.Minute // how long the others of an app wait after one has failed, at most
	hookLook     = 2 * time.Second // the courier looks at the table at least that often
)

func hookSecret(token string, version int) string {
	return fmt.Sprintf("webhook/%s/%d", token, version)
}

// hookSecretText is how Standard Webhooks writes a secret.
func hookSecretText(raw []byte) string { return "whsec_" + base64.StdEncoding.EncodeToString(raw) }

// hookURL reads where a webhook is to go: https; or http to this very machine. Whether the address may be reached is seen when it is dialed.
func hookURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Opaque != "" || len(text) > 500 {
		return nil, errors.New("app: a webhook is a URL like https://app.example/yingda")
	}
	if u.User != nil || u.Fragment != "" {
		return nil, errors.New("app: a webhook's URL has no user and no fragment")
	}
	switch u.Scheme {
	case "https":
	case "http":
		if a, err := netip.ParseAddr(u.Hostname()); u.Hostname() != "localhost" && (err != nil || !a.Unmap().IsLoopback()) {
			return nil, errors.New("app: a webhook goes over https; plain http only to this machine")
		}
	default:
		return nil, errors.New("app: a webhook goes over https")
	}
	return u, nil
}

// errForbidden is wrapped when a webhook would go to an address of our own network.
var errForbidden = errors.New("app: webhooks may not go to this address")

// never are ranges that are no public addresses although netip has no word for it.
var never = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"), netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001::/23"), netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"), netip.MustParsePrefix("::/96"), netip.MustParsePrefix("100::/64"),
}

// mayDial says whether a webhook may go to an address: public ones, and what the office has named. It is asked with the address that the name was
// resolved to, at the moment of dialing, so that a name that changes its mind gains nothing.
func mayDial(a netip.Addr, private []netip.Prefix) bool {
	a = a.Unmap().WithZone("")
	for _, p := range private {
		if p.Contains(a) {
			return true
		}
	}
	if !a.IsValid() || !a.IsGlobalUnicast() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() {
		return false
	}
	for _, p := range never {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// courier sends webhooks.
//
// The goroutine: "courier", owned by the Server, ends with its context; it starts one more for each webhook that it sends, and waits for them.
type courier struct {
	s      *Server
	bell   chan struct{}
	client *http.Client

	mu   sync.Mutex
	busy map[string]bool // tokens with a webhook under way
}

func newCourier(s *Server) *courier {
	c := &courier{s: s, bell: make(chan struct{}, 1), busy: map[string]bool{}}
	dialer := &net.Dialer{Timeout: 5 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !mayDial(at.Addr(), s.config.Private) {
			return fmt.Errorf("%w: %s", errForbidden, address)
		}
		return nil
	}}
	c.client = &http.Client{
		Timeout:       hookTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{Proxy: nil, DialContext: dialer.DialContext, TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: hookTimeout,
			MaxResponseHeaderBytes: 16 << 10, MaxIdleConnsPerHost: 1, IdleConnTimeout: 30 * time.Second, ForceAttemptHTTP2: true, TLSClientConfig: s.config.test.tls},
	}
	return c
}

// ring wakes the courier. It never waits.
func (c *courier) ring() {
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

func (c *courier) run() {
	defer c.client.CloseIdleConnections()
	var under sync.WaitGroup
	defer under.Wait()
	slots := make(chan struct{}, hookAtOnce)
	for {
		wait, err := c.round(&under, slots)
		if err != nil && c.s.ctx.Err() == nil {
			c.s.slog.Error("webhooks", "err", err)
			wait = 5 * time.Second
		}
		timer := time.NewTimer(wait)
		select {
		case <-c.s.ctx.Done():
			timer.Stop()
			return
		case <-c.bell:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// letter is a webhook that is due.
type letter struct {
	id, token, url, body string
	tries, version       int
	failing, renewed     time.Time
}

// round sends off what is due, the oldest of each app first, and says when to look again.
func (c *courier) round(under *sync.WaitGroup, slots chan struct{}) (time.Duration, error) {
	now := c.s.now()
	rows, err := c.s.config.DB.Query(c.s.ctx, `SELECT h.id, h.token, k.hook, h.body, h.tries, k.version, k.failing, k.renewed, h.due
		FROM app_keys k JOIN app_hooks h ON h.row = (SELECT row FROM app_hooks WHERE token = k.token AND state = 0 ORDER BY due, row LIMIT 1)
		WHERE k.disabled = 0 AND k.hook <> '' ORDER BY h.due`)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	wait := hookLook
	var list []letter
	for rows.Next() {
		var l letter
		var failing, renewed, due int64
		if err := rows.Scan(&l.id, &l.token, &l.url, &l.body, &l.tries, &l.version, &failing, &renewed, &due); err != nil {
			return 0, err
		}
		l.failing, l.renewed = store.Time(failing), store.Time(renewed)
		if at := store.Time(due); at.After(now) {
			wait = min(wait, at.Sub(now))
			continue
		}
		list = append(list, l)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return 0, err
	}
	for _, l := range list {
		if !c.begin(l.token) {
			continue // one at a time; the end of that rings
		}
		select {
		case slots <- struct{}{}:
		default:
			c.end(l.token)
			continue
		}
		under.Go(func() {
			defer func() { <-slots; c.end(l.token); c.ring() }()
			c.deliver(l)
		})
	}
	return wait, nil
}

func (c *courier) begin(token string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy[token] {
		return false
	}
	c.busy[token] = true
	return true
}

func (c *courier) end(token string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.busy, token)
}

// deliver tries once and writes down what came of it.
func (c *courier) deliver(l letter) {
	gone, why := c.send(l)
	if c.s.ctx.Err() != nil {
		return // cut off by Close: it does not count as a try
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(c.s.ctx), 10*time.Second)
	defer cancel()
	now := c.s.now()
	var off bool
	err := c.s.config.DB.Tx(ctx, func(tx *store.Tx) error {
		if why == nil {
			if _, err := tx.ExecContext(ctx, "UPDATE app_hooks SET state = 1, done = ?, tries = tries + 1 WHERE id = ?", store.Millis(now), l.id); err != nil {
				return err
			}
			_, err := tx.ExecContext(ctx, "UPDATE app_keys SET failing = 0, why = '' WHERE token = ? AND failing <> 0", l.token)
			return err
		}
		pause := c.s.backoff(l.tries)
		if _, err := tx.ExecContext(ctx, "UPDATE app_hooks SET tries = tries + 1, due = ? WHERE id = ?", store.Millis(now.Add(pause)), l.id); err != nil {
			return err
		}
		// A receiver that is away is not asked again for each webhook that waits; one webhook that it does not like holds up the others for minutes only.
		others := store.Millis(now.Add(min(pause, hookBreath)))
		if _, err := tx.ExecContext(ctx, "UPDATE app_hooks SET due = ? WHERE token = ? AND state = 0 AND due < ?", others, l.token, others); err != nil {
			return err
		}
		since := l.failing
		if since.IsZero() {
			since = now
		}
		off = gone || now.Sub(since) >= c.s.patience()
		disabled := time.Time{}
		if off {
			disabled = now
		}
		_, err := tx.ExecContext(ctx, "UPDATE app_keys SET failing = CASE WHEN failing = 0 THEN ? ELSE failing END, disabled = ?, why = ? WHERE token = ? AND version = ?",
			store.Millis(since), store.Millis(disabled), cut(why.Error(), 300), l.token, l.version)
		return err
	})
	if err != nil {
		c.s.slog.Error("webhook: what came of it cannot be written down; it will be sent again", "id", l.id, "err", err)
		select { // before the courier looks again
		case <-c.s.ctx.Done():
		case <-time.After(5 * time.Second):
		}
		return
	}
	switch {
	case off:
		c.s.slog.Error("a webhook is given up; save its key again to go on with it", "token", l.token, "why", why)
		c.s.config.Alarm(Alarm{Token: l.token, On: true, Why: why.Error()})
	case why != nil:
		c.s.slog.Warn("webhook", "id", l.id, "tries", l.tries+1, "why", why)
	case !l.failing.IsZero():
		c.s.config.Alarm(Alarm{Token: l.token})
	}
}

// send posts one webhook. gone: the receiver wants no more of them (410).
func (c *courier) send(l letter) (gone bool, err error) {
	u, err := hookURL(l.url)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(c.s.ctx, hookTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader([]byte(l.body)))
	if err != nil {
		return false, err
	}
	now := c.s.now()
	versions := []int{l.version}
	if l.version > 1 && now.Sub(l.renewed) < hookOverlap {
		versions = append(versions, l.version-1)
	}
	var signatures []string
	for _, v := range versions {
		secret, err := c.s.config.DB.Secret(ctx, hookSecret(l.token, v), now)
		if err != nil {
			return false, fmt.Errorf("the secret: %w", err)
		}
		signer, err := webhooks.NewWebhookRaw(secret)
		if err != nil {
			return false, err
		}
		signature, err := signer.Sign(l.id, now, []byte(l.body))
		if err != nil {
			return false, err
		}
		signatures = append(signatures, signature)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "yingda-webhooks/1")
	req.Header.Set(webhooks.HeaderWebhookID, l.id)
	req.Header.Set(webhooks.HeaderWebhookTimestamp, strconv.FormatInt(now.Unix(), 10))
	req.Header.Set(webhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	res, err := c.client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 64<<10))
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return res.StatusCode == http.StatusGone, fmt.Errorf("the receiver answered %d", res.StatusCode)
	}
	return false, nil
}

func (s *Server) backoff(tries int) time.Duration {
	list := hookBackoff
	if s.config.test.backoff != nil {
		list = s.config.test.backoff
	}
	return list[min(tries, len(list)-1)]
}

func (s *Server) patience() time.Duration {
	if p := s.config.test.patience; p > 0 {
		return p
	}
	return hookPatience
}
