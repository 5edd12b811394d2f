package web

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"yingda/internal/users"
)

const historyDays = "?from=2026-11-11&to=2026-11-24"

// The supervisor's pages as they are seen: at a desk, on a phone, at 200 % zoom, in dark, in English, empty, loading, unreadable; axe finds nothing to
// say about any of them.
func TestSuperInBrowser(t *testing.T) {
	h := newHouse(t)
	c := h.chromium()
	seen := func(name string) { c.Helper(); c.shot("super-" + name); axeViolations(c, name) }
	c.size(1366, 768, false)
	c.signIn(users.Supervisor)
	pages := []struct{ name, path string }{
		{"history", "/history" + historyDays}, {"history-year", "/history?from=2025-11-25&to=2026-11-24"}, {"history-weeks", "/history?from=2026-08-27&to=2026-11-24"}, {"history-day", "/history?from=2026-11-24&to=2026-11-24"},
		{"history-table", "/history/table" + historyDays}, {"team", "/team"}, {"team-figures", "/team/figures"}, {"audit", "/audit"}, {"contacts-narrowed", "/contacts?missed=u-fang&clock=09:15-09:30&from=2026-11-24&to=2026-11-24"},
	}
	for _, p := range pages {
		c.open(p.path)
		seen(p.name)
	}
	c.size(1366, 768, true)
	for _, i := range []int{0, 5, 6, 7} {
		c.open(pages[i].path)
		seen(pages[i].name + "-dark")
	}
	c.size(683, 384, false) // 200 % zoom
	for _, i := range []int{0, 4, 5, 6, 7} {
		c.open(pages[i].path)
		seen(pages[i].name + "-zoom")
	}
	c.size(390, 844, false)
	for _, i := range []int{0, 4, 5, 6, 7} {
		c.open(pages[i].path)
		seen(pages[i].name + "-phone")
	}
	c.size(1366, 768, false)
	h.set(func() { h.state = "unknown" })
	c.open("/team")
	seen("team-unknown")
	h.set(func() { h.state, h.empty = "idle", true })
	for _, i := range []int{0, 4, 5, 6, 7} {
		c.open(pages[i].path)
		seen(pages[i].name + "-empty")
	}
	h.set(func() { h.empty = false })
	c.expects("503")
	h.set(func() { h.fail = errors.New("the disk is gone") })
	for _, i := range []int{0, 5, 7} {
		c.open(pages[i].path)
		seen(pages[i].name + "-error")
	}
	h.set(func() { h.fail = nil })
	hang := make(chan struct{})
	h.set(func() { h.hang = hang })
	c.open("/history")
	seen("history-loading")
	close(hang)
	c.until(`document.querySelector(".heat")`)
	h.set(func() { h.hang = nil })

	call(c, network.SetCookie, network.SetCookieParams{Name: "lang", Value: "en", URL: h.http.URL})
	for _, i := range []int{0, 5, 6, 7} {
		c.open(pages[i].path)
		seen(pages[i].name + "-english")
	}
	call(c, network.SetCookie, network.SetCookieParams{Name: "lang", Value: "zh-Hans", URL: h.http.URL})

	// By keyboard alone: the skip link, a preset, the table, a number that opens its list.
	c.open("/history" + historyDays)
	c.run(chromedp.KeyEvent("\t"))
	if got := c.eval(`document.activeElement.className`); got != "skip" {
		t.Errorf("the first stop is %q", got)
	}
	stops := map[string]bool{}
	for range 400 {
		c.run(chromedp.KeyEvent("\t"))
		at := c.eval(`document.activeElement === document.body ? "" : document.activeElement.closest("svg") ? "in the picture" : document.activeElement.tagName + " " + (document.activeElement.getAttribute("href") || document.activeElement.name || document.activeElement.className)`)
		if at == "" || stops["in the picture"] {
			break
		}
		stops[at] = true
	}
	for _, want := range []string{"INPUT from", "SELECT by", "DIV heatscroll", "BUTTON format"} {
		if !stops[want] {
			t.Errorf("the keyboard does not reach %s; it reaches %d things", want, len(stops))
		}
	}
	if stops["in the picture"] {
		t.Error("the keyboard has to go through hundreds of squares of the picture")
	}
	c.run(chromedp.Click(`.heat a`))
	c.until(`location.pathname === "/contacts" && location.search.includes("clock=")`)
	fmt.Fprintln(os.Stderr, "pictures are in", c.shots)
}

// axe finds nothing on the pages that were there before, in every state of the sample office.
func TestStaffPagesWithAxe(t *testing.T) {
	h := newHouse(t)
	c := h.chromium()
	c.size(1366, 768, false)
	call(c, network.ClearBrowserCookies, cdp.Empty{})
	c.open("/sign-in")
	axeViolations(c, "sign-in")
	c.signIn(users.Supervisor)
	const contact = "/contacts/01928f3a-7c11-7000-8000-000000000002"
	pages := []string{"/unreturned", "/unreturned/heat", "/contacts", "/contacts?figure=caller_reached&part=miss&from=2026-11-24&to=2026-11-24", contact, "/contacts/silent", "/contacts/missing", "/cases",
		"/cases/01928f3a-0000-7000-8000-0000000000c1", "/search", "/search?q=%E6%A5%BC%E9%81%93%E7%81%AF", "/lines", "/me", "/password", "/wall"}
	all := func(state string, list ...string) {
		t.Helper()
		for _, p := range list {
			c.open(p)
			axeViolations(c, p+" "+state)
		}
	}
	all("", pages...)
	c.size(1366, 768, true)
	all("dark", pages...)
	c.size(390, 844, false)
	all("phone", pages...)
	c.size(1366, 768, false)
	c.open("/unreturned")
	c.run(chromedp.Click(`#cb-cb-4 details summary`), chromedp.WaitVisible(`#cb-cb-4 input[name=words]`))
	axeViolations(c, "a row unfolded")
	for _, state := range []string{"ringing", "idle", "break", "wrap_up", "unreachable", "offline"} {
		h.set(func() { h.state = state })
		all(state, "/me")
	}
	h.set(func() { h.state = "talking" })
	h.set(func() { h.empty = true })
	all("empty", "/unreturned", "/contacts", "/cases", "/search?q=x", "/lines", "/me", "/wall")
	h.set(func() { h.empty, h.stale = false, 627e9 })
	all("stopped", "/wall")
	h.set(func() { h.stale = 0 })
	c.open("/unreturned")
	c.expects("503", "404", "409")
	h.set(func() { h.fail = errors.New("the disk is gone") })
	all("error", "/unreturned", contact, "/wall", "/cases", "/search?q=x", "/me")
	h.set(func() { h.fail = nil })
	all("", "/contacts/none", "/nowhere", "/unreturned?saved=1")
	hang := make(chan struct{})
	h.set(func() { h.hang = hang })
	all("loading", "/unreturned", "/wall", "/contacts")
	close(hang)
	// h.hang stays: a page may still wait at it
	c.signIn(users.Administrator)
	all("administrator", "/users", "/lines", "/lines/pm", "/new/line")
	c.open("/users")
	c.run(chromedp.SendKeys(`#user input[name=login]`, "linyue"), chromedp.SendKeys(`#user input[name=name]`, "林悦"), chromedp.Click(`#user .btn.main`), chromedp.WaitVisible(`.once .secret`))
	axeViolations(c, "a secret shown once")
	c.size(390, 844, false)
	all("phone", "/users", "/lines/pm")
	c.signIn(users.GridWorker)
	all("grid worker", "/cases", "/cases/secret")
	c.fine("axe")
}
