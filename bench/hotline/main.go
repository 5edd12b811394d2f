// Command hotline measures the whole program from outside, as a process of its own on a 30-day data set, and prints medians of several rounds:
//
//	go run ./bench/hotline              # about four minutes
//	go run ./bench/hotline -rounds 1 -calls 100
//
// Start: from exec to the first /readyz that says yes. Memory: resident set after it has been idle for ten seconds. Ringing: from a caller's INVITE
// leaving to the INVITE arriving at an operator's phone, at a steady rate of calls. Searchable: from the caller's BYE to a search page that has the contact
// with its outcome, under the same load. Wall: from the BYE to the part of the wallboard that counts it, as a browser would get it, with no other calls (else
// nobody could tell which call changed it).
//
// Callers and operators are plain SIP phones (package phonetest) in this process; their work is on the same cores.
//
// What it does not do: it asserts nothing, opens no port but on loopback, and leaves no file behind.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"yingda/bench/rig"
	"yingda/internal/app"
)

type job struct {
	rounds, calls, seats, probes int
	rate                         float64
}

func main() {
	var j job
	flag.IntVar(&j.rounds, "rounds", 5, "rounds of each")
	flag.IntVar(&j.calls, "calls", 300, "calls a round")
	flag.IntVar(&j.seats, "seats", 60, "operators' phones")
	flag.IntVar(&j.probes, "probes", 30, "calls a round whose way to the wall is measured")
	flag.Float64Var(&j.rate, "rate", 10, "calls a second")
	flag.Parse()
	if err := run(context.Background(), j, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "hotline:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, j job, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "yingda-bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin, err := rig.Build(ctx, dir)
	if err != nil {
		return err
	}
	s := &rig.Server{Bin: bin, Data: filepath.Join(dir, "data"), HTTP: rig.FreeTCP(), SIP: rig.FreeUDP()}
	c := app.Default()
	c.Data, c.SIP.UDP, c.SIP.TCP, c.HTTP.Listen = s.Data, s.SIP, "", s.HTTP
	seats, token, err := rig.Prepare(ctx, c, 30, j.seats)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%-34s %s\n", "what", "per round, then the median")
	first, err := s.Start(ctx) // reads the thirty days into books, index and case book
	if err != nil {
		return err
	}
	if err := s.Stop(); err != nil {
		return err
	}
	show(out, "first start, nothing read yet, ms", []float64{first.Seconds() * 1000})
	var starts, idle []float64
	for range j.rounds {
		took, err := s.Start(ctx)
		if err != nil {
			return err
		}
		time.Sleep(10 * time.Second)
		starts, idle = append(starts, took.Seconds()*1000), append(idle, s.Resident())
		if err := s.Stop(); err != nil {
			return err
		}
	}
	show(out, "start on 30 days, ms", starts)
	show(out, "idle memory, MB", idle)
	if _, err := s.Start(ctx); err != nil {
		return err
	}
	defer func() { _ = s.Stop() }()
	o, err := open(ctx, s, seats, token)
	if err != nil {
		return err
	}
	defer o.close()
	var ring99, ring50, search99, wall99 []float64
	for range j.rounds {
		r, err := o.load(ctx, j)
		if err != nil {
			return err
		}
		ring50, ring99, search99 = append(ring50, rig.At(r.ring, 0.5)), append(ring99, rig.At(r.ring, 0.99)), append(search99, rig.At(r.search, 0.99))
		fmt.Fprintf(out, "  %d calls, %d answered, %d looked for in search\n", r.calls, len(r.ring), len(r.search))
		wall, err := o.wall(ctx, j.probes)
		if err != nil {
			return err
		}
		wall99 = append(wall99, rig.At(wall, 0.99))
	}
	show(out, "INVITE to ringing p50, ms", ring50)
	show(out, "INVITE to ringing p99, ms", ring99)
	show(out, "BYE to searchable p99, ms", search99)
	show(out, "BYE to the wall p99, ms", wall99)
	show(out, "memory afterwards, MB", []float64{s.Resident()})
	return nil
}

func show(out io.Writer, what string, rounds []float64) {
	var b strings.Builder
	for _, r := range rounds {
		fmt.Fprintf(&b, "%8.1f", r)
	}
	fmt.Fprintf(out, "%-34s%s   median %.1f\n", what, b.String(), rig.At(rounds, 0.5))
}
