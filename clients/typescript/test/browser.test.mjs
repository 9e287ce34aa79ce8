// The suite in headless Chromium, in a page whose origin isn't the lock server's.

import assert from "node:assert/strict";
import http from "node:http";
import test from "node:test";
import { build } from "esbuild";
import { chromium } from "playwright-core";

const bundle = await build({
  entryPoints: ["page.mjs"], absWorkingDir: import.meta.dirname, bundle: true, write: false, format: "iife", platform: "browser",
});
const script = bundle.outputFiles[0].text;

const pages = http.createServer((request, response) => {
  const isScript = request.url === "/page.js";
  response.setHeader("Content-Type", isScript ? "text/javascript" : "text/html");
  response.end(isScript ? script : '<!doctype html><meta charset="utf-8"><title>locktopus</title><script src="/page.js"></script>');
});
await new Promise((resolve) => pages.listen(0, "127.0.0.1", resolve));

const browser = await chromium.launch({
  executablePath: process.env.E2E_CHROMIUM || "/usr/bin/chromium",
  args: [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
  ],
});

test.after(async () => {
  await browser.close();
  pages.close();
});

const page = await browser.newPage();
await page.goto(`http://127.0.0.1:${pages.address().port}/`);

for (const name of await page.evaluate(() => window.caseNames())) {
  test(`browser: ${name}`, { timeout: 60_000 }, async () => {
    const fault = await page.evaluate(([name, address]) => window.runCase(name, address), [name, process.env.LOCKTOPUS_URL]);
    assert.equal(fault, "");
  });
}
