//go:build services

package test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestFaultSearch: Elasticsearch is killed under 10 calls a second, comes back with the index red for as long as its shard is looked for, and then says 429 to every
// bulk. The wall says that search does not keep up, calls go on, and afterwards every contact has its document.
func TestFaultSearch(t *testing.T) {
	o := newOffice(t)
	elastic := variable(t, "YINGDA_TEST_ELASTICSEARCH")
	door := newFront(t, elastic)
	s := o.node("n1", "127.0.0.1")
	s.env = append(s.env, "YINGDA_SEARCH_ELASTIC_ADDRESSES="+door.url)
	s.start()
	base := "http://" + s.http
	o.phone("phone", s, time.Minute)
	super := o.supervisor(base)
	phones := s.callers(10, time.Second)
	waitFor(t, "people to phone", 30*time.Second, func() bool { return len(heard(phones)) > 50 })

	allocate := func(v string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, elastic+"/"+o.name+"/_settings", strings.NewReader(`{"index.routing.allocation.enable":`+v+`}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("settings of the index: %s", res.Status)
		}
	}
	troubled := func(want bool) func() bool {
		return func() bool {
			wall := page(super, base+"/wall")
			if want {
				return strings.Contains(wall, "查找跟不上")
			}
			return strings.Contains(wall, "w-body") && !strings.Contains(wall, "查找跟不上")
		}
	}
	allocate(`"none"`)
	services(t, "kill", "elasticsearch")
	began := time.Now()
	waitFor(t, "the wall to say that search does not keep up", 30*time.Second, troubled(true))
	t.Logf("the wall said so after %s", time.Since(began).Round(100*time.Millisecond))
	if text := page(super, base+"/search?q="+url.QueryEscape("路灯")); text == "" {
		t.Error("the page for searching gives nothing while Elasticsearch is away")
	}
	pause(time.Until(began.Add(15 * time.Second)))

	up := exec.Command(variable(t, "YINGDA_SERVICES"), "up", "elasticsearch") // it returns when no index is red any more
	if err := up.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the index to be red", 90*time.Second, func() bool { return o.health() == "red" })
	red := time.Now()
	allocate(`null`)
	if err := up.Wait(); err != nil {
		t.Fatalf("services up: %v", err)
	}
	waitFor(t, "search to keep up again", 60*time.Second, troubled(false))
	mended := time.Now()

	door.busy.Store(true)
	waitFor(t, "the wall to say that Elasticsearch refuses", 40*time.Second, troubled(true))
	pause(8 * time.Second)
	door.busy.Store(false)
	over := time.Now()
	waitFor(t, "search to keep up again", 60*time.Second, troubled(false))
	n, deaf, slowest := phones.between(began, over.Add(-5*time.Second))
	t.Logf("stopped %s, red %s, 429 %s (%d bulks refused); of the calls meanwhile %d heard of us, the slowest after %s, %d did not", red.Sub(began).Round(time.Second),
		mended.Sub(red).Round(time.Second), over.Sub(mended).Round(time.Second), door.refused.Load(), n, slowest.Round(time.Millisecond), deaf)
	if deaf > 0 || n < 200 || door.refused.Load() == 0 {
		t.Error("calls did not go on, or nothing was refused")
	}
	phones.stop()
	o.agree(s, heard(phones), nil)
}

// front stands before Elasticsearch and says 429 to every bulk while it is told to be busy.
type front struct {
	url     string
	busy    atomic.Bool
	refused atomic.Int64
}

func newFront(t *testing.T, to string) *front {
	t.Helper()
	at, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	d := &front{}
	through := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(at) }, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) }}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d.busy.Load() && strings.HasSuffix(r.URL.Path, "/_bulk") {
			d.refused.Add(1)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("X-Elastic-Product", "Elasticsearch")
			w.WriteHeader(http.StatusTooManyRequests)
			_, _ = fmt.Fprint(w, `{"error":{"type":"es_rejected_execution_exception","reason":"rejected execution of coordinating operation"},"status":429}`)
			return
		}
		through.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	d.url = server.URL
	return d
}
