package sqllog

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"yingda/intake/stream/streamtest"
)

const (
	childVariable = "YINGDA_TEST_APPEND_TO"
	childRound    = "YINGDA_TEST_ROUND"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		appendForEver(path, os.Getenv(childRound))
	}
	os.Exit(m.Run())
}

// appendForEver is the child: eight appenders that say which events the log has taken, until somebody kills it.
func appendForEver(path, round string) {
	l, err := Open(context.Background(), path, small(Config{}))
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var out sync.Mutex
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for n := 1; ; n++ {
				e := streamtest.Event(fmt.Sprintf("%s-%d", round, w), n)
				if err := l.Append(context.Background(), e); err != nil {
					fmt.Println("error", err)
					os.Exit(1)
				}
				out.Lock()
				fmt.Println("acked", e.ID())
				out.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestKill kills a program that appends with SIGKILL, five times over one log. What it said was taken is there, and of each
// subject there is no hole before it.
func TestKill(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log.db")
	acked := map[string]bool{}
	for round := range 5 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childVariable+"="+path, fmt.Sprintf("%s=%d", childRound, round))
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		must(t, err)
		must(t, child.Start())
		lines := bufio.NewScanner(out)
		before := len(acked)
		for lines.Scan() {
			id, ok := strings.CutPrefix(lines.Text(), "acked ")
			if !ok {
				t.Errorf("the child says %q", lines.Text())
				break
			}
			acked[id] = true
			if len(acked) == before+300+100*round {
				must(t, child.Process.Kill()) // and goes on reading what it had still said
			}
		}
		_ = child.Process.Kill()
		if err := child.Wait(); err == nil || child.ProcessState.ExitCode() != -1 {
			t.Fatalf("the child was not killed: %v", err)
		}
	}
	have := map[string]bool{}
	l := openLog(t, path, Config{})
	for _, id := range ids(t, l) {
		if have[id] {
			t.Errorf("%s is there twice", id)
		}
		have[id] = true
	}
	missing := 0
	for id := range acked {
		if !have[id] {
			missing++
		}
	}
	if missing > 0 || len(acked) < 5*300 {
		t.Errorf("%d of %d acknowledged events are missing", missing, len(acked))
	}
	t.Logf("%d acknowledged, %d found", len(acked), len(have))
	for round := range 5 {
		for w := range 8 {
			list, err := l.Subject(t.Context(), streamtest.Event(fmt.Sprintf("%d-%d", round, w), 1).Subject)
			must(t, err)
			for i, r := range list {
				if r.Event.Sequence.Count() != uint32(i+1) {
					t.Fatalf("%s has a hole before %s", r.Event.Subject, r.Event.ID())
				}
			}
		}
	}
	var check string
	must(t, l.read.QueryRow("PRAGMA integrity_check").Scan(&check))
	if check != "ok" {
		t.Errorf("the file is damaged: %s", check)
	}
}
