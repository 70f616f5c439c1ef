/* test_ivfpq.c - the index of lists and short codes, through the front door: training, options,
 * recall of every sort of list against exact search, codes alone, filters, batches, and the
 * structures that searching stands on.  With --build PATH SPEC it builds an index for ivfpq.sh. */
#include <config.h>

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/rng.h"
#include "ann/internal.h"
#include "ann/ivfpq/query.h"
#include "tests/graph_data.h"

#define DIM 24
#define N 3000
#define NQ 40
#define K 10

#define FAILS(call, want, with)                                                                \
    do {                                                                                       \
        const ann_err err_ = (call);                                                           \
        ck_assert_msg(err_ == (want), "%s, not %s: %s", ann_err_name(err_),                    \
                      ann_err_name(want), ann_error_message());                                \
        ck_assert_msg(strstr(ann_error_message(), with), "no \"%s\" in: %s", with,             \
                      ann_error_message());                                                    \
    } while (0)

static ann_view view(const float *x, size_t first, size_t n)
{
    return (ann_view){x + first * DIM, n, 0, ANN_F32};
}

static ann_index *make(const char *spec, unsigned threads)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    o.dim = DIM;
    o.threads = threads;
    ok(ann_options_parse(&o, spec));
    ok(ann_create(&o, &ix));
    return ix;
}

/* Trained on all rows of x [n], and holding them. */
static ann_index *filled(const char *spec, unsigned threads, const float *x, size_t n)
{
    ann_index *ix = make(spec, threads);
    ok(ann_train(ix, view(x, 0, n)));
    ok(ann_add(ix, view(x, 0, n), NULL));
    return ix;
}

static ann_info info_of(const ann_index *ix)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    ok(ann_index_info(ix, &info));
    return info;
}

/* ---- training ---- */

START_TEST(untrained)
{
    float *x = graph_clusters(100, DIM, 5, 1), dists[K];
    ann_id ids[K];
    ann_index *ix = make("ivfpq,nlist=4", 2);
    FAILS(ann_add(ix, view(x, 0, 10), NULL), ANN_EUNTRAINED, "trained");
    FAILS(ann_update(ix, view(x, 0, 1), (ann_id[]){3}), ANN_EUNTRAINED, "trained");
    ok(ann_remove(ix, 1, (ann_id[]){3}, NULL));
    ok(ann_compact(ix));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    ok(ann_search(ix, view(x, 0, 1), NULL, ids, dists));
    graph_check_row(ids, dists, K, 0);
    const ann_info info = info_of(ix);
    ck_assert(info.count == 0 && info.slots == 0 && info.nlist == 0 && info.trained == 0 &&
              info.entries == 0 && info.pq_bits == 4 && info.kind == ANN_IVFPQ);
    FAILS(ann_train(ix, view(x, 0, 0)), ANN_EINVAL, "0 vectors");
    ck_assert_uint_eq(info_of(ix).trained, 0);
    x[2 * DIM + 3] = NAN;
    FAILS(ann_train(ix, view(x, 0, 10)), ANN_EINVAL, "2");
    ck_assert_uint_eq(info_of(ix).trained, 0);
    ann_close(ix);
    free(x);
}
END_TEST

/* However few there are to learn from: all are found. */
START_TEST(trained_on_few)
{
    static const char *const specs[] = {
        "ivfpq,nlist=16", "ivfpq,nlist=16,pq_bits=8", "ivfpq,nlist=16,rotation=opq,metric=cosine",
        "ivfpq,rotation=random,pq_bits=6,metric=ip", "ivfpq,nlist=3,soar=1,pq_of=direct"};
    static const size_t counts[] = {1, 2, 3, 7, 15, 17, 100};
    float *x = graph_clusters(200, DIM, 5, 2), dists[K];
    ann_id ids[K];
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++)
        for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
            ann_index *ix = make(specs[i], 2);
            ok(ann_train(ix, view(x, 0, counts[c])));
            const ann_info info = info_of(ix);
            ck_assert(info.trained == counts[c] && info.nlist >= 1 && info.nlist <= counts[c]);
            ok(ann_add(ix, view(x, 0, 200), NULL));
            ok(ann_check(ix, ANN_CHECK_REACHABLE));
            for (size_t q = 0; q < 200; q += 50) {
                ok(ann_search(ix, view(x, q, 1), NULL, ids, dists));
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
        ann_index *ix = make(specs[i], 2);
        ann_search_params p = ANN_SEARCH_PARAMS_INIT;
        ok(ann_train(ix, view(x, 0, 200)));
        ok(ann_add(ix, view(x, 0, 300), NULL));
        ok(ann_check(ix, ANN_CHECK_REACHABLE));
        p.k = 300;
        ok(ann_search(ix, view(x, 0, 1), &p, ids, dists));
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
    ann_index *ix = make("ivfpq,nlist=10", 2);
    ok(ann_train(ix, view(x, 0, 200)));
    ok(ann_train(ix, view(x, 0, 500)));
    ck_assert_uint_eq(info_of(ix).trained, 500);
    ok(ann_add(ix, view(x, 0, 500), NULL));
    FAILS(ann_train(ix, view(x, 0, 1000)), ANN_EINVAL, "500 vectors");
    ck_assert_uint_eq(info_of(ix).trained, 500);
    for (ann_id i = 0; i < 500; i++)
        ids[i] = i;
    ok(ann_remove(ix, 499, ids, NULL));
    FAILS(ann_train(ix, view(x, 0, 1000)), ANN_EINVAL, "1 vectors");
    ok(ann_remove(ix, 500, ids, NULL));
    for (size_t i = 0; i < 1000 * DIM; i++)
        x[i] = 100 * x[i] - 7000;
    ok(ann_train(ix, view(x, 0, 1000)));
    ck_assert_uint_eq(info_of(ix).trained, 1000);
    ok(ann_add(ix, view(x, 0, 1000), NULL));
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
        err = ann_train(ix, view(x, 0, 1000));
        ck_assert(err == ANN_OK || err == ANN_ECANCELED);
        ck_assert_uint_eq(info_of(ix).trained, err ? 0 : 1000);
    }
    left = 1000;
    ok(ann_add(ix, view(x, 0, 500), NULL));
    ok(ann_search(ix, view(x, 1, 1), NULL, ids, before));
    err = ANN_ECANCELED;
    for (int at = 0; err; at++, adds++) {
        left = at;
        err = ann_add(ix, view(x, 500, 1500), NULL);
        ck_assert(err == ANN_OK || err == ANN_ECANCELED);
        ck_assert_uint_eq(info_of(ix).count, err ? 500 : 2000);
        ok(ann_check(ix, ANN_CHECK_REACHABLE));
        ok(ann_search(ix, view(x, 1, 1), NULL, ids, dists));
        ck_assert(!err == (memcmp(dists, before, sizeof dists) != 0));
    }
    ck_assert(trains > 2 && adds > 1);
    left = 1000;
    for (ann_id i = 0; i < 2000; i++)
        ok(ann_remove(ix, 1, &i, NULL));
    left = 0; /* training again fails: what was learned before stays */
    FAILS(ann_train(ix, view(x, 0, 100)), ANN_ECANCELED, "k-means");
    left = 1000;
    ck_assert_uint_eq(info_of(ix).trained, 1000);
    ok(ann_add(ix, view(x, 0, 2000), NULL));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    ann_close(ix);
    free(x);
}
END_TEST

/* ---- options ---- */

START_TEST(options)
{
    static const char *const good[] = {
        "ivfpq", "ivfpq,nlist=1", "ivfpq,nlist=1048576,pq_m=24", "ivfpq,pq_bits=6,rotation=random",
        "ivfpq,pq_bits=8,rotation=opq,pq_of=direct", "ivfpq,soar=1,metric=ip,anisotropic=0.2",
        "ivfpq,metric=cosine,store=f16,codes=sq4", "ivfpq,store=none,codes=none",
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
    ann_index *ix =
        filled("ivfpq,nlist=30,pq_m=10,pq_bits=6,rotation=opq,pq_of=direct,metric=cosine", 2, x, N);
    ann_info i = info_of(ix);
    ck_assert(i.nlist == 30 && i.pq_m == 10 && i.pq_bits == 6 && i.rotation == ANN_ROTATION_OPQ &&
              i.pq_of == ANN_PQ_DIRECT && i.trained == N && i.entries == N && i.count == N &&
              i.slots == N && i.removed == 0 && i.codes == ANN_CODES_SQ8);
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
    i = info_of(ix);
    ck_assert(i.removed == 100 && i.entries == N && i.count == N - 100);
    ok(ann_compact(ix));
    i = info_of(ix);
    ck_assert(i.removed == 0 && i.entries == N - 100 && i.slots == N - 100);
    for (size_t n = 0; n < N * DIM; n++) /* nothing like what was learned from */
        x[n] = (float)((n * 2654435761u >> 7) % 1000) - 500;
    ok(ann_add(ix, view(x, 0, N), NULL));
    ck_assert(info_of(ix).added_error > 1.3 * i.added_error);
    ann_close(ix);
    free(x);
}
END_TEST

START_TEST(estimated)
{
    static const char *const specs[] = {"ivfpq", "ivfpq,nlist=50,pq_bits=8", "ivfpq,profile=lean",
                                        "ivfpq,store=none,codes=none,pq_m=24", "ivfpq,soar=1",
                                        "ivfpq,rotation=random,store=f16,metric=ip"};
    enum { MANY = 20000 };
    float *x = graph_clusters(MANY, DIM, 50, 7);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        ann_options o = ANN_OPTIONS_INIT;
        uint64_t bytes, peak;
        ann_index *ix = make(specs[i], 2);
        ok(ann_train(ix, view(x, 0, 5000)));
        ok(ann_add(ix, view(x, 0, MANY), NULL));
        o.dim = DIM;
        ok(ann_options_parse(&o, specs[i]));
        ok(ann_memory_estimate(&o, MANY, &bytes, &peak));
        const double held = (double)info_of(ix).memory_bytes;
        /* Large arrays come in pages of 2 MiB: vectors, codes, lists. */
        ck_assert_msg(held < 1.15 * (double)bytes + 0x6p20 && held > 0.6 * (double)bytes && peak >= bytes,
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
    "store=f32", "store=f32,codes=sq4", "store=f32,codes=none", "store=f16,codes=sq8",
    "profile=lean", "profile=lean,codes=sq4"};

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

/* Results are as exact search gives them, at the distances of the vectors where those are kept. */
static void check_distances(const ann_index *ix, const float *x, const float *q)
{
    ann_id ids[NQ * K];
    float dists[NQ * K];
    ok(ann_search(ix, view(q, 0, NQ), NULL, ids, dists));
    for (size_t i = 0; i < NQ; i++) {
        graph_check_row(ids + i * K, dists + i * K, K, K);
        for (size_t j = 0; j < K && ix->vec.store == ANN_F32; j++) {
            const float *v = x + ids[i * K + j] * DIM;
            const double want = oracle_distance(ix->vec.metric, q + i * DIM, v, DIM);
            const double slack = oracle_slack(ix->vec.metric, q + i * DIM, v, DIM);
            ck_assert_msg(fabs(want - (double)dists[i * K + j]) <= slack + 1e-5 * fabs(want),
                          "%g, not %g", (double)dists[i * K + j], want);
        }
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
        snprintf(spec, sizeof spec, "ivfpq,nlist=20,metric=%s,pq_bits=%d,pq_of=%s,rotation=%s,%s",
                 metrics[metric], bits, direct ? "direct" : "residual", rotations[_i / 18], kept[s]);
        ann_index *ix = filled(spec, 2, x, SOME);
        ok(ann_check(ix, ANN_CHECK_REACHABLE));
        const double most = graph_recall(ix, q, NQ, K, 20), some = graph_recall(ix, q, NQ, K, 6);
        const double few = graph_recall(ix, q, NQ, K, 1);
        /* Against exact search over the same codes, where these are all there is. */
        ck_assert_msg(most >= 0.97 && some >= 0.85 && few >= 0.25 && most + 0.01 >= some &&
                          some + 0.01 >= few,
                      "%s: recall %g, %g, %g", spec, most, some, few);
        check_distances(ix, x, q);
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
        "ivfpq,nlist=40,metric=ip,soar=1", "ivfpq,nlist=40,metric=cosine,soar=1,anisotropic=0.3",
        "ivfpq,nlist=40,metric=ip,anisotropic=0.2", "ivfpq,nlist=40,metric=l2,soar=1,pq_of=direct",
        "ivfpq,nlist=40,metric=cosine,anisotropic=0.2,rotation=opq,profile=lean",
        "ivfpq,nlist=1,metric=ip,soar=1", "ivfpq,nlist=2,metric=ip,soar=1"};
    float *x = graph_clusters(N, DIM, 12, 10), *q = graph_clusters(NQ, DIM, 12, 11);
    for (size_t i = 0; i < sizeof specs / sizeof *specs; i++) {
        ann_index *ix = filled(specs[i], 2, x, N);
        const struct ivfpq *h = ix->state;
        const bool twice = strstr(specs[i], "soar") && h->nlist > 1;
        ck_assert_uint_eq(info_of(ix).entries, twice ? 2 * N : N);
        ok(ann_check(ix, ANN_CHECK_REACHABLE));
        const double most = graph_recall(ix, q, NQ, K, 40), some = graph_recall(ix, q, NQ, K, 8);
        ck_assert_msg(most > 0.97 && some > 0.85, "%s: recall %g, %g", specs[i], most, some);
        check_distances(ix, x, q);
        for (ann_id id = 0; id < N; id += 2)
            ok(ann_remove(ix, 1, &id, NULL));
        ok(ann_check(ix, ANN_CHECK_REACHABLE));
        check_distances(ix, x, q);
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
            snprintf(spec, sizeof spec, "ivfpq,nlist=24,metric=%s,pq_m=24,pq_bits=%d,store=none,"
                     "codes=none", metrics[m], bits);
            ann_index *ix = filled(spec, 2, x, N);
            const ann_info info = info_of(ix);
            ck_assert(info.vector_bytes == 0 && info.code_bytes == 0 && info.store == ANN_NONE &&
                      info.codes == ANN_CODES_NONE);
            ok(ann_check(ix, ANN_CHECK_REACHABLE));
            ann_recall_report r = ANN_RECALL_REPORT_INIT;
            FAILS(ann_get(ix, 3, vec), ANN_ENOTSUP, "store=none");
            FAILS(ann_recall(ix, view(q, 0, 5), NULL, &r), ANN_ENOTSUP, "codes=none");
            FAILS(ann_calibrate(ix, view(q, 0, 50), NULL), ANN_ENOTSUP, "codes=none");
            FAILS(ann_calibrate(ix, (ann_view){0}, NULL), ANN_ENOTSUP, "codes=none");
            ann_id ids[NQ * K];
            float dists[NQ * K];
            double off = 0, length = 0, hits = 0;
            ok(ann_search(ix, view(q, 0, NQ), NULL, ids, dists));
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
            ck_assert_msg(off / length < most, "%s: distances are off by %g", spec, off / length);
            ck_assert_msg(hits / NQ > (bits == 4 ? 0.3 : 0.6), "%s: %g", spec, hits / NQ);
            ann_close(ix);
        }
    free(x);
    free(q);
}
END_TEST

/* ---- filters ---- */

struct passing {
    size_t from, step, to;
};

static int passes(void *arg, ann_id id)
{
    const struct passing *p = arg;
    return id >= p->from && id < p->to && (id - p->from) % p->step == 0;
}

static size_t least_of(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* As many as there are, only what passes, alone and in a batch; nearly the right ones. */
static void filtered(const ann_index *ix, const float *q, struct passing *p, size_t effort)
{
    ann_search_params params = ANN_SEARCH_PARAMS_INIT;
    ann_recall_report r = ANN_RECALL_REPORT_INIT;
    ann_filter *f = NULL;
    ann_id ids[NQ * K];
    float dists[NQ * K];
    ok(ann_filter_from_callback(ix, passes, p, &f));
    params.filter = f;
    params.effort = effort;
    for (size_t batch = 1; batch <= NQ; batch += NQ - 1) {
        ok(ann_search(ix, view(q, 0, batch), &params, ids, dists));
        for (size_t i = 0; i < batch; i++) {
            graph_check_row(ids + i * K, dists + i * K, K, least_of(K, ann_filter_count(f)));
            for (size_t j = 0; j < K && ids[i * K + j] != ANN_NO_ID; j++)
                ck_assert(passes(p, ids[i * K + j]));
        }
    }
    if (ann_filter_count(f) > 0) {
        ok(ann_recall(ix, view(q, 0, NQ), &params, &r));
        ck_assert_msg(r.recall > (effort > 4 ? 0.93 : 0.2), "%zu.. by %zu, effort %zu: recall %g",
                      p->from, p->step, effort, r.recall);
    }
    ann_filter_close(f);
}

START_TEST(filters)
{
    static const char *const specs[] = {"ivfpq,nlist=60", "ivfpq,nlist=60,metric=ip,soar=1",
                                        "ivfpq,nlist=60,metric=cosine,profile=lean",
                                        "ivfpq,nlist=60,store=f32,codes=none,pq_bits=8"};
    float *x = graph_clusters(N, DIM, 12, 14), *q = graph_clusters(NQ, DIM, 12, 15);
    struct passing all[] = {{0, 1, 0},     {77, 1, 78},   {5, 600, N},    {0, 100, N}, {1, 10, N},
                            {0, 2, N},     {0, 1, N},     {1000, 1, 1250}, {1000, 3, 1250}};
    /* Ids from 1,000 to 1,249 are of one cluster, far from most queries. */
    float *near = graph_clusters(250, DIM, 1, 16);
    for (size_t i = 0; i < 250 * DIM; i++)
        x[1000 * DIM + i] = near[i] + 6;
    ann_index *ix = filled(specs[_i], 2, x, N);
    for (int removed = 0; removed < 2; removed++) {
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            for (size_t effort = 2; effort <= 30; effort += 28)
                filtered(ix, q, &all[i], effort);
        for (ann_id id = 0; id < N && !removed; id += 7)
            ok(ann_remove(ix, 1, &id, NULL));
    }
    ann_close(ix);
    free(near);
    free(x);
    free(q);
}
END_TEST

/* A short code alone does not look at what passes one by one. */
START_TEST(filters_of_codes_alone)
{
    float *x = graph_clusters(N, DIM, 12, 14), *q = graph_clusters(NQ, DIM, 12, 15), dists[K];
    ann_index *ix = filled("ivfpq,nlist=60,store=none,codes=none", 2, x, N);
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id ids[K], wanted[12];
    for (size_t n = 1; n <= 12; n++) {
        ann_filter *f = NULL;
        for (size_t i = 0; i < n; i++)
            wanted[i] = i * 229;
        ok(ann_filter_from_ids(ix, n, wanted, &f));
        p.filter = f;
        p.effort = 1;
        for (size_t i = 0; i < NQ; i++) {
            ok(ann_search(ix, view(q, i, 1), &p, ids, dists));
            graph_check_row(ids, dists, K, least_of(n, K));
            for (size_t j = 0; j < least_of(n, K); j++)
                ck_assert(ids[j] % 229 == 0);
        }
        ann_filter_close(f);
    }
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

/* ---- batches, ranges, iterators, what is beyond ---- */

static const char *const searched[] = {
    "ivfpq,nlist=50", "ivfpq,nlist=50,metric=ip,pq_bits=8,pq_of=direct",
    "ivfpq,nlist=50,metric=cosine,pq_bits=6,profile=lean", "ivfpq,nlist=50,soar=1",
    "ivfpq,nlist=50,rotation=opq,codes=none,store=f16"};
#define SEARCHED (int)(sizeof searched / sizeof *searched)

/* Share of exact search's results; by whole batches of n queries. */
static double recall_by(const ann_index *ix, const float *q, size_t n, const ann_filter *f)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    double sum = 0;
    p.effort = 5;
    p.filter = f;
    for (size_t i = 0; i < NQ; i += n) {
        const size_t some = least_of(n, NQ - i);
        ann_recall_report r = ANN_RECALL_REPORT_INIT;
        ok(ann_recall(ix, view(q, i, some), &p, &r));
        sum += r.recall * (double)some;
    }
    return sum / NQ;
}

START_TEST(batches)
{
    static const size_t sizes[] = {2, 7, 8, 9, 13, 31, NQ};
    float *x = graph_clusters(N, DIM, 12, 17), *q = graph_clusters(NQ, DIM, 12, 18);
    ann_index *ix = filled(searched[_i], 2, x, N);
    for (int stage = 0; stage < 3; stage++) {
        struct passing half = {0, 2, N};
        ann_filter *f = NULL;
        if (stage == 1) /* and after removals */
            for (ann_id id = 0; id < N; id += 3)
                ok(ann_remove(ix, 1, &id, NULL));
        if (stage == 2) /* and with a filter */
            ok(ann_filter_from_callback(ix, passes, &half, &f));
        const double alone = recall_by(ix, q, 1, f);
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            const double together = recall_by(ix, q, sizes[s], f);
            ck_assert_msg(fabs(together - alone) < 0.03, "%s: by %zu recall %g, alone %g",
                          searched[_i], sizes[s], together, alone);
        }
        ann_search_params p = ANN_SEARCH_PARAMS_INIT;
        ann_id ids[NQ * K], first[NQ * K];
        float dists[NQ * K], first_dists[NQ * K];
        p.filter = f;
        for (p.threads = 1; p.threads <= 3; p.threads++) {
            for (size_t n = 8; n <= NQ; n += 9) {
                ok(ann_search(ix, view(q, 0, n), &p, ids, dists));
                if (p.threads == 1 && n == 8)
                    ok(ann_search(ix, view(q, 0, NQ), &p, first, first_dists));
                /* Not those in its batch nor the threads say what a query finds. */
                ck_assert_msg(memcmp(ids, first, n * K * sizeof *ids) == 0,
                              "%s: %zu by %u threads: other ids", searched[_i], n, p.threads);
                ck_assert(memcmp(dists, first_dists, n * K * sizeof *dists) == 0);
            }
        }
        ann_filter_close(f);
    }
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

START_TEST(more_than_there_are)
{
    enum { MOST = 300, MORE = 330 };
    float *x = graph_clusters(MOST, DIM, 6, 19), dists[9 * MORE];
    ann_index *ix = filled(searched[_i], 2, x, MOST);
    ann_id ids[9 * MORE];
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.k = MORE;
    p.effort = 1;
    for (size_t left = MOST; left > 0; left /= 3) {
        for (size_t n = 1; n <= 9; n += 8) {
            ok(ann_search(ix, view(x, 0, n), &p, ids, dists));
            for (size_t i = 0; i < n; i++)
                graph_check_row(ids + i * MORE, dists + i * MORE, MORE, left);
        }
        for (ann_id id = left / 3; id < left; id++)
            ok(ann_remove(ix, 1, &id, NULL));
    }
    ok(ann_search(ix, view(x, 0, 9), &p, ids, dists));
    graph_check_row(ids, dists, MORE, 0);
    ok(ann_compact(ix));
    ok(ann_add(ix, view(x, 0, MOST), NULL));
    ok(ann_search(ix, view(x, 0, 9), &p, ids, dists));
    graph_check_row(ids, dists, MORE, MOST);
    ann_close(ix);
    free(x);
}
END_TEST

START_TEST(ranges_and_iterators)
{
    float *x = graph_clusters(N, DIM, 12, 20), *q = graph_clusters(NQ, DIM, 12, 21);
    ann_index *ix = filled(searched[_i], 2, x, N), *flat = make("flat", 2);
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_range_result r;
    ann_id ids[100];
    float dists[100];
    unsigned char seen[N] = {0};
    p.k = 100;
    ok(ann_search(ix, view(q, 0, 1), &p, ids, dists));
    const float radius = dists[60];
    p.effort = 50;
    ok(ann_search_range(ix, view(q, 0, 3), radius, &p, &r));
    ck_assert_uint_ge(r.offsets[1], 58);
    for (size_t i = 0; i < r.offsets[3]; i++)
        ck_assert(r.dists[i] <= radius && r.ids[i] < N);
    ann_range_free(&r);
    ann_close(flat);
    ann_iter *it = NULL;
    size_t got = 64, all = 0, early = 0;
    ok(ann_iter_open(ix, q, ANN_F32, NULL, &it));
    while (got == 64) {
        ann_id some[64];
        ok(ann_iter_next(it, 64, some, NULL, &got));
        for (size_t i = 0; i < got; i++)
            ck_assert_msg(some[i] < N && seen[some[i]]++ == 0, "id %llu again",
                          (unsigned long long)some[i]);
        for (size_t i = 0; i < got && all < 128; i++)
            for (size_t j = 0; j < 50; j++)
                early += some[i] == ids[j];
        all += got;
    }
    ck_assert_uint_eq(all, N);
    ck_assert_uint_ge(early, 45);
    ann_iter_close(it);
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

/* However far off, k are found as long as there are k. */
START_TEST(far_away)
{
    static const float scales[] = {1e3f, 1e9f, 1e15f, 1e18f, 1e-30f, 0};
    float *x = graph_clusters(500, DIM, 6, 22), *q = graph_clusters(9, DIM, 6, 23), dists[9 * K];
    ann_index *ix = filled(searched[_i], 2, x, 500);
    ann_id ids[9 * K];
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        if ((scales[s] == 0 && ix->vec.metric == ANN_COSINE) ||
            (scales[s] > 1e4f && ix->vec.store == ANN_F16))
            continue;
        for (size_t i = 0; i < 9 * DIM; i++)
            q[i] = scales[s] * (float)(1 + i % 5);
        for (size_t n = 1; n <= 9; n += 8) {
            ok(ann_search(ix, view(q, 0, n), NULL, ids, dists));
            for (size_t i = 0; i < n * K; i++)
                ck_assert_msg(ids[i] < 500, "%s: scale %g, result %zu: nothing", searched[_i],
                              (double)scales[s], i);
        }
    }
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

/* Some vectors are far away: the rest is found all the same.  A million times as far, codes that
 * span that tell little of the rest, but everything holds. */
START_TEST(outliers)
{
    float *x = graph_clusters(N, DIM, 12, 24), *q = graph_clusters(NQ, DIM, 12, 25);
    for (int far = 0; far < 2; far++) {
        for (size_t i = 0; i < N * DIM; i++)
            x[i] *= i / DIM % 600 != 7 ? 1 : far && !strstr(searched[_i], "f16") ? 1e5f : 10;
        for (int trained = 0; trained < 2; trained++) { /* on those too, or not */
            ann_index *ix = make(searched[_i], 2);
            ok(ann_train(ix, trained ? view(x, 0, N) : view(x, 100, 400)));
            ok(ann_add(ix, view(x, 0, N), NULL));
            ok(ann_check(ix, ANN_CHECK_REACHABLE));
            const double found = graph_recall(ix, q, NQ, K, 50);
            ck_assert_msg(far || found > 0.9, "%s, trained %d: recall %g", searched[_i], trained,
                          found);
            check_distances(ix, x, q);
            ann_close(ix);
        }
    }
    free(x);
    free(q);
}
END_TEST

/* ---- the same by any threads ---- */

static void *saved(ann_index *ix, size_t *n)
{
    char path[64];
    snprintf(path, sizeof path, "ivfpq_%ld.kith", (long)getpid());
    ok(ann_save(ix, path));
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    fseek(f, 0, SEEK_END);
    *n = (size_t)ftell(f);
    rewind(f);
    void *bytes = malloc(*n);
    ck_assert_uint_eq(fread(bytes, 1, *n, f), *n);
    fclose(f);
    unlink(path);
    return bytes;
}

/* A life of an index: all at once, portions, updates, removals, slots used again. */
static void *live(const char *spec, const float *x, unsigned threads, size_t *n)
{
    ann_index *ix = make(spec, threads);
    ann_id ids[400];
    ok(ann_train(ix, view(x, 0, 2000)));
    ok(ann_add(ix, view(x, 0, 1000), NULL));
    for (size_t i = 1000; i < N; i += 250)
        ok(ann_add(ix, view(x, i, 250), NULL));
    for (size_t i = 0; i < 400; i++)
        ids[i] = i * 3;
    ok(ann_update(ix, view(x, 7, 400), ids));
    for (size_t i = 0; i < 400; i++)
        ids[i] = i * 2;
    ok(ann_remove(ix, 400, ids, NULL));
    for (size_t i = 0; i < 100; i++)
        ids[i] = 9000 - i;
    ok(ann_add(ix, view(x, 0, 100), ids));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    void *bytes = saved(ix, n);
    ann_close(ix);
    return bytes;
}

START_TEST(same_bytes)
{
    char spec[120];
    size_t n, other;
    float *x = graph_clusters(N, DIM, 12, 26);
    void *first = live(searched[_i], x, 1, &n);
    for (unsigned threads = 2; threads <= 3; threads++) {
        void *again = live(searched[_i], x, threads, &other);
        ck_assert_msg(n == other && memcmp(first, again, n) == 0, "%s: 1 and %u threads differ",
                      searched[_i], threads);
        free(again);
    }
    snprintf(spec, sizeof spec, "%s,seed=8", searched[_i]);
    void *seeded = live(spec, x, 1, &other);
    ck_assert(n != other || memcmp(first, seeded, n) != 0);
    free(seeded);
    free(first);
    free(x);
}
END_TEST

/* Saved, searched, saved: the same; and so it is by way of the file. */
START_TEST(saved_again)
{
    size_t n, other;
    char path[64];
    float *x = graph_clusters(N, DIM, 12, 27);
    ann_index *ix = filled(searched[_i], 2, x, N);
    for (ann_id id = 0; id < 200; id++)
        ok(ann_remove(ix, 1, &id, NULL));
    void *first = saved(ix, &n);
    ck_assert(graph_recall(ix, x, 10, K, 10) > 0);
    snprintf(path, sizeof path, "ivfpq_%ld_again.kith", (long)getpid());
    ok(ann_save(ix, path));
    for (int mode = ANN_OPEN_LOAD; mode <= ANN_OPEN_MAP; mode++) {
        ann_open_options o = ANN_OPEN_OPTIONS_INIT;
        ann_index *back = NULL;
        ann_id a[9 * K], b[9 * K];
        float da[9 * K], db[9 * K];
        o.mode = (ann_open_mode)mode;
        o.threads = 2;
        ok(ann_open(path, &o, &back));
        const ann_info i = info_of(ix), j = info_of(back);
        ck_assert(i.nlist == j.nlist && i.pq_m == j.pq_m && i.pq_bits == j.pq_bits &&
                  i.pq_of == j.pq_of && i.rotation == j.rotation && i.trained == j.trained &&
                  i.entries == j.entries && i.largest_list == j.largest_list &&
                  i.trained_error == j.trained_error && i.added_error == j.added_error &&
                  i.codes == j.codes && i.profile == j.profile && i.count == j.count);
        ok(ann_search(ix, view(x, 300, 9), NULL, a, da));
        ok(ann_search(back, view(x, 300, 9), NULL, b, db));
        ck_assert(memcmp(a, b, sizeof a) == 0 && memcmp(da, db, sizeof da) == 0);
        void *again = saved(back, &other);
        ck_assert(n == other && memcmp(first, again, n) == 0);
        free(again);
        ok(ann_check(back, ANN_CHECK_REACHABLE));
        ok(ann_add(back, view(x, 0, 500), NULL)); /* and it goes on */
        ok(ann_update(back, view(x, 0, 1), (ann_id[]){500}));
        ok(ann_check(back, ANN_CHECK_REACHABLE));
        ok(ann_compact(back));
        ok(ann_check(back, ANN_CHECK_REACHABLE));
        ck_assert(graph_recall(back, x, 20, K, 50) > 0.97);
        ann_close(back);
    }
    unlink(path);
    ann_close(ix);
    free(first);
    free(x);
}
END_TEST

/* ---- what searching stands on ---- */

static int key_order_of(const void *pa, const void *pb)
{
    const search_key a = *(const search_key *)pa, b = *(const search_key *)pb;
    return a < b ? -1 : a > b;
}

/* Against sorting: any number, with many equal distances. */
START_TEST(reservoir)
{
    enum { MOST = 2000 };
    static search_key keys[MOST], all[MOST];
    static const size_t wants[] = {0, 1, 2, 3, 10, 63, 64, 65, 500, MOST - 1, MOST, MOST + 1};
    uint64_t state = 5;
    for (int turn = 0; turn < 120; turn++) {
        const size_t n = turn < 3 ? (size_t)turn : 1 + rng_below(&state, MOST);
        const size_t want = wants[rng_below(&state, sizeof wants / sizeof *wants)];
        const uint64_t values = turn % 4 == 0 ? 1 : turn % 4 == 1 ? 4 : 100000;
        search_key *room = malloc(reservoir_room(want) * sizeof *room);
        struct reservoir r;
        reservoir_open(&r, room, want);
        size_t added = 0;
        for (size_t i = 0; i < n; i++) {
            const size_t j = turn % 5 == 0 ? i : turn % 5 == 1 ? n - i : rng_below(&state, values);
            const float dist = (float)j - (turn % 2 ? 50.0f : 0);
            keys[i] = key_make(dist, turn % 3 ? (uint32_t)i : 7);
            if (dist > r.limit) /* as a scan leaves out */
                continue;
            reservoir_add(&r, keys[i]);
            added++;
        }
        reservoir_cut(&r);
        const size_t least = least_of(want, n);
        ck_assert_msg(r.n == least && added >= least, "%zu of %zu, want %zu", r.n, n, want);
        qsort(room, r.n, sizeof *room, key_order_of);
        memcpy(all, keys, n * sizeof *keys);
        qsort(all, n, sizeof *all, key_order_of);
        /* Ties at the end may be any of the equal. */
        for (size_t i = 0; i < r.n; i++)
            ck_assert(key_dist(room[i]) == key_dist(all[i]));
        ck_assert(r.n < want || want == 0 ? isinf(r.limit) : r.limit == key_dist(all[want - 1]));
        if (want > 0 && want < n) {
            memcpy(all, keys, n * sizeof *keys);
            reservoir_select(all, n, want);
            search_key most = 0;
            for (size_t i = 0; i < want; i++)
                most = all[i] > most ? all[i] : most;
            for (size_t i = want; i < n; i++)
                ck_assert(all[i] >= most);
        }
        free(room);
    }
}
END_TEST

/* All lists, in portions of any size, come in the order of their distances. */
START_TEST(coarse)
{
    float *x = graph_clusters(N, DIM, 30, 28), *q = graph_clusters(NQ, DIM, 30, 29);
    ann_index *ix = filled("ivfpq,nlist=300,rotation=random", 2, x, N);
    const struct ivfpq *h = ix->state;
    uint64_t state = 9;
    float *y = malloc(h->dim * sizeof *y), *room = malloc(h->dim * sizeof *room);
    float *dists = malloc(h->nlist * sizeof *dists), *whole = malloc(h->nlist * sizeof *kept);
    void *desk = malloc(ivf_coarse_desk(h));
    struct ivf_probe *out = malloc(h->nlist * sizeof *out);
    search_key *sorted = malloc(h->nlist * sizeof *sorted);
    for (size_t i = 0; i < NQ; i++) {
        double scale, shift, off = 0, length = 0;
        ivf_space_query(h, q + i * DIM, y, room, &scale, &shift);
        ivf_coarse_open(h, y, desk, dists);
        memcpy(whole, dists, h->nlist * sizeof *dists);
        for (uint32_t l = 0; l < h->nlist; l++) {
            const float *c = (const float *)h->centroids.data + (size_t)l * h->dim;
            const double want = oracle_distance(ANN_L2, y, c, h->dim);
            off += fabs(want - (double)dists[l]);
            length += want;
            sorted[l] = key_make(dists[l], l);
        }
        ck_assert_msg(off < 0.05 * length, "distances are off by %g", off / length);
        qsort(sorted, h->nlist, sizeof *sorted, key_order_of);
        size_t at = 0;
        while (at < h->nlist) {
            const size_t most = rng_below(&state, 40);
            /* Now and then only what is nearer than some list that is yet to come. */
            const bool bounded = rng_below(&state, 3) == 0;
            const size_t up_to = at + rng_below(&state, h->nlist - at);
            const float bound = bounded ? key_dist(sorted[up_to]) : INFINITY;
            const size_t n = ivf_coarse_next(h, dists, bound, most, desk, out);
            ck_assert_uint_le(n, most);
            for (size_t j = 0; j < n; j++, at++) {
                ck_assert(out[j].dist == key_dist(sorted[at]) && out[j].dist <= bound);
                ck_assert(whole[out[j].list] == out[j].dist && isinf(dists[out[j].list]));
            }
            ck_assert(n == most || at == h->nlist || key_dist(sorted[at]) >= bound);
        }
        ck_assert_uint_eq(ivf_coarse_next(h, dists, INFINITY, h->nlist, desk, out), 0);
    }
    free(y);
    free(room);
    free(dists);
    free(whole);
    free(desk);
    free(out);
    free(sorted);
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

/* What an effort means: more of it is never less. */
START_TEST(stops)
{
    float *x = graph_clusters(N, DIM, 12, 30);
    ann_index *ix = filled("ivfpq,nlist=100", 1, x, N);
    const struct ivfpq *h = ix->state;
    ck_assert_uint_eq(h->stops_entries, N);
    for (double lists = 0.5; lists < 3000; lists *= 1.1)
        ck_assert(ivf_gamma(h, lists) <= ivf_gamma(h, 1.1 * lists) && ivf_gamma(h, lists) >= 0 &&
                  isfinite(ivf_gamma(h, lists)));
    double before = 0;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    for (p.effort = 1; p.effort <= 128; p.effort *= 2) {
        ann_search_stats stats = {0};
        ann_id ids[NQ * K];
        p.stats = &stats;
        ok(ann_search(ix, view(x, 0, NQ), &p, ids, NULL));
        ck_assert(stats.queries == NQ && (double)stats.hops >= before);
        before = (double)stats.hops;
    }
    ann_close(ix);
    free(x);
}
END_TEST

/* Without Check, which reports only from its own runs. */
static int build(const char *path, const char *spec)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    float *x = graph_clusters(N, DIM, 12, 31);
    o.dim = DIM;
    o.threads = 2;
    const bool done = !ann_options_parse(&o, spec) && !ann_create(&o, &ix) &&
                      !ann_train(ix, view(x, 0, 1000)) && !ann_add(ix, view(x, 0, 100), NULL) &&
                      !ann_add(ix, view(x, 100, N - 100), NULL) && !ann_save(ix, path);
    if (!done)
        fprintf(stderr, "%s\n", ann_error_message());
    ann_close(ix);
    free(x);
    return !done;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--build") == 0)
        return build(argv[2], argv[3]);
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
    tcase_add_loop_test(c, filters, 0, 4);
    tcase_add_test(c, filters_of_codes_alone);
    tcase_add_loop_test(c, batches, 0, SEARCHED);
    tcase_add_loop_test(c, more_than_there_are, 0, SEARCHED);
    tcase_add_loop_test(c, ranges_and_iterators, 0, SEARCHED);
    tcase_add_loop_test(c, far_away, 0, SEARCHED);
    tcase_add_loop_test(c, outliers, 0, SEARCHED);
    tcase_add_loop_test(c, same_bytes, 0, SEARCHED);
    tcase_add_loop_test(c, saved_again, 0, SEARCHED);
    tcase_add_test(c, reservoir);
    tcase_add_test(c, coarse);
    tcase_add_test(c, stops);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
