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
	maxCached = 4096 // documents kept as they were last written, since a contact's events come close together
	perWrite  = 2000 // documents that are held before they are written, when Apply is given very many events
)

// generation is one index. It is used by one goroutine.
type generation struct {
	x      *Index
	name   string
	extras extras
	cache  map[intake.Subject]known

	documents int // written so far
}

// known is a document as it was last read or written, zero when there is none, and the last event of its subject that was seen. The event
// that comes next must be the one after: if it is not, another node has written in between or it is a late one of an earlier writer, and the
// document is read again.
type known struct {
	doc  search.Document
	seen intake.Sequence
}

func (x *Index) generation(name string) *generation {
	g := &generation{x: x, name: name, cache: map[intake.Subject]known{}}
	if e := x.extras.Load(); e != nil {
		g.extras = *e
	}
	return g
}

// apply folds the records into documents, writes those that changed, and then the positions.
func (g *generation) apply(ctx context.Context, records []stream.Record, at []search.Position) error {
	for len(records) > perWrite {
		if err := g.fold(ctx, records[:perWrite]); err != nil {
			return err
		}
		records = records[perWrite:]
	}
	if err := g.fold(ctx, records); err != nil {
		return err
	}
	return g.keep(ctx, at)
}

// applyEvents does the same with events and says how many documents it wrote.
func (g *generation) applyEvents(ctx context.Context, events []intake.Event, at []search.Position) (int, error) {
	before := g.documents
	records := make([]stream.Record, len(events))
	for i, e := range events {
		records[i] = stream.Record{Event: e}
	}
	err := g.apply(ctx, records, at)
	return g.documents - before, err
}

// fold writes the documents of some records.
func (g *generation) fold(ctx context.Context, records []stream.Record) error {
	if len(g.cache) > maxCached {
		clear(g.cache)
	}
	var missing []intake.Subject
	asked := map[intake.Subject]bool{}
	for _, r := range records {
		id := r.Event.Subject
		if r.Err != nil || !search.Indexed(id) || asked[id] {
			continue
		}
		asked[id] = true
		if k, ok := g.cache[id]; !ok || r.Event.Sequence > k.seen+1 || r.Event.Sequence.Epoch() < k.seen.Epoch() {
			missing = append(missing, id)
		}
	}
	if len(missing) > 0 {
		var found map[intake.Subject]search.Document
		err := g.x.persist(ctx, "read documents", func(ctx context.Context) (err error) {
			found, err = g.x.fetch(ctx, g.name, missing)
			return err
		})
		if err != nil {
			return err
		}
		for _, id := range missing {
			g.cache[id] = known{doc: found[id]}
		}
	}
	changed := map[intake.Subject][]stream.Record{}
	var order []intake.Subject
	for _, r := range records {
		id := r.Event.Subject
		if !asked[id] || r.Err != nil {
			continue
		}
		k := g.cache[id]
		if search.Apply(&k.doc, r.Event) {
			if changed[id] == nil {
				order = append(order, id)
			}
			changed[id] = append(changed[id], r)
		}
		k.seen = max(k.seen, r.Event.Sequence)
		g.cache[id] = k
	}
	return g.write(ctx, order, changed)
}

// write sends the documents and deals with those that were not taken.
func (g *generation) write(ctx context.Context, order []intake.Subject, changed map[intake.Subject][]stream.Record) error {
	if len(order) == 0 {
		return nil
	}
	items := make([]*item, 0, len(order))
	callbacks := false
	s := g.sending(ctx)
	for _, id := range order {
		doc := g.cache[id].doc
		line, err := encode(make([]byte, 0, 2048), g.x.analyzer, g.extras, &doc)
		if err != nil {
			items = append(items, &item{id: string(id), done: true, refused: &cause{"document", "it cannot be written as JSON"}})
			continue
		}
		it := indexItem(string(id), doc.Version(), newer, line)
		items = append(items, it)
		s.add(it)
		callbacks = callbacks || doc.Kind == search.Callback
	}
	err := s.wait()
	g.x.written.Add(1)
	if callbacks {
		g.x.callbacks.Add(1)
	}
	if err != nil {
		return err
	}
	g.documents += len(items)
	for _, it := range items {
		id := intake.Subject(it.id)
		switch {
		case it.refused != nil:
			if err := g.refuse(ctx, id, changed[id], it); err != nil {
				return err
			}
		case it.conflict:
			delete(g.cache, id) // what is there is newer than what we know
		}
	}
	return nil
}

// refuse hands over the events of a document that cannot be written. The document stays as it was before them.
func (g *generation) refuse(ctx context.Context, id intake.Subject, by []stream.Record, it *item) error {
	delete(g.cache, id)
	for _, r := range by {
		l := Letter{Record: r, Status: it.status, Reason: it.refused.Type + ": " + it.refused.Reason, Attempts: it.attempts}
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
