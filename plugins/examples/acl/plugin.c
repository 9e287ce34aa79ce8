/* Acl judges requests by a policy: its rules say who may do what to which paths. See README.md. */
#include "policy.h"

/* Codes of denials, which clients get to see. */
enum { code_not_allowed = 1, code_forbidden = 2, code_unknown = 3, code_too_much = 4 };

/* What one request may cost, in patterns that are compared with paths, and roles that a client may
 * have: a call ends long before its time does, whatever a client asks for. */
enum { work_max = 1 << 18, roles_max = 64 };

/* Who asks. */
static struct {
    text namespace_, principal, roles[roles_max];
    uint32_t role_count;
} client;

/* The path of a resource, taken apart as far as somebody asked for. */
static struct {
    text segments[depth_max];
    lk_bytes rest; /* behind them */
    uint32_t split, depth;
} path;

/* The patterns that concern this client and what it does, those that deny first. */
static struct {
    struct {
        const pattern *pattern;
        uint16_t rule;
        uint8_t modes;
    } list[paths_max];
    uint32_t deny, all; /* how many */
} concerned;

/* ---- texts ---- */

/* Takes the text before the first such byte off b, and that byte with it. */
static inline text take_until(uint8_t byte, lk_bytes *b) {
    const uint64_t ones = 0x0101010101010101, highs = ones << 7;
    lk_bytes all = *b;
    uint32_t n = 0;
    for (; n < all.len; n += 8) {
        uint64_t v = eight(all.at + n, all.len - n) ^ ones * byte;
        uint64_t zeros = (v - ones) & ~v & highs; /* the lowest bit is that of the first zero byte */
        if (zeros == 0) continue;
        n += (uint32_t)__builtin_ctzll(zeros) / 8;
        break;
    }
    if (n >= all.len) n = all.len;
    *b = behind(all, n < all.len ? n + 1 : n);
    return text_of(lk_bytes_of(all.at, n));
}

/* Do texts with the same head go on in the same way? */
static inline bool same_rest(const text *a, const text *b, uint32_t len) { return len <= 8 || memcmp(a->at + 8, b->at + 8, len - 8) == 0; }

static inline bool same(const text *a, const text *b) { return a->head == b->head && a->len == b->len && same_rest(a, b, a->len); }

static inline bool matches(const name *n, const text *t) {
    if ((t->head & n->mask) != n->text.head) return false;
    return (n->is == is_all ? t->len == n->text.len : t->len >= n->text.len) && same_rest(&n->text, t, n->text.len);
}

/* ---- who ---- */

/* Takes the context apart, which has a role in each line. A client with more of them than there is
 * room for isn't judged: the ones left out might be denied something. */
static bool find_roles(lk_bytes context) {
    client.role_count = 0;
    while (context.len > 0) {
        text role = take_until('\n', &context);
        if (role.len == 0) continue;
        if (client.role_count == roles_max) return false;
        client.roles[client.role_count++] = role;
    }
    return true;
}

static bool has_role(const name *n) {
    for (uint32_t i = 0; i < client.role_count; i++) {
        if (matches(n, &client.roles[i])) return true;
    }
    return false;
}

static bool is_meant(const name *n) {
    switch (n->use) {
    case for_everybody:
        return true;
    case for_user:
        return client.principal.len > 0 && matches(n, &client.principal);
    case for_role:
        return has_role(n);
    default:
        return matches(n, &client.namespace_);
    }
}

static bool any_is_meant(span names) {
    const name *n = policy.names + names.first;
    for (uint32_t i = 0; i < names.count; i++) {
        if (is_meant(&n[i])) return true;
    }
    return false;
}

static void add_patterns(uint32_t number) {
    const rule *r = &policy.rules[number];
    for (uint32_t i = 0; i < r->paths.count; i++) {
        concerned.list[concerned.all].pattern = &policy.paths[r->paths.first + i];
        concerned.list[concerned.all].rule = (uint16_t)number;
        concerned.list[concerned.all++].modes = r->modes;
    }
}

/* Finds the rules of a list that concern the client. */
static void find_rules(span rules, uint32_t operation) {
    for (uint32_t i = rules.first; i < (uint32_t)rules.first + rules.count; i++) {
        const rule *r = &policy.rules[i];
        if (!(r->operations >> operation & 1)) continue;
        if (r->namespaces.count > 0 && !any_is_meant(r->namespaces)) continue;
        if (any_is_meant(r->who) && !any_is_meant(r->except)) add_patterns(i);
    }
}

/* ---- paths ---- */

/* The segment i, less than depth and depth_max. */
static inline const text *segment_at(uint32_t i) {
    while (path.split <= i) path.segments[path.split++] = take_until(0, &path.rest);
    return &path.segments[i];
}

static void begin_path(const lk_resource *resource) {
    path.rest = resource->path;
    path.depth = resource->segments;
    path.split = 0;
    if (path.depth > 0) segment_at(0);
}

/* Do the first n segments of path and pattern go together? A client without a name has no path of
 * its own. */
static bool along(const pattern *p, uint32_t n) {
    if (p->own && client.principal.len == 0) return false;
    const name *names = policy.names + p->segments.first;
    for (uint32_t i = 0; i < n; i++) {
        const text *segment = segment_at(i);
        if (names[i].use == for_own_segment ? !same(segment, &client.principal) : !matches(&names[i], segment)) return false;
    }
    return true;
}

/* Could they go together, as far as can be seen at once? */
static inline bool alike(const pattern *p) { return path.depth == 0 || (path.segments[0].head & p->mask) == p->head; }

/* Is the path one of the pattern's? */
static inline bool is_in(const pattern *p) {
    uint32_t n = p->segments.count;
    return (path.depth == n || (path.depth > n && p->below)) && alike(p) && along(p, n);
}

/* Is the path, or any below it, one of the pattern's? Whatever is still missing there, somebody can
 * add. */
static inline bool holds_any_of(const pattern *p) {
    uint32_t n = p->segments.count;
    return (path.depth <= n || p->below) && alike(p) && along(p, path.depth <= n ? path.depth : n);
}

/* ---- the hooks ---- */

lk_verdict locktopus_init(uint32_t n) {
    if (n == 0) return lk_fault(LK_TEXT("acl needs a table [plugins.config] with rules"));
    return read_policy(lk_config(n)) ? lk_allow() : lk_fault(json_fault());
}

/* Denies, and says which resource is the reason. */
static lk_verdict deny(uint8_t code, uint32_t resource, lk_bytes what, const uint32_t *rule) {
    json_text.len = 0;
    json_say(LK_TEXT("resources["));
    json_say_number(resource);
    json_say(what);
    if (rule) {
        json_say_number(*rule);
        json_say(LK_TEXT("]"));
    }
    return lk_deny(code, json_fault());
}

static lk_verdict judge(uint32_t i, const lk_resource *resource) {
    uint32_t k = 0, mode = resource->mode;
    if (mode > LK_PERMIT) return deny(code_unknown, i, LK_TEXT("]: unknown mode"), NULL);
    begin_path(resource);
    for (; k < concerned.deny; k++) {
        if (!(concerned.list[k].modes >> mode & 1) || !holds_any_of(concerned.list[k].pattern)) continue;
        uint32_t number = concerned.list[k].rule - policy.deny.first;
        return deny(code_forbidden, i, LK_TEXT("]: forbidden by deny["), &number);
    }
    for (; k < concerned.all; k++) {
        if (concerned.list[k].modes >> mode & 1 && is_in(concerned.list[k].pattern)) return lk_allow();
    }
    return deny(code_not_allowed, i, LK_TEXT("]: no rule allows it"), NULL);
}

lk_verdict locktopus_authorize(uint32_t n) {
    lk_request r = lk_read_request(n);
    if (!lk_known(r.operation)) return lk_deny(code_unknown, LK_TEXT("unknown operation"));
    if (r.count == 0) return lk_deny(code_unknown, LK_TEXT("it asks for nothing"));
    client.namespace_ = text_of(r.namespace_);
    client.principal = text_of(r.principal);
    if (policy.roles && !find_roles(r.context)) return lk_deny(code_too_much, LK_TEXT("the client has more than 64 roles"));
    concerned.all = 0;
    find_rules(policy.deny, r.operation);
    concerned.deny = concerned.all;
    find_rules(policy.allow, r.operation);
    if ((uint64_t)r.count * concerned.all > work_max) return lk_deny(code_too_much, LK_TEXT("it asks for more at once than can be judged in time: ask for less"));
    for (uint32_t i = 0; i < r.count; i++) {
        lk_resource resource = lk_resource_at(&r, i);
        lk_verdict v = judge(i, &resource);
        if (v != lk_allow()) return v;
    }
    return lk_allow();
}
