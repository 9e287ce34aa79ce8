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

/** Refuses what can't be sent. Everything else is the server's to judge. */
export function checked(path: readonly string[]): readonly string[] {
  path.forEach((segment, k) => {
    if (typeof segment !== "string") throw new TypeError(`segment ${k} of the path is no string`);
    if (segment.includes("\0")) throw new TypeError(`segment ${k} of the path holds a NUL`);
    if (!segment.isWellFormed()) throw new TypeError(`segment ${k} of the path holds half of a surrogate pair`);
  });
  return path;
}
