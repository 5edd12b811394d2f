package app

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/store"
)

// consumer reads the stream under one name and brings about an effect, a batch at a time, for ever: a failure is said and
// tried again with growing pauses, nothing is skipped.
//
// The goroutine: "consumer <name>", owned by the App, ends with its context.
type consumer struct {
	name  string
	log   stream.Log
	from  func(ctx context.Context) ([]stream.Position, error) // where its effects are; nil: the log's own positions
	apply func(ctx context.Context, records []stream.Record) error
	after func() // told after each batch; must not block
	slog  *slog.Logger

	asOf    atomic.Int64 // ms: time of the newest event that is in
	failing atomic.Int64 // ms: since when it fails, 0 when it does not
}

const batchSize = 500

func (c *consumer) run(ctx context.Context) {
	pause := 100 * time.Millisecond
	for ctx.Err() == nil {
		err := c.read(ctx, func() { pause = 100 * time.Millisecond })
		if ctx.Err() != nil || errors.Is(err, stream.ErrClosed) {
			return
		}
		c.failing.CompareAndSwap(0, time.Now().UnixMilli())
		c.slog.Error("consumer", "name", c.name, "err", err, "again_in", pause)
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
		pause = min(2*pause, 10*time.Second)
	}
}

// read opens a reader where the effects end and goes on until something fails.
func (c *consumer) read(ctx context.Context, good func()) error {
	reader, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer reader.Close()
	for {
		records, err := reader.Fetch(ctx, batchSize)
		if err != nil {
			return err
		}
		if err := c.apply(ctx, records); err != nil {
			return err
		}
		if err := reader.Commit(ctx, last(records)...); err != nil {
			return err
		}
		if t := newest(records); !t.IsZero() {
			c.asOf.Store(t.UnixMilli())
		}
		c.failing.Store(0)
		good()
		if c.after != nil {
			c.after()
		}
	}
}

func (c *consumer) open(ctx context.Context) (stream.Reader, error) {
	if c.from == nil {
		return c.log.Open(c.name)
	}
	at, err := c.from(ctx)
	if err != nil {
		return nil, err
	}
	if len(at) == 0 {
		return c.log.Open(c.name, stream.Position{Offset: -1})
	}
	return c.log.Open(c.name, at...)
}

// catchUp applies what is in the log now and returns: at the start, before calls are taken.
func (c *consumer) catchUp(ctx context.Context, head func() (stream.Position, error)) error {
	end, err := head()
	if err != nil || end.Offset < 0 {
		return err
	}
	reader, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer reader.Close()
	at, err := c.from(ctx)
	if err != nil {
		return err
	}
	for len(at) == 0 || at[0].Offset < end.Offset {
		records, err := reader.Fetch(ctx, 2000)
		if err != nil {
			return err
		}
		if err := c.apply(ctx, records); err != nil {
			return err
		}
		at = last(records)
		if err := reader.Commit(ctx, at...); err != nil {
			return err
		}
	}
	return nil
}

// inTx makes an apply whose effect and position are one transaction.
func inTx(db *store.DB, group string, apply func(ctx context.Context, tx *store.Tx, records []stream.Record) error) func(context.Context, []stream.Record) error {
	return func(ctx context.Context, records []stream.Record) error {
		return db.Tx(ctx, func(tx *store.Tx) error {
			if err := apply(ctx, tx, records); err != nil {
				return err
			}
			for _, p := range last(records) {
				if err := tx.SetPosition(ctx, group, p); err != nil {
					return err
				}
			}
			return nil
		})
	}
}

// last gives the highest position of each partition in a batch.
func last(records []stream.Record) []stream.Position {
	high := map[int32]int64{}
	for _, r := range records {
		if o, ok := high[r.Partition]; !ok || r.Offset > o {
			high[r.Partition] = r.Offset
		}
	}
	list := make([]stream.Position, 0, len(high))
	for p, o := range high {
		list = append(list, stream.Position{Partition: p, Offset: o})
	}
	return list
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
