/* codes.h - scalar codes of vectors: 8 or 4 bits a dimension of a frame, and distances to them.
 *
 * Place: codec, above base and kernels.  One affine form for all:
 *
 *     distance(q, x) = A_x + G_q + S_q * (integer dot product of the codes of x and of q)
 *
 * with A_x = step^2 * norm_x, G_q = |q|^2, S_q = -2 * step * step_q.  Code spaces: sq8 keeps
 * c = -127..127 as byte c + 128, y ~ step * c; sq4 keeps c = 0..15 as y ~ step * (2c - 15), two
 * in a byte: of each 128 dimensions the low nibbles are the first 64.  norm_x is the integer
 * sum of the squares.
 *
 * Invariants: data [slots, stride] with stride = padded (sq8) or padded / 2 (sq4) bytes;
 * distances between stored codes come from integers alone, so they are the same on every
 * instruction set; |y - y^| <= max_error for every coded vector; generation changes whenever
 * frame or step do, and a query is good for its own generation only. */
#ifndef KITH_CODEC_CODES_H
#define KITH_CODEC_CODES_H

#include "ann/codec/frame.h"

enum code_type { CODE_NONE = 0, CODE_SQ8 = 1, CODE_SQ4 = 2 };

struct codes {
    enum code_type type; /* CODE_NONE: there are none */
    struct frame frame;
    size_t stride;       /* bytes of a code */
    float step;          /* 0 until trained */
    float max_error;     /* in code space, of every vector coded so far */
    struct buf data;     /* u8 [slots, stride] */
    struct buf norms;    /* i32 [slots] */
    uint32_t generation; /* how often it was trained: not in the file */
    uint32_t ahead;      /* codes fetched ahead by codes_distances: of this host alone */
};

/* A query, or a stored code, ready for distances to codes.  y and planes lie behind it. */
struct code_query {
    uint32_t padded;
    int32_t sum;                 /* of high */
    int32_t norm;                /* of a stored code: its integer norm; else -1 */
    float norm2;                 /* |y|^2 */
    float step;                  /* y ~ step * high */
    float error;                 /* at least |y - step * high| */
    float low_step;              /* y ~ step * high + low_step * low */
    int32_t low_sum;             /* of low */
    double raw_scale, raw_shift; /* what codes_raw_distance does */
    uint32_t generation;         /* of the codes it was made for */
    uint32_t reserved[3];        /* so that what follows begins on a cache line */
};

static inline size_t code_query_bytes(uint32_t padded)
{
    return sizeof(struct code_query) + (size_t)padded * (sizeof(float) + 2);
}

/* f32 [padded]: the query in code space (undefined for a stored code). */
static inline float *code_query_y(const struct code_query *q)
{
    return (float *)(uintptr_t)(q + 1);
}

/* s8 [padded]: what the kernels multiply with. */
static inline int8_t *code_query_high(const struct code_query *q)
{
    return (int8_t *)(code_query_y(q) + q->padded);
}

/* s8 [padded]: the rest of y, for distances exact but for 2^-14 of |y| (store=none). */
static inline int8_t *code_query_low(const struct code_query *q)
{
    return code_query_high(q) + q->padded;
}

static inline const uint8_t *codes_row(const struct codes *c, uint32_t slot)
{
    return (const uint8_t *)c->data.data + (size_t)slot * c->stride;
}

ann_err codes_init(struct codes *c, enum code_type type, const struct annk_ops *ops,
                   ann_metric metric, uint32_t dim, uint64_t seed);
void codes_free(struct codes *c);
size_t codes_held(const struct codes *c); /* bytes of memory */

/* Learns frame and step from rows [n], n > 0; largest: a squared norm that is to fit under ip.
 * What is coded already is not good for it any more.  On failure c is as it was. */
ann_err codes_train(struct codes *c, uint64_t n, frame_row_fn row, void *arg, double largest);

ann_err codes_reserve(struct codes *c, uint32_t slots);
void codes_resize(struct codes *c, uint32_t slots); /* reserved: cannot fail */
void codes_move(struct codes *c, uint32_t from, uint32_t to);

/* What y ~ unit * code has for unit: step, or half of it where codes are odd numbers. */
static inline float codes_unit(const struct codes *c)
{
    return c->type == CODE_SQ4 ? c->step / 2 : c->step;
}

/* Codes x [dim] (f32; normalised under cosine) into a slot; returns its error |y - y^|, which
 * the caller takes the maximum of (threads code at the same time).  room: f32 [2 * padded]. */
float codes_put(struct codes *c, uint32_t slot, const float *x, float *room);

/* The vector a code stands for, as dim floats.  room: f32 [2 * padded]. */
void codes_get(const struct codes *c, uint32_t slot, float *x, float *room);

/* q [dim] as a query at out [code_query_bytes]; out is 64-byte aligned. */
void codes_query(const struct codes *c, const float *q, struct code_query *out);

/* A stored code as a query: distances to it are integers (below 2^24 exact as float, above
 * rounded once). */
void codes_row_query(const struct codes *c, uint32_t slot, struct code_query *out);

/* Squared distances in code space from a query to the codes of slots.  For a stored code in
 * units of codes_unit^2, else in code space; clamped at 0. */
void codes_distances(const struct codes *c, const struct code_query *q, const uint32_t *slots,
                     size_t n, float *dists);

/* The same with the query's low plane too: exact to about 2^-14 of |y|^2 for the codes as they
 * are. */
void codes_distances_fine(const struct codes *c, const struct code_query *q,
                          const uint32_t *slots, size_t n, float *dists);

/* A squared distance of code space as the raw distance of the metric (what the float kernels of
 * vectors.h would give): l2, or -inner product under ip and cosine. */
static inline float codes_raw_distance(const struct codes *c, const struct code_query *q,
                                       float dist)
{
    (void)c;
    return (float)(q->raw_scale * dist + q->raw_shift);
}

/* codes_file.c: frame and step as they stand in a file, [codes_frame_bytes].  What is read is
 * hostile until it is checked: ANN_EDAMAGED, ANN_EVERSION. */
size_t codes_frame_bytes(const struct codes *c);
void codes_frame_write(const struct codes *c, void *out);
ann_err codes_frame_read(struct codes *c, const void *data);

/* ANN_EDAMAGED where the norm of a live slot [slots] is not its code's, or the code is one that
 * is never made.  live: a bitmap. */
ann_err codes_verify(const struct codes *c, const uint64_t *live, uint32_t slots);

#endif
