package phonetest

import (
	"context"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// registration is what a phone knows of its own; Phone.mu guards it, but for turn.
type registration struct {
	call string
	seq  int
	turn chan struct{}      // holds one while a REGISTER is under way: they go one after the other (RFC 3261 §10.2)
	stop context.CancelFunc // ends the goroutine that keeps it alive; nil: there is none
}

// Register registers and keeps the registration alive until Unregister or Close. The error tells the last status.
func (p *Phone) Register(ctx context.Context) error {
	granted, err := p.register(ctx, p.cfg.Expires)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reg.stop != nil || p.closed {
		return nil
	}
	keep, stop := context.WithCancel(p.ctx)
	p.reg.stop = stop
	p.wg.Go(func() { p.keep(keep, granted) })
	return nil
}

// keep registers anew at half of what was granted; when that fails, every 10 s at least.
func (p *Phone) keep(ctx context.Context, granted time.Duration) {
	wait := granted / 2
	for {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return
		}
		if g, err := p.register(ctx, p.cfg.Expires); err == nil {
			wait = g / 2
		} else {
			wait = min(wait, 10*time.Second)
		}
	}
}

// Unregister takes the registration back.
func (p *Phone) Unregister(ctx context.Context) error {
	p.mu.Lock()
	if p.reg.stop != nil {
		p.reg.stop()
		p.reg.stop = nil
	}
	p.mu.Unlock()
	_, err := p.register(ctx, 0)
	return err
}

func (p *Phone) register(ctx context.Context, expires time.Duration) (granted time.Duration, err error) {
	select {
	case p.reg.turn <- struct{}{}:
		defer func() { <-p.reg.turn }()
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-p.ctx.Done():
		return 0, ErrClosed
	}
	if ctx.Err() != nil {
		return 0, ctx.Err()
	}
	auth, sent := "", false
	for range 4 {
		p.mu.Lock()
		p.reg.seq++
		seq := p.reg.seq
		p.mu.Unlock()
		uri := "sip:" + p.cfg.Server
		m := p.Request("REGISTER", uri, p.reg.call, seq)
		m.Set("To", "<sip:"+p.cfg.User+"@"+p.cfg.Domain+">").Add("Expires", strconv.Itoa(int(expires.Seconds())))
		if auth != "" {
			m.Add("Authorization", auth)
		}
		r, err := p.Do(ctx, m, nil)
		if err != nil {
			return 0, err
		}
		switch {
		case r.Status() == 200:
			return p.granted(r, expires), nil
		case r.Status() == 423 && expires > 0: // RFC 3261 §10.2.8
			n, err := strconv.Atoi(r.Get("Min-Expires"))
			if err != nil || time.Duration(n)*time.Second <= expires {
				return 0, fmt.Errorf("phonetest: REGISTER answered with %s, Min-Expires %q", r.Start, r.Get("Min-Expires"))
			}
			expires = time.Duration(n) * time.Second
		case r.Status() == 401:
			challenges := r.All("WWW-Authenticate")
			if sent && !strings.Contains(strings.ToLower(strings.Join(challenges, ",")), "stale=true") {
				return 0, fmt.Errorf("phonetest: REGISTER answered with 401 though the password was sent")
			}
			if auth = Digest(challenges, p.cfg.User, p.cfg.Password, "REGISTER", uri); auth == "" {
				return 0, errors.New("phonetest: a challenge that cannot be answered")
			}
			sent = true
		default:
			return 0, fmt.Errorf("phonetest: REGISTER answered with %s", r.Start)
		}
	}
	return 0, errors.New("phonetest: REGISTER was challenged again and again")
}

// granted is how long a registration holds: as the 200 says of our contact, or of all, or as we asked.
func (p *Phone) granted(r *Message, asked time.Duration) time.Duration {
	for _, c := range r.All("Contact") {
		if strings.Contains(c, "@"+p.host) {
			if n, err := strconv.Atoi(Param(c, "expires")); err == nil && n > 0 {
				return time.Duration(n) * time.Second
			}
		}
	}
	if n, err := strconv.Atoi(r.Get("Expires")); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return max(asked, time.Second)
}

// Digest answers the first challenge that it can (RFC 7616): MD5 or SHA-256, qop auth or none. "" when it can answer none.
func Digest(challenges []string, user, password, method, uri string) string {
	for _, c := range challenges {
		scheme, rest, _ := strings.Cut(strings.TrimSpace(c), " ")
		if !strings.EqualFold(scheme, "Digest") {
			continue
		}
		par := map[string]string{}
		for _, kv := range splitQuoted(rest) {
			k, v, _ := strings.Cut(kv, "=")
			par[strings.ToLower(strings.TrimSpace(k))] = strings.Trim(strings.TrimSpace(v), `"`)
		}
		hash := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
		switch strings.ToUpper(par["algorithm"]) {
		case "SHA-256":
			hash = func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
		case "", "MD5":
		default:
			continue
		}
		auth := false
		for q := range strings.SplitSeq(par["qop"], ",") {
			auth = auth || strings.EqualFold(strings.TrimSpace(q), "auth")
		}
		if par["qop"] != "" && !auth {
			continue
		}
		cnonce := Token()
		ha1, ha2 := hash(user+":"+par["realm"]+":"+password), hash(method+":"+uri)
		out := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s"`, user, par["realm"], par["nonce"], uri)
		if a := par["algorithm"]; a != "" {
			out += ", algorithm=" + a
		}
		if o, ok := par["opaque"]; ok {
			out += `, opaque="` + o + `"`
		}
		if !auth {
			return out + fmt.Sprintf(`, response="%s"`, hash(ha1+":"+par["nonce"]+":"+ha2))
		}
		return out + fmt.Sprintf(`, qop=auth, nc=00000001, cnonce="%s", response="%s"`, cnonce, hash(strings.Join([]string{ha1, par["nonce"], "00000001", cnonce, "auth", ha2}, ":")))
	}
	return ""
}

// splitQuoted cuts at commas that are not within quotes.
func splitQuoted(s string) []string {
	var out []string
	quoted, from := false, 0
	for i := range len(s) {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}
