// The till: begins, keeps the connection, and passes what is scanned, seen or typed to the counter.

import { $, press, say, show, shown } from "./screens.js";
import * as camera from "./camera.js";
import * as counter from "./counter.js";
import { desk, forget, load } from "./desk.js";
import * as entrance from "./entrance.js";
import * as queue from "./queue.js";
import { isReachable, onReach } from "./service.js";
import { mute, muted, stayAwake } from "./signals.js";
import { isOver, leave, staff } from "./staff.js";
import * as waiting from "./waiting.js";
import { listen } from "./wedge.js";
import { t } from "./words.js";

const IDLE_LOOK_MS = 2000;
const PAUSE_MS = 2000;
const PAUSE_MAX_MS = 30_000;
let timer, pause = PAUSE_MS;

// ------------------------------------------------------------------ the connection

async function send() {
  clearTimeout(timer);
  const answer = (await queue.waiting()).some(counter.maySend) ? await queue.deliver(counter.send, counter.maySend) : null;
  if (answer?.kind === "unpaired") return show("unpaired");
  pause = answer && answer.kind !== "done" ? Math.min(pause * 2, PAUSE_MAX_MS) : PAUSE_MS;
  timer = setTimeout(send, pause);
}

function again() {
  pause = PAUSE_MS;
  send();
}

const tellConnection = () => { $("offline").hidden = isReachable(); };

// ------------------------------------------------------------------ the camera

async function watch() {
  const video = $("video");
  try {
    await camera.start(video, text => ["scan", "answer"].includes(shown()) && counter.read(text));
    $("camera-off").hidden = true;
    say("camera-error");
  } catch (error) {
    camera.stop(video);
    $("camera-off").hidden = false;
    say("camera-error", error.name === "NotAllowedError"
      ? t("The camera is not allowed here. Allow it in the browser's settings for this page.")
      : t("No camera can be used here."));
  }
}

// ------------------------------------------------------------------ beginning

async function enter() {
  say("staff-name", staff()?.name);
  $("lock").hidden = !staff();
  again();
  waiting.count();
  counter.ready();
  if (!camera.isOn() && await camera.isAllowed()) watch();
}

async function begin() {
  show("loading");
  const known = await load();
  if (known !== "done") return show(known === "unpaired" ? "unpaired" : "failed");
  say("vendor", desk.vendor.name);
  say("terminal", desk.terminal.name);
  say("settings-name", desk.terminal.name);
  say("settings-terminal", desk.terminal.terminal_id);
  if (isOver()) return entrance.lock();
  if (staff()) return enter();
  entrance.chooseStaff();
}

const back = () => (staff() || desk.staff.length === 0 ? counter.ready() : entrance.chooseStaff());

counter.begin();
entrance.begin(enter);
waiting.begin({ send: again, back });
listen(text => !["loading", "unpaired", "failed"].includes(shown()) && counter.read(text));
press("use-camera", watch);
$("use-camera").hidden = !camera.isPossible();
press("retry", begin);
press("show-settings", () => {
  $("sound").checked = !muted();
  $("offline-redeeming").checked = counter.redeemsOffline();
  show("settings");
});
press("settings-back", back);
$("sound").addEventListener("change", event => mute(!event.target.checked));
$("offline-redeeming").addEventListener("change", event => counter.setRedeemsOffline(event.target.checked));
$("unpair").addEventListener("submit", event => {
  if (!confirm(t("Unpair this till? It then needs a new code from the office."))) return event.preventDefault();
  leave();
  forget();
});
onReach(tellConnection);
addEventListener("online", () => { tellConnection(); again(); });
addEventListener("offline", tellConnection);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && again());
setInterval(() => isOver() && !entrance.isShown() && isReachable() && entrance.lock(), IDLE_LOOK_MS);
stayAwake();
navigator.serviceWorker?.register("/till/worker.js", { scope: "/till" }).catch(() => {});
begin();
