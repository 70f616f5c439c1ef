/* encoder_internal.h - what the files of the encoder share: its weights.
 *
 * Place: rag/embed; encoder.c computes, encoder_load.c reads a folder, encoder_file.c reads and
 * writes kith's own file.  Invariant: a linear part has either f32 or packed weights. */
#ifndef KITH_RAG_EMBED_ENCODER_INTERNAL_H
#define KITH_RAG_EMBED_ENCODER_INTERNAL_H

#include "ann/base/memory.h"
#include "ann/kernels/kernels.h"
#include "ann/kernels/layers.h"
#include "rag/embed/encoder.h"
#include "rag/embed/wordpiece.h"

#define ENCODER_LAYERS_MAX 48
#define Q4_GROUP           32 /* numbers that share a scale */

/* out [n] = weights [n, k] times in [k], plus bias [n]. */
struct linear {
    size_t n, k;
    const float *f32;         /* [n, k]; NULL: packed */
    const int8_t *packed;     /* as layers.h wants it */
    const float *scale, *sum; /* [n] of packed */
    const float *bias;        /* [n] */
};

struct layer {
    struct linear qkv, out, up, down;
    const float *norm1[2], *norm2[2]; /* gamma and beta [dims] */
};

/* A table of rows: f32, or 4 bits with an f16 a group. */
struct rows {
    const float *f32;
    const uint8_t *q4;     /* [n, dims / 2] */
    const uint16_t *scale; /* [n, dims / 32] */
};

struct encoder {
    struct encoder_facts facts;
    struct layer layers[ENCODER_LAYERS_MAX];
    struct rows tokens, positions;
    const float *type, *norm[2]; /* [dims]: of the first type of token; gamma, beta */
    float epsilon;
    struct wordpiece *words;
    char *vocabulary; /* owned by a folder's encoder */
    char *name, *revision, *prefix_document, *prefix_query;
    struct buf owned; /* f32 weights of a folder */
    struct model *model;
    const struct annk_layer_ops *ops;
    const struct annk_ops *kernels;
    struct work *work; /* [nwork] of each thread */
    size_t nwork;
};

/* Row i of a table as floats [dims]. */
void encoder_row(const struct encoder *e, const struct rows *t, size_t i, float *out);

#endif
