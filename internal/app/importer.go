package app

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"yingda/intake"
	"yingda/intake/wire"
	"yingda/internal/store"
)

// Imported says how an import went: lines taken, lines whose event was there already, lines refused.
type Imported struct{ Taken, Known, Refused int }

const longestLine = 1 << 20 // bytes of one event

// ImportEvents takes CloudEvents as JSON lines into the stream. Each is checked against its schema; a bad line is told of with
// its number and left out. An event whose id is in the stream already is passed over and counted, so the same file twice changes nothing. It
// works beside a running program: then the events go by the outbox of the tables, which that program carries into the stream.
func (s *Store) ImportEvents(ctx context.Context, in io.Reader, bad func(line int, what string)) (Imported, error) {
	var r Imported
	beside := Served(s.Config.Data)
	var batch []intake.Event
	flush := func() error {
		fresh, err := s.fresh(ctx, batch, beside)
		if err != nil {
			return err
		}
		if len(fresh) > 0 {
			if beside {
				err = s.toOutbox(ctx, fresh)
			} else {
				err = s.Log.Append(ctx, fresh...)
			}
		}
		if err == nil {
			r.Taken += len(fresh)
			r.Known += len(batch) - len(fresh)
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
				bad(n, strings.TrimPrefix(err.Error(), wire.ErrForm.Error()+": "))
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

// fresh gives those events that are neither in the stream nor, beside a running program, on their way to it; each once.
func (s *Store) fresh(ctx context.Context, events []intake.Event, beside bool) ([]intake.Event, error) {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID()
	}
	have := map[string]bool{}
	if beside { // the outbox first: what is carried from it into the stream meanwhile is then found there
		waiting, err := s.DB.InOutbox(ctx, ids...)
		if err != nil {
			return nil, err
		}
		maps.Copy(have, waiting)
	}
	logged, err := s.Log.Has(ctx, ids...)
	if err != nil {
		return nil, err
	}
	maps.Copy(have, logged)
	var fresh []intake.Event
	for i, e := range events {
		if !have[ids[i]] {
			have[ids[i]] = true
			fresh = append(fresh, e)
		}
	}
	return fresh, nil
}

// toOutbox puts events where the running program finds them.
func (s *Store) toOutbox(ctx context.Context, events []intake.Event) error {
	// The months' secrets first: making one is a transaction of its own, and there is one connection that writes.
	for _, e := range events {
		if _, err := s.keys.Month(e.Time.UTC().Format("2006-01")); err != nil && !errors.Is(err, store.ErrDestroyed) {
			return err
		}
	}
	return s.DB.Tx(ctx, func(tx *store.Tx) error { return tx.Emit(ctx, events...) })
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
