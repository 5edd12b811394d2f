package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"yingda/internal/app"
	"yingda/internal/browsertest"
	"yingda/internal/users"
	"yingda/telephony/phonetest"
)

// browser is one headless Chromium that looks at a running hotline.
type browser struct {
	*hotline
	ctx context.Context
}

func (h *hotline) browser() *browser {
	h.t.Helper()
	ctx := browsertest.Start(h.t)
	if err := chromedp.Do(ctx, chromedp.EmulateViewport(1440, 1000)); err != nil {
		h.t.Fatal(err)
	}
	return &browser{h, ctx}
}

func (b *browser) do(a ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, 30*time.Second)
	defer cancel()
	if err := chromedp.Do(ctx, a...); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.URL()+path), chromedp.WaitReady("body"))
}

// sees waits until the page holds the words (a JavaScript expression is true).
func (b *browser) sees(js string, within time.Duration) {
	b.t.Helper()
	browsertest.Until(b.ctx, b.t, js, within)
}

// picture is kept when YINGDA_SHOTS names a folder.
func (b *browser) picture(name string) {
	dir := os.Getenv("YINGDA_SHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// person makes an account with a password that need not be changed.
func (h *hotline) person(login string, role users.Role) string {
	h.t.Helper()
	const chosen = "a-long-test-password"
	oneTime, err := h.CreateUser(h.t.Context(), login, login, string(role), nil)
	if err != nil {
		h.t.Fatal(err)
	}
	u, err := h.Users().ByLogin(h.t.Context(), login)
	if err != nil {
		h.t.Fatal(err)
	}
	if err := h.Users().ChangePassword(h.t.Context(), u.ID, oneTime, chosen, "test", ""); err != nil {
		h.t.Fatal(err)
	}
	return chosen
}

// phone is a plain SIP phone that goes with the test.
func phone(t *testing.T, c phonetest.Config) *phonetest.Phone {
	t.Helper()
	p, err := phonetest.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// TestJourney: a supervisor signs in, sees a call arrive on the wall, finds the caller among those not reached, phones them back from the page
// (the supervisor's desk phone rings first, then the resident's), sees them leave the list, and finds the contact by search.
func TestJourney(t *testing.T) {
	t.Parallel()
	c := config(t)
	c.SIP.UDP = "127.0.0.1:" + freePort(t)                                                                              // the phones answer to it, so it must be known before it starts
	resident := phone(t, phonetest.Config{Server: c.SIP.UDP, OnCall: func(c *phonetest.Call) { c.Ring(); c.Answer() }}) // the resident's own phone
	c.Trunks = []app.Trunk{{Name: "town", Allow: []string{"127.0.0.0/8"}, Out: resident.Addr()}}
	h := start(t, c)
	password := h.person("boss", users.Supervisor)
	user, secret := h.phoneOf("boss")
	rings := make(chan *phonetest.Call, 1)
	desk := phone(t, phonetest.Config{Server: h.udp.String(), User: user, Password: secret, OnCall: func(c *phonetest.Call) { c.Ring(); c.Answer(); rings <- c }})
	if err := desk.Register(t.Context()); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the desk phone is known", 10*time.Second, func() bool { return h.OperatorState(t.Context(), "boss") != "" })
	if err := h.OnBreak(t.Context(), "boss", "meeting"); err != nil { // nobody answers calls today
		t.Fatal(err)
	}

	b := h.browser()
	b.open("/sign-in")
	b.do(chromedp.SendKeys(`input[name=login]`, "boss"), chromedp.SendKeys(`input[name=password]`, password), chromedp.Click(`.card .btn.main`))
	b.sees(`!location.pathname.startsWith("/sign-in")`, 20*time.Second)

	b.open("/wall")
	caller := h.sipp("call", 9*time.Second)
	b.sees(`document.body.innerText.match(/正在等\s*1/)`, 8*time.Second)
	b.picture("journey-wall")
	caller.wait(t, 40*time.Second)
	b.sees(`document.body.innerText.match(/还没联系上的人\s*1/)`, 10*time.Second)

	b.open("/unreturned")
	b.sees(`document.body.innerText.match(/1\s*人打来过/)`, 10*time.Second)
	b.picture("journey-unreturned")
	b.do(chromedp.Click(`form[action$="/call"] button`))
	select {
	case call := <-rings: // their own desk phone rings first, then the resident's; they speak, and the desk hangs up
		waitFor(t, "the resident to be heard at the desk", 30*time.Second, func() bool { return h.Talking(t.Context(), "boss") })
		pause(2 * time.Second)
		call.Hangup()
	case <-time.After(20 * time.Second):
		t.Fatal("the desk phone did not ring")
	}
	b.open("/unreturned")
	b.sees(`!document.body.innerText.match(/1\s*人打来过/)`, 15*time.Second)
	b.picture("journey-returned")

	e := h.contacts()[0]
	b.open("/search?q=51255501234")
	b.sees(fmt.Sprintf(`document.querySelector('a[href*="%s"]')`, e.ID), 15*time.Second)
	b.picture("journey-search")
	b.open("/contacts/" + string(e.ID))
	b.sees(`document.body.innerText.includes("生成回拨任务") && document.body.innerText.includes("回拨接通")`, 15*time.Second)
	b.picture("journey-contact")
	h.clean()
}
