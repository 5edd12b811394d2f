//go:build services

package kafka

import (
	"context"
	"log/slog"
	"os"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/segmentio/kafka-go"

	"yingda/intake/stream"
	"yingda/intake/stream/streamtest"
	"yingda/intake/wire"
)

// env is a variable that deploy/services/with sets.
func env(t testing.TB, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run this by make test-services", name)
	}
	return v
}

// settings of a topic of its own on the real broker.
func settings(t testing.TB) Settings {
	t.Helper()
	s := Default()
	s.Brokers = []string{env(t, "YINGDA_TEST_KAFKA")}
	id := uuid.NewString()
	s.Topic, s.DeadLetters, s.GroupPrefix = "test."+id, "test.dlq."+id, id+"."
	t.Cleanup(func() {
		c := &kafka.Client{Addr: kafka.TCP(s.Brokers...), Timeout: 10 * time.Second}
		_, _ = c.DeleteTopics(context.Background(), &kafka.DeleteTopicsRequest{Topics: []string{s.Topic, s.DeadLetters}})
	})
	return s
}

func openLog(t testing.TB, c Config) *Log {
	t.Helper()
	if c.Codec == nil {
		c.Codec = wire.New(keys{})
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	l, err := Open(t.Context(), c)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func TestLog(t *testing.T) {
	streamtest.Run(t, func(t *testing.T) streamtest.Storage {
		s := settings(t)
		return streamtest.Storage{
			Open: func(t testing.TB) stream.Log { return openLog(t, Config{Settings: s}) },
			Plant: func(t testing.TB, raw []byte) {
				t.Helper()
				w := writer(s, &kafka.Transport{}, 1<<20) // whose memory of topics is its own
				defer w.Close()
				must(t, w.WriteMessages(ctx(t), kafka.Message{Key: []byte("rubbish"), Value: raw}))
			},
			Repeats: true,
		}
	})
}

func ctx(t testing.TB) context.Context {
	c, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return c
}
