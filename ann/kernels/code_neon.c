/*
 * Codes and their frame with AArch64 Advanced SIMD.  The dot-product
 * instructions, which nearly every core since 2018 has, are asked for at run
 * time; the system's answer is a load, so it is not kept.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <arm_neon.h>
#ifdef __linux__
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

#include "body_code.h"

#define KERNEL(name) annk_neon_##name
#define FOR_ROWS for (int r = 0; r < 4; r++)
#define DOTPROD __attribute__((target("arch=armv8.2-a+dotprod")))

static int has_dotprod(void)
{
#ifdef __linux__
    return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
#else
    return 0;
#endif
}

ALWAYS_INLINE void sum_lanes4(const int32x4_t s[4], int32x4_t *sum)
{
    *sum = vpaddq_s32(vpaddq_s32(s[0], s[1]), vpaddq_s32(s[2], s[3]));
}

/* A signed code: the byte less 128. */
#define SIGNED(p) vreinterpretq_s8_u8(veorq_u8(vld1q_u8(p), vdupq_n_u8(128)))
#define LOW(x) vreinterpretq_s8_u8(vandq_u8(x, vdupq_n_u8(15)))
#define HIGH(x) vreinterpretq_s8_u8(vshrq_n_u8(x, 4))

/* Two products of at most 2^14 are added, as 32 bits, for two may not fit 16. */
ALWAYS_INLINE void quad_sq8(const int8_t *query, int32_t query_sum, const uint8_t *const row[4],
                            size_t padded, int32_t *dots)
{
    (void)query_sum;
    int32x4_t s[4], sum;
    FOR_ROWS
        s[r] = vdupq_n_s32(0);
    for (size_t i = 0; i < padded; i += 16) {
        const int8x16_t q = vld1q_s8(query + i);
        FOR_ROWS {
            const int8x16_t x = SIGNED(row[r] + i);
            s[r] = vpadalq_s16(s[r], vmull_s8(vget_low_s8(x), vget_low_s8(q)));
            s[r] = vpadalq_s16(s[r], vmull_high_s8(x, q));
        }
    }
    sum_lanes4(s, &sum);
    vst1q_u8((void *)dots, vreinterpretq_u8_s32(sum));
}

ALWAYS_INLINE void finish_sq4(const int32x4_t s[4], int32_t query_sum, int32_t *dots)
{
    int32x4_t sum;
    sum_lanes4(s, &sum);
    sum = vsubq_s32(vaddq_s32(sum, sum), vdupq_n_s32(15 * query_sum));
    vst1q_u8((void *)dots, vreinterpretq_u8_s32(sum));
}

/* A 16-bit lane has 8 products of at most 15 * 128 of a group: 15,360. */
ALWAYS_INLINE void quad_sq4(const int8_t *query, int32_t query_sum, const uint8_t *const row[4],
                            size_t padded, int32_t *dots)
{
    int32x4_t s[4];
    FOR_ROWS
        s[r] = vdupq_n_s32(0);
    for (size_t i = 0; i < padded; i += 128)
        FOR_ROWS {
            int16x8_t a = vdupq_n_s16(0), b = a;
            for (size_t k = 0; k < 64; k += 16) {
                const int8x16_t q0 = vld1q_s8(query + i + k), q1 = vld1q_s8(query + i + k + 64);
                const uint8x16_t x = vld1q_u8(row[r] + i / 2 + k);
                a = vmlal_s8(a, vget_low_s8(LOW(x)), vget_low_s8(q0));
                b = vmlal_high_s8(b, LOW(x), q0);
                a = vmlal_s8(a, vget_low_s8(HIGH(x)), vget_low_s8(q1));
                b = vmlal_high_s8(b, HIGH(x), q1);
            }
            s[r] = vpadalq_s16(vpadalq_s16(s[r], a), b);
        }
    finish_sq4(s, query_sum, dots);
}

DOTPROD ALWAYS_INLINE void quad_sq8_dot(const int8_t *query, int32_t query_sum,
                                        const uint8_t *const row[4], size_t padded,
                                        int32_t *dots)
{
    (void)query_sum;
    int32x4_t s[4], sum;
    FOR_ROWS
        s[r] = vdupq_n_s32(0);
    for (size_t i = 0; i < padded; i += 16) {
        const int8x16_t q = vld1q_s8(query + i);
        FOR_ROWS
            s[r] = vdotq_s32(s[r], SIGNED(row[r] + i), q);
    }
    sum_lanes4(s, &sum);
    vst1q_u8((void *)dots, vreinterpretq_u8_s32(sum));
}

DOTPROD ALWAYS_INLINE void quad_sq4_dot(const int8_t *query, int32_t query_sum,
                                        const uint8_t *const row[4], size_t padded,
                                        int32_t *dots)
{
    int32x4_t s[4];
    FOR_ROWS
        s[r] = vdupq_n_s32(0);
    for (size_t i = 0; i < padded / 2; i += 16) { /* of the code */
        const int8_t *const q = query + i / 64 * 128 + i % 64;
        const int8x16_t q0 = vld1q_s8(q), q1 = vld1q_s8(q + 64);
        FOR_ROWS {
            const uint8x16_t x = vld1q_u8(row[r] + i);
            s[r] = vdotq_s32(vdotq_s32(s[r], LOW(x), q0), HIGH(x), q1);
        }
    }
    finish_sq4(s, query_sum, dots);
}

static DEFINE_CODE_DOTS(dots_sq8_base, padded, quad_sq8)
static DEFINE_CODE_DOTS(dots_sq4_base, padded / 2, quad_sq4)
static DOTPROD DEFINE_CODE_DOTS(dots_sq8_dot, padded, quad_sq8_dot)
static DOTPROD DEFINE_CODE_DOTS(dots_sq4_dot, padded / 2, quad_sq4_dot)

ANNK_CODE_DOTS(KERNEL(dots_sq8))
{
    (has_dotprod() ? dots_sq8_dot : dots_sq8_base)(query, query_sum, base, stride, slots, n,
                                                   padded, ahead, dots);
}

ANNK_CODE_DOTS(KERNEL(dots_sq4))
{
    (has_dotprod() ? dots_sq4_dot : dots_sq4_base)(query, query_sum, base, stride, slots, n,
                                                   padded, ahead, dots);
}

/* p holds each lane's partner: p + v in the lower lane of a pair, p - v in the
   upper.  The product by 1 or -1 is exact, so the sum is rounded as an addition. */
#define BUTTERFLY(v, p, s) vfmaq_f32(p, v, s)

ALWAYS_INLINE float32x4_t lanes(float32x4_t v)
{
    const float32x4_t one = {1, -1, 1, -1}, two = {1, 1, -1, -1};
    v = BUTTERFLY(v, vrev64q_f32(v), one);
    return BUTTERFLY(v, vextq_f32(v, v, 2), two);
}

#define V float32x4_t
#define W 4
#define V_LOAD(p) vreinterpretq_f32_u8(vld1q_u8((const void *)(p)))
#define V_STORE(p, v) vst1q_u8((void *)(p), vreinterpretq_u8_f32(v))
#define V_ADD(a, b) vaddq_f32(a, b)
#define V_SUB(a, b) vsubq_f32(a, b)
#define V_LANES(v) lanes(v)
#include "body_frame.h"

void KERNEL(flip_signs_f32)(float *x, const uint64_t *bits, size_t n)
{
    static const int32_t shifts[8] = {31, 30, 29, 28, 27, 26, 25, 24};
    const uint8_t *mask = (const void *)bits;
    const int32x4_t low = vld1q_s32(shifts), high = vld1q_s32(shifts + 4);
    const uint32x4_t sign = vdupq_n_u32(0x80000000);
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        const uint32x4_t m = vdupq_n_u32(mask[i / 8]);
        const uint32x4_t a = vandq_u32(vshlq_u32(m, low), sign),
                         b = vandq_u32(vshlq_u32(m, high), sign);
        uint8_t *const at = (void *)(x + i);
        vst1q_u8(at, veorq_u8(vld1q_u8(at), vreinterpretq_u8_u32(a)));
        vst1q_u8(at + 16, veorq_u8(vld1q_u8(at + 16), vreinterpretq_u8_u32(b)));
    }
    plain_flip_signs(x, bits, i, n);
}

/* fmaxnm gives the number when the other is a NaN. */
ALWAYS_INLINE int32x4_t scaled(const float *y, float32x4_t factor)
{
    const float32x4_t v = vmulq_f32(V_LOAD(y), factor);
    return vcvtnq_s32_f32(
        vminq_f32(vmaxnmq_f32(v, vdupq_n_f32(-127)), vdupq_n_f32(127)));
}

void KERNEL(quantise_s8)(const float *y, float inverse_step, int8_t *out, size_t n)
{
    const float32x4_t factor = vdupq_n_f32(inverse_step);
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        const int16x8_t v = vcombine_s16(vmovn_s32(scaled(y + i, factor)),
                                         vmovn_s32(scaled(y + i + 4, factor)));
        vst1_s8(out + i, vmovn_s16(v));
    }
    plain_quantise(y + i, inverse_step, out + i, n - i);
}

float KERNEL(max_abs_f32)(const float *x, size_t n)
{
    float32x4_t most = vdupq_n_f32(0);
    size_t i = 0;
    for (; n - i >= 4; i += 4)
        most = vmaxq_f32(most, vabsq_f32(V_LOAD(x + i)));
    return plain_max_abs(x + i, n - i, float_bits(vmaxvq_f32(most)));
}

void KERNEL(rest_s8)(const float *y, const int8_t *high, float step, float inverse_low_step,
                     int8_t *low, size_t n, struct annk_rest *sums)
{
    plain_rest(y, high, step, inverse_low_step, low, n, sums);
}
