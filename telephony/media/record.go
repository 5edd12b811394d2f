package media

import (
	"crypto/cipher"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"yingda/intake"
	"yingda/telephony"
	"yingda/telephony/sound"
)

// recording is one two-channel recording under way. Its thread writes it; the recorder reads what does not change.
type recording struct {
	id       intake.RecordingID
	contact  intake.ContactID
	thread   *thread
	legs     [2]*Leg
	channels int
	start    int64
	started  time.Time
	live     int    // legs that are still tapped
	dropped  uint64 // packets for which the ring had no room
	over     bool
}

// tap aligns what a leg sends with the time of its recording: by its timestamps, as long as these and the clock agree within 250 ms.
type tap struct {
	rec  *recording
	ch   int
	on   bool
	ssrc uint32
	ts   uint32
	pos  int64 // of ts, in samples from the recording's beginning
}

const maxSkew = 250 * sound.Rate / 1000

// Record begins to write down two legs, the resident in the first channel, the other in the second; with other "" (voicemail) there is one channel.
// Recorded answers when it has ended: by StopRecord, when both legs are over, when the plane closes, or at once when it cannot be made.
func (p *Plane) Record(rec intake.RecordingID, contact intake.ContactID, resident, other telephony.LegID) {
	if err := p.startRecord(rec, contact, resident, other); err != nil {
		p.log.Error("recording not begun", "recording", string(rec), "error", err)
		p.report(telephony.Recorded{Recording: rec, Err: err.Error()})
	}
}

func (p *Plane) startRecord(id intake.RecordingID, contact intake.ContactID, resident, other telephony.LegID) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.config.RecordingDir == "":
		return fmt.Errorf("no folder for recordings is set")
	case !fitsFile(string(id)):
		return fmt.Errorf("recording id %q cannot be the name of a file", id)
	case len(contact) > 255:
		return fmt.Errorf("contact id of %d bytes", len(contact))
	case p.closed:
		return ErrClosed
	case p.recs[id] != nil:
		return nil // ordered twice; it is under way
	}
	r := &recording{id: id, contact: contact, legs: [2]*Leg{p.legs[resident], p.legs[other]}, channels: 2}
	if other == "" {
		r.channels, r.legs[1] = 1, nil
	}
	a, b := r.legs[0], r.legs[1]
	begin := func(t *thread, now int64) { t.beginRecording(r, now) }
	switch {
	case a == nil && b == nil:
		return fmt.Errorf("both legs are over")
	case a != nil && b != nil:
		p.join(a, b, begin)
		r.thread = a.home
	default:
		if a == nil {
			a = b
		}
		r.thread = a.home
		r.thread.give(order{a: a, do: begin})
	}
	for _, l := range r.legs {
		if l != nil {
			l.taped = true
		}
	}
	p.recs[id] = r
	return nil
}

// StopRecord ends a recording.
func (p *Plane) StopRecord(id intake.RecordingID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.recs[id]; r != nil && !p.closed {
		p.stopRecord(r)
	}
}

func (p *Plane) stopRecord(r *recording) {
	p.forget(r)
	r.thread.give(order{a: r.legs[0], b: r.legs[1], do: func(t *thread, now int64) { t.endRecording(r, now, false) }})
}

// forget takes a recording off the list; the plane's mutex is held.
func (p *Plane) forget(r *recording) {
	delete(p.recs, r.id)
	for _, l := range r.legs {
		if l == nil {
			continue
		}
		l.taped = false
		for _, other := range p.recs {
			l.taped = l.taped || other.legs[0] == l || other.legs[1] == l
		}
	}
}

func (t *thread) beginRecording(r *recording, now int64) {
	r.start, r.started = now, t.plane.wall(now)
	t.tell(slot{rec: r, kind: recBegin})
	for ch, l := range r.legs {
		if l == nil || l.over {
			continue
		}
		t.untap(l, now)
		l.tap = tap{rec: r, ch: ch}
		r.live++
	}
	if r.live == 0 {
		t.endRecording(r, now, false)
		t.plane.recordingEnded(r)
	}
}

// untap takes a leg off its recording, and ends the recording with its last leg.
func (t *thread) untap(l *Leg, now int64) {
	r := l.tap.rec
	l.tap = tap{}
	if r == nil || r.over {
		return
	}
	if r.live--; r.live == 0 {
		t.endRecording(r, now, false)
		t.plane.recordingEnded(r)
	}
}

func (p *Plane) recordingEnded(r *recording) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.recs[r.id] == r {
		p.forget(r)
	}
}

func (t *thread) endRecording(r *recording, now int64, cut bool) {
	if r.over {
		return
	}
	r.over = true
	for _, l := range r.legs {
		if l != nil && l.owner.Load() == t && l.tap.rec == r {
			l.tap = tap{}
		}
	}
	kind := recEnd
	if cut {
		kind = recCut
	}
	t.tell(slot{rec: r, kind: kind, pos: (now - r.start) * 8 / ms})
}

// record taps one packet.
func (t *thread) record(l *Leg, codec lang, p *packet, now int64) {
	tp := &l.tap
	arrival := max(0, (now-tp.rec.start)*8/ms-int64(p.end-p.at))
	pos := tp.pos + int64(int32(p.ts-tp.ts))
	if diff := pos - arrival; !tp.on || tp.ssrc != p.ssrc || diff > maxSkew || diff < -maxSkew {
		tp.on, tp.ssrc, tp.ts, tp.pos, pos = true, p.ssrc, p.ts, arrival, arrival
	}
	if int32(p.ts-tp.ts) > 0 {
		tp.ts, tp.pos = p.ts, pos
	}
	for b := p.payload(); len(b) > 0 && pos >= 0; {
		s := t.ring.room()
		if s == nil {
			tp.rec.dropped++
			t.count.dropped++
			return
		}
		n := copy(s.data[:], b)
		s.rec, s.kind, s.ch, s.codec, s.n, s.pos = tp.rec, recSound, uint8(tp.ch), codec, uint16(n), pos
		t.ring.put()
		b, pos = b[n:], pos+int64(n)
	}
}

// tell puts something into the ring that must not be lost; if there is no room it is said again at the next waking.
func (t *thread) tell(s slot) {
	if len(t.unsaid) > 0 {
		t.unsaid = append(t.unsaid, s)
		return
	}
	if to := t.ring.room(); to != nil {
		*to = s
		t.ring.put()
		t.ring.wake()
		return
	}
	t.unsaid = append(t.unsaid, s)
}

func (t *thread) retell() {
	for len(t.unsaid) > 0 {
		to := t.ring.room()
		if to == nil {
			return
		}
		*to = t.unsaid[0]
		t.unsaid = t.unsaid[1:]
		t.ring.put()
		t.ring.wake()
	}
	t.unsaid = nil
}

const (
	recSound uint8 = iota
	recBegin
	recEnd
	recCut
)

// slot is one entry of the ring: a packet's sound, or a beginning or end.
type slot struct {
	rec   *recording
	pos   int64
	n     uint16
	kind  uint8
	ch    uint8
	codec lang
	data  [168]byte // 20 ms are 160
}

// ring carries slots from one media thread to one recorder, without a lock.
type ring struct {
	slots []slot
	rouse chan struct{}
	_     [64]byte
	head  atomic.Uint64 // next to be written, of the thread
	_     [64]byte
	tail  atomic.Uint64 // next to be read, of the recorder
}

func newRing(bytes int) *ring {
	return &ring{slots: make([]slot, max(64, bytes/int(unsafe.Sizeof(slot{}))))}
}

func (r *ring) room() *slot {
	head := r.head.Load()
	if head-r.tail.Load() == uint64(len(r.slots)) {
		return nil
	}
	return &r.slots[head%uint64(len(r.slots))]
}

func (r *ring) put() { r.head.Add(1) }

func (r *ring) wake() {
	select {
	case r.rouse <- struct{}{}:
	default:
	}
}

// recorder takes one ring's slots and writes files.
type recorder struct {
	plane    *Plane
	ring     *ring
	rouse    chan struct{}
	quit     chan struct{}
	files    map[*recording]*recFile
	sorted   []*recording // begun, in order: so that a flush allocates nothing
	finisher *finisher
	scratch  []byte
}

func newRecorder(p *Plane, r *ring) *recorder {
	return &recorder{plane: p, ring: r, rouse: make(chan struct{}, 1), quit: make(chan struct{}), files: map[*recording]*recFile{},
		finisher: newFinisher(p), scratch: make([]byte, 0, 2*sound.Rate+64)}
}

func (r *recorder) stop() { close(r.quit) }

// run is the recorder's goroutine.
func (r *recorder) run() {
	defer r.plane.writers.Done()
	defer r.finisher.close()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		every := tick.C
		if len(r.files) == 0 {
			every = nil
		}
		select {
		case <-r.quit:
			r.drain()
			r.end()
			return
		case <-r.rouse:
		case <-every:
		}
		r.drain()
		r.flush(r.plane.clock())
	}
}

// drain takes everything that is in the ring.
func (r *recorder) drain() {
	for tail := r.ring.tail.Load(); tail != r.ring.head.Load(); tail++ {
		s := &r.ring.slots[tail%uint64(len(r.ring.slots))]
		r.take(s)
		s.rec = nil
		r.ring.tail.Store(tail + 1)
	}
}

func (r *recorder) take(s *slot) {
	f := r.files[s.rec]
	switch s.kind {
	case recBegin:
		var aead cipher.AEAD
		f, err := (*recFile)(nil), error(nil)
		if r.plane.config.Key != nil {
			var key []byte
			if key, err = r.plane.config.Key(s.rec.id, s.rec.started); err == nil {
				aead, err = newCipher(key)
			}
		}
		if err == nil {
			f, err = createRecording(r.plane.config.RecordingDir, Info{ID: s.rec.id, Contact: s.rec.contact, Started: s.rec.started, Channels: s.rec.channels}, aead)
		}
		if err != nil {
			f = &recFile{info: Info{ID: s.rec.id}, err: err}
		}
		r.files[s.rec] = f
		r.sorted = append(r.sorted, s.rec)
		r.finisher.watch(f)
	case recSound:
		if f != nil {
			f.place(int(s.ch), s.pos, s.codec, s.data[:s.n], &r.scratch)
		}
	case recEnd, recCut:
		if f != nil {
			r.finish(s.rec, s.pos, s.kind == recCut)
		}
	}
}

func (r *recorder) finish(rec *recording, total int64, cut bool) {
	f := r.files[rec]
	delete(r.files, rec)
	for i, x := range r.sorted {
		if x == rec {
			r.sorted = append(r.sorted[:i], r.sorted[i+1:]...)
			break
		}
	}
	f.end(total, rec.dropped, cut, &r.scratch)
	r.finisher.finish(f)
}

// flush writes the seconds that are over, with 400 ms for what is late.
func (r *recorder) flush(now int64) {
	for _, rec := range r.sorted {
		f := r.files[rec]
		for f.err == nil && (now-rec.start)*8/ms >= (f.second+1)*sound.Rate+400*sound.Rate/1000 {
			f.writeSecond(sound.Rate, &r.scratch)
		}
	}
}

// end finishes what nobody has ended.
func (r *recorder) end() {
	for len(r.sorted) > 0 {
		r.finish(r.sorted[0], (r.plane.clock()-r.sorted[0].start)*8/ms, true)
	}
}

// finisher syncs files, each at most once a second, and finishes those that are complete: fsync, the name, the report.
type finisher struct {
	plane *Plane
	mu    sync.Mutex
	files []*recFile // open
	over  []*recFile
	bell  chan struct{}
	quit  bool
	worst atomic.Int64
}

func newFinisher(p *Plane) *finisher { return &finisher{plane: p, bell: make(chan struct{}, 1)} }

func (f *finisher) watch(file *recFile) {
	f.mu.Lock()
	f.files = append(f.files, file)
	f.mu.Unlock()
	f.ring()
}

func (f *finisher) finish(file *recFile) {
	f.mu.Lock()
	for i, x := range f.files {
		if x == file {
			f.files = append(f.files[:i], f.files[i+1:]...)
			break
		}
	}
	f.over = append(f.over, file)
	f.mu.Unlock()
	f.ring()
}

func (f *finisher) close() {
	f.mu.Lock()
	f.quit = true
	f.mu.Unlock()
	f.ring()
}

func (f *finisher) ring() {
	select {
	case f.bell <- struct{}{}:
	default:
	}
}

func (f *finisher) behind() time.Duration { return time.Duration(f.worst.Load()) }

// run is the syncer's goroutine.
func (f *finisher) run(all *sync.WaitGroup) {
	defer all.Done()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		every := tick.C
		f.mu.Lock()
		if len(f.files) == 0 {
			every = nil
		}
		quit := f.quit
		f.mu.Unlock()
		if quit {
			f.once(true)
			return
		}
		select {
		case <-f.bell:
			f.once(false)
		case <-every:
			f.once(true)
		}
	}
}

// once finishes what is complete and, with sync, syncs what has been written to since the last time. A file that is complete meanwhile goes first.
func (f *finisher) once(sync bool) {
	var open []*recFile
	f.mu.Lock()
	open = append(open, f.files...)
	f.mu.Unlock()
	for {
		f.mu.Lock()
		over := f.over
		f.over = nil
		f.mu.Unlock()
		for _, file := range over {
			f.plane.report(file.complete())
		}
		if !sync || len(open) == 0 {
			return
		}
		if wait := open[0].sync(f.plane.clock()); wait > 0 {
			f.worst.Store(wait)
		}
		open = open[1:]
	}
}
