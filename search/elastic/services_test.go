//go:build services

package elastic

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"yingda/search"
	"yingda/search/bleve"
	"yingda/search/searchtest"
)

// These tests run against the real server that YINGDA_TEST_ELASTICSEARCH names (make test-services).
func server(t testing.TB) string {
	t.Helper()
	u := os.Getenv("YINGDA_TEST_ELASTICSEARCH")
	if u == "" {
		t.Fatal("YINGDA_TEST_ELASTICSEARCH names no server; run make test-services")
	}
	return u
}

var names atomic.Int64

// named gives an index of the test's own and removes it in the end.
func named(t testing.TB) Config {
	t.Helper()
	c := Config{Addresses: []string{server(t)}, Index: fmt.Sprintf("test-%d-%d", os.Getpid(), names.Add(1))}
	x, err := Open(c, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(x.Remove(context.Background()), x.Close()); err != nil {
			t.Log(err)
		}
	})
	return c
}

func open(t testing.TB, c Config, o Options) *Index {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	x, err := Open(c, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

// service makes a fault, or undoes it: service(t, "kill").
func service(t *testing.T, command string) {
	t.Helper()
	script := os.Getenv("YINGDA_SERVICES")
	if script == "" {
		t.Fatal("YINGDA_SERVICES names no script; run make test-services")
	}
	if out, err := exec.CommandContext(t.Context(), script, command, "elasticsearch").CombinedOutput(); err != nil {
		t.Fatalf("services %s: %v: %s", command, err, out)
	}
}

// ask sends a request of the test's own.
func ask(t testing.TB, c Config, method, path string, in, out any) {
	t.Helper()
	cl, err := newClient(c)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cl.close() }()
	if err := cl.json(context.Background(), longTime, method, path, in, out); err != nil {
		t.Fatal(err)
	}
}

// eventually waits for the condition itself.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); {
		if time.Now().After(end) {
			t.Fatalf("not within a minute: %s", what)
		}
		select {
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func TestConformance(t *testing.T) {
	dirs := map[string]Config{}
	searchtest.Run(t, func(t *testing.T, name string) search.Index {
		t.Helper()
		key := t.Name() + name
		if _, ok := dirs[key]; !ok {
			dirs[key] = named(t)
		}
		return open(t, dirs[key], Options{})
	})
}

// Both indexes must find the same things: within two points of recall@10.
func TestJudgedQueriesAreFoundAsInTheOtherIndex(t *testing.T) {
	set, err := searchtest.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	embedded, err := bleve.Open(t.TempDir(), bleve.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = embedded.Close() }()
	both, err := searchtest.Compare(t.Context(), set, [2]string{"Bleve", "Elasticsearch"}, [2]search.Index{embedded, open(t, named(t), Options{})})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := both.Print(&b); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", b.String())
	if d := both.Difference(); d > 0.02 {
		t.Errorf("recall@10 differs by %.3f, want at most 0.02", d)
	}
}
