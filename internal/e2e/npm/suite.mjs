// What the published client @locktopus/client must be able to do with the server, wherever it runs:
// node.test.mjs and browser.test.mjs run the same cases. A case gets `at`, which says where it is:
//
//   at.WebSocket           the WebSocket class of the place
//   at.plain, at.tls       HOST:PORT of servers, without and with TLS
//   at.space               a namespace of the case's own
//   at.client(options)     a client, connected to at.plain and at.space unless options say otherwise
//   at.drop(client)        ends its connection as rudely as the place allows

import { LocktopusClient, CLIENT_STATE, LOCK_TYPE } from '@locktopus/client';

const write = (...path) => ({ type: LOCK_TYPE.WRITE, path });
const read = (...path) => ({ type: LOCK_TYPE.READ, path });

// assert works in a browser too, and says what it saw.
export const assert = {
  ok(value, what) {
    if (!value) throw new Error(`want ${what}, got ${value}`);
  },
  equal(got, want, what = 'value') {
    if (got !== want) throw new Error(`${what}: got ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);
  },
  same(got, want, what) {
    assert.equal(JSON.stringify(got), JSON.stringify(want), what);
  },
  async fails(action, pattern) {
    let got;
    try {
      got = await action();
    } catch (err) {
      assert.ok(pattern.test(err.message), `an error like ${pattern} instead of "${err.message}"`);
      return;
    }
    throw new Error(`want an error like ${pattern}, got ${JSON.stringify(got)}`);
  },
};

// place makes `at` for a case.
export function place(where, WebSocket, addresses, name) {
  const space = `${where}: ${name}`;
  const clients = [];
  return {
    WebSocket,
    ...addresses,
    space,
    async client(options = {}) {
      const [host, port] = (options.secure ? addresses.tls : addresses.plain).split(':');
      const client = new LocktopusClient(WebSocket, {
        host, port: Number(port), namespace: encodeURIComponent(space), secure: false, ...options,
      });
      await client.connect();
      clients.push(client);
      return client;
    },
    drop(client) {
      if (client.ws.terminate) client.ws.terminate();
      else client.close();
    },
    leave() {
      for (const client of clients) client.close();
    },
  };
}

const connections = (at) => at.plain && `ws://${at.plain}/v1?namespace=${encodeURIComponent(at.space)}`;

// closed resolves with the event of the connection's end.
const closed = (client) => new Promise((resolve) => client.onConnectionClose(resolve));

export const cases = {
  async 'a client made from a string'(at) {
    const client = new LocktopusClient(at.WebSocket, connections(at));
    await client.connect();
    assert.equal(await client.lock(write('a')), true);
    await client.release();
    client.close();
  },

  async 'a client made from options'(at) {
    const [host, port] = at.plain.split(':');
    const client = new LocktopusClient(at.WebSocket, {
      host, port: Number(port), namespace: 'options', secure: false, abandonTimeoutMs: 1000,
    });
    await client.connect();
    assert.equal(await client.lock(write('a')), true);
    await client.release();
    client.close();
  },

  async 'a client over TLS'(at) {
    const client = await at.client({ secure: true });
    assert.equal(await client.lock(write('a')), true);
    await client.release();
  },

  async 'states from the first to the last'(at) {
    const client = new LocktopusClient(at.WebSocket, connections(at));
    assert.equal(client.getState(), CLIENT_STATE.NOT_CONNECTED);
    const connecting = client.connect();
    assert.equal(client.getState(), CLIENT_STATE.CONNECTING);
    await connecting;
    assert.equal(client.getState(), CLIENT_STATE.READY);
    assert.equal(client.isAcquired(), false);
    await client.lock(write('a'));
    assert.equal(client.getState(), CLIENT_STATE.ACQUIRED);
    assert.equal(client.isAcquired(), true);
    const other = await at.client();
    assert.equal(await other.lock(read('a')), false);
    assert.equal(other.getState(), CLIENT_STATE.ENQUEUED);
    assert.equal(other.isAcquired(), false);
    await client.release();
    assert.equal(client.getState(), CLIENT_STATE.READY);
    assert.equal(await other.acquire(), true);
    assert.equal(other.getState(), CLIENT_STATE.ACQUIRED);
    client.close();
    assert.equal(client.getState(), CLIENT_STATE.NOT_CONNECTED);
  },

  async 'nothing works before connect'(at) {
    const client = new LocktopusClient(at.WebSocket, connections(at));
    for (const action of [
      () => client.isAcquired(), () => client.getLockId(), () => client.lock(write('a')), () => client.acquire(),
      () => client.release(), () => client.onConnectionClose(() => {}),
    ]) await assert.fails(action, /Not initialised/);
    client.close(); // and this does no harm
  },

  async 'wrong parameters fail the handshake'(at) {
    for (const query of ['', '?namespace=', '?namespace=a&abandon-timeout-ms=soon']) {
      const client = new LocktopusClient(at.WebSocket, `ws://${at.plain}/v1${query}`);
      await assert.fails(() => client.connect(), /Handshake to .* failed/);
    }
  },

  async 'close and connect again'(at) {
    const client = await at.client({ abandonTimeoutMs: 0 });
    await client.lock(write('a'));
    const first = BigInt(client.getLockId());
    const end = closed(client);
    client.close();
    await assert.fails(() => client.lock(write('a')), /Not initialised/);
    await end; // this client takes a late end of its old connection for the end of the new one
    await client.connect();
    assert.equal(client.getState(), CLIENT_STATE.READY);
    if (!(await client.lock(write('a')))) assert.equal(await client.acquire(), true);
    assert.ok(BigInt(client.getLockId()) > first, 'a larger id');
    await client.release();
  },

  async 'ids are increasing decimal strings'(at) {
    const client = await at.client();
    let last = 0n;
    for (let i = 0; i < 20; i++) {
      await client.lock(write('a', String(i)));
      const id = client.getLockId();
      assert.equal(typeof id, 'string');
      assert.ok(/^[1-9][0-9]*$/.test(id), `a decimal number instead of "${id}"`);
      assert.ok(BigInt(id) > last, 'a larger id');
      last = BigInt(id);
      await client.release();
      assert.equal(client.getLockId(), id);
    }
  },

  async 'locks that are refused by the client itself'(at) {
    const client = await at.client();
    await assert.fails(() => client.lock(), /No resources/);
    await assert.fails(() => client.release(), /Cannot release in current state: ready/);
    await client.lock(write('a'));
    await assert.fails(() => client.lock(write('b')), /Cannot lock in current state: acquired/);
    assert.equal(await client.acquire(), true);
    await client.release();
  },

  async 'many contend, one after the other is served'(at) {
    const clients = await Promise.all(Array.from({ length: 10 }, () => at.client()));
    const order = [];
    let inside = 0;
    await Promise.all(clients.map(async (client) => {
      for (let i = 0; i < 5; i++) {
        if (!(await client.lock(write('a', 'b')))) assert.equal(await client.acquire(), true);
        assert.equal(++inside, 1, 'clients inside');
        order.push(BigInt(client.getLockId()));
        await new Promise((resolve) => setTimeout(resolve)); // let the others run
        inside--;
        await client.release();
      }
    }));
    assert.equal(order.length, 50);
    order.forEach((id, i) => assert.ok(i === 0 || id > order[i - 1], 'locks in the order of their ids'));
  },

  async 'readers share, writers wait'(at) {
    const [one, two, writer, late] = await Promise.all([at.client(), at.client(), at.client(), at.client()]);
    assert.equal(await one.lock(read('a')), true);
    assert.equal(await two.lock(read('a')), true);
    assert.equal(await writer.lock(write('a')), false);
    assert.equal(await late.lock(read('a')), false);
    await one.release();
    await two.release();
    assert.equal(await writer.acquire(), true);
    await writer.release();
    assert.equal(await late.acquire(), true);
  },

  async 'a lock covers what lies below it'(at) {
    const [parent, child, sibling] = await Promise.all([at.client(), at.client(), at.client()]);
    assert.equal(await parent.lock(write('a')), true);
    assert.equal(await child.lock(read('a', 'b', 'c')), false);
    assert.equal(await sibling.lock(write('b')), true);
    await parent.release();
    assert.equal(await child.acquire(), true);
    assert.equal(await parent.lock(write('a', 'x')), true);
  },

  async 'several resources at once, or none'(at) {
    const [one, two, both] = await Promise.all([at.client(), at.client(), at.client()]);
    await one.lock(write('a'));
    await two.lock(write('b'));
    assert.equal(await both.lock(write('a'), read('b'), write('c')), false);
    await one.release();
    await two.release();
    assert.equal(await both.acquire(), true);
    assert.equal(await one.lock(read('c')), false);
  },

  async 'paths of no and of 50 segments'(at) {
    const [all, deep] = await Promise.all([at.client(), at.client()]);
    const path = Array.from({ length: 50 }, (_, i) => `segment ${i}`);
    assert.equal(await deep.lock(write(...path)), true);
    assert.equal(await all.lock(read()), false);
    await deep.release();
    assert.equal(await all.acquire(), true);
    assert.equal(await deep.lock(write(...path)), false);
    await all.release();
    assert.equal(await deep.acquire(), true);
    assert.equal(await all.lock(write(...path.slice(0, 49), 'other')), true);
  },

  async 'segments of any text'(at) {
    const [one, two] = await Promise.all([at.client(), at.client()]);
    for (const segment of ['', 'ä€🐙', '"\\/\n\t', '*', '..', 'x'.repeat(1024)]) {
      assert.equal(await one.lock(write(segment)), true);
      assert.equal(await two.lock(write(segment)), false);
      await one.release();
      assert.equal(await two.acquire(), true);
      await two.release();
    }
  },

  async 'namespaces know nothing of each other'(at) {
    const one = await at.client();
    const two = await at.client({ namespace: encodeURIComponent(`${at.space} (another)`) });
    assert.equal(await one.lock(write()), true);
    assert.equal(await two.lock(write()), true);
  },

  async 'a release while enqueued ends acquire with false'(at) {
    const [holder, impatient, next] = await Promise.all([at.client(), at.client(), at.client()]);
    await holder.lock(write('a'));
    assert.equal(await impatient.lock(write('a')), false);
    assert.equal(await next.lock(write('a')), false);
    const acquired = impatient.acquire();
    await impatient.release();
    assert.equal(await acquired, false);
    assert.equal(impatient.getState(), CLIENT_STATE.READY);
    await holder.release();
    assert.equal(await next.acquire(), true);
    assert.equal(await impatient.lock(write('b')), true); // the connection is reusable
  },

  async 'releases that race grants'(at) {
    const [one, two] = await Promise.all([at.client(), at.client()]);
    for (let i = 0; i < 200; i++) {
      assert.equal(await one.lock(write('a')), true);
      assert.equal(await two.lock(write('a')), false);
      await Promise.all([one.release(), two.release()]);
      assert.equal(one.getState(), CLIENT_STATE.READY);
      assert.equal(two.getState(), CLIENT_STATE.READY);
    }
  },

  async 'an abandoned lock stays for its timeout, a waiter goes at once'(at) {
    const long = await at.client({ abandonTimeoutMs: 3_600_000 });
    const short = await at.client({ abandonTimeoutMs: 100 });
    const waiter = await at.client({ abandonTimeoutMs: 3_600_000 });
    const client = await at.client();
    assert.equal(await long.lock(write('long')), true);
    assert.equal(await short.lock(write('short')), true);
    assert.equal(await waiter.lock(read('short')), false);
    assert.equal(await client.lock(write('short')), false);
    at.drop(long);
    at.drop(waiter);
    at.drop(short);
    assert.equal(await client.acquire(), true);
    await client.release();
    assert.equal(await client.lock(write('long')), false); // an hour isn't over
    await client.release();
  },

  async 'messages can be watched'(at) {
    const client = await at.client();
    const seen = [];
    client.onMessage((message) => seen.push(message));
    await client.lock(write('a'), read('b', 'c'));
    const id = client.getLockId();
    await client.release();
    assert.same(seen, [
      { data: '{"action":"lock","resources":[{"type":"write","path":["a"]},{"type":"read","path":["b","c"]}]}', direction: 'out' },
      { data: `{"id":"${id}","action":"lock","state":"acquired"}`, direction: 'in' },
      { data: '{"action":"release"}', direction: 'out' },
      { data: `{"id":"${id}","action":"release","state":"ready"}`, direction: 'in' },
    ]);
  },

  async 'a close of our own is reported'(at) {
    const client = await at.client();
    const end = closed(client);
    client.close();
    const event = await end;
    assert.equal(event.code, 1000);
    assert.equal(event.wasClean, true);
  },

  async 'a fault is explained and ends the connection with 3000'(at) {
    for (const fault of [
      (client) => client.lock({ type: 'steal', path: ['a'] }),
      (client) => client.lock({ type: LOCK_TYPE.WRITE, path: 'a' }),
      (client) => client.lock({ type: LOCK_TYPE.WRITE }),
      (client) => client.lock(write(...Array.from({ length: 2000 }, () => 's'))),
      (client) => client.ws.send('{"action":"release"}'),
      (client) => client.ws.send('nonsense'),
    ]) {
      const client = await at.client();
      const said = [];
      client.onMessage((message) => message.direction === 'in' && said.push(message.data));
      const end = closed(client);
      Promise.resolve(fault(client)).catch(() => {}); // the client can't parse the complaint
      const event = await end;
      assert.equal(event.code, 3000);
      assert.equal(said.length, 1);
      assert.ok(/^communication error: .{10}/.test(said[0]), `an explanation instead of "${said[0]}"`);
      await assert.fails(() => client.lock(write('a')), /communication error|not valid JSON|Cannot parse|Unexpected token/);
    }
  },
};
