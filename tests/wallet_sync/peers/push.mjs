// Pushes by Node's own HTTP/2: all of them at once, over one connection. It is told, as JSON, a URL, PEM files and the
// requests; it tells each answer's status, headers and body; no status where there was no answer.
import { readFileSync } from "node:fs";
import { connect } from "node:http2";

const { url, ca, certificate, key, requests } = JSON.parse(readFileSync(0));
const credentials = certificate ? { cert: readFileSync(certificate), key: readFileSync(key) } : {};
const session = connect(url, { ca: readFileSync(ca), ...credentials });

const ask = ({ headers, body }) =>
  new Promise((answer) => {
    const stream = session.request(headers);
    const told = { body: "" };
    stream.setEncoding("utf8");
    stream.on("response", ({ ":status": status, ...headers }) => Object.assign(told, { status, headers }));
    stream.on("data", (text) => (told.body += text));
    stream.on("error", () => {}); // Is followed by its close.
    stream.on("close", () => answer(told));
    stream.end(body);
  });

session.on("error", () => {}); // Closes its streams.
const answers = await Promise.all(requests.map(ask));
session.destroy();
process.stdout.write(JSON.stringify(answers));
