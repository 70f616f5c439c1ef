/*
 * AArch64 Advanced SIMD kernels: the baseline of every 64-bit ARM, so without
 * the dot-product and bf16 extensions.  Tails go through load_partial.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include <arm_neon.h>

#include "body.h"

#define V float32x4_t
#define W 4
#define V_ZERO() vdupq_n_f32(0)
#define V_ADD(a, b) vaddq_f32(a, b)
#define V_SUB(a, b) vsubq_f32(a, b)
#define V_FMA(a, b, c) vfmaq_f32(c, a, b)
#define V_SUM(v) sum_lanes(v)
#define V_SUM4(a, b, c, d, out) sum_lanes4(a, b, c, d, out)
#define QLOAD(p) vreinterpretq_f32_u8(load128(p))
#define QTAIL(p, n) vreinterpretq_f32_u8(partial128(p, 4 * (n)))

/* By bytes: no pointer here is aligned for its element type. */
ALWAYS_INLINE uint8x16_t load128(const void *p)
{
    return vld1q_u8(p);
}

ALWAYS_INLINE void store128(void *p, uint8x16_t v)
{
    vst1q_u8(p, v);
}

ALWAYS_INLINE uint8x16_t partial128(const void *p, size_t bytes)
{
    uint64_t word[2];
    load_partial(p, bytes, word);
    return vcombine_u8(vcreate_u8(word[0]), vcreate_u8(word[1]));
}

ALWAYS_INLINE void store_partial(void *p, uint8x16_t v, size_t bytes)
{
    uint8_t last[16];
    vst1q_u8(last, v);
    __builtin_memcpy(p, last, bytes);
}

ALWAYS_INLINE float sum_lanes(float32x4_t v)
{
    const float32x4_t pair = vpaddq_f32(v, v);
    return vgetq_lane_f32(vpaddq_f32(pair, pair), 0);
}

ALWAYS_INLINE void sum_lanes4(float32x4_t a, float32x4_t b, float32x4_t c, float32x4_t d,
                              float *out)
{
    const float32x4_t sums = vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d));
    store128(out, vreinterpretq_u8_f32(sums));
}

ALWAYS_INLINE float32x4_t widen_f16(uint8x8_t h)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(h));
}

ALWAYS_INLINE float32x4_t widen_bf16(uint8x8_t h)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(h), 16));
}

ALWAYS_INLINE uint8x8_t load64(const void *p)
{
    return vld1_u8(p);
}

ALWAYS_INLINE uint8x8_t partial64(const void *p, size_t bytes)
{
    return vget_low_u8(partial128(p, bytes));
}

#define T f32
#define ELEM float
#define LOAD(p) QLOAD(p)
#define TAIL(p, n) QTAIL(p, n)
#include "body_float.h"

#define T f16
#define ELEM uint16_t
#define LOAD(p) widen_f16(load64(p))
#define TAIL(p, n) widen_f16(partial64(p, 2 * (n)))
#include "body_float.h"

#define T bf16
#define ELEM uint16_t
#define LOAD(p) widen_bf16(load64(p))
#define TAIL(p, n) widen_bf16(partial64(p, 2 * (n)))
#include "body_float.h"

static float norm2_f32(const float *x, size_t n)
{
    return -one_ip_f32(x, x, n);
}

DEFINE_DIST(d_l2_f32, int, 0, one_l2_f32(query, vec, dim))
DEFINE_DIST(d_ip_f32, int, 0, one_ip_f32(query, vec, dim))
#include "body_quad.h"
DEFINE_COS_PAIR(f32, 4)
DEFINE_FLOAT_PAIRS(f16, 2)
DEFINE_FLOAT_PAIRS(bf16, 2)

/* Products of two bytes fit 16 bits, of either sign; pairs of them are added
   into 32-bit lanes. */
ALWAYS_INLINE uint32x4_t add_products_u8(uint32x4_t sum, uint8x16_t a, uint8x16_t b)
{
    sum = vpadalq_u16(sum, vmull_u8(vget_low_u8(a), vget_low_u8(b)));
    return vpadalq_u16(sum, vmull_high_u8(a, b));
}

ALWAYS_INLINE uint32x4_t step_dot_u8(uint32x4_t sum, uint8x16_t a, uint8x16_t b)
{
    return add_products_u8(sum, a, b);
}

ALWAYS_INLINE uint32x4_t step_l2_u8(uint32x4_t sum, uint8x16_t a, uint8x16_t b)
{
    const uint8x16_t diff = vabdq_u8(a, b);
    return add_products_u8(sum, diff, diff);
}

ALWAYS_INLINE uint32x4_t step_l2_i8(uint32x4_t sum, uint8x16_t a, uint8x16_t b)
{
    const uint8x16_t diff =
        vreinterpretq_u8_s8(vabdq_s8(vreinterpretq_s8_u8(a), vreinterpretq_s8_u8(b)));
    return add_products_u8(sum, diff, diff);
}

ALWAYS_INLINE uint32x4_t step_dot_i8(uint32x4_t sum, uint8x16_t a, uint8x16_t b)
{
    const int8x16_t x = vreinterpretq_s8_u8(a), y = vreinterpretq_s8_u8(b);
    int32x4_t s = vreinterpretq_s32_u32(sum);
    s = vpadalq_s16(s, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
    return vreinterpretq_u32_s32(vpadalq_s16(s, vmull_high_s8(x, y)));
}

/* At most INT_BLOCK elements: the lanes, and their sum taken as RESULT, fit 32 bits. */
#define DEFINE_INT_BLOCK(NAME, ELEM, STEP, RESULT)                                          \
    ALWAYS_INLINE int64_t NAME(const ELEM *a, const ELEM *b, size_t n)                      \
    {                                                                                       \
        uint32x4_t s0 = vdupq_n_u32(0), s1 = s0;                                            \
        size_t i = 0;                                                                       \
        for (; n - i >= 32; i += 32) {                                                      \
            s0 = STEP(s0, load128(a + i), load128(b + i));                                  \
            s1 = STEP(s1, load128(a + i + 16), load128(b + i + 16));                        \
        }                                                                                   \
        if (n - i >= 16) {                                                                  \
            s0 = STEP(s0, load128(a + i), load128(b + i));                                  \
            i += 16;                                                                        \
        }                                                                                   \
        if (i < n)                                                                          \
            s1 = STEP(s1, partial128(a + i, n - i), partial128(b + i, n - i));              \
        return (RESULT)vaddvq_u32(vaddq_u32(s0, s1));                                       \
    }

DEFINE_INT_BLOCK(dot_i8_block, int8_t, step_dot_i8, int32_t)
DEFINE_INT_BLOCK(l2_i8_block, int8_t, step_l2_i8, uint32_t)
DEFINE_INT_BLOCK(dot_u8_block, uint8_t, step_dot_u8, uint32_t)
DEFINE_INT_BLOCK(l2_u8_block, uint8_t, step_l2_u8, uint32_t)

DEFINE_INT(dot_i8, int8_t, dot_i8_block)
DEFINE_INT(dot_u8, uint8_t, dot_u8_block)
DEFINE_INT(l2_i8, int8_t, l2_i8_block)
DEFINE_INT(l2_u8, uint8_t, l2_u8_block)

static uint64_t hamming(const uint8_t *a, const uint8_t *b, size_t bits)
{
    const size_t n = bits / 8;
    uint64x2_t sum = vdupq_n_u64(0);
    size_t i = 0;
    for (; i < n; i += 16) {
        const uint8x16_t x = n - i >= 16 ? load128(a + i) : partial128(a + i, n - i),
                         y = n - i >= 16 ? load128(b + i) : partial128(b + i, n - i);
        sum = vpadalq_u32(sum, vpaddlq_u16(vpaddlq_u8(vcntq_u8(veorq_u8(x, y)))));
    }
    return vaddvq_u64(sum) + hamming_rest(a, b, bits);
}

DEFINE_INT_PAIRS

static void f16_to_f32(const uint16_t *src, float *dst, size_t n)
{
    for (; n >= 4; n -= 4, src += 4, dst += 4)
        store128(dst, vreinterpretq_u8_f32(widen_f16(load64(src))));
    store_partial(dst, vreinterpretq_u8_f32(widen_f16(partial64(src, 2 * n))), 4 * n);
}

ALWAYS_INLINE uint8x8_t narrow_f16(float32x4_t x)
{
    return vreinterpret_u8_f16(vcvt_f16_f32(x));
}

static void f32_to_f16(const float *src, uint16_t *dst, size_t n)
{
    for (; n >= 4; n -= 4, src += 4, dst += 4)
        vst1_u8((void *)dst, narrow_f16(QLOAD(src)));
    const uint8x8_t last = narrow_f16(QTAIL(src, n));
    store_partial(dst, vcombine_u8(last, last), 2 * n);
}

static void bf16_to_f32(const uint16_t *src, float *dst, size_t n)
{
    for (; n >= 4; n -= 4, src += 4, dst += 4)
        store128(dst, vreinterpretq_u8_f32(widen_bf16(load64(src))));
    store_partial(dst, vreinterpretq_u8_f32(widen_bf16(partial64(src, 2 * n))), 4 * n);
}

ALWAYS_INLINE uint8x8_t narrow_bf16(float32x4_t x)
{
    const uint32x4_t u = vreinterpretq_u32_f32(x), high = vshrq_n_u32(u, 16),
                     odd = vandq_u32(high, vdupq_n_u32(1)),
                     near = vshrq_n_u32(
                         vaddq_u32(vaddq_u32(u, odd), vdupq_n_u32(0x7fff)), 16),
                     quiet = vorrq_u32(high, vdupq_n_u32(0x40)), number = vceqq_f32(x, x);
    return vreinterpret_u8_u16(vmovn_u32(vbslq_u32(number, near, quiet)));
}

static void f32_to_bf16(const float *src, uint16_t *dst, size_t n)
{
    for (; n >= 4; n -= 4, src += 4, dst += 4)
        vst1_u8((void *)dst, narrow_bf16(QLOAD(src)));
    const uint8x8_t last = narrow_bf16(QTAIL(src, n));
    store_partial(dst, vcombine_u8(last, last), 2 * n);
}

static size_t find_nonfinite_f32(const float *x, size_t n)
{
    const uint32x4_t exponent = vdupq_n_u32(0x7f800000);
    const f32_any *v = (const void *)x;
    size_t i = 0;
    for (; n - i >= 4; i += 4) {
        const uint32x4_t bad =
            vceqq_u32(vandq_u32(vreinterpretq_u32_u8(load128(x + i)), exponent), exponent);
        if (vmaxvq_u32(bad))
            break;
    }
    for (; i < n; i++)
        if ((float_bits(v[i]) & 0x7f800000) == 0x7f800000)
            return i;
    return n;
}

/* A hit is rare in a search, so lanes are looked at one by one only then. */
ALWAYS_INLINE size_t put_below(const f32_any *x, size_t i, size_t end, float limit,
                               uint32_t *out, size_t count)
{
    for (; i < end; i++)
        if (x[i] < limit)
            out[count++] = (uint32_t)i;
    return count;
}

static size_t below_f32(const float *x, size_t n, float limit, uint32_t *out)
{
    const f32_any *v = (const void *)x;
    const float32x4_t top = vdupq_n_f32(limit);
    size_t count = 0, i = 0;
    for (; n - i >= 4; i += 4)
        if (vmaxvq_u32(vcltq_f32(QLOAD(x + i), top)))
            count = put_below(v, i, i + 4, limit, out, count);
    return put_below(v, i, n, limit, out, count);
}

/* fmax of a NaN is the NaN. */
ALWAYS_INLINE float32x4_t l2_of_dot(float32x4_t dot, float32x4_t norm, float32x4_t qq)
{
    return vmaxq_f32(vdupq_n_f32(0), vsubq_f32(vaddq_f32(norm, qq), vaddq_f32(dot, dot)));
}

static size_t l2_below_f32(float *dots, const float *norms, float qnorm, size_t n, float limit,
                           uint32_t *out)
{
    const f32_any *v = (const void *)dots;
    const float32x4_t top = vdupq_n_f32(limit), qq = vdupq_n_f32(qnorm);
    size_t count = 0, i = 0;
    for (; n - i >= 4; i += 4) {
        const float32x4_t dist = l2_of_dot(QLOAD(dots + i), QLOAD(norms + i), qq);
        store128(dots + i, vreinterpretq_u8_f32(dist));
        if (vmaxvq_u32(vcltq_f32(dist, top)))
            count = put_below(v, i, i + 4, limit, out, count);
    }
    const size_t rest = n - i;
    const float32x4_t dist = l2_of_dot(QTAIL(dots + i, rest), QTAIL(norms + i, rest), qq);
    store_partial(dots + i, vreinterpretq_u8_f32(dist), rest * sizeof *dots);
    return put_below(v, i, n, limit, out, count);
}

DEFINE_PICKS(plain_pick)

DEFINE_TABLE(neon);
