/* Puts together what people are told: in a denial, or about a faulty configuration. There is one such
 * text at a time. */
#ifndef SAY_H
#define SAY_H

#include "../../sdk/c/locktopus.h"

enum { said_max = 256 }; /* what the server passes on */

static struct {
    uint8_t bytes[said_max];
    uint32_t len;
} said;

/* Adds a text as far as there is room. */
static void say(lk_bytes b) {
    uint32_t room = said_max - said.len;
    if (b.len > room) { /* cut between two characters */
        b.len = room;
        while (b.len > 0 && (b.at[b.len] & 0xc0) == 0x80) b.len--;
    }
    lk_copy(said.bytes + said.len, b);
    said.len += b.len;
}

static void say_number(uint32_t n) {
    uint8_t digits[10];
    uint32_t first = sizeof digits;
    do digits[--first] = (uint8_t)('0' + n % 10);
    while ((n /= 10) > 0);
    say(lk_bytes_of(digits + first, (uint32_t)sizeof digits - first));
}

/* Adds a number as in deny[2]. */
static void say_index(uint32_t n) {
    say(LK_TEXT("["));
    say_number(n);
    say(LK_TEXT("]"));
}

static lk_bytes what_was_said(void) { return lk_bytes_of(said.bytes, said.len); }

#endif
