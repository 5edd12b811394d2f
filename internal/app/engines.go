package app

import (
	"context"
	"fmt"
	"time"

	"yingda/intake/stream/kafka"
	"yingda/search/elastic"
)

// forEver is how long events stay in this machine's log beside Kafka: it is what its own consumers read, and what an index is built again from.
const forEver = 200 * 365 * 24 * time.Hour

// openKafka begins to carry every event on to Kafka, for other departments and other machines. Without brokers in the configuration there is none; when
// they cannot be reached calls go on and what is owed to them waits in the log.
func (a *App) openKafka(ctx context.Context) error {
	c := a.Config.Stream
	if len(c.Kafka.Brokers) == 0 {
		return nil
	}
	var err error
	a.kafka, err = kafka.Open(ctx, kafka.Config{Settings: c.Kafka, Codec: a.codec, Now: a.now, Logger: a.log, Changed: func(kafka.State) { a.changes.tell() }})
	if err != nil {
		return err
	}
	relay := &kafka.Relay{Outbox: a.Log, Log: a.kafka, Node: a.Config.Office.Node, Dead: a.kafka.DeadLetters(), Logger: a.log}
	a.outbox = &outbox{config: OutboxConfig{Budget: c.Budget, Keep: forEver}, log: a.Log, relay: relay, now: a.now, slog: a.log, alarm: a.changes.tell}
	a.wg.Go(func() { a.outbox.run(ctx) })
	return nil
}

// openElastic opens the index in Elasticsearch.
func (a *App) openElastic() error {
	x, err := elastic.Open(a.Config.Search.Elastic, elastic.Options{Logger: a.log})
	if err != nil {
		return fmt.Errorf("search: %w", err)
	}
	a.index = x
	return nil
}
