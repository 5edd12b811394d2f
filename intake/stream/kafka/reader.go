package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"yingda/intake"
	"yingda/intake/stream"
)

// Open is stream.Log's: without from, a member of the group (see Share); with from, a reader of all partitions that is no member. A commit of the latter
// counts for the group while it has no members. Open asks no broker: what one says comes out of Fetch.
func (l *Log) Open(group string, from ...stream.Position) (stream.Reader, error) {
	if len(from) == 0 {
		return l.Share(group, nil)
	}
	at := map[int32]int64{}
	for _, p := range from {
		if p.Partition < 0 || int(p.Partition) >= l.config.Partitions {
			return nil, fmt.Errorf("kafka: there is no partition %d", p.Partition)
		}
		at[p.Partition] = p.Offset
	}
	return l.start(&reader{group: group, from: at})
}

// Share is stream.Shared's: a member of the group reads a part of the partitions. at says where the effects of the consumer are, and is asked whenever partitions are given
// out; a partition that it does not name is read from its beginning. With a nil at the reader begins where the group has committed, and at the beginning
// where it has committed nothing.
func (l *Log) Share(group string, at func(context.Context) ([]stream.Position, error)) (stream.Reader, error) {
	return l.start(&reader{group: group, at: at})
}

func (l *Log) start(r *reader) (stream.Reader, error) {
	if r.group == "" {
		return nil, errors.New("kafka: a group needs a name")
	}
	r.log, r.in, r.over = l, make(chan fetched, 1000), make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		cancel()
		return nil, stream.ErrClosed
	}
	l.readers[r] = struct{}{}
	l.mu.Unlock()
	r.wg.Go(func() { r.run(ctx) })
	r.stop = cancel
	return r, nil
}

// fetched is a message on its way from a feed to Fetch, or what made a feed end for good.
type fetched struct {
	turn int64
	kafka.Message
	err error
}

type reader struct {
	log   *Log
	group string
	from  map[int32]int64 // of a reader that is no member
	at    func(context.Context) ([]stream.Position, error)

	in   chan fetched
	stop context.CancelFunc
	over chan struct{} // closed by Close
	wg   sync.WaitGroup
	held []fetched // fetched, and not handed on yet; Fetch's own

	mu     sync.Mutex
	closed bool
	turn   int64             // counts how often partitions were given out; what was fetched in an earlier turn is dropped
	gen    *kafka.Generation // of a member, while it has partitions
}

// run gives out partitions, for as long as the reader is open.
func (r *reader) run(ctx context.Context) {
	if err := r.log.whenReady(ctx); err != nil {
		r.in <- fetched{turn: r.turn, err: err} // the channel is empty yet
		return
	}
	if r.from != nil {
		r.all(ctx)
		return
	}
	for ctx.Err() == nil {
		r.join(ctx)
	}
}

// all reads every partition from where it was told.
func (r *reader) all(ctx context.Context) {
	turn := r.next(nil)
	var wg sync.WaitGroup
	for p := range r.log.config.Partitions {
		after, named := r.from[int32(p)]
		if !named {
			after = -1
		}
		wg.Go(func() { r.feed(ctx, turn, p, max(after, -1)+1) })
	}
	wg.Wait()
}

// join is a member of the group until that fails or is silent for too long.
func (r *reader) join(ctx context.Context) {
	l := r.log
	group, err := kafka.NewConsumerGroup(member(l.config.Settings, l.dialer, r.group))
	if err != nil { // the settings were checked: this is a bug
		panic(err)
	}
	defer group.Close()
	quiet := l.config.Now()
	for ctx.Err() == nil {
		wait, cancel := context.WithTimeout(ctx, session)
		gen, err := group.Next(wait)
		cancel()
		switch {
		case err == nil:
			r.serve(ctx, gen)
			quiet = l.config.Now()
		case errors.Is(err, kafka.ErrGroupClosed):
			return
		case ctx.Err() == nil && !errors.Is(err, context.DeadlineExceeded):
			quiet = l.config.Now() // an error is an answer
			l.complain(r.group, "group of the stream", err)
		}
		if l.config.Now().Sub(quiet) > l.config.Silence+2*session {
			l.slog.Error("the group gave no partitions for long; joining anew", "group", r.group)
			l.revive()
			return
		}
	}
}

// serve reads the partitions of one generation until it ends.
func (r *reader) serve(ctx context.Context, gen *kafka.Generation) {
	turn := r.next(gen)
	assigned := gen.Assignments[r.log.config.Topic]
	r.log.slog.Debug("partitions of the stream", "group", r.group, "generation", gen.ID, "partitions", len(assigned))
	done := make(chan struct{})
	// A function that the generation starts and that returns ends it: this one returns when it has ended otherwise.
	gen.Start(func(g context.Context) {
		defer close(done)
		g, cancel := context.WithCancel(g) // one that costs its children no goroutine
		defer cancel()
		starts := r.starts(g, assigned)
		var wg sync.WaitGroup
		for p, offset := range starts {
			wg.Go(func() { r.feed(g, turn, p, offset) })
		}
		<-g.Done()
		wg.Wait()
	})
	select {
	case <-done:
	case <-ctx.Done(): // Close of the group ends the generation
	}
	r.next(nil)
}

// starts says where each partition is read from.
func (r *reader) starts(ctx context.Context, assigned []kafka.PartitionAssignment) map[int]int64 {
	starts := make(map[int]int64, len(assigned))
	for _, a := range assigned {
		starts[a.ID] = max(a.Offset, 0) // kafka.FirstOffset is negative
	}
	if r.at == nil {
		return starts
	}
	for pause := shortest; ; pause = min(2*pause, longest) {
		at, err := r.at(ctx)
		if err == nil {
			clear(starts)
			for _, a := range assigned {
				starts[a.ID] = 0
			}
			for _, p := range at {
				if _, mine := starts[int(p.Partition)]; mine {
					starts[int(p.Partition)] = max(p.Offset, -1) + 1
				}
			}
			return starts
		}
		r.log.slog.Warn("positions of a consumer cannot be read; trying again", "group", r.group, "err", err)
		if !sleep(ctx, jitter(pause)) {
			return nil
		}
	}
}

// next begins a turn; gen is nil when no partitions are ours.
func (r *reader) next(gen *kafka.Generation) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn++
	r.gen = gen
	return r.turn
}

// feed reads one partition from offset on until ctx ends. A reader of kafka-go that has been silent for long though there is more is thrown away.
func (r *reader) feed(ctx context.Context, turn int64, partition int, offset int64) {
	l := r.log
	before, pause := offset, shortest
	for ctx.Err() == nil {
		config := partitionReader(l.config.Settings, l.dialer, partition)
		k := kafka.NewReader(config)
		var err error
		if err = k.SetOffset(offset); err == nil {
			offset, err = r.pump(ctx, k, turn, partition, offset)
		}
		// Close waits for what hangs; it is not waited for.
		r.wg.Go(func() { _ = k.Close() })
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, errSilent):
			l.slog.Error("a partition gave nothing though there is more; reading it anew", "group", r.group, "partition", partition, "offset", offset)
			l.revive()
		case errors.Is(err, kafka.OffsetOutOfRange):
			var fatal error
			if offset, fatal = r.into(ctx, partition, offset); fatal != nil {
				r.hand(ctx, fetched{turn: turn, err: fatal})
				return
			}
		default:
			l.complain(r.group+" partition", "a partition of the stream", err)
		}
		if offset != before {
			pause = shortest
		}
		before = offset
		if !sleep(ctx, jitter(pause)) {
			return
		}
		pause = min(2*pause, time.Second)
	}
}

var errSilent = errors.New("kafka: silent")

// pump hands on what a reader of kafka-go gives, and returns the offset at which to go on and why it ended.
func (r *reader) pump(ctx context.Context, k *kafka.Reader, turn int64, partition int, offset int64) (int64, error) {
	for {
		var silent bool
		var err error
		if offset, silent, err = r.listen(ctx, k, turn, offset); err != nil {
			return offset, err
		}
		if silent && r.more(ctx, partition, offset) {
			return offset, errSilent
		}
	}
}

// listen hands messages on until none has come for as long as Config.Silence says. A clock is wound for all of them, since one for each takes longer than
// reading it.
func (r *reader) listen(ctx context.Context, k *kafka.Reader, turn int64, offset int64) (next int64, silent bool, err error) {
	wait, cancel := context.WithCancel(ctx)
	defer cancel()
	clock := time.AfterFunc(r.log.config.Silence, cancel)
	defer clock.Stop()
	for {
		m, err := k.FetchMessage(wait)
		onTime := clock.Stop() // whoever takes what is handed on may be slow; that is no silence
		switch {
		case err == nil && m.Offset < offset: // kafka-go gives older ones at times
		case err == nil:
			if !r.hand(ctx, fetched{turn: turn, Message: m}) {
				return offset, false, ctx.Err()
			}
			offset = m.Offset + 1
		case ctx.Err() != nil:
			return offset, false, ctx.Err()
		case errors.Is(err, context.Canceled):
			return offset, true, nil
		default:
			return offset, false, err
		}
		if !onTime {
			return offset, false, nil
		}
		clock.Reset(r.log.config.Silence)
	}
}

// more says whether the partition has a record at offset or after it. It asks over other connections than the reader's.
func (r *reader) more(ctx context.Context, partition int, offset int64) bool {
	ask, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	bounds, err := r.log.bounds(ask)
	return err == nil && bounds[partition].end > offset
}

// into brings an offset that its partition doesn't have to one that it has: what is before its first record was dropped by retention. One beyond its end
// is an error.
func (r *reader) into(ctx context.Context, partition int, offset int64) (int64, error) {
	bounds, err := r.log.bounds(ctx)
	if err != nil {
		return offset, nil // asked again
	}
	b := bounds[partition]
	if offset < b.first {
		r.log.slog.Error("events were dropped by the topic's retention before they were read", "group", r.group, "partition", partition, "events", b.first-offset)
		return b.first, nil
	}
	if offset > b.end {
		return offset, fmt.Errorf("%w: %s is at %d of partition %d, which ends at %d", ErrBeyond, r.group, offset-1, partition, b.end-1)
	}
	return offset, nil
}

// hand gives a message to Fetch, which may take its time. It returns false when ctx ended before that.
func (r *reader) hand(ctx context.Context, f fetched) bool {
	select {
	case r.in <- f:
		return true
	case <-ctx.Done():
		return false
	}
}

// Fetch is stream.Reader's. A limit below 1 is 1.
func (r *reader) Fetch(ctx context.Context, limit int) ([]stream.Record, error) {
	limit = max(limit, 1)
	for {
		select {
		case <-r.over:
			return nil, stream.ErrClosed
		default:
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if len(r.held) == 0 {
			select {
			case f := <-r.in:
				r.held = append(r.held, f)
			case <-r.over:
				return nil, stream.ErrClosed
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		for more := true; more && len(r.held) < limit; {
			select {
			case f := <-r.in:
				r.held = append(r.held, f)
			default:
				more = false
			}
		}
		list, err := r.records(limit)
		if len(list) > 0 || err != nil {
			return list, err
		}
	}
}

// records takes what is held, the leavings of earlier turns left out. An event that can't be had now, or the end of a feed, ends the list, or is the error
// when there was nothing before it; it stays held.
func (r *reader) records(limit int) ([]stream.Record, error) {
	r.mu.Lock()
	turn := r.turn
	r.mu.Unlock()
	list := make([]stream.Record, 0, min(len(r.held), limit))
	taken := 0
	for ; taken < len(r.held) && len(list) < limit; taken++ {
		f := &r.held[taken]
		if f.turn != turn {
			continue
		}
		rec, err := r.record(f)
		if err != nil {
			r.drop(taken)
			if len(list) == 0 {
				return nil, err
			}
			return list, nil
		}
		list = append(list, rec)
	}
	r.drop(taken)
	return list, nil
}

// drop forgets the first n of what is held. The room for them is kept while it is needed.
func (r *reader) drop(n int) {
	left := copy(r.held, r.held[n:])
	clear(r.held[left:])
	r.held = r.held[:left]
	if left == 0 && n < cap(r.held)/8 {
		r.held = nil
	}
}

func (r *reader) record(f *fetched) (stream.Record, error) {
	if f.err != nil {
		return stream.Record{}, f.err
	}
	rec := stream.Record{Position: stream.Position{Partition: int32(f.Partition), Offset: f.Offset}, Raw: structured(f.Message)}
	if rec.Event, rec.Err = r.log.config.Codec.Decode(rec.Raw); rec.Err != nil {
		if errors.Is(rec.Err, intake.ErrLater) {
			return stream.Record{}, fmt.Errorf("record %d of partition %d: %w", f.Offset, f.Partition, rec.Err)
		}
		rec.Event = intake.Event{}
	}
	return rec, nil
}

// Commit is stream.Reader's. What is committed for a partition that has gone to another member meanwhile is passed over: its records come again
// there, which a commit could not prevent any more.
func (r *reader) Commit(ctx context.Context, done ...stream.Position) error {
	r.mu.Lock()
	closed, gen := r.closed, r.gen
	r.mu.Unlock()
	switch {
	case closed:
		return stream.ErrClosed
	case len(done) == 0:
		return nil
	case r.from != nil:
		if err := r.log.commit(ctx, r.group, done); err != nil {
			return r.log.failure("commit of "+r.group, err)
		}
		return nil
	case gen == nil:
		return nil
	}
	mine := map[int]int64{}
	for _, a := range gen.Assignments[r.log.config.Topic] {
		mine[a.ID] = -1
	}
	for _, p := range done {
		if o, ok := mine[int(p.Partition)]; ok {
			mine[int(p.Partition)] = max(o, p.Offset+1)
		}
	}
	maps.DeleteFunc(mine, func(_ int, o int64) bool { return o < 0 })
	if len(mine) == 0 {
		return nil
	}
	err := gen.CommitOffsets(map[string]map[int]int64{r.log.config.Topic: mine})
	r.mu.Lock()
	same := r.gen == gen
	r.mu.Unlock()
	if err == nil || !same || errors.Is(err, kafka.ErrGenerationEnded) || errors.Is(err, kafka.RebalanceInProgress) || errors.Is(err, kafka.IllegalGeneration) || errors.Is(err, kafka.UnknownMemberId) {
		return nil
	}
	return r.log.failure("commit of "+r.group, err)
}

// Close is stream.Reader's. A member leaves its group, so that others have its partitions at once.
func (r *reader) Close() error {
	r.mu.Lock()
	first := !r.closed
	r.closed = true
	r.mu.Unlock()
	if !first {
		return nil
	}
	close(r.over)
	r.stop()
	r.wg.Wait()
	r.log.mu.Lock()
	delete(r.log.readers, r)
	r.log.mu.Unlock()
	return nil
}

// complain says what goes wrong, one kind of thing at most twice a minute: while a broker is away it goes wrong several times a second.
func (l *Log) complain(kind, what string, err error) {
	l.mu.Lock()
	now := l.config.Now()
	quiet := now.Sub(l.said[kind]) < 30*time.Second
	if !quiet {
		l.said[kind] = now
	}
	l.mu.Unlock()
	if !quiet {
		l.slog.Warn(what, "of", kind, "err", err)
	}
}

// revive counts.
func (l *Log) revive() {
	l.mu.Lock()
	l.revived++
	l.mu.Unlock()
}
