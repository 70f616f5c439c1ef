/* test_ivfpq_many.c - so many lists that their centroids stand in a graph. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "ann/base/rng.h"
#include "ann/internal.h"
#include "ann/ivfpq/ivfpq.h"
#include "tests/graph_data.h"

#define DIM 8
#define N 40000
#define NQ 50
#define K 10
#define SPEC "ivfpq,nlist=16384,pq_m=4"

static float *rows(size_t n, uint64_t seed)
{
    float *x = malloc(n * DIM * sizeof *x);
    ck_assert_ptr_nonnull(x);
    for (size_t i = 0; i < n * DIM; i++)
        x[i] = (float)(rng_at(seed, i) >> 40) * 0x1p-24f;
    return x;
}

static ann_index *filled(const float *x)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    o.dim = DIM;
    o.threads = 2;
    ok(ann_options_parse(&o, SPEC));
    ok(ann_create(&o, &ix));
    ok(ann_train(ix, (ann_view){x, N, 0, ANN_F32}));
    ok(ann_add(ix, (ann_view){x, N, 0, ANN_F32}, NULL));
    return ix;
}

static double recall_at(const ann_index *ix, const float *q, size_t effort, ann_filter *f)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_recall_report r = ANN_RECALL_REPORT_INIT;
    p.k = K;
    p.effort = effort;
    p.filter = f;
    ok(ann_recall(ix, (ann_view){q, NQ, 0, ANN_F32}, &p, &r));
    return r.recall;
}

static int each_97th(void *arg, ann_id id)
{
    (void)arg;
    return id % 97 == 0;
}

/* Lists that are found by the graph, by the table, and all of them because too few pass. */
START_TEST(found)
{
    float *x = rows(N, 1), *q = rows(NQ, 2);
    ann_index *ix = filled(x);
    ann_filter *some = NULL;
    ck_assert_ptr_nonnull(((struct ivfpq *)ix->state)->graph);
    ck_assert(recall_at(ix, q, 200, NULL) > 0.95);
    ck_assert(recall_at(ix, q, 4096, NULL) > 0.99);
    ok(ann_filter_from_callback(ix, each_97th, NULL, &some));
    ck_assert(recall_at(ix, q, 2, some) > 0.3);
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id ids[200];
    p.k = 200;
    p.effort = 1;
    p.filter = some;
    ok(ann_search(ix, (ann_view){q, 1, 0, ANN_F32}, &p, ids, NULL));
    for (size_t i = 0; i < p.k; i++) {
        ck_assert(ids[i] % 97 == 0);
        for (size_t j = 0; j < i; j++)
            ck_assert(ids[j] != ids[i]);
    }
    ann_filter_close(some);
    ann_close(ix);
    free(x);
    free(q);
}
END_TEST

/* An opened file finds the same. */
START_TEST(opened)
{
    float *x = rows(N, 1), *q = rows(NQ, 2);
    ann_index *ix = filled(x), *again = NULL;
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_id *a = malloc(2 * NQ * K * sizeof *a), *b = a + NQ * K;
    ann_open_options o = ANN_OPEN_OPTIONS_INIT;
    char path[] = "/tmp/kith-many-XXXXXX";
    const int fd = mkstemp(path);
    ck_assert(fd >= 0 && a);
    close(fd);
    p.k = K;
    p.effort = 50;
    ok(ann_save(ix, path));
    ok(ann_search(ix, (ann_view){q, NQ, 0, ANN_F32}, &p, a, NULL));
    ann_close(ix);
    o.mode = ANN_OPEN_MAP;
    ok(ann_open(path, &o, &again));
    ok(ann_search(again, (ann_view){q, NQ, 0, ANN_F32}, &p, b, NULL));
    for (size_t i = 0; i < NQ * K; i++)
        ck_assert(a[i] == b[i]);
    ok(ann_check(again, ANN_CHECK_STRUCTURE));
    ann_close(again);
    unlink(path);
    free(a);
    free(x);
    free(q);
}
END_TEST

int main(void)
{
    Suite *s = suite_create("ivfpq_many");
    TCase *t = tcase_create("many");
    tcase_add_test(t, found);
    tcase_add_test(t, opened);
    suite_add_tcase(s, t);
    SRunner *r = srunner_create(s);
    srunner_run_all(r, CK_ENV);
    const int failed = srunner_ntests_failed(r);
    srunner_free(r);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
