// What an answer says to a person: a kind (good, wait, bad), a headline, and lines below it.

import { secondsSince } from "./service.js";
import { moment, number, t, tn, wait } from "./words.js";

// Waiting helps, or somebody who may do more; with all others it does not.
const WAIT = new Set([
  "stamp_cooldown", "stamp_daily_limit", "pin_locked", "rate_limited", "overloaded", "card_busy", "version_mismatch",
  "staff_not_allowed", "pin_required", "pin_invalid", "staff_session_invalid", "idempotency_in_flight", "away",
]);

export function ofDone(kind, entry) {
  if (kind === "stamp") {
    return { kind: "good", title: tn("{count} stamp given", entry.stamps_delta), lines: standing(entry) };
  }
  if (kind === "points") {
    if (entry.points_delta === 0) return { kind: "wait", title: t("No points for this amount"), lines: standing(entry) };
    return { kind: "good", title: tn("{count} point added", entry.points_delta), lines: standing(entry) };
  }
  if (kind === "redeem") {
    return { kind: "good", title: t("Reward redeemed"), lines: [entry.reward_description, ...standing(entry)].filter(Boolean) };
  }
  return { kind: "good", title: t("Undone"), lines: standing(entry) };
}

export function ofProblem(problem) {
  // The detail has the time as programs read it.
  const lines = [problem.retry_at ? again(problem.retry_at) : problem.detail];
  const saysMore = line => line && line.replace(/\.$/, "") !== problem.title;
  return { kind: WAIT.has(problem.code) ? "wait" : "bad", title: problem.title, lines: lines.filter(saysMore) };
}

export const again = at => t("Possible again at {time}, {wait}.", { time: moment(at), wait: wait(-secondsSince(at)) });

export const kept = () => ({
  kind: "wait",
  title: t("Written down"),
  lines: [t("There is no connection. It is sent as soon as there is one.")],
});

export const busy = () => ({
  kind: "wait",
  title: t("Written down"),
  lines: [t("The service is busy. It is sent again in a moment.")],
});

export function standing(card) {
  const lines = [];
  if (card.stamps_target) {
    lines.push(progress(card));
    if (card.rewards_available > 0) lines.push(tn("{count} reward is ready", card.rewards_available));
    else if (card.stamps_until_reward > 0) lines.push(tn("{count} more to the reward", card.stamps_until_reward));
  }
  if (card.points_balance > 0 || !card.stamps_target) lines.push(tn("{count} point on the card", card.points_balance));
  return lines;
}

export const progress = card =>
  t("Stamps: {count} of {target}", { count: number(card.stamp_count), target: number(card.stamps_target) });

export const WHAT = {
  stamp: () => t("Stamp"),
  points: () => t("Points"),
  redeem: () => t("Reward"),
  reverse: () => t("Undo"),
};
