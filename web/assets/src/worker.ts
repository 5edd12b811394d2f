// A grid worker's phone: what is done is kept in the phone first, under an id of its own, and sent until the server says that it has it.
import { uuid } from "./uuid";

interface Act { id: string; me: string; kind: string; case: string; text: string; address: string; at: string; said?: string }

const doc = document;
const me = doc.body.dataset.me || "";
const $ = <T extends HTMLElement>(sel: string) => doc.querySelector<T>(sel);
const all = (sel: string) => Array.from(doc.querySelectorAll<HTMLElement>(sel));
const prefix = "gw.act ";
let csrf = $<HTMLMetaElement>('meta[name="csrf"]')?.getAttribute("content") || "";

// kept gives what this worker has done and the server has not taken yet, oldest first. Each has a row of its own: two tabs do not undo each other.
function kept(): Act[] {
  const list: Act[] = [];
  for (let i = 0; i < localStorage.length; i++) {
    const k = localStorage.key(i) || "";
    if (k.indexOf(prefix) !== 0) continue;
    try {
      const a = JSON.parse(localStorage.getItem(k) || "") as Act;
      if (a.me === me) list.push(a);
    } catch (broken) { localStorage.removeItem(k); }
  }
  return list.sort((a, b) => a.at < b.at ? -1 : 1);
}
const waiting = () => kept().filter(a => !a.said);

let offline = !navigator.onLine, sending = false;

// renew takes the page's token from a fresh page: the one here may be from before a dead spot. False: nobody is signed in any more.
async function renew(): Promise<boolean> {
  const r = await fetch("/grid", { credentials: "same-origin", headers: { "X-Fresh": "1" } });
  const page = new DOMParser().parseFromString(await r.text(), "text/html");
  if (page.body.dataset.me !== me) return false;
  csrf = page.querySelector('meta[name="csrf"]')?.getAttribute("content") || "";
  return true;
}

function post(a: Act): Promise<Response> {
  const body = new URLSearchParams({ id: a.id, for: a.me, kind: a.kind, case: a.case, text: a.text, address: a.address, at: a.at });
  return fetch("/grid/acts", { method: "POST", credentials: "same-origin", headers: { "X-CSRF": csrf, "X-Part": "1" }, body });
}

// send hands in what is kept, in order. Gives where to go after the last one taken.
async function send(): Promise<string> {
  if (sending) return "";
  sending = true;
  let to = "";
  show();
  try {
    for (const a of waiting()) {
      let r = await post(a);
      if (r.status === 401 || r.status === 403) {
        const there = await renew();
        signin(!there);
        if (!there) return to;
        r = await post(a);
      }
      if (r.ok) {
        to = (await r.json() as { to: string }).to;
        localStorage.removeItem(prefix + a.id);
      } else if (r.status === 422) {
        a.said = (await r.json() as { sentence: string }).sentence;
        localStorage.setItem(prefix + a.id, JSON.stringify(a));
      } else break; // trouble of the server's: later
    }
    offline = false;
  } catch (gone) {
    offline = true;
  } finally {
    sending = false;
    show();
  }
  return to;
}

function signin(needed: boolean) {
  const n = $("[data-signin]");
  if (n) n.hidden = !needed;
  if (needed) forget();
}

// forget drops the pages that were kept for dead spots.
function forget() {
  if ("caches" in window) void caches.keys().then(names => names.forEach(n => { if (n.indexOf("gw-pages") === 0) void caches.delete(n); }));
}

const fill = (text: string, n: number) => text.replace("{0}", String(n));

function show() {
  const list = kept(), open = list.filter(a => !a.said), sync = $("[data-sync]"), words = $("#gw-words");
  if (sync) {
    const some = open.length > 0;
    const next = !some ? sync.dataset.all || "" : fill((sending && !offline ? sync.dataset.sending : sync.dataset.some) || "", open.length);
    const w = $("[data-sync-word]");
    if (w && w.textContent !== next) w.textContent = next;
    sync.classList.toggle("done", !some);
    sync.classList.toggle("wait", some);
    all("[data-sync-done]").forEach(el => el.toggleAttribute("hidden", some));
    all("[data-sync-wait]").forEach(el => el.toggleAttribute("hidden", !some));
  }
  const off = $("[data-offline]"), what = $("[data-offline-kept]");
  if (off && what) {
    off.hidden = !offline;
    const next = open.length ? fill(what.dataset.some || "", open.length) : what.dataset.none || "";
    if (what.textContent !== next) what.textContent = next;
  }
  all("[data-online] .btn").forEach(b => b.setAttribute("aria-disabled", String(offline)));
  all(".gw-list li[data-case]").forEach(li => {
    const has = open.some(a => a.case === li.dataset.case), mark = li.querySelector(".kept");
    li.toggleAttribute("data-kept", has);
    if (has && !mark) {
      const s = doc.createElement("small");
      s.className = "kept";
      s.textContent = words?.dataset.kept || "";
      li.querySelector("a")?.append(s);
    } else if (!has && mark) mark.remove();
  });
  all(".gw-one[data-case]").forEach(one => {
    const has = open.some(a => a.case === one.dataset.case);
    one.querySelectorAll<HTMLElement>("[data-pending]").forEach(p => { if (p.hidden === has) p.hidden = !has; });
  });
  const refused = $("[data-refused]"), bad = list.filter(a => a.said);
  if (refused && refused.dataset.ids !== bad.map(a => a.id).join()) {
    refused.dataset.ids = bad.map(a => a.id).join();
    refused.textContent = "";
    bad.forEach(a => {
      const p = doc.createElement("div"), b = doc.createElement("b"), s = doc.createElement("span"), x = doc.createElement("button");
      p.className = "notice";
      p.setAttribute("role", "alert");
      b.textContent = refused.dataset.head || "";
      s.textContent = a.said + (a.text ? " “" + a.text + "”" : "");
      x.type = "button";
      x.className = "btn plain";
      x.textContent = refused.dataset.drop || "";
      x.addEventListener("click", () => { localStorage.removeItem(prefix + a.id); show(); });
      const line = doc.createElement("span");
      line.append(b, s);
      p.append(line, x);
      refused.append(p);
    });
  }
}

doc.addEventListener("submit", e => {
  const form = e.target as HTMLFormElement;
  if (form.hasAttribute("data-online") && offline) { e.preventDefault(); form.removeAttribute("data-sent"); return; }
  if (form.hasAttribute("data-forget")) {
    const n = waiting().length;
    if (n && !confirm(fill($("#gw-words")?.dataset.ask || "", n))) { e.preventDefault(); form.removeAttribute("data-sent"); return; }
    if (n) { // the server lets the browser clear everything else
      const k = doc.createElement("input");
      k.type = "hidden";
      k.name = "kept";
      k.value = "1";
      form.append(k);
    }
    forget();
  }
  if (e.defaultPrevented || !form.hasAttribute("data-act")) return;
  const data = new FormData(form), by = (e as SubmitEvent).submitter as HTMLButtonElement | null;
  const get = (name: string) => String(data.get(name) || "");
  const a: Act = { id: uuid(), me, kind: by?.name === "kind" ? by.value : get("kind"), case: get("case"), text: get("text").trim(), address: get("address").trim(), at: new Date().toISOString() };
  try { localStorage.setItem(prefix + a.id, JSON.stringify(a)); } catch (full) { return; } // the form goes by itself, as without a script
  e.preventDefault();
  Object.keys(sessionStorage).forEach(k => { if (k.indexOf("draft " + location.pathname + " " + form.id + " ") === 0) sessionStorage.removeItem(k); });
  form.reset();
  form.setAttribute("aria-busy", "true");
  show();
  void send().then(to => {
    form.removeAttribute("aria-busy");
    form.removeAttribute("data-sent");
    if (to) location.assign(to + "?said=act");
    else if (offline && a.kind !== "note") location.assign("/grid");
  });
});
doc.addEventListener("change", e => {
  const el = e.target as HTMLInputElement;
  if (el.name === "kind") all("[data-if]").forEach(n => n.classList.toggle("on", n.dataset.if === el.value));
});

window.addEventListener("online", () => void send());
window.addEventListener("offline", () => { offline = true; show(); });
setInterval(() => { // a phone does not always say that it has a signal again
  if (waiting().length) void send();
  else if (offline) fetch("/here", { method: "POST", credentials: "same-origin", headers: { "X-CSRF": csrf } }).then(() => { offline = false; show(); }, () => { /* still */ });
}, 5000);
const part = doc.getElementById("part");
if (part) new MutationObserver(show).observe(part, { subtree: true, childList: true, attributes: true, attributeFilter: ["hidden"] });
show();
if (waiting().length) void send();
if ("serviceWorker" in navigator) navigator.serviceWorker.register("/grid/offline.js", { scope: "/grid" }).catch(() => { /* without one the page works while there is a signal */ });
