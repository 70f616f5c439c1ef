/*
 * The parts of a layer with AArch64 Advanced SIMD.  A row's bytes less 128 are
 * signed, so that the signed dot product serves; 128 times the sum of a
 * column's weights comes back at the end.  Cores without the dot product
 * multiply to 16 bits and add in pairs.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <arm_neon.h>
#ifdef __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "body.h"

typedef float32x4_t vf;
enum { LANES = 4, TILE_ROWS = 4 };

ALWAYS_INLINE vf vf_load(const float *p)
{
    return vld1q_f32(p);
}
ALWAYS_INLINE void vf_store(float *p, vf x)
{
    vst1q_f32(p, x);
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

/* Four bytes of a row less 128, in all lanes. */
#define QUAD(p)                                                                                \
    vreinterpretq_s8_u32(veorq_u32(vdupq_n_u32(*(const u32_any *)(p)), vdupq_n_u32(0x80808080)))

static int has_dotprod(void)
{
#ifdef __linux__
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return 0;
#endif
}

/* sum of each lane's four products, added to s. */
ALWAYS_INLINE int32x4_t add_plain(int32x4_t s, int8x16_t x, int8x16_t q)
{
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(x), vget_low_s8(q))),
                    high = vpaddlq_s16(vmull_high_s8(x, q));
    return vaddq_s32(s, vpaddq_s32(low, high));
}

#define DEFINE_BLOCK(NAME, ATTRIBUTE, ADD)                                                     \
    ATTRIBUTE static void NAME(const uint8_t *a, size_t k, int rows, const int8_t *w,          \
                               int32_t sums[][64], size_t at)                                  \
    {                                                                                          \
        const int8x16_t one = vdupq_n_s8(1);                                                   \
        int32x4_t s[TILE_ROWS][4], all[4];                                                     \
        for (int c = 0; c < 4; c++) {                                                          \
            all[c] = vdupq_n_s32(0);                                                           \
            for (int r = 0; r < TILE_ROWS; r++)                                                \
                s[r][c] = vdupq_n_s32(0);                                                      \
        }                                                                                      \
        for (size_t i = 0; i < k; i += 4) {                                                    \
            int8x16_t x[4];                                                                    \
            for (int c = 0; c < 4; c++) {                                                      \
                x[c] = vld1q_s8(w + i * 16 + 16 * c);                                          \
                all[c] = ADD(all[c], x[c], one);                                               \
            }                                                                                  \
            for (int r = 0; r < rows; r++) {                                                   \
                const int8x16_t q = QUAD(a + (size_t)r * k + i);                               \
                for (int c = 0; c < 4; c++)                                                    \
                    s[r][c] = ADD(s[r][c], x[c], q);                                           \
            }                                                                                  \
        }                                                                                      \
        for (int r = 0; r < rows; r++)                                                         \
            for (int c = 0; c < 4; c++)                                                        \
                vst1q_s32(sums[r] + at + 4 * c, vaddq_s32(s[r][c], vshlq_n_s32(all[c], 7)));   \
    }

DEFINE_BLOCK(block_plain, , add_plain)
DEFINE_BLOCK(block_dot, __attribute__((target("arch=armv8.2-a+dotprod"))), vdotq_s32)

ALWAYS_INLINE void products(const uint8_t *a, size_t k, int rows, const int8_t *w, int blocks,
                            int32_t sums[][64])
{
    for (int b = 0; b < blocks; b++) {
        if (has_dotprod())
            block_dot(a, k, rows, w + (size_t)b * 16 * k, sums, (size_t)b * 16);
        else
            block_plain(a, k, rows, w + (size_t)b * 16 * k, sums, (size_t)b * 16);
    }
}

#include "body_layers.h"

DEFINE_LAYERS(neon);
