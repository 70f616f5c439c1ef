/*
 * The kernels of codes and of their frame: dots against 64-bit sums, the steps of the rotation
 * against plain loops to the bit, quantising against double; every table this machine has.
 *
 * Arrays end where an unmapped page begins and lie at odd addresses, as in test_kernels.c.
 */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <math.h>

#include "tests/kernels_support.h"

static const char *const code_names[] = {"sq8", "sq4"};

static size_t code_bytes(int code, size_t padded)
{
    return code == ANNK_SQ8 ? padded : padded / 2;
}

/* What dimension i of a code stands for, by the words of the contract. */
static int code_value(int code, const uint8_t *bytes, size_t i)
{
    if (code == ANNK_SQ8)
        return bytes[i] - 128;
    const uint8_t byte = bytes[i / 128 * 64 + i % 64];
    return 2 * (i % 128 < 64 ? byte & 15 : byte >> 4) - 15;
}

static int64_t exact_dot(int code, const int8_t *query, const uint8_t *bytes, size_t padded)
{
    int64_t sum = 0;
    for (size_t i = 0; i < padded; i++)
        sum += (int64_t)query[i] * code_value(code, bytes, i);
    return sum;
}

static int32_t sum_of(const int8_t *query, size_t padded)
{
    int32_t sum = 0;
    for (size_t i = 0; i < padded; i++)
        sum += query[i];
    return sum;
}

/* -- Dots of codes ------------------------------------------------------------------------- */

enum { CODE_ROWS = 7, MAX_N = 70, MOST_PADDED = 65664 };

static int8_t query_values[MOST_PADDED];

/* n gathered slots of a base whose last code ends at the guard. */
static void check_dots(const struct annk_ops *ops, int code, size_t padded, size_t n,
                       unsigned ahead, struct guarded g[3])
{
    const size_t bytes = code_bytes(code, padded), stride = bytes + n % 3 * 5;
    const size_t rows = CODE_ROWS * stride < ROOM ? CODE_ROWS : 1;
    uint8_t *const base = (uint8_t *)g[0].last - ((rows - 1) * stride + bytes);
    for (size_t i = 0; i < rows * stride - stride + bytes; i++)
        base[i] = (uint8_t)(next_u32() >> 13);
    for (size_t i = 0; i < padded; i++)
        query_values[i] = (int8_t)(next_u32() >> 13);
    const int8_t *query = place(&g[1], query_values, padded, n % PLACES);
    uint32_t *const slots = (void *)(g[2].last - n * sizeof *slots);
    int32_t dots[MAX_N + 1];
    for (size_t i = 0; i < n; i++)
        slots[i] = next_u32() % (uint32_t)rows;
    dots[n] = 77;
    ops->code_dots[code](query, sum_of(query, padded), base, stride, slots, n, padded, ahead,
                         dots);
    CHECK_THAT(dots[n] == 77, "%s %s: written past dots[n]", ops->name, code_names[code]);
    for (size_t i = 0; i < n; i++) {
        const int64_t want = exact_dot(code, query, base + slots[i] * stride, padded);
        CHECK_THAT(dots[i] == want, "%s %s padded %zu n %zu ahead %u: [%zu] %d, not %lld",
                   ops->name, code_names[code], padded, n, ahead, i, dots[i], (long long)want);
    }
}

START_TEST(dots_of_codes_are_exact)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    static const unsigned leads[] = {0, 1, 2, 3, 4, 5, 8, 13, 1000, -1u};
    struct guarded g[3] = {guard_new(), guard_new(), guard_new()};
    for (int code = 0; code < ANNK_NCODES; code++) {
        const size_t unit = code == ANNK_SQ8 ? 64 : 128;
        for (size_t padded = unit; padded <= 17 * unit; padded += unit)
            for (size_t n = 0; n <= 18; n++)
                check_dots(ops, code, padded, n, leads[n % 10], g);
        for (size_t k = 0; k < 10; k++)
            check_dots(ops, code, 2 * unit, MAX_N, leads[k], g);
        check_dots(ops, code, 1536, 33, 0, g);
        check_dots(ops, code, 4096, 33, 0, g);
        check_dots(ops, code, MOST_PADDED, 5, 0, g);
        check_dots(ops, code, MOST_PADDED - unit, 5, 0, g);
    }
    for (int i = 0; i < 3; i++)
        guard_free(&g[i]);
}
END_TEST

/* The largest sums and, for instructions that add two products in 16 bits, extreme pairs. */
START_TEST(dots_of_extreme_codes)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    static const uint8_t codes[] = {0, 1, 15, 127, 128, 129, 240, 254, 255};
    static const int8_t queries[] = {-128, -127, -1, 0, 1, 127};
    static const size_t lengths[] = {128, 65536, MOST_PADDED};
    static uint8_t bytes[MOST_PADDED];
    const uint32_t slots[4] = {0, 0, 0, 0};
    for (size_t l = 0; l < 3; l++)
        for (size_t c = 0; c < sizeof codes; c++)
            for (size_t q = 0; q < sizeof queries; q++)
                for (int code = 0; code < ANNK_NCODES; code++) {
                    const size_t padded = lengths[l];
                    memset(bytes, codes[c], sizeof bytes);
                    memset(query_values, queries[q], padded);
                    const int64_t want = exact_dot(code, query_values, bytes, padded);
                    int32_t dots[4];
                    ops->code_dots[code](query_values, sum_of(query_values, padded), bytes, 0,
                                         slots, 4, padded, 0, dots);
                    for (int i = 0; i < 4; i++)
                        CHECK_THAT(dots[i] == want, "%s %s padded %zu code %d query %d: %d",
                                   ops->name, code_names[code], padded, codes[c], queries[q],
                                   dots[i]);
                }
}
END_TEST

/* -- The frame ----------------------------------------------------------------------------- */

enum { MOST_FLOATS = 65536 };

static float values[2][MOST_FLOATS], wanted[2][MOST_FLOATS];

/* Of every magnitude, so that the order of additions shows in the bits. */
static void fill_floats(float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t u = next_u32();
        x[i] = u % 97 == 0 ? (u & 128 ? 0.0f : -0.0f)
                           : ldexpf(next_float(), (int)(u >> 8 & 31) - 16);
    }
}

static void check_bits(const struct annk_ops *ops, const char *what, size_t n, const char *got,
                       const float *want)
{
    for (size_t i = 0; i < n; i++) {
        float x;
        memcpy(&x, got + 4 * i, sizeof x);
        CHECK_THAT(bits_of(x) == bits_of(want[i]), "%s %s n %zu: [%zu] %a, not %a", ops->name,
                   what, n, i, x, want[i]);
    }
}

/* In place at `where`; the byte after the end stays. */
static char *place_floats(struct guarded *g, const float *x, size_t n, int where)
{
    memset(g->first, 0x5a, ROOM);
    return place(g, x, 4 * n, where);
}

static void check_after(const struct annk_ops *ops, const char *what, const char *at, size_t n,
                        int where)
{
    CHECK_THAT(where == AT_END || at[4 * n] == 0x5a, "%s %s n %zu: past the end", ops->name,
               what, n);
    CHECK_THAT(where == AT_START || at[-1] == 0x5a, "%s %s n %zu: before it", ops->name, what,
               n);
}

START_TEST(hadamard_to_the_bit)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    struct guarded g = guard_new();
    for (size_t n = 64; n <= MOST_FLOATS; n *= 2)
        for (int where = 0; where < PLACES; where++) {
            fill_floats(values[0], n);
            memcpy(wanted[0], values[0], 4 * n);
            for (size_t span = 1; span < n; span *= 2)
                for (size_t i = 0; i < n; i++)
                    if (!(i & span)) {
                        const float a = wanted[0][i], b = wanted[0][i + span];
                        wanted[0][i] = a + b;
                        wanted[0][i + span] = a - b;
                    }
            char *at = place_floats(&g, values[0], n, where);
            ops->fwht_f32((void *)at, n);
            check_bits(ops, "fwht", n, at, wanted[0]);
            check_after(ops, "fwht", at, n, where);
        }
    guard_free(&g);
}
END_TEST

/* The definition: y[i] = sum of x[j], less those with an odd number of bits in i & j. */
START_TEST(hadamard_by_its_definition)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    for (size_t n = 64; n <= 1024; n *= 2) {
        for (size_t i = 0; i < n; i++)
            values[0][i] = wanted[0][i] = next_float();
        ops->fwht_f32(values[0], n);
        for (size_t i = 0; i < n; i++) {
            double sum = 0;
            for (size_t j = 0; j < n; j++)
                sum += __builtin_parityll(i & j) ? -(double)wanted[0][j] : wanted[0][j];
            CHECK_THAT(fabs(sum - values[0][i]) < 1e-4, "%s n %zu [%zu]: %g, not %g", ops->name,
                       n, i, values[0][i], sum);
        }
    }
}
END_TEST

static void check_steps(const struct annk_ops *ops, size_t n, int where, struct guarded g[2])
{
    uint64_t bits[MOST_FLOATS / 64];
    for (size_t i = 0; i <= n / 64 && i < MOST_FLOATS / 64; i++)
        bits[i] = (uint64_t)next_u32() << 32 | next_u32();
    fill_floats(values[0], n);
    fill_floats(values[1], n);
    for (size_t i = 0; i < n; i++) {
        wanted[0][i] = values[0][i] + values[1][i];
        wanted[1][i] = values[0][i] - values[1][i];
    }
    char *a = place_floats(&g[0], values[0], n, where);
    char *b = place_floats(&g[1], values[1], n, (where + 1) % PLACES);
    ops->butterfly_f32((void *)a, (void *)b, n);
    check_bits(ops, "butterfly", n, a, wanted[0]);
    check_bits(ops, "butterfly", n, b, wanted[1]);
    check_after(ops, "butterfly", a, n, where);
    check_after(ops, "butterfly", b, n, (where + 1) % PLACES);
    for (size_t i = 0; i < n; i++)
        wanted[0][i] = bits[i / 64] >> i % 64 & 1 ? -values[0][i] : values[0][i];
    a = place_floats(&g[0], values[0], n, where);
    ops->flip_signs_f32((void *)a, place(&g[1], bits, (n + 63) / 64 * 8, AT_END), n);
    check_bits(ops, "flip_signs", n, a, wanted[0]);
    check_after(ops, "flip_signs", a, n, where);
    float most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmaxf(most, fabsf(values[0][i]));
    const float got = ops->max_abs_f32(place(&g[0], values[0], 4 * n, where), n);
    CHECK_THAT(bits_of(got) == bits_of(most), "%s max_abs n %zu: %a, not %a", ops->name, n, got,
               most);
}

START_TEST(steps_of_the_rotation)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    struct guarded g[2] = {guard_new(), guard_new()};
    for (size_t n = 0; n < 140; n++)
        check_steps(ops, n, (int)(n % PLACES), g);
    static const size_t lengths[] = {192, 416, 768, 832, 1536, 4095, 65536};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (int where = 0; where < PLACES; where++)
            check_steps(ops, lengths[i], where, g);
    for (int i = 0; i < 2; i++)
        guard_free(&g[i]);
}
END_TEST

/* The largest alone, at every place. */
START_TEST(the_largest_is_found_anywhere)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    for (size_t n = 1; n < 140; n++)
        for (size_t at = 0; at < n; at++) {
            for (size_t i = 0; i < n; i++)
                values[0][i] = next_float();
            values[0][at] = at % 2 ? -3e38f : 3e38f;
            CHECK_THAT(ops->max_abs_f32(values[0], n) == 3e38f, "%s n %zu at %zu", ops->name, n,
                       at);
        }
}
END_TEST

static int8_t quantised(float y, float inverse_step)
{
    const float scaled = (float)((double)y * (double)inverse_step);
    if (!(scaled > -127))
        return -127;
    return (int8_t)fmin(127, nearbyint((double)scaled));
}

static void check_quantise(const struct annk_ops *ops, size_t n, float inverse_step,
                           struct guarded g[2])
{
    const int where = (int)(n % PLACES);
    const float *y = place(&g[0], values[0], 4 * n, where);
    memset(g[1].first, 0x5a, ROOM);
    int8_t *out = place(&g[1], values[1], n, where);
    ops->quantise_s8(y, inverse_step, out, n);
    CHECK_THAT(where == AT_END || out[n] == 0x5a, "%s n %zu: past the end", ops->name, n);
    for (size_t i = 0; i < n; i++)
        CHECK_THAT(out[i] == quantised(values[0][i], inverse_step), "%s n %zu: %a * %a: %d",
                   ops->name, n, values[0][i], inverse_step, out[i]);
}

START_TEST(quantising_rounds_to_nearest_even)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    static const float edges[] = {0,          -0.0f,   0.5f,      1.5f,    2.5f,  126.5f,
                                  127.4f,     127.5f,  128,       1e30f,   3e38f, INFINITY,
                                  0x1p-149f,  1e-39f,  0.499999f, 0.50001f, 3.49f, 1e9f};
    struct guarded g[2] = {guard_new(), guard_new()};
    for (size_t n = 0; n < 300; n++) {
        for (size_t i = 0; i < n; i++) {
            const uint32_t u = next_u32();
            values[0][i] = u % 3 == 0   ? edges[(u >> 4) % (sizeof edges / sizeof *edges)]
                           : u % 3 == 1 ? (float)((int)(u >> 9 & 511) - 256) * 0.5f
                                        : next_float() * 200;
            if (u & 1 << 8)
                values[0][i] = -values[0][i];
        }
        if (n > 3)
            values[0][next_u32() % n] = NAN;
        check_quantise(ops, n, n % 4 == 3 ? next_float() * 3 : n % 4 == 2 ? 1e10f : 1, g);
    }
    for (int i = 0; i < 2; i++)
        guard_free(&g[i]);
}
END_TEST

static void check_rest(const struct annk_ops *ops, size_t n, struct guarded g[3])
{
    static int8_t codes[MOST_FLOATS];
    const float step = 0.01f, by = 1 / (step / 254);
    for (size_t i = 0; i < n; i++)
        values[0][i] = next_float() * (i % 9 == 0 ? 3 : 1.2f); /* some are clamped */
    ops->quantise_s8(values[0], 1 / step, codes, n);
    const float *y = place(&g[0], values[0], 4 * n, (int)(n / 16 % PLACES));
    const int8_t *high = place(&g[1], codes, n, (int)(n / 16 % PLACES));
    memset(g[2].first, 0x5a, ROOM);
    int8_t *low = place(&g[2], codes, n, (int)(n / 16 % PLACES));
    struct annk_rest sums;
    ops->rest_s8(y, high, step, by, low, n, &sums);
    CHECK_THAT(low + n == (int8_t *)g[2].last || low[n] == 0x5a, "%s: past the end", ops->name);
    double norm2 = 0, error2 = 0;
    int32_t high_sum = 0, low_sum = 0;
    for (size_t i = 0; i < n; i++) {
        const double x = values[0][i], rest = x - (double)step * codes[i];
        const double want = fmin(127, fmax(-127, rest * by));
        CHECK_THAT(fabs(low[i] - want) <= 0.51, "%s n %zu [%zu]: %d, not %g", ops->name, n, i,
                   low[i], want);
        norm2 += x * x;
        error2 += rest * rest;
        high_sum += codes[i];
        low_sum += low[i];
    }
    CHECK_THAT(fabs(sums.norm2 - norm2) <= 1e-4 * norm2, "%s norm2 %g, not %g", ops->name,
               sums.norm2, norm2);
    CHECK_THAT(fabs(sums.error2 - error2) <= 1e-4 * error2 + 1e-12 * norm2,
               "%s error2 %g, not %g", ops->name, sums.error2, error2);
    CHECK_THAT(sums.high_sum == high_sum && sums.low_sum == low_sum, "%s n %zu: sums",
               ops->name, n);
}

START_TEST(the_rest_of_a_quantised_vector)
{
    const struct annk_ops *ops = table(_i);
    if (!ops)
        return;
    struct guarded g[3] = {guard_new(), guard_new(), guard_new()};
    for (size_t n = 0; n <= 1600; n += 16)
        check_rest(ops, n, g);
    check_rest(ops, MOST_FLOATS, g);
    for (int i = 0; i < 3; i++)
        guard_free(&g[i]);
}
END_TEST

#define ALL_TESTS(X)                                                                        \
    X(dots_of_codes_are_exact)                                                              \
    X(dots_of_extreme_codes)                                                                \
    X(hadamard_to_the_bit)                                                                  \
    X(hadamard_by_its_definition)                                                           \
    X(steps_of_the_rotation)                                                                \
    X(the_largest_is_found_anywhere)                                                        \
    X(quantising_rounds_to_nearest_even)                                                    \
    X(the_rest_of_a_quantised_vector)

KERNEL_TESTS_MAIN("code_kernels", ALL_TESTS, no_answer)
