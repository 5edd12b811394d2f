package elastic

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"yingda/search"
	"yingda/search/searchtest"
)

// fake is a server for what the real one cannot be made to do here: TLS, passwords, plugins, silence. It has one empty generation.
type fake struct {
	sync.Mutex
	asked    []string // method and path
	auth     []string
	bodies   map[string]string // the last body by path
	plugins  string
	product  string
	hang     chan struct{} // when set, searches wait for it
	tooLarge int           // a _bulk body of more bytes gets 413
	items    int
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.Lock()
	f.asked = append(f.asked, r.Method+" "+r.URL.Path)
	f.auth = append(f.auth, r.Header.Get("Authorization"))
	f.bodies[r.URL.Path] = string(body)
	f.Unlock()
	w.Header().Set("X-Elastic-Product", f.product)
	switch {
	case r.URL.Path == "/_cat/nodes":
		_, _ = io.WriteString(w, `[{"name":"n1"}]`)
	case r.URL.Path == "/_cat/plugins":
		_, _ = io.WriteString(w, f.plugins)
	case strings.HasPrefix(r.URL.Path, "/_alias/"):
		_, _ = fmt.Fprintf(w, `{"%s.g0":{"aliases":{}}}`, r.URL.Path[len("/_alias/"):])
	case strings.HasSuffix(r.URL.Path, "/_search"):
		if f.hang != nil {
			select {
			case <-f.hang:
			case <-r.Context().Done():
			}
		}
		_, _ = io.WriteString(w, `{"hits":{"total":{"value":0},"hits":[]}}`)
	case strings.HasSuffix(r.URL.Path, "/_mget"):
		var q struct{ IDs []string }
		_ = json.Unmarshal(body, &q)
		docs := make([]map[string]bool, len(q.IDs))
		for i := range docs {
			docs[i] = map[string]bool{"found": false}
		}
		_ = json.NewEncoder(w).Encode(obj{"docs": docs})
	case strings.HasSuffix(r.URL.Path, "/_bulk"):
		if f.tooLarge > 0 && len(body) > f.tooLarge {
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			return
		}
		n := strings.Count(string(body), "\n") / 2
		f.Lock()
		f.items += n
		f.Unlock()
		_, _ = io.WriteString(w, `{"items":[`+strings.TrimSuffix(strings.Repeat(`{"index":{"status":201}},`, n), ",")+`]}`)
	default:
		_, _ = io.WriteString(w, `{}`)
	}
}

func newFake() *fake {
	return &fake{bodies: map[string]string{}, plugins: `[]`, product: "Elasticsearch"}
}

func opened(t *testing.T, c Config) *Index {
	t.Helper()
	x, err := Open(c, Options{Logger: slog.New(slog.DiscardHandler), Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func TestTLSAndPasswords(t *testing.T) {
	f := newFake()
	s := httptest.NewTLSServer(f)
	defer s.Close()
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		config Config
		want   string
	}{
		{Config{CA: ca, User: "yingda", Password: "secret"}, "Basic eWluZ2RhOnNlY3JldA=="},
		{Config{CA: ca, User: "yingda", Password: "secret", APIKey: "a2V5"}, "APIKey a2V5"},
	} {
		c.config.Addresses = []string{s.URL}
		if _, err := opened(t, c.config).Search(t.Context(), search.Query{}); err != nil {
			t.Fatal(err)
		}
		if got := f.auth[len(f.auth)-1]; !strings.EqualFold(got, c.want) {
			t.Errorf("authorization %q, want %q", got, c.want)
		}
	}
	_, err := opened(t, Config{Addresses: []string{s.URL}, User: "yingda", Password: "secret"}).Search(t.Context(), search.Query{})
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) || strings.Contains(err.Error(), "secret") {
		t.Errorf("an authority that nobody knows: %v", err)
	}
}

func TestAnotherNodeIsAskedWhenOneIsAway(t *testing.T) {
	f := newFake()
	s := httptest.NewServer(f)
	defer s.Close()
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = away.Close()
	x := opened(t, Config{Addresses: []string{"http://" + away.Addr().String(), s.URL}})
	for range 4 {
		if _, err := x.Search(t.Context(), search.Query{}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsNoElasticsearchIsRefusedAndItsRootIsNeverAsked(t *testing.T) {
	f := newFake()
	s := httptest.NewServer(f)
	defer s.Close()
	if _, err := opened(t, Config{Addresses: []string{s.URL}}).Search(t.Context(), search.Query{}); err != nil {
		t.Fatal(err)
	}
	if slices.Contains(f.asked, "GET /") || len(f.asked) == 0 {
		t.Errorf("asked %v", f.asked)
	}
	f.product = "another"
	if _, err := opened(t, Config{Addresses: []string{s.URL}}).Search(t.Context(), search.Query{}); err == nil {
		t.Error("another product is taken for Elasticsearch")
	}
}

func TestASilentServerDoesNotKeepASearch(t *testing.T) {
	f := newFake()
	f.hang = make(chan struct{})
	s := httptest.NewServer(f)
	defer s.Close()
	defer close(f.hang)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := opened(t, Config{Addresses: []string{s.URL}}).Search(ctx, search.Query{Text: "路灯"}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want DeadlineExceeded", err)
	}
}

func TestPluginsLiftAndNeverMatch(t *testing.T) {
	f := newFake()
	f.plugins = `[{"name":"n1","component":"analysis-ik"},{"name":"n1","component":"analysis-icu"}]`
	s := httptest.NewServer(f)
	defer s.Close()
	x := opened(t, Config{Addresses: []string{s.URL}})
	if _, err := x.Search(t.Context(), search.Query{Text: "路灯不亮"}); err != nil {
		t.Fatal(err)
	}
	var q struct {
		Query struct {
			Bool struct{ Must, Should, MinimumShouldMatch any }
		}
	}
	if err := json.Unmarshal([]byte(f.bodies["/"+DefaultIndex+"/_search"]), &q); err != nil {
		t.Fatal(err)
	}
	b := q.Query.Bool
	if b.Must == nil || b.Should == nil || b.MinimumShouldMatch != nil {
		t.Errorf("the query is %+v", b)
	}
	template := f.bodies["/_index_template/"+DefaultIndex]
	if !strings.Contains(template, `"ik_max_word"`) || !strings.Contains(template, `"icu_analyzer"`) {
		t.Errorf("the template has no fields for the plugins: %s", template)
	}
}

// What people type reaches Elasticsearch as tokens, whatever it is.
func TestQueriesHoldTermsOnly(t *testing.T) {
	f := newFake()
	s := httptest.NewServer(f)
	defer s.Close()
	x := opened(t, Config{Addresses: []string{s.URL}})
	yes := true
	known := []string{"query", "size", "from", "track_total_hits", "track_scores", "sort", "bool", "must", "should", "filter", "must_not", "minimum_should_match", "dis_max", "queries",
		"_source", "term", "terms", "value", "boost", "range", "gte", "lt", "match_none", "_score"}
	var fields []string
	for name := range mapping(extras{}, "")["properties"].(obj) {
		fields = append(fields, name)
	}
	var walk func(v any, in string)
	walk = func(v any, in string) {
		switch v := v.(type) {
		case map[string]any:
			for k, below := range v {
				if !slices.Contains(known, k) && !slices.Contains(fields, k) {
					t.Errorf("%s: the query has %q in it", in, k)
				}
				walk(below, in)
			}
		case []any:
			for _, below := range v {
				walk(below, in)
			}
		}
	}
	asked := 0
	for name, text := range searchtest.Hostile() {
		delete(f.bodies, "/"+DefaultIndex+"/_search")
		if _, err := x.Search(t.Context(), search.Query{Text: text, HasCallback: &yes, From: time.Unix(1e9, 0), Departments: []string{text}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		body, ok := f.bodies["/"+DefaultIndex+"/_search"]
		if !ok {
			continue // there is nothing in it that could be looked for
		}
		var q any
		if err := json.Unmarshal([]byte(body), &q); err != nil {
			t.Fatal(err)
		}
		asked++
		walk(q, name)
	}
	if asked < 10 {
		t.Errorf("only %d of the texts were asked", asked)
	}
}

func TestTooMuchAtOnceIsSentInHalves(t *testing.T) {
	f := newFake()
	f.tooLarge = 20_000
	s := httptest.NewServer(f)
	defer s.Close()
	set, err := searchtest.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	x := opened(t, Config{Addresses: []string{s.URL}})
	if err := x.Apply(t.Context(), searchtest.Set{Items: set.Items[:100]}.Events()); err != nil {
		t.Fatal(err)
	}
	if f.items != 100 {
		t.Errorf("%d items were taken, want 100", f.items)
	}
}

func TestCloseEndsAnApplyThatWaits(t *testing.T) {
	away, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = away.Close()
	x := opened(t, Config{Addresses: []string{"http://" + away.Addr().String()}})
	done := make(chan error, 1)
	go func() { done <- x.Apply(context.Background(), nil, search.Position{Offset: 1}) }()
	for since, _ := x.Trouble(); since.IsZero(); since, _ = x.Trouble() {
		time.Sleep(time.Millisecond)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, search.ErrClosed) {
		t.Errorf("%v, want ErrClosed", err)
	}
}

func TestConfigIsChecked(t *testing.T) {
	for _, c := range []Config{{}, {Addresses: []string{"es1:9200"}}, {Addresses: []string{"http://u:p@es1:9200"}}, {Addresses: []string{"http://es1:9200"}, Index: "Große"},
		{Addresses: []string{"http://es1:9200"}, Shards: -1}, {Addresses: []string{"http://es1:9200"}, CA: "/no/such/file"}} {
		x, err := Open(c, Options{})
		if err == nil {
			_ = x.Close()
			t.Errorf("%+v is taken", c)
		} else if strings.Contains(err.Error(), "u:p") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func FuzzEncodedDocumentIsTheJSONThatItMeans(f *testing.F) {
	f.Add("contact/1", "路灯\x00\"不亮\\", "\xff\xfe")
	f.Add("case/\u2028", "<script>", "a b")
	a, err := search.NewAnalyzer(search.AnalyzerConfig{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, department, reason string) {
		d := search.Document{ID: "contact/x", Kind: search.Contact, Department: department, Category: id, Reason: reason, SIPCallID: id}
		line, err := encode(nil, a, new(search.Scratch), extras{ik: true}, &d)
		if err != nil {
			t.Fatal(err)
		}
		var back struct {
			Dept string          `json:"dept"`
			Doc  json.RawMessage `json:"doc"`
		}
		if err := json.Unmarshal(line, &back); err != nil || back.Dept != strings.ToValidUTF8(department, "\ufffd") && back.Dept != roundTrip(department) {
			t.Fatalf("%q becomes %q (%v)", department, back.Dept, err)
		}
		if strings.ContainsAny(string(line), "\n\r") {
			t.Fatal("a line break in a line")
		}
	})
}

func roundTrip(s string) string {
	b, _ := json.Marshal(s)
	var back string
	_ = json.Unmarshal(b, &back)
	return back
}
