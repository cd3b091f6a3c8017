// What has not arrived yet, and what was refused while nobody looked: counted at the top, and listed.

import { $, made, press, say, show } from "./screens.js";
import { ofProblem, WHAT } from "./answers.js";
import { desk } from "./desk.js";
import * as queue from "./queue.js";
import { staff, token } from "./staff.js";
import { signal } from "./signals.js";
import { clock, grouped, t, tn } from "./words.js";

let refusedBefore = 0;

export function begin({ send, back }) {
  queue.onChange(count);
  press("show-waiting", () => { list(); show("waiting"); });
  press("waiting-back", back);
  press("send-now", send);
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
  const [waiting, refused] = [await queue.waiting(), await queue.refused()];
  $("waiting-list").replaceChildren(...refused.map(row), ...waiting.map(row));
  $("waiting-none").hidden = waiting.length + refused.length > 0;
  $("send-now").hidden = waiting.length === 0;
}

function row(action) {
  const parts = [WHAT[action.kind](), action.label && grouped(action.label), clock(action.at), action.staff?.name];
  const line = made("li", { className: "panel" }, made("p", { className: "strong", text: parts.filter(Boolean).join(" · ") }));
  if (action.state === "refused") {
    const told = ofProblem(action.answer.problem);
    line.append(made("p", { className: "refusal", text: [told.title, ...told.lines].join(" · ") }));
    const seen = made("button", { type: "button", className: "button plain", text: t("Seen, remove it") });
    seen.addEventListener("click", () => queue.remove(action.order));
    line.append(seen);
  } else {
    line.append(made("p", { className: "quiet", text: why(action) }));
  }
  return line;
}

function why(action) {
  if (action.vendor !== desk.vendor.id) return t("It belongs to another shop that this till was paired with.");
  if (action.staff && !(token() && staff().id === action.staff.id)) {
    return t("It waits for the PIN of {name}.", { name: action.staff.name });
  }
  return t("It waits for the connection.");
}
