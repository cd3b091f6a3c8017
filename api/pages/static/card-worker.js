// Cards without a connection: each page that was seen is kept as it was seen last, with its files.

const PAGES = "card-pages", FILES = "card-files";
const CARD = /^\/c\/[A-Za-z0-9_-]{32}$/;

self.addEventListener("install", () => self.skipWaiting());
self.addEventListener("activate", event => event.waitUntil(self.clients.claim()));

self.addEventListener("message", event => event.waitUntil(keep(event.data.page, event.data.files)));

async function keep(page, files) {
  if (!CARD.test(page)) return;
  const [pages, kept] = await Promise.all([caches.open(PAGES), caches.open(FILES)]);
  const wanted = new Set(files);
  for (const old of await kept.keys()) if (!wanted.has(old.url) && isOlder(old.url, files)) await kept.delete(old);
  const known = new Set((await kept.keys()).map(one => one.url));
  await Promise.allSettled(files.filter(one => !known.has(one)).map(one => kept.add(one)));
  await put(pages, page, await fetch(page, { headers: { Accept: "text/html" } }));
}

// Of another release: its address has another second part.
function isOlder(url, files) {
  const release = address => new URL(address).pathname.split("/")[2];
  return files.length > 0 && release(url) !== release(files[0]);
}

async function put(pages, page, answer) {
  if (answer.ok && !answer.redirected) await pages.put(page, answer);
  else if (answer.status === 404 || answer.status === 410) await pages.delete(page);
}

self.addEventListener("fetch", event => {
  const { request } = event;
  const { pathname } = new URL(request.url);
  if (request.method !== "GET") return;
  if (request.mode === "navigate" && CARD.test(pathname)) event.respondWith(newest(request, pathname));
  else if (pathname.startsWith("/static/")) event.respondWith(caches.match(request).then(found => found || fetch(request)));
});

async function newest(request, page) {
  const pages = await caches.open(PAGES);
  try {
    const answer = await fetch(request);
    if (answer.status >= 500) return (await pages.match(page)) ?? answer;
    await put(pages, page, answer.clone()).catch(() => {});
    return answer;
  } catch (error) {
    const kept = await pages.match(page);
    if (kept) return kept;
    throw error;
  }
}
