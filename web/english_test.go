package web

import (
	"testing"

	"github.com/chromedp/cdproto/network"

	"yingda/internal/users"
)

// Every page in English: nothing scrolls sideways on a desk, at 200 % zoom or on a phone, light or dark, and nothing breaks.
func TestEnglishPages(t *testing.T) {
	h := newHouse(t)
	c := h.chromium()
	c.size(1366, 768, false)
	for role, paths := range map[users.Role]map[string]string{
		users.Operator: {"me": "/me", "me-chat": "/me?chat=" + aChat, "password": "/password"},
		users.Supervisor: {"wall": "/wall", "unreturned": "/unreturned", "heat": "/unreturned/heat", "contacts": "/contacts", "contact": "/contacts/" + someCall, "cases": "/cases", "case": "/cases/" + aCase,
			"search": "/search?q=%E7%81%AF", "lines": "/lines", "history": "/history", "team": "/team", "figures": "/team/figures", "audit": "/audit"},
		users.Administrator: {"users": "/users", "line": "/lines/pm"},
		users.GridWorker:    {"grid": "/grid", "visit": "/grid/" + aVisit, "new": "/grid/new"},
	} {
		c.signIn(role)
		call(c, network.SetCookie, network.SetCookieParams{Name: "lang", Value: "en", URL: h.http.URL})
		for name, path := range paths {
			c.size(1366, 768, false)
			c.open(path)
			c.until(`document.documentElement.lang === "en"`)
			c.shot("en-" + name)
			c.size(683, 384, true)
			c.shot("en-" + name + "-zoom-dark")
			c.size(390, 844, false)
			c.shot("en-" + name + "-phone")
		}
	}
}
