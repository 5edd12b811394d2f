package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/search"
	"yingda/search/bleve"
	"yingda/search/elastic"
	"yingda/search/searchtest"
)

// EvalSearch measures search with the judged queries: the embedded index and, when one is configured, Elasticsearch beside it, in an index of its own that is
// removed afterwards.
func EvalSearch(ctx context.Context, c Config, log *slog.Logger, w io.Writer) (err error) {
	if len(c.Search.Elastic.Addresses) == 0 {
		return SearchEval(ctx, w)
	}
	set, err := searchtest.Embedded()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "yingda-eval-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	embedded, err := bleve.Open(dir, bleve.Config{Logger: log})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, embedded.Close()) }()
	own := c.Search.Elastic
	if own.Index == "" {
		own.Index = elastic.DefaultIndex
	}
	own.Index += "-eval-" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	other, err := elastic.Open(own, elastic.Options{Logger: log})
	if err != nil {
		return err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, other.Remove(clean), other.Close())
	}()
	if _, err := other.Position(ctx); err != nil { // says at once when there is no server; Apply would wait for it
		return err
	}
	both, err := searchtest.Compare(ctx, set, [2]string{"Bleve", "Elasticsearch"}, [2]search.Index{embedded, other})
	if err != nil {
		return err
	}
	return both.Print(w)
}

// ReindexOptions of Reindex.
type ReindexOptions struct {
	Stream bool // from the stream's beginning, and not from the documents of the old index
	Keep   bool // leave the old index until the next reindex
}

// ErrNoElastic says that there is nothing for a reindex to do.
var ErrNoElastic = errors.New("search.elastic.addresses is not set: the embedded index builds itself again at the start when it must")

// Reindex makes the index in Elasticsearch anew, beside a running program or without one, from this store's log.
func (s *Store) Reindex(ctx context.Context, o ReindexOptions, w io.Writer) error {
	if len(s.Config.Search.Elastic.Addresses) == 0 {
		return ErrNoElastic
	}
	if err := s.OpenStream(ctx, nil); err != nil {
		return err
	}
	x, err := elastic.Open(s.Config.Search.Elastic, elastic.Options{Logger: s.slog})
	if err != nil {
		return err
	}
	if o.Stream {
		whole, err := s.stream().Whole(ctx)
		if err == nil && !whole {
			_, err = fmt.Fprintln(w, "The stream no longer goes back to its beginning: what it has dropped will not be found any more.")
		}
		if err != nil {
			return errors.Join(err, x.Close())
		}
	}
	return errors.Join(reindex(ctx, x, s.stream(), o, w), x.Close())
}

// reindex reads the log that the index is made from. When a shard of the index is gone there is only the log to make it from.
func reindex(ctx context.Context, x *elastic.Index, log Stream, o ReindexOptions, w io.Writer) error {
	told := time.Now()
	lost, err := x.Lost(ctx)
	if err != nil {
		return err
	}
	var until []search.Position
	if lost {
		if !o.Stream {
			return fmt.Errorf("%w: a shard of the index is gone, so there is nothing to copy. When Elasticsearch cannot get it back, neither by itself nor from a snapshot: yingda search reindex --from-stream", ErrArgument)
		}
		ends, err := log.Ends(ctx)
		if err != nil {
			return err
		}
		for _, p := range ends {
			until = append(until, search.Position(p))
		}
	}
	done, err := x.Reindex(ctx, elastic.Reindexing{Stream: o.Stream, Keep: o.Keep, Lost: lost, Until: until,
		Open: func(_ context.Context, after []search.Position) (elastic.Next, func() error, error) {
			from := []stream.Position{{Offset: -1}}
			if len(after) > 0 {
				from = nil
			}
			for _, p := range after {
				from = append(from, stream.Position(p))
			}
			if from = inStream(log, from); len(from) == 0 {
				from = []stream.Position{{Offset: -1}}
			}
			reader, err := log.Open(rebuildGroup, from...)
			if err != nil {
				return nil, nil, err
			}
			next := func(ctx context.Context) ([]intake.Event, []search.Position, error) {
				records, err := reader.Fetch(ctx, 2000)
				if err != nil {
					return nil, nil, err
				}
				events, at := forIndex(records)
				return events, at, nil
			}
			return next, reader.Close, nil
		},
		Progress: func(n int) {
			if time.Since(told) > 5*time.Second {
				told = time.Now()
				_, _ = fmt.Fprintf(w, "%d documents\n", n)
			}
		}})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(w, "%s took the place of %s: %d documents written in %s\n", done.New, done.Old, done.Documents, done.Took.Round(time.Millisecond))
	if err == nil && o.Keep {
		_, err = fmt.Fprintf(w, "%s is kept until the next reindex\n", done.Old)
	}
	return err
}
