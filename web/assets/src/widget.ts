// The chat for other sites, one script tag: <script src="https://hotline.example/widget.js" data-line="main" data-phone="0512-5550-0100" defer></script>
// and, with data-inline, the live chat of our own page /r/chat. It never opens by itself; the telephone number is in sight in every state; what is on the site
// around it cannot reach into it, nor it out, but for this tab's session storage. Without WebSocket it leads to our page that needs no script.
import { Talk, State, Message } from "./talk";
import { inWords, Kept, picture } from "./files";

// Front is what GET /widget.json says. opens is a time in words, page a path of ours.
interface Front { number: string; open: boolean; hours: string; opens: string; chat: boolean; page: string; words: Record<string, string> }

const script = document.currentScript as HTMLScriptElement;
const data = script.dataset;
const base = new URL(script.src).origin;
const css = `
:host{all:initial!important;display:block!important;--ink:#101a24;--ink2:#35424e;--page:#fff;--sunk:#eef2f1;--edge:#56636f;--plate:#123f78;--on:#fff;--tint:#e3ecf6;--late:#861009}
@media(prefers-color-scheme:dark){:host{--ink:#eff3f5;--ink2:#b3bfc9;--page:#0d151e;--sunk:#1b2835;--edge:#8c9aa6;--plate:#a9cbf4;--on:#0b1a2b;--tint:#1a2f48;--late:#ffb3a5}.all{color-scheme:dark}}
.all{font:18px/1.6 "PingFang SC","HarmonyOS Sans SC","Noto Sans CJK SC","Noto Sans SC","Microsoft YaHei",system-ui,sans-serif;color:var(--ink);text-align:left}
*{box-sizing:border-box;margin:0;font:inherit;color:inherit}
[hidden]{display:none!important}
b,h2,button,.tel{font-weight:700}
a{color:var(--plate)}
:focus-visible{outline:3px solid var(--plate);outline-offset:2px}
.dock{position:fixed;right:16px;bottom:16px;z-index:2147483000;display:flex;box-shadow:0 6px 20px rgb(21 32 43/.25);border-radius:10px;background:var(--page);border:2px solid var(--plate);max-width:calc(100vw - 32px);flex-wrap:wrap}
.dock a,.dock button{min-height:48px;padding:0 14px;display:flex;align-items:center;gap:8px;border:0;border-radius:7px;text-decoration:none;white-space:nowrap}
.dock button{background:var(--plate);color:var(--on);cursor:pointer;flex:1;justify-content:center}
.count{min-width:24px;height:24px;border-radius:12px;background:var(--on);color:var(--plate);display:inline-flex;align-items:center;justify-content:center;padding:0 6px}
.box{background:var(--page);display:flex;flex-direction:column}
.float .box{position:fixed;right:16px;bottom:16px;z-index:2147483000;width:380px;max-width:calc(100vw - 32px);height:600px;max-height:calc(100vh - 32px);border:2px solid var(--plate);border-radius:10px;box-shadow:0 6px 20px rgb(21 32 43/.25);overflow:auto}
.head{display:flex;flex-wrap:wrap;align-items:center;gap:0 12px;padding:6px 6px 6px 16px;border-bottom:1px solid var(--edge)}
.head h2{font-size:1.1em}
h1{font-size:1.5455em;line-height:1.3;font-weight:700;margin-bottom:.55em}
.tel{color:var(--plate);min-height:44px;display:inline-flex;align-items:center;white-space:nowrap}
.head button{margin-left:auto}
.plain{min-height:44px;min-width:44px;border:0;background:none;color:var(--plate);cursor:pointer;padding:0 8px;text-decoration:underline;font-weight:400;text-align:left}
.fact{padding:10px 16px;background:var(--sunk)}
.fact.bad{border-left:6px solid var(--late)}
.log{flex:1;min-height:120px;overflow-y:auto;padding:8px 16px 16px}
.inline .log{min-height:0;max-height:60vh;padding:8px 0 16px}
.log div{max-width:88%;margin-top:10px;padding:8px 12px;border:2px solid var(--sunk);border-radius:10px;overflow-wrap:break-word}
.log .you{margin-left:auto;background:var(--tint);border-color:var(--tint)}
.log small{display:block;color:var(--ink2);font-size:.875em}
.log p{white-space:pre-wrap}
.file{display:block;min-height:44px;border:0;background:none;padding:0;color:var(--plate);text-align:left;cursor:pointer;overflow-wrap:anywhere;max-width:100%;font-weight:400}.file span{text-decoration:underline}
.file canvas{display:block;max-width:100%;max-height:240px;border-radius:6px;background:var(--sunk)}
form{padding:10px 16px 12px;border-top:1px solid var(--edge)}
.inline form,.inline .fact{padding-left:0;padding-right:0}.inline .fact{padding-left:12px}
label{display:block;margin-bottom:6px;color:var(--ink2)}
textarea,input{display:block;width:100%;min-height:48px;padding:8px 12px;border:2px solid var(--edge);border-radius:8px;background:var(--page)}
textarea{resize:vertical}
.go{display:block;width:100%;min-height:48px;margin-top:10px;border:2px solid var(--plate);border-radius:8px;background:var(--plate);color:var(--on);cursor:pointer}
.float .box>.go{width:auto;margin:10px 16px 16px}
.go.quiet{background:none;color:var(--plate)}
.row{display:flex;justify-content:space-between;flex-wrap:wrap;padding:0 8px 6px}
.inline .row{padding:0}
.say{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media print{:host{display:none}}
@media(max-width:440px),(max-height:480px){.float .box{right:0;bottom:0;width:100vw;max-width:none;height:100vh;max-height:none;border-radius:0}}
`;

function el<K extends keyof HTMLElementTagNameMap>(tag: K, set: Partial<HTMLElementTagNameMap[K]> & { attrs?: Record<string, string> } = {}, ...inside: (Node | string)[]): HTMLElementTagNameMap[K] {
  const e = document.createElement(tag);
  const { attrs, ...props } = set;
  Object.assign(e, props);
  for (const k in attrs) e.setAttribute(k, attrs[k]);
  e.append(...inside);
  return e;
}

function run(front: Front): void {
  const w = (k: string, ...args: string[]) => args.reduce((s, a, i) => s.replace(`{${i}}`, a), front.words[k] || k);
  const inline = data.inline ? document.querySelector<HTMLElement>(data.inline) : null;
  const plain = data.plain ? document.querySelector<HTMLElement>(data.plain) : null;
  const number = front.number || data.phone || "";
  const tel = (className: string) => el("a", { className, href: "tel:" + number.replace(/[^+\d]/g, ""), hidden: !number, attrs: { "aria-label": w("dial") + " " + number } }, number);

  const host = inline || document.body.appendChild(el("div"));
  const root = host.attachShadow({ mode: "open" });
  let styled = false;
  try { // a site's policy against inline styles does not stop this one
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    (root as any).adoptedStyleSheets = [sheet];
    styled = !!(root as any).adoptedStyleSheets?.length;
  } catch { /* before Firefox 101 */ }
  if (!styled) root.append(el("style", { textContent: css }));

  const log = el("div", { className: "log", tabIndex: 0, attrs: { role: "log", "aria-label": w("log"), "aria-live": "polite" } });
  const fact = el("p", { className: "fact", attrs: { role: "status" } });
  const fault = el("p", { className: "fact bad", hidden: true, attrs: { role: "alert" } });
  const text = el("textarea", { id: "text", rows: 2 });
  const send = el("button", { className: "go" }, w("send"));
  const write = el("form", {}, el("label", { htmlFor: "text" }, w("write")), text, send);
  const phone = el("input", { id: "phone", type: "tel", autocomplete: "tel", maxLength: 40 });
  const leave = el("form", { hidden: true }, el("label", { htmlFor: "phone" }, w("number")), phone, el("button", { className: "go quiet" }, w("call_me")));
  const more = el("button", { className: "plain", type: "button", attrs: { "aria-expanded": "false" } }, w("leave"));
  const end = el("button", { className: "plain", type: "button" }, w("end"));
  const again = el("button", { className: "go", type: "button", hidden: true }, w("new"));
  const shut = el("button", { className: "plain", type: "button" }, w("close"));
  const box = el("section", { className: "box", attrs: { role: inline ? "group" : "dialog", "aria-label": w("title") } });
  if (inline) box.append(el("h1", {}, w("head")));
  else box.append(el("div", { className: "head" }, el("h2", {}, w("title")), tel("tel"), shut));
  const pick = el("input", { type: "file", accept: "image/jpeg,image/png,image/webp,image/gif,application/pdf", hidden: true, attrs: { "aria-label": w("attach") } });
  const attach = el("button", { className: "plain", type: "button", hidden: true }, w("attach"));
  const row = el("div", { className: "row" }, more, attach, pick, end);
  box.append(fact, log, fault, write, again, leave, row);

  const count = el("span", { className: "count", hidden: true, attrs: { "aria-hidden": "true" } });
  const counted = el("span", { className: "say" });
  const open = el("button", { type: "button", attrs: { "aria-expanded": "false" } }, w("open"), count, counted);
  const dock = el("div", { className: "dock", attrs: { role: "region", "aria-label": w("title") } }, tel("tel"), open);
  const say = el("p", { className: "say", attrs: { role: "status" } });
  const frame = el("div", { className: "all " + (inline ? "inline" : "float") });
  if (inline) frame.style.fontSize = "1rem"; // as large as the page's
  frame.append(...(inline ? [box] : [dock, box, say]));
  box.hidden = true;
  root.append(frame);

  const shown = new Map<string, HTMLElement>(); // by key, those not ticked or ticked just now
  let state: State = { stage: "" };
  let online = true, unread = 0, failed = 0, last = "", typing = 0;

  const stand = () => {
    const s = state.stage;
    const over = s === "over";
    let line = w(!online && !over ? "offline" : s === "open" ? (state.operator ? "with" : "with_us") : s === "waiting" || s === "writing" || s === "quiet" ? "waiting" : over ? "over" : s === "closed" || !front.open ? "closed" : "hint", state.operator || "");
    if (!over && (s === "closed" || (!s && !front.open)) && front.opens) line += w("opens", front.opens);
    if (typing && s === "open") line = w("typing", state.operator || w("us"));
    if (state.number && online) line = w(over ? "over_number" : "promised", state.number);
    if (line !== last) fact.textContent = last = line;
    write.hidden = over;
    again.hidden = !over;
    end.hidden = over || !s;
    attach.hidden = over || !online || s !== "open" && s !== "waiting" && s !== "closed";
    more.hidden = over || !s || !!state.number;
    const low = log.scrollHeight - log.scrollTop - log.clientHeight < 120;
    if (more.hidden) { leave.hidden = true; more.setAttribute("aria-expanded", "false"); }
    if (low) log.scrollTop = log.scrollHeight;
  };
  const complain = (s: string) => { fault.hidden = !s; fault.textContent = s; };
  const mark = () => {
    count.hidden = !unread;
    count.textContent = String(unread);
    counted.textContent = unread ? w("unread", String(unread)) : "";
  };
  const place = (e: HTMLElement, n = 0) => { // by its number; what is still to be sent stands last
    let before = e.classList.contains("unsent") ? null : log.querySelector(".unsent");
    if (n) {
      e.dataset.n = String(n);
      before = Array.from(log.querySelectorAll<HTMLElement>("[data-n]")).find(x => Number(x.dataset.n) > n) || before;
    }
    if (before !== e && (e.parentNode !== log || e.nextSibling !== before)) log.insertBefore(e, before);
  };
  // A file stands in the talk with what it is called, how large it is, and, of a picture, the picture itself. It is drawn: a site around us may not let pictures of
  // ours in. Pressed it is opened, or saved.
  const file = (f: Kept) => {
    const name = f.name || w(picture(f.type) ? "picture" : "document");
    const b = el("button", { className: "file", type: "button" }, el("span", {}, name), el("small", {}, inWords(f.size)));
    let bytes: Promise<Blob | null> | null = null;
    const bring = () => bytes = bytes || talk.fetch(f.id).then(got => { if (!got) bytes = null; return got; });
    b.onclick = async () => {
      const got = await bring();
      if (!got) { complain(w("file_later")); return; }
      const url = URL.createObjectURL(got);
      const a = el("a", { href: url, download: name });
      if (picture(f.type)) { a.removeAttribute("download"); a.target = "_blank"; }
      a.click();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
    };
    if (picture(f.type)) {
      const c = el("canvas", { width: f.w || 4, height: f.h || 3, attrs: { role: "img", "aria-label": name } });
      b.prepend(c);
      void bring().then(async got => {
        if (!got) return;
        const image = await createImageBitmap(got);
        const small = Math.min(1, 640 / Math.max(image.width, image.height)); // no phone needs more in a bubble
        c.width = Math.max(1, image.width * small);
        c.height = Math.max(1, image.height * small);
        c.getContext("2d")!.drawImage(image, 0, 0, c.width, c.height);
      }).catch(() => c.remove());
    }
    return b;
  };
  const show = () => {
    box.hidden = false;
    dock.hidden = true;
    unread = 0;
    mark();
    say.textContent = "";
    talk.open();
    stand();
    log.scrollTop = log.scrollHeight;
    talk.seen();
  };
  const hide = () => {
    box.hidden = true;
    dock.hidden = false;
    open.focus();
  };

  const talk: Talk = new Talk(new URL("/chat/ws", base).href.replace(/^http/, "ws"), data.line || "", {
    state(s) { state = s; stand(); },
    connected(on) {
      online = on;
      if (on) {
        failed = 0;
        if (inline && box.hidden) { // the live page takes over from the plain one, with what stands in it
          const typed = plain?.querySelector("textarea");
          if (typed && typed.value) text.value = typed.value;
          const focused = plain?.contains(document.activeElement);
          if (plain) plain.hidden = true;
          box.hidden = false;
          if (focused) text.focus();
        }
      } else {
        failed++;
      }
      stand();
      if (failed === 3 && !inline) { // no WebSocket from here: our page needs none
        complain(w("elsewhere"));
        fault.append(" ", el("a", { href: new URL(front.page, base).href, target: "_blank", rel: "noopener" }, w("page")));
      } else if (on) complain("");
    },
    message(m: Message) {
      const was = m.key ? shown.get(m.key) : undefined;
      if (was) {
        if (m.n) was.querySelector("small")!.textContent = w("you") + " · " + w("sent");
        if (m.at) { // it has its place now, before those that are still to be sent
          shown.delete(m.key!);
          was.classList.remove("unsent");
          place(was, m.n);
        }
        return;
      }
      const mine = m.from === "you";
      const clock = m.at ? " " + new Date(m.at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false }) : "";
      const note = (mine ? w("you") : m.name || w("us")) + clock + (mine ? " · " + w(m.n ? "sent" : "sending") : "");
      const low = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
      const e = el("div", { className: !mine ? "us" : m.n ? "you" : "you unsent" }, el("small", {}, note), el("p", { hidden: !m.text }, m.text), ...(m.files || []).map(file));
      place(e, m.n);
      if (m.key && !m.n) shown.set(m.key, e);
      if (low || mine) log.scrollTop = log.scrollHeight;
      if (!mine) {
        typing = 0;
        if (box.hidden) {
          if (!talk.fresh(m.n)) return;
          unread++;
          mark();
          say.textContent = w("unread", String(unread));
        } else talk.seen();
      }
      stand();
    },
    typing() {
      clearTimeout(typing);
      typing = window.setTimeout(() => { typing = 0; stand(); }, 5000);
      stand();
    },
    refused(words, about) {
      const e = shown.get(about);
      if (e) { // not taken: the words go back to where they can be changed
        text.value = e.querySelector("p")!.textContent + (text.value ? "\n" + text.value : "");
        e.remove();
        shown.delete(about);
      }
      complain(words || w("again"));
      if (about === "number") { leave.hidden = false; phone.focus(); }
    },
    done(what) {
      complain("");
      if (what === "number") { phone.value = ""; leave.hidden = true; text.focus(); }
    },
  }, "yingda-chat", data.token || "");

  write.onsubmit = e => {
    e.preventDefault();
    const s = text.value.trim();
    if (!s) { complain(w("nothing")); text.focus(); return; }
    complain("");
    text.value = "";
    talk.say(s);
    if (!state.stage) { state = { stage: "waiting" }; stand(); }
    text.focus();
  };
  text.onkeydown = e => {
    if (e.key === "Enter" && !e.shiftKey && !e.isComposing) { e.preventDefault(); send.click(); }
  };
  text.oninput = () => talk.typing();
  leave.onsubmit = e => {
    e.preventDefault();
    if (phone.value.replace(/\D/g, "").length < 7) { complain(w("bad_number")); phone.focus(); return; }
    talk.number(phone.value);
  };
  more.onclick = () => {
    leave.hidden = !leave.hidden;
    more.setAttribute("aria-expanded", String(!leave.hidden));
    if (!leave.hidden) phone.focus();
  };
  attach.onclick = () => pick.click();
  pick.onchange = async () => {
    const file = pick.files?.[0];
    if (!file) return;
    attach.disabled = true;
    complain("");
    const why = await talk.attach(file);
    attach.disabled = false;
    pick.value = "";
    if (why !== null) complain(why || w("attach_later"));
  };
  end.onclick = () => talk.bye();
  again.onclick = () => {
    state = { stage: "" };
    log.textContent = "";
    shown.clear();
    complain("");
    talk.anew();
    stand();
    text.focus();
  };
  open.onclick = () => { show(); text.focus(); };
  shut.onclick = hide;
  if (!inline) box.onkeydown = e => { if (e.key === "Escape") { e.stopPropagation(); hide(); } };
  stand();
  mark();
  if (inline) talk.open();
  else if (talk.begun) talk.open(); // goes on after a reload; the box stays as it is: shut
  if (!front.chat && !talk.begun) open.hidden = true;
}

const lang = data.lang || document.documentElement.lang || "zh";
fetch(`${base}/widget.json?lang=${/^en/i.test(lang) ? "en" : "zh-Hans"}`).then(r => r.ok ? r.json() : Promise.reject()).then(run).catch(() => {
  if (!data.inline && data.phone) { // our server cannot be reached: the number can
    const a = el("a", { href: "tel:" + data.phone.replace(/[^+\d]/g, "") }, data.phone);
    a.style.cssText = "position:fixed;right:16px;bottom:16px;z-index:2147483000;padding:12px 16px;border-radius:10px;background:#123f78;color:#fff;font:700 18px/1.4 sans-serif;text-decoration:none";
    document.body.append(a);
  }
});
