//go:build services

package kafka

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"yingda/intake"
	"yingda/intake/stream"
	"yingda/intake/stream/sqllog"
	"yingda/intake/stream/streamtest"
	"yingda/intake/wire"
)

// services makes a fault: kill kafka, up kafka.
func services(t testing.TB, args ...string) {
	t.Helper()
	out, err := exec.Command(env(t, "YINGDA_SERVICES"), args...).CombinedOutput()
	if err != nil {
		t.Fatalf("services %v: %v\n%s", args, err, out)
	}
}

// away is how long a broker is stopped: YINGDA_FAULT_SECONDS, or what CI has time for.
func away(t testing.TB) time.Duration {
	s, err := strconv.Atoi(os.Getenv("YINGDA_FAULT_SECONDS"))
	if err != nil {
		return 5 * time.Second
	}
	return time.Duration(s) * time.Second
}

// table is what a consumer of an office has: effects, and the positions beside them, changed in one step. Its members share it.
type table struct {
	mu      sync.Mutex
	at      map[int32]int64
	newest  map[intake.Subject]intake.Sequence
	applied int
	repeats int // records that a position fenced off
	again   int // records that the sequence did: twice in the topic
	gaps    []string
	news    chan struct{}
}

func newTable() *table {
	return &table{at: map[int32]int64{}, newest: map[intake.Subject]intake.Sequence{}, news: make(chan struct{}, 1)}
}

func (b *table) positions(context.Context) ([]stream.Position, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var list []stream.Position
	for p, o := range b.at {
		list = append(list, stream.Position{Partition: p, Offset: o})
	}
	return list, nil
}

func (b *table) apply(records []stream.Record) []stream.Position {
	b.mu.Lock()
	defer b.mu.Unlock()
	done := map[int32]int64{}
	for _, r := range records {
		done[r.Partition] = max(done[r.Partition], r.Offset)
		at, ok := b.at[r.Partition]
		if ok && r.Offset <= at {
			b.repeats++
			continue
		}
		b.at[r.Partition] = r.Offset
		switch before := b.newest[r.Event.Subject]; {
		case r.Event.Sequence <= before:
			b.again++
		case before == 0 && r.Event.Sequence.Count() != 1, before != 0 && r.Event.Sequence != before+1:
			b.gaps = append(b.gaps, fmt.Sprintf("%s after %s", r.Event.ID(), before))
			fallthrough
		default:
			b.newest[r.Event.Subject] = r.Event.Sequence
			b.applied++
		}
	}
	select {
	case b.news <- struct{}{}:
	default:
	}
	var list []stream.Position
	for p, o := range done {
		list = append(list, stream.Position{Partition: p, Offset: o})
	}
	return list
}

// wait until n events are applied.
func (b *table) wait(t testing.TB, n int) {
	t.Helper()
	over := time.After(2 * time.Minute)
	for {
		b.mu.Lock()
		have := b.applied
		b.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-b.news:
		case <-over:
			t.Fatalf("%d of %d events arrived", have, n)
		}
	}
}

// consume reads as one member until ctx ends, opening a reader anew after each error.
func consume(ctx context.Context, l *Log, b *table) {
	for ctx.Err() == nil {
		r, err := l.Share("books", b.positions)
		if err != nil {
			return
		}
		for {
			records, err := r.Fetch(ctx, 500)
			if err == nil {
				err = r.Commit(ctx, b.apply(records)...)
			}
			if err != nil {
				break
			}
		}
		_ = r.Close()
		sleep(ctx, 50*time.Millisecond)
	}
}

// office is a node: outbox and relay into the topic.
type office struct {
	outbox  *sqllog.Log
	log     *Log
	relay   *Relay
	written atomic.Int64
	slowest atomic.Int64 // of an append, ns
}

func newOffice(t testing.TB, s Settings, name string) *office {
	t.Helper()
	outbox, err := sqllog.Open(t.Context(), filepath.Join(t.TempDir(), "log.db"), sqllog.Config{Codec: wire.New(keys{}), Ballast: -1, Limit: 20 * time.Second})
	must(t, err)
	o := &office{outbox: outbox, log: openLog(t, Config{Settings: s, Silence: 5 * time.Second})}
	dead := o.log.DeadLetters()
	o.relay = &Relay{Outbox: outbox, Log: o.log, Node: name, Dead: dead, Logger: o.log.slog}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { o.relay.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		_ = dead.Close()
		_ = o.log.Close()
		must(t, outbox.Close())
	})
	return o
}

// work appends to the outbox, events of ten contacts each turn, until stop is closed.
func (o *office) work(t testing.TB, name string, stop <-chan struct{}, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ; n++ {
		for c := range 10 {
			began := time.Now()
			if err := o.outbox.Append(context.Background(), streamtest.Event(fmt.Sprintf("%s-%d", name, c), n)); err != nil {
				t.Errorf("append while the broker is away: %v", err)
				return
			}
			o.written.Add(1)
			o.slowest.Store(max(o.slowest.Load(), int64(time.Since(began))))
		}
		select {
		case <-stop:
			return
		case <-tick.C:
		}
	}
}

func (b *table) check(t testing.TB, want int) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.gaps) > 0 {
		t.Errorf("%d gaps in the order of a subject, the first: %s", len(b.gaps), b.gaps[0])
	}
	if b.applied != want {
		t.Errorf("%d events had an effect, %d were written", b.applied, want)
	}
	t.Logf("written %d, had an effect once %d; fenced by position %d, twice in the topic %d", want, b.applied, b.repeats, b.again)
}

// The broker is killed under appends, twice: appends go on, nothing is lost, nothing has two effects.
func TestBrokerIsAway(t *testing.T) {
	s := settings(t)
	t.Cleanup(func() { services(t, "up", "kafka") })
	o := newOffice(t, s, "n1")
	b := newTable()
	reading, stopReading := context.WithCancel(context.Background())
	var readers sync.WaitGroup
	readers.Go(func() { consume(reading, o.log, b) })
	stop := make(chan struct{})
	var writers sync.WaitGroup
	writers.Go(func() { o.work(t, "c", stop, 20*time.Millisecond) })
	b.wait(t, 200)
	for range 2 {
		services(t, "kill", "kafka")
		sleep(t.Context(), away(t))
		if lag, err := o.relay.Lag(t.Context()); err != nil || lag.Records == 0 || lag.Oldest.IsZero() {
			t.Errorf("lag while the broker is away: %+v, %v", lag, err)
		}
		if !o.log.State().Failing || o.log.State().Waiting > relayRows {
			t.Errorf("state while the broker is away: %+v", o.log.State())
		}
		services(t, "up", "kafka")
		b.wait(t, int(o.written.Load()))
	}
	close(stop)
	writers.Wait()
	b.wait(t, int(o.written.Load()))
	stopReading()
	readers.Wait()
	b.check(t, int(o.written.Load()))
	t.Logf("the slowest append took %s", time.Duration(o.slowest.Load()))
	if st := o.log.State(); st.Failing || o.relay.State().Aside != 0 {
		t.Errorf("afterwards: %+v, %+v", st, o.relay.State())
	}
}

// Members come and go, and the broker is killed while they are sharing the partitions anew.
func TestBrokerRestartsInARebalance(t *testing.T) {
	s := settings(t)
	t.Cleanup(func() { services(t, "up", "kafka") })
	o := newOffice(t, s, "n1")
	b := newTable()
	stop := make(chan struct{})
	var writers sync.WaitGroup
	writers.Go(func() { o.work(t, "c", stop, 20*time.Millisecond) })
	var members sync.WaitGroup
	join := func() context.CancelFunc {
		ctx, cancel := context.WithCancel(context.Background())
		l := openLog(t, Config{Settings: s, Silence: 5 * time.Second})
		members.Go(func() { consume(ctx, l, b) })
		return cancel
	}
	leave1 := join()
	b.wait(t, 100)
	leave2 := join() // a rebalance begins
	services(t, "kill", "kafka")
	services(t, "up", "kafka")
	b.wait(t, int(o.written.Load()))
	leave3 := join()
	leave1() // another
	b.wait(t, int(o.written.Load()))
	leave2()
	b.wait(t, int(o.written.Load()))
	close(stop)
	writers.Wait()
	b.wait(t, int(o.written.Load()))
	leave3()
	members.Wait()
	b.check(t, int(o.written.Load()))
}

// Three members have all partitions between them, each one; when one leaves, the others have its.
func TestShare(t *testing.T) {
	s := settings(t)
	l := openLog(t, Config{Settings: s})
	var events []intake.Event
	for c := range 200 {
		events = append(events, streamtest.Event(fmt.Sprintf("c-%d", c), 1))
	}
	var readers []*reader
	for range 3 {
		r, err := l.Share("books", nil)
		must(t, err)
		readers = append(readers, r.(*reader))
	}
	parts := func(r *reader) int {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.gen == nil {
			return 0
		}
		return len(r.gen.Assignments[s.Topic])
	}
	until(t, "each has a third", func() bool { return parts(readers[0]) == 4 && parts(readers[1]) == 4 && parts(readers[2]) == 4 })
	must(t, l.Append(ctx(t), events...))
	var mu sync.Mutex
	where := map[string]int{}
	read, stop := context.WithCancel(ctx(t))
	defer stop()
	var wg sync.WaitGroup
	for i, r := range readers {
		wg.Go(func() {
			for {
				list, err := r.Fetch(read, 100)
				if err != nil {
					return
				}
				must(t, r.Commit(read, list[len(list)-1].Position))
				mu.Lock()
				for _, rec := range list {
					where[rec.Event.ID()] |= 1 << i
				}
				all := len(where) == len(events)
				mu.Unlock()
				if all {
					stop()
				}
			}
		})
	}
	wg.Wait()
	count := map[int]int{}
	for id, by := range where {
		if by != 1 && by != 2 && by != 4 {
			t.Errorf("%s was read by several (%b)", id, by)
		}
		count[by]++
	}
	if len(where) != len(events) || len(count) != 3 {
		t.Errorf("%d events were read, by reader %v", len(where), count)
	}
	must(t, readers[0].Close())
	until(t, "the two have all", func() bool { return parts(readers[1])+parts(readers[2]) == 12 && parts(readers[1]) == 6 })
}

func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for over := time.Now().Add(time.Minute); !is(); {
		if time.Now().After(over) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// frozen lets connections that were made before a moment hang: neither data nor an end comes, and deadlines do nothing.
type frozen struct {
	net.Conn
	ice *atomic.Pointer[chan struct{}]
}

func (f frozen) Read(b []byte) (int, error) {
	n, err := f.Conn.Read(b)
	if c := f.ice.Load(); c != nil {
		<-*c
	}
	return n, err
}

// A reader that hangs for ever is replaced by one that doesn't.
func TestWatchdog(t *testing.T) {
	s := settings(t)
	var current atomic.Pointer[atomic.Pointer[chan struct{}]]
	current.Store(new(atomic.Pointer[chan struct{}]))
	var c Config
	c.Settings, c.Silence = s, time.Second
	c.test.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return frozen{conn, current.Load()}, nil
	}
	l := openLog(t, c)
	other := openLog(t, Config{Settings: s})
	for _, kind := range []string{"member", "positions"} {
		var from []stream.Position
		if kind == "positions" {
			from = []stream.Position{{Offset: -1}}
		}
		r, err := l.Open(kind, from...)
		must(t, err)
		must(t, other.Append(ctx(t), streamtest.Event(kind, 1)))
		got, err := r.Fetch(ctx(t), 1)
		must(t, err)
		for kind == "positions" && got[0].Event.PartitionKey != kind {
			got, err = r.Fetch(ctx(t), 1)
			must(t, err)
		}
		before := l.Revived()
		ice := make(chan struct{})
		old := current.Swap(new(atomic.Pointer[chan struct{}])) // connections from now on are sound
		old.Store(&ice)
		must(t, other.Append(ctx(t), streamtest.Event(kind, 2)))
		got, err = r.Fetch(ctx(t), 1)
		must(t, err)
		if got[0].Event.ID() != streamtest.Event(kind, 2).ID() || l.Revived() == before {
			t.Errorf("%s: %s came, %d readers were made anew", kind, got[0].Event.ID(), l.Revived()-before)
		}
		close(ice)
		must(t, r.Close())
	}
}

// A topic with another number of partitions is refused, and not changed; without a broker at the start that comes out later.
func TestTopicThatIsOtherwise(t *testing.T) {
	s := settings(t)
	openLog(t, Config{Settings: s})
	wrong := s
	wrong.Partitions = 6
	_, err := Open(t.Context(), Config{Settings: wrong, Codec: wire.New(keys{})})
	if !errors.Is(err, ErrTopic) {
		t.Fatalf("a topic with 12 partitions was taken for one with 6: %v", err)
	}
	var up atomic.Bool
	c := Config{Settings: wrong}
	c.test.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !up.Load() {
			return nil, errors.New("no way there")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	l := openLog(t, c)
	r, err := l.Open("g")
	must(t, err)
	up.Store(true)
	if err := l.Append(ctx(t), streamtest.Event("a", 1)); !errors.Is(err, ErrTopic) {
		t.Errorf("append: %v", err)
	}
	if _, err := r.Fetch(ctx(t), 1); !errors.Is(err, ErrTopic) {
		t.Errorf("fetch: %v", err)
	}
	if _, err := l.Lag(ctx(t), "g"); !errors.Is(err, ErrTopic) {
		t.Errorf("lag: %v", err)
	}
	have, err := l.partitions(ctx(t), s.Topic)
	if err != nil || have != 12 {
		t.Errorf("the topic now has %d partitions, %v", have, err)
	}
}

// The broker comes after the log was opened: what was appended meanwhile arrives.
func TestBrokerComesLate(t *testing.T) {
	s := settings(t)
	var up atomic.Bool
	c := Config{Settings: s}
	c.test.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if !up.Load() {
			return nil, errors.New("no way there")
		}
		return (&net.Dialer{}).DialContext(ctx, network, address)
	}
	l := openLog(t, c)
	r, err := l.Open("g")
	must(t, err)
	written := make(chan error)
	go func() { written <- l.Append(ctx(t), streamtest.Event("a", 1)) }()
	until(t, "it waits", func() bool { return l.State().Waiting == 1 && l.State().Failing })
	up.Store(true)
	must(t, <-written)
	list, err := r.Fetch(ctx(t), 1)
	if err != nil || list[0].Event.ID() != streamtest.Event("a", 1).ID() || l.State().Failing {
		t.Errorf("%v, %v, %+v", list, err, l.State())
	}
}

// An event that the topic does not take is put aside with its bytes, and those around it arrive.
func TestTooLargeForTheTopic(t *testing.T) {
	s := settings(t)
	c := &kafka.Client{Addr: kafka.TCP(s.Brokers...), Timeout: 10 * time.Second}
	_, err := c.CreateTopics(ctx(t), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: s.Topic, NumPartitions: 12, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "max.message.bytes", ConfigValue: "20000"}}}}})
	must(t, err)
	o := newOffice(t, s, "n1")
	big := streamtest.Event("a", 2)
	big.Personal = intake.PersonalJSON{Text: strings.Repeat("长", 20_000)}.Conceal()
	must(t, o.outbox.Append(ctx(t), streamtest.Event("a", 1), streamtest.Event("b", 1), big, streamtest.Event("a", 3), streamtest.Event("b", 2)))
	r, err := o.log.Open("g", stream.Position{Offset: -1})
	must(t, err)
	b := map[string]bool{}
	for len(b) < 4 {
		list, err := r.Fetch(ctx(t), 10)
		must(t, err)
		for _, rec := range list {
			b[rec.Event.ID()] = true
		}
	}
	if b[big.ID()] {
		t.Error("the large one arrived")
	}
	until(t, "the relay is done", func() bool { lag, err := o.relay.Lag(ctx(t)); return err == nil && lag.Records == 0 })
	dead := o.log.DeadLetters()
	defer dead.Close()
	list, err := dead.List(ctx(t))
	if err != nil || len(list) != 1 || list[0].Source != "n1" || list[0].Consumer != "relay" || list[0].Offset != 3 {
		t.Fatalf("dead letters %+v, %v", list, err)
	}
	letter, err := dead.Get(ctx(t), list[0].ID)
	must(t, err)
	want, err := o.outbox.Subject(ctx(t), big.Subject)
	must(t, err)
	if string(letter.Raw) != string(want[1].Raw) {
		t.Error("the bytes are not the original ones")
	}
	if err := dead.Retry(ctx(t), letter.ID); !errors.Is(err, intake.ErrInvalid) {
		t.Errorf("retry: %v", err)
	}
	if letter, err = dead.Get(ctx(t), letter.ID); err != nil || letter.Attempts != 2 {
		t.Errorf("after a retry: %d attempts, %v", letter.Attempts, err)
	}
}

func TestDeadLetters(t *testing.T) {
	streamtest.RunLetters(t, func(t *testing.T) streamtest.Letters {
		l := openLog(t, Config{Settings: settings(t)})
		dead := l.DeadLetters()
		t.Cleanup(func() { _ = dead.Close() })
		again := func(t testing.TB, n int) (list [][]byte) {
			t.Helper()
			must(t, l.Append(ctx(t), streamtest.Event("marker", n))) // behind all that was tried again
			r, err := l.Open("g", stream.Position{Offset: -1})
			must(t, err)
			defer r.Close()
			markers := 0
			for len(list) < n || markers < 1 {
				records, err := r.Fetch(ctx(t), 100)
				must(t, err)
				for _, rec := range records {
					if rec.Event.PartitionKey == "marker" {
						markers++
					} else {
						list = append(list, rec.Raw)
					}
				}
			}
			return list
		}
		return streamtest.Letters{Letters: dead, Good: encode(t, streamtest.Event("a", 1)), Again: again}
	})
}

func TestPositionsByTimeAndReset(t *testing.T) {
	s := settings(t)
	l := openLog(t, Config{Settings: s})
	for n := range 20 {
		must(t, l.Append(ctx(t), streamtest.Event(fmt.Sprint("early-", n), 1)))
	}
	sleep(ctx(t), 20*time.Millisecond)
	middle := time.Now()
	sleep(ctx(t), 20*time.Millisecond)
	for n := range 20 {
		must(t, l.Append(ctx(t), streamtest.Event(fmt.Sprint("late-", n), 1)))
	}
	read := func(r stream.Reader, n int) (early, late int) {
		t.Helper()
		for early+late < n {
			list, err := r.Fetch(ctx(t), 100)
			must(t, err)
			for _, rec := range list {
				if rec.Event.PartitionKey[0] == 'e' {
					early++
				} else {
					late++
				}
			}
		}
		return
	}
	at, err := l.Since(ctx(t), middle)
	must(t, err)
	r, err := l.Open("g", at...)
	must(t, err)
	if early, late := read(r, 20); early != 0 || late != 20 {
		t.Errorf("since the middle there are %d early and %d late ones", early, late)
	}
	ends, err := l.Ends(ctx(t))
	must(t, err)
	if future, err := l.Since(ctx(t), time.Now().Add(time.Hour)); err != nil || fmt.Sprint(future) != fmt.Sprint(ends) {
		t.Errorf("since tomorrow: %v, %v; the ends are %v", future, err, ends)
	}
	must(t, l.Reset(ctx(t), "books", ends...))
	if lag, err := l.Lag(ctx(t), "books"); err != nil || lag.Records != 0 {
		t.Errorf("lag %+v, %v", lag, err)
	}
	must(t, l.Reset(ctx(t), "books", at...))
	if lag, err := l.Lag(ctx(t), "books"); err != nil || lag.Records != 20 {
		t.Errorf("lag %+v, %v", lag, err)
	}
	m, err := l.Open("books")
	must(t, err)
	if early, late := read(m, 20); early != 0 || late != 20 {
		t.Errorf("after the reset %d early and %d late ones came", early, late)
	}
	if err := l.Reset(ctx(t), "books", at...); err == nil {
		t.Error("a group with a member was reset")
	}
	beyond, err := l.Open("g2", stream.Position{Partition: 2, Offset: 10_000})
	must(t, err)
	for {
		if _, err = beyond.Fetch(ctx(t), 1); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrBeyond) {
		t.Errorf("a position beyond the end: %v", err)
	}
}
