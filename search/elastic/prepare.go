package elastic

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"yingda/search"
)

const firstGeneration = ".g0" // no alias has a dot in it, so no other alias begins like this

// prepared makes sure, once, that there is something to ask, and gives the extras.
func (x *Index) prepared(ctx context.Context) (extras, error) {
	if e := x.extras.Load(); e != nil {
		return *e, nil
	}
	if _, err := x.prepare(ctx); err != nil {
		return extras{}, err
	}
	return *x.extras.Load(), nil
}

// prepare looks for plugins, brings template and mapping up to date, makes the alias and its first generation if there are none, and gives the
// name of the generation in use. Several nodes may do it at once.
func (x *Index) prepare(ctx context.Context) (string, error) {
	x.setup.Lock()
	defer x.setup.Unlock()
	if x.closed.Load() {
		return "", search.ErrClosed
	}
	e, err := x.plugins(ctx)
	if err != nil {
		return "", err
	}
	if err := x.client.json(ctx, longTime, http.MethodPut, "/_index_template/"+x.alias, x.template(e), nil); err != nil {
		return "", fmt.Errorf("index template: %w", err)
	}
	name, err := x.resolve(ctx)
	if status(err) == http.StatusNotFound {
		err = x.client.json(ctx, longTime, http.MethodPut, "/"+x.alias+firstGeneration, obj{"aliases": obj{x.alias: obj{}}}, nil)
		if err != nil && kindOf(err) != "resource_already_exists_exception" { // another node was faster
			return "", fmt.Errorf("make the first index: %w", err)
		}
		name, err = x.resolve(ctx)
	}
	if err != nil {
		return "", err
	}
	// A newer program may know fields that this generation does not have yet: they are added. What cannot be added shows in Stale.
	properties := obj{"properties": mapping(e, "")["properties"]}
	if err := x.client.json(ctx, longTime, http.MethodPut, "/"+name+"/_mapping", properties, nil); err != nil {
		if status(err) != http.StatusBadRequest {
			return "", fmt.Errorf("mapping: %w", err)
		}
		x.log.Error("the search index has another mapping than this program; it must be built again (yingda search reindex)", "index", name, "err", err)
	}
	x.extras.Store(&e)
	return name, nil
}

// Generation names the index that the alias stands for, made when there is none.
func (x *Index) Generation(ctx context.Context) (string, error) {
	if x.closed.Load() {
		return "", search.ErrClosed
	}
	if _, err := x.prepared(ctx); err != nil {
		return "", err
	}
	return x.resolve(ctx)
}

// resolve gives the generation that the alias stands for.
func (x *Index) resolve(ctx context.Context) (string, error) {
	var found map[string]struct{}
	if err := x.client.json(ctx, shortTime, http.MethodGet, "/_alias/"+x.alias, nil, &found); err != nil {
		return "", fmt.Errorf("look up the alias %s: %w", x.alias, err)
	}
	name := ""
	for n := range found {
		if name != "" {
			return "", fmt.Errorf("search index: the alias %s stands for several indices (%s, %s); leave it one", x.alias, name, n)
		}
		name = n
	}
	if name == "" {
		return "", errors.New("search index: the alias stands for nothing")
	}
	return name, nil
}

// plugins looks which analysis there is. A plugin counts when every node has it: else an index that uses it could not live everywhere.
func (x *Index) plugins(ctx context.Context) (extras, error) {
	var nodes, list []struct{ Name, Component string }
	err := x.client.json(ctx, shortTime, http.MethodGet, "/_cat/nodes?format=json&h=name", nil, &nodes)
	if err == nil {
		err = x.client.json(ctx, shortTime, http.MethodGet, "/_cat/plugins?format=json&h=name,component", nil, &list)
	}
	if s := status(err); s == http.StatusForbidden || s == http.StatusUnauthorized && len(nodes) > 0 {
		return extras{}, nil // the account may not look: then without
	}
	if err != nil {
		return extras{}, fmt.Errorf("look for plugins: %w", err)
	}
	count := func(part string) (n int) {
		for _, p := range list {
			if strings.HasPrefix(p.Component, part) {
				n++
			}
		}
		return n
	}
	return extras{ik: len(nodes) > 0 && count("analysis-ik") >= len(nodes), icu: len(nodes) > 0 && count("analysis-icu") >= len(nodes)}, nil
}

// Stale says that documents were cut in another way than queries are now (another region, a newer program), so that some will not be
// found until Reindex.
func (x *Index) Stale(ctx context.Context) (bool, error) {
	if _, err := x.prepared(ctx); err != nil {
		return false, err
	}
	var found map[string]struct {
		Mappings struct {
			Meta struct {
				Analysis string `json:"analysis"`
			} `json:"_meta"`
		} `json:"mappings"`
	}
	if err := x.client.json(ctx, shortTime, http.MethodGet, "/"+x.alias+"/_mapping", nil, &found); err != nil {
		return false, err
	}
	for _, m := range found {
		if m.Mappings.Meta.Analysis != x.made() {
			return true, nil
		}
	}
	return len(found) == 0, nil
}
