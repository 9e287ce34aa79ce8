/** A request that is in the way. */
export interface Blocker {
  /** The session's name, or where it has none its id; "v1" for a client of version 1. */
  session: string;
  note?: string;
  lock?: number;
  type: string;
  path: string[];
  /** "enqueued": it came first. */
  state: "acquired" | "upgrading" | "enqueued";
  /** How long it has been held, or has waited, in milliseconds; absent for clients of version 1. */
  since_ms?: number;
}

/** Everything that this package throws or rejects with, but for misuse (TypeError) and the caller's own aborts. */
export class LocktopusError extends Error {
  override name = "LocktopusError";
}

/** The client was closed. */
export class ClosedError extends LocktopusError {
  override name = "ClosedError";
  constructor() {
    super("the client is closed");
  }
}

/** The lock was released by its owner. */
export class ReleasedError extends LocktopusError {
  override name = "ReleasedError";
  constructor() {
    super("the lock was released");
  }
}

/** The lock is no longer held. */
export class LostError extends LocktopusError {
  override name = "LostError";
  /**
   * @param state "expired" when a lease or the session was over, "revoked" when an administrator took it, "shutdown"
   * when the server was stopped, "gone" when it knows neither session nor lock, "deadline" when nothing was heard of the server for too long.
   */
  constructor(readonly state: string, text = "") {
    super(`the lock is lost: ${state}${text && ": " + text}`);
  }
}

/** The lock could not be had in time. */
export class UnavailableError extends LocktopusError {
  override name = "UnavailableError";
  /**
   * @param blockers the first few that are in the way
   * @param state "unavailable" when there was no time to wait, "timeout" or "upgrade_timeout" otherwise
   */
  constructor(readonly blockers: Blocker[], readonly state = "unavailable") {
    super("not to be had in time" + inTheWay(blockers));
  }
}

/**
 * A call has ended while there was no connection to the server: its `wait` was over, or its signal has timed out. An
 * abort of the caller's own is passed on as it is.
 */
export class OfflineError extends LocktopusError {
  override name = "OfflineError";
  /**
   * @param server such as ws://127.0.0.1:9009
   * @param trouble with the last attempt to connect, or with the connection that was lost
   * @param cause what the call would have ended with over a connection: the signal's reason, or an UnavailableError
   */
  constructor(readonly server: string, readonly trouble: Error, override readonly cause: Error) {
    super(`there is no connection to ${server} (${trouble.message.replace(`cannot connect to ${server}: `, "")}): ${cause.message}`);
  }
}

/** Waiting would never have ended: each of the sessions waits for the next, and the last for this one. */
export class DeadlockError extends LocktopusError {
  override name = "DeadlockError";
  constructor(readonly cycle: Blocker[]) {
    super("that would be a deadlock" + inTheWay(cycle));
  }
}

/** The server has refused a request, or the client. The code "denied" is a plugin's word. */
export class RefusedError extends LocktopusError {
  override name = "RefusedError";
  constructor(readonly code: string, text: string, readonly plugin?: string, readonly pluginCode?: number) {
    super(plugin === undefined ? `${code}: ${text}` : `denied by plugin "${plugin}" (code ${pluginCode}): ${text}`);
  }
}

/** A token is too old: its lock was lost, and another holder has been here since. */
export class StaleError extends LocktopusError {
  override name = "StaleError";
  constructor(readonly token: bigint, readonly least: bigint) {
    super(`token ${token} is stale: ${least} or more is needed, as a later holder has been here`);
  }
}

/** Other clients' texts are quoted; "\\" stands before a "/" or "\\" of a segment's own. */
function pathText(path: string[]): string {
  return JSON.stringify(path.map((s) => s.replace(/[\\/]/g, "\\$&")).join("/"));
}

/** A name that could pass for more than a name is quoted. */
function nameText(name: string): string {
  return /^[A-Za-z0-9\-_.:@/]+$/.test(name) ? name : JSON.stringify(name);
}

function inTheWay(blockers: Blocker[]): string {
  return blockers
    .map((b) => `${b.type} of ${pathText(b.path)}, ${b.state} by ${nameText(b.session)}${b.since_ms ? ` for ${b.since_ms} ms` : ""}${b.note ? ` (${JSON.stringify(b.note)})` : ""}`)
    .map((text, i) => (i === 0 ? ": " : ", then ") + text)
    .join("");
}
