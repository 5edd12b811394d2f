// Package app is the whole program as one value: it wires the arms to the stream and to one another.
//
// Start opens log, tables and index, brings the projections up to date, ends what the last run left open, and then takes
// calls; Stop drains and closes. A test starts it on port 0 in a folder of its own. The same package holds what the command
// line does beside serving (audit, export, import, backup …), over Store, which opens the tables without the telephones.
//
// Goroutines, each with its owner and end: see docs/architecture.md. This package's own are the switchboard's loop ("loop"),
// "writer" (events to the log), "relay" (outbox to the log), one "consumer" for each of books, search, casebook and app, "watch" (what
// other processes change: lines, accounts), "callback <attempt>" (writes down one attempt), and net/http's.
//
// What it does not do: it decides nothing about a call, a case or a figure; the machines and books do.
package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	door "yingda/channels/app"
	"yingda/channels/chat"
	"yingda/channels/webchat"
	"yingda/intake"
	"yingda/intake/books"
	"yingda/intake/queue"
	"yingda/intake/stream/sqllog"
	"yingda/internal/lines"
	"yingda/internal/loop"
	"yingda/internal/store"
	"yingda/internal/users"
	"yingda/telephony"
	"yingda/telephony/media"
	"yingda/telephony/sip"
	"yingda/telephony/switchboard"
	"yingda/web"
)

// Version of the program, set when it is built.
var Version = "dev"

// Options of a start beside the configuration.
type Options struct {
	Logger *slog.Logger
	Now    func() time.Time // nil: a clock that never steps back

	// Of a Member: the lease by which it has the switchboard, the door for its pages, and its telephones'.
	Lease  *store.Lease
	Gate   *gate
	Phones sockets
}

// App is a running yingda.
type App struct {
	*Store
	log *slog.Logger

	media    *media.Plane
	prompts  *promptPack
	sip      *sip.Server
	board    *switchboard.Switchboard
	queue    *queue.Queue
	loop     *loop.Loop[hallInput, hallEffect]
	writer   *writer
	web      *web.Server
	door     *door.Server
	outbox   *outbox // with Kafka
	talks    *webchat.Server
	http     *http.Server
	httpAt   net.Addr
	metrics  *prometheus.Registry
	counters *counters
	changes  *changes
	desks    *desks

	early  sync.Mutex
	edge   bool              // sip takes orders
	before []telephony.Input // what was reported until then

	readers    []*consumer
	lines      atomic.Pointer[[]lines.Line]
	degraded   atomic.Pointer[sqllog.State]
	letters    atomic.Pointer[lettersState]
	searchLost atomic.Int64 // ms: since when a shard of the index in Elasticsearch is nowhere; 0: all are there
	searchLate atomic.Int64 // ms: since when the index in Elasticsearch is behind; 0: it is not
	rereading  atomic.Int64 // ms: since when a consumer reads again what it had; 0: none does
	lease      *store.Lease // of the switchboard, when several machines may have it
	gate       *gate        // with lease: who serves the pages
	elsewhere  atomic.Pointer[func() (sip.Elsewhere, bool)]
	unread     atomic.Int64       // ms: when it was last said that callers' history cannot be read
	waits      time.Time          // until then the start waits for Kafka
	alone      atomic.Int64       // ms: since when the tables cannot be reached; 0: they can
	endJobs    context.CancelFunc // the jobs go to another machine
	draining   atomic.Bool
	control    net.Listener
	seen       sync.Map // dedupe key of a call that the last run left open → seenContact
	seq        sequences
	trunksDown sync.Map // name → since when
	hooksDown  sync.Map // id of an app's token → since when its webhook is given up

	cancel   context.CancelFunc // ends readers, relay, watch
	stopLoop context.CancelFunc
	loopDone chan struct{}
	wg       sync.WaitGroup
	failed   chan error
}

type seenContact struct {
	id  intake.ContactID
	seq intake.Sequence
}

// Start starts everything and returns when calls are taken. What was opened is closed again when it fails.
func Start(ctx context.Context, c Config, o Options) (a *App, err error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	a = &App{log: o.Logger, changes: newChanges(), loopDone: make(chan struct{}), failed: make(chan error, 4), lease: o.Lease, gate: o.Gate, endJobs: func() {}}
	defer func() {
		if err != nil {
			stop, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			err = errors.Join(err, a.Stop(stop))
			a = nil
		}
	}()
	a.Store, err = OpenStore(ctx, c, StoreOptions{Logger: o.Logger, Now: o.Now, Lock: true, Serve: true, Lease: o.Lease, Degraded: a.onDegraded})
	if err != nil {
		return a, err
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	a.cancel = cancel
	if err := a.openKafka(run); err != nil {
		return a, err
	}
	if err := a.openIndex(ctx); err != nil {
		return a, err
	}
	if err := a.settle(ctx); err != nil {
		return a, err
	}
	if err := a.openPhones(run, o.Phones); err != nil {
		return a, err
	}
	if err := a.openDoor(run); err != nil {
		return a, err
	}
	if err := a.openTalks(run); err != nil {
		return a, err
	}
	a.startJobs(run)
	a.wg.Go(func() { a.watch(run) })
	a.wg.Go(func() { a.countLetters(run) })
	if err := a.openControl(run); err != nil {
		return a, err
	}
	if err := a.openHTTP(); err != nil {
		return a, err
	}
	udp, tcp := a.sip.Addr()
	a.log.Info("yingda takes calls", "version", Version, "pages", a.URL(), "sip_udp", udp.String(), "sip_tcp", tcp.String(), "epoch", a.Epoch)
	return a, nil
}

// settle brings the books up to date and ends what the last run left open, before any call is taken.
func (a *App) settle(ctx context.Context) error {
	if err := a.upToDate(ctx, a.booksConsumer()); err != nil {
		return fmt.Errorf("books: %w", err)
	}
	open, err := a.books.OpenContacts(ctx)
	if err != nil {
		return fmt.Errorf("open contacts: %w", err)
	}
	a.board = switchboard.New(switchboard.Config{ID: a.Config.switchboard(), Source: a.Source, Epoch: a.Epoch,
		NewLeg:       func() telephony.LegID { return telephony.LegID(newID()) },
		NewRecording: func() intake.RecordingID { return intake.RecordingID(newID()) },
		MaxCalls:     a.Config.SIP.MaxCalls})
	now := a.now()
	events, err := a.interrupted(now, open)
	if err != nil {
		return err
	}
	node := intake.Subject("node/" + a.Config.Office.Node)
	events = append(events, intake.Event{Source: a.Source, Subject: node, Sequence: a.seq.next(node, a.Epoch), Time: intake.Millis(now), PartitionKey: string(node),
		Data: &intake.NodeStartedV1{Version: Version, Epoch: a.Epoch, Open: len(open)}})
	if err := a.Log.Append(ctx, events...); err != nil {
		return fmt.Errorf("write down what the last run left open: %w", err)
	}
	if n := len(events) - 1; n > 0 {
		a.log.Warn("contacts that the last run left open are now interrupted; their callers are owed a call", "count", n)
	}
	return nil
}

// interrupted makes the events that end what was open, and remembers the calls whose INVITE may come again.
func (a *App) interrupted(now time.Time, open []books.OpenContact) ([]intake.Event, error) {
	var mine []books.OpenContact
	for _, c := range open {
		if c.Channel != intake.Chat && a.ours(c) { // conversations go on, see openTalks
			mine = append(mine, c)
		}
	}
	events := a.endedFor(now, mine)
	after := map[intake.ContactID]intake.Sequence{}
	for _, e := range events {
		after[e.Contact()] = e.Sequence
	}
	for _, c := range open {
		if c.Dedupe != "" && a.ours(c) {
			a.seen.Store(c.Dedupe, seenContact{c.ID, after[c.ID]})
		}
	}
	return events, nil
}

// endedFor makes the provisional ends of contacts that nobody has in hand any more.
func (a *App) endedFor(now time.Time, open []books.OpenContact) []intake.Event {
	list := make([]switchboard.Open, len(open))
	for i, c := range open {
		list[i] = switchboard.Open{Contact: c.ID, PartitionKey: c.Key, Last: c.Newest, Arrived: c.Arrived, Answered: c.Answered}
	}
	return a.board.Interrupted(now, list)
}

// openPhones starts the switchboard's loop, the media plane and the SIP edge.
func (a *App) openPhones(run context.Context, lent sockets) error {
	c := a.Config
	a.queue = queue.New(queue.Config{NewOffer: func() intake.OfferID { return intake.OfferID(newID()) }, Settings: queueSettings(c.Queue)})
	a.writer = newWriter(a.Log, a.now, a.log)
	noTalks := func() *chat.Board {
		return chat.New(chat.Config{ID: c.switchboard(), Source: a.Source, Epoch: a.Epoch, NewOffer: func() intake.OfferID { return intake.OfferID(newID()) }})
	}
	a.desks = newDesks(a)
	a.loop = loop.New[hallInput, hallEffect](&hall{a.queue, a.board, noTalks(), noTalks}, a.do, loop.Config[hallInput]{Now: a.now, Logger: a.log, Panics: a.onPanic})
	loopCtx, stop := context.WithCancel(run)
	a.stopLoop = stop
	go func() { defer close(a.loopDone); a.loop.Run(loopCtx) }()
	if err := a.loadLines(run); err != nil {
		return err
	}
	var err error
	if a.prompts, err = loadPrompts(c.Media.Prompts, a.log); err != nil {
		return err
	}
	address, err := mediaAddress(c)
	if err != nil {
		return err
	}
	a.media, err = media.Open(media.Config{Address: address, PortMin: uint16(c.Media.PortMin), PortMax: uint16(c.Media.PortMax), Threads: c.Media.Threads,
		RecordingDir: filepath.Join(c.Data, "recordings"), Key: a.keys.recording, Clips: a.prompts.clip, Report: a.report, Logger: a.log})
	if err != nil {
		return fmt.Errorf("media: %w", err)
	}
	if err := a.recoverRecordings(run); err != nil {
		a.log.Error("recordings that the last run left open", "err", err)
	}
	edge := a.sipConfig()
	if err := lent.lend(&edge); err != nil {
		return fmt.Errorf("sip: %w", err)
	}
	phones, err := sip.Listen(run, edge)
	if err != nil {
		return fmt.Errorf("sip: %w", err)
	}
	a.takeOrders(phones)
	a.wg.Go(func() {
		select {
		case err := <-a.sip.Err():
			a.fail(fmt.Errorf("sip listener: %w", err))
		case <-run.Done():
		}
	})
	return nil
}

func (a *App) sipConfig() sip.Config {
	s := a.Store.sipConfig()
	s.Account, s.Registrations, s.Operators, s.TrunkState = a.phoneAccount, registrations{a.DB}, a.desks.phoneChanged, a.onTrunk
	s.Lines, s.Facts, s.Seen = a.lineOf, a.facts, a.seenBefore
	s.NewContact = func() intake.ContactID { return intake.ContactID(newID()) }
	s.Report, s.Media = a.report, audio{a.media}
	s.Elsewhere = func() (sip.Elsewhere, bool) {
		if f := a.elsewhere.Load(); f != nil {
			return (*f)()
		}
		return sip.Elsewhere{}, false
	}
	a.sipMetrics(&s.Metrics)
	return s
}

// Yield sends new calls on to where somebody else has the switchboard now, while those that live here go on here. Conversations go on there, and so do the jobs.
func (a *App) Yield(elsewhere func() (sip.Elsewhere, bool)) {
	if a.elsewhere.Swap(&elsewhere) != nil {
		return
	}
	a.log.Info("new calls go elsewhere from now on", "live", a.Live(context.Background()))
	a.endJobs()
	a.loop.Send(leave{})
	if a.web != nil {
		a.web.Close() // live pages come back, and are then fetched from there
	}
	if a.talks != nil {
		end, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if err := a.talks.Close(end); err != nil {
			a.log.Error("conversations", "err", err)
		}
	}
}

// report takes what the network says. It never waits. What comes before the edge is there to be given orders (a socket that another machine's role left
// open is full of calls) is kept until it is.
func (a *App) report(in telephony.Input) {
	a.early.Lock()
	defer a.early.Unlock()
	if !a.edge {
		a.before = append(a.before, in)
		return
	}
	a.loop.Send(in)
}

// takeOrders makes the edge the one that carries out what the machines want.
func (a *App) takeOrders(s *sip.Server) {
	a.early.Lock()
	defer a.early.Unlock()
	a.sip, a.edge = s, true
	for _, in := range a.before {
		a.loop.Send(in)
	}
	a.before = nil
}

// seenBefore finds the contact of an INVITE that came before our last start.
func (a *App) seenBefore(dedupe string) (intake.ContactID, intake.Sequence, bool) {
	v, ok := a.seen.LoadAndDelete(dedupe)
	if !ok {
		return "", 0, false
	}
	s := v.(seenContact)
	return s.id, s.seq, true
}

// phoneAccount finds the secret of an operator's phone for the registrar.
func (a *App) phoneAccount(user string) (sip.Account, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	d, err := a.users.Device(ctx, user)
	switch {
	case errors.Is(err, users.ErrUnknown):
		return sip.Account{}, sip.ErrNoAccount
	case err != nil:
		return sip.Account{}, err
	}
	a.desks.answers(d.User, d.Desk)
	return sip.Account{User: user, Operator: d.User, HA1: d.HA1MD5, HA1SHA: d.HA1SHA256}, nil
}

// do carries out what the machines want, on the loop's goroutine: everything it calls only takes note and returns.
func (a *App) do(now time.Time, effects []hallEffect) {
	var orders []telephony.Effect
	var said []chat.Effect
	for _, e := range effects {
		switch e := e.(type) {
		case telephony.Write:
			a.writer.write(e.Events, a.writtenCall(e.Gate))
		case chat.Write:
			a.writer.write(e.Events, a.writtenTalk(e))
		case telephony.Tried:
			a.tried(e)
		case queue.StateChanged:
			a.desks.changed(now, e)
		case queue.Notice:
			a.log.Warn("operator let several calls ring in a row and is on a break", "operator", e.Operator, "count", e.Count)
		case telephony.Effect:
			orders = append(orders, e)
		case chat.Effect:
			said = append(said, e)
		}
	}
	if len(orders) > 0 && a.sip != nil {
		a.sip.Do(orders...)
	}
	if len(said) > 0 && a.talks != nil {
		a.talks.Do(now, said...)
	}
	a.changes.tell()
}

// writtenCall and writtenTalk tell the machine that what it wrote is on disk, or not yet.
func (a *App) writtenCall(gate intake.ContactID) func(bool) {
	if gate == "" {
		return nil
	}
	return func(unwritten bool) { a.loop.Send(telephony.Written{Contact: gate, Unwritten: unwritten}) }
}

func (a *App) writtenTalk(e chat.Write) func(bool) {
	if e.Gate == "" {
		return nil
	}
	return func(unwritten bool) {
		a.loop.Send(chat.Written{Contact: e.Gate, Through: e.Through, Unwritten: unwritten})
	}
}

// onPanic ends the one call whose input broke the machine.
func (a *App) onPanic(in hallInput, _ any) {
	if leg := legOf(in); leg != "" && a.sip != nil {
		a.sip.Do(telephony.Hangup{Leg: leg, Q850: 41})
	}
}

func legOf(in hallInput) telephony.LegID {
	switch in := in.(type) {
	case telephony.Invited:
		return in.Leg
	case telephony.Answered:
		return in.Leg
	case telephony.Digit:
		return in.Leg
	case telephony.Played:
		return in.Leg
	}
	return ""
}

// tried writes down how an attempt to call somebody back ended, and tries again until the tables take it.
func (a *App) tried(t telephony.Tried) {
	if t.Result == intake.TryReached && t.Callback != "" {
		a.desks.calledBack(t.Operator, t.Callback, a.now())
	}
	a.wg.Go(func() {
		for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
			var err error
			if t.Case != "" {
				err = a.triedCase(context.Background(), t)
			} else if t.Result == "" { // no try: the desk phone was not taken; whoever wants may take the callback
				err = a.books.ReleaseCallback(context.Background(), t.Callback, t.Operator)
			} else {
				err = a.books.Tried(context.Background(), t.Callback, intake.CallbackTriedV1{Attempt: t.Attempt, Operator: t.Operator, Result: t.Result, Seconds: t.Seconds, Recording: t.Recording})
			}
			if err == nil || errors.Is(err, books.ErrNotFound) || errors.Is(err, books.ErrCleared) || errors.Is(err, books.ErrNotYours) {
				a.changes.tell()
				return
			}
			a.log.Error("an attempt to call back could not be written down yet", "callback", t.Callback, "err", err)
			time.Sleep(pause)
		}
	})
}

// Failed tells of something without which the program cannot go on: a listener that ended.
func (a *App) Failed() <-chan error { return a.failed }

func (a *App) fail(err error) {
	a.log.Error("fatal", "err", err)
	select {
	case a.failed <- err:
	default:
	}
}

// Drain takes no more calls (503 with Retry-After) and promises a call to those who wait. Live ones go on.
func (a *App) Drain() {
	if a.draining.Swap(true) || a.sip == nil {
		return
	}
	a.sip.Drain()
	a.loop.Send(drain{})
}

// Live says how many calls are under way.
func (a *App) Live(ctx context.Context) int {
	n, _ := look(ctx, a, func(time.Time) int { return a.board.Live() })
	return n
}

// look reads the machines on their own goroutine. When ctx ends first the answer goes nowhere.
func look[T any](ctx context.Context, a *App, f func(now time.Time) T) (v T, err error) {
	if a.loop == nil {
		return v, errNotStarted
	}
	answer := make(chan T, 1)
	if err := a.loop.Look(ctx, func(now time.Time) { answer <- f(now) }); err != nil {
		return v, err
	}
	return <-answer, nil
}

var errNotStarted = errors.New("the switchboard has not started")

// Stop drains, waits for live calls until ctx ends, and closes everything in the order in which nothing is lost.
func (a *App) Stop(ctx context.Context) error {
	a.Drain()
	if a.loop != nil {
		for a.Live(ctx) > 0 && ctx.Err() == nil {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	var errs []error
	if a.web != nil {
		a.web.Close()
	}
	if a.gate != nil {
		a.gate.Serve(nil)
	}
	if a.http != nil {
		shut, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		errs = append(errs, a.http.Shutdown(shut))
		cancel()
	}
	if a.talks != nil {
		end, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		errs = append(errs, a.talks.Close(end))
		cancel()
	}
	if a.door != nil {
		errs = append(errs, a.door.Close())
	}
	if a.control != nil {
		errs = append(errs, a.control.Close())
	}
	if a.sip != nil {
		errs = append(errs, a.sip.Close())
	}
	if a.media != nil {
		errs = append(errs, a.media.Close())
	}
	if a.stopLoop != nil {
		a.stopLoop()
		<-a.loopDone
	}
	if a.writer != nil {
		end, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		a.writer.stop(end)
		cancel()
	}
	if a.cancel != nil {
		a.cancel()
	}
	a.wg.Wait()
	if a.Store != nil {
		if a.index != nil {
			errs = append(errs, a.index.Close())
		}
		errs = append(errs, a.Store.Close())
	}
	return errors.Join(errs...)
}

func newID() string { return uuid.Must(uuid.NewV7()).String() }

// sequences counts the events of subjects that this node writes itself: operators, the node.
type sequences struct {
	mu sync.Mutex
	m  map[intake.Subject]intake.Sequence
}

func (s *sequences) next(subject intake.Subject, epoch uint32) intake.Sequence {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		s.m = map[intake.Subject]intake.Sequence{}
	}
	s.m[subject] = s.m[subject].Next(epoch)
	return s.m[subject]
}

// changes tells pages that something may have changed.
type changes struct {
	mu   sync.Mutex
	list map[chan struct{}]struct{}
}

func newChanges() *changes { return &changes{list: map[chan struct{}]struct{}{}} }

// Changed is web.Live.
func (c *changes) Changed() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	c.mu.Lock()
	c.list[ch] = struct{}{}
	c.mu.Unlock()
	return ch, func() {
		c.mu.Lock()
		delete(c.list, ch)
		c.mu.Unlock()
	}
}

func (c *changes) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.list {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

func queueSettings(q QueueConfig) queue.Settings {
	return queue.Settings{Ring: q.RingTime, WrapUp: q.WrapUp, Misses: q.Misses, Strategy: queue.Strategy(q.Strategy), MaxWaiting: q.MaxQueue, ChatsBesideCall: q.Beside}
}

func mediaAddress(c Config) (netip.Addr, error) {
	if c.Media.Address != "" {
		return netip.ParseAddr(c.Media.Address)
	}
	at := c.SIP.UDP
	if at == "" {
		at = c.SIP.TCP
	}
	host, _, err := net.SplitHostPort(at)
	if err != nil {
		return netip.Addr{}, err
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr, nil
	}
	return netip.IPv4Unspecified(), nil
}
