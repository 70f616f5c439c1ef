/*
 * Vectors of 8 floats with AVX2 and FMA, for body_layers.h and body_lists.h.
 */
#ifndef ANNK_VF_AVX2_H
#define ANNK_VF_AVX2_H

#include <immintrin.h>

#include "body.h"

typedef __m256 vf;
enum { LANES = 8 };

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

#endif
