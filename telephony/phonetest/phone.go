package phonetest

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

// Errors of a phone.
var (
	ErrTimeout = errors.New("phonetest: no answer")
	ErrClosed  = errors.New("phonetest: the phone is closed")
)

// Config of a Phone. Server must be given, of all else the zero value is useful.
type Config struct {
	Server    string // host:port: where calls and registrations go; another phone's Addr calls that phone directly
	Transport string // "udp" (default) or "tcp"
	Local     string // address to bind; "": 127.0.0.1 and any port
	User      string // also the number shown; "": "anonymous"
	Name      string // display name
	Password  string
	Domain    string         // host part of From and To; "": that of Server
	Conn      net.PacketConn // in place of a UDP socket: a network in memory
	NoAudio   bool           // no RTP sockets: the SDP names port 9 of 127.0.0.1
	Codec     string         // "PCMA" or "PCMU": only this one is offered and taken. "": both, PCMA first
	Expires   time.Duration  // of a registration; zero: 10 min
	T1        time.Duration  // zero: 500 ms
	Keep      time.Duration  // how much of the sound that came is kept for Audio.Last; zero: 20 s (320 kB a call)
	// OnCall is told of a call that comes in, on a goroutine of its own that Close waits for. Nil: see Phone.Incoming.
	OnCall func(*Call)
	// Lose drops what the phone is about to send when it says true: a test's lossy network. Nil: nothing is lost.
	Lose func(*Message) bool
	// LoseRTP drops an RTP packet that the phone is about to send, named by its sequence number. Nil: nothing is lost.
	LoseRTP func(seq uint16) bool
	// Trace sees all messages that come (in) and go. It must not block.
	Trace func(in bool, m *Message)
}

// Phone is one phone. All its methods are safe for several goroutines.
type Phone struct {
	cfg    Config
	pc     net.PacketConn
	tcp    net.Conn
	server net.Addr
	host   string // host:port we are reached at
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	writeM sync.Mutex
	close  sync.Once

	mu       sync.Mutex
	closing  bool // no new calls
	closed   bool // no new goroutines, nothing is sent any more
	errands  int  // goroutines that tell a server something it needs to know: Close waits for them, for a while
	idle     chan struct{}
	waiting  map[string]chan *Message // requests of ours without a final response, by branch and method
	calls    map[string]*Call         // by Call-ID
	replies  *recent[reply]           // what we answered, by branch and method
	acks     *recent[reply]           // how we acknowledged, by branch and To tag
	refused  map[string]*once         // INVITEs that we refused and whose ACK has not come, by branch
	incoming chan *Call
	reg      registration
}

// reply is a message as it went, for when it is asked for again. Nil: nothing has been answered yet.
type reply struct {
	m  *Message
	to net.Addr
}

// New opens the phone's socket and begins to listen.
func New(cfg Config) (*Phone, error) {
	if cfg.Transport == "" {
		cfg.Transport = "udp"
	}
	if cfg.Local == "" {
		cfg.Local = "127.0.0.1:0"
	}
	if cfg.T1 == 0 {
		cfg.T1 = 500 * time.Millisecond
	}
	if cfg.Expires == 0 {
		cfg.Expires = 10 * time.Minute
	}
	if cfg.Keep == 0 {
		cfg.Keep = 20 * time.Second
	}
	if cfg.User == "" {
		cfg.User = "anonymous"
	}
	if cfg.Domain == "" {
		cfg.Domain, _, _ = net.SplitHostPort(cfg.Server)
	}
	p := &Phone{cfg: cfg, idle: make(chan struct{}), waiting: map[string]chan *Message{}, calls: map[string]*Call{}, refused: map[string]*once{},
		replies: newRecent[reply](64 * cfg.T1), acks: newRecent[reply](64 * cfg.T1), reg: registration{call: Token() + "@phone", turn: make(chan struct{}, 1)}}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	var read func()
	if cfg.Transport == "tcp" {
		c, err := net.DialTimeout("tcp", cfg.Server, 5*time.Second)
		if err != nil {
			p.cancel()
			return nil, fmt.Errorf("phonetest: %w", err)
		}
		p.tcp, p.host, read = c, c.LocalAddr().String(), p.readStream
	} else {
		a, err := net.ResolveUDPAddr("udp", cfg.Server)
		if err != nil {
			p.cancel()
			return nil, fmt.Errorf("phonetest: %w", err)
		}
		p.server = a
		p.pc = cfg.Conn
		if p.pc == nil {
			if p.pc, err = net.ListenPacket("udp", cfg.Local); err != nil {
				p.cancel()
				return nil, fmt.Errorf("phonetest: %w", err)
			}
		}
		p.host, read = p.pc.LocalAddr().String(), p.readPackets
	}
	p.wg.Go(read)
	return p, nil
}

// Close hangs up what is up, waits at most 2 × T1 until the other side has said that it knows, and ends all goroutines and
// sockets. A registration stays until it runs out, as when a plug is pulled: see Unregister and Shutdown. Not to be called
// from OnCall.
func (p *Phone) Close() { p.close.Do(p.shut) }

// Shutdown takes the registration back, if there is one, and then closes. The error is that of the registration.
func (p *Phone) Shutdown(ctx context.Context) error {
	p.mu.Lock()
	registered := p.reg.stop != nil
	p.mu.Unlock()
	var err error
	if registered {
		err = p.Unregister(ctx)
	}
	p.Close()
	return err
}

func (p *Phone) shut() {
	p.mu.Lock()
	p.closing = true
	calls := make([]*Call, 0, len(p.calls))
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	for _, c := range calls {
		c.leave()
	}
	p.mu.Lock()
	busy := p.errands > 0
	p.mu.Unlock()
	if busy {
		t := time.NewTimer(2 * p.cfg.T1)
		select {
		case <-p.idle:
		case <-t.C:
		}
		t.Stop()
	}
	p.mu.Lock()
	p.closed = true
	calls = calls[:0]
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	p.cancel()
	for _, c := range calls {
		c.end(0, "closed")
	}
	if p.pc != nil {
		_ = p.pc.Close()
	}
	if p.tcp != nil {
		_ = p.tcp.Close()
	}
	p.wg.Wait()
}

// spawn runs f on a goroutine that Close waits for, unless the phone is closed.
func (p *Phone) spawn(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.wg.Go(f)
	return true
}

// errand is spawn for what Close lets finish before it closes the socket.
func (p *Phone) errand(f func()) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.errands++
	p.wg.Go(func() {
		f()
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.errands--; p.errands == 0 && p.closing {
			select {
			case <-p.idle:
			default:
				close(p.idle)
			}
		}
	})
	return true
}

// Incoming gives the calls that come in, for a phone without OnCall: they ring (180) by themselves. From the first use of
// Incoming on; before, a call is answered with 480. While 16 calls wait to be received here, the next one is told 486.
func (p *Phone) Incoming() <-chan *Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.incoming == nil {
		p.incoming = make(chan *Call, 16)
	}
	return p.incoming
}

// Addr is where the phone is reached.
func (p *Phone) Addr() string { return p.host }

// Calls counts the calls that live.
func (p *Phone) Calls() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.calls)
}

// Token gives a random word for tags, branches and Call-IDs.
func Token() string {
	var b [10]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// tagFor gives the same tag for each response of one call.
func tagFor(req *Message) string {
	h := sha256.Sum256([]byte(req.Get("Call-ID")))
	return hex.EncodeToString(h[:6])
}

// Request begins a request outside of a dialog.
func (p *Phone) Request(method, uri, call string, seq int) *Message {
	name := ""
	if p.cfg.Name != "" {
		name = `"` + p.cfg.Name + `" `
	}
	m := &Message{Start: method + " " + uri + " SIP/2.0"}
	m.Add("Via", p.Via()).Add("Max-Forwards", "70")
	m.Add("From", fmt.Sprintf("%s<sip:%s@%s>;tag=%s", name, p.cfg.User, p.cfg.Domain, Token()))
	m.Add("To", "<"+uri+">").Add("Call-ID", call).Add("CSeq", fmt.Sprintf("%d %s", seq, method))
	m.Add("Contact", p.contact()).Add("User-Agent", "phonetest")
	return m
}

// Via gives a new Via value.
func (p *Phone) Via() string {
	return fmt.Sprintf("SIP/2.0/%s %s;branch=z9hG4bK%s;rport", strings.ToUpper(p.cfg.Transport), p.host, Token())
}

func (p *Phone) contact() string {
	c := "<sip:" + p.cfg.User + "@" + p.host
	if p.tcp != nil {
		c += ";transport=tcp"
	}
	return c + ">"
}
