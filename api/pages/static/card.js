// A card on its holder's screen: fetched again when it changed, and kept for when there is no connection.

const live = document.getElementById("live");
const news = document.getElementById("news");
const SLOW_MS = 60_000, QUICK_MS = 15_000;
let tag = live.dataset.tag;
let events = null, timer = null, isAsking = false, isAskedAgain = false;

async function refresh() {
  if (isAsking) { isAskedAgain = true; return; }
  isAsking = true;
  try {
    const answer = await fetch(live.dataset.part, { headers: { "If-None-Match": tag, Accept: "text/html" } });
    if (answer.status === 404 || answer.status === 410) return location.reload();
    if (answer.status === 200) show(await answer.text(), answer.headers.get("ETag"));
    if (answer.status < 400 || answer.status >= 500) isOffline(answer.status >= 500);
  } catch {
    isOffline(true);
  } finally {
    isAsking = false;
  }
  if (isAskedAgain) { isAskedAgain = false; refresh(); }
}

function isOffline(yes) {
  document.getElementById("offline").hidden = !yes;
}

function show(text, newTag) {
  const before = live.firstElementChild.dataset;
  live.innerHTML = text;
  tag = newTag;
  const after = live.firstElementChild.dataset;
  if (before.status !== after.status) return location.reload();
  live.querySelectorAll(".stamp").forEach((stamp, number) => {
    if (number >= Number(before.filled) && number < Number(after.filled)) stamp.classList.add("fresh");
  });
  news.textContent = document.getElementById("progress").textContent.trim();
  keep();
}

function listen() {
  events?.close();
  events = new EventSource(live.dataset.changes);
  events.onopen = () => { refresh(); ask(SLOW_MS); };
  events.onmessage = refresh;
  events.onerror = () => { if (events.readyState === EventSource.CLOSED) ask(QUICK_MS); refresh(); };
}

function ask(everyMs) {
  clearInterval(timer);
  timer = setInterval(refresh, everyMs);
}

function rest() {
  events?.close();
  clearInterval(timer);
}

// Nobody looks at a page in the background: it holds no connection.
document.addEventListener("visibilitychange", () => document.hidden ? rest() : listen());
addEventListener("offline", () => { isOffline(true); });
addEventListener("online", listen);
addEventListener("pagehide", rest);
addEventListener("pageshow", event => { if (event.persisted) listen(); });

async function keep() {
  const worker = (await navigator.serviceWorker?.ready)?.active;
  const files = [...document.querySelectorAll("link[rel=stylesheet], link[rel=icon], script[src]")];
  worker?.postMessage({ page: location.pathname, files: files.map(one => one.href || one.src) });
}

if (!document.hidden) listen();
if ("serviceWorker" in navigator) {
  navigator.serviceWorker.register("/c/worker.js", { scope: "/c/" }).then(keep, () => {});
}
