/* frame.h - the space in which codes are made: lifted, centred, rotated and scaled vectors.
 *
 * Place: codec, above base and kernels.  Source: the rotation is that of RaBitQ's library (Gao,
 * Long, SIGMOD 2024; four rounds of sign flips, fast Walsh-Hadamard transforms and a butterfly,
 * after Kac's walk); the lift of inner products is Bachrach et al., RecSys 2014.
 *
 * y = scale * R (x' - mean), where x' is the vector (l2), the normalised vector (cosine), or the
 * vector with sqrt(lift - |x|^2) behind it (ip; a query has 0 there), R is orthogonal and E|y|^2
 * is about 1.  Squared Euclidean distance between such vectors orders as the metric does.
 *
 * Invariants: padded is a multiple of 64, never rounded to a power of two; the same vector gives
 * the same bits of y on every machine and instruction set (sums in a fixed order, compiled
 * without contraction of multiply and add). */
#ifndef KITH_CODEC_FRAME_H
#define KITH_CODEC_FRAME_H

#include "ann/base/memory.h"
#include "ann/kernels/kernels.h"

struct frame {
    const struct annk_ops *ops;
    ann_metric metric;
    uint32_t dim;     /* of a vector */
    uint32_t lifted;  /* dim, or dim + 1 under ip */
    uint32_t padded;  /* of y */
    uint64_t seed;    /* of the sign flips */
    uint64_t trained; /* vectors it was trained on; 0: not yet */
    float lift;       /* ip: squared norm that vectors are lifted to */
    float typical;    /* ip: norm that queries are brought to */
    float scale;
    struct buf mean;  /* f32 [lifted] */
    struct buf signs; /* u64 [4 * padded / 64]: derived from seed, not in the file */
};

/* padded for these. */
uint32_t frame_padded(ann_metric metric, uint32_t dim, uint32_t multiple);

ann_err frame_init(struct frame *f, const struct annk_ops *ops, ann_metric metric, uint32_t dim,
                   uint32_t multiple, uint64_t seed);
void frame_free(struct frame *f);

/* Learns mean, scale and lift from rows [n] that `row` gives (prepared as for apply). */
ann_err frame_train(struct frame *f, uint64_t n,
                    const float *(*row)(void *arg, uint64_t i, float *room), void *arg);

/* y [padded] of a stored vector x [dim] (under cosine: normalised). */
void frame_apply(const struct frame *f, const float *x, float *y);

/* y of a query; under ip it is brought to the typical norm and lifted by 0.  *unscale: what a
 * squared distance in y is multiplied with to be one in the metric's L2 (unused under ip). */
void frame_apply_query(const struct frame *f, const float *q, float *y);

/* x [dim] of a y [padded], which is used up. */
void frame_invert(const struct frame *f, float *y, float *x);

/* Whether a vector fits the frame (ip: its norm is within the lift). */
bool frame_fits(const struct frame *f, const float *x);

#endif
