package media

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"

	"yingda/telephony"
	"yingda/telephony/sound"
)

// Leg is the sound of one leg. Its methods may be called from any goroutine and do not wait (Stats aside); what one goroutine orders is
// carried out in the order given. After Close they do nothing.
type Leg struct {
	id        telephony.LegID
	plane     *Plane
	rtp, rtcp netip.AddrPort
	fd, fdc   int

	owner atomic.Pointer[thread] // who may touch what follows; given away only by the owner itself

	// Of the plane, under its mutex.
	home  *thread // where orders go: the owner, or who will be
	taped bool    // some recording has been ordered of it
	gone  bool

	legState // of the owner
}

// legState belongs to the thread that owns the leg.
type legState struct {
	place  int // on the thread; −1: not there
	slot   int // of the wheel
	nth    int // in the slot
	over   bool
	skip   uint64 // orders to this leg wait, in that pass
	visits uint32

	set      bool // SetRemote has been called
	remote   Remote
	codec    lang
	pt       uint8
	eventOut uint8
	eventIn  uint8
	dest     sockaddr
	send     bool
	frame    int // samples in a packet of ours
	owed     int // samples of our own sound not sent yet

	latch   latch
	in      inbound
	out     outbound
	keys    keypad
	ear     ear
	control control
	peer    *Leg
	play    *playing
	tap     tap
	down    *sound.DecoderG722 // towards this leg, from G.722
	up      *sound.EncoderG722 // towards this leg, to G.722

	since    int64 // packets have been due since
	lastIn   int64 // newest sign of life, 0: none since
	lostTold int
	burst    int // packets in this second
	stats    LegStats
}

// maxBurst is how many packets a leg may send us in a second: 300 leaves room for 10 ms packets and for what a jam lets go at once.
const maxBurst = 300

// ID is the leg's name.
func (l *Leg) ID() telephony.LegID { return l.id }

// Local says where the leg listens, for our SDP. The address is the one bound.
func (l *Leg) Local() (rtp, rtcp netip.AddrPort) { return l.rtp, l.rtcp }

// SetRemote says what the far side's SDP has said; again after each re-INVITE.
func (l *Leg) SetRemote(r Remote) {
	l.plane.order(l, func(t *thread, now int64) { t.setRemote(l, r, now) })
}

// Play plays prompts one after the other, from the start, in place of what plays now; while it plays the leg does not hear its bridge.
// "silence:600" is a pause in milliseconds. A prompt that the pack does not have is left out (and logged). With loop it goes on until it is cut.
// gain is in dB, −12 … +12. Played says that it has ended.
func (l *Leg) Play(play telephony.PlayID, prompts []string, dialect string, loop bool, gain int) {
	p, missing := newPlaying(play, prompts, dialect, loop, gain, l.plane.config.Clips)
	if len(missing) > 0 {
		l.plane.log.Warn("prompts are missing", "prompts", missing, "dialect", dialect)
	}
	l.plane.order(l, func(t *thread, now int64) {
		t.cut(l)
		l.play, l.owed = p, 0
	})
}

// Stop cuts what plays; Played says so.
func (l *Leg) Stop() { l.plane.order(l, func(t *thread, now int64) { t.cut(l) }) }

// Digit hands in a key that came by SIP INFO. It is reported unless the same press came within 150 ms, by INFO or by RTP.
func (l *Leg) Digit(key string) {
	l.plane.order(l, func(t *thread, now int64) {
		if l.keys.press(key, now) {
			l.stats.Digits++
			t.plane.report(telephony.Digit{Leg: l.id, Key: key})
		}
	})
}

// Close ends the leg: its bridge, its recording's channel, what it plays (without a Played), its sockets. Its ports are used again after the quarantine.
func (l *Leg) Close() { l.plane.closeLeg(l) }

// Stats asks the leg's thread for its counters and waits for the answer, some milliseconds at most. The counters of a closed leg stay.
func (l *Leg) Stats() LegStats {
	answer := make(chan LegStats, 1)
	if !l.plane.order(l, func(t *thread, now int64) { answer <- l.snapshot() }) {
		return l.plane.farewell(l)
	}
	l.plane.nudge()
	select {
	case s := <-answer:
		return s
	case <-l.plane.done:
		return LegStats{}
	}
}

func (l *Leg) snapshot() LegStats {
	s := l.stats
	s.Lost = l.in.totalLost()
	s.JitterMS = float64(l.in.jitter) / 16 / 8
	s.RemoteLost = int64(l.control.lost)
	s.RemoteFraction = float64(l.control.fraction) / 256
	s.RemoteJitterMS = float64(l.control.jitter) / 8
	s.RTT = l.control.rtt
	s.SSRC = l.out.ssrc
	s.Latched = l.latch.on
	if l.latch.on {
		s.Source = l.latch.src.addrPort()
	}
	return s
}

// begin fills in what a leg starts with.
func (l *Leg) begin(now int64) {
	l.place, l.frame = -1, frameSamples
	l.out.ssrc, l.out.seq, l.out.ts = rand.Uint32(), uint16(rand.Uint32()), rand.Uint32()
	l.control.due = now + second + rand.Int64N(4*second)
}

func (t *thread) setRemote(l *Leg, r Remote, now int64) {
	said := toSockaddr(r.RTP, t.plane.v6)
	if r.RTP.IsValid() && r.RTP.Addr().IsUnspecified() {
		said = sockaddr{} // hold, as RFC 2543 had it
	}
	if !l.set || r.Relatch || said.known() && said != l.latch.said {
		l.latch.again(said)
		l.control.latched = false
	}
	if !l.set || r.Receive && !l.remote.Receive {
		l.since, l.lastIn, l.lostTold = now, 0, 0
	}
	l.set, l.remote = true, r
	l.codec, l.pt = langOf(r.Codec), uint8(r.PayloadType&0x7F)
	l.eventOut, l.eventIn = uint8(r.EventType&0x7F), uint8(r.EventIn&0x7F)
	if l.eventIn == 0 {
		l.eventIn = l.eventOut
	}
	l.frame = frameSamples
	if r.PTime > 0 {
		l.frame = int(max(10, min(100, r.PTime.Milliseconds()/10*10))) * sound.Rate / 1000
	}
	if !l.control.latched {
		rtcp := r.RTCP
		if !rtcp.IsValid() && r.RTP.IsValid() && r.RTP.Port() < 65535 {
			rtcp = netip.AddrPortFrom(r.RTP.Addr(), r.RTP.Port()+1)
		}
		l.control.said = toSockaddr(rtcp, t.plane.v6)
	}
	t.aim(l)
}

// aim decides where the leg's packets go: the latched source, else where the SDP said, else nowhere.
func (t *thread) aim(l *Leg) {
	l.dest = l.latch.said
	if l.latch.on {
		l.dest = l.latch.src
	}
	was := l.send
	l.send = l.remote.Send && l.dest.known()
	if !was {
		l.out.source = nobody
	}
}

// cut ends what plays.
func (t *thread) cut(l *Leg) {
	if l.play == nil {
		return
	}
	cut := !l.play.ended
	id := l.play.id
	l.play, l.owed = nil, 0
	t.plane.report(telephony.Played{Leg: l.id, Play: id, Cut: cut})
}

// visit is a leg's turn on the wheel, every 20 ms.
func (t *thread) visit(l *Leg, due int64) {
	if l.visits++; l.visits%50 == 0 {
		t.everySecond(l, due)
	}
	if l.play != nil && l.play.ended { // what was sent last has been heard by now
		t.cut(l)
	}
	switch {
	case l.play != nil:
		l.owed += frameSamples
		for l.owed >= l.frame && !l.play.ended {
			l.owed -= l.frame
			b := t.out[headerLen : headerLen+l.frame]
			l.play.fill(b, l.codec)
			t.say(l, ours, due)
		}
	case l.set && (l.peer == nil || l.out.source != relayed || due-l.out.at > 250*ms):
		l.owed += frameSamples
		for l.owed >= l.frame {
			l.owed -= l.frame
			if l.send {
				fillSilence(t.out[headerLen:headerLen+l.frame], l.codec)
				t.say(l, silent, due)
			}
		}
	default:
		l.owed = 0
	}
}

// say sends what stands in t.out.
func (t *thread) say(l *Leg, from source, now int64) {
	if !l.send {
		return
	}
	first := from == ours && l.play.first()
	marker, seq, ts := l.out.own(from, l.frame, now)
	putHeader(t.out[:], marker || first, l.pt, seq, ts, l.out.ssrc)
	l.stats.Generated++
	t.transmit(l, t.out[:headerLen+l.frame])
}

// transmit gives a packet to the kernel.
func (t *thread) transmit(l *Leg, b []byte) {
	if !sendTo(l.fd, b, &l.dest) {
		l.stats.SendErrors++
		return
	}
	n := uint64(len(b) - headerLen)
	l.stats.Sent++
	l.stats.SentBytes += n
	l.control.packets++
	l.control.octets += uint32(n)
	t.count.sent++
}

func (t *thread) everySecond(l *Leg, now int64) {
	l.burst = 0
	if l.set && now >= l.control.due {
		l.control.due = now + 4*second + rand.Int64N(2*second)
		if l.control.said.known() && l.remote.RTP.IsValid() {
			n := l.rtcpReport(t.out[:], now, t.plane.wall(now))
			sendTo(l.fdc, t.out[:n], &l.control.said)
		}
	}
	if s := l.ear.quiet(now, t.plane.config.QuietAfter); s > 0 {
		t.plane.report(telephony.Quiet{Leg: l.id, Seconds: s})
	}
	if !l.set || !l.remote.Receive {
		return
	}
	from, limit := l.lastIn, t.plane.config.MediaTimeout
	if from == 0 {
		from, limit = l.since, t.plane.config.FirstMedia
	}
	if now-from >= int64(limit)+int64(l.lostTold)*int64(t.plane.config.MediaTimeout) {
		l.lostTold++
		t.plane.report(telephony.MediaLost{Leg: l.id, Seconds: int((now - from) / second)})
	}
}

// alive notes a sign of life.
func (l *Leg) alive(now int64) { l.lastIn, l.lostTold = now, 0 }

// rtcpIn takes a datagram from the RTCP port, or RTCP that came to the RTP port.
func (t *thread) rtcpIn(l *Leg, b []byte, src *sockaddr, own bool, now int64) {
	l.burst++
	if l.burst > maxBurst {
		l.stats.TooMany++
		return
	}
	known := l.latch.on && src.host() == l.latch.src.host() || *src == l.control.said
	if !l.set || !known {
		l.stats.Foreign++
		t.count.foreign++
		return
	}
	if !l.rtcpTake(b, now, t.plane.wall(now)) {
		l.stats.Bad++
		t.count.bad++
		return
	}
	l.alive(now)
	if own && l.latch.on && !l.control.latched {
		l.control.said, l.control.latched = *src, true
	}
}

// rtpIn takes a datagram from the RTP port: check, latch, count, tap, forward.
func (t *thread) rtpIn(l *Leg, b []byte, src *sockaddr, now int64) {
	if len(b) > 1 && b[1] >= 192 && b[1] <= 223 {
		t.rtcpIn(l, b, src, false, now) // RTCP on the same port (RFC 5761), or a phone in error
		return
	}
	if l.burst++; l.burst > maxBurst {
		l.stats.TooMany++
		return
	}
	p, ok := parseRTP(b)
	if !ok || !l.set || p.end-p.at > maxPayload {
		l.stats.Bad++
		t.count.bad++
		return
	}
	codec, event, comfort := l.codec, false, false
	switch {
	case p.pt == l.pt:
	case p.pt != 0 && (p.pt == l.eventIn || p.pt == l.eventOut):
		event = true
	case p.pt == 8:
		codec = alaw
	case p.pt == 0:
		codec = ulaw
	case p.pt == 9:
		codec = g722
	case p.pt == 13: // comfort noise (RFC 3389): a sign of life, and a pause
		comfort = true
	default:
		l.stats.Bad++
		t.count.bad++
		return
	}
	latched := l.latch.on
	if !l.latch.accept(src, &p, now) || !l.in.take(&p, now) {
		l.stats.Foreign++
		t.count.foreign++
		return
	}
	if l.latch.on != latched {
		t.aim(l)
	}
	l.stats.Received++
	l.stats.ReceivedBytes += uint64(p.end - p.at)
	t.count.received++
	l.alive(now)
	switch {
	case comfort || p.at == p.end:
		if l.peer != nil {
			l.peer.out.skip(&p)
		}
	case event:
		t.eventIn(l, &p, now)
	default:
		if l.tap.rec != nil {
			t.record(l, codec, &p, now)
		}
		if l.peer != nil {
			t.listen(l, codec, p.payload(), now)
			t.relay(l.peer, codec, &p, now)
		}
	}
}

func (t *thread) eventIn(l *Leg, p *packet, now int64) {
	key, ok := l.keys.take(p, now)
	if !ok {
		l.stats.Bad++
		t.count.bad++
		return
	}
	if key != "" {
		l.stats.Digits++
		t.plane.report(telephony.Digit{Leg: l.id, Key: key})
	}
	to := l.peer
	if to == nil || !to.send || to.play != nil {
		return
	}
	if to.eventOut == 0 {
		to.out.skip(p)
		return
	}
	if marker, seq, ts, ok := to.out.relay(p, true, frameSamples, now); ok {
		t.pass(to, p, marker && p.marker, to.eventOut, seq, ts)
	}
}

// relay forwards sound to a leg, in its codec.
func (t *thread) relay(to *Leg, codec lang, p *packet, now int64) {
	if !to.send || to.play != nil {
		return
	}
	marker, seq, ts, ok := to.out.relay(p, false, p.end-p.at, now)
	if !ok {
		return
	}
	if codec != to.codec {
		t.convert(to, codec, p)
	}
	t.pass(to, p, marker, to.pt, seq, ts)
}

// pass writes our header before the payload and sends.
func (t *thread) pass(to *Leg, p *packet, marker bool, pt uint8, seq uint16, ts uint32) {
	b := p.b[p.at-headerLen : p.end]
	putHeader(b, marker, pt, seq, ts, to.out.ssrc)
	to.stats.Relayed++
	t.transmit(to, b)
}

// convert puts the payload into the other leg's codec, in place: all three have a byte for a sample.
func (t *thread) convert(to *Leg, codec lang, p *packet) {
	b := p.payload()
	switch {
	case codec == g722:
		if to.down == nil {
			to.down = sound.NewDecoderG722()
		}
		code := sound.ToALaw
		if to.codec == ulaw {
			code = sound.ToULaw
		}
		for i, c := range b {
			b[i] = code(to.down.Decode(c))
		}
	case to.codec == g722:
		if to.up == nil {
			to.up = sound.NewEncoderG722()
		}
		table := &sound.ALaw
		if codec == ulaw {
			table = &sound.ULaw
		}
		for i, c := range b {
			b[i] = to.up.Encode(table[c])
		}
	default:
		table := &sound.AToU
		if codec == ulaw {
			table = &sound.UToA
		}
		for i, c := range b {
			b[i] = table[c]
		}
	}
}

// first says once for each order to play that its first packet is due.
func (p *playing) first() bool {
	was := p.begun
	p.begun = true
	return !was
}
