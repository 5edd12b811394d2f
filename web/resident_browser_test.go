package web

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

// resident is somebody outside with a browser whose scripts are switched off.
type resident struct {
	*chrome
	*town
}

func (h *house) resident() resident {
	c := h.chromium()
	c.expects("422", "404", "409", "429", "503")
	r := resident{c, h.sample.town()}
	r.scripts(false)
	return r
}

func (r resident) scripts(on bool) {
	r.Helper()
	call(r.chrome, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on})
}

// look is a picture on a telephone and on a desk, in light and dark, and axe over each with contrast 7:1.
func (r resident) look(name string) {
	r.Helper()
	for _, s := range []struct {
		what string
		w, h int64
		dark bool
	}{{"phone", 390, 844, false}, {"phone-dark", 390, 844, true}, {"desk", 1366, 768, false}} {
		r.size(s.w, s.h, s.dark)
		r.shot("resident-" + name + "-" + s.what)
		if s.what != "desk" {
			r.scripts(true) // axe's; the page was loaded without
			axeViolations(r.chrome, name+" "+s.what, "color-contrast-enhanced")
			r.scripts(false)
		}
	}
	r.size(390, 844, false)
}

// sees waits for words on the page.
func (r resident) sees(words ...string) {
	r.Helper()
	for _, w := range words {
		r.until(fmt.Sprintf("document.body.innerText.includes(%q)", w))
	}
}

func (r resident) press(selector string) {
	r.Helper()
	r.run(chromedp.Click(selector))
}

func (r resident) fill(selector, text string) {
	r.Helper()
	r.run(chromedp.SendKeys(selector, text))
}

// retype writes over what stands in a field.
func (r resident) retype(selector, text string) {
	r.Helper()
	r.run(chromedp.Focus(selector))
	call(r.chrome, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: "rawKeyDown", Commands: []string{"selectAll"}})
	r.fill(selector, text)
}

func (r resident) home() {
	r.Helper()
	call(r.chrome, network.ClearBrowserCookies, cdp.Empty{})
	r.open("/")
	r.sees("有事，打给我们")
}

func picture(t *testing.T, name string, side int) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, side, side))
	for i := range side {
		img.Set(i, i, color.RGBA{200, 100, 0, 255})
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (r resident) choose(selector string, files ...string) {
	r.Helper()
	r.run(chromedp.SetUploadFiles(selector, files))
}

const go_ = "main .btn.main"

// Somebody goes each of the ways, with scripts switched off, and looks at every page and state.
func TestResidentJourneys(t *testing.T) {
	h := newHouse(t)
	r := h.resident()
	r.size(390, 844, false)

	r.home()
	r.look("home")
	if n := r.eval(`document.scripts.length`); n != "0" {
		t.Errorf("the residents' home has %s scripts", n)
	}
	r.change(func() {
		r.front.Open, r.front.Opens, r.front.CallBy = false, noon.Add(18*time.Hour), noon.Add(19*time.Hour)
		r.front.Hours = Said{"工作日 8:30 到 17:30 有人接。", "Working days, 8:30 to 17:30."}
	})
	r.home()
	r.sees("现在没有人接电话")
	r.look("home-closed")
	r.change(func() { r.front.Open, r.front.Busy, r.front.CallBy = true, true, noon.Add(18*time.Minute) })
	r.home()
	r.look("home-busy")
	r.change(func() { r.failing = errors.New("the ledger is away") })
	r.home()
	r.sees("0512-5550-0100")
	r.change(func() { r.failing, r.front.Busy = nil, false })

	// Being called.
	r.home()
	r.press(`a[href="/r/call"]`)
	r.sees("您的电话是多少")
	r.look("call")
	r.press(go_)
	r.sees("还没写电话号码")
	r.fill("#phone", "1380000")
	r.press(go_)
	r.sees("您写的都在")
	if v := r.eval(`document.querySelector("#phone").value`); v != "1380000" {
		t.Errorf("the number typed is now %q", v)
	}
	r.look("call-wrong")
	r.change(func() { r.fail = errors.New("the disk is gone") })
	r.retype("#phone", "１３８ ００００ 5678\r") // from a Chinese keyboard, and Enter
	r.sees("是我们这边的问题")
	r.change(func() { r.fail = nil })
	r.press(go_)
	r.sees("记下了，我们打给您", "138****5678", "14:50 之前")
	if len(r.calls) != 1 {
		t.Errorf("calls promised: %v", r.calls)
	}
	r.look("promised")
	r.press(`main form .res-link`)
	r.sees("好，不打了")
	r.look("call-off")

	// Writing.
	r.home()
	r.press(`a[href="/r/write"]`)
	r.sees("出了什么事", "第 1 步，共 4 步")
	r.look("write-1")
	r.press(go_)
	r.sees("还没写是什么事")
	const story = "三号楼二单元楼道灯不亮一个多礼拜了，\n晚上下楼看不见，我腿脚不好怕摔。<b>"
	r.fill("#text", story)
	r.press(go_)
	r.sees("在哪里", "第 2 步")
	r.look("write-2")
	r.fill("#place", "梅苑小区三号楼")
	r.press(`.res-foot button[value="look:en"]`) // what is typed stays
	r.sees("Where is it?")
	if v := r.eval(`document.querySelector("#place").value`); v != "梅苑小区三号楼" {
		t.Errorf("after changing the language the place is %q", v)
	}
	r.press(`.res-foot button[value="look:zh-Hans"]`)
	r.sees("在哪里")
	r.press(`.res-back button`)
	r.sees("第 1 步")
	if v := r.eval(`document.querySelector("#text").value`); v != story {
		t.Errorf("going back the words are %q", v)
	}
	r.press(go_)
	r.sees("第 2 步")
	r.press(go_)
	r.sees("第 3 步")
	r.look("write-3")
	r.fill("#phone", "13800005678\r")
	r.sees("有照片吗", "第 4 步", "梅苑小区三号楼", "13800005678")
	r.look("write-4")
	r.press(`button[value="change:place"]`)
	r.sees("第 2 步")
	r.retype("#place", "梅苑 3 号楼 2 单元\r")
	r.sees("第 3 步")
	r.press(go_)
	r.sees("有照片吗")
	bad := filepath.Join(t.TempDir(), "list.png")
	if err := os.WriteFile(bad, []byte("no picture at all"), 0o600); err != nil {
		t.Fatal(err)
	}
	r.choose("#photo", picture(t, "a.png", 40), bad)
	r.press(go_)
	r.sees("第 2 张：您写的都在", "梅苑 3 号楼 2 单元")
	r.look("write-photo")
	r.choose("#photo", picture(t, "b.png", 900), picture(t, "c.png", 40))
	r.press(go_)
	r.sees("收到了", "4827 1093", "明天 12:32")
	r.look("receipt")
	if len(r.order) != 1 {
		t.Fatalf("letters taken: %v", r.order)
	}
	got := r.letters[r.order[0]]
	if got.Text.Reveal() != story || got.Place.Reveal() != "梅苑 3 号楼 2 单元" || got.Number.Reveal() != "13800005678" || strings.Join(got.photos, " ") != "b.png c.png" {
		t.Errorf("the office got %q at %q from %q with %v", got.Text.Reveal(), got.Place.Reveal(), got.Number.Reveal(), got.photos)
	}
	call(r.chrome, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	r.shot("resident-receipt-print")
	if v := r.eval(`getComputedStyle(document.querySelector(".res-top")).display`); v != "none" {
		t.Errorf("the receipt is printed with the head of the page: %s", v)
	}
	call(r.chrome, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})

	// With the browser's own button, and without a number.
	r.home()
	r.press(`a[href="/r/write"]`)
	r.fill("#text", "井盖没了")
	r.press(go_)
	r.sees("第 2 步")
	r.fill("#place", "望江路口")
	r.press(go_)
	r.sees("第 3 步")
	r.run(chromedp.NavigateBack())
	r.sees("第 2 步")
	r.run(chromedp.NavigateBack())
	r.sees("第 1 步")
	if v := r.eval(`document.querySelector("#text").value`); v != "井盖没了" {
		t.Errorf("with the browser's own back the words are %q", v)
	}
	r.press(go_)
	r.sees("第 2 步")
	r.press(go_)
	r.sees("第 3 步")
	r.press(`button[value="nophone"]`)
	r.sees("第 4 步")
	r.press(go_)
	r.sees("收到了", "7052")
	r.look("receipt-nophone")

	// Looking it up.
	r.home()
	r.press(`a[href="/r/status"]`)
	r.sees("查询号码是多少")
	r.look("status")
	r.fill("#receipt", "4827 109\r")
	r.sees("这里有 7 位")
	r.retype("#receipt", "４８２７ 1093\r")
	r.sees("您电话的后四位")
	r.look("status-last")
	r.fill("#last", "5679\r")
	r.sees("没查到")
	r.look("status-unknown")
	r.retype("#last", "5678\r")
	r.sees("楼道灯：约了师傅，明天上午来", "陆建平")
	r.look("progress")
	r.change(func() {
		r.progress.Closed, r.progress.State, r.progress.Now, r.progress.Answer = true, "closed", "", "换了三个感应开关。\n每层都试过，都亮。"
		r.progress.Steps = append(r.progress.Steps[:2], ProgressStep{"closed", "", noon, "did"})
	})
	r.run(chromedp.Reload()) // a form sent again
	r.sees("换了三个感应开关")
	r.look("progress-closed")

	r.open("/r/use")
	r.sees("遮住")
	r.look("use")

	// 标准版, English.
	r.home()
	before := r.eval(`getComputedStyle(document.documentElement).fontSize`)
	r.press(`.res-foot button[name=size]`)
	r.until(`document.documentElement.dataset.size === "standard"`)
	if after := r.eval(`getComputedStyle(document.documentElement).fontSize`); before != "22px" || after != "18px" {
		t.Errorf("letters of %s, then %s", before, after)
	}
	r.look("home-standard")
	r.press(`.res-foot button[value=en]`)
	r.sees("Let us call you")
	r.look("home-english")
	fmt.Fprintln(os.Stderr, "pictures are in", r.shots)
}

// A chat without a script.
func TestResidentChat(t *testing.T) {
	h := newHouse(t)
	r := h.resident()
	r.size(390, 844, false)
	r.home()
	r.press(`a[href="/r/chat"]`)
	r.sees("打字跟我们说")
	r.look("chat")
	r.fill("#text", "楼道灯坏了")
	r.press(go_)
	r.sees("正在找人来回您", "楼道灯坏了")
	r.look("chat-waiting")
	r.answer("许航", "您好，是哪栋楼？")
	r.fill("#text", "三号")
	r.press(`button[value=refresh]`)
	r.sees("许航 在跟您说话", "是哪栋楼")
	if v := r.eval(`document.querySelector("#text").value`); v != "三号" {
		t.Errorf("looking for an answer left %q of what was typed", v)
	}
	r.retype("#text", "三号楼")
	r.press(go_)
	r.sees("三号楼")
	r.look("chat-open")
	r.press(`.res-more summary`)
	r.fill("#phone", "138")
	r.press(`button[value=number]`)
	r.sees("这个号码好像不对")
	r.retype("#phone", "13800005678")
	r.look("chat-number")
	r.press(`button[value=number]`)
	r.until(`!document.querySelector(".res-more")`)
	if len(r.calls) != 1 {
		t.Errorf("numbers left: %v", r.calls)
	}
	r.fill("#text", "还有一句")
	r.change(func() {
		for _, k := range r.talks {
			k.State = "ended"
		}
	})
	r.press(go_)
	r.sees("这次聊天已经结束", "您写的还在")
	r.look("chat-gone")
	r.press(`button[value=new]`)
	r.sees("正在找人来回您", "还有一句")
	r.press(`button[value=end]`)
	r.sees("这次聊完了")
	r.look("chat-ended")
	if n := len(r.talks); n != 2 {
		t.Errorf("%d chats", n)
	}
}

// By keyboard alone, and at 200 % zoom (a telephone of 195 px, a desk of 683).
func TestResidentKeyboardAndZoom(t *testing.T) {
	h := newHouse(t)
	r := h.resident()
	r.size(390, 844, false)
	r.home()
	tab := func() {
		for _, typ := range []input.DispatchKeyEventType{"rawKeyDown", "keyUp"} {
			call(r.chrome, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: typ, Key: "Tab", Code: "Tab", WindowsVirtualKeyCode: 9})
		}
	}
	enter := func() {
		for _, typ := range []input.DispatchKeyEventType{"keyDown", "keyUp"} {
			call(r.chrome, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: typ, Key: "Enter", Code: "Enter", Text: "\r", WindowsVirtualKeyCode: 13})
		}
	}
	focus := func(on string) {
		t.Helper()
		for range 30 {
			tab()
			if r.eval(fmt.Sprintf(`Boolean(document.activeElement.matches(%q))`, on)) == "true" {
				if r.eval(`getComputedStyle(document.activeElement).boxShadow`) == "none" {
					t.Errorf("%s does not show that it has the focus", on)
				}
				return
			}
			if r.eval(`Boolean(document.activeElement.closest(".vh"))`) == "true" {
				t.Error("the keyboard comes to something that nobody sees")
			}
		}
		t.Fatalf("the keyboard never comes to %s", on)
	}
	focus(`a[href="/r/call"]`)
	enter()
	r.sees("您的电话是多少")
	focus("#phone")
	for _, k := range "13800005678" {
		call(r.chrome, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: "char", Text: string(k)})
	}
	focus(go_)
	enter()
	r.sees("记下了")

	for _, at := range []struct {
		name string
		w, h int64
	}{{"phone", 195, 422}, {"desk", 683, 384}} {
		r.size(at.w, at.h, false)
		for _, p := range []string{"/", "/r/call", "/r/write", "/r/status", "/r/chat", "/r/use"} {
			r.open(p)
			r.shot("resident-zoom-" + at.name + strings.ReplaceAll(p, "/", "-"))
			if n := r.eval(`Array.from(document.querySelectorAll("a,button,input:not([type=hidden]),textarea,summary")).filter(e => !e.closest(".vh")).filter(e => e.getBoundingClientRect().height < 44).map(e => e.outerHTML).join("\n")`); n != "" {
				t.Errorf("%s at %s: smaller than a finger:\n%s", p, at.name, n)
			}
		}
	}
}
