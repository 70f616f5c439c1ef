/* fuse.h - two rankings of chunks made one.
 *
 * Place: rag/retrieve.  Invariant: the result depends on the sets of hits alone, not on the
 * order they come in; ties go to the smaller label. */
#ifndef KITH_RAG_FUSE_H
#define KITH_RAG_FUSE_H

#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

#define FUSE_DEPTH 200 /* hits of each side that count */
#define FUSE_RRF_K 60  /* Cormack et al., SIGIR 2009 */

struct fuse_hit {
    uint64_t label;
    double score; /* more is better; finite */
};

struct fused_hit {
    uint64_t label;
    double score;
    double vector, text;             /* scores of the two sides; NaN: not among theirs */
    uint32_t vector_rank, text_rank; /* from 1; 0: not among theirs */
};

enum fuse_rule {
    FUSE_SCORE, /* a * minmax(vector) + (1 - a) * minmax(text), each over its best FUSE_DEPTH */
    FUSE_RRF    /* sum of 1 / (60 + rank) */
};

/* The best of both at out [room >= the smaller of nv and FUSE_DEPTH plus that of nt], best
 * first; *n: how many.  A label may stand once on a side.  share: a, 0..1.  RAG_EINVAL for a
 * score that is not finite, a label twice, a share out of range. */
rag_err fuse(enum fuse_rule rule, double share, const struct fuse_hit *vector, size_t nv,
             const struct fuse_hit *text, size_t nt, struct fused_hit *out, size_t *n);

#endif
