package media

import (
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

const (
	slots   = 20           // of the wheel: 20 ms in steps of one
	step    = ms           // between two slots
	maxLate = int64(1e9)   // what is later than that is given up: the machine stood still
	busyAt  = 300          // packets in 100 ms from which the thread keeps to its tick
	calmAt  = busyAt / 2   // and below which it wakes at once again
	rounds  = 8            // looks at epoll in one waking, so that a flood leaves time for the wheel
	loaded  = 1000         // packets in a second, twenty streams: below it nobody is turned away for lateness
	lateBad = 10 * ms      // a slot later than that is one a listener may hear
	dozing  = int32(1)     // thread.state: about to wait without a tick
	awake   = int32(0)     //
	window  = int64(100e6) // of the counters
)

// order is something to be done to one or two legs by the thread that owns them.
type order struct {
	a, b *Leg
	do   func(t *thread, now int64)
}

// thread is one media thread. Its fields belong to its goroutine, but for the inbox and the atomics.
type thread struct {
	plane *Plane
	poll  *poller
	clock func() int64

	mu      sync.Mutex
	inbox   []order
	pending atomic.Bool
	state   atomic.Int32
	stop    atomic.Bool

	waiting []order // orders not done yet: their leg is still on its way from another thread
	passes  uint64
	legs    []*Leg // by place; nil: free
	free    []int
	alive   int
	wheel   [slots][]*Leg
	due     int64 // next slot's time
	pos     int   // next slot
	busy    bool

	windowAt int64
	windowRx uint64
	count    counts
	late     lateness
	ring     *ring
	unsaid   []slot // what the ring had no room for and must not be lost: ends and beginnings

	load atomic.Int32 // legs, for placing
	pub  published

	out [headerLen + 100*8 + 64]byte // what we make ourselves
	in  [2048]byte                   // what comes
	src sockaddr
}

type counts struct{ received, sent, bad, foreign, dropped, skipped uint64 }

// published is what others may read, renewed every 100 ms while there are legs. A thread without any sleeps, so what was late has its time beside it.
type published struct {
	received, sent, bad, foreign, dropped, skipped atomic.Uint64
	p99, max                                       atomic.Int64
	lateAt, overAt                                 atomic.Int64 // when these two were measured; when it was last too much. 0: never
	busy                                           atomic.Bool
}

const (
	lateFor = 2 * second // what was late that long ago says nothing any more
	overFor = 3 * second // nobody new for so long after it was too much
)

func (p *published) late(now int64) (p99, most time.Duration) {
	if at := p.lateAt.Load(); at == 0 || now-at >= lateFor {
		return 0, 0
	}
	return time.Duration(p.p99.Load()), time.Duration(p.max.Load())
}

func (p *published) over(now int64) bool {
	at := p.overAt.Load()
	return at > 0 && now-at < overFor
}

// lateness counts how late the wheel's slots were, by whole seconds, in steps of a quarter millisecond up to 25 ms.
type lateness struct {
	steps   [101]uint32
	n, bad  uint32
	max     int64
	until   int64
	overAt  int64 // when the last of two bad seconds on end ended
	badLast bool  // the second before was bad
}

func newThread(p *Plane, now int64) (*thread, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &thread{plane: p, poll: poll, clock: p.clock, due: now, ring: newRing(p.config.RingBytes)}, nil
}

// run is the media thread.
func (t *thread) run() {
	runtime.LockOSThread() // never unlocked: the system's thread ends with us, and its better place with it
	if err := prefer(); err != nil && t == t.plane.all[0] {
		t.plane.log.Info("sound has no place before what else this machine does and may be late when it is busy: give the program CAP_SYS_NICE, or a limit of 1 for real-time priority", "err", err)
	}
	defer t.plane.threads.Done()
	for !t.stop.Load() {
		now := t.clock()
		var events []unix.EpollEvent
		if t.busy {
			if tick := t.due + int64(t.plane.config.Tick) - step; tick > now {
				sleepUntil(tick)
			}
		} else {
			t.state.Store(dozing)
			if t.pending.Load() || t.stop.Load() || t.nextDue() <= now && t.alive > 0 {
				events = t.poll.ready()
			} else {
				events = t.poll.wait(t.nextDue())
			}
			t.state.Store(awake)
		}
		t.guarded(events)
	}
	t.end(t.clock())
}

// guarded does one waking; a panic in it is a bug that costs what was under way, not the other calls.
func (t *thread) guarded(events []unix.EpollEvent) {
	defer func() {
		if v := recover(); v != nil {
			t.plane.log.Error("media thread", slog.Any("panic", v), "stack", stack())
		}
	}()
	t.step(t.clock(), events)
}

// step does what there is to do now.
func (t *thread) step(now int64, events []unix.EpollEvent) {
	if t.pending.Load() || len(t.waiting) > 0 {
		t.orders(now)
	}
	t.drain(now, events)
	t.turn(t.clock())
	if len(t.unsaid) > 0 {
		t.retell()
	}
	t.measure(now)
}

// nextDue is when the wheel next has something to do; 0: never.
func (t *thread) nextDue() int64 {
	if t.alive == 0 {
		return 0
	}
	for k := range slots {
		if len(t.wheel[(t.pos+k)%slots]) > 0 {
			return t.due + int64(k)*step
		}
	}
	return 0
}

// drain takes what has come to every ready socket, a datagram from each in turn.
func (t *thread) drain(now int64, events []unix.EpollEvent) {
	for round := range rounds {
		if round > 0 || len(events) == 0 {
			events = t.poll.ready()
		}
		if len(events) == 0 {
			return
		}
		bells := 0
		for i := range events {
			ev := &events[i]
			if ev.Pad >= onBell {
				t.poll.answer(ev.Pad)
				bells++
				continue
			}
			l := t.legs[ev.Fd]
			if l == nil {
				continue
			}
			fd := l.fd
			if ev.Pad == onRTCP {
				fd = l.fdc
			}
			n := recvFrom(fd, t.in[:], &t.src)
			if n < 0 {
				continue
			}
			if ev.Pad == onRTCP {
				t.rtcpIn(l, t.in[:n], &t.src, true, now)
			} else {
				t.rtpIn(l, t.in[:n], &t.src, now)
			}
		}
		if bells == len(events) {
			return
		}
	}
}

// turn moves the wheel up to now. A tick that is late is made up for, each one; only when the machine has stood still for more than a second
// are ticks given up, since nobody wants a second of sound in one burst.
func (t *thread) turn(now int64) {
	if t.alive == 0 {
		if t.due <= now {
			t.due = now - now%step + step
		}
		return
	}
	if behind := now - t.due; behind > maxLate {
		skip := behind / step
		t.due += skip * step
		t.pos = int((int64(t.pos) + skip) % slots)
		t.count.skipped += uint64(skip)
	}
	for t.due <= now {
		if legs := t.wheel[t.pos]; len(legs) > 0 {
			t.late.add(now-t.due, now)
			for i := len(legs) - 1; i >= 0; i-- { // a visit never adds or removes a leg
				t.visit(legs[i], t.due)
			}
		}
		t.due += step
		if t.pos++; t.pos == slots {
			t.pos = 0
		}
	}
}

func (l *lateness) add(late, now int64) {
	l.steps[min(late/(250*1000), int64(len(l.steps)-1))]++
	l.n++
	if late > lateBad {
		l.bad++
	}
	l.max = max(l.max, late)
}

// close ends a second and gives its 99th percentile.
func (l *lateness) close(now int64) (p99, most int64) {
	left := l.n - l.n*99/100
	for i := len(l.steps) - 1; i >= 0; i-- {
		if l.steps[i] >= left {
			p99 = int64(i+1) * 250 * 1000
			break
		}
		left -= l.steps[i]
	}
	if l.n == 0 {
		p99 = 0
	}
	// More than 2 % of what we say is late enough to be heard, for two seconds on end, and it is much: then one call more makes it worse for all. A
	// machine that stumbles while few speak is not ours to cure by turning callers away.
	bad := l.bad*50 > l.n && l.n >= loaded
	if bad && l.badLast {
		l.overAt = now
	}
	most = l.max
	*l = lateness{overAt: l.overAt, badLast: bad, until: now + second}
	return p99, most
}

// measure publishes the counters, and decides between waking at once and waking by the tick.
func (t *thread) measure(now int64) {
	if now < t.windowAt {
		return
	}
	rx := t.count.received + t.count.foreign + t.count.bad - t.windowRx
	t.windowRx += rx
	if span := now - t.windowAt + window; span > window { // an idle thread measures late
		rx = rx * uint64(window) / uint64(span)
	}
	t.windowAt = now + window
	if rx >= busyAt {
		t.busy = true
	} else if rx < calmAt {
		t.busy = false
	}
	p, c := &t.pub, &t.count
	p.received.Store(c.received)
	p.sent.Store(c.sent)
	p.bad.Store(c.bad)
	p.foreign.Store(c.foreign)
	p.dropped.Store(c.dropped)
	p.skipped.Store(c.skipped)
	p.busy.Store(t.busy)
	if now >= t.late.until {
		p99, most := t.late.close(now)
		p.p99.Store(p99)
		p.max.Store(most)
		p.lateAt.Store(now)
		p.overAt.Store(t.late.overAt)
	}
}

// give puts an order into the inbox and wakes the thread if it may sleep long.
func (t *thread) give(o order) {
	t.mu.Lock()
	t.inbox = append(t.inbox, o)
	t.mu.Unlock()
	t.pending.Store(true)
	t.kick()
}

func (t *thread) kick() {
	if t.state.Load() == dozing {
		t.poll.ring()
	}
}

// orders carries out the inbox. An order whose leg has not arrived yet waits, and with it every later one to the same legs.
func (t *thread) orders(now int64) {
	t.mu.Lock()
	t.pending.Store(false)
	all := append(t.waiting, t.inbox...)
	t.waiting, t.inbox = nil, nil
	t.mu.Unlock()
	t.passes++
	for _, o := range all {
		if !t.mine(o.a) || !t.mine(o.b) {
			t.hold(o.a)
			t.hold(o.b)
			t.waiting = append(t.waiting, o)
			continue
		}
		o.do(t, now)
	}
}

// mine says whether a leg is here, and takes it in if it has just come.
func (t *thread) mine(l *Leg) bool {
	if l == nil {
		return true
	}
	if l.owner.Load() != t || l.skip == t.passes {
		return false
	}
	if l.place < 0 && !l.over {
		t.adopt(l)
	}
	return true
}

func (t *thread) hold(l *Leg) {
	if l != nil && l.owner.Load() == t {
		l.skip = t.passes
	}
}

// adopt takes a leg in.
func (t *thread) adopt(l *Leg) {
	if n := len(t.free); n > 0 {
		l.place = t.free[n-1]
		t.free = t.free[:n-1]
		t.legs[l.place] = l
	} else {
		l.place = len(t.legs)
		t.legs = append(t.legs, l)
	}
	best := 0
	for i := range t.wheel {
		if len(t.wheel[i]) < len(t.wheel[best]) {
			best = i
		}
	}
	if t.alive == 0 {
		if now := t.clock(); t.due <= now {
			t.due = now - now%step + step
		}
	}
	l.slot, l.nth = best, len(t.wheel[best])
	t.wheel[best] = append(t.wheel[best], l)
	t.alive++
	if err := t.poll.add(l.fd, l.place, onRTP); err != nil {
		t.plane.log.Error("media: a leg is deaf", "error", err)
	}
	if err := t.poll.add(l.fdc, l.place, onRTCP); err != nil {
		t.plane.log.Error("media: a leg has no RTCP", "error", err)
	}
}

// part takes a leg out: from the sockets, the wheel, its bridge.
func (t *thread) part(l *Leg) {
	if l.peer != nil {
		t.unbridge(l, l.peer)
	}
	if l.place < 0 {
		return
	}
	t.poll.remove(l.fd)
	t.poll.remove(l.fdc)
	t.legs[l.place] = nil
	t.free = append(t.free, l.place)
	w := t.wheel[l.slot]
	last := w[len(w)-1]
	w[l.nth], last.nth = last, l.nth
	w[len(w)-1] = nil
	t.wheel[l.slot] = w[:len(w)-1]
	l.place = -1
	t.alive--
}

func (t *thread) bridge(a, b *Leg, now int64) {
	if a.over || b.over {
		return
	}
	t.cut(a)
	t.cut(b)
	if a.peer == b {
		return
	}
	for _, l := range []*Leg{a, b} {
		if l.peer != nil {
			t.unbridge(l, l.peer)
		}
		l.ear.begin(now)
		l.owed = 0
	}
	a.peer, b.peer = b, a
}

func (t *thread) unbridge(a, b *Leg) {
	if a.peer != b {
		return
	}
	a.peer, b.peer = nil, nil
	a.ear.since, b.ear.since = 0, 0
}

// end closes every leg and recording of the thread.
func (t *thread) end(now int64) {
	t.orders(now)
	for rec := range t.plane.recordingsOf(t) {
		t.endRecording(rec, now, true)
	}
	for _, l := range t.legs {
		if l != nil {
			t.closeLeg(l)
		}
	}
	for len(t.unsaid) > 0 {
		t.retell()
		time.Sleep(time.Millisecond)
	}
	t.measure(now + second)
}

func (t *thread) closeLeg(l *Leg) {
	if l.over {
		return
	}
	l.over = true
	t.part(l)
	t.untap(l, t.clock())
	l.play = nil
	closeFD(l.fd)
	closeFD(l.fdc)
	t.load.Add(-1)
	t.plane.buried(l, l.snapshot())
}
