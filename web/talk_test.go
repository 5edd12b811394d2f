package web

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// talkScript plays the server's end in the page: connections that the test opens, answers and lets die, and a clock that it moves.
const talkScript = `
(() => {
  const out = [], said = [], sockets = []; let beat = null;
  window.setInterval = (f) => { beat = f; return 1; };
  window.clearInterval = () => { beat = null; };
  window.setTimeout = (f) => { queueMicrotask(f); return 1; };
  window.WebSocket = class {
    static OPEN = 1;
    constructor() { this.readyState = 0; this.sent = []; sockets.push(this); }
    send(s) { this.sent.push(JSON.parse(s)); }
    close() { this.readyState = 3; }
    up() { this.readyState = 1; this.onopen(); }
    say(o) { this.onmessage({ data: JSON.stringify(o) }); }
  };
  const now = () => sockets[sockets.length - 1];
  const on = { state(){}, message(m) { out.push((m.from === "you" ? "you" : "us") + m.n + (m.text ? ":" + m.text : "")); }, typing(){}, connected(b) { said.push(b); }, refused(s, k) { out.push("refused " + k); }, done(){} };
  sessionStorage.clear();
  const t = new talk.Talk("ws://x", "", on);
  const fails = [];
  const want = (what, got, is) => { if (JSON.stringify(got) !== JSON.stringify(is)) fails.push(what + ": " + JSON.stringify(got) + ", want " + JSON.stringify(is)); };
  const unsent = () => (JSON.parse(sessionStorage.getItem("yingda-chat") || "null") || { unsent: [] }).unsent.length;
  return (async () => {
    t.open(); t.say("a"); now().up(); now().say({ t: "welcome" });
    now().say({ t: "started", ref: "start", token: "c.t" });
    const key = now().sent.find(f => f.t === "say").key;
    now().say({ t: "message", n: 1, from: "you", text: "a", key, at: "2026-01-01T00:00:00Z", unsafe: true });
    want("kept while the disk has it not", unsent(), 1);
    now().say({ t: "error", key, code: "later" });
    await 0; await 0;
    want("sent again", now().sent.filter(f => f.t === "say").length, 2);
    now().say({ t: "message", n: 2, from: "us", text: "b", unsafe: true });
    want("shown", out, ["you0:a", "us2:b"]);
    now().onclose(); await 0; await 0; // the server crashes; it never had 1 and 2
    now().up();
    want("asks for what was not safe", now().sent[0], { t: "hello", token: "c.t", after: 0 });
    now().say({ t: "welcome" });
    now().say({ t: "message", n: 1, from: "us", text: "c" }); // another takes the number
    now().say({ t: "message", n: 2, from: "us", text: "b" }); // the same is not shown twice
    const again = now().sent.filter(f => f.t === "say");
    want("sent again after the crash", again.map(f => f.key), [key]);
    now().say({ t: "tick", key, n: 3 });
    want("nothing is left to be sent", unsent(), 0);
    want("shown", out, ["you0:a", "us2:b", "us1:c", "you3"]);
    t.say("d");
    const d = now().sent.filter(f => f.t === "say").pop().key;
    now().say({ t: "message", n: 3, from: "you", text: "a", key });
    now().say({ t: "message", n: 4, from: "you", text: "d", key: d, unsafe: true });
    now().say({ t: "safe", n: 4 });
    want("safe is a tick", unsent(), 0);
    t.say("e");
    const e = now().sent.filter(f => f.t === "say").pop().key;
    now().say({ t: "error", key: e, code: "slow_down" });
    want("too fast is not lost", unsent(), 1);
    beat(); want("asks whether the network is there", now().sent.pop().t, "ping");
    now().say({ t: "pong" }); beat(); now().say({ t: "pong" });
    const n = sockets.length; beat(); beat(); await 0; await 0; // no answer since
    want("lost, and connects anew", sockets.length, n + 1);
    now().up(); want("goes on where it was", now().sent[0].after, 4);
    now().say({ t: "welcome" }); out.length = 0; // another node has taken over, and then what the one before wrote last is found
    now().say({ t: "message", n: 1001, from: "us", text: "g" });
    now().say({ t: "message", n: 5, from: "us", text: "f" });
    now().say({ t: "message", n: 5, from: "us", text: "f" });
    want("late, once", out, ["us1001:g", "us5:f"]);
    now().onclose(); await 0; await 0; now().up();
    want("asks after the newest", now().sent[0].after, 1001);
    now().say({ t: "welcome" });
    for (const n of [1, 2, 3, 4, 5, 6]) now().say({ t: "message", n, from: "us", text: "h" }); // 6 came meanwhile
    want("takes what it lacks", out.slice(2), ["us6:h"]);
    return fails.join("\n");
  })();
})()`

// The residents' end of the chat, bundled as it is served: what the server's disk did not take is sent again, what is shown is not shown twice, a network that
// has gone is noticed.
func TestTalkLosesNothing(t *testing.T) {
	out := filepath.Join(t.TempDir(), "talk.js")
	if raw, err := exec.CommandContext(t.Context(), "go", "tool", "esbuild", "assets/src/talk.ts", "--bundle", "--format=iife", "--global-name=talk", "--target=chrome86,firefox78", "--outfile="+out, "--log-level=warning").CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, raw)
	}
	raw, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	c := newHouse(t).chromium()
	c.open("/sign-in")
	c.eval("(() => { " + string(raw) + "; window.talk = talk; " + talkScript + ".then(v => { window.verdict = v || 'good'; }, e => { window.verdict = String(e); }); return ''; })()")
	c.until("window.verdict")
	if got := c.eval("window.verdict"); got != "good" {
		t.Error(got)
	}
}
