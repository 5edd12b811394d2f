package app

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkSubmissions hands in text-only submissions over real HTTP from 256 clients at once: key looked up, limits, claim and events durable
// (synchronous=FULL) before each 201. The figure that counts is submissions/s.
func BenchmarkSubmissions(b *testing.B) {
	o := open(b)
	if _, err := SaveKey(b.Context(), o.db, Key{Token: o.token, PerMinute: 1 << 30, PerDay: 1 << 30}, o.clock.now()); err != nil {
		b.Fatal(err)
	}
	const clients = 256
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	var next atomic.Int64
	took := make([]time.Duration, b.N)
	var wg sync.WaitGroup
	b.ResetTimer()
	begin := time.Now()
	for range clients {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= b.N {
					return
				}
				body := fmt.Sprintf(`{"text":"第 %d 件：三幢二单元楼道灯不亮，晚上看不见台阶","address":"柳荫一村 3 幢","position":{"lat":31.2993,"lon":120.6195},"phone":"138%08d","name":"王"}`, i, i)
				r, err := http.NewRequest("POST", o.http.URL+"/api/v1/submissions", strings.NewReader(body))
				if err != nil {
					b.Error(err)
					return
				}
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer "+o.key)
				r.Header.Set("Idempotency-Key", fmt.Sprintf("bench-%d", i))
				at := time.Now()
				res, err := client.Do(r)
				if err != nil {
					b.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
				if res.StatusCode != 201 {
					b.Errorf("%d", res.StatusCode)
					return
				}
				took[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/time.Since(begin).Seconds(), "submissions/s")
	sort.Slice(took, func(i, j int) bool { return took[i] < took[j] })
	b.ReportMetric(float64(took[len(took)*99/100].Milliseconds()), "p99-ms")
	if n := len(o.contacts()); n != b.N {
		b.Errorf("%d contacts of %d", n, b.N)
	}
}

// BenchmarkReplay asks again for what is known.
func BenchmarkReplay(b *testing.B) {
	o := open(b)
	if _, err := SaveKey(b.Context(), o.db, Key{Token: o.token, PerMinute: 1 << 30, PerDay: 1 << 30}, o.clock.now()); err != nil {
		b.Fatal(err)
	}
	o.post("k", `{"text":"灯不亮"}`).receipt(b)
	o.apply()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "/api/v1/submissions", strings.NewReader(`{"text":"灯不亮"}`))
			r.Header.Set("Content-Type", "application/json")
			r.Header.Set("Authorization", "Bearer "+o.key)
			r.Header.Set("Idempotency-Key", "k")
			o.server.ServeHTTP(w, r)
			if w.Code != 201 || w.Header().Get("Idempotency-Replayed") != "true" {
				b.Errorf("%d", w.Code)
			}
		}
	})
}
