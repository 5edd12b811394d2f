// Command pipeline measures the ways of events on real servers, and prints the median of several rounds:
//
//	deploy/services/with -n kafka go run ./bench/pipeline outbox
//
// outbox: a node's outbox that is full of calls (five events each, the first with a sealed number), carried into a topic with 12 partitions by the relay that
// the program has; from the relay's start until the brokers have the last event. The topic is counted afterwards.
//
//	deploy/services/with -n "kafka elasticsearch" go run ./bench/pipeline -events 44000 index
//
// index: a topic with sealed events read and written into Elasticsearch as the search consumer does it until all can be found, beside plain _bulk of the same
// documents from memory, by turns.
//
//	deploy/services/with -n "kafka elasticsearch" go run ./bench/pipeline -events 80000 beside
//
// beside: the same beside stream processors of others, Benthos (built here) and rsyslog (where it is installed), which have two jobs, both less than ours: the same events
// in the clear, a small document for each, and our documents, ready, only to be passed on.
//
//	deploy/services/with go run ./bench/pipeline visible
//
// visible: the whole program on the three servers, fifty calls a second from outside; from a caller's BYE until a search of Elasticsearch has the contact with its outcome.
//
// What it does not do: it asserts nothing but that all events are there, and leaves no file behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"time"
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds of each")
	events := flag.Int("events", 200_000, "events a round")
	profile := flag.String("cpuprofile", "", "file for a profile of this process")
	rate := flag.Float64("rate", 50, "calls a second, for visible")
	warm := flag.Duration("warm", time.Minute, "how long they come before they count, for visible: servers that have just started compile what they do often")
	last := flag.Duration("last", time.Minute, "how long they count, for visible")
	seats := flag.Int("seats", 200, "operators' phones, for visible")
	flag.Parse()
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400) // as the program has it when there is Kafka
	}
	if *profile != "" {
		f, err := os.Create(*profile)
		if err == nil {
			err = pprof.StartCPUProfile(f)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "pipeline:", err)
			os.Exit(1)
		}
		defer pprof.StopCPUProfile()
	}
	what := flag.Args()
	if len(what) == 0 {
		what = []string{"outbox"}
	}
	for _, w := range what {
		if err := run(context.Background(), w, job{*rounds, *events, *seats, *rate, *warm, *last}, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "pipeline:", err)
			os.Exit(1)
		}
	}
}

// job is what the flags say.
type job struct {
	rounds, events, seats int
	rate                  float64
	warm, last            time.Duration
}

// servers are where deploy/services/with says.
type servers struct{ kafka, elastic, postgres string }

func (v *servers) find(names ...string) error {
	for _, name := range names {
		to := map[string]*string{"YINGDA_TEST_KAFKA": &v.kafka, "YINGDA_TEST_ELASTICSEARCH": &v.elastic, "YINGDA_TEST_POSTGRES": &v.postgres}[name]
		if *to = os.Getenv(name); *to == "" {
			return fmt.Errorf("%s is not set: run this by deploy/services/with", name)
		}
	}
	return nil
}

func run(ctx context.Context, what string, j job, out io.Writer) error {
	var v servers
	switch what {
	case "outbox":
		if err := v.find("YINGDA_TEST_KAFKA"); err != nil {
			return err
		}
		return median(out, "outbox → Kafka", j.rounds, func(dir string) (float64, error) { return outboxToKafka(ctx, dir, v.kafka, j.events) })
	case "index":
		if err := v.find("YINGDA_TEST_KAFKA", "YINGDA_TEST_ELASTICSEARCH"); err != nil {
			return err
		}
		return kafkaToIndex(ctx, v.kafka, v.elastic, max(j.events*9/20, 1), j.rounds, out) // nine contacts and cases make twenty events
	case "beside":
		if err := v.find("YINGDA_TEST_KAFKA", "YINGDA_TEST_ELASTICSEARCH"); err != nil {
			return err
		}
		return besides(ctx, v.kafka, v.elastic, max(j.events*9/20, 1), j.rounds, out)
	case "visible":
		if err := v.find("YINGDA_TEST_KAFKA", "YINGDA_TEST_ELASTICSEARCH", "YINGDA_TEST_POSTGRES"); err != nil {
			return err
		}
		return visible(ctx, v, j.rate, j.warm, j.last, j.seats, out)
	}
	return fmt.Errorf("there is no measurement named %q", what)
}

func median(out io.Writer, name string, rounds int, once func(dir string) (float64, error)) error {
	var list []float64
	for range rounds {
		dir, err := os.MkdirTemp("", "yingda-pipeline")
		if err != nil {
			return err
		}
		v, err := once(dir)
		if rm := os.RemoveAll(dir); err == nil {
			err = rm
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %.0f events/s\n", name, v)
		list = append(list, v)
	}
	slices.Sort(list)
	fmt.Fprintf(out, "%s: median %.0f events/s of %d rounds (%.0f to %.0f)\n", name, list[len(list)/2], len(list), list[0], list[len(list)-1])
	return nil
}
