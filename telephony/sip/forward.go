package sip

import (
	"crypto/rand"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// sentOn names the header by which a node tells another where it had a request from, as `192.0.2.7:5060;transport=udp`. It is believed of
// Config.Peers only and taken out of everybody else's requests.
const (
	sentOn    = "X-Yingda-Source"
	sentOnKey = "x-yingda-source"
)

// hop is an address with its transport.
type hop struct {
	addr netip.AddrPort
	tcp  bool
}

// origin is where a request came from.
type origin struct {
	addr      netip.AddrPort // who sent us the packet: there the answer goes
	stream    bool           // over TCP
	peer      bool           // it is another node
	forwarded bool           // and it only passes on what it had from first
	first     hop            // who sent it to the first of our nodes; addr when nobody passed it on
}

// come tells the origin of a message. good is false when a peer says nonsense.
func (c *Config) come(m *shape, source netip.AddrPort, stream bool) (from origin, good bool) {
	from = origin{addr: source, stream: stream, peer: c.peer(source.Addr()), first: hop{source, stream}}
	if !from.peer {
		m.drop(sentOnKey)
		return from, true
	}
	seen := 0
	for _, f := range m.fields {
		if f.key != sentOnKey {
			continue
		}
		if from.first, good = readSentOn(f.value); !good || seen > 0 {
			return from, false
		}
		from.forwarded = true
		seen++
	}
	return from, true
}

func (c *Config) peer(a netip.Addr) bool {
	a = a.Unmap()
	for _, p := range c.Peers {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func readSentOn(v string) (hop, bool) {
	text, params, _ := strings.Cut(v, ";")
	a, err := netip.ParseAddrPort(text)
	if err != nil || a.Port() == 0 || a.Addr().Zone() != "" {
		return hop{}, false
	}
	h := hop{addr: netip.AddrPortFrom(a.Addr().Unmap(), a.Port())}
	switch params {
	case "transport=udp":
	case "transport=tcp":
		h.tcp = true
	default:
		return hop{}, false
	}
	return h, true
}

func (h hop) sentOn() string {
	if h.tcp {
		return h.addr.String() + ";transport=tcp"
	}
	return h.addr.String() + ";transport=udp"
}

func (m *shape) drop(key string) {
	kept := m.fields[:0]
	for _, f := range m.fields {
		if f.key != key {
			kept = append(kept, f)
		}
	}
	m.fields = kept
}

// proxy sends on what another node has to decide: it redirects (302) trunks that follow a redirection and passes on everything else, and passes on
// what other nodes send by us to a phone or trunk that speaks with us. It is a stateless proxy (RFC 3261 §16.11) that sits beside the guard, below
// sipgo and our dialog layer: all that must be known of a message's way stands in the message itself, in our Via and our Record-Route.
//
// What it remembers is for the moments in which the switchboard moves: a CANCEL, an ACK and an INVITE that comes again take the way of the
// first one, also when that is here.
type proxy struct {
	s      *Server
	secret [32]byte
	us     map[netip.Addr]bool // the addresses that are ours

	mu     sync.Mutex
	passed map[string]*passing // INVITEs by transaction
	over   map[string]time.Time
	phones map[netip.Addr]time.Time // registered elsewhere by us, until
	answer map[string]chan struct{} // requests that came by TCP and are repeated until something comes back, by our branch
}

// passing is what was done with an INVITE.
type passing struct {
	way   way
	to    hop
	heard bool // something came back
	until time.Time
}

type way int

const (
	here     way = iota // it was let through to us
	sentAway            // redirected
	passedOn
)

// remembered is how long a way is known: longer than a phone rings (RFC 3261 timer C).
const remembered = 5 * time.Minute

// wayBack is the secret of our branches. It is the process's, so that an answer finds its way though the server has been replaced by another one.
var wayBack = sync.OnceValue(func() (secret [32]byte) {
	_, _ = rand.Read(secret[:])
	return secret
})

func newProxy(s *Server) *proxy {
	return &proxy{s: s, secret: wayBack(), us: map[netip.Addr]bool{}, passed: map[string]*passing{}, over: map[string]time.Time{}, phones: map[netip.Addr]time.Time{},
		answer: map[string]chan struct{}{}}
}

// addresses notes under which addresses this node is reached.
func (p *proxy) addresses() {
	for _, a := range []netip.Addr{p.s.cfg.Advertise, p.s.udpAddr.Addr(), p.s.tcpAddr.Addr()} {
		if a.IsValid() && !a.IsUnspecified() {
			p.us[a.Unmap()] = true
			continue
		}
		if !a.IsValid() {
			continue
		}
		list, _ := net.InterfaceAddrs()
		for _, i := range list {
			if n, ok := i.(*net.IPNet); ok {
				if a, ok := netip.AddrFromSlice(n.IP); ok {
					p.us[a.Unmap()] = true
				}
			}
		}
	}
}

// elsewhere says where the switchboard is, when it is not here. The address may be zero.
func (s *Server) elsewhere() (netip.AddrPort, bool) {
	if s.cfg.Elsewhere == nil {
		return netip.AddrPort{}, false
	}
	e, away := s.cfg.Elsewhere()
	if !away {
		return netip.AddrPort{}, false
	}
	if !e.Address.IsValid() || e.Address.Port() == 0 {
		return netip.AddrPort{}, true
	}
	to := netip.AddrPortFrom(e.Address.Addr().Unmap(), e.Address.Port())
	if s.proxy.isUs(to) {
		return netip.AddrPort{}, false
	}
	return to, true
}

func (p *proxy) isUs(a netip.AddrPort) bool {
	return a.IsValid() && (a.Port() == p.s.udpAddr.Port() || a.Port() == p.s.tcpAddr.Port()) && p.us[a.Addr().Unmap()]
}

// take deals with a message that is not for us. done is false when it is: then it goes its ordinary way.
func (p *proxy) take(m *shape, from origin, trusted bool) (v verdict, done bool) {
	if m.fault != "" {
		return verdict{}, false
	}
	if m.status != 0 {
		return verdict{}, p.back(m, from)
	}
	if (trusted || m.method == "REGISTER") && p.looped(m) {
		p.s.cfg.Metrics.Onward(m.method, "loop")
		return p.refuse(m, from, 482), true
	}
	to, _ := m.get("to")
	_, inside := param(to, "tag")
	count, token := p.ourRoutes(m)
	if token != nil {
		switch {
		case from.peer && !from.forwarded:
			return p.forward(m, from, p.outward(m, *token, count), step{routes: count, record: m.method == "INVITE" && !inside}), true
		case !token.node.IsValid() || !inside && m.method != "CANCEL" || !p.s.cfg.peer(token.node.Addr()) || p.isUs(token.node):
		case trusted || token.out.addr.Addr() == from.addr.Addr():
			return p.forward(m, from, hop{addr: token.node}, step{inward: true, routes: count}), true
		}
	}
	if !trusted && m.method != "REGISTER" {
		return verdict{}, false
	}
	owner, away := p.s.elsewhere()
	call, _ := m.get("call-id")
	theirs := m.fromTag()
	cseq, _ := m.get("cseq")
	number, _, _ := strings.Cut(cseq, " ")
	key, tx := dialogKey(call, theirs), call+"\x00"+theirs+"\x00"+number
	inward := step{inward: true, routes: count}
	switch {
	case m.method == "ACK" && strings.HasSuffix(to, ";tag="+guardTag(call)):
		return verdict{}, true // of a response that we gave without keeping anything
	case m.method == "ACK" || m.method == "CANCEL":
		if e := p.recall(tx); e != nil {
			switch {
			case e.way == passedOn:
				return p.forward(m, from, e.to, inward), true
			case e.way == sentAway && m.method == "CANCEL":
				return p.refuse(m, from, 200), true
			}
			return verdict{}, e.way == sentAway
		}
		if !away || !owner.IsValid() || p.lives(key) || from.forwarded && p.visited(m, owner) {
			return verdict{}, false
		}
		return p.forward(m, from, hop{addr: owner}, inward), true
	case inside:
		// A trunk that speaks with one address only, or has forgotten the Record-Route, speaks of a call that the owner has.
		if !away || !owner.IsValid() || p.lives(key) || from.forwarded && p.visited(m, owner) {
			return verdict{}, false
		}
		return p.forward(m, from, hop{addr: owner}, inward), true
	case m.method == "INVITE":
		return p.invite(m, from, tx, key, owner, away, inward)
	case m.method == "REGISTER" && away && p.s.cfg.mayRegister(from.first.addr.Addr()):
		if v, no := p.nobody(m, from, owner); no {
			return v, true
		}
		return p.forward(m, from, hop{addr: owner}, inward), true
	}
	return verdict{}, false
}

// invite chooses the way of a new call.
func (p *proxy) invite(m *shape, from origin, tx, key string, owner netip.AddrPort, away bool, s step) (verdict, bool) {
	e := p.recall(tx)
	if e != nil && e.way == here || p.lives(key) {
		return verdict{}, false
	}
	if e != nil && e.way == passedOn && e.heard {
		return p.forward(m, from, e.to, s), true // whoever answers now, that one has heard of it
	}
	if !away {
		p.remember(tx, here, hop{})
		return verdict{}, false
	}
	if v, no := p.nobody(m, from, owner); no {
		return v, true
	}
	t := p.s.cfg.trunk(from.first.addr.Addr())
	if t != nil && !t.Forward && !from.forwarded {
		p.remember(tx, sentAway, hop{})
		p.s.cfg.Metrics.Onward(m.method, "redirected")
		return p.refuse(m, from, 302, "Contact: <sip:"+calledPart(m)+"@"+owner.String()+";transport=udp>"), true
	}
	p.remember(tx, passedOn, hop{addr: owner})
	s.record = true
	return p.forward(m, from, hop{addr: owner}, s), true
}

// nobody refuses when there is no node to send on to: none is known, or the one that is known has just sent it to us, because the switchboard is
// moving. The caller's exchange tries again, or tries the next address, and finds who has it then.
func (p *proxy) nobody(m *shape, from origin, owner netip.AddrPort) (verdict, bool) {
	if owner.IsValid() && p.s.udp != nil && !(from.forwarded && p.visited(m, owner)) {
		return verdict{}, false
	}
	p.s.cfg.Metrics.Onward(m.method, "no_owner")
	return p.refuse(m, from, 503, "Retry-After: 2"), true
}

func (p *proxy) refuse(m *shape, from origin, status int, extra ...string) verdict {
	if m.method == "ACK" {
		return verdict{}
	}
	return verdict{reply: p.s.guard.refuse(m, from.addr, status, extra)}
}

// calledPart is the user part for the Contact of a redirection: the called number, as it stood in the request URI.
func calledPart(m *shape) string {
	scheme, rest, _ := strings.Cut(m.uri, ":")
	if strings.EqualFold(scheme, "tel") {
		return userEscape(userOf(m.uri))
	}
	if i := strings.LastIndexByte(rest, '@'); i > 0 {
		user, _, _ := strings.Cut(rest[:i], ":") // no password
		return user
	}
	to, _ := m.get("to")
	return userEscape(userOf(inBrackets(to)))
}

func (m *shape) fromTag() string {
	from, _ := m.get("from")
	if tag, ok := param(from, "tag"); ok {
		return tag
	}
	call, _ := m.get("call-id")
	return oldTag(call)
}

// lives says that a call is here, or was a moment ago.
func (p *proxy) lives(key string) bool {
	p.s.mu.Lock()
	l := p.s.dialogs[key]
	p.s.mu.Unlock()
	if l != nil {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.over[key]
	return ok && time.Now().Before(until)
}

// left notes that a call is over here, so that what comes again of it finds us.
func (p *proxy) left(key string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	room(p.over, 4*p.s.cfg.Limits.Legs, func(until time.Time) time.Time { return until })
	p.over[key] = time.Now().Add(p.s.cfg.Timers.Forget)
}

func (p *proxy) recall(tx string) *passing {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.passed[tx]; e != nil && time.Now().Before(e.until) {
		return &passing{way: e.way, to: e.to, heard: e.heard}
	}
	return nil
}

func (p *proxy) remember(tx string, w way, to hop) {
	p.mu.Lock()
	defer p.mu.Unlock()
	room(p.passed, 4*p.s.cfg.Limits.Legs, func(e *passing) time.Time { return e.until })
	p.passed[tx] = &passing{way: w, to: to, until: time.Now().Add(remembered)}
}

// room keeps a memory within its limit: what has run out goes, and if that is not enough, anything.
func room[K comparable, V any](m map[K]V, limit int, until func(V) time.Time) {
	if len(m) < limit {
		return
	}
	now := time.Now()
	looked := 0
	for k, v := range m {
		if now.After(until(v)) {
			delete(m, k)
		}
		if looked++; looked > 256 {
			break
		}
	}
	for k := range m {
		if len(m) < limit {
			return
		}
		delete(m, k)
	}
}

// sweep forgets what has run out. Called by sip.keeper.
func (p *proxy) sweep(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for k, e := range p.passed {
		if now.After(e.until) {
			delete(p.passed, k)
		}
	}
	for k, until := range p.over {
		if now.After(until) {
			delete(p.over, k)
		}
	}
	for a, until := range p.phones {
		if now.After(until) {
			delete(p.phones, a)
		}
	}
}

// phone says that a phone has registered by us with the owner.
func (p *proxy) phone(a netip.Addr) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	until, ok := p.phones[a]
	return ok && time.Now().Before(until)
}

// vias gives the Via values of a message, one by one.
func (m *shape) vias() []string {
	var out []string
	for _, f := range m.fields {
		if f.key == "via" {
			out = append(out, split(f.value, ',')...)
		}
	}
	return out
}

// looped says that a request has been here before (RFC 3261 §16.3 step 4): one of its Vias is ours.
func (p *proxy) looped(m *shape) bool {
	for _, v := range m.vias() {
		if b, _ := param(v, "branch"); strings.HasPrefix(b, branchStart) && p.isUs(sentByOf(v)) {
			return true
		}
	}
	return false
}

// visited says that a request has been at a node before: to send it there again would be ping-pong.
func (p *proxy) visited(m *shape, node netip.AddrPort) bool {
	for _, v := range m.vias() {
		if b, _ := param(v, "branch"); strings.HasPrefix(b, branchStart) && sentByOf(v) == node {
			return true
		}
	}
	return false
}

// sentByOf gives the address in a plain Via; zero when it is a name.
func sentByOf(via string) netip.AddrPort {
	a, err := netip.ParseAddr(viaHost(via))
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(viaPort(via)))
}

// token is what a Record-Route or Route of ours says, in the user part of its URI: yf-<out>[-<node>].
type token struct {
	out  hop            // the phone or trunk on this side
	node netip.AddrPort // the node on the other; zero in the Route that a node makes of a registration
}

const tokenStart = "yf-"

func (t token) String() string {
	s := tokenStart + t.out.hex()
	if t.node.IsValid() {
		s += "-" + hop{addr: t.node}.hex()
	}
	return s
}

func readToken(s string) *token {
	rest, ok := strings.CutPrefix(s, tokenStart)
	if !ok {
		return nil
	}
	out, node, two := strings.Cut(rest, "-")
	var t token
	if t.out, ok = readHop(out); !ok {
		return nil
	}
	if two {
		n, ok := readHop(node)
		if !ok || n.tcp {
			return nil
		}
		t.node = n.addr
	}
	return &t
}

// ourRoutes counts the Route values on top that name us, and reads the token of the first that has one.
func (p *proxy) ourRoutes(m *shape) (count int, t *token) {
	for _, f := range m.fields {
		if f.key != "route" {
			continue
		}
		for _, r := range split(f.value, ',') {
			uri := inBrackets(r)
			host, port, _ := hostPort(uri)
			if port == 0 {
				port = 5060
			}
			a, err := netip.ParseAddr(host)
			if err != nil || !p.isUs(netip.AddrPortFrom(a.Unmap(), uint16(port))) {
				return count, t
			}
			count++
			if t == nil {
				t = readToken(userOf(uri))
			}
		}
	}
	return count, t
}

// outward is where a request of another node goes on to: a phone is reached the way it came, whatever its Contact says; of a trunk that wants to be
// spoken to at another of its addresses, there.
func (p *proxy) outward(m *shape, t token, ours int) hop {
	trunk := p.s.cfg.trunk(t.out.addr.Addr())
	if trunk == nil || t.out.tcp {
		return t.out
	}
	uri := m.uri
	n := 0
	for _, f := range m.fields {
		if f.key != "route" {
			continue
		}
		for _, r := range split(f.value, ',') {
			if n++; n == ours+1 {
				uri = inBrackets(r)
			}
		}
	}
	host, port, params := hostPort(uri)
	if port == 0 {
		port = 5060
	}
	a, err := netip.ParseAddr(host)
	if err != nil || p.s.cfg.trunk(a) != trunk || strings.EqualFold(uriParam(params, "transport"), "tcp") || private(a) && !private(t.out.addr.Addr()) {
		return t.out
	}
	return hop{addr: netip.AddrPortFrom(a.Unmap(), uint16(port))}
}

// sourceOf tells where a request came from: over which of the far side's addresses, and by which node when another one has passed it on. node is then
// where our answers and requests go.
func (s *Server) sourceOf(header, source, transport string) (first hop, node netip.AddrPort) {
	first = hop{addrPortOf(source), strings.EqualFold(transport, "TCP")}
	if header == "" {
		return first, netip.AddrPort{}
	}
	if h, ok := readSentOn(header); ok { // the guard has let it through, so it is a peer's
		return h, first.addr
	}
	return first, netip.AddrPort{}
}

// network is the transport's name as a Binding has it.
func (h hop) network() string {
	if h.tcp {
		return "tcp"
	}
	return "udp"
}

func (h hop) hex() string {
	b := []byte{0}
	if h.tcp {
		b[0] = 1
	}
	b = append(b, h.addr.Addr().Unmap().AsSlice()...)
	b = append(b, byte(h.addr.Port()>>8), byte(h.addr.Port()))
	return hexOf(b)
}

func hexOf(b []byte) string {
	const digits = "0123456789abcdef"
	out := make([]byte, 0, 2*len(b))
	for _, c := range b {
		out = append(out, digits[c>>4], digits[c&15])
	}
	return string(out)
}

func readHop(s string) (hop, bool) {
	if len(s) != 14 && len(s) != 38 { // IPv4, IPv6
		return hop{}, false
	}
	b := make([]byte, len(s)/2)
	for i := range b {
		n, err := strconv.ParseUint(s[2*i:2*i+2], 16, 8)
		if err != nil {
			return hop{}, false
		}
		b[i] = byte(n)
	}
	a, ok := netip.AddrFromSlice(b[1 : len(b)-2])
	port := uint16(b[len(b)-2])<<8 | uint16(b[len(b)-1])
	if !ok || b[0] > 1 || port == 0 || a.IsUnspecified() || a.IsMulticast() {
		return hop{}, false
	}
	return hop{netip.AddrPortFrom(a.Unmap(), port), b[0] == 1}, true
}
