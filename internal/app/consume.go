package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"yingda/intake"
	"yingda/intake/books"
	"yingda/intake/stream"
	"yingda/internal/store"
)

// consumer reads the stream under one name and brings about an effect, a batch at a time, for ever: a failure is said and
// tried again with growing pauses. What can never be used goes to the dead letters, when there are any; nothing is skipped.
//
// The goroutine: "consumer <name>", owned by the App, ends with its context.
type consumer struct {
	name   string
	stream func() Stream
	from   func(ctx context.Context) ([]stream.Position, error) // where its effects are
	apply  func(ctx context.Context, records []stream.Record) error
	follow func(ctx context.Context, r stream.Reader, each func([]stream.Record)) error // reads, applies and commits by itself; nil: read does
	after  func()                                                                       // told after each batch; must not block
	dead   func() stream.DeadLetters                                                    // nil, or gives nil: what cannot be used is tried for ever
	alive  func(ctx context.Context) bool                                               // whether what its effects are in works: then a failure is the record's
	once   func(ctx context.Context, r stream.Record) error                             // applies one record outside of its order: a dead letter that is tried again
	moved  func(ctx context.Context) bool                                               // whether the positions were moved back beside it; nil: they never are
	slog   *slog.Logger

	asOf    atomic.Int64 // ms: time of the newest event that is in
	failing atomic.Int64 // ms: since when it fails, 0 when it does not
	upTo    atomic.Int64 // ms: everything until then is in, as far as is known (lookAtLag)

	mu   sync.Mutex
	stop context.CancelCauseFunc // ends what it reads now; nil: it reads nothing
}

const (
	batchSize = 500
	fewTries  = 5 // of a batch, before its records are tried one by one
)

func (c *consumer) run(ctx context.Context) {
	tries := 0
	for pause := 100 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 10*time.Second) {
		err := c.readUntil(ctx, tries, func() { pause, tries = 100*time.Millisecond, 0 })
		if ctx.Err() != nil || errors.Is(err, stream.ErrClosed) {
			return
		}
		if errors.Is(err, errMoved) {
			c.slog.Warn("a consumer reads again what it had before: somebody began a replay", "name", c.name)
			pause, tries = 50*time.Millisecond, 0
			continue
		}
		tries++
		c.failing.CompareAndSwap(0, time.Now().UnixMilli())
		c.slog.Error("consumer", "name", c.name, "err", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// readUntil is read, which again can end.
func (c *consumer) readUntil(ctx context.Context, tries int, good func()) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c.mu.Lock()
	c.stop = stop
	c.mu.Unlock()
	err := c.read(ctx, tries, good)
	if cause := context.Cause(ctx); errors.Is(cause, errMoved) {
		return cause
	}
	return err
}

// again lets it open its reader anew when its positions were moved. It would notice with the next record; this is for when none comes.
func (c *consumer) again(ctx context.Context) {
	if c.moved == nil || !c.moved(ctx) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stop != nil {
		c.stop(errMoved)
	}
}

// read opens a reader where the effects end and goes on until something fails. tries says how often it has just failed here.
func (c *consumer) read(ctx context.Context, tries int, good func()) error {
	reader, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer reader.Close()
	done := func(records []stream.Record) {
		if t := newest(records); !t.IsZero() {
			c.asOf.Store(t.UnixMilli())
		}
		c.failing.Store(0)
		good()
		if c.after != nil {
			c.after()
		}
	}
	if c.follow != nil && tries < fewTries {
		return c.follow(ctx, reader, done)
	}
	for {
		records, err := reader.Fetch(ctx, batchSize)
		if err != nil {
			return err
		}
		if err := c.bring(ctx, records, tries); err != nil {
			return err
		}
		if err := reader.Commit(ctx, stream.Newest(records)...); err != nil {
			return err
		}
		tries = 0
		done(records)
		if c.follow != nil {
			return c.follow(ctx, reader, done)
		}
	}
}

// bring brings about what a batch says: first what cannot be read goes aside; a batch that failed time and again is tried record by record, and the one that
// still fails while everything else works goes aside as well.
func (c *consumer) bring(ctx context.Context, records []stream.Record, tries int) error {
	var dead stream.DeadLetters
	if c.dead != nil {
		dead = c.dead()
	}
	if dead != nil {
		if err := putAside(ctx, dead, c.name, 1, records); err != nil {
			return err
		}
	}
	if dead == nil || tries < fewTries {
		return c.apply(ctx, records)
	}
	return c.oneByOne(ctx, dead, records, tries+1)
}

// oneByOne tries the records of a batch that failed for themselves, each for the attempts-th time.
func (c *consumer) oneByOne(ctx context.Context, dead stream.DeadLetters, records []stream.Record, attempts int) error {
	for i, r := range records {
		err := c.apply(ctx, records[i:i+1])
		if err == nil {
			continue
		}
		if ctx.Err() != nil || errors.Is(err, errMoved) || store.Passing(err) || errors.Is(err, stream.ErrUnwritten) || errors.Is(err, stream.ErrFull) || c.alive != nil && !c.alive(ctx) {
			return err
		}
		r.Err = err
		if err := putAside(ctx, dead, c.name, attempts, []stream.Record{r}); err != nil {
			return err
		}
		c.slog.Error("an event is put aside: it could not be used time and again; see yingda dlq", "name", c.name, "partition", r.Partition, "position", r.Offset, "err", err)
		if err := c.apply(ctx, []stream.Record{r}); err != nil { // without its event: only the position moves
			return err
		}
	}
	return nil
}

func (c *consumer) open(ctx context.Context) (stream.Reader, error) {
	at, err := c.from(ctx)
	if err != nil {
		return nil, err
	}
	if at = inStream(c.stream(), at); len(at) == 0 {
		at = []stream.Position{{Offset: -1}}
	}
	return c.stream().Open(c.name, at...)
}

// catchUp applies what is in the stream now and returns: at the start, before calls are taken.
func (c *consumer) catchUp(ctx context.Context) error {
	at, err := c.from(ctx)
	if err != nil {
		return err
	}
	return readThrough(ctx, c.stream(), at, func() (stream.Reader, error) { return c.open(ctx) }, func(reader stream.Reader, records []stream.Record) error {
		err := c.bring(ctx, records, 0)
		if err != nil && ctx.Err() == nil && c.dead != nil { // one record that cannot be used must not keep a hotline from answering
			c.slog.Error("consumer", "name", c.name, "err", err)
			err = c.oneByOne(ctx, c.dead(), records, 2)
		}
		if err != nil {
			return err
		}
		if err := reader.Commit(ctx, stream.Newest(records)...); err != nil { // the positions that count are beside the effects; these are for the lag, and the next commit makes up for it
			c.slog.Debug("commit", "consumer", c.name, "err", err)
		}
		return nil
	})
}

// tables makes a consumer whose effect and position are one transaction in the tables.
func (a *App) tables(group string, apply func(ctx context.Context, tx *store.Tx, records []stream.Record) error, after func()) *consumer {
	f := &fence{db: a.DB, group: group, apply: apply}
	if group == books.Group {
		f.over = a.books.CaughtUp
	}
	return &consumer{name: group, stream: a.stream, slog: a.log, after: after, dead: a.deadLetters, alive: a.tablesWork, from: f.from, apply: f.bring, once: f.once, moved: f.moved}
}

// tablesWork says whether a transaction can be written now.
func (s *Store) tablesWork(ctx context.Context) bool {
	return s.DB.Tx(ctx, func(tx *store.Tx) error {
		_, err := tx.ExecContext(ctx, "UPDATE positions SET pos = pos WHERE grp = ''")
		return err
	}) == nil
}

func newest(records []stream.Record) time.Time {
	var t time.Time
	for _, r := range records {
		if r.Event.Time.After(t) {
			t = r.Event.Time
		}
	}
	return t
}

// relay carries the outbox of the tables into the stream, in order, at least once: an event that is there already is
// passed over by the log.
//
// The goroutine: "relay", owned by the App, ends with its context.
type relay struct {
	db     *store.DB
	log    stream.Log
	decode func([]byte) (intake.Event, error)
	slog   *slog.Logger
}

func (r *relay) run(ctx context.Context) {
	bell := r.db.Emitted()
	every := time.NewTicker(time.Second) // another process (the command line) may have put something there
	defer every.Stop()
	for {
		n, err := r.once(ctx)
		if err != nil && ctx.Err() == nil {
			r.slog.Error("outbox", "err", err)
		}
		if n == batchSize && err == nil {
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-bell:
		case <-every.C:
		}
	}
}

func (r *relay) once(ctx context.Context) (int, error) {
	out, err := r.db.Outbox(ctx, batchSize)
	if err != nil || len(out) == 0 {
		return 0, err
	}
	events := make([]intake.Event, 0, len(out))
	for _, o := range out {
		e, err := r.decode(o.Event)
		if err != nil {
			return 0, err
		}
		events = append(events, e)
	}
	// ErrUnwritten keeps the events in memory only; they stay in the outbox until they are on disk.
	if err := r.log.Append(ctx, events...); err != nil {
		return 0, err
	}
	return len(out), r.db.Sent(ctx, out[len(out)-1].Row)
}
