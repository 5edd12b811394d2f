package queue

import (
	"container/heap"
	"slices"
	"strings"
	"time"

	"yingda/intake"
)

// kind parts the channels into what takes the whole of an operator and what does not.
type kind int

const (
	voice kind = iota
	text
	kinds
)

func kindOf(c intake.Channel) kind {
	switch c {
	case intake.Chat, intake.WeChat:
		return text
	}
	return voice
}

type lineKey struct {
	kind kind
	id   intake.LineID
}

// waiter is a contact that waits.
type waiter struct {
	Join
	kind  kind
	key   int64 // milliseconds: when it would have arrived had its priority been waiting
	seq   uint64
	offer *offer // open, nil when nobody is rung for it

	left, right      *waiter
	weight           uint64
	below, openBelow int
}

// offer is a contact and an operator: open (a lease), then taken, then gone.
type offer struct {
	id      intake.OfferID // "" for a call that the operator makes
	ref     string         // of such a call
	contact intake.ContactID
	kind    kind
	line    intake.LineID
	op      *operator
	until   time.Time
	rings   bool
	taken   bool
	gone    bool
	since   time.Time // taken since
}

// operator is everything known of one. State follows from it, see state.
type operator struct {
	id        intake.UserID
	seq       uint64
	signed    bool
	reachable bool
	why       string // why not reachable
	onBreak   bool
	reason    string // of the break
	capacity  Capacity
	group     *group // nil when not signed in
	offer     *offer // open
	with      []*offer
	wrap      time.Time // writes down until; zero: does not
	rest      time.Time // is left alone until
	away      time.Time // did not answer us; tried again then
	misses    int       // in a row
	calls     int       // taken since signing in
	asked     int       // calls and misses since signing in
	idle      time.Time // since when their turn counts

	stamp   [kinds]uint64
	free    [kinds]bool
	present [kinds]bool
	state   State
	shown   string // reason told with it
	since   time.Time
}

// Queue is the machine. It is owned by one goroutine.
type Queue struct {
	newOffer  func() intake.OfferID
	set       Settings
	operators map[intake.UserID]*operator
	waiters   map[intake.ContactID]*waiter
	offers    map[intake.OfferID]*offer
	lines     map[lineKey]*line // only those on which somebody waits
	groups    map[string]*group
	serving   map[intake.LineID][]*group // who serves a line; made when asked for, thrown away when a group comes or goes
	dues      dues
	seq       uint64
	handle    [kinds]time.Duration // what a conversation takes with its wrap-up, on average; 0: unknown yet
	handled   [kinds]int

	now        time.Time
	out        []Effect
	dirtyOps   []*operator
	dirtyLines []lineKey
	held       bool // a chat was kept from somebody for the sake of a call, see turn
}

// New makes an empty one.
func New(c Config) *Queue {
	return &Queue{
		newOffer: c.NewOffer, set: c.Settings.filled(),
		operators: map[intake.UserID]*operator{}, waiters: map[intake.ContactID]*waiter{}, offers: map[intake.OfferID]*offer{},
		lines: map[lineKey]*line{}, groups: map[string]*group{}, serving: map[intake.LineID][]*group{},
	}
}

func (s Settings) filled() Settings {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	def(&s.Ring, 20*time.Second)
	def(&s.Grace, 5*time.Second)
	def(&s.Rest, 5*time.Second)
	def(&s.Away, 30*time.Second)
	def(&s.HeadStart, time.Minute)
	def(&s.Bound, 5*time.Minute)
	if s.Misses == 0 {
		s.Misses = 3
	}
	if s.Strategy == "" {
		s.Strategy = LongestIdle
	}
	return s
}

// Step takes what happened and says what follows, in order. Wake does what has become due. Deadline is when it wants to be woken,
// zero for never.
func (q *Queue) Step(now time.Time, in Input) []Effect {
	q.begin(now)
	q.step(in)
	return q.end()
}

// Wake does what has become due.
func (q *Queue) Wake(now time.Time) []Effect {
	q.begin(now)
	return q.end()
}

// Deadline is when something becomes due, zero for never.
func (q *Queue) Deadline() time.Time {
	for len(q.dues) > 0 {
		if !q.dues[0].void() {
			return q.dues[0].at
		}
		heap.Pop(&q.dues)
	}
	return time.Time{}
}

// begin brings everything up to now, so that an input that comes together with a deadline finds the deadline done.
func (q *Queue) begin(now time.Time) {
	q.now, q.out = now, nil
	for at := q.Deadline(); !at.IsZero() && !at.After(now); at = q.Deadline() {
		d := heap.Pop(&q.dues).(due)
		if o := d.offer; o != nil {
			q.tell(Withdrawn{o.id, o.contact, o.op.id, WhyExpired})
			q.missed(o, WhyExpired)
			continue
		}
		op := d.op
		for _, t := range []*time.Time{&op.wrap, &op.rest, &op.away} {
			if t.Equal(d.at) {
				*t = time.Time{}
			}
		}
		q.update(op)
	}
}

func (q *Queue) end() []Effect {
	q.match()
	return q.out
}

func (q *Queue) tell(e Effect) { q.out = append(q.out, e) }

func (q *Queue) later(d due) { heap.Push(&q.dues, d) }

func (q *Queue) step(in Input) {
	switch in := in.(type) {
	case Join:
		q.join(in)
	case Leave:
		q.leave(in)
	case Ask:
		if w := q.waiters[in.Contact]; w != nil {
			q.tell(q.place(w))
		}
	case Rings:
		if o := q.offers[in.Offer]; o != nil && !o.taken {
			o.rings = true
			q.update(o.op)
		}
	case Took:
		q.took(in)
	case Missed:
		if o := q.offers[in.Offer]; o != nil && !o.taken {
			if w := q.waiters[o.contact]; w != nil && in.Leaves {
				q.gone(w)
			}
			q.missed(o, in.Why)
		}
	case Finished:
		if o := q.offers[in.Offer]; o != nil {
			q.finished(o, true)
		}
	case SignedIn:
		q.signIn(in)
	case SignedOut:
		if op := q.operators[in.Operator]; op != nil && op.signed {
			op.signed, op.onBreak, op.wrap, op.rest, op.misses = false, false, time.Time{}, time.Time{}, 0
			q.withdraw(op.offer, WhySignedOut)
			q.regroup(op, nil)
			q.update(op)
		}
	case Break:
		if op := q.operators[in.Operator]; op != nil && op.signed {
			op.onBreak, op.reason, op.wrap = true, in.Reason, time.Time{}
			q.withdraw(op.offer, WhyBreak)
			q.update(op)
		}
	case Back:
		if op := q.operators[in.Operator]; op != nil && op.onBreak {
			op.onBreak, op.misses, op.idle = false, 0, q.now
			q.update(op)
		}
	case WrapUpDone:
		if op := q.operators[in.Operator]; op != nil {
			op.wrap = time.Time{}
			q.update(op)
		}
	case Reachable:
		op := q.operator(in.Operator)
		op.reachable, op.why, op.away = true, "", time.Time{}
		q.update(op)
	case Unreachable:
		op := q.operator(in.Operator)
		op.reachable, op.why = false, in.Why
		q.withdraw(op.offer, WhyUnreachable)
		q.update(op)
	case Engage:
		q.engage(in)
	case Disengage:
		if op := q.operators[in.Operator]; op != nil {
			for _, o := range op.with {
				if o.id == "" && o.ref == in.Ref {
					q.finished(o, in.Talked)
					break
				}
			}
		}
	case Settings:
		q.change(in)
	default:
		panic("queue: an input of another kind")
	}
}

func (q *Queue) operator(id intake.UserID) *operator {
	op := q.operators[id]
	if op == nil {
		q.seq++
		op = &operator{id: id, seq: q.seq, state: StateOffline, since: q.now}
		q.operators[id] = op
	}
	return op
}

func (q *Queue) signIn(in SignedIn) {
	op := q.operator(in.Operator)
	if !op.signed {
		op.signed, op.idle, op.calls, op.asked, op.misses = true, q.now, 0, 0, 0
	}
	if in.Reachable {
		op.reachable, op.why, op.away = true, "", time.Time{}
	}
	op.capacity = in.Capacity
	q.regroup(op, q.group(in.Lines, in.Capacity.NoCalls))
	q.update(op)
}

// group finds or makes the group of those who serve these lines, with calls or without.
func (q *Queue) group(ids []intake.LineID, noCalls bool) *group {
	key, set := "*", map[string]bool(nil)
	if ids != nil {
		set = map[string]bool{}
		names := make([]string, 0, len(ids))
		for _, id := range ids {
			if !set[string(id)] {
				set[string(id)] = true
				names = append(names, string(id))
			}
		}
		slices.Sort(names)
		key = "=" + strings.Join(names, "\x00")
	}
	if noCalls {
		key = "no calls" + key
	}
	g := q.groups[key]
	if g == nil {
		g = &group{key: key, lines: set, noCalls: noCalls}
		q.groups[key] = g
		clear(q.serving)
	}
	return g
}

// regroup moves an operator to another group, nil for none.
func (q *Queue) regroup(op *operator, g *group) {
	if op.group == g {
		return
	}
	if old := op.group; old != nil {
		old.members--
		for k := range kinds {
			if op.free[k] {
				old.free[k].live--
			}
			if op.present[k] {
				old.present[k]--
			}
		}
		if old.members == 0 {
			delete(q.groups, old.key)
			clear(q.serving)
		}
	}
	op.group, op.free, op.present = g, [kinds]bool{}, [kinds]bool{}
	for k := range kinds {
		op.stamp[k]++
	}
	if g != nil {
		g.members++
	}
}

func (q *Queue) engage(in Engage) {
	op := q.operators[in.Operator]
	if op != nil {
		for _, o := range op.with {
			if o.id == "" && o.ref == in.Ref {
				return // said twice
			}
		}
	}
	switch {
	case op == nil || !op.signed:
		q.tell(EngageRefused{in.Operator, in.Ref, string(StateOffline)})
	case op.offer != nil, op.busy(voice) > 0:
		q.tell(EngageRefused{in.Operator, in.Ref, string(op.state)})
	case !op.reachable:
		q.tell(EngageRefused{in.Operator, in.Ref, string(StateUnreachable)})
	default:
		op.wrap, op.rest, op.away = time.Time{}, time.Time{}, time.Time{}
		op.with = append(op.with, &offer{ref: in.Ref, kind: voice, op: op, taken: true, since: q.now})
		q.update(op)
		q.tell(Engaged(in))
	}
}

// change puts other settings in force: everybody's place and turn is worked out anew, the one step that costs n log n.
func (q *Queue) change(s Settings) {
	q.set = s.filled()
	for key, l := range q.lines {
		var all []*waiter
		l.each(func(w *waiter) { all = append(all, w) })
		l.root = nil
		for _, w := range all {
			w.key = q.key(w.Join)
			l.insert(w)
		}
		q.dirtyLines = append(q.dirtyLines, key)
	}
	for _, op := range q.sorted() {
		q.renew(op)
	}
}

// sorted are the operators in an order that does not change from run to run.
func (q *Queue) sorted() []*operator {
	list := make([]*operator, 0, len(q.operators))
	for _, op := range q.operators {
		list = append(list, op)
	}
	slices.SortFunc(list, func(a, b *operator) int { return strings.Compare(string(a.id), string(b.id)) })
	return list
}

// Snapshot is how things stand.
func (q *Queue) Snapshot() Snapshot {
	var s Snapshot
	keys := make([]lineKey, 0, len(q.lines))
	for key := range q.lines {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, compareLines)
	for _, key := range keys {
		q.lines[key].each(func(w *waiter) {
			v := Waiter{Contact: w.Contact, Channel: w.Channel, Line: w.Line, Arrived: w.Arrived, Priority: w.Priority, Why: w.Why}
			if w.offer != nil {
				v.Offered = w.offer.op.id
			}
			s.Waiting = append(s.Waiting, v)
		})
	}
	for _, op := range q.sorted() {
		seat := Seat{Operator: op.id, State: op.state, Since: op.since, Reason: op.shown, Calls: op.calls, Misses: op.misses}
		for _, o := range op.with {
			if o.contact != "" {
				seat.With = append(seat.With, o.contact)
			}
		}
		s.Operators = append(s.Operators, seat)
	}
	return s
}

func compareLines(a, b lineKey) int {
	if a.kind != b.kind {
		return int(a.kind - b.kind)
	}
	return strings.Compare(string(a.id), string(b.id))
}
