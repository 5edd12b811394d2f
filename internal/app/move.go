package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/internal/store"
)

// CopyTables puts all tables of the configuration into another database, which must be empty: the address of a PostgreSQL database, or the path of an SQLite file. Nobody may
// serve meanwhile.
func CopyTables(ctx context.Context, c Config, to string, w io.Writer) (err error) {
	if Served(c.Data) {
		return fmt.Errorf("%w (%s): the tables must stand still while they are copied", ErrServed, c.Data)
	}
	from, err := store.Open(ctx, cmp.Or(c.Tables.Address, filepath.Join(c.Data, "yingda.db")))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	other, err := store.Open(ctx, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	var rows int64
	err = from.Copy(ctx, other, func(d store.Copied) {
		rows += d.Rows
		_, _ = fmt.Fprintf(w, "%-24s %d rows\n", d.Table, d.Rows)
	})
	if err == nil {
		_, err = fmt.Fprintf(w, "%d rows copied. Nothing was changed where they came from.\n", rows)
	}
	return err
}

// ErrNoKafka says that there is no stream to fetch from.
var ErrNoKafka = errors.New("stream.kafka.brokers is not set: name the brokers from which the events are to be fetched")

// FetchStream writes into this machine's log every event of Kafka that it does not have, so that the machine can go on alone. It gives how many it read there.
// What could not be read there is named and left out.
func (s *Store) FetchStream(ctx context.Context, bad func(partition int32, position int64, err error)) (read int, err error) {
	if Served(s.Config.Data) {
		return 0, fmt.Errorf("%w (%s): stop it first, its log must stand still", ErrServed, s.Config.Data)
	}
	if err := s.OpenStream(ctx, nil); err != nil {
		return 0, err
	}
	if s.kafka == nil {
		return 0, ErrNoKafka
	}
	var batch []intake.Event
	flush := func() error {
		list := batch
		batch = batch[:0]
		if len(list) == 0 {
			return nil
		}
		return s.Log.Append(ctx, list...)
	}
	err = readAll(ctx, s.stream(), "fetch", func(r stream.Record) error {
		if r.Err != nil {
			bad(r.Partition, r.Offset, r.Err)
			return nil
		}
		read++
		if batch = append(batch, r.Event); len(batch) < batchSize {
			return nil
		}
		return flush()
	})
	return read, errors.Join(err, flush())
}
