//go:build services

package kafka

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"yingda/intake/stream/streamtest"
	"yingda/intake/wire"
)

// secure are settings of the listener with SASL/SCRAM over TLS.
func secure(t testing.TB) Settings {
	s := settings(t)
	s.Brokers = []string{env(t, "YINGDA_TEST_KAFKA_SASL")}
	s.TLS = TLS{Enabled: true, CA: env(t, "YINGDA_TEST_KAFKA_CA")}
	s.SASL = SASL{Mechanism: "SCRAM-SHA-512", User: env(t, "YINGDA_TEST_KAFKA_USER"), PasswordFile: env(t, "YINGDA_TEST_KAFKA_PASSWORD_FILE")}
	return s
}

func TestSASLOverTLS(t *testing.T) {
	s := secure(t)
	l := openLog(t, Config{Settings: s})
	if l.State().Failing {
		t.Fatal(l.State().Err)
	}
	r, err := l.Open("g")
	must(t, err)
	must(t, l.Append(ctx(t), streamtest.Event("a", 1)))
	list, err := r.Fetch(ctx(t), 1)
	must(t, err)
	must(t, r.Commit(ctx(t), list[0].Position))
	if lag, err := l.Lag(ctx(t), "g"); err != nil || lag.Records != 0 {
		t.Errorf("lag %+v, %v", lag, err)
	}
	password, err := os.ReadFile(s.SASL.PasswordFile)
	must(t, err)
	refused := func(what string, change func(*Settings)) {
		t.Helper()
		bad := s
		change(&bad)
		l, err := Open(t.Context(), Config{Settings: bad, Codec: wire.New(keys{}), Logger: l.slog})
		if err != nil {
			return
		}
		defer l.Close()
		if st := l.State(); !st.Failing || strings.Contains(st.Err.Error(), strings.TrimSpace(string(password))) {
			t.Errorf("%s: %+v", what, st)
		}
	}
	wrong := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(wrong, []byte("wrong\n"), 0o600))
	refused("a wrong password", func(s *Settings) { s.SASL.PasswordFile = wrong })
	refused("no user", func(s *Settings) { s.SASL = SASL{} })
	refused("no TLS", func(s *Settings) { s.TLS = TLS{} })
	refused("an authority that is not the broker's", func(s *Settings) { s.TLS.CA = "" })
	refused("a name that is not the broker's", func(s *Settings) { s.TLS.Name = "kafka.example" })

	// A password that is changed in its file is used at the next connection.
	file := filepath.Join(t.TempDir(), "password")
	must(t, os.WriteFile(file, []byte("wrong\n"), 0o600))
	changed := s
	changed.SASL.PasswordFile = file
	late := openLog(t, Config{Settings: changed})
	if !late.State().Failing {
		t.Error("a wrong password was taken")
	}
	must(t, os.WriteFile(file, password, 0o600))
	must(t, late.Append(ctx(t), streamtest.Event("a", 2)))
}

// What another department sees with a tool that knows nothing of us.
func TestKcatReadsCloudEvents(t *testing.T) {
	s := secure(t)
	l := openLog(t, Config{Settings: s})
	const n = 50
	for i := range n {
		must(t, l.Append(ctx(t), streamtest.Event(fmt.Sprintf("contact-%d", i%7), i/7+1)))
	}
	// Debian's kcat stands on librdkafka 2.0, whose SCRAM this broker refuses: it repeats the client's nonce, which Kafka checks since CVE-2024-56128. The topic
	// is the same through the plain door.
	cmd := exec.CommandContext(ctx(t), "kcat", "-b", env(t, "YINGDA_TEST_KAFKA"), "-C", "-t", s.Topic, "-o", "beginning", "-e", "-q", "-J")
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("kcat: %v\n%s", err, complaint.String())
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	seen, newest := map[string]string{}, map[string]string{}
	for lines.Scan() {
		checkCloudEvent(t, lines.Bytes(), seen, newest)
	}
	if len(seen) != n {
		t.Errorf("kcat saw %d events, want %d", len(seen), n)
	}
}

var attributeName = regexp.MustCompile(`^ce_[a-z0-9]+$`)

// checkCloudEvent wants a message of kcat to be a CloudEvent 1.0 in binary mode (Kafka Protocol Binding 1.0.2, §3.2; Spec 1.0.2, Required Attributes and
// Type System; the extensions partitioning and sequence).
func checkCloudEvent(t *testing.T, line []byte, seen, newest map[string]string) {
	t.Helper()
	var m struct {
		Key     string
		Payload string
		Headers []string
	}
	must(t, json.Unmarshal(line, &m))
	h := map[string]string{}
	for i := 0; i+1 < len(m.Headers); i += 2 {
		if _, twice := h[m.Headers[i]]; twice {
			t.Errorf("header %s stands twice", m.Headers[i])
		}
		h[m.Headers[i]] = m.Headers[i+1]
		if m.Headers[i] != "content-type" && !attributeName.MatchString(m.Headers[i]) {
			t.Errorf("header %s is no attribute", m.Headers[i])
		}
	}
	for _, required := range []string{"ce_id", "ce_source", "ce_type"} {
		if h[required] == "" {
			t.Errorf("no %s in %s", required, line)
		}
	}
	if h["ce_specversion"] != "1.0" || h["content-type"] != "application/json" {
		t.Errorf("specversion %q, content-type %q", h["ce_specversion"], h["content-type"])
	}
	if at, err := time.Parse(time.RFC3339Nano, h["ce_time"]); err != nil || at.IsZero() {
		t.Errorf("ce_time %q: %v", h["ce_time"], err)
	}
	if !regexp.MustCompile(`^[0-9a-f]{16}$`).MatchString(h["ce_sequence"]) || h["ce_id"] != h["ce_subject"]+"/"+h["ce_sequence"] {
		t.Errorf("ce_sequence %q, ce_id %q", h["ce_sequence"], h["ce_id"])
	}
	if h["ce_partitionkey"] != m.Key || m.Key == "" {
		t.Errorf("key %q, ce_partitionkey %q", m.Key, h["ce_partitionkey"])
	}
	// The same event in the order of its subject.
	if last := newest[h["ce_subject"]]; last >= h["ce_sequence"] {
		t.Errorf("%s comes after %s", h["ce_id"], last)
	}
	newest[h["ce_subject"]] = h["ce_sequence"]
	var data struct {
		Number   int
		Personal map[string]string
	}
	if err := json.Unmarshal([]byte(m.Payload), &data); err != nil {
		t.Error(err)
	}
	if data.Number == 0 || len(data.Personal) != 3 || data.Personal["sealed"] != "v1" || data.Personal["month"] == "" || data.Personal["box"] == "" || strings.Contains(m.Payload, "句") {
		t.Errorf("payload %s", m.Payload)
	}
	seen[h["ce_id"]] = h["ce_sequence"]
}
