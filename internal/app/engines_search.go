package app

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"yingda/intake/stream"
	"yingda/internal/store"
	"yingda/search/elastic"
)

const (
	searchLook   = 5 * time.Second  // how often we look how far search is behind
	searchBehind = 30 * time.Second // by how much it may be without an alarm
	searchCare   = time.Hour        // how often we look for what must be forgotten or built again
	searchAgain  = time.Minute      // after a look that failed
)

// followIndex is how the search consumer reads a stream into Elasticsearch; nil for the embedded index, which has nothing to wait for.
func (a *App) followIndex() func(context.Context, stream.Reader, func([]stream.Record)) error {
	x, ok := a.index.(*elastic.Index)
	if !ok {
		return nil
	}
	return func(ctx context.Context, r stream.Reader, each func([]stream.Record)) error {
		unreadable := func(records []stream.Record) error {
			return putAside(ctx, a.deadLetters(), searchGroup, 1, records)
		}
		return x.Follow(ctx, asideReader{r, unreadable}, elastic.Batch, each)
	}
}

// asideReader puts aside what cannot be read before anybody sees it.
type asideReader struct {
	stream.Reader
	unreadable func([]stream.Record) error // fails when they could not be put aside: then nothing of it counts as read
}

func (r asideReader) Fetch(ctx context.Context, limit int) ([]stream.Record, error) {
	records, err := r.Reader.Fetch(ctx, limit)
	if err == nil {
		err = r.unreadable(records)
	}
	return records, err
}

// keepIndex keeps the index in Elasticsearch as it must be, until ctx ends: it raises an alarm while search is behind, builds the index again when it was cut in another
// way than this program cuts or has lost a shard, and takes out what was destroyed or is kept no longer. It runs on the machine that has the jobs. With the embedded index it returns at once.
//
// The goroutines: "search lag" looks how far search is behind, "search mend" whether a shard is lost, "search care" does the rest; all end with ctx.
func (a *App) keepIndex(ctx context.Context) {
	x, ok := a.index.(*elastic.Index)
	if !ok {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { a.watchIndex(ctx) })
	wg.Go(func() { a.mendIndex(ctx, x) })
	defer wg.Wait()
	for {
		pause := searchCare
		if err := a.careForIndex(ctx, x); err != nil && ctx.Err() == nil {
			pause = searchAgain
			if !errors.Is(err, elastic.ErrBusy) {
				a.log.Warn("the search index could not be looked after; it is tried again", "err", err)
			}
		}
		if !sleepFor(ctx, pause) {
			return
		}
	}
}

// watchIndex keeps since when search is behind.
func (a *App) watchIndex(ctx context.Context) {
	for sleepFor(ctx, searchLook) {
		try, cancel := context.WithTimeout(ctx, 2*time.Second)
		lag, err := a.stream().Lag(try, searchGroup)
		cancel()
		if err != nil {
			continue // whatever is away has an alarm of its own
		}
		late := lag.Records > 0 && !lag.Oldest.IsZero() && a.now().Sub(lag.Oldest) > searchBehind
		switch before := a.searchLate.Load(); {
		case late && before == 0:
			a.searchLate.Store(a.now().UnixMilli())
			a.log.Warn("search is behind; what it finds may not be all", "events", lag.Records, "oldest", lag.Oldest)
			a.changes.tell()
		case !late && before != 0:
			a.searchLate.Store(0)
			a.log.Info("search is up to date again")
			a.changes.tell()
		}
	}
}

// mendIndex builds the index again when a shard of it has been nowhere for as long as the configuration says: the disk it was on is gone, or the machine. Everything in the index
// comes from the stream, so as long as that goes back to its beginning nothing is given up.
func (a *App) mendIndex(ctx context.Context, x *elastic.Index) {
	defer a.searchLost.Store(0)
	for sleepFor(ctx, searchLook) {
		try, cancel := context.WithTimeout(ctx, searchLook)
		lost, err := x.Lost(try)
		cancel()
		since := a.searchLost.Load()
		switch {
		case err != nil: // it does not answer; whether a shard is lost is not known
			continue
		case !lost && since != 0:
			a.searchLost.Store(0)
			a.log.Info("the search index has all its shards again")
			a.changes.tell()
			continue
		case !lost:
			continue
		case since == 0:
			since = a.now().UnixMilli()
			a.searchLost.Store(since)
			a.log.Error("a shard of the search index is nowhere (red); calls go on, search finds little", "built_again_after", a.Config.Search.Mend)
			a.changes.tell()
		}
		if a.Config.Search.Mend == 0 || a.now().Sub(time.UnixMilli(since)) < a.Config.Search.Mend {
			continue
		}
		if err := a.rebuildElastic(ctx, x); err != nil && ctx.Err() == nil && !errors.Is(err, elastic.ErrBusy) {
			a.log.Error("the search index has lost a shard and cannot be built again by itself", "err", err)
			if !sleepFor(ctx, searchAgain) {
				return
			}
		}
	}
}

// indexLate is since when search finds perhaps not all; zero when it does.
func (a *App) indexLate() time.Time {
	if x, ok := a.index.(*elastic.Index); ok {
		if since, _ := x.Trouble(); !since.IsZero() {
			return since
		}
	}
	if since := a.searchLate.Load(); since > 0 {
		return time.UnixMilli(since)
	}
	return time.Time{}
}

// careForIndex builds the index again when it must be, and takes out what was destroyed or is kept no longer.
func (a *App) careForIndex(ctx context.Context, x *elastic.Index) error {
	stale, err := x.Stale(ctx)
	if err != nil {
		return err
	}
	if stale {
		a.log.Info("the search index was made by another version; it is built again while people go on searching")
		if err := a.rebuildElastic(ctx, x); err != nil {
			return fmt.Errorf("build it again: %w", err)
		}
	}
	if err := a.forgetMonths(ctx, x); err != nil {
		return err
	}
	return a.retainInIndex(ctx, x)
}

// retainInIndex takes out of the index what ended longer ago than search.keep says. What is still open stays, and so does everything in stream and books: an index built again
// from the stream has it until the next look.
func (a *App) retainInIndex(ctx context.Context, x *elastic.Index) error {
	keep := a.Config.Search.Keep
	if keep == 0 {
		return nil
	}
	before := a.now().Add(-keep)
	gone, err := x.Retain(ctx, before)
	if err != nil {
		return fmt.Errorf("take out what is older than search.keep: %w", err)
	}
	if gone > 0 {
		a.log.Info("what ended long ago was taken out of the search index", "last_changed_before", before, "documents", gone)
	}
	return nil
}

// rebuildElastic makes the index anew from the stream, or from its own documents when the stream has dropped its oldest events.
func (a *App) rebuildElastic(ctx context.Context, x *elastic.Index) error {
	whole, err := a.stream().Whole(ctx)
	if err != nil {
		return err
	}
	var said bytes.Buffer
	if err := reindex(ctx, x, a.stream(), ReindexOptions{Stream: whole}, &said); err != nil {
		return err
	}
	a.log.Info("the search index was built again", "did", strings.TrimSpace(said.String()))
	return nil
}

// forgottenFact is the name under which the tables note the months of which the index holds nothing any more.
func forgottenFact(alias string) string { return "search forgot " + alias }

// forgetMonths takes out of the index what was said in months whose secrets are destroyed: documents that lie within them are deleted, and when others reach into them the
// index is built again from the stream, where those words can no longer be read.
func (a *App) forgetMonths(ctx context.Context, x *elastic.Index) error {
	names, err := a.DB.Destroyed(ctx)
	if err != nil {
		return err
	}
	fact := forgottenFact(a.Config.Search.Elastic.Index)
	var noted string
	err = a.DB.QueryRow(ctx, "SELECT value FROM facts WHERE name = ?", fact).Scan(&noted)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	done := strings.Fields(noted)
	var months []string
	for _, n := range names {
		if m, ok := strings.CutPrefix(n, monthSecret); ok && !slices.Contains(done, m) {
			months = append(months, m)
		}
	}
	if len(months) == 0 {
		return nil
	}
	if err := a.keys.refresh(ctx); err != nil { // another process may have destroyed them a moment ago
		return err
	}
	deleted, again := 0, false
	forget := func() error {
		again = false
		for _, m := range months {
			from, err := time.Parse("2006-01", m)
			if err != nil {
				return err
			}
			n, mixed, err := x.Forget(ctx, from, from.AddDate(0, 1, 0))
			if err != nil {
				return err
			}
			deleted, again = deleted+n, again || mixed > 0
		}
		return nil
	}
	if err := forget(); err != nil {
		return err
	}
	if again {
		if whole, err := a.stream().Whole(ctx); err != nil || !whole {
			return errors.Join(err, fmt.Errorf("months were destroyed (%s) whose words are still in documents of later ones, and the stream no longer goes back to its beginning", strings.Join(months, ", ")))
		}
		if err := a.rebuildElastic(ctx, x); err != nil {
			return err
		}
		if err := forget(); err != nil { // what lies within them came back from the stream, without words
			return err
		}
	}
	a.log.Info("destroyed months were taken out of the search index", "months", months, "documents", deleted, "built_again", again)
	value := strings.Join(append(done, months...), " ")
	return a.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "INSERT INTO facts (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", fact, value)
		return err
	})
}
