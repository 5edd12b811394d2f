// Keeps a page fresh, keeps what is typed, plays recordings. Plain script: runs in Chromium 86 and Firefox ESR as it is.
(function () {
  "use strict";
  var doc = document, root = doc.documentElement, part = doc.getElementById("part");
  root.classList.add("js");
  function all(sel, from) { return Array.prototype.slice.call((from || doc).querySelectorAll(sel)); }
  function csrf() { var m = doc.querySelector('meta[name="csrf"]'); return m ? m.content : ""; }
  function post(url, body) {
    return fetch(url, { method: "POST", credentials: "same-origin", headers: { "X-CSRF": csrf(), "X-Part": "1" }, body: body });
  }

  // ---- what is typed survives a reload and a restart of the server. It stays in this tab (sessionStorage) and is
  // forgotten when the server says that it has been taken in.
  function draftKey(el) { return "draft " + location.pathname + " " + (el.form.id || "") + " " + el.name; }
  var drafted = new WeakSet();
  function drafts(from) {
    all("form[data-draft]", from).forEach(function (form) {
      if (drafted.has(form)) return;
      drafted.add(form);
      all("input,textarea,select", form).forEach(function (el) {
        if (!el.name || el.type === "hidden" || el.type === "password") return;
        var kept = sessionStorage.getItem(draftKey(el));
        if (kept === null) return;
        if (el.type === "radio" || el.type === "checkbox") el.checked = kept === el.value;
        else if (el.value !== kept) el.value = kept;
        var fold = el.closest("details");
        if (fold) fold.open = true;
      });
    });
  }
  doc.addEventListener("input", function (e) {
    var el = e.target;
    if (!el.form || !el.form.hasAttribute("data-draft") || el.type === "password") return;
    try { sessionStorage.setItem(draftKey(el), el.value); } catch (full) { return; }
    all("[data-kept]", el.form).forEach(function (k) { k.hidden = false; });
  });
  all("[data-clears]").forEach(function (el) {
    var prefix = "draft " + el.getAttribute("data-clears") + " ";
    Object.keys(sessionStorage).forEach(function (k) { if (k.indexOf(prefix) === 0) sessionStorage.removeItem(k); });
  });

  // ---- a part is sent again and morphed in place. Fields that somebody has touched, and what they folded open, stay.
  function touched(el) {
    if (el === doc.activeElement) return true;
    if (el.tagName === "SELECT") return Array.prototype.some.call(el.options, function (o) { return o.selected !== o.defaultSelected; });
    if (el.type === "checkbox" || el.type === "radio") return el.checked !== el.defaultChecked;
    return el.value !== el.defaultValue;
  }
  function morph(html) {
    var first = part.querySelector("[aria-busy=true]"); // a skeleton was here
    Idiomorph.morph(part, html, {
      morphStyle: "innerHTML", ignoreActiveValue: true, restoreFocus: true,
      callbacks: {
        beforeNodeMorphed: function (old) {
          if (old.nodeType !== 1) return true;
          if (old.matches("input,textarea,select") && touched(old)) return false;
          return !old.hasAttribute("data-hold");
        },
        beforeAttributeUpdated: function (name, el) {
          return !(name === "open" && el.tagName === "DETAILS") && !(name === "hidden" && el.hasAttribute("data-kept"));
        }
      }
    });
    all("[data-player]", part).forEach(player);
    drafts(part); // forms that came with it
    tell();
  }
  function tell() { // the clock in the frame says up to when the part is true
    var at = part && part.querySelector("[data-asof]");
    if (at) all("[data-asof-here]").forEach(function (el) { el.textContent = at.getAttribute("data-asof"); });
  }

  // ---- the stream. When nothing has come for 5 s, old figures are not shown as if they were new.
  var source = null, heard = Date.now(), fails = 0;
  function open() {
    source = new EventSource(part.getAttribute("data-live"));
    source.addEventListener("part", function (e) { heard = Date.now(); fails = 0; stopped(false); morph(e.data); });
    source.addEventListener("beat", function () { heard = Date.now(); stopped(false); });
    source.addEventListener("end", function () { source.close(); source = null; part = null; });
    source.addEventListener("bye", function () { location.reload(); });
    source.onerror = function () {
      if (!source || source.readyState !== 2) return; // 2: closed for good, the server said no
      source = null;
      fails++;
      post("/here").then(function (r) { if (r.status === 401) location.reload(); }, function () {});
      setTimeout(function () { if (!source) open(); }, Math.min(1000 * fails, 5000));
    };
  }
  function stopped(is) {
    if (root.classList.contains("stopped") === is) return;
    root.classList.toggle("stopped", is);
    all("[data-stopped]").forEach(function (el) { el.hidden = !is; });
    if (is) {
      var at = part.querySelector("[data-asof]");
      all("[data-stopped-at]").forEach(function (el) { el.textContent = at ? at.getAttribute("data-asof") : "–"; });
    }
  }
  if (part && part.hasAttribute("data-live")) {
    open();
    setInterval(function () {
      if (!part) return;
      var silent = Date.now() - heard;
      if (silent > 5000) stopped(true);
      all("[data-stopped-for]").forEach(function (el) {
        var s = Math.round(silent / 1000), m = Math.floor(s / 60);
        el.textContent = (m ? m + " " + el.getAttribute("data-min") + " " : "") + (s % 60) + " " + el.getAttribute("data-sec");
      });
    }, 1000);
    window.addEventListener("pagehide", function () { if (source) source.close(); });
  }

  // ---- somebody is at work here: says so at most once a minute, so that a long call does not sign them out.
  var said = Date.now();
  ["keydown", "pointerdown"].forEach(function (kind) {
    doc.addEventListener(kind, function () {
      if (Date.now() - said < 60000 || !csrf()) return;
      said = Date.now();
      post("/here").catch(function () {});
    });
  });

  // ---- forms: filters go as they are chosen; the grid is looked up as the place is written; one click is one deed.
  doc.addEventListener("change", function (e) {
    var form = e.target.form;
    if (!form) return;
    if (form.hasAttribute("data-auto")) form.requestSubmit ? form.requestSubmit() : form.submit();
    if (e.target.hasAttribute("data-asks")) ask(form, e.target.getAttribute("data-asks"));
  });
  function ask(form, url) {
    var into = doc.getElementById("proposal");
    if (!into) return;
    into.setAttribute("aria-busy", "true");
    post(url, new URLSearchParams(new FormData(form))).then(function (r) {
      return r.ok ? r.text() : Promise.reject();
    }).then(function (html) { Idiomorph.morph(into, html, { morphStyle: "innerHTML" }); }, function () {})
      .then(function () { into.removeAttribute("aria-busy"); });
  }
  doc.addEventListener("submit", function (e) {
    var form = e.target;
    if (form.hasAttribute("data-sent")) { e.preventDefault(); return; }
    if (form.method !== "post") return;
    form.setAttribute("data-sent", "");
    setTimeout(function () { form.removeAttribute("data-sent"); }, 4000);
  });
  window.addEventListener("pageshow", function () { all("form[data-sent]").forEach(function (f) { f.removeAttribute("data-sent"); }); });
  doc.addEventListener("click", function (e) {
    var el = e.target.closest ? e.target.closest("[data-copy]") : null;
    if (!el || !navigator.clipboard) return;
    navigator.clipboard.writeText(el.getAttribute("data-copy")).then(function () { el.textContent = el.getAttribute("data-copied"); }, function () {});
  });
  doc.addEventListener("keydown", function (e) {
    if (e.key === "Escape") all("details.pop[open]").forEach(function (d) { d.open = false; d.querySelector("summary").focus(); });
    if (e.altKey && !e.ctrlKey && !e.metaKey) {
      var el = doc.querySelector('[data-key="' + e.key.toLowerCase() + '"]');
      if (el) { e.preventDefault(); if (el.matches("input,textarea,select")) el.focus(); else el.click(); }
    }
    if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === "k") {
      var find = doc.querySelector("[data-find]");
      if (find) { e.preventDefault(); find.focus(); }
    }
  });
  doc.addEventListener("toggle", function (e) { // one pop-up at a time
    if (e.target.matches && e.target.matches("details.pop") && e.target.open) {
      all("details.pop[open]").forEach(function (d) { if (d !== e.target) d.open = false; });
    }
  }, true);

  // ---- recording
  function clock(s) { s = Math.floor(s); return Math.floor(s / 60) + ":" + ("0" + s % 60).slice(-2); }
  function player(box) {
    var audio = box.querySelector("audio"), play = box.querySelector("[data-play]"), now = box.querySelector("[data-now]");
    var wave = box.querySelector("[data-wave]"), hand = box.querySelector("[data-hand]");
    if (!audio || !play || box.hasAttribute("data-ready")) return;
    box.setAttribute("data-ready", "");
    var length = Number(box.getAttribute("data-length")) || 1;
    audio.controls = false;
    play.hidden = false;
    function show() {
      now.textContent = clock(audio.currentTime);
      var x = 64 + 920 * Math.min(audio.currentTime / length, 1);
      hand.setAttribute("d", "M" + x.toFixed(1) + " 4V108");
      wave.setAttribute("aria-valuenow", String(Math.round(audio.currentTime)));
      wave.setAttribute("aria-valuetext", clock(audio.currentTime));
    }
    function state() { play.setAttribute("aria-pressed", String(!audio.paused)); play.setAttribute("aria-label", play.getAttribute(audio.paused ? "data-l-play" : "data-l-pause")); }
    function seek(s) { audio.currentTime = Math.max(0, Math.min(length, s)); show(); }
    play.addEventListener("click", function () { if (audio.paused) audio.play().catch(function () {}); else audio.pause(); });
    audio.addEventListener("timeupdate", show);
    ["play", "pause", "ended"].forEach(function (k) { audio.addEventListener(k, state); });
    audio.addEventListener("error", function () { all("[data-broken]", box).forEach(function (el) { el.hidden = false; }); });
    wave.addEventListener("click", function (e) {
      var r = wave.getBoundingClientRect(), x = (e.clientX - r.left) / r.width * 1000;
      seek((x - 64) / 920 * length);
    });
    wave.addEventListener("keydown", function (e) {
      var step = { ArrowRight: 5, ArrowLeft: -5, PageUp: 30, PageDown: -30 }[e.key];
      if (step) { e.preventDefault(); seek(audio.currentTime + step); }
      if (e.key === "Home") { e.preventDefault(); seek(0); }
      if (e.key === " " || e.key === "Enter") { e.preventDefault(); play.click(); }
    });
  }
  var here = doc.querySelector(".top nav [aria-current]"); // on a phone the main pages scroll sideways
  if (here) here.parentNode.scrollLeft = here.offsetLeft - here.parentNode.offsetLeft - here.parentNode.clientWidth / 2 + here.clientWidth / 2;
  all("[data-player]").forEach(player);
  drafts();
  tell();
})();
