package bleve

import (
	"context"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"yingda/intake"
	"yingda/search"
	"yingda/search/searchtest"
)

// many tells the embedded set again and again under new ids until there are n items.
func many(s searchtest.Set, n int) []searchtest.Item {
	var items []searchtest.Item
	for i := 0; len(items) < n; i++ {
		it := s.Items[i%len(s.Items)]
		it.ID = fmt.Sprintf("%08d-%s", i, it.ID[9:])
		it.At = it.At.Add(time.Duration(i) * time.Second)
		items = append(items, it)
	}
	return items
}

// BenchmarkReplay is how fast a stream is read into a new index: batches of 500 events.
func BenchmarkReplay(b *testing.B) {
	items := many(set(b), 20_000)
	var events []intake.Event
	for _, it := range items {
		events = append(events, it.Events()...)
	}
	for b.Loop() {
		dir := b.TempDir()
		x := open(b, dir, Config{})
		begun := time.Now()
		for at := 0; at < len(events); at += 500 {
			end := min(at+500, len(events))
			if err := x.Apply(context.Background(), events[at:end], search.Position{Offset: int64(end)}); err != nil {
				b.Fatal(err)
			}
		}
		if err := x.gen.flush(); err != nil {
			b.Fatal(err)
		}
		took := time.Since(begun).Seconds()
		b.ReportMetric(float64(len(items))/took, "docs/s")
		b.ReportMetric(float64(len(events))/took, "events/s")
		if err := x.Close(); err != nil {
			b.Fatal(err)
		}
		var size int64
		_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
			if info, e := d.Info(); err == nil && e == nil && !d.IsDir() {
				size += info.Size()
			}
			return nil
		})
		b.ReportMetric(float64(size)/float64(len(items)), "bytes/doc")
	}
}

// BenchmarkVisible is the time from an event to the moment when Search finds it, at ten events a second's size: one event a batch,
// with 20,000 documents there already.
func BenchmarkVisible(b *testing.B) {
	x := filled(b, 20_000)
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		it := searchtest.Item{ID: fmt.Sprintf("fresh-%d", n), Kind: "contact", Channel: "app", Line: "1", Outcome: "accepted", At: time.Unix(1_800_000_000, 0), Words: []string{fmt.Sprintf("新来的 fresh%dx", n)}}
		begun := time.Now()
		if err := x.Apply(context.Background(), it.Events()[:1], search.Position{Offset: int64(n + 1<<40)}); err != nil {
			b.Fatal(err)
		}
		if r, err := x.Search(context.Background(), search.Query{Text: fmt.Sprintf("fresh%dx", n)}); err != nil || r.Total == 0 {
			b.Fatalf("%d hits, %v", r.Total, err)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
}

// BenchmarkSearch asks the judged queries of 20,000 documents.
func BenchmarkSearch(b *testing.B) {
	x := filled(b, 20_000)
	queries := set(b).Queries
	var took []time.Duration
	for n := 0; b.Loop(); n++ {
		r, err := x.Search(context.Background(), search.Query{Text: queries[n%len(queries)].Query})
		if err != nil {
			b.Fatal(err)
		}
		took = append(took, r.Took)
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95-ms")
}

func filled(b *testing.B, n int) *Index {
	b.Helper()
	x := open(b, b.TempDir(), Config{})
	var events []intake.Event
	for _, it := range many(set(b), n) {
		events = append(events, it.Events()...)
	}
	for at := 0; at < len(events); at += 1000 {
		if err := x.Apply(context.Background(), events[at:min(at+1000, len(events))]); err != nil {
			b.Fatal(err)
		}
	}
	return x
}
