package media

import (
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Every call to the system is here. Those that may sleep go by unix.Syscall, so that the runtime lends our processor to others meanwhile; those that
// never sleep (a datagram in, a datagram out, a look at epoll) go by RawSyscall, which costs half as much in the runtime.

// sockaddr is an address as the kernel writes it, made comparable: what the kernel leaves undefined is zero.
type sockaddr struct {
	raw [unix.SizeofSockaddrInet6]byte
	len uint32
}

func toSockaddr(ap netip.AddrPort, v6 bool) sockaddr {
	var s sockaddr
	if !ap.IsValid() || ap.Port() == 0 {
		return s
	}
	addr := ap.Addr()
	s.raw[2], s.raw[3] = byte(ap.Port()>>8), byte(ap.Port())
	if !v6 {
		addr = addr.Unmap()
		if !addr.Is4() {
			return sockaddr{}
		}
		*(*uint16)(unsafe.Pointer(&s.raw)) = unix.AF_INET
		a := addr.As4()
		copy(s.raw[4:], a[:])
		s.len = unix.SizeofSockaddrInet4
		return s
	}
	*(*uint16)(unsafe.Pointer(&s.raw)) = unix.AF_INET6
	a := addr.As16()
	copy(s.raw[8:], a[:])
	s.len = unix.SizeofSockaddrInet6
	return s
}

// clean zeroes what says nothing about who sent: IPv4's padding, IPv6's flow label.
func (s *sockaddr) clean() {
	if s.len == unix.SizeofSockaddrInet4 {
		clear(s.raw[8:])
	} else {
		clear(s.raw[4:8])
	}
}

func (s *sockaddr) known() bool { return s.len != 0 }

// host is the address without the port.
func (s *sockaddr) host() sockaddr {
	h := *s
	h.raw[2], h.raw[3] = 0, 0
	return h
}

func (s *sockaddr) addrPort() netip.AddrPort {
	port := uint16(s.raw[2])<<8 | uint16(s.raw[3])
	switch s.len {
	case unix.SizeofSockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(s.raw[4:8])), port)
	case unix.SizeofSockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(s.raw[8:24])).Unmap(), port)
	}
	return netip.AddrPort{}
}

// openUDP binds a socket that does not block; port 0 lets the system choose. It gives the port that it got.
func openUDP(addr netip.Addr, port uint16) (fd int, got uint16, err error) {
	family := unix.AF_INET
	if addr.Is6() {
		family = unix.AF_INET6
	}
	fd, err = unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, 0, fmt.Errorf("socket: %w", err)
	}
	var sa unix.Sockaddr = &unix.SockaddrInet4{Port: int(port), Addr: as4(addr)}
	if addr.Is6() {
		sa = &unix.SockaddrInet6{Port: int(port), Addr: addr.As16()}
	}
	if err = unix.Bind(fd, sa); err == nil {
		sa, err = unix.Getsockname(fd)
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, 0, fmt.Errorf("bind %v port %d: %w", addr, port, err)
	}
	// Expedited forwarding (RFC 3246) for voice; a network that does not know it loses nothing.
	switch s := sa.(type) {
	case *unix.SockaddrInet4:
		port = uint16(s.Port)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_TOS, 46<<2)
	case *unix.SockaddrInet6:
		port = uint16(s.Port)
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 46<<2)
	}
	return fd, port, nil
}

func as4(a netip.Addr) [4]byte {
	if a.Is4() {
		return a.As4()
	}
	return [4]byte{}
}

func closeFD(fd int) { _ = unix.Close(fd) }

// recvFrom takes one datagram; n is negative when there is none.
func recvFrom(fd int, b []byte, from *sockaddr) (n int) {
	from.len = unix.SizeofSockaddrInet6
	r, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT, uintptr(unsafe.Pointer(&from.raw)), uintptr(unsafe.Pointer(&from.len)))
	if errno != 0 {
		return -1
	}
	from.clean()
	return int(r)
}

// sendTo gives one datagram to the kernel and says whether it took it.
func sendTo(fd int, b []byte, to *sockaddr) bool {
	_, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, uintptr(unsafe.Pointer(&to.raw)), uintptr(to.len))
	return errno == 0
}

// poller is an epoll with a bell (eventfd) that others ring and an alarm (timerfd) on the absolute clock.
type poller struct {
	ep, bell, alarm int
	armed           int64 // when the alarm is set for, 0: not set
	events          [512]unix.EpollEvent
}

// What an event is about, in EpollEvent.Pad; Fd holds the leg's place on its thread.
const (
	onRTP = iota
	onRTCP
	onBell
	onAlarm
)

func newPoller() (*poller, error) {
	p := &poller{ep: -1, bell: -1, alarm: -1}
	var err error
	if p.ep, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
		if p.bell, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err == nil {
			p.alarm, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_NONBLOCK|unix.TFD_CLOEXEC)
		}
	}
	if err == nil {
		err = p.add(p.bell, 0, onBell)
	}
	if err == nil {
		err = p.add(p.alarm, 0, onAlarm)
	}
	if err != nil {
		p.close()
		return nil, fmt.Errorf("media: epoll: %w", err)
	}
	return p, nil
}

func (p *poller) close() {
	for _, fd := range []int{p.ep, p.bell, p.alarm} {
		if fd >= 0 {
			_ = unix.Close(fd)
		}
	}
}

func (p *poller) add(fd, place int, kind int32) error {
	return unix.EpollCtl(p.ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(place), Pad: kind})
}

func (p *poller) remove(fd int) { _ = unix.EpollCtl(p.ep, unix.EPOLL_CTL_DEL, fd, nil) }

// ready looks what is ready, without waiting.
func (p *poller) ready() []unix.EpollEvent {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.ep), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	if errno != 0 {
		return nil
	}
	return p.events[:n]
}

// wait sleeps until something is ready or the clock shows until (ns; 0: never).
func (p *poller) wait(until int64) []unix.EpollEvent {
	if until != p.armed {
		spec := unix.ItimerSpec{Value: unix.NsecToTimespec(until)}
		if unix.TimerfdSettime(p.alarm, unix.TFD_TIMER_ABSTIME, &spec, nil) == nil {
			p.armed = until
		}
	}
	n, err := unix.EpollWait(p.ep, p.events[:], -1)
	if err != nil {
		return nil
	}
	return p.events[:n]
}

func (p *poller) ring() {
	one := [8]byte{1}
	_, _ = unix.Write(p.bell, one[:])
}

// answer takes the bell's or the alarm's count, so that it is quiet again.
func (p *poller) answer(kind int32) {
	var b [8]byte
	fd := p.bell
	if kind == onAlarm {
		fd, p.armed = p.alarm, 0
	}
	_, _, _ = unix.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), 8)
}

// sleepUntil sleeps until the clock shows t.
func sleepUntil(t int64) {
	spec := unix.NsecToTimespec(t)
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &spec, nil) == unix.EINTR {
	}
}

// monotonic gives a clock that shows what CLOCK_MONOTONIC shows (ns), read without a system call.
func monotonic() func() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	start, base := time.Now(), ts.Nano()
	return func() int64 { return base + int64(time.Since(start)) }
}

// prefer asks for a better place in the scheduler's queue for the calling thread: before everything that is not real time (SCHED_RR; the kernel still keeps a twentieth of each second for the
// others), else before others of this session (nice). It needs CAP_SYS_NICE, or for the first of them RLIMIT_RTPRIO; the error says why it is not the first. Being nice alone does not reach
// past a cgroup or session, and each service is one: with Kafka and Elasticsearch on the same two cores sound was late and every tenth caller refused. Threads that this one would start do not
// inherit it.
func prefer() error {
	err := unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}, 0)
	if err != nil {
		_ = unix.Setpriority(unix.PRIO_PROCESS, unix.Gettid(), -10)
	}
	return err
}

func syncData(fd uintptr) error { return unix.Fdatasync(int(fd)) }
