/*
 * The parts of a layer in plain C, and which table goes with which.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "vf_scalar.h"

enum { TILE_ROWS = 2 };

ALWAYS_INLINE void products(const uint8_t *a, size_t k, int rows, const int8_t *w, int blocks,
                            int32_t sums[][64])
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < 16 * blocks; c++) {
            const int8_t *const column = w + (size_t)(c / 16) * 16 * k + (size_t)(c % 16) * 4;
            int32_t sum = 0;
            for (size_t i = 0; i < k; i++)
                sum += a[(size_t)r * k + i] * column[i / 4 * 64 + i % 4];
            sums[r][c] = sum;
        }
}

#include "body_layers.h"

DEFINE_LAYERS(scalar);

const struct annk_layer_ops *annk_layers_for(const char *name)
{
    static const struct annk_layer_ops *const tables[] = {
#ifdef HAVE_AVX512
        &annk_layers_avx512,
#endif
#ifdef HAVE_AVX2
        &annk_layers_avx2,
#endif
#ifdef HAVE_NEON
        &annk_layers_neon,
#endif
        &annk_layers_scalar,
    };
    for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++)
        if (__builtin_strcmp(tables[i]->name, name) == 0)
            return tables[i];
    return &annk_layers_scalar;
}
