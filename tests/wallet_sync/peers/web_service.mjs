// Apple's web service for passes as express-passkit-webservice has it: paths, tokens and answers are the package's, what
// it keeps is a few maps. It is told, as a line of JSON, a pass type and its passes: serial number, token, and content in
// base64. It tells its port, and serves until its input ends. `POST /changed/{serial}` is a change of that pass.
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import express from "express";
import { ListRouter, LogRouter, RegistrationRouter, UpdateRouter } from "express-passkit-webservice/v1";

const input = createInterface({ input: process.stdin });
const { passType, passes } = JSON.parse((await input[Symbol.asyncIterator]().next()).value);
const shown = new Map(passes.map((pass, i) => [pass.serial, { ...pass, number: i + 1, at: Date.UTC(2020, 0, 1) }]));
const registered = new Map();
let changes = shown.size;

const tokenVerifier = (token) => passes.some((pass) => pass.token === token);
const app = express();
app.set("env", "test"); // Nothing is printed about requests that fail.

app.use(
  RegistrationRouter({
    tokenVerifier,
    onRegister(device, type, serial, pushToken) {
      const key = [device, type, serial].join(" ");
      const isNew = !registered.has(key);
      registered.set(key, { device, type, serial, pushToken });
      return isNew;
    },
    onUnregister(device, type, serial) {
      registered.delete([device, type, serial].join(" "));
    },
  }),
  ListRouter({
    onListRetrieve(device, type, { passesUpdatedSince = 0 }) {
      const carried = [...registered.values()].filter((one) => one.device === device && one.type === type);
      const changed = carried.map((one) => shown.get(one.serial)).filter((pass) => pass.number > Number(passesUpdatedSince));
      if (changed.length === 0) return undefined;
      const lastUpdated = String(Math.max(...changed.map((pass) => pass.number)));
      return { serialNumbers: changed.map((pass) => pass.serial), lastUpdated };
    },
  }),
  UpdateRouter({
    tokenVerifier,
    onUpdateRequest(type, serial, modifiedSince) {
      const pass = shown.get(serial);
      return type === passType && pass && !(modifiedSince >= pass.at) ? Buffer.from(pass.content, "base64") : undefined;
    },
  }),
  LogRouter({ onIncomingLogs() {} }),
);

app.post("/changed/:serial", async (request, response) => {
  // In another second than the answers before: the package calls the time of an answer the pass's last change, and then
  // takes what changed within that second for known.
  await setTimeout(1000);
  Object.assign(shown.get(request.params.serial), { number: ++changes, at: Date.now() });
  response.status(204).send();
});

const server = app.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
input.on("close", () => process.exit());
