import { DeadlockError, LocktopusError, RefusedError, UnavailableError, type Blocker } from "./errors.js";
import type { Resource } from "./resource.js";

/** What the server tells of a lock. */
export interface LockInfo {
  session?: string;
  name?: string;
  lock: number;
  /** Absent while it waits. */
  token?: string;
  state: string;
  resources?: Resource[];
  note?: string;
  since_ms?: number;
  lease_ms?: number;
  slots?: number[];
  waits_for?: Blocker[];
}

/** Anything a client sends. */
export interface Request {
  op: string;
  id?: number;
  [member: string]: unknown;
}

/** Anything a server says. */
export interface Message {
  op?: string;
  id?: number;
  event?: number;
  watch?: number;
  session?: string;
  secret?: string;
  ttl_ms?: number;
  first_event?: number;
  lock?: number | LockInfo;
  state?: string;
  token?: string;
  slots?: number[];
  lease_ms?: number;
  change?: string;
  next?: string;
  notice?: string;
  blockers?: Blocker[];
  cycle?: Blocker[];
  locks?: LockInfo[];
  error?: string;
  message?: string;
  plugin?: string;
  code?: number;
}

/** The error that an answer is; undefined if it is none. */
export function refusal(m: Message): LocktopusError | undefined {
  const is = (word: string) => m.state === word || m.error === word;
  if (is("unavailable") || is("timeout") || is("upgrade_timeout")) return new UnavailableError(m.blockers ?? []);
  if (is("deadlock")) return new DeadlockError(m.cycle ?? []);
  if (is("denied")) return new RefusedError("denied", m.message ?? "", m.plugin ?? "", m.code ?? 0);
  if (m.error !== undefined) return new RefusedError(m.error, m.message ?? "");
  return undefined;
}
