package sqllog

import (
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"yingda/intake"
	"yingda/intake/stream/streamtest"
	"yingda/internal/pii"
)

// offered is what most appends carry: the first event of a call.
func offered(contact string, n int) intake.Event {
	e := streamtest.Event(contact, n)
	e.Data = &intake.OfferedV1{Channel: intake.Phone, Line: "12345", Switchboard: "main", Caller: "abcdefghijklmnopqrstuv", Origin: "trunk-1",
		Dedupe: "6f1f0a7e-call-id@192.0.2.7;from=as5c9;cseq=1", SIPCallID: "6f1f0a7e-call-id@192.0.2.7"}
	e.Personal = intake.Personal{Number: pii.NewPhone("13800005678"), Name: pii.NewName("王小明")}
	return e
}

// BenchmarkAppend has many appenders with one event at a time; each is durable when Append returns.
func BenchmarkAppend(b *testing.B) {
	for _, appenders := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("appenders=%d", appenders), func(b *testing.B) {
			l := openLog(b, filepath.Join(b.TempDir(), "log.db"), Config{Limit: time.Minute})
			took := make([][]time.Duration, appenders)
			b.ReportAllocs()
			b.ResetTimer()
			begin := time.Now()
			var wg sync.WaitGroup
			for w := range appenders {
				wg.Go(func() {
					contact := fmt.Sprintf("019ab2f0-0000-7000-8000-%012d", w)
					for n := w; n < b.N; n += appenders {
						at := time.Now()
						if err := l.Append(b.Context(), offered(contact, n+1)); err != nil {
							b.Error(err)
							return
						}
						took[w] = append(took[w], time.Since(at))
					}
				})
			}
			wg.Wait()
			elapsed := time.Since(begin)
			b.StopTimer()
			all := slices.Sorted(slices.Values(slices.Concat(took...)))
			b.ReportMetric(float64(b.N)/elapsed.Seconds(), "events/s")
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

// BenchmarkImport appends 500 events at a time from one caller, as an import of history does.
func BenchmarkImport(b *testing.B) {
	l := openLog(b, filepath.Join(b.TempDir(), "log.db"), Config{Limit: time.Minute})
	n := 0
	for b.Loop() {
		batch := make([]intake.Event, 500)
		for i := range batch {
			n++
			batch[i] = offered("a", n)
		}
		if err := l.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
}

// BenchmarkFetch reads a log from its beginning, as a rebuild does.
func BenchmarkFetch(b *testing.B) {
	l := openLog(b, filepath.Join(b.TempDir(), "log.db"), Config{Limit: time.Minute})
	const size = 20_000
	for n := 0; n < size; n += 500 {
		batch := make([]intake.Event, 500)
		for i := range batch {
			batch[i] = offered("a", n+i+1)
		}
		if err := l.Append(b.Context(), batch...); err != nil {
			b.Fatal(err)
		}
	}
	read := 0
	for b.Loop() {
		read += len(ids(b, l))
	}
	b.ReportMetric(float64(read)/b.Elapsed().Seconds(), "events/s")
}
