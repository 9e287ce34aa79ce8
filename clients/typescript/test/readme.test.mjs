// What the README says in JavaScript is run as it stands there, but for the server's address.

import fs from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { pathToFileURL } from "node:url";
import ts from "typescript";

const folder = path.dirname(import.meta.dirname);
const readme = await fs.readFile(path.join(folder, "README.md"), "utf8");
const blocks = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map((m) => m[1]);
const scratch = await fs.mkdtemp(path.join(os.tmpdir(), "readme-"));
test.after(() => fs.rm(scratch, { recursive: true }));

test("there is something to run", () => {
  if (blocks.length < 4) throw new Error(`${blocks.length} blocks`);
});

blocks.forEach((block, k) => {
  test(`README: block ${k + 1}`, { timeout: 60_000 }, async () => {
    const text = block
      .replaceAll("ws://127.0.0.1:9009/v2", process.env.LOCKTOPUS_URL)
      .replaceAll('from "locktopus"', `from ${JSON.stringify(pathToFileURL(path.join(folder, "dist/index.js")).href)}`);
    // Node before version 24 doesn't know "await using".
    const { outputText } = ts.transpileModule(text, { compilerOptions: { target: "ES2022", module: "ESNext" } });
    const file = path.join(scratch, `${k}.mjs`);
    await fs.writeFile(file, outputText);

    const wanted = [...block.matchAll(/console\.log\(.*\); \/\/ (.*)$/gm)].flatMap((m) => m[1].split(", ").map((s) => s.replace(/^"|"$/g, "")));
    const printed = [];
    const log = console.log;
    console.log = (...words) => printed.push(words.join(" "));
    try {
      await import(pathToFileURL(file));
    } finally {
      console.log = log;
    }
    if (wanted.length > 0 && printed.join("\n") !== wanted.join("\n")) throw new Error(`printed:\n${printed.join("\n")}\nwant:\n${wanted.join("\n")}`);
  });
});
