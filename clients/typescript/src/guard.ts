import { StaleError } from "./errors.js";

/**
 * The rule of fencing, for whoever guards a resource: nothing is let through from holders whose time is over. It
 * belongs where the resource is, and as durable as the resource: store `seen` and `wrote` with it.
 */
export class Guard {
  /** @param seen the highest token seen  @param wrote the highest that wrote */
  constructor(public seen = 0n, public wrote = 0n) {}

  /** Lets a read through, or throws a StaleError. */
  read(token: bigint): void {
    if (token < this.wrote) throw new StaleError(token, this.wrote);
    if (token > this.seen) this.seen = token;
  }

  /** Lets a write through, or throws a StaleError. */
  write(token: bigint): void {
    if (token < this.seen) throw new StaleError(token, this.seen);
    this.seen = this.wrote = token;
  }
}
