/*
 * Rows in plain C, the sums of a query, and which table goes with which.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "body_rows.h"

DEFINE_ROWS(scalar);

/* Ascending in the index: bit j of the index is the sign of value j. */
static float signed_sum(const float *y, unsigned signs)
{
    float sum = 0;
    for (unsigned j = 0; j < 4; j++)
        sum += signs >> j & 1 ? y[j] : -y[j];
    return sum;
}

/* The 16 entries of one table, from the least sum on. */
static void fill(const float *y, float least, float per_step, uint8_t *entries)
{
    for (unsigned s = 0; s < 16; s++) {
        const float e = (signed_sum(y, s) + least) * per_step + 0.5f;
        entries[s] = (uint8_t)(e < 255 ? e > 0 ? e : 0 : 255);
    }
}

void annk_row_sums(const float *y, size_t padded, unsigned planes, uint8_t *sums,
                   struct annk_row_query *q)
{
    float most = 0, total = 0;
    for (size_t i = 0; i < padded; i += 4) {
        const float span = fabsf(y[i]) + fabsf(y[i + 1]) + fabsf(y[i + 2]) + fabsf(y[i + 3]);
        most = span > most ? span : most;
        total += span;
    }
    const float step = 2 * most / 255, per_step = step > 0 ? 1 / step : 0;
    for (size_t chunk = 0; chunk < padded / 32; chunk++)
        for (unsigned g = 0; g < 8; g++) {
            const float *v = y + 32 * chunk + 4 * g;
            const float span = fabsf(v[0]) + fabsf(v[1]) + fabsf(v[2]) + fabsf(v[3]);
            fill(v, span, per_step, sums + 128 * chunk + 64 * (g & 1) + 16 * (g >> 1));
        }
    q->sums = sums;
    q->scale = 0.5f * step;
    q->offset = -0.5f * (float)((1u << planes) - 1) * total;
}

const struct annk_row_ops *annk_rows_for(const char *name)
{
    static const struct annk_row_ops *const tables[] = {
#ifdef HAVE_AVX512
        &annk_rows_avx512,
#endif
#ifdef HAVE_AVX2
        &annk_rows_avx2,
#endif
#ifdef HAVE_NEON
        &annk_rows_neon,
#endif
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (strcmp(tables[i]->name, name) == 0)
            return tables[i];
    return &annk_rows_scalar;
}
