/* graph_data.c - see graph_data.h. */
#include <config.h>

#include <check.h>
#include <math.h>
#include <stdlib.h>

#include "ann/base/rng.h"
#include "tests/graph_data.h"

ann_index *graph_index(ann_kind kind, ann_metric metric, ann_dtype store, size_t dim,
                       unsigned threads)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    o.kind = kind;
    o.metric = metric;
    o.store = store;
    o.dim = (uint32_t)dim;
    o.threads = threads ? threads : 2;
    o.m = 8;
    o.ef_construction = 80;
    ok(ann_create(&o, &ix));
    return ix;
}

ann_view graph_rows(const ann_view *v, size_t dim, size_t first, size_t n)
{
    size_t row = dim * sizeof(float);
    if (v->dtype == ANN_F16 || v->dtype == ANN_BF16)
        row = 2 * dim;
    else if (v->dtype == ANN_I8 || v->dtype == ANN_U8)
        row = dim;
    else if (v->dtype == ANN_B1)
        row = (dim + 7) / 8;
    return (ann_view){(const char *)v->data + first * row, n, 0, v->dtype};
}

/* Roughly normal: a sum of uniform numbers. */
static float normal(uint64_t *state)
{
    double sum = -3;
    for (int i = 0; i < 6; i++)
        sum += rng_unit(state);
    return (float)(sum * 1.4);
}

float *graph_clusters(size_t n, size_t dim, size_t clusters, uint64_t seed)
{
    float *x = malloc(n * dim * sizeof *x);
    uint64_t state = seed;
    for (size_t i = 0; i < n; i++) {
        uint64_t centre = 1000 + rng_below(&state, clusters);
        for (size_t j = 0; j < dim; j++)
            x[i * dim + j] = 2 * normal(&centre) + normal(&state);
    }
    return x;
}

static int by_value(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

float graph_edge(const float *x, size_t n, size_t dim, size_t rank)
{
    float *firsts = malloc(n * sizeof *firsts);
    for (size_t i = 0; i < n; i++)
        firsts[i] = x[i * dim];
    qsort(firsts, n, sizeof *firsts, by_value);
    const float edge = firsts[rank];
    free(firsts);
    return edge;
}

double graph_recall(const ann_index *ix, const float *queries, size_t nq, size_t k,
                    size_t effort)
{
    ann_search_params p = ANN_SEARCH_PARAMS_INIT;
    ann_recall_report r = ANN_RECALL_REPORT_INIT;
    p.k = k;
    p.effort = effort;
    ok(ann_recall(ix, (ann_view){queries, nq, 0, ANN_F32}, &p, &r));
    return r.recall;
}

void graph_check_row(const ann_id *ids, const float *dists, size_t k, size_t found)
{
    for (size_t i = 0; i < k; i++) {
        if (i >= found) {
            ck_assert(ids[i] == ANN_NO_ID && isinf(dists[i]));
            continue;
        }
        ck_assert_msg(ids[i] != ANN_NO_ID, "%zu of %zu results", i, found);
        ck_assert_msg(i == 0 || dists[i] >= dists[i - 1], "%g after %g at %zu",
                      (double)dists[i], (double)dists[i - 1], i);
        size_t same = 0;
        while (same < i && ids[same] != ids[i])
            same++;
        ck_assert_msg(same == i, "id %llu twice", (unsigned long long)ids[i]);
    }
}
