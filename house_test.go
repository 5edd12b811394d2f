// Package yingda has no code of its own: at the root stand the rules of the house, as tests over the source.
package yingda

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"
)

const module = "yingda"

// may says what else of ours a package may import, beside intake and internal/pii, which everybody may. A package that is not
// listed may import only those two: whoever adds a package adds its line here. "…/*" stands for everything below.
var may = map[string][]string{
	"deploy":                     {},
	"cmd/yingda":                 {"internal/*", "intake/wire"},
	"bench/hotline":              {"bench/rig", "internal/app", "internal/demo", "telephony/phonetest"},
	"bench/media":                {"telephony", "telephony/media", "telephony/sound"},
	"bench/pipeline":             {"intake/*", "search", "search/*", "bench/rig", "internal/app", "telephony/phonetest"}, // the servers it measures
	"bench/rig":                  {"internal/app", "internal/demo"},
	"intake/queue":               {},
	"intake/answerrate":          {},
	"intake/recovery":            {},
	"intake/books":               {"intake/answerrate", "intake/recovery", "intake/stream", "internal/store"},
	"intake/wire":                {"internal/jsonform"},
	"intake/stream":              {},
	"intake/stream/sqllog":       {"intake/stream"},
	"intake/stream/kafka":        {"intake/stream", "internal/jsonform"},
	"intake/stream/streamtest":   {"intake/stream"},
	"telephony":                  {},
	"telephony/ivr":              {"telephony"},
	"telephony/call":             {"telephony", "telephony/ivr"},
	"telephony/switchboard":      {"telephony", "telephony/call", "telephony/ivr", "intake/queue", "internal/timers"},
	"telephony/sound":            {},
	"telephony/prompts":          {"telephony/sound"},
	"telephony/prompts/makepack": {"telephony/*"},
	"telephony/media":            {"telephony", "telephony/sound"},
	"telephony/sip":              {"telephony", "telephony/media", "telephony/sound"},
	"telephony/phonetest":        {"telephony/sound"},
	"search":                     {},
	"search/bleve":               {"search", "intake/stream"},
	"search/elastic":             {"search", "intake/stream"},
	"search/searchtest":          {"search", "search/*", "intake/stream"},
	"routing":                    {},
	"routing/grid":               {"routing", "internal/gcj02"},
	"routing/rules":              {"routing"},
	"routing/caselife":           {"routing"},
	"routing/casebook":           {"routing", "routing/*", "intake/stream", "internal/store"},
	"routing/griddemo":           {"routing", "routing/grid"},
	"routing/grid/griddemo":      {"routing", "routing/grid"},
	"channels":                   {},
	"channels/chat":              {"channels", "intake/queue", "internal/timers"},
	"channels/picture":           {},
	"channels/sealed":            {},
	"channels/webchat":           {"channels", "channels/chat", "channels/picture", "channels/sealed", "intake/stream", "internal/store"},
	"channels/app":               {"channels", "channels/picture", "channels/sealed", "intake/stream", "internal/gcj02", "internal/store", "internal/users"},
	"channels/channeltest":       {"intake/recovery"},
	"web":                        {"telephony", "channels", "search", "routing", "internal/users", "web/*"},
	"web/pages":                  {"telephony", "search", "routing", "internal/users", "web/*"},
	"web/assets":                 {},
	"web/words":                  {},
	"internal/pii":               {},
	"internal/browsertest":       {},
	"internal/gcj02":             {},
	"internal/jsonform":          {},
	"internal/loop":              {},
	"internal/timers":            {},
	"internal/store":             {"intake/stream"},
	"internal/store/storetest":   {},
	"internal/users":             {"internal/store"},
	"internal/residents":         {"internal/store"},
	"internal/lines":             {"internal/store"},
	"internal/app":               {"*"},
	"internal/demo":              {"*"},
}

// pure packages know no clock, no network, no files and no goroutine.
var pure = []string{"intake", "intake/queue", "intake/answerrate", "intake/recovery", "intake/wire", "telephony", "telephony/ivr",
	"telephony/call", "telephony/switchboard", "telephony/sound", "search", "routing", "routing/grid", "routing/rules", "routing/caselife", "internal/pii", "internal/gcj02", "internal/jsonform", "internal/timers", "channels", "channels/chat"}

const longest = 900 // lines in a Go file; when one nears it, it holds two ideas

// source is what the rules look at: one Go file.
type source struct {
	pkg   string // folder from the root, "" for the root
	file  string // from the root
	test  bool
	made  bool // generated
	lines int
	ast   *ast.File
	fset  *token.FileSet
}

// read parses every Go file below root, testdata left out.
func read(t *testing.T, root string) []source {
	t.Helper()
	var list []source
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); p != root && (n == "testdata" || n == "node_modules" || strings.HasPrefix(n, ".") || strings.HasPrefix(n, "_")) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		raw, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, p, raw, parser.ParseComments)
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		rel = filepath.ToSlash(rel)
		pkg := path.Dir(rel)
		if pkg == "." {
			pkg = ""
		}
		list = append(list, source{pkg, rel, strings.HasSuffix(p, "_test.go"), ast.IsGenerated(f), strings.Count(string(raw), "\n"), f, fset})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func imports(s source) []string {
	var list []string
	for _, i := range s.ast.Imports {
		p, _ := strconv.Unquote(i.Path.Value)
		list = append(list, p)
	}
	return list
}

// wrongImports: who imports whom, tests left out (they may know more, to have peers).
func wrongImports(files []source) []string {
	var wrong []string
	for _, s := range files {
		if s.test {
			continue
		}
		for _, imp := range imports(s) {
			ours, ok := strings.CutPrefix(imp, module+"/")
			if !ok || ours == "intake" || ours == "internal/pii" || allowed(s.pkg, ours) {
				continue
			}
			wrong = append(wrong, fmt.Sprintf("%s imports %s", s.file, ours))
		}
	}
	return wrong
}

func allowed(pkg, imp string) bool {
	for _, m := range may[pkg] {
		if m == "*" || m == imp || strings.HasSuffix(m, "/*") && strings.HasPrefix(imp, strings.TrimSuffix(m, "*")) {
			return true
		}
	}
	return false
}

// wrongComments: exactly one package comment in each package.
func wrongComments(files []source) []string {
	have := map[string][]string{}
	all := map[string]bool{}
	for _, s := range files {
		if s.made || s.test && s.pkg != "" {
			continue
		}
		all[s.pkg] = true
		if s.ast.Doc != nil {
			have[s.pkg] = append(have[s.pkg], s.file)
		}
	}
	var wrong []string
	for pkg := range all {
		if n := len(have[pkg]); n != 1 {
			wrong = append(wrong, fmt.Sprintf("package %s has %d package comments: %v", pkg, n, have[pkg]))
		}
	}
	sort.Strings(wrong)
	return wrong
}

// wrongCores: a pure package that reaches for the world.
func wrongCores(files []source) []string {
	forbidden := []string{"net", "os", "sync", "syscall", "database", "io/ioutil", "crypto/rand", "math/rand", "runtime"}
	allowedBelow := []string{"net/netip", "net/url"}
	clock := []string{"Now", "Since", "Until", "Sleep", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker"}
	var wrong []string
	for _, s := range files {
		if s.test || !slices.Contains(pure, s.pkg) {
			continue
		}
		timeName := "time"
		for _, imp := range imports(s) {
			for _, f := range forbidden {
				if (imp == f || strings.HasPrefix(imp, f+"/")) && !slices.Contains(allowedBelow, imp) && !pureException(s.pkg, imp) {
					wrong = append(wrong, fmt.Sprintf("%s imports %s", s.file, imp))
				}
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt:
				wrong = append(wrong, fmt.Sprintf("%s starts a goroutine", s.fset.Position(n.Pos())))
			case *ast.SelectorExpr:
				if id, ok := n.X.(*ast.Ident); ok && id.Name == timeName && id.Obj == nil && slices.Contains(clock, n.Sel.Name) {
					wrong = append(wrong, fmt.Sprintf("%s uses time.%s", s.fset.Position(n.Pos()), n.Sel.Name))
				}
			}
			return true
		})
	}
	return wrong
}

// pureException: what a core may use of the forbidden, and why.
func pureException(pkg, imp string) bool {
	switch {
	case imp == "crypto/rand":
		return pkg == "intake/wire" // a fresh nonce for each sealed event; the rest of wire is a function of its arguments
	case imp == "sync":
		return pkg == "intake/wire" || pkg == "search" || pkg == "telephony/sound" // a cache or table made once (sync.Once, sync.Map, sync.Pool)
	}
	return false
}

func wrongLengths(files []source) []string {
	var wrong []string
	for _, s := range files {
		if !s.made && s.lines > longest {
			wrong = append(wrong, fmt.Sprintf("%s has %d lines", s.file, s.lines))
		}
	}
	return wrong
}

func TestHouse(t *testing.T) {
	files := read(t, ".")
	for name, rule := range map[string]func([]source) []string{
		"who may import whom":           wrongImports,
		"one package comment a package": wrongComments,
		"no clock or network in a core": wrongCores,
		"Go files under 900 lines":      wrongLengths,
	} {
		for _, w := range rule(files) {
			t.Errorf("%s: %s", name, w)
		}
	}
}

// TestRulesCanFail plants one violation of each rule in testdata/planted and wants it found.
func TestRulesCanFail(t *testing.T) {
	files := read(t, filepath.Join("testdata", "planted"))
	long := files[0]
	long.lines, long.made = longest+1, false
	for name, c := range map[string]struct {
		found []string
		want  []string
	}{
		"imports":  {wrongImports(files), []string{"search/search.go imports telephony"}},
		"comments": {wrongComments(files), []string{"package intake/queue has 0", "package search has 2"}},
		"cores":    {wrongCores(files), []string{"queue.go imports net/http", "starts a goroutine", "uses time.Now"}},
		"lengths":  {wrongLengths([]source{long}), []string{"has 901 lines"}},
	} {
		got := strings.Join(c.found, "\n")
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q was planted and not found in:\n%s", name, w, got)
			}
		}
	}
}
