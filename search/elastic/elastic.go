// Package elastic keeps the search documents of many machines in Elasticsearch 8.
//
// Open it with a Config and an Analyzer, give it events with Apply (or records of the stream with ApplyRecords), ask with Search. Our
// Analyzer cuts documents and queries into tokens and the mapping takes them as they are, so no plugin is needed and the same is found as
// by package bleve: BM25 for a token, the best of a concept's ways (dis_max), the sum over concepts (bool). Where the plugins IK or ICU are
// there, their cuts of the words lift hits and never make one.
//
// What is where: Config.Index is an alias; behind it stands one index, a generation ("….g0"), which holds the documents and, as documents
// of another kind, the stream's position by partition, so that both have one fate. A document's version is the sequence of the newest event
// in it and how many came late, a position's is its offset: Elasticsearch itself refuses what is older, whoever sends it, and that refusal is success.
// Documents are written before positions; what a crash leaves between is read again and changes nothing.
//
// When the server does not take something (down, red, read-only, 429, 503), Apply tries again with growing pauses and jitter until it does or the context
// ends; Trouble says since when. What can never be taken (400) goes to Options.DeadLetter with the stream's bytes, and the rest goes on.
//
// Reindex makes a new generation while people search and events come: it is filled from the documents of the old one or from the
// stream, follows the stream until it has everything, and takes the alias over in one step. An Index in another process that went on writing
// to the old one learns it from its next Apply (ErrMoved) and reads the stream from the new one's Position: nothing is between the chairs.
//
// Of the client go-elasticsearch the transport is used: several addresses, TLS, basic and API key authentication. Its product check looks at the
// header X-Elastic-Product of the first good answer, whichever that is; GET / is never asked. Requests have a deadline each, bodies are
// our own JSON, and the text of a query reaches the server as tokens in term queries only (with IK or ICU as the text of a match query,
// which has no syntax).
//
// Goroutines: a write has up to two requests under way, each in a goroutine that ends with it; Follow writes in up to two that end with Follow.
// Apply is called by one goroutine, the others by many; Reindex may run beside Apply.
//
// What it does not do: it follows no stream, it uses no scripting, _reindex, _update_by_query, _delete_by_query or ILM, and it makes
// no users or roles: the account needs "manage" on the alias and its generations, "manage_index_templates" and, to see that a shard is lost, "monitor".
package elastic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"sync/atomic"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/search"
)

// Config says where Elasticsearch is: the section search.elastic of the configuration.
type Config struct {
	Addresses []string `koanf:"addresses" doc:"URLs of the Elasticsearch nodes, as https://es1.example:9200; none: the embedded index is used"`
	Index     string   `koanf:"index" doc:"name of the alias; its indices are named after it. Small letters, digits, dash; empty: yingda-search"`
	User      string   `koanf:"user" doc:"user, when Elasticsearch asks for one"`
	Password  string   `koanf:"password" doc:"password of the user" secret:"true"`
	APIKey    string   `koanf:"api_key" doc:"API key as Elasticsearch gives it (encoded); goes before user and password" secret:"true"`
	CA        string   `koanf:"ca" doc:"PEM file of the authority that signed the nodes' certificates; empty: those the system trusts"`
	Shards    int      `koanf:"shards" doc:"primary shards of an index that is made; 0: 1, which is enough for some ten million documents"`
}

// DefaultIndex is the alias when Config.Index is empty.
const DefaultIndex = "yingda-search"

var indexName = regexp.MustCompile(`^[a-z0-9][a-z0-9_-]{0,99}$`)

// Check says what is wrong with it; nil when nothing is.
func (c Config) Check() error {
	if len(c.Addresses) == 0 {
		return errors.New("no address of Elasticsearch is given")
	}
	for _, a := range c.Addresses {
		u, err := url.Parse(a)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return errors.New("an address of Elasticsearch is not like https://es1.example:9200")
		}
		if u.User != nil { // the client would take it for all nodes, and errors might print it
			return fmt.Errorf("the address of %s has a password in it: give user and password for themselves", u.Host)
		}
	}
	if c.Index != "" && !indexName.MatchString(c.Index) {
		return fmt.Errorf("%q is no name for an index: small letters, digits, dash and underscore", c.Index)
	}
	if c.Shards < 0 || c.Shards > 64 {
		return fmt.Errorf("%d shards: 1 to 64 make sense", c.Shards)
	}
	return nil
}

// Options are what only the program sets. The zero value is useful.
type Options struct {
	Analyzer   *search.Analyzer                          // nil: search.NewAnalyzer with the zero configuration
	Logger     *slog.Logger                              // nil: slog.Default()
	DeadLetter func(ctx context.Context, l Letter) error // takes what Elasticsearch will never take; nil: it is logged and left out
	Pause      time.Duration                             // before the first try again, doubled up to 100 times as much; 0: 100 ms
	// Earlier gives what was said of subjects before, in any order. It is asked when events come that are not their subjects' first and there are no documents: Retain has taken them
	// out, and a matter that comes back has to come back whole. nil: a document begins with that event.
	Earlier func(ctx context.Context, ids ...intake.Subject) ([]intake.Event, error)
}

// Letter is an event that cannot get into the index. Neither it nor its reason is logged with what the event says.
type Letter struct {
	Record   stream.Record // as it was read; from Apply only its Event is set
	Status   int           // HTTP status of the item; 0 when the document could not even be written down
	Reason   string        // Elasticsearch's type and reason, without values
	Attempts int           // how often the document was sent
}

// ErrMoved is returned by Apply when another process exchanged the index meanwhile. What was given is not lost: the caller reads the stream from
// Position, which is now that of the new index.
var ErrMoved = errors.New("search index: another one took its place, the stream is to be read from its position")

// Index is a search.Index in Elasticsearch.
type Index struct {
	alias    string
	shards   int
	analyzer *search.Analyzer
	log      *slog.Logger
	letter   func(ctx context.Context, l Letter) error
	earlier  func(ctx context.Context, ids ...intake.Subject) ([]intake.Event, error)
	pause    time.Duration
	some     int // events whose documents are written at once
	client   *client
	closed   atomic.Bool
	done     chan struct{} // closed by Close: nothing is tried again

	writer sync.RWMutex // held by each Apply; whole by an exchange or Close, which so find none under way

	leave atomic.Pointer[string] // a generation that is lost and about to be replaced: nothing is tried on it again

	fold sync.Mutex  // one Apply at a time writes documents
	gen  *generation // what the alias stands for, as far as those who write know; nil: to be looked up. With fold, or with writer whole

	setup  sync.Mutex // one prepare at a time
	extras atomic.Pointer[extras]

	written   atomic.Int64 // grows with every write
	refreshed atomic.Int64 // value of written that can be searched
	refresh   sync.Mutex

	callbacks atomic.Int64         // grows with every write that changes a callback
	owed      atomic.Pointer[owed] // what open callbacks name, as it was at some value of callbacks

	trouble atomic.Pointer[trouble]
}

var _ search.Index = (*Index)(nil)

// Open reads the configuration and connects to nobody: a hotline begins to take calls whether or not Elasticsearch runs. The first
// Apply, Search or Position makes the alias and its first index when there are none.
func Open(c Config, o Options) (*Index, error) {
	if c.Index == "" {
		c.Index = DefaultIndex
	}
	if err := c.Check(); err != nil {
		return nil, fmt.Errorf("search index: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Pause <= 0 {
		o.Pause = 100 * time.Millisecond
	}
	if o.Analyzer == nil {
		a, err := search.NewAnalyzer(search.AnalyzerConfig{})
		if err != nil {
			return nil, err
		}
		o.Analyzer = a
	}
	cl, err := newClient(c)
	if err != nil {
		return nil, err
	}
	x := &Index{alias: c.Index, shards: max(c.Shards, 1), analyzer: o.Analyzer, log: o.Logger, letter: o.DeadLetter, earlier: o.Earlier, pause: o.Pause, some: perWrite, client: cl, done: make(chan struct{})}
	if x.letter == nil {
		x.letter = x.logLetter
	}
	return x, nil
}

func (x *Index) logLetter(_ context.Context, l Letter) error {
	x.log.Error("a document cannot be written and is left out of the search index", "event", l.Record.Event.ID(), "status", l.Status, "reason", l.Reason)
	return nil
}

// Apply is search.Index's. It returns ErrMoved when the index was exchanged by another process.
func (x *Index) Apply(ctx context.Context, events []intake.Event, at ...search.Position) error {
	records := make([]stream.Record, len(events))
	for i, e := range events {
		records[i] = stream.Record{Event: e}
	}
	return x.apply(ctx, records, at)
}

// ApplyRecords does the same with records of the stream, so that a dead letter has the stream's bytes, and keeps their positions. Records that could not
// be read (Err) are passed over: they are put aside by whoever reads the stream.
func (x *Index) ApplyRecords(ctx context.Context, records []stream.Record) error {
	return x.apply(ctx, records, at(records))
}

func (x *Index) apply(ctx context.Context, records []stream.Record, at []search.Position) error {
	return x.applyThen(ctx, records, at, func() {})
}

// applyThen calls written as soon as the documents are written or nothing comes of it: while the positions are, another may begin.
func (x *Index) applyThen(ctx context.Context, records []stream.Record, at []search.Position, written func()) error {
	x.writer.RLock()
	defer x.writer.RUnlock()
	g, err := x.take(ctx, records)
	written()
	if err != nil {
		return err
	}
	if err = g.keep(ctx, at); err == nil {
		// Only now is it certain that what was written is seen: had the alias moved before, a reindex may have read the position too early.
		err = x.persist(ctx, "look up the alias", func(ctx context.Context) error {
			name, err := x.resolve(ctx)
			if err == nil && name != g.name {
				err = ErrMoved
			}
			return err
		})
	}
	if err != nil {
		x.fold.Lock()
		x.failed(g, err)
		x.fold.Unlock()
	}
	return err
}

// take writes what the records say into the generation in use.
func (x *Index) take(ctx context.Context, records []stream.Record) (*generation, error) {
	x.fold.Lock()
	defer x.fold.Unlock()
	if x.closed.Load() {
		return nil, search.ErrClosed
	}
	g, err := x.current(ctx)
	if err != nil {
		return nil, err
	}
	if err := g.take(ctx, records); err != nil {
		x.failed(g, err)
		return nil, err
	}
	return g, nil
}

// failed forgets what may not be as we think. The lock fold is held.
func (x *Index) failed(g *generation, err error) {
	g.cache = cache{}
	if errors.Is(err, ErrMoved) && x.gen == g {
		x.gen = nil
	}
}

// current gives the generation in use, looked up when nobody knows it. The lock fold is held.
func (x *Index) current(ctx context.Context) (*generation, error) {
	if x.gen != nil {
		return x.gen, nil
	}
	var name string
	err := x.persist(ctx, "prepare the index", func(ctx context.Context) (err error) {
		name, err = x.prepare(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	x.gen = x.generation(name)
	return x.gen, nil
}

// Get is search.Index's. It sees what was written at once.
func (x *Index) Get(ctx context.Context, id intake.Subject) (search.Document, bool, error) {
	if x.closed.Load() {
		return search.Document{}, false, search.ErrClosed
	}
	if _, err := x.prepared(ctx); err != nil {
		return search.Document{}, false, err
	}
	found, err := x.fetch(ctx, x.alias, []intake.Subject{id})
	doc, ok := found[id]
	return doc, ok, err
}

// Position is search.Index's, read from the server.
func (x *Index) Position(ctx context.Context) ([]search.Position, error) {
	if x.closed.Load() {
		return nil, search.ErrClosed
	}
	if _, err := x.prepared(ctx); err != nil {
		return nil, err
	}
	at, err := x.position(ctx, x.alias)
	if gone(err) { // somebody removed it: an empty one is made, and the stream is read from its beginning
		if _, err := x.prepare(ctx); err != nil {
			return nil, err
		}
		at, err = x.position(ctx, x.alias)
	}
	return at, err
}

// Trouble says since when Elasticsearch does not take what Apply or Reindex gives it, and why; a zero time when it does.
func (x *Index) Trouble() (since time.Time, why error) {
	if t := x.trouble.Load(); t != nil {
		return t.since, t.err
	}
	return time.Time{}, nil
}

// Lost says that a shard of the index is nowhere (its health is red): what is in it cannot be found, and nothing can be written to it. It is so for a while after a start of
// Elasticsearch too, until the shard is found. An account that may not look gets no.
func (x *Index) Lost(ctx context.Context) (bool, error) {
	name, err := x.resolve(ctx) // what is not there is red too
	if status(err) == http.StatusNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var health struct{ Status string }
	err = x.client.json(ctx, shortTime, http.MethodGet, "/_cluster/health/"+name+"?timeout=1s&filter_path=status", nil, &health)
	if status(err) == http.StatusForbidden {
		return false, nil
	}
	return err == nil && health.Status == "red", err
}

// Close waits for a request of Apply that is under way, lets it try nothing again, and ends.
func (x *Index) Close() error {
	if x.closed.Swap(true) {
		return nil
	}
	close(x.done)
	x.writer.Lock()
	defer x.writer.Unlock()
	return x.client.close()
}
