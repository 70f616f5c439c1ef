/*
 * The kernels against double, integers against a plain loop, every table this
 * machine has, each at the lengths 0..130 and the dimensions of real models.
 *
 * Vectors lie so that they end where an unmapped page begins (or begin where
 * one ends), at addresses that no element type is aligned to: a read past the
 * end is a crash, not luck.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/kernels_support.h"

static const size_t real_dims[] = {200, 256,  384,  512,  768,  784,
                                   960, 1024, 1536, 3072, 4095, 65536};
enum { SMALL = 131, REAL = sizeof real_dims / sizeof real_dims[0], LENGTHS = SMALL + REAL };

static size_t length_at(size_t i)
{
    return i < SMALL ? i : real_dims[i - SMALL];
}

static const char *const metric_names[] = {"l2", "ip", "cos", "hamming"};
static const char *const type_names[] = {"f32", "f16", "bf16", "i8", "u8", "b1"};

static size_t vec_bytes(int type, size_t dim)
{
    static const size_t size[] = {4, 2, 2, 1, 1};
    return type == ANNK_B1 ? (dim + 7) / 8 : dim * size[type];
}

/* Kinds of float data: what ordinary data hides shows in the rest. */
enum { PLAIN, OFFSET, MIXED, TINY, SUBNORMAL, HUGE_VALUES, ZERO, KINDS };

static float value(int kind)
{
    const float x = next_float();
    switch (kind) {
    case OFFSET:
        return 100 + x;
    case MIXED:
        return ldexpf(x, (int)(next_u32() % 13) - 6);
    case TINY:
        return x * 1e-22f;
    case SUBNORMAL:
        return x * 1e-39f;
    case HUGE_VALUES:
        return x * 1e20f;
    case ZERO:
        return next_u32() & 1 ? 0.0f : -0.0f;
    default:
        return x;
    }
}

/* Element i of a stored vector as double, by arithmetic unlike the library's. */
static double element(int type, const void *vec, size_t i)
{
    uint16_t h;
    switch (type) {
    case ANNK_F32: {
        float x;
        memcpy(&x, (const char *)vec + 4 * i, sizeof x);
        return x;
    }
    case ANNK_F16: {
        memcpy(&h, (const char *)vec + 2 * i, sizeof h);
        const int exp = h >> 10 & 31;
        const double mag =
            exp ? ldexp(1024 + (h & 1023), exp - 25) : ldexp(h & 1023, -24);
        return h & 0x8000 ? -mag : mag;
    }
    case ANNK_BF16:
        memcpy(&h, (const char *)vec + 2 * i, sizeof h);
        return float_of((uint32_t)h << 16);
    case ANNK_I8:
        return ((const int8_t *)vec)[i];
    default:
        return ((const uint8_t *)vec)[i];
    }
}

static uint16_t random_stored(int type, int kind)
{
    if (type == ANNK_BF16)
        return (uint16_t)(bits_of(value(kind)) >> 16);
    if (kind == ZERO)
        return (uint16_t)(next_u32() & 0x8000);
    for (;;) { /* f16 has no room for the kinds; any finite pattern serves */
        const uint16_t h = (uint16_t)next_u32();
        if ((h & 0x7c00) != 0x7c00 && (kind != SUBNORMAL || (h & 0x7c00) == 0))
            return h;
    }
}

static void fill(int type, int kind, void *vec, size_t dim)
{
    for (size_t i = 0; i < dim && type < ANNK_B1; i++) {
        if (type == ANNK_F32) {
            const float x = value(kind);
            memcpy((char *)vec + 4 * i, &x, sizeof x);
        } else if (type <= ANNK_BF16) {
            const uint16_t h = random_stored(type, kind);
            memcpy((char *)vec + 2 * i, &h, sizeof h);
        } else {
            static const uint8_t edges[] = {0, 1, 127, 128, 129, 254, 255};
            ((uint8_t *)vec)[i] = kind == HUGE_VALUES ? edges[next_u32() % 7]
                                                      : (uint8_t)(next_u32() >> 7);
        }
    }
    for (size_t i = 0; i < vec_bytes(ANNK_B1, dim) && type == ANNK_B1; i++)
        ((uint8_t *)vec)[i] = (uint8_t)(next_u32() >> 9);
}

/* -- The oracle ---------------------------------------------------------------------------- */

struct oracle {
    double dist, slack;
};

static struct oracle exact_float(int metric, int type, const void *q, const void *v, size_t dim)
{
    const double u = ((double)(dim / 16) + 16) * 0x1p-24;
    double l2 = 0, dot = 0, mag = 0, qq = 0, vv = 0;
    for (size_t i = 0; i < dim; i++) {
        const double a = element(ANNK_F32, q, i), b = element(type, v, i);
        l2 += (a - b) * (a - b);
        dot += a * b;
        mag += fabs(a * b);
        qq += a * a;
        vv += b * b;
    }
    const double under = (double)dim * 0x1p-148;
    if (metric == ANNK_L2)
        return (struct oracle){l2, u * l2 + under};
    if (metric == ANNK_IP)
        return (struct oracle){-dot, u * mag + under};
    return (struct oracle){qq > 0 && vv > 0 ? 1 - dot / sqrt(qq * vv) : 1, 4 * u};
}

static void check_float(const struct annk_ops *ops, int metric, int type, int kind, float got,
                        const void *q, const void *v, size_t dim)
{
    const struct oracle want = exact_float(metric, type, q, v, dim);
    CHECK_THAT(got == got, "%s %s %s dim %zu kind %d: NaN", ops->name, metric_names[metric],
               type_names[type], dim, kind);
    if (isinf(got)) { /* right only where a sum of terms leaves float's range */
        CHECK_THAT(metric == ANNK_L2 ? want.dist > 3.4e38
                                     : metric == ANNK_IP && kind == HUGE_VALUES,
                   "%s %s %s dim %zu kind %d: infinite", ops->name, metric_names[metric],
                   type_names[type], dim, kind);
        return;
    }
    CHECK_THAT(fabs(got - want.dist) <= want.slack,
               "%s %s %s dim %zu kind %d: got %.9g, exact %.17g, error %.3g of %.3g allowed",
               ops->name, metric_names[metric], type_names[type], dim, kind, got, want.dist,
               fabs(got - want.dist), want.slack);
}

static int64_t int_element(int type, const void *v, size_t i)
{
    return type == ANNK_I8 ? ((const int8_t *)v)[i] : ((const uint8_t *)v)[i];
}

static float exact_int(int metric, int type, const void *q, const void *v, size_t dim)
{
    int64_t l2 = 0, dot = 0, qq = 0, vv = 0, differ = 0;
    for (size_t i = 0; i < dim; i++) {
        if (type == ANNK_B1) {
            const unsigned x = ((const uint8_t *)q)[i / 8] ^ ((const uint8_t *)v)[i / 8];
            differ += x >> i % 8 & 1;
            continue;
        }
        const int64_t a = int_element(type, q, i), b = int_element(type, v, i);
        l2 += (a - b) * (a - b);
        dot += a * b;
        qq += a * a;
        vv += b * b;
    }
    switch (metric) {
    case ANNK_L2:
        return (float)l2;
    case ANNK_IP:
        return (float)-dot;
    case ANNK_COS:
        if (qq == 0 || vv == 0)
            return 1;
        const double cosine = (double)dot / sqrt((double)qq * (double)vv);
        return (float)fmin(2, fmax(0, 1 - cosine));
    default:
        return (float)differ;
    }
}

/* -- Distances ----------------------------------------------------------------------------- */

static _Alignas(64) char query_buf[65536 * 4], vec_buf[65536 * 4];

static void check_pair(const struct annk_ops *ops, int metric, int type, int kind, size_t dim,
                       struct guarded g[2])
{
    const int query_type = type <= ANNK_BF16 ? ANNK_F32 : type;
    const size_t qn = vec_bytes(query_type, dim), vn = vec_bytes(type, dim);
    fill(query_type, kind, query_buf, dim);
    fill(type, kind, vec_buf, dim);
    float first = 0;
    for (int where = 0; where < PLACES; where++) {
        const void *q = place(&g[0], query_buf, qn, where);
        const void *v = place(&g[1], vec_buf, vn, where);
        const float got = ops->dist[metric][type](q, v, dim);
        if (where == 0)
            first = got;
        CHECK_THAT(bits_of(got) == bits_of(first), "%s %s %s dim %zu: differs by place %d",
                   ops->name, metric_names[metric], type_names[type], dim, where);
    }
    if (type <= ANNK_BF16) {
        check_float(ops, metric, type, kind, first, query_buf, vec_buf, dim);
    } else {
        const float want = exact_int(metric, type, query_buf, vec_buf, dim);
        CHECK_THAT(first == want, "%s %s %s dim %zu: got %.9g, exact %.9g", ops->name,
                   metric_names[metric], type_names[type], dim, first, want);
    }
}

START_TEST(distances)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    struct guarded g[2] = {guard_new(), guard_new()};
    for (int metric = 0; metric < ANNK_NMETRICS; metric++)
        for (int type = 0; type < ANNK_NTYPES; type++) {
            const int meaningful = (metric == ANNK_HAMMING) == (type == ANNK_B1);
            CHECK_THAT(!!ops->dist[metric][type] == meaningful, "dist %d %d", metric, type);
            CHECK_THAT(!!ops->many[metric][type] == meaningful, "many %d %d", metric, type);
            for (size_t i = 0; i < LENGTHS && meaningful; i++)
                for (int kind = 0; kind < KINDS; kind++)
                    check_pair(ops, metric, type, kind, length_at(i), g);
        }
    guard_free(&g[0]);
    guard_free(&g[1]);
}
END_TEST

/* Rows of a base that fills its memory to the last byte, in an order with repeats. */
static void check_many(const struct annk_ops *ops, int metric, int type, size_t dim, size_t n,
                       struct guarded *g)
{
    enum { ROWS = 9, MAX_N = 41 };
    const size_t bytes = vec_bytes(type, dim), stride = bytes + (dim % 3 == 0 ? 0 : 5);
    const size_t all = (ROWS - 1) * stride + bytes;
    if (all > ROOM)
        return;
    char *const base = g->last - all;
    for (size_t r = 0; r < ROWS; r++)
        fill(type, r % KINDS == HUGE_VALUES ? PLAIN : (int)(r % KINDS), base + r * stride, dim);
    fill(type <= ANNK_BF16 ? ANNK_F32 : type, PLAIN, query_buf, dim);
    uint32_t slots[MAX_N];
    float out[MAX_N + 1];
    for (size_t i = 0; i < n; i++)
        slots[i] = next_u32() % ROWS;
    out[n] = 77;
    ops->many[metric][type](query_buf, base, stride, slots, n, dim, out);
    CHECK_THAT(out[n] == 77, "%s: written past out[n]", ops->name);
    for (size_t i = 0; i < n; i++) {
        const float one = ops->dist[metric][type](query_buf, base + slots[i] * stride, dim);
        CHECK_THAT(bits_of(one) == bits_of(out[i]),
                   "%s %s %s dim %zu n %zu: out[%zu] %.9g, dist %.9g", ops->name,
                   metric_names[metric], type_names[type], dim, n, i, out[i], one);
    }
}

START_TEST(many_gives_the_bits_of_dist)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    struct guarded g = guard_new();
    for (int metric = 0; metric < ANNK_NMETRICS; metric++)
        for (int type = 0; type < ANNK_NTYPES; type++)
            for (size_t i = 0; i < LENGTHS && ops->many[metric][type]; i++) {
                static const size_t counts[] = {0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 31, 32, 41};
                for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++)
                    check_many(ops, metric, type, length_at(i), counts[c], &g);
            }
    guard_free(&g);
}
END_TEST

START_TEST(a_vector_is_at_zero_from_itself)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    for (size_t i = 1; i < LENGTHS; i++)
        for (int kind = 0; kind < ZERO; kind++) {
            const size_t dim = length_at(i);
            fill(ANNK_F32, kind, query_buf, dim);
            CHECK_THAT(ops->dist[ANNK_L2][ANNK_F32](query_buf, query_buf, dim) == 0, "l2");
            const float cosine = ops->dist[ANNK_COS][ANNK_F32](query_buf, query_buf, dim);
            CHECK_THAT(cosine == 0, "%s cos dim %zu kind %d: %g", ops->name, dim, kind, cosine);
        }
}
END_TEST

/* Infinities of both signs among the terms: far, not NaN. */
START_TEST(overflow_is_never_nan)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    for (size_t dim = 2; dim < SMALL; dim++) {
        float *const q = (void *)query_buf, *const v = (void *)vec_buf;
        for (size_t i = 0; i < dim; i++) {
            q[i] = 3e38f;
            v[i] = i & 1 ? -3e38f : 3e38f;
        }
        const uint32_t slots[5] = {0, 0, 0, 0, 0};
        float out[5];
        ops->many[ANNK_IP][ANNK_F32](q, v, 4, slots, 5, dim, out);
        for (int i = 0; i < 5; i++)
            CHECK_THAT(isinf(out[i]), "%s ip dim %zu: %g", ops->name, dim, out[i]);
        CHECK_THAT(ops->dist[ANNK_L2][ANNK_F32](q, v, dim) == INFINITY, "l2");
        const float cosine = ops->dist[ANNK_COS][ANNK_F32](q, v, dim);
        const double want = dim % 2 ? 1 - 1.0 / (double)dim : 1;
        CHECK_THAT(fabs(cosine - want) < 1e-6, "%s cos dim %zu: %g", ops->name, dim, cosine);
    }
}
END_TEST

/* -- Integers ------------------------------------------------------------------------------ */

static void check_int_extremes(const struct annk_ops *ops, size_t n, uint8_t a, uint8_t b,
                               uint8_t *x, uint8_t *y)
{
    memset(x, a, n);
    memset(y, b, n);
    const int64_t sa = (int8_t)a, sb = (int8_t)b, count = (int64_t)n;
    CHECK_THAT(ops->dot_i8((void *)x, (void *)y, n) == sa * sb * count, "dot_i8 %zu", n);
    CHECK_THAT(ops->l2_i8((void *)x, (void *)y, n) == (sa - sb) * (sa - sb) * count, "l2_i8");
    CHECK_THAT(ops->dot_u8(x, y, n) == (int64_t)a * b * count, "%s dot_u8 %zu %d %d", ops->name,
               n, a, b);
    CHECK_THAT(ops->l2_u8(x, y, n) == (int64_t)(a - b) * (a - b) * count, "l2_u8 %zu", n);
    CHECK_THAT(ops->hamming(x, y, 8 * n) ==
                   (uint64_t)__builtin_popcount((unsigned)a ^ b) * n,
               "hamming");
}

/* The largest sums a 32-bit lane could overflow on, across block borders. */
START_TEST(integers_are_exact_at_any_length)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    static const size_t lengths[] = {1, 63, 65, 65535, 65536, 65537, 131072, 300001};
    static const uint8_t edges[] = {0, 1, 127, 128, 129, 255};
    uint8_t *x = malloc(300001), *y = malloc(300001);
    CHECK_THAT(x && y, "malloc");
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++)
        for (size_t i = 0; i < sizeof edges; i++)
            for (size_t j = 0; j < sizeof edges; j++)
                check_int_extremes(ops, lengths[l], edges[i], edges[j], x, y);
    free(x);
    free(y);
}
END_TEST

/* -- Conversions --------------------------------------------------------------------------- */

START_TEST(narrow_floats_widen_exactly)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    for (uint32_t h = 0; h < 65536; h++) {
        const uint16_t in = (uint16_t)h;
        float f = 0, b = 0;
        ops->f16_to_f32(&in, &f, 1);
        ops->bf16_to_f32(&in, &b, 1);
        CHECK_THAT(bits_of(b) == h << 16, "%s bf16 %04x: %08x", ops->name, h, bits_of(b));
        if ((h & 0x7c00) != 0x7c00) {
            CHECK_THAT(f == element(ANNK_F16, &in, 0) && !signbit(f) == !(h >> 15),
                       "%s f16 %04x: %g", ops->name, h, f);
            continue;
        }
        const uint32_t frac = h & 0x3ff, sign = (h & 0x8000) << 16;
        const uint32_t want = sign | 0x7f800000 | frac << 13 | (frac ? 0x400000 : 0);
        CHECK_THAT(bits_of(f) == want, "%s f16 %04x: %08x", ops->name, h, bits_of(f));
    }
}
END_TEST

/* The nearest of the neighbours of x, by distance in double; even on a tie. */
static uint16_t nearest(int type, float x)
{
    const uint16_t sign = signbit(x) ? 0x8000 : 0, top = type == ANNK_F16 ? 0x7c00 : 0x7f80;
    const double mag = fabs((double)x), step = type == ANNK_F16 ? 0x1p16 : 0x1p128;
    uint16_t low = 0, high = top;
    while (high - low > 1) {
        const uint16_t mid = (uint16_t)((low + high) / 2);
        if (element(type, &mid, 0) <= mag)
            low = mid;
        else
            high = mid;
    }
    const double below = element(type, &low, 0), above = high == top ? step
                                                                     : element(type, &high, 0);
    const double half = (below + above) / 2;
    const int up = mag > half || (mag == half && (low & 1));
    return (uint16_t)(sign | (up ? high : low));
}

START_TEST(narrowing_rounds_to_nearest_even)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    state = 99;
    for (int i = 0; i < 300000; i++) {
        uint32_t u = next_u32();
        if (i % 3 == 1) /* near the borders and ties of f16 and bf16 */
            u &= 0xfffff000;
        else if (i % 3 == 2)
            u = (u & 0x807fffff) | (100 + next_u32() % 45) << 23;
        const float x = float_of(u);
        uint16_t f = 0, b = 0;
        ops->f32_to_f16(&x, &f, 1);
        ops->f32_to_bf16(&x, &b, 1);
        if (x != x) {
            const uint16_t sign = (uint16_t)(u >> 16 & 0x8000);
            CHECK_THAT(f == (sign | 0x7e00 | (u >> 13 & 0x3ff)), "%s NaN %08x: %04x",
                       ops->name, u, f);
            CHECK_THAT(b == (u >> 16 | 0x40), "%s NaN %08x: %04x", ops->name, u, b);
            continue;
        }
        CHECK_THAT(f == nearest(ANNK_F16, x), "%s f16 of %a: %04x, not %04x", ops->name, x, f,
                   nearest(ANNK_F16, x));
        CHECK_THAT(b == nearest(ANNK_BF16, x), "%s bf16 of %a: %04x, not %04x", ops->name, x, b,
                   nearest(ANNK_BF16, x));
    }
}
END_TEST

/* Length n gives the n conversions, and nothing past the end is written. */
static void check_narrow(const struct annk_ops *ops, int type, size_t n, int where,
                         struct guarded g[2])
{
    fill(ANNK_F32, MIXED, query_buf, n);
    const float *wide = place(&g[0], query_buf, 4 * n, where);
    memset(g[1].first, 0x5a, 3 * PAGE);
    char *narrow = place(&g[1], vec_buf, 2 * n, where);
    (type == ANNK_F16 ? ops->f32_to_f16 : ops->f32_to_bf16)(wide, (void *)narrow, n);
    CHECK_THAT(where == AT_END || narrow[2 * n] == 0x5a, "%s n %zu: past the end", ops->name,
               n);
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, narrow + 2 * i, 2);
        CHECK_THAT(h == nearest(type, (float)element(ANNK_F32, query_buf, i)), "%s n %zu [%zu]",
                   ops->name, n, i);
    }
}

static void check_widen(const struct annk_ops *ops, int type, size_t n, int where,
                        struct guarded g[2])
{
    fill(type, PLAIN, vec_buf, n);
    const uint16_t *narrow = place(&g[0], vec_buf, 2 * n, where);
    memset(g[1].first, 0x5a, 3 * PAGE);
    char *wide = place(&g[1], query_buf, 4 * n, where);
    (type == ANNK_F16 ? ops->f16_to_f32 : ops->bf16_to_f32)(narrow, (void *)wide, n);
    CHECK_THAT(where == AT_END || wide[4 * n] == 0x5a, "%s n %zu: past the end", ops->name, n);
    for (size_t i = 0; i < n; i++)
        CHECK_THAT(element(ANNK_F32, wide, i) == element(type, vec_buf, i), "%s n %zu [%zu]",
                   ops->name, n, i);
}

START_TEST(conversions_of_any_length)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    struct guarded g[2] = {guard_new(), guard_new()};
    for (size_t n = 0; n < SMALL; n++)
        for (int where = 0; where < PLACES; where++)
            for (int type = ANNK_F16; type <= ANNK_BF16; type++) {
                check_narrow(ops, type, n, where, g);
                check_widen(ops, type, n, where, g);
            }
    guard_free(&g[0]);
    guard_free(&g[1]);
}
END_TEST

/* -- Helpers of exact search --------------------------------------------------------------- */

START_TEST(squared_norms)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    struct guarded g = guard_new();
    for (size_t l = 0; l < LENGTHS; l++)
        for (int kind = 0; kind < KINDS; kind++) {
            const size_t n = length_at(l);
            fill(ANNK_F32, kind, query_buf, n);
            const float got = ops->norm2_f32(place(&g, query_buf, 4 * n, AT_END), n);
            const struct oracle want = exact_float(ANNK_IP, ANNK_F32, query_buf, query_buf, n);
            CHECK_THAT(isinf(got) ? want.dist < -3.4e38
                                  : fabs(got + want.dist) <= want.slack && !signbit(got + 0.0f),
                       "%s n %zu kind %d: %g", ops->name, n, kind, got);
        }
    guard_free(&g);
}
END_TEST

START_TEST(first_nonfinite)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    static const uint32_t bad[] = {0x7f800000, 0xff800000, 0x7fc00000, 0xffc00001, 0x7f800001,
                                   0xffbfffff};
    struct guarded g = guard_new();
    for (size_t n = 0; n < SMALL; n++) {
        fill(ANNK_F32, HUGE_VALUES, query_buf, n);
        for (size_t at = 0; at < n; at++) {
            memcpy(query_buf + 4 * at, &bad[(at + n) % 6], 4);
            if (at + 3 < n)
                memcpy(query_buf + 4 * (at + 3), &bad[at % 6], 4);
            const size_t got =
                ops->find_nonfinite_f32(place(&g, query_buf, 4 * n, (int)(at % PLACES)), n);
            CHECK_THAT(got == at, "%s n %zu: %zu, not %zu", ops->name, n, got, at);
            fill(ANNK_F32, MIXED, query_buf, n);
        }
        const float big[2] = {3.4028235e38f, -3.4028235e38f};
        if (n >= 2)
            memcpy(query_buf, big, sizeof big);
        CHECK_THAT(ops->find_nonfinite_f32(place(&g, query_buf, 4 * n, AT_END), n) == n,
                   "%s n %zu: all are finite", ops->name, n);
    }
    guard_free(&g);
}
END_TEST

/* A plain loop says what the two selections shall write. */
static void check_below(const struct annk_ops *ops, size_t n, float limit, struct guarded g[3])
{
    static float dots[65536], dist[65536];
    static uint32_t want[65536];
    fill(ANNK_F32, PLAIN, vec_buf, n);
    fill(ANNK_F32, PLAIN, dots, n);
    for (size_t i = 7; i < n; i += 19)
        dots[i] = NAN;
    for (int with_norms = 0; with_norms < 2; with_norms++) {
        size_t hits = 0;
        for (size_t i = 0; i < n; i++) {
            const float norm = (float)element(ANNK_F32, vec_buf, i);
            dist[i] = dots[i];
            if (with_norms)
                dist[i] = (float)((double)(norm + 0.25f) - 2.0 * (double)dots[i]);
            if (with_norms && dist[i] < 0)
                dist[i] = 0;
            if (dist[i] < limit)
                want[hits++] = (uint32_t)i;
        }
        float *x = place(&g[0], dots, 4 * n, AT_END);
        uint32_t *out = (void *)(g[2].last - 4 * n);
        const size_t got = with_norms
                               ? ops->l2_below_f32(x, place(&g[1], vec_buf, 4 * n, AT_END),
                                                   0.25f, n, limit, out)
                               : ops->below_f32(x, n, limit, out);
        CHECK_THAT(got == hits, "%s n %zu: %zu hits, not %zu", ops->name, n, got, hits);
        CHECK_THAT(n == 0 || memcmp(out, want, 4 * hits) == 0, "%s n %zu: indices", ops->name,
                   n);
        for (size_t i = 0; i < n; i++)
            CHECK_THAT(x[i] == dist[i] || (x[i] != x[i] && dist[i] != dist[i]),
                       "%s n %zu: [%zu] %g, not %g", ops->name, n, i, x[i], dist[i]);
    }
}

START_TEST(selection_below_a_limit)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    static const float limits[] = {-INFINITY, -0.9f, 0, 0.01f, 0.5f, INFINITY, NAN};
    struct guarded g[3] = {guard_new(), guard_new(), guard_new()};
    for (size_t l = 0; l < LENGTHS; l++)
        for (size_t k = 0; k < sizeof limits / sizeof limits[0]; k++)
            check_below(ops, length_at(l), limits[k], g);
    for (int i = 0; i < 3; i++)
        guard_free(&g[i]);
}
END_TEST

enum { PICK_SLOTS = 1000 };

/* Of ids some beyond the bitmap, which ends within a word and where a page ends. */
static void check_pick(const struct annk_ops *ops, size_t n, uint32_t bits, struct guarded g[3])
{
    static uint32_t want[2][65536];
    const size_t words = ((size_t)bits + 63) / 64;
    uint32_t *ids = (void *)(g[0].last - 4 * n), *out = (void *)(g[2].last - 4 * n);
    uint64_t *bitmap = (void *)(g[1].last - 8 * words);
    size_t hits[2] = {0, 0};
    for (size_t i = 0; i < words; i++)
        bitmap[i] = (uint64_t)next_u32() << 32 | next_u32();
    for (size_t i = 0; i < n; i++) {
        ids[i] = next_u32() % 8 ? next_u32() % PICK_SLOTS : UINT32_MAX - next_u32() % 2;
        if (ids[i] < bits) {
            const unsigned set = bitmap[ids[i] / 64] >> ids[i] % 64 & 1;
            want[set][hits[set]++] = ids[i];
        }
    }
    for (unsigned set = 0; set < 2; set++) {
        const size_t got = (set ? ops->pick_set : ops->pick_clear)(ids, n, bitmap, bits, out);
        CHECK_THAT(got == hits[set] && (n == 0 || !memcmp(out, want[set], 4 * got)),
                   "%s n %zu bits %u, %s: %zu ids, not %zu, or others", ops->name, n, bits,
                   set ? "set" : "clear", got, hits[set]);
    }
}

START_TEST(picks_by_a_bitmap)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    static const uint32_t bits[] = {0, 1, 63, 64, 65, 500, PICK_SLOTS};
    struct guarded g[3] = {guard_new(), guard_new(), guard_new()};
    for (size_t l = 0; l < LENGTHS; l++)
        for (size_t b = 0; b < sizeof bits / sizeof bits[0]; b++)
            check_pick(ops, length_at(l), bits[b], g);
    for (int i = 0; i < 3; i++)
        guard_free(&g[i]);
}
END_TEST

/* -- Choice -------------------------------------------------------------------------------- */

START_TEST(the_choice_follows_the_environment)
{
    (void)_i;
    const char *asked = getenv("KITH_ISA");
    const struct annk_ops *ops = annk_select();
    CHECK_THAT(ops && ops == annk_select(), "one table");
    CHECK_THAT(annk_by_name(ops->name) == ops, "by its name");
    CHECK_THAT(annk_by_name("scalar") == &annk_scalar, "scalar is always there");
    CHECK_THAT(!annk_by_name("") && !annk_by_name("sse"), "no such table");
    const char *level = getenv("KITH_PREFETCH");
    CHECK_THAT(!level || strcmp(level, "l2") != 0 || annk_prefetch_l2, "KITH_PREFETCH=l2");
    CHECK_THAT(!level || strcmp(level, "l1") != 0 || !annk_prefetch_l2, "KITH_PREFETCH=l1");
    const int level_known = !level || !*level || !strcmp(level, "l1") || !strcmp(level, "l2");
    const char *why = annk_env_error();
    CHECK_THAT(level_known || (why && strstr(why, "KITH_PREFETCH")), "no complaint");
    if (!asked || !*asked || annk_by_name(asked)) {
        CHECK_THAT(!why || !level_known, "%s", why);
        CHECK_THAT(!asked || !*asked || strcmp(asked, ops->name) == 0, "%s", ops->name);
    } else {
        CHECK_THAT(why && strstr(why, ops->name), "no complaint");
    }
}
END_TEST

#define ALL_TESTS(X)                                                                        \
    X(distances)                                                                            \
    X(many_gives_the_bits_of_dist)                                                          \
    X(a_vector_is_at_zero_from_itself)                                                      \
    X(overflow_is_never_nan)                                                                \
    X(integers_are_exact_at_any_length)                                                     \
    X(narrow_floats_widen_exactly)                                                          \
    X(narrowing_rounds_to_nearest_even)                                                     \
    X(conversions_of_any_length)                                                            \
    X(squared_norms)                                                                        \
    X(first_nonfinite)                                                                      \
    X(selection_below_a_limit)                                                              \
    X(picks_by_a_bitmap)                                                                    \
    X(the_choice_follows_the_environment)

/* For tests/isa.sh: --best prints the table in use, --has NAME succeeds if it is here. */
static int answer(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--has") == 0)
        return annk_by_name(argv[2]) ? EXIT_SUCCESS : EXIT_FAILURE;
    if (argc != 2 || strcmp(argv[1], "--best") != 0)
        return 2;
    puts(annk_select()->name);
    return EXIT_SUCCESS;
}

KERNEL_TESTS_MAIN("kernels", ALL_TESTS, answer)
