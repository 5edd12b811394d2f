package app

import (
	"context"
	"time"

	"yingda/intake/stream"
)

// readAll gives every record that the stream has now; an error of each ends it.
func readAll(ctx context.Context, log Stream, group string, each func(stream.Record) error) error {
	return readSince(ctx, log, group, time.Time{}, func(records []stream.Record) error {
		for _, r := range records {
			if err := each(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// readSince gives the records that a stream took since a time and has now, in batches.
func readSince(ctx context.Context, log Stream, group string, t time.Time, each func([]stream.Record) error) error {
	from, err := log.Since(ctx, t)
	if err != nil {
		return err
	}
	return readThrough(ctx, log, from, func() (stream.Reader, error) { return log.Open(group, from...) }, func(_ stream.Reader, records []stream.Record) error { return each(records) })
}

// readThrough reads from where somebody is to where the stream ends now; when they are there nothing is opened.
func readThrough(ctx context.Context, log Stream, at []stream.Position, open func() (stream.Reader, error), each func(stream.Reader, []stream.Record) error) error {
	ends, err := log.Ends(ctx)
	if err != nil {
		return err
	}
	missing := reached{}
	for _, p := range ends {
		if p.Offset >= 0 {
			missing[p.Partition] = p.Offset
		}
	}
	missing.without(at)
	if len(missing) == 0 {
		return nil
	}
	reader, err := open()
	if err != nil {
		return err
	}
	defer reader.Close()
	for len(missing) > 0 {
		records, err := reader.Fetch(ctx, 2000)
		if err != nil {
			return err
		}
		if err := each(reader, records); err != nil {
			return err
		}
		missing.without(stream.Newest(records))
	}
	return nil
}

// without takes out the partitions in which somebody has come so far.
func (m reached) without(at []stream.Position) {
	for _, p := range at {
		if end, ok := m[p.Partition]; ok && p.Offset >= end {
			delete(m, p.Partition)
		}
	}
}
