package app

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
)

// Two doors: pages are served where the switchboard is, fetched from there by the other, and nobody but a machine of the office can say for whom it asks.
func TestGate(t *testing.T) {
	quiet := slog.New(slog.DiscardHandler)
	c := Default()
	c.HTTP.Listen = "127.0.0.1:0"
	owner := map[string]string{}
	open := func(name string, secret string) *gate {
		g, err := openGate(c, []byte(secret), func() string { return owner[name] }, quiet, func(err error) { t.Error(err) })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = g.Close(context.Background()) })
		return g
	}
	a, b, stranger := open("a", "one"), open("b", "one"), open("stranger", "another")
	get := func(base string, header ...string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, base+"/unreturned?day=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(raw)
	}
	test := func(base string, want int, words string, header ...string) {
		t.Helper()
		if code, text := get(base, header...); code != want || !strings.Contains(text, words) {
			t.Errorf("%s: %d %q, want %d with %q", base, code, text, want, words)
		}
	}
	test(a.URL(), http.StatusServiceUnavailable, "tel:12345") // nobody has it
	a.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "%s for %s as %s %s%s", r.URL, r.RemoteAddr[:10], r.Host, r.Header.Get(passHeader), r.Header.Get(clientHeader))
	}))
	owner["b"], owner["stranger"] = a.URL(), a.URL()
	host := strings.TrimPrefix(b.URL(), "http://")
	test(a.URL(), http.StatusOK, "/unreturned?day=1 for 127.0.0.1: as "+strings.TrimPrefix(a.URL(), "http://")+" ")
	test(b.URL(), http.StatusOK, "/unreturned?day=1 for 127.0.0.1: as "+host+" ")
	test(b.URL(), http.StatusOK, "for 127.0.0.1:", clientHeader, "192.0.2.99:1")                         // a claim of somebody outside
	test(a.URL(), http.StatusOK, "for 127.0.0.1:", clientHeader, "192.0.2.99:1", passHeader, "whatever") // and a wrong pass
	test(a.URL(), http.StatusOK, "for 192.0.2.99", clientHeader, "192.0.2.99:1", passHeader, a.pass)
	test(stranger.URL(), http.StatusOK, "for 127.0.0.1:", clientHeader, "192.0.2.99:1")
	owner["a"], owner["b"] = b.URL(), a.URL()
	a.Serve(nil)
	test(b.URL(), http.StatusServiceUnavailable, "tel:12345") // each believes that the other has it: no page goes round and round
	owner["b"] = "http://127.0.0.1:1"
	test(b.URL(), http.StatusServiceUnavailable, "tel:12345") // gone
	owner["b"] = ""
	b.Serve(nil)
	test(b.URL(), http.StatusServiceUnavailable, "tel:12345")
}
