// One screen at a time. What is put into a page is always text.

export const $ = id => document.getElementById(id);
const screens = [...document.querySelectorAll("main > section")];
let current = "loading";

export const shown = () => current;

// `kind` colours the whole window: good, wait or bad.
export function show(name, { focus = `${name}-title`, kind } = {}) {
  current = name;
  document.body.dataset.screen = name;
  if (kind) document.body.dataset.kind = kind;
  else delete document.body.dataset.kind;
  for (const screen of screens) screen.hidden = screen.id !== name;
  scrollTo(0, 0);
  $(focus)?.focus({ preventScroll: true });
}

export function say(id, text) {
  const element = $(id);
  element.textContent = text ?? "";
  element.hidden = !text;
}

// Read out by a screen reader, seen by nobody.
export const speak = text => { $("spoken").textContent = text; };

export function press(id, work) {
  $(id).addEventListener("click", work);
}

// A form that is worked on here, and not sent.
export function submitted(id, work) {
  $(id).addEventListener("submit", event => {
    event.preventDefault();
    work();
  });
}

export function made(tag, { text, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

// The big keys under a field. The keyboard types into the field itself, and nothing but digits stays there.
export function pad(fieldId, changed = () => {}) {
  const field = $(fieldId);
  const clean = () => {
    const digits = field.value.replace(/\D/g, "").slice(0, field.maxLength);
    if (digits !== field.value) field.value = digits;
    changed(digits);
  };
  document.querySelector(`[data-pad=${fieldId}]`).addEventListener("click", event => {
    const digit = event.target.closest("[data-digit]")?.dataset.digit;
    if (digit === undefined) return;
    field.value = digit === "back" ? field.value.slice(0, -1) : field.value + digit;
    clean();
    field.focus({ preventScroll: true });
  });
  field.addEventListener("input", clean);
  return {
    value: () => field.value,
    clear: () => { field.value = ""; clean(); },
    refresh: clean,
  };
}
