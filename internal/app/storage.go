package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"yingda/intake"
	"yingda/intake/books"
	"yingda/intake/stream"
	"yingda/intake/stream/kafka"
	"yingda/intake/stream/sqllog"
	"yingda/intake/wire"
	"yingda/internal/lines"
	"yingda/internal/loop"
	"yingda/internal/pii"
	"yingda/internal/residents"
	"yingda/internal/store"
	"yingda/internal/users"
	"yingda/routing/casebook"
	"yingda/search"
)

// Store is what is kept: the log, the tables and the books over them. The command line works on it while the program runs, or alone.
type Store struct {
	Config Config
	Log    *sqllog.Log // of this machine: the stream itself, or the outbox of what goes on to Kafka
	DB     *store.DB
	Source string // of the events this process writes
	Epoch  uint32

	codec     *wire.Codec
	keys      *keys
	books     *books.Books
	cases     *casebook.Book
	residents *residents.Book
	users     *users.Book
	ledger    *lines.Ledger
	rulesFile *rulesFile
	index     search.Index // only in the process that serves
	kafka     *kafka.Log   // nil: there is none, or OpenStream was not asked
	dead      *kafka.DeadLetters
	secret    []byte // makes callers' tokens
	now       func() time.Time
	slog      *slog.Logger
	lock      *os.File
}

// StoreOptions of OpenStore.
type StoreOptions struct {
	Logger   *slog.Logger
	Now      func() time.Time
	Lock     bool         // this process is the one that works in the folder
	Serve    bool         // it takes calls: it begins a new epoch
	Lease    *store.Lease // or has it from this lease
	Degraded func(sqllog.State)
}

// ErrServed says that another process serves from the folder.
var ErrServed = errors.New("another yingda serves from this folder")

// OpenStore opens what is kept in c.Data, made when there is none.
func OpenStore(ctx context.Context, c Config, o StoreOptions) (s *Store, err error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Now == nil {
		o.Now = loop.Clock()
	}
	s = &Store{Config: c, Source: "yingda/" + c.Office.Node, now: o.Now, slog: o.Logger}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
			s = nil
		}
	}()
	if err := os.MkdirAll(filepath.Join(c.Data, "recordings"), 0o700); err != nil {
		return s, fmt.Errorf("data folder: %w", err)
	}
	if o.Lock {
		if s.lock, err = lockFolder(c.Data); err != nil {
			return s, err
		}
	}
	if s.DB, err = store.Open(ctx, cmp.Or(c.Tables.Address, filepath.Join(c.Data, "yingda.db"))); err != nil {
		return s, err
	}
	s.keys = newKeys(s.DB, o.Now)
	if err := s.keys.ahead(); err != nil {
		return s, fmt.Errorf("secrets: %w", err)
	}
	if s.secret, err = s.DB.Secret(ctx, "caller", o.Now()); err != nil {
		return s, fmt.Errorf("secrets: %w", err)
	}
	s.codec = wire.New(s.keys)
	s.DB.UseEncoder(s.codec)
	if s.Epoch, err = epoch(ctx, s.DB, o); err != nil {
		return s, fmt.Errorf("epoch: %w", err)
	}
	s.Log, err = sqllog.Open(ctx, filepath.Join(c.Data, "log.db"), sqllog.Config{Codec: s.codec, Limit: c.Stream.Limit, Memory: c.Stream.Memory,
		Ballast: c.Stream.Ballast, Now: o.Now, Logger: o.Logger, Degraded: o.Degraded})
	if err != nil {
		return s, err
	}
	return s, s.openBooks(ctx)
}

func (s *Store) openBooks(ctx context.Context) (err error) {
	c := s.Config
	s.books, err = books.New(ctx, s.DB, books.Config{Office: c.location(), Source: s.Source, Epoch: s.Epoch, Now: s.now,
		NewCallback: func() intake.CallbackID { return intake.CallbackID(newID()) }, Due: c.Books.Due, MaxTries: c.Books.Tries})
	if err != nil {
		return err
	}
	s.residents, err = residents.New(ctx, residents.Config{Store: s.DB, Token: s.token, Now: s.now, NewID: newID})
	if err != nil {
		return fmt.Errorf("residents: %w", err)
	}
	s.rulesFile = newRulesFile(c.Routing.Rules, c.location())
	set, err := s.rulesFile.read()
	if err != nil {
		return err
	}
	s.cases, err = casebook.New(ctx, casebook.Config{Store: s.DB, Rules: set, Source: s.Source, Epoch: s.Epoch, Location: c.location(), Now: s.now, NewID: newID, Home: s.home, Older: s.older, Logger: s.slog})
	if err != nil {
		return fmt.Errorf("case book: %w", err)
	}
	s.users = users.New(s.DB, users.Config{Realm: c.SIP.Realm, Now: s.now})
	s.ledger = lines.New(s.DB, s.Source, s.Epoch)
	return s.ledger.Seed(ctx, s.now(), seedLines(c))
}

// token makes a caller's token of a number.
func (s *Store) token(n pii.Phone) intake.Token { return wire.Token(s.secret, n) }

// home is the grid of a caller's card, "" when the number is that of people who live apart.
func (s *Store) home(caller intake.Token) intake.GridID {
	cards, err := s.residents.ByToken(context.Background(), caller)
	if err != nil {
		return ""
	}
	return sharedHome(cards)
}

// sharedHome is the grid in which all who use a number live; "" when they live apart, or nobody is known.
func sharedHome(cards []residents.Card) intake.GridID {
	if len(cards) == 0 {
		return ""
	}
	for _, c := range cards[1:] {
		if c.Grid != cards[0].Grid {
			return ""
		}
	}
	return cards[0].Grid
}

// older says whether somebody who uses the caller's number is known as an older resident.
func (s *Store) older(caller intake.Token) bool {
	cards, err := s.residents.ByToken(context.Background(), caller)
	if err != nil {
		return false
	}
	for _, c := range cards {
		if c.Older {
			return true
		}
	}
	return false
}

// Stream is what the consumers read.
type Stream interface {
	stream.Log
	stream.Bounded
}

// OpenStream reaches Kafka when there is one in the configuration. Without it the log of this machine is the stream. When no broker answers now it is a stream
// all the same, which begins to work when one does.
func (s *Store) OpenStream(ctx context.Context, changed func(kafka.State)) error {
	c := s.Config.Stream.Kafka
	if len(c.Brokers) == 0 || s.kafka != nil {
		return nil
	}
	k, err := kafka.Open(ctx, kafka.Config{Settings: c, Codec: s.codec, Now: s.now, Logger: s.slog, Changed: changed})
	if err != nil {
		return err
	}
	s.kafka, s.dead = k, k.DeadLetters()
	return nil
}

// stream that the consumers read: Kafka's, when OpenStream has found one.
func (s *Store) stream() Stream {
	if s.kafka != nil {
		return kafkaStream{s.kafka}
	}
	return s.Log
}

// Close closes what is open.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	var errs []error
	if s.kafka != nil {
		errs = append(errs, s.dead.Close(), s.kafka.Close())
	}
	if s.Log != nil {
		errs = append(errs, s.Log.Close())
	}
	if s.DB != nil {
		errs = append(errs, s.DB.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// lockFolder makes sure that one process takes calls from a folder. The lock goes with the process, however it ends.
func lockFolder(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("%w (%s): stop it first, or name another folder with --data", ErrServed, dir), f.Close())
	}
	if err := f.Truncate(0); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())), 0)
	return f, err
}

// Served says whether another process takes calls from the folder now.
func Served(dir string) bool {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB); err != nil {
		return true
	}
	return false
}

// epoch of this process: the one that serves begins a new one, or has that of its lease; the command line writes under the one that is.
func epoch(ctx context.Context, db *store.DB, o StoreOptions) (uint32, error) {
	if o.Lease != nil {
		return o.Lease.Epoch, nil
	}
	if o.Serve {
		return db.NextEpoch(ctx)
	}
	have, err := db.Epoch(ctx)
	if err == nil && have == 0 {
		return db.NextEpoch(ctx)
	}
	return have, err
}

func seedLines(c Config) []lines.Line {
	var list []lines.Line
	for _, l := range c.Lines {
		list = append(list, lines.Line{Line: intake.Line{ID: intake.LineID(l.ID), Name: l.Name, Number: l.Number, Switchboard: c.switchboard(), Owner: l.Owner},
			Numbers: l.Numbers, Hours: l.Hours})
	}
	return list
}
