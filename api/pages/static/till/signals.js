// What is heard and felt: each kind of answer has a sound and a vibration of its own. And a screen that stays on.

const SOUNDS = {
  found: [[880, 0, .06]],
  good: [[660, 0, .1], [990, .11, .18]],
  wait: [[520, 0, .14], [520, .2, .14]],
  bad: [[220, 0, .18], [165, .2, .35]],
};
const VIBRATIONS = { found: [20], good: [70], wait: [70, 70, 70], bad: [300] };
let context, isMuted = localStorage.getItem("till-muted") === "yes";

export const muted = () => isMuted;

export function mute(yes) {
  isMuted = yes;
  localStorage.setItem("till-muted", yes ? "yes" : "no");
}

// Browsers let a page be heard once somebody has touched it.
for (const kind of ["pointerdown", "keydown"]) {
  addEventListener(kind, () => {
    context ??= new AudioContext();
    if (context.state === "suspended") context.resume();
  }, { capture: true, passive: true });
}

export function signal(kind) {
  if (navigator.userActivation?.hasBeenActive) navigator.vibrate?.(VIBRATIONS[kind]);
  if (isMuted || context?.state !== "running") return;
  for (const [hertz, after, seconds] of SOUNDS[kind]) {
    const at = context.currentTime + after;
    const tone = context.createOscillator(), loudness = context.createGain();
    tone.type = kind === "bad" ? "square" : "sine";
    tone.frequency.value = hertz;
    loudness.gain.setValueAtTime(0, at);
    loudness.gain.linearRampToValueAtTime(kind === "bad" ? .15 : .4, at + .01);
    loudness.gain.exponentialRampToValueAtTime(.001, at + seconds);
    tone.connect(loudness).connect(context.destination);
    tone.start(at);
    tone.stop(at + seconds);
  }
}

export function stayAwake() {
  const hold = () => document.visibilityState === "visible" && navigator.wakeLock?.request("screen").catch(() => {});
  document.addEventListener("visibilitychange", hold);
  hold();
}
