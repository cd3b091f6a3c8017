// A customer at the counter: a card is found, something is done with it, and the answer fills the screen.

import { $, made, pad, press, say, show, shown, speak, submitted } from "./screens.js";
import * as answers from "./answers.js";
import * as cards from "./cards.js";
import { currency, desk, load } from "./desk.js";
import * as entrance from "./entrance.js";
import * as queue from "./queue.js";
import { ask, isReachable, secondsSince } from "./service.js";
import { signal } from "./signals.js";
import { renew, staff, token } from "./staff.js";
import { ago, money, t } from "./words.js";

const UNDO_SECONDS = 10;
const AGAIN_SECONDS = 60;
const PATIENCE_SECONDS = 3;
const REDEEMS_OFFLINE = "till-redeems-offline";

let card = null, reference = null, readEarlier = null, unsettled = null, isWorking = false, undoTimer, leaveTimer;
let confirmed = () => {};
const amount = pad("amount-field", () => say("amount-shown", money(Number($("amount-field").value), paidIn())));

export const redeemsOffline = () => localStorage.getItem(REDEEMS_OFFLINE) === "yes";
export const setRedeemsOffline = yes => localStorage.setItem(REDEEMS_OFFLINE, yes ? "yes" : "no");

export function begin() {
  submitted("find", () => {
    const text = $("number").value.trim();
    if (text) read(text);
  });
  press("stamp", () => stamp(1));
  $("several").addEventListener("click", event => {
    const count = Number(event.target.closest("[data-count]")?.dataset.count);
    if (count) stamp(count);
  });
  press("amount-open", () => { amount.clear(); show("amount", { focus: "amount-field" }); });
  press("amount-back", () => show("card"));
  submitted("amount-form", earn);
  $("rewards").addEventListener("click", event => {
    const button = event.target.closest("[data-reward]");
    if (button) unlessTwice("redeem", () => redeem(button.dataset.reward));
  });
  for (const id of ["next", "done"]) press(id, ready);
  press("again-no", ready);
  press("again-yes", () => confirmed());
}

// ------------------------------------------------------------------ finding

// Waiting for a card; or back to what was begun before the PIN was asked.
export function ready() {
  clearTimers();
  card = reference = null;
  $("number").value = "";
  if (!staff() && desk.staff.length > 0) return entrance.chooseStaff();
  show("scan");
  const text = readEarlier, action = unsettled;
  readEarlier = unsettled = null;
  if (action) settle(action);
  else if (text) read(text);
}

// Whatever was scanned or typed, on whatever screen.
export async function read(text) {
  if (isWorking) return;
  if (entrance.isShown()) {
    readEarlier = text;
    signal("found");
    return;
  }
  clearTimers();
  const found = cards.referenceIn(text);
  if (!found) return tell({ kind: "bad", title: t("This is no card"), lines: [t("Scan the code on the card, or type its 12 digits.")] });
  signal("found");
  const answer = await working(() => ask("POST", "/cards/lookup", { body: { card: found } }));
  if (answer.kind === "done") {
    card = answer.body;
    reference = card.id;
    cards.show(card);
    const { loyalty_type: type, earn_rate: rate, max_stamps_per_scan: most } = card.program;
    offerTo({ stamps: type !== "points", points: Boolean(rate), most });
  } else if (answer.kind === "away") {
    card = null;
    reference = found;
    cards.showUnknown(found, redeemsOffline());
    const stamps = desk.programs.length === 0 || desk.programs.some(one => one.loyalty_type !== "points");
    offerTo({ stamps, points: currency() !== null });
  } else if (answer.kind === "unpaired") {
    return show("unpaired");
  } else {
    const told = answers.ofProblem(answer.problem);
    if (answer.problem.code === "validation_failed") told.lines = [t("Scan the code on the card, or type its 12 digits.")];
    return tell(told);
  }
  show("card");
}

function offerTo({ stamps, points, most = 1 }) {
  $("stamp").hidden = !stamps;
  $("several").replaceChildren(...(stamps ? cards.several(most) : []));
  $("amount-open").hidden = !points;
  $("amount-open").className = stamps ? "button plain" : "button primary";
}

// ------------------------------------------------------------------ doing

const paidIn = () => card?.program.currency ?? currency() ?? desk.vendor?.currency ?? "EUR";

function earn() {
  const minor = Number(amount.value());
  if (!minor) return;
  const body = { card: reference, purchase_amount_minor: minor, currency: paidIn() };
  unlessTwice("points", () => act("points", "/points", body));
}

const stamp = count => unlessTwice("stamp", () => act("stamp", "/stamps", { card: reference, count }));
const redeem = rewardId => act("redeem", "/redemptions", { card: reference, ...(rewardId && { reward_id: rewardId }) });

const LAST = { stamp: "last_stamp_at", points: "last_points_at", redeem: "last_redemption_at" };
const TWICE = {
  stamp: values => t("Stamped {ago}", values),
  points: values => t("Points given {ago}", values),
  redeem: values => t("Redeemed {ago}", values),
};

// The same a moment ago may have been meant once. What the rules forbid in any case, the service says itself.
async function unlessTwice(kind, work) {
  const operation = kind === "points" ? "earn" : kind;
  if (card && !card.allowed.find(one => one.operation === operation)?.is_allowed) return work();
  if (isWorking) return;
  const waiting = await working(queue.waiting);
  const mine = waiting.filter(one => one.kind === kind && one.body.card === reference).map(one => one.at);
  const times = [card?.[LAST[kind]], ...mine].filter(Boolean).map(secondsSince);
  const seconds = Math.min(...times, Infinity);
  if (seconds >= AGAIN_SECONDS) return work();
  confirmed = work;
  $("again-title").textContent = TWICE[kind]({ ago: ago(seconds) });
  signal("wait");
  show("again", { kind: "wait" });
}

async function act(kind, path, body) {
  if (isWorking) return;
  const label = card?.card_number ?? (/^\d{12}$/.test(reference) ? reference : "");
  const action = await working(() => queue.add({ kind, path, body, label, vendor: desk.vendor.id, staff: staff() }));
  await settle(action, card && cards.nameOf(card));
}

// Send it, and show what came of it.
async function settle(action, who = "") {
  const { sent, answer } = await working(async () => {
    let sent = await queue.deliver(send, maySend, action.id);
    if (sent.kind === "busy" && sent.seconds <= PATIENCE_SECONDS) {
      await new Promise(done => setTimeout(done, sent.seconds * 1000));
      sent = await queue.deliver(send, maySend, action.id);
    }
    return { sent, answer: sent.answer ?? await queue.takeAnswer(action.id) };
  });
  if (answer?.kind === "done") return tell(answers.ofDone(action.kind, answer.body), who, undoOf(action, answer.body));
  if (answer) return tell(answers.ofProblem(answer.problem), who);
  if (sent.kind === "unpaired") return show("unpaired");
  if (sent.kind === "busy") return tell(answers.busy(), who);
  if (action.staff && action.staff.id !== staff()?.id) {
    return tell({ ...answers.kept(), lines: [t("It waits for the PIN of {name}.", { name: action.staff.name })] }, who);
  }
  if (sent.kind === "done" && isReachable()) {
    if (!(await queue.waiting()).some(one => one.id === action.id)) return ready();  // Discarded in another tab.
    unsettled = action;
    return entrance.askPin(staff());
  }
  tell(answers.kept(), who, () => takeBack(action));
}

export const maySend = action =>
  action.vendor === desk.vendor?.id && (!action.staff || (token() !== null && action.staff.id === staff().id));

// As it was made: what was done while nobody was at the till is nobody's who comes later.
export async function send(action) {
  const session = action.staff ? token() : null;
  const answer = await ask("POST", action.path, { body: action.body, key: action.id, session });
  renew(answer.renewed);
  if (answer.kind !== "pin" || action.staff) return answer;
  await load();  // Perhaps somebody has a PIN by now.
  return { ...answer, kind: "refused" };
}

// ------------------------------------------------------------------ answering and undoing

function tell(told, who = "", undo = null) {
  clearTimers();
  $("answer").className = `screen answer ${told.kind}`;
  $("answer-title").textContent = told.title;
  say("answer-who", who);
  $("answer-lines").replaceChildren(...told.lines.map(text => made("li", { text })));
  $("undo").hidden = undo === null;
  show("answer", { kind: told.kind });
  signal(told.kind);
  speak([told.title, ...told.lines].join(". "));
  if (undo) offer(undo);
}

function offer(undo) {
  let left = UNDO_SECONDS;
  const count = () => {
    $("undo-label").textContent = t("Undo ({seconds})", { seconds: left });
    if (left-- > 0) return;
    clearInterval(undoTimer);
    $("undo").hidden = true;
    if ($("answer").classList.contains("good")) leaveTimer = setTimeout(() => shown() === "answer" && ready(), 5000);
  };
  count();
  undoTimer = setInterval(count, 1000);
  $("undo").onclick = () => { clearTimers(); undo(); };
}

function undoOf(action, entry) {
  if (action.kind === "reverse") return null;
  return () => act("reverse", `/entries/${entry.entry_id}/reversal`, { reason: t("Undone at the till") });
}

async function takeBack(action) {
  if (await queue.takeBack(action.id)) return tell({ kind: "good", title: t("Undone"), lines: [t("It was not sent yet.")] });
  tell({ kind: "wait", title: t("It is on its way"), lines: [t("Undo it when the connection is back.")] });
}

function clearTimers() {
  clearInterval(undoTimer);
  clearTimeout(leaveTimer);
}

async function working(work) {
  isWorking = true;
  document.body.classList.add("busy");
  try {
    return await work();
  } finally {
    isWorking = false;
    document.body.classList.remove("busy");
  }
}
