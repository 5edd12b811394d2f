package test

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"yingda/intake"
	"yingda/internal/app"
	"yingda/internal/pii"
	"yingda/internal/users"
	"yingda/routing"
	"yingda/routing/casebook"
	"yingda/routing/grid/griddemo"
	"yingda/telephony/phonetest"
)

// TestGridWorkerCalls: a grid worker's phone is on the hotline. It is never rung for those who call; on /grid the worker presses call, their phone rings without showing the
// resident's number, then the resident's does without showing theirs; they hear each other, and the try is in the books and on the case. Of a case that nobody is owed a
// call for, the case itself says what came of it. With the phone gone, the page offers to ask the hotline.
func TestGridWorkerCalls(t *testing.T) {
	t.Parallel()
	const workerTone, residentTone, number, login = 700, 1100, "051255501234", "luworker"
	c := config(t)
	c.SIP.UDP = "127.0.0.1:" + freePort(t)
	atResident, atWorker := make(chan *phonetest.Call, 4), make(chan *phonetest.Call, 4)
	resident := phone(t, phonetest.Config{Server: c.SIP.UDP, OnCall: func(c *phonetest.Call) { c.Ring(); c.Answer(); atResident <- c }})
	c.Trunks = []app.Trunk{{Name: "town", Allow: []string{"127.0.0.0/8"}, Out: resident.Addr()}}
	h := start(t, c)
	ctx := t.Context()
	if err := h.Cases().SaveRegistry(ctx, griddemo.Registry("2026-11", time.Time{}), 0, "admin"); err != nil {
		t.Fatal(err)
	}
	const grid = intake.GridID("32059900100103")
	oneTime, err := h.CreateUser(ctx, login, "陆建平", string(users.GridWorker), []string{string(grid)})
	if err != nil {
		t.Fatal(err)
	}
	const password = "a-long-test-password"
	u, err := h.Users().ByLogin(ctx, login)
	if err == nil {
		err = h.Users().ChangePassword(ctx, u.ID, oneTime, password, "test", "")
	}
	if err != nil {
		t.Fatal(err)
	}
	user, secret := h.phoneOf(login)
	mobile, err := phonetest.New(phonetest.Config{Server: h.udp.String(), User: user, Password: secret, OnCall: func(c *phonetest.Call) { c.Ring(); c.Answer(); atWorker <- c }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(mobile.Close)
	if err := mobile.Register(ctx); err != nil {
		t.Fatal(err)
	}

	// Somebody calls and nobody is there: the worker's phone stays quiet.
	h.sipp("call", 7*time.Second).wait(t, 30*time.Second)
	e := h.want(intake.AbandonedQueue)
	if e.Callback == nil {
		t.Fatal("no callback was born")
	}
	if s := h.OperatorState(ctx, login); s != "" {
		t.Errorf("the worker is %q in the operators' queue", s)
	}
	select {
	case <-atWorker:
		t.Fatal("the worker's phone rang for a call to the hotline")
	default:
	}
	open := func(o casebook.OpenCase) intake.CaseID {
		t.Helper()
		o.Grid, o.Name, o.Number, o.Department, o.Next = grid, pii.NewName("赵福生"), pii.NewPhone(number), routing.NoDepartment, routing.NextDispatch
		made, err := h.Cases().Open(ctx, o)
		if err != nil {
			t.Fatal(err)
		}
		return made.ID
	}
	visit := open(casebook.OpenCase{Source: intake.FromVisit, Callback: intake.CallbackID(*e.Callback), Channel: intake.Phone, Contacts: []intake.ContactID{e.ID}, Words: pii.NewText("打不通，请上门看看")})
	light := open(casebook.OpenCase{Source: intake.FromOperator, Channel: intake.Phone, Words: pii.NewText("路灯不亮")})

	b := h.browser()
	b.do(chromedp.EmulateViewport(390, 844))
	b.open("/sign-in")
	b.do(chromedp.SendKeys(`input[name=login]`, login), chromedp.SendKeys(`input[name=password]`, password), chromedp.Click(`.card .btn.main`))
	b.sees(`location.pathname === "/grid"`, 20*time.Second)

	take := func(what string, from chan *phonetest.Call) *phonetest.Call {
		t.Helper()
		select {
		case call := <-from:
			return call
		case <-time.After(20 * time.Second):
			t.Fatalf("the phone of %s did not ring", what)
			return nil
		}
	}
	talk := func(page intake.CaseID, picture string) {
		t.Helper()
		b.open("/grid/" + string(page))
		b.sees(`document.querySelector('form[action$="/call"] button')`, 15*time.Second)
		b.picture(picture)
		b.do(chromedp.Click(`form[action$="/call"] button`))
		worker := take("the worker", atWorker)
		if strings.Contains(string(worker.Inv.Bytes()), number[4:]) {
			t.Errorf("the worker's phone shows the resident's number:\n%s", worker.Inv.Bytes())
		}
		theirs := take("the resident", atResident)
		if s := string(theirs.Inv.Bytes()); strings.Contains(s, login) || strings.Contains(s, "陆") {
			t.Errorf("the resident's phone shows the worker:\n%s", s)
		}
		worker.Audio().Tone(workerTone)
		theirs.Audio().Tone(residentTone)
		waitFor(t, "both to hear each other", 20*time.Second, func() bool {
			return worker.Audio().Hears(residentTone) > 0.5 && theirs.Audio().Hears(workerTone) > 0.5
		})
		worker.Hangup()
	}
	talk(visit, "worker-call")
	boss := signedIn(t, h.URL(), "boss", h.person("boss", users.Supervisor))
	waitFor(t, "the try in the books", 15*time.Second, func() bool {
		res, err := boss.Get(h.URL() + "/contacts/" + string(e.ID))
		if err != nil {
			return false
		}
		defer res.Body.Close()
		page, err := io.ReadAll(res.Body)
		return err == nil && strings.Contains(string(page), "回拨接通") && strings.Contains(string(page), "陆建平")
	})
	b.open("/grid/" + string(visit))
	b.picture("worker-called")

	talk(light, "worker-call-case")
	b.open("/grid/" + string(light))
	b.sees(`document.body.innerText.includes("通过热线打给居民，说上话了")`, 15*time.Second)
	b.picture("worker-called-case")

	// The phone is gone: asking is still to be had.
	gone, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := mobile.Unregister(gone); err != nil {
		t.Fatal(err)
	}
	b.open("/grid/" + string(light))
	b.sees(`!document.querySelector('form[action$="/call"]') && document.querySelector('button[value=ask_call]')`, 15*time.Second)
	b.picture("worker-no-phone")

	// An operator becomes a grid worker: from the next registration of their phone on they are rung no more, and the phone stays good to call out by.
	user, secret = h.operator("turned")
	turned := phone(t, phonetest.Config{Server: h.udp.String(), User: user, Password: secret})
	if err := turned.Register(ctx); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the operator is free", 10*time.Second, func() bool { return h.OperatorState(ctx, "turned") == "idle" })
	was, err := h.Users().ByLogin(ctx, "turned")
	if err == nil {
		err = h.Users().Update(ctx, was.ID, users.Fresh{Login: was.Login, Name: was.Name, Role: users.GridWorker, Grids: []intake.GridID{grid}})
	}
	if err == nil {
		err = turned.Register(ctx)
	}
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "who was an operator to be out of the queue", 10*time.Second, func() bool { s := h.OperatorState(ctx, "turned"); return s == "" || s == "offline" })
	h.clean()
}
