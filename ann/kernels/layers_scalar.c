/*
 * The parts of a layer in plain C, and which table goes with which.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "body.h"

typedef float vf;
enum { LANES = 1, TILE_ROWS = 2 };

ALWAYS_INLINE vf vf_load(const float *p)
{
    return *p;
}
ALWAYS_INLINE void vf_store(float *p, vf x)
{
    *p = x;
}
ALWAYS_INLINE vf vf_set(float x)
{
    return x;
}
ALWAYS_INLINE vf vf_add(vf a, vf b)
{
    return a + b;
}
ALWAYS_INLINE vf vf_sub(vf a, vf b)
{
    return a - b;
}
ALWAYS_INLINE vf vf_mul(vf a, vf b)
{
    return a * b;
}
ALWAYS_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return a * b + c;
}
ALWAYS_INLINE vf vf_max(vf a, vf b)
{
    return a > b ? a : b;
}
ALWAYS_INLINE vf vf_min(vf a, vf b)
{
    return a < b ? a : b;
}
ALWAYS_INLINE vf vf_round(vf x)
{
    return __builtin_rintf(x);
}
ALWAYS_INLINE vf vf_pow2(vf n)
{
    return bits_float((uint32_t)((int32_t)n + 127) << 23);
}
ALWAYS_INLINE float vf_total(vf x)
{
    return x;
}
ALWAYS_INLINE float vf_highest(vf x)
{
    return x;
}
ALWAYS_INLINE float vf_lowest(vf x)
{
    return x;
}
ALWAYS_INLINE void vf_bytes(vf x, uint8_t *p)
{
    *p = (uint8_t)(x > 0 ? x : 0); /* at most 255; no number: 0 */
}
ALWAYS_INLINE vf vf_widen(const int8_t *p)
{
    return *p;
}
ALWAYS_INLINE vf vf_from(const int32_t *p)
{
    return (float)*p;
}

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
