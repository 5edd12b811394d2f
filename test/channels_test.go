package test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	pngenc "image/png"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"
	"github.com/coder/websocket/wsjson"
	"github.com/google/uuid"

	"yingda/channels/webchat"
	"yingda/internal/app"
	"yingda/internal/demo"
	"yingda/internal/users"
)

// submit hands something in as an app does.
func submit(ctx context.Context, base, token, key string, body map[string]any) (status int, receipt struct {
	ID, Receipt string
}, err error) {
	raw, err := json.Marshal(body)
	if err != nil {
		return 0, receipt, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/api/v1/submissions", bytes.NewReader(raw))
	if err != nil {
		return 0, receipt, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Idempotency-Key", key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, receipt, err
	}
	defer res.Body.Close()
	return res.StatusCode, receipt, json.NewDecoder(res.Body).Decode(&receipt)
}

// TestSubmissions: one that is sent three times at once is one contact; a thousand at once are a thousand, each with a case; the books balance.
func TestSubmissions(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	token, _, err := h.MakeAppToken(t.Context(), "test", time.Hour, app.AppKey{PerMinute: 10_000})
	if err != nil {
		t.Fatal(err)
	}
	lamp := map[string]any{"text": "三号楼门口路灯不亮", "address": "梅苑一村 3 幢", "phone": "13800000001"}
	var mu sync.Mutex
	var group sync.WaitGroup
	ids := map[string]int{}
	send := func(key string, body map[string]any) {
		group.Go(func() {
			status, r, err := submit(t.Context(), h.URL(), token, key, body)
			for range 50 { // "cannot be written down now": an app sends it again, with the same key
				if err != nil || status != http.StatusServiceUnavailable {
					break
				}
				pause(200 * time.Millisecond)
				status, r, err = submit(t.Context(), h.URL(), token, key, body)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil || status != http.StatusCreated {
				t.Errorf("key %s: %d %v", key, status, err)
				return
			}
			ids[r.ID]++
		})
	}
	for range 3 {
		send("one", lamp)
	}
	group.Wait()
	if len(ids) != 1 {
		t.Fatalf("sent three times with one key it is %d contacts", len(ids))
	}
	for i := range 1000 {
		send(fmt.Sprint("many", i), map[string]any{"text": fmt.Sprintf("第 %d 件：下水道堵了", i), "phone": fmt.Sprintf("138000%05d", i)})
	}
	group.Wait()
	if len(ids) != 1001 {
		t.Fatalf("%d contacts came of 1001 submissions", len(ids))
	}
	list := h.ended(1001)
	if len(list) != 1001 {
		t.Errorf("%d contacts are in the books", len(list))
	}
	waitFor(t, "each to have its case", 60*time.Second, func() bool {
		for _, e := range h.contacts() {
			if e.Case == nil || *e.Outcome != "accepted" || ids[string(e.ID)] == 0 {
				return false
			}
		}
		return true
	})
	h.clean()
}

// TestResidentsWithoutScript: with JavaScript off, somebody asks to be called, writes to us and looks it up, and chats; each is a contact of its channel.
func TestResidentsWithoutScript(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	b := h.browser()
	if _, err := chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	says := func(selector, want string) {
		t.Helper()
		var got string
		waitFor(t, want, 15*time.Second, func() bool {
			ctx, cancel := context.WithTimeout(b.ctx, 5*time.Second)
			defer cancel()
			got, _ = chromedp.Run(ctx, chromedp.Text(selector))
			return strings.Contains(got, want)
		})
	}
	b.open("/r/")
	b.do(chromedp.Click(`a[href="/r/call"]`), chromedp.WaitVisible(`#phone`), chromedp.SendKeys(`#phone`, "0512-5550-1234"), chromedp.Click(`.btn.main`))
	says("h1", "记下了")
	b.picture("resident-promised")

	b.open("/r/write")
	b.do(chromedp.WaitVisible(`#text`), chromedp.SendKeys(`#text`, "楼道灯坏了一个礼拜"), chromedp.Click(`.btn.main`), chromedp.WaitVisible(`#place`), chromedp.SendKeys(`#place`, "梅苑一村 3 幢"),
		chromedp.Click(`.btn.main`), chromedp.WaitVisible(`#phone`), chromedp.SendKeys(`#phone`, "13800000678"), chromedp.Click(`.btn.main`), chromedp.WaitVisible(`#photo`))
	says("main", "楼道灯坏了一个礼拜") // everything once more, before it is sent
	b.do(chromedp.Click(`.btn.main`))
	says("main", "查询号码")
	b.picture("resident-receipt")
	text, err := chromedp.Run(b.ctx, chromedp.Text("main"))
	if err != nil {
		t.Fatal(err)
	}
	receipt := regexp.MustCompile(`\d{4}\s?\d{4}`).FindString(text)
	if receipt == "" {
		t.Fatalf("no receipt in %q", text)
	}
	b.open("/r/status")
	b.do(chromedp.WaitVisible(`#receipt`), chromedp.SendKeys(`#receipt`, receipt), chromedp.Click(`.btn.main`), chromedp.WaitVisible(`#last`), chromedp.SendKeys(`#last`, "0678"), chromedp.Click(`.btn.main`))
	says("main", "您告诉我们")
	b.picture("resident-status")

	b.open("/r/chat")
	b.do(chromedp.WaitVisible(`#text`), chromedp.SendKeys(`#text`, "请问居住证怎么办"), chromedp.Click(`.btn.main`))
	says("main", "请问居住证怎么办")
	b.picture("resident-chat")
	waitFor(t, "three contacts by three channels", 15*time.Second, func() bool {
		seen := map[string]string{}
		for _, e := range h.contacts() {
			outcome := ""
			if e.Outcome != nil {
				outcome = string(*e.Outcome)
			}
			seen[string(e.Channel)] = outcome
		}
		return seen["webcall"] == "callback_promised" && seen["app"] == "accepted" && seen["chat"] == "" && len(seen) == 3
	})
	h.clean()
}

// talker is one side of a conversation, over connections that come and go. It keeps what it sees, as a browser does.
type talker struct {
	t      *testing.T
	base   func() string
	path   string
	client *http.Client

	mu    sync.Mutex
	token string
	seen  map[int]string // number → text
	ticks map[string]int // key → number
	twice int            // a number that came with other words, or a key with another number
}

func newTalker(t *testing.T, base func() string, path string, client *http.Client) *talker {
	return &talker{t: t, base: base, path: path, client: client, seen: map[int]string{}, ticks: map[string]int{}}
}

func (k *talker) last() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for k.seen[n+1] != "" {
		n++
	}
	return n
}

// note keeps what a frame says.
func (k *talker) note(f webchat.Out) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case f.T == webchat.DownStarted:
		k.token = f.Token
	case f.T == webchat.DownMessage && f.Message != nil:
		if had, ok := k.seen[f.N]; ok && had != f.Text {
			k.twice++
		}
		k.seen[f.N] = f.Text
	case f.T == webchat.DownTick:
		if had, ok := k.ticks[f.Key]; ok && had != f.N {
			k.twice++
		}
		k.ticks[f.Key] = f.N
	}
}

func (k *talker) dial(ctx context.Context) (*websocket.Conn, error) {
	c, res, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(k.base(), "http")+k.path, &websocket.DialOptions{HTTPClient: k.client, Subprotocols: []string{"yingda.chat.v1"}})
	if res != nil && res.Body != nil {
		_ = res.Body.Close()
	}
	if err == nil {
		c.SetReadLimit(1 << 20)
	}
	return c, err
}

// resident says its lines, one after the other, each until it is ticked, over as many connections as that takes; drop ends a connection at the worst of moments.
func (k *talker) resident(ctx context.Context, lines []string, drop func(line int) bool) error {
	key := uuid.NewString()
	next := 0
	for next < len(lines) && ctx.Err() == nil {
		err := k.residentOnce(ctx, key, lines, &next, drop)
		if err != nil && ctx.Err() == nil {
			pause(100 * time.Millisecond)
		}
	}
	return ctx.Err()
}

func (k *talker) residentOnce(ctx context.Context, key string, lines []string, next *int, drop func(int) bool) error {
	c, err := k.dial(ctx)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	k.mu.Lock()
	token := k.token
	k.mu.Unlock()
	if err := wsjson.Write(ctx, c, webchat.In{T: webchat.UpHello, Token: token, After: k.last()}); err != nil {
		return err
	}
	if token == "" {
		if err := wsjson.Write(ctx, c, webchat.In{T: webchat.UpStart, Ref: "s", Key: key}); err != nil {
			return err
		}
	}
	for *next < len(lines) {
		id := fmt.Sprint("line-", *next)
		if err := wsjson.Write(ctx, c, webchat.In{T: webchat.UpSay, Key: id, Text: lines[*next]}); err != nil {
			return err
		}
		if drop(*next) {
			return errors.New("dropped before the tick")
		}
		for {
			var f webchat.Out
			if err := wsjson.Read(ctx, c, &f); err != nil {
				return err
			}
			k.note(f)
			if f.T == webchat.DownError {
				return fmt.Errorf("%s: %s", f.Code, f.Say)
			}
			k.mu.Lock()
			_, done := k.ticks[id]
			k.mu.Unlock()
			if done {
				break
			}
		}
		*next++
	}
	return nil
}

// desk takes what is offered and answers each line of the resident, until the context ends.
func (k *talker) desk(ctx context.Context) {
	said := map[string]bool{}
	for ctx.Err() == nil {
		if err := k.deskOnce(ctx, said); err != nil && ctx.Err() == nil {
			pause(100 * time.Millisecond)
		}
	}
}

func (k *talker) deskOnce(ctx context.Context, said map[string]bool) error {
	c, err := k.dial(ctx)
	if err != nil {
		return err
	}
	defer c.CloseNow()
	if err := wsjson.Write(ctx, c, webchat.In{T: webchat.UpHello}); err != nil {
		return err
	}
	for {
		var f webchat.Out
		if err := wsjson.Read(ctx, c, &f); err != nil {
			return err
		}
		k.note(f)
		switch {
		case f.T == webchat.DownOffer:
			err = wsjson.Write(ctx, c, webchat.In{T: webchat.UpAccept, Ref: "a", Contact: f.Contact, Offer: f.Offer})
		case f.T == webchat.DownMessage && f.Message != nil && f.From == "resident":
			key := fmt.Sprint("answer-", f.N)
			if said[key] && k.ticked(key) {
				continue
			}
			said[key] = true
			err = wsjson.Write(ctx, c, webchat.In{T: webchat.UpSay, Contact: f.Contact, Key: key, Text: "答 " + f.Text})
		}
		if err != nil {
			return err
		}
	}
}

func (k *talker) ticked(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.ticks[key]
	return ok
}

// signedIn is a client with the session of somebody who works here.
func signedIn(t *testing.T, base, login, password string) *http.Client {
	t.Helper()
	c, err := demo.SignIn(t.Context(), base, login, password)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// page is what a client is shown, be it that something is wrong; "" when it gets no page within a few seconds.
func page(client *http.Client, url string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return ""
	}
	r, err := client.Do(req)
	if err != nil {
		return ""
	}
	defer r.Body.Close()
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	return string(raw)
}

// TestChatDropsAndKills: a resident's connection drops ten times, and the server is killed with -9 three times in mid-chat, while an operator answers every line. Both sides
// have every message once, in the same order, and it is one contact.
func TestChatDropsAndKills(t *testing.T) {
	t.Parallel()
	s := newServed(t, t.TempDir())
	s.start()
	password := s.person("linyue", users.Operator)
	base := func() string { return "http://" + s.http }
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	operator := newTalker(t, base, "/desk/chat/ws", signedIn(t, base(), "linyue", password))
	resident := newTalker(t, base, "/chat/ws", nil)
	var group sync.WaitGroup
	desk, leave := context.WithCancel(ctx)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the operator saw %d messages and has %d ticks; the resident %d and %d\n%s", len(operator.seen), len(operator.ticks), len(resident.seen), len(resident.ticks), tail(s.logs.String(), 20))
		}
	})
	group.Go(func() { operator.desk(desk) })

	var lines []string
	for i := range 40 {
		lines = append(lines, fmt.Sprintf("第 %d 句话", i+1))
	}
	dropped, killed := map[int]bool{}, map[int]bool{}
	err := resident.resident(ctx, lines, func(line int) bool {
		if line%4 == 1 && !dropped[line] && len(dropped) < 10 {
			dropped[line] = true
			return true
		}
		if line%12 == 6 && !killed[line] {
			killed[line] = true
			s.kill()
			s.start()
			return true
		}
		return false
	})
	if err != nil {
		t.Fatalf("%v; %d lines are ticked\n%s", err, len(resident.ticks), tail(s.logs.String(), 30))
	}
	if len(dropped) != 10 || len(killed) < 3 {
		t.Fatalf("dropped %d times, killed %d times", len(dropped), len(killed))
	}
	waitFor(t, "the operator to have answered every line", 60*time.Second, func() bool {
		operator.mu.Lock()
		defer operator.mu.Unlock()
		return len(operator.ticks) == len(lines)
	})
	// The resident comes back once more and is given what is missing.
	c, err := resident.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := wsjson.Write(ctx, c, webchat.In{T: webchat.UpHello, Token: resident.token, After: resident.last()}); err != nil {
		t.Fatal(err)
	}
	for resident.last() < 2*len(lines) {
		var f webchat.Out
		if err := wsjson.Read(ctx, c, &f); err != nil {
			t.Fatalf("%v after %d of %d messages", err, resident.last(), 2*len(lines))
		}
		resident.note(f)
	}
	leave()
	group.Wait()
	if len(resident.seen) != 2*len(lines) || resident.twice+operator.twice != 0 {
		t.Errorf("the resident has %d messages, want %d; %d came twice with other words", len(resident.seen), 2*len(lines), resident.twice+operator.twice)
	}
	order := 0
	for n := 1; n <= 2*len(lines); n++ {
		if text := resident.seen[n]; text == fmt.Sprintf("第 %d 句话", order+1) {
			order++
		} else if !strings.HasPrefix(text, "答 ") {
			t.Errorf("message %d is %q", n, text)
		}
		if operator.seen[n] != resident.seen[n] {
			t.Errorf("message %d: the operator has %q, the resident %q", n, operator.seen[n], resident.seen[n])
		}
	}
	if order != len(lines) {
		t.Errorf("%d of the resident's %d lines are there in their order", order, len(lines))
	}
	if err := wsjson.Write(ctx, c, webchat.In{T: webchat.UpBye, Ref: "b"}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "one contact, replied", 20*time.Second, func() bool {
		list := s.contacts()
		return len(list) == 1 && list[0].Outcome != nil && *list[0].Outcome == "replied"
	})
	s.audited()
}

// TestDeskTakesAChat: an operator's desk in Chromium, without a phone, is offered a chat that somebody begins, takes it, answers, and writes the case; the resident has
// the answer.
func TestDeskTakesAChat(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	password := h.person("linyue", users.Operator)
	b := h.browser()
	b.open("/sign-in")
	b.do(chromedp.SendKeys(`input[name=login]`, "linyue"), chromedp.SendKeys(`input[name=password]`, password), chromedp.Click(`.card .btn.main`))
	b.sees(`!location.pathname.startsWith("/sign-in")`, 20*time.Second)
	b.open("/me")
	waitFor(t, "the desk is known", 20*time.Second, func() bool { return h.OperatorState(t.Context(), "linyue") == "idle" })

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	resident := newTalker(t, h.URL, "/chat/ws", nil)
	if err := resident.resident(ctx, []string{"请问居住证怎么办"}, func(int) bool { return false }); err != nil {
		t.Fatal(err)
	}
	b.sees(`document.querySelector('form[action$="/accept"] button')`, 15*time.Second)
	b.picture("desk-chat-offered")
	b.do(chromedp.Click(`form[action$="/accept"] button`))
	b.sees(`document.querySelector("form[data-says] textarea") && document.body.innerText.includes("请问居住证怎么办")`, 15*time.Second)
	b.do(chromedp.SendKeys(`form[data-says] textarea`, "带身份证到社区窗口办"), chromedp.Click(`form[data-says] .btn.main`))
	b.sees(`document.querySelector(".chat-log").innerText.includes("带身份证到社区窗口办")`, 15*time.Second)
	b.picture("desk-chat-answered")

	c, err := resident.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if err := wsjson.Write(ctx, c, webchat.In{T: webchat.UpHello, Token: resident.token, After: resident.last()}); err != nil {
		t.Fatal(err)
	}
	for resident.last() < 2 {
		var f webchat.Out
		if err := wsjson.Read(ctx, c, &f); err != nil {
			t.Fatal(err)
		}
		resident.note(f)
	}
	if resident.seen[2] != "带身份证到社区窗口办" {
		t.Errorf("the resident has %q", resident.seen[2])
	}
	b.do(chromedp.Click(`form[action$="/end"] button`))
	list := h.ended(1)
	if len(list) != 1 || *list[0].Outcome != "replied" || list[0].Operator == nil {
		t.Errorf("%+v", list)
	}
	h.clean()
}

// TestLiveChatSendsAPicture: the residents' chat page with its script begins a conversation and sends a picture; the server draws it anew and has it in the conversation.
func TestLiveChatSendsAPicture(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	b := h.browser()
	var png bytes.Buffer
	if err := pngenc.Encode(&png, image.NewRGBA(image.Rect(0, 0, 40, 30))); err != nil {
		t.Fatal(err)
	}
	b.open("/r/chat")
	const root = `[...document.querySelectorAll("*")].map(e => e.shadowRoot).find(r => r && r.querySelector("textarea"))`
	b.sees(root, 15*time.Second)
	run := func(js string) {
		t.Helper()
		if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[any]("(() => { const r = "+root+"; "+js+"; return 1 })()")); err != nil {
			t.Fatal(err)
		}
	}
	run(`r.querySelector("textarea").value = "楼道灯坏了，照片在后面"; r.querySelector("form").requestSubmit()`)
	b.sees(root+`.querySelector(".log .you:not(.unsent)")`, 15*time.Second)
	run(`const raw = Uint8Array.from(atob("` + base64.StdEncoding.EncodeToString(png.Bytes()) + `"), c => c.charCodeAt(0)); const all = new DataTransfer();
		all.items.add(new File([raw], "lamp.png", { type: "image/png" })); const i = r.querySelector("input[type=file]"); i.files = all.files; i.dispatchEvent(new Event("change"))`)
	b.sees(root+`.querySelectorAll(".log .you:not(.unsent)").length === 2 && `+root+`.querySelector(".log").innerText.includes("lamp.png")`, 20*time.Second)
	b.picture("resident-live-chat")
	e := h.contacts()[0]
	var files int
	for range 100 {
		if files = h.ChatFiles(t.Context(), e.ID); files == 1 {
			break
		}
		pause(50 * time.Millisecond)
	}
	if files != 1 || e.Channel != "chat" { // what the page shows as sent is there
		t.Errorf("%d files are in the %s", files, e.Channel)
	}
}
