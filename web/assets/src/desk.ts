// The operator's desk: asks for grid and like cases as the form is typed, hands the form and chat messages in exactly once, and keeps them
// on this machine while the server is away.
import { handIn, inWords, Kept as File1, picture } from "./files";
import { uuid } from "./uuid";

declare const Idiomorph: { morph(el: Element, html: string, o: object): void };

interface Kept {
  id: string; // key of a form, ref of a message: the server takes each once
  url: string;
  body: string;
  form: string; // id of its form
  contact: string;
  text: string; // of a message
  files?: string[]; // what stands beside it, in words
}

const doc = document;
const store = sessionStorage; // of this tab only, gone with it
const all = (sel: string, from: ParentNode = doc) => Array.from(from.querySelectorAll<HTMLElement>(sel));
const word = (name: string) => doc.getElementById("desk-words")?.dataset[name] || "";
const csrf = () => doc.querySelector<HTMLMetaElement>('meta[name="csrf"]')?.content || "";

function post(url: string, body: string): Promise<Response> {
  return fetch(url, { method: "POST", credentials: "same-origin", headers: { "X-CSRF": csrf(), "X-Part": "1", "Content-Type": "application/x-www-form-urlencoded" }, body });
}

function pack(form: HTMLFormElement, by?: HTMLElement | null): URLSearchParams {
  const p = new URLSearchParams();
  new FormData(form).forEach((v, k) => { if (k !== "csrf" && typeof v === "string") p.append(k, v); });
  const b = by as HTMLButtonElement | null;
  if (b && b.name) p.append(b.name, b.value);
  return p;
}

// ---- what is like it, where it is, who has it: asked for half a second after the last letter.
let asking = 0;
let timer = 0;
function ask(form: HTMLFormElement) {
  const url = form.dataset.proposes, mine = ++asking;
  if (!url) return;
  post(url, pack(form).toString()).then(r => r.ok ? r.text() : Promise.reject()).then(html => {
    if (mine !== asking) return; // an older answer
    const answer = new DOMParser().parseFromString(html, "text/html");
    const chosen = new Map<string, string>();
    all("[data-chosen]", form).forEach(el => {
      const i = el as HTMLInputElement;
      if (i.type !== "radio" || i.checked) chosen.set(i.name, i.value);
    });
    Array.from(answer.body.children).forEach(part => {
      const into = part.id && doc.getElementById(part.id);
      if (into) Idiomorph.morph(into, part.innerHTML, { morphStyle: "innerHTML", ignoreActiveValue: true });
    });
    chosen.forEach((value, name) => { // what somebody chose stays chosen
      all(`[name="${name}"]`, form).forEach(el => {
        const i = el as HTMLInputElement;
        i.dataset.chosen = "";
        if (i.type === "radio") i.checked = i.value === value;
        else i.value = value;
      });
    });
  }, () => { /* asked again with the next letter */ });
}
doc.addEventListener("input", e => {
  const el = e.target as HTMLInputElement, form = el.form;
  if (!form) return;
  if (form.hasAttribute("data-proposes") && (el.name === "words" || el.name === "address")) {
    clearTimeout(timer);
    timer = window.setTimeout(() => ask(form), 500);
  }
  all("[data-keptat]", form).forEach(k => { k.textContent = word("saved") + new Date().toTimeString().slice(0, 8); });
});
doc.addEventListener("change", e => {
  const el = e.target as HTMLInputElement;
  if (el.form?.hasAttribute("data-proposes") && (el.type === "radio" || el.tagName === "SELECT")) el.dataset.chosen = "";
  look();
});

// ---- handing in. Each has a name of its own, so that sending it again is harmless.
function box(): Kept[] {
  try { return JSON.parse(store.getItem("desk.out") || "[]") as Kept[]; } catch (broken) { return []; }
}
function keep(k: Kept) { store.setItem("desk.out", JSON.stringify(box().filter(x => x.id !== k.id).concat(k))); }
function drop(id: string) { store.setItem("desk.out", JSON.stringify(box().filter(x => x.id !== id))); show(); }
function forget(form: string) {
  Object.keys(store).forEach(k => { if (k.indexOf("draft /me " + form + " ") === 0) store.removeItem(k); });
  store.removeItem("desk.key " + form);
}
function fault(form: string, text: string, wait = false) {
  const f = doc.getElementById(form);
  const p = f?.querySelector<HTMLElement>("[data-fault]");
  if (!p) return;
  p.hidden = !text;
  p.textContent = text;
  p.classList.toggle("wait", wait);
}

let sending = false;
async function send() {
  if (sending) return;
  sending = true;
  try {
    for (const k of box()) {
      let r: Response;
      try { r = await post(k.url, k.body); } catch (gone) { waiting(); return; }
      if (r.status === 401) { location.reload(); return; }
      if (r.status >= 500) { waiting(); return; }
      if (r.ok && k.form.startsWith("say-")) {
        const log = doc.getElementById("log-" + k.contact), html = await r.text();
        if (log) { Idiomorph.morph(log, html, { morphStyle: "innerHTML" }); follow(log, true); }
        drop(k.id);
      } else if (r.ok) {
        const to = (await r.json() as { to: string }).to;
        drop(k.id);
        forget(k.form);
        if (doc.getElementById(k.form) || k.form === "") location.assign(to);
      } else {
        drop(k.id);
        let said = { field: "", sentence: "" };
        try { said = await r.json(); } catch (page) { said.sentence = word("again"); }
        if (k.form.startsWith("say-")) restore(k);
        fault(k.form, said.sentence);
        const f = doc.getElementById(k.form) as HTMLFormElement | null;
        const el = f && said.field ? f.elements.namedItem(said.field) as HTMLElement | null : null;
        if (el && "focus" in el) el.focus();
        if (!f) alertIn(said.sentence);
      }
    }
  } finally {
    sending = false;
    all("form[data-desk],form[data-says]").forEach(f => { f.removeAttribute("data-sent"); f.removeAttribute("aria-busy"); });
    show();
  }
}
function waiting() {
  box().forEach(k => { if (!k.form.startsWith("say-")) fault(k.form, word("waiting"), true); });
}
function alertIn(text: string) {
  const main = doc.getElementById("desk-main");
  if (!main || !text) return;
  const p = doc.createElement("p");
  p.className = "notice";
  p.setAttribute("role", "alert");
  p.textContent = text;
  main.prepend(p);
}
function restore(k: Kept) {
  const t = doc.getElementById("t-" + k.contact) as HTMLTextAreaElement | null;
  if (t && !t.value) t.value = k.text;
}
setInterval(() => { if (box().length) void send(); }, 3000);
window.addEventListener("online", () => void send());

function show() { // messages on their way stand below the log
  all("[id^='pend-']").forEach(list => {
    const mine = box().filter(k => k.form.startsWith("say-") && "pend-" + k.contact === list.id);
    list.textContent = "";
    mine.forEach(k => {
      const li = doc.createElement("li"), p = doc.createElement("p"), s = doc.createElement("small");
      p.textContent = [k.text].concat(k.files || []).filter(Boolean).join("\n");
      s.textContent = sending ? word("sending") : word("kept");
      li.append(p, s);
      list.append(li);
    });
  });
}

doc.addEventListener("submit", e => {
  const form = e.target as HTMLFormElement;
  if (e.defaultPrevented) return;
  const by = (e as SubmitEvent).submitter;
  if (form.hasAttribute("data-desk")) {
    e.preventDefault();
    const p = pack(form, by), name = "desk.key " + form.id;
    const key = (form.id && store.getItem(name)) || uuid();
    if (form.id) store.setItem(name, key);
    p.set("key", key);
    fault(form.id, "");
    form.setAttribute("aria-busy", "true");
    keep({ id: key, url: by?.getAttribute("formaction") || form.getAttribute("action") || "", body: p.toString(), form: form.id, contact: p.get("contact") || "", text: "" });
    void send();
  }
  if (form.hasAttribute("data-says")) {
    e.preventDefault();
    form.removeAttribute("data-sent");
    const t = form.elements.namedItem("text") as HTMLTextAreaElement;
    const contact = form.id.slice(4);
    if (coming.has(contact)) { sayLater = contact; return; } // said when the last file is there
    const files = beside(contact);
    if (!t.value.trim() && !files.length) return;
    const p = pack(form), ref = uuid();
    p.set("ref", ref);
    files.forEach(f => p.append("file", f.id));
    fault(form.id, "");
    keep({ id: ref, url: form.getAttribute("action") || "", body: p.toString(), form: form.id, contact, text: t.value, files: files.map(called) });
    t.value = "";
    put(contact, []);
    forget(form.id);
    show();
    void send();
  }
});

// ---- files beside the next message. They are handed in as soon as they are chosen, dropped or pasted, stand below the field until the message is sent, and
// are still there after a reload.
const coming = new Map<string, number>(); // how many of a conversation are on their way
let sayLater = "";
const called = (f: File1) => f.name || word(picture(f.type) ? "picture" : "document");
function beside(contact: string): File1[] {
  try { return JSON.parse(store.getItem("desk.files " + contact) || "[]") as File1[]; } catch (broken) { return []; }
}
function put(contact: string, list: File1[]) {
  if (list.length) store.setItem("desk.files " + contact, JSON.stringify(list));
  else store.removeItem("desk.files " + contact);
  showFiles();
}
async function attach(contact: string, list: File[]) {
  const form = "say-" + contact, most = Number(doc.getElementById("desk-words")?.dataset.most) || 1;
  fault(form, "");
  for (const file of list) {
    if (beside(contact).length + (coming.get(contact) || 0) >= most) { fault(form, word("many")); break; }
    coming.set(contact, (coming.get(contact) || 0) + 1);
    showFiles();
    void handIn("/desk/chat/files/" + contact, file).then(f => {
      const left = (coming.get(contact) || 1) - 1;
      if (left) coming.set(contact, left);
      else coming.delete(contact);
      if (typeof f === "string") { sayLater = ""; fault(form, f || word("nofile")); showFiles(); } else put(contact, beside(contact).concat(f));
      if (!left && sayLater === contact) {
        sayLater = "";
        (doc.getElementById(form) as HTMLFormElement | null)?.requestSubmit();
      }
    });
  }
}
function showFiles() {
  all("[id^='files-']").forEach(ul => {
    const contact = ul.id.slice(6), n = coming.get(contact) || 0;
    ul.textContent = "";
    beside(contact).forEach(f => {
      const li = doc.createElement("li"), name = doc.createElement("span"), size = doc.createElement("small"), drop = doc.createElement("button");
      if (picture(f.type)) {
        const img = doc.createElement("img");
        img.src = "/desk/chat/files/" + contact + "/" + f.id;
        img.alt = "";
        li.append(img);
      }
      name.textContent = called(f);
      size.textContent = inWords(f.size);
      drop.type = "button";
      drop.className = "btn plain";
      drop.textContent = word("drop");
      drop.setAttribute("aria-label", word("drop") + " " + called(f));
      drop.onclick = () => {
        put(contact, beside(contact).filter(x => x.id !== f.id));
        doc.getElementById("t-" + contact)?.focus();
      };
      li.append(name, size, drop);
      ul.append(li);
    });
    if (n) {
      const li = doc.createElement("li");
      li.className = "soft";
      li.textContent = word("coming");
      ul.append(li);
    }
  });
}
doc.addEventListener("click", e => {
  const b = (e.target as HTMLElement).closest<HTMLElement>("[data-attach]");
  if (b) doc.getElementById("pick-" + b.dataset.attach)?.click();
});
doc.addEventListener("change", e => {
  const el = e.target as HTMLInputElement;
  if (el.type !== "file" || !el.id.startsWith("pick-")) return;
  void attach(el.id.slice(5), Array.from(el.files || []));
  el.value = "";
});
const talkAt = (e: Event) => (e.target as HTMLElement).closest?.<HTMLElement>("[data-chat]");
const open = (chat?: HTMLElement | null) => chat?.querySelector("[data-says]") ? chat.dataset.chat || "" : "";
doc.addEventListener("dragover", e => { if (open(talkAt(e)) && e.dataTransfer?.types.includes("Files")) e.preventDefault(); });
doc.addEventListener("drop", e => {
  const contact = open(talkAt(e));
  if (!contact || !e.dataTransfer?.files.length) return;
  e.preventDefault();
  void attach(contact, Array.from(e.dataTransfer.files));
});
doc.addEventListener("paste", e => {
  const contact = open(talkAt(e)), files = Array.from(e.clipboardData?.files || []);
  if (!contact || !files.length || e.clipboardData?.getData("text/plain")) return; // words that were copied with their look bring a picture of it
  e.preventDefault();
  void attach(contact, files);
});

// ---- keys. Space only where it can be meant for nothing else.
doc.addEventListener("keydown", e => {
  const el = e.target as HTMLElement;
  if (e.key === "Enter" && !e.isComposing && el.matches("[data-says] textarea") && !e.shiftKey && !e.ctrlKey && !e.altKey) {
    e.preventDefault();
    (el as HTMLTextAreaElement).form?.requestSubmit();
  }
  if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) {
    const go = doc.querySelector<HTMLElement>("[data-enter]");
    if (go) { e.preventDefault(); go.click(); }
  }
  if (e.key === " " && !e.altKey && !e.ctrlKey && (el === doc.body || el.id === "desk-main" || el.id === "part")) {
    const take = doc.querySelector<HTMLElement>("[data-space]");
    if (take) { e.preventDefault(); take.click(); }
  }
  if (e.altKey && e.key.toLowerCase() === "j") {
    const list = all('.op-rail a[href^="/me?chat="]') as HTMLAnchorElement[];
    const at = list.findIndex(a => a.hasAttribute("aria-current"));
    if (list.length) { e.preventDefault(); location.assign(list[(at + 1) % list.length].href); }
  }
});
doc.addEventListener("click", e => { if ((e.target as HTMLElement).closest("[data-reload]")) location.reload(); });

// ---- the line to the chat. While it is open the operator is at the desk and is offered conversations; it carries who types and what was seen.
// Messages themselves come with the page and go by the forms, so nothing is lost with it.
let line: WebSocket | null = null;
let pauseMs = 1000;
function openLine() {
  const at = doc.getElementById("desk-words")?.dataset.line;
  if (!at) return;
  const ws = new WebSocket(location.protocol.replace("http", "ws") + "//" + location.host + at, "yingda.chat.v1");
  ws.onopen = () => {
    line = ws;
    pauseMs = 1000;
    ws.send(JSON.stringify({ t: "hello" }));
    toldSeen.clear();
    look();
  };
  ws.onmessage = e => {
    let f: { t?: string; contact?: string };
    try { f = JSON.parse(e.data as string); } catch (broken) { return; }
    if (f.t === "typing" && f.contact) types(f.contact);
  };
  ws.onclose = () => {
    line = null;
    window.setTimeout(openLine, pauseMs * (0.7 + Math.random() * 0.6));
    pauseMs = Math.min(pauseMs * 2, 15000);
  };
}
function tell(frame: object): boolean {
  if (!line || line.readyState !== WebSocket.OPEN) return false;
  line.send(JSON.stringify(frame));
  return true;
}
let typesUntil = 0;
function types(contact: string) { // for six seconds after the last sign of it
  const p = doc.querySelector<HTMLElement>('[data-chat="' + contact + '"] .chat-typing');
  if (!p) return;
  p.textContent = word("typing");
  clearTimeout(typesUntil);
  typesUntil = window.setTimeout(() => { p.textContent = ""; }, 6000);
}
let toldTyping = 0;
doc.addEventListener("input", e => {
  const form = (e.target as HTMLElement).closest("form[data-says]");
  if (!form || Date.now() - toldTyping < 3000) return;
  if (tell({ t: "typing", contact: form.id.slice(4) })) toldTyping = Date.now();
});

// ---- the page changes: a log follows its end, what is seen is told, the window's title says that it rings.
const title = doc.title;
const toldSeen = new Map<string, number>();
function follow(log: HTMLElement, force = false) {
  const last = log.querySelector<HTMLElement>("li:last-child");
  if (!last) return;
  const seq = Number(last.dataset.seq), before = Number(log.dataset.last || 0);
  if (force || seq !== before) {
    if (force || before === 0 || log.scrollHeight - log.scrollTop - log.clientHeight < 160) log.scrollTop = log.scrollHeight;
    log.dataset.last = String(seq);
  }
  const url = log.dataset.seen || "";
  if (doc.visibilityState === "visible" && url && (toldSeen.get(url) || 0) < seq) {
    toldSeen.set(url, seq);
    if (tell({ t: "seen", contact: log.id.slice(4), n: seq })) return;
    post(url, "seq=" + seq).then(r => { if (!r.ok) toldSeen.delete(url); }, () => toldSeen.delete(url));
  }
}
function look() {
  all("[data-answer]").forEach(a => { // how it was answered is asked only of what is answered on the spot
    const next = a.closest("form")?.querySelector<HTMLInputElement>('input[name="next"]:checked');
    a.hidden = next?.value !== "close";
  });
  all("[data-log]").forEach(l => follow(l));
  const rings = doc.querySelector(".op-bar.ring");
  const mark = rings ? "● " : "";
  if (doc.title !== mark + title) doc.title = mark + title;
}
const part = doc.getElementById("part");
if (part) new MutationObserver(look).observe(part, { subtree: true, childList: true });
doc.addEventListener("visibilitychange", look);
look();
show();
showFiles();
void send();
openLine();
