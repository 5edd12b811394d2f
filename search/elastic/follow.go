package elastic

import (
	"context"
	"time"

	"yingda/intake/stream"
)

// settle is how long a batch that is in waits for the next one to be read before its positions are committed for themselves.
const settle = 100 * time.Millisecond

// job is a batch that is being written.
type job struct {
	records []stream.Record
	done    chan struct{}
	err     error // read after done
}

// Follow reads the stream, writes what it says into the index and commits, until something fails: the end of ctx, the reader, ErrMoved. While one
// batch is written the next is read and opened, which costs as much as writing. Whoever calls it opens the reader at Position, and after an
// error opens another one there. The reader is used by the calling goroutine only. each is told of every batch that is in; it may be nil and must not block.
func (x *Index) Follow(ctx context.Context, r stream.Reader, batch int, each func([]stream.Record)) error {
	ctx, stop := context.WithCancel(ctx)
	var busy *job
	defer func() {
		stop()
		if busy != nil {
			<-busy.done
		}
	}()
	for {
		fetch, enough := context.WithCancel(ctx)
		if j := busy; j != nil {
			go func() { // ends with the fetch
				select {
				case <-fetch.Done():
					return
				case <-j.done:
				}
				late := time.AfterFunc(settle, enough)
				<-fetch.Done()
				late.Stop()
			}()
		}
		records, err := r.Fetch(fetch, batch)
		early := fetch.Err() != nil && ctx.Err() == nil // there was nothing to read yet
		enough()
		if busy != nil {
			<-busy.done
			j := busy
			if busy = nil; j.err != nil {
				return j.err
			}
			if err := r.Commit(ctx, highest(j.records)...); err != nil {
				return err
			}
			if each != nil {
				each(j.records)
			}
		}
		if err != nil && early {
			continue
		}
		if err != nil {
			return err
		}
		busy = &job{records: records, done: make(chan struct{})}
		go func(j *job) {
			defer close(j.done)
			j.err = x.ApplyRecords(ctx, j.records)
		}(busy)
	}
}

// highest position of each partition.
func highest(records []stream.Record) []stream.Position {
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
