//! Lets a client write only below its own name, and everybody read.
const lk = @import("locktopus");

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
