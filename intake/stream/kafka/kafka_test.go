package kafka

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"yingda/intake"
	"yingda/intake/stream/streamtest"
	"yingda/intake/wire"
)

// keys are secrets that are always the same.
type keys struct{ later bool }

func (k keys) Month(month string) ([]byte, error) {
	if k.later {
		return nil, intake.ErrLater
	}
	return bytes.Repeat([]byte(month), 5)[:32], nil
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func header(m kafka.Message, key string) string {
	for _, h := range m.Headers {
		if h.Key == key {
			return string(h.Value)
		}
	}
	return ""
}

// What loses events when it is otherwise.
func TestWriterSettings(t *testing.T) {
	s := Default()
	s.Brokers = []string{"127.0.0.1:9"}
	w := writer(s, nil, 1<<20)
	defer w.Close()
	got := w.Stats()
	if w.RequiredAcks != kafka.RequireAll || got.RequiredAcks != -1 {
		t.Errorf("RequiredAcks %v", got.RequiredAcks)
	}
	if w.Async || got.Async {
		t.Error("Async")
	}
	if got.BatchTimeout != 5*time.Millisecond {
		t.Errorf("BatchTimeout %v", got.BatchTimeout)
	}
	if w.Balancer != (kafka.Murmur2Balancer{}) {
		t.Errorf("Balancer %T", w.Balancer)
	}
	if w.AllowAutoTopicCreation {
		t.Error("AllowAutoTopicCreation")
	}
	if got.MaxBatchSize != batchRows || w.BatchBytes != 1<<20 || got.MaxAttempts != 1 {
		t.Errorf("a round of the sender (%d) is not one batch: %+v", batchRows, got)
	}
	r := partitionReader(s, nil, 3)
	if r.GroupID != "" || r.CommitInterval != 0 || !r.OffsetOutOfRangeError || r.MaxWait > time.Second || r.MinBytes != 1 || r.MaxBytes < maxMessage {
		t.Errorf("reader %+v", r)
	}
	g := member(s, nil, "books")
	if g.ID != "yingda.books" || g.StartOffset != kafka.FirstOffset || g.SessionTimeout != 10*time.Second || g.HeartbeatInterval != time.Second {
		t.Errorf("member %+v", g)
	}
	if topicMessage < maxMessage || maxMessage <= maxEvent {
		t.Error("the topic does not take what the outbox takes")
	}
	if s.Partitions != 12 || s.Topic != "yingda.intake.v1" || s.DeadLetters != "yingda.dlq.v1" {
		t.Errorf("defaults %+v", s)
	}
}

func TestNoMessageWithoutAKey(t *testing.T) {
	raw := encode(t, streamtest.Event("a", 1))
	m, err := message(raw)
	must(t, err)
	if string(m.Key) != "a" {
		t.Errorf("key %q", m.Key)
	}
	for _, key := range []string{`"partitionkey":""`, `"x":""`} {
		bad := bytes.Replace(raw, []byte(`"partitionkey":"a"`), []byte(key), 1)
		if m, err := message(bad); !errors.Is(err, intake.ErrInvalid) || !errors.Is(err, errNoKey) {
			t.Errorf("%s: %q, %v", key, m.Key, err)
		}
	}
}

// Partitions as Java's default partitioner has them (KafkaTest: BuiltInPartitioner.partitionForKey of these keys, 12 partitions).
func TestPartitionsAreThoseOfJava(t *testing.T) {
	all := make([]int, 12)
	for i := range all {
		all[i] = i
	}
	test := func(key string, hash uint32) {
		t.Helper()
		if p := (kafka.Murmur2Balancer{}).Balance(kafka.Message{Key: []byte(key)}, all...); p != int((hash&0x7fffffff)%12) {
			t.Errorf("%q goes to partition %d, in Java to %d", key, p, (hash&0x7fffffff)%12)
		}
	}
	// org.apache.kafka.common.utils.UtilsTest.testMurmur2
	neg := func(n int32) uint32 { return uint32(n) }
	test("21", neg(-973932308))
	test("foobar", neg(-790332482))
	test("a-little-bit-long-string", neg(-985981536))
	test("a-little-bit-longer-string", neg(-1486304829))
	test("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", neg(-58897971))
}

func encode(t testing.TB, e intake.Event) []byte {
	t.Helper()
	raw, err := wire.New(keys{}).Encode(e)
	must(t, err)
	return raw
}

func TestBinaryMode(t *testing.T) {
	e := streamtest.Event("contact-7", 3)
	raw := encode(t, e)
	m, err := message(raw)
	must(t, err)
	want := map[string]string{"ce_specversion": "1.0", "ce_id": e.ID(), "ce_source": "yingda/test", "ce_type": "contact.message.v1", "ce_subject": string(e.Subject),
		"ce_time": "2026-11-24T08:00:03.000Z", "content-type": "application/json", "ce_dataschema": "urn:yingda:schema:contact.message.v1",
		"ce_partitionkey": "contact-7", "ce_sequence": e.Sequence.String()}
	have := map[string]string{}
	for _, h := range m.Headers {
		have[h.Key] = string(h.Value)
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("headers %v, want %v", have, want)
	}
	var data map[string]json.RawMessage
	must(t, json.Unmarshal(m.Value, &data))
	if !bytes.Contains(data["personal"], []byte("sealed")) || bytes.Contains(m.Value, []byte("第")) {
		t.Errorf("the personal part is %s", data["personal"])
	}
	if got := structured(m); !bytes.Equal(got, raw) {
		t.Errorf("came back as\n%s, was\n%s", got, raw)
	}
}

// golden are the events of the catalogue as wire writes them.
func golden(t testing.TB) (list [][]byte) {
	files, err := filepath.Glob("../../wire/testdata/golden/*.jsonl")
	must(t, err)
	for _, f := range files {
		raw, err := os.ReadFile(f)
		must(t, err)
		for line := range bytes.Lines(raw) {
			list = append(list, bytes.TrimSpace(line))
		}
	}
	if len(list) == 0 {
		t.Fatal("no golden files")
	}
	return list
}

// Every event of the catalogue comes back as it was, byte for byte.
func TestTheCatalogueComesBack(t *testing.T) {
	for _, raw := range golden(t) {
		m, err := message(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		if back := structured(m); !bytes.Equal(back, raw) {
			t.Errorf("came back as\n%s\nwas\n%s", back, raw)
		}
	}
}

func TestWhatTheBindingCannotSay(t *testing.T) {
	frame := `{"specversion":"1.0","id":"x/1","source":"s","type":"t.v1","partitionkey":"k"%s}`
	test := func(rest, value, headers string) {
		t.Helper()
		raw := fmt.Appendf(nil, frame, rest)
		m, err := message(raw)
		must(t, err)
		if string(m.Value) != value {
			t.Errorf("%s: value %q, want %q", rest, m.Value, value)
		}
		var got []string
		for _, h := range m.Headers {
			if rank[h.Key] == 0 {
				got = append(got, h.Key+"="+string(h.Value))
			}
		}
		if s := strings.Join(got, " "); s != headers {
			t.Errorf("%s: headers %q, want %q", rest, s, headers)
		}
		var was, is any
		must(t, json.Unmarshal(raw, &was))
		must(t, json.Unmarshal(structured(m), &is))
		if !reflect.DeepEqual(was, is) {
			t.Errorf("%s came back as %s", rest, structured(m))
		}
	}
	test(`,"data":{"a":1}`, `{"a":1}`, "")
	test(``, ``, "")
	test(`,"data":"text"`, `"text"`, "")
	test(`,"datacontenttype":"text/plain","data":"text"`, `text`, "")
	test(`,"datacontenttype":"application/octet-stream","data_base64":"AP8="`, "\x00\xff", "")
	test(`,"datacontenttype":"text/plain","data":{"a":1}`, `{"a":1}`, `yingda_attributes={"data":true}`)
	test(`,"colour":"红 \"1\"","data":null`, `null`, `ce_colour=红 "1"`)
	test(`,"count":5,"on":true,"data":{}`, `{}`, `ce_count=5 ce_on=true yingda_attributes={"count":5,"on":true}`)
}

func TestWhatIsNoEvent(t *testing.T) {
	for _, raw := range []string{``, `null`, `[]`, `{"specversion":"9.9"`, `{}`, `{"specversion":"9.9","id":"x/1","source":"s","type":"t","partitionkey":"k"}`,
		`{"specversion":"1.0","id":"x/1","source":"s","type":"t","partitionkey":"k","data_base64":"?"}`,
		`{"specversion":"1.0","id":"x/1","source":"s","type":"t","partitionkey":"k","partitionkey":"l"}`} {
		if _, err := message([]byte(raw)); !errors.Is(err, intake.ErrInvalid) {
			t.Errorf("%s: %v", raw, err)
		}
	}
	for _, raw := range []string{``, `rubbish`, `{"specversion":"1.0"}`} {
		if got := structured(kafka.Message{Value: []byte(raw)}); string(got) != raw {
			t.Errorf("a message without headers, %q, came as %q", raw, got)
		}
	}
	// Structured mode, as others may write.
	if got := structured(kafka.Message{Value: []byte(`{"x":1}`), Headers: []kafka.Header{{Key: "content-type", Value: []byte("application/cloudevents+json; charset=UTF-8")}, {Key: "ce_specversion", Value: []byte("1.0")}}}); string(got) != `{"x":1}` {
		t.Errorf("structured mode came as %s", got)
	}
}

func FuzzMessage(f *testing.F) {
	for _, raw := range golden(f) {
		f.Add(raw)
	}
	f.Add([]byte(`{"specversion":"1.0","id":"x/1","source":"s","type":"t.v1","partitionkey":"k","count":5,"data":"t","datacontenttype":"text/plain"}`))
	codec := wire.New(keys{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := message(raw)
		if err != nil {
			if !errors.Is(err, intake.ErrInvalid) {
				t.Fatalf("%v is not ErrInvalid", err)
			}
			return
		}
		if len(m.Key) == 0 {
			t.Fatal("no key")
		}
		back := structured(m)
		a, errA := codec.Decode(raw)
		if errA != nil {
			return // no event of ours: it need only not do harm
		}
		b, errB := codec.Decode(back)
		if errB != nil {
			t.Fatalf("%s\ncame back as\n%s\n%v", raw, back, errB)
		}
		if a.ID() != b.ID() || a.Type() != b.Type() || a.PartitionKey != b.PartitionKey || !a.Time.Equal(b.Time) || a.Source != b.Source {
			t.Fatalf("%+v came back as %+v", a, b)
		}
		again, err := message(back)
		if err != nil || !reflect.DeepEqual(again, m) {
			t.Fatalf("the second way there differs: %v\n%v\n%v", err, m, again)
		}
	})
}

// The outermost members are those that encoding/json finds.
func FuzzMembers(f *testing.F) {
	for _, s := range []string{`{}`, ` { "a" : 1 , "b":[1,{"c":"}"}],"d":"x\\"y","e":-1.5e3,"f":null,"g":{"h":{}}}`, `[]`, `1`, `"a"`, `{"a":1}x`, `{"\\u0061":true}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		list, ok := members(raw)
		var want map[string]json.RawMessage
		if err := json.Unmarshal(raw, &want); ok != (err == nil && want != nil) {
			t.Fatalf("%q: %v, json says %v", raw, ok, err)
		}
		have := map[string]json.RawMessage{}
		for _, p := range list {
			have[p.name] = p.value
		}
		if ok && (len(have) != len(want) || !reflect.DeepEqual(have, want)) {
			t.Fatalf("%q: %q, json says %q", raw, have, want)
		}
	})
}

func BenchmarkMessage(b *testing.B) {
	raw := encode(b, streamtest.Event("contact-7", 3))
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := message(raw); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkStructured(b *testing.B) {
	m, err := message(encode(b, streamtest.Event("contact-7", 3)))
	must(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if len(structured(m)) == 0 {
			b.Fatal("nothing")
		}
	}
}

func TestCheck(t *testing.T) {
	test := func(want string, change func(*Settings)) {
		t.Helper()
		s := Default()
		s.Brokers = []string{"a:9092", "b:9092"}
		change(&s)
		err := s.Check()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	test("", func(*Settings) {})
	test("brokers: none", func(s *Settings) { s.Brokers = nil })
	test(`"a" is not host:port`, func(s *Settings) { s.Brokers = []string{"a"} })
	test("no name of a topic", func(s *Settings) { s.Topic = "呼叫" })
	test("must not be the topic", func(s *Settings) { s.DeadLetters = s.Topic })
	test("partitions: 0", func(s *Settings) { s.Partitions = 0 })
	test("tls: set, but not enabled", func(s *Settings) { s.TLS.CA = "ca.pem" })
	test("cert and key go together", func(s *Settings) { s.TLS = TLS{Enabled: true, Cert: "c.pem"} })
	test(`"PLAIN" is neither`, func(s *Settings) { s.SASL = SASL{Mechanism: "PLAIN", User: "u", Password: "p"} })
	test("one of password and password_file", func(s *Settings) { s.SASL = SASL{Mechanism: "SCRAM-SHA-512", User: "u"} })
	test("", func(s *Settings) {
		s.TLS, s.SASL = TLS{Enabled: true}, SASL{Mechanism: "SCRAM-SHA-512", User: "u", PasswordFile: "f"}
	})
}

func TestTLSIsNew(t *testing.T) {
	c, err := (TLS{Enabled: true, Name: "kafka.example"}).config()
	must(t, err)
	if c.MinVersion != 0x0303 || c.InsecureSkipVerify || c.ServerName != "kafka.example" {
		t.Errorf("%+v", c)
	}
	if c, err := (TLS{}).config(); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
	empty := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(empty, []byte("nothing"), 0o600))
	if _, err := (TLS{Enabled: true, CA: empty}).config(); err == nil {
		t.Error("a file without a certificate was taken")
	}
}

// With no broker there is a log all the same; it says that it fails, and gives back what it was given.
func TestNoBroker(t *testing.T) {
	s := Default()
	s.Brokers = []string{"127.0.0.1:1"}
	var states []State
	l, err := Open(t.Context(), Config{Settings: s, Codec: wire.New(keys{}), Memory: 3, Changed: func(s State) { states = append(states, s) }})
	must(t, err)
	if len(states) != 1 || !states[0].Failing || !l.State().Failing {
		t.Errorf("states %+v", states)
	}
	answers := make(chan error, 1)
	go func() { answers <- l.Append(t.Context(), streamtest.Event("a", 1), streamtest.Event("a", 2)) }()
	for l.State().Waiting != 2 {
		time.Sleep(time.Millisecond)
	}
	if err := l.Append(t.Context(), streamtest.Event("b", 1), streamtest.Event("b", 2)); err == nil {
		t.Error("more was taken than memory is for")
	}
	must(t, l.Close())
	if err := <-answers; err == nil {
		t.Error("an event that was not written was said to be")
	}
	if l.State().Waiting != 0 {
		t.Errorf("%d wait in a closed log", l.State().Waiting)
	}
}

func TestHeadersStandInOneOrder(t *testing.T) {
	raw := encode(t, streamtest.Event("a", 1))
	m, err := message(raw)
	must(t, err)
	keysOf := func(m kafka.Message) (list []string) {
		for _, h := range m.Headers {
			list = append(list, h.Key)
		}
		return list
	}
	for range 20 {
		again, err := message(raw)
		must(t, err)
		if !slices.Equal(keysOf(m), keysOf(again)) {
			t.Fatalf("%v and %v", keysOf(m), keysOf(again))
		}
	}
	if header(m, "ce_sequence") == "" {
		t.Error("no ce_sequence")
	}
}
