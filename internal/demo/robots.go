package demo

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"yingda/internal/app"
	"yingda/telephony/phonetest"
)

// robots phone and write to the program as people would. They hold nothing but SIP phones and what a browser or an app has.
type robots struct {
	pages  string // address of the pages
	server netip.AddrPort
	cast   cast
	log    *slog.Logger
	wg     sync.WaitGroup
	calls  chan struct{} // bounds callers on the phone at once
}

// between two callers, on average: three desks are a little too few for that, so that some wait and some leave.
const between = 7 * time.Second

func newRobots(a *app.App, k cast, log *slog.Logger) *robots {
	udp, _ := a.SIPAddr()
	return &robots{pages: a.URL(), server: udp, cast: k, log: log, calls: make(chan struct{}, 24)}
}

func (r *robots) start(ctx context.Context) {
	for i, d := range r.cast.desks {
		r.wg.Go(func() { r.desk(ctx, d, i) })
	}
	r.wg.Go(func() { r.callers(ctx) })
	for _, login := range typists {
		r.wg.Go(func() { r.typist(ctx, login) })
	}
	r.wg.Go(func() { r.chats(ctx) })
	r.wg.Go(func() { r.submissions(ctx) })
}

func (r *robots) wait() { r.wg.Wait() }

// nap waits, or ends with the context: false.
func nap(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

func about(d time.Duration) time.Duration {
	return time.Duration((0.5 + rand.Float64()) * float64(d))
}

// desk is an operator's phone: it registers, rings, is taken after a moment, and one call in fifteen is let ring.
func (r *robots) desk(ctx context.Context, d desk, n int) {
	p, err := phonetest.New(phonetest.Config{Server: r.server.String(), User: d.user, Password: d.secret, OnCall: func(c *phonetest.Call) { r.pickUp(ctx, c, n) }})
	if err != nil {
		r.log.Error("demo: a desk phone", "err", err)
		return
	}
	defer p.Close()
	for p.Register(ctx) != nil {
		if !nap(ctx, 2*time.Second) {
			return
		}
	}
	<-ctx.Done()
}

// pickUp takes a call after a moment; one in fifteen is let ring: away from the desk, and the program asks the next one.
func (r *robots) pickUp(ctx context.Context, c *phonetest.Call, n int) {
	c.Ring()
	if rand.IntN(15) == 0 {
		return
	}
	if !nap(ctx, about(2500*time.Millisecond)) {
		return
	}
	c.Answer()
	c.Audio().Tone(hum(n))
	select {
	case <-c.Ended():
	case <-ctx.Done():
	case <-time.After(about(50 * time.Second)):
	}
	c.Hangup()
}

// hum is the tone by which robots know an operator's voice.
func hum(n int) float64 { return 300 + 40*float64(n) }

// callers phones, one after the other, a few at a time.
func (r *robots) callers(ctx context.Context) {
	for nap(ctx, about(between)) {
		select {
		case r.calls <- struct{}{}:
		default:
			continue
		}
		c := r.cast.callers[rand.IntN(len(r.cast.callers))]
		r.wg.Go(func() {
			defer func() { <-r.calls }()
			for r.call(ctx, c) && rand.Float64() < c.Temper.Again { // not reached: most phone again
				if !nap(ctx, about(25*time.Second)) {
					return
				}
			}
		})
	}
}

// call phones once and says whether the caller gave up.
func (r *robots) call(ctx context.Context, who Caller) (lost bool) {
	p, err := phonetest.New(phonetest.Config{Server: r.server.String(), User: who.Number.Reveal(), Name: who.Name.Reveal()})
	if err != nil {
		r.log.Error("demo: a caller's phone", "err", err)
		return false
	}
	defer p.Close()
	c, err := p.Call("12345")
	if err != nil {
		return true
	}
	patience := time.After(about(who.Temper.Patience))
	listen := time.NewTicker(250 * time.Millisecond)
	defer listen.Stop()
	for {
		select {
		case <-ctx.Done():
			c.Hangup()
			return false
		case <-c.Ended():
			return true
		case <-patience:
			c.Hangup()
			return true
		case <-listen.C:
			if r.hearsPerson(c) {
				return !r.talk(ctx, c)
			}
		}
	}
}

// hearsPerson says whether an operator speaks: robots at the desk hum a tone between 300 and 460 Hz and nothing else does.
func (r *robots) hearsPerson(c *phonetest.Call) bool {
	for n := range len(r.cast.desks) {
		if c.Audio().Hears(hum(n)) > 0.5 {
			return true
		}
	}
	return false
}

// talk goes on for a while. False: it was over before it began.
func (r *robots) talk(ctx context.Context, c *phonetest.Call) bool {
	c.Audio().Tone(700)
	select {
	case <-ctx.Done():
	case <-c.Ended():
	case <-time.After(about(22 * time.Second)):
	}
	c.Hangup()
	return true
}

// town is all residents' own phones: rung when somebody calls back.
type town struct {
	phone *phonetest.Phone
	stop  context.CancelFunc
}

func newTown(server string) (*town, error) {
	ctx, stop := context.WithCancel(context.Background())
	t := &town{stop: stop}
	p, err := phonetest.New(phonetest.Config{Server: server, OnCall: func(c *phonetest.Call) { t.answer(ctx, c) }})
	if err != nil {
		stop()
		return nil, err
	}
	t.phone = p
	return t, nil
}

// answer picks up, mostly.
func (t *town) answer(ctx context.Context, c *phonetest.Call) {
	c.Ring()
	if rand.IntN(4) == 0 || !nap(ctx, about(4*time.Second)) {
		return
	}
	c.Answer()
	c.Audio().Tone(700)
	select {
	case <-ctx.Done():
	case <-c.Ended():
	case <-time.After(about(25 * time.Second)):
	}
	c.Hangup()
}

func (t *town) addr() string { return t.phone.Addr() }

func (t *town) close() {
	t.stop()
	t.phone.Close()
}
