/* metrics.c - see metrics.h.
 *
 * Place: rag/eval. */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "ann/base/rng.h"
#include "rag/error.h"
#include "rag/eval/metrics.h"

#define SAMPLES   1000
#define EXCHANGES 10000
#define SEED      2007

static const struct {
    const char *name;
    size_t cut;
} metrics[RAG_METRICS] = {
    [RAG_NDCG_10] = {"nDCG@10", 10},         [RAG_MRR_10] = {"MRR@10", 10},
    [RAG_MAP_100] = {"MAP@100", 100},        [RAG_RECALL_1] = {"recall@1", 1},
    [RAG_RECALL_5] = {"recall@5", 5},        [RAG_RECALL_10] = {"recall@10", 10},
    [RAG_RECALL_20] = {"recall@20", 20},     [RAG_RECALL_100] = {"recall@100", 100},
    [RAG_PRECISION_5] = {"precision@5", 5},  [RAG_SUCCESS_1] = {"success@1", 1},
    [RAG_SUCCESS_5] = {"success@5", 5},      [RAG_SUCCESS_10] = {"success@10", 10},
    [RAG_UNJUDGED_10] = {"unjudged@10", 10},
};

const char *rag_metric_name(rag_metric m)
{
    return (size_t)m < RAG_METRICS ? metrics[m].name : "";
}

/* What a ranking comes to up to one place. */
struct seen {
    double gain, precisions; /* discounted; sum of precisions where relevant ones stand */
    size_t relevant, unjudged, first; /* first: place of a relevant one, from 1; 0: none yet */
};

static int by_document(const void *key, const void *item)
{
    return strcmp(key, ((const struct eval_grade *)item)->document);
}

static void see(struct seen *s, size_t place, const struct eval_grade *g)
{
    s->unjudged += g == NULL;
    if (!g || g->grade < 1)
        return;
    s->gain += (double)g->grade / log2((double)place + 1);
    s->relevant++;
    s->precisions += (double)s->relevant / (double)place;
    s->first = s->first ? s->first : place;
}

static void take(rag_metric m, const struct seen *s, size_t place, size_t relevant,
                 double ideal, double *values)
{
    const double cut = (double)metrics[m].cut, found = (double)s->relevant;
    switch (m) {
    case RAG_NDCG_10:
        values[m] = ideal > 0 ? s->gain / ideal : 0;
        break;
    case RAG_MRR_10:
        values[m] = s->first ? 1 / (double)s->first : 0;
        break;
    case RAG_MAP_100:
        values[m] = relevant ? s->precisions / (double)relevant : 0;
        break;
    case RAG_PRECISION_5:
        values[m] = found / cut;
        break;
    case RAG_SUCCESS_1:
    case RAG_SUCCESS_5:
    case RAG_SUCCESS_10:
        values[m] = s->relevant > 0;
        break;
    case RAG_UNJUDGED_10:
        values[m] = place ? (double)s->unjudged / (double)place : 0;
        break;
    default:
        values[m] = relevant ? found / (double)relevant : 0;
    }
}

static int descending(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

/* The gain that the best order has among the first 10; *relevant: how many there are. */
static rag_err best_order(const struct eval_grade *grades, size_t n, size_t *relevant,
                          double *ideal)
{
    int64_t *sorted = mem_alloc((n + 1) * sizeof *sorted);
    if (!sorted)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %zu grades", n);
    *relevant = 0;
    for (size_t i = 0; i < n; i++)
        if (grades[i].grade >= 1)
            sorted[(*relevant)++] = grades[i].grade;
    qsort(sorted, *relevant, sizeof *sorted, descending);
    *ideal = 0;
    for (size_t i = 0; i < *relevant && i < metrics[RAG_NDCG_10].cut; i++)
        *ideal += (double)sorted[i] / log2((double)i + 2);
    mem_free(sorted);
    return RAG_OK;
}

rag_err metrics_of(const struct eval_grade *grades, size_t n, const char *const *documents,
                   size_t nd, double *values)
{
    struct seen s = {0};
    size_t relevant = 0, most = 0;
    double ideal = 0;
    rag_err err = best_order(grades, n, &relevant, &ideal);
    for (size_t m = 0; m < RAG_METRICS; m++)
        most = metrics[m].cut > most ? metrics[m].cut : most;
    for (size_t place = 0; place <= most && !err; place++) {
        if (place > 0 && place <= nd)
            see(&s, place,
                n ? bsearch(documents[place - 1], grades, n, sizeof *grades, by_document)
                  : NULL);
        for (size_t m = 0; m < RAG_METRICS; m++)
            if (metrics[m].cut == place)
                take((rag_metric)m, &s, place < nd ? place : nd, relevant, ideal, values);
    }
    return err;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double metrics_quantile(double *v, size_t n, double p)
{
    if (n == 0)
        return NAN;
    qsort(v, n, sizeof *v, ascending);
    const double place = ceil(p * (double)n);
    return v[place < 1 ? 0 : (size_t)place - 1];
}

rag_err metrics_interval(const double *v, size_t n, struct interval *out)
{
    double *means = mem_alloc(SAMPLES * sizeof *means), sum = 0;
    uint64_t chance = SEED;
    if (!means)
        return RAG_FAIL(RAG_ENOMEM, "out of memory for %d samples", SAMPLES);
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    for (size_t i = 0; i < SAMPLES && n > 0; i++) {
        double drawn = 0;
        for (size_t j = 0; j < n; j++)
            drawn += v[rng_below(&chance, n)];
        means[i] = drawn / (double)n;
    }
    *out = (struct interval){NAN, NAN, NAN};
    if (n > 0) {
        out->mean = sum / (double)n;
        out->low = metrics_quantile(means, SAMPLES, 0.025);
        out->high = metrics_quantile(means, SAMPLES, 0.975);
    }
    mem_free(means);
    return RAG_OK;
}

double metrics_randomisation(const double *a, const double *b, size_t n)
{
    uint64_t chance = SEED;
    double seen = 0;
    size_t as_large = 0;
    for (size_t i = 0; i < n; i++)
        seen += a[i] - b[i];
    for (size_t t = 0; t < EXCHANGES; t++) {
        double sum = 0;
        uint64_t bits = 0;
        for (size_t i = 0; i < n; i++) {
            bits = i % 64 ? bits >> 1 : rng_next(&chance);
            sum += bits & 1 ? a[i] - b[i] : b[i] - a[i];
        }
        /* A sum that differs by rounding alone is as large. */
        as_large += fabs(sum) >= fabs(seen) - 1e-9;
    }
    return (double)(as_large + 1) / (EXCHANGES + 1);
}
