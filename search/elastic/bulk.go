package elastic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"yingda/intake"
	"yingda/search"
)

// Sizes of one _bulk request, and how many of one Apply may be under way: the server is busy while the next is cut.
const (
	maxItems   = 500
	leastItems = 50 // are not worth two requests
	maxBytes   = 5 << 20
	atOnce     = 2
)

const perPage = 1000 // documents that are read at once

// item of a _bulk request.
type item struct {
	id       string
	lines    []byte // the action and, unless it is a delete, the document, each with its newline
	done     bool
	refused  *cause // what can never be taken
	status   int
	attempts int
	conflict bool // the index has it as new or newer
}

func indexItem(id string, version uint64, kind string, line []byte) *item {
	lines := append(action(make([]byte, 0, len(line)+160), "index", id, version, kind), line...)
	return &item{id: id, lines: append(lines, newline)}
}

func deleteItem(id string, version int64) *item {
	return &item{id: id, lines: action(nil, "delete", id, uint64(version), notOlder)}
}

func action(b []byte, what, id string, version uint64, kind string) []byte {
	b = append(append(append(b, `{"`...), what...), `":{"_id":"`...)
	b = append(appendInside(b, id), `","version":`...)
	b = append(strconv.AppendUint(b, version, 10), `,"version_type":"`...)
	return append(append(append(b, kind...), `"}}`...), newline)
}

// appendDocument writes the action and the document.
func appendDocument(b []byte, a *search.Analyzer, room *search.Scratch, e extras, d *search.Document) ([]byte, error) {
	b, err := encode(action(b, "index", string(d.ID), d.Version(), newer), a, room, e, d)
	return append(b, newline), err
}

// Version types: a document's must be newer; a position that is written again is the same.
const (
	newer      = "external"
	notOlder   = "external_gte"
	bulkFilter = "filter_path=errors,items.*.status,items.*.error.type,items.*.error.reason"
)

// bulk writes the items and comes back when each is done or refused, however long that takes; an error is the end of ctx or ErrMoved.
func (g *generation) bulk(ctx context.Context, items []*item) error {
	s := g.sending(ctx, len(items))
	for _, it := range items {
		s.add(it)
	}
	return s.wait()
}

// request is what is sent at once. The body is made while its documents are, and items say where in it they are.
type request struct {
	items []*item
	body  []byte
}

// sender gathers items into requests and sends them, some at once, while more are made. No two items are of one document, so their order is nothing.
type sender struct {
	g    *generation
	ctx  context.Context // of the one write that this sender lives for
	stop context.CancelCauseFunc
	open request
	more int  // items that are still to come, about
	most int  // items of a request
	hold bool // requests are kept until release
	held []request
	line chan struct{} // has as many places as requests may be under way
	all  sync.WaitGroup
}

func (g *generation) sending(ctx context.Context, items int) *sender {
	ctx, stop := context.WithCancelCause(ctx)
	return &sender{g: g, ctx: ctx, stop: stop, more: items, most: share(items), line: make(chan struct{}, atOnce)}
}

// share is how many items each request has, so that as many as may be under way at once end at about the same time: what comes next waits for the last.
func share(items int) int {
	requests := (items + maxItems - 1) / maxItems
	requests += requests % atOnce
	return max((items+requests-1)/max(requests, 1), leastItems)
}

// add takes an item that is made.
func (s *sender) add(it *item) {
	if len(s.open.items) == s.most || len(s.open.items) > 0 && len(s.open.body)+len(it.lines) > maxBytes {
		s.send()
	}
	s.room(len(it.lines))
	s.open.body = append(s.open.body, it.lines...)
	s.open.items = append(s.open.items, it)
}

// document makes the item of a document.
func (s *sender) document(d *search.Document) (*item, error) {
	if len(s.open.items) == s.most {
		s.send()
	}
	s.room(s.g.size)
	begin := len(s.open.body)
	b, err := appendDocument(s.open.body, s.g.x.analyzer, &s.g.room, s.g.extras, d)
	if err != nil {
		return nil, err // what there is of it lies behind the end of the body
	}
	it := &item{id: string(d.ID), lines: b[begin:len(b):len(b)]}
	s.g.size = max(2048, (7*s.g.size+len(it.lines)+len(it.lines)/4)/8)
	if begin > 0 && len(b) > maxBytes {
		s.send()
		b = append(make([]byte, 0, len(it.lines)), it.lines...)
		it.lines = b
	}
	s.open.body, s.open.items = b, append(s.open.items, it)
	return it, nil
}

// room makes a body for as many items as are to come, of about this size.
func (s *sender) room(size int) {
	if s.open.body == nil {
		n := max(min(s.more, s.most), 1)
		s.open = request{make([]*item, 0, n), make([]byte, 0, min(n*size, maxBytes))}
	}
}

// send sends the open request, or keeps it.
func (s *sender) send() {
	r := s.open
	s.open, s.more = request{}, s.more-len(r.items)
	switch {
	case len(r.items) == 0:
	case s.hold:
		s.held = append(s.held, r)
	default:
		s.all.Go(func() { s.one(r) })
	}
}

// one writes a request when there is a place for it.
func (s *sender) one(r request) {
	select {
	case s.line <- struct{}{}:
	case <-s.ctx.Done():
		return
	}
	if err := s.g.persistent(s.ctx, r); err != nil {
		s.stop(err)
	}
	<-s.line
}

// release sends what was kept.
func (s *sender) release() {
	s.hold = false
	for _, r := range s.held {
		s.all.Go(func() { s.one(r) })
	}
	s.held = nil
}

// drop throws away what was kept.
func (s *sender) drop() { s.held = nil; s.stop(nil) }

// wait sends what is left and comes back when everything has been taken.
func (s *sender) wait() error {
	s.send()
	s.all.Wait()
	err := context.Cause(s.ctx)
	s.stop(nil)
	return err
}

// persistent writes a request, again and again those items that were not taken.
func (g *generation) persistent(ctx context.Context, r request) error {
	return g.persist(ctx, "write", func(ctx context.Context) error {
		for _, it := range r.items {
			if it.done {
				r = left(r.items)
				break
			}
		}
		return g.send(ctx, r)
	})
}

// persist is Index.persist for what is done to this generation. When it does not succeed, it looks whether another one has taken its place meanwhile: one that has lost a shard
// is there all the same and says nothing of it.
func (g *generation) persist(ctx context.Context, what string, f func(ctx context.Context) error) error {
	return g.x.persist(ctx, what, func(ctx context.Context) error {
		err := f(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		if l := g.x.leave.Load(); l != nil && *l == g.name {
			return ErrMoved
		}
		if !g.building {
			if name, lookup := g.x.resolve(ctx); lookup == nil && name != g.name {
				return ErrMoved
			}
		}
		return err
	})
}

// left is a request of those items that are not done.
func left(items []*item) request {
	var r request
	for _, it := range items {
		if !it.done {
			r.items, r.body = append(r.items, it), append(r.body, it.lines...)
		}
	}
	return r
}

// errAgain wraps what may pass by itself.
var errAgain = errors.New("not taken")

func (g *generation) send(ctx context.Context, r request) error {
	open := r.items
	if len(open) == 0 {
		return nil
	}
	for _, it := range open {
		it.attempts++
	}
	var answer struct {
		Items []map[string]struct {
			Status int    `json:"status"`
			Error  *cause `json:"error"`
		} `json:"items"`
	}
	err := g.x.client.do(ctx, longTime, http.MethodPost, "/"+g.name+"/_bulk?timeout=20s&"+bulkFilter, "application/x-ndjson", r.body, &answer)
	switch s := status(err); {
	case s == http.StatusBadRequest || s == http.StatusRequestEntityTooLarge:
		// Something in it makes all of it unreadable, or it is too much at once: halves, until the one item stands alone.
		if len(open) > 1 {
			return errors.Join(g.send(ctx, left(open[:len(open)/2])), g.send(ctx, left(open[len(open)/2:])))
		}
		var e *Error
		errors.As(err, &e)
		open[0].done, open[0].status, open[0].refused = true, s, &cause{e.Type, e.Reason}
		return nil
	case err != nil:
		return err
	case len(answer.Items) != len(open):
		return fmt.Errorf("search index: _bulk of %d items has %d answers", len(open), len(answer.Items))
	}
	var again error
	for i, it := range open {
		for _, a := range answer.Items[i] {
			e := cause{}
			if a.Error != nil {
				e = *a.Error
			}
			switch {
			case a.Status/100 == 2, a.Status == http.StatusNotFound && a.Error == nil: // deleted already
				it.done = true
			case a.Status == http.StatusConflict:
				it.done, it.conflict = true, true
			case e.Type == "strict_dynamic_mapping_exception":
				again = fmt.Errorf("%w: the mapping of %s lacks a field (%s); it must be built again", errAgain, g.name, e.clean())
			case a.Status == http.StatusBadRequest:
				it.done, it.status, it.refused = true, a.Status, &cause{e.Type, e.clean()}
			case e.Type == "index_not_found_exception":
				return &Error{a.Status, e.Type, e.clean()}
			default:
				again = fmt.Errorf("%w: %w", errAgain, &Error{a.Status, e.Type, e.clean()})
			}
		}
	}
	return again
}

// trouble is that something is not taken.
type trouble struct {
	since time.Time
	err   error
}

// persist does f until it succeeds or cannot any more: the context ended, or the index is another one. In between it waits, each time
// longer, and somewhere in the second half of that time, so that nodes that lost the server together do not come back together.
func (x *Index) persist(ctx context.Context, what string, f func(ctx context.Context) error) error {
	pause := x.pause
	for tries := 1; ; tries++ {
		err := f(ctx)
		if err == nil {
			if t := x.trouble.Swap(nil); t != nil {
				x.log.Info("Elasticsearch takes what we write again", "index", x.alias, "was_away_since", t.since)
			}
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if x.closed.Load() {
			return search.ErrClosed
		}
		if errors.Is(err, ErrMoved) || gone(err) {
			return ErrMoved
		}
		t := &trouble{time.Now(), err}
		if before := x.trouble.Load(); before != nil {
			t.since = before.since
		} else {
			x.log.Error("Elasticsearch does not take what we write; nothing is lost, it is tried again", "doing", what, "index", x.alias, "err", err)
		}
		x.trouble.Store(t)
		wait := time.NewTimer(pause/2 + rand.N(pause/2+1))
		select {
		case <-ctx.Done():
			wait.Stop()
			return ctx.Err()
		case <-x.done:
			wait.Stop()
			return search.ErrClosed
		case <-wait.C:
		}
		pause = min(2*pause, 100*x.pause)
	}
}

// gone says that the index is not there: another one took its place, or somebody removed it. One that is closed is waited for.
func gone(err error) bool { return kindOf(err) == "index_not_found_exception" }

// fetch reads documents as they were last written, whether or not they can be searched yet.
func (x *Index) fetch(ctx context.Context, index string, ids []intake.Subject) (map[intake.Subject]search.Document, error) {
	found := make(map[intake.Subject]search.Document, len(ids))
	for len(ids) > 0 {
		n := min(len(ids), perPage)
		var answer struct {
			Docs []struct {
				Found  bool   `json:"found"`
				Error  *cause `json:"error"`
				Source struct {
					Doc rawDocument `json:"doc"`
				} `json:"_source"`
			} `json:"docs"`
		}
		err := x.client.json(ctx, shortTime, http.MethodPost, "/"+index+"/_mget?_source_includes=doc&filter_path=docs.found,docs.error.type,docs.error.reason,docs._source.doc", obj{"ids": ids[:n]}, &answer)
		if err != nil {
			return nil, err
		}
		if len(answer.Docs) != n {
			return nil, fmt.Errorf("search index: _mget of %d documents has %d answers", n, len(answer.Docs))
		}
		for i, d := range answer.Docs {
			switch {
			case d.Error != nil:
				return nil, &Error{http.StatusServiceUnavailable, d.Error.Type, d.Error.clean()}
			case d.Found:
				doc, err := search.Load(d.Source.Doc)
				if err != nil {
					return nil, fmt.Errorf("%w: %s: %w", search.ErrBroken, ids[i], err)
				}
				found[ids[i]] = doc
			}
		}
		ids = ids[n:]
	}
	return found, nil
}

// rawDocument is the JSON of a document as it is kept.
type rawDocument []byte

// UnmarshalJSON keeps it.
func (r *rawDocument) UnmarshalJSON(b []byte) error {
	*r = append((*r)[:0], b...)
	return nil
}

// Bulk gives the body of a _bulk request with these documents, as Apply would send it, for measurements.
func (x *Index) Bulk(docs []search.Document) ([]byte, error) {
	e := extras{}
	if have := x.extras.Load(); have != nil {
		e = *have
	}
	body := make([]byte, 0, 3072*len(docs))
	var room search.Scratch
	for i := range docs {
		var err error
		if body, err = appendDocument(body, x.analyzer, &room, e, &docs[i]); err != nil {
			return nil, err
		}
	}
	return body, nil
}
