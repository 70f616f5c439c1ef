/* test_flat.c - a batch by matrix product gives, to the bit, what one query at a time gives,
 * and that is what the oracle says. */
#include <config.h>

#include <check.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/rng.h"
#include "tests/graph_data.h"

#define NQ 40

struct results {
    ann_id *ids;
    float *dists;
};

static struct results results_new(size_t n)
{
    return (struct results){calloc(n, sizeof(ann_id)), calloc(n, sizeof(float))};
}

static void results_free(struct results *r)
{
    free(r->ids);
    free(r->dists);
}

/* Batch of all, and one by one, with the same answers; r receives them [NQ, k]. */
static void same_both_ways(const ann_index *ix, const ann_view *q, size_t dim,
                           ann_search_params *p, struct results *r)
{
    const size_t k = p->k;
    struct results one = results_new(k);
    ok(ann_search(ix, *q, p, r->ids, r->dists));
    for (size_t i = 0; i < q->n; i++) {
        ok(ann_search(ix, graph_rows(q, dim, i, 1), p, one.ids, one.dists));
        for (size_t j = 0; j < k; j++)
            ck_assert_msg(one.ids[j] == r->ids[i * k + j] &&
                              memcmp(&one.dists[j], &r->dists[i * k + j], sizeof(float)) == 0,
                          "query %zu, result %zu: %lld at %.9g, in the batch %lld at %.9g", i,
                          j, (long long)one.ids[j], (double)one.dists[j],
                          (long long)r->ids[i * k + j], (double)r->dists[i * k + j]);
    }
    results_free(&one);
}

static const ann_metric metrics[] = {ANN_L2, ANN_IP, ANN_COSINE};
static const ann_dtype stores[] = {ANN_F32, ANN_F16, ANN_BF16};

static bool odd(void *arg, ann_id id)
{
    (void)arg;
    return id % 2;
}

static int odd_callback(void *arg, ann_id id)
{
    return odd(arg, id);
}

/* Every shape, metric, store; k small and near n; with holes, with and without a filter. */
START_TEST(batch_equals_single_and_oracle)
{
    static const size_t dims[] = {1, 3, 16, 33};
    const ann_metric metric = metrics[_i % 3];
    const ann_dtype store = stores[_i / 3];
    for (int shape = 0; shape < SHAPES; shape++) {
        const size_t dim = dims[shape % 4], n = 1030;
        const size_t ks[] = {1, 10, n - 101, n - 100, n};
        struct oracle_data x = oracle_data((enum oracle_shape)shape, ANN_F32, n, dim, 1);
        struct oracle_data q = oracle_data((enum oracle_shape)shape, ANN_F32, NQ, dim, 2);
        memcpy(q.rows, x.rows, 3 * dim * sizeof(float)); /* some that are there */
        ann_index *ix = graph_index(ANN_FLAT, metric, store, dim, 2);
        struct oracle *o = oracle_new(metric, dim);
        struct results r = results_new(NQ * n);
        ok(ann_add(ix, x.view, NULL));
        for (ann_id i = 0; i < 200; i += 2)
            ok(ann_remove(ix, 1, &i, NULL));
        for (ann_id i = 0; i < n; i++)
            if (ann_contains(ix, i))
                oracle_put_stored(o, ix, i);
        ann_filter *f = NULL;
        ok(ann_filter_from_callback(ix, odd_callback, NULL, &f));
        for (int with = 0; with < 2; with++)
            for (size_t t = 0; t < 5; t++) {
                ann_search_params p = ANN_SEARCH_PARAMS_INIT;
                p.k = ks[t];
                p.filter = with ? f : NULL;
                p.threads = 1 + (uint32_t)t % 3;
                same_both_ways(ix, &q.view, dim, &p, &r);
                float *query = malloc(dim * sizeof *query);
                /* Rounded to bf16 a unit vector is none: what is below 0 is cut off there. */
                for (size_t i = _i == 8 ? NQ : 0; i < NQ; i += 9) {
                    char why[200];
                    size_t count;
                    oracle_row(&q.view, dim, i, query);
                    struct oracle_near *truth = oracle_sorted(o, query, with ? odd : NULL, NULL,
                                                              &count);
                    const double share = oracle_compare(o, query, truth, count, r.ids + i * p.k,
                                                        r.dists + i * p.k, p.k, why);
                    ck_assert_msg(share >= 0, "%s", why);
                    ck_assert_msg(share == 1, "shape %d, k %zu: %g", shape, p.k, share);
                    free(truth);
                }
                free(query);
            }
        ann_filter_close(f);
        results_free(&r);
        oracle_free(o);
        ann_close(ix);
        oracle_data_free(&x);
        oracle_data_free(&q);
    }
}
END_TEST

/* Values whose squares or products leave float's range in the product but not in the kernel, or
 * in both: what is near must not hide behind an infinity. */
START_TEST(batch_with_extreme_values)
{
    static const float scales[] = {1e18f, 6e18f, 1e19f, 1e25f, 1e37f, 1e-19f, 1e-25f, 1e-38f,
                                   1e-44f};
    const size_t dim = 8, n = 200, k = 12;
    float *x = malloc(n * dim * sizeof *x), *q = malloc(NQ * dim * sizeof *q);
    for (int m = 0; m < 3; m++)
        for (int mixed = 0; mixed < 4; mixed++) {
            uint64_t state = 40 + (uint64_t)mixed;
            for (size_t i = 0; i < n * dim; i++) {
                const bool large = mixed == 0 || (mixed == 1 && i / dim % 7 == 0) ||
                                   (mixed > 1 && i / dim % 20 == 3);
                x[i] = (float)(rng_unit(&state) - (mixed == 3 ? 0 : 0.5) + 1e-3) *
                       (large ? scales[_i] : 1.0f);
            }
            for (size_t i = 0; i < NQ * dim; i++)
                q[i] = i / dim % 2 ? x[i] * 1.001f : x[(n - 1 - i / dim) * dim + i % dim];
            ann_index *ix = graph_index(ANN_FLAT, metrics[m], ANN_F32, dim, 2);
            struct results r = results_new(NQ * k);
            ann_search_params p = ANN_SEARCH_PARAMS_INIT;
            p.k = k;
            if (metrics[m] != ANN_COSINE || _i < 8) /* else some row is zero */
                ok(ann_add(ix, (ann_view){x, n, 0, ANN_F32}, NULL));
            const ann_view view = {q, NQ, 0, ANN_F32};
            if (ann_contains(ix, 0))
                same_both_ways(ix, &view, dim, &p, &r);
            results_free(&r);
            ann_close(ix);
        }
    free(x);
    free(q);
}
END_TEST

/* Two vectors so far out that the product overflows although they are neighbours. */
START_TEST(near_but_huge)
{
    const size_t dim = 4;
    float x[60 * 4], q[NQ * 4];
    for (size_t i = 0; i < 60 * dim; i++)
        x[i] = 6.0e18f + (float)(i / dim) * 1e16f;
    for (size_t i = 0; i < 20 * dim; i++)
        x[i] = 1e18f + (float)i;
    for (size_t i = 0; i < NQ * dim; i++)
        q[i] = x[(20 + i / dim) * dim];
    ann_index *ix = graph_index(ANN_FLAT, ANN_L2, ANN_F32, dim, 2);
    struct results r = results_new(NQ);
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    const ann_view view = {q, NQ, 0, ANN_F32};
    ok(ann_add(ix, (ann_view){x, 60, 0, ANN_F32}, NULL));
    p.k = 1;
    same_both_ways(ix, &view, dim, &p, &r);
    for (size_t i = 0; i < NQ; i++)
        ck_assert(r.ids[i] == 20 + i && r.dists[i] == 0);
    results_free(&r);
    ann_close(ix);
}
END_TEST

/* More vectors and queries than one block of either. */
START_TEST(several_blocks)
{
    const size_t dim = 20, n = 3000, nq = 700, k = 10;
    struct oracle_data x = oracle_data(SHAPE_DUPLICATES, ANN_F32, n, dim, 5);
    struct oracle_data q = oracle_data(SHAPE_DUPLICATES, ANN_F32, nq, dim, 5);
    for (unsigned threads = 1; threads <= 3; threads++) {
        ann_index *ix = graph_index(ANN_FLAT, metrics[_i], ANN_F32, dim, threads);
        struct results r = results_new(nq * k);
        ann_search_params p = ANN_SEARCH_PARAMS_INIT;
        ann_search_stats stats = {0};
        p.k = k;
        p.stats = &stats;
        ok(ann_add(ix, x.view, NULL));
        same_both_ways(ix, &q.view, dim, &p, &r);
        ck_assert_uint_eq(stats.queries, 2 * nq);
        ck_assert_uint_ge(stats.distances, 2 * nq * n);
        for (size_t i = 0; i < nq; i++)
            graph_check_row(r.ids + i * k, r.dists + i * k, k, k);
        results_free(&r);
        ann_close(ix);
    }
    oracle_data_free(&x);
    oracle_data_free(&q);
}
END_TEST

START_TEST(empty_and_nearly)
{
    float x[3] = {1, 2, 3}, q[NQ * 3] = {0};
    for (size_t i = 0; i < NQ * 3; i++)
        q[i] = (float)i;
    ann_index *ix = graph_index(ANN_FLAT, ANN_L2, ANN_F32, 3, 2);
    struct results r = results_new(NQ * 5);
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    const ann_view view = {q, NQ, 0, ANN_F32};
    p.k = 5;
    for (int n = 0; n < 3; n++) {
        same_both_ways(ix, &view, 3, &p, &r);
        for (size_t i = 0; i < NQ; i++)
            graph_check_row(r.ids + 5 * i, r.dists + 5 * i, 5, (size_t)n);
        ok(ann_add(ix, (ann_view){x, 1, 0, ANN_F32}, NULL));
    }
    results_free(&r);
    ann_close(ix);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("flat");
    TCase *c = tcase_create("flat");
    tcase_add_loop_test(c, batch_equals_single_and_oracle, 0, 9);
    tcase_add_loop_test(c, batch_with_extreme_values, 0, 9);
    tcase_add_test(c, near_but_huge);
    tcase_add_loop_test(c, several_blocks, 0, 3);
    tcase_add_test(c, empty_and_nearly);
    suite_add_tcase(suite, c);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
