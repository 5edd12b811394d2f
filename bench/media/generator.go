package main

import (
	"encoding/binary"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"yingda/telephony/sound"
)

// generator speaks and listens for all phones: one socket for the callers, one for the operators, told apart by our server's ports.
type generator struct {
	fds     [2]int
	ports   [2]int
	quit    atomic.Bool
	window  atomic.Bool
	sent    atomic.Int64
	late    histogram
	results [2]result
	all     sync.WaitGroup
}

type result struct {
	received, lost  int64
	latency, pacing histogram
}

// histogram counts in steps of a hundredth of a millisecond, up to a second.
type histogram struct {
	steps [100_000]int64
	n     int64
	max   int64
}

func (h *histogram) add(ns int64) {
	if ns < 0 {
		ns = -ns
	}
	h.steps[min(ns/10_000, int64(len(h.steps)-1))]++
	h.n++
	h.max = max(h.max, ns)
}

// at is a quantile in milliseconds; 1 is the largest.
func (h *histogram) at(q float64) float64 {
	if h.n == 0 {
		return math.NaN()
	}
	if q == 1 {
		return float64(h.max) / 1e6
	}
	left := int64(float64(h.n) * q)
	for i, n := range h.steps {
		if left -= n; left < 0 {
			return float64(i+1) / 100
		}
	}
	return float64(h.max) / 1e6
}

func (h *histogram) merge(o *histogram) {
	for i, n := range o.steps {
		h.steps[i] += n
	}
	h.n += o.n
	h.max = max(h.max, o.max)
}

func newGenerator() (*generator, error) {
	g := &generator{}
	for i := range g.fds {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return nil, err
		}
		for _, o := range []int{unix.SO_RCVBUFFORCE, unix.SO_SNDBUFFORCE, unix.SO_RCVBUF, unix.SO_SNDBUF} {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, o, 32<<20)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
			return nil, err
		}
		if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Usec: 100_000}); err != nil {
			return nil, err
		}
		if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return nil, err
		}
		sa, err := unix.Getsockname(fd)
		if err != nil {
			return nil, err
		}
		g.fds[i], g.ports[i] = fd, sa.(*unix.SockaddrInet4).Port
	}
	return g, nil
}

func (g *generator) close() {
	for _, fd := range g.fds {
		_ = unix.Close(fd)
	}
}

func (g *generator) start(ports [][2]int, sends bool) {
	for side := range 2 {
		g.all.Add(1)
		go g.listen(side)
	}
	if sends {
		g.all.Add(1)
		go g.speak(ports)
	}
}

// measure opens or closes the window and gives the packets sent in it.
func (g *generator) measure(on bool) int64 {
	if on {
		g.sent.Store(0)
	}
	g.window.Store(on)
	return g.sent.Load()
}

func (g *generator) stop() result {
	g.quit.Store(true)
	g.all.Wait()
	var r result
	for i := range g.results {
		r.received += g.results[i].received
		r.lost += g.results[i].lost
		r.latency.merge(&g.results[i].latency)
		r.pacing.merge(&g.results[i].pacing)
	}
	return r
}

const batch = 128

type mmsghdr struct {
	hdr unix.Msghdr
	n   uint32
	_   [4]byte
}

// stamp marks our packets: what follows it in the payload is when they were sent and whether in the window.
const stamp = "yingda!!"

// speak sends every stream's packet each 20 ms, a twentieth of the streams each millisecond.
func (g *generator) speak(ports [][2]int) {
	defer g.all.Done()
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -10)
	tone := sound.EncodeA(sound.Tone(440, 8000, 160))
	var bufs [batch][172]byte
	var to [batch]unix.RawSockaddrInet4
	var iov [batch]unix.Iovec
	var mm [batch]mmsghdr
	for i := range bufs {
		copy(bufs[i][12:], tone)
		copy(bufs[i][12:], stamp)
		bufs[i][0], bufs[i][1] = 0x80, 8
		iov[i].Base = &bufs[i][0]
		iov[i].SetLen(172)
		to[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Addr: [4]byte{127, 0, 0, 1}}
		mm[i].hdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&to[i])), Namelen: unix.SizeofSockaddrInet4, Iov: &iov[i], Iovlen: 1}
	}
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	seq := uint16(0)
	for next, slot := ts.Nano(), 0; !g.quit.Load(); slot = (slot + 1) % 20 {
		next += 1e6
		t := unix.NsecToTimespec(next)
		for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &t, nil) == unix.EINTR {
		}
		if slot == 0 {
			seq++
		}
		on := g.window.Load()
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
		if on {
			g.late.add(ts.Nano() - next)
		}
		for side := range 2 {
			for from := slot; from < len(ports); from += 20 * batch {
				n := 0
				for i := from; i < len(ports) && n < batch; i += 20 {
					b := bufs[n][:]
					binary.BigEndian.PutUint16(b[2:], seq)
					binary.BigEndian.PutUint32(b[4:], uint32(seq)*160)
					binary.BigEndian.PutUint32(b[8:], uint32(2*i+side+1))
					binary.BigEndian.PutUint64(b[20:], uint64(time.Now().UnixNano()))
					b[28] = 0
					if on {
						b[28] = 1
					}
					to[n].Port = uint16(ports[i][side])<<8 | uint16(ports[i][side])>>8
					n++
				}
				for done := 0; done < n; {
					r, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(g.fds[side]), uintptr(unsafe.Pointer(&mm[done])), uintptr(n-done), 0, 0, 0)
					if errno != 0 {
						break
					}
					done += int(r)
				}
				if on {
					g.sent.Add(int64(n))
				}
			}
		}
	}
}

type stream struct {
	seq uint16
	at  int64
	in  bool
}

// listen counts and times what comes to one side.
func (g *generator) listen(side int) {
	defer g.all.Done()
	runtime.LockOSThread()
	r := &g.results[side]
	streams := map[uint16]*stream{}
	var bufs [batch][256]byte
	var oob [batch][64]byte
	var from [batch]unix.RawSockaddrInet4
	var iov [batch]unix.Iovec
	var mm [batch]mmsghdr
	for !g.quit.Load() {
		for i := range mm {
			iov[i].Base = &bufs[i][0]
			iov[i].SetLen(256)
			mm[i].hdr = unix.Msghdr{Name: (*byte)(unsafe.Pointer(&from[i])), Namelen: unix.SizeofSockaddrInet4, Iov: &iov[i], Iovlen: 1, Control: &oob[i][0], Controllen: 64}
		}
		n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(g.fds[side]), uintptr(unsafe.Pointer(&mm[0])), batch, unix.MSG_WAITFORONE, 0, 0)
		if errno != 0 {
			continue
		}
		on := g.window.Load()
		for i := range int(n) {
			b := bufs[i][:mm[i].n]
			if len(b) < 172 {
				continue
			}
			at := int64(binary.LittleEndian.Uint64(oob[i][16:]))*1e9 + int64(binary.LittleEndian.Uint64(oob[i][24:]))
			s := streams[from[i].Port]
			if s == nil {
				s = &stream{}
				streams[from[i].Port] = s
			}
			ours := string(b[12:20]) == stamp
			counted := on
			if ours {
				counted = b[28] == 1 // by when it was sent, so that sent and received are the same packets
			}
			seq := binary.BigEndian.Uint16(b[2:])
			if counted {
				r.received++
				if s.in {
					if d := seq - s.seq; d != 1 {
						r.lost += int64(int16(d - 1))
					} else {
						r.pacing.add(at - s.at - 20e6)
					}
				}
				if ours {
					r.latency.add(at - int64(binary.BigEndian.Uint64(b[20:])))
				}
			}
			s.seq, s.at, s.in = seq, at, counted
		}
	}
}
