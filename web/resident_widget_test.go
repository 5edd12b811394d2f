package web

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"

	"yingda/web/assets"
)

//go:embed testdata/widget/host.html
var hostPage string

func TestWidgetIsBuiltAndSmall(t *testing.T) {
	out := filepath.Join(t.TempDir(), "widget.js")
	cmd := exec.CommandContext(t.Context(), "go", "tool", "esbuild", "assets/src/widget.ts", "--bundle", "--minify", "--target=chrome86,firefox78", "--outfile="+out, "--log-level=warning")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, msg)
	}
	want, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, assets.Body("widget.js")) {
		t.Error("assets/widget.js is not what esbuild makes of assets/src/widget.ts")
	}
	var b bytes.Buffer
	z, err := gzip.NewWriterLevel(&b, 9)
	if err == nil {
		_, err = z.Write(want)
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil || b.Len() > 30_000 {
		t.Errorf("the widget has %d bytes in gzip: %v", b.Len(), err)
	}
	t.Logf("the widget: %d bytes, %d in gzip", len(want), b.Len())
}

// What other sites fetch may be fetched by them, and says the hotline as it is.
func TestWidgetForOtherSites(t *testing.T) {
	h := newHouse(t)
	a := h.stranger().get("/widget.js", "Sec-Fetch-Site", "cross-site", "Origin", "https://street.example")
	if a.status != 200 || a.header.Get("Cross-Origin-Resource-Policy") != "cross-origin" || a.header.Get("Cache-Control") != "public, max-age=300" || a.body != string(assets.Body("widget.js")) {
		t.Errorf("%d %v", a.status, a.header)
	}
	if b := h.stranger().get("/widget.js", "If-None-Match", a.header.Get("ETag")); b.status != http.StatusNotModified {
		t.Errorf("asked for again: %d", b.status)
	}
	h.sample.town().change(func() { h.outside.front.Open, h.outside.front.Opens = false, noon.Add(18*time.Hour) })
	a = h.stranger().get("/widget.json?lang=en", "Origin", "https://street.example")
	var f struct {
		Number, Opens string
		Open, Chat    bool
		Words         map[string]string
	}
	if err := json.Unmarshal([]byte(a.body), &f); err != nil || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Fatalf("%v %v", err, a.header)
	}
	if f.Number != "0512-5550-0100" || f.Open || !f.Chat || f.Opens != "tomorrow 08:32" || f.Words["send"] != "Send" {
		t.Errorf("%+v", f)
	}
	for k := range f.Words {
		if !strings.Contains(string(assets.Body("widget.js")), `"`+k+`"`) {
			t.Errorf("the widget never says %q", k)
		}
	}
}

// chatEnd is the server's end of yingda.chat.v1 as far as one resident needs it.
type chatEnd struct {
	t     *testing.T
	mu    sync.Mutex
	begun map[string]*chatTalk // by token
	live  map[*websocket.Conn]*chatTalk
	shut  bool // no connection is taken
	deaf  bool // messages are kept, their ticks are not sent: the connection dies in between
}

type chatTalk struct {
	token, stage, operator, number string
	said                           []map[string]any
	keys                           map[string]int
}

func (e *chatEnd) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.mu.Lock()
	shut := e.shut
	e.mu.Unlock()
	if shut {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"yingda.chat.v1"}, InsecureSkipVerify: true})
	if err != nil {
		return
	}
	defer func() {
		e.mu.Lock()
		delete(e.live, ws)
		e.mu.Unlock()
		_ = ws.CloseNow()
	}()
	for {
		_, raw, err := ws.Read(r.Context())
		if err != nil {
			return
		}
		var f struct {
			T, Ref, Token, Key, Text, Number string
			After, N                         int
		}
		if json.Unmarshal(raw, &f) != nil {
			return
		}
		e.mu.Lock()
		t := e.live[ws]
		switch f.T {
		case "hello":
			t = e.begun[f.Token]
			if f.Token != "" && t == nil {
				e.send(ws, map[string]any{"t": "error", "code": "token", "say": "没有这次对话"})
				t = nil
			}
			e.live[ws] = t
			e.send(ws, map[string]any{"t": "welcome", "v": 1, "state": state0(t)})
			if t != nil {
				for _, m := range t.said[min(f.After, len(t.said)):] {
					e.send(ws, m)
				}
			}
		case "start":
			token := "token-" + f.Key
			if e.begun[token] == nil {
				e.begun[token] = &chatTalk{token: token, stage: "waiting", keys: map[string]int{}}
			}
			t = e.begun[token]
			e.live[ws] = t
			e.send(ws, map[string]any{"t": "started", "ref": f.Ref, "token": token, "state": state0(t)})
		case "say":
			n := t.keys[f.Key]
			if n == 0 {
				n = len(t.said) + 1
				t.keys[f.Key] = n
				t.said = append(t.said, map[string]any{"t": "message", "n": n, "from": "you", "at": noon, "text": f.Text, "key": f.Key})
				if e.deaf {
					_ = ws.CloseNow()
					break
				}
				e.tell(t, t.said[n-1])
			}
			e.send(ws, map[string]any{"t": "tick", "key": f.Key, "n": n})
		case "number":
			if len(digits(f.Number)) < 11 {
				e.send(ws, map[string]any{"t": "error", "ref": f.Ref, "code": "number", "say": "这个号码打不通，看一遍再按。"})
				break
			}
			t.number = "138****5678"
			e.send(ws, map[string]any{"t": "done", "ref": f.Ref})
			e.tell(t, map[string]any{"t": "state", "state": state0(t)})
		case "bye":
			t.stage = "over"
			e.send(ws, map[string]any{"t": "done", "ref": f.Ref})
			e.tell(t, map[string]any{"t": "state", "state": state0(t)})
		}
		e.mu.Unlock()
	}
}

func state0(t *chatTalk) map[string]any {
	if t == nil {
		return map[string]any{"stage": ""}
	}
	return map[string]any{"stage": t.stage, "operator": t.operator, "number": t.number}
}

func (e *chatEnd) send(ws *websocket.Conn, f map[string]any) {
	raw, err := json.Marshal(f)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = ws.Write(ctx, websocket.MessageText, raw)
	}
}

func (e *chatEnd) tell(t *chatTalk, f map[string]any) {
	for ws, of := range e.live {
		if of == t {
			e.send(ws, f)
		}
	}
}

// answer is an operator writing to everybody.
func (e *chatEnd) answer(text string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, t := range e.begun {
		t.stage, t.operator = "open", "许航"
		t.said = append(t.said, map[string]any{"t": "message", "n": len(t.said) + 1, "from": "us", "name": "许航", "at": noon, "text": text})
		e.tell(t, map[string]any{"t": "state", "state": state0(t)})
		e.tell(t, t.said[len(t.said)-1])
	}
}

// drop cuts every connection.
func (e *chatEnd) drop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ws := range e.live {
		_ = ws.CloseNow()
	}
}

func (e *chatEnd) texts() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var list []string
	for _, t := range e.begun {
		for _, m := range t.said {
			list = append(list, fmt.Sprint(m["text"]))
		}
	}
	return strings.Join(list, "|")
}

// widgetHouse is the hotline with its WebSocket, and a site on another origin that has the widget.
func widgetHouse(t *testing.T) (*house, *chatEnd, string) {
	h := newHouse(t)
	e := &chatEnd{t: t, begun: map[string]*chatTalk{}, live: map[*websocket.Conn]*chatTalk{}}
	mux := http.NewServeMux()
	mux.Handle("/chat/ws", e)
	mux.Handle("/", h.srv)
	h.http.Config.Handler = mux
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "style-src 'unsafe-inline' 'self'; script-src "+h.http.URL)
		_, _ = strings.NewReplacer("{{hotline}}", h.http.URL).WriteString(w, hostPage)
	}))
	t.Cleanup(site.Close)
	return h, e, site.URL
}

const shadow = `Array.from(document.querySelectorAll("*")).map(e => e.shadowRoot).find(Boolean)`

// in evaluates something in the widget; $ finds an element of it.
func (c *chrome) in(js string) string {
	c.Helper()
	return c.eval(`(($) => ` + js + `)(s => (` + shadow + `).querySelector(s))`)
}

func (c *chrome) untilIn(js string) {
	c.Helper()
	c.until(`(` + shadow + `) && (($) => ` + js + `)(s => (` + shadow + `).querySelector(s))`)
}

func (c *chrome) key(key string, code int) {
	c.Helper()
	text := ""
	if key == "Enter" {
		text = "\r"
	}
	for _, typ := range []input.DispatchKeyEventType{"keyDown", "keyUp"} {
		call(c, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: typ, Key: key, Code: key, Text: text, WindowsVirtualKeyCode: int64(code)})
	}
}

func (c *chrome) write(text string) {
	c.Helper()
	call(c, input.InsertText, input.InsertTextParams{Text: text})
}

func TestWidget(t *testing.T) {
	h, e, site := widgetHouse(t)
	c := h.chromium()
	c.expects("WebSocket", "503")
	c.size(1366, 768, false)
	open := func(path string) {
		t.Helper()
		c.run(chromedp.Navigate(site + path))
		c.untilIn(`$(".dock button")`)
	}
	open("/")
	if c.in(`$(".box").hidden`) != "true" {
		t.Fatal("the widget opens by itself")
	}
	if n := len(e.live); n != 0 {
		t.Errorf("%d connections before anybody wants to chat", n)
	}
	c.shot("widget-shut")
	axeViolations(c, "widget, shut", "color-contrast-enhanced")
	if c.in(`$(".dock a").href`) != "tel:051255500100" {
		t.Error("the number cannot be called")
	}

	// By keyboard alone.
	for range 6 {
		c.key("Tab", 9)
		if c.in(`$(".dock button:focus") !== null`) == "true" {
			break
		}
	}
	c.key("Enter", 13)
	c.untilIn(`!$(".box").hidden && $("textarea:focus")`)
	c.untilIn(`$(".fact").textContent.includes("我们的人看到就回")`)
	c.shot("widget-open")
	axeViolations(c, "widget, open", "color-contrast-enhanced")
	if n := c.in(`Array.from($(".box").querySelectorAll("a,button,input,textarea")).filter(e => e.offsetParent && e.getBoundingClientRect().height < 44).map(e => e.outerHTML).join("\n")`); n != "" {
		t.Errorf("smaller than a finger:\n%s", n)
	}
	c.write("三号楼的灯不亮")
	c.key("Enter", 13)
	c.untilIn(`$(".fact").textContent.includes("正在找人来回您") && $(".you small").textContent.includes("收到了")`)
	e.answer("您好，是几单元？")
	c.untilIn(`$(".fact").textContent.includes("许航 在跟您说话") && $(".us")`)
	if c.in(`$(".log").getAttribute("role") + $(".log").getAttribute("aria-live")`) != "logpolite" {
		t.Error("what is said is not announced")
	}
	c.shot("widget-talk")
	c.size(390, 844, true)
	c.shot("widget-talk-phone-dark")
	axeViolations(c, "widget, talking, dark", "color-contrast-enhanced")
	c.size(1366, 768, false)

	// Escape shuts it, an answer is counted and said, nothing opens.
	c.key("Escape", 27)
	c.untilIn(`$(".box").hidden && $(".dock button:focus")`)
	e.answer("我让师傅明天来。")
	c.untilIn(`$(".count").textContent === "1" && $(".say").textContent === "有 1 条新回复"`)
	if c.in(`$(".box").hidden`) != "true" {
		t.Error("an answer opens the widget")
	}
	c.shot("widget-unread")
	axeViolations(c, "widget, unread", "color-contrast-enhanced")

	// After a reload it goes on, shut, with what was not seen still counted.
	open("/?again")
	c.untilIn(`$(".count").textContent === "1"`)
	c.in(`$(".dock button").click()`)
	c.untilIn(`$(".log").children.length === 3`)

	// The connection drops between a message and its tick: it is there once.
	e.mu.Lock()
	e.deaf = true
	e.mu.Unlock()
	c.write("二单元")
	c.key("Enter", 13)
	for deadline := time.Now().Add(10 * time.Second); !strings.Contains(e.texts(), "二单元") && time.Now().Before(deadline); {
		c.in(`1`)
	}
	e.mu.Lock()
	e.deaf = false
	e.mu.Unlock()
	c.untilIn(`$(".log").children.length === 4 && !$(".unsent")`)
	for i := range 10 {
		e.drop()
		c.write(fmt.Sprint("第", i, "句"))
		c.key("Enter", 13)
	}
	c.untilIn(`$(".log").children.length === 14 && !$(".unsent")`)
	want := "三号楼的灯不亮|您好，是几单元？|我让师傅明天来。|二单元|第0句|第1句|第2句|第3句|第4句|第5句|第6句|第7句|第8句|第9句"
	if got := e.texts(); got != want {
		t.Errorf("the office has\n%s, want\n%s", got, want)
	}
	if got := c.in(`Array.from($(".log").querySelectorAll("p")).filter(p => !p.hidden).map(p => p.textContent).join("|")`); got != want {
		t.Errorf("the page has\n%s, want\n%s", got, want)
	}

	// No server: it says what is not lost, and another way.
	e.mu.Lock()
	e.shut = true
	e.mu.Unlock()
	e.drop()
	c.write("最后一句")
	c.key("Enter", 13)
	c.untilIn(`$(".fact").textContent.includes("网不通") && $(".bad a") && $(".unsent small").textContent.includes("正在发")`)
	c.shot("widget-offline")
	axeViolations(c, "widget, offline", "color-contrast-enhanced")
	c.run(chromedp.Navigate(site + "/?over")) // leaving the page loses nothing either
	c.untilIn(`$(".dock button")`)
	e.mu.Lock()
	e.shut = false
	e.mu.Unlock()
	c.in(`$(".dock button").click()`)
	c.untilIn(`$(".log").children.length === 15 && !$(".unsent")`)
	if got := e.texts(); got != want+"|最后一句" {
		t.Errorf("the office has\n%s", got)
	}

	// A number, and the end.
	c.in(`$(".row .plain").click()`)
	c.write("1380000")
	c.key("Enter", 13)
	c.untilIn(`$(".bad").textContent.includes("看一遍再按")`)
	c.in(`$("#phone").select()`)
	c.write("13800005678")
	c.key("Enter", 13)
	c.untilIn(`$(".fact").textContent.includes("138****5678") && $(".bad").hidden`)
	c.shot("widget-number")
	c.in(`$(".row .plain:last-child").click()`)
	c.untilIn(`$(".fact").textContent.includes("这次聊完了") && $("form").hidden`)
	c.shot("widget-over")
	axeViolations(c, "widget, over", "color-contrast-enhanced")

	// After hours; and in the page's language.
	h.sample.town().change(func() { h.outside.front.Open, h.outside.front.Opens = false, noon.Add(18*time.Hour) })
	c.run(chromedp.Navigate("about:blank"))
	c.eval(`1`)
	h2 := strings.Replace(site, "127.0.0.1", "localhost", 1) // another origin: nothing is kept there yet
	c.run(chromedp.Navigate(h2 + "/"))
	c.untilIn(`$(".dock button")`)
	c.in(`$(".dock button").click()`)
	c.untilIn(`$(".fact").textContent.includes("现在没有人在") && $(".fact").textContent.includes("明天 08:32")`)
	c.shot("widget-closed")
	c.fine("widget")
}

// Our own chat page becomes live when it can, and is the plain one when it cannot.
func TestLiveChatPage(t *testing.T) {
	h, e, _ := widgetHouse(t)
	c := h.chromium()
	c.expects("WebSocket", "503")
	c.size(390, 844, false)
	e.shut = true
	c.open("/r/chat")
	c.run(chromedp.SendKeys("#plain textarea", "灯不亮"))
	c.untilIn(`true`)
	if c.eval(`document.querySelector("#plain").hidden`) != "false" {
		t.Error("the plain form is gone before there is another")
	}
	e.mu.Lock()
	e.shut = false
	e.mu.Unlock()
	c.untilIn(`document.querySelector("#plain").hidden && $("textarea").value === "灯不亮" && $("textarea:focus")`)
	axeViolations(c, "live chat page", "color-contrast-enhanced")
	c.shot("resident-live")
	c.key("Enter", 13)
	c.untilIn(`$(".you small").textContent.includes("收到了")`)
	e.answer("您好，是几单元？")
	c.untilIn(`$(".us")`)
	c.shot("resident-live-talk")
	if got := c.in(`getComputedStyle($("textarea")).fontSize`); got != "22px" {
		t.Errorf("letters of %s on a page for elders", got)
	}
	c.open("/r/chat")
	c.untilIn(`$(".log").children.length === 2`)
	if got := e.texts(); got != "灯不亮|您好，是几单元？" {
		t.Errorf("the office has %s", got)
	}
}
