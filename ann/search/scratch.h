/* scratch.h - one thread's working memory for searches, so that a query allocates nothing.
 *
 * Place: search.  Invariant: between searches every visited bit is clear. */
#ifndef KITH_SEARCH_SCRATCH_H
#define KITH_SEARCH_SCRATCH_H

#include <stdbool.h>

#include "ann/base/key.h"
#include "ann/base/memory.h"
#include "ann/vectors/vectors.h"

struct scratch {
    struct buf visited;   /* bitmap of u64 words by slot */
    struct buf dirty;     /* u32: words of visited that are not zero, and one place */
    size_t dirty_count;
    struct buf keys;      /* beam or top-k: search_key */
    struct buf query;     /* a prepared query */
    struct buf slots;     /* u32 [batch], padded */
    struct buf dists;     /* f32 [batch] */
    struct buf sums;      /* with codes: u8 [4 * padded], a query's table of sums */
    struct buf room;      /* what a kind keeps of a query: its own to size and to lay out */
    struct scratch *inner; /* of a kind that a kind searches in turn, or NULL */
    struct scratch *next;  /* in the list of idle ones */
};

/* Room for a query alone: all that may be asked for without the gate, as an add may replace the
 * codes. */
ann_err scratch_reserve_query(struct scratch *s, const struct vectors *v);
/* Room for a graph of `slots` nodes, `keys` keys and batches of `batch` neighbours. */
ann_err scratch_reserve(struct scratch *s, const struct vectors *v, uint32_t slots, size_t keys,
                        size_t batch);
void scratch_free(struct scratch *s);

static inline bool scratch_visited(const struct scratch *s, uint32_t slot)
{
    return ((const uint64_t *)s->visited.data)[slot >> 6] >> (slot & 63) & 1;
}

/* Sets the bit of a slot; true if it was clear.  Without branches: either is as likely. */
static inline bool scratch_visit(struct scratch *s, uint32_t slot)
{
    uint64_t *word = (uint64_t *)s->visited.data + (slot >> 6);
    const uint64_t bit = UINT64_C(1) << (slot & 63), old = *word;
    ((uint32_t *)s->dirty.data)[s->dirty_count] = slot >> 6;
    s->dirty_count += old == 0;
    *word = old | bit;
    return !(old & bit);
}

void scratch_unvisit(struct scratch *s);

#endif
