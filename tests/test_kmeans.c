/* test_kmeans.c - k-means against plain loops in double. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/codec/kmeans.h"

#define ok(call) ck_assert_msg((call) == ANN_OK, "%s: %s", #call, error_message())

static float gauss(uint64_t *state)
{
    double sum = 0;
    for (int i = 0; i < 12; i++)
        sum += rng_unit(state);
    return (float)(sum - 6);
}

/* Rows about `clusters` centres; clusters 0: about none. */
static float *make_rows(size_t n, size_t dim, uint32_t clusters, uint64_t seed)
{
    float *x = malloc(n * dim * sizeof *x);
    ck_assert(x != NULL);
    for (size_t i = 0; i < n; i++) {
        uint64_t state = rng_at(seed, i);
        uint64_t centre = seed * 7919 + (clusters ? rng_below(&state, clusters) : 0);
        for (size_t j = 0; j < dim; j++)
            x[i * dim + j] = gauss(&state) * (clusters ? 0.1f : 1) +
                             (clusters ? 3 * gauss(&centre) : 0);
    }
    return x;
}

static struct pool *make_pool(unsigned threads)
{
    struct pool *pool;
    ok(pool_create(threads, &pool));
    return pool;
}

static double distance2(const float *a, const float *b, size_t dim)
{
    double sum = 0;
    for (size_t i = 0; i < dim; i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sum;
}

/* The sum of the rows' squared distances to the nearest centroids; counts [k] of their rows, may
 * be NULL. */
static double inertia(const float *x, size_t n, size_t dim, const float *centroids, uint32_t k,
                      uint32_t *counts)
{
    double sum = 0;
    if (counts)
        memset(counts, 0, k * sizeof *counts);
    for (size_t i = 0; i < n; i++) {
        double best = INFINITY;
        uint32_t at = 0;
        for (uint32_t c = 0; c < k; c++) {
            const double d = distance2(x + i * dim, centroids + c * dim, dim);
            if (d < best) {
                best = d;
                at = c;
            }
        }
        sum += best;
        if (counts)
            counts[at]++;
    }
    return sum;
}

/* The textbook's: the first k of the rows, then each row to the nearest, each centroid to the
 * mean. */
static double lloyd(const float *x, size_t n, size_t dim, uint32_t k, uint32_t iterations)
{
    float *centroids = malloc(k * dim * sizeof *centroids);
    double *sums = malloc(k * dim * sizeof *sums);
    uint32_t *counts = malloc(k * sizeof *counts);
    memcpy(centroids, x, k * dim * sizeof *centroids);
    for (uint32_t it = 0; it < iterations; it++) {
        memset(sums, 0, k * dim * sizeof *sums);
        memset(counts, 0, k * sizeof *counts);
        for (size_t i = 0; i < n; i++) {
            uint32_t at = 0;
            double best = INFINITY;
            for (uint32_t c = 0; c < k; c++) {
                const double d = distance2(x + i * dim, centroids + c * dim, dim);
                if (d < best) {
                    best = d;
                    at = c;
                }
            }
            counts[at]++;
            for (size_t j = 0; j < dim; j++)
                sums[at * dim + j] += x[i * dim + j];
        }
        for (size_t i = 0; i < k * dim; i++)
            if (counts[i / dim])
                centroids[i] = (float)(sums[i] / counts[i / dim]);
    }
    const double sum = inertia(x, n, dim, centroids, k, NULL);
    free(centroids);
    free(sums);
    free(counts);
    return sum;
}

/* ---- training ---- */

struct config {
    size_t n, dim;
    uint32_t k, clusters;
};

static const struct config configs[] = {
    {1000, 1, 7, 0},   {2000, 3, 20, 0},  {3000, 16, 64, 0}, {3000, 24, 100, 100},
    {4000, 9, 200, 0}, {2000, 33, 1, 0}, {800, 1536, 12, 12}};
#define CONFIGS ((int)(sizeof configs / sizeof *configs))

START_TEST(as_good_as_lloyd)
{
    const struct config *c = &configs[_i];
    float *x = make_rows(c->n, c->dim, c->clusters, 3);
    float *centroids = malloc(c->k * c->dim * sizeof *centroids);
    uint32_t *counts = malloc(c->k * sizeof *counts);
    struct pool *pool = make_pool(2);
    const struct kmeans_options o = {.k = c->k, .per_centroid = 100000};
    struct kmeans_report report;
    ok(kmeans_train(annk_select(), x, c->n, c->dim, &o, pool, centroids, &report));
    const double want = lloyd(x, c->n, c->dim, c->k, 10);
    const double got = inertia(x, c->n, c->dim, centroids, c->k, counts);
    ck_assert_msg(got <= 1.005 * want, "inertia %g, Lloyd's %g", got, want);
    ck_assert_msg(report.inertia >= 0.9999 * got, "%g told, %g", report.inertia, got);
    ck_assert(report.rows == c->n && report.iterations >= 1 && report.iterations <= 10);
    for (uint32_t i = 0; i < c->k; i++)
        ck_assert_msg(counts[i] > 0, "centroid %u has no rows", i);
    pool_close(pool);
    free(x);
    free(centroids);
    free(counts);
}
END_TEST

START_TEST(same_for_any_threads)
{
    const size_t n = 20000, dim = 12;
    const uint32_t k = 300;
    float *x = make_rows(n, dim, 50, 5);
    float *a = malloc(k * dim * sizeof *a), *b = malloc(k * dim * sizeof *b);
    uint32_t *nearest[2] = {malloc(n * sizeof(uint32_t)), malloc(n * sizeof(uint32_t))};
    float *dists[2] = {malloc(n * sizeof(float)), malloc(n * sizeof(float))};
    const struct kmeans_options o = {.k = k, .per_centroid = 50, .seed = 4};
    for (unsigned threads = 1; threads <= 5; threads += 2) {
        struct pool *pool = make_pool(threads);
        const int at = threads > 1;
        ok(kmeans_train(annk_select(), x, n, dim, &o, pool, at ? b : a, NULL));
        ok(kmeans_assign(annk_select(), x, n, dim, at ? b : a, k, pool, nearest[at], dists[at]));
        pool_close(pool);
        if (at) {
            ck_assert(memcmp(a, b, k * dim * sizeof *a) == 0);
            ck_assert(memcmp(nearest[0], nearest[1], n * sizeof(uint32_t)) == 0);
            ck_assert(memcmp(dists[0], dists[1], n * sizeof(float)) == 0);
        }
    }
    free(x);
    free(a);
    free(b);
    for (int i = 0; i < 2; i++) {
        free(nearest[i]);
        free(dists[i]);
    }
}
END_TEST

/* Few different rows: each has a centroid of its own, and the other centroids are some of them. */
START_TEST(few_different_rows)
{
    const size_t dim = 5, n = 500;
    const uint32_t different = (uint32_t[]){1, 2, 30, 100}[_i % 4];
    const float size = _i < 4 ? 1 : _i < 8 ? 1e15f : 0;
    float *x = make_rows(n, dim, 0, 8);
    struct pool *pool = make_pool(2);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < dim; j++)
            x[i * dim + j] = i < different ? size * x[i * dim + j] : x[i % different * dim + j];
    for (uint32_t k = 1; k <= 120; k += k == 1 ? 29 : 45) {
        float centroids[120 * 5];
        const struct kmeans_options o = {.k = k};
        ok(kmeans_train(annk_select(), x, n, dim, &o, pool, centroids, NULL));
        for (uint32_t i = 0; i < k * dim; i++)
            ck_assert(isfinite(centroids[i]));
        const double left = inertia(x, n, dim, centroids, k, NULL);
        ck_assert_msg(k < different || left <= 1e-9 * size * size, "%u rows, k %u: inertia %g",
                      different, k, left);
    }
    pool_close(pool);
    free(x);
}
END_TEST

/* Of many rows all but two are equal: a sample does not see those. */
START_TEST(rare_rows)
{
    const size_t n = 30000, dim = 4;
    float *x = calloc(n * dim, sizeof *x), centroids[12];
    x[7777 * dim] = 1;
    x[22222 * dim + 1] = -2;
    struct pool *pool = make_pool(2);
    const struct kmeans_options o = {.k = 3, .iterations = 1, .per_centroid = 10000};
    ok(kmeans_train(annk_select(), x, n, dim, &o, pool, centroids, NULL));
    ck_assert(inertia(x, n, dim, centroids, 3, NULL) <= 0);
    pool_close(pool);
    free(x);
}
END_TEST

START_TEST(fewer_rows_than_centroids)
{
    float x[] = {1, 2, 3, 4, 5, 6}, centroids[10];
    struct pool *pool = make_pool(1);
    struct kmeans_options o = {.k = 5};
    ok(kmeans_train(annk_select(), x, 3, 2, &o, pool, centroids, NULL));
    ck_assert(memcmp(centroids, x, sizeof x) == 0 && memcmp(centroids + 6, x, 16) == 0);
    ok(kmeans_train(annk_select(), x, 1, 2, &o, pool, centroids, NULL));
    ck_assert(memcmp(centroids + 8, x, 8) == 0);
    o.k = 0;
    ck_assert_int_eq(kmeans_train(annk_select(), x, 3, 2, &o, pool, centroids, NULL), ANN_EINVAL);
    o.k = 1;
    ck_assert_int_eq(kmeans_train(annk_select(), x, 0, 2, &o, pool, centroids, NULL), ANN_EINVAL);
    pool_close(pool);
}
END_TEST

/* Rows far from each other by many orders of magnitude. */
START_TEST(huge_rows)
{
    const size_t n = 400, dim = 10;
    float *x = make_rows(n, dim, 0, 2), centroids[100];
    struct pool *pool = make_pool(2);
    for (size_t i = 0; i < n * dim; i++)
        x[i] *= (float[]){0, 1, 1e15f, 3e37f}[i / dim % 4];
    uint32_t nearest[400];
    float dists[400];
    const struct kmeans_options o = {.k = 10};
    ok(kmeans_train(annk_select(), x, n, dim, &o, pool, centroids, NULL));
    for (uint32_t i = 0; i < 100; i++)
        ck_assert(isfinite(centroids[i]));
    ok(kmeans_assign(annk_select(), x, n, dim, centroids, 10, pool, nearest, dists));
    for (size_t i = 0; i < n; i++)
        ck_assert(nearest[i] < 10 && dists[i] >= 0);
    pool_close(pool);
    free(x);
}
END_TEST

START_TEST(spherical)
{
    const size_t n = 2000, dim = 8;
    float *x = make_rows(n, dim, 0, 12), centroids[40 * 8];
    struct pool *pool = make_pool(2);
    for (size_t i = 0; i < n; i++) {
        const double norm = sqrt(distance2(x + i * dim, (float[8]){0}, dim));
        for (size_t j = 0; j < dim; j++)
            x[i * dim + j] = (float)(x[i * dim + j] / norm);
    }
    const struct kmeans_options o = {.k = 40, .spherical = true};
    ok(kmeans_train(annk_select(), x, n, dim, &o, pool, centroids, NULL));
    for (uint32_t i = 0; i < 40; i++)
        ck_assert(fabs(distance2(centroids + i * dim, (float[8]){0}, dim) - 1) < 1e-5);
    pool_close(pool);
    free(x);
}
END_TEST

/* ---- the nearest centroids ---- */

START_TEST(nearest_centroids)
{
    const size_t n = 1100, dim = (size_t[]){1, 3, 64, 100}[_i];
    const uint32_t k = (uint32_t[]){1, 700, 513, 90}[_i];
    float *x = make_rows(n, dim, 0, 6), *c = make_rows(k, dim, 0, 7);
    struct pool *pool = make_pool(2);
    uint32_t *nearest = malloc(n * sizeof *nearest);
    float *dists = malloc(n * sizeof *dists);
    if (k > 1)
        memcpy(c + (k - 1) * dim, c, dim * sizeof *c); /* a tie with the first */
    memcpy(x + 5 * dim, c, dim * sizeof *x);
    for (size_t i = 0; i < n * dim; i++)
        x[i] += 1000;
    for (size_t i = 0; i < k * dim; i++)
        c[i] += 1000;
    ok(kmeans_assign(annk_select(), x, n, dim, c, k, pool, nearest, dists));
    ck_assert_uint_eq(nearest[5], 0);
    for (size_t i = 0; i < n; i++) {
        double best = INFINITY;
        for (uint32_t j = 0; j < k; j++)
            best = fmin(best, distance2(x + i * dim, c + j * dim, dim));
        const double got = distance2(x + i * dim, c + nearest[i] * dim, dim);
        ck_assert_msg(got <= best * (1 + 1e-5) + 1e-5, "row %zu: %g, not %g", i, got, best);
        ck_assert(fabs(dists[i] - got) <= 1e-5 * got);
        ck_assert(k == 1 || nearest[i] < k - 1);
    }
    ok(kmeans_assign(annk_select(), x, n, dim, c, k, pool, nearest, NULL));
    pool_close(pool);
    free(x);
    free(c);
    free(nearest);
    free(dists);
}
END_TEST

static int by_distance(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Of rows in any order: near[.., j] is as near as the j-th nearest, and none stands twice. */
START_TEST(nearest_few)
{
    const size_t n = 700, total = 900, dim = (size_t[]){2, 24, 100, 5}[_i];
    const uint32_t k = (uint32_t[]){900, 600, 40, 7}[_i], few = (uint32_t[]){16, 5, 40, 7}[_i];
    float *x = make_rows(total, dim, 0, 16), *c = make_rows(k, dim, 0, 17);
    struct pool *pool = make_pool(2);
    uint32_t *near = malloc(n * few * sizeof *near), rows[700];
    double *dists = malloc(k * sizeof *dists);
    for (size_t i = 0; i < n; i++)
        rows[i] = (uint32_t)(i * 7 % total);
    ok(kmeans_candidates(annk_select(), x, rows, n, dim, c, k, few, pool, near));
    for (size_t i = 0; i < n; i++) {
        const float *row = x + rows[i] * dim;
        for (uint32_t j = 0; j < k; j++)
            dists[j] = distance2(row, c + j * dim, dim);
        qsort(dists, k, sizeof *dists, by_distance);
        for (uint32_t j = 0; j < few; j++) {
            const uint32_t id = near[i * few + j];
            ck_assert_uint_lt(id, k);
            ck_assert_double_eq_tol(distance2(row, c + id * dim, dim), dists[j],
                                    1e-5 * (1 + dists[j]));
            for (uint32_t before = 0; before < j; before++)
                ck_assert_uint_ne(near[i * few + before], id);
        }
    }
    pool_close(pool);
    free(x);
    free(c);
    free(near);
    free(dists);
}
END_TEST

START_TEST(sample)
{
    for (uint32_t want = 1; want <= 100; want++) {
        uint32_t rows[100];
        kmeans_sample(100, want, 3, rows);
        for (uint32_t i = 1; i < want; i++)
            ck_assert(rows[i] > rows[i - 1]);
        ck_assert(rows[want - 1] < 100);
    }
}
END_TEST

/* ---- stopping, and no memory ---- */

static int stop_at(void *arg, const char *what, uint64_t done, uint64_t total)
{
    ck_assert(what != NULL && done <= total);
    return (*(int *)arg)-- == 0;
}

START_TEST(cancelled)
{
    float *x = make_rows(2000, 4, 0, 1), centroids[400];
    struct pool *pool = make_pool(2);
    int left = _i;
    const struct kmeans_options o = {.k = 100, .progress = stop_at, .progress_arg = &left};
    ck_assert_int_eq(kmeans_train(annk_select(), x, 2000, 4, &o, pool, centroids, NULL),
                     ANN_ECANCELED);
    pool_close(pool);
    free(x);
}
END_TEST

START_TEST(out_of_memory)
{
    const size_t n = 300, dim = 3;
    float *x = make_rows(n, dim, 0, 1), centroids[80 * 3], dists[300];
    uint32_t nearest[300];
    struct pool *pool = make_pool(1);
    memset(x, 0, n / 2 * dim * sizeof *x); /* so that clusters are split */
    for (int persistent = 0; persistent < 2; persistent++)
        for (uint64_t at = 1, asked = at; asked >= at; at++) {
            const struct kmeans_options o = {.k = 80, .iterations = 2};
            memory_fail_at(at, persistent);
            ann_err err = kmeans_train(annk_select(), x, n, dim, &o, pool, centroids, NULL);
            if (!err)
                err = kmeans_assign(annk_select(), x, n, dim, centroids, 80, pool, nearest,
                                    dists);
            asked = memory_fail_at(0, false);
            ck_assert_msg(err == (asked >= at ? ANN_ENOMEM : ANN_OK), "allocation %llu: %d",
                          (unsigned long long)at, err);
        }
    pool_close(pool);
    free(x);
}
END_TEST

int main(void)
{
    TCase *tc = tcase_create("kmeans");
    tcase_add_loop_test(tc, as_good_as_lloyd, 0, CONFIGS);
    tcase_add_test(tc, same_for_any_threads);
    tcase_add_loop_test(tc, few_different_rows, 0, 12);
    tcase_add_test(tc, rare_rows);
    tcase_add_test(tc, fewer_rows_than_centroids);
    tcase_add_test(tc, huge_rows);
    tcase_add_test(tc, spherical);
    tcase_add_loop_test(tc, nearest_centroids, 0, 4);
    tcase_add_loop_test(tc, nearest_few, 0, 4);
    tcase_add_test(tc, sample);
    tcase_add_loop_test(tc, cancelled, 0, 3);
    tcase_add_test(tc, out_of_memory);
    Suite *s = suite_create("kmeans");
    suite_add_tcase(s, tc);
    SRunner *sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    const int failed = srunner_ntests_failed(sr);
    srunner_free(sr);
    return failed != 0;
}
