// The suite in Node.js, with the package ws.

import { spawn } from "node:child_process";
import http from "node:http";
import test from "node:test";
import * as lib from "locktopus";
import { WebSocket, WebSocketServer } from "ws";
import { cases, run } from "./suite.mjs";

const factory = (url, protocol, headers) => new WebSocket(url, protocol, { headers });

for (const name of Object.keys(cases)) {
  test(`node: ${name}`, { timeout: 60_000 }, () => run(lib, "node", name, process.env.LOCKTOPUS_URL, factory));
}

test("node: many may wait with one signal", { timeout: 60_000 }, async () => {
  const client = await lib.connect(`${process.env.LOCKTOPUS_URL}?namespace=platform`);
  const held = await client.lock(lib.write("many"));
  const stop = new AbortController();
  const warnings = [];
  process.on("warning", (warning) => warnings.push(warning.message));
  const waiting = Array.from({ length: 20 }, () => client.lock(lib.write("many"), { signal: stop.signal }).catch((error) => error));
  await Promise.all(Array.from({ length: 20 }, () => held.renew()));
  stop.abort(new RangeError("enough"));
  const ends = await Promise.all(waiting);
  await client.close();
  if (warnings.length > 0 || ends.some((end) => end !== stop.signal.reason)) throw new Error(`${warnings}; ${ends}`);
});

test("node: ws is found, and sends headers", { timeout: 60_000 }, async () => {
  const client = await lib.connect(`${process.env.LOCKTOPUS_URL}?namespace=platform`, { headers: { "x-any": "1" } });
  await (await client.lock(lib.write("x"))).release();
  await client.close();
});

test("node: ws is preferred to a WebSocket that waits for servers that hang", { timeout: 60_000 }, async (t) => {
  const own = globalThis.WebSocket;
  t.after(() => (globalThis.WebSocket = own));
  globalThis.WebSocket = class {
    constructor() {
      throw new Error("this one isn't wanted");
    }
  };
  await (await lib.connect(`${process.env.LOCKTOPUS_URL}?namespace=platform`)).close();
});

test("node: nothing keeps the process when all is closed and the server hangs", { timeout: 25_000 }, async (t) => {
  const server = http.createServer().listen(0, "127.0.0.1");
  new WebSocketServer({ server }).on("connection", (socket, { socket: wire }) => {
    socket.on("message", () => {
      socket.send('{"op":"welcome","session":"s","secret":"x","ttl_ms":60000,"epoch":"e","last_id":0,"locks":[],"event":0}');
      wire.pause(); // it hears nothing any more, of closing neither
    });
  });
  await new Promise((resolve) => server.once("listening", resolve));
  const script = `import { connect } from "locktopus"; await (await connect("ws://127.0.0.1:${server.address().port}/v2?namespace=n")).close()`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], { cwd: import.meta.dirname, stdio: "inherit" });
  t.after(() => (child.kill(), server.closeAllConnections(), server.close()));
  const code = await new Promise((resolve) => child.once("exit", resolve));
  if (code !== 0) throw new Error(`the process ended with ${code}`);
});
