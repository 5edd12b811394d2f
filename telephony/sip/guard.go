package sip

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sipgo "github.com/emiago/sipgo/sip"
)

// allowed lists the methods that we serve.
const allowed = "INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, INFO, UPDATE"

// accepted lists the bodies that we read.
const accepted = "application/sdp, application/dtmf-relay, application/dtmf"

// guard stands between the sockets and sipgo. It decides who may speak at all and how much, answers what is no proper SIP, and puts
// the rest into one plain form. It keeps no state of a message, so a flood costs no memory: only the sources that are remembered, bounded.
type guard struct {
	cfg       Config
	challenge func(source netip.Addr, stale bool) []string // the registrar's WWW-Authenticate values
	phone     func(netip.Addr) bool                        // a phone is registered from here
	secret    [16]byte                                     // of the tags we give to the To of a new call
	proxy     *proxy                                       // sends on what another node decides; nil: there is none

	shut atomic.Bool // nothing is let in any more

	mu      sync.Mutex
	sources map[netip.Addr]*bucket
	rest    bucket // shared by the sources beyond the limit
}

// bucket is a token bucket: level tokens at the time last.
type bucket struct {
	level float64
	last  time.Time
}

func (b *bucket) take(now time.Time, rate, burst float64) bool {
	if b.last.IsZero() {
		b.level = burst
	} else if gone := now.Sub(b.last).Seconds(); gone > 0 {
		b.level = min(burst, b.level+gone*rate)
	}
	b.last = now
	if b.level < 1 {
		return false
	}
	b.level--
	return true
}

// verdict is what the guard makes of a message: pass it on, answer it, neither, and perhaps close the stream.
type verdict struct {
	pass  []byte
	reply []byte
	close bool
	noise bool // no SIP at all: a stream goes on behind the next empty line, a few times
}

// trunk finds the trunk that owns an address: the one with the longest prefix.
func (c *Config) trunk(a netip.Addr) *Trunk {
	a = a.Unmap()
	var found *Trunk
	bits := -1
	for i := range c.Trunks {
		for _, p := range c.Trunks[i].Addresses {
			if p.Contains(a) && p.Bits() > bits {
				found, bits = &c.Trunks[i], p.Bits()
			}
		}
	}
	return found
}

func (c *Config) mayRegister(a netip.Addr) bool {
	if len(c.Phones) == 0 {
		return true
	}
	for _, p := range c.Phones {
		if p.Contains(a.Unmap()) {
			return true
		}
	}
	return false
}

// admit says whether the source may speak now. Its second result is false when it is neither a trunk nor a phone of ours: then it may do
// nothing but register.
func (g *guard) admit(source netip.Addr) (ok, trusted bool) {
	trunk := g.cfg.trunk(source)
	trusted = trunk != nil || g.phone(source)
	if !trusted && !g.cfg.mayRegister(source) {
		g.cfg.Metrics.Dropped("source")
		return false, false
	}
	rate := g.cfg.Limits.PerSource
	if trunk != nil {
		rate = g.cfg.Limits.PerTrunk
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.sources[source]
	if b == nil {
		if len(g.sources) >= g.cfg.Limits.Sources {
			g.forget(now)
		}
		if len(g.sources) < g.cfg.Limits.Sources || trunk != nil {
			b = &bucket{}
			g.sources[source] = b
		} else {
			b = &g.rest
		}
	}
	if !b.take(now, rate, 2*rate) {
		g.cfg.Metrics.Dropped("rate")
		return false, trusted
	}
	return true, trusted
}

// forget drops the sources whose bucket is full again, a bounded number at a time.
func (g *guard) forget(now time.Time) {
	looked := 0
	for a, b := range g.sources {
		if now.Sub(b.last) > 2*time.Second {
			delete(g.sources, a)
		}
		if looked++; looked > 256 {
			return
		}
	}
}

// look judges one whole message. data is not kept and may be written over afterwards.
func (g *guard) look(data []byte, source netip.AddrPort, stream bool) verdict {
	if g.shut.Load() {
		return verdict{close: stream}
	}
	// What another node sends of itself is not measured; what it passes on, as if it came from where that node had it.
	peer := g.cfg.peer(source.Addr())
	ok, trusted := peer, peer
	if !peer {
		if ok, trusted = g.admit(source.Addr()); !ok {
			return verdict{}
		}
	}
	if len(data) > maxMessage {
		g.cfg.Metrics.Dropped("size")
		return verdict{close: stream}
	}
	m := readShape(data, stream)
	if m == nil {
		g.cfg.Metrics.Dropped("noise")
		return verdict{noise: true}
	}
	from, good := g.cfg.come(m, source, stream)
	if !good {
		m.fail(400, "%s", sentOn)
	}
	if from.forwarded {
		if ok, trusted = g.admit(from.first.addr.Addr()); !ok {
			return verdict{}
		}
	}
	if g.proxy != nil {
		if v, done := g.proxy.take(m, from, trusted); done {
			return v
		}
	}
	if !trusted && m.method != "REGISTER" {
		g.cfg.Metrics.Dropped("source")
		return verdict{close: stream}
	}
	return g.judge(m, from)
}

func (g *guard) judge(m *shape, from origin) verdict {
	source, stream := from.addr, from.stream
	if m.fault != "" {
		return verdict{reply: g.refuse(m, source, m.code, nil), close: m.fatal && stream}
	}
	if m.status != 0 {
		// RFC 3261 §18.1.2 and RFC 4475 §3.3.10: a response whose Via is not ours was never for us; sipgo knows by the branch, which is random.
		return g.letThrough(m, source, stream)
	}
	if r := m.unsupported(); r != "" && m.method != "CANCEL" && m.method != "ACK" {
		return g.orPass(m, source, stream, 420, "Unsupported: "+r)
	}
	if len(m.body) > 0 && m.method != "ACK" && m.method != "CANCEL" {
		if ct, enc := m.bodyType(); !readable(ct) || enc {
			if _, must := m.get("content-disposition"); !optional(m) || !must {
				extra := []string{"Accept: " + accepted}
				if enc {
					extra = append(extra, "Accept-Encoding: identity")
				}
				return g.orPass(m, source, stream, 415, extra...)
			}
		}
	}
	if m.method == "REGISTER" {
		if _, ok := m.get("authorization"); !ok {
			g.cfg.Metrics.Register("challenged")
			var extra []string
			for _, c := range g.challenge(from.first.addr.Addr(), false) {
				extra = append(extra, "WWW-Authenticate: "+c)
			}
			return verdict{reply: g.refuse(m, source, 401, extra)}
		}
	}
	return g.letThrough(m, source, stream)
}

// orPass refuses, but lets an INVITE of a new dialog through: it is a resident who calls, so it is written down before it is refused (uas.go does).
func (g *guard) orPass(m *shape, source netip.AddrPort, stream bool, status int, extra ...string) verdict {
	to, _ := m.get("to")
	if _, inside := param(to, "tag"); m.method == "INVITE" && !inside {
		return g.letThrough(m, source, stream)
	}
	return verdict{reply: g.refuse(m, source, status, extra)}
}

func (g *guard) letThrough(m *shape, source netip.AddrPort, stream bool) verdict {
	if m.method == "INVITE" || m.method == "CANCEL" {
		g.name(m)
	}
	out := m.plain(source.Addr())
	if len(out) > maxMessage {
		g.cfg.Metrics.Dropped("size")
		return verdict{close: stream}
	}
	// What sipgo would refuse to read it would drop, or close the stream for, without an answer.
	if _, err := sipgo.ParseMessage(out); err != nil {
		m.fail(400, "unreadable")
		return verdict{reply: g.refuse(m, source, 400, nil)}
	}
	if m.method != "" {
		transport := "udp"
		if stream {
			transport = "tcp"
		}
		g.cfg.Metrics.Request(m.method, transport)
	}
	return verdict{pass: out}
}

// refuse builds a response without any state, from the header lines as they came (RFC 3261 §8.2.6, §8.2.7). nil when there is nothing to answer to.
func (g *guard) refuse(m *shape, source netip.AddrPort, status int, extra []string) []byte {
	if !m.answerable() {
		g.cfg.Metrics.Dropped("noise")
		return nil
	}
	g.cfg.Metrics.Refused(m.method, status)
	var b bytes.Buffer
	fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", status, reasonPhrase(status))
	top := true
	for _, f := range m.fields {
		if f.key != "via" {
			continue
		}
		for _, v := range split(f.value, ',') {
			if v = printable(v); v == "" {
				continue
			}
			if top {
				if p, ok := param(v, "rport"); ok && p == "" {
					v = strings.Replace(v, ";rport", fmt.Sprintf(";rport=%d", source.Port()), 1)
					v += ";received=" + source.Addr().Unmap().String()
				} else {
					v = received(v, source.Addr())
				}
				top = false
			}
			line(&b, "Via", v)
		}
	}
	done := map[string]bool{}
	for _, f := range m.fields {
		switch f.key {
		case "from", "call-id", "cseq", "to":
			if done[f.key] {
				continue
			}
			done[f.key] = true
			v := printable(f.value)
			if _, ok := param(v, "tag"); f.key == "to" && !ok && !strings.Contains(v, ";tag") {
				call, _ := m.get("call-id")
				v += ";tag=" + guardTag(call)
			}
			line(&b, f.name, v)
		}
	}
	switch status {
	case 405, 501:
		line(&b, "Allow", allowed)
	}
	for _, e := range extra {
		b.WriteString(printable(e) + "\r\n")
	}
	line(&b, "Server", g.cfg.Agent)
	b.WriteString("Content-Length: 0\r\n\r\n")
	return b.Bytes()
}

// guardTag is the To tag of the responses that are given without any state.
func guardTag(call string) string { return "g" + strings.TrimPrefix(oldTag(call), oldTagPrefix) }

// name gives the To of a new call, and of its CANCEL, our tag already here: so all responses carry the same one, also those that sipgo
// makes by itself (100, 487 and the 200 to CANCEL).
func (g *guard) name(m *shape) {
	for i := range m.fields {
		f := &m.fields[i]
		if f.key != "to" {
			continue
		}
		if _, has := param(f.value, "tag"); has {
			return
		}
		call, _ := m.get("call-id")
		from, _ := m.get("from")
		tag, ok := param(from, "tag")
		if !ok {
			tag = oldTag(call)
		}
		cseq, _ := m.get("cseq")
		number, _, _ := strings.Cut(cseq, " ")
		f.value = bracketed(f.value) + ";tag=" + g.tag(call, tag, number)
		return
	}
}

// tag is our tag for the dialog that an INVITE with this Call-ID, From tag and CSeq number begins. A request whose To has just this tag for
// its own CSeq is the beginning itself, since nobody else can make it.
func (g *guard) tag(call, from, cseq string) string {
	h := hmac.New(sha256.New, g.secret[:])
	fmt.Fprintf(h, "%s\x00%s\x00%s", call, from, cseq)
	return "y" + hex.EncodeToString(h.Sum(nil)[:8])
}

// unsupported lists what a request requires that we do not do (RFC 3261 §8.2.2.3). We do timer (RFC 4028) only.
func (m *shape) unsupported() string {
	var bad []string
	for _, f := range m.fields {
		if f.key != "require" && f.key != "proxy-require" {
			continue
		}
		for _, tag := range strings.Split(f.value, ",") {
			if tag = strings.Trim(tag, " \t"); tag != "" && !strings.EqualFold(tag, "timer") {
				bad = append(bad, tag)
			}
		}
	}
	return strings.Join(bad, ", ")
}

func (m *shape) bodyType() (kind string, encoded bool) {
	kind, _ = m.get("content-type")
	kind, _, _ = strings.Cut(kind, ";")
	enc, has := m.get("content-encoding")
	return strings.ToLower(strings.Trim(kind, " \t")), has && !strings.EqualFold(enc, "identity")
}

func readable(kind string) bool {
	switch kind {
	case "application/sdp", "application/dtmf-relay", "application/dtmf", "multipart/mixed", "multipart/signed", "text/plain", "message/sip":
		return true
	}
	return false
}

// optional says that the sender does not mind if the body is not understood (RFC 3261 §20.11).
func optional(m *shape) bool {
	d, _ := m.get("content-disposition")
	return strings.Contains(strings.ToLower(d), "handling=optional")
}

func reasonPhrase(status int) string {
	if r, ok := phrases[status]; ok {
		return r
	}
	return "Status"
}

var phrases = map[int]string{100: "Trying", 180: "Ringing", 183: "Session Progress", 200: "OK", 202: "Accepted",
	300: "Multiple Choices", 301: "Moved Permanently", 302: "Moved Temporarily", 305: "Use Proxy", 380: "Alternative Service",
	400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 406: "Not Acceptable", 407: "Proxy Authentication Required",
	408: "Request Timeout", 410: "Gone", 413: "Request Entity Too Large", 415: "Unsupported Media Type", 416: "Unsupported URI Scheme", 420: "Bad Extension",
	421: "Extension Required", 422: "Session Interval Too Small", 423: "Interval Too Brief", 430: "Flow Failed", 480: "Temporarily Unavailable", 481: "Call/Transaction Does Not Exist",
	482: "Loop Detected", 483: "Too Many Hops", 484: "Address Incomplete", 486: "Busy Here", 487: "Request Terminated", 488: "Not Acceptable Here",
	491: "Request Pending", 500: "Server Internal Error", 501: "Not Implemented", 503: "Service Unavailable", 504: "Server Time-out", 505: "Version Not Supported",
	513: "Message Too Large", 600: "Busy Everywhere", 603: "Decline", 604: "Does Not Exist Anywhere", 606: "Not Acceptable"}
