/*
 * Rows with AVX-512 VBMI and VNNI.  A group's 16 places are the 32-bit lanes
 * of a register; vpermb looks 64 nibbles up in the tables of four groups of
 * dimensions, and vpdpbusd, a plane's weight in its other operand, adds each
 * lane's four entries: no 16-bit sums, no fold at the end.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <immintrin.h>

#define ANNK_ROWS_ENCODE
#define ANNK_ROWS_KEEP
#define ANNK_ROWS_VECTORS
#include "body_rows.h"

#define ALWAYS static inline __attribute__((always_inline))

ALWAYS __mmask16 low_lanes(size_t n)
{
    return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
}

/* ---- making ---- */

/* |other - own| */
ALWAYS __m512i sizes_at(const uint8_t *own, const uint8_t *other)
{
    const __m512i a = _mm512_loadu_si512(own), b = _mm512_loadu_si512(other);
    return _mm512_sub_epi8(_mm512_max_epu8(a, b), _mm512_min_epu8(a, b));
}

/* Sums of residual magnitudes and of their squares. */
ALWAYS void residual_sums(const uint8_t *own, const uint8_t *other, size_t padded, int64_t *sum,
                          int64_t *squares)
{
    __m512i s = _mm512_setzero_si512(), q = s;
    for (size_t at = 0; at < padded; at += 64) {
        const __m512i size = sizes_at(own + at, other + at);
        const __m512i low = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(size));
        const __m512i high = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(size, 1));
        s = _mm512_add_epi64(s, _mm512_sad_epu8(size, _mm512_setzero_si512()));
        q = _mm512_add_epi32(q, _mm512_madd_epi16(low, low));
        q = _mm512_add_epi32(q, _mm512_madd_epi16(high, high));
    }
    *sum = _mm512_reduce_add_epi64(s);
    *squares = _mm512_reduce_add_epi64(
        _mm512_add_epi64(_mm512_cvtepu32_epi64(_mm512_castsi512_si256(q)),
                         _mm512_cvtepu32_epi64(_mm512_extracti64x4_epi64(q, 1))));
}

/* row_fit for one candidate; sum: of the magnitudes. */
ALWAYS void fit(const uint8_t *own, const uint8_t *other, size_t padded, const int32_t *limits,
                unsigned steps, int64_t sum, int64_t *dot, int64_t *norm)
{
    int64_t above = 0, square = (int64_t)padded;
    for (unsigned m = 0; m < steps && limits[m] <= 255; m++) {
        const __m512i limit = _mm512_set1_epi8((char)limits[m]);
        __m512i over = _mm512_setzero_si512();
        int64_t count = 0;
        for (size_t at = 0; at < padded; at += 64) {
            const __m512i size = sizes_at(own + at, other + at);
            const __mmask64 in = _mm512_cmpge_epu8_mask(size, limit);
            over = _mm512_add_epi64(over, _mm512_sad_epu8(_mm512_maskz_mov_epi8(in, size),
                                                          _mm512_setzero_si512()));
            count += __builtin_popcountll(in);
        }
        above += _mm512_reduce_add_epi64(over);
        square += 8 * (int64_t)(m + 1) * count;
    }
    *dot = sum + 2 * above;
    *norm = square;
}

/* The thresholds that fit best; the sums that do not depend on the code's signs. */
ALWAYS void best_limits(const uint8_t *own, const uint8_t *other, size_t padded,
                        unsigned planes, int32_t *best, struct annk_row_code *out)
{
    const unsigned steps = (1u << (planes - 1)) - 1;
    int32_t limits[8];
    int64_t sum, best_norm = 1;
    residual_sums(own, other, padded, &sum, &out->norm);
    out->dot = sum;
    if (planes == 1)
        return;
    const double rms = sqrt((double)out->norm / (double)padded);
    for (unsigned w = 0; w < ROW_WIDTHS; w++) {
        int64_t dot, norm;
        row_limits(rms * (double)row_widths[planes - 2][w], steps, limits);
        fit(own, other, padded, limits, steps, sum, &dot, &norm);
        if (w > 0 && row_quality(dot, norm) <= row_quality(out->dot, best_norm))
            continue;
        out->dot = dot;
        best_norm = norm;
        memcpy(best, limits, sizeof limits);
    }
}

ALWAYS void encode_planes(const uint8_t *own, const uint8_t *other, size_t padded,
                          unsigned planes, uint32_t *words, struct annk_row_code *out)
{
    const unsigned steps = (1u << (planes - 1)) - 1;
    const __m512i one = _mm512_set1_epi8(1), flip = _mm512_set1_epi8((char)0x80);
    const __m512i half = _mm512_set1_epi8((char)(1 << (planes - 1)));
    __m512i cross = _mm512_setzero_si512();
    int32_t limits[8] = {0};
    best_limits(own, other, padded, planes, limits, out);
    for (size_t at = 0; at < padded; at += 64) {
        const __m512i a = _mm512_loadu_si512(own + at), b = _mm512_loadu_si512(other + at);
        const __m512i size = sizes_at(own + at, other + at), c = _mm512_xor_si512(a, flip);
        const __mmask64 less = _mm512_cmplt_epu8_mask(b, a);
        __m512i m = _mm512_setzero_si512();
        for (unsigned j = 0; j < steps && limits[j] <= 255; j++)
            m = _mm512_mask_add_epi8(
                m, _mm512_cmpge_epu8_mask(size, _mm512_set1_epi8((char)limits[j])), m, one);
        const __m512i y = _mm512_add_epi8(_mm512_add_epi8(m, m), one); /* |2y| */
        cross = _mm512_dpbusd_epi32(
            cross, y, _mm512_mask_sub_epi8(c, less, _mm512_setzero_si512(), c));
        const __m512i up = _mm512_add_epi8(half, m);
        const __m512i down = _mm512_sub_epi8(_mm512_sub_epi8(half, one), m);
        const __m512i u = _mm512_mask_mov_epi8(up, less, down);
        for (unsigned p = 0; p < planes; p++) {
            const __mmask64 bits = _mm512_test_epi8_mask(u, _mm512_set1_epi8((char)(1 << p)));
            words[(at / 32 * planes + p) * 16] = (uint32_t)bits;
            words[((at / 32 + 1) * planes + p) * 16] = (uint32_t)(bits >> 32);
        }
    }
    out->cross = _mm512_reduce_add_epi32(cross);
}

static void row_encode(const uint8_t *own, const uint8_t *other, size_t padded, unsigned planes,
                       uint32_t *words, struct annk_row_code *out)
{
    switch (planes) {
    case 1: encode_planes(own, other, padded, 1, words, out); break;
    case 2: encode_planes(own, other, padded, 2, words, out); break;
    default: encode_planes(own, other, padded, planes, words, out);
    }
}

/* ---- reading ---- */

static float row_own(const struct annk_row_query *q, const uint8_t *row)
{
    const __m512i flip = _mm512_set1_epi8((char)0x80);
    __m512i dot = _mm512_setzero_si512(), norm = dot;
    for (size_t i = 0; i < q->padded; i += 64) {
        const __m512i u = _mm512_loadu_si512(row + i), c = _mm512_xor_si512(u, flip);
        dot = _mm512_dpbusd_epi32(dot, u, _mm512_loadu_si512(q->query + i));
        norm = _mm512_dpbusd_epi32(norm, _mm512_abs_epi8(c), _mm512_abs_epi8(c));
    }
    return row_own_distance(q, _mm512_reduce_add_epi32(norm),
                            _mm512_reduce_add_epi32(dot) - 128 * q->query_sum);
}

/* The sums of table entries of one group's places, 16 lanes. */
ALWAYS __m512i group_sums(const uint8_t *sums, const uint8_t *bits, size_t chunks,
                          unsigned planes)
{
    const __m512i low4 = _mm512_set1_epi8(0x0f), tables = _mm512_set1_epi32(0x30201000);
    __m512i even = _mm512_setzero_si512(), odd = even;
    for (size_t c = 0; c < chunks; c++, sums += 128) {
        const __m512i t0 = _mm512_loadu_si512(sums), t1 = _mm512_loadu_si512(sums + 64);
        for (unsigned p = 0; p < planes; p++, bits += 64) {
            const __m512i x = _mm512_loadu_si512(bits), weight = _mm512_set1_epi8((char)(1 << p));
            const __m512i lo = _mm512_ternarylogic_epi32(x, low4, tables, 0xea);
            const __m512i hi =
                _mm512_ternarylogic_epi32(_mm512_srli_epi32(x, 4), low4, tables, 0xea);
            even = _mm512_dpbusd_epi32(even, _mm512_permutexvar_epi8(lo, t0), weight);
            odd = _mm512_dpbusd_epi32(odd, _mm512_permutexvar_epi8(hi, t1), weight);
        }
    }
    return _mm512_add_epi32(even, odd);
}

/* One group: estimates, those at most limit to dists and ids; how many.  Whole registers are
 * stored, for which there is room in any group: a masked store is dearer, and what is read back
 * soon has to wait for it. */
ALWAYS size_t scan_group(const struct annk_row_query *q, const uint8_t *group, __m512i sums,
                         __m512 own, __m512 limit, float *dists, uint32_t *ids)
{
    const __m512i at = _mm512_loadu_si512(group);
    const __m512 a = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(group + 64)));
    const __m512 b = _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(group + 96)));
    const __m512 t = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(q->scale),
                                     _mm512_set1_ps(q->offset));
    const __m512 d = _mm512_fmadd_ps(b, t, _mm512_add_ps(own, a));
    __mmask16 m = _mm512_cmp_ps_mask(d, limit, _CMP_LE_OQ);
    m = _mm512_mask_cmplt_epu32_mask(m, at, _mm512_set1_epi32((int)q->slots));
    _mm512_storeu_ps(dists, _mm512_maskz_compress_ps(m, d));
    _mm512_storeu_si512(ids, _mm512_maskz_compress_epi32(m, at));
    return (size_t)__builtin_popcount(m);
}

ALWAYS size_t scan_planes(const struct annk_row_query *q, const uint8_t *row, float own,
                          float limit, float *dists, uint32_t *ids, unsigned planes)
{
    const size_t step = annk_row_group_bytes(q->padded, planes), chunks = q->padded / 32;
    const uint8_t *group = row + q->padded;
    const __m512 o = _mm512_set1_ps(own), most = _mm512_set1_ps(limit);
    size_t n = 0;
    for (uint32_t g = 0; g < q->groups; g++, group += step) {
        row_fetch_next(q, g, step);
        n += scan_group(q, group, group_sums(q->sums, group + 128, chunks, planes), o, most,
                        dists + n, ids + n);
    }
    return n;
}

static size_t row_scan(const struct annk_row_query *q, const uint8_t *row, float own,
                       float limit, float *dists, uint32_t *ids)
{
    switch (q->planes) {
    case 1: return scan_planes(q, row, own, limit, dists, ids, 1);
    case 2: return scan_planes(q, row, own, limit, dists, ids, 2);
    case 3: return scan_planes(q, row, own, limit, dists, ids, 3);
    default: return scan_planes(q, row, own, limit, dists, ids, 4);
    }
}

/* The lowest first and then where it is: a comparison that keeps both waits for the one before
 * it, and four registers of minima do not. */
static size_t row_lowest(const float *dists, size_t n)
{
    __m512 low[4];
    size_t i = 0;
    for (unsigned j = 0; j < 4; j++)
        low[j] = _mm512_set1_ps(INFINITY);
    for (; n - i >= 64; i += 64)
        for (unsigned j = 0; j < 4; j++)
            low[j] = _mm512_min_ps(low[j], _mm512_loadu_ps(dists + i + 16 * j));
    for (; i < n; i += 16)
        low[0] = _mm512_mask_min_ps(low[0], low_lanes(n - i), low[0],
                                    _mm512_maskz_loadu_ps(low_lanes(n - i), dists + i));
    low[0] = _mm512_min_ps(_mm512_min_ps(low[0], low[1]), _mm512_min_ps(low[2], low[3]));
    const __m512 least = _mm512_set1_ps(_mm512_reduce_min_ps(low[0]));
    for (i = 0;; i += 16) {
        const __mmask16 lanes = low_lanes(n - i);
        const __mmask16 equal = _mm512_mask_cmp_ps_mask(
            lanes, _mm512_maskz_loadu_ps(lanes, dists + i), least, _CMP_EQ_OQ);
        if (equal || n - i <= 16)
            return i + (equal ? (size_t)__builtin_ctz(equal) : 0);
    }
}

static size_t row_keep(float *dists, uint32_t *ids, size_t n, float limit)
{
    const __m512 most = _mm512_set1_ps(limit);
    size_t kept = 0;
    for (size_t i = 0; i < n; i += 16) {
        const __mmask16 lanes = low_lanes(n - i);
        const __m512 d = _mm512_maskz_loadu_ps(lanes, dists + i);
        const __m512i id = _mm512_maskz_loadu_epi32(lanes, ids + i);
        const __mmask16 m = _mm512_mask_cmp_ps_mask(lanes, d, most, _CMP_LE_OQ);
        const size_t more = (size_t)__builtin_popcount(m);
        _mm512_mask_storeu_ps(dists + kept, low_lanes(more), _mm512_maskz_compress_ps(m, d));
        _mm512_mask_storeu_epi32(ids + kept, low_lanes(more),
                                 _mm512_maskz_compress_epi32(m, id));
        kept += more;
    }
    return kept;
}

/* Lane g of a and b: the weights above 0 of dimensions 8g..8g+7 and those below; an entry takes
 * from one or the other by each of its bits. */
ALWAYS __m512i entries_of(__m512i weights, unsigned first)
{
    const __m128i bits = _mm_setr_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    __m512i sum = _mm512_setzero_si512();
    for (unsigned j = 0; j < 4; j++) {
        const __m128i set = _mm_cmpeq_epi8(_mm_and_si128(bits, _mm_set1_epi8((char)(1 << j))),
                                           _mm_setzero_si128());
        const __m128i from = _mm_add_epi8(_mm_set1_epi8((char)(first + j)),
                                          _mm_and_si128(set, _mm_set1_epi8(8)));
        sum = _mm512_add_epi8(sum,
                              _mm512_shuffle_epi8(weights, _mm512_broadcast_i32x4(from)));
    }
    return sum;
}

static struct row_weights row_fills(const int8_t *query, size_t padded, uint8_t *entries)
{
    const __m512i most = _mm512_set1_epi8(ROW_WEIGHT_MAX), zero = _mm512_setzero_si512();
    const __m512i first = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
    const __m512i second = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
    __m512i sum = zero, dot = zero, norm = zero;
    for (size_t at = 0; at < padded; at += 64, entries += 256) {
        const __m512i v = _mm512_loadu_si512(query + at), size = _mm512_abs_epi8(v);
        const __m512i w = _mm512_min_epu8(_mm512_avg_epu8(size, zero), most);
        const __mmask64 above = _mm512_cmpgt_epi8_mask(v, zero);
        const __m512i a = _mm512_maskz_mov_epi8(above, w);
        const __m512i b = _mm512_maskz_mov_epi8(~above, w);
        const __m512i low = _mm512_permutex2var_epi64(a, first, b);
        const __m512i high = _mm512_permutex2var_epi64(a, second, b);
        sum = _mm512_add_epi64(sum, _mm512_sad_epu8(w, zero));
        dot = _mm512_dpbusd_epi32(dot, size, w);
        norm = _mm512_dpbusd_epi32(norm, w, w);
        _mm512_storeu_si512(entries, entries_of(low, 0));
        _mm512_storeu_si512(entries + 64, entries_of(low, 4));
        _mm512_storeu_si512(entries + 128, entries_of(high, 0));
        _mm512_storeu_si512(entries + 192, entries_of(high, 4));
    }
    return (struct row_weights){(int32_t)_mm512_reduce_add_epi64(sum),
                                _mm512_reduce_add_epi32(dot), _mm512_reduce_add_epi32(norm)};
}

DEFINE_ROWS(avx512);
