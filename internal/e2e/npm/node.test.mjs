// The suite in Node.js, with the WebSocket of the package ws.

import test from 'node:test';
import WebSocket from 'ws';
import { cases, place } from './suite.mjs';

const addresses = { plain: process.env.E2E_PLAIN, tls: process.env.E2E_TLS };

for (const [name, run] of Object.entries(cases)) {
  test(`node: ${name}`, { timeout: 60_000 }, async () => {
    const at = place('node', WebSocket, addresses, name);
    try {
      await run(at);
    } finally {
      at.leave();
    }
  });
}
