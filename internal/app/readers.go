package app

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"

	door "yingda/channels/app"
	"yingda/intake"
	"yingda/intake/books"
	"yingda/intake/stream"
	"yingda/intake/stream/sqllog"
	"yingda/routing/casebook"
	"yingda/search"
	"yingda/search/bleve"
	"yingda/search/elastic"
)

// Names under which the stream is read. They are kept with the positions: never rename one.
const (
	booksGroup   = books.Group
	searchGroup  = "search"
	rebuildGroup = "search-rebuild"
)

// openIndex opens the search index beside the log.
func (a *App) openIndex(ctx context.Context) error {
	if len(a.Config.Search.Elastic.Addresses) > 0 {
		return a.openElastic()
	}
	x, err := bleve.Open(filepath.Join(a.Config.Data, "index"), bleve.Config{Logger: a.log})
	if err != nil {
		return err
	}
	a.index = x
	return nil
}

// booksConsumer keeps the books: rates, callbacks, timelines.
func (a *App) booksConsumer() *consumer {
	return a.tables(booksGroup, a.books.Apply, a.changes.tell)
}

// searchConsumer keeps the index; its positions are in it.
func (a *App) searchConsumer() *consumer {
	return &consumer{name: searchGroup, stream: a.stream, slog: a.log, after: a.changes.tell, dead: a.deadLetters, follow: a.followIndex(),
		from:  func(ctx context.Context) ([]stream.Position, error) { return indexPositions(ctx, a.index) },
		apply: func(ctx context.Context, records []stream.Record) error { return indexApply(ctx, a.index, records) },
		once:  func(ctx context.Context, r stream.Record) error { return indexApply(ctx, a.index, []stream.Record{r}) }}
}

// makeReaders makes the consumers, which startReaders starts.
func (a *App) makeReaders() {
	a.readers = []*consumer{a.booksConsumer(), a.searchConsumer(), a.tables(casebook.Group, a.cases.Apply, a.changes.tell),
		a.tables(door.Group, a.door.Apply, func() { a.door.Wake(); a.changes.tell() }), a.talksConsumer()}
}

// startReaders starts the consumers and the relay of the tables. They end with run, on wg.
func (a *App) startReaders(run context.Context, wg *sync.WaitGroup) {
	for _, r := range a.readers {
		wg.Go(func() { r.run(run) })
	}
	out := &relay{db: a.DB, log: a.relayTo(), decode: a.codec.Decode, slog: a.log}
	wg.Go(func() { out.run(run) })
	wg.Go(func() { a.keepIndex(run) })
	if x, ok := a.index.(*bleve.Index); ok && x.Stale() {
		wg.Go(func() {
			a.log.Info("the index was made by another version; it is built again while people go on searching")
			if err := a.rebuild(run, x); err != nil && run.Err() == nil {
				a.log.Error("the index could not be built again; the old one stays", "err", err)
			}
		})
	}
}

func indexPositions(ctx context.Context, x search.Index) ([]stream.Position, error) {
	at, err := x.Position(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]stream.Position, len(at))
	for i, p := range at {
		list[i] = stream.Position(p)
	}
	return list, nil
}

func indexApply(ctx context.Context, x search.Index, records []stream.Record) error {
	if x, ok := x.(*elastic.Index); ok { // which then knows what to put aside
		return x.ApplyRecords(ctx, records)
	}
	events, at := forIndex(records)
	return x.Apply(ctx, events, at...)
}

func forIndex(records []stream.Record) (events []intake.Event, at []search.Position) {
	for _, r := range records {
		if r.Err == nil {
			events = append(events, r.Event)
		}
	}
	for _, p := range stream.Newest(records) {
		at = append(at, search.Position(p))
	}
	return events, at
}

// rebuild reads the whole stream into a new index.
func (s *Store) rebuild(ctx context.Context, x *bleve.Index) error {
	reader, err := s.stream().Open(rebuildGroup, stream.Position{Offset: -1})
	if err != nil {
		return err
	}
	defer reader.Close()
	return x.Rebuild(ctx, func(ctx context.Context) ([]intake.Event, []search.Position, error) {
		records, err := reader.Fetch(ctx, 2000)
		if err != nil {
			return nil, nil, fmt.Errorf("stream: %w", err)
		}
		events, at := forIndex(records)
		return events, at, nil
	})
}

// onDegraded is told when the log stops and begins to write; an alarm stands on every screen meanwhile.
func (a *App) onDegraded(s sqllog.State) {
	before := a.degraded.Swap(&s)
	if s.Degraded && (before == nil || !before.Degraded) {
		a.log.Error("the log does not write; calls go on, events wait in memory", "since", s.Since, "err", s.Err)
	}
	if !s.Degraded && s.Waiting == 0 && a.writer != nil {
		a.writer.safe()
	}
	if !s.Degraded && before != nil && before.Degraded {
		a.log.Warn("the log writes again", "was_away_since", before.Since)
	}
	if a.changes != nil {
		a.changes.tell()
	}
}

// onTrunk is told when a trunk begins or ceases to answer.
func (a *App) onTrunk(trunk string, up bool, why string) {
	if up {
		a.trunksDown.Delete(trunk)
		a.log.Info("trunk answers", "trunk", trunk)
	} else {
		a.trunksDown.Store(trunk, a.now())
		a.log.Error("trunk does not answer", "trunk", trunk, "why", why)
	}
	a.changes.tell()
}
