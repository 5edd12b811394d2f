package test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"yingda/internal/app"
	"yingda/telephony/ivr"
	"yingda/telephony/prompts"
	"yingda/telephony/sound"
	"yingda/web"
)

// told is what a command said, and its exit code.
type told struct {
	args string
	out  string
	errs string
	code int
}

// tell runs `yingda args…` over a data folder.
func tell(t *testing.T, data string, args ...string) told {
	t.Helper()
	return tellWith(t, data, "", args...)
}

func tellWith(t *testing.T, data, in string, args ...string) told {
	t.Helper()
	bin, err := yingda()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, append([]string{"--data", data}, args...)...)
	cmd.Env = append(os.Environ(), "YINGDA_STREAM_BALLAST=-1", "YINGDA_LOG_LEVEL=warn")
	cmd.Stdin = strings.NewReader(in)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run()
	return told{strings.Join(args, " "), out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// is wants an exit code, and words in what was said. A word that begins with "!" must not be there.
func (o told) is(t *testing.T, code int, words ...string) told {
	t.Helper()
	all := o.out + o.errs
	if o.code != code {
		t.Errorf("yingda %s: exit code %d, want %d\n%s", o.args, o.code, code, all)
	}
	for _, w := range words {
		if not, absent := strings.CutPrefix(w, "!"); absent == strings.Contains(all, not) {
			t.Errorf("yingda %s: want %q in\n%s", o.args, w, all)
		}
	}
	for _, ours := range []string{"panic", "goroutine ", "SQL logic", "0x"} {
		if strings.Contains(all, ours) {
			t.Errorf("yingda %s: our insides (%q) are no sentence:\n%s", o.args, ours, all)
		}
	}
	return o
}

// fresh is a data folder that is not there yet.
func fresh(t *testing.T) string { return filepath.Join(t.TempDir(), "data") }

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// call phones in once with sipp and wants to be answered.
func (s *served) call(number string, hold time.Duration) {
	s.t.Helper()
	abs, err := filepath.Abs("sipp/call.xml")
	if err != nil {
		s.t.Fatal(err)
	}
	fields := write(s.t, "fields.csv", "SEQUENTIAL\n051255501234;\n")
	run(s.t, "sipp", "-sf", abs, "-inf", fields, "-i", "127.0.0.1", "-p", freePort(s.t), "-s", number, "-d", fmt.Sprint(hold.Milliseconds()), "-m", "1", "-nostdin", "-timeout", "30s", "-timeout_error", s.sip).wait(s.t, 30*time.Second)
}

// open is how many contacts have not ended.
func (s *served) open() (n int) {
	for _, e := range s.contacts() {
		if e.Outcome == nil {
			n++
		}
	}
	return n
}

// ended waits until every contact has ended.
func (s *served) ended(within time.Duration) {
	s.t.Helper()
	waitFor(s.t, "every contact to end", within, func() bool { return s.open() == 0 })
}

// allEnded waits for that as long as calls whose phones are gone take.
func (s *served) allEnded() {
	s.t.Helper()
	s.ended(40 * time.Second)
}

func TestCommandsOfNoFolder(t *testing.T) {
	t.Parallel()
	none := fresh(t)
	tell(t, none, "version").is(t, 0, "yingda ", "go1.", "linux")
	tell(t, none, "help").is(t, 0, "serve", "doctor", "backup", "restore")
	tell(t, none, "nonsense").is(t, 2, `"nonsense" is no command`)
	tell(t, none, "config", "nonsense").is(t, 2, `"nonsense" is no command`, "yingda config help")
	tell(t, none, "doctor", "extra").is(t, 2, "extra")
	tell(t, none, "doctor", "--bogus").is(t, 2, "bogus")
	tell(t, none, "backup").is(t, 2, "1 arg")

	types := tell(t, none, "schema").is(t, 0, "contact.offered.v1", "contact.ended.v1")
	for name := range strings.Lines(types.out) {
		name = strings.TrimSpace(name)
		one := tell(t, none, "schema", name)
		var schema struct {
			ID string `json:"$id"`
		}
		if err := json.Unmarshal([]byte(one.out), &schema); err != nil || one.code != 0 || !strings.Contains(schema.ID, name) {
			t.Errorf("schema %s: exit %d, %v: %.200s", name, one.code, err, one.out)
		}
	}
	tell(t, none, "schema", "contact.vanished.v1").is(t, 2, `"contact.vanished.v1" is no event type`, "lists them")

	tell(t, none, "search", "eval").is(t, 0, "recall@10", "nDCG@10", "zero hits", "p95", "all")

	rules := tell(t, none, "rules", "print").is(t, 0, "version:")
	tell(t, none, "rules", "check", write(t, "rules.yaml", rules.out)).is(t, 0, "the rules can be used")
	tell(t, none, "rules", "check", write(t, "rules.yaml", "version: x\nrulez: []\n")).is(t, 1, "rules.yaml 第 2 行")
	if _, err := os.Stat(none); !os.IsNotExist(err) {
		t.Errorf("commands that need no folder made one: %v", err)
	}
}

func TestConfigCommands(t *testing.T) {
	t.Parallel()
	none := fresh(t)
	sample := tell(t, none, "config", "sample").is(t, 0, "listen:", "#")
	tell(t, none, "config", "check", write(t, "yingda.yaml", sample.out)).is(t, 0, "ok")
	tell(t, none, "config", "check").is(t, 0, "ok")
	for text, want := range map[string]string{
		"http:\n  lisen: 127.0.0.1:1\n":                 "yingda.yaml:2: http.lisen is no setting; did you mean http.listen?",
		"queue:\n  ring_time: 20\n":                     "yingda.yaml:2: queue.ring_time",
		"sip:\n  digests: [MD4]\n":                      `yingda.yaml:2: sip.digests "MD4": MD5 or SHA-256`,
		"http: [\n":                                     "not YAML",
		"lines:\n  - {id: a, numbers: ['1'], hours: x}": `yingda.yaml:2: lines.0.hours "x" is no opening time: write 24h`,
	} {
		path := write(t, "yingda.yaml", text)
		tell(t, none, "config", "check", path).is(t, 2, want)
		// Every command that reads the file refuses it in the same words: also the one that would serve.
		tell(t, none, "serve", "--config", path).is(t, 2, want)
	}
	tell(t, none, "config", "check", filepath.Join(none, "gone.yaml")).is(t, 2, "gone.yaml")
	secret := write(t, "yingda.yaml", "trunks:\n  - {name: t, allow: [192.0.2.1], user: u, password: hush}\n")
	tell(t, none, "config", "print", "--config", secret).is(t, 0, "192.0.2.1", `password: "***"`, "!hush")
	tell(t, none, "config", "print", "--http", "127.0.0.1:4711").is(t, 0, `listen: "127.0.0.1:4711"`)
}

// old makes the two events of a contact from another system, as lines; n keeps ids apart.
func old(n int, at, caller string) string {
	id := fmt.Sprintf("01935000-0000-7000-8000-%012d", n)
	line := func(seq int, kind, data string) string {
		return fmt.Sprintf(`{"specversion":"1.0","id":"contact/%s/%016x","source":"old-pbx","type":"%s","subject":"contact/%s","time":"%s","sequence":"%016x","data":%s}`+"\n", id, seq, kind, id, at, seq, data)
	}
	return line(1, "contact.offered.v1", `{"channel":"phone","line":"main","switchboard":"main","origin":"old-pbx","imported":"old-pbx","personal":{"number":"`+caller+`"}}`) +
		line(2, "contact.ended.v1", `{"outcome":"abandoned_queue","by":"resident","waited_ms":9000}`)
}

func TestImportEvents(t *testing.T) {
	t.Parallel()
	good := old(1, "2026-10-01T01:00:00.000Z", "051255501111") + old(2, "2026-10-02T01:00:00.000Z", "051255501112") + old(3, "2026-10-02T15:59:59.999Z", "051255501113")
	offered := strings.SplitN(old(4, "2026-10-03T01:00:00.000Z", "051255501114"), "\n", 2)[0]
	bad := map[int]string{
		2:  "{this is no JSON 051255501114",
		4:  strings.Replace(offered, "contact.offered.v1", "contact.vanished.v1", 1),
		5:  strings.Replace(offered, `"channel":"phone"`, `"channel":"pigeon"`, 1),
		6:  strings.Replace(offered, `"time":"2026-10-03T01:00:00.000Z"`, `"time":"yesterday"`, 1),
		7:  strings.Repeat("x", 1<<20+1),
		8:  strings.Replace(offered, `{"number":"051255501114"}`, `{"sealed":"v1","month":"2026-10","box":"AAAA"}`, 1),
		9:  "\xff\xfe051255501114",
		10: strings.Replace(offered, `"subject":"contact/`, `"subject":"contact/other-`, 1),
	}
	rest := strings.SplitAfter(strings.TrimSuffix(good, "\n")+"\n", "\n")
	rest = slices.DeleteFunc(rest, func(s string) bool { return s == "" })
	var mixed strings.Builder
	mixed.WriteString("\xef\xbb\xbf")
	for n := 1; len(rest) > 0 || n <= 10; n++ {
		switch {
		case bad[n] != "":
			mixed.WriteString(bad[n] + "\n")
		case n == 3:
			mixed.WriteString("\r\n") // an empty line is nothing
		default:
			mixed.WriteString(rest[0])
			rest = rest[1:]
		}
	}
	file := write(t, "old.jsonl", mixed.String())

	data := fresh(t)
	r := tell(t, data, "import", "events", file).is(t, 1, "6 taken, 0 were there already, 8 refused", "!05125550")
	for n := range bad {
		if !strings.Contains(r.errs, fmt.Sprintf("line %d: ", n)) {
			t.Errorf("line %d is bad and not named:\n%s", n, r.errs)
		}
	}
	if n := strings.Count(r.errs, "line "); n != len(bad) {
		t.Errorf("%d lines are named, %d are bad:\n%s", n, len(bad), r.errs)
	}
	tell(t, data, "import", "events", file).is(t, 1, "0 taken, 6 were there already, 8 refused")
	tellWith(t, data, good, "import", "events", "-").is(t, 0, "0 taken, 6 were there already, 0 refused")
	tellWith(t, data, good+good+old(5, "2026-10-05T01:00:00Z", "051255501115")+old(5, "2026-10-05T01:00:00Z", "051255501115"), "import", "events", "-").
		is(t, 0, "2 taken, 14 were there already, 0 refused")
	tell(t, data, "import", "events", filepath.Join(data, "gone")).is(t, 1, "gone", "no such file")

	// Beside a running program the events go by the outbox; saying "taken" twice would be the same lie there.
	s := newServed(t, data)
	s.start()
	more := write(t, "more.jsonl", old(6, "2026-10-06T01:00:00Z", "051255501116"))
	tell(t, data, "import", "events", more).is(t, 0, "2 taken, 0 were there already, 0 refused")
	tell(t, data, "import", "events", more).is(t, 0, "0 taken, 2 were there already, 0 refused")
	waitFor(t, "the contacts of the other system in the books", 20*time.Second, func() bool { return len(s.contacts()) == 5 })
	tell(t, data, "import", "events", more).is(t, 0, "0 taken, 2 were there already, 0 refused")
	s.audited()
	if n := len(s.contacts()); n != 5 {
		t.Errorf("%d contacts after importing five, several times", n)
	}

	// Days are cut in the office's time zone: 2026-10-02T15:59:59.999Z is the last moment of the 2nd in Shanghai.
	count := func(args ...string) int {
		t.Helper()
		return strings.Count(tell(t, data, append([]string{"export", "contacts"}, args...)...).is(t, 0, "!05125550").out, "\n")
	}
	for _, c := range []struct {
		from, to string
		want     int
	}{{"2026-10-02", "2026-10-03", 2}, {"2026-10-03", "", 2}, {"", "2026-10-02", 1}, {"2026-10-02T15:59:59.999Z", "2026-10-02T16:00:00Z", 1}, {"2026-10-07", "2026-10-08", 0}} {
		if n := count("--from", c.from, "--to", c.to); n != c.want {
			t.Errorf("export from %q to %q: %d contacts, want %d", c.from, c.to, n, c.want)
		}
	}
	tell(t, data, "export", "contacts", "--from", "gestern").is(t, 2, `"gestern" is no time`, "2026-11-24")
}

func TestAuditNamesAPlantedDifference(t *testing.T) {
	t.Parallel()
	data := fresh(t)
	tellWith(t, data, old(1, "2026-10-01T01:00:00Z", "051255501111")+old(2, "2026-10-01T02:00:00Z", "051255501112"), "import", "events", "-").is(t, 0)
	s := newServed(t, data)
	s.start()
	waitFor(t, "the books have read them", 20*time.Second, func() bool { return len(s.contacts()) == 2 })
	s.audited()
	report := func() (r app.AuditReport, code int) {
		t.Helper()
		o := tell(t, data, "audit", "--json")
		if err := json.Unmarshal([]byte(o.out), &r); err != nil {
			t.Fatalf("%v: %s", err, o.out)
		}
		return r, o.code
	}
	if r, code := report(); code != 0 || !r.Clean || r.Offered != 2 || len(r.Lines) != 1 || !r.Lines[0].Balanced {
		t.Fatalf("exit %d: %+v", code, r)
	}
	const one = "contact/01935000-0000-7000-8000-000000000001"
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "yingda.db")+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	plant := func(change string, args ...any) {
		t.Helper()
		if r, err := db.Exec(change, args...); err != nil {
			t.Fatal(err)
		} else if n, _ := r.RowsAffected(); n != 1 {
			t.Fatalf("%d rows were planted", n)
		}
	}
	for _, beside := range []bool{true, false} { // beside the program that serves, and without it
		plant("UPDATE contacts SET outcome = 'answered' WHERE id = ?", strings.TrimPrefix(one, "contact/"))
		r, code := report()
		if code != 1 || r.Clean || !slices.ContainsFunc(r.Findings, func(f app.AuditFinding) bool { return f.Where == "books" && f.ID == one && f.What != "" }) {
			t.Errorf("beside %v: a planted difference in the books: exit %d, %+v", beside, code, r.Findings)
		}
		tell(t, data, "audit").is(t, 1, one, "findings", "the books differ")
		plant("UPDATE contacts SET outcome = 'abandoned_queue' WHERE id = ?", strings.TrimPrefix(one, "contact/"))
		if r, code := report(); code != 0 || !r.Clean {
			t.Errorf("beside %v: the difference is mended: exit %d, %+v", beside, code, r.Findings)
		}
		if beside {
			s.kill()
		}
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	healthy := func() string {
		t.Helper()
		data := fresh(t)
		tell(t, data, "user", "create", "zhang").is(t, 0)
		tell(t, data, "user", "phone", "zhang").is(t, 0)
		return data
	}
	doctor := func(data string, more ...string) told {
		t.Helper()
		return tell(t, data, append([]string{"doctor", "--http", "127.0.0.1:0", "--sip", "127.0.0.1:0"}, more...)...)
	}
	data := healthy()
	doctor(data).is(t, 0, "configuration can be used", "no program serves", "is free for sip.udp", "prompts are complete", "1 lines in the ledger", "1 operators have a phone", "the books balance", "!WRONG")
	doctor(fresh(t)).is(t, 1, "WRONG no operator has a phone", "yingda user phone", "needs your hand")

	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	tell(t, data, "doctor", "--http", taken.Addr().String(), "--sip", "127.0.0.1:0").is(t, 1, "WRONG tcp "+taken.Addr().String(), "set http.listen")

	if err := os.Chmod(data, 0o755); err != nil {
		t.Fatal(err)
	}
	doctor(data).is(t, 1, "WRONG everybody on this machine may look into", "chmod 700 "+data)
	if err := os.Chmod(data, 0o700); err != nil {
		t.Fatal(err)
	}

	pack := spoilt(t)
	doctor(data, "--config", write(t, "yingda.yaml", "media:\n  prompts: "+pack+"\n")).is(t, 1, "WRONG prompts", "yingda prompts check")

	late := time.Now().UTC().Add(48 * time.Hour).Format("2006-01-02T15:04:05.000Z")
	ahead := healthy()
	tellWith(t, ahead, old(1, late, "051255501111"), "import", "events", "-").is(t, 0)
	doctor(ahead).is(t, 1, "WRONG the clock says", late[:10], "set the clock")

	if os.Getuid() == 0 { // small and read-only file systems
		small := t.TempDir()
		if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=64m,mode=700"); err != nil {
			t.Fatalf("mount: %v", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
		doctor(small).is(t, 1, "MiB are free on the disk of "+small, "make room")
		if err := syscall.Mount("tmpfs", small, "tmpfs", syscall.MS_REMOUNT|syscall.MS_RDONLY, "size=64m"); err != nil {
			t.Fatalf("mount: %v", err)
		}
		doctor(small).is(t, 1, "WRONG", small, "cannot be written")
	}

	// Beside the program that serves, which it must not disturb.
	s := newServed(t, data)
	s.start()
	s.call("12345", 300*time.Millisecond)
	s.allEnded()
	s.audited()
	tell(t, data, "doctor", "--http", s.http, "--sip", s.sip).is(t, 0, "a program serves from "+data, "the books balance: 1 offered", "!WRONG", "!damaged")
	if _, err := os.Stat(filepath.Join(data, "index", "damaged")); !os.IsNotExist(err) {
		t.Errorf("the doctor has moved the index of a running program aside: %v", err)
	}
	s.audited()
}

// spoilt is a prompt pack that is whole but for a clipped, a silent and a soft recording, one that is none, and one that is not there.
func spoilt(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../telephony/prompts/packs/mandarin")); err != nil {
		t.Fatal(err)
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	var m prompts.Manifest
	if err := json.Unmarshal(manifest, &m); err != nil {
		t.Fatal(err)
	}
	put := func(id string, wav []byte) {
		t.Helper()
		for i := range m.Prompts {
			if m.Prompts[i].ID == id {
				m.Prompts[i].SHA256 = ""
				if err := os.WriteFile(filepath.Join(dir, m.Prompts[i].File), wav, 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	clip, _ := prompts.Mandarin().Clip(ivr.Greeting, "")
	speech := sound.DecodeA(clip.PCMA)
	pcm := func(s []int16) []byte {
		b := sound.HeaderWAV(sound.PCM16, 1, int64(2*len(s)))
		for _, v := range s {
			b = append(b, byte(v), byte(v>>8))
		}
		return b
	}
	put(ivr.Waiting(0), pcm(append(slices.Clone(speech), 32767, 32767, 32767, 32767)))
	put(ivr.Waiting(1), pcm(make([]int16, len(speech))))
	put(ivr.Waiting(2), pcm(sound.Scale(speech, -8)))
	put(ivr.Waiting(3), []byte("no recording at all"))
	m.Prompts = slices.DeleteFunc(m.Prompts, func(p prompts.Prompt) bool { return p.ID == ivr.RecordingNotice })
	raw, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "manifest.json"), raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestPromptsCheck(t *testing.T) {
	t.Parallel()
	none := fresh(t)
	tell(t, none, "prompts", "check").is(t, 0, "all fit to be heard")
	tell(t, none, "prompts", "check", "../telephony/prompts/packs/mandarin").is(t, 0, "all fit to be heard")
	r := tell(t, none, "prompts", "check", spoilt(t)).is(t, 1, "5 things are wrong with the pack", ivr.RecordingNotice)
	for n, why := range []string{"clipped", "silent", "dBov", ""} {
		line := grep(r.out, ivr.Waiting(n))
		if strings.Count(line, "\n") != 1 || !strings.Contains(line, why) {
			t.Errorf("prompt %s: want one line with %q in\n%s", ivr.Waiting(n), why, r.out)
		}
	}
	tell(t, none, "prompts", "check", filepath.Join(none, "gone")).is(t, 1, "gone", "no such file")
}

// signIn signs in on the pages and says where that led.
func (s *served) signIn(login, password string) (status int, to string) {
	s.t.Helper()
	jar, _ := cookiejar.New(nil)
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	page, err := client.Get("http://" + s.http + "/sign-in")
	if err != nil {
		s.t.Fatal(err)
	}
	body, err := io.ReadAll(page.Body)
	_ = page.Body.Close()
	found := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindSubmatch(body)
	if err != nil || found == nil {
		s.t.Fatalf("no form to sign in with: %v\n%s", err, body)
	}
	r, err := client.PostForm("http://"+s.http+"/sign-in", url.Values{"csrf": {string(found[1])}, "login": {login}, "password": {password}})
	if err != nil {
		s.t.Fatal(err)
	}
	_ = r.Body.Close()
	return r.StatusCode, r.Header.Get("Location")
}

// api asks for a path with a token.
func (s *served) api(path, token string) (status int, kind, body string) {
	s.t.Helper()
	req, err := http.NewRequest(http.MethodGet, "http://"+s.http+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return r.StatusCode, r.Header.Get("Content-Type"), string(raw)
}

// What people do at the command line is in force in the program that runs beside it.
func TestPeopleAndLinesBesideAServer(t *testing.T) {
	t.Parallel()
	data := fresh(t)
	s := newServed(t, data)
	s.start()
	waitFor(t, "the first start to show the administrator's password", 10*time.Second, func() bool { return strings.Contains(s.logs.String(), "one-time password") })

	token := strings.TrimSpace(tell(t, data, "token", "create", "--role", "auditor").is(t, 0).out)
	if status, _, body := s.api("/api/v1/books", token); status != 200 || !strings.Contains(body, `"balanced":true`) {
		t.Errorf("books with a token: %d %s", status, body)
	}
	if status, kind, body := s.api("/api/v1/books", token+"x"); status != 401 || kind != "application/problem+json" {
		t.Errorf("books with a token that is none: %d %s %s", status, kind, body)
	}
	low := strings.TrimSpace(tell(t, data, "token", "create", "--role", "operator").is(t, 0).out)
	if status, kind, body := s.api("/api/v1/books", low); status != 403 || kind != "application/problem+json" {
		t.Errorf("books with an operator's token: %d %s %s", status, kind, body)
	}
	tell(t, data, "token", "create").is(t, 2, "--role")
	tell(t, data, "token", "create", "--role", "king").is(t, 2, `"king" is no role`, "auditor")

	made := strings.Fields(tell(t, data, "user", "create", "zhang", "--name", "张三").is(t, 0).out)
	if len(made) != 2 || made[0] != "zhang" {
		t.Fatalf("user create printed %q", made)
	}
	if status, to := s.signIn("zhang", made[1]); status != 303 || to != "/password" {
		t.Errorf("signing in with a one-time password: %d to %q", status, to)
	}
	again := strings.TrimSpace(tell(t, data, "user", "passwd", "zhang").is(t, 0).out)
	if status, _ := s.signIn("zhang", made[1]); status != 401 {
		t.Errorf("the old password after passwd: %d", status)
	}
	tell(t, data, "user", "list").is(t, 0, "zhang\toperator\topen\t张三", "admin\tadministrator\topen")
	tell(t, data, "user", "disable", "zhang").is(t, 0)
	tell(t, data, "user", "list").is(t, 0, "zhang\toperator\tdisabled")
	if status, _ := s.signIn("zhang", again); status != 403 {
		t.Errorf("signing in to a closed account: %d", status)
	}
	tell(t, data, "user", "enable", "zhang").is(t, 0)
	if status, to := s.signIn("zhang", again); status != 303 || to != "/password" {
		t.Errorf("signing in after enable: %d to %q", status, to)
	}
	phone := strings.Fields(tell(t, data, "user", "phone", "zhang").is(t, 0).out)
	if len(phone) != 2 || phone[0] != "zhang" || len(phone[1]) < 16 {
		t.Errorf("user phone printed %q", phone)
	}
	tell(t, data, "user", "create", "zhang").is(t, 1, "login is taken")
	tell(t, data, "user", "create", "a b").is(t, 1, "a login is made of")
	tell(t, data, "user", "create", "li", "--role", "king").is(t, 2, `"king" is no role`)
	for _, verb := range []string{"passwd", "disable", "enable", "phone"} {
		tell(t, data, "user", verb, "nobody").is(t, 1, "nobody", "no such account")
		tell(t, data, "user", verb).is(t, 2, "1 arg")
	}

	tell(t, data, "lines", "set", "water", "numbers=12319", "name=水务").is(t, 0, `"numbers":["12319"]`, "水务")
	tell(t, data, "lines", "list").is(t, 0, `"id":"main"`, `"id":"water"`)
	waitFor(t, "a call to the new number to reach the new line", 20*time.Second, func() bool {
		s.call("12319", 300*time.Millisecond)
		return slices.ContainsFunc(s.contacts(), func(e web.Entry) bool { return e.Line == "water" })
	})
	before := len(s.contacts())
	tell(t, data, "lines", "set", "water", "hours=2020-01-01 closed; Mo 00:00-00:01").is(t, 0)
	tell(t, data, "lines", "set", "water").is(t, 2, "2 arg")
	tell(t, data, "lines", "set", "water", "max_wait_s=soon").is(t, 2, "a whole number")
	tell(t, data, "lines", "set", "water", "early=perhaps").is(t, 2, "true or false")
	tell(t, data, "lines", "set", "water", "colour=red").is(t, 2, `"colour" is nothing that a line has`, "max_wait_s")
	tell(t, data, "lines", "set", "water", "red").is(t, 2, "KEY=VALUE")
	tell(t, data, "lines", "set", "water", "hours=Monday").is(t, 1, `"Monday" is no opening time`, "Mo-Fr 08:30")
	tell(t, data, "lines", "set", "wa ter", "name=x").is(t, 1, "a word without spaces")
	s.allEnded()
	if n := len(s.contacts()); n != before {
		t.Errorf("%d contacts, then %d, and nobody called", before, n)
	}
	s.audited()
}
