/* pq_learn.h - what pq.c and opq.c share.
 *
 * Place: codec, inside pq. */
#ifndef KITH_CODEC_PQ_LEARN_H
#define KITH_CODEC_PQ_LEARN_H

#include <stdbool.h>

#include "ann/codec/pq.h"

/* The dimensions of subspace s that are a vector's own. */
uint32_t pq_width(const struct pq *p, uint32_t s);

/* How many of n rows codebooks are learned from. */
uint32_t pq_sample_size(const struct pq *p, size_t n);

/* Iterations of k-means in each subspace of rows [n] of x, from the codebooks there are (warm)
 * or from seeds. */
ann_err pq_learn(struct pq *p, const float *x, const uint32_t *rows, uint32_t n,
                 uint32_t rounds, bool warm, uint64_t seed, struct pool *pool);

#endif
