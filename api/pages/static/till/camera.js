// The camera, looking for QR codes: by the browser's own reader where it really reads them, else by the one we bring.

import { facts } from "./words.js";

const EVERY_MS = 160;
const SAME_AGAIN_MS = 3000;
let reader, stream, timer, lastText = "", lastSeen = 0;

async function makeReader() {
  if ("BarcodeDetector" in globalThis) {
    const formats = await BarcodeDetector.getSupportedFormats().catch(() => []);
    if (formats.includes("qr_code")) return new BarcodeDetector({ formats: ["qr_code"] });
  }
  // The names under which version 3.2.2 gives away what its ponyfill.js calls BarcodeDetector and prepareZXingModule.
  const { t: Reader, n: prepare } = await import(facts.reader);
  prepare({ overrides: { locateFile: () => facts.wasm } });
  return new Reader({ formats: ["qr_code"] });
}

export const isPossible = () => Boolean(navigator.mediaDevices?.getUserMedia);
export const isOn = () => stream !== undefined;

// Whether it can be switched on without asking anybody.
export async function isAllowed() {
  try {
    return (await navigator.permissions.query({ name: "camera" })).state === "granted";
  } catch {
    return false;
  }
}

// Throws what getUserMedia throws: no camera, not allowed, in use.
export async function start(video, read) {
  if (stream) return;
  const wanted = { facingMode: "environment", width: { ideal: 1280 }, height: { ideal: 720 } };
  stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
  video.srcObject = stream;
  await video.play();
  reader ??= await makeReader();
  const look = async () => {
    if (!stream) return;
    if (document.visibilityState === "visible" && video.readyState >= 2) {
      const [code] = await reader.detect(video).catch(() => []);
      if (code) see(code.rawValue, read);
    }
    timer = setTimeout(look, EVERY_MS);
  };
  look();
}

// A code that stays in view is read once.
function see(text, read) {
  const isNew = text !== lastText || performance.now() - lastSeen > SAME_AGAIN_MS;
  lastText = text;
  lastSeen = performance.now();
  if (isNew) read(text);
}

export function stop(video) {
  clearTimeout(timer);
  stream?.getTracks().forEach(track => track.stop());
  stream = undefined;
  video.srcObject = null;
}
