/* test_filter.c - what a filter keeps for the searches to come: links that pass, for one version
 * of the graph, and packed codes, of one generation.  Both are made by whoever comes first, and
 * searches find the same with them as without. */
#include <config.h>

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ann/hnsw/hnsw.h"
#include "ann/internal.h"
#include "tests/graph_data.h"

#define DIM 8

/* ---- the table ---- */

START_TEST(made_when_it_pays)
{
    struct passing_place place = {NULL, 0};
    for (int i = 0; i < 9; i++)
        ck_assert_ptr_null(passing_get(&place, 10000, 32, 0.1));
    struct passing_table *p = passing_get(&place, 10000, 32, 0.1);
    ck_assert_ptr_nonnull(p);
    ck_assert_ptr_eq(passing_get(&place, 10000, 32, 0.1), p);
    passing_free(p);
    place = (struct passing_place){NULL, 1000};
    ck_assert_ptr_null(passing_get(&place, 10, 32, 0.9)); /* as wide as the links */
    ck_assert_ptr_null(passing_get(&place, 10, 4, 0.1));
    ck_assert_ptr_null(passing_get(&place, 10, 1024, 0.4)); /* too wide for a mark */
}
END_TEST

START_TEST(rows_are_put_once)
{
    uint32_t links[64];
    for (uint32_t i = 0; i < 64; i++)
        links[i] = 1000 + i;
    struct passing_place place = {NULL, 0};
    struct passing_table *p = passing_get(&place, 10, 64, 0.1);
    ck_assert(p->width % PASSING_UNIT == 0 && p->width > 6 && p->width < 32);
    for (uint32_t version = 0; version < 2; version++) {
        ck_assert(passing_ready(p, version) && passing_ready(p, version));
        for (uint32_t i = 0; i < 11; i++)
            ck_assert_uint_eq(passing_count(p, i), UINT32_MAX);
        passing_put(p, 3, links, p->width);
        passing_put(p, 3, links + 5, 2);
        ck_assert_uint_eq(passing_count(p, 3), p->width);
        ck_assert_mem_eq(passing_row(p, 3), links, p->width * sizeof *links);
        passing_put(p, 4, links, p->width + 1); /* the links tell */
        ck_assert_uint_eq(passing_count(p, 4), p->width + 1);
        passing_put(p, 5, links, 0);
        ck_assert_uint_eq(passing_count(p, 5), 0);
        passing_put(p, 6, links, 255);
        ck_assert_uint_gt(passing_count(p, 6), p->width);
        passing_put(p, 10, links, 1); /* a later node */
    }
    passing_free(p);
}
END_TEST

#define NODES 20000

static void *fill(void *arg)
{
    struct passing_table *p = passing_get(arg, NODES, 32, 0.1);
    while (!passing_ready(p, 7))
        ;
    for (uint32_t i = 0; i < NODES; i++) {
        const uint32_t n = passing_count(p, i);
        if (n <= p->width)
            ck_assert(n == 2 && passing_row(p, i)[1] == i + 1);
        else
            passing_put(p, i, (const uint32_t[]){i, i + 1}, 2);
    }
    return p;
}

START_TEST(filled_by_threads)
{
    pthread_t threads[4];
    struct passing_place place = {NULL, NODES};
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fill, &place), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    for (uint32_t i = 0; i < NODES; i++)
        ck_assert(passing_count(place.table, i) == 2);
    passing_free(place.table);
}
END_TEST

/* ---- packed codes ---- */

static void check_packed(const struct packed_codes *p, const struct vectors *v)
{
    const struct codes view = packed_view(p, v);
    ck_assert_uint_eq(p->n, 20);
    for (uint32_t i = 0; i < p->n; i++) {
        const uint32_t slot = ((const uint32_t *)p->slots.data)[i];
        ck_assert_uint_eq(slot, 3 * i + 1);
        ck_assert_mem_eq(codes_row(&view, i), codes_row(&v->codes, slot), view.stride);
        ck_assert_int_eq(((const int32_t *)view.norms.data)[i],
                         ((const int32_t *)v->codes.norms.data)[slot]);
    }
}

START_TEST(packed_at_the_second)
{
    float *x = graph_clusters(320, DIM, 30, 5);
    ann_index *ix = graph_index(ANN_HNSW, ANN_L2, ANN_F32, DIM, 1);
    ok(ann_add(ix, (ann_view){x, 320, 0, ANN_F32}, NULL));
    const struct vectors *v = &ix->vec;
    uint64_t bits[5] = {0};
    struct packed_place place = {NULL, 0};
    for (uint32_t s = 1; s < 60; s += 3)
        bits[0] |= UINT64_C(1) << s;
    ck_assert_ptr_null(packed_get(&place, v, bits, 320, 20));
    const struct packed_codes *p = packed_get(&place, v, bits, 320, 20);
    ck_assert_ptr_nonnull(p);
    check_packed(p, v);
    ck_assert_ptr_eq(packed_get(&place, v, bits, 320, 20), p);
    struct packed_place other = {NULL, 1};
    ck_assert_ptr_null(packed_get(&other, v, bits, 320, 21)); /* more than a sixteenth */
    /* Other codes: they are packed again. */
    ix->vec.codes.generation++;
    memset(ix->vec.codes.data.data, 77, ix->vec.codes.stride * 2);
    ck_assert_ptr_eq(packed_get(&place, v, bits, 320, 20), p);
    check_packed(p, v);
    packed_free(place.packed);
    ann_close(ix);
    free(x);
}
END_TEST

/* ---- searches ---- */

#define N       9000
#define QUERIES 40
#define K       10

static const char *const specs[] = {
    "hnsw,m=6,metric=l2",
    "hnsw,m=6,metric=cosine,profile=fast",
    "hnsw,m=16,metric=l2,profile=fast,codes=1bit",
    "hnsw,m=6,metric=l2,codes=none",
};
#define SPECS (int)(sizeof specs / sizeof *specs)

struct found {
    ann_id ids[QUERIES * K];
    float dists[QUERIES * K];
    ann_search_stats stats;
};

/* All queries, one after the other; `apart`: each as the filter's first. */
static void search(const ann_index *ix, ann_filter *f, const float *q, bool apart,
                   struct found *out)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    memset(out, 0, sizeof *out);
    p.k = K;
    p.effort = 10;
    p.threads = 1;
    p.filter = f;
    p.stats = &out->stats;
    for (size_t i = 0; i < QUERIES; i++) {
        if (apart)
            f->kept.links = (struct passing_place){NULL, 0};
        ok(ann_search(ix, (ann_view){q + i * DIM, 1, 0, ANN_F32}, &p, out->ids + i * K,
                      out->dists + i * K));
        ck_assert(!apart || !f->kept.links.table);
    }
}

/* Searches while the table fills, and then with it, find what one finds without. */
static void check_same(const ann_index *ix, ann_filter *f, const float *q)
{
    struct found with, without;
    ann_filter bare = *f;
    search(ix, &bare, q, true, &without);
    ck_assert_uint_eq(without.stats.exact, 0);
    for (int i = 0; i < 4; i++) {
        search(ix, f, q, false, &with);
        ck_assert_mem_eq(with.ids, without.ids, sizeof with.ids);
        ck_assert_mem_eq(with.dists, without.dists, sizeof with.dists);
        ck_assert_uint_eq(with.stats.distances, without.stats.distances);
        ck_assert_uint_eq(with.stats.hops, without.stats.hops);
    }
    ck_assert(f->kept.links.table &&
              passing_ready(f->kept.links.table, ((const struct hnsw *)ix->state)->version));
}

/* A fifth by chance, or of one side. */
struct sieve {
    const float *x; /* NULL: by chance */
    float edge;
};

static int passes(void *arg, ann_id id)
{
    const struct sieve *s = arg;
    return s->x ? s->x[id * DIM] < s->edge : id * 2654435761U % 4096 < 820;
}

/* Of x [N], ids being row numbers. */
static ann_index *index_of(const char *spec, const float *x)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    o.dim = DIM;
    ok(ann_options_parse(&o, spec));
    ok(ann_create(&o, &ix));
    ok(ann_add(ix, (ann_view){x, N, 0, ANN_F32}, NULL));
    return ix;
}

START_TEST(same_results)
{
    float *x = graph_clusters(N, DIM, 30, 21), *q = graph_clusters(QUERIES, DIM, 30, 22);
    ann_index *ix = index_of(specs[_i / 2], x);
    ann_filter *f = NULL;
    struct sieve s = {NULL, 0};
    if (_i % 2)
        s = (struct sieve){x, graph_edge(x, N, DIM, N / 5)};
    ok(ann_filter_from_callback(ix, passes, &s, &f));
    check_same(ix, f, q);
    ok(ann_add(ix, (ann_view){q, QUERIES, 0, ANN_F32}, NULL));
    check_same(ix, f, q); /* of what came then there are no rows */
    ann_filter_close(f);
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

/* Removed ones are ways through until the sweep, and repaired links lead elsewhere. */
START_TEST(same_after_repair)
{
    float *x = graph_clusters(N, DIM, 30, 21), *q = graph_clusters(QUERIES, DIM, 30, 22);
    ann_index *ix = index_of(specs[_i], x);
    ann_filter *f = NULL;
    ok(ann_filter_from_callback(ix, passes, &(struct sieve){NULL, 0}, &f));
    check_same(ix, f, q);
    const uint32_t version = ((const struct hnsw *)ix->state)->version;
    for (ann_id id = 0; id < N; id += 3)
        ok(ann_remove(ix, 1, &id, NULL));
    ck_assert_uint_ne(((const struct hnsw *)ix->state)->version, version);
    check_same(ix, f, q);
    ok(ann_add(ix, (ann_view){x, N / 3, 0, ANN_F32}, NULL)); /* in their slots */
    check_same(ix, f, q);
    ann_filter_close(f);
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

/* One in twenty: searched by a scan. */
static int passes_scan(void *arg, ann_id id)
{
    (void)arg;
    return id < N && id % 20 == 7;
}

/* All queries by a scan of packed codes and of those in place. */
static void check_scans(const ann_index *ix, ann_filter *f, const float *q, float *worst)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_search_stats stats = {0};
    p.k = K;
    p.effort = 40;
    p.stats = &stats;
    for (size_t i = 0; i < QUERIES; i++) {
        ann_id ids[2][K];
        float dists[2][K];
        const ann_view view = {q + i * DIM, 1, 0, ANN_F32};
        ann_filter bare = *f;
        bare.kept.codes = (struct packed_place){NULL, 0};
        p.filter = f;
        ok(ann_search(ix, view, &p, ids[0], dists[0]));
        p.filter = &bare;
        ok(ann_search(ix, view, &p, ids[1], dists[1]));
        ck_assert_ptr_null(bare.kept.codes.packed);
        ck_assert_mem_eq(ids[0], ids[1], sizeof ids[0]);
        ck_assert_mem_eq(dists[0], dists[1], sizeof dists[0]);
        *worst = dists[0][K - 1] > *worst ? dists[0][K - 1] : *worst;
    }
    ck_assert_uint_eq(stats.exact, 2 * QUERIES);
    ck_assert_ptr_nonnull(f->kept.codes.packed);
}

/* What was packed is removed since, replaced, or coded anew. */
START_TEST(same_scans)
{
    float *x = graph_clusters(N, DIM, 30, 21), *q = graph_clusters(QUERIES, DIM, 30, 22);
    float before = 0, after = 0;
    ann_index *ix = index_of(specs[_i], x);
    ann_filter *f = NULL;
    ok(ann_filter_from_callback(ix, passes_scan, NULL, &f));
    check_scans(ix, f, q, &before);
    for (ann_id id = 7; id < N; id += 60)
        ok(ann_remove(ix, 1, &id, NULL));
    check_scans(ix, f, q, &after);
    ck_assert(after > before); /* some of the nearest are gone */
    ok(ann_add(ix, (ann_view){q, QUERIES, 0, ANN_F32}, NULL)); /* in their slots */
    check_scans(ix, f, q, &after);
    const uint32_t generation = ix->vec.codes.generation;
    for (size_t i = 0; i < N * DIM; i++)
        x[i] *= 3;
    for (int i = 0; i < 4; i++)
        ok(ann_add(ix, (ann_view){x, N, 0, ANN_F32}, NULL));
    ck_assert_uint_ne(ix->vec.codes.generation, generation);
    check_scans(ix, f, q, &after);
    ann_filter_close(f);
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

static int far_away(void *arg, ann_id id)
{
    const struct sieve *s = arg;
    return s->x[id * DIM] > s->edge;
}

/* Half passes, all of it far from the queries: a walk over all nodes finds none, and a walk over
 * what passes does. */
START_TEST(far_from_the_query)
{
    float *x = graph_clusters(N, DIM, 30, 21);
    ann_filter *f = NULL;
    struct found found;
    for (size_t i = 0; i < N; i += 2)
        x[i * DIM] += 100;
    ann_index *ix = index_of(specs[_i], x);
    ok(ann_filter_from_callback(ix, far_away, &(struct sieve){x, 50}, &f));
    ck_assert_uint_eq(ann_filter_count(f), N / 2);
    float q[QUERIES * DIM];
    for (size_t i = 0; i < QUERIES; i++)
        memcpy(q + i * DIM, x + (2 * i + 1) * DIM, DIM * sizeof *q);
    search(ix, f, q, false, &found);
    for (size_t i = 0; i < QUERIES * K; i++)
        ck_assert_uint_eq(found.ids[i] % 2, 0);
    ck_assert_uint_eq(found.stats.exact, 0);
    ann_filter_close(f);
    ann_close(ix);
    free(x);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("filter");
    TCase *c = tcase_create("filter");
    tcase_add_test(c, made_when_it_pays);
    tcase_add_test(c, rows_are_put_once);
    tcase_add_test(c, filled_by_threads);
    tcase_add_test(c, packed_at_the_second);
    tcase_add_loop_test(c, same_scans, 0, SPECS - 1); /* the last has no codes */
    tcase_add_loop_test(c, same_results, 0, 2 * SPECS);
    tcase_add_loop_test(c, far_from_the_query, 0, SPECS - 1);
    tcase_add_loop_test(c, same_after_repair, 0, SPECS);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
