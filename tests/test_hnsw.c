/* test_hnsw.c - the graph finds what is near, however it came about.
 *
 * Floors of recall for each metric and path; after each step ann_check walks the whole graph.
 * The floors are below what the graph reaches and above what a broken one does. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/rng.h"
#include "tests/graph_data.h"

#define DIM 24
#define K 10
#define QUERIES 200

static float *queries;

static void setup(void)
{
    queries = graph_clusters(QUERIES, DIM, 30, 77);
}

static void teardown(void)
{
    free(queries);
}

static ann_view view_of(const float *x, size_t n)
{
    return (ann_view){x, n, 0, ANN_F32};
}

static void assert_good(ann_index *ix, double floor, const char *when)
{
    ck_assert_msg(ann_check(ix, ANN_CHECK_REACHABLE) == ANN_OK, "%s: %s", when,
                  ann_error_message());
    const double recall = graph_recall(ix, queries, QUERIES, K, 100);
    if (getenv("KITH_TEST_SHOW"))
        fprintf(stderr, "%s: %.4f\n", when, recall);
    ck_assert_msg(recall >= floor, "%s: recall %.4f below %.3f", when, recall, floor);
}

/* ---- paths ---- */

static const struct path_case {
    ann_metric metric;
    ann_dtype store;
    double floor;
} cases[] = {
    {ANN_L2, ANN_F32, 0.985}, {ANN_IP, ANN_F32, 0.95},      {ANN_COSINE, ANN_F32, 0.98},
    {ANN_L2, ANN_F16, 0.985}, {ANN_COSINE, ANN_BF16, 0.98},
};
#define CASES 5
#define N 1600

static ann_index *case_index(int i, unsigned threads)
{
    return graph_index(ANN_HNSW, cases[i].metric, cases[i].store, DIM, threads);
}

START_TEST(recall_serial_and_parallel)
{
    float *x = graph_clusters(N, DIM, 30, 5);
    for (unsigned threads = 1; threads <= 4; threads += 3) {
        ann_index *ix = case_index(_i, threads);
        ok(ann_add(ix, view_of(x, N), NULL));
        assert_good(ix, cases[_i].floor, threads == 1 ? "serial" : "parallel");
        ann_close(ix);
    }
    free(x);
}
END_TEST

START_TEST(recall_incremental)
{
    float *x = graph_clusters(N, DIM, 30, 6);
    static const size_t steps[] = {1, 77, 700};
    for (int s = _i < 3 ? 0 : 1; s < 3; s++) {
        ann_index *ix =
            case_index(_i, s == 0 ? 1 : 2); /* one by one has nothing to share out */
        for (size_t i = 0; i < N; i += steps[s]) {
            const size_t n = N - i < steps[s] ? N - i : steps[s];
            ok(ann_add(ix, view_of(x + i * DIM, n), NULL));
            if (i / steps[s] == 50 / steps[s])
                ok(ann_check(ix, ANN_CHECK_REACHABLE));
        }
        assert_good(ix, cases[_i].floor, s == 0 ? "one by one" : s == 1 ? "by 77" : "by 700");
        ann_close(ix);
    }
    free(x);
}
END_TEST

static char *temporary(void)
{
    char *path = malloc(64);
    snprintf(path, 64, "hnsw_test_%ld.kith", (long)getpid());
    return path;
}

/* Saves ix and looks at it both ways of opening; the last one is left in *ix, and changes. */
static void reopen(ann_index **ix, double floor)
{
    char *path = temporary();
    ok(ann_save(*ix, path));
    for (int mode = ANN_OPEN_LOAD; mode <= ANN_OPEN_MAP; mode++) {
        ann_open_options o = ANN_OPEN_OPTIONS_INIT;
        o.mode = (ann_open_mode)mode;
        o.threads = 2;
        ann_close(*ix);
        *ix = NULL;
        ok(ann_open(path, &o, ix));
        assert_good(*ix, floor, mode ? "mapped" : "loaded");
    }
    unlink(path);
    free(path);
}

START_TEST(recall_after_removal_churn_reopening_compaction)
{
    const double floor = cases[_i].floor - 0.01;
    float *x = graph_clusters(2 * N, DIM, 30, 7);
    ann_index *ix = case_index(_i, 2);
    ann_id *ids = malloc(N * sizeof *ids);
    uint64_t state = 3;
    ok(ann_add(ix, view_of(x, N), NULL));
    for (size_t i = 0; i < N; i += 2) { /* half, in uneven portions */
        size_t n = 0, removed = 0;
        const size_t want = 1 + rng_below(&state, 200);
        for (; n < want && i < N; i += 2)
            ids[n++] = i;
        i -= 2;
        ok(ann_remove(ix, n, ids, &removed));
        ck_assert_uint_eq(removed, n);
    }
    assert_good(ix, floor, "half removed");
    reopen(&ix, floor);
    for (size_t i = 0; i < N; i++)
        ck_assert_int_eq(ann_contains(ix, i), (int)(i % 2));
    for (size_t i = 0; i < N / 2; i++)
        ids[i] = 2 * i;
    ok(ann_add(ix, view_of(x + N * DIM, N / 2), ids)); /* into the slots that are free */
    assert_good(ix, floor, "filled up again");
    for (size_t done = 0; done < N / 2;) { /* churn: half the vectors get others */
        const size_t n = 1 + rng_below(&state, 100);
        for (size_t i = 0; i < n; i++)
            ids[i] = (done + i) % N;
        ok(ann_update(ix, view_of(x + (N + done) * DIM, n < N - done ? n : N - done), ids));
        done += n;
    }
    assert_good(ix, floor, "churned");
    for (size_t i = 0; i < N; i += 3)
        ids[i / 3] = i;
    ok(ann_remove(ix, N / 3, ids, NULL));
    ok(ann_compact(ix));
    ann_info info = {.size = ANN_INFO_SIZE};
    ok(ann_index_info(ix, &info));
    ck_assert(info.count == N - N / 3 && info.slots == info.count && info.removed == 0);
    assert_good(ix, floor, "compacted");
    reopen(&ix, floor);
    ok(ann_remove(ix, 1, (ann_id[]){1}, NULL)); /* a mapped one is copied and changes */
    assert_good(ix, floor, "changed after mapping");
    ann_close(ix);
    free(ids);
    free(x);
}
END_TEST

/* ---- data that break graphs ---- */

/* Each vector asked for by its own value is found at no distance. */
static void assert_self_found(const ann_index *ix, const float *x, size_t n)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id *ids = malloc(n * sizeof *ids);
    float *dists = malloc(n * sizeof *dists);
    size_t missed = 0;
    p.k = 1;
    p.effort = 64;
    ok(ann_search(ix, view_of(x, n), &p, ids, dists));
    for (size_t i = 0; i < n; i++)
        missed += dists[i] > 1e-5f;
    ck_assert_msg(missed * 200 <= n, "%zu of %zu vectors do not find themselves", missed, n);
    free(ids);
    free(dists);
}

/* How the second half comes from the first: a copy each; few with many copies; the last alone.
 */
START_TEST(half_are_duplicates)
{
    const size_t n = 2000;
    float *x = graph_clusters(n, DIM, 30, 8);
    uint64_t state = 1;
    for (size_t i = n / 2; i < n; i++) {
        const size_t of = _i == 0 ? i - n / 2 : _i == 1 ? rng_below(&state, 10) : 0;
        memcpy(x + i * DIM, x + of * DIM, DIM * sizeof *x);
    }
    for (size_t step = n; step >= 1; step = step == n ? 50 : 0) {
        ann_index *ix = graph_index(ANN_HNSW, ANN_L2, ANN_F32, DIM, 2);
        for (size_t i = 0; i < n; i += step)
            ok(ann_add(ix, view_of(x + i * DIM, step), NULL));
        assert_good(ix, 0.99, "duplicates");
        assert_self_found(ix, x, n);
        ann_id *ids = malloc(n * sizeof *ids);
        for (size_t i = 0; i < n / 2; i++)
            ids[i] = 2 * i;
        ok(ann_remove(ix, n / 2, ids, NULL));
        assert_good(ix, 0.98, "duplicates, half removed");
        free(ids);
        ann_close(ix);
        if (step != n)
            break;
    }
    free(x);
}
END_TEST

START_TEST(all_identical)
{
    const size_t n = 2000;
    float *x = malloc(n * DIM * sizeof *x), dists[50];
    ann_id ids[50];
    for (size_t i = 0; i < n * DIM; i++)
        x[i] = 1.0f + (float)(i % DIM);
    ann_index *ix = graph_index(ANN_HNSW, _i ? ANN_COSINE : ANN_L2, ANN_F32, DIM, 2);
    ok(ann_add(ix, view_of(x, n), NULL));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.k = 50;
    ok(ann_search(ix, view_of(x, 1), &p, ids, dists));
    graph_check_row(ids, dists, 50, 50);
    ck_assert(dists[49] < 1e-5f);
    for (size_t i = 0; i < n; i += 3)
        ok(ann_remove(ix, 1, (ann_id[]){i}, NULL));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    ok(ann_search(ix, view_of(x, 1), &p, ids, dists));
    graph_check_row(ids, dists, 50, 50);
    for (size_t i = 0; i < 50; i++)
        ck_assert(ids[i] % 3 != 0);
    ann_close(ix);
    free(x);
}
END_TEST

static int by_first(const void *pa, const void *pb)
{
    const float a = *(const float *)pa, b = *(const float *)pb;
    return (a > b) - (a < b);
}

/* Sorted along an axis; cluster after cluster; far clusters; a line. */
START_TEST(order_of_input)
{
    const size_t n = 3000;
    float *x = graph_clusters(n, DIM, _i == 2 ? 10 : 30, 9);
    if (_i == 0)
        qsort(x, n, DIM * sizeof *x, by_first);
    else if (_i <= 2)
        for (size_t i = 0; i < n; i++) { /* a cluster is made of neighbours in the input */
            uint64_t centre = 1000 + i / (n / 10), state = i;
            for (size_t j = 0; j < DIM; j++)
                x[i * DIM + j] = (_i == 2 ? 100.0f : 3.0f) * (float)rng_unit(&centre) +
                                 (float)rng_unit(&state);
        }
    else
        for (size_t i = 0; i < n * DIM; i++)
            x[i] = (float)(i / DIM) * 0.01f;
    ann_index *ix = graph_index(ANN_HNSW, ANN_L2, ANN_F32, DIM, 2);
    ok(ann_add(ix, view_of(x, n), NULL));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    const double recall = graph_recall(ix, x, 500, K, 100);
    /* Clusters a hundred times as far apart as they are wide: codes hardly tell their vectors apart. */
    ck_assert_msg(recall >= (_i == 2 ? 0.8 : 0.97), "recall %.4f", recall);
    assert_self_found(ix, x, n);
    ann_close(ix);
    free(x);
}
END_TEST

/* Rows of profile fast follow adds, removals, the file (loaded and mapped) and compaction. */
START_TEST(rows_follow_changes)
{
    const size_t n = 3000, half = n / 2;
    float *x = graph_clusters(n, DIM, 30, 12), dists[K];
    ann_options o = ANN_OPTIONS_INIT;
    o.dim = DIM;
    o.kind = ANN_HNSW;
    o.profile = ANN_PROFILE_FAST;
    o.codes = (ann_codes)(ANN_CODES_1BIT + _i);
    o.m = 16;
    o.threads = 2;
    ann_index *ix;
    ok(ann_create(&o, &ix));
    ok(ann_add(ix, view_of(x, half), NULL));
    for (size_t i = half; i < n; i += 100)
        ok(ann_add(ix, view_of(x + i * DIM, 100), NULL));
    for (size_t i = 0; i < n; i += 3)
        ok(ann_remove(ix, 1, (ann_id[]){i}, NULL));
    char *path = temporary();
    ok(ann_save(ix, path)); /* sweeps */
    for (int how = 0; how < 4; how++) {
        if (how == 3)
            ok(ann_compact(ix));
        else if (how > 0) {
            ann_open_options p = ANN_OPEN_OPTIONS_INIT;
            p.mode = how == 1 ? ANN_OPEN_LOAD : ANN_OPEN_MAP;
            ann_close(ix);
            ok(ann_open(path, &p, &ix));
        }
        ann_search_params p = ANN_SEARCH_PARAMS_INIT;
        size_t found = 0;
        for (size_t i = 0; i < n; i++) {
            ann_id ids[K];
            p.k = K;
            ok(ann_search(ix, view_of(x + i * DIM, 1), &p, ids, dists));
            graph_check_row(ids, dists, K, K);
            for (size_t j = 0; j < K; j++)
                ck_assert(ids[j] % 3 != 0);
            found += ids[0] == i;
        }
        ck_assert_msg(found > (n - n / 3) * 97 / 100, "%zu found themselves", found);
    }
    unlink(path);
    free(path);
    ann_close(ix);
    free(x);
}
END_TEST

START_TEST(rows_are_full)
{
    float *x = graph_clusters(N, DIM, 30, 10);
    ann_index *ix = graph_index(ANN_HNSW, ANN_L2, ANN_F32, DIM, 2);
    ok(ann_add(ix, view_of(x, N), NULL));
    char *path = temporary();
    ok(ann_save(ix, path));
    ann_section_info s;
    uint32_t i = 0;
    do
        ok(ann_file_section(path, i++, &s));
    while (strcmp(s.name, "links") != 0);
    ck_assert_uint_eq(s.bytes, N * 16 * sizeof(uint32_t));
    uint32_t *links = malloc(s.bytes);
    FILE *f = fopen(path, "rb");
    ck_assert(f && fseek(f, (long)s.offset, SEEK_SET) == 0);
    ck_assert_uint_eq(fread(links, 1, s.bytes, f), s.bytes);
    fclose(f);
    size_t full = 0;
    for (size_t r = 0; r < N; r++)
        full += links[r * 16 + 15] != UINT32_MAX;
    ck_assert_msg(full > N - N / 100, "%zu of %d rows are full", full, N);
    free(links);
    unlink(path);
    free(path);
    ann_close(ix);
    free(x);
}
END_TEST

/* ---- filters ---- */

struct passing {
    const float *x;
    uint64_t of, to; /* passes: hash % of < to, or ordered by place in space */
    bool correlated;
    float limit;
};

static int passes(void *arg, ann_id id)
{
    const struct passing *p = arg;
    return p->correlated ? p->x[id * DIM] < p->limit : rng_mix(id + 1) % p->of < p->to;
}

static bool passes_oracle(void *arg, ann_id id)
{
    return passes(arg, id) != 0;
}

START_TEST(filters_find_all_there_is)
{
    static const uint64_t per_mille[] = {500, 100, 10, 1, 999};
    const size_t n = 3000;
    float *x = graph_clusters(n, DIM, 30, 11), *sorted = malloc(n * sizeof *sorted);
    ann_index *ix = graph_index(ANN_HNSW, ANN_L2, ANN_F32, DIM, 2);
    ok(ann_add(ix, view_of(x, n), NULL));
    struct oracle *o = oracle_new(ANN_L2, DIM);
    for (size_t i = 0; i < n; i++) {
        oracle_put(o, i, x + i * DIM);
        sorted[i] = x[i * DIM];
    }
    qsort(sorted, n, sizeof *sorted, by_first);
    struct passing p = {x, 1000, per_mille[_i / 2], _i % 2,
                        sorted[n * per_mille[_i / 2] / 1000]};
    ann_filter *f = NULL;
    ok(ann_filter_from_callback(ix, passes, &p, &f));
    ann_search_params sp = ANN_SEARCH_PARAMS_INIT;
    sp.filter = f;
    double sum = 0;
    for (size_t q = 0; q < 30; q++) {
        ann_id ids[40];
        float dists[40];
        char why[200];
        size_t count;
        sp.k = q % 2 ? 40 : K;
        sp.effort = 100;
        struct oracle_near *truth =
            oracle_sorted(o, queries + q * DIM, passes_oracle, &p, &count);
        ck_assert_uint_eq(count, ann_filter_count(f));
        ok(ann_search(ix, view_of(queries + q * DIM, 1), &sp, ids, dists));
        const double share =
            oracle_compare(o, queries + q * DIM, truth, count, ids, dists, sp.k, why);
        ck_assert_msg(share >= 0, "%s", why);
        graph_check_row(ids, dists, sp.k, count < sp.k ? count : sp.k);
        for (size_t i = 0; i < sp.k && ids[i] != ANN_NO_ID; i++)
            ck_assert(passes(&p, ids[i]));
        sum += share;
        free(truth);
    }
    ck_assert_msg(sum / 30 >= 0.97, "recall %.4f", sum / 30);
    /* Removed since, updated since: not results. */
    ann_id gone[200];
    size_t count = 0;
    for (size_t i = 0; i < n && count < 200; i++)
        if (passes(&p, i))
            gone[count++] = i;
    ok(ann_update(ix, view_of(x, count / 2), gone));
    ok(ann_remove(ix, count - count / 2, gone + count / 2, NULL));
    ann_id *ids = malloc(n * sizeof *ids);
    float *dists = malloc(n * sizeof *dists);
    sp.k = n;
    ok(ann_search(ix, view_of(queries, 1), &sp, ids, dists));
    graph_check_row(ids, dists, ann_filter_count(f) - count + 5,
                    ann_filter_count(f) - count);
    free(ids);
    free(dists);
    ann_filter_close(f);
    oracle_free(o);
    ann_close(ix);
    free(sorted);
    free(x);
}
END_TEST

static const char *const walkers[] = {
    "hnsw,m=6,metric=l2",
    "hnsw,m=6,metric=cosine,codes=sq4",
    "hnsw,m=6,metric=ip,profile=fast",
    "hnsw,m=6,metric=l2,profile=fast,codes=1bit",
    "hnsw,m=6,metric=l2,codes=none",
};
#define WALKERS (int)(sizeof walkers / sizeof *walkers)

/* Of what passes a tenth is removed after the filter was made, or gets another vector: in o is
 * what stays. */
static void thin_out(ann_index *ix, const struct passing *p, size_t n, struct oracle *o)
{
    for (ann_id id = 0, count = 0; id < n; id++) {
        if (!passes((void *)(uintptr_t)p, id))
            continue;
        if (count % 20 == 3)
            ok(ann_remove(ix, 1, &id, NULL));
        else if (count % 20 == 13)
            ok(ann_update(ix, view_of(p->x + id * DIM, 1), &id));
        else
            oracle_put_stored(o, ix, id);
        count++;
    }
}

/* Where a quarter passes, by chance or all of one side, a search walks over what passes alone. */
START_TEST(filters_are_walked)
{
    const size_t n = 6500;
    float *x = graph_clusters(n, DIM, 30, 13), *sorted = malloc(n * sizeof *sorted);
    ann_options options = ANN_OPTIONS_INIT;
    ann_search_stats stats = {0};
    ann_search_params sp = ANN_SEARCH_PARAMS_INIT;
    ann_filter *f = NULL;
    ann_index *ix = NULL;
    options.dim = DIM;
    ok(ann_options_parse(&options, walkers[_i / 2]));
    ok(ann_create(&options, &ix));
    ok(ann_add(ix, view_of(x, n), NULL));
    for (size_t i = 0; i < n; i++)
        sorted[i] = x[i * DIM];
    qsort(sorted, n, sizeof *sorted, by_first);
    struct passing p = {x, 4, 1, _i % 2, sorted[n / 4]};
    ok(ann_filter_from_callback(ix, passes, &p, &f));
    struct oracle *o = oracle_new(options.metric, DIM);
    thin_out(ix, &p, n, o);
    sp.filter = f;
    sp.k = K;
    sp.effort = 20;
    sp.stats = &stats;
    double sum = 0;
    for (size_t q = 0; q < QUERIES; q++) {
        ann_id ids[K];
        float dists[K];
        char why[200];
        size_t count;
        struct oracle_near *truth = oracle_sorted(o, queries + q * DIM, NULL, NULL, &count);
        ok(ann_search(ix, view_of(queries + q * DIM, 1), &sp, ids, dists));
        const double share =
            oracle_compare(o, queries + q * DIM, truth, count, ids, dists, K, why);
        ck_assert_msg(share >= 0, "%s", why);
        sum += share;
        free(truth);
    }
    if (getenv("KITH_TEST_SHOW"))
        fprintf(stderr, "%s, filter %d: %.4f, %d scans, %d distances\n", walkers[_i / 2],
                _i % 2, sum / QUERIES, (int)stats.exact, (int)(stats.distances / QUERIES));
    ck_assert_msg(stats.exact < QUERIES / 20, "%d scans", (int)stats.exact);
    ck_assert_msg(sum / QUERIES >= 0.9, "%s: recall %.4f", walkers[_i / 2], sum / QUERIES);
    ann_filter_close(f);
    oracle_free(o);
    ann_close(ix);
    free(sorted);
    free(x);
}
END_TEST

static const char *const scanned[] = {"hnsw,m=6,metric=l2", "hnsw,m=6,metric=l2,profile=fast"};

/* Of what passes a third goes, and new vectors, copies of the queries, take the slots: in o is what
 * stays of x [n]. */
static void replace_third(ann_index *ix, const struct passing *p, size_t n, struct oracle *o)
{
    size_t count = 0, gone = 0;
    for (ann_id id = 0; id < n; id++) {
        if (passes((void *)(uintptr_t)p, id) && count++ % 3 == 0) {
            ok(ann_remove(ix, 1, &id, NULL));
            gone++;
        } else {
            oracle_put(o, id, p->x + id * DIM);
        }
    }
    ok(ann_add(ix, view_of(p->x, gone), NULL));
}

/* A tenth passes, and is scanned.  In a crowd more of it is as near as codes tell than the scan has
 * room for: a tenth of all, far away, makes codes coarse, and the others lie within a step of
 * them.  Results are exact. */
START_TEST(filters_are_scanned)
{
    const size_t n = 3000;
    const bool crowd = _i % 2;
    float *x = graph_clusters(n, DIM, 30, 17);
    ann_search_stats stats = {0};
    ann_search_params sp = ANN_SEARCH_PARAMS_INIT;
    ann_filter *f = NULL;
    ann_index *ix = NULL;
    ann_options options = ANN_OPTIONS_INIT;
    options.dim = DIM;
    ok(ann_options_parse(&options, scanned[_i / 2]));
    ok(ann_create(&options, &ix));
    struct oracle *o = oracle_new(ANN_L2, DIM);
    for (size_t i = 0; i < n * DIM && crowd; i++)
        x[i] *= i / DIM % 10 == 0 ? 100 : 0.01F;
    ok(ann_add(ix, view_of(x, n), NULL));
    struct passing p = {x, 10, 1, false, 0};
    ok(ann_filter_from_callback(ix, passes, &p, &f));
    replace_third(ix, &p, n, o);
    sp.filter = f;
    sp.k = K;
    sp.effort = K;
    sp.stats = &stats;
    for (size_t q = 1; q < 90; q += 3) {
        ann_id ids[K];
        float dists[K];
        char why[200];
        size_t count;
        struct oracle_near *truth = oracle_sorted(o, x + q * DIM, passes_oracle, &p, &count);
        ok(ann_search(ix, view_of(x + q * DIM, 1), &sp, ids, dists));
        const double share = oracle_compare(o, x + q * DIM, truth, count, ids, dists, K, why);
        ck_assert_msg(share >= 1, "%s: %.2f", why, share);
        free(truth);
    }
    ck_assert_uint_eq(stats.exact, 30);
    /* By codes alone, or then by vectors too. */
    ck_assert((stats.distances > 30 * 350) == crowd);
    ann_filter_close(f);
    oracle_free(o);
    ann_close(ix);
    free(x);
}
END_TEST

START_TEST(filter_from_ids)
{
    float *x = graph_clusters(N, DIM, 30, 12), dists[K];
    ann_index *ix = graph_index(ANN_HNSW, ANN_L2, ANN_F32, DIM, 2);
    ok(ann_add(ix, view_of(x, N), NULL));
    const ann_id some[] = {5, N - 1, 17, 5, 123456, ANN_NO_ID - 1, 0};
    ann_id ids[K];
    ann_filter *f = NULL;
    ok(ann_filter_from_ids(ix, 7, some, &f));
    ck_assert_uint_eq(ann_filter_count(f), 4);
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.filter = f;
    ok(ann_search(ix, view_of(queries, 1), &p, ids, dists));
    graph_check_row(ids, dists, K, 4);
    ok(ann_remove(ix, 1, some, NULL));
    ok(ann_add(ix, view_of(x, 1), (ann_id[]){5})); /* the same id, but later */
    ok(ann_search(ix, view_of(queries, 1), &p, ids, dists));
    graph_check_row(ids, dists, K, 3);
    ok(ann_remove(ix, 1, (ann_id[]){7}, NULL));
    ok(ann_compact(ix));
    ck_assert_int_eq(ann_search(ix, view_of(queries, 1), &p, ids, dists), ANN_ESTALE);
    ann_filter_close(f);
    ok(ann_filter_from_ids(ix, 0, NULL, &f));
    p.filter = f;
    ok(ann_search(ix, view_of(queries, 1), &p, ids, dists));
    graph_check_row(ids, dists, K, 0);
    ann_filter_close(f);
    ann_close(ix);
    free(x);
}
END_TEST

/* ---- searches that grow ---- */

static ann_index *grown_index(float **x, ann_kind kind, ann_metric metric)
{
    *x = graph_clusters(N, DIM, 30, 13);
    ann_index *ix = graph_index(kind, metric, ANN_F32, DIM, 2);
    ok(ann_add(ix, view_of(*x, N), NULL));
    for (ann_id i = 0; i < 40; i++)
        ok(ann_remove(ix, 1, &(ann_id){i * 7}, NULL));
    return ix;
}

START_TEST(range_is_complete)
{
    static const ann_metric metrics[] = {ANN_L2, ANN_IP, ANN_COSINE};
    static const size_t wants[] = {1, 9, 100, 600, N - 40};
    float *x, *dists = malloc(N * sizeof *dists);
    ann_id *ids = malloc(N * sizeof *ids);
    for (int kind = ANN_FLAT; kind <= ANN_HNSW; kind++) {
        ann_index *ix = grown_index(&x, (ann_kind)kind, metrics[_i]);
        for (size_t q = 0; q < 25; q++) {
            ann_search_params p = ANN_SEARCH_PARAMS_INIT;
            ann_range_result r;
            p.k = N;
            ok(ann_search(ix, view_of(queries + q * DIM, 1), &p, ids, dists));
            /* The radius is a distance that was returned: that vector itself lies within. */
            const size_t want = wants[q % 5];
            const float radius = dists[want - 1];
            size_t exact = want;
            while (exact < N - 40 && dists[exact] <= radius)
                exact++;
            p.k = 0;
            p.effort = 64;
            ok(ann_search_range(ix, view_of(queries + q * DIM, 1), radius, &p, &r));
            ck_assert_uint_eq(r.offsets[0], 0);
            const size_t got = r.offsets[1];
            ck_assert_msg(got <= exact && (kind == ANN_FLAT ? got == exact
                                                            : 100 * got + 100 >= 98 * exact),
                          "%zu of %zu", got, exact);
            graph_check_row(r.ids, r.dists, got, got);
            for (size_t i = 0; i < got; i++)
                ck_assert(r.dists[i] <= radius);
            ann_range_free(&r);
        }
        ann_range_result none;
        ok(ann_search_range(ix, view_of(queries, 3), -INFINITY, NULL, &none));
        ck_assert_uint_eq(none.offsets[3], 0);
        ann_range_free(&none);
        ann_close(ix);
        free(x);
    }
    free(ids);
    free(dists);
}
END_TEST

START_TEST(iterator_gives_all_once)
{
    static const size_t steps[] = {1, 10, 333, 5000};
    float *x, *dists = malloc(N * sizeof *dists);
    ann_id *ids = malloc(N * sizeof *ids);
    ann_index *ix = grown_index(&x, _i ? ANN_HNSW : ANN_FLAT, ANN_L2);
    for (size_t s = 0; s < 4; s++) {
        ann_iter *it = NULL;
        size_t total = 0, got = 1, nearest = 0;
        unsigned char seen[N] = {0};
        ok(ann_iter_open(ix, queries + s * DIM, ANN_F32, NULL, &it));
        while (got > 0) {
            const size_t n = steps[s];
            ann_id step_ids[5000];
            float step_dists[5000];
            ok(ann_iter_next(it, n, step_ids, step_dists, &got));
            for (size_t i = 0; i < got; i++) {
                ck_assert(step_ids[i] < N && !seen[step_ids[i]]);
                ck_assert(step_ids[i] % 7 != 0 || step_ids[i] >= 280);
                seen[step_ids[i]] = 1;
                if (total < 100)
                    dists[total] = step_dists[i];
                total++;
            }
        }
        ck_assert_uint_eq(total, N - 40);
        ok(ann_iter_next(it, 1, ids, dists + 100, &got));
        ck_assert_uint_eq(got, 0);
        float near[100];
        ann_search_params p = ANN_SEARCH_PARAMS_INIT;
        p.k = 100;
        p.effort = N;
        ok(ann_search(ix, view_of(queries + s * DIM, 1), &p, ids, near));
        for (size_t i = 0; i < 100; i++)
            nearest += dists[i] <= near[99];
        ck_assert_msg(nearest >= (_i ? 90 : 100), "%zu of the nearest 100 first", nearest);
        ann_iter_close(it);
    }
    ann_close(ix);
    free(x);
    free(ids);
    free(dists);
}
END_TEST

/* Fewer than k, one, none; an entry that goes; everything removed and begun anew. */
START_TEST(few_vectors)
{
    float *x = graph_clusters(300, DIM, 30, 14), dists[K];
    ann_id ids[K];
    ann_index *ix = graph_index(ANN_HNSW, ANN_L2, ANN_F32, DIM, 2);
    for (int round = 0; round < 3; round++) {
        ok(ann_search(ix, view_of(queries, 1), NULL, ids, dists));
        graph_check_row(ids, dists, K, 0);
        for (size_t n = 1; n <= 40; n++) {
            ok(ann_add(ix, view_of(x + n * DIM, 1), (ann_id[]){1000 + n}));
            ok(ann_search(ix, view_of(queries, 1), NULL, ids, dists));
            graph_check_row(ids, dists, K, n < K ? n : K);
            ok(ann_check(ix, ANN_CHECK_REACHABLE));
        }
        for (size_t n = 1; n <= 40; n++) {
            ok(ann_remove(ix, 1, (ann_id[]){1000 + n}, NULL));
            ok(ann_search(ix, view_of(queries, 1), NULL, ids, dists));
            graph_check_row(ids, dists, K, 40 - n < K ? 40 - n : K);
            ok(ann_check(ix, ANN_CHECK_REACHABLE));
        }
        if (round == 1)
            ok(ann_compact(ix));
    }
    ann_close(ix);
    free(x);
}
END_TEST

/* A long life of small changes: sweeps, slots used again, entries that go. */
START_TEST(reachable_through_small_changes)
{
    const size_t n = 1200;
    float *x = graph_clusters(n, DIM, _i ? 3 : 30, 15);
    ann_index *ix = graph_index(ANN_HNSW, ANN_L2, ANN_F32, DIM, 2);
    uint64_t state = 100 + (uint64_t)_i;
    ok(ann_add(ix, view_of(x, n), NULL));
    for (int step = 0; step < 250; step++) {
        ann_id ids[64];
        const ann_id first = rng_below(&state, n);
        const size_t count = 1 + rng_below(&state, 40);
        for (size_t i = 0; i < count; i++)
            ids[i] = (first + i * 3) % n;
        if (step % 2)
            ok(ann_remove(ix, count, ids, NULL));
        else
            ok(ann_update(ix, view_of(x + rng_below(&state, n - 64) * DIM, count), ids));
        ck_assert_msg(ann_check(ix, ANN_CHECK_REACHABLE) == ANN_OK, "step %d: %s", step,
                      ann_error_message());
    }
    assert_good(ix, 0.96, "long life");
    ann_close(ix);
    free(x);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hnsw");
    TCase *c = tcase_create("paths");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_loop_test(c, recall_serial_and_parallel, 0, CASES);
    tcase_add_loop_test(c, recall_incremental, 0, CASES);
    tcase_add_loop_test(c, recall_after_removal_churn_reopening_compaction, 0, CASES);
    suite_add_tcase(suite, c);
    c = tcase_create("data");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_loop_test(c, half_are_duplicates, 0, 3);
    tcase_add_loop_test(c, all_identical, 0, 2);
    tcase_add_loop_test(c, order_of_input, 0, 4);
    tcase_add_test(c, rows_are_full);
    tcase_add_loop_test(c, rows_follow_changes, 0, 4);
    tcase_add_test(c, few_vectors);
    tcase_add_loop_test(c, reachable_through_small_changes, 0, 2);
    suite_add_tcase(suite, c);
    c = tcase_create("searches");
    tcase_add_checked_fixture(c, setup, teardown);
    tcase_add_loop_test(c, filters_find_all_there_is, 0, 10);
    tcase_add_loop_test(c, filters_are_walked, 0, 2 * WALKERS);
    tcase_add_loop_test(c, filters_are_scanned, 0, 4);
    tcase_add_test(c, filter_from_ids);
    tcase_add_loop_test(c, range_is_complete, 0, 3);
    tcase_add_loop_test(c, iterator_gives_all_once, 0, 2);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
