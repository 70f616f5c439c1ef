/*
 * Vectors of 16 floats with AVX-512, for body_layers.h and body_lists.h.
 */
#ifndef ANNK_VF_AVX512_H
#define ANNK_VF_AVX512_H

#include <immintrin.h>

#include "body.h"

typedef __m512 vf;
enum { LANES = 16 };

ALWAYS_INLINE vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
ALWAYS_INLINE void vf_store(float *p, vf x)
{
    _mm512_storeu_ps(p, x);
}
ALWAYS_INLINE vf vf_set(float x)
{
    return _mm512_set1_ps(x);
}
ALWAYS_INLINE vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}
ALWAYS_INLINE vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}
ALWAYS_INLINE vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}
ALWAYS_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}
ALWAYS_INLINE vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}
ALWAYS_INLINE vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}
ALWAYS_INLINE vf vf_round(vf x)
{
    return _mm512_roundscale_ps(x, 8);
}
ALWAYS_INLINE vf vf_pow2(vf n)
{
    return _mm512_castsi512_ps(
        _mm512_slli_epi32(_mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127)), 23));
}
ALWAYS_INLINE float vf_total(vf x)
{
    return _mm512_reduce_add_ps(x);
}
ALWAYS_INLINE float vf_highest(vf x)
{
    return _mm512_reduce_max_ps(x);
}
ALWAYS_INLINE float vf_lowest(vf x)
{
    return _mm512_reduce_min_ps(x);
}
ALWAYS_INLINE void vf_bytes(vf x, uint8_t *p)
{
    _mm_storeu_si128((void *)p, _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(x)));
}
ALWAYS_INLINE vf vf_widen(const int8_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p)));
}
ALWAYS_INLINE vf vf_from(const int32_t *p)
{
    return _mm512_cvtepi32_ps(_mm512_loadu_si512(p));
}

#endif
