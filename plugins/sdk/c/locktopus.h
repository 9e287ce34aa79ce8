/* What a Locktopus plugin in C is built on (ABI 1). C99, with clang; it needs no library, and works
 * with wasi-libc (target wasm32-wasi, -mexec-model=reactor).
 *
 *     #include "locktopus.h"
 *
 *     lk_verdict locktopus_authorize(uint32_t n) {
 *         lk_request r = lk_read_request(n);
 *         if (!lk_known(r.operation)) return lk_deny(0, LK_TEXT("unknown operation"));
 *         for (uint32_t i = 0; i < r.count; i++) {
 *             lk_resource resource = lk_resource_at(&r, i);
 *             if (resource.mode != LK_READ && !lk_under_segment(resource.path, r.principal))
 *                 return lk_deny(1, LK_TEXT("only your own subtree is yours to write"));
 *         }
 *         return lk_allow();
 *     }
 *
 *     clang --target=wasm32 -O2 -nostdlib -Wl,--no-entry -Wl,--stack-first -Wl,--strip-all -o plugin.wasm plugin.c
 *
 * With --stack-first, a stack that overflows traps instead of running into the variables.
 *
 * Define the hooks that the plugin serves, which are declared below; they are exported by that.
 * docs/PLUGINS.md tells what each may answer.
 *
 * All bytes of a question lie in one buffer, and nothing is copied: what is read holds until the
 * hook returns, and a hook may change it. Calls never run at the same time. Nothing here asks for
 * memory; a plugin lives as long as the server, so think twice before you do.
 *
 * The header may be included in several source files of a plugin, and in C++.
 */
#ifndef LOCKTOPUS_H
#define LOCKTOPUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes of somebody else's. They don't end in NUL. */
typedef struct {
    const uint8_t *at;
    uint32_t len;
} lk_bytes;

/* The bytes of a string literal. */
#define LK_TEXT(literal) lk_bytes_of("" literal, sizeof(literal) - 1)

/* A hook's answer. 0 is none: the server takes it for a fault. */
typedef uint64_t lk_verdict;

/* The hooks. n is the length of the question. */
#define LK_EXPORT(name) __attribute__((export_name(#name)))
LK_EXPORT(locktopus_init) lk_verdict locktopus_init(uint32_t n);
LK_EXPORT(locktopus_authenticate) lk_verdict locktopus_authenticate(uint32_t n);
LK_EXPORT(locktopus_authorize) lk_verdict locktopus_authorize(uint32_t n);
LK_EXPORT(locktopus_normalize) lk_verdict locktopus_normalize(uint32_t n);

enum { LK_HOOK_INIT = 1, LK_HOOK_AUTHENTICATE = 2, LK_HOOK_AUTHORIZE = 3, LK_HOOK_NORMALIZE = 4 };
enum { LK_STATUS_ALLOW = 1, LK_STATUS_DENY = 2, LK_STATUS_REWRITTEN = 3, LK_STATUS_FAULT = 4 };

/* What a client wants to do. Deny what isn't lk_known(). */
enum { LK_LOCK = 1, LK_INSPECT = 2, LK_WATCH = 3, LK_FORCE_RELEASE = 4 };

/* How a resource is wanted. Take a mode that you don't know for LK_WRITE. */
enum { LK_READ = 0, LK_WRITE = 1, LK_PERMIT = 2 };

/* Where an entry of authenticate is from: an HTTP header, its name in lower case; a parameter of
 * the URL's query, decoded; a fact about the TLS connection; the hello of protocol version 2. */
enum { LK_HEADER = 0, LK_PARAMETER = 1, LK_FACT = 2, LK_CREDENTIAL = 3 };

enum { LK_DEBUG = 0, LK_INFO = 1, LK_WARN = 2, LK_ERROR = 3 };

/* As the code of a denial by authenticate, it asks for HTTP 403 instead of 401. */
enum { LK_FORBIDDEN = 3 };

/* Weak definitions may stand in several files; the linker takes one. */
#define LK_WEAK __attribute__((weak))

#define LK_BUFFER_BYTES 65536
#define LK_TEXT_BYTES_MAX 65535 /* what the 16 bits of a length can tell */

/* Where the server writes its questions. */
LK_WEAK uint8_t lk_buffer[LK_BUFFER_BYTES];

/* The version of the ABI stands in the name; the result is the lowest minor version needed. */
LK_WEAK LK_EXPORT(locktopus_abi_1) uint32_t locktopus_abi_1(void) { return 0; }

LK_WEAK LK_EXPORT(locktopus_buffer) uint8_t *locktopus_buffer(uint32_t size) {
    return size <= LK_BUFFER_BYTES ? lk_buffer : NULL;
}

/* ---- bytes ---- */

static inline lk_bytes lk_bytes_of(const void *at, uint32_t len) {
    lk_bytes b;
    b.at = (const uint8_t *)at;
    b.len = len;
    return b;
}

static inline bool lk_starts_with(lk_bytes b, lk_bytes start) {
    if (b.len < start.len) return false;
    for (uint32_t i = 0; i < start.len; i++) {
        if (b.at[i] != start.at[i]) return false;
    }
    return true;
}

static inline bool lk_equal(lk_bytes a, lk_bytes b) { return a.len == b.len && lk_starts_with(a, b); }

/* The place of the first NUL, or b's length. */
static inline uint32_t lk_find_nul(lk_bytes b) {
    uint32_t i = 0;
    while (i < b.len && b.at[i] != 0) i++;
    return i;
}

/* Copies, and is the place behind the copy. */
static inline uint8_t *lk_copy(uint8_t *to, lk_bytes b) {
    for (uint32_t i = 0; i < b.len; i++) to[i] = b.at[i];
    return to + b.len;
}

/* Numbers of the buffer. Nothing in it is aligned. */
static inline uint16_t lk_u16_at(uint32_t at) {
    uint16_t v;
    __builtin_memcpy(&v, lk_buffer + at, sizeof v);
    return v;
}

static inline uint32_t lk_u32_at(uint32_t at) {
    uint32_t v;
    __builtin_memcpy(&v, lk_buffer + at, sizeof v);
    return v;
}

static inline int64_t lk_i64_at(uint32_t at) {
    int64_t v;
    __builtin_memcpy(&v, lk_buffer + at, sizeof v);
    return v;
}

/* The hook that is asked. */
static inline uint16_t lk_hook(void) { return lk_u16_at(2); }

static inline lk_bytes lk_ref_at(uint32_t at) { return lk_bytes_of(lk_buffer + lk_u32_at(at), lk_u32_at(at + 4)); }

/* ---- init ---- */

/* The configuration: a JSON object, or nothing. Its bytes are gone when locktopus_init returns. */
static inline lk_bytes lk_config(uint32_t n) { return lk_bytes_of(lk_buffer, n); }

/* ---- authorize and normalize ---- */

typedef struct {
    lk_bytes all; /* the whole question, for fields that this header doesn't know */
    int64_t now;  /* the server's time in milliseconds since 1970; normalize: 0 */
    lk_bytes namespace_;
    lk_bytes principal; /* who the client is; empty if no plugin named it; normalize: empty, as the next two */
    lk_bytes context;   /* what the plugin that named the principal gave along */
    lk_bytes remote;    /* "ip:port"; empty on a unix socket */
    uint32_t operation; /* normalize: 0 */
    uint32_t count;     /* of resources */
    uint32_t table;     /* for lk_resource_at */
    uint32_t stride;
} lk_request;

typedef struct {
    uint8_t mode;
    uint16_t segments; /* their number */
    lk_bytes path;     /* each segment ended by NUL; empty: the whole namespace */
} lk_resource;

/* Reads a question. What isn't used costs nothing. */
static inline lk_request lk_read_request(uint32_t n) {
    lk_request r;
    r.all = lk_bytes_of(lk_buffer, n);
    r.now = lk_i64_at(8);
    r.namespace_ = lk_ref_at(16);
    r.principal = lk_ref_at(24);
    r.context = lk_ref_at(32);
    r.remote = lk_ref_at(40);
    r.operation = lk_u32_at(48);
    r.count = lk_u32_at(52);
    r.table = lk_u32_at(56);
    r.stride = lk_u32_at(60);
    return r;
}

static inline bool lk_known(uint32_t operation) { return operation >= LK_LOCK && operation <= LK_FORCE_RELEASE; }

/* The resource i, counted from 0. A later version's entries may be longer. */
static inline lk_resource lk_resource_at(const lk_request *r, uint32_t i) {
    uint32_t at = r->table + i * r->stride;
    lk_resource resource;
    resource.mode = lk_buffer[at];
    resource.segments = lk_u16_at(at + 2);
    resource.path = lk_ref_at(at + 4);
    return resource;
}

/* Takes the first segment off a path, or says that there is none:
 *     for (lk_bytes rest = path, segment; lk_next_segment(&rest, &segment);) ... */
static inline bool lk_next_segment(lk_bytes *rest, lk_bytes *segment) {
    if (rest->len == 0) return false;
    uint32_t n = lk_find_nul(*rest);
    *segment = lk_bytes_of(rest->at, n);
    *rest = lk_bytes_of(rest->at + n + 1, rest->len - n - 1);
    return true;
}

/* Is the path the prefix, or below it? All are under the empty prefix; none is under one that
 * doesn't end in NUL, for "a" would hold "ab". */
static inline bool lk_under(lk_bytes path, lk_bytes prefix) {
    return prefix.len == 0 || (prefix.at[prefix.len - 1] == 0 && lk_starts_with(path, prefix));
}

/* Is this, which comes without NUL, the path's first segment? None is under an empty one, for that
 * is the principal of a client that no plugin named. */
static inline bool lk_under_segment(lk_bytes path, lk_bytes segment) {
    return segment.len > 0 && path.len > segment.len && path.at[segment.len] == 0 && lk_starts_with(path, segment) &&
           lk_find_nul(segment) == segment.len;
}

/* ---- authenticate ---- */

typedef struct {
    lk_bytes all; /* the whole question, for fields that this header doesn't know */
    int64_t now;  /* the server's time in milliseconds since 1970 */
    lk_bytes namespace_;
    lk_bytes remote; /* "ip:port"; empty on a unix socket */
    lk_bytes path;   /* the URL's */
    lk_bytes query;  /* the URL's, as it came; its parameters are entries, too */
    bool tls;        /* the connection is encrypted */
    bool verified;   /* the client showed a certificate, and the server verified it */
    uint32_t count;  /* of entries */
    uint32_t table;  /* for lk_entry_at */
    uint32_t stride;
} lk_connect;

typedef struct {
    uint8_t kind;
    lk_bytes name;
    lk_bytes value;
} lk_entry;

/* Reads a question. What isn't used costs nothing. */
static inline lk_connect lk_read_connect(uint32_t n) {
    lk_connect c;
    c.all = lk_bytes_of(lk_buffer, n);
    c.now = lk_i64_at(8);
    c.namespace_ = lk_ref_at(16);
    c.remote = lk_ref_at(24);
    c.path = lk_ref_at(32);
    c.query = lk_ref_at(40);
    c.tls = (lk_u32_at(48) & 1) != 0;
    c.verified = (lk_u32_at(48) & 2) != 0;
    c.count = lk_u32_at(52);
    c.table = lk_u32_at(56);
    c.stride = lk_u32_at(60);
    return c;
}

/* The entry i, counted from 0. They come by kind, then by name; a repeated header is several
 * entries. */
static inline lk_entry lk_entry_at(const lk_connect *c, uint32_t i) {
    uint32_t at = c->table + i * c->stride;
    lk_entry e;
    e.kind = lk_buffer[at];
    e.name = lk_ref_at(at + 4);
    e.value = lk_ref_at(at + 12);
    return e;
}

/* Puts the value of the first entry of this kind and name into *value, or says there is none. */
static inline bool lk_find(const lk_connect *c, uint8_t kind, lk_bytes name, lk_bytes *value) {
    for (uint32_t i = 0; i < c->count; i++) {
        lk_entry e = lk_entry_at(c, i);
        if (e.kind == kind && lk_equal(e.name, name)) {
            *value = e.value;
            return true;
        }
    }
    return false;
}

/* ---- answers ---- */

/* An answer whose bytes stay where they are: not on the stack. */
static inline lk_verdict lk_verdict_of(uint8_t status, uint8_t code, lk_bytes text) {
    if (text.len > LK_TEXT_BYTES_MAX) { /* cut between two characters */
        text.len = LK_TEXT_BYTES_MAX;
        while (text.len > 0 && (text.at[text.len] & 0xc0) == 0x80) text.len--;
    }
    return (uint64_t)(uintptr_t)text.at << 32 | (uint64_t)text.len << 16 | (uint64_t)code << 8 | status;
}

/* From authenticate, it names nobody. */
static inline lk_verdict lk_allow(void) { return LK_STATUS_ALLOW; }

/* From normalize: the paths are fine as they are. */
static inline lk_verdict lk_unchanged(void) { return LK_STATUS_ALLOW; }

/* Denies with a code that clients get to see, and a text for people, in UTF-8. The server cuts it
 * to 256 bytes. The text may lie in the buffer, but not on the stack. */
static inline lk_verdict lk_deny(uint8_t code, lk_bytes text) { return lk_verdict_of(LK_STATUS_DENY, code, text); }

/* Denies because the plugin cannot judge. The text goes to the server's log. */
static inline lk_verdict lk_fault(lk_bytes text) { return lk_verdict_of(LK_STATUS_FAULT, 0, text); }

#define LK_PRINCIPAL_BYTES_MAX 256
#define LK_CONTEXT_BYTES_MAX 4096

/* Where an identity is put together. */
LK_WEAK uint8_t lk_identity_bytes[8 + LK_PRINCIPAL_BYTES_MAX + LK_CONTEXT_BYTES_MAX];

/* Allows, from authenticate, and says who the client is, for how many seconds (0: as long as the
 * connection), and what authorize is to know about it. The principal has 1 to 256 bytes of UTF-8
 * without control characters, the context up to 4096 bytes. */
static inline lk_verdict lk_identity(uint32_t seconds, lk_bytes principal, lk_bytes context) {
    if (principal.len == 0 || principal.len > LK_PRINCIPAL_BYTES_MAX || context.len > LK_CONTEXT_BYTES_MAX) {
        return lk_fault(LK_TEXT("an identity needs a principal of 1 to 256 bytes and a context of at most 4096"));
    }
    uint16_t lengths[2];
    lengths[0] = (uint16_t)principal.len;
    lengths[1] = (uint16_t)context.len;
    __builtin_memcpy(lk_identity_bytes, &seconds, 4);
    __builtin_memcpy(lk_identity_bytes + 4, lengths, 4);
    lk_copy(lk_copy(lk_identity_bytes + 8, principal), context);
    return lk_verdict_of(LK_STATUS_ALLOW, 0, lk_bytes_of(lk_identity_bytes, 8 + principal.len + context.len));
}

/* Where rewritten paths are put together. */
LK_WEAK uint8_t lk_rewritten_bytes[LK_TEXT_BYTES_MAX];

/* Writes normalize's answer: for each resource in order its segments, then lk_end. There is room
 * for one. */
typedef struct {
    uint32_t len;
    lk_bytes fault; /* the first */
} lk_rewriter;

static inline lk_rewriter lk_rewrite(void) {
    lk_rewriter w;
    w.len = 0;
    w.fault = lk_bytes_of(NULL, 0);
    return w;
}

static inline void lk_fail(lk_rewriter *w, lk_bytes text) {
    if (w->fault.len == 0) w->fault = text;
}

/* Ends the path. */
static inline void lk_end(lk_rewriter *w) {
    if (w->len == LK_TEXT_BYTES_MAX) {
        lk_fail(w, LK_TEXT("the rewritten paths take more than 65535 bytes"));
        return;
    }
    lk_rewritten_bytes[w->len++] = 0;
}

/* Adds a segment to the path. If it is empty or contains NUL, the answer is a fault. */
static inline void lk_segment(lk_rewriter *w, lk_bytes segment) {
    if (segment.len == 0) {
        lk_fail(w, LK_TEXT("an empty segment cannot be rewritten"));
    } else if (lk_find_nul(segment) != segment.len) {
        lk_fail(w, LK_TEXT("a segment cannot contain NUL"));
    } else if (segment.len >= LK_TEXT_BYTES_MAX - w->len) {
        lk_fail(w, LK_TEXT("the rewritten paths take more than 65535 bytes"));
    } else {
        lk_copy(lk_rewritten_bytes + w->len, segment);
        w->len += segment.len;
        lk_end(w);
    }
}

/* The answer: as many paths as were ended. */
static inline lk_verdict lk_rewritten(const lk_rewriter *w) {
    if (w->fault.len > 0) return lk_fault(w->fault);
    return lk_verdict_of(LK_STATUS_REWRITTEN, 0, lk_bytes_of(lk_rewritten_bytes, w->len));
}

/* ---- log ---- */

__attribute__((import_module("locktopus"), import_name("log"))) void lk_host_log(int32_t level, const uint8_t *at, uint32_t len);

/* Writes a line to the server's log: up to 1 KiB, and not too many a second. */
static inline void lk_log(int32_t level, lk_bytes text) { lk_host_log(level, text.at, text.len); }

/* ---- what a compiler takes for granted ----
 *
 * Without a C library there is nobody to define the four functions that compilers call on their
 * own, for a copied struct or a loop that looks like one of these. */
#if !defined(__wasi__) && !defined(__EMSCRIPTEN__)
#define LK_PLAIN LK_WEAK __attribute__((no_builtin))

LK_PLAIN void *memcpy(void *to, const void *from, size_t n) {
    for (size_t i = 0; i < n; i++) ((uint8_t *)to)[i] = ((const uint8_t *)from)[i];
    return to;
}

LK_PLAIN void *memmove(void *to, const void *from, size_t n) {
    if ((uintptr_t)to <= (uintptr_t)from) return memcpy(to, from, n);
    while (n-- > 0) ((uint8_t *)to)[n] = ((const uint8_t *)from)[n];
    return to;
}

LK_PLAIN void *memset(void *to, int c, size_t n) {
    for (size_t i = 0; i < n; i++) ((uint8_t *)to)[i] = (uint8_t)c;
    return to;
}

LK_PLAIN int memcmp(const void *a, const void *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        int d = ((const uint8_t *)a)[i] - ((const uint8_t *)b)[i];
        if (d != 0) return d;
    }
    return 0;
}
#endif

#ifdef __cplusplus
}
#endif

#endif
