/* static_internal.h - what a static table consists of.
 *
 * Place: rag/embed; static.c computes and has kith's own file, static_read.c reads others. */
#ifndef KITH_RAG_EMBED_STATIC_INTERNAL_H
#define KITH_RAG_EMBED_STATIC_INTERNAL_H

#include "ann/base/memory.h"
#include "ann/kernels/layers.h"
#include "rag/embed/model.h"
#include "rag/embed/static.h"
#include "rag/embed/wordpiece.h"

#define TABLE_DIMS_MOST 4096

/* Whole words: open addressing over FNV-1a. */
struct lexicon {
    const char *words;
    uint32_t *at;    /* [n]: where each begins */
    uint32_t *slots; /* [mask + 1]: word or NONE */
    size_t n, mask;
};

struct table {
    struct table_facts facts;
    size_t wide; /* dims up to a multiple of ANNK_LAYER_STEP, zeros behind them */
    struct model *model;
    struct wordpiece *pieces;
    struct lexicon lexicon;
    const int8_t *rows; /* [n, wide]; NULL: f32 */
    const float *scale; /* [n] */
    const float *f32;   /* [n, wide] with weights in them */
    const float *mean;  /* [wide]; NULL: none */
    struct buf owned;   /* of f32 */
    char *words;        /* [words_bytes] of a table that was not mapped */
    size_t words_bytes;
    char *name, *revision;
    const struct annk_layer_ops *ops;
};

/* NULL: out of memory. */
struct table *table_new(void);
/* dims up to a multiple of ANNK_LAYER_STEP. */
size_t table_widen(size_t dims);
/* words: n of them in bytes bytes, each with a NUL; they outlive the lexicon. */
rag_err lexicon_make(struct lexicon *x, const char *words, size_t bytes, size_t n);

#endif
