package app

import (
	"context"
	"fmt"

	"yingda/intake/stream"
	"yingda/intake/stream/kafka"
	"yingda/internal/store"
	"yingda/search/elastic"
)

// openKafka begins to carry this machine's events on to Kafka, which its consumers then read. Without brokers in the configuration there is none; when they
// cannot be reached calls go on, and what is owed to Kafka waits in the log.
func (a *App) openKafka(ctx context.Context) error {
	if err := a.OpenStream(ctx, func(kafka.State) { a.changes.tell() }); err != nil {
		return err
	}
	if a.kafka == nil {
		return nil
	}
	c := a.Config.Stream
	relay := &kafka.Relay{Outbox: a.Log, Log: a.kafka, Node: a.Config.Office.Node, Dead: a.dead, Logger: a.log}
	a.outbox = &outbox{config: outboxConfig{budget: c.Budget, keep: c.Keep}, log: a.Log, relay: relay, now: a.now, slog: a.log, alarm: a.changes.tell}
	a.wg.Go(func() { a.outbox.run(ctx) })
	return nil
}

// relayTo is where the outbox of the tables goes: straight to Kafka when several machines share the tables, so that what stands there is never owed by one
// of them; else into this machine's log.
func (a *App) relayTo() stream.Log {
	if a.kafka != nil && a.shared() {
		return a.kafka
	}
	return a.Log
}

// shared says whether other machines may have the same tables.
func (s *Store) shared() bool { return store.IsPostgres(s.Config.Tables.Address) }

// openElastic opens the index in Elasticsearch.
func (a *App) openElastic() error {
	x, err := elastic.Open(a.Config.Search.Elastic, elastic.Options{Logger: a.log})
	if err != nil {
		return fmt.Errorf("search: %w", err)
	}
	a.index = x
	return nil
}
