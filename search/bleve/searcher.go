package bleve

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/blevesearch/bleve/v2/mapping"
	engine "github.com/blevesearch/bleve/v2/search"
	"github.com/blevesearch/bleve/v2/search/searcher"
	index "github.com/blevesearch/bleve_index_api"

	"yingda/search"
)

// Bleve's own disjunction multiplies by the share of clauses that matched and has no "best of", so that one word with thirty
// synonyms would count thirty times in the wrong direction. These few searchers score as search.Plan says: BM25 for a term, the sum
// over concepts, the best of a concept's clauses. Elasticsearch does the same with bool and dis_max.

// BM25 with a length that counts little: what people say is short, and one who says more does not mean it less.
const (
	k1          = 1.2
	b           = 0.3
	usualLength = 45.0 // tokens of words in a document
)

// planQuery is query.Query for a plan's concepts.
type planQuery struct{ plan search.Plan }

// Searcher is query.Query's.
func (q planQuery) Searcher(ctx context.Context, r index.IndexReader, _ mapping.IndexMapping, options engine.SearcherOptions) (s engine.Searcher, err error) {
	docs, err := r.DocCount()
	if err != nil {
		return nil, err
	}
	m := maker{ctx, r, options, float64(docs)}
	var concepts []engine.Searcher
	defer func() {
		if err != nil {
			closeAll(concepts)
		}
	}()
	for _, c := range q.plan.Concepts {
		s, err := m.concept(c)
		if err != nil {
			return nil, err
		}
		concepts = append(concepts, s)
	}
	return merge(concepts, func(sum, s float64) float64 { return sum + s }), nil
}

func closeAll(list []engine.Searcher) {
	for _, s := range list {
		_ = s.Close()
	}
}

// maker makes searchers over one snapshot.
type maker struct {
	ctx     context.Context
	reader  index.IndexReader
	options engine.SearcherOptions
	docs    float64
}

func (m maker) concept(c search.Concept) (s engine.Searcher, err error) {
	var ways []engine.Searcher
	defer func() {
		if err != nil {
			closeAll(ways)
		}
	}()
	for _, clause := range c.Clauses {
		var terms []engine.Searcher
		for _, t := range clause.Terms {
			l, err := m.leaf(clause.Field, t, clause.Boost)
			if err != nil {
				closeAll(terms)
				return nil, err
			}
			terms = append(terms, l)
		}
		if clause.All && len(terms) > 1 {
			all, err := searcher.NewConjunctionSearcher(m.ctx, m.reader, terms, m.options)
			if err != nil {
				closeAll(terms)
				return nil, err
			}
			terms = []engine.Searcher{all}
		}
		ways = append(ways, terms...)
	}
	return merge(ways, math.Max), nil
}

func (m maker) leaf(f search.Field, text string, boost float64) (engine.Searcher, error) {
	counted := f == search.FieldWords || f == search.FieldPhrase || f == search.FieldSound
	r, err := m.reader.TermFieldReader(m.ctx, []byte(text), string(f), counted, counted, false)
	if err != nil {
		return nil, fmt.Errorf("read postings: %w", err)
	}
	n := float64(r.Count())
	return &leaf{reader: r, counted: counted, worth: boost * math.Log(1+(max(m.docs, n)-n+0.5)/(n+0.5))}, nil
}

// leaf finds the documents with one term.
type leaf struct {
	reader  index.TermFieldReader
	counted bool // the field has frequencies and lengths
	worth   float64
	doc     index.TermFieldDoc
}

func (l *leaf) match(ctx *engine.SearchContext, d *index.TermFieldDoc, err error) (*engine.DocumentMatch, error) {
	if err != nil || d == nil {
		return nil, err
	}
	m := ctx.DocumentMatchPool.Get()
	m.IndexInternalID = index.NewIndexInternalIDFrom(m.IndexInternalID, d.ID)
	m.Score = l.worth
	if l.counted {
		length := usualLength
		if d.Norm > 0 {
			length = 1 / (d.Norm * d.Norm)
		}
		tf := float64(d.Freq)
		m.Score *= tf * (k1 + 1) / (tf + k1*(1-b+b*length/usualLength))
	}
	return m, nil
}

func (l *leaf) Next(ctx *engine.SearchContext) (*engine.DocumentMatch, error) {
	d, err := l.reader.Next(l.doc.Reset())
	return l.match(ctx, d, err)
}

func (l *leaf) Advance(ctx *engine.SearchContext, id index.IndexInternalID) (*engine.DocumentMatch, error) {
	d, err := l.reader.Advance(id, l.doc.Reset())
	return l.match(ctx, d, err)
}

func (l *leaf) Close() error               { return l.reader.Close() }
func (l *leaf) Weight() float64            { return l.worth * l.worth }
func (l *leaf) SetQueryNorm(float64)       {} // scores are absolute
func (l *leaf) Count() uint64              { return l.reader.Count() }
func (l *leaf) Min() int                   { return 0 }
func (l *leaf) Size() int                  { return l.reader.Size() }
func (l *leaf) DocumentMatchPoolSize() int { return 1 }

// merged finds the documents that any of its parts finds, in order, and joins the scores of those that find one.
type merged struct {
	parts   []engine.Searcher
	at      []*engine.DocumentMatch // where each part stands; nil: before its first or after its last
	started bool
	join    func(so, s float64) float64
}

func merge(parts []engine.Searcher, join func(so, s float64) float64) engine.Searcher {
	if len(parts) == 1 {
		return parts[0]
	}
	return &merged{parts: parts, at: make([]*engine.DocumentMatch, len(parts)), join: join}
}

func (m *merged) move(ctx *engine.SearchContext, i int) (err error) {
	m.at[i], err = m.parts[i].Next(ctx)
	return err
}

func (m *merged) Next(ctx *engine.SearchContext) (*engine.DocumentMatch, error) {
	if !m.started {
		m.started = true
		for i := range m.parts {
			if err := m.move(ctx, i); err != nil {
				return nil, err
			}
		}
	}
	var first *engine.DocumentMatch
	for _, d := range m.at {
		if d != nil && (first == nil || d.IndexInternalID.Compare(first.IndexInternalID) < 0) {
			first = d
		}
	}
	if first == nil {
		return nil, nil
	}
	score := 0.0
	for i, d := range m.at {
		if d == nil || d != first && !d.IndexInternalID.Equals(first.IndexInternalID) {
			continue
		}
		score = m.join(score, d.Score)
		m.at[i] = nil
		if d != first {
			ctx.DocumentMatchPool.Put(d)
		}
		if err := m.move(ctx, i); err != nil {
			return nil, err
		}
	}
	first.Score = score
	return first, nil
}

func (m *merged) Advance(ctx *engine.SearchContext, id index.IndexInternalID) (*engine.DocumentMatch, error) {
	for i, d := range m.at {
		if d == nil && m.started || d != nil && d.IndexInternalID.Compare(id) >= 0 {
			continue
		}
		if d != nil {
			ctx.DocumentMatchPool.Put(d)
		}
		next, err := m.parts[i].Advance(ctx, id)
		if err != nil {
			return nil, err
		}
		m.at[i] = next
	}
	m.started = true
	return m.Next(ctx)
}

func (m *merged) Close() error {
	var errs []error
	for _, p := range m.parts {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

func (m *merged) Weight() (sum float64) {
	for _, p := range m.parts {
		sum += p.Weight()
	}
	return sum
}

func (m *merged) SetQueryNorm(float64) {}

func (m *merged) Count() (sum uint64) {
	for _, p := range m.parts {
		sum += p.Count()
	}
	return sum
}

func (m *merged) Min() int { return 0 }

func (m *merged) Size() (sum int) {
	for _, p := range m.parts {
		sum += p.Size()
	}
	return sum
}

func (m *merged) DocumentMatchPoolSize() int {
	sum := len(m.parts)
	for _, p := range m.parts {
		sum += p.DocumentMatchPoolSize()
	}
	return sum
}
