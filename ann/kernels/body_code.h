/*
 * What code_*.c share: the walk over gathered codes with its prefetches, and
 * the plain forms of the kernels of the frame, which are those of code_scalar.c
 * and do what a vector form leaves at the end.
 *
 * Static as all of body.h is.
 */
#ifndef ANNK_BODY_CODE_H
#define ANNK_BODY_CODE_H

#include "body.h"

enum { CODE_AHEAD = 16 }; /* vectors between a prefetch and its use */

/* The empty asm keeps gcc 12 from computing addresses in vector registers, which is slow. */
ALWAYS_INLINE const uint8_t *code_at(const uint8_t *base, size_t stride, uint32_t slot)
{
    const uint8_t *code = base + (size_t)slot * stride;
    __asm__("" : "+r"(code));
    return code;
}

ALWAYS_INLINE void prefetch_codes(const uint8_t *base, size_t stride, const uint32_t *slots,
                                  size_t n, size_t span)
{
    for (size_t i = 0; i < n; i++)
        prefetch_row((const char *)code_at(base, stride, slots[i]), span);
}

/*
 * A code_dots function of codes of BYTES bytes.  QUAD(query, query_sum, row,
 * padded, dots) takes four rows at a time, which share the loads of the query
 * and one reduction; the last one to three rows are filled up with the last.
 */
#define DEFINE_CODE_DOTS(NAME, BYTES, QUAD)                                                 \
    ANNK_CODE_DOTS(NAME)                                                                    \
    {                                                                                       \
        const size_t span = prefetch_span(BYTES), lead = ahead ? ahead : CODE_AHEAD;        \
        const uint8_t *row[4];                                                              \
        size_t i = 0;                                                                       \
        prefetch_codes(base, stride, slots, n < lead ? n : lead, span);                     \
        for (; n - i >= 4; i += 4) {                                                        \
            const size_t left = n - i > lead ? n - i - lead : 0;                            \
            if (left > 0)                                                                   \
                prefetch_codes(base, stride, slots + i + lead, left < 4 ? left : 4, span);  \
            for (size_t r = 0; r < 4; r++)                                                  \
                row[r] = code_at(base, stride, slots[i + r]);                               \
            QUAD(query, query_sum, row, padded, dots + i);                                  \
        }                                                                                   \
        if (i < n) {                                                                        \
            int32_t last[4];                                                                \
            for (size_t r = 0; r < 4; r++)                                                  \
                row[r] = code_at(base, stride, slots[i + r < n ? i + r : n - 1]);           \
            QUAD(query, query_sum, row, padded, last);                                      \
            __builtin_memcpy(dots + i, last, (n - i) * sizeof *dots);                       \
        }                                                                                   \
    }

MAYBE_UNUSED ALWAYS_INLINE void plain_butterfly(float *a, float *b, size_t n)
{
    f32_any *restrict x = (void *)a, *restrict y = (void *)b;
    for (size_t i = 0; i < n; i++) {
        const float sum = x[i] + y[i], difference = x[i] - y[i];
        x[i] = sum;
        y[i] = difference;
    }
}

/* Of the elements from `from` on. */
MAYBE_UNUSED ALWAYS_INLINE void plain_flip_signs(float *x, const uint64_t *bits, size_t from,
                                                 size_t n)
{
    u32_any *v = (void *)x;
    const u64_any *word = (const void *)bits;
    for (size_t i = from; i < n; i++)
        v[i] ^= (uint32_t)(word[i / 64] >> i % 64) << 31;
}

/*
 * Bringing to -127..127 comes first: it commutes with the rounding.  Adding
 * 1.5 * 2^23 leaves the nearest integer in the low bits; the comparisons
 * between keep the product from being contracted with that sum.
 */
MAYBE_UNUSED ALWAYS_INLINE void plain_quantise(const float *y, float inverse_step, int8_t *out,
                                               size_t n)
{
    const f32_any *v = (const void *)y;
    for (size_t i = 0; i < n; i++) {
        const float scaled = v[i] * inverse_step, low = scaled > -127 ? scaled : -127;
        out[i] = (int8_t)float_bits((low < 127 ? low : 127) + 0x1.8p23f);
    }
}

/* Sums in 16 lanes, as in the distances, for their bound. */
MAYBE_UNUSED ALWAYS_INLINE void plain_rest(const float *y, const int8_t *high, float step,
                                           float inverse_low_step, int8_t *low, size_t n,
                                           struct annk_rest *sums)
{
    const f32_any *v = (const void *)y;
    float norm2[16] = {0}, error2[16] = {0};
    *sums = (struct annk_rest){0, 0, 0, 0};
    for (size_t i = 0; i < n; i += 16)
        for (unsigned j = 0; j < 16; j++) {
            const float x = v[i + j], rest = x - step * (float)high[i + j];
            norm2[j] += x * x;
            error2[j] += rest * rest;
            plain_quantise(&rest, inverse_low_step, low + i + j, 1);
            sums->high_sum += high[i + j];
            sums->low_sum += low[i + j];
        }
    for (unsigned j = 0; j < 16; j++) {
        sums->norm2 += norm2[j];
        sums->error2 += error2[j];
    }
}

/* Of `most` and the rest, by the bits: so positive floats order. */
MAYBE_UNUSED ALWAYS_INLINE float plain_max_abs(const float *x, size_t n, uint32_t most)
{
    const u32_any *v = (const void *)x;
    for (size_t i = 0; i < n; i++) {
        const uint32_t magnitude = v[i] & 0x7fffffff;
        most = magnitude > most ? magnitude : most;
    }
    return bits_float(most);
}

#endif
