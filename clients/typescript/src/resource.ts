import { checked } from "./check.js";

/** A path and how it is wanted. A path stands for its whole subtree; the empty one is the namespace. */
export interface Resource {
  readonly type: "read" | "write" | "permit";
  readonly path: readonly string[];
  /** Of permits: how many places there are. All who want permits of a path name the same limit. */
  readonly limit?: number;
  /** Of permits: how many places this one takes; 1 if absent. */
  readonly weight?: number;
}

/** Wants a path together with other readers. */
export function read(...path: string[]): Resource {
  return { type: "read", path: checked(path) };
}

/** Wants a path for itself. */
export function write(...path: string[]): Resource {
  return { type: "write", path: checked(path) };
}

/** Wants one of `limit` places at a path: a counting semaphore, in the order of arrival. */
export function permit(limit: number, ...path: string[]): Resource {
  return { type: "permit", path: checked(path), limit, weight: 1 };
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
