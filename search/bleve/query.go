package bleve

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	engine "github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/search/query"

	"yingda/search"
)

// Search is search.Index's.
func (x *Index) Search(ctx context.Context, q search.Query) (search.Result, error) {
	begun := time.Now()
	g, done, err := x.use()
	if err != nil {
		return search.Result{}, err
	}
	defer done()
	plan := x.analyzer.Plan(q)
	r, err := g.search(ctx, x.analyzer, plan)
	r.Took = time.Since(begun)
	return r, err
}

// Count is search.Index's.
func (x *Index) Count(ctx context.Context, q search.Query) (n int, err error) {
	g, done, err := x.use()
	if err != nil {
		return 0, err
	}
	defer done()
	defer guard(&err)()
	plan := x.analyzer.Plan(q)
	if plan.Nothing {
		return 0, nil
	}
	asked, err := g.query(ctx, plan)
	if err != nil {
		return 0, err
	}
	req := engine.NewSearchRequestOptions(asked, 0, 0, false)
	req.Score = "none"
	found, err := g.engine.SearchInContext(ctx, req)
	if err != nil {
		return 0, fmt.Errorf("search index: count: %w", err)
	}
	return int(found.Total), nil
}

func (g *generation) search(ctx context.Context, a *search.Analyzer, plan search.Plan) (r search.Result, err error) {
	defer guard(&err)()
	if plan.Nothing {
		return search.Result{}, nil
	}
	asked, err := g.query(ctx, plan)
	if err != nil {
		return search.Result{}, err
	}
	req := engine.NewSearchRequestOptions(asked, plan.Query.Limit, plan.Query.Offset, false)
	req.Fields = []string{storedField}
	byScore := len(plan.Concepts) > 0 && !plan.Query.Newest
	if byScore {
		req.SortBy([]string{"-_score", "-" + fieldArrived, "_id"})
	} else {
		req.SortBy([]string{"-" + fieldArrived, "_id"})
	}
	if plan.Query.After != "" {
		if err := resume(req, plan.Query.After, byScore); err != nil {
			return search.Result{}, err
		}
	}
	found, err := g.engine.SearchInContext(ctx, req)
	if err != nil {
		return search.Result{}, fmt.Errorf("search index: %w", err)
	}
	r.Total = int(found.Total)
	for _, h := range found.Hits {
		raw, _ := h.Fields[storedField].(string)
		doc, err := search.Load([]byte(raw))
		if err != nil {
			return search.Result{}, fmt.Errorf("%w: %s: %w", search.ErrBroken, h.ID, err)
		}
		hit := search.Hit{ID: doc.ID, Kind: doc.Kind, Document: doc}
		if len(plan.Concepts) > 0 {
			hit.Score = h.Score
		}
		hit.Highlights, hit.Why = a.Explain(plan, &doc)
		r.Hits = append(r.Hits, hit)
	}
	if n := len(found.Hits); n == plan.Query.Limit && req.From+n < r.Total {
		switch last := found.Hits[n-1].Sort; {
		case !byScore:
			r.Next = writeCursor(last)
		case req.From+n <= search.MaxOffset:
			r.Next = writeCursor([]string{strconv.Itoa(req.From + n)})
		}
	}
	return r, nil
}

// A cursor is the sort key of the last hit: arrival and id, which stay where they are. Scores move with every document that
// comes, so there the cursor is how many hits were shown.
func writeCursor(keys []string) string {
	b, _ := json.Marshal(keys) // strings always can
	return base64.RawURLEncoding.EncodeToString(b)
}

func resume(req *engine.SearchRequest, cursor string, byScore bool) error {
	var keys []string
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || json.Unmarshal(b, &keys) != nil {
		return search.ErrCursor
	}
	if !byScore {
		if len(keys) != len(req.Sort) {
			return search.ErrCursor
		}
		req.SetSearchAfter(keys)
		return nil
	}
	if len(keys) != 1 {
		return search.ErrCursor
	}
	n, err := strconv.Atoi(keys[0])
	if err != nil || n < 0 || n > search.MaxOffset {
		return search.ErrCursor
	}
	req.From = n
	return nil
}

// query makes what Bleve carries out: any of the concepts, and all of the filters.
func (g *generation) query(ctx context.Context, plan search.Plan) (query.Query, error) {
	filter, err := g.filter(ctx, plan.Query)
	if err != nil {
		return nil, err
	}
	switch {
	case len(plan.Concepts) == 0 && filter == nil:
		return query.NewMatchAllQuery(), nil
	case len(plan.Concepts) == 0:
		return filter, nil
	case filter == nil:
		return planQuery{plan}, nil
	}
	b := query.NewBooleanQuery([]query.Query{planQuery{plan}}, nil, nil)
	b.AddFilter(filter)
	return b, nil
}

// filter gives all filters of a query together, nil when there are none.
func (g *generation) filter(ctx context.Context, q search.Query) (query.Query, error) {
	var all []query.Query
	add := func(c query.Query) {
		if c != nil {
			all = append(all, c)
		}
	}
	add(oneOf(fieldKind, q.Kinds))
	add(oneOf(fieldChannel, q.Channels))
	add(oneOf(fieldLine, q.Lines))
	add(oneOf(fieldOutcome, q.Outcomes))
	add(oneOf(fieldGrid, q.Grids))
	add(oneOf(fieldDepartment, q.Departments))
	add(oneOf(fieldCategory, q.Categories))
	add(oneOf(fieldState, q.States))
	add(oneOf(fieldOperator, q.Operators))
	if q.Caller != "" {
		add(term(fieldCaller, string(q.Caller), 1))
	}
	if q.Contact != "" {
		add(term(fieldAbout, string(q.Contact), 1))
	}
	if q.Open != nil {
		add(term(fieldOpen, yes(*q.Open), 1))
	}
	if !q.From.IsZero() || !q.To.IsZero() {
		var from, to *float64
		if v := millis(q.From); !q.From.IsZero() {
			from = &v
		}
		if v := millis(q.To); !q.To.IsZero() {
			to = &v
		}
		in, out := true, false
		r := query.NewNumericRangeInclusiveQuery(from, to, &in, &out)
		r.SetField(fieldArrived)
		add(r)
	}
	if q.HasCallback != nil {
		c, err := g.hasCallback(ctx, *q.HasCallback)
		if err != nil {
			return nil, err
		}
		add(c)
	}
	switch len(all) {
	case 0:
		return nil, nil
	case 1:
		return all[0], nil
	}
	return query.NewConjunctionQuery(all), nil
}

func oneOf[T ~string](field string, values []T) query.Query {
	if len(values) == 0 {
		return nil
	}
	var any []query.Query
	for _, v := range values {
		any = append(any, term(field, string(v), 1))
	}
	if len(any) == 1 {
		return any[0]
	}
	return query.NewDisjunctionQuery(any)
}

// hasCallback joins callbacks to what they are about, at the time of asking: the documents named by a callback that is
// still owed, or all others.
func (g *generation) hasCallback(ctx context.Context, want bool) (query.Query, error) {
	ids, err := g.owedIDs(ctx)
	if err != nil {
		return nil, err
	}
	owed := query.NewDocIDQuery(ids)
	if want {
		return owed, nil
	}
	return query.NewBooleanQuery([]query.Query{query.NewMatchAllQuery()}, nil, []query.Query{owed}), nil
}

// owedIDs gives the ids of all open callbacks and of the contacts that they name; kept until a callback changes.
func (g *generation) owedIDs(ctx context.Context) ([]string, error) {
	at := g.callbacks.Load() // before asking, so that a change meanwhile makes the answer old and not wrong
	if o := g.owed.Load(); o != nil && o.at == at {
		return o.ids, nil
	}
	open := query.NewConjunctionQuery([]query.Query{
		term(fieldKind, string(search.Callback), 1), term(fieldOpen, yes(true), 1),
	})
	ids := []string{}
	for after := []string(nil); ; {
		req := engine.NewSearchRequestOptions(open, 1000, 0, false)
		req.Fields = []string{storedField}
		req.Score = "none"
		req.SortBy([]string{"_id"})
		if after != nil {
			req.SetSearchAfter(after)
		}
		found, err := g.engine.SearchInContext(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("search index: callbacks: %w", err)
		}
		for _, h := range found.Hits {
			raw, _ := h.Fields[storedField].(string)
			doc, err := search.Load([]byte(raw))
			if err != nil {
				return nil, fmt.Errorf("%w: %s: %w", search.ErrBroken, h.ID, err)
			}
			ids = append(ids, h.ID)
			for _, c := range doc.Contacts {
				ids = append(ids, string(c.Subject()))
			}
		}
		if len(found.Hits) < 1000 {
			break
		}
		after = []string{found.Hits[len(found.Hits)-1].ID}
	}
	g.owed.Store(&owed{at, ids})
	return ids, nil
}
