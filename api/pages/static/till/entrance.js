// The staff's screens: who is it, and the PIN.

import { $, made, pad, press, say, shown, show, submitted } from "./screens.js";
import { ofProblem } from "./answers.js";
import { desk, load } from "./desk.js";
import { isReachable } from "./service.js";
import { signal } from "./signals.js";
import { isOver, leave, signIn, signInOffline, staff } from "./staff.js";
import { t } from "./words.js";

let person = null, entered = () => {}, isChecking = false;
const pin = pad("pin-field", () => say("pin-error"));

// `whenIn` is called each time somebody is at the till.
export function begin(whenIn) {
  entered = whenIn;
  submitted("pin-form", check);
  press("pin-back", chooseStaff);
  press("without-pin", () => entered());
  press("lock", () => {
    leave();
    chooseStaff();
    load().then(() => shown() === "staff" && listPeople());
  });
}

export const isShown = () => ["staff", "pin"].includes(shown());

export function chooseStaff() {
  person = null;
  $("lock").hidden = true;
  listPeople();
  $("staff-offline").hidden = isReachable() || desk.staff.length === 0;
  show("staff");
}

function listPeople() {
  $("people").replaceChildren(...desk.staff.map(one => {
    const button = made("button", { type: "button", className: "button plain person", text: one.name });
    button.addEventListener("click", () => askPin(one));
    return made("li", {}, button);
  }));
  $("nobody").hidden = desk.staff.length > 0;
}

export function askPin(one, why = t("Type your PIN.")) {
  person = one;
  $("pin-title").textContent = one.name;
  say("pin-why", why);
  pin.clear();
  say("pin-error");
  show("pin", { focus: "pin-field" });
}

// The PIN of whoever was there, when the session is over.
export function lock() {
  if (isOver() && staff()) askPin(staff(), t("The till was not used for a while. Type your PIN again."));
}

async function check() {
  const typed = pin.value();
  if (isChecking || !person) return;
  if (typed.length < 4) return say("pin-error", t("A PIN has 4 to 8 digits."));
  isChecking = true;
  document.body.classList.add("busy");
  const answer = await signIn(person, typed).finally(() => {
    isChecking = false;
    document.body.classList.remove("busy");
  });
  pin.clear();
  if (answer.kind === "done") return entered();
  if (answer.kind === "away") {
    signInOffline(person);
    return entered();
  }
  const told = ofProblem(answer.problem);
  say("pin-error", [told.title, ...told.lines].join(" · "));
  signal(told.kind);
  $("pin-field").focus({ preventScroll: true });
}
