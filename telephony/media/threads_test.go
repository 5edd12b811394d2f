package media

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"yingda/intake"
	"yingda/telephony"
	"yingda/telephony/sound"
)

// realPlane is a plane with threads of its own.
func realPlane(t testing.TB, c Config) *lab {
	t.Helper()
	b := &lab{t: t}
	c.Report = func(in telephony.Input) { b.mu.Lock(); b.reports = append(b.reports, in); b.mu.Unlock() }
	procs := runtime.GOMAXPROCS(0)
	var err error
	if b.plane, err = Open(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.plane.Close(); runtime.GOMAXPROCS(procs) })
	return b
}

// wait waits for a condition, ten seconds at most.
func wait(t testing.TB, what string, cond func() bool) {
	t.Helper()
	clock := monotonic()
	for end := clock() + 10*second; !cond(); {
		if clock() > end {
			t.Fatal("waited in vain: ", what)
		}
		sleepUntil(clock() + ms/2)
	}
}

func TestThreadsAtWork(t *testing.T) {
	dir := t.TempDir()
	b := realPlane(t, Config{Threads: 1, RecordingDir: dir, Clips: pack})
	x, y := b.realPhone("a"), b.realPhone("b")
	x.leg.Play(1, []string{"tone:500"}, "", false, 0)
	wait(t, "the prompt's end", func() bool { return len(told[telephony.Played](b)) == 1 })
	b.plane.Bridge("a", "b")
	b.plane.Record("rec", "c", "a", "b")
	wait(t, "the bridge", func() bool {
		x.say(wave(PCMA, 500, 1)[0])
		return y.leg.Stats().Relayed > 10
	})
	y.leg.Close()
	x.leg.Close()
	wait(t, "the recording", func() bool { return len(told[telephony.Recorded](b)) == 1 })
	if s := x.leg.Stats(); s.Received == 0 {
		t.Error("the counters of a closed leg are gone")
	}
	if level := sound.Goertzel(samples(t, PCMA, x.listen()[10:20]), 500); level < -19.5 {
		t.Errorf("prompt at %.1f dB", level)
	}
	steady(t, x.heard)
}

// Legs move between threads as calls are bridged, transferred, recorded and ended, while everything else goes on. Run with -race.
func TestLegsMoveBetweenThreads(t *testing.T) {
	dir := t.TempDir()
	b := realPlane(t, Config{Threads: 3, RecordingDir: dir, Clips: pack})
	const n = 12
	var phones []*phone
	for i := range n {
		phones = append(phones, b.realPhone(fmt.Sprint(i)))
	}
	for round := range 5 {
		for i := range n / 2 {
			x, y := telephony.LegID(fmt.Sprint(i)), telephony.LegID(fmt.Sprint((i+round)%(n/2)+n/2))
			b.plane.Bridge(x, y)
			if round%2 == 0 {
				b.plane.Record(recID(round, i), "c", x, y)
			}
			phones[(i+round)%(n/2)+n/2].leg.Digit("1")
		}
		// Everybody speaks until everybody is heard.
		before := make([]uint64, n)
		for i, p := range phones {
			before[i] = p.leg.Stats().Relayed
		}
		wait(t, "everybody to be heard", func() bool {
			done := true
			for i, p := range phones {
				p.say(make([]byte, 160))
				p.listen()
				done = done && p.leg.Stats().Relayed > before[i]+3
			}
			return done
		})
		for i := range n / 2 {
			b.plane.StopRecord(recID(round, i))
		}
	}
	for _, p := range phones {
		steady(t, p.listen())
		p.leg.Close()
	}
	recorded := 0
	wait(t, "the recordings", func() bool {
		for _, r := range told[telephony.Recorded](b) {
			if r.Err != "" {
				t.Error(r.Err)
			}
			recorded++
		}
		return recorded == 3*n/2
	})
	if s := b.plane.Stats(); s.Legs != 0 || s.Recordings != 0 {
		t.Errorf("left: %+v", s)
	}
}

// Orders from many goroutines, legs that come and go: nothing is lost, nothing hangs, Close ends it all.
func TestChurn(t *testing.T) {
	b := realPlane(t, Config{Threads: 2, RecordingDir: t.TempDir(), Clips: pack, Quarantine: time.Nanosecond})
	var all sync.WaitGroup
	for g := range 6 {
		all.Add(1)
		go func() {
			defer all.Done()
			for i := range 40 {
				one, two := telephony.LegID(fmt.Sprintf("%d-%d-a", g, i)), telephony.LegID(fmt.Sprintf("%d-%d-b", g, i))
				x, err := b.plane.NewLeg(one)
				if err != nil {
					t.Error(err)
					return
				}
				y, err := b.plane.NewLeg(two)
				if err != nil {
					t.Error(err)
					return
				}
				x.SetRemote(Remote{RTP: y.rtp, Codec: PCMA, PayloadType: 8, Send: true, Receive: true})
				y.SetRemote(Remote{RTP: x.rtp, Codec: PCMU, PayloadType: 0, Send: true, Receive: true})
				x.Play(1, []string{"tone:500"}, "", true, 0)
				b.plane.Bridge(one, two)
				b.plane.Record(recID(g, i), "c", one, two)
				if i%3 == 0 {
					x.Stats()
				}
				if i%2 == 0 {
					b.plane.Unbridge(one, two)
				}
				y.Close()
				x.Close()
				y.Play(1, nil, "", false, 0)
				b.plane.Bridge(one, two)
				b.plane.StopRecord(recID(g, i))
			}
		}()
	}
	all.Wait()
	recorded := 0
	wait(t, "240 recordings", func() bool { recorded += len(told[telephony.Recorded](b)); return recorded == 240 })
	if err := b.plane.Close(); err != nil {
		t.Error(err)
	}
	if _, err := b.plane.NewLeg("late"); err != ErrClosed {
		t.Errorf("a leg of a closed plane: %v", err)
	}
}

// Close cuts what is being recorded, and it can be heard.
func TestCloseCutsRecordings(t *testing.T) {
	dir := t.TempDir()
	b := realPlane(t, Config{Threads: 1, RecordingDir: dir})
	x, y := b.realPhone("a"), b.realPhone("b")
	b.plane.Bridge("a", "b")
	b.plane.Record("rec", "c", "a", "b")
	wait(t, "the bridge", func() bool { x.say(wave(PCMA, 500, 1)[0]); return y.leg.Stats().Relayed > 0 })
	b.plane.Close()
	done := told[telephony.Recorded](b)
	if len(done) != 1 || done[0].Err != "" || !done[0].CutShort {
		t.Fatalf("recorded %+v", done)
	}
	if rec, err := OpenRecording(RecordingPath(dir, "rec"), nil); err != nil || !rec.Info().CutShort {
		t.Errorf("%v", err)
	}
}

// Nothing on a packet's way allocates: in, checked, latched, heard for speech, recorded, converted, out; nor does the wheel.
func TestNoAllocationPerPacket(t *testing.T) {
	b := newLab(t, Config{RecordingDir: t.TempDir(), Clips: pack})
	x, y, z := b.phone("a", PCMA), b.phone("b", PCMU), b.phone("c", PCMA)
	b.plane.Bridge("a", "b")
	b.plane.Record("rec", "c", "a", "b")
	z.leg.Play(1, []string{"tone:500"}, "", true, 3)
	both(b, x, y, 500, 900, 100)
	th := b.plane.all[0]
	px := rtp(8, 0, 0, x.ssrc, make([]byte, 160))
	py := rtp(0, 0, 0, y.ssrc, make([]byte, 160))
	tox, toy := toSockaddr(x.leg.rtp, false), toSockaddr(y.leg.rtp, false)
	var from sockaddr
	buf := make([]byte, 2048)
	rec := b.plane.recorders[0]
	if n := testing.AllocsPerRun(300, func() {
		putHeader(px, false, 8, x.seq, x.ts, x.ssrc)
		putHeader(py, false, 0, y.seq, y.ts, y.ssrc)
		x.seq, y.seq, x.ts, y.ts = x.seq+1, y.seq+1, x.ts+160, y.ts+160
		sendTo(x.fd, px, &tox)
		sendTo(y.fd, py, &toy)
		b.now += 20 * ms
		th.step(b.now, nil)
		rec.drain() // of the recorder's, what comes with each packet
		for _, p := range []*phone{x, y, z} {
			for recvFrom(p.fd, buf, &from) >= 0 {
			}
		}
	}); n != 0 {
		t.Errorf("%v allocations for two packets in and three out", n)
	}
	if s := y.leg.Stats(); s.Relayed < 350 {
		t.Errorf("only %d packets took that way", s.Relayed)
	}
}

func FuzzPackets(f *testing.F) {
	f.Add(uint16(0), rtp(8, 1, 160, 7, make([]byte, 160)))
	f.Add(uint16(1), rtp(101, 1, 160, 7, []byte{5, 0x8A, 3, 0x20}))
	f.Add(uint16(2), []byte{0x81, 201, 0, 7, 0, 0, 0, 1, 0, 0, 0, 2, 64, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 3, 1, 2, 3, 4, 0, 0, 1, 0})
	f.Add(uint16(3), []byte{0xBF, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1, 255})
	b := newLab(f, Config{Clips: pack})
	x, y := b.phone("a", PCMA), b.phone("b", G722)
	b.plane.Bridge("a", "b")
	b.run(time.Millisecond)
	th := b.plane.all[0]
	src := toSockaddr(x.addr, false)
	control := toSockaddr(netip.AddrPortFrom(x.addr.Addr(), x.addr.Port()+1), false)
	f.Fuzz(func(t *testing.T, at uint16, packet []byte) {
		if len(packet) > len(th.in) {
			return
		}
		b.now += int64(at) * ms
		n := copy(th.in[:], packet)
		th.rtpIn(x.leg, th.in[:n], &src, b.now)
		n = copy(th.in[:], packet)
		th.rtcpIn(x.leg, th.in[:n], &control, true, b.now)
		th.everySecond(x.leg, b.now)
		y.listen()
	})
}

func recID(round, i int) intake.RecordingID {
	return intake.RecordingID(fmt.Sprintf("rec-%d-%d", round, i))
}

// TestPreferred: a media thread comes before everything that is not real time, and what it would start does not. Who has no right to that is an ordinary thread and told so.
func TestPreferred(t *testing.T) {
	type place struct {
		asked, read error
		attr        *unix.SchedAttr
	}
	got := make(chan place)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var p place
		p.asked = prefer()
		p.attr, p.read = unix.SchedGetAttr(0, 0)
		got <- p
	}()
	p := <-got
	if p.read != nil {
		t.Fatal(p.read)
	}
	want := unix.SchedAttr{Policy: unix.SCHED_RR, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}
	if errors.Is(p.asked, unix.EPERM) {
		want = unix.SchedAttr{Policy: unix.SCHED_NORMAL}
	} else if p.asked != nil {
		t.Fatal(p.asked)
	}
	if p.attr.Policy != want.Policy || p.attr.Priority != want.Priority || p.attr.Flags&unix.SCHED_FLAG_RESET_ON_FORK != want.Flags {
		t.Errorf("the thread has %+v, want %+v", *p.attr, want)
	}
}
