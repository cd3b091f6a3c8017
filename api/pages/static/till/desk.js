// What this till knows of its shop: the vendor, programs and staff by name, from the service or as it last told.

import { ask } from "./service.js";
import { fact, setFact } from "./store.js";

export const desk = { vendor: null, programs: [], staff: [], terminal: {} };

// "done", "unpaired", or "away" where nothing is known from before either.
export async function load() {
  const answer = await ask("GET", "/till");
  if (answer.kind === "unpaired") {
    await forget();
    return "unpaired";
  }
  if (answer.kind === "done") await setFact("desk", answer.body);
  const known = answer.kind === "done" ? answer.body : await fact("desk");
  if (!known) return "away";
  Object.assign(desk, known);
  return "done";
}

// Who works here stays on no device that is no till.
export const forget = () => setFact("desk", null);

// The currency of purchases on a card that is not known: the first points program's that this till shows.
export function currency() {
  const programs = desk.programs.filter(one => one.earn_rate);
  const own = programs.find(one => one.id === desk.terminal.program_id);
  return (own ?? programs[0])?.currency ?? null;
}
