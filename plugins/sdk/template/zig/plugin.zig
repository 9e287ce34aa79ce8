//! Everybody may read, and a client may lock for writing, or take permits of, only the path that is its
//! own name and what is below.
const lk = @import("locktopus.zig");

/// Is asked about each request of a client.
export fn locktopus_authorize(n: u32) lk.Verdict {
    const r = lk.Request.read(n);
    if (!r.operation.isKnown()) return lk.deny(0, "unknown operation");
    var resources = r.resources();
    while (resources.next()) |resource| {
        if (resource.mode != .read and !resource.path.underSegment(r.principal))
            return lk.deny(1, "only what is below your own name is yours to write");
    }
    return lk.allow();
}

// There are more hooks. Take the two slashes away from the lines of one, and name it in the configuration.

// Is asked who a client is that connects. This one takes the name from its certificate: of one that wasn't
// verified, a plugin is told nothing.
//
//export fn locktopus_authenticate(n: u32) lk.Verdict {
//    const name = lk.Connect.read(n).find(.fact, "subject-cn") orelse return lk.deny(0, "show a certificate");
//    return lk.identity(0, name, "");
//}

// Is asked what the paths of a request mean, before authorize is. It must find the same for a path every time
// and everywhere. This one makes the letters A to Z small, where they lie.
//
//export fn locktopus_normalize(n: u32) lk.Verdict {
//    var w = lk.Rewriter{};
//    var resources = lk.Request.read(n).resources();
//    while (resources.next()) |resource| {
//        var segments = resource.path.segments();
//        while (segments.next()) |segment| {
//            for (segment) |*c| {
//                if (c.* >= 'A' and c.* <= 'Z') c.* += 'a' - 'A';
//            }
//            w.segment(segment);
//        }
//        w.end();
//    }
//    return w.verdict();
//}

// Is called once, before all others, with what [plugins.config] says, as JSON, or with nothing. The bytes are
// gone when it returns.
//
//export fn locktopus_init(n: u32) lk.Verdict {
//    const config = lk.config(n);
//    if (config.len > 0) lk.log(.info, config);
//    return lk.allow();
//}
