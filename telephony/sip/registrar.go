package sip

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sip "github.com/emiago/sipgo/sip"

	"yingda/intake"
	"yingda/internal/pii"
)

var zeroPhone pii.Phone

func (s *Server) context() context.Context { return context.Background() }

// registrar knows where the operators' phones are (RFC 3261 §10.3), and whether they are really there.
type registrar struct {
	s      *Server
	nonces *nonces

	mu       sync.Mutex
	bindings map[string]*bound // by user and contact
	wrong    map[string]*wrong // by user and source
	sources  map[netip.Addr]int
	state    map[intake.UserID]bool
	accounts map[string]Account // as they were last read: in memory only, for the time in which they cannot be read
	unread   time.Time          // until then the tables are not asked for an account that is known
	nodes    map[netip.AddrPort]*node

	book   *bookkeeper
	away   atomic.Bool  // another node has the switchboard: nothing is written down here
	absent atomic.Int64 // when that was seen last, Unix nanoseconds

	tellMu sync.Mutex // the hook is called in order
}

// bound is a binding and what we found out about it.
type bound struct {
	Binding
	since   time.Time
	next    time.Time // of its next OPTIONS
	missed  int
	dead    bool
	waiting bool // an OPTIONS is under way
}

// wrong counts the bad passwords of one user from one source.
type wrong struct {
	count int
	lock  time.Duration
	until time.Time
	last  time.Time
}

func newRegistrar(s *Server) *registrar {
	return &registrar{s: s, nonces: newNonces(s.cfg.Timers.Nonce, 4*s.cfg.Limits.Bindings, s.cfg.Digests), bindings: map[string]*bound{}, wrong: map[string]*wrong{},
		sources: map[netip.Addr]int{}, state: map[intake.UserID]bool{}, accounts: map[string]Account{}, nodes: map[netip.AddrPort]*node{}, book: newBookkeeper(s)}
}

func (r *registrar) challenge(source netip.Addr, stale bool) []string {
	return r.nonces.challenges(time.Now(), r.s.cfg.Domain, source, stale)
}

// load takes back what was registered before the last start, or with the node that had the switchboard until now. What is registered here since
// since is newer than the tables; of what is older, the tables know better.
func (r *registrar) load(since time.Time) error {
	list, err := r.s.cfg.Registrations.Load()
	if err != nil {
		r.s.log.Error("registrations not read", "error", err)
		return err
	}
	now := time.Now()
	ops := map[intake.UserID]bool{}
	stands := map[string]bool{}
	for _, b := range list {
		k := bindingKey(b.User, b.Contact)
		if _, newer := r.book.pending(k); newer || !b.Expires.After(now) {
			continue
		}
		stands[k] = true
		if !r.has(k, b.Expires) {
			r.put(b, now)
		}
		ops[b.Operator] = true
	}
	r.mu.Lock()
	for k, b := range r.bindings {
		if !stands[k] && b.since.Before(since) {
			ops[b.Operator] = true
			r.forget(k)
		}
	}
	r.mu.Unlock()
	r.probe(now)
	for op := range ops {
		why := "registered"
		if len(r.reachable(op)) == 0 {
			why = "unregistered" // with the node that had the switchboard
		}
		r.tell(op, why)
	}
	return nil
}

// has says that a binding is known that lives at least that long.
func (r *registrar) has(k string, expires time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bindings[k]
	return b != nil && !b.Expires.Before(expires)
}

// loaded loads until it works or the switchboard is gone again. It is sip.loader, one after each coming of the switchboard at most.
func (r *registrar) loaded(since time.Time) {
	for r.load(since) != nil {
		t := time.NewTimer(2 * time.Second)
		select {
		case <-t.C:
		case <-r.s.quit:
			t.Stop()
			return
		}
		if r.away.Load() {
			return
		}
	}
}

// turn looks whether the switchboard has come or gone. While it is elsewhere the bindings are kept for the calls that are still here, and run out.
func (r *registrar) turn(now time.Time) {
	_, away := r.s.elsewhere()
	if away {
		r.absent.Store(now.UnixNano())
	}
	if r.away.Swap(away) == away {
		return
	}
	if away {
		r.book.drop()
		return
	}
	since := time.Unix(0, r.absent.Load())
	r.s.wg.Go(func() { r.s.guarded(func() { r.loaded(since) }) })
}

func bindingKey(user, contact string) string { return user + "\x00" + contact }

func (r *registrar) put(b Binding, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := bindingKey(b.User, b.Contact)
	if old := r.bindings[k]; old != nil {
		r.forget(k)
	}
	r.bindings[k] = &bound{Binding: b, since: now, next: now.Add(r.s.cfg.Timers.Check)}
	r.sources[b.Source.Addr()]++
}

// forget takes a binding out. The lock is held.
func (r *registrar) forget(k string) {
	b := r.bindings[k]
	delete(r.bindings, k)
	if a := b.Source.Addr(); r.sources[a] <= 1 {
		delete(r.sources, a)
	} else {
		r.sources[a]--
	}
}

func (r *registrar) remove(k, why string) {
	r.mu.Lock()
	b := r.bindings[k]
	if b == nil {
		r.mu.Unlock()
		return
	}
	r.forget(k)
	r.mu.Unlock()
	if !r.away.Load() {
		r.book.note(b.Binding, true)
	}
	r.tell(b.Operator, why)
}

// from says that a phone is registered from an address.
func (r *registrar) from(a netip.Addr) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sources[a] > 0
}

func (r *registrar) all() []Binding {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]Binding, 0, len(r.bindings))
	for _, b := range r.bindings {
		out = append(out, b.Binding)
	}
	slices.SortFunc(out, func(a, b Binding) int {
		return strings.Compare(bindingKey(a.User, a.Contact), bindingKey(b.User, b.Contact))
	})
	return out
}

// reachable gives an operator's phones that are registered and have not fallen silent, the newest first.
func (r *registrar) reachable(op intake.UserID) []Binding {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []*bound
	for _, b := range r.bindings {
		if b.Operator == op && !b.dead && b.Expires.After(now) {
			list = append(list, b)
		}
	}
	slices.SortFunc(list, func(a, b *bound) int { return b.since.Compare(a.since) })
	out := make([]Binding, len(list))
	for i, b := range list {
		out[i] = b.Binding
	}
	return out
}

// tell reports an operator's reachability where it has changed.
func (r *registrar) tell(op intake.UserID, why string) {
	r.tellMu.Lock()
	defer r.tellMu.Unlock()
	now := len(r.reachable(op)) > 0
	r.mu.Lock()
	changed := r.state[op] != now
	if now {
		r.state[op] = true
	} else {
		delete(r.state, op)
	}
	count := len(r.bindings)
	r.mu.Unlock()
	r.s.cfg.Metrics.Bindings(count)
	if changed {
		r.s.cfg.Operators(op, now, why)
	}
}

// disconnected: a TCP connection is gone, and with it the only way to a phone behind NAT.
func (r *registrar) disconnected(source netip.AddrPort) {
	if r.s.closed.Load() {
		return
	}
	r.mu.Lock()
	var ops []intake.UserID
	for _, b := range r.bindings {
		if b.Transport == "tcp" && b.Source == source && !b.dead {
			b.dead = true
			ops = append(ops, b.Operator)
		}
	}
	r.mu.Unlock()
	for _, op := range ops {
		r.tell(op, "connection lost")
	}
}

// onRegister is the registrar: who is it, and what is to be bound.
func (r *registrar) onRegister(req *sip.Request, tx sip.ServerTransaction) {
	s := r.s
	first, node := s.sourceOf(header(req, sentOn), req.Source(), req.Transport())
	source := first.addr
	if !s.cfg.mayRegister(source.Addr()) {
		s.answer(req, tx, 403, "")
		return
	}
	r.turn(time.Now())
	account, stale, err := r.authenticate(req, source.Addr())
	if errors.Is(err, errUnread) {
		// Not 401: a phone would take its password for wrong, and some never ask again.
		s.cfg.Metrics.Register("unread")
		s.answer(req, tx, 503, "", "Retry-After: 5")
		return
	}
	if err != nil {
		// The same words for an unknown user, a wrong password and a lock: nobody learns which names exist.
		var more []string
		for _, c := range r.challenge(source.Addr(), stale) {
			more = append(more, "WWW-Authenticate: "+c)
		}
		s.answer(req, tx, 401, "", more...)
		return
	}
	if to := userOf(req.To().Address.String()); to != account.User {
		s.cfg.Metrics.Register("refused")
		s.answer(req, tx, 403, "")
		return
	}
	status, more := r.bind(req, account, first, node)
	if status == 200 {
		s.cfg.Metrics.Register("ok")
	} else {
		s.cfg.Metrics.Register("refused")
	}
	s.answer(req, tx, status, "", more...)
}

var (
	errDenied = errors.New("sip: not authenticated")
	errUnread = errors.New("sip: the account cannot be read now")
)

// account finds who may register. While the tables cannot be read, what was last read of an account holds: a node that is cut off goes on answering.
func (r *registrar) account(user string, now time.Time) (Account, error) {
	r.mu.Lock()
	last, known := r.accounts[user]
	cut := known && now.Before(r.unread)
	r.mu.Unlock()
	if cut {
		return last, nil
	}
	a, err := r.s.cfg.Account(user)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err == nil:
		if len(r.accounts) >= r.s.cfg.Limits.Bindings {
			for k := range r.accounts {
				delete(r.accounts, k)
				break
			}
		}
		r.accounts[user], r.unread = a, time.Time{}
		return a, nil
	case errors.Is(err, ErrNoAccount):
		delete(r.accounts, user)
		return Account{}, ErrNoAccount
	}
	if r.unread.IsZero() {
		r.s.log.Error("accounts of phones cannot be read: what is known of them holds", "error", err)
	}
	r.unread = time.Now().Add(5 * time.Second)
	if known {
		return last, nil
	}
	return Account{}, errUnread
}

// authenticate checks the digest. An unknown user costs the same work as a known one. The error is errDenied or errUnread.
func (r *registrar) authenticate(req *sip.Request, source netip.Addr) (account Account, stale bool, err error) {
	s := r.s
	now := time.Now()
	var c credentials
	for _, v := range headers(req, "Authorization") {
		if p := parseDigest(v); p != nil && p["realm"] == s.cfg.Domain {
			c = p
			break
		}
	}
	if c == nil || c["username"] == "" || c["uri"] == "" {
		s.cfg.Metrics.Register("challenged")
		return Account{}, false, errDenied
	}
	alg := c.algorithm()
	count, counted := c.count()
	switch {
	case alg != "MD5" && alg != "SHA-256", c["qop"] != "" && c["qop"] != "auth", c["qop"] == "auth" && (!counted || c["cnonce"] == ""):
		s.cfg.Metrics.Register("challenged")
		return Account{}, false, errDenied
	}
	ours, fresh := r.nonces.check(now, c["nonce"], source)
	if !ours {
		s.cfg.Metrics.Register("stale")
		return Account{}, true, errDenied
	}
	key := c["username"] + "\x00" + source.String()
	if r.locked(key, now) {
		s.cfg.Metrics.Register("locked")
		return Account{}, false, errDenied
	}
	if account, err = r.account(c["username"], now); errors.Is(err, errUnread) {
		return Account{}, false, err
	}
	known := err == nil
	if !known {
		account = Account{User: c["username"], Password: "\x00 nobody"}
	}
	right := c.right(account.ha1(alg, s.cfg.Domain), "REGISTER") && known
	if !right {
		r.missed(key, now)
		s.cfg.Metrics.Register("refused")
		return Account{}, false, errDenied
	}
	if !fresh {
		s.cfg.Metrics.Register("stale")
		return Account{}, true, errDenied
	}
	if c["qop"] == "" {
		count = 1<<64 - 1 // the old digest has no count: each nonce once
	}
	if !r.nonces.use(now, c["nonce"], count) {
		s.cfg.Metrics.Register("stale")
		return Account{}, true, errDenied
	}
	r.mu.Lock()
	delete(r.wrong, key)
	r.mu.Unlock()
	return account, false, nil
}

func (r *registrar) locked(key string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.wrong[key]
	return w != nil && now.Before(w.until)
}

func (r *registrar) missed(key string, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.wrong[key]
	if w == nil {
		if len(r.wrong) >= r.s.cfg.Limits.Sources {
			for k, old := range r.wrong {
				if now.Sub(old.last) > time.Hour {
					delete(r.wrong, k)
				}
			}
			if len(r.wrong) >= r.s.cfg.Limits.Sources {
				return // the sources' own token buckets still hold
			}
		}
		w = &wrong{lock: r.s.cfg.Limits.LockFor}
		r.wrong[key] = w
	}
	if now.Sub(w.last) > time.Hour {
		w.count, w.lock = 0, r.s.cfg.Limits.LockFor
	}
	w.last = now
	if w.count++; w.count >= r.s.cfg.Limits.LockAfter {
		w.until = now.Add(w.lock)
		w.lock = min(2*w.lock, 15*time.Minute)
		r.s.log.Warn("too many wrong passwords of a phone: locked for a while", "count", w.count, "until", w.until.UTC().Format(time.RFC3339))
	}
}

// bind carries out an authenticated REGISTER.
func (r *registrar) bind(req *sip.Request, account Account, first hop, node netip.AddrPort) (status int, more []string) {
	s := r.s
	now := time.Now()
	if node.IsValid() {
		r.heard(node, now)
	} else if s.cfg.Elsewhere != nil {
		node = s.self(first.addr)
	}
	byDefault := s.cfg.Timers.MaxExpire
	if v := header(req, "Expires"); v != "" {
		if n, err := strconv.ParseUint(v, 10, 32); err == nil {
			byDefault = time.Duration(n) * time.Second
		}
	}
	call, seq := req.CallID().Value(), req.CSeq().SeqNo
	var wanted []Binding
	var drop []string
	for _, v := range headers(req, "Contact") {
		for _, one := range split(v, ',') {
			if one == "*" {
				if byDefault != 0 {
					return 400, nil
				}
				for _, b := range r.of(account.User) {
					drop = append(drop, bindingKey(b.User, b.Contact))
				}
				continue
			}
			uri := inBrackets(one)
			scheme, _, _ := strings.Cut(uri, ":")
			if !strings.EqualFold(scheme, "sip") || len(uri) > 512 {
				return 400, nil
			}
			life := byDefault
			if e, ok := param(one, "expires"); ok {
				if n, err := strconv.ParseUint(e, 10, 32); err == nil {
					life = time.Duration(n) * time.Second
				}
			}
			key := bindingKey(account.User, uri)
			if r.older(key, call, seq) {
				return 500, []string{"Retry-After: 1"}
			}
			if life == 0 {
				drop = append(drop, key)
				continue
			}
			if life < s.cfg.Timers.MinExpire {
				return 423, []string{fmt.Sprintf("Min-Expires: %d", int(s.cfg.Timers.MinExpire.Seconds()))}
			}
			wanted = append(wanted, Binding{User: account.User, Operator: account.Operator, Contact: uri, Source: first.addr, Transport: first.network(), Node: node,
				Expires: now.Add(min(life, s.cfg.Timers.MaxExpire)).UTC(), CallID: call, CSeq: seq, Agent: printable(header(req, "User-Agent"))})
		}
	}
	for _, k := range drop {
		r.remove(k, "unregistered")
	}
	for _, b := range wanted {
		if !r.roomFor(b) {
			return 503, []string{"Retry-After: 60"}
		}
		r.put(b, now)
		r.book.note(b, false)
	}
	if len(wanted) > 0 {
		r.tell(account.Operator, "registered")
	}
	for _, b := range r.of(account.User) {
		more = append(more, fmt.Sprintf("Contact: <%s>;expires=%d", b.Contact, max(0, int(b.Expires.Sub(now).Round(time.Second).Seconds()))))
	}
	return 200, more
}

func (r *registrar) of(user string) []Binding {
	now := time.Now()
	var out []Binding
	for _, b := range r.all() {
		if b.User == user && b.Expires.After(now) {
			out = append(out, b)
		}
	}
	return out
}

// older says that a newer REGISTER of the same phone has been seen (RFC 3261 §10.3 step 7).
func (r *registrar) older(key, call string, seq uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	b := r.bindings[key]
	return b != nil && b.CallID == call && seq <= b.CSeq
}

// roomFor makes room for one more contact of a user by giving up the oldest; false when all users together have too many.
func (r *registrar) roomFor(b Binding) bool {
	var mine []*bound
	r.mu.Lock()
	if r.bindings[bindingKey(b.User, b.Contact)] != nil {
		r.mu.Unlock()
		return true
	}
	total := len(r.bindings)
	for _, o := range r.bindings {
		if o.User == b.User {
			mine = append(mine, o)
		}
	}
	r.mu.Unlock()
	if len(mine) >= r.s.cfg.Limits.Contacts {
		slices.SortFunc(mine, func(a, b *bound) int { return a.since.Compare(b.since) })
		r.remove(bindingKey(mine[0].User, mine[0].Contact), "replaced")
		return true
	}
	return total < r.s.cfg.Limits.Bindings
}

// keep is sip.keeper: once a second it ends what has run out, and asks phones and trunks in their turn.
func (r *registrar) keep() {
	s := r.s
	defer s.wg.Done()
	t := time.NewTicker(time.Second)
	defer t.Stop()
	var trunks time.Time
	for {
		now := time.Now()
		s.guarded(func() { r.turn(now) })
		s.guarded(func() { r.pass(now) })
		if now.After(trunks) {
			every := s.cfg.Timers.Check
			if every < 0 {
				every = time.Minute
			}
			trunks = now.Add(every)
			s.proxy.sweep(now)
			for _, tr := range s.trunks {
				if tr.Outbound.Target != "" && !r.away.Load() {
					go s.guarded(func() { s.checkTrunk(tr) })
				}
			}
			s.mu.Lock()
			for k, e := range s.past {
				if now.After(e.until) {
					delete(s.past, k)
				}
			}
			s.mu.Unlock()
		}
		select {
		case <-t.C:
		case <-s.quit:
			return
		}
	}
}

// pass looks at each binding once.
func (r *registrar) pass(now time.Time) {
	var expired []string
	var ask []Binding
	r.mu.Lock()
	for k, b := range r.bindings {
		switch {
		case !b.Expires.After(now):
			expired = append(expired, k)
		case r.s.cfg.Timers.Check > 0 && !now.Before(b.next) && !b.waiting:
			b.waiting = true
			b.next = now.Add(r.s.cfg.Timers.Check)
			ask = append(ask, b.Binding)
		}
	}
	r.mu.Unlock()
	for _, k := range expired {
		r.remove(k, "expired")
	}
	r.probe(now)
	for _, b := range ask {
		r.s.check(r.s.context(), r.place(b), func(status int) { r.checked(b, status) })
	}
}

// checked takes in how an OPTIONS to a phone ended. Any answer shows that it is there; two in a row without one, that it is not.
func (r *registrar) checked(b Binding, status int) {
	r.mu.Lock()
	cur := r.bindings[bindingKey(b.User, b.Contact)]
	if cur == nil || cur.Source != b.Source {
		r.mu.Unlock()
		return
	}
	cur.waiting = false
	why := "answers"
	if status != 0 && status != 408 && status != 430 {
		cur.missed, cur.dead = 0, false
	} else if cur.missed++; cur.missed >= 2 {
		cur.dead = true
		why = "no answer"
	}
	r.mu.Unlock()
	r.tell(b.Operator, why)
}
