/*
 * The parts of a transformer's layer: the contract of the kernels that an
 * encoder is made of, one table per instruction set, under the rules of
 * kernels.h, but that floats are aligned as floats.  Widths (n, k, the size of
 * a head) are multiples of 16.
 *
 * Weights are signed bytes in blocks of 16 columns, for each block 4 inputs at
 * a time: byte [column / 16][input / 4][column % 16][input % 4].  It is the
 * order vpdpbusd and its likes on other machines take them in, so that a model's
 * file is used as it lies.
 *
 * Integers are exact and the same in every table; floats agree within some
 * units of the last place of their largest term.
 */
#ifndef ANNK_LAYERS_H
#define ANNK_LAYERS_H

#include <stddef.h>
#include <stdint.h>

#define ANNK_LAYER_STEP  16    /* what widths are multiples of */
#define ANNK_LAYER_K_MAX 65536 /* 255 * 127 * 65,536 is below 2^31 */

/* out[i][j] = scale[i] * w_scale[j] * sum_k a[i][k] w[j][k] + low[i] * w_sum[j] + bias[j] */
struct annk_product {
    const uint8_t *a;         /* [rows, k], quantised rows */
    const float *scale, *low; /* [rows] */
    const int8_t *w;          /* [n, k] in blocks as above */
    const float *w_scale;     /* [n] */
    const float *w_sum;       /* [n]: w_scale times the sum of the column's bytes */
    const float *bias;        /* [n] */
    size_t rows, k, n;
    float *out;    /* [rows, n], not within a row of another */
    size_t stride; /* floats between two rows of out */
};

/* softmax(q k' / sqrt(width)) v of one head of one text. */
struct annk_attention {
    const float *q, *k, *v; /* [tokens, width] */
    size_t stride;          /* floats between two tokens of each */
    size_t tokens, width;
    float *scratch; /* [annk_attention_room(tokens, width)] */
    float *out;     /* [tokens, width] */
    size_t out_stride;
};

static inline size_t annk_attention_room(size_t tokens, size_t width)
{
    const size_t padded = (tokens + 63) / 64 * 64;
    return padded * width + 4 * padded + 4 * width;
}

struct annk_layer_ops {
    const char *name;

    /* q [n] with x ~ low + scale * q; a row of one value has scale 0. */
    void (*quantise)(const float *x, size_t n, uint8_t *q, float *scale, float *low);
    void (*multiply)(const struct annk_product *p);
    void (*attend)(const struct annk_attention *a);
    /* x = x * Phi(x), the normal distribution's; within 2e-6 of it. */
    void (*gelu)(float *x, size_t n);
    /* x = gamma * (x + add - mean) / sqrt(variance + epsilon) + beta; add NULL: none. */
    void (*normalise)(float *x, const float *add, const float *gamma, const float *beta,
                      float epsilon, size_t n);
    /* sum += weight * x. */
    void (*add_i8)(const int8_t *x, float weight, float *sum, size_t n);
    void (*add_f32)(const float *x, float weight, float *sum, size_t n);
    double (*dot_f32)(const float *a, const float *b, size_t n);
};

/* The table that goes with a table of kernels.h, by its name. */
const struct annk_layer_ops *annk_layers_for(const char *name);

extern const struct annk_layer_ops annk_layers_scalar;
extern const struct annk_layer_ops annk_layers_avx2;
extern const struct annk_layer_ops annk_layers_avx512;
extern const struct annk_layer_ops annk_layers_neon;

#endif
