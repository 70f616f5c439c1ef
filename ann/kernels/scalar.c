/*
 * Plain C kernels: the fallback of every machine and the readable statement of
 * what the others compute.  Sums go to 16 partial sums, element i to sum i %
 * 16: that bounds the error as in the vector files and lets the compiler use
 * the vector registers of the baseline instruction set.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include "body.h"

enum { LANES = 16 };

ALWAYS_INLINE float sum_lanes(const float s[LANES])
{
    float part[4];
    for (int k = 0; k < 4; k++)
        part[k] = (s[k] + s[k + 8]) + (s[k + 4] + s[k + 12]);
    return (part[0] + part[1]) + (part[2] + part[3]);
}

#define DEFINE_ONE(T, ELEM)                                                                 \
    ALWAYS_INLINE float one_l2_##T(const void *query, const void *vec, size_t dim)          \
    {                                                                                       \
        const f32_any *q = query;                                                           \
        const ELEM *x = vec;                                                                \
        float s[LANES] = {0};                                                               \
        for (size_t i = 0; i < dim; i += LANES) {                                           \
            const size_t m = dim - i < LANES ? dim - i : LANES;                             \
            for (size_t k = 0; k < m; k++) {                                                \
                const float diff = q[i + k] - T##_widen(x[i + k]);                          \
                s[k] += diff * diff;                                                        \
            }                                                                               \
        }                                                                                   \
        return sum_lanes(s);                                                                \
    }                                                                                       \
    ALWAYS_INLINE float one_ip_##T(const void *query, const void *vec, size_t dim)          \
    {                                                                                       \
        const f32_any *q = query;                                                           \
        const ELEM *x = vec;                                                                \
        float s[LANES] = {0};                                                               \
        for (size_t i = 0; i < dim; i += LANES) {                                           \
            const size_t m = dim - i < LANES ? dim - i : LANES;                             \
            for (size_t k = 0; k < m; k++)                                                  \
                s[k] += q[i + k] * T##_widen(x[i + k]);                                     \
        }                                                                                   \
        return finish_ip(sum_lanes(s));                                                     \
    }                                                                                       \
    ALWAYS_INLINE float one_cos_##T(const void *query, const void *vec, size_t dim, float qq) \
    {                                                                                       \
        const f32_any *q = query;                                                           \
        const ELEM *x = vec;                                                                \
        float s[LANES] = {0}, norm[LANES] = {0};                                            \
        for (size_t i = 0; i < dim; i += LANES) {                                           \
            const size_t m = dim - i < LANES ? dim - i : LANES;                             \
            for (size_t k = 0; k < m; k++) {                                                \
                const float y = T##_widen(x[i + k]);                                        \
                s[k] += q[i + k] * y;                                                       \
                norm[k] += y * y;                                                           \
            }                                                                               \
        }                                                                                   \
        const float xx = sum_lanes(norm);                                                   \
        if (!norm_in_range(qq) || !norm_in_range(xx))                                       \
            return cos_wide_##T(query, vec, dim);                                           \
        return finish_cos(sum_lanes(s), qq, xx);                                            \
    }

DEFINE_ONE(f32, f32_any)
DEFINE_ONE(f16, u16_any)
DEFINE_ONE(bf16, u16_any)

static float norm2_f32(const float *x, size_t n)
{
    return -one_ip_f32(x, x, n);
}

DEFINE_FLOAT_PAIRS(f32, 4)
DEFINE_FLOAT_PAIRS(f16, 2)
DEFINE_FLOAT_PAIRS(bf16, 2)

#define DEFINE_INT_BLOCK(NAME, ELEM, SUM, TERM)                                             \
    ALWAYS_INLINE int64_t NAME(const ELEM *a, const ELEM *b, size_t n)                      \
    {                                                                                       \
        SUM sum = 0;                                                                        \
        for (size_t i = 0; i < n; i++)                                                      \
            sum += (SUM)(TERM);                                                             \
        return sum;                                                                         \
    }

DEFINE_INT_BLOCK(dot_i8_block, int8_t, int32_t, a[i] * b[i])
DEFINE_INT_BLOCK(l2_i8_block, int8_t, uint32_t, (a[i] - b[i]) * (a[i] - b[i]))
DEFINE_INT_BLOCK(dot_u8_block, uint8_t, uint32_t, a[i] * b[i])
DEFINE_INT_BLOCK(l2_u8_block, uint8_t, uint32_t, (a[i] - b[i]) * (a[i] - b[i]))

DEFINE_INT(dot_i8, int8_t, dot_i8_block)
DEFINE_INT(dot_u8, uint8_t, dot_u8_block)
DEFINE_INT(l2_i8, int8_t, l2_i8_block)
DEFINE_INT(l2_u8, uint8_t, l2_u8_block)

static uint64_t hamming(const uint8_t *a, const uint8_t *b, size_t bits)
{
    return hamming_words(a, b, bits);
}

DEFINE_INT_PAIRS

static void f16_to_f32(const uint16_t *src, float *dst, size_t n)
{
    const u16_any *from = (const void *)src;
    f32_any *to = (void *)dst;
    for (size_t i = 0; i < n; i++)
        to[i] = f16_widen(from[i]);
}

static void f32_to_f16(const float *src, uint16_t *dst, size_t n)
{
    const f32_any *from = (const void *)src;
    u16_any *to = (void *)dst;
    for (size_t i = 0; i < n; i++)
        to[i] = f16_narrow(from[i]);
}

static void bf16_to_f32(const uint16_t *src, float *dst, size_t n)
{
    const u16_any *from = (const void *)src;
    f32_any *to = (void *)dst;
    for (size_t i = 0; i < n; i++)
        to[i] = bf16_widen(from[i]);
}

static void f32_to_bf16(const float *src, uint16_t *dst, size_t n)
{
    const f32_any *from = (const void *)src;
    u16_any *to = (void *)dst;
    for (size_t i = 0; i < n; i++)
        to[i] = bf16_narrow(from[i]);
}

static size_t find_nonfinite_f32(const float *x, size_t n)
{
    const f32_any *v = (const void *)x;
    for (size_t i = 0; i < n; i++)
        if ((float_bits(v[i]) & 0x7f800000) == 0x7f800000)
            return i;
    return n;
}

static size_t below_f32(const float *x, size_t n, float limit, uint32_t *out)
{
    const f32_any *v = (const void *)x;
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        if (v[i] < limit)
            out[count++] = (uint32_t)i;
    return count;
}

static size_t l2_below_f32(float *dots, const float *norms, float qnorm, size_t n, float limit,
                           uint32_t *out)
{
    f32_any *dot = (void *)dots;
    const f32_any *norm = (const void *)norms;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const float dist = (norm[i] + qnorm) - 2 * dot[i];
        dot[i] = dist > 0 || dist != dist ? dist : 0; /* a NaN stays */
        if (dot[i] < limit)
            out[count++] = (uint32_t)i;
    }
    return count;
}

DEFINE_PICKS(plain_pick)

DEFINE_TABLE(scalar);
