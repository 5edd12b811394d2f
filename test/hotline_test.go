// Package test tries the whole program from outside, with real peers on loopback: sipp and baresip phone in, operators'
// phones answer, and what came of it is read where an auditor would read it. Each test has a hotline of its own on free ports.
package test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"yingda/internal/app"
	"yingda/telephony/phonetest"
	"yingda/web"
)

// hotline is a running yingda.
type hotline struct {
	*app.App
	t    *testing.T
	udp  netip.AddrPort
	tcp  netip.AddrPort
	logs *syncBuffer
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// config of a hotline on free ports in a folder of its own, quick enough for a test.
func config(t *testing.T) app.Config {
	t.Helper()
	c := app.Default()
	c.Data = t.TempDir()
	c.HTTP.Listen, c.SIP.UDP, c.SIP.TCP = "127.0.0.1:0", "127.0.0.1:0", "127.0.0.1:0"
	c.Media.PortMin, c.Media.PortMax = 30000, 39999
	c.Queue.WrapUp = 0
	c.Queue.RingTime = 5 * time.Second
	c.Stream.Ballast = -1
	return c
}

// start starts a hotline and stops it when the test ends. No log line may hold a number in clear.
func start(t *testing.T, c app.Config) *hotline {
	t.Helper()
	h := &hotline{t: t, logs: &syncBuffer{}}
	a, err := app.Start(t.Context(), c, app.Options{Logger: slog.New(slog.NewTextHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	h.App = a
	h.udp, h.tcp = a.SIPAddr()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
		defer cancel()
		if err := a.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		if text := h.logs.String(); strings.Contains(text, "05125550") || strings.Contains(text, "13800") {
			t.Errorf("a number stands in the log in clear:\n%s", grep(text, "05125550", "13800"))
		}
		if t.Failed() {
			t.Logf("log:\n%s", tail(h.logs.String(), 120))
		}
	})
	return h
}

func grep(text string, words ...string) string {
	var out []string
	for line := range strings.Lines(text) {
		for _, w := range words {
			if strings.Contains(line, w) {
				out = append(out, line)
				break
			}
		}
	}
	return strings.Join(out, "")
}

func tail(text string, n int) string {
	lines := strings.Split(text, "\n")
	return strings.Join(lines[max(len(lines)-n, 0):], "\n")
}

// operator makes an account with a desk phone and gives the phone's user and secret.
func (h *hotline) operator(login string) (user, secret string) {
	h.t.Helper()
	ctx := h.t.Context()
	if _, err := h.CreateUser(ctx, login, login, "operator", nil); err != nil {
		h.t.Fatal(err)
	}
	return h.phoneOf(login)
}

// contacts are all there are, oldest first, as an auditor gets them.
func (h *hotline) contacts() []web.Entry {
	h.t.Helper()
	var b bytes.Buffer
	if err := h.ExportContacts(h.t.Context(), time.Time{}, time.Time{}, &b); err != nil {
		h.t.Fatal(err)
	}
	var list []web.Entry
	for line := range strings.Lines(b.String()) {
		var e web.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			h.t.Fatalf("%v: %s", err, line)
		}
		list = append(list, e)
	}
	return list
}

// waitFor polls until the condition holds: for what happens in another process there is nothing else to wait on.
func waitFor(t *testing.T, what string, within time.Duration, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(within)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("waited %s for: %s", within, what)
		}
		pause(20 * time.Millisecond)
	}
}

// pause is for peers in other processes, whose time nobody can make virtual.
func pause(d time.Duration) { <-time.After(d) }

// ended waits until n contacts have ended and gives them all.
func (h *hotline) ended(n int) []web.Entry {
	h.t.Helper()
	var list []web.Entry
	waitFor(h.t, fmt.Sprintf("%d contacts ended", n), 45*time.Second, func() bool {
		list = h.contacts()
		done := 0
		for _, e := range list {
			if e.Outcome != nil {
				done++
			}
		}
		return done >= n
	})
	return list
}

// clean wants the audit to find nothing.
func (h *hotline) clean() {
	h.t.Helper()
	var last string
	waitFor(h.t, "a clean audit", 10*time.Second, func() bool {
		r, err := h.Audit(h.t.Context())
		if err != nil {
			last = err.Error()
			return false
		}
		var b strings.Builder
		_ = r.Print(&b)
		last = b.String()
		return r.Clean
	})
	_ = last
}

// peer is a program beside us.
type peer struct {
	cmd  *exec.Cmd
	out  *syncBuffer
	done chan error
}

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%s is not installed: run test/setup.sh (as root it installs what is missing)", name)
	}
	return path
}

// run starts a program that ends with the test.
func run(t *testing.T, name string, args ...string) *peer {
	t.Helper()
	p := &peer{out: &syncBuffer{}, done: make(chan error, 1)}
	p.cmd = exec.Command(program(t, name), args...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	p.cmd.Dir = t.TempDir()
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
	})
	return p
}

// wait for the program to end well.
func (p *peer) wait(t *testing.T, within time.Duration) {
	t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		if err != nil {
			t.Fatalf("%s: %v\n%s", p.cmd.Args, err, tail(p.out.String(), 60))
		}
	case <-time.After(within):
		_ = p.cmd.Process.Signal(os.Interrupt) // so that it prints what it saw
		pause(time.Second)
		t.Fatalf("%s did not end within %s\n%s", p.cmd.Args, within, tail(p.out.String(), 60))
	}
}

// sipp runs a scenario as a caller. d is what its pauses last.
func (h *hotline) sipp(scenario string, d time.Duration, args ...string) *peer {
	h.t.Helper()
	return h.sippFrom(scenario, "051255501234", "", d, append(args, h.udp.String())...)
}

// sippFrom fills the fields that scenarios have: field0 the number or SIP user, field1 the credentials.
func (h *hotline) sippFrom(scenario, field0, field1 string, d time.Duration, args ...string) *peer {
	h.t.Helper()
	abs, err := filepath.Abs(filepath.Join("sipp", scenario+".xml"))
	if err != nil {
		h.t.Fatal(err)
	}
	inf := filepath.Join(h.t.TempDir(), "fields.csv")
	if err := os.WriteFile(inf, []byte("SEQUENTIAL\n"+field0+";"+field1+"\n"), 0o600); err != nil {
		h.t.Fatal(err)
	}
	all := append([]string{"-sf", abs, "-inf", inf, "-i", "127.0.0.1", "-m", "1", "-s", "12345", "-d", fmt.Sprint(d.Milliseconds()), "-nostdin", "-aa", "-timeout", "60s", "-timeout_error",
		"-trace_err", "-error_file", "/dev/stderr"}, args...)
	return run(h.t, "sipp", all...)
}

// desk registers an operator's phone from a port and then answers on that port with a scenario.
func (h *hotline) desk(login, scenario string, d time.Duration) *peer {
	h.t.Helper()
	user, secret := h.operator(login)
	port := freePort(h.t)
	h.register(user, secret, port)
	p := h.sippFrom(scenario, user, "", d, "-p", port)
	waitFor(h.t, "the operator is free", 10*time.Second, func() bool { return h.OperatorState(h.t.Context(), login) == "idle" })
	return p
}

// register says that the phone of user is at a port of ours. (sipp cannot: it knows no SHA-256, which we offer first, and takes the first that it is offered.)
func (h *hotline) register(user, secret, port string) {
	h.t.Helper()
	p, err := phonetest.New(phonetest.Config{Server: h.udp.String(), Local: "127.0.0.1:" + port, User: user, Password: secret})
	if err != nil {
		h.t.Fatal(err)
	}
	defer p.Close()
	ctx, cancel := context.WithTimeout(h.t.Context(), 10*time.Second)
	defer cancel()
	if err := p.Register(ctx); err != nil {
		h.t.Fatal(err)
	}
}

// phoneOf makes credentials for the desk phone of an account that is there.
func (h *hotline) phoneOf(login string) (user, secret string) {
	h.t.Helper()
	both, err := h.NewPhone(h.t.Context(), login)
	if err != nil {
		h.t.Fatal(err)
	}
	user, secret, _ = strings.Cut(both, " ")
	return user, secret
}
