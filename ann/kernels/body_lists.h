/*
 * lists.h over the vectors of vf_*.h and, of each instruction set,
 *
 *   list_sums   the sums of table entries of a unit's places
 *   list_keep   estimates from sums, and those at most the limit
 *   coarse_dots products of queries with a unit's centroids
 *
 * which are here in plain C; a file that brings its own defines ANNK_LISTS_SUMS,
 * ANNK_LISTS_KEEP or ANNK_LISTS_DOTS and, before DEFINE_LISTS, the function.
 *
 * Invariant: scan and scan_batch come from the same list_walk, sums are exact
 * and estimates the same expression, so that both give the same bits.
 */
#ifndef ANNK_BODY_LISTS_H
#define ANNK_BODY_LISTS_H

#include <float.h>
#include <string.h>

#include "body_nibbles.h"
#include "lists.h"

enum {
    LIST_UNIT = 64,
    LIST_AHEAD = 2048, /* bytes of codes that are prefetched */
    LIST_BYTES = 256   /* entries that add up in 16 bits, with one to spare */
};

/* At most 64 places of a run, looked at together. */
struct list_unit {
    const uint8_t *codes; /* of its first place */
    size_t width;         /* places that have codes: 16, 32, 48 or 64 */
    size_t n;             /* places looked at, 1..width */
    size_t ahead;         /* bytes between what is read and what is prefetched */
};

/* Sums of table entries, by place; those beyond n are anything. */
typedef uint32_t list_sums_of[LIST_UNIT];

/* Estimates and where they go. */
struct list_sink {
    const uint16_t *bias; /* of the unit's first place */
    size_t n;             /* places */
    uint32_t first;       /* the first place's number */
    float step, base, limit;
    float *dists;
    uint32_t *places;
};

/* ---- scanning ---- */

/* Of 4 bits: a block of 16 places after the other. */
static inline void list_plain_nibbles(const struct annk_list_query *q,
                                      const struct list_unit *u, uint32_t *sums)
{
    const uint8_t *codes = u->codes;
    for (size_t block = 0; block < u->n; block += 16)
        for (size_t c = 0; c < q->m / 8; c++, codes += 64)
            nibble_chunk(q->table + 128 * c, codes, 0, sums + block);
}

static inline void list_plain_bytes(const struct annk_list_query *q, const struct list_unit *u,
                                    uint32_t *sums)
{
    const uint8_t *codes = u->codes, *table = q->table;
    for (size_t s = 0; s < q->m; s++, codes += u->width, table += 256)
        for (size_t i = 0; i < u->n; i++)
            sums[i] += table[codes[i]];
}

/* Of 6 bits: three codes and the three upper parts of a fourth. */
static inline void list_plain_sixes(const struct annk_list_query *q, const struct list_unit *u,
                                    uint32_t *sums)
{
    const uint8_t *codes = u->codes, *table = q->table;
    for (size_t c = 0; c < q->m / 4; c++, codes += 3 * u->width, table += 256)
        for (size_t i = 0; i < u->n; i++) {
            const uint8_t x = codes[i], y = codes[u->width + i], z = codes[2 * u->width + i];
            sums[i] += (uint32_t)table[x & 63] + table[64 + (y & 63)] + table[128 + (z & 63)] +
                       table[192 + (x >> 6 | y >> 6 << 2 | z >> 6 << 4)];
        }
}

static inline void list_plain_sums(const struct annk_list_query *q, const struct list_unit *u,
                                   uint32_t *sums)
{
    memset(sums, 0, LIST_UNIT * sizeof *sums);
    switch (q->bits) {
    case 4: list_plain_nibbles(q, u, sums); break;
    case 6: list_plain_sixes(q, u, sums); break;
    default: list_plain_bytes(q, u, sums);
    }
}

/* Of nq queries. */
static void list_sums(const struct annk_list_query *const *q, size_t nq,
                      const struct list_unit *u, list_sums_of *sums);

#ifndef ANNK_LISTS_SUMS

static void list_sums(const struct annk_list_query *const *q, size_t nq,
                      const struct list_unit *u, list_sums_of *sums)
{
    for (size_t i = 0; i < nq; i++)
        list_plain_sums(q[i], u, sums[i]);
}

#endif

/* Returns how many. */
static size_t list_keep(const struct list_sink *to, const uint32_t *sums);

#ifndef ANNK_LISTS_KEEP

static size_t list_keep(const struct list_sink *to, const uint32_t *sums)
{
    f32_any *const dists = to->dists;
    u32_any *const places = to->places;
    const u16_any *const bias = to->bias;
    size_t n = 0;
    for (size_t i = 0; i < to->n; i++) {
        const float d = to->base + f16_widen(bias[i]) + to->step * (float)(int32_t)sums[i];
        if (!(d <= to->limit))
            continue;
        dists[n] = d;
        places[n++] = to->first + (uint32_t)i;
    }
    return n;
}

#endif

ALWAYS_INLINE void list_walk(const struct annk_list_query *const *q, size_t nq,
                             const struct annk_list_run *run, const float *base,
                             const float *limit, float *const *dists, uint32_t *const *places,
                             size_t *counts)
{
    const size_t code = annk_list_code_bytes(q[0]->bits, q[0]->m),
                 all = (run->n + 15) / 16 * 16, end = run->last < run->n ? run->last : run->n;
    _Alignas(64) list_sums_of sums[ANNK_LIST_BATCH];
    for (size_t i = 0; i < nq; i++)
        counts[i] = 0;
    for (size_t at = run->first; at < end; at += LIST_UNIT) {
        const size_t left = end - at;
        const struct list_unit u = {
            run->codes + at * code,
            all - at < LIST_UNIT ? all - at : LIST_UNIT,
            left < LIST_UNIT ? left : LIST_UNIT,
            left > LIST_UNIT && (left - LIST_UNIT) * code > LIST_AHEAD ? LIST_AHEAD : 0,
        };
        list_sums(q, nq, &u, sums);
        for (size_t i = 0; i < nq; i++) {
            const struct list_sink to = {run->bias + at,  u.n,      (uint32_t)at,
                                         q[i]->step,      base[i],  limit[i],
                                         dists[i] + counts[i], places[i] + counts[i]};
            counts[i] += list_keep(&to, sums[i]);
        }
    }
}

static size_t list_scan(const struct annk_list_query *q, const struct annk_list_run *run,
                        float base, float limit, float *dists, uint32_t *places)
{
    size_t n;
    list_walk(&q, 1, run, &base, &limit, &dists, &places, &n);
    return n;
}

static void list_scan_batch(const struct annk_list_query *const *q, size_t nq,
                            const struct annk_list_run *run, const float *base,
                            const float *limit, float *const *dists, uint32_t *const *places,
                            size_t *counts)
{
    list_walk(q, nq, run, base, limit, dists, places, counts);
}

/* ---- a query's tables ---- */

/* -2 times the products of 16 codewords; sums of 16 dimensions are added up. */
ALWAYS_INLINE void list_products16(const float *book, const float *y, uint32_t dsub,
                                   size_t words, float *products)
{
    enum { VECTORS = 16 / LANES, RUN = 16 };
    vf all[VECTORS], sum[VECTORS];
    for (int v = 0; v < VECTORS; v++)
        all[v] = vf_set(0);
    for (uint32_t from = 0; from < dsub; from += RUN) {
        const uint32_t end = dsub - from < RUN ? dsub : from + RUN;
        for (int v = 0; v < VECTORS; v++)
            sum[v] = vf_set(0);
        for (uint32_t d = from; d < end; d++) {
            const vf by = vf_set(*(const f32_any *)(y + d));
            for (int v = 0; v < VECTORS; v++)
                sum[v] = vf_fma(vf_load(book + d * words + (size_t)(v * LANES)), by, sum[v]);
        }
        for (int v = 0; v < VECTORS; v++)
            all[v] = vf_add(all[v], sum[v]);
    }
    for (int v = 0; v < VECTORS; v++)
        vf_store(products + v * LANES, vf_mul(all[v], vf_set(-2)));
}

static void list_products(const float *codebooks, const float *y, uint32_t m, uint32_t dsub,
                          unsigned bits, float *products)
{
    const size_t words = (size_t)1 << bits;
    for (uint32_t s = 0; s < m; s++, y += dsub, codebooks += dsub * words, products += words)
        for (size_t j = 0; j < words; j += 16)
            list_products16(codebooks + j, y, dsub, words, products + j);
}

/* Least and largest of a subspace's products. */
ALWAYS_INLINE float list_least(const float *products, size_t words, float *most)
{
    vf low = vf_load(products), high = low;
    for (size_t j = LANES; j < words; j += LANES) {
        const vf x = vf_load(products + j);
        low = vf_min(low, x);
        high = vf_max(high, x);
    }
    *most = vf_highest(high);
    return vf_lowest(low);
}

static float list_quantise(const float *products, uint32_t m, unsigned bits, uint8_t *table,
                           struct annk_list_query *q)
{
    const size_t words = (size_t)1 << bits;
    const uint32_t padded = annk_list_padded(bits, m);
    float largest = 0, most;
    double base = 0;
    for (uint32_t s = 0; s < m; s++) {
        const float least = list_least(products + s * words, words, &most);
        largest = most - least > largest ? most - least : largest;
        base += (double)least;
    }
    const float step = largest / 255.0f >= FLT_MIN ? largest / 255.0f : 1;
    const vf by = vf_set(1.0f / step);
    for (uint32_t s = 0; s < m; s++) {
        const float *const p = products + s * words;
        const vf least = vf_set(list_least(p, words, &most));
        for (size_t j = 0; j < words; j += LANES) {
            const vf x = vf_round(vf_mul(vf_sub(vf_load(p + j), least), by));
            vf_bytes(vf_min(x, vf_set(255)), table + s * words + j);
        }
    }
    memset(table + m * words, 0, (padded - m) * words);
    *q = (struct annk_list_query){.table = table, .m = padded, .bits = bits, .step = step};
    return (float)base;
}

/* ---- centroids ---- */

/* Of nq queries the sums of table bytes times query bytes, in `blocks` blocks of 16 centroids,
 * 1..4. */
static void coarse_dots(const struct annk_coarse_query *q, size_t nq, const uint8_t *table,
                        size_t blocks, size_t groups, list_sums_of *sums);

#ifndef ANNK_LISTS_DOTS

static void coarse_dots(const struct annk_coarse_query *q, size_t nq, const uint8_t *table,
                        size_t blocks, size_t groups, list_sums_of *sums)
{
    for (size_t i = 0; i < nq; i++)
        for (size_t l = 0; l < 16 * blocks; l++) {
            const uint8_t *const row = table + (l / 16 * groups * 16 + l % 16) * 4;
            int32_t sum = 0;
            for (size_t g = 0; g < groups; g++)
                for (size_t d = 0; d < 4; d++)
                    sum += row[64 * g + d] * q[i].code[4 * g + d];
            sums[i][l] = (uint32_t)sum;
        }
}

#endif

/* Distances of 16 centroids. */
ALWAYS_INLINE void coarse_finish(const struct annk_coarse_query *q, const uint32_t *sums,
                                 const float *norms, float *dists)
{
    const f32_any *const norm = (const void *)norms;
    const int32_t bias = 128 * q->sum;
    for (size_t l = 0; l < 16; l++) {
        const float dist = q->norm + norm[l] + q->by * (float)((int32_t)sums[l] - bias);
        dists[l] = dist > 0 ? dist : 0;
    }
}

static void list_coarse(const struct annk_coarse_query *q, size_t nq, const uint8_t *table,
                        const float *norms, size_t n, size_t groups)
{
    _Alignas(64) list_sums_of sums[ANNK_LIST_BATCH];
    _Alignas(64) float dists[LIST_UNIT];
    for (size_t at = 0; at < n; at += LIST_UNIT) {
        const size_t left = n - at < LIST_UNIT ? n - at : LIST_UNIT, blocks = (left + 15) / 16;
        coarse_dots(q, nq, table + at * groups * 4, blocks, groups, sums);
        for (size_t i = 0; i < nq; i++) {
            for (size_t l = 0; l < 16 * blocks; l += 16)
                coarse_finish(&q[i], sums[i] + l, norms + at + l, dists + l);
            memcpy(q[i].dists + at, dists, left * sizeof *dists);
        }
    }
}

#define DEFINE_LISTS(ISA)                                                                   \
    const struct annk_list_ops annk_lists_##ISA = {.name = #ISA,                            \
                                                   .scan = list_scan,                       \
                                                   .scan_batch = list_scan_batch,           \
                                                   .products = list_products,               \
                                                   .quantise = list_quantise,               \
                                                   .coarse = list_coarse}

#endif
