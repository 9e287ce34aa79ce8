import { onAbort, unlessAborted } from "./abort.js";
import { checked, checkedCredentials, checkedPage, checkedResource, checkOptions, excess, type Bounds } from "./check.js";
import { clock, idly } from "./clock.js";
import { ClosedError, LocktopusError, LostError, OfflineError, RefusedError, UnavailableError } from "./errors.js";
import { checkedOptions, ends, Lock, type LockOptions } from "./lock.js";
import { refusal, type LockInfo, type Message, type Request } from "./message.js";
import type { Resource } from "./resource.js";
import { hangUp, platformSocket, type Socket, type SocketFactory } from "./socket.js";
import { Watch } from "./watch.js";

const subprotocol = "locktopus.v2";
const glance = 1000; // ms; timers stand still while the machine sleeps, so the clock is looked at this often
const closePatience = 2000; // ms, for a last answer
const connectPatience = 10_000; // ms, for one attempt
const lastWordPatience = 1000; // ms, for the server to close the connection
const tooBig = 1009; // the code with which the server closes the connection when a message is too long

export interface Options {
  /** Shown to people who look at locks; 128 bytes at most. */
  name?: string;
  /** How long the session lives when the server hears nothing of it, in milliseconds; 15000 if absent. */
  ttl?: number;
  /**
   * How much earlier than necessary locks end here, in milliseconds; a tenth of the ttl, 2000 at most, if absent. It is
   * half of the ttl at most.
   */
  margin?: number;
  /** For the server's plugins, where headers can't be sent. */
  credentials?: Record<string, string>;
  /** Headers of each connection. Not in browsers. */
  headers?: Record<string, string>;
  /** Is asked for both before each connection, for tokens that expire. */
  authorize?: () => Promise<{ headers?: Record<string, string>; credentials?: Record<string, string> }>;
  /** Gives up connecting for the first time. */
  signal?: AbortSignal;
  /**
   * Called with true when two thirds of the time are over in which the server must be heard, and when it says that it is
   * shutting down (see `draining`); with false when it was heard, or the next server was. Locks are still held meanwhile.
   */
  onRisk?: (atRisk: boolean) => void;
  /** Bounds of the pause between two attempts to connect, in milliseconds; 50, and a fifth of the ttl, 5000 at most, if absent. */
  backoff?: { min: number; max: number };
  /** Another WebSocket than the platform's. */
  socket?: SocketFactory;
}

/** A request that waits for its answer. */
export interface Call {
  request: Request;
  /** When it was sent over the present connection; undefined: not yet. */
  sent?: number;
  /** It was sent over any connection, and the server may know it. */
  tried?: boolean;
  /** Of a release: why the lock had ended before. */
  why?: string;
  answered: (answer: Message, call: Call) => void;
  failed: (cause: unknown) => void;
}

/** Connects to a server and begins a session: `ws://HOST:PORT/v2?namespace=NAME`, or `wss://`. */
export async function connect(address: string, options: Options = {}): Promise<Client> {
  checkAddress(address);
  checkOptions(options);
  const client = new Client(address, options);
  await client.start();
  return client;
}

function checkAddress(address: string): void {
  const url = new URL(address);
  if (url.protocol !== "ws:" && url.protocol !== "wss:") throw new TypeError(`the address must begin with ws:// or wss://, but is "${address}"`);
  if (!url.pathname.endsWith("/v2")) throw new TypeError(`the path of the address must be /v2, but is "${url.pathname}"`);
  if (!url.searchParams.get("namespace")) throw new TypeError("the address names no namespace, as /v2?namespace=NAME would");
}

/** A session with a server. It outlives lost connections; see `connect`. */
export class Client {
  #socket?: Socket;
  #session?: { id: string; secret: string };
  #epoch?: string; // of the server's run
  #bounds: Bounds = {};
  #ttl = 0;
  #event = 0;
  #arrived = 0; // the highest id that the server has answered
  #lastID = 0;
  #heard = 0;
  #said = 0;
  #calls: Call[] = [];
  #stops = Infinity; // until when locks of a server that is shutting down may be counted on
  #risky = false;
  #closing = false;
  #closed?: Promise<void>;
  #hurry = new AbortController(); // ends an attempt to connect for which nobody waits any more
  #timer?: ReturnType<typeof setTimeout>;
  #due = 0; // when it fires
  #retry?: ReturnType<typeof setTimeout>;
  #pause = 0;
  #useful = false; // a request was answered over the present connection
  #refused?: RefusedError; // the server doesn't let this client in
  #trouble = new LocktopusError("the connection was lost"); // with the last one, or the last attempt at one
  #durable = true;
  /** @internal */ readonly locks = new Map<number, Lock>();
  /** @internal Those that may have a lease. */ readonly leases = new Set<Lock>();
  /** @internal */ readonly watches = new Map<number, Watch>();

  /** @internal */
  constructor(readonly address: string, private readonly options: Options) {}

  /** The id by which the server knows the session. */
  get session(): string | undefined {
    return this.#session?.id;
  }

  get connected(): boolean {
    return this.#socket !== undefined;
  }

  /**
   * Whether the server's fencing tokens go on where they were after a restart. If they don't, what is guarded must forget
   * its marks when the server restarts, or nobody gets through.
   */
  get durable(): boolean {
    return this.#durable;
  }

  /** Names the run of the server: with another one it was restarted. */
  get epoch(): string | undefined {
    return this.#epoch;
  }

  /** The time to live that the server has granted, in milliseconds. */
  get ttl(): number {
    return this.#ttl;
  }

  /**
   * Whether the server is shutting down, as it has said itself: it ends all locks in a while, and gives nothing new. Each
   * lock that is still held then is lost before that, with the state "shutdown" and `margin` to react. It is true until
   * the client has found the next server.
   */
  get draining(): boolean {
    return this.#stops !== Infinity;
  }

  /** @internal Until when locks may be counted on, as the server is shutting down. */
  get stops(): number {
    return this.#stops;
  }

  /** @internal Of the newest request. */
  get lastID(): number {
    return this.#lastID;
  }

  /** @internal When the newest request was sent that has been answered. */
  get heard(): number {
    return this.#heard;
  }

  /** @internal */
  async start(): Promise<void> {
    try {
      await this.#connect(this.options.signal);
    } catch (error) {
      this.#closing = true;
      throw error;
    }
    this.#tend();
  }

  /**
   * Waits for all resources at once and takes them. The signal is for waiting only; so is `wait`, of which the server
   * knows, so that an UnavailableError says who was in the way.
   */
  lock(resources: Resource | readonly Resource[], options: LockOptions = {}): Promise<Lock> {
    return this.#acquire(resources, options);
  }

  /** Takes all resources if they can be had now, in fair order; otherwise it rejects with an UnavailableError. */
  tryLock(resources: Resource | readonly Resource[], options: Omit<LockOptions, "wait"> = {}): Promise<Lock> {
    return this.#acquire(resources, { ...options, wait: 0 });
  }

  async #acquire(resources: Resource | readonly Resource[], options: LockOptions): Promise<Lock> {
    const list = Array.from<Resource, Resource>(Array.isArray(resources) ? resources : [resources], checkedResource);
    if (list.length === 0) throw new TypeError('a lock needs at least one resource, such as write("orders")');
    const lock = new Lock(this, list, checkedOptions(options));
    const refused = this.#ready();
    if (refused) throw refused;
    options.signal?.throwIfAborted();
    return lock.acquire();
  }

  /** Lists who holds and who waits at a path, below it, and above it where that covers it. */
  async inspect(
    path: readonly string[],
    options: { limit?: number; after?: string; signal?: AbortSignal } = {},
  ): Promise<{ locks: LockInfo[]; next?: string }> {
    const answer = await this.ask({ op: "inspect", path: checked(path), ...checkedPage(options) }, () => {}, options.signal);
    return { locks: answer.locks ?? [], ...(answer.next && { next: answer.next }) };
  }

  /**
   * Begins to watch what changes at a path, below it, and above it where that covers it. The signal is for the beginning
   * only.
   */
  async watch(path: readonly string[], { signal }: { signal?: AbortSignal } = {}): Promise<Watch> {
    const watch = new Watch(this);
    const begun = (m: Message) => {
      if (m.state === "watching") this.watches.set((watch.id = m.id!), watch);
      if (signal?.aborted) watch.close();
    };
    const answer = await this.ask({ op: "watch", path: checked(path) }, begun, signal);
    watch.locks = answer.locks ?? [];
    try {
      for (let after = answer.next; after; ) {
        const page = await this.inspect(path, { after, signal });
        watch.locks.push(...page.locks);
        after = page.next;
      }
    } catch (error) {
      watch.close();
      throw error;
    }
    return watch;
  }

  /** Why nothing can be asked for now; undefined: it can, or will be as soon as there is a connection. */
  #ready(): LocktopusError | undefined {
    return this.#closing ? new ClosedError() : this.#refused;
  }

  /**
   * Releases all locks and ends the session, which takes two seconds at most. Without a connection the server releases the
   * locks when the session's time is over.
   */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#closing = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#retry);
    const cause = new ClosedError();
    this.#hurry.abort(cause);
    const socket = this.#socket;
    let bye: Promise<unknown> = Promise.resolve();
    if (socket) bye = new Promise((resolve) => this.begin({ op: "bye" }, resolve, resolve));
    for (const lock of [...this.#waiting(), ...this.locks.values()]) lock.end(cause);
    for (const watch of this.watches.values()) watch.end(cause);
    this.locks.clear();
    this.leases.clear();
    this.watches.clear();
    let patience: ReturnType<typeof setTimeout>;
    await Promise.race([bye, new Promise((resolve) => (patience = setTimeout(resolve, closePatience)))]);
    clearTimeout(patience!);
    this.#socket = undefined;
    if (socket) hangUp(socket);
    const calls = this.#calls;
    this.#calls = [];
    for (const call of calls) call.failed(cause);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** @internal What a call ends with: beside that, it says if there is no connection. */
  offline(ended: unknown): unknown {
    const late = ended instanceof UnavailableError || (ended instanceof Error && ended.name === "TimeoutError");
    return late && !this.#socket && !this.#closing ? new OfflineError(this.#server, this.#trouble, ended) : ended;
  }

  get #server(): string {
    const { protocol, host } = new URL(this.address);
    return `${protocol}//${host}`;
  }

  /** @internal Sends a request, now or as soon as there is a connection. */
  begin(request: Request, answered: Call["answered"] = () => {}, failed: Call["failed"] = () => {}): Call {
    request.id = ++this.#lastID;
    const call: Call = { request, answered, failed };
    if (!this.#socket) {
      this.#calls.push(call); // to be measured by the server that comes
      return call;
    }
    const text = JSON.stringify(request);
    const refused = excess(request, text, this.#bounds);
    if (refused) {
      failed(refused);
    } else {
      this.#calls.push(call);
      this.#send(call, text);
    }
    return call;
  }

  /** @internal Takes a request back that the server can't know. */
  withdraw(call: Call): boolean {
    if (call.tried) return false;
    this.#calls = this.#calls.filter((c) => c !== call);
    return true;
  }

  /** @internal Sends a request and waits for its answer, or until the signal ends that. */
  async ask(request: Request, take: (answer: Message) => void, signal?: AbortSignal): Promise<Message> {
    const refused = this.#ready();
    if (refused) throw refused;
    signal?.throwIfAborted();
    let call!: Call;
    const answer = new Promise<Message>((resolve, reject) => {
      const answered = (m: Message) => {
        take(m);
        const error = refusal(m);
        if (error) reject(error);
        else resolve(m);
      };
      call = this.begin(request, answered, reject);
    });
    return unlessAborted(answer, signal, () => (this.withdraw(call), this.offline(signal!.reason)));
  }

  #send(call: Call, text = JSON.stringify(call.request)): void {
    call.sent = this.#said = clock();
    call.tried = true;
    this.#socket!.send(text);
  }

  /** Makes a connection and begins the session over it, or takes it up again. */
  async #connect(signal?: AbortSignal): Promise<void> {
    const factory = this.options.socket ?? platformSocket;
    const fresh = await unlessAborted(this.options.authorize?.(), signal);
    const credentials = checkedCredentials({ ...this.options.credentials, ...fresh?.credentials });
    const socket = await factory(this.address, subprotocol, { ...this.options.headers, ...fresh?.headers });
    let sent = 0;
    await new Promise<void>((resolve, reject) => {
      const fail = (error: unknown) => {
        clearTimeout(patience);
        unlisten();
        socket.onopen = socket.onmessage = socket.onclose = null;
        socket.onerror = () => {};
        hangUp(socket);
        reject(error);
      };
      const cannot = (why: string) => fail(new LocktopusError(`cannot connect to ${this.#server}: ${why}`));
      const patience = setTimeout(() => cannot("the server doesn't answer"), connectPatience);
      const hello = () => {
        sent = clock();
        socket.send(JSON.stringify(this.#hello(credentials)));
      };
      const aborted = () => fail(signal!.reason);
      const unlisten = onAbort(signal, aborted);
      if (signal?.aborted) return aborted();
      socket.onopen = hello;
      socket.onerror = (event) => cannot(event?.message || "nobody who speaks WebSocket answers");
      socket.onclose = (event) => cannot(closing(event));
      socket.onmessage = (event) => {
        const m = parse(event.data);
        const contradiction = m?.op === "welcome" && this.#session ? this.#contradiction(this.#session.id, m) : "";
        if (contradiction) {
          fail(this.#mistrust(contradiction));
        } else if (m?.op === "welcome") {
          clearTimeout(patience);
          unlisten();
          this.#welcome(socket, m, sent);
          resolve();
        } else if (m?.error === "no_session" && this.#session) {
          this.#gone(m);
          hello();
        } else {
          const refused = m && refusal(m);
          if (refused) fail(refused);
          else cannot("its first message is no welcome");
        }
      };
    });
  }

  #hello(credentials: Record<string, string>): Request {
    const { name, ttl = 15_000 } = this.options;
    const s = this.#session;
    return {
      op: "hello",
      ttl_ms: Math.ceil(ttl),
      ...(name !== undefined && { name }),
      ...(Object.keys(credentials).length > 0 && { credentials }),
      ...(s && { resume: { session: s.id, secret: s.secret, event: this.#event } }),
    };
  }

  /** Takes a session up, and sends what wasn't answered once more. */
  #welcome(socket: Socket, m: Message, sent: number): void {
    const resumed = this.#session !== undefined;
    this.#session = { id: m.session!, secret: m.secret! };
    this.#ttl = m.ttl_ms!;
    this.#heard = Math.max(this.#heard, sent);
    this.#said = sent;
    this.#useful = false;
    this.#refused = undefined;
    this.#durable = m.durable ?? false;
    this.#epoch = m.epoch;
    socket.onopen = null;
    socket.onerror = () => {};
    socket.onclose = (event) => {
      if (event?.code === tooBig) this.#blame(socket, { error: "limit", message: "the request is longer than the server allows (limits.message_bytes)" });
      this.#lost(socket, closing(event));
    };
    socket.onmessage = (event) => this.#message(socket, event.data);
    this.#socket = socket;
    this.#bounds = { bytes: m.message_bytes, values: m.message_values };
    this.#sortOut();
    for (const call of this.#calls) this.#send(call);
    if (!resumed) {
      this.#event = m.event ?? 0;
      this.#stops = Infinity;
    } else if ((m.first_event ?? 0) > this.#event + 1) {
      this.#event = m.first_event! - 1;
      this.#reconcile(new Map(this.locks), m);
    } else if (m.event === this.#event) {
      this.#reconcile(new Map(this.locks), m); // all that has ended is known to have
    }
    this.tend();
  }

  /**
   * Refuses requests that wait to be sent and are too much for the server that there is now. One that was sent before is
   * sent again, as the server may have granted it.
   */
  #sortOut(): void {
    this.#calls = this.#calls.filter((call) => {
      const refused = call.tried ? undefined : excess(call.request, JSON.stringify(call.request), this.#bounds);
      if (refused) call.failed(refused);
      return !refused;
    });
  }

  /** Takes up that the server doesn't know the session any more. */
  #gone(m: Message): void {
    let why = "the server has ended the session while it was not connected";
    if (m.epoch === undefined) why = "the server doesn't know the session any more: it was restarted, or has not heard from it in time";
    else if (m.epoch !== this.#epoch) why = "the server was restarted";
    else if (clock() - this.#heard >= this.#ttl - this.#ttl / 50) why = `the server has not heard from the session in time (${this.#ttl} ms)`;
    this.#forget(new LostError("gone", why));
  }

  /** In what the welcome back to a session can't be true beside what the server has said before; "": in nothing. */
  #contradiction(session: string, m: Message): string {
    const { event = 0, first_event: first = 0, last_id: last = 0 } = m;
    if (m.session !== session) return "it goes on with another session than the client's";
    if (m.epoch !== this.#epoch) return "it was restarted, and a restart ends all sessions";
    if (event < this.#event) return `its last event is ${event}, and it has told ${this.#event} already`;
    if (first > event + 1) return `its first event is ${first}, and its last one ${event}`;
    if (last < this.#arrived) return `request ${last} is the last that it knows, and it has answered ${this.#arrived} already`;
    return "";
  }

  /**
   * Ends the session here, as the server contradicts itself: what it says of locks may be as wrong, and nobody shall
   * rely on it. The caller ends the connection.
   */
  #mistrust(contradiction: string): LocktopusError {
    const why = "the server contradicts itself, as one would that was put back to an older state: " + contradiction;
    this.#socket = undefined;
    this.#forget(new LostError("gone", why));
    return new LocktopusError(why);
  }

  /**
   * Finds what became of locks when the server no longer has all events that were missed, or when none was missed: m
   * lists those that it has, or the first of them. The requests for the others stand behind those that are sent once more.
   */
  #reconcile(missing: Map<number, Lock>, m: Message): void {
    for (const info of m.locks ?? []) {
      missing.get(info.lock)?.found(info);
      missing.delete(info.lock);
    }
    if (m.next) this.begin({ op: "locks", after: m.next }, (more) => this.#reconcile(missing, more));
    else for (const lock of missing.values()) lock.lose(new LostError("gone", "it ended while there was no connection"));
  }

  /** Ends what there was of a session that is no more. Requests for locks begin again in the next one. */
  #forget(cause: LocktopusError): void {
    this.#session = undefined;
    this.#event = this.#lastID = this.#arrived = 0;
    const calls = this.#calls;
    const waiting = this.#waiting();
    this.#calls = [];
    for (const lock of this.locks.values()) if (!waiting.includes(lock)) lock.end(cause);
    this.locks.clear();
    this.leases.clear();
    for (const watch of this.watches.values()) watch.end(cause);
    this.watches.clear();
    for (const call of calls) if (call.request.op !== "lock") call.failed(cause);
    for (const lock of waiting) lock.begin();
  }

  /**
   * Ends all waiting: the server doesn't let this client in any more, and nobody shall wait for that to change. Attempts
   * go on, and locks that are held end when their time is over.
   */
  #deny(cause: RefusedError): void {
    this.#refused = cause;
    for (const lock of this.#waiting()) lock.askRelease(cause);
    const asks = this.#calls.filter((c) => c.request.op === "inspect" || c.request.op === "watch");
    this.#calls = this.#calls.filter((c) => !asks.includes(c));
    for (const call of asks) call.failed(cause);
  }

  /** The locks that are waited for, in the order of their requests. */
  #waiting(): Lock[] {
    const locks = new Set([...this.locks.values(), ...this.pending]);
    return [...locks].filter((l) => l.waiting).sort((a, b) => a.id - b.id);
  }

  /** @internal Locks whose request hasn't been answered. */
  readonly pending = new Set<Lock>();

  /**
   * @param answers the server closes the connection: the platform answers with the server's own code, which says that
   * what came before was read. So the server that comes next needn't wait until this client has lost its locks.
   */
  #lost(socket: Socket, trouble = "the connection was lost", answers = false): void {
    if (this.#socket !== socket) return;
    this.#trouble = new LocktopusError(trouble);
    this.#drop(socket, answers);
  }

  #drop(socket: Socket, answers = false): void {
    this.#socket = undefined;
    socket.onmessage = socket.onclose = null;
    if (answers) idly(() => hangUp(socket), lastWordPatience);
    else hangUp(socket);
    // The server is told, too: it may have granted one just before the connection was lost.
    const left = () => new LostError("canceled", "the connection was lost, and it was not to wait without one");
    for (const lock of this.#waiting()) if (lock.options.leave) lock.askRelease(left());
    this.#calls = this.#calls.filter((c) => c.request.op !== "unwatch");
    for (const watch of this.watches.values()) watch.end(new LocktopusError("the connection was lost, and the watch with it"));
    this.watches.clear();
    if (this.#closing) {
      const calls = this.#calls;
      this.#calls = [];
      for (const call of calls) call.failed(new ClosedError());
      return;
    }
    if (this.#useful) this.#pause = 0; // one that was lost at once, as by a server in trouble, makes it longer
    this.#reconnect();
  }

  #reconnect(): void {
    const { min, max } = this.options.backoff ?? { min: 50, max: Math.min(5000, this.#ttl / 5) };
    const pause = this.#pause;
    this.#pause = Math.min(max, Math.max(min, 2 * pause));
    this.#retry = setTimeout(
      () => {
        this.#connect(this.#hurry.signal).catch((error) => {
          if (this.#closing) return;
          this.#trouble = error instanceof Error ? error : new LocktopusError(String(error));
          if (error instanceof RefusedError && error.code === "denied") this.#deny(error);
          this.#reconnect();
        });
      },
      pause / 2 + (Math.random() * pause) / 2,
    );
  }

  #message(socket: Socket, data: unknown): void {
    if (this.#socket !== socket) return;
    const m = parse(data);
    if (!m) this.#lost(socket, "the server's message is not understood");
    else if (m.id !== undefined) {
      this.#arrived = Math.max(this.#arrived, m.id);
      this.#answered(socket, m);
    } else if (m.watch !== undefined) this.watches.get(m.watch)?.happened(m);
    else if (m.event !== undefined) this.#happened(socket, m);
    else if (m.notice === "draining") this.#drains(m.ms ?? 0);
    else if (m.error !== undefined) {
      if (m.error === "malformed") this.#blame(socket, m);
      this.#lost(socket, m.message ? `${m.error}: ${m.message}` : m.error, m.error === "shutdown");
      if (m.error === "shutdown" && !this.#closing) this.#forget(new LostError("shutdown", m.message));
      if (m.error === "ended" && !this.#closing) this.#forget(new LostError("revoked", m.message)); // by an administrator
    }
  }

  /**
   * Takes up that the server shuts down. Those who wait leave its queues, and wait for the next one: what they would get
   * here they would lose in a moment, and the server would have to wait for them.
   */
  #drains(ms: number): void {
    this.#stops = Math.min(this.#stops, clock() + this.usable(ms));
    const holders = this.holders();
    for (const lock of this.#waiting()) if (lock.canStandAside(holders)) lock.standAside();
    this.tend();
  }

  /** @internal The parties that hold locks. */
  holders(): Set<number> {
    return new Set([...this.locks.values()].filter((l) => l.holding).map((l) => l.party));
  }

  /**
   * Answers the request for which the server ends the connection, as it would each time: the oldest that has no answer,
   * as answers come in order.
   */
  #blame(socket: Socket, m: Message): void {
    if (this.#socket === socket && this.#calls[0]) this.#answered(socket, { ...m, id: this.#calls[0].request.id });
  }

  #answered(socket: Socket, m: Message): void {
    const call = this.#calls[0];
    if (call?.request.id !== m.id) return this.#lost(socket, `the server has answered request ${m.id} out of turn`);
    this.#calls.shift();
    this.#useful = true;
    if (call!.sent !== undefined) this.#heard = Math.max(this.#heard, call!.sent);
    call!.answered(m, call!);
    if (this.#risky) this.#tend();
  }

  #happened(socket: Socket, m: Message): void {
    if (m.event! <= this.#event) return; // again, after a connection was lost
    if (m.event! > this.#event + 1) {
      this.#trouble = this.#mistrust(`its event ${m.event} follows ${this.#event}`);
      return this.#drop(socket);
    }
    this.#event = m.event!;
    const lock = this.locks.get(m.lock!);
    if (lock) lock.happened(m);
    else if (ends.has(m.state ?? "")) this.#crossed(m);
  }

  /** Keeps why a lock has ended for its release that is on its way, whose answer won't say it. */
  #crossed(m: Message): void {
    for (const call of this.#calls) if (call.request.op === "release" && call.request.lock === m.lock) call.why = m.message;
  }

  /** @internal Ends a lock here, without a word to the server. */
  drop(lock: Lock, cause: unknown): void {
    this.locks.delete(lock.id);
    this.leases.delete(lock);
    lock.end(cause);
  }

  /** @internal How much of a time that the server measures can be counted on: clocks may differ by 2 %. */
  usable(time: number): number {
    return time - time / 50 - Math.min(this.options.margin ?? Math.min(time / 10, 2000), time / 2);
  }

  /** @internal When all locks are over unless the server is heard; one that is shutting down ends them in any case. */
  get until(): number {
    return Math.min(this.#heard + this.usable(this.#ttl), this.#stops);
  }

  /** @internal Does what is due, or sees to it that it is done at a time at the latest: of many leases few end soon. */
  tend(by = 0): void {
    if (this.#timer && by < this.#due) this.#tend();
  }

  #tend(): void {
    clearTimeout(this.#timer);
    if (this.#closing) return;
    const now = clock();
    let next = now + glance;
    next = Math.min(next, this.#renew(now), this.#endOverdue(now), this.#assess(now));
    this.#due = Math.max(now + 1, next);
    this.#timer = idly(() => this.#tend(), this.#due - now);
  }

  /** Says something when nothing has been said for a third of the session's time. */
  #renew(now: number): number {
    if (!this.#socket) return Infinity;
    const third = this.#ttl / 3;
    const oldest = this.#calls[0]?.sent;
    if (oldest !== undefined && now - oldest >= third) {
      this.#lost(this.#socket, "the server doesn't answer");
      return Infinity;
    }
    if (now - this.#said >= third) this.begin({ op: "renew" });
    return Math.min(this.#said, oldest ?? Infinity) + third;
  }

  /** Ends locks that the server may have given to others. */
  #endOverdue(now: number): number {
    const overdue = now >= this.until ? [...this.locks.values()] : [...this.leases];
    for (const lock of overdue) lock.expire(now);
    let next = Infinity;
    for (const { until } of [this, ...this.leases]) if (until > now) next = Math.min(next, until);
    return next;
  }

  #assess(now: number): number {
    const at = this.#heard + (this.usable(this.#ttl) * 2) / 3;
    const risky = now >= at || this.draining;
    if (risky !== this.#risky) {
      this.#risky = risky;
      queueMicrotask(() => this.options.onRisk?.(risky)); // what it does must not hold this up
    }
    return risky ? Infinity : at;
  }
}

/** How a connection was closed. */
function closing(event?: { code?: number; reason?: string }): string {
  return `the connection was closed (${[event?.code, event?.reason].filter(Boolean).join(": ")})`;
}

function parse(data: unknown): Message | undefined {
  try {
    return JSON.parse(String(data));
  } catch {
    return undefined;
  }
}
