/*
 * The parts of a layer of every table this machine has: bytes and integers to the last unit,
 * floats against double, nothing read or written outside of what is named.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <math.h>

#include <stdbool.h>

#include "ann/kernels/layers.h"
#include "tests/kernels_support.h"

enum { MOST = 2048 };

static const struct annk_layer_ops *layers(int i)
{
    return annk_layers_for(isa_names[i]);
}

static void fill(float *x, size_t n, float scale)
{
    for (size_t i = 0; i < n; i++)
        x[i] = scale * next_float();
}

START_TEST(bytes_are_the_same)
{
    if (!table(_i))
        return;
    const struct annk_layer_ops *ops = layers(_i);
    struct guarded g = guard_new(), h = guard_new();
    static float x[MOST];
    for (int round = 0; round < 300; round++) {
        const size_t n = 16 * (1 + next_u32() % 96);
        const float scale = round % 5 == 0 ? 1e30f : round % 5 == 1 ? 1e-30f : 3;
        fill(x, n, scale);
        if (round % 7 == 0)
            for (size_t i = 0; i < n; i++)
                x[i] = 2.5f; /* all of one value */
        const float *in = place(&g, x, n * sizeof *x, round % 2);
        uint8_t *out = (uint8_t *)h.last - n, want[MOST];
        float got[2], plain[2];
        ops->quantise(in, n, out, &got[0], &got[1]);
        annk_layers_scalar.quantise(x, n, want, &plain[0], &plain[1]);
        CHECK_THAT(memcmp(got, plain, sizeof got) == 0, "%s: scale %g low %g, not %g %g",
                   ops->name, (double)got[0], (double)got[1], (double)plain[0],
                   (double)plain[1]);
        CHECK_THAT(memcmp(out, want, n) == 0, "%s: bytes of %zu", ops->name, n);
        for (size_t i = 0; i < n; i++)
            CHECK_THAT(fabs((double)got[1] + (double)got[0] * out[i] - (double)x[i]) <=
                           0.502 * (double)got[0] + 1e-37,
                       "%s: element %zu is far", ops->name, i);
    }
    guard_free(&g);
    guard_free(&h);
}
END_TEST

/* byte [column / 16][input / 4][column % 16][input % 4] */
static int8_t weight_at(const int8_t *w, size_t k, size_t column, size_t input)
{
    return w[column / 16 * 16 * k + input / 4 * 64 + column % 16 * 4 + input % 4];
}

START_TEST(products_are_exact)
{
    if (!table(_i))
        return;
    const struct annk_layer_ops *ops = layers(_i);
    struct guarded g[3] = {guard_new(), guard_new(), guard_new()};
    enum { ROWS = 13, COLUMNS = 208, K = 512 };
    static uint8_t a[ROWS * K];
    static int8_t w[COLUMNS * K];
    static float one[COLUMNS], zero[COLUMNS], scale[ROWS], low[ROWS], w_scale[COLUMNS],
        w_sum[COLUMNS], bias[COLUMNS];
    for (int round = 0; round < 60; round++) {
        const size_t rows = 1 + next_u32() % ROWS, n = 16 * (1 + next_u32() % 13),
                     k = 16 * (1 + next_u32() % 32), stride = n + next_u32() % 3;
        for (size_t i = 0; i < rows * k; i++)
            a[i] = round == 0 ? 255 : (uint8_t)next_u32();
        for (size_t i = 0; i < n * k; i++)
            w[i] = round == 0 ? 127 : round == 1 ? -127 : (int8_t)(next_u32() % 255 - 127);
        for (size_t i = 0; i < COLUMNS; i++)
            one[i] = 1;
        fill(scale, rows, 2);
        fill(low, rows, 2);
        fill(w_scale, n, 1e-3f);
        fill(w_sum, n, 1);
        fill(bias, n, 1);
        const bool plain = round % 2 == 0; /* then the sums themselves come out */
        struct annk_product p = {.a = place(&g[0], a, rows * k, round % PLACES),
                                 .scale = plain ? one : scale,
                                 .low = plain ? zero : low,
                                 .w = place(&g[1], w, n * k, round % PLACES),
                                 .w_scale = plain ? one : w_scale,
                                 .w_sum = plain ? zero : w_sum,
                                 .bias = plain ? zero : bias,
                                 .rows = rows,
                                 .k = k,
                                 .n = n,
                                 .stride = stride};
        p.out = (float *)(void *)(g[2].last - (rows - 1) * stride * 4 - n * 4);
        for (float *f = p.out; (char *)f < g[2].last; f++)
            *f = -7;
        ops->multiply(&p);
        for (size_t i = 0; i < rows; i++)
            for (size_t j = 0; j < n; j++) {
                int64_t sum = 0;
                for (size_t c = 0; c < k; c++)
                    sum += a[i * k + c] * weight_at(w, k, j, c);
                const double got = (double)p.out[i * stride + j];
                if (plain) {
                    CHECK_THAT(got == (double)(float)sum, "%s: %g, not %lld", ops->name, got,
                               (long long)sum);
                    continue;
                }
                const double want = (double)scale[i] * (double)w_scale[j] * (double)sum +
                                    (double)low[i] * (double)w_sum[j] + (double)bias[j];
                CHECK_THAT(
                    fabs(got - want) <=
                        1e-5 * (fabs((double)scale[i] * (double)w_scale[j] * (double)sum) + 4),
                    "%s: %g, not %g", ops->name, got, want);
            }
        for (size_t i = 0; i + 1 < rows; i++)
            for (size_t j = n; j < stride; j++)
                CHECK_THAT(p.out[i * stride + j] == -7, "%s: written between rows", ops->name);
    }
    for (int i = 0; i < 3; i++)
        guard_free(&g[i]);
}
END_TEST

START_TEST(attention)
{
    if (!table(_i))
        return;
    const struct annk_layer_ops *ops = layers(_i);
    enum { TOKENS = 256, WIDTH = 64 };
    static const size_t counts[] = {1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256};
    static float qkv[TOKENS * 3 * WIDTH], out[TOKENS * WIDTH];
    struct guarded g = guard_new(), h = guard_new();
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++)
        for (size_t width = 16; width <= WIDTH; width *= 2) {
            const size_t tokens = counts[c], stride = 3 * width;
            const float scale = c % 4 == 3 ? 60 : 2; /* scores of some thousands, too */
            fill(qkv, tokens * stride, scale);
            float *in = place(&g, qkv, tokens * stride * sizeof *qkv, AT_END);
            const size_t room = annk_attention_room(tokens, width) * sizeof(float);
            const struct annk_attention a = {.q = in,
                                             .k = in + width,
                                             .v = in + 2 * width,
                                             .stride = stride,
                                             .tokens = tokens,
                                             .width = width,
                                             .scratch = (float *)(void *)(h.last - room),
                                             .out = out,
                                             .out_stride = width};
            ops->attend(&a);
            for (size_t i = 0; i < tokens; i += 1 + tokens / 20) {
                double scores[TOKENS], most = -INFINITY, sum = 0, want[WIDTH] = {0};
                for (size_t t = 0; t < tokens; t++) {
                    scores[t] = 0;
                    for (size_t d = 0; d < width; d++)
                        scores[t] +=
                            (double)qkv[i * stride + d] * (double)qkv[t * stride + width + d];
                    scores[t] /= sqrt((double)width);
                    most = fmax(most, scores[t]);
                }
                for (size_t t = 0; t < tokens; t++)
                    sum += scores[t] = exp(scores[t] - most);
                for (size_t t = 0; t < tokens; t++)
                    for (size_t d = 0; d < width; d++)
                        want[d] += scores[t] / sum * (double)qkv[t * stride + 2 * width + d];
                for (size_t d = 0; d < width; d++)
                    CHECK_THAT(fabs((double)out[i * width + d] - want[d]) <
                                   (scale > 2 ? 2e-2 : 2e-5),
                               "%s: %zu tokens, width %zu: %g, not %g", ops->name, tokens,
                               width, (double)out[i * width + d], want[d]);
            }
        }
    guard_free(&g);
    guard_free(&h);
}
END_TEST

START_TEST(gelu_and_norm)
{
    if (!table(_i))
        return;
    const struct annk_layer_ops *ops = layers(_i);
    struct guarded g = guard_new();
    static float x[MOST], add[MOST], gamma[MOST], beta[MOST], was[MOST];
    for (int round = 0; round < 50; round++) {
        const size_t n = 16 * (1 + next_u32() % 60);
        fill(x, n, round % 2 ? 20 : 4);
        float *at = place(&g, x, n * sizeof *x, round % 2);
        ops->gelu(at, n);
        for (size_t i = 0; i < n; i++) {
            const double v = (double)x[i], want = 0.5 * v * (1 + erf(v / sqrt(2)));
            CHECK_THAT(fabs((double)at[i] - want) <= 2.2e-6 + 1e-6 * fabs(v),
                       "%s: gelu(%g) is %.9g, not %.9g", ops->name, v, (double)at[i], want);
        }
        fill(x, n, 3);
        fill(add, n, 3);
        fill(gamma, n, 1);
        fill(beta, n, 1);
        memcpy(was, x, n * sizeof *x);
        at = place(&g, x, n * sizeof *x, round % 2);
        ops->normalise(at, round % 3 ? add : NULL, gamma, beta, 1e-12f, n);
        double mean = 0, variance = 0;
        for (size_t i = 0; i < n; i++)
            mean += ((double)was[i] + (round % 3 ? (double)add[i] : 0)) / (double)n;
        for (size_t i = 0; i < n; i++) {
            const double y = (double)was[i] + (round % 3 ? (double)add[i] : 0) - mean;
            variance += y * y / (double)n;
        }
        for (size_t i = 0; i < n; i++) {
            const double y = (double)was[i] + (round % 3 ? (double)add[i] : 0) - mean;
            const double want = y / sqrt(variance) * (double)gamma[i] + (double)beta[i];
            CHECK_THAT(fabs((double)at[i] - want) < 1e-5, "%s: norm %g, not %g", ops->name,
                       (double)at[i], want);
        }
    }
    guard_free(&g);
}
END_TEST

START_TEST(sums)
{
    if (!table(_i))
        return;
    const struct annk_layer_ops *ops = layers(_i);
    struct guarded g = guard_new(), h = guard_new();
    static float x[MOST], sum[MOST];
    static int8_t bytes[MOST];
    for (int round = 0; round < 100; round++) {
        const size_t n = 16 * (1 + next_u32() % 64);
        fill(x, n, 2);
        fill(sum, n, 2);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (int8_t)next_u32();
        float *to = place(&g, sum, n * sizeof *sum, round % 2);
        ops->add_i8(place(&h, bytes, n, round % PLACES), 0.25f, to, n);
        for (size_t i = 0; i < n; i++)
            CHECK_THAT(fabsf(to[i] - (sum[i] + 0.25f * bytes[i])) < 1e-5f, "%s: add_i8",
                       ops->name);
        to = place(&g, sum, n * sizeof *sum, round % 2);
        const float *from = place(&h, x, n * sizeof *x, round % 2);
        ops->add_f32(from, -1.5f, to, n);
        double dot = 0, size = 0;
        for (size_t i = 0; i < n; i++) {
            CHECK_THAT(fabsf(to[i] - (sum[i] - 1.5f * x[i])) < 1e-5f, "%s: add_f32", ops->name);
            dot += (double)x[i] * (double)to[i];
            size += fabs((double)x[i] * (double)to[i]);
        }
        CHECK_THAT(fabs(ops->dot_f32(from, to, n) - dot) <= 1e-5 * size, "%s: dot", ops->name);
    }
    guard_free(&g);
    guard_free(&h);
}
END_TEST

#define ALL_TESTS(X)                                                                           \
    X(bytes_are_the_same)                                                                      \
    X(products_are_exact)                                                                      \
    X(attention)                                                                               \
    X(gelu_and_norm)                                                                           \
    X(sums)

KERNEL_TESTS_MAIN("layer_kernels", ALL_TESTS, no_answer)
