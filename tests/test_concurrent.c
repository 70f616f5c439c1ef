/* test_concurrent.c - searches beside changes give valid results; meant for the thread
 * sanitizer.
 *
 * Each writer owns ids of its own.  Id i carries vector i or one of three others, so that a
 * result's distance tells whether it is of a vector that the id had at some moment. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/rng.h"
#include "tests/graph_data.h"

#define DIM 12
#define SLOTS 500 /* of ids that come and go, for each writer */
#define WRITERS 2
#define STABLE 300 /* ids that stay */
#define IDS (STABLE + WRITERS * SLOTS)
#define STEPS 50
#define K 20

struct scene {
    ann_index *ix;
    float *x;        /* [IDS, DIM]; an update moves a vector to that of another id */
    atomic_int stop;
    atomic_uint bad; /* results that cannot be */
    char why[8][120];
};

static void complain(struct scene *s, const char *what, double a, double b)
{
    const unsigned n = atomic_fetch_add(&s->bad, 1);
    if (n < 8)
        snprintf(s->why[n], sizeof s->why[n], "%s: %g, %g", what, a, b);
}

/* The smallest difference between a distance and that of any vector the id can have had. */
static void check_result(struct scene *s, const float *q, ann_id id, float dist)
{
    double least = INFINITY;
    if (id >= IDS) {
        complain(s, "no such id", (double)id, 0);
        return;
    }
    for (size_t g = 0; g < (id < STABLE ? 1 : 4); g++) {
        const float *v = s->x + (id + g * 3) % IDS * DIM;
        double sum = 0;
        for (size_t i = 0; i < DIM; i++)
            sum += (double)(q[i] - v[i]) * (double)(q[i] - v[i]);
        least = fmin(least, fabs(sum - (double)dist) / (1 + sum));
    }
    if (!(least < 1e-4))
        complain(s, "not a distance of this id", (double)id, (double)dist);
}

static void check_row(struct scene *s, const float *q, const ann_id *ids, const float *dists,
                      size_t k, size_t least)
{
    for (size_t i = 0; i < k; i++) {
        if (ids[i] == ANN_NO_ID) {
            if (i < least)
                complain(s, "too few results", (double)i, (double)least);
            return;
        }
        check_result(s, q, ids[i], dists[i]);
        if (i > 0 && dists[i] < dists[i - 1])
            complain(s, "not in order", (double)dists[i - 1], (double)dists[i]);
        for (size_t j = 0; j < i; j++)
            if (ids[j] == ids[i])
                complain(s, "twice", (double)ids[i], (double)i);
    }
}

static int is_even(void *arg, ann_id id)
{
    (void)arg;
    return id % 2 == 0;
}

static void use_filter(struct scene *s, const float *q, ann_id *ids, float *dists)
{
    ann_filter *f = NULL;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    if (ann_filter_from_callback(s->ix, is_even, NULL, &f)) {
        complain(s, "filter", 0, 0);
        return;
    }
    p.filter = f;
    p.k = K;
    for (int i = 0; i < 3; i++) {
        if (ann_search(s->ix, (ann_view){q, 1, 0, ANN_F32}, &p, ids, dists))
            complain(s, "filtered search", 0, 0);
        check_row(s, q, ids, dists, K, K);
        for (size_t j = 0; j < K && ids[j] != ANN_NO_ID; j++)
            if (ids[j] % 2)
                complain(s, "does not pass", (double)ids[j], 0);
    }
    ann_filter_close(f);
}

static void use_iterator(struct scene *s, const float *q)
{
    ann_iter *it = NULL;
    unsigned char seen[IDS] = {0};
    ann_id ids[40];
    float dists[40];
    size_t got = 1;
    if (ann_iter_open(s->ix, q, ANN_F32, NULL, &it)) {
        complain(s, "iterator", 0, 0);
        return;
    }
    for (int i = 0; i < 10 && got > 0; i++) {
        if (ann_iter_next(it, 40, ids, dists, &got)) {
            complain(s, "iterator", 1, 0);
            break;
        }
        for (size_t j = 0; j < got; j++) {
            check_result(s, q, ids[j], dists[j]);
            if (ids[j] < STABLE && seen[ids[j]]++)
                complain(s, "iterator gave twice", (double)ids[j], 0);
        }
    }
    ann_iter_close(it);
}

static void *reader(void *arg)
{
    struct scene *s = arg;
    ann_id ids[9 * K];
    float dists[9 * K], vec[DIM];
    ann_searcher *searcher = NULL;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    uint64_t state = (uintptr_t)&ids;
    p.k = K;
    if (ann_searcher_open(s->ix, &p, &searcher))
        complain(s, "searcher", 0, 0);
    while (!atomic_load(&s->stop)) {
        const float *q = s->x + rng_below(&state, IDS - 9) * DIM;
        if (ann_searcher_search(searcher, q, ANN_F32, ids, dists))
            complain(s, "search", 0, 0);
        check_row(s, q, ids, dists, K, K);
        p.threads = 1 + (uint32_t)rng_below(&state, 2);
        if (ann_search(s->ix, (ann_view){q, 9, 0, ANN_F32}, &p, ids, dists))
            complain(s, "batch", 0, 0);
        for (size_t i = 0; i < 9; i++)
            check_row(s, q + i * DIM, ids + i * K, dists + i * K, K, K);
        use_filter(s, q, ids, dists);
        use_iterator(s, q);
        ann_range_result r;
        if (ann_search_range(s->ix, (ann_view){q, 1, 0, ANN_F32}, dists[5], NULL, &r)) {
            complain(s, "range", 0, 0);
        } else {
            for (size_t i = 0; i < r.offsets[1]; i++)
                check_result(s, q, r.ids[i], r.dists[i]);
            ann_range_free(&r);
        }
        const ann_id id = rng_below(&state, STABLE);
        if (!ann_contains(s->ix, id) || ann_get(s->ix, id, vec) ||
            memcmp(vec, s->x + id * DIM, sizeof vec) != 0)
            complain(s, "a stable id", (double)id, 0);
    }
    ann_searcher_close(searcher);
    return NULL;
}

struct writer {
    struct scene *s;
    size_t number;
};

static void *writer(void *arg)
{
    struct scene *s = ((struct writer *)arg)->s;
    const size_t base = STABLE + ((struct writer *)arg)->number * SLOTS;
    uint64_t state = base;
    unsigned char there[SLOTS] = {0};
    for (int step = 0; step < STEPS; step++) {
        const size_t first = rng_below(&state, SLOTS - 60), n = 1 + rng_below(&state, 60);
        ann_id ids[60];
        size_t count = 0, removed = 0, want = 0;
        ann_err err = ANN_OK;
        const size_t g = rng_below(&state, 4);
        const int what = step < 15 ? 1 : step % 3;
        for (size_t i = 0; i < n; i++)
            ids[i] = base + first + i;
        const float *x = s->x + (base + first + g * 3) % IDS * DIM;
        const size_t room = IDS - (base + first + g * 3) % IDS;
        const size_t m = n < room ? n : room;
        if (what == 0) {
            for (size_t i = 0; i < n; i++)
                want += there[first + i];
            err = ann_remove(s->ix, n, ids, &removed);
            if (removed != want)
                complain(s, "removed", (double)removed, (double)want);
            memset(there + first, 0, n);
        } else if (what == 1) {
            err = ann_update(s->ix, (ann_view){x, m, 0, ANN_F32}, ids);
            memset(there + first, 1, m);
        } else {
            for (; count < m && !there[first + count]; count++)
                there[first + count] = 1;
            err = ann_add(s->ix, (ann_view){x, count, 0, ANN_F32}, ids);
        }
        if (err)
            complain(s, ann_error_message(), err, 0);
    }
    return NULL;
}

START_TEST(searches_beside_changes)
{
    struct scene s = {.x = graph_clusters(IDS, DIM, 20, 31)};
    struct writer w[WRITERS];
    pthread_t readers[3], writers[WRITERS];
    static const ann_kind kinds[] = {ANN_HNSW, ANN_FLAT, ANN_IVFPQ};
    s.ix = graph_index(kinds[_i % 3], ANN_L2, _i < 3 ? ANN_F32 : ANN_F16, DIM, 2);
    if (_i >= 3) /* what f16 keeps of them, so that distances are those of x */
        for (size_t i = 0; i < IDS * DIM; i++)
            s.x[i] = rintf(s.x[i] * 16) / 16;
    ok(ann_train(s.ix, (ann_view){s.x, IDS, 0, ANN_F32}));
    ok(ann_add(s.ix, (ann_view){s.x, STABLE, 0, ANN_F32}, NULL));
    for (int i = 0; i < 3; i++)
        ck_assert_int_eq(pthread_create(&readers[i], NULL, reader, &s), 0);
    for (size_t i = 0; i < WRITERS; i++) {
        w[i] = (struct writer){&s, i};
        ck_assert_int_eq(pthread_create(&writers[i], NULL, writer, &w[i]), 0);
    }
    for (size_t i = 0; i < WRITERS; i++)
        pthread_join(writers[i], NULL);
    atomic_store(&s.stop, 1);
    for (int i = 0; i < 3; i++)
        pthread_join(readers[i], NULL);
    for (unsigned i = 0; i < 8 && i < s.bad; i++)
        fprintf(stderr, "%s\n", s.why[i]);
    ck_assert_uint_eq(s.bad, 0);
    ok(ann_check(s.ix, ANN_CHECK_REACHABLE));
    ann_close(s.ix);
    free(s.x);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("concurrent");
    TCase *c = tcase_create("concurrent");
    tcase_add_loop_test(c, searches_beside_changes, 0, 6);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
