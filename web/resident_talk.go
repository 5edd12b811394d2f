package web

import (
	"errors"
	"net/http"
	"strings"
	"unicode/utf8"

	"yingda/internal/pii"
)

// The chat without a script: a form that posts, and a button that looks for answers and keeps what is typed. With a script the same page
// talks over its WebSocket. Whose conversation it is stands in a cookie that lasts until the browser is closed or the chat ends.

const talkCookie = "yingda-chat"

// typed is what stands in the forms of the chat page.
type typed struct {
	Key, Text, Phone string
	Fault            string // of the words
	PhoneFault       string
}

func (g *guest) talkSecret() string {
	if c, err := g.r.Cookie(talkCookie); err == nil && len(c.Value) <= 512 {
		return c.Value
	}
	return ""
}

func (g *guest) setTalk(secret string) {
	c := &http.Cookie{Name: talkCookie, Value: secret, Path: "/r/", HttpOnly: true, Secure: g.srv.c.Secure, SameSite: http.SameSiteLaxMode}
	if secret == "" {
		c.MaxAge = -1
	}
	http.SetCookie(g.w, c)
}

func (g *guest) talk() error {
	return g.talkPage(http.StatusOK, typed{})
}

// mayTalk lets the page's script reach our WebSocket: not every browser takes 'self' for that.
func (g *guest) mayTalk() {
	host := g.r.Host
	if strings.Trim(host, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-:[]") == "" {
		g.w.Header().Set("Content-Security-Policy", policy+"; connect-src 'self' ws://"+host+" wss://"+host)
	}
}

// talkPage shows the conversation, or the form that begins one.
func (g *guest) talkPage(status int, t typed) error {
	if t.Key == "" {
		t.Key = newKey()
	}
	g.form, g.action = "step", "/r/chat"
	g.mayTalk()
	secret := g.talkSecret()
	if secret == "" {
		if !g.f.Chat {
			return g.page(status, "/r/", g.T("res.chat.none"), resSaid(g, "g-wait", "quiet", "res.chat.none", "res.chat.none.text"))
		}
		return g.page(status, "/r/", g.T("res.chat.head"), resLive(g, "", resTalkStart(g, t)))
	}
	c, err := g.srv.o.ResidentChats.History(g.ctx(), secret, 0)
	switch {
	case errors.Is(err, ErrNotFound):
		g.setTalk("")
		if !g.f.Chat {
			return g.page(status, "/r/", g.T("res.chat.none"), resSaid(g, "g-wait", "quiet", "res.chat.none", "res.chat.none.text"))
		}
		return g.page(status, "/r/", g.T("res.chat.head"), resLive(g, "", resTalkStart(g, t)))
	case err != nil:
		s, say := g.trouble("read a chat", err)
		t.Fault = say
		return g.page(s, "/r/", g.T("res.chat.head"), resTalk(g, Talk{State: "unread"}, t))
	}
	if c.State == "ended" {
		g.form = ""
	}
	if t != (typed{Key: t.Key}) || c.State == "ended" { // something is to be read, or put right, on this page as it stands
		return g.page(status, "/r/", g.T("res.chat.head"), resTalk(g, c, t))
	}
	return g.page(status, "/r/", g.T("res.chat.head"), resLive(g, secret, resTalk(g, c, t)))
}

func (g *guest) talkPost() error {
	f := g.r.PostForm
	t := typed{Key: cut(f.Get("key"), 40), Text: strings.ReplaceAll(f.Get("text"), "\r", ""), Phone: cut(f.Get("phone"), 40)}
	secret, chats := g.talkSecret(), g.srv.o.ResidentChats
	if g.look() {
		return g.talkPage(http.StatusOK, t)
	}
	switch what := f.Get("go"); {
	case what == "refresh":
		return g.talkPage(http.StatusOK, t)
	case what == "new":
		g.setTalk("")
		secret = ""
		if strings.TrimSpace(t.Text) == "" {
			g.to("/r/chat")
			return nil
		}
	case secret != "" && what == "end":
		if err := chats.End(g.ctx(), secret); err != nil && !errors.Is(err, ErrNotFound) && !errors.Is(err, ErrGone) {
			var status int
			status, t.Fault = g.trouble("end a chat", err)
			return g.talkPage(status, t)
		}
		g.to("/r/chat")
		return nil
	case secret != "" && what == "number":
		return g.talkNumber(secret, t)
	}
	text := strings.TrimSpace(prose(t.Text))
	switch n := utf8.RuneCountInString(text); {
	case text == "":
		t.Fault = g.T("res.fault.no_text")
	case n > maxText:
		t.Fault = g.T("res.fault.long", maxText, n-maxText)
	case g.trapped():
		t.Fault = g.T("res.fault.trap")
	}
	if t.Fault != "" {
		return g.talkPage(http.StatusUnprocessableEntity, t)
	}
	if secret == "" {
		var back func()
		if t.Fault, back = g.spend(cost{g.srv.c.Limits.ChatsPerAddress, "chat from", g.address()}); t.Fault != "" {
			return g.talkPage(http.StatusTooManyRequests, t)
		}
		secret, err := chats.Start(g.ctx(), TalkStart{Key: t.Key, Line: g.f.Line, Text: pii.NewText(text), Address: g.srv.c.From(g.r)})
		if err != nil {
			back()
			var status int
			status, t.Fault = g.trouble("begin a chat", err)
			return g.talkPage(status, t)
		}
		g.setTalk(secret)
		g.to("/r/chat")
		return nil
	}
	if t.Fault = g.wait(g.srv.c.Limits.WordsPerChat, "words in", secret); t.Fault != "" {
		return g.talkPage(http.StatusTooManyRequests, t)
	}
	err := chats.Post(g.ctx(), secret, t.Key, pii.NewText(text))
	switch {
	case errors.Is(err, ErrGone):
		t.Fault = g.T("res.chat.gone")
		return g.talkPage(http.StatusConflict, t)
	case errors.Is(err, ErrNotFound):
		g.setTalk("")
		g.r.Header.Del("Cookie")
		t.Fault = g.T("res.chat.forgotten")
		return g.talkPage(http.StatusConflict, t)
	case err != nil:
		var status int
		status, t.Fault = g.trouble("write in a chat", err)
		return g.talkPage(status, t)
	}
	g.to("/r/chat#last")
	return nil
}

func (g *guest) talkNumber(secret string, t typed) error {
	number := phone(t.Phone)
	if number.IsZero() {
		t.PhoneFault = g.T("res.fault.number")
		return g.talkPage(http.StatusUnprocessableEntity, t)
	}
	t.PhoneFault = g.wait(g.srv.c.Limits.CallsPerNumber, "call to", number.National().Reveal())
	if t.PhoneFault != "" {
		return g.talkPage(http.StatusTooManyRequests, t)
	}
	_, err := g.srv.o.ResidentChats.LeaveNumber(g.ctx(), secret, number)
	switch {
	case errors.Is(err, ErrNumber):
		t.PhoneFault = g.T("res.fault.number")
		return g.talkPage(http.StatusUnprocessableEntity, t)
	case errors.Is(err, ErrGone), errors.Is(err, ErrNotFound): // it has ended meanwhile: being called is still to be had
		return g.callForm(http.StatusConflict, t.Phone, g.T("res.chat.gone.call"))
	case err != nil:
		var status int
		status, t.PhoneFault = g.trouble("leave a number", err)
		return g.talkPage(status, t)
	}
	g.to("/r/chat")
	return nil
}
