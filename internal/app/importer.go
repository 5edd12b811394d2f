package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"yingda/intake"
	"yingda/internal/store"
)

// Imported says how an import went.
type Imported struct{ Taken, Refused int }

const longestLine = 1 << 20 // bytes of one event

// ImportEvents takes CloudEvents as JSON lines into the stream. Each is checked against its schema; a bad line is told of with
// its number and left out. An event whose id is in the stream already is passed over, so the same file twice changes nothing. It
// works beside a running program: then the events go by the outbox of the tables, which that program carries into the stream.
func (s *Store) ImportEvents(ctx context.Context, in io.Reader, bad func(line int, what string)) (Imported, error) {
	var r Imported
	beside := Served(s.Config.Data)
	var batch []intake.Event
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		var err error
		if beside {
			err = s.toOutbox(ctx, batch)
		} else {
			err = s.Log.Append(ctx, batch...)
		}
		if err == nil {
			r.Taken += len(batch)
		}
		batch = batch[:0]
		return err
	}
	keys := map[intake.Subject]string{}
	reader := bufio.NewReaderSize(in, 64<<10)
	for n := 1; ; n++ {
		raw, tooLong, err := readLine(reader)
		if tooLong {
			r.Refused++
			bad(n, fmt.Sprintf("longer than %d bytes", longestLine))
		} else if raw = bytes.TrimSpace(bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))); len(raw) > 0 {
			if e, err := s.codec.DecodeClear(raw); err != nil {
				r.Refused++
				bad(n, err.Error())
			} else {
				batch = append(batch, s.known(e, keys))
			}
		}
		if len(batch) == batchSize || err != nil {
			if err := flush(); err != nil {
				return r, fmt.Errorf("after %d events: %w", r.Taken, err)
			}
		}
		if errors.Is(err, io.EOF) {
			return r, nil
		}
		if err != nil {
			return r, err
		}
		if err := ctx.Err(); err != nil {
			return r, err
		}
	}
}

// readLine reads up to a newline; what is beyond longestLine is read and thrown away.
func readLine(r *bufio.Reader) (line []byte, tooLong bool, err error) {
	for {
		part, err := r.ReadSlice('\n')
		if len(line)+len(part) > longestLine {
			line, tooLong = nil, true
		} else if !tooLong {
			line = append(line, part...)
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		return line, tooLong, err
	}
}

// toOutbox puts events where the running program finds them. One whose id waits there already is passed over.
func (s *Store) toOutbox(ctx context.Context, events []intake.Event) error {
	// The months' secrets first: making one is a transaction of its own, and there is one connection that writes.
	for _, e := range events {
		if _, err := s.keys.Month(e.Time.UTC().Format("2006-01")); err != nil && !errors.Is(err, store.ErrDestroyed) {
			return err
		}
	}
	return s.DB.Tx(ctx, func(tx *store.Tx) error {
		for _, e := range events {
			var n int
			if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM outbox WHERE id = ?", e.ID()).Scan(&n); err != nil {
				return err
			}
			if n > 0 {
				continue
			}
			if err := tx.Emit(ctx, e); err != nil {
				return err
			}
		}
		return nil
	})
}

// known gives an imported contact the token of its caller, so that one person's attempts find one another, and all of its
// events the partition key that its first has.
func (s *Store) known(e intake.Event, keys map[intake.Subject]string) intake.Event {
	if d, ok := e.Data.(*intake.OfferedV1); ok && d.Caller == "" && !d.Withheld {
		if token := s.token(e.Personal.Number); token != "" {
			with := *d
			with.Caller = token
			e.Data, e.PartitionKey = &with, string(token)
			keys[e.Subject] = e.PartitionKey
		}
	}
	if key, ok := keys[e.Subject]; ok {
		e.PartitionKey = key
	}
	return e
}
