package queue

import (
	"slices"
	"time"

	"yingda/intake"
)

// key is when a contact would have arrived had its priority been waiting, in ms. It never changes while it waits, and since the
// head start is bounded, nobody who has waited longer than the bound is passed by one who comes later.
func (q *Queue) key(j Join) int64 {
	at := j.Arrived.UnixMilli()
	if j.Head {
		return at - 1<<50 // before every time that a clock can show
	}
	ahead := min(time.Duration(max(j.Priority, 0))*q.set.HeadStart, q.set.Bound)
	return at - ahead.Milliseconds()
}

func (q *Queue) join(in Join) {
	if w := q.waiters[in.Contact]; w != nil {
		q.tell(q.place(w))
		return
	}
	q.seq++
	w := &waiter{Join: in, kind: kindOf(in.Channel), seq: q.seq, weight: weight(q.seq)}
	w.key = q.key(in)
	key := lineKey{w.kind, in.Line}
	if limit := q.limit(in); !in.Head && limit > 0 && q.waiting(key) >= limit {
		if _, free := q.turn(key); !free {
			q.tell(Full{in.Contact})
			return
		}
	}
	l := q.lines[key]
	if l == nil {
		l = &line{id: key}
		q.lines[key] = l
	}
	l.insert(w)
	q.waiters[in.Contact] = w
	q.tell(q.place(w))
	q.dirtyLines = append(q.dirtyLines, key)
}

func (q *Queue) limit(in Join) int {
	if in.Limit > 0 {
		return in.Limit
	}
	if n, ok := q.set.MaxOnLine[in.Line]; ok {
		return n
	}
	return q.set.MaxWaiting
}

func (q *Queue) waiting(key lineKey) int {
	if l := q.lines[key]; l != nil {
		return size(l.root)
	}
	return 0
}

// place counts who stands before w on all lines that its operators serve: one who is first on its own line is not next when the same
// people must serve fifty on another.
func (q *Queue) place(w *waiter) Placed {
	ahead, staff := 0, 0
	groups := q.servers(w.Line)
	for key, l := range q.lines {
		if key.kind == w.kind && (key.id == w.Line || slices.ContainsFunc(groups, func(g *group) bool { return g.serves(string(key.id)) })) {
			ahead += l.ahead(w)
		}
	}
	for _, g := range groups {
		staff += g.present[w.kind]
	}
	p := Placed{Contact: w.Contact, Ahead: ahead}
	if staff > 0 && q.handled[w.kind] >= 3 {
		p.Estimate = (q.handle[w.kind] * time.Duration(ahead+1) / time.Duration(staff)).Round(time.Second)
	}
	return p
}

// servers are the groups that serve a line.
func (q *Queue) servers(id intake.LineID) []*group {
	groups, ok := q.serving[id]
	if !ok {
		for _, g := range q.groups {
			if g.serves(string(id)) {
				groups = append(groups, g)
			}
		}
		q.serving[id] = groups
	}
	return groups
}

// turn is whose turn it is to serve a line. Whoever takes calls and chats is given no further chat while a call that came before it waits
// for them: a call needs all of an operator, and chats that follow one another would keep it out for ever.
func (q *Queue) turn(key lineKey) (best turn, ok bool) {
	for _, g := range q.servers(key.id) {
		t, free := g.peek(key.kind)
		if !free || ok && !t.before(best) {
			continue
		}
		if key.kind == text && !g.noCalls {
			if call, chat := q.first(g, voice), q.lines[key]; call != nil && chat != nil && chat.first() != nil && call.before(chat.first()) {
				q.held = true
				continue
			}
		}
		best, ok = t, true
	}
	return best, ok
}

// first is who comes first among those whom nobody is rung for on the lines of a group.
func (q *Queue) first(g *group, k kind) *waiter {
	var best *waiter
	look := func(l *line) {
		if w := l.first(); w != nil && (best == nil || w.before(best)) {
			best = w
		}
	}
	if g.lines != nil && len(g.lines) < len(q.lines) {
		for id := range g.lines {
			if l := q.lines[lineKey{k, intake.LineID(id)}]; l != nil {
				look(l)
			}
		}
		return best
	}
	for key, l := range q.lines {
		if key.kind == k && g.serves(string(key.id)) {
			look(l)
		}
	}
	return best
}

// next is whom an operator should serve: who comes first on any line that they serve, of what they are free for.
func (q *Queue) next(op *operator) *waiter {
	var best *waiter
	for k := range kinds {
		if op.free[k] {
			if w := q.first(op.group, k); w != nil && (best == nil || w.before(best)) {
				best = w
			}
		}
	}
	return best
}

// match offers whatever can be offered. Before a step nobody waited whom a free operator could serve, so only lines and operators that
// the step has touched are looked at.
func (q *Queue) match() {
	for len(q.dirtyOps) > 0 || len(q.dirtyLines) > 0 {
		ops, keys := q.dirtyOps, q.dirtyLines
		q.dirtyOps, q.dirtyLines = nil, nil
		for _, op := range ops {
			for op.group != nil {
				w := q.next(op)
				if w == nil || !q.serve(w) {
					break
				}
			}
		}
		slices.SortFunc(keys, compareLines)
		for _, key := range keys {
			for {
				l := q.lines[key]
				if l == nil || l.first() == nil || !q.serve(l.first()) {
					break
				}
			}
		}
	}
}

// serve offers w to whose turn it is. When several operators became free in one step, that one may have somebody on another line who comes
// before w: then they are served first. False when nobody is free for w.
func (q *Queue) serve(w *waiter) bool {
	t, free := q.turn(lineKey{w.kind, w.Line})
	if !free {
		return false
	}
	for earlier := q.next(t.op); earlier != w; earlier = q.next(t.op) {
		u, free := q.turn(lineKey{earlier.kind, earlier.Line})
		if !free {
			break
		}
		w, t = earlier, u
	}
	q.offer(w, t.op)
	return true
}

func (q *Queue) offer(w *waiter, op *operator) {
	ring := w.Ring
	if ring == 0 {
		ring = q.set.Ring
	}
	o := &offer{id: q.newOffer(), contact: w.Contact, kind: w.kind, line: w.Line, op: op, until: q.now.Add(ring + q.set.Grace)}
	q.offers[o.id] = o
	w.offer, op.offer = o, o
	q.lines[lineKey{w.kind, w.Line}].touched(w)
	q.served(w)
	q.later(due{at: o.until, offer: o})
	q.update(op)
	q.tell(Offered{o.id, w.Contact, op.id, ring, o.until})
}

// release ends an open offer; the contact keeps its place, the operator is as they were.
func (q *Queue) release(o *offer) {
	o.gone = true
	delete(q.offers, o.id)
	o.op.offer = nil
	if w := q.waiters[o.contact]; w != nil && w.offer == o {
		w.offer = nil
		key := lineKey{w.kind, w.Line}
		q.lines[key].touched(w)
		q.dirtyLines = append(q.dirtyLines, key)
	}
}

// withdraw takes an open offer back, if there is one. The caller updates the operator.
func (q *Queue) withdraw(o *offer, why string) {
	if o != nil {
		q.release(o)
		q.tell(Withdrawn{o.id, o.contact, o.op.id, why})
	}
}

// missed: nothing came of an offer by the operator's side.
func (q *Queue) missed(o *offer, why string) {
	q.release(o)
	op := o.op
	op.idle = q.now // not asked again first
	op.asked++
	if why == WhyUnreachable {
		op.away, op.why = q.now.Add(q.set.Away), ReasonUnreachable
		q.later(due{at: op.away, op: op})
		q.update(op)
		return
	}
	op.misses++
	op.rest = q.now.Add(q.set.Rest)
	q.later(due{at: op.rest, op: op})
	if n := op.misses; q.set.Misses > 0 && n >= q.set.Misses && op.signed {
		op.onBreak, op.reason, op.misses = true, ReasonMisses, 0
		q.update(op)
		q.tell(Notice{op.id, ReasonMisses, n})
		return
	}
	q.update(op)
}

// gone takes a contact out of its line.
func (q *Queue) gone(w *waiter) {
	key := lineKey{w.kind, w.Line}
	l := q.lines[key]
	l.remove(w)
	if l.root == nil {
		delete(q.lines, key)
	}
	delete(q.waiters, w.Contact)
	q.served(w)
}

// served: a call waits no more, so chats kept back for its sake may go on.
func (q *Queue) served(w *waiter) {
	if w.kind == voice && q.held {
		q.held = false
		for key := range q.lines {
			if key.kind == text {
				q.dirtyLines = append(q.dirtyLines, key)
			}
		}
	}
}

func (q *Queue) leave(in Leave) {
	w := q.waiters[in.Contact]
	if w == nil {
		return
	}
	o := w.offer
	q.gone(w)
	if o != nil {
		q.withdraw(o, in.Why)
		q.update(o.op)
	}
}

func (q *Queue) took(in Took) {
	o := q.offers[in.Offer]
	if o != nil && o.taken {
		return
	}
	if o == nil { // the lease ran out in the same moment; but they talk, and what is true goes before what was planned
		if in.Contact == "" || in.Operator == "" {
			return
		}
		op := q.operator(in.Operator)
		if w := q.waiters[in.Contact]; w != nil && w.offer != nil {
			other := w.offer
			q.withdraw(other, WhyElsewhere)
			q.update(other.op)
		}
		q.withdraw(op.offer, WhyElsewhere)
		o = &offer{id: in.Offer, contact: in.Contact, kind: kindOf(in.Channel), line: in.Line, op: op}
		q.offers[o.id] = o
	}
	if w := q.waiters[o.contact]; w != nil {
		q.gone(w)
	}
	op := o.op
	if op.offer == o {
		op.offer = nil
	}
	o.taken, o.since = true, q.now
	op.with = append(op.with, o)
	op.misses, op.rest, op.away = 0, time.Time{}, time.Time{}
	op.calls++
	op.asked++
	q.update(op)
}

// finished: a conversation (or an open offer whose contact is over) has ended. Talked: there is something to write down.
func (q *Queue) finished(o *offer, talked bool) {
	op := o.op
	if !o.taken {
		if w := q.waiters[o.contact]; w != nil {
			q.gone(w)
		}
		q.release(o)
		q.update(op)
		return
	}
	o.gone = true
	if o.id != "" {
		delete(q.offers, o.id)
	}
	op.with = slices.DeleteFunc(op.with, func(v *offer) bool { return v == o })
	op.idle = q.now
	wrap := q.set.WrapUp
	if o.kind == text {
		wrap = q.set.ChatWrapUp
	}
	if talked && o.id != "" {
		q.learn(o.kind, q.now.Sub(o.since)+wrap)
	}
	if talked && wrap > 0 && op.signed && !op.onBreak {
		op.wrap = q.now.Add(wrap)
		q.later(due{at: op.wrap, op: op})
	}
	q.update(op)
}

// learn moves the average by an eighth; the first few count whole.
func (q *Queue) learn(k kind, took time.Duration) {
	q.handled[k]++
	n := time.Duration(min(q.handled[k], 8))
	q.handle[k] += (took - q.handle[k]) / n
}

// busy counts what an operator has in hand.
func (op *operator) busy(k kind) int {
	n := 0
	for _, o := range op.with {
		if o.kind == k {
			n++
		}
	}
	return n
}

// now is the state that follows from what is known, and its reason.
func (op *operator) now() (State, string) {
	switch {
	case len(op.with) > 0:
		if o := op.with[len(op.with)-1]; o.id == "" {
			return StateTalking, ReasonCallback
		}
		return StateTalking, ""
	case op.offer != nil && op.offer.rings:
		return StateRinging, ""
	case op.offer != nil:
		return StateReserved, ""
	case !op.signed:
		return StateOffline, ""
	case op.onBreak:
		return StateBreak, op.reason
	case !op.reachable || !op.away.IsZero():
		return StateUnreachable, op.why
	case !op.wrap.IsZero():
		return StateWrapUp, ""
	}
	return StateIdle, ""
}

// update is the one door through which a state changes: it tells the change, and puts the operator among the free or takes them out.
func (q *Queue) update(op *operator) {
	state, reason := op.now()
	if state != op.state || reason != op.shown {
		before := op.state
		op.state, op.shown = state, reason
		if state != before {
			op.since = q.now
		}
		q.tell(StateChanged{op.id, state, before, reason})
	}
	q.renew(op)
}

// renew works out what an operator may be offered and whose turn they have.
func (q *Queue) renew(op *operator) {
	g := op.group
	if g == nil {
		return
	}
	here := op.signed && !op.onBreak && op.reachable && op.away.IsZero()
	ready := here && op.wrap.IsZero() && op.rest.IsZero() && op.offer == nil
	calls, chats := op.busy(voice), op.busy(text)
	free := [kinds]bool{
		voice: ready && !op.capacity.NoCalls && calls == 0 && chats <= q.set.ChatsBesideCall,
		text:  ready && chats < op.capacity.Chats && (calls == 0 || chats < q.set.ChatsBesideCall),
	}
	present := [kinds]bool{voice: here && !op.capacity.NoCalls, text: here && op.capacity.Chats > 0}
	dirty := false
	for k := range kinds {
		if present[k] != op.present[k] {
			op.present[k] = present[k]
			if present[k] {
				g.present[k]++
			} else {
				g.present[k]--
			}
		}
		if op.free[k] { // the turn is made anew, since what it counts may have changed
			g.free[k].live--
			op.stamp[k]++
		}
		op.free[k] = free[k]
		if free[k] {
			op.stamp[k]++
			t := turn{op: op, stamp: op.stamp[k], since: op.idle}
			if q.set.Strategy == FewestCalls {
				t.asked = op.asked
			}
			g.push(k, t)
			dirty = true
		}
	}
	if dirty {
		q.dirtyOps = append(q.dirtyOps, op)
	}
}
