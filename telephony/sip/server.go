package sip

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emiago/sipgo"
	sip "github.com/emiago/sipgo/sip"
	"github.com/google/uuid"

	"yingda/intake"
	"yingda/telephony"
)

// Server listens for SIP and owns all legs. Make one with Listen.
type Server struct {
	cfg       Config
	log       *slog.Logger
	guard     *guard
	ua        *sipgo.UserAgent
	udp       *packets
	tcp       *streams
	laddr     sip.Addr       // our UDP socket, as sipgo knows it
	udpAddr   netip.AddrPort // what is listened on
	tcpAddr   netip.AddrPort
	registrar *registrar
	proxy     *proxy
	trunks    map[string]*trunk
	orders    *mailbox[func()]
	ordersEnd chan struct{}
	quit      chan struct{} // closed at the end: nothing waits any longer
	errs      chan error
	draining  atomic.Bool
	closed    atomic.Bool
	shutting  atomic.Bool
	down      chan struct{}  // closed when all is closed
	wg        sync.WaitGroup // orders, keeper, listeners
	legsDone  sync.WaitGroup

	mu      sync.Mutex
	legs    map[telephony.LegID]*leg
	dialogs map[string]*leg
	waiting map[string][]chan struct{} // requests that wait for a dialog
	held    int
	peers   map[netip.Addr]int // with whom legs speak
	past    map[string]ending  // calls that are over, by dedupe key
	routes  map[string]netip.Addr
	names   map[string]lookup
}

// ending is how a call ended, for the INVITE that comes once more.
type ending struct {
	status int
	until  time.Time
}

type lookup struct {
	addr  netip.Addr
	until time.Time
}

// Listen opens the sockets and begins to serve. The error says which address could not be had. Cancelling ctx is Close without the farewell.
func Listen(ctx context.Context, cfg Config) (*Server, error) {
	if cfg.Report == nil || cfg.Media == nil || cfg.Lines == nil {
		return nil, errors.New("sip: Report, Media and Lines must be given")
	}
	cfg = cfg.withDefaults()
	s := &Server{cfg: cfg, log: cfg.Logger, orders: newMailbox[func()](), ordersEnd: make(chan struct{}), quit: make(chan struct{}), down: make(chan struct{}), errs: make(chan error, 4),
		legs: map[telephony.LegID]*leg{}, dialogs: map[string]*leg{}, waiting: map[string][]chan struct{}{}, peers: map[netip.Addr]int{},
		past: map[string]ending{}, routes: map[string]netip.Addr{}, names: map[string]lookup{}, trunks: map[string]*trunk{}}
	for i := range cfg.Trunks {
		s.trunks[cfg.Trunks[i].Name] = &trunk{Trunk: cfg.Trunks[i]}
	}
	s.registrar = newRegistrar(s)
	s.guard = &guard{cfg: cfg, challenge: s.registrar.challenge, phone: s.known, sources: map[netip.Addr]*bucket{}}
	_, _ = rand.Read(s.guard.secret[:])
	s.proxy = newProxy(s)
	if cfg.Elsewhere != nil || len(cfg.Peers) > 0 {
		s.guard.proxy = s.proxy
	}

	pc, l, err := open(cfg)
	if err != nil {
		return nil, err
	}
	quietLog := slog.New(quiet{cfg.Logger.Handler()})
	ua, err := sipgo.NewUA(sipgo.WithUserAgent(cfg.Agent),
		sipgo.WithUserAgentTransportLayerOptions(sip.WithTransportLayerLogger(quietLog)),
		sipgo.WithUserAgentTransactionLayerOptions(sip.WithTransactionLayerLogger(quietLog), sip.WithTransactionLayerUnhandledResponseHandler(func(*sip.Response) {})))
	if err != nil {
		return nil, err
	}
	s.ua = ua
	srv, err := sipgo.NewServer(ua, sipgo.WithServerLogger(quietLog))
	if err != nil {
		return nil, err
	}
	s.handlers(srv)

	if l != nil {
		s.tcpAddr = addrPort(l.Addr())
	}
	if pc != nil {
		s.udp = &packets{PacketConn: pc, guard: s.guard, buf: make([]byte, 65536)}
		s.udpAddr = addrPort(pc.LocalAddr())
		s.laddr = sip.Addr{IP: net.IP(s.udpAddr.Addr().AsSlice()), Port: int(s.udpAddr.Port()), Hostname: s.udpAddr.Addr().String()}
	}
	s.proxy.addresses()
	if l == nil {
		l = nowhere{make(chan struct{})}
	}
	s.tcp = newStreams(l, s.guard, cfg, s.registrar.disconnected)
	if pc != nil {
		s.serve("udp", func() error { return srv.ServeUDP(s.udp) })
	}
	go s.tcp.run()
	s.serve("tcp", func() error { return srv.ServeTCP(s.tcp) })
	if s.udp != nil {
		// sipgo sends from a socket of its own making while the listener is not in its pool yet.
		for !s.closed.Load() && ua.TransportLayer().Pool("udp").Size() == 0 {
			time.Sleep(100 * time.Microsecond)
		}
	}
	s.wg.Add(2)
	go s.runOrders()
	go s.registrar.book.run()
	if _, away := s.elsewhere(); away {
		s.registrar.away.Store(true)
	} else {
		// Tables that do not answer must not keep the hotline from starting.
		read := make(chan struct{})
		s.wg.Go(func() {
			var err error
			s.guarded(func() { err = s.registrar.load(time.Time{}) })
			close(read)
			if err != nil {
				s.guarded(func() { s.registrar.loaded(time.Time{}) })
			}
		})
		t := time.NewTimer(time.Second)
		select {
		case <-read:
		case <-t.C:
		}
		t.Stop()
	}
	go s.registrar.keep()
	context.AfterFunc(ctx, func() { _ = s.shut(0) })
	return s, nil
}

func open(cfg Config) (pc net.PacketConn, l net.Listener, err error) {
	pc, l = cfg.PacketConn, cfg.Listener
	if pc == nil && cfg.UDP != "" {
		a, err := net.ResolveUDPAddr("udp", cfg.UDP)
		if err != nil {
			return nil, nil, fmt.Errorf("sip: UDP address %q: %w", cfg.UDP, err)
		}
		network := "udp"
		if a.IP == nil || a.IP.To4() != nil {
			network = "udp4"
		}
		c, err := net.ListenUDP(network, a)
		if err != nil {
			return nil, nil, fmt.Errorf("sip: UDP address %q: %w", cfg.UDP, err)
		}
		_ = c.SetReadBuffer(cfg.Limits.ReadBuffer) // the kernel gives what net.core.rmem_max allows
		pc = c
	}
	if l == nil && cfg.TCP != "" {
		if l, err = net.Listen("tcp", cfg.TCP); err != nil {
			if pc != nil {
				_ = pc.Close()
			}
			return nil, nil, fmt.Errorf("sip: TCP address %q: %w", cfg.TCP, err)
		}
	}
	if pc == nil && l == nil {
		return nil, nil, errors.New("sip: neither UDP nor TCP address")
	}
	return pc, l, nil
}

// nowhere is the listener of a server without TCP: it never accepts, so that connections which we dial still have somebody to read them.
type nowhere struct{ done chan struct{} }

func (n nowhere) Accept() (net.Conn, error) { <-n.done; return nil, net.ErrClosed }
func (n nowhere) Close() error              { close(n.done); return nil }
func (n nowhere) Addr() net.Addr            { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5060} }

func (s *Server) serve(what string, f func() error) {
	s.wg.Go(func() {
		err := f()
		if !s.closed.Load() {
			s.errs <- fmt.Errorf("sip: the %s listener has ended: %w", what, errors.Join(err, net.ErrClosed))
		}
	})
}

func (s *Server) handlers(srv *sipgo.Server) {
	h := func(f func(*sip.Request, sip.ServerTransaction)) sipgo.RequestHandler {
		return func(req *sip.Request, tx sip.ServerTransaction) {
			defer func() {
				if r := recover(); r != nil {
					s.fault(string(req.Method), r)
					if !req.IsAck() {
						_ = tx.Respond(s.response(req, 500, ""))
					}
				}
			}()
			// The guard lets nothing through without these; a connection that sipgo has opened by itself would.
			if req.Via() == nil || req.From() == nil || req.To() == nil || req.CallID() == nil || req.CSeq() == nil {
				if !req.IsAck() {
					_ = tx.Respond(s.response(req, 400, ""))
				}
				return
			}
			f(req, tx)
		}
	}
	srv.OnInvite(h(s.onInvite))
	srv.OnAck(h(s.onAck))
	srv.OnCancel(h(s.onCancel))
	srv.OnBye(h(s.inDialog))
	srv.OnInfo(h(s.inDialog))
	srv.OnUpdate(h(s.inDialog))
	srv.OnOptions(h(s.onOptions))
	srv.OnRegister(h(s.registrar.onRegister))
	srv.OnNoRoute(h(func(req *sip.Request, tx sip.ServerTransaction) {
		s.answer(req, tx, 405, "", "Allow: "+allowed)
	}))
}

// answer sends a final response outside of a leg.
func (s *Server) answer(req *sip.Request, tx sip.ServerTransaction, status int, reason string, more ...string) {
	s.cfg.Metrics.Answered(string(req.Method), status)
	if err := tx.Respond(s.response(req, status, reason, more...)); err != nil {
		s.log.Debug("response not sent", "method", req.Method, "status", status)
	}
}

// fault writes down a panic. Its value may hold what a peer sent, so only the stack is logged.
func (s *Server) fault(where string, r any) {
	s.cfg.Metrics.Fault()
	kind := fmt.Sprintf("%T", r)
	if e, ok := r.(error); ok && strings.HasPrefix(e.Error(), "runtime error") {
		kind = e.Error()
	}
	s.log.Error("panic in the SIP edge", "where", where, "kind", kind, "stack", string(debug.Stack()))
}

// Do carries out what is ordered of SIP and media; other effects are passed over. It never waits. Orders for one leg are carried out in
// the order given; orders of sound (Play, Stop, Bridge, Unbridge, Record, StopRecord) also among all legs.
func (s *Server) Do(effects ...telephony.Effect) {
	for _, e := range effects {
		if s.sound(e) {
			continue
		}
		var id telephony.LegID
		switch e := e.(type) {
		case telephony.Ring:
			id = e.Leg
		case telephony.Progress:
			id = e.Leg
		case telephony.Accept:
			id = e.Leg
		case telephony.Refuse:
			id = e.Leg
		case telephony.Hangup:
			id = e.Leg
		case telephony.Dial:
			s.dial(e)
			continue
		default:
			continue
		}
		if l := s.leg(id); l == nil || !l.box.put(e, 0) {
			s.cfg.Metrics.Late("order")
		}
	}
}

func (s *Server) leg(id telephony.LegID) *leg {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.legs[id]
}

// Drain stops taking calls: OPTIONS is answered with 503, so that trunks go elsewhere. INVITEs are still reported, so that the machine refuses and writes them down.
func (s *Server) Drain() { s.draining.Store(true) }

// Close ends all legs (BYE, CANCEL, 503), waits a little for the answers and closes the sockets.
func (s *Server) Close() error { return s.shut(s.cfg.Timers.Close) }

func (s *Server) shut(wait time.Duration) error {
	if !s.shutting.CompareAndSwap(false, true) {
		<-s.down
		return nil
	}
	s.draining.Store(true)
	s.mu.Lock()
	legs := make([]*leg, 0, len(s.legs))
	seen := map[*leg]bool{}
	for _, l := range s.legs {
		legs = append(legs, l)
		seen[l] = true
	}
	for _, l := range s.dialogs {
		if !seen[l] {
			seen[l] = true
			legs = append(legs, l)
		}
	}
	s.mu.Unlock()
	if wait > 0 {
		for _, l := range legs {
			l.box.put(closing{}, 0)
		}
		done := make(chan struct{})
		go func() { s.legsDone.Wait(); close(done) }()
		t := time.NewTimer(wait)
		select {
		case <-done:
		case <-t.C:
		}
		t.Stop()
		s.registrar.book.flush(wait)
	}
	s.closed.Store(true)
	close(s.quit)
	late := time.NewTimer(100 * time.Millisecond)
	select {
	case <-s.registrar.book.ended:
	case <-late.C: // it waits for tables that hang; what it writes is of no harm
	}
	late.Stop()
	s.legsDone.Wait()
	close(s.ordersEnd)
	// sipgo opens a socket of its own for a message that it is still dealing with when its pool is cleared, and nobody would close that
	// one: so first nothing more comes in, and what is in goes through.
	s.guard.shut.Store(true)
	time.Sleep(20 * time.Millisecond)
	_ = s.tcp.Close()
	if s.udp != nil {
		_ = s.udp.Close()
	}
	_ = s.ua.Close()
	s.tcp.closeAll()
	s.wg.Wait()
	close(s.down)
	return nil
}

// Err tells of a listener that has ended though nobody closed it. That is fatal.
func (s *Server) Err() <-chan error { return s.errs }

// Addr gives the addresses that are listened on, zero where there is none.
func (s *Server) Addr() (udp, tcp netip.AddrPort) { return s.udpAddr, s.tcpAddr }

// Bindings gives the registered contacts, for a page and for tests.
func (s *Server) Bindings() []Binding { return s.registrar.all() }

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// known says that an address is that of a phone, of a trunk that we call, or of a peer of a leg.
func (s *Server) known(a netip.Addr) bool {
	a = a.Unmap()
	if s.registrar.from(a) || s.proxy.phone(a) {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers[a] > 0 {
		return true
	}
	for _, t := range s.trunks {
		if t.at == a {
			return true
		}
	}
	return false
}

func (s *Server) peer(a netip.Addr, delta int) {
	if !a.IsValid() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.peers[a] += delta; s.peers[a] <= 0 {
		delete(s.peers, a)
	}
}

// sentBy is our host and port towards dest.
func (s *Server) sentBy(transport, dest string) string {
	port := s.udpAddr.Port()
	if transport == "TCP" && s.tcpAddr.Port() != 0 || port == 0 {
		port = s.tcpAddr.Port()
	}
	return joinHostPort(s.advertised(dest).String(), int(port))
}

// advertised is our address as dest sees it.
func (s *Server) advertised(dest string) netip.Addr {
	if s.cfg.Advertise.IsValid() {
		return s.cfg.Advertise
	}
	for _, a := range []netip.Addr{s.udpAddr.Addr(), s.tcpAddr.Addr()} {
		if a.IsValid() && !a.IsUnspecified() {
			return a
		}
	}
	host, _, _ := net.SplitHostPort(dest)
	s.mu.Lock()
	a, ok := s.routes[host]
	s.mu.Unlock()
	if ok {
		return a
	}
	a = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if c, err := net.Dial("udp", net.JoinHostPort(host, "9")); err == nil { // sends nothing: it asks the kernel for the route
		a = addrPort(c.LocalAddr()).Addr()
		_ = c.Close()
	}
	s.mu.Lock()
	if len(s.routes) > 1000 {
		clear(s.routes)
	}
	s.routes[host] = a
	s.mu.Unlock()
	return a
}

// resolve finds the address of a host, and remembers it for a minute; where the name server fails, what was known before is used.
func (s *Server) resolve(ctx context.Context, hostport string) (netip.AddrPort, error) {
	host, p, err := net.SplitHostPort(hostport)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("sip: address %q: %w", hostport, err)
	}
	port, err := strconv.ParseUint(p, 10, 16)
	if err != nil || port == 0 {
		return netip.AddrPort{}, fmt.Errorf("sip: port of %q", hostport)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return netip.AddrPortFrom(a.Unmap(), uint16(port)), nil
	}
	now := time.Now()
	s.mu.Lock()
	known, ok := s.names[host]
	s.mu.Unlock()
	if ok && now.Before(known.until) {
		return netip.AddrPortFrom(known.addr, uint16(port)), nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(addrs) == 0 {
		if ok {
			return netip.AddrPortFrom(known.addr, uint16(port)), nil
		}
		return netip.AddrPort{}, fmt.Errorf("sip: host of %q is not found: %w", hostport, err)
	}
	best := addrs[0].Unmap()
	for _, a := range addrs {
		if a.Unmap().Is4() {
			best = a.Unmap()
			break
		}
	}
	s.mu.Lock()
	if len(s.names) > 1000 {
		clear(s.names)
	}
	s.names[host] = lookup{best, now.Add(time.Minute)}
	s.mu.Unlock()
	return netip.AddrPortFrom(best, uint16(port)), nil
}

// connected says that a TCP connection to that address is up.
func (s *Server) connected(a netip.AddrPort) bool {
	c := s.ua.TransportLayer().Pool("tcp").Get(a.String())
	if c == nil {
		return false
	}
	_, _ = c.TryClose()
	return true
}

// reach makes a request ready to be sent: its destination is an address, and over TCP there is a connection that our guard reads.
func (s *Server) reach(ctx context.Context, req *sip.Request) error {
	to, err := s.resolve(ctx, req.Destination())
	if err != nil {
		return err
	}
	req.SetDestination(to.String())
	if req.Transport() != "TCP" || s.connected(to) {
		return nil
	}
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return fmt.Errorf("sip: no connection: %w", err)
	}
	select {
	case s.tcp.dialed <- c:
	case <-s.quit:
		_ = c.Close()
		return net.ErrClosed
	}
	for i := 0; i < 1000 && !s.connected(to); i++ {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// replies is where the responses to a request go, and its end without one.
type replies interface {
	response(n int, res *sip.Response)
	failed(n int, err error)
}

// send is sip.pump: it sends a request, and reads the responses of its transaction to the end, so that sipgo is never kept waiting. n is handed
// back with them. Cancelling ctx forgets the transaction.
func (s *Server) send(ctx context.Context, req *sip.Request, to replies, n int) {
	go func() {
		defer func() {
			if r := recover(); r != nil {
				s.fault("send "+string(req.Method), r)
				to.failed(n, errors.New("panic"))
			}
		}()
		if err := s.reach(ctx, req); err != nil {
			to.failed(n, err)
			return
		}
		tx, err := s.ua.TransactionLayer().Request(ctx, req)
		if err != nil {
			s.cfg.Metrics.Sent(string(req.Method), 0, true)
			to.failed(n, err)
			return
		}
		// A 2xx that comes again, and those of other forks, come by this hook (RFC 6026): for 64·T1 after the first.
		tx.OnRetransmission(func(res *sip.Response) { to.response(n, res) })
		final := false
		for {
			select {
			case res := <-tx.Responses():
				to.response(n, res)
				if res.IsProvisional() {
					continue
				}
				s.cfg.Metrics.Sent(string(req.Method), res.StatusCode, false)
				final = true
				if !req.IsInvite() {
					tx.Terminate()
				}
				return
			case <-tx.Done():
				if !final {
					s.cfg.Metrics.Sent(string(req.Method), 0, true)
					to.failed(n, errors.Join(errors.New("sip: no answer"), tx.Err()))
				}
				return
			case <-ctx.Done():
				tx.Terminate()
				to.failed(n, ctx.Err())
				return
			case <-s.quit:
				tx.Terminate()
				to.failed(n, net.ErrClosed)
				return
			}
		}
	}()
}

// write sends a request that has no transaction: the ACK of a 2xx.
func (s *Server) write(req *sip.Request) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.reach(ctx, req); err != nil {
		return err
	}
	return s.ua.TransportLayer().WriteMsg(req)
}

// dialogKey names a dialog: by Call-ID alone when the Call-ID is ours, else with the tag of the other side.
func dialogKey(call, theirs string) string {
	if strings.HasPrefix(call, ownCall) {
		return call
	}
	return call + "\x00" + theirs
}

// enter makes l the owner of a dialog. It is refused when a leg that lives has it.
func (s *Server) enter(key string, l *leg) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.dialogs[key]; old != nil && old != l && !old.over.Load() {
		return false
	}
	s.dialogs[key] = l
	for _, c := range s.waiting[key] {
		close(c)
	}
	delete(s.waiting, key)
	return true
}

func (s *Server) leave(key string, l *leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dialogs[key] == l {
		delete(s.dialogs, key)
		if s.guard.proxy != nil {
			s.proxy.left(key)
		}
	}
}

// await finds the owner of a dialog, and waits for it a little: sipgo hands on each message on a goroutine of its own, so a CANCEL, ACK, BYE or INFO may
// overtake the INVITE it belongs to.
func (s *Server) await(key string) *leg {
	s.mu.Lock()
	if l := s.dialogs[key]; l != nil {
		s.mu.Unlock()
		return l
	}
	if s.held >= s.cfg.Limits.Held {
		s.mu.Unlock()
		return nil
	}
	s.held++
	c := make(chan struct{})
	s.waiting[key] = append(s.waiting[key], c)
	s.mu.Unlock()
	t := time.NewTimer(s.cfg.Timers.Hold)
	defer t.Stop()
	select {
	case <-c:
	case <-t.C:
	case <-s.quit:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held--
	list := s.waiting[key]
	for i := range list {
		if list[i] == c {
			s.waiting[key] = append(list[:i:i], list[i+1:]...)
			break
		}
	}
	if len(s.waiting[key]) == 0 {
		delete(s.waiting, key)
	}
	l := s.dialogs[key]
	if l != nil {
		s.cfg.Metrics.Late("held")
	} else {
		s.cfg.Metrics.Late("unknown")
	}
	return l
}

func (s *Server) onOptions(req *sip.Request, tx sip.ServerTransaction) {
	if toTag(req) != "" {
		s.inDialog(req, tx)
		return
	}
	if s.draining.Load() {
		s.answer(req, tx, 503, "", "Retry-After: 60")
		return
	}
	if owner, away := s.elsewhere(); away && !owner.IsValid() {
		s.answer(req, tx, 503, "", "Retry-After: 2") // we could not send a call on
		return
	}
	s.answer(req, tx, 200, "", "Allow: "+allowed, "Accept: "+accepted, "Supported: timer")
}

// inDialog hands a request to the leg that owns its dialog and waits until it is answered.
func (s *Server) inDialog(req *sip.Request, tx sip.ServerTransaction) {
	key := dialogKey(req.CallID().Value(), fromTag(req))
	var l *leg
	if toTag(req) != "" {
		l = s.await(key)
	}
	if l == nil {
		s.answer(req, tx, 481, "")
		return
	}
	in := &incoming{req: req, tx: tx, done: make(chan struct{})}
	if !l.box.put(in, s.cfg.Limits.Mailbox) {
		s.answer(req, tx, 481, "")
		return
	}
	s.waitFor(in, l)
}

// waitFor keeps the handler, and with it sipgo's transaction, until the leg has done with it.
func (s *Server) waitFor(in *incoming, l *leg) {
	for {
		select {
		case <-in.done:
			return
		case ack := <-in.tx.Acks():
			// An ACK that matches the INVITE's own branch: of a phone that keeps to RFC 2543.
			l.box.put(&incoming{req: ack}, s.cfg.Limits.Mailbox)
		case <-in.tx.Done():
			l.box.put(gone{in}, 0)
			return
		case <-l.stopped:
			return
		case <-s.quit:
			return
		}
	}
}

func (s *Server) onAck(req *sip.Request, tx sip.ServerTransaction) {
	if l := s.await(dialogKey(req.CallID().Value(), fromTag(req))); l != nil {
		l.box.put(&incoming{req: req}, s.cfg.Limits.Mailbox)
	}
}

// onCancel gets the CANCELs for which sipgo knew no INVITE when they came; those that match it answers itself.
func (s *Server) onCancel(req *sip.Request, tx sip.ServerTransaction) {
	l := s.await(dialogKey(req.CallID().Value(), fromTag(req)))
	if l == nil || !l.in {
		s.answer(req, tx, 481, "")
		return
	}
	in := &incoming{req: req, tx: tx, done: make(chan struct{})}
	if !l.box.put(in, s.cfg.Limits.Mailbox) {
		s.answer(req, tx, 481, "")
		return
	}
	s.waitFor(in, l)
}

// remember keeps how a call ended, so that its INVITE is known should it come once more.
func (s *Server) remember(dedupe string, status int) {
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.past) > 4*s.cfg.Limits.Legs {
		for k, e := range s.past {
			if now.After(e.until) {
				delete(s.past, k)
			}
		}
	}
	s.past[dedupe] = ending{status, now.Add(s.cfg.Timers.Forget)}
}

func (s *Server) ended(dedupe string) (int, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.past[dedupe]
	if ok && time.Now().After(e.until) {
		delete(s.past, dedupe)
		return 0, false
	}
	return e.status, ok
}

// codecOf gives the codec of a contact's resident: what an operator's phone is offered must go with it.
func (s *Server) codecOf(contact intake.ContactID) string {
	if contact == "" {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.legs {
		if l.contact == contact && l.in {
			if c, ok := l.codec.Load().(string); ok {
				return c
			}
		}
	}
	return ""
}
