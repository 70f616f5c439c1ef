/* Kernels of rows with their neighbours' codes: every table of this machine against plain sums
 * in double, and the integer parts against one another. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/rng.h"
#include "ann/kernels/kernels.h"
#include "ann/kernels/rows.h"

static const char *const isa_names[] = {"scalar", "avx2", "avx512", "neon"};
static const uint32_t paddeds[] = {64, 128, 192, 832, 1536};
enum { ISAS = 4, PADDEDS = 5, PLACES = 64, SLOTS = 500 };

/* A row of random neighbours, with all that went into it. */
struct sample {
    uint32_t padded;
    unsigned planes;
    uint8_t *codes; /* [PLACES + 1, padded]: the node's own is the last */
    uint32_t ids[PLACES];
    struct annk_row_code sums[PLACES];
    uint8_t *row;
    float *y;       /* the query */
    int8_t *query;
    uint8_t *entries;
    struct annk_row_query q;
    double step, step_q;
};

static float uniform(uint64_t *at)
{
    return (float)(rng_at(7, (*at)++) >> 40) / (float)(1 << 24) - 0.5f;
}

static void put(struct sample *s, const struct annk_row_ops *ops, const struct annk_ops *k,
                unsigned place)
{
    uint8_t *group =
        s->row + s->padded + place / 16 * annk_row_group_bytes(s->padded, s->planes);
    const uint8_t *own = s->codes + (size_t)PLACES * s->padded;
    uint32_t *bits = (uint32_t *)(void *)(group + 128) + place % 16;
    ops->encode(own, s->codes + (size_t)place * s->padded, s->padded, s->planes, bits,
                &s->sums[place]);
    const struct annk_row_code *c = &s->sums[place];
    const double k2 = c->dot ? 2.0 * (double)c->norm / (double)c->dot : 0;
    const float a = (float)(s->step * s->step * ((double)c->norm + k2 * (double)c->cross));
    const float b = (float)(-2 * s->step * k2);
    memcpy(group + place % 16 * 4, &s->ids[place], 4);
    k->f32_to_f16(&a, (uint16_t *)(void *)(group + 64) + place % 16, 1);
    k->f32_to_f16(&b, (uint16_t *)(void *)(group + 96) + place % 16, 1);
}

static void make(struct sample *s, const struct annk_row_ops *ops, uint32_t padded,
                 unsigned planes)
{
    const struct annk_ops *k = annk_select();
    uint64_t at = padded * 10 + planes;
    memset(s, 0, sizeof *s);
    s->padded = padded;
    s->planes = planes;
    s->step = 6.0 / sqrt(padded) / 127;
    s->codes = malloc((PLACES + 1) * (size_t)padded);
    s->row = calloc(1, annk_row_bytes(padded, planes, PLACES / 16));
    s->y = malloc(padded * sizeof(float));
    s->query = malloc(padded);
    s->entries = malloc(4 * (size_t)padded);
    for (size_t i = 0; i < (PLACES + 1) * (size_t)padded; i++)
        s->codes[i] = (uint8_t)(128 + 120 * (uniform(&at) + uniform(&at)));
    memcpy(s->codes, s->codes + (size_t)PLACES * padded, padded); /* the same vector */
    memset(s->codes + padded, 1, padded);                         /* and the farthest ones */
    memset(s->codes + 2 * (size_t)padded, 255, padded);
    double norm = 0;
    int32_t sum = 0;
    s->step_q = s->step;
    for (uint32_t i = 0; i < padded; i++) {
        s->y[i] = (uniform(&at) + uniform(&at)) * 120 * (float)s->step;
        s->query[i] = (int8_t)lrint(s->y[i] / s->step_q);
        sum += s->query[i];
        norm += (double)s->y[i] * s->y[i];
    }
    memcpy(s->row, s->codes + (size_t)PLACES * padded, padded);
    for (unsigned i = 0; i < PLACES; i++) {
        s->ids[i] = i % 13 == 5 ? ANNK_ROW_EMPTY : i % 17 == 4 ? SLOTS : i * 7;
        put(s, ops, k, i);
    }
    s->q = (struct annk_row_query){.query = s->query,
                                   .padded = padded,
                                   .planes = planes,
                                   .groups = PLACES / 16,
                                   .slots = SLOTS,
                                   .query_sum = sum,
                                   .own_norm = (float)(s->step * s->step),
                                   .own_dot = (float)(-2 * s->step * s->step_q),
                                   .query_norm = (float)norm};
    ops->sums(s->query, (float)s->step_q, padded, planes, s->entries, &s->q);
}

static void drop(struct sample *s)
{
    free(s->codes);
    free(s->row);
    free(s->y);
    free(s->query);
    free(s->entries);
}

/* 2u - (2^planes - 1) of a place and a dimension, from the row's bits. */
static int code_at(const struct sample *s, unsigned place, uint32_t d)
{
    const uint8_t *group =
        s->row + s->padded + place / 16 * annk_row_group_bytes(s->padded, s->planes);
    int u = 0;
    for (unsigned p = 0; p < s->planes; p++) {
        uint32_t word;
        memcpy(&word, group + 128 + ((d / 32 * s->planes + p) * 16 + place % 16) * 4, 4);
        u |= (int)(word >> d % 32 & 1) << p;
    }
    return 2 * u - ((1 << s->planes) - 1);
}

/* The sums agree with the bits, and the code points where the residual does. */
static void check_codes(const struct sample *s)
{
    static const double least[] = {0.7, 0.88, 0.95, 0.97};
    const uint8_t *own = s->codes + (size_t)PLACES * s->padded;
    for (unsigned i = 0; i < PLACES; i++) {
        int64_t norm = 0, dot = 0, cross = 0, square = 0;
        for (uint32_t d = 0; d < s->padded; d++) {
            const int y = code_at(s, i, d), c = own[d] - 128;
            const int r = s->codes[(size_t)i * s->padded + d] - own[d];
            norm += r * r;
            dot += y * r;
            cross += y * c;
            square += y * y;
        }
        ck_assert_int_eq(norm, s->sums[i].norm);
        ck_assert_int_eq(dot, s->sums[i].dot);
        ck_assert_int_eq(cross, s->sums[i].cross);
        if (i > 2)
            ck_assert_msg((double)dot >= least[s->planes - 1] *
                                             sqrt((double)norm * (double)square),
                          "%u dims %u planes place %u: cosine %g", s->padded, s->planes, i,
                          (double)dot / sqrt((double)norm * (double)square));
    }
}

/* The estimate in double, from the bits and the sums. */
static double estimate(const struct sample *s, unsigned place, double own)
{
    const struct annk_row_code *c = &s->sums[place];
    double t = 0;
    if (c->dot == 0)
        return own;
    for (uint32_t d = 0; d < s->padded; d++)
        t += 0.5 * code_at(s, place, d) * (double)s->y[d];
    const double k = 2 * s->step * (double)c->norm / (double)c->dot;
    return own +
           s->step * s->step *
               ((double)c->norm + 2.0 * (double)c->norm / (double)c->dot * (double)c->cross) -
           2 * k * t;
}

static void check_scan(const struct sample *s, const struct annk_row_ops *ops)
{
    float dists[PLACES];
    uint32_t ids[PLACES];
    double own = 0, norm = 0;
    const uint8_t *c = s->codes + (size_t)PLACES * s->padded;
    for (uint32_t d = 0; d < s->padded; d++) {
        const double x = s->step * (c[d] - 128), q = s->step_q * s->query[d];
        own += x * x - 2 * x * q;
        norm += (double)s->y[d] * s->y[d];
    }
    own += norm;
    const float got = ops->own(&s->q, s->row);
    ck_assert_msg(fabs(got - own) < 1e-5 * (1 + own), "own %g, %g expected", (double)got, own);
    for (int all = 1; all >= 0; all--) {
        const float limit = all ? INFINITY : (float)(own + norm);
        const size_t n = ops->scan(&s->q, s->row, got, limit, dists, ids);
        size_t at = 0;
        for (unsigned i = 0; i < PLACES; i++) {
            const double want = estimate(s, i, own), slack = 0.02 * (1 + norm + fabs(want));
            const bool in = at < n && ids[at] == s->ids[i];
            if (s->ids[i] >= SLOTS) {
                ck_assert(!in);
                continue;
            }
            if (!in)
                ck_assert_msg(want > limit - slack, "%s: place %u of %g left out", ops->name, i,
                              want);
            else
                ck_assert_msg(fabs(dists[at++] - want) < slack, "%s: %u dims %u planes place %u: "
                              "%g, %g expected", ops->name, s->padded, s->planes, i,
                              (double)dists[at - 1], want);
        }
        ck_assert_uint_eq(at, n);
    }
}

START_TEST(codes_and_estimates)
{
    const struct annk_row_ops *ops = annk_rows_for(isa_names[_i]);
    if (!annk_by_name(isa_names[_i]))
        return;
    ck_assert_str_eq(ops->name, isa_names[_i]);
    for (unsigned p = 0; p < PADDEDS; p++)
        for (unsigned planes = 1; planes <= ANNK_ROW_PLANES; planes++) {
            struct sample s, plain;
            make(&s, ops, paddeds[p], planes);
            make(&plain, &annk_rows_scalar, paddeds[p], planes);
            ck_assert(memcmp(s.row, plain.row, annk_row_bytes(paddeds[p], planes, 4)) == 0);
            for (size_t i = 0; i < 4 * (size_t)paddeds[p]; i++)
                ck_assert_uint_eq(s.entries[i], plain.entries[i]);
            check_codes(&s);
            check_scan(&s, ops);
            drop(&s);
            drop(&plain);
        }
}
END_TEST

START_TEST(lowest_and_keep)
{
    const struct annk_row_ops *ops = annk_rows_for(isa_names[_i]);
    if (!annk_by_name(isa_names[_i]))
        return;
    uint64_t at = 0;
    for (size_t n = 1; n < 200; n++) {
        float dists[200], kept[200];
        uint32_t ids[200];
        size_t want = 0, m = 0;
        for (size_t i = 0; i < n; i++) {
            kept[i] = dists[i] = floorf(uniform(&at) * 40);
            ids[i] = (uint32_t)i;
            want = dists[i] < dists[want] ? i : want;
        }
        ck_assert_uint_eq(ops->lowest(dists, n), want);
        const size_t got = ops->keep(kept, ids, n, 3);
        for (size_t i = 0; i < n; i++)
            if (dists[i] <= 3) {
                ck_assert_uint_eq(ids[m], i);
                ck_assert(kept[m++] == dists[i]); /* exact */
            }
        ck_assert_uint_eq(got, m);
        for (size_t i = 0; i < n; i++)
            dists[i] = INFINITY;
        ck_assert_uint_eq(ops->lowest(dists, n), 0);
    }
}
END_TEST

int main(void)
{
    Suite *s = suite_create("rows");
    TCase *c = tcase_create("kernels");
    tcase_add_loop_test(c, codes_and_estimates, 0, ISAS);
    tcase_add_loop_test(c, lowest_and_keep, 0, ISAS);
    suite_add_tcase(s, c);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed > 0;
}
