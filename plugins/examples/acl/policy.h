/* What acl's configuration says, compiled into tables that authorize goes through. README.md tells what
 * it means. */
#ifndef POLICY_H
#define POLICY_H

#include "json.h"

/* Limits of a policy. One that passes them is refused when it is loaded. */
enum {
    rules_max = 1024,
    names_max = 8192, /* of who, except and namespaces, and segments of paths */
    paths_max = 4096,
    depth_max = 64,              /* segments of a path */
    texts_max = LK_BUFFER_BYTES, /* bytes of all names: no configuration has more */
};

/* What a name is for, and whether it is all of what it matches or the beginning. */
enum { for_everybody, for_user, for_role, for_namespace, for_segment, for_own_segment };
enum { is_all, is_beginning };

/* A text's first eight bytes, or all of them and zeros, tell most texts apart. */
typedef struct {
    uint64_t head;
    const uint8_t *at;
    uint32_t len;
} text;

typedef struct {
    text text;     /* in texts */
    uint64_t mask; /* of the bytes of a head that count */
    uint8_t is;
    uint8_t use;
} name;

/* The elements first to first+count-1 of a table. */
typedef struct {
    uint16_t first, count;
} span;

typedef struct {
    uint64_t head, mask; /* as its first segment's, if it must have one that is known */
    span segments;       /* in names */
    bool below;          /* it ends in "**" */
    bool own;            /* "{principal}" is in it */
} pattern;

typedef struct {
    uint8_t operations;           /* a bit each: 1 << LK_LOCK and so on */
    uint8_t modes;                /* of locks: 1 << LK_READ and so on */
    span who, except, namespaces; /* in names; no namespaces: in all */
    span paths;
} rule;

static struct {
    rule rules[rules_max];
    pattern paths[paths_max];
    name names[names_max];
    uint8_t texts[texts_max];
    uint16_t rule_count, path_count, name_count;
    uint32_t text_len;
    span allow, deny; /* in rules */
    bool roles;       /* a rule asks for roles */
} policy;

#define WORD(literal) \
    { (const uint8_t *)literal, sizeof(literal) - 1 }

/* ---- names ---- */

/* The bits of the first n bytes of a head. */
static inline uint64_t first_bytes(uint32_t n) { return n < 8 ? ((uint64_t)1 << 8 * n) - 1 : ~(uint64_t)0; }

/* Eight bytes, of which n are a text's and the others anything. What clients sent is in the buffer: it
 * is read beyond a text, but not beyond its own end. */
static inline uint64_t eight(const uint8_t *at, uint32_t n) {
    uint64_t v = 0;
    if (at <= lk_buffer + LK_BUFFER_BYTES - sizeof v) {
        __builtin_memcpy(&v, at, sizeof v);
        return v;
    }
    for (uint32_t i = 0; i < n && i < sizeof v; i++) v |= (uint64_t)at[i] << 8 * i;
    return v;
}

static inline text text_of(lk_bytes b) { return (text){eight(b.at, b.len) & first_bytes(b.len), b.at, b.len}; }

/* Takes what has a meaning off a text: "\" before one without any, "*" at its end. */
static bool read_meaning(lk_bytes *b, uint8_t *is) {
    *is = is_all;
    if (b->len > 0 && b->at[0] == '\\') {
        *b = lk_bytes_of(b->at + 1, b->len - 1);
        return true;
    }
    if (b->len > 0 && b->at[b->len - 1] == '*') {
        *is = is_beginning;
        b->len--;
    }
    for (uint32_t i = 0; i < b->len; i++) {
        uint8_t c = b->at[i];
        if (c == '*') return json_fail(LK_TEXT("* may stand at the end only; a \\ before all makes it a letter as any other"));
        if (c == '{' || c == '}') return json_fail(LK_TEXT("{ and } mean nothing here; a \\ before all makes them letters as any other"));
    }
    return true;
}

static bool add_name(uint8_t use, lk_bytes b) {
    uint8_t is;
    if (!read_meaning(&b, &is)) return false;
    if (is == is_all && b.len == 0 && use != for_segment) return json_fail(LK_TEXT("a name is missing"));
    if (policy.name_count == names_max) return json_fail(LK_TEXT("that is more than 8192 names and segments in all"));
    if (b.len > texts_max - policy.text_len) return json_fail(LK_TEXT("that is more than 65536 bytes of names in all"));
    name *n = &policy.names[policy.name_count++];
    n->text = text_of(b);
    n->text.at = policy.texts + policy.text_len;
    n->mask = is == is_all ? ~(uint64_t)0 : first_bytes(b.len);
    n->is = is;
    n->use = use;
    lk_copy(policy.texts + policy.text_len, b);
    policy.text_len += b.len;
    return true;
}

static lk_bytes behind(lk_bytes b, uint32_t n) { return lk_bytes_of(b.at + n, b.len - n); }

static bool add_who(lk_bytes b) {
    if (lk_equal(b, LK_TEXT("*"))) return add_name(for_everybody, b);
    if (lk_starts_with(b, LK_TEXT("user:"))) return add_name(for_user, behind(b, 5));
    if (!lk_starts_with(b, LK_TEXT("role:"))) return json_fail(LK_TEXT("it must be \"*\", \"user:NAME\" or \"role:NAME\""));
    policy.roles = true;
    return add_name(for_role, behind(b, 5));
}

/* Reads a list of namespaces, or (use is something else) of who is meant. */
static bool read_names(span *s, uint8_t use) {
    lk_bytes b;
    s->first = policy.name_count;
    for (json_level l = json_list(); json_element(&l);) {
        if (!json_string(&b)) return false;
        if (use == for_namespace ? !add_name(use, b) : !add_who(b)) return false;
    }
    s->count = (uint16_t)(policy.name_count - s->first);
    return s->count > 0 || json_fail(LK_TEXT("the list is empty"));
}

/* ---- paths ---- */

static bool add_segment(pattern *p, lk_bytes b) {
    if (p->below) return json_fail(LK_TEXT("\"**\" may be a path's last segment only"));
    if (lk_equal(b, LK_TEXT("**"))) return p->below = true;
    if (p->segments.count++ == depth_max) return json_fail(LK_TEXT("the path has more than 64 segments"));
    if (!lk_equal(b, LK_TEXT("{principal}"))) return add_name(for_segment, b);
    p->own = true;
    return add_name(for_own_segment, LK_TEXT("*"));
}

static bool read_path(void) {
    if (policy.path_count == paths_max) return json_fail(LK_TEXT("that is more than 4096 paths in all"));
    pattern *p = &policy.paths[policy.path_count++];
    *p = (pattern){.segments = {policy.name_count, 0}};
    lk_bytes b;
    for (json_level l = json_list(); json_element(&l);) {
        if (!json_string(&b) || !add_segment(p, b)) return false;
    }
    if (json_failed()) return false;
    if (p->segments.count > 0) {
        const name *first = &policy.names[p->segments.first];
        p->head = first->text.head, p->mask = first->mask;
    }
    return true;
}

static bool read_paths(span *s) {
    s->first = policy.path_count;
    for (json_level l = json_list(); json_element(&l);) {
        if (!read_path()) return false;
    }
    s->count = (uint16_t)(policy.path_count - s->first);
    return s->count > 0 || json_fail(LK_TEXT("the list is empty"));
}

/* ---- rules ---- */

static const lk_bytes operations[] = {WORD("lock"), WORD("inspect"), WORD("watch"), WORD("force-release")};
static const lk_bytes modes[] = {WORD("read"), WORD("write"), WORD("permit")};

static uint8_t bit_of(const lk_bytes *words, uint32_t n, lk_bytes b) {
    for (uint32_t i = 0; i < n; i++) {
        if (lk_equal(words[i], b)) return (uint8_t)(1u << i);
    }
    return 0;
}

/* Reads a list of words; each is a bit. */
static bool read_words(uint8_t *bits, const lk_bytes *words, uint32_t n, lk_bytes unknown) {
    lk_bytes b;
    *bits = 0;
    for (json_level l = json_list(); json_element(&l);) {
        if (!json_string(&b)) return false;
        uint8_t bit = bit_of(words, n, b);
        if (bit == 0) return json_fail(unknown);
        *bits |= bit;
    }
    return *bits != 0 || json_fail(LK_TEXT("the list is empty"));
}

enum { who_key, except_key, operations_key, modes_key, namespaces_key, paths_key, rule_keys };

static bool read_member(rule *r, int key) {
    switch (key) {
    case who_key:
        return read_names(&r->who, for_user);
    case except_key:
        return read_names(&r->except, for_user);
    case operations_key:
        return read_words(&r->operations, operations, 4, LK_TEXT("it must be lock, inspect, watch or force-release"));
    case modes_key:
        return read_words(&r->modes, modes, 3, LK_TEXT("it must be read, write or permit"));
    case namespaces_key:
        return read_names(&r->namespaces, for_namespace);
    default:
        return read_paths(&r->paths);
    }
}

/* Fills in what a rule doesn't say. Its operations are numbered from 0 until then. */
static bool complete(rule *r, uint8_t seen, bool denies) {
    enum { lock = 1 << (LK_LOCK - 1), all = 15, any_mode = 7 };
    if (!(seen >> who_key & 1)) return json_fail(LK_TEXT("who is missing"));
    if (!(seen >> paths_key & 1)) return json_fail(LK_TEXT("paths is missing"));
    if (r->operations == 0) r->operations = denies && r->modes == 0 ? all : lock;
    if (r->modes != 0 && r->operations != lock) return json_fail(LK_TEXT("only locks have modes: the operations of a rule with modes are lock alone"));
    if (r->modes == 0) r->modes = any_mode;
    r->operations = (uint8_t)(r->operations << LK_LOCK);
    return true;
}

static bool read_rule(bool denies) {
    static const lk_bytes keys[] = {WORD("who"), WORD("except"), WORD("operations"), WORD("modes"), WORD("namespaces"), WORD("paths")};
    if (policy.rule_count == rules_max) return json_fail(LK_TEXT("that is more than 1024 rules in all"));
    rule *r = &policy.rules[policy.rule_count++];
    *r = (rule){0};
    json_level l = json_table();
    for (int key; (key = json_member(&l, keys, rule_keys)) >= 0;) {
        if (!read_member(r, key)) return false;
    }
    return !json_failed() && complete(r, l.seen, denies);
}

static bool read_rules(span *s, bool denies) {
    s->first = policy.rule_count;
    for (json_level l = json_list(); json_element(&l);) {
        if (!read_rule(denies)) return false;
    }
    s->count = (uint16_t)(policy.rule_count - s->first);
    return !json_failed();
}

/* Compiles a configuration, or leaves a fault in json_fault(). */
static bool read_policy(lk_bytes config) {
    static const lk_bytes keys[] = {WORD("allow"), WORD("deny")};
    policy.rule_count = policy.path_count = policy.name_count = 0;
    policy.text_len = 0;
    policy.allow = policy.deny = (span){0, 0};
    policy.roles = false;
    json_begin(config);
    json_level l = json_table();
    for (int key; (key = json_member(&l, keys, 2)) >= 0;) {
        if (!read_rules(key == 0 ? &policy.allow : &policy.deny, key == 1)) return false;
    }
    if (!json_end()) return false;
    return policy.allow.count > 0 || json_fail(LK_TEXT("allow has no rules: everybody would be denied everything"));
}

#endif
