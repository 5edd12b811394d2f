package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go"

	"yingda/bench/rig"
	"yingda/intake"
)

// hangup is a call whose time counts: when the caller hung up, and when a search found it.
type hangup struct{ at, visible time.Time }

// stages says where the time of these calls went, and why others were refused. It reads the topic when all is over, so that nobody is disturbed by it: an event has its own time, which is when the
// switchboard decided, and the record that of the broker. What is left until a search has it is the search consumer, the write and the wait for a refresh.
func stages(ctx context.Context, broker, topic string, calls map[string]hangup, out io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	names := map[string]string{} // subject of a contact → Call-ID
	var decided, carried, found []float64
	refused := map[string]int{} // by reason
	for partition := range topicPartitions {
		err := each(ctx, broker, topic, partition, func(kind intake.Type, subject string, happened, kept time.Time, data []byte) error {
			switch kind {
			case (&intake.OfferedV1{}).EventType():
				var d struct {
					Call string `json:"sip_call_id"`
				}
				if err := json.Unmarshal(data, &d); err != nil {
					return err
				}
				names[subject] = d.Call
			case (&intake.EndedV1{}).EventType():
				var d struct {
					Outcome intake.Outcome
					Reason  string
				}
				if err := json.Unmarshal(data, &d); err != nil {
					return err
				}
				if names[subject] != "" && d.Outcome == intake.Refused {
					refused[d.Reason]++
				}
				if c, ok := calls[key(names[subject])]; ok { // offered and ended are in one partition, in order
					decided, carried, found = append(decided, rig.Milliseconds(happened.Sub(c.at))), append(carried, rig.Milliseconds(kept.Sub(happened))), append(found, rig.Milliseconds(c.visible.Sub(kept)))
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("partition %d of the topic: %w", partition, err)
		}
	}
	if len(refused) > 0 {
		_, _ = fmt.Fprintf(out, "  refused, by reason %v\n", refused)
	}
	if len(found) != len(calls) {
		return fmt.Errorf("the topic has the ends of %d calls, want %d", len(found), len(calls))
	}
	for _, s := range []struct {
		what string
		took []float64
	}{{"BYE → decided", decided}, {"decided → in Kafka", carried}, {"in Kafka → visible", found}} {
		_, _ = fmt.Fprintf(out, "  %-19s p50 %.0f ms, p95 %.0f ms, p99 %.0f ms, longest %.0f ms\n", s.what, rig.At(s.took, 0.5), rig.At(s.took, 0.95), rig.At(s.took, 0.99), rig.At(s.took, 1))
	}
	return nil
}

const topicPartitions = 12 // the program's default

// each reads a partition from its beginning to where it ends now.
func each(ctx context.Context, broker, topic string, partition int, tell func(kind intake.Type, subject string, happened, kept time.Time, data []byte) error) error {
	leader, err := kafka.DialLeader(ctx, "tcp", broker, topic, partition)
	if err != nil {
		return err
	}
	first, end, err := leader.ReadOffsets()
	_ = leader.Close()
	if err != nil {
		return err
	}
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{broker}, Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond})
	defer func() { _ = r.Close() }()
	for next := first; next < end; {
		m, err := r.ReadMessage(ctx)
		if err != nil {
			return err
		}
		next = m.Offset + 1
		attribute := map[string]string{}
		for _, h := range m.Headers {
			attribute[h.Key] = string(h.Value)
		}
		happened, err := time.Parse(time.RFC3339Nano, attribute["ce_time"])
		if err == nil {
			err = tell(intake.Type(attribute["ce_type"]), attribute["ce_subject"], happened, m.Time, m.Value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
