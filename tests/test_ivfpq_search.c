/* test_ivfpq_search.c - searching lists of short codes: filters, batches, ranges, what is far
 * away, the same bytes of file, and the structures that searching stands on. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ann/base/rng.h"
#include "ann/internal.h"
#include "ann/ivfpq/query.h"
#include "tests/lists_data.h"

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
        ok(ann_search(ix, lists_view(q, 0, batch), &params, ids, dists));
        for (size_t i = 0; i < batch; i++) {
            graph_check_row(ids + i * K, dists + i * K, K, least_of(K, ann_filter_count(f)));
            for (size_t j = 0; j < K && ids[i * K + j] != ANN_NO_ID; j++)
                ck_assert(passes(p, ids[i * K + j]));
        }
    }
    if (ann_filter_count(f) > 0) {
        ok(ann_recall(ix, lists_view(q, 0, NQ), &params, &r));
        ck_assert_msg(r.recall > (effort > 4 ? 0.93 : 0.2),
                      "%zu.. by %zu, effort %zu: recall %g", p->from, p->step, effort,
                      r.recall);
    }
    ann_filter_close(f);
}

START_TEST(filters)
{
    static const char *const specs[] = {"ivfpq,nlist=60", "ivfpq,nlist=60,metric=ip,soar=1",
                                        "ivfpq,nlist=60,metric=cosine,profile=lean",
                                        "ivfpq,nlist=60,store=f32,codes=none,pq_bits=8"};
    float *x = graph_clusters(N, DIM, 12, 14), *q = graph_clusters(NQ, DIM, 12, 15);
    struct passing all[] = {{0, 1, 0}, {77, 1, 78}, {5, 600, N},     {0, 100, N},    {1, 10, N},
                            {0, 2, N}, {0, 1, N},   {1000, 1, 1250}, {1000, 3, 1250}};
    /* Ids from 1,000 to 1,249 are of one cluster, far from most queries. */
    float *near = graph_clusters(250, DIM, 1, 16);
    for (size_t i = 0; i < 250 * DIM; i++)
        x[1000 * DIM + i] = near[i] + 6;
    ann_index *ix = lists_filled(specs[_i], 2, x, N);
    for (int removed = 0; removed < 2; removed++) {
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            for (size_t effort = 2; effort <= 40; effort += 38)
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
    ann_index *ix = lists_filled("ivfpq,nlist=60,store=none,codes=none", 2, x, N);
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
            ok(ann_search(ix, lists_view(q, i, 1), &p, ids, dists));
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
        ok(ann_recall(ix, lists_view(q, i, some), &p, &r));
        sum += r.recall * (double)some;
    }
    return sum / NQ;
}

START_TEST(batches)
{
    static const size_t sizes[] = {2, 7, 8, 9, 13, 31, NQ};
    float *x = graph_clusters(N, DIM, 12, 17), *q = graph_clusters(NQ, DIM, 12, 18);
    ann_index *ix = lists_filled(searched[_i], 2, x, N);
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
                ok(ann_search(ix, lists_view(q, 0, n), &p, ids, dists));
                if (p.threads == 1 && n == 8)
                    ok(ann_search(ix, lists_view(q, 0, NQ), &p, first, first_dists));
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
    ann_index *ix = lists_filled(searched[_i], 2, x, MOST);
    ann_id ids[9 * MORE];
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.k = MORE;
    p.effort = 1;
    for (size_t left = MOST; left > 0; left /= 3) {
        for (size_t n = 1; n <= 9; n += 8) {
            ok(ann_search(ix, lists_view(x, 0, n), &p, ids, dists));
            for (size_t i = 0; i < n; i++)
                graph_check_row(ids + i * MORE, dists + i * MORE, MORE, left);
        }
        for (ann_id id = left / 3; id < left; id++)
            ok(ann_remove(ix, 1, &id, NULL));
    }
    ok(ann_search(ix, lists_view(x, 0, 9), &p, ids, dists));
    graph_check_row(ids, dists, MORE, 0);
    ok(ann_compact(ix));
    ok(ann_add(ix, lists_view(x, 0, MOST), NULL));
    ok(ann_search(ix, lists_view(x, 0, 9), &p, ids, dists));
    graph_check_row(ids, dists, MORE, MOST);
    ann_close(ix);
    free(x);
}
END_TEST

START_TEST(ranges_and_iterators)
{
    float *x = graph_clusters(N, DIM, 12, 20), *q = graph_clusters(NQ, DIM, 12, 21);
    ann_index *ix = lists_filled(searched[_i], 2, x, N);
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_range_result r;
    ann_id ids[100];
    float dists[100];
    unsigned char seen[N] = {0};
    p.k = 100;
    ok(ann_search(ix, lists_view(q, 0, 1), &p, ids, dists));
    const float radius = dists[60];
    p.effort = 50;
    ok(ann_search_range(ix, lists_view(q, 0, 3), radius, &p, &r));
    ck_assert_uint_ge(r.offsets[1], 58);
    for (size_t i = 0; i < r.offsets[3]; i++)
        ck_assert(r.dists[i] <= radius && r.ids[i] < N);
    ann_range_free(&r);
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
    float *x = graph_clusters(500, DIM, 6, 22), *q = graph_clusters(9, DIM, 6, 23),
          dists[9 * K];
    ann_index *ix = lists_filled(searched[_i], 2, x, 500);
    ann_id ids[9 * K];
    for (size_t s = 0; s < sizeof scales / sizeof *scales; s++) {
        if ((scales[s] == 0 && ix->vec.metric == ANN_COSINE) ||
            (scales[s] > 1e4f && ix->vec.store == ANN_F16))
            continue;
        for (size_t i = 0; i < 9 * DIM; i++)
            q[i] = scales[s] * (float)(1 + i % 5);
        for (size_t n = 1; n <= 9; n += 8) {
            ok(ann_search(ix, lists_view(q, 0, n), NULL, ids, dists));
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

/* Some vectors are far away: the rest is found all the same.  A million times as far, codes
 * that span that tell little of the rest, but everything holds. */
START_TEST(outliers)
{
    float *x = graph_clusters(N, DIM, 12, 24), *q = graph_clusters(NQ, DIM, 12, 25);
    for (int far = 0; far < 2; far++) {
        for (size_t i = 0; i < N * DIM; i++)
            x[i] *= i / DIM % 600 != 7 ? 1 : far && !strstr(searched[_i], "f16") ? 1e5f : 10;
        for (int trained = 0; trained < 2; trained++) { /* on those too, or not */
            ann_index *ix = lists_make(searched[_i], 2);
            ok(ann_train(ix, trained ? lists_view(x, 0, N) : lists_view(x, 100, 400)));
            ok(ann_add(ix, lists_view(x, 0, N), NULL));
            ok(ann_check(ix, ANN_CHECK_REACHABLE));
            const double found = graph_recall(ix, q, NQ, K, 50);
            ck_assert_msg(far || found > 0.9, "%s, trained %d: recall %g", searched[_i],
                          trained, found);
            lists_check(ix, x, q);
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
    ann_index *ix = lists_make(spec, threads);
    ann_id ids[400];
    ok(ann_train(ix, lists_view(x, 0, 2000)));
    ok(ann_add(ix, lists_view(x, 0, 1000), NULL));
    for (size_t i = 1000; i < N; i += 250)
        ok(ann_add(ix, lists_view(x, i, 250), NULL));
    for (size_t i = 0; i < 400; i++)
        ids[i] = i * 3;
    ok(ann_update(ix, lists_view(x, 7, 400), ids));
    for (size_t i = 0; i < 400; i++)
        ids[i] = i * 2;
    ok(ann_remove(ix, 400, ids, NULL));
    for (size_t i = 0; i < 100; i++)
        ids[i] = 9000 - i;
    ok(ann_add(ix, lists_view(x, 0, 100), ids));
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
    ann_index *ix = lists_filled(searched[_i], 2, x, N);
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
        const ann_info i = lists_info(ix), j = lists_info(back);
        ck_assert(i.nlist == j.nlist && i.pq_m == j.pq_m && i.pq_bits == j.pq_bits &&
                  i.pq_of == j.pq_of && i.rotation == j.rotation && i.trained == j.trained &&
                  i.entries == j.entries && i.largest_list == j.largest_list &&
                  i.trained_error == j.trained_error && i.added_error == j.added_error &&
                  i.codes == j.codes && i.profile == j.profile && i.count == j.count);
        ok(ann_search(ix, lists_view(x, 300, 9), NULL, a, da));
        ok(ann_search(back, lists_view(x, 300, 9), NULL, b, db));
        ck_assert(memcmp(a, b, sizeof a) == 0 && memcmp(da, db, sizeof da) == 0);
        void *again = saved(back, &other);
        ck_assert(n == other && memcmp(first, again, n) == 0);
        free(again);
        ok(ann_check(back, ANN_CHECK_REACHABLE));
        ok(ann_add(back, lists_view(x, 0, 500), NULL)); /* and it goes on */
        ok(ann_update(back, lists_view(x, 0, 1), (ann_id[]){500}));
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

/* keys_select and keys_sort of keys [n]; sorted: the same ascending. */
static void check_order(const search_key *keys, const search_key *sorted, size_t n, size_t want)
{
    search_key *some = malloc(2 * n * sizeof *some);
    memcpy(some, keys, n * sizeof *keys);
    keys_sort(some, n, some + n);
    ck_assert(memcmp(some, sorted, n * sizeof *some) == 0);
    memcpy(some, keys, n * sizeof *keys);
    keys_select(some, n, want, some + n);
    if (want > n)
        want = n;
    qsort(some, want, sizeof *some, key_order_of);
    ck_assert(memcmp(some, sorted, want * sizeof *some) == 0);
    free(some);
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
            const size_t j = turn % 5 == 0   ? i
                             : turn % 5 == 1 ? n - i
                                             : rng_below(&state, values);
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
        ck_assert(r.n < want || want == 0 ? isinf(r.limit)
                                          : r.limit == key_dist(all[want - 1]));
        check_order(keys, all, n, want);
        free(room);
    }
}
END_TEST

/* All lists, in portions of any size, come in the order of their distances. */
START_TEST(coarse)
{
    float *x = graph_clusters(N, DIM, 30, 28), *q = graph_clusters(NQ, DIM, 30, 29);
    ann_index *ix = lists_filled("ivfpq,nlist=300,rotation=random", 2, x, N);
    const struct ivfpq *h = ix->state;
    uint64_t state = 9;
    float *y = malloc(h->dim * sizeof *y), *room = malloc(h->dim * sizeof *room);
    float *dists = malloc(h->nlist * sizeof *dists), *whole = malloc(h->nlist * sizeof *whole);
    void *desk = malloc(ivf_coarse_desk(h));
    struct ivf_probe *out = malloc(h->nlist * sizeof *out);
    search_key *sorted = malloc(h->nlist * sizeof *sorted);
    for (size_t i = 0; i < NQ; i++) {
        double scale, shift, off = 0, length = 0;
        ivf_space_query(h, q + i * DIM, y, room, &scale, &shift);
        ivf_coarse_open(h, &(const float *){y}, 1, desk, &dists);
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

/* What an effort means: more of it is never less, and with codes alone so many lists at least,
 * one query at a time and in batches. */
START_TEST(stops)
{
    const bool alone = _i > 0;
    float *x = graph_clusters(N, DIM, 12, 30);
    ann_index *ix =
        lists_filled(alone ? "ivfpq,nlist=100,codes=none,store=none" : "ivfpq,nlist=100", 1, x, N);
    const struct ivfpq *h = ix->state;
    ck_assert_uint_eq(h->stops_entries, N);
    for (double lists = 0.5; lists < 3000; lists *= 1.1)
        ck_assert(ivf_gamma(h, lists) <= ivf_gamma(h, 1.1 * lists) &&
                  ivf_gamma(h, lists) >= 0 && isfinite(ivf_gamma(h, lists)));
    double before = 0;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    for (p.effort = 1; p.effort <= 128; p.effort *= 2) {
        ann_search_stats stats = {0};
        ann_id ids[NQ * K];
        p.stats = &stats;
        ok(ann_search(ix, lists_view(x, 0, NQ), &p, ids, NULL));
        ck_assert(stats.queries == NQ && (double)stats.hops >= before);
        before = (double)stats.hops;
        for (size_t i = 0; alone && i < NQ; i++) {
            ck_assert(before >= (double)(NQ * least_of(p.effort, 100)));
            stats = (ann_search_stats){0};
            ok(ann_search(ix, lists_view(x, i, 1), &p, ids, NULL));
            ck_assert(stats.queries == 1 && stats.hops >= least_of(p.effort, 100));
        }
    }
    ann_close(ix);
    free(x);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ivfpq_search");
    TCase *c = tcase_create("ivfpq_search");
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
    tcase_add_loop_test(c, stops, 0, 2);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
