// What a Locktopus plugin in AssemblyScript is built on (ABI 1). It needs no package.
//
//     import { Mode, allow, deny, known, request } from "./locktopus";
//     export { locktopus_abi_1, locktopus_buffer } from "./locktopus";
//
//     export function locktopus_authorize(n: i32): u64 {
//       const r = request(n);
//       if (!known(r.operation)) return deny(0, "unknown operation");
//       for (let i = 0; i < r.count; i++) {
//         const resource = r.resource(i);
//         if (resource.mode != Mode.Read && !resource.path.underSegment(r.principal)) {
//           return deny(1, "only your own subtree is yours to write");
//         }
//       }
//       return allow();
//     }
//
//     asc plugin.ts -O3 -o plugin.wasm
//
// Export the hooks that the plugin serves: locktopus_authenticate, locktopus_authorize and
// locktopus_normalize; locktopus_init gets the configuration. docs/PLUGINS.md tells what each may
// answer.
//
// All bytes of a question lie in one buffer, and nothing is copied: what is read holds until the
// hook returns, and a hook may change it. Calls never run at the same time. Nothing here asks for
// memory, but for toString. What you ask for (each object, array and joined string) is garbage
// that the default runtime collects during calls that people wait for. Never build with
// `--runtime stub`, unless you ask for nothing: it frees nothing, and a plugin lives as long as
// the server.

/** A hook's answer. 0 is none: the server takes it for a fault. */
export type Verdict = u64;

export const enum Hook { Init = 1, Authenticate = 2, Authorize = 3, Normalize = 4 }

export const enum Status { Allow = 1, Deny = 2, Rewritten = 3, Fault = 4 }

/** What a client wants to do. Deny what isn't known(). */
export const enum Operation { Lock = 1, Inspect = 2, Watch = 3, ForceRelease = 4 }

/** How a resource is wanted. Take a mode that you don't know for Write. */
export const enum Mode { Read = 0, Write = 1, Permit = 2 }

/**
 * Where an entry of authenticate is from: an HTTP header, its name in lower case; a parameter of
 * the URL's query, decoded; a fact about the TLS connection; the hello of protocol version 2.
 */
export const enum Kind { Header = 0, Parameter = 1, Fact = 2, Credential = 3 }

export const enum Level { Debug = 0, Info = 1, Warn = 2, Error = 3 }

/** As the code of a denial by authenticate, it asks for HTTP 403 instead of 401. */
export const FORBIDDEN: u8 = 3;

const BUFFER_BYTES = 65536;
const TEXT_BYTES_MAX = 65535; // what the 16 bits of a length can tell

/** Where the server writes its questions. */
const BUFFER = memory.data(BUFFER_BYTES);

/** The version of the ABI stands in the name; the result is the lowest minor version needed. */
export function locktopus_abi_1(): u32 {
  return 0;
}

export function locktopus_buffer(size: u32): usize {
  return size <= <u32>BUFFER_BYTES ? BUFFER : 0;
}

// ---- bytes ----
//
// Functions that take bytes are generic: they take Bytes, Path, Segment, ArrayBuffer, Uint8Array,
// and string, which they turn into UTF-8. For what may be null, they trap if it is.

/** Bytes in the buffer, or wherever a plugin says. They are not text, and don't end in NUL. */
@unmanaged
export class Bytes {
  private offset: u32; // from the buffer's start
  private size: u32;

  /** Make one for bytes of your own outside of hooks only: it is never freed. */
  constructor(address: usize = BUFFER, length: i32 = 0) {
    this.set(address, length);
  }

  set(address: usize, length: i32): void {
    this.offset = <u32>(address - BUFFER);
    this.size = length;
  }

  get address(): usize {
    return BUFFER + this.offset;
  }

  get length(): i32 {
    return this.size;
  }

  @operator("[]")
  private at(i: i32): u8 {
    if (<u32>i >= this.size) unreachable();
    return load<u8>(this.address + i);
  }

  @operator("[]=")
  private put(i: i32, byte: u8): void {
    if (<u32>i >= this.size) unreachable();
    store<u8>(this.address + i, byte);
  }

  equals<T>(other: T): bool {
    return same(this.address, this.length, addressOf(other), lengthOf(other));
  }

  /** A copy as text, which the runtime has to collect. */
  toString(): string {
    return String.UTF8.decodeUnsafe(this.address, this.length);
  }
}

/** One segment of a path: bytes up to a NUL, which isn't counted. */
@unmanaged
export class Segment {
  get address(): usize {
    return changetype<usize>(this);
  }

  get length(): i32 {
    let end = this.address;
    while (load<u8>(end) != 0) end++;
    return <i32>(end - this.address);
  }

  /** Bytes behind the end are those of the next segment. */
  @operator("[]")
  private at(i: i32): u8 {
    return load<u8>(this.address + i);
  }

  @operator("[]=")
  private put(i: i32, byte: u8): void {
    store<u8>(this.address + i, byte);
  }

  /** What comes next, which may be the path's end: ask has(). */
  next(): Segment {
    return changetype<Segment>(this.address + this.length + 1);
  }

  equals<T>(other: T): bool {
    return same(this.address, this.length, addressOf(other), lengthOf(other));
  }

  /** A copy as text, which the runtime has to collect. */
  toString(): string {
    return String.UTF8.decodeUnsafe(this.address, this.length);
  }
}

/** A path's segments, each ended by NUL. The empty path is the whole namespace. */
@unmanaged
export class Path extends Bytes {
  /**
   * Is the path the prefix, or below it? All are under the empty prefix; none is under one that
   * doesn't end in NUL, for "a" would hold "ab".
   */
  under<T>(prefix: T): bool {
    const start = addressOf(prefix);
    const n = lengthOf(prefix);
    if (n == 0) return true;
    return load<u8>(start + n - 1) == 0 && startsWith(this.address, this.length, start, n);
  }

  /**
   * Is this, which comes without NUL, the path's first segment? None is under an empty one, for
   * that is the principal of a client that no plugin named.
   */
  underSegment<T>(segment: T): bool {
    const start = addressOf(segment);
    const n = lengthOf(segment);
    if (n == 0 || n >= this.length || load<u8>(this.address + n) != 0) return false;
    return startsWith(this.address, n, start, n) && !hasNul(start, n);
  }

  /** All segments: `for (let s = path.first(); path.has(s); s = s.next())`. */
  first(): Segment {
    return changetype<Segment>(this.address);
  }

  /** Whether a segment is the path's, and not the end. */
  has(segment: Segment): bool {
    return segment.address < this.address + this.length;
  }
}

/** Where text lies as UTF-8 while it is compared or copied. */
const SCRATCH = memory.data(BUFFER_BYTES);

// @ts-ignore: decorator
@inline
function addressOf<T>(b: T): usize {
  if (isString<T>()) {
    encode(changetype<string>(b), SCRATCH, BUFFER_BYTES);
    return SCRATCH;
  } else if (isNullable<T>()) {
    return addressOf(b!);
  } else if (b instanceof ArrayBuffer) {
    return changetype<usize>(b);
  } else if (b instanceof Uint8Array) {
    return b.dataStart;
  } else {
    return b.address;
  }
}

// @ts-ignore: decorator
@inline
function lengthOf<T>(b: T): i32 {
  if (isString<T>()) {
    return String.UTF8.byteLength(changetype<string>(b));
  } else if (isNullable<T>()) {
    return lengthOf(b!);
  } else if (b instanceof ArrayBuffer) {
    return b.byteLength;
  } else {
    return b.length;
  }
}

/**
 * Writes text as UTF-8 and returns the number of bytes. It stops before the first character that
 * there is no room for. Half a character of UTF-16 becomes U+FFFD.
 */
function encode(text: string, to: usize, room: i32): i32 {
  let n = 0;
  for (let i = 0, units = text.length; i < units; i++) {
    let c: i32 = load<u16>(changetype<usize>(text) + (<usize>i << 1));
    if (c < 0x80 && n < room) {
      store<u8>(to + n++, <u8>c);
      continue;
    }
    c = text.codePointAt(i);
    if ((c & 0xfffff800) == 0xd800) c = 0xfffd;
    const size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    if (n + size > room) break;
    encodeLong(c, size, to + n);
    n += size;
    if (size == 4) i++; // it was two of UTF-16
  }
  return n;
}

/** The first byte begins with as many ones as there are bytes; each has 6 bits after that. */
function encodeLong(c: i32, size: i32, to: usize): void {
  for (let i = size - 1; i > 0; i--) {
    store<u8>(to + i, <u8>(0x80 | (c & 0x3f)));
    c >>= 6;
  }
  store<u8>(to, <u8>((0xff00 >> size) | c));
}

function startsWith(at: usize, n: i32, start: usize, startBytes: i32): bool {
  return n >= startBytes && memory.compare(at, start, startBytes) == 0;
}

function same(a: usize, aBytes: i32, b: usize, bBytes: i32): bool {
  return aBytes == bBytes && memory.compare(a, b, aBytes) == 0;
}

function hasNul(at: usize, n: i32): bool {
  for (const end = at + n; at < end; at++) {
    if (load<u8>(at) == 0) return true;
  }
  return false;
}

// ---- init ----

const CONFIG = memory.data(offsetof<Bytes>());

/** The configuration: a JSON object, or nothing. Its bytes are gone when locktopus_init returns. */
export function config(n: i32): Bytes {
  const c = changetype<Bytes>(CONFIG);
  c.set(BUFFER, n);
  return c;
}

// ---- authorize and normalize ----
//
// The classes of questions are not made: they are what lies in the buffer.

/** The question of authorize and normalize; n is the hook's parameter. */
export function request(n: i32): Request {
  return changetype<Request>(BUFFER);
}

@unmanaged
export class Request {
  private abi: u16;
  hook: u16;
  /** The question's bytes; they begin at changetype<usize>(this). */
  length: u32;
  /** The server's time in milliseconds since 1970; normalize: 0. */
  now: i64;
  private namespaceAt: u64;
  private principalAt: u64;
  private contextAt: u64;
  private remoteAt: u64;
  /** Normalize: 0. */
  operation: u32;
  /** The number of resources. */
  count: i32;
  private table: i32;
  private stride: i32;

  get namespace(): Bytes {
    return changetype<Bytes>(changetype<usize>(this) + offsetof<Request>("namespaceAt"));
  }

  /** Who the client is; empty if no plugin named it; normalize: empty, as the next two. */
  get principal(): Bytes {
    return changetype<Bytes>(changetype<usize>(this) + offsetof<Request>("principalAt"));
  }

  /** What the plugin that named the principal gave along. */
  get context(): Bytes {
    return changetype<Bytes>(changetype<usize>(this) + offsetof<Request>("contextAt"));
  }

  /** "ip:port"; empty on a unix socket. */
  get remote(): Bytes {
    return changetype<Bytes>(changetype<usize>(this) + offsetof<Request>("remoteAt"));
  }

  /** The resource i, counted from 0. A later version's entries may be longer. */
  resource(i: i32): Resource {
    return changetype<Resource>(changetype<usize>(this) + this.table + i * this.stride);
  }
}

export function known(operation: u32): bool {
  return operation >= <u32>Operation.Lock && operation <= <u32>Operation.ForceRelease;
}

@unmanaged
export class Resource {
  mode: u8;
  private zero: u8;
  /** The number of the path's segments. */
  depth: u16;
  private pathAt: u32;
  private pathBytes: u32;

  get path(): Path {
    return changetype<Path>(changetype<usize>(this) + offsetof<Resource>("pathAt"));
  }
}

// ---- authenticate ----

/** The question of authenticate; n is the hook's parameter. */
export function connect(n: i32): Connect {
  return changetype<Connect>(BUFFER);
}

@unmanaged
export class Connect {
  private abi: u16;
  hook: u16;
  /** The question's bytes; they begin at changetype<usize>(this). */
  length: u32;
  /** The server's time in milliseconds since 1970. */
  now: i64;
  private namespaceAt: u64;
  private remoteAt: u64;
  private urlPathAt: u64;
  private rawQueryAt: u64;
  private flags: u32;
  /** The number of entries. */
  count: i32;
  private table: i32;
  private stride: i32;

  get namespace(): Bytes {
    return changetype<Bytes>(changetype<usize>(this) + offsetof<Connect>("namespaceAt"));
  }

  /** "ip:port"; empty on a unix socket. */
  get remote(): Bytes {
    return changetype<Bytes>(changetype<usize>(this) + offsetof<Connect>("remoteAt"));
  }

  /** The path of the URL that was asked for. */
  get urlPath(): Bytes {
    return changetype<Bytes>(changetype<usize>(this) + offsetof<Connect>("urlPathAt"));
  }

  /** The query of that URL, as it came. Its parameters are entries, too. */
  get rawQuery(): Bytes {
    return changetype<Bytes>(changetype<usize>(this) + offsetof<Connect>("rawQueryAt"));
  }

  /** The connection is encrypted. */
  get tls(): bool {
    return (this.flags & 1) != 0;
  }

  /** The client showed a certificate, and the server verified it. */
  get verified(): bool {
    return (this.flags & 2) != 0;
  }

  /**
   * The entry i, counted from 0. They come by kind, then by name; a repeated header is several
   * entries. A later version's entries may be longer.
   */
  entry(i: i32): Entry {
    return changetype<Entry>(changetype<usize>(this) + this.table + i * this.stride);
  }

  /** The value of the first entry of this kind and name, or null. */
  find<T>(kind: i32, name: T): Bytes | null {
    const at = addressOf(name);
    const n = lengthOf(name);
    for (let i = 0; i < this.count; i++) {
      const e = this.entry(i);
      if (e.kind == kind && same(e.name.address, e.name.length, at, n)) return e.value;
    }
    return null;
  }
}

@unmanaged
export class Entry {
  kind: u8;
  private zero: u8;
  private zeros: u16;
  private nameAt: u32;
  private nameBytes: u32;
  private valueAt: u32;
  private valueBytes: u32;

  get name(): Bytes {
    return changetype<Bytes>(changetype<usize>(this) + offsetof<Entry>("nameAt"));
  }

  get value(): Bytes {
    return changetype<Bytes>(changetype<usize>(this) + offsetof<Entry>("valueAt"));
  }
}

// ---- answers ----

/** From authenticate, it names nobody. */
export function allow(): Verdict {
  return Status.Allow;
}

/** From normalize: the paths are fine as they are. */
export function unchanged(): Verdict {
  return Status.Allow;
}

/**
 * Denies with a code that clients get to see, and a text for people, in UTF-8. The server cuts it
 * to 256 bytes.
 */
export function deny<T>(code: u8, text: T): Verdict {
  return verdictWith(Status.Deny, code, text);
}

/** Denies because the plugin cannot judge. The text goes to the server's log. */
export function fault<T>(text: T): Verdict {
  return verdictWith(Status.Fault, 0, text);
}

function verdict(status: u64, code: u64, at: u64, n: u64): Verdict {
  return (at << 32) | (n << 16) | (code << 8) | status;
}

/** Where a string lies as UTF-8 until the server has read it. Other bytes stay where they are. */
const TEXT = memory.data(TEXT_BYTES_MAX);

function verdictWith<T>(status: Status, code: u8, text: T): Verdict {
  if (isString<T>()) {
    return verdict(status, code, TEXT, encode(changetype<string>(text), TEXT, TEXT_BYTES_MAX));
  } else {
    const at = addressOf(text);
    return verdict(status, code, at, cut(at, lengthOf(text)));
  }
}

/** As many of n bytes as an answer can have, ended between two characters. */
function cut(at: usize, n: i32): i32 {
  if (n <= TEXT_BYTES_MAX) return n;
  n = TEXT_BYTES_MAX;
  while (n > 0 && (load<u8>(at + n) & 0xc0) == 0x80) n--;
  return n;
}

const IDENTITY_BYTES = 8; // before the principal
const PRINCIPAL_BYTES_MAX = 256;
const CONTEXT_BYTES_MAX = 4096;

/** Where an identity is put together. */
const IDENTITY = memory.data(IDENTITY_BYTES + PRINCIPAL_BYTES_MAX + CONTEXT_BYTES_MAX);

/**
 * Allows, from authenticate, and says who the client is, for how many seconds (0: as long as the
 * connection), and what authorize is to know about it. The principal has 1 to 256 bytes of UTF-8
 * without control characters, the context up to 4096 bytes.
 */
export function identity<P, C>(seconds: u32, principal: P, context: C): Verdict {
  const p = lengthOf(principal);
  const c = lengthOf(context);
  if (p == 0 || p > PRINCIPAL_BYTES_MAX || c > CONTEXT_BYTES_MAX) {
    return fault("an identity needs a principal of 1 to 256 bytes and a context of at most 4096");
  }
  store<u32>(IDENTITY, seconds);
  store<u16>(IDENTITY, <u16>p, 4);
  store<u16>(IDENTITY, <u16>c, 6);
  memory.copy(IDENTITY + IDENTITY_BYTES, addressOf(principal), p);
  memory.copy(IDENTITY + IDENTITY_BYTES + p, addressOf(context), c);
  return verdict(Status.Allow, 0, IDENTITY, IDENTITY_BYTES + p + c);
}

/** Where rewritten paths are put together. */
const REWRITTEN = memory.data(TEXT_BYTES_MAX);

const REWRITER = memory.data(offsetof<Rewriter>());

/** Begins normalize's answer if paths have to change. There is room for one. */
export function rewrite(): Rewriter {
  const w = changetype<Rewriter>(REWRITER);
  w.begin();
  return w;
}

/** Writes normalize's answer: for each resource in order its segments, then end(). */
@unmanaged
export class Rewriter {
  private length: i32;
  private fault: usize; // the first: a literal, or null

  begin(): void {
    this.length = 0;
    this.fault = 0;
  }

  /**
   * Adds a segment to the path. It may neither be empty nor contain NUL: the answer is a fault
   * then.
   */
  segment<T>(segment: T): void {
    this.add(addressOf(segment), lengthOf(segment));
  }

  private add(at: usize, n: i32): void {
    if (n == 0) {
      this.fail("an empty segment cannot be rewritten");
    } else if (hasNul(at, min(n, BUFFER_BYTES))) {
      this.fail("a segment cannot contain NUL");
    } else if (n >= TEXT_BYTES_MAX - this.length) {
      this.fail("the rewritten paths take more than 65535 bytes");
    } else {
      memory.copy(REWRITTEN + this.length, at, n);
      this.length += n;
      this.end();
    }
  }

  /** Ends the path. */
  end(): void {
    if (this.length == TEXT_BYTES_MAX) {
      this.fail("the rewritten paths take more than 65535 bytes");
      return;
    }
    store<u8>(REWRITTEN + this.length, 0);
    this.length++;
  }

  private fail(text: string): void {
    if (this.fault == 0) this.fault = changetype<usize>(text);
  }

  /** The answer: as many paths as were ended. */
  verdict(): Verdict {
    if (this.fault != 0) return fault(changetype<string>(this.fault));
    return verdict(Status.Rewritten, 0, REWRITTEN, this.length);
  }
}

// ---- log ----

// @ts-ignore: decorator
@external("locktopus", "log")
declare function hostLog(level: i32, at: usize, n: i32): void;

/** Writes a line to the server's log: up to 1 KiB, and not too many a second. */
export function log<T>(level: i32, text: T): void {
  hostLog(level, addressOf(text), min(lengthOf(text), BUFFER_BYTES));
}
