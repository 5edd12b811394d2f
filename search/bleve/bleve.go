// Package bleve keeps the search documents of one machine in a Bleve index (scorch) in a folder of its own.
//
// Open it with the folder and an Analyzer, give it events with Apply, ask with Search. The folder holds generations, of which the file
// CURRENT names the one in use; Rebuild makes the next one beside it while people go on searching and swaps them. The
// stream is the truth and the index can always be built again from it: a folder that is damaged is moved aside at Open, and
// the index begins empty with no Position, so that its consumer reads the stream from the beginning.
//
// Durability: a batch is searchable when Apply returns and is on disk some moments later; documents and position are in the
// same snapshot, so what a crash loses is what the stream brings again. Close waits for the disk.
//
// Goroutines: none of our own. Scorch runs three for each open generation (introducer, persister, merger), ended by Close. All
// writing is under one lock, taken by Apply, by Rebuild's swap and by Close.
//
// What it does not do: it follows no stream (its consumer does), and it knows nothing of a text that the Analyzer has not
// cut: tokens go in and tokens are looked for, there is no query language.
package bleve

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt/errors"

	engine "github.com/blevesearch/bleve/v2"
	"github.com/blevesearch/bleve/v2/index/scorch"
	"github.com/blevesearch/bleve/v2/mapping"

	"yingda/intake"
	"yingda/search"
)

// Config of an index. The zero value is useful.
type Config struct {
	Analyzer *search.Analyzer // nil: search.NewAnalyzer with the zero configuration
	Logger   *slog.Logger     // nil: slog.Default()
}

// Index is a search.Index in a folder.
type Index struct {
	dir      string
	analyzer *search.Analyzer
	log      *slog.Logger

	writer sync.Mutex   // one Apply, swap or Close at a time
	inUse  sync.RWMutex // held for reading by whoever uses gen; for writing only to exchange it
	gen    *generation  // nil after Close
}

var _ search.Index = (*Index)(nil)

const (
	currentFile = "CURRENT"
	genPrefix   = "index-"
	damaged     = "damaged"
	building    = "building"
)

// ErrHeld is returned by Open for an index that another program has open: one at a time can have it.
var ErrHeld = errors.New("search index: another program has it open")

// Open opens the index in dir, making it if there is none. It fails with ErrHeld when another program has it. A damaged one is moved to dir/damaged (what lay there goes) and
// an empty one is made in its place; the log says so.
func Open(dir string, c Config) (*Index, error) {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Analyzer == nil {
		a, err := search.NewAnalyzer(search.AnalyzerConfig{})
		if err != nil {
			return nil, err
		}
		c.Analyzer = a
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("search index: %w", err)
	}
	x := &Index{dir: dir, analyzer: c.Analyzer, log: c.Logger}
	name, err := os.ReadFile(filepath.Join(dir, currentFile))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("search index: %w", err)
	}
	if current := strings.TrimSpace(string(name)); strings.HasPrefix(current, genPrefix) && !strings.ContainsAny(current, "/\\") {
		path := filepath.Join(dir, current)
		if x.gen, err = openGeneration(path); err == nil {
			x.sweep()
			return x, nil
		}
		if errors.Is(err, bolt.ErrTimeout) {
			return nil, fmt.Errorf("%w (%s)", ErrHeld, dir)
		}
		c.Logger.Error("search index is damaged; it is moved aside and built again from the stream", "folder", path, "error", err)
		_ = os.RemoveAll(filepath.Join(dir, damaged))
		if err := os.Rename(path, filepath.Join(dir, damaged)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("search index: move the damaged one aside: %w", err)
		}
	}
	if x.gen, err = x.create(); err != nil {
		return nil, err
	}
	if err := x.pointTo(x.gen.path); err != nil {
		_ = x.gen.close()
		return nil, err
	}
	x.sweep()
	return x, nil
}

// create makes an empty generation beside those that are there.
func (x *Index) create() (*generation, error) {
	path := filepath.Join(x.dir, genPrefix+fmt.Sprintf("%d", time.Now().UnixNano()))
	g, err := newGeneration(path, x.analyzer.Fingerprint())
	if err != nil {
		return nil, fmt.Errorf("search index: make %s: %w", filepath.Base(path), err)
	}
	return g, nil
}

// pointTo makes CURRENT name the generation, whole or not at all.
func (x *Index) pointTo(path string) error {
	next := filepath.Join(x.dir, currentFile+".next")
	f, err := os.Create(next)
	if err == nil {
		_, err = f.WriteString(filepath.Base(path) + "\n")
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err == nil {
		err = os.Rename(next, filepath.Join(x.dir, currentFile))
	}
	if err != nil {
		return fmt.Errorf("search index: name the generation in use: %w", err)
	}
	return nil
}

// sweep removes generations that are not in use: left by a rebuild that did not finish, or by a crash after a swap.
func (x *Index) sweep() {
	entries, err := os.ReadDir(x.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), genPrefix) && e.Name() != filepath.Base(x.gen.path) {
			_ = os.RemoveAll(filepath.Join(x.dir, e.Name()))
		}
	}
}

// use gives the generation in use; done must be called.
func (x *Index) use() (g *generation, done func(), err error) {
	x.inUse.RLock()
	if x.gen == nil {
		x.inUse.RUnlock()
		return nil, nil, search.ErrClosed
	}
	return x.gen, x.inUse.RUnlock, nil
}

// Apply is search.Index's.
func (x *Index) Apply(ctx context.Context, events []intake.Event, at ...search.Position) error {
	x.writer.Lock()
	defer x.writer.Unlock()
	g, done, err := x.use()
	if err != nil {
		return err
	}
	defer done()
	return g.apply(ctx, x.analyzer, x.log, events, at)
}

// Get is search.Index's.
func (x *Index) Get(_ context.Context, id intake.Subject) (search.Document, bool, error) {
	g, done, err := x.use()
	if err != nil {
		return search.Document{}, false, err
	}
	defer done()
	return g.get(id)
}

// Position is search.Index's: what is kept with the newest batch. After a crash Open may give an earlier one.
func (x *Index) Position(context.Context) ([]search.Position, error) {
	g, done, err := x.use()
	if err != nil {
		return nil, err
	}
	defer done()
	return g.position()
}

// Stale says that documents were cut in another way than queries are now (another region, a newer program), so that some
// will not be found until Rebuild.
func (x *Index) Stale() bool {
	g, done, err := x.use()
	if err != nil {
		return false
	}
	defer done()
	print, err := g.engine.GetInternal(keyFingerprint)
	return err != nil || string(print) != x.analyzer.Fingerprint()
}

// Next gives a rebuild the next events of the stream from its beginning on, with the positions after them. It waits for more at the
// stream's end.
type Next func(ctx context.Context) (events []intake.Event, at []search.Position, err error)

// Rebuild makes the index anew from the beginning of the stream while the one in use goes on answering and taking in
// events, and puts the new one in its place when it has caught up. The consumer that calls Apply need not know: what comes to
// it again is passed over. If ctx ends or next fails, everything stays as it was.
func (x *Index) Rebuild(ctx context.Context, next Next) error {
	fresh, err := x.create()
	if err != nil {
		return err
	}
	swapped := false
	defer func() {
		if !swapped {
			_ = fresh.close()
			_ = os.RemoveAll(fresh.path)
		}
	}()
	for {
		if swapped, err = x.swap(fresh); swapped || err != nil {
			return err
		}
		events, at, err := next(ctx)
		if err != nil {
			return fmt.Errorf("search index: read the stream again: %w", err)
		}
		if err := fresh.apply(ctx, x.analyzer, x.log, events, at); err != nil {
			return err
		}
	}
}

// swap exchanges the generations if fresh has everything that the one in use has.
func (x *Index) swap(fresh *generation) (bool, error) {
	x.writer.Lock() // no Apply between the comparison and the exchange
	defer x.writer.Unlock()
	g, done, err := x.use()
	if err != nil {
		return false, err
	}
	have, err1 := fresh.position()
	need, err2 := g.position()
	done()
	if err := errors.Join(err1, err2); err != nil {
		return false, err
	}
	for _, p := range need {
		if !slices.ContainsFunc(have, func(h search.Position) bool { return h.Partition == p.Partition && h.Offset >= p.Offset }) {
			return false, nil
		}
	}
	if err := fresh.flush(); err != nil {
		return false, err
	}
	if err := x.pointTo(fresh.path); err != nil {
		return false, err
	}
	x.inUse.Lock() // waits for searches under way
	old := x.gen
	x.gen = fresh
	x.inUse.Unlock()
	if err := old.close(); err != nil {
		x.log.Warn("search index: the old generation did not close cleanly", "error", err)
	}
	if err := os.RemoveAll(old.path); err != nil {
		x.log.Warn("search index: the old generation cannot be removed", "folder", old.path, "error", err)
	}
	return true, nil
}

// Compact rewrites the index so that nothing of documents that were replaced or erased remains in its files. It is for the
// night, or for the hour after somebody was erased; searching goes on.
func (x *Index) Compact(ctx context.Context) error {
	g, done, err := x.use()
	if err != nil {
		return err
	}
	defer done()
	advanced, err := g.engine.Advanced()
	if err != nil {
		return fmt.Errorf("search index: compact: %w", err)
	}
	s, ok := advanced.(*scorch.Scorch)
	if !ok {
		return fmt.Errorf("search index: compact: the index is no scorch but %T", advanced)
	}
	if err := s.ForceMerge(ctx, nil); err != nil {
		return fmt.Errorf("search index: compact: %w", err)
	}
	return nil
}

// Close waits until everything is on disk and ends.
func (x *Index) Close() error {
	x.writer.Lock()
	defer x.writer.Unlock()
	x.inUse.Lock()
	defer x.inUse.Unlock()
	if x.gen == nil {
		return nil
	}
	g := x.gen
	x.gen = nil
	return errors.Join(g.flush(), g.close())
}

// indexMapping knows no field but those we write ourselves: documents are made by hand and never mapped.
func indexMapping() mapping.IndexMapping {
	m := engine.NewIndexMapping()
	m.DefaultMapping = engine.NewDocumentStaticMapping()
	m.DefaultMapping.Enabled = false
	m.IndexDynamic, m.StoreDynamic, m.DocValuesDynamic = false, false, false
	return m
}

// verify reads every segment in use and compares its checksum (zap: the last four bytes, IEEE CRC-32 of all before), since a segment
// that was cut short or overwritten would otherwise be found by the search that steps into it.
func verify(path string, segments []string) error {
	for _, name := range segments {
		f, err := os.Open(filepath.Join(path, "store", name))
		if err != nil {
			return err
		}
		err = verifySegment(f)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("segment %s: %w", name, err)
		}
	}
	return nil
}

func verifySegment(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() < 4 {
		return io.ErrUnexpectedEOF
	}
	sum := crc32.NewIEEE()
	if _, err := io.CopyN(sum, f, info.Size()-4); err != nil {
		return err
	}
	var want [4]byte
	if _, err := io.ReadFull(f, want[:]); err != nil {
		return err
	}
	if got := sum.Sum(nil); string(got) != string(want[:]) {
		return errors.New("checksum differs")
	}
	return nil
}
