/* Acl judges requests by a policy: its rules say who may do what to which paths. See README.md. */
#include "policy.h"

/* What comes of a resource. All but the first are the codes of denials, which clients get to see. */
enum { is_allowed, is_not_allowed, is_forbidden, is_unknown, is_too_much };

/* Steps that one call may take, about a nanosecond each: one for each path of the policy that a resource
 * is compared with, and for each name and eight bytes of these. They are over long before the call's time
 * is, so that nobody can have the plugin killed by asking for much. */
enum { steps_max = 1 << 19 };

enum { roles_max = LK_CONTEXT_BYTES_MAX / 2 }; /* a byte each, and the end of its line */

static struct {
    uint64_t number; /* counts calls, from 1 */
    uint32_t steps;
    lk_bytes namespace_, principal, context, roles[roles_max];
    uint32_t role_count;
    bool split;            /* the context is, into roles */
    uint32_t forbidden_by; /* the rule, if one does */
} call;

/* ---- texts ---- */

static uint64_t word(const uint8_t *at) {
    uint64_t v;
    __builtin_memcpy(&v, at, sizeof v);
    return v;
}

static uint32_t half(const uint8_t *at) {
    uint32_t v;
    __builtin_memcpy(&v, at, sizeof v);
    return v;
}

/* Are these n bytes the same? The last two words of them may overlap. */
static bool same(const uint8_t *a, const uint8_t *b, uint32_t n) {
    uint32_t i = 0;
    call.steps += n / 8;
    if (n >= 8) {
        for (; i + 8 < n; i += 8) {
            if (word(a + i) != word(b + i)) return false;
        }
        return word(a + n - 8) == word(b + n - 8);
    }
    if (n >= 4) return half(a) == half(b) && half(a + n - 4) == half(b + n - 4);
    while (i < n && a[i] == b[i]) i++;
    return i == n;
}

/* ---- who ---- */

static bool matches(const name *n, lk_bytes b) {
    if (n->beginning ? b.len < n->text.len : b.len != n->text.len) return false;
    return same(n->text.at, b.at, n->text.len);
}

/* Takes the context apart, which has a role in each line. */
static void split_roles(void) {
    lk_bytes rest = call.context;
    call.split = true;
    call.role_count = 0;
    while (rest.len > 0) {
        uint32_t n = 0;
        while (n < rest.len && rest.at[n] != '\n') n++;
        if (call.role_count == roles_max) { /* one that is left out might be denied something */
            call.steps = steps_max + 1;
            return;
        }
        if (n > 0) call.roles[call.role_count++] = lk_bytes_of(rest.at, n);
        rest = behind(rest, n < rest.len ? n + 1 : n);
    }
}

static bool has_role(const name *n) {
    if (!call.split) split_roles();
    call.steps += call.role_count * 2;
    for (uint32_t i = 0; i < call.role_count; i++) {
        if (matches(n, call.roles[i])) return true;
    }
    return false;
}

static bool is_meant(const name *n) {
    if (++call.steps > steps_max) return false;
    switch (n->use) {
    case of_everybody:
        return true;
    case of_user:
        return call.principal.len > 0 && matches(n, call.principal);
    case of_role:
        return has_role(n);
    default:
        return matches(n, call.namespace_);
    }
}

static bool any_is_meant(span names) {
    for (uint32_t i = 0; i < names.count; i++) {
        if (is_meant(&policy.names[names.first + i])) return true;
    }
    return false;
}

/* Is the rule about who calls? It is found out once in a call. */
static bool concerns(rule *r) {
    if (r->asked != call.number) {
        r->asked = call.number;
        r->meant = (r->namespaces.count == 0 || any_is_meant(r->namespaces)) && any_is_meant(r->who) && !any_is_meant(r->except);
    }
    return r->meant;
}

/* ---- paths ---- */

/* Takes the path's next segment off its rest if it is what the name says. */
static bool take_segment_of(const name *n, lk_bytes *rest) {
    lk_bytes text = n->use == of_own_segment ? call.principal : n->text;
    uint32_t len = text.len;
    if (++call.steps > steps_max || rest->len <= len || !same(text.at, rest->at, len)) return false;
    if (n->beginning) {
        while (rest->at[len] != 0) len++;
        call.steps += len - text.len;
    }
    if (rest->at[len] != 0) return false;
    *rest = behind(*rest, len + 1);
    return true;
}

/* What is asked: something to be done with a path. */
typedef struct {
    lk_bytes path;
    uint64_t head, mask; /* the path's first bytes, and which of them there are */
    uint32_t act;
} question;

/* Is the pattern about what is done, and are its first bytes the path's? Most patterns end here. */
static inline bool may_go_with(const pattern *p, const question *q) {
    return (p->acts & q->act) != 0 && ((q->head ^ p->head) & q->mask & p->mask) == 0;
}

/* Is the path one of the pattern's? Or, if that counts, one above one of these? Then its bytes end
 * before the pattern does. A client without a name has no path of its own. */
static bool goes_with(const pattern *p, lk_bytes path, bool above) {
    uint32_t n = path.len < p->beginning.len ? path.len : p->beginning.len;
    if (n > 8 && !same(path.at + 8, p->beginning.at + 8, n - 8)) return false;
    if (p->own && call.principal.len == 0) return false;
    if (path.len < p->beginning.len) return above;
    path = behind(path, n);
    const name *segment = policy.names + p->rest.first, *end = segment + p->rest.count;
    for (; segment < end; segment++) {
        if (path.len == 0) return above;
        if (!take_segment_of(segment, &path)) return false;
    }
    return true;
}

/* Finds the first pattern for what is done, of a rule about who calls, that holds the path (then it holds
 * all below, too); or, if paths above count, that has anything in common with what is locked with the
 * path. Paths that aren't there yet count: somebody can make them. */
static inline const pattern *find(span patterns, const question *q, bool above) {
    const pattern *p = policy.paths + patterns.first, *end = p + patterns.count;
    call.steps += patterns.count;
    for (; p < end; p++) {
        if (may_go_with(p, q) && goes_with(p, q->path, above) && concerns(&policy.rules[p->rule])) return p;
    }
    return NULL;
}

/* ---- the hooks ---- */

lk_verdict locktopus_init(uint32_t n) {
    if (n == 0) return lk_fault(LK_TEXT("acl needs a table [plugins.config] with rules"));
    return read_policy(lk_config(n)) ? lk_allow() : lk_fault(what_was_said());
}

/* Denies, and says why. */
static __attribute__((noinline)) lk_verdict deny(uint8_t code, uint32_t resource) {
    said.len = 0;
    if (code == is_too_much) return lk_deny(code, LK_TEXT("it asks for more at once than can be judged in time: ask for less"));
    say(LK_TEXT("resources"));
    say_index(resource);
    if (code == is_unknown) {
        say(LK_TEXT(": unknown mode"));
    } else if (code == is_forbidden) {
        say(LK_TEXT(": forbidden by deny"));
        say_index(call.forbidden_by);
    } else {
        say(LK_TEXT(": no rule allows it"));
    }
    return lk_deny(code, what_was_said());
}

static uint8_t judge(lk_resource resource, uint32_t operation) {
    if (resource.mode > LK_PERMIT) return is_unknown;
    question q = {.path = resource.path, .act = act_of(operation, resource.mode)};
    read_head(q.path, &q.head, &q.mask);
    const pattern *p = find(policy.deny, &q, true);
    if (p) {
        call.forbidden_by = p->rule - policy.deny_rule;
        return is_forbidden;
    }
    return find(policy.allow, &q, false) ? is_allowed : is_not_allowed;
}

lk_verdict locktopus_authorize(uint32_t n) {
    lk_request r = lk_read_request(n);
    if (!lk_known(r.operation)) return lk_deny(is_unknown, LK_TEXT("unknown operation"));
    if (r.count == 0) return lk_deny(is_unknown, LK_TEXT("it asks for nothing"));
    call.number++;
    call.steps = 0;
    call.split = false;
    call.namespace_ = r.namespace_;
    call.principal = r.principal;
    call.context = r.context;
    for (uint32_t i = 0; i < r.count; i++) {
        uint8_t code = judge(lk_resource_at(&r, i), r.operation);
        if (call.steps > steps_max) code = is_too_much;
        if (code != is_allowed) return deny(code, i);
    }
    return lk_allow();
}
