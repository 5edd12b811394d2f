package media

import (
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"yingda/intake"
	"yingda/telephony"
)

// Errors of NewLeg. Trying again makes sense when calls have ended.
var (
	ErrFull   = errors.New("media: as many legs as allowed are up")
	ErrPorts  = errors.New("media: no free pair of ports in the range")
	ErrExists = errors.New("media: there is a leg of that name")
	ErrClosed = errors.New("media: the plane is closed")
)

// Codec is a codec's name as in SDP: "PCMA", "PCMU", "G722".
type Codec string

// The codecs that the plane speaks, all with an RTP clock of 8,000 and 160 bytes in 20 ms.
const (
	PCMA Codec = "PCMA"
	PCMU Codec = "PCMU"
	G722 Codec = "G722"
)

// Clip is one prompt, encoded beforehand in each codec: 8,000 bytes a second. G722 may be empty: it is then encoded from PCMA as it plays.
type Clip struct{ PCMA, PCMU, G722 []byte }

// Config of a Plane. The zero value works for a test: loopback, ports of the system's choice, no recordings.
type Config struct {
	Address netip.Addr // to bind; zero: 127.0.0.1
	PortMin uint16     // range of ports, both ends included; zero: the system chooses
	PortMax uint16
	Threads int // media threads; zero: one per core
	MaxLegs int // zero: 2,000 per thread

	// RecordingDir is where recordings lie; "": Record answers with an error. Key gives the key of a recording (32 bytes, AES-256-GCM), asked
	// for on the recorder's goroutine when it begins; nil: recordings are not sealed.
	RecordingDir string
	Key          func(recording intake.RecordingID, started time.Time) ([]byte, error)

	// Clips finds a prompt in the pack. Called by Play on the goroutine of its caller. Nil: no prompts.
	Clips func(id, dialect string) (Clip, bool)

	// Report is told what happened, in order for each leg, on a media thread or a recorder's goroutine. It must not block. Nil: nobody is told.
	Report func(telephony.Input)

	FirstMedia   time.Duration // without any packet since the leg's audio was set up: MediaLost; zero: 30 s
	MediaTimeout time.Duration // without any packet after the last: MediaLost, and again after each further one; zero: 15 s
	QuietAfter   time.Duration // without speech while bridged: Quiet, and again after each further one; zero: 8 s
	Quarantine   time.Duration // before a port is used again; zero: 10 s
	Tick         time.Duration // how often a busy thread wakes; zero: 1 ms
	RingBytes    int           // between a media thread and its recorder; zero: 8 MiB
	Logger       *slog.Logger  // nil: slog.Default()

	clock func() int64 // tests: no thread is started, the test calls step and owns the clock (ns)
}

// Remote is what the far side's SDP said about its audio. The zero value is a leg that is sent nothing and expects nothing.
type Remote struct {
	RTP         netip.AddrPort // where it listens
	RTCP        netip.AddrPort // zero: the port after RTP
	Codec       Codec
	PayloadType int           // of Codec; audio under the numbers 0, 8 and 9 is always understood as RFC 3551 says
	EventType   int           // telephone-event towards the far side; 0: it has none
	EventIn     int           // telephone-event from the far side, where our SDP had another number; 0: as EventType
	PTime       time.Duration // how much sound it wants in a packet; zero: 20 ms
	Send        bool          // it wants to hear us (not sendonly or inactive)
	Receive     bool          // it will send (not recvonly or inactive): silence for long is then MediaLost
	Relatch     bool          // its source may have changed (re-INVITE): latch anew. Done by itself when RTP is another than before
}

// LegStats are a leg's counters since it began.
type LegStats struct {
	Received, Sent           uint64 // RTP packets taken from and given to the far side
	ReceivedBytes, SentBytes uint64 // payload
	Relayed                  uint64 // of Sent: from the other leg
	Generated                uint64 // of Sent: prompts, music, silence
	Bad                      uint64 // no RTP, wrong version, unknown payload type, wrong length
	Foreign                  uint64 // not from the latched source, or of an SSRC that is not the current one
	TooMany                  uint64 // over the cap of 300 packets a second
	SendErrors               uint64
	Lost                     int64   // of the far side's packets, by its sequence numbers (RFC 3550 A.3)
	JitterMS                 float64 // RFC 3550 A.8
	RemoteLost               int64   // of our packets, as the far side reported
	RemoteFraction           float64 // of the last interval, 0 … 1
	RemoteJitterMS           float64
	RTT                      time.Duration // by RTCP; 0: unknown
	Digits                   uint64
	SSRC                     uint32 // ours
	Source                   netip.AddrPort
	Latched                  bool
}

// Stats are the plane's counters, at most 100 ms old.
type Stats struct {
	Legs, Recordings int
	Received, Sent   uint64
	Bad, Foreign     uint64
	RecordDropped    uint64        // packets that the recorder's ring had no room for
	LateP99, LateMax time.Duration // of the 20 ms wheel, in the last full second, worst thread
	SkippedTicks     uint64        // ticks given up because the machine had stood still for more than a second
	Instant          bool          // every thread wakes at once rather than by the tick
	SyncedAfter      time.Duration // longest time a recording has waited for its last fsync
	FreePorts        int           // pairs, 0 when the system chooses
	QuarantinedPorts int
}
