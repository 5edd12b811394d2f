//go:build services

package test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// TestAgainOnServers: on Kafka and PostgreSQL, bytes that are no event and an event that the tables refuse go to the topic of dead letters as they were, those
// behind them go on, a person decides, and the books read Kafka again to the same figures.
func TestAgainOnServers(t *testing.T) {
	o := newOffice(t)
	s := o.node("n1", "127.0.0.1")
	s.start()
	tables, err := sql.Open("pgx", o.postgres)
	if err != nil {
		t.Fatal(err)
	}
	defer tables.Close()
	do := func(q string) {
		t.Helper()
		if _, err := tables.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	said := func(args ...string) string {
		t.Helper()
		out, err := s.command(args...)
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return out
	}
	const bad = "01935000-0000-7000-8000-000000000002"
	do(`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''not this one''; END'`)
	do(`CREATE TRIGGER refuse BEFORE INSERT ON contacts FOR EACH ROW WHEN (NEW.id = '` + bad + `') EXECUTE FUNCTION refuse()`)
	rubbish := []byte("rubbish \x00\xff")
	w := &kafka.Writer{Addr: kafka.TCP(variable(t, "YINGDA_TEST_KAFKA")), Topic: o.name + ".intake", Balancer: &kafka.Murmur2Balancer{}, BatchTimeout: 5 * time.Millisecond}
	defer w.Close()
	if err := w.WriteMessages(t.Context(), kafka.Message{Key: []byte("foreign"), Value: rubbish}); err != nil {
		t.Fatal(err)
	}
	file := write(t, "past.jsonl", old(1, "2026-10-01T01:00:00Z", "051255501111")+old(2, "2026-10-01T02:00:00Z", "051255501112")+old(3, "2026-10-01T03:00:00Z", "051255501113"))
	said("import", "events", file)
	s.call("12345", 100*time.Millisecond)
	waitFor(t, "those behind are in the books", 60*time.Second, func() bool { return len(s.contacts()) == 3 })

	type letter struct {
		ID, Consumer, Reason string
		Attempts             int
		Bytes                []byte
	}
	list := func() (list []letter) {
		t.Helper()
		if err := json.Unmarshal([]byte(said("dlq", "list", "--json")), &list); err != nil {
			t.Fatal(err)
		}
		return list
	}
	var refused, unread []string
	waitFor(t, "all to be put aside", 60*time.Second, func() bool {
		refused, unread = nil, nil
		for _, l := range list() {
			if strings.Contains(l.Reason, "not this one") {
				refused = append(refused, l.ID)
				if l.Attempts < 2 {
					t.Errorf("given up at once: %+v", l)
				}
			} else {
				unread = append(unread, l.ID)
			}
		}
		return len(refused) == 2 && len(unread) == 5
	})
	slices.Sort(refused)
	// In the topic stand the original bytes.
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: []string{variable(t, "YINGDA_TEST_KAFKA")}, Topic: o.name + ".dlq", MaxWait: 100 * time.Millisecond})
	defer r.Close()
	var one letter
	if err := json.Unmarshal([]byte(said("dlq", "show", "--json", "--bytes", unread[0])), &one); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(one.Bytes), "rubbish") && !strings.Contains(string(one.Bytes), "cnViYmlzaCAA/w==") {
		t.Errorf("the bytes are %q", one.Bytes)
	}
	for found := false; !found; {
		m, err := r.ReadMessage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		found = string(m.Key) == one.ID && string(m.Value) == string(one.Bytes)
	}
	do("DROP TRIGGER refuse ON contacts")
	for _, id := range refused {
		said("dlq", "retry", id)
	}
	for _, id := range unread {
		if out, err := s.command("dlq", "retry", id); err == nil {
			t.Errorf("rubbish was taken: %s", out)
		}
		said("dlq", "drop", id)
	}
	if left := list(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
	waitFor(t, "the refused contact is in the books", 30*time.Second, func() bool { return len(s.contacts()) == 4 })

	s.allEnded()
	before := said("export", "contacts")
	count := func() (n int) {
		t.Helper()
		if err := tables.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM callbacks").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	owed := count()
	for _, empty := range []bool{false, true} {
		out := said("replay", "--consumer", "books", "--from", "beginning", fmt.Sprintf("--empty=%v", empty))
		if !strings.Contains(out, "done in") {
			t.Errorf("replay: %s", out)
		}
		if after := said("export", "contacts"); after != before {
			t.Errorf("emptied %v: the contacts were\n%s\nand are\n%s", empty, before, after)
		}
		if n := count(); n != owed {
			t.Errorf("emptied %v: %d callbacks, before %d", empty, n, owed)
		}
	}
}
