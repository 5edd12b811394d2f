// Package assets holds what browsers fetch besides pages: a stylesheet for the desks and one for residents, one sprite of marks and icons, and the scripts. All of it is
// ours or vendored with its licence beside it; nothing comes from elsewhere.
//
// URL gives the address of a file with a hash of its content in it, so that Handler may let browsers keep it for ever; a changed file has
// another address.
//
// What it does not do: it bundles and minifies nothing. The scripts are plain and run as they are in Chromium 86 and Firefox ESR.
package assets

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"time"
)

//go:embed *.css *.svg *.js
var files embed.FS

type asset struct {
	url, kind string
	body      []byte
}

var byName, byURL = load()

func load() (names, urls map[string]*asset) {
	names, urls = map[string]*asset{}, map[string]*asset{}
	add := func(name, kind string, parts ...string) {
		var body []byte
		for _, p := range parts {
			raw, err := files.ReadFile(p)
			if err != nil {
				panic(err)
			}
			body = append(body, raw...)
		}
		sum := sha256.Sum256(body)
		ext := path.Ext(name)
		a := &asset{"/assets/" + strings.TrimSuffix(name, ext) + "." + hex.EncodeToString(sum[:6]) + ext, kind, body}
		names[name], urls[a.url] = a, a
	}
	add("app.css", "text/css; charset=utf-8", "tokens.css", "screens.css", "super.css")
	add("resident.css", "text/css; charset=utf-8", "tokens.css", "resident.css")
	add("sprite.svg", "image/svg+xml", "sprite.svg")
	add("desk.css", "text/css; charset=utf-8", "desk.css")
	add("desk.js", "text/javascript; charset=utf-8", "desk.js")
	add("worker.css", "text/css; charset=utf-8", "worker.css")
	add("worker.js", "text/javascript; charset=utf-8", "worker.js")
	add("offline.js", "text/javascript; charset=utf-8", "offline.js")
	add("widget.js", "text/javascript; charset=utf-8", "widget.js")
	add("live.js", "text/javascript; charset=utf-8", "live.js")
	add("idiomorph.js", "text/javascript; charset=utf-8", "idiomorph.js")
	return names, urls
}

// URL of the file with that name: app.css, resident.css, sprite.svg, live.js, idiomorph.js, desk.js …. Any other name is a bug.
func URL(name string) string { return byName[name].url }

// Body of the file with that name, for one that is served elsewhere. It must not be changed.
func Body(name string) []byte { return byName[name].body }

// Handler serves them under /assets/.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := byURL[r.URL.Path]
		if a == nil {
			http.NotFound(w, r)
			return
		}
		h := w.Header()
		h.Set("Content-Type", a.kind)
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(a.body))
	})
}
