/*
 * Rows with AVX2; nibbles_avx2.h looks the bits of a group's 16 places up.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <immintrin.h>

#define ANNK_ROWS_VECTORS
#include "body_rows.h"
#include "nibbles_avx2.h"

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS int32_t sum_lanes(__m256i v)
{
    const __m128i h = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    const __m128i pair = _mm_add_epi32(h, _mm_unpackhi_epi64(h, h));
    return _mm_cvtsi128_si32(_mm_add_epi32(pair, _mm_shuffle_epi32(pair, 1)));
}

static float row_own(const struct annk_row_query *q, const uint8_t *row)
{
    const __m256i byte = _mm256_set1_epi16(255), bias = _mm256_set1_epi16(128);
    __m256i dot = _mm256_setzero_si256(), norm = dot;
    for (size_t i = 0; i < q->padded; i += 32) {
        const __m256i u = load256(row + i), s = load256(q->query + i);
        const __m256i even = _mm256_sub_epi16(_mm256_and_si256(u, byte), bias),
                      odd = _mm256_sub_epi16(_mm256_srli_epi16(u, 8), bias);
        const __m256i q0 = _mm256_srai_epi16(_mm256_slli_epi16(s, 8), 8),
                      q1 = _mm256_srai_epi16(s, 8);
        dot = _mm256_add_epi32(dot, _mm256_madd_epi16(even, q0));
        dot = _mm256_add_epi32(dot, _mm256_madd_epi16(odd, q1));
        norm = _mm256_add_epi32(norm, _mm256_madd_epi16(even, even));
        norm = _mm256_add_epi32(norm, _mm256_madd_epi16(odd, odd));
    }
    return row_own_distance(q, sum_lanes(norm), sum_lanes(dot));
}

/* The sums of table entries of one group's places, 0-7 and 8-15. */
ALWAYS void group_sums(const uint8_t *sums, const uint8_t *bits, size_t chunks, unsigned planes,
                       __m256i out[2])
{
    struct place_sums all = {_mm256_setzero_si256(), _mm256_setzero_si256()};
    for (unsigned p = 0; p < planes; p++)
        for (size_t done = 0; done < chunks; done += CHUNKS) {
            const size_t end = chunks - done < CHUNKS ? chunks : done + CHUNKS;
            struct byte_sums s = {_mm256_setzero_si256(), _mm256_setzero_si256()};
            for (size_t c = done; c < end; c++) {
                __m256i nibbles[4];
                chunk_nibbles(bits + 64 * (c * planes + p), nibbles);
                add_nibbles(&s, sums + 128 * c, nibbles);
            }
            add_halves(&all, &s, (int)p);
        }
    places_in_order(&all, out);
}

/* Estimates of 8 places; the bits of those at most limit and below q->slots. */
ALWAYS unsigned estimate8(const struct annk_row_query *q, const uint8_t *group, size_t from,
                          __m256i sums, float own, float limit, float *dists)
{
    const __m256i at = load256(group + 4 * from), slots = _mm256_set1_epi32((int)q->slots);
    const __m256 a = _mm256_cvtph_ps(_mm_loadu_si128((const void *)(group + 64 + 2 * from)));
    const __m256 b = _mm256_cvtph_ps(_mm_loadu_si128((const void *)(group + 96 + 2 * from)));
    const __m256 t = _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), _mm256_set1_ps(q->scale),
                                     _mm256_set1_ps(q->offset));
    const __m256 d = _mm256_fmadd_ps(b, t, _mm256_add_ps(_mm256_set1_ps(own), a));
    const __m256i none = _mm256_cmpeq_epi32(_mm256_max_epu32(at, slots), at);
    const __m256 near = _mm256_cmp_ps(d, _mm256_set1_ps(limit), _CMP_LE_OQ);
    _mm256_storeu_ps(dists, d);
    return (unsigned)_mm256_movemask_ps(_mm256_andnot_ps(_mm256_castsi256_ps(none), near));
}

ALWAYS size_t scan_planes(const struct annk_row_query *q, const uint8_t *row, float own,
                          float limit, float *dists, uint32_t *ids, unsigned planes)
{
    const size_t step = annk_row_group_bytes(q->padded, planes), chunks = q->padded / 32;
    const uint8_t *group = row + q->padded;
    size_t n = 0;
    for (uint32_t g = 0; g < q->groups; g++, group += step) {
        __m256i sums[2];
        float d[16];
        row_fetch_next(q, g, step);
        group_sums(q->sums, group + 128, chunks, planes, sums);
        unsigned hits = estimate8(q, group, 0, sums[0], own, limit, d);
        hits |= estimate8(q, group, 8, sums[1], own, limit, d + 8) << 8;
        for (; hits; hits &= hits - 1) {
            const unsigned i = (unsigned)__builtin_ctz(hits);
            memcpy(&ids[n], group + 4 * i, sizeof *ids);
            dists[n++] = d[i];
        }
    }
    return n;
}

static size_t row_scan(const struct annk_row_query *q, const uint8_t *row, float own,
                       float limit, float *dists, uint32_t *ids)
{
    switch (q->planes) {
    case 1:
        return scan_planes(q, row, own, limit, dists, ids, 1);
    case 2:
        return scan_planes(q, row, own, limit, dists, ids, 2);
    default:
        return scan_planes(q, row, own, limit, dists, ids, q->planes);
    }
}

static size_t row_lowest(const float *dists, size_t n)
{
    __m256 low = _mm256_set1_ps(INFINITY);
    float least = INFINITY;
    size_t i = 0;
    for (; n - i >= 8; i += 8)
        low = _mm256_min_ps(low, _mm256_loadu_ps(dists + i));
    for (; i < n; i++)
        least = dists[i] < least ? dists[i] : least;
    const __m128 half = _mm_min_ps(_mm256_castps256_ps128(low), _mm256_extractf128_ps(low, 1)),
                 pair = _mm_min_ps(half, _mm_movehl_ps(half, half)),
                 one = _mm_min_ss(pair, _mm_movehdup_ps(pair));
    least = _mm_cvtss_f32(one) < least ? _mm_cvtss_f32(one) : least;
    low = _mm256_set1_ps(least);
    for (i = 0; n - i >= 8; i += 8) {
        const __m256 equal = _mm256_cmp_ps(_mm256_loadu_ps(dists + i), low, _CMP_EQ_OQ);
        const unsigned hits = (unsigned)_mm256_movemask_ps(equal);
        if (hits)
            return i + (size_t)__builtin_ctz(hits);
    }
    while (i + 1 < n && dists[i] != least)
        i++;
    return i;
}

/* The 16 entries of 4 dimensions, the weights above 0 at `first` on and those below 8 behind. */
ALWAYS __m128i entries_of(__m128i weights, unsigned first)
{
    const __m128i bits = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m128i sum = _mm_setzero_si128();
    for (unsigned j = 0; j < 4; j++) {
        const __m128i clear = _mm_cmpeq_epi8(
            _mm_and_si128(bits, _mm_set1_epi8((char)(1 << j))), _mm_setzero_si128());
        const __m128i from = _mm_add_epi8(_mm_set1_epi8((char)(first + j)),
                                          _mm_and_si128(clear, _mm_set1_epi8(8)));
        sum = _mm_add_epi8(sum, _mm_shuffle_epi8(weights, from));
    }
    return sum;
}

ALWAYS int32_t sum_of_lanes(__m128i x)
{
    x = _mm_add_epi32(x, _mm_shuffle_epi32(x, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(x, _mm_shuffle_epi32(x, 0xb1)));
}

static struct row_weights row_fills(const int8_t *query, size_t padded, uint8_t *entries)
{
    const __m128i most = _mm_set1_epi8(ROW_WEIGHT_MAX), zero = _mm_setzero_si128();
    const __m128i ones = _mm_set1_epi16(1);
    __m128i sum = zero, dot = zero, norm = zero;
    for (size_t at = 0; at < padded; at += 8) {
        const __m128i v = _mm_loadl_epi64((const __m128i *)(const void *)(query + at));
        const __m128i size = _mm_abs_epi8(v), above = _mm_cmpgt_epi8(v, zero);
        const __m128i w = _mm_min_epu8(_mm_avg_epu8(size, zero), most);
        const __m128i both = _mm_unpacklo_epi64(_mm_and_si128(above, w),
                                                _mm_andnot_si128(above, w));
        sum = _mm_add_epi32(sum, _mm_sad_epu8(w, zero));
        dot = _mm_add_epi32(dot, _mm_madd_epi16(_mm_maddubs_epi16(size, w), ones));
        norm = _mm_add_epi32(norm, _mm_madd_epi16(_mm_maddubs_epi16(w, w), ones));
        uint8_t *table = entries + at / 32 * 128 + at % 32 * 2;
        _mm_storeu_si128((__m128i *)(void *)table, entries_of(both, 0));
        _mm_storeu_si128((__m128i *)(void *)(table + 64), entries_of(both, 4));
    }
    return (struct row_weights){sum_of_lanes(sum), sum_of_lanes(dot), sum_of_lanes(norm)};
}

DEFINE_ROWS(avx2);
