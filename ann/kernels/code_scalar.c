/*
 * Codes and their frame in plain C: the readable statement of what the other
 * code_*.c compute, bit for bit.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include "body.h"

/* Each term is at most 128 * 128, padded at most 65,664: no sum leaves 32 bits. */
ALWAYS_INLINE int32_t dot_sq8(const int8_t *query, const uint8_t *code, size_t padded)
{
    int32_t sum = 0;
    for (size_t i = 0; i < padded; i++)
        sum += (code[i] - 128) * query[i];
    return sum;
}

ALWAYS_INLINE int32_t dot_sq4(const int8_t *query, const uint8_t *code, size_t padded)
{
    int32_t sum = 0;
    for (size_t group = 0; group < padded; group += 128)
        for (size_t i = 0; i < 64; i++) {
            const int byte = code[group / 2 + i];
            sum += (2 * (byte & 15) - 15) * query[group + i] +
                   (2 * (byte >> 4) - 15) * query[group + 64 + i];
        }
    return sum;
}

#define DEFINE_DOTS(NAME, DOT, BYTES)                                                       \
    ANNK_CODE_DOTS(NAME)                                                                    \
    {                                                                                       \
        const size_t span = prefetch_span(BYTES), first = ahead ? ahead : LOOKAHEAD;        \
        (void)query_sum;                                                                    \
        for (size_t i = 0; i < n && i < first; i++)                                         \
            prefetch_row(row_at(base, stride, slots[i]), span);                             \
        for (size_t i = 0; i < n; i++) {                                                    \
            if (n - i > first)                                                              \
                prefetch_row(row_at(base, stride, slots[i + first]), span);                 \
            dots[i] = DOT(query, base + (size_t)slots[i] * stride, padded);                 \
        }                                                                                   \
    }

DEFINE_DOTS(annk_scalar_dots_sq8, dot_sq8, padded)
DEFINE_DOTS(annk_scalar_dots_sq4, dot_sq4, padded / 2)

void annk_scalar_butterfly_f32(float *a, float *b, size_t n)
{
    f32_any *restrict x = (void *)a, *restrict y = (void *)b;
    for (size_t i = 0; i < n; i++) {
        const float sum = x[i] + y[i], difference = x[i] - y[i];
        x[i] = sum;
        y[i] = difference;
    }
}

void annk_scalar_fwht_f32(float *x, size_t n)
{
    for (size_t span = 1; span < n; span *= 2)
        for (size_t i = 0; i < n; i += 2 * span)
            annk_scalar_butterfly_f32(x + i, x + i + span, span);
}

void annk_scalar_flip_signs_f32(float *x, const uint64_t *bits, size_t n)
{
    u32_any *v = (void *)x;
    const u64_any *word = (const void *)bits;
    for (size_t i = 0; i < n; i++)
        v[i] ^= (uint32_t)(word[i / 64] >> i % 64) << 31;
}

/*
 * Bringing to -127..127 comes first: it commutes with the rounding.  Adding
 * 1.5 * 2^23 leaves the nearest integer in the low bits; the comparison
 * between keeps the product from being contracted with that sum.
 */
ALWAYS_INLINE int8_t quantise(float y, float inverse_step)
{
    const float scaled = y * inverse_step, low = scaled > -127 ? scaled : -127;
    return (int8_t)float_bits((low < 127 ? low : 127) + 0x1.8p23f);
}

void annk_scalar_quantise_s8(const float *y, float inverse_step, int8_t *out, size_t n)
{
    const f32_any *v = (const void *)y;
    for (size_t i = 0; i < n; i++)
        out[i] = quantise(v[i], inverse_step);
}

float annk_scalar_max_abs_f32(const float *x, size_t n)
{
    const u32_any *v = (const void *)x;
    uint32_t most = 0; /* positive floats order as their bits do */
    for (size_t i = 0; i < n; i++) {
        const uint32_t magnitude = v[i] & 0x7fffffff;
        most = magnitude > most ? magnitude : most;
    }
    return bits_float(most);
}
