package elastic

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/search"
)

const (
	newline   = '\n'
	maxCached = 4096 // documents that are kept, twice, as they were last written, since a contact's events come close together
	perWrite  = 4000 // documents that are held before they are written, when Apply is given very many events
)

// generation is one index. It is used by one goroutine.
type generation struct {
	x        *Index
	name     string
	building bool // the alias does not stand for it yet
	extras   extras
	cache    cache

	documents int // written so far
	size      int // of a document as it is written, about
}

// known is a document as it was last read or written, zero when there is none, and the last event of its subject that was seen. The event
// that comes next must be the one after: if it is not, another node has written in between or it is a late one of an earlier writer, and the
// document is read again.
type known struct {
	doc  search.Document
	seen intake.Sequence
}

// cache holds what was used last. What was not used while as much again came is forgotten.
type cache struct{ young, old map[intake.Subject]known }

func (c *cache) get(id intake.Subject) (known, bool) {
	k, ok := c.young[id]
	if !ok {
		k, ok = c.old[id]
	}
	return k, ok
}

func (c *cache) put(id intake.Subject, k known) {
	if c.young == nil || len(c.young) >= maxCached {
		c.young, c.old = make(map[intake.Subject]known, maxCached), c.young
	}
	c.young[id] = k
}

func (c *cache) drop(id intake.Subject) {
	delete(c.young, id)
	delete(c.old, id)
}

func (x *Index) generation(name string) *generation {
	g := &generation{x: x, name: name, size: 2048}
	if e := x.extras.Load(); e != nil {
		g.extras = *e
	}
	return g
}

// take folds the records into documents and writes those that changed.
func (g *generation) take(ctx context.Context, records []stream.Record) error {
	for part := range slices.Chunk(records, perWrite) {
		if err := g.fold(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// applyEvents does the same with events, keeps the positions then, and says how many documents it wrote.
func (g *generation) applyEvents(ctx context.Context, events []intake.Event, at []search.Position) (int, error) {
	before := g.documents
	records := make([]stream.Record, len(events))
	for i, e := range events {
		records[i] = stream.Record{Event: e}
	}
	err := g.take(ctx, records)
	if err == nil {
		err = g.keep(ctx, at)
	}
	return g.documents - before, err
}

// fold writes the documents of some records. Of a contact, case or callback that begins here it takes for granted that there is no document yet, which
// saves asking for each; when Elasticsearch has one all the same (a stream that is read again, an event that came late), its version refuses what was
// written, and the records are folded into what is there.
func (g *generation) fold(ctx context.Context, records []stream.Record) error {
	all := make(map[intake.Subject]*folding, len(records))
	order := make([]*folding, 0, len(records))
	for i := range records {
		r := &records[i] // it is large
		id := r.Event.Subject
		if r.Err != nil || !search.Indexed(id) {
			continue
		}
		f := all[id]
		if f == nil {
			f = &folding{id: id}
			all[id], order = f, append(order, f)
		}
		f.records = append(f.records, r)
	}
	var ask []*folding
	for _, f := range order {
		first := f.records[0].Event
		k, ok := g.cache.get(f.id)
		switch {
		case ok && first.Sequence <= k.seen+1 && first.Sequence.Epoch() >= k.seen.Epoch():
			f.known = k
		case ok || !begins(first):
			ask = append(ask, f)
		}
	}
	for {
		if err := g.read(ctx, ask); err != nil {
			return err
		}
		if err := g.write(ctx, order); err != nil {
			return err
		}
		ask = ask[:0]
		for _, f := range order {
			if f.item != nil && f.item.conflict { // what is there is not older than what we knew
				ask = append(ask, f)
			}
		}
		if len(ask) == 0 {
			return nil
		}
		order = slices.Clone(ask)
	}
}

// folding is a document that records say something of.
type folding struct {
	id      intake.Subject
	records []*stream.Record
	known
	changed []*stream.Record // those that did
	item    *item            // how it is written; nil when nothing changed
}

// begins says whether an event is the first of its subject, ever.
func begins(e intake.Event) bool {
	switch e.Data.(type) {
	case *intake.OfferedV1, *intake.CaseOpenedV1, *intake.CallbackBornV1:
		return e.Sequence.Count() == 1
	}
	return false
}

// read asks for documents.
func (g *generation) read(ctx context.Context, ask []*folding) error {
	if len(ask) == 0 {
		return nil
	}
	ids := make([]intake.Subject, len(ask))
	for i, f := range ask {
		ids[i] = f.id
	}
	var found map[intake.Subject]search.Document
	err := g.persist(ctx, "read documents", func(ctx context.Context) (err error) {
		found, err = g.x.fetch(ctx, g.name, ids)
		return err
	})
	for _, f := range ask {
		f.known = known{doc: found[f.id]}
	}
	return err
}

// write folds the records in, sends the documents that change and deals with those that were not taken.
func (g *generation) write(ctx context.Context, list []*folding) error {
	callbacks, sent := false, 0
	s := g.sending(ctx, len(list))
	for _, f := range list {
		f.changed, f.item = nil, nil
		for _, r := range f.records {
			if search.Apply(&f.doc, r.Event) {
				f.changed = append(f.changed, r)
			}
			f.seen = max(f.seen, r.Event.Sequence)
		}
		if f.changed == nil {
			continue
		}
		var err error
		if f.item, err = s.document(&f.doc); err != nil {
			f.item = &item{id: string(f.id), done: true, refused: &cause{"document", "it cannot be written as JSON"}}
			continue
		}
		sent++
		callbacks = callbacks || f.doc.Kind == search.Callback
	}
	err := s.wait()
	if sent > 0 {
		g.x.written.Add(1)
	}
	if callbacks {
		g.x.callbacks.Add(1)
	}
	if err != nil {
		return err
	}
	g.documents += sent
	for _, f := range list {
		switch {
		case f.item != nil && f.item.refused != nil:
			g.cache.drop(f.id)
			if err := g.refuse(ctx, f); err != nil {
				return err
			}
		case f.item != nil && f.item.conflict:
			g.cache.drop(f.id)
		default:
			g.cache.put(f.id, f.known)
		}
	}
	return nil
}

// refuse hands over the events of a document that cannot be written. The document stays as it was before them.
func (g *generation) refuse(ctx context.Context, f *folding) error {
	for _, r := range f.changed {
		l := Letter{Record: *r, Status: f.item.status, Reason: f.item.refused.Type + ": " + f.item.refused.Reason, Attempts: f.item.attempts}
		if err := g.x.letter(ctx, l); err != nil {
			return fmt.Errorf("search index: dead letter %s: %w", r.Event.ID(), err)
		}
	}
	return nil
}

// keep writes positions; one that would go back is refused by Elasticsearch, and that is right.
func (g *generation) keep(ctx context.Context, at []search.Position) error {
	var items []*item
	for _, p := range at {
		if p.Offset < 0 {
			continue // before the first record: nothing to keep
		}
		line := fmt.Sprintf(`{"kind":%q,"subject":"position/%d","doc":{"partition":%d,"offset":%d}}`, kindPosition, p.Partition, p.Partition, p.Offset)
		items = append(items, indexItem("position/"+strconv.Itoa(int(p.Partition)), uint64(p.Offset), notOlder, []byte(line)))
	}
	if err := g.bulk(ctx, items); err != nil {
		return err
	}
	for _, it := range items {
		if it.refused != nil {
			return fmt.Errorf("search index: the position is refused: %s: %s", it.refused.Type, it.refused.Reason)
		}
	}
	return nil
}

// flush makes everything that was written to an index one that is found.
func (x *Index) flush(ctx context.Context, index string) error {
	return x.client.json(ctx, longTime, http.MethodPost, "/"+index+"/_refresh", nil, nil)
}

// position reads the positions of an index.
func (x *Index) position(ctx context.Context, index string) ([]search.Position, error) {
	wait, cancel := context.WithTimeout(ctx, shortTime) // a shard without a node would hold the refresh for a minute
	err := x.flush(wait, index)
	cancel()
	if err != nil {
		return nil, err
	}
	var answer struct {
		Hits struct {
			Hits []struct {
				Source struct {
					Doc struct {
						Partition int32 `json:"partition"`
						Offset    int64 `json:"offset"`
					} `json:"doc"`
				} `json:"_source"`
			} `json:"hits"`
		} `json:"hits"`
	}
	q := obj{"query": termOf(fieldKind, kindPosition), "size": search.MaxOffset}
	if err := x.client.json(ctx, shortTime, http.MethodPost, "/"+index+"/_search?allow_partial_search_results=false", q, &answer); err != nil {
		return nil, err
	}
	var list []search.Position
	for _, h := range answer.Hits.Hits {
		list = append(list, search.Position{Partition: h.Source.Doc.Partition, Offset: h.Source.Doc.Offset})
	}
	slices.SortFunc(list, func(a, b search.Position) int { return int(a.Partition) - int(b.Partition) })
	return list, nil
}
