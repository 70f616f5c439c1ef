/* metrics.c - recall by distance, percentiles, interpolation; see metrics.h.
 *
 * Place: bench.  ann-benchmarks counts a result whose true distance is at most that of the k-th
 * neighbour plus an epsilon (1e-3 of today's version, 1e-10 of its first), whatever its id.  We
 * count the same way, but by default only with what rounding of floats can add, which is
 * stricter, and each id once, which is stricter too.  Distances are computed here, in double,
 * from the ids: what an index says about its own results is not believed. */
#include <config.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ann/base/memory.h"
#include "bench/metrics.h"

/* Floats of relative rounding 6e-8, summed over hundreds of terms. */
#define ROUNDING_RELATIVE 1e-6
#define ROUNDING_ABSOLUTE 1e-9

double metrics_distance(ann_metric m, const float *a, const float *b, size_t dim)
{
    double ab = 0, aa = 0, bb = 0;
    if (m == ANN_L2) {
        for (size_t i = 0; i < dim; i++)
            ab += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        return ab;
    }
    for (size_t i = 0; i < dim; i++) {
        ab += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    if (m == ANN_IP)
        return -ab;
    return aa > 0 && bb > 0 ? 1 - ab / sqrt(aa * bb) : 1;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void metrics_sort(double *v, size_t n)
{
    qsort(v, n, sizeof *v, by_value);
}

double metrics_median(double *v, size_t n)
{
    metrics_sort(v, n);
    return n % 2 ? v[n / 2] : n ? 0.5 * (v[n / 2 - 1] + v[n / 2]) : NAN;
}

double metrics_quantile(const double *v, size_t n, double p)
{
    if (!n)
        return NAN;
    const double rank = ceil(p * (double)n);
    return v[rank < 1 ? 0 : rank > (double)n ? n - 1 : (size_t)rank - 1];
}

static double widen(ann_metric m, double kth, double epsilon)
{
    if (epsilon > 0) {
        const double plain = m == ANN_L2 ? sqrt(kth) + epsilon : kth + epsilon;
        return m == ANN_L2 ? plain * plain : plain;
    }
    return kth + fabs(kth) * ROUNDING_RELATIVE + ROUNDING_ABSOLUTE;
}

ann_err metrics_limits(const struct dataset *d, size_t k, double epsilon, double *limits)
{
    const size_t want = k < d->n ? k : d->n;
    if (d->truth_k < want)
        return ANN_FAIL(ANN_EINVAL, "%zu true neighbours are known, %zu are needed", d->truth_k,
                        want);
    double *dist = mem_zalloc(d->truth_k, sizeof *dist);
    if (!dist)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu distances", d->truth_k);
    for (size_t i = 0; i < d->nq; i++) {
        const int32_t *row = d->truth + i * d->truth_k;
        for (size_t j = 0; j < d->truth_k; j++)
            dist[j] = metrics_distance(d->metric, d->query + i * d->dim,
                                       d->base + (size_t)row[j] * d->dim, d->dim);
        metrics_sort(dist, d->truth_k);
        limits[i] = widen(d->metric, dist[want - 1], epsilon);
    }
    mem_free(dist);
    return ANN_OK;
}

static int by_id(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* row [k] sorted: ANN_NO_ID, which is the largest, may stand any number of times. */
static ann_err check_row(const struct dataset *d, const uint64_t *row, size_t k, size_t query)
{
    for (size_t j = 0; j < k && row[j] != ANN_NO_ID; j++) {
        if (row[j] >= d->n)
            return ANN_FAIL(ANN_EDAMAGED, "query %zu: result %llu is not one of %zu vectors",
                            query, (unsigned long long)row[j], d->n);
        if (j && row[j] == row[j - 1])
            return ANN_FAIL(ANN_EDAMAGED, "query %zu: id %llu stands twice in the results",
                            query, (unsigned long long)row[j]);
    }
    return ANN_OK;
}

ann_err metrics_recall(const struct dataset *d, const double *limits, const uint64_t *ids,
                       size_t k, double *recall)
{
    const size_t want = k < d->n ? k : d->n;
    uint64_t hits = 0;
    uint64_t *row = mem_zalloc(k ? k : 1, sizeof *row);
    if (!row)
        return ANN_FAIL(ANN_ENOMEM, "out of memory for %zu ids", k);
    ann_err err = ANN_OK;
    for (size_t i = 0; i < d->nq && !err; i++) {
        memcpy(row, ids + i * k, k * sizeof *row);
        qsort(row, k, sizeof *row, by_id);
        err = check_row(d, row, k, i);
        for (size_t j = 0; j < k && !err && row[j] != ANN_NO_ID; j++)
            hits += metrics_distance(d->metric, d->query + i * d->dim,
                                     d->base + (size_t)row[j] * d->dim, d->dim) <= limits[i];
    }
    mem_free(row);
    if (err)
        return err;
    *recall = (double)hits / (double)(want * d->nq);
    return ANN_OK;
}

uint64_t metrics_drop_repeated(uint64_t *ids, size_t nq, size_t k)
{
    uint64_t dropped = 0;
    for (size_t i = 0; i < nq; i++) {
        uint64_t *row = ids + i * k;
        for (size_t j = 1; j < k; j++) {
            size_t before = 0;
            while (before < j && row[before] != row[j])
                before++;
            if (before == j || row[j] == ANN_NO_ID)
                continue;
            row[j] = ANN_NO_ID;
            dropped++;
        }
    }
    return dropped;
}

/* Whether no other point is at least as good in both and better in one. */
static bool on_front(const struct metrics_pair *p, size_t n, size_t i)
{
    for (size_t j = 0; j < n; j++) {
        const bool as_good = p[j].recall >= p[i].recall && p[j].qps >= p[i].qps;
        const bool better = p[j].recall > p[i].recall || p[j].qps > p[i].qps;
        if (as_good && (better || j < i))
            return false;
    }
    return true;
}

/* The front of p [n] by rising recall. */
static size_t front(const struct metrics_pair *p, size_t n, size_t *out)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (!on_front(p, n, i))
            continue;
        size_t at = count++;
        for (; at && p[out[at - 1]].recall > p[i].recall; at--)
            out[at] = out[at - 1];
        out[at] = i;
    }
    return count;
}

size_t metrics_pick(const struct metrics_pair *p, size_t n, const double *targets,
                    size_t ntargets, size_t *chosen)
{
    const size_t count = front(p, n, chosen);
    size_t low = count, high = 0, kept = 0;
    bool *take = mem_zalloc(count ? count : 1, sizeof *take);
    if (!take)
        return count; /* all of them: slower, not wrong */
    for (size_t t = 0; t < ntargets && count; t++) {
        size_t above = 0;
        while (above < count - 1 && p[chosen[above]].recall < targets[t])
            above++;
        const size_t below = above ? above - 1 : 0;
        take[above] = take[below] = true;
        low = below < low ? below : low;
        high = above > high ? above : high;
    }
    if (low < count)
        take[low ? low - 1 : 0] = take[high + 1 < count ? high + 1 : high] = true;
    for (size_t i = 0; i < count; i++)
        if (take[i])
            chosen[kept++] = chosen[i];
    mem_free(take);
    return kept;
}

struct metrics_at metrics_interpolate(const struct metrics_pair *p, size_t n, double recall)
{
    const struct metrics_pair *below = NULL, *above = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!on_front(p, n, i))
            continue;
        if (p[i].recall >= recall && (!above || p[i].recall < above->recall))
            above = &p[i];
        if (p[i].recall < recall && (!below || p[i].recall > below->recall))
            below = &p[i];
    }
    if (!above)
        return (struct metrics_at){NAN, false};
    if (!below)
        return (struct metrics_at){above->qps, above->recall > recall};
    const double w = (recall - below->recall) / (above->recall - below->recall);
    return (struct metrics_at){exp(log(below->qps) * (1 - w) + log(above->qps) * w), false};
}
