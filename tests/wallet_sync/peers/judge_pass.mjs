// What passkit-generator says of a pass. It is told, as JSON, a folder with the pass's files and PEM files to sign with;
// it tells what it took over, what it complained of, and the manifest and the archive that it makes of the same parts.
import { readFileSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { PKPass } from "passkit-generator";

const { folder, certificate, key, wwdr } = JSON.parse(readFileSync(0));
const names = readdirSync(folder, { recursive: true }).filter((name) => statSync(join(folder, name)).isFile());
const files = Object.fromEntries(names.map((name) => [name, readFileSync(join(folder, name))]));
const signing = { signerCert: readFileSync(certificate), signerKey: readFileSync(key), wwdr: readFileSync(wwdr) };

const complaints = [];
const told = { complaints };
console.warn = (complaint) => complaints.push(String(complaint));
try {
  const pass = new PKPass(files, signing);
  Object.assign(told, { type: pass.type, props: pass.props, languages: pass.languages });
  told.archive = pass.getAsBuffer().toString("base64");
  told.manifest = JSON.parse(pass.getAsRaw()["manifest.json"]);
} catch (error) {
  complaints.push(String(error));
}
process.stdout.write(JSON.stringify(told));
