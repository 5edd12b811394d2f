package web

import (
	"bytes"
	"compress/gzip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"yingda/internal/users"
)

var (
	namedFile  = regexp.MustCompile(`(?:href|src|data-[a-z]+)="(/(?:assets|widget)[^"#]+)`)
	registered = regexp.MustCompile(`\bpath: "(/[^"]+)"`)
	moreFiles  = regexp.MustCompile(`@import\s+["']([^"']+)|url\(["']?([^"')]+)`)
)

// fetched is everything that a browser loads for a page: the page, the files it names, and what those name.
func fetched(t *testing.T, h *house, page string, also ...string) map[string][]byte {
	t.Helper()
	all := map[string][]byte{"": []byte(page)}
	list := also
	for _, m := range namedFile.FindAllStringSubmatch(page, -1) {
		list = append(list, m[1])
	}
	for len(list) > 0 {
		name := list[0]
		list = list[1:]
		if strings.HasPrefix(name, "data:") || strings.HasPrefix(name, "#") || all[name] != nil {
			continue
		}
		a := h.stranger().get(name)
		if a.status != 200 {
			t.Errorf("%s: %d", name, a.status)
		}
		all[name] = []byte(a.body)
		if strings.HasSuffix(name, ".css") {
			for _, m := range moreFiles.FindAllStringSubmatch(a.body, -1) {
				list = append(list, m[1]+m[2])
			}
		}
	}
	return all
}

// Every page with everything that it loads: a console page is at most 150 kB as it goes over the wire in gzip, a resident's at most 50 kB as it is.
func TestWeights(t *testing.T) {
	h := newHouse(t)
	const contact, aCasePage = "/contacts/" + someCall, "/cases/" + aCase
	var weighed []string
	console := func(role users.Role, path string, also ...string) {
		t.Helper()
		page, _, _ := strings.Cut(path, "?")
		weighed = append(weighed, page)
		a := h.as(role).get(path)
		if a.status != 200 {
			t.Errorf("%s: %d", path, a.status)
			return
		}
		files := fetched(t, h, a.body, also...)
		sum := 0
		for _, body := range files {
			sum += zipped(t, body)
		}
		t.Logf("%-32s %6d bytes in gzip, %d files", path, sum, len(files))
		if sum > 150_000 || len(files) < 3 {
			t.Errorf("%s with its %d files weighs %d bytes", path, len(files), sum)
		}
	}
	for role, paths := range map[users.Role][]string{
		users.Operator:      {"/me", "/me?chat=" + aChat, "/password"},
		users.Supervisor:    {"/wall", "/unreturned", "/unreturned/heat", "/contacts", contact, "/cases", aCasePage, "/search", "/search?q=%E7%81%AF", "/lines", "/history", "/history/table", "/team", "/team/figures", "/audit"},
		users.Administrator: {"/users", "/lines/pm"}, users.GridWorker: {"/cases"},
	} {
		for _, p := range paths {
			console(role, p)
		}
	}
	for _, p := range []string{"/grid", "/grid/" + aVisit, "/grid/new"} {
		console(users.GridWorker, p, "/grid/offline.js")
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range sources { // a page that is added is weighed
		raw, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range registered.FindAllStringSubmatch(string(raw), -1) {
			like := regexp.MustCompile("^" + strings.ReplaceAll(m[1], "{id}", "[^/]+") + "$")
			if !slices.ContainsFunc(weighed, like.MatchString) {
				t.Errorf("%s is not in the table", m[1])
			}
		}
	}
	resident := func(name string, a answer) {
		t.Helper()
		files := fetched(t, h, a.body)
		sum := 0
		for _, body := range files {
			sum += len(body)
		}
		t.Logf("%-32s %6d bytes, %d files", name, sum, len(files))
		if sum > 50_000 || len(files) < 3 {
			t.Errorf("%s with its %d files has %d bytes", name, len(files), sum)
		}
	}
	b := h.stranger()
	for _, p := range []string{"/", "/r/call", "/r/write", "/r/status", "/r/use", "/r/chat"} {
		resident(p, b.get(p))
	}
	resident("promised", b.post("/r/call", url.Values{"phone": {"13800005678"}}))
	resident("receipt", b.send(aLetter(), nil))
	resident("progress", b.post("/r/status", url.Values{"receipt": {"48271093"}, "last": {"5678"}}))
}

func zipped(t *testing.T, b []byte) int {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Len()
}
