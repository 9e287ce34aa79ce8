// The suite in Node.js, with the package ws.

import test from "node:test";
import * as lib from "locktopus";
import { WebSocket } from "ws";
import { cases, run } from "./suite.mjs";

const factory = (url, protocol, headers) => new WebSocket(url, protocol, { headers });

for (const name of Object.keys(cases)) {
  test(`node: ${name}`, { timeout: 60_000 }, () => run(lib, "node", name, process.env.LOCKTOPUS_URL, factory));
}

test("node: ws is found, and sends headers", { timeout: 60_000 }, async () => {
  const client = await lib.connect(`${process.env.LOCKTOPUS_URL}?namespace=platform`, { headers: { "x-any": "1" } });
  await (await client.lock(lib.write("x"))).release();
  await client.close();
});
