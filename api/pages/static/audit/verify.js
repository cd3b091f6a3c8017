// Verifies a card's statement with what the browser itself can compute: WebCrypto's SHA-256 and, where it is there, Ed25519.
// Promises to trust nothing that is said about the events, only their bytes. See docs/guides/auditing.md for the rules.

const EMPTY_LINE = "\n\n";
const DASH = "\u2014 ";
const utf8 = new TextEncoder();

export const hex = bytes => Array.from(bytes, byte => byte.toString(16).padStart(2, "0")).join("");
const sha256 = async bytes => new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
const unhex = text => Uint8Array.from(text.match(/../g) ?? [], pair => parseInt(pair, 16));
const unbase64 = text => Uint8Array.from(atob(text), letter => letter.charCodeAt(0));
const same = (one, other) => hex(one) === hex(other);

function joined(...parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

function number8(number) {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(number));
  return bytes;
}

// ---------------------------------------------------------------- the chain

export function eventHash(cardId, version, name, state) {
  const parts = [cardId, number8(version), utf8.encode(name), state];
  return sha256(joined(Uint8Array.of(0), ...parts.flatMap(part => [number8(part.length), part])));
}

// What each event is, computed anew: {version, hash, prev, inTree}; inTree is null where it is newer than the checkpoint.
async function witnessed(statement, cardId, checkpoint) {
  const seen = [];
  for (const event of statement.events) {
    const state = unbase64(event.state);
    const hash = await eventHash(cardId, event.version, event.name, state);
    const inTree = event.index === null ? null : checkpoint !== null && (await isInTree(event, hash, checkpoint));
    seen.push({ version: event.version, hash, prev: prevOf(state), inTree });
  }
  return seen;
}

function prevOf(state) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(state)).prev;
  } catch {
    return null;
  }
}

// The versions that do not hold, lowest first. Each is judged by the signed tree, or else by the event after it.
function doubtsOf(seen, first, signed) {
  const found = new Set();
  const there = new Map(seen.map(event => [event.version, event]));
  const last = Math.max(signed?.version ?? 0, ...there.keys());
  for (let version = last; version > 0; version--) {
    const event = there.get(version);
    if (event === undefined) {
      found.add(version);
      continue;
    }
    const next = there.get(version + 1);
    const named = version === signed?.version ? signed.head : found.has(version + 1) ? undefined : next?.prev;
    const holds = event.inTree ?? (named === undefined || named === hex(event.hash));
    if (!holds) found.add(version);
  }
  let before = hex(first);
  for (const event of seen) {
    if (!found.has(event.version) && before !== null && event.prev !== before) found.add(event.version);
    before = found.has(event.version) ? null : hex(event.hash);
  }
  return [...found].sort((one, other) => one - other);
}

// ---------------------------------------------------------------- the tree: RFC 9162, section 2.1.3.2

const node = (left, right) => sha256(joined(Uint8Array.of(1), left, right));

async function isInTree(event, hash, checkpoint) {
  let at = BigInt(event.index);
  let last = BigInt(checkpoint.size) - 1n;
  if (at > last) return false;
  let root = await sha256(joined(Uint8Array.of(0), number8(event.position), hash));
  for (const step of event.proof.map(unbase64)) {
    if (last === 0n) return false;
    if (at & 1n || at === last) {
      root = await node(step, root);
      while (!(at & 1n) && at) [at, last] = [at >> 1n, last >> 1n];
    } else {
      root = await node(root, step);
    }
    [at, last] = [at >> 1n, last >> 1n];
  }
  return last === 0n && same(root, checkpoint.root);
}

// ---------------------------------------------------------------- who signed: C2SP signed-note

export function parseKey(text) {
  const [name, id, ...rest] = text.trim().split("+");
  const raw = unbase64(rest.join("+"));
  if (!name || raw.length !== 33 || raw[0] !== 1) throw new Error("this is no key");
  return { text: text.trim(), name, id, bytes: raw.slice(1) };
}

async function canVerify() {
  try {
    await crypto.subtle.importKey("raw", new Uint8Array(32), "Ed25519", false, ["verify"]);
    return true;
  } catch (error) {
    return error.name === "DataError"; // Known, and only this made-up key is not one.
  }
}

async function isSigned(note, key) {
  const cut = note.lastIndexOf(EMPTY_LINE);
  const text = note.slice(0, cut + 1);
  for (const line of note.slice(cut + EMPTY_LINE.length).split("\n")) {
    const [name, encoded] = line.replace(DASH, "").split(" ");
    if (!line.startsWith(DASH) || name !== key.name || !encoded) continue;
    const raw = unbase64(encoded);
    if (hex(raw.slice(0, 4)) !== key.id) continue;
    const usable = await crypto.subtle.importKey("raw", key.bytes, "Ed25519", false, ["verify"]);
    return crypto.subtle.verify("Ed25519", usable, raw.slice(4), utf8.encode(text));
  }
  return false;
}

// Every key, each signed by itself and by the one before; null where one is not, or none of them is the trusted one.
async function keysOf(notes, trusted) {
  const keys = [];
  for (const note of notes) {
    const lines = note.split("\n");
    const key = parseKey(lines[1]);
    const before = keys.at(-1);
    if (lines[2] !== `follows ${before?.text ?? "nothing"}`) return null;
    for (const signer of before ? [before, key] : [key]) if (!(await isSigned(note, signer))) return null;
    keys.push(key);
  }
  return trusted === null || keys.some(key => key.text === trusted.text) ? keys : null;
}

async function isSignedByOne(note, keys) {
  for (const key of keys) if (await isSigned(note, key)) return true;
  return false;
}

// ---------------------------------------------------------------- all of it

function checkpointOf(note) {
  const [origin, size, root] = note.split("\n");
  return { origin, size: Number(size), root: unbase64(root) };
}

function signedOf(note) {
  const said = Object.fromEntries(note.split("\n").map(line => [line.split(" ")[0], line.slice(line.indexOf(" ") + 1)]));
  return { card: said.card, version: Number(said.version), head: said.head, sealed: Number(said.sealed), tree: said.tree };
}

/**
 * Verify a statement as the service answers it.
 *
 * @param statement Parsed JSON.
 * @param trusted A public key from a source of the reader's own, `name+id+base64`; "" takes the one that came along.
 * @returns {{hashes: Map<number, string>, bad: number[], checks: Array<[string, "good"|"bad"|"not-checked"]>}} Hashes as
 *   this browser computed them, the versions that do not hold, and each check by name.
 */
export async function verify(statement, trusted) {
  const cardId = unhex(statement.card_id.replaceAll("-", ""));
  const signed = signedOf(statement.statement);
  const checkpoint = checkpointOf(statement.checkpoint);
  const seen = await witnessed(statement, cardId, checkpoint);
  const first = await sha256(joined(utf8.encode("loyalty-ledger stream\0"), cardId));
  const bad = doubtsOf(seen, first, signed);
  const unsealed = seen.some(event => event.inTree === null);
  const checks = [
    ["chain", bad.length === 0 ? "good" : "bad"],
    ["tree", seen.some(event => event.inTree === false) ? "bad" : "good"],
    ...(unsealed ? [["unsealed", "not-checked"]] : []),
    ...(await signatures(statement, signed, trusted)),
  ];
  return { hashes: new Map(seen.map(event => [event.version, hex(event.hash)])), bad, checks };
}

async function signatures(statement, signed, trusted) {
  if (!(await canVerify())) return [["signature", "not-checked"], ["key", "not-checked"]];
  let keys = null;
  try {
    keys = await keysOf(statement.keys, trusted ? parseKey(trusted) : null);
  } catch {
    return [["key", "bad"]];
  }
  if (keys === null) return [["key", "bad"]];
  const size = statement.checkpoint.split("\n").slice(1, 3).join(" ");
  const isWhole = signed.card === statement.card_id && signed.tree === size && signed.version === statement.events.length;
  const areSigned = (await isSignedByOne(statement.checkpoint, keys)) && (await isSignedByOne(statement.statement, keys));
  return [["signature", isWhole && areSigned ? "good" : "bad"], ["key", trusted ? "good" : "not-checked"]];
}
