// The auditor's page of a card: the slider shows each version without loading the page anew, and the browser verifies.
// Without this script the page does the same by links and forms, except for verifying.

import { verify } from "./verify.js";

const PAUSE_MILLISECONDS = 80;

for (const hidden of document.querySelectorAll(".scripted")) hidden.hidden = false;

// ---------------------------------------------------------------- the slider

const form = document.querySelector("form.slider");
const pane = document.querySelector("#replay");
let asked = null;
let timer = 0;

if (form) {
  const slider = form.elements.version;
  const output = form.querySelector("output");
  slider.addEventListener("input", () => {
    output.value = slider.value;
    clearTimeout(timer);
    timer = setTimeout(() => show(slider.value), PAUSE_MILLISECONDS);
  });
  form.addEventListener("submit", event => {
    event.preventDefault();
    show(slider.value);
  });
  document.addEventListener("click", event => {
    const link = event.target.closest("a[data-version]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    output.value = slider.value = link.dataset.version;
    show(link.dataset.version, link.rel);
  });
}

// One entry of the history for the page, whichever versions were looked at: going back leads to where one came from.
async function show(version, rel = "") {
  asked?.abort();
  asked = new AbortController();
  try {
    const answer = await fetch(`${form.dataset.replay}?version=${version}`, { signal: asked.signal });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    pane.innerHTML = await answer.text();
    const here = new URL(location.href);
    here.searchParams.set("version", version);
    here.searchParams.delete("against");
    here.searchParams.delete("verify");
    here.hash = "";
    history.replaceState(null, "", here);
    if (rel) (pane.querySelector(`a[rel="${rel}"]`) ?? form.elements.version).focus();
  } catch (error) {
    if (error.name !== "AbortError") location.assign(`${form.getAttribute("action")}?version=${version}`);
  }
}

// ---------------------------------------------------------------- verifying

const section = document.querySelector("#browser-verification");
const verdict = document.querySelector("#browser-verdict");
const words = document.querySelector("#browser-words");
const button = document.querySelector("#verify-here");

button.addEventListener("click", async () => {
  button.disabled = true;
  verdict.replaceChildren();
  try {
    const answer = await fetch(section.dataset.statement, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(String(answer.status));
    tell(await verify(await answer.json(), document.querySelector("#trusted").value.trim()));
  } catch {
    verdict.replaceChildren(paragraph(section.dataset.away, "badge warning"));
  }
  button.disabled = false;
});

function tell({ hashes, bad, checks }) {
  for (const shown of document.querySelectorAll("[data-hash]")) {
    const same = hashes.get(Number(shown.dataset.hash)) === shown.textContent;
    shown.classList.toggle("same", same);
    shown.classList.toggle("other", !same);
    if (!same && hashes.has(Number(shown.dataset.hash))) bad.push(Number(shown.dataset.hash));
  }
  const first = bad.sort((one, other) => one - other)[0];
  const isWrong = first !== undefined || checks.some(([, state]) => state === "bad");
  const list = document.createElement("ul");
  list.className = "checks";
  for (const [check, state] of [...checks, ["balances", "not-checked"]]) {
    const item = document.createElement("li");
    const kind = { good: "good", bad: "danger", "not-checked": "plain" }[state];
    item.append(paragraph(words.querySelector(`[data-state="${state}"]`).textContent, `badge ${kind}`, "span"), " ");
    item.append(words.querySelector(`[data-check="${check}"]`).dataset.good);
    list.append(item);
  }
  const sentences = [isWrong ? section.dataset.wrong : section.dataset.good];
  if (first !== undefined) sentences.push(section.dataset.bad.replace("{version}", first));
  verdict.replaceChildren(paragraph(sentences.join(" "), `alert ${isWrong ? "danger" : "good"}`), list);
  raise(isWrong, first);
}

// The server may have raised the same alarm already: one is enough.
function raise(isWrong, first) {
  const alarm = document.querySelector("#browser-alarm");
  const text = first === undefined ? section.dataset.wrong : section.dataset.bad.replace("{version}", first);
  const raised = document.querySelector(".alarm:not(#browser-alarm) p:last-child");
  alarm.hidden = !isWrong || raised?.textContent === text;
  alarm.querySelector("p:last-child").textContent = text;
}

function paragraph(text, className, tag = "p") {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}
