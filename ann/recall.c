/* recall.c - how much an index loses against exact search over its own vectors.
 *
 * Place: front door.  A result counts if its distance is at most the true k-th, with room for
 * the rounding of one distance, so that of equally near vectors any will do; an id counts once.
 */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/clock.h"
#include "ann/base/error.h"
#include "ann/base/rng.h"
#include "ann/internal.h"

#define RESAMPLES 1000
#define ROUNDING 1e-6 /* relative */

struct comparison {
    size_t nq, k;
    ann_id *ids;         /* [nq, k]: the index's */
    float *dists;        /* [nq, k] */
    ann_id *exact_ids;   /* [nq, k] */
    float *exact_dists;  /* [nq, k] */
    double *recall;      /* [nq] */
};

static void comparison_free(struct comparison *c)
{
    mem_free(c->ids);
    mem_free(c->dists);
    mem_free(c->exact_ids);
    mem_free(c->exact_dists);
    mem_free(c->recall);
}

static ann_err comparison_alloc(struct comparison *c)
{
    c->ids = mem_zalloc(c->nq, c->k * sizeof *c->ids);
    c->dists = mem_zalloc(c->nq, c->k * sizeof *c->dists);
    c->exact_ids = mem_zalloc(c->nq, c->k * sizeof *c->exact_ids);
    c->exact_dists = mem_zalloc(c->nq, c->k * sizeof *c->exact_dists);
    c->recall = mem_zalloc(c->nq, sizeof *c->recall);
    if (!c->ids || !c->dists || !c->exact_ids || !c->exact_dists || !c->recall)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu queries", c->nq);
    return ANN_OK;
}

/* The same search by the flat kind over the same vectors. */
ann_err recall_exact(const ann_index *ix, const ann_view *q, const struct query_params *p,
                     ann_id *ids, float *dists)
{
    struct query_params exact = *p;
    if (ix->vec.stride == 0 && ix->vec.codes.type == CODE_NONE)
        return ANN_FAIL(ANN_ENOTSUP, "the index keeps short codes alone (store=none,codes=none): "
                                     "nothing to compare with");
    exact.kind = index_kind(ANN_FLAT);
    exact.stats = NULL;
    ann_err err =
        exact.kind->create(&ix->opt, (struct vectors *)(uintptr_t)&ix->vec, &exact.state);
    if (err)
        return err;
    err = query_all(ix, q, &exact, ids, dists);
    exact.kind->destroy(exact.state);
    return err;
}

double recall_share(const ann_id *ids, const float *dists, const ann_id *truth_ids,
                    const float *truth, size_t k)
{
    size_t want = k;
    while (want > 0 && truth_ids[want - 1] == ANN_NO_ID)
        want--;
    if (want == 0)
        return 1;
    const double limit = truth[want - 1] + ROUNDING * fabs((double)truth[want - 1]);
    size_t hits = 0;
    for (size_t j = 0; j < k && hits < want; j++) {
        bool counts = ids[j] != ANN_NO_ID && (double)dists[j] <= limit;
        for (size_t l = 0; l < j && counts; l++)
            counts = ids[l] != ids[j];
        hits += counts;
    }
    return (double)hits / (double)want;
}

static int double_order(const void *pa, const void *pb)
{
    const double a = *(const double *)pa, b = *(const double *)pb;
    return (a > b) - (a < b);
}

/* 95 % interval of the mean: quantiles of the means of resampled queries. */
static void bootstrap(const struct comparison *c, double *low, double *high)
{
    double means[RESAMPLES];
    uint64_t state = 1;
    for (size_t r = 0; r < RESAMPLES; r++) {
        double sum = 0;
        for (size_t i = 0; i < c->nq; i++)
            sum += c->recall[rng_below(&state, c->nq)];
        means[r] = sum / (double)c->nq;
    }
    qsort(means, RESAMPLES, sizeof *means, double_order);
    *low = means[RESAMPLES * 25 / 1000];
    *high = means[RESAMPLES * 975 / 1000 - 1];
}

ann_err ann_recall(const ann_index *ix, ann_view q, const ann_search_params *given,
                   ann_recall_report *report)
{
    struct query_params p;
    if (!ix || !report)
        return ANN_FAIL(ANN_EINVAL, "%s is NULL", ix ? "report" : "index");
    ann_err err = query_params_read(ix, given, &p);
    if (err)
        return err;
    if (q.n == 0)
        return ANN_FAIL(ANN_EINVAL, "no queries");
    struct comparison c = {.nq = q.n, .k = p.k};
    ann_search_stats stats = {0}, *const asked = p.stats;
    p.stats = &stats;
    double start = 0, middle = 0, end = 0;
    err = comparison_alloc(&c);
    if (!err) {
        start = clock_seconds();
        err = query_all(ix, &q, &p, c.ids, c.dists);
        middle = clock_seconds();
    }
    if (!err) {
        err = recall_exact(ix, &q, &p, c.exact_ids, c.exact_dists);
        end = clock_seconds();
    }
    if (!err) {
        ann_recall_report r = ANN_RECALL_REPORT_INIT;
        for (size_t i = 0; i < c.nq; i++)
            r.recall += c.recall[i] =
                recall_share(c.ids + i * c.k, c.dists + i * c.k, c.exact_ids + i * c.k,
                             c.exact_dists + i * c.k, c.k);
        r.recall /= (double)c.nq;
        bootstrap(&c, &r.low, &r.high);
        r.size = report->size;
        r.queries = c.nq;
        r.k = c.k;
        r.search_us = 1e6 * (middle - start) / (double)c.nq;
        r.exact_us = 1e6 * (end - middle) / (double)c.nq;
        r.distances = (double)stats.distances / (double)c.nq;
        memcpy(report, &r, r.size < sizeof r ? r.size : sizeof r);
        if (asked)
            query_add_stats(asked, &stats);
    }
    comparison_free(&c);
    return err;
}
