/* tokens.h - the vocabulary of a Hugging Face folder.
 *
 * Place: rag/embed, private; shared by encoders and static tables. */
#ifndef KITH_RAG_EMBED_TOKENS_H
#define KITH_RAG_EMBED_TOKENS_H

#include <stdbool.h>
#include <stddef.h>

#include <rag/rag.h>

struct tokens {
    char *text; /* [bytes] n tokens in the order of their ids, each with a NUL; mem_free */
    size_t bytes, n;
    bool lower; /* case is folded, accents are taken off */
};

/* tokenizer.json of a WordPiece model, else vocab.txt of dir. */
rag_err tokens_read(const char *dir, struct tokens *out);

#endif
