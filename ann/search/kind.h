/* kind.h - what every kind of index can do: the table behind the front door (index.c).
 *
 * Place: search, so that kinds need not know the front door.  The front door checks arguments,
 * prepares queries, holds the locks, and owns vectors and ids; a kind owns what it builds on
 * them.
 *
 * Locks: one writer at a time changes an index (add, update, remove); searches hold the gate
 * for reading.  A kind that is adding reads without the gate, since only itself writes, and
 * takes it for writing just to put finished rows in place. */
#ifndef KITH_SEARCH_KIND_H
#define KITH_SEARCH_KIND_H

#include <pthread.h>

#include "ann/base/pool.h"
#include "ann/file/kfile.h"
#include "ann/search/packed.h"
#include "ann/search/passing.h"
#include "ann/search/scratch.h"
#include "ann/search/subrows.h"
#include "ann/search/topk.h"
#include "ann/vectors/vectors.h"

/* What searches with a filter leave for those to come. */
struct filter_kept {
    struct passing_place links;
    struct packed_place codes;
    struct subrows_place rows;
};

/* One query, prepared.  A slot may be a result if it is live and, with a filter, passes it. */
struct kind_query {
    const void *query;        /* as vectors_query made it */
    size_t k;                 /* at most the live vectors */
    size_t effort;
    double fine;              /* what effort was rounded up from, or 0 */
    const uint64_t *allowed;  /* a filter's bitmap, or NULL: every live slot */
    uint32_t allowed_slots;   /* bits it has; slots beyond do not pass */
    uint32_t allowed_count;   /* its ones */
    uint32_t allowed_adds;    /* v->adds when it was made: what came later does not pass */
    struct filter_kept *kept; /* a filter's */
    struct ann_search_stats *stats; /* never NULL */
    bool ids_only;            /* nobody asks how far the results are */
};

/* Whether a slot was filled after the filter was made. */
static inline bool kind_later(const struct vectors *v, const struct kind_query *q, uint32_t slot)
{
    return v->born.bytes > 0 && ((const uint32_t *)v->born.data)[slot] > q->allowed_adds;
}

/* Whether a filter has a slot's bit. */
static inline bool kind_has_bit(const struct kind_query *q, uint32_t slot)
{
    return slot < q->allowed_slots && (q->allowed[slot >> 6] >> (slot & 63) & 1);
}

static inline bool kind_passes(const struct vectors *v, const struct kind_query *q,
                               uint32_t slot)
{
    if (!vectors_is_live(v, slot))
        return false;
    if (!q->allowed)
        return true;
    return kind_has_bit(q, slot) && !kind_later(v, q, slot);
}

/* At most this many slots pass (removals after a filter was made are not taken off). */
static inline uint32_t kind_passing(const struct vectors *v, const struct kind_query *q)
{
    return q->allowed && q->allowed_count < v->live ? q->allowed_count : v->live;
}

/* Long work's surroundings. */
struct kind_job {
    struct pool *pool;
    pthread_rwlock_t *gate;
    ann_progress_fn progress; /* may be NULL */
    void *progress_arg;
    const ann_view *view;     /* add: the rows that the slots hold; checked */
};

struct kind {
    ann_kind id;
    const char *name;

    /* A new, empty state over v. */
    ann_err (*create)(const ann_options *o, struct vectors *v, void **state);
    void (*destroy)(void *state);

    /* Learns from a checked sample, from nothing or anew; NULL: there is nothing to learn. */
    ann_err (*train)(void *state, const ann_view *sample, const struct kind_job *job);
    /* Before the first vectors, a checked view, take slots: settles what was left to them.  NULL:
     * nothing is. */
    ann_err (*settle)(void *state, const ann_view *first, const struct kind_job *job);
    /* Whether vectors may be added: ANN_EUNTRAINED.  NULL: at any time. */
    ann_err (*ready)(const void *state);
    /* Room for slots up to `slots`, under the gate; add cannot run out of memory for them. */
    ann_err (*reserve)(void *state, uint32_t slots, const struct kind_job *job);
    /* Links slots [n] (filled, not live).  On failure they are unlinked and given back. */
    ann_err (*add)(void *state, const uint32_t *slots, size_t n, const struct kind_job *job);
    /* Under the gate: these slots are live no longer. */
    void (*remove)(void *state, const uint32_t *slots, size_t n);
    /* Unlinks removed slots and gives them back to v, if it is time or `now`. */
    ann_err (*sweep)(void *state, bool now, const struct kind_job *job);
    /* Under the gate: every code has changed (vectors_swap_codes).  May be NULL. */
    void (*recoded)(void *state);
    /* Under the gate, after a sweep: slots take new numbers, in the same order. */
    void (*renumber)(void *state, const uint32_t *new_slot, uint32_t old_slots, uint32_t kept);

    /* Keys the scratch must have room for, and the largest batch of neighbours. */
    void (*needs)(const void *state, const struct kind_query *q, size_t *keys, size_t *batch);
    /* The k nearest as ascending raw-distance keys at out [k]; *found <= k. */
    ann_err (*search)(const void *state, const struct kind_query *q, struct scratch *s,
                      search_key *out, size_t *found);
    /* Batch of float queries at once [nq, dim], or NULL: one by one.  found [nq], out [nq, k].
     */
    ann_err (*search_batch)(const void *state, const struct kind_query *q, const float *queries,
                            size_t nq, struct pool *pool, search_key *out, size_t *found);

    ann_err (*check)(const void *state, ann_check_level level);
    void (*info)(const void *state, ann_info *info); /* adds to its own fields */
    /* Parts of the file and numbers for its header; at most KIND_PARTS. */
    size_t (*save)(const void *state, struct kfile_meta *meta, struct kfile_part *parts);
    ann_err (*load)(const struct kfile_meta *meta, struct kfile *f, struct vectors *v,
                    void **state);
    uint64_t (*estimate)(const ann_options *o, uint64_t n, uint64_t *build_extra);
};

#define KIND_PARTS 10

#endif
