package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"yingda/intake"
	"yingda/telephony"
	"yingda/telephony/media"
	"yingda/telephony/sound"
)

// serve is the server's side: it says its ports, waits for "begin" and "end", and says what it has used.
func serve(j job) error {
	pin(0)
	runtime.GOMAXPROCS(2)
	s := served{}
	var plane *media.Plane
	switch j.mode {
	case "floor", "pacer":
		ports, err := floor(j)
		if err != nil {
			return err
		}
		s.Ports = ports
	default:
		dir, err := os.MkdirTemp("", "yingda-bench")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if plane, err = media.Open(config(j, dir)); err != nil {
			return err
		}
		defer plane.Close()
		if s.Ports, err = setUp(plane, j); err != nil {
			return err
		}
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(s); err != nil {
		return err
	}
	in := bufio.NewReader(os.Stdin)
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	cpu, start := used(), time.Now()
	if _, err := in.ReadString('\n'); err != nil {
		return err
	}
	s.CPU, s.Window = used()-cpu, time.Since(start).Seconds()
	runtime.ReadMemStats(&after)
	s.Allocs = after.Mallocs - before.Mallocs
	s.RSS = rss()
	if plane != nil {
		st := plane.Stats()
		s.Dropped, s.Late99 = st.RecordDropped, float64(st.LateP99)/1e6
	}
	s.Ports = nil
	if err := out.Encode(s); err != nil {
		return err
	}
	_, _ = in.ReadString('\n') // until the parent is done
	return nil
}

func config(j job, dir string) media.Config {
	music := sound.Tone(440, 2000, 10*sound.Rate)
	clip := media.Clip{PCMA: sound.EncodeA(music), PCMU: sound.EncodeU(music)}
	return media.Config{Threads: 1, MaxLegs: 1 << 20, RecordingDir: dir, Tick: j.tick,
		Key:   func(intake.RecordingID, time.Time) ([]byte, error) { return make([]byte, 32), nil },
		Clips: func(string, string) (media.Clip, bool) { return clip, true }}
}

func setUp(plane *media.Plane, j job) ([][2]int, error) {
	remote := func(port int) media.Remote {
		return media.Remote{RTP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port)), Codec: media.PCMA, PayloadType: 8, Send: true, Receive: j.mode != "play"}
	}
	var ports [][2]int
	for i := range j.calls {
		id := func(side string) telephony.LegID { return telephony.LegID(fmt.Sprint(i, side)) }
		a, err := plane.NewLeg(id("a"))
		if err != nil {
			return nil, err
		}
		a.SetRemote(remote(j.a))
		pa, _ := a.Local()
		pair := [2]int{int(pa.Port())}
		if j.mode == "play" {
			a.Play(1, []string{"music"}, "", true, 0)
			ports = append(ports, pair)
			continue
		}
		b, err := plane.NewLeg(id("b"))
		if err != nil {
			return nil, err
		}
		b.SetRemote(remote(j.b))
		pb, _ := b.Local()
		pair[1] = int(pb.Port())
		plane.Bridge(id("a"), id("b"))
		if j.mode == "record" {
			plane.Record(intake.RecordingID(fmt.Sprintf("bench-%d", i)), "bench", id("a"), id("b"))
		}
		ports = append(ports, pair)
	}
	return ports, nil
}

// used is the CPU time of this process, in seconds.
func used() float64 {
	var r unix.Rusage
	_ = unix.Getrusage(unix.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

func rss() (kib int64) {
	b, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(b), "\n") {
		if strings.HasPrefix(line, "VmRSS:") {
			fmt.Sscan(strings.TrimPrefix(line, "VmRSS:"), &kib)
		}
	}
	return kib
}

// floor opens a socket per leg and forwards (floor) or sends (pacer) with nothing but the system calls that this takes.
func floor(j job) (ports [][2]int, err error) {
	type leg struct {
		fd int
		to unix.RawSockaddrInet4
	}
	legs := map[int32]*leg{}
	var order []*leg
	ep, err := unix.EpollCreate1(0)
	if err != nil {
		return nil, err
	}
	open := func(to int) (*leg, int, error) {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return nil, 0, err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return nil, 0, err
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return nil, 0, err
		}
		l := &leg{fd: fd, to: unix.RawSockaddrInet4{Family: unix.AF_INET, Port: uint16(to)<<8 | uint16(to)>>8, Addr: [4]byte{127, 0, 0, 1}}}
		order = append(order, l)
		return l, sa.(*unix.SockaddrInet4).Port, unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	}
	for range j.calls {
		a, pa, err := open(j.a)
		if err != nil {
			return nil, err
		}
		pair := [2]int{pa}
		if j.mode == "floor" {
			b, pb, err := open(j.b)
			if err != nil {
				return nil, err
			}
			pair[1] = pb
			legs[int32(a.fd)], legs[int32(b.fd)] = b, a
		}
		ports = append(ports, pair)
	}
	send := func(l *leg, b []byte) {
		_, _, _ = unix.RawSyscall6(unix.SYS_SENDTO, uintptr(l.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&l.to)), 16)
	}
	go func() {
		runtime.LockOSThread()
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -10)
		var ts unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
		events, buf := make([]unix.EpollEvent, 1024), make([]byte, 2048)
		seq := uint16(0)
		for next, slot := ts.Nano(), 0; ; slot = (slot + 1) % 20 {
			next += int64(j.tick)
			t := unix.NsecToTimespec(next)
			for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &t, nil) == unix.EINTR {
			}
			if j.mode == "pacer" {
				if slot == 0 {
					seq++
				}
				buf[0], buf[1] = 0x80, 8
				binary.BigEndian.PutUint16(buf[2:], seq)
				for i := slot; i < len(order); i += 20 {
					send(order[i], buf[:172])
				}
				continue
			}
			n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(ep), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
			if errno != 0 {
				continue
			}
			for _, ev := range events[:n] {
				r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(ev.Fd), uintptr(unsafe.Pointer(&buf[0])), uintptr(len(buf)), unix.MSG_DONTWAIT, 0, 0)
				if errno == 0 {
					send(legs[ev.Fd], buf[:r])
				}
			}
		}
	}()
	return ports, nil
}
