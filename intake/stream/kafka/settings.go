package kafka

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Settings are what an office can set (stream.kafka.… in the file). Only Brokers must be set.
type Settings struct {
	Brokers     []string      `koanf:"brokers" doc:"host:port of some of the brokers; the others are found through them"`
	Topic       string        `koanf:"topic" doc:"topic of the events; made at the start when there is none"`
	DeadLetters string        `koanf:"dead_letters" doc:"topic of what could not be read or written"`
	Partitions  int           `koanf:"partitions" doc:"partitions of the topic, fixed with its first day: order holds in one partition, so a topic with another number is refused and never changed"`
	Replication int           `koanf:"replication" doc:"copies of each partition when the topic is made; 0: what the brokers have as their default. With 3 or more, 2 must have an event before it counts as written"`
	Retention   time.Duration `koanf:"retention" doc:"how long the topic keeps events when it is made; 0: for ever, which replay and a new index need"`
	GroupPrefix string        `koanf:"group_prefix" doc:"stands before the name of each consumer group, for clusters that others use too"`
	TLS         TLS           `koanf:"tls" doc:"encryption between us and the brokers"`
	SASL        SASL          `koanf:"sasl" doc:"how we prove who we are"`
}

// TLS of the way to the brokers, TLS 1.2 or newer.
type TLS struct {
	Enabled bool   `koanf:"enabled" doc:"encrypt"`
	CA      string `koanf:"ca" doc:"PEM file of the authority that signed the brokers' certificates; empty: the system's"`
	Cert    string `koanf:"cert" doc:"PEM file of our own certificate, when the brokers ask for one"`
	Key     string `koanf:"key" doc:"PEM file of its key"`
	Name    string `koanf:"name" doc:"name in the brokers' certificates when it is not the one in brokers"`
}

// SASL is user and password.
type SASL struct {
	Mechanism    string `koanf:"mechanism" doc:"SCRAM-SHA-512 or SCRAM-SHA-256; empty: no user"`
	User         string `koanf:"user" doc:"user"`
	Password     string `koanf:"password" doc:"password" secret:"true"`
	PasswordFile string `koanf:"password_file" doc:"file that holds the password, instead of password; read at each connection, so it can be changed"`
}

// Default is what holds when nothing is set.
func Default() Settings {
	return Settings{Topic: "yingda.intake.v1", DeadLetters: "yingda.dlq.v1", Partitions: 12, GroupPrefix: "yingda."}
}

// Check says what is wrong with the settings, in terms of their keys; nil when nothing is. It looks at no file and asks no broker.
func (s Settings) Check() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(s.Brokers) == 0 {
		wrong("brokers: none")
	}
	for _, b := range s.Brokers {
		if _, _, err := net.SplitHostPort(b); err != nil {
			wrong("brokers: %q is not host:port", b)
		}
	}
	for key, topic := range map[string]string{"topic": s.Topic, "dead_letters": s.DeadLetters} {
		if topic == "" || len(topic) > 249 || topic == "." || topic == ".." || strings.Trim(topic, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
			wrong("%s: %q is no name of a topic (letters, digits, dot, dash, underscore)", key, topic)
		}
	}
	if s.Topic == s.DeadLetters {
		wrong("dead_letters: must not be the topic of the events")
	}
	if s.Partitions < 1 || s.Partitions > 1000 {
		wrong("partitions: %d is not between 1 and 1000", s.Partitions)
	}
	if s.Replication < 0 || s.Replication > 100 {
		wrong("replication: %d", s.Replication)
	}
	if s.Retention < 0 {
		wrong("retention: %s", s.Retention)
	}
	if !s.TLS.Enabled && s.TLS != (TLS{}) {
		wrong("tls: set, but not enabled")
	}
	if (s.TLS.Cert == "") != (s.TLS.Key == "") {
		wrong("tls: cert and key go together")
	}
	switch {
	case s.SASL == (SASL{}):
	case s.SASL.Mechanism != "SCRAM-SHA-512" && s.SASL.Mechanism != "SCRAM-SHA-256":
		wrong("sasl.mechanism: %q is neither SCRAM-SHA-512 nor SCRAM-SHA-256", s.SASL.Mechanism)
	case s.SASL.User == "":
		wrong("sasl.user: none")
	case (s.SASL.Password == "") == (s.SASL.PasswordFile == ""):
		wrong("sasl: one of password and password_file")
	}
	return errors.Join(errs...)
}

func (t TLS) config() (*tls.Config, error) {
	if !t.Enabled {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.Name}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err != nil {
			return nil, fmt.Errorf("tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.ca: no certificate in %s", t.CA)
		}
	}
	if t.Cert != "" {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("tls.cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// mechanism of SASL; nil when there is no user.
func (s SASL) mechanism() (sasl.Mechanism, error) {
	if s.Mechanism == "" {
		return nil, nil
	}
	if _, err := s.password(); err != nil {
		return nil, err
	}
	return fresh{s}, nil
}

func (s SASL) password() (string, error) {
	if s.PasswordFile == "" {
		return s.Password, nil
	}
	raw, err := os.ReadFile(s.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("sasl.password_file: %w", err)
	}
	return strings.TrimRight(string(raw), "\r\n"), nil
}

// fresh asks for the password at each connection, so that it can be changed while we run.
type fresh struct{ s SASL }

func (f fresh) Name() string { return f.s.Mechanism }

func (f fresh) Start(ctx context.Context) (sasl.StateMachine, []byte, error) {
	password, err := f.s.password()
	if err != nil {
		return nil, nil, err
	}
	algorithm := scram.SHA512
	if f.s.Mechanism == "SCRAM-SHA-256" {
		algorithm = scram.SHA256
	}
	m, err := scram.Mechanism(algorithm, f.s.User, password)
	if err != nil {
		return nil, nil, err
	}
	return m.Start(ctx)
}

// How we speak to brokers. maxEvent is what the outbox takes at most; the rest leaves room for headers and for what surrounds them.
const (
	maxEvent     = 4 << 20
	maxMessage   = maxEvent + 1<<20
	topicMessage = 8 << 20 // max.message.bytes of a topic that we make
	batchRows    = 4000    // of one round of the sender, and so of one batch
	batchTimeout = 5 * time.Millisecond
	fetchWait    = 250 * time.Millisecond
	session      = 10 * time.Second
	heartbeat    = time.Second
	rebalance    = 5 * time.Second // how long the others wait for a member that has gone; ours let go of their partitions at once
	dialTimeout  = 3 * time.Second
	writeTimeout = 10 * time.Second
)

// writer is how events are written: all replicas in sync have them before it returns, in the partition that Java clients would choose.
func writer(s Settings, transport kafka.RoundTripper, batchBytes int64) *kafka.Writer {
	return &kafka.Writer{Addr: kafka.TCP(s.Brokers...), Topic: s.Topic, Transport: transport,
		RequiredAcks: kafka.RequireAll, // the zero value waits for nobody
		Async:        false,            // it would lose what waits, and wait without bound
		Balancer:     kafka.Murmur2Balancer{},
		BatchSize:    batchRows, BatchBytes: batchBytes, BatchTimeout: batchTimeout, // the default is a second for each write
		MaxAttempts: 1, // the sender tries again itself, in order, and can be stopped
		ReadTimeout: writeTimeout, WriteTimeout: writeTimeout, AllowAutoTopicCreation: false}
}

// partitionReader reads one partition. There is no group in it: who reads which partition, and from where, is decided by reader.
func partitionReader(s Settings, dialer *kafka.Dialer, partition int) kafka.ReaderConfig {
	return kafka.ReaderConfig{Brokers: s.Brokers, Topic: s.Topic, Partition: partition, Dialer: dialer, QueueCapacity: 200,
		MinBytes: 1, MaxBytes: topicMessage, MaxWait: fetchWait, ReadBatchTimeout: writeTimeout, ReadLagInterval: -1,
		ReadBackoffMin: 50 * time.Millisecond, ReadBackoffMax: time.Second, MaxAttempts: 3, OffsetOutOfRangeError: true}
}

// member takes part in a group.
func member(s Settings, dialer *kafka.Dialer, group string) kafka.ConsumerGroupConfig {
	return kafka.ConsumerGroupConfig{ID: s.GroupPrefix + group, Brokers: s.Brokers, Dialer: dialer, Topics: []string{s.Topic}, HeartbeatInterval: heartbeat,
		SessionTimeout: session, RebalanceTimeout: rebalance, JoinGroupBackoff: 500 * time.Millisecond, StartOffset: kafka.FirstOffset, Timeout: 5 * time.Second}
}
