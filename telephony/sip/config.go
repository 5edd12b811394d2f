package sip

import (
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"time"

	"yingda/intake"
	"yingda/internal/pii"
	"yingda/telephony"
)

// Config of a Server. Report, Media and Lines must be given; of all else the zero value is useful.
type Config struct {
	UDP string // address to listen on, host:port; "": no UDP
	TCP string // the same for TCP; "": no TCP

	// PacketConn and Listener take the place of UDP and TCP: sockets handed down by systemd, or a test's network in memory. They are
	// closed by Close.
	PacketConn net.PacketConn
	Listener   net.Listener

	Advertise netip.Addr // our address as others see it, in Via, Contact and SDP; zero: that of the listener, or of the route to the peer
	Domain    string     // realm of the digest and host part of our From; "": "yingda"
	Agent     string     // Server and User-Agent; "": "yingda"

	Trunks []Trunk        // by whom calls come and through whom they go
	Phones []netip.Prefix // from where operators' phones may register; empty: from anywhere
	// Account finds who may register. ErrNoAccount says that there is nobody of that name; any other error that it cannot be known now: then what was
	// last known of the account holds, and who was never seen is asked to come again. It may take some time. Nil: nobody may register.
	Account func(user string) (Account, error)
	// Digests are the algorithms offered to phones, in order of preference; empty: SHA-256, MD5 (RFC 8760). There are phones (baresip's library,
	// sipp) that give up as soon as one they do not know is among them: an office with such phones offers MD5 alone.
	Digests []string
	// Registrations keeps registered contacts over a restart and for the node that takes over; nil: in memory only.
	Registrations Registrations

	// Elsewhere says that another node has the switchboard, and where: then new calls and registrations are sent on to it, while the calls that live
	// here go on here. It is asked for every request, so it must be cheap, and it may change its mind at any moment. False, and nil: the switchboard is
	// here. True with a zero Address: nobody is known to have it; callers and phones are asked to come again in two seconds.
	Elsewhere func() (Elsewhere, bool)
	// Peers are the other nodes. What they send on is taken as from where they had it, and they may have us pass calls to a phone or trunk that speaks
	// with us. It must name no address from which anybody else speaks.
	Peers []netip.Prefix
	// Operators is told when an operator's phone becomes reachable or unreachable, in order for each operator. It must not block. Nil: nobody is told.
	Operators func(op intake.UserID, reachable bool, why string)
	// TrunkState is told when a trunk with an Outbound target begins or ceases to answer OPTIONS. It must not block. Nil: nobody is told.
	TrunkState func(trunk string, up bool, why string)

	// Lines finds the line of a called number as the trunk gave it; false: none (the call is reported with no line).
	Lines func(called, trunk string) (intake.LineID, bool)
	// Facts looks up what the office knows of a caller. Called on the request's goroutine, it may take some time. Nil: nothing is known.
	Facts func(caller pii.Phone, line intake.LineID) telephony.Facts
	// NewContact and NewLeg give ids; nil: UUIDv7.
	NewContact func() intake.ContactID
	NewLeg     func() telephony.LegID
	// Seen finds the contact of an INVITE that was written down before our last start, by its dedupe key; nil: none.
	Seen func(dedupe string) (intake.ContactID, intake.Sequence, bool)
	// Route chooses the trunk by which a number is called; nil: the first that has an Outbound target.
	Route func(line intake.LineID, number pii.Phone) (trunk string, ok bool)

	// Report takes what happened, in order for each leg. It must not block.
	Report  func(telephony.Input)
	Media   Media
	Codecs  []string // in order of preference; empty: PCMA, PCMU. G722 is used only where it is named and the far side offers it
	Logger  *slog.Logger
	Metrics Metrics
	Timers  Timers
	Limits  Limits
}

// Trunk is a carrier's gateway: where it is, what it may do and how we call through it.
type Trunk struct {
	Name       string
	Addresses  []netip.Prefix // requests from here are this trunk's; the longest prefix wins
	PerSecond  float64        // new calls a second; above it (with a burst of one second) they are overload; 0: no limit
	Concurrent int            // calls at once; 0: no limit
	Codecs     []string       // empty: Config.Codecs
	Trusted    bool           // its P-Asserted-Identity is believed before From
	Outbound   Outbound       // how we call through it
	Forward    bool           // it does not follow a 302: its calls for another node are passed on by us, and stay on this way
}

// Elsewhere is where the node that has the switchboard listens for SIP.
type Elsewhere struct {
	Address   netip.AddrPort // zero: not known
	Transport string         // "udp", also when empty: nodes speak UDP among each other
}

// ErrNoAccount is the answer of Config.Account when nobody has that name.
var ErrNoAccount = errors.New("sip: no such account")

// Outbound is the far end of a trunk for calls that we make.
type Outbound struct {
	Target    string // host:port; "": we do not call through this trunk
	Transport string // "udp" (default) or "tcp"
	User      string // for the digest, when it asks for one (401, 407)
	Password  string
	Domain    string // host part of From and To; "": the target's host
	Prefix    string // put before the number
	NoCheck   bool   // do not ask with OPTIONS whether it is there
}

// Account is who may register and how the digest is checked. Either Password, or the hashes H(user:realm:password) in hex.
type Account struct {
	User     string
	Operator intake.UserID
	Password string
	HA1      string // MD5
	HA1SHA   string // SHA-256
}

// Registrations keeps bindings over a restart and for a standby. They are called one at a time, never on a request's goroutine, and may take their
// time; what fails is tried again until it works, only the newest state of each binding. A Save must not undo one with a later Expires: another node
// may have written it. Load is called at the start and whenever the switchboard comes to this node.
type Registrations interface {
	Load() ([]Binding, error)
	Save(Binding) error
	Delete(Binding) error
}

// Binding is one registered contact of one user: a phone.
type Binding struct {
	User      string
	Operator  intake.UserID
	Contact   string         // URI as the phone gave it; the key, together with User
	Source    netip.AddrPort // where the REGISTER came from: that is where we send to
	Transport string         // "udp" or "tcp"
	Node      netip.AddrPort // the node that the phone speaks with: calls go by it while it lives, since a NAT may let in nobody else; zero: not known
	Expires   time.Time
	CallID    string // of the REGISTER, and its CSeq: an older one cannot undo a newer
	CSeq      uint32
	Agent     string // the phone's User-Agent
}

// Metrics are counted by the owner of the metrics. Each may be nil. None may block.
type Metrics struct {
	Request  func(method, transport string)            // came in and passed the guard
	Dropped  func(why string)                          // came in and was not answered: source, rate, noise, size, connections
	Refused  func(method string, status int)           // answered by the guard
	Offered  func(trunk string)                        // an INVITE of a new dialog was reported
	Legs     func(delta int)                           // legs that live
	Answered func(method string, status int)           // final response that we sent
	Late     func(what string)                         // a held message found its dialog (held) or did not (unknown), an order for a leg that is over (order)
	Fault    func()                                    // a handler panicked
	Ringing  func(after time.Duration)                 // from Dial to the phone's first 180
	Register func(result string)                       // ok, challenged, refused, locked, stale
	Bindings func(count int)                           // registered contacts
	Trunk    func(trunk string, why string)            // call refused by a trunk's limit: rate, concurrent
	Sent     func(method string, status int, err bool) // a request of ours ended
	Onward   func(method, how string)                  // for another node: redirected, forwarded, returned (a response), no_owner, loop, hops, lost
}

// Timers are those of RFC 3261 as far as our dialog layer owns them, and ours. Zero takes the value in brackets.
type Timers struct {
	T1        time.Duration // [500 ms] our 2xx is repeated after T1, 2·T1 … up to T2, for 64·T1
	T2        time.Duration // [4 s]
	Hold      time.Duration // [500 ms] how long a request for an unknown dialog waits for it
	Ring      time.Duration // [30 s] how long a phone rings when Dial does not say
	Message   time.Duration // [10 s] in which a message that has begun on TCP must be complete
	Idle      time.Duration // [10 min] after which a silent TCP connection is closed
	Write     time.Duration // [5 s] for one write on TCP
	Check     time.Duration // [30 s] between two OPTIONS to a phone or trunk; negative: none
	Nonce     time.Duration // [5 min] a digest's nonce lives that long
	MinExpire time.Duration // [60 s] of a registration
	MaxExpire time.Duration // [1 h]
	Session   time.Duration // [90 s] shortest session timer that we accept (RFC 4028)
	Forget    time.Duration // [64 s] an INVITE that comes again is known for that long after its call is over
	Close     time.Duration // [2 s] Close waits that long for the answers to its BYEs
}

// Limits bound what the network can create. Zero takes the value in brackets.
type Limits struct {
	PerSource   float64       // [50] messages a second from one address that is not a trunk, with a burst of twice that
	PerTrunk    float64       // [5000] from one address of a trunk
	Sources     int           // [20000] addresses that are remembered
	Connections int           // [1000] TCP connections
	PerAddress  int           // [50] of them from one address that is not a trunk
	Legs        int           // [10000] beyond it INVITEs are answered with 503 without being reported
	Held        int           // [2000] requests that wait for their dialog
	Mailbox     int           // [200] messages that wait for one leg
	Contacts    int           // [5] registered contacts of one user
	Bindings    int           // [20000] of all users
	LockAfter   int           // [5] wrong passwords before a user is locked for one source
	LockFor     time.Duration // [10 s] the first time, doubled with each further one, up to 15 min
	ReadBuffer  int           // [4 MiB] SO_RCVBUF of the UDP socket
}

func (c Config) withDefaults() Config {
	def := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	t := &c.Timers
	def(&t.T1, 500*time.Millisecond)
	def(&t.T2, 4*time.Second)
	def(&t.Hold, 500*time.Millisecond)
	def(&t.Ring, 30*time.Second)
	def(&t.Message, 10*time.Second)
	def(&t.Idle, 10*time.Minute)
	def(&t.Write, 5*time.Second)
	def(&t.Check, 30*time.Second)
	def(&t.Nonce, 5*time.Minute)
	def(&t.MinExpire, time.Minute)
	def(&t.MaxExpire, time.Hour)
	def(&t.Session, 90*time.Second)
	def(&t.Forget, 64*time.Second)
	def(&t.Close, 2*time.Second)
	l := &c.Limits
	num := func(n *int, v int) {
		if *n == 0 {
			*n = v
		}
	}
	if l.PerSource == 0 {
		l.PerSource = 50
	}
	if l.PerTrunk == 0 {
		l.PerTrunk = 5000
	}
	num(&l.Sources, 20000)
	num(&l.Connections, 1000)
	num(&l.PerAddress, 50)
	num(&l.Legs, 10000)
	num(&l.Held, 2000)
	num(&l.Mailbox, 200)
	num(&l.Contacts, 5)
	num(&l.Bindings, 20000)
	num(&l.LockAfter, 5)
	def(&l.LockFor, 10*time.Second)
	num(&l.ReadBuffer, 4<<20)
	if c.Domain == "" {
		c.Domain = "yingda"
	}
	if c.Agent == "" {
		c.Agent = "yingda"
	}
	if len(c.Codecs) == 0 {
		c.Codecs = []string{"PCMA", "PCMU"}
	}
	if len(c.Digests) == 0 {
		c.Digests = []string{"SHA-256", "MD5"}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.NewContact == nil {
		c.NewContact = func() intake.ContactID { return intake.ContactID(newID()) }
	}
	if c.NewLeg == nil {
		c.NewLeg = func() telephony.LegID { return telephony.LegID(newID()) }
	}
	if c.Facts == nil {
		c.Facts = func(pii.Phone, intake.LineID) telephony.Facts { return telephony.Facts{} }
	}
	if c.Seen == nil {
		c.Seen = func(string) (intake.ContactID, intake.Sequence, bool) { return "", 0, false }
	}
	if c.Account == nil {
		c.Account = func(string) (Account, error) { return Account{}, ErrNoAccount }
	}
	if c.Operators == nil {
		c.Operators = func(intake.UserID, bool, string) {}
	}
	if c.TrunkState == nil {
		c.TrunkState = func(string, bool, string) {}
	}
	if c.Registrations == nil {
		c.Registrations = noRegistrations{}
	}
	c.Metrics = c.Metrics.withDefaults()
	return c
}

func (m Metrics) withDefaults() Metrics {
	two := func(f *func(string, string)) {
		if *f == nil {
			*f = func(string, string) {}
		}
	}
	one := func(f *func(string)) {
		if *f == nil {
			*f = func(string) {}
		}
	}
	status := func(f *func(string, int)) {
		if *f == nil {
			*f = func(string, int) {}
		}
	}
	count := func(f *func(int)) {
		if *f == nil {
			*f = func(int) {}
		}
	}
	two(&m.Request)
	two(&m.Trunk)
	two(&m.Onward)
	one(&m.Dropped)
	one(&m.Offered)
	one(&m.Late)
	one(&m.Register)
	status(&m.Refused)
	status(&m.Answered)
	count(&m.Legs)
	count(&m.Bindings)
	if m.Fault == nil {
		m.Fault = func() {}
	}
	if m.Ringing == nil {
		m.Ringing = func(time.Duration) {}
	}
	if m.Sent == nil {
		m.Sent = func(string, int, bool) {}
	}
	return m
}

type noRegistrations struct{}

func (noRegistrations) Load() ([]Binding, error) { return nil, nil }
func (noRegistrations) Save(Binding) error       { return nil }
func (noRegistrations) Delete(Binding) error     { return nil }
