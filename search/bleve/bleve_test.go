package bleve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"yingda/intake"
	"yingda/search"
	"yingda/search/searchtest"
)

func set(t testing.TB) searchtest.Set {
	t.Helper()
	s, err := searchtest.Embedded()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func open(t testing.TB, dir string, c Config) *Index {
	t.Helper()
	x, err := Open(dir, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = x.Close() })
	return x
}

func count(t testing.TB, x *Index, q search.Query) int {
	t.Helper()
	n, err := x.Count(context.Background(), q)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// stream gives events again from the beginning, some at a time, as Rebuild reads them; what lies behind the last is waited for.
func stream(events []intake.Event, size int) Next {
	at := 0
	return func(ctx context.Context) ([]intake.Event, []search.Position, error) {
		if at == len(events) {
			<-ctx.Done()
			return nil, nil, ctx.Err()
		}
		from := at
		at = min(at+size, len(events))
		return events[from:at], []search.Position{{Offset: int64(at)}}, nil
	}
}

// damage changes what openGeneration must notice.
func TestDamagedIndexIsMovedAsideAndBegunAnew(t *testing.T) {
	events := set(t).Events()
	for name, damage := range map[string]func(t *testing.T, dir string){
		"a byte of a segment": func(t *testing.T, dir string) {
			path := segmentFile(t, dir)
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			b[len(b)/2] ^= 0x55
			write(t, path, b)
		},
		"a segment cut short": func(t *testing.T, dir string) {
			path := segmentFile(t, dir)
			if err := os.Truncate(path, 100); err != nil {
				t.Fatal(err)
			}
		},
		"a segment gone":     func(t *testing.T, dir string) { remove(t, segmentFile(t, dir)) },
		"root.bolt is noise": func(t *testing.T, dir string) { write(t, one(t, dir, "root.bolt"), bytes.Repeat([]byte{7}, 9000)) },
		"the description":    func(t *testing.T, dir string) { write(t, one(t, dir, "index_meta.json"), []byte("{")) },
		"the folder gone":    func(t *testing.T, dir string) { remove(t, filepath.Dir(one(t, dir, "index_meta.json"))) },
		"CURRENT is noise":   func(t *testing.T, dir string) { write(t, filepath.Join(dir, currentFile), []byte("index-/../../etc")) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			x := open(t, dir, Config{})
			if err := x.Apply(t.Context(), events[:200], search.Position{Offset: 200}); err != nil {
				t.Fatal(err)
			}
			if err := x.Close(); err != nil {
				t.Fatal(err)
			}
			damage(t, dir)
			x = open(t, dir, Config{Logger: slog.New(slog.DiscardHandler)})
			if at, err := x.Position(t.Context()); err != nil || len(at) != 0 {
				t.Fatalf("begins at %v (%v), want the beginning", at, err)
			}
			if err := x.Apply(t.Context(), events[:200], search.Position{Offset: 200}); err != nil {
				t.Fatal(err)
			}
			if n := count(t, x, search.Query{Text: "路灯"}); n == 0 {
				t.Error("after the stream was read again nothing is found")
			}
		})
	}
}

func segmentFile(t *testing.T, dir string) string { return one(t, dir, ".zap") }

// one finds a file whose name ends so.
func one(t *testing.T, dir, end string) string {
	t.Helper()
	found := ""
	_ = filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, end) {
			found = path
		}
		return nil
	})
	if found == "" {
		t.Fatalf("no %s in %s", end, dir)
	}
	return found
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

// After kill -9 at any instant, position and documents agree, and the stream brings what is missing.
func TestKilledIndexHoldsWhatItsPositionClaims(t *testing.T) {
	events := set(t).Events()[:900]
	if dir := os.Getenv("YINGDA_TEST_INDEX"); dir != "" { // the one that is killed
		x := open(t, dir, Config{})
		for at := 0; at < len(events); at += 7 {
			end := min(at+7, len(events))
			if err := x.Apply(t.Context(), events[at:end], search.Position{Offset: int64(end)}); err != nil {
				t.Fatal(err)
			}
			if at%350 == 343 { // every fifty batches what there is gets to the disk; in between the persister decides
				if err := x.gen.flush(); err != nil {
					t.Fatal(err)
				}
			}
			fmt.Println("applied", end)
		}
		select {}
	}
	for _, lines := range []int{2, 60, 110} {
		dir := t.TempDir()
		victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKilledIndexHoldsWhatItsPositionClaims$")
		victim.Env = append(os.Environ(), "YINGDA_TEST_INDEX="+dir)
		out, err := victim.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := victim.Start(); err != nil {
			t.Fatal(err)
		}
		in := bufio.NewScanner(out)
		for n := 0; n < lines && in.Scan(); n++ {
		}
		if err := victim.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = victim.Wait()
		x := open(t, dir, Config{Logger: slog.New(slog.DiscardHandler)})
		at, err := x.Position(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		reached := 0
		if len(at) == 1 {
			reached = int(at[0].Offset)
		}
		agree(t, x, events[:reached])
		if err := x.Apply(t.Context(), events[reached:]); err != nil {
			t.Fatal(err)
		}
		agree(t, x, events)
		if least := (lines - 1) / 50 * 350; reached < least {
			t.Errorf("killed after %d batches it stands at event %d, although %d were on disk", lines, reached, least)
		}
	}
}

// agree compares the index with the fold of the events.
func agree(t *testing.T, x *Index, events []intake.Event) {
	t.Helper()
	want := map[intake.Subject]search.Document{}
	for _, e := range events {
		d := want[e.Subject]
		search.Apply(&d, e)
		want[e.Subject] = d
	}
	if n := count(t, x, search.Query{}); n != len(want) {
		t.Errorf("%d documents, want %d", n, len(want))
	}
	for id, doc := range want {
		if got, ok, err := x.Get(t.Context(), id); err != nil || !ok || !reflect.DeepEqual(got, doc) {
			t.Fatalf("%s: %+v (%v, %v), want %+v", id, got, ok, err, doc)
		}
	}
}

func TestRebuildGoesOnWhilePeopleSearchAndEventsCome(t *testing.T) {
	items := set(t).Items[:200]
	events := searchtest.Set{Items: items}.Events()
	x := open(t, t.TempDir(), Config{})
	half := len(events) / 2
	if err := x.Apply(t.Context(), events[:half], search.Position{Offset: int64(half)}); err != nil {
		t.Fatal(err)
	}
	before := x.gen.path
	ctx, stop := context.WithCancel(t.Context())
	var people sync.WaitGroup
	for range 2 {
		people.Go(func() {
			for ctx.Err() == nil {
				if r, err := x.Search(context.Background(), search.Query{Text: "路灯不亮"}); err != nil || r.Total == 0 {
					t.Errorf("during the rebuild: %d hits, %v", r.Total, err)
					return
				}
			}
		})
	}
	done := make(chan error, 1)
	go func() { done <- x.Rebuild(t.Context(), stream(events, 50)) }()
	for at := half; at < len(events); at += 10 {
		end := min(at+10, len(events))
		if err := x.Apply(t.Context(), events[at:end], search.Position{Offset: int64(end)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	stop()
	people.Wait()
	if x.gen.path == before {
		t.Error("the generation in use is the old one")
	}
	if _, err := os.Stat(before); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old generation is still there: %v", err)
	}
	if n, want := count(t, x, search.Query{}), len(items); n != want {
		t.Errorf("%d documents, want %d", n, want)
	}
	if at, err := x.Position(t.Context()); err != nil || len(at) != 1 || at[0].Offset != int64(len(events)) {
		t.Errorf("position %v (%v), want %d", at, err, len(events))
	}
}

func TestRebuildThatFailsChangesNothing(t *testing.T) {
	events := set(t).Events()[:100]
	dir := t.TempDir()
	x := open(t, dir, Config{})
	if err := x.Apply(t.Context(), events, search.Position{Offset: 100}); err != nil {
		t.Fatal(err)
	}
	want, before := count(t, x, search.Query{}), x.gen.path
	calls, broken := 0, errors.New("log is gone")
	err := x.Rebuild(t.Context(), func(context.Context) ([]intake.Event, []search.Position, error) {
		if calls++; calls > 2 {
			return nil, nil, broken
		}
		return events[:10], []search.Position{{Offset: 10}}, nil
	})
	if !errors.Is(err, broken) || x.gen.path != before || count(t, x, search.Query{}) != want {
		t.Errorf("%v, generation %s, want %v and nothing changed", err, x.gen.path, broken)
	}
	if entries, _ := filepath.Glob(filepath.Join(dir, genPrefix+"*")); len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}
}

func TestAnotherRegionMakesItStaleUntilRebuilt(t *testing.T) {
	dir := t.TempDir()
	c := intake.Event{Source: "t", Subject: "contact/1", Sequence: intake.NewSequence(1, 1), Time: time.Unix(1e9, 0), PartitionKey: "k",
		Data: &intake.OfferedV1{Channel: intake.App, Line: "1"}, Personal: intake.PersonalJSON{Text: "黄家弄的事"}.Conceal()}
	x := open(t, dir, Config{})
	if err := x.Apply(t.Context(), []intake.Event{c}, search.Position{Offset: 1}); err != nil {
		t.Fatal(err)
	}
	if x.Stale() {
		t.Error("stale from the beginning")
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	wu, err := search.NewAnalyzer(search.AnalyzerConfig{Region: "wu"})
	if err != nil {
		t.Fatal(err)
	}
	x = open(t, dir, Config{Analyzer: wu})
	if !x.Stale() {
		t.Error("not stale although sounds are folded otherwise")
	}
	if n := count(t, x, search.Query{Text: "王家弄"}); n != 1 { // 家弄 is found anyway
		t.Fatalf("%d hits", n)
	}
	if err := x.Rebuild(t.Context(), stream([]intake.Event{c}, 1)); err != nil {
		t.Fatal(err)
	}
	if x.Stale() {
		t.Error("still stale after the rebuild")
	}
	r, err := x.Search(t.Context(), search.Query{Text: "王家"})
	if err != nil || r.Total != 1 || !slices.Contains(r.Hits[0].Why, search.WhySound) {
		t.Errorf("黄 is not found as 王 by Wu ears: %+v, %v", r, err)
	}
}

// What was erased must leave the files too, once Compact has run.
func TestCompactLeavesNothingOfTheErased(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir, Config{})
	tell := func(id string, n uint32, d intake.Data, p intake.PersonalJSON) {
		t.Helper()
		e := intake.Event{Source: "t", Subject: intake.Subject("contact/" + id), Sequence: intake.NewSequence(1, n), Time: time.Unix(1e9, 0), PartitionKey: "k", Data: d, Personal: p.Conceal()}
		if err := x.Apply(t.Context(), []intake.Event{e}); err != nil {
			t.Fatal(err)
		}
	}
	const secret = "13800998877"
	for i := range 30 {
		tell(fmt.Sprint("other", i), 1, &intake.OfferedV1{Channel: intake.App, Line: "1"}, intake.PersonalJSON{Text: "路灯不亮"})
	}
	tell("gone", 1, &intake.OfferedV1{Channel: intake.App, Line: "1"}, intake.PersonalJSON{Number: secret})
	if err := x.gen.flush(); err != nil {
		t.Fatal(err)
	}
	tell("gone", 2, &intake.ErasedV1{}, intake.PersonalJSON{})
	if err := x.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	x = open(t, dir, Config{}) // opening removes files that no snapshot names
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if b, _ := os.ReadFile(path); bytes.Contains(b, []byte(secret)) {
			t.Errorf("%s still holds the number", filepath.Base(path))
		}
		return nil
	})
	if n := count(t, x, search.Query{}); n != 31 {
		t.Errorf("%d documents, want 31", n)
	}
}

func TestApplyIsSafeBesideSearch(t *testing.T) {
	events := set(t).Events()[:600]
	x := open(t, t.TempDir(), Config{})
	var all sync.WaitGroup
	all.Go(func() {
		for at := 0; at < len(events); at += 20 {
			if err := x.Apply(context.Background(), events[at:at+20]); err != nil {
				t.Error(err)
			}
		}
	})
	yes := true
	for range 2 {
		all.Go(func() {
			for range 100 {
				if _, err := x.Search(context.Background(), search.Query{Text: "电梯", HasCallback: &yes}); err != nil {
					t.Error(err)
				}
				if _, err := x.Position(context.Background()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// An index that another has open is not damaged: it is left as it is.
func TestHeldIndexIsLeftAlone(t *testing.T) {
	dir := t.TempDir()
	x := open(t, dir, Config{})
	if err := x.Apply(t.Context(), set(t).Events()[:200], search.Position{Offset: 200}); err != nil {
		t.Fatal(err)
	}
	if y, err := Open(dir, Config{}); !errors.Is(err, ErrHeld) {
		t.Fatalf("a second program opens the index: %v, %v", y, err)
	}
	if _, err := os.Stat(filepath.Join(dir, damaged)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it was moved aside: %v", err)
	}
	at, err := x.Position(t.Context())
	if err != nil || len(at) != 1 || at[0].Offset != 200 {
		t.Errorf("the first program's index is at %v, %v", at, err)
	}
	if err := x.Close(); err != nil {
		t.Fatal(err)
	}
	if at, err := open(t, dir, Config{}).Position(t.Context()); err != nil || len(at) != 1 || at[0].Offset != 200 {
		t.Errorf("opened again it is at %v, %v", at, err)
	}
}
