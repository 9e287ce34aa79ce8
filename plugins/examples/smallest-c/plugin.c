/* Lets a client write only below its own name, and everybody read. */
#include "../../sdk/c/locktopus.h"

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
