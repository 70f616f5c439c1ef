/* test_churn.c - updates hold and filters find, in every profile: against a fresh index of the
 * same vectors, for any number of threads, through files in between. */
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
#define N   4000
#define NQ  100
#define K   10

static const char *const specs[] = {
    "hnsw,metric=l2,m=8",
    "hnsw,metric=cosine,m=8,codes=sq4",
    "hnsw,metric=ip,m=8",
    "hnsw,metric=l2,m=8,profile=lean",
    "hnsw,metric=l2,m=8,profile=fast",
    "hnsw,metric=cosine,m=8,profile=fast,codes=3bit",
    "hnsw,metric=l2,m=8,codes=none",
    "hnsw,metric=ip,m=8,codes=none",
};
#define SPECS (int)(sizeof specs / sizeof *specs)

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

/* Row i of x under id i. */
static void add(ann_index *ix, const float *x, size_t first, size_t n)
{
    ann_id *ids = malloc(n * sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = first + i;
    ok(ann_add(ix, (ann_view){x + first * DIM, n, 0, ANN_F32}, ids));
    free(ids);
}

/* Of ids [from, to) those that divide by `every` with rest `rest` go. */
static void remove_some(ann_index *ix, ann_id from, ann_id to, ann_id every, ann_id rest)
{
    for (ann_id id = from; id < to; id++)
        if (id % every == rest)
            ok(ann_remove(ix, 1, &id, NULL));
}

/* The first half of a life: N / 2 vectors, of which every other one goes, and others come. */
static void live_first(ann_index *ix, const float *x)
{
    add(ix, x, 0, N / 2);
    remove_some(ix, 0, N / 2, 2, 0);
    for (size_t at = N / 2; at < N / 4 * 3; at += 125)
        add(ix, x, at, 125);
}

/* The second: ids get other vectors and theirs back, others come at once, and some go. */
static void live_second(ann_index *ix, const float *x)
{
    ann_id ids[200];
    for (size_t i = 0; i < 200; i++)
        ids[i] = 2 * i + 1;
    ok(ann_update(ix, (ann_view){x + 100 * DIM, 200, 0, ANN_F32}, ids));
    for (size_t i = 0; i < 200; i++) /* and back, one by one */
        ok(ann_update(ix, (ann_view){x + ids[i] * DIM, 1, 0, ANN_F32}, ids + i));
    add(ix, x, N / 4 * 3, N / 4);
    remove_some(ix, N / 2, N, 5, 3);
}

static bool is_there(ann_id id)
{
    return id < N / 2 ? id % 2 == 1 : id % 5 != 3;
}

/* Recall by distance of NQ queries, of what is there and passes; every row is checked. */
struct found {
    double recall;
    ann_search_stats stats;
    ann_id ids[NQ * K];
    float dists[NQ * K];
};

static void find(const ann_index *ix, ann_metric m, const float *x, const float *q,
                 const unsigned char *there, const ann_filter *filter, size_t effort,
                 struct found *f)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    size_t hits = 0, all = 0;
    memset(&f->stats, 0, sizeof f->stats);
    p.k = K;
    p.effort = effort;
    p.filter = filter;
    p.stats = &f->stats;
    p.threads = 1;
    ok(ann_search(ix, (ann_view){q, NQ, 0, ANN_F32}, &p, f->ids, f->dists));
    for (size_t i = 0; i < NQ; i++) {
        double truth[K];
        size_t n = 0;
        for (size_t id = 0; id < N; id++) {
            if (!there[id])
                continue;
            double d = oracle_distance(m, q + i * DIM, x + id * DIM, DIM);
            if (n < K)
                truth[n++] = INFINITY;
            for (size_t j = 0; j < n; j++)
                if (d < truth[j]) {
                    const double out = truth[j];
                    truth[j] = d;
                    d = out;
                }
        }
        graph_check_row(f->ids + i * K, f->dists + i * K, K, n);
        for (size_t j = 0; j < n; j++) {
            const ann_id id = f->ids[i * K + j];
            ck_assert_msg(id < N && there[id], "%llu is not there", (unsigned long long)id);
            const double d = oracle_distance(m, q + i * DIM, x + id * DIM, DIM);
            hits += d <= truth[n - 1] + 1e-5 * fabs(truth[n - 1]);
        }
        all += n;
    }
    f->recall = (double)hits / (double)all;
}

static ann_metric metric_of(const char *spec)
{
    return strstr(spec, "cosine") ? ANN_COSINE : strstr(spec, "=ip") ? ANN_IP : ANN_L2;
}

static size_t memory(const ann_index *ix)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    ok(ann_index_info(ix, &info));
    return (size_t)info.memory_bytes;
}

/* After half was removed, other vectors came and ids were updated, search finds as much as in
 * an index built at once of what is there; and compaction gives the memory back. */
START_TEST(as_good_as_new)
{
    static const size_t efforts[] = {10, 20, 60};
    float *x = graph_clusters(N, DIM, 40, 3), *q = graph_clusters(NQ, DIM, 40, 4);
    ann_index *old = make(specs[_i], 2), *fresh = make(specs[_i], 2);
    unsigned char there[N];
    float *rows = malloc(N * DIM * sizeof *rows);
    ann_id ids[N];
    size_t n = 0;
    live_first(old, x);
    live_second(old, x);
    for (ann_id id = 0; id < N; id++)
        if ((there[id] = is_there(id))) {
            memcpy(rows + n * DIM, x + id * DIM, DIM * sizeof *rows);
            ids[n++] = id;
        }
    ok(ann_add(fresh, (ann_view){rows, n, 0, ANN_F32}, ids));
    struct found a, b;
    for (int compact = 0; compact < 2; compact++) {
        ok(ann_check(old, ANN_CHECK_REACHABLE));
        for (size_t e = 0; e < 3; e++) {
            find(old, metric_of(specs[_i]), x, q, there, NULL, efforts[e], &a);
            find(fresh, metric_of(specs[_i]), x, q, there, NULL, efforts[e], &b);
            ck_assert_msg(a.recall >= b.recall - 0.02, "%s, effort %zu: %g, fresh %g",
                          specs[_i], efforts[e], a.recall, b.recall);
        }
        ok(ann_compact(old));
    }
    ck_assert_msg((double)memory(old) <= 1.05 * (double)memory(fresh),
                  "%s: %zu bytes, fresh %zu", specs[_i], memory(old), memory(fresh));
    ann_close(old);
    ann_close(fresh);
    free(rows);
    free(x);
    free(q);
}
END_TEST

static char *path_of(const char *name)
{
    static char path[80];
    snprintf(path, sizeof path, "churn_%ld_%s.kith", (long)getpid(), name);
    return path;
}

static bool same_file(const char *a, const char *b)
{
    FILE *f = fopen(a, "rb"), *g = fopen(b, "rb");
    int c = 0, d = 0;
    ck_assert(f && g);
    while (c == d && c != EOF) {
        c = getc(f);
        d = getc(g);
    }
    fclose(f);
    fclose(g);
    return c == d;
}

/* The same life gives the same file for any number of threads. */
START_TEST(same_bytes)
{
    static const unsigned threads[] = {1, 2, 3, 8};
    float *x = graph_clusters(N, DIM, 40, 5);
    char first[80], other[80];
    memcpy(first, path_of("one"), sizeof first);
    memcpy(other, path_of("more"), sizeof other);
    for (size_t t = 0; t < 4; t++) {
        ann_index *ix = make(specs[_i], threads[t]);
        live_first(ix, x);
        live_second(ix, x);
        ok(ann_compact(ix));
        ok(ann_save(ix, t ? other : first));
        ann_close(ix);
        ck_assert_msg(!t || same_file(first, other), "%s: %u threads make another file",
                      specs[_i], threads[t]);
    }
    unlink(first);
    unlink(other);
    free(x);
}
END_TEST

/* An index saved amid changes answers as the one it was saved from, and goes on as well. */
START_TEST(through_a_file)
{
    float *x = graph_clusters(N, DIM, 40, 6), *q = graph_clusters(NQ, DIM, 40, 7);
    ann_index *ix = make(specs[_i], 2), *back = NULL;
    unsigned char there[N];
    struct found a, b;
    live_first(ix, x);
    ok(ann_save(ix, path_of("amid")));
    for (int mode = ANN_OPEN_LOAD; mode <= ANN_OPEN_MAP; mode++) {
        ann_open_options o = ANN_OPEN_OPTIONS_INIT;
        o.mode = (ann_open_mode)mode;
        ok(ann_open(path_of("amid"), &o, &back));
        for (ann_id id = 0; id < N; id++)
            there[id] = id < N / 2 ? id % 2 == 1 : id < N / 4 * 3;
        find(ix, metric_of(specs[_i]), x, q, there, NULL, 30, &a);
        find(back, metric_of(specs[_i]), x, q, there, NULL, 30, &b);
        ck_assert(memcmp(a.ids, b.ids, sizeof a.ids) == 0 &&
                  memcmp(a.dists, b.dists, sizeof a.dists) == 0);
        live_second(back, x);
        ok(ann_check(back, ANN_CHECK_REACHABLE));
        for (ann_id id = 0; id < N; id++)
            there[id] = is_there(id);
        find(back, metric_of(specs[_i]), x, q, there, NULL, 60, &b);
        ck_assert_msg(b.recall > 0.9, "%s: recall %g", specs[_i], b.recall);
        ann_close(back);
    }
    unlink(path_of("amid"));
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

struct choice {
    const float *x;
    int what; /* 0: half, at random; 1: a tenth; 2: half a space; 3: a tenth of one; 4: few */
};

static int chosen(void *arg, ann_id id)
{
    const struct choice *c = arg;
    const float *row = c->x + id * DIM;
    switch (c->what) {
    case 0:
        return rng_mix(id) % 2 == 0;
    case 1:
        return rng_mix(id) % 10 == 0;
    case 2:
        return row[0] > 0;
    case 3:
        return row[0] > 0 && row[1] > 0 && row[2] > 0;
    default:
        return id % 1000 == 1;
    }
}

/* With a filter nothing else is found, never fewer than k where k pass, and nearly all of the
 * nearest, whichever way the search goes, amid changes too. */
START_TEST(filters)
{
    float *x = graph_clusters(N, DIM, 40, 8), *q = graph_clusters(NQ, DIM, 40, 9);
    ann_index *ix = make(specs[_i], 2);
    unsigned walked = 0, scanned = 0;
    live_first(ix, x);
    live_second(ix, x);
    for (int what = 0; what < 5; what++) {
        struct choice c = {x, what};
        unsigned char there[N];
        ann_filter *f = NULL;
        struct found r;
        for (ann_id id = 0; id < N; id++)
            there[id] = is_there(id) && chosen(&c, id);
        ok(ann_filter_from_callback(ix, chosen, &c, &f));
        for (size_t effort = 10; effort <= 40; effort *= 2) {
            find(ix, metric_of(specs[_i]), x, q, there, f, effort, &r);
            walked += r.stats.exact < NQ;
            scanned += r.stats.exact == NQ;
            const bool rough = strstr(specs[_i], "lean") || strstr(specs[_i], "sq4");
            ck_assert_msg(r.recall >= (rough ? 0.7 : 0.8),
                          "%s, filter %d, effort %zu: recall %g", specs[_i], what, effort,
                          r.recall);
        }
        ann_filter_close(f);
    }
    ck_assert_msg(walked > 1 && scanned > 2, "%s: %u walks, %u scans", specs[_i], walked,
                  scanned);
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("churn");
    TCase *c = tcase_create("churn");
    tcase_add_loop_test(c, as_good_as_new, 0, SPECS);
    tcase_add_loop_test(c, same_bytes, 0, SPECS);
    tcase_add_loop_test(c, through_a_file, 0, SPECS);
    tcase_add_loop_test(c, filters, 0, SPECS);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
