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
	old := obj{"bool": obj{"filter": []any{
		oneOf(fieldKind, []search.Kind{search.Contact, search.Case, search.Callback}), termOf(fieldOpen, yes(false)), obj{"range": obj{fieldUpdated: obj{"lt": before.UnixMilli()}}},
	}}}
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
