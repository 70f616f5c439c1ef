/*
 * Lists with AVX-512 VBMI and VNNI.  Of 4 bits a block's 16 places are the
 * 32-bit lanes of a register: vpermb looks 64 nibbles up in the tables of four
 * subspaces, vpdpbusd adds each lane's four entries, and four blocks share the
 * loads of the tables.  Of 6 and 8 bits 64 places are the bytes of a register.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "vf_avx512.h"

#define ANNK_LISTS_SUMS
#define ANNK_LISTS_KEEP
#define ANNK_LISTS_DOTS
#include "body_lists.h"

/* The empty asm keeps gcc 12 from dropping the prefetches of a loop. */
ALWAYS_INLINE void prefetch(const uint8_t *p)
{
    __builtin_prefetch(p, 0, 3);
    __asm__ volatile("");
}

/* ---- 4 bits ---- */

/* nq queries' sums of blocks of 16 places, each m / 8 chunks of codes. */
ALWAYS_INLINE void add_blocks(const struct annk_list_query *const *q, size_t nq,
                              const uint8_t *codes, size_t blocks, size_t at,
                              size_t ahead, list_sums_of *sums)
{
    const __m512i low4 = _mm512_set1_epi8(0x0f), tables = _mm512_set1_epi32(0x30201000),
                  one = _mm512_set1_epi8(1);
    const size_t bytes = (size_t)q[0]->m * 8;
    __m512i s[ANNK_LIST_BATCH][4];
    for (size_t i = 0; i < nq; i++)
        for (size_t b = 0; b < blocks; b++)
            s[i][b] = _mm512_setzero_si512();
    for (size_t c = 0; c < bytes; c += 64) {
        __m512i low[4], high[4];
        for (size_t b = 0; b < blocks; b++) {
            const __m512i x = _mm512_loadu_si512(codes + b * bytes + c);
            prefetch(codes + c * blocks + 64 * b + ahead);
            low[b] = _mm512_ternarylogic_epi32(x, low4, tables, 0xea);
            high[b] = _mm512_ternarylogic_epi32(_mm512_srli_epi32(x, 4), low4, tables, 0xea);
        }
        for (size_t i = 0; i < nq; i++) {
            const __m512i t0 = _mm512_loadu_si512(q[i]->table + 2 * c),
                          t1 = _mm512_loadu_si512(q[i]->table + 2 * c + 64);
            for (size_t b = 0; b < blocks; b++) {
                const __m512i e0 = _mm512_permutexvar_epi8(low[b], t0),
                              e1 = _mm512_permutexvar_epi8(high[b], t1);
                s[i][b] = _mm512_dpbusd_epi32(s[i][b], e0, one);
                s[i][b] = _mm512_dpbusd_epi32(s[i][b], e1, one);
            }
        }
    }
    for (size_t i = 0; i < nq; i++)
        for (size_t b = 0; b < blocks; b++)
            _mm512_store_si512(sums[i] + at + 16 * b, s[i][b]);
}

/* Four queries times four blocks are more sums than gcc 12 keeps in registers. */
ALWAYS_INLINE void nibble_sums(const struct annk_list_query *const *q, size_t nq,
                               const struct list_unit *u, list_sums_of *sums)
{
    const size_t blocks = nq > 2 ? 2 : 4;
    if (u->n > 48) {
        for (size_t at = 0; at < LIST_UNIT; at += 16 * blocks)
            add_blocks(q, nq, u->codes + at * q[0]->m / 2, blocks, at, u->ahead, sums);
        return;
    }
    for (size_t at = 0; at < u->n; at += 16)
        add_blocks(q, nq, u->codes + at * q[0]->m / 2, 1, at, 0, sums);
}

/* ---- 6 and 8 bits ---- */

/* 16-bit sums of the entries of 64 places: all of a lane modulo 2^16, and those of its upper
 * byte. */
struct byte_sums {
    __m512i all, upper;
};

ALWAYS_INLINE void add_bytes(struct byte_sums *s, __m512i entries)
{
    s->all = _mm512_add_epi16(s->all, entries);
    s->upper = _mm512_add_epi16(s->upper, _mm512_srli_epi16(entries, 8));
}

ALWAYS_INLINE void add_words(uint32_t *sums, __m256i words)
{
    _mm512_store_si512(sums, _mm512_add_epi32(_mm512_load_si512(sums),
                                              _mm512_cvtepu16_epi32(words)));
}

/* To the sums of the places, in their order. */
ALWAYS_INLINE void add_places(uint32_t *sums, const struct byte_sums *s)
{
    const __m512i even = _mm512_sub_epi16(s->all, _mm512_slli_epi16(s->upper, 8)),
                  low = _mm512_unpacklo_epi16(even, s->upper),
                  high = _mm512_unpackhi_epi16(even, s->upper);
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11),
                  second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    const __m512i a = _mm512_permutex2var_epi64(low, first, high),
                  b = _mm512_permutex2var_epi64(low, second, high);
    add_words(sums, _mm512_castsi512_si256(a));
    add_words(sums + 16, _mm512_extracti64x4_epi64(a, 1));
    add_words(sums + 32, _mm512_castsi512_si256(b));
    add_words(sums + 48, _mm512_extracti64x4_epi64(b, 1));
}

/* Of a table of 256: two look-ups in 128 entries each, by the code's lower 7 bits. */
ALWAYS_INLINE __m512i entries256(const uint8_t *table, __m512i x)
{
    const __m512i low = _mm512_permutex2var_epi8(_mm512_loadu_si512(table), x,
                                                 _mm512_loadu_si512(table + 64)),
                  high = _mm512_permutex2var_epi8(_mm512_loadu_si512(table + 128), x,
                                                  _mm512_loadu_si512(table + 192));
    return _mm512_mask_mov_epi8(low, _mm512_movepi8_mask(x), high);
}

/* A subspace of 8 bits: `lanes` are the places that have codes. */
ALWAYS_INLINE const uint8_t *add_subspace(const struct annk_list_query *const *q, size_t nq,
                                          const struct list_unit *u, __mmask64 lanes, size_t at,
                                          const uint8_t *codes, struct byte_sums *s)
{
    const __m512i x = _mm512_maskz_loadu_epi8(lanes, codes);
    prefetch(codes + u->ahead);
    for (size_t i = 0; i < nq; i++)
        add_bytes(&s[i], entries256(q[i]->table + 256 * at, x));
    return codes + u->width;
}

/* Four subspaces of 6 bits.  vpermb takes no notice of the upper two bits. */
ALWAYS_INLINE const uint8_t *add_sixes(const struct annk_list_query *const *q, size_t nq,
                                       const struct list_unit *u, __mmask64 lanes, size_t at,
                                       const uint8_t *codes, struct byte_sums *s)
{
    enum { SELECT = 0xca }; /* of a, b where set, else c */
    const __m512i bits01 = _mm512_set1_epi8(3), bits23 = _mm512_set1_epi8(12);
    __m512i x[4];
    for (size_t r = 0; r < 3; r++) {
        x[r] = _mm512_maskz_loadu_epi8(lanes, codes + r * u->width);
        prefetch(codes + r * u->width + u->ahead);
    }
    x[3] = _mm512_ternarylogic_epi32(bits23, _mm512_srli_epi16(x[1], 4),
                                     _mm512_srli_epi16(x[2], 2), SELECT);
    x[3] = _mm512_ternarylogic_epi32(bits01, _mm512_srli_epi16(x[0], 6), x[3], SELECT);
    for (size_t i = 0; i < nq; i++)
        for (size_t r = 0; r < 4; r++) {
            const __m512i table = _mm512_loadu_si512(q[i]->table + 64 * (at + r));
            add_bytes(&s[i], _mm512_permutexvar_epi8(x[r], table));
        }
    return codes + 3 * u->width;
}

ALWAYS_INLINE void block_sums(const struct annk_list_query *const *q, size_t nq,
                              const struct list_unit *u, __mmask64 lanes, list_sums_of *sums)
{
    const uint8_t *codes = u->codes;
    struct byte_sums s[ANNK_LIST_BATCH];
    memset(sums, 0, nq * sizeof *sums);
    for (size_t from = 0; from < q[0]->m; from += LIST_BYTES) {
        const size_t end = q[0]->m - from < LIST_BYTES ? q[0]->m : from + LIST_BYTES;
        for (size_t i = 0; i < nq; i++)
            s[i].all = s[i].upper = _mm512_setzero_si512();
        if (q[0]->bits == 8)
            for (size_t at = from; at < end; at++)
                codes = add_subspace(q, nq, u, lanes, at, codes, s);
        else
            for (size_t at = from; at < end; at += 4)
                codes = add_sixes(q, nq, u, lanes, at, codes, s);
        for (size_t i = 0; i < nq; i++)
            add_places(sums[i], &s[i]);
    }
}

/* ---- all ---- */

ALWAYS_INLINE void unit_sums(const struct annk_list_query *const *q, size_t nq,
                             const struct list_unit *u, list_sums_of *sums)
{
    if (q[0]->bits == 4)
        nibble_sums(q, nq, u, sums);
    else if (u->width == LIST_UNIT)
        block_sums(q, nq, u, ~(__mmask64)0, sums);
    else
        block_sums(q, nq, u, ((__mmask64)1 << u->width) - 1, sums);
}

static void list_sums(const struct annk_list_query *const *q, size_t nq,
                      const struct list_unit *u, list_sums_of *sums)
{
    switch (nq) {
    case 1: unit_sums(q, 1, u, sums); break;
    case 2: unit_sums(q, 2, u, sums); break;
    case 3: unit_sums(q, 3, u, sums); break;
    default: unit_sums(q, 4, u, sums);
    }
}

/* Estimates of 16 places. */
ALWAYS_INLINE __m512 estimates(const struct list_sink *to, const uint32_t *sums, size_t at)
{
    const __m256i bias = _mm256_loadu_si256((const void *)(to->bias + at));
    return _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_load_si512(sums + at)),
                           _mm512_set1_ps(to->step),
                           _mm512_add_ps(_mm512_set1_ps(to->base), _mm512_cvtph_ps(bias)));
}

/* Nothing is stored unless one of the unit is near enough; the room is a multiple of 16, and no
 * more come out than places were looked at, so whole registers may be stored. */
static size_t list_keep(const struct list_sink *to, const uint32_t *sums)
{
    const __m512 limit = _mm512_set1_ps(to->limit);
    const __m512i lane =
        _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512 d[LIST_UNIT / 16];
    uint64_t near = 0;
    for (size_t g = 0; g < LIST_UNIT / 16; g++)
        if (16 * g < to->n) {
            d[g] = estimates(to, sums, 16 * g);
            near |= (uint64_t)_mm512_cmp_ps_mask(d[g], limit, _CMP_LE_OQ) << 16 * g;
        }
    if (to->n < LIST_UNIT)
        near &= (UINT64_C(1) << to->n) - 1;
    size_t n = 0;
    for (size_t g = 0; near; g++, near >>= 16) {
        const __mmask16 m = (__mmask16)near;
        const __m512i place =
            _mm512_add_epi32(lane, _mm512_set1_epi32((int)(to->first + 16 * g)));
        _mm512_storeu_ps(to->dists + n, _mm512_maskz_compress_ps(m, d[g]));
        _mm512_storeu_si512(to->places + n, _mm512_maskz_compress_epi32(m, place));
        n += (size_t)__builtin_popcount(m);
    }
    return n;
}

/* ---- centroids ---- */

ALWAYS_INLINE void dot_blocks(const struct annk_coarse_query *q, size_t nq,
                              const uint8_t *table, size_t blocks, size_t groups, size_t at,
                              list_sums_of *sums)
{
    __m512i s[ANNK_LIST_BATCH][4];
    for (size_t i = 0; i < nq; i++)
        for (size_t b = 0; b < blocks; b++)
            s[i][b] = _mm512_setzero_si512();
    for (size_t g = 0; g < groups; g++) {
        __m512i x[4];
        for (size_t b = 0; b < blocks; b++)
            x[b] = _mm512_loadu_si512(table + (b * groups + g) * 64);
        for (size_t i = 0; i < nq; i++) {
            int32_t four;
            memcpy(&four, q[i].code + 4 * g, sizeof four);
            const __m512i y = _mm512_set1_epi32(four);
            for (size_t b = 0; b < blocks; b++)
                s[i][b] = _mm512_dpbusd_epi32(s[i][b], x[b], y);
        }
    }
    for (size_t i = 0; i < nq; i++)
        for (size_t b = 0; b < blocks; b++)
            _mm512_store_si512(sums[i] + at + 16 * b, s[i][b]);
}

ALWAYS_INLINE void dot_units(const struct annk_coarse_query *q, size_t nq,
                             const uint8_t *table, size_t blocks, size_t groups,
                             list_sums_of *sums)
{
    const size_t together = nq > 2 ? 2 : 4;
    size_t b = 0;
    for (; blocks - b >= together; b += together)
        dot_blocks(q, nq, table + b * groups * 64, together, groups, 16 * b, sums);
    for (; b < blocks; b++)
        dot_blocks(q, nq, table + b * groups * 64, 1, groups, 16 * b, sums);
}

static void coarse_dots(const struct annk_coarse_query *q, size_t nq, const uint8_t *table,
                        size_t blocks, size_t groups, list_sums_of *sums)
{
    switch (nq) {
    case 1: dot_units(q, 1, table, blocks, groups, sums); break;
    case 2: dot_units(q, 2, table, blocks, groups, sums); break;
    case 3: dot_units(q, 3, table, blocks, groups, sums); break;
    default: dot_units(q, 4, table, blocks, groups, sums);
    }
}

DEFINE_LISTS(avx512);
