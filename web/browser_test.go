package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"yingda/internal/browsertest"
	"yingda/internal/users"
)

// chrome is one headless Chromium with what went wrong on its pages.
type chrome struct {
	*house
	ctx   context.Context
	shots string

	mu     sync.Mutex
	faults []string
	expect []string // faults that a test provokes
}

// chromium starts the browser that is in PATH, with a profile of its own that goes away with the test. Set YINGDA_SHOTS to a folder to
// keep the pictures.
func (h *house) chromium() *chrome {
	h.Helper()
	ctx := browsertest.Start(h, chromedp.Flag("hide-scrollbars", true), chromedp.Flag("force-device-scale-factor", "1"), chromedp.Flag("autoplay-policy", "no-user-gesture-required"))
	c := &chrome{house: h, ctx: ctx, shots: os.Getenv("YINGDA_SHOTS"), expect: []string{"/desk/chat/ws"}} // the chat is not served here: the desk must do without
	if c.shots == "" {
		c.shots = h.TempDir()
	}
	messages := chromedp.Console(ctx)
	go func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.IsException() {
				c.fault(string(m.Type) + ": " + m.Text + " " + m.URL)
			}
		}
	}()
	return c
}

// expects names faults that a test provokes from here on, beside the desk's chat, which is not served in these tests.
func (c *chrome) expects(faults ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expect = append([]string{"/desk/chat/ws"}, faults...)
}

func (c *chrome) fault(s string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.expect {
		if strings.Contains(s, e) {
			return
		}
	}
	c.faults = append(c.faults, s)
}

// run does things on the page, all within forty seconds.
func (c *chrome) run(a ...chromedp.Action[chromedp.Void]) {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, 40*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, a...); err != nil {
		c.Fatal(err)
	}
}

func value[T any](c *chrome, a chromedp.Action[T]) T {
	c.Helper()
	ctx, cancel := context.WithTimeout(c.ctx, 40*time.Second)
	defer cancel()
	x, err := chromedp.Run(ctx, a)
	if err != nil {
		c.Fatal(err)
	}
	return x
}

func call[P, R any](c *chrome, cmd cdp.Command[P, R], p P) {
	c.Helper()
	if _, err := chromedp.Call(c.ctx, cmd, p); err != nil {
		c.Fatal(err)
	}
}

// size is that of the window, with what the machine prefers.
func (c *chrome) size(w, h int64, dark bool) {
	c.Helper()
	scheme := "light"
	if dark {
		scheme = "dark"
	}
	c.run(chromedp.EmulateViewport(w, h))
	call(c, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
}

func (c *chrome) open(path string) {
	c.Helper()
	c.run(chromedp.Navigate(c.http.URL+path), chromedp.WaitReady("body"))
}

// until waits for an expression to be true in the page, be it after a navigation.
func (c *chrome) until(js string) {
	c.Helper()
	browsertest.Until(c.ctx, c, js, 20*time.Second)
}

func (c *chrome) eval(js string) string {
	c.Helper()
	return value(c, chromedp.Evaluate[string]("String("+js+")"))
}

// shot takes a picture, and checks that nothing went wrong on the page and that it does not scroll sideways.
func (c *chrome) shot(name string) {
	c.Helper()
	c.until(`document.fonts.status === "loaded" && Array.from(document.querySelectorAll("svg use")).length >= 0`)
	if over := c.eval(`document.documentElement.scrollWidth - document.documentElement.clientWidth`); over != "0" {
		c.Errorf("%s scrolls sideways by %s px, because of %s", name, over, c.eval(`Array.from(document.querySelectorAll("body *")).filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && !e.closest(".heatscroll,nav,.vh,.skip")).slice(0,4).map(e => e.tagName + "." + (e.className.baseVal || e.className)).join(" ")`))
	}
	png := value(c, chromedp.FullScreenshot(100))
	if err := os.WriteFile(filepath.Join(c.shots, name+".png"), png, 0o600); err != nil {
		c.Fatal(err)
	}
	c.fine(name)
}

func (c *chrome) fine(name string) {
	c.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range c.faults {
		c.Errorf("%s: %s", name, f)
	}
	c.faults = nil
}

// signIn goes through the form.
func (c *chrome) signIn(r users.Role) {
	c.Helper()
	call(c, network.ClearBrowserCookies, cdp.Empty{})
	c.open("/sign-in")
	c.run(chromedp.SendKeys(`input[name=login]`, string(r)), chromedp.SendKeys(`input[name=password]`, secret), chromedp.Click(`.card .btn.main`))
	c.until(`!location.pathname.startsWith("/sign-in")`)
}

func TestPagesInBrowser(t *testing.T) {
	h := newHouse(t)
	c := h.chromium()
	c.size(1440, 900, false)
	call(c, network.ClearBrowserCookies, cdp.Empty{})
	c.open("/sign-in")
	c.shot("sign-in")
	c.signIn(users.Supervisor)

	const contact = "/contacts/01928f3a-7c11-7000-8000-000000000002"
	pages := []struct{ name, path string }{
		{"unreturned", "/unreturned"}, {"heat-table", "/unreturned/heat"}, {"contacts", "/contacts"}, {"figure", "/contacts?figure=caller_reached&part=miss&from=2026-11-24&to=2026-11-24"},
		{"contact", contact}, {"contact-silent", "/contacts/silent"}, {"contact-missing", "/contacts/missing"}, {"cases", "/cases"}, {"case", "/cases/01928f3a-0000-7000-8000-0000000000c1"},
		{"search", "/search"}, {"search-found", "/search?q=%E6%A5%BC%E9%81%93%E7%81%AF"}, {"lines", "/lines"}, {"me", "/me"}, {"password", "/password"},
	}
	for _, p := range pages {
		c.open(p.path)
		c.shot(p.name)
	}
	c.size(1440, 900, true)
	for _, p := range []int{0, 4, 8} {
		c.open(pages[p].path)
		c.shot(pages[p].name + "-dark")
	}
	c.size(720, 450, false) // what a desk has at 200 % zoom
	for _, p := range []int{0, 2, 4, 7, 8, 10, 12} {
		c.open(pages[p].path)
		c.shot(pages[p].name + "-zoom")
	}
	c.size(360, 740, false)
	for _, p := range pages {
		c.open(p.path)
		c.shot(p.name + "-phone")
	}

	c.size(1920, 1080, false)
	c.open("/wall")
	c.until(`document.querySelector("[data-asof-here]").textContent === "14:32:07"`)
	c.shot("wall")
	c.size(1440, 810, false)
	c.open("/wall")
	c.shot("wall-small")
	c.alarmsFit("wall-alarms")
	c.size(360, 740, false)
	c.open("/wall")
	c.shot("wall-phone")

	c.size(1440, 900, false)
	h.set(func() { h.state = "ringing" })
	c.open("/me")
	c.shot("me-ringing")
	h.set(func() { h.state, h.stale = "talking", time.Second })
	c.open("/me")
	c.shot("me-silent")
	h.set(func() { h.state, h.stale = "idle", 0 })
	c.open("/me")
	c.shot("me-idle")
	h.set(func() { h.state = "break" })
	c.open("/me")
	c.shot("me-break")
	h.set(func() { h.empty = true })
	for _, p := range []int{0, 2, 7, 10, 11, 12} {
		c.open(pages[p].path)
		c.shot(pages[p].name + "-empty")
	}
	c.size(1920, 1080, false)
	c.open("/wall")
	c.shot("wall-empty")
	h.set(func() { h.empty, h.stale = false, 627*time.Second })
	c.open("/wall")
	c.until(`document.body.textContent.includes("数据停在")`)
	if strings.Contains(c.eval(`document.querySelector("#part").innerText`), "93.5") {
		t.Error("the wall shows old figures")
	}
	c.shot("wall-stopped")

	c.size(1440, 900, false)
	h.set(func() { h.stale = 0 })
	c.open("/unreturned") // the list is kept
	c.expects("503", "404", "409")
	h.set(func() { h.fail = errors.New("the disk is gone") })
	for _, p := range []int{0, 4} {
		c.open(pages[p].path)
		c.shot(pages[p].name + "-error")
	}
	c.open("/unreturned?saved=1")
	c.shot("unreturned-saved")
	h.set(func() { h.fail = nil })
	c.open("/contacts/none")
	c.shot("not-found")
	hang := make(chan struct{})
	h.set(func() { h.hang = hang })
	c.open("/unreturned")
	c.shot("unreturned-loading")
	c.size(1920, 1080, false)
	c.open("/wall")
	c.shot("wall-loading")
	close(hang)
	c.until(`document.body.textContent.includes("93.5")`)
	h.set(func() { h.hang = nil })

	c.size(1440, 900, false)
	c.signIn(users.Administrator)
	c.open("/users")
	c.run(chromedp.SendKeys(`#user input[name=login]`, "linyue"), chromedp.SendKeys(`#user input[name=name]`, "林悦"), chromedp.Click(`#user .btn.main`), chromedp.WaitVisible(`.once .secret`))
	c.shot("users")
	c.open("/lines/pm")
	c.shot("line")
	c.size(360, 740, false)
	c.open("/users")
	c.shot("users-phone")
	c.open("/lines/pm")
	c.shot("line-phone")
	c.signIn(users.GridWorker)
	c.until(`location.pathname === "/grid"`)
	c.open("/cases")
	c.shot("gridworker")
	c.open("/cases/secret")
	c.shot("gridworker-case")
	c.size(1440, 900, false)
	c.open("/cases")
	c.run(chromedp.Click(`button[value=en]`), chromedp.WaitVisible(`html[lang=en]`))
	c.signIn(users.Supervisor)
	call(c, network.SetCookie, network.SetCookieParams{Name: "lang", Value: "en", URL: h.http.URL})
	c.open("/unreturned")
	c.shot("unreturned-english")
	c.open(contact)
	c.shot("contact-english")
	c.size(1920, 1080, false)
	c.open("/wall")
	c.shot("wall-english")
	c.alarmsFit("wall-english-alarms")
	fmt.Fprintln(os.Stderr, "pictures are in", c.shots)
}

// alarmsFit wants every alarm to be read to its end on the wall, where two of them stand in its head.
func (c *chrome) alarmsFit(picture string) {
	c.Helper()
	raw, err := os.ReadFile("words/zh/base.json")
	if err != nil {
		c.Fatal(err)
	}
	var words map[string]string
	if err := json.Unmarshal(raw, &words); err != nil {
		c.Fatal(err)
	}
	var alarms []Alarm
	for _, key := range slices.Sorted(maps.Keys(words)) {
		if what, ok := strings.CutPrefix(key, "alarm."); ok && what != "since" {
			alarms = append(alarms, Alarm{what, c.now})
		}
	}
	if len(alarms) < 10 {
		c.Fatalf("%d alarms in the words", len(alarms))
	}
	for two := range slices.Chunk(alarms, 2) {
		c.set(func() { c.alarms = two })
		c.open("/wall")
		if cut := c.eval(`Array.from(document.querySelectorAll(".w-alarm")).filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent.trim()).join("; ")`); cut != "" {
			c.Errorf("cut off on the wall: %s", cut)
		}
		if shown := c.eval(`document.querySelectorAll(".w-alarm").length`); shown != strconv.Itoa(len(two)) {
			c.Errorf("%s alarms are shown, want %d", shown, len(two))
		}
		if slices.ContainsFunc(two, func(a Alarm) bool { return a.What == "search_lost" }) {
			c.shot(picture)
		}
	}
	c.set(func() { c.alarms = nil })
}
