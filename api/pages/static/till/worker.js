// The till's shell, so that it opens without a connection. It keeps the page and its files, never an answer of the API.
// The service puts GIVEN before it: the release and its files. Another release is another worker, which drops the others.

const NAME = `till-${GIVEN.release}`;
const PAGE = "/till";
const PATIENCE_MS = 4000;

self.addEventListener("install", event => {
  event.waitUntil((async () => {
    const cache = await caches.open(NAME);
    await cache.addAll(GIVEN.files);
    const shell = await fetch(PAGE);
    if (shell.ok && !shell.redirected) await cache.put(PAGE, shell);
    await self.skipWaiting();
  })());
});

self.addEventListener("activate", event => {
  event.waitUntil((async () => {
    for (const name of await caches.keys()) if (name.startsWith("till-") && name !== NAME) await caches.delete(name);
    await self.clients.claim();
  })());
});

self.addEventListener("fetch", event => {
  const { request } = event, url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin) return;
  if (request.mode === "navigate" && url.pathname === PAGE) event.respondWith(page(request));
  else if (url.pathname.startsWith("/static/")) event.respondWith(file(request));
});

// The newest page where the service answers; else the one that was shown last.
async function page(request) {
  const cache = await caches.open(NAME);
  try {
    const answer = await fetch(request, { signal: AbortSignal.timeout(PATIENCE_MS) });
    if (answer.status >= 500) return (await cache.match(PAGE)) ?? answer;
    if (answer.ok && !answer.redirected) await cache.put(PAGE, answer.clone()).catch(() => {});
    return answer;
  } catch (error) {
    const kept = await cache.match(PAGE);
    if (kept) return kept;
    throw error;
  }
}

async function file(request) {
  const cache = await caches.open(NAME);
  const kept = await cache.match(request);
  if (kept) return kept;
  const answer = await fetch(request);
  if (answer.ok) await cache.put(request, answer.clone());
  return answer;
}
