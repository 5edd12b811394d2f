package web

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/fetch"
	"github.com/chromedp/chromedp"

	"yingda/internal/users"
)

const aContact = "/contacts/01928f3a-7c11-7000-8000-000000000002"

// What changes in the office is on the page within a second; what somebody types and folds open stays, over changes, a reload and a
// restart of the server.
func TestLiveInBrowser(t *testing.T) {
	h := newHouse(t)
	c := h.chromium()
	c.size(1440, 900, false)
	c.signIn(users.Supervisor)

	c.open("/wall")
	c.until(`document.querySelector(".w-now .fig.big").textContent.startsWith("3")`)
	c.run(chromedp.Evaluate[chromedp.Void](`window.seen = 0; new MutationObserver(function () { if (!window.seen && document.querySelector("[data-asof-here]").textContent === "14:32:08") window.seen = performance.now() }).observe(document.body, { subtree: true, childList: true, characterData: true }); window.began = performance.now()`))
	h.set(func() { h.now = h.now.Add(time.Second) })
	c.until(`window.seen > 0`)
	if took := value(c, chromedp.Evaluate[float64](`window.seen - window.began`)); took > 1000 {
		t.Errorf("a change took %.0f ms to the wall", took)
	} else {
		t.Logf("a change took %.0f ms to the wall", took)
	}

	// The list is morphed: the same row is the same element, the fold stays open, and so does what is typed into it.
	c.open("/unreturned")
	c.until(`document.querySelector("#cb-cb-4 details")`)
	c.run(chromedp.Evaluate[chromedp.Void](`document.querySelector("#cb-cb-4").mark = 1`), chromedp.Click(`#cb-cb-4 details summary`), chromedp.WaitVisible(`#cb-cb-4 input[name=words]`), chromedp.SendKeys(`#cb-cb-4 input[name=words]`, "已在微信上说清"),
		chromedp.Evaluate[chromedp.Void](`document.querySelector("#cb-cb-4 select[name=reason]").value = "test_call"`), chromedp.Click(`#cb-cb-2 details summary`))
	c.until(`document.querySelector("#cb-cb-2 details").open && !document.querySelector("#cb-cb-4 details").open`) // one closes the other, and does so a moment later
	c.run(chromedp.WaitVisible(`#cb-cb-2 input[name=words]`), chromedp.SendKeys(`#cb-cb-2 input[name=words]`, "打过了"), chromedp.Evaluate[chromedp.Void](`document.querySelector("#cb-cb-4 details").open = true`))
	c.until(`document.querySelector("#cb-cb-4 details").open && !document.querySelector("#cb-cb-2 details").open`)
	c.run(chromedp.WaitVisible(`#cb-cb-4 input[name=words]`), chromedp.Focus(`#cb-cb-4 input[name=words]`))
	h.set(func() { h.people = 4 })
	c.until(`document.querySelectorAll(".people tbody tr").length === 4`)
	if got := c.eval(`document.querySelector("#cb-cb-4 input[name=words]").value + document.querySelector("#cb-cb-4 details").open + document.querySelector("#cb-cb-4").mark + (document.activeElement.name === "words") + document.querySelector("#cb-cb-4 select[name=reason]").value + document.querySelector("#cb-cb-2 input[name=words]").value`); got != "已在微信上说清true1truetest_call打过了" {
		t.Errorf("after the list changed: %q", got)
	}
	h.set(func() { h.people = 0 })
	c.until(`document.querySelector("#part h1").textContent.includes("都联系上了")`)
	h.set(func() { h.people = -1 })
	c.until(`document.querySelectorAll(".people tbody tr").length === 7`)

	// Filters go as they are chosen.
	c.run(chromedp.Evaluate[chromedp.Void](`var s = document.querySelector("select[name=line]"); s.value = "pm"; s.dispatchEvent(new Event("change", { bubbles: true }))`))
	c.until(`location.search.includes("line=pm") && document.querySelectorAll(".people tbody tr").length === 2`)

	// The small form: the grid is found as the place is written; a reload keeps the words; handing in forgets them.
	c.open(aContact)
	c.run(chromedp.SendKeys(`textarea[name=words]`, "楼道灯不亮"), chromedp.SendKeys(`input[name=address]`, "梅苑小区 3 号楼"), chromedp.Focus(`select[name=category]`))
	c.until(`document.querySelector("#proposal .grid-plate") && document.querySelector("#proposal").textContent.includes("92 %")`)
	c.run(chromedp.Reload(), chromedp.WaitReady(`textarea[name=words]`))
	c.until(`document.querySelector("textarea[name=words]").value === "楼道灯不亮" && document.querySelector("input[name=address]").value === "梅苑小区 3 号楼"`)
	c.shot("contact-written")
	c.run(chromedp.Click(`#newcase .btn.main`))
	c.until(`location.pathname.startsWith("/cases/") && document.querySelector(".notice.calm")`)
	c.open(aContact)
	if got := c.eval(`document.querySelector("textarea[name=words]").value`); got != "" {
		t.Errorf("what was handed in is still in the form: %q", got)
	}
	if d := h.deeds(); !strings.Contains(d[len(d)-1], "open case on 01928f3a-7c11-7000-8000-000000000002: 楼道灯不亮 at 梅苑小区 3 号楼") {
		t.Errorf("%q", d)
	}

	// Keyboard alone: the fold, a reason, and the number, which is gone with the page.
	c.run(chromedp.Focus(`.numrow summary`), chromedp.KeyEvent("\r"), chromedp.WaitVisible(`.numrow select[name=reason]`))
	c.shot("contact-reveal")
	c.run(chromedp.Evaluate[chromedp.Void](`document.querySelector(".numrow select[name=reason]").value = "call_back"`), chromedp.Focus(`.numrow .btn.main`), chromedp.KeyEvent("\r"))
	c.until(`document.querySelector(".revealed") && document.querySelector(".revealed").textContent === "13800005678"`)
	c.shot("contact-revealed")
	c.open(aContact)
	if strings.Contains(c.eval(`document.body.textContent`), "13800005678") {
		t.Error("the number is still there")
	}

	// The recording plays; pausing and moving by keys work.
	c.run(chromedp.Click(`[data-play]`))
	c.until(`document.querySelector("audio").currentTime > 0.05`)
	if d := h.deeds(); !strings.Contains(strings.Join(d, "\n"), "周敏 played 01928f3a-7c11-7000-8000-000000000002 rec-1 0s–1s") {
		t.Errorf("listening was not written down: %q", d)
	}
	c.run(chromedp.Focus(`[data-wave]`), chromedp.KeyEvent("\ue00c"), chromedp.Evaluate[chromedp.Void](`document.querySelector("audio").pause(); document.querySelector("audio").currentTime = .5`))
	c.until(`document.querySelector("[data-play]").getAttribute("aria-pressed") === "false"`)
	c.fine("recording")

	// Ctrl K goes to the search box, space and Alt 1 do what they say.
	c.open("/search")
	c.run(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur(); document.dispatchEvent(new KeyboardEvent("keydown", { key: "k", ctrlKey: true, bubbles: true }))`))
	if got := c.eval(`document.activeElement.name`); got != "q" {
		t.Errorf("Ctrl K leads to %q", got)
	}
	c.run(chromedp.SendKeys(`input[name=q]`, "楼道灯\r"))
	c.until(`document.querySelectorAll(".hit").length === 2`)
	if got := c.eval(`location.href`); strings.Contains(got, "q=") {
		t.Errorf("what was looked for is in the address: %s", got)
	}
	if got := c.eval(`document.querySelector("mark.guess").title`); got != "同音" {
		t.Errorf("the guess says %q", got)
	}
}

// With the server gone the page says so within seconds and hides what may be old; when it is back, so is the page, and what was typed.
func TestServerGone(t *testing.T) {
	h := newHouse(t)
	c := h.chromium()
	c.size(1920, 1080, false)
	there, err := url.Parse(h.http.URL)
	if err != nil {
		t.Fatal(err)
	}
	var gone atomic.Bool
	forward := httputil.NewSingleHostReverseProxy(there)
	forward.FlushInterval = -1
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gone.Load() {
			panic(http.ErrAbortHandler)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	h.http.URL = front.URL
	c.signIn(users.Supervisor)
	c.open("/wall")
	c.until(`document.querySelector("[data-asof-here]").textContent === "14:32:07"`)
	c.expects("ERR_", "Failed to load", "Failed to fetch")
	gone.Store(true)
	front.CloseClientConnections()
	c.until(`document.documentElement.classList.contains("stopped") && getComputedStyle(document.querySelector("#part")).visibility === "hidden" && document.querySelector(".w-stopped [data-stopped-at]").textContent === "14:32:07"`)
	c.shot("wall-gone")
	gone.Store(false)
	c.until(`!document.documentElement.classList.contains("stopped") && getComputedStyle(document.querySelector("#part")).visibility === "visible"`)
	c.size(1440, 900, false)
	c.open("/me")
	c.until(`document.querySelector(".op-desk")`)
	gone.Store(true)
	front.CloseClientConnections()
	c.until(`!document.querySelector(".stopped-notice").hidden`)
	c.shot("me-gone")
	gone.Store(false)
	c.until(`document.querySelector(".stopped-notice").hidden`)
}

// Hostile text in a real browser: no script of it runs, no page asks for anything elsewhere.
func TestHostileTextInBrowser(t *testing.T) {
	h := newHouse(t)
	c := h.chromium()
	c.size(1440, 900, false)
	c.signIn(users.Supervisor)
	requests := chromedp.Events(c.ctx, fetch.RequestPaused)
	call(c, fetch.Enable, fetch.EnableParams{})
	var elsewhere atomic.Value
	go func() {
		for e, err := range requests {
			if err != nil {
				return
			}
			if !strings.HasPrefix(e.Request.URL, h.http.URL) {
				elsewhere.Store(e.Request.URL)
			}
			_, _ = chromedp.Call(c.ctx, fetch.ContinueRequest, fetch.ContinueRequestParams{RequestID: e.RequestID})
		}
	}()
	for _, hurt := range hurts {
		h.set(func() { h.hurt = hurt + `<img src="https://evil.example/x.png">` })
		for _, p := range []string{"/unreturned", aContact, "/cases/c1", "/search?q=x"} {
			c.open(p)
			if got := c.eval(`[window.hurt, document.querySelectorAll("#part img, #part iframe, #part script, base").length].join()`); got != ",0" {
				t.Errorf("%s with %q: %s", p, hurt, got)
			}
		}
	}
	if u := elsewhere.Load(); u != nil {
		t.Errorf("a page asked for %v", u)
	}
	c.fine("hostile text")
}
