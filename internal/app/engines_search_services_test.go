//go:build services

package app

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"yingda/intake"
	"yingda/intake/answerrate"
	"yingda/intake/stream"
	"yingda/internal/pii"
	"yingda/search"
	"yingda/search/elastic"
)

// indexed is a program without telephones whose search is in Elasticsearch.
func indexed(t *testing.T) (*App, *elastic.Index) {
	t.Helper()
	server := os.Getenv("YINGDA_TEST_ELASTICSEARCH")
	if server == "" {
		t.Fatal("YINGDA_TEST_ELASTICSEARCH is not set; run make test-services")
	}
	c := Default()
	c.Data = t.TempDir()
	c.Search.Elastic.Addresses, c.Search.Elastic.Index = []string{server}, "app-"+strings.ReplaceAll(uuid.NewString(), "-", "")[:12]
	s, err := OpenStore(t.Context(), c, StoreOptions{Logger: slog.New(slog.DiscardHandler), Now: time.Now, Lock: true, Serve: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	a := &App{Store: s, log: s.slog, changes: newChanges()}
	if err := a.openIndex(t.Context()); err != nil {
		t.Fatal(err)
	}
	x := a.index.(*elastic.Index)
	t.Cleanup(func() {
		clean, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := x.Remove(clean); err != nil {
			t.Error(err)
		}
		_ = x.Close()
	})
	return a, x
}

// told are events of one subject.
func told(subject intake.Subject, epoch uint32, list ...intake.Event) []intake.Event {
	for i := range list {
		list[i].Source, list[i].Subject, list[i].Sequence, list[i].PartitionKey = "yingda/test", subject, intake.NewSequence(epoch, uint32(i+1)), subject.ID()
	}
	return list
}

func said(when, words string, d intake.Data) intake.Event {
	at, err := time.Parse(time.RFC3339, when)
	if err != nil {
		panic(err)
	}
	return intake.Event{Time: at, Data: d, Personal: intake.Personal{Text: pii.NewText(words)}}
}

// follow runs the consumers of books and search until they have what the log has.
func (a *App) follow(t *testing.T) {
	t.Helper()
	a.runs(t, a.booksConsumer(), func(ctx context.Context) ([]stream.Position, error) { return a.DB.Positions(ctx, booksGroup) })
	a.runs(t, a.searchConsumer(), func(ctx context.Context) ([]stream.Position, error) { return indexPositions(ctx, a.index) })
}

func (a *App) runs(t *testing.T, c *consumer, position func(context.Context) ([]stream.Position, error)) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.run(ctx)
	}()
	until(t, c.name+" has what the log has", func() bool {
		ends, err := a.stream().Ends(ctx)
		if err != nil {
			t.Fatal(err)
		}
		at, err := position(ctx)
		return err == nil && len(at) == 1 && at[0].Offset >= ends[0].Offset
	})
	stop()
	<-done
}

func TestWhatWasSaidInADestroyedMonthLeavesTheIndex(t *testing.T) {
	a, x := indexed(t)
	ctx := t.Context()
	offered := &intake.OfferedV1{Channel: intake.Chat, Line: "main", Switchboard: "main", Origin: "page"}
	end := &intake.EndedV1{Outcome: intake.Replied, By: "resident"}
	var events []intake.Event
	events = append(events, told("contact/01935000-0000-7000-8000-000000000001", 1, said("2026-09-03T08:00:00Z", "秋天的水管漏了", offered), said("2026-09-03T08:10:00Z", "", end))...)
	events = append(events, told("case/01935000-0000-7000-8000-000000000002", 1,
		said("2026-09-04T08:00:00Z", "秋天的路灯坏了", &intake.CaseOpenedV1{Source: "operator", By: "op-1", Grid: "g1"}), said("2026-10-02T08:00:00Z", "冬天的路灯还是坏的", &intake.CaseNotedV1{By: "op-1"}))...)
	events = append(events, told("contact/01935000-0000-7000-8000-000000000003", 1, said("2026-10-03T08:00:00Z", "冬天的暖气不热", offered), said("2026-10-03T08:10:00Z", "", end))...)
	if err := a.Log.Append(ctx, events...); err != nil {
		t.Fatal(err)
	}
	a.follow(t)
	find := func(words string) int {
		t.Helper()
		n, err := x.Count(ctx, search.Query{Text: words})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := find("秋天"); n != 2 {
		t.Fatalf("%d documents speak of autumn, want 2", n)
	}
	if err := a.DB.Destroy(ctx, monthSecret+"2026-09"); err != nil {
		t.Fatal(err)
	}
	if err := a.careForIndex(ctx, x); err != nil {
		t.Fatal(err)
	}
	if n := find("秋天"); n != 0 {
		t.Errorf("%d documents still speak of autumn", n)
	}
	if n := find("冬天"); n != 2 {
		t.Errorf("%d documents speak of winter, want 2", n)
	}
	if _, found, err := x.Get(ctx, "contact/01935000-0000-7000-8000-000000000001"); found || err != nil {
		t.Errorf("the contact of the destroyed month is still there: %v", err)
	}
	// What comes later does not bring it back, and the index is not built again each time.
	if err := a.Log.Append(ctx, told("case/01935000-0000-7000-8000-000000000002", 2, said("2026-10-05T08:00:00Z", "", &intake.CaseAcceptedV1{By: "op-1"}))...); err != nil {
		t.Fatal(err)
	}
	a.follow(t)
	if n := find("秋天"); n != 0 {
		t.Errorf("%d documents speak of autumn again", n)
	}
	var noted string
	if err := a.DB.QueryRow(ctx, "SELECT value FROM facts WHERE name = ?", forgottenFact(a.Config.Search.Elastic.Index)).Scan(&noted); err != nil || noted != "2026-09" {
		t.Errorf("noted %q, %v", noted, err)
	}
	before := generationsOf(t, a)
	if err := a.careForIndex(ctx, x); err != nil {
		t.Fatal(err)
	}
	if after := generationsOf(t, a); after != before {
		t.Errorf("the index was built again: %s, then %s", before, after)
	}
	a.searchAgrees(t)
}

// searchAgrees wants the audit to find nothing to say about the index.
func (a *App) searchAgrees(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	book := answerrate.NewBook()
	if err := readAll(ctx, a.stream(), "agrees", func(rec stream.Record) error { book.Apply(rec.Event); return nil }); err != nil {
		t.Fatal(err)
	}
	ends, err := a.stream().Ends(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var r AuditReport
	if err := a.auditSearch(ctx, &r, book, reachedBy(inStream(a.stream(), ends))); err != nil {
		t.Fatal(err)
	}
	if len(r.Findings) > 0 || r.SearchBehind != 0 {
		t.Errorf("the audit is %d behind and says %+v", r.SearchBehind, r.Findings)
	}
}

func TestWhatEndedLongAgoLeavesTheIndexAndNotTheStream(t *testing.T) {
	a, x := indexed(t)
	ctx := t.Context()
	offered, end := &intake.OfferedV1{Channel: intake.Chat, Line: "main", Switchboard: "main", Origin: "page"}, &intake.EndedV1{Outcome: intake.Replied, By: "resident"}
	at := func(before time.Duration) string { return time.Now().Add(-before).UTC().Format(time.RFC3339) }
	const day = 24 * time.Hour
	var events []intake.Event
	for i, ended := range []time.Duration{400 * day, 31 * day, 29 * day} {
		events = append(events, told(intake.Subject(fmt.Sprintf("contact/01935000-0000-7000-8000-00000000010%d", i)), 1, said(at(ended+time.Minute), "水管漏了", offered), said(at(ended), "", end))...)
	}
	events = append(events, told("contact/01935000-0000-7000-8000-000000000109", 1, said(at(400*day), "水管还开着", offered))...)
	events = append(events, told("case/01935000-0000-7000-8000-000000000110", 1, said(at(400*day), "水管没修", &intake.CaseOpenedV1{Source: "operator", By: "op-1", Grid: "g1"}))...)
	if err := a.Log.Append(ctx, events...); err != nil {
		t.Fatal(err)
	}
	a.follow(t)
	want := func(when string, n int) {
		t.Helper()
		if err := a.careForIndex(ctx, x); err != nil {
			t.Fatal(err)
		}
		if have, err := x.Count(ctx, search.Query{Text: "水管"}); err != nil || have != n {
			t.Errorf("%s: %d documents (%v), want %d", when, have, err, n)
		}
		a.searchAgrees(t)
	}
	want("kept for ever", 5)
	a.Config.Search.Keep = 30 * day
	want("kept for 30 days", 3) // of a month ago, what is open, and the case
	// What changes again is back, whole. An index built anew has everything until the next look.
	if err := a.Log.Append(ctx, told("contact/01935000-0000-7000-8000-000000000100", 2, said(at(0), "", &intake.RecordedV1{ID: "r1"}))...); err != nil {
		t.Fatal(err)
	}
	a.follow(t)
	want("after a late recording", 4)
	if err := a.rebuildElastic(ctx, x); err != nil {
		t.Fatal(err)
	}
	want("built anew", 4)
}

// generationsOf names what stands behind the alias.
func generationsOf(t *testing.T, a *App) string {
	t.Helper()
	done, err := a.index.(*elastic.Index).Generation(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestAnIndexOfAnotherVersionIsBuiltAgainWhilePeopleSearch(t *testing.T) {
	a, x := indexed(t)
	ctx := t.Context()
	wu, err := search.NewAnalyzer(search.AnalyzerConfig{Region: "wu"})
	if err != nil {
		t.Fatal(err)
	}
	old, err := elastic.Open(a.Config.Search.Elastic, elastic.Options{Logger: a.log, Analyzer: wu})
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	var events []intake.Event
	for i := range 200 {
		events = append(events, told(intake.Subject("contact/"+uuid.Must(uuid.NewV7()).String()), 1, said("2026-10-03T08:00:00Z", "冬天的暖气不热", &intake.OfferedV1{Channel: intake.Chat, Line: "main", Switchboard: "main", Origin: "page", Dedupe: string(rune('a' + i%26))}))...)
	}
	if err := a.Log.Append(ctx, events...); err != nil {
		t.Fatal(err)
	}
	a.index = old
	a.follow(t)
	a.index = x
	if stale, err := x.Stale(ctx); err != nil || !stale {
		t.Fatalf("an index of another region is not stale: %v", err)
	}
	before := generationsOf(t, a)
	searched := make(chan error, 1)
	stop := make(chan struct{})
	go func() {
		for {
			select {
			case <-stop:
				searched <- nil
				return
			default:
			}
			if n, err := x.Count(ctx, search.Query{Text: "暖气"}); err != nil || n != len(events) {
				searched <- errCount{n, err}
				return
			}
		}
	}()
	if err := a.careForIndex(ctx, x); err != nil {
		t.Fatal(err)
	}
	close(stop)
	if err := <-searched; err != nil {
		t.Error(err)
	}
	if stale, err := x.Stale(ctx); err != nil || stale {
		t.Errorf("it is still stale: %v", err)
	}
	if after := generationsOf(t, a); after == before {
		t.Error("it was not built again")
	}
}

type errCount struct {
	n   int
	err error
}

func (e errCount) Error() string {
	return fmt.Sprintf("a search during the exchange finds %d: %v", e.n, e.err)
}
