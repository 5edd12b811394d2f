package web

import (
	"testing"
	"time"

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
		c.size(1366, 768, true)
		c.shot("desk-" + s.name + "-dark")
		c.size(683, 384, false)
		c.shot("desk-" + s.name + "-zoom")
	}
}
