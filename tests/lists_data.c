/* lists_data.c - see lists_data.h. */
#include <config.h>

#include <math.h>

#include "ann/internal.h"
#include "tests/lists_data.h"

ann_view lists_view(const float *x, size_t first, size_t n)
{
    return (ann_view){x + first * DIM, n, 0, ANN_F32};
}

ann_index *lists_make(const char *spec, unsigned threads)
{
    ann_options o = ANN_OPTIONS_INIT;
    ann_index *ix = NULL;
    o.dim = DIM;
    o.threads = threads;
    ok(ann_options_parse(&o, spec));
    ok(ann_create(&o, &ix));
    return ix;
}

ann_index *lists_filled(const char *spec, unsigned threads, const float *x, size_t n)
{
    ann_index *ix = lists_make(spec, threads);
    ok(ann_train(ix, lists_view(x, 0, n)));
    ok(ann_add(ix, lists_view(x, 0, n), NULL));
    return ix;
}

ann_info lists_info(const ann_index *ix)
{
    ann_info info = {.size = ANN_INFO_SIZE};
    ok(ann_index_info(ix, &info));
    return info;
}

void lists_check(const ann_index *ix, const float *x, const float *q)
{
    ann_id ids[NQ * K];
    float dists[NQ * K];
    ok(ann_search(ix, lists_view(q, 0, NQ), NULL, ids, dists));
    for (size_t i = 0; i < NQ; i++) {
        graph_check_row(ids + i * K, dists + i * K, K, K);
        for (size_t j = 0; j < K && ix->vec.store == ANN_F32; j++) {
            const float *v = x + ids[i * K + j] * DIM;
            const double want = oracle_distance(ix->vec.metric, q + i * DIM, v, DIM);
            const double slack = oracle_slack(ix->vec.metric, q + i * DIM, v, DIM);
            ck_assert_msg(fabs(want - (double)dists[i * K + j]) <= slack + 1e-5 * fabs(want),
                          "%g, not %g", (double)dists[i * K + j], want);
        }
    }
}
