//go:build services

package test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib"
)

// office is one whose tables, stream and index are on the real servers, each with names of its own there.
type office struct {
	t        *testing.T
	name     string
	postgres string
	nodes    []*served
}

func variable(t *testing.T, name string) string {
	t.Helper()
	v := os.Getenv(name)
	if v == "" {
		t.Fatalf("%s is not set: run the tests with make test-services", name)
	}
	return v
}

func newOffice(t *testing.T) *office {
	t.Helper()
	o := &office{t: t, name: "t" + strings.ReplaceAll(uuid.NewString(), "-", "")[:12]}
	u, err := url.Parse(variable(t, "YINGDA_TEST_POSTGRES"))
	if err != nil {
		t.Fatal(err)
	}
	admin, err := sql.Open("pgx", u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		o.forgetIndices(ctx)
		if _, err := admin.ExecContext(ctx, "DROP DATABASE IF EXISTS "+o.name+" WITH (FORCE)"); err != nil {
			t.Log(err)
		}
		_ = admin.Close()
	})
	if _, err := admin.ExecContext(t.Context(), "CREATE DATABASE "+o.name); err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + o.name
	o.postgres = u.String()
	return o
}

// forgetIndices removes what the office has left in Elasticsearch: an index that stays red would keep everybody waiting after the next start.
func (o *office) forgetIndices(ctx context.Context) {
	var all map[string]any
	_ = json.Unmarshal([]byte(o.elastic("/"+o.name+".g*/_alias")), &all)
	for name := range all {
		req, err := http.NewRequestWithContext(ctx, http.MethodDelete, variable(o.t, "YINGDA_TEST_ELASTICSEARCH")+"/"+name, nil)
		if err != nil {
			o.t.Log(err)
			continue
		}
		if res, err := http.DefaultClient.Do(req); err == nil {
			_ = res.Body.Close()
		}
	}
}

// elastic asks Elasticsearch itself; "" while it does not answer.
func (o *office) elastic(path string) string {
	res, err := http.Get(variable(o.t, "YINGDA_TEST_ELASTICSEARCH") + path)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	return string(b)
}

// services runs deploy/services with the given words, such as "kill kafka".
func services(t *testing.T, words ...string) {
	t.Helper()
	if out, err := exec.Command(variable(t, "YINGDA_SERVICES"), words...).CombinedOutput(); err != nil {
		t.Fatalf("services %v: %v\n%s", words, err, out)
	}
}

// env of a node.
func (o *office) env() []string {
	return []string{"YINGDA_TABLES_ADDRESS=" + o.postgres, "YINGDA_STREAM_KAFKA_BROKERS=" + variable(o.t, "YINGDA_TEST_KAFKA"),
		"YINGDA_STREAM_KAFKA_TOPIC=" + o.name + ".intake", "YINGDA_STREAM_KAFKA_DEAD_LETTERS=" + o.name + ".dlq", "YINGDA_STREAM_KAFKA_GROUP_PREFIX=" + o.name + ".",
		"YINGDA_SEARCH_ELASTIC_ADDRESSES=" + variable(o.t, "YINGDA_TEST_ELASTICSEARCH"), "YINGDA_SEARCH_ELASTIC_INDEX=" + o.name}
}

// node is a machine of the office at an address of its own, alone when there are no others.
func (o *office) node(name, ip string, peers ...string) *served {
	o.t.Helper()
	s := newServed(o.t, o.t.TempDir())
	s.sip, s.http = ip+":"+freePortAt(o.t, ip), ip+":"+freePortAt(o.t, ip)
	s.env = append(o.env(), "YINGDA_OFFICE_NODE="+name)
	if len(peers) > 0 {
		s.env = append(s.env, "YINGDA_CLUSTER_PAGES=http://"+s.http, "YINGDA_CLUSTER_SIP="+s.sip, "YINGDA_CLUSTER_PEERS="+strings.Join(peers, ","))
	}
	o.nodes = append(o.nodes, s)
	return s
}

// says waits until a node has said something in its log.
func (s *served) says(what string, within time.Duration) {
	s.t.Helper()
	waitFor(s.t, fmt.Sprintf("%q", what), within, func() bool { return strings.Contains(s.logs.String(), what) })
}

// stop asks it to end, and waits until it has.
func (s *served) stop() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("the end: %v", err)
	}
}
