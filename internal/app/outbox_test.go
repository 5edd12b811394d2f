package app

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"yingda/intake/stream/kafka"
	"yingda/intake/stream/sqllog"
	"yingda/intake/stream/streamtest"
	"yingda/intake/wire"
)

type sameSecret struct{}

func (sameSecret) Month(string) ([]byte, error) { return make([]byte, 32), nil }

// With no broker to be had: events are written all the same, the figures say what waits and since when, and the alarm stands long before the disk is full.
func TestOutboxWithoutKafka(t *testing.T) {
	quiet := slog.New(slog.NewTextHandler(io.Discard, nil))
	codec := wire.New(sameSecret{})
	log, err := sqllog.Open(t.Context(), filepath.Join(t.TempDir(), "log.db"), sqllog.Config{Codec: codec, Ballast: -1, Limit: 20 * time.Second, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	s := kafka.Default()
	s.Brokers = []string{"127.0.0.1:1"}
	k, err := kafka.Open(t.Context(), kafka.Config{Settings: s, Codec: codec, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	const n = 300
	for i := range n {
		if err := log.Append(t.Context(), streamtest.Event("a", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	now := streamtest.Event("a", 1).Time.Add(time.Minute)
	u, err := log.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var alarms atomic.Int32
	looked := make(chan struct{})
	o := &outbox{config: outboxConfig{budget: u.Used + u.Used/2, keep: time.Hour}, log: log, relay: &kafka.Relay{Outbox: log, Log: k, Node: "n1", Logger: quiet},
		now: func() time.Time { return now }, slog: quiet, alarm: func() { alarms.Add(1); close(looked) }}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { o.run(ctx); close(ended) }()
	<-looked
	o.look(ctx) // a second look with the same result rings no second time
	if o.State().Level != outboxHalf || alarms.Load() != 1 {
		t.Errorf("%+v, %d alarms", o.State(), alarms.Load())
	}
	r := prometheus.NewRegistry()
	o.register(r)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]float64{}
	for _, f := range families {
		m := f.GetMetric()[0]
		have[f.GetName()] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	if have["yingda_outbox_lag_records"] != n || have["yingda_outbox_lag_seconds"] != 60 || have["yingda_outbox_sent_total"] != 0 ||
		have["yingda_outbox_bytes"] < float64(u.Used) || have["yingda_outbox_budget_bytes"] != float64(o.config.budget) || len(have) != 8 {
		t.Errorf("%v", have)
	}
	cancel()
	<-ended
}
