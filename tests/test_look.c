/* test_look.c - the degree that profile fast takes where none was asked for: by hubs, distances
 * and lengths of a sample, once, and kept in the file. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/rng.h"
#include "tests/graph_data.h"

#define N 4096 /* as few as are looked at */

static double normal(uint64_t *state)
{
    return sqrt(-2 * log(1 - rng_unit(state))) * cos(2 * M_PI * rng_unit(state));
}

/* Rows [N] normal in all directions: hubs, more of them the more dimensions there are. */
static float *cloud(size_t dim)
{
    float *x = malloc(N * dim * sizeof *x);
    uint64_t state = 5;
    for (size_t i = 0; i < N * dim; i++)
        x[i] = (float)normal(&state);
    return x;
}

/* Rows [N] on a plane of four dimensions among `dim`: no hubs. */
static float *sheet(size_t dim)
{
    float *x = calloc(N * dim, sizeof *x), *across = cloud(dim);
    uint64_t state = 6;
    for (size_t i = 0; i < N; i++)
        for (size_t r = 0; r < 4; r++) {
            const float much = (float)(rng_unit(&state) - 0.5);
            for (size_t j = 0; j < dim; j++)
                x[i * dim + j] += much * across[r * dim + j];
        }
    free(across);
    return x;
}

/* A cloud thrice as wide, with most of it in the middle. */
static float *spread_cloud(size_t dim)
{
    float *x = cloud(dim);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < dim; j++)
            x[i * dim + j] *= 1 + (float)(i * 2654435761U % 1024) / 512;
    return x;
}

static ann_view rows(const float *x, size_t n)
{
    return (ann_view){x, n, 0, ANN_F32};
}

static ann_index *make(ann_metric metric, size_t dim, uint32_t threads)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    o.metric = metric;
    o.dim = (uint32_t)dim;
    o.profile = ANN_PROFILE_FAST;
    o.threads = threads;
    ok(ann_create(&o, &ix));
    return ix;
}

static void takes(const ann_index *ix, uint32_t m, uint32_t ef_construction, int line)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    ok(ann_index_info(ix, &info));
    ck_assert_msg(info.m == m && info.ef_construction == ef_construction,
                  "line %d: m is %u, not %u; ef_construction %u, not %u", line, info.m, m,
                  info.ef_construction, ef_construction);
}

#define TAKES(ix, m, ef_construction) takes(ix, m, ef_construction, __LINE__)

START_TEST(by_hubs_and_distance)
{
    float *sheet64 = sheet(64), *cloud64 = cloud(64), *cloud128 = cloud(128);
    float *spread64 = spread_cloud(64), *spread96 = spread_cloud(96);
    const struct {
        ann_metric metric;
        size_t dim;
        const float *x;
        uint32_t before, m, ef_construction;
    } cases[] = {
        {ANN_L2, 64, sheet64, 24, 16, 200},
        {ANN_L2, 64, cloud64, 24, 24, 100},
        {ANN_L2, 128, cloud128, 24, 32, 100},
        {ANN_L2, 64, spread64, 24, 24, 100},
        {ANN_L2, 96, spread96, 24, 32, 100},
        {ANN_COSINE, 64, cloud64, 24, 16, 200}, /* on a sphere no place is in the middle */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (uint32_t threads = 1; threads < 4; threads += 2) {
            ann_index *ix = make(cases[i].metric, cases[i].dim, threads);
            TAKES(ix, cases[i].before, cases[i].metric == ANN_L2 ? 100 : 200);
            ok(ann_train(ix, rows(cases[i].x, N)));
            TAKES(ix, cases[i].m, cases[i].ef_construction);
            ann_close(ix);
        }
    free(sheet64);
    free(cloud64);
    free(cloud128);
    free(spread64);
    free(spread96);
}
END_TEST

START_TEST(by_lengths)
{
    float *x = sheet(64);
    ann_index *ix = make(ANN_IP, 64, 2);
    TAKES(ix, 32, 100);
    for (size_t i = 0; i < N; i++) { /* one length, and one way: few lie at the edge */
        double square = 0;
        x[i * 64] += 10;
        for (size_t j = 0; j < 64; j++)
            square += (double)x[i * 64 + j] * (double)x[i * 64 + j];
        for (size_t j = 0; j < 64; j++)
            x[i * 64 + j] = (float)((double)x[i * 64 + j] / sqrt(square));
    }
    ok(ann_train(ix, rows(x, N)));
    TAKES(ix, 16, 200);
    ann_close(ix);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < 64; j++)
            x[i * 64 + j] *= 1 + 0.7F * (float)(i % 16) / 16;
    ix = make(ANN_IP, 64, 2);
    ok(ann_train(ix, rows(x, N)));
    TAKES(ix, 32, 100);
    ann_close(ix);
    free(x);
}
END_TEST

START_TEST(what_was_asked_for_stays)
{
    float *x = sheet(64);
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix;
    o.dim = 64;
    o.profile = ANN_PROFILE_FAST;
    o.m = 20;
    ok(ann_create(&o, &ix));
    ok(ann_train(ix, rows(x, N)));
    TAKES(ix, 20, 100);
    ann_close(ix);
    o.m = 0;
    o.ef_construction = 50;
    ok(ann_create(&o, &ix));
    ok(ann_train(ix, rows(x, N)));
    TAKES(ix, 16, 50);
    ann_close(ix);
    o.profile = ANN_PROFILE_BALANCED;
    o.ef_construction = 0;
    ok(ann_create(&o, &ix));
    ok(ann_train(ix, rows(x, N)));
    TAKES(ix, 16, 200);
    ann_close(ix);
    free(x);
}
END_TEST

/* By all of the first add if they are enough, and not again. */
START_TEST(first_add_decides)
{
    float *x = sheet(64), *hubs = cloud(64);
    ann_index *ix = make(ANN_L2, 64, 2);
    ok(ann_add(ix, rows(x, N), NULL));
    TAKES(ix, 16, 200);
    ok(ann_check(ix, ANN_CHECK_STRUCTURE));
    ck_assert_double_ge(graph_recall(ix, x, 100, 10, 50), 0.95);
    ann_calibration c = ANN_CALIBRATION_INIT;
    ok(ann_calibrate(ix, rows(x, 200), &c));
    ok(ann_train(ix, rows(hubs, N))); /* too late, and no harm to what was learned */
    TAKES(ix, 16, 200);
    ann_info info = {.size = ANN_INFO_SIZE};
    ok(ann_index_info(ix, &info));
    ck_assert_double_gt(info.calibrated_recall, 0);
    ann_close(ix);
    ix = make(ANN_L2, 64, 2); /* one too few */
    ok(ann_add(ix, rows(x, N - 1), NULL));
    TAKES(ix, 24, 100);
    ok(ann_train(ix, rows(x, N)));
    TAKES(ix, 24, 100);
    ann_close(ix);
    free(x);
    free(hubs);
}
END_TEST

/* Many vectors of few dimensions: as many links as with hubs. */
START_TEST(many)
{
    float *one = sheet(64);
    const size_t n = 500000;
    float *x = malloc(n * 64 * sizeof *x);
    for (size_t i = 0; i < n; i++)
        memcpy(x + i * 64, one + i % N * 64, 64 * sizeof *x);
    ann_index *ix = make(ANN_L2, 64, 2);
    ok(ann_train(ix, rows(x, n)));
    TAKES(ix, 24, 100);
    ann_close(ix);
    ix = make(ANN_L2, 64, 2);
    ok(ann_train(ix, rows(x, n - 1)));
    TAKES(ix, 16, 200);
    ann_close(ix);
    free(x);
    free(one);
}
END_TEST

static ann_index *again(ann_index *ix)
{
    const char *path = "look.kith";
    ok(ann_save(ix, path));
    ann_close(ix);
    ok(ann_open(path, NULL, &ix));
    unlink(path);
    return ix;
}

/* Of all, where the first add brings but some. */
START_TEST(training_decides_for_good)
{
    float *x = sheet(64), *hubs = cloud(64);
    ann_index *ix = make(ANN_L2, 64, 2);
    ok(ann_train(ix, rows(hubs, N)));
    TAKES(ix, 24, 100);
    ok(ann_add(ix, rows(x, N), NULL));
    TAKES(ix, 24, 100);
    ann_close(ix);
    free(x);
    free(hubs);
}
END_TEST

START_TEST(open_in_the_file)
{
    float *x = sheet(64);
    ann_index *ix = again(make(ANN_L2, 64, 2));
    TAKES(ix, 24, 100);
    ok(ann_train(ix, rows(x, N)));
    TAKES(ix, 16, 200);
    ix = again(ix);
    ok(ann_train(ix, rows(x, N)));
    TAKES(ix, 16, 200);
    ann_close(ix);
    ann_options o = ANN_OPTIONS_INIT;
    o.dim = 64;
    o.profile = ANN_PROFILE_FAST;
    o.m = 24;
    ok(ann_create(&o, &ix));
    ix = again(ix);
    ok(ann_train(ix, rows(x, N)));
    TAKES(ix, 24, 100);
    ann_close(ix);
    free(x);
}
END_TEST

/* More links than were foreseen do not take more memory than is allowed. */
START_TEST(memory_is_asked_for_again)
{
    float *x = cloud(256);
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix;
    uint64_t bytes, peak;
    ann_info info = {.size = ANN_INFO_SIZE};
    o.dim = 256;
    o.profile = ANN_PROFILE_FAST;
    ok(ann_memory_estimate(&o, N, &bytes, &peak));
    o.max_memory = peak;
    ok(ann_create(&o, &ix));
    TAKES(ix, 16, 200);
    ck_assert_int_eq(ann_add(ix, rows(x, N), NULL), ANN_ELIMIT);
    TAKES(ix, 32, 100);
    ok(ann_index_info(ix, &info));
    ck_assert_uint_eq(info.count, 0);
    ann_close(ix);
    free(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("look");
    TCase *t = tcase_create("degree");
    tcase_set_timeout(t, 120);
    tcase_add_test(t, by_hubs_and_distance);
    tcase_add_test(t, by_lengths);
    tcase_add_test(t, what_was_asked_for_stays);
    tcase_add_test(t, first_add_decides);
    tcase_add_test(t, training_decides_for_good);
    tcase_add_test(t, many);
    tcase_add_test(t, open_in_the_file);
    tcase_add_test(t, memory_is_asked_for_again);
    suite_add_tcase(s, t);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
