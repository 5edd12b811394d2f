package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"yingda/intake"
	"yingda/search"
)

// Next gives a reindex the next events of the stream, with the positions after them. It waits for more at the stream's end.
type Next = func(ctx context.Context) (events []intake.Event, at []search.Position, err error)

// Reindexing says how an index is made anew.
type Reindexing struct {
	// Open reads the stream after the given positions; without any, from its beginning. done is called when no more is wanted.
	Open func(ctx context.Context, after []search.Position) (next Next, done func() error, err error)
	// Stream fills the new index from the stream's beginning, and not from the documents of the old one. It needs a stream that goes back
	// to its beginning, and repairs what was lost in the index.
	Stream bool
	// Lost says that a shard of the old index is gone (Index.Lost), so that it can neither be asked what it has nor be written to: the new one takes its place as
	// soon as it has the positions in Until. It needs Stream. What this process was writing to the old one ends with ErrMoved.
	Lost  bool
	Until []search.Position
	// Keep leaves the old index, out of use, until the next reindex.
	Keep bool
	// Progress is told now and then how many documents were written; may be nil.
	Progress func(documents int)
}

// Reindexed is what a reindex has done.
type Reindexed struct {
	Old, New  string
	Documents int // documents written, some more than once
	Took      time.Duration
}

// ErrBusy is returned by Reindex when another one is under way.
var ErrBusy = errors.New("search index: it is being built again already")

const (
	leaseEvery = 10 * time.Second
	leaseFor   = 5 * time.Minute // without a sign of life from a reindex, what it was building is swept
)

// Rebuild makes the index anew from the stream, as Reindex with Stream does.
func (x *Index) Rebuild(ctx context.Context, next Next) error {
	_, err := x.Reindex(ctx, Reindexing{Stream: true, Open: func(context.Context, []search.Position) (Next, func() error, error) {
		return next, func() error { return nil }, nil
	}})
	return err
}

// Reindex makes the index anew with this program's mapping and analysis while people search the old one and events go into it, and puts the
// new one in its place when it has everything. If ctx ends or something fails, everything stays as it was.
func (x *Index) Reindex(ctx context.Context, r Reindexing) (Reindexed, error) {
	begun := time.Now()
	if x.closed.Load() {
		return Reindexed{}, search.ErrClosed
	}
	old, err := x.prepare(ctx)
	if err != nil {
		return Reindexed{}, err
	}
	if r.Lost && !r.Stream {
		return Reindexed{}, errors.New("search index: what is lost cannot be copied; it is built again from the stream")
	}
	b := &build{x: x, old: old, lost: r.Lost, until: r.Until, progress: r.Progress}
	if err := b.begin(ctx); err != nil {
		return Reindexed{}, err
	}
	if err := b.run(ctx, r); err != nil {
		if b.swapped { // it is in use, and whoever reads the stream brings what may be missing
			return Reindexed{}, fmt.Errorf("search index: %s is in use, but following the stream ended early: %w", b.fresh.name, err)
		}
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), longTime)
		defer cancel()
		return Reindexed{}, errors.Join(err, b.remove(clean, b.fresh.name))
	}
	if !r.Keep {
		if err := b.remove(ctx, old); err != nil {
			x.log.Warn("the old search index cannot be removed", "index", old, "err", err)
		}
	}
	return Reindexed{old, b.fresh.name, b.written, time.Since(begun)}, nil
}

// build is one reindex.
type build struct {
	x        *Index
	old      string
	lost     bool              // the old one can be neither read nor written
	until    []search.Position // what the new one must have then
	fresh    *generation
	swapped  bool
	written  int
	lease    time.Time // last sign of life
	progress func(int)
}

// begin makes the new generation, gives way to a reindex that began before, and sweeps what was left by those that ended early.
func (b *build) begin(ctx context.Context) error {
	name := b.x.alias + ".g" + strings.ReplaceAll(time.Now().UTC().Format("20060102150405.000000"), ".", "")
	// Nobody searches it yet: it is refreshed when it is complete.
	if err := b.x.client.json(ctx, longTime, http.MethodPut, "/"+name, obj{"settings": obj{"index": obj{"refresh_interval": "-1"}}}, nil); err != nil {
		return fmt.Errorf("search index: make %s: %w", name, err)
	}
	b.fresh = b.x.generation(name)
	b.fresh.building = true
	err := b.sign(ctx)
	if err == nil {
		err = b.sweep(ctx)
	}
	if err != nil {
		return errors.Join(err, b.remove(context.WithoutCancel(ctx), name))
	}
	return nil
}

// sign leaves a sign of life in what is being built.
func (b *build) sign(ctx context.Context) error {
	now := time.Now()
	if now.Sub(b.lease) < leaseEvery {
		return nil
	}
	line := fmt.Sprintf(`{"kind":%q,"subject":%q,"doc":{"at":%d}}`, kindLease, kindLease, now.UnixMilli())
	if err := b.fresh.bulk(ctx, []*item{indexItem(kindLease, uint64(now.UnixMilli()), notOlder, []byte(line))}); err != nil {
		return err
	}
	b.lease = now
	return nil
}

// sweep removes generations that are not in use and not being built.
func (b *build) sweep(ctx context.Context) error {
	var all map[string]struct {
		Aliases map[string]any `json:"aliases"`
	}
	if err := b.x.client.json(ctx, shortTime, http.MethodGet, "/"+b.x.alias+".g*/_alias", nil, &all); err != nil {
		return err
	}
	for name, i := range all {
		if name == b.fresh.name || name == b.old || len(i.Aliases) > 0 {
			continue
		}
		alive, err := b.alive(ctx, name)
		if err != nil {
			return err
		}
		switch {
		case alive && name < b.fresh.name: // it began before us; of two that begin together, one sees the other
			return ErrBusy
		case !alive:
			if err := b.remove(ctx, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// alive says whether a generation shows a sign of life, or is so new that it may not have had the time.
func (b *build) alive(ctx context.Context, name string) (bool, error) {
	var settings map[string]struct {
		Settings struct {
			Index struct {
				Created string `json:"creation_date"`
			} `json:"index"`
		} `json:"settings"`
	}
	err := b.x.client.json(ctx, shortTime, http.MethodGet, "/"+name+"/_settings", nil, &settings)
	if gone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var lease struct {
		Found  bool `json:"found"`
		Source struct {
			Doc struct {
				At int64 `json:"at"`
			} `json:"doc"`
		} `json:"_source"`
	}
	err = b.x.client.json(ctx, shortTime, http.MethodGet, "/"+name+"/_doc/"+kindLease, nil, &lease)
	if err != nil && status(err) != http.StatusNotFound && kindOf(err) != "no_shard_available_action_exception" { // nobody builds what has lost its shard
		return false, err
	}
	if lease.Found {
		return time.Since(time.UnixMilli(lease.Source.Doc.At)) < leaseFor, nil
	}
	created, _ := strconv.ParseInt(settings[name].Settings.Index.Created, 10, 64)
	return time.Since(time.UnixMilli(created)) < leaseEvery, nil
}

func (b *build) remove(ctx context.Context, name string) error {
	err := b.x.client.json(ctx, longTime, http.MethodDelete, "/"+name, nil, nil)
	if gone(err) {
		return nil
	}
	return err
}

func (b *build) run(ctx context.Context, r Reindexing) error {
	var from []search.Position
	if !r.Stream {
		var err error
		if from, err = b.copy(ctx); err != nil {
			return err
		}
	}
	next, done, err := r.Open(ctx, from)
	if err != nil {
		return fmt.Errorf("search index: read the stream again: %w", err)
	}
	defer func() {
		if err := done(); err != nil {
			b.x.log.Warn("the reader of the stream did not close cleanly", "err", err)
		}
	}()
	for {
		if b.swapped, err = b.swap(ctx); b.swapped || err != nil {
			break
		}
		if err = b.follow(ctx, next); err != nil {
			break
		}
	}
	// Another process may have written to the old one between the last look at its position and the exchange: it heard "still the old
	// one" before, so what it wrote is in the position that is read now.
	for err == nil {
		var behind bool
		if behind, err = b.behind(ctx); err != nil || !behind {
			break
		}
		err = b.follow(ctx, next)
	}
	return err
}

// copy writes the documents of the old generation, cut anew, and gives the position that they have at least.
func (b *build) copy(ctx context.Context) ([]search.Position, error) {
	at, err := b.x.position(ctx, b.old) // refreshes: every document of this position is found below
	if err != nil {
		return nil, err
	}
	err = b.x.walk(ctx, b.old, everything(), func(hits []hit) error {
		items := make([]*item, 0, len(hits))
		for _, h := range hits {
			doc, err := search.Load(h.Source.Doc)
			if err != nil {
				return fmt.Errorf("%w: %s: %w", search.ErrBroken, h.ID, err)
			}
			lines, err := appendDocument(make([]byte, 0, 2048), b.x.analyzer, &b.fresh.room, b.fresh.extras, &doc)
			if err != nil {
				return err
			}
			items = append(items, &item{id: string(doc.ID), lines: lines})
		}
		if err := b.fresh.bulk(ctx, items); err != nil {
			return err
		}
		for _, it := range items {
			if it.refused != nil {
				return fmt.Errorf("search index: %s cannot be written: %s: %s", it.id, it.refused.Type, it.refused.Reason)
			}
		}
		b.count(len(items))
		return b.sign(ctx)
	})
	if err != nil {
		return nil, err
	}
	return at, b.fresh.keep(ctx, at)
}

func (b *build) count(n int) {
	b.written += n
	if b.progress != nil {
		b.progress(b.written)
	}
}

// follow takes in the next events of the stream.
func (b *build) follow(ctx context.Context, next Next) error {
	events, at, err := next(ctx)
	if err != nil {
		return fmt.Errorf("search index: read the stream again: %w", err)
	}
	n, err := b.fresh.applyEvents(ctx, events, at)
	if err != nil {
		return err
	}
	b.count(n)
	return b.sign(ctx)
}

// behind says whether the old generation has something that the new one has not.
func (b *build) behind(ctx context.Context) (bool, error) {
	have, err := b.x.position(ctx, b.fresh.name)
	if err != nil {
		return false, err
	}
	need := b.until
	if !b.lost {
		need, err = b.x.position(ctx, b.old)
		if gone(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
	for _, p := range need {
		if p.Offset >= 0 && !slices.ContainsFunc(have, func(h search.Position) bool { return h.Partition == p.Partition && h.Offset >= p.Offset }) {
			return true, nil
		}
	}
	return false, nil
}

// swap moves the alias if the new generation has everything that the old one has.
func (b *build) swap(ctx context.Context) (bool, error) {
	if behind, err := b.behind(ctx); behind || err != nil { // a look without keeping Apply waiting
		return false, err
	}
	x := b.x
	if b.lost { // an Apply of ours tries for ever to write to it
		x.leave.Store(&b.old)
		defer x.leave.Store(nil)
	}
	x.writer.Lock() // no Apply of ours between the comparison and the exchange
	defer x.writer.Unlock()
	if x.closed.Load() {
		return false, search.ErrClosed
	}
	if behind, err := b.behind(ctx); behind || err != nil {
		return false, err
	}
	if err := x.client.json(ctx, longTime, http.MethodPut, "/"+b.fresh.name+"/_settings", obj{"index": obj{"refresh_interval": "1s"}}, nil); err != nil {
		return false, err
	}
	actions := []any{
		obj{"remove": obj{"index": b.old, "alias": x.alias, "must_exist": true}}, // or another reindex was faster
		obj{"add": obj{"index": b.fresh.name, "alias": x.alias}},
	}
	if err := x.client.json(ctx, longTime, http.MethodPost, "/_aliases", obj{"actions": actions}, nil); err != nil {
		return false, fmt.Errorf("search index: move the alias: %w", err)
	}
	x.gen = x.generation(b.fresh.name) // of its own: following the stream may go on with ours
	x.written.Add(1)
	x.callbacks.Add(1)
	return true, nil
}
