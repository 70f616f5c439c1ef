/*
 * Lists of product-quantised codes: the contract of the kernels that scan
 * them, one table per instruction set, under the rules of kernels.h (any
 * length, no alignment, nothing read or written outside what is named here).
 *
 * A vector's code is m numbers of `bits` bits (4, 6 or 8), one a subspace.  A
 * query looks each up in a table of bytes, and
 *
 *   distance(q, x) ~ base + bias[x] + step * (sum of the m table entries)
 *
 * with base the query's and the list's, bias the vector's own.  Codes of a list
 * lie in blocks of vectors, subspace after subspace, so that one register looks
 * many vectors up at once.
 *
 *   4 bits (Andre, Kermarrec, Le Scouarnec, VLDB 2015; the form with vpermb and
 *     vpdpbusd is our own): blocks of 16 vectors, m in chunks of 8:
 *     u8 [blocks][chunks][64]; byte 4 * v + g of a chunk has in its low nibble
 *     the code of vector v in subspace 8 * chunk + g, in its high nibble that in
 *     8 * chunk + 4 + g (g = 0..3).
 *   8 bits: blocks of 64 vectors, the last one of 16, 32, 48 or 64:
 *     u8 [m][width] each.
 *   6 bits: the same blocks, m in chunks of 4: u8 [chunks][3][width] each; of
 *     bytes a, b, c the codes are a & 63, b & 63, c & 63 and
 *     a >> 6 | b >> 6 << 2 | c >> 6 << 4.
 *
 * Subspaces that fill the last chunk up have code 0 and tables of zeros.
 *
 * Which lists are near is asked of a table of their centroids in bytes, of 16
 * centroids side by side so that no sum goes across a register:
 *   u8 [n / 16, rounded up][groups][16][4]; byte 4 * v + d of group g of a block
 *   is 128 + the number of its centroid v in dimension 4 * g + d.
 */
#ifndef ANNK_LISTS_H
#define ANNK_LISTS_H

#include <stddef.h>
#include <stdint.h>

#define ANNK_LIST_BATCH 4 /* queries that may share one reading of the codes */

/* m with its last chunk filled up. */
static inline uint32_t annk_list_padded(unsigned bits, uint32_t m)
{
    const uint32_t chunk = bits == 4 ? 8 : bits == 6 ? 4 : 1;
    return (m + chunk - 1) / chunk * chunk;
}

/* Bytes of a vector's code; m padded. */
static inline size_t annk_list_code_bytes(unsigned bits, uint32_t m)
{
    return (size_t)m * bits / 8;
}

/* Bytes of the codes of n vectors; m padded. */
static inline size_t annk_list_bytes(unsigned bits, uint32_t m, size_t n)
{
    return (n + 15) / 16 * 16 * annk_list_code_bytes(bits, m);
}

/* A query, ready for lists. */
struct annk_list_query {
    /* 4 bits: [m / 8][128], subspace 8 * c + g at 16 * g and 8 * c + 4 + g at
     * 64 + 16 * g of chunk c; else [m][1 << bits]. */
    const uint8_t *table;
    uint32_t m;    /* padded */
    unsigned bits;
    float step;    /* of the table's entries */
};

/* One run of vectors of a list. */
struct annk_list_run {
    const uint8_t *codes;  /* annk_list_bytes of n, from the list's beginning */
    const uint16_t *bias;  /* f16 [n rounded up to a multiple of 16] */
    size_t n;              /* vectors in the list */
    size_t first, last;    /* those looked at; first is a multiple of 64 */
};

/* A query of centroids. */
struct annk_coarse_query {
    const int8_t *code; /* [4 * groups] */
    int32_t sum;        /* of code */
    float norm;         /* squared, of the query */
    float by;           /* -2 times the steps of both codes */
    float *dists;       /* [n] */
};

struct annk_list_ops {
    const char *name;

    /*
     * The estimates of a run's vectors that are at most `limit` go to dists and
     * places (their numbers in the list), in the order of the places.  Room for
     * last - first, rounded up to a multiple of 16.  Returns how many.
     */
    size_t (*scan)(const struct annk_list_query *q, const struct annk_list_run *run,
                   float base, float limit, float *dists, uint32_t *places);

    /*
     * The same for nq (1..ANNK_LIST_BATCH) queries of the same m and bits at
     * once, each with its own base, limit, dists and places; counts [nq].  Gives
     * the bits that scan gives.
     */
    void (*scan_batch)(const struct annk_list_query *const *q, size_t nq,
                       const struct annk_list_run *run, const float *base,
                       const float *limit, float *const *dists, uint32_t *const *places,
                       size_t *counts);

    /*
     * The tables of a query y [m * dsub]: products [m][1 << bits] of floats with
     *   products[s][j] = -2 * sum over d of y[s * dsub + d] * codebooks[s][d][j]
     * codebooks f32 [m][dsub][1 << bits]; here m is not padded.  Error bound of
     * IP in kernels.h.
     */
    void (*products)(const float *codebooks, const float *y, uint32_t m, uint32_t dsub,
                     unsigned bits, float *products);

    /*
     * Finite products as a table of bytes in the order of annk_list_query.  With
     * step = largest range of a subspace / 255, or 1 where that is below FLT_MIN,
     *   entry = round((product - least of its subspace) * (1 / step))
     * each operation rounded to float, halves going to the even number: the same
     * bytes in every table.  table: annk_list_padded(m) << bits bytes.  Sets q's
     * table, m, bits and step; returns the sum of the least (added in double, in
     * their order), which belongs to base.
     */
    float (*quantise)(const float *products, uint32_t m, unsigned bits, uint8_t *table,
                      struct annk_list_query *q);

    /*
     * Squared distances of n centroids from nq (1..ANNK_LIST_BATCH) queries,
     * whatever nq is the same bits, with the integer dot product exact:
     *   dists[l] = max(0, norm + norms[l] + by * dot)
     * rounded to float at each step or not.  norms [n rounded up to a multiple of
     * 16]; 4 * groups at most 65,536.
     */
    void (*coarse)(const struct annk_coarse_query *q, size_t nq, const uint8_t *table,
                   const float *norms, size_t n, size_t groups);
};

/* The table that goes with a table of kernels.h, by its name. */
const struct annk_list_ops *annk_lists_for(const char *name);

extern const struct annk_list_ops annk_lists_scalar;
extern const struct annk_list_ops annk_lists_avx2;
extern const struct annk_list_ops annk_lists_avx512;
extern const struct annk_list_ops annk_lists_neon;

#endif
