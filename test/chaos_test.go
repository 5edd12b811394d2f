package test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"yingda/internal/app"
	"yingda/internal/users"
	"yingda/web"
)

// yingda is the program, built once for all tests.
var yingda = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "yingda-test-")
	if err != nil {
		return "", err
	}
	out := filepath.Join(dir, "yingda")
	cmd := exec.Command("go", "build", "-o", out, "../cmd/yingda")
	if text, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return out, nil
})

// served is yingda in a process of its own, to be killed.
type served struct {
	t    *testing.T
	bin  string
	data string
	sip  string
	http string
	env  []string // beside the test's own
	cmd  *exec.Cmd
	logs *syncBuffer
}

func newServed(t *testing.T, data string) *served {
	t.Helper()
	bin, err := yingda()
	if err != nil {
		t.Fatal(err)
	}
	s := &served{t: t, bin: bin, data: data, sip: "127.0.0.1:0", http: "127.0.0.1:0", logs: &syncBuffer{}}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log:\n%s", tail(s.logs.String(), 60))
		}
	})
	return s
}

// addresses are said when the program takes calls.
var addresses = regexp.MustCompile(`msg="yingda takes calls".* pages=http://(\S+) sip_udp=(\S+)`)

func (s *served) start() {
	s.t.Helper()
	s.cmd = exec.Command(s.bin, "serve", "--data", s.data, "--sip", s.sip, "--http", s.http)
	s.cmd.Env = append(os.Environ(), "YINGDA_STREAM_BALLAST=-1", "YINGDA_QUEUE_WRAP_UP=0s", "YINGDA_MEDIA_PORT_MIN=42000", "YINGDA_MEDIA_PORT_MAX=49999")
	s.cmd.Env = append(s.cmd.Env, s.env...)
	s.cmd.Stdout, s.cmd.Stderr = s.logs, s.logs
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.cmd.Process.Kill() })
	waitFor(s.t, "the program to be ready", 30*time.Second, s.serving)
}

// serving is whether the program answers. The ports that it was given the first time it keeps over a restart.
func (s *served) serving() bool {
	if strings.HasSuffix(s.http, ":0") {
		said := addresses.FindStringSubmatch(s.logs.String())
		if said == nil {
			return false
		}
		s.http, s.sip = said[1], said[2]
	}
	r, err := http.Get("http://" + s.http + "/livez")
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, r.Body)
	_ = r.Body.Close()
	return r.StatusCode == http.StatusOK
}

// kill is kill -9.
func (s *served) kill() {
	s.t.Helper()
	if err := s.cmd.Process.Kill(); err != nil {
		s.t.Fatal(err)
	}
	_ = s.cmd.Wait()
}

func (s *served) command(args ...string) (string, error) {
	cmd := exec.Command(s.bin, append([]string{"--data", s.data, "--log-level", "warn"}, args...)...)
	cmd.Env = append(os.Environ(), s.env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, errs.String())
	}
	return out.String(), err
}

func (s *served) contacts() []web.Entry {
	s.t.Helper()
	out, err := s.command("export", "contacts")
	if err != nil {
		s.t.Fatal(err)
	}
	var list []web.Entry
	for line := range strings.Lines(out) {
		var e web.Entry
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			s.t.Fatal(err)
		}
		list = append(list, e)
	}
	return list
}

// audited waits until `yingda audit` exits 0.
func (s *served) audited() {
	s.t.Helper()
	var out string
	var err error
	for range 60 {
		if out, err = s.command("audit"); err == nil {
			return
		}
		pause(500 * time.Millisecond)
	}
	s.t.Fatalf("audit: %v\n%s", err, out)
}

// load phones in with sipp, rate calls a second, until told to stop; it notes every message.
func (s *served) load(rate int, hold time.Duration, trace string) *peer {
	s.t.Helper()
	abs, err := filepath.Abs("sipp/call.xml")
	if err != nil {
		s.t.Fatal(err)
	}
	inf := filepath.Join(s.t.TempDir(), "numbers.csv")
	var b strings.Builder
	b.WriteString("SEQUENTIAL\n")
	for i := range 3000 {
		fmt.Fprintf(&b, "05125550%04d;\n", i)
	}
	if err := os.WriteFile(inf, []byte(b.String()), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return run(s.t, "sipp", "-sf", abs, "-inf", inf, "-i", "127.0.0.1", "-p", freePort(s.t), "-s", "12345", "-d", fmt.Sprint(hold.Milliseconds()), "-r", fmt.Sprint(rate), "-l", "500",
		"-nostdin", "-trace_msg", "-message_file", trace, "-message_overwrite", "false", "-recv_timeout", "20000", "-aa", s.sip)
}

var (
	statusLine = regexp.MustCompile(`^SIP/2\.0 (\d\d\d) `)
	callIDLine = regexp.MustCompile(`^Call-ID: *(\S+)`)
)

// promised reads sipp's trace: the Call-IDs of INVITEs that got a 18x or 2xx, and of those that were sent at all.
func promised(t *testing.T, trace string) (promised, sent map[string]bool) {
	t.Helper()
	promised, sent = map[string]bool{}, map[string]bool{}
	f, err := os.Open(trace)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var status, id, cseq string
	flush := func() {
		if id == "" {
			return
		}
		if strings.HasPrefix(status, "18") || strings.HasPrefix(status, "2") {
			if strings.HasSuffix(cseq, "INVITE") {
				promised[id] = true
			}
		}
		if status == "INVITE" {
			sent[id] = true
		}
	}
	r := bufio.NewScanner(f)
	r.Buffer(make([]byte, 1<<20), 1<<20)
	for r.Scan() {
		line := strings.TrimSpace(r.Text())
		switch {
		case strings.HasPrefix(line, "----"):
			flush()
			status, id, cseq = "", "", ""
		case statusLine.MatchString(line) && status == "":
			status = statusLine.FindStringSubmatch(line)[1]
		case strings.HasPrefix(line, "INVITE ") && status == "":
			status = "INVITE"
		case callIDLine.MatchString(line):
			id = callIDLine.FindStringSubmatch(line)[1]
		case strings.HasPrefix(line, "CSeq:"):
			cseq = line
		}
	}
	flush()
	return promised, sent
}

// TestKilledTwentyTimes: kill -9 under 10 calls a second, twenty times. What got an answer from us is in the books once.
func TestKilledTwentyTimes(t *testing.T) {
	t.Parallel()
	s := newServed(t, t.TempDir())
	s.start()
	trace := filepath.Join(t.TempDir(), "messages.log")
	phones := s.load(10, 1500*time.Millisecond, trace)
	for range 20 {
		pause(1300 * time.Millisecond)
		s.kill()
		s.start()
	}
	pause(2 * time.Second)
	_ = phones.cmd.Process.Signal(syscall.SIGUSR1) // no new calls, the others end
	select {
	case <-phones.done:
	case <-time.After(40 * time.Second):
		_ = phones.cmd.Process.Kill()
	}
	s.ended(90 * time.Second)
	must, sent := promised(t, trace)
	if len(must) < 100 {
		t.Fatalf("only %d calls got an answer from us; the test proves nothing\n%s", len(must), tail(s.logs.String(), 30))
	}
	count := map[string]int{}
	interrupted := 0
	for _, e := range s.contacts() {
		if e.SIPCallID == nil {
			t.Errorf("contact %s has no Call-ID", e.ID)
			continue
		}
		count[*e.SIPCallID]++
		if *e.Outcome == "interrupted" {
			interrupted++
			if e.Callback == nil {
				t.Errorf("contact %s was interrupted and nobody owes a call", e.ID)
			}
		}
	}
	for id := range must {
		if count[id] != 1 {
			t.Errorf("call %s got an answer from us and is in the books %d times", id, count[id])
		}
	}
	for id, n := range count {
		if n != 1 || !sent[id] {
			t.Errorf("call %s is in the books %d times (sent: %v)", id, n, sent[id])
		}
	}
	s.audited()
	t.Logf("%d INVITEs, %d answered by us, %d in the books, %d interrupted", len(sent), len(must), len(count), interrupted)
	if interrupted == 0 {
		t.Error("twenty kills under load interrupted nobody: the test proves nothing")
	}
}

// TestDiskFull: the disk is full for 30 s under 10 calls a second. Every call is answered, and is in the books afterwards.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Fatal("this test mounts a small file system and needs root")
	}
	data := t.TempDir()
	if err := syscall.Mount("tmpfs", data, "tmpfs", 0, "size=48m"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(data, syscall.MNT_DETACH) })
	s := newServed(t, data)
	s.start()
	trace := filepath.Join(t.TempDir(), "messages.log")
	phones := s.load(10, 1500*time.Millisecond, trace)
	pause(3 * time.Second)
	fillDisk(t, filepath.Join(data, "junk"))
	full := time.Now()
	waitFor(t, "the program to say that its log does not write", 20*time.Second, func() bool {
		r, err := http.Get("http://" + s.http + "/readyz")
		if err != nil {
			return false
		}
		defer r.Body.Close()
		b, _ := io.ReadAll(r.Body)
		return r.StatusCode == http.StatusServiceUnavailable && bytes.Contains(b, []byte(`"log"`))
	})
	for time.Since(full) < 30*time.Second {
		fillDisk(t, filepath.Join(data, "junk2"))
		pause(time.Second)
	}
	if err := errors.Join(os.Remove(filepath.Join(data, "junk")), os.Remove(filepath.Join(data, "junk2"))); err != nil {
		t.Fatal(err)
	}
	pause(5 * time.Second)
	_ = phones.cmd.Process.Signal(syscall.SIGUSR1)
	phones.wait(t, 40*time.Second) // every call was answered: sipp ends well
	s.audited()
	must, sent := promised(t, trace)
	if len(sent) < 300 {
		t.Fatalf("only %d calls; the test proves nothing", len(sent))
	}
	for id := range sent {
		if !must[id] {
			t.Errorf("call %s was not answered", id)
		}
	}
	count := map[string]int{}
	waitFor(t, "every contact in the books", 30*time.Second, func() bool {
		clear(count)
		for _, e := range s.contacts() {
			if e.SIPCallID != nil && e.Outcome != nil {
				count[*e.SIPCallID]++
			}
		}
		return len(count) >= len(sent)
	})
	for id := range sent {
		if count[id] != 1 {
			t.Errorf("call %s is in the books %d times", id, count[id])
		}
	}
	t.Logf("%d calls while the disk was full and around it, all answered, all in the books once", len(sent))
}

// fillDisk writes until there is no room.
func fillDisk(t *testing.T, path string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	for size := 1 << 20; size >= 512; {
		if _, err := f.Write(make([]byte, size)); err != nil {
			size /= 2
		}
	}
}

// person makes an account by the command line, beside the server, and gives it a password that need not be changed.
func (s *served) person(login string, role users.Role) string {
	s.t.Helper()
	const chosen = "a-long-test-password"
	out, err := s.command("user", "create", login, "--role", string(role))
	if err != nil {
		s.t.Fatal(err)
	}
	_, oneTime, _ := strings.Cut(strings.TrimSpace(out), " ")
	c := app.Default()
	c.Data = s.data
	store, err := app.OpenStore(s.t.Context(), c, app.StoreOptions{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		s.t.Fatal(err)
	}
	defer store.Close()
	u, err := store.Users().ByLogin(s.t.Context(), login)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := store.Users().ChangePassword(s.t.Context(), u.ID, oneTime, chosen, "test", ""); err != nil {
		s.t.Fatal(err)
	}
	return chosen
}
