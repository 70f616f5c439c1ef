/* passing.h - of each node's links those that pass a filter: a table that searches with the
 * filter fill as they go and read where it is filled.
 *
 * Place: search; a filter owns it (filter.c), a kind with links fills and reads it (twohop.c).
 * Most of a search among what passes a filter goes into looking at links that do not.
 *
 * Invariant: a row is written once for each version of the links, by whoever comes first, and
 * read only when it is whole.  Versions do not change while a search holds the gate.  A row
 * leads to what the links lead to, in their order. */
#ifndef KITH_SEARCH_PASSING_H
#define KITH_SEARCH_PASSING_H

#include "ann/base/memory.h"
#include "ann/search/edition.h"

#define PASSING_UNIT 8 /* a row's width is a multiple: half a cache line */
#define PASSING_MOST (UINT8_MAX - 2) /* links that a mark counts */

struct passing_table {
    uint32_t nodes;   /* rows; of later ones the links tell */
    uint32_t width;   /* of a row, less than PASSING_MOST */
    struct buf marks; /* _Atomic u8 [nodes]: enum passing_mark, or how many links pass and 1 */
    struct buf rows;  /* u32 [nodes, width]: their slots, where they are at most width */
    edition version;  /* of the links that the marks are for */
};

enum passing_mark { PASSING_UNKNOWN = 0, PASSING_WRITTEN = UINT8_MAX };

/* Where a filter keeps its table. */
struct passing_place {
    struct passing_table *_Atomic table;
    _Atomic uint32_t searches; /* before there was one */
};

/* The table at a place, for one more search.  One for `nodes` of `links` links each, `share` of
 * which pass, is made once so many searches came that it has likely paid when as many more
 * have.  NULL before, without memory, and where rows would be as wide as the links. */
struct passing_table *passing_get(struct passing_place *place, uint32_t nodes, uint32_t links,
                                  double share);
void passing_free(struct passing_table *p);

/* Whether it may be used; it is emptied for a version that it was not for. */
bool passing_ready(struct passing_table *p, uint32_t version);

/* A node's row, if nobody else writes it: of its links those that pass [n]. */
void passing_put(struct passing_table *p, uint32_t slot, const uint32_t *links, size_t n);

static inline _Atomic uint8_t *passing_mark(const struct passing_table *p, uint32_t slot)
{
    return (_Atomic uint8_t *)p->marks.data + slot;
}

/* How many of a node's links pass; more than the width: they are not in the row. */
static inline uint32_t passing_count(const struct passing_table *p, uint32_t slot)
{
    if (slot >= p->nodes)
        return UINT32_MAX;
    return (uint32_t)atomic_load_explicit(passing_mark(p, slot), memory_order_acquire) - 1;
}

static inline uint32_t *passing_row(const struct passing_table *p, uint32_t slot)
{
    return (uint32_t *)p->rows.data + (size_t)slot * p->width;
}

#endif
