// The conformance guest of the SDK for AssemblyScript: it answers with all that it reads.
// plugins/sdk/conformance/README.md says how.

import {
  Bytes, Connect, FORBIDDEN, Hook, Kind, Request, Rewriter, Segment, Verdict,
  allow, config, connect, deny, fault, identity, known, log, request, rewrite, unchanged,
} from "../locktopus";
export { locktopus_abi_1, locktopus_buffer } from "../locktopus";

// A report is lines of name=value. Only what fits into an answer is kept.
const KEPT_BYTES_MAX = 65535;
const KEPT = memory.data(KEPT_BYTES_MAX);
const report = new Bytes(KEPT);
let length: i32 = 0;
let hash: u64 = 0; // FNV-1a

function begin(): void {
  length = 0;
  hash = 0xcbf29ce484222325;
}

function put(byte: u8): void {
  hash = (hash ^ byte) * 0x100000001b3;
  if (length < KEPT_BYTES_MAX) store<u8>(KEPT + length, byte);
  length++;
}

function putText(text: string): void {
  for (let i = 0; i < text.length; i++) put(<u8>text.charCodeAt(i));
}

function putUnsigned(value: u64): void {
  if (value >= 10) putUnsigned(value / 10);
  put(<u8>(0x30 + value % 10));
}

function putHex(digit: u8): void {
  put(digit < 10 ? 0x30 + digit : 0x61 - 10 + digit);
}

function number(name: string, value: i64): void {
  putText(name);
  put(0x3d);
  if (value < 0) put(0x2d);
  putUnsigned(value < 0 ? 0 - value : value);
  put(0x0a);
}

function bytes<T>(name: string, value: T): void {
  putText(name);
  put(0x3d);
  for (let i = 0, n = value.length; i < n; i++) putEscaped(value[i]);
  put(0x0a);
}

function putEscaped(byte: u8): void {
  if (byte >= 0x20 && byte <= 0x7e && byte != 0x5c) {
    put(byte);
    return;
  }
  putText("\\x");
  putHex(byte >> 4);
  putHex(byte & 15);
}

function end(): Bytes {
  if (length > KEPT_BYTES_MAX) {
    const wholeLength = length;
    const wholeHash = hash;
    begin();
    putText("long=");
    putUnsigned(wholeLength);
    putText(" hash=");
    for (let shift: u64 = 64; shift > 0; shift -= 4) putHex(<u8>(wholeHash >> (shift - 4) & 15));
    put(0x0a);
  }
  report.set(KEPT, length);
  return report;
}

const CONFIG_BYTES_MAX = 65536;
const CONFIG = memory.data(CONFIG_BYTES_MAX);
const kept = new Bytes(CONFIG);

function startsWith(b: Bytes, start: string): bool {
  if (b.length < start.length) return false;
  for (let i = 0; i < start.length; i++) {
    if (b[i] != start.charCodeAt(i)) return false;
  }
  return true;
}

export function locktopus_init(n: i32): Verdict {
  const c = config(n);
  memory.copy(CONFIG, c.address, c.length);
  kept.set(CONFIG, c.length);
  if (startsWith(kept, '{"refuse"')) return deny(0, "refused");
  if (startsWith(kept, '{"fault"')) return fault("faulty");
  return allow();
}

function reportRequest(r: Request): Bytes {
  begin();
  number("now", r.now);
  bytes("namespace", r.namespace);
  bytes("principal", r.principal);
  bytes("context", r.context);
  bytes("remote", r.remote);
  number("operation", r.operation);
  number("resources", r.count);
  for (let i = 0; i < r.count; i++) {
    const resource = r.resource(i);
    const path = resource.path;
    number("resource", i);
    number("mode", resource.mode);
    number("segments", resource.depth);
    bytes("path", path);
    for (let s = path.first(); path.has(s); s = s.next()) bytes("segment", s);
    number("under-context", path.under(r.context));
    number("under-principal", path.underSegment(r.principal));
  }
  return end();
}

function logPaths(r: Request): Verdict {
  for (let i = 0; i < r.count; i++) {
    const resource = r.resource(i);
    log(resource.mode, resource.path);
  }
  return allow();
}

const LONG_BYTES = 70000;
const LONG = memory.data(LONG_BYTES);
const long = new Bytes(LONG, LONG_BYTES);

function denyAtLength(): Verdict {
  for (let i = 0; i < LONG_BYTES; i += 2) {
    store<u8>(LONG + i, 0xc3);
    store<u8>(LONG + i, 0xa9, 1);
  }
  return deny(0, long);
}

export function locktopus_authorize(n: i32): Verdict {
  const r = request(n);
  check(n, r.length, r.hook == Hook.Authorize);
  if (r.principal.equals("!allow")) return allow();
  if (r.principal.equals("!deny")) return deny(<u8>r.now, r.context);
  if (r.principal.equals("!fault")) return fault(r.context);
  if (r.principal.equals("!known")) return known(r.operation) ? allow() : deny(0, "unknown operation");
  if (r.principal.equals("!config")) {
    begin();
    bytes("config", kept);
    return deny(0, end());
  }
  if (r.principal.equals("!log")) return logPaths(r);
  if (r.principal.equals("!long")) return denyAtLength();
  if (r.principal.equals("!trap")) throw new Error("as asked");
  return deny(0, reportRequest(r));
}

/** Throws unless the fields that no report tells of are as they should be. */
function check(n: i32, length: u32, hook: bool): void {
  if (n != length || !hook) throw new Error("a field is wrong");
}

function reportConnect(c: Connect): Bytes {
  begin();
  number("now", c.now);
  bytes("namespace", c.namespace);
  bytes("remote", c.remote);
  bytes("path", c.urlPath);
  bytes("query", c.rawQuery);
  number("tls", c.tls);
  number("verified", c.verified);
  number("entries", c.count);
  for (let i = 0; i < c.count; i++) {
    const e = c.entry(i);
    number("entry", i);
    number("kind", e.kind);
    bytes("name", e.name);
    bytes("value", e.value);
  }
  return end();
}

function reportFound(c: Connect): Bytes {
  const value = c.find(<u8>c.now, c.rawQuery);
  begin();
  number("found", value != null);
  if (value) bytes<Bytes>("value", value);
  return end();
}

const nothing = new Bytes();

/** The credential of this name, empty if there is none. */
function credential(c: Connect, name: string): Bytes {
  const value = c.find(Kind.Credential, name);
  return value ? value : nothing;
}

export function locktopus_authenticate(n: i32): Verdict {
  const c = connect(n);
  check(n, c.length, c.hook == Hook.Authenticate);
  if (c.urlPath.equals("/!allow")) return allow();
  if (c.urlPath.equals("/!deny")) return deny(<u8>c.now, c.rawQuery);
  if (c.urlPath.equals("/!fault")) return fault(c.rawQuery);
  if (c.urlPath.equals("/!find")) return deny(0, reportFound(c));
  if (c.urlPath.equals("/!identity")) {
    return identity(<u32>c.now, credential(c, "principal"), credential(c, "context"));
  }
  return deny(FORBIDDEN, reportConnect(c));
}

export function locktopus_normalize(n: i32): Verdict {
  const r = request(n);
  check(n, r.length, r.hook == Hook.Normalize);
  if (r.namespace.equals("!unchanged")) return unchanged();
  if (r.namespace.equals("!deny")) return deny(9, "not here");
  if (r.namespace.equals("!fault")) return fault("cannot");
  if (r.namespace.equals("!report")) return deny(0, reportRequest(r));
  const paths = rewrite();
  for (let i = 0; i < r.count; i++) {
    const path = r.resource(i).path;
    for (let s = path.first(); path.has(s); s = s.next()) rewriteSegment(paths, s);
    paths.end();
  }
  return paths.verdict();
}

/** Writes a segment with small letters. It changes it where it lies, in the buffer. */
function rewriteSegment(paths: Rewriter, segment: Segment): void {
  if (segment.equals(".")) return;
  if (segment.equals("nothing")) return paths.segment("");
  if (segment.equals("nul")) return paths.segment("a\0b");
  if (segment.equals("twice")) paths.segment(segment);
  for (let i = 0, n = segment.length; i < n; i++) {
    const byte = segment[i];
    if (byte >= 0x41 && byte <= 0x5a) segment[i] = byte + 0x20;
  }
  paths.segment(segment);
}
