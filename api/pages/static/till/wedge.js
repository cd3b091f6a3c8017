// A scanner that types: keys faster than any hand, then Enter, wherever the focus is. Hands type as before.

const GAP_MEAN_MS = 50;
const GAP_MAX_MS = 150;
const LENGTH_MIN = 8;

// Calls `read` with what was scanned. What it typed into a field meanwhile is taken out again.
export function listen(read, target = document) {
  let keys = "", first = 0, last = 0, field = null, before = "";

  target.addEventListener("keydown", event => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    const isOn = event.timeStamp - last < GAP_MAX_MS;
    if (event.key.length === 1) {
      if (!isOn || keys === "") {
        keys = "";
        first = event.timeStamp;
        field = "value" in event.target ? event.target : null;
        before = field ? field.value : "";
      }
      keys += event.key;
      last = event.timeStamp;
    } else if (event.key === "Enter" || event.key === "Tab") {
      const isFast = isOn && last - first <= GAP_MEAN_MS * (keys.length - 1);
      const scanned = isFast && keys.length >= LENGTH_MIN ? keys : "";
      keys = "";
      if (!scanned) return;
      event.preventDefault();
      event.stopImmediatePropagation();
      if (field) field.value = before;
      read(scanned.trim());
    } else if (event.key !== "Shift") {
      keys = "";
    }
  }, { capture: true });
}
