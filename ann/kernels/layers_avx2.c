/*
 * The parts of a layer with AVX2 and FMA.  vpmaddubsw would saturate, so even
 * and odd bytes are widened to 16 bits: the sums of two such products of a
 * lane are the four products of its 32 bits.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <immintrin.h>

#include "body.h"

typedef __m256 vf;
enum { LANES = 8, TILE_ROWS = 2 };

ALWAYS_INLINE vf vf_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
ALWAYS_INLINE void vf_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x);
}
ALWAYS_INLINE vf vf_set(float x)
{
    return _mm256_set1_ps(x);
}
ALWAYS_INLINE vf vf_add(vf a, vf b)
{
    return _mm256_add_ps(a, b);
}
ALWAYS_INLINE vf vf_sub(vf a, vf b)
{
    return _mm256_sub_ps(a, b);
}
ALWAYS_INLINE vf vf_mul(vf a, vf b)
{
    return _mm256_mul_ps(a, b);
}
ALWAYS_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm256_fmadd_ps(a, b, c);
}
ALWAYS_INLINE vf vf_max(vf a, vf b)
{
    return _mm256_max_ps(a, b);
}
ALWAYS_INLINE vf vf_min(vf a, vf b)
{
    return _mm256_min_ps(a, b);
}
ALWAYS_INLINE vf vf_round(vf x)
{
    return _mm256_round_ps(x, 8);
}
ALWAYS_INLINE vf vf_pow2(vf n)
{
    return _mm256_castsi256_ps(
        _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23));
}
ALWAYS_INLINE float vf_total(vf x)
{
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
}
ALWAYS_INLINE float vf_highest(vf x)
{
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}
ALWAYS_INLINE float vf_lowest(vf x)
{
    __m128 s = _mm_min_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    s = _mm_min_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_min_ss(s, _mm_movehdup_ps(s)));
}
ALWAYS_INLINE void vf_bytes(vf x, uint8_t *p)
{
    const __m256i y = _mm256_cvtps_epi32(x);
    const __m128i w =
        _mm_packus_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
    _mm_storel_epi64((void *)p, _mm_packus_epi16(w, w));
}
ALWAYS_INLINE vf vf_widen(const int8_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p)));
}
ALWAYS_INLINE vf vf_from(const int32_t *p)
{
    return _mm256_cvtepi32_ps(_mm256_loadu_si256((const void *)p));
}

/* Of one block of 16 columns: two vectors of 8. */
ALWAYS_INLINE void block_products(const uint8_t *a, size_t k, int rows, const int8_t *w,
                                  int32_t sums[][64], size_t at)
{
    const __m256i byte = _mm256_set1_epi16(255);
    __m256i s[TILE_ROWS][2];
    for (int r = 0; r < rows; r++)
        s[r][0] = s[r][1] = _mm256_setzero_si256();
    for (size_t i = 0; i < k; i += 4) {
        __m256i even[2], odd[2];
        for (int h = 0; h < 2; h++) {
            const __m256i x = _mm256_loadu_si256((const void *)(w + i * 16 + 32 * h));
            even[h] = _mm256_srai_epi16(_mm256_slli_epi16(x, 8), 8);
            odd[h] = _mm256_srai_epi16(x, 8);
        }
        for (int r = 0; r < rows; r++) {
            const __m256i q = _mm256_set1_epi32((int)*(const u32_any *)(a + (size_t)r * k + i));
            const __m256i q0 = _mm256_and_si256(q, byte), q1 = _mm256_srli_epi16(q, 8);
            for (int h = 0; h < 2; h++) {
                s[r][h] = _mm256_add_epi32(s[r][h], _mm256_madd_epi16(q0, even[h]));
                s[r][h] = _mm256_add_epi32(s[r][h], _mm256_madd_epi16(q1, odd[h]));
            }
        }
    }
    for (int r = 0; r < rows; r++)
        for (int h = 0; h < 2; h++)
            _mm256_storeu_si256((void *)(sums[r] + at + 8 * h), s[r][h]);
}

ALWAYS_INLINE void products(const uint8_t *a, size_t k, int rows, const int8_t *w, int blocks,
                            int32_t sums[][64])
{
    for (int b = 0; b < blocks; b++)
        block_products(a, k, rows, w + (size_t)b * 16 * k, sums, (size_t)b * 16);
}

#include "body_layers.h"

DEFINE_LAYERS(avx2);
