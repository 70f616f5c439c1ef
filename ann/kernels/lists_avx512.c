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
#include "body_lists.h"

/* ---- 4 bits ---- */

/* nq queries' sums of blocks of 16 places, each m / 8 chunks of codes. */
ALWAYS_INLINE void add_blocks(const struct annk_list_query *const *q, size_t nq,
                              const uint8_t *codes, size_t blocks, size_t at,
                              list_sums_of *sums)
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
            low[b] = _mm512_ternarylogic_epi32(x, low4, tables, 0xea);
            high[b] = _mm512_ternarylogic_epi32(_mm512_srli_epi32(x, 4), low4, tables, 0xea);
        }
        for (size_t i = 0; i < nq; i++) {
            const __m512i t0 = _mm512_loadu_si512(q[i]->table + 2 * c),
                          t1 = _mm512_loadu_si512(q[i]->table + 2 * c + 64);
            for (size_t b = 0; b < blocks; b++) {
                s[i][b] = _mm512_dpbusd_epi32(s[i][b], _mm512_permutexvar_epi8(low[b], t0), one);
                s[i][b] = _mm512_dpbusd_epi32(s[i][b], _mm512_permutexvar_epi8(high[b], t1), one);
            }
        }
    }
    for (size_t i = 0; i < nq; i++)
        for (size_t b = 0; b < blocks; b++)
            _mm512_store_si512(sums[i] + at + 16 * b, s[i][b]);
}

ALWAYS_INLINE void nibble_sums(const struct annk_list_query *const *q, size_t nq,
                               const struct list_unit *u, list_sums_of *sums)
{
    if (u->n > 48) {
        add_blocks(q, nq, u->codes, 4, 0, sums);
        return;
    }
    for (size_t at = 0; at < u->n; at += 16)
        add_blocks(q, nq, u->codes + at * q[0]->m / 2, 1, at, sums);
}

/* ---- all ---- */

ALWAYS_INLINE void unit_sums(const struct annk_list_query *const *q, size_t nq,
                             const struct list_unit *u, list_sums_of *sums)
{
    if (q[0]->bits == 4) {
        nibble_sums(q, nq, u, sums);
        return;
    }
    for (size_t i = 0; i < nq; i++)
        list_plain_sums(q[i], u, sums[i]);
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
    const __m512i lane = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
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

DEFINE_LISTS(avx512);
