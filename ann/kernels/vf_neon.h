/*
 * Vectors of 4 floats with AArch64 Advanced SIMD, for body_layers.h and body_lists.h.
 */
#ifndef ANNK_VF_NEON_H
#define ANNK_VF_NEON_H

#include <arm_neon.h>

#include "body.h"

typedef float32x4_t vf;
enum { LANES = 4 };

ALWAYS_INLINE vf vf_load(const float *p)
{
    return vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)p));
}
ALWAYS_INLINE void vf_store(float *p, vf x)
{
    vst1q_u8((uint8_t *)p, vreinterpretq_u8_f32(x));
}
ALWAYS_INLINE vf vf_set(float x)
{
    return vdupq_n_f32(x);
}
ALWAYS_INLINE vf vf_add(vf a, vf b)
{
    return vaddq_f32(a, b);
}
ALWAYS_INLINE vf vf_sub(vf a, vf b)
{
    return vsubq_f32(a, b);
}
ALWAYS_INLINE vf vf_mul(vf a, vf b)
{
    return vmulq_f32(a, b);
}
ALWAYS_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return vfmaq_f32(c, a, b);
}
ALWAYS_INLINE vf vf_max(vf a, vf b)
{
    return vmaxq_f32(a, b);
}
ALWAYS_INLINE vf vf_min(vf a, vf b)
{
    return vminq_f32(a, b);
}
ALWAYS_INLINE vf vf_round(vf x)
{
    return vrndnq_f32(x);
}
ALWAYS_INLINE vf vf_pow2(vf n)
{
    return vreinterpretq_f32_s32(
        vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23));
}
ALWAYS_INLINE float vf_total(vf x)
{
    return vaddvq_f32(x);
}
ALWAYS_INLINE float vf_highest(vf x)
{
    return vmaxvq_f32(x);
}
ALWAYS_INLINE float vf_lowest(vf x)
{
    return vminvq_f32(x);
}
ALWAYS_INLINE void vf_bytes(vf x, uint8_t *p)
{
    const uint16x4_t w = vmovn_u32(vcvtq_u32_f32(x));
    *(u32_any *)p = vget_lane_u32(vreinterpret_u32_u8(vmovn_u16(vcombine_u16(w, w))), 0);
}
ALWAYS_INLINE vf vf_widen(const int8_t *p)
{
    const int8x8_t x = vreinterpret_s8_u32(vdup_n_u32(*(const u32_any *)p));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(x))));
}
ALWAYS_INLINE vf vf_from(const int32_t *p)
{
    return vcvtq_f32_s32(vld1q_s32(p));
}

#endif
