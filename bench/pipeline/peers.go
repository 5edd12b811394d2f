package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"yingda/search"
	"yingda/search/elastic"
)

// peerFiles are the peers' configurations and the source of one. They read what changes from the environment.
const peerFiles = "bench/pipeline/peers/"

// peer is a stream processor of others.
type peer struct {
	name    string
	command func(ctx context.Context, job, dir string) *exec.Cmd // dir: for what it writes
}

// peerJob is what a peer is given.
type peerJob struct {
	name, broker, topic string
	messages, found     int    // how many it reads, and how many documents can be found afterwards
	mapping             string // of the index; empty: ours
}

// findPeers builds Benthos into a folder and takes rsyslog where it is installed, with its packages rsyslog-kafka and rsyslog-elasticsearch.
func findPeers(ctx context.Context, dir string) ([]peer, error) {
	bin := filepath.Join(dir, "benthos")
	if b, err := exec.CommandContext(ctx, "go", "build", "-C", peerFiles+"benthos", "-o", bin, ".").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build Benthos: %w\n%s", err, b)
	}
	list := []peer{{"benthos", func(ctx context.Context, job, _ string) *exec.Cmd {
		return exec.CommandContext(ctx, bin, "-c", peerFiles+"benthos/"+job+".yaml")
	}}}
	if _, err := exec.LookPath("rsyslogd"); err != nil {
		fmt.Fprintln(os.Stderr, "pipeline: rsyslog is left out; to have it too: sudo apt-get install rsyslog rsyslog-kafka rsyslog-elasticsearch")
		return list, nil
	}
	return append(list, peer{"rsyslog", func(ctx context.Context, job, dir string) *exec.Cmd {
		return exec.CommandContext(ctx, "rsyslogd", "-n", "-f", peerFiles+"rsyslog/"+job+".conf", "-i", filepath.Join(dir, "pid"))
	}}), nil
}

const eventsMapping = `{"settings":{"index":{"number_of_shards":1,"number_of_replicas":0,"refresh_interval":"1s"}},"mappings":{"dynamic":"strict","properties":{
  "subject":{"type":"keyword"},"type":{"type":"keyword"},"time":{"type":"date"},"channel":{"type":"keyword"},"line":{"type":"keyword"},"operator":{"type":"keyword"},"outcome":{"type":"keyword"},
  "number":{"type":"keyword"},"name":{"type":"text","analyzer":"cjk"},"address":{"type":"text","analyzer":"cjk"},"text":{"type":"text","analyzer":"cjk"}}}}`

// ours is beside for us.
func (r *indexRun) ours(ctx context.Context, index string) (took time.Duration, err error) {
	err = r.fresh(ctx, index, func(x *elastic.Index) error {
		type end struct {
			done func() error
			err  error
		}
		ended := make(chan end, 1)
		go func() {
			done, err := r.follow(ctx, x, index)
			ended <- end{done, err}
		}()
		var e end
		took, err = sinceFirst(ctx, r.server+"/"+index, func(int) (bool, error) {
			select {
			case e = <-ended:
				return true, e.err
			default:
				return false, nil
			}
		})
		if err != nil {
			return err
		}
		return errors.Join(r.complete(x.Count(ctx, search.Query{})), e.done())
	})
	return took, err
}

// beside gives how long it takes a peer from the first document that it has written until all can be found; how long it takes to begin does not count.
func (r *indexRun) beside(ctx context.Context, p peer, j peerJob, index string) (took time.Duration, err error) {
	if j.mapping == "" {
		err = r.fresh(ctx, index, func(*elastic.Index) error {
			took, err = r.run(ctx, p, j, index)
			return err
		})
		return took, err
	}
	at := r.server + "/" + index
	if _, err := send(ctx, http.MethodPut, at, "application/json", []byte(j.mapping)); err != nil {
		return 0, err
	}
	took, err = r.run(ctx, p, j, index)
	_, gone := send(ctx, http.MethodDelete, at, "", nil)
	return took, errors.Join(err, gone)
}

// run has a peer read a topic into an index that is there.
func (r *indexRun) run(ctx context.Context, p peer, j peerJob, index string) (took time.Duration, err error) {
	dir, err := os.MkdirTemp("", "yingda-peer")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	u, err := url.Parse(r.server)
	if err != nil {
		return 0, err
	}
	host, port, err := net.SplitHostPort(u.Host)
	if err != nil {
		return 0, err
	}
	running, stop := context.WithTimeout(ctx, 2*time.Minute)
	defer stop()
	said, err := os.Create(filepath.Join(dir, "said"))
	if err != nil {
		return 0, err
	}
	defer said.Close()
	cmd := p.command(running, j.name, dir)
	cmd.Env = append(os.Environ(), "BROKER="+j.broker, "TOPIC="+j.topic, "INDEX="+index, "SERVER="+r.server, "HOST="+host, "PORT="+port, "DIR="+dir, "ERRORS="+said.Name(), "GOGC=400")
	cmd.Stdout, cmd.Stderr = said, said
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	defer func() { stop(); _ = cmd.Wait() }()
	at := r.server + "/" + index
	took, err = sinceFirst(ctx, at, func(n int) (bool, error) {
		if running.Err() != nil {
			what, _ := os.ReadFile(said.Name())
			return false, fmt.Errorf("%s has written %d of %d documents in two minutes: %.2000s", p.name, n, j.messages, what)
		}
		return n >= j.messages, nil
	})
	if err == nil {
		err = all(ctx, at, j.found)
	}
	return took, err
}

// sinceFirst asks an index again and again how much it has taken, and gives the time from the first of it until it was all and could be found.
func sinceFirst(ctx context.Context, at string, all func(written int) (bool, error)) (time.Duration, error) {
	var begun time.Time
	already := 0
	for {
		n, err := written(ctx, at)
		if err != nil {
			return 0, err
		}
		if n > 0 && begun.IsZero() {
			begun, already = time.Now(), n
		}
		end, err := all(n)
		if err != nil {
			return 0, err
		}
		if end {
			break
		}
		time.Sleep(50 * time.Millisecond) // asking takes the server some time too
	}
	if _, err := post(ctx, at+"/_refresh", "application/json", nil); err != nil {
		return 0, err
	}
	took := time.Since(begun)
	n, err := written(ctx, at)
	if err == nil && n <= already {
		err = errors.New("everything was written at once: too little to measure")
	}
	if err != nil {
		return 0, err
	}
	return took * time.Duration(n) / time.Duration(n-already), nil
}

// all says what is wrong when not everything can be found.
func all(ctx context.Context, at string, want int) error {
	answer, err := send(ctx, http.MethodGet, at+"/_count", "", nil)
	var found struct{ Count int }
	if err == nil {
		err = json.Unmarshal(answer, &found)
	}
	if err == nil && found.Count != want {
		err = fmt.Errorf("%d documents are found, want %d", found.Count, want)
	}
	return err
}

// written is how many documents an index has taken, found already or not.
func written(ctx context.Context, index string) (int, error) {
	answer, err := send(ctx, http.MethodGet, index+"/_stats/indexing?filter_path=_all.primaries.indexing.index_total", "", nil)
	if err != nil {
		return 0, err
	}
	var s struct {
		All struct {
			Primaries struct {
				Indexing struct {
					Total int `json:"index_total"`
				}
			}
		} `json:"_all"`
	}
	err = json.Unmarshal(answer, &s)
	return s.All.Primaries.Indexing.Total, err
}
