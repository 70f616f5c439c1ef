/* frame.h - the space in which codes are made: lifted, centred, rotated and scaled vectors.
 *
 * Place: codec, above base and kernels.  Source: the rotation is that of RaBitQ's library (Gao,
 * Long, SIGMOD 2024; four rounds of sign flips, fast Walsh-Hadamard transforms and a butterfly,
 * after Kac's walk); the lift of inner products is Bachrach et al., RecSys 2014.
 *
 * y = scale * R (unit * x' - mean), where x' is the vector (l2), the normalised vector
 * (cosine), or the vector with a last element that brings its squared norm to lift (ip; a query
 * has 0 there), unit is a power of two, R is orthogonal and E|y|^2 is about 1.  Squared
 * Euclidean distance between such vectors orders as the metric does.
 *
 * Invariants: but for a plain frame, padded is a multiple of 64, never rounded to a power of two; the same vector
 * gives the same bits of y on every machine and instruction set (sums in a fixed order,
 * compiled without contraction of multiply and add); y is finite for every finite x. */
#ifndef KITH_CODEC_FRAME_H
#define KITH_CODEC_FRAME_H

#include "ann/base/memory.h"
#include "ann/kernels/kernels.h"

/* No element of a vector leaves this range before it is rotated: a vector that far from those
 * the frame was learned from keeps its direction only roughly. */
#define FRAME_LIMIT 1e15f

struct frame {
    const struct annk_ops *ops;
    ann_metric metric;
    uint32_t dim;     /* of a vector */
    uint32_t lifted;  /* dim, or dim + 1 under ip */
    bool plain;       /* no rotation; then padded is lifted */
    uint32_t padded;  /* of y */
    uint32_t walsh;   /* the largest power of two up to padded */
    uint64_t seed;    /* of the sign flips */
    uint64_t trained; /* vectors it was trained on; 0: not yet */
    double lift;      /* ip: squared norm that vectors, in units, are lifted to */
    float unit;       /* a power of two, so that multiplying by it loses nothing */
    float scale;
    struct buf mean;  /* f32 [lifted], in units */
    struct buf signs; /* u64 [4 * padded / 64]: derived from seed, not in the file */
};

/* Rows to learn from: row i as f32 [dim], prepared as for frame_apply, at room [dim] or where
 * it lies. */
typedef const float *(*frame_row_fn)(void *arg, uint64_t i, float *room);

/* padded for these. */
uint32_t frame_padded(ann_metric metric, uint32_t dim, uint32_t multiple);

ann_err frame_init(struct frame *f, const struct annk_ops *ops, ann_metric metric, uint32_t dim,
                   uint32_t multiple, uint64_t seed);
/* The same without the rotation. */
ann_err frame_init_plain(struct frame *f, const struct annk_ops *ops, ann_metric metric,
                         uint32_t dim);
void frame_free(struct frame *f);

/* Learns mean, scale and lift from rows [n].  largest: a squared norm that is to fit under ip,
 * beside those of the rows.  On failure the frame is as it was. */
ann_err frame_train(struct frame *f, uint64_t n, frame_row_fn row, void *arg, double largest);

/* The squared norm of x [dim], in double. */
double frame_norm2(const float *x, size_t dim);

/* y [padded] of a stored vector x [dim] (under cosine: normalised).  False if FRAME_LIMIT cut
 * it. */
bool frame_apply(const struct frame *f, const float *x, float *y);

/* y of a query; under ip it is brought to the norm that vectors are lifted to, and lifted by 0.
 * A squared distance d in y is the metric's raw distance raw_scale * d + raw_shift. */
void frame_apply_query(const struct frame *f, const float *q, float *y, double *raw_scale,
                       double *raw_shift);

/* x [dim] of a y [padded], which is used up. */
void frame_invert(const struct frame *f, float *y, float *x);

/* Whether a vector of this squared norm fits the frame (ip: it is within the lift). */
bool frame_fits(const struct frame *f, double norm2);

#endif
