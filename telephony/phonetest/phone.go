package phonetest

import (
	"bufio"
	"bytes"
	"context"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
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
	Server    string // host:port
	Transport string // "udp" (default) or "tcp"
	Local     string // address to bind; "": 127.0.0.1 and any port
	User      string // also the number shown; "": "anonymous"
	Name      string // display name
	Password  string
	Domain    string         // host part of From and To; "": that of Server
	Conn      net.PacketConn // in place of a UDP socket: a network in memory
	NoAudio   bool           // no RTP sockets: the SDP names port 9 of 127.0.0.1
	Codec     string         // "PCMA" (default) or "PCMU"
	Expires   time.Duration  // of a registration; zero: 10 min
	T1        time.Duration  // zero: 500 ms
	// OnCall is told of a call that comes in, on a goroutine of its own. Nil: it is answered with 480.
	OnCall func(*Call)
	// Lose drops what the phone is about to send when it says true: a test's lossy network. Nil: nothing is lost.
	Lose func(*Message) bool
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

	mu      sync.Mutex
	closed  bool
	waiting map[string]chan *Message // by branch and method
	calls   map[string]*Call         // by Call-ID
	replies map[string]reply         // what we answered, by branch and method
	regCall string
	regSeq  int
	keeping bool
}

type reply struct {
	data []byte
	at   time.Time
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
	if cfg.User == "" {
		cfg.User = "anonymous"
	}
	if cfg.Codec == "" {
		cfg.Codec = "PCMA"
	}
	if cfg.Domain == "" {
		cfg.Domain, _, _ = net.SplitHostPort(cfg.Server)
	}
	p := &Phone{cfg: cfg, waiting: map[string]chan *Message{}, calls: map[string]*Call{}, replies: map[string]reply{}, regCall: Token() + "@phone"}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	var read func()
	if cfg.Transport == "tcp" {
		c, err := net.DialTimeout("tcp", cfg.Server, 5*time.Second)
		if err != nil {
			return nil, fmt.Errorf("phonetest: %w", err)
		}
		p.tcp, p.host, read = c, c.LocalAddr().String(), p.readStream
	} else {
		a, err := net.ResolveUDPAddr("udp", cfg.Server)
		if err != nil {
			return nil, fmt.Errorf("phonetest: %w", err)
		}
		p.server = a
		p.pc = cfg.Conn
		if p.pc == nil {
			if p.pc, err = net.ListenPacket("udp", cfg.Local); err != nil {
				return nil, fmt.Errorf("phonetest: %w", err)
			}
		}
		p.host, read = p.pc.LocalAddr().String(), p.readPackets
	}
	p.wg.Go(read)
	return p, nil
}

// Close hangs up what is up, without waiting for answers, and ends all goroutines.
func (p *Phone) Close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	calls := make([]*Call, 0, len(p.calls))
	for _, c := range p.calls {
		calls = append(calls, c)
	}
	p.mu.Unlock()
	for _, c := range calls {
		c.leave()
	}
	p.cancel()
	if p.pc != nil {
		_ = p.pc.Close()
	}
	if p.tcp != nil {
		_ = p.tcp.Close()
	}
	p.wg.Wait()
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

func (p *Phone) readPackets() {
	buf := make([]byte, 65536)
	for {
		n, _, err := p.pc.ReadFrom(buf)
		if err != nil {
			if p.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		if m, err := ParseMessage(buf[:n]); err == nil {
			p.got(m)
		}
	}
}

func (p *Phone) readStream() {
	r := bufio.NewReader(p.tcp)
	for {
		m, err := ReadMessage(r)
		if err != nil {
			return
		}
		p.got(m)
	}
}

// ReadMessage reads one message from a stream.
func ReadMessage(r *bufio.Reader) (*Message, error) {
	var head bytes.Buffer
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		if head.Len() == 0 && strings.TrimSpace(line) == "" {
			continue
		}
		head.WriteString(line)
		if strings.TrimSpace(line) == "" {
			break
		}
		if head.Len() > 1<<20 {
			return nil, errors.New("phonetest: headers without end")
		}
	}
	m, err := ParseMessage(head.Bytes())
	if err != nil {
		return nil, err
	}
	n, _ := strconv.Atoi(m.Get("Content-Length"))
	m.Body = make([]byte, n)
	if _, err := io.ReadFull(r, m.Body); err != nil {
		return nil, err
	}
	return m, nil
}

// Send writes a message as it is.
func (p *Phone) Send(m *Message) {
	if p.cfg.Trace != nil {
		p.cfg.Trace(false, m)
	}
	if p.cfg.Lose != nil && p.cfg.Lose(m) {
		return
	}
	p.write(m.Bytes())
}

func (p *Phone) write(data []byte) {
	p.writeM.Lock()
	defer p.writeM.Unlock()
	if p.tcp != nil {
		_ = p.tcp.SetWriteDeadline(time.Now().Add(5 * time.Second))
		_, _ = p.tcp.Write(data)
		return
	}
	_, _ = p.pc.WriteTo(data, p.server)
}

func (p *Phone) got(m *Message) {
	if p.cfg.Trace != nil {
		p.cfg.Trace(true, m)
	}
	if m.Status() != 0 {
		p.mu.Lock()
		c := p.waiting[m.Branch()+m.Method()]
		call := p.calls[m.Get("Call-ID")]
		p.mu.Unlock()
		switch {
		case c != nil:
			select {
			case c <- m:
			default:
			}
		case call != nil && m.Method() == "INVITE" && m.Status() >= 200 && m.Status() < 300:
			call.again(m)
		}
		return
	}
	key := m.Branch() + m.Method()
	p.mu.Lock()
	old, seen := p.replies[key]
	call := p.calls[m.Get("Call-ID")]
	if !seen && m.Method() != "ACK" {
		p.replies[key] = reply{at: time.Now()}
		if len(p.replies) > 500 {
			for k, r := range p.replies {
				if time.Since(r.at) > 64*p.cfg.T1 {
					delete(p.replies, k)
				}
			}
		}
	}
	p.mu.Unlock()
	if seen {
		if old.data != nil {
			p.write(old.data)
		}
		return
	}
	switch {
	case m.Method() == "INVITE" && m.Tag("To") == "":
		p.invited(m)
	case call != nil:
		call.request(m)
	case m.Method() == "ACK":
	case m.Method() == "OPTIONS":
		p.Reply(m, 200, "OK", nil)
	default:
		p.Reply(m, 481, "Call/Transaction Does Not Exist", nil)
	}
}

// Reply answers a request and keeps the answer for when it comes again. extra may change the response before it goes.
func (p *Phone) Reply(req *Message, status int, reason string, extra func(*Message)) {
	r := req.Response(status, reason, tagFor(req))
	if extra != nil {
		extra(r)
	}
	key := req.Branch() + req.Method()
	p.mu.Lock()
	p.replies[key] = reply{r.Bytes(), time.Now()}
	p.mu.Unlock()
	p.Send(r)
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

// Do sends a request, repeats it over UDP, and gives each response to each (nil: none) until the final one, which it returns.
func (p *Phone) Do(ctx context.Context, m *Message, each func(*Message)) (*Message, error) {
	c := make(chan *Message, 32)
	key := m.Branch() + m.Method()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return nil, ErrClosed
	}
	p.waiting[key] = c
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, key)
		p.mu.Unlock()
	}()
	p.Send(m)
	every := p.cfg.T1
	again := time.NewTimer(every)
	defer again.Stop()
	if p.tcp != nil {
		again.Stop()
	}
	end := time.NewTimer(64 * p.cfg.T1)
	defer end.Stop()
	for {
		select {
		case r := <-c:
			if each != nil {
				each(r)
			}
			if r.Status() >= 200 {
				return r, nil
			}
			if m.Method() == "INVITE" {
				again.Stop()
				end.Stop()
			}
		case <-again.C:
			p.Send(m)
			every *= 2
			if m.Method() != "INVITE" {
				every = min(every, 8*p.cfg.T1)
			}
			again.Reset(every)
		case <-end.C:
			return nil, ErrTimeout
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-p.ctx.Done():
			return nil, ErrClosed
		}
	}
}

// Register registers and keeps the registration alive until Unregister or Close. The error tells the last status.
func (p *Phone) Register(ctx context.Context) error {
	if err := p.register(ctx, p.cfg.Expires); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keeping || p.closed {
		return nil
	}
	p.keeping = true
	p.wg.Go(p.keep)
	return nil
}

func (p *Phone) keep() {
	wait := p.cfg.Expires / 2
	for {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-p.ctx.Done():
			t.Stop()
			return
		}
		p.mu.Lock()
		keeping := p.keeping
		p.mu.Unlock()
		if !keeping {
			return
		}
		wait = p.cfg.Expires / 2
		if err := p.register(p.ctx, p.cfg.Expires); err != nil {
			wait = min(wait, 10*time.Second)
		}
	}
}

// Unregister takes the registration back.
func (p *Phone) Unregister(ctx context.Context) error {
	p.mu.Lock()
	p.keeping = false
	p.mu.Unlock()
	return p.register(ctx, 0)
}

func (p *Phone) register(ctx context.Context, expires time.Duration) error {
	auth := ""
	for try := 0; ; try++ {
		p.mu.Lock()
		p.regSeq++
		seq := p.regSeq
		p.mu.Unlock()
		uri := "sip:" + p.cfg.Server
		m := p.Request("REGISTER", uri, p.regCall, seq)
		m.Set("To", "<sip:"+p.cfg.User+"@"+p.cfg.Domain+">").Add("Expires", strconv.Itoa(int(expires.Seconds())))
		if auth != "" {
			m.Add("Authorization", auth)
		}
		r, err := p.Do(ctx, m, nil)
		if err != nil {
			return err
		}
		switch {
		case r.Status() == 200:
			return nil
		case r.Status() == 401 && try < 2:
			challenges := r.All("WWW-Authenticate")
			if try == 1 && !strings.Contains(strings.Join(challenges, ","), "stale=true") {
				return fmt.Errorf("phonetest: REGISTER answered with 401 though the password was sent")
			}
			if auth = Digest(challenges, p.cfg.User, p.cfg.Password, "REGISTER", uri); auth == "" {
				return errors.New("phonetest: a challenge that cannot be answered")
			}
		default:
			return fmt.Errorf("phonetest: REGISTER answered with %s", r.Start)
		}
	}
}

// Digest answers the first challenge that it can (RFC 7616): MD5 or SHA-256, qop auth.
func Digest(challenges []string, user, password, method, uri string) string {
	for _, c := range challenges {
		par := map[string]string{}
		for _, kv := range strings.Split(strings.TrimPrefix(c, "Digest "), ",") {
			k, v, _ := strings.Cut(strings.TrimSpace(kv), "=")
			par[strings.ToLower(k)] = strings.Trim(v, `"`)
		}
		hash := func(s string) string { h := md5.Sum([]byte(s)); return hex.EncodeToString(h[:]) }
		switch strings.ToUpper(par["algorithm"]) {
		case "SHA-256":
			hash = func(s string) string { h := sha256.Sum256([]byte(s)); return hex.EncodeToString(h[:]) }
		case "", "MD5":
		default:
			continue
		}
		cnonce := Token()
		ha1, ha2 := hash(user+":"+par["realm"]+":"+password), hash(method+":"+uri)
		out := fmt.Sprintf(`Digest username="%s", realm="%s", nonce="%s", uri="%s", algorithm=%s`, user, par["realm"], par["nonce"], uri, par["algorithm"])
		if par["qop"] == "" {
			return out + fmt.Sprintf(`, response="%s"`, hash(ha1+":"+par["nonce"]+":"+ha2))
		}
		return out + fmt.Sprintf(`, qop=auth, nc=00000001, cnonce="%s", response="%s"`, cnonce, hash(strings.Join([]string{ha1, par["nonce"], "00000001", cnonce, "auth", ha2}, ":")))
	}
	return ""
}
