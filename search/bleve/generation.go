package bleve

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	engine "github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/analysis"
	"github.com/blevesearch/bleve/v2/document"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/search/query"
	index "github.com/blevesearch/bleve_index_api"
	segment "github.com/blevesearch/scorch_segment_api/v2"

	"yingda/intake"
	"yingda/search"
)

// What is kept beside the documents.
var (
	keyPosition    = []byte("yingda.position")
	keyFingerprint = []byte("yingda.analysis")
	keyFlush       = []byte("yingda.flush")
)

const (
	storedField = "doc"
	maxBatch    = 1000 // documents a batch: larger ones make scorch eat memory
	maxPending  = 4000 // documents that may be searchable and not on disk yet; Apply then waits for the disk
	maxCached   = 2048 // documents kept as they were last written, since a contact's events come close together
)

// generation is one Bleve index in a folder.
type generation struct {
	path   string
	engine engine.Index

	// owned by whoever writes
	cache map[intake.Subject]search.Document

	pending   atomic.Int64  // documents given to scorch and not on disk yet
	persisted chan struct{} // rung when pending has sunk

	callbacks atomic.Int64         // grows with every batch that changes a callback, after it can be searched
	owed      atomic.Pointer[owed] // what open callbacks name, as it was at some value of callbacks
}

// kvConfig: a batch is not waited for until it is on disk, since the position in it tells what is missing; the persister rests between
// its rounds, so that small batches are merged in memory before they become files.
func kvConfig() map[string]any {
	return map[string]any{
		"unsafe_batch":       true,
		"numSnapshotsToKeep": 1,
		"bolt_timeout":       "5s",
		"scorchPersisterOptions": map[string]any{
			"persisterNapTimeMSec":      100,
			"persisterNapUnderNumFiles": 20,
		},
	}
}

func newGeneration(path, fingerprint string) (*generation, error) {
	e, err := engine.NewUsing(path, indexMapping(), scorch.Name, scorch.Name, kvConfig())
	if err != nil {
		return nil, err
	}
	g := made(path, e)
	if err := e.SetInternal(keyFingerprint, []byte(fingerprint)); err != nil {
		return nil, errors.Join(err, g.close())
	}
	return g, g.flush()
}

// openGeneration opens what is there and reads all of it once. A damaged folder can make Bleve panic or touch memory that is
// not there; both are errors here.
func openGeneration(path string) (g *generation, err error) {
	defer guard(&err)()
	e, err := engine.OpenUsing(path, kvConfig())
	if err != nil {
		return nil, err
	}
	g = made(path, e)
	names, err := g.segments()
	if err == nil {
		err = verify(path, names)
	}
	if err == nil {
		_, err = g.position()
	}
	if err == nil {
		_, err = e.DocCount()
	}
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return g, nil
}

// owed are the ids of open callbacks and of the contacts that they name.
type owed struct {
	at  int64
	ids []string
}

func made(path string, e engine.Index) *generation {
	return &generation{path: path, engine: e, cache: map[intake.Subject]search.Document{}, persisted: make(chan struct{}, 1)}
}

// guard turns a panic, or a fault in mapped memory, into ErrBroken. Use: defer guard(&err)().
func guard(err *error) func() {
	before := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			*err = fmt.Errorf("%w: %v", search.ErrBroken, r)
		}
	}
}

// segments names the files of the newest snapshot.
func (g *generation) segments() ([]string, error) {
	var names []string
	advanced, err := g.engine.Advanced()
	if err != nil {
		return nil, err
	}
	r, err := advanced.Reader()
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	snapshot, ok := r.(*scorch.IndexSnapshot)
	if !ok {
		return nil, fmt.Errorf("the snapshot is %T", r)
	}
	for _, s := range snapshot.Segments() {
		if p, ok := s.Segment().(segment.PersistedSegment); ok {
			names = append(names, filepath.Base(p.Path()))
		}
	}
	return names, nil
}

func (g *generation) close() error { return g.engine.Close() }

// flush waits until everything that was applied is on disk.
func (g *generation) flush() error {
	done := make(chan error, 1)
	b := g.engine.NewBatch()
	b.SetInternal(keyFlush, []byte{1})
	b.SetPersistedCallback(func(err error) { done <- err })
	if err := g.engine.Batch(b); err != nil {
		return fmt.Errorf("search index: write: %w", err)
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("search index: write: %w", err)
		}
		return nil
	case <-time.After(30 * time.Second):
		return errors.New("search index: the disk has not taken it within 30 s")
	}
}

// apply folds events into documents and writes them with the positions. Large inputs become several batches, of which only
// the last carries the positions: a crash between them brings the events again, which is harmless.
func (g *generation) apply(ctx context.Context, a *search.Analyzer, log *slog.Logger, events []intake.Event, at []search.Position) (err error) {
	defer guard(&err)()
	defer func() {
		if err != nil {
			clear(g.cache) // it may hold what was not written
		}
	}()
	changed := map[intake.Subject]bool{}
	b := g.engine.NewBatch()
	for _, e := range events {
		if !search.Indexed(e.Subject) {
			continue
		}
		doc, known := g.cache[e.Subject]
		if !known {
			if doc, _, err = g.get(e.Subject); err != nil {
				return err
			}
		}
		if search.Apply(&doc, e) {
			changed[e.Subject] = true
			g.cache[e.Subject] = doc
		}
		if len(changed) >= maxBatch {
			if err := g.write(ctx, a, log, b, changed); err != nil {
				return err
			}
			b = g.engine.NewBatch()
			clear(changed)
		}
	}
	if len(at) > 0 {
		moved, err := g.merge(at)
		if err != nil {
			return err
		}
		if moved != nil {
			b.SetInternal(keyPosition, moved)
		}
	}
	return g.write(ctx, a, log, b, changed)
}

func (g *generation) write(ctx context.Context, a *search.Analyzer, log *slog.Logger, b *engine.Batch, changed map[intake.Subject]bool) error {
	callbacks := false
	for id := range changed {
		doc := g.cache[id]
		d, err := engineDocument(a, &doc)
		if err != nil {
			log.Error("a document cannot be written and is left out of the search index", "subject", id, "error", err)
			continue
		}
		if err := b.IndexAdvanced(d); err != nil {
			return fmt.Errorf("search index: %s: %w", id, err)
		}
		callbacks = callbacks || doc.Kind == search.Callback
	}
	if b.Size() == 0 {
		return nil
	}
	n := int64(len(changed))
	g.pending.Add(n)
	b.SetPersistedCallback(func(error) {
		g.pending.Add(-n)
		select {
		case g.persisted <- struct{}{}:
		default:
		}
	})
	if err := g.engine.Batch(b); err != nil {
		g.pending.Add(-n)
		return fmt.Errorf("search index: write: %w", err)
	}
	if callbacks {
		g.callbacks.Add(1)
	}
	if len(g.cache) > maxCached {
		clear(g.cache)
	}
	for g.pending.Load() > maxPending {
		select {
		case <-g.persisted:
		case <-ctx.Done():
			return ctx.Err() // what was written is written; the caller will bring it again
		}
	}
	return nil
}

// get reads a document as it was last written.
func (g *generation) get(id intake.Subject) (doc search.Document, ok bool, err error) {
	defer guard(&err)()
	if id == "" {
		return search.Document{}, false, nil
	}
	d, err := g.engine.Document(string(id))
	if err != nil {
		return search.Document{}, false, fmt.Errorf("search index: read %s: %w", id, err)
	}
	if d == nil {
		return search.Document{}, false, nil
	}
	var raw []byte
	d.VisitFields(func(f index.Field) {
		if f.Name() == storedField {
			raw = f.Value()
		}
	})
	doc, err = search.Load(raw)
	if err != nil {
		return search.Document{}, false, fmt.Errorf("%w: %s: %w", search.ErrBroken, id, err)
	}
	return doc, true, nil
}

func (g *generation) position() (list []search.Position, err error) {
	defer guard(&err)()
	b, err := g.engine.GetInternal(keyPosition)
	if err != nil {
		return nil, fmt.Errorf("search index: read the position: %w", err)
	}
	if len(b) == 0 {
		return nil, nil
	}
	if err := json.Unmarshal(b, &list); err != nil {
		return nil, fmt.Errorf("%w: position: %w", search.ErrBroken, err)
	}
	return list, nil
}

// merge puts new positions into those that are kept, none going back; nil when nothing moves.
func (g *generation) merge(at []search.Position) ([]byte, error) {
	have, err := g.position()
	if err != nil {
		return nil, err
	}
	moved := false
	for _, p := range at {
		i := slices.IndexFunc(have, func(h search.Position) bool { return h.Partition == p.Partition })
		if i < 0 {
			have, moved = append(have, p), true
		} else if p.Offset > have[i].Offset {
			have[i], moved = p, true
		}
	}
	if !moved {
		return nil, nil
	}
	slices.SortFunc(have, func(x, y search.Position) int { return int(x.Partition) - int(y.Partition) })
	return json.Marshal(have)
}

// Names of the fields that filters ask. The fields of words are search.Field's.
const (
	fieldKind       = "kind"
	fieldState      = "state"
	fieldOpen       = "open"
	fieldChannel    = "channel"
	fieldLine       = "line"
	fieldOutcome    = "outcome"
	fieldGrid       = "grid"
	fieldDepartment = "dept"
	fieldCategory   = "cat"
	fieldOperator   = "op"
	fieldCaller     = "caller"
	fieldAbout      = "about" // contacts that it is about, itself among them
	fieldArrived    = "at"    // milliseconds
)

const (
	matched = index.IndexField                                        // tokens with how often and in how long a text
	present = index.IndexField | index.SkipFreqNorm                   // tokens that are there or not
	sorted  = index.IndexField | index.SkipFreqNorm | index.DocValues // numbers to sort and bound by
)

// engineDocument makes what Bleve keeps: our tokens, the values that filters ask, and the document itself.
func engineDocument(a *search.Analyzer, doc *search.Document) (*document.Document, error) {
	d := document.NewDocument(string(doc.ID))
	for name, tokens := range a.Fields(doc) {
		options := present
		switch name {
		case search.FieldWords, search.FieldPhrase, search.FieldSound:
			options = matched
		}
		d.AddField(document.NewTextFieldCustom(string(name), nil, []byte(strings.Join(tokens, " ")), options, spaces{}))
	}
	keyword := func(name, value string) {
		if value != "" {
			d.AddField(document.NewTextFieldCustom(name, nil, []byte(value), present, nil))
		}
	}
	keyword(fieldKind, string(doc.Kind))
	keyword(fieldState, string(doc.State))
	keyword(fieldOpen, yes(doc.IsOpen()))
	keyword(fieldChannel, string(doc.Channel))
	keyword(fieldLine, string(doc.Line))
	keyword(fieldOutcome, string(doc.Outcome))
	keyword(fieldGrid, string(doc.Grid))
	keyword(fieldDepartment, doc.Department)
	keyword(fieldCategory, doc.Category)
	keyword(fieldOperator, string(doc.Operator))
	keyword(fieldCaller, string(doc.Caller))
	keyword(fieldAbout, string(doc.Contact()))
	for _, c := range doc.Contacts {
		keyword(fieldAbout, string(c))
	}
	d.AddField(document.NewNumericFieldWithIndexingOptions(fieldArrived, nil, millis(doc.Arrived), sorted))
	raw, err := doc.Stored()
	if err != nil {
		return nil, err
	}
	d.AddField(document.NewTextFieldCustom(storedField, nil, raw, index.StoreField, nil))
	return d, nil
}

func yes(b bool) string {
	if b {
		return "y"
	}
	return "n"
}

func millis(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli())
}

// spaces is the analyzer of fields that the search.Analyzer has cut already: tokens with one space between.
type spaces struct{}

// Analyze is analysis.Analyzer's.
func (spaces) Analyze(b []byte) analysis.TokenStream {
	list := make(analysis.TokenStream, 0, len(b)/6+1)
	for start := 0; start < len(b); {
		end := start
		for end < len(b) && b[end] != ' ' {
			end++
		}
		if end > start {
			list = append(list, &analysis.Token{Term: b[start:end], Start: start, End: end, Position: len(list) + 1})
		}
		start = end + 1
	}
	return list
}

// term asks for one exact token.
func term(field, text string, boost float64) query.Query {
	t := query.NewTermQuery(text)
	t.SetField(field)
	t.SetBoost(boost)
	return t
}
