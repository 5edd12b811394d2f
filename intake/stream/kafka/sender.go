package kafka

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/segmentio/kafka-go"

	"yingda/intake"
	"yingda/intake/stream"
)

// Pauses between tries.
const (
	shortest = 100 * time.Millisecond
	longest  = 5 * time.Second
)

// parcel is what one Append or Forward wants written.
type parcel struct {
	messages []kafka.Message
	size     int64
	done     chan error // takes one answer

	// Under Log.mu:
	taken int  // messages that a round has taken
	left  int  // messages not yet written
	over  bool // it has its answer, or nobody waits for one
}

// Append is stream.Log's, with the limits that the package names: a repeat is a second record, and after an error some of the events may be in the topic.
// It waits as long as ctx lets it; with stream.ErrFull it says that too much waits already.
func (l *Log) Append(ctx context.Context, events ...intake.Event) error {
	if err := ctx.Err(); err != nil || len(events) == 0 {
		return err
	}
	raws := make([][]byte, len(events))
	for i, e := range events {
		if err := e.Check(); err != nil {
			return err
		}
		var err error
		if raws[i], err = l.config.Codec.Encode(e); err != nil {
			return fmt.Errorf("encode %s: %w", e.ID(), err)
		}
	}
	return l.Forward(ctx, raws...)
}

// Forward writes events whose bytes are there already, as an outbox keeps them: CloudEvents JSON. The bytes of data go through as they are; nothing is opened.
// Order holds as in Append, for which it stands otherwise. It fails with Unfit, and writes nothing, when one of them can never be written.
func (l *Log) Forward(ctx context.Context, raws ...[]byte) error {
	if err := ctx.Err(); err != nil || len(raws) == 0 {
		return err
	}
	p, err := pack(raws)
	if err != nil {
		return err
	}
	return l.deliver(ctx, p)
}

// pack makes messages of events. It fails with Unfit.
func pack(raws [][]byte) (*parcel, error) {
	p := &parcel{messages: make([]kafka.Message, len(raws)), left: len(raws), done: make(chan error, 1)}
	for i, raw := range raws {
		m, err := message(raw)
		if err == nil && len(raw) > maxEvent {
			err = fmt.Errorf("%w: it has %d bytes, at most %d can be written", intake.ErrInvalid, len(raw), maxEvent)
		}
		if err != nil {
			return nil, Unfit{i, err}
		}
		m.WriterData = i
		p.messages[i] = m
		p.size += int64(len(raw))
	}
	return p, nil
}

// deliver puts a parcel into the queue and waits for its answer.
func (l *Log) deliver(ctx context.Context, p *parcel) error {
	if err := l.enter(p); err != nil {
		return err
	}
	select {
	case err := <-p.done:
		return err
	case <-ctx.Done():
		l.finish(p, fmt.Errorf("kafka: not known to be written: %w", ctx.Err()))
		return <-p.done // which may be another, if it has come in this moment
	}
}

// Unfit says that an event can never be written, and which.
type Unfit struct {
	Index int   // among those that were given
	Why   error // wraps intake.ErrInvalid
}

func (u Unfit) Error() string { return fmt.Sprintf("event %d of the batch: %v", u.Index, u.Why) }
func (u Unfit) Unwrap() error { return u.Why }

func (l *Log) enter(p *parcel) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return stream.ErrClosed
	}
	if l.waiting > 0 && (l.waiting+len(p.messages) > l.config.Memory || l.size+p.size > l.config.MemoryBytes) {
		return stream.ErrFull
	}
	l.queue = append(l.queue, p)
	l.waiting += len(p.messages)
	l.size += p.size
	select {
	case l.bell <- struct{}{}:
	default:
	}
	return nil
}

// sender sends what is in the queue until the log is closed. One round is at most one batch in each partition, and the next begins when all of it is written:
// so what is tried again never comes behind what came later.
func (l *Log) sender() {
	defer close(l.done)
	ctx, cancel := l.until(context.Background())
	defer cancel()
	var wrong error
	select {
	case <-l.ready:
		wrong = l.wrong
	case <-l.quit:
	}
	for !l.isClosed() {
		if wrong != nil {
			l.abandon(wrong)
		} else if round := l.next(); len(round) > 0 {
			l.send(ctx, round)
			continue
		}
		select {
		case <-l.bell:
		case <-l.quit:
		}
	}
	l.abandon(stream.ErrClosed)
}

// item is one message of a round.
type item struct {
	of *parcel
	kafka.Message
}

// next takes a round from the head of the queue.
func (l *Log) next() []item {
	l.mu.Lock()
	defer l.mu.Unlock()
	var round []item
	size := int64(0)
	for len(l.queue) > 0 {
		p := l.queue[0]
		for !p.over && p.taken < len(p.messages) {
			m := p.messages[p.taken]
			n := footprint(m)
			if len(round) > 0 && (len(round) == batchRows || size+n > l.bytes) {
				return round
			}
			round = append(round, item{p, m})
			size += n
			p.taken++
		}
		l.queue[0] = nil
		l.queue = l.queue[1:]
	}
	l.queue = nil
	return round
}

// footprint is at least what a message takes in a batch.
func footprint(m kafka.Message) int64 {
	n := len(m.Key) + len(m.Value) + 64
	for _, h := range m.Headers {
		n += len(h.Key) + len(h.Value) + 10
	}
	return int64(n)
}

// send writes a round, however long it takes, or until the log is closed.
func (l *Log) send(ctx context.Context, round []item) {
	alone := false // one message at a time, to find the one that is too large
	pause := shortest
	for round = l.waited(round); len(round) > 0; round = l.waited(round) {
		part := round
		if alone {
			part = round[:1]
		}
		of := l.write(ctx, part)
		var failed []item
		var why error
		for i, it := range part {
			switch err := of(i); {
			case err == nil:
				l.written(it.of)
			case alone && errors.Is(err, kafka.MessageSizeTooLarge):
				l.finish(it.of, Unfit{it.WriterData.(int), fmt.Errorf("%w: %w", intake.ErrInvalid, err)})
			default:
				failed, why = append(failed, it), err
			}
		}
		round = append(failed, round[len(part):]...)
		switch {
		case why == nil:
			pause = shortest
			l.goes()
		case errors.Is(why, kafka.MessageSizeTooLarge):
			alone = true
		default:
			l.failing(why)
			if !sleep(ctx, jitter(pause)) {
				for _, it := range round {
					l.finish(it.of, stream.ErrClosed)
				}
				return
			}
			pause = min(2*pause, longest)
		}
	}
}

// write sends and gives each message's error. The writer is given no end: while a batch is on its way nothing else may be sent.
func (l *Log) write(ctx context.Context, part []item) func(int) error {
	messages := make([]kafka.Message, len(part))
	for i, it := range part {
		messages[i] = it.Message
	}
	err := l.writer.WriteMessages(ctx, messages...)
	var each kafka.WriteErrors
	if errors.As(err, &each) && len(each) == len(part) {
		return func(i int) error { return each[i] }
	}
	var large kafka.MessageTooLargeError
	if errors.As(err, &large) {
		err = kafka.MessageSizeTooLarge
	}
	return func(int) error { return err }
}

// waited leaves out of a round what nobody waits for any more.
func (l *Log) waited(round []item) []item {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.DeleteFunc(round, func(it item) bool { return it.of.over })
}

// written notes that one message of a parcel is written, and answers when it was the last.
func (l *Log) written(p *parcel) {
	l.mu.Lock()
	p.left--
	all := p.left == 0
	l.mu.Unlock()
	if all {
		l.finish(p, nil)
	}
}

// finish answers a parcel once.
func (l *Log) finish(p *parcel, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.over {
		return
	}
	p.over = true
	l.waiting -= len(p.messages)
	l.size -= p.size
	p.done <- err
}

// abandon answers all that wait: the log is closed, or cannot be used.
func (l *Log) abandon(err error) {
	l.mu.Lock()
	list := l.queue
	l.queue = nil
	l.mu.Unlock()
	for _, p := range list {
		l.finish(p, err)
	}
}

// failing notes that writing fails.
func (l *Log) failing(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state.Err = err
	if l.state.Failing {
		return
	}
	l.state.Failing, l.state.Since = true, l.config.Now()
	l.slog.Error("the stream does not take events; they wait in the outbox", "err", err)
	l.report()
}

// goes notes that writing goes.
func (l *Log) goes() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.state.Failing {
		return
	}
	l.state.Failing, l.state.Err = false, nil
	l.slog.Warn("the stream takes events again", "since", l.state.Since)
	l.report()
}

// report under mu, so that what is told is in order.
func (l *Log) report() {
	if l.config.Changed != nil {
		s := l.state
		s.Waiting = l.waiting
		l.config.Changed(s)
	}
}

// sleep returns false when ctx ended meanwhile.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// jitter keeps many nodes from coming back in the same moment.
func jitter(d time.Duration) time.Duration { return d/2 + rand.N(d/2+1) }
