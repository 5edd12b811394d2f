package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// others is what the rest of the machine used: who measures beside somebody else's work should see it.
const others = "others"

// cpu gives the seconds of a core that the program, its servers (in the folder of deploy/services, with their children) and this process have used since they began, and all
// others on the machine.
func cpu(yingda int) map[string]float64 {
	const ticks = 100 // a second: USER_HZ of Linux
	who := map[int]string{yingda: "yingda", os.Getpid(): "phones"}
	for file, name := range map[string]string{"kafka": "Kafka", "elasticsearch": "Elasticsearch", "postgres": "PostgreSQL"} {
		raw, _ := os.ReadFile(filepath.Join(os.Getenv("YINGDA_SERVICES_DIR"), file+".pid"))
		if pid, err := strconv.Atoi(strings.TrimSpace(string(raw))); err == nil {
			who[pid] = name
		}
	}
	used := map[string]float64{}
	add := func(name string, fields ...string) {
		for _, f := range fields {
			n, _ := strconv.ParseFloat(f, 64)
			used[name] += n / ticks
		}
	}
	if raw, err := os.ReadFile("/proc/stat"); err == nil { // cpu user nice system idle iowait irq softirq steal, proc_stat(5)
		first, _, _ := strings.Cut(string(raw), "\n")
		if f := strings.Fields(first); len(f) > 8 {
			add(others, f[1], f[2], f[3], f[6], f[7])
		}
	}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		f := strings.Fields(rest) // state, parent, … utime, stime, children's utime, stime: proc_pid_stat(5)
		if len(f) < 15 {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		parent, _ := strconv.Atoi(f[1])
		name := who[pid]
		if name == "" && who[parent] == "PostgreSQL" { // a process for each connection
			name = "PostgreSQL"
		}
		switch name {
		case "":
		case "PostgreSQL":
			if who[pid] != "" {
				add(name, f[11], f[12], f[13], f[14]) // connections that are no more
			} else {
				add(name, f[11], f[12])
			}
		default:
			add(name, f[11], f[12])
		}
	}
	for name, s := range used {
		if name != others {
			used[others] -= s
		}
	}
	return used
}
