package app

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"yingda/intake/stream/kafka"
	"yingda/intake/stream/sqllog"
)

// outboxConfig of a node whose events go on to Kafka.
type outboxConfig struct {
	budget int64         // bytes of disk; an alarm stands from half of it on
	keep   time.Duration // how long events stay on this machine after Kafka has them; 0: for ever
}

// outbox is the way of a node's events to Kafka: it carries them, makes room, and knows when room or Kafka is wanting.
//
// Goroutines: "relay" carries, "room" looks every few seconds; both are owned by the App and end with their context.
type outbox struct {
	config outboxConfig
	log    *sqllog.Log
	relay  *kafka.Relay
	now    func() time.Time
	slog   *slog.Logger
	alarm  func() // told when State has changed; must not block; nil: nobody is

	state atomic.Pointer[outboxState]
}

// outboxState is what the screens say.
type outboxState struct {
	Usage sqllog.Usage
	Level outboxLevel
}

// outboxLevel says how near the budget is.
type outboxLevel int

const (
	outboxRoomy outboxLevel = iota // under half of the budget, and the disk has the rest of it
	outboxHalf                     // half of it is used, or the disk has not the rest of it
	outboxFull                     // the budget is used up: events are still written
)

func (l outboxLevel) String() string { return [...]string{"roomy", "half", "full"}[l] }

// level of a usage. A budget that the disk cannot give is no budget.
func (c outboxConfig) level(u sqllog.Usage) outboxLevel {
	switch {
	case u.Used >= c.budget:
		return outboxFull
	case u.Used >= c.budget/2, u.Free >= 0 && u.Free < c.budget-u.Used && u.Free < c.budget/2:
		return outboxHalf
	}
	return outboxRoomy
}

// lookForRoom is how often: something else may fill the disk within minutes, and the alarm must come long before it is full.
const lookForRoom = 10 * time.Second

// run is both goroutines; it returns when ctx has ended and they have.
func (o *outbox) run(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.relay.Run(ctx)
	}()
	every := time.NewTicker(lookForRoom)
	defer every.Stop()
	for ctx.Err() == nil {
		o.look(ctx)
		select {
		case <-ctx.Done():
		case <-every.C:
		}
	}
	<-done
}

// look makes room and notes how much there is.
func (o *outbox) look(ctx context.Context) {
	if o.config.keep > 0 {
		o.trim(ctx)
	}
	u, err := o.log.Usage(ctx)
	if err != nil {
		if ctx.Err() == nil {
			o.slog.Error("room in the outbox", "err", err)
		}
		return
	}
	s := &outboxState{Usage: u, Level: o.config.level(u)}
	before := o.state.Swap(s)
	if before == nil && s.Level == outboxRoomy || before != nil && before.Level == s.Level {
		return
	}
	log := o.slog.Warn
	if s.Level == outboxFull {
		log = o.slog.Error
	}
	log("room for events that wait for Kafka", "level", s.Level, "used", u.Used, "budget", o.config.budget, "free_on_disk", u.Free)
	if o.alarm != nil {
		o.alarm()
	}
}

// trim deletes what Kafka has had for long.
func (o *outbox) trim(ctx context.Context) {
	n, err := o.log.Trim(ctx, o.now().Add(-o.config.keep), kafka.RelayGroup)
	if err != nil && ctx.Err() == nil {
		o.slog.Error("room in the outbox", "err", err)
	}
	if n > 0 {
		o.slog.Debug("events that Kafka has had for long are no longer on this machine", "events", n)
	}
}

// State of the room; the zero state before the first look.
func (o *outbox) State() outboxState {
	if s := o.state.Load(); s != nil {
		return *s
	}
	return outboxState{}
}

// register puts its figures among the metrics.
func (o *outbox) register(r prometheus.Registerer) { r.MustRegister(outboxCollector{o}) }

type outboxCollector struct{ o *outbox }

var (
	outboxRecordsDesc = prometheus.NewDesc("yingda_outbox_lag_records", "Events on this machine that Kafka has not.", nil, nil)
	outboxSecondsDesc = prometheus.NewDesc("yingda_outbox_lag_seconds", "Age of the oldest of them.", nil, nil)
	outboxSentDesc    = prometheus.NewDesc("yingda_outbox_sent_total", "Events carried to Kafka since the start.", nil, nil)
	outboxAsideDesc   = prometheus.NewDesc("yingda_outbox_dead_letters_total", "Events that Kafka can never take, put aside since the start.", nil, nil)
	outboxFailingDesc = prometheus.NewDesc("yingda_outbox_failing_seconds", "For how long nothing could be carried; 0 when it goes.", nil, nil)
	outboxUsedDesc    = prometheus.NewDesc("yingda_outbox_bytes", "Disk that events take on this machine.", nil, nil)
	outboxBudgetDesc  = prometheus.NewDesc("yingda_outbox_budget_bytes", "Disk that they may take; an alarm stands from half of it on.", nil, nil)
	outboxRevivedDesc = prometheus.NewDesc("yingda_stream_readers_revived_total", "Readers of Kafka that were silent though there was more, and were made anew.", nil, nil)
)

func (c outboxCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{outboxRecordsDesc, outboxSecondsDesc, outboxSentDesc, outboxAsideDesc, outboxFailingDesc, outboxUsedDesc, outboxBudgetDesc, outboxRevivedDesc} {
		ch <- d
	}
}

func (c outboxCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	put := func(d *prometheus.Desc, t prometheus.ValueType, v float64) {
		ch <- prometheus.MustNewConstMetric(d, t, v)
	}
	if lag, err := c.o.relay.Lag(ctx); err == nil {
		put(outboxRecordsDesc, prometheus.GaugeValue, float64(lag.Records))
		put(outboxSecondsDesc, prometheus.GaugeValue, lagSeconds(c.o.now(), lag))
	}
	s := c.o.relay.State()
	put(outboxSentDesc, prometheus.CounterValue, float64(s.Sent))
	put(outboxAsideDesc, prometheus.CounterValue, float64(s.Aside))
	failing := 0.0
	if !s.Failing.IsZero() {
		failing = max(c.o.now().Sub(s.Failing).Seconds(), 0)
	}
	put(outboxFailingDesc, prometheus.GaugeValue, failing)
	put(outboxUsedDesc, prometheus.GaugeValue, float64(c.o.State().Usage.Used))
	put(outboxBudgetDesc, prometheus.GaugeValue, float64(c.o.config.budget))
	put(outboxRevivedDesc, prometheus.CounterValue, float64(c.o.relay.Log.Revived()))
}
