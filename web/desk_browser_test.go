package web

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"yingda/internal/users"
)

const someCall = "01928f3a-7c11-7000-8000-000000000002"

// Every state of the desk has its picture, light and dark, at a desk's width, at 200 % zoom and on a phone.
func TestDeskPictures(t *testing.T) {
	h := newHouse(t)
	c := h.chromium()
	c.size(1366, 768, false)
	c.signIn(users.Operator)
	states := []struct {
		name, path string
		set        func()
	}{
		{"idle", "/me", func() { h.state = "idle" }},
		{"ringing", "/me", func() { h.state = "ringing" }},
		{"talking", "/me", func() { h.state = "talking" }},
		{"chat-beside", "/me?chat=" + aChat, func() {}},
		{"silent", "/me", func() { h.stale = time.Second }},
		{"wrap", "/me", func() { h.stale, h.state = 0, "wrap_up" }},
		{"chat-alone", "/me?chat=" + aChat, func() { h.state = "idle" }},
		{"chat-offered", "/me?chat=01928f3a-7c11-7000-8000-0000000000a2", func() {}},
		{"break", "/me", func() { h.state = "break" }},
		{"empty", "/me", func() { h.state, h.empty = "idle", true }},
	}
	for _, s := range states {
		h.set(s.set)
		c.size(1366, 768, false)
		c.open(s.path)
		c.until(`document.querySelector(".op-rail")`)
		c.shot("desk-" + s.name)
		axeViolations(c, "desk-"+s.name)
		c.size(1366, 768, true)
		c.shot("desk-" + s.name + "-dark")
		axeViolations(c, "desk-"+s.name+"-dark")
		c.size(683, 384, false)
		c.shot("desk-" + s.name + "-zoom")
	}
}

// What is typed at the desk finds its grid and what is like it, arrives once although the answer was lost, and stays while the server is away.
func TestDeskInBrowser(t *testing.T) {
	h := newHouse(t)
	l := h.through(t)
	c := h.chromium()
	c.size(1366, 768, false)
	c.signIn(users.Operator)
	c.open("/me")
	form := "#c-" + someCall
	c.run(chromedp.SendKeys(`textarea[name=words]`, "楼道灯不亮"), chromedp.SendKeys(`input[name=address]`, "梅苑小区 3 号楼"))
	c.until(`document.querySelector(".op-same li") && document.querySelector("[id^=where-]").textContent.includes("92 %")`)
	c.until(`document.querySelector("input[name=next][value=dept]").checked && document.querySelector("input[name=ruled]").value === "wg"`)
	c.shot("desk-written")
	axeViolations(c, "desk-written")

	// The page is morphed each second; what the rule proposed and what somebody chose against it stay.
	c.run(chromedp.Click(`input[name=next][value=grid]`))
	h.set(func() { h.now = h.now.Add(3 * time.Second) })
	c.until(`document.querySelector(".op-bar .fig").textContent === "2:08" && document.querySelector(".op-same li")`)
	c.run(chromedp.SendKeys(`textarea[name=words]`, "，怕摔"))
	c.until(`document.querySelector("textarea[name=words]").value.endsWith("怕摔")`)
	h.set(func() { h.like = false })
	c.run(chromedp.SendKeys(`textarea[name=words]`, "。"))
	c.until(`!document.querySelector(".op-same li")`)
	if got := c.eval(`document.querySelector("input[name=next]:checked").value`); got != "grid" {
		t.Errorf("what was chosen is now %q", got)
	}
	h.set(func() { h.like = true })
	c.run(chromedp.SendKeys(`textarea[name=words]`, "好"))
	c.until(`document.querySelector(".op-same li")`)

	// The server goes away in the middle of handing in.
	c.expects("ERR_", "Failed to load", "Failed to fetch", "503", "409")
	l.mute.Store(true)
	key := func(k string, more string) {
		c.run(chromedp.Evaluate[chromedp.Void](`(document.activeElement || document.body).dispatchEvent(new KeyboardEvent("keydown", { key: "` + k + `", bubbles: true, cancelable: true, ` + more + ` })); 0`))
	}
	key("Enter", "ctrlKey: true")
	c.until(`document.querySelector("[data-fault]").textContent.includes("还没交上")`)
	l.cut()
	c.until(`document.documentElement.classList.contains("stopped") && !document.querySelector("[data-stopped]").hidden`)
	c.shot("desk-cut-off")
	axeViolations(c, "desk-cut-off")
	if got := c.eval(`document.querySelector("` + form + ` textarea").value`); got != "楼道灯不亮，怕摔。好" {
		t.Errorf("with the server gone the form holds %q", got)
	}
	l.mute.Store(false)
	l.gone.Store(false)
	c.until(`location.search.includes("said=case") && document.querySelector("textarea[name=words]").value === ""`)
	if got := c.eval(`sessionStorage.getItem("desk.out")`); got != "[]" {
		t.Errorf("still to be sent: %s", got)
	}
	for _, d := range h.deeds() {
		if strings.Contains(d, "open case") && !strings.Contains(d, ": 楼道灯不亮，怕摔。好 at 梅苑小区 3 号楼,   - dispatch") {
			t.Errorf("%q", d)
		}
	}

	// Attaching by its key takes the words along.
	c.run(chromedp.SendKeys(`textarea[name=words]`, "楼道灯"))
	c.until(`document.querySelector("[data-key=a]")`)
	key("a", "altKey: true")
	c.until(`location.search.includes("said=attached")`)
	if d := h.deeds(); !strings.Contains(strings.Join(d, "\n"), "许航 attach "+someCall+" to "+aCase+": 楼道灯") {
		t.Errorf("%q", d)
	}

	// A chat beside the call: Enter sends once although the answer was lost, not while characters are being composed.
	c.open("/me?chat=" + aChat)
	c.until(`document.querySelector("[data-log] li:last-child")`)
	c.run(chromedp.Focus(`.chat-say textarea`), chromedp.SendKeys(`.chat-say textarea`, "在二楼办"))
	key("Enter", "isComposing: true")
	if got := c.eval(`document.querySelector(".chat-say textarea").value`); got != "在二楼办" {
		t.Errorf("sent while composing: %q", got)
	}
	l.mute.Store(true)
	key("Enter", "")
	c.until(`document.querySelector(".chat-pending li") && document.querySelector(".chat-pending li").textContent.includes("在二楼办")`)
	l.mute.Store(false)
	c.until(`!document.querySelector(".chat-pending li") && Array.from(document.querySelectorAll("[data-log] .us")).filter(e => e.textContent.includes("在二楼办")).length === 1`)
	c.shot("desk-chat-said")
	if n := strings.Count(strings.Join(h.deeds(), "\n"), "在二楼办"); n != 1 {
		t.Errorf("said %d times", n)
	}

	// Space takes the chat that is offered only when it can be meant for nothing else.
	h.set(func() { h.state = "idle" })
	c.open("/me")
	c.until(`document.querySelector("[data-space]")`)
	c.run(chromedp.Focus(`[data-find]`))
	key(" ", "")
	c.run(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur(); 0`))
	if d := h.deeds(); strings.Contains(strings.Join(d, "\n"), "chat accept") {
		t.Error("a space in the search box took a chat")
	}
	key(" ", "")
	c.until(`location.search.includes("chat=")`)
	if d := h.deeds(); !strings.Contains(strings.Join(d, "\n"), "许航 chat accept 01928f3a-7c11-7000-8000-0000000000a2") {
		t.Errorf("%q", d)
	}
	c.open("/me")
	c.run(chromedp.Evaluate[chromedp.Void](`document.activeElement.blur(); 0`))
	key("k", "altKey: true")
	c.until(`document.querySelector("#keys").open`)
	c.shot("desk-keys")
	axeViolations(c, "desk-keys")
	key("j", "altKey: true")
	c.until(`location.search.includes("chat=")`)

	// Rings: the window's title says so.
	h.set(func() { h.state = "ringing" })
	c.until(`document.title.startsWith("●")`)
	h.set(func() { h.state = "idle" })
	c.until(`!document.title.startsWith("●")`)
	c.expects("ERR_", "Failed to load", "Failed to fetch", "503", "409")
	h.set(func() { h.fail = errors.New("the disk is gone") })
	c.open("/me")
	c.shot("desk-error")
	axeViolations(c, "desk-error")
	hang := make(chan struct{})
	h.set(func() { h.fail, h.hang = nil, hang })
	c.open("/me")
	c.shot("desk-loading")
	axeViolations(c, "desk-loading")
	close(hang)
	c.until(`document.querySelector(".op-idle")`)
}
