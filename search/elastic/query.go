package elastic

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"yingda/search"
)

// found is the answer to a search.
type found struct {
	Hits struct {
		Total struct {
			Value int `json:"value"`
		} `json:"total"`
		Hits []hit `json:"hits"`
	} `json:"hits"`
}

type hit struct {
	ID      string            `json:"_id"`
	Version int64             `json:"_version"`
	Score   float64           `json:"_score"`
	Sort    []json.RawMessage `json:"sort"`
	Source  struct {
		Doc rawDocument `json:"doc"`
	} `json:"_source"`
}

// Partial answers would be documents that are silently missing; rarity is counted over all shards.
const searchPath = "/_search?allow_partial_search_results=false&search_type=dfs_query_then_fetch"

// Search is search.Index's. It sees what this Index has written, and within a second what others have.
func (x *Index) Search(ctx context.Context, q search.Query) (search.Result, error) {
	begun := time.Now()
	plan := x.analyzer.Plan(q)
	r, err := x.search(ctx, plan)
	r.Took = time.Since(begun)
	return r, err
}

// Count is search.Index's.
func (x *Index) Count(ctx context.Context, q search.Query) (int, error) {
	plan := x.analyzer.Plan(q)
	e, err := x.ready(ctx)
	if err != nil || plan.Nothing {
		return 0, err
	}
	asked, err := x.query(ctx, plan, e)
	if err != nil {
		return 0, err
	}
	var answer struct {
		Count int `json:"count"`
	}
	if err := x.client.json(ctx, shortTime, http.MethodPost, "/"+x.alias+"/_count", obj{"query": asked}, &answer); err != nil {
		return 0, fmt.Errorf("search index: count: %w", err)
	}
	return answer.Count, nil
}

// ready makes sure that there is something to ask and that what was written is found.
func (x *Index) ready(ctx context.Context) (extras, error) {
	if x.closed.Load() {
		return extras{}, search.ErrClosed
	}
	e, err := x.prepared(ctx)
	if err != nil {
		return e, err
	}
	if x.refreshed.Load() >= x.written.Load() {
		return e, nil
	}
	x.refresh.Lock() // who waits here finds it done
	defer x.refresh.Unlock()
	n := x.written.Load()
	if x.refreshed.Load() >= n {
		return e, nil
	}
	if err := x.client.json(ctx, shortTime, http.MethodPost, "/"+x.alias+"/_refresh", nil, nil); err != nil {
		if ctx.Err() != nil {
			return e, ctx.Err()
		}
		x.log.Debug("the search index cannot be refreshed; it answers with what it has", "err", err)
		return e, nil
	}
	x.refreshed.Store(n)
	return e, nil
}

func (x *Index) search(ctx context.Context, plan search.Plan) (search.Result, error) {
	byScore := len(plan.Concepts) > 0 && !plan.Query.Newest
	after, offset, err := resume(plan.Query, byScore)
	if err != nil {
		return search.Result{}, err
	}
	e, err := x.ready(ctx)
	if err != nil || plan.Nothing {
		return search.Result{}, err
	}
	asked, err := x.query(ctx, plan, e)
	if err != nil {
		return search.Result{}, err
	}
	body := obj{"query": asked, "_source": fieldDoc, "size": plan.Query.Limit, "from": offset, "track_total_hits": true, "track_scores": len(plan.Concepts) > 0}
	newest := []any{obj{fieldArrived: "desc"}, obj{fieldSubject: "asc"}}
	if byScore {
		body["sort"] = append([]any{obj{"_score": "desc"}}, newest...)
	} else {
		body["sort"] = newest
	}
	if after != nil {
		body["search_after"] = after
	}
	var answer found
	if err := x.client.json(ctx, shortTime, http.MethodPost, "/"+x.alias+searchPath, body, &answer); err != nil {
		return search.Result{}, fmt.Errorf("search index: %w", err)
	}
	r := search.Result{Total: answer.Hits.Total.Value}
	for _, h := range answer.Hits.Hits {
		doc, err := search.Load(h.Source.Doc)
		if err != nil {
			return search.Result{}, fmt.Errorf("%w: %s: %w", search.ErrBroken, h.ID, err)
		}
		one := search.Hit{ID: doc.ID, Kind: doc.Kind, Document: doc}
		if len(plan.Concepts) > 0 {
			one.Score = h.Score
		}
		one.Highlights, one.Why = x.analyzer.Explain(plan, &doc)
		r.Hits = append(r.Hits, one)
	}
	if n := len(r.Hits); n == plan.Query.Limit && offset+n < r.Total {
		last := &r.Hits[n-1].Document
		switch {
		case !byScore:
			r.Next = writeCursor(strconv.FormatInt(millis(last.Arrived), 10), string(last.ID))
		case offset+n <= search.MaxOffset:
			r.Next = writeCursor(strconv.Itoa(offset + n))
		}
	}
	return r, nil
}

// A cursor is the sort key of the last hit: arrival and id, which stay where they are. Scores move with every document that
// comes, so there the cursor is how many hits were shown.
func writeCursor(keys ...string) string {
	b, _ := json.Marshal(keys) // strings always can
	return base64.RawURLEncoding.EncodeToString(b)
}

// resume reads the cursor of a query: the key after which the page begins, or how many hits lie before it.
func resume(q search.Query, byScore bool) (after []any, offset int, err error) {
	if q.After == "" {
		return nil, q.Offset, nil
	}
	var keys []string
	b, err := base64.RawURLEncoding.DecodeString(q.After)
	if err != nil || json.Unmarshal(b, &keys) != nil {
		return nil, 0, search.ErrCursor
	}
	want := 2
	if byScore {
		want = 1
	}
	if len(keys) != want {
		return nil, 0, search.ErrCursor
	}
	n, err := strconv.ParseInt(keys[0], 10, 64)
	if err != nil || byScore && (n < 0 || n > search.MaxOffset) {
		return nil, 0, search.ErrCursor
	}
	if byScore {
		return nil, int(n), nil
	}
	return []any{n, keys[1]}, 0, nil
}

// query makes what Elasticsearch carries out: any of the concepts, and all of the filters.
func (x *Index) query(ctx context.Context, plan search.Plan, e extras) (obj, error) {
	all, none, err := x.filters(ctx, plan.Query)
	if err != nil {
		return nil, err
	}
	b := obj{"filter": all}
	if len(none) > 0 {
		b["must_not"] = none
	}
	var concepts []any
	for _, c := range plan.Concepts {
		concepts = append(concepts, concept(c))
	}
	if len(concepts) > 0 {
		b["must"] = obj{"bool": obj{"should": concepts, "minimum_should_match": 1}}
	}
	if len(concepts) > 0 && (e.ik || e.icu) { // lifts what was found, finds nothing
		var lift []any
		if e.ik {
			lift = append(lift, obj{"match": obj{fieldIK: obj{"query": plan.Query.Text, "boost": extraBoost}}})
		}
		if e.icu {
			lift = append(lift, obj{"match": obj{fieldICU: obj{"query": plan.Query.Text, "boost": extraBoost}}})
		}
		b["should"] = obj{"dis_max": obj{"queries": lift}}
	}
	return obj{"bool": b}, nil
}

// concept is worth what the best of its ways is.
func concept(c search.Concept) obj {
	var ways []any
	for _, clause := range c.Clauses {
		var terms []any
		for _, t := range clause.Terms {
			terms = append(terms, token(clause.Field, t, clause.Boost))
		}
		if clause.All && len(terms) > 1 {
			ways = append(ways, obj{"bool": obj{"must": terms}})
		} else {
			ways = append(ways, terms...)
		}
	}
	return obj{"dis_max": obj{"queries": ways}}
}

// token asks for one of our tokens. Lucene leaves out BM25's constant factor k1 + 1, where there is a k1.
func token(f search.Field, text string, boost float64) obj {
	if f == search.FieldWords || f == search.FieldPhrase || f == search.FieldSound {
		boost *= k1 + 1
	}
	return obj{"term": obj{string(f): obj{"value": text, "boost": boost}}}
}

func termOf(field, value string) obj { return obj{"term": obj{field: value}} }

func oneOf[T ~string](field string, values []T) obj { return obj{"terms": obj{field: values}} }

// filters gives what must hold and what must not.
func (x *Index) filters(ctx context.Context, q search.Query) (all, none []any, err error) {
	kinds := q.Kinds
	if len(kinds) == 0 {
		kinds = []search.Kind{search.Contact, search.Case, search.Callback} // and not what stands beside the documents
	}
	all = []any{oneOf(fieldKind, kinds)}
	all = some(all, fieldChannel, q.Channels)
	all = some(all, fieldLine, q.Lines)
	all = some(all, fieldOutcome, q.Outcomes)
	all = some(all, fieldGrid, q.Grids)
	all = some(all, fieldDepartment, q.Departments)
	all = some(all, fieldCategory, q.Categories)
	all = some(all, fieldState, q.States)
	all = some(all, fieldOperator, q.Operators)
	if q.Caller != "" {
		all = append(all, termOf(fieldCaller, short(string(q.Caller))))
	}
	if q.Contact != "" {
		all = append(all, termOf(fieldAbout, short(string(q.Contact))))
	}
	if q.Open != nil {
		all = append(all, termOf(fieldOpen, yes(*q.Open)))
	}
	if !q.From.IsZero() || !q.To.IsZero() {
		r := obj{}
		if !q.From.IsZero() {
			r["gte"] = q.From.UnixMilli()
		}
		if !q.To.IsZero() {
			r["lt"] = q.To.UnixMilli()
		}
		all = append(all, obj{"range": obj{fieldArrived: r}})
	}
	if q.HasCallback != nil {
		ids, err := x.owedIDs(ctx)
		if err != nil {
			return nil, nil, err
		}
		var named []any
		for len(ids) > 0 {
			n := min(len(ids), maxTerms)
			named = append(named, oneOf(fieldSubject, ids[:n]))
			ids = ids[n:]
		}
		owed := obj{"bool": obj{"should": named, "minimum_should_match": 1}}
		switch {
		case *q.HasCallback && len(named) == 0:
			all = append(all, obj{"match_none": obj{}})
		case *q.HasCallback:
			all = append(all, owed)
		case len(named) > 0:
			none = append(none, owed)
		}
	}
	return all, none, nil
}

const maxTerms = 50_000 // of one terms query; Elasticsearch refuses more than 65,536

func some[T ~string](all []any, field string, values []T) []any {
	if len(values) == 0 {
		return all
	}
	cut := make([]string, len(values))
	for i, v := range values {
		cut[i] = short(string(v))
	}
	return append(all, oneOf(field, cut))
}

// short makes a value that is longer than any that is indexed one that is not indexed either.
func short(s string) string {
	if len(s) > 4*longestKeyword {
		return s[:0] + "\x00"
	}
	return s
}

// owed are the ids of open callbacks and of the contacts that they name.
type owed struct {
	at  int64
	on  time.Time
	ids []string
}

// owedFor is how long they are remembered: another node may have changed one.
const owedFor = time.Second

// owedIDs joins callbacks to what they are about, at the time of asking.
func (x *Index) owedIDs(ctx context.Context) ([]string, error) {
	at, now := x.callbacks.Load(), time.Now() // before asking, so that a change meanwhile makes the answer old and not wrong
	if o := x.owed.Load(); o != nil && o.at == at && now.Sub(o.on) < owedFor {
		return o.ids, nil
	}
	ids := []string{}
	open := obj{"bool": obj{"filter": []any{termOf(fieldKind, string(search.Callback)), termOf(fieldOpen, yes(true))}}}
	err := x.walk(ctx, x.alias, open, func(hits []hit) error {
		for _, h := range hits {
			doc, err := search.Load(h.Source.Doc)
			if err != nil {
				return fmt.Errorf("%w: %s: %w", search.ErrBroken, h.ID, err)
			}
			ids = append(ids, h.ID)
			for _, c := range doc.Contacts {
				ids = append(ids, string(c.Subject()))
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("search index: callbacks: %w", err)
	}
	x.owed.Store(&owed{at, now, ids})
	return ids, nil
}

// walk gives all documents of a query in the order of their subjects, which never changes: one that is written again meanwhile is neither
// missed nor given twice, so no point in time has to be held open.
func (x *Index) walk(ctx context.Context, index string, query obj, page func([]hit) error) error {
	var after []any
	for {
		body := obj{"query": query, "_source": fieldDoc, "size": perPage, "sort": []any{obj{fieldSubject: "asc"}}, "version": true, "track_total_hits": false}
		if after != nil {
			body["search_after"] = after
		}
		var answer found
		if err := x.client.json(ctx, longTime, http.MethodPost, "/"+index+"/_search?allow_partial_search_results=false", body, &answer); err != nil {
			return err
		}
		if len(answer.Hits.Hits) > 0 {
			if err := page(answer.Hits.Hits); err != nil {
				return err
			}
		}
		if len(answer.Hits.Hits) < perPage {
			return nil
		}
		after = []any{answer.Hits.Hits[len(answer.Hits.Hits)-1].Sort[0]}
	}
}
