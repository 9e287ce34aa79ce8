//! The conformance guest of the SDK for Zig: it answers with all that it reads.
//! plugins/sdk/conformance/README.md says how.

const lk = @import("locktopus");

/// A report is lines of name=value. Only what fits into an answer is kept.
const Report = struct {
    length: usize = 0,
    hash: u64 = 0xcbf29ce484222325, // FNV-1a

    var kept: [65535]u8 = undefined;

    fn put(report: *Report, byte: u8) void {
        report.hash = (report.hash ^ byte) *% 0x100000001b3;
        if (report.length < kept.len) kept[report.length] = byte;
        report.length += 1;
    }

    fn putText(report: *Report, chars: []const u8) void {
        for (chars) |byte| report.put(byte);
    }

    fn putUnsigned(report: *Report, value: u64) void {
        if (value >= 10) report.putUnsigned(value / 10);
        report.put('0' + @as(u8, @intCast(value % 10)));
    }

    fn putHex(report: *Report, digit: u64) void {
        report.put("0123456789abcdef"[@intCast(digit & 15)]);
    }

    fn signed(report: *Report, name: []const u8, value: i64) void {
        report.putText(name);
        report.put('=');
        if (value < 0) report.put('-');
        report.putUnsigned(if (value < 0) 0 -% @as(u64, @bitCast(value)) else @intCast(value));
        report.put('\n');
    }

    fn number(report: *Report, name: []const u8, value: u32) void {
        report.signed(name, value);
    }

    fn yes(report: *Report, name: []const u8, value: bool) void {
        report.number(name, if (value) 1 else 0);
    }

    fn bytes(report: *Report, name: []const u8, value: []const u8) void {
        report.putText(name);
        report.put('=');
        for (value) |byte| switch (byte) {
            ' '...'\\' - 1, '\\' + 1...'~' => report.put(byte),
            else => {
                report.putText("\\x");
                report.putHex(byte >> 4);
                report.putHex(byte);
            },
        };
        report.put('\n');
    }

    fn text(report: Report) []const u8 {
        if (report.length <= kept.len) return kept[0..report.length];
        var line = Report{};
        line.putText("long=");
        line.putUnsigned(report.length);
        line.putText(" hash=");
        var digits: u6 = 16;
        while (digits > 0) : (digits -= 1) line.putHex(report.hash >> (digits - 1) * 4);
        line.put('\n');
        return kept[0..line.length];
    }
};

var config_bytes: [65536]u8 = undefined;
var config: []const u8 = "";

fn startsWith(bytes: []const u8, start: []const u8) bool {
    return bytes.len >= start.len and lk.equal(bytes[0..start.len], start);
}

export fn locktopus_init(n: u32) lk.Verdict {
    @memcpy(config_bytes[0..n], lk.config(n));
    config = config_bytes[0..n];
    if (startsWith(config, "{\"refuse\"")) return lk.deny(0, "refused");
    if (startsWith(config, "{\"fault\"")) return lk.fault("faulty");
    return lk.allow();
}

export fn locktopus_authorize(n: u32) lk.Verdict {
    const r = lk.Request.read(n);
    check(r.hook == .authorize, r.bytes);
    if (lk.equal(r.principal, "!allow")) return lk.allow();
    if (lk.equal(r.principal, "!deny")) return lk.deny(lowest(u8, r.now), r.context);
    if (lk.equal(r.principal, "!fault")) return lk.fault(r.context);
    if (lk.equal(r.principal, "!known"))
        return if (r.operation.isKnown()) lk.allow() else lk.deny(0, "unknown operation");
    if (lk.equal(r.principal, "!config")) return lk.deny(0, reportConfig());
    if (lk.equal(r.principal, "!log")) return logPaths(r);
    if (lk.equal(r.principal, "!long")) return lk.deny(0, "é" ** 35000);
    if (lk.equal(r.principal, "!trap")) @panic("as asked");
    return lk.deny(0, reportRequest(r));
}

/// Panics unless the fields that no report tells of are as they should be.
fn check(hook: bool, bytes: []const u8) void {
    const length = @as(*align(1) const u32, @ptrCast(&bytes[4])).*;
    if (!hook or bytes.len != length) @panic("a field is wrong");
}

fn lowest(comptime T: type, now: i64) T {
    return @truncate(@as(u64, @bitCast(now)));
}

fn reportConfig() []const u8 {
    var report = Report{};
    report.bytes("config", config);
    return report.text();
}

fn logPaths(r: lk.Request) lk.Verdict {
    var resources = r.resources();
    while (resources.next()) |resource|
        lk.log(@enumFromInt(@intFromEnum(resource.mode)), resource.path.bytes);
    return lk.allow();
}

fn reportRequest(r: lk.Request) []const u8 {
    var report = Report{};
    report.signed("now", r.now);
    report.bytes("namespace", r.namespace);
    report.bytes("principal", r.principal);
    report.bytes("context", r.context);
    report.bytes("remote", r.remote);
    report.number("operation", @intFromEnum(r.operation));
    report.number("resources", r.count);
    var resources = r.resources();
    var i: u32 = 0;
    while (resources.next()) |resource| : (i += 1) {
        report.number("resource", i);
        report.number("mode", @intFromEnum(resource.mode));
        report.number("segments", resource.depth);
        report.bytes("path", resource.path.bytes);
        var segments = resource.path.segments();
        while (segments.next()) |segment| report.bytes("segment", segment);
        report.yes("under-context", resource.path.under(r.context));
        report.yes("under-principal", resource.path.underSegment(r.principal));
    }
    return report.text();
}

export fn locktopus_authenticate(n: u32) lk.Verdict {
    const c = lk.Connect.read(n);
    check(c.hook == .authenticate, c.bytes);
    if (lk.equal(c.url_path, "/!allow")) return lk.allow();
    if (lk.equal(c.url_path, "/!deny")) return lk.deny(lowest(u8, c.now), c.raw_query);
    if (lk.equal(c.url_path, "/!fault")) return lk.fault(c.raw_query);
    if (lk.equal(c.url_path, "/!find")) return lk.deny(0, reportFound(c));
    if (lk.equal(c.url_path, "/!identity")) {
        const principal = c.find(.credential, "principal") orelse "";
        const context = c.find(.credential, "context") orelse "";
        return lk.identity(lowest(u32, c.now), principal, context);
    }
    return lk.deny(lk.forbidden, reportConnect(c));
}

fn reportFound(c: lk.Connect) []const u8 {
    var report = Report{};
    const value = c.find(@enumFromInt(lowest(u8, c.now)), c.raw_query);
    report.yes("found", value != null);
    if (value) |bytes| report.bytes("value", bytes);
    return report.text();
}

fn reportConnect(c: lk.Connect) []const u8 {
    var report = Report{};
    report.signed("now", c.now);
    report.bytes("namespace", c.namespace);
    report.bytes("remote", c.remote);
    report.bytes("path", c.url_path);
    report.bytes("query", c.raw_query);
    report.yes("tls", c.tls);
    report.yes("verified", c.verified);
    report.number("entries", c.count);
    var entries = c.entries();
    var i: u32 = 0;
    while (entries.next()) |e| : (i += 1) {
        report.number("entry", i);
        report.number("kind", @intFromEnum(e.kind));
        report.bytes("name", e.name);
        report.bytes("value", e.value);
    }
    return report.text();
}

export fn locktopus_normalize(n: u32) lk.Verdict {
    const r = lk.Request.read(n);
    check(r.hook == .normalize, r.bytes);
    if (lk.equal(r.namespace, "!unchanged")) return lk.unchanged();
    if (lk.equal(r.namespace, "!deny")) return lk.deny(9, "not here");
    if (lk.equal(r.namespace, "!fault")) return lk.fault("cannot");
    if (lk.equal(r.namespace, "!report")) return lk.deny(0, reportRequest(r));
    var paths = lk.Rewriter{};
    var resources = r.resources();
    while (resources.next()) |resource| {
        var segments = resource.path.segments();
        while (segments.next()) |segment| rewrite(&paths, segment);
        paths.end();
    }
    return paths.verdict();
}

/// Writes a segment with small letters. It changes it where it lies, in the buffer.
fn rewrite(paths: *lk.Rewriter, segment: []u8) void {
    if (lk.equal(segment, ".")) return;
    if (lk.equal(segment, "nothing")) return paths.segment("");
    if (lk.equal(segment, "nul")) return paths.segment("a\x00b");
    if (lk.equal(segment, "twice")) paths.segment(segment);
    for (segment) |*byte| switch (byte.*) {
        'A'...'Z' => byte.* += 'a' - 'A',
        else => {},
    };
    paths.segment(segment);
}
