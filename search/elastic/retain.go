package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"yingda/search"
)

// Retain deletes documents of matters that have ended and were last changed before the given time, and says how many. What is
// open stays however old it is, and so does what changes while this runs. It is to be called by one node, every day or so.
func (x *Index) Retain(ctx context.Context, before time.Time) (int, error) {
	return x.drop(ctx, obj{"range": obj{fieldUpdated: obj{"lt": before.UnixMilli()}}})
}

// Forget deletes documents of matters that came and ended between two times, because what names a person in the events of that time was destroyed in the
// stream. Those that reach beyond it, or are still open, may hold words of that time beside others: they stay, and mixed says how many there are; what they say is
// right again after a Reindex from the stream.
func (x *Index) Forget(ctx context.Context, from, to time.Time) (deleted, mixed int, err error) {
	within := []any{obj{"range": obj{fieldArrived: obj{"gte": from.UnixMilli()}}}, obj{"range": obj{fieldUpdated: obj{"lt": to.UnixMilli()}}}}
	if deleted, err = x.drop(ctx, within...); err != nil {
		return deleted, 0, err
	}
	if err := x.flush(ctx, x.alias); err != nil {
		return deleted, 0, err
	}
	var answer struct {
		Count int `json:"count"`
	}
	q := obj{"query": obj{"bool": obj{"filter": []any{everything(), obj{"range": obj{fieldArrived: obj{"lt": to.UnixMilli()}}}, obj{"range": obj{fieldUpdated: obj{"gte": from.UnixMilli()}}}}}}}
	err = x.client.json(ctx, shortTime, http.MethodPost, "/"+x.alias+"/_count", q, &answer)
	return deleted, answer.Count, err
}

func everything() obj {
	return oneOf(fieldKind, []search.Kind{search.Contact, search.Case, search.Callback})
}

// drop deletes documents of ended matters that pass the filters.
func (x *Index) drop(ctx context.Context, filters ...any) (int, error) {
	if x.closed.Load() {
		return 0, search.ErrClosed
	}
	name, err := x.prepare(ctx)
	if err != nil {
		return 0, err
	}
	if err := x.flush(ctx, name); err != nil {
		return 0, err
	}
	g, gone := x.generation(name), 0
	old := obj{"bool": obj{"filter": append([]any{everything(), termOf(fieldOpen, yes(false))}, filters...)}}
	err = x.walk(ctx, name, old, func(hits []hit) error {
		items := make([]*item, len(hits))
		for i, h := range hits {
			items[i] = deleteItem(h.ID, h.Version)
		}
		if err := g.bulk(ctx, items); err != nil {
			return err
		}
		x.written.Add(1)
		x.callbacks.Add(1)
		for _, it := range items {
			if it.refused != nil {
				return fmt.Errorf("search index: delete: %s: %s", it.refused.Type, it.refused.Reason)
			}
			if !it.conflict {
				gone++
			}
		}
		return nil
	})
	x.fold.Lock()
	if x.gen != nil {
		x.gen.cache = cache{} // or what is remembered would be written again with the next event
	}
	x.fold.Unlock()
	if errors.Is(err, ErrMoved) {
		err = nil // a reindex has taken over; the next run deletes there what was copied meanwhile
	}
	return gone, err
}

// Remove deletes everything under the alias: all generations and the template. It is for trials and measurements, which make an alias of
// their own.
func (x *Index) Remove(ctx context.Context) error {
	x.writer.Lock()
	defer x.writer.Unlock()
	var all map[string]any
	err := x.client.json(ctx, shortTime, http.MethodGet, "/"+x.alias+".g*/_alias", nil, &all)
	for name := range all {
		err = errors.Join(err, x.client.json(ctx, longTime, http.MethodDelete, "/"+name, nil, nil))
	}
	if gone := x.client.json(ctx, longTime, http.MethodDelete, "/_index_template/"+x.alias, nil, nil); status(gone) != http.StatusNotFound {
		err = errors.Join(err, gone)
	}
	x.gen = nil
	x.extras.Store(nil)
	return err
}
