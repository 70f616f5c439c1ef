/* pq.h - product quantisation: a vector as m short codes, one a subspace.
 *
 * Place: codec, above base and kernels.  Sources: Jegou, Douze, Schmid, TPAMI 2011; the
 * rotation is that of Ge, He, Ke, Sun, TPAMI 2014 (OPQ, non-parametric); the loss that weighs
 * errors along the vector more is Guo et al., ICML 2020 (anisotropic).
 *
 * Invariants: codebooks are f32 [m][dsub][1 << bits], as the kernels of lists read them; dim <=
 * m * dsub, what is beyond dim is 0; the same rows and seed give the same codebooks for any
 * number of threads; encoding depends on the vector and the codebooks alone, in fixed-order
 * arithmetic. */
#ifndef KITH_CODEC_PQ_H
#define KITH_CODEC_PQ_H

#include "ann/base/memory.h"
#include "ann/base/pool.h"
#include "ann/kernels/kernels.h"

struct pq {
    uint32_t dim, m, dsub;
    unsigned bits;        /* 4, 6 or 8 */
    struct buf codebooks; /* f32 [m][dsub][1 << bits] */
};

/* m: 1..dim subspaces of (dim + m - 1) / m dimensions (the last may be short or empty). */
ann_err pq_init(struct pq *p, uint32_t dim, uint32_t m, unsigned bits);
void pq_free(struct pq *p);

/* Learns the codebooks from rows x [n, dim], n >= 1. */
ann_err pq_train(struct pq *p, const struct annk_ops *ops, const float *x, size_t n,
                 uint64_t seed, struct pool *pool);

/* code [m] of x [dim]: the nearest codeword of each subspace, ties to the lowest. */
void pq_encode(const struct pq *p, const float *x, uint8_t *code);

/* The same with errors along `along` [dim] weighing eta times as much as those across (1: as
 * pq_encode), by coordinate descent from the nearest; a move that makes the error along larger
 * is not taken.  room: f32 [2 * m << bits]. */
void pq_encode_anisotropic(const struct pq *p, const float *x, const float *along, float eta,
                           uint8_t *code, float *room);

/* What a code stands for: x [dim]. */
void pq_decode(const struct pq *p, const uint8_t *code, float *x);

/* A rotation [dim, dim] (row-major, y = rotation * x) that makes the quantisation error of rows
 * x [n, dim] small: from the identity or principal axes, alternating codebooks and an
 * orthogonal Procrustes problem.  p, which is initialised, ends up trained on the rotated rows.
 */
ann_err opq_train(struct pq *p, const struct annk_ops *ops, const float *x, size_t n,
                  uint32_t rounds, uint64_t seed, struct pool *pool, float *rotation);

#endif
