import { RefusedError } from "./errors.js";
import type { Request } from "./message.js";
import { Party, type Resource } from "./resource.js";

// What a call is given is checked before anything is sent: the server would end the connection, on which others rely, too.

/** The largest number of milliseconds, and of anything else: what JSON holds exactly in all languages. */
const most = Number.MAX_SAFE_INTEGER;

/** A time in whole milliseconds; undefined if there is none, or no end to it. */
export function milliseconds(time: number | undefined, what: string): number | undefined {
  if (time === undefined || time === Infinity) return undefined;
  if (typeof time !== "number" || !(Math.ceil(time) <= most)) throw new TypeError(`${what} must be a number of milliseconds, at most ${most}, but is ${shown(time)}`);
  return Math.max(0, Math.ceil(time));
}

/** The same of a time that must not be over before it begins. */
export function span(time: number | undefined, what: string): number | undefined {
  const ms = milliseconds(time, what);
  if (ms !== undefined && time! <= 0) throw new TypeError(`${what} must be above 0, but is ${shown(time)}`);
  return ms;
}

/** A path, as it is now: whoever gave it may change it. */
export function checked(path: readonly string[]): readonly string[] {
  if (!Array.isArray(path)) throw new TypeError(`the path must be an array of strings, such as ["orders"], but is ${shown(path)}`);
  return Array.from(path, (segment, k) => checkedText(segment, `segment ${k} of the path`));
}

export function checkedText(text: string, what: string): string {
  if (typeof text !== "string") throw new TypeError(`${what} is no string`);
  if (text.includes("\0")) throw new TypeError(`${what} holds a NUL`);
  if (!text.isWellFormed()) throw new TypeError(`${what} holds half of a surrogate pair`);
  return text;
}

/** A resource, with nothing in it that isn't known. */
export function checkedResource(resource: Resource, k: number): Resource {
  if (typeof resource !== "object" || resource === null) throw new TypeError(`resource ${k} must be made by read, write or permit, but is ${shown(resource)}`);
  const { type, path, limit, weight } = resource;
  const permit = type === "permit";
  if (!permit && type !== "read" && type !== "write") throw new TypeError(`resource ${k}: its type must be read, write or permit, but is ${shown(type)}`);
  const whole = (n: unknown) => n === undefined || (Number.isInteger(n) && (n as number) > 0 && (n as number) < 2 ** 32);
  if (permit ? limit === undefined || !whole(limit) || !whole(weight) : limit !== undefined || weight !== undefined) {
    throw new TypeError(`resource ${k}: permits, and nothing else, have a limit, and perhaps a weight, which are whole numbers from 1`);
  }
  try {
    return { type, path: checked(path), ...(permit && { limit, ...(weight !== undefined && { weight }) }) };
  } catch (error) {
    throw error instanceof TypeError ? new TypeError(`resource ${k}: ${error.message}`) : error;
  }
}

export function checkedParty(party: Party | undefined): Party {
  if (party !== undefined && !Number.isSafeInteger(party?.number)) throw new TypeError(`the party must be made by new Party(), but is ${shown(party)}`);
  return party ?? new Party();
}

/** Which part of a list is wanted. */
export function checkedPage({ limit, after }: { limit?: number; after?: string }): { limit?: number; after?: string } {
  if (limit !== undefined && !(Number.isSafeInteger(limit) && limit > 0)) throw new TypeError(`limit must be a whole number from 1, but is ${shown(limit)}`);
  if (after !== undefined && !(typeof after === "string" && /^(0|[1-9][0-9]{0,18})$/.test(after))) {
    throw new TypeError(`after must be what an inspect before said as next, but is ${shown(after)}`);
  }
  return { ...(limit !== undefined && { limit }), ...(after !== undefined && { after }) };
}

/** What goes into a hello, and times that the client counts itself. */
export function checkOptions({ name, ttl, margin, backoff }: { name?: string; ttl?: number; margin?: number; backoff?: { min: number; max: number } }): void {
  if (name !== undefined) checkedText(name, "the name");
  for (const [time, what] of [[ttl, "ttl"], [margin, "margin"], [backoff?.min, "backoff.min"], [backoff?.max, "backoff.max"]] as const) {
    if (time !== undefined && !(typeof time === "number" && time >= 0 && time <= most)) {
      throw new TypeError(`${what} must be a number of milliseconds from 0 to ${most}, but is ${shown(time)}`);
    }
  }
}

export function checkedCredentials(credentials: Record<string, string>): Record<string, string> {
  for (const [name, value] of Object.entries(credentials)) {
    checkedText(name, "the name of a credential");
    checkedText(value, `the credential ${JSON.stringify(name)}`);
  }
  return credentials;
}

/** The most that the server takes in one message; undefined: it hasn't said. */
export interface Bounds {
  bytes?: number;
  values?: number;
}

/** What is wrong with a request's size, in the way the server would say it. */
export function excess(request: Request, text: string, { bytes, values }: Bounds): RefusedError | undefined {
  // A unit of the text is three bytes at most.
  const size = bytes !== undefined && 3 * text.length > bytes ? new TextEncoder().encode(text).length : 0;
  if (bytes !== undefined && size > bytes) {
    return new RefusedError("limit", `the request has ${size} bytes, at most ${bytes} are allowed (limits.message_bytes): ask for fewer resources, with shorter paths`);
  }
  // Each value has a comma, a colon or a bracket to itself in the text.
  const count = values !== undefined && text.length > values ? valuesIn(request) : 0;
  if (values !== undefined && count > values) {
    return new RefusedError("limit", `the request has ${count} members, resources and segments, at most ${values} are allowed (limits.message_values): ask for fewer resources, with fewer segments`);
  }
  return undefined;
}

/** What the server counts: members, resources, and segments of paths. */
function valuesIn(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return Object.values(value).reduce((sum: number, inner) => sum + (inner === undefined ? 0 : 1 + valuesIn(inner)), 0);
}

/** For people; nothing of it is run. */
function shown(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value) : typeof value === "object" && value !== null ? "an object" : typeof value === "function" ? "a function" : String(value);
}
