package web

import (
	"bytes"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"yingda/internal/users"
	"yingda/web/assets"
)

// The scripts that are served are what esbuild makes of their sources.
func TestScriptsAreBuilt(t *testing.T) {
	for _, name := range []string{"desk", "worker", "offline"} {
		out := filepath.Join(t.TempDir(), name+".js")
		cmd := exec.CommandContext(t.Context(), "go", "tool", "esbuild", "assets/src/"+name+".ts", "--bundle", "--minify", "--target=chrome86,firefox78", "--outfile="+out, "--log-level=warning")
		if msg, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, msg)
		}
		want, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(want, assets.Body(name+".js")) {
			t.Errorf("assets/%s.js is not what esbuild makes of assets/src/%s.ts", name, name)
		}
	}
}

const aKey = "01928f3a-7c11-4000-8000-0000000000f1"

// The form of the desk: what is missing is said, what is chosen arrives, and the grid is put above the rule's department only by somebody
// who saw that department.
func TestDeskForm(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Operator)
	form := func(more ...string) url.Values {
		f := url.Values{"contact": {someCall}, "words": {"楼道灯不亮"}, "address": {"梅苑小区 3 号楼"}, "next": {"grid"}, "key": {aKey}}
		for i := 0; i+1 < len(more); i += 2 {
			f.Set(more[i], more[i+1])
		}
		return f
	}
	wrong := func(what, field string, more ...string) {
		t.Helper()
		n := len(h.deeds())
		if a := b.post("/me/case", form(more...), "X-Part", "1"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, `"field":"`+field+`"`) || len(h.deeds()) != n {
			t.Errorf("%s: %d %s", what, a.status, a.body)
		}
	}
	wrong("no words", "words", "words", "")
	wrong("no next step", "next", "next", "")
	wrong("no answer", "answer", "next", "close")
	wrong("no department", "dept", "next", "dept")

	last := func(f url.Values) string {
		t.Helper()
		if a := b.post("/me/case", f, "X-Part", "1"); a.status != http.StatusOK || !strings.Contains(a.body, `"to":"/me?wrote=`+someCall+`\u0026said=case"`) {
			t.Fatalf("%d %s", a.status, a.body)
		}
		d := h.deeds()
		return d[len(d)-1]
	}
	const did = "许航 open case on " + someCall + ": 楼道灯不亮 at 梅苑小区 3 号楼,   "
	if got := last(form("ruled", "wg")); got != did+"- dispatch" {
		t.Errorf("the grid against the rule's department: %q", got)
	}
	if got := last(form()); got != did+" dispatch" {
		t.Errorf("the operator did not see the department: %q", got)
	}
	if got := last(form("ruled", "other")); got != did+" dispatch" {
		t.Errorf("the rule is another by now: %q", got)
	}
	if got := last(form("next", "dept", "ruled", "wg")); got != did+" dispatch" {
		t.Errorf("the rule's department: %q", got)
	}
	if got := last(form("next", "dept", "dept", "cg", "grid", "MY03")); got != did+"cg dispatch" {
		t.Errorf("a department of their own choice: %q", got)
	}
	if got := last(form("next", "close", "answer", "讲清楚了", "dept", "cg")); got != did+" close" {
		t.Errorf("answered on the spot: %q", got)
	}
	n := len(h.deeds())
	last(form("then", "ready"))
	if d := h.deeds(); len(d) != n+2 || d[n+1] != "许航 ready" {
		t.Errorf("written up, next one: %q", d[n:])
	}
	h.set(func() { h.refuse = Refusal{"没有这个网格"} })
	if a := b.post("/me/case", form(), "X-Part", "1"); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, "没有这个网格") {
		t.Errorf("refused: %d %s", a.status, a.body)
	}
	h.set(func() { h.refuse = nil })
	if a := b.post("/me/case", form()); a.status != http.StatusSeeOther || a.header.Get("Location") != "/me?wrote="+someCall+"&said=case" {
		t.Errorf("without a script: %d %s", a.status, a.header.Get("Location"))
	}

	if a := b.post("/me/attach", form("case", aCase), "X-Part", "1"); a.status != http.StatusOK {
		t.Errorf("attach: %d %s", a.status, a.body)
	}
	if d := h.deeds(); d[len(d)-1] != "许航 attach "+someCall+" to "+aCase+": 楼道灯不亮" {
		t.Errorf("%q", d[len(d)-1])
	}
	a := b.post("/me/propose", form(), "X-Part", "1")
	for _, want := range []string{`id="where-` + someCall, `id="same-` + someCall, `name="ruled" value="wg"`, "三号楼二单元楼道灯不亮一周", "同一网格", `name="case" value="` + aCase} {
		if !strings.Contains(a.body, want) {
			t.Errorf("what was proposed lacks %s", want)
		}
	}
}

// A message that comes twice is one; one without a name is not taken.
func TestChatForms(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Operator)
	say := func(ref, text string) answer {
		return b.post("/me/chats/"+aChat+"/say", url.Values{"ref": {ref}, "text": {text}}, "X-Part", "1")
	}
	for range 3 {
		if a := say(aKey, "在二楼\n<b>办</b>"); a.status != http.StatusOK || !strings.Contains(a.body, "&lt;b&gt;办") {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if d := h.deeds(); len(d) != 2 || !strings.HasSuffix(d[1], "chat say "+aChat+" 在二楼\n<b>办</b>") {
		t.Errorf("%q", d)
	}
	if a := say("x", "好"); a.status != http.StatusUnprocessableEntity {
		t.Errorf("without a name: %d", a.status)
	}
	if a := say(aKey, "  "); a.status != http.StatusUnprocessableEntity {
		t.Errorf("without words: %d", a.status)
	}
	for act, want := range map[string]string{"accept": "chat accept " + aChat, "decline": "chat decline " + aChat, "end": "chat end " + aChat, "hand": `chat hand ` + aChat + ` to "u-lin": 她只会说本地话`, "seen": "chat seen " + aChat + " 5"} {
		if a := b.post("/me/chats/"+aChat+"/"+act, url.Values{"to": {"u-lin"}, "why": {"她只会说本地话"}, "seq": {"5"}}); a.status >= 400 {
			t.Errorf("%s: %d", act, a.status)
		}
		if d := h.deeds(); !strings.HasSuffix(d[len(d)-1], want) {
			t.Errorf("%s did %q", act, d[len(d)-1])
		}
	}
	if a := b.post("/me/chats/"+aChat+"/seen", url.Values{"seq": {"5x"}}); a.status != http.StatusConflict {
		t.Errorf("seen without a number: %d", a.status)
	}
}

// A grid worker's acts: each once, none without what it needs, none of somebody else's, and nobody's number on any page.
func TestWorkerActs(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.GridWorker)
	act := func(f url.Values) answer { return b.post("/grid/acts", f, "X-Part", "1") }
	f := func(kind, text string) url.Values {
		return url.Values{"id": {aKey}, "kind": {kind}, "case": {aCase}, "text": {text}, "for": {string(h.who[users.GridWorker].ID)}, "at": {noon.Add(-time.Hour).Format(time.RFC3339)}}
	}
	for kind, sentence := range map[string]string{"answer": "请写下怎么办的", "return": "请写下为什么退回", "note": "请写点什么", "report": "请写下看到了什么", "nonsense": "请选一项"} {
		if a := act(f(kind, "")); a.status != http.StatusUnprocessableEntity || !strings.Contains(a.body, sentence) {
			t.Errorf("%s without words: %d %s", kind, a.status, a.body)
		}
	}
	n := len(h.deeds())
	for i := range 3 {
		if a := act(f("met", "他在家")); a.status != http.StatusOK || strings.Contains(a.body, `"again":true`) != (i > 0) {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if d := h.deeds()[n:]; len(d) != 1 || d[0] != "陆建平 worker met "+aCase+" 他在家" {
		t.Errorf("%q", d)
	}
	other := f("met", "x")
	other.Set("for", "somebody else")
	if a := act(other); a.status != http.StatusConflict {
		t.Errorf("somebody else's act: %d", a.status)
	}
	h.set(func() { h.refuse = ErrNotFound })
	other = f("answer", "x")
	other.Set("id", strings.Replace(aKey, "f1", "f2", 1))
	if a := act(other); a.status != http.StatusUnprocessableEntity {
		t.Errorf("a case that is theirs no more: %d", a.status)
	}
	h.set(func() { h.refuse = http.ErrServerClosed })
	if a := act(other); a.status != http.StatusServiceUnavailable {
		t.Errorf("trouble of ours must be tried again: %d", a.status)
	}
	h.set(func() { h.refuse = nil })
	for _, p := range []string{"/grid", "/grid/" + aVisit, "/grid/" + aCase, "/grid/new"} {
		if a := b.get(p); a.status != 200 || strings.Contains(a.body, "****") || strings.Contains(a.body, "13800005678") || strings.Contains(a.body, "tel:") {
			t.Errorf("%s: %d, or a number is on it", p, a.status)
		}
	}
	h.set(func() { h.noSIP = true })
	if a := b.get("/grid/" + aVisit); !strings.Contains(a.body, "没有登记在热线上") || strings.Contains(a.body, "/call") {
		t.Error("without a phone on the hotline the page must say so and offer no call")
	}
	if a := b.post("/grid/"+aVisit+"/call", nil); a.status != http.StatusConflict {
		t.Errorf("a call without a phone: %d", a.status)
	}
	sw := h.stranger().get("/grid/offline.js")
	if sw.header.Get("Service-Worker-Allowed") != "/grid" || !strings.Contains(sw.body, assets.URL("worker.css")) {
		t.Errorf("the service worker: %v", sw.header)
	}
}
