// The suite's half that lives in the page.

import * as lib from "locktopus";
import { cases, run } from "./suite.mjs";

window.caseNames = () => Object.keys(cases);

// runCase resolves with what went wrong, "" for nothing.
window.runCase = async (name, address) => {
  try {
    await run(lib, "browser", name, address, (url, protocol) => new WebSocket(url, protocol));
    return "";
  } catch (error) {
    return String(error.stack || error);
  }
};
