package app

import (
	"context"
	"time"

	"yingda/search/elastic"
)

// engines looks at the servers that an office of several machines has; of one that has none there is nothing to say.
func (d *doctor) engines(ctx context.Context, s *Store) {
	c := s.Config
	if s.shared() {
		d.tables(ctx, s)
	}
	if len(c.Stream.Kafka.Brokers) > 0 {
		d.kafka(ctx, s)
	}
	if len(c.Search.Elastic.Addresses) > 0 {
		d.elastic(ctx, c.Search.Elastic, s)
	}
	if c.Member() {
		d.nodes(ctx, s)
	}
}

func (d *doctor) tables(ctx context.Context, s *Store) {
	began := time.Now()
	now, err := s.DB.Now(ctx)
	took := time.Since(began)
	if err != nil {
		d.bad("PostgreSQL: %v", err)
		return
	}
	d.good("PostgreSQL answers in %s", took.Round(time.Millisecond))
	if apart := time.Since(now).Abs(); apart > took+2*time.Second {
		d.bad("the clock here and that of PostgreSQL are %s apart: have both kept right (chrony)", apart.Round(time.Second))
	}
}

func (d *doctor) kafka(ctx context.Context, s *Store) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := s.OpenStream(ctx, nil); err != nil {
		d.bad("Kafka: %v", err)
		return
	}
	ends, err := s.stream().Ends(ctx)
	if err != nil {
		d.bad("Kafka does not answer: %v; look at stream.kafka.brokers, tls and sasl", err)
		return
	}
	d.good("Kafka answers: topic %s, %d partitions", s.Config.Stream.Kafka.Topic, len(ends))
	o := s.newOutbox(nil)
	lag, err := o.relay.Lag(ctx)
	switch {
	case err != nil:
		d.bad("what this machine owes Kafka cannot be known: %v", err)
	case lag.Records > 0:
		d.note("%d events of this machine are not in Kafka yet, the oldest of %s", lag.Records, lag.Oldest.Format(time.RFC3339))
	}
	letters, err := s.dead.List(ctx)
	switch {
	case err != nil:
		d.bad("dead letters: %v", err)
	case len(letters) > 0:
		d.bad("%d events could not be used and wait for you: yingda dlq list", len(letters))
	}
}

func (d *doctor) elastic(ctx context.Context, c elastic.Config, s *Store) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	x, err := elastic.Open(c, elastic.Options{Logger: s.slog})
	if err != nil {
		d.bad("Elasticsearch: %v", err)
		return
	}
	defer x.Close()
	stale, err := x.Stale(ctx)
	lost := false
	if err == nil {
		lost, err = x.Lost(ctx)
	}
	switch {
	case err != nil:
		d.bad("Elasticsearch does not answer: %v; look at search.elastic", err)
	case lost:
		d.bad("Elasticsearch has lost a shard of the index %s: see GET /_cluster/allocation/explain; it is built again from the stream after search.mend, or now by yingda search reindex --from-stream", c.Index)
	case stale:
		d.note("Elasticsearch answers; its index was made by another version: yingda search reindex")
	default:
		d.good("Elasticsearch answers: index %s", c.Index)
	}
}

func (d *doctor) nodes(ctx context.Context, s *Store) {
	r, err := s.Nodes(ctx)
	if err != nil {
		d.bad("the other machines: %v", err)
		return
	}
	heard := 0
	for _, n := range r.Nodes {
		switch {
		case n.Silent && n.Owed > 0:
			d.bad("%s is silent since %s and owes at least %d events: start it again, with its own data folder", n.Name, n.Seen.Format(time.RFC3339), n.Owed)
		case n.Silent:
			d.note("%s is silent since %s", n.Name, n.Seen.Format(time.RFC3339))
		default:
			heard++
		}
	}
	switch {
	case heard == 0:
		d.note("no machine of this office serves now")
	case heard == 1:
		d.bad("one machine serves and none stands by: if it dies nobody answers")
	default:
		d.good("%d machines are there; the switchboard is on %s", heard, r.Holder)
	}
}
