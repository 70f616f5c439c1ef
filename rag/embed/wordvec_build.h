/* wordvec_build.h - inside wordvec: word vectors gathered, each word once.
 *
 * Place: rag/embed, private to wordvec*.c. */
#ifndef KITH_RAG_EMBED_WORDVEC_BUILD_H
#define KITH_RAG_EMBED_WORDVEC_BUILD_H

#include "rag/embed/wordvec.h"

struct wordvec_slot;

struct wordvec_build {
    const char *name;     /* of the file, for errors */
    size_t max_memory;    /* for all of it */
    size_t max_word_room; /* no file has more bytes of words */
    struct wordvec v;
    size_t room; /* words there is room for */
    size_t word_bytes, word_room, fixed_memory;
    struct wordvec_slot *slots; /* [mask + 1] */
    size_t mask;
    uint64_t key[2];
};

/* Room for n words, which the caller knows the file can hold. */
rag_err wordvec_prepare(struct wordvec_build *b, size_t n, uint32_t dims);

/* Where the next vector goes; there must be room. */
static inline float *wordvec_next(const struct wordvec_build *b)
{
    return b->v.vectors + b->v.n * b->v.dims;
}

/* The word of the vector that was put there: kept, or counted among those left out. */
rag_err wordvec_keep(struct wordvec_build *b, const char *word, size_t bytes);

/* Gives back what was not needed; RAG_EFORMAT if no word was kept. */
rag_err wordvec_settle(struct wordvec_build *b);

void wordvec_drop(struct wordvec_build *b);

#endif
