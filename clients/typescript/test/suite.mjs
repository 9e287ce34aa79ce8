// What the package must be able to do with a server, wherever it runs: node.test.mjs and browser.test.mjs run the
// same cases. A case gets the package, connect(options), which makes a client that is closed at the end, and the
// wire that those clients use.

export const assert = {
  ok(value, what) {
    if (!value) throw new Error(`want ${what}, got ${value}`);
  },
  equal(got, want, what = "value") {
    if (got !== want) throw new Error(`${what}: got ${got}, want ${want}`);
  },
  async fails(promise, type) {
    let got;
    try {
      got = await promise;
    } catch (error) {
      if (error instanceof type) return error;
      throw new Error(`want a ${type.name}, got ${error}`);
    }
    throw new Error(`want a ${type.name}, got ${got}`);
  },
};

/** Makes WebSockets that a case can cut and refuse. */
function cuttable(factory) {
  const sockets = new Set();
  let refusing = false;
  let denying = false;
  let hiding = false;
  let made = 0;
  return {
    made: () => made,
    hideBounds(on) {
      hiding = on;
    },
    async socket(...args) {
      if (denying) return denies();
      if (refusing) throw new Error("refused");
      const socket = await factory(...args);
      made++;
      sockets.add(socket);
      return hiding ? withoutBounds(socket) : socket;
    },
    cut() {
      for (const socket of sockets) socket.close();
      sockets.clear();
    },
    refuse(on) {
      refusing = on;
    },
    deny(on) {
      denying = on;
    },
  };
}

/** Stands for a server that doesn't say how large messages may be. */
function withoutBounds(socket) {
  const set = (name) => Object.getOwnPropertyDescriptor(Object.getPrototypeOf(socket), name).set.bind(socket);
  Object.defineProperty(socket, "onmessage", {
    set: (listener) => set("onmessage")(listener && ((event) => listener({ data: String(event.data).replace(/,"message_(bytes|values)":[0-9]+/g, "") }))),
  });
  return socket;
}

/** Stands for a server whose plugin lets nobody in. */
function denies() {
  const socket = {
    bufferedAmount: 0,
    send: () => queueMicrotask(() => socket.onmessage({ data: '{"error":"denied","plugin":"p","code":7,"message":"not you"}' })),
    close() {},
  };
  setTimeout(() => socket.onopen(), 1);
  return socket;
}

/** Makes WebSockets to a server that says what a script wants: script(connection, message, say, hangUp). */
function liar(script) {
  let made = 0;
  return async () => {
    const n = ++made;
    const say = (...texts) => texts.forEach((data) => socket.onmessage?.({ data }));
    const hangUp = () => socket.onclose?.({ code: 1006 });
    const socket = {
      bufferedAmount: 0,
      send: (text) => queueMicrotask(() => script(n, JSON.parse(text), say, hangUp)),
      close() {},
    };
    setTimeout(() => socket.onopen?.(), 1);
    return socket;
  };
}

const liarsWelcome = '{"op":"welcome","session":"s1","secret":"x1","ttl_ms":60000,"epoch":"e1","durable":true,"last_id":0,"locks":[],"event":0}';

const ended = (signal) => new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener("abort", () => resolve(), { once: true })));

export const cases = {
  async "locks of one party close no deadlock, and those without one know of none"({ lib, connect }) {
    const [a, b] = [await connect({ name: "a" }), await connect({ name: "b" })];
    const party = new lib.Party();
    const held = await a.lock(lib.write("x"), { party });
    const waits = b.lock(lib.write("x"));
    while (!(await a.inspect(["x"])).locks.some((l) => l.state === "enqueued"));
    const refused = await assert.fails(a.lock(lib.write("x"), { party }), lib.DeadlockError);
    assert.equal(refused.cycle.map((c) => `${c.session} ${c.state}`).join(), "b enqueued,a acquired");
    const another = a.lock(lib.write("x"));
    await held.release();
    await (await waits).release();
    await (await another).release();
  },

  async "locks exclude each other, and tokens increase"({ lib, connect }) {
    const [a, b] = [await connect({ name: "a" }), await connect({ name: "b" })];
    const held = await a.lock([lib.write("x", "y"), lib.read("z")]);
    assert.ok(held.held, "a lock that is held");
    await assert.fails(b.tryLock(lib.write("x")), lib.UnavailableError);
    const reader = await b.tryLock(lib.read("z"));
    assert.ok(reader.token > held.token, "a larger token");
    const next = b.lock(lib.write("x"));
    await held.release();
    assert.ok(held.signal.reason instanceof lib.ReleasedError, "the reason");
    await held.release();
    assert.ok((await next).token > held.token, "a larger token");
  },

  async "waiting ends with its signal"({ lib, connect }) {
    const [a, b] = [await connect(), await connect()];
    const held = await a.lock(lib.write("x"));
    const stop = new AbortController();
    const waiting = b.lock(lib.write("x"), { signal: stop.signal });
    stop.abort(new RangeError("enough"));
    await assert.fails(waiting, RangeError);
    await assert.fails(b.lock(lib.write("x"), { wait: 100 }), lib.UnavailableError);
    await held.release();
    await (await b.lock(lib.write("x"))).release();
  },

  async "a lock outlives its connection"({ lib, connect, wire }) {
    const a = await connect({ backoff: { min: 1, max: 10 } });
    const held = await a.lock(lib.write("x"));
    const session = a.session;
    for (let n = 0; n < 3; n++) {
      wire.cut();
      await (await a.lock(lib.write("y"))).release();
      assert.ok(held.held, "a lock that is still held");
    }
    assert.equal(a.session, session, "session");
    await held.release();
  },

  async "a lock ends here before it ends there"({ lib, connect, wire }) {
    const risks = [];
    const a = await connect({ ttl: 1000, onRisk: (risk) => risks.push(risk), backoff: { min: 1, max: 10 } });
    const held = await a.lock(lib.write("x"));
    const b = await connect({}, true);
    wire.refuse(true);
    wire.cut();
    const next = await b.lock(lib.write("x"));
    assert.ok(!held.held, "a lock that is over");
    assert.equal(held.signal.reason.state, "deadline", "why");
    assert.equal(risks[0], true, "the risk");
    await next.release();
    wire.refuse(false);
    const again = await a.lock(lib.write("x")); // in the next session
    assert.ok(again.held, "a lock that is held");
  },

  async "who waits without a connection is told so"({ lib, connect, wire }) {
    const a = await connect({ backoff: { min: 1, max: 10 } });
    const held = await a.lock(lib.read("y"));
    wire.refuse(true);
    wire.cut();
    while (a.connected) await new Promise((resolve) => setTimeout(resolve, 1));
    const waits = await Promise.all([
      assert.fails(a.lock(lib.write("x"), { wait: 50 }), lib.OfflineError),
      assert.fails(a.tryLock(lib.write("x")), lib.OfflineError),
      assert.fails(a.lock(lib.write("x"), { signal: AbortSignal.timeout(50) }), lib.OfflineError),
      assert.fails(held.upgrade({ signal: AbortSignal.timeout(50) }), lib.OfflineError),
    ]);
    assert.equal(waits.map((e) => e.cause.state ?? e.cause.name).join(), "timeout,unavailable,TimeoutError,TimeoutError", "what it would have been");
    for (const { message, server, trouble } of waits) {
      assert.ok(a.address.startsWith(`${server}/v2`), `the server of ${a.address}, not ${server}`);
      assert.ok(message.startsWith(`there is no connection to ${server} (${trouble.message}): `), `what is wrong, not ${message}`);
    }
    const stop = new AbortController();
    const aborted = assert.fails(a.lock(lib.write("x"), { signal: stop.signal }), DOMException);
    stop.abort();
    assert.equal((await aborted).name, "AbortError", "an abort of one's own");
    const bears = a.lock(lib.write("x"), { wait: 60_000 });
    wire.refuse(false);
    await (await bears).release();
    await held.release();
  },

  async "a server that contradicts itself is not believed"({ lib }) {
    const both = '"locks":[{"lock":1,"state":"acquired","token":"5"},{"lock":2,"state":"enqueued"}]';
    for (const [why, welcome] of Object.entries({
      "its last event is 1, and it has told 2 already": `"session":"s1","epoch":"e1","last_id":2,"event":1,${both}`,
      "request 1 is the last that it knows, and it has answered 2 already": `"session":"s1","epoch":"e1","last_id":1,"event":2,${both}`,
      "it was restarted, and a restart ends all sessions": `"session":"s1","epoch":"e2","last_id":2,"event":2,${both}`,
      "it goes on with another session than the client's": `"session":"s9","epoch":"e1","last_id":2,"event":2,${both}`,
      "its first event is 9, and its last one 3": `"session":"s1","epoch":"e1","last_id":2,"event":3,"first_event":9,${both}`,
      "its event 9 follows 2": `"session":"s1","epoch":"e1","last_id":2,"event":9,${both}`,
    })) {
      const resumes = [];
      const socket = liar((n, m, say, hangUp) => {
        if (m.op === "hello") resumes.push(m.resume !== undefined);
        if (m.op === "bye") say(`{"id":${m.id},"state":"bye"}`);
        if (n === 1 && m.op === "hello") say(liarsWelcome);
        if (n === 1 && m.id === 1) say('{"id":1,"state":"acquired","token":"5"}');
        if (n === 1 && m.id === 2) {
          say('{"id":2,"state":"enqueued","ahead":1}', '{"event":1,"lock":90,"state":"expired"}', '{"event":2,"lock":91,"state":"expired"}');
          hangUp();
        }
        if (n === 2 && m.op === "hello") {
          say(`{"op":"welcome","secret":"x2","ttl_ms":60000,"durable":true,${welcome}}`);
          if (why.includes("follows")) say('{"event":9,"lock":92,"state":"expired"}');
        }
        if (n === 3 && m.op === "hello") say(liarsWelcome.replace("s1", "s2"));
        if (n === 3 && m.op === "lock") say(`{"id":${m.id},"state":"acquired","token":"6"}`);
      });
      const a = await lib.connect("ws://liar/v2?namespace=n", { socket, backoff: { min: 1, max: 2 } });
      const held = await a.lock(lib.write("a"));
      const next = await a.lock(lib.write("b"));
      assert.equal(next.token, 6n, "the token");
      assert.equal(held.signal.reason?.state, "gone", "how it was lost");
      assert.equal(
        held.signal.reason.message,
        `the lock is lost: gone: the server contradicts itself, as one would that was put back to an older state: ${why}`,
        "why",
      );
      assert.equal([a.session, ...resumes].join(), "s2,false,true,false", "sessions");
      await a.close();
    }
  },

  async "a lock that the server no longer lists is lost"({ lib }) {
    for (const [list, why] of [
      ["", "it ended while there was no connection"],
      ['{"lock":1,"state":"acquired","token":"4"}', "the server says that its token is 4, and has said 5 already"],
      ['{"lock":1,"state":"enqueued"}', "the server says that its token is 0, and has said 5 already"],
    ]) {
      let released;
      const socket = liar((n, m, say, hangUp) => {
        if (m.op === "bye") say(`{"id":${m.id},"state":"bye"}`);
        if (m.op === "release") released = m.lock;
        if (m.op === "hello" && n === 1) say(liarsWelcome);
        if (m.op === "hello" && n === 2) say(liarsWelcome.replace('"last_id":0,"locks":[]', `"last_id":1,"locks":[${list}]`));
        if (m.op === "lock") {
          say('{"id":1,"state":"acquired","token":"5"}');
          setTimeout(hangUp, 1);
        }
      });
      const a = await lib.connect("ws://liar/v2?namespace=n", { socket, backoff: { min: 1, max: 2 } });
      const held = await a.lock(lib.write("a"));
      await ended(held.signal);
      assert.equal(held.signal.reason.message, `the lock is lost: gone: ${why}`, "why");
      await a.close();
      assert.equal(released, 1, "the lock that is released in case that the list is wrong");
    }
  },

  async "locks end before a server that shuts down does"({ lib }) {
    const released = [];
    let say;
    const socket = liar((n, m, speak) => {
      say = speak;
      if (m.op === "bye") say(`{"id":${m.id},"state":"bye"}`);
      if (m.op === "hello") say(liarsWelcome.replace("s1", `s${n}`));
      if (m.op === "lock") say(`{"id":${m.id},"state":"acquired","token":"5"}`);
      if (m.op === "release") released.push(m.lock);
    });
    const risks = [];
    const options = { socket, margin: 100, backoff: { min: 1, max: 2 }, onRisk: (risk) => risks.push(risk) };
    const a = await lib.connect("ws://liar/v2?namespace=n", options);
    const held = await a.lock(lib.write("a"));
    assert.ok(!a.draining && held.deadline > 50_000, "a server that stays");
    say('{"notice":"draining","ms":1000}');
    assert.ok(a.draining && held.held, "a lock that is held yet");
    assert.ok(held.deadline > 0 && held.deadline <= 880, "a deadline: 1 s without 2 % and the margin");
    const alive = setInterval(() => {}, 1000); // as a connection would keep the process
    await ended(held.signal);
    clearInterval(alive);
    assert.equal(held.signal.reason.state, "shutdown", "how it was lost");
    assert.equal(held.deadline, 0, "deadline");
    await new Promise((resolve) => setTimeout(resolve));
    assert.equal(released.join(), "1", "what was released");
    say('{"error":"shutdown"}');
    const next = await a.lock(lib.write("a"));
    assert.ok(!a.draining && next.deadline > 50_000, "another server");
    assert.equal(risks.join(), "true,false", "risks");
    await a.close();
  },

  async "who waits when the server shuts down waits for the next one"({ lib }) {
    const asked = [];
    let say;
    const socket = liar((n, m, speak) => {
      say = speak;
      asked.push(`${n} ${m.op} ${m.lock ?? m.resources?.[0].path ?? ""}`);
      if (m.op === "bye") say(`{"id":${m.id},"state":"bye"}`);
      if (m.op === "hello") say(liarsWelcome.replace("s1", `s${n}`));
      if (m.op === "release") say(`{"id":${m.id},"lock":${m.lock},"state":"canceled"}`);
      if (m.op !== "lock") return;
      if (n === 2 || m.id === 1) say(`{"id":${m.id},"state":"acquired","token":"${5 * n}"}`);
      else if (m.id <= 3) say(`{"id":${m.id},"state":"enqueued","ahead":1}`);
      else if (m.id > 4) say(`{"id":${m.id},"error":"draining","message":"the server is shutting down"}`);
    });
    const task = new lib.Party();
    const a = await lib.connect("ws://liar/v2?namespace=n", { socket, backoff: { min: 1, max: 2 } });
    const held = await a.lock(lib.write("first"), { party: task });
    const own = a.lock(lib.write("second"), { party: task });
    const others = [a.lock(lib.write("third")), a.lock(lib.write("fourth"))]; // the latter has no answer yet
    await new Promise((resolve) => setTimeout(resolve));
    say('{"notice":"draining","ms":60000}');
    say('{"id":4,"state":"acquired","token":"6"}', '{"event":1,"lock":3,"state":"acquired","token":"7"}'); // cross the releases
    say('{"event":2,"lock":2,"state":"acquired","token":"8"}');
    assert.equal((await own).token, 8n, "what a task needs to finish");
    for (const refused of [a.tryLock(lib.write("fifth")), a.lock(lib.write("fifth"), { party: task })]) {
      assert.equal((await assert.fails(refused, lib.RefusedError)).code, "draining", "code");
    }
    others.push(a.lock(lib.write("sixth")));
    await assert.fails(a.lock(lib.write("seventh"), { wait: 10 }), lib.UnavailableError);
    assert.ok(held.held, "a lock that is held");
    say('{"error":"shutdown"}');
    assert.equal((await Promise.all(others)).map((l) => l.token).join(), "10,10,10", "tokens");
    assert.equal(
      asked.filter((text) => /release [34]|2 lock/.test(text)).join(),
      "1 release 3,1 release 4,2 lock third,2 lock fourth,2 lock sixth",
      "what was asked for",
    );
    await a.close();
  },

  async "a grant that would end at once is left to the next server"({ lib }) {
    const released = [];
    let say;
    const socket = liar((n, m, speak) => {
      say = speak;
      if (m.op === "bye") say(`{"id":${m.id},"state":"bye"}`);
      if (m.op === "hello") say(liarsWelcome.replace("s1", `s${n}`));
      if (m.op === "lock") say(`{"id":${m.id},${n === 1 && m.id === 2 ? '"state":"enqueued","ahead":1' : `"state":"acquired","token":"${5 * n}"`}}`);
      if (m.op === "release") released.push(m.lock);
    });
    const task = new lib.Party();
    const a = await lib.connect("ws://liar/v2?namespace=n", { socket, margin: 100, backoff: { min: 1, max: 2 } });
    const first = await a.lock(lib.write("first"), { party: task });
    const second = a.lock(lib.write("second"), { party: task });
    await new Promise((resolve) => setTimeout(resolve));
    say('{"notice":"draining","ms":300}');
    const alive = setInterval(() => {}, 1000);
    await ended(first.signal);
    say('{"event":1,"lock":2,"state":"acquired","token":"6"}');
    await new Promise((resolve) => setTimeout(resolve));
    assert.equal(released.join(), "1,2", "what was released");
    say('{"error":"shutdown"}');
    assert.equal((await second).token, 10n, "the token");
    clearInterval(alive);
    await a.close();
  },

  async "a warning holds for the whole server"({ lib }) {
    for (const list of ['{"lock":1,"state":"acquired","token":"5"}', '{"lock":1,"state":"acquired","token":"5"},{"lock":2,"state":"acquired","token":"6"}']) {
      let say;
      const socket = liar((n, m, speak, hangUp) => {
        say = speak;
        if (m.op === "bye") say(`{"id":${m.id},"state":"bye"}`);
        if (m.op === "hello" && n === 2) say(liarsWelcome.replace('"last_id":0,"locks":[]', `"last_id":2,"locks":[${list}]`));
        else if (m.op === "hello") say(liarsWelcome.replace("s1", `s${n}`));
        if (m.op === "lock" && (m.id === 1 || n === 3)) say(`{"id":${m.id},"state":"acquired","token":"${4 + n}"}`);
        else if (m.op === "lock") say('{"id":2,"state":"enqueued","ahead":1}', '{"notice":"draining","ms":60000}');
        if (m.op === "release" && n === 1) hangUp();
        else if (m.op === "release") say(`{"id":${m.id},"lock":2,"state":"canceled"}`);
        else if (m.op === "inspect") say(`{"id":${m.id},"locks":[]}`);
      });
      const a = await lib.connect("ws://liar/v2?namespace=n", { socket, backoff: { min: 1, max: 2 } });
      const held = await a.lock(lib.write("a"));
      const waits = a.lock(lib.write("b"));
      while (a.connected) await new Promise((resolve) => setTimeout(resolve));
      await a.inspect([]); // over the second connection
      assert.ok(a.draining && held.held && held.deadline < 60_000, "a session that is gone on with");
      say('{"error":"shutdown"}');
      assert.equal((await waits).token, 7n, "the token");
      await a.close();
    }
  },

  async "a release that crosses an administrator's says their reason"({ lib }) {
    const socket = liar((n, m, say) => {
      if (m.op === "bye") say(`{"id":${m.id},"state":"bye"}`);
      if (m.op === "hello") say(liarsWelcome);
      if (m.op === "lock") say(`{"id":${m.id},"state":"acquired","token":"5"}`);
      if (m.op === "release") say('{"event":1,"lock":1,"state":"revoked","message":"it hangs"}', `{"id":${m.id},"lock":1,"state":"revoked"}`);
    });
    const a = await lib.connect("ws://liar/v2?namespace=n", { socket });
    const held = await a.lock(lib.write("a"));
    const lost = await assert.fails(held.release(), lib.LostError);
    assert.equal([lost.state, lost.message].join(), "revoked,the lock is lost: revoked: it hangs", "why");
    await a.close();
  },

  async "a restart is told from a silence"({ lib }) {
    for (const [epoch, why] of [
      ['"epoch":"e2",', "the server was restarted"],
      ['"epoch":"e1",', "the server has ended the session while it was not connected"],
      ["", "the server doesn't know the session any more: it was restarted, or has not heard from it in time"],
    ]) {
      const socket = liar((n, m, say, hangUp) => {
        if (m.op === "bye") say(`{"id":${m.id},"state":"bye"}`);
        if (m.op === "hello") say(m.resume ? `{"error":"no_session",${epoch}"message":"none"}` : liarsWelcome.replace("e1", `e${n}`));
        if (m.op === "lock") {
          say('{"id":1,"state":"acquired","token":"5"}');
          setTimeout(hangUp, 1);
        }
      });
      const a = await lib.connect("ws://liar/v2?namespace=n", { socket, backoff: { min: 1, max: 2 } });
      assert.equal(a.epoch, "e1", "epoch");
      const held = await a.lock(lib.write("a"));
      await ended(held.signal);
      assert.equal(held.signal.reason.message, `the lock is lost: gone: ${why}`, "why");
      await a.close();
    }
  },

  async "who is in the way is told"({ lib, connect }) {
    const [a, b] = [await connect({ name: "worker-7" }), await connect()];
    await a.lock(lib.write("orders", "17"), { note: "deploy 12" });
    const now = await assert.fails(b.tryLock(lib.read("orders")), lib.UnavailableError);
    assert.equal(now.state, "unavailable", "state");
    const { session, note, type, path, state } = now.blockers[0];
    assert.equal([now.blockers.length, session, note, type, path.join("/"), state].join(), "1,worker-7,deploy 12,write,orders/17,acquired", "blockers");
    const later = await assert.fails(b.lock(lib.read("orders"), { wait: 50 }), lib.UnavailableError);
    assert.equal([later.state, later.blockers.length].join(), "timeout,1", "state and blockers");
  },

  async "an upgrade goes ahead, and a downgrade lets others in"({ lib, connect }) {
    const [a, b] = [await connect(), await connect()];
    const mine = await a.lock([lib.read("x"), lib.write("y")]);
    const theirs = await b.lock(lib.read("x"));
    const before = mine.token;
    const late = await assert.fails(mine.upgrade({ wait: 50 }), lib.UnavailableError);
    assert.equal([late.state, late.blockers.length].join(), "upgrade_timeout,1", "state and blockers");
    const stop = new AbortController();
    const upgrade = assert.fails(mine.upgrade({ signal: stop.signal }), RangeError);
    stop.abort(new RangeError("enough"));
    await upgrade;
    await (await b.lock(lib.read("x"), { wait: 30_000 })).release();
    await assert.fails(b.tryLock(lib.read("y")), lib.UnavailableError);
    const upgraded = mine.upgrade();
    for (let locks = []; !locks.some((l) => l.state === "upgrading"); ) ({ locks } = await b.inspect(["x"]));
    const refused = await assert.fails(theirs.upgrade(), lib.RefusedError);
    assert.equal(refused.code, "upgrade_conflict", "code");
    await theirs.release();
    await upgraded;
    assert.ok(mine.token > before, "a larger token");
    await assert.fails(b.tryLock(lib.read("x")), lib.UnavailableError);
    await mine.downgrade();
    await (await b.tryLock([lib.read("x"), lib.read("y")])).release();
    await mine.release();
    for (const change of [() => mine.upgrade(), () => mine.downgrade(), () => mine.renew()]) await assert.fails(change(), lib.ReleasedError);
  },

  async "locks can be inspected and watched"({ lib, connect, wire }) {
    const [a, b] = [await connect({ name: "a" }), await connect({ backoff: { min: 1, max: 10 } })];
    const held = await a.lock(lib.write("x", "y"), { note: "n" });
    const { locks, next } = await b.inspect(["x"]);
    assert.equal([locks.length, next, locks[0].name, locks[0].note, BigInt(locks[0].token) === held.token].join(), "1,,a,n,true", "what is seen");
    const watch = await b.watch(["x"]);
    assert.equal(watch.locks.length, 1, "locks at the beginning");
    await held.release();
    const other = await a.lock(lib.read("x"));
    const seen = [];
    for await (const { change, lock } of watch) {
      seen.push(`${change} ${lock.state}`);
      if (seen.length === 2) break;
    }
    assert.equal(seen.join(), "ended released,acquired acquired", "changes");
    const second = await b.watch([]);
    wire.cut();
    await assert.fails((async () => { for await (const _ of second); })(), lib.LocktopusError);
    await other.release();
  },

  async "a request that ends its connection isn't sent for ever"({ lib, connect, wire }) {
    const a = await connect({ backoff: { min: 1, max: 10 } });
    const held = await a.lock(lib.write("x"));
    wire.hideBounds(true); // as of a server that hasn't said them, or has just got others
    wire.cut();
    await a.inspect([]); // over the next connection
    const long = await assert.fails(a.lock(lib.write("y"), { note: "n".repeat(70_000) }), lib.RefusedError);
    assert.equal(long.code, "limit", "code");
    const deep = await assert.fails(a.lock(lib.write(...Array(8200).fill(""))), lib.RefusedError);
    assert.equal(deep.code, "malformed", "code");
    assert.ok(held.held, "a lock that is still held");
    await held.release();
  },

  async "a bad argument harms nobody else"({ lib, connect, wire }) {
    const stranger = await connect();
    const has = await stranger.lock(lib.write("busy"));
    const a = await connect();
    const held = await a.lock(lib.write("mine"));
    const watch = await a.watch(["seen"]);
    const waiting = a.lock(lib.write("busy"), { leave: true });
    const connections = wire.made();
    const x = lib.write("x");
    const long = "n".repeat(70_000);
    const upgradable = await a.lock(lib.read("up"));
    const bad = { // and a part of what is said of each
      "wait must be": [
        ...[NaN, 1e300, "5", 5n, null, {}].map((wait) => () => a.lock(x, { wait })),
        ...[NaN, 1e300, "5"].map((wait) => () => upgradable.upgrade({ wait })),
      ],
      "lease must be": [NaN, -Infinity, -1, 0, 1e300, "5", 5n, null].map((lease) => () => a.lock(x, { lease })),
      "the note": ["\ud800", "a\0", 5, null].map((note) => () => a.lock(x, { note })),
      "party must be": [5, {}, { number: "x" }, null].map((party) => () => a.lock(x, { party })),
      "at least one resource": [() => a.lock([])],
      "resource 0: its type": [() => a.lock({ type: "rite", path: [] }), () => a.lock({ path: [] })],
      "resource 0: the path must be": [undefined, null, "ab", { length: 1 }].map((path) => () => a.lock({ type: "read", path })),
      "resource 1: segment 0 of the path": [undefined, 5, "\udc00", "\0"].map((segment) => () => a.lock([x, { type: "read", path: [segment] }])),
      "resource 0: segment 0 of the path is no string": [() => a.lock({ type: "read", path: Array(1) })],
      "resource 0 must be made by": [null, undefined, "x", 5].map((resource) => () => a.lock(resource)),
      "resource 0: permits": [0, -1, 1.5, NaN, 2 ** 32, "2", undefined].map((limit) => () => a.lock({ type: "permit", path: [], limit })),
      "limit must be": [-5, 0, 1.5, NaN, Infinity, 1e300, "5", null].map((limit) => () => a.inspect([], { limit })),
      "after must be": ["abc", "", "-1", "01", "1e3", 5, null].map((after) => () => a.inspect([], { after })),
      "the path": [() => a.inspect("ab"), () => a.inspect(["\ud800"]), () => a.watch(), () => a.watch(["a\0"])],
      "limits.note_bytes": [() => a.lock(x, { note: "n".repeat(257) })],
      "limits.message_bytes": [() => a.lock(x, { note: long }), () => a.lock(lib.write(long)), () => a.inspect([long]), () => a.watch(["é".repeat(40_000)])],
      "limits.message_values": [() => a.lock(Array(2100).fill(x)), () => a.lock(lib.write(...Array(8200).fill(""))), () => a.watch(Array(8200).fill(""))],
    };
    for (const [says, calls] of Object.entries(bad)) {
      for (const call of calls) {
        const error = await assert.fails(call(), Error);
        assert.ok(error instanceof TypeError || error instanceof lib.RefusedError, `an error of ours: ${error}`);
        assert.ok(error.message.includes(says), `${says} in: ${error.message}`);
      }
    }
    await (await a.lock([{ ...x, more: { nested: [] } }], { wait: Infinity, lease: Infinity, leave: "yes", surplus: 1 })).release();
    await (await a.lock(x, { wait: -1, lease: 0.5 + 20_000 })).release();
    await a.inspect([], { limit: 3, op: "release", path: 5 });
    await upgradable.upgrade({ wait: Infinity });
    await upgradable.release();
    await held.release();
    await has.release();
    await (await waiting).release();
    const seen = await stranger.lock(lib.write("seen"));
    for await (const change of watch) {
      assert.equal(change.lock.token, String(seen.token), "token");
      break;
    }
    assert.equal(wire.made(), connections, "connections");
    for (const options of [{ ttl: NaN }, { ttl: -1 }, { ttl: Infinity }, { margin: -1 }, { name: "\ud800" }, { backoff: { min: NaN, max: 1 } }, { credentials: { token: "\ud800" } }]) {
      await assert.fails(connect(options), TypeError);
    }
  },

  async "the signal for connecting does nothing afterwards"({ lib, connect }) {
    const stop = new AbortController();
    const a = await connect({ signal: stop.signal });
    stop.abort();
    const session = a.session;
    await (await a.lock(lib.write("x"))).release();
    assert.equal(a.session, session, "session");
    const late = new AbortController();
    late.abort(new RangeError("enough"));
    await assert.fails(connect({ signal: late.signal }), RangeError);
  },

  async "an impatient request leaves nothing behind"({ lib, connect, wire }) {
    const a = await connect({ backoff: { min: 1, max: 10 } });
    const b = await connect({}, true);
    const held = await b.lock(lib.write("x"));
    const waiting = assert.fails(a.lock(lib.write("x"), { leave: true }), lib.LostError);
    for (let locks = []; locks.length < 2; ) ({ locks } = await b.inspect(["x"]));
    wire.cut();
    await waiting;
    await held.release();
    await (await b.lock(lib.write("x"), { wait: 30_000 })).release();
  },

  async "credentials can be new for each connection"({ lib, connect, wire }) {
    let asked = 0;
    const a = await connect({ backoff: { min: 1, max: 10 }, authorize: async () => ({ credentials: { token: `${++asked}` } }) });
    wire.cut();
    await (await a.lock(lib.write("x"))).release();
    assert.equal(asked, 2, "how often it was asked");
  },

  async "waiting ends when the server lets nobody in"({ lib, connect, wire }) {
    const a = await connect({ backoff: { min: 1, max: 10 } });
    const b = await connect({}, true);
    const held = await b.lock(lib.write("x"));
    const waiting = assert.fails(a.lock(lib.write("x")), lib.RefusedError);
    for (let locks = []; locks.length < 2; ) ({ locks } = await b.inspect(["x"]));
    wire.deny(true);
    wire.cut();
    const { code, plugin, pluginCode } = await waiting;
    assert.equal([code, plugin, pluginCode].join(), "denied,p,7", "the refusal");
    await assert.fails(a.inspect([]), lib.RefusedError);
    wire.deny(false);
    for (let ok = false; !ok; ) ok = await a.inspect([]).then(() => true, () => new Promise((resolve) => setTimeout(resolve, 1)));
    await held.release();
    await (await b.lock(lib.write("x"), { wait: 30_000 })).release();
  },

  async "permits have slots, and a lease ends"({ lib, connect }) {
    const a = await connect({ margin: 1 });
    const one = await a.lock(lib.permit(2, "pool"));
    const two = await a.lock(lib.permit(2, "pool"), { lease: 300 });
    assert.equal([...one.slots, ...two.slots].join(), "0,1", "slots");
    await assert.fails(a.lock(lib.permit(3, "pool")), lib.RefusedError);
    await two.renew();
    await ended(two.signal);
    assert.ok(two.signal.reason instanceof lib.LostError, "the reason");
  },

  async "a lease that is over by what was heard last is begun anew"({ lib }) {
    for (const [answer, want] of [['"state":"renewed","ttl_ms":60000,"lease_ms":200', 7n], ['"state":"expired"', "expired"]]) {
      const asked = [];
      let say;
      const socket = liar((n, m, speak) => {
        say = speak;
        asked.push(m.op);
        if (m.op === "hello") say(liarsWelcome);
        if (m.op === "bye") say(`{"id":${m.id},"state":"bye"}`);
        if (m.op === "lock") say(`{"id":${m.id},"state":"enqueued","ahead":1}`);
        if (m.op === "renew") say(`{"id":${m.id},"lock":1,${answer}}`);
      });
      const a = await lib.connect("ws://liar/v2?namespace=n", { socket, margin: 1 });
      const waiting = a.lock(lib.write("x"), { lease: 200 });
      await new Promise((resolve) => setTimeout(resolve, 250)); // nothing is heard for longer than the lease
      say('{"event":1,"lock":1,"state":"acquired","token":"7","lease_ms":200}');
      const got = await waiting.then((lock) => (lock.held ? lock.token : "not held"), (error) => error.state);
      assert.equal(got, want, "what came of it");
      await a.close();
      assert.equal(asked.join(), "hello,lock,renew,bye", "what was asked");
    }
  },

  async "what belongs to a block ends with it"({ lib, connect }) {
    const a = await connect();
    const lock = await a.lock(lib.write("x"));
    await lock[Symbol.asyncDispose]();
    assert.ok(!lock.held, "a lock that is over");
  },

  async "close ends everything"({ lib, connect }) {
    const [a, b] = [await connect(), await connect()];
    const held = await a.lock(lib.write("x"));
    const other = await b.lock(lib.write("y"));
    const waiting = assert.fails(a.lock(lib.write("y")), lib.ClosedError);
    await a.close();
    await waiting;
    assert.ok(held.signal.reason instanceof lib.ClosedError, "the reason");
    await assert.fails(a.lock(lib.write("z")), lib.ClosedError);
    await (await b.lock(lib.write("x"))).release();
    await other.release();
  },

  async "a second close waits for the first"({ lib }) {
    let bye;
    const socket = liar((n, m, say) => {
      if (m.op === "bye") bye = () => say(`{"id":${m.id},"state":"bye"}`);
      if (m.op === "hello") say(liarsWelcome);
    });
    const a = await lib.connect("ws://liar/v2?namespace=n", { socket });
    const order = [];
    const closes = [1, 2].map((k) => a.close().then(() => order.push(k)));
    await new Promise((resolve) => setTimeout(resolve));
    order.push("bye");
    bye();
    await Promise.all(closes);
    assert.equal(order.join(), "bye,1,2", "order");
  },

  async "close ends an attempt to connect"({ lib }) {
    const closed = [];
    let hello;
    const again = new Promise((resolve) => (hello = resolve));
    const factory = liar((n, m, say, hangUp) => {
      if (n === 1) say(liarsWelcome), setTimeout(hangUp, 1);
      else hello(); // which nobody answers
    });
    let made = 0;
    const socket = async () => {
      const n = ++made;
      return Object.assign(await factory(), { close: () => closed.push(n) });
    };
    const a = await lib.connect("ws://liar/v2?namespace=n", { socket, backoff: { min: 1, max: 2 } });
    await again;
    await a.close();
    assert.equal(closed.join(), "1,2", "connections that were closed");
  },

  async "asking can be given up"({ lib, connect, wire }) {
    const late = new AbortController();
    const connecting = assert.fails(connect({ authorize: () => new Promise(() => {}), signal: late.signal }), RangeError);
    setTimeout(() => late.abort(new RangeError("enough")));
    await connecting;
    const a = await connect({ backoff: { min: 1, max: 10 } });
    wire.refuse(true);
    wire.cut();
    while (a.connected) await new Promise((resolve) => setTimeout(resolve, 1));
    for (const ask of [(options) => a.inspect([], options), (options) => a.watch([], options)]) {
      await assert.fails(ask({ signal: AbortSignal.timeout(50) }), lib.OfflineError);
      await assert.fails(ask({ signal: AbortSignal.abort(new RangeError("enough")) }), RangeError);
    }
    wire.refuse(false);
    const stop = new AbortController();
    const watches = assert.fails(a.watch([], { signal: stop.signal }), RangeError);
    stop.abort(new RangeError("enough"));
    await watches;
    await (await a.watch([], { signal: new AbortController().signal })).close();
  },

  async "a watch that can't begin ends at the server"({ lib }) {
    for (const page of ['"error":"forgotten","message":"none"', '"state":"inspected","locks":[]']) {
      const asked = [];
      const stop = new AbortController();
      const socket = liar((n, m, say) => {
        asked.push(m.op);
        if (m.op === "hello") say(liarsWelcome);
        if (m.op === "bye") say(`{"id":${m.id},"state":"bye"}`);
        if (m.op === "watch") say(`{"id":${m.id},"state":"watching","locks":[],"next":"1"}`);
        if (m.op === "inspect" && page.includes("state")) stop.abort(new lib.RefusedError("enough", ""));
        if (m.op === "inspect") say(`{"id":${m.id},${page}}`);
        if (m.op === "unwatch") say(`{"id":${m.id},"state":"unwatched"}`);
      });
      const a = await lib.connect("ws://liar/v2?namespace=n", { socket });
      await assert.fails(a.watch([], { signal: stop.signal }), lib.RefusedError);
      await a.close();
      assert.equal(asked.join(), "hello,watch,inspect,unwatch,bye", "what was asked");
    }
  },

  async "what can't be sent is refused here"({ lib, connect }) {
    const a = await connect();
    await assert.fails((async () => a.lock([]))(), TypeError);
    await assert.fails((async () => lib.write("a\0"))(), TypeError);
    await assert.fails((async () => lib.write("\ud800"))(), TypeError);
    await assert.fails((async () => a.lock(lib.write("x"), { note: "\0" }))(), TypeError);
    await assert.fails((async () => a.lock({ type: "append", path: [] }))(), TypeError);
    await assert.fails((async () => a.lock({ type: "permit", path: [] }))(), TypeError);
    await assert.fails((async () => a.lock({ type: "write", path: [], limit: 1 }))(), TypeError);
    await assert.fails(lib.connect("http://localhost/v2?namespace=a"), TypeError);
    await assert.fails(lib.connect("ws://localhost/v2"), TypeError);
  },

  async "a guard lets nothing stale through"({ lib }) {
    const guard = new lib.Guard();
    guard.read(5n);
    guard.write(5n);
    guard.read(7n);
    await assert.fails((async () => guard.write(6n))(), lib.StaleError);
    guard.write(8n);
    await assert.fails((async () => guard.read(7n))(), lib.StaleError);
  },
};

/** Runs one case; the factory makes the place's WebSockets. */
export async function run(lib, place, name, address, factory) {
  const clients = [];
  const wire = cuttable(factory);
  const connect = async (options = {}, straight = false) => {
    const space = encodeURIComponent(`${place}: ${name}`);
    const client = await lib.connect(`${address}?namespace=${space}`, { socket: straight ? factory : wire.socket, ...options });
    clients.push(client);
    return client;
  };
  try {
    await cases[name]({ lib, connect, wire });
  } finally {
    wire.refuse(false);
    await Promise.all(clients.map((client) => client.close()));
  }
}
