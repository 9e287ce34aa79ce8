/* A strict reader of JSON (RFC 8259) for configurations of a known shape: the caller says what must come
 * next, and the first thing that doesn't is a fault that says where and what.
 *
 *     json_begin(lk_config(n));
 *     lk_bytes name;
 *     for (json_level o = json_table(); json_member(&o, keys, 2) >= 0;) json_string(&name);
 *     if (!json_end()) return lk_fault(what_was_said());
 *
 * After a fault nothing is read any more: loops end, and what is read is empty. Strings are decoded
 * where they stand, and are gone with the configuration. There is one reader, and no memory is asked for.
 *
 * Tables and lists are named as in TOML, in which people write configurations. */
#ifndef JSON_H
#define JSON_H

#include "say.h"

enum { json_key_max = 40 }; /* bytes of an unknown key, in a fault */

/* A table or list that is being read. */
typedef struct {
    uint32_t where; /* the length of its own place */
    uint32_t count; /* of elements so far */
    uint8_t seen;   /* of a table's keys, of which there are eight at most, a bit each */
    bool open;
} json_level;

static uint8_t *json_at, *json_stop;

/* There was a fault. What was said is the place that is being read, such as deny[2].paths[0], and
 * behind it, once there is one, the fault. */
static bool json_faulty;

/* What is wrong with what is being read. Only the first fault is kept. It is false. */
static bool json_fail(lk_bytes what) {
    if (json_faulty) return false;
    if (said.len > 0) say(LK_TEXT(": "));
    say(what);
    json_faulty = true;
    json_at = json_stop;
    return false;
}

/* Begins to read. The bytes must stay until the end, and are changed. */
static void json_begin(lk_bytes b) {
    said.len = 0;
    json_faulty = false;
    json_at = (uint8_t *)b.at;
    json_stop = json_at + b.len;
}

static void json_space(void) {
    while (json_at < json_stop && (*json_at == ' ' || *json_at == '\t' || *json_at == '\n' || *json_at == '\r')) json_at++;
}

/* Takes this byte, behind blanks, if it is there. */
static bool json_take(uint8_t c) {
    json_space();
    if (json_at == json_stop || *json_at != c) return false;
    json_at++;
    return true;
}

/* Whether all of it was read, without a fault. */
static bool json_end(void) {
    json_space();
    return !json_faulty && (json_at == json_stop || json_fail(LK_TEXT("there is something behind its end")));
}

static json_level json_open(uint8_t bracket, lk_bytes what) {
    json_level l = {.where = said.len, .count = 0, .seen = 0, .open = !json_faulty};
    if (l.open && !json_take(bracket)) l.open = json_fail(what);
    return l;
}

static json_level json_table(void) { return json_open('{', LK_TEXT("it must be a table")); }
static json_level json_list(void) { return json_open('[', LK_TEXT("it must be a list")); }

/* Goes to the next member or element. */
static bool json_next(json_level *l, uint8_t bracket) {
    if (json_faulty || !l->open) return false;
    said.len = l->where;
    if (json_take(bracket)) return l->open = false;
    if (l->count > 0 && !json_take(',')) return json_fail(LK_TEXT("it isn't JSON: a comma or the end is missing"));
    l->count++;
    return true;
}

/* Goes to the next element of a list, or is false behind the last one. */
static bool json_element(json_level *l) {
    if (!json_next(l, ']')) return false;
    say_index(l->count - 1);
    return true;
}

/* The number that four hexadecimal digits stand for; more than 0xffff: they don't. */
static uint32_t json_hex(const uint8_t *at) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < 4; i++) {
        uint8_t c = at[i], small = c | 0x20;
        if (c >= '0' && c <= '9') {
            n = n << 4 | (uint32_t)(c - '0');
        } else if (small >= 'a' && small <= 'f') {
            n = n << 4 | (uint32_t)(small - 'a' + 10);
        } else {
            return 0x10000;
        }
    }
    return n;
}

/* Reads the rest of \uXXXX, or of two of them that make one character. NUL is none here: a string that
 * holds it is never equal to anything that a client can send. */
static uint32_t json_escaped(void) {
    if (json_stop - json_at < 4) return 0;
    uint32_t c = json_hex(json_at);
    json_at += 4;
    if (c > 0xffff || (c >= 0xdc00 && c < 0xe000)) return 0;
    if (c < 0xd800 || c >= 0xe000) return c;
    if (json_stop - json_at < 6 || json_at[0] != '\\' || json_at[1] != 'u') return 0;
    uint32_t low = json_hex(json_at + 2);
    json_at += 6;
    return low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((c - 0xd800) << 10 | (low - 0xdc00)) : 0;
}

static uint8_t *json_utf8(uint8_t *to, uint32_t c) {
    if (c < 0x80) {
        *to++ = (uint8_t)c;
    } else if (c < 0x800) {
        *to++ = (uint8_t)(0xc0 | c >> 6);
    } else if (c < 0x10000) {
        *to++ = (uint8_t)(0xe0 | c >> 12);
        *to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    } else {
        *to++ = (uint8_t)(0xf0 | c >> 18);
        *to++ = (uint8_t)(0x80 | (c >> 12 & 0x3f));
        *to++ = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    }
    if (c >= 0x80) *to++ = (uint8_t)(0x80 | (c & 0x3f));
    return to;
}

/* Reads what stands behind a backslash; 0: nothing that may. */
static uint32_t json_escape(void) {
    static const uint8_t letters[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    if (json_at == json_stop) return 0;
    uint8_t c = *json_at++;
    if (c == 'u') return json_escaped();
    for (uint32_t i = 0; i + 1 < sizeof letters; i++) {
        if (letters[i] == c) return meant[i];
    }
    return 0;
}

/* Reads a string. What is decoded is never longer than what stands there. */
static bool json_string(lk_bytes *s) {
    *s = lk_bytes_of(json_at, 0);
    if (json_faulty) return false;
    if (!json_take('"')) return json_fail(LK_TEXT("it must be a string"));
    uint8_t *begin = json_at, *to = begin;
    while (json_at < json_stop && *json_at != '"') {
        uint32_t c = *json_at++;
        if (c < ' ') return json_fail(LK_TEXT("it isn't JSON: there is a control character in a string"));
        if (c != '\\') {
            *to++ = (uint8_t)c;
            continue;
        }
        c = json_escape();
        if (c == 0) return json_fail(LK_TEXT("there is NUL in it, or half a character, or an escape that JSON doesn't know"));
        to = json_utf8(to, c);
    }
    if (!json_take('"')) return json_fail(LK_TEXT("it isn't JSON: a string has no end"));
    *s = lk_bytes_of(begin, (uint32_t)(to - begin));
    return true;
}

/* The beginning of a key that nobody knows. */
static lk_bytes json_cut(lk_bytes key) {
    if (key.len <= json_key_max) return key;
    key.len = json_key_max;
    while (key.len > 0 && (key.at[key.len] & 0xc0) == 0x80) key.len--;
    return key;
}

static int json_unknown(lk_bytes key, const lk_bytes *keys, uint32_t n) {
    say(json_cut(key));
    json_fail(LK_TEXT("there is no such key; there are"));
    for (uint32_t i = 0; i < n; i++) {
        say(i == 0 ? LK_TEXT(" ") : LK_TEXT(", "));
        say(keys[i]);
    }
    return -1;
}

/* Goes to the value of a table's next member, and says which of the n keys it has; -1: it has none
 * of them, has one a second time, or the table has ended. */
static int json_member(json_level *l, const lk_bytes *keys, uint32_t n) {
    lk_bytes key;
    if (!json_next(l, '}') || !json_string(&key)) return -1;
    if (l->where > 0) say(LK_TEXT("."));
    for (uint32_t i = 0; i < n; i++) {
        if (!lk_equal(key, keys[i])) continue;
        say(key);
        if (l->seen >> i & 1) return json_fail(LK_TEXT("it is there twice")), -1;
        l->seen |= (uint8_t)(1u << i);
        if (!json_take(':')) return json_fail(LK_TEXT("it isn't JSON: a colon is missing")), -1;
        return (int)i;
    }
    return json_unknown(key, keys, n);
}

#endif
