package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"yingda/intake/stream"
)

// Outbox is where the events of a node are until they are in the topic (sqllog.Log).
type Outbox interface {
	OpenRaw(group string) (stream.Reader, error)
	Lag(ctx context.Context, group string) (stream.Lag, error)
}

// RelayGroup is the name under which a relay reads its outbox. It is kept with the position: never rename it.
const RelayGroup = "kafka"

// relayRows are read and on their way at once: what a relay holds in memory, a second time while the next are read.
const relayRows = 4000

// Relay carries an outbox into the topic: in the order of the outbox, at least once, for ever. What can never be written goes to the dead letters, and those behind
// it go on. Where it is it notes in the outbox, after the brokers have what is before it, so that it goes on there after a crash.
//
// Goroutines: Run is the caller's; beside it a "looker" reads ahead, and ends with it.
type Relay struct {
	Outbox Outbox
	Log    *Log
	Node   string             // whose outbox it is
	Dead   stream.DeadLetters // where to put what can never be written
	Logger *slog.Logger       // nil: slog.Default

	sent, aside atomic.Int64
	failing     atomic.Int64 // ms, since when; 0: it does not
}

// RelayState is what a relay has done.
type RelayState struct {
	Sent    int64     // events in the topic since the start
	Aside   int64     // dead letters since the start
	Failing time.Time // since when it cannot go on; zero when it can
}

// State of the relay.
func (r *Relay) State() RelayState {
	s := RelayState{Sent: r.sent.Load(), Aside: r.aside.Load()}
	if ms := r.failing.Load(); ms != 0 {
		s.Failing = time.UnixMilli(ms).UTC()
	}
	// While the brokers are away a batch waits in the log, which tries for ever: the relay hears of nothing.
	if l := r.Log.State(); l.Failing && (s.Failing.IsZero() || l.Since.Before(s.Failing)) {
		s.Failing = l.Since.UTC()
	}
	return s
}

// Lag of the topic behind the outbox.
func (r *Relay) Lag(ctx context.Context) (stream.Lag, error) { return r.Outbox.Lag(ctx, RelayGroup) }

// Run carries until ctx ends or outbox or log are closed.
func (r *Relay) Run(ctx context.Context) {
	if r.Logger == nil {
		r.Logger = slog.Default()
	}
	for pause := shortest; ; pause = min(2*pause, longest) {
		began := time.Now()
		err := r.carry(ctx)
		if ctx.Err() != nil || errors.Is(err, stream.ErrClosed) {
			return
		}
		r.trouble("relay", err)
		if time.Since(began) > longest {
			pause = shortest
		}
		if !sleep(ctx, jitter(pause)) {
			return
		}
	}
}

func (r *Relay) trouble(what string, err error) {
	r.failing.CompareAndSwap(0, time.Now().UnixMilli())
	r.Logger.Error(what, "node", r.Node, "err", err)
}

// carry reads the outbox from where it was left until something fails.
func (r *Relay) carry(ctx context.Context) error {
	reader, err := r.Outbox.OpenRaw(RelayGroup)
	if err != nil {
		return err
	}
	defer reader.Close()
	ctx, cancel := context.WithCancel(ctx)
	ahead := make(chan load)
	ended := make(chan error, 1)
	go func() {
		ended <- look(ctx, reader, ahead)
		close(ahead)
	}()
	defer func() { // a reader is used by one goroutine; Commit is safe beside Fetch in the outbox, Close is not
		cancel()
		for range ahead {
		}
	}()
	for next := range ahead {
		if err := r.send(ctx, next); err != nil {
			return err
		}
		r.failing.Store(0)
		// A commit that the disk does not take now is made good by the next: until then more would come again after a crash, which does no harm.
		if err := reader.Commit(ctx, next.end); err != nil && !errors.Is(err, stream.ErrUnwritten) {
			return fmt.Errorf("position of the relay: %w", err)
		}
	}
	return <-ended
}

// load is a batch on its way.
type load struct {
	records []stream.Record
	end     stream.Position // of the last of them
	parcel  *parcel
	unfit   error // why there is no parcel
}

// make packs the records.
func (b *load) make() {
	raws := make([][]byte, len(b.records))
	for i := range b.records {
		raws[i] = b.records[i].Raw
	}
	b.parcel, b.unfit = pack(raws)
}

// look reads and packs ahead by one batch.
func look(ctx context.Context, reader stream.Reader, ahead chan<- load) error {
	for {
		records, err := reader.Fetch(ctx, relayRows)
		if err != nil {
			return err
		}
		next := load{records: records, end: records[len(records)-1].Position}
		next.make()
		select {
		case ahead <- next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// send brings a batch into the topic, in order, trying for ever.
func (r *Relay) send(ctx context.Context, b load) error {
	for pause := shortest; len(b.records) > 0; {
		err := b.unfit
		if err == nil {
			err = r.Log.deliver(ctx, b.parcel)
		}
		var unfit Unfit
		switch {
		case err == nil:
			r.sent.Add(int64(len(b.records)))
			return nil
		case errors.As(err, &unfit):
			if err := r.put(ctx, b.records[unfit.Index], unfit.Why); err != nil {
				return err
			}
			// Of the others some may be sent once more, which their readers pass over.
			b.records = slices.Delete(b.records, unfit.Index, unfit.Index+1)
		case ctx.Err() != nil || errors.Is(err, stream.ErrClosed):
			return err
		default:
			r.trouble("relay", err)
			if !sleep(ctx, jitter(pause)) {
				return ctx.Err()
			}
			pause = min(2*pause, longest)
		}
		b.make() // a parcel is used once
	}
	return nil
}

// put puts a record aside, trying for ever: it may not be lost.
func (r *Relay) put(ctx context.Context, record stream.Record, why error) error {
	letter := stream.Letter{Consumer: "relay", Source: r.Node, Position: record.Position, Raw: record.Raw, Reason: why.Error(), Attempts: 1}
	for pause := shortest; ; pause = min(2*pause, longest) {
		err := r.Dead.Put(ctx, letter)
		if err == nil {
			r.aside.Add(1)
			r.Logger.Error("an event can never be written to the stream; it is put aside", "node", r.Node, "row", record.Offset, "why", why)
			return nil
		}
		if ctx.Err() != nil || errors.Is(err, stream.ErrClosed) {
			return err
		}
		r.trouble("dead letter", err)
		if !sleep(ctx, jitter(pause)) {
			return ctx.Err()
		}
	}
}
