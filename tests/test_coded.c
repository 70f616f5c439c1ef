/* test_coded.c - indexes of vectors with codes, through the front door: growing, codes made
 * again, failing, files, and codes alone.  With --build PATH SPEC it builds an index for
 * coded_isa.sh, which compares instruction sets. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/rng.h"
#include "ann/hnsw/hnsw.h"
#include "ann/internal.h"
#include "tests/graph_data.h"

#define DIM 40
#define N   1200
#define NQ  50

static ann_index *make(const char *spec, unsigned threads)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    o.dim = DIM;
    o.ef_construction = 80;
    o.threads = threads;
    ok(ann_options_parse(&o, spec));
    ok(ann_create(&o, &ix));
    return ix;
}

static void add(ann_index *ix, const float *x, size_t first, size_t n)
{
    ok(ann_add(ix, (ann_view){x + first * DIM, n, 0, ANN_F32}, NULL));
}

/* Whether a row has the same ids as another, in any order: ids alone cost less and are as many. */
static bool same_ids(const ann_id *a, const ann_id *b, size_t k)
{
    for (size_t i = 0; i < k; i++) {
        size_t times = 0;
        for (size_t j = 0; j < k; j++)
            times += b[j] == a[i];
        if (times != 1)
            return false;
    }
    return true;
}

/* Share of the true k nearest of `queries` that ix finds, ids being row numbers of x [n]. */
static double recall(const ann_index *ix, const float *x, size_t n, const float *queries,
                     size_t effort)
{
    enum { K = 10 };
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id ids[NQ * K], alone[NQ * K];
    float dists[NQ * K];
    p.k = K;
    p.effort = effort;
    ok(ann_search(ix, (ann_view){queries, NQ, 0, ANN_F32}, &p, ids, dists));
    ok(ann_search(ix, (ann_view){queries, NQ, 0, ANN_F32}, &p, alone, NULL));
    size_t hits = 0;
    for (size_t q = 0; q < NQ; q++) {
        float truth[K];
        for (size_t i = 0; i < K; i++)
            truth[i] = INFINITY;
        const ann_metric m = ix->vec.metric;
        for (size_t i = 0; i < n; i++) {
            double d = oracle_distance(m, queries + q * DIM, x + i * DIM, DIM);
            for (size_t j = 0; j < K; j++)
                if (d < truth[j]) {
                    const double out = truth[j];
                    truth[j] = (float)d;
                    d = out;
                }
        }
        graph_check_row(ids + q * K, dists + q * K, K, K);
        ck_assert(same_ids(ids + q * K, alone + q * K, K));
        for (size_t j = 0; j < K; j++) {
            const double d =
                oracle_distance(m, queries + q * DIM, x + ids[q * K + j] * DIM, DIM);
            hits += d <= (double)truth[K - 1] + 1e-5 * fabs((double)truth[K - 1]);
        }
    }
    return (double)hits / (NQ * K);
}

static char *path_of(const char *name)
{
    static char path[80];
    snprintf(path, sizeof path, "coded_%ld_%s.kith", (long)getpid(), name);
    return path;
}

struct bytes {
    unsigned char *data;
    size_t n;
};

static struct bytes saved(ann_index *ix, bool keep)
{
    struct bytes b = {NULL, 0};
    const char *path = path_of("bytes");
    ok(ann_save(ix, path));
    FILE *f = fopen(path, "rb");
    ck_assert_ptr_nonnull(f);
    fseek(f, 0, SEEK_END);
    b.n = (size_t)ftell(f);
    rewind(f);
    b.data = malloc(b.n);
    ck_assert_uint_eq(fread(b.data, 1, b.n, f), b.n);
    fclose(f);
    if (!keep)
        unlink(path);
    return b;
}

static const struct {
    const char *spec;
    double least; /* recall at an effort of 100 */
} specs[] = {
    {"hnsw,metric=l2", 0.97},
    {"hnsw,metric=cosine", 0.97},
    {"hnsw,metric=ip", 0.95},
    {"hnsw,metric=l2,codes=sq4", 0.95},
    {"hnsw,metric=l2,store=f16", 0.97},
    {"hnsw,metric=cosine,store=bf16", 0.8},
    {"hnsw,metric=l2,profile=lean", 0.9},
    {"hnsw,metric=cosine,profile=lean", 0.9},
    {"hnsw,metric=ip,profile=lean", 0.85},
    {"hnsw,metric=l2,profile=lean,codes=sq4", 0.5},
    {"hnsw,metric=l2,profile=fast", 0.95},
    {"hnsw,metric=cosine,profile=fast,codes=4bit", 0.95},
    {"hnsw,metric=l2,codes=none", 0.97},
};
#define SPECS (int)(sizeof specs / sizeof *specs)

/* Vectors come in ones and more: the frame is learned again as they grow. */
START_TEST(growing)
{
    float *x = graph_clusters(N, DIM, 12, 3), *q = graph_clusters(NQ, DIM, 12, 4);
    ann_index *ix = make(specs[_i].spec, 2);
    size_t at = 0;
    uint32_t generation = 0;
    for (size_t n = 1; at < N; at += n, n = at < 30 ? 1 : at) {
        n = at + n > N ? N - at : n;
        add(ix, x, at, n);
        ck_assert(ix->vec.codes.generation >= generation);
        generation = ix->vec.codes.generation;
    }
    ck_assert(generation == 0 || (generation > 3 && generation < 12));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    const double got = recall(ix, x, N, q, 100);
    ck_assert_msg(got >= specs[_i].least, "%s: recall %g", specs[_i].spec, got);
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

/* A file holds codes as they are: the same answers after it, and the same bytes again. */
START_TEST(files)
{
    float *x = graph_clusters(N, DIM, 12, 5), *q = graph_clusters(NQ, DIM, 12, 6);
    ann_index *ix = make(specs[_i].spec, 2);
    for (int empty = 1; empty >= 0; empty--) {
        if (!empty)
            add(ix, x, 0, N);
        const struct bytes one = saved(ix, true);
        for (int mode = ANN_OPEN_LOAD; mode <= ANN_OPEN_MAP; mode++) {
            ann_open_options o = ANN_OPEN_OPTIONS_INIT;
            ann_index *back = NULL;
            o.mode = (ann_open_mode)mode;
            ok(ann_open(path_of("bytes"), &o, &back));
            ann_info a = {.size = ANN_INFO_SIZE}, b = {.size = ANN_INFO_SIZE};
            ok(ann_index_info(ix, &a));
            ok(ann_index_info(back, &b));
            ck_assert(a.profile == b.profile && a.codes == b.codes && a.store == b.store &&
                      a.code_bytes == b.code_bytes && a.m == b.m && a.degree == b.degree);
            ok(ann_check(back, ANN_CHECK_REACHABLE));
            if (!empty)
                ck_assert(recall(back, x, N, q, 60) == recall(ix, x, N, q, 60));
            const struct bytes two = saved(back, true);
            ck_assert(one.n == two.n && memcmp(one.data, two.data, one.n) == 0);
            free(two.data);
            add(back, x, 0, empty ? N : 10); /* and it goes on */
            ok(ann_check(back, ANN_CHECK_REACHABLE));
            ann_close(back);
        }
        free(one.data);
    }
    unlink(path_of("bytes"));
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

/* k of the nearest by no more hops than they are, and without a look at every vector; recall. */
static double find_many(ann_index *ix, const float *q, size_t effort, const ann_filter *filter)
{
    enum { K = 100 };
    ann_recall_report r = ANN_RECALL_REPORT_INIT;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_search_stats stats = {0};
    ann_id *ids = malloc(NQ * K * sizeof *ids);
    float *dists = malloc(NQ * K * sizeof *dists);
    p.k = K;
    p.effort = effort;
    p.filter = filter;
    ok(ann_recall(ix, (ann_view){q, NQ, 0, ANN_F32}, &p, &r));
    p.stats = &stats;
    ok(ann_search(ix, (ann_view){q, NQ, 0, ANN_F32}, &p, ids, dists));
    for (size_t j = 0; j < NQ; j++)
        graph_check_row(ids + j * K, dists + j * K, K, K);
    ck_assert_msg(stats.exact == 0, "effort %zu: %u scans", effort, (unsigned)stats.exact);
    ck_assert_msg(effort > K / 2 || filter || stats.hops < NQ * K, "effort %zu: %g hops", effort,
                  (double)stats.hops / NQ);
    free(ids);
    free(dists);
    return r.recall;
}

/* In rows an effort may be less than k, the more the better, with half of the vectors removed
 * too, and with a filter. */
START_TEST(many_in_rows)
{
    enum { MANY = 18000 };
    float *x = graph_clusters(MANY, DIM, 30, 21), *q = graph_clusters(NQ, DIM, 30, 22);
    ann_index *ix = make("hnsw,metric=l2,profile=fast", 2);
    ann_id *ids = malloc(MANY * sizeof *ids);
    ann_filter *filter;
    add(ix, x, 0, MANY);
    for (size_t i = 0; i < MANY; i++)
        ids[i] = i < MANY / 2 ? 2 * i : 2 * i - MANY + 1;
    ok(ann_filter_from_ids(ix, MANY * 3 / 4, ids, &filter));
    for (int kind = 0; kind < 3; kind++) {
        const double some = find_many(ix, q, 1, kind == 1 ? filter : NULL),
                     more = find_many(ix, q, 30, kind == 1 ? filter : NULL),
                     most = find_many(ix, q, 100, kind == 1 ? filter : NULL);
        ck_assert_msg(some <= more && more <= most && most > 0.9, "%d: %g, %g, %g", kind, some,
                      more, most);
        if (kind == 1)
            ok(ann_remove(ix, MANY / 2, ids, NULL));
    }
    ann_filter_close(filter);
    ann_close(ix);
    free(ids);
    free(x);
    free(q);
}
END_TEST

START_TEST(codes_alone)
{
    float *x = graph_clusters(N, DIM, 12, 7), *q = graph_clusters(NQ, DIM, 12, 8), out[DIM];
    ann_index *ix = make("hnsw,metric=cosine,profile=lean", 2);
    add(ix, x, 0, N);
    ck_assert_int_eq(ann_get(ix, 3, out), ANN_ENOTSUP);
    ck_assert_int_eq(ann_get(ix, N + 1, out), ANN_ENOENT);
    ann_info info = {.size = ANN_INFO_SIZE};
    ok(ann_index_info(ix, &info));
    ck_assert(info.vector_bytes == 0 && info.store == ANN_NONE && info.codes == ANN_CODES_SQ8 &&
              info.code_bytes == N * (64 + 4) && info.profile == ANN_PROFILE_LEAN);
    /* exact search over the codes, alone and as a batch, and what does not know its k */
    ann_recall_report r = ANN_RECALL_REPORT_INIT;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.effort = N;
    ok(ann_recall(ix, (ann_view){q, NQ, 0, ANN_F32}, &p, &r));
    ck_assert(r.recall == 1);
    p.effort = 100;
    ok(ann_recall(ix, (ann_view){q, NQ, 0, ANN_F32}, &p, &r));
    ck_assert(r.recall > 0.97);
    ann_range_result range;
    ok(ann_search_range(ix, (ann_view){q, 2, 0, ANN_F32}, 0.4f, &p, &range));
    for (uint64_t i = 0; i < range.offsets[2]; i++)
        ck_assert(range.dists[i] <= 0.4f && range.ids[i] < N);
    ann_range_free(&range);
    ann_iter *it = NULL;
    ann_id ids[7];
    float dists[7], before = 0;
    size_t got, all = 0;
    ok(ann_iter_open(ix, q, ANN_F32, &p, &it));
    for (;;) {
        ok(ann_iter_next(it, 7, ids, dists, &got));
        all += got;
        if (got < 7)
            break;
        if (all <= 70)
            for (size_t i = 0; i < 7; i++, before = dists[i - 1])
                ck_assert(dists[i] >= before && dists[i] >= 0 && dists[i] <= 2);
    }
    ck_assert_uint_eq(all, N);
    ann_iter_close(it);
    ann_calibration c = ANN_CALIBRATION_INIT; /* by what the codes stand for */
    c.queries = 100;
    ok(ann_calibrate(ix, (ann_view){NULL, 0, 0, ANN_F32}, &c));
    ck_assert(c.recall > 0.9);
    /* distances are those of the vectors, roughly */
    ann_id near;
    float dist;
    p.k = 1;
    for (size_t i = 0; i < NQ; i++) {
        ok(ann_search(ix, (ann_view){q + i * DIM, 1, 0, ANN_F32}, &p, &near, &dist));
        const double want = oracle_distance(ANN_COSINE, q + i * DIM, x + near * DIM, DIM);
        ck_assert_msg(fabs(dist - want) < 0.02, "%g, not %g", (double)dist, want);
    }
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

/* Removed, updated, swept, compacted: codes go with their vectors. */
/* The table that searches begin at is the one that the index as it is would make. */
static void check_entries(struct hnsw *h)
{
    const size_t n = h->entries.bytes;
    if (n == 0)
        return;
    char *before = malloc(n);
    memcpy(before, h->entries.data, n);
    hnsw_entries_make(h);
    ck_assert(h->entries.bytes == n && memcmp(before, h->entries.data, n) == 0);
    free(before);
}

START_TEST(churn)
{
    float *x = graph_clusters(2 * N, DIM, 12, 9), *q = graph_clusters(NQ, DIM, 12, 10);
    ann_index *ix = make(specs[_i].spec, 2);
    ann_id ids[N / 2];
    add(ix, x, 0, N);
    for (ann_id i = 0; i < N / 2; i++)
        ids[i] = 2 * i;
    ok(ann_remove(ix, N / 2, ids, NULL));
    ok(ann_check(ix, ANN_CHECK_STRUCTURE));
    for (size_t i = 0; i < N / 2; i++) /* ids are rows of x all the same */
        ok(ann_add(ix, (ann_view){x + ids[i] * DIM, 1, 0, ANN_F32}, ids + i));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    ok(ann_update(ix, (ann_view){x, 50, 0, ANN_F32},
                  (ann_id[50]){0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11, 12,
                               13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25,
                               26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38,
                               39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49}));
    ok(ann_compact(ix));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    check_entries(ix->state);
    ck_assert_uint_eq(ix->vec.slots, N);
    ck_assert(ix->vec.codes.type == CODE_NONE ||
              ix->vec.codes.data.bytes == N * ix->vec.codes.stride);
    const double got = recall(ix, x, N, q, 100);
    ck_assert_msg(got >= specs[_i].least, "%s: recall %g", specs[_i].spec, got);
    /* all gone, and something else comes */
    for (int half = 0; half < 2; half++) {
        for (ann_id i = 0; i < N / 2; i++)
            ids[i] = 2 * i + (ann_id)half;
        ok(ann_remove(ix, N / 2, ids, NULL));
    }
    for (size_t i = 0; i < N * DIM; i++)
        x[i] = 1000 * x[i] + 500;
    ok(ann_add(ix, (ann_view){x, N / 2, 0, ANN_F32}, ids));
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    ck_assert(ix->vec.codes.type == CODE_NONE || ix->vec.codes.frame.trained == N / 2);
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

/* What effort means is learned where there are enough vectors, the same by any threads, and kept
 * in the file; a file that says what cannot be is refused. */
START_TEST(spread)
{
    enum { MANY = 2600 };
    static const float bad[] = {NAN, INFINITY, -1, 0.5f};
    float *x = graph_clusters(MANY, DIM, 12, 9);
    ann_index *ix = make("hnsw,metric=l2", 1), *back = NULL;
    struct hnsw *h = ix->state;
    add(ix, x, 0, N);
    ck_assert_uint_eq(h->spread_nodes, 0);
    add(ix, x, N, MANY - N);
    ck_assert_uint_eq(h->spread_nodes, MANY);
    ck_assert(h->spread[0] == 1 && hnsw_spread_check(h->spread) == ANN_OK);
    ck_assert(hnsw_intrinsic_dim(h) > 2 && hnsw_intrinsic_dim(h) < 2 * DIM);
    ck_assert(hnsw_gamma(h, 10, 10) == 1 && hnsw_gamma(h, 40, 10) > hnsw_gamma(h, 20, 10) &&
              hnsw_gamma(h, 5, 10) < 1);
    ann_index *other = make("hnsw,metric=l2", 3);
    add(other, x, 0, N);
    add(other, x, N, MANY - N);
    ck_assert(memcmp(h->spread, ((struct hnsw *)other->state)->spread, sizeof h->spread) == 0);
    ok(ann_save(ix, path_of("bytes")));
    ok(ann_open(path_of("bytes"), NULL, &back));
    ck_assert(memcmp(h->spread, ((struct hnsw *)back->state)->spread, sizeof h->spread) == 0);
    ann_close(back);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const float good = h->spread[3];
        h->spread[3] = bad[i];
        ok(ann_save(ix, path_of("bytes")));
        ck_assert_int_eq(ann_open(path_of("bytes"), NULL, &back), ANN_EDAMAGED);
        h->spread[3] = good;
    }
    unlink(path_of("bytes"));
    ann_close(other);
    ann_close(ix);
    free(x);
}
END_TEST

static int stop_at_once(void *arg, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    (void)done;
    (void)total;
    return *(int *)arg;
}

/* A canceled add leaves frame and codes as they were, whether it made them again or not. */
START_TEST(canceled)
{
    float *x = graph_clusters(N, DIM, 12, 11);
    int stop = 1;
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    o.dim = DIM;
    o.threads = 2;
    o.progress = stop_at_once;
    o.progress_arg = &stop;
    ok(ann_options_parse(&o, specs[_i].spec));
    ok(ann_create(&o, &ix));
    const struct codes *c = &ix->vec.codes;
    ck_assert_int_eq(ann_add(ix, (ann_view){x, 300, 0, ANN_F32}, NULL), ANN_ECANCELED);
    ck_assert(c->frame.trained == 0 && c->step == 0 && c->max_error == 0);
    stop = 0;
    add(ix, x, 600, 100);
    const float step = c->step, error = c->max_error;
    const uint64_t trained = c->frame.trained;
    unsigned char *before = malloc(c->data.bytes + 1);
    memcpy(before, c->data.data ? c->data.data : before, c->data.bytes);
    const size_t bytes = c->data.bytes;
    uint32_t generation = c->generation;
    for (size_t n = 50; n <= 500; n += 450) { /* the second calls for another frame */
        stop = 1;
        ck_assert_int_eq(ann_add(ix, (ann_view){x, n, 0, ANN_F32}, NULL), ANN_ECANCELED);
        stop = 0;
        ck_assert(c->frame.trained == trained && c->step == step && c->max_error == error);
        ck_assert_uint_ge(c->data.bytes, bytes);
        /* What was made for codes given up does not pass for what is made of the next. */
        ck_assert(c->generation == generation || c->generation > generation + 1);
        ck_assert(c->type == CODE_NONE || n < 500 || c->generation > generation);
        generation = c->generation;
        for (uint32_t s = 0; s < ix->vec.slots && c->type; s++)
            if (vectors_is_live(&ix->vec, s))
                ck_assert_mem_eq(codes_row(c, s), before + s * c->stride, c->stride);
        ok(ann_check(ix, ANN_CHECK_REACHABLE));
    }
    add(ix, x, 0, 500);
    ck_assert(c->type == CODE_NONE || c->frame.trained == 600);
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    free(before);
    ann_close(ix);
    free(x);
}
END_TEST

/* Under inner product, ever longer vectors. */
START_TEST(longer_and_longer)
{
    float *x = graph_clusters(N, DIM, 12, 13), *q = graph_clusters(NQ, DIM, 12, 14);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < DIM; j++)
            x[i * DIM + j] *= (float)exp2((double)i / N * 4);
    ann_index *ix = make(_i ? "hnsw,metric=ip,profile=lean" : "hnsw,metric=ip", 2);
    for (size_t at = 0; at < N; at += 100)
        add(ix, x, at, 100);
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    for (uint32_t s = 0; s < N; s++)
        ck_assert(frame_fits(&ix->vec.codes.frame, frame_norm2(x + s * DIM, DIM)));
    const double got = recall(ix, x, N, q, 200);
    ck_assert_msg(got > (_i ? 0.8 : 0.95), "recall %g", got);
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

struct reading {
    const ann_index *ix;
    const float *q;
    atomic_bool stop;
};

static void *read_on(void *arg)
{
    struct reading *r = arg;
    ann_id ids[10];
    float dists[10];
    for (size_t i = 0; !atomic_load(&r->stop); i = (i + 1) % NQ) {
        if (ann_search(r->ix, (ann_view){r->q + i * DIM, 1, 0, ANN_F32}, NULL, ids, dists))
            return (void *)(uintptr_t) "a search failed";
        for (size_t j = 1; j < 10; j++)
            if (ids[j] != ANN_NO_ID && (dists[j] < dists[j - 1] || ids[j] == ids[j - 1]))
                return (void *)(uintptr_t) "a row is not in order";
    }
    return NULL;
}

/* Searches see the old codes or the new, while adds make them again. */
START_TEST(searching_meanwhile)
{
    float *x = graph_clusters(N, DIM, 12, 15), *q = graph_clusters(NQ, DIM, 12, 16);
    ann_index *ix = make(specs[_i].spec, 1);
    struct reading r = {.ix = ix, .q = q};
    pthread_t readers[2];
    for (int i = 0; i < 2; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, read_on, &r), 0);
    for (size_t at = 0, n = 1; at < N; at += n) {
        n = at < 20 ? 1 : at < 300 ? 20 : 300;
        add(ix, x, at, at + n > N ? N - at : n);
    }
    atomic_store(&r.stop, true);
    for (int i = 0; i < 2; i++) {
        void *why = NULL;
        pthread_join(readers[i], &why);
        ck_assert_msg(why == NULL, "%s", (const char *)why);
    }
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

START_TEST(estimate_covers_codes)
{
    ann_options o = ANN_OPTIONS_INIT;
    uint64_t with, without, lean, fast;
    o.dim = 384;
    ok(ann_memory_estimate(&o, 100000, &with, NULL));
    o.codes = ANN_CODES_NONE;
    ok(ann_memory_estimate(&o, 100000, &without, NULL));
    ck_assert_uint_eq(with - without, 100000 * (384 + 4));
    o.codes = ANN_CODES_AUTO;
    o.profile = ANN_PROFILE_LEAN;
    ok(ann_memory_estimate(&o, 100000, &lean, NULL));
    ck_assert_uint_eq(with - lean, 100000 * 384 * 4);
    o.profile = ANN_PROFILE_FAST; /* rows: a code, then two groups of 16 places */
    ok(ann_memory_estimate(&o, 100000, &fast, NULL));
    ck_assert_uint_eq(fast - with, 100000 * (384 + 2 * (128 + 384 / 8 * 16)));
}
END_TEST

/* Measuring which prefetch is better leaves an index as it was, results too, and is done once
 * in a process: too small an index does not use it up, nor one without codes. */
START_TEST(tuned)
{
    enum { K = 10 };
    const char *const asked = getenv("KITH_PREFETCH");
    const bool free_to = !asked || (strcmp(asked, "l1") != 0 && strcmp(asked, "l2") != 0);
    float *x = graph_clusters(N, DIM, 12, 21), *q = graph_clusters(NQ, DIM, 12, 22);
    ann_index *ix = make(specs[_i].spec, 1), *plain = make("hnsw,codes=none", 1);
    ann_id before[NQ * K], after[NQ * K];
    float from[NQ * K], to[NQ * K];
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.k = K;
    add(ix, x, 0, N);
    add(plain, x, 0, N);
    ok(ann_search(ix, (ann_view){q, NQ, 0, ANN_F32}, &p, before, from));
    const int level = annk_prefetch_l2;
    index_tune(ix, INDEX_TUNE_BYTES);
    index_tune(plain, 0);
    ck_assert_int_eq(annk_prefetch_l2, level);
    index_tune(ix, 0);
    ck_assert(free_to || annk_prefetch_l2 == level);
    ck_assert(annk_prefetch_l2 == 0 || annk_prefetch_l2 == 1);
    ck_assert_int_eq(annk_prefetch_claim(), 0);
    for (int l2 = 0; l2 < 2; l2++) {
        annk_prefetch_choose(l2);
        ok(ann_search(ix, (ann_view){q, NQ, 0, ANN_F32}, &p, after, to));
        ck_assert_mem_eq(before, after, sizeof before);
        ck_assert_mem_eq(from, to, sizeof from);
    }
    ok(ann_check(ix, ANN_CHECK_REACHABLE));
    ann_close(ix);
    ann_close(plain);
    free(x);
    free(q);
}
END_TEST

/* Without Check, which reports only from its own runs. */
static int build(const char *path, const char *spec)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    float *x = graph_clusters(N, DIM, 12, 17);
    o.dim = DIM;
    o.threads = 2;
    const bool done = !ann_options_parse(&o, spec) && !ann_create(&o, &ix) &&
                      !ann_add(ix, (ann_view){x, 100, 0, ANN_F32}, NULL) &&
                      !ann_add(ix, (ann_view){x + 100 * DIM, N - 100, 0, ANN_F32}, NULL) &&
                      !ann_save(ix, path);
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
    Suite *suite = suite_create("coded");
    TCase *c = tcase_create("coded");
    tcase_add_loop_test(c, searching_meanwhile, 0, SPECS);
#ifndef __SANITIZE_THREAD__ /* the others have no threads that could meet */
    tcase_add_loop_test(c, growing, 0, SPECS);
    tcase_add_loop_test(c, files, 0, SPECS);
    tcase_add_loop_test(c, churn, 0, SPECS);
    tcase_add_loop_test(c, canceled, 0, SPECS);
    tcase_add_loop_test(c, longer_and_longer, 0, 2);
    tcase_add_test(c, spread);
    tcase_add_test(c, codes_alone);
    tcase_add_test(c, many_in_rows);
    tcase_add_test(c, estimate_covers_codes);
    tcase_add_loop_test(c, tuned, 0, SPECS - 1); /* the last has no codes */
#endif
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
