package web

import (
	"crypto/rand"
	"crypto/sha256"
	"net/netip"
	"sync"
	"time"
)

// Limits keep one person or one machine from taking the hotline away from all others. They are wide: a village may share one address, and
// a worried person asks often. Zero of each: what its comment says.
type Limits struct {
	CallsPerNumber    Allowance // asking to be called: 3 at once, then one in 20 minutes
	CallsPerAddress   Allowance // 20, then one a minute
	LettersPerNumber  Allowance // 6, then one in 10 minutes
	LettersPerAddress Allowance // 20, then one a minute
	LooksPerReceipt   Allowance // trying the four digits of one receipt: 6, then one in 10 minutes
	LooksPerAddress   Allowance // 40, then one in 15 seconds
	ChatsPerAddress   Allowance // 10, then one in 2 minutes
	WordsPerChat      Allowance // messages of one chat: 12, then one in 3 seconds
}

// Allowance is so many at once, and one more after each Every.
type Allowance struct {
	Burst int
	Every time.Duration
}

func (r Allowance) or(burst int, every time.Duration) Allowance {
	if r.Burst <= 0 || r.Every <= 0 {
		return Allowance{burst, every}
	}
	return r
}

func (l Limits) full() Limits {
	return Limits{
		CallsPerNumber: l.CallsPerNumber.or(3, 20*time.Minute), CallsPerAddress: l.CallsPerAddress.or(20, time.Minute),
		LettersPerNumber: l.LettersPerNumber.or(6, 10*time.Minute), LettersPerAddress: l.LettersPerAddress.or(20, time.Minute),
		LooksPerReceipt: l.LooksPerReceipt.or(6, 10*time.Minute), LooksPerAddress: l.LooksPerAddress.or(40, 15*time.Second),
		ChatsPerAddress: l.ChatsPerAddress.or(10, 2*time.Minute), WordsPerChat: l.WordsPerChat.or(12, 3*time.Second),
	}
}

// limiter counts in token buckets. It knows a number or an address by a hash with a salt of this start only, and forgets a bucket when it is full
// again; when too many are kept, any are forgotten: the limiter gives way before the memory does.
type limiter struct {
	mu   sync.Mutex
	salt [16]byte
	full map[[16]byte]time.Time // when the bucket is full again
	most int
}

func newLimiter(most int) *limiter {
	l := &limiter{full: map[[16]byte]time.Time{}, most: most}
	_, _ = rand.Read(l.salt[:])
	return l
}

// take takes one from the bucket of who, or says how long until there is one.
func (l *limiter) take(now time.Time, r Allowance, what, who string) time.Duration {
	key := l.key(what, who)
	l.mu.Lock()
	defer l.mu.Unlock()
	full := l.full[key]
	if full.Before(now) {
		full = now
	}
	full = full.Add(r.Every)
	if wait := full.Sub(now) - time.Duration(r.Burst)*r.Every; wait > 0 {
		return wait
	}
	if len(l.full) >= l.most {
		l.forget(now)
	}
	l.full[key] = full
	return 0
}

func (l *limiter) key(what, who string) [16]byte {
	sum := sha256.Sum256([]byte(string(l.salt[:]) + what + "\x00" + who))
	return [16]byte(sum[:16])
}

// give puts one back: it was our fault that it came to nothing.
func (l *limiter) give(r Allowance, what, who string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if key := l.key(what, who); !l.full[key].IsZero() {
		l.full[key] = l.full[key].Add(-r.Every)
	}
}

func (l *limiter) forget(now time.Time) {
	for k, full := range l.full {
		if full.Before(now) {
			delete(l.full, k)
		}
	}
	for k := range l.full {
		if len(l.full) < l.most*3/4 {
			return
		}
		delete(l.full, k)
	}
}

// machine is what of an address stands for one machine or one home: all of IPv4, the first half of IPv6.
func machine(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil || a.Unmap().Is4() {
		return address
	}
	p, err := a.WithZone("").Prefix(64)
	if err != nil {
		return address
	}
	return p.String()
}
