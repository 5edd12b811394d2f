// Package kafka keeps the log of events in a Kafka topic, for an office of many machines. Other departments read the same topic with nothing of ours.
//
// Open it, and read it as package stream says; each node's outbox (sqllog) is carried into it by Forward. Events are CloudEvents in binary mode: an
// attribute is a header ce_…, the value is data as JSON, in which what names a person is sealed, and the key is the partitionkey, so that all events of one
// caller or contact are in one partition, in order. The time of a Kafka record is when the broker took it; when it happened says ce_time.
//
// Three ways to read. Open(group) takes part in a consumer group: its members share the partitions, and each begins where the group has committed.
// Share(group, at) does the same for a consumer that keeps positions beside its effects: it is asked for them whenever partitions are given out. Open(group,
// from…) reads all partitions from given positions and is no member of anything. After a rebalance records come again, and what a reader fetched before
// it may by then be another's: a consumer compares positions in the transaction that holds the effect, and passes over what is not newer.
//
// Written means: all replicas in sync have it. When that is not known (a timeout) the same bytes are sent again before anything else, so an event may
// be in the topic more than once, but no older one appears first after a newer one. That is why a repeat is known by subject and sequence.
//
// Goroutines: "sender" owns what is on its way to the brokers and sends one round at a time; "keeper" waits for the brokers to be there and sees that the topic is
// as it must be; both end with Close. Each Reader has a "runner" that owns its place in the group, and a "feed" for each partition it reads; a feed is
// made anew when it has been silent though there is more to read. They end with the Reader's Close.
//
// What it does not do: it has no memory of ids, so Append twice is twice in the topic; it appends several events not all or none, but each once or the
// error says to try again; and it never changes a topic that is there.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"

	"yingda/intake"
	"yingda/intake/stream"
)

// Codec turns events into bytes and back (wire.Codec). An error of Decode that wraps intake.ErrLater makes Fetch fail, to be
// tried again; any other becomes the Err of the record.
type Codec interface {
	Encode(intake.Event) ([]byte, error)
	Decode([]byte) (intake.Event, error)
}

// Config of a log. Settings.Brokers and Codec must be set.
type Config struct {
	Settings
	Codec       Codec
	Memory      int              // events that may wait for the brokers; 0: 20,000
	MemoryBytes int64            // and their bytes; 0: 64 MiB
	Silence     time.Duration    // how long a partition may give nothing though there is more before its reader is made anew; 0: 60 s
	Now         func() time.Time // nil: time.Now
	Logger      *slog.Logger     // nil: slog.Default
	Changed     func(State)      // hears when writing begins to fail and when it goes again, in order; must not block; nil: nobody does

	test hooks
}

// hooks let the tests of this package make trouble.
type hooks struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// State says how writing does.
type State struct {
	Failing bool      // the brokers do not take what we send
	Err     error     // what they said last, or why they cannot be reached
	Since   time.Time // when Failing began; after recovery, when it had begun
	Waiting int       // events on their way
}

// ErrTopic is what Open, Append and Fetch return when the topic is not as it must be. It is never put right by us: order holds within a partition, and
// another number of partitions would send a caller's next event elsewhere. Make a new topic and replay into it.
var ErrTopic = errors.New("kafka: the topic is not as it must be")

// ErrBeyond is returned by Fetch for a position that its partition has not reached: the reader's effects are younger than the topic.
var ErrBeyond = errors.New("kafka: position is beyond the end of its partition")

// Log is a stream.Log in Kafka.
type Log struct {
	config    Config
	slog      *slog.Logger
	transport *kafka.Transport
	dialer    *kafka.Dialer
	client    *kafka.Client

	bell chan struct{} // rings the sender
	quit chan struct{} // closed by Close
	done chan struct{} // the sender has ended
	kept chan struct{} // the keeper has ended

	ready  chan struct{} // closed when the topic is known to be there, or to be wrong
	wrong  error         // why it is wrong; read after ready
	writer *kafka.Writer // made when ready
	bytes  int64         // of one batch at most; set when ready

	mu      sync.Mutex
	closed  bool
	queue   []*parcel // oldest first
	waiting int       // events in queue
	size    int64
	state   State
	readers map[*reader]struct{}
	said    map[string]time.Time // when complain said it last; kinds are few
	revived int64                // feeds made anew because they were silent
}

// Open makes the log. When no broker can be reached it is a log all the same, which begins to work when one can: only a topic that is not as it
// must be (ErrTopic), settings that cannot be (Settings.Check), and files that cannot be read make it fail.
func Open(ctx context.Context, config Config) (*Log, error) {
	if err := config.Settings.Check(); err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	if config.Codec == nil {
		return nil, errors.New("kafka: no codec")
	}
	secure, err := config.TLS.config()
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	user, err := config.SASL.mechanism()
	if err != nil {
		return nil, fmt.Errorf("kafka: %w", err)
	}
	config.Memory = or(config.Memory, 20_000)
	config.MemoryBytes = or(config.MemoryBytes, 64<<20)
	config.Silence = or(config.Silence, time.Minute)
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	dial := config.test.dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: dialTimeout, KeepAlive: 15 * time.Second}).DialContext
	}
	l := &Log{config: config, slog: config.Logger, bell: make(chan struct{}, 1), quit: make(chan struct{}), done: make(chan struct{}), kept: make(chan struct{}),
		ready: make(chan struct{}), readers: map[*reader]struct{}{}, said: map[string]time.Time{},
		transport: &kafka.Transport{Dial: dial, DialTimeout: dialTimeout, MetadataTTL: 3 * time.Second, ClientID: "yingda", TLS: secure, SASL: user},
		dialer:    &kafka.Dialer{DialFunc: dial, Timeout: dialTimeout, ClientID: "yingda", TLS: secure, SASLMechanism: user}}
	l.client = &kafka.Client{Addr: kafka.TCP(config.Brokers...), Transport: l.transport, Timeout: writeTimeout}

	first, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	err = l.prepare(first)
	if errors.Is(err, ErrTopic) {
		l.transport.CloseIdleConnections()
		return nil, err
	}
	if err != nil {
		l.slog.Warn("no broker of the stream can be reached; trying again", "brokers", config.Brokers, "err", err)
		l.failing(err)
		go l.keep()
	} else {
		close(l.ready)
		close(l.kept)
	}
	go l.sender()
	return l, nil
}

func or[T int | int64 | time.Duration](v, otherwise T) T {
	if v == 0 {
		return otherwise
	}
	return v
}

// keep prepares until it has succeeded or the topic is known to be wrong.
func (l *Log) keep() {
	defer close(l.kept)
	ctx, cancel := l.until(context.Background())
	defer cancel()
	for pause := shortest; ; pause = min(2*pause, longest) {
		if !sleep(ctx, jitter(pause)) {
			return
		}
		try, stop := context.WithTimeout(ctx, writeTimeout)
		err := l.prepare(try)
		stop()
		if err == nil || errors.Is(err, ErrTopic) {
			if l.wrong = err; err != nil {
				l.slog.Error("the stream cannot be used", "err", err)
				l.failing(err)
			}
			close(l.ready)
			return
		}
		l.failing(err)
	}
}

// until is a context that ends with the log.
func (l *Log) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-l.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// prepare makes the topics that are missing and checks those that are there.
func (l *Log) prepare(ctx context.Context) error {
	for _, t := range []struct {
		topic      string
		partitions int
		config     map[string]string
	}{
		// LogAppendTime: a clock that is wrong on one node must not make brokers refuse its events, nor retention drop what came late.
		{l.config.Topic, l.config.Partitions, map[string]string{"cleanup.policy": "delete", "retention.ms": milliseconds(l.config.Retention), "message.timestamp.type": "LogAppendTime"}},
		{l.config.DeadLetters, 1, map[string]string{"cleanup.policy": "compact"}},
	} {
		t.config["max.message.bytes"] = strconv.Itoa(topicMessage)
		if l.config.Replication >= 3 {
			t.config["min.insync.replicas"] = "2"
		}
		if err := l.prepareTopic(ctx, t.topic, t.partitions, t.config); err != nil {
			return err
		}
	}
	l.bytes = l.messageBytes(ctx)
	l.writer = writer(l.config.Settings, l.transport, l.bytes)
	return nil
}

func (l *Log) prepareTopic(ctx context.Context, topic string, partitions int, config map[string]string) error {
	var err error
	for range 20 { // a topic that was made a moment ago is not known everywhere yet
		var have int
		have, err = l.partitions(ctx, topic)
		switch {
		case err == nil && have == partitions:
			return nil
		case err == nil:
			return fmt.Errorf("%w: %s has %d partitions, the settings say %d. If the topic holds events already, say %d; else make a new topic and replay into it", ErrTopic, topic, have, partitions, have)
		case errors.Is(err, kafka.UnknownTopicOrPartition):
			if err = l.create(ctx, topic, partitions, config); err != nil {
				return err
			}
		case errors.Is(err, kafka.LeaderNotAvailable):
		default:
			return fmt.Errorf("look at topic %s: %w", topic, err)
		}
		if !sleep(ctx, 100*time.Millisecond) {
			return ctx.Err()
		}
	}
	return fmt.Errorf("topic %s was made and is not there: %w", topic, err)
}

func (l *Log) create(ctx context.Context, topic string, partitions int, config map[string]string) error {
	t := kafka.TopicConfig{Topic: topic, NumPartitions: partitions, ReplicationFactor: l.config.Replication}
	if t.ReplicationFactor == 0 {
		t.ReplicationFactor = -1 // the brokers' default
	}
	for name, value := range config {
		t.ConfigEntries = append(t.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: value})
	}
	r, err := l.client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{t}})
	if err == nil {
		err = r.Errors[topic]
	}
	switch {
	case err == nil:
		l.slog.Info("topic made", "topic", topic, "partitions", partitions)
		return nil
	case errors.Is(err, kafka.TopicAlreadyExists): // another node was faster
		return nil
	case errors.Is(err, kafka.InvalidReplicationFactor), errors.Is(err, kafka.TopicAuthorizationFailed), errors.Is(err, kafka.ClusterAuthorizationFailed), errors.Is(err, kafka.PolicyViolation):
		return fmt.Errorf("%w: %s cannot be made: %w", ErrTopic, topic, err)
	}
	return fmt.Errorf("make topic %s: %w", topic, err)
}

// partitions that a topic has now. The transport's cache is not asked.
func (l *Log) partitions(ctx context.Context, topic string) (int, error) {
	m, err := l.client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{topic}})
	if err != nil {
		return 0, err
	}
	for _, t := range m.Topics {
		if t.Name == topic {
			return len(t.Partitions), t.Error
		}
	}
	return 0, kafka.UnknownTopicOrPartition
}

// messageBytes is how large a batch may be. When we may not ask, it is what brokers have as their default.
func (l *Log) messageBytes(ctx context.Context) int64 {
	const unknown = 1_000_000
	r, err := l.client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{
		{ResourceType: kafka.ResourceTypeTopic, ResourceName: l.config.Topic, ConfigNames: []string{"max.message.bytes"}}}})
	if err != nil || len(r.Resources) == 0 || len(r.Resources[0].ConfigEntries) == 0 {
		return unknown
	}
	n, err := strconv.ParseInt(r.Resources[0].ConfigEntries[0].ConfigValue, 10, 64)
	if err != nil {
		return unknown
	}
	if n < maxMessage {
		l.slog.Warn("the topic takes smaller messages than an event may be; raise max.message.bytes", "topic", l.config.Topic, "takes", n, "event", maxMessage)
	}
	return min(n, topicMessage) * 9 / 10 // the batch itself needs some bytes
}

func milliseconds(d time.Duration) string {
	if d == 0 {
		return "-1"
	}
	return strconv.FormatInt(d.Milliseconds(), 10)
}

// State says how writing does now.
func (l *Log) State() State {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.state
	s.Waiting = l.waiting
	return s
}

// Revived counts partition readers that were made anew because they had been silent though there was more to read.
func (l *Log) Revived() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.revived
}

// Close ends the log and its readers. Events that wait are not sent any more; those who appended them are told.
func (l *Log) Close() error {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	readers := l.readers
	l.readers = nil
	l.mu.Unlock()
	if !first {
		<-l.done
		return nil
	}
	close(l.quit)
	for r := range readers {
		_ = r.Close()
	}
	<-l.kept
	<-l.done
	var err error
	if l.writer != nil {
		err = l.writer.Close()
	}
	l.transport.CloseIdleConnections()
	return err
}

func (l *Log) isClosed() bool {
	select {
	case <-l.quit:
		return true
	default:
		return false
	}
}

// whenReady waits until the topic can be used.
func (l *Log) whenReady(ctx context.Context) error {
	select {
	case <-l.ready:
		return l.wrong
	case <-l.quit:
		return stream.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// failure is stream.ErrClosed when that is why, else err with what we tried.
func (l *Log) failure(what string, err error) error {
	if l.isClosed() {
		return stream.ErrClosed
	}
	return fmt.Errorf("kafka: %s: %w", what, err)
}
