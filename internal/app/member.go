package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"yingda/internal/store"
	"yingda/telephony/sip"
)

// Member is one machine of an office that has several. The switchboard is on one of them at a time, by a lease in the tables; the others stand by: they send calls and
// pages on to it, carry on to Kafka what is on their own disk, and one takes over when the lease ends. A machine that cannot reach the tables
// goes on answering if it has the switchboard: two phones ringing for one caller are better than none.
//
// Goroutine: "member", which is owned by the Member and ends with Stop; those of the App or of the standby come and go with its role.
type Member struct {
	config Config
	opts   Options
	log    *slog.Logger
	folder string // identity of our data folder
	db     *store.DB
	gate   *gate
	phones sockets

	mu    sync.Mutex
	app   *App // while we have the switchboard, and until its last call has ended
	epoch uint32

	owner  atomic.Pointer[store.Lease] // who has the switchboard, as far as we know
	cancel context.CancelFunc
	done   chan struct{}
	stop   chan context.Context // Stop's, once
	failed chan error
}

// Times of a lease, as parts of its length: it is renewed often, so that one slow answer of the tables costs nothing.
const (
	renewals  = 5 // in the length of a lease
	lookAgain = time.Second
)

// Join starts a machine of several. It returns when this one takes calls or stands by.
func Join(ctx context.Context, c Config, o Options) (m *Member, err error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	m = &Member{config: c, opts: o, log: o.Logger, done: make(chan struct{}), stop: make(chan context.Context, 1), failed: make(chan error, 1)}
	if m.folder, err = folderID(c.Data); err != nil {
		return nil, err
	}
	if m.db, err = store.Open(ctx, c.Tables.Address); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.db.Close())
		}
	}()
	if err := m.beat(ctx, "standby", nil); err != nil {
		return nil, err
	}
	secret, err := m.db.Secret(ctx, "cluster", time.Now())
	if err != nil {
		return nil, err
	}
	if m.phones, err = openSockets(c.SIP); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.phones.Close())
		}
	}()
	if m.gate, err = openGate(c, secret, m.ownerPages, m.log, m.fail); err != nil {
		return nil, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m.cancel = cancel
	first := make(chan error, 1)
	go m.run(run, first)
	if err := <-first; err != nil {
		cancel()
		<-m.done
		return nil, errors.Join(err, m.gate.Close(ctx))
	}
	return m, nil
}

// folderID is the name of a data folder, made once.
func folderID(dir string) (string, error) {
	path := filepath.Join(dir, "node")
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return "", fmt.Errorf("data folder: %w", err)
		}
		id := newID()
		return id, os.WriteFile(path, []byte(id+"\n"), 0o600)
	}
	id := strings.TrimSpace(string(raw))
	if err == nil && id == "" {
		err = fmt.Errorf("%s is empty: remove it, and a new name is made", path)
	}
	return id, err
}

func (m *Member) leaseName() string { return "switchboard/" + m.config.Office.Switchboard }

// lease is what we want.
func (m *Member) lease() store.Lease {
	return store.Lease{Name: m.leaseName(), Holder: m.config.Office.Node, Folder: m.folder, SIP: m.config.Cluster.SIP, Pages: m.config.Cluster.Pages}
}

// run is the machine's life: it stands by, has the switchboard, stands by again.
func (m *Member) run(ctx context.Context, first chan<- error) {
	defer close(m.done)
	told := func(err error) {
		if first != nil {
			first <- err
			first = nil
		}
	}
	for ctx.Err() == nil {
		// Before standing by we look once: the first machine of an office takes calls at once.
		lease, mine := m.take(ctx)
		if !mine {
			var err error
			lease, mine, err = m.standBy(ctx, func() { told(nil) })
			if err != nil {
				told(err)
				m.fail(err)
				return
			}
		}
		if !mine { // Stop
			return
		}
		if err := m.have(ctx, lease, func() { told(nil) }); err != nil {
			told(err)
			m.log.Error("the switchboard is ours and could not be started", "err", err)
			m.release(lease)
			sleepFor(ctx, 2*time.Second)
		}
	}
}

// take looks whether the switchboard is free, and takes it.
func (m *Member) take(ctx context.Context) (store.Lease, bool) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	lease, mine, err := m.db.TakeLease(ctx, m.lease(), m.config.Cluster.Lease)
	if err != nil {
		if ctx.Err() == nil {
			m.log.Warn("who has the switchboard cannot be known now", "err", err)
		}
		return lease, false
	}
	m.know(lease)
	return lease, mine
}

func (m *Member) know(l store.Lease) {
	if before := m.owner.Swap(&l); before == nil || before.Epoch != l.Epoch {
		m.log.Info("the switchboard", "is_on", l.Holder, "epoch", l.Epoch, "calls", l.SIP, "pages", l.Pages)
	}
}

// standBy sends on what comes until the switchboard is ours, or ctx ends.
func (m *Member) standBy(ctx context.Context, ready func()) (store.Lease, bool, error) {
	s, err := openStandby(ctx, m)
	if err != nil {
		return store.Lease{}, false, err
	}
	defer func() {
		if err := s.Close(); err != nil {
			m.log.Error("standing by", "err", err)
		}
	}()
	ready()
	m.log.Info("yingda stands by", "version", Version, "node", m.config.Office.Node)
	for {
		if !sleepFor(ctx, min(lookAgain, m.config.Cluster.Lease/renewals)) {
			return store.Lease{}, false, nil
		}
		if lease, mine := m.take(ctx); mine {
			return lease, true, nil
		}
		m.say(ctx, "standby", s.outbox)
	}
}

// have takes calls until somebody else has the switchboard, or ctx ends.
func (m *Member) have(ctx context.Context, lease store.Lease, ready func()) error {
	o := m.opts
	o.Lease, o.Gate, o.Phones = &lease, m.gate, m.phones
	a, err := Start(ctx, m.config, o)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.app, m.epoch = a, lease.Epoch
	m.mu.Unlock()
	ready()
	defer func() {
		m.mu.Lock()
		m.app = nil
		m.mu.Unlock()
	}()
	lost := m.hold(ctx, a, lease)
	if lost == nil { // Stop
		return m.handOver(a, lease)
	}
	m.log.Warn("another machine has the switchboard; the calls that are here go on, new ones are sent there", "it", lost.Holder, "epoch", lost.Epoch)
	m.yield(a)
	m.leave(ctx, a)
	end, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return a.Stop(end)
}

// hold renews the lease. It returns who has it when we have not, nil when ctx ends. While the tables cannot be reached we go on.
func (m *Member) hold(ctx context.Context, a *App, lease store.Lease) *store.Lease {
	since := time.Time{}
	for {
		if !sleepFor(ctx, m.config.Cluster.Lease/renewals) {
			return nil
		}
		select {
		case err := <-a.Failed():
			m.fail(err)
		default:
		}
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		have, mine, err := m.db.RenewLease(try, lease, m.config.Cluster.Lease)
		cancel()
		switch {
		case err != nil && ctx.Err() == nil:
			if since.IsZero() {
				since = time.Now()
				a.alone.Store(since.UnixMilli())
				m.log.Error("the tables cannot be reached; calls go on", "err", err)
			}
		case err == nil && !mine:
			a.alone.Store(0)
			m.know(have)
			return &have
		case err == nil:
			if !since.IsZero() {
				m.log.Warn("the tables can be reached again, and nobody has taken the switchboard meanwhile", "away", time.Since(since).Round(time.Second))
				since = time.Time{}
				a.alone.Store(0)
			}
			m.know(have)
			m.say(ctx, "owner", a.outbox)
		}
	}
}

// yield sends new calls and all pages to whoever has the switchboard now.
func (m *Member) yield(a *App) {
	a.Yield(m.elsewhere)
	m.gate.Serve(nil)
}

// leave waits until the last call has ended, as long as it takes; ctx ends it.
func (m *Member) leave(ctx context.Context, a *App) {
	for a.Live(ctx) > 0 && sleepFor(ctx, 200*time.Millisecond) {
		try, cancel := context.WithTimeout(ctx, 3*time.Second)
		if have, err := m.db.FindLease(try, m.leaseName()); err == nil {
			m.know(have)
		}
		cancel()
		m.say(ctx, "leaving", a.outbox)
	}
}

// handOver is a planned end: the lease is given up first, and we answer until another machine has it, or none wants it.
func (m *Member) handOver(a *App, lease store.Lease) error {
	var stop context.Context
	select {
	case stop = <-m.stop:
	default:
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stop = ctx
	}
	m.release(lease)
	wait, cancel := context.WithTimeout(stop, 3*lookAgain)
	defer cancel()
	for m.others(wait) && sleepFor(wait, 100*time.Millisecond) {
		have, err := m.db.FindLease(wait, m.leaseName())
		if err == nil && have.Left > 0 && have.Epoch != lease.Epoch {
			m.know(have)
			m.yield(a)
			break
		}
	}
	return a.Stop(stop)
}

// others says whether another machine was heard of a moment ago.
func (m *Member) others(ctx context.Context) bool {
	list, err := m.db.Nodes(ctx)
	for _, n := range list {
		if n.Folder != m.folder && n.Ago < m.config.Cluster.Lease {
			return true
		}
	}
	return err != nil && ctx.Err() == nil
}

func (m *Member) release(l store.Lease) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if err := m.db.ReleaseLease(ctx, l); err != nil {
		m.log.Warn("the lease could not be given up; it runs out by itself", "err", err)
	}
}

// say tells the others that we are there, and what we owe the stream.
func (m *Member) say(ctx context.Context, role string, o *outbox) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := m.beat(ctx, role, o); err != nil && ctx.Err() == nil {
		m.log.Warn("the other machines could not be told that we are there", "err", err)
	}
}

func (m *Member) beat(ctx context.Context, role string, o *outbox) error {
	n := store.Node{Name: m.config.Office.Node, Folder: m.folder, Role: role, SIP: m.config.Cluster.SIP, Pages: m.config.Cluster.Pages, Version: Version}
	if o != nil {
		if lag, err := o.relay.Lag(ctx); err == nil {
			n.Owed, n.Oldest = lag.Records, lag.Oldest
		}
	}
	return m.db.Beat(ctx, n)
}

// elsewhere is where calls are sent on to.
func (m *Member) elsewhere() (sip.Elsewhere, bool) {
	l := m.owner.Load()
	if l == nil || l.Folder == m.folder {
		return sip.Elsewhere{}, true
	}
	at, err := netip.ParseAddrPort(l.SIP)
	if err != nil {
		return sip.Elsewhere{}, true
	}
	return sip.Elsewhere{Address: at}, true
}

// ownerPages is where pages are sent on to; "" when nobody is known to have them.
func (m *Member) ownerPages() string {
	if l := m.owner.Load(); l != nil && l.Folder != m.folder {
		return l.Pages
	}
	return ""
}

// App that takes calls here; nil while we stand by.
func (m *Member) App() *App {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.app
}

// Epoch is the fencing number under which this machine has, or last had, the switchboard.
func (m *Member) Epoch() uint32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.epoch
}

// URL of the pages of this machine.
func (m *Member) URL() string { return m.gate.URL() }

// Failed tells of something without which the program cannot go on.
func (m *Member) Failed() <-chan error { return m.failed }

func (m *Member) fail(err error) {
	select {
	case m.failed <- err:
	default:
	}
}

// Stop hands the switchboard over to a machine that stands by, if we have it, waits for live calls until ctx ends, and closes everything.
func (m *Member) Stop(ctx context.Context) error {
	m.stop <- ctx
	m.cancel()
	<-m.done
	gone, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	return errors.Join(m.gate.Close(gone), m.phones.Close(), m.db.Close())
}

// sleepFor waits; false when ctx ended first.
func sleepFor(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
