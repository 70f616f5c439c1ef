/* test_subgraph.c - rows that a filter has for what passes it (profile fast): made once, by
 * whoever comes first, of links that pass; searches in them find what they should, also while
 * others make them, after removals and without memory. */
#include <config.h>

#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "ann/hnsw/rows.h"
#include "ann/internal.h"
#include "tests/graph_data.h"

#define DIM     16
#define N       12000 /* so many that a fifth is not scanned */
#define QUERIES 400
#define K       10
#define EFFORT  14

/* ---- the table ---- */

START_TEST(made_when_it_pays)
{
    const uint64_t bits[2] = {0xf0f0, 3};
    struct subrows_place place = {NULL, 0};
    for (int i = 0; i < 5; i++)
        ck_assert_ptr_null(subrows_get(&place, 3, bits, 66, 40, 64, 2560));
    /* Another version: anew. */
    ck_assert_ptr_null(subrows_get(&place, 4, bits, 66, 40, 64, 2560));
    for (int i = 0; i < 4; i++)
        ck_assert_ptr_null(subrows_get(&place, 4, bits, 66, 40, 64, 2560));
    struct subrows *r = subrows_get(&place, 4, bits, 66, 40, 64, 2560);
    ck_assert_ptr_nonnull(r);
    ck_assert_ptr_eq(subrows_get(&place, 4, bits, 66, 40, 64, 2560), r);
    /* For rows of another size, and another version. */
    ck_assert_ptr_null(subrows_get(&place, 4, bits, 66, 40, 128, 9999));
    ck_assert_ptr_null(subrows_get(&place, 5, bits, 66, 40, 64, 2560));
    subrows_free(r);
}
END_TEST

/* However many filters there are. */
START_TEST(no_more_than_so_much)
{
    const uint64_t bits[2] = {0xf0, 0};
    struct subrows_place one = {NULL, 0}, other = {NULL, 0};
    ck_assert_ptr_null(subrows_get(&one, 0, bits, 66, 4, 64, 255));
    struct subrows *r = subrows_get(&one, 0, bits, 66, 4, 64, 500);
    ck_assert_ptr_nonnull(r);
    ck_assert_ptr_null(subrows_get(&other, 0, bits, 66, 4, 64, 500));
    subrows_free(r);
    r = subrows_get(&other, 0, bits, 66, 4, 64, 500);
    ck_assert_ptr_nonnull(r);
    subrows_free(r);
}
END_TEST

START_TEST(numbers_and_marks)
{
    const uint64_t bits[3] = {0x8000000000000011, 0, 6};
    struct subrows_place place = {NULL, 0};
    struct subrows *r = subrows_get(&place, 0, bits, 190, 5, 64, 320);
    ck_assert_ptr_nonnull(r);
    const uint32_t passing[] = {0, 4, 63, 129, 130};
    for (size_t i = 0; i < 5; i++)
        ck_assert_uint_eq(subrow_number(r, passing[i]), i);
    ck_assert(!subrow_made(r, 2) && subrow_claim(r, 2) && !subrow_claim(r, 2));
    ck_assert(!subrow_made(r, 2));
    subrow_done(r, 2);
    ck_assert(subrow_made(r, 2) && !subrow_claim(r, 2) && !subrow_made(r, 3));
    r->entry_groups = 1;
    subrows_clear(r);
    ck_assert(!subrow_made(r, 2) && r->entry_groups == 0);
    subrows_free(r);
}
END_TEST

/* ---- searches ---- */

static const char *const specs[] = {
    "hnsw,m=8,metric=cosine,profile=fast",
    "hnsw,m=16,metric=l2,profile=fast,codes=1bit",
    "hnsw,m=10,metric=ip,profile=fast,store=f16",
};
#define SPECS (int)(sizeof specs / sizeof *specs)

enum which { BY_CHANCE, ONE_SIDE, HALF, WHICH };

struct sieve {
    const float *x;
    enum which which;
    float edge; /* a fifth is beyond */
};

static int passes(void *arg, ann_id id)
{
    const struct sieve *s = arg;
    if (id >= N)
        return 0;
    if (s->which == ONE_SIDE)
        return s->x[id * DIM] > s->edge;
    return id * 2654435761U % 4096 < (s->which == HALF ? 2048 : 820);
}

struct world {
    float *x, *q;
    ann_index *ix, *exact;
    ann_filter *f, *all;
    struct sieve sieve;
};

static struct world world(const char *spec, enum which which)
{
    struct world w = {.x = graph_clusters(N, DIM, 30, 41),
                      .q = graph_clusters(QUERIES, DIM, 30, 42)};
    ann_options o = ANN_OPTIONS_INIT;
    o.dim = DIM;
    o.threads = 2;
    ok(ann_options_parse(&o, spec));
    ok(ann_create(&o, &w.ix));
    ok(ann_add(w.ix, (ann_view){w.x, N, 0, ANN_F32}, NULL));
    o.kind = ANN_FLAT;
    o.profile = ANN_PROFILE_DEFAULT;
    o.codes = ANN_CODES_AUTO;
    ok(ann_create(&o, &w.exact));
    ok(ann_add(w.exact, (ann_view){w.x, N, 0, ANN_F32}, NULL));
    w.sieve = (struct sieve){w.x, which, graph_edge(w.x, N, DIM, N / 5 * 4)};
    ok(ann_filter_from_callback(w.ix, passes, &w.sieve, &w.f));
    ok(ann_filter_from_callback(w.exact, passes, &w.sieve, &w.all));
    return w;
}

static void world_close(struct world *w)
{
    ann_filter_close(w->f);
    ann_filter_close(w->all);
    ann_close(w->ix);
    ann_close(w->exact);
    free(w->x);
    free(w->q);
}

static void search_one(const ann_index *ix, const ann_filter *f, const float *q, size_t k,
                       size_t effort, ann_search_stats *stats, ann_id *ids)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    p.k = k;
    p.effort = effort;
    p.threads = 1;
    p.filter = f;
    p.stats = stats;
    ok(ann_search(ix, (ann_view){q, 1, 0, ANN_F32}, &p, ids, NULL));
}

/* All queries: what is found passes, nothing twice; the share of the true nearest. */
static double search_all(const struct world *w, size_t k, ann_search_stats *stats)
{
    ann_id *ids = malloc(k * sizeof *ids), *truth = malloc(k * sizeof *truth);
    size_t hits = 0, wrong = 0;
    for (size_t i = 0; i < QUERIES; i++) {
        const float *q = w->q + i * DIM;
        search_one(w->ix, w->f, q, k, EFFORT, stats, ids);
        search_one(w->exact, w->all, q, k, EFFORT, NULL, truth);
        for (size_t a = 0; a < k; a++) {
            wrong += !passes((void *)(uintptr_t)&w->sieve, ids[a]); /* or there is none */
            for (size_t b = 0; b < a; b++)
                wrong += ids[b] == ids[a];
            for (size_t b = 0; b < k; b++)
                hits += ids[a] == truth[b];
        }
    }
    free(ids);
    free(truth);
    ck_assert_uint_eq(wrong, 0);
    return (double)hits / (double)(QUERIES * k);
}

static bool has_link(const uint32_t *row, size_t n, uint32_t to)
{
    for (size_t i = 0; i < n; i++)
        if (row[i] == to)
            return true;
    return false;
}

/* The links in a row of rows.h. */
static size_t row_links(const struct hnsw *h, const uint8_t *row, uint32_t *to)
{
    const size_t padded = h->vec->codes.frame.padded;
    size_t n = 0;
    for (size_t i = 0; i < h->m0; i++) {
        uint32_t id;
        memcpy(&id, row + padded + i / 16 * annk_row_group_bytes(padded, h->planes) + i % 16 * 4,
               sizeof id);
        if (id != HNSW_NONE)
            to[n++] = id;
    }
    return n;
}

static bool has_bit(const ann_filter *f, uint32_t slot)
{
    return f->bits[slot >> 6] >> (slot & 63) & 1;
}

/* Rows that are made: distinct links that pass, all of the node's own that do among them; at
 * least `least` rows, and some that have more than the node's own. */
static void check_rows(const struct world *w, size_t least)
{
    const struct hnsw *h = w->ix->state;
    const struct subrows *r = w->f->kept.rows.rows;
    size_t made = 0, more = 0, wrong = 0;
    ck_assert_ptr_nonnull(r);
    for (uint32_t slot = 0; slot < N; slot++) {
        uint32_t to[64];
        if (!has_bit(w->f, slot) || !subrow_made(r, subrow_number(r, slot)))
            continue;
        const uint8_t *row = subrow_at(r, subrow_number(r, slot));
        wrong += memcmp(row, codes_row(&h->vec->codes, slot), h->vec->codes.stride) != 0;
        const size_t n = row_links(h, row, to);
        size_t own = 0;
        for (size_t i = 0; i < n; i++)
            wrong += to[i] == slot || !has_bit(w->f, to[i]) ||
                     has_link(to, i, to[i]);
        const uint32_t *links = hnsw_row0(h, slot);
        for (size_t i = 0; i < h->m0 && links[i] != HNSW_NONE; i++)
            if (has_bit(w->f, links[i])) {
                wrong += !has_link(to, n, links[i]);
                own++;
            }
        more += n > own;
        made++;
    }
    ck_assert_uint_eq(wrong, 0);
    ck_assert_uint_ge(made, least);
    ck_assert_uint_gt(more, made / 2);
}

START_TEST(finds_what_passes)
{
    struct world w = world(specs[_i % SPECS], (enum which)(_i / SPECS));
    ann_search_stats before = {0}, stats = {0};
    const double first = search_all(&w, K, &before);
    (void)search_all(&w, K, NULL);
    ck_assert_ptr_nonnull(w.f->kept.rows.rows);
    const double then = search_all(&w, K, &stats);
    /* An effort finds about as much as without a filter: two hops find more, at up to five times
     * the cost. */
    ck_assert_msg(then >= 0.9, "recall %g, before %g", then, first);
    ck_assert_uint_lt(stats.distances, before.distances);
    ck_assert_uint_eq(stats.exact, 0);
    check_rows(&w, 200);
    ck_assert_double_ge(search_all(&w, 150, &stats), 0.9);
    world_close(&w);
}
END_TEST

/* Removed ones are no results, and what was linked anew has no rows of old. */
START_TEST(follows_changes)
{
    struct world w = world(specs[_i], BY_CHANCE);
    const struct hnsw *h = w.ix->state;
    (void)search_all(&w, K, NULL);
    (void)search_all(&w, K, NULL);
    uint32_t version = h->version;
    ann_id some[2 * N / 3], out = 0;
    for (ann_id id = 0; out < 40; id++) /* too few for a sweep */
        if (passes(&w.sieve, id))
            some[out++] = id;
    ok(ann_remove(w.ix, out, some, NULL));
    ok(ann_remove(w.exact, out, some, NULL));
    ck_assert_uint_eq(h->version, version);
    ann_search_stats stats = {0};
    ck_assert_double_ge(search_all(&w, K, &stats), 0.9);
    ck_assert_uint_eq(stats.exact, 0);
    for (out = 0; out < N / 3; out++)
        some[out] = 3 * out + 1;
    ok(ann_remove(w.ix, out, some, NULL));
    ok(ann_remove(w.exact, out, some, NULL));
    ck_assert_uint_ne(h->version, version);
    version = h->version;
    ck_assert_ptr_null(hnsw_own_rows(h, &(struct kind_query){.allowed = w.f->bits,
                                                             .allowed_slots = w.f->slots,
                                                             .allowed_count = w.f->count,
                                                             .kept = &w.f->kept}));
    ck_assert_double_ge(search_all(&w, K, NULL), 0.9);
    check_rows(&w, 50);
    ok(ann_add(w.ix, (ann_view){w.x, N / 3, 0, ANN_F32}, NULL)); /* in their slots */
    ck_assert_uint_ne(h->version, version);
    ck_assert_double_ge(search_all(&w, K, NULL), 0.9);
    ck_assert_double_ge(search_all(&w, K, NULL), 0.9);
    check_rows(&w, 50);
    world_close(&w);
}
END_TEST

/* Where no allocation succeeds, rows are not made, and nothing is lost. */
START_TEST(without_memory)
{
    struct world w = world(specs[1], BY_CHANCE);
    ann_id ids[K];
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_searcher *s;
    size_t wrong = 0;
    p.k = K;
    p.effort = EFFORT;
    p.filter = w.f;
    ok(ann_searcher_open(w.ix, &p, &s));
    ok(ann_searcher_search(s, w.q, ANN_F32, ids, NULL)); /* its own memory */
    memory_fail_at(1, true);
    for (size_t i = 1; i < QUERIES; i++)
        ok(ann_searcher_search(s, w.q + i * DIM, ANN_F32, ids, NULL));
    memory_fail_at(0, false);
    ck_assert_ptr_null(w.f->kept.rows.rows);
    ok(ann_searcher_search(s, w.q, ANN_F32, ids, NULL));
    ck_assert_ptr_nonnull(w.f->kept.rows.rows);
    memory_fail_at(1, true);
    for (size_t i = 1; i < QUERIES; i++) {
        ok(ann_searcher_search(s, w.q + i * DIM, ANN_F32, ids, NULL));
        for (size_t j = 0; j < K; j++)
            wrong += !passes(&w.sieve, ids[j]);
    }
    memory_fail_at(0, false);
    ck_assert_uint_eq(wrong, 0);
    ann_searcher_close(s);
    world_close(&w);
}
END_TEST

static void *search_often(void *arg)
{
    const struct world *w = arg;
    for (int i = 0; i < 2; i++)
        ck_assert_double_ge(search_all(w, K, NULL), 0.9);
    return NULL;
}

/* Rows are the same whichever search made them. */
START_TEST(made_by_threads)
{
    struct world w = world(specs[1], ONE_SIDE);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, search_often, &w), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    check_rows(&w, 200);
    struct world alone = w;
    ok(ann_filter_from_callback(w.ix, passes, &w.sieve, &alone.f));
    (void)search_often(&alone);
    const struct subrows *a = w.f->kept.rows.rows, *b = alone.f->kept.rows.rows;
    size_t both = 0, differ = 0;
    for (size_t i = 0; i < a->marks.bytes; i++)
        if (subrow_made(a, i) && subrow_made(b, i)) {
            both++;
            differ += memcmp(subrow_at(a, i), subrow_at(b, i), a->row_size) != 0;
        }
    ck_assert_uint_eq(differ, 0);
    ck_assert_uint_ge(both, 200);
    ann_filter_close(alone.f);
    world_close(&w);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("subgraph");
    TCase *c = tcase_create("subgraph");
    tcase_add_test(c, made_when_it_pays);
    tcase_add_test(c, no_more_than_so_much);
    tcase_add_test(c, numbers_and_marks);
    tcase_add_loop_test(c, finds_what_passes, 0, WHICH * SPECS);
    tcase_add_loop_test(c, follows_changes, 0, SPECS);
    tcase_add_test(c, without_memory);
    tcase_add_test(c, made_by_threads);
    suite_add_tcase(s, c);
    SRunner *runner = srunner_create(s);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
