// Asking the service: as this till, as the staff member who works at it, in the language of the page.
// What comes back is one of
//   done      it happened; `body` is the answer
//   refused   a rule said no; `problem` says which and why
//   pin       the staff session is over: the PIN is needed first
//   unpaired  this till's key is revoked
//   busy      to be asked again in `seconds`, with the same key
//   away      nobody knows: to be asked again, with the same key

import { language } from "./words.js";

const PREFIX = "/api/v1/vendor/loyalty";
const PATIENCE_MS = 8000;
let ahead = 0, reached = true;
const listeners = new Set();

// Whether the service answered when it was last asked, as far as the device is connected at all.
export const isReachable = () => navigator.onLine && reached;
export const onReach = listener => listeners.add(listener);

function reach(yes) {
  reached = yes;
  listeners.forEach(listener => listener());
}

// The service's time as this device can tell it: its own clock may be wrong.
export const now = () => new Date(Date.now() + ahead);
export const secondsSince = at => Math.round((now() - new Date(at)) / 1000);

export async function ask(method, path, { body, key, session } = {}) {
  const headers = { "X-Till": "1", "Accept": "application/json", "Accept-Language": language };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  if (session) headers["Staff-Session"] = session;
  let answer, told;
  try {
    answer = await fetch(PREFIX + path, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
      credentials: "same-origin", cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS),
    });
    told = await answer.json();
  } catch {
    reach(false);
    return { kind: "away" };
  }
  reach(true);
  const date = Date.parse(answer.headers.get("Date"));
  if (date) ahead = Math.abs(date - Date.now()) < 2000 ? 0 : date - Date.now();
  return { ...meaning(answer, told), renewed: answer.headers.get("Staff-Session") };
}

function meaning(answer, told) {
  const { status } = answer;
  if (answer.ok) return { kind: "done", body: told };
  if (told.code === "staff_session_invalid" || told.code === "pin_required") return { kind: "pin", problem: told };
  if (status === 401) return { kind: "unpaired", problem: told };
  if (status === 429 || status === 503 || told.code === "idempotency_in_flight") {
    return { kind: "busy", problem: told, seconds: Number(answer.headers.get("Retry-After")) || 2 };
  }
  if (status >= 500) return { kind: "away", problem: told };
  return { kind: "refused", problem: told };
}
