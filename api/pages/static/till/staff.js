// Who is at the till. The service checks the PIN; here only its token is kept, for this tab, as long as it holds.

import { ask, now, secondsSince } from "./service.js";

const KEPT = "till-session";
let session = JSON.parse(sessionStorage.getItem(KEPT) ?? "null");

function remember(next) {
  session = next;
  if (next) sessionStorage.setItem(KEPT, JSON.stringify(next));
  else sessionStorage.removeItem(KEPT);
}

// { id, name }; null while nobody is there.
export const staff = () => session && { id: session.id, name: session.name };
export const token = () => (session?.token && new Date(session.until) > now() ? session.token : null);

// Whether the PIN is due. Without a connection nobody can check one.
export const isOver = () => session !== null && !token() && !session.isOffline;

export async function signIn({ id, name }, pin) {
  const answer = await ask("POST", `/pins/${id}/sessions`, { body: { pin } });
  if (answer.kind === "done") {
    const { token, expires_at: until } = answer.body;
    remember({ id, name, token, until, idle: -secondsSince(until) });
  }
  return answer;
}

// At the till without a PIN, as nothing can be sent: it is asked before anything is.
export const signInOffline = ({ id, name }) => remember({ id, name, isOffline: true });

export function renew(token) {
  if (!token || !session?.token) return;
  remember({ ...session, token, until: new Date(now().getTime() + session.idle * 1000).toISOString() });
}

export const leave = () => remember(null);
