// Package browsertest gives a test a headless Chromium: Start it, drive it with chromedp in the context that comes back, and wait for the page with
// Until, never for a time. It knows nothing of our pages, and the program does not contain it.
package browsertest

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// Start starts the browser that is in PATH, with a profile of its own, and ends it with the test. Extra options come behind the usual ones.
func Start(t testing.TB, extra ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			path = p
			break
		}
	}
	if path == "" {
		t.Fatal("the tests of the pages need a browser: there is no chromium in PATH. On Debian: apt-get install chromium fonts-noto-cjk")
	}
	usual := []chromedp.ExecAllocatorOption{chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()), chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck, chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true), chromedp.WSURLReadTimeout(60 * time.Second)}
	alloc, cancel := chromedp.NewExecAllocator(t.Context(), append(usual, extra...)...)
	ctx, cancel2 := chromedp.NewContext(alloc)
	t.Cleanup(func() { _ = chromedp.Cancel(ctx); cancel2(); cancel() })
	if err := chromedp.Do(ctx, chromedp.Navigate("about:blank")); err != nil { // starts it, without a limit of time on its life
		t.Fatalf("%s does not start: %v", path, err)
	}
	return ctx
}

// Until waits for a JavaScript expression to be true in the page, be it after a navigation. When it never is, the test ends with what the page says.
func Until(ctx context.Context, t testing.TB, js string, within time.Duration) {
	t.Helper()
	soon, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, err := chromedp.Run(soon, chromedp.Evaluate[bool]("Boolean("+js+")"))
		if err == nil && ok {
			return
		}
		select {
		case <-tick.C:
		case <-soon.Done():
			text, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
			t.Fatalf("never true: %s (%v)\n%s", js, err, text)
		}
	}
}
