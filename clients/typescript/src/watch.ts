import type { Client } from "./client.js";
import { ClosedError, LocktopusError } from "./errors.js";
import type { LockInfo, Message } from "./message.js";

/** Something that happened to a lock. */
export interface Change {
  change: "enqueued" | "acquired" | "upgrading" | "upgraded" | "downgraded" | "ended";
  /** The lock as it is now; of one that has ended the state says how. */
  lock: LockInfo;
}

const buffer = 4096; // changes that may wait to be taken

/** Tells what changes at and below a path: `for await (const change of watch)`. */
export class Watch implements AsyncIterable<Change> {
  /**
   * Those that there were when the watch began. A table of them, by session and lock, in which each change puts its
   * lock, or out of which it takes one that has ended, has what `inspect` would tell.
   */
  locks: LockInfo[] = [];
  #changes: Change[] = [];
  #waiting: (() => void)[] = [];
  #over?: { cause: unknown };
  #number = 0;
  /** @internal */ id = 0;

  /** @internal */
  constructor(private readonly client: Client) {}

  async *[Symbol.asyncIterator](): AsyncGenerator<Change, void, void> {
    try {
      for (;;) {
        const change = this.#changes.shift();
        if (change) yield change;
        else if (this.#over?.cause instanceof ClosedError) return;
        else if (this.#over) throw this.#over.cause;
        else await new Promise<void>((resolve) => this.#waiting.push(resolve));
      }
    } finally {
      this.close();
    }
  }

  close(): void {
    if (this.#over) return;
    this.end(new ClosedError());
    this.client.watches.delete(this.id);
    this.client.begin({ op: "unwatch", watch: this.id });
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** @internal */
  happened(m: Message): void {
    const lock = m.locks?.[0];
    const lagged = m.change === "lagged" || !lock || m.n !== ++this.#number;
    if (!lagged && this.#changes.length < buffer) {
      this.#changes.push({ change: m.change as Change["change"], lock });
      this.#wake();
      return;
    }
    this.client.watches.delete(this.id);
    this.end(new LocktopusError("the watch could not keep up"));
    if (!lagged) this.client.begin({ op: "unwatch", watch: this.id });
  }

  /** @internal */
  end(cause: unknown): void {
    this.#over ??= { cause };
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
