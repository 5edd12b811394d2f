package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// cpu gives the seconds of a core that each kind of process on this machine has used.
func cpu(yingda int) map[string]float64 {
	const ticks = 100 // a second: USER_HZ of Linux
	used := map[string]float64{}
	files, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, f := range files {
		raw, err := os.ReadFile(f)
		if err != nil {
			continue // it has ended
		}
		line, _ := os.ReadFile(filepath.Join(filepath.Dir(f), "cmdline"))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		who := ""
		switch c := string(line); {
		case pid == yingda:
			who = "yingda"
		case pid == os.Getpid():
			who = "phones"
		case strings.HasPrefix(c, "java") && strings.Contains(c, "elasticsearch"):
			who = "Elasticsearch"
		case strings.HasPrefix(c, "java") && strings.Contains(c, "kafka"):
			who = "Kafka"
		case strings.Contains(c, "postgres"):
			who = "PostgreSQL"
		default:
			continue
		}
		_, rest, _ := strings.Cut(string(raw), ") ")
		if f := strings.Fields(rest); len(f) > 12 { // utime and stime, proc_pid_stat(5)
			u, _ := strconv.ParseFloat(f[11], 64)
			k, _ := strconv.ParseFloat(f[12], 64)
			used[who] += (u + k) / ticks
		}
	}
	return used
}
