package web

import (
	"bytes"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"yingda/internal/users"
	"yingda/web/words"
)

// envelope is a letter with files, as a browser sends it.
func envelope(t *testing.T, fields url.Values, files map[string][]byte) (kind, body string) {
	t.Helper()
	var b bytes.Buffer
	m := multipart.NewWriter(&b)
	for k, v := range fields {
		if err := m.WriteField(k, v[0]); err != nil {
			t.Fatal(err)
		}
	}
	for name, raw := range files {
		w, err := m.CreateFormFile("photo", name)
		if err == nil {
			_, err = w.Write(raw)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	return m.FormDataContentType(), b.String()
}

func (b *browser) send(fields url.Values, files map[string][]byte) answer {
	b.Helper()
	kind, body := envelope(b.T, fields, files)
	return b.do("POST", "/r/write/send", strings.NewReader(body), "Content-Type", kind)
}

func aLetter() url.Values {
	return url.Values{"key": {newKey()}, "step": {"send"}, "text": {"楼道灯不亮"}, "place": {"梅苑 3 号楼"}, "phone": {"13800005678"}}
}

var pngHead = []byte("\x89PNG\r\n\x1a\n and so on")

func TestLetter(t *testing.T) {
	h := newHouse(t)
	w, b := h.sample.town(), h.stranger()
	// Three times with one key: one letter, one receipt.
	f := aLetter()
	for range 3 {
		if a := b.send(f, map[string][]byte{"a.png": pngHead}); a.status != 200 || !strings.Contains(a.body, "4827 1093") {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if len(w.order) != 1 {
		t.Errorf("three times the same letter are %d", len(w.order))
	}
	if k := w.order[0]; len(k) > 60 || strings.Contains(k, "5678") {
		t.Errorf("the key of a letter is %q", k)
	}
	// One that was changed after it had been taken is another.
	f.Set("text", "楼道灯不亮，一楼的")
	b.send(f, nil)
	if len(w.order) != 2 {
		t.Errorf("a changed letter is no letter of its own: %v", w.order)
	}
	kept := func(name string, a answer, status int, say string) {
		t.Helper()
		if a.status != status || !strings.Contains(a.body, words.Chinese.T(say)) {
			t.Errorf("%s: %d, want %d and %q\n%s", name, a.status, status, words.Chinese.T(say), a.body)
		}
		for _, v := range []string{"楼道灯不亮", "梅苑 3 号楼", "13800005678"} {
			if !strings.Contains(a.body, v) {
				t.Errorf("%s: %q is lost", name, v)
			}
		}
		if !strings.Contains(a.body, "0512-5550-0100") {
			t.Errorf("%s: the number is not in sight", name)
		}
	}
	many := map[string][]byte{}
	for i := range 7 {
		many[fmt.Sprint(i, ".png")] = pngHead
	}
	kept("seven photos", b.send(aLetter(), many), 422, "res.fault.photo.many")
	kept("no photo", b.send(aLetter(), map[string][]byte{"a.txt": []byte("words")}), 422, "res.fault.photo.type")
	kept("a huge photo", b.send(aLetter(), map[string][]byte{"a.png": append(bytes.Clone(pngHead), make([]byte, maxPhoto)...)}), 422, "res.fault.photo.size")
	kind, whole := envelope(t, aLetter(), map[string][]byte{"z.png": bytes.Repeat(pngHead, 100)})
	kept("half a letter", b.do("POST", "/r/write/send", strings.NewReader(whole[:len(whole)-300]), "Content-Type", kind), 422, "res.fault.photo.broken")
	trap := aLetter()
	trap.Set("homepage", "https://buy.example")
	kept("the trap", b.send(trap, nil), 422, "res.fault.trap")
	w.change(func() { w.fail = errors.New("the disk is gone") })
	kept("a fault", b.send(aLetter(), nil), 503, "res.fault.us")
	w.change(func() { w.fail = ErrFull })
	kept("too many people", b.send(aLetter(), nil), 503, "res.fault.full")
	w.change(func() { w.fail = nil })
	if len(w.order) != 2 {
		t.Errorf("a letter that was refused was taken: %d", len(w.order))
	}
	long := aLetter()
	long.Set("text", "楼道灯不亮"+strings.Repeat("长", maxText))
	if a := b.send(long, nil); a.status != 422 || !strings.Contains(a.body, "请删掉 5 个字") || !strings.Contains(a.body, strings.Repeat("长", maxText)) {
		t.Errorf("a long letter: %d", a.status)
	}
	if strings.Contains(h.logs.String(), "13800005678") || strings.Contains(h.logs.String(), "楼道灯") {
		t.Error("the log knows who wrote what")
	}
}

// A program that wants to ring everybody, and one that guesses at receipts, come to an end; their neighbours do not.
func TestResidentLimits(t *testing.T) {
	h := newHouse(t)
	w, b := h.sample.town(), h.stranger()
	ask := func(number string) answer { return b.post("/r/call", url.Values{"phone": {number}}) }
	for i := range 4 {
		a := ask("13800005678")
		if want := map[bool]int{true: 200, false: 429}[i < 3]; a.status != want {
			t.Errorf("asked for the %dth time: %d, want %d", i+1, a.status, want)
		}
	}
	if a := ask("+86 138 0000 5678"); a.status != 429 {
		t.Errorf("the same number written otherwise: %d", a.status)
	}
	if a := ask("13800005679"); a.status != 200 {
		t.Errorf("another number: %d", a.status)
	}
	h.set(func() { h.now = h.now.Add(21 * time.Minute) })
	if a := ask("13800005678"); a.status != 200 {
		t.Errorf("after a while: %d", a.status)
	}
	refused := 0
	for i := range 60 {
		if a := ask(fmt.Sprintf("138000%05d", i)); a.status == 429 {
			refused++
			if !strings.Contains(a.body, fmt.Sprintf("138000%05d", i)) || !strings.Contains(a.body, "0512-5550-0100") {
				t.Fatal("what was typed, or the number, is not on the page")
			}
		}
	}
	if refused < 30 || len(w.calls) > 30 {
		t.Errorf("of 60 numbers from one machine %d were refused, %d calls", refused, len(w.calls))
	}
	guesses := 0
	for i := range 50 {
		if a := b.post("/r/status", url.Values{"receipt": {"4827 1093"}, "last": {fmt.Sprintf("%04d", i)}}); a.status == 404 {
			guesses++
		}
	}
	if guesses > 6 {
		t.Errorf("%d guesses at one receipt", guesses)
	}
}

func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(100)
		a := Allowance{2, time.Minute}
		take := func(who string, want time.Duration) {
			t.Helper()
			if got := l.take(time.Now(), a, "x", who); got != want {
				t.Errorf("%s: %v, want %v", who, got, want)
			}
		}
		take("甲", 0)
		take("甲", 0)
		take("甲", time.Minute)
		take("乙", 0)
		time.Sleep(59 * time.Second)
		take("甲", time.Second)
		time.Sleep(time.Second)
		take("甲", 0)
		take("甲", time.Minute)
		time.Sleep(time.Hour)
		take("甲", 0)
		take("甲", 0)
		take("甲", time.Minute)
		for i := range 1000 {
			l.take(time.Now(), a, "x", fmt.Sprint(i))
		}
		if len(l.full) > 100 {
			t.Errorf("%d buckets are kept", len(l.full))
		}
	})
	for in, want := range map[string]string{"192.0.2.7": "192.0.2.7", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "::ffff:192.0.2.7": "::ffff:192.0.2.7", "fe80::1%eth0": "fe80::/64", "odd": "odd"} {
		if got := machine(in); got != want {
			t.Errorf("%s is machine %s, want %s", in, got, want)
		}
	}
}

// Nobody is followed: a resident's page sets no cookie but for what they chose, and the chat they began.
func TestResidentPagesKeepNothing(t *testing.T) {
	h := newHouse(t)
	b := h.stranger()
	for _, p := range []string{"/", "/r/", "/r/call", "/r/write", "/r/status", "/r/use", "/r/chat"} {
		a := b.get(p)
		if a.status != 200 || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d, sets %q", p, a.status, a.header.Get("Set-Cookie"))
		}
		if regexp.MustCompile(`(?i)<style|\son[a-z]+=|\sstyle=|javascript:`).MatchString(a.body) {
			t.Errorf("%s has something inline", p)
		}
		if !strings.Contains(a.body, `href="tel:051255500100"`) || !strings.Contains(a.body, `href="/sign-in"`) {
			t.Errorf("%s: the number, or the door for colleagues, is missing", p)
		}
	}
	if a := b.post("/r/call", url.Values{"phone": {"13800005678"}}); a.header.Get("Set-Cookie") != "" {
		t.Errorf("asking for a call sets %q", a.header.Get("Set-Cookie"))
	}
	if a := b.post("/r/write", url.Values{"step": {"text"}, "text": {"灯"}}); a.header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("a page of the letter: %q; going back would lose what is typed", a.header.Get("Cache-Control"))
	}
	if a := b.send(aLetter(), nil); a.header.Get("Cache-Control") != "no-store" || a.header.Get("Clear-Site-Data") != `"cache"` {
		t.Errorf("the receipt: %q, %q", a.header.Get("Cache-Control"), a.header.Get("Clear-Site-Data"))
	}
	for _, p := range []string{"/r/call", "/r/write/send"} {
		if a := b.post(p, aLetter(), "Sec-Fetch-Site", "cross-site"); a.status != http.StatusForbidden {
			t.Errorf("another site's form to %s: %d", p, a.status)
		}
	}
	if a := h.as(users.Supervisor).get("/"); a.header.Get("Location") != "/unreturned" {
		t.Errorf("a supervisor's / leads to %q", a.header.Get("Location"))
	}
}

// Without pages for residents the door is the colleagues' as before.
func TestNoResidentPages(t *testing.T) {
	h := newHouse(t)
	o := h.office()
	o.Residents, o.ResidentChats = nil, nil
	srv := New(h.srv.c, o)
	defer srv.Close()
	h.http.Config.Handler = srv
	b := h.stranger()
	if a := b.get("/"); a.header.Get("Location") != "/sign-in?next=%2F" {
		t.Errorf("/ leads to %q", a.header.Get("Location"))
	}
	if a := b.get("/r/"); a.status != 404 {
		t.Errorf("/r/ gave %d", a.status)
	}
}

func TestPhoneTyped(t *testing.T) {
	for in, want := range map[string]string{
		"138 0000 5678": "13800005678", "１３８－００００－５６７８": "13800005678", "(0512)5550 0100": "051255500100", "+86 13800005678": "+8613800005678", "6555 0100": "65550100",
		"1380000567": "", "138000056789": "", "110": "", "abc": "", "": "", "12345678901234567": "", "13800005678 转 3": "", "*100#12345": "",
	} {
		if got := phone(in).Reveal(); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

func FuzzResidentPhone(f *testing.F) {
	for _, s := range []string{"13800005678", "＋８６", "\x00", "０５１２—５５５０", "👵"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := phone(s)
		if !p.IsZero() && (len(digits(p.Reveal())) < 7 || strings.Trim(p.Reveal(), "+0123456789") != "") {
			t.Errorf("%q gave %q", s, p.Reveal())
		}
		_ = pretty(s)
		if u := string(tel(s)); strings.Trim(strings.TrimPrefix(u, "tel:"), "+0123456789") != "" {
			t.Errorf("%q gave the address %q", s, u)
		}
	})
}
