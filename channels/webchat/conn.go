package webchat

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"

	"yingda/intake"
)

// Subprotocol of the WebSocket.
const Subprotocol = "yingda.chat.v1"

const (
	closePolicy  = websocket.StatusPolicyViolation         // 1008: a flood, or no hello
	closeBad     = websocket.StatusInvalidFramePayloadData // 1007: no JSON object
	closeRestart = websocket.StatusServiceRestart          // 1012
	closeSlow    = websocket.StatusTryAgainLater           // 1013
	mostMessages = 5000                                    // frames of messages that may wait for one connection beside the others
	writeLimit   = 15 * time.Second
	rightsEvery  = 4 * time.Second // a desk whose operator signs out, or may not any more, is closed within that
)

// conn is one connection of a browser.
type conn struct {
	s     *Server
	ws    *websocket.Conn
	staff Staff // of a desk; User "" for a resident
	from  netip.Addr
	page  string // origin of the page, for contact.offered

	// With s.mu held.
	contact intake.ContactID          // of a resident
	have    map[intake.ContactID]int  // number of the newest message that was sent
	claims  map[intake.ContactID]bool // it is the browser that says so, and we have sent nothing yet

	// Of the reader.
	pace  bucket
	typed time.Time

	mu     sync.Mutex
	queue  []Out
	others int // in queue, that are no messages
	code   websocket.StatusCode
	reason string
	bell   chan struct{}
}

// send puts a frame at the end of the line. It never waits. One whose reader is too slow is ended: it comes back and goes on where it was.
func (c *conn) send(o Out) {
	c.mu.Lock()
	if c.code != 0 {
		c.mu.Unlock()
		return
	}
	if o.T != DownMessage {
		c.others++
	}
	c.queue = append(c.queue, o)
	slow := c.others > c.s.limits.Outbox || len(c.queue) > c.s.limits.Outbox+mostMessages
	c.mu.Unlock()
	if slow {
		c.s.refused("slow")
		c.end(closeSlow, "too slow, come again")
	}
	c.ring()
}

func (c *conn) ring() {
	select {
	case c.bell <- struct{}{}:
	default:
	}
}

// end closes the connection with that code, once.
func (c *conn) end(code websocket.StatusCode, reason string) {
	c.mu.Lock()
	if c.code == 0 {
		c.code, c.reason = code, reason
		c.queue = nil
	}
	c.mu.Unlock()
	c.ring()
}

// write is the goroutine "chat writer".
func (c *conn) write(ctx context.Context, stop context.CancelFunc, still func() bool) {
	defer stop()
	var looking atomic.Bool
	ping, check := time.NewTicker(c.s.limits.Ping), time.NewTicker(rightsEvery)
	defer ping.Stop()
	defer check.Stop()
	for {
		c.mu.Lock()
		batch, code, reason := c.queue, c.code, c.reason
		c.queue, c.others = nil, 0
		c.mu.Unlock()
		if code != 0 {
			_ = c.ws.Close(code, reason)
			return
		}
		for _, o := range batch {
			raw, err := json.Marshal(o)
			if err != nil {
				c.s.log.Error("chat: a frame of ours cannot be written", "t", o.T, "err", err)
				continue
			}
			w, cancel := context.WithTimeout(ctx, writeLimit)
			err = c.ws.Write(w, websocket.MessageText, raw)
			cancel()
			if err != nil {
				return
			}
		}
		if len(batch) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-c.bell:
		case <-ping.C:
			go c.ping(ctx, stop)
		case <-check.C:
			if looking.CompareAndSwap(false, true) { // who is signed in stands in tables, which may be slow: nobody waits for them here
				go func() {
					defer looking.Store(false)
					if !still() {
						c.end(closePolicy, "signed out")
					}
				}()
			}
		}
	}
}

// ping waits for the answer beside the writer, so that what is written meanwhile does not.
func (c *conn) ping(ctx context.Context, stop context.CancelFunc) {
	p, cancel := context.WithTimeout(ctx, c.s.limits.Ping)
	defer cancel()
	if c.ws.Ping(p) != nil {
		stop()
	}
}

// Allow says whether a page of that origin may use the chat of that host.
func (s *Server) Allow(origin, host string) bool {
	if origin == "" {
		return true // no browser: nobody's cookie comes with it
	}
	u, err := url.Parse(strings.ToLower(origin))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	if u.Host == strings.ToLower(host) {
		return true
	}
	if s.c.Origins == nil {
		return false
	}
	for _, o := range s.c.Origins() {
		if ok, err := path.Match(strings.ToLower(strings.TrimSuffix(o, "/")), u.Scheme+"://"+u.Host); err == nil && ok {
			return true
		}
	}
	return false
}

func (s *Server) address(r *http.Request) netip.Addr {
	if s.c.Address != nil {
		if a := s.c.Address(r); a.IsValid() {
			return a
		}
	}
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		return at.Addr()
	}
	return netip.IPv4Unspecified()
}

// serve takes a WebSocket.
func (s *Server) serve(w http.ResponseWriter, r *http.Request, staff Staff) {
	from := s.address(r)
	if staff.User == "" && !s.addresses.enter(from, s.limits) {
		s.refused("address")
		fail(w, http.StatusTooManyRequests, "too_many", "连接太多，请稍后再试，或直接拨打热线。")
		return
	}
	if staff.User == "" {
		defer s.addresses.leave(from)
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{Subprotocol}, InsecureSkipVerify: true}) // Allow has judged the origin
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(s.limits.FrameBytes)
	c := &conn{s: s, ws: ws, staff: staff, from: from, page: r.Header.Get("Origin"), have: map[intake.ContactID]int{}, claims: map[intake.ContactID]bool{}, bell: make(chan struct{}, 1)}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = ws.Close(closeRestart, "the server goes, come again")
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.counted()
	s.mu.Unlock()
	defer s.wg.Done()
	defer s.left(c)
	ctx, stop := context.WithCancel(context.WithoutCancel(r.Context())) // a hijacked request's context says nothing
	written := make(chan struct{})
	still := func() bool {
		if staff.User == "" {
			return true
		}
		now, err := s.c.Staff(r)
		if err != nil {
			return !errors.Is(err, ErrNobody) // what cannot be known now ends no desk
		}
		return now == staff
	}
	go func() { defer close(written); c.write(ctx, stop, still) }()
	c.read(ctx)
	if c.closing() { // the writer says goodbye
		<-written
	}
	stop()
	<-written
}

func (c *conn) closing() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.code != 0
}

// counted tells the metric. With s.mu held.
func (s *Server) counted() {
	if f := s.c.Metrics.Connections; f != nil {
		f(len(s.conns))
	}
}

// read takes frames until the connection is over.
func (c *conn) read(ctx context.Context) {
	limit, greeted := c.s.limits.Hello, false
	for {
		wait, cancel := context.WithTimeout(ctx, limit)
		kind, raw, err := c.ws.Read(wait)
		cancel()
		if err != nil || c.closing() {
			return
		}
		if !c.pace.take(c.s.now(), 5*float64(c.s.limits.Frames), float64(c.s.limits.Frames)) {
			c.s.refused("flood")
			c.end(closePolicy, "too many frames")
			return
		}
		in, err := Parse(raw)
		if kind != websocket.MessageText || errors.Is(err, errNoObject) {
			c.s.refused("frame")
			c.end(closeBad, "a frame is one JSON object")
			return
		}
		if err != nil {
			c.s.refused("frame")
			c.fail(in, "bad_frame")
			continue
		}
		if !greeted && in.T != UpHello {
			c.s.refused("frame")
			c.end(closePolicy, "hello comes first")
			return
		}
		greeted, limit = true, 5*c.s.limits.Ping // a phone in a pocket still answers our pings and sends its own once a minute
		if c.staff.User == "" {
			c.resident(ctx, in)
		} else {
			c.desk(ctx, in)
		}
	}
}

var (
	errNoObject = errors.New("webchat: no JSON object")
	errMember   = errors.New("webchat: a member that is not as it should be")
)

// Parse reads a frame from a browser. What has the wrong kind or size in it is an error, with T, Ref and Key as far as they can be read.
func Parse(raw []byte) (In, error) {
	var in In
	if trimmed := strings.TrimLeft(string(raw[:min(len(raw), 64)]), " \t\r\n"); !strings.HasPrefix(trimmed, "{") || !json.Valid(raw) {
		return in, errNoObject
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return In{T: cut(in.T), Ref: cut(in.Ref), Key: cut(in.Key)}, errMember
	}
	if in.T == "" || len(in.T) > 64 || len(in.Ref) > 64 || len(in.Key) > 64 || len(in.Files) > 32 || len(in.Have) > 1000 || in.After < 0 || in.N < 0 || len(in.Line) > 64 || len(in.Number) > 64 ||
		len(in.Name) > 256 || len(in.Contact) > 64 || len(in.Offer) > 64 || len(in.To) > 64 || len(in.Token) > 256 {
		return In{T: cut(in.T), Ref: cut(in.Ref), Key: cut(in.Key)}, errMember
	}
	for _, n := range in.Have {
		if n < 0 {
			return In{T: in.T, Ref: in.Ref, Key: in.Key}, errMember
		}
	}
	return in, nil
}

func cut(s string) string { return s[:min(len(s), 64)] }

// left: the connection is over.
func (s *Server) left(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.counted()
	if c.staff.User != "" {
		s.leaveDesk(c)
		return
	}
	if r := s.rooms[c.contact]; r != nil {
		delete(r.residents, c)
		if len(r.residents) == 0 && !s.closed {
			s.c.Send(gone(c.contact))
		}
	}
}
