/* distill.h - a static embedder from a contextual one.
 *
 * Place: rag/embed, above encoder and static.  Sources: Tulkens, van Dongen, "Model2Vec", 2024
 * (tokens through the teacher, PCA, weights); Arora et al., ICLR 2017 (the weights); Hinton et
 * al., 2015 (training against the teacher); Duchi et al., "Adaptive Subgradient Methods", 2011.
 * Invariant: the same teacher, texts, options and seed give the same bytes of file for any
 * number of threads. */
#ifndef KITH_RAG_EMBED_DISTILL_H
#define KITH_RAG_EMBED_DISTILL_H

#include <stddef.h>
#include <stdint.h>

#include <rag/rag.h>

struct encoder;
struct pool;

struct distill {
    struct encoder *teacher;
    const char *const *texts; /* [n] UTF-8 */
    size_t n;
    uint32_t dims;   /* of the result, at most the teacher's; 0: 256 */
    unsigned epochs; /* over the texts; 0: 16 */
    double rate;     /* of Adagrad; 0: 0.02 */
    uint64_t seed;
    const char *name, *source, *licence; /* of the result; borrowed */
    struct pool *pool;
    rag_progress_fn progress; /* NULL: none */
    void *progress_arg;
};

struct distill_report {
    size_t texts, tokens;           /* that were learnt from */
    double kept;                    /* share of the texts' variance that PCA keeps */
    double before, after;           /* mean cosine to the teacher: untrained, trained */
    double held_before, held_after; /* the same over texts held back, a fiftieth of them */
};

/* Writes the embedder to path. */
rag_err distill_run(const struct distill *d, const char *path, struct distill_report *report);

#endif
