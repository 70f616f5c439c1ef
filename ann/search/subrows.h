/* subrows.h - a row of bytes for each slot that passes a filter, made by the searches that come
 * by, for those to come.
 *
 * Place: search; a filter owns it (filter.c), a kind fills and reads it (hnsw/subgraph.c).
 *
 * Invariant: a row is written once for each version of what it comes from, by whoever comes
 * first, and read only when it is whole.  Versions do not change while a search holds the gate.
 */
#ifndef KITH_SEARCH_SUBROWS_H
#define KITH_SEARCH_SUBROWS_H

#include "ann/base/memory.h"
#include "ann/search/edition.h"

struct subrows {
    const uint64_t *passing; /* the filter's bitmap */
    size_t row_size, held; /* bytes: of a row, of all */
    struct buf before;  /* u32 [words of the bitmap]: ones before each */
    struct buf marks;   /* _Atomic u8 [ones]: enum subrow_mark */
    struct buf rows;    /* [ones, row_size] */
    struct buf entries; /* the kind's, of where to begin; */
    uint32_t entry_groups; /* how much there is of that */
    edition version;    /* of what rows and entries come from */
};

enum subrow_mark { SUBROW_UNKNOWN, SUBROW_TAKEN, SUBROW_MADE };

/* Where a filter keeps them. */
struct subrows_place {
    struct subrows *_Atomic rows;
    _Atomic uint64_t searches; /* version and, in the lower half, how many there were with it */
};

/* Those at a place for one more search, of a version, with a filter's bitmap [slots] of `ones`
 * ones.  NULL until so many searches of one version came that rows have likely paid when as many
 * more have, without memory, and where all rows of the process would take more than `most`. */
struct subrows *subrows_get(struct subrows_place *place, uint32_t version,
                            const uint64_t *passing, uint32_t slots, uint32_t ones,
                            size_t row_size, size_t most);
void subrows_free(struct subrows *r);

/* Drops all rows: the version's first user, before edition_made. */
void subrows_clear(struct subrows *r);

/* The number of a slot that passes among those that do. */
static inline size_t subrow_number(const struct subrows *r, uint32_t slot)
{
    const uint64_t below = r->passing[slot >> 6] & ((UINT64_C(1) << (slot & 63)) - 1);
    return ((const uint32_t *)r->before.data)[slot >> 6] + (size_t)__builtin_popcountll(below);
}

static inline _Atomic uint8_t *subrow_mark(const struct subrows *r, size_t number)
{
    return (_Atomic uint8_t *)r->marks.data + number;
}

static inline uint8_t *subrow_at(const struct subrows *r, size_t number)
{
    return (uint8_t *)r->rows.data + number * r->row_size;
}

static inline bool subrow_made(const struct subrows *r, size_t number)
{
    return atomic_load_explicit(subrow_mark(r, number), memory_order_acquire) == SUBROW_MADE;
}

/* Whether the row is the caller's to write; then subrow_done. */
static inline bool subrow_claim(struct subrows *r, size_t number)
{
    uint8_t mark = SUBROW_UNKNOWN;
    return atomic_compare_exchange_strong(subrow_mark(r, number), &mark, SUBROW_TAKEN);
}

static inline void subrow_done(struct subrows *r, size_t number)
{
    atomic_store_explicit(subrow_mark(r, number), SUBROW_MADE, memory_order_release);
}

#endif
