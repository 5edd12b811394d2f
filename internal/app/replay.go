package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	door "yingda/channels/app"
	"yingda/channels/webchat"
	"yingda/intake/books"
	"yingda/intake/stream"
	"yingda/internal/store"
	"yingda/routing/casebook"
	"yingda/search"
	"yingda/search/bleve"
	"yingda/search/elastic"
)

// ReplayOptions say what is read again.
type ReplayOptions struct {
	Consumer string    // books, search, cases, chat, app
	From     time.Time // what the stream took since then; zero: from its beginning
	Empty    bool      // take away first what the consumer has from the stream
}

// projection is a consumer with tables.
type projection struct {
	group  string
	empty  func(ctx context.Context, tx *store.Tx) error
	refuse string // why it cannot be emptied
	alone  bool   // it is emptied only while no program serves
}

var projections = map[string]projection{
	"books": {group: books.Group, empty: books.Empty},
	"cases": {group: casebook.Group, refuse: "cases live in the tables and not in the stream: what the office has written down in them would be lost. Without --empty, callbacks that want a visit and accepted submissions get the case that they lack"},
	"chat":  {group: webchat.Group, empty: webchat.Empty, alone: true},
	"app":   {group: door.Group, empty: door.Empty},
}

// ErrReplay says that a replay was not begun, and why.
var ErrReplay = errors.New("nothing was changed")

// Replay lets a consumer read the stream again: its effects come back where they are missing and stay as they are where they are not, and nothing leaves the
// house a second time. It works beside a running program, which notices, and without one; then the next start reads on. When a program serves from the
// folder it waits until that has read what it had before.
func (s *Store) Replay(ctx context.Context, o ReplayOptions, w io.Writer) error {
	if err := s.OpenStream(ctx, nil); err != nil {
		return err
	}
	if o.Empty {
		if err := s.mayEmpty(ctx, o); err != nil {
			return err
		}
	}
	if o.Consumer == "search" {
		return s.replaySearch(ctx, o, w)
	}
	p, ok := projections[o.Consumer]
	if !ok {
		return fmt.Errorf("%w: there is no consumer %q; there are books, search, cases, chat and app", ErrArgument, o.Consumer)
	}
	n, err := s.moveBack(ctx, p, o)
	if err != nil {
		return err
	}
	if n == 0 {
		_, err := fmt.Fprintf(w, "%s has read nothing since then: there is nothing to read again\n", o.Consumer)
		return err
	}
	if !Served(s.Config.Data) {
		_, err := fmt.Fprintf(w, "%s: up to %d events are read again when a yingda next reads the stream\n", o.Consumer, n)
		return err
	}
	if _, err := fmt.Fprintf(w, "%s: up to %d events are read again now; calls go on (Ctrl-C leaves it going)\n", o.Consumer, n); err != nil {
		return err
	}
	return s.awaitReplay(ctx, p.group, o.Consumer, w)
}

// mayEmpty says whether what a consumer has can be made anew from the stream.
func (s *Store) mayEmpty(ctx context.Context, o ReplayOptions) error {
	p := projections[o.Consumer]
	switch {
	case p.refuse != "":
		return fmt.Errorf("%w: %s", ErrReplay, p.refuse)
	case !o.From.IsZero():
		return fmt.Errorf("%w: what is emptied is read from the beginning: --empty goes with --from beginning", ErrReplay)
	case p.alone && Served(s.Config.Data):
		return fmt.Errorf("%w: whoever came back to a conversation while it is read again would not be found: stop the program first, then run this, then start it", ErrReplay)
	}
	if p.alone && s.shared() {
		nodes, err := s.DB.Nodes(ctx)
		if err != nil {
			return err
		}
		for _, n := range nodes {
			if n.Ago < time.Minute {
				return fmt.Errorf("%w: whoever came back to a conversation while it is read again would not be found: %s still runs; stop every machine a minute before", ErrReplay, n.Name)
			}
		}
	}
	whole, err := s.stream().Whole(ctx)
	if err == nil && !whole {
		err = fmt.Errorf("%w: the stream has dropped its oldest events, and what is known of them would be lost. Without --empty what is there stays", ErrReplay)
	}
	return err
}

// moveBack moves the positions of a consumer, and empties what it has when that is asked for.
func (s *Store) moveBack(ctx context.Context, p projection, o ReplayOptions) (int64, error) {
	to, err := s.stream().Since(ctx, o.From)
	if err != nil {
		return 0, err
	}
	ends, err := s.stream().Ends(ctx)
	if err != nil {
		return 0, err
	}
	known := map[int32]bool{}
	for _, e := range ends {
		known[e.Partition] = true
	}
	// Of Kafka only: what stands for partition 0 is the log of a machine, to which an office may go back.
	gone := func(partition int32) bool { return s.kafka != nil && partition >= kafkaFirst && !known[partition] }
	empty := p.empty
	if !o.Empty {
		empty = nil
	}
	return replay(ctx, s.DB, p.group, to, ends, gone, empty)
}

// awaitReplay waits until what a consumer had before is read again.
func (s *Store) awaitReplay(ctx context.Context, group, name string, w io.Writer) error {
	began, told := time.Now(), time.Now()
	for {
		going, err := s.DB.Replaying(ctx)
		if err != nil {
			return err
		}
		if !going[group] {
			_, err := fmt.Fprintf(w, "%s: done in %s\n", name, time.Since(began).Round(time.Millisecond))
			return err
		}
		if time.Since(told) > 5*time.Second {
			told = time.Now()
			if _, err := fmt.Fprintf(w, "%s: still reading\n", name); err != nil {
				return err
			}
		}
		if !sleepFor(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// replaySearch reads the stream into the index again; one that the program that serves has open, it is asked to do.
func (s *Store) replaySearch(ctx context.Context, o ReplayOptions, w io.Writer) error {
	if len(s.Config.Search.Elastic.Addresses) > 0 {
		if o.Empty {
			return s.Reindex(ctx, ReindexOptions{Stream: true}, w)
		}
		x, err := elastic.Open(s.Config.Search.Elastic, elastic.Options{Logger: s.slog})
		if err != nil {
			return err
		}
		return errors.Join(s.reread(ctx, x, o, w), x.Close())
	}
	if Served(s.Config.Data) {
		var said string
		err := askServed(ctx, s.Config, http.MethodPost, "/replay/search", map[string]string{"from": formatTime(o.From), "empty": strconv.FormatBool(o.Empty)}, &said)
		if err == nil {
			_, err = io.WriteString(w, said)
		}
		return err
	}
	x, err := bleve.Open(filepath.Join(s.Config.Data, "index"), bleve.Config{Logger: s.slog})
	if err != nil {
		return err
	}
	return errors.Join(s.reread(ctx, x, o, w), x.Close())
}

// reread brings into an index what the stream holds now; its consumer, if one runs, goes on beside it.
func (s *Store) reread(ctx context.Context, x search.Index, o ReplayOptions, w io.Writer) error {
	began := time.Now()
	if b, ok := x.(*bleve.Index); ok && o.Empty {
		if err := s.rebuild(ctx, b); err != nil {
			return err
		}
		_, err := fmt.Fprintf(w, "search: the index was built again in %s\n", time.Since(began).Round(time.Millisecond))
		return err
	}
	n := 0
	err := readSince(ctx, s.stream(), "search-replay", o.From, func(records []stream.Record) error {
		events, _ := forIndex(records)
		n += len(events)
		return x.Apply(ctx, events)
	})
	if err == nil {
		_, err = fmt.Fprintf(w, "search: %d events were read again in %s\n", n, time.Since(began).Round(time.Millisecond))
	}
	return err
}

func formatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.Format(time.RFC3339Nano)
}
