import type { Call, Client } from "./client.js";
import { LostError, ReleasedError } from "./errors.js";
import { refusal, type Message } from "./message.js";
import type { Resource } from "./resource.js";

export interface LockOptions {
  /** Gives up waiting. */
  signal?: AbortSignal;
  /** How long to wait, in milliseconds; for ever if absent. */
  wait?: number;
  /** How long the lock lasts from its grant, or the last `renew`, in milliseconds; as long as the session if absent. */
  lease?: number;
  /** Shown to people who look at the lock, or wait for it. */
  note?: string;
  /** Leaves the queue when the connection is lost. */
  leave?: boolean;
  /** Whose the lock is, where deadlocks are looked for; nobody else's if absent. */
  party?: Party;
}

let parties = 0;

/**
 * Locks that belong together, as those of one task that holds some while it waits for others. Given to each of their
 * requests, it lets the server see when tasks would wait for each other in a circle: the request that would close it is
 * rejected with a DeadlockError that names the others. Without a party each lock stands for itself, so that tasks which
 * share a client never seem to wait for each other; nor are they told when they do.
 */
export class Party {
  /** @internal */ readonly number = ++parties;
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
  readonly #party: Party;
  #upgrade?: { resolve: () => void; reject: (cause: unknown) => void };
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

  get held(): boolean {
    return this.#state === "held";
  }

  /** @internal */
  get waiting(): boolean {
    return this.#state === "waiting";
  }

  /** @internal When the lock is over unless the server is heard; never while it waits. */
  get until(): number {
    if (this.#state !== "held") return Infinity;
    return Math.min(this.client.until, this.#leaseEnd);
  }

  /** @internal */
  acquire(): Promise<Lock> {
    const { signal } = this.options;
    return new Promise<Lock>((resolve, reject) => {
      const giveUp = () => this.#giveUp(signal!.reason);
      const settled = () => signal?.removeEventListener("abort", giveUp);
      this.#settle = {
        resolve: (lock) => (settled(), resolve(lock)),
        reject: (cause) => (settled(), reject(cause)),
      };
      signal?.addEventListener("abort", giveUp);
      this.begin();
    });
  }

  /** @internal Asks for the lock, again where the session is another one than before. */
  begin(): void {
    const { wait, lease, note, leave } = this.options;
    const left = wait === undefined ? undefined : Math.max(0, Math.ceil(wait - (performance.now() - this.#began)));
    const call = this.client.begin(
      {
        op: "lock",
        resources: this.resources,
        party: this.#party.number,
        ...(left !== undefined && { wait_ms: left }),
        ...(lease !== undefined && { lease_ms: Math.ceil(lease) }),
        ...(note !== undefined && { note }),
        ...(leave && { leave }),
      },
      (m, call) => this.#answered(m, call),
      (cause) => this.end(cause),
    );
    this.id = call.request.id!;
    this.client.pending.add(this);
  }

  #answered(m: Message, call: Call): void {
    this.client.pending.delete(this);
    if (this.#state === "over") return; // given up meanwhile; a release is on its way
    if (m.state === "acquired" || m.state === "enqueued") this.client.locks.set(this.id, this);
    if (m.state === "acquired") this.granted(m, call.sent ?? this.client.heard);
    else if (m.state !== "enqueued") this.end(refusal(m) ?? new LostError(m.state ?? "gone", m.message));
  }

  /** @internal Makes it a lock that is held. */
  granted(m: { token?: string; slots?: number[]; lease_ms?: number }, since: number): void {
    if (this.#state !== "waiting") return;
    this.#state = "held";
    this.#token = BigInt(m.token ?? 0);
    this.#slots = m.slots ?? [];
    this.#begun(m, since);
    this.#settle.resolve(this);
    this.client.tend();
  }

  /** Notes how long the lease lasts from when something was sent: a retry may be answered when much of it is over. */
  #begun(m: { lease_ms?: number }, since: number): void {
    const { lease } = this.options;
    if (lease !== undefined) this.#leaseEnd = since + this.client.usable(Math.min(lease, m.lease_ms ?? 0));
  }

  /** @internal */
  happened(m: Message): void {
    switch (m.state) {
      case "acquired":
        this.granted(m, this.client.heard);
        if (this.options.lease !== undefined) this.#renew();
        break;
      case "upgraded":
        this.#token = BigInt(m.token ?? 0);
        this.#upgrade?.resolve();
        this.#upgrade = undefined;
        break;
      case "upgrade_timeout":
        this.#upgrade?.reject(refusal(m));
        this.#upgrade = undefined;
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
    this.#upgrade?.reject(cause);
    this.#upgrade = undefined;
    this.#over.abort(cause);
  }

  #giveUp(cause: unknown): void {
    if (this.#state !== "waiting") return;
    this.client.drop(this, cause);
    this.client.begin({ op: "release", lock: this.id });
  }

  /** Gives the lock up. It resolves if the lock was held until now, and otherwise rejects with why it was not. */
  async release(): Promise<void> {
    if (this.#state === "over") {
      if (this.signal.reason instanceof ReleasedError) return;
      throw this.signal.reason;
    }
    this.client.drop(this, new ReleasedError());
    const answer = await this.client.ask({ op: "release", lock: this.id });
    if (answer.state !== "released") throw new LostError(answer.state ?? "gone", answer.message);
  }

  /** Begins the lock's lease anew. */
  async renew(): Promise<void> {
    if (this.#state === "over") throw this.signal.reason;
    await this.#renew();
  }

  #renew(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.client.begin(
        { op: "renew", lock: this.id },
        (m, call) => {
          const error = refusal(m);
          if (error) return reject(error);
          this.#begun(m, call.sent ?? 0);
          resolve();
        },
        reject,
      );
    });
  }

  /**
   * Makes writes of the lock's reads, which waits until nobody else reads: it goes ahead of all who wait. The lock stays
   * held meanwhile; afterwards its token is a new one. When it rejects, the lock is what it was.
   */
  async upgrade(options: { wait?: number; signal?: AbortSignal } = {}): Promise<void> {
    const { wait, signal } = options;
    signal?.throwIfAborted();
    const upgraded = new Promise<void>((resolve, reject) => (this.#upgrade = { resolve, reject }));
    upgraded.catch(() => {});
    const giveUp = () => {
      this.#upgrade?.reject(signal!.reason);
      this.#upgrade = undefined;
      if (this.held) this.client.begin({ op: "downgrade", lock: this.id });
    };
    signal?.addEventListener("abort", giveUp, { once: true });
    try {
      const answer = await this.client.ask({ op: "upgrade", lock: this.id, ...(wait !== undefined && { wait_ms: Math.ceil(wait) }) }, (m) => {
        if (m.state === "upgraded") this.happened(m);
      });
      if (answer.state === "upgrading" || answer.state === "upgraded") await upgraded;
    } finally {
      signal?.removeEventListener("abort", giveUp);
    }
  }

  /** Makes reads of the lock's writes, at once. The token stays. */
  async downgrade(): Promise<void> {
    await this.client.ask({ op: "downgrade", lock: this.id });
  }

  /** Releases, where it is still held: for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.held) await this.release();
  }
}
