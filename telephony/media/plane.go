package media

import (
	"fmt"
	"iter"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"yingda/intake"
	"yingda/telephony"
)

// Plane is the media plane of one process.
type Plane struct {
	config Config
	log    *slog.Logger
	v6     bool
	clock  func() int64              // ns, CLOCK_MONOTONIC
	wall   func(now int64) time.Time // the wall clock at that time

	all       []*thread
	recorders []*recorder
	threads   sync.WaitGroup
	writers   sync.WaitGroup
	done      chan struct{}

	mu       sync.Mutex
	closed   bool
	legs     map[telephony.LegID]*Leg
	recs     map[intake.RecordingID]*recording
	ended    map[*Leg]LegStats // counters of legs that were closed, until somebody asks or 64 newer ones have come
	endOrder []*Leg
	ports    ports
}

func stack() string { return string(debug.Stack()) }

// Open starts the media plane.
func Open(c Config) (*Plane, error) {
	if !c.Address.IsValid() {
		c.Address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	if c.Threads <= 0 {
		c.Threads = runtime.NumCPU()
	}
	if c.MaxLegs <= 0 {
		c.MaxLegs = 2000 * c.Threads
	}
	for d, or := range map[*time.Duration]time.Duration{&c.FirstMedia: 30 * time.Second, &c.MediaTimeout: 15 * time.Second,
		&c.QuietAfter: 8 * time.Second, &c.Quarantine: 10 * time.Second, &c.Tick: time.Millisecond} {
		if *d <= 0 {
			*d = or
		}
	}
	if c.RingBytes <= 0 {
		c.RingBytes = 8 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	p := &Plane{config: c, log: c.Logger, v6: c.Address.Is6(), done: make(chan struct{}), legs: map[telephony.LegID]*Leg{},
		recs: map[intake.RecordingID]*recording{}, ended: map[*Leg]LegStats{}}
	if err := p.ports.open(c.PortMin, c.PortMax); err != nil {
		return nil, err
	}
	if c.RecordingDir != "" {
		if err := makeRecordingDir(c.RecordingDir); err != nil {
			return nil, err
		}
	}
	p.clock = monotonic()
	if c.clock != nil {
		p.clock = c.clock
	}
	start, base := time.Now(), p.clock()
	p.wall = func(now int64) time.Time { return start.Add(time.Duration(now - base)) }
	if c.clock != nil {
		return p, p.addThreads()
	}
	if err := p.addThreads(); err != nil {
		return nil, err
	}
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + c.Threads)
	for i, t := range p.all {
		p.threads.Add(1)
		go t.run()
		p.writers.Add(2)
		go p.recorders[i].run()
		go p.recorders[i].finisher.run(&p.writers)
	}
	return p, nil
}

func (p *Plane) addThreads() error {
	for range p.config.Threads {
		t, err := newThread(p, p.clock())
		if err != nil {
			for _, t := range p.all {
				t.poll.close()
			}
			return err
		}
		p.all = append(p.all, t)
		p.recorders = append(p.recorders, newRecorder(p, t.ring))
		t.ring.rouse = p.recorders[len(p.recorders)-1].rouse
	}
	return nil
}

func (p *Plane) report(in telephony.Input) {
	if p.config.Report != nil {
		p.config.Report(in)
	}
}

// NewLeg takes a pair of ports for a leg. ErrFull, ErrPorts: not now; ErrExists, ErrClosed: not so.
func (p *Plane) NewLeg(id telephony.LegID) (*Leg, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		return nil, ErrClosed
	case p.legs[id] != nil:
		return nil, fmt.Errorf("%w: %s", ErrExists, id)
	case len(p.legs) >= p.config.MaxLegs:
		return nil, ErrFull
	}
	now := p.clock()
	fd, fdc, port, err := p.ports.take(p.config.Address, now, p.config.Quarantine)
	if err != nil {
		return nil, err
	}
	l := &Leg{id: id, plane: p, fd: fd, fdc: fdc, rtp: netip.AddrPortFrom(p.config.Address, port), rtcp: netip.AddrPortFrom(p.config.Address, port+1)}
	l.begin(now)
	l.home = slices.MinFunc(p.all, func(a, b *thread) int { return int(a.load.Load() - b.load.Load()) })
	l.home.load.Add(1)
	l.owner.Store(l.home)
	p.legs[id] = l
	l.home.give(order{a: l, do: func(*thread, int64) {}})
	return l, nil
}

// order sends something to be done to a leg; false when the leg is over.
func (p *Plane) order(l *Leg, do func(t *thread, now int64)) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.gone || p.closed {
		return false
	}
	l.home.give(order{a: l, do: do})
	return true
}

func (p *Plane) closeLeg(l *Leg) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l.gone || p.closed {
		return
	}
	l.gone = true
	delete(p.legs, l.id)
	l.home.give(order{a: l, do: func(t *thread, now int64) { t.closeLeg(l) }})
}

// buried keeps a closed leg's counters for a while and gives its ports back. The thread calls it.
func (p *Plane) buried(l *Leg, s LegStats) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ports.give(l.rtp.Port(), p.clock())
	p.ended[l] = s
	if p.endOrder = append(p.endOrder, l); len(p.endOrder) > 64 {
		delete(p.ended, p.endOrder[0])
		p.endOrder = p.endOrder[1:]
	}
}

// farewell gives the counters of a leg that is closed, waiting until its thread has done so.
func (p *Plane) farewell(l *Leg) LegStats {
	p.nudge()
	for {
		p.mu.Lock()
		s, ok := p.ended[l]
		p.mu.Unlock()
		if ok {
			return s
		}
		answer := make(chan LegStats, 1)
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return LegStats{}
		}
		l.home.give(order{a: l, do: func(*thread, int64) { answer <- l.snapshot() }})
		p.mu.Unlock()
		p.nudge()
		select {
		case s := <-answer:
			return s
		case <-p.done:
			return LegStats{}
		}
	}
}

// join brings two legs to one thread and gives the order there. A leg that is being recorded stays where it is.
func (p *Plane) join(a, b *Leg, do func(t *thread, now int64)) {
	if a.home != b.home {
		to, move := a.home, b
		if b.taped && !a.taped {
			to, move = b.home, a
		}
		if move.taped { // both are: a file has one writer, so that one of the two must end
			for _, r := range p.recs {
				if r.legs[0] == move || r.legs[1] == move {
					p.stopRecord(r)
				}
			}
		}
		from := move.home
		move.home = to
		to.load.Add(1)
		from.load.Add(-1)
		from.give(order{a: move, do: func(t *thread, now int64) {
			t.part(move)
			t.untap(move, now)
			move.owner.Store(to)
			to.pending.Store(true)
			to.kick()
		}})
	}
	a.home.give(order{a: a, b: b, do: do})
}

// Bridge lets two legs hear each other. What plays to either is cut; an earlier bridge of either ends.
func (p *Plane) Bridge(a, b telephony.LegID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	la, lb := p.legs[a], p.legs[b]
	if la == nil || lb == nil || la == lb || p.closed {
		return
	}
	p.join(la, lb, func(t *thread, now int64) { t.bridge(la, lb, now) })
}

// Unbridge parts them; each hears silence until told otherwise.
func (p *Plane) Unbridge(a, b telephony.LegID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	la, lb := p.legs[a], p.legs[b]
	if la == nil || lb == nil || p.closed || la.home != lb.home {
		return // legs on two threads are not bridged
	}
	la.home.give(order{a: la, b: lb, do: func(t *thread, now int64) { t.unbridge(la, lb) }})
}

// Overloaded says that another call cannot be carried in time: the wheel of every thread was late in the last seconds, or the legs are all taken.
func (p *Plane) Overloaded() bool {
	p.mu.Lock()
	full := len(p.legs)+2 > p.config.MaxLegs
	p.mu.Unlock()
	if full {
		return true
	}
	now := p.clock()
	for _, t := range p.all {
		if !t.pub.over(now) {
			return false
		}
	}
	return true
}

// Stats gives the plane's counters.
func (p *Plane) Stats() Stats {
	p.mu.Lock()
	s := Stats{Legs: len(p.legs), Recordings: len(p.recs), Instant: true}
	s.FreePorts, s.QuarantinedPorts = p.ports.count(p.clock(), p.config.Quarantine)
	p.mu.Unlock()
	now := p.clock()
	for i, t := range p.all {
		c := &t.pub
		s.Received += c.received.Load()
		s.Sent += c.sent.Load()
		s.Bad += c.bad.Load()
		s.Foreign += c.foreign.Load()
		s.RecordDropped += c.dropped.Load()
		s.SkippedTicks += c.skipped.Load()
		p99, most := c.late(now)
		s.LateP99, s.LateMax = max(s.LateP99, p99), max(s.LateMax, most)
		s.Instant = s.Instant && !c.busy.Load()
		s.SyncedAfter = max(s.SyncedAfter, p.recorders[i].finisher.behind())
	}
	return s
}

// Close ends every leg and recording (those are cut short) and waits until the files are whole.
func (p *Plane) Close() error {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil
	}
	p.closed = true
	p.mu.Unlock()
	for _, t := range p.all {
		t.stop.Store(true)
		t.poll.ring()
		if p.config.clock != nil {
			t.end(p.clock())
		}
	}
	p.threads.Wait()
	close(p.done)
	for _, r := range p.recorders {
		r.stop()
		if p.config.clock != nil {
			r.drain()
			r.end()
			r.finisher.once(true)
		}
	}
	p.writers.Wait()
	for _, t := range p.all {
		t.poll.close()
	}
	return nil
}

// nudge moves everything once, where no thread does it.
func (p *Plane) nudge() {
	if p.config.clock != nil {
		p.step()
	}
}

// step is a test's turn of every thread and recorder, at what its clock shows.
func (p *Plane) step() {
	for range 2 {
		for _, t := range p.all {
			t.step(t.clock(), nil)
		}
	}
	for _, r := range p.recorders {
		r.drain()
		r.flush(p.clock())
		r.finisher.once(false)
	}
}

// recordingsOf lists the recordings that live on a thread.
func (p *Plane) recordingsOf(t *thread) iter.Seq[*recording] {
	p.mu.Lock()
	defer p.mu.Unlock()
	var list []*recording
	for _, r := range p.recs {
		if r.thread == t {
			list = append(list, r)
		}
	}
	return slices.Values(list)
}

// ports lends out pairs of ports, the longest unused first.
type ports struct {
	system bool
	free   []uint16         // even ports, in the order in which they were given back
	freed  map[uint16]int64 // when; in the range: the last time, 0 for never
}

func (p *ports) open(lo, hi uint16) error {
	p.freed = map[uint16]int64{}
	if lo == 0 && hi == 0 {
		p.system = true
		return nil
	}
	lo += lo & 1
	if hi <= lo {
		return fmt.Errorf("media: ports %d to %d: not one pair in it", lo, hi)
	}
	for port := int(lo); port+1 <= int(hi); port += 2 {
		p.free = append(p.free, uint16(port))
	}
	rand.Shuffle(len(p.free), func(i, j int) { p.free[i], p.free[j] = p.free[j], p.free[i] })
	return nil
}

func (p *ports) rested(port uint16, now int64, quarantine time.Duration) bool {
	at, used := p.freed[port]
	return !used || now-at >= int64(quarantine)
}

// take binds a pair.
func (p *ports) take(addr netip.Addr, now int64, quarantine time.Duration) (fd, fdc int, port uint16, err error) {
	if p.system {
		for at := range p.freed {
			if p.rested(at, now, quarantine) {
				delete(p.freed, at)
			}
		}
		for range 200 {
			if fd, fdc, port, err = bindPair(addr, 0); err == nil && p.rested(port, now, quarantine) {
				return fd, fdc, port, nil
			} else if err == nil {
				closeFD(fd)
				closeFD(fdc)
			}
		}
		return 0, 0, 0, fmt.Errorf("%w: %v", ErrPorts, err)
	}
	for range len(p.free) {
		port = p.free[0]
		if !p.rested(port, now, quarantine) {
			break // those behind it have rested less
		}
		p.free = p.free[1:]
		if fd, fdc, _, err = bindPair(addr, port); err == nil {
			return fd, fdc, port, nil
		}
		p.free = append(p.free, port) // somebody else's: its turn comes again
		p.freed[port] = now
	}
	if err != nil {
		return 0, 0, 0, fmt.Errorf("%w: %v", ErrPorts, err)
	}
	return 0, 0, 0, ErrPorts
}

func bindPair(addr netip.Addr, want uint16) (fd, fdc int, port uint16, err error) {
	if fd, port, err = openUDP(addr, want); err != nil {
		return 0, 0, 0, err
	}
	if port&1 == 1 || port == 65534 {
		closeFD(fd)
		return 0, 0, 0, fmt.Errorf("port %d is odd", port)
	}
	if fdc, _, err = openUDP(addr, port+1); err != nil {
		closeFD(fd)
		return 0, 0, 0, err
	}
	return fd, fdc, port, nil
}

func (p *ports) give(port uint16, now int64) {
	p.freed[port] = now
	if !p.system {
		p.free = append(p.free, port)
	}
}

func (p *ports) count(now int64, quarantine time.Duration) (free, resting int) {
	for _, port := range p.free {
		if p.rested(port, now, quarantine) {
			free++
		}
	}
	return free, len(p.free) - free
}
