/*
 * Codes and their frame with AVX2.  vpmaddubsw saturates with 8-bit codes, so
 * these are taken apart into the even and the odd bytes, widened to 16 bits by
 * a mask or a shift; what it adds of 4-bit codes stays far from 16 bits.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <immintrin.h>

#include "body_code.h"

#define KERNEL(name) annk_avx2_##name
#define FOR_ROWS for (int r = 0; r < 4; r++)

ALWAYS_INLINE __m256i load256(const void *p)
{
    return _mm256_loadu_si256(p);
}

/* The sums of the lanes of each. */
ALWAYS_INLINE __m128i sum_lanes4(const __m256i s[4])
{
    const __m256i all =
        _mm256_hadd_epi32(_mm256_hadd_epi32(s[0], s[1]), _mm256_hadd_epi32(s[2], s[3]));
    return _mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
}

/* Products of the bytes 0..255 themselves; 255 * 128 * 65,664 is below 2^31. */
ALWAYS_INLINE void quad_sq8(const int8_t *query, int32_t query_sum, const uint8_t *const row[4],
                            size_t padded, int32_t *dots)
{
    const __m256i byte = _mm256_set1_epi16(255);
    __m256i s[4];
    FOR_ROWS
        s[r] = _mm256_setzero_si256();
    for (size_t i = 0; i < padded; i += 32) {
        const __m256i q = load256(query + i), odd = _mm256_srai_epi16(q, 8),
                      even = _mm256_srai_epi16(_mm256_slli_epi16(q, 8), 8);
        FOR_ROWS {
            const __m256i x = load256(row[r] + i);
            s[r] = _mm256_add_epi32(s[r], _mm256_madd_epi16(_mm256_and_si256(x, byte), even));
            s[r] = _mm256_add_epi32(s[r], _mm256_madd_epi16(_mm256_srli_epi16(x, 8), odd));
        }
    }
    _mm_storeu_si128((void *)dots,
                     _mm_sub_epi32(sum_lanes4(s), _mm_set1_epi32(128 * query_sum)));
}

/* A 16-bit lane has 8 products of at most 15 * 128 of a group: 15,360. */
ALWAYS_INLINE void quad_sq4(const int8_t *query, int32_t query_sum, const uint8_t *const row[4],
                            size_t padded, int32_t *dots)
{
    const __m256i nibble = _mm256_set1_epi8(15), one = _mm256_set1_epi16(1);
    __m256i s[4];
    FOR_ROWS
        s[r] = _mm256_setzero_si256();
    for (size_t i = 0; i < padded; i += 128) {
        const int8_t *const q = query + i;
        FOR_ROWS {
            const __m256i x = load256(row[r] + i / 2), y = load256(row[r] + i / 2 + 32);
            const __m256i x0 = _mm256_and_si256(x, nibble), y0 = _mm256_and_si256(y, nibble),
                          x1 = _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble),
                          y1 = _mm256_and_si256(_mm256_srli_epi16(y, 4), nibble);
            const __m256i low = _mm256_add_epi16(_mm256_maddubs_epi16(x0, load256(q)),
                                                 _mm256_maddubs_epi16(y0, load256(q + 32)));
            const __m256i high = _mm256_add_epi16(_mm256_maddubs_epi16(x1, load256(q + 64)),
                                                  _mm256_maddubs_epi16(y1, load256(q + 96)));
            s[r] = _mm256_add_epi32(s[r], _mm256_madd_epi16(_mm256_add_epi16(low, high), one));
        }
    }
    const __m128i sum = sum_lanes4(s);
    _mm_storeu_si128((void *)dots, _mm_sub_epi32(_mm_add_epi32(sum, sum),
                                                 _mm_set1_epi32(15 * query_sum)));
}

DEFINE_CODE_DOTS(KERNEL(dots_sq8), padded, quad_sq8)
DEFINE_CODE_DOTS(KERNEL(dots_sq4), padded / 2, quad_sq4)

/* p holds each lane's partner: p + v in the lower lane of a pair, p - v in the
   upper.  The product by 1 or -1 is exact, so the sum is rounded as an addition. */
#define BUTTERFLY(v, p, s) _mm256_fmadd_ps(v, s, p)

ALWAYS_INLINE __m256 lanes(__m256 v)
{
    v = BUTTERFLY(v, _mm256_permute_ps(v, 0xb1),
                  _mm256_setr_ps(1, -1, 1, -1, 1, -1, 1, -1));
    v = BUTTERFLY(v, _mm256_permute_ps(v, 0x4e),
                  _mm256_setr_ps(1, 1, -1, -1, 1, 1, -1, -1));
    return BUTTERFLY(v, _mm256_permute2f128_ps(v, v, 1),
                     _mm256_setr_ps(1, 1, 1, 1, -1, -1, -1, -1));
}

#define V __m256
#define W 8
#define V_LOAD(p) _mm256_loadu_ps(p)
#define V_STORE(p, v) _mm256_storeu_ps(p, v)
#define V_ADD(a, b) _mm256_add_ps(a, b)
#define V_SUB(a, b) _mm256_sub_ps(a, b)
#define V_LANES(v) lanes(v)
#include "body_frame.h"

void KERNEL(flip_signs_f32)(float *x, const uint64_t *bits, size_t n)
{
    const uint8_t *mask = (const void *)bits;
    const __m256i shift = _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24),
                  sign = _mm256_set1_epi32((int)0x80000000);
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        const __m256i flip = _mm256_and_si256(
            _mm256_sllv_epi32(_mm256_set1_epi32(mask[i / 8]), shift), sign);
        _mm256_storeu_ps(x + i,
                         _mm256_xor_ps(_mm256_loadu_ps(x + i), _mm256_castsi256_ps(flip)));
    }
    plain_flip_signs(x, bits, i, n);
}

/* The second operand of max is what a NaN gives. */
ALWAYS_INLINE __m256i scaled(const float *y, __m256 factor)
{
    const __m256 v = _mm256_mul_ps(_mm256_loadu_ps(y), factor);
    return _mm256_cvtps_epi32(
        _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(-127)), _mm256_set1_ps(127)));
}

void KERNEL(quantise_s8)(const float *y, float inverse_step, int8_t *out, size_t n)
{
    const __m256 factor = _mm256_set1_ps(inverse_step);
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    size_t i = 0;
    for (; n - i >= 32; i += 32) {
        const __m256i a = _mm256_packs_epi32(scaled(y + i, factor), scaled(y + i + 8, factor)),
                      b = _mm256_packs_epi32(scaled(y + i + 16, factor),
                                             scaled(y + i + 24, factor));
        const __m256i bytes = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order);
        _mm256_storeu_si256((void *)(out + i), bytes);
    }
    plain_quantise(y + i, inverse_step, out + i, n - i);
}

float KERNEL(max_abs_f32)(const float *x, size_t n)
{
    const __m256 sign = _mm256_set1_ps(-0.0f);
    __m256 most = _mm256_setzero_ps();
    size_t i = 0;
    for (; n - i >= 8; i += 8)
        most = _mm256_max_ps(most, _mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)));
    float lane[8];
    _mm256_storeu_ps(lane, most);
    return plain_max_abs(x + i, n - i, float_bits(plain_max_abs(lane, 8, 0)));
}

/* Sums of 8 lanes each of rest_s8. */
struct rest_lanes {
    __m256 norm2, error2;
    __m256i high, low;
};

/* The low plane of 8 elements, as 32 bits. */
ALWAYS_INLINE __m256i rest8(const float *y, const int8_t *high, __m256 unit, __m256 by,
                            struct rest_lanes *s)
{
    const __m256i h = _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)high));
    const __m256 x = _mm256_loadu_ps(y),
                 rest = _mm256_fnmadd_ps(unit, _mm256_cvtepi32_ps(h), x),
                 t = _mm256_max_ps(_mm256_mul_ps(rest, by), _mm256_set1_ps(-127));
    const __m256i l = _mm256_cvtps_epi32(_mm256_min_ps(t, _mm256_set1_ps(127)));
    s->norm2 = _mm256_fmadd_ps(x, x, s->norm2);
    s->error2 = _mm256_fmadd_ps(rest, rest, s->error2);
    s->high = _mm256_add_epi32(s->high, h);
    s->low = _mm256_add_epi32(s->low, l);
    return l;
}

void KERNEL(rest_s8)(const float *y, const int8_t *high, float step, float inverse_low_step,
                     int8_t *low, size_t n, struct annk_rest *sums)
{
    const __m256 unit = _mm256_set1_ps(step), by = _mm256_set1_ps(inverse_low_step);
    const __m256i none = _mm256_setzero_si256();
    struct rest_lanes s[2] = {{_mm256_setzero_ps(), _mm256_setzero_ps(), none, none},
                              {_mm256_setzero_ps(), _mm256_setzero_ps(), none, none}};
    for (size_t i = 0; i < n; i += 16) {
        const __m256i a = rest8(y + i, high + i, unit, by, &s[0]),
                      b = rest8(y + i + 8, high + i + 8, unit, by, &s[1]);
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
        const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words),
                                              _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128((void *)(low + i), bytes);
    }
    const __m256i high_low = _mm256_hadd_epi32(_mm256_add_epi32(s[0].high, s[1].high),
                                               _mm256_add_epi32(s[0].low, s[1].low));
    const __m256 squares = _mm256_hadd_ps(_mm256_add_ps(s[0].norm2, s[1].norm2),
                                          _mm256_add_ps(s[0].error2, s[1].error2));
    int32_t i[8];
    float f[8];
    _mm256_storeu_si256((void *)i, high_low);
    _mm256_storeu_ps(f, squares);
    *sums = (struct annk_rest){(f[0] + f[1]) + (f[4] + f[5]), (f[2] + f[3]) + (f[6] + f[7]),
                               i[0] + i[1] + i[4] + i[5], i[2] + i[3] + i[6] + i[7]};
}
