// What has not arrived yet, what was refused while nobody looked, and what somebody discarded: counted at the top, and
// listed.

import { $, made, press, show } from "./screens.js";
import { ofProblem, WHAT } from "./answers.js";
import { maySend } from "./counter.js";
import { desk } from "./desk.js";
import { askPin } from "./entrance.js";
import * as queue from "./queue.js";
import { secondsSince } from "./service.js";
import { staff, token } from "./staff.js";
import { signal } from "./signals.js";
import { ago, grouped, moment, t, tn } from "./words.js";

const SAY_AGAIN_MS = 10_000;
let refusedBefore = 0;

export function begin({ send, back }) {
  queue.onChange(count);
  for (const id of ["show-waiting", "settings-waiting"]) press(id, () => { list(); show("waiting"); });
  press("waiting-back", back);
  press("send-now", send);
  setInterval(sayAges, SAY_AGAIN_MS);
  return count();
}

export async function count() {
  const [waiting, refused] = [await queue.waiting(), await queue.refused()];
  $("show-waiting").hidden = waiting.length + refused.length === 0;
  $("show-waiting").classList.toggle("danger", refused.length > 0);
  const parts = [];
  if (waiting.length) parts.push(tn("{count} to send", waiting.length));
  if (refused.length) parts.push(tn("{count} refused", refused.length));
  $("waiting-count").textContent = parts.join(" · ");
  if (refused.length > refusedBefore) signal("bad");
  refusedBefore = refused.length;
  if (!$("waiting").hidden) list();
}

async function list() {
  const [refused, waiting, discarded] = [await queue.refused(), await queue.waiting(), await queue.discarded()];
  $("waiting-list").replaceChildren(...[...refused, ...waiting, ...discarded].map(row));
  $("waiting-none").hidden = $("waiting-list").childElementCount > 0;
  $("send-now").hidden = !waiting.some(maySend);
}

// Only these words: a button under somebody's finger stays the same one.
function sayAges() {
  for (const age of document.querySelectorAll("#waiting-list .quiet")) age.textContent = age.say();
}

function row(action) {
  const what = [WHAT[action.kind](), action.label && grouped(action.label)];
  const say = () => [action.staff?.name, moment(action.at), ago(secondsSince(action.at))].filter(Boolean).join(" · ");
  return made("li", { className: "panel" },
    line("strong", what.filter(Boolean).join(" · ")),
    made("p", { className: "quiet", text: say(), say }),
    ...{ refused: ofRefused, discarded: ofDiscarded, waiting: ofWaiting }[action.state](action));
}

const line = (className, text) => made("p", { className, text });

function button(text, work, kind = "plain") {
  const element = made("button", { type: "button", className: `button ${kind}`, text });
  element.addEventListener("click", work);
  return element;
}

const buttons = (...possible) => made("div", { className: "row" }, ...possible);

function ofRefused(action) {
  const told = ofProblem(action.answer.problem);
  return [
    line("refusal", [told.title, ...told.lines].join(" · ")),
    buttons(button(t("Seen, remove it"), () => queue.remove(action.order))),
  ];
}

function ofDiscarded({ by, settled, tries }) {
  const told = [line("", t("Discarded by {name}: {time}.", { name: by, time: moment(settled) }))];
  if (tries > 0) told.push(line("", t("It may have arrived all the same: it was sent, and no answer came.")));
  return told;
}

function ofWaiting(action) {
  if (maySend(action)) return [line("", t("It waits for the connection."))];
  const isHere = action.vendor === desk.vendor.id, { name } = action.staff ?? {};
  const why = isHere
    ? t("It waits for the PIN of {name}.", { name })
    : t("It belongs to another shop that this till was paired with.");
  const possible = [];
  const known = isHere && desk.staff.find(one => one.id === action.staff.id);
  if (known) possible.push(button(t("{name}: type the PIN", { name }), () => askPin(known)));
  // Somebody must answer for it; where nobody has a PIN, the till does.
  const by = token() ? staff().name : desk.staff.length === 0 && desk.terminal.name;
  const isSure = () => confirm(t("Discard this? It will never be sent. It stays in the list, with your name."));
  if (by) possible.push(button(t("Discard"), () => isSure() && queue.discard(action.id, by), "danger"));
  return [line("", why), ...(possible.length ? [buttons(...possible)] : [])];
}
