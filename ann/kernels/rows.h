/*
 * Rows of a graph that hold their neighbours' codes: the contract of the
 * kernels that make and read them, one table per instruction set, under the
 * rules of kernels.h (any length, no alignment, nothing read or written
 * outside what is named here).
 *
 * A row is one block of bytes (SymphonyQG's idea; Gou et al., SIGMOD 2025):
 *
 *   own      u8  [padded]       the node's code, c + 128 with c = -127..127
 *   groups   [groups], of 16 places each:
 *     ids    u32 [16]           ANNK_ROW_EMPTY: no neighbour
 *     a, b   f16 [16], f16 [16] factors of the estimate
 *     bits   u32 [padded / 32][planes][16]
 *                               bit d of word [chunk][plane][place] belongs to
 *                               dimension 32 * chunk + d
 *
 * padded is a multiple of 64 and planes 1..4, so with 64-byte aligned rows
 * every part begins on a cache line.  Little-endian.
 *
 * A place's code u [padded] of `planes` bits means the direction
 * y = u - (2^planes - 1) / 2 of the residual r = x - c between the decoded
 * codes.  With k = |r|^2 / <y, r>, A = |r|^2 + 2k<y, c> and B = -2k
 * (RaBitQ's estimator; Gao, Long, SIGMOD 2024)
 *
 *   distance(q, x) ~ distance(q, c) + A + B * <y, q>
 *
 * where <y, q> needs the query alone: one table of sums a query.
 */
#ifndef ANNK_ROWS_H
#define ANNK_ROWS_H

#include <stddef.h>
#include <stdint.h>

#define ANNK_ROW_EMPTY UINT32_MAX
#define ANNK_ROW_PLANES 4

/* A query, ready for rows. */
struct annk_row_query {
    const uint8_t *sums;  /* [padded / 32][128]: see sums below */
    const int8_t *query;  /* [padded]: y_q ~ step_q * query */
    uint32_t padded, planes, groups;
    uint32_t slots;       /* ids from here on are no neighbours */
    int32_t query_sum;    /* of query */
    float own_norm;       /* distance(q, c) = query_norm + own_norm * sum c^2 */
    float own_dot;        /*                             + own_dot * <c, query> */
    float query_norm;
    const uint8_t *next;  /* a row that will be read soon, or NULL: scan fetches it */
    float scale, offset;  /* <y, q> ~ scale * (sum of table entries) + offset */
};

struct annk_row_code {
    int64_t norm;  /* |r|^2 */
    int64_t dot;   /* <2y, r> */
    int64_t cross; /* <2y, c> */
};

struct annk_row_ops {
    const char *name;

    /* Squared distance from the query to a row's own code, 0 or more. */
    float (*own)(const struct annk_row_query *q, const uint8_t *row);

    /*
     * The estimates of a row's places, given the own distance: those at most
     * `limit`, of ids below q->slots, go to dists and ids in the order of the
     * places.  Room for 16 * groups.  Returns how many.
     */
    size_t (*scan)(const struct annk_row_query *q, const uint8_t *row, float own, float limit,
                   float *dists, uint32_t *ids);

    /* The first index of the smallest; n > 0, no NaN. */
    size_t (*lowest)(const float *dists, size_t n);

    /* Keeps those at most `limit`, in their order; returns how many. */
    size_t (*keep)(float *dists, uint32_t *ids, size_t n, float limit);

    /*
     * The code of `other` as seen from `own` (both [padded], c + 128) into
     * words [padded / 32][planes] that lie 16 apart, and its integer sums.  The
     * same in every table.
     */
    void (*encode)(const uint8_t *own, const uint8_t *other, size_t padded, unsigned planes,
                   uint32_t *words, struct annk_row_code *out);

    /*
     * The table of sums of a query [padded], -127..127 in units of `step`: with
     * w the halves of the magnitudes, for each 4 dimensions and each 4 bits the
     * sum of the w whose bit is the sign of the query there (1: above 0).  A
     * chunk of 32 dimensions has 128 entries: those of dimensions 8g..8g+3 at
     * 16g, those of 8g+4..8g+7 at 64 + 16g.  Sets sums (which points to them),
     * scale and offset of q.  The same in every table.
     */
    void (*sums)(const int8_t *query, float step, size_t padded, unsigned planes,
                 uint8_t *entries, struct annk_row_query *q);
};

static inline size_t annk_row_group_bytes(size_t padded, unsigned planes)
{
    return 128 + padded / 32 * planes * 64;
}

static inline size_t annk_row_bytes(size_t padded, unsigned planes, size_t groups)
{
    return padded + groups * annk_row_group_bytes(padded, planes);
}

/* The table that goes with a table of kernels.h, by its name. */
const struct annk_row_ops *annk_rows_for(const char *name);

extern const struct annk_row_ops annk_rows_scalar;
extern const struct annk_row_ops annk_rows_avx2;
extern const struct annk_row_ops annk_rows_avx512;
extern const struct annk_row_ops annk_rows_neon;

#endif
