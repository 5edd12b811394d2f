//go:build services

package test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFaultRed: the disk under Elasticsearch loses the index's shard, so that it stays red for good. Calls go on, the wall and doctor say what is lost, and the program builds
// the index again from the stream; a second time, with that turned off, a person does by the command that doctor names. Afterwards every contact has its document.
func TestFaultRed(t *testing.T) {
	o := newOffice(t)
	s := o.node("n1", "127.0.0.1")
	s.env = append(s.env, "YINGDA_SEARCH_MEND=15s")
	s.start()
	base := "http://" + s.http
	o.phone("phone", s, time.Minute)
	super := o.supervisor(base)
	phones := s.callers(10, time.Second)
	waitFor(t, "people to phone", 30*time.Second, func() bool { return len(heard(phones)) > 50 })
	wall := func(lost bool) func() bool {
		return func() bool {
			p := page(super, base+"/wall")
			return strings.Contains(p, "w-body") && strings.Contains(p, "查找的索引坏了") == lost && (lost || !strings.Contains(p, "查找跟不上"))
		}
	}

	began := time.Now()
	first := o.generation()
	up := o.loseShard()
	waitFor(t, "the index to be red", 90*time.Second, func() bool { return o.health() == "red" })
	red := time.Now()
	waitFor(t, "the wall to say that a part of the index is lost", 60*time.Second, wall(true))
	if page(super, base+"/search?q=1") == "" {
		t.Error("the page for searching gives nothing while the index is red")
	}
	if out, _ := s.command("doctor"); !strings.Contains(out, "has lost a shard") || !strings.Contains(out, "search reindex --from-stream") {
		t.Errorf("doctor does not say what to do:\n%s", out)
	}
	if o.health() != "red" || o.generation() != first {
		t.Error("it mended itself, so nothing was tried")
	}
	waitFor(t, "the index to be built again", 90*time.Second, func() bool { return o.generation() != first && o.health() != "red" })
	t.Logf("red after %s, built again %s later", red.Sub(began).Round(time.Second), time.Since(red).Round(time.Second))
	waitFor(t, "search to keep up again", 60*time.Second, wall(false))
	if err := up.Wait(); err != nil {
		t.Errorf("services up: %v", err)
	}

	over := time.Now()

	// Once more, and nobody builds it again but a person. The program begins with an index that is red.
	s.stop()
	second := o.generation()
	up = o.loseShard()
	waitFor(t, "the index to be red", 90*time.Second, func() bool { return o.health() == "red" })
	s.env = append(s.env, "YINGDA_SEARCH_MEND=0s")
	s.start()
	waitFor(t, "the wall to say that a part of the index is lost", 60*time.Second, wall(true))
	before := len(heard(phones))
	waitFor(t, "calls to go on", 30*time.Second, func() bool { return len(heard(phones)) > before+50 })
	if o.generation() != second {
		t.Error("it was built again, though it was told not to be")
	}
	if out, err := s.command("search", "reindex"); err == nil || !strings.Contains(out+err.Error(), "--from-stream") {
		t.Errorf("what is lost was copied: %v\n%s", err, out)
	}
	if out, err := s.command("search", "reindex", "--from-stream"); err != nil {
		t.Errorf("search reindex --from-stream: %v\n%s", err, out)
	}
	if o.generation() == second {
		t.Error("the lost index is still in use")
	}
	waitFor(t, "search to keep up again", 60*time.Second, wall(false))
	if err := up.Wait(); err != nil {
		t.Errorf("services up: %v", err)
	}
	phones.stop()
	n, deaf, slowest := phones.between(began, over.Add(-2*time.Second))
	t.Logf("of the calls around the first loss %d heard of us, the slowest after %s, %d did not", n, slowest.Round(time.Millisecond), deaf)
	if deaf > 0 || n < 200 {
		t.Error("calls did not go on")
	}
	o.agree(s, heard(phones), nil)
}

// loseShard kills Elasticsearch, takes away what the shard of the index is on, and starts it again; whoever waits for what it returns waits until nothing is red.
func (o *office) loseShard() *exec.Cmd {
	o.t.Helper()
	var settings map[string]struct {
		Settings struct{ Index struct{ UUID string } }
	}
	if err := json.Unmarshal([]byte(o.elastic("/"+o.name+"/_settings")), &settings); err != nil || len(settings) != 1 {
		o.t.Fatalf("settings of the index: %v %v", settings, err)
	}
	services(o.t, "kill", "elasticsearch")
	for _, i := range settings {
		files, err := filepath.Glob(filepath.Join(variable(o.t, "YINGDA_SERVICES_DIR"), "elasticsearch", "data", "indices", i.Settings.Index.UUID, "0", "index", "segments_*"))
		if err != nil || len(files) == 0 {
			o.t.Fatalf("the shard has no files: %v", err)
		}
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				o.t.Fatal(err)
			}
		}
	}
	up := exec.Command(variable(o.t, "YINGDA_SERVICES"), "up", "elasticsearch")
	if err := up.Start(); err != nil {
		o.t.Fatal(err)
	}
	return up
}

// health of the index: red, yellow, green.
func (o *office) health() string {
	var h struct{ Status string }
	_ = json.Unmarshal([]byte(o.elastic("/_cluster/health/"+o.name+"?timeout=1s")), &h)
	return h.Status
}

// generation that the alias stands for.
func (o *office) generation() string {
	var all map[string]any
	_ = json.Unmarshal([]byte(o.elastic("/_alias/"+o.name)), &all)
	for name := range all {
		return name
	}
	return ""
}
