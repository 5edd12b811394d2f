// Package rig is what the measurements of the whole program share: the program as a process of its own, operators with phones, quantiles.
//
//	bin, err := rig.Build(ctx, dir)
//	s := &rig.Server{Bin: bin, Data: data, HTTP: rig.FreeTCP(), SIP: rig.FreeUDP()}
//	seats, token, err := rig.Prepare(ctx, config, 30, 60)
//	took, err := s.Start(ctx); … ; err = s.Stop()
//
// It binds to loopback only. What it does not do: it measures nothing itself.
package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"yingda/internal/app"
	"yingda/internal/demo"
)

// Build compiles the program into a folder and says where it is.
func Build(ctx context.Context, dir string) (string, error) {
	bin := filepath.Join(dir, "yingda")
	if b, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "./cmd/yingda").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, b)
	}
	return bin, nil
}

// Seat is an operator's phone.
type Seat struct{ User, Secret string }

// Prepare makes the demo's office with so many days of its history, operators with phones, and a token for an auditor.
func Prepare(ctx context.Context, c app.Config, days, seats int) (list []Seat, token string, err error) {
	log := slog.New(slog.DiscardHandler)
	if err := demo.Prepare(ctx, c, days, log, io.Discard); err != nil {
		return nil, "", err
	}
	store, err := app.OpenStore(ctx, c, app.StoreOptions{Logger: log})
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if token, err = store.MakeToken(ctx, "bench", "auditor", 24*time.Hour); err != nil {
		return nil, "", err
	}
	for i := range seats {
		login := fmt.Sprintf("seat%02d", i)
		if _, err := store.CreateUser(ctx, login, login, "operator", nil); err != nil {
			return nil, "", err
		}
		both, err := store.NewPhone(ctx, login)
		if err != nil {
			return nil, "", err
		}
		user, secret, _ := strings.Cut(both, " ")
		list = append(list, Seat{user, secret})
	}
	return list, token, nil
}

// Server is yingda as a process of its own.
type Server struct {
	Bin, Data, HTTP, SIP string
	Config               string   // a file beside these; "": none
	Env                  []string // beside that of this process

	cmd *exec.Cmd
}

// Start gives how long it took until it was ready.
func (s *Server) Start(ctx context.Context) (time.Duration, error) {
	s.cmd = exec.CommandContext(ctx, s.Bin, "serve", "--data", s.Data, "--sip", s.SIP, "--http", s.HTTP, "--log-level", "warn", "--config", s.Config)
	s.cmd.Env = append(append(os.Environ(), "YINGDA_QUEUE_WRAP_UP=0s"), s.Env...)
	s.cmd.Stderr = os.Stderr
	began := time.Now()
	if err := s.cmd.Start(); err != nil {
		return 0, err
	}
	for time.Since(began) < 60*time.Second {
		if r, err := http.Get("http://" + s.HTTP + "/readyz"); err == nil {
			_ = r.Body.Close()
			if r.StatusCode == http.StatusOK {
				return time.Since(began), nil
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return 0, errors.New("the program is not ready after a minute")
}

// Stop ends it as an operator of the machine would.
func (s *Server) Stop() error {
	if err := s.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	return s.cmd.Wait()
}

// Pid of the process.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Resident set in MB.
func (s *Server) Resident() float64 {
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

// FreeTCP is an address of loopback that nobody listens on.
func FreeTCP() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer l.Close()
	return l.Addr().String()
}

// FreeUDP is one for UDP.
func FreeUDP() string {
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return ""
	}
	defer p.Close()
	return p.LocalAddr().String()
}

// At is a quantile; 0 of nothing.
func At(list []float64, q float64) float64 {
	if len(list) == 0 {
		return 0
	}
	list = slices.Sorted(slices.Values(list))
	return list[min(int(q*float64(len(list))), len(list)-1)]
}

// Milliseconds of a duration, for At.
func Milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// CallerOf is the number in a From header.
func CallerOf(from string) string {
	_, rest, _ := strings.Cut(from, "sip:")
	user, _, _ := strings.Cut(rest, "@")
	return user
}
