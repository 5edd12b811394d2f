package sip

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// packets wraps the UDP socket: it gives sipgo only what the guard lets through, in plain form, and never an error but that of the end.
type packets struct {
	net.PacketConn
	guard *guard
	buf   []byte // used by the one reader
}

func (p *packets) ReadFrom(out []byte) (int, net.Addr, error) {
	for {
		n, addr, err := p.PacketConn.ReadFrom(p.buf)
		if err != nil {
			if errors.Is(err, net.ErrClosed) || errors.Is(err, io.EOF) {
				return 0, nil, net.ErrClosed
			}
			// An ICMP error of an earlier packet, or a moment without memory, must not end the hotline.
			var timeout net.Error
			if errors.As(err, &timeout) || n == 0 {
				if isFinal(err) {
					return 0, nil, err
				}
				continue
			}
		}
		data := bytes.Trim(p.buf[:n], "\x00")
		if len(bytes.Trim(data, "\r\n \t")) == 0 {
			continue // keep-alive (RFC 5626 §3.5.1)
		}
		data = bytes.TrimLeft(data, "\r\n")
		source := addrPort(addr)
		v := p.guard.look(data, source, false)
		if v.reply != nil {
			p.answer(v.reply, addr)
		}
		if len(v.pass) > 0 && len(v.pass) <= len(out) {
			return copy(out, v.pass), addr, nil
		}
	}
}

// isFinal tells an error after which reading again is hopeless.
func isFinal(err error) bool {
	s := err.Error()
	return strings.Contains(s, "bad file descriptor") || strings.Contains(s, "closed")
}

func (p *packets) WriteTo(b []byte, addr net.Addr) (int, error) {
	if _, err := p.PacketConn.WriteTo(withoutOldTags(b), addr); err != nil {
		return 0, err
	}
	return len(b), nil
}

// answer sends a reply of the guard where RFC 3261 §18.2.2 and RFC 3581 want it: to the source address, at the source port if rport was
// asked for, else at the port in Via.
func (p *packets) answer(reply []byte, addr net.Addr) {
	u, ok := addr.(*net.UDPAddr)
	if !ok {
		_, _ = p.PacketConn.WriteTo(reply, addr)
		return
	}
	to := *u
	if via, ok := topVia(reply); ok {
		if _, has := param(via, "rport"); !has {
			to.Port = viaPort(via)
		}
	}
	_, _ = p.PacketConn.WriteTo(reply, &to)
}

func topVia(message []byte) (string, bool) {
	_, fields, _, _, _ := cut(message)
	for _, f := range fields {
		if f.key == "via" {
			return f.value, true
		}
	}
	return "", false
}

func viaPort(via string) int {
	_, sentBy, _ := strings.Cut(via, " ")
	sentBy, _, _ = strings.Cut(sentBy, ";")
	if i := strings.LastIndexByte(sentBy, ':'); i >= 0 && !strings.HasSuffix(sentBy, "]") {
		if n, err := strconv.ParseUint(strings.Trim(sentBy[i+1:], " "), 10, 16); err == nil && n > 0 {
			return int(n)
		}
	}
	return 5060
}

func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	case *net.TCPAddr:
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	ap, _ := netip.ParseAddrPort(a.String())
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// streams wraps the TCP listener. It also hands on the connections that we have dialled, so that whatever the direction, all bytes pass the guard.
type streams struct {
	net.Listener
	guard  *guard
	cfg    Config
	lost   func(netip.AddrPort) // a connection is gone
	dialed chan net.Conn
	accept chan net.Conn
	failed chan error
	done   chan struct{}
	once   sync.Once

	mu    sync.Mutex
	open  map[*stream]bool
	count map[netip.Addr]int
}

func newStreams(l net.Listener, g *guard, cfg Config, lost func(netip.AddrPort)) *streams {
	return &streams{Listener: l, guard: g, cfg: cfg, lost: lost, dialed: make(chan net.Conn), accept: make(chan net.Conn), failed: make(chan error, 1),
		done: make(chan struct{}), open: map[*stream]bool{}, count: map[netip.Addr]int{}}
}

// run accepts until the listener is closed. A refusal of the system (no file descriptors) is waited out.
func (s *streams) run() {
	for {
		c, err := s.Listener.Accept()
		if err != nil {
			var pause net.Error
			if errors.As(err, &pause) && !errors.Is(err, net.ErrClosed) {
				select {
				case <-time.After(50 * time.Millisecond):
					continue
				case <-s.done:
				}
			}
			s.failed <- err
			return
		}
		if !s.admit(c) {
			s.cfg.Metrics.Dropped("connections")
			_ = c.Close()
			continue
		}
		select {
		case s.accept <- c:
		case <-s.done:
			_ = c.Close()
		}
	}
}

func (s *streams) admit(c net.Conn) bool {
	from := addrPort(c.RemoteAddr()).Addr()
	trunk := s.cfg.trunk(from) != nil
	if !trunk && !s.guard.phone(from) && !s.cfg.mayRegister(from) {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.open) < s.cfg.Limits.Connections && (trunk || s.count[from] < s.cfg.Limits.PerAddress)
}

func (s *streams) Accept() (net.Conn, error) {
	var c net.Conn
	select {
	case c = <-s.accept:
	case c = <-s.dialed:
	case err := <-s.failed:
		return nil, err
	case <-s.done:
		return nil, net.ErrClosed
	}
	st := &stream{Conn: c, owner: s, from: addrPort(c.RemoteAddr())}
	s.mu.Lock()
	s.open[st] = true
	s.count[st.from.Addr()]++
	s.mu.Unlock()
	return st, nil
}

func (s *streams) Close() error {
	s.once.Do(func() { close(s.done) })
	return s.Listener.Close()
}

// closeAll closes every connection.
func (s *streams) closeAll() {
	s.mu.Lock()
	open := make([]*stream, 0, len(s.open))
	for st := range s.open {
		open = append(open, st)
	}
	s.mu.Unlock()
	for _, st := range open {
		_ = st.Close()
	}
}

// stream wraps one TCP connection: Read gives one whole message that the guard has let through, in plain form. Half a message may not take
// longer than Timers.Message, however it drips.
type stream struct {
	net.Conn
	owner *streams
	from  netip.AddrPort
	in    []byte // read, not yet judged
	out   []byte // judged, not yet given
	once  sync.Once
	begun bool // a whole message has come
	noise int  // how often something came that was no message

	onward chan []byte // what the proxy passes on to it; made with the first, under owner.mu
}

// send passes a message on over a connection that is there. It never waits: another connection's far side may read slowly, and the caller reads for all.
func (s *streams) send(to netip.AddrPort, data []byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for st := range s.open {
		if st.from != to {
			continue
		}
		if st.onward == nil {
			st.onward = make(chan []byte, 64)
			go st.passOn(st.onward)
		}
		select {
		case st.onward <- data:
			return true
		default:
			return false
		}
	}
	return false
}

// passOn is sip.onward: it writes what is passed on over one connection, and ends with it.
func (s *stream) passOn(c <-chan []byte) {
	for data := range c {
		_, _ = s.Write(data)
	}
}

func (s *stream) Read(b []byte) (int, error) {
	var deadline time.Time // of the message that has begun
	for {
		if len(s.out) > 0 {
			n := copy(b, s.out)
			s.out = s.out[n:]
			return n, nil
		}
		took, err := s.next()
		if err != nil {
			return 0, err
		}
		if took {
			deadline = time.Time{}
			continue
		}
		now := time.Now()
		if deadline.IsZero() {
			wait := s.owner.cfg.Timers.Idle
			if len(s.in) > 0 || !s.begun {
				wait = s.owner.cfg.Timers.Message
			}
			deadline = now.Add(wait)
			_ = s.Conn.SetReadDeadline(deadline)
		}
		waiting := len(s.in) > 0
		buf := make([]byte, 4096)
		n, err := s.Conn.Read(buf)
		if n > 0 {
			s.in = append(s.in, buf[:n]...)
			if !waiting {
				deadline = time.Time{} // idle until now; from here the message's own time runs
			}
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
				return 0, err
			}
			// A time-out or a reset is the ordinary end of a connection; sipgo would write it into the log as an error.
			return 0, io.EOF
		}
	}
}

// next takes one message out of in, if a whole one is there. An error ends the connection.
func (s *stream) next() (took bool, err error) {
	for len(s.in) >= 2 && s.in[0] == '\r' && s.in[1] == '\n' {
		if len(s.in) >= 4 && s.in[2] == '\r' && s.in[3] == '\n' { // a ping (RFC 5626 §3.5.1)
			if _, err := s.Conn.Write([]byte("\r\n")); err != nil {
				return false, io.EOF
			}
			s.in = s.in[4:]
			s.begun = true
			continue
		}
		if len(s.in) < 4 && len(s.in) != 2 {
			break
		}
		if len(s.in) == 2 {
			return false, nil
		}
		s.in = s.in[2:]
	}
	if len(s.in) == 0 {
		s.in = nil
		return false, nil
	}
	end, total := frame(s.in)
	if end < 0 {
		if len(s.in) > maxMessage {
			s.owner.cfg.Metrics.Dropped("size")
			return false, io.EOF
		}
		return false, nil
	}
	if total > maxMessage {
		s.owner.cfg.Metrics.Dropped("size")
		return false, io.EOF
	}
	if len(s.in) < total {
		return false, nil
	}
	message := s.in[:total]
	v := s.owner.guard.look(message, s.from, true)
	s.in = s.in[total:]
	s.begun = true
	if v.reply != nil {
		if _, err := s.Write(v.reply); err != nil {
			return false, io.EOF
		}
	}
	if v.noise {
		s.noise++
	}
	if v.close || s.noise > 3 {
		return false, io.EOF
	}
	s.out = v.pass
	return true, nil
}

// frame finds the end of the headers and of the first message in b; −1 when the headers are not all there. Where Content-Length cannot be read or
// is not there the message ends with its headers: the guard refuses it and closes.
func frame(b []byte) (end, total int) {
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		return -1, 0
	}
	end = i + 4
	_, fields, _, _, _ := cut(b[:end])
	length, seen := 0, false
	for _, f := range fields {
		if f.key != "content-length" {
			continue
		}
		n, err := strconv.ParseUint(f.value, 10, 31)
		if err != nil || seen {
			return end, end
		}
		length, seen = int(n), true
	}
	return end, end + length
}

func (s *stream) Write(b []byte) (int, error) {
	_ = s.Conn.SetWriteDeadline(time.Now().Add(s.owner.cfg.Timers.Write))
	if _, err := s.Conn.Write(withoutOldTags(b)); err != nil {
		_ = s.Close()
		return 0, err
	}
	return len(b), nil
}

func (s *stream) Close() error {
	err := net.ErrClosed
	s.once.Do(func() {
		err = s.Conn.Close()
		s.owner.mu.Lock()
		delete(s.owner.open, s)
		if s.onward != nil {
			close(s.onward)
		}
		if s.owner.count[s.from.Addr()]--; s.owner.count[s.from.Addr()] <= 0 {
			delete(s.owner.count, s.from.Addr())
		}
		s.owner.mu.Unlock()
		s.owner.lost(s.from)
	})
	return err
}
