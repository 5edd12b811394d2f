// A resident's end of a conversation over WebSocket, protocol yingda.chat.v1 (package channels/webchat, docs/protocol.md). What was written is kept in this tab
// until the server has ticked it, and is sent again under its key over any later connection; what was missed is asked for by number. No window of time is in it.

import { handIn, Kept } from "./files";

export interface State {
  stage: string; // "", writing, quiet, waiting, open, closed, over
  operator?: string;
  number?: string; // left by the resident, masked
  ahead?: number;
  wait_s?: number;
  open_at?: string;
  outcome?: string;
}

export interface Message {
  n: number; // 0: not ticked yet
  from: string; // you, us
  name?: string;
  at?: string;
  text: string;
  key?: string;
  files?: Kept[];
}

export interface Events {
  state(s: State): void;
  message(m: Message): void; // new, or ticked now: then it has the key of one that was there before
  typing(): void;
  connected(on: boolean): void;
  refused(say: string, key: string): void; // of a message (key), of the number (key "number"), or of beginning ("")
  done(what: string): void; // "number", "bye"
}

interface Unsent { key: string; text: string; files?: string[] }

interface Saved {
  token: string;
  start: string; // key under which the conversation was, or is to be, begun
  unsent: Unsent[];
  seen: number; // number of the last message that was in sight
}

interface Frame {
  t: string; ref?: string; token?: string; key?: string; n?: number; state?: State; code?: string; say?: string;
  from?: string; name?: string; at?: string; text?: string; files?: Message["files"]; unsafe?: boolean;
}

const random = () => Array.from(crypto.getRandomValues(new Uint8Array(16)), b => b.toString(16).padStart(2, "0")).join("");

export class Talk {
  private ws: WebSocket | null = null;
  private kept: Saved = { token: "", start: "", unsent: [], seen: 0 };
  private last = 0; // number of the newest
  private had = new Set<number>(); // numbers; one may come after higher ones, when a node of the office died and what it had written is found
  private ready = false; // welcome was heard
  private failures = 0;
  private timer = 0;
  private beginning = false; // a start is under way on this connection
  private due = false; // what is in sight is to be told
  private over = false; // the conversation is
  private stopped = true;
  private typed = 0;
  private held = new Map<number, Frame>(); // shown, and not on the server's disk yet: after a crash of it the number may be another's
  private asked = false; // a ping was sent, and nothing has come since
  private beat = 0;

  constructor(private url: string, private line: string, private on: Events, private name = "yingda-chat", token = "") {
    try {
      const s = JSON.parse(sessionStorage.getItem(name) || "null");
      if (s && typeof s.token === "string" && Array.isArray(s.unsent)) this.kept = s;
    } catch { /* no storage: the conversation lives as long as the page */ }
    if (token && token !== this.kept.token) this.kept = { token, start: "", unsent: [], seen: 0 };
    addEventListener("online", () => { if (!this.stopped && !this.ready) { this.failures = 0; this.connect(); } });
  }

  // begun: there is a conversation to go on with, or words that wait to begin one.
  get begun(): boolean { return !!this.kept.token || this.kept.unsent.length > 0; }

  open(): void {
    if (!this.stopped) return;
    this.stopped = false;
    for (const u of this.kept.unsent) this.on.message({ n: 0, from: "you", text: u.text, key: u.key, files: u.files?.map(id => ({ id, type: "" })) });
    this.connect();
  }

  say(text: string): void {
    const u = { key: random(), text };
    this.kept.unsent.push(u);
    this.save();
    this.on.message({ n: 0, from: "you", text, key: u.key });
    this.flush(u);
  }

  // attach hands in a picture or a document and says that it is there. It needs the line: a file is not kept in the tab. Null when it was taken in, else what
  // to tell the person; "" when there is nothing better to say than to try again.
  async attach(file: Blob): Promise<string | null> {
    if (!this.kept.token || !this.ready) return "";
    const f = await handIn(this.files(), file, { Authorization: "Bearer " + this.kept.token });
    if (typeof f === "string") return f;
    const u: Unsent = { key: random(), text: "", files: [f.id] };
    this.kept.unsent.push(u);
    this.save();
    this.on.message({ n: 0, from: "you", text: "", key: u.key, files: [f] });
    this.flush(u);
    return null;
  }

  // fetch brings a file of the conversation; null when it cannot be had now.
  async fetch(id: string): Promise<Blob | null> {
    try {
      const r = await fetch(this.files() + "/" + id, { headers: { Authorization: "Bearer " + this.kept.token } });
      return r.ok ? await r.blob() : null;
    } catch { return null; }
  }

  private files(): string { return this.url.replace(/^ws/, "http").replace(/\/ws$/, "/files"); }

  typing(): void {
    if (this.kept.token && Date.now() - this.typed > 3000) {
      this.typed = Date.now();
      this.send({ t: "typing" });
    }
  }

  // seen says that all up to the last message is in sight; fresh whether a message came after what was.
  seen(): void {
    this.due = this.held.size > 0; // what is not on the server's disk yet is told when it is
    if (!this.kept.token || this.last <= (this.kept.seen || 0)) return;
    this.kept.seen = this.last;
    this.save();
    this.send({ t: "seen", n: this.last });
  }

  fresh(n: number): boolean { return n > (this.kept.seen || 0); }

  number(number: string): void { if (!this.send({ t: "number", ref: "number", number, call: true })) this.on.refused("", "number"); }

  bye(): void { if (!this.send({ t: "bye", ref: "bye" })) this.on.refused("", "bye"); }

  // anew forgets the conversation. What could not be sent in it begins the next.
  anew(): void {
    this.kept.token = this.kept.start = "";
    this.last = this.kept.seen = 0;
    this.had.clear();
    this.held.clear();
    this.over = this.beginning = false;
    this.save();
    this.flush();
  }

  private save(): void {
    try {
      if (this.begun) sessionStorage.setItem(this.name, JSON.stringify(this.kept));
      else sessionStorage.removeItem(this.name);
    } catch { /* as above */ }
  }

  private send(o: object): boolean {
    if (!this.ready || !this.ws || this.ws.readyState !== WebSocket.OPEN) return false;
    this.ws.send(JSON.stringify(o));
    return true;
  }

  private connect(): void {
    clearTimeout(this.timer);
    if (this.ws && this.ws.readyState <= WebSocket.OPEN) return;
    let ws: WebSocket;
    try {
      ws = new WebSocket(this.url, "yingda.chat.v1");
    } catch {
      return this.later();
    }
    this.ws = ws;
    ws.onopen = () => ws.send(JSON.stringify(this.kept.token ? { t: "hello", token: this.kept.token, after: this.last } : { t: "hello", line: this.line }));
    ws.onmessage = e => {
      let f: Frame;
      try { f = JSON.parse(e.data); } catch { return; }
      if (!f || ws !== this.ws) return;
      this.asked = false;
      this.hear(f);
    };
    ws.onclose = () => this.lost(ws);
    // A network that has gone tells nobody. What has not answered by the next beat is lost; a tab in the background beats once a minute, so no clock is read.
    clearInterval(this.beat);
    this.asked = false;
    this.beat = window.setInterval(() => {
      if (this.asked) { this.lost(ws); ws.close(); return; }
      if (this.send({ t: "ping" })) this.asked = true;
    }, 20000);
  }

  private lost(ws: WebSocket): void {
    if (ws !== this.ws) return;
    this.ws = null;
    clearInterval(this.beat);
    if (this.ready) { this.ready = false; this.failures = 0; }
    this.beginning = false;
    this.on.connected(false);
    this.later();
  }

  private later(): void {
    if (this.stopped) return;
    const wait = Math.min(30000, 500 * 2 ** this.failures++) * (.7 + Math.random() * .6); // not all browsers at once
    this.timer = window.setTimeout(() => this.connect(), wait);
  }

  // flush sends one message, or all that wait; when there is no conversation yet it is begun first.
  private flush(one?: Unsent): void {
    if (!this.ready || this.over || !this.kept.unsent.length) return;
    if (this.kept.token) {
      for (const u of one ? [one] : this.kept.unsent) this.send({ t: "say", key: u.key, text: u.text, files: u.files });
    } else if (!this.beginning) {
      this.beginning = true;
      if (!this.kept.start) { this.kept.start = random(); this.save(); }
      this.send({ t: "start", ref: "start", key: this.kept.start, line: this.line });
    }
  }

  private hear(f: Frame): void {
    switch (f.t) {
      case "welcome":
        this.ready = true;
        this.on.connected(true);
        if (f.state) this.stand(f.state);
        this.flush();
        break;
      case "started":
        this.kept.token = f.token || "";
        this.beginning = false;
        this.save();
        if (f.state) this.stand(f.state);
        this.flush();
        break;
      case "state":
        if (f.state) this.stand(f.state);
        break;
      case "message":
        if (!f.n || this.had.has(f.n)) break;
        const before = this.held.get(f.n);
        if (f.unsafe) {
          this.held.set(f.n, f);
          if (f.key) break; // our own waits for its tick
        } else {
          this.held.delete(f.n);
          this.got(f.n);
          if (f.key) this.sent(f.key);
        }
        if (before && before.text === f.text && before.from !== "you") break; // shown already
        this.on.message({ n: f.n, from: f.from || "us", name: f.name, at: f.at, text: f.text || "", key: f.key, files: f.files });
        break;
      case "tick":
        if (f.key && this.sent(f.key)) this.on.message({ n: f.n || 0, from: "you", text: "", key: f.key });
        break;
      case "safe": // the server's disk has all up to here
        for (const [n, m] of [...this.held].filter(h => h[0] <= (f.n || 0))) {
          this.held.delete(n);
          this.got(n);
          if (m.key && this.sent(m.key)) this.on.message({ n, from: "you", text: m.text || "", key: m.key, at: m.at });
        }
        if (this.due) this.seen();
        break;
      case "typing":
        this.on.typing();
        break;
      case "done":
        this.on.done(f.ref || "");
        break;
      case "error":
        this.fault(f);
    }
  }

  private got(n: number): void {
    this.had.add(n);
    this.last = Math.max(this.last, n);
  }

  private stand(s: State): void {
    this.over = s.stage === "over";
    this.on.state(s);
  }

  private sent(key: string): boolean {
    const at = this.kept.unsent.findIndex(u => u.key === key);
    if (at < 0) return false;
    this.kept.unsent.splice(at, 1);
    this.save();
    return true;
  }

  private fault(f: Frame): void {
    const about = f.key || f.ref || "";
    if (f.code === "token") { // it is of a conversation that is put away
      this.anew();
      if (!this.ready) { this.ws?.close(); return; }
    } else if (about === "start") {
      this.beginning = false;
      this.on.refused(f.say || "", "");
    } else if (f.code === "later" || f.code === "slow_down") { // not written down yet: again, by and by
      window.setTimeout(() => this.flush(), 2000 + Math.random() * 2000);
    } else {
      if (f.key && f.code !== "over") this.sent(f.key); // it will not be taken as it is
      if (f.code === "over") this.over = true;
      this.on.refused(f.say || "", about);
    }
  }
}
