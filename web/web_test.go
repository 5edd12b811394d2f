package web

import (
	"bufio"
	"errors"
	"flag"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"yingda/internal/pii"
	"yingda/internal/users"
	"yingda/web/assets"
	"yingda/web/words"
)

var update = flag.Bool("update", false, "write the golden files anew")

// path fills the wildcards of a pattern.
func (rt route) path() (method, path string) {
	method, path, _ = strings.Cut(rt.pattern, " ")
	path = strings.ReplaceAll(path, "{$}", "")
	if strings.Contains(path, "/lines/") {
		path = strings.ReplaceAll(path, "{id}", "pm")
	}
	return method, strings.ReplaceAll(path, "{id}", "0192-8f3a-2")
}

// Every way in times every role: what the one table says is what happens, and a stranger gets nowhere.
func TestEveryRouteForEveryRole(t *testing.T) {
	h := newHouse(t)
	mark := h.as(users.Administrator)
	victim, _, err := h.book.Create(t.Context(), users.Fresh{Login: "victim", Name: "甲", Role: users.Operator})
	if err != nil {
		t.Fatal(err)
	}
	_ = mark
	people := map[users.Role]*browser{}
	for _, r := range users.Roles() {
		people[r] = h.as(r)
	}
	stranger := h.stranger()
	forms := map[string]url.Values{}
	for _, rt := range h.srv.routes {
		method, path := rt.path()
		if strings.HasPrefix(path, "/users/") {
			path = strings.ReplaceAll(path, "0192-8f3a-2", string(victim.ID))
		}
		if strings.HasPrefix(path, "/live/") || path == "/sign-out" || path == "/sign-in" {
			continue // streams do not end by themselves; they have tests of their own, and share show's deed
		}
		deeds := len(h.deeds())
		a := stranger.do(method, path, nil)
		switch {
		case rt.anyone:
		case method == "GET" && !rt.api:
			if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/sign-in?next=") {
				t.Errorf("%s: a stranger got %d", rt.pattern, a.status)
			}
		case a.status != http.StatusUnauthorized:
			t.Errorf("%s: a stranger got %d", rt.pattern, a.status)
		}
		if len(h.deeds()) != deeds {
			t.Errorf("%s: a stranger did something", rt.pattern)
		}
		for r, b := range people {
			if path == "/password" && method == "POST" {
				continue
			}
			f := forms[rt.pattern]
			var a answer
			if method == "POST" {
				a = b.post(path, f)
			} else {
				a = b.get(path)
			}
			may := rt.anyone || rt.signedIn || users.May(r, rt.deed)
			if refused := a.status == http.StatusForbidden; refused == may {
				t.Errorf("%s for %s: got %d, and the table says %v", rt.pattern, r, a.status, may)
			}
			if may && a.status >= 500 {
				t.Errorf("%s for %s: got %d\n%s", rt.pattern, r, a.status, a.body)
			}
		}
	}
	for _, rt := range h.srv.routes {
		if n := strings.Count(rt.pattern, " "); n != 1 {
			t.Errorf("%q is no pattern", rt.pattern)
		}
		if given := btoi(rt.deed != "") + btoi(rt.anyone) + btoi(rt.signedIn); given != 1 {
			t.Errorf("%s: exactly one of deed, anyone, signedIn must say who may", rt.pattern)
		}
		if rt.deed != "" && !slices.Contains(users.Deeds(), rt.deed) {
			t.Errorf("%s: %q is not in the table", rt.pattern, rt.deed)
		}
		if live, ok := strings.CutPrefix(rt.pattern, "GET /live"); ok {
			i := slices.IndexFunc(h.srv.routes, func(o route) bool { return o.pattern == "GET "+live })
			if i < 0 || h.srv.routes[i].deed != rt.deed {
				t.Errorf("%s asks for another deed than its page", rt.pattern)
			}
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestHeaders(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	check := func(a answer, path, cache string) {
		t.Helper()
		for k, want := range map[string]string{"X-Content-Type-Options": "nosniff", "X-Frame-Options": "DENY", "Cache-Control": cache, "Referrer-Policy": "same-origin"} {
			if got := a.header.Get(k); got != want {
				t.Errorf("%s: %s is %q, want %q", path, k, got, want)
			}
		}
		csp := a.header.Get("Content-Security-Policy")
		if !strings.Contains(csp, "default-src 'self'") || !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy is %q", path, csp)
		}
	}
	for _, p := range []string{"/sign-in", "/unreturned", "/wall", "/nowhere", "/api/v1/contacts", "/contacts/none"} {
		a := b.get(p)
		check(a, p, "no-store")
		if regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style|\son[a-z]+=|\sstyle=|javascript:`).MatchString(a.body) {
			t.Errorf("%s has something inline", p)
		}
	}
	for _, name := range []string{"app.css", "live.js", "idiomorph.js", "sprite.svg"} {
		a := h.stranger().get(assets.URL(name))
		check(a, name, "public, max-age=31536000, immutable")
		if a.status != 200 || a.body == "" {
			t.Errorf("%s: %d", name, a.status)
		}
		if strings.Contains(a.body, "http://") && name == "app.css" || regexp.MustCompile(`\beval\(|new Function|@import|https?://(?:[^w]|w[^w])`).MatchString(a.body) {
			t.Errorf("%s evaluates text or fetches from elsewhere", name)
		}
	}
	if a := h.stranger().get("/assets/app.000000000000.css"); a.status != 404 {
		t.Errorf("an old address gave %d", a.status)
	}
}

func TestForeignForms(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	deeds := func() int { return len(h.deeds()) }
	other := h.as(users.Operator).csrf
	before := deeds()
	refused := func(name string, a answer) {
		t.Helper()
		if a.status != http.StatusForbidden || deeds() != before {
			t.Errorf("%s: got %d, %d deeds more", name, a.status, deeds()-before)
		}
	}
	refused("no token", b.post("/unreturned/cb-2/take", url.Values{"csrf": {""}}))
	refused("a wrong token", b.post("/unreturned/cb-2/take", url.Values{"csrf": {strings.Repeat("x", len(b.csrf))}}))
	refused("another person's token", b.post("/unreturned/cb-2/take", url.Values{"csrf": {other}}))
	refused("another site", b.post("/unreturned/cb-2/take", nil, "Sec-Fetch-Site", "cross-site"))
	refused("another origin", b.post("/unreturned/cb-2/take", nil, "Origin", "https://elsewhere.example"))
	if a := b.do("GET", "/unreturned/cb-2/take", nil); a.status < 400 || deeds() != before {
		t.Errorf("a GET changed something: %d", a.status)
	}
	if a := b.post("/unreturned/cb-2/take", nil); a.status != http.StatusSeeOther || deeds() != before+1 {
		t.Errorf("our own form: %d", a.status)
	}
	if a := b.post("/contacts/x/case", url.Values{"words": {strings.Repeat("长", maxBody)}}); a.status != http.StatusRequestEntityTooLarge {
		t.Errorf("too large a form: %d", a.status)
	}
	if a := b.get("/unreturned?x=" + strings.Repeat("y", maxPath)); a.status != http.StatusRequestURITooLong {
		t.Errorf("too long an address: %d", a.status)
	}
	if a := b.post("/unreturned/cb-2/take", url.Values{"back": {"//elsewhere.example/"}}); a.header.Get("Location") != "/unreturned?said=taken" {
		t.Errorf("sent to %q", a.header.Get("Location"))
	}
	// Signing somebody in from elsewhere.
	s := h.stranger()
	if a := s.post("/sign-in", url.Values{"login": {"operator"}, "password": {secret}, "csrf": {"guessed"}}); a.status != http.StatusForbidden {
		t.Errorf("signed in without the form's cookie: %d", a.status)
	}
}

func TestSigningIn(t *testing.T) {
	h := newHouse(t)
	b := h.stranger()
	a := b.in("supervisor", "wrong", "")
	if a.status != http.StatusUnauthorized || !strings.Contains(a.body, words.Chinese.T("signin.wrong")) {
		t.Errorf("a wrong password gave %d", a.status)
	}
	for range 5 {
		a = b.in("supervisor", "wrong", "")
	}
	if a.status != http.StatusTooManyRequests {
		t.Errorf("six wrong passwords gave %d", a.status)
	}
	h.set(func() { h.now = h.now.Add(time.Hour) })
	a = b.in("supervisor", secret, "")
	c := a.header.Get("Set-Cookie") + strings.Join(a.header.Values("Set-Cookie"), ";")
	if a.status != http.StatusSeeOther || !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") {
		t.Fatalf("%d %s", a.status, c)
	}
	if a.header.Get("Location") != "/unreturned" {
		t.Errorf("a supervisor begins at %s", a.header.Get("Location"))
	}

	// A one-time password opens only its own change.
	u, one, _ := h.book.Create(t.Context(), users.Fresh{Login: "fresh", Name: "新人", Role: users.Operator})
	f := h.stranger()
	f.in("fresh", one, "")
	page := f.get("/password")
	_, rest, _ := strings.Cut(page.body, `name="csrf" content="`)
	f.csrf, _, _ = strings.Cut(rest, `"`)
	if got := f.get("/me").header.Get("Location"); got != "/password" {
		t.Errorf("with a one-time password /me gave %q", got)
	}
	if got := f.post("/unreturned/cb-1/take", nil); got.header.Get("Location") != "/password" {
		t.Errorf("with a one-time password a deed gave %d", got.status)
	}
	if a := f.post("/password", url.Values{"old": {one}, "new": {secret}, "again": {secret + "x"}}); a.status != http.StatusUnprocessableEntity {
		t.Errorf("two different passwords gave %d", a.status)
	}
	if a := f.post("/password", url.Values{"old": {one}, "new": {secret}, "again": {secret}}); a.header.Get("Location") != "/me?said=password" {
		t.Errorf("the change gave %d %s", a.status, a.header.Get("Location"))
	}
	if a := f.get("/me?said=password"); a.status != 200 || !strings.Contains(a.body, words.Chinese.T("said.password")) {
		t.Errorf("after the change: %d", a.status)
	}
	if err := h.book.Disable(t.Context(), u.ID); err != nil {
		t.Fatal(err)
	}
	if a := f.get("/me"); !strings.HasPrefix(a.header.Get("Location"), "/sign-in") {
		t.Errorf("a closed account still sees its desk: %d", a.status)
	}

	// A wall sees the board, for months, and nothing else.
	w := h.stranger()
	if a := w.in("supervisor", secret, "1"); a.header.Get("Location") != "/wall" {
		t.Fatalf("a wall begins at %s", a.header.Get("Location"))
	}
	h.set(func() { h.now = h.now.AddDate(0, 2, 0) })
	if a := w.get("/wall"); a.status != 200 {
		t.Errorf("the wall after two months: %d", a.status)
	}
	if a := w.get("/unreturned"); a.status != http.StatusForbidden {
		t.Errorf("a wall opened the list: %d", a.status)
	}
	// Next is a page of ours or none.
	for next, want := range map[string]string{"/cases": "/cases", "//e.example": "/unreturned", "https://e.example": "/unreturned", `/\e.example`: "/unreturned"} {
		s := h.stranger()
		_, rest, _ := strings.Cut(s.get("/sign-in?next="+url.QueryEscape(next)).body, `name="csrf" value="`)
		token, _, _ := strings.Cut(rest, `"`)
		a := s.post("/sign-in", url.Values{"login": {"supervisor"}, "password": {secret}, "csrf": {token}, "next": {next}})
		if got := a.header.Get("Location"); got != want {
			t.Errorf("next %q led to %q", next, got)
		}
	}
	// Out is out.
	out := h.as(users.Supervisor)
	out.post("/sign-out", nil)
	if a := out.get("/unreturned"); a.status != http.StatusSeeOther {
		t.Errorf("after signing out: %d", a.status)
	}
}

func TestDeeds(t *testing.T) {
	h := newHouse(t)
	sup, op, gw := h.as(users.Supervisor), h.as(users.Operator), h.as(users.GridWorker)
	did := func(b *browser, path string, f url.Values, want, location string) {
		t.Helper()
		n := len(h.deeds())
		a := b.post(path, f)
		d := h.deeds()[n:]
		if want == "" {
			if len(d) > 0 || a.status < 400 {
				t.Errorf("%s: did %q, got %d", path, d, a.status)
			}
			return
		}
		if len(d) != 1 || strings.TrimSpace(d[0]) != strings.TrimSpace(want) {
			t.Errorf("%s: did %q, want %q (%d)", path, d, want, a.status)
		}
		if location != "" && a.header.Get("Location") != location {
			t.Errorf("%s: led to %q, want %q", path, a.header.Get("Location"), location)
		}
	}
	did(op, "/unreturned/cb-2/call", nil, "许航 call cb-2", "/unreturned?said=calling")
	did(op, "/unreturned/cb-2/take", url.Values{"back": {"/me"}}, "许航 take cb-2", "/me?said=taken")
	did(op, "/unreturned/cb-2/release", nil, "许航 release cb-2", "/unreturned?said=released")
	did(sup, "/unreturned/cb-2/assign", url.Values{"to": {"u-lin"}}, "周敏 assign cb-2 u-lin", "/unreturned?said=assigned")
	did(sup, "/unreturned/cb-2/assign", nil, "", "")
	did(sup, "/unreturned/cb-2/close", url.Values{"reason": {"test_call"}}, "周敏 close cb-2 test_call ", "/unreturned?said=closed")
	did(sup, "/unreturned/cb-2/close", url.Values{"reason": {"because"}}, "", "")
	did(sup, "/unreturned/cb-2/close", url.Values{"reason": {"other"}}, "", "")
	did(op, "/unreturned/cb-2/visit", url.Values{"words": {"电话没人接"}}, "许航 visit cb-2 电话没人接", "/unreturned?said=visit")
	did(op, "/me/break", url.Values{"reason": {"meal"}}, "许航 break meal", "/me")
	did(op, "/me/break", url.Values{"reason": {"holiday"}}, "", "")
	did(op, "/me/ready", nil, "许航 ready", "/me")
	did(op, "/contacts/abc/case", url.Values{"words": {"灯不亮"}, "address": {"梅苑 3 号楼"}, "category": {"light"}, "next": {"dispatch"}},
		"许航 open case on abc: 灯不亮 at 梅苑 3 号楼, light   dispatch", "/cases/01928f3a-0000-7000-8000-0000000000c1?from=abc&said=case")
	did(op, "/contacts/abc/case", url.Values{"words": {" "}, "next": {"dispatch"}}, "", "")
	did(op, "/contacts/abc/case", url.Values{"words": {"灯"}, "next": {"close"}}, "", "")
	did(op, "/contacts/abc/case", url.Values{"words": {"灯"}, "next": {"burn"}}, "", "")
	did(gw, "/cases/c1/accept", nil, "陆建平 accept c1      ", "/cases/c1?said=act")
	did(gw, "/cases/c1/answer", url.Values{"text": {"换了灯"}}, "陆建平 answer c1 换了灯    ", "")
	did(gw, "/cases/c1/answer", nil, "", "")
	did(gw, "/cases/c1/close", url.Values{"result": {"solved"}, "known": {"seen"}}, "", "")
	did(sup, "/cases/c1/close", url.Values{"result": {"solved"}, "known": {"seen"}}, "周敏 close c1   solved seen", "")
	did(sup, "/cases/c1/close", url.Values{"result": {"solved"}}, "", "")
	did(sup, "/cases/c1/extend", url.Values{"until": {"2026-11-23T10:00"}, "why": {"等配件"}}, "", "")
	did(sup, "/cases/c1/extend", url.Values{"until": {"2026-11-26T10:00"}, "why": {"等配件"}}, "周敏 extend c1 等配件    ", "")
	did(sup, "/cases/c1/route", url.Values{"grid": {"MY03"}, "dept": {"cg"}, "why": {"x"}}, "", "")
	did(sup, "/cases/c1/route", url.Values{"grid": {"MY03"}, "why": {"x"}}, "周敏 route c1 x MY03   ", "")
	admin := h.as(users.Administrator)
	line := url.Values{"name": {"便民热线"}, "numbers": {"12345，05125550100"}, "hours": {"24h"}, "max_wait": {"300"}, "switchboard": {"main"}}
	did(admin, "/lines/pm", line, "管理员 save line pm 便民热线 [12345 05125550100] 24h 5m0s", "/lines?said=line")
	line.Set("hours", "wrong")
	did(admin, "/lines/pm", line, "", "")
	line.Set("hours", "24h")
	line.Set("ring", "500")
	did(admin, "/lines/pm", line, "", "")

	// What a person tried and cannot have is said in a sentence, with the way back.
	for err, key := range map[error]string{ErrBusy: "error.busy", ErrGone: "error.gone", ErrNoPhone: "error.no_phone", ErrOnCall: "error.on_call", errors.New("pipe burst"): "error.fault"} {
		h.set(func() { h.refuse = err })
		a := op.post("/unreturned/cb-2/call", url.Values{"back": {"/me"}})
		if a.status < 400 || !strings.Contains(a.body, words.Chinese.T(key+".text")) || !strings.Contains(a.body, `href="/me"`) || strings.Contains(a.body, "pipe burst") {
			t.Errorf("%v: got %d", err, a.status)
		}
	}
	h.set(func() { h.refuse = Refusal{"已经派给 <梅苑 03> 了"} })
	if a := gw.post("/cases/c1/accept", nil); a.status != http.StatusConflict || !strings.Contains(a.body, "已经派给 &lt;梅苑 03&gt; 了") {
		t.Errorf("a refusal: %d", a.status)
	}
}

func TestReveal(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	const clear = "13800005678"
	if a := b.get("/contacts/abc"); strings.Contains(a.body, clear) || !strings.Contains(a.body, "138****5678") {
		t.Error("the page shows the number before anybody asked")
	}
	if a := b.post("/contacts/abc/reveal", url.Values{"reason": {"curious"}}); a.status != http.StatusConflict || strings.Contains(a.body, clear) {
		t.Errorf("without a reason: %d", a.status)
	}
	a := b.post("/contacts/abc/reveal", url.Values{"reason": {"call_back"}, "words": {"她让我打"}})
	if a.status != 200 || !strings.Contains(a.body, clear) || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("with a reason: %d", a.status)
	}
	if d := h.deeds(); d[len(d)-1] != "周敏 reveal abc call_back: 她让我打" {
		t.Errorf("written down: %q", d[len(d)-1])
	}
	h.set(func() { h.refuse = errors.New("the audit log does not write") })
	if a := b.post("/contacts/abc/reveal", url.Values{"reason": {"call_back"}}); strings.Contains(a.body, clear) || a.status != http.StatusServiceUnavailable {
		t.Errorf("not written down, and still shown: %d", a.status)
	}
}

func TestRecording(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Auditor)
	last := func() string { d := h.deeds(); return d[len(d)-1] }
	a := b.get("/contacts/abc/recording")
	if a.status != 200 || len(a.body) != len(tone()) || a.header.Get("Content-Type") != "audio/wav" || last() != "顾审 played abc rec-1 0s–1s" {
		t.Errorf("whole: %d, %d bytes, %q", a.status, len(a.body), last())
	}
	a = b.get("/contacts/abc/recording", "Range", "bytes=16022-")
	if a.status != 206 || last() != "顾审 played abc rec-1 500ms–1s" {
		t.Errorf("second half: %d, %q", a.status, last())
	}
	n := len(h.deeds())
	h.set(func() { h.refuse = errors.New("the audit log does not write") })
	if a := b.get("/contacts/abc/recording"); a.status == 200 || strings.HasPrefix(a.body, "RIFF") || len(h.deeds()) != n {
		t.Errorf("not written down, and still sent: %d", a.status)
	}
	h.set(func() { h.refuse = nil })
	if a := b.get("/contacts/silent/recording"); a.status != 404 {
		t.Errorf("none: %d", a.status)
	}
	test := func(header string, from, to int64) {
		t.Helper()
		if f, e := byteRange(header, 1000); f != from || e != to {
			t.Errorf("%q is %d–%d, want %d–%d", header, f, e, from, to)
		}
	}
	test("", 0, 1000)
	test("bytes=0-", 0, 1000)
	test("bytes=100-199", 100, 200)
	test("bytes=-100", 900, 1000)
	test("bytes=5-99999999", 5, 1000)
	test("bytes=1-2,5-9", 0, 1000)
	test("bytes=x-y", 0, 1000)
	test("bytes=9-2", 9, 9)
	test("bytes=x--4", 0, 1000)
	test("bytes=5-9223372036854775807", 5, 1000) // the end, and no overflow
}

// hurts are texts that would do something if any page let them.
var hurts = []string{
	`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'><svg/onload=alert(1)>`, `javascript:alert(1)`, `" onmouseover="alert(1)`, `</title><script>alert(1)</script>`,
	`</textarea><script>alert(1)</script>`, `{{constructor.constructor('alert(1)')()}}`, `<iframe srcdoc="<script>alert(1)</script>">`, `<a href="javascript:alert(1)">x</a>`, "\u202e<b>gnp.exe", `<!--<script>`,
	`<math><mtext></p><style><img title="</style><img src onerror=alert(1)>">`, `&lt;script&gt;alert(1)&lt;/script&gt;`, "\x00<script>alert(1)</script>", `]]><script>alert(1)</script>`, `<base href="https://evil.example/">`,
	`<form action="https://evil.example/"><button>`, `<meta http-equiv=refresh content="0;url=https://evil.example/">`, "a\r\nevent: bye\r\ndata: x\r\n\r\n",
}

// Whatever residents, trunks and colleagues put into a text stays text, on every page.
func TestHostileText(t *testing.T) {
	h := newHouse(t)
	b, admin := h.as(users.Supervisor), h.as(users.Administrator)
	paths := []string{"/wall", "/unreturned", "/contacts", "/contacts?figure=x&part=miss", "/contacts/abc", "/contacts/silent", "/contacts/missing", "/cases", "/cases/c1", "/lines", "/me", "/search?q=x"}
	evil := regexp.MustCompile(`(?i)<(script|iframe|style|base|math|form action="https|meta http)[^>]*>?`)
	ours := regexp.MustCompile(`(?i)<(script src="/assets/[a-z0-9.]+" defer></script>|meta (charset|name))`)
	for _, hurt := range hurts {
		h.set(func() { h.hurt = hurt })
		check := func(path, body string) {
			t.Helper()
			for _, m := range evil.FindAllStringIndex(body, -1) {
				if !ours.MatchString(body[m[0]:]) {
					t.Errorf("%s lets %q through: …%s…", path, hurt, body[m[0]:min(len(body), m[1]+40)])
				}
			}
			for _, attr := range regexp.MustCompile(`<[a-z]+ [^>]*>`).FindAllString(body, -1) {
				if regexp.MustCompile(`(?i)\son[a-z]+\s*=`).MatchString(regexp.MustCompile(`"[^"]*"`).ReplaceAllString(attr, `""`)) || regexp.MustCompile(`(?i)(href|src|action|data-live|data-asks)="\s*javascript:`).MatchString(attr) {
					t.Errorf("%s: %s", path, attr)
				}
			}
			if strings.ContainsAny(body, "\u202e\x00") {
				t.Errorf("%s: a mark that turns writing around, or a NUL, got through from %q", path, hurt)
			}
		}
		for _, p := range paths {
			a := b.get(p)
			if a.status != 200 {
				t.Fatalf("%s: %d", p, a.status)
			}
			check(p, a.body)
		}
		check("form", b.post("/contacts/abc/case", url.Values{"words": {hurt}, "address": {hurt}, "next": {"close"}}).body)
		check("proposal", b.post("/contacts/abc/propose", url.Values{"words": {hurt}, "address": {hurt}}, "X-Part", "1").body)
		check("search", b.post("/search", url.Values{"q": {hurt}}).body)
		check("line", admin.post("/lines/pm", url.Values{"name": {hurt}, "numbers": {hurt}, "hours": {"wrong"}, "owner": {hurt}}).body)
		check("user", admin.post("/users", url.Values{"login": {hurt}, "name": {hurt}, "role": {"operator"}}).body)
		check("sign-in", h.stranger().get("/sign-in?next="+url.QueryEscape(hurt)).body)
	}
}

// A part in the stream cannot break out of its event.
func TestStreamOfHostileText(t *testing.T) {
	h := newHouse(t)
	h.hurt = "a\r\nevent: bye\ndata: x\n\n"
	s := h.as(users.Supervisor).stream("/live/contacts/abc") // what a resident wrote stands in the form, with its lines
	if kind, data := s.next(); kind != "part" || !strings.Contains(data, "event: bye\ndata: x") {
		t.Fatalf("got %s %s", kind, data)
	}
	if kind, _ := s.next(); kind != "end" {
		t.Fatalf("a text made the event %q", kind)
	}
	s = h.as(users.Supervisor).stream("/live/unreturned")
	if kind, data := s.next(); kind != "part" || !strings.Contains(data, "王阿姨") {
		t.Fatalf("got %s", kind)
	}
	h.set(func() { h.hurt, h.people = "", 0 })
	for {
		kind, data := s.next()
		if kind == "bye" {
			t.Fatal("a text ended the stream")
		}
		if kind == "part" {
			if strings.Contains(data, "王阿姨") {
				t.Fatal("the part did not change")
			}
			return
		}
	}
}

type stream struct {
	*browser
	in   *bufio.Scanner
	stop func() error
}

func (b *browser) stream(path string) *stream {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), "GET", b.http.URL+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	res, err := b.c.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		b.Fatalf("%s: %d %s", path, res.StatusCode, res.Header.Get("Content-Type"))
	}
	b.Cleanup(func() { _ = res.Body.Close() })
	in := bufio.NewScanner(res.Body)
	in.Buffer(nil, 4<<20)
	return &stream{b, in, res.Body.Close}
}

// next event; "" at the end.
func (s *stream) next() (kind, data string) {
	for s.in.Scan() {
		line := s.in.Text()
		switch {
		case line == "":
			return kind, data
		case strings.HasPrefix(line, "event: "):
			kind = line[7:]
		case strings.HasPrefix(line, "data: "):
			data += line[6:] + "\n"
		}
	}
	return "", ""
}

func TestStreamEnds(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Operator)
	s := b.stream("/live/wall")
	if kind, _ := s.next(); kind != "part" {
		t.Fatal(kind)
	}
	if err := h.book.Disable(t.Context(), h.who[users.Operator].ID); err != nil {
		t.Fatal(err)
	}
	for kind := "x"; kind != "bye"; { // a closed account's pages end within seconds
		if kind, _ = s.next(); kind == "" {
			t.Fatal("ended without a word")
		}
	}
	s = h.as(users.Supervisor).stream("/live/contacts")
	kinds := ""
	for {
		kind, _ := s.next()
		if kind == "" {
			break
		}
		kinds += kind + " "
	}
	if kinds != "part end " {
		t.Errorf("a page that does not change sent %q", kinds)
	}
	s = h.as(users.Supervisor).stream("/live/wall")
	s.next()
	h.srv.Close()
	for kind := "x"; kind != ""; {
		kind, _ = s.next()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.listen) != 0 {
		t.Errorf("%d streams still listen", len(h.listen))
	}
}

func TestListKeptForBadTimes(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	b.get("/unreturned")
	h.set(func() { h.fail, h.now = errors.New("gone"), h.now.Add(11*time.Minute) })
	a := b.get("/unreturned")
	if a.status != http.StatusServiceUnavailable || !strings.Contains(a.body, "14:32 存下的名单") || strings.Contains(a.body, "王阿姨") {
		t.Errorf("%d", a.status)
	}
	a = b.get("/unreturned?saved=1")
	if a.status != 200 || !strings.Contains(a.body, "王阿姨") || !strings.Contains(a.body, "这是 14:32 存下的名单") {
		t.Errorf("kept list: %d", a.status)
	}
	if a := b.get("/wall"); a.status != http.StatusServiceUnavailable || strings.Contains(a.body, "93.5") {
		t.Errorf("wall: %d", a.status)
	}
	if strings.Contains(h.logs.String(), "王阿姨") || strings.Contains(h.logs.String(), "13800005678") {
		t.Error("a person is in the logs")
	}
}

func TestPanic(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	h.srv.o.Contacts, h.srv.o.Callbacks = nil, nil
	for _, a := range []answer{b.get("/contacts"), b.post("/unreturned/cb-1/take", nil)} {
		if a.status < 500 || strings.Contains(a.body, "nil pointer") || !strings.Contains(a.body, "<html") {
			t.Errorf("%d %s", a.status, a.body)
		}
	}
	if a := b.get("/unreturned"); a.status != 200 {
		t.Errorf("others are disturbed: %d", a.status)
	}
}

func TestFiltersReachTheOffice(t *testing.T) {
	h := newHouse(t)
	b := h.as(users.Supervisor)
	asked := func() any { h.mu.Lock(); defer h.mu.Unlock(); return h.asked[len(h.asked)-1] }
	b.get("/unreturned?cause=abandoned_queue&line=pm&grid=MY03&age=4h&who=nobody")
	if got, want := asked(), (UnreturnedFilter{"abandoned_queue", "pm", "MY03", 4 * time.Hour, time.Hour, "nobody"}); got != want {
		t.Errorf("%+v", got)
	}
	b.get("/contacts?from=2026-11-24&to=2026-11-24&outcome=answered&state=lost&figure=caller_reached&part=miss&channel=fax&after=c")
	if got, want := asked(), (ContactFilter{From: noon.Add(-14*time.Hour - 32*time.Minute - 7*time.Second), To: noon.Add(9*time.Hour + 27*time.Minute + 53*time.Second), Outcome: "answered", State: "lost", Figure: "caller_reached", Part: "miss", After: "c", Limit: 50}); !sameFilter(got.(ContactFilter), want) {
		t.Errorf("%+v", got)
	}
	b.post("/search", url.Values{"q": {"  楼道灯 "}, "kind": {"case"}, "owed": {"1"}, "page": {"3"}})
	if got, want := asked(), (Query{Text: "楼道灯", Kind: "case", Owed: true, Page: 3}); got != want {
		t.Errorf("%+v", got)
	}
}

func sameFilter(a, b ContactFilter) bool {
	same := a.From.Equal(b.From) && a.To.Equal(b.To)
	a.From, a.To, b.From, b.To = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return same && a == b
}

func TestSecretCase(t *testing.T) {
	h := newHouse(t)
	if a := h.as(users.GridWorker).get("/cases/secret"); strings.Contains(a.body, "王阿姨") || strings.Contains(a.body, "138****5678") || !strings.Contains(a.body, "梅苑小区") {
		t.Error("a grid worker sees who complained, or not where")
	}
	if a := h.as(users.Auditor).get("/cases/secret"); strings.Contains(a.body, "王阿姨") || strings.Contains(a.body, `href="/contacts/0`) {
		t.Error("an auditor sees who complained")
	}
	if a := h.as(users.Supervisor).get("/cases/secret"); !strings.Contains(a.body, "王阿姨") {
		t.Error("a supervisor does not see who complained")
	}
	if a := h.as(users.GridWorker).get("/cases/c1"); strings.Contains(a.body, `href="/contacts/`) || strings.Contains(a.body, "/close") {
		t.Error("a grid worker is shown what they may not do")
	}
}

// Each message that a page asks for by a fixed key is there, and each of a closed list too.
func TestNothingUnsaid(t *testing.T) {
	files, _ := filepath.Glob("*.templ")
	more, _ := filepath.Glob("*.go")
	asked := regexp.MustCompile(`(?:\.T|\.Say|Error\(|say\(|bare\(|bareWords\()\(?(?:[a-z.]+, )*"([a-z]+(?:\.[a-z_]+)+)"`)
	n := 0
	for _, f := range append(files, more...) {
		if strings.HasSuffix(f, "_test.go") || strings.HasSuffix(f, "_templ.go") {
			continue
		}
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range asked.FindAllStringSubmatch(string(raw), -1) {
			n++
			if key := m[1]; !words.Chinese.Has(key) && !words.Chinese.Has(key+".head") && !strings.HasSuffix(key, ".") {
				t.Errorf("%s asks for %q", f, key)
			}
		}
	}
	if n < 200 {
		t.Errorf("only %d messages were found", n)
	}
	for prefix, list := range closedLists() {
		for _, k := range list {
			if !words.Chinese.Has(prefix + k) {
				t.Errorf("there is no %s%s", prefix, k)
			}
		}
	}
}

func FuzzPlain(f *testing.F) {
	for _, s := range hurts {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := plain(s)
		if strings.ContainsAny(p, "\n\r\t\x00\u202e\u2066\u200f") || plain(p) != p {
			t.Fatalf("%q", p)
		}
		if from, to := byteRange("bytes="+s, 1000); from < 0 || to > 1000 || from > to {
			t.Fatalf("%q is %d–%d", s, from, to)
		}
		if l := local(s, ""); l != "" && (l[0] != '/' || strings.HasPrefix(l, "//") || strings.HasPrefix(l, `/\`)) {
			t.Fatalf("%q leads away", l)
		}
		_ = pii.NewText(s)
	})
}

type recorder struct {
	header http.Header
	status int
	body   []byte
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(s int)           { r.status = s }
func (r *recorder) Write(b []byte) (int, error) { r.body = append(r.body, b...); return len(b), nil }
