/*
 * Codes and their frame in plain C: the readable statement of what the other
 * code_*.c compute, bit for bit.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#include "body_code.h"

ALWAYS_INLINE void quad_sq8(const int8_t *query, int32_t query_sum, const uint8_t *const row[4],
                            size_t padded, int32_t *dots)
{
    (void)query_sum;
    for (int r = 0; r < 4; r++) {
        int32_t sum = 0;
        for (size_t i = 0; i < padded; i++)
            sum += (row[r][i] - 128) * query[i];
        dots[r] = sum;
    }
}

ALWAYS_INLINE int32_t dot_sq4(const int8_t *query, const uint8_t *code, size_t padded)
{
    int32_t sum = 0;
    for (size_t at = 0; at < padded; at += 128)
        for (size_t i = 0; i < 64; i++) {
            const int byte = code[at / 2 + i];
            sum += (2 * (byte & 15) - 15) * query[at + i] +
                   (2 * (byte >> 4) - 15) * query[at + 64 + i];
        }
    return sum;
}

ALWAYS_INLINE void quad_sq4(const int8_t *query, int32_t query_sum, const uint8_t *const row[4],
                            size_t padded, int32_t *dots)
{
    (void)query_sum;
    for (int r = 0; r < 4; r++)
        dots[r] = dot_sq4(query, row[r], padded);
}

DEFINE_CODE_DOTS(annk_scalar_dots_sq8, padded, quad_sq8)
DEFINE_CODE_DOTS(annk_scalar_dots_sq4, padded / 2, quad_sq4)

void annk_scalar_butterfly_f32(float *a, float *b, size_t n)
{
    plain_butterfly(a, b, n);
}

void annk_scalar_fwht_f32(float *x, size_t n)
{
    for (size_t span = 1; span < n; span *= 2)
        for (size_t i = 0; i < n; i += 2 * span)
            plain_butterfly(x + i, x + i + span, span);
}

void annk_scalar_flip_signs_f32(float *x, const uint64_t *bits, size_t n)
{
    plain_flip_signs(x, bits, 0, n);
}

void annk_scalar_quantise_s8(const float *y, float inverse_step, int8_t *out, size_t n)
{
    plain_quantise(y, inverse_step, out, n);
}

float annk_scalar_max_abs_f32(const float *x, size_t n)
{
    return plain_max_abs(x, n, 0);
}

void annk_scalar_rest_s8(const float *y, const int8_t *high, float step, float inverse_low_step,
                         int8_t *low, size_t n, struct annk_rest *sums)
{
    plain_rest(y, high, step, inverse_low_step, low, n, sums);
}
