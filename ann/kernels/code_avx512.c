/*
 * Codes and their frame with AVX-512 VNNI.  vpdpbusd multiplies unsigned code
 * bytes by the signed query and adds four products to a 32-bit lane without
 * saturation, so the bias of the codes comes off at the end: 255 * 128 * 65,664
 * is below 2^31 (and lanes may wrap, for the result fits).
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <immintrin.h>

#include "body_code.h"

#define KERNEL(name) annk_avx512_##name

/* The sums of the lanes of each. */
ALWAYS_INLINE __m128i sum_lanes4(__m512i a, __m512i b, __m512i c, __m512i d)
{
    const __m512i ab =
        _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    const __m512i cd =
        _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    const __m512i all =
        _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    const __m256i half =
        _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

#define FOR_ROWS for (int r = 0; r < 4; r++)

/* sum += x * q, where gcc 12 would otherwise copy every sum every time. */
ALWAYS_INLINE __m512i add_products(__m512i sum, __m512i x, __m512i q)
{
    sum = _mm512_dpbusd_epi32(sum, x, q);
    __asm__("" : "+v"(sum));
    return sum;
}

ALWAYS_INLINE void quad_sq8(const int8_t *query, int32_t query_sum, const uint8_t *const row[4],
                            size_t padded, int32_t *dots)
{
    __m512i even[4], odd[4];
    FOR_ROWS
        even[r] = odd[r] = _mm512_setzero_si512();
    size_t i = 0;
    for (; padded - i >= 128; i += 128) {
        const __m512i q0 = _mm512_loadu_si512(query + i),
                      q1 = _mm512_loadu_si512(query + i + 64);
        FOR_ROWS {
            even[r] = add_products(even[r], _mm512_loadu_si512(row[r] + i), q0);
            odd[r] = add_products(odd[r], _mm512_loadu_si512(row[r] + i + 64), q1);
        }
    }
    if (i < padded) {
        const __m512i q0 = _mm512_loadu_si512(query + i);
        FOR_ROWS
            even[r] = add_products(even[r], _mm512_loadu_si512(row[r] + i), q0);
    }
    FOR_ROWS
        even[r] = _mm512_add_epi32(even[r], odd[r]);
    const __m128i sum = sum_lanes4(even[0], even[1], even[2], even[3]);
    _mm_storeu_si128((void *)dots, _mm_sub_epi32(sum, _mm_set1_epi32(128 * query_sum)));
}

ALWAYS_INLINE void quad_sq4(const int8_t *query, int32_t query_sum, const uint8_t *const row[4],
                            size_t padded, int32_t *dots)
{
    const __m512i nibble = _mm512_set1_epi8(15);
    __m512i low[4], high[4];
    FOR_ROWS
        low[r] = high[r] = _mm512_setzero_si512();
    for (size_t i = 0; i < padded; i += 128) {
        const __m512i q0 = _mm512_loadu_si512(query + i),
                      q1 = _mm512_loadu_si512(query + i + 64);
        FOR_ROWS {
            const __m512i x = _mm512_loadu_si512(row[r] + i / 2);
            low[r] = add_products(low[r], _mm512_and_si512(x, nibble), q0);
            high[r] = add_products(
                high[r], _mm512_and_si512(_mm512_srli_epi16(x, 4), nibble), q1);
        }
    }
    FOR_ROWS
        low[r] = _mm512_add_epi32(low[r], high[r]);
    const __m128i sum = sum_lanes4(low[0], low[1], low[2], low[3]);
    _mm_storeu_si128((void *)dots, _mm_sub_epi32(_mm_add_epi32(sum, sum),
                                                 _mm_set1_epi32(15 * query_sum)));
}

DEFINE_CODE_DOTS(KERNEL(dots_sq8), padded, quad_sq8)
DEFINE_CODE_DOTS(KERNEL(dots_sq4), padded / 2, quad_sq4)

/* p holds each lane's partner: p + v in the lower lane of a pair, p - v in the
   upper.  The product by 1 or -1 is exact, so the sum is rounded as an addition. */
#define BUTTERFLY(v, p, s) _mm512_fmadd_ps(v, s, p)

ALWAYS_INLINE __m512 signs(int mask)
{
    return _mm512_mask_blend_ps((__mmask16)mask, _mm512_set1_ps(1), _mm512_set1_ps(-1));
}

ALWAYS_INLINE __m512 lanes(__m512 v)
{
    v = BUTTERFLY(v, _mm512_permute_ps(v, 0xb1), signs(0xaaaa));
    v = BUTTERFLY(v, _mm512_permute_ps(v, 0x4e), signs(0xcccc));
    v = BUTTERFLY(v, _mm512_shuffle_f32x4(v, v, 0xb1), signs(0xf0f0));
    return BUTTERFLY(v, _mm512_shuffle_f32x4(v, v, 0x4e), signs(0xff00));
}

#define V __m512
#define W 16
#define V_LOAD(p) _mm512_loadu_ps(p)
#define V_STORE(p, v) _mm512_storeu_ps(p, v)
#define V_ADD(a, b) _mm512_add_ps(a, b)
#define V_SUB(a, b) _mm512_sub_ps(a, b)
#define V_LANES(v) lanes(v)
#include "body_frame.h"

void KERNEL(flip_signs_f32)(float *x, const uint64_t *bits, size_t n)
{
    const u16_any *mask = (const void *)bits;
    const __m512 sign = _mm512_set1_ps(-0.0f);
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        const __m512 v = _mm512_loadu_ps(x + i);
        _mm512_storeu_ps(x + i, _mm512_mask_xor_ps(v, mask[i / 16], v, sign));
    }
    plain_flip_signs(x, bits, i, n);
}

void KERNEL(quantise_s8)(const float *y, float inverse_step, int8_t *out, size_t n)
{
    const __m512 factor = _mm512_set1_ps(inverse_step), low = _mm512_set1_ps(-127),
                 high = _mm512_set1_ps(127);
    size_t i = 0;
    for (; n - i >= 16; i += 16) {
        const __m512 v = _mm512_mul_ps(_mm512_loadu_ps(y + i), factor),
                     clamped = _mm512_min_ps(_mm512_max_ps(v, low), high); /* NaN: low */
        _mm_storeu_si128((void *)(out + i),
                         _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(clamped)));
    }
    plain_quantise(y + i, inverse_step, out + i, n - i);
}

float KERNEL(max_abs_f32)(const float *x, size_t n)
{
    __m512 most = _mm512_setzero_ps();
    size_t i = 0;
    for (; n - i >= 16; i += 16)
        most = _mm512_max_ps(most, _mm512_abs_ps(_mm512_loadu_ps(x + i)));
    return plain_max_abs(x + i, n - i, float_bits(_mm512_reduce_max_ps(most)));
}

void KERNEL(rest_s8)(const float *y, const int8_t *high, float step, float inverse_low_step,
                     int8_t *low, size_t n, struct annk_rest *sums)
{
    const __m512 by = _mm512_set1_ps(inverse_low_step), unit = _mm512_set1_ps(step),
                 least = _mm512_set1_ps(-127), most = _mm512_set1_ps(127);
    __m512 norm2 = _mm512_setzero_ps(), error2 = norm2;
    __m512i high_sum = _mm512_setzero_si512(), low_sum = high_sum;
    for (size_t i = 0; i < n; i += 16) {
        const __m512i h = _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)(high + i)));
        const __m512 x = _mm512_loadu_ps(y + i),
                     rest = _mm512_fnmadd_ps(unit, _mm512_cvtepi32_ps(h), x),
                     t = _mm512_max_ps(_mm512_mul_ps(rest, by), least);
        const __m512i l = _mm512_cvtps_epi32(_mm512_min_ps(t, most));
        norm2 = _mm512_fmadd_ps(x, x, norm2);
        error2 = _mm512_fmadd_ps(rest, rest, error2);
        high_sum = _mm512_add_epi32(high_sum, h);
        low_sum = _mm512_add_epi32(low_sum, l);
        _mm_storeu_si128((void *)(low + i), _mm512_cvtepi32_epi8(l));
    }
    *sums = (struct annk_rest){_mm512_reduce_add_ps(norm2), _mm512_reduce_add_ps(error2),
                               _mm512_reduce_add_epi32(high_sum),
                               _mm512_reduce_add_epi32(low_sum)};
}
