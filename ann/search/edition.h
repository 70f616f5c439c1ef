/* edition.h - what is made anew for each version of what it comes from, by one thread, while
 * others that come go on without it.
 *
 * Place: search; for what a filter keeps (passing.h, packed.h).  Invariant: the version does not
 * change while anybody uses what was made for it: searches hold the gate. */
#ifndef KITH_SEARCH_EDITION_H
#define KITH_SEARCH_EDITION_H

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t edition; /* the version, twice, and 1 once it is made */

#define EDITION_NONE UINT64_MAX

enum edition_state {
    EDITION_MADE,
    EDITION_OURS, /* to make, and to say so with edition_made */
    EDITION_BUSY  /* another thread makes it */
};

static inline enum edition_state edition_claim(edition *e, uint32_t version)
{
    const uint64_t made = 2 * (uint64_t)version + 1;
    uint64_t now = atomic_load_explicit(e, memory_order_acquire);
    if (now == made)
        return EDITION_MADE;
    if (now == made - 1 || !atomic_compare_exchange_strong(e, &now, made - 1))
        return EDITION_BUSY;
    return EDITION_OURS;
}

static inline void edition_made(edition *e, uint32_t version)
{
    atomic_store_explicit(e, 2 * (uint64_t)version + 1, memory_order_release);
}

#endif
