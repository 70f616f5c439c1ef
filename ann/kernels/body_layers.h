/*
 * The parts of a layer, written once over the vectors of the including file,
 * which defines before:
 *
 *   vf, LANES          a vector of floats and how many it holds (1, 4, 8 or 16)
 *   vf_load vf_store vf_set vf_add vf_sub vf_mul vf_max vf_min
 *   vf_fma(a, b, c)    a * b + c
 *   vf_round           to the nearest whole number, even if half way
 *   vf_pow2            2^x of a whole number from -126 to 127
 *   vf_total vf_highest vf_lowest   over the lanes
 *   vf_bytes(x, p)     whole numbers 0..255 as LANES bytes
 *   vf_widen(p)        LANES signed bytes
 *   products(a, k, rows, w, n16, sums)   exact integer products; see multiply
 *
 * Invariant: quantise gives the same bytes in every file, for subtraction,
 * multiplication and rounding are exact operations of IEEE 754 and none of
 * them is contracted.
 */
#ifndef ANNK_BODY_LAYERS_H
#define ANNK_BODY_LAYERS_H

#include "body.h"
#include "layers.h"

enum {
    ROWS_AT_ONCE = 4,           /* queries of an attention, rows of a product */
    KEYS = LANES == 16 ? 4 : 2, /* vectors of keys at once */
    COLUMN_BLOCKS = 4           /* of 16 columns, of a product at once */
};

/* e^x for x <= 0, below -87 a number near 0; Cephes' polynomial on [-ln 2 / 2, ln 2 / 2]. */
ALWAYS_INLINE vf exp_negative(vf x)
{
    x = vf_max(x, vf_set(-87.0f));
    const vf n = vf_round(vf_mul(x, vf_set(1.44269504088896341f)));
    vf r = vf_fma(n, vf_set(-0.693359375f), x);
    r = vf_fma(n, vf_set(2.12194440e-4f), r);
    vf p = vf_set(1.9875691500e-4f);
    p = vf_fma(p, r, vf_set(1.3981999507e-3f));
    p = vf_fma(p, r, vf_set(8.3334519073e-3f));
    p = vf_fma(p, r, vf_set(4.1665795894e-2f));
    p = vf_fma(p, r, vf_set(1.6666665459e-1f));
    p = vf_fma(p, r, vf_set(5.0000001201e-1f));
    p = vf_fma(p, vf_mul(r, r), vf_add(r, vf_set(1.0f)));
    return vf_mul(p, vf_pow2(n));
}

/*
 * Phi(x) - 1/2 = x P(z), z = 2 x^2 / 25 - 1, for |x| <= 5, beyond which Phi is
 * 0 or 1 to within 3e-7.  P by weighted least squares on x^2 times the error.
 */
ALWAYS_INLINE vf gelu_of(vf x)
{
    static const float c[] = {1.413637805e-01f,  -7.029665250e-02f, 5.152142114e-02f,
                              -4.043294652e-02f, 3.142622469e-02f,  -2.333675222e-02f,
                              1.649768590e-02f,  -1.097317122e-02f, 6.165353250e-03f,
                              -2.915747033e-03f, 2.001949628e-03f,  -1.514121502e-03f,
                              4.929318746e-04f};
    const vf near = vf_min(vf_max(x, vf_set(-5.0f)), vf_set(5.0f));
    const vf z = vf_fma(vf_mul(near, near), vf_set(2.0f / 25), vf_set(-1.0f));
    vf p = vf_set(c[12]);
    for (int i = 11; i >= 0; i--)
        p = vf_fma(p, z, vf_set(c[i]));
    return vf_mul(x, vf_fma(near, p, vf_set(0.5f)));
}

static void gelu(float *x, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        vf_store(x + i, gelu_of(vf_load(x + i)));
}

static void quantise(const float *x, size_t n, uint8_t *q, float *scale, float *low)
{
    vf least = vf_load(x), most = least;
    for (size_t i = LANES; i < n; i += LANES) {
        least = vf_min(least, vf_load(x + i));
        most = vf_max(most, vf_load(x + i));
    }
    *low = vf_lowest(least);
    const float range = vf_highest(most) - *low, times = range > 0 ? 255.0f / range : 0;
    *scale = range / 255.0f;
    const vf from = vf_set(*low), by = vf_set(times);
    for (size_t i = 0; i < n; i += LANES) {
        const vf y = vf_round(vf_mul(vf_sub(vf_load(x + i), from), by));
        vf_bytes(vf_min(y, vf_set(255.0f)), q + i);
    }
}

static void normalise(float *x, const float *add, const float *gamma, const float *beta,
                      float epsilon, size_t n)
{
    vf sum = vf_set(0);
    for (size_t i = 0; i < n; i += LANES) {
        vf y = vf_load(x + i);
        if (add) {
            y = vf_add(y, vf_load(add + i));
            vf_store(x + i, y);
        }
        sum = vf_add(sum, y);
    }
    const vf mean = vf_set(vf_total(sum) / (float)n);
    vf squares = vf_set(0);
    for (size_t i = 0; i < n; i += LANES) {
        const vf y = vf_sub(vf_load(x + i), mean);
        squares = vf_fma(y, y, squares);
    }
    const vf by = vf_set(1.0f / __builtin_sqrtf(vf_total(squares) / (float)n + epsilon));
    for (size_t i = 0; i < n; i += LANES) {
        const vf y = vf_mul(vf_sub(vf_load(x + i), mean), by);
        vf_store(x + i, vf_fma(y, vf_load(gamma + i), vf_load(beta + i)));
    }
}

static void add_i8(const int8_t *x, float weight, float *sum, size_t n)
{
    const vf w = vf_set(weight);
    for (size_t i = 0; i < n; i += LANES)
        vf_store(sum + i, vf_fma(vf_widen(x + i), w, vf_load(sum + i)));
}

static void add_f32(const float *x, float weight, float *sum, size_t n)
{
    const vf w = vf_set(weight);
    for (size_t i = 0; i < n; i += LANES)
        vf_store(sum + i, vf_fma(vf_load(x + i), w, vf_load(sum + i)));
}

static double dot_f32(const float *a, const float *b, size_t n)
{
    vf sum = vf_set(0);
    for (size_t i = 0; i < n; i += LANES)
        sum = vf_fma(vf_load(a + i), vf_load(b + i), sum);
    return (double)vf_total(sum);
}

/* ---- attention ---- */

/* keys [width][padded] from k, zeros behind the last token. */
ALWAYS_INLINE void turn_keys(const struct annk_attention *a, size_t padded, float *keys)
{
    for (size_t d = 0; d < a->width; d++) {
        float *const row = keys + d * padded;
        for (size_t t = 0; t < a->tokens; t++)
            row[t] = a->k[t * a->stride + d];
        for (size_t t = a->tokens; t < padded; t++)
            row[t] = 0;
    }
}

/* scores [ROWS_AT_ONCE][padded] = queries [ROWS_AT_ONCE][width] times keys. */
ALWAYS_INLINE void score(const float *queries, const float *keys, size_t width, size_t padded,
                         float *scores)
{
    for (size_t t = 0; t < padded; t += KEYS * LANES) {
        vf s[ROWS_AT_ONCE][KEYS];
        for (int r = 0; r < ROWS_AT_ONCE; r++)
            for (int i = 0; i < KEYS; i++)
                s[r][i] = vf_set(0);
        for (size_t d = 0; d < width; d++) {
            vf key[KEYS];
            for (int i = 0; i < KEYS; i++)
                key[i] = vf_load(keys + d * padded + t + (size_t)i * LANES);
            for (int r = 0; r < ROWS_AT_ONCE; r++) {
                const vf q = vf_set(queries[(size_t)r * width + d]);
                for (int i = 0; i < KEYS; i++)
                    s[r][i] = vf_fma(q, key[i], s[r][i]);
            }
        }
        for (int r = 0; r < ROWS_AT_ONCE; r++)
            for (int i = 0; i < KEYS; i++)
                vf_store(scores + (size_t)r * padded + t + (size_t)i * LANES, s[r][i]);
    }
}

/* e^(s - highest) of scores [tokens], behind them below 2e-38; returns 1 / their sum, to which
 * what is behind adds nothing, for the highest is 1. */
ALWAYS_INLINE float softmax(float *scores, size_t tokens, size_t padded)
{
    for (size_t t = tokens; t < padded; t++)
        scores[t] = -__builtin_inff();
    vf most = vf_load(scores);
    for (size_t t = LANES; t < padded; t += LANES)
        most = vf_max(most, vf_load(scores + t));
    const vf highest = vf_set(vf_highest(most));
    vf sum = vf_set(0);
    for (size_t t = 0; t < padded; t += LANES) {
        const vf e = exp_negative(vf_sub(vf_load(scores + t), highest));
        vf_store(scores + t, e);
        sum = vf_add(sum, e);
    }
    return 1 / vf_total(sum);
}

/* rows of a->out from first on = weights [ROWS_AT_ONCE][padded] times a->v, times by. */
ALWAYS_INLINE void blend(const struct annk_attention *a, const float *weights, size_t padded,
                         const float by[ROWS_AT_ONCE], size_t first, size_t rows)
{
    enum { PARTS = 16 / LANES < 2 ? 1 : 16 / LANES > 4 ? 4 : 16 / LANES };
    for (size_t d = 0; d < a->width; d += PARTS * LANES) {
        vf sum[ROWS_AT_ONCE][PARTS];
        for (int r = 0; r < ROWS_AT_ONCE; r++)
            for (int i = 0; i < PARTS; i++)
                sum[r][i] = vf_set(0);
        for (size_t t = 0; t < a->tokens; t++)
            for (int i = 0; i < PARTS; i++) {
                const vf v = vf_load(a->v + t * a->stride + d + (size_t)i * LANES);
                for (int r = 0; r < ROWS_AT_ONCE; r++)
                    sum[r][i] = vf_fma(vf_set(weights[(size_t)r * padded + t]), v, sum[r][i]);
            }
        for (size_t r = 0; r < rows; r++)
            for (int i = 0; i < PARTS; i++)
                vf_store(a->out + (first + r) * a->out_stride + d + (size_t)i * LANES,
                         vf_mul(sum[r][i], vf_set(by[r])));
    }
}

static void attend(const struct annk_attention *a)
{
    const size_t padded = (a->tokens + 63) / 64 * 64;
    float *const keys = a->scratch, *const scores = keys + padded * a->width,
                 *const queries = scores + ROWS_AT_ONCE * padded;
    const float by = 1 / __builtin_sqrtf((float)a->width);
    turn_keys(a, padded, keys);
    for (size_t first = 0; first < a->tokens; first += ROWS_AT_ONCE) {
        const size_t rest = a->tokens - first, rows = rest < ROWS_AT_ONCE ? rest : ROWS_AT_ONCE;
        float scale[ROWS_AT_ONCE] = {0};
        for (size_t r = 0; r < ROWS_AT_ONCE; r++)
            for (size_t d = 0; d < a->width; d++)
                queries[r * a->width + d] =
                    r < rows ? by * a->q[(first + r) * a->stride + d] : 0;
        score(queries, keys, a->width, padded, scores);
        for (size_t r = 0; r < ROWS_AT_ONCE; r++)
            scale[r] = softmax(scores + r * padded, a->tokens, padded);
        blend(a, scores, padded, scale, first, rows);
    }
}

/* ---- products ---- */

/* Rows i .. i + rows - 1 of columns j .. j + 16 * blocks - 1; both are constants where it is
 * called, so that it becomes one loop each. */
ALWAYS_INLINE void product_tile(const struct annk_product *p, size_t i, size_t j, int rows,
                                int blocks)
{
    int32_t sums[TILE_ROWS][COLUMN_BLOCKS * 16];
    products(p->a + i * p->k, p->k, rows, p->w + j * p->k, blocks, sums);
    for (int r = 0; r < rows; r++) {
        const vf scale = vf_set(p->scale[i + (size_t)r]), low = vf_set(p->low[i + (size_t)r]);
        float *const out = p->out + (i + (size_t)r) * p->stride + j;
        for (size_t c = 0; c < (size_t)blocks * 16; c += LANES) {
            const vf of = vf_mul(scale, vf_load(p->w_scale + j + c));
            vf y = vf_fma(low, vf_load(p->w_sum + j + c), vf_load(p->bias + j + c));
            y = vf_fma(of, vf_from(sums[r] + c), y);
            vf_store(out + c, y);
        }
    }
}

ALWAYS_INLINE void product_columns(const struct annk_product *p, size_t j, int blocks)
{
    size_t i = 0;
    for (; p->rows - i >= TILE_ROWS; i += TILE_ROWS)
        product_tile(p, i, j, TILE_ROWS, blocks);
    for (; i < p->rows; i++)
        product_tile(p, i, j, 1, blocks);
}

static void multiply(const struct annk_product *p)
{
    size_t j = 0;
    for (; p->n - j >= COLUMN_BLOCKS * 16; j += COLUMN_BLOCKS * 16)
        product_columns(p, j, COLUMN_BLOCKS);
    for (; j < p->n; j += 16)
        product_columns(p, j, 1);
}

#define DEFINE_LAYERS(isa)                                                                     \
    const struct annk_layer_ops annk_layers_##isa = {                                          \
        #isa, quantise, multiply, attend, gelu, normalise, add_i8, add_f32, dot_f32}

#endif
