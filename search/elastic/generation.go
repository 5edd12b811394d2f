package elastic

import (
	"cmp"
	"context"
	"fmt"
	"maps"
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
	perWrite  = 2000 // events whose documents are written at once, while those of the next are made
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
	room      search.Scratch
	places    map[intake.Subject]*folding // of gather
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
		if c.young, c.old = c.old, c.young; c.young == nil {
			c.young = make(map[intake.Subject]known, maxCached)
		}
		clear(c.young)
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

// take folds the records into documents and writes those that changed. While some are written the next are made, on the assumption that these are taken as they are; when it
// turns out that they were not, those next are made again.
func (g *generation) take(ctx context.Context, records []stream.Record) (err error) {
	var under *part // that is being written
	defer func() {
		if under != nil {
			_ = under.wait()
		}
	}()
	settle := func() (bool, error) {
		p := under
		under = nil
		return g.settle(ctx, p)
	}
	for some := range slices.Chunk(records, g.x.some) {
		p := g.gather(some)
		for made := false; !made; {
			ask := g.recall(p)
			if len(ask) > 0 && under != nil { // it may be what is being written
				if _, err := settle(); err != nil {
					return err
				}
				continue
			}
			if err := g.read(ctx, ask); err != nil {
				return err
			}
			g.make(ctx, p, under == nil)
			if made = true; under == nil {
				continue
			}
			otherwise, err := settle()
			if err != nil || otherwise {
				p.drop()
				g.forget(p)
				made = false
			}
			if err != nil {
				return err
			}
		}
		p.release()
		under = p
	}
	if under != nil {
		_, err = settle()
	}
	return err
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

// part is what is folded and written at once.
type part struct {
	list []*folding
	*sender
	callbacks bool
	sent      int
}

// gather gives the records of each document, in the order of the documents' first.
func (g *generation) gather(records []stream.Record) *part {
	if g.places == nil {
		g.places = map[intake.Subject]*folding{}
	}
	p := &part{list: make([]*folding, 0, len(records))}
	for i := range records {
		r := &records[i] // it is large
		id := r.Event.Subject
		if r.Err != nil || !search.Indexed(id) {
			continue
		}
		f := g.places[id]
		if f == nil {
			f = &folding{id: id}
			g.places[id], p.list = f, append(p.list, f)
		}
		f.records = append(f.records, r)
	}
	clear(g.places)
	return p
}

// recall says how the documents were when they were last read or written, and which of them nobody here knows. Of a contact, case or callback that begins here it takes for
// granted that there is no document yet, which saves asking for each; when Elasticsearch has one all the same (a stream that is read again, an event that came late), its
// version refuses what was written, and the records are folded into what is there.
func (g *generation) recall(p *part) (ask []*folding) {
	for _, f := range p.list {
		f.known = known{}
		first := &f.records[0].Event
		k, ok := g.cache.get(f.id)
		switch {
		case ok && first.Sequence <= k.seen+1 && first.Sequence.Epoch() >= k.seen.Epoch():
			f.known = k
		case ok || !begins(first):
			ask = append(ask, f)
		}
	}
	return ask
}

// forget makes what was assumed of these documents unknown.
func (g *generation) forget(p *part) {
	for _, f := range p.list {
		g.cache.drop(f.id)
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
func begins(e *intake.Event) bool {
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
	if err == nil && g.x.earlier != nil {
		err = g.bringBack(ctx, ask)
	}
	return err
}

// bringBack makes those documents that are not in the index and do not begin here what they were before the records.
func (g *generation) bringBack(ctx context.Context, ask []*folding) error {
	lost := map[intake.Subject]*folding{}
	for _, f := range ask {
		if f.doc.ID == "" && !begins(&f.records[0].Event) {
			lost[f.id] = f
		}
	}
	if len(lost) == 0 {
		return nil
	}
	events, err := g.x.earlier(ctx, slices.Collect(maps.Keys(lost))...)
	if err != nil {
		return fmt.Errorf("search index: what was said of %d subjects before: %w", len(lost), err)
	}
	slices.SortFunc(events, func(a, b intake.Event) int { return cmp.Compare(a.Sequence, b.Sequence) })
	for _, e := range events {
		f := lost[e.Subject]
		if f != nil && !slices.ContainsFunc(f.records, func(r *stream.Record) bool { return r.Event.Sequence == e.Sequence }) { // they are yet to change it
			search.Apply(&f.doc, e)
		}
	}
	return nil
}

// make folds the records in and makes the requests of the documents that change; they are sent as they are made, or by release.
func (g *generation) make(ctx context.Context, p *part, send bool) {
	p.sender = g.sending(ctx, len(p.list))
	p.hold, p.callbacks, p.sent = !send, false, 0
	for _, f := range p.list {
		f.changed, f.item = nil, nil
		for _, r := range f.records {
			if search.Apply(&f.doc, r.Event) {
				f.changed = append(f.changed, r)
			}
			f.seen = max(f.seen, r.Event.Sequence)
		}
		g.cache.put(f.id, f.known)
		if f.changed == nil {
			continue
		}
		var err error
		if f.item, err = p.document(&f.doc); err != nil {
			f.item = &item{id: string(f.id), done: true, refused: &cause{"document", "it cannot be written as JSON"}}
			continue
		}
		p.sent++
		p.callbacks = p.callbacks || f.doc.Kind == search.Callback
	}
	p.send()
}

// settle waits until the documents are written and deals with those that were not taken. It says whether there were any, so that they are not what make had said of them.
func (g *generation) settle(ctx context.Context, p *part) (otherwise bool, err error) {
	for {
		err := p.wait()
		if p.sent > 0 {
			g.x.written.Add(1)
		}
		if p.callbacks {
			g.x.callbacks.Add(1)
		}
		if err != nil {
			return true, err
		}
		g.documents += p.sent
		again := &part{}
		for _, f := range p.list {
			switch {
			case f.item != nil && f.item.refused != nil:
				otherwise = true
				g.cache.drop(f.id)
				if err := g.refuse(ctx, f); err != nil {
					return true, err
				}
			case f.item != nil && f.item.conflict: // what is there is not older than what we knew
				g.cache.drop(f.id)
				again.list = append(again.list, f)
			}
		}
		if len(again.list) == 0 {
			return otherwise, nil
		}
		otherwise = true
		if err := g.read(ctx, again.list); err != nil {
			return true, err
		}
		p = again
		g.make(ctx, p, true)
	}
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
