/* kmeans.h - k-means for coarse lists, and the nearest of many centroids.
 *
 * Place: codec, above base and kernels.
 *
 * Invariants: the same rows, options and seed give the same centroids for any number of
 * threads; no centroid is empty when there are at least k different rows; all of it is finite
 * for finite rows. */
#ifndef KITH_CODEC_KMEANS_H
#define KITH_CODEC_KMEANS_H

#include <stdbool.h>

#include "ann/base/memory.h"
#include "ann/base/pool.h"
#include "ann/kernels/kernels.h"

struct kmeans_options {
    uint32_t k;
    uint32_t iterations;   /* at most; 0: 10 */
    uint32_t per_centroid; /* rows learned from, at most, a centroid; 0: 256 */
    uint64_t seed;
    bool spherical;           /* centroids of length 1 (rows are) */
    ann_progress_fn progress; /* may be NULL */
    void *progress_arg;
};

#define KMEANS_BYTES_A_ROW 90 /* of memory of kmeans_train for each row learned from, about */

struct kmeans_report {
    uint32_t iterations;
    uint64_t rows;  /* learned from */
    double inertia; /* sum of the rows' squared distances to their centroids, before the last
                       move of the centroids */
};

/* `want` (1..n, n at most 2^32) different rows of n, ascending: one drawn from each of `want`
 * equal stretches. */
void kmeans_sample(uint64_t n, uint32_t want, uint64_t seed, uint32_t *rows);

/* Centroids [k, dim] of rows x [n, dim], n >= 1 (fewer rows than k: some stand twice).
 * ANN_ENOMEM, ANN_ECANCELED; centroids are then undefined. report may be NULL. */
ann_err kmeans_train(const struct annk_ops *ops, const float *x, size_t n, size_t dim,
                     const struct kmeans_options *o, struct pool *pool, float *centroids,
                     struct kmeans_report *report);

/* The nearest centroid of each row, ties to the lowest: nearest [n], dists [n] (squared; may be
 * NULL). */
ann_err kmeans_assign(const struct annk_ops *ops, const float *x, size_t n, size_t dim,
                      const float *centroids, uint32_t k, struct pool *pool, uint32_t *nearest,
                      float *dists);

/* The `few` (1..k) nearest centroids of each of the rows of x: near [n, few], nearest first,
 * as matrix products tell. */
ann_err kmeans_candidates(const struct annk_ops *ops, const float *x, const uint32_t *rows,
                          size_t n, size_t dim, const float *centroids, uint32_t k,
                          uint32_t few, struct pool *pool, uint32_t *near);

#endif
