/* test_ivfpq.c - the index of lists and short codes, through the front door: training, options,
 * and recall of every sort of list against exact search. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/rng.h"
#include "ann/internal.h"
#include "ann/ivfpq/ivfpq.h"
#include "tests/lists_data.h"

/* ---- training ---- */

START_TEST(untrained)
{
    float *x = graph_clusters(100, DIM, 5, 1), dists[K];
    ann_id ids[K];
    ann_index *ix = lists_make("ivfpq,nlist=4", 2);
    FAILS(ann_add(ix, lists_view(x, 0, 10), NULL), ANN_EUNTRAINED, "trained");
    FAILS(ann_update(ix, lists_view(x, 0, 1), (ann_id[]){3}), ANN_EUNTRAINED, "trained");
    ok(ann_remove(ix, 1, (ann_id[]){3}, NULL));
    ok(ann_compact(ix));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    ok(ann_search(ix, lists_view(x, 0, 1), NULL, ids, dists));
    graph_check_row(ids, dists, K, 0);
    const ann_info info = lists_info(ix);
    ck_assert(info.count == 0 && info.slots == 0 && info.nlist == 0 && info.trained == 0 &&
              info.entries == 0 && info.pq_bits == 4 && info.kind == ANN_IVFPQ);
    FAILS(ann_train(ix, lists_view(x, 0, 0)), ANN_EINVAL, "0 vectors");
    ck_assert_uint_eq(lists_info(ix).trained, 0);
    x[2 * DIM + 3] = NAN;
    FAILS(ann_train(ix, lists_view(x, 0, 10)), ANN_EINVAL, "2");
    ck_assert_uint_eq(lists_info(ix).trained, 0);
    ann_close(ix);
    free(x);
}
END_TEST

/* However few there are to learn from: all are found. */
START_TEST(trained_on_few)
{
    static const char *const specs[] = {"ivfpq,nlist=16", "ivfpq,nlist=16,pq_bits=8",
                                        "ivfpq,nlist=16,rotation=opq,metric=cosine",
                                        "ivfpq,rotation=random,pq_bits=6,metric=ip",
                                        "ivfpq,nlist=3,soar=1,pq_of=direct"};
    static const size_t counts[] = {1, 2, 3, 7, 15, 17, 100};
    float *x = graph_clusters(200, DIM, 5, 2), dists[K];
    ann_id ids[K];
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            ann_index *ix = lists_make(specs[i], 2);
            ok(ann_train(ix, lists_view(x, 0, counts[c])));
            const ann_info info = lists_info(ix);
            ck_assert(info.trained == counts[c] && info.nlist >= 1 && info.nlist <= counts[c]);
            ok(ann_add(ix, lists_view(x, 0, 200), NULL));
            ok(ann_check(ix, ANN_CHECK_REACHABLE));
            for (size_t q = 0; q < 200; q += 50) {
                ok(ann_search(ix, lists_view(x, q, 1), NULL, ids, dists));
                graph_check_row(ids, dists, K, K);
            }
            /* Of one vector one code is learned, which all have: some are looked at. */
            const double found = graph_recall(ix, x, 20, K, 64);
            ck_assert_msg(found > (counts[c] < 15 ? 0.3 : 0.9), "%s, trained on %zu: recall %g",
                          specs[i], counts[c], found);
            ann_close(ix);
        }
    free(x);
}
END_TEST

START_TEST(trained_on_equal_rows)
{
    static const char *const specs[] = {"ivfpq,nlist=8", "ivfpq,nlist=8,rotation=opq,pq_bits=8",
                                        "ivfpq,nlist=8,metric=cosine,rotation=random",
                                        "ivfpq,nlist=8,metric=ip,soar=1"};
    float *x = graph_clusters(300, DIM, 5, 3), dists[300];
    ann_id ids[300];
    for (size_t i = 1; i < 200; i++)
        memcpy(x + i * DIM, x, DIM * sizeof *x);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        ann_index *ix = lists_make(specs[i], 2);
        ann_search_params p = ANN_SEARCH_PARAMS_INIT;
        ok(ann_train(ix, lists_view(x, 0, 200)));
        ok(ann_add(ix, lists_view(x, 0, 300), NULL));
        ok(ann_check(ix, ANN_CHECK_REACHABLE));
        p.k = 300;
        ok(ann_search(ix, lists_view(x, 0, 1), &p, ids, dists));
        graph_check_row(ids, dists, 300, 300);
        if (i < 3) /* the copies are at no distance */
            for (size_t j = 0; j < 200; j++)
                ck_assert_msg(dists[j] < 1e-5f, "%s: %g", specs[i], (double)dists[j]);
        ann_close(ix);
    }
    free(x);
}
END_TEST

START_TEST(trained_again)
{
    float *x = graph_clusters(1000, DIM, 5, 4);
    ann_id ids[500];
    ann_index *ix = lists_make("ivfpq,nlist=10", 2);
    ok(ann_train(ix, lists_view(x, 0, 200)));
    ok(ann_train(ix, lists_view(x, 0, 500)));
    ck_assert_uint_eq(lists_info(ix).trained, 500);
    ok(ann_add(ix, lists_view(x, 0, 500), NULL));
    FAILS(ann_train(ix, lists_view(x, 0, 1000)), ANN_EINVAL, "500 vectors");
    ck_assert_uint_eq(lists_info(ix).trained, 500);
    for (ann_id i = 0; i < 500; i++)
        ids[i] = i;
    ok(ann_remove(ix, 499, ids, NULL));
    FAILS(ann_train(ix, lists_view(x, 0, 1000)), ANN_EINVAL, "1 vectors");
    ok(ann_remove(ix, 500, ids, NULL));
    for (size_t i = 0; i < 1000 * DIM; i++)
        x[i] = 100 * x[i] - 7000;
    ok(ann_train(ix, lists_view(x, 0, 1000)));
    ck_assert_uint_eq(lists_info(ix).trained, 1000);
    ok(ann_add(ix, lists_view(x, 0, 1000), NULL));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    ck_assert(graph_recall(ix, x, 30, K, 10) > 0.97);
    ann_close(ix);
    free(x);
}
END_TEST

static int stop_later(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    ck_assert(done <= total);
    return --*(int *)arg < 0;
}

/* Stopped at each report in turn: what there was stays, and it works the next time. */
START_TEST(canceled)
{
    float *x = graph_clusters(2000, DIM, 5, 5), dists[K], before[K];
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    ann_id ids[K];
    int left = 0, trains = 0, adds = 0;
    ok(ann_options_parse(&o, "ivfpq,nlist=20,rotation=opq,threads=2"));
    o.dim = DIM;
    o.progress = stop_later;
    o.progress_arg = &left;
    ok(ann_create(&o, &ix));
    ann_err err = ANN_ECANCELED;
    for (int at = 0; err; at++, trains++) {
        left = at;
        err = ann_train(ix, lists_view(x, 0, 1000));
        ck_assert(err == ANN_OK || err == ANN_ECANCELED);
        ck_assert_uint_eq(lists_info(ix).trained, err ? 0 : 1000);
    }
    left = 1000;
    ok(ann_add(ix, lists_view(x, 0, 500), NULL));
    ok(ann_search(ix, lists_view(x, 1, 1), NULL, ids, before));
    err = ANN_ECANCELED;
    for (int at = 0; err; at++, adds++) {
        left = at;
        err = ann_add(ix, lists_view(x, 500, 1500), NULL);
        ck_assert(err == ANN_OK || err == ANN_ECANCELED);
        ck_assert_uint_eq(lists_info(ix).count, err ? 500 : 2000);
        ok(ann_check(ix, ANN_CHECK_REACHABLE));
        ok(ann_search(ix, lists_view(x, 1, 1), NULL, ids, dists));
        ck_assert(!err == (memcmp(dists, before, sizeof dists) != 0));
    }
    ck_assert(trains > 2 && adds > 1);
    left = 1000;
    for (ann_id i = 0; i < 2000; i++)
        ok(ann_remove(ix, 1, &i, NULL));
    left = 0; /* training again fails: what was learned before stays */
    FAILS(ann_train(ix, lists_view(x, 0, 100)), ANN_ECANCELED, "k-means");
    left = 1000;
    ck_assert_uint_eq(lists_info(ix).trained, 1000);
    ok(ann_add(ix, lists_view(x, 0, 2000), NULL));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    ann_close(ix);
    free(x);
}
END_TEST

/* ---- options ---- */

START_TEST(options)
{
    static const char *const good[] = {"ivfpq",
                                       "ivfpq,nlist=1",
                                       "ivfpq,nlist=1048576,pq_m=24",
                                       "ivfpq,pq_bits=6,rotation=random",
                                       "ivfpq,pq_bits=8,rotation=opq,pq_of=direct",
                                       "ivfpq,soar=1,metric=ip,anisotropic=0.2",
                                       "ivfpq,metric=cosine,store=f16,codes=sq4",
                                       "ivfpq,store=none,codes=none",
                                       "ivfpq,profile=lean,codes=sq8,rotation=none"};
    static const struct {
        const char *spec;
        ann_err err;
        const char *says;
    } bad[] = {
        {"ivfpq,nlist=1048577", ANN_EINVAL, "nlist"},
        {"ivfpq,pq_m=25", ANN_EINVAL, "pq_m is 25"},
        {"ivfpq,pq_bits=5", ANN_EINVAL, "pq_bits is 5"},
        {"ivfpq,pq_bits=16", ANN_EINVAL, "pq_bits=16"},
        {"ivfpq,rotation=pca", ANN_EINVAL, "pca"},
        {"ivfpq,pq_of=all", ANN_EINVAL, "all"},
        {"ivfpq,soar=2", ANN_EINVAL, "soar"},
        {"ivfpq,metric=ip,anisotropic=1", ANN_EINVAL, "anisotropic"},
        {"ivfpq,metric=ip,anisotropic=-0.1", ANN_EINVAL, "anisotropic"},
        {"ivfpq,metric=ip,anisotropic=nan", ANN_EINVAL, "anisotropic"},
        {"ivfpq,anisotropic=0.2", ANN_EINVAL, "l2"},
        {"ivfpq,store=i8", ANN_ENOTSUP, "i8"},
        {"ivfpq,store=b1,metric=hamming", ANN_ENOTSUP, "b1"},
        {"ivfpq,profile=fast", ANN_EINVAL, "fast"},
        {"ivfpq,codes=2bit", ANN_EINVAL, "2bit"},
        {"ivfpq,profile=lean,store=f32", ANN_EINVAL, "lean"},
        {"ivf", ANN_EINVAL, "ivf"},
        {"ivfpq,lists=4", ANN_EINVAL, "lists"},
    };
    char spec[256], again[256];
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        ann_options o = ANN_OPTIONS_INIT, p = ANN_OPTIONS_INIT;
        ann_index *ix = NULL;
        o.dim = DIM;
        ok(ann_options_parse(&o, good[i]));
        ok(ann_options_spec(&o, spec, sizeof spec));
        ok(ann_options_parse(&p, spec));
        ok(ann_options_spec(&p, again, sizeof again));
        ck_assert_str_eq(spec, again);
        ck_assert(o.nlist == p.nlist && o.pq_m == p.pq_m && o.soar == p.soar &&
                  o.anisotropic == p.anisotropic && p.kind == ANN_IVFPQ && p.pq_bits >= 4 &&
                  (o.rotation == p.rotation) && p.pq_of != ANN_PQ_AUTO);
        ok(ann_create(&p, &ix));
        ann_close(ix);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        ann_options o = ANN_OPTIONS_INIT;
        ann_index *ix = NULL;
        o.dim = DIM;
        ann_err err = ann_options_parse(&o, bad[i].spec);
        err = err ? err : ann_create(&o, &ix);
        ck_assert_msg(err == bad[i].err && strstr(ann_error_message(), bad[i].says),
                      "%s: %s, %s", bad[i].spec, ann_err_name(err), ann_error_message());
        ck_assert_ptr_null(ix);
    }
}
END_TEST

START_TEST(told)
{
    float *x = graph_clusters(N, DIM, 12, 6);
    ann_index *ix = lists_filled(
        "ivfpq,nlist=30,pq_m=10,pq_bits=6,rotation=opq,pq_of=direct,metric=cosine", 2, x, N);
    ann_info i = lists_info(ix);
    ck_assert(i.nlist == 30 && i.pq_m == 10 && i.pq_bits == 6 &&
              i.rotation == ANN_ROTATION_OPQ && i.pq_of == ANN_PQ_DIRECT && i.trained == N &&
              i.entries == N && i.count == N && i.slots == N && i.removed == 0 &&
              i.codes == ANN_CODES_SQ8);
    ck_assert(i.largest_list >= N / 30 && i.largest_list < N);
    /* 12 subspaces of 6 bits, bias, slot; each list's places in sixteens */
    ck_assert_uint_ge(i.list_bytes, N * (12 * 6 / 8 + 2 + 4));
    ck_assert_uint_le(i.list_bytes,
                      (N + 30 * 16) * (12 * 6 / 8 + 2 + 4) + 30 * sizeof(struct ivf_list));
    ck_assert(i.trained_error > 0 && i.trained_error < 1 && i.added_error > 0 &&
              i.added_error < 2 * i.trained_error);
    ann_id ids[100];
    for (ann_id n = 0; n < 100; n++)
        ids[n] = 3 * n;
    ok(ann_remove(ix, 100, ids, NULL));
    i = lists_info(ix);
    ck_assert(i.removed == 100 && i.entries == N && i.count == N - 100);
    ok(ann_compact(ix));
    i = lists_info(ix);
    ck_assert(i.removed == 0 && i.entries == N - 100 && i.slots == N - 100);
    for (size_t n = 0; n < N * DIM; n++) /* nothing like what was learned from */
        x[n] = (float)((n * 2654435761u >> 7) % 1000) - 500;
    ok(ann_add(ix, lists_view(x, 0, N), NULL));
    ck_assert(lists_info(ix).added_error > 1.3 * i.added_error);
    ann_close(ix);
    free(x);
}
END_TEST

START_TEST(estimated)
{
    static const char *const specs[] = {"ivfpq",
                                        "ivfpq,nlist=50,pq_bits=8",
                                        "ivfpq,profile=lean",
                                        "ivfpq,store=none,codes=none,pq_m=24",
                                        "ivfpq,soar=1",
                                        "ivfpq,rotation=random,store=f16,metric=ip"};
    enum { MANY = 20000 };
    float *x = graph_clusters(MANY, DIM, 50, 7);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        ann_options o = ANN_OPTIONS_INIT;
        uint64_t bytes, peak;
        ann_index *ix = lists_make(specs[i], 2);
        ok(ann_train(ix, lists_view(x, 0, 5000)));
        ok(ann_add(ix, lists_view(x, 0, MANY), NULL));
        o.dim = DIM;
        ok(ann_options_parse(&o, specs[i]));
        ok(ann_memory_estimate(&o, MANY, &bytes, &peak));
        const double held = (double)lists_info(ix).memory_bytes;
        /* Large arrays come in pages of 2 MiB: vectors, codes, lists. */
        ck_assert_msg(held < 1.15 * (double)bytes + 0x6p20 && held > 0.6 * (double)bytes &&
                          peak >= bytes,
                      "%s: %g bytes, %g estimated, %g at most", specs[i], held, (double)bytes,
                      (double)peak);
        ann_close(ix);
    }
    free(x);
}
END_TEST

/* ---- recall ---- */

static const char *const metrics[] = {"l2", "ip", "cosine"};
static const char *const kept[] = {
    "store=f32",           "store=f32,codes=sq4", "store=f32,codes=none",
    "store=f16,codes=sq8", "profile=lean",        "profile=lean,codes=sq4"};

/* Norms that differ by ten times, for the inner product. */
static void stretch(float *x, size_t n, uint64_t seed)
{
    uint64_t state = seed;
    for (size_t i = 0; i < n; i++) {
        const float by = (float)pow(10, rng_unit(&state));
        for (size_t j = 0; j < DIM; j++)
            x[i * DIM + j] *= by;
    }
}

/* _i: metric, bits, direct or residual, rotation; with every other of what is kept. */
START_TEST(grid)
{
    static const char *const rotations[] = {"none", "random", "opq"};
    const int metric = _i % 3, bits = 4 + 2 * (_i / 3 % 3), direct = _i / 9 % 2;
    enum { SOME = 1000 };
    float *x = graph_clusters(SOME, DIM, 12, 8), *q = graph_clusters(NQ, DIM, 12, 9);
    if (metric == 1) {
        stretch(x, SOME, 1);
        stretch(q, NQ, 2);
    }
    for (size_t s = (size_t)(_i / 3) % 2; s < sizeof kept / sizeof *kept; s += 2) {
        char spec[160];
        snprintf(spec, sizeof spec,
                 "ivfpq,nlist=20,metric=%s,pq_bits=%d,pq_of=%s,rotation=%s,%s", metrics[metric],
                 bits, direct ? "direct" : "residual", rotations[_i / 18], kept[s]);
        ann_index *ix = lists_filled(spec, 2, x, SOME);
        ok(ann_check(ix, ANN_CHECK_REACHABLE));
        const double most = graph_recall(ix, q, NQ, K, 20),
                     some = graph_recall(ix, q, NQ, K, 6);
        const double few = graph_recall(ix, q, NQ, K, 1);
        /* Against exact search over the same codes, where these are all there is. */
        ck_assert_msg(most >= 0.97 && some >= 0.85 && few >= 0.25 && most + 0.01 >= some &&
                          some + 0.01 >= few,
                      "%s: recall %g, %g, %g", spec, most, some, few);
        lists_check(ix, x, q);
        ann_close(ix);
    }
    free(x);
    free(q);
}
END_TEST

/* Two lists for each vector, and codes that are exact along the vector. */
START_TEST(soar_and_anisotropic)
{
    static const char *const specs[] = {
        "ivfpq,nlist=40,metric=ip,soar=1",
        "ivfpq,nlist=40,metric=cosine,soar=1,anisotropic=0.3",
        "ivfpq,nlist=40,metric=ip,anisotropic=0.2",
        "ivfpq,nlist=40,metric=l2,soar=1,pq_of=direct",
        "ivfpq,nlist=40,metric=cosine,anisotropic=0.2,rotation=opq,profile=lean",
        "ivfpq,nlist=1,metric=ip,soar=1",
        "ivfpq,nlist=2,metric=ip,soar=1"};
    float *x = graph_clusters(N, DIM, 12, 10), *q = graph_clusters(NQ, DIM, 12, 11);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        ann_index *ix = lists_filled(specs[i], 2, x, N);
        const struct ivfpq *h = ix->state;
        const bool twice = strstr(specs[i], "soar") && h->nlist > 1;
        ck_assert_uint_eq(lists_info(ix).entries, twice ? 2 * N : N);
        ok(ann_check(ix, ANN_CHECK_REACHABLE));
        const double most = graph_recall(ix, q, NQ, K, 40),
                     some = graph_recall(ix, q, NQ, K, 8);
        ck_assert_msg(most > 0.96 && some > 0.85, "%s: recall %g, %g", specs[i], most, some);
        lists_check(ix, x, q);
        for (ann_id id = 0; id < N; id += 2)
            ok(ann_remove(ix, 1, &id, NULL));
        ok(ann_check(ix, ANN_CHECK_REACHABLE));
        lists_check(ix, x, q);
        ann_close(ix);
    }
    free(x);
    free(q);
}
END_TEST

/* Short codes alone: nothing says more exactly how far a vector is. */
START_TEST(codes_alone)
{
    float *x = graph_clusters(N, DIM, 12, 12), *q = graph_clusters(NQ, DIM, 12, 13), vec[DIM];
    for (int m = 0; m < 3; m++)
        for (int bits = 4; bits <= 8; bits += 2) {
            char spec[120];
            snprintf(spec, sizeof spec,
                     "ivfpq,nlist=24,metric=%s,pq_m=24,pq_bits=%d,store=none,"
                     "codes=none",
                     metrics[m], bits);
            ann_index *ix = lists_filled(spec, 2, x, N);
            const ann_info info = lists_info(ix);
            ck_assert(info.vector_bytes == 0 && info.code_bytes == 0 &&
                      info.store == ANN_NONE && info.codes == ANN_CODES_NONE);
            ok(ann_check(ix, ANN_CHECK_REACHABLE));
            ann_recall_report r = ANN_RECALL_REPORT_INIT;
            FAILS(ann_get(ix, 3, vec), ANN_ENOTSUP, "store=none");
            FAILS(ann_recall(ix, lists_view(q, 0, 5), NULL, &r), ANN_ENOTSUP, "codes=none");
            FAILS(ann_calibrate(ix, lists_view(q, 0, 50), NULL), ANN_ENOTSUP, "codes=none");
            FAILS(ann_calibrate(ix, (ann_view){0}, NULL), ANN_ENOTSUP, "codes=none");
            ann_id ids[NQ * K];
            float dists[NQ * K];
            double off = 0, length = 0, hits = 0;
            ok(ann_search(ix, lists_view(q, 0, NQ), NULL, ids, dists));
            for (size_t i = 0; i < NQ; i++) {
                double worst = -INFINITY;
                graph_check_row(ids + i * K, dists + i * K, K, K);
                for (size_t j = 0; j < K; j++) {
                    const double want = oracle_distance(ix->vec.metric, q + i * DIM,
                                                        x + ids[i * K + j] * DIM, DIM);
                    off += fabs(want - (double)dists[i * K + j]);
                    length += fabs(want);
                    worst = fmax(worst, want);
                }
                size_t nearer = 0;
                for (size_t j = 0; j < N; j++)
                    nearer +=
                        oracle_distance(ix->vec.metric, q + i * DIM, x + j * DIM, DIM) <= worst;
                hits += (double)K / (double)nearer;
            }
            const double most = bits == 4 ? 0.2 : bits == 6 ? 0.08 : 0.04;
            ck_assert_msg(off / length < most, "%s: distances are off by %g", spec,
                          off / length);
            ck_assert_msg(hits / NQ > (bits == 4 ? 0.3 : 0.6), "%s: %g", spec, hits / NQ);
            ann_close(ix);
        }
    free(x);
    free(q);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ivfpq");
    TCase *c = tcase_create("ivfpq");
    tcase_add_test(c, untrained);
    tcase_add_test(c, trained_on_few);
    tcase_add_test(c, trained_on_equal_rows);
    tcase_add_test(c, trained_again);
    tcase_add_test(c, canceled);
    tcase_add_test(c, options);
    tcase_add_test(c, told);
    tcase_add_test(c, estimated);
    tcase_add_loop_test(c, grid, 0, 3 * 3 * 2 * 3);
    tcase_add_test(c, soar_and_anisotropic);
    tcase_add_test(c, codes_alone);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
