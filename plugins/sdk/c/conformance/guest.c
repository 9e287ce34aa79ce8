/* The conformance guest of the SDK for C: it answers with all that it reads.
 * plugins/sdk/conformance/README.md says how. */
#include "../locktopus.h"

/* A report: lines of name=value. Only what fits into an answer is kept. */
static struct {
    uint32_t len;
    uint64_t hash; /* FNV-1a */
    uint8_t kept[LK_TEXT_BYTES_MAX];
} report;

static const char digits[] = "0123456789abcdef";

static void begin(void) {
    report.len = 0;
    report.hash = 0xcbf29ce484222325;
}

static void put(uint8_t c) {
    report.hash = (report.hash ^ c) * 0x100000001b3;
    if (report.len < sizeof report.kept) report.kept[report.len] = c;
    report.len++;
}

static void put_text(const char *text) {
    while (*text) put((uint8_t)*text++);
}

static void put_unsigned(uint64_t v) {
    if (v >= 10) put_unsigned(v / 10);
    put((uint8_t)digits[v % 10]);
}

static void number(const char *name, int64_t v) {
    put_text(name);
    put('=');
    if (v < 0) put('-');
    put_unsigned(v < 0 ? 0 - (uint64_t)v : (uint64_t)v);
    put('\n');
}

static void bytes(const char *name, lk_bytes b) {
    put_text(name);
    put('=');
    for (uint32_t i = 0; i < b.len; i++) {
        uint8_t c = b.at[i];
        if (c < 0x20 || c > 0x7e || c == '\\') {
            put_text("\\x");
            put((uint8_t)digits[c >> 4]);
            c = (uint8_t)digits[c & 15];
        }
        put(c);
    }
    put('\n');
}

static lk_bytes end(void) {
    if (report.len > sizeof report.kept) {
        uint32_t len = report.len;
        uint64_t hash = report.hash;
        begin();
        put_text("long=");
        put_unsigned(len);
        put_text(" hash=");
        for (int shift = 60; shift >= 0; shift -= 4) put((uint8_t)digits[hash >> shift & 15]);
        put('\n');
    }
    return lk_bytes_of(report.kept, report.len);
}

static uint8_t config_bytes[LK_BUFFER_BYTES];
static lk_bytes config;

lk_verdict locktopus_init(uint32_t n) {
    lk_copy(config_bytes, lk_config(n));
    config = lk_bytes_of(config_bytes, n);
    if (lk_starts_with(config, LK_TEXT("{\"refuse\""))) return lk_deny(0, LK_TEXT("refused"));
    if (lk_starts_with(config, LK_TEXT("{\"fault\""))) return lk_fault(LK_TEXT("faulty"));
    return lk_allow();
}

static lk_bytes report_request(const lk_request *r) {
    begin();
    number("now", r->now);
    bytes("namespace", r->namespace_);
    bytes("principal", r->principal);
    bytes("context", r->context);
    bytes("remote", r->remote);
    number("operation", r->operation);
    number("resources", r->count);
    for (uint32_t i = 0; i < r->count; i++) {
        lk_resource resource = lk_resource_at(r, i);
        number("resource", i);
        number("mode", resource.mode);
        number("segments", resource.segments);
        bytes("path", resource.path);
        for (lk_bytes rest = resource.path, segment; lk_next_segment(&rest, &segment);) bytes("segment", segment);
        number("under-context", lk_under(resource.path, r->context));
        number("under-principal", lk_under_segment(resource.path, r->principal));
    }
    return end();
}

static lk_verdict log_paths(const lk_request *r) {
    for (uint32_t i = 0; i < r->count; i++) {
        lk_resource resource = lk_resource_at(r, i);
        lk_log(resource.mode, resource.path);
    }
    return lk_allow();
}

static lk_verdict deny_at_length(void) {
    static uint8_t text[70000];
    for (uint32_t i = 0; i < sizeof text; i += 2) {
        text[i] = 0xc3;
        text[i + 1] = 0xa9;
    }
    return lk_deny(0, lk_bytes_of(text, sizeof text));
}

lk_verdict locktopus_authorize(uint32_t n) {
    lk_request r = lk_read_request(n);
    if (lk_equal(r.principal, LK_TEXT("!allow"))) return lk_allow();
    if (lk_equal(r.principal, LK_TEXT("!deny"))) return lk_deny((uint8_t)r.now, r.context);
    if (lk_equal(r.principal, LK_TEXT("!fault"))) return lk_fault(r.context);
    if (lk_equal(r.principal, LK_TEXT("!known")))
        return lk_known(r.operation) ? lk_allow() : lk_deny(0, LK_TEXT("unknown operation"));
    if (lk_equal(r.principal, LK_TEXT("!config"))) {
        begin();
        bytes("config", config);
        return lk_deny(0, end());
    }
    if (lk_equal(r.principal, LK_TEXT("!log"))) return log_paths(&r);
    if (lk_equal(r.principal, LK_TEXT("!long"))) return deny_at_length();
    if (lk_equal(r.principal, LK_TEXT("!trap"))) __builtin_trap();
    return lk_deny(0, report_request(&r));
}

static lk_bytes report_connect(const lk_connect *c) {
    begin();
    number("now", c->now);
    bytes("namespace", c->namespace_);
    bytes("remote", c->remote);
    bytes("path", c->path);
    bytes("query", c->query);
    number("tls", c->tls);
    number("verified", c->verified);
    number("entries", c->count);
    for (uint32_t i = 0; i < c->count; i++) {
        lk_entry e = lk_entry_at(c, i);
        number("entry", i);
        number("kind", e.kind);
        bytes("name", e.name);
        bytes("value", e.value);
    }
    return end();
}

static lk_bytes report_found(const lk_connect *c) {
    lk_bytes value;
    bool found = lk_find(c, (uint8_t)c->now, c->query, &value);
    begin();
    number("found", found);
    if (found) bytes("value", value);
    return end();
}

/* The credential of this name, empty if there is none. */
static lk_bytes credential(const lk_connect *c, lk_bytes name) {
    lk_bytes value = LK_TEXT("");
    lk_find(c, LK_CREDENTIAL, name, &value);
    return value;
}

lk_verdict locktopus_authenticate(uint32_t n) {
    lk_connect c = lk_read_connect(n);
    if (lk_equal(c.path, LK_TEXT("/!allow"))) return lk_allow();
    if (lk_equal(c.path, LK_TEXT("/!deny"))) return lk_deny((uint8_t)c.now, c.query);
    if (lk_equal(c.path, LK_TEXT("/!fault"))) return lk_fault(c.query);
    if (lk_equal(c.path, LK_TEXT("/!find"))) return lk_deny(0, report_found(&c));
    if (lk_equal(c.path, LK_TEXT("/!identity")))
        return lk_identity((uint32_t)c.now, credential(&c, LK_TEXT("principal")), credential(&c, LK_TEXT("context")));
    return lk_deny(LK_FORBIDDEN, report_connect(&c));
}

/* Writes a segment with small letters. It changes it where it lies, in the buffer. */
static void rewrite(lk_rewriter *w, lk_bytes segment) {
    if (lk_equal(segment, LK_TEXT("."))) return;
    if (lk_equal(segment, LK_TEXT("nothing"))) {
        lk_segment(w, LK_TEXT(""));
        return;
    }
    if (lk_equal(segment, LK_TEXT("nul"))) {
        lk_segment(w, LK_TEXT("a\0b"));
        return;
    }
    if (lk_equal(segment, LK_TEXT("twice"))) lk_segment(w, segment);
    for (uint32_t i = 0; i < segment.len; i++) {
        uint8_t *c = (uint8_t *)segment.at + i;
        if (*c >= 'A' && *c <= 'Z') *c += 'a' - 'A';
    }
    lk_segment(w, segment);
}

lk_verdict locktopus_normalize(uint32_t n) {
    lk_request r = lk_read_request(n);
    if (lk_equal(r.namespace_, LK_TEXT("!unchanged"))) return lk_unchanged();
    if (lk_equal(r.namespace_, LK_TEXT("!deny"))) return lk_deny(9, LK_TEXT("not here"));
    if (lk_equal(r.namespace_, LK_TEXT("!fault"))) return lk_fault(LK_TEXT("cannot"));
    if (lk_equal(r.namespace_, LK_TEXT("!report"))) return lk_deny(0, report_request(&r));
    lk_rewriter w = lk_rewrite();
    for (uint32_t i = 0; i < r.count; i++) {
        lk_resource resource = lk_resource_at(&r, i);
        for (lk_bytes rest = resource.path, segment; lk_next_segment(&rest, &segment);) rewrite(&w, segment);
        lk_end(&w);
    }
    return lk_rewritten(&w);
}
