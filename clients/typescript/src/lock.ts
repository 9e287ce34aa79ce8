import { onAbort } from "./abort.js";
import type { Call, Client } from "./client.js";
import { checkedParty, checkedText, milliseconds, span } from "./check.js";
import { clock } from "./clock.js";
import { LostError, ReleasedError, UnavailableError } from "./errors.js";
import { refusal, type LockInfo, type Message } from "./message.js";
import { Party, type Resource } from "./resource.js";

export interface LockOptions {
  /** Gives up waiting. */
  signal?: AbortSignal;
  /**
   * How long to wait, in milliseconds; for ever if absent, or Infinity; not at all if 0 or less. The server counts it; without a connection it is counted
   * here, as a second at least, and ends with an OfflineError.
   */
  wait?: number;
  /** How long the lock lasts from its grant, or the last `renew`, in milliseconds, above 0; as long as the session if absent, or Infinity. */
  lease?: number;
  /** Shown to people who look at the lock, or wait for it. */
  note?: string;
  /** Leaves the queue when the connection is lost. */
  leave?: boolean;
  /** Whose the lock is, where deadlocks are looked for; nobody else's if absent. */
  party?: Party;
}

/** Options as they are sent: with whole milliseconds, and none where there is no end. */
export function checkedOptions({ signal, wait, lease, note, leave, party }: LockOptions): LockOptions {
  if (note !== undefined) checkedText(note, "the note");
  return { signal, wait: milliseconds(wait, "wait"), lease: span(lease, "lease"), note, leave: Boolean(leave), party: checkedParty(party) };
}

/** How a lock that was held may end by the server's word. */
export const ends = new Set(["released", "canceled", "expired", "revoked"]);

const leastPatience = 1000; // ms without a connection that end no wait
const longestTimer = 2 ** 31 - 1; // ms; beyond it timers of the platform fire at once

/** Why a lock's time is over. */
const overdue = () => new LostError("deadline", "its time is over, and the server has not been heard extending it");
const stopped = () => new LostError("shutdown", "the server is shutting down, and the lock would end with it");

/** A promise that somebody else settles, and nobody need wait for. */
function later() {
  let resolve!: () => void, reject!: (cause: unknown) => void;
  const promise = new Promise<void>((a, b) => ([resolve, reject] = [a, b]));
  promise.catch(() => {});
  return { promise, resolve, reject };
}

type State = "waiting" | "held" | "over";

/** A lock that was granted. It is over when it is released, or lost. */
export class Lock {
  #state: State = "waiting";
  #token = 0n;
  #slots: number[] = [];
  #leaseEnd = Infinity;
  #began = performance.now();
  #over = new AbortController();
  #settle!: { resolve: (lock: Lock) => void; reject: (cause: unknown) => void };
  #upgrade?: { resolve: () => void; reject: (cause: unknown) => void };
  #asked?: Call;
  #doubted = false; // its lease was over by what had been heard, and is begun anew
  #aside = false; // it waits for the next server, as this one is shutting down
  #patience?: ReturnType<typeof setTimeout>;
  readonly #party: Party;
  /** @internal */ id = 0;

  /** @internal */
  constructor(
    private readonly client: Client,
    private readonly resources: Resource[],
    /** @internal */ readonly options: LockOptions,
  ) {
    this.#party = options.party ?? new Party();
  }

  /** The fencing token: larger than that of every conflicting lock granted before. An upgrade changes it. */
  get token(): bigint {
    return this.#token;
  }

  /** The numbers of the lock's permits, in the order of its resources. */
  get slots(): readonly number[] {
    return this.#slots;
  }

  /** Aborted when the lock is over; its reason tells why. */
  get signal(): AbortSignal {
    return this.#over.signal;
  }

  /** Looks at the clock, and so knows at once that the time is over, when `signal` takes a moment. */
  get held(): boolean {
    this.expire(clock());
    return this.#state === "held";
  }

  /** How much longer the lock lasts at least, in milliseconds, if the server isn't heard again, or is shutting down. */
  get deadline(): number {
    return this.#state === "held" ? Math.max(0, this.until - clock()) : 0;
  }

  /** @internal */
  get waiting(): boolean {
    return this.#state === "waiting";
  }

  /** @internal As `held`, without a look at the clock. */
  get holding(): boolean {
    return this.#state === "held";
  }

  /** @internal */
  get party(): number {
    return this.#party.number;
  }

  /** Whether it is to be waited for; otherwise it is answered now. */
  get #waits(): boolean {
    return this.options.wait === undefined || this.options.wait > 0;
  }

  /** @internal Whether it may wait for the next server: a party that holds something here may need it to finish. */
  canStandAside(holders: Set<number>): boolean {
    return !this.#aside && this.#waits && !holders.has(this.party);
  }

  /** @internal Leaves the queue of a server that is shutting down, to wait for the next one. */
  standAside(): void {
    this.#aside = true;
    this.client.begin({ op: "release", lock: this.id });
  }

  /** @internal When the lock is over unless the server is heard. */
  get until(): number {
    return Math.min(this.client.until, this.#leaseEnd);
  }

  /** @internal Ends a lock whose time is over. The server is told, in case that it hasn't given it to others. */
  expire(now: number): void {
    if (this.#state === "held" && now >= this.until) this.askRelease(now >= this.client.stops ? stopped() : overdue());
  }

  /** @internal Ends a lock that isn't found any more. It is released, too: what was asked may have been refused. */
  lose(cause: unknown): void {
    if (this.#state !== "over" && !this.#aside) this.askRelease(cause);
  }

  /** @internal Ends the lock and says so to the server, if it can know of it. */
  askRelease(cause: unknown, answered?: Call["answered"], failed?: Call["failed"]): void {
    this.client.drop(this, cause);
    if (!this.client.withdraw(this.#asked!)) this.client.begin({ op: "release", lock: this.id }, answered, failed);
  }

  /** @internal */
  acquire(): Promise<Lock> {
    const { signal } = this.options;
    return new Promise<Lock>((resolve, reject) => {
      const giveUp = () => this.#giveUp(this.client.offline(signal!.reason));
      const unlisten = onAbort(signal, giveUp);
      const settled = () => {
        unlisten();
        clearTimeout(this.#patience);
      };
      this.#settle = {
        resolve: (lock) => (settled(), resolve(lock)),
        reject: (cause) => (settled(), reject(cause)),
      };
      if (this.options.wait !== undefined) this.#bear(Math.max(this.options.wait, leastPatience));
      this.begin();
    });
  }

  /**
   * Ends the wait in a while if there is no connection then. If there is one the server will say when it is over, unless
   * the next one is waited for.
   */
  #bear(time: number): void {
    this.#patience = setTimeout(() => {
      if (time > longestTimer) return this.#bear(time - longestTimer);
      const late = new UnavailableError([], this.options.wait === 0 ? "unavailable" : "timeout");
      const offline = this.client.offline(late);
      if (offline === late && !this.#aside) this.#bear(leastPatience);
      else this.#giveUp(offline);
    }, Math.min(time, longestTimer));
  }

  /** @internal Asks for the lock, again where the session is another one than before. */
  begin(): void {
    const { wait, lease, note, leave } = this.options;
    const left = wait === undefined ? undefined : Math.max(0, Math.ceil(wait - (performance.now() - this.#began)));
    const call = this.client.begin(
      {
        op: "lock",
        resources: this.resources,
        ...(left !== undefined && { wait_ms: left }),
        ...(lease !== undefined && { lease_ms: lease }),
        ...(note !== undefined && { note }),
        ...(leave && { leave }),
        party: this.#party.number,
      },
      (m, call) => this.#answered(m, call),
      (cause) => this.end(cause),
    );
    this.id = call.request.id!;
    this.#asked = call;
    this.#aside = this.#doubted = false;
    if (this.waiting) this.client.pending.add(this); // or it was refused at once
  }

  #answered(m: Message, call: Call): void {
    this.client.pending.delete(this);
    if (this.#state === "over") return; // given up meanwhile; a release is on its way
    if (m.state === "enqueued" || (m.state === "acquired" && this.#aside)) {
      this.client.locks.set(this.id, this); // a release is on its way if it stands aside
    } else if (m.state === "acquired") {
      this.granted(m, call.sent ?? this.client.heard);
    } else if (m.error === "draining" && this.canStandAside(this.client.holders())) {
      this.#aside = true;
      this.client.locks.set(this.id, this);
    } else {
      this.end(refusal(m) ?? new LostError(m.state ?? "gone", m.message));
    }
  }

  /**
   * @internal Makes it a lock that is held, unless the server's word was so long on its way that it may not be true any
   * more. since is when the server can have granted it at the earliest, as far as is known.
   */
  granted(m: { token?: string; slots?: number[]; lease_ms?: number }, since: number): void {
    if (this.#state !== "waiting" || this.#aside) return;
    this.#begun(m, since);
    const now = clock();
    if (now >= this.client.stops && this.#waits) {
      this.client.locks.set(this.id, this);
      return this.standAside(); // it would end at once
    }
    if (now >= this.client.until || (now >= this.until && this.#doubted)) return this.askRelease(overdue());
    this.client.locks.set(this.id, this);
    if (now >= this.until) return this.#renewFirst(m);
    this.#state = "held";
    this.#token = BigInt(m.token ?? 0);
    this.#slots = m.slots ?? [];
    this.#settle.resolve(this);
  }

  /**
   * Begins a lease anew before the lock is relied on: it may be over by what was heard last, which is long ago for a
   * client that has nothing to do but to wait.
   */
  #renewFirst(granted: { token?: string; slots?: number[] }): void {
    this.#doubted = true;
    this.#leaseEnd = Infinity;
    this.client.leases.delete(this);
    this.#ask({ op: "renew" }, (m, call) => {
      if (!this.waiting || this.#aside) return;
      if (m.state === "renewed") this.granted({ ...granted, lease_ms: m.lease_ms }, call.sent ?? 0);
      else this.client.drop(this, refusal(m) ?? new LostError(m.state ?? "gone", m.message));
    }).catch(() => {});
  }

  /** Notes how long the lease lasts from when something was sent: a retry may be answered when much of it is over. */
  #begun(m: { lease_ms?: number }, since: number): void {
    const { lease } = this.options;
    if (lease === undefined) return;
    this.#leaseEnd = since + this.client.usable(Math.min(lease, m.lease_ms ?? 0));
    this.client.leases.add(this);
    this.client.tend(this.#leaseEnd);
  }

  /** @internal Takes up what the server says of a lock about which nothing was heard for a while. */
  found(info: LockInfo): void {
    if (this.#state === "held" && BigInt(info.token ?? 0) < this.#token) {
      this.askRelease(new LostError("gone", `the server says that its token is ${info.token ?? 0}, and has said ${this.#token} already`));
    } else if (this.#state === "waiting" && info.state !== "enqueued") this.granted(info, this.client.heard);
    else if (this.#state === "held" && BigInt(info.token ?? 0) !== this.#token) this.#upgraded(info.token);
    else if (this.#state === "held" && info.state === "acquired") this.#noUpgrade(new UnavailableError([], "upgrade_timeout"));
  }

  #upgraded(token?: string): void {
    this.#token = BigInt(token ?? 0);
    this.#upgrade?.resolve();
    this.#upgrade = undefined;
  }

  #noUpgrade(cause: unknown): void {
    this.#upgrade?.reject(cause);
    this.#upgrade = undefined;
  }

  /** @internal */
  happened(m: Message): void {
    switch (m.state) {
      case "acquired":
        if (this.#state !== "waiting") return;
        this.granted(m, this.client.heard);
        if (this.options.lease !== undefined && this.held) this.#renew().catch(() => {});
        break;
      case "upgraded":
        this.#upgraded(m.token);
        break;
      case "upgrade_timeout":
        this.#noUpgrade(refusal(m));
        break;
      default:
        this.client.drop(this, refusal(m) ?? new LostError(m.state ?? "gone", m.message));
    }
  }

  /** @internal The end of the lock, or of waiting for it. */
  end(cause: unknown): void {
    if (this.#state === "over") return;
    if (this.#state === "waiting") this.#settle.reject(cause);
    this.#state = "over";
    this.client.pending.delete(this);
    this.#noUpgrade(cause);
    this.#over.abort(cause);
  }

  #giveUp(cause: unknown): void {
    if (this.#state === "waiting") this.askRelease(cause);
  }

  /**
   * Gives the lock up. It resolves if the lock was held until now, and otherwise rejects with why it was not; a second
   * call resolves. When the server isn't heard until the lock would have ended by itself, it rejects with a LostError
   * whose state is "deadline".
   */
  async release(): Promise<void> {
    if (!this.held) {
      if (this.signal.reason instanceof ReleasedError) return;
      throw this.signal.reason;
    }
    const patience = this.until - clock();
    let timer: ReturnType<typeof setTimeout>;
    const late = new Promise<never>((_, reject) => (timer = setTimeout(() => reject(overdue()), patience)));
    const answer = new Promise<Message>((resolve, reject) => {
      this.askRelease(new ReleasedError(), (m, call) => resolve({ message: call.why, ...m }), reject);
    });
    try {
      const m = await Promise.race([answer, late]);
      if (m.state !== "released") throw refusal(m) ?? new LostError(m.state ?? "gone", m.message);
    } finally {
      clearTimeout(timer!);
    }
  }

  /** Begins the lock's lease anew. Without a lease it does nothing that the client doesn't do by itself. */
  async renew(): Promise<void> {
    if (!this.held) throw this.signal.reason;
    await this.#unlessOver(this.#renew());
  }

  /** Begins the lease anew. */
  #renew(): Promise<void> {
    return this.#ask({ op: "renew" }, (m, call) => {
      if (m.state === "renewed" && this.#state === "held") this.#begun(m, call.sent ?? 0);
    }).then(() => {});
  }

  /** Asks for something about the lock. */
  #ask(request: { op: string; [member: string]: unknown }, take: Call["answered"] = () => {}): Promise<Message> {
    return new Promise((resolve, reject) => {
      this.client.begin(
        { ...request, lock: this.id },
        (m, call) => {
          take(m, call);
          const error = refusal(m) ?? (ends.has(m.state ?? "") ? new LostError(m.state!, m.message) : undefined);
          if (error) reject(error);
          else resolve(m);
        },
        reject,
      );
    });
  }

  /** Rejects when the lock is over before. */
  #unlessOver<T>(promise: Promise<T>, signal?: AbortSignal): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const over = () => done(() => reject(this.signal.reason));
      const aborted = () => done(() => reject(this.client.offline(signal!.reason)));
      const listening = [onAbort(this.signal, over), onAbort(signal, aborted)];
      const done = (settle: () => void) => {
        for (const end of listening) end();
        settle();
      };
      promise.then(
        (value) => done(() => resolve(value)),
        (cause) => done(() => reject(cause)),
      );
    });
  }

  /**
   * Makes writes of the lock's reads, which waits until nobody else reads: it goes ahead of all who wait. The lock stays
   * held meanwhile; afterwards its token is a new one. When it rejects, the lock is what it was; a RefusedError with the
   * code "upgrade_conflict" says that another reader waits for the same, and one of the two has to release.
   *
   * When the signal ends it first, the upgrade is taken back. If it was granted just then, a lock that had reads alone is
   * downgraded again; one that had writes, too, keeps what it has got, so as not to lose those.
   */
  async upgrade(options: { wait?: number; signal?: AbortSignal } = {}): Promise<void> {
    const signal = options.signal;
    const wait = milliseconds(options.wait, "wait");
    signal?.throwIfAborted();
    if (!this.held) throw this.signal.reason;
    const before = this.#token;
    const turn = later();
    let id = 0;
    const answer = this.#ask({ op: "upgrade", ...(wait !== undefined && { wait_ms: wait }) }, (m, call) => {
      if (this.#state !== "held") return;
      if (m.state === "upgrading" || m.state === "upgraded") this.#upgrade = turn;
      else turn.reject(new UnavailableError([], "upgrade_timeout"));
      if (m.state === "upgraded") this.#upgraded(m.token);
    });
    id = this.client.lastID;
    try {
      await this.#unlessOver(answer.then(() => turn.promise), signal);
    } catch (cause) {
      if (signal?.aborted) this.#takeBack(id, turn, before);
      throw cause;
    }
  }

  /** Ends an upgrade for which nobody waits any more. */
  #takeBack(id: number, turn: unknown, before: bigint): void {
    if (this.#state !== "held") return;
    if (this.#upgrade === turn) this.#upgrade = undefined;
    this.#ask({ op: "downgrade", upgrade: id }, () => {
      const reads = this.resources.every((r) => r.type !== "write");
      if (this.#state === "held" && this.#token !== before && reads) this.#ask({ op: "downgrade" }).catch(() => {});
    }).catch(() => {});
  }

  /** Makes reads of the lock's writes, at once. The token stays. An upgrade that waits is taken back. */
  async downgrade(): Promise<void> {
    if (!this.held) throw this.signal.reason;
    this.#noUpgrade(new UnavailableError([], "upgrade_timeout"));
    await this.#unlessOver(this.#ask({ op: "downgrade" }));
  }

  /** Releases, where it is still held: for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.held) await this.release();
  }
}
