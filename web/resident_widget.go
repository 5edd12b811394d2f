package web

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"yingda/web/assets"
	"yingda/web/words"
)

// The widget: a script that other sites put on their pages, and what it must know. Both are public facts that anybody may read from anywhere; who
// may talk is decided at the WebSocket, by its list of origins.

// widgetScript has an address that stays, so its copy in browsers is short-lived.
func (s *Server) widgetScript(v *visit) error {
	h := v.w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("ETag", `"`+strings.TrimPrefix(assets.URL("widget.js"), "/assets/")+`"`)
	http.ServeContent(v.w, v.r, "", time.Time{}, bytes.NewReader(assets.Body("widget.js")))
	return nil
}

// widgetFront is what the hotline is now, in one language.
func (s *Server) widgetFront(v *visit) error {
	v.t = words.Of(v.r.URL.Query().Get("lang"))
	g := s.guest(v)
	opens := ""
	if !g.f.Open && !g.f.Opens.IsZero() {
		opens = g.when(g.f.Opens)
	}
	say := map[string]string{}
	for k, m := range v.t.Keys() {
		if name, ok := strings.CutPrefix(k, "res.w."); ok {
			say[name] = m
		}
	}
	h := v.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	h.Set("Cache-Control", "public, max-age=30")
	return json.NewEncoder(v.w).Encode(map[string]any{"number": g.f.Number, "open": g.f.Open, "hours": g.pick(g.f.Hours), "opens": opens, "chat": g.f.Chat, "page": "/r/chat", "words": say})
}
