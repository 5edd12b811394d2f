package app

import (
	"context"
	"fmt"

	"yingda/intake"
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
	a.outbox = a.newOutbox(a.changes.tell)
	a.wg.Go(func() { a.outbox.run(ctx) })
	return nil
}

// newOutbox is the way from this machine's log to Kafka.
func (s *Store) newOutbox(alarm func()) *outbox {
	c := s.Config.Stream
	relay := &kafka.Relay{Outbox: s.Log, Log: s.kafka, Node: s.Config.Office.Node, Dead: s.dead, Logger: s.slog}
	return &outbox{config: outboxConfig{budget: c.Budget, keep: c.Keep}, log: s.Log, relay: relay, now: s.now, slog: s.slog, alarm: alarm}
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
	x, err := elastic.Open(a.Config.Search.Elastic, elastic.Options{Logger: a.log, DeadLetter: a.aside, Earlier: a.toldOf})
	if err != nil {
		return fmt.Errorf("search: %w", err)
	}
	a.index = x
	return nil
}

// toldOf is what the books have of subjects, for the index.
func (a *App) toldOf(ctx context.Context, ids ...intake.Subject) ([]intake.Event, error) {
	moments, err := a.books.Timeline(ctx, ids...)
	if err != nil {
		return nil, err
	}
	raw := make([][]byte, len(moments))
	for i, m := range moments {
		raw[i] = m.Raw
	}
	return a.decode(raw), nil
}
