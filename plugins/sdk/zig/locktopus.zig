//! What a Locktopus plugin in Zig is built on (ABI 1). It needs no package.
//!
//!     const lk = @import("locktopus.zig");
//!
//!     export fn locktopus_authorize(n: u32) lk.Verdict {
//!         const r = lk.Request.read(n);
//!         if (!r.operation.isKnown()) return lk.deny(0, "unknown operation");
//!         var resources = r.resources();
//!         while (resources.next()) |resource| {
//!             if (resource.mode != .read and !resource.path.underSegment(r.principal))
//!                 return lk.deny(1, "only your own subtree is yours to write");
//!         }
//!         return lk.allow();
//!     }
//!
//!     zig build-lib -target wasm32-freestanding -dynamic -rdynamic -O ReleaseSafe -fstrip \
//!         -femit-bin=plugin.wasm plugin.zig
//!
//! That is for Zig 0.11. Later versions say `build-exe -fno-entry --stack 65536` instead of
//! `build-lib -dynamic`.
//!
//! Export the hooks that the plugin serves: locktopus_authenticate, locktopus_authorize and
//! locktopus_normalize; locktopus_init gets the configuration. docs/PLUGINS.md tells what each may
//! answer.
//!
//! All bytes of a question lie in one buffer, and nothing is copied: what is read holds until the
//! hook returns, and a hook may change it. Calls never run at the same time. Nothing here asks for
//! memory. A plugin lives as long as the server: what a hook asks for, it has to free, best with a
//! FixedBufferAllocator of its own in each call.

const std = @import("std");

/// Which hook is asked.
pub const Hook = enum(u16) { init = 1, authenticate = 2, authorize = 3, normalize = 4, _ };

pub const Status = enum(u8) { none = 0, allow = 1, deny = 2, rewritten = 3, fault = 4, _ };

/// What a client wants to do. Deny what isn't known.
pub const Operation = enum(u32) {
    lock = 1,
    inspect = 2,
    watch = 3,
    force_release = 4,
    _,

    pub fn isKnown(operation: Operation) bool {
        return switch (operation) {
            .lock, .inspect, .watch, .force_release => true,
            _ => false,
        };
    }
};

/// How a resource is wanted. Take a mode that you don't know for write.
pub const Mode = enum(u8) { read = 0, write = 1, permit = 2, _ };

/// Where an entry of authenticate is from.
pub const Kind = enum(u8) {
    /// An HTTP header; its name is in lower case.
    header = 0,
    /// A parameter of the URL's query, decoded.
    parameter = 1,
    /// A fact about the TLS connection.
    fact = 2,
    /// Given in the hello of protocol version 2.
    credential = 3,
    _,
};

pub const Level = enum(i32) { debug = 0, info = 1, warn = 2, err = 3, _ };

/// As the code of a denial by authenticate, it asks for HTTP 403 instead of 401.
pub const forbidden: u8 = 3;

const buffer_bytes = 65536;
const text_bytes_max = 65535; // what the 16 bits of a length can tell

/// Where the server writes its questions.
var buffer: [buffer_bytes]u8 = undefined;

/// The version of the ABI stands in the name; the result is the lowest minor version needed.
export fn locktopus_abi_1() u32 {
    return 0;
}

export fn locktopus_buffer(size: u32) ?*anyopaque {
    return if (size <= buffer_bytes) &buffer else null;
}

/// The configuration: a JSON object, or nothing; n is the parameter of locktopus_init. Its bytes
/// are gone when that returns.
pub fn config(n: u32) []u8 {
    return buffer[0..n];
}

/// A number of the buffer. Nothing in it is aligned.
fn numberAt(comptime T: type, at: usize) T {
    return @as(*align(1) const T, @ptrCast(&buffer[at])).*;
}

/// Bytes that the buffer refers to by their place and length.
fn bytesAt(at: usize) []u8 {
    return buffer[numberAt(u32, at)..][0..numberAt(u32, at + 4)];
}

/// The places of a table's entries, one after the other. A later version's entries may be longer.
const Table = struct {
    left: u32,
    at: usize,
    stride: usize,

    fn read() Table {
        return .{ .left = numberAt(u32, 52), .at = numberAt(u32, 56), .stride = numberAt(u32, 60) };
    }

    fn next(table: *Table) ?usize {
        if (table.left == 0) return null;
        defer table.at += table.stride;
        table.left -= 1;
        return table.at;
    }
};

// ---- authorize and normalize ----

/// A question of authorize or normalize.
pub const Request = struct {
    hook: Hook,
    /// The server's time in milliseconds since 1970; normalize: 0.
    now: i64,
    /// The one that the client connects to.
    namespace: []u8,
    /// Who the client is; empty if no plugin named it; normalize: empty, as the next two.
    principal: []u8,
    /// What the plugin that named the principal gave along.
    context: []u8,
    /// "ip:port"; empty on a unix socket.
    remote: []u8,
    /// Normalize: 0.
    operation: Operation,
    /// The number of resources.
    count: u32,
    /// The whole question, for fields that aren't known here.
    bytes: []u8,

    /// Reads a question; n is the hook's parameter. What isn't used costs nothing.
    pub fn read(n: u32) Request {
        return .{
            .hook = @enumFromInt(numberAt(u16, 2)),
            .now = numberAt(i64, 8),
            .namespace = bytesAt(16),
            .principal = bytesAt(24),
            .context = bytesAt(32),
            .remote = bytesAt(40),
            .operation = @enumFromInt(numberAt(u32, 48)),
            .count = numberAt(u32, 52),
            .bytes = buffer[0..n],
        };
    }

    /// All resources in order.
    pub fn resources(_: Request) Resources {
        return .{ .table = Table.read() };
    }
};

pub const Resources = struct {
    table: Table,

    pub fn next(resources: *Resources) ?Resource {
        const at = resources.table.next() orelse return null;
        return .{
            .mode = @enumFromInt(buffer[at]),
            .depth = numberAt(u16, at + 2),
            .path = .{ .bytes = bytesAt(at + 4) },
        };
    }
};

pub const Resource = struct {
    mode: Mode,
    /// The number of the path's segments.
    depth: u16,
    path: Path,
};

pub const Path = struct {
    /// The segments, each ended by NUL. The empty path is the whole namespace.
    bytes: []u8,

    /// Is the path the prefix, or below it? All are under the empty prefix; none is under one that
    /// doesn't end in NUL, for "a" would hold "ab".
    pub fn under(path: Path, prefix: []const u8) bool {
        if (prefix.len == 0) return true;
        return prefix[prefix.len - 1] == 0 and startsWith(path.bytes, prefix);
    }

    /// Is this, which comes without NUL, the path's first segment? None is under an empty one, for
    /// that is the principal of a client that no plugin named.
    pub fn underSegment(path: Path, segment: []const u8) bool {
        const n = segment.len;
        if (n == 0 or n >= path.bytes.len or path.bytes[n] != 0) return false;
        return startsWith(path.bytes, segment) and lengthOfSegment(segment) == n;
    }

    /// The segments in order, without their NULs.
    pub fn segments(path: Path) Segments {
        return .{ .rest = path.bytes };
    }
};

pub const Segments = struct {
    rest: []u8,

    pub fn next(segments: *Segments) ?[]u8 {
        const rest = segments.rest;
        if (rest.len == 0) return null;
        const n = lengthOfSegment(rest);
        segments.rest = rest[n + 1 ..];
        return rest[0..n];
    }
};

fn startsWith(bytes: []const u8, start: []const u8) bool {
    return bytes.len >= start.len and equal(bytes[0..start.len], start);
}

pub fn equal(a: []const u8, b: []const u8) bool {
    return std.mem.eql(u8, a, b);
}

/// The place of the first NUL, or the number of bytes.
fn lengthOfSegment(bytes: []const u8) usize {
    for (bytes, 0..) |byte, i| {
        if (byte == 0) return i;
    }
    return bytes.len;
}

// ---- authenticate ----

/// A question of authenticate.
pub const Connect = struct {
    hook: Hook,
    /// The server's time in milliseconds since 1970.
    now: i64,
    /// The one that the client connects to.
    namespace: []u8,
    /// "ip:port"; empty on a unix socket.
    remote: []u8,
    /// The path of the URL that was asked for.
    url_path: []u8,
    /// The query of that URL, as it came. Its parameters are entries, too.
    raw_query: []u8,
    /// The connection is encrypted.
    tls: bool,
    /// The client showed a certificate, and the server verified it.
    verified: bool,
    /// The number of entries.
    count: u32,
    /// The whole question, for fields that aren't known here.
    bytes: []u8,

    /// Reads a question; n is the hook's parameter. What isn't used costs nothing.
    pub fn read(n: u32) Connect {
        const flags = numberAt(u32, 48);
        return .{
            .hook = @enumFromInt(numberAt(u16, 2)),
            .now = numberAt(i64, 8),
            .namespace = bytesAt(16),
            .remote = bytesAt(24),
            .url_path = bytesAt(32),
            .raw_query = bytesAt(40),
            .tls = flags & 1 != 0,
            .verified = flags & 2 != 0,
            .count = numberAt(u32, 52),
            .bytes = buffer[0..n],
        };
    }

    /// All entries in order: by kind, then by name. A repeated header is several entries.
    pub fn entries(_: Connect) Entries {
        return .{ .table = Table.read() };
    }

    /// The value of the first entry of this kind and name.
    pub fn find(c: Connect, kind: Kind, name: []const u8) ?[]u8 {
        var all = c.entries();
        while (all.next()) |e| {
            if (e.kind == kind and equal(e.name, name)) return e.value;
        }
        return null;
    }
};

pub const Entries = struct {
    table: Table,

    pub fn next(entries: *Entries) ?Entry {
        const at = entries.table.next() orelse return null;
        return .{
            .kind = @enumFromInt(buffer[at]),
            .name = bytesAt(at + 4),
            .value = bytesAt(at + 12),
        };
    }
};

pub const Entry = struct {
    kind: Kind,
    name: []u8,
    value: []u8,
};

// ---- answers ----

/// A hook's answer. All zeros are none: the server takes them for a fault.
pub const Verdict = packed struct(u64) {
    status: Status = .none,
    code: u8 = 0,
    length: u16 = 0,
    address: u32 = 0,
};

fn answer(status: Status, code: u8, text: []const u8) Verdict {
    return .{
        .status = status,
        .code = code,
        .length = @intCast(text.len),
        .address = @truncate(@intFromPtr(text.ptr)),
    };
}

/// Allows. From authenticate, it names nobody.
pub fn allow() Verdict {
    return .{ .status = .allow };
}

/// From normalize: the paths are fine as they are.
pub fn unchanged() Verdict {
    return .{ .status = .allow };
}

/// Denies with a code that clients get to see, and a text for people, in UTF-8. The server cuts it
/// to 256 bytes. The text may lie in the buffer, but not on the stack.
pub fn deny(code: u8, text: []const u8) Verdict {
    return answer(.deny, code, cut(text));
}

/// Denies because the plugin cannot judge. The text goes to the server's log.
pub fn fault(text: []const u8) Verdict {
    return answer(.fault, 0, cut(text));
}

/// As much of a text as an answer can have, ended between two characters.
fn cut(text: []const u8) []const u8 {
    if (text.len <= text_bytes_max) return text;
    var n: usize = text_bytes_max;
    while (n > 0 and text[n] & 0xc0 == 0x80) n -= 1;
    return text[0..n];
}

const principal_bytes_max = 256;
const context_bytes_max = 4096;

/// Where an identity is put together.
var identity_bytes: [8 + principal_bytes_max + context_bytes_max]u8 = undefined;

/// Allows, from authenticate, and says who the client is, for how many seconds (0: as long as the
/// connection), and what authorize is to know about it. The principal has 1 to 256 bytes of UTF-8
/// without control characters, the context up to 4096 bytes.
pub fn identity(seconds: u32, principal: []const u8, context: []const u8) Verdict {
    const fits = principal.len <= principal_bytes_max and context.len <= context_bytes_max;
    if (principal.len == 0 or !fits)
        return fault("an identity needs a principal of 1 to 256 bytes and a context of at most 4096");
    const lengths = @as(u32, @intCast(principal.len | context.len << 16));
    @as(*align(1) u32, @ptrCast(&identity_bytes[0])).* = seconds;
    @as(*align(1) u32, @ptrCast(&identity_bytes[4])).* = lengths;
    const n = 8 + principal.len;
    @memcpy(identity_bytes[8..n], principal);
    @memcpy(identity_bytes[n..][0..context.len], context);
    return answer(.allow, 0, identity_bytes[0 .. n + context.len]);
}

/// Where rewritten paths are put together.
var rewritten_bytes: [text_bytes_max]u8 = undefined;

/// Writes normalize's answer: for each resource in order its segments, then end. There is room for
/// one: `var w = lk.Rewriter{};`
pub const Rewriter = struct {
    length: usize = 0,
    fault: ?[]const u8 = null, // the first

    /// Adds a segment to the path. It may neither be empty nor contain NUL: the answer is a fault
    /// then.
    pub fn segment(w: *Rewriter, bytes: []const u8) void {
        if (bytes.len == 0) return w.fail("an empty segment cannot be rewritten");
        if (lengthOfSegment(bytes) != bytes.len) return w.fail("a segment cannot contain NUL");
        if (bytes.len >= rewritten_bytes.len - w.length) return w.fail(too_long);
        @memcpy(rewritten_bytes[w.length..][0..bytes.len], bytes);
        w.length += bytes.len;
        w.end();
    }

    /// Ends the path.
    pub fn end(w: *Rewriter) void {
        if (w.length == rewritten_bytes.len) return w.fail(too_long);
        rewritten_bytes[w.length] = 0;
        w.length += 1;
    }

    const too_long = "the rewritten paths take more than 65535 bytes";

    fn fail(w: *Rewriter, text: []const u8) void {
        if (w.fault == null) w.fault = text;
    }

    /// The answer: as many paths as were ended.
    pub fn verdict(w: Rewriter) Verdict {
        if (w.fault) |text| return fault(text);
        return answer(.rewritten, 0, rewritten_bytes[0..w.length]);
    }
};

// ---- log ----

const host = struct {
    extern "locktopus" fn log(level: i32, at: [*]const u8, length: usize) void;
};

/// Writes a line to the server's log: up to 1 KiB, and not too many a second.
pub fn log(level: Level, text: []const u8) void {
    host.log(@intFromEnum(level), text.ptr, text.len);
}
