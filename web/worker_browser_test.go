package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/chromedp"

	"yingda/internal/users"
)

// Every state of a grid worker's pages has its picture.
func TestWorkerPictures(t *testing.T) {
	h := newHouse(t)
	c := h.chromium()
	c.size(390, 844, false)
	c.signIn(users.GridWorker)
	c.until(`location.pathname === "/grid"`)
	pages := []struct {
		name, path string
		set        func()
	}{
		{"day", "/grid", func() {}}, {"visit", "/grid/" + aVisit, func() {}}, {"case", "/grid/" + aCase, func() {}}, {"report", "/grid/new", func() {}},
		{"visit-nophone", "/grid/" + aVisit, func() { h.noSIP = true }}, {"empty", "/grid", func() { h.empty = true }},
	}
	for _, p := range pages {
		h.set(p.set)
		c.size(390, 844, false)
		c.open(p.path)
		c.until(`document.querySelector(".gw-page")`)
		c.shot("grid-" + p.name)
		axeViolations(c, "grid-"+p.name)
		c.size(390, 844, true)
		c.shot("grid-" + p.name + "-dark")
		axeViolations(c, "grid-"+p.name+"-dark")
		c.size(195, 422, false) // 200 % on a phone
		c.shot("grid-" + p.name + "-zoom")
	}
	c.size(390, 844, false)
	c.expects("503")
	h.set(func() { h.fail = errors.New("the disk is gone") })
	c.open("/grid")
	c.shot("grid-error")
	axeViolations(c, "grid-error")
	hang := make(chan struct{})
	h.set(func() { h.fail, h.empty, h.hang = nil, false, hang })
	c.open("/grid")
	c.shot("grid-loading")
	axeViolations(c, "grid-loading")
	close(hang)
	c.until(`document.querySelector(".gw-list li")`)
}

// line is a connection to the house that a test cuts: whole, or so that a request arrives and its answer does not.
type line struct {
	gone, mute atomic.Bool
	acts       atomic.Int64
	front      *httptest.Server
}

func (h *house) through(t *testing.T) *line {
	t.Helper()
	there, err := url.Parse(h.http.URL)
	if err != nil {
		t.Fatal(err)
	}
	l := &line{}
	forward := httputil.NewSingleHostReverseProxy(there)
	forward.FlushInterval = -1
	l.front = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.gone.Load() {
			panic(http.ErrAbortHandler)
		}
		if r.Method == "POST" && !strings.HasSuffix(r.URL.Path, "/here") && !strings.HasSuffix(r.URL.Path, "/seen") && !strings.HasSuffix(r.URL.Path, "/propose") {
			l.acts.Add(1)
			if l.mute.Load() {
				forward.ServeHTTP(httptest.NewRecorder(), r)
				panic(http.ErrAbortHandler)
			}
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(l.front.Close)
	h.http.URL = l.front.URL
	return l
}

func (l *line) cut() { l.gone.Store(true); l.front.CloseClientConnections() }

// In a dead spot the day and what was seen open, what is done is kept and shown as kept, and when the signal is back it arrives once,
// also when the answer to it was lost.
func TestDeadSpot(t *testing.T) {
	h := newHouse(t)
	l := h.through(t)
	c := h.chromium()
	c.size(390, 844, false)
	c.signIn(users.GridWorker)
	c.until(`navigator.serviceWorker.controller !== null`)
	c.open("/grid/" + aVisit)
	c.open("/grid")
	c.until(`document.querySelector(".gw-list li") && document.querySelector("[data-sync-word]").textContent === "都交上了"`)

	c.expects("ERR_", "Failed to load", "Failed to fetch", "503")
	l.cut()
	c.open("/grid/" + aVisit) // from what the phone has kept
	c.until(`document.querySelector("h1") && document.querySelector("h1").textContent.includes("赵伯")`)
	c.run(chromedp.Click(`input[value=met]`), chromedp.SendKeys(`.gw-form textarea`, "他在家，电话线松了"), chromedp.Click(`.gw-form .btn.main`))
	c.until(`location.pathname === "/grid" && document.querySelector("[data-sync-word]").textContent === "1 件没送出" && document.querySelector(".gw-list li .kept")`)
	c.until(`!document.querySelector("[data-offline]").hidden`)
	c.shot("grid-offline")
	axeViolations(c, "grid-offline")
	c.open("/grid/" + aVisit) // another page load: it is still kept
	c.until(`!document.querySelector("[data-pending]").hidden`)
	c.shot("grid-visit-kept")
	axeViolations(c, "grid-visit-kept")
	if d := strings.Join(h.deeds(), "\n"); strings.Contains(d, "worker met") {
		t.Fatalf("it arrived through a cut line: %s", d)
	}

	// The line is back, but for the first answers.
	l.mute.Store(true)
	l.gone.Store(false)
	c.until(`document.querySelector("[data-sync-word]").textContent === "1 件没送出"`)
	for l.acts.Load() < 2 {
		c.run(chromedp.Evaluate[chromedp.Void](`window.dispatchEvent(new Event("online"))`))
	}
	l.mute.Store(false)
	c.until(`document.querySelector("[data-sync-word]").textContent === "都交上了"`)
	if n := strings.Count(strings.Join(h.deeds(), "\n"), "陆建平 worker met "+aVisit+" 他在家，电话线松了"); n != 1 {
		t.Errorf("it was done %d times in %d requests", n, l.acts.Load())
	}
	if got := c.eval(`Object.keys(localStorage).length`); got != "0" {
		t.Errorf("%s rows are still in the phone", got)
	}

	// What will never be taken is shown, and not sent for ever.
	h.set(func() { h.refuse = Refusal{"这件工单已经结了"} })
	c.open("/grid/" + aCase)
	c.run(chromedp.SendKeys(`.gw-form textarea`, "灯换好了"), chromedp.Click(`.gw-form .btn.main`))
	c.until(`document.querySelector("[data-refused]").textContent.includes("这件工单已经结了") && document.querySelector("[data-refused]").textContent.includes("灯换好了")`)
	c.shot("grid-refused")
	axeViolations(c, "grid-refused")
	h.set(func() { h.refuse = nil })
	c.run(chromedp.Click(`[data-refused] button`))
	c.until(`document.querySelector("[data-refused]").textContent === "" && localStorage.length === 0`)

	// Nobody's pages stay in the phone after signing out.
	names := func() string {
		c.run(chromedp.Evaluate[chromedp.Void](`window.names = undefined; caches.keys().then(k => { window.names = k.join() }); 0`))
		c.until(`window.names !== undefined`)
		return c.eval(`window.names`)
	}
	if got := names(); !strings.Contains(got, "gw-pages") {
		t.Errorf("kept are %q", got)
	}
	signOut := func() {
		c.run(chromedp.Evaluate[chromedp.Void](`window.confirm = () => true; 0`), chromedp.Click(`[data-forget] button`))
		c.until(`location.pathname === "/sign-in"`)
		if got := names(); strings.Contains(got, "gw-pages") {
			t.Errorf("kept are still %q", got)
		}
	}
	h.set(func() { h.refuse = errors.New("the disk is full") })
	c.open("/grid/" + aCase)
	c.run(chromedp.SendKeys(`.gw-form textarea`, "换了灯头"), chromedp.Click(`.gw-form .btn.main`))
	c.until(`localStorage.length === 1`)
	signOut()
	if got := c.eval(`localStorage.length`); got != "1" {
		t.Errorf("what was not sent yet is lost by signing out: %s", got)
	}
	h.set(func() { h.refuse = nil })
	c.run(chromedp.SendKeys(`input[name=login]`, string(users.GridWorker)), chromedp.SendKeys(`input[name=password]`, secret), chromedp.Click(`.card .btn.main`))
	c.until(`location.pathname === "/grid" && localStorage.length === 0`)
	if n := strings.Count(strings.Join(h.deeds(), "\n"), "换了灯头"); n != 1 {
		t.Errorf("done %d times", n)
	}
	signOut()
	c.run(chromedp.Evaluate[chromedp.Void](`window.names = undefined; navigator.serviceWorker.getRegistrations().then(r => { window.names = String(r.length) }); 0`))
	c.until(`window.names === "0"`)
	c.fine("dead spot")
}
