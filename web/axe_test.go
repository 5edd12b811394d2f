package web

import (
	"context"
	_ "embed"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

//go:embed testdata/axe/axe.min.js
var axeSource string

// axeFinding is one rule that a page breaks, with the elements that do.
type axeFinding struct {
	ID    string `json:"id"`
	Help  string `json:"help"`
	Nodes []struct {
		Target []any  `json:"target"`
		HTML   string `json:"html"`
		Why    string `json:"failureSummary"`
	} `json:"nodes"`
}

func (f axeFinding) String() string {
	var b strings.Builder
	b.WriteString(f.ID + ": " + f.Help)
	for i, n := range f.Nodes {
		if i == 5 {
			b.WriteString("\n    …")
			break
		}
		b.WriteString("\n    " + n.HTML + "\n      " + strings.ReplaceAll(n.Why, "\n", "\n      "))
	}
	return b.String()
}

// axeViolations runs axe-core (WCAG 2.2 A and AA, best practices) over the page that c shows now and reports every rule it breaks under
// that name. also names rules beyond those, such as "color-contrast-enhanced" for contrast 7:1. It runs in a world of its own, so the
// page's policy stands and its scripts are not met. A test that has switched scripts off switches them on for it.
func axeViolations(c *chrome, name string, also ...string) {
	c.Helper()
	for _, f := range axeFindings(c, name, also...) {
		c.Errorf("%s breaks %s", name, f)
	}
}

func axeFindings(c *chrome, name string, also ...string) []axeFinding {
	c.Helper()
	rules := map[string]map[string]bool{}
	for _, r := range also {
		rules[r] = map[string]bool{"enabled": true}
	}
	options, err := json.Marshal(map[string]any{
		"runOnly": map[string]any{"type": "tag", "values": []string{"wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"}},
		"rules":   rules, "resultTypes": []string{"violations"},
	})
	if err != nil {
		c.Fatal(err)
	}
	raw := isolated(c, axeSource+"\n;axe.run(document, "+string(options)+").then(r => JSON.stringify({ violations: r.violations, passes: r.passes.length }))")
	var result struct {
		Violations []axeFinding `json:"violations"`
		Passes     int          `json:"passes"`
	}
	if err := json.Unmarshal([]byte(raw), &result); err != nil {
		c.Fatalf("%s: axe said %.200q: %v", name, raw, err)
	}
	if result.Passes == 0 {
		c.Errorf("%s: axe looked at nothing", name)
	}
	return result.Violations
}

// isolated evaluates an expression, a string or the promise of one, beside the page's own scripts.
func isolated(c *chrome, expression string) string {
	c.Helper()
	tree, err := chromedp.Call(c.ctx, cdppage.GetFrameTree, cdp.Empty{})
	if err != nil {
		c.Fatal(err)
	}
	world, err := chromedp.Call(c.ctx, cdppage.CreateIsolatedWorld, cdppage.CreateIsolatedWorldParams{FrameID: tree.FrameTree.Frame.ID, WorldName: "yingda-test"})
	if err != nil {
		c.Fatal(err)
	}
	yes := true
	ctx, cancel := context.WithTimeout(c.ctx, 40*time.Second)
	defer cancel()
	got, err := chromedp.Call(ctx, runtime.Evaluate, runtime.EvaluateParams{Expression: expression, ContextID: world.ExecutionContextID, AwaitPromise: &yes, ReturnByValue: &yes})
	if err != nil {
		c.Fatal(err)
	}
	if got.ExceptionDetails != nil {
		c.Fatalf("the page threw: %s", got.ExceptionDetails.Text)
	}
	var s string
	if err := json.Unmarshal(got.Result.Value, &s); err != nil {
		c.Fatalf("%.200s: %v", got.Result.Value, err)
	}
	return s
}

func TestAxeSees(t *testing.T) {
	h := newHouse(t)
	c := h.chromium()
	c.open("/sign-in")
	axeViolations(c, "sign-in")
	isolated(c, `(document.querySelector("input[name=login]").parentElement.replaceWith(document.querySelector("input[name=login]")), document.documentElement.removeAttribute("lang"), "")`)
	var seen []string
	for _, f := range axeFindings(c, "spoilt") {
		seen = append(seen, f.ID)
	}
	if !slices.Contains(seen, "label") || !slices.Contains(seen, "html-has-lang") {
		t.Errorf("on a page without a label and a language axe saw only %v", seen)
	}
}
