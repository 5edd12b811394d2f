// Command media measures the media plane on one core of this machine: bridged calls, bridged and recorded calls, prompts and their pacing,
// each beside a control of the same minute that does the least that could be done.
//
//	go run ./bench/media                       # all of it, about a minute
//	go run ./bench/media -mode bridge -calls 400 -for 10s
//
// It starts itself again as the server (pinned to core 0) and generates load from core 1, by one thread that sends and one that receives; packets are
// stamped by the kernel as they arrive. Printed for each run: packets expected and received, CPU of the server, latency added, pacing, steal of the
// host. Controls: "floor" forwards the same packets with the fewest system calls, "pacer" sends the same streams from one sleeping thread.
//
// What it does not do: it asserts nothing (figures of a shared machine wander), opens no port but on loopback, and leaves no file behind.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// job is what the parent tells the server by its arguments.
type job struct {
	mode     string // bridge, record, play, floor, pacer
	calls    int
	a, b     int // the generator's ports
	duration time.Duration
	warm     time.Duration
	tick     time.Duration
}

// served is what the server says of itself: first the ports, at the end the CPU.
type served struct {
	Ports   [][2]int // per call: caller's leg, operator's leg
	CPU     float64  // seconds in the window
	Window  float64  // seconds
	RSS     int64    // KiB
	Dropped uint64   // packets not recorded
	Late99  float64  // ms, of the wheel
	Allocs  uint64   // in the window
	Threads int
}

func main() {
	var j job
	server := flag.Bool("server", false, "be the server (started by the parent)")
	flag.StringVar(&j.mode, "mode", "", "bridge, record, play, floor or pacer; empty: a round of each")
	flag.IntVar(&j.calls, "calls", 400, "calls (play, pacer: streams)")
	flag.DurationVar(&j.duration, "for", 6*time.Second, "how long to measure")
	flag.DurationVar(&j.warm, "warm", 1500*time.Millisecond, "how long to warm up")
	flag.DurationVar(&j.tick, "tick", time.Millisecond, "how often a busy thread wakes")
	flag.IntVar(&j.a, "a", 0, "generator's port (set by the parent)")
	flag.IntVar(&j.b, "b", 0, "generator's other port (set by the parent)")
	flag.Parse()
	if *server {
		must(serve(j))
		return
	}
	fmt.Printf("%d cores, %s, tick %v\n", runtime.NumCPU(), runtime.Version(), j.tick)
	if j.mode != "" {
		must(run(j))
		return
	}
	for _, r := range []struct {
		mode  string
		calls int
	}{{"floor", 400}, {"bridge", 200}, {"bridge", 400}, {"bridge", 600}, {"record", 200}, {"record", 300}, {"record", 400},
		{"pacer", 200}, {"play", 200}, {"play", 1150}} {
		j.mode, j.calls = r.mode, r.calls
		must(run(j))
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench/media:", err)
		os.Exit(1)
	}
}

// pin keeps the calling process, with all threads it will start, to one core.
func pin(core int) {
	if runtime.NumCPU() < 2 {
		return
	}
	var set unix.CPUSet
	set.Set(core)
	entries, err := os.ReadDir("/proc/self/task")
	must(err)
	for _, e := range entries {
		tid := 0
		fmt.Sscan(e.Name(), &tid)
		_ = unix.SchedSetaffinity(tid, &set)
	}
}

// run measures one job.
func run(j job) error {
	pin(1)
	g, err := newGenerator()
	if err != nil {
		return err
	}
	defer g.close()
	cmd := exec.Command(os.Args[0], "-server", "-mode", j.mode, "-calls", fmt.Sprint(j.calls), "-a", fmt.Sprint(g.ports[0]),
		"-b", fmt.Sprint(g.ports[1]), "-for", j.duration.String(), "-warm", j.warm.String(), "-tick", j.tick.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer cmd.Process.Kill()
	lines := bufio.NewReader(out)
	var s served
	if err := read(lines, &s); err != nil {
		return err
	}
	sends := j.mode == "bridge" || j.mode == "record" || j.mode == "floor"
	g.start(s.Ports, sends)
	time.Sleep(j.warm)
	steal := stolen()
	g.measure(true)
	fmt.Fprintln(in, "begin")
	time.Sleep(j.duration)
	fmt.Fprintln(in, "end")
	sent := g.measure(false)
	if err := read(lines, &s); err != nil {
		return err
	}
	steal = stolen() - steal
	r := g.stop()
	in.Close()
	_ = cmd.Wait()

	expected := sent
	if !sends {
		expected = int64(float64(j.calls) * j.duration.Seconds() * 50)
	}
	unit := "a call"
	if !sends {
		unit = "a stream"
	}
	fmt.Printf("%-7s %5d: %7d of %7d packets (%.5f), lost by number %d; CPU %.1f %% of a core, %.4f %% %s, %.1f µs a packet out; ",
		j.mode, j.calls, r.received, expected, float64(r.received)/float64(expected), r.lost, 100*s.CPU/s.Window, 100*s.CPU/s.Window/float64(j.calls), unit, 1e6*s.CPU/float64(max(r.received, 1)))
	if sends {
		fmt.Printf("added latency p50 %.2f p99 %.2f max %.1f ms; ", r.latency.at(0.5), r.latency.at(0.99), r.latency.at(1))
	} else {
		fmt.Printf("pacing error p50 %.3f p99 %.3f max %.1f ms; ", r.pacing.at(0.5), r.pacing.at(0.99), r.pacing.at(1))
	}
	fmt.Printf("generator late p99 %.2f ms; RSS %d MiB; %d allocations", g.late.at(0.99), s.RSS/1024, s.Allocs)
	if j.mode == "record" {
		fmt.Printf("; not recorded %d", s.Dropped)
	}
	fmt.Printf("; wheel late p99 %.2f ms; steal %.1f %%\n", s.Late99, 100*steal/j.duration.Seconds())
	return nil
}

func read(r *bufio.Reader, into *served) error {
	line, err := r.ReadString('\n')
	if err != nil {
		return fmt.Errorf("the server said %q: %w", line, err)
	}
	return json.Unmarshal([]byte(line), into)
}

// stolen is the time the host has taken from core 0, in seconds since it started.
func stolen() float64 {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 8 && f[0] == "cpu0" {
			var ticks float64
			fmt.Sscan(f[8], &ticks)
			return ticks / 100
		}
	}
	return 0
}
