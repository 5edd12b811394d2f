package app

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func writeConfig(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "yingda.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestDefaultWorks(t *testing.T) {
	c, err := Load("", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("no file gives %+v", c)
	}
	if got := c.trunks(); len(got) != 1 || got[0].prefixes()[0].String() != "127.0.0.0/8" {
		t.Errorf("trunks without any: %v", got)
	}
}

func TestSampleIsTheDefault(t *testing.T) {
	var b bytes.Buffer
	if err := Sample(&b); err != nil {
		t.Fatal(err)
	}
	c, err := Load(writeConfig(t, b.String()), nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	// An empty list in the file is a list, in Default it is nil; both mean none.
	if len(c.Trunks) == 0 {
		c.Trunks = nil
	}
	if len(c.Public.Origins) == 0 && len(c.Public.Private) == 0 {
		c.Public.Origins, c.Public.Private = nil, nil
	}
	if !reflect.DeepEqual(c, Default()) {
		t.Errorf("the sample gives\n%+v\nwant\n%+v", c, Default())
	}
	committed, err := os.ReadFile("../../deploy/yingda.sample.yaml")
	if err != nil || !bytes.Equal(committed, b.Bytes()) {
		if os.Getenv("UPDATE") != "" {
			if err := os.WriteFile("../../deploy/yingda.sample.yaml", b.Bytes(), 0o644); err != nil {
				t.Fatal(err)
			}
			return
		}
		t.Errorf("deploy/yingda.sample.yaml is not what the structs say (%v): run UPDATE=1 go test ./internal/app -run Sample", err)
	}
}

func TestLaterGoesOverEarlier(t *testing.T) {
	path := writeConfig(t, "http:\n  listen: 127.0.0.1:1\nsip:\n  max_calls: 7\n  rate: 3\n")
	c, err := Load(path, []string{"YINGDA_SIP_MAX_CALLS=8", "YINGDA_HTTP_LISTEN=127.0.0.1:2", "YINGDA_SOMETHING=else", "PATH=x", "YINGDA_BOOKS_DUE=90m"},
		map[string]any{"http.listen": "127.0.0.1:3"})
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP.Listen != "127.0.0.1:3" || c.SIP.MaxCalls != 8 || c.SIP.Rate != 3 || c.Books.Due != 90*time.Minute {
		t.Errorf("%+v", c)
	}
}

func TestWrongIsRefusedWithItsLine(t *testing.T) {
	test := func(text string, want ...string) {
		t.Helper()
		path := writeConfig(t, text)
		_, err := Load(path, nil, nil)
		if !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %v, want ErrConfig", text, err)
			return
		}
		for _, w := range want {
			if !strings.Contains(strings.ReplaceAll(err.Error(), path, "F"), w) {
				t.Errorf("%q: error does not say %q:\n%v", text, w, err)
			}
		}
	}
	test("http:\n  lisen: x\n", "F:2: http.lisen is no setting; did you mean http.listen?")
	test("htp:\n  listen: x\n", "F:1: htp is no setting; did you mean http?")
	test("trunks:\n  - name: t\n    allow: [10.0.0.0/99]\n", "F:3: trunks.0.allow", "write for instance 192.0.2.7")
	test("trunks:\n  - name: t\n    alow: [10.0.0.0/9]\n", "F:3: trunks.0.alow is no setting; did you mean trunks.#.allow?")
	test("queue:\n  ring_time: 20\n", "F:2: queue.ring_time", "write for instance 20s")
	test("queue:\n  ring_time: soon\n  misses: -1\n", "F:2: queue.ring_time")
	test("queue:\n  misses: 0\nbooks:\n  tries: 0\n", "F:2: queue.misses 0: at least 1", "F:4: books.tries")
	test("sip:\n  max_calls: many\n", "F:2: sip.max_calls")
	test("lines:\n  - id: a\n    name: A\n    numbers: ['1']\n    hours: Monday\n", "F:5: lines.0.hours", "Mo-Fr")
	test("http: [\n", "not YAML")
	test("- a\n", "settings expected")
	test("http:\n  listen: a:1\nhttp:\n  listen: b:2\n", "http")
	test("http: &x\n  listen: 127.0.0.1:1\nsip: *x\n", "write the value out")
	_, err := Load(writeConfig(t, ""), []string{"YINGDA_SIP_RATE=-1"}, nil)
	if err == nil || !strings.Contains(err.Error(), "YINGDA_SIP_RATE: sip.rate -1") {
		t.Errorf("environment: %v", err)
	}
}

func TestPrintHidesSecrets(t *testing.T) {
	c := Default()
	c.Trunks = []Trunk{{Name: "t", Allow: []string{"192.0.2.1"}, User: "u", Password: "hush"}}
	var b bytes.Buffer
	if err := Print(&b, c); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "hush") || !strings.Contains(b.String(), `password: "***"`) {
		t.Errorf("%s", b.String())
	}
}

func FuzzConfig(f *testing.F) {
	f.Add("http:\n  listen: 127.0.0.1:1\n")
	f.Add("trunks:\n  - name: t\n    allow: [x]\n")
	f.Add("a: {b: [c, {d: e}]}\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, pos, err := parseYAML("F", []byte(text))
		if err != nil {
			return
		}
		if m == nil || pos == nil {
			t.Error("no error and nothing read")
		}
	})
}
