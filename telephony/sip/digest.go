package sip

import (
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // RFC 2617 phones know nothing else; SHA-256 is offered first
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// nonces makes and checks the nonces of the digest (RFC 7616, RFC 8760) without keeping those it gives out: a nonce is the time with a MAC over time
// and source. Only those that were used well are remembered, for the count (nc) that may come once.
type nonces struct {
	algorithms []string // that are offered, in order of preference
	secret     [32]byte
	life       time.Duration
	limit      int

	mu   sync.Mutex
	used map[string]usedNonce
}

type usedNonce struct {
	count uint64
	until time.Time
}

func newNonces(life time.Duration, limit int, algorithms []string) *nonces {
	n := &nonces{life: life, limit: limit, algorithms: algorithms, used: map[string]usedNonce{}}
	_, _ = rand.Read(n.secret[:])
	return n
}

func (n *nonces) mac(at []byte, source netip.Addr) []byte {
	h := hmac.New(sha256.New, n.secret[:])
	h.Write(at)
	h.Write([]byte(source.Unmap().String()))
	return h.Sum(nil)[:16]
}

func (n *nonces) make(now time.Time, source netip.Addr) string {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli()))
	_, _ = rand.Read(b[8:])
	return base64.RawURLEncoding.EncodeToString(append(b[:], n.mac(b[:], source)...))
}

// check says whether the nonce is ours for this source, and whether it is still fresh.
func (n *nonces) check(now time.Time, nonce string, source netip.Addr) (ours, fresh bool) {
	b, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil || len(b) != 32 || !hmac.Equal(b[16:], n.mac(b[:16], source)) {
		return false, false
	}
	at := time.UnixMilli(int64(binary.BigEndian.Uint64(b[:8])))
	return true, !now.Before(at) && now.Sub(at) < n.life
}

// use takes a count for a nonce once; a count that is not larger than the last was seen before.
func (n *nonces) use(now time.Time, nonce string, count uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.used) >= n.limit {
		for k, u := range n.used {
			if now.After(u.until) {
				delete(n.used, k)
			}
		}
		if len(n.used) >= n.limit {
			return false
		}
	}
	u, known := n.used[nonce]
	if known && count <= u.count {
		return false
	}
	n.used[nonce] = usedNonce{count, now.Add(n.life)}
	return true
}

// challenges gives the values of WWW-Authenticate, the better one first (RFC 8760 §2.4).
func (n *nonces) challenges(now time.Time, realm string, source netip.Addr, stale bool) []string {
	nonce := n.make(now, source)
	more := ""
	if stale {
		more = ", stale=true"
	}
	var out []string
	for _, alg := range n.algorithms {
		out = append(out, fmt.Sprintf(`Digest realm="%s", nonce="%s", algorithm=%s, qop="auth"%s`, realm, nonce, alg, more))
	}
	return out
}

// credentials are the parameters of an Authorization header; challenge those of WWW-Authenticate.
type credentials map[string]string

// parseDigest reads `Digest a=b, c="d"`. nil when it is another scheme or cannot be read.
func parseDigest(value string) credentials {
	scheme, rest, ok := strings.Cut(strings.TrimSpace(value), " ")
	if !ok || !strings.EqualFold(scheme, "digest") || len(rest) > 4096 {
		return nil
	}
	out := credentials{}
	for _, p := range split(rest, ',') {
		k, v, ok := strings.Cut(p, "=")
		if !ok {
			return nil
		}
		k, v = strings.ToLower(strings.TrimSpace(k)), strings.TrimSpace(v)
		if strings.HasPrefix(v, `"`) {
			if len(v) < 2 || !closedQuote(v) {
				return nil
			}
			v = unquote(v[1 : len(v)-1])
		}
		if _, twice := out[k]; twice {
			return nil
		}
		out[k] = v
	}
	return out
}

func unquote(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func (c credentials) algorithm() string {
	if a := strings.ToUpper(c["algorithm"]); a != "" {
		return a
	}
	return "MD5"
}

func hashHex(algorithm, s string) string {
	if algorithm == "SHA-256" {
		h := sha256.Sum256([]byte(s))
		return hex.EncodeToString(h[:])
	}
	h := md5.Sum([]byte(s)) //nolint:gosec // see the import
	return hex.EncodeToString(h[:])
}

// ha1 is H(user:realm:password) of an account in an algorithm; "" when the account has none.
func (a Account) ha1(algorithm, realm string) string {
	switch {
	case a.Password != "":
		return hashHex(algorithm, a.User+":"+realm+":"+a.Password)
	case algorithm == "SHA-256":
		return strings.ToLower(a.HA1SHA)
	}
	return strings.ToLower(a.HA1)
}

// response computes the digest's response (RFC 7616 §3.4.1) with qop=auth, or as RFC 2069 did without.
func (c credentials) response(ha1, method string) string {
	alg := c.algorithm()
	ha2 := hashHex(alg, method+":"+c["uri"])
	if c["qop"] == "" {
		return hashHex(alg, ha1+":"+c["nonce"]+":"+ha2)
	}
	return hashHex(alg, strings.Join([]string{ha1, c["nonce"], c["nc"], c["cnonce"], c["qop"], ha2}, ":"))
}

func (c credentials) right(ha1, method string) bool {
	return ha1 != "" && subtle.ConstantTimeCompare([]byte(c.response(ha1, method)), []byte(strings.ToLower(c["response"]))) == 1
}

func (c credentials) count() (uint64, bool) {
	n, err := strconv.ParseUint(c["nc"], 16, 64)
	return n, err == nil && len(c["nc"]) == 8 && n > 0
}

// authorize answers a challenge as a client: of several it takes SHA-256 before MD5. "" when none can be answered.
func authorize(challenges []string, user, password, method, uri string) string {
	var best credentials
	for _, v := range challenges {
		c := parseDigest(v)
		if c == nil || c["nonce"] == "" {
			continue
		}
		switch c.algorithm() {
		case "SHA-256":
			best = c
		case "MD5":
			if best == nil {
				best = c
			}
		}
	}
	if best == nil {
		return ""
	}
	for _, k := range []string{"realm", "nonce", "opaque"} {
		if strings.ContainsAny(best[k], "\"\\\r\n\x00") {
			return ""
		}
	}
	alg := best.algorithm()
	out := credentials{"uri": uri, "nonce": best["nonce"], "algorithm": alg}
	qop := ""
	for q := range strings.SplitSeq(best["qop"], ",") {
		if strings.TrimSpace(q) == "auth" {
			qop = "auth"
		}
	}
	if best["qop"] != "" && qop == "" {
		return ""
	}
	var cnonce [12]byte
	_, _ = rand.Read(cnonce[:])
	if qop != "" {
		out["qop"], out["nc"], out["cnonce"] = qop, "00000001", hex.EncodeToString(cnonce[:])
	}
	response := out.response(hashHex(alg, user+":"+best["realm"]+":"+password), method)
	var b strings.Builder
	fmt.Fprintf(&b, `Digest username="%s", realm="%s", nonce="%s", uri="%s", response="%s", algorithm=%s`, user, best["realm"], best["nonce"], uri, response, alg)
	if qop != "" {
		fmt.Fprintf(&b, `, qop=auth, nc=%s, cnonce="%s"`, out["nc"], out["cnonce"])
	}
	if o, ok := best["opaque"]; ok {
		fmt.Fprintf(&b, `, opaque="%s"`, o)
	}
	return b.String()
}
