package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/google/uuid"

	"yingda/intake"
	"yingda/intake/stream/kafka"
	"yingda/intake/stream/sqllog"
	"yingda/intake/wire"
	"yingda/internal/pii"
)

// secret is the same for all months: what is measured is the work, not who can read it.
type secret struct{}

func (secret) Month(string) ([]byte, error) { return make([]byte, 32), nil }

// contact makes the events of one call as they come in an office: offered, waiting, rang, answered, ended.
func contact(n int) []intake.Event {
	id := intake.ContactID(uuid.Must(uuid.NewV7()).String())
	at := time.Now().UTC().Truncate(time.Millisecond)
	var list []intake.Event
	for i, d := range []intake.Data{
		&intake.OfferedV1{Channel: intake.Phone, Line: "main", Switchboard: "main", Caller: intake.Token(fmt.Sprintf("%064x", n%5000)), Origin: "trunk-1"},
		&intake.WaitingV1{Priority: 1, Ahead: n % 7},
		&intake.RangV1{Operator: "op-12", Offer: "offer-1"},
		&intake.AnsweredV1{Operator: "op-12", Offer: "offer-1", Codec: "PCMA"},
		&intake.EndedV1{Outcome: intake.Answered, By: "resident", WaitedMS: 4200, TalkedMS: 183_000},
	} {
		e := intake.Event{Source: "yingda/n1", Subject: id.Subject(), Sequence: intake.NewSequence(1, uint32(i+1)), Time: at.Add(time.Duration(i) * time.Second),
			PartitionKey: fmt.Sprintf("%064x", n%5000), Data: d}
		if i == 0 {
			e.Personal = intake.Personal{Number: pii.NewPhone(fmt.Sprintf("1380000%04d", n%10000))}
		}
		list = append(list, e)
	}
	return list
}

// filled is an outbox with so many events.
func filled(ctx context.Context, dir string, events int) (*sqllog.Log, error) {
	log, err := sqllog.Open(ctx, filepath.Join(dir, "log.db"), sqllog.Config{Codec: wire.New(secret{}), Ballast: -1, Limit: time.Minute, Logger: quiet})
	if err != nil {
		return nil, err
	}
	var batch []intake.Event
	for n := 0; events > 0; n++ {
		batch = append(batch, contact(n)...)
		events -= 5
		if len(batch) >= 2000 || events <= 0 {
			if err := log.Append(ctx, batch...); err != nil {
				return nil, err
			}
			batch = batch[:0]
		}
	}
	return log, nil
}

var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// outboxToKafka carries a full outbox into a topic of its own and gives events a second.
func outboxToKafka(ctx context.Context, dir, broker string, events int) (float64, error) {
	log, err := filled(ctx, dir, events)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	s := kafka.Default()
	s.Brokers = []string{broker}
	id := uuid.NewString()
	s.Topic, s.DeadLetters, s.GroupPrefix = "bench."+id, "bench.dlq."+id, id+"."
	k, err := kafka.Open(ctx, kafka.Config{Settings: s, Codec: wire.New(secret{}), Logger: quiet})
	if err != nil {
		return 0, err
	}
	defer k.Close()
	if st := k.State(); st.Failing {
		return 0, fmt.Errorf("no broker at %s: %w", broker, st.Err)
	}
	dead := k.DeadLetters()
	defer dead.Close()
	relay := &kafka.Relay{Outbox: log, Log: k, Node: "n1", Dead: dead, Logger: quiet}
	run, stop := context.WithCancel(ctx)
	defer stop()
	var wg sync.WaitGroup
	began := time.Now()
	wg.Go(func() { relay.Run(run) })
	for relay.State().Sent < int64(events) && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
	took := time.Since(began)
	ends, err := k.Ends(ctx)
	stop()
	wg.Wait()
	if err != nil {
		return 0, err
	}
	there := int64(0)
	for _, p := range ends {
		there += p.Offset + 1
	}
	if there != int64(events) {
		return 0, fmt.Errorf("the topic has %d events, the outbox %d", there, events)
	}
	return float64(events) / took.Seconds(), nil
}
