import { DeadlockError, LocktopusError, RefusedError, UnavailableError, type Blocker } from "./errors.js";
import type { Resource } from "./resource.js";

/** What the server tells of a lock. */
export interface LockInfo {
  /** The id of its session; "v1" for a client of version 1. */
  session?: string;
  name?: string;
  lock: number;
  /** Absent while it waits. */
  token?: string;
  state: string;
  /** Those that are about the path which was asked for. */
  resources?: Resource[];
  /** It was too long: its name, its note, and some resources are left out. */
  cut?: boolean;
  note?: string;
  /** How long it has been held, or has waited; absent for clients of version 1. */
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
  epoch?: string;
  durable?: boolean;
  last_id?: number;
  first_event?: number;
  message_bytes?: number;
  message_values?: number;
  lock?: number;
  n?: number;
  state?: string;
  token?: string;
  slots?: number[];
  lease_ms?: number;
  change?: string;
  next?: string;
  notice?: string;
  ms?: number;
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
  if (is("unavailable") || is("timeout") || is("upgrade_timeout")) return new UnavailableError(m.blockers ?? [], m.state ?? m.error);
  if (is("deadlock")) return new DeadlockError(m.cycle ?? []);
  if (is("denied")) return new RefusedError("denied", m.message ?? "", m.plugin ?? "", m.code ?? 0);
  if (m.error !== undefined) return new RefusedError(m.error, m.message ?? "");
  return undefined;
}
