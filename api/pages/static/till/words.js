// The texts of the catalogue, as the server put them into the page, and how this language writes numbers and times.

const given = JSON.parse(document.getElementById("till-data").dataset.till);
export const language = document.documentElement.lang;
// Browsers know Luxembourgish or not: then German, as its neighbours read it.
const locales = [language, language === "lb" ? "de" : "en"];
const numbers = new Intl.NumberFormat(locales);

export const facts = given;

export function t(sentence, values = {}) {
  const text = given.texts[sentence];
  if (text === undefined) throw new Error(`no text: ${sentence}`);
  return filled(text, values);
}

// `sentence` is the one for a single thing; its forms are those for none, one, and more.
export function tn(sentence, count, values = {}) {
  const forms = given.counted[sentence];
  if (forms === undefined) throw new Error(`no text: ${sentence}`);
  return filled(forms[Math.min(Math.abs(count), 2)], { count: numbers.format(count), ...values });
}

const filled = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");

export const number = value => numbers.format(value);

export function money(minor, currency) {
  const digits = given.digits[currency] ?? 2;
  const format = { style: "currency", currency, minimumFractionDigits: digits, maximumFractionDigits: digits };
  return new Intl.NumberFormat(locales, format).format(minor / 10 ** digits);
}

export const clock = at => new Intl.DateTimeFormat(locales, { hour: "2-digit", minute: "2-digit" }).format(new Date(at));

const day = at => new Intl.DateTimeFormat(locales, { weekday: "long", day: "numeric", month: "long" }).format(new Date(at));

// When something is allowed again: "14:35", and another day with its name.
export function moment(at) {
  return new Date(at).toDateString() === new Date().toDateString() ? clock(at) : `${day(at)}, ${clock(at)}`;
}

export function ago(seconds) {
  if (seconds < 90) return tn("{count} second ago", Math.max(1, seconds));
  if (seconds < 90 * 60) return tn("{count} minute ago", Math.round(seconds / 60));
  if (seconds < 36 * 3600) return tn("{count} hour ago", Math.round(seconds / 3600));
  return tn("{count} day ago", Math.round(seconds / 86_400));
}

export function wait(seconds) {
  if (seconds < 90) return tn("in {count} second", Math.max(1, seconds));
  if (seconds < 90 * 60) return tn("in {count} minute", Math.ceil(seconds / 60));
  return tn("in {count} hour", Math.round(seconds / 3600));
}

export const grouped = cardNumber => cardNumber.replace(/(.{4})(?=.)/g, "$1\u00a0");
