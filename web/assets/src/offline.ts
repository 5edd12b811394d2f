// The service worker of the grid worker's pages, and of nothing else. It keeps the frame (styles, scripts, marks) and each page that was seen,
// so that the list and the matters open on the stairs. Pages hold what concerns people: they go when the worker signs out, when the
// server says that nobody is signed in, and after twelve hours in any case.
/// <reference lib="webworker" />
declare const self: ServiceWorkerGlobalScope & { shell: string[] };

const hours = 12;
const frame = "gw-frame " + self.shell.join();
const pages = "gw-pages";
const patience = 4000; // ms that a page is waited for before the kept one is shown

self.addEventListener("install", e => {
  e.waitUntil(caches.open(frame).then(c => c.addAll(self.shell)).then(() => self.skipWaiting()));
});
self.addEventListener("activate", e => {
  e.waitUntil(caches.keys().then(names => Promise.all(names.filter(n => n.indexOf("gw-frame") === 0 && n !== frame).map(n => caches.delete(n)))).then(() => self.clients.claim()));
});

self.addEventListener("fetch", e => {
  const r = e.request, url = new URL(r.url);
  if (r.method !== "GET" || url.origin !== self.location.origin) return;
  if (self.shell.indexOf(url.pathname) >= 0) {
    e.respondWith(caches.match(url.pathname).then(hit => hit || fetch(r)));
  } else if (r.mode === "navigate" && (url.pathname === "/grid" || url.pathname.indexOf("/grid/") === 0)) {
    e.respondWith(page(e, r, url.pathname));
  }
});

async function page(e: FetchEvent, r: Request, path: string): Promise<Response> {
  const store = await caches.open(pages);
  const fresh = fetch(r).then(async answer => {
    if (answer.redirected || answer.type === "opaqueredirect" || answer.status === 401) await caches.delete(pages); // signed out, here or by the server
    else if (answer.ok) e.waitUntil(store.put(path, answer.clone())); // beside the page: both read the one body
    else if (answer.status === 404) await store.delete(path);
    return answer;
  });
  const late = new Promise<undefined>(done => setTimeout(() => done(undefined), patience));
  try {
    const got = await Promise.race([fresh, late]);
    if (got) return got;
  } catch (gone) { /* below */ }
  const old = await store.match(path) || await store.match("/grid");
  if (old && young(old)) return old;
  if (old) await caches.delete(pages);
  return fresh.catch(() => new Response('<!doctype html><html lang="zh-Hans"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>没有信号</title><link rel="stylesheet" href="' + self.shell[0] +
    '"><body class="gwp"><main class="wrap"><h1>没有信号</h1><p>写好的都在手机里，没有丢。有信号时再打开这一页。</p><p lang="en">No signal. What you wrote is kept in this phone; open this page again when there is one.</p></main>',
    { status: 503, headers: { "Content-Type": "text/html; charset=utf-8" } }));
}

// young says whether a kept page is not older than a session may be.
function young(r: Response): boolean {
  const at = Date.parse(r.headers.get("Date") || "");
  return Date.now() - at < hours * 3600 * 1000;
}
export {};
