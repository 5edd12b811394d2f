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
)

func main() {
	rounds := flag.Int("rounds", 5, "rounds of each")
	events := flag.Int("events", 200_000, "events a round")
	profile := flag.String("cpuprofile", "", "file for a profile of this process")
	flag.Parse()
	debug.SetGCPercent(200) // as the program has it
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
		if err := run(context.Background(), w, *rounds, *events, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "pipeline:", err)
			os.Exit(1)
		}
	}
}

func run(ctx context.Context, what string, rounds, events int, out io.Writer) error {
	switch what {
	case "outbox":
		return median(out, "outbox → Kafka", rounds, func(dir string) (float64, error) {
			broker := os.Getenv("YINGDA_TEST_KAFKA")
			if broker == "" {
				return 0, fmt.Errorf("YINGDA_TEST_KAFKA is not set: run this by deploy/services/with")
			}
			return outboxToKafka(ctx, dir, broker, events)
		})
	}
	broker, server := os.Getenv("YINGDA_TEST_KAFKA"), os.Getenv("YINGDA_TEST_ELASTICSEARCH")
	if broker == "" || server == "" {
		return fmt.Errorf("YINGDA_TEST_KAFKA or YINGDA_TEST_ELASTICSEARCH is not set: run this by deploy/services/with")
	}
	if what == "index" {
		return kafkaToIndex(ctx, broker, server, max(events*9/20, 1), rounds, out) // nine contacts and cases make twenty events
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
