/* kmeans_few.h - k-means with few centroids by one thread: the parts and splits of kmeans.c.
 *
 * Place: codec, inside kmeans. */
#ifndef KITH_CODEC_KMEANS_FEW_H
#define KITH_CODEC_KMEANS_FEW_H

#include <stdbool.h>
#include <stdint.h>

#include "ann/kernels/kernels.h"

struct kmeans_few {
    const struct annk_ops *ops;
    const float *x; /* [.., dim] */
    size_t dim;
    const uint32_t *rows; /* [n] of x */
    uint32_t n;
    uint32_t learn; /* rows learned from, at most (0: all); the others are only assigned */
    uint32_t seeds; /* rows of these that seeds are drawn from, at most (0: all) */
    uint32_t k;     /* at least 1 */
    uint32_t iterations;
    uint64_t seed;
    float *centroids; /* [k, dim], out */
    uint32_t *home;   /* [n], out: the nearest centroid of each row */
};

/* False: out of memory.  n >= 1; with fewer different rows than k some centroids are equal. */
bool kmeans_few(const struct kmeans_few *f);

/* The nearest of count centroids, ids [count] of them, to a row; ties to the lowest place.
 * dists: room for count.  Returns the place in ids. */
uint32_t kmeans_nearest(const struct annk_ops *ops, const float *row, const float *centroids,
                        size_t dim, const uint32_t *ids, uint32_t count, float *dists);

#endif
