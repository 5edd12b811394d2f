package app

import (
	"context"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"yingda/intake/stream"
	"yingda/telephony/sip"
)

// counters are those that the SIP edge counts itself.
type counters struct {
	request, dropped, refused, answered, register, trunk, late, onward *prometheus.CounterVec
	fault                                                              prometheus.Counter
	bindings                                                           prometheus.Gauge
	ringing                                                            prometheus.Histogram
}

func newCounters() *counters {
	vec := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "yingda_sip_" + name, Help: help}, labels)
	}
	return &counters{
		request:  vec("requests_total", "SIP requests that passed the guard.", "method", "transport"),
		dropped:  vec("dropped_total", "Messages that were not answered, by why.", "why"),
		refused:  vec("guard_refused_total", "Requests that the guard answered.", "method"),
		answered: vec("responses_total", "Final responses that we sent.", "method"),
		register: vec("register_total", "Registrations by result.", "result"),
		trunk:    vec("trunk_limited_total", "Calls refused by a trunk's limit.", "trunk", "why"),
		onward:   vec("onward_total", "Requests for the machine that has the switchboard, by what became of them.", "method", "how"),
		late:     vec("late_total", "Messages or orders that crossed an end.", "what"),
		fault:    prometheus.NewCounter(prometheus.CounterOpts{Name: "yingda_sip_faults_total", Help: "Handlers that panicked; each ended one call."}),
		bindings: prometheus.NewGauge(prometheus.GaugeOpts{Name: "yingda_sip_bindings", Help: "Registered phones."}),
		ringing: prometheus.NewHistogram(prometheus.HistogramOpts{Name: "yingda_ring_seconds", Help: "From the order to ring an operator's phone to its first 180.",
			Buckets: []float64{.01, .025, .05, .1, .2, .3, .5, 1, 2, 5}}),
	}
}

// sipMetrics hands the counters to the SIP edge.
func (a *App) sipMetrics(m *sip.Metrics) {
	c := newCounters()
	a.counters = c
	m.Request = func(method, transport string) { c.request.WithLabelValues(method, transport).Inc() }
	m.Dropped = func(why string) { c.dropped.WithLabelValues(why).Inc() }
	m.Refused = func(method string, _ int) { c.refused.WithLabelValues(method).Inc() }
	m.Answered = func(method string, _ int) { c.answered.WithLabelValues(method).Inc() }
	m.Register = func(result string) { c.register.WithLabelValues(result).Inc() }
	m.Trunk = func(trunk, why string) { c.trunk.WithLabelValues(trunk, why).Inc() }
	m.Late = func(what string) { c.late.WithLabelValues(what).Inc() }
	m.Onward = func(method, how string) { c.onward.WithLabelValues(method, how).Inc() }
	m.Fault = func() { c.fault.Inc() }
	m.Bindings = func(n int) { c.bindings.Set(float64(n)) }
	m.Ringing = func(d time.Duration) { c.ringing.Observe(d.Seconds()) }
}

// newMetrics registers what /metrics shows. What is counted of contacts is read from the books at each scrape: it survives a
// restart and never differs from them.
func (a *App) newMetrics() *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), bookCollector{a})
	if a.outbox != nil {
		a.outbox.register(r)
	}
	c := a.counters
	r.MustRegister(c.request, c.dropped, c.refused, c.answered, c.register, c.trunk, c.late, c.onward, c.fault, c.bindings, c.ringing)
	gauge := func(name, help string, f func() float64) {
		r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "yingda_" + name, Help: help}, f))
	}
	gauge("calls_live", "Calls under way.", func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		return float64(a.Live(ctx))
	})
	gauge("loop_waiting", "Inputs waiting for the switchboard's loop.", func() float64 { return float64(a.loop.Waiting()) })
	gauge("media_legs", "Legs with audio.", func() float64 { return float64(a.media.Stats().Legs) })
	gauge("media_late_seconds", "Lateness of the 20 ms wheel, 99th percentile of the last second.", func() float64 { return a.media.Stats().LateP99.Seconds() })
	gauge("media_recordings", "Recordings under way.", func() float64 { return float64(a.media.Stats().Recordings) })
	gauge("media_record_dropped", "Packets that a recorder had no room for.", func() float64 { return float64(a.media.Stats().RecordDropped) })
	gauge("log_degraded", "1 while the log does not write.", func() float64 {
		if s := a.degraded.Load(); s != nil && s.Degraded {
			return 1
		}
		return 0
	})
	gauge("dead_letters", "Events that could not be used and wait for a decision.", func() float64 {
		if s := a.letters.Load(); s != nil {
			return float64(s.n)
		}
		return 0
	})
	gauge("goroutines", "Goroutines.", func() float64 { return float64(runtime.NumGoroutine()) })
	return r
}

// bookCollector gives what the books count, and how far their readers are behind.
type bookCollector struct{ a *App }

var (
	offeredDesc = prometheus.NewDesc("yingda_contacts_offered_total", "Contacts that reached us or tried to.", []string{"channel", "line"}, nil)
	endedDesc   = prometheus.NewDesc("yingda_contacts_ended_total", "Contacts by how they ended.", []string{"channel", "line", "outcome"}, nil)
	openDesc    = prometheus.NewDesc("yingda_contacts_open", "Contacts that have not ended.", []string{"channel", "line"}, nil)
	owedDesc    = prometheus.NewDesc("yingda_callbacks_owed", "People who are owed a call.", nil, nil)
	lateDesc    = prometheus.NewDesc("yingda_callbacks_overdue", "Of them, past their time.", nil, nil)
	lagDesc     = prometheus.NewDesc("yingda_consumer_lag_records", "Events that a reader has yet to read.", []string{"consumer"}, nil)
	lagSecDesc  = prometheus.NewDesc("yingda_consumer_lag_seconds", "Age of the oldest of them.", []string{"consumer"}, nil)
)

func (b bookCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{offeredDesc, endedDesc, openDesc, owedDesc, lateDesc, lagDesc, lagSecDesc} {
		ch <- d
	}
}

func (b bookCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	counts, err := b.a.books.Balance(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(offeredDesc, err)
		return
	}
	for _, c := range counts {
		channel, line := string(c.Channel), string(c.Line)
		ch <- prometheus.MustNewConstMetric(offeredDesc, prometheus.CounterValue, float64(c.Counts.Offered), channel, line)
		ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(c.Counts.Open), channel, line)
		for o, n := range c.Counts.Outcomes {
			ch <- prometheus.MustNewConstMetric(endedDesc, prometheus.CounterValue, float64(n), channel, line, string(o))
		}
	}
	if s, err := b.a.books.CallbackSummary(ctx); err == nil {
		ch <- prometheus.MustNewConstMetric(owedDesc, prometheus.GaugeValue, float64(s.Owed))
		ch <- prometheus.MustNewConstMetric(lateDesc, prometheus.GaugeValue, float64(s.Overdue))
	}
	for _, r := range b.a.readers {
		if lag, err := b.a.lag(ctx, r); err == nil {
			ch <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, float64(lag.Records), r.name)
			ch <- prometheus.MustNewConstMetric(lagSecDesc, prometheus.GaugeValue, lagSeconds(b.a.now(), lag), r.name)
		}
	}
}

// lag of a reader, by the positions that it commits to the log after its effect.
func (a *App) lag(ctx context.Context, r *consumer) (stream.Lag, error) {
	return a.stream().Lag(ctx, r.name)
}

// lookAtLag keeps up to when each reader has come, where that must be asked of other machines.
//
// The goroutine: "lag", owned by the App, ends with its context.
func (a *App) lookAtLag(ctx context.Context) {
	for _, r := range a.readers {
		r.upTo.Store(a.now().UnixMilli())
	}
	for sleepFor(ctx, time.Second) {
		for _, r := range a.readers {
			try, cancel := context.WithTimeout(ctx, 2*time.Second)
			now := a.now()
			lag, err := a.lag(try, r)
			cancel()
			switch {
			case err != nil:
			case lag.Records == 0:
				r.upTo.Store(now.UnixMilli())
			case !lag.Oldest.IsZero():
				r.upTo.Store(lag.Oldest.UnixMilli())
			}
		}
	}
}

func lagSeconds(now time.Time, l stream.Lag) float64 {
	if l.Records == 0 || l.Oldest.IsZero() {
		return 0
	}
	return max(now.Sub(l.Oldest).Seconds(), 0)
}
