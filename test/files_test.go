package test

import (
	"bytes"
	"context"
	"encoding/base64"
	"image"
	"image/color"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	pngenc "image/png"

	"github.com/chromedp/chromedp"

	"yingda/internal/users"
)

// red is a picture whose every pixel is told from an empty canvas.
func red(t *testing.T) string {
	t.Helper()
	img := image.NewRGBA(image.Rect(0, 0, 320, 200))
	for i := range img.Pix {
		img.Pix[i] = 255
		if i%4 == 1 || i%4 == 2 {
			img.Pix[i] = 20
		}
	}
	img.Set(1, 1, color.White)
	var out bytes.Buffer
	if err := pngenc.Encode(&out, img); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(out.Bytes())
}

const pdf = "%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF"

// handing is a script that gives an element files, as somebody does who chooses, pastes or drops them.
func handing(files ...[3]string) string {
	js := "const all = new DataTransfer();"
	for _, f := range files {
		js += `all.items.add(new File([Uint8Array.from(atob("` + f[2] + `"), c => c.charCodeAt(0))], "` + f[0] + `", { type: "` + f[1] + `" }));`
	}
	return js
}

// TestFilesBothWays: a resident sends a picture on the live page, the operator sees it at the desk with its name and size, and sends back a picture that was chosen, one
// that was pasted, and a document that was dropped, in one message; the resident's page draws the pictures. One that nobody can use is refused in words and nothing is lost.
func TestFilesBothWays(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	password := h.person("linyue", users.Operator)
	desk := h.browser()
	desk.do(chromedp.EmulateViewport(1366, 768))
	desk.open("/sign-in")
	desk.do(chromedp.SendKeys(`input[name=login]`, "linyue"), chromedp.SendKeys(`input[name=password]`, password), chromedp.Click(`.card .btn.main`))
	desk.sees(`!location.pathname.startsWith("/sign-in")`, 20*time.Second)
	desk.open("/me")
	waitFor(t, "the desk is known", 20*time.Second, func() bool { return h.OperatorState(t.Context(), "linyue") == "idle" })

	resident := h.browser()
	resident.do(chromedp.EmulateViewport(390, 844))
	resident.open("/r/chat")
	const root = `[...document.querySelectorAll("*")].map(e => e.shadowRoot).find(r => r && r.querySelector("textarea"))`
	resident.sees(root, 15*time.Second)
	run := func(b *browser, js string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(b.ctx, 20*time.Second)
		defer cancel()
		if _, err := chromedp.Run(ctx, chromedp.Evaluate[any]("(() => { const r = "+root+"; "+js+"; return 1 })()")); err != nil {
			t.Fatal(err)
		}
	}
	run(resident, `r.querySelector("textarea").value = "楼道灯坏了"; r.querySelector("form").requestSubmit()`)
	desk.sees(`document.querySelector('form[action$="/accept"] button')`, 15*time.Second)
	desk.do(chromedp.Click(`form[action$="/accept"] button`))
	desk.sees(`document.querySelector("form[data-says] textarea")`, 15*time.Second)
	resident.sees(root+`.querySelector(".fact").textContent.includes("linyue")`, 15*time.Second)

	run(resident, handing([3]string{`楼道灯\"1\".jpeg`, "image/png", red(t)})+`const i = r.querySelector("input[type=file]"); i.files = all.files; i.dispatchEvent(new Event("change"))`)
	resident.sees(root+`.querySelector(".file span")?.textContent.startsWith("楼道灯") && !`+root+`.querySelector(".unsent")`, 20*time.Second)
	desk.sees(`[...document.querySelectorAll(".msg.resident .chat-file")].some(a => a.querySelector("img").naturalWidth === 320 && /^楼道灯.1.\.png$/.test(a.querySelector("span").textContent) && a.textContent.includes("KB"))`, 20*time.Second)
	resident.picture("files-resident-sent")

	// The desk: chosen, pasted, dropped, one taken off again, and one that is none.
	run(desk, handing([3]string{"bad.png", "image/png", base64.StdEncoding.EncodeToString([]byte("no picture at all"))})+`const i = document.querySelector("[id^=pick-]"); i.files = all.files; i.dispatchEvent(new Event("change", { bubbles: true }))`)
	desk.sees(`document.querySelector(".chat-say [data-fault]").textContent.includes("这个文件不能接收")`, 15*time.Second)
	desk.picture("files-desk-refused")
	picture := red(t)
	run(desk, handing([3]string{"地图.png", "image/png", picture})+`const i = document.querySelector("[id^=pick-]"); i.files = all.files; i.dispatchEvent(new Event("change", { bubbles: true }))`)
	desk.sees(`document.querySelectorAll(".chat-files img").length === 1 && document.querySelector(".chat-say [data-fault]").hidden`, 15*time.Second)
	run(desk, handing([3]string{"多的.png", "image/png", picture})+`const p = new ClipboardEvent("paste", { clipboardData: all, bubbles: true, cancelable: true }); document.querySelector("[data-says] textarea").dispatchEvent(p)`)
	desk.sees(`document.querySelectorAll(".chat-files img").length === 2`, 15*time.Second)
	run(desk, handing([3]string{"材料清单.pdf", "application/pdf", base64.StdEncoding.EncodeToString([]byte(pdf))})+`document.querySelector(".chat-log").dispatchEvent(new DragEvent("drop", { dataTransfer: all, bubbles: true, cancelable: true }))`)
	desk.sees(`document.querySelectorAll(".chat-files li").length === 3`, 15*time.Second)
	desk.do(chromedp.SendKeys(`form[data-says] textarea`, "按这张图走"))
	desk.picture("files-desk-chosen")
	desk.open("/me") // a page that is left and opened again has them still
	desk.do(chromedp.Click(`.op-rail a[href^="/me?chat="]`))
	desk.sees(`document.querySelectorAll(".chat-files li").length === 3 && document.querySelectorAll(".chat-files img")[1]?.naturalWidth > 0`, 15*time.Second)
	run(desk, `document.querySelectorAll(".chat-files button")[1].click()`)
	desk.sees(`document.querySelectorAll(".chat-files li").length === 2 && document.querySelector("[data-says] textarea").value === "按这张图走"`, 5*time.Second)
	desk.do(chromedp.Click(`form[data-says] .btn.main`))
	desk.sees(`!document.querySelector(".chat-files li") && [...document.querySelectorAll(".msg.us .chat-file")].map(e => e.querySelector("span").textContent).join() === "地图.png,材料清单.pdf"`, 15*time.Second)
	desk.sees(`document.querySelector(".msg.us img").naturalWidth === 320`, 15*time.Second)
	desk.picture("files-desk-sent")
	resident.sees(root+`.querySelector(".us p")?.textContent === "按这张图走" && [...`+root+`.querySelectorAll(".us .file span")].map(e => e.textContent).join() === "地图.png,材料清单.pdf"`, 15*time.Second)
	resident.sees(`(c => c && c.width === 320 && c.getContext("2d").getImageData(100, 100, 1, 1).data[0] === 255)(`+root+`.querySelector(".us canvas"))`, 15*time.Second)
	resident.picture("files-resident-got")
	desk.sees(`[...document.querySelectorAll(".msg.us > small")].every(e => e.textContent.includes("看过了")) && !document.querySelector(".op-rail .now").textContent.includes("没看")`, 15*time.Second)
	if n := h.ChatFiles(t.Context(), h.contacts()[0].ID); n != 3 {
		t.Errorf("%d files are in the conversation, want 3", n)
	}
	run(desk, handing([3]string{"只有图.png", "image/png", picture})+`const i = document.querySelector("[id^=pick-]"); i.files = all.files; i.dispatchEvent(new Event("change", { bubbles: true })); document.querySelector("form[data-says]").requestSubmit()`)
	resident.sees(`[...`+root+`.querySelectorAll(".us .file span")].some(e => e.textContent === "只有图.png")`, 15*time.Second) // without words, and said before it was up
	desk.sees(`!document.querySelector(".chat-pending li")`, 5*time.Second)
}

// TestFileWithoutScript: whoever has no script sees the picture that an operator sent, and nobody else does.
func TestFileWithoutScript(t *testing.T) {
	t.Parallel()
	h := start(t, config(t))
	password := h.person("linyue", users.Operator)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	resident := &http.Client{Jar: jar}
	get := func(c *http.Client, path string) (int, string, string) {
		t.Helper()
		res, err := c.Get(h.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, res.Header.Get("Content-Type"), string(body)
	}
	_, _, page := get(resident, "/r/chat")
	key := regexp.MustCompile(`name="key" value="([^"]+)"`).FindStringSubmatch(page)
	if key == nil {
		t.Fatal("no form")
	}
	res, err := resident.PostForm(h.URL()+"/r/chat", url.Values{"key": {key[1]}, "text": {"办证要带什么"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	operator := signedIn(t, h.URL(), "linyue", password)
	talker := newTalker(t, h.URL, "/desk/chat/ws", operator)
	done := make(chan struct{})
	go func() { defer close(done); talker.desk(ctx) }()
	waitFor(t, "the operator has it", 20*time.Second, func() bool { return talker.last() >= 1 })
	id := string(h.contacts()[0].ID)
	up, err := operator.Post(h.URL()+"/desk/chat/files/"+id, "image/png", base64.NewDecoder(base64.StdEncoding, strings.NewReader(red(t))))
	if err != nil {
		t.Fatal(err)
	}
	raw, _ := io.ReadAll(up.Body)
	_ = up.Body.Close()
	file := regexp.MustCompile(`"id":"([^"]+)"`).FindSubmatch(raw)
	if file == nil {
		t.Fatalf("%d %s", up.StatusCode, raw)
	}
	_, _, deskPage := get(operator, "/me?chat="+id)
	csrf := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(deskPage)
	if csrf == nil {
		t.Fatal("the desk has no form")
	}
	said, err := operator.PostForm(h.URL()+"/me/chats/"+id+"/say", url.Values{"csrf": {csrf[1]}, "ref": {"01928f3a-7c11-4000-8000-0000000000aa"}, "text": {"带这些"}, "file": {string(file[1])}})
	if err != nil {
		t.Fatal(err)
	}
	_ = said.Body.Close()
	var src string
	waitFor(t, "the picture on the page without a script", 20*time.Second, func() bool {
		_, _, page := get(resident, "/r/chat")
		m := regexp.MustCompile(`<img src="(/r/chat/files/[^"]+)"`).FindStringSubmatch(page)
		if m != nil {
			src = m[1]
		}
		return m != nil
	})
	if status, kind, body := get(resident, src); status != 200 || kind != "image/png" || len(body) < 100 {
		t.Errorf("the resident's picture: %d %s, %d bytes", status, kind, len(body))
	}
	if status, _, _ := get(http.DefaultClient, src); status != http.StatusUnauthorized {
		t.Errorf("a stranger is answered with %d", status)
	}
	cancel()
	<-done
}
