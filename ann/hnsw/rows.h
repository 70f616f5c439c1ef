/* rows.h - profile fast: a block of memory per node with its code and its neighbours' codes.
 *
 * Place: hnsw.  kernels/rows.h describes a row.  Rows follow from the codes and the links alone,
 * by integers and single double operations, so they are the same bytes on every machine.
 *
 * Invariant, while h->rows_on: the row of every node in the graph has the ids of its links at the
 * same places, the node's code, and its neighbours' codes as the kernel makes them. */
#ifndef KITH_HNSW_ROWS_H
#define KITH_HNSW_ROWS_H

#include "ann/hnsw/hnsw.h"
#include "ann/kernels/rows.h"

#define HNSW_ENTRIES 512 /* nodes of the table that a search begins with, at most */

/* Dimensions of code space the table knows: after the rotation any of them are as good as
 * others, and to find a place to begin so many do. */
#define HNSW_ENTRY_DIMS 256

static inline uint32_t hnsw_entry_padded(const struct hnsw *h)
{
    const uint32_t padded = h->vec->codes.frame.padded;
    return padded < HNSW_ENTRY_DIMS ? padded : HNSW_ENTRY_DIMS;
}

static inline size_t hnsw_row_groups(const struct hnsw *h)
{
    return ((size_t)h->m0 + 15) / 16;
}

/* Of one row. */
static inline size_t hnsw_row_size(const struct hnsw *h)
{
    return annk_row_bytes(h->vec->codes.frame.padded, h->planes, hnsw_row_groups(h));
}

static inline uint8_t *hnsw_code_row(const struct hnsw *h, uint32_t slot)
{
    return (uint8_t *)h->rows.data + (size_t)slot * h->row_size;
}

/* A table of slots [n] where searches may begin; its groups of 16, 0 without memory. */
uint32_t hnsw_entries_of(const struct hnsw *h, const uint32_t *slots, uint32_t n,
                         struct buf *entries);
/* A row at `row` of a node and links [m0], HNSW_NONE behind them. */
void hnsw_row_make(const struct hnsw *h, uint8_t *row, uint32_t slot, const uint32_t *links);

#endif
