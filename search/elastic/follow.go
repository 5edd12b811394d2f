package elastic

import (
	"context"
	"slices"
	"time"

	"yingda/intake/stream"
	"yingda/search"
)

// Batch is how many events Follow is best given at once, when there are so many: a contact's events come close together, and what one batch says of a document is one write.
const Batch = 8000

// What comes while people phone comes in ones and twos. Writing each by itself is of no use to anybody, since it is seen at the next refresh, and each batch is three requests to Elasticsearch and a
// commit: after a batch began the next waits for apart, unless there is much to write at once. What comes after silence waits for nothing.
const (
	apart = 100 * time.Millisecond
	much  = 500 // records
)

// settle is how long a batch that is in waits for the next one to be read before its positions are committed for themselves.
const settle = 100 * time.Millisecond

// job is a batch that is being written.
type job struct {
	records []stream.Record
	written chan struct{} // closed when its documents are, and only positions are left
	done    chan struct{}
	err     error // read after done
}

func over(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// Follow reads the stream, writes what it says into the index and commits, until something fails: the end of ctx, the reader, ErrMoved. While one
// batch is written the next is read and opened, for as long as the writing takes or until there are as many as batch says: so what comes alone is in at once, and
// what comes fast is written in few requests. Whoever calls it opens the reader at Position, and after an error opens another one there. The reader is used by
// the calling goroutine only. each is told of every batch that is in; it may be nil and must not block.
func (x *Index) Follow(ctx context.Context, r stream.Reader, batch int, each func([]stream.Record)) error {
	ctx, stop := context.WithCancel(ctx)
	f := &following{x: x, r: r, each: each}
	defer func() {
		stop()
		for _, j := range f.jobs {
			<-j.done
		}
	}()
	for {
		for len(f.jobs) > 0 && over(f.jobs[0].done) {
			if err := f.finish(ctx); err != nil {
				return err
			}
		}
		if len(f.read) > 0 && f.free() {
			wait := apart - time.Since(f.began)
			if wait <= 0 || len(f.read) >= much {
				f.begin(ctx)
			} else if err := f.fetchFor(ctx, batch-len(f.read), wait); err != nil {
				return f.end(ctx, err)
			}
			continue
		}
		if len(f.read) >= batch {
			select {
			case <-f.jobs[0].done:
			case <-f.next():
			}
			continue
		}
		if err := f.fetch(ctx, batch-len(f.read)); err != nil {
			return f.end(ctx, err)
		}
	}
}

// following is what one Follow has in hand.
type following struct {
	x     *Index
	r     stream.Reader
	each  func([]stream.Record)
	jobs  []*job          // the oldest first; two at most, the documents of the first of them written
	read  []stream.Record // of the next
	began time.Time       // when the newest job did
}

// next is closed when the job after those there are may begin; nil when the oldest must be done first.
func (f *following) next() <-chan struct{} {
	if len(f.jobs) == 2 {
		return nil
	}
	return f.jobs[len(f.jobs)-1].written
}

func (f *following) free() bool {
	return len(f.jobs) == 0 || len(f.jobs) == 1 && over(f.jobs[0].written)
}

// begin writes what was read.
func (f *following) begin(ctx context.Context) {
	j := &job{records: f.read, written: make(chan struct{}), done: make(chan struct{})}
	f.jobs, f.read, f.began = append(f.jobs, j), nil, time.Now()
	go func() {
		defer close(j.done)
		j.err = f.x.applyThen(ctx, j.records, at(j.records), func() { close(j.written) })
	}()
}

// finish waits for the oldest job and commits it.
func (f *following) finish(ctx context.Context) error {
	j := f.jobs[0]
	<-j.done
	if f.jobs = f.jobs[1:]; j.err != nil {
		return j.err
	}
	if err := f.r.Commit(ctx, stream.Newest(j.records)...); err != nil {
		return err
	}
	if f.each != nil {
		f.each(j.records)
	}
	return nil
}

// fetch reads more, until the job that is under way lets the next one begin or, when there is nothing to begin with, waits for its commit.
func (f *following) fetch(ctx context.Context, limit int) error {
	fetch, enough := context.WithCancel(ctx)
	defer enough()
	if len(f.jobs) > 0 {
		oldest, next, late := f.jobs[0].done, f.next(), time.Duration(0)
		if len(f.read) == 0 {
			next, late = nil, settle
		}
		go func() { // ends with the fetch
			select {
			case <-fetch.Done():
				return
			case <-oldest:
			case <-next:
			}
			wait := time.AfterFunc(late, enough)
			<-fetch.Done()
			wait.Stop()
		}()
	}
	return f.take(ctx, fetch, limit)
}

// fetchFor reads more for a while.
func (f *following) fetchFor(ctx context.Context, limit int, wait time.Duration) error {
	fetch, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return f.take(ctx, fetch, limit)
}

// take reads what there is until fetch ends.
func (f *following) take(ctx, fetch context.Context, limit int) error {
	records, err := f.r.Fetch(fetch, limit)
	if err != nil && fetch.Err() != nil && ctx.Err() == nil {
		return nil // there was nothing to read yet
	}
	switch {
	case f.read == nil:
		f.read = records
	case cap(f.read)-len(f.read) < len(records): // there is more and more: room for as much as may come
		f.read = slices.Grow(f.read, limit)
		fallthrough
	default:
		f.read = append(f.read, records...)
	}
	return err
}

// end writes and commits what was read before the reader failed.
func (f *following) end(ctx context.Context, why error) error {
	for len(f.jobs) > 0 || len(f.read) > 0 {
		if len(f.read) > 0 && f.free() {
			f.begin(ctx)
		}
		if err := f.finish(ctx); err != nil {
			return err
		}
	}
	return why
}

// at is what an index keeps of the positions.
func at(records []stream.Record) []search.Position {
	var list []search.Position
	for _, p := range stream.Newest(records) {
		list = append(list, search.Position(p))
	}
	return list
}
