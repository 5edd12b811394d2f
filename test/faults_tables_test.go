//go:build services

package test

import (
	"context"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"yingda/intake"
)

// TestFaultTables: PostgreSQL is restarted under 10 calls a second, and then gone for 20 s. Calls and chats go on, a phone registers again, and afterwards the books have
// everything, with a callback for each caller of that time whom nobody reached.
func TestFaultTables(t *testing.T) {
	o := newOffice(t)
	s := o.node("n1", "127.0.0.1")
	s.env = append(s.env, "YINGDA_QUEUE_CHATS=15")
	s.start()
	base := func() string { return "http://" + s.http }
	phone, taken := o.phone("phone", s, time.Minute)
	super := o.supervisor(base())
	phones, crowd := s.callers(10, 300*time.Millisecond), o.chatters(base, 10, 1)
	waitFor(t, "people to phone and write", 40*time.Second, func() bool { return crowd.all() > 50 && len(heard(phones)) > 30 })
	began := time.Now()
	services(t, "down", "postgres")
	services(t, "up", "postgres")
	t.Logf("PostgreSQL was restarted in %s", time.Since(began).Round(100*time.Millisecond))
	pause(5 * time.Second)
	services(t, "kill", "postgres")
	gone, had, answered := time.Now(), crowd.all(), taken.Load()
	hasty := s.callers(1, 0) // they hang up before an operator can have them
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := phone.Register(ctx); err != nil {
		t.Errorf("a phone that was registered could not register again: %v", err)
	}
	pause(time.Until(gone.Add(20 * time.Second)))
	back := time.Now()
	wrote := crowd.all() - had
	services(t, "up", "postgres")
	waitFor(t, "the wall to be of now", 60*time.Second, func() bool {
		wall := page(super, base()+"/wall")
		return strings.Contains(wall, "w-body") && !strings.Contains(wall, "数据落后")
	})
	t.Logf("the wall was of now %s later", time.Since(back).Round(100*time.Millisecond))
	n, deaf, slowest := phones.between(began, back)
	t.Logf("in %s without PostgreSQL, and a restart before: %d calls heard of us, the slowest after %s, %d did not; an operator took %d, %d messages were ticked",
		back.Sub(gone).Round(time.Second), n, slowest.Round(time.Millisecond), deaf, taken.Load()-answered, wrote)
	if deaf > 0 || n < 200 || wrote < 200 || taken.Load() == answered {
		t.Error("calls or chats did not go on")
	}
	hasty.stop()
	phones.stop()
	said := crowd.stop()
	o.agree(s, heard(phones, hasty), said)
	owed := 0
	for _, e := range s.contacts() {
		if at := time.Time(e.ArrivedAt); e.Channel != intake.Phone || at.Before(gone) || at.After(back) {
			continue
		}
		if e.Callback != nil {
			owed++
		} else if e.Outcome.Failed() {
			t.Errorf("contact %s of that time ended as %s and nobody owes a call", e.ID, *e.Outcome)
		}
	}
	if owed == 0 {
		t.Error("nobody of that time is owed a call: the test proves nothing")
	}
	t.Logf("%d callers of that time are owed a call", owed)
}

// link is the way from a machine to a server, which a test cuts.
type link struct {
	t        *testing.T
	listener net.Listener
	to       string

	mu    sync.Mutex
	state linkState
	pairs map[*pair]struct{}
	over  bool
}

type linkState int

const (
	joined   linkState = iota
	refusing           // connections are reset, new ones too
	silent             // nothing is answered, by anybody, for ever; not even when the link is joined again: then new connections work
)

type pair struct {
	near, far net.Conn
	dead      bool
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	l := &link{t: t, to: to, pairs: map[*pair]struct{}{}}
	var err error
	if l.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	go func() {
		for {
			c, err := l.listener.Accept()
			if err != nil {
				return
			}
			go l.serve(c)
		}
	}()
	return l
}

// linked makes the tables of a machine be at the other end of a link.
func (o *office) linked(s *served) *link {
	o.t.Helper()
	u, err := url.Parse(o.postgres)
	if err != nil {
		o.t.Fatal(err)
	}
	l := newLink(o.t, u.Host)
	u.Host = l.listener.Addr().String()
	s.env = append(s.env, "YINGDA_TABLES_ADDRESS="+u.String())
	return l
}

func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
}

func (l *link) serve(near net.Conn) {
	p := &pair{near: near}
	l.mu.Lock()
	if l.over || l.state == refusing {
		l.mu.Unlock()
		reset(near)
		return
	}
	l.pairs[p] = struct{}{}
	p.dead = l.state == silent
	dead := p.dead
	l.mu.Unlock()
	if !dead {
		far, err := net.Dial("tcp", l.to)
		if err != nil {
			reset(near)
			return
		}
		l.mu.Lock()
		p.far = far
		l.mu.Unlock()
		go l.carry(p, far, near)
	}
	l.carry(p, near, p.far)
}

// carry takes what one end says to the other; of a dead pair it takes and says nothing.
func (l *link) carry(p *pair, from, to net.Conn) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		l.mu.Lock()
		dead := p.dead
		l.mu.Unlock()
		if dead {
			if err != nil {
				return // the other end does not hear of it
			}
			continue
		}
		if n > 0 {
			if _, werr := to.Write(buf[:n]); werr != nil {
				err = werr
			}
		}
		if err != nil {
			_ = from.Close()
			_ = to.Close()
			return
		}
	}
}

// set joins or cuts the link.
func (l *link) set(s linkState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state = s
	for p := range l.pairs {
		switch s {
		case silent:
			p.dead = true
		case refusing:
			reset(p.near)
			if p.far != nil {
				reset(p.far)
			}
			delete(l.pairs, p)
		}
	}
}

func (l *link) close() {
	_ = l.listener.Close()
	l.set(refusing)
	l.mu.Lock()
	l.over = true
	l.mu.Unlock()
}
