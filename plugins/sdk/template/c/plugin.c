/* Everybody may read, and a client may lock for writing, or take permits of, only the path that is its
 * own name and what is below. */
#include "locktopus.h"

// Is asked about each request of a client.
lk_verdict locktopus_authorize(uint32_t n) {
    lk_request r = lk_read_request(n);
    if (!lk_known(r.operation)) return lk_deny(0, LK_TEXT("unknown operation"));
    for (uint32_t i = 0; i < r.count; i++) {
        lk_resource resource = lk_resource_at(&r, i);
        if (resource.mode != LK_READ && !lk_under_segment(resource.path, r.principal))
            return lk_deny(1, LK_TEXT("only what is below your own name is yours to write"));
    }
    return lk_allow();
}

// There are more hooks. Take the comment signs of one away, and name it in the configuration.

// Is asked who a client is that connects. This one takes the name from its certificate: of one that
// wasn't verified, a plugin is told nothing.
/*
lk_verdict locktopus_authenticate(uint32_t n) {
    lk_connect c = lk_read_connect(n);
    lk_bytes name;
    if (!lk_find(&c, LK_FACT, LK_TEXT("subject-cn"), &name)) return lk_deny(0, LK_TEXT("show a certificate"));
    return lk_identity(0, name, LK_TEXT(""));
}
*/

// Is asked what the paths of a request mean, before authorize is. It must find the same for a path every
// time and everywhere. This one makes the letters A to Z small.
/*
lk_verdict locktopus_normalize(uint32_t n) {
    static uint8_t small[LK_BUFFER_BYTES];
    lk_request r = lk_read_request(n);
    lk_rewriter w = lk_rewrite();
    for (uint32_t i = 0; i < r.count; i++) {
        lk_bytes rest = lk_resource_at(&r, i).path, segment;
        while (lk_next_segment(&rest, &segment)) {
            for (uint32_t k = 0; k < segment.len; k++) {
                uint8_t c = segment.at[k];
                small[k] = c >= 'A' && c <= 'Z' ? c + 'a' - 'A' : c;
            }
            lk_segment(&w, lk_bytes_of(small, segment.len));
        }
        lk_end(&w);
    }
    return lk_rewritten(&w);
}
*/

// Is called once, before all others, with what [plugins.config] says, as JSON, or with nothing. The bytes
// are gone when it returns.
/*
lk_verdict locktopus_init(uint32_t n) {
    lk_bytes config = lk_config(n);
    if (config.len > 0) lk_log(LK_INFO, config);
    return lk_allow();
}
*/
