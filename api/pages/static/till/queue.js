// What the till was asked to do: written down with its key and time before it is sent, and kept until the service has
// answered. Of several tabs one sends at a time, and each action under its own Idempotency-Key: it happens once,
// however often it is sent. What is refused while nobody looks stays until somebody has seen it.

import { actions, drop, keep } from "./store.js";
import { now } from "./service.js";

const LOCK = "till-queue";
const KEPT_MS = { done: 60_000, discarded: 30 * 86_400_000 };
const told = new BroadcastChannel("till-queue");
const listeners = new Set();

told.onmessage = () => listeners.forEach(listener => listener());

// Called after every change, in whatever tab it was made.
export const onChange = listener => listeners.add(listener);

function changed() {
  listeners.forEach(listener => listener());
  told.postMessage("changed");
}

export async function add(action) {
  const at = now().toISOString();
  // The time is part of what is asked: it stays the same however often it is sent.
  const body = { ...action.body, occurred_at: at };
  const kept = { id: crypto.randomUUID(), at, state: "waiting", tries: 0, ...action, body };
  kept.order = await keep(kept);
  changed();
  return kept;
}

const inState = async state => (await actions()).filter(action => action.state === state);
export const waiting = () => inState("waiting");
export const refused = () => inState("refused");
export const discarded = () => inState("discarded");

export async function remove(order) {
  await drop(order);
  changed();
}

// Send what may be sent, oldest first, until the service is away. `may` says which actions are this tab's to send.
// The answer to the one that somebody watches is handed over at once, as `answer`; others are kept.
export function deliver(send, may, watched) {
  return navigator.locks.request(LOCK, async () => {
    let own, failed;
    for (const action of await actions()) {
      if (Date.now() - action.settled > KEPT_MS[action.state]) await drop(action.order);
      if (action.state !== "waiting" || !may(action)) continue;
      if (!navigator.onLine) return { kind: "away" };
      await keep({ ...action, tries: action.tries + 1 });
      const answer = await send(action);
      if (answer.kind === "done" || answer.kind === "refused") {
        if (action.id === watched) await drop(action.order);
        else await keep({ ...action, tries: action.tries + 1, state: answer.kind, answer, settled: Date.now() });
        if (action.id === watched) own = answer;
        changed();
      } else if (answer.kind === "away" && answer.problem) {
        failed = answer;  // The service is there and fails at this one: others need not wait for it.
      } else if (answer.kind !== "pin") {
        return { ...answer, answer: own };
      }
    }
    return { ...(failed ?? { kind: "done" }), answer: own };
  });
}

// The answer to an action that another tab has sent; undefined while it waits. It is then forgotten here.
export async function takeAnswer(id) {
  const action = (await actions()).find(one => one.id === id);
  if (action?.answer === undefined) return undefined;
  await remove(action.order);
  return action.answer;
}

// Never to be sent, said by somebody here. It stays in the list for a while, with their name.
export function discard(id, by) {
  return navigator.locks.request(LOCK, async () => {
    const action = (await actions()).find(one => one.id === id);
    if (action?.state !== "waiting") return;
    await keep({ ...action, state: "discarded", by, settled: Date.now() });
    changed();
  });
}

// Take back what was never sent. False where it was: then only the service can undo it.
export function takeBack(id) {
  return navigator.locks.request(LOCK, async () => {
    const action = (await actions()).find(one => one.id === id);
    if (action === undefined || action.state !== "waiting" || action.tries > 0) return false;
    await remove(action.order);
    return true;
  });
}
