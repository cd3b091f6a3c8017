// The card in front of the till: what was read as one, and how it is shown.

import { $, made, say } from "./screens.js";
import { progress } from "./answers.js";
import { secondsSince } from "./service.js";
import { grouped, moment, number, t, tn } from "./words.js";

const TOKEN = /(?:^|[/=])([A-Za-z0-9_-]{32})(?:$|[/?#])/;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const DRAWN_MAX = 20;
const SEVERAL_MAX = 5;

// What was scanned or typed, as the service takes it: a number, a QR code's text alone or in a link, an id. Else null.
export function referenceIn(text) {
  const digits = text.replace(/[\s\u00a0.-]/g, "");
  if (/^\d{12}$/.test(digits)) return digits;
  if (UUID.test(text)) return text;
  return TOKEN.exec(text)?.[1] ?? null;
}

export const nameOf = card => card.customer?.name || t("Card {number}", { number: grouped(card.card_number) });

// Without a connection nothing is known but what was read.
export function showUnknown(reference, redeeming) {
  say("card-program", t("No connection"));
  $("card-title").textContent = /^\d{12}$/.test(reference) ? t("Card {number}", { number: grouped(reference) }) : t("A card");
  say("card-number");
  draw(0, 0);
  say("card-progress");
  say("card-points");
  say("card-note", t("What is on the card is not known now. What you do is written down and sent later."));
  $("rewards").replaceChildren(...(redeeming ? [rewardButton(t("Redeem a reward"), null)] : []));
}

export function show(card) {
  const { program } = card;
  const stampsAllowed = card.allowed.find(one => one.operation === "stamp");
  say("card-program", program.name);
  $("card-title").textContent = nameOf(card);
  say("card-number", card.customer?.name ? grouped(card.card_number) : "");
  draw(card.stamp_count, card.stamps_target ?? 0);
  say("card-progress", card.stamps_target ? progress(card) : "");
  say("card-points", program.loyalty_type === "stamps" ? "" : tn("{count} point on the card", card.points_balance));
  say("card-note", noteOn(card, stampsAllowed));
  $("rewards").replaceChildren(...rewardsOf(card));
}

function noteOn(card, stampsAllowed) {
  if (card.status === "suspended") return t("This card is suspended.");
  if (stampsAllowed && !stampsAllowed.is_allowed && stampsAllowed.retry_at && secondsSince(stampsAllowed.retry_at) < 0) {
    return t("The next stamp is possible at {time}.", { time: moment(stampsAllowed.retry_at) });
  }
  return "";
}

export function rewardsOf(card) {
  const { program } = card, buttons = [];
  if (card.rewards_available > 0) {
    buttons.push(rewardButton(t("Redeem: {reward}", { reward: program.stamps_reward_description ?? t("Reward") }), null));
  }
  for (const reward of program.points_rewards ?? []) {
    if (reward.points_cost > card.points_balance) continue;
    const cost = tn("{count} point", reward.points_cost);
    buttons.push(rewardButton(t("Redeem: {reward}", { reward: `${reward.name} (${cost})` }), reward.id));
  }
  return buttons;
}

// Buttons for more than one stamp, where the program allows it.
export function several(most = 1) {
  return Array.from({ length: Math.max(0, Math.min(most, SEVERAL_MAX) - 1) }, (_, at) => {
    const button = made("button", { type: "button", className: "button plain", text: tn("Give {count} stamp", at + 2) });
    button.dataset.count = at + 2;
    return button;
  });
}

function rewardButton(label, rewardId) {
  const gift = $("gift").content.cloneNode(true);
  const button = made("button", { type: "button", className: "button reward" }, gift, made("span", { text: label }));
  button.dataset.reward = rewardId ?? "";
  return button;
}

// Stamps as dots: a full row begins anew.
function draw(count, target) {
  const filled = count >= target ? target : count;
  const dots = target > 0 && target <= DRAWN_MAX
    ? Array.from({ length: target }, (_, at) => made("span", { className: at < filled ? "dot full" : "dot" }))
    : [];
  $("card-stamps").replaceChildren(...dots);
  $("card-stamps").hidden = dots.length === 0;
}
