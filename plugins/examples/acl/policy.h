/* What acl's configuration says, compiled into tables that authorize goes through. README.md tells what
 * it means. */
#ifndef POLICY_H
#define POLICY_H

#include "json.h"

/* Limits of a policy. One that passes them is refused when it is loaded. */
enum {
    rules_max = 1024,
    paths_max = 4096,
    names_max = 8192, /* of who, except and namespaces, and segments of paths */
};

/* What a name is of. */
enum { of_everybody, of_user, of_role, of_namespace, of_segment, of_own_segment };

typedef struct {
    lk_bytes text; /* in texts */
    uint8_t use;
    bool beginning; /* it ended in "*": the text is how they begin that are meant */
} name;

/* The elements first to first+count-1 of a table. */
typedef struct {
    uint16_t first, count;
} span;

/* What is done with a path is a bit of what a rule is about: lock for reading is the lowest. */
enum { modes_of_all = 3, operations_of_all = 4 };

static inline uint32_t act_of(uint32_t operation, uint32_t mode) { return 1u << ((operation - LK_LOCK) * modes_of_all + mode); }

/* A path and all below it: first what all of them begin with, then what isn't the same in all. */
typedef struct {
    uint64_t head, mask; /* the first bytes of the beginning, and which of the eight these are */
    lk_bytes beginning;  /* in texts: segments, each ended by NUL as in a request's path */
    span rest;           /* in names: the segments behind it */
    uint16_t acts, rule; /* what its rule is about, and which it is */
    bool own;            /* "{principal}" is in it */
} pattern;

typedef struct {
    span namespaces, who, except; /* in names; no namespaces: in all */
    uint64_t asked;               /* the call in which the rule was last looked at, */
    bool meant;                   /* and whether it is about who called */
} rule;

static struct {
    rule rules[rules_max];
    pattern paths[paths_max];
    name names[names_max];
    uint8_t texts[LK_BUFFER_BYTES]; /* of names, with NUL behind each; in the configuration they take more */
    uint32_t rule_count, path_count, name_count, text_len;
    span allow, deny;   /* in paths */
    uint32_t deny_rule; /* the first one that denies */
} policy;

#define WORD(literal) \
    { (const uint8_t *)literal, sizeof(literal) - 1 }

/* The first eight bytes, and which of them there are. */
static inline void read_head(lk_bytes b, uint64_t *head, uint64_t *mask) {
    if (b.len >= sizeof *head) {
        __builtin_memcpy(head, b.at, sizeof *head);
        *mask = ~(uint64_t)0;
        return;
    }
    *head = 0, *mask = ((uint64_t)1 << 8 * b.len) - 1;
    for (uint32_t i = 0; i < b.len; i++) *head |= (uint64_t)b.at[i] << 8 * i;
}

/* ---- names ---- */

static lk_bytes behind(lk_bytes b, uint32_t n) { return lk_bytes_of(b.at + n, b.len - n); }

/* The character that \ and this one stand for: itself, if it would mean something alone; else 0. */
static uint8_t plain(lk_bytes b) {
    if (b.len == 0) return 0;
    uint8_t c = b.at[0];
    return c == '\\' || c == '/' || c == '*' || c == '{' || c == '}' ? c : 0;
}

/* Takes the next character of a name. */
static bool take_character(name *n, lk_bytes *rest) {
    uint8_t c = rest->at[0];
    *rest = behind(*rest, 1);
    if (n->beginning) return json_fail(LK_TEXT("* may stand at the end of a name or segment only; \\* is the letter"));
    if (c == '*') return n->beginning = true;
    if (c == '{' || c == '}') return json_fail(LK_TEXT("only a segment that is {principal} means something; \\{ and \\} are the letters"));
    if (c == '\\') {
        c = plain(*rest);
        if (c == 0) return json_fail(LK_TEXT("\\ may stand before one of \\ / * { } only"));
        *rest = behind(*rest, 1);
    }
    policy.texts[policy.text_len++] = c;
    n->text.len++;
    return true;
}

static name *new_name(uint8_t use) {
    if (policy.name_count == names_max) return json_fail(LK_TEXT("that is more than 8192 names and segments in all")), NULL;
    name *n = &policy.names[policy.name_count++];
    *n = (name){{policy.texts + policy.text_len, 0}, use, false};
    return n;
}

/* Takes a name off the rest, up to the byte end or all of it. */
static bool take_name(lk_bytes *rest, uint8_t use, int end) {
    name *n = new_name(use);
    while (n && rest->len > 0 && rest->at[0] != end) {
        if (!take_character(n, rest)) return false;
    }
    if (!n) return false;
    policy.texts[policy.text_len++] = 0;
    return n->text.len > 0 || n->beginning || json_fail(use == of_segment ? LK_TEXT("a segment is empty") : LK_TEXT("a name is missing"));
}

static bool add_name(lk_bytes b, uint8_t use) { return take_name(&b, use, -1); }

static bool add_who(lk_bytes b) {
    if (lk_equal(b, LK_TEXT("*"))) return add_name(b, of_everybody);
    if (lk_starts_with(b, LK_TEXT("user:"))) return add_name(behind(b, 5), of_user);
    if (lk_starts_with(b, LK_TEXT("role:"))) return add_name(behind(b, 5), of_role);
    return json_fail(LK_TEXT("it must be \"*\", \"user:NAME\" or \"role:NAME\""));
}

/* Reads a list of namespaces, or of who is meant. */
static bool read_names(span *s, bool of_namespaces) {
    lk_bytes b;
    s->first = (uint16_t)policy.name_count;
    for (json_level l = json_list(); json_element(&l);) {
        if (!json_string(&b)) return false;
        if (of_namespaces ? !add_name(b, of_namespace) : !add_who(b)) return false;
    }
    s->count = (uint16_t)(policy.name_count - s->first);
    return s->count > 0 || json_fail(LK_TEXT("the list is empty"));
}

/* ---- paths ---- */

static bool take_segment(pattern *p, lk_bytes *rest) {
    lk_bytes own = LK_TEXT("{principal}");
    p->rest.count++;
    if (!lk_starts_with(*rest, own) || (rest->len > own.len && rest->at[own.len] != '/')) return take_name(rest, of_segment, '/');
    p->own = true;
    *rest = behind(*rest, own.len);
    return new_name(of_own_segment) != NULL;
}

/* Moves the segments that are the same in all paths of the pattern from its rest to its beginning. Their
 * texts lie there one behind the other. */
static void find_beginning(pattern *p) {
    const name *n = &policy.names[p->rest.first];
    p->beginning = lk_bytes_of(n->text.at, 0);
    for (; p->rest.count > 0 && n->use == of_segment && !n->beginning; n++) {
        p->beginning.len += n->text.len + 1;
        p->rest.first++, p->rest.count--;
    }
    read_head(p->beginning, &p->head, &p->mask);
}

static bool add_path(lk_bytes rest) {
    if (policy.path_count == paths_max) return json_fail(LK_TEXT("that is more than 4096 paths in all"));
    pattern *p = &policy.paths[policy.path_count++];
    *p = (pattern){.rest = {(uint16_t)policy.name_count, 0}};
    if (lk_equal(rest, LK_TEXT("**"))) return true;
    while (take_segment(p, &rest)) {
        if (rest.len == 0) return find_beginning(p), true;
        rest = behind(rest, 1);
    }
    return false;
}

static bool read_paths(span *s) {
    lk_bytes b;
    s->first = (uint16_t)policy.path_count;
    for (json_level l = json_list(); json_element(&l);) {
        if (!json_string(&b) || !add_path(b)) return false;
    }
    s->count = (uint16_t)(policy.path_count - s->first);
    return s->count > 0 || json_fail(LK_TEXT("the list is empty"));
}

/* ---- rules ---- */

/* What is written in a rule, before it is put into the tables. */
typedef struct {
    uint32_t operations, modes; /* a bit each */
    span paths;
} draft;

/* Reads a list of words; each is a bit. */
static bool read_words(uint32_t *bits, const lk_bytes *words, uint32_t n, lk_bytes otherwise) {
    lk_bytes b;
    for (json_level l = json_list(); json_element(&l);) {
        if (!json_string(&b)) return false;
        uint32_t i = 0;
        while (i < n && !lk_equal(words[i], b)) i++;
        if (i == n) return json_fail(otherwise);
        *bits |= 1u << i;
    }
    return *bits != 0 || json_fail(LK_TEXT("the list is empty"));
}

static bool read_operations(uint32_t *bits) {
    static const lk_bytes words[] = {WORD("lock"), WORD("inspect"), WORD("watch"), WORD("force-release")};
    return read_words(bits, words, operations_of_all, LK_TEXT("it must be lock, inspect, watch or force-release"));
}

static bool read_modes(uint32_t *bits) {
    static const lk_bytes words[] = {WORD("read"), WORD("write"), WORD("permit")};
    return read_words(bits, words, modes_of_all, LK_TEXT("it must be read, write or permit"));
}

enum { who_key, except_key, operations_key, modes_key, namespaces_key, paths_key, rule_keys };

static bool read_member(rule *r, draft *d, int key) {
    switch (key) {
    case who_key:
        return read_names(&r->who, false);
    case except_key:
        return read_names(&r->except, false);
    case operations_key:
        return read_operations(&d->operations);
    case modes_key:
        return read_modes(&d->modes);
    case namespaces_key:
        return read_names(&r->namespaces, true);
    default:
        return read_paths(&d->paths);
    }
}

/* Puts what the rule is about beside its paths. */
static bool complete(const draft *d, bool denies) {
    enum { lock = 1, every_operation = (1 << operations_of_all) - 1, every_mode = (1 << modes_of_all) - 1 };
    uint32_t operations = d->operations, modes = d->modes != 0 ? d->modes : every_mode, acts = 0;
    if (operations == 0) operations = denies && d->modes == 0 ? every_operation : lock;
    if (d->modes != 0 && operations != lock) return json_fail(LK_TEXT("only locks have modes: with modes, operations must be lock alone"));
    for (uint32_t i = 0; i < operations_of_all; i++) {
        if (operations >> i & 1) acts |= modes * act_of(LK_LOCK + i, 0);
    }
    for (uint32_t i = 0; i < d->paths.count; i++) {
        policy.paths[d->paths.first + i].acts = (uint16_t)acts;
        policy.paths[d->paths.first + i].rule = (uint16_t)(policy.rule_count - 1);
    }
    return true;
}

static bool read_rule(bool denies) {
    static const lk_bytes keys[] = {WORD("who"), WORD("except"), WORD("operations"), WORD("modes"), WORD("namespaces"), WORD("paths")};
    if (policy.rule_count == rules_max) return json_fail(LK_TEXT("that is more than 1024 rules in all"));
    rule *r = &policy.rules[policy.rule_count++];
    draft d = {0};
    *r = (rule){0};
    json_level l = json_table();
    for (int key; (key = json_member(&l, keys, rule_keys)) >= 0;) {
        if (!read_member(r, &d, key)) return false;
    }
    if (json_faulty) return false;
    if (r->who.count == 0) return json_fail(LK_TEXT("who is missing"));
    if (d.paths.count == 0) return json_fail(LK_TEXT("paths is missing"));
    return complete(&d, denies);
}

/* Reads a list of rules, whose paths come one after the other. */
static bool read_rules(span *paths, bool denies) {
    paths->first = (uint16_t)policy.path_count;
    if (denies) policy.deny_rule = policy.rule_count;
    for (json_level l = json_list(); json_element(&l);) {
        if (!read_rule(denies)) return false;
    }
    paths->count = (uint16_t)(policy.path_count - paths->first);
    return !json_faulty;
}

/* Compiles a configuration, or says what is wrong with it. */
static bool read_policy(lk_bytes config) {
    static const lk_bytes keys[] = {WORD("allow"), WORD("deny")};
    policy.rule_count = policy.path_count = policy.name_count = policy.text_len = 0;
    policy.allow = policy.deny = (span){0, 0};
    json_begin(config);
    json_level l = json_table();
    for (int key; (key = json_member(&l, keys, 2)) >= 0;) {
        if (!read_rules(key == 0 ? &policy.allow : &policy.deny, key == 1)) return false;
    }
    if (!json_end()) return false;
    return policy.allow.count > 0 || json_fail(LK_TEXT("allow has no rules: everybody would be denied everything"));
}

#endif
