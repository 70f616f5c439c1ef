/* reservoir.h - the `want` smallest keys seen, more or less at once: cheaper than a heap where
 * most of what comes is kept for a while.
 *
 * Place: search.  Keys are appended until the room is full; then the smallest are selected and
 * the rest forgotten.  Invariant: after reservoir_cut keys [0, n) are the n smallest of all that
 * were added with a distance of at most the limit at that time, n <= want, in no order; limit is
 * the largest of them if they are `want`. */
#ifndef KITH_SEARCH_RESERVOIR_H
#define KITH_SEARCH_RESERVOIR_H

#include <math.h>
#include <stddef.h>

#include "ann/search/order.h"

struct reservoir {
    search_key *keys; /* [2 * room] */
    size_t want, room, n;
    float limit;
};

/* Keys for `want`: so many that a selection costs little for each that is added, and as many
 * again to select with. */
static inline size_t reservoir_room(size_t want)
{
    return 2 * (2 * want + 64);
}

static inline void reservoir_open(struct reservoir *r, search_key *keys, size_t want)
{
    *r = (struct reservoir){keys, want, reservoir_room(want) / 2, 0, INFINITY};
}

static inline void reservoir_cut(struct reservoir *r)
{
    if (r->n < r->want)
        return;
    if (r->n > r->want) {
        keys_select(r->keys, r->n, r->want, r->keys + r->room);
        r->n = r->want;
    }
    r->limit = r->n ? key_dist(keys_largest(r->keys, r->n)) : INFINITY;
}

static inline void reservoir_add(struct reservoir *r, search_key key)
{
    r->keys[r->n++] = key;
    if (r->n == r->room)
        reservoir_cut(r);
}

#endif
