/* metrics.h - recall, percentiles, and what is read off a curve.
 *
 * Place: bench, a leaf but for dataset.h. */
#ifndef KITH_BENCH_METRICS_H
#define KITH_BENCH_METRICS_H

#include <stdbool.h>

#include "bench/dataset.h"

/* Distance of two rows in double, smaller is nearer: squared for l2, 1 - cosine, negated
 * product. */
double metrics_distance(ann_metric m, const float *a, const float *b, size_t dim);

/* limits [d->nq]: the largest distance that counts as a hit among the k nearest of each query.
 * epsilon 0: the k-th true distance and what rounding may add to it; else that much more, in
 * the units of ann-benchmarks (Euclidean, not squared).  d->truth_k >= min(k, n). */
ann_err metrics_limits(const struct dataset *d, size_t k, double epsilon, double *limits);

/* *recall: the mean share of min(k, n) that ids [d->nq, k] found.  An id that stands twice in a
 * row or is no row of base is an error (ANN_EDAMAGED): the figures would be worthless. */
ann_err metrics_recall(const struct dataset *d, const double *limits, const uint64_t *ids,
                       size_t k, double *recall);

/* Puts ANN_NO_ID for every id that stands in its row [k] already; how many there were. */
uint64_t metrics_drop_repeated(uint64_t *ids, size_t nq, size_t k);

/* The p-quantile (0..1) of v [n] by nearest rank; v is sorted already. */
double metrics_quantile(const double *v, size_t n, double p);
void metrics_sort(double *v, size_t n);
double metrics_median(double *v, size_t n); /* sorts v */

/* One point of a curve: what was found, and how fast. */
struct metrics_pair {
    double recall, qps;
};

struct metrics_at {
    double qps;    /* NAN: the recall was not reached */
    bool at_least; /* the slowest point measured was above the recall already */
};

/* Which of points [n] to measure for `targets`: along the Pareto front the one below and the
 * one at or above each, and one more at either end, as another set of queries may shift them.
 * chosen [n]: indexes of points, by rising recall. */
size_t metrics_pick(const struct metrics_pair *points, size_t n, const double *targets,
                    size_t ntargets, size_t *chosen);

/* Queries a second at a recall: along the Pareto front of the points, ln(qps) linear in recall.
 */
struct metrics_at metrics_interpolate(const struct metrics_pair *points, size_t n,
                                      double recall);

#endif
