package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// server is yingda as a process of its own.
type server struct {
	bin, data, http, sip, token string
	desks                       []deskPhone
	cmd                         *exec.Cmd
}

type deskPhone struct{ user, secret string }

func (s *server) start(ctx context.Context) (time.Duration, error) {
	s.cmd = exec.CommandContext(ctx, s.bin, "serve", "--data", s.data, "--sip", s.sip, "--http", s.http, "--log-level", "warn")
	s.cmd.Env = append(os.Environ(), "YINGDA_QUEUE_WRAP_UP=0s")
	s.cmd.Stderr = os.Stderr
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return 0, err
	}
	for time.Since(began) < 60*time.Second {
		if r, err := http.Get("http://" + s.http + "/readyz"); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return time.Since(began), nil
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return 0, errors.New("the program is not ready after a minute")
}

func (s *server) stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// resident set in MB, of what is not a shared file.
func (s *server) resident() float64 {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(raw)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kib, _ := strconv.ParseFloat(f[1], 64)
			return kib / 1024
		}
	}
	return 0
}

func freeTCP() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer l.Close()
	return l.Addr().String()
}

func freeUDP() string {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer p.Close()
	return p.LocalAddr().String()
}
