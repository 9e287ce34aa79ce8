// Holds a lock and waits for another one, says so, and then why the first is lost: for a test that stops the server.

import { connect, write } from "locktopus";

const options = { ttl: 60_000, backoff: { min: 60_000, max: 60_000 } };
const client = await connect(`${process.env.LOCKTOPUS_URL}?namespace=stopped`, options);
const held = await client.lock(write("x"));
client.lock(write("x")).catch(() => {});
console.log("holds");
held.signal.addEventListener("abort", () => {
  console.log(held.signal.reason.state);
  setTimeout(() => process.exit(0), 3000); // the platform answers the server's closing handshake meanwhile
});
