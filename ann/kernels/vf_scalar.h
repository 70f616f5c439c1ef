/*
 * Vectors of one float, for body_layers.h and body_lists.h.
 */
#ifndef ANNK_VF_SCALAR_H
#define ANNK_VF_SCALAR_H

#include "body.h"

typedef float vf;
enum { LANES = 1 };

ALWAYS_INLINE vf vf_load(const float *p)
{
    return *(const f32_any *)p;
}
ALWAYS_INLINE void vf_store(float *p, vf x)
{
    *(f32_any *)p = x;
}
ALWAYS_INLINE vf vf_set(float x)
{
    return x;
}
ALWAYS_INLINE vf vf_add(vf a, vf b)
{
    return a + b;
}
ALWAYS_INLINE vf vf_sub(vf a, vf b)
{
    return a - b;
}
ALWAYS_INLINE vf vf_mul(vf a, vf b)
{
    return a * b;
}
ALWAYS_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return a * b + c;
}
ALWAYS_INLINE vf vf_max(vf a, vf b)
{
    return a > b ? a : b;
}
ALWAYS_INLINE vf vf_min(vf a, vf b)
{
    return a < b ? a : b;
}
ALWAYS_INLINE vf vf_round(vf x)
{
    return __builtin_rintf(x);
}
ALWAYS_INLINE vf vf_pow2(vf n)
{
    return bits_float((uint32_t)((int32_t)n + 127) << 23);
}
ALWAYS_INLINE float vf_total(vf x)
{
    return x;
}
ALWAYS_INLINE float vf_highest(vf x)
{
    return x;
}
ALWAYS_INLINE float vf_lowest(vf x)
{
    return x;
}
ALWAYS_INLINE void vf_bytes(vf x, uint8_t *p)
{
    *p = (uint8_t)(x > 0 ? x : 0); /* at most 255; no number: 0 */
}
ALWAYS_INLINE vf vf_widen(const int8_t *p)
{
    return *p;
}
ALWAYS_INLINE vf vf_from(const int32_t *p)
{
    return (float)*p;
}

#endif
